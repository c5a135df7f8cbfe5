/* safetensors: the reader; the writer is safetensors_write.c. The table owns
 * the JSON reader, since names with escapes live in it. Pure, any thread. */
#include "model/safetensors.h"

#include <stdlib.h>
#include <string.h>
#include <tinker/error.h>

#include "base/impostor.h"
#include "base/json_read.h"
#include "base/map.h"

#define AGAIN ": download it again"
#define SHOWN 200 /* bytes of a name that a message repeats */

struct tinker__safetensors_s {
  tinker__mem_t *mem;
  tinker__json_t json;
  tinker__tensor_t *tensors; /* by place in the file */
  size_t n;
  size_t cap;
  tinker__str_t *meta; /* key, value, key, value */
  size_t num_meta;     /* entries of meta */
  size_t cap_meta;
  tinker__map_t *by_name;
};

typedef struct parse_s {
  tinker__safetensors_t *st;
  const char *body; /* first byte after the header */
  uint64_t body_len;
  char *why;
  size_t why_len;
} parse_t;

size_t tinker__weight_type_size(tinker__weight_type_t dtype) {
  return dtype == TINKER__WEIGHT_F32 ? 4 : 2;
}

const char *tinker__weight_type_name(tinker__weight_type_t dtype) {
  static const char *const names[] = {"F32", "BF16", "F16"};
  return names[dtype];
}

static int shown(tinker__str_t s) {
  return (int)(s.len < SHOWN ? s.len : SHOWN);
}

/* Reports the reader's error with its place in the file. */
static int fail_json(parse_t *p) {
  tinker__json_t *j = &p->st->json;
  if (j->error == TINKER_ENOMEM) {
    return tinker__why(p->why, p->why_len, TINKER_ENOMEM, "out of memory");
  }
  return tinker__why(p->why, p->why_len, TINKER_EFORMAT,
                     "header: %s at byte %zu",
                     j->reason ? j->reason : "malformed JSON", j->error_at + 8);
}

static int fail_tensor(parse_t *p, int code, tinker__str_t name,
                       const char *what) {
  return tinker__why(p->why, p->why_len, code, "tensor %.*s: %s", shown(name),
                     name.ptr, what);
}

static int read_dtype(parse_t *p, tinker__tensor_t *t) {
  tinker__str_t s;
  if (!tinker__json_string(&p->st->json, &s)) return fail_json(p);
  for (int d = TINKER__WEIGHT_F32; d <= TINKER__WEIGHT_F16; d++) {
    if (tinker__str_eqs(s,
                        tinker__weight_type_name((tinker__weight_type_t)d))) {
      t->dtype = (tinker__weight_type_t)d;
      return 0;
    }
  }
  return tinker__why(p->why, p->why_len, TINKER_ENOTSUP,
                     "tensor %.*s: dtype %.*s: supported are F32, BF16, F16",
                     shown(t->name), t->name.ptr, shown(s), s.ptr);
}

static int read_shape(parse_t *p, tinker__tensor_t *t) {
  tinker__json_t *j = &p->st->json;
  uint64_t dim;
  t->count = 1;
  if (!tinker__json_array(j)) return fail_json(p);
  while (tinker__json_more(j)) {
    if (!tinker__json_u64(j, &dim)) return fail_json(p);
    if (t->rank == TINKER__TENSOR_MAX_RANK) {
      return fail_tensor(p, TINKER_EOVERFLOW, t->name, "over 8 dimensions");
    }
    if (dim != 0 && t->count > (UINT64_C(1) << 48) / dim) {
      return fail_tensor(p, TINKER_EOVERFLOW, t->name, "shape too large");
    }
    t->count *= dim;
    t->shape[t->rank++] = dim;
  }
  return j->error ? fail_json(p) : 0;
}

static int read_offsets(parse_t *p, tinker__tensor_t *t) {
  tinker__json_t *j = &p->st->json;
  uint64_t at[2];
  size_t n = 0;
  if (!tinker__json_array(j)) return fail_json(p);
  while (tinker__json_more(j)) {
    if (n == 2) {
      return fail_tensor(p, TINKER_EFORMAT, t->name, "over two data_offsets");
    }
    if (!tinker__json_u64(j, &at[n++])) return fail_json(p);
  }
  if (j->error) return fail_json(p);
  if (n != 2 || at[0] > at[1]) {
    return fail_tensor(p, TINKER_EFORMAT, t->name,
                       "data_offsets are not two ascending numbers");
  }
  if (at[1] > p->body_len) {
    return tinker__why(p->why, p->why_len, TINKER_EFORMAT,
                       "the file is cut: %llu bytes follow its header, tensor "
                       "%.*s ends at %llu" AGAIN,
                       (unsigned long long)p->body_len, shown(t->name),
                       t->name.ptr, (unsigned long long)at[1]);
  }
  t->data = p->body + at[0];
  t->bytes = at[1] - at[0];
  return 0;
}

