/* conns: the connections of a listener. This file decides for how long each
 * connection may keep its place without a whole request, and which ones give
 * way when places become few.
 *
 * The HTTP thread adds, moves and removes connections; the timer thread looks
 * at them. A connection is ended by shutting its socket, which the HTTP library
 * takes for a close by the peer. The connections have a lock of their own;
 * nobody takes another lock under it. */
#ifndef TINKER_SERVICE_CONNS_H
#define TINKER_SERVICE_CONNS_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/list.h"

/* The state of a connection, by the next event that it waits for. */
typedef enum {
  TINKER__CONN_NEW,  /* its first head */
  TINKER__CONN_IDLE, /* the next head, after at least one whole request */
  TINKER__CONN_BODY, /* the rest of a body */
  TINKER__CONN_BUSY, /* the service, which answers */
  TINKER__CONN_ENDED /* its removal: the socket is shut */
} tinker__svc_conn_state_t;

#define TINKER__CONN_WAITS 3 /* states that have a limit */

/* A connection, from its first byte to its end. */
typedef struct tinker__svc_conn_s {
  tinker__link_t link;
  tinker__svc_conn_state_t state;
  int64_t since_ms;
  int fd;
  /* About the request being read. HTTP thread only. */
  size_t target_len; /* as sent */
  bool plain_target;
} tinker__svc_conn_t;

typedef struct tinker__svc_conns_s {
  pthread_mutex_t lock;
  tinker__link_t waiting[TINKER__CONN_WAITS]; /* by since_ms */
  size_t n;                                   /* connections not ended */
  size_t max;                                 /* places */
  void (*shut)(int fd);
} tinker__svc_conns_t;

/* Milliseconds that a connection in a state may wait, however busy it is. */
extern const int64_t tinker__svc_conn_limits[TINKER__CONN_WAITS];

void tinker__svc_conns_init(tinker__svc_conns_t *c, size_t max,
                            void (*shut)(int fd));
void tinker__svc_conns_done(tinker__svc_conns_t *c);
void tinker__svc_conns_add(tinker__svc_conns_t *c, tinker__svc_conn_t *conn,
                           int fd, int64_t now_ms);
/* Puts conn into a state; a connection that is ended stays ended. */
void tinker__svc_conns_move(tinker__svc_conns_t *c, tinker__svc_conn_t *conn,
                            tinker__svc_conn_state_t state, int64_t now_ms);
void tinker__svc_conns_remove(tinker__svc_conns_t *c, tinker__svc_conn_t *conn);
/* Ends the connections that have waited too long. While more than seven of
 * eight places are taken it also ends those that have waited longest. */
void tinker__svc_conns_look(tinker__svc_conns_t *c, int64_t now_ms);

/* Shuts a socket in both directions. */
void tinker__svc_conns_shut(int fd);
/* Sets gone[i] for each of n sockets whose peer has closed or is lost; n is at
 * most TINKER__PEERS_MAX. */
#define TINKER__PEERS_MAX 1024
void tinker__svc_peers_look(const int *fds, size_t n, bool *gone);

#endif
