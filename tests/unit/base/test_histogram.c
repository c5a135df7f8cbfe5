/* Percentiles from counters against those of the sorted times themselves. */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "base/histogram.h"

enum { MOST = 20000 };

static tinker__histogram_t h;
static tinker__histogram_copy_t copy;
static int64_t times[MOST];
static size_t n;

static void begin(void) {
  memset(&h, 0, sizeof h);
  memset(&copy, 0, sizeof copy);
  n = 0;
}

static void add(int64_t ms) {
  tinker__histogram_add(&h, ms);
  times[n++] = ms;
}

static int by_length(const void *a, const void *b) {
  int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
  return (x > y) - (x < y);
}

/* Every percentile: not below the true one, at most an eighth above it. */
static void compare(const char *what) {
  qsort(times, n, sizeof *times, by_length);
  tinker__histogram_read(&h, &copy);
  cr_assert_eq(copy.count, n, "%s", what);
  cr_assert_eq(copy.max_ms, times[n - 1], "%s", what);
  for (unsigned p = 1; p <= 100; p++) {
    size_t rank = (n * p + 99) / 100;
    int64_t truth = times[rank - 1];
    int64_t got = tinker__histogram_percentile(&copy, p);
    cr_assert(got >= truth && got <= truth + truth / 8,
              "%s, %zu times: p%u is %lld, want %lld", what, n, p,
              (long long)got, (long long)truth);
  }
}

static unsigned seed = 1;

static int64_t draw(int64_t below) {
  seed = seed * 1103515245u + 12345u;
  return (int64_t)(seed >> 8) % below;
}

Test(histogram, none_and_one) {
  begin();
  tinker__histogram_read(&h, &copy);
  cr_assert_eq(copy.count, 0u);
  for (unsigned p = 1; p <= 100; p++) {
    cr_assert_eq(tinker__histogram_percentile(&copy, p), 0);
  }
  static const int64_t ones[] = {0, 1, 7, 8, 999, 1000, 3600000, 1LL << 40};
  for (size_t i = 0; i < sizeof ones / sizeof *ones; i++) {
    begin();
    add(ones[i]);
    tinker__histogram_read(&h, &copy);
    cr_assert_eq(tinker__histogram_percentile(&copy, 1), ones[i]);
    cr_assert_eq(tinker__histogram_percentile(&copy, 100), ones[i]);
  }
}

Test(histogram, of_all_shapes) {
  for (size_t count = 1; count < MOST; count = count * 3 + 1) {
    begin();
    for (size_t i = 0; i < count; i++) add(draw(5000));
    compare("even");
    begin();
    for (size_t i = 0; i < count; i++) add(1 + draw(1 << draw(24)));
    compare("of all lengths");
    begin();
    for (size_t i = 0; i < count; i++) add(draw(10) ? 0 : 60000 + draw(30000));
    compare("mostly none");
  }
}

/* Each length has a counter that says it to an eighth: the one above it is
 * another's. */
Test(histogram, no_length_is_lost_between_counters) {
  for (int64_t ms = 0; ms < 1 << 26; ms += 1 + ms / 100) {
    begin();
    add(ms);
    add(INT64_MAX);
    tinker__histogram_read(&h, &copy);
    int64_t got = tinker__histogram_percentile(&copy, 50);
    cr_assert(got >= ms && got <= ms + ms / 8, "%lld is %lld", (long long)ms,
              (long long)got);
  }
}

Test(histogram, times_that_cannot_be) {
  begin();
  tinker__histogram_add(&h, -5);
  tinker__histogram_add(&h, INT64_MIN);
  tinker__histogram_read(&h, &copy);
  cr_assert_eq(copy.count, 2u);
  cr_assert_eq(copy.max_ms, 0);
  cr_assert_eq(tinker__histogram_percentile(&copy, 99), 0);
  tinker__histogram_add(&h, INT64_MAX);
  memset(&copy, 0, sizeof copy);
  tinker__histogram_read(&h, &copy);
  cr_assert_eq(tinker__histogram_percentile(&copy, 100), INT64_MAX);
}

/* A copy of two is what one with the times of both would have been. */
Test(histogram, two_in_a_copy) {
  tinker__histogram_t other = {0};
  begin();
  for (int i = 0; i < 3000; i++) add(draw(100));
  for (int i = 0; i < 1000; i++) {
    times[n] = 1000 + draw(100);
    tinker__histogram_add(&other, times[n++]);
  }
  tinker__histogram_read(&other, &copy);
  compare("of two");
}

/* So many that a share of them is no product. */
Test(histogram, counts_without_end) {
  begin();
  copy.counters[3] = UINT64_MAX / 2;
  copy.counters[5] = UINT64_MAX / 2;
  copy.count = UINT64_MAX / 2 * 2;
  copy.max_ms = 5;
  cr_assert_eq(tinker__histogram_percentile(&copy, 49), 3);
  cr_assert_eq(tinker__histogram_percentile(&copy, 51), 5);
  cr_assert_eq(tinker__histogram_percentile(&copy, 100), 5);
}
