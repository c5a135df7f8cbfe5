/* stamp: what a run attaches to what it makes, and reads again. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "run/run.h"
#include "support/fail_alloc.h"

static tinker_run_t run;
static tinker__rec_epoch_t epoch;
static tinker__rec_stamps_t stamps;
static tinker__rec_found_t found;
static char why[300];

static void setup(void) {
  tinker__mem_init(&run.mem, NULL, 0);
  run.world = tinker__world_real();
  run.options.name = "numbers";
  run.plan.base_model = "base";
  run.plan.metadata_count = 0;
  snprintf(run.plan_digest, sizeof run.plan_digest, "%064d", 7);
  snprintf(run.plan8, sizeof run.plan8, "%.8s", run.plan_digest);
  cr_assert_eq(tinker__rec_lineage(&run), 0);
  epoch.number = 3;
  cr_assert_eq(tinker__rec_nonce(&run, epoch.nonce), 0);
}

static void teardown(void) {
  cr_assert_eq(atomic_load(&run.mem.live_blocks), 0);
}

TestSuite(stamp, .init = setup, .fini = teardown);

static bool read(void) {
  memset(&found, 0, sizeof found);
  return tinker__rec_stamped(&run, stamps.list, stamps.count, &found);
}

static void set(const char *name, const char *value) {
  for (size_t i = 0; i < stamps.count; i++) {
    if (strcmp(stamps.list[i].name, name) == 0) stamps.list[i].value = value;
  }
}

/* By name and base model, and by nothing that may change. */
Test(stamp, a_lineage) {
  char first[TINKER__REC_ID_LEN + 1];
  memcpy(first, run.lineage, sizeof first);
  cr_assert_eq(strspn(first, "0123456789abcdef"), 32u);
  run.plan.rank = 9;
  run.plan.steps = 9;
  run.dir[0] = 'x';
  tinker__rec_lineage(&run);
  cr_assert_str_eq(run.lineage, first);
  run.options.name = "numbers2";
  tinker__rec_lineage(&run);
  cr_assert_str_neq(run.lineage, first);
  run.options.name = "numbers";
  run.plan.base_model = "base2";
  tinker__rec_lineage(&run);
  cr_assert_str_neq(run.lineage, first);
}

Test(stamp, nonces_differ) {
  char other[TINKER__REC_ID_LEN + 1];
  cr_assert_eq(tinker__rec_nonce(&run, other), 0);
  cr_assert_str_neq(other, epoch.nonce);
  cr_assert_eq(strlen(other), 32u);
}

Test(stamp, is_read_as_it_was_written) {
  static const tinker_metadata_t own[] = {{"project", "demo"}};
  run.plan.metadata = own;
  run.plan.metadata_count = 1;
  tinker__rec_stamps(&run, &epoch, 40, 20, &stamps);
  cr_assert_eq(stamps.count, 8u);
  cr_assert_str_eq(stamps.list[7].value, "demo");
  cr_assert(read());
  cr_assert(found.epoch == 3 && found.step == 40 && found.from_step == 20);
  cr_assert_str_eq(found.nonce, epoch.nonce);
  cr_assert_str_eq(found.plan, run.plan_digest);
  tinker__rec_stamps(&run, &epoch, TINKER__REC_NO_STEP, 0, &stamps);
  cr_assert(read());
  cr_assert(found.step == -1 && found.from_step == 0);
  tinker__rec_stamps(&run, &epoch, TINKER__REC_NO_STEP, TINKER__REC_NO_STEP,
                     &stamps);
  cr_assert(read());
  cr_assert_eq(found.from_step, -1);
}

/* What comes from the service is not believed. */
Test(stamp, nonsense_is_not_read) {
  static const char *const bad[] = {
      "", "0", "-1", "x", "3x", "1e99", " 3", "524288", "1000000000000000"};
  tinker__rec_stamps(&run, &epoch, 40, 20, &stamps);
  for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
    set("tinker_epoch", bad[i]);
    cr_assert_not(read(), "%s", bad[i]);
  }
  set("tinker_epoch", "524287");
  cr_assert(read());
  set("tinker_epoch", "3");
  set("tinker_step", "-5");
  cr_assert(read());
  cr_assert_eq(found.step, -1);
  set("tinker_lineage", "0123");
  cr_assert_not(read());
  stamps.count = 0;
  cr_assert_not(read());
}

