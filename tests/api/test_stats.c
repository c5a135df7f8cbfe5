/* Statistics of waiting: the stages of operations that have ended, in virtual
 * time, and readers on other threads while operations end. */
#include <criterion/criterion.h>
#include <pthread.h>
#include <stddef.h>

#include "rig.h"

static rig_t rig;
static tinker_trainer_t *trainer;

static void open_all(void) {
  rig_init(&rig, NULL);
  cr_assert_eq(rig_client(&rig), 0);
  trainer = rig_trainer(&rig);
  rig_run(&rig);
}

static void close_all(void) {
  trainer = tinker_trainer_release(trainer);
  rig_done(&rig);
}

static tinker_wait_stats_t stats(tinker_kind_t kind) {
  tinker_wait_stats_t s = TINKER_WAIT_STATS_INIT;
  cr_assert_eq(tinker_client_wait_stats(rig.client, kind, &s), 0);
  return s;
}

static void expect(const char *path, script_reply_t reply) {
  script_expect(rig.script, TINKER__HTTP_POST, path, reply);
}

#define PAUSED                                                                 \
  "{\"type\":\"try_again\",\"request_id\":\"x\","                              \
  "\"queue_state\":\"paused_rate_limit\",\"queue_state_reason\":\"six\"}"

/* Of one operation each percentile is what it took, stage by stage: a refusal
 * and its second attempt, a queue that runs, then stands still. */
Test(stats, stages_of_one_operation) {
  open_all();
  tinker_progress_t p = TINKER_PROGRESS_INIT;
  expect(OPTIM, (script_reply_t){.status = 503, .delay_ms = 500});
  expect(OPTIM,
         (script_reply_t){.delay_ms = 100,
                          .body = "{\"request_id\":\"optim_step-1-0\"}"});
  expect(RETRIEVE, (script_reply_t){.delay_ms = 1000, .body = PAUSED});
  expect(RETRIEVE, (script_reply_t){.delay_ms = 60000, .body = "{}"});
  tinker_future_t *f = tinker_trainer_optim_step(trainer, NULL, NULL);
  rig_run(&rig);
  cr_assert_eq(stats(TINKER_KIND_OPTIM_STEP).count, 0u, "it has not ended");
  int64_t sent = -1; /* how long it was being sent, to 1 ms */
  do {
    sent++;
    fake_loop_advance(&rig.loop, 1);
    cr_assert_eq(tinker_future_progress(f, &p), 0);
  } while (p.stage == TINKER_STAGE_SENT);
  cr_assert_eq(tinker_future_wait(f, 600000), 0);
  cr_assert_eq(tinker_future_progress(f, &p), 0);
  tinker_wait_stats_t s = stats(TINKER_KIND_OPTIM_STEP);
  cr_assert_eq(s.count, 1u);
  cr_assert_eq(s.failed, 0u);
  cr_assert_eq(s.queued.max_ms, 0);
  cr_assert(s.sent.max_ms >= sent && s.sent.max_ms <= sent + 1, "%lld, %lld",
            (long long)s.sent.max_ms, (long long)sent);
  cr_assert_eq(s.running.max_ms, 1000);
  cr_assert_geq(s.paused.max_ms, 60000);
  cr_assert_eq(s.total.max_ms, p.age_ms);
  cr_assert_eq(s.queued.max_ms + s.sent.max_ms + s.running.max_ms +
                   s.paused.max_ms,
               s.total.max_ms);
  cr_assert_eq(s.paused.p50_ms, s.paused.max_ms);
  cr_assert_eq(s.paused.p99_ms, s.paused.max_ms);
  tinker_future_release(f);
  close_all();
}

