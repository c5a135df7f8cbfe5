/* Bodies that are handed over in pieces, parts of them, and those that stall.
 */
#include <criterion/criterion.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <tinker/error.h>

#include "support/fail_alloc.h"
#include "support/http_client.h"
#include "support/tiny_server.h"

enum { SIZE = 20000000 };

/* Byte i of every file. */
static char byte_at(size_t i) {
  return (char)((i * 2654435761u) >> 13);
}

static char *file_reply;
static size_t file_head;

/* A reply with SIZE bytes. */
static void make_file(void) {
  file_reply = malloc(SIZE + 200);
  file_head =
      (size_t)snprintf(file_reply, 200,
                       "HTTP/1.1 200 OK\r\nETag: \"a\"\r\nContent-Length: %d"
                       "\r\n\r\n",
                       SIZE);
  for (size_t i = 0; i < SIZE; i++) file_reply[file_head + i] = byte_at(i);
}

/* Ten bytes "0123456789" by parts, well and badly. */
static tiny_reply_t part(const char *path) {
  static const struct {
    const char *path, *bytes;
    bool close;
  } replies[] = {
#define PART(status, range, len, body)                                         \
  "HTTP/1.1 " status " X\r\nContent-Range: " range "\r\nContent-Length: " len  \
  "\r\n\r\n" body
      {"/middle", PART("206", "bytes 3-5/10", "3", "345"), false},
      {"/rest", PART("206", "bytes 3-9/*", "7", "3456789"), false},
      {"/less", PART("206", "bytes 3-4/10", "2", "34"), false},
      {"/wrong", PART("206", "bytes 0-2/10", "3", "012"), false},
      {"/longer", PART("206", "bytes 3-9/10", "7", "3456789"), false},
      {"/nonsense", PART("206", "bytes x", "3", "345"), false},
      {"/past", PART("416", "bytes */10", "4", "past"), false},
      {"/whole", TINY_OK("10", "0123456789"), false},
      {"/cut",
       "HTTP/1.1 206 X\r\nContent-Range: bytes 3-5/10\r\n"
       "Connection: close\r\n\r\n34",
       true},
#undef PART
  };
  for (size_t i = 0; i < sizeof(replies) / sizeof(*replies); i++) {
    if (!strcmp(path, replies[i].path)) {
      return (tiny_reply_t){.bytes = replies[i].bytes,
                            .close = replies[i].close};
    }
  }
  return (tiny_reply_t){.bytes = "HTTP/1.1 404 No\r\nContent-Length: 4\r\n\r\n"
                                 "gone"};
}

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static char range_header[100]; /* of the last request, "" = none */

static void note_range(const tiny_request_t *r) {
  const char *range = strstr(r->head, "Range: ");
  pthread_mutex_lock(&lock);
  range_header[0] = '\0';
  if (range) sscanf(range, "Range: %99[^\r]", range_header);
  pthread_mutex_unlock(&lock);
}

static tiny_reply_t serve(void *user, const tiny_request_t *r) {
  (void)user;
  note_range(r);
  if (!strcmp(r->path, "/file")) {
    return (tiny_reply_t){.bytes = file_reply, .len = file_head + SIZE};
  }
  if (!strcmp(r->path, "/silent")) return (tiny_reply_t){.hang = true};
  if (!strcmp(r->path, "/stalls")) {
    return (tiny_reply_t){.bytes = TINY_OK("100", "some"), .hang = true};
  }
  return part(r->path);
}

/* ---- a receiver ---- */

typedef struct receiver_s {
  http_call_t call;
  tinker__task_t go_on;
  size_t got;
  size_t wrong;     /* bytes that are not those of a file */
  size_t most_live; /* of the client's memory, while it received */
  int pieces;
  int pause_every; /* 0 = never */
  atomic_int pauses;
  size_t refuse_at; /* 0 = never */
  bool lets_hang;   /* a pause has no end */
  int status;
  int64_t first;
  char text[16]; /* the first bytes */
} receiver_t;

static receiver_t got;

static void go_on(tinker__task_t *task) {
  receiver_t *v = TINKER__CONTAINER(task, receiver_t, go_on);
  if (!v->call.times) {
    tinker__http_resume(v->call.client->http, &v->call.request);
  }
}

