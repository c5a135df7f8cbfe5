/* plan: what a run is, and that it stays what it is. */
#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

#include "run/run.h"
#include "support/fail_alloc.h"

static tinker_run_t run;
static tinker_run_plan_t plan;
static tinker_adam_params_t adam;
static tinker__buf_t before;
static char why[300];

static void setup(void) {
  const tinker_run_plan_t p = TINKER_RUN_PLAN_INIT;
  const tinker_adam_params_t a = TINKER_ADAM_PARAMS_INIT;
  tinker__mem_init(&run.mem, NULL, 0);
  tinker__arena_init(&run.strings, &run.mem);
  tinker__buf_init(&before, &run.mem, TINKER__REC_MAX_FIELDS);
  plan = p;
  adam = a;
  plan.base_model = "base";
  plan.data_id = "data";
  plan.adam = &adam;
}

static void teardown(void) {
  tinker__arena_free(&run.strings);
  tinker__buf_free(&before);
  cr_assert_eq(atomic_load(&run.mem.live_blocks), 0);
}

TestSuite(plan, .init = setup, .fini = teardown);

static int take(void) {
  why[0] = 0;
  return tinker__rec_plan_take(&run, &plan, why, sizeof why);
}

/* The plan that the journal has is the present one. */
static void begin(void) {
  cr_assert_eq(take(), 0, "%s", why);
  cr_assert_eq(tinker__rec_plan_write(&run, &before), 0);
}

static int check(bool *changed) {
  cr_assert_eq(take(), 0, "%s", why);
  return tinker__rec_plan_check(&run, tinker__buf_str(&before), changed, why,
                                sizeof why);
}

Test(plan, the_same_plan) {
  bool changed = true;
  begin();
  cr_assert_eq(check(&changed), 0, "%s", why);
  cr_assert_not(changed);
}

Test(plan, it_is_copied) {
  char name[] = "base";
  plan.base_model = name;
  begin();
  name[0] = 'x';
  adam.learning_rate = 77;
  cr_assert_str_eq(run.plan.base_model, "base");
  cr_assert_neq(run.plan.adam->learning_rate, 77);
}

/* What is attached is no part of what the run is. */
Test(plan, metadata_is_copied_and_not_compared) {
  char value[] = "one";
  bool changed = true;
  tinker_metadata_t list[] = {{"a", value}};
  begin();
  plan.metadata = list;
  plan.metadata_count = 1;
  cr_assert_eq(check(&changed), 0, "%s", why);
  cr_assert_not(changed);
  value[0] = 'x';
  list[0].name = "b";
  cr_assert_eq(run.plan.metadata_count, 1u);
  cr_assert_str_eq(run.plan.metadata[0].name, "a");
  cr_assert_str_eq(run.plan.metadata[0].value, "one");
  list[0].value = "\xff";
  cr_assert_eq(take(), TINKER_EINVAL);
  cr_assert_str_eq(why, "plan.metadata[0].value is not UTF-8");
}

Test(plan, an_older_and_shorter_one) {
  plan.metadata_count = 7;
  plan.size = offsetof(tinker_run_plan_t, metadata);
  begin();
  cr_assert_eq(run.plan.metadata_count, 0u);
}

/* One field differs: the field is named, and may be allowed or not. */
static void differs(const char *field, unsigned allow) {
  const tinker_run_plan_t p = plan;
  bool changed = false;
  run.options.allow = 0;
  cr_assert_eq(check(&changed), TINKER_ESTATE, "%s", field);
  cr_assert(strstr(why, field), "%s: %s", field, why);
  run.options.allow = ~allow;
  cr_assert_eq(check(&changed), TINKER_ESTATE, "%s", field);
  run.options.allow = allow;
  cr_assert_eq(check(&changed), allow ? 0 : TINKER_ESTATE, "%s", field);
  cr_assert(changed, "%s", field);
  plan = p;
}

