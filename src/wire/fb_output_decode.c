/* fb_output_decode: the client's half of fb_output.h. The tensors stay where
 * they lie in the body, moved by some bytes at most. */
#include <string.h>
#include <tinker/error.h>

#include "wire/fb_output.h"
#include "wire/tensor.h"

typedef struct tinker__output_decoder_s {
  tinker__arena_t *arena;
  tinker__output_datum_t *datums;
  size_t count;
  char *why;
  size_t why_len;
} tinker__output_decoder_t;

static int fail(const tinker__output_decoder_t *d, int code, const char *text) {
  return tinker__why(d->why, d->why_len, code, "loss_fn_outputs: %s", text);
}

static int no_memory(const tinker__output_decoder_t *d) {
  return fail(d, tinker__arena_error(d->arena),
              tinker__arena_trouble(d->arena));
}

/* A field of a record, its values in float or int64. */
typedef struct tinker__batch_s {
  tinker__str_t name;
  tinker__dtype_t dtype;
  const char *data;
  size_t wire_size; /* of an element as sent */
  size_t size;      /* of an element in data */
  const int64_t *offsets;
  size_t slices;
  const int64_t *trailing;
  size_t trailing_len;
  size_t per_row; /* product of trailing */
} tinker__batch_t;

/* Values in a narrower type than the result's. */
static int widen(const tinker__output_decoder_t *d, tinker__batch_t *b,
                 ProtobufCBinaryData bytes, bool bf16) {
  size_t n = bytes.len / b->wire_size;
  char *wide = n <= SIZE_MAX / b->size
                   ? tinker__arena_alloc(d->arena, n * b->size)
                   : NULL;
  if (!wide) return no_memory(d);
  for (size_t i = 0; i < n; i++) {
    if (bf16) {
      uint32_t bits = (uint32_t)bytes.data[2 * i] << 16 |
                      (uint32_t)bytes.data[2 * i + 1] << 24;
      memcpy(wide + 4 * i, &bits, 4);
    } else {
      int32_t narrow;
      memcpy(&narrow, bytes.data + 4 * i, 4);
      int64_t v = narrow;
      memcpy(wide + 8 * i, &v, 8);
    }
  }
  b->data = wide;
  return 0;
}

static int take_values(const tinker__output_decoder_t *d, tinker__batch_t *b,
                       const TinkerPublic__BatchedTensor *t) {
  bool bf16 = t->dtype == TINKER_PUBLIC__DTYPE__DTYPE_BFLOAT16;
  bool i32 = t->dtype == TINKER_PUBLIC__DTYPE__DTYPE_INT32;
  bool f32 = t->dtype == TINKER_PUBLIC__DTYPE__DTYPE_FLOAT32;
  if (!bf16 && !i32 && !f32 && t->dtype != TINKER_PUBLIC__DTYPE__DTYPE_INT64) {
    return fail(d, TINKER_EPROTO, "unknown dtype");
  }
  b->dtype = bf16 || f32 ? TINKER__DTYPE_F32 : TINKER__DTYPE_I64;
  b->size = tinker__dtype_size(b->dtype);
  b->wire_size = bf16 ? 2 : i32 ? 4 : b->size;
  if (t->data.len % b->wire_size) {
    return fail(d, TINKER_EPROTO, "data ends inside an element");
  }
  if (bf16 || i32) return widen(d, b, t->data, bf16);
  if (!t->data.len) {
    b->data = "";
    return 0;
  }
  b->data = tinker__proto_align(d->arena, t->data, b->size);
  return b->data ? 0 : no_memory(d);
}

static int check_offsets(const tinker__output_decoder_t *d,
                         const tinker__batch_t *b, size_t data_len) {
  for (size_t i = 0; i <= b->slices; i++) {
    int64_t at = b->offsets[i];
    if (at < 0 || (uint64_t)at > data_len || at % (int64_t)b->wire_size) {
      return fail(d, TINKER_EPROTO, "an offset is outside the data");
    }
    if (i && at < b->offsets[i - 1]) {
      return fail(d, TINKER_EPROTO, "offsets are not increasing");
    }
  }
  return 0;
}

static int take_trailing(const tinker__output_decoder_t *d, tinker__batch_t *b,
                         const TinkerPublic__BatchedTensor *t) {
  b->trailing = t->trailing_shape;
  b->trailing_len = t->n_trailing_shape;
  b->per_row = 1;
  if (b->trailing_len > TINKER__MAX_DIMS - 1) {
    return fail(d, TINKER_EPROTO, "too many dimensions");
  }
  for (size_t i = 0; i < b->trailing_len; i++) {
    if (b->trailing[i] < 0 || b->trailing[i] > TINKER__MAX_TENSOR_BYTES) {
      return fail(d, TINKER_EPROTO, "trailing_shape is out of range");
    }
    if (b->trailing[i] && b->per_row > SIZE_MAX / (size_t)b->trailing[i]) {
      return fail(d, TINKER_EPROTO, "trailing_shape is out of range");
    }
    b->per_row *= (size_t)b->trailing[i];
  }
  return 0;
}

