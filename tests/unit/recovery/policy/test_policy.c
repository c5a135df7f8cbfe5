/* A policy file as a whole: defaults, inheritance, reading, reloading. */
#include "policy/policy.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <tinker/error.h>
#include <unistd.h>

#include "support/fail_alloc.h"

static tinker__mem_t mem;
static char report[4000];

static tinker__rec_policy_file_t *parsed(const char *text) {
  tinker__rec_policy_file_t *file = NULL;
  tinker__buf_t out;
  tinker__buf_init(&out, &mem, sizeof report - 1);
  int rc =
      tinker__rec_policy_parse(&file, &mem, tinker__str(text), "p.yaml", &out);
  snprintf(report, sizeof report, "%s", tinker__buf_cstr(&out));
  tinker__buf_free(&out);
  cr_assert_eq(rc == 0, file != NULL);
  return file;
}

Test(policy, defaults) {
  tinker__mem_init(&mem, NULL, 0);
  tinker__rec_policy_t d;
  memset(&d, 0, sizeof d);
  tinker__rec_policy_default(&d);
  cr_assert(d.enabled && d.mode == TINKER__REC_MODE_ACT);
  cr_assert(d.durability == TINKER__REC_DURABLE_POWER);
  cr_assert(d.detect.poll.idle_ms == 10000 && d.detect.wake_grace_cycles == 1);
  cr_assert(d.detect.loss.spike.window == 256);
  cr_assert(d.gate == TINKER__REC_GATE_PIPELINED && d.resume.require == 3);
  cr_assert(d.checkpoint.validate == TINKER__REC_VALIDATE_BEFORE_USE);
  cr_assert(d.checkpoint.ttl.initial_ms == 14LL * 86400000);
  cr_assert(d.resume.match == 63 && d.resume.max_rollback_steps == 500);
  cr_assert(d.resume.replay_check.tolerance == TINKER__REC_TOLERANCE_AUTO);
  cr_assert(d.notify.stopped_code == 93 && d.notify.exhausted_code == 75);
  tinker__rec_policy_file_t *file = parsed("version: 1\n");
  cr_assert_not_null(file, "%s", report);
  cr_assert_eq(memcmp(&file->defaults, &d, sizeof d), 0);
  cr_assert_eq(file->host.disk_reserve, 1 << 20);
  cr_assert_eq(file->host.concurrent_recoveries, 4);
  tinker__rec_policy_free(file);
  cr_assert_eq(mem.live_blocks, 0);
}

/* A run has the defaults of its file, wherever they stand in it. */
Test(policy, runs_inherit) {
  tinker__mem_init(&mem, NULL, 0);
  tinker__rec_policy_file_t *file =
      parsed("version: 1\n"
             "runs:\n"
             "  - match: {user_metadata.project: demo}\n"
             "    checkpoint: {interval: {max: 20m}}\n"
             "    data: {cursor: per_step}\n"
             "    trainer: {argv: [./train, --lineage, \"{lineage}\"],\n"
             "              env_allow: [HOME, PATH], kill_after: 5s}\n"
             "  - match: {}\n"
             "defaults:\n"
             "  enabled: false\n"
             "  checkpoint: {interval: {min: 5m}, retain: {first: false}}\n");
  cr_assert_not_null(file, "%s", report);
  cr_assert_eq(file->runs.n, 2);
  const tinker__rec_policy_run_t *r = file->runs.items;
  cr_assert(!r[0].policy.enabled && !r[1].policy.checkpoint.retain.first);
  cr_assert(r[0].policy.checkpoint.interval.min_ms == 300000);
  cr_assert(r[0].policy.checkpoint.interval.max_ms == 1200000);
  cr_assert(r[1].policy.checkpoint.interval.max_ms == 1800000);
  cr_assert_eq(r[0].argv.n, 3);
  cr_assert_str_eq(r[0].argv.items[2], "{lineage}");
  cr_assert_str_eq(r[0].env_allow.items[1], "PATH");
  cr_assert_str_eq(r[0].match.items[0].name, "user_metadata.project");
  cr_assert(r[0].kill_after_ms == 5000 && r[1].kill_after_ms == 15000);
  cr_assert_eq(r[1].argv.n, 0);
  tinker__rec_policy_free(file);
  cr_assert_eq(mem.live_blocks, 0);
}

