/* Buffers, strings, numbers, maps, errors, digests, files. */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/digest.h"
#include "base/error.h"
#include "base/file.h"
#include "base/list.h"
#include "base/log.h"
#include "base/map.h"
#include "base/str.h"
#include "support/fail_alloc.h"

static tinker__mem_t mem;

static void setup(void) {
  tinker__mem_init(&mem, NULL, 0);
}

static void teardown(void) {
  cr_assert_eq(atomic_load(&mem.live_blocks), 0);
  cr_assert_eq(atomic_load(&mem.live_bytes), 0);
}

TestSuite(basics, .init = setup, .fini = teardown);

Test(basics, buf) {
  tinker__buf_t b;
  tinker__buf_init(&b, &mem, 300);
  cr_assert_eq(tinker__buf_adds(&b, "abc"), 0);
  cr_assert_eq(tinker__buf_addf(&b, "%d-%0280d", 7, 1), 0);
  cr_assert_eq(b.len, 285);
  cr_assert_eq(tinker__buf_adds(&b, "0123456789abcdef"), TINKER_EOVERFLOW);
  cr_assert_eq(b.len, 285);
  cr_assert_eq(tinker__buf_addc(&b, 'x'), TINKER_EOVERFLOW, "it sticks");
  cr_assert_null(tinker__buf_cstr(&b));
  tinker__buf_clear(&b);
  cr_assert_eq(tinker__buf_addc(&b, 'x'), 0);
  cr_assert_str_eq(tinker__buf_cstr(&b), "x");
  size_t len;
  char *taken = tinker__buf_take(&b, &len);
  cr_assert_eq(len, 1);
  tinker__mem_free(&mem, taken);
  tinker__buf_init(&b, &mem, 4);
  cr_assert_eq(tinker__buf_adds(&b, "full"), 0);
  cr_assert_null(tinker__buf_cstr(&b), "no room for the NUL");
  tinker__buf_free(&b);
}

Test(basics, strings) {
  cr_assert(
      tinker__str_ieq(TINKER__STR("Retry-After"), TINKER__STR("retry-aFTER")));
  cr_assert_not(tinker__str_ieq(TINKER__STR("a@"), TINKER__STR("a`")));
  cr_assert(tinker__str_starts(TINKER__STR("tinker://x"), "tinker://"));
  cr_assert_not(tinker__str_starts(TINKER__STR("tin"), "tinker"));
  cr_assert(tinker__str_ends(TINKER__STR("a.json"), ".json"));
  cr_assert(tinker__str_eq(tinker__str(NULL), TINKER__STR("")));
  static const struct {
    const char *s;
    bool ok;
  } utf8[] = {{"a\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80", true},
              {"\xc0\x80", false},
              {"\xed\xa0\x80", false},
              {"\xe0\x80\x80", false},
              {"\xf0\x80\x80\x80", false},
              {"\xf4\x90\x80\x80", false},
              {"\xf4\x8f\xbf\xbf", true},
              {"\xc3", false},
              {"\xe2\x82", false},
              {"\x80", false},
              {"\xff", false}};
  for (size_t i = 0; i < sizeof(utf8) / sizeof(*utf8); i++) {
    cr_assert_eq(tinker__utf8_valid(utf8[i].s, strlen(utf8[i].s)), utf8[i].ok,
                 "row %zu", i);
  }
  char why[6];
  cr_assert_eq(tinker__why(why, sizeof(why), -3, "abc\xe2\x82\xac"), -3);
  cr_assert_str_eq(why, "abc", "never half a character");
  tinker__why(why, sizeof(why), 0, "ab\xe2\x82\xac");
  cr_assert_str_eq(why, "ab\xe2\x82\xac");
  cr_assert_eq(tinker__why(NULL, 0, -1, "x"), -1);
}

