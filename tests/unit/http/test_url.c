/* What a base URL may be, and how a path is put behind it. */
#include <criterion/criterion.h>
#include <string.h>
#include <tinker/error.h>

#include "http/url.h"
#include "support/fail_alloc.h"

typedef struct good_s {
  const char *url;
  const char *base;
  const char *unix_path;
  bool tls, loopback;
} good_t;

static const good_t good[] = {
    {"https://host/services/prod", "https://host/services/prod", NULL, true,
     false},
    {"https://host/a//", "https://host/a", NULL, true, false},
    {"http://127.0.0.1:8080/", "http://127.0.0.1:8080", NULL, false, true},
    {"http://127.1.2.3", "http://127.1.2.3", NULL, false, true},
    {"http://127.evil.example.org", "http://127.evil.example.org", NULL, false,
     false},
    {"http://LocalHost:65535", "http://LocalHost:65535", NULL, false, true},
    {"http://localhost.example", "http://localhost.example", NULL, false,
     false},
    {"http://[::1]:99/x", "http://[::1]:99/x", NULL, false, true},
    {"http://[::2]", "http://[::2]", NULL, false, false},
    {"unix:/run/t.sock", "http://localhost", "/run/t.sock", false, true},
};

static const struct {
  const char *url, *text;
} bad[] = {
    {"", "empty"},
    {"host", "begins with none of"},
    {"ftp://host", "begins with none of"},
    {"http://", "names no host"},
    {"https:///path", "names no host"},
    {"http://user@host/", "user name"},
    {"http://user:pw@host/", "user name"},
    {"http://host:0", "not ':0'"},
    {"http://host:65536", "from 1 to 65535, not ':65536'"},
    {"http://host:x", "not ':x'"},
    {"http://[::1", "names no host"},
    {"http://[::1]x", "not 'x'"},
    {"http://host/?q", "query or fragment"},
    {"http://host/#f", "query or fragment"},
    {"http://ho st/", "space"},
    {"http://host/\n", "control character"},
    {"unix:", "absolute path"},
    {"unix:relative", "absolute path"},
};

Test(url, base_urls_are_read_or_refused) {
  tinker__mem_t mem;
  tinker__mem_init(&mem, NULL, 0);
  char why[200];
  for (size_t i = 0; i < sizeof(good) / sizeof(*good); i++) {
    const good_t *g = &good[i];
    tinker__target_t t;
    cr_assert_eq(tinker__target_parse(&t, &mem, g->url, why, sizeof(why)), 0,
                 "%s: %s", g->url, why);
    cr_assert_str_eq(t.base, g->base);
    cr_assert_eq(t.tls, g->tls, "%s", g->url);
    cr_assert_eq(t.loopback, g->loopback, "%s", g->url);
    cr_assert_eq(t.unix_path != NULL, g->unix_path != NULL);
    if (g->unix_path) cr_assert_str_eq(t.unix_path, g->unix_path);
    tinker__target_free(&t, &mem);
  }
  for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
    tinker__target_t t;
    why[0] = '\0';
    cr_assert_eq(tinker__target_parse(&t, &mem, bad[i].url, why, sizeof(why)),
                 TINKER_EINVAL, "%s", bad[i].url);
    cr_assert_not_null(strstr(why, "base_url: "), "%s: %s", bad[i].url, why);
    cr_assert_not_null(strstr(why, bad[i].text), "%s: %s", bad[i].url, why);
    cr_assert_null(strstr(why, "pw"), "%s", why);
  }
  cr_assert_eq(atomic_load(&mem.live_blocks), 0);
}

Test(url, a_socket_path_has_room_for_107_bytes) {
  tinker__mem_t mem;
  tinker__target_t t;
  char url[200] = "unix:/";
  tinker__mem_init(&mem, NULL, 0);
  memset(url + 6, 'a', TINKER__UNIX_PATH_MAX - 1);
  cr_assert_eq(tinker__target_parse(&t, &mem, url, NULL, 0), 0);
  cr_assert_eq(strlen(t.unix_path), TINKER__UNIX_PATH_MAX);
  tinker__target_free(&t, &mem);
  url[strlen(url)] = 'b';
  cr_assert_eq(tinker__target_parse(&t, &mem, url, NULL, 0), TINKER_EINVAL);
  char longer[TINKER__BASE_URL_MAX + 20] = "http://host/";
  memset(longer + 12, 'a', sizeof(longer) - 13);
  cr_assert_eq(tinker__target_parse(&t, &mem, longer, NULL, 0), TINKER_EINVAL);
}

