/* time_limit: part of every program of tests. Ends a test that has run for
 * TINKER_TEST_LIMIT seconds, a variable of the environment, so that the one
 * that hangs is named; without the variable nothing ends it.
 *
 * Criterion's own --timeout can only lower a limit that a test states. Its
 * limits are kept by the runner, which loses some of them when tests of
 * different limits run beside each other; this one is the kernel's alarm in the
 * process of the test. */
#include <criterion/criterion.h>
#include <criterion/hooks.h>
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
