/* pool: workers claim task numbers from one atomic counter. A run is told by
 * its generation number; a worker looks for a new one for a moment, then
 * sleeps on the condition. See pool.h for what tasks may do. */
#include "cpu/pool.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <unistd.h>

#include <tinker/error.h>

#include "cpu/kernels/kernels.h"

/* Looks at the generation before a worker sleeps: some ten microseconds, the
 * gap between two products of one layer. */
#define POOL_SPINS 2000

typedef struct {
  tinker__pool_t *pool;
  pthread_t thread;
  unsigned index;
} pool_worker_t;

struct tinker__pool_s {
  tinker__mem_t *mem;
  unsigned threads; /* with the caller */
  unsigned started; /* threads to join */
  float *scratch;   /* threads blocks, 64-byte aligned */
  void *scratch_block;
  pool_worker_t *workers; /* threads - 1 */

  pthread_mutex_t lock;
  pthread_cond_t wake; /* a new generation, or stop */
  pthread_cond_t idle; /* busy fell to 0 */
  atomic_uint generation;
  atomic_uint busy; /* workers that may still touch the run below */
  bool stop;        /* under lock */
  unsigned asleep;  /* under lock */
  bool waiting;     /* under lock: the caller sleeps on idle */

  tinker__pool_fn fn; /* written before generation, read after */
  void *arg;
  size_t n_tasks;
  atomic_size_t next;
};

static inline void relax(void) {
#if defined(__x86_64__)
  __asm__ volatile("pause");
#elif defined(__aarch64__)
  __asm__ volatile("yield");
#endif
}

static void work(tinker__pool_t *pool, unsigned worker) {
  for (;;) {
    size_t task =
        atomic_fetch_add_explicit(&pool->next, 1, memory_order_relaxed);
    if (task >= pool->n_tasks) return;
    pool->fn(pool->arg, task, worker);
  }
}

/* Wait for a generation other than seen. False when the pool stops. */
static bool next_run(tinker__pool_t *pool, unsigned seen) {
  for (int i = 0; i < POOL_SPINS; i++) {
    if (atomic_load_explicit(&pool->generation, memory_order_acquire) != seen)
      return true;
    relax();
  }
  pthread_mutex_lock(&pool->lock);
  pool->asleep++;
  while (!pool->stop && atomic_load(&pool->generation) == seen)
    pthread_cond_wait(&pool->wake, &pool->lock);
  pool->asleep--;
  bool run = atomic_load(&pool->generation) != seen;
  pthread_mutex_unlock(&pool->lock);
  return run;
}

static void *worker_main(void *arg) {
  pool_worker_t *self = arg;
  tinker__pool_t *pool = self->pool;
  for (unsigned seen = 0; next_run(pool, seen); seen++) {
    work(pool, self->index);
    if (atomic_fetch_sub(&pool->busy, 1) != 1) continue;
    pthread_mutex_lock(&pool->lock);
    if (pool->waiting) pthread_cond_signal(&pool->idle);
    pthread_mutex_unlock(&pool->lock);
  }
  return NULL;
}

static void wait_idle(tinker__pool_t *pool) {
  for (int i = 0; i < POOL_SPINS; i++) {
    if (atomic_load(&pool->busy) == 0) return;
    relax();
  }
  pthread_mutex_lock(&pool->lock);
  pool->waiting = true;
  while (atomic_load(&pool->busy) != 0)
    pthread_cond_wait(&pool->idle, &pool->lock);
  pool->waiting = false;
  pthread_mutex_unlock(&pool->lock);
}

void tinker__pool_run(tinker__pool_t *pool, tinker__pool_fn fn, void *arg,
                      size_t n_tasks) {
  if (pool->threads == 1 || n_tasks < 2) {
    for (size_t i = 0; i < n_tasks; i++)
      fn(arg, i, 0);
    return;
  }
  pool->fn = fn;
  pool->arg = arg;
  pool->n_tasks = n_tasks;
  atomic_store_explicit(&pool->next, 0, memory_order_relaxed);
  atomic_store(&pool->busy, pool->threads - 1);
  pthread_mutex_lock(&pool->lock);
  atomic_fetch_add(&pool->generation, 1);
  if (pool->asleep > 0) pthread_cond_broadcast(&pool->wake);
  pthread_mutex_unlock(&pool->lock);
  work(pool, 0);
  wait_idle(pool);
}

unsigned tinker__pool_threads(const tinker__pool_t *pool) {
  return pool->threads;
}

float *tinker__pool_scratch(tinker__pool_t *pool, unsigned worker) {
  return pool->scratch + worker * TINKER__SCRATCH_FLOATS;
}

static unsigned count_threads(unsigned asked) {
  long n = asked > 0 ? (long)asked : sysconf(_SC_NPROCESSORS_ONLN);
  return n < 1 ? 1 : n > TINKER__POOL_MAX ? TINKER__POOL_MAX : (unsigned)n;
}

static int start_workers(tinker__pool_t *pool) {
  for (unsigned i = 0; i + 1 < pool->threads; i++) {
    pool_worker_t *w = &pool->workers[i];
    w->pool = pool;
    w->index = i + 1;
    if (pthread_create(&w->thread, NULL, worker_main, w) != 0)
      return TINKER_ENOMEM;
    pool->started++;
  }
  return 0;
}

int tinker__pool_new(tinker__pool_t **out, tinker__mem_t *mem,
                     unsigned threads) {
  size_t bytes = TINKER__SCRATCH_FLOATS * sizeof(float);
  tinker__pool_t *pool = tinker__mem_zalloc(mem, sizeof *pool);
  if (pool == NULL) return TINKER_ENOMEM;
  pool->mem = mem;
  pool->threads = count_threads(threads);
  pthread_mutex_init(&pool->lock, NULL);
  pthread_cond_init(&pool->wake, NULL);
  pthread_cond_init(&pool->idle, NULL);
  pool->workers = tinker__mem_array(mem, pool->threads, sizeof *pool->workers);
  pool->scratch_block = tinker__mem_alloc(mem, pool->threads * bytes + 64);
  if (pool->workers == NULL || pool->scratch_block == NULL) goto fail;
  pool->scratch =
      (float *)(((uintptr_t)pool->scratch_block + 63) & ~(uintptr_t)63);
  if (start_workers(pool) != 0) goto fail;
  *out = pool;
  return 0;
fail:
  tinker__pool_free(pool);
  return TINKER_ENOMEM;
}

void tinker__pool_free(tinker__pool_t *pool) {
  if (pool == NULL) return;
  pthread_mutex_lock(&pool->lock);
  pool->stop = true;
  pthread_cond_broadcast(&pool->wake);
  pthread_mutex_unlock(&pool->lock);
  for (unsigned i = 0; i < pool->started; i++)
    pthread_join(pool->workers[i].thread, NULL);
  pthread_cond_destroy(&pool->idle);
  pthread_cond_destroy(&pool->wake);
  pthread_mutex_destroy(&pool->lock);
  tinker__mem_free(pool->mem, pool->scratch_block);
  tinker__mem_free(pool->mem, pool->workers);
  tinker__mem_free(pool->mem, pool);
}
