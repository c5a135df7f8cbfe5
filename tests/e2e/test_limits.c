/* Two tests that run beside each other: the one that starts later has to end
 * sooner. The program that runs them must lose neither limit. */
#include <criterion/criterion.h>
#include <poll.h>
#include <stdio.h>
#include <unistd.h>

/* Common to both processes, which are children of the same one. */
static const char *sign(void) {
  static char path[60];
  snprintf(path, sizeof(path), "/tmp/tinker-limits-%d", (int)getppid());
  return path;
}

Test(limits, a_long_one_starts_first, .timeout = 3600) {
  while (access(sign(), F_OK)) poll(NULL, 0, 1);
  cr_assert_eq(unlink(sign()), 0);
}

Test(limits, b_short_one_starts_later, .timeout = 120) {
  FILE *file = fopen(sign(), "w");
  cr_assert(file);
  cr_assert_eq(fclose(file), 0);
}
