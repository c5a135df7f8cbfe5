/* Results of forward_backward: golden bytes, encodings, combining. */
#include "wire_test.h"

#include <math.h>

#include "wire/fb_output.h"

TestSuite(fb_output, .init = wire_setup, .fini = wire_teardown);

#define GOLDEN                                                                 \
  "0a1643726f7373456e74726f70794c6f737352657475726e123a12360a086c6f677072"     \
  "6f6273122a0a0c000080bf000000c0000040c0121800000000000000000800000000000"    \
  "0000c00000000000000180118021a130a086c6f73733a73756d11000000000000184"       \
  "0"

static const float lp0[] = {-1, -2}, lp1[] = {-3};
static const tinker__named_tensor_t f0[] = {
    {{"logprobs", 8}, {TINKER__DTYPE_F32, 1, {2}, lp0, 2, NULL, NULL, NULL}}};
static const tinker__named_tensor_t f1[] = {
    {{"logprobs", 8}, {TINKER__DTYPE_F32, 1, {1}, lp1, 1, NULL, NULL, NULL}}};
static const tinker__output_datum_t outputs[] = {{f0, 1}, {f1, 1}};
static const tinker__number_t metric[] = {{"loss:sum", 6}};
static const tinker__fb_output_t output = {
    {"CrossEntropyLossReturn", 22}, outputs, 2, metric, 1};

static int decode(tinker__fb_output_t *out, const bytes_t *b) {
  return tinker__fb_output_decode(out, &arena, bytes_str(b), why, sizeof(why));
}

static void check(const tinker__fb_output_t *o) {
  cr_assert(tinker__str_eqs(o->type, "CrossEntropyLossReturn"));
  cr_assert_eq(o->datum_count, 2);
  const tinker__tensor_view_t *t = &o->datums[0].fields[0].tensor;
  cr_assert(tinker__str_eqs(o->datums[0].fields[0].name, "logprobs"));
  cr_assert(t->count == 2 && t->ndim == 1 && t->shape[0] == 2);
  cr_assert_arr_eq(t->data, lp0, sizeof(lp0));
  cr_assert_arr_eq(o->datums[1].fields[0].tensor.data, lp1, sizeof(lp1));
  cr_assert_eq(o->metric_count, 1);
  cr_assert_str_eq(o->metrics[0].name, "loss:sum");
  cr_assert_eq(o->metrics[0].value, 6);
}

Test(fb_output, golden_bytes_both_ways) {
  bytes_t want = unhex(GOLDEN);
  tinker__buf_t b;
  tinker__fb_output_t o;
  tinker__buf_init(&b, &mem, 4096);
  cr_assert_eq(tinker__fb_output_encode(&b, &mem, &output), 0);
  cr_assert(tinker__str_eq(tinker__buf_str(&b), bytes_str(&want)));
  cr_assert_eq(decode(&o, &want), 0, "%s", why);
  check(&o);
  tinker__buf_clear(&b);
  cr_assert_eq(tinker__fb_output_encode_json(&b, &output), 0);
  cr_assert(tinker__str_eqs(
      tinker__buf_str(&b),
      "{\"loss_fn_output_type\":\"CrossEntropyLossReturn\","
      "\"loss_fn_outputs\":[{\"logprobs\":{\"data\":[-1.0,-2.0],\"dtype\":"
      "\"float32\",\"shape\":[2]}},{\"logprobs\":{\"data\":[-3.0],\"dtype\":"
      "\"float32\",\"shape\":[1]}}],\"metrics\":{\"loss:sum\":6.0}}"));
  cr_assert_eq(tinker__fb_output_decode_json(&o, &arena, tinker__buf_str(&b),
                                             why, sizeof(why)),
               0, "%s", why);
  check(&o);
  for (size_t len = 0; len < b.len; len++) {
    cr_assert_neq(tinker__fb_output_decode_json(&o, &arena,
                                                (tinker__str_t){b.data, len},
                                                why, sizeof(why)),
                  0);
  }
  for (size_t len = 0; len < want.len; len++) {
    char *copy = malloc(len + 1);
    memcpy(copy, want.data, len);
    tinker__fb_output_decode(&o, &arena, (tinker__str_t){copy, len}, why,
                             sizeof(why));
    free(copy);
  }
  tinker__buf_free(&b);
}

/* The result is in the block that was given, which goes with the arena, or when
 * it can't be read. */
Test(fb_output, takes_the_block_of_the_body) {
  bytes_t want = unhex(GOLDEN);
  tinker__fb_output_t o;
  char *body = tinker__mem_dup(&mem, want.data, want.len);
  cr_assert_eq(
      tinker__fb_output_take(&o, &arena, body, want.len, why, sizeof(why)), 0,
      "%s", why);
  check(&o);
  for (size_t i = 0; i < 2; i++) {
    const char *data = o.datums[i].fields[0].tensor.data;
    cr_assert(data > body && data < body + want.len);
    cr_assert_eq((uintptr_t)data % sizeof(float), 0);
  }
  body = tinker__mem_dup(&mem, want.data, want.len - 1);
  cr_assert_eq(
      tinker__fb_output_take(&o, &arena, body, want.len - 1, why, sizeof(why)),
      TINKER_EPROTO);
  cr_assert_eq(tinker__fb_output_take(&o, &arena, NULL, 0, why, sizeof(why)),
               0);
  cr_assert_eq(o.datum_count, 0);
}

