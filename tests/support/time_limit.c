/* time_limit: part of every program of tests. Ends a test that has run for
 * TINKER_TEST_LIMIT seconds, a variable of the environment, so that the one
 * that hangs is named; without the variable nothing ends it. This limit is the
 * kernel's alarm in the process of the test.
 *
 * Criterion's own --timeout can only lower a limit that a test states. The
 * runner keeps the limits of the running tests in a list by the time they end,
 * and a limit that it puts in front of others cuts these off: their tests may
 * run for ever, and the leak sanitizer finds them lost. Tests that run beside
 * each other therefore get the same limit here, so that each is put last. */
#include <criterion/criterion.h>
#include <criterion/hooks.h>
#include <criterion/internal/ordered-set.h>
#include <criterion/options.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static unsigned limit_s(void) {
  const char *text = getenv("TINKER_TEST_LIMIT");
  return text ? (unsigned)strtoul(text, NULL, 10) : 0;
}

/* Criterion runs the program anew for each test, with this variable. */
__attribute__((constructor)) static void set_alarm(void) {
  if (getenv("BXFI_MAP")) alarm(limit_s());
}

/* In the runner. */
ReportHook(TEST_CRASH)(struct criterion_test_stats *stats) {
  if (stats->signal != SIGALRM) return;
  fprintf(stderr, "%s::%s: SIGALRM: it had not ended after %u s\n",
          stats->test->category, stats->test->name, limit_s());
}

/* As Criterion takes it from a test and its suite; 0 = none. */
static double stated(const struct criterion_suite_set *suite,
                     const struct criterion_test *test) {
  if (test->data->disabled) return 0;
  if (test->data->timeout > 0) return test->data->timeout;
  return suite->suite.data ? suite->suite.data->timeout : 0;
}

static double longest_of(const struct criterion_suite_set *suite) {
  double longest = 0;
  if (!suite->tests) return 0;
  FOREACH_SET(const struct criterion_test *test, suite->tests) {
    double limit = stated(suite, test);
    if (limit > longest) longest = limit;
  }
  return longest;
}

static void limit_all(const struct criterion_suite_set *suite, double limit) {
  if (!suite->tests) return;
  FOREACH_SET(const struct criterion_test *test, suite->tests) {
    if (stated(suite, test) > 0) test->data->timeout = limit;
  }
}

/* In the runner, before the first test. */
ReportHook(PRE_ALL)(struct criterion_test_set *set) {
  double longest = 0;
  if (criterion_options.jobs == 1) return;
  FOREACH_SET(const struct criterion_suite_set *suite, set->suites) {
    double limit = longest_of(suite);
    if (limit > longest) longest = limit;
  }
  FOREACH_SET(const struct criterion_suite_set *suite, set->suites) {
    limit_all(suite, longest);
  }
}
