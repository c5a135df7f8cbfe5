/* http: requests, replies and the listeners (libmicrohttpd).
 *
 * A request is parsed and answered on the HTTP thread of its listener. A
 * handler that has to wait parks the request: the connection is suspended, and
 * whoever has the answer (store, engine or timer thread) sets it and resumes
 * the connection. A large body is unpacked and read by a worker, which runs the
 * handler for a request that is suspended already. Replies are queued on the
 * HTTP thread only. */
#ifndef TINKER_SERVICE_HTTP_H
#define TINKER_SERVICE_HTTP_H

#include "base/json_write.h"
#include "service/core/core.h"
#include "wire/messages.h"

struct MHD_Connection;
struct tinker__svc_route_s;

typedef enum { TINKER__ANSWERED, TINKER__PARKED } tinker__svc_handled_t;

#define TINKER__MAX_CAPTURES 3

/* What becomes of a body as it arrives. */
typedef enum {
  TINKER__BODY_KEPT,
  TINKER__BODY_UNWANTED,  /* nobody will read it */
  TINKER__BODY_TOO_LARGE, /* for its call */
  TINKER__BODY_CROWDED    /* with all the others */
} tinker__svc_body_fate_t;

struct tinker__svc_req_s {
  tinker__link_t link;       /* ack.waiters, op.polls or the workers' */
  tinker__link_t timer_link; /* service.polls */
  int64_t deadline_ms;
  tinker__svc_t *service;
  struct MHD_Connection *conn;
  const struct tinker__svc_site_s *site;
  const struct tinker__svc_route_s *route;
  tinker__str_t capture[TINKER__MAX_CAPTURES]; /* variable path segments */
  char *path;
  int fd; /* its connection's, -1 = none */
  tinker__buf_t body;
  size_t came;       /* bytes of the body, also of one that is thrown away */
  size_t share;      /* of them, held in service.body_bytes */
  uint64_t replying; /* bytes of service.replies */
  tinker__svc_body_fate_t fate;
  void (*job)(tinker__svc_req_t *r); /* what a worker does with it */
  bool local;                        /* came over the Unix socket or loopback */
  bool unix_socket;
  bool body_proto, accept_proto, dispatched;
  bool packed;  /* the body is compressed */
  bool gone;    /* its client is: nobody waits for the reply */
  bool refused; /* by its head: the reply is made, the body thrown away */
  bool closes;  /* and the connection can't be used any further */
  bool allow_metadata; /* retrieve_future */
  /* The site's filter: what it keeps for this request (NULL = nothing more to
   * do with it), suspended by it, its handler (or the pause between two pieces
   * of its reply) has been there once. */
  const void *filtered;
  bool held, repeated;
  /* What a filter wants handlers to say: lists leave out what is younger, and
   * runs are shown as corrupted. */
  int64_t stale_ms;
  bool shows_corrupted;
  tinker__svc_op_t *op;       /* the future it is parked on */
  tinker__svc_op_kind_t kind; /* of the future whose result is being read */
  /* The reply. */
  int status;
  const char *content_type;
  int retry_after_s; /* header Retry-After, 0 = none */
  tinker__buf_t reply;
  struct tinker__svc_stream_s *stream; /* that sends it instead; NULL = none */
};

typedef tinker__svc_handled_t (*tinker__svc_handler_t)(tinker__svc_t *s,
                                                       tinker__svc_req_t *r);

typedef struct tinker__svc_route_s {
  const char *method; /* NULL ends a table */
  const char *path;   /* under the root; "*" matches one segment */
  tinker__svc_handler_t handler;
  bool parks;      /* it may return TINKER__PARKED */
  bool open;       /* needs no key, and is answered while the service starts */
  bool packed;     /* its body may be compressed */
  size_t max_body; /* bytes of its body; 0 = TINKER__BODY_SMALL; never more than
                      --max-body */
} tinker__svc_route_t;

#define TINKER__BODY_SMALL ((size_t)1 << 20)
#define TINKER__BODY_LARGE SIZE_MAX

/* Looks at requests around their handlers: a fault plan. HTTP thread, without
 * the lock. */
typedef enum {
  TINKER__FILTER_GO,       /* as if there were none */
  TINKER__FILTER_WAIT,     /* suspended; the HTTP thread comes back */
  TINKER__FILTER_ANSWERED, /* r has its answer; it is not handled */
  TINKER__FILTER_CLOSE     /* the connection ends here */
} tinker__svc_filtered_t;
typedef struct tinker__svc_filter_s {
  /* A request is about to be handled. */
  tinker__svc_filtered_t (*arrive)(tinker__svc_req_t *r);
  /* It was held and comes back. */
  tinker__svc_filtered_t (*back)(tinker__svc_req_t *r);
  /* It is about to be answered, and filtered is set. TINKER__FILTER_WAIT:
   * handle it once more. */
  tinker__svc_filtered_t (*leave)(tinker__svc_req_t *r);
  /* The answer in another form; NULL = the usual one. */
  struct MHD_Response *(*respond)(tinker__svc_req_t *r, tinker__str_t body);
} tinker__svc_filter_t;

#define TINKER__MAX_TABLES 4

