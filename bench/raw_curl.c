/* raw_curl: libcurl without a client as a contender (see contender.h): the
 * same requests, the cheapest code that makes them.
 *
 *   bench_raw_curl URL WIDTH [POLL_WIDTH]
 *
 * WIDTH connections send and poll; with POLL_WIDTH, that many others poll.
 * Passes: forward, sample, small (see client.c), and forward_joined, which
 * copies a body into one piece before it is sent.
 *
 * One thread. A request goes to libcurl only when a connection is free for it,
 * and its handle keeps its buffers and options from one request to the next. */
#include <curl/curl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>

#include "raw_wire.h"

#define IDS_MAX 64 /* bytes of a request id */
#define EVENTS 64

typedef enum { SEND, POLL, KINDS } kind_t;

/* A pass: n requests, each with a poll for its result. */
typedef struct {
  const char *path;
  struct curl_slist *headers;
  size_t n;
  const arrays_t *arrays;
  void (*encode)(body_t *body, const arrays_t *a, size_t i);
  void (*decode)(const char *reply, size_t len, const arrays_t *a, size_t i);
} work_t;

typedef struct slot_s {
  CURL *easy;
  struct slot_s *next_free;
  struct lane_s *lane;
  kind_t kind;
  bool used; /* its options are those of kind and work */
  const work_t *work;
  size_t item;
  body_t body;
  size_t piece, offset; /* what was read of the body */
  char *reply;
  size_t reply_len, reply_cap;
} slot_t;

typedef struct {
  kind_t kind;
  size_t item;
} job_t;

/* Connections, and what waits for them. */
typedef struct lane_s {
  slot_t *slots, *free;
  size_t width;
  job_t *jobs;
  size_t head, tail;
} lane_t;

static const char *url;
static CURLM *multi;
static int loop;
static long timeout_ms = -1;
static lane_t lanes[KINDS];
static size_t lane_count;
static struct curl_slist *json, *proto, *poll_headers;
static char (*ids)[IDS_MAX];
static size_t ended;
static unsigned seq;

static void *take(size_t n, size_t size) {
  void *p = calloc(n, size);
  if (!p) fail("out of memory");
  return p;
}

/* --- libcurl's callbacks -------------------------------------------------- */

static size_t on_read(char *to, size_t size, size_t n, void *user) {
  slot_t *s = user;
  size_t room = size * n, all = room;
  while (room && s->piece < s->body.count) {
    const piece_t *p = &s->body.pieces[s->piece];
    size_t len = p->len - s->offset;
    if (len > room) len = room;
    memcpy(to, p->data + s->offset, len);
    to += len;
    room -= len;
    s->offset += len;
    if (s->offset < p->len) continue;
    s->offset = 0;
    s->piece++;
  }
  return all - room;
}

static size_t on_reply(char *data, size_t size, size_t n, void *user) {
  slot_t *s = user;
  size_t len = size * n;
  if (s->reply_len + len > s->reply_cap) {
    curl_off_t all = 0;
    curl_easy_getinfo(s->easy, CURLINFO_CONTENT_LENGTH_DOWNLOAD_T, &all);
    s->reply_cap = all > 0 ? (size_t)all : 2 * (s->reply_len + len);
    s->reply = realloc(s->reply, s->reply_cap);
    if (!s->reply || s->reply_len + len > s->reply_cap) fail("a reply");
  }
  memcpy(s->reply + s->reply_len, data, len);
  s->reply_len += len;
  return len;
}

static int on_socket(CURL *easy, curl_socket_t fd, int what, void *user,
                     void *known) {
  (void)easy;
  (void)user;
  struct epoll_event e = {.data.fd = fd};
  if (what == CURL_POLL_REMOVE)
    return epoll_ctl(loop, EPOLL_CTL_DEL, fd, &e), 0;
  if (what & CURL_POLL_IN) e.events |= EPOLLIN;
  if (what & CURL_POLL_OUT) e.events |= EPOLLOUT;
  if (epoll_ctl(loop, known ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, fd, &e) != 0) {
    fail("epoll");
  }
  curl_multi_assign(multi, fd, &loop);
  return 0;
}

