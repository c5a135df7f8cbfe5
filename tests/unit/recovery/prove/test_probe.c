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

Test(prove_probe, differences) {
  const float a[3] = {1, 2, 3}, b[3] = {1, 2.5f, 2};
  const float odd[3] = {1, NAN, 3}, far[3] = {1, INFINITY, 3};
  cr_assert_eq(tinker__rec_probe_differ(a, 3, a, 3), 0);
  cr_assert_eq(tinker__rec_probe_differ(a, 3, b, 3), 1);
  cr_assert_eq(tinker__rec_probe_differ(a, 2, b, 2), 0.5);
  cr_assert(isinf(tinker__rec_probe_differ(a, 3, b, 2)));
  cr_assert(isinf(tinker__rec_probe_differ(a, 0, b, 0)));
  cr_assert(isinf(tinker__rec_probe_differ(a, 3, odd, 3)));
  cr_assert(isinf(tinker__rec_probe_differ(odd, 3, odd, 3)));
  cr_assert(isinf(tinker__rec_probe_differ(far, 3, far, 3)));
  cr_assert(isinf(tinker__rec_probe_differ(a, 3, far, 3)));
}
