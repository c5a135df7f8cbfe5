/* used: epochs and orphans that a journal knows of. */
#include <criterion/criterion.h>
#include <tinker/error.h>

#include "journal/used.h"
#include "support/fail_alloc.h"

static tinker__mem_t mem;
static tinker__link_t list;

static void setup(void) {
  tinker__mem_init(&mem, NULL, 0);
  tinker__list_init(&list);
}

static void teardown(void) {
  cr_assert_eq(atomic_load(&mem.live_blocks), 0);
}

TestSuite(used, .init = setup, .fini = teardown);

static int add(int64_t epoch, const char *nonce, const char *model) {
  return tinker__rec_used_add(&list, &mem, epoch, tinker__str(nonce),
                              tinker__str(model));
}

static void has(int64_t epoch, const char *nonce, const char *model) {
  const tinker__rec_used_t *u = tinker__rec_used_find(&list, epoch);
  cr_assert_not_null(u);
  cr_assert_str_eq(u->nonce, nonce);
  cr_assert_str_eq(u->model, model);
}

Test(used, an_epoch_is_begun_and_becomes_active) {
  cr_assert_eq(add(1, "n1", ""), 0);
  cr_assert_eq(add(3, "n3", ""), 0);
  has(1, "n1", "");
  cr_assert_eq(add(3, "", "m3"), 0);
  cr_assert_eq(add(4, "", "m4"), 0); /* of a journal without nonces */
  has(1, "n1", "");
  has(3, "n3", "m3");
  has(4, "", "m4");
  cr_assert_null(tinker__rec_used_find(&list, 2));
  tinker__rec_used_free(&list, &mem);
}

Test(used, an_orphan_stays_cleared) {
  tinker__str_t m = tinker__str("s:train:0");
  cr_assert_null(tinker__rec_orphan_find(&list, m));
  cr_assert_eq(tinker__rec_orphan_add(&list, &mem, m, false), 0);
  cr_assert_not(tinker__rec_orphan_find(&list, m)->cleared);
  cr_assert_eq(tinker__rec_orphan_add(&list, &mem, m, true), 0);
  cr_assert_eq(tinker__rec_orphan_add(&list, &mem, m, false), 0);
  cr_assert(tinker__rec_orphan_find(&list, m)->cleared);
  cr_assert_null(tinker__rec_orphan_find(&list, tinker__str("s:train:")));
  tinker__rec_orphans_free(&list, &mem);
}

Test(used, without_memory_nothing_changes) {
  for (uint64_t n = 1; n < 20; n++) {
    mem.fail_at = atomic_load(&mem.count) + n;
    int rc = add(1, "nonce", "model");
    cr_assert(rc == 0 || rc == TINKER_ENOMEM);
    cr_assert_eq(tinker__rec_used_find(&list, 1) != NULL, rc == 0);
    tinker__rec_used_free(&list, &mem);
    rc = tinker__rec_orphan_add(&list, &mem, tinker__str("m"), false);
    cr_assert(rc == 0 || rc == TINKER_ENOMEM);
    tinker__rec_orphans_free(&list, &mem);
    mem.fail_at = 0;
  }
}