Test(basics, integers) {
  static const struct {
    const char *text;
    int rc;
    int64_t value;
  } rows[] = {{"0", 0, 0},
              {"-9223372036854775808", 0, INT64_MIN},
              {"9223372036854775807", 0, INT64_MAX},
              {"9223372036854775808", TINKER_EOVERFLOW, 0},
              {"-9223372036854775809", TINKER_EOVERFLOW, 0},
              {"99999999999999999999999", TINKER_EOVERFLOW, 0},
              {"", TINKER_EINVAL, 0},
              {"-", TINKER_EINVAL, 0},
              {"1x", TINKER_EINVAL, 0},
              {" 1", TINKER_EINVAL, 0}};
  for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
    int64_t v = 0;
    cr_assert_eq(tinker__parse_i64(tinker__str(rows[i].text), &v), rows[i].rc,
                 "row %zu", i);
    cr_assert_eq(v, rows[i].value);
    char text[24];
    if (!rows[i].rc && tinker__format_i64(text, v)) {
      cr_assert_str_eq(text, rows[i].text);
    }
  }
  uint64_t u;
  cr_assert_eq(tinker__parse_u64(TINKER__STR("18446744073709551615"), &u), 0);
  cr_assert_eq(u, UINT64_MAX);
  char text[32];
  for (uint64_t p = 1, i = 0; i < 10; i++, p *= 10) {
    for (int d = -1; d <= 1; d++) {
      uint32_t v = (uint32_t)(p + (uint64_t)d);
      char want[16];
      snprintf(want, sizeof(want), "%u", v);
      *tinker__put_u32(text, v) = 0;
      cr_assert_str_eq(text, want);
    }
  }
}

static uint64_t rnd(uint64_t *s) {
  *s ^= *s << 13;
  *s ^= *s >> 7;
  return *s ^= *s << 17;
}

static void check_f64(double v) {
  char text[32];
  double back = 0;
  size_t n = tinker__format_f64(text, v);
  cr_assert_eq(n, strlen(text));
  cr_assert_leq(n, 24, "%s", text);
  cr_assert_eq(tinker__parse_f64(tinker__str(text), &back), 0, "%s", text);
  cr_assert_eq(memcmp(&back, &v, sizeof(v)), 0, "%s", text);
  cr_assert_eq(strtod(text, NULL), v, "%s", text);
}

static void check_f32(float v) {
  char text[32], least[32];
  double back = 0;
  size_t n = tinker__format_f32(text, v);
  cr_assert_eq(n, strlen(text));
  cr_assert_eq(tinker__parse_f64(tinker__str(text), &back), 0, "%s", text);
  cr_assert_eq((float)back, v, "%s", text);
  cr_assert_eq(strtof(text, NULL), v, "%s", text);
  int digits = 0, need = 1;
  const char *p = text;
  for (; *p && *p != 'e'; p++) {
    digits += *p >= '0' && *p <= '9' && (digits || *p != '0');
  }
  for (; need < 9; need++) {
    snprintf(least, sizeof(least), "%.*e", need - 1, (double)v);
    if (strtof(least, NULL) == v) break;
  }
  /* Trailing zeros of a whole number are laid out, not significant. */
  cr_assert(digits <= need || fabsf(v) >= 10, "%s has more than %d", text,
            need);
}

Test(basics, floats_read_back) {
  uint64_t seed = 0x9e3779b97f4a7c15u;
  for (int i = 0; i < 20000; i++) {
    uint64_t bits = rnd(&seed);
    double d;
    float f;
    memcpy(&d, &bits, sizeof(d));
    memcpy(&f, &bits, sizeof(f));
    if (isfinite(d)) check_f64(d);
    if (isfinite(f) && f != 0) check_f32(f);
    check_f32((float)(-20.0 * (double)(bits >> 11) / 9007199254740992.0));
  }
  static const double hard[] = {0.0,
                                -0.0,
                                0.1,
                                1e22,
                                1e23,
                                5e-324,
                                1.7976931348623157e308,
                                2.5e-5,
                                1e16,
                                123456789012345678.0,
                                0.00001,
                                100,
                                1e-12};
  for (size_t i = 0; i < sizeof(hard) / sizeof(*hard); i++) check_f64(hard[i]);
}

