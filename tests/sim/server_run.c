/* server_run: time, and the execution of calls. Each model runs its calls by
 * number, one at a time; all of them, of all models, are done in the order of
 * their virtual times. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "sim/server_in.h"
#include "wire/path.h"

int64_t sim_arg(sim_server_t *s, sim_bug_t bug, const model_t *m) {
  const sim_fault_t *f = sim_hit(s, bug, m);
  return f ? f->arg : -1;
}

tinker__str_t sim_message(sim_server_t *s, const tinker__bind_table_t *table,
                          const void *in) {
  tinker__buf_t out;
  tinker__buf_init(&out, &s->mem, 1 << 20);
  tinker__message_encode(&out, table, in);
  tinker__str_t text = {sim_text(s, tinker__buf_str(&out)), out.len};
  tinker__buf_free(&out);
  return text;
}

/* --- Outcomes ------------------------------------------------------------- */

static void done(sim_server_t *s, op_t *op, const tinker__bind_table_t *table,
                 const void *in) {
  op->state = OP_DONE;
  op->json = sim_message(s, table, in);
}

static void fail(sim_server_t *s, op_t *op, const char *category,
                 const char *why) {
  tinker__failure_t m = {why, category};
  op->json = sim_message(s, &tinker__failure_msg, &m);
  op->state = OP_FAILED;
}

/* --- Passes and steps ----------------------------------------------------- */

static void show_pass(sim_server_t *s, op_t *op, double loss) {
  tinker__named_tensor_t *f = sim_new(s, 2 * op->n_data * sizeof *f);
  tinker__output_datum_t *datums = sim_new(s, op->n_data * sizeof *datums);
  for (size_t i = 0; i < op->n_data; i++) {
    const example_t *e = &op->data[i];
    tinker__tensor_view_t t = {.dtype = TINKER__DTYPE_F32,
                               .ndim = 1,
                               .shape = {(int64_t)e->n},
                               .data = e->logprobs,
                               .count = e->n};
    f[2 * i] = (tinker__named_tensor_t){TINKER__STR("logprobs"), t};
    t.data = e->losses;
    f[2 * i + 1] = (tinker__named_tensor_t){TINKER__STR("elementwise_loss"), t};
    datums[i] = (tinker__output_datum_t){&f[2 * i], 2};
  }
  tinker__number_t metric = {"loss:sum", loss};
  tinker__fb_output_t result = {TINKER__STR("CrossEntropyLossReturn"), datums,
                                op->n_data, &metric, 1};
  tinker__buf_t out;
  tinker__buf_init(&out, &s->mem, (size_t)1 << 26);
  tinker__fb_output_encode(&out, &s->mem, &result);
  op->proto = (tinker__str_t){sim_text(s, tinker__buf_str(&out)), out.len};
  op->state = OP_DONE;
  tinker__buf_free(&out);
}

/* What a bug makes of the numbers of a pass that trained. */
static double spoil(sim_server_t *s, op_t *op, double loss, double scale) {
  model_t *m = op->model;
  for (size_t i = 0; scale != 1 && i < op->n_data; i++) {
    example_t *e = &op->data[i];
    for (size_t k = 0; k < e->n; k++) e->losses[k] *= (float)scale;
  }
  int64_t percent = sim_arg(s, SIM_BUG_RAMP, m);
  if (percent >= 0) {
    loss *= 1 + (double)(percent * s->hits[SIM_BUG_RAMP]) / 100;
  }
  if (!sim_hit(s, SIM_BUG_NAN, m)) return loss * scale;
  op->data[0].logprobs[0] = op->data[0].losses[0] = NAN;
  m->net.g[0] = NAN;
  return (double)NAN;
}

static void run_pass(sim_server_t *s, op_t *op) {
  bool trains = op->kind == SIM_FORWARD_BACKWARD;
  double scale = 1;
  if (trains && sim_hit(s, SIM_BUG_REJECT, op->model)) {
    fail(s, op, "user", "data[0]: rejected");
    return;
  }
  if (trains) {
    int64_t times = sim_arg(s, SIM_BUG_SPIKE, op->model);
    if (times >= 0) scale = (double)times;
  }
  double loss =
      sim_net_pass(&op->model->net, op->data, op->n_data, trains, (float)scale);
  if (trains) loss = spoil(s, op, loss, scale);
  show_pass(s, op, loss);
  if (sim_hit(s, SIM_BUG_CONSTANT, op->model) && s->shown.len) {
    op->proto = s->shown;
  }
  s->shown = op->proto;
  ((sim_entry_t *)s->entries.items[op->entry])->loss = loss;
}

