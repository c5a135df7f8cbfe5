/* stall_server: a service that starts a client well, with a trainer and a
 * sampler, and then stalls as told: the answers of a tiny_server. */
#ifndef TESTS_SUPPORT_STALL_SERVER_H
#define TESTS_SUPPORT_STALL_SERVER_H

#include "support/tiny_server.h"

typedef enum {
  STALL_NEVER,   /* accepts and never answers */
  STALL_HEADERS, /* answers the headers only */
  STALL_TRICKLE, /* a byte each second */
  STALL_RESET,   /* resets the connection */
  STALL_COUNT
} stall_t;

/* For tiny_server_new(); user: points at a stall_t. Everything that has to do
 * with the start is answered; save_weights is accepted, and its polls stall;
 * all other requests stall. */
tiny_reply_t stall_answer(void *user, const tiny_request_t *r);
const char *stall_name(stall_t how);

#endif
