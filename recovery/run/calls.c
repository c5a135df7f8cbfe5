/* calls: what a training loop calls. The caller's threads; one at a time makes
 * the calls of a step. */
#include <math.h>
#include <string.h>
#include <unistd.h>

#include "run/run.h"

void tinker__rec_reject(tinker_promise_t *p, int code, const char *why) {
  tinker_reason_t reason = TINKER_REASON_INIT;
  if (!p) return;
  reason.code = code;
  reason.message = why;
  tinker_promise_reject(p, &reason);
  tinker_promise_release(p);
}

/* A forked child has a copy of the run, whose lock may be held by nobody there.
 */
static bool is_here(const tinker_run_t *run) {
  return run->pid == getpid();
}

/* A call that is refused before anything is done for it. In a forked child it
 * ends with TINKER_EFORKED, whatever the code is. */
static tinker_future_t *refused(tinker_run_t *run, const char *name,
                                const tinker_call_options_t *call, int code,
                                const char *why) {
  tinker_promise_t *p = NULL;
  tinker_future_t *future =
      tinker_client_promise(run ? run->home : NULL, name, NULL, call, &p);
  tinker__rec_reject(p, code, why);
  return future;
}

/* --- next ----------------------------------------------------------------- */

/* NULL = the call may be queued. */
static const char *next_missing(const tinker_run_t *run) {
  const tinker__rec_step_t *last = tinker__rec_step_last(run);
  if (run->phase != TINKER__REC_RUN_READY || !last || last->committing ||
      tinker__rec_next_waits(run)) {
    return NULL;
  }
  /* Nothing of it was called here: it is handed out again. */
  bool called = last->forward_count > last->adopted || last->claimed ||
                (last->optim && !last->optim_adopted);
  if (!called) return NULL;
  return "the present step has not been committed: call tinker_run_commit()";
}

/* The usual case needs no other thread. 0 = it was answered. */
static int next_at_once(tinker_run_t *run, tinker_promise_t *p) {
  const tinker__rec_step_t *last = tinker__rec_step_last(run);
  if (run->phase != TINKER__REC_RUN_READY || run->lame || run->distrust[0] ||
      run->state.distrusted || atomic_load(&run->unwritten) ||
      atomic_load(&run->damaged) || atomic_load(&run->reserve.given) ||
      tinker__rec_next_waits(run)) {
    return TINKER_EAGAIN;
  }
  if (!last || last->committing) {
    int64_t number = last ? last->number + 1 : run->state.committed + 1;
    if (run->plan.steps > 0 && number > run->plan.steps) return TINKER_EAGAIN;
    if (!tinker__rec_step_new(run, number)) return TINKER_ENOMEM;
  }
  return tinker__rec_hand_out(run, p);
}

tinker_future_t *tinker_run_next(tinker_run_t *run,
                                 const tinker_call_options_t *call) {
  tinker_promise_t *p = NULL;
  if (!run) return refused(NULL, "run_next", call, TINKER_EINVAL, NULL);
  tinker_future_t *future =
      tinker_client_promise(run->home, "run_next", NULL, call, &p);
  if (!p) return future;
  pthread_mutex_lock(&run->lock);
  const char *missing = next_missing(run);
  int rc = missing ? TINKER_ESTATE : next_at_once(run, p);
  pthread_mutex_unlock(&run->lock);
  if (rc == TINKER_EAGAIN) {
    rc = tinker__rec_worker_add(run, TINKER__REC_JOB_NEXT, p, NULL);
  }
  if (rc != 0) tinker__rec_reject(p, rc, missing);
  return future;
}

int tinker_future_get_run_step(tinker_future_t *future,
                               const tinker_run_step_t **out) {
  void *result = NULL;
  if (!out) return TINKER_EINVAL;
  int rc = tinker_future_get_promised(future, "run_next", &result);
  if (rc == 0) *out = result;
  return rc;
}

/* --- forward_backward ----------------------------------------------------- */

