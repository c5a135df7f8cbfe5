/* stub: a server that speaks just enough of the protocol to measure clients.
 *
 *   bench_stub
 *
 * It listens on a free port of the loopback, prints a line with its URL, and
 * serves until its standard input ends. One thread: epoll, HTTP/1.1, answers
 * prebuilt, nothing computed, no state of a model, so that the client is what
 * costs. Bodies of forward_backward are read for the shape of the answer; all
 * others are only received.
 *
 * The first part of a request's path chooses how the client is treated:
 *   /held/N  polls for samples are answered when N samples have been accepted
 *   /parts   forward_backwards go in parts of 4 MB, one after another
 *   /wide    the same parts, as many at once as the client may have in flight
 * GET /counts answers what was seen: heartbeats, samples, and the numbers of
 * the forward_backwards. */
#define _GNU_SOURCE /* accept4, memmem */
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "stub_replies.h"

#define EVENTS 256
#define FIRST_CAP 32768 /* of a connection's buffer */
#define HEAD_MAX 16384
#define SHORT_MAX 512 /* an answer that is not prebuilt */

typedef enum {
  CONN_READING, /* a request, or waiting for one */
  CONN_HELD,    /* its answer waits for other requests */
  CONN_WRITING, /* the socket is full */
} conn_state_t;

typedef struct conn_s {
  int fd;
  conn_state_t state;
  char *in;
  size_t in_len, in_cap, head_len, body_len;
  bool continued; /* 100 Continue was sent */
  const char *out;
  size_t out_len;
  char brief[SHORT_MAX];
  size_t sample;       /* CONN_HELD: number of the sample asked for */
  struct conn_s *next; /* CONN_HELD */
} conn_t;

/* A request, borrowed from its connection. NUL-terminated path. */
typedef struct {
  conn_t *conn;
  const char *mode; /* first part of the path, or the path */
  const char *path; /* below /api/v1/ */
  const uint8_t *body;
  size_t len;
} request_t;

typedef struct {
  size_t heartbeats, samples, released, forwards, in_order, bytes;
  uint64_t first, last, least, most, sum; /* of the forwards' numbers */
} counts_t;

static int loop;
static counts_t counts;
static conn_t *held;
static stub_reply_t sample_reply;

static void die(const char *what) {
  fprintf(stderr, "bench_stub: %s: %s\n", what, strerror(errno));
  exit(1);
}

/* --- Connections ---------------------------------------------------------- */

static void watch(conn_t *c, int op, uint32_t events) {
  struct epoll_event e = {.events = events, .data.ptr = c};
  if (epoll_ctl(loop, op, c->fd, &e) != 0) die("epoll");
}

static void forget_held(const conn_t *c) {
  for (conn_t **at = &held; *at; at = &(*at)->next) {
    if (*at != c) continue;
    *at = c->next;
    return;
  }
}

static void drop(conn_t *c) {
  if (c->state == CONN_HELD) forget_held(c);
  close(c->fd);
  free(c->in);
  free(c);
}

static void reserve(conn_t *c, size_t cap) {
  if (cap <= c->in_cap) return;
  c->in = realloc(c->in, cap);
  if (!c->in) die("memory");
  c->in_cap = cap;
}

static void open_conn(int listener) {
  int one = 1, fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
  if (fd < 0) return;
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
  conn_t *c = calloc(1, sizeof *c);
  if (!c) die("memory");
  c->fd = fd;
  reserve(c, FIRST_CAP);
  watch(c, EPOLL_CTL_ADD, EPOLLIN);
}

/* Sends what is left of the answer. Returns false if the connection is dead. */
static bool push(conn_t *c) {
  while (c->out_len) {
    ssize_t n = send(c->fd, c->out, c->out_len, MSG_NOSIGNAL);
    if (n < 0 && errno == EAGAIN) {
      if (c->state != CONN_WRITING) watch(c, EPOLL_CTL_MOD, EPOLLOUT);
      c->state = CONN_WRITING;
      return true;
    }
    if (n < 0) return false;
    c->out += n;
    c->out_len -= (size_t)n;
  }
  if (c->state == CONN_WRITING) watch(c, EPOLL_CTL_MOD, EPOLLIN);
  c->state = CONN_READING;
  return true;
}