/* What waits for its turn is queued, for as long as the one before it needs. */
Test(stats, an_operation_that_waits_for_its_turn) {
  open_all();
  tinker_datum_t **batch = rig_batch(1, 3);
  expect(FB,
         (script_reply_t){.delay_ms = 700,
                          .body = "{\"request_id\":\"forward_backward-1-0\"}"});
  tinker_future_t *fb =
      tinker_trainer_forward_backward(trainer, batch, 1, NULL, NULL);
  tinker_future_t *optim = tinker_trainer_optim_step(trainer, NULL, NULL);
  tinker_future_wait(fb, 60000);
  tinker_future_wait(optim, 60000);
  cr_assert_eq(stats(TINKER_KIND_FORWARD_BACKWARD).sent.max_ms, 700);
  cr_assert_eq(stats(TINKER_KIND_OPTIM_STEP).queued.p50_ms, 700);
  tinker_future_release(fb);
  tinker_future_release(optim);
  rig_batch_free(batch, 1);
  close_all();
}

/* A hundred operations, the n-th of which takes n milliseconds and one more. */
Test(stats, percentiles) {
  open_all();
  for (int i = 1; i <= 100; i++) {
    expect(OPTIM,
           (script_reply_t){.delay_ms = i, .body = "{\"request_id\":\"o\"}"});
    expect(RETRIEVE, (script_reply_t){.body = "{}"});
    tinker_future_t *f = tinker_trainer_optim_step(trainer, NULL, NULL);
    cr_assert_eq(tinker_future_wait(f, 60000), 0);
    tinker_future_release(f);
  }
  tinker_times_t t = stats(TINKER_KIND_OPTIM_STEP).sent;
  cr_assert(t.p50_ms >= 50 && t.p50_ms <= 56, "%lld", (long long)t.p50_ms);
  cr_assert(t.p90_ms >= 90 && t.p90_ms <= 101, "%lld", (long long)t.p90_ms);
  cr_assert(t.p99_ms >= 99 && t.p99_ms <= 100, "%lld", (long long)t.p99_ms);
  cr_assert_eq(t.max_ms, 100);
  close_all();
}

/* Each that was taken counts once, by its own kind; what failed is in both
 * numbers; what nobody took is in none. */
Test(stats, what_counts) {
  open_all();
  tinker_datum_t **batch = rig_batch(1, 3);
  tinker_wait_stats_t before = stats(TINKER_KIND_NONE);
  cr_assert_eq(before.count, 1u, "the trainer's creation");
  cr_assert_eq(stats(TINKER_KIND_CREATE_TRAINER).count, 1u);
  tinker_future_t *f = tinker_trainer_step(trainer, batch, 1, NULL, NULL, NULL);
  cr_assert_eq(tinker_future_wait(f, 60000), 0);
  tinker_future_release(f);
  cr_assert_eq(stats(TINKER_KIND_STEP).count, 0u);
  cr_assert_eq(stats(TINKER_KIND_FORWARD_BACKWARD).count, 1u);
  cr_assert_eq(stats(TINKER_KIND_OPTIM_STEP).count, 1u);
  f = tinker_trainer_forward_backward(trainer, NULL, 0, NULL, NULL);
  cr_assert_eq(tinker_future_status(f), TINKER_EINVAL);
  tinker_future_release(f);
  f = tinker_client_dump(rig.client, NULL);
  cr_assert_eq(tinker_future_wait(f, 1000), 0);
  tinker_future_release(f);
  expect(SAVE, (script_reply_t){.delay_ms = -1});
  f = tinker_trainer_save_state(trainer, "a", NULL, CALLS_TIMEOUT(50));
  cr_assert_eq(tinker_future_wait(f, 60000), TINKER_ETIMEDOUT);
  tinker_future_release(f);
  tinker_wait_stats_t s = stats(TINKER_KIND_SAVE_STATE);
  cr_assert_eq(s.count, 1u);
  cr_assert_eq(s.failed, 1u);
  cr_assert_eq(s.total.max_ms, 50);
  s = stats(TINKER_KIND_NONE);
  cr_assert_eq(s.count, 4u);
  cr_assert_eq(s.failed, 1u);
  cr_assert_geq(s.total.max_ms, before.total.max_ms);
  rig_batch_free(batch, 1);
  close_all();
}