/* Of all examples, in order. */
static int digest(tinker_run_t *run, tinker_datum_t *const *data, size_t n,
                  unsigned char out[TINKER__SHA256_LEN]) {
  tinker__sha256_t *h = NULL;
  unsigned char one[TINKER__SHA256_LEN];
  if (!data || n == 0) return TINKER_EINVAL;
  int rc = tinker__sha256_new(&h, &run->mem);
  if (rc != 0) return rc;
  for (size_t i = 0; i < n && rc == 0; i++) {
    rc = data[i] ? tinker_datum_sha256(data[i], one) : TINKER_EINVAL;
    if (rc == 0) rc = tinker__sha256_add(h, one, sizeof one);
  }
  int ended = tinker__sha256_end(h, out);
  return rc != 0 ? rc : ended;
}

/* Are these the data that the step had when it was done before? */
static bool same_data(const tinker_run_t *run, const tinker__rec_step_t *step,
                      const unsigned char *batch) {
  const tinker__rec_past_t *past =
      tinker__rec_state_past(&run->state, step->number);
  size_t at = step->forward_count;
  if (!past || run->plan.data == TINKER_DATA_FRESH) return true;
  return at < past->batch_count &&
         memcmp(past->batches + at * TINKER__SHA256_LEN, batch,
                TINKER__SHA256_LEN) == 0;
}

static const char next_waits[] = "tinker_run_next() has not ended";

/* The step and the model for a call, or why there is none. Under the lock. The
 * trainer is a new reference. */
static const char *present(tinker_run_t *run, tinker__rec_step_t **step,
                           tinker__rec_epoch_t **epoch,
                           tinker_trainer_t **trainer) {
  *step = tinker__rec_step_last(run);
  *epoch = run->epoch;
  if (tinker__rec_next_waits(run)) return next_waits;
  if (run->phase == TINKER__REC_RUN_BROKEN) {
    return "a step has failed: call tinker_run_next()";
  }
  if (run->phase != TINKER__REC_RUN_READY || !*step || (*step)->committing) {
    return "no step has been begun: call tinker_run_next()";
  }
  if ((*step)->optim) {
    return "the step has its optim_step already: call tinker_run_commit()";
  }
  *trainer = tinker_trainer_retain(run->epoch->trainer);
  return NULL;
}

static const char *check_forward(tinker_run_t *run, const unsigned char *batch,
                                 tinker__rec_step_t **step,
                                 tinker__rec_epoch_t **epoch,
                                 tinker_trainer_t **trainer) {
  pthread_mutex_lock(&run->lock);
  const char *no = present(run, step, epoch, trainer);
  if (!no && batch && !same_data(run, *step, batch)) {
    no = "the data are not those that this step had before the rollback (plan."
         "data is recorded)";
  }
  pthread_mutex_unlock(&run->lock);
  if (no) *trainer = tinker_trainer_release(*trainer);
  return no;
}

static void tagged(tinker_call_options_t *out,
                   const tinker_call_options_t *call, uint64_t tag) {
  tinker_call_options_init(out);
  if (call) {
    size_t size = call->size < sizeof *out ? call->size : sizeof *out;
    memcpy(out, call, size);
    out->size = sizeof *out;
  }
  out->tag = tag;
}

/* A call that failed without an intent is no part of the step. If it is not the
 * arguments, the trainer takes no more, and the run goes on with another handle
 * of the same model, or with another model. Under the lock. */
static bool refused_at_once(tinker_run_t *run, const tinker_future_t *future,
                            uint64_t op) {
  int status = tinker_future_status(future);
  if (status >= 0 || status == TINKER_EAGAIN ||
      tinker__rec_state_op(&run->state, op)) {
    return false;
  }
  if (status == TINKER_ESTATE || status == TINKER_EFATAL) {
    if (!run->fault.code) {
      tinker__rec_fault_of(&run->fault, tinker_future_error(future));
    }
    tinker__rec_run_move(run, TINKER__REC_RUN_BROKEN);
  }
  return true;
}

static const char has_callback[] =
    "an earlier process has sent this call: its future is in the step that "
    "tinker_run_next() gave, and takes no callback";

/* The step whose calls of an earlier process may be asked for again. Under the
 * lock. */
static tinker__rec_step_t *claimable(tinker_run_t *run) {
  tinker__rec_step_t *s = tinker__rec_step_last(run);
  bool open = run->phase == TINKER__REC_RUN_READY && s && !s->committing &&
              !tinker__rec_next_waits(run);
  return open ? s : NULL;
}

/* What an earlier process has sent of this step already, and this call asks for
 * again: a step is never computed twice, whether or not a loop looks at
 * step->forward. NULL = it has not sent it. Under the lock. */
