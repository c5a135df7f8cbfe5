/* json_array: whole arrays of numbers, the hot path of json_read.h. Compact
 * text, as writers of arrays make it, takes a short loop; anything else goes
 * through the general reader. */
#include <math.h>
#include <tinker/error.h>

#include "base/json_scan.h"

/* A growing array of numbers. */
typedef struct tinker__vec_s {
  char *data;
  size_t len, cap, max, size;
} tinker__vec_t;

static bool vec_grow(tinker__json_t *j, tinker__vec_t *v) {
  if (v->len >= v->max) return tinker__json_refuse(j, "array is too long");
  size_t cap = v->cap < 16 ? 16 : v->cap * 2;
  if (cap > v->max) cap = v->max;
  char *data = cap <= SIZE_MAX / v->size
                   ? tinker__mem_realloc(j->mem, v->data, cap * v->size)
                   : NULL;
  if (!data) {
    tinker__json_fail(j, TINKER_ENOMEM, "out of memory");
    return false;
  }
  v->data = data;
  v->cap = cap;
  return true;
}

static bool vec_room(tinker__json_t *j, tinker__vec_t *v) {
  return v->len < v->cap || vec_grow(j, v);
}

/* Numbers of the form -?digits{1,9} followed by a comma, as long as they come
 * without blanks. Leaves j->at after a comma, at what it could not take.
 * *end: the cause was the closing bracket. */
static void run_i32(tinker__json_t *j, tinker__vec_t *v, bool wide) {
  const char *p = j->at, *end = j->end;
  char *out = v->data;
  size_t len = v->len;
  while (len < v->cap && end - p > 12) {
    const char *q = p;
    bool neg = *q == '-';
    q += neg;
    uint32_t d = (uint32_t)(unsigned char)*q - '0';
    if (d > 9) break;
    uint32_t n = d;
    q++;
    if (d != 0) {
      const char *stop = q + 8;
      while (q < stop && (d = (uint32_t)(unsigned char)*q - '0') <= 9) {
        n = n * 10 + d;
        q++;
      }
    }
    if (*q != ',') break;
    int32_t value = neg ? -(int32_t)n : (int32_t)n;
    if (wide) {
      ((int64_t *)(void *)out)[len] = value;
    } else {
      ((int32_t *)(void *)out)[len] = value;
    }
    len++;
    p = q + 1;
  }
  v->len = len;
  j->at = p;
}

static bool one_i32(tinker__json_t *j, tinker__vec_t *v) {
  int64_t value;
  if (!tinker__json_i64(j, &value)) return false;
  if (value < INT32_MIN || value > INT32_MAX) {
    return tinker__json_refuse(j, "integer out of range");
  }
  ((int32_t *)(void *)v->data)[v->len++] = (int32_t)value;
  return true;
}

static bool one_i64(tinker__json_t *j, tinker__vec_t *v) {
  return tinker__json_i64(j, (int64_t *)(void *)v->data + v->len) && ++v->len;
}

static bool one_f32(tinker__json_t *j, tinker__vec_t *v, bool allow_null) {
  double value = (double)NAN;
  bool null = allow_null && tinker__json_peek(j) == TINKER__JSON_NULL;
  if (null ? !tinker__json_null(j) : !tinker__json_f64(j, &value)) return false;
  float f = (float)value;
  if (isinf(f)) return tinker__json_refuse(j, "number out of range");
  ((float *)(void *)v->data)[v->len++] = f;
  return true;
}

typedef enum { KIND_I32, KIND_I64, KIND_F32, KIND_F32_NULL } kind_t;

static bool one(tinker__json_t *j, tinker__vec_t *v, kind_t kind) {
  if (kind == KIND_I32) return one_i32(j, v);
  if (kind == KIND_I64) return one_i64(j, v);
  return one_f32(j, v, kind == KIND_F32_NULL);
}

/* After the opening bracket, or a comma. True at the closing bracket. */
static bool elements(tinker__json_t *j, tinker__vec_t *v, kind_t kind) {
  for (;;) {
    if (!vec_room(j, v)) return false;
    if (kind <= KIND_I64) {
      run_i32(j, v, kind == KIND_I64);
      if (v->len == v->cap) continue;
    }
    if (!one(j, v, kind)) return false;
    tinker__json_space(j);
    char c = j->at < j->end ? *j->at : 0;
    if (c != ',' && c != ']') {
      return tinker__json_bad(j, "expected a comma or ]");
    }
    j->at++;
    if (c == ']') return true;
  }
}

static bool array(tinker__json_t *j, tinker__vec_t *v, kind_t kind) {
  tinker__json_type_t is = tinker__json_peek(j);
  if (is == TINKER__JSON_END) return tinker__json_bad(j, "expected an array");
  if (is != TINKER__JSON_ARRAY) {
    return tinker__json_refuse(j, "expected an array");
  }
  j->at++;
  tinker__json_space(j);
  if (j->at < j->end && *j->at == ']') {
    j->at++;
    return true;
  }
  if (elements(j, v, kind)) return true;
  tinker__json_refused_in_array(j);
  return false;
}

bool tinker__json_i32_array(tinker__json_t *j, int32_t **out, size_t *len,
                            size_t max) {
  tinker__vec_t v = {(char *)*out, *len, *len, max, sizeof(int32_t)};
  bool ok = array(j, &v, KIND_I32);
  *out = (int32_t *)(void *)v.data;
  *len = v.len;
  return ok;
}

bool tinker__json_i64_array(tinker__json_t *j, int64_t **out, size_t *len,
                            size_t max) {
  tinker__vec_t v = {(char *)*out, *len, *len, max, sizeof(int64_t)};
  bool ok = array(j, &v, KIND_I64);
  *out = (int64_t *)(void *)v.data;
  *len = v.len;
  return ok;
}

bool tinker__json_f32_array(tinker__json_t *j, float **out, size_t *len,
                            size_t max, bool allow_null) {
  tinker__vec_t v = {(char *)*out, *len, *len, max, sizeof(float)};
  bool ok = array(j, &v, allow_null ? KIND_F32_NULL : KIND_F32);
  *out = (float *)(void *)v.data;
  *len = v.len;
  return ok;
}
