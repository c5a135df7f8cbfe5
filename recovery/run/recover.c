/* recover: what is done when a step or a model has failed, the least that
 * helps: the step again (nothing was applied), the same model again (R3), or a
 * new model of a checkpoint that is shown to be what was saved (R4, and R5 from
 * an older one); or the run stops (R9). The run's thread.
 *
 * Every decision is in the journal before it counts; EPOCH_ACTIVE alone makes
 * another model the run's. A process that dies in between begins the incident
 * again where the journal has it. */
#include <math.h>
#include <string.h>

#include "run/run.h"

static int journal_fault(tinker__rec_fault_t *f, int code) {
  *f = (tinker__rec_fault_t){.code = code, .unknown = true};
  tinker__why(f->why, sizeof f->why, 0, "the run's journal can't be written");
  return code;
}

static int note(tinker_run_t *run, tinker__rec_type_t type, int64_t step,
                const tinker__rec_facts_t *facts, tinker__rec_fault_t *f) {
  int rc = tinker__rec_note(run, NULL, type, step, facts, tinker__str(""));
  return rc == 0 ? 0 : journal_fault(f, rc);
}

/* --- Incidents ------------------------------------------------------------ */

static int open_incident(tinker_run_t *run, tinker__rec_fault_t *f) {
  tinker__rec_facts_t facts = TINKER__REC_FACTS_INIT;
  if (run->state.incident) return 0;
  facts.incident = run->state.incidents + 1;
  facts.code = run->fault.code;
  facts.cause = tinker__str(run->fault.why);
  facts.epoch = run->state.epoch;
  int rc = note(run, TINKER__REC_INC_OPEN, run->state.committed, &facts, f);
  if (rc == 0) {
    tinker__rec_say(run, "incident", run->state.committed, &facts);
  }
  return rc;
}

static int stop(tinker_run_t *run, const char *why, tinker__rec_fault_t *f) {
  tinker__rec_facts_t facts = TINKER__REC_FACTS_INIT;
  facts.incident = run->state.incident;
  facts.why = tinker__str(why);
  facts.cause = tinker__str(run->fault.why);
  int rc = note(run, TINKER__REC_INC_STOP, run->state.committed, &facts, f);
  if (rc != 0) return rc;
  tinker__rec_say(run, "stopped", run->state.committed, &facts);
  tinker__rec_retain_hold(run);
  pthread_mutex_lock(&run->lock);
  tinker__rec_run_move(run, TINKER__REC_RUN_STOPPED);
  pthread_mutex_unlock(&run->lock);
  return 0;
}

int tinker__rec_quarantine(tinker_run_t *run, const char *name, const char *why,
                           tinker__rec_fault_t *f) {
  tinker__rec_facts_t facts = TINKER__REC_FACTS_INIT;
  facts.name = tinker__str(name);
  facts.evidence = tinker__str(why);
  int rc =
      note(run, TINKER__REC_CKPT_QUARANTINED, run->state.committed, &facts, f);
  if (rc == 0) {
    tinker__rec_say(run, "checkpoint_refused", run->state.committed, &facts);
  }
  return rc;
}

/* The checkpoint that the active epoch was loaded from. */
static tinker__rec_ckpt_t *origin(tinker_run_t *run) {
  TINKER__LIST_EACH(l, tmp, &run->state.ckpts) {
    tinker__rec_ckpt_t *c = TINKER__CONTAINER(l, tinker__rec_ckpt_t, link);
    if (run->state.from_path && *run->state.from_path &&
        strcmp(c->path, run->state.from_path) == 0) {
      return c;
    }
  }
  return NULL;
}

/* --- Candidates ----------------------------------------------------------- */

/* The newest that a proof is possible for. */
static tinker__rec_ckpt_t *candidate(tinker_run_t *run) {
  tinker__rec_ckpt_t *best = NULL;
  TINKER__LIST_EACH(l, tmp, &run->state.ckpts) {
    tinker__rec_ckpt_t *c = TINKER__CONTAINER(l, tinker__rec_ckpt_t, link);
    if (!*c->path || !c->probe_count || !tinker__rec_usable(run, c)) continue;
    if (!best || c->step >= best->step) best = c;
  }
  return best;
}

