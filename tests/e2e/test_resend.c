/* What the transport sends twice by itself, and what it never does: against a
 * server on a Unix socket that reads the head of each request and then no
 * more, so that the client's next write fails for certain. */
#include <criterion/criterion.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <tinker/error.h>
#include <unistd.h>

#include "support/http_client.h"

enum { HEADS = 8, HEAD_MAX = 8192, BODY = 8 << 20 };

/* --- the server --- */

typedef struct server_s {
  char path[64];
  int listener, stop[2];
  pthread_t thread;
  int count;
  char heads[HEADS][HEAD_MAX];
  int open[HEADS]; /* connections that are read no more */
} server_t;

static bool wait_readable(const server_t *s, int fd) {
  struct pollfd p[2] = {{fd, POLLIN, 0}, {s->stop[0], POLLIN, 0}};
  while (poll(p, 2, -1) < 0) {
  }
  return !p[1].revents;
}

/* Byte by byte: what is behind the head stays unread. */
static bool read_head(const server_t *s, int fd, char *head) {
  size_t n = 0;
  while (n + 1 < HEAD_MAX && wait_readable(s, fd) &&
         read(fd, head + n, 1) == 1) {
    head[++n] = '\0';
    if (n >= 4 && !strcmp(head + n - 4, "\r\n\r\n")) return true;
  }
  return false;
}

/* The next write there fails and nothing is heard. What is in the queue is
 * taken out, so that a writer that waits for room finds out. */
static void go_deaf(int fd) {
  char rest[65536];
  shutdown(fd, SHUT_RD);
  while (read(fd, rest, sizeof rest) > 0) {
  }
}

static void *serve(void *user) {
  server_t *s = user;
  while (s->count < HEADS && wait_readable(s, s->listener)) {
    int fd = accept(s->listener, NULL, NULL);
    if (!read_head(s, fd, s->heads[s->count])) {
      close(fd);
      continue;
    }
    go_deaf(fd);
    s->open[s->count++] = fd;
  }
  return NULL;
}

static void open_server(server_t *s) {
  struct sockaddr_un a = {.sun_family = AF_UNIX};
  memset(s, 0, sizeof *s);
  snprintf(s->path, sizeof s->path, "/tmp/tinker-resend-%d.sock",
           (int)getpid());
  snprintf(a.sun_path, sizeof a.sun_path, "%s", s->path);
  unlink(s->path);
  s->listener = socket(AF_UNIX, SOCK_STREAM, 0);
  cr_assert_eq(pipe(s->stop), 0);
  cr_assert_eq(bind(s->listener, (struct sockaddr *)&a, sizeof a), 0);
  cr_assert_eq(listen(s->listener, 16), 0);
  cr_assert_eq(pthread_create(&s->thread, NULL, serve, s), 0);
}

static void close_server(server_t *s) {
  close(s->stop[1]);
  pthread_join(s->thread, NULL);
  for (int i = 0; i < s->count; i++) close(s->open[i]);
  close(s->stop[0]);
  close(s->listener);
  unlink(s->path);
}

/* --- one request --- */

/* What came of a request. */
typedef struct ended_s {
  int error;
  bool sent;
  char detail[320];
} ended_t;

/* Sends it through a transport of its own. */
static void run(ended_t *e, const server_t *s, tinker__http_request_t request) {
  char url[80];
  http_client_t client;
  http_call_t call;
  snprintf(url, sizeof url, "unix:%s", s->path);
  http_client_open(&client, url);
  http_call_begin(&client, &call, request);
  http_call_finish(&call);
  cr_assert_eq(call.submit_rc, 0);
  e->error = call.reply.error;
  e->sent = call.reply.sent;
  snprintf(e->detail, sizeof e->detail, "%s", call.reply.detail);
  http_call_end(&call);
  http_client_close(&client);
}

static tinker__http_request_t post(const char *body, bool numbered,
                                   const char *key) {
  return (tinker__http_request_t){
      .lane = TINKER__LANE_SUBMIT,
      .method = TINKER__HTTP_POST,
      .path = "api/v1/create_model",
      .body = {body, BODY},
      .numbered = numbered,
      .idempotency_key = key,
  };
}

static void key_of(const char *head, char *out) {
  const char *at = strstr(head, "X-Idempotency-Key: ");
  cr_assert(at && sscanf(at + 19, "%99[^\r]", out) == 1, "%s", head);
}

/* Part of it went out: only a request that the server knows again may go out
 * a second time. */
Test(resend, after_a_failed_write, .timeout = 120) {
  char *body = calloc(1, BODY);
  for (int numbered = 0; numbered < 2; numbered++) {
    server_t s;
    ended_t c;
    open_server(&s);
    run(&c, &s, post(body, numbered, NULL));
    close_server(&s);
    cr_assert_eq(c.error, TINKER_ETRANSPORT, "%s: %s",
                 tinker_code_name(c.error), c.detail);
    cr_assert(c.sent);
    cr_assert_eq(s.count, numbered ? 2 : 1, "%d requests", s.count);
  }
  free(body);
}

/* The key that the caller gave is the one on the wire, each time; without one
 * the transport draws one and keeps it. */
Test(resend, the_idempotency_key, .timeout = 120) {
  char *body = calloc(1, BODY);
  char first[100], second[100];
  for (int given = 0; given < 2; given++) {
    server_t s;
    ended_t c;
    open_server(&s);
    run(&c, &s, post(body, true, given ? "a-key-of-the-caller" : NULL));
    close_server(&s);
    cr_assert_eq(s.count, 2);
    key_of(s.heads[0], first);
    key_of(s.heads[1], second);
    cr_assert_str_eq(first, second);
    if (given) cr_assert_str_eq(first, "a-key-of-the-caller");
    if (!given) cr_assert_eq(strlen(first), 36u);
  }
  free(body);
}
