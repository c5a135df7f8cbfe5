/* The libcurl transport against a server of raw sockets that misbehaves as
 * told. Nothing depends on how long anything takes, but for limits that are
 * far away. */
#include <criterion/criterion.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <tinker/error.h>
#include <unistd.h>

#include "support/fail_alloc.h"
#include "support/http_client.h"
#include "support/tiny_server.h"

static tinker__http_request_t post(const char *path, bool numbered) {
  return (tinker__http_request_t){
      .lane = TINKER__LANE_SUBMIT,
      .method = TINKER__HTTP_POST,
      .path = path,
      .body = TINKER__STR("{\"a\":1}"),
      .numbered = numbered,
  };
}

static const char *socket_path(void) {
  static char path[64];
  snprintf(path, sizeof(path), "/tmp/tinker-http-%d.sock", (int)getpid());
  return path;
}

/* ---- what is sent, and what is taken from the reply ---- */

typedef struct seen_s {
  pthread_mutex_t lock;
  int count;
  char method[8];
  char path[256];
  char *head;
  char *body;
  size_t body_len;
} seen_t;

static seen_t seen = {.lock = PTHREAD_MUTEX_INITIALIZER};

static tiny_reply_t remember(void *user, const tiny_request_t *r) {
  (void)user;
  pthread_mutex_lock(&seen.lock);
  seen.count++;
  free(seen.head);
  free(seen.body);
  snprintf(seen.method, sizeof(seen.method), "%s", r->method);
  snprintf(seen.path, sizeof(seen.path), "%s", r->path);
  seen.head = strdup(r->head);
  seen.body = malloc(r->body_len + 1);
  memcpy(seen.body, r->body, r->body_len);
  seen.body_len = r->body_len;
  pthread_mutex_unlock(&seen.lock);
  return (tiny_reply_t){
      .bytes =
          "HTTP/1.1 429 Slow\r\nContent-Type: Application/JSON; x=y\r\n"
          "Retry-After: 3\r\nX-Should-Retry: true\r\n"
          "X-Request-ID:  r-17 \r\nRequest-Id: another\r\nCF-Ray: third\r\n"
          "Content-Length: 4\r\n\r\nbody"};
}

static void check_headers(bool mutation, bool has_body) {
  cr_assert(tiny_has_header(seen.head, "X-API-Key: tml-secret"));
  cr_assert(tiny_has_header(seen.head, "User-Agent: tinker-c/test"));
  cr_assert(tiny_has_header(seen.head, "X-Extra: yes"));
  cr_assert(tiny_has_header(seen.head, "X-Empty:"));
  cr_assert_null(strstr(seen.head, "Expect:"));
  cr_assert_eq(strstr(seen.head, "X-Idempotency-Key: ") != NULL, mutation);
  cr_assert_eq(strstr(seen.head, "Content-Type: ") != NULL, has_body);
}

static void check_reply(http_call_t *call) {
  cr_assert_eq(call->reply.error, 0, "%s", call->reply.detail);
  cr_assert_eq(call->reply.status, 429);
  cr_assert_str_eq(call->reply.content_type, "application/json");
  cr_assert_eq(call->reply.retry_after_ms, 3000);
  cr_assert_eq(call->reply.should_retry, 1);
  cr_assert_str_eq(call->reply.request_id, "r-17");
  cr_assert_eq(call->reply.content_length, 4);
  cr_assert_eq(call->reply.body.len, 4);
  cr_assert_arr_eq(call->reply.body.data, "body", 4);
  http_call_end(call);
}

