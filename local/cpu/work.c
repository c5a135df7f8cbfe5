/* work: keeps blocks of working memory for the next user, and cuts row work
 * into pool tasks. Engine thread; invariants in base.h. */
#include <tinker/error.h>

#include "cpu/base.h"
#include "cpu/pages.h"

#define ALIGN_FLOATS 16 /* 64 bytes */
/* Below INLINE_FLOATS waking the workers costs more than the work. A task
 * touches about TASK_FLOATS. */
#define INLINE_FLOATS 8192
#define TASK_FLOATS 8192

float *tinker__cpu_carve(tinker__cpu_arena_t *a, size_t n) {
  float *p = a->base ? a->base + a->used : NULL;
  a->used += (n + ALIGN_FLOATS - 1) / ALIGN_FLOATS * ALIGN_FLOATS;
  return p;
}

static tinker__cpu_arena_t *smallest_fit(tinker__engine_t *e, size_t floats) {
  tinker__cpu_arena_t *best = NULL;
  for (size_t i = 0; i < TINKER__SPARES; i++) {
    tinker__cpu_arena_t *s = &e->spare[i];
    if (s->block && s->cap >= floats && (!best || s->cap < best->cap)) {
      best = s;
    }
  }
  return best;
}

/* Takes some more than was asked for, because a sequence that grows by a token
 * each round would otherwise need a new block every few rounds. */
static size_t block_floats(size_t floats) {
  return floats + floats / 8 + ALIGN_FLOATS;
}

uint64_t tinker__cpu_arena_bytes(size_t floats) {
  return (uint64_t)block_floats(floats) * sizeof(float);
}

int tinker__cpu_arena_open(tinker__engine_t *e, tinker__cpu_arena_t *a,
                           size_t floats) {
  tinker__cpu_arena_t *s = smallest_fit(e, floats);
  if (s) {
    *a = *s;
    a->used = 0;
    *s = (tinker__cpu_arena_t){0};
    return 0;
  }
  /* No spare block is large enough. They are freed, since the new block may
   * need their memory. */
  for (size_t i = 0; i < TINKER__SPARES; i++) {
    tinker__mem_free(e->mem, e->spare[i].block);
    e->spare[i] = (tinker__cpu_arena_t){0};
  }
  if (floats > SIZE_MAX / sizeof(float) / 2) return TINKER_ENOMEM;
  floats = block_floats(floats);
  void *block = tinker__mem_alloc(e->mem, floats * sizeof(float));
  if (!block) return TINKER_ENOMEM;
  tinker__cpu_pages_large(block, floats * sizeof(float));
  uintptr_t at = ((uintptr_t)block + 63) & ~(uintptr_t)63;
  *a = (tinker__cpu_arena_t){
      .base = (float *)at,
      .cap = floats - ALIGN_FLOATS,
      .block = block,
  };
  return 0;
}

void tinker__cpu_arena_close(tinker__engine_t *e, tinker__cpu_arena_t *a) {
  if (!a->block) return;
  tinker__cpu_arena_t *to = &e->spare[0];
  for (size_t i = 1; i < TINKER__SPARES; i++) {
    if (e->spare[i].cap < to->cap) to = &e->spare[i];
  }
  if (to->cap < a->cap) {
    tinker__mem_free(e->mem, to->block);
    *to = *a;
  } else {
    tinker__mem_free(e->mem, a->block);
  }
  *a = (tinker__cpu_arena_t){0};
}

typedef struct {
  tinker__cpu_rows_fn fn;
  void *arg;
  size_t rows, step;
} rows_job_t;

static void rows_task(void *arg, size_t task, unsigned worker) {
  const rows_job_t *j = arg;
  size_t row0 = task * j->step;
  size_t n = j->rows - row0 < j->step ? j->rows - row0 : j->step;
  j->fn(j->arg, row0, n, worker);
}

void tinker__cpu_rows_run(tinker__engine_t *e, size_t rows, size_t width,
                          tinker__cpu_rows_fn fn, void *arg) {
  if (rows == 0) return;
  if (width == 0) width = 1;
  if (rows == 1 || rows * width <= INLINE_FLOATS) {
    fn(arg, 0, rows, 0);
    return;
  }
  size_t step = TASK_FLOATS / width;
  if (step == 0) step = 1;
  rows_job_t job = {.fn = fn, .arg = arg, .rows = rows, .step = step};
  tinker__cpu_pool_run(e->pool, rows_task, &job, (rows + step - 1) / step);
}
