/* The pool: each task once, on a worker that exists, run after run; no memory
 * left behind. */
#include <criterion/criterion.h>
#include <stdatomic.h>
#include <stdint.h>
#include <tinker/error.h>
#include <unistd.h>

#include "cpu/kernels/kernels.h"

typedef struct {
  unsigned threads;
  atomic_uint hits[1000];
  atomic_uint strangers;
  tinker__cpu_pool_t *pool;
} run_t;

static void hit(void *arg, size_t task, unsigned worker) {
  run_t *run = arg;
  atomic_fetch_add(&run->hits[task], 1);
  if (worker >= run->threads) atomic_fetch_add(&run->strangers, 1);
  /* Every worker's scratch is its own. */
  float *scratch = tinker__cpu_pool_scratch(run->pool, worker);
  scratch[0] = (float)task;
  scratch[TINKER__SCRATCH_FLOATS - 1] = (float)worker;
  if (((uintptr_t)scratch & 63) != 0 || scratch[0] != (float)task) {
    atomic_fetch_add(&run->strangers, 1);
  }
}

Test(pool, runs_each_task_once) {
  static run_t run;
  tinker__mem_t mem;
  tinker__mem_init(&mem, NULL, 0);
  for (unsigned threads = 1; threads <= 4; threads++) {
    static const size_t tasks[] = {0, 1, 2, 3, 7, 1000};
    cr_assert_eq(tinker__cpu_pool_new(&run.pool, &mem, threads), 0);
    cr_assert_eq(tinker__cpu_pool_threads(run.pool), threads);
    run.threads = threads;
    for (unsigned round = 0; round < 200; round++) {
      size_t n = tasks[round % 6];
      for (size_t i = 0; i < n; i++) atomic_store(&run.hits[i], 0);
      tinker__cpu_pool_run(run.pool, hit, &run, n);
      for (size_t i = 0; i < n; i++) {
        cr_assert_eq(run.hits[i], 1, "task %zu of %zu", i, n);
      }
    }
    cr_assert_eq(run.strangers, 0);
    tinker__cpu_pool_free(run.pool);
  }
  cr_assert_eq(mem.live_blocks, 0);
}

Test(pool, counts_processors_and_survives_no_memory) {
  tinker__mem_t mem;
  tinker__cpu_pool_t *pool = NULL;
  tinker__mem_init(&mem, NULL, 0);
  cr_assert_eq(tinker__cpu_pool_new(&pool, &mem, 0), 0);
  long online = sysconf(_SC_NPROCESSORS_ONLN), most = TINKER__POOL_MAX;
  cr_assert_eq(tinker__cpu_pool_threads(pool), online < most ? online : most);
  tinker__cpu_pool_free(pool);
  cr_assert_eq(tinker__cpu_pool_new(&pool, &mem, TINKER__POOL_MAX + 3), 0);
  cr_assert_eq(tinker__cpu_pool_threads(pool), (unsigned)TINKER__POOL_MAX);
  tinker__cpu_pool_free(pool);
  pool = NULL;
  int rc = TINKER_ENOMEM;
  for (uint64_t n = 1; rc != 0; n++) {
    tinker__mem_init(&mem, NULL, 0);
    mem.fail_at = n;
    rc = tinker__cpu_pool_new(&pool, &mem, 3);
    cr_assert(rc == 0 || (rc == TINKER_ENOMEM && pool == NULL));
    if (rc != 0) cr_assert_eq(mem.live_blocks, 0);
    cr_assert_lt(n, 100u);
  }
  tinker__cpu_pool_free(pool);
  tinker__cpu_pool_free(NULL);
  cr_assert_eq(mem.live_blocks, 0);
}
