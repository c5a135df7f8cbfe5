/* What is taken from the headers of a reply. */
#include <criterion/criterion.h>
#include <string.h>
#include <tinker/error.h>

#include "http/curl_internal.h"

static tinker__http_request_t request;
static tinker__transfer_t x = {.request = &request};
static tinker__curl_handle_t handle = {.x = &x};

static void forget(void) {
  x.reply = (tinker__http_reply_t){
      .retry_after_ms = -1,
      .should_retry = -1,
      .content_length = -1,
  };
}

static void header(const char *line) {
  char copy[300]; /* without a NUL behind it, as curl gives it */
  size_t n = strlen(line);
  memcpy(copy, line, n);
  cr_assert_eq(tinker__curl_on_header(copy, 1, n, &handle), n);
}

typedef struct wait_s {
  const char *first, *second;
  int64_t ms;
} wait_t;

static const wait_t waits[] = {
    {"Retry-After: 2\r\n", "", 2000},
    {"retry-after: 0.25\r\n", "", 250},
    {"Retry-After-Ms: 7.5\r\n", "Retry-After: 9\r\n", 8},
    {"Retry-After: 9\r\n", "Retry-After-Ms: 70\r\n", 70},
    {"Retry-After: 60\r\n", "", 60000},
    {"Retry-After: 61\r\n", "", -1},
    {"Retry-After: 0\r\n", "", -1},
    {"Retry-After: -1\r\n", "", -1},
    {"Retry-After: 1e999\r\n", "", -1},
    {"Retry-After: nan\r\n", "", -1},
    {"Retry-After: Fri, 31 Dec 1999 23:59:59 GMT\r\n", "", -1},
    {"Retry-After:\r\n", "", -1},
};

Test(reply, retry_after_is_a_number_of_seconds_up_to_a_minute) {
  for (size_t i = 0; i < sizeof(waits) / sizeof(*waits); i++) {
    forget();
    header(waits[i].first);
    header(waits[i].second);
    cr_assert_eq(x.reply.retry_after_ms, waits[i].ms, "%s", waits[i].first);
  }
}

Test(reply, headers_are_read_without_regard_to_case) {
  forget();
  header("HTTP/1.1 100 Continue\r\n");
  header("x-should-retry: false\r\n");
  header("Content-Length: 12\r\n");
  header("HTTP/2 401\r\n");
  cr_assert_eq(x.reply.should_retry, -1);
  cr_assert_eq(x.reply.content_length, -1);
  header("CONTENT-TYPE:  Application/X-Protobuf ; charset=x\r\n");
  header("content-length: 0\r\n");
  header("X-Should-Retry: true\r\n");
  header("WWW-Authenticate: Bearer error=\"invalid_token\", a=b\r\n");
  cr_assert_str_eq(x.reply.content_type, "application/x-protobuf");
  cr_assert_eq(x.reply.content_length, 0);
  cr_assert_eq(x.reply.should_retry, 1);
  cr_assert(x.reply.invalid_token);
}

Test(reply, a_request_id_has_two_names) {
  forget();
  header("Request-Id: b\r\n");
  cr_assert_str_eq(x.reply.request_id, "b");
  header("x-request-id: a-1 and more\r\n");
  header("Request-Id: c\r\n");
  cr_assert_str_eq(x.reply.request_id, "a-1");
  header("HTTP/1.1 200 OK\r\n");
  cr_assert_str_eq(x.reply.request_id, "");
}

Test(reply, nonsense_is_ignored) {
  char longest[200] = "Content-Type: ";
  forget();
  memset(longest + 14, 'a', 180);
  header(longest);
  cr_assert_eq(strlen(x.reply.content_type), 63);
  forget();
  header("no colon");
  header(": empty name");
  header("\r\n");
  header("content-length: 99999999999999999999\r\n");
  header("content-length: twelve\r\n");
  header("x-should-retry: maybe\r\n");
  header("www-authenticate: error=\"invalid_toke\r\n");
  cr_assert_eq(x.reply.content_length, -1);
  cr_assert_eq(x.reply.should_retry, -1);
  cr_assert_not(x.reply.invalid_token);
}

