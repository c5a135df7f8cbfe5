/* The body of a reply: its limit and its block. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>
#include <tinker/error.h>

#include "support/http_client.h"
#include "support/tiny_server.h"

static tinker__http_request_t post(const char *path) {
  return (tinker__http_request_t){
      .lane = TINKER__LANE_SUBMIT,
      .method = TINKER__HTTP_POST,
      .path = path,
      .body = TINKER__STR("{\"a\":1}"),
      .numbered = true,
  };
}

/* 100,000 zeros by gzip. */
static const unsigned char zeros[] = {
    0x1f, 0x8b, 0x08, 0x00, 0x00, 0x00, 0x00, 0x00, 0x02, 0x03, 0xed, 0xc1,
    0x31, 0x01, 0x00, 0x00, 0x00, 0xc2, 0xa0, 0xf5, 0x4f, 0x6d, 0x0d, 0x0f,
    0xa0, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
    0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
    0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
    0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
    0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
    0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
    0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
    0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
    0x00, 0x80, 0x57, 0x03, 0x7d, 0x95, 0x11, 0xd4, 0xa0, 0x86, 0x01, 0x00};

static tiny_reply_t send_zeros(void *user, const tiny_request_t *r) {
  static char reply[512];
  (void)user;
  cr_assert(strstr(r->head, "gzip"));
  int n = snprintf(reply, sizeof(reply),
                   "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n"
                   "Content-Length: %zu\r\n\r\n",
                   sizeof(zeros));
  memcpy(reply + n, zeros, sizeof(zeros));
  return (tiny_reply_t){.bytes = reply, .len = (size_t)n + sizeof(zeros)};
}

Test(http_reply, the_limit_counts_decompressed_bytes, .timeout = 120) {
  tiny_server_t *server = tiny_server_new(NULL, 64, true, send_zeros, NULL);
  http_client_t c;
  http_call_t call;
  char url[64];
  tiny_server_far_url(server, url, sizeof(url));
  http_client_open(&c, url);
  tinker__http_request_t r = post("/zeros");
  r.reply_max = 100000;
  http_expect(&c, r, 0, 200, true);
  r.reply_max = 99999;
  http_call_begin(&c, &call, r);
  http_call_finish(&call);
  cr_assert_eq(call.reply.error, TINKER_EOVERFLOW);
  cr_assert_str_eq(call.reply.detail, "the reply has 100000 bytes or more, "
                                      "at most 99999 are taken");
  cr_assert_leq(call.reply.body.cap, 99999);
  http_call_end(&call);
  http_client_close(&c);
  tiny_server_free(server);
}

/* ---- the block of a reply ---- */

enum { LARGE = 3000001 };

static tiny_reply_t large_reply(void *user, const tiny_request_t *r) {
  static char reply[LARGE + 200];
  (void)user;
  /* A liar states a gigabyte, sends nine bytes, and goes. */
  if (!strcmp(r->path, "/liar")) {
    return (tiny_reply_t){.bytes = TINY_OK("1000000000", "123456789"),
                          .close = true};
  }
  int n = snprintf(reply, sizeof(reply),
                   "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n", LARGE);
  memset(reply + n, 'x', LARGE);
  return (tiny_reply_t){.bytes = reply, .len = (size_t)n + LARGE};
}

Test(http_reply, a_reply_is_sized_once_by_its_stated_length, .timeout = 120) {
  tiny_server_t *server = tiny_server_new(NULL, 64, true, large_reply, NULL);
  http_client_t c;
  http_call_t call;
  http_client_open(&c, tiny_server_url(server));
  tinker__http_request_t r = post("/large");
  for (size_t more = 0; more < 2; more++) { /* a byte for a NUL, if allowed */
    r.reply_max = more ? 100000000 : LARGE;
    http_call_begin(&c, &call, r);
    http_call_finish(&call);
    cr_assert_eq(call.reply.error, 0, "%s", call.reply.detail);
    cr_assert_eq(call.reply.body.len, LARGE);
    cr_assert_eq(call.reply.body.cap, LARGE + more);
    http_call_end(&call);
  }
  r.path = "/liar";
  http_call_begin(&c, &call, r);
  http_call_finish(&call);
  cr_assert_eq(call.reply.error, TINKER_EOVERFLOW);
  cr_assert_eq(call.reply.body.cap, 0);
  http_call_end(&call);
  http_client_close(&c);
  tiny_server_free(server);
}
