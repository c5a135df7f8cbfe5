/* detect: 200 made traces, half of them poisoned, and each rule by itself. */
#include <criterion/criterion.h>
#include <math.h>
#include <string.h>
#include <tinker/error.h>

#include "detect/detect.h"

static tinker__mem_t mem;
static tinker__rec_detect_t *d;
static uint64_t state;

static void setup(void) {
  const tinker__rec_detect_policy_t policy = TINKER__REC_DETECT_POLICY_INIT;
  tinker__mem_init(&mem, NULL, 0);
  cr_assert_eq(tinker__rec_detect_new(&d, &mem, &policy), 0);
  state = 1;
}

static void teardown(void) {
  tinker__rec_detect_free(d);
  cr_assert_eq(atomic_load(&mem.live_blocks), 0);
}

TestSuite(detect, .init = setup, .fini = teardown);

static double uniform(void) {
  state = state * 6364136223846793005u + 1442695040888963407u;
  return (double)(state >> 11) / 9007199254740992.0;
}

/* A falling loss with noise, as trainings have it. */
static double usual(int step) {
  double noise = uniform() + uniform() + uniform() - 1.5;
  return 1.5 + 2.5 * exp(-step / 300.0) + 0.1 * noise;
}

static tinker__rec_loss_t add(double loss) {
  static unsigned char batch[TINKER__SHA256_LEN];
  memcpy(batch, &state, sizeof state);
  batch[31]++;
  return tinker__rec_detect_add(d, loss, 1000, batch);
}

static void warm(int steps) {
  for (int i = 0; i < steps; i++) {
    cr_assert_leq(add(usual(i)), TINKER__REC_LOSS_OK, "step %d", i);
  }
}

Test(detect, nothing_is_known_at_the_beginning) {
  cr_assert_eq(add(4), TINKER__REC_LOSS_UNKNOWN);
  cr_assert_eq(add(400), TINKER__REC_LOSS_UNKNOWN);
}

Test(detect, what_is_not_finite_is_found_in_the_first_step) {
  cr_assert_eq(add(NAN), TINKER__REC_LOSS_NONFINITE);
  cr_assert_eq(add(INFINITY), TINKER__REC_LOSS_NONFINITE);
  cr_assert_eq(add(-INFINITY), TINKER__REC_LOSS_NONFINITE);
}

Test(detect, a_usual_training_is_left_alone) {
  warm(2000);
}

Test(detect, a_spike_is_one_again_until_it_goes_away) {
  warm(300);
  cr_assert_eq(add(12), TINKER__REC_LOSS_SPIKE);
  cr_assert_eq(add(12.5), TINKER__REC_LOSS_SPIKE);
  cr_assert_eq(add(usual(300)), TINKER__REC_LOSS_OK);
}

/* High, but not twice the median: noise of small losses. */
Test(detect, a_large_z_alone_is_no_spike) {
  for (int i = 0; i < 100; i++) add(1 + 1e-6 * uniform());
  cr_assert_eq(add(1.5), TINKER__REC_LOSS_OK);
}

Test(detect, a_lasting_rise_is_a_divergence_after_its_tokens) {
  tinker__rec_loss_t last = TINKER__REC_LOSS_OK;
  int steps = 0;
  warm(1200);
  for (; steps < 6000 && last != TINKER__REC_LOSS_DIVERGENCE; steps++) {
    last = add(1.95 * usual(600));
  }
  cr_assert_eq(last, TINKER__REC_LOSS_DIVERGENCE);
  cr_assert_gt(steps, 2000); /* 2 M tokens of 1,000 a step */
}

Test(detect, the_same_bits_on_other_data_are_flat) {
  warm(100);
  for (int i = 0; i < 8; i++) cr_assert_leq(add(2.5), TINKER__REC_LOSS_OK);
  cr_assert_eq(add(2.5), TINKER__REC_LOSS_FLAT);
  cr_assert_eq(add(2.6), TINKER__REC_LOSS_OK);
}

Test(detect, the_same_bits_on_the_same_data_are_not) {
  unsigned char batch[TINKER__SHA256_LEN] = {1};
  warm(100);
  for (int i = 0; i < 100; i++) {
    cr_assert_eq(tinker__rec_detect_add(d, 2.5, 1000, batch),
                 TINKER__REC_LOSS_OK);
  }
}

Test(detect, a_rollback_forgets_what_was_suspicious) {
  warm(100);
  for (int i = 0; i < 8; i++) add(2.5);
  tinker__rec_detect_rewind(d);
  cr_assert_eq(add(2.5), TINKER__REC_LOSS_OK);
}

/* needs.md rank 6: 200 traces, half of them with a poisoned stretch; every
 * poisoned one is found within 16 steps, and no other is. */
enum { TRACES = RECOVERY_FEW_RUNS ? 20 : 200 };

Test(detect, traces) {
  int found = 0, false_alarms = 0;
  for (int trace = 0; trace < TRACES; trace++) {
    teardown();
    setup();
    state = (uint64_t)trace + 1;
    bool poisoned = trace % 2, seen = false;
    int onset = 200 + trace;
    for (int i = 0; i < 420; i++) {
      double loss = usual(i);
      if (poisoned && i >= onset) {
        loss = trace % 4 == 1 ? loss * (3 + uniform()) : (double)NAN;
      }
      if (add(loss) > TINKER__REC_LOSS_OK) {
        if (poisoned && i >= onset && i < onset + 16) seen = true;
        if (!poisoned || i < onset) false_alarms++;
        break;
      }
    }
    found += seen;
  }
  cr_log_info("detect: %d of %d found, %d false", found, TRACES / 2,
              false_alarms);
  cr_assert_eq(found, TRACES / 2);
  cr_assert_eq(false_alarms, 0);
}

Test(detect, impossible_policies_are_refused) {
  tinker__rec_detect_policy_t p = TINKER__REC_DETECT_POLICY_INIT;
  tinker__rec_detect_t *none = NULL;
  p.slow = p.fast;
  cr_assert_eq(tinker__rec_detect_new(&none, &mem, &p), TINKER_EINVAL);
  cr_assert_null(none);
}

Test(detect, without_memory_nothing_is_left) {
  const tinker__rec_detect_policy_t p = TINKER__REC_DETECT_POLICY_INIT;
  tinker__rec_detect_t *out = NULL;
  int rc = TINKER_ENOMEM;
  for (uint64_t n = 1; rc == TINKER_ENOMEM; n++) {
    atomic_store(&mem.count, 0);
    atomic_store(&mem.fail_at, n);
    rc = tinker__rec_detect_new(&out, &mem, &p);
  }
  atomic_store(&mem.fail_at, 0);
  cr_assert_eq(rc, 0);
  tinker__rec_detect_free(out);
}
