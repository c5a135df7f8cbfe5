/* work_fb: turns a forward_backward message into the engine's form. Every
 * length, id and value is checked here and refused by its field's name, since
 * an engine would train on bad ones without a word. Pure. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include <tinker/error.h>

#include "service/parse/work.h"
#include "wire/fb_request.h"

#define MAX_BODY ((size_t)1 << 30)

/* --- Head ----------------------------------------------------------------- */

static bool take_varint(const char **at, const char *end, uint64_t *out) {
  *out = 0;
  for (unsigned shift = 0; *at < end && shift < 64; shift += 7) {
    uint64_t byte = (unsigned char)*(*at)++;
    *out |= (byte & 0x7f) << shift;
    if (byte < 0x80) return true;
  }
  return false;
}

/* Reads the next field of a message. False at the end of the message or when
 * the field is malformed. */
static bool take_field(const char **at, const char *end, uint64_t *tag,
                       uint64_t *number, tinker__str_t *bytes) {
  uint64_t len = 0;
  *bytes = TINKER__STR("");
  if (!take_varint(at, end, tag)) return false;
  switch (*tag & 7) {
  case 0: return take_varint(at, end, number);
  case 1: len = 8; break;
  case 5: len = 4; break;
  case 2:
    if (!take_varint(at, end, &len)) return false;
    break;
  default: return false;
  }
  if (len > (uint64_t)(end - *at)) return false;
  *bytes = (tinker__str_t){*at, (size_t)len};
  *at += len;
  return true;
}

static int check_id(tinker__str_t id, tinker__svc_head_t *out, char *why,
                    size_t why_len) {
  if (id.len == 0) {
    return tinker__why(why, why_len, TINKER_EINVAL, "model_id is required");
  }
  if (id.len >= sizeof out->model_id || memchr(id.ptr, 0, id.len) ||
      !tinker__utf8_valid(id.ptr, id.len)) {
    return tinker__why(why, why_len, TINKER_EINVAL, "model_id is malformed");
  }
  memcpy(out->model_id, id.ptr, id.len);
  out->model_id[id.len] = 0;
  return 0;
}

int tinker__svc_work_proto_head(tinker__str_t body, tinker__svc_head_t *out,
                                char *why, size_t why_len) {
  const char *at = body.ptr, *end = body.ptr + body.len;
  uint64_t tag = 0, number = 0;
  tinker__str_t bytes, id = TINKER__STR("");
  memset(out, 0, sizeof *out);
  while (at < end) {
    if (!take_field(&at, end, &tag, &number, &bytes)) {
      return tinker__why(why, why_len, TINKER_EPROTO,
                         "the body is no ForwardBackwardRequest: malformed at "
                         "byte %zu",
                         (size_t)(at - body.ptr));
    }
    if (tag == (1 << 3 | 2)) id = bytes;
    if (tag == (2 << 3 | 0)) out->seq = (int32_t)(uint32_t)number;
  }
  return check_id(id, out, why, why_len);
}

/* --- Reading -------------------------------------------------------------- */

/* Sets the head. Fails when the id is missing or malformed. */
static int set_head(tinker__svc_call_t *c, tinker__str_t id, int64_t seq,
                    char *why, size_t why_len) {
  tinker__svc_head_t h;
  int rc = check_id(id, &h, why, why_len);
  if (rc != 0) {
    c->head = TINKER__HEAD_WRONG;
    return rc;
  }
  c->model_id = tinker__arena_str(&c->arena, tinker__str(h.model_id));
  if (!c->model_id) return TINKER_ENOMEM;
  c->head = TINKER__HEAD_READ;
  c->has_seq_id = true;
  c->seq_id = seq;
  return 0;
}

/* Finds the head of a message that can't be unpacked, if it has one. */
static int find_head(tinker__svc_call_t *c, tinker__str_t body) {
  char why[sizeof c->why];
  tinker__svc_head_t h;
  int rc = tinker__svc_work_proto_head(body, &h, why, sizeof why);
  if (rc == 0) {
    rc = set_head(c, tinker__str(h.model_id), h.seq, why, sizeof why);
  }
  return rc == 0 ? c->rc : tinker__why(c->why, sizeof c->why, rc, "%s", why);
}

