/* pool: workers claim tasks from one atomic word. The caller waits for tasks,
 * not for workers, so a worker that does not get a processor in time on a busy
 * machine delays nobody. A worker without tasks looks for some for a moment,
 * then sleeps on the condition. pool.h says which tasks are allowed. */
#include "cpu/pool.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <time.h>
#include <unistd.h>

#include <tinker/error.h>

#include "cpu/kernels/kernels.h"

/* How long a thread looks at a word before it sleeps, about the gap between two
 * products of one layer. The time is taken from the clock, because a pause
 * instruction takes a few cycles on some processors and 140 on others; the
 * clock is read only once in SPIN_LOOKS looks. */
#define SPIN_NS 20000
/* A worker may always look for this long. It may look for longer only if it has
 * worked for SPIN_EARNED times that long before, since otherwise, if runs are
 * small and far apart, it would spend more time looking than working. */
#define SPIN_FREE_NS 4000
#define SPIN_EARNED 8
#define SPIN_LOOKS 16

typedef struct {
  tinker__cpu_pool_t *pool;
  pthread_t thread;
  unsigned index;
} pool_worker_t;

struct tinker__cpu_pool_s {
  tinker__mem_t *mem;
  unsigned threads; /* with the caller */
  unsigned started; /* threads to join */
  float *scratch;   /* threads blocks, 64-byte aligned */
  void *scratch_block;
  pool_worker_t *workers; /* threads - 1 */

  pthread_mutex_t lock;
  pthread_cond_t wake; /* a new run, or stop */
  pthread_cond_t idle; /* pending fell to 0 */
  bool stop;           /* under lock */
  bool waiting;        /* under lock: the caller sleeps on idle */
  atomic_uint asleep;  /* workers on wake; changed under lock */

  /* The upper half is the run's number, the lower half its unclaimed tasks. A
   * worker claims a task by a compare-exchange, which fails if the run is over.
   */
  atomic_uint_fast64_t state;
  atomic_size_t pending; /* tasks not finished */

  /* The run's arguments: written while no task is pending, read by workers
   * after a claim. */
  tinker__cpu_pool_fn fn;
  void *arg;
  size_t n_tasks;
};

static inline void relax(void) {
#if defined(__x86_64__)
  __asm__ volatile("pause");
#elif defined(__aarch64__)
  __asm__ volatile("yield");
#endif
}

static uint32_t unclaimed(uint_fast64_t state) {
  return (uint32_t)state;
}

static void finish_one(tinker__cpu_pool_t *pool) {
  if (atomic_fetch_sub(&pool->pending, 1) != 1) return;
  pthread_mutex_lock(&pool->lock);
  if (pool->waiting) pthread_cond_signal(&pool->idle);
  pthread_mutex_unlock(&pool->lock);
}

/* Claims and runs tasks until none is left to claim. */
static void work(tinker__cpu_pool_t *pool, unsigned worker) {
  uint_fast64_t state = atomic_load(&pool->state);
  while (unclaimed(state) > 0) {
    if (!atomic_compare_exchange_weak(&pool->state, &state, state - 1)) {
      continue;
    }
    pool->fn(pool->arg, pool->n_tasks - unclaimed(state), worker);
    finish_one(pool);
    state = atomic_load(&pool->state);
  }
}

