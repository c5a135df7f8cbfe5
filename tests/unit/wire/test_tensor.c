/* A tensor has exactly the values that its shape announces: one too few is
 * missing data, one too many would be dropped in silence. */
#include "wire_test.h"

#include "wire/fb_request.h"
#include "wire/tensor.h"

TestSuite(tensor, .init = wire_setup, .fini = wire_teardown);

static const float floats[8] = {1, 2, 3, 4, 5, 6, 7, 8};
static const int64_t ints[8] = {1, 2, 3, 4, 5, 6, 7, 8};

static tinker__where_t here(void) {
  why[0] = '\0';
  return (tinker__where_t){"data",           3,   "loss_fn_inputs",
                           TINKER__STR("w"), why, sizeof(why)};
}

/* A dense message of `bytes` bytes for a shape of rows x cols. */
static int from_proto(int dtype, size_t bytes, int64_t rows, int64_t cols,
                      tinker__tensor_view_t *out) {
  TinkerPublic__Tensor t;
  int64_t shape[2] = {rows, cols};
  bool wide = dtype == TINKER_PUBLIC__DTYPE__DTYPE_INT64;
  tinker__where_t at = here();
  tinker_public__tensor__init(&t);
  t.has_dtype = 1;
  t.dtype = (TinkerPublic__DType)dtype;
  t.n_shape = cols ? 2 : 1;
  t.shape = shape;
  t.encoding_case = TINKER_PUBLIC__TENSOR__ENCODING_DENSE;
  t.dense = tinker__proto_bytes(wide ? (const void *)ints : floats, bytes);
  return tinker__tensor_from_proto(out, &arena, &t, 0, &at);
}

Test(tensor, as_many_values_as_the_shape_has) {
  static const struct {
    int dtype;
    size_t size;
  } kinds[] = {{TINKER_PUBLIC__DTYPE__DTYPE_FLOAT32, 4},
               {TINKER_PUBLIC__DTYPE__DTYPE_INT64, 8},
               {TINKER_PUBLIC__DTYPE__DTYPE_INT32, 4}};
  tinker__tensor_view_t t;
  for (size_t i = 0; i < 3; i++) {
    size_t size = kinds[i].size;
    for (size_t n = 0; n <= 4 * size + 3; n++) {
      int rc = from_proto(kinds[i].dtype, n, 3, 0, &t);
      cr_assert_eq(rc, n == 3 * size ? 0 : TINKER_EPROTO, "%zu bytes: %d", n,
                   rc);
      if (rc) cr_assert_not_null(strstr(why, "data[3].loss_fn_inputs.w"));
    }
    cr_assert_eq(from_proto(kinds[i].dtype, 4 * size, 2, 2, &t), 0);
    cr_assert(t.count == 4 && t.ndim == 2);
    cr_assert_eq(from_proto(kinds[i].dtype, 6 * size, 2, 2, &t), TINKER_EPROTO);
    cr_assert_str_eq(why,
                     "data[3].loss_fn_inputs.w: 6 values for a shape of 4");
    cr_assert_eq(from_proto(kinds[i].dtype, size, 0, 2, &t), TINKER_EPROTO);
  }
}

static int from_json(const char *text) {
  tinker__json_t j;
  tinker__tensor_view_t t;
  tinker__where_t at = here();
  tinker__json_init(&j, &mem, text, strlen(text));
  int rc = tinker__tensor_from_json(&t, &arena, &j, 0, &at);
  tinker__json_done(&j);
  return rc;
}

Test(tensor, in_json_too) {
  cr_assert_eq(
      from_json("{\"data\":[1,2,3],\"dtype\":\"float32\",\"shape\":[3]}"), 0,
      "%s", why);
  static const char *const bad[] = {
      "{\"data\":[1,2,3,4],\"dtype\":\"float32\",\"shape\":[3]}",
      "{\"data\":[1,2],\"dtype\":\"float32\",\"shape\":[3]}",
      "{\"data\":[1,2,3,4,5],\"dtype\":\"int64\",\"shape\":[2,2]}",
      "{\"data\":[1],\"dtype\":\"int64\",\"shape\":[0]}"};
  for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
    cr_assert_eq(from_json(bad[i]), TINKER_EINVAL, "%s", bad[i]);
    cr_assert_not_null(strstr(why, "values for a shape of"), "%s", why);
  }
}

/* A sparse one has one column for each value, no more. */
Test(tensor, surplus_of_a_sparse_one) {
  static const int64_t shape[2] = {2, 4}, crow[3] = {0, 1, 2},
                       col[3] = {1, 3, 3};
  tinker__raw_tensor_t raw = {
      .dtype = TINKER__DTYPE_F32,
      .shape = shape,
      .shape_len = 2,
      .data = floats,
      .count = 2,
      .sparse = true,
      .crow = crow,
      .crow_len = 3,
      .col = col,
      .col_len = 2,
  };
  tinker__tensor_view_t t;
  tinker__where_t at = here();
  cr_assert_eq(tinker__tensor_finish(&t, &arena, &raw, 0, TINKER_EPROTO, &at),
               0, "%s", why);
  const float *dense = t.data;
  cr_assert(dense[1] == 1 && dense[7] == 2 && dense[0] == 0);
  raw.count = raw.col_len = 3; /* a value behind the last row */
  cr_assert_eq(tinker__tensor_finish(&t, &arena, &raw, 0, TINKER_EPROTO, &at),
               TINKER_EPROTO);
  cr_assert_eq(tinker__tensor_keep(&t, &raw, TINKER_EPROTO, &at),
               TINKER_EPROTO);
  raw.count = 2; /* a column without value */
  cr_assert_eq(tinker__tensor_finish(&t, &arena, &raw, 0, TINKER_EPROTO, &at),
               TINKER_EPROTO);
}

/* What the client itself would send is held to the same. */
Test(tensor, before_it_is_sent) {
  tinker__tensor_view_t t = {
      TINKER__DTYPE_F32, 2, {2, 2}, floats, 4, NULL, NULL, NULL};
  tinker__where_t at = here();
  cr_assert_eq(tinker__tensor_check(&t, &at), 0);
  for (t.count = 0; t.count < 9; t.count++) {
    cr_assert_eq(tinker__tensor_check(&t, &at),
                 t.count == 4 ? 0 : TINKER_EINVAL);
  }
}
