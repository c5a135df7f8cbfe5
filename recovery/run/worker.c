/* worker: the run's thread. It takes one job after the other, in the order of
 * the calls, and may wait in each; what it waits for ends when the run does,
 * since its client is closed then. */
#include <string.h>

#include "run/run.h"

void tinker__rec_run_move(tinker_run_t *run, tinker__rec_phase_t to) {
  static const bool allowed[4][4] = {
      /* to    NEW    READY  BROKEN STOPPED */
      [TINKER__REC_RUN_NEW] = {true, true, true, true},
      [TINKER__REC_RUN_READY] = {false, true, true, true},
      [TINKER__REC_RUN_BROKEN] = {false, true, true, true},
      [TINKER__REC_RUN_STOPPED] = {true, false, true, true}};
  if (allowed[run->phase][to]) run->phase = to;
}

void tinker__rec_settle_phase(tinker_run_t *run) {
  if (run->state.stopped || run->state.held) {
    tinker__rec_run_move(run, TINKER__REC_RUN_STOPPED);
  } else if (run->state.incident) {
    tinker__rec_run_move(run, TINKER__REC_RUN_BROKEN);
    if (run->fault.code) return;
    run->fault = (tinker__rec_fault_t){.code = TINKER_ESTATE, .model = true};
    tinker__why(run->fault.why, sizeof run->fault.why, 0,
                "an earlier process has not ended its incident");
  } else {
    tinker__rec_run_move(run, TINKER__REC_RUN_NEW);
  }
}

/* --- Handing a step out --------------------------------------------------- */

typedef struct {
  tinker_run_step_t step;
  tinker__mem_t *mem;
  tinker_run_t *run; /* its memory is used */
  tinker_future_t **forward;
  char *cursor;
} handed_t;

static void handed_free(void *result) {
  handed_t *h = result;
  tinker_run_t *run = h->run;
  for (size_t i = 0; i < h->step.forward_count; i++) {
    tinker_future_release(h->forward[i]);
  }
  tinker_future_release(h->step.optim);
  tinker__mem_free(h->mem, h->forward);
  tinker__mem_free(h->mem, h->cursor);
  tinker__mem_free(h->mem, h);
  tinker__rec_run_unref(run);
}

static int fill(tinker_run_t *run, handed_t *h) {
  const tinker__rec_step_t *s = tinker__rec_step_last(run);
  bool done = !s || s->committing;
  tinker__str_t cursor = tinker__rec_step_cursor(run);
  h->cursor = tinker__mem_strndup(&run->mem, cursor.ptr, cursor.len);
  size_t n = done ? 0 : s->forward_count;
  h->forward = tinker__mem_array(&run->mem, n, sizeof *h->forward);
  if (!h->cursor || !h->forward) return TINKER_ENOMEM;
  for (size_t i = 0; i < n; i++) {
    h->forward[i] = tinker_future_retain(s->forward[i]);
  }
  int64_t number = done ? run->state.committed + 1 : s->number;
  h->step = (tinker_run_step_t){
      .step = number,
      .cursor_lost =
          run->state.cursor_lost && number == run->state.from_step + 1,
      .done = done,
      .rolled_back = run->rolled_back,
      .cursor = h->cursor,
      .cursor_len = cursor.len,
      .forward = h->forward,
      .forward_count = n,
      .optim = done ? NULL : tinker_future_retain(s->optim)};
  return 0;
}

int tinker__rec_hand_out(tinker_run_t *run, tinker_promise_t *promise) {
  handed_t *h = tinker__mem_zalloc(&run->mem, sizeof *h);
  if (!h) return TINKER_ENOMEM;
  h->mem = &run->mem;
  h->run = run;
  tinker__ref_retain(&run->memory_users);
  int rc = fill(run, h);
  if (rc == 0) rc = tinker_promise_resolve(promise, h, handed_free);
  if (rc != 0) handed_free(h);
  if (rc == 0) run->rolled_back = false; /* it has been said to somebody */
  if (rc == 0 || rc == TINKER_ENOENT) {  /* ENOENT: nobody waits any more */
    tinker_promise_release(promise);
    return 0;
  }
  return rc;
}