static bool valid_name(tinker__str_t s) {
  return s.len <= TINKER__MAX_NAME && tinker__utf8_valid(s.ptr, s.len) &&
         !memchr(s.ptr, 0, s.len);
}

static int take_batch(const tinker__output_decoder_t *d, tinker__batch_t *b,
                      const TinkerPublic__BatchedTensorEntry *e) {
  const TinkerPublic__BatchedTensor *t = e->value;
  b->name = tinker__proto_text(e->key);
  if (!t) return fail(d, TINKER_EPROTO, "a field has no value");
  if (!valid_name(b->name)) {
    return fail(d, TINKER_EPROTO, "a field's name is too long or no UTF-8");
  }
  if (t->offsets.len % 8) return fail(d, TINKER_EPROTO, "offsets are no int64");
  b->offsets = tinker__proto_align(d->arena, t->offsets, 8);
  if (!b->offsets && t->offsets.len) return no_memory(d);
  b->slices = t->offsets.len ? t->offsets.len / 8 - 1 : 0;
  int rc = take_values(d, b, t);
  if (!rc && t->offsets.len) rc = check_offsets(d, b, t->data.len);
  return rc ? rc : take_trailing(d, b, t);
}

static int slice(const tinker__output_decoder_t *d, tinker__named_tensor_t *out,
                 const tinker__batch_t *b, size_t i) {
  size_t from = (size_t)b->offsets[i] / b->wire_size;
  size_t to = (size_t)b->offsets[i + 1] / b->wire_size;
  tinker__tensor_view_t *t = &out->tensor;
  out->name = b->name;
  t->dtype = b->dtype;
  t->data = b->data + from * b->size;
  t->count = to - from;
  t->ndim = 1 + b->trailing_len;
  if (b->per_row ? t->count % b->per_row : t->count) {
    return fail(d, TINKER_EPROTO, "a slice is no whole number of rows");
  }
  t->shape[0] = b->per_row ? (int64_t)(t->count / b->per_row) : 0;
  for (size_t k = 0; k < b->trailing_len; k++) t->shape[k + 1] = b->trailing[k];
  return 0;
}

/* The number of datums of a record: as stated, else the slices. */
static int record_size(const tinker__output_decoder_t *d,
                       const TinkerPublic__ArrayRecord *r, bool stated,
                       size_t *n) {
  if (r->num_datums < 0 || r->num_datums > TINKER__MAX_DATUMS) {
    return fail(d, TINKER_EPROTO, "num_datums is out of range");
  }
  *n = (size_t)r->num_datums;
  const TinkerPublic__BatchedTensor *t =
      !stated && r->n_fields ? r->fields[0]->value : NULL;
  if (t && t->offsets.len / 8 > 1) *n = t->offsets.len / 8 - 1;
  return 0;
}

static int take_record(tinker__output_decoder_t *d,
                       const TinkerPublic__ArrayRecord *r, size_t n) {
  tinker__output_datum_t *out = d->datums + d->count;
  size_t fields = r->n_fields;
  if (fields > TINKER__MAX_INPUTS) {
    return fail(d, TINKER_EOVERFLOW, "too many fields");
  }
  tinker__named_tensor_t *all =
      tinker__arena_array(d->arena, n * fields, sizeof(*all));
  if (!all) return no_memory(d);
  for (size_t f = 0; f < fields; f++) {
    tinker__batch_t b = {0};
    int rc = take_batch(d, &b, r->fields[f]);
    if (!rc && b.slices != n) {
      rc = fail(d, TINKER_EPROTO, "a field has another number of slices");
    }
    for (size_t i = 0; !rc && i < n; i++) {
      rc = slice(d, &all[i * fields + f], &b, i);
    }
    if (rc) return rc;
  }
  for (size_t i = 0; i < n; i++) {
    if (!tinker__tensors_sort(all + i * fields, fields)) {
      return fail(d, TINKER_EPROTO, "a field comes twice");
    }
    out[i].fields = all + i * fields;
    out[i].field_count = fields;
  }
  d->count += n;
  return 0;
}

