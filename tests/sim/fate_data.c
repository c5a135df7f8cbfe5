/* fate_data: F25 to F50: numbers, data and checkpoints. */
#include "sim/fate_in.h"
#include "tinker/error.h"

/* Numbers of the mutations of a first model, by its shape. */
static int64_t a_step(const sim_script_t *s) {
  return s->trainer.parts + 1;
}

/* The model is lost so many steps after the checkpoint of the second interval,
 * and is well until then. */
static void lose_after(sim_script_t *s, int64_t steps) {
  int64_t at = 2 * s->trainer.every + steps;
  sim_go_wrong(s, SIM_BUG_CORRUPT, at * a_step(s) + 2 + 1, 1);
}

/* --- C: numbers and data -------------------------------------------------- */

/* The service refuses the optimizer step, so the step may be done again, unless
 * the loop has sent the next one already. */
static void f25(sim_script_t *s, sim_rng_t *r) {
  sim_go_wrong(s, SIM_BUG_NAN, sim_pick(r, 2, 11 * s->trainer.parts), 1);
  sim_demand_may_go_back(s, 1);
  if (sim_rng_chance(r, 2)) s->trainer.pause_ms = 0;
  if (sim_rng_chance(r, 2)) return;
  s->trainer.strict = true;
  s->demand.most_lost = s->demand.most_lost_all = 0;
}

static void f26(sim_script_t *s, sim_rng_t *r) {
  s->trainer.steps = 90;
  s->trainer.every = 30;
  s->trainer.parts = 1;
  s->trainer.pause_ms = 0;
  sim_go_wrong(s, SIM_BUG_SPIKE, sim_pick(r, 70, 85), 1)->arg = 40;
  s->demand.same_bits = false;
  s->demand.event = "spike";
}

/* One weight's bit flips in an update, and later the model is lost. */
static void f28(sim_script_t *s, sim_rng_t *r) {
  s->trainer.every = 4;
  sim_go_wrong(s, SIM_BUG_FLIP_UPDATE, sim_pick(r, 9, 10), 1);
  lose_after(s, 3);
  sim_demand_back(s, 3, 3);
}

/* It shows where steps are done again: the model is lost a little later. */
static void f29(sim_script_t *s, sim_rng_t *r) {
  s->trainer.every = 4;
  sim_go_wrong(s, SIM_BUG_IGNORE_UPDATE, sim_pick(r, 9, 10), 1);
  lose_after(s, 3);
  sim_demand_back(s, 3, 3);
}

static void f30(sim_script_t *s, sim_rng_t *r) {
  s->trainer.every = 4;
  sim_go_wrong(s, SIM_BUG_APPLY_TWICE,
               sim_pick(r, 8 * a_step(s) + 3, 10 * a_step(s)), 1);
  lose_after(s, 3);
  sim_demand_back(s, 3, 3);
}

/* A process dies between a pass and its optimizer's step. */
static void f31(sim_script_t *s, sim_rng_t *r) {
  sim_add(s, SIM_ACT_KILL, SIM_WHEN_STEP, SIM_ASK_ANY, sim_pick(r, 2, 12))
      ->arg = SIM_SECOND;
  sim_add(s, SIM_ACT_KILL, SIM_WHEN_POINT, SIM_ASK_ANY, sim_pick(r, 100, 6000))
      ->arg = SIM_SECOND;
  sim_demand_nothing(s);
}

static void f32(sim_script_t *s, sim_rng_t *r) {
  sim_go_wrong(s, SIM_BUG_POISON_BATCH, sim_pick(r, 3, 11 * s->trainer.parts),
               1);
  sim_demand_stop(s, "attempts to go back");
}

static void f33(sim_script_t *s, sim_rng_t *r) {
  sim_go_wrong(s, SIM_BUG_CORRUPT, sim_pick(r, 10, 20), 0);
  sim_demand_stop(s, NULL);
}

static void f34(sim_script_t *s, sim_rng_t *r) {
  s->trainer.every = 4;
  s->trainer.changes_life = 1;
  s->trainer.other_data = true;
  s->trainer.patience = 3;
  s->trainer.lives = 3;
  lose_after(s, 3);
  sim_add(s, SIM_ACT_KILL, SIM_WHEN_STEP, SIM_ASK_ANY, 11)->arg = SIM_SECOND;
  (void)r;
  sim_demand_back(s, 2, 0);
  s->demand.least_incidents = 0;
  s->demand.end = SIM_END_REFUSED;
  s->demand.code = TINKER_ESTATE;
  s->demand.same_bits = false;
}

