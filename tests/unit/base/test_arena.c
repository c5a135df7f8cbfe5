/* What comes out of an arena may hold any type, whatever came before. */
#include "base/arena.h"

#include <criterion/criterion.h>
#include <stddef.h>
#include <stdint.h>
#include <tinker/error.h>

Test(arena, aligned_for_every_type) {
  tinker__mem_t mem;
  tinker__arena_t arena;
  tinker__mem_init(&mem, NULL, 0);
  tinker__arena_init(&arena, &mem);
  for (size_t size = 0; size < 3000; size = size * 3 / 2 + 1) {
    const void *p[] = {tinker__arena_alloc(&arena, size),
                       tinker__arena_array(&arena, 3, size),
                       tinker__arena_str(&arena, TINKER__STR("x"))};
    for (int i = 0; i < 3; i++) {
      cr_assert_not_null(p[i]);
      cr_assert_eq((uintptr_t)p[i] % _Alignof(max_align_t), 0u, "%zu", size);
    }
  }
  tinker__arena_free(&arena);
  cr_assert_eq(atomic_load(&mem.live_blocks), 0);
}

/* A limit of its own is told apart from a lack of memory. */
Test(arena, says_what_is_short) {
  tinker__mem_t mem;
  tinker__arena_t arena;
  tinker__mem_init(&mem, NULL, 0);
  tinker__arena_init(&arena, &mem);
  mem.fail_at = 1;
  cr_assert_null(tinker__arena_alloc(&arena, 10));
  cr_assert_eq(tinker__arena_error(&arena), TINKER_ENOMEM);
  cr_assert_str_eq(tinker__arena_trouble(&arena), "no memory for it");
  tinker__arena_allow(&arena, 100);
  cr_assert_null(tinker__arena_alloc(&arena, 1000));
  cr_assert_eq(tinker__arena_error(&arena), TINKER_EOVERFLOW);
  cr_assert_str_eq(tinker__arena_trouble(&arena),
                   "it takes more memory than a message of its size may");
  tinker__arena_free(&arena);
  cr_assert_eq(atomic_load(&mem.live_blocks), 0);
}

/* A block from elsewhere goes when the arena goes, or at once. */
Test(arena, adopts_a_block) {
  tinker__mem_t mem;
  tinker__arena_t arena;
  tinker__mem_init(&mem, NULL, 0);
  tinker__arena_init(&arena, &mem);
  cr_assert(tinker__arena_adopt(&arena, tinker__mem_alloc(&mem, 100)));
  cr_assert(tinker__arena_adopt(&arena, tinker__mem_alloc(&mem, 200)));
  cr_assert(tinker__arena_adopt(&arena, NULL));
  cr_assert_eq(mem.live_blocks, 3);
  tinker__arena_free(&arena);
  cr_assert_eq(mem.live_blocks, 0);
  void *block = tinker__mem_alloc(&mem, 100);
  mem.fail_at = mem.count + 1;
  cr_assert_not(tinker__arena_adopt(&arena, block));
  cr_assert_eq(mem.live_blocks, 0);
}

/* A short message takes little, a long one few blocks. */
Test(arena, begins_with_a_small_block) {
  tinker__mem_t mem;
  tinker__arena_t arena;
  tinker__mem_init(&mem, NULL, 0);
  tinker__arena_init(&arena, &mem);
  cr_assert_not_null(tinker__arena_alloc(&arena, 100));
  cr_assert_leq(mem.live_bytes, 1000);
  for (int i = 0; i < 1000; i++) {
    cr_assert_not_null(tinker__arena_alloc(&arena, 100));
  }
  cr_assert_leq(mem.live_blocks, 35);
  tinker__arena_free(&arena);
  cr_assert_eq(mem.live_blocks, 0);
}
