/* Who may write to a block, and when it goes. */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "base/shared.h"

static int live;
static bool full;

static void *take(size_t size, void *user) {
  (void)user;
  void *p = full ? NULL : malloc(size);
  live += p != NULL;
  return p;
}

static void *take_zeroed(size_t n, size_t size, void *user) {
  (void)user;
  live++;
  return calloc(n, size);
}

static void *move(void *p, size_t size, void *user) {
  (void)user;
  return full ? NULL : realloc(p, size);
}

static void give(void *p, void *user) {
  (void)user;
  live -= p != NULL;
  free(p);
}

static const tinker_allocator_t counting = {take, take_zeroed, move, give,
                                            NULL};

Test(shared, goes_with_its_last_user) {
  char *s = tinker__shared_alloc(&counting, 100);
  memset(s, 1, 100);
  cr_assert_eq(tinker__shared_retain(s), s);
  tinker__shared_release(s);
  cr_assert_eq(live, 1);
  tinker__shared_release(s);
  tinker__shared_release(NULL);
  cr_assert_eq(live, 0);
}

/* A second user keeps what it has seen. */
Test(shared, is_copied_when_others_use_it) {
  char *s = tinker__shared_dup(&counting, "abcd", 4);
  s = tinker__shared_resize(&counting, s, 8);
  cr_assert_eq(live, 1);
  char *user = tinker__shared_retain(s);
  char *fresh = tinker__shared_resize(&counting, s, 16);
  cr_assert_neq(fresh, user);
  cr_assert_eq(memcmp(fresh, "abcd", 4), 0);
  memcpy(fresh, "wxyz", 4);
  cr_assert_eq(memcmp(user, "abcd", 4), 0);
  tinker__shared_release(user);
  tinker__shared_release(fresh);
  cr_assert_eq(live, 0);
}

Test(shared, stays_when_there_is_no_memory) {
  char *s = tinker__shared_resize(&counting, NULL, 4);
  cr_assert_null(tinker__shared_alloc(&counting, SIZE_MAX));
  cr_assert_null(tinker__shared_resize(&counting, s, SIZE_MAX));
  full = true;
  cr_assert_null(tinker__shared_alloc(&counting, 4));
  cr_assert_null(tinker__shared_resize(&counting, s, 8));
  tinker__shared_retain(s);
  cr_assert_null(tinker__shared_resize(&counting, s, 8));
  tinker__shared_release(s);
  tinker__shared_release(s);
  cr_assert_eq(live, 0);
}

Test(shared, aligned_for_every_type) {
  void *s = tinker__shared_alloc(NULL, 1);
  cr_assert_eq((uintptr_t)s % _Alignof(max_align_t), 0);
  tinker__shared_release(s);
}
