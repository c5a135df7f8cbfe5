/* conns: see conns.h. */
#define _GNU_SOURCE /* POLLRDHUP */

#include "service/http/conns.h"

#include <errno.h>
#include <poll.h>
#include <sys/socket.h>

const int64_t tinker__svc_conn_limits[TINKER__CONN_WAITS] = {
    [TINKER__CONN_NEW] = 10000,
    [TINKER__CONN_IDLE] = 60000,
    [TINKER__CONN_BODY] = 120000,
};

/* A connection that is younger than this in its state does not give way: its
 * peer has had no time yet. */
static const int64_t grace[TINKER__CONN_WAITS] = {
    [TINKER__CONN_NEW] = 1000,
    [TINKER__CONN_IDLE] = 1000,
    [TINKER__CONN_BODY] = 10000,
};

void tinker__svc_conns_init(tinker__svc_conns_t *c, size_t max,
                            void (*shut)(int fd)) {
  pthread_mutex_init(&c->lock, NULL);
  for (int i = 0; i < TINKER__CONN_WAITS; i++) {
    tinker__list_init(&c->waiting[i]);
  }
  c->n = 0;
  c->max = max;
  c->shut = shut;
}

void tinker__svc_conns_done(tinker__svc_conns_t *c) {
  pthread_mutex_destroy(&c->lock);
}

static void set_state(tinker__svc_conns_t *c, tinker__svc_conn_t *conn,
                      tinker__svc_conn_state_t state, int64_t now_ms) {
  tinker__list_remove(&conn->link);
  conn->state = state;
  conn->since_ms = now_ms;
  if (state < TINKER__CONN_WAITS) {
    tinker__list_push_back(&c->waiting[state], &conn->link);
  }
}

void tinker__svc_conns_add(tinker__svc_conns_t *c, tinker__svc_conn_t *conn,
                           int fd, int64_t now_ms) {
  tinker__list_init(&conn->link);
  conn->fd = fd;
  pthread_mutex_lock(&c->lock);
  set_state(c, conn, TINKER__CONN_NEW, now_ms);
  c->n++;
  pthread_mutex_unlock(&c->lock);
}

void tinker__svc_conns_move(tinker__svc_conns_t *c, tinker__svc_conn_t *conn,
                            tinker__svc_conn_state_t state, int64_t now_ms) {
  pthread_mutex_lock(&c->lock);
  if (conn->state != TINKER__CONN_ENDED) set_state(c, conn, state, now_ms);
  pthread_mutex_unlock(&c->lock);
}

void tinker__svc_conns_remove(tinker__svc_conns_t *c,
                              tinker__svc_conn_t *conn) {
  pthread_mutex_lock(&c->lock);
  if (conn->state != TINKER__CONN_ENDED) c->n--;
  tinker__list_remove(&conn->link);
  pthread_mutex_unlock(&c->lock);
}

/* Ends the connection that waits longest in a state, if it has waited `ms`. */
static bool end_oldest(tinker__svc_conns_t *c, int state, int64_t ms,
                       int64_t now_ms) {
  tinker__link_t *l = tinker__list_first(&c->waiting[state]);
  if (!l) return false;
  tinker__svc_conn_t *conn = TINKER__CONTAINER(l, tinker__svc_conn_t, link);
  if (now_ms - conn->since_ms < ms) return false;
  set_state(c, conn, TINKER__CONN_ENDED, now_ms);
  c->n--;
  c->shut(conn->fd);
  return true;
}

void tinker__svc_conns_look(tinker__svc_conns_t *c, int64_t now_ms) {
  pthread_mutex_lock(&c->lock);
  for (int i = 0; i < TINKER__CONN_WAITS; i++) {
    while (end_oldest(c, i, tinker__svc_conn_limits[i], now_ms)) {
    }
  }
  for (int i = 0; i < TINKER__CONN_WAITS; i++) {
    while (c->n > c->max - c->max / 8 && end_oldest(c, i, grace[i], now_ms)) {
    }
  }
  pthread_mutex_unlock(&c->lock);
}

/* --- Sockets -------------------------------------------------------------- */

void tinker__svc_conns_shut(int fd) {
  shutdown(fd, SHUT_RDWR);
}

/* True when the peer sends nothing more and all bytes have been read. */
static bool at_end(int fd) {
  char byte;
  ssize_t n = recv(fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT);
  return n == 0 ||
         (n < 0 && errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR);
}

void tinker__svc_peers_look(const int *fds, size_t n, bool *gone) {
  struct pollfd p[TINKER__PEERS_MAX];
  short lost = POLLHUP | POLLERR | POLLNVAL;
#ifdef POLLRDHUP
  lost |= POLLRDHUP; /* seen even while bytes wait to be read */
#endif
  for (size_t i = 0; i < n; i++) {
    p[i] = (struct pollfd){fds[i], (short)(POLLIN | (lost & ~POLLNVAL)), 0};
  }
  bool any = poll(p, (nfds_t)n, 0) > 0;
  for (size_t i = 0; i < n; i++) {
    gone[i] = any && ((p[i].revents & lost) ||
                      ((p[i].revents & POLLIN) && at_end(fds[i])));
  }
}