static void flip(float *value) {
  uint32_t bits;
  memcpy(&bits, value, sizeof bits);
  bits ^= 1u << 20;
  memcpy(value, &bits, sizeof bits);
}

/* The largest entry of B has an effect on most tokens. */
static void flip_largest(net_t *net) {
  int most = SIM_WEIGHTS / 2;
  for (int i = most; i < SIM_WEIGHTS; i++) {
    if (fabsf(net->w[i]) > fabsf(net->w[most])) most = i;
  }
  flip(&net->w[most]);
}

static void run_step(sim_server_t *s, op_t *op) {
  model_t *m = op->model;
  double norm = 0;
  net_t before = m->net;
  bool keep = sim_hit(s, SIM_BUG_KEEP_GRADIENTS, m) != NULL;
  bool ignore = sim_hit(s, SIM_BUG_IGNORE_UPDATE, m) != NULL;
  bool flips = sim_hit(s, SIM_BUG_FLIP_UPDATE, m) != NULL;
  if (!sim_net_step(&m->net, &op->adam, keep, &norm)) {
    fail(s, op, "user",
         "NonFiniteInTensor: gradient: not finite; weights unchanged, "
         "gradients cleared");
    return;
  }
  if (ignore) {
    m->net = before;
    memset(m->net.g, 0, sizeof m->net.g);
    m->net.has_grad = false;
  }
  if (flips) flip_largest(&m->net);
  m->view.steps++;
  tinker__number_t metric = {"unclipped_grad_l2:mean", norm};
  tinker__optim_step_result_t result = {
      {&metric, op->adam.grad_clip_norm > 0 ? 1 : 0}};
  done(s, op, &tinker__optim_step_result_msg, &result);
}

/* --- Checkpoints ---------------------------------------------------------- */

static checkpoint_t *last_state(const sim_server_t *s, const model_t *m) {
  for (size_t i = s->checkpoints.n; i-- > 0;) {
    checkpoint_t *c = s->checkpoints.items[i];
    if (s->models.items[c->view.model] == m && !c->view.sampler) return c;
  }
  return NULL;
}

static checkpoint_t *new_checkpoint(sim_server_t *s, op_t *op, int64_t ms) {
  model_t *m = op->model;
  checkpoint_t *c = sim_new(s, sizeof *c);
  sim_checkpoint_t *v = &c->view;
  v->sampler = op->kind == SIM_SAVE_SAMPLER;
  v->name = op->name;
  v->metadata = op->metadata;
  snprintf(v->path, sizeof v->path, "tinker://%s/%s/%s", m->view.id,
           v->sampler ? TINKER__PATH_SAMPLER : TINKER__PATH_TRAINING, op->name);
  v->model = sim_server_find_model(s, m->view.id);
  v->steps = m->view.steps;
  v->created_ms = ms;
  v->expires_ms = op->ttl_s ? ms + op->ttl_s * 1000 : 0;
  v->size = 4 * (int64_t)sizeof m->net.w;
  c->net = m->net;
  memset(c->net.g, 0, sizeof c->net.g);
  c->pending_grad = !v->sampler && m->net.has_grad;
  c->net.has_grad = false;
  sim_net_digest(&c->net, v->weights, v->optimizer, NULL);
  c->before = v->sampler ? NULL : last_state(s, m);
  return c;
}

/* What the bugs of saves make of a checkpoint. */
static void spoil_save(sim_server_t *s, op_t *op, checkpoint_t *c) {
  model_t *m = op->model;
  net_t was = c->net;
  if (sim_hit(s, SIM_BUG_SAVE_PENDING, m)) {
    c->fails = true;
    c->view.size = 0;
  }
  if (sim_hit(s, SIM_BUG_SAVE_UNLISTED, m)) c->view.unlisted = true;
  if (sim_hit(s, SIM_BUG_SAVE_FLIP, m)) flip_largest(&c->net);
  if (sim_hit(s, SIM_BUG_SAVE_OLD, m) && c->before) c->net = c->before->net;
  if (sim_hit(s, SIM_BUG_SAVE_POISONED, m)) {
    for (int i = 0; i < SIM_WEIGHTS; i++) c->net.w[i] = 0.5f;
  }
  int64_t ms = sim_arg(s, SIM_BUG_SAVE_SHORT, m);
  if (ms >= 0) c->view.expires_ms = c->view.created_ms + ms;
  c->view.damaged =
      c->fails || c->view.unlisted || memcmp(&was, &c->net, sizeof was) != 0;
}

