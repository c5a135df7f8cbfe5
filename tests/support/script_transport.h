/* script_transport: a transport without a network. The test says which
 * requests it expects and what comes back, when. Replies come in the time of
 * the loop (tests/support/fake_loop.h, or a real one), never inside submit.
 *
 * Each request is matched with the oldest unused step whose method and path
 * fit; script_surprise tells of a request that fitted none. */
#ifndef TESTS_SUPPORT_SCRIPT_TRANSPORT_H
#define TESTS_SUPPORT_SCRIPT_TRANSPORT_H

#include "http/http.h"
#include "loop/loop.h"

typedef struct script_reply_s {
  int error;                /* TINKER_E..., 0 = a reply */
  bool sent;                /* with an error: may the server have it? */
  int status;               /* 0 = 200 */
  const char *content_type; /* NULL = application/json */
  const char *body;         /* NULL = empty; must live until delivered */
  bool owned;               /* body is malloc'ed, and freed by the script */
  size_t body_len;          /* 0 = strlen(body) */
  int64_t delay_ms;         /* 0 = next turn; -1 = never (until canceled) */
  int64_t retry_after_ms;   /* 0 = none */
  int should_retry;         /* 0 = none, 1 = true, -1 = false */
  const char *log_id;       /* x-request-id; NULL = none */
} script_reply_t;

/* What was sent, for the test to look at. Strings are copies. */
typedef struct script_request_s {
  tinker__lane_t lane;
  tinker__http_method_t method;
  char *path;
  char *content_type;
  char *accept;
  char *headers; /* "Name: value\n" each */
  char *idempotency_key;
  char *body;
  size_t body_len;
  bool numbered;
  bool fresh;
  int64_t timeout_ms;
  int64_t stall_ms;
  int64_t at_ms; /* loop time of the submit */
} script_request_t;

typedef struct script_s script_t;

/* Computes a reply instead of a canned one. */
typedef void (*script_fn)(void *user, const script_request_t *request,
                          script_reply_t *reply);

int script_new(script_t **out, tinker__loop_t *loop);
tinker__http_t *script_http(script_t *script);

/* Appends a step. path: exact, or a prefix when it ends in '*'. */
void script_expect(script_t *script, tinker__http_method_t method,
                   const char *path, script_reply_t reply);
/* Like a step that is never used up; tried after all steps. */
void script_always(script_t *script, tinker__http_method_t method,
                   const char *path, script_fn fn, void *user);

/* Asked about every reply after the step that made it: may change it. A body
 * that it replaces is still freed if it was owned. */
void script_meddle(script_t *script, script_fn fn, void *user);
/* From now on requests are not kept: for tests that send very many. */
void script_forget(script_t *script);

/* Requests so far, and the i-th (from 0) while they are kept. */
size_t script_count(const script_t *script);
const script_request_t *script_request(const script_t *script, size_t i);
/* Steps not used yet; requests waiting for their reply. */
size_t script_unused(const script_t *script);
size_t script_parked(const script_t *script);
/* Sentence about the first request that nothing fitted, NULL = none. Such a
 * request gets TINKER_ECONNECT. */
const char *script_surprise(const script_t *script);
/* The n-th submit from now on (from 1) fails with TINKER_ENOMEM. */
void script_fail_submit(script_t *script, size_t n);

/* After the transport was closed through its table. */
void script_free(script_t *script);

#endif