Test(basics, float_text) {
  static const struct {
    const char *text;
    int rc;
  } rows[] = {
      {"1e400", TINKER_EOVERFLOW}, {"-1e999999999999", TINKER_EOVERFLOW},
      {"01", TINKER_EINVAL},       {"1.", TINKER_EINVAL},
      {".5", TINKER_EINVAL},       {"1e", TINKER_EINVAL},
      {"+1", TINKER_EINVAL},       {"nan", TINKER_EINVAL},
      {"0x10", TINKER_EINVAL},     {"1 ", TINKER_EINVAL},
      {"", TINKER_EINVAL},         {"-", TINKER_EINVAL}};
  double v;
  for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
    cr_assert_eq(tinker__parse_f64(tinker__str(rows[i].text), &v), rows[i].rc,
                 "%s", rows[i].text);
  }
  static const char *const same[] = {"2.2250738585072011e-308",
                                     "9007199254740993",
                                     "1e-400",
                                     "0e999",
                                     "123456789.123456789e-5",
                                     "0.000000000000000000000000000000001234",
                                     "179769313486231580793728971405301e276",
                                     "-0"};
  for (size_t i = 0; i < sizeof(same) / sizeof(*same); i++) {
    cr_assert_eq(tinker__parse_f64(tinker__str(same[i]), &v), 0);
    cr_assert_eq(v, strtod(same[i], NULL), "%s", same[i]);
  }
  /* Just above the middle of two doubles, decided by digit 1100. */
  char text[1200] = "9007199254740993.";
  size_t n = strlen(text);
  memset(text + n, '0', 1100);
  text[n + 1100] = '1';
  cr_assert_eq(tinker__parse_f64(tinker__str(text), &v), 0);
  cr_assert_eq(v, 9007199254740994.0);
  char out[32];
  tinker__format_f64(out, 1e-7);
  cr_assert_str_eq(out, "1e-7");
  tinker__format_f64(out, -1234.5);
  cr_assert_str_eq(out, "-1234.5");
  tinker__format_f32(out, 0.1f);
  cr_assert_str_eq(out, "0.1");
  tinker__format_f32(out, 16777216.0f);
  cr_assert_str_eq(out, "16777216");
}

Test(basics, map) {
  tinker__map_t *m = NULL;
  int values[500];
  char key[32];
  void *old;
  cr_assert_eq(tinker__map_new(&m, &mem), 0);
  for (int round = 0; round < 3; round++) {
    for (int i = 0; i < 500; i++) {
      snprintf(key, sizeof(key), "model:%d", i);
      cr_assert_eq(tinker__map_put(m, tinker__str(key), &values[i], &old), 0);
      cr_assert_null(old);
    }
    cr_assert_eq(tinker__map_put(m, tinker__str(key), &values[0], &old), 0);
    cr_assert_eq(old, &values[499]);
    cr_assert_eq(tinker__map_len(m), 500);
    cr_assert_eq(tinker__map_get(m, TINKER__STR("model:7")), &values[7]);
    cr_assert_null(tinker__map_get(m, TINKER__STR("model:700")));
    size_t cursor = 0, seen = 0;
    tinker__str_t k;
    void *v;
    while (tinker__map_next(m, &cursor, &k, &v)) {
      seen++;
      cr_assert_eq(tinker__map_remove(m, k), v);
    }
    cr_assert_eq(seen, 500);
    cr_assert_eq(tinker__map_len(m), 0);
  }
  cr_assert_null(tinker__map_remove(m, TINKER__STR("x")));
  tinker__map_free(m);
  tinker__map_free(NULL);
  unsigned char in[15];
  for (int i = 0; i < 15; i++) in[i] = (unsigned char)i;
  cr_assert_eq(
      tinker__siphash(0x0706050403020100u, 0x0f0e0d0c0b0a0908u, in, 15),
      0xa129ca6149be45e5u, "vector of the SipHash paper");
}

Test(basics, arena_limits) {
  tinker__arena_t a;
  tinker__arena_init(&a, &mem);
  char *s = tinker__arena_str(&a, TINKER__STR("abc"));
  cr_assert_str_eq(s, "abc");
  cr_assert_not_null(tinker__arena_alloc(&a, 0));
  cr_assert_null(tinker__arena_array(&a, SIZE_MAX / 2, 3));
  tinker__arena_allow(&a, 10000);
  cr_assert_not_null(tinker__arena_alloc(&a, 9000));
  cr_assert_null(tinker__arena_alloc(&a, 9000));
  cr_assert_eq(tinker__arena_error(&a), TINKER_EOVERFLOW);
  tinker__arena_allow_all(&a);
  int *list = NULL;
  size_t cap = 0;
  for (int i = 0; i < 5000; i++) {
    list = tinker__arena_grow(&a, list, (size_t)i, &cap, sizeof(*list));
    cr_assert_not_null(list);
    list[i] = i;
  }
  cr_assert(list[0] == 0 && list[4999] == 4999);
  tinker__arena_free(&a);
  mem.fail_at = atomic_load(&mem.count) + 1;
  cr_assert_null(tinker__arena_str(&a, TINKER__STR("x")));
  cr_assert_eq(tinker__arena_error(&a), TINKER_ENOMEM);
  tinker__arena_free(&a);
}