static void printed(const tinker__rec_policy_file_t *file, tinker__buf_t *out) {
  tinker__buf_init(out, &mem, 100000);
  tinker__rec_policy_print(file, out);
  cr_assert_eq(tinker__buf_error(out), 0);
  tinker__buf_cstr(out);
}

Test(policy, print_reads_back) {
  static const char *const texts[] = {
      "version: 1\n", "version: 1\nruns: [{match: {}}]\n",
      ("version: 1\ndefaults: {gate: strict, checkpoint: {interval: {mode: "
       "steps, steps: 7}}}\nruns:\n- match: {name: \"a: b\"}\n  checkpoint: "
       "{interval: {mode: young_daly, max: 10m}}\n- match: {base_model: q}\n"
       "  checkpoint: {interval: {steps: 9}}\n"),
      ("version: 1\ndefaults: {state_dir: /var/lib/x y, notify: {on: [], exec: "
       "{argv: [./n, \"a\\\"b\"]}}, limits: {disk_reserve: 4MiB}}\n")};
  tinker__mem_init(&mem, NULL, 0);
  for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
    tinker__buf_t one, two;
    tinker__rec_policy_file_t *file = parsed(texts[i]);
    cr_assert_not_null(file, "%s%s", texts[i], report);
    printed(file, &one);
    tinker__rec_policy_free(file);
    file = parsed(one.data);
    cr_assert_not_null(file, "%s%s", one.data, report);
    printed(file, &two);
    cr_assert_str_eq(one.data, two.data);
    tinker__rec_policy_free(file);
    tinker__buf_free(&one);
    tinker__buf_free(&two);
  }
  cr_assert_eq(mem.live_blocks, 0);
}

/* --- Files ---------------------------------------------------------------- */

static char path[] = "/tmp/tinker-policy-XXXXXX";

static void begin(void) {
  tinker__mem_init(&mem, NULL, 0);
  int fd = mkstemp(path);
  cr_assert_geq(fd, 0);
  close(fd);
}

static void end(void) {
  unlink(path);
  cr_assert_eq(mem.live_blocks, 0);
}

static void put(const char *text) {
  FILE *f = fopen(path, "w");
  cr_assert_not_null(f);
  fputs(text, f);
  fclose(f);
}

/* Reads the file, or reloads `old`. */
static int load(const tinker__rec_policy_file_t *old, const char *name,
                tinker__rec_policy_file_t **file) {
  tinker__buf_t out;
  tinker__buf_init(&out, &mem, sizeof report - 1);
  const tinker__world_t *w = tinker__world_real();
  int rc = old ? tinker__rec_policy_reload(file, old, w, name, &out)
               : tinker__rec_policy_read(file, &mem, w, name, &out);
  snprintf(report, sizeof report, "%s", tinker__buf_cstr(&out));
  tinker__buf_free(&out);
  return rc;
}

/* The report without the folder's name. */
static void says(const char *want) {
  char full[2000];
  snprintf(full, sizeof full, want, path);
  cr_assert_str_eq(report, full, "%s", report);
}

Test(policy, read, .init = begin, .fini = end) {
  tinker__rec_policy_file_t *file = NULL;
  put("version: 1\ndefaults: {mode: act}\n");
  cr_assert_eq(load(NULL, path, &file), 0, "%s", report);
  cr_assert_str_empty(report);
  tinker__rec_policy_free(file);
  file = NULL;
  put("version: 1\ndefaults: {mode: art}\n");
  cr_assert_eq(load(NULL, path, &file), TINKER_EFORMAT);
  cr_assert_null(file);
  says("%s:2:18: key 'defaults.mode': 'art' is not allowed: act\n");
  cr_assert_eq(load(NULL, "/nowhere/p.yaml", &file), TINKER_ENOENT);
  says("can't open /nowhere/p.yaml: No such file or directory\n");
  cr_assert_eq(load(NULL, "/", &file), TINKER_EIO);
  cr_assert_eq(truncate(path, (off_t)TINKER__YAML_MAX_BYTES + 1), 0);
  cr_assert_eq(load(NULL, path, &file), TINKER_EOVERFLOW);
  says("%s is longer than 1048576 bytes\n");
  cr_assert_null(file);
  tinker__rec_policy_free(NULL);
}

