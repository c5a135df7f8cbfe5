#include <criterion/criterion.h>
#include <string.h>

#include "daemon.h"

/* The names of what is kept, one behind the other. */
static void check(const char *const *allow, size_t n, const char *own,
                  const char *want) {
  static char all[][12] = {"PATH=/bin", "PATHS=1", "HOME=/h",   "SECRET=x",
                           "TINKER_A=", "TINKER",  "LC_ALL=C=D"};
  char *list[8] = {NULL};
  for (int i = 0; i < 7; i++) list[i] = all[i];
  char text[200] = "";
  tinker__mem_t mem;
  tinker__mem_init(&mem, NULL, 0);
  char **env = tinker__rec_env_pick(&mem, list, allow, n, own);
  cr_assert(env);
  for (char **e = env; *e; e++) {
    strncat(text, *e, sizeof text - strlen(text) - 1);
    strncat(text, " ", 2);
  }
  cr_assert_str_eq(text, want);
  tinker__mem_free(&mem, env);
  cr_assert_eq(mem.live_blocks, 0);
}

Test(env, names_and_beginnings) {
  const char *const allow[] = {"PATH", "TINKER_*", "LC_*", "GONE"};
  check(allow, 4, NULL, "PATH=/bin TINKER_A= LC_ALL=C=D ");
  check(allow, 1, NULL, "PATH=/bin ");
  check(allow, 0, NULL, "");
}

/* What the daemon sets itself stands alone, whatever is allowed. */
Test(env, its_own) {
  const char *const allow[] = {"PATH", "TINKER_*"};
  check(allow, 2, "TINKER_A=own", "PATH=/bin TINKER_A=own ");
  check(allow, 0, "TINKER_A=own", "TINKER_A=own ");
}

Test(env, without_memory) {
  char *list[] = {NULL};
  tinker__mem_t mem;
  tinker__mem_init(&mem, NULL, 0);
  mem.fail_at = 1;
  cr_assert_null(tinker__rec_env_pick(&mem, list, NULL, 0, NULL));
}
