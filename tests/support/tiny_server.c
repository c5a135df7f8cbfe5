/* tiny_server: see the header. `lock` guards the connections. */
#include "support/tiny_server.h"

#include <arpa/inet.h>
#include <assert.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#ifndef MSG_NOSIGNAL
#define MSG_NOSIGNAL 0 /* a test's own process: it ignores SIGPIPE instead */
#endif

enum { MAX_CONNECTIONS = 2048, MAX_HEAD = 65536 };

typedef struct conn_s {
  tiny_server_t *server;
  pthread_t thread;
  int fd;
  int number;
} conn_t;

struct tiny_server_s {
  tiny_handler handler;
  void *user;
  char url[256];
  char unix_path[128];
  int listener;
  int stop[2]; /* a pipe: its end is the sign to stop */
  bool accepting;
  pthread_t acceptor;
  pthread_mutex_t lock;
  conn_t conns[MAX_CONNECTIONS];
  int conn_count;
};

typedef struct input_s {
  char *data;
  size_t len, cap;
} input_t;

/* True when fd has something to say before the server is stopped. */
static bool wait_readable(const tiny_server_t *s, int fd) {
  struct pollfd p[2] = {{fd, POLLIN, 0}, {s->stop[0], POLLIN, 0}};
  while (poll(p, 2, -1) < 0) {
  }
  return !p[1].revents;
}

static bool read_more(const conn_t *c, input_t *in) {
  if (!wait_readable(c->server, c->fd)) return false;
  if (in->len + 65536 > in->cap) {
    in->cap = in->cap * 2 + 131072;
    in->data = realloc(in->data, in->cap);
  }
  ssize_t n = read(c->fd, in->data + in->len, 65535);
  if (n <= 0) return false;
  in->len += (size_t)n;
  in->data[in->len] = '\0';
  return true;
}

static size_t body_length(const char *head) {
  const char *at = strstr(head, "Content-Length: ");
  return at ? (size_t)strtoul(at + 16, NULL, 10) : 0;
}

static bool read_request(const conn_t *c, input_t *in, tiny_request_t *r) {
  char *end;
  if (in->len == 0 && !read_more(c, in)) return false;
  if (in->data[0] == 0x16) return false; /* speaks TLS, we don't */
  while (!(end = strstr(in->data, "\r\n\r\n"))) {
    if (in->len > MAX_HEAD || !read_more(c, in)) return false;
  }
  size_t head_len = (size_t)(end - in->data) + 2;
  in->data[head_len] = '\0';
  size_t body_len = body_length(in->data);
  while (in->len < head_len + 2 + body_len) {
    if (!read_more(c, in)) return false;
  }
  r->head = in->data;
  r->body = in->data + head_len + 2;
  r->body_len = body_len;
  return sscanf(in->data, "%7s %255s", r->method, r->path) == 2;
}

static void drop(input_t *in, const tiny_request_t *r) {
  size_t used = (size_t)(r->body - in->data) + r->body_len;
  memmove(in->data, in->data + used, in->len - used);
  in->len -= used;
  in->data[in->len] = '\0';
}

static bool write_all(int fd, const char *bytes, size_t len) {
  while (len > 0) {
    ssize_t n = send(fd, bytes, len, MSG_NOSIGNAL);
    if (n <= 0) return false;
    bytes += n;
    len -= (size_t)n;
  }
  return true;
}

/* Byte by byte; false when the server is stopped or the peer has gone. */
static bool trickle(const conn_t *c, const tiny_reply_t *reply, size_t len) {
  struct pollfd p = {c->server->stop[0], POLLIN, 0};
  for (size_t i = 0; i < len; i++) {
    if (!write_all(c->fd, reply->bytes + i, 1)) return false;
    if (poll(&p, 1, reply->byte_ms) > 0) return false;
  }
  return true;
}

static void reset_at_close(int fd) {
  struct linger now = {.l_onoff = 1, .l_linger = 0};
  setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof now);
}

/* False when the connection is to be closed. */
static bool answer(const conn_t *c, const tiny_reply_t *reply) {
  size_t len = reply->len     ? reply->len
               : reply->bytes ? strlen(reply->bytes)
                              : 0;
  if (reply->reset) reset_at_close(c->fd);
  if (reply->byte_ms ? !trickle(c, reply, len)
                     : !write_all(c->fd, reply->bytes, len)) {
    return false;
  }
  if (reply->hang) wait_readable(c->server, c->fd);
  return !reply->hang && !reply->close && !reply->reset;
}

