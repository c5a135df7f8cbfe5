/* fb_encode: the client's half of fb_request.h. The tensors are borrowed by the
 * message. Those with an owner stay where they are, the others are copied once,
 * into the body. */
#include <stdlib.h>
#include <string.h>
#include <tinker/error.h>

#include "wire/body_write.h"
#include "wire/fb_request.h"
#include "wire/tensor.h"

/* An array that stays where it is. */
typedef struct tinker__loan_s {
  const void *data;
  size_t len;
  void *owner;
} tinker__loan_t;

typedef struct tinker__fb_encoder_s {
  tinker__arena_t arena;
  tinker__loan_t *loans; /* in the order of the message */
  size_t loan_count, loan_cap, loan_bytes;
  const tinker__fb_view_t *view;
  TinkerPublic__ForwardBackwardRequest msg;
  char *why;
  size_t why_len;
} tinker__fb_encoder_t;

static int no_memory(const tinker__fb_encoder_t *e) {
  return tinker__why(e->why, e->why_len, TINKER_ENOMEM,
                     "no memory to encode the request");
}

static int check_name(tinker__str_t name, const tinker__where_t *at) {
  if (!name.len || name.len > TINKER__MAX_NAME ||
      !tinker__utf8_valid(name.ptr, name.len) ||
      memchr(name.ptr, 0, name.len)) {
    return tinker__where(at, TINKER_EINVAL,
                         "a name must be 1 to %d bytes of UTF-8",
                         TINKER__MAX_NAME);
  }
  return 0;
}

static bool lend(tinker__fb_encoder_t *e, const void *data, size_t len,
                 void *owner) {
  if (!owner || len < TINKER__BODY_SHARE_MIN) return true;
  e->loans = tinker__arena_grow(&e->arena, e->loans, e->loan_count,
                                &e->loan_cap, sizeof(*e->loans));
  if (!e->loans) return false;
  e->loans[e->loan_count++] = (tinker__loan_t){data, len, owner};
  e->loan_bytes += len;
  return true;
}

static bool encode_text(tinker__fb_encoder_t *e, TinkerPublic__Chunk *c,
                        const tinker__text_chunk_t *text) {
  TinkerPublic__EncodedTextChunk *t =
      tinker__arena_alloc(&e->arena, sizeof(*t));
  if (!t) return false;
  tinker_public__encoded_text_chunk__init(t);
  t->has_tokens = 1;
  t->tokens = tinker__proto_bytes(text->tokens, text->count * 4);
  c->chunk_case = TINKER_PUBLIC__CHUNK__CHUNK_ENCODED_TEXT;
  c->encoded_text = t;
  return lend(e, text->tokens, text->count * 4, text->owner);
}

static TinkerPublic__Chunk *encode_chunk(tinker__fb_encoder_t *e,
                                         const tinker__chunk_view_t *view) {
  TinkerPublic__Chunk *c = tinker__arena_alloc(&e->arena, sizeof(*c));
  bool ok = false;
  if (!c) return NULL;
  tinker_public__chunk__init(c);
  switch (view->kind) {
  case TINKER__CHUNK_TEXT: ok = encode_text(e, c, &view->text); break;
  }
  return ok ? c : NULL;
}

static int encode_chunks(tinker__fb_encoder_t *e, TinkerPublic__Datum *d,
                         const tinker__datum_view_t *view) {
  d->n_model_input = view->chunk_count;
  d->model_input = tinker__arena_array(&e->arena, view->chunk_count,
                                       sizeof(*d->model_input));
  if (!d->model_input) return no_memory(e);
  for (size_t i = 0; i < view->chunk_count; i++) {
    d->model_input[i] = encode_chunk(e, &view->chunks[i]);
    if (!d->model_input[i]) return no_memory(e);
  }
  return 0;
}

static TinkerPublic__TensorEntry *
encode_entry(tinker__fb_encoder_t *e, const tinker__named_tensor_t *named) {
  const tinker__tensor_view_t *v = &named->tensor;
  TinkerPublic__TensorEntry *t = tinker__arena_alloc(&e->arena, sizeof(*t));
  if (!t) return NULL;
  tinker_public__tensor_entry__init(t);
  t->has_key = 1;
  t->key = tinker__proto_str(named->name);
  t->value = tinker__tensor_to_proto(&e->arena, v);
  bool lent =
      lend(e, v->data, v->count * tinker__dtype_size(v->dtype), v->owner);
  return t->value && lent ? t : NULL;
}