Test(stats, arguments_and_sizes) {
  open_all();
  tinker_wait_stats_t s = TINKER_WAIT_STATS_INIT;
  cr_assert_eq(tinker_client_wait_stats(NULL, TINKER_KIND_NONE, &s),
               TINKER_EINVAL);
  cr_assert_eq(tinker_client_wait_stats(rig.client, TINKER_KIND_NONE, NULL),
               TINKER_EINVAL);
  static const int kinds[] = {-1, 18, TINKER_KIND_PROMISE + 1, 1 << 30};
  for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
    cr_assert_eq(
        tinker_client_wait_stats(rig.client, (tinker_kind_t)kinds[i], &s),
        TINKER_EINVAL);
  }
  static const size_t wrong[] = {0, sizeof(size_t), sizeof s + 1};
  for (size_t i = 0; i < 3; i++) {
    s.size = wrong[i];
    cr_assert_eq(tinker_client_wait_stats(rig.client, TINKER_KIND_NONE, &s),
                 TINKER_EINVAL);
  }
  s.size = offsetof(tinker_wait_stats_t, queued);
  s.queued.max_ms = -7;
  cr_assert_eq(tinker_client_wait_stats(rig.client, TINKER_KIND_NONE, &s), 0);
  cr_assert_eq(s.size, offsetof(tinker_wait_stats_t, queued));
  cr_assert_eq(s.count, 1u);
  cr_assert_eq(s.queued.max_ms, -7);
  close_all();
}

/* Whoever holds the client's lock delays no reader, and a closed client still
 * answers. */
Test(stats, no_lock_and_no_end) {
  open_all();
  pthread_mutex_lock(&rig.client->lock);
  cr_assert_eq(stats(TINKER_KIND_NONE).count, 1u);
  pthread_mutex_unlock(&rig.client->lock);
  tinker_future_t *f = tinker_client_close(rig.client, NULL);
  cr_assert_eq(tinker_future_wait(f, 10000), 0);
  tinker_future_release(f);
  cr_assert_eq(stats(TINKER_KIND_NONE).count, 1u);
  close_all();
}

/* --- while operations end --- */

enum { READERS = 3, STEPS = 400 };

static atomic_bool ended;

static bool in_order(const tinker_times_t *t) {
  return t->p50_ms <= t->p90_ms && t->p90_ms <= t->p99_ms &&
         t->p99_ms <= t->max_ms;
}

/* Returns NULL if every answer was one that can be. */
static void *read_on(void *user) {
  tinker_kind_t kind = *(const tinker_kind_t *)user;
  tinker_wait_stats_t s = TINKER_WAIT_STATS_INIT;
  uint64_t count = 0;
  while (!atomic_load(&ended)) {
    int rc = tinker_client_wait_stats(rig.client, kind, &s);
    bool fine = rc == 0 && s.count >= count && s.failed <= s.count &&
                in_order(&s.queued) && in_order(&s.sent) &&
                in_order(&s.running) && in_order(&s.paused) &&
                in_order(&s.total);
    if (!fine) return user;
    count = s.count;
  }
  return NULL;
}

Test(stats, from_any_thread) {
  static tinker_kind_t kinds[READERS] = {
      TINKER_KIND_NONE, TINKER_KIND_OPTIM_STEP, TINKER_KIND_NONE};
  pthread_t threads[READERS];
  void *wrong[READERS];
  rig_init_threads(&rig);
  cr_assert_eq(rig_client(&rig), 0);
  trainer = rig_trainer(&rig);
  for (size_t i = 0; i < READERS; i++) {
    cr_assert_eq(pthread_create(&threads[i], NULL, read_on, &kinds[i]), 0);
  }
  for (int k = 0; k < STEPS; k++) {
    tinker_future_t *f = tinker_trainer_optim_step(trainer, NULL, NULL);
    if (k % 4 == 0) tinker_future_cancel(f);
    tinker_future_wait(f, -1);
    tinker_future_release(f);
  }
  atomic_store(&ended, true);
  for (size_t i = 0; i < READERS; i++) pthread_join(threads[i], &wrong[i]);
  for (size_t i = 0; i < READERS; i++) cr_assert_null(wrong[i]);
  tinker_wait_stats_t s = stats(TINKER_KIND_OPTIM_STEP);
  cr_assert_eq(s.count, (uint64_t)STEPS);
  close_all();
}
