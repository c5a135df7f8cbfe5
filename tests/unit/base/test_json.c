/* The JSON reader and writer. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <tinker/error.h>

#include "base/json_read.h"
#include "base/json_table.h"
#include "base/json_write.h"
#include "support/fail_alloc.h"

static tinker__mem_t mem;

static void setup(void) {
  tinker__mem_init(&mem, NULL, 0);
}

static void teardown(void) {
  cr_assert_eq(atomic_load(&mem.live_blocks), 0);
}

TestSuite(json, .init = setup, .fini = teardown);

static int skip_all(const char *text, size_t len) {
  tinker__json_t j;
  tinker__json_init(&j, &mem, text, len);
  tinker__json_skip(&j);
  int rc = tinker__json_end(&j);
  tinker__json_done(&j);
  return rc;
}

Test(json, accepts_and_refuses) {
  static const char *const good[] = {"0",
                                     "-0",
                                     "1e5",
                                     "-1.5E-3",
                                     "null",
                                     "true",
                                     " [ ] ",
                                     "{}",
                                     "[1,[2,{\"a\":[]}],\"x\"]",
                                     "\"\\u00e9\\ud83d\\ude00\\n\\/\"",
                                     "{\"a\":{\"b\":[null,false]}}",
                                     "\"\xc3\xa9\"",
                                     "\t\r\n1\n"};
  static const char *const bad[] = {"",
                                    " ",
                                    "01",
                                    "1.",
                                    ".5",
                                    "-",
                                    "+1",
                                    "1e",
                                    "1e+",
                                    "nul",
                                    "nullx",
                                    "tru",
                                    "[1]garbage",
                                    "[1,]",
                                    "[,1]",
                                    "[1 2]",
                                    "[",
                                    "]",
                                    "{",
                                    "}",
                                    "{\"a\"}",
                                    "{\"a\":}",
                                    "{\"a\":1,}",
                                    "{a:1}",
                                    "{\"a\" 1}",
                                    "[1}",
                                    "{\"a\":1]",
                                    "\"",
                                    "\"\\x\"",
                                    "\"\\u12\"",
                                    "\"\\ud800\"",
                                    "\"\\ud800\\u0041\"",
                                    "\"\\udc00\"",
                                    "\"\n\"",
                                    "\"\xff\"",
                                    "\"\xed\xa0\x80\"",
                                    "'a'",
                                    "NaN",
                                    "Infinity",
                                    "-Infinity",
                                    "1 2",
                                    "[1]]",
                                    "\xef\xbb\xbf[]",
                                    "0x1",
                                    "\"a",
                                    "/**/1"};
  for (size_t i = 0; i < sizeof(good) / sizeof(*good); i++) {
    cr_assert_eq(skip_all(good[i], strlen(good[i])), 0, "%s", good[i]);
  }
  for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
    cr_assert_eq(skip_all(bad[i], strlen(bad[i])), TINKER_EJSON, "%s", bad[i]);
  }
  char deep[2 * TINKER__JSON_MAX_DEPTH + 2];
  for (int n = TINKER__JSON_MAX_DEPTH; n <= TINKER__JSON_MAX_DEPTH + 1; n++) {
    memset(deep, '[', (size_t)n);
    memset(deep + n, ']', (size_t)n);
    cr_assert_eq(skip_all(deep, 2 * (size_t)n) == 0,
                 n == TINKER__JSON_MAX_DEPTH);
  }
}

static const char sample[] =
    "{\"s\":\"a\\u0000b\\u20ac\",\"i\":-9223372036854775808,"
    "\"u\":18446744073709551615,\"d\":0.1,\"b\":true,\"n\":null,"
    "\"skip\":[{\"x\":[1,\"\\u00e9\"]},2],\"raw\": {\"k\" : [1, 2]} ,"
    "\"t\":[1,2,3,-4,2147483647,-2147483648],\"f\":[null,-2.5,1e-3]}";

