/* checkpoint: a save of the run's model, with the fingerprint that a later load
 * is compared with. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "run/run.h"

static int64_t boot_ms(const tinker_run_t *run) {
  return run->world->boot_ms(run->world->user);
}

static bool is_time(const tinker_run_t *run) {
  int64_t least = tinker__rec_interval(&run->ruled.interval, run->save_cost_ms);
  return boot_ms(run) - run->saved_ms >= least;
}

bool tinker__rec_ckpt_due(const tinker_run_t *run, int64_t step) {
  if (run->save_due) return true;
  int64_t every = run->options.checkpoint_every;
  if (every < 0 && is_time(run)) return true;
  return (every > 0 && step % every == 0) || step == run->plan.steps;
}

/* L<lineage>-e<epoch>-s<step>-<plan>: whoever lists the checkpoints of an
 * account finds the run's again without its journal. */
static void name_of(const tinker_run_t *run, const tinker__rec_epoch_t *e,
                    int64_t step, const char *tail, char *out, size_t room) {
  snprintf(out, room, "L%.8s-e%lld-s%lld-%s%s", run->lineage,
           (long long)e->number, (long long)step, run->plan8, tail);
}

void tinker__rec_ckpt_submit(tinker_run_t *run, tinker__rec_epoch_t *e,
                             tinker__rec_step_t *s, tinker__rec_save_t why) {
  bool ahead = why == TINKER__REC_SAVE_CLEAN;
  char tail[32] = "";
  tinker_call_options_t call = TINKER_CALL_OPTIONS_INIT;
  tinker_save_options_t how = TINKER_SAVE_OPTIONS_INIT;
  tinker__rec_stamps_t stamps;
  how.ttl_seconds = run->options.ttl_seconds;
  pthread_mutex_lock(&run->lock);
  tinker__rec_stamps(run, e, s->number, run->state.from_step, &stamps);
  how.metadata = stamps.list;
  how.metadata_count = stamps.count;
  if (ahead) {
    snprintf(tail, sizeof tail, "-c");
  } else if (why == TINKER__REC_SAVE_ASKED || run->save_due) {
    /* Of one step there may be several: a number that no save had before. What
     * has a name already is never taken for the save of that name. */
    snprintf(tail, sizeof tail, "-b%llu", (unsigned long long)run->next_op + 1);
  }
  name_of(run, e, s->number, tail, s->ckpt, sizeof s->ckpt);
  if (!ahead) run->save_due = false;
  s->save_ms = run->saved_ms = boot_ms(run);
  bool twice = !run->noise_known && !ahead;
  tinker_trainer_t *trainer = tinker_trainer_retain(e->trainer);
  pthread_mutex_unlock(&run->lock);
  s->save_op = tinker__rec_epoch_made(e, s->number, TINKER__REC_SLOT_SAVE, NULL,
                                      s->ckpt);
  s->probe_op = tinker__rec_epoch_made(e, s->number, TINKER__REC_SLOT_PROBE,
                                       NULL, s->ckpt);
  call.tag = s->save_op;
  call.ahead = ahead;
  call.timeout_ms = TINKER_NO_TIMEOUT;
  tinker_future_t *save =
      tinker_trainer_save_state(trainer, s->ckpt, &how, &call);
  tinker_future_t *probe = tinker__rec_probe(trainer, s->probe_op, ahead);
  pthread_mutex_lock(&run->lock); /* the watch looks at them */
  s->save = save;
  s->probe = probe;
  pthread_mutex_unlock(&run->lock);
  if (twice) {
    uint64_t op = tinker__rec_epoch_made(e, s->number, TINKER__REC_SLOT_OTHER,
                                         NULL, NULL);
    tinker_future_t *again = tinker__rec_probe(trainer, op, false);
    pthread_mutex_lock(&run->lock);
    s->probe_again = again;
    pthread_mutex_unlock(&run->lock);
  }
  tinker_trainer_release(trainer);
}

/* How far two answers of one model are apart: 0 where the service computes the
 * same bits each time. */
static void measure_noise(tinker_run_t *run, tinker__rec_step_t *s,
                          const tinker__buf_t *first) {
  tinker__buf_t second;
  tinker__rec_fault_t f = {0};
  if (!s->probe_again || tinker__rec_await(s->probe_again, &f) != 0) return;
  tinker__buf_init(&second, &run->mem, 1 << 20);
  if (tinker__rec_probe_read(s->probe_again, &second) == 0) {
    double d = tinker__rec_probe_differ(
        (const float *)(void *)first->data, first->len / sizeof(float),
        (const float *)(void *)second.data, second.len / sizeof(float));
    pthread_mutex_lock(&run->lock);
    if (isfinite(d)) run->noise = d;
    run->noise_known = isfinite(d);
    pthread_mutex_unlock(&run->lock);
  }
  tinker__buf_free(&second);
}

static int note_saved(tinker_run_t *run, tinker__rec_step_t *s,
                      const char *path) {
  tinker__rec_facts_t facts = TINKER__REC_FACTS_INIT;
  facts.op = (int64_t)s->save_op;
  pthread_mutex_lock(&run->lock);
  const tinker__rec_op_t *op = tinker__rec_state_op(&run->state, s->save_op);
  if (op && op->expires_ms != TINKER__REC_NEVER) {
    facts.expires_ms = op->expires_ms;
  }
  pthread_mutex_unlock(&run->lock);
  facts.name = tinker__str(s->ckpt);
  facts.path = tinker__str(path);
  int rc = tinker__rec_note(
      run, run->epoch, TINKER__REC_CKPT_SAVED, s->number, &facts,
      (tinker__str_t){s->cursor ? s->cursor : "", s->cursor_len});
  if (rc == 0) tinker__rec_say(run, "checkpoint", s->number, &facts);
  return rc;
}