static bool answer(conn_t *c, const stub_reply_t *r) {
  c->out = r->data;
  c->out_len = r->len;
  return push(c);
}

static bool answer_brief(conn_t *c, const char *status, const char *body) {
  int n = snprintf(c->brief, sizeof c->brief,
                   "HTTP/1.1 %s\r\nContent-Type: application/json\r\n"
                   "Content-Length: %zu\r\n\r\n%s",
                   status, strlen(body), body);
  c->out = c->brief;
  c->out_len = (size_t)n;
  return push(c);
}

/* --- Answers -------------------------------------------------------------- */

static void count_forward(const stub_forward_t *f, size_t len) {
  counts_t *n = &counts;
  if (n->forwards == 0) n->first = n->least = n->most = f->seq;
  if (n->forwards == 0 || f->seq == n->last + 1) n->in_order++;
  if (f->seq < n->least) n->least = f->seq;
  if (f->seq > n->most) n->most = f->seq;
  n->last = f->seq;
  n->sum += f->seq;
  n->bytes += len;
  n->forwards++;
}

static bool on_forward(const request_t *r) {
  char body[96];
  stub_forward_t f;
  if (stub_forward_read(r->body, r->len, &f) != 0) {
    return answer_brief(r->conn, "400 Bad Request", "{\"detail\":\"body\"}");
  }
  count_forward(&f, r->len);
  snprintf(body, sizeof body,
           "{\"request_id\":\"f%zu:%zu\",\"model_id\":\"S:train:0\"}", f.shape,
           counts.forwards);
  return answer_brief(r->conn, "200 OK", body);
}

/* Answers the polls whose samples are let go now. */
static void release_held(size_t upto) {
  conn_t **at = &held;
  counts.released = upto;
  while (*at) {
    conn_t *c = *at;
    if (c->sample > upto) {
      at = &c->next;
      continue;
    }
    *at = c->next;
    c->state = CONN_READING;
    /* Not dropped here: an event of it may be among those at hand. */
    if (!answer(c, &sample_reply)) shutdown(c->fd, SHUT_RDWR);
  }
}

static bool on_sample(const request_t *r) {
  char body[96];
  size_t per =
      strncmp(r->mode, "/held/", 6) ? 1 : strtoul(r->mode + 6, NULL, 10);
  size_t number = ++counts.samples;
  snprintf(body, sizeof body,
           "{\"request_id\":\"s%zu\",\"sample_sequence_ids\":[\"q%zu\"]}",
           number, number);
  bool well = answer_brief(r->conn, "200 OK", body);
  if (per <= 1 || number % per == 0) release_held(number);
  return well;
}

static bool hold(conn_t *c, size_t number) {
  c->state = CONN_HELD;
  c->sample = number;
  c->next = held;
  held = c;
  return true;
}

static bool on_poll(const request_t *r) {
  static const char name[] = "\"request_id\"";
  const char *end = (const char *)r->body + r->len;
  const char *at = memmem(r->body, r->len, name, sizeof name - 1);
  if (at)
    at = memchr(at + sizeof name - 1, '"', (size_t)(end - at) - sizeof name);
  size_t number = at ? strtoul(at + 2, NULL, 10) : 0;
  const stub_reply_t *forward;
  switch (at ? at[1] : 0) {
  case 's':
    return number > counts.released ? hold(r->conn, number)
                                    : answer(r->conn, &sample_reply);
  case 'f':
    forward = stub_forward(number);
    if (forward) return answer(r->conn, forward);
    break;
  case 'm':
    return answer_brief(
        r->conn, "200 OK",
        "{\"model_id\":\"S:train:0\",\"type\":\"create_model\"}");
  case 'o': return answer_brief(r->conn, "200 OK", "{\"metrics\":{}}");
  }
  return answer_brief(r->conn, "404 Not Found", "{\"detail\":\"request_id\"}");
}