static int walk(tinker__mem_t *m, void *user) {
  tinker__json_t j;
  tinker__str_t key, s = TINKER__STR(""), raw = s;
  int64_t i = 0;
  uint64_t u = 0;
  double d = 0;
  bool b = false;
  int32_t *t = NULL;
  float *f = NULL;
  size_t nt = 0, nf = 0, len = *(size_t *)user;
  tinker__json_init(&j, m, sample, len);
  tinker__json_object(&j);
  while (tinker__json_key(&j, &key)) {
    switch (key.ptr[0]) {
    case 's':
      if (key.len == 1) {
        tinker__json_string(&j, &s);
      } else {
        tinker__json_skip(&j);
      }
      break;
    case 'i': tinker__json_i64(&j, &i); break;
    case 'u': tinker__json_u64(&j, &u); break;
    case 'd': tinker__json_f64(&j, &d); break;
    case 'b': tinker__json_bool(&j, &b); break;
    case 'n': tinker__json_null(&j); break;
    case 'r': tinker__json_raw(&j, &raw); break;
    case 't': tinker__json_i32_array(&j, &t, &nt, 100); break;
    default: tinker__json_f32_array(&j, &f, &nf, 100, true);
    }
  }
  int rc = tinker__json_end(&j);
  if (!rc) {
    cr_assert(tinker__str_eq(s, TINKER__STR("a\0b\xe2\x82\xac")));
    cr_assert_eq(i, INT64_MIN);
    cr_assert_eq(u, UINT64_MAX);
    cr_assert(b && d == 0.1);
    cr_assert(tinker__str_eqs(raw, "{\"k\" : [1, 2]}"));
    cr_assert(nt == 6 && t[3] == -4 && t[4] == INT32_MAX && t[5] == INT32_MIN);
    cr_assert(nf == 3 && isnan(f[0]) && f[1] == -2.5f && f[2] == 1e-3f);
  }
  tinker__json_done(&j);
  tinker__mem_free(m, t);
  tinker__mem_free(m, f);
  return rc;
}

Test(json, walks_cuts_and_failures) {
  size_t len = sizeof(sample) - 1;
  cr_assert_eq(walk(&mem, &len), 0);
  cr_assert_gt(tinker__fail_sweep(walk, &len, TINKER_ENOMEM), 2);
  for (len = 0; len < sizeof(sample) - 1; len++) {
    cr_assert_eq(walk(&mem, &len), TINKER_EJSON, "cut at %zu", len);
  }
}

Test(json, errors_say_where_and_stick) {
  tinker__json_t j;
  int64_t v = 0;
  tinker__json_init(&j, &mem, "[1, 2.5]", 8);
  tinker__json_array(&j);
  cr_assert(tinker__json_more(&j) && tinker__json_i64(&j, &v) && v == 1);
  cr_assert(tinker__json_more(&j));
  cr_assert_not(tinker__json_i64(&j, &v));
  cr_assert_str_eq(j.reason, "expected an integer");
  cr_assert_eq(j.error_at, 4);
  cr_assert_not(tinker__json_more(&j));
  cr_assert_eq(tinker__json_end(&j), TINKER_EJSON);
  tinker__json_fail(&j, TINKER_ENOMEM, "later");
  cr_assert_eq(j.error, TINKER_EJSON);
  tinker__json_done(&j);
  tinker__json_init(&j, &mem, "[1 2]", 5);
  tinker__json_array(&j);
  cr_assert(tinker__json_more(&j) && tinker__json_i64(&j, &v));
  cr_assert_not(tinker__json_i64(&j, &v) && tinker__json_more(&j));
}

static int array_i32(const char *text, size_t max, int32_t **out, size_t *n) {
  tinker__json_t j;
  tinker__json_init(&j, &mem, text, strlen(text));
  tinker__json_i32_array(&j, out, n, max);
  int rc = tinker__json_end(&j);
  tinker__json_done(&j);
  return rc;
}