static void exchange_all(http_client_t *c) {
  static const char *const names[] = {"GET", "POST", "PUT", "DELETE"};
  static const tinker__http_header_t extra[] = {{"X-Extra", "yes"},
                                                {"X-Empty", ""}};
  size_t len = 3000000; /* more than any socket buffer */
  char *body = malloc(len);
  for (size_t i = 0; i < len; i++) body[i] = (char)(i * 31 % 251);
  for (int i = 0; i < 16; i++) {
    tinker__http_method_t method = (tinker__http_method_t)(i % 4);
    bool has_body = method != TINKER__HTTP_GET && i < 12;
    http_call_t call;
    http_call_begin(c, &call,
                    (tinker__http_request_t){.lane = TINKER__LANE_CONTROL,
                                             .method = method,
                                             .path = "/api/v1/x:train:0",
                                             .headers = extra,
                                             .header_count = 2,
                                             .accept = "application/x-protobuf",
                                             .body = {body, has_body ? len : 0},
                                             .numbered = i % 8 < 4});
    http_call_finish(&call);
    check_reply(&call);
    cr_assert_str_eq(seen.method, names[method]);
    cr_assert_str_eq(seen.path, "/api/v1/x:train:0");
    cr_assert_eq(seen.body_len, has_body ? len : 0);
    cr_assert_eq(memcmp(seen.body, body, seen.body_len), 0);
    check_headers(method != TINKER__HTTP_GET, has_body);
    cr_assert(tiny_has_header(seen.head, "Accept: application/x-protobuf"));
  }
  free(body);
}

Test(http, requests_go_out_as_given_and_replies_come_back, .timeout = 120) {
  setenv("http_proxy", "http://127.0.0.1:1", 1); /* must not matter */
  setenv("all_proxy", "http://127.0.0.1:1", 1);
  for (int round = 0; round < 3; round++) {
    tiny_server_t *server = tiny_server_new(round == 1 ? socket_path() : NULL,
                                            64, true, remember, NULL);
    http_client_t c;
    char url[300];
    snprintf(url, sizeof(url), "%s", tiny_server_url(server));
    if (round == 2) { /* a name: the resolver's thread and descriptors */
      snprintf(url, sizeof(url), "http://localhost%s",
               strrchr(tiny_server_url(server), ':'));
    }
    http_client_open(&c, url);
    exchange_all(&c);
    http_client_close(&c);
    /* One connection, and one for each unnumbered call without a body. */
    cr_assert_eq(tiny_server_connections(server), 4);
    tiny_server_free(server);
  }
}

/* ---- a kept connection that dies ---- */

typedef struct deaths_s {
  atomic_int arrived; /* at path /once */
} deaths_t;

/* On a kept connection /once is read to its end, then the line goes dead. */
static tiny_reply_t die_reused(void *user, const tiny_request_t *r) {
  deaths_t *d = user;
  if (strcmp(r->path, "/once") == 0) {
    atomic_fetch_add(&d->arrived, 1);
    if (r->nth > 0) return (tiny_reply_t){.close = true};
  }
  return (tiny_reply_t){.bytes = TINY_OK("2", "{}")};
}

Test(http, a_mutation_without_number_is_delivered_once, .timeout = 120) {
  for (int round = 0; round < 2; round++) {
    deaths_t d;
    http_client_t c;
    atomic_init(&d.arrived, 0);
    tiny_server_t *server =
        tiny_server_new(round ? socket_path() : NULL, 64, true, die_reused, &d);
    http_client_open(&c, tiny_server_url(server));
    http_expect(&c, post("/first", true), 0, 200, true);
    http_expect(&c, post("/once", false), TINKER_ETRANSPORT, 0, true);
    cr_assert_eq(atomic_load(&d.arrived), 1);
    /* One that the server knows by its number is sent again. */
    http_expect(&c, post("/first", true), 0, 200, true);
    http_expect(&c, post("/once", true), 0, 200, true);
    cr_assert_eq(atomic_load(&d.arrived), 3);
    /* Without a body there is nothing that could not be read again. */
    tinker__http_request_t empty = post("/once", false);
    empty.body.len = 0;
    http_expect(&c, post("/first", true), 0, 200, true);
    http_expect(&c, empty, 0, 200, true);
    cr_assert_eq(atomic_load(&d.arrived), 4);
    http_client_close(&c);
    tiny_server_free(server);
  }
}

/* ---- failures ---- */