static void f35(sim_script_t *s, sim_rng_t *r) {
  s->trainer.changes_life = 1;
  s->trainer.other_plan = true;
  s->trainer.lives = 3;
  sim_add(s, SIM_ACT_KILL, SIM_WHEN_STEP, SIM_ASK_ANY, sim_pick(r, 2, 12))
      ->arg = SIM_SECOND;
  s->demand.end = SIM_END_REFUSED;
  s->demand.code = TINKER_ESTATE;
  s->demand.same_bits = false;
}

/* The service gives back other weights than it took. */
static void wrong_load(sim_script_t *s, sim_bug_t bug, int64_t times) {
  lose_after(s, 2);
  sim_go_wrong(s, bug, 1, times);
  if (times == 0) {
    sim_demand_stop(s, "no checkpoint is left");
  } else {
    sim_demand_back(s, 1, times);
  }
}

static void f36(sim_script_t *s, sim_rng_t *r) {
  sim_bug_t bug = sim_rng_chance(r, 2) ? SIM_BUG_LOAD_BASE : SIM_BUG_LOAD_OLD;
  s->trainer.every = 4;
  wrong_load(s, bug, 1);
}

static void f37(sim_script_t *s, sim_rng_t *r) {
  s->trainer.steps = 24;
  sim_go_wrong(s, SIM_BUG_CONSTANT, sim_pick(r, 4, 8), 14 * s->trainer.parts);
  s->trainer.every = 24;
  s->demand.event = "flat";
  sim_demand_may_go_back(s, 1);
  s->demand.same_bits = false;
}

/* --- D: checkpoints ------------------------------------------------------- */

static void f38(sim_script_t *s, sim_rng_t *r) {
  sim_go_wrong(s, SIM_BUG_CORRUPT, sim_pick(r, 1, a_step(s)), 1);
  if (sim_rng_chance(r, 2)) {
    sim_demand_back(s, 1, 0);
    return;
  }
  s->trainer.zero = false;
  sim_demand_stop(s, "there is no checkpoint");
}

static void f39(sim_script_t *s, sim_rng_t *r) {
  (void)r;
  s->trainer.every = 3;
  s->trainer.ahead = 1;
  sim_go_wrong(s, SIM_BUG_DELETE_NEWEST, 7 * a_step(s) + 2, 1);
  sim_go_wrong(s, SIM_BUG_CORRUPT, 7 * a_step(s) + 3, 1);
  sim_demand_back(s, 1, 1);
}

static void f40(sim_script_t *s, sim_rng_t *r) {
  s->trainer.every = 3;
  s->trainer.ahead = 1;
  s->trainer.ttl_seconds = 7200;
  sim_go_wrong(s, SIM_BUG_SAVE_SHORT, 2, 1)->arg = sim_pick(r, 1, 4);
  sim_go_wrong(s, SIM_BUG_CORRUPT, 7 * a_step(s) + 3, 1);
  sim_demand_back(s, 1, 1);
}

/* The second checkpoint is not what it is said to be. */
static void bad_save(sim_script_t *s, sim_bug_t bug) {
  s->trainer.every = 4;
  s->trainer.ahead = 1;
  sim_go_wrong(s, bug, 2, 1);
  lose_after(s, 2);
  sim_demand_back(s, 1, 1);
}

static void f41(sim_script_t *s, sim_rng_t *r) {
  bad_save(s,
           sim_rng_chance(r, 2) ? SIM_BUG_SAVE_PENDING : SIM_BUG_SAVE_UNLISTED);
}

static void f42(sim_script_t *s, sim_rng_t *r) {
  s->trainer.every = 4;
  s->trainer.ahead = 1;
  if (sim_rng_chance(r, 2)) {
    sim_go_wrong(s, SIM_BUG_SAVE_TAKEN, 2, 1);
  } else {
    sim_add(s, SIM_ACT_CUT, SIM_WHEN_REQUEST, SIM_ASK_SAVE, 2);
  }
  lose_after(s, 2);
  sim_demand_back(s, 1, 1);
}

