/* SIGNAL in the fold: the monitor's word stands for the epoch that it names,
 * until another one is active. */
#include <criterion/criterion.h>
#include <tinker/error.h>

#include "journal/facts.h"

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

TestSuite(signal, .init = setup, .fini = teardown);

static int fold(tinker__rec_type_t type, int64_t epoch, const char *evidence) {
  char why[512];
  tinker__buf_t text;
  tinker__rec_facts_t facts = TINKER__REC_FACTS_INIT;
  facts.epoch = epoch;
  facts.from_step = 0;
  facts.evidence = tinker__str(evidence);
  tinker__buf_init(&text, &mem, TINKER__REC_MAX_FIELDS);
  cr_assert_eq(tinker__rec_facts_write(&facts, &text), 0);
  const tinker__rec_record_t r = {.type = type,
                                  .step = TINKER__REC_NO_STEP,
                                  .boot = "",
                                  .fields = tinker__buf_str(&text),
                                  .bytes = tinker__str("")};
  int rc = tinker__rec_state_fold(&s, 0, &r, why, sizeof why);
  tinker__buf_free(&text);
  return rc;
}

Test(signal, a_model_is_trusted_until_the_monitor_speaks) {
  cr_assert_eq(fold(TINKER__REC_EPOCH_ACTIVE, 1, NULL), 0);
  cr_assert_null(s.distrusted);
  cr_assert_eq(fold(TINKER__REC_SIGNAL, 1, "corrupted"), 0);
  cr_assert_str_eq(s.distrusted, "corrupted");
}

Test(signal, what_is_done_with_the_model_later_changes_nothing) {
  fold(TINKER__REC_EPOCH_ACTIVE, 1, NULL);
  fold(TINKER__REC_SIGNAL, 1, "corrupted");
  fold(TINKER__REC_LEDGER, 1, NULL);
  fold(TINKER__REC_RELEASE, 1, NULL);
  cr_assert_str_eq(s.distrusted, "corrupted");
  cr_assert_eq(fold(TINKER__REC_SIGNAL, 1, "gone"), 0);
  cr_assert_str_eq(s.distrusted, "gone");
}

Test(signal, the_next_model_is_trusted_again) {
  fold(TINKER__REC_EPOCH_ACTIVE, 1, NULL);
  fold(TINKER__REC_SIGNAL, 1, "corrupted");
  cr_assert_eq(fold(TINKER__REC_EPOCH_ACTIVE, 2, NULL), 0);
  cr_assert_null(s.distrusted);
}

/* The watch may have seen the model before, and be late. */
Test(signal, a_word_on_another_model_is_left_alone) {
  cr_assert_eq(fold(TINKER__REC_SIGNAL, 1, "corrupted"), 0);
  cr_assert_null(s.distrusted);
  fold(TINKER__REC_EPOCH_ACTIVE, 2, NULL);
  cr_assert_eq(fold(TINKER__REC_SIGNAL, 1, "corrupted"), 0);
  cr_assert_null(s.distrusted);
}