static tiny_reply_t misbehave(void *user, const tiny_request_t *r) {
  (void)user;
  if (!strcmp(r->path, "/close")) return (tiny_reply_t){.close = true};
  if (!strcmp(r->path, "/hang")) return (tiny_reply_t){.hang = true};
  if (!strcmp(r->path, "/garbage")) {
    return (tiny_reply_t){.bytes = "\x16\x03 what?\r\n\r\n", .close = true};
  }
  if (!strcmp(r->path, "/cut")) {
    return (tiny_reply_t){
        .bytes = "HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\nshort",
        .close = true,
    };
  }
  if (!strcmp(r->path, "/moved")) {
    return (tiny_reply_t){.bytes = "HTTP/1.1 302 Found\r\nLocation: /cut\r\n"
                                   "Content-Length: 0\r\n\r\n"};
  }
  if (!strcmp(r->path, "/interim")) {
    return (tiny_reply_t){
        .bytes = "HTTP/1.1 103 Hints\r\nRetry-After: 9\r\n\r\n"
                 "HTTP/1.1 204 No Content\r\n\r\n",
    };
  }
  return (tiny_reply_t){.bytes = TINY_OK("9", "123456789")};
}

Test(http, each_failure_has_its_code, .timeout = 120) {
  tiny_server_t *server = tiny_server_new(NULL, 64, true, misbehave, NULL);
  http_client_t c;
  http_client_open(&c, tiny_server_url(server));
  for (int numbered = 0; numbered < 2; numbered++) {
    http_expect(&c, post("/close", numbered), TINKER_ETRANSPORT, 0, true);
    http_expect(&c, post("/garbage", numbered), TINKER_ETRANSPORT, 0, true);
    http_expect(&c, post("/cut", numbered), TINKER_ETRANSPORT, 200, true);
    tinker__http_request_t hang = post("/hang", numbered);
    hang.timeout_ms = 30;
    http_expect(&c, hang, TINKER_ETIMEDOUT, 0, true);
    tinker__http_request_t large = post("/large", numbered);
    large.reply_max = 8;
    http_expect(&c, large, TINKER_EOVERFLOW, 200, true);
    large.reply_max = 9;
    http_expect(&c, large, 0, 200, true);
    http_expect(&c, post("/moved", numbered), 0, 302, true);
    http_expect(&c, post("/interim", numbered), 0, 204, true);
    http_expect(&c, post("/fine", numbered), 0, 200, true);
  }
  http_call_t call;
  tinker__http_header_t evil = {"X-A", "b\r\nX-API-Key: c"};
  tinker__http_request_t bad = post("/x", true);
  bad.headers = &evil;
  bad.header_count = 1;
  http_call_begin(&c, &call, bad);
  http_call_finish(&call);
  cr_assert_eq(call.submit_rc, TINKER_EINVAL);
  http_call_begin(&c, &call, post("/a\nb", true));
  http_call_finish(&call);
  cr_assert_eq(call.submit_rc, TINKER_EINVAL);
  cr_assert_eq(call.times, 0);
  http_client_close(&c);
  tiny_server_free(server);
}

/* The reason that curl knows stands in the sentence. */
static void expect_failure(const char *url, int error, const char *reason) {
  http_client_t c;
  http_call_t call;
  http_client_open(&c, url);
  http_expect(&c, post("/x", true), error, 0, false);
  http_expect(&c, post("/x", false), error, 0, false);
  http_call_begin(&c, &call, post("/x", true));
  http_call_finish(&call);
  cr_assert(strstr(call.reply.detail, reason), "%s", call.reply.detail);
  http_call_end(&call);
  http_client_close(&c);
}

Test(http, nothing_is_sent_when_there_is_no_connection, .timeout = 120) {
  tiny_server_t *server = tiny_server_new(NULL, 64, true, misbehave, NULL);
  char url[256], https[280];
  snprintf(url, sizeof(url), "%s", tiny_server_url(server));
  snprintf(https, sizeof(https), "https%s", url + 4);
  expect_failure(https, TINKER_ETLS, ""); /* the server doesn't speak it */
  tiny_server_free(server);
  expect_failure(url, TINKER_ECONNECT, "Connection refused");
  expect_failure("unix:/tmp/tinker-no-such.sock", TINKER_ECONNECT,
                 "No such file or directory (/tmp/tinker-no-such.sock)");
  expect_failure("http://no-such-host.invalid", TINKER_ECONNECT,
                 "resolve host");
}

