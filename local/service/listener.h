/* listener: the part of http that owns sockets. Internal to http.c and
 * listener.c. */
#ifndef TINKER_SERVICE_LISTENER_H
#define TINKER_SERVICE_LISTENER_H

#include <microhttpd.h>

#include "service/http.h"

struct tinker__listener_s {
  tinker__service_t *service;
  struct MHD_Daemon *daemon;
  int fd;      /* listening socket, ours after quiesce */
  int port;    /* TCP */
  bool unix_socket, loopback, quiesced;
  char *path;  /* Unix: removed at the end */
};

enum MHD_Result tinker__http_access(void *user, struct MHD_Connection *c,
                                    const char *url, const char *method,
                                    const char *version, const char *upload,
                                    size_t *upload_len, void **state);
void tinker__http_completed(void *user, struct MHD_Connection *c, void **state,
                            enum MHD_RequestTerminationCode code);

#endif
