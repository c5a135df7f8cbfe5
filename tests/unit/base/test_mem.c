/* What is counted and where memory ends. */
#include <criterion/criterion.h>

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
