/* rebuild: a run whose journal was lost, or is an older copy, goes on from the
 * newest checkpoint of its lineage that the service has (F73). The run's
 * thread, by the permission of the run's owner alone (options.behind).
 *
 * What such a checkpoint was when it was saved is nowhere, so its weights can't
 * be compared with it (V3). Shown is that it is there, of the plan's base model
 * and rank (V1, V2), and that two loads of it are one model whose optimizer is
 * restored (V4); the record says so. Its cursor is not known either: the next
 * step is handed out with cursor_lost.
 *
 * Until EPOCH_ACTIVE the journal does not own the epochs that it has found, so
 * a process that dies before begins again as this one did. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "run/run.h"

/* A later epoch that began after an earlier step has cut it off: what it was
 * not loaded from was refused then, or given up. */
static bool is_cut(const tinker__rec_survey_t *s,
                   const tinker__rec_found_t *c) {
  for (size_t i = 0; i < s->count; i++) {
    const tinker__rec_found_t *f = &s->found[i];
    if (f->epoch > c->epoch && f->from_step >= 0 && f->from_step < c->step) {
      return true;
    }
  }
  return false;
}

static bool may_be_tried(const tinker__rec_survey_t *s,
                         const tinker__rec_found_t *c) {
  const tinker__rec_state_t *state = &s->run->state;
  const tinker__world_t *world = s->run->world;
  if (c->is_model || c->step < 1 || c->epoch <= state->disowned) return false;
  if (c->expires_ms <= world->wall_ms(world->user)) return false;
  const tinker__rec_ckpt_t *known = tinker__rec_state_ckpt(state, c->name);
  if (known && strcmp(known->path, c->path) == 0 &&
      (known->quarantined || known->deleting)) {
    return false;
  }
  return !is_cut(s, c);
}

/* The newest that was not tried yet; NULL = none is left. */
static tinker__rec_found_t *next_of(tinker__rec_survey_t *s) {
  tinker__rec_found_t *best = NULL;
  for (size_t i = 0; i < s->count; i++) {
    tinker__rec_found_t *c = &s->found[i];
    if (c->tried || !may_be_tried(s, c)) continue;
    if (!best || tinker__rec_is_newer(c, best)) best = c;
  }
  if (best) best->tried = true;
  return best;
}

/* --- What can be shown of it ---------------------------------------------- */

static int is_of_plan(const tinker_run_t *run, const tinker_weights_info_t *w,
                      tinker__rec_fault_t *f) {
  const tinker_run_plan_t *p = &run->plan;
  bool trains[] = {!(p->freeze & TINKER_FREEZE_ATTENTION),
                   !(p->freeze & TINKER_FREEZE_MLP),
                   !(p->freeze & TINKER_FREEZE_UNEMBED)};
  int32_t found[] = {w->train_attention, w->train_mlp, w->train_unembed};
  bool same = strcmp(w->base_model, p->base_model) == 0 && w->is_lora &&
              (!w->lora_rank || w->lora_rank == p->rank);
  for (size_t i = 0; i < 3; i++) {
    same = same && (found[i] < 0 || (found[i] != 0) == trains[i]);
  }
  if (same) return 0;
  *f = (tinker__rec_fault_t){.code = TINKER_ESTATE, .unproven = true};
  return tinker__why(f->why, sizeof f->why, f->code,
                     "it is of %.100s with rank %u, or trains other parts than "
                     "the plan",
                     w->base_model, (unsigned)w->lora_rank);
}

/* V1 and V2. */
static int look_at(tinker__rec_survey_t *s, const tinker__rec_found_t *c,
                   tinker__rec_fault_t *f) {
  tinker_call_options_t call = TINKER_CALL_OPTIONS_INIT;
  const tinker_weights_info_t *w = NULL;
  call.timeout_ms = TINKER_NO_TIMEOUT;
  tinker_future_t *future =
      tinker_client_weights_info(s->run->home, c->path, &call);
  int rc = tinker__rec_ask(s->run, future, f);
  if (rc == TINKER_ENOENT) f->unproven = true;
  if (rc == 0) rc = tinker_future_get_weights_info(future, &w);
  if (rc == 0) rc = is_of_plan(s->run, w, f);
  tinker_future_release(future);
  return rc;
}

static int probe(tinker_run_t *run, tinker__rec_epoch_t *e,
                 const tinker__rec_ckpt_t *c, tinker__buf_t *out,
                 tinker__rec_fault_t *f) {
  uint64_t op =
      tinker__rec_epoch_made(e, c->step, TINKER__REC_SLOT_PROBE, NULL, c->name);
  tinker_future_t *future = tinker__rec_probe(e->trainer, op, false);
  int rc = tinker__rec_await(future, f);
  if (rc == 0) {
    rc = tinker__rec_probe_read(future, out);
    if (rc != 0) {
      *f = (tinker__rec_fault_t){.code = rc, .unproven = true};
      tinker__why(f->why, sizeof f->why, 0,
                  "the probe has no log-probabilities");
    }
  }
  tinker_future_release(future);
  (void)run;
  return rc;
}

