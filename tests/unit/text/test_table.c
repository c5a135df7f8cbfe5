/* The tables of a vocabulary: strings by id with holes, ids by string, pairs
 * to what they merge into. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <tinker/error.h>

#include "support/fail_alloc.h"
#include "text/table.h"

static tinker__mem_t mem;

static void setup(void) {
  tinker__mem_init(&mem, NULL, 0);
}

static void teardown(void) {
  cr_assert_eq(atomic_load(&mem.live_blocks), 0);
}

TestSuite(table, .init = setup, .fini = teardown);

Test(table, ids_and_strings) {
  tinker__strings_t s;
  tinker__str_t text = TINKER__STR("as it was");
  tinker__strings_init(&s, &mem, 7);
  cr_assert_eq(tinker__strings_find(&s, TINKER__STR("a")), -1);
  cr_assert_eq(tinker__strings_put(&s, 5, TINKER__STR("a"), true), 0);
  cr_assert_eq(tinker__strings_put(&s, 2, TINKER__STR(""), true), 0);
  cr_assert_eq(s.size, 6);
  cr_assert_not(tinker__strings_get(&s, 3, &text));
  cr_assert_not(tinker__strings_get(&s, 6, &text));
  cr_assert(tinker__str_eqs(text, "as it was"));
  cr_assert(tinker__strings_get(&s, 2, &text) && text.len == 0);
  cr_assert_eq(tinker__strings_put(&s, 5, TINKER__STR("b"), true),
               TINKER_EEXIST);
  cr_assert_eq(tinker__strings_put(&s, 6, TINKER__STR("a"), true),
               TINKER_EEXIST);
  cr_assert_eq(tinker__strings_put(&s, 7, TINKER__STR("a"), false), 0);
  cr_assert_eq(tinker__strings_find(&s, TINKER__STR("a")), 5);
  cr_assert(tinker__strings_get(&s, 7, &text) && tinker__str_eqs(text, "a"));
  cr_assert_eq(tinker__strings_put(&s, 8, TINKER__STR("hidden"), false), 0);
  cr_assert_eq(tinker__strings_find(&s, TINKER__STR("hidden")), -1);
  cr_assert_eq(
      tinker__strings_put(&s, TINKER__MAX_VOCABULARY, TINKER__STR("c"), true),
      TINKER_EOVERFLOW);
  cr_assert_eq(tinker__strings_put(&s, TINKER__MAX_VOCABULARY - 1,
                                   TINKER__STR("c"), true),
               0);
  tinker__strings_free(&s);
}

Test(table, grows) {
  tinker__strings_t s;
  char text[16];
  tinker__strings_init(&s, &mem, 0);
  for (uint32_t i = 0; i < 5000; i++) {
    snprintf(text, sizeof text, "%u", i);
    cr_assert_eq(tinker__strings_put(&s, i, tinker__str(text), true), 0);
    cr_assert_leq(s.used, (s.mask + 1) / 2, "at most half full");
  }
  for (uint32_t i = 0; i < 5000; i++) {
    snprintf(text, sizeof text, "%u", i);
    cr_assert_eq(tinker__strings_find(&s, tinker__str(text)), (int32_t)i);
  }
  tinker__strings_free(&s);
}

Test(table, merges) {
  tinker__merges_t m;
  cr_assert_eq(tinker__merges_init(&m, &mem, 3, 1000), 0);
  for (uint32_t i = 0; i < 1000; i++) {
    tinker__merges_put(&m, (tinker__merge_t){i, i + 1, i, 5000 + i});
  }
  tinker__merges_put(&m, (tinker__merge_t){4, 5, 1, 2});
  for (uint32_t i = 0; i < 1000; i++) {
    const tinker__merge_t *found = tinker__merges_find(&m, i, i + 1);
    cr_assert_not_null(found);
    cr_assert_eq(found->id, i == 4 ? 2 : 5000 + i, "the later one");
    cr_assert_eq(found->rank, i == 4 ? 1 : i);
    cr_assert_null(tinker__merges_find(&m, i + 1, i));
  }
  tinker__merges_free(&m);
}

static int fill(tinker__mem_t *m, void *user) {
  tinker__strings_t s;
  char text[16];
  int rc = 0;
  (void)user;
  tinker__strings_init(&s, m, 0);
  for (uint32_t i = 0; i < 2000 && rc == 0; i++) {
    snprintf(text, sizeof text, "%u", i);
    rc = tinker__strings_put(&s, i, tinker__str(text), true);
  }
  tinker__strings_free(&s);
  return rc;
}

Test(table, survives_lack_of_memory) {
  cr_assert_geq(tinker__fail_sweep(fill, NULL, TINKER_ENOMEM), 5);
}