Test(plan, every_field_is_compared) {
  begin();
  const tinker_run_plan_t same = plan;
#define DIFFERS(field, value, allow)                                           \
  plan = same;                                                                 \
  plan.field = value;                                                          \
  differs("plan." #field, allow)
  DIFFERS(base_model, "other", 0);
  DIFFERS(rank, 33, TINKER_PLAN_RANK);
  DIFFERS(freeze, TINKER_FREEZE_MLP, TINKER_PLAN_FREEZE);
  DIFFERS(seed, 5, TINKER_PLAN_SEED);
  DIFFERS(data, TINKER_DATA_FRESH, TINKER_PLAN_DATA);
  DIFFERS(data_id, "other", TINKER_PLAN_DATA_ID);
  DIFFERS(data_id, NULL, TINKER_PLAN_DATA_ID);
  DIFFERS(steps, 9, TINKER_PLAN_STEPS);
  plan = same;
#define ADAM(field)                                                            \
  adam.field = nextafter(adam.field, 9);                                       \
  differs("plan.adam", TINKER_PLAN_ADAM);                                      \
  adam.field = nextafter(adam.field, -9)
  ADAM(learning_rate);
  ADAM(beta1);
  ADAM(beta2);
  ADAM(eps);
  ADAM(weight_decay);
  ADAM(grad_clip_norm);
}

static void refused(int code, const char *field) {
  cr_assert_eq(take(), code, "%s: %s", field, why);
  cr_assert(strstr(why, field), "%s: %s", field, why);
}

Test(plan, what_is_refused) {
  static char longer[300];
  const tinker_run_plan_t good = plan;
  memset(longer, 'a', sizeof longer - 1);
#define REFUSED(field, value, code)                                            \
  plan = good;                                                                 \
  plan.field = value;                                                          \
  refused(code, "plan." #field)
  REFUSED(base_model, NULL, TINKER_EINVAL);
  REFUSED(base_model, "", TINKER_EINVAL);
  REFUSED(base_model, "\xc3", TINKER_EINVAL);
  REFUSED(data, 2, TINKER_EINVAL);
  REFUSED(data, -1, TINKER_EINVAL);
  REFUSED(reserved0, 1, TINKER_ENOTSUP);
  REFUSED(steps, 0, TINKER_EINVAL);
  REFUSED(steps, -2, TINKER_EINVAL);
  REFUSED(data_id, longer, TINKER_EINVAL);
  REFUSED(data_id, "\xc3", TINKER_EINVAL);
  cr_assert_eq(tinker__rec_plan_take(&run, NULL, why, sizeof why),
               TINKER_EINVAL);
}

/* A plan is JSON in the journal: it has to have a form there. */
Test(plan, numbers_that_are_none_are_refused) {
  adam.learning_rate = NAN;
  refused(TINKER_EINVAL, "adam");
  adam.learning_rate = 1;
  adam.eps = INFINITY;
  refused(TINKER_EINVAL, "adam");
}

/* A plan that an older version wrote without a field differs in that field. */
Test(plan, a_field_that_the_journal_has_not) {
  bool changed = false;
  cr_assert_eq(take(), 0);
  int rc =
      tinker__rec_plan_check(&run, tinker__str("{\"base_model\":\"base\"}"),
                             &changed, why, sizeof why);
  cr_assert_eq(rc, TINKER_ESTATE);
  cr_assert(strstr(why, "plan.rank"), "%s", why);
  rc =
      tinker__rec_plan_check(&run, tinker__str("{"), &changed, why, sizeof why);
  cr_assert_eq(rc, TINKER_EFORMAT, "%d", rc);
}

static const tinker_metadata_t metadata[] = {{"a", "1"}};

static int sweep(tinker__mem_t *mem, void *user) {
  tinker_run_t r = {.options = {.allow = 0}};
  tinker__buf_t text;
  bool changed;
  (void)user;
  tinker__mem_part(&r.mem, mem, 0);
  tinker__arena_init(&r.strings, mem);
  tinker__buf_init(&text, mem, TINKER__REC_MAX_FIELDS);
  plan.metadata = metadata;
  plan.metadata_count = 1;
  int rc = tinker__rec_plan_take(&r, &plan, why, sizeof why);
  if (rc == 0) rc = tinker__rec_plan_write(&r, &text);
  if (rc == 0) {
    rc = tinker__rec_plan_check(&r, tinker__buf_str(&text), &changed, why,
                                sizeof why);
  }
  tinker__buf_free(&text);
  tinker__arena_free(&r.strings);
  return rc;
}

Test(plan, no_memory) {
  cr_assert_gt(tinker__fail_sweep(sweep, NULL, TINKER_ENOMEM), 0);
}
