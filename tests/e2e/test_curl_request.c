/* Options that protect users in cases no test can wait for: they are looked at
 * on their way into libcurl, whose curl_easy_setopt this program stands
 * before. */
#include <criterion/criterion.h>
#include <dlfcn.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <tinker/error.h>

#include "support/http_client.h"

#include <curl/curl.h>
#undef curl_easy_setopt

enum { MOST = 64 };

/* What the last attempt set. */
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
  if (option == CURLOPT_PRIVATE) count = 0; /* the first of an attempt */
  if (count < MOST) {
    set[count].option = option;
    set[count++].value = (long)value;
  }
  if (option == CURLOPT_OPENSOCKETFUNCTION) {
    return real(easy, option, no_socket);
  }
  return real(easy, option, value);
}

/* The last value of an option, -1 when it was not set. */
static long value_of(CURLoption option) {
  long found = -1;
  for (int i = 0; i < count; i++) {
    if (set[i].option == option) found = set[i].value;
  }
  return found;
}

static void run(const char *url, tinker__http_request_t request) {
  http_client_t client;
  http_call_t call;
  http_client_open(&client, url);
  request.timeout_ms = 7000;
  http_call_begin(&client, &call, request);
  tinker__loop_post(client.loop, &call.cancel); /* its options are set */
  http_call_finish(&call);
  cr_assert_eq(call.submit_rc, 0);
  http_call_end(&call);
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
  cr_assert_eq(value_of(CURLOPT_POSTFIELDS), -1);
  cr_assert_neq(value_of(CURLOPT_READFUNCTION), -1);
  run("unix:/no/such", post(false, ""));
  cr_assert_eq(value_of(CURLOPT_FRESH_CONNECT), 1);
}
