/* made_history: see made_history.h. */
#include "made_history.h"

#include <stdio.h>
#include <string.h>

static double loss_of(int64_t step) {
  return 10.0 / (double)(step + 1);
}

static void digest(unsigned char out[SIM_DIGEST_LEN], int tag) {
  memset(out, tag, SIM_DIGEST_LEN);
}

sim_entry_t *made_entry(made_t *m, sim_kind_t kind, int32_t session,
                        int32_t model) {
  sim_history_t *h = &m->h;
  sim_entry_t *e = &m->entries[h->entry_count++];
  *e = (sim_entry_t){.at_ms = m->now_ms,
                     .kind = kind,
                     .session = session,
                     .model = model,
                     .seq = (int64_t)h->entry_count,
                     .status = 200,
                     .first = -1,
                     .fate = SIM_APPLIED,
                     .done_ms = m->now_ms,
                     .times = 1,
                     .order = (int64_t)h->entry_count,
                     .checkpoint = -1};
  digest(e->body, (int)h->entry_count);
  m->now_ms += 10;
  return e;
}

sim_record_t *made_record_at(made_t *m, size_t at, int64_t epoch, int64_t type,
                             int64_t step) {
  sim_history_t *h = &m->h;
  sim_record_t *r = &m->records[at];
  memmove(r + 1, r, (h->record_count++ - at) * sizeof *r);
  memset(r, 0, sizeof *r);
  r->epoch = epoch;
  r->id = (int64_t)h->record_count;
  r->type = type;
  r->step = step;
  r->at_ms = m->now_ms;
  r->level = r->code = r->count = r->of_epoch = r->from_step = r->to_step = -1;
  r->slot = r->op = r->end = r->expires_ms = r->incident = r->attempt = -1;
  m->now_ms += 10;
  return r;
}

/* The supervisor's stand first, then those of each epoch. */
sim_record_t *made_record(made_t *m, int64_t epoch, int64_t type,
                          int64_t step) {
  size_t at = 0;
  while (at < m->h.record_count && m->records[at].epoch <= epoch) at++;
  return made_record_at(m, at, epoch, type, step);
}

sim_shadow_t *made_line(made_t *m, sim_shadow_kind_t kind, int64_t step) {
  sim_shadow_t *s = &m->shadow[m->h.shadow_count++];
  *s = (sim_shadow_t){.kind = kind, .now_ms = m->now_ms, .step = step};
  m->now_ms += 10;
  return s;
}

sim_record_t *made_intent(made_t *m, int64_t epoch, int64_t step,
                          const sim_entry_t *e) {
  sim_record_t *r = made_record(m, epoch, TINKER__REC_OP_INTENT, step);
  r->at_ms = e->at_ms;
  r->request_count = 1;
  r->requests[0].seq = e->seq;
  memcpy(r->requests[0].sha256, e->body, SIM_DIGEST_LEN);
  return r;
}

sim_record_t *made_find(made_t *m, int64_t type, int n) {
  for (size_t i = 0; i < m->h.record_count; i++) {
    if (m->records[i].type == type && --n == 0) return &m->records[i];
  }
  return NULL;
}

sim_entry_t *made_find_entry(made_t *m, sim_kind_t kind, int n) {
  for (size_t i = 0; i < m->h.entry_count; i++) {
    if (m->entries[i].kind == kind && --n == 0) return &m->entries[i];
  }
  return NULL;
}

void made_drop(made_t *m, sim_record_t *r) {
  size_t after = m->h.record_count - (size_t)(r - m->records) - 1;
  memmove(r, r + 1, after * sizeof *r);
  m->h.record_count--;
}

/* --- A run ---------------------------------------------------------------- */

static void begin(made_t *m) {
  memset(m, 0, sizeof *m);
  m->now_ms = 100;
  m->h = (sim_history_t){.lineage = "sim",
                         .entries = m->entries,
                         .sessions = m->sessions,
                         .models = m->models,
                         .checkpoints = m->checkpoints,
                         .records = m->records,
                         .journal_whole = true,
                         .shadow = m->shadow,
                         .last_fault_ms = -1,
                         .script = &m->script};
  sim_fate_script("none", 1, &m->script);
  m->script.trainer.every = 2;
  m->script.trainer.zero = false;
}

static void model(made_t *m, int32_t i, int32_t loaded) {
  sim_model_t *model = &m->models[i];
  snprintf(model->id, sizeof model->id, "m%d", (int)i + 1);
  snprintf(m->sessions[i].id, sizeof m->sessions[i].id, "s%d", (int)i + 1);
  model->session = i;
  model->loaded = loaded;
  m->h.model_count = m->h.session_count = (size_t)i + 1;
  made_record(m, 0, TINKER__REC_ATTEMPT_BEGIN, -1)->of_epoch = i + 1;
  made_intent(m, i + 1, 0, made_entry(m, SIM_CREATE_SESSION, i, -1));
  sim_entry_t *e =
      made_entry(m, loaded < 0 ? SIM_CREATE_MODEL : SIM_LOAD_NEW, i, i);
  e->checkpoint = loaded;
  int64_t steps = loaded < 0 ? 0 : m->checkpoints[loaded].steps;
  digest(e->weights, 0x40 + (int)steps);
  digest(e->optimizer, 0x80 + (int)steps);
  made_intent(m, i + 1, 0, e);
}