/* The old policy stays whole while the new one is read, and after it failed. */
Test(policy, reload, .init = begin, .fini = end) {
  tinker__rec_policy_file_t *old = NULL, *fresh = NULL;
  put("version: 1\ndefaults: {state_dir: /a, gate: strict}\n");
  cr_assert_eq(load(NULL, path, &old), 0, "%s", report);

  put("version: 1\ndefaults: {state_dir: /a, gate: pipelined}\n");
  cr_assert_eq(load(old, path, &fresh), 0, "%s", report);
  cr_assert(fresh->defaults.gate == TINKER__REC_GATE_PIPELINED);
  cr_assert(old->defaults.gate == TINKER__REC_GATE_STRICT);
  tinker__rec_policy_free(fresh);

  fresh = NULL;
  put("version: 1\ndefaults: {state_dir: /a, gate: open}\n");
  cr_assert_eq(load(old, path, &fresh), TINKER_EFORMAT);
  says("%s:2:33: key 'defaults.gate': 'open' is not allowed: strict, "
       "pipelined\n");
  put("version: 1\ndefaults: {state_dir: /b, gate: open}\n");
  cr_assert_eq(load(old, path, &fresh), TINKER_EFORMAT);
  char want[1000];
  snprintf(want, sizeof want,
           "%s:2:23: key 'defaults.state_dir': '/b' is not '/a', which is in "
           "use: a reload can't change it\n"
           "%s:2:33: key 'defaults.gate': 'open' is not allowed: strict, "
           "pipelined\n",
           path, path);
  cr_assert_str_eq(report, want, "%s", report);
  unlink(path);
  cr_assert_eq(load(old, path, &fresh), TINKER_ENOENT);
  cr_assert_null(fresh);
  cr_assert_str_eq(old->host.state_dir, "/a");
  tinker__rec_policy_free(old);
}

/* --- Without memory --------------------------------------------------------
 */

static int parse_once(tinker__mem_t *m, void *text) {
  tinker__rec_policy_file_t *file;
  int rc =
      tinker__rec_policy_parse(&file, m, tinker__str(text), "p.yaml", NULL);
  if (rc == 0) tinker__rec_policy_free(file);
  return rc == TINKER_EFORMAT ? 0 : rc;
}

static int reload_once(tinker__mem_t *m, void *user) {
  tinker__rec_policy_file_t old, *fresh;
  (void)user;
  memset(&old, 0, sizeof old);
  old.mem = m;
  old.host.state_dir = "/a";
  int rc =
      tinker__rec_policy_reload(&fresh, &old, tinker__world_real(), path, NULL);
  if (rc == 0) tinker__rec_policy_free(fresh);
  return rc == TINKER_EFORMAT ? 0 : rc;
}

Test(policy, without_memory, .init = begin, .fini = end) {
  static char good[] = "version: 1\nruns:\n- match: {name: a}\n  trainer: "
                       "{argv: [a, b, c]}\n- match: {}\n";
  static char bad[] = "version: 1\ndefaults: {mode: x, gate: y, detect: {poll: "
                      "{idle: 1s}}}\n";
  cr_assert_gt(tinker__fail_sweep(parse_once, good, TINKER_ENOMEM), 3);
  cr_assert_gt(tinker__fail_sweep(parse_once, bad, TINKER_ENOMEM), 2);
  put(bad);
  cr_assert_gt(tinker__fail_sweep(reload_once, NULL, TINKER_ENOMEM), 3);
  put("version: 1\ndefaults: {state_dir: /b}\n");
  cr_assert_gt(tinker__fail_sweep(reload_once, NULL, TINKER_ENOMEM), 3);
}
