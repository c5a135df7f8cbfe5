/* How long operations were in each stage, and the counters of their kinds. */
#include "flow/waits.h"

#include <criterion/criterion.h>
#include <pthread.h>

static tinker__mem_t mem;
static tinker__waits_all_t all;

static void begin(void) {
  tinker__mem_init(&mem, NULL, 0);
}

static void end(void) {
  tinker__waits_free(&all, &mem);
  cr_assert_eq(mem.live_bytes, 0u);
}

/* Stages may come again, and one that stays the same is no news. */
Test(waits, stages_add_up) {
  tinker__stay_t stay;
  tinker__stay_begin(&stay, 1000);
  tinker__stay_move(&stay, TINKER_STAGE_QUEUED, 1010);
  tinker__stay_move(&stay, TINKER_STAGE_SENT, 1030);
  cr_assert_eq(stay.since_ms, 1030);
  tinker__stay_move(&stay, TINKER_STAGE_RUNNING, 1031);
  tinker__stay_move(&stay, TINKER_STAGE_PAUSED, 1131);
  tinker__stay_move(&stay, TINKER_STAGE_RUNNING, 1331);
  tinker__stay_move(&stay, TINKER_STAGE_QUEUED, 1332);
  tinker__stay_move(&stay, TINKER_STAGE_SENT, 1333);
  tinker__stay_move(&stay, TINKER_STAGE_ENDED, 1339);
  tinker__stay_move(&stay, TINKER_STAGE_ENDED, 9999);
  cr_assert_eq(stay.spent_ms[TINKER_STAGE_QUEUED], 31);
  cr_assert_eq(stay.spent_ms[TINKER_STAGE_SENT], 7);
  cr_assert_eq(stay.spent_ms[TINKER_STAGE_RUNNING], 101);
  cr_assert_eq(stay.spent_ms[TINKER_STAGE_PAUSED], 200);
  cr_assert_eq(stay.since_ms - stay.born_ms, 339);
}

Test(waits, are_counted_by_kind) {
  tinker__histogram_copy_t copy = {0};
  tinker__stay_t stay;
  begin();
  tinker__waits_t *w = tinker__waits_of(&all, TINKER_KIND_OPTIM_STEP, &mem);
  cr_assert_not_null(w);
  cr_assert_eq(tinker__waits_of(&all, TINKER_KIND_OPTIM_STEP, &mem), w);
  cr_assert_neq(tinker__waits_of(&all, TINKER_KIND_PROMISE, &mem), w);
  tinker__stay_begin(&stay, 10);
  tinker__stay_move(&stay, TINKER_STAGE_SENT, 14);
  tinker__stay_move(&stay, TINKER_STAGE_ENDED, 17);
  tinker__waits_add(w, &stay, true);
  tinker__waits_add(w, &stay, false);
  cr_assert_eq(atomic_load(&w->failed), 1u);
  tinker__histogram_read(&w->total, &copy);
  cr_assert_eq(copy.count, 2u);
  cr_assert_eq(copy.max_ms, 7);
  tinker__histogram_read(&w->stages[TINKER_STAGE_PAUSED], &copy);
  cr_assert_eq(copy.counters[0], 2u, "never there is 0 ms");
  end();
}

Test(waits, without_memory) {
  begin();
  mem.fail_at = 1;
  cr_assert_null(tinker__waits_of(&all, TINKER_KIND_SAMPLE, &mem));
  mem.fail_at = 0;
  cr_assert_not_null(tinker__waits_of(&all, TINKER_KIND_SAMPLE, &mem));
  end();
}

enum { THREADS = 4 };

static pthread_barrier_t together;

static void *make(void *user) {
  pthread_barrier_wait(&together);
  *(tinker__waits_t **)user = tinker__waits_of(&all, TINKER_KIND_FORWARD, &mem);
  return NULL;
}

/* Threads that make the counters of a kind at once get the same ones. */
Test(waits, are_made_once) {
  pthread_t threads[THREADS];
  tinker__waits_t *made[THREADS] = {NULL};
  begin();
  pthread_barrier_init(&together, NULL, THREADS);
  for (int i = 0; i < THREADS; i++) {
    cr_assert_eq(pthread_create(&threads[i], NULL, make, &made[i]), 0);
  }
  for (int i = 0; i < THREADS; i++) pthread_join(threads[i], NULL);
  for (int i = 0; i < THREADS; i++) {
    cr_assert_not_null(made[i]);
    cr_assert_eq(made[i], made[0]);
  }
  pthread_barrier_destroy(&together);
  end();
}