void tinker__svc_call_read_fb(tinker__svc_call_t *c, int format,
                              tinker__str_t body) {
  tinker__fb_request_t *q = &c->message.fb;
  bool proto = format == TINKER__FORMAT_PROTO;
  c->rc = tinker__fb_request_decode(q, &c->arena, body,
                                    proto ? TINKER__FB_PROTO : TINKER__FB_JSON,
                                    false, MAX_BODY, c->why, sizeof c->why);
  c->head = q->head;
  memcpy(c->digest, q->digest, sizeof c->digest);
  if (c->rc == TINKER_ENOMEM) return;
  if (c->head == TINKER__HEAD_UNREAD && proto) {
    c->rc = find_head(c, body);
    return;
  }
  if (c->head != TINKER__HEAD_READ) return;
  char why[sizeof c->why];
  int rc = set_head(c, q->view.model_id, q->view.seq_id, why, sizeof why);
  if (rc != 0) c->rc = tinker__why(c->why, sizeof c->why, rc, "%s", why);
  c->has_seq_id = q->has_seq_id;
}

/* --- Loss ----------------------------------------------------------------- */

/* A negative default means that the option is required. */
static const struct loss {
  const char *name;
  tinker__eng_loss_config_t config;
  bool clips, beta;
} losses[] = {
    {"cross_entropy", {.kind = TINKER__LOSS_CROSS_ENTROPY}, false, false},
    {"importance_sampling",
     {.kind = TINKER__LOSS_IMPORTANCE_SAMPLING},
     false,
     false},
    {"ppo", {TINKER__LOSS_PPO, 0.8, 1.2, 0}, true, false},
    {"cispo", {TINKER__LOSS_CISPO, 0.0, 4.0, 0}, true, false},
    {"dro", {TINKER__LOSS_DRO, 0, 0, -1}, false, true},
    {"gspo", {TINKER__LOSS_GSPO, 0.8, 1.2, 0}, true, false}};

static double *option(tinker__eng_loss_config_t *to, const struct loss *l,
                      tinker__str_t name) {
  if (l->beta && tinker__str_eqs(name, "beta")) return &to->beta;
  if (!l->clips) return NULL;
  if (tinker__str_eqs(name, "clip_low_threshold")) return &to->clip_low;
  if (tinker__str_eqs(name, "clip_high_threshold")) return &to->clip_high;
  return NULL;
}

static int take_config(tinker__eng_loss_config_t *loss, const struct loss *l,
                       const tinker__fb_view_t *v, char *why, size_t why_len) {
  *loss = l->config;
  for (size_t i = 0; i < v->config_count; i++) {
    const tinker__config_entry_t *c = &v->config[i];
    double *at = option(loss, l, c->name);
    if (!at) {
      return tinker__why(why, why_len, TINKER_EINVAL,
                         "loss_fn_config.%.*s is not an option of %.*s",
                         (int)c->name.len, c->name.ptr, (int)v->loss_fn.len,
                         v->loss_fn.ptr);
    }
    if (c->is_text || !isfinite(c->number) || c->number < 0) {
      return tinker__why(why, why_len, TINKER_EINVAL,
                         "loss_fn_config.%.*s must be a number from 0 up",
                         (int)c->name.len, c->name.ptr);
    }
    *at = c->number;
  }
  if (loss->beta < 0) {
    return tinker__why(why, why_len, TINKER_EINVAL,
                       "loss_fn_config.beta: required by %s", l->name);
  }
  if (loss->clip_low <= loss->clip_high) return 0;
  return tinker__why(why, why_len, TINKER_EINVAL,
                     "loss_fn_config.clip_low_threshold is above "
                     "clip_high_threshold");
}

static int take_loss(tinker__eng_loss_config_t *loss,
                     const tinker__fb_view_t *v, char *why, size_t why_len) {
  for (size_t i = 0; i < sizeof losses / sizeof *losses; i++) {
    if (tinker__str_eqs(v->loss_fn, losses[i].name)) {
      return take_config(loss, &losses[i], v, why, why_len);
    }
  }
  return tinker__why(why, why_len, TINKER_EINVAL,
                     "loss_fn '%.*s' is not one of cross_entropy, "
                     "importance_sampling, ppo, cispo, dro, gspo",
                     (int)(v->loss_fn.len < 80 ? v->loss_fn.len : 80),
                     v->loss_fn.ptr);
}

