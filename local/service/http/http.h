/* http: requests, replies and the listeners, on top of libmicrohttpd.
 *
 * The HTTP thread of a listener parses its requests, runs their handlers and
 * queues their replies. A handler that has to wait parks the request: its
 * connection is suspended, and the thread that has the answer later (store,
 * engine, timer or a worker) sets the reply and resumes the connection. A
 * request with a large body is suspended before its handler, which a worker
 * runs. No other thread than the HTTP thread queues a reply. */
#ifndef TINKER_SERVICE_HTTP_H
#define TINKER_SERVICE_HTTP_H

#include "base/json_write.h"
#include "service/core/core.h"
#include "wire/messages.h"

struct MHD_Connection;
struct tinker__svc_route_s;

typedef enum { TINKER__ANSWERED, TINKER__PARKED } tinker__svc_handled_t;

#define TINKER__MAX_CAPTURES 3

/* The fate of a body as it arrives. All but the kept ones are thrown away. */
typedef enum {
  TINKER__BODY_KEPT,
  TINKER__BODY_UNWANTED,  /* no handler will read it */
  TINKER__BODY_TOO_LARGE, /* for its call */
  TINKER__BODY_CROWDED    /* all bodies under way together are too large */
} tinker__svc_body_fate_t;

struct tinker__svc_req_s {
  tinker__link_t link;       /* ack.waiters, op.polls or the workers' */
  tinker__link_t timer_link; /* service.polls or the fault plan's held ones */
  int64_t deadline_ms;
  tinker__svc_t *service;
  struct MHD_Connection *conn;
  const struct tinker__svc_site_s *site;
  const struct tinker__svc_route_s *route;
  tinker__str_t capture[TINKER__MAX_CAPTURES]; /* variable path segments */
  char *path;
  int fd; /* the connection's socket, -1 = none */
  tinker__buf_t body;
  size_t came;       /* bytes of the body so far, thrown away or not */
  size_t share;      /* bytes that service.body_bytes counts for this body */
  uint64_t replying; /* bytes that service.replies counts for this reply */
  tinker__svc_body_fate_t fate;
  void (*job)(tinker__svc_req_t *r); /* runs on a worker */
  bool local; /* the listener is a Unix socket or on loopback */
  bool unix_socket;
  bool body_proto, accept_proto, dispatched;
  bool packed;  /* the body is compressed */
  bool gone;    /* the client has gone, so nobody waits for the reply */
  bool refused; /* for its head: the reply is made, the body thrown away */
  bool closes;  /* the connection can't be used after the reply */
  bool allow_metadata; /* retrieve_future */
  /* The site's filter keeps its rule for this request in filtered; NULL = the
   * filter has nothing more to do with it. held: the filter has suspended the
   * request. repeated: the handler has run once, or the pause between two
   * pieces of the reply is over. */
  const void *filtered;
  bool held, repeated;
  /* A filter asks the handlers for this: lists leave out entries younger than
   * stale_ms, and runs are shown as corrupted. */
  int64_t stale_ms;
  bool shows_corrupted;
  tinker__svc_op_t *op;       /* the future that the request is parked on */
  tinker__svc_op_kind_t kind; /* of the future whose result is being read */
  /* The reply. */
  int status;
  const char *content_type;
  int retry_after_s; /* header Retry-After, 0 = none */
  tinker__buf_t reply;
  struct tinker__svc_stream_s *stream; /* sends the reply instead; or NULL */
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
  size_t max_body; /* bytes of its body, at most --max-body; 0 =
                      TINKER__BODY_SMALL */
} tinker__svc_route_t;

#define TINKER__BODY_SMALL ((size_t)1 << 20)
#define TINKER__BODY_LARGE SIZE_MAX

/* A filter looks at requests before and after their handlers. The fault plan is
 * one. It runs on the HTTP thread, without the lock. */
typedef enum {
  TINKER__FILTER_GO,       /* the request goes on as without a filter */
  TINKER__FILTER_WAIT,     /* r is suspended; `back` is called later */
  TINKER__FILTER_ANSWERED, /* r has its answer and is not handled */
  TINKER__FILTER_CLOSE     /* the connection ends without an answer */
} tinker__svc_filtered_t;
typedef struct tinker__svc_filter_s {
  /* Called before r is handled. */
  tinker__svc_filtered_t (*arrive)(tinker__svc_req_t *r);
  /* Called when r, which `arrive` has held, was resumed. */
  tinker__svc_filtered_t (*back)(tinker__svc_req_t *r);
  /* Called before r is answered, if r->filtered is set. TINKER__FILTER_WAIT
   * has r handled once more. */
  tinker__svc_filtered_t (*leave)(tinker__svc_req_t *r);
  /* Returns the answer in another form, or NULL for the usual one. */
  struct MHD_Response *(*respond)(tinker__svc_req_t *r, tinker__str_t body);
} tinker__svc_filter_t;

#define TINKER__MAX_TABLES 4

/* The routes that a listener serves. The tables and the filter are borrowed and
 * constant until the listener is freed. */
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
/* Replies with a message of wire, status 200. */
tinker__svc_handled_t
tinker__svc_reply_message(tinker__svc_req_t *r,
                          const tinker__bind_table_t *message, const void *in);