/* Looks at every byte, and is paused before it takes each n-th piece. */
static int take(tinker__http_request_t *request,
                const tinker__http_reply_t *head, tinker__str_t piece) {
  receiver_t *v = TINKER__CONTAINER(request, receiver_t, call.request);
  size_t live = atomic_load(&v->call.client->mem.live_bytes);
  if (live > v->most_live) v->most_live = live;
  v->status = head->status;
  v->first = head->range_first;
  if (v->pause_every && ++v->pieces % v->pause_every == 0) {
    atomic_fetch_add(&v->pauses, 1);
    tinker__loop_notify(v->call.client->loop);
    if (!v->lets_hang) tinker__loop_post(v->call.client->loop, &v->go_on);
    return TINKER__SINK_PAUSE;
  }
  if (v->refuse_at && v->got >= v->refuse_at) return TINKER_EIO;
  for (size_t i = 0; i < piece.len; i++) {
    if (v->got + i < sizeof(v->text) - 1) v->text[v->got + i] = piece.ptr[i];
    v->wrong += piece.ptr[i] != byte_at(v->got + i);
  }
  v->got += piece.len;
  return 0;
}

static tinker__http_request_t get(const char *path) {
  return (tinker__http_request_t){
      .lane = TINKER__LANE_DOWNLOAD,
      .method = TINKER__HTTP_GET,
      .path = path,
      .sink = take,
      .reply_max = 100,
  };
}

/* Into got, of which the caller has set what it wants. */
static void begin(http_client_t *c, tinker__http_request_t r) {
  tinker__task_init(&got.go_on, go_on);
  http_call_prepare(c, &got.call, r);
  if (r.stall_ms) got.call.request.timeout_ms = r.timeout_ms;
  tinker__loop_post(c->loop, &got.call.submit);
}

static void receive(http_client_t *c, tinker__http_request_t r) {
  begin(c, r);
  http_call_finish(&got.call);
}

static void open_all(http_client_t *c, tiny_server_t **server) {
  if (!file_reply) make_file();
  *server = tiny_server_new(NULL, 64, true, serve, NULL);
  http_client_open(c, tiny_server_url(*server));
}

static void close_all(http_client_t *c, tiny_server_t *server) {
  http_client_close(c);
  tiny_server_free(server);
}

/* ---- pieces ---- */

Test(sink, a_body_is_handed_over_in_pieces, .timeout = 120) {
  http_client_t c;
  tiny_server_t *server;
  open_all(&c, &server);
  for (int pause = 0; pause < 3; pause++) {
    got = (receiver_t){.pause_every = pause * 3};
    receive(&c, get("/file"));
    cr_assert_eq(got.call.reply.error, 0, "%s", got.call.reply.detail);
    cr_assert_eq(got.call.reply.status, 200);
    cr_assert_eq(got.got, SIZE);
    cr_assert_eq(got.wrong, 0);
    cr_assert_eq(got.pauses > 0, pause > 0);
    cr_assert_eq(got.call.reply.body.len, 0);
    cr_assert_str_eq(got.call.reply.etag, "\"a\"");
    cr_assert_lt(got.most_live, SIZE / 20);
    http_call_end(&got.call);
  }
  close_all(&c, server);
}

Test(sink, it_may_refuse, .timeout = 120) {
  http_client_t c;
  tiny_server_t *server;
  open_all(&c, &server);
  for (int pause = 0; pause < 2; pause++) { /* 1: refuses after a pause */
    got = (receiver_t){.refuse_at = SIZE / 2, .pause_every = pause * 2};
    receive(&c, get("/file"));
    cr_assert_eq(got.call.reply.error, TINKER_EIO);
    cr_assert(strstr(got.call.reply.detail, "bytes and refused the next"), "%s",
              got.call.reply.detail);
    cr_assert_geq(got.got, SIZE / 2);
    cr_assert_lt(got.got, SIZE);
    http_call_end(&got.call);
    got = (receiver_t){0}; /* the lane goes on */
    receive(&c, get("/whole"));
    cr_assert_eq(got.got, 10);
    http_call_end(&got.call);
  }
  close_all(&c, server);
}

/* What is not a success is for people, and no file. */
Test(sink, it_gets_only_what_was_asked_for, .timeout = 120) {
  http_client_t c;
  tiny_server_t *server;
  open_all(&c, &server);
  got = (receiver_t){0};
  receive(&c, get("/missing"));
  cr_assert_eq(got.call.reply.error, 0);
  cr_assert_eq(got.call.reply.status, 404);
  cr_assert_eq(got.got, 0);
  cr_assert_eq(got.call.reply.body.len, 4);
  http_call_end(&got.call);
  tinker__http_request_t r = get("/file");
  r.lane = TINKER__LANE_CONTROL;
  receive(&c, r);
  cr_assert_eq(got.call.submit_rc, TINKER_EINVAL);
  close_all(&c, server);
}

