/* watch: asks the service for the run's record, on a thread of its own, and
 * notes SIGNAL in the supervisor's file when the model can't be trusted. From
 * then on the fold says so (tinker__rec_state_t.distrusted), in this process
 * and in the next, and tinker_run_next() goes back to a checkpoint.
 *
 * The watch never touches the model: what is under way goes on, and a loop that
 * waits for a future is not interrupted. What an observation means is decided
 * in monitor/evidence.h; here are the questions and what answers count as. */
#include <string.h>
#include <time.h>

#include "monitor/evidence.h"
#include "run/run.h"

/* A question that takes longer has no answer. The client asks again meanwhile,
 * so that single failures are not even seen. */
#define ANSWER_MS 5000
#define OTHERS 3 /* runs, ours among them, that show that there are others */

typedef struct {
  tinker_run_t *run;
  tinker__rec_evidence_t evidence;
  char *model; /* NULL = none is watched */
  int64_t epoch;
  int64_t committed, failed; /* as they were looked at */
  int64_t due_ms;            /* monotonic clock */
} watch_t;

static int64_t boot_ms(const tinker_run_t *run) {
  return run->world->boot_ms(run->world->user);
}

static int64_t now_ms(const tinker_run_t *run) {
  return run->world->now_ms(run->world->user);
}

/* --- What is known -------------------------------------------------------- */

static void plan_next(watch_t *w) {
  uint32_t random = 200; /* the middle, if there are no random numbers */
  tinker_run_t *run = w->run;
  run->world->random(run->world->user, &random, sizeof random);
  w->due_ms = now_ms(run) +
              tinker__rec_evidence_next(&w->evidence, boot_ms(run), random);
}

static void observe(watch_t *w, tinker__rec_observation_t o) {
  o.boot_ms = boot_ms(w->run);
  o.now_ms = now_ms(w->run);
  tinker__rec_evidence_add(&w->evidence, &o);
}

/* Under the lock. */
static void begin(watch_t *w) {
  tinker_run_t *run = w->run;
  tinker__rec_evidence_policy_t policy = TINKER__REC_EVIDENCE_POLICY_INIT;
  policy.idle_ms = run->options.watch_ms;
  policy.suspect_ms = run->ruled.suspect_ms;
  policy.confirm_ms = run->ruled.confirm_ms;
  if (policy.suspect_ms > policy.idle_ms) policy.suspect_ms = policy.idle_ms;
  tinker__mem_free(&run->mem, w->model);
  w->model = tinker__mem_strndup(&run->mem, run->state.model,
                                 strlen(run->state.model));
  w->epoch = run->state.epoch;
  w->committed = run->state.committed;
  w->failed = run->failed;
  tinker__rec_evidence_begin(&w->evidence, &policy, boot_ms(run), now_ms(run));
  plan_next(w);
}

/* Takes up what the run's thread has found. Under the lock. */
static void follow(watch_t *w) {
  tinker_run_t *run = w->run;
  tinker__rec_observation_t o = {.source = TINKER__REC_SOURCE_CALLS,
                                 .value = TINKER__REC_VALUE_BAD,
                                 .asked_ms = boot_ms(run)};
  bool has_model = run->phase == TINKER__REC_RUN_READY && run->state.model;
  if (has_model && (!w->model || w->epoch != run->state.epoch)) begin(w);
  if (!w->model) return;
  if (run->failed != w->failed) {
    observe(w, o);
    w->due_ms = now_ms(run);
  } else if (run->state.committed != w->committed) {
    o.value = TINKER__REC_VALUE_OK;
    observe(w, o);
  }
  w->failed = run->failed;
  w->committed = run->state.committed;
}

/* Under the lock. */
static bool may_look(const watch_t *w) {
  const tinker_run_t *run = w->run;
  return w->model && run->phase == TINKER__REC_RUN_READY &&
         w->epoch == run->state.epoch && !run->state.distrusted &&
         !run->state.finished;
}

/* The condition's clock is the monotonic one, see make_run(). */
void tinker__rec_wait_ms(tinker_run_t *run, int64_t ms) {
  struct timespec t;
#ifdef __APPLE__
  t = (struct timespec){ms / 1000, (ms % 1000) * 1000000};
  pthread_cond_timedwait_relative_np(&run->wake, &run->lock, &t);
#else
  clock_gettime(CLOCK_MONOTONIC, &t);
  t.tv_sec += ms / 1000;
  t.tv_nsec += (ms % 1000) * 1000000;
  if (t.tv_nsec >= 1000000000) {
    t.tv_nsec -= 1000000000;
    t.tv_sec++;
  }
  pthread_cond_timedwait(&run->wake, &run->lock, &t);
#endif
}

/* Until it is time for a question; false = the run ends. */
static bool wait_due(watch_t *w) {
  tinker_run_t *run = w->run;
  pthread_mutex_lock(&run->lock);
  while (!atomic_load(&run->closing)) {
    follow(w);
    int64_t left = w->due_ms - now_ms(run);
    if (may_look(w) && left <= 0) break;
    tinker__rec_wait_ms(run,
                        left > 0 && w->model ? left : run->options.watch_ms);
  }
  pthread_mutex_unlock(&run->lock);
  return !atomic_load(&run->closing);
}

/* --- Questions ------------------------------------------------------------ */

