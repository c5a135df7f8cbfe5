/* server_call: the calls of models on their way in. Checks them, recognises a
 * number that was used before, and answers. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include <tinker/error.h>

#include "base/json_read.h"
#include "sim/server_in.h"
#include "wire/path.h"

#define FB_MAX ((size_t)1 << 26)
#define MAX_TTL_S (10ll * 366 * 24 * 3600)

/* --- Calls ---------------------------------------------------------------- */

/* A call on its way in. op: what becomes of it if it is new. */
typedef struct call_s {
  op_t op;
  int status; /* of the refusal; 0 = it is right */
  char why[400];
  const char *model_id;
  bool has_seq;
  union {
    tinker__fb_request_t fb;
    tinker__optim_step_t optim;
    tinker__save_weights_t save;
    tinker__save_sampler_t sampler;
    tinker__load_weights_t load;
    tinker__create_model_t create;
  } m;
} call_t;

/* The first fault counts. */
static void wrong(call_t *c, int status, const char *why) {
  if (c->status) return;
  c->status = status;
  snprintf(c->why, sizeof c->why, "%s", why);
}

/* The digest of an example as the client has it, tinker_datum_sha256(). */
static void digest_example(const tinker__datum_view_t *d, tinker__mem_t *mem,
                           unsigned char out[TINKER__SHA256_LEN]) {
  tinker__sha256_t *h = NULL;
  uint64_t number;
#define ADD_NUMBER(n)                                                          \
  number = (uint64_t)(n);                                                      \
  tinker__sha256_add(h, &number, sizeof number)
  tinker__sha256_new(&h, mem);
  tinker__sha256_add(h, "tkdatum1", 8);
  ADD_NUMBER(d->chunk_count);
  for (size_t k = 0; k < d->chunk_count; k++) {
    ADD_NUMBER(0);
    ADD_NUMBER(d->chunks[k].text.count);
    tinker__sha256_add(h, d->chunks[k].text.tokens, 4 * (size_t)number);
  }
  ADD_NUMBER(d->input_count);
  for (size_t k = 0; k < d->input_count; k++) {
    const tinker__tensor_view_t *t = &d->inputs[k].tensor;
    ADD_NUMBER(d->inputs[k].name.len);
    tinker__sha256_add(h, d->inputs[k].name.ptr, (size_t)number);
    ADD_NUMBER(t->dtype);
    ADD_NUMBER(t->ndim ? t->ndim : 1);
    ADD_NUMBER(t->ndim ? t->shape[0] : (int64_t)t->count);
    if (t->ndim == 2) {
      ADD_NUMBER(t->shape[1]);
    }
    tinker__sha256_add(h, t->data, t->count * tinker__dtype_size(t->dtype));
  }
#undef ADD_NUMBER
  tinker__sha256_end(h, out);
}

static void digest_batch(const tinker__fb_view_t *v, tinker__mem_t *mem,
                         unsigned char out[TINKER__SHA256_LEN]) {
  unsigned char one[TINKER__SHA256_LEN];
  tinker__sha256_t *all = NULL;
  tinker__sha256_new(&all, mem);
  for (size_t i = 0; i < v->datum_count; i++) {
    digest_example(&v->datums[i], mem, one);
    tinker__sha256_add(all, one, sizeof one);
  }
  tinker__sha256_end(all, out);
}

static const tinker__tensor_view_t *input(const tinker__datum_view_t *d,
                                          const char *name, size_t n,
                                          tinker__dtype_t type) {
  for (size_t i = 0; i < d->input_count; i++) {
    const tinker__tensor_view_t *t = &d->inputs[i].tensor;
    if (!tinker__str_eqs(d->inputs[i].name, name)) continue;
    return t->ndim < 2 && t->count == n && t->dtype == type ? t : NULL;
  }
  return NULL;
}

