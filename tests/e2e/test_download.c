/* Requests to other places than the service: links without our credentials,
 * redirects, and the lane that is theirs. */
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

static tinker__http_request_t get(const char *path) {
  return (tinker__http_request_t){
      .lane = TINKER__LANE_DOWNLOAD,
      .method = TINKER__HTTP_GET,
      .path = path,
  };
}

static tinker__http_request_t get_url(const char *url) {
  return (tinker__http_request_t){
      .lane = TINKER__LANE_DOWNLOAD,
      .method = TINKER__HTTP_GET,
      .url = url,
  };
}

/* What a server was asked. */
typedef struct asked_s {
  pthread_mutex_t lock;
  int count;
  int keys; /* requests that had our key */
  char path[256];
  char head[2048];
  char location[300]; /* that it answers 302 with at /go */
} asked_t;

static void note(asked_t *a, const tiny_request_t *r) {
  pthread_mutex_lock(&a->lock);
  a->count++;
  a->keys += tiny_has_header(r->head, "X-API-Key: tml-secret");
  snprintf(a->path, sizeof(a->path), "%s", r->path);
  snprintf(a->head, sizeof(a->head), "%s", r->head);
  pthread_mutex_unlock(&a->lock);
}

static tiny_reply_t serve(void *user, const tiny_request_t *r) {
  static const struct {
    const char *path, *bytes;
  } replies[] = {
#define MOVED(status, to)                                                      \
  "HTTP/1.1 " status " Moved\r\nLocation: " to                                 \
  "\r\nContent-Length: 4\r\n\r\naway"
      {"/near", MOVED("302", "/base/target?x=1")},
      {"/near301", MOVED("301", "target")},
      {"/near303", MOVED("303", "./a/../target")},
      {"/near307", MOVED("307", "/target")},
      {"/near308", MOVED("308", "?target")},
      {"/loop", MOVED("302", "/loop")},
      {"/lost", MOVED("302", "mailto:a@b")},
      {"/none", "HTTP/1.1 302 Moved\r\nContent-Length: 0\r\n\r\n"},
#undef MOVED
  };
  asked_t *a = user;
  note(a, r);
  for (size_t i = 0; i < sizeof(replies) / sizeof(*replies); i++) {
    if (!strcmp(r->path, replies[i].path)) {
      return (tiny_reply_t){.bytes = replies[i].bytes};
    }
  }
  if (!strcmp(r->path, "/go")) {
    static char moved[500];
    snprintf(moved, sizeof(moved),
             "HTTP/1.1 307 Go\r\nLocation: %s\r\nContent-Length: 0\r\n\r\n",
             a->location);
    return (tiny_reply_t){.bytes = moved};
  }
  return (tiny_reply_t){.bytes = TINY_OK("4", "here")};
}

/* A service, and a store that is another host. */
typedef struct places_s {
  http_client_t client;
  tiny_server_t *service, *store;
  asked_t service_asked, store_asked;
} places_t;

static void open_places(places_t *p, const char *unix_path) {
  memset(p, 0, sizeof(*p));
  pthread_mutex_init(&p->service_asked.lock, NULL);
  pthread_mutex_init(&p->store_asked.lock, NULL);
  p->service = tiny_server_new(unix_path, 64, true, serve, &p->service_asked);
  p->store = tiny_server_new(NULL, 64, true, serve, &p->store_asked);
  http_client_open(&p->client, tiny_server_url(p->service));
}

static void close_places(places_t *p) {
  http_client_close(&p->client);
  tiny_server_free(p->service);
  tiny_server_free(p->store);
}

/* What a reply said, where it outlives it. */
static http_call_t call;

static void run(places_t *p, tinker__http_request_t r) {
  http_call_begin(&p->client, &call, r);
  http_call_finish(&call);
  http_call_end(&call);
}

/* ---- links ---- */

static const char *at(char *out, const tiny_server_t *server,
                      const char *path) {
  snprintf(out, 300, "%s%s", tiny_server_url(server), path);
  return out;
}