static int take_records(tinker__output_decoder_t *d,
                        const TinkerPublic__ForwardBackwardOutput *m) {
  size_t total = 0, n;
  bool stated = false;
  for (size_t i = 0; i < m->n_loss_fn_outputs; i++) {
    stated |= m->loss_fn_outputs[i]->num_datums > 0;
  }
  for (size_t i = 0; i < m->n_loss_fn_outputs; i++) {
    int rc = record_size(d, m->loss_fn_outputs[i], stated, &n);
    if (rc) return rc;
    total += n;
    if (total > TINKER__MAX_DATUMS) {
      return fail(d, TINKER_EOVERFLOW, "too many datums");
    }
  }
  d->datums = tinker__arena_array(d->arena, total, sizeof(*d->datums));
  if (!d->datums) return no_memory(d);
  for (size_t i = 0; i < m->n_loss_fn_outputs; i++) {
    int rc = record_size(d, m->loss_fn_outputs[i], stated, &n);
    if (!rc) rc = take_record(d, m->loss_fn_outputs[i], n);
    if (rc) return rc;
  }
  return 0;
}

static int take_metrics(const tinker__output_decoder_t *d,
                        tinker__fb_output_t *out,
                        const TinkerPublic__ForwardBackwardOutput *m) {
  size_t n = m->n_metrics;
  if (n > TINKER__MAX_METRICS) {
    return fail(d, TINKER_EOVERFLOW, "too many metrics");
  }
  tinker__number_t *metrics =
      tinker__arena_array(d->arena, n, sizeof(*metrics));
  if (!metrics) return no_memory(d);
  for (size_t i = 0; i < n; i++) {
    tinker__str_t name = tinker__proto_text(m->metrics[i]->key);
    if (!valid_name(name)) {
      return fail(d, TINKER_EPROTO, "a metric's name is no UTF-8");
    }
    metrics[i].value = m->metrics[i]->value;
    metrics[i].name = tinker__arena_str(d->arena, name);
    if (!metrics[i].name) return no_memory(d);
  }
  out->metrics = metrics;
  out->metric_count = n;
  return 0;
}

/* With records only what follows the last colon counts. */
static tinker__str_t output_type(const char *type, bool records) {
  const char *colon = type && records ? strrchr(type, ':') : NULL;
  if (colon) type = colon + 1;
  return type && *type ? tinker__str(type) : TINKER__STR("ArrayRecord");
}

/* body is the arena's, and writable. */
static int take_output(tinker__fb_output_t *out, tinker__arena_t *arena,
                       tinker__str_t body, char *why, size_t why_len) {
  tinker__output_decoder_t d = {.arena = arena, .why = why, .why_len = why_len};
  int rc;
  TinkerPublic__ForwardBackwardOutput *m =
      tinker__proto_scan(&tinker_public__forward_backward_output__descriptor,
                         arena, body, &rc, why, why_len);
  if (!m) return rc;
  out->type = output_type(m->loss_fn_output_type, m->n_loss_fn_outputs > 0);
  if (!tinker__utf8_valid(out->type.ptr, out->type.len)) {
    return fail(&d, TINKER_EPROTO, "the type is no UTF-8");
  }
  rc = take_records(&d, m);
  out->datums = d.datums;
  out->datum_count = d.count;
  return rc ? rc : take_metrics(&d, out, m);
}

static int decode_own(tinker__fb_output_t *out, tinker__arena_t *arena,
                      tinker__str_t body, char *why, size_t why_len) {
  memset(out, 0, sizeof(*out));
  tinker__decode_budget(arena, body.len);
  int rc = take_output(out, arena, body, why, why_len);
  tinker__arena_allow_all(arena);
  return rc;
}

static int no_room(const tinker__arena_t *arena, char *why, size_t why_len) {
  return tinker__why(why, why_len, tinker__arena_error(arena), "the result: %s",
                     tinker__arena_trouble(arena));
}

int tinker__fb_output_decode(tinker__fb_output_t *out, tinker__arena_t *arena,
                             tinker__str_t body, char *why, size_t why_len) {
  char *copy = tinker__arena_alloc(arena, body.len);
  if (!copy) return no_room(arena, why, why_len);
  if (body.len) memcpy(copy, body.ptr, body.len);
  return decode_own(out, arena, (tinker__str_t){copy, body.len}, why, why_len);
}

int tinker__fb_output_take(tinker__fb_output_t *out, tinker__arena_t *arena,
                           char *body, size_t len, char *why, size_t why_len) {
  if (!tinker__arena_adopt(arena, body)) return no_room(arena, why, why_len);
  return decode_own(out, arena, (tinker__str_t){body ? body : "", len}, why,
                    why_len);
}