/* One example; false when it is not right. */
static bool take_example(sim_server_t *s, const tinker__datum_view_t *d,
                         example_t *e) {
  size_t n = tinker__chunks_length(d->chunks, d->chunk_count);
  const tinker__tensor_view_t *target, *weights;
  target = input(d, "target_tokens", n, TINKER__DTYPE_I64);
  weights = input(d, "weights", n, TINKER__DTYPE_F32);
  if (!n || !target || !weights || d->input_count != 2) return false;
  int32_t *tokens = sim_new(s, n * sizeof *tokens);
  unsigned char *both = sim_new(s, 2 * n);
  float *w = sim_new(s, 3 * n * sizeof *w);
  tinker__chunks_text(d->chunks, d->chunk_count, tokens);
  memcpy(w, weights->data, n * sizeof *w);
  *e = (example_t){n, both, both + n, w, w + n, w + 2 * n};
  for (size_t i = 0; i < n; i++) {
    int64_t t = ((const int64_t *)target->data)[i];
    if (tokens[i] < 0 || t < 0 || !isfinite(w[i])) return false;
    both[i] = (unsigned char)(tokens[i] % SIM_VOCAB);
    both[n + i] = (unsigned char)(t % SIM_VOCAB);
  }
  return true;
}

static void take_pass(sim_server_t *s, call_t *c, sim_entry_t *e) {
  const tinker__fb_view_t *v = &c->m.fb.view;
  if (v->config_count || !tinker__str_eqs(v->loss_fn, "cross_entropy")) {
    wrong(c, 400, "loss_fn: only cross_entropy, without options, is known");
  } else if (!v->datum_count) {
    wrong(c, 400, "data: no datum");
  }
  c->op.data = sim_new(s, v->datum_count * sizeof *c->op.data);
  c->op.n_data = v->datum_count;
  for (size_t i = 0; !c->status && i < c->op.n_data; i++) {
    if (!take_example(s, &v->datums[i], &c->op.data[i])) {
      wrong(c, 400, "data: an example is not right");
    }
  }
  digest_batch(v, &s->mem, e->batch);
}

static void take_optim(call_t *c, sim_entry_t *e) {
  const tinker__adam_wire_t *a = &c->m.optim.adam_params;
  if (!c->m.optim.has_adam_params || c->m.optim.optimizer_params.len) {
    wrong(c, 400, "adam_params is required");
  } else if (a->learning_rate < 0 || a->learning_rate >= 1e30 || a->beta1 < 0 ||
             a->beta1 >= 1 || a->beta2 < 0 || a->beta2 >= 1 || a->eps < 1e-45 ||
             a->weight_decay < 0 || a->grad_clip_norm < 0) {
    wrong(c, 400, "adam_params: out of range");
  }
  c->op.adam = *a;
  e->learning_rate = (float)a->learning_rate;
}

/* Is it an object of strings? */
static bool is_metadata(sim_server_t *s, tinker__str_t json) {
  tinker__json_t j;
  tinker__str_t key, value;
  tinker__json_init(&j, &s->mem, json.ptr, json.len);
  bool ok = tinker__json_object(&j);
  while (ok && tinker__json_key(&j, &key)) ok = tinker__json_string(&j, &value);
  ok = tinker__json_end(&j) == 0;
  tinker__json_done(&j);
  return ok;
}

static void take_save(sim_server_t *s, call_t *c, const char *name,
                      tinker__str_t metadata) {
  size_t len = name ? strlen(name) : 0;
  if (!len || len > 200 || strpbrk(name, "/\\?#% ") || !strcmp(name, ".") ||
      !strcmp(name, "..")) {
    wrong(c, 400, "path must be a checkpoint name");
  } else if (c->op.ttl_s && (c->op.ttl_s < 3600 || c->op.ttl_s > MAX_TTL_S)) {
    wrong(c, 400, "ttl_seconds must be from 3600 (an hour) to 10 years");
  } else if (metadata.len && !is_metadata(s, metadata)) {
    wrong(c, 400, "user_metadata must be an object of strings");
  }
  if (c->status) return;
  c->op.name = sim_text(s, tinker__str(name));
  if (metadata.len) c->op.metadata = sim_text(s, metadata);
}

static void check_optimizer(sim_server_t *s, call_t *c, tinker__str_t json) {
  tinker__optimizer_t m;
  char why[200];
  if (json.len &&
      (tinker__message_decode_part(&tinker__optimizer_msg, &m, &s->scratch,
                                   json, "", why, sizeof why) != 0 ||
       strcmp(m.type, "adamw") != 0)) {
    wrong(c, 400, "optimizer_config: only adamw is known");
  }
}

