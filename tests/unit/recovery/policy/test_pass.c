/* What a run's process hears of a policy file. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>
#include <tinker/error.h>

#include "policy/policy.h"
#include "support/fail_alloc.h"

static tinker__mem_t mem;

/* What is passed of the i-th run of a file: a text that reads back. */
static void passed(const char *text, size_t i, char out[4000],
                   tinker__rec_policy_file_t **again) {
  tinker__rec_policy_file_t *file = NULL;
  tinker__buf_t b, report;
  tinker__buf_init(&b, &mem, 4000);
  tinker__buf_init(&report, &mem, 4000);
  cr_assert_eq(
      tinker__rec_policy_parse(&file, &mem, tinker__str(text), "p", &report), 0,
      "%s", tinker__buf_cstr(&report));
  tinker__rec_policy_pass(file, i, &b);
  snprintf(out, 4000, "%s", tinker__buf_cstr(&b));
  cr_assert_eq(tinker__rec_policy_parse(again, &mem, tinker__str(out), "passed",
                                        &report),
               0, "%s: %s", out, tinker__buf_cstr(&report));
  tinker__rec_policy_free(file);
  tinker__buf_free(&b);
  tinker__buf_free(&report);
}

static const char two[] = "version: 1\n"
                          "defaults:\n"
                          "  gate: strict\n"
                          "  attempts: {no_progress_cycles: 7}\n"
                          "  limits: {concurrent_recoveries: 9}\n"
                          "runs:\n"
                          "- match: {name: a}\n"
                          "  trainer: {argv: [./a]}\n"
                          "- match: {name: b}\n"
                          "  resume: {require: V4}\n"
                          "  checkpoint: {interval: {mode: steps, steps: 7}}\n"
                          "  trainer: {argv: [./b]}\n";

/* A run's own values, those of the defaults, and those of nobody; of what a
 * program's options say too only what the file sets, and nothing that is the
 * daemon's. */
Test(pass, what_a_run_hears) {
  char text[4000];
  tinker__rec_policy_file_t *f = NULL;
  tinker__mem_init(&mem, NULL, 0);
  passed(two, 1, text, &f);
  cr_assert_not(strchr(text, '\n'));
  cr_assert(f->defaults.resume.require == 4 &&
            f->defaults.checkpoint.interval.steps == 7 &&
            f->defaults.gate == TINKER__REC_GATE_STRICT &&
            f->host.concurrent_recoveries == 9);
  cr_assert(tinker__yaml_has(f->yaml, "defaults.checkpoint.interval.steps"));
  cr_assert(tinker__yaml_has(f->yaml, "defaults.resume.max_rollback_steps"));
  cr_assert_not(tinker__yaml_has(f->yaml, "defaults.detect.poll.idle"));
  cr_assert_not(tinker__yaml_has(f->yaml, "defaults.attempts"), "%s", text);
  cr_assert_not(tinker__yaml_has(f->yaml, "runs"));
  tinker__rec_policy_free(f);
  passed(two, 0, text, &f);
  cr_assert_eq(f->defaults.resume.require, 3);
  cr_assert(tinker__yaml_has(f->yaml, "defaults.gate"));
  cr_assert_not(tinker__yaml_has(f->yaml, "defaults.checkpoint.interval"));
  tinker__rec_policy_free(f);
  cr_assert_eq(mem.live_blocks, 0);
}

static int pass_once(tinker__mem_t *m, void *user) {
  tinker__rec_policy_file_t *file;
  tinker__buf_t b;
  (void)user;
  int rc = tinker__rec_policy_parse(&file, m, tinker__str(two), "p", NULL);
  if (rc != 0) return rc;
  tinker__buf_init(&b, m, 4000);
  tinker__rec_policy_pass(file, 1, &b);
  rc = tinker__buf_error(&b);
  tinker__buf_free(&b);
  tinker__rec_policy_free(file);
  return rc;
}

Test(pass, without_memory) {
  cr_assert_gt(tinker__fail_sweep(pass_once, NULL, TINKER_ENOMEM), 3);
}
