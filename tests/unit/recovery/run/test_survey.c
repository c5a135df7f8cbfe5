/* survey: what of the things at the service a journal knows. */
#include <criterion/criterion.h>
#include <string.h>

#include "run/run.h"

static tinker__mem_t mem;
static tinker__rec_state_t s;

static void setup(void) {
  tinker__mem_init(&mem, NULL, 0);
  cr_assert_eq(tinker__rec_state_init(&s, &mem), 0);
}

static void teardown(void) {
  tinker__rec_state_free(&s);
  cr_assert_eq(atomic_load(&mem.live_blocks), 0);
}

TestSuite(survey, .init = setup, .fini = teardown);

static void begun(int64_t epoch, const char *nonce, const char *model) {
  cr_assert_eq(tinker__rec_used_add(&s.used, &mem, epoch, tinker__str(nonce),
                                    tinker__str(model)),
               0);
  s.last_epoch = epoch;
  if (*model) s.epoch = epoch;
}

static bool unknown(int64_t epoch, int64_t step, const char *nonce,
                    const char *name) {
  tinker__rec_found_t f = {.is_model = step < 0,
                           .epoch = epoch,
                           .step = step,
                           .from_step = -1,
                           .path = "p",
                           .name = name,
                           .nonce = nonce,
                           .plan = ""};
  return tinker__rec_is_unknown(&s, &f);
}

Test(survey, an_empty_journal_knows_nothing) {
  cr_assert(unknown(1, -1, "n", "m"));
  cr_assert(unknown(1, 4, "", "c"));
}

Test(survey, epochs_and_their_nonces) {
  begun(1, "n1", "m1");
  begun(2, "n2", ""); /* an attempt that nothing came of */
  cr_assert_not(unknown(1, -1, "n1", "m1"));
  cr_assert_not(unknown(1, -1, "n1", "other"));
  cr_assert_not(unknown(2, -1, "n2", "m2"));
  cr_assert_not(unknown(1, -1, "", "m1")); /* it says no nonce */
  cr_assert(unknown(1, -1, "n9", "m1"));   /* another journal's epoch 1 */
  cr_assert(unknown(3, -1, "n3", "m3"));
  cr_assert(unknown(3, 8, "", "c"));
}

/* A copy of the folder that was made before the epoch became active: its model
 * may be an attempt that nothing came of, its checkpoints are not. */
Test(survey, checkpoints_of_an_epoch_that_never_was_active) {
  begun(1, "n1", "");
  cr_assert_not(unknown(1, -1, "n1", "m1"));
  cr_assert(unknown(1, 4, "n1", "c4"));
  begun(2, "n2", "m2");
  cr_assert(unknown(1, 4, "n1", "c4"));
  cr_assert_not(unknown(2, 0, "n2", "c0"));
}

/* Of a journal that is older than nonces all numbers it has are its own. */
Test(survey, epochs_without_a_nonce) {
  begun(1, "", "m1");
  cr_assert_not(unknown(1, -1, "n1", "m1"));
  cr_assert(unknown(2, -1, "n2", "m2"));
}

static void save_begun(const char *name) {
  static char text[8];
  tinker__rec_op_t *op = tinker__mem_zalloc(&mem, sizeof *op);
  strncpy(text, name, sizeof text - 1);
  op->name = tinker__mem_strndup(&mem, text, strlen(text));
  tinker__list_push_back(&s.ops, &op->link);
}

/* A save ahead of the last commit that the journal knows of. */
Test(survey, checkpoints_of_the_active_epoch) {
  begun(1, "n1", "m1");
  s.committed = 20;
  cr_assert_not(unknown(1, 20, "n1", "c20"));
  cr_assert(unknown(1, 24, "n1", "c24"));
  save_begun("c24");
  cr_assert_not(unknown(1, 24, "n1", "c24"));
  cr_assert(unknown(1, 28, "n1", "c28"));
}

Test(survey, what_was_disowned_is_left_alone) {
  begun(3, "n3", "m3");
  s.disowned = 2;
  cr_assert_not(unknown(1, -1, "x", "m"));
  cr_assert_not(unknown(2, 99, "x", "c"));
  cr_assert(unknown(4, -1, "x", "m"));
}

Test(survey, the_newest) {
  tinker__rec_found_t a = {.epoch = 1, .step = 40}, b = {.epoch = 2, .step = 8};
  cr_assert(tinker__rec_is_newer(&b, &a));
  cr_assert_not(tinker__rec_is_newer(&a, &b));
  b.epoch = 1;
  cr_assert(tinker__rec_is_newer(&a, &b));
}
