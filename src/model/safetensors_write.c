/* safetensors_write: the writer of safetensors.h. Pure, any thread. */
#include <stdlib.h>
#include <string.h>
#include <tinker/error.h>

#include "base/json_write.h"
#include "model/safetensors.h"

/* One tensor and where its bytes go. */
typedef struct place_s {
  const tinker__tensor_t *tensor;
  uint64_t bytes;
} place_t;

static int by_name(const void *a, const void *b) {
  const tinker__tensor_t *x = ((const place_t *)a)->tensor;
  const tinker__tensor_t *y = ((const place_t *)b)->tensor;
  size_t n = x->name.len < y->name.len ? x->name.len : y->name.len;
  int c = memcmp(x->name.ptr, y->name.ptr, n);
  return c != 0 ? c : (x->name.len > y->name.len) - (x->name.len < y->name.len);
}

static int by_type_and_name(const void *a, const void *b) {
  const tinker__tensor_t *x = ((const place_t *)a)->tensor;
  const tinker__tensor_t *y = ((const place_t *)b)->tensor;
  if (x->dtype != y->dtype) return x->dtype < y->dtype ? -1 : 1;
  return by_name(a, b);
}

static int measure(place_t *p, const tinker__tensor_t *t, char *why,
                   size_t why_len) {
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
  p->tensor = t;
  p->bytes = count * tinker__weight_type_size(t->dtype);
  return 0;
}

static void write_entry(tinker__jsonw_t *w, const place_t *p, uint64_t at) {
  const tinker__tensor_t *t = p->tensor;
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
  tinker__jsonw_u64(w, at + p->bytes);
  tinker__jsonw_end_array(w);
  tinker__jsonw_end_object(w);
}

static void write_header(tinker__buf_t *out, const place_t *places, size_t n,
                         const tinker__meta_t *meta, size_t num_meta) {
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
    tinker__str_t s = places[i].tensor->name;
    memcpy(name, s.ptr, s.len);
    name[s.len] = 0;
    tinker__jsonw_key(&w, name);
    write_entry(&w, &places[i], at);
    at += places[i].bytes;
  }
  tinker__jsonw_end_object(&w);
  while (tinker__buf_error(out) == 0 && out->len % 8 != 0) {
    tinker__buf_addc(out, ' ');
  }
}

static int sort_places(place_t *places, const tinker__tensor_t *tensors,
                       size_t n, char *why, size_t why_len) {
  for (size_t i = 0; i < n; i++) {
    tinker__str_t name = tensors[i].name;
    if (name.len >= 512 || memchr(name.ptr, 0, name.len)) {
      return tinker__why(why, why_len, TINKER_EINVAL,
                         "tensor %zu: a name of %zu bytes, or with a NUL", i,
                         name.len);
    }
    int rc = measure(&places[i], &tensors[i], why, why_len);
    if (rc) return rc;
  }
  if (n > 1) qsort(places, n, sizeof *places, by_name);
  for (size_t i = 1; i < n; i++) {
    if (tinker__str_eq(places[i].tensor->name, places[i - 1].tensor->name)) {
      return tinker__why(
          why, why_len, TINKER_EINVAL, "tensor %.*s is given twice",
          (int)places[i].tensor->name.len, places[i].tensor->name.ptr);
    }
  }
  if (n > 1) qsort(places, n, sizeof *places, by_type_and_name);
  return 0;
}

static int append(tinker__buf_t *out, const tinker__buf_t *header,
                  const place_t *places, size_t n) {
  unsigned char len[8];
  for (int i = 0; i < 8; i++) {
    len[i] = (unsigned char)((uint64_t)header->len >> (8 * i));
  }
  tinker__buf_add(out, len, sizeof len);
  tinker__buf_add(out, header->data, header->len);
  for (size_t i = 0; i < n; i++) {
    if (places[i].bytes) { /* data may be NULL without */
      tinker__buf_add(out, places[i].tensor->data, (size_t)places[i].bytes);
    }
  }
  return tinker__buf_error(out);
}

int tinker__safetensors_write(tinker__buf_t *out, tinker__mem_t *mem,
                              const tinker__tensor_t *tensors, size_t n,
                              const tinker__meta_t *meta, size_t num_meta,
                              char *why, size_t why_len) {
  tinker__buf_t header;
  tinker__buf_init(&header, mem, TINKER__SAFETENSORS_MAX_HEADER);
  place_t *places = tinker__mem_array(mem, n, sizeof *places);
  int rc = places ? 0 : TINKER_ENOMEM;
  if (rc == 0) rc = sort_places(places, tensors, n, why, why_len);
  if (rc == TINKER_EINVAL) goto out;
  if (rc == 0) {
    write_header(&header, places, n, meta, num_meta);
    rc = tinker__buf_error(&header);
  }
  if (rc == 0) rc = append(out, &header, places, n);
  if (rc) tinker__why(why, why_len, rc, "%s", tinker_code_text(rc));
out:
  tinker__mem_free(mem, places);
  tinker__buf_free(&header);
  return rc;
}
