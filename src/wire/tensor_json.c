/* tensor_json: TensorData, the JSON form of a tensor (tensor.h). */
#include <string.h>
#include <tinker/error.h>

#include "wire/tensor.h"

#define MAX_VALUES (TINKER__MAX_TENSOR_BYTES / 4)

/* An array of integers of its own, copied into the arena; absent when null. */
static int take_i64(tinker__arena_t *arena, tinker__json_t *j,
                    const int64_t **out, size_t *n, const tinker__where_t *at) {
  int64_t *v = NULL;
  size_t len = 0;
  int rc = 0;
  if (tinker__json_i64_array(j, &v, &len, MAX_VALUES)) {
    int64_t *copy = tinker__arena_alloc(arena, len * sizeof(*v));
    if (!copy) {
      rc = tinker__where(at, tinker__arena_error(arena), "%s",
                         tinker__arena_trouble(arena));
    } else if (len) {
      memcpy(copy, v, len * sizeof(*v));
    }
    *out = copy;
    *n = len;
  } else {
    rc = tinker__where(at, j->error, "%s", j->reason);
  }
  tinker__mem_free(j->mem, v);
  return rc;
}

static int take_f32(tinker__arena_t *arena, tinker__json_t *j, const void **out,
                    size_t *n, const tinker__where_t *at) {
  float *v = NULL;
  size_t len = 0;
  int rc = 0;
  if (tinker__json_f32_array(j, &v, &len, MAX_VALUES, true)) {
    float *copy = tinker__arena_alloc(arena, len * sizeof(*v));
    if (!copy) {
      rc = tinker__where(at, tinker__arena_error(arena), "%s",
                         tinker__arena_trouble(arena));
    } else if (len) {
      memcpy(copy, v, len * sizeof(*v));
    }
    *out = copy;
    *n = len;
  } else {
    rc = tinker__where(at, j->error, "%s", j->reason);
  }
  tinker__mem_free(j->mem, v);
  return rc;
}

static int take_dtype(tinker__json_t *j, tinker__dtype_t *out,
                      const tinker__where_t *at) {
  tinker__str_t s;
  if (!tinker__json_string(j, &s)) {
    return tinker__where(at, j->error, "dtype: %s", j->reason);
  }
  if (tinker__str_eqs(s, "float32")) {
    *out = TINKER__DTYPE_F32;
  } else if (tinker__str_eqs(s, "int64")) {
    *out = TINKER__DTYPE_I64;
  } else {
    return tinker__where(at, TINKER_EINVAL, "dtype is not float32 or int64");
  }
  return 0;
}

/* One field; data is only remembered, since its type may come later. */
static int take_field(tinker__raw_tensor_t *raw, tinker__str_t *data,
                      tinker__str_t key, tinker__arena_t *arena,
                      tinker__json_t *j, const tinker__where_t *at) {
  if (tinker__json_peek(j) == TINKER__JSON_NULL) {
    tinker__json_null(j);
    return 0;
  }
  if (tinker__str_eqs(key, "data")) {
    tinker__json_raw(j, data);
    return 0;
  }
  if (tinker__str_eqs(key, "dtype")) return take_dtype(j, &raw->dtype, at);
  if (tinker__str_eqs(key, "shape")) {
    return take_i64(arena, j, &raw->shape, &raw->shape_len, at);
  }
  if (tinker__str_eqs(key, "sparse_crow_indices")) {
    raw->sparse = true;
    return take_i64(arena, j, &raw->crow, &raw->crow_len, at);
  }
  if (tinker__str_eqs(key, "sparse_col_indices")) {
    raw->sparse = true;
    return take_i64(arena, j, &raw->col, &raw->col_len, at);
  }
  tinker__json_skip(j);
  return 0;
}

/* Refuses a field that is there a second time. */
static int note(tinker__str_t key, bool seen[5], const tinker__where_t *at) {
  static const char *const names[5] = {
      "data", "dtype", "shape", "sparse_crow_indices", "sparse_col_indices"};
  for (size_t i = 0; i < 5; i++) {
    if (!tinker__str_eqs(key, names[i])) continue;
    if (seen[i]) {
      return tinker__where(at, TINKER_EINVAL, "%s given twice", names[i]);
    }
    seen[i] = true;
  }
  return 0;
}

