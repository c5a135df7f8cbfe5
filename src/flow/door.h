/* door: what every mutation passes before it is sent, numbered or not, those of
 * the session included.
 *
 * A mutation is one step of an operation: all its requests, which are all sent
 * or none. It is offered to `admit` with the numbers that it will have. They
 * are provisional: they count as taken when the mutation goes. If it does not
 * go (refused, canceled, its deadline passed, the client was closed, the fence
 * refused it), `withdrawn` says so before anything else is offered under one of
 * them. So each mutation that was offered and not withdrawn counts as sent.
 *
 * Of one that went, `ended` tells of each of its requests exactly once, and
 * `accepted` before it if the server took the request. With a door this holds
 * also for an operation that nobody waits for any more: its results are asked
 * for to the end.
 *
 * The gate is another door, for `optim_step` alone and before its turn: with
 * one, an optim_step that is the first of its trainer's queue stays there until
 * all calls before it have their results, and `gate` has judged them.
 *
 * All functions run on the loop's thread, may be NULL, and do not call back
 * into the flow; later answers come in through flow.h. A door belongs to one
 * client and outlives its flow. */
#ifndef TINKER_FLOW_DOOR_H
#define TINKER_FLOW_DOOR_H

#include <tinker/error.h>

#include "base/pieces.h"
#include "loop/future.h"

/* One request of a mutation. */
typedef struct tinker__mutation_request_s {
  int64_t seq;           /* its number; -1 = it has none */
  tinker__pieces_t body; /* its bytes */
} tinker__mutation_request_t;

typedef struct tinker__mutation_s {
  uint64_t ticket;         /* names it in all later calls; never 0 */
  const char *name;        /* of its kind, "forward_backward" */
  const char *of;          /* id of its trainer; NULL = it belongs to none */
  struct tinker__op_s *op; /* NULL = of the session */
  size_t count;
  const tinker__mutation_request_t *requests;
} tinker__mutation_t;

typedef enum {
  TINKER__ADMIT_GO,
  TINKER__ADMIT_LATER, /* the answer comes later, unless it is withdrawn */
  TINKER__ADMIT_REFUSE
} tinker__admit_t;

typedef enum {
  TINKER__GATE_PASS,
  TINKER__GATE_HOLD, /* the verdict comes later, unless its operation ends */
  TINKER__GATE_END,
  TINKER__GATE_END_ALL /* and all that is queued behind it */
} tinker__gate_t;

/* What has become of one request of a mutation that went. */
typedef enum {
  TINKER__OUTCOME_RESULT,
  TINKER__OUTCOME_FAILED,
  TINKER__OUTCOME_OPEN,  /* it went out; nobody follows it any more */
  TINKER__OUTCOME_UNSENT /* nothing of it went out, and nothing will */
} tinker__outcome_kind_t;

/* Valid during the call. */
typedef struct tinker__outcome_s {
  tinker__outcome_kind_t kind;
  const tinker__raw_t *raw;    /* RESULT */
  const tinker_error_t *error; /* FAILED */
  const char *request_id;      /* NULL = the server has given none */
} tinker__outcome_t;

typedef struct tinker__door_s {
  /* Asks whether a mutation may be sent. It and its bytes are valid until it
   * goes or is withdrawn; who may still read it then calls tinker__op_hold
   * here, which keeps one that was withdrawn. After REFUSE *error may hold a
   * reference to the error that its operation ends with. */
  tinker__admit_t (*admit)(void *user, const tinker__mutation_t *mutation,
                           tinker_error_t **error);
  void (*withdrawn)(void *user, uint64_t ticket);
  /* The last check, right before it goes; NULL = it may. Else a reference to
   * the error that its operation ends with. One that may be done twice
   * (TINKER__RETRY_REPEAT) is checked again before each further copy. */
  tinker_error_t *(*fence)(void *user, const tinker__mutation_t *mutation);
  /* The server took its i-th request. */
  void (*accepted)(void *user, uint64_t ticket, size_t i,
                   const char *request_id);
  void (*ended)(void *user, uint64_t ticket, size_t i,
                const tinker__outcome_t *outcome);
  /* Judges the results before op, an optim_step. `ticket` names it for
   * tinker__flow_judged. What is submitted meanwhile with op->ahead goes before
   * it. With END *error may get a reference to the error that it ends with. */
  tinker__gate_t (*gate)(void *user, uint64_t ticket,
                         const struct tinker__op_s *op, tinker_error_t **error);
  void *user;
  uint64_t tickets; /* given so far */
} tinker__door_t;

static inline uint64_t tinker__door_ticket(tinker__door_t *door) {
  return ++door->tickets;
}

#endif
