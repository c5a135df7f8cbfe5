/* listener: the part of http that owns sockets. Internal to http.c and
 * listener.c. */
#ifndef TINKER_SERVICE_LISTENER_H
#define TINKER_SERVICE_LISTENER_H

#include <microhttpd.h>

#include "service/http/conns.h"
#include "service/http/head.h"
#include "service/http/http.h"

struct tinker__svc_listener_s {
  tinker__svc_t *service;
  tinker__svc_site_t site;
  struct MHD_Daemon *daemon;
  int fd;   /* listening socket, ours after quiesce */
  int port; /* TCP */
  bool unix_socket, loopback, quiesced;
  char *path;     /* Unix: removed at the end */
  char host[256]; /* TCP: as the operator wrote it */
  tinker__svc_gate_t gate;
  tinker__svc_conns_t conns;
};

enum MHD_Result tinker__svc_http_access(void *user, struct MHD_Connection *c,
                                        const char *url, const char *method,
                                        const char *version, const char *upload,
                                        size_t *upload_len, void **state);
void tinker__svc_http_completed(void *user, struct MHD_Connection *c,
                                void **state,
                                enum MHD_RequestTerminationCode code);
/* Our struct of a connection; NULL when there was no memory for one. */
tinker__svc_conn_t *tinker__svc_http_conn(struct MHD_Connection *c);
/* Puts a connection of l into another state. */
void tinker__svc_http_moved(tinker__svc_listener_t *l, tinker__svc_conn_t *conn,
                            tinker__svc_conn_state_t state);
/* Runs the handler of r, whose connection is suspended, here or on a worker. */
void tinker__svc_http_handle(tinker__svc_req_t *r);
/* Finds the route of r->path; r's captures then point into r->path. NULL = r is
 * answered with 404 or 405. */
const tinker__svc_route_t *
tinker__svc_http_route(const tinker__svc_site_t *site, tinker__svc_req_t *r,
                       const char *method);
/* Decodes the percent escapes of a target in place, except "%00". Returns the
 * new length. Pure. */
size_t tinker__svc_http_unescape(char *s);

#endif
