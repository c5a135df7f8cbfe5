/* core: the parts of one client, and how they are tied together.
 *
 * Phases: OPEN -> DRAINING -> CLOSING -> CLOSED. Only OPEN takes operations
 * in; a dump is still answered while DRAINING. The loop's thread owns flow,
 * session and transport; `lock` guards the fields that any thread may touch.
 *
 * There are three counts. `refs` counts the user's references to the client;
 * dropping the last one closes it. `loop_users` counts the users of the loop
 * (the client itself and each thread that waits); the last one ends the loop.
 * `holds` counts the users of this struct and its memory (handles, futures, the
 * loop); the last one frees it. */
#ifndef TINKER_API_CORE_H
#define TINKER_API_CORE_H

#include <pthread.h>
#include <tinker/tinker.h>
#include <unistd.h>

#include "api/notices.h"
#include "base/beacon.h"
#include "base/log.h"
#include "flow/chunk.h"
#include "flow/flow.h"
#include "http/url.h"
#include "loop/waiter.h"
#include "session/session.h"

typedef enum {
  TINKER__CLIENT_OPEN,
  TINKER__CLIENT_DRAINING,
  TINKER__CLIENT_CLOSING,
  TINKER__CLIENT_CLOSED
} tinker__client_phase_t;

/* core->mode of a client on a caller's uv loop; else a tinker_run_mode_t. */
enum { TINKER__RUN_BORROWED = TINKER_RUN_STEP + 1 };

typedef struct tinker__hook_s tinker__hook_t;

struct tinker_client_s {
  atomic_uint refs;
  atomic_uint holds;
  tinker__mem_t own_mem;
  tinker__keep_t keep;  /* of own_mem */
  tinker__mem_t *mem;   /* own_mem, or a test's */
  tinker__loop_t *loop; /* gone once the client is released and closed */
  const tinker__world_t *world; /* the loop's; a trainer may outlive that */
  int64_t default_timeout_ms;
  long pid;    /* of the process that made it */
  char *where; /* base URL, for errors; NULL = not known */
  int mode;
  tinker__waits_all_t waits; /* of its operations; any thread */

  /* Loop's thread. */
  tinker__http_t *http;
  tinker__session_t *session;
  tinker__flow_t flow;
  tinker__hook_t *hook; /* NULL = the program has none; constant */
  tinker__timer_t tick;
  tinker__timer_t drain_timer;
  tinker__session_waiter_t waiters[TINKER__NEEDS_COUNT];
  tinker__session_waiter_t finish_waiter;
  bool draining; /* every call that was accepted is in the flow by now */
  bool finishing;
  tinker__link_t compounds; /* what the flow does not know of (compound.h) */
  int drain_cut; /* code that a drain ends with, 0 = it ended by itself */

  tinker__task_t close_task;
  tinker__task_t drain_task;
  tinker__task_t closed_task; /* delivery: the last user code */
  tinker__log_t *log;
  tinker__task_t log_task;
  tinker_log_cb log_cb;
  void *log_user;
  tinker__events_t *events; /* NULL = nobody listens */

  pthread_mutex_t lock;
  /* Under the lock. */
  size_t loop_users;
  tinker__link_t ended;   /* next.c: futures without callback */
  tinker__link_t waiting; /* calls that wait for one of those, or for CLOSED */
  tinker__beacon_t next_fd;
  tinker_future_t *drain_future, *close_future; /* a reference each, or NULL */
  int64_t drain_until_ms;                       /* -1 = without limit */
  tinker__chunk_limits_t chunks;                /* the service's, or the */
  bool parallel_chunks;                         /* protocol's before */
  bool ended_for_good; /* the last callback is queued: nothing is reported */
  char session_id[TINKER__SEGMENT_MAX + 1];
  bool abandoned; /* the user let go on one of our own threads */

  /* Written under the lock, read anywhere. */
  atomic_int phase; /* tinker__client_phase_t */
  atomic_size_t ended_count;
  atomic_size_t quiet; /* running operations without callback */
};

/* Loop and transport to run on, instead of threads and libcurl. The client
 * takes both over: it closes them. */