typedef struct answer_s {
  int status;
  const char *type, *body;
  bool failed;
} answer_t;

static const answer_t answers[] = {
    {200, "application/json", "{}", false},
    {200, "application/json", "null", false},
    {204, "", "", false},
    {200, "text/html", " {}", false}, /* JSON by another name */
    {200, "application/x-protobuf", "<", false},
    {200, "", " \t\r\n", false},
    {400, "application/json", "{}", true},
    {302, "", "", true},
    {200, "text/html", "<html>", true},
    {200, "application/json", "\xef\xbb\xbf \t\r\n<html>", true},
};

Test(reply, a_page_is_no_answer) {
  tinker__mem_t mem;
  tinker__mem_init(&mem, NULL, 0);
  for (size_t i = 0; i < sizeof answers / sizeof *answers; i++) {
    const answer_t *a = &answers[i];
    tinker__http_reply_t reply = {.status = a->status};
    tinker__buf_init(&reply.body, &mem, 100);
    strcpy(reply.content_type, a->type);
    cr_assert_eq(tinker__buf_adds(&reply.body, a->body), 0);
    cr_assert_eq(tinker__http_failed(&reply), a->failed, "case %zu", i);
    tinker__buf_free(&reply.body);
  }
  cr_assert(tinker__http_failed(
      &(tinker__http_reply_t){.error = TINKER_ETRANSPORT, .status = 200}));
}

Test(reply, the_body_stops_at_its_cap) {
  tinker__mem_t mem;
  char bytes[10] = "0123456789";
  tinker__mem_init(&mem, NULL, 0);
  forget();
  tinker__buf_init(&x.reply.body, &mem, 15);
  cr_assert_eq(tinker__curl_on_body(bytes, 1, 10, &handle), 10);
  cr_assert_eq(tinker__curl_on_body(bytes, 1, 6, &handle), 0);
  cr_assert_eq(x.write_error, TINKER_EOVERFLOW);
  tinker__buf_free(&x.reply.body);
  tinker__buf_init(&x.reply.body, &mem, 15);
  mem.fail_at = atomic_load(&mem.count) + 1;
  cr_assert_eq(tinker__curl_on_body(bytes, 1, 10, &handle), 0);
  cr_assert_eq(x.write_error, TINKER_ENOMEM);
  tinker__buf_free(&x.reply.body);
  cr_assert_eq(atomic_load(&mem.live_blocks), 0);
}

/* ---- whose word a refusal is ---- */

static const struct refusal {
  int status;
  const char *body;
  int said; /* by the service */
  bool foreign;
} refusals[] = {
    {400, "{\"detail\":\"bad\"}", 400, false},
    {422, " {\"detail\":[{\"loc\":[\"a\"],\"msg\":\"b\"}]}\n", 422, false},
    {403, "{\"x\":1,\"error\":\"no\",\"category\":\"user\"}", 403, false},
    {404, "{\"message\":null}", 404, false},
    {404, "{\"det\\u0061il\":\"escaped\"}", 404, false},
    {400, "", 0, true},
    {403, "<html>blocked</html>", 0, true},
    {404, "404 page not found", 0, true},
    {407, "{}", 0, true},
    {410, "[\"detail\"]", 0, true},
    {451, "\"detail\"", 0, true},
    {422, "{\"errors\":[{\"message\":\"deeper\"}]}", 0, true},
    {400, "{\"detail\":\"cut", 0, true},
    {400, "{\"detail\":\"a\"} <!-- -->", 0, true},
    {408, "<html>", 0, false}, /* the same whoever says it */
    {413, "<html>", 0, false},
    {429, "", 0, false},
    {503, "<html>", 0, false},
    {200, "{\"detail\":\"a\"}", 0, false},
};

static tinker__http_reply_t reply_of(const struct refusal *r,
                                     tinker__mem_t *mem) {
  tinker__http_reply_t reply = {.status = r->status, .sent = true};
  tinker__buf_init(&reply.body, mem, 1 << 16);
  cr_assert_eq(tinker__buf_adds(&reply.body, r->body), 0);
  return reply;
}