static int on_timer(CURLM *m, long ms, void *user) {
  (void)m;
  (void)user;
  timeout_ms = ms;
  return 0;
}

/* --- Requests ------------------------------------------------------------- */

static void set_target(slot_t *s, const char *path, struct curl_slist *heads) {
  char text[512];
  snprintf(text, sizeof text, "%s/api/v1/%s", url, path);
  curl_easy_setopt(s->easy, CURLOPT_URL, text);
  curl_easy_setopt(s->easy, CURLOPT_HTTPHEADER, heads);
}

/* A body of one piece goes out with the head. */
static void set_body(slot_t *s) {
  bool whole = s->body.count == 1;
  curl_easy_setopt(s->easy, CURLOPT_POSTFIELDSIZE_LARGE,
                   (curl_off_t)s->body.len);
  curl_easy_setopt(s->easy, CURLOPT_POSTFIELDS,
                   whole ? s->body.pieces[0].data : NULL);
  s->piece = s->offset = 0;
}

static void set_poll(slot_t *s) {
  static const char form[] =
      "{\"request_id\":\"%s\",\"allow_metadata_only\":true}";
  body_t *b = &s->body;
  char text[IDS_MAX + sizeof form];
  int n = snprintf(text, sizeof text, form, ids[s->item]);
  curl_easy_setopt(s->easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)n);
  curl_easy_setopt(s->easy, CURLOPT_COPYPOSTFIELDS, text);
  b->count = 0;
}

static void prepare(slot_t *s, const work_t *work, job_t job) {
  bool same = s->used && s->kind == job.kind && s->work == work;
  s->kind = job.kind;
  s->work = work;
  s->item = job.item;
  s->reply_len = 0;
  if (job.kind == POLL) {
    if (!same) set_target(s, "retrieve_future", poll_headers);
    set_poll(s);
  } else {
    if (!same) set_target(s, work->path, work->headers);
    work->encode(&s->body, work->arrays, job.item);
    set_body(s);
  }
  s->used = true;
}

static lane_t *lane_of(kind_t kind) {
  return &lanes[lane_count > 1 ? kind : SEND];
}

static void push(kind_t kind, size_t item) {
  lane_t *lane = lane_of(kind);
  lane->jobs[lane->tail++] = (job_t){kind, item};
}

static void start(const work_t *work, lane_t *lane) {
  while (lane->free && lane->head < lane->tail) {
    slot_t *s = lane->free;
    lane->free = s->next_free;
    prepare(s, work, lane->jobs[lane->head++]);
    curl_multi_add_handle(multi, s->easy);
  }
}

/* --- Replies -------------------------------------------------------------- */

static void take_id(const slot_t *s) {
  static const char name[] = "\"request_id\":\"";
  char text[512];
  size_t len = s->reply_len < sizeof text ? s->reply_len : sizeof text - 1;
  memcpy(text, s->reply, len);
  text[len] = '\0';
  const char *at = strstr(text, name);
  size_t n = at ? strcspn(at += sizeof name - 1, "\"") : 0;
  if (n == 0 || n >= IDS_MAX) fail("no request id");
  memcpy(ids[s->item], at, n);
  ids[s->item][n] = '\0';
}

static void take_reply(slot_t *s) {
  long status = 0;
  curl_easy_getinfo(s->easy, CURLINFO_RESPONSE_CODE, &status);
  if (status != 200) fail("status %ld", status);
  if (s->kind == SEND) {
    take_id(s);
    return;
  }
  s->work->decode(s->reply, s->reply_len, s->work->arrays, s->item);
}