int tinker__rec_load_model(tinker_run_t *run, tinker__rec_epoch_t *e,
                           const tinker__rec_ckpt_t *c,
                           tinker__rec_fault_t *f) {
  tinker_call_options_t call = TINKER_CALL_OPTIONS_INIT;
  tinker_state_options_t how = TINKER_STATE_OPTIONS_INIT;
  tinker__rec_stamps_t stamps;
  tinker__rec_stamps(run, e, TINKER__REC_NO_STEP, c->step, &stamps);
  how.metadata = stamps.list;
  how.metadata_count = stamps.count;
  call.tag =
      tinker__rec_epoch_made(e, c->step, TINKER__REC_SLOT_OTHER, NULL, c->name);
  call.timeout_ms = TINKER_NO_TIMEOUT;
  tinker_future_t *made = tinker_client_create_trainer_from_state_with(
      e->client, c->path, &how, &call);
  int rc = tinker__rec_await(made, f);
  if (rc == 0) rc = tinker_future_get_trainer(made, &e->trainer);
  tinker_future_release(made);
  return rc;
}

/* V3: the loaded model answers the probe set as the live one did when it was
 * saved. */
static int prove(tinker_run_t *run, tinker__rec_epoch_t *e,
                 const tinker__rec_ckpt_t *c, tinker__rec_fault_t *f) {
  tinker__buf_t found;
  uint64_t op =
      tinker__rec_epoch_made(e, c->step, TINKER__REC_SLOT_PROBE, NULL, c->name);
  tinker_future_t *probe = tinker__rec_probe(e->trainer, op, false);
  tinker__buf_init(&found, &run->mem, 1 << 20);
  int rc = tinker__rec_await(probe, f);
  if (rc == 0 && tinker__rec_probe_read(probe, &found) != 0) {
    rc = f->code = TINKER_ENOENT;
    tinker__why(f->why, sizeof f->why, 0, "the probe has no log-probabilities");
  }
  if (rc == 0) {
    double d = tinker__rec_probe_differ(c->probe, c->probe_count,
                                        (const float *)(void *)found.data,
                                        found.len / sizeof(float));
    if (!(d <= 6 * c->noise)) {
      rc = f->code = TINKER_ESTATE;
      f->unproven = true;
      tinker__why(f->why, sizeof f->why, 0,
                  "the loaded model is not the one that was saved: its "
                  "answers to the probe set differ by %a, allowed is %a",
                  d, 6 * c->noise);
    }
  }
  tinker_future_release(probe);
  tinker__buf_free(&found);
  return rc;
}

static int note_chosen(tinker_run_t *run, const tinker__rec_ckpt_t *c,
                       int64_t epoch, tinker__rec_fault_t *f) {
  tinker__rec_facts_t facts = TINKER__REC_FACTS_INIT;
  facts.epoch = epoch;
  facts.name = tinker__str(c->name);
  facts.path = tinker__str(c->path);
  facts.level = tinker__rec_proof_due(run, c) ? 4 : 3; /* to be proven */
  return note(run, TINKER__REC_CKPT_CHOSEN, c->step, &facts, f);
}

static int note_proved(tinker_run_t *run, const tinker__rec_ckpt_t *c,
                       int64_t epoch, const char *optimizer,
                       tinker__rec_fault_t *f) {
  tinker__rec_facts_t facts = TINKER__REC_FACTS_INIT;
  facts.epoch = epoch;
  facts.level = *optimizer ? 4 : 3;
  facts.name = tinker__str(c->name);
  facts.path = tinker__str(c->path);
  facts.evidence =
      tinker__str(*optimizer ? optimizer : "fingerprint of the loaded model");
  int rc = note(run, TINKER__REC_PROVED, c->step, &facts, f);
  if (rc == 0) rc = note(run, TINKER__REC_CKPT_LEVEL, c->step, &facts, f);
  if (rc == 0) tinker__rec_say(run, "proved", c->step, &facts);
  return rc;
}

