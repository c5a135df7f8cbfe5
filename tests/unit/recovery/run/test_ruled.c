/* ruled: what TINKER_RUN_POLICY changes of a run. */
#include <criterion/criterion.h>
#include <string.h>

#include "run/run.h"
#include "support/fail_alloc.h"

static const char *said; /* by the environment */

static const char *on_env(void *user, const char *name) {
  (void)user;
  return strcmp(name, "TINKER_RUN_POLICY") == 0 ? said : NULL;
}

static int take(tinker_run_t *run, const char *text, char why[400]) {
  static tinker__world_t world;
  const tinker_run_options_t options = TINKER_RUN_OPTIONS_INIT;
  world = *tinker__world_real();
  world.env = on_env;
  memset(run, 0, sizeof *run);
  tinker__mem_init(&run->mem, NULL, 0);
  run->world = &world;
  run->options = options;
  said = text;
  why[0] = 0;
  return tinker__rec_ruled_take(run, why, 400);
}

static tinker_run_t run;
static char why[400];

static void check_same(const tinker__rec_ruled_t *a,
                       const tinker__rec_ruled_t *b) {
  const tinker__rec_detect_policy_t *x = &a->detect, *y = &b->detect;
  cr_assert(x->robust_z == y->robust_z && x->min_ratio == y->min_ratio);
  cr_assert(x->window == y->window && x->warmup == y->warmup);
  cr_assert(x->fast == y->fast && x->slow == y->slow && x->ratio == y->ratio);
  cr_assert(x->tokens == y->tokens && x->repeats == y->repeats);
  cr_assert_eq(memcmp(&a->interval, &b->interval, sizeof a->interval), 0);
  cr_assert_eq(a->suspect_ms, b->suspect_ms);
  cr_assert_eq(a->confirm_ms, b->confirm_ms);
  cr_assert_eq(a->min_validated, b->min_validated);
  cr_assert_eq(a->reserve_bytes, b->reserve_bytes);
  cr_assert_eq(a->recoveries, b->recoveries);
  cr_assert_eq(a->max_rollback, b->max_rollback);
  cr_assert(a->every_fraction == b->every_fraction);
  cr_assert(a->tolerance == b->tolerance);
  cr_assert(a->keep_first == b->keep_first && a->relaxed == b->relaxed);
  cr_assert_eq(a->prove_always, b->prove_always);
}

Test(ruled, nothing_is_said) {
  static const char *const texts[] = {NULL, ""};
  const tinker__rec_ruled_t init = TINKER__REC_RULED_INIT;
  for (int i = 0; i < 2; i++) {
    cr_assert_eq(take(&run, texts[i], why), 0);
    check_same(&run.ruled, &init);
    cr_assert_eq(run.options.checkpoint_every, 50);
  }
}

/* A policy that sets nothing says what a run does without one, but for what
 * only a policy limits. */
Test(ruled, the_defaults) {
  tinker__rec_ruled_t want = TINKER__REC_RULED_INIT;
  want.recoveries = 4;
  want.max_rollback = 500;
  cr_assert_eq(take(&run, "{version: 1}", why), 0, "%s", why);
  check_same(&run.ruled, &want);
  cr_assert(run.options.gate == TINKER_RUN_GATE_PIPELINED &&
            run.options.checkpoint_every == 50 &&
            run.options.watch_ms == 10000 && run.options.keep_last == 0 &&
            run.options.ttl_seconds == TINKER_NO_TTL);
}

Test(ruled, each_key) {
  int rc = take(
      &run,
      "{version: 1, defaults: {durability: process, gate: strict, detect: "
      "{poll: {idle: 20s, suspect: 3s}, confirm: {within: 9s}, loss: {spike: "
      "{robust_z: 8, min_ratio: 3, window: 99, warmup: 33}, flatline: "
      "{repeats: 5}}}, checkpoint: {interval: {min: 3m, max: 4m}, ttl: "
      "{initial: 5h}, retain: {last_validated: 6, every_fraction: 0.5, first: "
      "false, min_validated: 4}, delete: {delay: 2m}}, resume: {require: V4, "
      "max_rollback_steps: 77, allow_step_zero: true, replay_check: "
      "{tolerance: 0.25}}, attempts: {same_root: 11}, limits: "
      "{concurrent_recoveries: 12, disk_reserve: 2MiB}}}",
      why);
  cr_assert_eq(rc, 0, "%s", why);
  const tinker__rec_ruled_t *r = &run.ruled;
  const tinker_run_options_t *o = &run.options;
  cr_assert(r->relaxed && r->prove_always && !r->keep_first);
  cr_assert(r->suspect_ms == 3000 && r->confirm_ms == 9000);
  cr_assert(r->detect.robust_z == 8 && r->detect.min_ratio == 3);
  cr_assert(r->detect.window == 99 && r->detect.warmup == 33);
  cr_assert(r->detect.repeats == 5 && r->tolerance == 0.25);
  cr_assert(r->interval.min_ms == 180000 && r->interval.max_ms == 240000);
  cr_assert(r->every_fraction == 0.5 && r->min_validated == 4);
  cr_assert(r->max_rollback == 77 && r->recoveries == 12);
  cr_assert_eq(r->reserve_bytes, 2 << 20);
  cr_assert(o->gate == TINKER_RUN_GATE_STRICT && o->watch_ms == 20000);
  cr_assert(o->checkpoint_every == -1 && o->ttl_seconds == 18000);
  cr_assert(o->keep_last == 6 && o->delete_delay_ms == 120000);
  cr_assert(o->allow_step_zero == 1 && o->attempts == 11);
  cr_assert_eq(run.mem.live_blocks, 0);
}

Test(ruled, steps) {
  int rc = take(&run,
                "{version: 1, defaults: {checkpoint: {interval: {mode: steps, "
                "steps: 9}}}}",
                why);
  cr_assert_eq(rc, 0, "%s", why);
  cr_assert_eq(run.options.checkpoint_every, 9);
}

Test(ruled, what_can_not_be_followed) {
  static const struct {
    const char *text, *sentence;
  } bad[] = {{"strict", "TINKER_RUN_POLICY:1:1"},
             {"{version: 2}", "key 'version': '2' is out of range"},
             {"{version: 1, defaults: {gate: auto}}", "not honoured yet"}};
  for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
    cr_assert_eq(take(&run, bad[i].text, why), TINKER_EINVAL);
    cr_assert(strstr(why, bad[i].sentence), "%s", why);
    cr_assert_eq(run.mem.live_blocks, 0);
  }
}

static int take_once(tinker__mem_t *mem, void *user) {
  tinker_run_t one;
  (void)user;
  said = "{version: 1, defaults: {gate: strict}}";
  memset(&one, 0, sizeof one);
  one.mem = *mem;
  one.world = run.world;
  int rc = tinker__rec_ruled_take(&one, why, sizeof why);
  *mem = one.mem;
  return rc;
}

Test(ruled, without_memory) {
  take(&run, NULL, why);
  cr_assert_gt(tinker__fail_sweep(take_once, NULL, TINKER_ENOMEM), 2);
}