static void check_join(tinker__mem_t *mem, const char *base, const char *path,
                       const char *want) {
  tinker__target_t t;
  tinker__buf_t out;
  tinker__buf_init(&out, mem, 4096);
  cr_assert_eq(tinker__target_parse(&t, mem, base, NULL, 0), 0);
  cr_assert_eq(tinker__target_url(&t, path, &out), 0);
  cr_assert_str_eq(out.data, want);
  cr_assert_eq(out.len, strlen(want));
  tinker__buf_free(&out);
  tinker__target_free(&t, mem);
}

Test(url, paths_are_joined_with_one_slash_and_escaped_where_they_must_be) {
  tinker__mem_t mem;
  tinker__mem_init(&mem, NULL, 0);
  check_join(&mem, "http://h/base/", "/api/v1/x", "http://h/base/api/v1/x");
  check_join(&mem, "http://h", "api?a=1&b=%20", "http://h/api?a=1&b=%20");
  check_join(&mem, "unix:/s", "a/s:train:0/w\303\251 x",
             "http://localhost/a/s:train:0/w%C3%A9%20x");
  tinker__target_t t;
  tinker__buf_t out;
  tinker__buf_init(&out, &mem, 16);
  tinker__target_parse(&t, &mem, "http://h", NULL, 0);
  cr_assert_eq(tinker__target_url(&t, "a\r\nb", &out), TINKER_EINVAL);
  cr_assert_eq(tinker__target_url(&t, "much-too-long", &out), TINKER_EOVERFLOW);
  tinker__buf_free(&out);
  tinker__target_free(&t, &mem);
}

static int parse_all(tinker__mem_t *mem, void *user) {
  tinker__target_t t;
  (void)user;
  int rc = tinker__target_parse(&t, mem, "unix:/s", NULL, 0);
  if (!rc) tinker__target_free(&t, mem);
  return rc;
}

Test(url, every_failed_allocation_is_survived) {
  cr_assert_eq(tinker__fail_sweep(parse_all, NULL, TINKER_ENOMEM), 2);
}

Test(url, what_may_be_a_segment_of_a_path) {
  static const char *const fine[] = {
      "s-1", "11111111-1111:train:0", "a..b", "...", "~x", "0"};
  static const char *const evil[] = {
      "",    ".",    "..",   "a/b",  "../x", "a?b",  "a#b",
      "a b", "a%2f", "a\\b", "a\"b", "a\nb", "\x7f", "caf\303\251"};
  char id[TINKER__SEGMENT_MAX + 2];
  for (size_t i = 0; i < sizeof fine / sizeof *fine; i++) {
    cr_assert(tinker__segment_ok(fine[i]), "%s", fine[i]);
  }
  for (size_t i = 0; i < sizeof evil / sizeof *evil; i++) {
    cr_assert_not(tinker__segment_ok(evil[i]), "%zu", i);
  }
  cr_assert_not(tinker__segment_ok(NULL));
  memset(id, 'a', sizeof id);
  id[TINKER__SEGMENT_MAX] = '\0';
  cr_assert(tinker__segment_ok(id));
  id[TINKER__SEGMENT_MAX] = 'a';
  id[TINKER__SEGMENT_MAX + 1] = '\0';
  cr_assert_not(tinker__segment_ok(id));
}

/* A segment that a caller has named: refused, or sent as one segment that says
 * the same, whatever is in it. */
Test(url, a_callers_segment) {
  static const struct {
    const char *text, *out; /* NULL = refused */
  } rows[] = {{"s-1:train:0", "s-1:train:0"},
              {"a b", "a%20b"},
              {"a%2Fb", "a%252Fb"},
              {"?#[]\\^`{|}", "%3F%23%5B%5D%5C%5E%60%7B%7C%7D"},
              {"caf\303\251", "caf%C3%A9"},
              {"-._~!$&'()*+,;=:@", "-._~!$&'()*+,;=:@"},
              {"...", "..."},
              {"", NULL},
              {".", NULL},
              {"..", NULL},
              {"a/b", NULL},
              {"a\nb", NULL},
              {"\x7f", NULL}};
  tinker__mem_t mem;
  tinker__buf_t b;
  tinker__mem_init(&mem, NULL, 0);
  tinker__buf_init(&b, &mem, 4 * TINKER__SEGMENT_MAX);
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
    tinker__str_t text = tinker__str(rows[i].text);
    cr_assert_eq(!tinker__segment_fault(text), rows[i].out != NULL, "%zu", i);
    if (!rows[i].out) continue;
    tinker__buf_clear(&b);
    tinker__segment_add(&b, text);
    cr_assert_str_eq(tinker__buf_cstr(&b), rows[i].out);
  }
  char id[TINKER__SEGMENT_MAX + 1];
  memset(id, 'a', sizeof id);
  cr_assert_null(tinker__segment_fault((tinker__str_t){id, sizeof id - 1}));
  cr_assert_not_null(tinker__segment_fault((tinker__str_t){id, sizeof id}));
  cr_assert_not_null(tinker__segment_fault((tinker__str_t){"a\0b", 3}));
  tinker__buf_free(&b);
}