/* --- Commit --------------------------------------------------------------- */

static void broken(tinker_run_t *run, const tinker__rec_fault_t *f) {
  pthread_mutex_lock(&run->lock);
  if (!run->fault.code) run->fault = *f;
  tinker__rec_run_move(run, TINKER__REC_RUN_BROKEN);
  pthread_mutex_unlock(&run->lock);
}

/* Of all batches of a step. */
typedef struct {
  double sum;
  bool known;
} loss_t;

/* Its futures, in the order in which they end. The loss is not
 * known if the service sends none, which says nothing of the model. */
static int await_step(tinker_run_t *run, tinker__rec_step_t *s, loss_t *loss,
                      tinker__rec_fault_t *f) {
  int rc = 0;
  *loss = (loss_t){0, true};
  for (size_t i = 0; i < s->forward_count && rc == 0; i++) {
    double one = 0;
    rc = tinker__rec_await(s->forward[i], f);
    if (rc == 0 && tinker_future_loss(s->forward[i], &one) != 0) {
      loss->known = false;
    }
    loss->sum += one;
  }
  if (rc == 0) return tinker__rec_await(s->optim, f);
  tinker_future_wait(s->optim, -1); /* what became of it decides, too */
  if (!f->model && tinker__rec_step_is_torn(run, s)) {
    f->model = true;
    f->again = false;
  }
  return rc;
}

static int note_commit(tinker_run_t *run, const tinker__rec_step_t *s,
                       const loss_t *loss, tinker__rec_fault_t *f) {
  tinker__rec_facts_t facts = TINKER__REC_FACTS_INIT;
  facts.loss = loss->sum;
  facts.has_loss = loss->known;
  int rc = tinker__rec_note(
      run, run->epoch, TINKER__REC_STEP_COMMIT, s->number, &facts,
      (tinker__str_t){(const char *)s->batches,
                      s->forward_count * TINKER__SHA256_LEN});
  if (rc == 0) return 0;
  f->code = rc;
  tinker__why(f->why, sizeof f->why, 0, "the run's journal: %s",
              tinker_code_text(rc));
  return rc;
}

/* A checkpoint that fails does not stop the training: the next commit makes
 * another one. */
static void settle_ckpt(tinker_run_t *run, tinker__rec_step_t *s) {
  tinker__rec_fault_t failed = {0};
  if (!s->save && !s->probe) return;
  bool saved = tinker__rec_ckpt_settle(run, s, NULL, &failed) == 0;
  pthread_mutex_lock(&run->lock);
  if (!saved) run->save_due = true;
  pthread_mutex_unlock(&run->lock);
}

/* Attempts count until the run is beyond the step where it was lost. */
static int settle_ledger(tinker_run_t *run, const tinker__rec_step_t *s,
                         tinker__rec_fault_t *f) {
  tinker__rec_facts_t facts = TINKER__REC_FACTS_INIT;
  run->again = run->reattached = 0;
  if (!run->state.fruitless || s->number <= run->state.progress) return 0;
  facts.count = 0;
  int rc = tinker__rec_note(run, NULL, TINKER__REC_LEDGER, s->number, &facts,
                            tinker__str(""));
  if (rc != 0) f->code = rc;
  return rc;
}

/* A failure that is the service's word on the model is evidence; what the run
 * does about it decides the next call of next. */
static void tell_watch(tinker_run_t *run, const tinker__rec_fault_t *f) {
  pthread_mutex_lock(&run->lock);
  if (!f->unknown && !f->again) run->failed++;
  pthread_mutex_unlock(&run->lock);
}

static int commit(tinker_run_t *run, tinker__rec_step_t *s,
                  tinker__rec_fault_t *f) {
  loss_t loss;
  int rc = await_step(run, s, &loss, f);
  if (rc != 0) tell_watch(run, f);
  if (rc == 0 && loss.known) rc = tinker__rec_losses(run, s, loss.sum, f);
  if (rc == 0) rc = note_commit(run, s, &loss, f);
  if (rc != 0) return rc;
  tinker__rec_bodies_done(run->epoch, s->number);
  if (loss.known) tinker__rec_still_step(run, s, loss.sum);
  settle_ckpt(run, s);
  tinker__rec_retain(run);
  tinker__rec_cookbook(run);
  tinker__rec_reread(run);
  return settle_ledger(run, s, f);
}