/* The checks of a load that need not wait for its turn. */
static void take_load(sim_server_t *s, call_t *c) {
  const tinker__load_weights_t *m = &c->m.load;
  tinker__str_t part[3];
  checkpoint_t *from = sim_checkpoint(s, tinker__str(m->path));
  bool split = tinker__path_split(tinker__str(m->path), part);
  if (c->op.kind == SIM_LOAD && c->op.seq != 1) {
    wrong(c, 400, "LoadWeights is permitted as a model's first request only");
  } else if (!split || (!tinker__str_eqs(part[1], TINKER__PATH_TRAINING) &&
                        !tinker__str_eqs(part[1], TINKER__PATH_SAMPLER))) {
    wrong(c, 400, "Invalid tinker path");
  } else if (!from) {
    wrong(c, 404, "checkpoint not found");
  } else if (from->view.sampler) {
    wrong(c, 400, "path: not a training checkpoint");
  } else if (c->op.kind == SIM_LOAD_NEW && m->base_model &&
             strcmp(m->base_model, SIM_BASE_MODEL) != 0) {
    wrong(c, 400, "base_model differs from the checkpoint's");
  }
  c->op.path = sim_text(s, tinker__str(m->path));
  c->op.optimizer = m->optimizer;
}

static void take(sim_server_t *s, call_t *c, sim_entry_t *e) {
  const tinker__save_weights_t *w = &c->m.save;
  const tinker__save_sampler_t *a = &c->m.sampler;
  switch (c->op.kind) {
  case SIM_FORWARD:
  case SIM_FORWARD_BACKWARD: take_pass(s, c, e); break;
  case SIM_OPTIM_STEP: take_optim(c, e); break;
  case SIM_SAVE:
    c->op.overwrite = w->overwrite;
    c->op.ttl_s = w->has_ttl_seconds ? w->ttl_seconds : 0;
    if (w->has_ttl_seconds && !c->op.ttl_s) c->op.ttl_s = -1;
    take_save(s, c, w->path, w->user_metadata);
    break;
  case SIM_SAVE_SAMPLER:
    c->op.ttl_s = a->has_ttl_seconds ? a->ttl_seconds : 0;
    if (a->has_ttl_seconds && !c->op.ttl_s) c->op.ttl_s = -1;
    take_save(s, c, a->path, a->user_metadata);
    break;
  default: break; /* a load is checked when it is new */
  }
}

/* What goes wrong with a call from its arrival on. */
static void suffer(sim_server_t *s, op_t *op) {
  const model_t *m = op->model;
  op->stuck = sim_hit(s, SIM_BUG_STUCK, m) != NULL;
  op->forgotten = sim_hit(s, SIM_BUG_FORGET, m) != NULL;
  op->ignored = sim_hit(s, SIM_BUG_FORGET_UNAPPLIED, m) != NULL;
  op->forgotten = op->forgotten || op->ignored;
  int64_t pause = sim_arg(s, SIM_BUG_PAUSE, m);
  int64_t slow = sim_arg(s, SIM_BUG_SLOW, m);
  if (pause >= 0) op->paused_until_ms = s->now_ms + pause;
  if (slow >= 0) op->cost_ms = slow;
}

static void accepted(sim_server_t *s, sim_reply_t *reply, const op_t *op) {
  tinker__accepted_t out = {.request_id = op->id,
                            .model_id = op->model->view.id};
  sim_reply(s, reply, &tinker__accepted_msg, &out);
}