/* An account that is blocked shows as what holds the question up. */
static int give_up(tinker_future_t *future) {
  tinker_progress_t progress = TINKER_PROGRESS_INIT;
  int rc = tinker_future_progress(future, &progress);
  bool blocked = rc == 0 && progress.hold == TINKER_HOLD_BILLING;
  tinker_future_cancel(future);
  rc = tinker_future_wait(future, -1);
  return rc != 0 && blocked ? TINKER_EBILLING : rc;
}

/* Waits for an answer; the run's end cancels it. */
static int await(watch_t *w, tinker_future_t *future) {
  tinker_run_t *run = w->run;
  pthread_mutex_lock(&run->lock);
  run->question = future;
  bool closing = atomic_load(&run->closing);
  pthread_mutex_unlock(&run->lock);
  if (closing) tinker_future_cancel(future);
  int rc = tinker_future_wait(future, ANSWER_MS);
  if (rc == TINKER_EAGAIN) rc = give_up(future);
  pthread_mutex_lock(&run->lock);
  run->question = NULL;
  pthread_mutex_unlock(&run->lock);
  return rc;
}

/* Does the service show other runs, and not this one? One that shows none at
 * all may have lost sight of everything. */
static bool others_are_there(watch_t *w) {
  tinker_call_options_t call = TINKER_CALL_OPTIONS_INIT;
  tinker_page_t page = TINKER_PAGE_INIT;
  const tinker_training_run_list_t *list;
  size_t others = 0, ours = 0;
  call.timeout_ms = TINKER_NO_TIMEOUT; /* await() has its own */
  page.limit = OTHERS;
  tinker_future_t *f = tinker_client_list_runs(w->run->home, &page, &call);
  if (await(w, f) == 0 && tinker_future_get_run_list(f, &list) == 0) {
    for (size_t i = 0; i < list->count; i++) {
      bool same = strcmp(list->runs[i].run_id, w->model) == 0;
      *(same ? &ours : &others) += 1;
    }
  }
  tinker_future_release(f);
  return others > 0 && ours == 0;
}

/* What an answer counts as. Errors say nothing of the model, but for a record
 * that is not there. */
static void classify(watch_t *w, int code, const tinker_training_run_t *record,
                     tinker__rec_observation_t *o) {
  o->value = TINKER__REC_VALUE_UNKNOWN;
  if (code == 0 && strcmp(record->run_id, w->model) == 0) {
    if (!record->corrupted_known) return; /* a field that is gone (F90) */
    o->value = TINKER__REC_VALUE_OK;
    if (!record->corrupted) return;
    o->value = TINKER__REC_VALUE_BAD;
    o->sign = TINKER__REC_SIGN_CORRUPTED;
  } else if (code == TINKER_ENOENT && others_are_there(w)) {
    o->value = TINKER__REC_VALUE_BAD;
    o->sign = TINKER__REC_SIGN_GONE;
  } else if (code == TINKER_EBILLING) {
    o->sign = TINKER__REC_SIGN_PAUSED;
  }
}

static void look(watch_t *w) {
  tinker_run_t *run = w->run;
  tinker_call_options_t call = TINKER_CALL_OPTIONS_INIT;
  const tinker_training_run_t *record = NULL;
  tinker__rec_observation_t o = {.source = TINKER__REC_SOURCE_RECORD,
                                 .asked_ms = boot_ms(run)};
  call.timeout_ms = TINKER_NO_TIMEOUT;
  tinker_future_t *f = tinker_client_get_run(run->home, w->model, &call);
  int code = await(w, f);
  if (code == 0) code = tinker_future_get_run(f, &record);
  classify(w, code, record, &o);
  tinker_future_release(f);
  observe(w, o);
}

/* The fold leaves it alone if another model counts by now. */
static void signal_incident(watch_t *w) {
  tinker_run_t *run = w->run;
  tinker__rec_facts_t facts = TINKER__REC_FACTS_INIT;
  facts.epoch = w->epoch;
  facts.model = tinker__str(w->model);
  facts.evidence =
      tinker__str(w->evidence.corrupted
                      ? "the service shows the model as corrupted"
                      : "the service has no record of the model any more");
  tinker__rec_note(run, NULL, TINKER__REC_SIGNAL, TINKER__REC_NO_STEP, &facts,
                   tinker__str(""));
}

/* --- The thread ----------------------------------------------------------- */

static void *thread_main(void *user) {
  watch_t w = {.run = user};
  while (wait_due(&w)) {
    if (w.evidence.state != TINKER__REC_WATCH_INCIDENT) look(&w);
    if (w.evidence.state == TINKER__REC_WATCH_INCIDENT) signal_incident(&w);
    plan_next(&w);
  }
  tinker__mem_free(&w.run->mem, w.model);
  return NULL;
}

int tinker__rec_watch_start(tinker_run_t *run) {
  if (!run->options.watch_ms) return 0;
  if (pthread_create(&run->watch_thread, NULL, thread_main, run) != 0) {
    return TINKER_ENOMEM;
  }
  run->watched = true;
  return 0;
}

void tinker__rec_watch_end(tinker_run_t *run) {
  if (!run->watched) return;
  pthread_mutex_lock(&run->lock);
  tinker_future_t *f = tinker_future_retain(run->question);
  pthread_mutex_unlock(&run->lock);
  tinker_future_cancel(f);
  tinker_future_release(f);
  pthread_join(run->watch_thread, NULL);
  run->watched = false;
}
