/* server: see server.h. This file owns the state: sessions, models,
 * checkpoints, the ledger and the faults. server_run.c executes calls,
 * server_http.c and server_rest.c answer requests, server_net.c computes. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/map.h"
#include "sim/server_in.h"
#include "wire/path.h"

/* --- Memory --------------------------------------------------------------- */

static void *there(void *block) {
  if (block) return block;
  fprintf(stderr, "simulated service: out of memory\n");
  abort();
}

void *sim_new(sim_server_t *s, size_t size) {
  return there(tinker__arena_array(&s->arena, 1, size ? size : 1));
}

char *sim_text(sim_server_t *s, tinker__str_t text) {
  return there(tinker__arena_str(&s->arena, text));
}

void sim_push(sim_server_t *s, table_t *table, void *item) {
  table->items = there(tinker__arena_grow(&s->arena, table->items, table->n,
                                          &table->cap, sizeof(void *)));
  table->items[table->n++] = item;
}

sim_server_t *sim_server_new(uint64_t seed) {
  sim_server_t *s = there(calloc(1, sizeof *s));
  tinker__mem_init(&s->mem, NULL, 0);
  tinker__arena_init(&s->arena, &s->mem);
  tinker__arena_init(&s->scratch, &s->mem);
  tinker__buf_init(&s->out, &s->mem, (size_t)1 << 26);
  s->seed = seed;
  s->session_ms = 600000;
  return s;
}

void sim_server_free(sim_server_t *s) {
  if (!s) return;
  tinker__buf_free(&s->out);
  tinker__arena_free(&s->scratch);
  tinker__arena_free(&s->arena);
  free(s);
}

/* --- Going wrong ---------------------------------------------------------- */

const char *sim_bug_name(sim_bug_t bug) {
  static const char *const names[SIM_BUGS] = {
#define NAME(bug) [SIM_BUG_##bug] = #bug
      NAME(NONE),
      NAME(CORRUPT),
      NAME(CORRUPT_HIDDEN),
      NAME(SHOW_CORRUPTED),
      NAME(OMIT_CORRUPTED),
      NAME(FAIL),
      NAME(UNLOAD),
      NAME(DELETE_RUN),
      NAME(DROP_SESSION),
      NAME(RESET_SEQUENCE),
      NAME(STALE_LISTS),
      NAME(RETIRED),
      NAME(DELETE_NEWEST),
      NAME(BEAT_GONE),
      NAME(FORGET),
      NAME(STUCK),
      NAME(FORGET_UNAPPLIED),
      NAME(PAUSE),
      NAME(SLOW),
      NAME(NO_DEDUP),
      NAME(REJECT),
      NAME(REFUSE),
      NAME(APPLY_TWICE),
      NAME(KEEP_GRADIENTS),
      NAME(IGNORE_UPDATE),
      NAME(FLIP_UPDATE),
      NAME(NAN),
      NAME(SPIKE),
      NAME(RAMP),
      NAME(CONSTANT),
      NAME(POISON_BATCH),
      NAME(SAVE_FAILS),
      NAME(SAVE_PENDING),
      NAME(SAVE_UNLISTED),
      NAME(SAVE_FLIP),
      NAME(SAVE_OLD),
      NAME(SAVE_POISONED),
      NAME(SAVE_SHORT),
      NAME(SAVE_TAKEN),
      NAME(DROP_OPTIMIZER),
      NAME(LOAD_BASE),
      NAME(LOAD_OLD),
      NAME(LOAD_FAILS),
      NAME(WRONG_INFO),
      NAME(SWAPPED_FLAGS)};
#undef NAME
  return names[bug];
}

void sim_server_add_fault(sim_server_t *s, const sim_fault_t *fault) {
  if (s->n_faults == sizeof s->faults / sizeof *s->faults) abort();
  s->seen[s->n_faults] = 0;
  s->faults[s->n_faults++] = *fault;
}

void sim_server_heal(sim_server_t *s) {
  s->n_faults = 0;
  s->has_poison = false;
}

int64_t sim_server_hits(const sim_server_t *s, sim_bug_t bug) {
  return s->hits[bug];
}

void sim_server_set_session_ms(sim_server_t *s, int64_t ms) {
  s->session_ms = ms;
}

const sim_fault_t *sim_hit(sim_server_t *s, sim_bug_t bug, const model_t *m) {
  const sim_fault_t *hit = NULL;
  for (size_t i = 0; i < s->n_faults; i++) {
    const sim_fault_t *f = &s->faults[i];
    if (f->bug != bug) continue;
    if (f->model >= 0 && (!m || s->models.items[f->model] != m)) continue;
    int64_t seen = ++s->seen[i];
    if (seen < f->nth || (f->times && seen >= f->nth + f->times)) continue;
    hit = f;
  }
  if (hit) s->hits[bug]++;
  return hit;
}

/* --- What there is -------------------------------------------------------- */

#define TABLE(type, entity, plural, field)                                     \
  size_t sim_server_##plural(const sim_server_t *s) {                          \
    return s->field.n;                                                         \
  }                                                                            \
  const type *sim_server_##entity(const sim_server_t *s, size_t i) {           \
    return s->field.items[i];                                                  \
  }
/* A view is the first member of what it is of. */
TABLE(sim_entry_t, entry, entries, entries)
TABLE(sim_session_t, session, sessions, sessions)
TABLE(sim_model_t, model, models, models)
TABLE(sim_checkpoint_t, checkpoint, checkpoints, checkpoints)
#undef TABLE

int32_t sim_index(const table_t *table, const void *item) {
  for (size_t i = 0; i < table->n; i++) {
    if (table->items[i] == item) return (int32_t)i;
  }
  return -1;
}