Test(json, integer_arrays) {
  static const struct {
    const char *text;
    int rc;
    size_t n;
    int32_t last;
  } rows[] = {
      {"[]", 0, 0, 0},
      {"[ ]", 0, 0, 0},
      {"[7]", 0, 1, 7},
      {"[0,0,0,0,0,0,0,0,0,0,0,0,5]", 0, 13, 5},
      {"[1 , 2,\n3,4,5,6,7,8,9,10,11,12]", 0, 12, 12},
      {"[2147483647,-2147483648,1,1,1,1]", 0, 6, 1},
      {"[2147483648,1,1,1,1,1,1,1,1,1]", TINKER_EJSON, 0, 0},
      {"[01,1,1,1,1,1,1,1,1,1,1,1,1]", TINKER_EJSON, 0, 0},
      {"[1.0,1,1,1,1,1,1,1,1,1,1,1,1]", TINKER_EJSON, 0, 0},
      {"[1,,1,1,1,1,1,1,1,1,1,1,1,1]", TINKER_EJSON, 0, 0},
      {"[--1,1,1,1,1,1,1,1,1,1,1,1,1]", TINKER_EJSON, 0, 0},
      {"[1,1,1,1,1,1,1,1,1,1,1,1,1,]", TINKER_EJSON, 0, 0},
      {"[1,1,1,1,1,1,1,1,1,1,1,1,1}", TINKER_EJSON, 0, 0},
      {"[1,null,1,1,1,1,1,1,1,1,1,1,1]", TINKER_EJSON, 0, 0},
      {"[1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1]", TINKER_EJSON, 0, 0},
      {"1", TINKER_EJSON, 0, 0}};
  for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
    int32_t *v = NULL;
    size_t n = 0;
    cr_assert_eq(array_i32(rows[i].text, 20, &v, &n), rows[i].rc, "%s",
                 rows[i].text);
    if (!rows[i].rc) {
      cr_assert(n == rows[i].n && (!n || v[n - 1] == rows[i].last), "%s",
                rows[i].text);
    }
    tinker__mem_free(&mem, v);
  }
}

Test(json, arrays_round_trip) {
  enum { N = 3000 };
  static int32_t in[N];
  static int64_t in64[N];
  static float inf[N];
  uint64_t s = 88172645463325252u;
  for (int i = 0; i < N; i++) {
    s ^= s << 13;
    s ^= s >> 7;
    s ^= s << 17;
    in[i] = (int32_t)((uint32_t)s >> (s >> 59));
    in64[i] = (int64_t)(s >> (s >> 58));
    inf[i] = i % 7 ? (float)(-(double)(s >> 40) / 100000) : NAN;
  }
  in[5] = INT32_MIN;
  in64[5] = INT64_MIN;
  tinker__buf_t b;
  tinker__jsonw_t w;
  tinker__buf_init(&b, &mem, 1 << 20);
  tinker__jsonw_init(&w, &b);
  tinker__jsonw_begin_array(&w);
  tinker__jsonw_i32_array(&w, in, N);
  tinker__jsonw_i64_array(&w, in64, N);
  tinker__jsonw_f32_array(&w, inf, N);
  tinker__jsonw_f32_array(&w, inf, 0);
  tinker__jsonw_end_array(&w);
  cr_assert_eq(tinker__buf_error(&b), 0);
  tinker__json_t j;
  int32_t *t = NULL;
  int64_t *t64 = NULL;
  float *f = NULL;
  size_t n = 0, n64 = 0, nf = 0;
  tinker__json_init(&j, &mem, b.data, b.len);
  tinker__json_array(&j);
  cr_assert(tinker__json_more(&j) && tinker__json_i32_array(&j, &t, &n, N));
  cr_assert(tinker__json_more(&j) && tinker__json_i64_array(&j, &t64, &n64, N));
  cr_assert(tinker__json_more(&j) &&
            tinker__json_f32_array(&j, &f, &nf, N, true));
  cr_assert(tinker__json_more(&j) &&
            tinker__json_f32_array(&j, &f, &nf, N, true));
  cr_assert_not(tinker__json_more(&j));
  cr_assert_eq(tinker__json_end(&j), 0, "%s at %zu", j.reason, j.error_at);
  cr_assert(n == N && n64 == N && nf == N);
  cr_assert_arr_eq(t, in, sizeof(in));
  cr_assert_arr_eq(t64, in64, sizeof(in64));
  for (int i = 0; i < N; i++) {
    cr_assert(f[i] == inf[i] || (isnan(f[i]) && isnan(inf[i])));
  }
  tinker__json_done(&j);
  tinker__mem_free(&mem, t);
  tinker__mem_free(&mem, t64);
  tinker__mem_free(&mem, f);
  tinker__buf_free(&b);
}