int tinker__rec_note_rollback(tinker_run_t *run, int64_t to,
                              tinker__rec_fault_t *f) {
  tinker__rec_facts_t facts = TINKER__REC_FACTS_INIT;
  facts.from_step = run->state.committed;
  facts.to_step = to;
  facts.why = tinker__str(run->fault.why);
  int rc = note(run, TINKER__REC_ROLLBACK, to, &facts, f);
  if (rc == 0) tinker__rec_say(run, "rollback", to, &facts);
  return rc;
}

/* What the steps of the old branch have left, once another one counts. */
static void forget_steps(tinker_run_t *run, tinker__rec_epoch_t *old) {
  pthread_mutex_lock(&run->lock);
  TINKER__LIST_EACH(l, tmp, &run->steps) {
    tinker__rec_step_t *s = TINKER__CONTAINER(l, tinker__rec_step_t, link);
    if (old) tinker__rec_bodies_drop(&old->drops, s->number);
  }
  tinker__rec_steps_drop(run);
  tinker__rec_detect_rewind(run->detect);
  run->rolled_back = true;
  run->again = run->reattached = 0;
  memset(&run->fault, 0, sizeof run->fault);
  pthread_mutex_unlock(&run->lock);
}

static int close_incident(tinker_run_t *run, int64_t incident,
                          tinker__rec_fault_t *f) {
  tinker__rec_facts_t facts = TINKER__REC_FACTS_INIT;
  facts.incident = incident;
  facts.epoch = run->state.epoch;
  return note(run, TINKER__REC_INC_CLOSE, run->state.committed, &facts, f);
}

static int try_one(tinker_run_t *run, tinker__rec_epoch_t *e,
                   const tinker__rec_ckpt_t *c, tinker__rec_fault_t *f) {
  char optimizer[TINKER__REC_WHY] = "";
  int rc = note_chosen(run, c, e->number, f);
  if (rc == 0) rc = tinker__rec_load_model(run, e, c, f);
  if (rc == 0) rc = prove(run, e, c, f);
  if (rc == 0 && tinker__rec_proof_due(run, c)) {
    rc = tinker__rec_prove_optimizer(run, c, f, optimizer, sizeof optimizer);
  }
  if (rc == 0) rc = note_proved(run, c, e->number, optimizer, f);
  if (rc == 0) rc = tinker__rec_note_rollback(run, c->step, f);
  if (rc == 0) rc = tinker__rec_activate(run, e, c, f);
  return rc;
}

/* An attempt counts when it was seen to fail, not where nothing is known of the
 * service. */
static int note_failed(tinker_run_t *run, int64_t epoch,
                       tinker__rec_fault_t *f) {
  tinker__rec_facts_t facts = TINKER__REC_FACTS_INIT;
  tinker__rec_fault_t unwritten;
  if (f->unknown && !f->unsure) return 0;
  facts.epoch = epoch;
  facts.code = f->code;
  facts.why = tinker__str(f->why);
  int rc = note(run, TINKER__REC_ATTEMPT_END, run->state.committed, &facts,
                &unwritten);
  if (rc != 0) *f = unwritten;
  return rc;
}