static void on_end(const CURLMsg *m, const work_t *work) {
  slot_t *s = NULL;
  CURL *easy = m->easy_handle;
  if (m->data.result) fail("%s", curl_easy_strerror(m->data.result));
  curl_easy_getinfo(easy, CURLINFO_PRIVATE, (char **)&s);
  curl_multi_remove_handle(multi, easy);
  take_reply(s);
  s->next_free = s->lane->free;
  s->lane->free = s;
  if (s->kind == SEND)
    push(POLL, s->item);
  else
    ended++;
  start(work, lane_of(POLL));
  start(work, s->lane);
}

/* --- Passes --------------------------------------------------------------- */

static void turn(const work_t *work) {
  struct epoll_event events[EVENTS];
  int left, running, n = epoll_wait(loop, events, EVENTS, (int)timeout_ms);
  if (n == 0) {
    timeout_ms = -1;
    curl_multi_socket_action(multi, CURL_SOCKET_TIMEOUT, 0, &running);
  }
  for (int i = 0; i < n; i++) {
    int what =
        (events[i].events & EPOLLIN ? CURL_CSELECT_IN : 0) |
        (events[i].events & EPOLLOUT ? CURL_CSELECT_OUT : 0) |
        (events[i].events & (EPOLLERR | EPOLLHUP) ? CURL_CSELECT_ERR : 0);
    curl_multi_socket_action(multi, events[i].data.fd, what, &running);
  }
  for (CURLMsg *m; (m = curl_multi_info_read(multi, &left)) != NULL;) {
    on_end(m, work);
  }
}

static void run(const work_t *work) {
  ids = take(work->n, sizeof *ids);
  for (size_t i = 0; i < lane_count; i++) {
    lanes[i].jobs = take(2 * work->n, sizeof *lanes[i].jobs);
    lanes[i].head = lanes[i].tail = 0;
    for (size_t k = 0; k < lanes[i].width; k++) lanes[i].slots[k].used = false;
  }
  for (size_t i = 0; i < work->n; i++) push(SEND, i);
  start(work, &lanes[SEND]);
  for (ended = 0; ended < work->n;) turn(work);
  for (size_t i = 0; i < lane_count; i++) free(lanes[i].jobs);
  free(ids);
}

static void encode_part(body_t *body, const arrays_t *a, size_t i) {
  size_t part = raw_part(a), from = i * part;
  size_t to = from + part < a->n ? from + part : a->n;
  raw_forward(body, a, ++seq, from, to);
}

static void encode_joined(body_t *body, const arrays_t *a, size_t i) {
  encode_part(body, a, i);
  raw_join(body);
}

static void decode_part(const char *reply, size_t len, const arrays_t *a,
                        size_t i) {
  size_t part = raw_part(a), from = i * part;
  size_t to = from + part < a->n ? from + part : a->n;
  raw_read_forward(reply, len, to - from, a->length);
}

static void forward(const arrays_t *a) {
  size_t parts = (a->n + raw_part(a) - 1) / raw_part(a);
  meter_start();
  run(&(work_t){"forward_backward", proto, parts, a, encode_part, decode_part});
  meter_stop();
}

static void forward_joined(const arrays_t *a) {
  size_t parts = (a->n + raw_part(a) - 1) / raw_part(a);
  meter_start();
  run(&(work_t){"forward_backward", proto, parts, a, encode_joined,
                decode_part});
  meter_stop();
}

static void decode_sample(const char *reply, size_t len, const arrays_t *a,
                          size_t i) {
  (void)a;
  (void)i;
  raw_read_sample(reply, len, 64);
}

static void sample(const arrays_t *a) {
  meter_start();
  run(&(work_t){"asample", json, a->n, a, raw_sample, decode_sample});
  meter_stop();
}

static void perform(slot_t *s, const work_t *work, job_t job) {
  prepare(s, work, job);
  CURLcode rc = curl_easy_perform(s->easy);
  if (rc) fail("%s", curl_easy_strerror(rc));
  take_reply(s);
}

