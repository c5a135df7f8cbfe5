/* The head of a request: what is malformed, and who may come. No socket. */
#include <criterion/criterion.h>
#include <string.h>

#include "service/http/head.h"

static bool local(const char *host) {
  return tinker__svc_head_is_local(tinker__str(host), tinker__str("My-Box"));
}

Test(head, hosts) {
  static const char *const yes[] = {
      "localhost",   "LocalHost.",        "localhost:8080",       "localhost:",
      "127.0.0.1",   "127.255.0.9:1",     "127.0.0.1.:80",        "[::1]",
      "[::1]:65535", "[0:0:0:0:0:0:0:1]", "[::ffff:127.0.0.1]:8", "my-box",
      "MY-BOX.:80"};
  static const char *const no[] = {"",
                                   ".",
                                   ":80",
                                   "evil",
                                   "localhost.evil",
                                   "evil.localhost",
                                   "localhost..",
                                   ".localhost",
                                   "localhost,evil",
                                   "localhost evil",
                                   "localhost@evil",
                                   "evil@localhost",
                                   "localhost:80@evil",
                                   "localhost/",
                                   "127.0.0.1.nip.io",
                                   "127.1",
                                   "2130706433",
                                   "0x7f.0.0.1",
                                   "0177.0.0.1",
                                   "128.0.0.1",
                                   "0.0.0.0",
                                   "[::]",
                                   "[::2]",
                                   "[::1",
                                   "[]",
                                   "[::1]x",
                                   "[::1%25lo]",
                                   "[localhost]",
                                   "[::ffff:10.0.0.1]",
                                   "::1",
                                   "localhost:65536",
                                   "localhost:x",
                                   "localhost:-1",
                                   "localhost:80:80",
                                   "my-box.evil",
                                   ("l\xc3\xb6"
                                    "calhost")};
  for (size_t i = 0; i < sizeof yes / sizeof *yes; i++) {
    cr_expect(local(yes[i]), "%s", yes[i]);
  }
  for (size_t i = 0; i < sizeof no / sizeof *no; i++) {
    cr_expect(!local(no[i]), "%s", no[i]);
  }
  cr_expect(!tinker__svc_head_is_local((tinker__str_t){"localhost\0.evil", 15},
                                       tinker__str("")));
  cr_expect(!tinker__svc_head_is_local(tinker__str(""), tinker__str("")));
}

Test(head, origins) {
  cr_expect(tinker__svc_head_is_origin("http://localhost:3000"));
  cr_expect(tinker__svc_head_is_origin("https://a.example"));
  static const char *const no[] = {"",
                                   "*",
                                   "null",
                                   "localhost",
                                   "://a",
                                   "http://",
                                   "http://a/",
                                   "http://a b",
                                   "http://*.a",
                                   "http://u@a",
                                   "http://a,http://b"};
  for (size_t i = 0; i < sizeof no / sizeof *no; i++) {
    cr_expect(!tinker__svc_head_is_origin(no[i]), "%s", no[i]);
  }
}

/* "Name: value" lines, and how many bytes the head has besides them. */
static int judged(const tinker__svc_gate_t *g, const char *version,
                  const char *fields, size_t more) {
  tinker__svc_req_head_t h;
  char why[300] = "";
  tinker__svc_head_begin(&h, g, "GET", version, 2, true);
  size_t bytes = strlen("GET /a \r\n\r\n") + strlen(version);
  while (*fields) {
    const char *end = strchr(fields, '\n'), *colon = strstr(fields, ": ");
    tinker__svc_head_field(
        &h, (tinker__str_t){fields, (size_t)(colon - fields)},
        (tinker__str_t){colon + 2, (size_t)(end - colon) - 2});
    bytes += (size_t)(end - fields) + 2;
    fields = end + 1;
  }
  int status = tinker__svc_head_end(&h, bytes + more, why, sizeof why);
  cr_expect_eq(status != 0, *why != 0);
  return status;
}

#define NEW "HTTP/1.1"
#define OLD "HTTP/1.0"
#define HOST "Host: localhost\n"

