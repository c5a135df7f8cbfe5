/* The examples of the fingerprint, which are the same for ever: a journal has
 * the answers of an earlier version. */
#include <criterion/criterion.h>
#include <math.h>

#include "base/digest.h"
#include "prove/probe.h"

Test(prove_probe, examples_never_change) {
  static const char *const want[TINKER__REC_PROBE_ITEMS] = {
      "18760d376b8a6fd79c3a64c346404d265f0bdbac7f756e4b71981f70fc08f6cb",
      "4dfe64116f31fff82ec3580f3d998b2c39b279ec2227cec138fb7c69d30899a6",
      "865ed98718503b2bbfc3f7691a698b40a9838c5cf474856b56a7e02b97050f3f",
      "640ec1d9c044ea6088cb87ae4044930856ad6c9748561d27e7187860c8addcc1"};
  tinker_datum_t *data[TINKER__REC_PROBE_ITEMS];
  tinker__rec_probe_make(data, NULL);
  for (size_t i = 0; i < TINKER__REC_PROBE_ITEMS; i++) {
    unsigned char digest[TINKER__SHA256_LEN];
    char hex[2 * TINKER__SHA256_LEN + 1];
    cr_assert_eq(tinker_datum_sha256(data[i], digest), 0);
    tinker__hex(digest, sizeof digest, hex);
    cr_expect_str_eq(hex, want[i]);
  }
  tinker__rec_probe_free(data);
  cr_assert_null(data[0]);
}

/* --- how far two fingerprints are apart --- */

#define DIFFER(a, b)                                                           \
  tinker__rec_probe_differ(a, sizeof(a) / sizeof *(a), b,                      \
                           sizeof(b) / sizeof *(b))

Test(prove_probe, the_largest_difference) {
  const float a[] = {1, -2, 3}, b[] = {1.5f, -2, 2.75f};
  cr_assert_eq(DIFFER(a, a), 0);
  cr_assert_eq(DIFFER(a, b), 0.5);
  cr_assert_eq(DIFFER(b, a), 0.5);
}

/* Half a unit of the last place counts. */
Test(prove_probe, the_smallest_difference) {
  const float a[] = {-1.25f}, b[] = {nextafterf(-1.25f, 0)};
  cr_assert_gt(DIFFER(a, b), 0);
}

/* What can't be compared is as far apart as can be, never equal. */
Test(prove_probe, what_can_not_be_compared) {
  const float a[] = {1, 2}, b[] = {1}, n[] = {1, NAN}, i[] = {1, INFINITY};
  cr_assert(isinf(DIFFER(a, b)));
  cr_assert(isinf(tinker__rec_probe_differ(a, 0, a, 0)));
  cr_assert(isinf(tinker__rec_probe_differ(NULL, 0, a, 2)));
  cr_assert(isinf(DIFFER(a, n)));
  cr_assert(isinf(DIFFER(n, n)));
  cr_assert(isinf(DIFFER(a, i)));
  cr_assert(isinf(DIFFER(i, i)));
}