/* A new model, of the checkpoint or of nothing. 0: it counts. */
static int attempt(tinker_run_t *run, const tinker__rec_ckpt_t *c,
                   tinker__rec_epoch_t *old, tinker__rec_fault_t *f) {
  tinker__rec_epoch_t *e = NULL;
  char why[TINKER__REC_WHY] = "";
  int64_t number, incident = run->state.incident;
  int rc = tinker__rec_heard(run, f);
  if (rc == 0) rc = tinker__rec_next_epoch(run, &number, f);
  if (rc == 0) {
    rc = tinker__rec_epoch_open(run, number, NULL, 0, &e, why, sizeof why);
    if (rc != 0) {
      *f = (tinker__rec_fault_t){.code = rc, .unknown = true};
      tinker__why(f->why, sizeof f->why, 0, "%s", why);
    }
  }
  if (rc != 0) return rc;
  rc = c ? try_one(run, e, c, f) : tinker__rec_begin(run, e, f);
  if (rc != 0) {
    tinker__rec_epoch_end(e);
    if (tinker__rec_is_elsewhere(run, f)) return f->code;
    int noted = note_failed(run, number, f);
    return noted != 0 ? noted : rc;
  }
  forget_steps(run, old);
  return close_incident(run, incident, f);
}

/* --- Levels --------------------------------------------------------------- */

static int again(tinker_run_t *run) {
  pthread_mutex_lock(&run->lock);
  run->again++;
  tinker__rec_steps_drop(run);
  memset(&run->fault, 0, sizeof run->fault);
  tinker__rec_run_move(run, TINKER__REC_RUN_READY);
  pthread_mutex_unlock(&run->lock);
  tinker__rec_say(run, "step_again", run->state.committed + 1, NULL);
  return 0;
}

/* Was something of a later step taken, whose calls were sent before it was
 * known that this one is refused? Then the model has that without this one. No
 * call is made any more; those that were made are waited for. */
static bool has_gone_on(tinker_run_t *run) {
  int64_t refused = run->state.committed + 1;
  bool gone = false;
  TINKER__LIST_EACH(l, tmp, &run->steps) {
    tinker__rec_step_t *s = TINKER__CONTAINER(l, tinker__rec_step_t, link);
    for (size_t i = 0; i < s->forward_count; i++) {
      tinker_future_wait(s->forward[i], -1);
    }
    if (s->optim) tinker_future_wait(s->optim, -1);
  }
  pthread_mutex_lock(&run->lock);
  TINKER__LIST_EACH(l, tmp, &run->state.ops) {
    const tinker__rec_op_t *op = TINKER__CONTAINER(l, tinker__rec_op_t, link);
    bool trains = op->slot == TINKER__REC_SLOT_FORWARD_BACKWARD ||
                  op->slot == TINKER__REC_SLOT_OPTIM;
    gone |= trains && op->step > refused && !tinker__rec_op_has_failed(op);
  }
  pthread_mutex_unlock(&run->lock);
  return gone;
}

/* What the service refuses in every process it refuses on every model. */
static int refused(tinker_run_t *run, tinker__rec_fault_t *f) {
  char why[TINKER__REC_WHY];
  int rc = open_incident(run, f);
  if (rc != 0) return rc;
  tinker__why(why, sizeof why, 0, "step %lld was refused %d times: %s",
              (long long)run->state.committed + 1, run->again + 1,
              run->fault.why);
  return stop(run, why, f);
}

static int same_model(tinker_run_t *run, tinker__rec_fault_t *f) {
  tinker__rec_fault_t cause = run->fault;
  run->reattached++;
  tinker__rec_epoch_end(run->epoch);
  int rc = tinker__rec_attach(run, f);
  if (rc == 0 && run->phase == TINKER__REC_RUN_READY) {
    pthread_mutex_lock(&run->lock);
    memset(&run->fault, 0, sizeof run->fault);
    pthread_mutex_unlock(&run->lock);
  } else if (rc != 0) { /* nobody has answered: it was no attempt */
    run->fault = cause;
    run->reattached--;
  }
  return rc;
}