static int encode_inputs(tinker__fb_encoder_t *e, TinkerPublic__Datum *d,
                         const tinker__datum_view_t *view, size_t index) {
  size_t n = view->input_count;
  tinker__where_t at = {"data",          index,  "loss_fn_inputs",
                        TINKER__STR(""), e->why, e->why_len};
  tinker__named_tensor_t *sorted =
      tinker__arena_array(&e->arena, n, sizeof(*sorted));
  d->n_loss_fn_inputs = n;
  d->loss_fn_inputs =
      tinker__arena_array(&e->arena, n, sizeof(*d->loss_fn_inputs));
  if (!sorted || !d->loss_fn_inputs) return no_memory(e);
  if (n) memcpy(sorted, view->inputs, n * sizeof(*sorted));
  if (!tinker__tensors_sort(sorted, n)) {
    return tinker__where(&at, TINKER_EINVAL, "a name comes twice");
  }
  for (size_t i = 0; i < n; i++) {
    int rc = check_name(sorted[i].name, &at);
    at.name = sorted[i].name;
    if (!rc) rc = tinker__tensor_check(&sorted[i].tensor, &at);
    if (rc) return rc;
    at.name = TINKER__STR("");
    d->loss_fn_inputs[i] = encode_entry(e, &sorted[i]);
    if (!d->loss_fn_inputs[i]) return no_memory(e);
  }
  return 0;
}

static int encode_datum(tinker__fb_encoder_t *e, size_t index) {
  TinkerPublic__Datum *d = tinker__arena_alloc(&e->arena, sizeof(*d));
  if (!d) return no_memory(e);
  tinker_public__datum__init(d);
  e->msg.data[index] = d;
  int rc = encode_chunks(e, d, &e->view->datums[index]);
  return rc ? rc : encode_inputs(e, d, &e->view->datums[index], index);
}

static int encode_data(tinker__fb_encoder_t *e) {
  size_t n = e->view->datum_count;
  e->msg.data = tinker__arena_array(&e->arena, n, sizeof(*e->msg.data));
  e->msg.n_data = n;
  if (!e->msg.data) return no_memory(e);
  for (size_t i = 0; i < n; i++) {
    int rc = encode_datum(e, i);
    if (rc) return rc;
  }
  return 0;
}

static int by_name(const void *a, const void *b) {
  const tinker__config_entry_t *x = a, *y = b;
  return tinker__str_cmp(x->name, y->name);
}

/* A number goes into both maps, a text only into the second. */
static int encode_config_entry(tinker__fb_encoder_t *e,
                               const tinker__config_entry_t *c) {
  TinkerPublic__NumberEntry *n = tinker__arena_alloc(&e->arena, sizeof(*n));
  TinkerPublic__LossConfigEntry *v = tinker__arena_alloc(&e->arena, sizeof(*v));
  TinkerPublic__LossConfigValue *x = tinker__arena_alloc(&e->arena, sizeof(*x));
  if (!n || !v || !x) return no_memory(e);
  tinker_public__number_entry__init(n);
  tinker_public__loss_config_entry__init(v);
  tinker_public__loss_config_value__init(x);
  n->has_key = v->has_key = 1;
  n->key = v->key = tinker__proto_str(c->name);
  v->value = x;
  e->msg.loss_fn_config_v2[e->msg.n_loss_fn_config_v2++] = v;
  if (c->is_text) {
    x->value_case = TINKER_PUBLIC__LOSS_CONFIG_VALUE__VALUE_TEXT;
    x->text = tinker__proto_str(c->text);
    return 0;
  }
  x->value_case = TINKER_PUBLIC__LOSS_CONFIG_VALUE__VALUE_NUMBER;
  x->number = c->number;
  n->has_value = 1;
  n->value = c->number;
  e->msg.loss_fn_config[e->msg.n_loss_fn_config++] = n;
  return 0;
}

static int check_config(const tinker__config_entry_t *c, size_t i,
                        const tinker__where_t *at) {
  int rc = check_name(c[i].name, at);
  if (rc) return rc;
  if (i && tinker__str_eq(c[i - 1].name, c[i].name)) {
    return tinker__where(at, TINKER_EINVAL, "a name comes twice");
  }
  if (c[i].is_text && (!tinker__utf8_valid(c[i].text.ptr, c[i].text.len) ||
                       memchr(c[i].text.ptr, 0, c[i].text.len))) {
    return tinker__where(at, TINKER_EINVAL, "a text is no UTF-8");
  }
  return 0;
}