/* ---- a host that is not this one ---- */

static tiny_reply_t always_well(void *user, const tiny_request_t *r) {
  (void)user;
  (void)r;
  return (tiny_reply_t){.bytes = TINY_OK("2", "{}")};
}

Test(http, no_proxy_of_the_environment_is_used, .timeout = 120) {
  static const char *const names[] = {"http_proxy", "https_proxy",
                                      "HTTPS_PROXY", "all_proxy", "ALL_PROXY"};
  tiny_server_t *proxy = tiny_server_new(NULL, 64, true, always_well, NULL);
  tiny_server_t *server = tiny_server_new(NULL, 64, true, always_well, NULL);
  http_client_t c;
  char url[64];
  for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
    setenv(names[i], tiny_server_url(proxy), 1);
  }
  unsetenv("no_proxy");
  unsetenv("NO_PROXY");
  tiny_server_far_url(server, url, sizeof(url));
  http_client_open(&c, url);
  http_expect(&c, post("/x", true), 0, 200, true);
  http_client_close(&c);
  cr_assert_eq(tiny_server_connections(proxy), 0);
  cr_assert_eq(tiny_server_connections(server), 1);
  tiny_server_free(server);
  tiny_server_free(proxy);
}

/* What hangs must not hold up a copy: it gets a connection of its own. */
Test(http, a_fresh_request_opens_a_connection, .timeout = 120) {
  tiny_server_t *server = tiny_server_new(NULL, 64, true, always_well, NULL);
  http_client_t c;
  tinker__http_request_t r = post("/x", true);
  http_client_open(&c, tiny_server_url(server));
  http_expect(&c, r, 0, 200, true);
  http_expect(&c, r, 0, 200, true);
  cr_assert_eq(tiny_server_connections(server), 1);
  r.fresh = true;
  http_expect(&c, r, 0, 200, true);
  cr_assert_eq(tiny_server_connections(server), 2);
  http_client_close(&c);
  tiny_server_free(server);
}

Test(http, options_that_no_header_may_hold_are_refused) {
  static const char *const keys[] = {"", "a b", "a\nb", "caf\303\251"};
  tinker__mem_t mem;
  tinker__loop_t *loop;
  tinker__http_t *http;
  char why[200];
  tinker__mem_init(&mem, NULL, 0);
  cr_assert_eq(tinker__loop_background(&loop, &mem, tinker__world_real()), 0);
  for (size_t i = 0; i < sizeof(keys) / sizeof(*keys); i++) {
    tinker__curl_options_t o = {"http://localhost", keys[i], "a"};
    cr_assert_eq(tinker__curl_new(&http, loop, &o, why, sizeof(why)),
                 TINKER_EINVAL);
    cr_assert_not_null(strstr(why, "api_key"));
  }
  tinker__curl_options_t o = {"ftp://x", NULL, "a"};
  cr_assert_eq(tinker__curl_new(&http, loop, &o, why, sizeof(why)),
               TINKER_EINVAL);
  tinker__loop_close(loop, NULL, NULL);
  cr_assert_eq(atomic_load(&mem.live_blocks), 0);
}

/* ---- lanes, cancel, close ---- */

enum { PARKED = 150 };

typedef struct park_s {
  atomic_int parked;
} park_t;

static tiny_reply_t park(void *user, const tiny_request_t *r) {
  park_t *p = user;
  if (!strcmp(r->path, "/park")) {
    atomic_fetch_add(&p->parked, 1);
    return (tiny_reply_t){.hang = true};
  }
  return (tiny_reply_t){.bytes = TINY_OK("2", "{}")};
}

static bool all_over(void *user) {
  return atomic_load(&((http_client_t *)user)->done) == PARKED;
}

/* A submit that comes back sooner than the parked ones would shows that it
 * did not wait behind them. */