/* A call whose number op has already. */
static void repeat(sim_server_t *s, const call_t *c, op_t *op, sim_entry_t *e,
                   sim_reply_t *reply) {
  const sim_entry_t *first = s->entries.items[op->entry];
  bool same = op->kind == c->op.kind &&
              !memcmp(op->digest, c->op.digest, sizeof op->digest);
  e->first = (int32_t)op->entry;
  e->same_bytes = !memcmp(first->body, e->body, sizeof e->body);
  if (op->state == OP_REJECTED && same && c->status) {
    sim_refuse(s, reply, c->status, "%s", c->why);
    return;
  }
  if (op->state == OP_REJECTED || !same) {
    sim_refuse(s, reply, 409, "%s was used before with another content",
               op->id);
    return;
  }
  e->fate = SIM_REPEATED;
  accepted(s, reply, op);
  if (!sim_hit(s, SIM_BUG_NO_DEDUP, op->model)) return;
  if (op->state == OP_WAITING) {
    op->repeats++;
  } else {
    sim_execute(s, op, s->now_ms);
  }
}

/* Takes a call whose number is new, or refuses it and uses the number up. */
static void begin(sim_server_t *s, call_t *c, model_t *m, sim_entry_t *e,
                  sim_reply_t *reply) {
  if (!c->status && c->op.kind == SIM_LOAD) take_load(s, c);
  if (!c->status && sim_hit(s, SIM_BUG_REFUSE, m)) wrong(c, 400, "refused");
  op_t *op = sim_op_add(s, m, &c->op);
  if (c->status) {
    op->state = OP_REJECTED;
    sim_refuse(s, reply, c->status, "%s", c->why);
    return;
  }
  e->fate = SIM_WAITING;
  m->view.used_ms = s->now_ms;
  suffer(s, op);
  accepted(s, reply, op);
}

static void submit(sim_server_t *s, call_t *c, model_t *m, sim_entry_t *e,
                   sim_reply_t *reply) {
  long long seq = c->op.seq, next = m->view.next_seq;
  op_t *op = sim_op(m, seq);
  e->session = m->view.session;
  e->model = sim_index(&s->models, m);
  e->seq = seq;
  c->op.entry = s->entries.n - 1;
  if (!c->status) take(s, c, e);
  if (op) {
    repeat(s, c, op, e, reply);
  } else if (seq < next) {
    sim_refuse(s, reply, 409, "seq_id %lld was used before: the next is %lld",
               seq, next);
  } else if (m->strict && seq != next) {
    sim_refuse(s, reply, 409, "expected %lld, got %lld", next, seq);
  } else {
    begin(s, c, m, e, reply);
  }
}

/* Reads a pass. */
static bool read_pass(sim_server_t *s, const sim_request_t *r, call_t *c) {
  tinker__fb_request_t *q = &c->m.fb;
  bool proto = r->content_type && strstr(r->content_type, "protobuf");
  bool only = strstr(r->path, "forward_backward") == NULL;
  int rc = tinker__fb_request_decode(q, &s->scratch, sim_body(r),
                                     proto ? TINKER__FB_PROTO : TINKER__FB_JSON,
                                     only, FB_MAX, c->why, sizeof c->why);
  if (rc) c->status = rc == TINKER_EINVAL ? 400 : 422;
  if (only && q->inputs != TINKER__FB_HAS_FORWARD) c->status = 422;
  if (rc == 0) memcpy(c->op.digest, q->digest, sizeof c->op.digest);
  c->op.kind = q->view.forward_only ? SIM_FORWARD : SIM_FORWARD_BACKWARD;
  c->has_seq = q->has_seq_id;
  c->op.seq = q->view.seq_id;
  if (q->head != TINKER__HEAD_READ) return false;
  if (q->view.model_id.len) c->model_id = sim_text(s, q->view.model_id);
  return true;
}

/* Reads a body as the message of its kind. False: not even its head can be
 * read, and why says why. */
static bool read_call(sim_server_t *s, const sim_request_t *r, call_t *c) {
  static const tinker__bind_table_t *const messages[SIM_KINDS] = {
      [SIM_OPTIM_STEP] = &tinker__optim_step_msg,
      [SIM_SAVE] = &tinker__save_weights_msg,
      [SIM_SAVE_SAMPLER] = &tinker__save_sampler_msg,
      [SIM_LOAD] = &tinker__load_weights_msg};
  tinker__call_head_t h;
  tinker__bind_head_t head;
  if (c->op.kind == SIM_FORWARD_BACKWARD) return read_pass(s, r, c);
  int rc = tinker__message_decode_call(messages[c->op.kind], &c->m, &s->scratch,
                                       sim_body(r), NULL, NULL, &head, c->why,
                                       sizeof c->why);
  if (rc) c->status = rc == TINKER_EINVAL ? 400 : 422;
  if (head != TINKER__HEAD_READ) return false;
  tinker__message_decode_call(&tinker__call_head_msg, &h, &s->scratch,
                              sim_body(r), NULL, NULL, &head, NULL, 0);
  c->model_id = h.model_id;
  c->has_seq = h.has_seq_id;
  c->op.seq = h.seq_id;
  return true;
}