/* It ends by cancel and by close, and its time runs on. */
Test(sink, a_pause_holds_nobody, .timeout = 120) {
  http_client_t c;
  tiny_server_t *server;
  open_all(&c, &server);
  for (int i = 0; i < 3; i++) {
    tinker__http_request_t r = get("/file");
    got = (receiver_t){.pause_every = 2, .lets_hang = true};
    if (i == 1) r.timeout_ms = 50;
    begin(&c, r);
    tinker__http_request_t small = get("/whole");
    small.sink = NULL;
    http_expect(&c, small, 0, 200, true); /* another one on the lane */
    if (i == 0) tinker__loop_post(c.loop, &got.call.cancel);
    if (i == 2) break;
    http_call_finish(&got.call);
    cr_assert_eq(got.call.reply.error, i ? TINKER_ETIMEDOUT : TINKER_ECANCELED);
    http_call_end(&got.call);
  }
  close_all(&c, server);
  cr_assert_eq(got.call.reply.error, TINKER_ECANCELED);
}

/* ---- parts ---- */

static const struct {
  const char *path;
  int64_t first, end;
  const char *header, *bytes, *detail;
  int error, status;
  int64_t begins, whole;
} parts[] = {
    {"/middle", 3, 6, "bytes=3-5", "345", "", 0, 206, 3, 10},
    {"/rest", 3, 0, "bytes=3-", "3456789", "", 0, 206, 3, -1},
    {"/less", 3, 6, "bytes=3-5", "34", "", 0, 206, 3, 10},
    {"/whole", 3, 6, "bytes=3-5", "0123456789", "", 0, 200, -1, -1},
    {"/whole", 0, 6, "bytes=0-5", "0123456789", "", 0, 200, -1, -1},
    {"/whole", 0, 0, "", "0123456789", "", 0, 200, -1, -1},
    {"/past", 10, 0, "bytes=10-", "", "", 0, 416, -1, 10},
    {"/wrong", 3, 6, "bytes=3-5", "",
     "bytes 0 to 2 came, but the part from 3 to another end was asked for",
     TINKER_EPROTO, 206, 0, 10},
    {"/longer", 3, 6, "bytes=3-5", "",
     "bytes 3 to 9 came, but the part from 3 to another end was asked for",
     TINKER_EPROTO, 206, 3, 10},
    {"/nonsense", 3, 6, "bytes=3-5", "",
     "a part came (206) without a Content-Range", TINKER_EPROTO, 206, -1, -1},
    {"/middle", 0, 0, "", "", "a part came (206), but the whole was asked for",
     TINKER_EPROTO, 206, 3, 10},
    {"/cut", 3, 6, "bytes=3-5", "34", "2 of 3 bytes of the part came",
     TINKER_ETRANSPORT, 206, 3, 10},
};

Test(sink, a_part_is_the_one_that_was_asked_for, .timeout = 120) {
  http_client_t c;
  tiny_server_t *server;
  open_all(&c, &server);
  for (size_t i = 0; i < sizeof(parts) / sizeof(*parts); i++) {
    tinker__http_request_t r = get(parts[i].path);
    r.range_first = parts[i].first;
    r.range_end = parts[i].end;
    got = (receiver_t){0};
    receive(&c, r);
    const tinker__http_reply_t *reply = &got.call.reply;
    cr_assert_eq(reply->error, parts[i].error, "%zu: %s", i, reply->detail);
    cr_assert_eq(reply->status, parts[i].status, "%zu", i);
    cr_assert_eq(reply->range_first, parts[i].begins, "%zu", i);
    cr_assert_eq(reply->whole_length, parts[i].whole, "%zu", i);
    cr_assert_str_eq(reply->detail, parts[i].detail, "%zu", i);
    cr_assert_str_eq(got.text, parts[i].bytes, "%zu", i);
    pthread_mutex_lock(&lock);
    cr_assert_str_eq(range_header, parts[i].header, "%zu", i);
    pthread_mutex_unlock(&lock);
    if (got.got) cr_assert_eq(got.first, parts[i].begins);
    http_call_end(&got.call);
  }
  close_all(&c, server);
}

Test(sink, what_a_part_must_not_be_is_refused, .timeout = 120) {
  http_client_t c;
  tiny_server_t *server;
  open_all(&c, &server);
  for (int i = 0; i < 7; i++) {
    tinker__http_request_t r = get("/whole");
    r.range_first = 3;
    if (i == 0) r.range_first = -1;
    if (i == 1) r.range_end = -1;
    if (i == 2) r.range_end = 3;
    if (i == 3) r.method = TINKER__HTTP_POST;
    if (i == 4) r.stall_ms = -1;
    if (i == 5) r.stall_floor = -1;
    if (i == 6) r.timeout_ms = -1;
    receive(&c, r);
    cr_assert_eq(got.call.submit_rc, TINKER_EINVAL, "%d", i);
  }
  close_all(&c, server);
}

