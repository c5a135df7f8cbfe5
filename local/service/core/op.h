/* op: a numbered call and its future. Under the service's lock unless a field
 * says otherwise.
 *
 * Only tinker__svc_op_move changes its state; core/states.c has the table. If a
 * start finds the result of a call in the store, the call is DONE or FAILED
 * from the beginning. It may be executed once more for its effect on the model,
 * which does not change its state: see op.redo. */
#ifndef TINKER_SERVICE_CORE_OP_H
#define TINKER_SERVICE_CORE_OP_H

#include "base/digest.h"
#include "engine/generate.h"
#include "service/core/types.h"

/* Numbers are stored: never reuse one. */
typedef enum {
  TINKER__SVC_OP_CREATE = 0,
  TINKER__SVC_OP_LOAD_NEW = 1, /* load_weights that makes the model */
  TINKER__SVC_OP_LOAD = 2,
  TINKER__SVC_OP_FORWARD_BACKWARD = 3,
  TINKER__SVC_OP_OPTIM = 4,
  TINKER__SVC_OP_SAVE = 5,
  TINKER__SVC_OP_SAVE_SAMPLER = 6,
  TINKER__SVC_OP_SAMPLE = 7,
  TINKER__SVC_OP_SAVE_EXTERNAL = 8 /* always rejected */
} tinker__svc_op_kind_t;

/* The outcome of a call as the store has it. Numbers are stored: never reuse
 * one. */
typedef enum {
  TINKER__SVC_OUTCOME_PENDING = 0,
  TINKER__SVC_OUTCOME_DONE = 1,
  TINKER__SVC_OUTCOME_FAILED = 2,  /* result holds the error reply */
  TINKER__SVC_OUTCOME_REJECTED = 3 /* a 4xx that consumed its number */
} tinker__svc_outcome_t;

typedef enum {
  TINKER__SVC_OP_NEW,        /* just made; no other thread knows it */
  TINKER__SVC_OP_LOGGING,    /* being written to the log */
  TINKER__SVC_OP_WAITING,    /* waits for its turn */
  TINKER__SVC_OP_RUNNING,    /* being executed */
  TINKER__SVC_OP_COMMITTING, /* its result is being stored */
  TINKER__SVC_OP_DONE,
  TINKER__SVC_OP_FAILED,
  TINKER__SVC_OP_REFUSING, /* its rejection is being written to the log */
  TINKER__SVC_OP_REJECTED
} tinker__svc_op_state_t;

enum { TINKER__SVC_OP_STATES = TINKER__SVC_OP_REJECTED + 1 };

/* How a start treats a call that it finds in the log, and a model that goes
 * through its log again. */
typedef enum {
  TINKER__SVC_REDO_NOT,   /* it has no result yet and is executed normally */
  TINKER__SVC_REDO,       /* execution only restores the model */
  TINKER__SVC_REDO_UNDONE /* it failed by the service's fault, without effect */
} tinker__svc_redo_t;

/* Whether an earlier image of the process died in this call. */
typedef enum {
  TINKER__SVC_BLAME_NOT,
  TINKER__SVC_BLAME_CRASH, /* the engine crashed: config.crash_signal */
  TINKER__SVC_BLAME_DEATHS /* it was killed too often to try again */
} tinker__svc_blame_t;

enum { TINKER__FORMAT_JSON = 0, TINKER__FORMAT_PROTO = 1 };

/* Faults that are done to a call on purpose when it is executed or polled for,
 * to test its caller (docs/faults.md). */
typedef enum {
  TINKER__ACT_APPLY_TWICE = 1 << 0, /* until it was applied once */
  TINKER__ACT_KEEP_GRADIENTS = 1 << 1,
  TINKER__ACT_DROP_OPTIMIZER = 1 << 2,
  TINKER__ACT_SAVE_OLD = 1 << 3,
  TINKER__ACT_FLIP_BIT = 1 << 4,
  TINKER__ACT_EXPIRE = 1 << 5,
  TINKER__ACT_CRASH = 1 << 6,
  TINKER__ACT_FORGET = 1 << 7, /* polls for its result are answered 410 */
  TINKER__ACT_LOSE = 1 << 8,   /* it fails without being executed */
  TINKER__ACT_CORRUPT = 1 << 9,
  TINKER__ACT_HIDE = 1 << 10,  /* the run does not show its corruption */
  TINKER__ACT_IGNORE = 1 << 11 /* the weights stay as they are */
} tinker__svc_act_t;

