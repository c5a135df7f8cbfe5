/* http: one request, one reply, over a table of functions.
 *
 * The table hides who carries the bytes: libcurl (http/curl.h), or a script
 * in memory for tests (tests/support/script_transport.h). Everything here
 * runs on the loop's thread. The transport re-sends nothing that could be
 * applied twice; whether to try again is decided above, by what http/retry
 * says.
 *
 * Lanes: requests of one lane never wait for those of another. Each has its
 * own connections, so a parked poll or a long download delays neither a submit
 * nor a heartbeat. Within a lane requests go out in the order of submit.
 *
 * Redirects. The key goes to the base URL's origin (scheme, host, port) and
 * nowhere else, and a mutation is sent where it was addressed to:
 *
 *   request                    301 302 303 307 308 with a Location
 *   any, redirects 0           the reply, with its status and `location`
 *   GET, redirects n, to
 *     the same origin          followed, n times at most, as it was sent first
 *     another origin           TINKER_ENOTSUP; the sentence names both
 *     http from https          TINKER_ENOTSUP, the same
 *     what is not such a URL   TINKER_ENOTSUP
 *   the n + 1st                TINKER_ENOTSUP
 *   POST, PUT, DELETE          redirects must be 0
 *
 * Whoever wants to go to another origin submits `location` as the `url` of a
 * new request, which carries no credential. */
#ifndef TINKER_HTTP_HTTP_H
#define TINKER_HTTP_HTTP_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/pieces.h"

typedef enum {
  TINKER__LANE_CONTROL,  /* config, session, heartbeat, REST */
  TINKER__LANE_SUBMIT,   /* training and sampling requests */
  TINKER__LANE_POLL,     /* results */
  TINKER__LANE_DOWNLOAD, /* large replies, links to other hosts; HTTP/1.1 */
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
   * TINKER_ETIMEDOUT   timeout_ms passed, or nothing moved for stall_ms
   * TINKER_ECANCELED   canceled, or the transport was closed
   * TINKER_EOVERFLOW   the reply is longer than reply_max (status is set)
   * TINKER_ENOTSUP     a redirect that is not followed (status is set)
   * TINKER_EPROTO      a part that is not the one that was asked for
   * TINKER_ENOMEM      no memory for the reply
   * or the code with which the sink refused a piece */
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
  char request_id[64];    /* X-Request-Id, else Request-Id, cut; "" = none */
  char etag[128];         /* ETag, for If-Range; "" = none, or longer */
  const char *location;   /* Location as an absolute URL; NULL = none, no URL */
  /* Content-Range: the first and the last byte of a 206, and the length of the
   * whole, which a 416 may state too. -1 = not stated. */
  int64_t range_first, range_last, whole_length;
  tinker__buf_t body; /* the receiver may take it (tinker__buf_take) */
  char detail[320];   /* sentence for people when error is set, else "" */
} tinker__http_reply_t;

typedef struct tinker__http_request_s tinker__http_request_t;

/* Takes the body of a 2xx in pieces, in order, each byte once, as the server
 * sent them (not decompressed). `head` has the status and
 * all headers: a 206 begins at head->range_first, which is the byte that was
 * asked for, every other status at byte 0, whatever was asked for. Returns
 *   0                    taken
 *   TINKER__SINK_PAUSE   not taken: the piece is given again, perhaps with
 * more, when tinker__http_resume has been called after the return. Meanwhile
 * the server has to wait, and the stall limit does too; timeout_ms runs on.
 *   TINKER_E...          refused: the request ends with this code
 * It may submit, cancel and close. */
typedef int (*tinker__http_sink_t)(tinker__http_request_t *request,
                                   const tinker__http_reply_t *head,
                                   tinker__str_t piece);

#define TINKER__SINK_PAUSE 1

/* A request, embedded in the object it serves. The caller fills the first
 * part and keeps it and all it points to unchanged until `done` runs. */
