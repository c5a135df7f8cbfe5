/* stuck: what is too late, and what is nobody's fault, in a test's own time. */
#include <criterion/criterion.h>

#include "monitor/stuck.h"

enum { MINUTE = 60000 };
static const tinker__rec_stuck_policy_t policy = TINKER__REC_STUCK_POLICY_INIT;
static tinker__rec_stuck_t s;
static tinker__rec_wait_look_t now;

static void setup(void) {
  now = (tinker__rec_wait_look_t){.boot_ms = 5000000, .now_ms = 1000000};
  tinker__rec_stuck_begin(&s, &policy, &now);
}

TestSuite(stuck, .init = setup);

static tinker__rec_wait_t after(int64_t ms) {
  now.boot_ms += ms;
  now.now_ms += ms;
  return tinker__rec_stuck_add(&s, &now);
}

/* One look a minute. */
static tinker__rec_wait_t minutes(int64_t n) {
  tinker__rec_wait_t found = TINKER__REC_WAIT_FINE;
  for (int64_t i = 0; i < n; i++) found = after(MINUTE);
  return found;
}

static void wait(void) {
  now.waits = true;
  after(0);
}

static void result(void) {
  now.results++;
  after(0);
}

Test(stuck, late_after_20_minutes_and_stuck_after_2_hours) {
  wait();
  cr_assert_eq(minutes(19), TINKER__REC_WAIT_FINE);
  cr_assert_eq(minutes(1), TINKER__REC_WAIT_LATE);
  cr_assert_eq(minutes(99), TINKER__REC_WAIT_LATE);
  cr_assert_eq(minutes(1), TINKER__REC_WAIT_STUCK);
}

Test(stuck, nothing_is_late_that_nobody_waits_for) {
  cr_assert_eq(minutes(1000), TINKER__REC_WAIT_FINE);
  wait();
  cr_assert_eq(minutes(19), TINKER__REC_WAIT_FINE);
  now.waits = false;
  after(0);
  wait();
  cr_assert_eq(minutes(19), TINKER__REC_WAIT_FINE);
}

Test(stuck, results_that_come_are_progress) {
  wait();
  for (int i = 0; i < 100; i++) {
    cr_assert_eq(minutes(19), TINKER__REC_WAIT_FINE);
    result();
  }
}

Test(stuck, what_is_known_to_hold_it_up_does_not_count) {
  wait();
  minutes(119);
  now.held = true;
  minutes(6 * 60);
  now.held = false;
  after(0);
  cr_assert_neq(tinker__rec_stuck_add(&s, &now), TINKER__REC_WAIT_STUCK);
  cr_assert_eq(minutes(1), TINKER__REC_WAIT_STUCK);
}

Test(stuck, a_machine_that_sleeps_waits_for_nothing) {
  wait();
  now.boot_ms += 8 * 60 * MINUTE;
  cr_assert_eq(after(MINUTE), TINKER__REC_WAIT_FINE);
  cr_assert_eq(minutes(19), TINKER__REC_WAIT_FINE);
  cr_assert_eq(minutes(1), TINKER__REC_WAIT_LATE);
  now.boot_ms -= MINUTE; /* nor does a clock that is set back */
  cr_assert_eq(after(0), TINKER__REC_WAIT_LATE);
}

Test(stuck, where_results_take_long_more_is_waited) {
  for (int i = 0; i < 5; i++) {
    wait();
    minutes(15);
    result();
  }
  cr_assert_eq(minutes(149), TINKER__REC_WAIT_FINE);
  cr_assert_eq(minutes(1), TINKER__REC_WAIT_STUCK);
}

/* One of 128 that took long is not what is usual. */
Test(stuck, one_that_took_long_changes_nothing) {
  wait();
  for (int i = 0; i < 200; i++) {
    minutes(i == 150 ? 18 : 1);
    result();
  }
  cr_assert_eq(minutes(19), TINKER__REC_WAIT_FINE);
  cr_assert_eq(minutes(1), TINKER__REC_WAIT_LATE);
}

Test(stuck, never_without_a_limit) {
  tinker__rec_stuck_policy_t patient = policy;
  patient.hard_ms = 0;
  tinker__rec_stuck_begin(&s, &patient, &now);
  wait();
  cr_assert_eq(minutes(10000), TINKER__REC_WAIT_LATE);
}

Test(stuck, looks_are_as_close_as_the_limit_needs) {
  tinker__rec_stuck_policy_t quick = policy;
  cr_assert_eq(tinker__rec_stuck_next(&s), 30000);
  quick.soft_ms = 80000;
  tinker__rec_stuck_begin(&s, &quick, &now);
  cr_assert_eq(tinker__rec_stuck_next(&s), 10000);
  quick.soft_ms = 1;
  tinker__rec_stuck_begin(&s, &quick, &now);
  cr_assert_eq(tinker__rec_stuck_next(&s), 20);
}
