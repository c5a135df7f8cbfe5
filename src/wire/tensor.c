/* tensor: see tensor.h. */
#include "wire/tensor.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <tinker/error.h>

int tinker__where(const tinker__where_t *at, int code, const char *fmt, ...) {
  char place[TINKER__MAX_NAME + 128] = "", text[256];
  size_t n = 0;
  va_list ap;
  va_start(ap, fmt);
  if (vsnprintf(text, sizeof(text), fmt, ap) < 0) text[0] = 0;
  va_end(ap);
  n += (size_t)snprintf(place, 64, "%s", at->top);
  if (at->index != SIZE_MAX) {
    n += (size_t)snprintf(place + n, 32, "[%zu]", at->index);
  }
  if (at->mid) n += (size_t)snprintf(place + n, 32, ".%s", at->mid);
  if (at->name.len) {
    snprintf(place + n, sizeof(place) - n, ".%.*s",
             (int)(at->name.len < TINKER__MAX_NAME ? at->name.len
                                                   : TINKER__MAX_NAME),
             at->name.ptr);
  }
  return tinker__why(at->why, at->why_len, code, "%s: %s", place, text);
}

static int no_memory(const tinker__arena_t *arena, const tinker__where_t *at) {
  return tinker__where(at, tinker__arena_error(arena), "%s",
                       tinker__arena_trouble(arena));
}

/* Product of the dimensions; false when one is negative, or the bytes of all
 * are over the cap. */
static bool cells_of(const int64_t *shape, size_t n, size_t *cells) {
  size_t product = 1;
  const size_t most = TINKER__MAX_TENSOR_BYTES / 4;
  for (size_t i = 0; i < n; i++) {
    if (shape[i] < 0 || (uint64_t)shape[i] > most) return false;
    if (shape[i] && product > most / (size_t)shape[i]) return false;
    product *= (size_t)shape[i];
  }
  *cells = product;
  return true;
}

static int check_csr(const int64_t *crow, const int64_t *col, size_t count,
                     int64_t rows, int64_t cols, int code,
                     const tinker__where_t *at) {
  if (crow[0] != 0 || crow[rows] < 0 || (uint64_t)crow[rows] != count) {
    return tinker__where(at, code, "crow_indices do not span the values");
  }
  for (int64_t r = 0; r < rows; r++) {
    if (crow[r + 1] < crow[r] || (uint64_t)crow[r + 1] > count) {
      return tinker__where(at, code, "crow_indices are not increasing");
    }
    for (int64_t i = crow[r]; i < crow[r + 1]; i++) {
      if (col[i] < 0 || col[i] >= cols) {
        return tinker__where(at, code, "col_indices[%lld] is outside the row",
                             (long long)i);
      }
      if (i > crow[r] && col[i] <= col[i - 1]) {
        return tinker__where(at, code, "col_indices of a row do not increase");
      }
    }
  }
  return 0;
}

static void scatter(void *dense, const tinker__raw_tensor_t *raw, int fill,
                    size_t cells) {
  size_t cols = (size_t)raw->shape[1];
  if (raw->dtype == TINKER__DTYPE_F32) {
    for (size_t i = 0; i < cells; i++) ((float *)dense)[i] = (float)fill;
  } else {
    for (size_t i = 0; i < cells; i++) ((int64_t *)dense)[i] = fill;
  }
  size_t size = tinker__dtype_size(raw->dtype);
  for (size_t r = 0; r + 1 < raw->crow_len; r++) {
    for (int64_t i = raw->crow[r]; i < raw->crow[r + 1]; i++) {
      memcpy((char *)dense + (r * cols + (size_t)raw->col[i]) * size,
             (const char *)raw->data + (size_t)i * size, size);
    }
  }
}

