/* What a policy costs, by hand. */
#include "policy/worst.h"

#include <criterion/criterion.h>
#include <string.h>

static const tinker__rec_worst_t *row(const tinker__rec_worst_t *rows, size_t n,
                                      const char *from) {
  for (size_t i = 0; i < n; i++) {
    if (strncmp(rows[i].from, from, strlen(from)) == 0) return &rows[i];
  }
  cr_assert_fail("no row of %s", from);
  return NULL;
}

#define IS(from, lost, time)                                                   \
  do {                                                                         \
    const tinker__rec_worst_t *w = row(rows, n, from);                         \
    cr_assert_eq(w->steps, lost, "%s: %lld steps", from, (long long)w->steps); \
    cr_assert_eq(w->ms, time, "%s: %lld ms", from, (long long)w->ms);          \
  } while (0)

Test(worst, defaults) {
  tinker__rec_policy_t p;
  tinker__rec_worst_t rows[TINKER__REC_WORST_MAX];
  tinker__rec_times_t t = {10000, 2000, 500, 15000, 30000};
  tinker__rec_policy_default(&p);
  size_t n = tinker__rec_worst_case(&p, &t, rows);
  cr_assert_leq(n, TINKER__REC_WORST_MAX);
  /* 30 minutes of steps, and one: I6. */
  cr_assert_eq(tinker__rec_worst_interval(&p, &t), 180);
  IS("F60", 0, 550);
  /* What is set; a tick; the time to end. */
  IS("F61", 0, 30000 + 1000 + 15000 + 500);
  /* One poll and one more read, 20 % late: within T3's 12 s of a poll of 10 s
   * and the second read. Then four loads, the canary's three steps, R4's
   * second, the lost steps. */
  const int64_t seen = 12000 + 2400;
  IS("F01", 181, seen + 2000 + 30000 + 1000 + 1810000);
  IS("F15", 181, TINKER__REC_UNBOUNDED);
  IS("F46", 500, seen + 2000 + 30000 + 1000 + 5000000);
  IS("F49", TINKER__REC_UNBOUNDED, TINKER__REC_UNBOUNDED);
  IS("F48", 0, 3 * (2000 + 30000 + 1000));
  IS("F86", 0, TINKER__REC_UNBOUNDED);
  IS("F14", 0, TINKER__REC_UNBOUNDED);
  cr_assert(row(rows, n, "F48")->stops && !row(rows, n, "F01")->stops);
}

Test(worst, follows_the_policy) {
  tinker__rec_policy_t p;
  tinker__rec_worst_t rows[TINKER__REC_WORST_MAX];
  tinker__rec_times_t t = {3600000, 2000, 0, 0, TINKER__REC_NO_LIMIT};
  tinker__rec_policy_default(&p);
  p.attempts.same_root = 2;
  cr_assert_eq(tinker__rec_worst_interval(&p, &t), 1); /* one is not less */
  p.checkpoint.interval.mode = TINKER__REC_INTERVAL_STEPS;
  p.checkpoint.interval.steps = 7;
  p.resume.max_rollback_steps = 3; /* less than one interval needs */
  t.step_ms = 1000;
  size_t n = tinker__rec_worst_case(&p, &t, rows);
  IS("F01", 8, 12000 + 2400 + 3000 + 1000 + 8000);
  IS("F46", 8, 12000 + 2400 + 3000 + 1000 + 8000);
  IS("F48", 0, 2 * (3000 + 1000));
  IS("F61", 0, TINKER__REC_UNBOUNDED);
}

/* The largest values of a policy don't overflow a sum. */
Test(worst, no_overflow) {
  tinker__rec_policy_t p;
  tinker__rec_worst_t rows[TINKER__REC_WORST_MAX];
  tinker__rec_times_t t = {INT64_MAX, INT64_MAX, INT64_MAX, INT64_MAX,
                           INT64_MAX};
  tinker__rec_policy_default(&p);
  p.resume.max_rollback_steps = 1000000000;
  size_t n = tinker__rec_worst_case(&p, &t, rows);
  for (size_t i = 0; i < n; i++) {
    cr_assert(rows[i].ms >= TINKER__REC_UNBOUNDED, "%s", rows[i].what);
    cr_assert(rows[i].steps >= TINKER__REC_UNBOUNDED, "%s", rows[i].what);
  }
  t = (tinker__rec_times_t){0};
  n = tinker__rec_worst_case(&p, &t, rows);
  cr_assert_eq(tinker__rec_worst_interval(&p, &t), 1800000);
}