Test(reply, a_refusal_is_the_services_by_its_json) {
  tinker__mem_t mem;
  tinker__mem_init(&mem, NULL, 0);
  for (size_t i = 0; i < sizeof refusals / sizeof refusals[0]; i++) {
    tinker__http_reply_t reply = reply_of(&refusals[i], &mem);
    cr_assert_eq(tinker__http_refusal(&reply), refusals[i].said, "%zu", i);
    cr_assert_eq(tinker__http_foreign(&reply), refusals[i].foreign, "%zu", i);
    reply.error = TINKER_ETRANSPORT; /* cut on the way: nobody's word */
    cr_assert_eq(tinker__http_refusal(&reply), 0);
    cr_assert_not(tinker__http_foreign(&reply));
    tinker__buf_free(&reply.body);
  }
  cr_assert_eq(atomic_load(&mem.live_blocks), 0);
}

/* Without memory nobody knows whose word it is: a number is sent again then. */
Test(reply, a_refusal_that_cant_be_read_is_not_the_services) {
  tinker__mem_t mem;
  tinker__mem_init(&mem, NULL, 0);
  tinker__http_reply_t reply = reply_of(&refusals[4], &mem);
  size_t failed = 0;
  for (uint64_t n = 1;; n++) {
    mem.fail_at = atomic_load(&mem.count) + n;
    int said = tinker__http_refusal(&reply);
    if (atomic_load(&mem.count) < mem.fail_at) break;
    cr_assert_eq(said, 0);
    failed++;
  }
  cr_assert_gt(failed, 0);
  tinker__buf_free(&reply.body);
  cr_assert_eq(atomic_load(&mem.live_blocks), 0);
}

/* ---- parts ---- */

Test(reply, an_etag_is_kept_whole) {
  char line[200] = "ETag: ";
  forget();
  header("etag:  \"v-1\" \r\n");
  cr_assert_str_eq(x.reply.etag, "\"v-1\"");
  memset(line + 6, 'a', 127);
  header(line);
  cr_assert_eq(strlen(x.reply.etag), 127);
  line[6 + 127] = 'a';
  header(line);
  cr_assert_str_eq(x.reply.etag, "");
  header("ETag: W/\"2\"\r\n");
  header("HTTP/1.1 200 OK\r\n");
  cr_assert_str_eq(x.reply.etag, "");
}

static const struct {
  const char *value;
  int64_t first, last, whole;
} ranges[] = {
    {"bytes 0-9/10", 0, 9, 10},
    {"BYTES 5-9/*", 5, 9, -1},
    {"bytes */10", -1, -1, 10},
    {"bytes */*", -1, -1, -1},
    {"bytes 0-9223372036854775806/9223372036854775807", 0, 9223372036854775806,
     9223372036854775807},
    {"bytes 9-5/10", -1, -1, -1},
    {"bytes 5-10/10", -1, -1, -1},
    {"bytes -5-9/10", -1, -1, -1},
    {"bytes 5--9/10", -1, -1, -1},
    {"bytes 5-9", -1, -1, -1},
    {"bytes 5/9", -1, -1, -1},
    {"lines 0-9/10", -1, -1, -1},
    {"bytes=0-9/10", -1, -1, -1},
    {"bytes 0-9/99999999999999999999", -1, -1, -1},
    {"bytes 0-x/10", -1, -1, -1},
    {"", -1, -1, -1},
};

Test(reply, a_content_range_is_read_whole_or_not_at_all) {
  for (size_t i = 0; i < sizeof ranges / sizeof *ranges; i++) {
    tinker__http_reply_t r = {.range_first = 1, .range_last = 2};
    tinker__http_content_range(&r, tinker__str(ranges[i].value));
    cr_assert_eq(r.range_first, ranges[i].first, "%s", ranges[i].value);
    cr_assert_eq(r.range_last, ranges[i].last, "%s", ranges[i].value);
    cr_assert_eq(r.whole_length, ranges[i].whole, "%s", ranges[i].value);
  }
}