static void active(made_t *m, int32_t i, int64_t from, const char *path) {
  sim_record_t *r = made_record(m, 0, TINKER__REC_EPOCH_ACTIVE, from);
  r->of_epoch = i + 1;
  r->from_step = from;
  snprintf(r->model, sizeof r->model, "%s", m->models[i].id);
  snprintf(r->session, sizeof r->session, "%s", m->sessions[i].id);
  snprintf(r->path, sizeof r->path, "%s", path);
}

static void step(made_t *m, int32_t i, int64_t number) {
  sim_shadow_t *told = made_line(m, SIM_SHADOW_NEXT, number);
  told->rolled_back = i > 0 && number == 3;
  sim_entry_t *e = made_entry(m, SIM_FORWARD_BACKWARD, i, i);
  digest(e->batch, (int)number);
  made_intent(m, i + 1, number, e);
  e = made_entry(m, SIM_OPTIM_STEP, i, i);
  e->learning_rate = 0.5f;
  digest(e->weights, 0x40 + (int)number);
  digest(e->optimizer, 0x80 + (int)number);
  made_intent(m, i + 1, number, e);
  sim_record_t *r = made_record(m, i + 1, TINKER__REC_STEP_COMMIT, number);
  r->has_loss = true;
  r->loss = loss_of(number);
  made_line(m, SIM_SHADOW_COMMIT, number)->loss = loss_of(number);
}

static void save(made_t *m, int32_t i, int64_t number) {
  static const char *const names[] = {"c1", "c2", "c3"};
  int32_t at = (int32_t)m->h.checkpoint_count++;
  sim_checkpoint_t *c = &m->checkpoints[at];
  sim_entry_t *e = made_entry(m, SIM_SAVE, i, i);
  e->checkpoint = at;
  made_intent(m, i + 1, number, e);
  *c = (sim_checkpoint_t){.name = names[at],
                          .model = i,
                          .steps = number,
                          .created_ms = m->now_ms,
                          .size = 1};
  snprintf(c->path, sizeof c->path, "tinker://m%d/weights/%s", (int)i + 1,
           names[at]);
  digest(c->weights, 0x40 + (int)number);
  digest(c->optimizer, 0x80 + (int)number);
  sim_record_t *r = made_record(m, i + 1, TINKER__REC_CKPT_SAVED, number);
  snprintf(r->name, sizeof r->name, "%s", c->name);
  snprintf(r->path, sizeof r->path, "%s", c->path);
}

static void end(made_t *m) {
  made_record(m, 0, TINKER__REC_FINISH, 4);
  made_line(m, SIM_SHADOW_DONE, 0);
  m->h.end_ms = m->now_ms;
}

void made_undisturbed(made_t *m) {
  begin(m);
  model(m, 0, -1);
  active(m, 0, 0, "");
  for (int64_t n = 1; n <= 4; n++) {
    step(m, 0, n);
    if (n % 2 == 0) save(m, 0, n);
  }
  end(m);
}

static void go_back(made_t *m) {
  const sim_checkpoint_t *c = &m->checkpoints[0];
  m->h.last_fault_ms = m->now_ms;
  m->h.faults = 1;
  made_record(m, 0, TINKER__REC_INC_OPEN, 3)->incident = 1;
  model(m, 1, 0);
  sim_record_t *r = made_record(m, 0, TINKER__REC_PROVED, 2);
  r->of_epoch = 2;
  r->level = 3;
  snprintf(r->path, sizeof r->path, "%s", c->path);
  r = made_record(m, 0, TINKER__REC_ROLLBACK, 2);
  r->from_step = 3;
  r->to_step = 2;
  snprintf(r->why, sizeof r->why, "the model is corrupted");
  active(m, 1, 2, c->path);
  made_record(m, 0, TINKER__REC_INC_CLOSE, 2)->incident = 1;
}

void made_recovered(made_t *m, const made_t *undisturbed) {
  begin(m);
  m->h.undisturbed = &undisturbed->h;
  m->script.demand.least_incidents = m->script.demand.most_incidents = 1;
  m->script.demand.most_lost = m->script.demand.most_lost_all = 3;
  model(m, 0, -1);
  active(m, 0, 0, "");
  step(m, 0, 1);
  step(m, 0, 2);
  save(m, 0, 2);
  step(m, 0, 3);
  go_back(m);
  step(m, 1, 3);
  step(m, 1, 4);
  save(m, 1, 4);
  end(m);
}