/* ---- stalls ---- */

/* On a slow machine the limit may be over before the request has left: then it
 * was not sent, and nothing else. */
static void expect_stall(void) {
  const tinker__http_reply_t *reply = &got.call.reply;
  cr_assert_eq(reply->error, reply->sent ? TINKER_ETIMEDOUT : TINKER_ECONNECT,
               "%s", reply->detail);
  cr_assert(strstr(reply->detail, "stalled: "), "%s", reply->detail);
  cr_assert_eq(strncmp("some", got.text, got.got), 0, "%s", got.text);
}

Test(sink, a_stall_ends_it, .timeout = 120) {
  static const char *const paths[] = {"/silent", "/stalls"};
  http_client_t c;
  tiny_server_t *server;
  open_all(&c, &server);
  for (int i = 0; i < 4; i++) {
    tinker__http_request_t r = get(paths[i % 2]);
    r.stall_ms = 100;
    r.stall_floor = i < 2 ? 0 : 1000000000;
    got = (receiver_t){0};
    receive(&c, r);
    expect_stall();
    http_call_end(&got.call);
  }
  close_all(&c, server);
}

static bool has_paused(void *user) {
  (void)user;
  return atomic_load(&got.pauses) > 0 || http_call_is_over(&got.call);
}

static bool never(void *user) {
  (void)user;
  return false;
}

/* Begins one that pauses. On a busy machine the server may stall before that:
 * then it is begun again. */
static void begin_and_pause(http_client_t *c, tinker__http_request_t r) {
  for (;;) {
    got = (receiver_t){.pause_every = 2, .lets_hang = true};
    begin(c, r);
    cr_assert_eq(tinker__loop_wait(c->loop, has_paused, NULL, FAR_MS), 0);
    if (atomic_load(&got.pauses) > 0) return;
    http_call_finish(&got.call);
    cr_assert(strstr(got.call.reply.detail, "stalled: "));
    http_call_end(&got.call);
  }
}

/* Neither a pause of the receiver nor the wait for a connection counts, and a
 * request that has only such a limit has no other. */
Test(sink, what_the_server_is_not_to_blame_for_is_no_stall, .timeout = 120) {
  static http_call_t ahead[4];
  http_client_t c;
  tiny_server_t *server;
  open_all(&c, &server);
  tinker__http_request_t r = get("/file");
  r.stall_ms = 20;
  begin_and_pause(&c, r);
  tinker__loop_wait(c.loop, never, NULL, 100);
  cr_assert_not(http_call_is_over(&got.call));
  tinker__loop_post(c.loop, &got.call.cancel);
  http_call_finish(&got.call);
  cr_assert_eq(got.call.reply.error, TINKER_ECANCELED);
  http_call_end(&got.call);
  for (int i = 0; i < 4; i++) http_call_begin(&c, &ahead[i], get("/silent"));
  begin(&c, r);
  tinker__loop_wait(c.loop, never, NULL, 100);
  cr_assert_not(http_call_is_over(&got.call));
  tinker__loop_post(c.loop, &got.call.cancel);
  http_call_finish(&got.call);
  cr_assert_not(got.call.reply.sent);
  close_all(&c, server);
}

/* ---- memory ---- */

typedef struct sweep_s {
  http_client_t client;
  const char *url;
} sweep_t;

static int sweep_body(tinker__mem_t *mem, void *user) {
  sweep_t *s = user;
  http_client_t *c = &s->client;
  tinker__curl_options_t o = {s->url, "tml-x", "agent"};
  int rc = tinker__loop_background(&c->loop, mem, tinker__world_real());
  if (rc) return rc;
  rc = tinker__curl_new(&c->http, c->loop, &o, NULL, 0);
  if (!rc) {
    tinker__http_request_t r = get("/middle");
    r.range_first = 3;
    r.range_end = 6;
    r.stall_ms = FAR_MS;
    got = (receiver_t){.pause_every = 2};
    receive(c, r);
    rc = got.call.submit_rc ? got.call.submit_rc : got.call.reply.error;
    http_call_end(&got.call);
    http_client_stop(c);
  }
  tinker__loop_close(c->loop, NULL, NULL);
  return rc;
}

Test(sink, every_failed_allocation_is_survived, .timeout = 120) {
  static sweep_t s;
  tiny_server_t *server = tiny_server_new(NULL, 64, true, serve, NULL);
  s.url = tiny_server_url(server);
  cr_assert_geq(tinker__fail_sweep(sweep_body, &s, TINKER_ENOMEM), 8);
  tiny_server_free(server);
}