struct tinker__http_request_s {
  tinker__lane_t lane;
  tinker__http_method_t method;
  const char *path; /* "api/v1/create_session"; may have a query */
  /* Instead of path (NULL then), on the download lane only: an http or https
   * URL of any host, a signed link for example. Nothing of ours goes along: no
   * key, no X-Idempotency-Key, and headers that carry a credential or speak of
   * a session (Authorization, Cookie, X-API-Key, CF-Access-*, X-Tinker-*) are
   * refused. An origin that is the base URL's is reached as that one is, by its
   * Unix socket too. */
  const char *url;
  const char *content_type; /* NULL = application/json when there is a body */
  const char *accept;       /* NULL = application/json; with url: any */
  const tinker__http_header_t *headers; /* may be NULL */
  size_t header_count;
  /* X-Idempotency-Key of everything but GET; NULL = the transport draws
   * one. Give one to keep it over several attempts. */
  const char *idempotency_key;
  /* ptr may be NULL when len is 0, or when `pieces` has a list: then the body
   * is put together from them as it is sent, and both have its len. */
  tinker__str_t body;
  tinker__pieces_t pieces;
  /* The request carries a number of its own, so the server knows a second
   * copy, or it changes nothing. Only such a request, or a GET, may be sent
   * twice below this interface. */
  bool numbered;
  /* The reply may have megabytes: it is worth a large buffer. */
  bool bulky;
  /* How many redirects a GET follows; see the table above. */
  unsigned redirects;
  /* On a connection that is opened for it: the present ones may hang. */
  bool fresh;
  /* From submit to the last byte. 0 = no such limit: then stall_ms is set. */
  int64_t timeout_ms;
  /* The request ends after stall_ms in which fewer than stall_floor bytes a
   * second of the bodies were moved on average, or none; the first stall_ms
   * begin when it is its turn on the lane. 0 = no such limit. */
  int64_t stall_ms;
  int64_t stall_floor;
  /* A part of the whole, from byte range_first up to before range_end (0 = to
   * the end); both 0 = no part. Answers: 206 is that part, 200 the whole from
   * its first byte, 416 says that the whole ends before. GET only. */
  int64_t range_first, range_end;
  /* NULL = the body is handed up in one block, reply.body, which also takes
   * what is not a 2xx when there is a sink. Download lane only. */
  tinker__http_sink_t sink;
  size_t reply_max; /* largest reply.body taken, after decompression */
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
  void (*resume)(tinker__http_t *http, tinker__http_request_t *request);
} tinker__http_ops_t;

/* Content-Range: "bytes 5-9/10", an asterisk for what is not known, sets those
 * three of the reply. Something else leaves them -1. */
void tinker__http_content_range(tinker__http_reply_t *reply,
                                tinker__str_t value);

/* Is the reply, by its status and headers, one to the part that was asked for?
 * 0, or TINKER_EPROTO with a sentence. */
int tinker__http_check_range(const tinker__http_request_t *request,
                             const tinker__http_reply_t *reply, char *why,
                             size_t why_len);

/* The body in pieces, also one that is not, of which *whole is made then. */
static inline tinker__pieces_t
tinker__http_body(const tinker__http_request_t *r, tinker__piece_t *whole) {
  if (r->pieces.list) return r->pieces;
  *whole = (tinker__piece_t){r->body.ptr, r->body.len, false};
  return (tinker__pieces_t){whole, 1, r->body.len};
}

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

/* 0, or `done` never runs: TINKER_ENOMEM, TINKER_ECLOSED, TINKER_ERANDOM,
 * TINKER_EINVAL (a header or path with a control character, a path or url over
 * 16 KiB, fields that exclude each other). */
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

/* After the sink has paused: it gets the piece again, soon, never inside. Does
 * nothing when it has not paused. */
static inline void tinker__http_resume(tinker__http_t *http,
                                       tinker__http_request_t *request) {
  http->ops->resume(http, request);
}

/* Cancels everything, refuses later submits, and frees the transport; then
 * runs closed(user), the last call (closed may be NULL). Never inside close,
 * in bounded time. Once. */
static inline void tinker__http_close(tinker__http_t *http,
                                      void (*closed)(void *user), void *user) {
  http->ops->close(http, closed, user);
}

#endif