Test(download, a_link_gets_nothing_of_ours, .timeout = 120) {
  static const tinker__http_header_t range[] = {{"If-Range", "\"x\""}};
  places_t p;
  char url[300];
  open_places(&p, NULL);
  tinker__http_request_t r =
      get_url(at(url, p.store, "/file?X-Signature=a%2Fb&c=d"));
  r.headers = range;
  r.header_count = 1;
  run(&p, r);
  cr_assert_eq(call.reply.error, 0, "%s", call.reply.detail);
  cr_assert_eq(call.reply.status, 200);
  r.method = TINKER__HTTP_PUT;
  r.body = TINKER__STR("bytes");
  run(&p, r);
  cr_assert_eq(call.reply.status, 200);
  cr_assert_eq(p.store_asked.count, 2);
  cr_assert_str_eq(p.store_asked.path, "/file?X-Signature=a%2Fb&c=d");
  cr_assert_eq(p.store_asked.keys, 0);
  cr_assert(tiny_has_header(p.store_asked.head, "Accept: */*"));
  cr_assert(tiny_has_header(p.store_asked.head, "If-Range: \"x\""));
  cr_assert_null(strstr(p.store_asked.head, "tml-secret"));
  cr_assert_null(strstr(p.store_asked.head, "X-Idempotency-Key"));
  cr_assert_eq(p.service_asked.count, 0);
  /* The service's own link gets none either, a path gets it. */
  run(&p, get_url(at(url, p.service, "/file")));
  cr_assert_eq(p.service_asked.keys, 0);
  run(&p, get("/file"));
  cr_assert_eq(p.service_asked.keys, 1);
  close_places(&p);
}

static void expect_refusal(places_t *p, tinker__http_request_t r,
                           const char *what) {
  run(p, r);
  cr_assert_eq(call.submit_rc, TINKER_EINVAL, "%s", what);
  cr_assert_eq(call.times, 0, "%s", what);
}

Test(download, what_a_link_must_not_be_is_refused, .timeout = 120) {
  static const char *const urls[] = {
      "ftp://h/x", "file:///etc/passwd", "http://u:p@h/", "/relative",
      "",          "http://h/\n",        "gopher://h"};
  static const tinker__http_header_t headers[] = {
      {"AUTHORIZATION", "Bearer x"},
      {"Cookie", "a=b"},
      {"x-api-key", "k"},
      {"X-Idempotency-Key", "k"},
      {"CF-Access-Client-Secret", "s"},
      {"X-Tinker-Request-Type", "Sample"}};
  places_t p;
  char url[300];
  open_places(&p, NULL);
  for (size_t i = 0; i < sizeof(urls) / sizeof(*urls); i++) {
    expect_refusal(&p, get_url(urls[i]), urls[i]);
  }
  for (size_t i = 0; i < sizeof(headers) / sizeof(*headers); i++) {
    tinker__http_request_t r = get_url(at(url, p.store, "/"));
    r.headers = &headers[i];
    r.header_count = 1;
    expect_refusal(&p, r, headers[i].name);
  }
  tinker__http_request_t r = get_url(at(url, p.store, "/"));
  r.lane = TINKER__LANE_CONTROL;
  expect_refusal(&p, r, "another lane");
  r.lane = TINKER__LANE_DOWNLOAD;
  r.path = "/x";
  expect_refusal(&p, r, "two places");
  r.path = NULL;
  r.method = TINKER__HTTP_POST;
  r.redirects = 1;
  expect_refusal(&p, r, "a mutation that follows");
  char *longest = calloc(1, 20000);
  memset(longest, 'a', 19999);
  memcpy(longest, "http://h/", 9);
  expect_refusal(&p, get_url(longest), "too long");
  free(longest);
  cr_assert_eq(p.store_asked.count, 0);
  close_places(&p);
}

/* The service says where its archive is by a URL of its own; that is reached
 * through the socket, and every other host is not. */