static int write_all(tinker__mem_t *m, void *user) {
  tinker__buf_t b;
  tinker__jsonw_t w;
  (void)user;
  tinker__buf_init(&b, m, 4096);
  tinker__jsonw_init(&w, &b);
  tinker__jsonw_begin_object(&w);
  tinker__jsonw_key(&w, "a");
  tinker__jsonw_cstr(&w, "x\"\\\n\x01\xc3\xa9");
  tinker__jsonw_key(&w, "b");
  tinker__jsonw_cstr(&w, NULL);
  tinker__jsonw_key(&w, "c");
  tinker__jsonw_begin_array(&w);
  tinker__jsonw_i64(&w, INT64_MIN);
  tinker__jsonw_u64(&w, UINT64_MAX);
  tinker__jsonw_f64(&w, 1e-12);
  tinker__jsonw_f64(&w, HUGE_VAL);
  tinker__jsonw_f32(&w, 0.1f);
  tinker__jsonw_bool(&w, true);
  tinker__jsonw_begin_object(&w);
  tinker__jsonw_end_object(&w);
  tinker__jsonw_raw(&w, TINKER__STR("[1]"));
  tinker__jsonw_end_array(&w);
  tinker__jsonw_end_object(&w);
  int rc = tinker__buf_error(&b);
  if (!rc) {
    cr_assert(tinker__str_eqs(
        tinker__buf_str(&b),
        "{\"a\":\"x\\\"\\\\\\n\\u0001\xc3\xa9\",\"b\":null,\"c\":["
        "-9223372036854775808,18446744073709551615,1e-12,null,0.1,true,{},"
        "[1]]}"));
  }
  tinker__buf_free(&b);
  return rc;
}

Test(json, writes) {
  cr_assert_eq(write_all(&mem, NULL), 0);
  cr_assert_gt(tinker__fail_sweep(write_all, NULL, TINKER_ENOMEM), 0);
  tinker__buf_t b;
  tinker__jsonw_t w;
  tinker__buf_init(&b, &mem, 100);
  tinker__jsonw_init(&w, &b);
  tinker__jsonw_cstr(&w, "\xff");
  cr_assert_eq(tinker__buf_error(&b), TINKER_EINVAL);
  int32_t many[100] = {0};
  tinker__buf_clear(&b);
  tinker__jsonw_i32_array(&w, many, 100);
  cr_assert_eq(tinker__buf_error(&b), TINKER_EOVERFLOW);
  tinker__buf_free(&b);
}

/* A key with an escape makes the reader allocate. */
static int read_table(tinker__mem_t *m, void *user) {
  static const char *const keys[] = {"a", "b"};
  tinker__str_t raw[2];
  char why[80];
  (void)user;
  return tinker__json_table(m, TINKER__STR("{\"\\u0061\":[1],\"b\":null}"), "f",
                            keys, raw, 2, true, why, sizeof why);
}