static int encode_config(tinker__fb_encoder_t *e) {
  size_t n = e->view->config_count;
  tinker__where_t at = {"loss_fn_config", SIZE_MAX, NULL,
                        TINKER__STR(""),  e->why,   e->why_len};
  tinker__config_entry_t *sorted =
      tinker__arena_array(&e->arena, n, sizeof(*sorted));
  e->msg.loss_fn_config =
      tinker__arena_array(&e->arena, n, sizeof(*e->msg.loss_fn_config));
  e->msg.loss_fn_config_v2 =
      tinker__arena_array(&e->arena, n, sizeof(*e->msg.loss_fn_config_v2));
  if (!sorted || !e->msg.loss_fn_config || !e->msg.loss_fn_config_v2) {
    return no_memory(e);
  }
  if (n) {
    memcpy(sorted, e->view->config, n * sizeof(*sorted));
    qsort(sorted, n, sizeof(*sorted), by_name);
  }
  for (size_t i = 0; i < n; i++) {
    int rc = check_config(sorted, i, &at);
    if (!rc) rc = encode_config_entry(e, &sorted[i]);
    if (rc) return rc;
  }
  return 0;
}

static int encode_message(tinker__fb_encoder_t *e) {
  tinker__where_t at = {"loss_fn",       SIZE_MAX, NULL,
                        TINKER__STR(""), e->why,   e->why_len};
  int rc = check_name(e->view->loss_fn, &at);
  if (rc) return rc;
  tinker_public__forward_backward_request__init(&e->msg);
  e->msg.has_loss_fn = 1;
  e->msg.loss_fn = tinker__proto_str(e->view->loss_fn);
  e->msg.has_forward_only = e->msg.forward_only = e->view->forward_only;
  rc = encode_data(e);
  return rc ? rc : encode_config(e);
}

/* What protobuf-c packs into: it hands over each array as it lies. */
typedef struct tinker__fb_sink_s {
  ProtobufCBuffer base;
  tinker__body_writer_t body;
  const tinker__loan_t *loan, *end; /* the next one */
} tinker__fb_sink_t;

static void append(ProtobufCBuffer *base, size_t len, const uint8_t *data) {
  tinker__fb_sink_t *s = (tinker__fb_sink_t *)(void *)base;
  void *owner = NULL;
  if (s->loan < s->end && s->loan->data == data && s->loan->len == len) {
    owner = s->loan++->owner;
  }
  tinker__body_bytes(&s->body, data, len, owner);
}

static int pack(tinker__fb_encoder_t *e, tinker__wire_body_t *out,
                tinker__mem_t *mem) {
  size_t len = protobuf_c_message_get_packed_size(&e->msg.base);
  tinker__fb_sink_t s = {
      .base = {append},
      .loan = e->loans,
      .end = e->loans ? e->loans + e->loan_count : NULL,
  };
  if (len > INT32_MAX) return TINKER_EOVERFLOW;
  tinker__body_begin(&s.body, out, mem, TINKER__BODY_PROTO, e->view->model_id,
                     len - e->loan_bytes);
  protobuf_c_message_pack_to_buffer(&e->msg.base, &s.base);
  return tinker__body_end(&s.body);
}

int tinker__fb_request_encode(tinker__wire_body_t *out, tinker__mem_t *mem,
                              const tinker__fb_view_t *view, char *why,
                              size_t why_len) {
  tinker__fb_encoder_t e = {.view = view, .why = why, .why_len = why_len};
  tinker__arena_init(&e.arena, mem);
  tinker__wire_body_init(out, mem);
  int rc = encode_message(&e);
  if (!rc) rc = pack(&e, out, mem);
  for (size_t i = 0; !rc && i < view->datum_count; i++) {
    out->estimate += tinker__datum_estimate(&view->datums[i]);
  }
  tinker__arena_free(&e.arena);
  return rc;
}

uint64_t tinker__datum_estimate(const tinker__datum_view_t *datum) {
  uint64_t sum =
      4 * (uint64_t)tinker__chunks_length(datum->chunks, datum->chunk_count);
  for (size_t i = 0; i < datum->input_count; i++) {
    const tinker__tensor_view_t *t = &datum->inputs[i].tensor;
    sum += (uint64_t)t->count * tinker__dtype_size(t->dtype);
    if (t->crow) sum += 8 * ((uint64_t)t->shape[0] + 1 + t->count);
  }
  return sum;
}