Test(download, a_url_of_the_base_uses_its_socket, .timeout = 120) {
  places_t p;
  char url[300], path[64];
  snprintf(path, sizeof(path), "/tmp/tinker-download-%d.sock", (int)getpid());
  open_places(&p, path);
  for (int i = 0; i < 2; i++) {
    run(&p, get_url("http://LocalHost:80/file"));
    cr_assert_eq(call.reply.status, 200, "%s", call.reply.detail);
    cr_assert_eq(p.service_asked.count, 2 * i + 1);
    run(&p, get_url(at(url, p.store, "/file")));
    cr_assert_eq(call.reply.status, 200, "%s", call.reply.detail);
    cr_assert_eq(p.store_asked.count, i + 1);
    run(&p, get("/near")); /* relative to http://localhost */
    cr_assert_eq(p.service_asked.count, 2 * i + 2);
  }
  close_places(&p);
}

/* ---- redirects ---- */

/* Every GET that follows goes on with its key. */
Test(download, redirects_within_the_origin_are_followed, .timeout = 120) {
  static const struct {
    const char *from, *to;
  } cases[] = {{"/near", "/base/target?x=1"},
               {"/near301", "/target"},
               {"/near303", "/target"},
               {"/near307", "/target"},
               {"/near308", "/near308?target"}};
  places_t p;
  open_places(&p, NULL);
  for (int i = 0; i < 5; i++) {
    tinker__http_request_t r = get(cases[i].from);
    r.redirects = 1;
    run(&p, r);
    cr_assert_eq(call.reply.error, 0, "%s", call.reply.detail);
    cr_assert_eq(call.reply.status, 200, "%s", cases[i].from);
    cr_assert_eq(call.reply.content_length, 4);
    cr_assert_str_eq(p.service_asked.path, cases[i].to);
    cr_assert_eq(p.service_asked.count, 2 * (i + 1));
    cr_assert_eq(p.service_asked.keys, 2 * (i + 1));
  }
  close_places(&p);
}

static void expect_no_redirect(places_t *p, const char *path, int status,
                               const char *a, const char *b) {
  tinker__http_request_t r = get(path);
  r.redirects = 3;
  run(p, r);
  cr_assert_eq(call.reply.error, TINKER_ENOTSUP, "%s", path);
  cr_assert_eq(call.reply.status, status, "%s", path);
  cr_assert(call.reply.sent);
  cr_assert(strstr(call.reply.detail, a), "%s", call.reply.detail);
  cr_assert(strstr(call.reply.detail, b), "%s", call.reply.detail);
}

Test(download, redirects_elsewhere_are_refused, .timeout = 120) {
  places_t p;
  open_places(&p, NULL);
  at(p.service_asked.location, p.store, "/secret?sig=1");
  expect_no_redirect(&p, "/go", 307, tiny_server_url(p.service),
                     tiny_server_url(p.store));
  cr_assert(strstr(call.reply.detail, "another origin"));
  cr_assert_null(strstr(call.reply.detail, "sig"), "%s", call.reply.detail);
  /* The same machine by another name, or by TLS, is another origin. */
  snprintf(p.service_asked.location, 300, "http://localhost%s",
           strrchr(tiny_server_url(p.service), ':'));
  expect_no_redirect(&p, "/go", 307, tiny_server_url(p.service),
                     p.service_asked.location);
  snprintf(p.service_asked.location, 300, "https://localhost/x");
  expect_no_redirect(&p, "/go", 307, "http://127.0.0.1",
                     "https://localhost:443");
  expect_no_redirect(&p, "/loop", 302, "more than 3 redirects", "/loop");
  expect_no_redirect(&p, "/lost", 302, tiny_server_url(p.service),
                     "no http URL");
  expect_no_redirect(&p, "/none", 302, tiny_server_url(p.service),
                     "no http URL");
  cr_assert_eq(p.store_asked.count, 0);
  close_places(&p);
}

static char location[300];

static void keep_location(tinker__http_request_t *request,
                          tinker__http_reply_t *reply) {
  snprintf(location, sizeof(location), "%s",
           reply->location ? reply->location : "none");
  http_call_done(request, reply);
}

/* A request that follows nothing hands up where it should have gone; nothing
 * is sent a second time. */
