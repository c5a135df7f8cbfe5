/* Promises: futures that the program ends itself. */
#include <criterion/criterion.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <tinker/uv.h>
#include <unistd.h>
#include <uv.h>

#include "rig.h"

#define NAME "run_next"

typedef struct scene_s {
  rig_t rig;
  tinker_promise_t *promise;
  tinker_future_t *future;
  tinker_call_options_t call;
  tinker_promise_hooks_t hooks;
  seen_t seen;
  char order[8]; /* 'h' the hook, 'c' the callback, 'f' the result is freed */
  int code;      /* the hook's */
} scene_t;

static void mark(scene_t *s, char c) {
  size_t n = strlen(s->order);
  must(n + 1 < sizeof s->order);
  s->order[n] = c;
}

static void on_canceled(void *user, int code) {
  scene_t *s = user;
  mark(s, 'h');
  s->code = code;
}

static void on_end(tinker_future_t *future, int status, void *user) {
  scene_t *s = user;
  mark(s, 'c');
  rig_seen(future, status, &s->seen);
}

static void on_free(void *result) {
  mark(result, 'f');
}

static void fill(scene_t *s) {
  s->call = (tinker_call_options_t)TINKER_CALL_OPTIONS_INIT;
  s->call.cb = on_end;
  s->call.user = s;
  tinker_promise_hooks_init(&s->hooks);
  s->hooks.canceled = on_canceled;
  s->hooks.user = s;
}

static void open_scene(scene_t *s) {
  *s = (scene_t){.promise = NULL};
  fill(s);
  rig_init(&s->rig, NULL);
  cr_assert_eq(rig_client(&s->rig), 0);
}

static void promise(scene_t *s) {
  s->future = tinker_client_promise(s->rig.client, NAME, &s->hooks, &s->call,
                                    &s->promise);
  cr_assert_not_null(s->promise);
}

static void begin(scene_t *s) {
  open_scene(s);
  promise(s);
}

static void end(scene_t *s) {
  tinker_promise_release(s->promise);
  tinker_future_release(s->future);
  rig_done(&s->rig);
}

/* It has ended so, and what was called was called in this order. */
static const char *ended(scene_t *s, int code, const char *order) {
  rig_run(&s->rig);
  cr_assert_eq(tinker_future_status(s->future), code, "%d",
               tinker_future_status(s->future));
  cr_assert_eq(s->seen.status, code);
  cr_assert_str_eq(s->order, order);
  return tinker_error_message(tinker_future_error(s->future));
}

/* --- by the program --- */

Test(promise, resolved) {
  scene_t s;
  void *out = &s;
  begin(&s);
  cr_assert_eq(tinker_future_kind(s.future), TINKER_KIND_PROMISE);
  cr_assert_str_eq(tinker_kind_name(TINKER_KIND_PROMISE), "promise");
  rig_run(&s.rig);
  cr_assert_eq(tinker_future_status(s.future), TINKER_EAGAIN);
  out = NULL;
  cr_assert_eq(tinker_future_get_promised(s.future, NAME, &out), TINKER_EAGAIN);
  cr_assert_null(out);
  cr_assert_eq(tinker_promise_resolve(s.promise, &s, on_free), 0);
  ended(&s, 0, "c");
  cr_assert_eq(tinker_future_get_promised(s.future, NAME, &out), 0);
  cr_assert_eq(out, &s);
  s.promise = tinker_promise_release(s.promise);
  cr_assert_str_eq(s.order, "c"); /* the result is the future's */
  s.future = tinker_future_release(s.future);
  cr_assert_str_eq(s.order, "cf");
  end(&s);
}

/* A result that nobody asks for is freed, too, and one may be nothing. */
Test(promise, resolved_for_nobody) {
  scene_t s;
  begin(&s);
  s.future = tinker_future_release(s.future);
  cr_assert_eq(tinker_promise_resolve(s.promise, &s, on_free), 0);
  s.promise = tinker_promise_release(s.promise);
  rig_run(&s.rig);
  cr_assert_str_eq(s.order, "cf");
  void *out = &s;
  s.order[0] = s.order[1] = 0;
  promise(&s);
  cr_assert_eq(tinker_promise_resolve(s.promise, NULL, NULL), 0);
  ended(&s, 0, "c");
  cr_assert_eq(tinker_future_get_promised(s.future, NAME, &out), 0);
  cr_assert_null(out);
  end(&s);
}