Test(basics, errors) {
  tinker__error_spec_t spec = {
      .code = TINKER_EREJECTED,
      .http_status = 400,
      .category = TINKER_CATEGORY_USER,
      .advice = TINKER__ADVICE_UNKNOWN,
      .retry_after_ms = 12,
      .request_id = "r:1",
  };
  tinker_error_t *e = tinker__error_new(&mem, &spec, "bad %s", "rank");
  tinker__error_retain(e);
  tinker__error_release(e);
  cr_assert_eq(tinker_error_code(e), TINKER_EREJECTED);
  cr_assert_str_eq(tinker_error_message(e), "bad rank");
  cr_assert_str_eq(tinker_error_request_id(e), "r:1");
  cr_assert_eq(tinker_error_http_status(e), 400);
  cr_assert_eq(tinker_error_category(e), TINKER_CATEGORY_USER);
  cr_assert_eq(tinker_error_retry_after_ms(e), 12);
  cr_assert(tinker_error_outcome_is_unknown(e));
  cr_assert_not(tinker_error_is_retriable(e) || tinker_error_is_fatal(e) ||
                tinker_error_needs_recovery(e));
  tinker__error_release(e);
  mem.fail_at = atomic_load(&mem.count) + 1;
  e = tinker__error_new(&mem, &spec, "x");
  cr_assert_eq(tinker_error_code(e), TINKER_ENOMEM);
  tinker__error_release(tinker__error_retain(e));
  tinker__error_release(e);
  tinker__error_release(NULL);
  cr_assert_eq(tinker_error_code(NULL), 0);
  cr_assert_str_eq(tinker_error_message(NULL), "");
  cr_assert_str_eq(tinker_code_name(TINKER_ENOMEM), "TINKER_ENOMEM");
  cr_assert_str_eq(tinker_code_name(-9999), "TINKER_UNKNOWN");
  cr_assert_str_eq(tinker_code_text(0), "success");
}

Test(basics, digests) {
  unsigned char d[TINKER__SHA256_LEN];
  char hex[2 * TINKER__SHA256_LEN + 1];
  static const char want[] =
      "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
  cr_assert_eq(tinker__sha256("abc", 3, d), 0);
  tinker__hex(d, sizeof(d), hex);
  cr_assert_str_eq(hex, want);
  tinker__sha256_t *h;
  cr_assert_eq(tinker__sha256_new(&h, &mem), 0);
  cr_assert_eq(tinker__sha256_add(h, "a", 1), 0);
  cr_assert_eq(tinker__sha256_add(h, "bc", 2), 0);
  cr_assert_eq(tinker__sha256_end(h, d), 0);
  tinker__hex(d, sizeof(d), hex);
  cr_assert_str_eq(hex, want);
  static const char *const pairs[][2] = {{"", ""},
                                         {"f", "Zg=="},
                                         {"fo", "Zm8="},
                                         {"foo", "Zm9v"},
                                         {"\xff\xfe", "//4="}};
  tinker__buf_t b;
  tinker__buf_init(&b, &mem, 1000);
  for (size_t i = 0; i < 5; i++) {
    tinker__buf_clear(&b);
    cr_assert_eq(tinker__base64_encode(&b, pairs[i][0], strlen(pairs[i][0])),
                 0);
    cr_assert(tinker__str_eqs(tinker__buf_str(&b), pairs[i][1]));
    tinker__buf_clear(&b);
    cr_assert_eq(tinker__base64_decode(&b, tinker__str(pairs[i][1])), 0);
    cr_assert(tinker__str_eqs(tinker__buf_str(&b), pairs[i][0]));
  }
  static const char *const bad[] = {
      "Z", "Zg=", "Zh==", "Zm9=", "Zg==Zg==", "====", "Z===", "Zm 9", "Zm-v"};
  for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
    cr_assert_eq(tinker__base64_decode(&b, tinker__str(bad[i])), TINKER_EINVAL,
                 "%s", bad[i]);
  }
  tinker__buf_free(&b);
  cr_assert(tinker__secret_eq(TINKER__STR("abc"), TINKER__STR("abc")));
  cr_assert_not(tinker__secret_eq(TINKER__STR("abc"), TINKER__STR("abd")));
  char id[37];
  cr_assert_eq(tinker__uuid4(tinker__world_real(), id), 0);
  cr_assert(strlen(id) == 36 && id[14] == '4' && id[8] == '-');
  static const unsigned char ones[TINKER__UUID_BYTES] = {
      0xff, 0xfe, 0xfd, 0xfc, 0xfb, 0xfa, 0xf9, 0xf8,
      0xf7, 0xf6, 0xf5, 0xf4, 0xf3, 0xf2, 0xf1, 0xf0};
  tinker__uuid4_of(ones, id);
  cr_assert_str_eq(id, "fffefdfc-fbfa-49f8-b7f6-f5f4f3f2f1f0");
}

