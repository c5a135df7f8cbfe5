/* evidence: every pair of the table, what makes an incident and what does not,
 * in virtual time, and random walks. */
#include <criterion/criterion.h>

#include "monitor/evidence.h"

static const tinker__rec_evidence_policy_t policy =
    TINKER__REC_EVIDENCE_POLICY_INIT;
static tinker__rec_evidence_t e;
static int64_t boot, mono;
static uint64_t seed;

static void setup(void) {
  boot = 5000000;
  mono = 1000000; /* the machine has slept before */
  seed = 1;
  tinker__rec_evidence_begin(&e, &policy, boot, mono);
}

TestSuite(evidence, .init = setup);

static uint32_t draw(void) {
  seed = seed * 6364136223846793005u + 1442695040888963407u;
  return (uint32_t)(seed >> 33);
}

static void pass(int64_t ms) {
  boot += ms;
  mono += ms;
}

static tinker__rec_watch_state_t see(tinker__rec_source_t source,
                                     tinker__rec_value_t value,
                                     tinker__rec_sign_t sign) {
  const tinker__rec_observation_t o = {source, value, sign, boot, boot, mono};
  return tinker__rec_evidence_add(&e, &o);
}

static tinker__rec_watch_state_t fine(void) {
  return see(TINKER__REC_SOURCE_RECORD, TINKER__REC_VALUE_OK,
             TINKER__REC_SIGN_OTHER);
}

static tinker__rec_watch_state_t corrupted(void) {
  return see(TINKER__REC_SOURCE_RECORD, TINKER__REC_VALUE_BAD,
             TINKER__REC_SIGN_CORRUPTED);
}

static tinker__rec_watch_state_t gone(void) {
  return see(TINKER__REC_SOURCE_RECORD, TINKER__REC_VALUE_BAD,
             TINKER__REC_SIGN_GONE);
}

static tinker__rec_watch_state_t nothing(void) {
  return see(TINKER__REC_SOURCE_RECORD, TINKER__REC_VALUE_UNKNOWN,
             TINKER__REC_SIGN_OTHER);
}

static tinker__rec_watch_state_t paused(void) {
  return see(TINKER__REC_SOURCE_RECORD, TINKER__REC_VALUE_UNKNOWN,
             TINKER__REC_SIGN_PAUSED);
}

static tinker__rec_watch_state_t calls(tinker__rec_value_t value) {
  return see(TINKER__REC_SOURCE_CALLS, value, TINKER__REC_SIGN_OTHER);
}

static int64_t next(uint32_t random) {
  return tinker__rec_evidence_next(&e, boot, random);
}

static void blind(void) {
  for (int i = 0; i < policy.blind; i++) {
    nothing();
    pass(2000);
  }
  cr_assert_eq(e.state, TINKER__REC_WATCH_BLIND);
}

/* --- The table ------------------------------------------------------------ */

/* One letter a state, in the order of the enums. */
Test(evidence, every_pair_of_state_and_news) {
  static const char letters[] = "AHSPBI";
  static const char *const want[TINKER__REC_WATCH_STATES] = {
      /* OK CALM BAD PROVEN DIM BLIND PAUSED SLEPT */
      [TINKER__REC_WATCH_ADOPTING] = "HHSSABPB",
      [TINKER__REC_WATCH_HEALTHY] = "HHSSHBPB",
      [TINKER__REC_WATCH_SUSPECT] = "SHSISBPB",
      [TINKER__REC_WATCH_PAUSED] = "HHSSPBPB",
      [TINKER__REC_WATCH_BLIND] = "SSSSBBPB",
      [TINKER__REC_WATCH_INCIDENT] = "IIIIIIII"};
  for (int s = 0; s < TINKER__REC_WATCH_STATES; s++) {
    for (int n = 0; n < TINKER__REC_NEWS_COUNT; n++) {
      int to = (int)tinker__rec_watch_move((tinker__rec_watch_state_t)s,
                                           (tinker__rec_news_t)n);
      cr_expect_eq(letters[to], want[s][n], "%c with news %d becomes %c",
                   letters[s], n, letters[to]);
    }
  }
}