/* Somebody else's checkpoint, with weights of its own. */
static void take_name(sim_server_t *s, op_t *op, int64_t ms) {
  checkpoint_t *c = new_checkpoint(s, op, ms);
  sim_net_init(&c->net, op->model->view.rank, 99);
  sim_net_digest(&c->net, c->view.weights, c->view.optimizer, NULL);
  c->view.damaged = true;
  sim_push(s, &s->checkpoints, c);
}

static void run_save(sim_server_t *s, op_t *op, int64_t ms) {
  char why[400];
  bool state = op->kind == SIM_SAVE;
  if (state && sim_hit(s, SIM_BUG_SAVE_FAILS, op->model)) {
    fail(s, op, "server", "the checkpoint could not be written");
    return;
  }
  if (state && sim_hit(s, SIM_BUG_SAVE_TAKEN, op->model)) take_name(s, op, ms);
  checkpoint_t *c = new_checkpoint(s, op, ms);
  checkpoint_t *old = sim_checkpoint(s, tinker__str(c->view.path));
  if (old && !op->overwrite) {
    snprintf(why, sizeof why,
             "ResourceAlreadyExists: checkpoint %s already exists",
             c->view.path);
    fail(s, op, "user", why);
    return;
  }
  if (old) old->view.deleted_ms = ms;
  if (state) spoil_save(s, op, c);
  ((sim_entry_t *)s->entries.items[op->entry])->checkpoint =
      (int32_t)s->checkpoints.n;
  sim_push(s, &s->checkpoints, c);
  tinker__save_sampler_result_t sampler = {.path = c->view.path};
  tinker__save_weights_result_t saved = {c->view.path};
  done(s, op,
       state ? &tinker__save_weights_result_msg
             : &tinker__save_sampler_result_msg,
       state ? (void *)&saved : (void *)&sampler);
}

/* Why a checkpoint can't be loaded into a model, or NULL. */
static const char *misfit(const sim_server_t *s, const model_t *m,
                          const checkpoint_t *c) {
  if (!c) return "checkpoint not found";
  const sim_model_t *a = &m->view, *b = s->models.items[c->view.model];
  if (c->view.sampler) return "path: not a training checkpoint";
  if (a->rank != b->rank) return "path: the checkpoint has another rank";
  if (a->train_attn != b->train_attn || a->train_mlp != b->train_mlp ||
      a->train_unembed != b->train_unembed) {
    return "path: the checkpoint has other train_* flags than this model";
  }
  return NULL;
}

static void run_load(sim_server_t *s, op_t *op) {
  model_t *m = op->model;
  checkpoint_t *c = sim_checkpoint(s, tinker__str(op->path));
  const char *why = misfit(s, m, c);
  if (why) {
    fail(s, op, "user", why);
    return;
  }
  if (sim_hit(s, SIM_BUG_LOAD_FAILS, m) || c->fails) {
    fail(s, op, "server", "the checkpoint could not be read");
    return;
  }
  bool optimizer = op->optimizer;
  if (sim_hit(s, SIM_BUG_DROP_OPTIMIZER, m)) optimizer = false;
  m->view.steps = c->view.steps;
  m->view.loaded = sim_server_find_checkpoint(s, c->view.path);
  m->view.loaded_optimizer = op->optimizer;
  ((sim_entry_t *)s->entries.items[op->entry])->checkpoint = m->view.loaded;
  if (sim_hit(s, SIM_BUG_LOAD_OLD, m) && c->before) c = c->before;
  m->net = c->net;
  if (sim_hit(s, SIM_BUG_LOAD_BASE, m)) sim_net_init(&m->net, m->view.rank, 98);
  if (!optimizer) {
    memset(m->net.m, 0, sizeof m->net.m);
    memset(m->net.v, 0, sizeof m->net.v);
    m->net.t = 0;
  }
  tinker__load_weights_result_t result = {op->path, m->view.id};
  done(s, op, &tinker__load_weights_result_msg, &result);
}

