/* prove: the operation tinker_client_prove_resume(). It has no thread and never
 * waits: it goes on in the callbacks of its own calls, which run on the
 * client's delivery thread, or wherever the client is stepped.
 *
 * All its calls stand in one table, in the order in which they are made. The
 * calls of a phase are made at once; when the last of them has ended the next
 * phase begins, or the promise is ended. After a failure the others are waited
 * for, so that the first failure in the order of the table is the one that is
 * reported.
 *
 * References: one of whoever begins it, one of each call that runs, one of the
 * promise until it has ended; the last is the result's, if there is one. The
 * lock guards what changes; it is held while calls are made, which never
 * blocks and never calls back. */
#include <math.h>
#include <pthread.h>
#include <string.h>
#include <tinker/promise.h>

#include "base/list.h"
#include "base/mem.h"
#include "base/options.h"
#include "base/ref.h"
#include "base/str.h"
#include "prove/judge.h"
#include "prove/phase.h"
#include "prove/probe.h"

#define NAME "prove_resume"
#define WHY_LEN 1024
/* Far above what training takes: the more a step moves the better can it be
 * told from noise, and the model is of no further use. */
#define LEARNING_RATE 1e-3

typedef enum { LOAD, FORWARD, BACKWARD, OPTIM } kind_t;
typedef enum { WARM, COLD, TWIN, MODELS } model_t;

#define NO_ANSWER TINKER__REC_ANSWERS