/* World whose n-th file call fails. */
static int calls, fail_call;

static int failing(void) {
  if (++calls != fail_call) return 0;
  errno = ENOSPC;
  return 1;
}

static ssize_t f_write(void *user, int fd, const void *data, size_t len) {
  (void)user;
  return failing() ? -1 : write(fd, data, len > 3 ? 3 : len);
}

static int f_fsync(void *user, int fd) {
  (void)user;
  return failing() ? -1 : fsync(fd);
}

static int f_rename(void *user, const char *from, const char *to) {
  (void)user;
  return failing() ? -1 : rename(from, to);
}

Test(basics, files_publish_whole_or_not_at_all) {
  tinker__world_t w = *tinker__world_real();
  w.write = f_write;
  w.fsync = f_fsync;
  w.rename = f_rename;
  char dir[] = "/tmp/tinker-test-XXXXXX", path[64], why[256];
  cr_assert_not_null(mkdtemp(dir));
  snprintf(path, sizeof(path), "%s/a", dir);
  tinker__buf_t b;
  tinker__buf_init(&b, &mem, 16);
  cr_assert_eq(tinker__file_read(&w, path, &b, why, sizeof(why)),
               TINKER_ENOENT);
  cr_assert_not_null(strstr(why, path));
  cr_assert_eq(tinker__file_publish(&w, path, "old", 3, 0600, why, sizeof(why)),
               0, "%s", why);
  int last = 0;
  for (fail_call = 1;; fail_call++) {
    calls = 0;
    int rc =
        tinker__file_publish(&w, path, "new text", 8, 0600, why, sizeof(why));
    tinker__buf_clear(&b);
    cr_assert_eq(tinker__file_read(&w, path, &b, NULL, 0), 0);
    bool is_new = tinker__str_eqs(tinker__buf_str(&b), "new text");
    cr_assert(is_new || tinker__str_eqs(tinker__buf_str(&b), "old"));
    cr_assert_eq(unlink(path), 0);
    cr_assert_eq(rmdir(dir), 0, "no temporary file is left");
    cr_assert_eq(mkdir(dir, 0700), 0);
    if (!rc) break;
    cr_assert_eq(rc, TINKER_EIO);
    last++;
    fail_call = 0x1000;
    cr_assert_eq(tinker__file_publish(&w, path, "old", 3, 0600, NULL, 0), 0);
    fail_call = last;
  }
  cr_assert_geq(last, 5, "writes, sync, rename and the folder's sync");
  tinker__buf_clear(&b);
  fail_call = 0;
  cr_assert_eq(
      tinker__file_publish(&w, path, "0123456789abcdefX", 17, 0600, NULL, 0),
      0);
  cr_assert_eq(tinker__file_read(&w, path, &b, why, sizeof(why)),
               TINKER_EOVERFLOW);
  tinker__buf_free(&b);
  unlink(path);
  rmdir(dir);
}

static ssize_t f_read(void *user, int fd, void *data, size_t len) {
  (void)user;
  (void)fd;
  (void)data;
  (void)len;
  errno = EIO;
  return -1;
}