/* One call after another needs no multi handle. */
static void small(const arrays_t *a) {
  arrays_t one = *a;
  one.n = 1;
  work_t work = {"forward_backward", proto, 1, &one, encode_part, decode_part};
  slot_t *slots = lanes[SEND].slots;
  ids = take(1, sizeof *ids);
  slots[0].used = slots[1].used = false;
  meter_start();
  for (size_t i = 0; i < a->n; i++) {
    perform(&slots[0], &work, (job_t){SEND, 0});
    perform(&slots[1], &work, (job_t){POLL, 0});
  }
  meter_stop();
  free(ids);
}

/* --- Program -------------------------------------------------------------- */

static void open_slot(slot_t *s, lane_t *lane) {
  s->easy = curl_easy_init();
  if (!s->easy) fail("no handle");
  s->lane = lane;
  s->next_free = lane->free;
  lane->free = s;
  curl_easy_setopt(s->easy, CURLOPT_PRIVATE, s);
  curl_easy_setopt(s->easy, CURLOPT_NOSIGNAL, 1L);
  curl_easy_setopt(s->easy, CURLOPT_PROXY, "");
  curl_easy_setopt(s->easy, CURLOPT_POST, 1L);
  curl_easy_setopt(s->easy, CURLOPT_HTTP_VERSION, CURL_HTTP_VERSION_1_1);
  curl_easy_setopt(s->easy, CURLOPT_USERAGENT, "bench");
  curl_easy_setopt(s->easy, CURLOPT_READFUNCTION, on_read);
  curl_easy_setopt(s->easy, CURLOPT_READDATA, s);
  curl_easy_setopt(s->easy, CURLOPT_WRITEFUNCTION, on_reply);
  curl_easy_setopt(s->easy, CURLOPT_WRITEDATA, s);
  curl_easy_setopt(s->easy, CURLOPT_UPLOAD_BUFFERSIZE, 64L * 1024);
  curl_easy_setopt(s->easy, CURLOPT_BUFFERSIZE, 64L * 1024);
}

static void open_lane(const char *width) {
  lane_t *lane = &lanes[lane_count++];
  lane->width = strtoul(width, NULL, 10);
  if (lane->width < 2 || lane->width > 1024) fail("width %s", width);
  lane->slots = take(lane->width, sizeof *lane->slots);
  for (size_t i = 0; i < lane->width; i++) open_slot(&lane->slots[i], lane);
}

static struct curl_slist *headers(const char *accept, const char *type) {
  struct curl_slist *list = curl_slist_append(NULL, accept);
  list = curl_slist_append(list, type);
  list = curl_slist_append(list, "X-API-Key: tml-bench");
  return curl_slist_append(list, "Expect:");
}

int main(int argc, char **argv) {
  static const pass_t passes[] = {
      {"forward", forward, false},
      {"forward_joined", forward_joined, false},
      {"sample", sample, false},
      {"small", small, true},
  };
  if (argc < 3 || argc > 4) return 2;
  url = argv[1];
  json = headers("Accept: application/json", "Content-Type: application/json");
  proto = headers("Accept: application/json",
                  "Content-Type: application/x-protobuf");
  poll_headers = headers("Accept: application/x-protobuf",
                         "Content-Type: application/json");
  multi = curl_multi_init();
  loop = epoll_create1(EPOLL_CLOEXEC);
  curl_multi_setopt(multi, CURLMOPT_SOCKETFUNCTION, on_socket);
  curl_multi_setopt(multi, CURLMOPT_TIMERFUNCTION, on_timer);
  for (int i = 2; i < argc; i++) open_lane(argv[i]);
  curl_multi_setopt(multi, CURLMOPT_MAXCONNECTS, 2048L);
  contender_serve("bench_raw_curl", passes, sizeof passes / sizeof *passes);
  return 0;
}
