/* http: one request, one reply, over a table of functions.
 *
 * The table hides who carries the bytes: libcurl (http/curl.h), or a script
 * in memory for tests (tests/support/script_transport.h). Everything here
 * runs on the loop's thread. The transport re-sends nothing that could be
 * applied twice; whether to try again is decided above, by what http/retry
 * says.
 *
 * Lanes: requests of one lane never wait for those of another. Each has its
 * own connections, so a parked poll delays neither a submit nor a
 * heartbeat. */
#ifndef TINKER_HTTP_HTTP_H
#define TINKER_HTTP_HTTP_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"

typedef enum {
  TINKER__LANE_CONTROL, /* config, session, heartbeat, REST */
  TINKER__LANE_SUBMIT,  /* training and sampling requests */
  TINKER__LANE_POLL,    /* results */
  TINKER__LANE_COUNT
} tinker__lane_t;

typedef enum {
  TINKER__HTTP_GET,
  TINKER__HTTP_POST,
  TINKER__HTTP_PUT,
  TINKER__HTTP_DELETE
} tinker__http_method_t;

typedef struct tinker__http_header_s {
  const char *name;
  const char *value;
} tinker__http_header_t;

/* The end of a request. */
typedef struct tinker__http_reply_s {
  /* 0 = a whole reply came, whatever its status. Else:
   * TINKER_ECONNECT    not sent: no connection
   * TINKER_ETLS        not sent: no trust, or no common cipher
   * TINKER_ETRANSPORT  failed on the way
   * TINKER_ETIMEDOUT   timeout_ms passed
   * TINKER_ECANCELED   canceled, or the transport was closed
   * TINKER_EOVERFLOW   the reply is longer than reply_max (status is set)
   * TINKER_ENOMEM      no memory for the reply */
  int error;
  /* The server may have read the request: with an error the outcome of a
   * mutation is unknown. Always true when error is 0, false for ECONNECT and
   * ETLS. */
  bool sent;
  int status;             /* 0 = no reply */
  char content_type[64];  /* media type, lower case, no parameters; "" = none */
  int64_t retry_after_ms; /* retry-after-ms, else retry-after; -1 = none */
  int should_retry;       /* x-should-retry: 1, 0; -1 = none */
  int64_t content_length; /* -1 = header absent */
  bool invalid_token;     /* WWW-Authenticate: error="invalid_token" */
  char log_id[64];        /* of the server, for its logs; "" = none */
  tinker__buf_t body;     /* the receiver may take it (tinker__buf_take) */
  char detail[160];       /* sentence for people when error is set, else "" */
} tinker__http_reply_t;

typedef struct tinker__http_request_s tinker__http_request_t;

/* A request, embedded in the object it serves. The caller fills the first
 * part and keeps it and all it points to unchanged until `done` runs. */
struct tinker__http_request_s {
  tinker__lane_t lane;
  tinker__http_method_t method;
  const char *path;         /* "api/v1/create_session"; may have a query */
  const char *content_type; /* NULL = application/json when there is a body */
  const char *accept;       /* NULL = application/json */
  const tinker__http_header_t *headers; /* may be NULL */
  size_t header_count;
  /* X-Idempotency-Key of everything but GET; NULL = the transport draws
   * one. Give one to keep it over several attempts. */
  const char *idempotency_key;
  tinker__str_t body; /* ptr may be NULL when len is 0 */
  /* The request carries a number of its own, so the server knows a second
   * copy, or it changes nothing. Only such a request, or a GET, may be sent
   * twice below this interface. */
  bool numbered;
  /* On a connection that is opened for it: the present ones may hang. */
  bool fresh;
  int64_t timeout_ms; /* > 0; from submit to the last byte */
  size_t reply_max;   /* largest body taken, after decompression */
  /* Exactly once if submit returned 0, never inside submit or cancel. The
   * request may be reused or freed inside. The reply lives until the return. */
  void (*done)(tinker__http_request_t *request, tinker__http_reply_t *reply);
  void *user;
  void *transport_private; /* the transport's, from submit to done */
};

typedef struct tinker__http_s tinker__http_t;

typedef struct tinker__http_ops_s {
  int (*submit)(tinker__http_t *http, tinker__http_request_t *request);
  void (*cancel)(tinker__http_t *http, tinker__http_request_t *request);
  void (*close)(tinker__http_t *http, void (*closed)(void *user), void *user);
} tinker__http_ops_t;

/* True when the service did not carry the request out or did not say so: there
 * is no reply, or an error, or a success that is the page of a portal or proxy
 * in between. */
bool tinker__http_failed(const tinker__http_reply_t *reply);

/* The status of a 4xx in which the service itself speaks, by its JSON (detail,
 * error or message); else 0. */
int tinker__http_refusal(const tinker__http_reply_t *reply);

/* True when a 4xx was sent by a proxy or portal in between, so that it does not
 * show whether the service has seen the request. */
bool tinker__http_foreign(const tinker__http_reply_t *reply);

/* Head of every transport. */
struct tinker__http_s {
  const tinker__http_ops_t *ops;
};

/* 0, or `done` never runs: TINKER_ENOMEM, TINKER_EINVAL (a header or path
 * with a control character), TINKER_ECLOSED, TINKER_ERANDOM. */
static inline int tinker__http_submit(tinker__http_t *http,
                                      tinker__http_request_t *request) {
  return http->ops->submit(http, request);
}

/* The request of a submit whose done has not run yet. done follows soon, with
 * TINKER_ECANCELED, or with the reply if that was there first. */
static inline void tinker__http_cancel(tinker__http_t *http,
                                       tinker__http_request_t *request) {
  http->ops->cancel(http, request);
}

/* Cancels everything, refuses later submits, and frees the transport; then
 * runs closed(user), the last call (closed may be NULL). Never inside close,
 * in bounded time. Once. */
static inline void tinker__http_close(tinker__http_t *http,
                                      void (*closed)(void *user), void *user) {
  http->ops->close(http, closed, user);
}

#endif