/* step: it belongs to the proof of the optimizer. */
static const struct {
  tinker__rec_proof_phase_t phase;
  model_t model;
  kind_t kind;
  tinker__rec_answer_t answer; /* that it gives */
  bool step;
  const char *what;
} calls[] = {
#define CALL(phase, model, kind, answer, step, what)                           \
  { TINKER__REC_PHASE_##phase, model, kind, answer, step, what }
#define ANSWER(name) TINKER__REC_ANSWER_##name
    CALL(LOADING, WARM, LOAD, NO_ANSWER, false, "loading it with optimizer"),
    CALL(LOADING, COLD, LOAD, NO_ANSWER, false, "loading it without optimizer"),
    CALL(LOADING, TWIN, LOAD, NO_ANSWER, true, "loading it without optimizer"),
    CALL(ASKING, WARM, FORWARD, ANSWER(WARM), false, "its answers"),
    CALL(ASKING, WARM, FORWARD, ANSWER(AGAIN), false, "its answers"),
    CALL(ASKING, WARM, BACKWARD, NO_ANSWER, true, "its gradients"),
    CALL(ASKING, WARM, OPTIM, NO_ANSWER, true, "its step"),
    CALL(ASKING, WARM, FORWARD, ANSWER(WARM_AFTER), true,
         "its answers after a step"),
    CALL(ASKING, COLD, FORWARD, ANSWER(COLD), false,
         "its answers without optimizer"),
    CALL(ASKING, COLD, BACKWARD, NO_ANSWER, true,
         "its gradients without optimizer"),
    CALL(ASKING, COLD, OPTIM, NO_ANSWER, true, "its step without optimizer"),
    CALL(ASKING, COLD, FORWARD, ANSWER(COLD_AFTER), true,
         "its answers after a step without optimizer"),
    CALL(ASKING, TWIN, FORWARD, ANSWER(TWIN), true,
         "its answers without optimizer"),
    CALL(ASKING, TWIN, BACKWARD, NO_ANSWER, true,
         "its gradients without optimizer"),
    CALL(ASKING, TWIN, OPTIM, NO_ANSWER, true, "its step without optimizer"),
    CALL(ASKING, TWIN, FORWARD, ANSWER(TWIN_AFTER), true,
         "its answers after a step without optimizer"),
#undef CALL
#undef ANSWER
};
#define CALLS (sizeof calls / sizeof *calls)

typedef struct proof_s {
  tinker__ref_t ref;
  tinker__mem_t mem;
  tinker_client_t *client; /* borrowed: calls are made before its end alone */
  tinker_promise_t *promise;
  char *path;
  tinker__rec_case_t facts;
  tinker_resume_proof_t result;
  pthread_mutex_t lock;
  tinker__rec_proof_phase_t phase;
  size_t pending; /* calls of the phase, and one while they are made */
  tinker_datum_t *data[TINKER__REC_PROBE_ITEMS];
  tinker_trainer_t *models[MODELS];
  tinker_future_t *futures[CALLS]; /* NULL = not made */
} proof_t;

/* --- Memory --------------------------------------------------------------- */

static void drop_calls(proof_t *p) {
  for (size_t i = 0; i < CALLS; i++) {
    p->futures[i] = tinker_future_release(p->futures[i]);
  }
  for (size_t i = 0; i < MODELS; i++) {
    p->models[i] = tinker_trainer_release(p->models[i]);
  }
  tinker__rec_probe_free(p->data);
}

static void give_back(proof_t *p) {
  tinker__mem_t mem = p->mem;
  tinker__mem_free(&mem, p->path);
  tinker__mem_free(&mem, p);
}

static void unref(proof_t *p) {
  if (!tinker__ref_release(&p->ref)) return;
  drop_calls(p);
  tinker_promise_release(p->promise);
  pthread_mutex_destroy(&p->lock);
  give_back(p);
}

static void unref_result(void *result) {
  unref(TINKER__CONTAINER(result, proof_t, result));
}

static bool take(proof_t *p, const tinker_prove_options_t *o,
                 const char *path) {
  p->facts.has_step = o->steps_taken > 0;
  p->facts.has_expected = o->expected != NULL;
  p->facts.expected_noise = o->expected_noise;
  if (o->expected) {
    memcpy(p->facts.expected, o->expected, sizeof p->facts.expected);
  }
  p->path = tinker__mem_strdup(&p->mem, path);
  tinker__rec_probe_make(p->data, o->allocator);
  bool whole = p->path != NULL;
  for (size_t i = 0; i < TINKER__REC_PROBE_ITEMS; i++) {
    whole = whole && p->data[i];
  }
  return whole;
}

/* NULL = no memory. */
static proof_t *make(const tinker_prove_options_t *o, const char *path) {
  tinker__mem_t mem;
  tinker__mem_init(&mem, o->allocator, 0);
  proof_t *p = tinker__mem_zalloc(&mem, sizeof *p);
  if (!p) return NULL;
  p->mem = mem;
  tinker__ref_init(&p->ref);
  if (take(p, o, path) && pthread_mutex_init(&p->lock, NULL) == 0) return p;
  tinker__rec_probe_free(p->data);
  give_back(p);
  return NULL;
}

/* --- Its end -------------------------------------------------------------- */

/* rc: of what has ended the promise; else the hook gives its reference back.
 * The promise goes at once, since its future may have the result. */
static void ended(proof_t *p, int rc) {
  p->promise = tinker_promise_release(p->promise);
  if (rc == 0) unref(p);
}

static void reject(proof_t *p, int code, const char *why) {
  tinker_reason_t reason = TINKER_REASON_INIT;
  reason.code = code;
  reason.message = why;
  ended(p, tinker_promise_reject(p->promise, &reason));
}

static void reject_as(proof_t *p, size_t i) {
  char why[WHY_LEN];
  tinker__why(why, sizeof why, 0, "checkpoint %s: %s", p->path, calls[i].what);
  const tinker_error_t *error = tinker_future_error(p->futures[i]);
  if (error) {
    ended(p, tinker_promise_reject_as(p->promise, error, why));
  } else {
    reject(p, tinker_future_status(p->futures[i]), why);
  }
}

static void fail(proof_t *p) {
  for (size_t i = 0; i < CALLS; i++) {
    if (p->futures[i] && tinker_future_status(p->futures[i]) != 0) {
      reject_as(p, i);
      break;
    }
  }
  drop_calls(p);
}

/* The answers. 0, or the place of the call that has none. */
static int read_answers(proof_t *p, size_t *at) {
  for (size_t i = 0; i < CALLS; i++) {
    if (!p->futures[i] || calls[i].answer == NO_ANSWER) continue;
    int rc = tinker_future_get_fingerprint(p->futures[i],
                                           p->facts.answers[calls[i].answer]);
    *at = i;
    if (rc != 0) return rc;
  }
  return 0;
}

static void judge(proof_t *p) {
  char why[WHY_LEN], found[WHY_LEN];
  size_t at = 0;
  int rc = read_answers(p, &at);
  if (rc != 0) {
    tinker__why(found, sizeof found, 0, "%s are not %d log-probabilities",
                calls[at].what, TINKER_FINGERPRINT_LEN);
    rc = TINKER_EPROTO;
  } else {
    rc = tinker__rec_judge(&p->facts, &p->result, found, sizeof found);
  }
  drop_calls(p);
  if (rc == 0) { /* the reference is the result's from now on */
    tinker_promise_resolve(p->promise, &p->result, unref_result);
    p->promise = tinker_promise_release(p->promise);
    return;
  }
  tinker__why(why, sizeof why, 0, "checkpoint %s: %s", p->path, found);
  reject(p, rc, why);
}

/* --- Its calls ------------------------------------------------------------ */

static void on_end(tinker_future_t *future, int status, void *user);

static tinker_future_t *submit(proof_t *p, size_t i) {
  tinker_call_options_t call = TINKER_CALL_OPTIONS_INIT;
  tinker_adam_params_t adam = TINKER_ADAM_PARAMS_INIT;
  tinker_trainer_t *model = p->models[calls[i].model];
  call.timeout_ms = TINKER_NO_TIMEOUT;
  call.cb = on_end;
  call.user = p;
  adam.learning_rate = LEARNING_RATE;
  switch (calls[i].kind) {
  case LOAD:
    return tinker_client_create_trainer_from_state(
        p->client, p->path, calls[i].model == WARM, &call);
  case FORWARD:
    return tinker_trainer_forward(model, p->data, TINKER__REC_PROBE_ITEMS, NULL,
                                  &call);
  case BACKWARD:
    return tinker_trainer_forward_backward(
        model, p->data, TINKER__REC_PROBE_ITEMS, NULL, &call);
  case OPTIM: return tinker_trainer_optim_step(model, &adam, &call);
  }
  return NULL;
}

/* Whether the last call of the phase has ended. Under the lock. */
static bool one_less(proof_t *p) {
  return --p->pending == 0;
}

static tinker__rec_proof_event_t outcome(const proof_t *p) {
  for (size_t i = 0; i < CALLS; i++) {
    if (p->futures[i] && tinker_future_status(p->futures[i]) != 0) {
      return TINKER__REC_EVENT_BADLY;
    }
  }
  return TINKER__REC_EVENT_WELL;
}

static void take_models(proof_t *p) {
  for (size_t i = 0; i < CALLS; i++) {
    tinker_trainer_t **model = &p->models[calls[i].model];
    if (calls[i].kind == LOAD && p->futures[i] && !*model) {
      tinker_future_get_trainer(p->futures[i], model);
    }
  }
}

/* Makes the calls of the phase. Returns whether all have ended already. Under
 * the lock. */
static bool submit_all(proof_t *p) {
  p->pending = 1;
  for (size_t i = 0; i < CALLS; i++) {
    if (calls[i].phase != p->phase) continue;
    if (calls[i].step && !p->facts.has_step) continue;
    p->pending++;
    tinker__ref_retain(&p->ref);
    p->futures[i] = submit(p, i);
    if (tinker_future_runs_callback(p->futures[i])) continue;
    p->pending--; /* refused: no callback gives these back */
    unref(p);
  }
  return one_less(p);
}

static void cancel_all(proof_t *p) {
  for (size_t i = 0; i < CALLS; i++) tinker_future_cancel(p->futures[i]);
}

/* --- What happens --------------------------------------------------------- */

/* The end of the promise may free the proof, so that it is outside the lock,
 * and whoever calls this has a reference. */
static void happen(proof_t *p, tinker__rec_proof_event_t event) {
  bool all = true;
  while (all) {
    pthread_mutex_lock(&p->lock);
    tinker__rec_proof_action_t action =
        tinker__rec_proof_move(&p->phase, event);
    all = false;
    switch (action) {
    case TINKER__REC_ACTION_ASK: take_models(p); /* fall through */
    case TINKER__REC_ACTION_LOAD: all = submit_all(p); break;
    case TINKER__REC_ACTION_CANCEL: cancel_all(p); break;
    default: break;
    }
    if (all) event = outcome(p);
    pthread_mutex_unlock(&p->lock);
    if (action == TINKER__REC_ACTION_JUDGE) judge(p);
    if (action == TINKER__REC_ACTION_FAIL) fail(p);
  }
}

static void on_end(tinker_future_t *future, int status, void *user) {
  proof_t *p = user;
  tinker__rec_proof_event_t event = TINKER__REC_EVENT_WELL;
  (void)future;
  (void)status;
  pthread_mutex_lock(&p->lock);
  bool last = one_less(p);
  if (last) event = outcome(p);
  pthread_mutex_unlock(&p->lock);
  if (last) happen(p, event);
  unref(p);
}

static void on_canceled(void *user, int code) {
  proof_t *p = user;
  (void)code;
  happen(p, TINKER__REC_EVENT_GONE);
  unref(p); /* the promise's */
}

/* --- The call ------------------------------------------------------------- */

static int check_expected(const tinker_prove_options_t *o, char *why,
                          size_t why_len) {
  for (size_t i = 0; o->expected && i < TINKER_FINGERPRINT_LEN; i++) {
    if (!isfinite(o->expected[i])) {
      return tinker__why(why, why_len, TINKER_EINVAL,
                         "options.expected[%zu] is not finite", i);
    }
  }
  if (o->expected_noise >= 0 && isfinite(o->expected_noise)) return 0;
  return tinker__why(why, why_len, TINKER_EINVAL,
                     "options.expected_noise is %g: 0 or more, finite",
                     o->expected_noise);
}

static int check(const char *path, const tinker_prove_options_t *given,
                 tinker_prove_options_t *o, char *why, size_t why_len) {
  const tinker_prove_options_t defaults = TINKER_PROVE_OPTIONS_INIT;
  int rc = tinker__options_take(o, sizeof *o, &defaults, given, "prove_options",
                                why, why_len);
  if (rc != 0) return rc;
  if (!path) return tinker__why(why, why_len, TINKER_EINVAL, "path is NULL");
  if (o->steps_taken < 0) {
    return tinker__why(why, why_len, TINKER_EINVAL,
                       "options.steps_taken is %lld: 0 or more",
                       (long long)o->steps_taken);
  }
  return check_expected(o, why, why_len);
}

static tinker_future_t *refused(tinker_client_t *client,
                                const tinker_call_options_t *call, int code,
                                const char *why) {
  tinker_promise_t *promise = NULL;
  tinker_reason_t reason = TINKER_REASON_INIT;
  tinker_future_t *future =
      tinker_client_promise(client, NAME, NULL, call, &promise);
  reason.code = code;
  reason.message = why;
  tinker_promise_reject(promise, &reason);
  tinker_promise_release(promise);
  return future;
}

tinker_future_t *
tinker_client_prove_resume(tinker_client_t *client, const char *path,
                           const tinker_prove_options_t *options,
                           const tinker_call_options_t *call) {
  char why[WHY_LEN] = "";
  tinker_prove_options_t o;
  tinker_promise_hooks_t hooks = TINKER_PROMISE_HOOKS_INIT;
  int rc = check(path, options, &o, why, sizeof why);
  proof_t *p = rc == 0 ? make(&o, path) : NULL;
  if (!p) return refused(client, call, rc ? rc : TINKER_ENOMEM, why);
  p->client = client;
  hooks.canceled = on_canceled;
  hooks.user = p;
  tinker__ref_retain(&p->ref); /* the promise's */
  tinker_promise_t *promise = NULL;
  tinker_future_t *future =
      tinker_client_promise(client, NAME, &hooks, call, &promise);
  p->promise = promise;
  if (promise) {
    happen(p, TINKER__REC_EVENT_BEGIN);
  } else {
    unref(p);
  }
  unref(p);
  return future;
}

int tinker_future_get_resume_proof(tinker_future_t *future,
                                   const tinker_resume_proof_t **out) {
  void *result = NULL;
  if (!out) return TINKER_EINVAL;
  int rc = tinker_future_get_promised(future, NAME, &result);
  if (rc == 0) *out = result;
  return rc;
}
