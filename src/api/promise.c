/* Promises, see <tinker/promise.h>: operations that the program ends itself.
 *
 * A promise is a compound without children; what it is made of lies beside its
 * future and goes with it. The program's references together hold one of the
 * future's. It ends once, under `lock`: by the program, on any thread, or by
 * the home loop, that of its client (`stop`). What the program gives is carried
 * out on the home loop, which is there as long as the promise is pending; a
 * stop that comes between is too late and carries it out itself. */
#include <tinker/promise.h>

#include <string.h>

#include "api/call.h"
#include "api/checks.h"
#include "base/reason.h"
#include "base/ref.h"

#define WHY_MAX 200

typedef enum {
  PROMISE_PENDING,
  PROMISE_GIVEN, /* by the program; its future may not have settled yet */
  PROMISE_OVER   /* ended without the program */
} promise_state_t;

/* How the program ends it. */
typedef struct given_s {
  void *result;
  void (*free_result)(void *result);
  tinker_error_t *error; /* a reference; NULL = well */
} given_t;

struct tinker_promise_s {
  tinker__ref_t ref; /* the program's */
  tinker__compound_t *compound;
  const char *name; /* in the job's arena */
  tinker_promise_hooks_t hooks;
  int code; /* for the hook */
  tinker__task_t end, tell;
  pthread_mutex_t lock;
  /* Under the lock. */
  promise_state_t state;
  given_t given; /* constant once it is GIVEN */
};

static tinker_client_t *home_of(const tinker_promise_t *p) {
  return p->compound->future->owner;
}

/* --- the end: home loop --- */

static void settle(tinker_promise_t *p, tinker_error_t *error) {
  tinker_client_t *home = home_of(p);
  tinker__compound_settle(p->compound, error);
  tinker__ending_look(home);
}

static void settle_given(tinker_promise_t *p) {
  tinker_error_t *error = p->given.error;
  p->given.error = NULL;
  settle(p, error);
}

static void end_run(tinker__task_t *task) {
  tinker_promise_t *p = TINKER__CONTAINER(task, tinker_promise_t, end);
  tinker_future_t *f = p->compound->future;
  tinker__loop_t *loop = home_of(p)->loop;
  if (tinker__future_state(f) == TINKER__FUTURE_PENDING) settle_given(p);
  tinker__future_unref(f);
  tinker__loop_unhold(loop);
}

/* On the delivery thread. */
static void tell_run(tinker__task_t *task) {
  tinker_promise_t *p = TINKER__CONTAINER(task, tinker_promise_t, tell);
  tinker__loop_t *loop = home_of(p)->loop;
  p->hooks.canceled(p->hooks.user, p->code);
  tinker__future_unref(p->compound->future);
  tinker__loop_unhold(loop);
}

static void tell(tinker_promise_t *p, int code) {
  if (!p->hooks.canceled) return;
  p->code = code;
  tinker__future_ref(p->compound->future); /* until tell_run, */
  tinker__loop_hold(home_of(p)->loop);     /* and so is this */
  tinker__loop_deliver(home_of(p)->loop, &p->tell);
}

static void stop(tinker__compound_t *c, int code, const char *why) {
  tinker_promise_t *p = c->user;
  pthread_mutex_lock(&p->lock);
  bool given = p->state == PROMISE_GIVEN;
  if (!given) p->state = PROMISE_OVER;
  pthread_mutex_unlock(&p->lock);
  if (given) {
    settle_given(p);
    return;
  }
  tell(p, code);
  tinker__error_spec_t spec = {.code = code, .advice = TINKER__ADVICE_UNKNOWN};
  settle(p, tinker__error_new(c->future->mem, &spec, "%s: %s", p->name, why));
}

/* --- the program's end of it: any thread --- */

/* 0 when it is taken over. */
static int give(tinker_promise_t *p, given_t given) {
  pthread_mutex_lock(&p->lock);
  bool pending = p->state == PROMISE_PENDING;
  if (pending) {
    tinker__loop_t *loop = home_of(p)->loop;
    p->state = PROMISE_GIVEN;
    p->given = given;
    tinker__future_ref(p->compound->future); /* until end_run, */
    tinker__loop_hold(loop);                 /* and so is this */
    tinker__loop_post(loop, &p->end);
  }
  pthread_mutex_unlock(&p->lock);
  return pending ? 0 : TINKER_ENOENT;
}

static int check(const tinker_promise_t *p) {
  if (!p) return TINKER_EINVAL;
  return tinker__core_is_here(home_of(p)) ? 0 : TINKER_EFORKED;
}

int tinker_promise_resolve(tinker_promise_t *promise, void *result,
                           void (*free_result)(void *result)) {
  int rc = check(promise);
  return rc ? rc : give(promise, (given_t){result, free_result, NULL});
}

/* A sentence with the promise's name before it. */
static int reject(tinker_promise_t *p, const tinker__error_spec_t *spec,
                  const char *why, const char *message) {
  tinker_error_t *error =
      tinker__error_new(p->compound->future->mem, spec, "%s: %s%s%s", p->name,
                        why ? why : "", why ? ": " : "", message);
  int rc = give(p, (given_t){.error = error});
  if (rc) tinker__error_release(error);
  return rc;
}

int tinker_promise_reject(tinker_promise_t *promise,
                          const tinker_reason_t *reason) {
  tinker__error_spec_t spec;
  const char *message;
  char why[WHY_MAX];
  int rc = check(promise);
  if (!rc) rc = tinker__reason_take(&spec, &message, reason, why, sizeof why);
  if (rc) return rc;
  if (spec.code == TINKER_EAGAIN) return TINKER_EINVAL;
  return reject(promise, &spec, NULL, message);
}

