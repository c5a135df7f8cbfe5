/* probe: how far two fingerprints are apart. */
#include <criterion/criterion.h>
#include <math.h>

#include "run/run.h"

#define DIFFER(a, b)                                                           \
  tinker__rec_probe_differ(a, sizeof(a) / sizeof *(a), b,                      \
                           sizeof(b) / sizeof *(b))

Test(probe, the_largest_difference) {
  const float a[] = {1, -2, 3}, b[] = {1.5f, -2, 2.75f};
  cr_assert_eq(DIFFER(a, a), 0);
  cr_assert_eq(DIFFER(a, b), 0.5);
  cr_assert_eq(DIFFER(b, a), 0.5);
}

/* Half a unit of the last place counts. */
Test(probe, the_smallest_difference) {
  const float a[] = {-1.25f}, b[] = {nextafterf(-1.25f, 0)};
  cr_assert_gt(DIFFER(a, b), 0);
}

/* What can't be compared is as far apart as can be, never equal. */
Test(probe, what_can_not_be_compared) {
  const float a[] = {1, 2}, b[] = {1}, n[] = {1, NAN}, i[] = {1, INFINITY};
  cr_assert(isinf(DIFFER(a, b)));
  cr_assert(isinf(tinker__rec_probe_differ(a, 0, a, 0)));
  cr_assert(isinf(tinker__rec_probe_differ(NULL, 0, a, 2)));
  cr_assert(isinf(DIFFER(a, n)));
  cr_assert(isinf(DIFFER(n, n)));
  cr_assert(isinf(DIFFER(a, i)));
  cr_assert(isinf(DIFFER(i, i)));
}