/* Outputs of two dimensions with other widths make records of their own. */
Test(fb_output, ragged_outputs) {
  static const float a[6] = {1, 2, 3, 4, 5, 6};
  tinker__named_tensor_t t[3];
  for (int i = 0; i < 3; i++) {
    t[i] = (tinker__named_tensor_t){TINKER__STR("logprobs"),
                                    {TINKER__DTYPE_F32,
                                     2,
                                     {i == 2 ? 2 : 3, i == 2 ? 3 : 2},
                                     a,
                                     6,
                                     0,
                                     0,
                                     0}};
  }
  tinker__output_datum_t d[] = {{&t[0], 1}, {&t[1], 1}, {&t[2], 1}};
  tinker__fb_output_t in = {TINKER__STR("T"), d, 3, NULL, 0}, o;
  tinker__buf_t b;
  tinker__buf_init(&b, &mem, 4096);
  cr_assert_eq(tinker__fb_output_encode(&b, &mem, &in), 0);
  cr_assert_eq(tinker__fb_output_decode(&o, &arena, tinker__buf_str(&b), why,
                                        sizeof(why)),
               0, "%s", why);
  cr_assert_eq(o.datum_count, 3);
  for (int i = 0; i < 3; i++) {
    const tinker__tensor_view_t *x = &o.datums[i].fields[0].tensor;
    cr_assert(x->ndim == 2 && x->shape[0] == t[i].tensor.shape[0] &&
              x->shape[1] == t[i].tensor.shape[1]);
    cr_assert_arr_eq(x->data, a, sizeof(a));
  }
  t[1].name = TINKER__STR("other");
  tinker__buf_clear(&b);
  cr_assert_eq(tinker__fb_output_encode(&b, &mem, &in), TINKER_EINVAL);
  tinker__buf_free(&b);
}

/* One record with the field "l", whose tensor and whose tail are given. */
static bytes_t record(const char *tensor, const char *tail) {
  char hex[512];
  size_t n = strlen(tensor) / 2, t = strlen(tail) / 2;
  snprintf(hex, sizeof(hex), "12%02zx12%02zx0a016c12%02zx%s%s", n + t + 7,
           n + 5, n, tensor, tail);
  return unhex(hex);
}

#define OFFSETS(a, b) "1210" a "00000000000000" b "00000000000000"

Test(fb_output, narrow_types_and_stripped_fields) {
  tinker__fb_output_t o;
  /* bf16 1.0, -2.0 */
  bytes_t b = record("0a04803f00c0" OFFSETS("00", "04") "1804", "1801");
  cr_assert_eq(decode(&o, &b), 0, "%s", why);
  const float *f = o.datums[0].fields[0].tensor.data;
  cr_assert(f[0] == 1.0f && f[1] == -2.0f);
  /* int32 -1, without num_datums: the slices count. */
  b = record("0a04ffffffff" OFFSETS("00", "04") "1803", "");
  cr_assert_eq(decode(&o, &b), 0, "%s", why);
  cr_assert(o.datum_count == 1 &&
            *(const int64_t *)o.datums[0].fields[0].tensor.data == -1);
  /* No fields, two datums; what precedes the colon does not count. */
  b = unhex("0a03613a6212021802");
  cr_assert_eq(decode(&o, &b), 0, "%s", why);
  cr_assert(o.datum_count == 2 && o.datums[1].field_count == 0);
  cr_assert(tinker__str_eqs(o.type, "b"));
  b = unhex("");
  cr_assert_eq(decode(&o, &b), 0);
  cr_assert(tinker__str_eqs(o.type, "ArrayRecord") && o.datum_count == 0);
}

Test(fb_output, faults_are_named) {
  static const struct {
    const char *tensor, *tail, *text;
  } bad[] = {
      {"0a04ffffffff" OFFSETS("00", "08") "1803", "1801", "outside the data"},
      {"0a04ffffffff" OFFSETS("04", "00") "1803", "1801", "not increasing"},
      {"0a04ffffffff" OFFSETS("00", "02") "1803", "1801", "outside the data"},
      {"0a04ffffffff" OFFSETS("00", "04") "1803", "1802", "number of slices"},
      {"0a04ffffffff" OFFSETS("00", "04") "1800", "1801", "unknown dtype"},
      {"0a03ffffff" OFFSETS("00", "03") "1803", "1801", "inside an element"},
      {"0a04ffffffff" OFFSETS("00", "04") "1803220102", "1801", "whole number"},
      {"0a04ffffffff" OFFSETS("00", "04") "1803220401010101", "1801",
       "too many dimensions"},
      {"0a04ffffffff" OFFSETS("00", "04") "1803", "18ffffffffffffffffff01",
       "num_datums"},
      {"0a04ffffffff1803", "1880808008", "num_datums"},
      {"1201001803", "1801", "offsets are no int64"}};
  tinker__fb_output_t o;
  for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
    bytes_t b = record(bad[i].tensor, bad[i].tail);
    cr_assert_eq(decode(&o, &b), TINKER_EPROTO, "row %zu", i);
    cr_assert_not_null(strstr(why, bad[i].text), "row %zu: %s", i, why);
  }
  bytes_t b = unhex("120712030a016c1801");
  cr_assert_eq(decode(&o, &b), TINKER_EPROTO);
  cr_assert_not_null(strstr(why, "no value"), "%s", why);
}

