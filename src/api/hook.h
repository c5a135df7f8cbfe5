/* hook: the program's journal, fence and gate (tinker/seams.h) at the doors of
 * flow and session.
 *
 * What the doors report on the loop's thread becomes an event in one queue.
 * Whoever tells the program runs the queue, one event after another: in
 * background mode the hook's own thread, else a delivered task. Answers come
 * from any thread and go to the loop as tasks.
 *
 * A record belongs to one ticket. It has all its events and tasks from the
 * start, so nothing that has to be told can get lost for want of memory. It
 * keeps its operation (tinker__op_hold) until the program has read its bytes.
 * The loop's thread makes and frees records; `lock` guards the queue, the map
 * of tickets and what is marked so. */
#ifndef TINKER_API_HOOK_H
#define TINKER_API_HOOK_H

#include "api/core.h"
#include "base/map.h"

typedef enum {
  TINKER__TELL_INTENT,
  TINKER__TELL_WITHDRAWN,
  TINKER__TELL_ACCEPTED,
  TINKER__TELL_ENDED,
  TINKER__TELL_GATE
} tinker__tell_t;

typedef struct tinker__record_s tinker__record_t;

typedef struct tinker__event_s {
  tinker__link_t link;
  tinker__tell_t tell;
  size_t request;
  tinker__record_t *record;
} tinker__event_t;

/* One request of a mutation. What the outcome points to is owned. */
typedef struct tinker__entry_s {
  tinker__pieces_t body;
  tinker__event_t accepted, ended;
  char *request_id;
  tinker_outcome_t outcome;
} tinker__entry_t;

typedef enum {
  TINKER__RECORD_TELLING, /* the program has not heard of it, or is hearing */
  TINKER__RECORD_ASKED,   /* its answer is awaited */
  TINKER__RECORD_EARLY,   /* answered while it was TELLING */
  TINKER__RECORD_ANSWERED,
  TINKER__RECORD_GONE /* withdrawn */
} tinker__record_state_t;

struct tinker__record_s {
  tinker__hook_t *hook;
  uint64_t ticket;
  bool gate;                    /* a question of the gate, else a mutation */
  tinker__op_t *op;             /* NULL = of the session, or a question */
  char *own;                    /* texts and body of what has no operation */
  tinker__record_state_t state; /* under the lock */
  bool silent;                  /* no memory to tell it; who tells alone */
  tinker_gate_verdict_t verdict;
  tinker_error_t *refusal; /* NULL = it goes */
  tinker__task_t answer, told, over;
  tinker__event_t first, withdrawn;
  tinker_intent_t intent;
  tinker_segment_t *segments;
  tinker_intent_request_t *requests;
  size_t left; /* requests that have not ended; who tells alone */
  tinker__entry_t entries[];
};

struct tinker__hook_s {
  tinker_client_t *core;
  tinker_seams_t seams;
  tinker__door_t door;
  tinker__session_door_t session_door;
  pthread_mutex_t lock;
  pthread_cond_t changed; /* the hook's thread waits here */
  pthread_t thread;
  bool threaded;
  tinker__task_t deliver; /* runs the queue where there is no thread */
  tinker__task_t drained; /* loop: everything has been told */
  void (*closed)(tinker_client_t *core);
  /* Under the lock. */
  tinker__link_t events;
  tinker__map_t *records; /* by ticket */
  bool closing;
};

/* given: NULL = the client has none, and *out stays NULL. 0 or a code with a
 * sentence. */
int tinker__hook_new(tinker__hook_t **out, tinker_client_t *core,
                     const tinker_seams_t *given, char *why, size_t why_len);
/* Gives it a thread of its own. 0 or TINKER_EIO. */
int tinker__hook_start(tinker__hook_t *hook);
/* Lets the program hear the rest, then calls closed on the loop's thread, also
 * where there is no hook. When flow and session have ended; loop's thread. */
void tinker__hook_close(tinker_client_t *core,
                        void (*closed)(tinker_client_t *core));
void tinker__hook_free(tinker__hook_t *hook); /* NULL allowed */
/* Is this the thread of the client's hook? It must not wait for the client. */
bool tinker__hook_is_here(const tinker_client_t *core);

/* hook_tell.c: calls the program for one event. Who runs the queue. */
void tinker__hook_tell(tinker__event_t *event);
/* Its key in the map. */
static inline tinker__str_t tinker__record_key(const uint64_t *ticket) {
  return (tinker__str_t){(const char *)ticket, sizeof *ticket};
}

/* hook.c: makes and frees a record, and queues one of its events. */
tinker__record_t *tinker__record_new(tinker__hook_t *hook, uint64_t ticket,
                                     size_t requests, size_t segments);
void tinker__record_free(tinker__record_t *record);
void tinker__hook_push(tinker__hook_t *hook, tinker__event_t *event);
/* NULL = none. Under the lock. */
tinker__record_t *tinker__hook_find(tinker__hook_t *hook, uint64_t ticket);

/* hook_door.c: the doors. Loop's thread. */
void tinker__hook_doors(tinker__hook_t *hook);
/* Carries an answer out. */
void tinker__hook_answer(tinker__task_t *task);

#endif