static int take_data(tinker__raw_tensor_t *raw, tinker__str_t data,
                     tinker__arena_t *arena, tinker__mem_t *mem,
                     const tinker__where_t *at) {
  tinker__json_t j;
  int rc;
  if (!data.len) return tinker__where(at, TINKER_EINVAL, "data is missing");
  if (!raw->dtype) return tinker__where(at, TINKER_EINVAL, "dtype is missing");
  tinker__json_init(&j, mem, data.ptr, data.len);
  if (raw->dtype == TINKER__DTYPE_F32) {
    rc = take_f32(arena, &j, &raw->data, &raw->count, at);
  } else {
    const int64_t *v = NULL;
    rc = take_i64(arena, &j, &v, &raw->count, at);
    raw->data = v;
  }
  tinker__json_done(&j);
  return rc;
}

static int read_raw(tinker__raw_tensor_t *raw, tinker__arena_t *arena,
                    tinker__json_t *j, const tinker__where_t *at) {
  tinker__str_t key, data = TINKER__STR("");
  bool seen[5] = {false};
  int rc = 0;
  tinker__json_object(j);
  while (!rc && tinker__json_key(j, &key)) {
    rc = note(key, seen, at);
    if (!rc) rc = take_field(raw, &data, key, arena, j, at);
  }
  if (!rc && j->error) rc = tinker__where(at, j->error, "%s", j->reason);
  if (!rc) rc = take_data(raw, data, arena, j->mem, at);
  if (!rc && raw->sparse && (!raw->crow || !raw->col)) {
    rc = tinker__where(
        at, TINKER_EINVAL,
        "both sparse_crow_indices and sparse_col_indices or neither");
  }
  return rc;
}

int tinker__tensor_from_json(tinker__tensor_view_t *out, tinker__arena_t *arena,
                             tinker__json_t *j, int fill,
                             const tinker__where_t *at) {
  tinker__raw_tensor_t raw = {0};
  int rc = read_raw(&raw, arena, j, at);
  if (rc) return rc;
  return tinker__tensor_finish(out, arena, &raw, fill, TINKER_EINVAL, at);
}

int tinker__tensor_keep_json(tinker__tensor_view_t *out, tinker__arena_t *arena,
                             tinker__json_t *j, const tinker__where_t *at) {
  tinker__raw_tensor_t raw = {0};
  int rc = read_raw(&raw, arena, j, at);
  return rc ? rc : tinker__tensor_keep(out, &raw, TINKER_EINVAL, at);
}

void tinker__tensor_to_json(tinker__jsonw_t *w,
                            const tinker__tensor_view_t *t) {
  int64_t shape1 = (int64_t)t->count;
  tinker__jsonw_begin_object(w);
  tinker__jsonw_key(w, "data");
  if (t->dtype == TINKER__DTYPE_F32) {
    tinker__jsonw_f32_array(w, t->data, t->count);
  } else {
    tinker__jsonw_i64_array(w, t->data, t->count);
  }
  tinker__jsonw_key(w, "dtype");
  tinker__jsonw_cstr(w, t->dtype == TINKER__DTYPE_F32 ? "float32" : "int64");
  tinker__jsonw_key(w, "shape");
  if (t->ndim) {
    tinker__jsonw_i64_array(w, t->shape, t->ndim);
  } else {
    tinker__jsonw_i64_array(w, &shape1, 1);
  }
  if (t->crow) {
    tinker__jsonw_key(w, "sparse_crow_indices");
    tinker__jsonw_i64_array(w, t->crow, (size_t)t->shape[0] + 1);
    tinker__jsonw_key(w, "sparse_col_indices");
    tinker__jsonw_i64_array(w, t->col, t->count);
  }
  tinker__jsonw_end_object(w);
}
