/* What is counted and where memory ends. */
#include <criterion/criterion.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

Test(mem, counts_and_ceiling) {
  tinker__mem_t mem;
  tinker__mem_init(&mem, NULL, 0);
  void *a = tinker__mem_zalloc(&mem, 100);
  void *z = tinker__mem_alloc(&mem, 0);
  cr_assert(a && z);
  cr_assert_eq(atomic_load(&mem.live_bytes), 100);
  a = tinker__mem_realloc(&mem, a, 40);
  cr_assert_eq(atomic_load(&mem.live_bytes), 40);
  mem.ceiling = 64;
  cr_assert_null(tinker__mem_realloc(&mem, a, 65));
  cr_assert_null(tinker__mem_alloc(&mem, 25));
  void *b = tinker__mem_alloc(&mem, 24);
  cr_assert_not_null(b);
  cr_assert_null(tinker__mem_array(&mem, SIZE_MAX / 2, 3));
  cr_assert_null(tinker__mem_alloc(&mem, SIZE_MAX - 4));
  tinker__mem_free(&mem, NULL);
  tinker__mem_free(&mem, a);
  tinker__mem_free(&mem, b);
  tinker__mem_free(&mem, z);
  cr_assert_eq(atomic_load(&mem.live_bytes), 0);
  cr_assert_eq(atomic_load(&mem.live_blocks), 0);
}

Test(mem, part_has_its_own_ceiling) {
  tinker__mem_t all, part;
  tinker__mem_init(&all, NULL, 0);
  tinker__mem_part(&part, &all, 100);
  char *p = tinker__mem_alloc(&part, 60);
  cr_assert_null(tinker__mem_alloc(&part, 41));
  p = tinker__mem_realloc(&part, p, 100);
  cr_assert(p && all.live_blocks == 1 && all.live_bytes >= 100);
  cr_assert_null(tinker__mem_alloc(&part, 1));
  tinker__mem_free(&part, p);
  all.fail_at = atomic_load(&all.count) + 1;
  cr_assert_null(tinker__mem_zalloc(&part, 1));
  cr_assert_eq(part.live_bytes, 0);
  cr_assert_eq(all.live_blocks, 0);
}

/* --- kept blocks --- */

#define KIB ((size_t)1 << 10)
#define MIB ((size_t)1 << 20)

/* An allocator that counts its blocks. */
static atomic_int taken, given;

static void *count_malloc(size_t size, void *user) {
  (void)user;
  atomic_fetch_add(&taken, 1);
  return malloc(size);
}

static void *count_calloc(size_t n, size_t size, void *user) {
  (void)user;
  atomic_fetch_add(&taken, 1);
  return calloc(n, size);
}

static void *count_realloc(void *p, size_t size, void *user) {
  (void)user;
  return realloc(p, size);
}

static void count_free(void *p, void *user) {
  (void)user;
  atomic_fetch_add(&given, 1);
  free(p);
}

static const tinker_allocator_t counting = {count_malloc, count_calloc,
                                            count_realloc, count_free, NULL};

static tinker__mem_t kept;
static tinker__keep_t keep;

static void keep_setup(void) {
  tinker__mem_init(&kept, &counting, 0);
  tinker__mem_keep(&kept, &keep, 8 * MIB);
}

static void keep_teardown(void) {
  cr_assert_eq(kept.live_bytes, 0);
  cr_assert_eq(kept.live_blocks, 0);
  tinker__mem_keep_none(&kept);
  cr_assert_eq(keep.bytes, 0);
  cr_assert_eq(taken, given);
}

TestSuite(mem_keep, .init = keep_setup, .fini = keep_teardown);

Test(mem_keep, a_big_block_serves_again) {
  void *a = tinker__mem_alloc(&kept, MIB);
  memset(a, 1, MIB);
  tinker__mem_free(&kept, a);
  cr_assert_eq(kept.live_bytes, 0);
  cr_assert_eq(keep.bytes, MIB);
  char *b = tinker__mem_zalloc(&kept, MIB - 100);
  cr_assert_eq(b, a);
  cr_assert_eq(taken, 1);
  cr_assert_eq(kept.live_bytes, MIB); /* all that it holds */
  cr_assert_eq(keep.bytes, 0);
  for (size_t i = 0; i < MIB - 100; i++) cr_assert_eq(b[i], 0);
  tinker__mem_free(&kept, b);
}

/* A block that would stay more than half empty is not taken. */
Test(mem_keep, the_smallest_that_fits) {
  void *p[3];
  for (size_t i = 0; i < 3; i++) p[i] = tinker__mem_alloc(&kept, (3 - i) * MIB);
  for (size_t i = 0; i < 3; i++) tinker__mem_free(&kept, p[i]);
  void *two = tinker__mem_alloc(&kept, MIB + 1);
  cr_assert_eq(two, p[1]);
  cr_assert_eq(taken, 3);
  void *fresh = tinker__mem_alloc(&kept, MIB + 1);
  cr_assert_eq(taken, 4);
  tinker__mem_free(&kept, two);
  tinker__mem_free(&kept, fresh);
}

Test(mem_keep, small_and_huge_blocks_go) {
  tinker__mem_free(&kept, tinker__mem_alloc(&kept, TINKER__KEPT_MIN - 1));
  tinker__mem_free(&kept, tinker__mem_alloc(&kept, 8 * MIB + 1));
  cr_assert_eq(keep.bytes, 0);
  cr_assert_eq(given, 2);
}