/* One operation's result is not taken for another's. */
Test(promise, another_name_or_kind_has_no_result) {
  scene_t s;
  void *out = NULL;
  const char *path;
  begin(&s);
  cr_assert_eq(tinker_promise_resolve(s.promise, &s, on_free), 0);
  ended(&s, 0, "c");
  cr_assert_eq(tinker_future_get_promised(s.future, "run_step", &out),
               TINKER_EINVAL);
  cr_assert_eq(tinker_future_get_promised(s.future, NULL, &out), TINKER_EINVAL);
  cr_assert_eq(tinker_future_get_promised(s.future, NAME, NULL), TINKER_EINVAL);
  cr_assert_eq(tinker_future_get_promised(NULL, NAME, &out), TINKER_EINVAL);
  cr_assert_eq(tinker_future_get_path(s.future, &path), TINKER_EINVAL);
  tinker_future_t *f =
      tinker_client_get_capabilities(s.rig.client, CALLS_TIMEOUT(1000));
  cr_assert_eq(tinker_future_wait(f, 2000), 0);
  cr_assert_eq(tinker_future_get_promised(f, NAME, &out), TINKER_EINVAL);
  cr_assert_null(out);
  tinker_future_release(f);
  end(&s);
}

Test(promise, rejected) {
  scene_t s;
  tinker_reason_t r = TINKER_REASON_INIT;
  void *out = NULL;
  begin(&s);
  r.code = TINKER_ELOST;
  r.message = "the journal is gone";
  r.category = TINKER_CATEGORY_SERVER;
  r.http_status = 410;
  r.request_id = "r-1";
  r.retry_after_ms = 1500;
  r.retriable = r.needs_recovery = 1;
  cr_assert_eq(tinker_promise_reject(s.promise, &r), 0);
  cr_assert_str_eq(ended(&s, TINKER_ELOST, "c"),
                   "run_next: the journal is gone");
  const tinker_error_t *e = tinker_future_error(s.future);
  cr_assert_eq(tinker_error_category(e), TINKER_CATEGORY_SERVER);
  cr_assert_eq(tinker_error_http_status(e), 410);
  cr_assert_str_eq(tinker_error_request_id(e), "r-1");
  cr_assert_eq(tinker_error_retry_after_ms(e), 1500);
  cr_assert(tinker_error_is_retriable(e) && tinker_error_needs_recovery(e));
  cr_assert(!tinker_error_is_fatal(e) && !tinker_error_outcome_is_unknown(e));
  cr_assert_eq(tinker_future_get_promised(s.future, NAME, &out), TINKER_ELOST);
  end(&s);
}

static tinker_error_t *some_error(int code) {
  tinker_reason_t r = TINKER_REASON_INIT;
  tinker_error_t *e = NULL;
  r.code = code;
  r.message = "optim_step: no";
  r.request_id = "r-2";
  r.http_status = 503;
  r.outcome_unknown = r.fatal = 1;
  cr_assert_eq(tinker_error_make(&r, &e), code);
  return e;
}

Test(promise, rejected_as_another_error) {
  for (int with = 0; with < 2; with++) {
    scene_t s;
    begin(&s);
    tinker_error_t *e = some_error(TINKER_ESERVER);
    cr_assert_eq(
        tinker_promise_reject_as(s.promise, e, with ? "step 7 is open" : NULL),
        0);
    tinker_error_release(e);
    cr_assert_str_eq(ended(&s, TINKER_ESERVER, "c"),
                     with ? "run_next: step 7 is open: optim_step: no"
                          : "run_next: optim_step: no");
    const tinker_error_t *copy = tinker_future_error(s.future);
    cr_assert_str_eq(tinker_error_request_id(copy), "r-2");
    cr_assert_eq(tinker_error_http_status(copy), 503);
    cr_assert(tinker_error_outcome_is_unknown(copy));
    cr_assert(tinker_error_is_fatal(copy));
    end(&s);
  }
}