static double value_of(const tinker__fb_output_t *o, const char *name) {
  for (size_t i = 0; i < o->metric_count; i++) {
    if (strcmp(o->metrics[i].name, name) == 0) return o->metrics[i].value;
  }
  return (double)NAN;
}

Test(fb_output, combine_reduces_by_suffix) {
  static const tinker__output_datum_t none[4];
  tinker__number_t m1[] = {{"a:mean", 1},   {"a:sum", 1},   {"a:min", 1},
                           {"a:max", 1},    {"a:slack", 1}, {"h:hash2", 1e19},
                           {"c:unique", 7}, {"x:last", 1},  {"gone:sum", 1}};
  tinker__number_t m2[] = {{"a:mean", 5},   {"a:sum", 5},   {"a:min", 5},
                           {"a:max", 5},    {"a:slack", 5}, {"h:hash2", 1e19},
                           {"c:unique", 8}, {"x:last", 2},  {"late:sum", 1}};
  tinker__fb_output_t parts[] = {{TINKER__STR("T"), none, 3, m1, 9},
                                 {TINKER__STR("U"), none, 1, m2, 9}},
                      o;
  cr_assert_eq(
      tinker__fb_output_combine(&o, &arena, parts, 2, why, sizeof(why)), 0,
      "%s", why);
  cr_assert(tinker__str_eqs(o.type, "T") && o.datum_count == 4);
  cr_assert_eq(value_of(&o, "a:mean"), 2);
  cr_assert_eq(value_of(&o, "a:sum"), 6);
  cr_assert_eq(value_of(&o, "a:min"), 1);
  cr_assert_eq(value_of(&o, "a:max"), 5);
  cr_assert_eq(value_of(&o, "a:slack"), 3);
  cr_assert_eq(value_of(&o, "h:hash2"), 2e19 - 18446744073709551616.0);
  cr_assert_eq(value_of(&o, "c:unique"), 7);
  cr_assert_eq(value_of(&o, "c:unique_1"), 8);
  cr_assert_eq(o.metric_count, 8, "others are dropped");
  cr_assert_eq(tinker__fb_output_combine(&o, &arena, parts, 1, NULL, 0), 0);
  cr_assert_eq(value_of(&o, "gone:sum"), 1);
  parts[0].datum_count = parts[1].datum_count = 0;
  cr_assert_eq(
      tinker__fb_output_combine(&o, &arena, parts, 2, why, sizeof(why)),
      TINKER_EPROTO, "a mean over nothing");
  m1[0].name = "loss";
  cr_assert_eq(
      tinker__fb_output_combine(&o, &arena, parts, 1, why, sizeof(why)),
      TINKER_EPROTO);
  cr_assert_not_null(strstr(why, "\"loss\""));
  m1[0].name = "a:b:sum";
  cr_assert_eq(
      tinker__fb_output_combine(&o, &arena, parts, 1, why, sizeof(why)),
      TINKER_EPROTO);
}

static int all(tinker__mem_t *m, void *user) {
  tinker__buf_t b, j;
  tinker__arena_t a;
  tinker__fb_output_t o[2];
  (void)user;
  tinker__arena_init(&a, m);
  tinker__buf_init(&b, m, 4096);
  tinker__buf_init(&j, m, 4096);
  int rc = tinker__fb_output_encode(&b, m, &output);
  if (!rc) rc = tinker__fb_output_encode_json(&j, &output);
  if (!rc) {
    rc = tinker__fb_output_decode(&o[0], &a, tinker__buf_str(&b), NULL, 0);
  }
  if (!rc) {
    size_t len = b.len;
    char *body = tinker__buf_take(&b, NULL);
    rc = tinker__fb_output_take(&o[1], &a, body, len, NULL, 0);
  }
  if (!rc) {
    rc = tinker__fb_output_decode_json(&o[1], &a, tinker__buf_str(&j), NULL, 0);
  }
  if (!rc) rc = tinker__fb_output_combine(&o[0], &a, o, 1, NULL, 0);
  tinker__buf_free(&b);
  tinker__buf_free(&j);
  tinker__arena_free(&a);
  return rc;
}

Test(fb_output, allocation_failures) {
  cr_assert_gt(tinker__fail_sweep(all, NULL, TINKER_ENOMEM), 5);
}