typedef struct tinker__client_parts_s {
  tinker__mem_t *mem; /* outlives the client */
  tinker__loop_t *loop;
  tinker__http_t *http;
  bool turned; /* the loop is no thread's, and takes tasks of one alone */
  struct uv_loop_s *uv; /* that the loop has borrowed; NULL = none */
} tinker__client_parts_t;

/* As tinker_client_new; parts may be NULL. On failure parts are untouched. */
int tinker__client_new_on(tinker_client_t **out,
                          const tinker_client_options_t *options,
                          const tinker__client_parts_t *parts, char *why,
                          size_t why_len);

/* References to struct and memory. */
void tinker__core_hold(tinker_client_t *core);
void tinker__core_unhold(void *core);
/* Is this the process that made the client? A forked child has neither its
 * threads nor, perhaps, its locks: it may only release. Asked before a lock is
 * taken or the loop touched. */
static inline bool tinker__core_is_here(const tinker_client_t *core) {
  return (long)getpid() == core->pid;
}
/* The right to touch the loop; false when it is gone. */
bool tinker__core_enter(tinker_client_t *core);
void tinker__core_leave(tinker_client_t *core);
/* tinker__loop_sleep in the list of those who wait for the client itself. */
int tinker__core_sleep(tinker_client_t *core, bool (*ready)(void *user),
                       int64_t timeout_ms);
/* Waits until it is CLOSED; 0, or why nothing can be waited for here. */
int tinker__core_await_end(tinker_client_t *core);
static inline tinker__client_phase_t
tinker__core_phase(const tinker_client_t *core) {
  return (tinker__client_phase_t)atomic_load(&core->phase);
}
/* True when an operation may begin. An operation that the client answers itself
 * may begin until the close, since it is asked why a drain does not end. */
static inline bool tinker__core_takes(const tinker_client_t *core,
                                      const tinker__kind_t *kind) {
  return tinker__core_phase(core) <=
         (kind->local ? TINKER__CLIENT_DRAINING : TINKER__CLIENT_OPEN);
}

/* Where batches are cut. Any thread. */
void tinker__core_limits(tinker_client_t *core, tinker__chunk_limits_t *chunks,
                         bool *parallel);

/* driver.c: the sink of the flow. */
extern const tinker__sink_t tinker__driver_sink;
void tinker__driver_init(tinker_client_t *core);
void tinker__driver_event(void *user, tinker__session_event_t event,
                          const char *text);
/* Sends an operation on its way and takes it over. 0; or TINKER_ECLOSED or
 * TINKER_EFATAL, and it is still the caller's. Any thread. */
int tinker__driver_submit(tinker_client_t *core, tinker__op_t *op);
/* The same for a call that is several operations: begins it, and sends them if
 * they go together. */
struct tinker__compound_s;
int tinker__driver_submit_all(struct tinker__compound_s *compound,
                              const tinker__kind_t *kind, tinker__turn_t *turn);
/* Reports a future that has settled, and takes its reference. Any thread that
 * keeps the loop there. */
void tinker__driver_report(tinker_client_t *core, tinker_future_t *future);
/* Reports the future of a call that is refused, which is settled, and takes its
 * reference. False when it is too late for that: then nothing is taken. Any
 * thread. */
bool tinker__driver_refused(tinker_client_t *core, tinker_future_t *future);

/* adopt.c: the options of an adopted session; given may be NULL. 0 or a code
 * with a sentence. */
int tinker__adoption_take(tinker__session_options_t *out,
                          const tinker_adoption_t *given, char *why,
                          size_t why_len);

/* next.c: the ended futures without callback; put takes a reference over. Any
 * thread. */
void tinker__next_put(tinker_client_t *core, tinker_future_t *future);
/* Takes a future out before it is freed. */
void tinker__next_forget(tinker_client_t *core, tinker_future_t *future);
/* Gives back those that nobody will take any more. */
void tinker__next_drop(tinker_client_t *core);

/* ending.c: the order of ending. */
void tinker__ending_init(tinker_client_t *core);
/* After anything that may have ended an operation; loop's thread. */
void tinker__ending_look(tinker_client_t *core);
/* The last reference of the user is gone: ends the client and waits for it;
 * false when it ends later, since this is a thread of its own. */
bool tinker__ending_release(tinker_client_t *core);

#endif