/* What is no end leaves it pending. */
Test(promise, bad_ends_are_refused) {
  scene_t s;
  tinker_reason_t r = TINKER_REASON_INIT;
  begin(&s);
  tinker_error_t *again = some_error(TINKER_EAGAIN);
  cr_assert_eq(tinker_promise_resolve(NULL, &s, on_free), TINKER_EINVAL);
  cr_assert_eq(tinker_promise_reject(NULL, &r), TINKER_EINVAL);
  cr_assert_eq(tinker_promise_reject_as(NULL, again, NULL), TINKER_EINVAL);
  cr_assert_eq(tinker_promise_reject(s.promise, NULL), TINKER_EINVAL);
  cr_assert_eq(tinker_promise_reject(s.promise, &r), TINKER_EINVAL);
  r.code = TINKER_EAGAIN; /* means that it has not ended */
  cr_assert_eq(tinker_promise_reject(s.promise, &r), TINKER_EINVAL);
  r.code = TINKER_ESTATE;
  r.reserved0 = 1;
  cr_assert_eq(tinker_promise_reject(s.promise, &r), TINKER_ENOTSUP);
  cr_assert_eq(tinker_promise_reject_as(s.promise, again, NULL), TINKER_EINVAL);
  cr_assert_eq(tinker_promise_reject_as(s.promise, NULL, NULL), TINKER_EINVAL);
  tinker_error_release(again);
  rig_run(&s.rig);
  cr_assert_eq(tinker_future_status(s.future), TINKER_EAGAIN);
  cr_assert_eq(tinker_promise_resolve(s.promise, NULL, NULL), 0);
  ended(&s, 0, "c");
  end(&s);
}

/* The first end counts; a second result stays its maker's. */
Test(promise, ends_once) {
  scene_t s, other = {.promise = NULL};
  void *out = NULL;
  begin(&s);
  cr_assert_eq(tinker_promise_resolve(s.promise, &s, on_free), 0);
  for (int i = 0; i < 2; i++) { /* before and after it has settled */
    tinker_error_t *e = some_error(TINKER_EIO);
    cr_assert_eq(tinker_promise_resolve(s.promise, &other, on_free),
                 TINKER_ENOENT);
    cr_assert_eq(tinker_promise_reject_as(s.promise, e, NULL), TINKER_ENOENT);
    tinker_error_release(e);
    ended(&s, 0, "c");
  }
  cr_assert_str_eq(other.order, "");
  cr_assert_eq(tinker_future_get_promised(s.future, NAME, &out), 0);
  cr_assert_eq(out, &s);
  s.future = tinker_future_release(s.future);
  s.promise = tinker_promise_release(s.promise);
  cr_assert_str_eq(s.order, "cf");
  end(&s);
}

Test(promise, given_up) {
  scene_t s;
  begin(&s);
  cr_assert_eq(tinker_promise_retain(s.promise), s.promise);
  tinker_promise_release(s.promise);
  rig_run(&s.rig);
  cr_assert_eq(tinker_future_status(s.future), TINKER_EAGAIN);
  s.promise = tinker_promise_release(s.promise);
  cr_assert_str_eq(ended(&s, TINKER_ECANCELED, "c"),
                   "run_next: the program has given it up");
  cr_assert(tinker_error_outcome_is_unknown(tinker_future_error(s.future)));
  cr_assert_null(tinker_promise_retain(NULL));
  cr_assert_null(tinker_promise_release(NULL));
  end(&s);
}

/* --- without the program --- */

Test(promise, canceled) {
  scene_t s, other = {.promise = NULL};
  begin(&s);
  tinker_future_cancel(s.future);
  cr_assert_str_eq(ended(&s, TINKER_ECANCELED, "hc"),
                   "run_next: it was canceled");
  cr_assert_eq(s.code, TINKER_ECANCELED);
  cr_assert(tinker_error_outcome_is_unknown(tinker_future_error(s.future)));
  cr_assert_eq(tinker_promise_resolve(s.promise, &other, on_free),
               TINKER_ENOENT);
  cr_assert_str_eq(other.order, "");
  end(&s);
}

Test(promise, its_deadline_passes) {
  scene_t s;
  open_scene(&s);
  s.call.timeout_ms = 500;
  promise(&s);
  fake_loop_advance(&s.rig.loop, 499);
  cr_assert_eq(tinker_future_status(s.future), TINKER_EAGAIN);
  fake_loop_advance(&s.rig.loop, 1);
  ended(&s, TINKER_ETIMEDOUT, "hc");
  cr_assert_eq(s.code, TINKER_ETIMEDOUT);
  end(&s);
}

Test(promise, the_client_closes) {
  scene_t s;
  begin(&s);
  tinker_future_t *f = tinker_client_close(s.rig.client, NULL);
  ended(&s, TINKER_ECLOSED, "hc");
  cr_assert_eq(s.code, TINKER_ECLOSED);
  tinker_future_release(f);
  s.rig.client = tinker_client_release(s.rig.client);
  rig_run(&s.rig);
  cr_assert_eq(tinker_promise_resolve(s.promise, NULL, NULL), TINKER_ENOENT);
  end(&s); /* the promise outlives its client */
}