static int read_tensor(parse_t *p, tinker__tensor_t *t) {
  static const char *const keys[3] = {"dtype", "shape", "data_offsets"};
  static int (*const readers[3])(parse_t *, tinker__tensor_t *) = {
      read_dtype, read_shape, read_offsets};
  tinker__json_t *j = &p->st->json;
  tinker__str_t key;
  unsigned seen = 0;
  if (!tinker__json_object(j)) return fail_json(p);
  while (tinker__json_key(j, &key)) {
    unsigned k = 0;
    while (k < 3 && !tinker__str_eqs(key, keys[k])) k++;
    if (k == 3 || (seen & (1u << k))) {
      return fail_tensor(p, TINKER_EFORMAT, t->name,
                         "a key unknown or there twice");
    }
    seen |= 1u << k;
    int rc = readers[k](p, t);
    if (rc) return rc;
  }
  if (j->error) return fail_json(p);
  if (seen != 7) {
    return fail_tensor(p, TINKER_EFORMAT, t->name,
                       "dtype, shape or data_offsets is missing");
  }
  if (t->bytes != t->count * tinker__weight_type_size(t->dtype)) {
    return fail_tensor(p, TINKER_EFORMAT, t->name,
                       "data_offsets and shape disagree");
  }
  return 0;
}

/* Room for `more` entries after `used`. */
static int grow(tinker__mem_t *mem, void **array, size_t *cap, size_t used,
                size_t more, size_t size) {
  if (*cap - used >= more) return 0;
  size_t want = *cap ? *cap * 2 : 64;
  void *bigger = tinker__mem_realloc(mem, *array, want * size);
  if (!bigger) return TINKER_ENOMEM;
  *array = bigger;
  *cap = want;
  return 0;
}

static int read_meta(parse_t *p) {
  tinker__safetensors_t *st = p->st;
  tinker__json_t *j = &st->json;
  tinker__str_t key, value;
  if (!tinker__json_object(j)) return fail_json(p);
  while (tinker__json_key(j, &key)) {
    void *array = st->meta;
    if (!tinker__json_string(j, &value)) return fail_json(p);
    if (grow(st->mem, &array, &st->cap_meta, st->num_meta, 2,
             sizeof *st->meta) != 0) {
      return tinker__why(p->why, p->why_len, TINKER_ENOMEM, "out of memory");
    }
    st->meta = array;
    st->meta[st->num_meta++] = key;
    st->meta[st->num_meta++] = value;
  }
  return j->error ? fail_json(p) : 0;
}

static int read_entry(parse_t *p, tinker__str_t key) {
  tinker__safetensors_t *st = p->st;
  void *array = st->tensors;
  if (tinker__str_eqs(key, "__metadata__")) return read_meta(p);
  if (st->n == TINKER__SAFETENSORS_MAX_TENSORS) {
    return tinker__why(p->why, p->why_len, TINKER_EOVERFLOW, "over %u tensors",
                       TINKER__SAFETENSORS_MAX_TENSORS);
  }
  if (grow(st->mem, &array, &st->cap, st->n, 1, sizeof *st->tensors) != 0) {
    return tinker__why(p->why, p->why_len, TINKER_ENOMEM, "out of memory");
  }
  st->tensors = array;
  tinker__tensor_t *t = &st->tensors[st->n++];
  memset(t, 0, sizeof *t);
  t->name = key;
  return read_tensor(p, t);
}

static int by_place(const void *a, const void *b) {
  const tinker__tensor_t *x = a, *y = b;
  uintptr_t xs = (uintptr_t)x->data, ys = (uintptr_t)y->data;
  if (xs != ys) return xs < ys ? -1 : 1;
  if (x->bytes != y->bytes) return x->bytes < y->bytes ? -1 : 1;
  size_t n = x->name.len < y->name.len ? x->name.len : y->name.len;
  int c = memcmp(x->name.ptr, y->name.ptr, n);
  return c != 0 ? c : (x->name.len > y->name.len) - (x->name.len < y->name.len);
}

/* Tensors follow each other without hole or overlap and fill the body. */
static int check_places(parse_t *p) {
  tinker__safetensors_t *st = p->st;
  uint64_t at = 0;
  if (st->n > 1) qsort(st->tensors, st->n, sizeof *st->tensors, by_place);
  for (size_t i = 0; i < st->n; i++) {
    const tinker__tensor_t *t = &st->tensors[i];
    if ((uint64_t)((const char *)t->data - p->body) != at) {
      return fail_tensor(p, TINKER_EFORMAT, t->name,
                         "its data overlaps another's or leaves a hole");
    }
    at += t->bytes;
  }
  if (at != p->body_len) {
    return tinker__why(p->why, p->why_len, TINKER_EFORMAT,
                       "%llu bytes behind the last tensor",
                       (unsigned long long)(p->body_len - at));
  }
  return 0;
}