/* A call of a model that has a number. */
static void numbered(sim_server_t *s, const sim_request_t *r, call_t *c,
                     sim_entry_t *e, sim_reply_t *reply) {
  if (!c->model_id || !c->has_seq) {
    sim_refuse(s, reply, 422, "%s is required",
               c->model_id ? "seq_id" : "model_id");
    return;
  }
  (void)r;
  model_t *m = sim_model(s, tinker__str(c->model_id));
  if (!m || m->view.unloaded) {
    sim_refuse(s, reply, 404, "model not found: %s", c->model_id);
  } else if (!sim_live(s, reply, tinker__str(m->session->view.id))) {
    e->model = sim_index(&s->models, m);
  } else if (c->op.seq < 1 || c->op.seq > INT32_MAX) {
    sim_refuse(s, reply, 400, "seq_id must be from 1 to 2147483647, not %lld",
               (long long)c->op.seq);
  } else {
    submit(s, c, m, e, reply);
  }
}

/* --- Models --------------------------------------------------------------- */

/* A call that makes a model: the model that has this number already, or a new
 * one. rank 0: the model is made of a checkpoint. */
static void create(sim_server_t *s, call_t *c, sim_entry_t *e,
                   const char *session, int64_t seq, tinker__str_t metadata,
                   sim_reply_t *reply) {
  char id[64];
  session_t *n = sim_live(s, reply, tinker__str(session));
  snprintf(id, sizeof id, "%.40s:train:%lld", session, (long long)seq);
  e->seq = seq;
  if (!n) return;
  model_t *m = sim_model(s, tinker__str(id));
  c->op.seq = 0;
  if (m) {
    submit(s, c, m, e, reply);
    e->seq = seq;
    return;
  }
  if (c->op.kind == SIM_LOAD_NEW) take_load(s, c);
  if (sim_hit(s, SIM_BUG_RETIRED, NULL)) wrong(c, 404, "base_model is retired");
  if (c->status) {
    sim_refuse(s, reply, c->status, "%s", c->why);
    return;
  }
  m = sim_model_new(s, n, seq);
  if (metadata.len) m->view.metadata = sim_text(s, metadata);
  if (c->op.kind == SIM_LOAD_NEW) {
    checkpoint_t *from = sim_checkpoint(s, tinker__str(c->op.path));
    sim_like(&m->view, s->models.items[from->view.model]);
  } else {
    const tinker__lora_wire_t *l = &c->m.create.lora_config;
    m->view.rank = (int32_t)l->rank;
    m->view.lora_seed = l->has_seed ? (uint64_t)l->seed : s->seed + s->drawn++;
    m->view.train_attn = l->train_attn;
    m->view.train_mlp = l->train_mlp;
    m->view.train_unembed = l->train_unembed;
  }
  submit(s, c, m, e, reply);
  e->seq = seq;
}