/* --- Datums --------------------------------------------------------------- */

typedef struct {
  tinker__svc_work_t *work;
  const tinker__eng_base_info_t *info;
  size_t index; /* of the datum */
  char *why;
  size_t why_len;
} check_t;

static int wrong(const check_t *c, const char *input, const char *text) {
  return tinker__why(c->why, c->why_len, TINKER_EINVAL, "data[%zu].%s%s: %s",
                     c->index, *input ? "loss_fn_inputs." : "model_input",
                     input, text);
}

static int outside(const check_t *c, const char *input, int64_t token,
                   size_t position) {
  char text[100];
  snprintf(text, sizeof text,
           "token %lld at position %zu is outside the vocabulary",
           (long long)token, position);
  return wrong(c, input, text);
}

static int not_finite(const check_t *c, const char *input, float value,
                      size_t position) {
  char text[100];
  snprintf(text, sizeof text, "%s at position %zu is not finite",
           isnan(value) ? "NaN"
           : value > 0  ? "infinity"
                        : "-infinity",
           position);
  return wrong(c, input, text);
}

static int take_tokens(const check_t *c, const tinker__datum_view_t *v,
                       tinker__eng_train_datum_t *d) {
  size_t n = tinker__chunks_length(v->chunks, v->chunk_count);
  if (n == 0) return wrong(c, "", "no tokens");
  if (n > c->info->context_length) {
    return tinker__why(c->why, c->why_len, TINKER_EINVAL,
                       "data[%zu].model_input: %zu tokens are longer than the "
                       "model's context window of %zu",
                       c->index, n, (size_t)c->info->context_length);
  }
  int32_t *tokens = tinker__arena_array(&c->work->arena, n, sizeof *tokens);
  if (!tokens) return TINKER_ENOMEM;
  tinker__chunks_text(v->chunks, v->chunk_count, tokens);
  for (size_t i = 0; i < n; i++) {
    if (tokens[i] < 0 || (size_t)tokens[i] >= c->info->vocab_size) {
      return outside(c, "", tokens[i], i);
    }
  }
  d->tokens = tokens;
  d->n = n;
  return 0;
}

static const tinker__tensor_view_t *find_input(const tinker__datum_view_t *v,
                                               const char *name) {
  for (size_t i = 0; i < v->input_count; i++) {
    if (tinker__str_eqs(v->inputs[i].name, name)) return &v->inputs[i].tensor;
  }
  return NULL;
}

static int take_targets(const check_t *c, const tinker__datum_view_t *v,
                        bool soft, tinker__eng_train_datum_t *d) {
  const char *name = "target_tokens";
  const tinker__tensor_view_t *t = find_input(v, name);
  if (!t) return wrong(c, name, "required");
  if (t->dtype != TINKER__DTYPE_I64) return wrong(c, name, "must be int64");
  if (t->ndim > 2 || (t->ndim == 2 && !soft)) {
    return wrong(c, name, "must have the shape (N)");
  }
  d->soft = t->ndim == 2;
  d->k = d->soft ? (size_t)t->shape[1] : 1;
  size_t rows = t->ndim ? (size_t)t->shape[0] : t->count;
  if (rows != d->n || d->k == 0 || t->count != d->n * d->k) {
    return wrong(c, name, "must have one row for each token of model_input");
  }
  d->targets = t->data;
  for (size_t i = 0; i < t->count; i++) {
    if (d->targets[i] < 0 || (uint64_t)d->targets[i] >= c->info->vocab_size) {
      return outside(c, name, d->targets[i], i / d->k);
    }
  }
  return 0;
}

static int take_floats(const check_t *c, const tinker__datum_view_t *v,
                       const char *name, const tinker__eng_train_datum_t *d,
                       const float **out) {
  const tinker__tensor_view_t *t = find_input(v, name);
  if (!t) return wrong(c, name, "required");
  if (t->dtype != TINKER__DTYPE_F32) return wrong(c, name, "must be float32");
  if (t->ndim > 2 || (t->ndim == 2) != d->soft || t->count != d->n * d->k ||
      (t->ndim && (size_t)t->shape[0] != d->n) ||
      (d->soft && (size_t)t->shape[1] != d->k)) {
    return wrong(c, name, "must have the shape of target_tokens");
  }
  *out = t->data;
  for (size_t i = 0; i < t->count; i++) {
    if (!isfinite((*out)[i])) return not_finite(c, name, (*out)[i], i);
  }
  return 0;
}

