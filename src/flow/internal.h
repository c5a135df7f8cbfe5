/* internal: what the files of flow/ call of each other; nobody else includes
 * it. Loop's thread, inside one of the functions of flow.h. */
#ifndef TINKER_FLOW_INTERNAL_H
#define TINKER_FLOW_INTERNAL_H

#include "base/error.h"
#include "base/log.h"
#include "flow/flow.h"

/* trace.c: a debug line about an operation, or about one request of it (part
 * not NULL). Costs a test of the level while debug lines are not wanted. */
#define TINKER__TRACE(op, ...)                                                 \
  do {                                                                         \
    if (tinker__log_on((op)->flow->log, TINKER_LOG_DEBUG)) {                   \
      tinker__trace(op, __VA_ARGS__);                                          \
    }                                                                          \
  } while (0)
void tinker__trace(const tinker__op_t *op, const tinker__part_t *part,
                   const char *fmt, ...) __attribute__((format(printf, 3, 4)));

/* flow.c: the one place where an operation changes its state. */
void tinker__op_on(tinker__op_t *op, tinker__op_event_t event);
/* Lets an operation leave its queue, to the door if it has one. */
void tinker__op_leave_queue(tinker__op_t *op);
/* Its memory goes when the transport and who holds it have let go of it. */
void tinker__op_let_go(tinker__op_t *op);
/* Keeps the first error (a reference given away). */
void tinker__op_set_error(tinker__op_t *op, tinker_error_t *error);
/* A part does not get on, and why; TINKER_HOLD_NONE: that is over. */
void tinker__op_trouble(tinker__part_t *part, tinker_hold_t hold,
                        const char *why);
/* A part's submission is answered, its result is there, the server dropped
 * it. */
void tinker__op_part_answered(tinker__part_t *part);
void tinker__op_part_ready(tinker__part_t *part);
void tinker__op_part_lost(tinker__part_t *part);
/* Nothing came of a step, another one takes its place. */
void tinker__op_instead(tinker__part_t *part);
/* After a part has ended: one that nobody waits for may be over. */
void tinker__op_end_trail(tinker__op_t *op);

/* news.c: what is shown of an operation; nothing once it has no future. */
/* It was submitted; something that is shown has changed. */
void tinker__news_begin(tinker__op_t *op);
void tinker__news_show(tinker__op_t *op);
/* A part's attempt or poll has failed, another one follows after a pause. */
void tinker__news_failed(tinker__part_t *part, const char *why,
                         int64_t delay_ms);
/* One of its parts has its result. */
void tinker__news_ready(tinker__op_t *op);
/* Something holds it up; nothing does any more (harmless if nothing did). */
void tinker__news_held(tinker__op_t *op, tinker_hold_t hold);
void tinker__news_free(tinker__op_t *op);
/* Its future is about to be settled: it is counted, too. */
void tinker__news_end(tinker__op_t *op, bool failed);

/* fail.c: why an operation has not ended until now; "" = not known. */
const char *tinker__op_cause(const tinker__op_t *op);
/* A part failed for good. */
void tinker__op_part_failed(tinker__part_t *part, int code, unsigned advice,
                            int status, int64_t retry_after_ms,
                            tinker_category_t category, const char *why);
/* Ends the waiting for an operation with this code, and says whether the server
 * may carry it out all the same. */
void tinker__op_stop(tinker__op_t *op, int code, const char *why);
/* The same by its deadline. */
void tinker__op_late(tinker__op_t *op);

/* brake.c: the line of what is held back. */
/* True when the part may not be sent now: it waits in `state` (REST or PAUSE)
 * and is sent when it may. */
bool tinker__part_waits(tinker__part_t *part, tinker__part_state_t state);
/* Its last attempt has failed and another one follows; that is over. */
void tinker__part_fails(tinker__part_t *part);
void tinker__part_fails_no_more(tinker__part_t *part);
/* May its submission be sent a second time beside the first? */
bool tinker__part_may_double(tinker__part_t *part);
/* Sends what may go by now; true when that was something. */
bool tinker__flow_release(tinker__flow_t *flow);
/* Something came back, or nothing. */
void tinker__part_heard(tinker__part_t *part,
                        const tinker__http_request_t *request,
                        const tinker__http_reply_t *reply);
/* The server has answered 429. */
void tinker__part_push_back(tinker__part_t *part, tinker__part_state_t state,
                            int64_t rest_ms);

/* send.c: submissions. */
void tinker__part_start(tinker__part_t *part);
/* Sends it, when the brake lets it; `now` passes the brake. */
void tinker__part_post(tinker__part_t *part);
void tinker__part_post_now(tinker__part_t *part);
void tinker__part_posted(tinker__part_t *part, tinker__http_reply_t *reply);
/* The transport is done with a request that was dropped. */
void tinker__part_dropped(tinker__part_t *part, tinker__attempt_t *attempt);
/* An attempt of the part that the transport does not have, or NULL when both
 * are out. */
tinker__attempt_t *tinker__part_attempt(tinker__part_t *part);
/* Hands a request to the sink; false when it was refused, then `rc` says
 * why. */
bool tinker__part_send(tinker__part_t *part, tinker__attempt_t *attempt,
                       int *rc);