static bool on_config(const request_t *r) {
  const char *parts = "{\"fwdbwd_max_chunk_bytes_count\":4000000,"
                      "\"parallel_fwdbwd_chunks\":false}";
  const char *wide = "{\"fwdbwd_max_chunk_bytes_count\":4000000}";
  bool in_parts = !strncmp(r->mode, "/parts/", 7);
  bool at_once = !strncmp(r->mode, "/wide/", 6);
  return answer_brief(r->conn, "200 OK",
                      in_parts  ? parts
                      : at_once ? wide
                                : "{}");
}

static bool on_counts(const request_t *r) {
  const counts_t *n = &counts;
  char body[384];
  snprintf(body, sizeof body,
           "{\"heartbeats\":%zu,\"samples\":%zu,\"forwards\":%zu,"
           "\"bytes\":%zu,\"in_order\":%zu,\"first\":%llu,\"last\":%llu,"
           "\"least\":%llu,\"most\":%llu,\"sum\":%llu}",
           n->heartbeats, n->samples, n->forwards, n->bytes, n->in_order,
           (unsigned long long)n->first, (unsigned long long)n->last,
           (unsigned long long)n->least, (unsigned long long)n->most,
           (unsigned long long)n->sum);
  return answer_brief(r->conn, "200 OK", body);
}

static bool on_heartbeat(const request_t *r) {
  counts.heartbeats++;
  return answer_brief(r->conn, "200 OK", "{\"type\":\"session_heartbeat\"}");
}

typedef struct {
  const char *path;
  bool (*call)(const request_t *); /* NULL: body */
  const char *body;
} route_t;

/* Paths match by their beginning; the busy ones are first. */
static const route_t routes[] = {
    {"retrieve_future", on_poll, NULL},
    {"asample", on_sample, NULL},
    {"forward_backward", on_forward, NULL},
    {"optim_step", NULL, "{\"request_id\":\"o\",\"model_id\":\"S:train:0\"}"},
    {"session_heartbeat", on_heartbeat, NULL},
    {"client/config", on_config, NULL},
    {"client/dynamic_config", NULL, "{}"},
    {"create_session", NULL,
     "{\"type\":\"create_session\",\"session_id\":\"S\"}"},
    {"create_model", NULL, "{\"request_id\":\"m\",\"model_id\":\"S:train:0\"}"},
    {"get_info", NULL,
     "{\"type\":\"get_info\",\"model_id\":\"S:train:0\",\"model_data\":"
     "{\"arch\":\"qwen3\",\"model_name\":\"m\"},\"is_lora\":true,"
     "\"lora_rank\":32,\"model_name\":\"m\"}"},
    {"create_sampling_session", NULL,
     "{\"type\":\"create_sampling_session\","
     "\"sampling_session_id\":\"S:sample:0\"}"},
    {"samplers/", NULL, "{\"sampler_id\":\"S:sample:0\",\"base_model\":\"m\"}"},
    {"sessions/", NULL, "{}"},
    {"telemetry", NULL, "{\"status\":\"accepted\"}"},
    {"counts", on_counts, NULL},
};

static bool serve(const request_t *r) {
  for (size_t i = 0; i < sizeof routes / sizeof *routes; i++) {
    const route_t *route = &routes[i];
    if (strncmp(r->path, route->path, strlen(route->path)) != 0) continue;
    return route->call ? route->call(r)
                       : answer_brief(r->conn, "200 OK", route->body);
  }
  return answer_brief(r->conn, "404 Not Found", "{\"detail\":\"path\"}");
}

/* --- Requests ------------------------------------------------------------- */

/* The value of a head's line in lower case; the head ends with a NUL. */
static const char *header(const char *head, const char *name) {
  size_t n = strlen(name);
  for (const char *at = strchr(head, '\n'); at; at = strchr(at, '\n')) {
    if (!strncasecmp(++at, name, n)) return at + n;
  }
  return NULL;
}