/* A piece at a time, the same as all at once. */
Test(basics, files_have_digests) {
  tinker__world_t w = *tinker__world_real();
  char path[] = "/tmp/tinker-test-XXXXXX", why[256];
  static char data[50001];
  unsigned char want[TINKER__SHA256_LEN], got[TINKER__SHA256_LEN];
  int fd = mkstemp(path);
  cr_assert_geq(fd, 0);
  for (size_t i = 0; i < sizeof data; i++) data[i] = (char)(i * i);
  cr_assert_eq(write(fd, data, sizeof data), (ssize_t)sizeof data);
  close(fd);
  cr_assert_eq(tinker__sha256(data, sizeof data, want), 0);
  cr_assert_eq(tinker__file_sha256(&w, &mem, path, got, why, sizeof why), 0);
  cr_assert_eq(memcmp(want, got, sizeof want), 0);
  w.read = f_read;
  memset(got, 7, sizeof got);
  cr_assert_eq(tinker__file_sha256(&w, &mem, path, got, why, sizeof why),
               TINKER_EIO);
  cr_assert_not_null(strstr(why, path));
  cr_assert_eq(got[0], 7, "untouched on failure");
  unlink(path);
  w.read = tinker__world_real()->read;
  cr_assert_eq(tinker__file_sha256(&w, &mem, path, got, why, sizeof why),
               TINKER_ENOENT);
}

static int body(tinker__mem_t *m, void *user) {
  (void)user;
  tinker__buf_t b;
  tinker__map_t *map = NULL;
  tinker__sha256_t *h = NULL;
  char key[8];
  tinker__buf_init(&b, m, 100000);
  int rc = tinker__map_new(&map, m);
  for (int i = 0; !rc && i < 40; i++) {
    snprintf(key, sizeof(key), "%d", i);
    rc = tinker__map_put(map, tinker__str(key), m, NULL);
    if (!rc) rc = tinker__buf_addf(&b, "%0300d", i);
  }
  if (!rc) rc = tinker__sha256_new(&h, m);
  if (!rc) {
    unsigned char d[TINKER__SHA256_LEN];
    rc = tinker__sha256_end(h, d);
  }
  tinker__map_free(map);
  tinker__buf_free(&b);
  return rc;
}

Test(basics, allocation_failures) {
  cr_assert_gt(tinker__fail_sweep(body, NULL, TINKER_ENOMEM), 40);
}

typedef struct tinker__seen_s {
  int n;
  char last[600];
} tinker__seen_t;

static void seen_log(void *user, tinker_log_level_t level,
                     const char *component, const char *message) {
  tinker__seen_t *s = user;
  s->n++;
  snprintf(s->last, sizeof(s->last), "%s %s: %s", tinker_log_level_name(level),
           component, message);
}

static void count_wake(void *user) {
  ++*(int *)user;
}

Test(basics, log_ring) {
  tinker__log_t *log = NULL;
  tinker__seen_t seen = {0};
  int wakes = 0;
  mem.fail_at = atomic_load(&mem.count) + 1;
  cr_assert_eq(tinker__log_new(&log, &mem, TINKER_LOG_INFO, 3, NULL, NULL),
               TINKER_ENOMEM);
  cr_assert_eq(
      tinker__log_new(&log, &mem, TINKER_LOG_INFO, 3, count_wake, &wakes), 0);
  TINKER__LOG(log, TINKER_LOG_DEBUG, "http", "never %d", ++wakes);
  cr_assert_eq(wakes, 0, "arguments of what is off are not evaluated");
  TINKER__LOG((tinker__log_t *)NULL, TINKER_LOG_ERROR, "http", "x");
  for (int i = 0; i < 6; i++) {
    TINKER__LOG(log, TINKER_LOG_WARNING, "http", "try %d", i);
  }
  cr_assert_eq(wakes, 1);
  cr_assert_eq(tinker__log_drain(log, seen_log, &seen), 5);
  cr_assert_str_eq(seen.last, "warning log: 2 messages were dropped");
  cr_assert_eq(tinker__log_drain(log, seen_log, &seen), 0);
  char big[700];
  memset(big, 'x', sizeof(big) - 1);
  big[sizeof(big) - 1] = 0;
  TINKER__LOG(log, TINKER_LOG_ERROR, "flow", "%s", big);
  cr_assert_eq(tinker__log_drain(log, seen_log, &seen), 1);
  cr_assert_lt(strlen(seen.last), 540);
  tinker__log_free(log);
  tinker__log_free(NULL);
}

Test(basics, list) {
  tinker__link_t list, a, b;
  tinker__list_init(&list);
  cr_assert_null(tinker__list_pop_front(&list));
  tinker__list_push_back(&list, &a);
  tinker__list_push_front(&list, &b);
  int n = 0;
  TINKER__LIST_EACH(it, tmp, &list) {
    tinker__list_remove(it);
    n++;
  }
  cr_assert_eq(n, 2);
  cr_assert(tinker__list_empty(&list) && tinker__list_empty(&a));
}