Test(http, parked_requests_hold_up_nobody_and_end_with_close, .timeout = 120) {
  static http_call_t calls[PARKED];
  park_t p;
  http_client_t c;
  atomic_init(&p.parked, 0);
  tiny_server_t *server =
      tiny_server_new(socket_path(), PARKED, true, park, &p);
  http_client_open(&c, tiny_server_url(server));
  for (int i = 0; i < PARKED; i++) {
    tinker__http_request_t r = post("/park", true);
    /* More than the submit lane has connections; the rest poll. */
    r.lane = i < 20 ? TINKER__LANE_SUBMIT : TINKER__LANE_POLL;
    http_call_begin(&c, &calls[i], r);
  }
  tinker__http_request_t beat = post("/beat", true);
  beat.lane = TINKER__LANE_CONTROL;
  for (int i = 0; i < 3; i++) http_expect(&c, beat, 0, 200, true);
  while (atomic_load(&p.parked) < PARKED - 4) poll(NULL, 0, 1);
  tinker__loop_post(c.loop, &calls[3].cancel);
  tinker__loop_post(c.loop, &calls[140].cancel);
  http_call_finish(&calls[3]);
  http_call_finish(&calls[140]);
  cr_assert_eq(calls[140].reply.error, TINKER_ECANCELED);
  cr_assert(calls[140].reply.sent);
  atomic_fetch_sub(&c.done, 3); /* the beats */
  http_client_stop(&c);
  cr_assert(all_over(&c));
  int sent = 0;
  for (int i = 0; i < PARKED; i++) {
    cr_assert_eq(calls[i].times, 1);
    cr_assert_eq(calls[i].reply.error, TINKER_ECANCELED);
    sent += calls[i].reply.sent;
    http_call_end(&calls[i]);
  }
  /* What arrived is never called unsent; what never left is. */
  cr_assert_geq(sent, atomic_load(&p.parked));
  cr_assert_lt(sent, PARKED);
  tinker__loop_close(c.loop, NULL, NULL);
  cr_assert_eq(atomic_load(&c.mem.live_blocks), 0);
  tiny_server_free(server);
}

/* ---- a listen queue that is full for a while ---- */

Test(http, a_full_listen_queue_is_waited_out, .timeout = 120) {
  static http_call_t calls[12];
  park_t p;
  http_client_t c;
  tiny_server_t *server = tiny_server_new(socket_path(), 1, false, park, &p);
  http_client_open(&c, tiny_server_url(server));
  for (int i = 0; i < 12; i++) {
    http_call_begin(&c, &calls[i], post("/x", false));
  }
  for (int i = 0; i < 20; i++) {
    cr_assert_eq(
        tinker__loop_wait(c.loop, http_call_is_over, &calls[i % 12], 5),
        TINKER_ETIMEDOUT, "%s", calls[i % 12].reply.detail);
  }
  tiny_server_accept(server);
  for (int i = 0; i < 12; i++) {
    http_call_finish(&calls[i]);
    cr_assert_eq(calls[i].reply.error, 0, "%s", calls[i].reply.detail);
    http_call_end(&calls[i]);
  }
  http_client_close(&c);
  tiny_server_free(server);
}

/* ---- a connection that is given up before it is there ---- */

static void on_both(tinker__task_t *task) {
  http_call_submit(task);
  http_call_cancel(&TINKER__CONTAINER(task, http_call_t, submit)->cancel);
}

/* curl closes its socket in the turn that opened it, and says so afterwards;
 * libuv would end the process if it had to watch a closed one. */