/* --- Execution ------------------------------------------------------------ */

static void run_kind(sim_server_t *s, op_t *op, int64_t ms) {
  tinker__create_model_result_t made = {op->model->view.id};
  switch (op->kind) {
  case SIM_CREATE_MODEL:
    sim_net_init(&op->model->net, op->model->view.rank,
                 op->model->view.lora_seed);
    done(s, op, &tinker__create_model_result_msg, &made);
    break;
  case SIM_FORWARD:
  case SIM_FORWARD_BACKWARD: run_pass(s, op); break;
  case SIM_OPTIM_STEP: run_step(s, op); break;
  case SIM_SAVE:
  case SIM_SAVE_SAMPLER: run_save(s, op, ms); break;
  default: run_load(s, op);
  }
}

static void corrupt(model_t *m, bool hidden) {
  m->view.corrupted = true;
  m->view.hidden = hidden;
}

/* The acts on a model and its session. */
static void act(sim_server_t *s, model_t *m, sim_bug_t bug, int64_t arg) {
  switch (bug) {
  case SIM_BUG_CORRUPT: corrupt(m, false); break;
  case SIM_BUG_CORRUPT_HIDDEN: corrupt(m, true); break;
  case SIM_BUG_UNLOAD: m->view.unloaded = true; break;
  case SIM_BUG_DELETE_RUN: m->view.unloaded = m->view.deleted = true; break;
  case SIM_BUG_DROP_SESSION: m->session->view.gone = true; break;
  case SIM_BUG_RESET_SEQUENCE:
    m->ops = m->last_op = NULL;
    m->view.next_seq = 1;
    m->strict = arg != 0;
    break;
  case SIM_BUG_DELETE_NEWEST: {
    checkpoint_t *c = last_state(s, m);
    if (c && !c->view.deleted_ms) c->view.deleted_ms = s->now_ms;
    break;
  }
  default: break;
  }
}

void sim_server_hit(sim_server_t *s, int64_t now_ms, sim_bug_t bug,
                    int64_t model) {
  sim_server_run(s, now_ms);
  s->hits[bug]++;
  act(s, s->models.items[model], bug, 0);
}

static void act_if_hit(sim_server_t *s, model_t *m, sim_bug_t bug) {
  const sim_fault_t *f = sim_hit(s, bug, m);
  if (f) act(s, m, bug, f->arg);
}

/* A batch that corrupts whatever model sees it. */
static void meet_poison(sim_server_t *s, const op_t *op, const sim_entry_t *e) {
  if (op->kind != SIM_FORWARD_BACKWARD) return;
  if (sim_hit(s, SIM_BUG_POISON_BATCH, op->model)) {
    s->has_poison = true;
    memcpy(s->poison, e->batch, sizeof s->poison);
  }
  if (s->has_poison && !memcmp(s->poison, e->batch, sizeof s->poison)) {
    corrupt(op->model, false);
  }
}

/* Bugs that strike before a mutation; true: it fails. */
static bool suffers(sim_server_t *s, op_t *op, const sim_entry_t *e) {
  model_t *m = op->model;
  bool fails = false;
  if (op->kind != SIM_FORWARD && op->kind != SIM_CREATE_MODEL) {
    act_if_hit(s, m, SIM_BUG_CORRUPT);
    act_if_hit(s, m, SIM_BUG_CORRUPT_HIDDEN);
    meet_poison(s, op, e);
    fails = sim_hit(s, SIM_BUG_FAIL, m) != NULL;
  }
  if (m->view.corrupted) {
    fail(s, op, "server", "the model can't go on: corrupted");
  } else if (fails) {
    fail(s, op, "server", "internal error");
  }
  return fails || m->view.corrupted;
}

static void strike_after(sim_server_t *s, const op_t *op) {
  static const sim_bug_t bugs[] = {SIM_BUG_UNLOAD, SIM_BUG_DELETE_RUN,
                                   SIM_BUG_DROP_SESSION, SIM_BUG_RESET_SEQUENCE,
                                   SIM_BUG_DELETE_NEWEST};
  if (op->kind == SIM_FORWARD || op->kind == SIM_CREATE_MODEL) return;
  for (size_t i = 0; i < sizeof bugs / sizeof *bugs; i++) {
    act_if_hit(s, op->model, bugs[i]);
  }
}