static tinker_future_t *claim(tinker_run_t *run, const unsigned char *batch,
                              bool callback, const char **no) {
  tinker__rec_step_t *s = claimable(run);
  for (size_t i = 0; s && i < s->adopted && i < 64; i++) {
    if (s->claimed >> i & 1 ||
        memcmp(s->batches[i], batch, TINKER__SHA256_LEN) != 0) {
      continue;
    }
    if (callback) {
      *no = has_callback;
      return NULL;
    }
    s->claimed |= (uint64_t)1 << i;
    return tinker_future_retain(s->forward[i]);
  }
  return NULL;
}

/* The same for the optim_step. Under the lock. */
static tinker_future_t *claim_optim(tinker_run_t *run, bool callback,
                                    const char **no) {
  tinker__rec_step_t *s = claimable(run);
  if (!s || !s->optim_adopted) return NULL;
  if (callback) {
    *no = has_callback;
    return NULL;
  }
  s->optim_adopted = false; /* once */
  return tinker_future_retain(s->optim);
}

static bool wants_callback(const tinker_call_options_t *call) {
  tinker_call_options_t own;
  tagged(&own, call, 0);
  return own.cb || own.detached;
}

/* With fresh data nobody can tell a batch that is computed anew from one that
 * is missing: taking it might train the step on both. Under the lock. */
static const char *is_doubtful(const tinker_run_t *run) {
  const tinker__rec_step_t *s = tinker__rec_step_last(run);
  if (run->plan.data != TINKER_DATA_FRESH || !s || !s->adopted) return NULL;
  return "an earlier process has sent forward_backward of this step, in "
         "step->forward: with fresh data (plan.data) it takes no others";
}

tinker_future_t *
tinker_run_forward_backward(tinker_run_t *run, tinker_datum_t *const *data,
                            size_t n, const tinker_loss_t *loss,
                            const tinker_call_options_t *call) {
  static const char name[] = "run_forward_backward";
  unsigned char batch[TINKER__SHA256_LEN];
  tinker_call_options_t own;
  tinker__rec_step_t *step;
  tinker__rec_epoch_t *epoch;
  tinker_trainer_t *trainer = NULL;
  if (!run || !is_here(run)) {
    return refused(run, name, call, TINKER_EINVAL, NULL);
  }
  bool read = digest(run, data, n, batch) == 0; /* else the trainer says why */
  pthread_mutex_lock(&run->lock);
  const char *no = NULL;
  tinker_future_t *sent =
      read ? claim(run, batch, wants_callback(call), &no) : NULL;
  if (!sent && !no) no = is_doubtful(run);
  pthread_mutex_unlock(&run->lock);
  if (sent) return sent;
  if (!no) {
    no = check_forward(run, read ? batch : NULL, &step, &epoch, &trainer);
  }
  if (no) return refused(run, name, call, TINKER_ESTATE, no);
  uint64_t op = tinker__rec_epoch_made(
      epoch, step->number, TINKER__REC_SLOT_FORWARD_BACKWARD, batch, NULL);
  if (!op) {
    tinker_trainer_release(trainer);
    return refused(run, name, call, TINKER_ENOMEM, NULL);
  }
  tagged(&own, call, op);
  tinker_future_t *future =
      tinker_trainer_forward_backward(trainer, data, n, loss, &own);
  tinker_trainer_release(trainer);
  pthread_mutex_lock(&run->lock);
  if (!refused_at_once(run, future, op) &&
      tinker__rec_step_add(run, step, future, batch) != 0) {
    run->lame = true;
  }
  pthread_mutex_unlock(&run->lock);
  return future;
}

/* --- optim_step ----------------------------------------------------------- */

