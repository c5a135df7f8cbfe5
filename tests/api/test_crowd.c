/* Many threads on one client, and many clients that go away with work under
 * way: what the sanitizers are to look at. Nothing is timed. The counts are
 * variables of the environment, since scripts/test --long wants more:
 * TINKER_CROWD_CALLS of each thread, TINKER_CROWD_LIVES of clients. */
#include <criterion/criterion.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "rig.h"

enum { THREADS = 8, TRAINERS = 3, HELD = 8 };

static size_t setting(const char *name, size_t otherwise) {
  const char *text = getenv(name);
  return text ? strtoul(text, NULL, 10) : otherwise;
}

static rig_t rig;
static tinker_trainer_t *trainers[TRAINERS];
static tinker_sampler_t *sampler;
static tinker_input_t *prompt;
static tinker_datum_t **data;
static size_t call_count;
static atomic_size_t wanted, called, kept, taken, wrong;
static atomic_bool stopping;

/* Not rand_r, which ThreadSanitizer's builds replace. */
static unsigned draw(unsigned *seed, unsigned n) {
  *seed = *seed * 1103515245u + 12345u;
  return (*seed >> 16) % n;
}

/* Criterion's assertions are for the test's own thread: these count. */
static void check(bool right) {
  if (!right) atomic_fetch_add(&wrong, 1);
}

static void count(tinker_future_t *f, int status, void *user) {
  (void)user;
  atomic_fetch_add(&called, 1);
  check(tinker_future_status(f) == status);
  check(status != TINKER_EAGAIN && status != TINKER_EINTERNAL &&
        status != TINKER_EFATAL && status != TINKER_EPROTO);
}

static tinker_future_t *some_call(unsigned *seed,
                                  const tinker_call_options_t *o) {
  tinker_trainer_t *t = trainers[draw(seed, TRAINERS)];
  switch (draw(seed, 8)) {
  case 0: return tinker_trainer_optim_step(t, NULL, o);
  case 1: return tinker_trainer_forward(t, data, 2, NULL, o);
  case 2: return tinker_trainer_forward_backward(t, data, 1, NULL, o);
  case 3: return tinker_trainer_save_state(t, "a", NULL, o);
  case 4: return tinker_trainer_get_info(t, o);
  case 5: return tinker_trainer_save_state(t, "no/name", NULL, o);
  case 6: return tinker_client_get_capabilities(rig.client, o);
  default: return tinker_sampler_sample(sampler, prompt, NULL, o);
  }
}

/* Some are waited for, some canceled, some left to their callback, some to
 * next. */
static void *work(void *user) {
  unsigned seed = (unsigned)(uintptr_t)user;
  tinker_future_t *held[HELD] = {NULL};
  for (size_t i = 0; i < call_count; i++) {
    tinker_future_t **f = &held[i % HELD];
    tinker_call_options_t o = TINKER_CALL_OPTIONS_INIT;
    unsigned what = draw(&seed, 8);
    if (*f) check(tinker_future_wait(*f, 60000) != TINKER_EAGAIN);
    *f = tinker_future_release(*f);
    if (what % 2) o.cb = count;
    if (what % 2) atomic_fetch_add(&wanted, 1);
    if (what == 4) o.timeout_ms = (int64_t)draw(&seed, 3);
    o.detached = what >= 6;
    if (what == 6) atomic_fetch_add(&kept, 1);
    *f = some_call(&seed, &o);
    if (o.detached) *f = NULL;
    if (what < 2) tinker_future_cancel(*f);
    if (what == 2) tinker_future_cancel(held[draw(&seed, HELD)]);
    if (what == 5) *f = tinker_future_release(*f);
  }
  for (size_t i = 0; i < HELD; i++) {
    if (held[i]) check(tinker_future_wait(held[i], 60000) != TINKER_EAGAIN);
    tinker_future_release(held[i]);
  }
  return NULL;
}

static void *take(void *user) {
  tinker_future_t *f;
  (void)user;
  for (;;) {
    int rc = tinker_client_next(rig.client, 1, &f);
    if (rc == 0) {
      check(tinker_future_status(f) != TINKER_EAGAIN);
      atomic_fetch_add(&taken, 1);
      tinker_future_release(f);
    } else if (atomic_load(&stopping)) {
      return NULL;
    }
  }
}

/* Reads the statistics meanwhile: what has ended stays counted. */
static void *look(void *user) {
  tinker_wait_stats_t s = TINKER_WAIT_STATS_INIT;
  uint64_t count = 0;
  (void)user;
  while (!atomic_load(&stopping)) {
    check(!tinker_client_wait_stats(rig.client, TINKER_KIND_NONE, &s));
    check(s.count >= count && s.failed <= s.count);
    check(s.total.p99_ms <= s.total.max_ms);
    count = s.count;
  }
  return NULL;
}

