/* reserve: whatever fails while it is made, what is left of it is nothing. */
#include "run/reserve.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <tinker/error.h>
#include <unistd.h>

#include "made.h"
#include "support/file_script.h"

#define BYTES 800000

static tinker__rec_reserve_t reserve;
static tinker__file_script_t script;
static char why[300];

static void setup(void) {
  made_setup();
  tinker__file_script_init(&script);
}

TestSuite(reserve, .init = setup, .fini = made_teardown);

static int make(int fail_at, int64_t bytes) {
  tinker__file_script_begin(&script, fail_at);
  return tinker__rec_reserve_make(&reserve, &script.world, made_dir, bytes, why,
                                  sizeof why);
}

/* Its size; -1 = it is not there. */
static long size(void) {
  struct stat st;
  return stat(made_path("reserve"), &st) == 0 ? (long)st.st_size : -1;
}

Test(reserve, made_given_up_and_made_again) {
  cr_assert_eq(make(0, BYTES), 0, "%s", why);
  cr_assert_eq(size(), BYTES);
  cr_assert_not(atomic_load(&reserve.given));
  cr_assert_eq(make(0, BYTES), 0); /* by the next process */
  cr_assert_eq(script.calls, 0);
  cr_assert_eq(make(0, BYTES + 1), 0); /* that wants more */
  cr_assert_eq(size(), BYTES + 1);
  for (int i = 0; i < 2; i++) cr_assert(tinker__rec_reserve_give(&reserve));
  cr_assert_eq(size(), -1);
  cr_assert(atomic_load(&reserve.given));
  cr_assert_eq(tinker__rec_reserve_refill(&reserve, why, sizeof why), 0);
  cr_assert_not(atomic_load(&reserve.given));
  cr_assert_eq(size(), BYTES + 1);
}

Test(reserve, each_call_fails) {
  int failed = 0;
  for (int n = 1; make(n, BYTES) != 0; n++) {
    cr_assert_eq(size(), -1, "call %d", n);
    cr_assert(strstr(why, "bytes are kept for the end of an incident"));
    failed++;
    tinker__file_script_begin(&script, 1);
    cr_assert_eq(tinker__rec_reserve_refill(&reserve, why, sizeof why),
                 TINKER_EIO);
  }
  cr_assert_geq(failed, 5); /* open, and four writes */
  cr_assert_eq(size(), BYTES);
}

Test(reserve, a_path_that_is_too_long) {
  static char dir[2 * sizeof reserve.path];
  memset(dir, 'x', sizeof dir - 1);
  cr_assert_eq(tinker__rec_reserve_make(&reserve, &script.world, dir, BYTES,
                                        why, sizeof why),
               TINKER_EOVERFLOW);
}
