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
  tinker__shared_t *s = tinker__shared_new(&counting, 100);
  memset(s->data, 1, 100);
  cr_assert_eq(tinker__shared_retain(s), s);
  tinker__shared_release(s);
  cr_assert_eq(live, 1);
  tinker__shared_release(s);
  tinker__shared_release(NULL);
  cr_assert_eq(live, 0);
}

/* A second user keeps what it has seen. */
Test(shared, is_copied_when_others_use_it) {
  tinker__shared_t *s = tinker__shared_new(&counting, 4);
  memcpy(s->data, "abcd", 4);
  s = tinker__shared_resize(s, 8);
  cr_assert_eq(s->size, 8);
  cr_assert_eq(live, 1);
  tinker__shared_t *user = tinker__shared_retain(s);
  tinker__shared_t *fresh = tinker__shared_resize(s, 16);
  cr_assert_neq(fresh, user);
  memcpy(fresh->data, "wxyz", 4);
  cr_assert_eq(memcmp(user->data, "abcd", 4), 0);
  cr_assert_eq(user->size, 8);
  tinker__shared_release(user);
  tinker__shared_release(fresh);
  cr_assert_eq(live, 0);
}

Test(shared, stays_when_there_is_no_memory) {
  tinker__shared_t *s = tinker__shared_new(&counting, 4);
  cr_assert_null(tinker__shared_new(&counting, SIZE_MAX));
  cr_assert_null(tinker__shared_resize(s, SIZE_MAX));
  full = true;
  cr_assert_null(tinker__shared_new(&counting, 4));
  cr_assert_null(tinker__shared_resize(s, 8));
  tinker__shared_retain(s);
  cr_assert_null(tinker__shared_resize(s, 8));
  tinker__shared_release(s);
  cr_assert_eq(s->size, 4);
  tinker__shared_release(s);
  cr_assert_eq(live, 0);
}