Test(head, malformed) {
  const tinker__svc_gate_t any = {.guarded = false},
                           guarded = {.guarded = true};
  tinker__svc_req_head_t h;
  char why[200];
  cr_expect_eq(judged(&any, NEW, "Host: anything at all\n", 0), 0);
  cr_expect_eq(judged(&any, OLD, "", 0), 0);
  cr_expect_eq(judged(&guarded, OLD, "", 0), 400);
  cr_expect_eq(judged(&any, NEW, "", 0), 400);
  cr_expect_eq(judged(&any, "HTTP/2.0", HOST, 0), 400);
  cr_expect_eq(judged(&any, NEW, HOST "hOST: localhost\n", 0), 400);
  cr_expect_eq(judged(&any, NEW, HOST "Content-Length: 1\n", 0), 0);
  cr_expect_eq(judged(&any, NEW,
                      HOST "Content-Length: 1\n"
                           "content-length: 1\n",
                      0),
               400);
  cr_expect_eq(judged(&any, NEW, HOST "Transfer-Encoding: Chunked\n", 0), 0);
  cr_expect_eq(judged(&any, OLD, HOST "Transfer-Encoding: chunked\n", 0), 400);
  cr_expect_eq(judged(&any, NEW, HOST "Transfer-Encoding: gzip\n", 0), 400);
  cr_expect_eq(judged(&any, NEW,
                      HOST "Transfer-Encoding: chunked\n"
                           "Transfer-Encoding: chunked\n",
                      0),
               400);
  cr_expect_eq(judged(&any, NEW,
                      HOST "Content-Length: 1\n"
                           "Transfer-Encoding: chunked\n",
                      0),
               400);
  cr_expect_eq(judged(&any, NEW, HOST "Content-Length : 1\n", 0), 400);
  cr_expect_eq(judged(&any, NEW, HOST " X: 1\n", 0), 400);
  cr_expect_eq(judged(&any, NEW, HOST "X: a\tb\xc3\xa9\n", 0), 0);
  cr_expect_eq(judged(&any, NEW, HOST "X: a\rY\n", 0), 400);
  cr_expect_eq(judged(&any, NEW, HOST "X: \x7f\n", 0), 400);
  /* Bytes that the parser did not show: behind a NUL. */
  cr_expect_eq(judged(&any, NEW, HOST, 1), 400);
  tinker__svc_head_begin(&h, &any, "GET", NEW, 2, false);
  tinker__svc_head_field(&h, tinker__str("Host"), tinker__str("a"));
  cr_expect_eq(tinker__svc_head_end(&h, 0, why, sizeof why), 400);
  cr_expect(tinker__svc_head_is_plain(tinker__str("/a?b=%00\xc3\xa9")));
  cr_expect(!tinker__svc_head_is_plain(tinker__str("/a b")));
  cr_expect(!tinker__svc_head_is_plain(tinker__str("/a\x7f")));
}

Test(head, web_pages) {
  static const char *const origins[] = {"http://ok.example", "http://b:80"};
  const tinker__svc_gate_t any = {.guarded = false}, none = {.guarded = true},
                           some = {
                               .guarded = true,
                               .origins = origins,
                               .n_origins = 2,
                           };
  cr_expect_eq(judged(&none, NEW, HOST, 0), 0);
  cr_expect_eq(judged(&none, NEW, "Host: attacker.example:8080\n", 0), 421);
  cr_expect_eq(judged(&none, NEW, HOST "Origin: http://localhost\n", 0), 403);
  cr_expect_eq(judged(&none, NEW, HOST "origin: null\n", 0), 403);
  cr_expect_eq(judged(&none, NEW, HOST "Origin: \n", 0), 403);
  cr_expect_eq(judged(&some, NEW, HOST "Origin: HTTP://OK.example\n", 0), 0);
  cr_expect_eq(judged(&some, NEW, HOST "Origin: http://b:80\n", 0), 0);
  cr_expect_eq(judged(&some, NEW, HOST "Origin: http://b\n", 0), 403);
  cr_expect_eq(judged(&some, NEW,
                      HOST "Origin: http://b:80\n"
                           "Origin: http://c\n",
                      0),
               403);
  cr_expect_eq(judged(&some, NEW,
                      "Host: ok.example\n"
                      "Origin: http://ok.example\n",
                      0),
               421);
  cr_expect_eq(judged(&none, NEW, HOST "Sec-Fetch-Site: cross-site\n", 0), 403);
  cr_expect_eq(judged(&none, NEW, HOST "Sec-Fetch-Site: same-site\n", 0), 403);
  cr_expect_eq(judged(&none, NEW, HOST "Sec-Fetch-Site: none\n", 0), 0);
  cr_expect_eq(judged(&some, NEW,
                      HOST "Sec-Fetch-Site: cross-site\n"
                           "Origin: http://b:80\n",
                      0),
               0);
  cr_expect_eq(judged(&any, NEW, "Host: x\nOrigin: http://c\n", 0), 0);
}