int tinker_promise_reject_as(tinker_promise_t *promise,
                             const tinker_error_t *error, const char *why) {
  int rc = check(promise);
  if (rc) return rc;
  if (!error || tinker_error_code(error) == TINKER_EAGAIN) return TINKER_EINVAL;
  tinker__error_spec_t spec = {
      .code = tinker_error_code(error),
      .http_status = tinker_error_http_status(error),
      .category = tinker_error_category(error),
      .advice = tinker__error_advice(error),
      .retry_after_ms = tinker_error_retry_after_ms(error),
      .request_id = tinker_error_request_id(error),
  };
  return reject(promise, &spec, why, tinker_error_message(error));
}

tinker_promise_t *tinker_promise_retain(tinker_promise_t *promise) {
  if (promise) tinker__ref_retain(&promise->ref);
  return promise;
}

tinker_promise_t *tinker_promise_release(tinker_promise_t *promise) {
  if (!promise || !tinker__ref_release(&promise->ref)) return NULL;
  if (!check(promise)) {
    tinker__error_spec_t spec = {.code = TINKER_ECANCELED,
                                 .advice = TINKER__ADVICE_UNKNOWN};
    reject(promise, &spec, NULL, "the program has given it up");
  }
  tinker__future_unref(promise->compound->future);
  return NULL;
}

/* --- making one --- */

static void begin(tinker__compound_t *c) {
  tinker_promise_t *p = c->user;
  tinker__list_push_back(&home_of(p)->compounds, &c->link);
}

static void free_promise(tinker__compound_t *c) {
  tinker_promise_t *p = c->user;
  if (!p) return;
  if (p->given.free_result) p->given.free_result(p->given.result);
  pthread_mutex_destroy(&p->lock);
  tinker__mem_free(c->future->mem, p);
}

static const tinker__compound_ops_t promise_ops = {
    .begin = begin, .stop = stop, .free = free_promise};

const char *tinker__promise_name(const tinker__compound_t *compound) {
  const tinker_promise_t *p = compound->user;
  return compound->ops == &promise_ops ? p->name : NULL;
}

static tinker_error_t *decode_promise(tinker_future_t *f) {
  const tinker_promise_t *p = tinker__compound_of(f)->user;
  f->result = p->given.result;
  return NULL;
}

static const tinker__future_ops_t result_promise = {decode_promise,
                                                    tinker__job_free};

static int make(tinker__compound_t *c, const char *name,
                const tinker_promise_hooks_t *hooks) {
  tinker__mem_t *mem = c->future->mem;
  tinker_promise_t *p = tinker__mem_zalloc(mem, sizeof *p);
  if (!p) return TINKER_ENOMEM;
  p->name = tinker__job_str(tinker__job_of(c->future), name);
  if (!p->name || pthread_mutex_init(&p->lock, NULL)) {
    tinker__mem_free(mem, p);
    return TINKER_ENOMEM;
  }
  tinker__ref_init(&p->ref);
  p->compound = c;
  p->hooks = *hooks;
  tinker__task_init(&p->end, end_run);
  tinker__task_init(&p->tell, tell_run);
  c->user = p;
  return 0;
}

/* Sends it on its way. NULL when it is refused. */
static tinker_promise_t *start(tinker__call_t *c, tinker_future_t **out) {
  tinker_promise_t *p = c->rc ? NULL : c->compound->user;
  tinker_future_t *own = p ? c->future : NULL; /* the program's references' */
  if (own) tinker__future_ref(own);
  *out = tinker__call_end(c);
  if (!c->rc) return p;
  tinker__future_unref(own);
  return NULL;
}

tinker_future_t *tinker_client_promise(tinker_client_t *client,
                                       const char *name,
                                       const tinker_promise_hooks_t *hooks,
                                       const tinker_call_options_t *call,
                                       tinker_promise_t **out) {
  static const tinker_promise_hooks_t defaults = TINKER_PROMISE_HOOKS_INIT;
  if (out) *out = NULL;
  if (!client) return tinker__call_no_handle();
  const char *fault = tinker__name_fault(name);
  const tinker__kind_t kind = {.id = TINKER_KIND_PROMISE,
                               .name = fault ? "promise" : name};
  tinker__call_t c;
  tinker_promise_hooks_t h;
  tinker_future_t *f;
  tinker__call_begin(&c, client, NULL, &kind, call);
  tinker__call_take(&c, &h, sizeof h, &defaults, hooks, "promise_hooks");
  if (fault) tinker__call_refuse(&c, TINKER_EINVAL, "name %s", fault);
  if (!out) tinker__call_refuse(&c, TINKER_EINVAL, "out is NULL");
  if (tinker__call_open_compound(&c, &result_promise, &promise_ops, 0)) {
    tinker__call_check(&c, make(c.compound, name, &h));
  }
  tinker_promise_t *p = start(&c, &f);
  if (p) *out = p;
  return f;
}

int tinker_future_get_promised(tinker_future_t *future, const char *name,
                               void **out) {
  int status =
      future && name && out ? tinker_future_status(future) : TINKER_EINVAL;
  if (status) return status;
  if (future->ops != &result_promise) return TINKER_EINVAL;
  const tinker_promise_t *p = tinker__compound_of(future)->user;
  if (strcmp(p->name, name) != 0) return TINKER_EINVAL;
  *out = future->result;
  return 0;
}