static void do_commit(tinker_run_t *run, tinker__rec_job_t *job) {
  tinker__rec_fault_t f = {0};
  bool was_broken;
  pthread_mutex_lock(&run->lock);
  was_broken = run->phase != TINKER__REC_RUN_READY;
  if (was_broken) f = run->fault;
  pthread_mutex_unlock(&run->lock);
  int rc = was_broken ? f.code : commit(run, job->step, &f);
  if (rc != 0 && !was_broken) broken(run, &f);
  if (rc == 0) {
    pthread_mutex_lock(&run->lock);
    tinker__rec_epoch_forget(run->epoch, job->step->number);
    tinker__rec_step_free(run, job->step);
    pthread_mutex_unlock(&run->lock);
  }
  if (!job->promise) return;
  if (rc != 0) {
    tinker__rec_reject(job->promise, rc, f.why);
  } else {
    tinker_promise_resolve(job->promise, NULL, NULL);
    tinker_promise_release(job->promise);
  }
}

/* --- Next ----------------------------------------------------------------- */

static void settle_late(tinker_run_t *run) {
  tinker__rec_step_t *late = run->late;
  if (!late) return;
  run->late = NULL;
  /* The earlier process saved it and asked for no fingerprint. Nothing has
   * changed the model since, unless a step was begun. */
  if (!late->probe && tinker__list_empty(&run->steps)) {
    late->probe_op = tinker__rec_epoch_made(
        run->epoch, late->number, TINKER__REC_SLOT_PROBE, NULL, late->ckpt);
    late->probe = tinker__rec_probe(run->epoch->trainer, late->probe_op, false);
  }
  settle_ckpt(run, late);
  tinker__rec_step_free(run, late);
}

/* Steps that an earlier process has committed, but for their results. */
static int commit_adopted(tinker_run_t *run, tinker__rec_fault_t *f) {
  int rc = 0;
  settle_late(run);
  TINKER__LIST_EACH(l, tmp, &run->steps) {
    tinker__rec_step_t *s = TINKER__CONTAINER(l, tinker__rec_step_t, link);
    if (rc != 0 || !s->committing) break;
    rc = commit(run, s, f);
    if (rc != 0) break;
    pthread_mutex_lock(&run->lock);
    tinker__rec_step_free(run, s);
    pthread_mutex_unlock(&run->lock);
  }
  return rc;
}

static bool operator_spoke(tinker_run_t *run, tinker__rec_fault_t *f) {
  pthread_mutex_lock(&run->lock);
  bool spoke = run->distrust[0] != 0;
  if (spoke) {
    f->code = TINKER_ESTATE;
    f->model = true;
    tinker__why(f->why, sizeof f->why, 0, "%s", run->distrust);
    run->distrust[0] = '\0';
    run->fault = *f;
    tinker__rec_run_move(run, TINKER__REC_RUN_BROKEN);
  }
  pthread_mutex_unlock(&run->lock);
  return spoke;
}

static int not_written(tinker__rec_fault_t *f) {
  f->code = TINKER_EIO;
  return tinker__why(f->why, sizeof f->why, TINKER_EIO,
                     "the run's journal could not be written: what failed is "
                     "settled when the run is opened again");
}

static int not_stayed(const tinker_run_t *run, tinker__rec_fault_t *f) {
  f->code = TINKER_EFORMAT;
  return tinker__why(f->why, sizeof f->why, TINKER_EFORMAT,
                     "the run's journal does not say any more what was "
                     "written: %s",
                     run->reread.why);
}

/* What was under way is journaled; a step begins once there is room again. */
static int check_room(tinker_run_t *run, tinker__rec_fault_t *f) {
  tinker__rec_facts_t facts = TINKER__REC_FACTS_INIT;
  if (!atomic_load(&run->reserve.given)) return 0;
  f->code = tinker__rec_reserve_refill(&run->reserve, f->why, sizeof f->why);
  if (f->code == 0) return 0;
  f->unknown = true;
  facts.why = tinker__str(f->why);
  tinker__rec_say(run, "disk_full", run->state.committed, &facts);
  return f->code;
}