static int check_sparse(const tinker__raw_tensor_t *raw, int code,
                        const tinker__where_t *at) {
  if (raw->shape_len != 2) {
    return tinker__where(at, code, "a sparse tensor needs a shape of two");
  }
  if (raw->crow_len != (uint64_t)raw->shape[0] + 1) {
    return tinker__where(at, code, "%zu crow_indices for %lld rows",
                         raw->crow_len, (long long)raw->shape[0]);
  }
  if (raw->col_len != raw->count) {
    return tinker__where(at, code, "%zu col_indices for %zu values",
                         raw->col_len, raw->count);
  }
  return check_csr(raw->crow, raw->col, raw->count, raw->shape[0],
                   raw->shape[1], code, at);
}

static int densify(tinker__tensor_view_t *out, tinker__arena_t *arena,
                   const tinker__raw_tensor_t *raw, int fill, size_t cells,
                   int code, const tinker__where_t *at) {
  int rc = check_sparse(raw, code, at);
  if (rc) return rc;
  void *dense =
      tinker__arena_alloc(arena, cells * tinker__dtype_size(raw->dtype));
  if (!dense) return no_memory(arena, at);
  scatter(dense, raw, fill, cells);
  out->data = dense;
  out->count = cells;
  return 0;
}

/* The view with everything but what a CSR adds. */
static int take_shape(tinker__tensor_view_t *out,
                      const tinker__raw_tensor_t *raw, int code,
                      const tinker__where_t *at) {
  memset(out, 0, sizeof(*out));
  out->dtype = raw->dtype;
  out->data = raw->data;
  out->count = raw->count;
  if (raw->shape_len > TINKER__MAX_DIMS) {
    return tinker__where(at, code, "more than %d dimensions", TINKER__MAX_DIMS);
  }
  out->ndim = raw->shape_len ? raw->shape_len : 1;
  out->shape[0] = (int64_t)raw->count;
  for (size_t i = 0; i < raw->shape_len; i++) out->shape[i] = raw->shape[i];
  return 0;
}

int tinker__tensor_finish(tinker__tensor_view_t *out, tinker__arena_t *arena,
                          const tinker__raw_tensor_t *raw, int fill, int code,
                          const tinker__where_t *at) {
  size_t cells = raw->count;
  int rc = take_shape(out, raw, code, at);
  if (rc) return rc;
  if (raw->shape_len && !cells_of(raw->shape, raw->shape_len, &cells)) {
    return tinker__where(at, code, "shape is negative or too large");
  }
  if (raw->sparse) return densify(out, arena, raw, fill, cells, code, at);
  if (cells != raw->count) {
    return tinker__where(at, code, "%zu values for a shape of %zu", raw->count,
                         cells);
  }
  return 0;
}

int tinker__tensor_keep(tinker__tensor_view_t *out,
                        const tinker__raw_tensor_t *raw, int code,
                        const tinker__where_t *at) {
  if (!raw->sparse) return tinker__tensor_finish(out, NULL, raw, 0, code, at);
  int rc = take_shape(out, raw, code, at);
  for (size_t i = 0; !rc && i < raw->shape_len; i++) {
    if (raw->shape[i] < 0 || raw->shape[i] > INT32_MAX) {
      rc = tinker__where(at, code, "shape is negative or too large");
    }
  }
  if (!rc) rc = check_sparse(raw, code, at);
  if (rc) return rc;
  out->crow = raw->crow;
  out->col = raw->col;
  return 0;
}

/* Little-endian int32 to int64. */
static int widen(tinker__raw_tensor_t *raw, tinker__arena_t *arena,
                 ProtobufCBinaryData bytes, const tinker__where_t *at) {
  if (bytes.len % 4) {
    return tinker__where(at, TINKER_EPROTO, "%zu bytes are no int32",
                         bytes.len);
  }
  raw->count = bytes.len / 4;
  int64_t *wide = tinker__arena_alloc(arena, raw->count * 8);
  if (!wide) return no_memory(arena, at);
  for (size_t i = 0; i < raw->count; i++) {
    int32_t v;
    memcpy(&v, bytes.data + i * 4, 4);
    wide[i] = v;
  }
  raw->data = wide;
  return 0;
}

