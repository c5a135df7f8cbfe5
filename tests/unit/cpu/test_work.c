/* Working memory and rows: blocks that fit are used again, pieces begin on
 * their boundary, and every row is done once. */
#include <criterion/criterion.h>
#include <stdatomic.h>
#include <string.h>
#include <tinker/error.h>

#include "cpu/base.h"
#include "support.h"

static bool aligned(const void *p) {
  return ((uintptr_t)p & 63) == 0;
}

/* Counted first, cut then: the same lengths, on boundaries of 64 bytes,
 * wherever the block lies. */
Test(work, cuts_on_boundaries) {
  static const size_t lengths[] = {1, 16, 17, 0, 100, 3};
  enum { CUTS = sizeof lengths / sizeof *lengths };
  tiny_t b;
  tiny_open(&b, &tiny_shape);
  for (size_t more = 0; more < 40; more++) {
    tinker__cpu_arena_t count = {0}, a;
    float *at[CUTS];
    for (size_t i = 0; i < CUTS; i++) {
      cr_assert_null(tinker__cpu_carve(&count, lengths[i] + more));
    }
    cr_assert_eq(tinker__cpu_arena_open(b.r.engine, &a, count.used), 0);
    for (size_t i = 0; i < CUTS; i++) {
      at[i] = tinker__cpu_carve(&a, lengths[i] + more);
      cr_assert(aligned(at[i]));
      if (i) cr_assert_geq(at[i], at[i - 1] + lengths[i - 1] + more);
    }
    cr_assert_eq(a.used, count.used);
    cr_assert_leq(a.used, a.cap);
    memset(a.base, 0, a.cap * sizeof *a.base);
    tinker__cpu_arena_close(b.r.engine, &a);
  }
  tiny_close(&b);
}

/* Two blocks stay for the next users, each takes the smaller one that is large
 * enough, and nothing is taken from the system while one is. */
Test(work, blocks_are_used_again) {
  tiny_t b;
  tinker__cpu_arena_t small, large, again;
  tiny_open(&b, &tiny_shape);
  tinker__engine_t *e = b.r.engine;
  cr_assert_eq(tinker__cpu_arena_open(e, &small, 1000), 0);
  cr_assert_eq(tinker__cpu_arena_open(e, &large, 5000), 0);
  void *blocks[2] = {small.block, large.block};
  tinker__cpu_arena_close(e, &small);
  tinker__cpu_arena_close(e, &large);
  uint64_t count = atomic_load(&b.r.mem.count);
  static const size_t floats[] = {900, 3000, 1000, 5000, 0};
  for (size_t i = 0; i < sizeof floats / sizeof *floats; i++) {
    cr_assert_eq(tinker__cpu_arena_open(e, &again, floats[i]), 0);
    cr_assert_eq(again.block, blocks[floats[i] > 1000], "%zu", floats[i]);
    cr_assert_eq(again.used, 0u);
    tinker__cpu_arena_close(e, &again);
  }
  cr_assert_eq(atomic_load(&b.r.mem.count), count);
  cr_assert_eq(tinker__cpu_arena_open(e, &again, 50000), 0);
  cr_assert_geq(again.cap, 50000u);
  cr_assert_gt(atomic_load(&b.r.mem.count), count);
  tinker__cpu_arena_close(e, &again);
  cr_assert_eq(tinker__cpu_arena_open(e, &again, SIZE_MAX / 4), TINKER_ENOMEM);
  tiny_close(&b);
}

enum { ROWS = 3000 };

typedef struct {
  atomic_uint hits[ROWS + 1];
  unsigned threads;
} rows_t;

static void hit(void *arg, size_t row0, size_t n, unsigned worker) {
  rows_t *r = arg;
  if (worker >= r->threads || row0 + n > ROWS) {
    atomic_fetch_add(&r->hits[ROWS], 1);
    return;
  }
  for (size_t i = 0; i < n; i++) atomic_fetch_add(&r->hits[row0 + i], 1);
}

Test(work, every_row_once) {
  static const size_t widths[] = {0, 1, 7, 64, 9000};
  static rows_t r;
  tiny_t b;
  tiny_open(&b, &tiny_shape);
  r.threads = tinker__cpu_pool_threads(b.r.engine->pool);
  for (size_t i = 0; i < 5 * sizeof widths / sizeof *widths; i++) {
    size_t rows = i % 5 * 749, width = widths[i / 5];
    for (size_t k = 0; k <= ROWS; k++) atomic_store(&r.hits[k], 0);
    tinker__cpu_rows_run(b.r.engine, rows, width, hit, &r);
    for (size_t k = 0; k <= ROWS; k++) {
      cr_assert_eq(r.hits[k], k < rows, "%zu rows of %zu: %zu", rows, width, k);
    }
  }
  tiny_close(&b);
}