void tinker__part_rest(tinker__part_t *part, tinker__part_state_t state,
                       int64_t delay_ms);
/* Its timer rings then; what follows depends on its state. */
void tinker__part_wake(tinker__part_t *part, int64_t at_ms);
/* Takes everything away from a part that is not wanted any more. */
void tinker__part_stop(tinker__part_t *part);
/* Judges a failure, and acts on it; `state` is the one to wait in. */
void tinker__part_trouble(tinker__part_t *part, tinker__retry_class_t class_bit,
                          tinker__http_reply_t *reply,
                          tinker__part_state_t state);
/* Gives back the bytes of a dispatch quota. */
void tinker__part_leave_quota(tinker__part_t *part);

/* poll.c: results. */
void tinker__part_line_up(tinker__part_t *part);
void tinker__part_ask(tinker__part_t *part);
void tinker__part_ask_now(tinker__part_t *part);
void tinker__part_told(tinker__part_t *part, tinker__http_reply_t *reply);
void tinker__part_leave_poll(tinker__part_t *part);
/* The server says that it waits for this number (<= 0: for none) before it
 * carries the part out. True when nobody sends that number any more. */
bool tinker__part_misses(tinker__part_t *part, int64_t seq);

/* door.c: the door of a mutation. */
bool tinker__door_has(const tinker__op_t *op);
/* Asks about an operation that is ADMITTING, with its numbers stamped. */
void tinker__door_offer(tinker__op_t *op);
/* The operation that the door was asked about under this ticket; NULL = its
 * answer is not awaited (any more). */
tinker__op_t *tinker__door_asked(tinker__flow_t *flow, uint64_t ticket);
/* error (a reference given away) NULL: it may go, if the fence lets it. */
void tinker__door_answer(tinker__op_t *op, tinker_error_t *error);
/* A mutation that has gone and is sent once more, without a number that makes a
 * copy harmless whoever is in charge by now: the fence's error, or NULL. */
tinker_error_t *tinker__door_recheck(const tinker__part_t *part);
/* It doesn't go: its numbers are nobody's again. */
void tinker__door_withdraw(tinker__op_t *op);
/* The first of a trainer's queue: may it leave it, or does the gate judge it?
 * The gate may end it here. */
bool tinker__gate_lets(tinker__op_t *op);
/* The operation that the gate judges under this ticket; NULL = there is none
 * (any more). */
tinker__op_t *tinker__gate_asked(tinker__flow_t *flow, uint64_t ticket);
/* Its verdict; error (a reference given away) may be NULL. */
void tinker__gate_answer(tinker__op_t *op, tinker__gate_t verdict,
                         tinker_error_t *error);
/* True when what becomes of it is reported. */
static inline bool tinker__door_follows(const tinker__op_t *op) {
  return op->ticket && op->state >= TINKER__OP_SENDING;
}
/* These report what became of a request; for any operation. */
void tinker__door_accepted(tinker__part_t *part);
void tinker__door_ready(tinker__part_t *part);
void tinker__door_failed(tinker__part_t *part, const tinker_error_t *error);
/* Nothing more will be known of its requests. */
void tinker__door_leave(tinker__op_t *op);

/* turn.c */
void tinker__turn_mark(tinker__op_t *op); /* its turn may have work */
/* A step of an operation, or all of it, is over. */
void tinker__turn_over(tinker__op_t *op);
/* What it was about leaves its place to the next one. */
void tinker__turn_done(tinker__op_t *op);

/* throttle.c: how many samples are submitted at once. */
void tinker__throttle_push(tinker__op_t *op);
void tinker__throttle_pump(tinker__flow_t *flow);
void tinker__throttle_leave(tinker__op_t *op);
/* The server pushed back, and stated a pause (0 = it did not). Returns how long
 * to rest. */
int64_t tinker__throttle_backpressure(tinker__part_t *part, int64_t stated_ms);

/* reply.c: what a reply says. Pure. */
typedef enum {
  TINKER__SAYS_RESULT,
  TINKER__SAYS_AGAIN,
  TINKER__SAYS_METADATA,
  TINKER__SAYS_FAILED,
  TINKER__SAYS_NONSENSE
} tinker__says_t;

typedef struct tinker__says_what_s {
  tinker__says_t says;
  int code;        /* of a failed one, with advice and category */
  unsigned advice; /* tinker__advice_t */
  tinker_category_t category;
  int64_t payload_bytes;
  bool paused;     /* not ready for a reason that people should know */
  int64_t missing; /* number that the server waits for, -1 = it says none */
  char text[512];  /* error of a failed one, reason of nonsense or a pause */
} tinker__says_what_t;

/* class_bit: of the call that the reply is about. */
void tinker__reply_read(const tinker__http_reply_t *reply, tinker__mem_t *mem,
                        tinker__retry_class_t class_bit,
                        tinker__says_what_t *out);
/* What a poll that ran out on the server's side (408) says of the queue; true
 * when it is paused. */
bool tinker__reply_paused(const tinker__http_reply_t *reply, tinker__mem_t *mem,
                          tinker__says_what_t *out);
/* request_id of an accepted submission: a copy, or a code and a sentence. */
int tinker__reply_request_id(const tinker__http_reply_t *reply,
                             tinker__mem_t *mem, char **out, char *why,
                             size_t why_len);

#endif
