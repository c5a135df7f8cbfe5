/* safetensors_write: the writer of safetensors.h. Pure, any thread. */
#include <stdlib.h>
#include <string.h>
#include <tinker/error.h>

#include "base/json_write.h"
#include "model/safetensors.h"

static int by_name(const void *a, const void *b) {
  const tinker__tensor_t *x = a, *y = b;
  size_t n = x->name.len < y->name.len ? x->name.len : y->name.len;
  int c = memcmp(x->name.ptr, y->name.ptr, n);
  return c != 0 ? c : (x->name.len > y->name.len) - (x->name.len < y->name.len);
}

static int by_type_and_name(const void *a, const void *b) {
  const tinker__tensor_t *x = a, *y = b;
  if (x->dtype != y->dtype) return x->dtype < y->dtype ? -1 : 1;
  return by_name(a, b);
}

static int measure(tinker__tensor_t *t, char *why, size_t why_len) {
  uint64_t count = 1;
  bool ok = t->rank <= TINKER__TENSOR_MAX_RANK &&
            tinker__utf8_valid(t->name.ptr, t->name.len) &&
            !tinker__str_eqs(t->name, "__metadata__");
  for (uint32_t i = 0; ok && i < t->rank; i++) {
    ok = t->shape[i] == 0 || count <= (UINT64_C(1) << 48) / t->shape[i];
    count *= ok ? t->shape[i] : 1;
  }
  if (!ok) {
    return tinker__why(why, why_len, TINKER_EINVAL,
                       "tensor %.*s: its name, rank or shape can't be written",
                       (int)(t->name.len < 200 ? t->name.len : 200),
                       t->name.ptr);
  }
  t->count = count;
  t->bytes = count * tinker__weight_type_size(t->dtype);
  return 0;
}

static void write_entry(tinker__jsonw_t *w, const tinker__tensor_t *t,
                        uint64_t at) {
  tinker__jsonw_begin_object(w);
  tinker__jsonw_key(w, "dtype");
  tinker__jsonw_cstr(w, tinker__weight_type_name(t->dtype));
  tinker__jsonw_key(w, "shape");
  tinker__jsonw_begin_array(w);
  for (uint32_t i = 0; i < t->rank; i++) tinker__jsonw_u64(w, t->shape[i]);
  tinker__jsonw_end_array(w);
  tinker__jsonw_key(w, "data_offsets");
  tinker__jsonw_begin_array(w);
  tinker__jsonw_u64(w, at);
  tinker__jsonw_u64(w, at + t->bytes);
  tinker__jsonw_end_array(w);
  tinker__jsonw_end_object(w);
}

static void write_header(tinker__buf_t *out, const tinker__tensor_t *tensors,
                         size_t n, const tinker__meta_t *meta,
                         size_t num_meta) {
  tinker__jsonw_t w;
  uint64_t at = 0;
  tinker__jsonw_init(&w, out);
  tinker__jsonw_begin_object(&w);
  if (num_meta) {
    tinker__jsonw_key(&w, "__metadata__");
    tinker__jsonw_begin_object(&w);
    for (size_t i = 0; i < num_meta; i++) {
      tinker__jsonw_key(&w, meta[i].key);
      tinker__jsonw_cstr(&w, meta[i].value);
    }
    tinker__jsonw_end_object(&w);
  }
  for (size_t i = 0; i < n; i++) {
    /* Keys are C strings to the JSON writer; a name is a view. */
    char name[512];
    tinker__str_t s = tensors[i].name;
    memcpy(name, s.ptr, s.len);
    name[s.len] = 0;
    tinker__jsonw_key(&w, name);
    write_entry(&w, &tensors[i], at);
    at += tensors[i].bytes;
  }
  tinker__jsonw_end_object(&w);
  while (tinker__buf_error(out) == 0 && out->len % 8 != 0) {
    tinker__buf_addc(out, ' ');
  }
}

static int sort(tinker__tensor_t *tensors, size_t n, char *why,
                size_t why_len) {
  for (size_t i = 0; i < n; i++) {
    tinker__str_t name = tensors[i].name;
    if (name.len >= 512 || memchr(name.ptr, 0, name.len)) {
      return tinker__why(why, why_len, TINKER_EINVAL,
                         "tensor %zu: a name of %zu bytes, or with a NUL", i,
                         name.len);
    }
    int rc = measure(&tensors[i], why, why_len);
    if (rc) return rc;
  }
  if (n > 1) qsort(tensors, n, sizeof *tensors, by_name);
  for (size_t i = 1; i < n; i++) {
    tinker__str_t name = tensors[i].name;
    if (tinker__str_eq(name, tensors[i - 1].name)) {
      return tinker__why(why, why_len, TINKER_EINVAL,
                         "tensor %.*s is given twice", (int)name.len, name.ptr);
    }
  }
  if (n > 1) qsort(tensors, n, sizeof *tensors, by_type_and_name);
  return 0;
}

int tinker__safetensors_head(tinker__buf_t *out, tinker__mem_t *mem,
                             tinker__tensor_t *tensors, size_t n,
                             const tinker__meta_t *meta, size_t num_meta,
                             char *why, size_t why_len) {
  unsigned char len[8];
  tinker__buf_t header;
  int rc = sort(tensors, n, why, why_len);
  if (rc) return rc;
  tinker__buf_init(&header, mem, TINKER__SAFETENSORS_MAX_HEADER);
  write_header(&header, tensors, n, meta, num_meta);
  rc = tinker__buf_error(&header);
  for (int i = 0; i < 8; i++) {
    len[i] = (unsigned char)((uint64_t)header.len >> (8 * i));
  }
  if (!rc) rc = tinker__buf_add(out, len, sizeof len);
  if (!rc) rc = tinker__buf_add(out, header.data, header.len);
  tinker__buf_free(&header);
  return rc ? tinker__why(why, why_len, rc, "%s", tinker_code_text(rc)) : 0;
}

static int append(tinker__buf_t *out, const tinker__tensor_t *tensors,
                  size_t n) {
  for (size_t i = 0; i < n; i++) {
    if (tensors[i].bytes) { /* data may be NULL without */
      tinker__buf_add(out, tensors[i].data, (size_t)tensors[i].bytes);
    }
  }
  return tinker__buf_error(out);
}

int tinker__safetensors_write(tinker__buf_t *out, tinker__mem_t *mem,
                              const tinker__tensor_t *tensors, size_t n,
                              const tinker__meta_t *meta, size_t num_meta,
                              char *why, size_t why_len) {
  tinker__tensor_t *sorted = tinker__mem_array(mem, n, sizeof *sorted);
  if (!sorted) return tinker__why(why, why_len, TINKER_ENOMEM, "out of memory");
  if (n) memcpy(sorted, tensors, n * sizeof *sorted);
  int rc = tinker__safetensors_head(out, mem, sorted, n, meta, num_meta, why,
                                    why_len);
  if (!rc && (rc = append(out, sorted, n)) != 0) {
    tinker__why(why, why_len, rc, "%s", tinker_code_text(rc));
  }
  tinker__mem_free(mem, sorted);
  return rc;
}
