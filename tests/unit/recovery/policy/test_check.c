/* The daemon's command "check". */
#include "policy/check.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <tinker/error.h>
#include <unistd.h>

#include "support/fail_alloc.h"

static char path[] = "/tmp/tinker-check-XXXXXX";

static void put(const char *text) {
  FILE *f = fopen(path, "w");
  cr_assert_not_null(f);
  fputs(text, f);
  fclose(f);
}

static void begin(void) {
  int fd = mkstemp(path);
  cr_assert_geq(fd, 0);
  close(fd);
}

static void end(void) {
  unlink(path);
}

static int check(tinker__mem_t *mem, tinker__buf_t *out,
                 tinker__buf_t *faults) {
  const tinker__rec_times_t times = tinker__rec_times_assumed();
  tinker__buf_init(out, mem, 100000);
  tinker__buf_init(faults, mem, 100000);
  return tinker__rec_policy_check(mem, tinker__world_real(), path, &times, out,
                                  faults);
}

static const char good[] =
    "version: 1\nruns:\n- match: {name: a}\n  checkpoint: {"
    "interval: {mode: steps, steps: 20}}\n  trainer: {kill_after: 1m, "
    "hang_after: 34s}\n- match: {}\n  checkpoint: {validate: before_use}\n";

Test(check, exit_codes, .init = begin, .fini = end) {
  tinker__mem_t mem;
  tinker__buf_t out, faults;
  tinker__mem_init(&mem, NULL, 0);
  put(good);
  cr_assert_eq(check(&mem, &out, &faults), TINKER__REC_CHECK_GOOD);
  cr_assert_eq(faults.len, 0);
  tinker__buf_free(&out);
  put("version: 1\nname: a\n");
  cr_assert_eq(check(&mem, &out, &faults), TINKER__REC_CHECK_BAD);
  cr_assert_eq(out.len, 0);
  cr_assert(strstr(tinker__buf_cstr(&faults), ":2:1: key 'name': unknown key"));
  tinker__buf_free(&faults);
  unlink(path);
  cr_assert_eq(check(&mem, &out, &faults), TINKER__REC_CHECK_UNREAD);
  cr_assert(strstr(tinker__buf_cstr(&faults), "No such file"));
  tinker__buf_free(&faults);
  cr_assert_eq(mem.live_blocks, 0);
}

/* The output is the policy: it can be checked again. */
Test(check, output, .init = begin, .fini = end) {
  tinker__mem_t mem;
  tinker__buf_t out, again, faults;
  tinker__mem_init(&mem, NULL, 0);
  put(good);
  cr_assert_eq(check(&mem, &out, &faults), 0);
  static const char *const lines[] = {
      "\ndefaults:\n  enabled: true\n",
      "\n  - match: {name: a}\n    checkpoint:\n      interval:\n",
      "\n# worst case of the defaults\n#  with steps of 10s, saves of 2s, loads "
      "of 500ms\n",
      "\n#  the model is corrupted                       181        31.0  F01, "
      "T3, T6, T8, I6\n",
      "\n#  saves fail, then the model is lost      no bound    no bound  "
      "F49\n",
      "\n#  the account is blocked                         0    no bound  "
      "F86\n",
      "\n#  the trainer hangs                              0    no bound  F61, "
      "T4, T6, T7\n",
      "\n# worst case of runs[0]\n",
      "\n#  the model is corrupted                        21         4.3  F01, "
      "T3, T6, T8, I6\n",
      "\n#  the trainer hangs                              0         1.6  F61, "
      "T4, T6, T7\n",
      "\n#  each save: 4 data forwarded, a load (500ms) before it is used or "
      "another one is deleted\n",
      "\n#  optimizer canary: 3 loads and 3 steps (31500ms) for each base and "
      "day\n"};
  for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++) {
    cr_assert(strstr(tinker__buf_cstr(&out), lines[i]), "no %s in %s", lines[i],
              out.data);
  }
  put(out.data);
  cr_assert_eq(check(&mem, &again, &faults), 0, "%s",
               tinker__buf_cstr(&faults));
  cr_assert_str_eq(tinker__buf_cstr(&again), out.data);
  tinker__buf_free(&out);
  tinker__buf_free(&again);
  cr_assert_eq(mem.live_blocks, 0);
}

static int check_once(tinker__mem_t *mem, void *user) {
  tinker__buf_t out, faults;
  (void)user;
  int code = check(mem, &out, &faults);
  tinker__buf_free(&out);
  tinker__buf_free(&faults);
  return code == TINKER__REC_CHECK_UNREAD ? TINKER_ENOMEM : code;
}

Test(check, without_memory, .init = begin, .fini = end) {
  put(good);
  cr_assert_gt(tinker__fail_sweep(check_once, NULL, TINKER_ENOMEM), 10);
}