static int index_names(parse_t *p) {
  tinker__safetensors_t *st = p->st;
  int rc = tinker__map_new(&st->by_name, st->mem);
  for (size_t i = 0; i < st->n && rc == 0; i++) {
    void *old = NULL;
    tinker__tensor_t *t = &st->tensors[i];
    rc = tinker__map_put(st->by_name, t->name, t, &old);
    if (rc == 0 && old) {
      return fail_tensor(p, TINKER_EFORMAT, t->name, "is there twice");
    }
  }
  return rc ? tinker__why(p->why, p->why_len, rc, "out of memory") : 0;
}

static int parse_header(parse_t *p) {
  tinker__json_t *j = &p->st->json;
  tinker__str_t key;
  int rc = 0;
  if (!tinker__json_object(j)) return fail_json(p);
  while (rc == 0 && tinker__json_key(j, &key)) rc = read_entry(p, key);
  if (rc == 0 && tinker__json_end(j) != 0) rc = fail_json(p);
  if (rc == 0) rc = check_places(p);
  if (rc == 0) rc = index_names(p);
  return rc;
}

static uint64_t read_le64(const unsigned char *b) {
  uint64_t v = 0;
  for (int i = 7; i >= 0; i--) v = v << 8 | b[i];
  return v;
}

/* The first 8 bytes give a length that can't be: what are they? */
static int fail_length(parse_t *p, tinker__str_t data, uint64_t header) {
  const char *said = tinker__impostor(data);
  if (said) {
    return tinker__why(p->why, p->why_len, TINKER_EFORMAT, "the file %s", said);
  }
  if (data.len < 8) {
    return tinker__why(p->why, p->why_len, TINKER_EFORMAT,
                       "%zu bytes are no safetensors file" AGAIN, data.len);
  }
  if (header > TINKER__SAFETENSORS_MAX_HEADER) {
    return tinker__why(
        p->why, p->why_len, TINKER_EOVERFLOW,
        "header of %llu bytes, more than %u: not a safetensors file" AGAIN,
        (unsigned long long)header, TINKER__SAFETENSORS_MAX_HEADER);
  }
  if (header == 0) {
    return tinker__why(p->why, p->why_len, TINKER_EFORMAT,
                       "a header of 0 bytes: not a safetensors file" AGAIN);
  }
  return tinker__why(
      p->why, p->why_len, TINKER_EFORMAT,
      "the file is cut: it has %zu bytes, and a header of %llu" AGAIN, data.len,
      (unsigned long long)header);
}

int tinker__safetensors_parse(tinker__safetensors_t **out, tinker__mem_t *mem,
                              const void *data, size_t len, char *why,
                              size_t why_len) {
  parse_t p = {NULL, NULL, 0, why, why_len};
  uint64_t header = len < 8 ? 0 : read_le64(data);
  if (len < 8 || header == 0 || header > TINKER__SAFETENSORS_MAX_HEADER ||
      header > len - 8) {
    return fail_length(&p, (tinker__str_t){data, len}, header);
  }
  p.st = tinker__mem_zalloc(mem, sizeof *p.st);
  if (!p.st) return tinker__why(why, why_len, TINKER_ENOMEM, "out of memory");
  p.st->mem = mem;
  p.body = (const char *)data + 8 + header;
  p.body_len = len - 8 - header;
  tinker__json_init(&p.st->json, mem, (const char *)data + 8, (size_t)header);
  int rc = parse_header(&p);
  if (rc) {
    tinker__safetensors_free(p.st);
    return rc;
  }
  *out = p.st;
  return 0;
}

void tinker__safetensors_free(tinker__safetensors_t *st) {
  if (!st) return;
  tinker__map_free(st->by_name);
  tinker__json_done(&st->json);
  tinker__mem_free(st->mem, st->tensors);
  tinker__mem_free(st->mem, st->meta);
  tinker__mem_free(st->mem, st);
}

size_t tinker__safetensors_len(const tinker__safetensors_t *st) {
  return st->n;
}

const tinker__tensor_t *tinker__safetensors_at(const tinker__safetensors_t *st,
                                               size_t i) {
  return &st->tensors[i];
}

const tinker__tensor_t *
tinker__safetensors_find(const tinker__safetensors_t *st, tinker__str_t name) {
  return tinker__map_get(st->by_name, name);
}

bool tinker__safetensors_meta(const tinker__safetensors_t *st, const char *key,
                              tinker__str_t *value) {
  for (size_t i = 0; i < st->num_meta; i += 2) {
    if (tinker__str_eqs(st->meta[i], key)) {
      *value = st->meta[i + 1];
      return true;
    }
  }
  return false;
}