static int take_values(tinker__raw_tensor_t *raw, tinker__arena_t *arena,
                       TinkerPublic__DType dtype, ProtobufCBinaryData bytes,
                       const tinker__where_t *at) {
  raw->dtype = dtype == TINKER_PUBLIC__DTYPE__DTYPE_FLOAT32 ? TINKER__DTYPE_F32
                                                            : TINKER__DTYPE_I64;
  if (dtype == TINKER_PUBLIC__DTYPE__DTYPE_INT32) {
    return widen(raw, arena, bytes, at);
  }
  if (dtype != TINKER_PUBLIC__DTYPE__DTYPE_FLOAT32 &&
      dtype != TINKER_PUBLIC__DTYPE__DTYPE_INT64) {
    return tinker__where(at, TINKER_EPROTO, "dtype %d is not supported",
                         (int)dtype);
  }
  size_t size = tinker__dtype_size(raw->dtype);
  if (bytes.len % size) {
    return tinker__where(at, TINKER_EPROTO, "%zu bytes are no multiple of %zu",
                         bytes.len, size);
  }
  raw->data = bytes.len ? tinker__proto_align(arena, bytes, size) : "";
  raw->count = bytes.len / size;
  return raw->data ? 0 : no_memory(arena, at);
}

static int read_proto(tinker__raw_tensor_t *raw, tinker__arena_t *arena,
                      const TinkerPublic__Tensor *t,
                      const tinker__where_t *at) {
  ProtobufCBinaryData values = {0};
  raw->shape = t->shape;
  raw->shape_len = t->n_shape;
  if (t->encoding_case == TINKER_PUBLIC__TENSOR__ENCODING_SPARSE_CSR) {
    const TinkerPublic__SparseCsr *csr = t->sparse_csr;
    if (csr->crow_indices.len % 8 || csr->col_indices.len % 8) {
      return tinker__where(at, TINKER_EPROTO, "indices are no int64");
    }
    raw->sparse = true;
    raw->crow = tinker__proto_align(arena, csr->crow_indices, 8);
    raw->col = tinker__proto_align(arena, csr->col_indices, 8);
    raw->crow_len = csr->crow_indices.len / 8;
    raw->col_len = csr->col_indices.len / 8;
    if ((raw->crow_len && !raw->crow) || (raw->col_len && !raw->col)) {
      return no_memory(arena, at);
    }
    values = csr->values;
  } else if (t->encoding_case == TINKER_PUBLIC__TENSOR__ENCODING_DENSE) {
    values = t->dense;
  }
  return take_values(raw, arena, t->dtype, values, at);
}

int tinker__tensor_from_proto(tinker__tensor_view_t *out,
                              tinker__arena_t *arena,
                              const TinkerPublic__Tensor *t, int fill,
                              const tinker__where_t *at) {
  tinker__raw_tensor_t raw = {0};
  int rc = read_proto(&raw, arena, t, at);
  if (rc) return rc;
  return tinker__tensor_finish(out, arena, &raw, fill, TINKER_EPROTO, at);
}

int tinker__tensor_keep_proto(tinker__tensor_view_t *out,
                              tinker__arena_t *arena,
                              const TinkerPublic__Tensor *t,
                              const tinker__where_t *at) {
  tinker__raw_tensor_t raw = {0};
  int rc = read_proto(&raw, arena, t, at);
  return rc ? rc : tinker__tensor_keep(out, &raw, TINKER_EPROTO, at);
}

int tinker__tensor_check(const tinker__tensor_view_t *t,
                         const tinker__where_t *at) {
  size_t cells = t->count;
  if (t->dtype != TINKER__DTYPE_F32 && t->dtype != TINKER__DTYPE_I64) {
    return tinker__where(at, TINKER_EINVAL, "unknown dtype");
  }
  if (t->ndim > TINKER__MAX_DIMS || !cells_of(t->shape, t->ndim, &cells)) {
    return tinker__where(at, TINKER_EINVAL, "shape is negative or too large");
  }
  if (t->count && !t->data) return tinker__where(at, TINKER_EINVAL, "no data");
  if (!t->crow) {
    return !t->ndim || cells == t->count
               ? 0
               : tinker__where(at, TINKER_EINVAL,
                               "%zu values for a shape of %zu", t->count,
                               cells);
  }
  if (t->ndim != 2) {
    return tinker__where(at, TINKER_EINVAL,
                         "a sparse tensor needs a shape of two");
  }
  return check_csr(t->crow, t->col, t->count, t->shape[0], t->shape[1],
                   TINKER_EINVAL, at);
}

