/* call: one small request of the session with its retries, and the sentence
 * when it fails. Embedded in the session; used again after its end. Loop's
 * thread only. */
#ifndef TINKER_SESSION_CALL_H
#define TINKER_SESSION_CALL_H

#include "base/error.h"
#include "flow/retry.h"
#include "http/http.h"
#include "loop/loop.h"

struct tinker__session_s;

typedef struct tinker__call_s tinker__call_t;

typedef enum {
  TINKER__CALL_IDLE,
  TINKER__CALL_SENT,   /* the transport has it */
  TINKER__CALL_PAUSED, /* until `again` */
  TINKER__CALL_REFUSED /* `refused` will end it */
} tinker__call_state_t;

/* error: NULL after a 2xx; else borrowed. reply: the last one; its status is 0
 * when none came. Exactly once for each start, never inside it. The call may
 * be started again inside. */
typedef void (*tinker__call_done_cb)(tinker__call_t *call,
                                     tinker__http_reply_t *reply,
                                     const tinker_error_t *error);

struct tinker__call_s {
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
  tinker__call_state_t state;
  bool canceled;
  tinker__call_done_cb done;
  char trouble[256]; /* of the last attempt, while it is tried again */
};

void tinker__call_init(tinker__call_t *call, struct tinker__session_s *s);
void tinker__call_free(tinker__call_t *call); /* idle */
static inline bool tinker__call_is_active(const tinker__call_t *call) {
  return call->state != TINKER__CALL_IDLE;
}

/* What a start needs. The body has been written into call->body and the path
 * into call->path (without "api/v1/"); either may have failed: then that comes
 * back through done. */
typedef struct tinker__call_spec_s {
  tinker__retry_class_t class_bit;
  int64_t budget_ms;  /* for all attempts together; 0 = only one */
  int64_t timeout_ms; /* of each */
  tinker__call_done_cb done;
  int taken; /* status that ends it at once, whoever sent it; 0 = none */
} tinker__call_spec_t;

/* Empties body and path for what comes next. */
void tinker__call_begin(tinker__call_t *call, const char *path);
void tinker__call_start(tinker__call_t *call, const tinker__call_spec_t *spec,
                        int encode_rc);
/* done follows soon, with TINKER_ECANCELED unless it ended before. */
void tinker__call_cancel(tinker__call_t *call);

#endif