tinker_future_t *tinker_run_optim_step(tinker_run_t *run,
                                       const tinker_adam_params_t *params,
                                       const tinker_call_options_t *call) {
  static const char name[] = "run_optim_step";
  tinker_call_options_t own;
  tinker__rec_step_t *step;
  tinker__rec_epoch_t *epoch;
  tinker_trainer_t *trainer = NULL;
  if (!run || !is_here(run)) {
    return refused(run, name, call, TINKER_EINVAL, NULL);
  }
  const char *no = NULL;
  pthread_mutex_lock(&run->lock);
  tinker_future_t *sent = claim_optim(run, wants_callback(call), &no);
  pthread_mutex_unlock(&run->lock);
  if (sent) return sent;
  if (!no) no = check_forward(run, NULL, &step, &epoch, &trainer);
  if (!no && !step->forward_count) {
    no = "the step has no forward_backward";
    tinker_trainer_release(trainer);
  }
  if (no) return refused(run, name, call, TINKER_ESTATE, no);
  uint64_t op = tinker__rec_epoch_made(epoch, step->number,
                                       TINKER__REC_SLOT_OPTIM, NULL, NULL);
  if (!op) {
    tinker_trainer_release(trainer);
    return refused(run, name, call, TINKER_ENOMEM, NULL);
  }
  tagged(&own, call, op);
  tinker_future_t *future = tinker_trainer_optim_step(
      trainer, params ? params : run->plan.adam, &own);
  tinker_trainer_release(trainer);
  pthread_mutex_lock(&run->lock);
  if (!refused_at_once(run, future, op)) {
    const tinker_adam_params_t *p = params ? params : run->plan.adam;
    step->rate = fabs(p->learning_rate);
    step->optim = tinker_future_retain(future);
  }
  pthread_mutex_unlock(&run->lock);
  return future;
}

/* --- commit --------------------------------------------------------------- */

/* What a commit is of. */
typedef struct {
  tinker__rec_step_t *step;
  tinker__rec_epoch_t *epoch;
  bool due; /* a checkpoint goes with it */
} commit_t;

static const char *commit_missing(const tinker_run_t *run,
                                  const tinker__rec_step_t *step) {
  if (tinker__rec_next_waits(run)) return next_waits;
  if (run->phase == TINKER__REC_RUN_BROKEN) {
    return "a step has failed: call tinker_run_next()";
  }
  if (!step || step->committing) return "no step has been begun";
  return step->optim ? NULL : "the step has no optim_step";
}

static int take_commit(tinker_run_t *run, const void *cursor, size_t len,
                       commit_t *out, const char **no) {
  tinker__rec_step_t *step = tinker__rec_step_last(run);
  *no = commit_missing(run, step);
  if (*no) return TINKER_ESTATE;
  char *copy = tinker__mem_dup(&run->mem, len ? cursor : "", len);
  if (!copy) return TINKER_ENOMEM;
  tinker__mem_free(&run->mem, step->cursor);
  step->cursor = copy;
  step->cursor_len = len;
  step->committing = true;
  *out = (commit_t){step, run->epoch, tinker__rec_ckpt_due(run, step->number)};
  return 0;
}

/* The cursor is in the journal before the step is committed. */
static int note_cursor(tinker_run_t *run, const commit_t *c) {
  return tinker__rec_note_add(
      run, c->epoch, TINKER__REC_CURSOR, c->step->number, NULL,
      (tinker__str_t){c->step->cursor, c->step->cursor_len}, NULL, NULL);
}

/* The step's calls have gone, and nobody will commit it: the run takes the
 * model over anew, with what the journal has. */
static void lose_commit(tinker_run_t *run, int code) {
  pthread_mutex_lock(&run->lock);
  if (!run->fault.code) {
    run->fault = (tinker__rec_fault_t){.code = code, .unknown = true};
    tinker__why(run->fault.why, sizeof run->fault.why, 0,
                "a commit was not taken: %s", tinker_code_text(code));
  }
  tinker__rec_run_move(run, TINKER__REC_RUN_BROKEN);
  pthread_mutex_unlock(&run->lock);
}