/* --- Incidents ------------------------------------------------------------ */

Test(evidence, a_model_that_is_shown_as_corrupted_twice_is_an_incident) {
  cr_assert_eq(fine(), TINKER__REC_WATCH_HEALTHY);
  pass(10000);
  cr_assert_eq(corrupted(), TINKER__REC_WATCH_SUSPECT);
  pass(2000);
  cr_assert_eq(corrupted(), TINKER__REC_WATCH_INCIDENT);
  cr_assert_eq(fine(), TINKER__REC_WATCH_INCIDENT);
}

Test(evidence, a_model_that_was_corrupted_before_it_was_adopted_is_found) {
  cr_assert_eq(corrupted(), TINKER__REC_WATCH_SUSPECT);
  pass(2000);
  cr_assert_eq(corrupted(), TINKER__REC_WATCH_INCIDENT);
}

Test(evidence, calls_that_succeed_do_not_clear_a_model) {
  corrupted();
  pass(1000);
  cr_assert_eq(calls(TINKER__REC_VALUE_OK), TINKER__REC_WATCH_SUSPECT);
  pass(1000);
  cr_assert_eq(corrupted(), TINKER__REC_WATCH_INCIDENT);
}

/* F03 */
Test(evidence, a_model_that_was_shown_as_corrupted_once_stays_suspect) {
  fine();
  cr_assert_eq(corrupted(), TINKER__REC_WATCH_SUSPECT);
  for (int i = 0; i < 1000; i++) {
    pass(10000);
    cr_assert_eq(fine(), TINKER__REC_WATCH_SUSPECT);
  }
  cr_assert_eq(corrupted(), TINKER__REC_WATCH_INCIDENT);
}

/* F08 */
Test(evidence, a_record_that_is_gone_twice_is_an_incident) {
  fine();
  pass(10000);
  cr_assert_eq(gone(), TINKER__REC_WATCH_SUSPECT);
  pass(2000);
  cr_assert_eq(gone(), TINKER__REC_WATCH_INCIDENT);
}

/* F11: the list and the look-up of a new model may be behind. */
Test(evidence, a_record_that_was_never_read_is_not_gone) {
  for (int i = 0; i < 1000; i++) {
    cr_assert_neq(gone(), TINKER__REC_WATCH_INCIDENT);
    pass(2000);
  }
}

Test(evidence, a_record_that_is_back_is_healthy_after_a_while) {
  fine();
  gone();
  for (int i = 0; i < 14; i++) {
    pass(2000);
    cr_assert_eq(fine(), TINKER__REC_WATCH_SUSPECT, "reading %d", i);
  }
  pass(2000);
  cr_assert_eq(fine(), TINKER__REC_WATCH_HEALTHY);
}

Test(evidence, bad_readings_of_different_times_are_not_counted_together) {
  fine();
  gone();
  pass(policy.confirm_ms + 1);
  cr_assert_eq(gone(), TINKER__REC_WATCH_SUSPECT);
  pass(policy.confirm_ms);
  cr_assert_eq(gone(), TINKER__REC_WATCH_INCIDENT);
}

Test(evidence, calls_that_fail_and_a_bad_reading_are_an_incident) {
  fine();
  cr_assert_eq(calls(TINKER__REC_VALUE_BAD), TINKER__REC_WATCH_SUSPECT);
  pass(100);
  cr_assert_eq(corrupted(), TINKER__REC_WATCH_INCIDENT);
}

Test(evidence, calls_alone_are_the_business_of_the_run) {
  fine();
  for (int i = 0; i < 1000; i++) {
    cr_assert_eq(calls(TINKER__REC_VALUE_BAD), TINKER__REC_WATCH_SUSPECT);
    pass(100);
  }
}