static void *serve(void *user) {
  conn_t *c = user;
  input_t in = {0};
  tiny_request_t r = {.connection = c->number};
  while (read_request(c, &in, &r)) {
    tiny_reply_t reply = c->server->handler(c->server->user, &r);
    drop(&in, &r);
    r.nth++;
    if (!answer(c, &reply)) break;
  }
  close(c->fd);
  free(in.data);
  return NULL;
}

static void *accept_all(void *user) {
  tiny_server_t *s = user;
  while (wait_readable(s, s->listener)) {
    int fd = accept(s->listener, NULL, NULL);
    if (fd < 0) continue;
    pthread_mutex_lock(&s->lock);
    assert(s->conn_count < MAX_CONNECTIONS);
    conn_t *c = &s->conns[s->conn_count];
    *c = (conn_t){.server = s, .fd = fd, .number = s->conn_count++};
    pthread_create(&c->thread, NULL, serve, c);
    pthread_mutex_unlock(&s->lock);
  }
  return NULL;
}

static int listen_unix(tiny_server_t *s, const char *path, int backlog) {
  struct sockaddr_un a = {.sun_family = AF_UNIX};
  snprintf(a.sun_path, sizeof(a.sun_path), "%s", path);
  snprintf(s->unix_path, sizeof(s->unix_path), "%s", path);
  snprintf(s->url, sizeof(s->url), "unix:%s", path);
  unlink(path);
  int fd = socket(AF_UNIX, SOCK_STREAM, 0);
  int rc = bind(fd, (struct sockaddr *)&a, sizeof(a));
  return rc || listen(fd, backlog) ? -1 : fd;
}

static int listen_tcp(tiny_server_t *s, int backlog) {
  struct sockaddr_in a = {.sin_family = AF_INET};
  socklen_t len = sizeof(a);
  a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  int fd = socket(AF_INET, SOCK_STREAM, 0);
  if (bind(fd, (struct sockaddr *)&a, len) || listen(fd, backlog)) return -1;
  getsockname(fd, (struct sockaddr *)&a, &len);
  snprintf(s->url, sizeof(s->url), "http://127.0.0.1:%d", ntohs(a.sin_port));
  return fd;
}

tiny_server_t *tiny_server_new(const char *unix_path, int backlog,
                               bool accepting, tiny_handler handler,
                               void *user) {
  tiny_server_t *s = calloc(1, sizeof(*s));
  if (!s || pipe(s->stop)) abort();
  signal(SIGPIPE, SIG_IGN);
  s->handler = handler;
  s->user = user;
  pthread_mutex_init(&s->lock, NULL);
  s->listener =
      unix_path ? listen_unix(s, unix_path, backlog) : listen_tcp(s, backlog);
  if (s->listener < 0) abort();
  if (accepting) tiny_server_accept(s);
  return s;
}

void tiny_server_accept(tiny_server_t *server) {
  server->accepting = true;
  pthread_create(&server->acceptor, NULL, accept_all, server);
}

const char *tiny_server_url(const tiny_server_t *server) {
  return server->url;
}

void tiny_server_far_url(const tiny_server_t *server, char *out,
                         size_t out_len) {
  snprintf(out, out_len, "http://127.1%s", strrchr(server->url, ':'));
}

int tiny_server_connections(tiny_server_t *server) {
  pthread_mutex_lock(&server->lock);
  int n = server->conn_count;
  pthread_mutex_unlock(&server->lock);
  return n;
}

void tiny_server_free(tiny_server_t *server) {
  close(server->stop[1]);
  if (server->accepting) pthread_join(server->acceptor, NULL);
  for (int i = 0; i < server->conn_count; i++) {
    pthread_join(server->conns[i].thread, NULL);
  }
  close(server->stop[0]);
  close(server->listener);
  if (server->unix_path[0]) unlink(server->unix_path);
  pthread_mutex_destroy(&server->lock);
  free(server);
}

bool tiny_has_header(const char *head, const char *line) {
  size_t n = strlen(line);
  for (const char *at = head; (at = strstr(at, line)); at += n) {
    bool begins = at == head || at[-1] == '\n';
    if (begins && strncmp(at + n, "\r\n", 2) == 0) return true;
  }
  return false;
}