session_t *sim_session(const sim_server_t *s, tinker__str_t id) {
  for (size_t i = 0; i < s->sessions.n; i++) {
    session_t *n = s->sessions.items[i];
    if (tinker__str_eqs(id, n->view.id)) return n;
  }
  return NULL;
}

int32_t sim_server_find_model(const sim_server_t *s, const char *id) {
  for (size_t i = 0; i < s->models.n; i++) {
    if (!strcmp(id, sim_server_model(s, i)->id)) return (int32_t)i;
  }
  return -1;
}

int32_t sim_server_find_checkpoint(const sim_server_t *s, const char *path) {
  for (size_t i = s->checkpoints.n; i-- > 0;) {
    if (!strcmp(path, sim_server_checkpoint(s, i)->path)) return (int32_t)i;
  }
  return -1;
}

model_t *sim_model(const sim_server_t *s, tinker__str_t id) {
  for (size_t i = 0; i < s->models.n; i++) {
    model_t *m = s->models.items[i];
    if (tinker__str_eqs(id, m->view.id)) return m;
  }
  return NULL;
}

checkpoint_t *sim_checkpoint(const sim_server_t *s, tinker__str_t path) {
  for (size_t i = 0; i < s->checkpoints.n; i++) {
    checkpoint_t *c = s->checkpoints.items[i];
    bool there = !c->view.deleted_ms && !c->view.unlisted;
    if (there && tinker__str_eqs(path, c->view.path)) return c;
  }
  return NULL;
}

op_t *sim_op(const model_t *m, int64_t seq) {
  for (op_t *op = m->ops; op; op = op->next) {
    if (op->seq == seq) return op;
  }
  return NULL;
}

model_t *sim_model_new(sim_server_t *s, session_t *n, int64_t seq) {
  model_t *m = sim_new(s, sizeof *m);
  snprintf(m->view.id, sizeof m->view.id, "%s:train:%lld", n->view.id,
           (long long)seq);
  m->session = n;
  m->view.session = sim_index(&s->sessions, n);
  m->view.seq = seq;
  m->view.created_ms = m->view.used_ms = s->now_ms;
  m->view.loaded = -1;
  sim_push(s, &s->models, m);
  return m;
}

/* What a call costs is drawn from its place, not from the order of arrival. */
static int64_t cost(const sim_server_t *s, const op_t *op) {
  static const int64_t most[SIM_KINDS] = {
      [SIM_CREATE_MODEL] = 400, [SIM_LOAD_NEW] = 800,
      [SIM_FORWARD] = 60,       [SIM_OPTIM_STEP] = 40,
      [SIM_LOAD] = 800,         [SIM_FORWARD_BACKWARD] = 120,
      [SIM_SAVE] = 600,         [SIM_SAVE_SAMPLER] = 300};
  uint64_t drawn = tinker__siphash(s->seed, 3, op->id, strlen(op->id));
  return most[op->kind] / 4 + (int64_t)(drawn % (uint64_t)most[op->kind]);
}

op_t *sim_op_add(sim_server_t *s, model_t *m, const op_t *op) {
  op_t *made = sim_new(s, sizeof *made);
  *made = *op;
  snprintf(made->id, sizeof made->id, "%s:%lld", m->view.id,
           (long long)op->seq);
  made->model = m;
  made->arrived_ms = s->now_ms;
  made->cost_ms = cost(s, made);
  if (m->last_op) {
    m->last_op->next = made;
  } else {
    m->ops = made;
  }
  m->last_op = made;
  return made;
}

void sim_like(sim_model_t *m, const sim_model_t *other) {
  m->rank = other->rank;
  m->lora_seed = other->lora_seed;
  m->train_attn = other->train_attn;
  m->train_mlp = other->train_mlp;
  m->train_unembed = other->train_unembed;
}

void sim_session_end(sim_server_t *s, session_t *n, const char *reason,
                     int64_t ms) {
  n->view.ended_ms = ms;
  n->view.end_reason = sim_text(s, tinker__str(reason));
}

/* --- The ledger ----------------------------------------------------------- */

const char *sim_kind_name(sim_kind_t kind) {
  static const char *const names[SIM_KINDS] = {
      "create_session", "finish_session", "create_model",
      "load_new",       "forward",        "forward_backward",
      "optim_step",     "save",           "save_sampler",
      "load",           "set_ttl",        "delete"};
  return names[kind];
}

sim_entry_t *sim_note(sim_server_t *s, sim_kind_t kind, const sim_request_t *r,
                      sim_reply_t *reply) {
  sim_entry_t *e = sim_new(s, sizeof *e);
  e->at_ms = s->now_ms;
  e->kind = kind;
  e->session = e->model = e->first = e->checkpoint = -1;
  e->seq = -1;
  tinker__sha256(r->body ? r->body : "", r->len, e->body);
  reply->entry = (int32_t)s->entries.n;
  sim_push(s, &s->entries, e);
  return e;
}

void sim_server_line(const sim_server_t *s, size_t i, char *out, size_t len) {
  static const char *const fates[] = {"refused", "waiting", "applied",
                                      "failed",  "ignored", "repeated"};
  const sim_entry_t *e = sim_server_entry(s, i);
  char weights[9];
  tinker__hex(e->weights, 4, weights);
  snprintf(out, len, "%8lld %-16s model %d:%lld %d %s x%d at %lld weights %s",
           (long long)e->at_ms, sim_kind_name(e->kind), (int)e->model,
           (long long)e->seq, e->status, fates[e->fate], (int)e->times,
           (long long)e->done_ms, weights);
}