Test(evidence, calls_that_succeed_again_are_forgotten) {
  fine();
  calls(TINKER__REC_VALUE_BAD);
  calls(TINKER__REC_VALUE_OK);
  cr_assert_eq(corrupted(), TINKER__REC_WATCH_SUSPECT);
}

Test(evidence, another_model_is_not_judged_by_the_one_before) {
  corrupted();
  tinker__rec_evidence_begin(&e, &policy, boot, mono);
  cr_assert_eq(e.state, TINKER__REC_WATCH_ADOPTING);
  cr_assert_eq(corrupted(), TINKER__REC_WATCH_SUSPECT);
}

/* --- What says nothing ---------------------------------------------------- */

/* F18, F79 to F83, F87: for an hour and more nothing is known. */
Test(evidence, a_service_that_says_nothing_is_never_an_incident) {
  fine();
  for (int i = 0; i < 100000; i++) {
    pass(next(draw()));
    cr_assert_neq(nothing(), TINKER__REC_WATCH_INCIDENT);
  }
  cr_assert_eq(e.state, TINKER__REC_WATCH_BLIND);
}

/* F86: three days. */
Test(evidence, a_billing_pause_is_never_an_incident) {
  fine();
  for (int i = 0; i < 26000; i++) {
    pass(next(draw()));
    cr_assert_eq(paused(), TINKER__REC_WATCH_PAUSED);
  }
  cr_assert_eq(fine(), TINKER__REC_WATCH_HEALTHY);
}

/* needs.md 17: an hour, a thousand times. */
Test(evidence, half_of_the_readings_fail_and_training_succeeds) {
  int readings = 0, lost = 0;
  for (int run = 0; run < 1000; run++) {
    tinker__rec_evidence_begin(&e, &policy, boot, mono);
    for (int64_t end = boot + 3600000; boot < end; readings++) {
      pass(next(draw()));
      bool fails = draw() % 2;
      lost += fails;
      tinker__rec_watch_state_t s = fails ? nothing() : fine();
      cr_assert_neq(s, TINKER__REC_WATCH_INCIDENT);
      calls(TINKER__REC_VALUE_OK);
    }
  }
  cr_assert(lost > readings * 0.49 && lost < readings * 0.51);
}

Test(evidence, half_of_the_readings_fail_and_the_rest_is_found_out) {
  for (int run = 0; run < 1000; run++) {
    tinker__rec_evidence_begin(&e, &policy, boot, mono);
    int readings = 0;
    for (; e.state != TINKER__REC_WATCH_INCIDENT; readings++) {
      pass(next(draw()));
      draw() % 2 ? nothing() : corrupted();
    }
    cr_assert_lt(readings, 1000);
  }
}

Test(evidence, single_failures_make_nobody_blind) {
  fine();
  for (int i = 1; i < policy.blind; i++) {
    pass(10000);
    cr_assert_eq(nothing(), TINKER__REC_WATCH_HEALTHY);
  }
  pass(10000);
  cr_assert_eq(nothing(), TINKER__REC_WATCH_BLIND);
}

Test(evidence, failures_with_answers_in_between_make_nobody_blind) {
  for (int i = 0; i < 100; i++) {
    cr_assert_eq(fine(), TINKER__REC_WATCH_HEALTHY);
    for (int k = 1; k < policy.blind; k++) nothing();
    pass(10000);
  }
  fine();
  for (int k = 1; k < policy.blind; k++) nothing();
  corrupted(); /* it answers, too */
  cr_assert_eq(nothing(), TINKER__REC_WATCH_SUSPECT);
}

Test(evidence, one_good_reading_after_a_long_time_is_not_enough) {
  fine();
  gone();
  pass(policy.settle_ms);
  for (int i = 1; i < policy.calm; i++) {
    cr_assert_eq(fine(), TINKER__REC_WATCH_SUSPECT);
  }
  cr_assert_eq(fine(), TINKER__REC_WATCH_HEALTHY);
}

