/* fb_output_encode: the service's half of fb_output.h. */
#include <stdlib.h>
#include <string.h>
#include <tinker/error.h>

#include "wire/fb_output.h"
#include "wire/tensor.h"

static int by_name(const void *a, const void *b) {
  const tinker__named_tensor_t *x = *(const void *const *)a;
  const tinker__named_tensor_t *y = *(const void *const *)b;
  return tinker__str_cmp(x->name, y->name);
}

/* The fields of a datum, sorted by name. */
static const tinker__named_tensor_t **
sorted_fields(tinker__arena_t *arena, const tinker__output_datum_t *d) {
  const tinker__named_tensor_t **f =
      tinker__arena_array(arena, d->field_count, sizeof(*f));
  if (!f) return NULL;
  for (size_t i = 0; i < d->field_count; i++) f[i] = &d->fields[i];
  if (d->field_count) qsort(f, d->field_count, sizeof(*f), by_name);
  return f;
}

typedef struct tinker__output_encoder_s {
  tinker__arena_t arena;
  const tinker__fb_output_t *in;
  const tinker__named_tensor_t ***fields; /* per datum, sorted */
  TinkerPublic__ForwardBackwardOutput msg;
} tinker__output_encoder_t;

static bool same_names(const tinker__output_encoder_t *e, size_t a, size_t b) {
  if (e->in->datums[a].field_count != e->in->datums[b].field_count) {
    return false;
  }
  for (size_t i = 0; i < e->in->datums[a].field_count; i++) {
    if (!tinker__str_eq(e->fields[a][i]->name, e->fields[b][i]->name)) {
      return false;
    }
  }
  return true;
}

static bool same_trailing(const tinker__tensor_view_t *a,
                          const tinker__tensor_view_t *b) {
  if (a->dtype != b->dtype) return false;
  size_t na = a->ndim ? a->ndim : 1, nb = b->ndim ? b->ndim : 1;
  return na == nb && (na == 1 || !memcmp(a->shape + 1, b->shape + 1,
                                         (na - 1) * sizeof(*a->shape)));
}

/* True if the datums a and b fit into one record. */
static bool alike(const tinker__output_encoder_t *e, size_t a, size_t b) {
  for (size_t i = 0; i < e->in->datums[a].field_count; i++) {
    if (!same_trailing(&e->fields[a][i]->tensor, &e->fields[b][i]->tensor)) {
      return false;
    }
  }
  return true;
}

/* Field number f of the datums from..to-1 as one tensor. */
static TinkerPublic__BatchedTensor *batch(tinker__output_encoder_t *e,
                                          size_t from, size_t to, size_t f) {
  const tinker__tensor_view_t *first = &e->fields[from][f]->tensor;
  size_t size = tinker__dtype_size(first->dtype), bytes = 0;
  size_t trailing = first->ndim > 1 ? first->ndim - 1 : 0;
  for (size_t i = from; i < to; i++) {
    bytes += e->fields[i][f]->tensor.count * size;
  }
  TinkerPublic__BatchedTensor *t = tinker__arena_alloc(&e->arena, sizeof(*t));
  int64_t *offsets = tinker__arena_alloc(&e->arena, (to - from + 1) * 8);
  int64_t *shape = tinker__arena_array(&e->arena, trailing, sizeof(*shape));
  char *data = tinker__arena_alloc(&e->arena, bytes);
  if (!t || !offsets || !shape || !data) return NULL;
  tinker_public__batched_tensor__init(t);
  size_t at = 0;
  for (size_t i = from; i < to; i++) {
    const tinker__tensor_view_t *one = &e->fields[i][f]->tensor;
    offsets[i - from] = (int64_t)at;
    if (one->count) memcpy(data + at, one->data, one->count * size);
    at += one->count * size;
  }
  offsets[to - from] = (int64_t)at;
  for (size_t i = 0; i < trailing; i++) shape[i] = first->shape[i + 1];
  t->has_data = t->has_offsets = t->has_dtype = 1;
  t->data = tinker__proto_bytes(data, bytes);
  t->offsets = tinker__proto_bytes(offsets, (to - from + 1) * 8);
  t->dtype = first->dtype == TINKER__DTYPE_F32
                 ? TINKER_PUBLIC__DTYPE__DTYPE_FLOAT32
                 : TINKER_PUBLIC__DTYPE__DTYPE_INT64;
  t->n_trailing_shape = trailing;
  t->trailing_shape = shape;
  return t;
}

