/* flow: the life of every operation of one client: order, numbers, quotas,
 * retries, polls, deadlines, completion.
 *
 * A machine without I/O, clock or thread. It gets events through the functions
 * below, each with the present time, and acts through the sink. The sink's
 * functions are called from inside these functions and never call back into the
 * flow. Everything runs on the loop's thread. */
#ifndef TINKER_FLOW_FLOW_H
#define TINKER_FLOW_FLOW_H

#include "flow/brake.h"
#include "flow/door.h"
#include "flow/news.h"
#include "flow/op.h"
#include "flow/quota.h"
#include "flow/turn.h"

typedef struct tinker__sink_s {
  /* Sends a request and sets request->done. If it returns 0, the end of the
   * request is reported exactly once, through tinker__flow_reply. After a
   * negative code nothing was sent. */
  int (*send)(void *user, tinker__http_request_t *request);
  /* Asks for the early end of a request that was sent. */
  void (*cancel)(void *user, tinker__http_request_t *request);
  /* A future has been settled; its reference goes to the sink. */
  void (*settled)(void *user, tinker_future_t *future);
  /* When tinker__flow_tick is wanted next; -1 = not at all. */
  void (*wake_at)(void *user, int64_t at_ms);
  /* Why what somebody waits for is not there yet: the last trouble, valid
   * during the call; NULL or "" when none is known. May be NULL. */
  const char *(*trouble)(void *user);
  /* Something has happened to an operation that somebody may want to know of.
   * Only called when flow->tells; may be NULL otherwise. */
  void (*event)(void *user, const tinker_event_t *event);
  /* A bug of ours has ended an operation: for the log. */
  void (*bug)(void *user, const char *what);
  /* The service has said that the session is over. */
  void (*over)(void *user);
  /* Somebody waits for this: answer with tinker__flow_ready. */
  void (*need)(void *user, tinker__needs_t need);
} tinker__sink_t;

typedef struct tinker__flow_limits_s {
  tinker__retry_limits_t retry;
  int64_t fb_bytes;     /* forward_backward requests being submitted */
  int64_t sample_bytes; /* asample requests being submitted */
  int64_t reply_bytes;  /* large results being fetched */
  size_t poll_places;   /* results polled at once per trainer */
  size_t samples;       /* asample requests being submitted */
} tinker__flow_limits_t;

struct tinker__flow_s {
  const tinker__sink_t *sink;
  void *user;
  tinker__mem_t *mem;
  const char *where;         /* base URL, for errors; NULL = not known */
  struct tinker__log_s *log; /* gets the debug lines of operations; or NULL */
  tinker__door_t *door;      /* what mutations pass; NULL = nothing */
  tinker__link_t asked;      /* operations whose answer is awaited */
  uint64_t next_id;          /* of the next operation that is submitted */
  bool tells;                /* the sink wants events */
  tinker__held_t held[TINKER__HOLD_COUNT];
  tinker__flow_limits_t limits;
  uint64_t seed; /* of the jitter */
  int64_t now_ms;
  int64_t wake_ms; /* the time that the sink was last asked to wake at */
  tinker__timers_t timers;
  tinker__link_t ops;  /* all that are not done */
  tinker__link_t gone; /* done, to be freed before the flow is left */
  size_t live;
  size_t lingering; /* done, but still held, or the transport has requests */
  bool closed;
  bool ready[TINKER__NEEDS_COUNT];
  tinker__link_t unready[TINKER__NEEDS_COUNT];
  tinker__link_t turns; /* trainers that may have work */
  tinker__quota_t fb;
  tinker__quota_t replies;
  tinker__brake_t brakes[TINKER__BRAKES];
  tinker__link_t samples; /* operations that wait to be submitted */
  tinker__quota_t sample_bytes;
  size_t submitting;     /* samples being submitted */
  int64_t backoff_until; /* no sample is submitted before */
  tinker__timer_t throttle;
};

