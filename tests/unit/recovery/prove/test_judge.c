/* What answers say of a checkpoint. */
#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

#include "prove/judge.h"

#define ANSWER(name) TINKER__REC_ANSWER_##name

static tinker__rec_case_t facts;
static tinker_resume_proof_t proof;
static char why[512];

static void fill(tinker__rec_answer_t a, float value) {
  for (size_t i = 0; i < TINKER_FINGERPRINT_LEN; i++) {
    facts.answers[a][i] = -value - (float)i;
  }
}

/* A good checkpoint on a service that computes the same bits each time. */
static void setup(void) {
  memset(&facts, 0, sizeof facts);
  memset(&proof, 0, sizeof proof);
  facts.has_step = true;
  for (int a = ANSWER(WARM); a <= ANSWER(TWIN); a++) fill(a, 1);
  fill(ANSWER(WARM_AFTER), 2);
  fill(ANSWER(COLD_AFTER), 3);
  fill(ANSWER(TWIN_AFTER), 3);
}

static void expect(float value) {
  facts.has_expected = true;
  for (size_t i = 0; i < TINKER_FINGERPRINT_LEN; i++) {
    facts.expected[i] = -value - (float)i;
  }
}

static void judged(int code, const char *words) {
  why[0] = '\0';
  cr_assert_eq(tinker__rec_judge(&facts, &proof, why, sizeof why), code, "%s",
               why);
  cr_assert(words ? strstr(why, words) != NULL : !*why, "%s", why);
}

TestSuite(prove_judge, .init = setup);

Test(prove_judge, a_good_one) {
  judged(0, NULL);
  cr_assert_eq(proof.level, 4);
  cr_assert_eq(proof.deterministic, 1);
  cr_assert_eq(proof.noise, 0);
  cr_assert_eq(proof.loaded, 0);
  cr_assert_eq(proof.expected, -1);
  cr_assert_eq(proof.step_noise, 0);
  cr_assert_eq(proof.optimizer, 1);
  cr_assert_eq(proof.fingerprint[3], -4);
  expect(1);
  judged(0, NULL);
  cr_assert_eq(proof.expected, 0);
}

/* To the bit: the smallest difference is one, and none is none. */
Test(prove_judge, deterministic) {
  memcpy(facts.answers[ANSWER(WARM_AFTER)], facts.answers[ANSWER(COLD_AFTER)],
         sizeof facts.answers[0]);
  judged(TINKER_ESTATE, "cold optimizer");
  cr_assert_eq(proof.level, 0);
  float *one = &facts.answers[ANSWER(WARM_AFTER)][59];
  *one = nextafterf(*one, 0);
  judged(0, NULL);
}

/* What equal models differ by after a step is no sign of an optimizer. */
Test(prove_judge, noise_of_a_step) {
  fill(ANSWER(WARM_AFTER), 3.5f);
  fill(ANSWER(TWIN_AFTER), 3.25f);
  judged(TINKER_ESTATE, "cold optimizer");
  cr_assert_eq(proof.deterministic, 0);
  fill(ANSWER(WARM_AFTER), 4.75f); /* six times, from the nearer one */
  judged(TINKER_ESTATE, "cold optimizer");
  fill(ANSWER(WARM_AFTER), 4.8f);
  judged(0, NULL);
}

Test(prove_judge, noise_of_an_answer) {
  fill(ANSWER(AGAIN), 1.125f);
  fill(ANSWER(COLD), 1.75f);
  fill(ANSWER(WARM_AFTER), 3.75f);
  judged(TINKER_ESTATE, "cold optimizer");
  fill(ANSWER(WARM_AFTER), 3.8f);
  judged(0, NULL);
  cr_assert_eq(proof.deterministic, 0);
}

Test(prove_judge, loads_differ) {
  fill(ANSWER(COLD), 1.5f);
  judged(TINKER_ESTATE, "gives different models");
  setup();
  fill(ANSWER(TWIN), 1.5f);
  judged(TINKER_ESTATE, "gives different models");
}

Test(prove_judge, not_what_was_saved) {
  expect(1.5f);
  judged(TINKER_ESTATE, "not those that were saved");
  cr_assert_eq(proof.expected, 0.5);
  facts.expected_noise = 0.25;
  judged(0, NULL);
}

/* What is not finite is nobody's answer: neither equal nor different. */
Test(prove_judge, not_finite) {
  static const float odd[] = {NAN, INFINITY};
  for (int a = 0; a < TINKER__REC_ANSWERS; a++) {
    for (int i = 0; i < 2; i++) {
      setup();
      facts.answers[a][7] = odd[i];
      judged(TINKER_ESTATE, "");
      cr_assert_eq(proof.level, 0);
    }
  }
  setup();
  for (int a = 0; a < TINKER__REC_ANSWERS; a++) facts.answers[a][7] = NAN;
  judged(TINKER_ESTATE, "not finite numbers");
}

Test(prove_judge, a_step_that_does_nothing) {
  for (int a = 0; a < TINKER__REC_ANSWERS; a++) fill(a, 1);
  judged(TINKER_ENOTSUP, "can't be proven");
}

/* Without steps there is nothing to see of an optimizer. */
Test(prove_judge, no_steps) {
  facts.has_step = false;
  for (int a = ANSWER(TWIN); a < TINKER__REC_ANSWERS; a++) fill(a, NAN);
  judged(0, NULL);
  cr_assert_eq(proof.level, 0);
  cr_assert_eq(proof.optimizer, -1);
  cr_assert_eq(proof.step_noise, -1);
  cr_assert_eq(proof.deterministic, 1);
  expect(1);
  judged(0, NULL);
  cr_assert_eq(proof.level, 3);
  expect(2);
  judged(TINKER_ESTATE, "not those that were saved");
}