static TinkerPublic__ArrayRecord *record(tinker__output_encoder_t *e,
                                         size_t from, size_t to) {
  size_t n = e->in->datums[from].field_count;
  TinkerPublic__ArrayRecord *r = tinker__arena_alloc(&e->arena, sizeof(*r));
  TinkerPublic__BatchedTensorEntry **fields =
      tinker__arena_array(&e->arena, n, sizeof(*fields));
  if (!r || !fields) return NULL;
  tinker_public__array_record__init(r);
  r->has_num_datums = 1;
  r->num_datums = (int64_t)(to - from);
  r->n_fields = n;
  r->fields = fields;
  for (size_t i = 0; i < n; i++) {
    TinkerPublic__BatchedTensorEntry *t =
        tinker__arena_alloc(&e->arena, sizeof(*t));
    if (!t) return NULL;
    tinker_public__batched_tensor_entry__init(t);
    t->has_key = 1;
    t->key = tinker__proto_str(e->fields[from][i]->name);
    t->value = batch(e, from, to, i);
    if (!t->value) return NULL;
    fields[i] = t;
  }
  return r;
}

static int encode_records(tinker__output_encoder_t *e) {
  size_t n = e->in->datum_count;
  e->fields = tinker__arena_array(&e->arena, n, sizeof(*e->fields));
  e->msg.loss_fn_outputs =
      tinker__arena_array(&e->arena, n, sizeof(*e->msg.loss_fn_outputs));
  if (!e->fields || !e->msg.loss_fn_outputs) return TINKER_ENOMEM;
  for (size_t i = 0; i < n; i++) {
    e->fields[i] = sorted_fields(&e->arena, &e->in->datums[i]);
    if (!e->fields[i]) return TINKER_ENOMEM;
    if (!same_names(e, 0, i)) return TINKER_EINVAL;
  }
  for (size_t from = 0, to; from < n; from = to) {
    for (to = from + 1; to < n && alike(e, from, to); to++)
      ;
    TinkerPublic__ArrayRecord *r = record(e, from, to);
    if (!r) return TINKER_ENOMEM;
    e->msg.loss_fn_outputs[e->msg.n_loss_fn_outputs++] = r;
  }
  return 0;
}

static int by_metric(const void *a, const void *b) {
  const tinker__number_t *x = a, *y = b;
  return strcmp(x->name, y->name);
}

static int encode_metrics(tinker__output_encoder_t *e) {
  size_t n = e->in->metric_count;
  tinker__number_t *sorted = tinker__arena_array(&e->arena, n, sizeof(*sorted));
  TinkerPublic__NumberEntry *entries =
      tinker__arena_array(&e->arena, n, sizeof(*entries));
  e->msg.metrics = tinker__arena_array(&e->arena, n, sizeof(*e->msg.metrics));
  if (!sorted || !entries || !e->msg.metrics) return TINKER_ENOMEM;
  if (n) {
    memcpy(sorted, e->in->metrics, n * sizeof(*sorted));
    qsort(sorted, n, sizeof(*sorted), by_metric);
  }
  for (size_t i = 0; i < n; i++) {
    tinker_public__number_entry__init(&entries[i]);
    entries[i].has_key = 1;
    entries[i].key = tinker__proto_str(tinker__str(sorted[i].name));
    entries[i].has_value = 1;
    entries[i].value = sorted[i].value;
    e->msg.metrics[i] = &entries[i];
  }
  e->msg.n_metrics = n;
  return 0;
}

int tinker__fb_output_encode(tinker__buf_t *out, tinker__mem_t *mem,
                             const tinker__fb_output_t *in) {
  tinker__output_encoder_t e = {.in = in};
  tinker__arena_init(&e.arena, mem);
  tinker_public__forward_backward_output__init(&e.msg);
  e.msg.loss_fn_output_type = tinker__arena_str(&e.arena, in->type);
  int rc = e.msg.loss_fn_output_type ? 0 : TINKER_ENOMEM;
  if (!rc) rc = encode_records(&e);
  if (!rc) rc = encode_metrics(&e);
  if (!rc) rc = tinker__proto_pack(out, &e.msg);
  tinker__arena_free(&e.arena);
  return rc;
}

int tinker__fb_output_encode_json(tinker__buf_t *out,
                                  const tinker__fb_output_t *in) {
  tinker__jsonw_t w;
  tinker__jsonw_init(&w, out);
  tinker__jsonw_begin_object(&w);
  tinker__jsonw_key(&w, "loss_fn_output_type");
  tinker__jsonw_str(&w, in->type);
  tinker__jsonw_key(&w, "loss_fn_outputs");
  tinker__jsonw_begin_array(&w);
  for (size_t i = 0; i < in->datum_count; i++) {
    tinker__jsonw_begin_object(&w);
    for (size_t f = 0; f < in->datums[i].field_count; f++) {
      tinker__jsonw_keyn(&w, in->datums[i].fields[f].name);
      tinker__tensor_to_json(&w, &in->datums[i].fields[f].tensor);
    }
    tinker__jsonw_end_object(&w);
  }
  tinker__jsonw_end_array(&w);
  tinker__jsonw_key(&w, "metrics");
  tinker__jsonw_begin_object(&w);
  for (size_t i = 0; i < in->metric_count; i++) {
    tinker__jsonw_key(&w, in->metrics[i].name);
    tinker__jsonw_f64(&w, in->metrics[i].value);
  }
  tinker__jsonw_end_object(&w);
  tinker__jsonw_end_object(&w);
  return tinker__buf_error(out);
}
