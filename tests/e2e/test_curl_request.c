/* What no test can wait for is looked at on its way into libcurl: options that
 * protect users, and how many requests curl has at once. This program stands
 * before those of curl's functions. */
#include <criterion/criterion.h>
#include <dlfcn.h>
#include <poll.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <tinker/error.h>

#include "support/http_client.h"

#include <curl/curl.h>
#undef curl_easy_setopt

enum { MOST = 128 };

/* What the last handle was given, in all its attempts. */
static struct {
  CURLoption option;
  long value;
} set[MOST];
static int count;

/* No address is ever spoken to. */
static curl_socket_t no_socket(void *user, curlsocktype purpose,
                               struct curl_sockaddr *address) {
  (void)user;
  (void)purpose;
  (void)address;
  return CURL_SOCKET_BAD;
}

/* Every value is as large as a pointer or a curl_off_t on the systems that we
 * build for. */
CURLcode curl_easy_setopt(CURL *easy, CURLoption option, ...) {
  static CURLcode (*real)(CURL *, CURLoption, ...);
  if (!real) *(void **)&real = dlsym(RTLD_NEXT, "curl_easy_setopt");
  va_list ap;
  va_start(ap, option);
  void *value = va_arg(ap, void *);
  va_end(ap);
  if (option == CURLOPT_PRIVATE) count = 0; /* the first of a handle */
  if (count < MOST) {
    set[count].option = option;
    set[count++].value = (long)value;
  }
  if (option == CURLOPT_OPENSOCKETFUNCTION) {
    return real(easy, option, no_socket);
  }
  return real(easy, option, value);
}

/* Requests that curl has, and the most it ever had. */
static int carried, most_carried;

CURLMcode curl_multi_add_handle(CURLM *multi, CURL *easy) {
  static CURLMcode (*real)(CURLM *, CURL *);
  if (!real) *(void **)&real = dlsym(RTLD_NEXT, "curl_multi_add_handle");
  if (++carried > most_carried) most_carried = carried;
  return real(multi, easy);
}

CURLMcode curl_multi_remove_handle(CURLM *multi, CURL *easy) {
  static CURLMcode (*real)(CURLM *, CURL *);
  if (!real) *(void **)&real = dlsym(RTLD_NEXT, "curl_multi_remove_handle");
  carried--;
  return real(multi, easy);
}

/* The last value of an option, -1 when it was not set. */
static long value_of(CURLoption option) {
  long found = -1;
  for (int i = 0; i < count; i++) {
    if (set[i].option == option) found = set[i].value;
  }
  return found;
}

static void call_once(http_client_t *client, tinker__http_request_t request) {
  http_call_t call;
  request.timeout_ms = 7000;
  http_call_begin(client, &call, request);
  tinker__loop_post(client->loop, &call.cancel); /* its options are set */
  http_call_finish(&call);
  cr_assert_eq(call.submit_rc, 0);
  http_call_end(&call);
}

static void run(const char *url, tinker__http_request_t request) {
  http_client_t client;
  http_client_open(&client, url);
  call_once(&client, request);
  http_client_close(&client);
}

static tinker__http_request_t post(bool numbered, const char *body) {
  return (tinker__http_request_t){
      .lane = TINKER__LANE_SUBMIT,
      .method = TINKER__HTTP_POST,
      .path = "api/v1/x",
      .body = tinker__str(body),
      .numbered = numbered,
  };
}

Test(curl_request, what_protects_users) {
  static const char *const urls[] = {"http://127.0.0.1:1", "unix:/no/such",
                                     "https://192.0.2.1"};
  for (int i = 0; i < 3; i++) {
    run(urls[i], post(true, "{}"));
    cr_assert_gt(count, 10);
    /* A name that hangs blocks no heartbeat; no signal is used. */
    cr_assert_eq(value_of(CURLOPT_QUICK_EXIT), 1);
    cr_assert_eq(value_of(CURLOPT_NOSIGNAL), 1);
    /* A dead address costs five seconds, a stale connection is not used. */
    cr_assert_eq(value_of(CURLOPT_CONNECTTIMEOUT_MS), 5000);
    cr_assert_eq(value_of(CURLOPT_MAXAGE_CONN), 20);
    /* curl's own limit stands behind the exchange's. */
    cr_assert_geq(value_of(CURLOPT_TIMEOUT_MS), 7000);
    cr_assert_leq(value_of(CURLOPT_TIMEOUT_MS), 8000);
    /* The key goes to no other place, and to nobody unchecked. */
    cr_assert_leq(value_of(CURLOPT_FOLLOWLOCATION), 0);
    cr_assert_eq(value_of(CURLOPT_SSL_VERIFYPEER), -1);
    cr_assert_eq(value_of(CURLOPT_SSL_VERIFYHOST), -1);
    /* Idle connections are kept alive where a router may forget them, replies
     * are compressed where that saves something. */
    cr_assert_eq(value_of(CURLOPT_TCP_KEEPALIVE), i == 2 ? 1 : -1);
    cr_assert_eq(value_of(CURLOPT_ACCEPT_ENCODING) != -1, i == 2);
    cr_assert_eq(
        value_of(CURLOPT_HTTP_VERSION),
        (long)(i == 2 ? CURL_HTTP_VERSION_2TLS : CURL_HTTP_VERSION_1_1));
  }
}