tinker_future_t *tinker_run_commit(tinker_run_t *run, const void *cursor,
                                   size_t cursor_len,
                                   const tinker_call_options_t *call) {
  static const char name[] = "run_commit";
  const char *no = NULL;
  commit_t c;
  tinker_promise_t *p = NULL;
  if (!run) return refused(NULL, name, call, TINKER_EINVAL, NULL);
  if ((!cursor && cursor_len) || cursor_len > TINKER__REC_MAX_CURSOR) {
    return refused(run, name, call, TINKER_EINVAL,
                   cursor ? "the cursor has more than 65,536 bytes"
                          : "cursor is NULL");
  }
  tinker_future_t *future =
      tinker_client_promise(run->home, name, NULL, call, &p);
  if (!p) return future;
  pthread_mutex_lock(&run->lock);
  int rc = take_commit(run, cursor, cursor_len, &c, &no);
  pthread_mutex_unlock(&run->lock);
  if (rc != 0) {
    tinker__rec_reject(p, rc, no);
    return future;
  }
  rc = note_cursor(run, &c);
  if (rc == 0 && c.due) {
    tinker__rec_ckpt_submit(run, c.epoch, c.step, TINKER__REC_SAVE_DUE);
  }
  if (rc == 0) {
    rc = tinker__rec_worker_add(run, TINKER__REC_JOB_COMMIT, p, c.step);
  }
  if (rc != 0) lose_commit(run, rc);
  if (rc != 0) tinker__rec_reject(p, rc, NULL);
  return future;
}

/* --- The rest ------------------------------------------------------------- */

tinker_future_t *tinker_run_checkpoint(tinker_run_t *run,
                                       const tinker_call_options_t *call) {
  static const char name[] = "run_checkpoint";
  tinker_promise_t *p = NULL;
  const char *no = NULL;
  if (!run) return refused(NULL, name, call, TINKER_EINVAL, NULL);
  tinker_future_t *future =
      tinker_client_promise(run->home, name, NULL, call, &p);
  if (!p) return future;
  /* The save is submitted here: what the program calls next is after it. */
  pthread_mutex_lock(&run->lock);
  tinker__rec_step_t *step = tinker__rec_ckpt_ask(run, &no);
  tinker__rec_epoch_t *epoch = run->epoch;
  pthread_mutex_unlock(&run->lock);
  int rc = no ? TINKER_ESTATE : step ? 0 : TINKER_ENOMEM;
  if (rc == 0) {
    tinker__rec_ckpt_submit(run, epoch, step, TINKER__REC_SAVE_ASKED);
    rc = tinker__rec_worker_add(run, TINKER__REC_JOB_CHECKPOINT, p, step);
  }
  if (rc == 0) return future;
  tinker__rec_reject(p, rc, no);
  if (step) tinker__rec_step_free(run, step);
  return future;
}

int tinker_run_get_trainer(tinker_run_t *run, tinker_trainer_t **out) {
  if (!run || !out) return TINKER_EINVAL;
  if (!is_here(run)) return TINKER_EFORKED;
  pthread_mutex_lock(&run->lock);
  tinker_trainer_t *t = run->epoch && run->phase == TINKER__REC_RUN_READY
                            ? tinker_trainer_retain(run->epoch->trainer)
                            : NULL;
  pthread_mutex_unlock(&run->lock);
  if (!t) return TINKER_ESTATE;
  *out = t;
  return 0;
}

/* An operator's word becomes a text of the journal. */
static bool is_word(const char *why) {
  return why && *why && tinker__utf8_valid(why, strlen(why));
}

int tinker_run_resume(tinker_run_t *run, const char *why) {
  tinker__rec_facts_t facts = TINKER__REC_FACTS_INIT;
  if (!run || !is_word(why)) return TINKER_EINVAL;
  if (!is_here(run)) return TINKER_EFORKED;
  pthread_mutex_lock(&run->lock);
  bool stopped = run->phase == TINKER__REC_RUN_STOPPED;
  pthread_mutex_unlock(&run->lock);
  if (!stopped) return TINKER_ESTATE;
  facts.why = tinker__str(why);
  int rc = tinker__rec_note(run, NULL, TINKER__REC_RELEASE, TINKER__REC_NO_STEP,
                            &facts, tinker__str(""));
  if (rc != 0) return rc;
  pthread_mutex_lock(&run->lock);
  /* What has stopped the run is no reason any more; its incident is open. */
  memset(&run->fault, 0, sizeof run->fault);
  run->again = run->reattached = 0;
  tinker__rec_settle_phase(run);
  pthread_mutex_unlock(&run->lock);
  return 0;
}

int tinker_run_distrust(tinker_run_t *run, const char *why) {
  if (!run || !is_word(why)) return TINKER_EINVAL;
  if (!is_here(run)) return TINKER_EFORKED;
  pthread_mutex_lock(&run->lock);
  tinker__why(run->distrust, sizeof run->distrust, 0, "%s", why);
  pthread_mutex_unlock(&run->lock);
  return 0;
}