Test(promise, without_a_hook) {
  scene_t s;
  open_scene(&s);
  s.future =
      tinker_client_promise(s.rig.client, NAME, NULL, &s.call, &s.promise);
  tinker_future_cancel(s.future);
  ended(&s, TINKER_ECANCELED, "c");
  end(&s);
}

/* An end that the program gives before the client has carried out its own is
 * the one that counts: the hook is not called. */
Test(promise, a_late_cancel_or_close) {
  for (int i = 0; i < 2; i++) {
    scene_t s;
    void *out = NULL;
    begin(&s);
    rig_run(&s.rig);
    tinker_future_t *f = NULL;
    if (i) {
      f = tinker_client_close(s.rig.client, NULL);
    } else {
      tinker_future_cancel(s.future);
    }
    cr_assert_eq(tinker_promise_resolve(s.promise, &s, on_free), 0);
    ended(&s, 0, "c");
    cr_assert_eq(tinker_future_get_promised(s.future, NAME, &out), 0);
    cr_assert_eq(out, &s);
    tinker_future_release(f);
    s.future = tinker_future_release(s.future);
    end(&s);
  }
}

Test(promise, a_drain_waits_for_it) {
  scene_t s;
  begin(&s);
  tinker_future_t *f = tinker_client_drain(s.rig.client, CALLS_TIMEOUT(-1));
  fake_loop_advance(&s.rig.loop, 1000);
  cr_assert_eq(tinker_future_status(f), TINKER_EAGAIN);
  cr_assert_eq(tinker_promise_resolve(s.promise, NULL, NULL), 0);
  ended(&s, 0, "c");
  fake_loop_advance(&s.rig.loop, 5000);
  cr_assert_eq(tinker_future_status(f), 0);
  tinker_future_release(f);
  end(&s);
}

/* What a drain waits for can be seen. */
Test(promise, stands_in_a_dump) {
  scene_t s;
  const char *json = NULL;
  begin(&s);
  tinker_future_t *drain = tinker_client_drain(s.rig.client, CALLS_TIMEOUT(-1));
  rig_run(&s.rig);
  tinker_future_t *f = tinker_client_dump(s.rig.client, NULL);
  cr_assert_eq(tinker_future_wait(f, 1000), 0);
  cr_assert_eq(tinker_future_get_dump(f, &json), 0);
  cr_assert(strstr(json, "\"promises\":[\"run_next\"]"), "%s", json);
  tinker_future_release(f);
  tinker_future_release(drain);
  end(&s);
}

/* --- the call --- */

static void refused(scene_t *s, const char *name, int code, const char *words) {
  tinker_future_t *f =
      tinker_client_promise(s->rig.client, name, &s->hooks, NULL, &s->promise);
  cr_assert_eq(tinker_future_status(f), code);
  cr_assert_str_eq(tinker_error_message(tinker_future_error(f)), words);
  cr_assert_null(s->promise);
  tinker_future_release(f);
}

Test(promise, refusals) {
  scene_t s;
  begin(&s);
  tinker_promise_t *first = s.promise;
  refused(&s, NULL, TINKER_EINVAL, "promise: name is NULL");
  s.promise = first; /* is overwritten */
  refused(&s, "", TINKER_EINVAL, "promise: name is empty");
  refused(&s, "run next", TINKER_EINVAL,
          "promise: name has a character that is not one of [A-Za-z0-9_.-]");
  s.hooks.size = 0;
  refused(&s, NAME, TINKER_EINVAL,
          "run_next: promise_hooks.size is 0: begin with "
          "tinker_promise_hooks_init()");
  tinker_promise_hooks_init(&s.hooks);
  tinker_future_t *f =
      tinker_client_promise(s.rig.client, NAME, NULL, NULL, NULL);
  cr_assert_eq(tinker_future_status(f), TINKER_EINVAL);
  tinker_future_release(f);
  s.promise = first;
  f = tinker_client_promise(NULL, NAME, NULL, NULL, &s.promise);
  cr_assert(tinker_future_status(f) == TINKER_EINVAL && !s.promise);
  f = tinker_client_close(s.rig.client, NULL);
  refused(&s, NAME, TINKER_ECLOSED, "run_next: the client is closed");
  rig_run(&s.rig);
  tinker_future_release(f);
  refused(&s, NAME, TINKER_ECLOSED, "run_next: the client is closed");
  s.promise = first;
  end(&s);
}