/* A model that the monitor has found untrustworthy is given up, also by a
 * process that comes later; an incident that has begun goes on as it is. */
static void heed_monitor(tinker_run_t *run) {
  pthread_mutex_lock(&run->lock);
  if (run->state.distrusted && !run->fault.model &&
      run->phase != TINKER__REC_RUN_STOPPED) {
    run->fault = (tinker__rec_fault_t){.code = TINKER_ESTATE, .model = true};
    tinker__why(run->fault.why, sizeof run->fault.why, 0, "%s",
                run->state.distrusted);
    tinker__rec_run_move(run, TINKER__REC_RUN_BROKEN);
  }
  pthread_mutex_unlock(&run->lock);
}

/* The phase; of a run that was stopped, why. The operator may let it go on at
 * any time. */
static tinker__rec_phase_t look(tinker_run_t *run, tinker__rec_fault_t *f) {
  pthread_mutex_lock(&run->lock);
  tinker__rec_phase_t phase = run->phase;
  if (phase == TINKER__REC_RUN_STOPPED) {
    f->code = TINKER_ESTATE;
    tinker__why(f->why, sizeof f->why, 0, "the run was stopped%s%s",
                run->state.stopped ? ": " : " by its operator",
                run->state.stopped ? run->state.stopped : "");
  }
  pthread_mutex_unlock(&run->lock);
  return phase;
}

/* A way to a model, by what is known. */
static int reach_model(tinker_run_t *run, tinker__rec_phase_t phase,
                       tinker__rec_fault_t *f) {
  if (phase == TINKER__REC_RUN_BROKEN) return tinker__rec_recover(run, f);
  return run->state.epoch == 0 ? tinker__rec_start(run, f)
                               : tinker__rec_attach(run, f);
}

bool tinker__rec_is_elsewhere(const tinker_run_t *run, tinker__rec_fault_t *f) {
  if (tinker__rec_lock_held(&run->lock_file, run->lock_path)) return false;
  *f = (tinker__rec_fault_t){.code = TINKER_ESTATE, .unknown = true};
  tinker__why(f->why, sizeof f->why, 0,
              "the run goes on in another place: its file \"lock\" is not the "
              "one any more that this process has locked");
  return true;
}

/* Until a step can be done, or it is known that none can. */
static int reach_ready(tinker_run_t *run, tinker__rec_fault_t *f) {
  while (!atomic_load(&run->closing)) {
    if (tinker__rec_is_elsewhere(run, f)) return f->code;
    if (atomic_load(&run->unwritten)) return not_written(f);
    tinker__rec_reread(run);
    if (atomic_load(&run->damaged)) return not_stayed(run, f);
    operator_spoke(run, f);
    heed_monitor(run);
    tinker__rec_phase_t phase = look(run, f);
    if (phase == TINKER__REC_RUN_READY) {
      tinker__rec_orphans(run);
      return check_room(run, f);
    }
    if (phase == TINKER__REC_RUN_STOPPED) return f->code;
    if (!run->surveyed) {
      int seen = tinker__rec_survey(run, f);
      if (seen != 0) return seen;
      continue; /* it may have changed where the run is */
    }
    int rc = reach_model(run, phase, f);
    if (rc != 0) return rc;
    if (look(run, f) != TINKER__REC_RUN_READY) continue;
    if (commit_adopted(run, f) != 0) broken(run, f); /* the next round's */
  }
  return TINKER_ECLOSED;
}

static int begin_next(tinker_run_t *run) {
  const tinker__rec_step_t *last = tinker__rec_step_last(run);
  if (last && !last->committing) return 0;
  int64_t number = last ? last->number + 1 : run->state.committed + 1;
  if (run->plan.steps > 0 && number > run->plan.steps) return 0; /* done */
  return tinker__rec_step_new(run, number) ? 0 : TINKER_ENOMEM;
}