/* The fingerprint of the loaded model, and how far two of it are apart: what
 * later loads of the checkpoint are compared with. */
static int fingerprint(tinker_run_t *run, tinker__rec_epoch_t *e,
                       tinker__rec_ckpt_t *c, tinker__buf_t *first,
                       tinker__rec_fault_t *f) {
  tinker__buf_t second;
  tinker__buf_init(&second, &run->mem, 1 << 20);
  int rc = probe(run, e, c, first, f);
  if (rc == 0) rc = probe(run, e, c, &second, f);
  if (rc == 0) {
    c->probe = (float *)(void *)first->data;
    c->probe_count = first->len / sizeof(float);
    c->noise = tinker__rec_probe_differ(c->probe, c->probe_count,
                                        (const float *)(void *)second.data,
                                        second.len / sizeof(float));
  }
  tinker__buf_free(&second);
  if (rc != 0 || c->noise - c->noise == 0) return rc;
  *f = (tinker__rec_fault_t){.code = TINKER_ESTATE, .unproven = true};
  return tinker__why(f->why, sizeof f->why, f->code,
                     "the loaded model gives no finite log-probabilities");
}

/* --- Records -------------------------------------------------------------- */

static int fault(tinker__rec_fault_t *f, int rc, const char *why) {
  if (rc == 0) return 0;
  *f = (tinker__rec_fault_t){.code = rc, .unknown = true};
  return tinker__why(f->why, sizeof f->why, rc, "%s", why);
}

static int note(tinker_run_t *run, tinker__rec_epoch_t *e,
                tinker__rec_type_t type, const tinker__rec_ckpt_t *c,
                tinker__rec_facts_t *facts, tinker__str_t bytes,
                tinker__rec_fault_t *f) {
  facts->name = tinker__str(c->name);
  return fault(f, tinker__rec_note(run, e, type, c->step, facts, bytes),
               "the run's journal can't be written");
}

static int note_chosen(tinker_run_t *run, const tinker__rec_epoch_t *e,
                       const tinker__rec_ckpt_t *c, tinker__rec_fault_t *f) {
  tinker__rec_facts_t facts = TINKER__REC_FACTS_INIT;
  facts.epoch = e->number;
  facts.path = tinker__str(c->path);
  facts.level = 2;
  facts.cause = tinker__str("rebuild");
  return note(run, NULL, TINKER__REC_CKPT_CHOSEN, c, &facts, tinker__str(""),
              f);
}

static int note_proved(tinker_run_t *run, const tinker__rec_epoch_t *e,
                       const tinker__rec_ckpt_t *c, const char *optimizer,
                       tinker__rec_fault_t *f) {
  tinker__rec_facts_t facts = TINKER__REC_FACTS_INIT;
  char evidence[2 * TINKER__REC_WHY];
  snprintf(evidence, sizeof evidence,
           "base model and rank are the plan's (V2), the optimizer is restored "
           "(V4: %s); no fingerprint of the save is left, so its weights were "
           "not compared with it (no V3)",
           optimizer);
  facts.epoch = e->number;
  facts.path = tinker__str(c->path);
  facts.level = 2;
  facts.evidence = tinker__str(evidence);
  facts.cause = tinker__str("rebuild");
  int rc = note(run, NULL, TINKER__REC_PROVED, c, &facts, tinker__str(""), f);
  if (rc == 0) tinker__rec_say(run, "rebuilt", c->step, &facts);
  return rc;
}

/* From now on it is a checkpoint as any other, but for its cursor. */
static int note_ckpt(tinker_run_t *run, tinker__rec_epoch_t *e,
                     const tinker__rec_ckpt_t *c, tinker__rec_fault_t *f) {
  tinker__rec_facts_t saved = TINKER__REC_FACTS_INIT;
  tinker__rec_facts_t print = TINKER__REC_FACTS_INIT;
  tinker__rec_facts_t level = TINKER__REC_FACTS_INIT;
  saved.path = tinker__str(c->path);
  saved.lost = 1;
  if (c->expires_ms != TINKER__REC_NEVER) saved.expires_ms = c->expires_ms;
  print.noise = c->noise;
  print.has_noise = true;
  level.level = 2;
  int rc = note(run, e, TINKER__REC_CKPT_SAVED, c, &saved, tinker__str(""), f);
  if (rc == 0) {
    rc = note(run, e, TINKER__REC_CKPT_FINGERPRINT, c, &print,
              (tinker__str_t){(const char *)(const void *)c->probe,
                              c->probe_count * sizeof *c->probe},
              f);
  }
  if (rc != 0) return rc;
  return note(run, NULL, TINKER__REC_CKPT_LEVEL, c, &level, tinker__str(""), f);
}

