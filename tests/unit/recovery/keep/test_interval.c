/* interval: the formula, and its bounds. */
#include "keep/interval.h"

#include <criterion/criterion.h>

static const tinker__rec_interval_t usual = TINKER__REC_INTERVAL_INIT;

Test(interval, it_is_the_root_of_twice_cost_and_mtbf) {
  cr_assert_eq(tinker__rec_interval(&usual, 8000), 240000);
  cr_assert_eq(tinker__rec_interval(&usual, 32000), 480000);
  tinker__rec_interval_t day = usual;
  day.mtbf_ms = 4 * usual.mtbf_ms;
  cr_assert_eq(tinker__rec_interval(&day, 8000), 480000);
}

Test(interval, it_has_bounds) {
  cr_assert_eq(tinker__rec_interval(&usual, 1), usual.min_ms);
  cr_assert_eq(tinker__rec_interval(&usual, 2000), 120000);
  cr_assert_eq(tinker__rec_interval(&usual, 450000), usual.max_ms);
  cr_assert_eq(tinker__rec_interval(&usual, INT64_MAX), usual.max_ms);
}

Test(interval, an_unknown_cost_gives_the_least) {
  cr_assert_eq(tinker__rec_interval(&usual, 0), usual.min_ms);
  cr_assert_eq(tinker__rec_interval(&usual, -1), usual.min_ms);
}

/* No other interval loses less: half of it a failure, and the saves. */
Test(interval, it_costs_the_least) {
  for (int64_t cost = 3000; cost < 200000; cost += 1000) {
    double at = (double)tinker__rec_interval(&usual, cost);
    double best = (double)cost / at + at / 2 / (double)usual.mtbf_ms;
    for (double other = at / 2; other < 2 * at; other *= 1.1) {
      double lost = (double)cost / other + other / 2 / (double)usual.mtbf_ms;
      cr_assert_leq(best, lost * 1.000001);
    }
  }
}