/* What a listener serves. The tables and the filter are borrowed and constant
 * until it is freed. */
typedef struct tinker__svc_site_s {
  const tinker__svc_route_t *tables[TINKER__MAX_TABLES]; /* NULL ends them */
  const tinker__svc_filter_t *filter;                    /* NULL = none */
} tinker__svc_site_t;

/* --- Replies: each sets the answer of r and returns TINKER__ANSWERED --- */
tinker__svc_handled_t tinker__svc_reply_error(tinker__svc_req_t *r, int status,
                                              const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
/* Begins a JSON reply of status 200 in r->reply. */
void tinker__svc_reply_json(tinker__svc_req_t *r, tinker__jsonw_t *w);
/* A message of wire, status 200. */
tinker__svc_handled_t
tinker__svc_reply_message(tinker__svc_req_t *r,
                          const tinker__bind_table_t *message, const void *in);
tinker__svc_handled_t tinker__svc_reply_empty(tinker__svc_req_t *r, int status);
/* A JSON text, status 200. */
tinker__svc_handled_t tinker__svc_reply_text(tinker__svc_req_t *r,
                                             const char *json);
/* Copies bytes of another content type. */
tinker__svc_handled_t tinker__svc_reply_bytes(tinker__svc_req_t *r, int status,
                                              const char *content_type,
                                              const void *data, size_t len);
/* Replies with why: 503 without memory, else the status. */
tinker__svc_handled_t tinker__svc_reply_why(tinker__svc_req_t *r, int rc,
                                            int status, const char *why);
/* Lets the HTTP thread send the answer of a parked request, which must be in
 * no list any more and may be gone when this returns. */
void tinker__svc_req_resume(tinker__svc_req_t *r);

/* A header's value ("" when absent) and a query argument (NULL when absent). */
tinker__str_t tinker__svc_req_header(tinker__svc_req_t *r, const char *name);
const char *tinker__svc_req_query(tinker__svc_req_t *r, const char *name);

/* --- encoding.c --- */
/* Sets r->packed; false: that encoding is not taken, r is answered. */
bool tinker__svc_req_packed(tinker__svc_req_t *r);
/* Takes a packed body out of its Content-Encoding; false = answered. HTTP
 * thread or a worker. */
bool tinker__svc_req_unpack(tinker__svc_req_t *r);

/* --- intake.c: the body of a request as it arrives --- */
/* The route is known (NULL = none). kept: somebody will read the body. */
void tinker__svc_body_begin(tinker__svc_req_t *r, bool kept);
void tinker__svc_body_take(tinker__svc_req_t *r, const char *data, size_t len);
/* True when so much has arrived beyond what is kept that its sender is not
 * waited for any longer. */
bool tinker__svc_body_endless(const tinker__svc_req_t *r);
/* Counts len bytes as those that r holds, if the service has room for them. A
 * tiny body is always let in. Any thread. */
bool tinker__svc_body_hold(tinker__svc_req_t *r, size_t len);
/* The body has become so many bytes besides; false: there is no room for them,
 * and r is answered 503. Any thread. */
bool tinker__svc_body_decoded(tinker__svc_req_t *r, size_t bytes);
void tinker__svc_body_release(tinker__svc_req_t *r);
/* True when not all of the body was kept, and r is answered. */
bool tinker__svc_body_refused(tinker__svc_req_t *r);
void tinker__svc_reply_crowded(tinker__svc_req_t *r);

/* --- park.c: requests that wait until something is durable. Under the lock ---
 */
/* Parks r until a is durable (its reply must be set); under the lock. */
tinker__svc_handled_t tinker__svc_ack_wait(tinker__svc_ack_t *a,
                                           tinker__svc_req_t *r);
void tinker__svc_ack_init(tinker__svc_ack_t *a);
/* Answers (or drops with 503) all that wait, under the lock. */
void tinker__svc_ack_commit(tinker__svc_t *s, tinker__svc_ack_t *a);
void tinker__svc_ack_fail(tinker__svc_t *s, tinker__svc_ack_t *a);
/* The store can't write and nobody knows for how long: all that wait for it are
 * sent away with 503. What they sent stays queued. Under the lock. */
void tinker__svc_acks_release(tinker__svc_t *s);

/* --- Listeners --- */
int tinker__svc_listen_unix(tinker__svc_listener_t **out, tinker__svc_t *s,
                            const tinker__svc_site_t *site, const char *path,
                            char *why, size_t why_len);
int tinker__svc_listen_tcp(tinker__svc_listener_t **out, tinker__svc_t *s,
                           const tinker__svc_site_t *site, const char *listen,
                           char *why, size_t why_len);
int tinker__svc_listener_port(const tinker__svc_listener_t *l);
/* Ends the connections that have waited too long, once a second. NULL allowed.
 */
void tinker__svc_listener_look(tinker__svc_listener_t *l, int64_t now_ms);
/* No new connections from here on. */
void tinker__svc_listener_quiesce(tinker__svc_listener_t *l);
/* All parked requests have been resumed. NULL allowed. */
void tinker__svc_listener_free(tinker__svc_listener_t *l);

#endif