Test(promise, taken_by_next_detached_or_not) {
  for (int detached = 0; detached < 2; detached++) {
    scene_t s;
    tinker_future_t *f = NULL;
    void *out = NULL;
    open_scene(&s);
    s.call.cb = NULL;
    s.call.detached = detached;
    promise(&s);
    cr_assert_eq(tinker_client_next(s.rig.client, 0, &f), TINKER_EAGAIN);
    cr_assert_eq(tinker_promise_resolve(s.promise, &s, on_free), 0);
    cr_assert_eq(tinker_client_next(s.rig.client, 1000, &f), 0);
    cr_assert_eq(tinker_future_user(f), &s);
    cr_assert_eq(tinker_future_get_promised(f, NAME, &out), 0);
    cr_assert_eq(out, &s);
    tinker_future_release(f);
    end(&s);
  }
}

/* --- an operation of several calls --- */

typedef struct saving_s {
  scene_t s;
  scene_t *home; /* whose promise it is */
  tinker_trainer_t *trainer;
} saving_t;

static void on_saved(tinker_future_t *future, int status, void *user) {
  saving_t *o = user;
  const char *path = NULL;
  must(status == 0);
  must(tinker_future_get_path(future, &path) == 0);
  must(tinker_promise_resolve(o->home->promise, strdup(path), free) == 0);
}

/* It ends inside a callback, of its own client or of another. */
Test(promise, resolved_in_a_callback) {
  for (int other = 0; other < 2; other++) {
    saving_t o;
    scene_t home;
    void *path = NULL;
    open_scene(&o.s);
    open_scene(&home);
    o.home = other ? &home : &o.s;
    promise(o.home);
    o.trainer = rig_trainer(&o.s.rig);
    tinker_future_release(tinker_trainer_save_state(
        o.trainer, "a", NULL, CALLS_WITH(NULL, on_saved, &o)));
    fake_loop_advance(&o.s.rig.loop, 1000);
    ended(o.home, 0, "c");
    cr_assert_eq(tinker_future_get_promised(o.home->future, NAME, &path), 0);
    cr_assert(strstr(path, "tinker://"), "%s", (char *)path);
    tinker_trainer_release(o.trainer);
    end(&o.s);
    end(&home);
  }
}

/* --- threads --- */

static void *resolve_there(void *user) {
  scene_t *s = user;
  must(tinker_promise_resolve(s->promise, s, on_free) == 0);
  s->promise = tinker_promise_release(s->promise);
  return NULL;
}

/* An end given on another thread wakes whoever waits: asleep, or in the step
 * that the wait makes. */
static void wakes(void (*init)(rig_t *rig)) {
  scene_t s = {.promise = NULL};
  pthread_t thread;
  fill(&s);
  init(&s.rig);
  cr_assert_eq(rig_client(&s.rig), 0);
  promise(&s);
  cr_assert_eq(pthread_create(&thread, NULL, resolve_there, &s), 0);
  cr_assert_eq(tinker_future_wait(s.future, -1), 0);
  pthread_join(thread, NULL);
  s.future = tinker_future_release(s.future);
  rig_done(&s.rig);
  cr_assert_str_eq(s.order, "cf");
}

Test(promise, wakes_a_waiting_thread) {
  wakes(rig_init_threads);
}

Test(promise, wakes_a_step) {
  wakes(rig_init_step);
}

/* It keeps uv_run going as any operation does. */
Test(promise, wakes_a_uv_loop) {
  scene_t s = {.promise = NULL};
  uv_loop_t loop;
  pthread_t thread;
  tinker_client_options_t o = TINKER_CLIENT_OPTIONS_INIT;
  o.base_url = "unix:/nobody";
  fill(&s);
  cr_assert_eq(uv_loop_init(&loop), 0);
  cr_assert_eq(tinker_client_new_uv(&s.rig.client, &loop, &o, NULL), 0);
  promise(&s);
  cr_assert_eq(pthread_create(&thread, NULL, resolve_there, &s), 0);
  cr_assert_eq(uv_run(&loop, UV_RUN_DEFAULT), 0);
  cr_assert_str_eq(s.order, "c");
  pthread_join(thread, NULL);
  tinker_future_release(s.future);
  tinker_client_release(s.rig.client);
  cr_assert_eq(uv_run(&loop, UV_RUN_DEFAULT), 0);
  cr_assert_eq(uv_loop_close(&loop), 0);
  cr_assert_str_eq(s.order, "cf");
}

static void count_up(void *user, int code) {
  must(code == TINKER_ECANCELED);
  atomic_fetch_add((atomic_int *)user, 1);
}