Test(http, given_up_while_connecting, .timeout = 120) {
  static http_call_t calls[8], gone;
  http_client_t c;
  tiny_server_t *server = tiny_server_new(NULL, 1, false, always_well, NULL);
  http_client_open(&c, tiny_server_url(server));
  for (int i = 0; i < 8; i++) http_call_begin(&c, &calls[i], post("/x", true));
  for (int i = 0; i < 30; i++) {
    tinker__http_request_t r = post("/gone", true);
    r.lane = (tinker__lane_t)(i % TINKER__LANE_COUNT);
    http_call_prepare(&c, &gone, r);
    tinker__task_init(&gone.submit, on_both);
    tinker__loop_post(c.loop, &gone.submit);
    http_call_finish(&gone);
    cr_assert_eq(gone.reply.error, TINKER_ECANCELED);
    http_call_end(&gone);
  }
  tiny_server_accept(server);
  for (int i = 0; i < 8; i++) {
    http_call_finish(&calls[i]);
    cr_assert_eq(calls[i].reply.error, 0, "%s", calls[i].reply.detail);
    http_call_end(&calls[i]);
  }
  for (int i = 0; i < TINKER__LANE_COUNT; i++) {
    tinker__http_request_t r = post("/x", true);
    r.lane = (tinker__lane_t)i;
    http_expect(&c, r, 0, 200, true);
  }
  http_client_close(&c);
  tiny_server_free(server);
}

/* ---- memory ---- */

typedef struct sweep_s {
  tinker__loop_t *loop;
  tinker__http_t *http;
  http_call_t call;
  http_client_t client;
  const char *url;
} sweep_t;

static int call_once(sweep_t *s) {
  tinker__curl_options_t o = {s->url, "tml-x", "agent"};
  http_client_t *c = &s->client;
  int rc = tinker__curl_new(&c->http, c->loop, &o, NULL, 0);
  if (rc) return rc;
  http_call_begin(c, &s->call, post("/x", false));
  http_call_finish(&s->call);
  rc = s->call.submit_rc ? s->call.submit_rc : s->call.reply.error;
  http_call_end(&s->call);
  http_client_stop(c);
  return rc;
}

static int sweep_body(tinker__mem_t *mem, void *user) {
  sweep_t *s = user;
  http_client_t *c = &s->client;
  int rc = tinker__loop_background(&c->loop, mem, tinker__world_real());
  if (rc) return rc;
  rc = call_once(s);
  tinker__loop_close(c->loop, NULL, NULL);
  return rc;
}

static atomic_int arrived;

static tiny_reply_t count_arrivals(void *user, const tiny_request_t *r) {
  (void)user;
  (void)r;
  atomic_fetch_add(&arrived, 1);
  return (tiny_reply_t){.bytes = TINY_OK("2", "{}")};
}

/* A handle that has carried a request before says nothing of that one. */
Test(http, what_has_not_left_for_lack_of_memory_is_not_sent, .timeout = 120) {
  static const tinker__http_header_t long_one = {
      "X-Long", "more than the lines of the request before had room for"};
  tiny_server_t *server =
      tiny_server_new(socket_path(), 64, true, count_arrivals, NULL);
  int unsent = 0;
  for (uint64_t n = 1, failed = 1; failed; n++) {
    http_client_t c;
    http_call_t call;
    tinker__http_request_t r = post("/x", true);
    http_client_open(&c, tiny_server_url(server));
    http_expect(&c, r, 0, 200, true);
    int before = atomic_load(&arrived);
    r.headers = &long_one;
    r.header_count = 1;
    c.mem.fail_at = atomic_load(&c.mem.count) + n;
    http_call_begin(&c, &call, r);
    http_call_finish(&call);
    failed = atomic_load(&c.mem.count) >= c.mem.fail_at;
    c.mem.fail_at = 0;
    if (!call.submit_rc) {
      cr_assert_eq(call.reply.error, failed ? TINKER_ENOMEM : 0, "%d", (int)n);
      cr_assert_eq(call.reply.sent, atomic_load(&arrived) > before, "%d",
                   (int)n);
      if (failed) cr_assert_str_eq(call.reply.detail, "out of memory");
      unsent += !call.reply.sent;
    }
    http_call_end(&call);
    http_client_close(&c);
  }
  cr_assert_gt(unsent, 0);
  tiny_server_free(server);
}

Test(http, every_failed_allocation_is_survived, .timeout = 120) {
  static sweep_t s;
  tiny_server_t *server =
      tiny_server_new(socket_path(), 64, true, misbehave, NULL);
  s.url = tiny_server_url(server);
  cr_assert_geq(tinker__fail_sweep(sweep_body, &s, TINKER_ENOMEM), 8);
  tiny_server_free(server);
}