static int64_t now_ns(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

/* Looks until there(pool) is true; false when that takes longer than ns. */
static bool spin(tinker__cpu_pool_t *pool,
                 bool (*there)(tinker__cpu_pool_t *pool), int64_t ns) {
  int64_t end = now_ns() + ns;
  do {
    for (int i = 0; i < SPIN_LOOKS; i++) {
      if (there(pool)) return true;
      relax();
    }
  } while (now_ns() < end);
  return false;
}

static bool has_tasks(tinker__cpu_pool_t *pool) {
  return unclaimed(atomic_load(&pool->state)) > 0;
}

static bool is_done(tinker__cpu_pool_t *pool) {
  return atomic_load(&pool->pending) == 0;
}

/* Waits for tasks to claim, and looks for them as long as *earned allows. False
 * when the pool stops. */
static bool next_run(tinker__cpu_pool_t *pool, int64_t *earned) {
  int64_t from = now_ns(), ns = *earned > SPIN_FREE_NS ? *earned : SPIN_FREE_NS;
  bool there = spin(pool, has_tasks, ns);
  *earned -= now_ns() - from;
  if (*earned < 0) *earned = 0;
  if (there) return true;
  pthread_mutex_lock(&pool->lock);
  atomic_fetch_add(&pool->asleep, 1);
  while (!pool->stop && unclaimed(atomic_load(&pool->state)) == 0) {
    pthread_cond_wait(&pool->wake, &pool->lock);
  }
  atomic_fetch_sub(&pool->asleep, 1);
  bool run = !pool->stop;
  pthread_mutex_unlock(&pool->lock);
  return run;
}

static void *worker_main(void *arg) {
  pool_worker_t *self = arg;
  int64_t earned = 0; /* nanoseconds of looking */
  while (next_run(self->pool, &earned)) {
    int64_t from = now_ns();
    work(self->pool, self->index);
    earned += (now_ns() - from) / SPIN_EARNED;
    if (earned > SPIN_NS) earned = SPIN_NS;
  }
  return NULL;
}

static void wait_idle(tinker__cpu_pool_t *pool) {
  if (is_done(pool) || spin(pool, is_done, SPIN_NS)) return;
  pthread_mutex_lock(&pool->lock);
  pool->waiting = true;
  while (atomic_load(&pool->pending) != 0) {
    pthread_cond_wait(&pool->idle, &pool->lock);
  }
  pool->waiting = false;
  pthread_mutex_unlock(&pool->lock);
}

void tinker__cpu_pool_run(tinker__cpu_pool_t *pool, tinker__cpu_pool_fn fn,
                          void *arg, size_t n_tasks) {
  if (pool->threads == 1 || n_tasks < 2 || n_tasks > UINT32_MAX) {
    for (size_t i = 0; i < n_tasks; i++) fn(arg, i, 0);
    return;
  }
  pool->fn = fn;
  pool->arg = arg;
  pool->n_tasks = n_tasks;
  atomic_store(&pool->pending, n_tasks);
  uint_fast64_t run = (atomic_load(&pool->state) >> 32) + 1;
  atomic_store(&pool->state, run << 32 | n_tasks);
  /* A worker counts itself as asleep before it looks for tasks once more, so
   * one that sees none of these is counted here. */
  if (atomic_load(&pool->asleep) > 0) {
    pthread_mutex_lock(&pool->lock);
    pthread_cond_broadcast(&pool->wake);
    pthread_mutex_unlock(&pool->lock);
  }
  work(pool, 0);
  wait_idle(pool);
}

unsigned tinker__cpu_pool_threads(const tinker__cpu_pool_t *pool) {
  return pool->threads;
}

float *tinker__cpu_pool_scratch(tinker__cpu_pool_t *pool, unsigned worker) {
  return pool->scratch + worker * TINKER__SCRATCH_FLOATS;
}

static unsigned count_threads(unsigned asked) {
  long n = asked > 0 ? (long)asked : sysconf(_SC_NPROCESSORS_ONLN);
  return n < 1 ? 1 : n > TINKER__POOL_MAX ? TINKER__POOL_MAX : (unsigned)n;
}

static int start_workers(tinker__cpu_pool_t *pool) {
  for (unsigned i = 0; i + 1 < pool->threads; i++) {
    pool_worker_t *w = &pool->workers[i];
    w->pool = pool;
    w->index = i + 1;
    if (pthread_create(&w->thread, NULL, worker_main, w) != 0) {
      return TINKER_ENOMEM;
    }
    pool->started++;
  }
  return 0;
}

int tinker__cpu_pool_new(tinker__cpu_pool_t **out, tinker__mem_t *mem,
                         unsigned threads) {
  size_t bytes = TINKER__SCRATCH_FLOATS * sizeof(float);
  tinker__cpu_pool_t *pool = tinker__mem_zalloc(mem, sizeof *pool);
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
  tinker__cpu_pool_free(pool);
  return TINKER_ENOMEM;
}

void tinker__cpu_pool_free(tinker__cpu_pool_t *pool) {
  if (pool == NULL) return;
  pthread_mutex_lock(&pool->lock);
  pool->stop = true;
  pthread_cond_broadcast(&pool->wake);
  pthread_mutex_unlock(&pool->lock);
  for (unsigned i = 0; i < pool->started; i++) {
    pthread_join(pool->workers[i].thread, NULL);
  }
  pthread_cond_destroy(&pool->idle);
  pthread_cond_destroy(&pool->wake);
  pthread_mutex_destroy(&pool->lock);
  tinker__mem_free(pool->mem, pool->scratch_block);
  tinker__mem_free(pool->mem, pool->workers);
  tinker__mem_free(pool->mem, pool);
}