/* Reads the head. Returns false if it is not one. */
static bool take_head(conn_t *c, const char *end) {
  static const char go_on[] = "HTTP/1.1 100 Continue\r\n\r\n";
  c->head_len = (size_t)(end - c->in) + 4;
  c->in[c->head_len - 1] = '\0';
  const char *len = header(c->in, "content-length:");
  c->body_len = len ? strtoul(len, NULL, 10) : 0;
  if (header(c->in, "transfer-encoding:")) return false;
  if (header(c->in, "expect:") &&
      send(c->fd, go_on, sizeof go_on - 1, MSG_NOSIGNAL) < 0) {
    return false;
  }
  reserve(c, c->head_len + c->body_len);
  return true;
}

static bool serve_head(conn_t *c) {
  static const char below[] = "/api/v1/";
  char *path = strchr(c->in, ' '), *end = path ? strchr(path + 1, ' ') : NULL;
  if (!end) return false;
  *end = '\0';
  const char *api = strstr(path + 1, below);
  request_t r = {
      .conn = c,
      .mode = path + 1,
      .path = api ? api + sizeof below - 1 : path + 2,
      .body = (const uint8_t *)c->in + c->head_len,
      .len = c->body_len,
  };
  c->in_len = c->head_len = 0;
  return serve(&r);
}

/* Takes what has arrived. Returns false if the connection is at its end. */
static bool pull(conn_t *c) {
  if (c->in_len == c->in_cap) return false;
  ssize_t n = recv(c->fd, c->in + c->in_len, c->in_cap - c->in_len, 0);
  if (n <= 0) return n < 0 && errno == EAGAIN;
  c->in_len += (size_t)n;
  if (c->head_len == 0) {
    size_t look = c->in_len < HEAD_MAX ? c->in_len : HEAD_MAX;
    const char *end = memmem(c->in, look, "\r\n\r\n", 4);
    if (!end) return c->in_len < HEAD_MAX;
    if (!take_head(c, end)) return false;
  }
  return c->in_len < c->head_len + c->body_len || serve_head(c);
}

/* --- Program -------------------------------------------------------------- */

static int listen_on_loopback(void) {
  struct sockaddr_in at = {.sin_family = AF_INET};
  socklen_t len = sizeof at;
  at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd < 0 || bind(fd, (struct sockaddr *)&at, len) != 0 ||
      listen(fd, 1024) != 0 ||
      getsockname(fd, (struct sockaddr *)&at, &len) != 0) {
    die("listen");
  }
  printf("http://127.0.0.1:%u\n", ntohs(at.sin_port));
  fflush(stdout);
  return fd;
}

static void on_event(const struct epoll_event *e) {
  conn_t *c = e->data.ptr;
  bool well = !(e->events & EPOLLERR);
  if (well && c->state == CONN_WRITING)
    well = push(c);
  else if (well && c->state == CONN_READING)
    well = pull(c);
  else
    well = false; /* held: nothing but its end may arrive */
  if (!well) drop(c);
}

int main(void) {
  struct epoll_event events[EVENTS], input = {.events = EPOLLIN};
  sample_reply = stub_sample();
  int listener = listen_on_loopback();
  loop = epoll_create1(EPOLL_CLOEXEC);
  struct epoll_event door = {.events = EPOLLIN, .data.ptr = &listener};
  input.data.ptr = &input;
  if (loop < 0 || epoll_ctl(loop, EPOLL_CTL_ADD, listener, &door) != 0 ||
      epoll_ctl(loop, EPOLL_CTL_ADD, 0, &input) != 0) {
    die("epoll");
  }
  for (;;) {
    int n = epoll_wait(loop, events, EVENTS, -1);
    for (int i = 0; i < n; i++) {
      char byte;
      if (events[i].data.ptr == &listener)
        open_conn(listener);
      else if (events[i].data.ptr != &input)
        on_event(&events[i]);
      else if (read(0, &byte, 1) <= 0)
        return 0;
    }
  }
}