static void *cancel_there(void *user) {
  tinker_future_cancel(((scene_t *)user)->future);
  return NULL;
}

/* Both at once: exactly one of them has ended it, and both know who. */
Test(promise, resolve_and_cancel_race) {
  scene_t s = {.promise = NULL};
  int n[2] = {0, 0};
  atomic_int hooks = 0;
  fill(&s);
  s.call.cb = NULL;
  s.hooks.canceled = count_up;
  s.hooks.user = &hooks;
  rig_init_threads(&s.rig);
  cr_assert_eq(rig_client(&s.rig), 0);
  for (int i = 0; i < 200; i++) {
    pthread_t thread;
    promise(&s);
    cr_assert_eq(pthread_create(&thread, NULL, cancel_there, &s), 0);
    int rc = tinker_promise_resolve(s.promise, NULL, NULL);
    pthread_join(thread, NULL);
    int status = tinker_future_wait(s.future, -1);
    cr_assert(rc == 0 ? status == 0
                      : rc == TINKER_ENOENT && status == TINKER_ECANCELED);
    n[rc == 0]++;
    s.promise = tinker_promise_release(s.promise);
    s.future = tinker_future_release(s.future);
  }
  rig_done(&s.rig);
  cr_assert_eq(n[0], atomic_load(&hooks));
}

static int child(scene_t *s) {
  tinker_promise_t *p;
  tinker_reason_t r = TINKER_REASON_INIT;
  tinker_error_t *e = NULL;
  r.code = TINKER_EIO;
  tinker_error_make(&r, &e);
  if (tinker_promise_resolve(s->promise, s, on_free) != TINKER_EFORKED)
    return 1;
  if (tinker_promise_reject(s->promise, &r) != TINKER_EFORKED) return 2;
  if (tinker_promise_reject_as(s->promise, e, NULL) != TINKER_EFORKED) return 3;
  tinker_future_t *f =
      tinker_client_promise(s->rig.client, NAME, NULL, NULL, &p);
  if (tinker_future_status(f) != TINKER_EFORKED || p) return 4;
  tinker_promise_release(s->promise);
  tinker_future_release(s->future);
  return s->order[0];
}

Test(promise, a_forked_child_may_only_release) {
  scene_t s;
  int status = -1;
  begin(&s);
  rig_run(&s.rig);
  pid_t pid = fork();
  if (pid == 0) {
    alarm(60); /* against hanging */
    _exit(child(&s));
  }
  cr_assert_eq(waitpid(pid, &status, 0), pid);
  cr_assert(WIFEXITED(status) && WEXITSTATUS(status) == 0, "%d", status);
  cr_assert_eq(tinker_promise_resolve(s.promise, NULL, NULL), 0);
  ended(&s, 0, "c");
  end(&s);
}

/* --- memory --- */

/* Each allocation fails in turn: it is refused or works, it ends once, and
 * nothing is left. */
static uint64_t sweep_one(uint64_t n, int how) {
  static const int codes[] = {0, TINKER_EIO, TINKER_ECANCELED};
  scene_t s;
  open_scene(&s);
  uint64_t before = atomic_load(&s.rig.mem.count);
  atomic_store(&s.rig.mem.fail_at, before + n);
  s.future =
      tinker_client_promise(s.rig.client, NAME, &s.hooks, &s.call, &s.promise);
  bool made = s.promise != NULL;
  tinker_error_t *e = some_error(TINKER_EIO);
  if (made && how == 0) {
    cr_assert_eq(tinker_promise_resolve(s.promise, &s, on_free), 0);
  } else if (made && how == 1) {
    cr_assert_eq(tinker_promise_reject_as(s.promise, e, NULL), 0);
  }
  tinker_error_release(e);
  s.promise = tinker_promise_release(s.promise); /* how 2: given up */
  rig_run(&s.rig);
  int code = tinker_future_status(s.future);
  uint64_t count = atomic_load(&s.rig.mem.count) - before;
  cr_assert(code == TINKER_ENOMEM || (made && code == codes[how]),
            "allocation %d, %d: %d", (int)n, how, code);
  cr_assert_str_eq(s.order, made ? "c" : "");
  atomic_store(&s.rig.mem.fail_at, 0);
  s.future = tinker_future_release(s.future);
  end(&s);
  return count;
}

Test(promise, fail_each_allocation) {
  for (int how = 0; how < 3; how++) {
    uint64_t n = 1;
    while (sweep_one(n, how) >= n) n++;
    cr_assert_gt(n, 4u);
  }
}