static const char *give_up(const tinker_run_t *run, const tinker__rec_ckpt_t *c,
                           char *why, size_t why_len) {
  if (run->state.fruitless >= run->options.attempts) {
    tinker__why(why, why_len, 0,
                "%lld attempts to go back to a checkpoint have not brought the "
                "run beyond step %lld",
                (long long)run->state.fruitless,
                (long long)run->state.progress);
    return why;
  }
  int64_t back = run->state.committed - (c ? c->step : 0);
  if (c && run->ruled.max_rollback && back > run->ruled.max_rollback) {
    tinker__why(why, why_len, 0,
                "the newest checkpoint that is left is %lld steps back, and "
                "resume.max_rollback_steps is %lld",
                (long long)back, (long long)run->ruled.max_rollback);
    return why;
  }
  if (c) return NULL;
  if (tinker__list_empty(&run->state.ckpts)) {
    return run->options.allow_step_zero
               ? NULL
               : "there is no checkpoint, and options.allow_step_zero is 0";
  }
  return "no checkpoint is left that could be proven";
}

/* What the gate has saved before a bad step, if that is where the run is. */
static void settle_clean(tinker_run_t *run) {
  tinker__rec_fault_t failed = {0};
  pthread_mutex_lock(&run->lock);
  tinker__rec_step_t *s = run->clean;
  run->clean = NULL;
  if (s) {
    tinker__str_t cursor = tinker__buf_str(&run->state.cursor);
    s->cursor = tinker__mem_strndup(&run->mem, cursor.ptr, cursor.len);
    s->cursor_len = s->cursor ? cursor.len : 0;
  }
  pthread_mutex_unlock(&run->lock);
  if (!s) return;
  if (s->number == run->state.committed && s->cursor) {
    tinker__rec_ckpt_settle(run, s, NULL, &failed);
  }
  tinker__rec_step_free(run, s);
}

static const char *retired(const tinker_run_t *run,
                           const tinker__rec_fault_t *f, char *why,
                           size_t why_len) {
  tinker__why(why, why_len, 0,
              "the service does not offer the base model %s any more (%s): "
              "train on where it is offered, or begin a run of another model; "
              "the checkpoints are kept",
              run->plan.base_model, f->why);
  return why;
}

static int go_back(tinker_run_t *run, tinker__rec_fault_t *f) {
  char why[TINKER__REC_WHY];
  tinker__rec_epoch_t *old = run->epoch;
  int rc = 0;
  settle_clean(run);
  tinker__rec_ckpt_t *from = run->fault.unproven ? origin(run) : NULL;
  if (old) tinker__rec_epoch_end(old);
  if (from && !from->quarantined) {
    rc = tinker__rec_quarantine(run, from->name, run->fault.why, f);
  }
  while (rc == 0 && !atomic_load(&run->closing)) {
    tinker__rec_ckpt_t *c = candidate(run);
    const char *no = give_up(run, c, why, sizeof why);
    if (no) return stop(run, no, f);
    rc = attempt(run, c, old, f);
    if (rc == 0) return 0;
    if (f->unsure || f->code == TINKER_ESESSION || f->code == TINKER_ELOST) {
      rc = 0; /* nothing speaks against the checkpoint: the next attempt */
      continue;
    }
    if (f->unknown) return rc;
    if (tinker__rec_retired(run)) {
      return stop(run, retired(run, f, why, sizeof why), f);
    }
    if (!c) return rc;
    rc = tinker__rec_quarantine(run, c->name, f->why, f);
  }
  return rc;
}

static int from_checkpoint(tinker_run_t *run, tinker__rec_fault_t *f) {
  tinker__rec_lock_t turn;
  int rc = open_incident(run, f);
  if (rc == 0) rc = tinker__rec_turn_take(run, &turn, f);
  if (rc != 0) return rc;
  rc = go_back(run, f);
  tinker__rec_turn_end(&turn);
  return rc;
}

int tinker__rec_recover(tinker_run_t *run, tinker__rec_fault_t *f) {
  int most = run->options.attempts;
  if (run->fault.again && has_gone_on(run)) {
    run->fault.again = false;
    run->fault.model = true;
  }
  if (run->fault.again && run->again < most) return again(run);
  if (run->fault.again) return refused(run, f);
  if (!run->fault.model && !run->state.incident && run->reattached < most) {
    return same_model(run, f);
  }
  return from_checkpoint(run, f);
}