static TinkerPublic__SparseCsr *csr_to_proto(tinker__arena_t *arena,
                                             const tinker__tensor_view_t *t) {
  TinkerPublic__SparseCsr *csr = tinker__arena_alloc(arena, sizeof(*csr));
  if (!csr) return NULL;
  tinker_public__sparse_csr__init(csr);
  csr->has_values = csr->has_crow_indices = csr->has_col_indices = 1;
  csr->values =
      tinker__proto_bytes(t->data, t->count * tinker__dtype_size(t->dtype));
  csr->crow_indices =
      tinker__proto_bytes(t->crow, ((size_t)t->shape[0] + 1) * 8);
  csr->col_indices = tinker__proto_bytes(t->col, t->count * 8);
  return csr;
}

TinkerPublic__Tensor *tinker__tensor_to_proto(tinker__arena_t *arena,
                                              const tinker__tensor_view_t *t) {
  TinkerPublic__Tensor *out = tinker__arena_alloc(arena, sizeof(*out));
  size_t ndim = t->ndim ? t->ndim : 1;
  int64_t *shape = tinker__arena_array(arena, ndim, sizeof(*shape));
  if (!out || !shape) return NULL;
  tinker_public__tensor__init(out);
  shape[0] = (int64_t)t->count;
  for (size_t i = 0; i < t->ndim; i++) shape[i] = t->shape[i];
  out->n_shape = ndim;
  out->shape = shape;
  out->has_dtype = 1;
  out->dtype = t->dtype == TINKER__DTYPE_F32
                   ? TINKER_PUBLIC__DTYPE__DTYPE_FLOAT32
                   : TINKER_PUBLIC__DTYPE__DTYPE_INT64;
  if (t->crow) {
    out->encoding_case = TINKER_PUBLIC__TENSOR__ENCODING_SPARSE_CSR;
    out->sparse_csr = csr_to_proto(arena, t);
    return out->sparse_csr ? out : NULL;
  }
  out->encoding_case = TINKER_PUBLIC__TENSOR__ENCODING_DENSE;
  out->dense =
      tinker__proto_bytes(t->data, t->count * tinker__dtype_size(t->dtype));
  return out;
}

int tinker__str_cmp(tinker__str_t a, tinker__str_t b) {
  size_t n = a.len < b.len ? a.len : b.len;
  int c = n ? memcmp(a.ptr, b.ptr, n) : 0;
  return c ? c : (a.len > b.len) - (a.len < b.len);
}

static int by_name(const void *a, const void *b) {
  const tinker__named_tensor_t *x = a, *y = b;
  return tinker__str_cmp(x->name, y->name);
}

bool tinker__tensors_sort(tinker__named_tensor_t *t, size_t n) {
  if (n) qsort(t, n, sizeof(*t), by_name);
  for (size_t i = 1; i < n; i++) {
    if (tinker__str_eq(t[i - 1].name, t[i].name)) return false;
  }
  return true;
}

size_t tinker__chunks_length(const tinker__chunk_view_t *chunks, size_t n) {
  size_t total = 0;
  for (size_t i = 0; i < n; i++) {
    switch (chunks[i].kind) {
    case TINKER__CHUNK_TEXT: total += chunks[i].text.count; break;
    }
  }
  return total;
}

int32_t *tinker__chunks_text(const tinker__chunk_view_t *chunks, size_t n,
                             int32_t *out) {
  for (size_t i = 0; i < n; i++) {
    const tinker__text_chunk_t *t = &chunks[i].text;
    if (chunks[i].kind != TINKER__CHUNK_TEXT || !t->count) continue;
    memcpy(out, t->tokens, t->count * sizeof *out);
    out += t->count;
  }
  return out;
}
