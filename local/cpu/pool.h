/* pool: a fixed set of worker threads that run the tasks of one call at a
 * time. The thread that calls tinker__cpu_pool_run takes part as worker 0.
 *
 * Invariants: one run at a time, started by one thread (the engine's); tasks
 * are claimed in any order by any worker, so a task may not depend on another
 * one of the same run, nor may a result depend on the worker that made it. A
 * task never calls tinker__cpu_pool_run. */
#ifndef TINKER_LOCAL_CPU_POOL_H
#define TINKER_LOCAL_CPU_POOL_H

#include <stddef.h>

#include "base/mem.h"

typedef struct tinker__cpu_pool_s tinker__cpu_pool_t;

/* Most threads a pool can have. */
#define TINKER__POOL_MAX 256

typedef void (*tinker__cpu_pool_fn)(void *arg, size_t task, unsigned worker);

/* Makes a pool. threads counts the caller; 0 = one per online processor.
 * Returns 0, or a negative TINKER_E code with *out untouched. */
int tinker__cpu_pool_new(tinker__cpu_pool_t **out, tinker__mem_t *mem,
                         unsigned threads);
/* NULL allowed. */
void tinker__cpu_pool_free(tinker__cpu_pool_t *pool);

/* Runs fn(arg, task, worker) for the tasks 0 .. n_tasks - 1; returns when all
 * are done. */
void tinker__cpu_pool_run(tinker__cpu_pool_t *pool, tinker__cpu_pool_fn fn,
                          void *arg, size_t n_tasks);

unsigned tinker__cpu_pool_threads(const tinker__cpu_pool_t *pool);

/* Scratch of one worker for the matrix kernels: TINKER__SCRATCH_FLOATS floats
 * on a 64-byte boundary, for use inside a task (or outside any run for
 * worker 0). */
float *tinker__cpu_pool_scratch(tinker__cpu_pool_t *pool, unsigned worker);

#endif