tinker__svc_handled_t tinker__svc_reply_empty(tinker__svc_req_t *r, int status);
/* Replies with a JSON text, which is copied, status 200. */
tinker__svc_handled_t tinker__svc_reply_text(tinker__svc_req_t *r,
                                             const char *json);
/* Replies with a copy of data. content_type is borrowed until r is completed.
 */
tinker__svc_handled_t tinker__svc_reply_bytes(tinker__svc_req_t *r, int status,
                                              const char *content_type,
                                              const void *data, size_t len);
/* Replies with status and the sentence why, or, if rc is TINKER_ENOMEM, with
 * 503 "out of memory". */
tinker__svc_handled_t tinker__svc_reply_why(tinker__svc_req_t *r, int rc,
                                            int status, const char *why);
/* Lets the HTTP thread send the answer of a parked request. r must be in no
 * list, and may be freed before this returns. Without the lock. */
void tinker__svc_req_resume(tinker__svc_req_t *r);
/* Resumes r when the lock is released. Under the lock. */
void tinker__svc_req_resume_later(tinker__svc_req_t *r);
/* Resumes all requests of a list by their links: service.resume. Without the
 * lock. */
void tinker__svc_reqs_resume(tinker__link_t *requests);

/* A header's value ("" when absent) and a query argument (NULL when absent). */
tinker__str_t tinker__svc_req_header(tinker__svc_req_t *r, const char *name);
const char *tinker__svc_req_query(tinker__svc_req_t *r, const char *name);

/* --- encoding.c --- */
/* Sets r->packed. False: the service does not take that encoding, and r is
 * answered. */
bool tinker__svc_req_packed(tinker__svc_req_t *r);
/* Replaces a packed body by its content. False: that failed, and r is answered.
 * HTTP thread or a worker. */
bool tinker__svc_req_unpack(tinker__svc_req_t *r);

/* --- intake.c: the body of a request as it arrives --- */
/* Called when r->route is known (NULL = none). kept: a handler will read the
 * body. */
void tinker__svc_body_begin(tinker__svc_req_t *r, bool kept);
void tinker__svc_body_take(tinker__svc_req_t *r, const char *data, size_t len);
/* True when a body that is thrown away has grown past twice --max-body: the
 * connection is closed, since its sender may never end. */
bool tinker__svc_body_endless(const tinker__svc_req_t *r);
/* Raises the bytes counted for r to len. False: the service has no room for
 * that many. A tiny body is not counted and always has room. Any thread. */
bool tinker__svc_body_hold(tinker__svc_req_t *r, size_t len);
/* Counts the bytes of a decoded body besides. False: there is no room for them,
 * and r is answered with 503. Any thread. */
bool tinker__svc_body_decoded(tinker__svc_req_t *r, size_t bytes);
void tinker__svc_body_release(tinker__svc_req_t *r);
/* True when not all of the body was kept, and r is answered. */
bool tinker__svc_body_refused(tinker__svc_req_t *r);
void tinker__svc_reply_crowded(tinker__svc_req_t *r);

/* --- park.c: requests that wait until something is durable. Under the lock ---
 */
/* Parks r, whose reply must be set, until a is stored. */
tinker__svc_handled_t tinker__svc_ack_wait(tinker__svc_ack_t *a,
                                           tinker__svc_req_t *r);
/* Answers r, which repeats what a stands for. If that is stored its line may
 * still be on its way to the ledger, so r is resumed when the lock is released,
 * which waits for the line. */
tinker__svc_handled_t tinker__svc_ack_again(tinker__svc_ack_t *a,
                                            tinker__svc_req_t *r, bool stored);
void tinker__svc_ack_init(tinker__svc_ack_t *a);
/* The row of a is stored: sends the replies of all requests that wait. */
void tinker__svc_ack_commit(tinker__svc_t *s, tinker__svc_ack_t *a);
/* The row of a could not be stored: answers all requests that wait with 503. */
void tinker__svc_ack_fail(tinker__svc_t *s, tinker__svc_ack_t *a);
/* Another process has locked the store, for an unknown time: answers all
 * requests that wait for the store with 503. Their calls stay queued. */
void tinker__svc_acks_release(tinker__svc_t *s);

/* --- Listeners --- */
int tinker__svc_listen_unix(tinker__svc_listener_t **out, tinker__svc_t *s,
                            const tinker__svc_site_t *site, const char *path,
                            char *why, size_t why_len);
int tinker__svc_listen_tcp(tinker__svc_listener_t **out, tinker__svc_t *s,
                           const tinker__svc_site_t *site, const char *listen,
                           char *why, size_t why_len);
int tinker__svc_listener_port(const tinker__svc_listener_t *l);
/* Ends the connections that have waited too long. The timer thread calls it
 * once a second. NULL allowed. */
void tinker__svc_listener_look(tinker__svc_listener_t *l, int64_t now_ms);
/* Accepts no connections any more and removes a Unix socket's path. NULL
 * allowed. */
void tinker__svc_listener_quiesce(tinker__svc_listener_t *l);
/* Before this all parked requests must have been resumed. NULL allowed. */
void tinker__svc_listener_free(tinker__svc_listener_t *l);

#endif