/* No later commit makes the checkpoint that the last one could not. */
static void save_last(tinker_run_t *run) {
  for (int i = 0; i < run->options.attempts && run->save_due; i++) {
    tinker__rec_fault_t failed = {0};
    const char *no = NULL;
    pthread_mutex_lock(&run->lock);
    tinker__rec_step_t *s = tinker__rec_ckpt_last(run, &no);
    pthread_mutex_unlock(&run->lock);
    if (!s) return;
    tinker__rec_ckpt_submit(run, run->epoch, s, TINKER__REC_SAVE_ASKED);
    bool saved = tinker__rec_ckpt_settle(run, s, NULL, &failed) == 0;
    pthread_mutex_lock(&run->lock);
    run->save_due = !saved;
    tinker__rec_step_free(run, s);
    pthread_mutex_unlock(&run->lock);
  }
}

static void finish(tinker_run_t *run) {
  tinker__rec_facts_t none = TINKER__REC_FACTS_INIT;
  bool done = run->plan.steps > 0 && run->state.committed >= run->plan.steps &&
              !run->state.finished;
  if (!done) return;
  save_last(run);
  tinker__rec_retain_finish(run);
  tinker__rec_cookbook(run);
  /* Without the record the next process that opens the run says it. */
  if (tinker__rec_note(run, NULL, TINKER__REC_FINISH, run->state.committed,
                       &none, tinker__str("")) == 0) {
    tinker__rec_say(run, "finished", run->state.committed, NULL);
  }
}

static void do_next(tinker_run_t *run, tinker__rec_job_t *job) {
  tinker__rec_fault_t f = {0};
  bool finished = run->state.finished;
  int rc = finished ? 0 : reach_ready(run, &f);
  if (rc == 0 && !finished) tinker__rec_cookbook(run);
  if (rc == 0) finish(run);
  pthread_mutex_lock(&run->lock);
  tinker__list_remove(&job->link); /* the steps are the caller's again */
  if (rc == 0 && run->lame) rc = TINKER_ENOMEM;
  if (rc == 0 && !finished) rc = begin_next(run);
  if (rc == 0) rc = tinker__rec_hand_out(run, job->promise);
  pthread_mutex_unlock(&run->lock);
  if (rc != 0) tinker__rec_reject(job->promise, rc, f.code ? f.why : NULL);
}

/* --- Jobs ----------------------------------------------------------------- */

typedef struct {
  tinker_run_t *run; /* its memory is used */
  char *path;
} saved_t;

static void saved_free(void *result) {
  saved_t *s = result;
  tinker_run_t *run = s->run;
  tinker__mem_free(&run->mem, s->path);
  tinker__mem_free(&run->mem, s);
  tinker__rec_run_unref(run);
}

int tinker_future_get_checkpoint(tinker_future_t *future, const char **out) {
  void *result = NULL;
  if (!out) return TINKER_EINVAL;
  int rc = tinker_future_get_promised(future, "run_checkpoint", &result);
  if (rc == 0) *out = ((saved_t *)result)->path;
  return rc;
}

static void do_checkpoint(tinker_run_t *run, tinker__rec_job_t *job) {
  tinker__rec_fault_t f = {0};
  saved_t *saved = tinker__mem_zalloc(&run->mem, sizeof *saved);
  if (!saved) {
    tinker__rec_reject(job->promise, TINKER_ENOMEM, NULL);
    return;
  }
  saved->run = run;
  tinker__ref_retain(&run->memory_users);
  int rc = tinker__rec_ckpt_asked(run, job->step, &saved->path, &f);
  if (rc == 0) rc = tinker_promise_resolve(job->promise, saved, saved_free);
  if (rc != 0) saved_free(saved);
  if (rc == 0) {
    tinker_promise_release(job->promise);
  } else {
    tinker__rec_reject(job->promise, rc, f.why);
  }
}

/* The steps of commits are the run's. */
static void job_free(tinker_run_t *run, tinker__rec_job_t *job) {
  tinker__list_remove(&job->link);
  if (job->kind == TINKER__REC_JOB_CHECKPOINT) {
    tinker__rec_step_free(run, job->step);
  }
  tinker__mem_free(&run->mem, job);
}