Test(json, table) {
  static const char *const keys[] = {"a", "b"};
  static const struct {
    const char *text;
    bool strict;
    int rc;
    const char *why;
  } rows[] = {
      {"{\"a\":1,\"c\":[ ],\"d\":null,\"e\":\"\"}", true, 0, ""},
      {"{\"a\":1,\"c\":[0]}", false, 0, ""},
      {"{\"a\":1,\"c\":[0]}", true, TINKER_ENOTSUP,
       "f: c is [0], which is not supported"},
      {"{\"a\":1,\"a\":2}", false, TINKER_EFORMAT, "f: a is there twice"},
      {"{\"a\":1", false, TINKER_EFORMAT, "f is cut"},
      {"[]", false, TINKER_EFORMAT, "f: "},
  };
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
    tinker__str_t raw[2];
    char why[80] = "";
    int rc = tinker__json_table(&mem, tinker__str(rows[i].text), "f", keys, raw,
                                2, rows[i].strict, why, sizeof why);
    cr_assert_eq(rc, rows[i].rc, "%s: %s", rows[i].text, why);
    cr_assert_eq(strncmp(why, rows[i].why, strlen(rows[i].why)), 0, "%s", why);
    cr_assert(rc || (tinker__str_eqs(raw[0], "1") && raw[1].len == 0));
  }
  cr_assert_gt(tinker__fail_sweep(read_table, NULL, TINKER_ENOMEM), 0);
}

/* What follows a refused value may be malformed in any way: leaving it ends. */
Test(json, leaving_a_malformed_value, .timeout = 20) {
  static const struct {
    const char *text;
    bool ok;
  } cases[] = {
      {"{\"a\":[[\"x\",2]],\"b\":1}", true},
      {"{\"a\":[[\"x\"]],\"b\":1}", true},
      {"{\"a\":[[\"x\",,2]],\"b\":1}", false},
      {"{\"a\":[[\"x\",2],,3],\"b\":1}", false},
      {"{\"a\":[[\"x\",{\"c\":1,,}]],\"b\":1}", false},
      {"{\"a\":[[\"x\",2}],\"b\":1}", false},
      {"{\"a\":[[\"x\" 2]],\"b\":1}", false},
      {"{\"a\":[[\"x\",", false},
      {"{\"a\":[[\"x\"", false},
      {"{\"a\":[{\"c\":\"x\",\"d\":2}],\"b\":1}", true},
      {"{\"a\":[{\"c\":\"x\",,\"d\":2}],\"b\":1}", false},
      {"{\"a\":[{\"c\":\"x\",2}],\"b\":1}", false},
      {"{\"a\":[{\"c\":\"x\"]],\"b\":1}", false},
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    tinker__json_t j;
    tinker__str_t key;
    int64_t v;
    tinker__json_init(&j, &mem, cases[i].text, strlen(cases[i].text));
    cr_assert(tinker__json_object(&j) && tinker__json_key(&j, &key));
    int depth = j.depth;
    cr_assert(tinker__json_array(&j) && tinker__json_more(&j));
    if (tinker__json_peek(&j) == TINKER__JSON_OBJECT) {
      cr_assert(tinker__json_object(&j) && tinker__json_key(&j, &key));
    } else {
      cr_assert(tinker__json_array(&j) && tinker__json_more(&j));
    }
    cr_assert_not(tinker__json_i64(&j, &v));
    cr_expect_eq(tinker__json_leave(&j, depth), cases[i].ok, "%s",
                 cases[i].text);
    if (cases[i].ok) cr_expect(tinker__json_key(&j, &key));
    tinker__json_done(&j);
  }
}

/* A number in a key's place is no value that could be left. */
Test(json, leaving_what_is_no_key) {
  static const char text[] = "{\"a\":{\"b\":0,9,\"c\":1},\"d\":2}";
  tinker__json_t j;
  tinker__str_t key;
  int64_t v;
  tinker__json_init(&j, &mem, text, sizeof text - 1);
  cr_assert(tinker__json_object(&j) && tinker__json_key(&j, &key));
  int depth = j.depth;
  cr_assert(tinker__json_object(&j) && tinker__json_key(&j, &key));
  cr_assert(tinker__json_i64(&j, &v));
  cr_assert_not(tinker__json_key(&j, &key));
  cr_assert_not(tinker__json_leave(&j, depth));
  tinker__json_done(&j);
}
