/* exchange: one small request of the session with its retries, and the sentence
 * when it fails. Embedded in the session; used again after its end. Loop's
 * thread only. */
#ifndef TINKER_SESSION_EXCHANGE_H
#define TINKER_SESSION_EXCHANGE_H

#include "base/error.h"
#include "http/http.h"
#include "http/retry.h"
#include "loop/loop.h"

struct tinker__session_s;

typedef struct tinker__exchange_s tinker__exchange_t;

typedef enum {
  TINKER__EXCHANGE_IDLE,
  TINKER__EXCHANGE_ASKED,  /* the session's door has not answered */
  TINKER__EXCHANGE_SENT,   /* the transport has it */
  TINKER__EXCHANGE_PAUSED, /* until `again` */
  TINKER__EXCHANGE_REFUSED /* `refused` will end it */
} tinker__exchange_state_t;

/* error: NULL after a 2xx; else borrowed. reply: the last one; its status is 0
 * when none came. Exactly once for each start, never inside it. It may
 * be started again inside. */
typedef void (*tinker__exchange_done_cb)(tinker__exchange_t *x,
                                         tinker__http_reply_t *reply,
                                         const tinker_error_t *error);

struct tinker__exchange_s {
  struct tinker__session_s *session;
  tinker__http_request_t request;
  tinker__buf_t body;
  tinker__buf_t path;
  char key[37]; /* idempotency key, the same for all attempts; "" = none */
  tinker__retry_t retry;
  tinker__retry_limits_t limits;
  tinker__retry_class_t class_bit;
  int taken;
  tinker__timer_t again;
  tinker__task_t refused; /* the transport did not take it */
  int refused_code;
  tinker__exchange_state_t state;
  uint64_t ticket; /* of the door; 0 = it was not asked, or withdrew */
  bool canceled;
  tinker__exchange_done_cb done;
  char trouble[256]; /* of the last attempt, while it is tried again */
};

void tinker__exchange_init(tinker__exchange_t *x, struct tinker__session_s *s);
void tinker__exchange_free(tinker__exchange_t *x); /* idle */
static inline bool tinker__exchange_is_active(const tinker__exchange_t *x) {
  return x->state != TINKER__EXCHANGE_IDLE;
}

/* The arguments of a start. The body is in x->body and the path in x->path
 * (without "api/v1/"). If writing one of them has failed, done gets that code.
 */
typedef struct tinker__exchange_spec_s {
  tinker__retry_class_t class_bit;
  int64_t budget_ms;  /* for all attempts together; 0 = only one */
  int64_t timeout_ms; /* of each */
  tinker__exchange_done_cb done;
  int taken; /* status that ends it at once, whoever sent it; 0 = none */
} tinker__exchange_spec_t;

/* Empties body and path for another request. */
void tinker__exchange_begin(tinker__exchange_t *x, const char *path);
void tinker__exchange_start(tinker__exchange_t *x,
                            const tinker__exchange_spec_t *spec, int encode_rc);
/* The door's answer to this ticket; of another one it does nothing. */
void tinker__exchange_admitted(tinker__exchange_t *x, uint64_t ticket,
                               const tinker_error_t *error);
/* done follows soon, with TINKER_ECANCELED unless it ended before. */
void tinker__exchange_cancel(tinker__exchange_t *x);

#endif