/* Refuses an input that the loss does not know: to ignore it would train
 * something else than was asked for. */
static int check_names(const check_t *c, const tinker__datum_view_t *v) {
  tinker__eng_loss_kind_t kind = c->work->loss.kind;
  bool ce = kind == TINKER__LOSS_CROSS_ENTROPY;
  for (size_t i = 0; i < v->input_count; i++) {
    tinker__str_t n = v->inputs[i].name;
    bool known = tinker__str_eqs(n, "target_tokens") ||
                 (ce ? tinker__str_eqs(n, "weights")
                     : tinker__str_eqs(n, "logprobs") ||
                           tinker__str_eqs(n, "advantages")) ||
                 (kind == TINKER__LOSS_GSPO &&
                  tinker__str_eqs(n, "sequence_ratio_mask"));
    if (!known) {
      return tinker__why(
          c->why, c->why_len, TINKER_EINVAL,
          "data[%zu].loss_fn_inputs.%.*s: not an input of this loss", c->index,
          (int)(n.len < 100 ? n.len : 100), n.ptr);
    }
  }
  return 0;
}

/* A mask without any token is refused: the sequence would have no ratio. */
static int take_mask(const check_t *c, const tinker__datum_view_t *v,
                     tinker__eng_train_datum_t *d) {
  const char *name = "sequence_ratio_mask";
  int rc = take_floats(c, v, name, d, &d->ratio_mask);
  for (size_t i = 0; rc == 0 && i < d->n; i++) {
    if (d->ratio_mask[i] != 0.0f) return 0;
  }
  return rc ? rc : wrong(c, name, "must be non-zero for at least one token");
}

static int take_datum(const check_t *c, const tinker__datum_view_t *v,
                      tinker__eng_train_datum_t *d) {
  bool ce = c->work->loss.kind == TINKER__LOSS_CROSS_ENTROPY;
  int rc = take_tokens(c, v, d);
  if (rc == 0) rc = check_names(c, v);
  if (rc == 0) rc = take_targets(c, v, ce, d);
  if (rc == 0 && ce) return take_floats(c, v, "weights", d, &d->weights);
  if (rc == 0) rc = take_floats(c, v, "logprobs", d, &d->logprobs);
  if (rc == 0) rc = take_floats(c, v, "advantages", d, &d->advantages);
  if (rc || c->work->loss.kind != TINKER__LOSS_GSPO) return rc;
  return take_mask(c, v, d);
}

static int take_data(tinker__svc_work_t *w, const tinker__fb_view_t *v,
                     const tinker__eng_base_info_t *info, char *why,
                     size_t why_len) {
  check_t c = {w, info, 0, why, why_len};
  if (v->datum_count == 0) {
    return tinker__why(why, why_len, TINKER_EINVAL, "data: no datum");
  }
  w->data = tinker__arena_array(&w->arena, v->datum_count, sizeof *w->data);
  if (!w->data) return TINKER_ENOMEM;
  w->n_data = v->datum_count;
  for (; c.index < w->n_data; c.index++) {
    int rc = take_datum(&c, &v->datums[c.index], &w->data[c.index]);
    if (rc != 0) return rc;
  }
  return 0;
}

int tinker__svc_work_forward_backward(tinker__svc_work_t *w,
                                      const tinker__fb_request_t *q,
                                      const tinker__svc_terms_t *terms,
                                      char *why, size_t why_len) {
  w->forward_only = q->view.forward_only;
  int rc = take_loss(&w->loss, &q->view, why, why_len);
  if (rc != 0) return rc;
  rc = take_data(w, &q->view, &terms->base->info, why, why_len);
  if (rc != 0) return rc;
  size_t tokens = 0; /* can't overflow: it counts numbers that are in memory */
  for (size_t i = 0; i < w->n_data; i++) tokens += w->data[i].n * w->data[i].k;
  return tinker__svc_work_check_tokens(w, terms, tokens, why, why_len);
}
