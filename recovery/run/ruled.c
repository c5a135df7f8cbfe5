/* ruled: see ruled.h. The text is a policy file and is read as one, so that
 * what it may say, and what is said about it, is the same. */
#include "run/ruled.h"

#include <string.h>

#include "policy/policy.h"
#include "run/run.h"

#define NAME "TINKER_RUN_POLICY"
#define MAX_REPORT 4096

typedef struct {
  const tinker__rec_policy_file_t *file;
  const tinker__rec_policy_t *p;
  tinker_run_t *run;
} take_t;

static bool has(const take_t *t, const char *key) {
  return tinker__yaml_has(t->file->yaml, key);
}

/* What the program's options say too. */
static void take_options(const take_t *t) {
  tinker_run_options_t *o = &t->run->options;
  const tinker__rec_policy_t *p = t->p;
  if (has(t, "defaults.detect.poll.idle")) o->watch_ms = p->detect.poll.idle_ms;
  if (has(t, "defaults.gate")) {
    o->gate = p->gate == TINKER__REC_GATE_STRICT ? TINKER_RUN_GATE_STRICT
                                                 : TINKER_RUN_GATE_PIPELINED;
  }
  if (has(t, "defaults.checkpoint.interval")) {
    bool steps = p->checkpoint.interval.mode == TINKER__REC_INTERVAL_STEPS;
    o->checkpoint_every = steps ? p->checkpoint.interval.steps : -1;
  }
  if (has(t, "defaults.checkpoint.ttl.initial")) {
    o->ttl_seconds = p->checkpoint.ttl.initial_ms / 1000;
  }
  if (has(t, "defaults.checkpoint.retain.last_validated")) {
    o->keep_last = p->checkpoint.retain.last_validated;
  }
  if (has(t, "defaults.checkpoint.delete.delay")) {
    o->delete_delay_ms = p->checkpoint.del.delay_ms;
  }
  if (has(t, "defaults.resume.allow_step_zero")) {
    o->allow_step_zero = p->resume.allow_step_zero;
  }
  if (has(t, "defaults.attempts.same_root")) {
    o->attempts = (int32_t)p->attempts.same_root;
  }
}

static void take_rules(const take_t *t) {
  tinker__rec_ruled_t *r = &t->run->ruled;
  const tinker__rec_policy_t *p = t->p;
  r->relaxed = p->durability == TINKER__REC_DURABLE_PROCESS;
  r->suspect_ms = p->detect.poll.suspect_ms;
  r->confirm_ms = p->detect.confirm.within_ms;
  r->detect.robust_z = p->detect.loss.spike.robust_z;
  r->detect.min_ratio = p->detect.loss.spike.min_ratio;
  r->detect.window = (int)p->detect.loss.spike.window;
  r->detect.warmup = (int)p->detect.loss.spike.warmup;
  r->detect.repeats = (int)p->detect.loss.flatline_repeats;
  if (p->checkpoint.interval.mode == TINKER__REC_INTERVAL_YOUNG_DALY) {
    r->interval.min_ms = p->checkpoint.interval.min_ms;
    r->interval.max_ms = p->checkpoint.interval.max_ms;
  }
  r->every_fraction = p->checkpoint.retain.every_fraction;
  r->keep_first = p->checkpoint.retain.first;
  r->min_validated = p->checkpoint.retain.min_validated;
  r->prove_always = p->resume.require >= 4;
  r->max_rollback = p->resume.max_rollback_steps;
  r->tolerance = p->resume.replay_check.tolerance;
  r->recoveries = t->file->host.concurrent_recoveries;
  r->reserve_bytes = t->file->host.disk_reserve;
}

int tinker__rec_ruled_take(tinker_run_t *run, char *why, size_t why_len) {
  const tinker__rec_ruled_t init = TINKER__REC_RULED_INIT;
  const char *text = run->world->env(run->world->user, NAME);
  tinker__rec_policy_file_t *file = NULL;
  tinker__buf_t report;
  run->ruled = init;
  if (!text || !*text) return 0;
  tinker__buf_init(&report, &run->mem, MAX_REPORT);
  int rc = tinker__rec_policy_parse(&file, &run->mem, tinker__str(text), NAME,
                                    &report);
  if (rc == 0) {
    const take_t t = {file, &file->defaults, run};
    take_options(&t);
    take_rules(&t);
    tinker__rec_policy_free(file);
  } else {
    tinker__why(why, why_len, rc == TINKER_EFORMAT ? TINKER_EINVAL : rc, "%s",
                report.len ? tinker__buf_cstr(&report) : "out of memory");
  }
  tinker__buf_free(&report);
  return rc == TINKER_EFORMAT ? TINKER_EINVAL : rc;
}
