/* A run of appends needs one check at its end: the first error is kept, and
 * nothing is written behind it. */
#include "base/buf.h"

#include <criterion/criterion.h>
#include <string.h>
#include <tinker/error.h>

Test(buf, the_first_error_counts) {
  tinker__mem_t mem;
  tinker__buf_t b;
  tinker__mem_init(&mem, NULL, 0);
  tinker__buf_init(&b, &mem, 10);
  cr_assert_eq(tinker__buf_adds(&b, "abc"), 0);
  cr_assert_eq(tinker__buf_fail(&b, TINKER_EINVAL), TINKER_EINVAL);
  cr_assert_eq(tinker__buf_fail(&b, TINKER_ENOMEM), TINKER_EINVAL);
  cr_assert_eq(tinker__buf_adds(&b, "d"), TINKER_EINVAL);
  cr_assert_eq(tinker__buf_adds(&b, "longer than it may be"), TINKER_EINVAL);
  cr_assert_eq(tinker__buf_error(&b), TINKER_EINVAL);
  cr_assert_eq(b.len, 3u);
  cr_assert_null(tinker__buf_cstr(&b));
  tinker__buf_clear(&b);
  cr_assert_eq(tinker__buf_adds(&b, "longer than it may be"), TINKER_EOVERFLOW);
  cr_assert_eq(tinker__buf_adds(&b, "d"), TINKER_EOVERFLOW);
  cr_assert_eq(b.len, 0u);
  tinker__buf_free(&b);
}
