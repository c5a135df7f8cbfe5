/* fb_decode: the service's half of fb_request.h, protobuf. The unpacked
 * message lives in the arena and the views point into it. */
#include <stdlib.h>
#include <string.h>
#include <tinker/error.h>

#include "wire/fb_decode.h"
#include "wire/zstd.h"

int tinker__fb_fail(const tinker__fb_decoder_t *d, int code, const char *top,
                    const char *text) {
  return tinker__why(d->why, d->why_len, code, "%s: %s", top, text);
}

int tinker__fb_no_memory(const tinker__fb_decoder_t *d) {
  return tinker__why(d->why, d->why_len, tinker__arena_error(d->arena),
                     "the request: %s", tinker__arena_trouble(d->arena));
}

int tinker__fb_name(const tinker__fb_decoder_t *d, const char *top,
                    tinker__str_t name) {
  if (!name.len || name.len > TINKER__MAX_NAME ||
      !tinker__utf8_valid(name.ptr, name.len) ||
      memchr(name.ptr, 0, name.len)) {
    return tinker__why(d->why, d->why_len, d->code,
                       "%s: a name must be 1 to %d bytes of UTF-8 without NUL",
                       top, TINKER__MAX_NAME);
  }
  return 0;
}

static int decode_chunk(tinker__fb_decoder_t *d, tinker__chunk_view_t *out,
                        const TinkerPublic__Chunk *c,
                        const tinker__where_t *at) {
  if (c->chunk_case != TINKER_PUBLIC__CHUNK__CHUNK_ENCODED_TEXT) {
    return tinker__where(at, TINKER_EINVAL,
                         "only text chunks are supported, no image or audio");
  }
  ProtobufCBinaryData bytes = c->encoded_text->tokens;
  if (bytes.len % 4) {
    return tinker__where(at, d->code, "%zu bytes of tokens are no int32",
                         bytes.len);
  }
  *out = tinker__text_chunk((const int32_t *)(const void *)bytes.data,
                            bytes.len / 4);
  return 0;
}

static int decode_chunks(tinker__fb_decoder_t *d, tinker__datum_view_t *out,
                         const TinkerPublic__Datum *in, size_t index) {
  tinker__where_t at = {"data",          index,  "model_input",
                        TINKER__STR(""), d->why, d->why_len};
  if (in->n_model_input > TINKER__MAX_CHUNKS) {
    return tinker__where(&at, TINKER_EOVERFLOW, "more than %d chunks",
                         TINKER__MAX_CHUNKS);
  }
  tinker__chunk_view_t *chunks =
      tinker__arena_array(d->arena, in->n_model_input, sizeof(*chunks));
  if (!chunks) return tinker__fb_no_memory(d);
  for (size_t i = 0; i < in->n_model_input; i++) {
    int rc = decode_chunk(d, &chunks[i], in->model_input[i], &at);
    if (rc) return rc;
  }
  out->chunks = chunks;
  out->chunk_count = in->n_model_input;
  if (tinker__chunks_length(chunks, out->chunk_count) > TINKER__MAX_TOKENS) {
    return tinker__where(&at, TINKER_EOVERFLOW, "more than %u tokens",
                         TINKER__MAX_TOKENS);
  }
  return 0;
}

static int decode_inputs(tinker__fb_decoder_t *d, tinker__datum_view_t *out,
                         const TinkerPublic__Datum *in, size_t index) {
  TinkerPublic__Tensor empty;
  size_t n = in->n_loss_fn_inputs;
  tinker__where_t at = {"data",          index,  "loss_fn_inputs",
                        TINKER__STR(""), d->why, d->why_len};
  tinker_public__tensor__init(&empty);
  if (n > TINKER__MAX_INPUTS) {
    return tinker__where(&at, TINKER_EOVERFLOW, "more than %d tensors",
                         TINKER__MAX_INPUTS);
  }
  tinker__named_tensor_t *inputs =
      tinker__arena_array(d->arena, n, sizeof(*inputs));
  if (!inputs) return tinker__fb_no_memory(d);
  for (size_t i = 0; i < n; i++) {
    const TinkerPublic__TensorEntry *e = in->loss_fn_inputs[i];
    inputs[i].name = tinker__proto_text(e->key);
    int rc = tinker__fb_name(d, "data.loss_fn_inputs", inputs[i].name);
    at.name = inputs[i].name;
    if (!rc) {
      rc = tinker__tensor_from_proto(&inputs[i].tensor, d->arena,
                                     e->value ? e->value : &empty, 0, &at);
    }
    if (rc) return rc;
  }
  out->inputs = inputs;
  out->input_count = n;
  return 0;
}

