/* Floats as text: who reads one must see that it is one, and get it back.
 * Strings: what must be escaped is, nothing else. */
#include <criterion/criterion.h>
#include <float.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/json_read.h"
#include "base/json_write.h"

static tinker__mem_t mem;
static tinker__buf_t out;

static void setup(void) {
  tinker__mem_init(&mem, NULL, 0);
  tinker__buf_init(&out, &mem, 1 << 20);
}

static void teardown(void) {
  tinker__buf_free(&out);
  cr_assert_eq(atomic_load(&mem.live_blocks), 0);
}

TestSuite(json_write, .init = setup, .fini = teardown);

static const char *text_of(double value, bool single) {
  tinker__jsonw_t w;
  tinker__buf_clear(&out);
  tinker__jsonw_init(&w, &out);
  if (single) {
    tinker__jsonw_f32(&w, (float)value);
  } else {
    tinker__jsonw_f64(&w, value);
  }
  return tinker__buf_cstr(&out);
}

Test(json_write, a_float_is_no_integer) {
  static const struct {
    double value;
    const char *text;
  } rows[] = {{0, "0.0"},
              {-0.0, "-0.0"},
              {1, "1.0"},
              {-100, "-100.0"},
              {0.5, "0.5"},
              {1e-12, "1e-12"},
              {16777216, "16777216.0"},
              {1e15, "1000000000000000.0"}, /* the longest without exponent */
              {1e16, "1e16"},
              {-1e22, "-1e22"},
              {HUGE_VAL, "null"},
              {-HUGE_VAL, "null"},
              {NAN, "null"}};
  for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
    cr_assert_str_eq(text_of(rows[i].value, false), rows[i].text);
  }
  cr_assert_str_eq(text_of(0, true), "0.0");
  cr_assert_str_eq(text_of(-3, true), "-3.0");
  cr_assert_str_eq(text_of(0.1f, true), "0.1");
  cr_assert_str_eq(text_of(NAN, true), "null");
}

Test(json_write, an_array_of_floats_too) {
  static const float values[] = {0, 1, -2.5f, 1e20f, FLT_MAX, 8388608, NAN};
  tinker__jsonw_t w;
  tinker__jsonw_init(&w, &out);
  tinker__jsonw_f32_array(&w, values, 7);
  cr_assert_str_eq(tinker__buf_cstr(&out),
                   "[0.0,1.0,-2.5,1e20,3.4028235e38,8388608.0,null]");
}

/* Whole numbers of every size, in blocks that are filled to the brim. */
Test(json_write, whole_floats_read_back) {
  enum { N = 2000 };
  static float values[N];
  float *back = NULL;
  size_t n = 0;
  tinker__jsonw_t w;
  tinker__json_t j;
  for (int i = 0; i < N; i++) {
    values[i] = (i % 2 ? -1.0f : 1.0f) * floorf(ldexpf(1.7f, i % 120));
  }
  tinker__jsonw_init(&w, &out);
  tinker__jsonw_f32_array(&w, values, N);
  cr_assert_eq(tinker__buf_error(&out), 0);
  tinker__json_init(&j, &mem, out.data, out.len);
  cr_assert(tinker__json_f32_array(&j, &back, &n, N, false), "%s", j.reason);
  cr_assert_eq(n, (size_t)N);
  cr_assert_arr_eq(back, values, sizeof(values));
  tinker__json_done(&j);
  tinker__mem_free(&mem, back);
}

/* Eight bytes are looked at together: what must be escaped is seen at every
 * place, and what need not be is not escaped. */
Test(json_write, escapes_wherever_they_stand) {
  static const char *const special[][2] = {
      {"\"", "\\\""},      {"\\", "\\\\"}, {"\x1f", "\\u001f"},
      {"\x7f", "\\u007f"}, {"\n", "\\n"},  {" ", " "},
      {"~", "~"},          {"!", "!"},     {"#", "#"},
      {"[", "["},          {"]", "]"},     {"\xc3\xa9", "\xc3\xa9"},
  };
  char given[32], want[40];
  tinker__jsonw_t w;
  tinker__jsonw_init(&w, &out);
  for (size_t k = 0; k < sizeof special / sizeof *special; k++) {
    for (int before = 0; before < 10; before++) {
      for (int after = 0; after < 10; after++) {
        snprintf(given, sizeof given, "%.*s%s%.*s", before, "abcdefghij",
                 special[k][0], after, "klmnopqrst");
        snprintf(want, sizeof want, "\"%.*s%s%.*s\"", before, "abcdefghij",
                 special[k][1], after, "klmnopqrst");
        tinker__jsonw_str(&w, tinker__str(given));
        cr_assert(tinker__str_eqs(tinker__buf_str(&out), want), "%s", want);
        tinker__buf_clear(&out);
        tinker__jsonw_init(&w, &out);
      }
    }
  }
}