static bool named(const char *fmt, const char *lineage) {
  char name[200];
  snprintf(name, sizeof name, fmt, lineage, run.plan8);
  memset(&found, 0, sizeof found);
  return tinker__rec_named(&run, name, &found);
}

Test(stamp, a_name_is_read) {
  char own[9];
  snprintf(own, sizeof own, "%.8s", run.lineage);
  cr_assert(named("L%s-e2-s40-%s", own));
  cr_assert(found.epoch == 2 && found.step == 40 && found.from_step == -1);
  cr_assert(found.same_plan8);
  cr_assert(named("L%s-e2-s40-%s-b17", own));
  cr_assert(named("L%s-e2-s40-%s-c", own));
  cr_assert(named("L%s-e2-s40-0000000a", own));
  cr_assert_not(found.same_plan8);
  cr_assert_not(named("L%s-e2-s40-%sx", own));
  cr_assert_not(named("L%s-e0-s40-%s", own));
  cr_assert_not(named("L%s-e524288-s40-%s", own));
  cr_assert_not(named("L%s-e2-s-4-%s", own));
  cr_assert_not(named("L%s-e2-s40", own));
  cr_assert_not(named("Lffffffff-e2-s40-%s%s", ""));
  cr_assert_not(named("%s step 3 %s", own));
}

/* --- the plan's own metadata --- */

static const char *check(const tinker_metadata_t *list, size_t count) {
  why[0] = 0;
  int rc = tinker__rec_metadata_check(list, count, why, sizeof why);
  cr_assert_eq(rc, *why ? TINKER_EINVAL : 0);
  return why;
}

Test(stamp, metadata_of_a_plan) {
  static char large[8193];
  static tinker_metadata_t many[65];
  tinker_metadata_t list[] = {{"a", ""}, {"b", "1"}, {"c", "2"}};
  cr_assert_str_eq(check(NULL, 0), "");
  cr_assert_str_eq(check(list, 3), "");
  cr_assert_str_eq(check(many, 65),
                   "plan.metadata: metadata_count is 65: allowed are up to 64, "
                   "and an array of them");
  cr_assert(strstr(check(NULL, 1), "metadata_count is 1"));
  list[1].value = NULL;
  cr_assert_str_eq(check(list, 3), "plan.metadata[1].value is NULL");
  list[1].value = "\xff";
  cr_assert_str_eq(check(list, 3), "plan.metadata[1].value is not UTF-8");
  list[1] = (tinker_metadata_t){"tinker_x", "1"};
  cr_assert_str_eq(check(list, 3),
                   "plan.metadata[1].name is \"tinker_x\": it must not be "
                   "empty, and those that begin with \"tinker_\" are the "
                   "run's");
  list[1] = (tinker_metadata_t){"", "1"};
  cr_assert(strstr(check(list, 3), "must not be empty"));
  list[1] = (tinker_metadata_t){"b", "1"};
  list[2].name = "a";
  cr_assert_str_eq(check(list, 3),
                   "plan.metadata[2].name is that of plan.metadata[0], too");
  memset(large, 'x', sizeof large - 1);
  list[0].value = large + 1;
  cr_assert_str_eq(check(list, 1), "");
  list[0].value = large;
  cr_assert_str_eq(check(list, 1),
                   "plan.metadata has 8193 bytes of names and values: allowed "
                   "are up to 8192");
}

static int make_lineage(tinker__mem_t *mem, void *user) {
  tinker_run_t *r = user;
  r->mem = *mem;
  int rc = tinker__rec_lineage(r);
  *mem = r->mem;
  return rc;
}

Test(stamp, without_memory) {
  static tinker_run_t r;
  r.options.name = "n";
  r.plan.base_model = "b";
  cr_assert_gt(tinker__fail_sweep(make_lineage, &r, TINKER_ENOMEM), 0);
}