static void run_job(tinker_run_t *run, tinker__rec_job_t *job) {
  switch (job->kind) {
  case TINKER__REC_JOB_NEXT: do_next(run, job); break;
  case TINKER__REC_JOB_COMMIT: do_commit(run, job); break;
  case TINKER__REC_JOB_CHECKPOINT: do_checkpoint(run, job); break;
  }
  pthread_mutex_lock(&run->lock);
  job_free(run, job);
  pthread_mutex_unlock(&run->lock);
}

static tinker__rec_job_t *take_job(tinker_run_t *run) {
  pthread_mutex_lock(&run->lock);
  while (tinker__list_empty(&run->jobs) && !atomic_load(&run->closing)) {
    pthread_cond_wait(&run->wake, &run->lock);
  }
  tinker__link_t *l = tinker__list_first(&run->jobs);
  pthread_mutex_unlock(&run->lock);
  return l ? TINKER__CONTAINER(l, tinker__rec_job_t, link) : NULL;
}

static void *thread_main(void *user) {
  tinker_run_t *run = user;
  tinker__rec_job_t *job;
  while (!atomic_load(&run->closing) && (job = take_job(run)) != NULL) {
    run_job(run, job);
  }
  return NULL;
}

int tinker__rec_worker_start(tinker_run_t *run) {
  if (pthread_create(&run->thread, NULL, thread_main, run) != 0) {
    return TINKER_ENOMEM;
  }
  run->threaded = true;
  return 0;
}

void tinker__rec_prover(tinker_run_t *run, tinker_client_t *client) {
  pthread_mutex_lock(&run->lock);
  run->prover = client;
  bool closing = atomic_load(&run->closing);
  pthread_mutex_unlock(&run->lock);
  if (client && closing) {
    tinker_future_release(tinker_client_close(client, NULL));
  }
}

static void close_prover(tinker_run_t *run) {
  pthread_mutex_lock(&run->lock);
  tinker_client_t *client = tinker_client_retain(run->prover);
  pthread_mutex_unlock(&run->lock);
  if (!client) return;
  tinker_future_release(tinker_client_close(client, NULL));
  tinker_client_release(client);
}

static void cancel_asked(tinker_run_t *run) {
  pthread_mutex_lock(&run->lock);
  tinker_future_t *f = tinker_future_retain(run->asked);
  pthread_mutex_unlock(&run->lock);
  tinker_future_cancel(f);
  tinker_future_release(f);
}

/* The run is closing, so that no further wait begins. */
void tinker__rec_worker_end(tinker_run_t *run) {
  close_prover(run);
  cancel_asked(run);
  if (run->threaded) pthread_join(run->thread, NULL);
  TINKER__LIST_EACH(l, tmp, &run->jobs) {
    tinker__rec_job_t *job = TINKER__CONTAINER(l, tinker__rec_job_t, link);
    tinker__rec_reject(job->promise, TINKER_ECLOSED, NULL);
    job_free(run, job);
  }
}

bool tinker__rec_next_waits(const tinker_run_t *run) {
  TINKER__LIST_EACH(l, tmp, &run->jobs) {
    const tinker__rec_job_t *job =
        TINKER__CONTAINER(l, tinker__rec_job_t, link);
    if (job->kind == TINKER__REC_JOB_NEXT) return true;
  }
  return false;
}

int tinker__rec_worker_add(tinker_run_t *run, tinker__rec_job_kind_t kind,
                           tinker_promise_t *promise,
                           tinker__rec_step_t *step) {
  tinker__rec_job_t *job = tinker__mem_zalloc(&run->mem, sizeof *job);
  if (!job) return TINKER_ENOMEM;
  *job = (tinker__rec_job_t){.kind = kind, .promise = promise, .step = step};
  pthread_mutex_lock(&run->lock);
  tinker__list_push_back(&run->jobs, &job->link);
  pthread_cond_broadcast(&run->wake); /* the gate waits on it, too */
  pthread_mutex_unlock(&run->lock);
  return 0;
}