/* However much is freed, no more is kept than was agreed on, and the newest
 * stay. */
Test(mem_keep, no_more_bytes_and_blocks_than_agreed) {
  enum { N = TINKER__KEPT_BLOCKS + 8 };
  void *p[N];
  for (size_t i = 0; i < 10; i++) p[i] = tinker__mem_alloc(&kept, MIB);
  for (size_t i = 0; i < 10; i++) tinker__mem_free(&kept, p[i]);
  cr_assert_eq(keep.bytes, 8 * MIB);
  void *newest = tinker__mem_alloc(&kept, 8 * MIB);
  tinker__mem_free(&kept, newest);
  cr_assert_eq(keep.bytes, 8 * MIB);
  cr_assert_eq(given, 10);
  for (size_t i = 0; i < N; i++) p[i] = tinker__mem_alloc(&kept, 64 * KIB);
  for (size_t i = 0; i < N; i++) tinker__mem_free(&kept, p[i]);
  cr_assert_leq(keep.bytes, TINKER__KEPT_BLOCKS * 64 * KIB);
}

Test(mem_keep, growth_into_a_kept_block) {
  void *big = tinker__mem_alloc(&kept, 2 * MIB);
  char *small = tinker__mem_alloc(&kept, 100 * KIB);
  memset(small, 7, 100 * KIB);
  tinker__mem_free(&kept, big);
  small = tinker__mem_realloc(&kept, small, MIB);
  cr_assert_eq(small, big);
  for (size_t i = 0; i < 100 * KIB; i++) cr_assert_eq(small[i], 7);
  cr_assert_eq(kept.live_bytes, 2 * MIB);
  cr_assert_eq(keep.bytes, 100 * KIB);
  cr_assert_eq(tinker__mem_realloc(&kept, small, 2 * MIB), small);
  small = tinker__mem_realloc(&kept, small, 10);
  cr_assert_eq(kept.live_bytes, 10);
  tinker__mem_free(&kept, small);
}

/* The memory limit is for both, and no allocation fails for what lies idle. */
Test(mem_keep, kept_blocks_go_before_the_ceiling_is_met) {
  kept.ceiling = 2 * MIB;
  void *a = tinker__mem_alloc(&kept, MIB), *b = tinker__mem_alloc(&kept, MIB);
  tinker__mem_free(&kept, a);
  cr_assert_eq(keep.bytes, MIB);
  a = tinker__mem_alloc(&kept, 1);
  cr_assert_not_null(a);
  cr_assert_eq(keep.bytes, 0);
  tinker__mem_free(&kept, a);
  cr_assert_null(tinker__mem_alloc(&kept, MIB + 1));
  tinker__mem_free(&kept, b);
}

Test(mem_keep, what_lies_unused_goes) {
  tinker__mem_free(&kept, tinker__mem_alloc(&kept, MIB));
  tinker__mem_tidy(&kept);
  cr_assert_eq(keep.bytes, MIB);
  tinker__mem_free(&kept, tinker__mem_alloc(&kept, MIB)); /* used since */
  tinker__mem_tidy(&kept);
  cr_assert_eq(keep.bytes, MIB);
  tinker__mem_tidy(&kept);
  cr_assert_eq(keep.bytes, 0);
  cr_assert_eq(taken, given);
}

/* A kept block does not hide an allocation from the sweeps. */
Test(mem_keep, the_nth_allocation_fails_all_the_same) {
  tinker__mem_free(&kept, tinker__mem_alloc(&kept, MIB));
  kept.fail_at = kept.count + 1;
  cr_assert_null(tinker__mem_alloc(&kept, MIB));
  cr_assert_eq(keep.bytes, MIB);
  void *next = tinker__mem_alloc(&kept, MIB);
  cr_assert_not_null(next);
  cr_assert_eq(taken, 1);
  tinker__mem_free(&kept, next);
}

/* Each block has one owner at a time, whoever kept it. Returns NULL, or the
 * number when another thread wrote into the block. */
static void *use_blocks(void *number) {
  unsigned char mark = (unsigned char)(uintptr_t)number;
  unsigned seed = mark;
  for (int i = 0; i < 2000; i++) {
    seed = seed * 1664525u + 1013904223u;
    size_t size = 64 * KIB + (seed >> 8) % (256 * KIB);
    unsigned char *p = tinker__mem_alloc(&kept, size);
    if (!p) return number;
    p[0] = p[size / 2] = p[size - 1] = mark;
    if (i % 64 == 0) tinker__mem_tidy(&kept);
    if (i % 3 == 0) p = tinker__mem_realloc(&kept, p, size + 100 * KIB);
    if (!p || p[0] != mark || p[size / 2] != mark || p[size - 1] != mark) {
      return number;
    }
    tinker__mem_free(&kept, p);
  }
  return NULL;
}

Test(mem_keep, threads) {
  pthread_t t[4];
  void *trouble;
  kept.ceiling = 8 * MIB;
  for (uintptr_t i = 0; i < 4; i++) {
    cr_assert_eq(pthread_create(&t[i], NULL, use_blocks, (void *)(i + 1)), 0);
  }
  for (size_t i = 0; i < 4; i++) {
    pthread_join(t[i], &trouble);
    cr_assert_null(trouble);
  }
}