Test(evidence, a_model_is_looked_at_closely_after_blindness) {
  fine();
  pass(1000000);
  blind();
  cr_assert_eq(next(200), 10000);
  cr_assert_eq(fine(), TINKER__REC_WATCH_SUSPECT);
  cr_assert_eq(next(200), 2000);
}

Test(evidence, a_reading_that_says_nothing_does_not_clear_a_suspicion) {
  fine();
  corrupted();
  pass(2000);
  cr_assert_eq(nothing(), TINKER__REC_WATCH_SUSPECT);
  pass(2000);
  cr_assert_eq(corrupted(), TINKER__REC_WATCH_INCIDENT);
}

Test(evidence, what_was_known_before_blindness_is_void) {
  fine();
  corrupted();
  pass(2000);
  blind();
  cr_assert_eq(corrupted(), TINKER__REC_WATCH_SUSPECT);
  cr_assert_eq(fine(), TINKER__REC_WATCH_SUSPECT);
}

Test(evidence, what_was_known_before_a_billing_pause_is_void) {
  fine();
  corrupted();
  pass(2000);
  cr_assert_eq(paused(), TINKER__REC_WATCH_PAUSED);
  pass(2000);
  cr_assert_eq(corrupted(), TINKER__REC_WATCH_SUSPECT);
}

/* --- Clocks --------------------------------------------------------------- */

/* F78 */
Test(evidence, what_was_known_before_a_sleep_is_void) {
  fine();
  corrupted();
  pass(1000);
  boot += 3600000; /* the other clock stands */
  cr_assert_eq(corrupted(), TINKER__REC_WATCH_BLIND);
  pass(2000);
  cr_assert_eq(corrupted(), TINKER__REC_WATCH_SUSPECT);
  pass(2000);
  cr_assert_eq(corrupted(), TINKER__REC_WATCH_INCIDENT);
}

Test(evidence, a_laptop_that_sleeps_is_no_incident) {
  fine();
  for (int i = 0; i < 10000; i++) {
    pass(next(draw()));
    if (draw() % 8 == 0) boot += 1 + draw() % 36000000;
    tinker__rec_watch_state_t s = draw() % 4 ? fine() : nothing();
    cr_assert_neq(s, TINKER__REC_WATCH_INCIDENT);
  }
}

/* F77: steps of the wall clock are no input; a boot clock that runs backwards
 * voids what is known, as a sleep does. */
Test(evidence, a_boot_clock_that_steps_back_is_no_incident) {
  fine();
  corrupted();
  pass(1000);
  boot -= 4000000;
  cr_assert_eq(corrupted(), TINKER__REC_WATCH_BLIND);
}

Test(evidence, clocks_that_drift_slowly_are_no_sleep) {
  fine();
  for (int i = 0; i < 1000; i++) {
    pass(10000);
    boot += policy.drift_ms;
    cr_assert_eq(fine(), TINKER__REC_WATCH_HEALTHY);
  }
}

/* A process that was stopped between the question and its answer. */
Test(evidence, an_answer_is_as_old_as_its_question) {
  fine();
  gone();
  int64_t asked = boot + 2000;
  pass(3600000);
  tinker__rec_observation_t o = {TINKER__REC_SOURCE_RECORD,
                                 TINKER__REC_VALUE_BAD,
                                 TINKER__REC_SIGN_GONE,
                                 asked,
                                 boot,
                                 mono};
  tinker__rec_evidence_add(&e, &o);
  cr_assert_eq(e.bad_at[TINKER__REC_SOURCE_RECORD], asked);
}

/* --- When ----------------------------------------------------------------- */