/* curl sends POSTFIELDS a second time by itself: never what has no number. */
Test(curl_request, only_a_numbered_body_can_be_read_again) {
  run("unix:/no/such", post(true, "{}"));
  cr_assert_neq(value_of(CURLOPT_POSTFIELDS), -1);
  run("unix:/no/such", post(false, "{}"));
  cr_assert_eq(value_of(CURLOPT_POSTFIELDS), 0);
  cr_assert_neq(value_of(CURLOPT_READFUNCTION), -1);
  cr_assert_leq(value_of(CURLOPT_SEEKFUNCTION), 0);
  run("unix:/no/such", post(false, ""));
  cr_assert_eq(value_of(CURLOPT_FRESH_CONNECT), 1);
}

static tinker__http_request_t in_pieces(bool numbered, size_t len) {
  static char text[1 << 16];
  static tinker__piece_t piece;
  tinker__http_request_t request = post(numbered, "");
  piece = (tinker__piece_t){text, len, false};
  request.body = (tinker__str_t){NULL, len};
  request.pieces = (tinker__pieces_t){&piece, 1, len};
  return request;
}

/* A small body in pieces is joined, so that curl sends it with the headers; the
 * same rule holds. Over TLS none is. */
Test(curl_request, small_pieces_are_joined) {
  run("unix:/no/such", in_pieces(true, (1 << 16) - 1));
  cr_assert_gt(value_of(CURLOPT_POSTFIELDS), 0);
  run("unix:/no/such", in_pieces(true, 1 << 16));
  cr_assert_eq(value_of(CURLOPT_POSTFIELDS), 0);
  cr_assert_gt(value_of(CURLOPT_SEEKFUNCTION), 0);
  run("https://192.0.2.1", in_pieces(true, 2));
  cr_assert_eq(value_of(CURLOPT_POSTFIELDS), 0);
  run("unix:/no/such", in_pieces(false, 2));
  cr_assert_eq(value_of(CURLOPT_POSTFIELDS), 0);
  cr_assert_leq(value_of(CURLOPT_SEEKFUNCTION), 0);
}

/* A handle that is used again keeps nothing of the request before, and is told
 * only what differs. */
Test(curl_request, a_used_handle_keeps_nothing) {
  http_client_t client;
  http_client_open(&client, "unix:/no/such");
  tinker__http_request_t put = post(true, "{}"), get = post(true, "");
  put.method = TINKER__HTTP_PUT;
  get.method = TINKER__HTTP_GET;
  call_once(&client, put);
  int first = count;
  cr_assert_neq(value_of(CURLOPT_CUSTOMREQUEST), 0);
  call_once(&client, post(false, "{}"));
  cr_assert_eq(value_of(CURLOPT_CUSTOMREQUEST), 0);
  cr_assert_eq(value_of(CURLOPT_POSTFIELDS), 0);
  call_once(&client, post(false, ""));
  cr_assert_eq(value_of(CURLOPT_FRESH_CONNECT), 1);
  call_once(&client, get);
  cr_assert_eq(value_of(CURLOPT_FRESH_CONNECT), 0);
  cr_assert_eq(value_of(CURLOPT_HTTPGET), 1);
  call_once(&client, post(true, "{}"));
  cr_assert_gt(value_of(CURLOPT_POSTFIELDS), 0);
  int before = count;
  call_once(&client, post(true, "{}"));
  cr_assert_lt(count - before, 6, "%d", count - before);
  cr_assert_gt(first, 20);
  http_client_close(&client);
}

static void be_slow(tinker__task_t *task) {
  (void)task;
  poll(NULL, 0, 50);
}

/* A test may end with a call that it gives up when that is over already. */
Test(curl_request, a_finished_call_is_in_no_queue) {
  http_client_t client;
  http_call_t call;
  tinker__task_t task;
  http_client_open(&client, "http://127.0.0.1:1");
  http_call_begin(&client, &call, post(true, "{}"));
  tinker__loop_wait(client.loop, http_call_is_over, &call, FAR_MS);
  tinker__task_init(&task, be_slow);
  tinker__loop_post(client.loop, &task);
  tinker__loop_post(client.loop, &call.cancel);
  http_call_finish(&call);
  cr_assert(tinker__list_empty(&call.cancel.link));
  http_call_end(&call);
  http_client_close(&client);
}

enum { MANY = 60, SUBMIT_CONNECTIONS = 16 };

static http_call_t calls[MANY];

static void submit_all(tinker__task_t *task) {
  (void)task;
  for (int i = 0; i < MANY; i++) http_call_submit(&calls[i].submit);
}

/* curl walks all that it has whenever one ends, so it has no more than it can
 * carry. */
Test(curl_request, curl_has_what_it_can_carry) {
  http_client_t client;
  tinker__task_t task;
  http_client_open(&client, "http://127.0.0.1:1");
  for (int i = 0; i < MANY; i++) {
    http_call_prepare(&client, &calls[i], post(true, "{}"));
  }
  tinker__task_init(&task, submit_all);
  tinker__loop_post(client.loop, &task);
  for (int i = 0; i < MANY; i++) {
    http_call_finish(&calls[i]);
    cr_assert_eq(calls[i].reply.error, TINKER_ECONNECT);
    http_call_end(&calls[i]);
  }
  http_client_close(&client);
  cr_assert_eq(most_carried, SUBMIT_CONNECTIONS);
  cr_assert_eq(carried, 0);
}