/* config.doing while the log is executed again. It is below -1, which stands
 * for a decode round. */
#define TINKER__REDOING(row) (-1 - (row))

#define TINKER__MAX_ROW (INT64_MAX / 2) /* numbers of rows and folders */

/* When another process has locked the store for this long, requests are no
 * longer kept waiting. */
#define TINKER__STUCK_MS 10000

/* A numbered call and its future. Lives until its session is purged. */
struct tinker__svc_op_s {
  tinker__link_t link; /* model.pending until executed */
  tinker__link_t all;  /* model.ops or sampler.ops */
  tinker__svc_t *service;
  tinker__svc_model_t *model; /* one of the two */
  tinker__svc_sampler_t *sampler;
  int64_t row, seq, seed;
  tinker__svc_op_kind_t kind;
  tinker__svc_op_state_t state;
  char *request_id;
  unsigned char digest[TINKER__SHA256_LEN];
  tinker__svc_ack_t ack; /* requests that wait until it is in the log */
  tinker__link_t polls;  /* of tinker__svc_req_t */
  size_t result_size;    /* once done or failed */
  int result_format;
  tinker__svc_redo_t redo;   /* written by a start, and when a model rewinds */
  tinker__svc_blame_t blame; /* written once, by a start */
  bool undone;     /* failed by the service's fault, without an effect */
  size_t log_size; /* bytes of its body in the log; 0 = it had no effect */
  char *log_body;  /* the body as read from the log, until it is decoded */
  size_t log_len;
  int log_format;
  unsigned char result_digest[TINKER__SHA256_LEN];
  tinker__svc_work_t *work;    /* decoded body; NULL once executed */
  size_t held;                 /* bytes of work that service.held counts */
  uint64_t log_held;           /* bytes that service.logs counts */
  uint64_t result_held;        /* bytes that service.results counts */
  tinker__eng_gen_t *running;  /* a sample with the scheduler, to be canceled */
  bool holds;                  /* a reference to the base model, meanwhile */
  tinker__svc_op_t *postponed; /* the next one of service.postponed */
  /* Set by a fault plan. */
  unsigned acts;      /* bits of tinker__svc_act_t */
  int64_t expires_ms; /* TINKER__ACT_EXPIRE: life of its checkpoint */
  const char *pause_state, *pause_reason; /* for polls; NULL = the usual */
  tinker__link_t paused;                  /* the fault plan's list */
  int64_t paused_until_ms;                /* monotonic, 0 = it may run */
};

/* True when op is in the log, as a call or as a rejection. */
static inline bool tinker__svc_op_logged(const tinker__svc_op_t *op) {
  return op->state != TINKER__SVC_OP_NEW &&
         op->state != TINKER__SVC_OP_LOGGING &&
         op->state != TINKER__SVC_OP_REFUSING;
}

/* True when op has no result yet but will get one. */
static inline bool tinker__svc_op_pending(const tinker__svc_op_t *op) {
  return op->state <= TINKER__SVC_OP_COMMITTING;
}

static inline bool tinker__svc_op_refused(const tinker__svc_op_t *op) {
  return op->state == TINKER__SVC_OP_REFUSING ||
         op->state == TINKER__SVC_OP_REJECTED;
}

bool tinker__svc_op_may(tinker__svc_op_state_t from, tinker__svc_op_state_t to);
const char *tinker__svc_op_state_name(tinker__svc_op_state_t state);
/* Changes the state. A move that the table does not have is a bug: it ends the
 * service and returns false. */
bool tinker__svc_op_move(tinker__svc_op_t *op, tinker__svc_op_state_t to);
/* The first state of a call that a start finds in the store with an outcome. */
tinker__svc_op_state_t tinker__svc_op_found(tinker__svc_outcome_t outcome);

/* The last part of the path of a kind of call, for example "optim_step". */
const char *tinker__svc_op_endpoint(tinker__svc_op_kind_t kind);

#endif