Test(crowd, of_threads_on_one_client, .timeout = 3600) {
  pthread_t threads[THREADS + 2];
  call_count = setting("TINKER_CROWD_CALLS", 500);
  data = rig_batch(2, 3);
  must(!tinker_input_from_tokens(&prompt, (const int32_t[]){1}, 1, NULL, NULL));
  rig_init_threads(&rig);
  script_forget(rig.script);
  cr_assert_eq(rig_client(&rig), 0);
  for (int i = 0; i < TRAINERS; i++) trainers[i] = rig_trainer(&rig);
  sampler = rig_sampler(&rig);
  for (size_t i = 0; i < THREADS; i++) {
    pthread_create(&threads[i], NULL, work, (void *)(uintptr_t)(i + 1));
  }
  pthread_create(&threads[THREADS], NULL, take, NULL);
  pthread_create(&threads[THREADS + 1], NULL, look, NULL);
  for (int i = 0; i < THREADS; i++) pthread_join(threads[i], NULL);
  tinker_future_t *f = tinker_client_drain(rig.client, NULL);
  cr_assert_eq(tinker_future_wait(f, 60000), 0);
  tinker_future_release(f);
  atomic_store(&stopping, true);
  pthread_join(threads[THREADS], NULL);
  pthread_join(threads[THREADS + 1], NULL);
  for (int i = 0; i < TRAINERS; i++) tinker_trainer_release(trainers[i]);
  tinker_sampler_release(sampler);
  rig_done(&rig);
  tinker_input_release(prompt);
  rig_batch_free(data, 2);
  cr_assert_eq(atomic_load(&wrong), 0u);
  cr_assert_eq(atomic_load(&called), atomic_load(&wanted));
  cr_assert_geq(atomic_load(&taken), atomic_load(&kept));
}

/* --- clients that go away --- */

typedef struct life_s {
  size_t calls, done; /* with callbacks */
} life_t;

static void ended(tinker_future_t *f, int status, void *user) {
  life_t *life = user;
  (void)f;
  (void)status;
  life->done++;
}

static void call_much(life_t *life, unsigned *seed) {
  for (size_t i = 0; i < 6; i++) {
    tinker_call_options_t o = TINKER_CALL_OPTIONS_INIT;
    if (i % 2) o.cb = ended;
    if (i % 2) life->calls++;
    o.user = life;
    tinker_future_t *f = some_call(seed, &o);
    if (i == 4) tinker_future_cancel(f);
    tinker_future_release(f);
  }
}

/* Some replies never come, so that there is always something left. */
static atomic_bool holding;
static atomic_uint replies;

static void hold_some(void *user, const script_request_t *q,
                      script_reply_t *reply) {
  bool last = strstr(q->path, "/finish") != NULL; /* is waited for */
  (void)user;
  if (last || !atomic_load(&holding)) return;
  if (atomic_fetch_add(&replies, 1) % 3 == 0) reply->delay_ms = -1;
}

static void one_life(size_t round) {
  unsigned seed = (unsigned)round + 1;
  life_t life = {0};
  bool step = round % 2;
  if (step) {
    rig_init_step(&rig);
  } else {
    rig_init_threads(&rig);
  }
  atomic_store(&holding, false);
  script_meddle(rig.script, hold_some, NULL);
  cr_assert_eq(rig_client(&rig), 0);
  if (round % 3) {
    for (int i = 0; i < TRAINERS; i++) trainers[i] = rig_trainer(&rig);
    sampler = rig_sampler(&rig);
    atomic_store(&holding, true);
    call_much(&life, &seed);
  } else { /* the session is not there yet */
    tinker_future_release(tinker_client_create_sampler(
        rig.client, "tiny", CALLS_WITH(NULL, ended, &life)));
    life.calls++;
  }
  for (size_t i = 0; step && i < round % 5; i++) {
    cr_assert_eq(tinker_client_step(rig.client), 0);
  }
  if (round % 7 == 0) {
    tinker_future_release(tinker_client_close(rig.client, NULL));
  }
  rig.client = tinker_client_release(rig.client);
  cr_assert_eq(tinker_shutdown(60000), 0);
  cr_assert_eq(life.done, life.calls, "life %zu", round);
  for (int i = 0; i < TRAINERS && round % 3; i++) {
    tinker_trainer_release(trainers[i]);
  }
  if (round % 3) tinker_sampler_release(sampler);
  rig_done(&rig);
}

Test(crowd, of_clients_that_go_away_with_work_under_way, .timeout = 3600) {
  size_t lives = setting("TINKER_CROWD_LIVES", 200);
  data = rig_batch(2, 3);
  must(!tinker_input_from_tokens(&prompt, (const int32_t[]){1}, 1, NULL, NULL));
  for (size_t i = 0; i < lives; i++) one_life(i);
  tinker_input_release(prompt);
  rig_batch_free(data, 2);
}