static void f43(sim_script_t *s, sim_rng_t *r) {
  s->trainer.every = 4;
  s->trainer.ahead = 1;
  sim_go_wrong(
      s, sim_rng_chance(r, 2) ? SIM_BUG_WRONG_INFO : SIM_BUG_SWAPPED_FLAGS, 1,
      1);
  lose_after(s, 2);
  sim_demand_back(s, 1, 1);
}

/* Of each load, then of the one that counts alone. */
static void f45(sim_script_t *s, sim_rng_t *r) {
  s->trainer.every = 4;
  s->trainer.ahead = 1;
  if (sim_rng_chance(r, 2)) {
    wrong_load(s, SIM_BUG_DROP_OPTIMIZER, 0);
    return;
  }
  lose_after(s, 3);
  sim_go_wrong(s, SIM_BUG_DROP_OPTIMIZER, 1, 1);
  sim_demand_back(s, 2, 2);
}

static void f46(sim_script_t *s, sim_rng_t *r) {
  (void)r;
  bad_save(s, SIM_BUG_SAVE_FLIP);
}

static void f47(sim_script_t *s, sim_rng_t *r) {
  bad_save(s, sim_rng_chance(r, 2) ? SIM_BUG_SAVE_POISONED : SIM_BUG_SAVE_OLD);
}

static void f48(sim_script_t *s, sim_rng_t *r) {
  (void)r;
  s->trainer.every = 4;
  sim_go_wrong(s, SIM_BUG_SAVE_FLIP, 1, 0);
  lose_after(s, 2);
  sim_demand_stop(s, "no checkpoint is left");
}

static void f49(sim_script_t *s, sim_rng_t *r) {
  sim_go_wrong(s, SIM_BUG_SAVE_FAILS, 1, sim_pick(r, 1, 5));
  sim_demand_nothing(s);
  s->demand.event = "checkpoint_failed";
}

/* Deaths amid deletions, and a model that is lost afterwards. */
static void f50(sim_script_t *s, sim_rng_t *r) {
  s->trainer.steps = 24;
  s->trainer.every = 2;
  s->trainer.ahead = 1;
  s->trainer.keep = 2;
  s->trainer.delay_ms = sim_pick(r, 0, 1) * 10 * SIM_SECOND;
  for (int64_t i = 0; i < 4; i++) {
    sim_add(s, SIM_ACT_KILL, SIM_WHEN_STEP, SIM_ASK_ANY, sim_pick(r, 8, 24))
        ->arg = SIM_SECOND;
  }
  sim_add(s, SIM_ACT_CUT, SIM_WHEN_REQUEST, SIM_ASK_DELETE, sim_pick(r, 1, 3));
  sim_go_wrong(s, SIM_BUG_CORRUPT, sim_pick(r, 40, 60), 1);
  sim_demand_may_go_back(s, 1);
}

const sim_scenario_t sim_data_scenarios[] = {
    {"F25", "a loss is not a number", f25},
    {"F26", "a loss jumps", f26},
    {"F28", "a bit of an update flips", f28},
    {"F29", "an optimizer's step is not applied", f29},
    {"F30", "a call is applied twice", f30},
    {"F31", "a process leaves gradients", f31},
    {"F32", "a batch spoils the model each time", f32},
    {"F33", "everything spoils the model", f33},
    {"F34", "other data for a step that is done again", f34},
    {"F35", "another plan", f35},
    {"F36", "other weights are loaded", f36},
    {"F37", "the same loss again and again", f37},
    {"F38", "no checkpoint yet", f38},
    {"F39", "the newest checkpoint is deleted", f39},
    {"F40", "the newest checkpoint has expired", f40},
    {"F41", "a save is never complete", f41},
    {"F42", "a checkpoint's name is taken, or its reply is lost", f42},
    {"F43", "a checkpoint is shown as another", f43},
    {"F45", "the optimizer is cold", f45},
    {"F46", "a bit of a checkpoint flips", f46},
    {"F47", "a checkpoint is poisoned, or old", f47},
    {"F48", "all checkpoints are bad", f48},
    {"F49", "saves fail", f49},
    {"F50", "deaths amid deletions", f50}};
const size_t sim_data_scenario_count =
    sizeof sim_data_scenarios / sizeof sim_data_scenarios[0];