static void create_model(sim_server_t *s, const sim_request_t *r,
                         const tinker__str_t *part, sim_reply_t *reply) {
  call_t c = {.op = {.kind = SIM_CREATE_MODEL}};
  tinker__create_model_t *m = &c.m.create;
  const tinker__lora_wire_t *l = &m->lora_config;
  (void)part;
  if (!sim_read(s, r, reply, &tinker__create_model_msg, m)) return;
  sim_entry_t *e = sim_note(s, SIM_CREATE_MODEL, r, reply);
  memcpy(c.op.digest, e->body, sizeof c.op.digest);
  if (!m->base_model || !*m->base_model)
    wrong(&c, 400, "base_model is required");
  if (m->model_seq_id < 0) wrong(&c, 400, "model_seq_id must not be negative");
  if (m->user_metadata.len && m->user_metadata.ptr[0] != '{') {
    wrong(&c, 400, "user_metadata must be an object");
  }
  if (!m->has_lora_config) wrong(&c, 400, "lora_config is required");
  if (l->rank <= 0 || l->rank > 128 || (l->rank & (l->rank - 1))) {
    wrong(&c, 400, "lora_config.rank must be a power of 2, at most 128");
  }
  if (!l->train_attn && !l->train_mlp && !l->train_unembed) {
    wrong(&c, 400,
          "At least one of train_unembed, train_mlp, or train_attn "
          "must be True");
  }
  check_optimizer(s, &c, m->optimizer_config);
  if (c.status) {
    sim_refuse(s, reply, c.status, "%s", c.why);
  } else {
    if (strcmp(m->base_model, SIM_BASE_MODEL) != 0) {
      wrong(&c, 404, "base_model is not served here");
    }
    create(s, &c, e, m->session_id, m->model_seq_id, m->user_metadata, reply);
  }
  e->status = reply->status;
}

static void load_new(sim_server_t *s, call_t *c, sim_entry_t *e,
                     sim_reply_t *reply) {
  const tinker__load_weights_t *m = &c->m.load;
  c->op.kind = e->kind = SIM_LOAD_NEW;
  if (!m->session_id || !m->has_model_seq_id) {
    sim_refuse(s, reply, 422, "%s is required",
               m->session_id ? "model_seq_id" : "session_id");
  } else if (m->model_seq_id < 0) {
    sim_refuse(s, reply, 400, "model_seq_id must not be negative");
  } else if (m->user_metadata.len && m->user_metadata.ptr[0] != '{') {
    sim_refuse(s, reply, 400, "user_metadata must be an object");
  } else if (c->status) {
    sim_refuse(s, reply, c->status, "%s", c->why);
  } else {
    create(s, c, e, m->session_id, m->model_seq_id, m->user_metadata, reply);
  }
}

static void call(sim_server_t *s, const sim_request_t *r, sim_kind_t kind,
                 sim_reply_t *reply) {
  call_t c = {.op = {.kind = kind}};
  sim_entry_t *e = sim_note(s, kind, r, reply);
  memcpy(c.op.digest, e->body, sizeof c.op.digest);
  bool read = read_call(s, r, &c);
  e->kind = c.op.kind;
  if (kind == SIM_LOAD && c.status && !c.model_id) read = false;
  if (kind == SIM_LOAD && !c.status) {
    check_optimizer(s, &c, c.m.load.optimizer_config);
  }
  if (!read) {
    sim_refuse(s, reply, 422, "%s", c.why);
  } else if (kind == SIM_LOAD && !c.status && c.model_id &&
             c.m.load.session_id) {
    sim_refuse(s, reply, 400, "model_id and session_id exclude each other");
  } else if (kind == SIM_LOAD && !c.model_id) {
    load_new(s, &c, e, reply);
  } else {
    numbered(s, r, &c, e, reply);
  }
  e->status = reply->status;
}

#define CALL(name, kind)                                                       \
  static void name(sim_server_t *s, const sim_request_t *r,                    \
                   const tinker__str_t *part, sim_reply_t *reply) {            \
    (void)part;                                                                \
    call(s, r, kind, reply);                                                   \
  }
CALL(forward_backward, SIM_FORWARD_BACKWARD)
CALL(optim_step, SIM_OPTIM_STEP)
CALL(save_weights, SIM_SAVE)
CALL(save_sampler, SIM_SAVE_SAMPLER)
CALL(load_weights, SIM_LOAD)
#undef CALL

const sim_route_t sim_call_routes[] = {
    {"POST", "api/v1/create_model", create_model},
    {"POST", "api/v1/forward_backward", forward_backward},
    {"POST", "api/v1/forward", forward_backward},
    {"POST", "api/v1/optim_step", optim_step},
    {"POST", "api/v1/save_weights", save_weights},
    {"POST", "api/v1/save_weights_for_sampler", save_sampler},
    {"POST", "api/v1/load_weights", load_weights},
    {NULL, NULL, NULL}};