int tinker__fb_sort_inputs(const tinker__fb_decoder_t *d,
                           tinker__datum_view_t *datum, size_t index) {
  tinker__where_t at = {"data",          index,  "loss_fn_inputs",
                        TINKER__STR(""), d->why, d->why_len};
  tinker__named_tensor_t *inputs =
      (tinker__named_tensor_t *)(uintptr_t)datum->inputs;
  if (!tinker__tensors_sort(inputs, datum->input_count)) {
    return tinker__where(&at, d->code, "a name comes twice");
  }
  return 0;
}

static int decode_data(tinker__fb_decoder_t *d,
                       const TinkerPublic__ForwardBackwardRequest *m) {
  if (m->n_data > TINKER__MAX_DATUMS) {
    return tinker__fb_fail(d, TINKER_EOVERFLOW, "data", "too many datums");
  }
  tinker__datum_view_t *datums =
      tinker__arena_array(d->arena, m->n_data, sizeof(*datums));
  if (!datums) return tinker__fb_no_memory(d);
  for (size_t i = 0; i < m->n_data; i++) {
    int rc = decode_chunks(d, &datums[i], m->data[i], i);
    if (!rc) rc = decode_inputs(d, &datums[i], m->data[i], i);
    if (!rc) rc = tinker__fb_sort_inputs(d, &datums[i], i);
    if (rc) return rc;
  }
  d->view->datums = datums;
  d->view->datum_count = m->n_data;
  return 0;
}

static int by_name(const void *a, const void *b) {
  const tinker__config_entry_t *x = a, *y = b;
  return tinker__str_cmp(x->name, y->name);
}

int tinker__fb_set_config(const tinker__fb_decoder_t *d,
                          tinker__config_entry_t *c, size_t n) {
  if (n) qsort(c, n, sizeof(*c), by_name);
  for (size_t i = 0; i < n; i++) {
    int rc = tinker__fb_name(d, "loss_fn_config", c[i].name);
    if (rc) return rc;
    if (i && tinker__str_eq(c[i - 1].name, c[i].name)) {
      return tinker__fb_fail(d, d->code, "loss_fn_config",
                             "a name comes twice");
    }
    if (c[i].is_text && (c[i].text.len > TINKER__MAX_TEXT ||
                         !tinker__utf8_valid(c[i].text.ptr, c[i].text.len) ||
                         memchr(c[i].text.ptr, 0, c[i].text.len))) {
      return tinker__fb_fail(d, d->code, "loss_fn_config",
                             "a text is too long or no UTF-8");
    }
  }
  d->view->config = c;
  d->view->config_count = n;
  return 0;
}

static int take_value(const tinker__fb_decoder_t *d,
                      tinker__config_entry_t *out,
                      const TinkerPublic__LossConfigEntry *e) {
  out->name = tinker__proto_text(e->key);
  out->text = TINKER__STR("");
  if (!e->value || e->value->value_case ==
                       TINKER_PUBLIC__LOSS_CONFIG_VALUE__VALUE__NOT_SET) {
    return tinker__fb_fail(d, d->code, "loss_fn_config", "a value is missing");
  }
  out->is_text =
      e->value->value_case == TINKER_PUBLIC__LOSS_CONFIG_VALUE__VALUE_TEXT;
  if (out->is_text) {
    out->text = tinker__proto_text(e->value->text);
  } else {
    out->number = e->value->number;
  }
  return 0;
}