static void note_state(model_t *m, sim_entry_t *e) {
  sim_net_digest(&m->net, e->weights, e->optimizer, e->gradients);
  memcpy(m->view.weights, e->weights, sizeof m->view.weights);
  memcpy(m->view.optimizer, e->optimizer, sizeof m->view.optimizer);
}

void sim_execute(sim_server_t *s, op_t *op, int64_t ms) {
  model_t *m = op->model;
  sim_entry_t *e = s->entries.items[op->entry];
  int times = 1 + op->repeats;
  op->repeats = 0;
  e->done_ms = ms;
  e->order = ++s->orders;
  if (op->ignored) {
    e->fate = SIM_IGNORED;
    op->state = OP_GONE;
    return;
  }
  bool trains = op->kind == SIM_FORWARD_BACKWARD || op->kind == SIM_OPTIM_STEP;
  if (suffers(s, op, e)) {
    times = 0;
  } else if (trains && sim_hit(s, SIM_BUG_APPLY_TWICE, m)) {
    times++;
  }
  for (int i = 0; i < times; i++) run_kind(s, op, ms);
  if (op->state == OP_DONE) e->times += times;
  e->fate = op->state == OP_DONE ? SIM_APPLIED : SIM_FAILED;
  note_state(m, e);
  strike_after(s, op);
}

/* --- Time ----------------------------------------------------------------- */

static int64_t later(int64_t a, int64_t b) {
  return a > b ? a : b;
}

int64_t sim_op_ready(const op_t *op, int64_t *missing) {
  const model_t *m = op->model;
  int64_t at = m->free_ms;
  *missing = -1;
  for (int64_t seq = m->view.next_seq; seq <= op->seq; seq++) {
    const op_t *o = sim_op(m, seq);
    if (!o) *missing = seq;
    if (!o || o->stuck) return INT64_MAX;
    if (o->state == OP_REJECTED) continue;
    at = later(at, later(o->arrived_ms, o->paused_until_ms)) + o->cost_ms;
  }
  return at;
}

/* The call that a model executes next, or NULL. */
static op_t *next_op(model_t *m) {
  op_t *op = sim_op(m, m->view.next_seq);
  while (op && op->state == OP_REJECTED) {
    op = sim_op(m, ++m->view.next_seq);
  }
  return op;
}

/* Calls behind a gap are over when their session is. */
static void fail_gap(sim_server_t *s, model_t *m) {
  char why[100];
  snprintf(why, sizeof why,
           "waiting for seq_id %lld, and the session has ended",
           (long long)m->view.next_seq);
  for (op_t *op = m->ops; op; op = op->next) {
    if (op->state != OP_WAITING) continue;
    fail(s, op, "user", why);
    ((sim_entry_t *)s->entries.items[op->entry])->fate = SIM_FAILED;
  }
}

/* Executes the earliest call that is due; false when there is none. */
static bool run_one(sim_server_t *s, int64_t now_ms) {
  op_t *first = NULL;
  int64_t at = now_ms, missing;
  for (size_t i = 0; i < s->models.n; i++) {
    model_t *m = s->models.items[i];
    op_t *op = next_op(m);
    if (!op && m->session->view.ended_ms) fail_gap(s, m);
    if (!op || m->view.unloaded) continue;
    int64_t ready = sim_op_ready(op, &missing);
    if (ready > now_ms || (first && ready >= at)) continue;
    first = op;
    at = ready;
  }
  if (!first) return false;
  first->model->free_ms = at;
  first->model->view.next_seq = first->seq + 1;
  sim_execute(s, first, at);
  return true;
}

void sim_server_run(sim_server_t *s, int64_t now_ms) {
  s->now_ms = now_ms;
  while (run_one(s, now_ms)) {
  }
  for (size_t i = 0; i < s->sessions.n; i++) {
    session_t *n = s->sessions.items[i];
    int64_t end = n->view.seen_ms + s->session_ms;
    if (n->view.ended_ms || end > now_ms) continue;
    sim_session_end(s, n, "no heartbeat", end);
  }
  for (size_t i = 0; i < s->checkpoints.n; i++) {
    sim_checkpoint_t *c = s->checkpoints.items[i];
    if (c->deleted_ms || !c->expires_ms || c->expires_ms > now_ms) continue;
    c->deleted_ms = c->expires_ms;
  }
}
