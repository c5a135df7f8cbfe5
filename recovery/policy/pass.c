/* pass: what a policy file says of one run, for the process that has the run.
 * One line of YAML, which is a policy file itself. */
#include <stdio.h>
#include <string.h>

#include "policy/policy.h"

/* Keys that nothing but a policy says: they are passed with their defaults. */
static const char *const always[] = {"durability",
                                     "detect.poll.suspect",
                                     "detect.confirm.within",
                                     "detect.loss.spike.robust_z",
                                     "detect.loss.spike.min_ratio",
                                     "detect.loss.spike.window",
                                     "detect.loss.spike.warmup",
                                     "detect.loss.flatline.repeats",
                                     "checkpoint.retain.every_fraction",
                                     "checkpoint.retain.first",
                                     "checkpoint.retain.min_validated",
                                     "resume.require",
                                     "resume.optimizer_canary",
                                     "resume.max_rollback_steps",
                                     "resume.replay_check.tolerance",
                                     "limits.concurrent_recoveries",
                                     "limits.disk_reserve"};
/* Keys that a program's options say too: a file that does not set them leaves
 * them to it. Of the interval all go together. */
static const char *const if_set[] = {"gate",
                                     "detect.poll.idle",
                                     "checkpoint.interval",
                                     "checkpoint.ttl.initial",
                                     "checkpoint.retain.last_validated",
                                     "checkpoint.delete.delay",
                                     "resume.allow_step_zero",
                                     "attempts.same_root"};

typedef struct {
  const tinker__rec_policy_file_t *file;
  char prefix[40]; /* of the run's keys in the file */
} pass_t;

static bool is_below(const char *path, const char *key) {
  size_t n = strlen(key);
  return strncmp(path, key, n) == 0 && (!path[n] || path[n] == '.');
}

static bool is_set(const pass_t *p, const char *key) {
  char full[200];
  snprintf(full, sizeof full, "%s%s", p->prefix, key);
  if (tinker__yaml_has(p->file->yaml, full)) return true;
  snprintf(full, sizeof full, "defaults.%s", key);
  return tinker__yaml_has(p->file->yaml, full);
}

static bool is_passed(void *user, const char *path) {
  const pass_t *p = user;
  if (strncmp(path, "defaults.", 9) != 0) return false;
  path += 9;
  for (size_t i = 0; i < sizeof always / sizeof always[0]; i++) {
    if (strcmp(path, always[i]) == 0) return true;
  }
  for (size_t i = 0; i < sizeof if_set / sizeof if_set[0]; i++) {
    if (is_below(path, if_set[i])) return is_set(p, if_set[i]);
  }
  return false;
}

void tinker__rec_policy_pass(const tinker__rec_policy_file_t *file, size_t i,
                             tinker__buf_t *out) {
  const tinker__rec_policy_run_t *runs = file->runs.items;
  tinker__rec_policy_file_t one = *file;
  pass_t p = {.file = file};
  one.defaults = runs[i].policy;
  snprintf(p.prefix, sizeof p.prefix, "runs[%zu].", i);
  tinker__yaml_print_line(out, tinker__rec_policy_table, &one, is_passed, &p);
}