/* The second map holds all there is, where the client knows it. */
static int decode_config(tinker__fb_decoder_t *d,
                         const TinkerPublic__ForwardBackwardRequest *m) {
  bool v2 = m->n_loss_fn_config_v2 > 0;
  size_t n = v2 ? m->n_loss_fn_config_v2 : m->n_loss_fn_config;
  if (n > TINKER__MAX_CONFIG) {
    return tinker__fb_fail(d, TINKER_EOVERFLOW, "loss_fn_config",
                           "too many entries");
  }
  tinker__config_entry_t *c = tinker__arena_array(d->arena, n, sizeof(*c));
  if (!c) return tinker__fb_no_memory(d);
  for (size_t i = 0; i < n; i++) {
    int rc = 0;
    if (v2) {
      rc = take_value(d, &c[i], m->loss_fn_config_v2[i]);
    } else {
      c[i] = (tinker__config_entry_t){
          .name = tinker__proto_text(m->loss_fn_config[i]->key),
          .number = m->loss_fn_config[i]->value,
          .text = TINKER__STR(""),
      };
    }
    if (rc) return rc;
  }
  return tinker__fb_set_config(d, c, n);
}

static int decode_proto(tinker__fb_decoder_t *d, tinker__str_t body) {
  int rc;
  TinkerPublic__ForwardBackwardRequest *m =
      tinker__proto_unpack(&tinker_public__forward_backward_request__descriptor,
                           d->arena, body, &rc, d->why, d->why_len);
  if (!m) return rc;
  d->view->model_id = tinker__proto_text(m->model_id);
  d->view->seq_id = m->seq_id;
  d->request->head = TINKER__HEAD_READ;
  d->request->has_model_id = d->request->has_seq_id = true;
  d->view->loss_fn = tinker__proto_text(m->loss_fn);
  d->view->forward_only = m->forward_only;
  rc = decode_data(d, m);
  return rc ? rc : decode_config(d, m);
}

static int inflate(tinker__fb_decoder_t *d, tinker__str_t *body,
                   size_t max_bytes) {
  size_t len;
  int rc = tinker__zstd_length(*body, max_bytes, &len, d->why, d->why_len);
  if (rc) return rc;
  tinker__decode_budget(d->arena, len + len / 8);
  char *plain = tinker__arena_alloc(d->arena, len);
  if (!plain) return tinker__fb_no_memory(d);
  rc = tinker__zstd_unpack(*body, plain, len, d->why, d->why_len);
  *body = (tinker__str_t){plain, len};
  return rc;
}

static int check_ids(const tinker__fb_decoder_t *d) {
  const tinker__fb_view_t *v = d->view;
  int rc = tinker__fb_name(d, "model_id", v->model_id);
  if (!rc) rc = tinker__fb_name(d, "loss_fn", v->loss_fn);
  if (!rc && (v->seq_id < 0 || v->seq_id > INT32_MAX)) {
    rc = tinker__why(d->why, d->why_len, d->code,
                     "seq_id: must be 0 to %d, not %lld", INT32_MAX,
                     (long long)v->seq_id);
  }
  return rc;
}

int tinker__fb_request_decode(tinker__fb_request_t *out, tinker__arena_t *arena,
                              tinker__str_t body, tinker__fb_format_t format,
                              bool forward_only, size_t max_bytes, char *why,
                              size_t why_len) {
  tinker__fb_decoder_t d = {arena, out,     &out->view,
                            why,   why_len, TINKER_EPROTO};
  int rc = 0;
  memset(out, 0, sizeof(*out));
  out->view.forward_only = forward_only;
  out->view.model_id = out->view.loss_fn = TINKER__STR("");
  if (body.len > max_bytes) {
    return tinker__fb_fail(&d, TINKER_EOVERFLOW, "body", "too long");
  }
  tinker__decode_budget(arena, body.len);
  if (format == TINKER__FB_JSON) {
    d.code = TINKER_EINVAL;
    rc = tinker__fb_decode_json(&d, body);
  } else {
    if (format == TINKER__FB_PROTO_ZSTD) rc = inflate(&d, &body, max_bytes);
    if (!rc) rc = decode_proto(&d, body);
  }
  if (!rc) rc = check_ids(&d);
  if (!rc && tinker__fb_digest(&out->view, arena->mem, out->digest)) {
    rc = tinker__fb_fail(&d, TINKER_ENOMEM, "body", "no memory for a digest");
  }
  tinker__arena_allow_all(arena);
  return rc;
}