void tinker__flow_init(tinker__flow_t *flow, const tinker__sink_t *sink,
                       void *user, tinker__mem_t *mem, uint64_t seed);
/* Limits of protocol 4.1 unless the server says otherwise. */
void tinker__flow_default_limits(tinker__flow_limits_t *limits);
/* To be called when the server's are known, before the first operation. */
void tinker__flow_set_limits(tinker__flow_t *flow,
                             const tinker__flow_limits_t *limits);

/* Puts a door in, before the first operation. */
static inline void tinker__flow_set_door(tinker__flow_t *flow,
                                         tinker__door_t *door) {
  flow->door = door;
}

/* Takes an operation in. From now on it is the flow's. */
void tinker__flow_submit(tinker__flow_t *flow, tinker__op_t *op,
                         int64_t now_ms);
/* Ends the waiting for it, with TINKER_ECANCELED. */
void tinker__flow_cancel(tinker__flow_t *flow, tinker__op_t *op,
                         int64_t now_ms);
/* The words for an end by a deadline. */
void tinker__flow_late(char *out, size_t out_len, int64_t timeout_ms);
/* Ends the waiting for two operations of one trainer, the second right after
 * the first in its order, that only make sense together: once the first has its
 * numbers, the second stays in the queue until it is sent, too. NULL: that one
 * has ended. */
void tinker__flow_stop_pair(tinker__flow_t *flow, tinker__op_t *first,
                            tinker__op_t *second, int code, const char *why,
                            int64_t now_ms);
/* The end of a request that was sent. May take reply->body. */
void tinker__flow_reply(tinker__flow_t *flow, tinker__http_request_t *request,
                        tinker__http_reply_t *reply, int64_t now_ms);
void tinker__flow_tick(tinker__flow_t *flow, int64_t now_ms);
/* The later answer of admit. error NULL: it may go. Else it ends with error,
 * which is borrowed. False when the ticket is not one of the flow's, or was
 * withdrawn meanwhile: then nothing happens. */
bool tinker__flow_admitted(tinker__flow_t *flow, uint64_t ticket,
                           const tinker_error_t *error, int64_t now_ms);
/* The verdict of the gate. error: borrowed; NULL = one of the flow's own, or
 * none is needed. False when the ticket is not one of the flow's, or its
 * operation has ended: then nothing happens. */
bool tinker__flow_judged(tinker__flow_t *flow, uint64_t ticket,
                         tinker__gate_t verdict, const tinker_error_t *error,
                         int64_t now_ms);
/* User code is done with an operation whose kind->next said LATER: op has
 * another step now (`step`), or its results are final; or it ends with error,
 * which is borrowed. Exactly once, also if the operation has ended meanwhile.
 */
void tinker__flow_step_ready(tinker__flow_t *flow, tinker__op_t *op, bool step,
                             const tinker_error_t *error, int64_t now_ms);
/* Ends one tinker__op_hold. */
void tinker__flow_unhold(tinker__flow_t *flow, tinker__op_t *op,
                         int64_t now_ms);
/* error NULL: `need` is there. Else the operations that wait for it now fail
 * with error, which is borrowed. */
void tinker__flow_ready(tinker__flow_t *flow, tinker__needs_t need,
                        const tinker_error_t *error, int64_t now_ms);
/* `need` is gone; later operations that need it ask for it again. */
static inline void tinker__flow_unready(tinker__flow_t *flow,
                                        tinker__needs_t need) {
  flow->ready[need] = false;
}
/* Ends all operations with TINKER_ECLOSED. Requests that are out are
 * canceled; tinker__flow_idle is true when the transport has given all back. */
void tinker__flow_close(tinker__flow_t *flow, int64_t now_ms);
/* Operations that are not done, those that nobody waits for included. */
static inline size_t tinker__flow_live(const tinker__flow_t *flow) {
  return flow->live;
}
static inline bool tinker__flow_idle(const tinker__flow_t *flow) {
  return flow->live == 0 && flow->lingering == 0;
}

#endif
