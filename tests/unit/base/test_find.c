/* The first bad value is found wherever it stands, in blocks and behind them.
 */
#include "base/find.h"

#include <criterion/criterion.h>
#include <float.h>
#include <math.h>

enum { N = 200 };

Test(find, the_first_negative) {
  int32_t v[N];
  for (size_t i = 0; i < N; i++) v[i] = i % 2 ? INT32_MAX : 0;
  for (size_t n = 0; n <= N; n++) cr_assert_eq(tinker__find_negative(v, n), n);
  for (size_t at = 0; at < N; at++) {
    v[at] = at % 2 ? INT32_MIN : -1;
    v[N - 1] = -1;
    cr_assert_eq(tinker__find_negative(v, N), at);
    cr_assert_eq(tinker__find_negative(v, at), at);
    v[at] = 5;
    v[N - 1] = 0;
  }
}

Test(find, the_first_that_is_no_id) {
  static const int64_t bad[] = {-1, INT32_MAX + INT64_C(1), INT64_MIN,
                                INT64_MAX};
  int64_t v[N];
  for (size_t i = 0; i < N; i++) v[i] = i % 2 ? INT32_MAX : 0;
  for (size_t n = 0; n <= N; n++) cr_assert_eq(tinker__find_no_id(v, n), n);
  for (size_t at = 0; at < N; at++) {
    v[at] = bad[at % 4];
    v[N - 1] = -1;
    cr_assert_eq(tinker__find_no_id(v, N), at);
    cr_assert_eq(tinker__find_no_id(v, at), at);
    v[at] = 5;
    v[N - 1] = 0;
  }
}

Test(find, the_first_that_is_not_finite) {
  static const float bad[] = {INFINITY, -INFINITY, NAN, -NAN};
  float v[N];
  for (size_t i = 0; i < N; i++) v[i] = i % 2 ? FLT_MAX : -FLT_TRUE_MIN;
  for (size_t n = 0; n <= N; n++) {
    cr_assert_eq(tinker__find_nonfinite(v, n), n);
  }
  for (size_t at = 0; at < N; at++) {
    v[at] = bad[at % 4];
    v[N - 1] = NAN;
    cr_assert_eq(tinker__find_nonfinite(v, N), at);
    cr_assert_eq(tinker__find_nonfinite(v, at), at);
    v[at] = -FLT_MAX;
    v[N - 1] = 0;
  }
}
