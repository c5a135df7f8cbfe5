/* http: requests, replies and the listeners (libmicrohttpd).
 *
 * A request is parsed and answered on the HTTP thread of its listener. A
 * handler that has to wait parks the request: the connection is suspended, and
 * whoever has the answer (store, engine or timer thread) sets it and resumes
 * the connection. Replies are queued on the HTTP thread only. */
#ifndef TINKER_SERVICE_HTTP_H
#define TINKER_SERVICE_HTTP_H

#include "base/json_write.h"
#include "service/state.h"

struct MHD_Connection;
struct tinker__route_s;

typedef enum { TINKER__ANSWERED, TINKER__PARKED } tinker__handled_t;

#define TINKER__MAX_CAPTURES 3

struct tinker__req_s {
  tinker__link_t link;       /* ack.waiters or op.polls */
  tinker__link_t timer_link; /* service.polls */
  int64_t deadline_ms;
  tinker__service_t *service;
  struct MHD_Connection *conn;
  const struct tinker__route_s *route;
  tinker__str_t capture[TINKER__MAX_CAPTURES]; /* variable path segments */
  char *path;
  tinker__buf_t body;
  bool local; /* came over the Unix socket or loopback */
  bool unix_socket;
  bool body_proto, accept_proto, too_large, dispatched;
  bool allow_metadata; /* retrieve_future */
  /* Fault plan: the rule that acts on it; suspended by that; its handler (or
   * the pause between two pieces of its reply) has been there once. */
  struct tinker__fault_rule_s *fault;
  bool held, repeated;
  tinker__op_t *op;       /* the future it is parked on */
  tinker__op_kind_t kind; /* of the future whose result is being read */
  /* The reply. */
  int status;
  const char *content_type;
  int retry_after_s; /* header Retry-After, 0 = none */
  tinker__buf_t reply;
};

typedef tinker__handled_t (*tinker__handler_t)(tinker__service_t *s,
                                               tinker__req_t *r);

typedef struct tinker__route_s {
  const char *method;
  const char *path; /* under the root; "*" matches one segment */
  tinker__handler_t handler;
  bool parks; /* it may return TINKER__PARKED */
  bool open;  /* needs no key, and is answered while the service starts */
} tinker__route_t;

/* routes.c: NULL-terminated by method. */
extern const tinker__route_t tinker__routes[];

/* --- Replies: each sets the answer of r and returns TINKER__ANSWERED --- */
tinker__handled_t tinker__reply_error(tinker__req_t *r, int status,
                                      const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
/* Begins a JSON reply of status 200 in r->reply. */
void tinker__reply_json(tinker__req_t *r, tinker__jsonw_t *w);
tinker__handled_t tinker__reply_empty(tinker__req_t *r, int status);
/* A JSON text, status 200. */
tinker__handled_t tinker__reply_text(tinker__req_t *r, const char *json);
/* Copies bytes of another content type. */
tinker__handled_t tinker__reply_bytes(tinker__req_t *r, int status,
                                      const char *content_type,
                                      const void *data, size_t len);
/* Lets the HTTP thread send the answer of a parked request, which must be in
 * no list any more and may be gone when this returns. */
void tinker__req_resume(tinker__req_t *r);

/* A header's value ("" when absent) and a query argument (NULL when absent). */
tinker__str_t tinker__req_header(tinker__req_t *r, const char *name);
const char *tinker__req_query(tinker__req_t *r, const char *name);

/* encoding.c: takes the body out of its Content-Encoding; false = answered. */
bool tinker__req_unpack(tinker__req_t *r);

/* --- Listeners --- */
int tinker__listen_unix(tinker__listener_t **out, tinker__service_t *s,
                        const char *path, char *why, size_t why_len);
int tinker__listen_tcp(tinker__listener_t **out, tinker__service_t *s,
                       const char *listen, char *why, size_t why_len);
int tinker__listener_port(const tinker__listener_t *l);
/* No new connections from here on. */
void tinker__listener_quiesce(tinker__listener_t *l);
/* All parked requests have been resumed. NULL allowed. */
void tinker__listener_free(tinker__listener_t *l);

#endif