Test(download, a_redirect_is_a_status_with_a_location, .timeout = 120) {
  places_t p;
  char want[300];
  open_places(&p, NULL);
  for (int i = 0; i < 4; i++) {
    tinker__http_request_t r = get(i < 3 ? "/near307" : "/none");
    r.lane = TINKER__LANE_CONTROL;
    r.method = (tinker__http_method_t)i;
    r.body = TINKER__STR("{}");
    r.numbered = true;
    http_call_prepare(&p.client, &call, r);
    call.request.done = keep_location;
    tinker__loop_post(p.client.loop, &call.submit);
    http_call_finish(&call);
    http_call_end(&call);
    cr_assert_eq(call.reply.error, 0);
    cr_assert_eq(call.reply.status, i < 3 ? 307 : 302);
    cr_assert_str_eq(location, i < 3 ? at(want, p.service, "/target") : "none");
    cr_assert_eq(p.service_asked.count, i + 1);
  }
  close_places(&p);
}

/* ---- the lane ---- */

static tiny_reply_t hang_files(void *user, const tiny_request_t *r) {
  (void)user;
  if (strstr(r->path, "/file")) return (tiny_reply_t){.hang = true};
  return (tiny_reply_t){.bytes = TINY_OK("2", "{}")};
}

/* More downloads than connections, none of which gets on. */
Test(download, they_hold_up_no_other_lane, .timeout = 120) {
  static http_call_t calls[10];
  http_client_t c;
  tiny_server_t *server = tiny_server_new(NULL, 64, true, hang_files, NULL);
  http_client_open(&c, tiny_server_url(server));
  for (int i = 0; i < 10; i++) http_call_begin(&c, &calls[i], get("/file"));
  for (int i = 0; i < TINKER__LANE_DOWNLOAD; i++) {
    tinker__http_request_t r = get("/small");
    r.lane = (tinker__lane_t)i;
    http_expect(&c, r, 0, 200, true);
  }
  while (tiny_server_connections(server) < 4 + TINKER__LANE_DOWNLOAD) {
    poll(NULL, 0, 1);
  }
  http_client_stop(&c);
  cr_assert_eq(tiny_server_connections(server), 4 + TINKER__LANE_DOWNLOAD);
  for (int i = 0; i < 10; i++) {
    cr_assert_eq(calls[i].reply.error, TINKER_ECANCELED);
    http_call_end(&calls[i]);
  }
  tinker__loop_close(c.loop, NULL, NULL);
  cr_assert_eq(atomic_load(&c.mem.live_blocks), 0);
  tiny_server_free(server);
}

/* ---- memory ---- */

typedef struct sweep_s {
  http_client_t client;
  http_call_t call;
  const char *url;
} sweep_t;

/* A path with a redirect, and a link. */
static int fetch_both(sweep_t *s) {
  http_client_t *c = &s->client;
  tinker__http_request_t requests[] = {get("/near"), get_url(s->url)};
  int rc = 0;
  requests[0].redirects = 1;
  for (int i = 0; !rc && i < 2; i++) {
    http_call_begin(c, &s->call, requests[i]);
    http_call_finish(&s->call);
    rc = s->call.submit_rc ? s->call.submit_rc : s->call.reply.error;
    http_call_end(&s->call);
  }
  return rc;
}

static int sweep_body(tinker__mem_t *mem, void *user) {
  sweep_t *s = user;
  http_client_t *c = &s->client;
  tinker__curl_options_t o = {s->url, "tml-x", "agent"};
  int rc = tinker__loop_background(&c->loop, mem, tinker__world_real());
  if (rc) return rc;
  rc = tinker__curl_new(&c->http, c->loop, &o, NULL, 0);
  if (!rc) {
    rc = fetch_both(s);
    http_client_stop(c);
  }
  tinker__loop_close(c->loop, NULL, NULL);
  return rc;
}

Test(download, every_failed_allocation_is_survived, .timeout = 120) {
  static sweep_t s;
  asked_t asked = {.lock = PTHREAD_MUTEX_INITIALIZER};
  tiny_server_t *server = tiny_server_new(NULL, 64, true, serve, &asked);
  s.url = tiny_server_url(server);
  cr_assert_geq(tinker__fail_sweep(sweep_body, &s, TINKER_ENOMEM), 20);
  tiny_server_free(server);
}