static void note_failed(tinker_run_t *run, const tinker__rec_epoch_t *e,
                        const tinker__rec_fault_t *f) {
  tinker__rec_facts_t facts = TINKER__REC_FACTS_INIT;
  facts.epoch = e->number;
  facts.code = f->code;
  facts.why = tinker__str(f->why);
  tinker__rec_note(run, NULL, TINKER__REC_ATTEMPT_END, run->state.committed,
                   &facts, tinker__str(""));
}

/* --- One attempt ---------------------------------------------------------- */

static int take(tinker_run_t *run, tinker__rec_epoch_t *e,
                tinker__rec_ckpt_t *c, tinker__rec_fault_t *f) {
  char optimizer[TINKER__REC_WHY] = "";
  tinker__buf_t print;
  tinker__buf_init(&print, &run->mem, 1 << 20);
  int rc = note_chosen(run, e, c, f);
  if (rc == 0) rc = tinker__rec_load_model(run, e, c, f);
  if (rc == 0) rc = fingerprint(run, e, c, &print, f);
  if (rc == 0) {
    rc = tinker__rec_prove_optimizer(run, c, f, optimizer, sizeof optimizer);
  }
  if (rc == 0) rc = note_proved(run, e, c, optimizer, f);
  if (rc == 0) rc = tinker__rec_activate(run, e, c, f);
  if (rc == 0) rc = note_ckpt(run, e, c, f);
  tinker__buf_free(&print);
  return rc;
}

static int attempt(tinker_run_t *run, tinker__rec_ckpt_t *c,
                   tinker__rec_fault_t *f) {
  tinker__rec_epoch_t *e = NULL;
  char why[TINKER__REC_WHY] = "";
  int64_t number;
  int rc = tinker__rec_next_epoch(run, &number, f);
  if (rc != 0) return rc;
  rc = tinker__rec_epoch_open(run, number, NULL, 0, &e, why, sizeof why);
  if (rc != 0) return fault(f, rc, why);
  c->epoch = number;
  rc = take(run, e, c, f);
  if (run->epoch == e) return rc; /* it counts, also without a record of c */
  note_failed(run, e, f);
  tinker__rec_epoch_end(e);
  return rc;
}

static void say_refused(tinker_run_t *run, const tinker__rec_found_t *c,
                        const tinker__rec_fault_t *f) {
  tinker__rec_facts_t facts = TINKER__REC_FACTS_INIT;
  facts.name = tinker__str(c->name);
  facts.path = tinker__str(c->path);
  facts.evidence = tinker__str(f->why);
  tinker__rec_say(run, "checkpoint_refused", c->step, &facts);
}

/* What the plan was then is not known but for its digest. */
static int same_plan(const tinker_run_t *run, const tinker__rec_found_t *c,
                     tinker__rec_fault_t *f) {
  if (c->same_plan8 || run->options.allow == TINKER__REC_ALLOW_ALL) return 0;
  *f = (tinker__rec_fault_t){.code = TINKER_ESTATE};
  return tinker__why(f->why, sizeof f->why, f->code,
                     "%.160s was saved under another plan than this one, and "
                     "which field differs is not known: open the run with that "
                     "plan, or with all bits of TINKER_PLAN_* in options.allow",
                     c->path);
}

static void settle(tinker_run_t *run) {
  pthread_mutex_lock(&run->lock);
  run->rolled_back = true;
  memset(&run->fault, 0, sizeof run->fault);
  pthread_mutex_unlock(&run->lock);
  run->seen_epoch = 0;
}

static int none_left(const tinker_run_t *run, tinker__rec_fault_t *f) {
  *f = (tinker__rec_fault_t){.code = TINKER_ESTATE};
  return tinker__why(
      f->why, sizeof f->why, f->code,
      "run %s can't be rebuilt: the service has made more of it than the "
      "journal in %.200s knows, and no checkpoint of it is left that is there, "
      "of the plan's base model and rank, and has its optimizer",
      run->options.name, run->dir);
}

int tinker__rec_rebuild(tinker__rec_survey_t *s, tinker__rec_fault_t *f) {
  tinker_run_t *run = s->run;
  tinker__rec_found_t *found;
  while ((found = next_of(s)) != NULL && !atomic_load(&run->closing)) {
    tinker__rec_ckpt_t c = {.name = (char *)(uintptr_t)found->name,
                            .path = (char *)(uintptr_t)found->path,
                            .step = found->step,
                            .expires_ms = found->expires_ms,
                            .cursor_lost = true};
    int rc = same_plan(run, found, f);
    if (rc != 0) return rc;
    rc = look_at(s, found, f);
    if (rc == 0) rc = attempt(run, &c, f);
    if (rc == 0) {
      settle(run);
      return 0;
    }
    if (!f->unproven && rc != TINKER_ENOENT) return rc;
    say_refused(run, found, f);
  }
  return none_left(run, f);
}
