/* watch: asks the service for the run's record, on a thread of its own, looks
 * at how long results are waited for, and notes SIGNAL in the supervisor's file
 * when the model can't be trusted. From then on the fold says so
 * (tinker__rec_state_t.distrusted), in this process and in the next, and
 * tinker_run_next() goes back to a checkpoint.
 *
 * The watch never touches the model: what is under way goes on, and a loop that
 * waits for a future is not interrupted, unless that future is the one that
 * never ends. What an observation means is decided in monitor/evidence.h and
 * monitor/stuck.h; here are the questions and what answers count as. */
#include <string.h>
#include <time.h>

#include "journal/sighting.h"
#include "monitor/evidence.h"
#include "monitor/stuck.h"
#include "run/run.h"

/* A question that takes longer has no answer. The client asks again meanwhile,
 * so that single failures are not even seen. */
#define ANSWER_MS 5000
#define SIGHT_MS 1000  /* between two looks for what a daemon has seen */
#define SIGNAL_MS 1000 /* between two SIGNALs of one result */
#define OTHERS 3 /* runs, ours among them, that show that there are others */

typedef struct {
  tinker_run_t *run;
  tinker__rec_evidence_t evidence;
  char *model; /* NULL = none is watched */
  int64_t epoch;
  int64_t committed, failed; /* as they were looked at */
  int64_t due_ms;            /* monotonic clock */
  int64_t asked_ms;          /* boot clock: of the last reading */
  int64_t sight_ms;          /* monotonic clock: of the next look */
  int64_t signal_ms;         /* monotonic clock: no result is given up before */
  tinker__rec_stuck_t stuck;
  tinker__rec_wait_t wait; /* as it was looked at */
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

/* --- What is waited for. Under the lock ----------------------------------- */

#define OTHER_CALLS 4 /* of a step, besides its forward_backward */

/* Has it no result yet? Then `held` is whether it is known why. */
static bool is_open(const tinker_future_t *f, bool *held) {
  tinker_progress_t progress = TINKER_PROGRESS_INIT;
  if (!f || tinker_future_status(f) != TINKER_EAGAIN) return false;
  *held = tinker_future_progress(f, &progress) == 0 &&
          progress.hold != TINKER_HOLD_NONE;
  return true;
}

/* The i-th call of a step; NULL = it was not made. */
static tinker_future_t *call_of(const tinker__rec_step_t *s, size_t i) {
  tinker_future_t *const others[OTHER_CALLS] = {s->optim, s->save, s->probe,
                                                s->probe_again};
  return i < s->forward_count ? s->forward[i] : others[i - s->forward_count];
}

static tinker__rec_wait_look_t look_at_waits(const tinker_run_t *run) {
  tinker__rec_wait_look_t now = {.results = atomic_load(&run->results),
                                 .boot_ms = boot_ms(run),
                                 .now_ms = now_ms(run)};
  TINKER__LIST_EACH(l, tmp, &run->steps) {
    const tinker__rec_step_t *s =
        TINKER__CONTAINER(l, tinker__rec_step_t, link);
    for (size_t i = 0; i < s->forward_count + OTHER_CALLS && !now.waits; i++) {
      now.waits = is_open(call_of(s, i), &now.held);
    }
  }
  return now;
}

/* A result that is late is as bad as a call that failed: the record is looked
 * at closely. */
static void follow_waits(watch_t *w) {
  tinker_run_t *run = w->run;
  tinker__rec_wait_look_t now = look_at_waits(run);
  tinker__rec_wait_t before = w->wait;
  w->wait = tinker__rec_stuck_add(&w->stuck, &now);
  if (w->wait != TINKER__REC_WAIT_LATE || before == w->wait) return;
  observe(w, (tinker__rec_observation_t){.source = TINKER__REC_SOURCE_CALLS,
                                         .value = TINKER__REC_VALUE_BAD,
                                         .asked_ms = now.boot_ms});
  w->due_ms = now.now_ms;
}

/* The calls of all steps that have no result: so many, and references to them
 * if there is room. */
static size_t open_calls(const tinker_run_t *run, tinker_future_t **out) {
  size_t n = 0;
  bool held;
  TINKER__LIST_EACH(l, tmp, &run->steps) {
    const tinker__rec_step_t *s =
        TINKER__CONTAINER(l, tinker__rec_step_t, link);
    for (size_t i = 0; i < s->forward_count + OTHER_CALLS; i++) {
      tinker_future_t *f = call_of(s, i);
      if (!is_open(f, &held)) continue;
      if (out) out[n] = tinker_future_retain(f);
      n++;
    }
  }
  return n;
}

/* Whoever waits for what never ends goes on with an error. Not under the lock.
 */
static void cancel_waits(const watch_t *w) {
  tinker_run_t *run = w->run;
  tinker_future_t **open = NULL;
  size_t n = 0;
  pthread_mutex_lock(&run->lock);
  if (run->state.epoch == w->epoch) {
    n = open_calls(run, NULL);
    open = tinker__mem_array(&run->mem, n, sizeof *open);
    n = open ? open_calls(run, open) : 0;
  }
  pthread_mutex_unlock(&run->lock);
  for (size_t i = 0; i < n; i++) {
    tinker_future_cancel(open[i]);
    tinker_future_release(open[i]);
  }
  tinker__mem_free(&run->mem, open);
}

/* --- The model that is watched -------------------------------------------- */

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
  w->asked_ms = boot_ms(run);
  tinker__rec_evidence_begin(&w->evidence, &policy, boot_ms(run), now_ms(run));
  tinker__rec_stuck_policy_t patience = TINKER__REC_STUCK_POLICY_INIT;
  patience.soft_ms = run->options.result_soft_ms;
  patience.hard_ms = run->options.result_hard_ms;
  tinker__rec_wait_look_t now = look_at_waits(run);
  tinker__rec_stuck_begin(&w->stuck, &patience, &now);
  w->wait = TINKER__REC_WAIT_FINE;
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
  follow_waits(w);
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

/* A daemon that asks for many runs may have read the record. While all is well
 * this takes the place of a question of one's own; a bad sight makes for one at
 * once. */
static void sight(watch_t *w) {
  tinker_run_t *run = w->run;
  tinker__rec_sighting_t s;
  tinker__rec_observation_t o = {.source = TINKER__REC_SOURCE_RECORD};
  if (now_ms(run) < w->sight_ms) return;
  w->sight_ms = now_ms(run) + SIGHT_MS;
  if (!w->model || w->evidence.state == TINKER__REC_WATCH_INCIDENT ||
      !tinker__rec_sighting_read(run->world, &run->mem, run->dir, &s) ||
      s.asked_ms <= w->asked_ms || s.asked_ms > boot_ms(run) ||
      strcmp(s.model, w->model) != 0) {
    return;
  }
  if (s.corrupted) {
    o.value = TINKER__REC_VALUE_BAD;
    o.sign = TINKER__REC_SIGN_CORRUPTED;
  }
  w->asked_ms = o.asked_ms = s.asked_ms;
  observe(w, o);
  if (s.corrupted) {
    w->due_ms = now_ms(run);
  } else if (w->evidence.state == TINKER__REC_WATCH_HEALTHY) {
    w->due_ms = now_ms(run) + 2 * run->options.watch_ms;
  }
}

/* Until it is time for a question, or to give a result up; false = the run
 * ends. */
static bool wait_due(watch_t *w) {
  tinker_run_t *run = w->run;
  pthread_mutex_lock(&run->lock);
  while (!atomic_load(&run->closing)) {
    follow(w);
    if (may_look(w) && w->wait == TINKER__REC_WAIT_STUCK &&
        now_ms(run) >= w->signal_ms) {
      break;
    }
    int64_t left = w->due_ms - now_ms(run);
    bool reads = run->options.watch_ms > 0;
    if (may_look(w) && reads && left <= 0) break;
    /* Without a model nothing is waited for. */
    int64_t tick = w->model ? tinker__rec_stuck_next(&w->stuck) : SIGHT_MS;
    if (reads && left > 0 && left < tick) tick = left;
    tinker__rec_wait_ms(run, reads && tick > SIGHT_MS ? SIGHT_MS : tick);
    if (!reads) continue;
    pthread_mutex_unlock(&run->lock);
    sight(w);
    pthread_mutex_lock(&run->lock);
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
  w->asked_ms = o.asked_ms;
  call.timeout_ms = TINKER_NO_TIMEOUT;
  tinker_future_t *f = tinker_client_get_run(run->home, w->model, &call);
  int code = await(w, f);
  if (code == 0) code = tinker_future_get_run(f, &record);
  classify(w, code, record, &o);
  tinker_future_release(f);
  observe(w, o);
}

static const char *evidence_of(const watch_t *w) {
  if (w->wait == TINKER__REC_WAIT_STUCK) {
    return "a result has not come for too long, and nothing is known that "
           "holds it up";
  }
  return w->evidence.corrupted
             ? "the service shows the model as corrupted"
             : "the service has no record of the model any more";
}

/* The fold leaves it alone if another model counts by now. 0: it is in the
 * journal. */
static int signal_incident(watch_t *w) {
  tinker__rec_facts_t facts = TINKER__REC_FACTS_INIT;
  facts.epoch = w->epoch;
  facts.model = tinker__str(w->model);
  facts.evidence = tinker__str(evidence_of(w));
  return tinker__rec_note(w->run, NULL, TINKER__REC_SIGNAL, TINKER__REC_NO_STEP,
                          &facts, tinker__str(""));
}

/* --- The thread ----------------------------------------------------------- */

static void *thread_main(void *user) {
  watch_t w = {.run = user};
  while (wait_due(&w)) {
    bool stuck = w.wait == TINKER__REC_WAIT_STUCK;
    if (!stuck && w.evidence.state != TINKER__REC_WATCH_INCIDENT) look(&w);
    if (stuck || w.evidence.state == TINKER__REC_WATCH_INCIDENT) {
      int rc = signal_incident(&w);
      /* What is not in the journal is tried again, and not at once. */
      w.signal_ms = now_ms(w.run) + SIGNAL_MS;
      if (rc == 0 && stuck) cancel_waits(&w);
    }
    plan_next(&w);
  }
  tinker__mem_free(&w.run->mem, w.model);
  return NULL;
}

int tinker__rec_watch_start(tinker_run_t *run) {
  if (!run->options.watch_ms && !run->options.result_hard_ms) return 0;
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