/* ---- absolute URLs ---- */

static const struct {
  const char *url, *origin; /* NULL = refused */
} origins[] = {
    {"https://Host.example/a?b#c", "https://host.example:443"},
    {"HTTP://h", "http://h:80"},
    {"http://h:8080/", "http://h:8080"},
    {"http://h:80", "http://h:80"},
    {"https://[::1]:9/x", "https://[::1]:9"},
    {"ftp://h/", NULL},
    {"http://u@h/", NULL},
    {"http://u:p@h/", NULL},
    {"http://h:70000/", NULL},
    {"/x", NULL},
    {"h/x", NULL},
    {"", NULL},
    {"http://h/\r\nX: y", NULL},
};

Test(url, an_origin_is_scheme_host_and_port) {
  tinker__mem_t mem;
  tinker__buf_t out;
  tinker__mem_init(&mem, NULL, 0);
  tinker__buf_init(&out, &mem, 100);
  for (size_t i = 0; i < sizeof origins / sizeof *origins; i++) {
    int rc = tinker__url_origin(origins[i].url, &out);
    cr_assert_eq(rc, origins[i].origin ? 0 : TINKER_EINVAL, "%s",
                 origins[i].url);
    if (!rc) cr_assert_str_eq(out.data, origins[i].origin);
  }
  tinker__buf_free(&out);
  cr_assert_eq(atomic_load(&mem.live_blocks), 0);
}

Test(url, a_location_is_relative_to_what_was_asked) {
  static const char from[] = "https://h/a/b?c";
  static const struct {
    const char *location, *url;
  } cases[] = {{"/x", "https://h/x"},
               {"x", "https://h/a/x"},
               {"?y", "https://h/a/b?y"},
               {"//other/z", "https://other/z"},
               {"http://g:81/w", "http://g:81/w"},
               {"mailto:a@b", NULL},
               {"ftp://h/x", NULL},
               {"http://u:p@h/", NULL}};
  tinker__mem_t mem;
  tinker__buf_t out;
  tinker__mem_init(&mem, NULL, 0);
  tinker__buf_init(&out, &mem, 100);
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    int rc = tinker__url_resolve(from, cases[i].location, &out);
    cr_assert_eq(rc, cases[i].url ? 0 : TINKER_EINVAL, "%s", cases[i].location);
    if (!rc) cr_assert_str_eq(out.data, cases[i].url);
  }
  tinker__buf_free(&out);
}

static const struct {
  const char *from, *to, *why; /* NULL = may be followed */
} hops[] = {
    {"https://h/a", "https://H:443/b?c", NULL},
    {"http://h:80/a", "http://h/", NULL},
    {"https://h/a", "http://h/a",
     "https://h:443 redirects to http://h:80, which is not encrypted: not "
     "followed"},
    {"https://h/a", "http://g/a",
     "https://h:443 redirects to http://g:80, which is not encrypted: not "
     "followed"},
    {"https://h/a", "https://g/a?secret",
     "https://h:443 redirects to https://g:443, which is another origin: not "
     "followed"},
    {"https://h/a", "https://h:444/",
     "https://h:443 redirects to https://h:444, which is another origin: not "
     "followed"},
    {"http://h/", "https://h/",
     "http://h:80 redirects to https://h:443, which is another origin: not "
     "followed"},
    {"https://h/", "https://h.evil/",
     "https://h:443 redirects to https://h.evil:443, which is another origin: "
     "not followed"},
};

Test(url, a_request_stays_within_its_origin) {
  tinker__mem_t mem;
  char why[320];
  tinker__mem_init(&mem, NULL, 0);
  for (size_t i = 0; i < sizeof hops / sizeof *hops; i++) {
    int rc =
        tinker__url_may_follow(hops[i].from, hops[i].to, &mem, why, sizeof why);
    cr_assert_eq(rc, hops[i].why ? TINKER_ENOTSUP : 0, "%zu", i);
    if (rc) cr_assert_str_eq(why, hops[i].why);
  }
  cr_assert_eq(atomic_load(&mem.live_blocks), 0);
}

static int follow_once(tinker__mem_t *mem, void *user) {
  tinker__buf_t out;
  (void)user;
  tinker__buf_init(&out, mem, 100);
  int rc = tinker__url_resolve("http://h/", "/x", &out);
  if (!rc) rc = tinker__url_may_follow("http://h/", out.data, mem, NULL, 0);
  tinker__buf_free(&out);
  return rc;
}

Test(url, a_redirect_without_memory_fails) {
  cr_assert_eq(tinker__fail_sweep(follow_once, NULL, TINKER_ENOMEM), 3);
}