Test(evidence, readings_are_a_fifth_earlier_or_later) {
  int64_t least = INT64_MAX, most = 0;
  fine();
  for (int i = 0; i < 10000; i++) {
    int64_t ms = next(draw());
    if (ms < least) least = ms;
    if (ms > most) most = ms;
  }
  cr_assert_eq(least, 8000);
  cr_assert_eq(most, 12000);
}

Test(evidence, what_is_suspicious_is_looked_at_more_often_for_a_while) {
  cr_assert_eq(next(200), 2000); /* at the beginning, too */
  fine();
  cr_assert_eq(next(200), 10000);
  corrupted();
  cr_assert_eq(next(200), 2000);
  pass(policy.settle_ms);
  cr_assert_eq(next(200), 10000);
}

/* T3, with answers at once: seen within 12 s and an incident within 15 s; 5 s
 * for a model that is suspect already. */
Test(evidence, a_flag_is_found_in_time) {
  for (int run = 0; run < 20000; run++) {
    int64_t seen = 0;
    tinker__rec_evidence_begin(&e, &policy, boot, mono);
    fine();
    bool suspect = run % 2;
    if (suspect) calls(TINKER__REC_VALUE_BAD);
    if (suspect) calls(TINKER__REC_VALUE_OK);
    int64_t wait = next(draw());
    int64_t set = boot + draw() % wait;
    pass(wait);
    while (corrupted() != TINKER__REC_WATCH_INCIDENT) {
      seen = boot;
      pass(next(draw()));
    }
    cr_assert_leq(seen - set, suspect ? 2400 : 12000);
    cr_assert_leq(boot - set, suspect ? 5000 : 15000);
  }
}

/* --- Random walks --------------------------------------------------------- */

/* The rules by a second, slower way: an incident was preceded by two readings
 * of `corrupted`, by two of `gone` or one and failing calls close together, all
 * after the last gap. */
typedef struct {
  int corrupted;
  int64_t record, calls; /* boot clock of the last bad one; -1 = none */
} model_t;

static void model_void(model_t *m) {
  m->corrupted = 0;
  m->record = m->calls = -1;
}

static bool close_to(int64_t at) {
  return at >= 0 && boot - at <= policy.confirm_ms;
}

static bool model_bad(model_t *m, bool reading, bool shown) {
  bool enough = close_to(reading ? m->calls : m->record) ||
                (reading && close_to(m->record));
  if (shown && ++m->corrupted > 1) enough = true;
  *(reading ? &m->record : &m->calls) = boot;
  return enough;
}

static bool step(model_t *m) {
  pass(100 + draw() % 9000);
  switch (draw() % 12) {
  case 0: corrupted(); return model_bad(m, true, true);
  case 1: gone(); return model_bad(m, true, false);
  case 2: calls(TINKER__REC_VALUE_BAD); return model_bad(m, false, false);
  case 3:
    calls(TINKER__REC_VALUE_OK);
    m->calls = -1;
    return false;
  case 4:
    boot += 60000;
    fine();
    model_void(m);
    return false;
  case 5:
    paused();
    model_void(m);
    return false;
  case 6:
  case 7:
    nothing();
    if (e.state == TINKER__REC_WATCH_BLIND) model_void(m);
    return false;
  default:
    fine();
    m->record = -1;
    return false;
  }
}

Test(evidence, random_walks_end_where_the_rules_say) {
  int incidents = 0;
  for (int walk = 0; walk < 20000; walk++) {
    model_t m;
    bool expected = false;
    model_void(&m);
    tinker__rec_evidence_begin(&e, &policy, boot, mono);
    fine();
    for (int i = 0; i < 60 && !expected; i++) {
      tinker__rec_watch_state_t before = e.state;
      expected = step(&m);
      cr_assert_eq(e.state == TINKER__REC_WATCH_INCIDENT, expected,
                   "walk %d step %d", walk, i);
      if (expected) cr_assert_eq(before, TINKER__REC_WATCH_SUSPECT);
    }
    incidents += expected;
  }
  cr_assert(incidents > 1000 && incidents < 20000);
}