static int note_fingerprint(tinker_run_t *run, tinker__rec_step_t *s,
                            const tinker__buf_t *probe) {
  tinker__rec_facts_t facts = TINKER__REC_FACTS_INIT;
  facts.op = (int64_t)s->probe_op;
  facts.name = tinker__str(s->ckpt);
  facts.noise = run->noise;
  facts.has_noise = true;
  return tinker__rec_note(run, run->epoch, TINKER__REC_CKPT_FINGERPRINT,
                          s->number, &facts, tinker__buf_str(probe));
}

static int settle_probe(tinker_run_t *run, tinker__rec_step_t *s,
                        tinker__rec_fault_t *f) {
  tinker__buf_t probe;
  if (!s->probe) return TINKER_ENOENT;
  tinker__buf_init(&probe, &run->mem, 1 << 20);
  int rc = tinker__rec_await(s->probe, f);
  if (rc == 0) rc = tinker__rec_probe_read(s->probe, &probe);
  if (rc == 0) measure_noise(run, s, &probe);
  if (rc == 0) rc = note_fingerprint(run, s, &probe);
  if (rc == 0) tinker__rec_still_look(run, s);
  tinker__buf_free(&probe);
  return rc;
}

static void say_failed(tinker_run_t *run, const tinker__rec_step_t *s, int rc,
                       const tinker__rec_fault_t *f) {
  tinker__rec_facts_t facts = TINKER__REC_FACTS_INIT;
  facts.name = tinker__str(s->ckpt);
  facts.code = rc;
  facts.count = ++run->saves_failed;
  facts.why = tinker__str(f->why);
  tinker__rec_say(run, "checkpoint_failed", s->number, &facts);
}

/* An earlier process may have settled the save, and the fingerprint not. */
static int settle_save(tinker_run_t *run, tinker__rec_step_t *s,
                       const char **saved, tinker__rec_fault_t *f) {
  if (!s->save) {
    const tinker__rec_ckpt_t *c = tinker__rec_state_ckpt(&run->state, s->ckpt);
    if (!c || !*c->path) return TINKER_ENOENT;
    *saved = c->path;
    return 0;
  }
  int rc = tinker__rec_await(s->save, f);
  if (rc == 0) rc = tinker_future_get_path(s->save, saved);
  return rc == 0 ? note_saved(run, s, *saved) : rc;
}

/* From its submission on, so with the steps that were under way. */
static void take_cost(tinker_run_t *run, const tinker__rec_step_t *s) {
  if (!s->save_ms) return;
  pthread_mutex_lock(&run->lock);
  run->save_cost_ms = boot_ms(run) - s->save_ms;
  pthread_mutex_unlock(&run->lock);
}

int tinker__rec_ckpt_settle(tinker_run_t *run, tinker__rec_step_t *s,
                            char **path, tinker__rec_fault_t *f) {
  const char *saved = NULL;
  int rc = settle_save(run, s, &saved, f);
  if (rc == 0) rc = settle_probe(run, s, f);
  if (rc == 0 && path) {
    *path = tinker__mem_strdup(&run->mem, saved);
    if (!*path) rc = TINKER_ENOMEM;
  }
  if (rc == 0) run->saves_failed = 0;
  if (rc == 0) take_cost(run, s);
  if (rc != 0) say_failed(run, s, rc, f);
  if (rc != 0 && !f->code) f->code = rc;
  return rc;
}

static const char no_model[] = "there is no model: call tinker_run_next()";

static const char *not_now(const tinker_run_t *run, int64_t number) {
  const tinker__rec_step_t *last = tinker__rec_step_last(run);
  if (run->phase != TINKER__REC_RUN_READY) return no_model;
  if (last && !last->committing && (last->forward_count || last->optim)) {
    return "the present step has not been committed: call tinker_run_commit()";
  }
  if (number <= run->state.from_step) {
    return "no step was committed since the model was made";
  }
  return NULL;
}

tinker__rec_step_t *tinker__rec_ckpt_last(tinker_run_t *run, const char **no) {
  const tinker__rec_step_t *last = tinker__rec_step_last(run);
  int64_t number = run->state.committed;
  if (last) number = last->committing ? last->number : last->number - 1;
  *no = not_now(run, number);
  if (*no) return NULL;
  tinker__str_t cursor = tinker__rec_step_cursor(run);
  tinker__rec_step_t *s = tinker__mem_zalloc(&run->mem, sizeof *s);
  if (!s) return NULL;
  tinker__list_init(&s->link);
  s->number = number;
  s->cursor_len = cursor.len;
  s->cursor = tinker__mem_strndup(&run->mem, cursor.ptr, cursor.len);
  if (s->cursor) return s;
  tinker__rec_step_free(run, s);
  return NULL;
}

tinker__rec_step_t *tinker__rec_ckpt_ask(tinker_run_t *run, const char **no) {
  if (!tinker__rec_next_waits(run)) return tinker__rec_ckpt_last(run, no);
  *no = no_model;
  return NULL;
}

int tinker__rec_ckpt_asked(tinker_run_t *run, tinker__rec_step_t *s,
                           char **path, tinker__rec_fault_t *f) {
  pthread_mutex_lock(&run->lock);
  bool there =
      run->phase == TINKER__REC_RUN_READY && s->number <= run->state.committed;
  if (!there) *f = run->fault;
  pthread_mutex_unlock(&run->lock);
  if (there) return tinker__rec_ckpt_settle(run, s, path, f);
  if (f->code) return f->code;
  f->code = TINKER_ESTATE;
  return tinker__why(f->why, sizeof f->why, TINKER_ESTATE,
                     "step %lld was not committed", (long long)s->number);
}
