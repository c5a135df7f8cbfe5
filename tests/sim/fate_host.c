/* fate_host: from F60 on: processes, the journal, the machine, the network, the
 * account. */
#include "sim/fate_in.h"
#include "tinker/error.h"

/* --- F: the program's process --------------------------------------------- */

static void kill_at_point(sim_script_t *s, sim_rng_t *r, sim_act_t act,
                          int64_t life) {
  sim_action_t *a =
      sim_add(s, act, SIM_WHEN_POINT, SIM_ASK_ANY, sim_pick(r, 1, 8000));
  a->life = life;
  a->arg = sim_pick(r, 0, 5) * SIM_SECOND;
}

static void f60(sim_script_t *s, sim_rng_t *r) {
  int64_t deaths = sim_pick(r, 1, 12);
  for (int64_t i = 0; i < deaths; i++) kill_at_point(s, r, SIM_ACT_KILL, i);
  if (sim_rng_chance(r, 3)) s->trainer.big = 60;
  if (sim_rng_chance(r, 3)) s->trainer.strict = true;
  sim_demand_nothing(s);
}

static void f61(sim_script_t *s, sim_rng_t *r) {
  int64_t step = sim_pick(r, 2, 11);
  sim_add(s, SIM_ACT_HANG, SIM_WHEN_STEP, SIM_ASK_ANY, step)->arg =
      100 * SIM_SECOND;
  sim_add(s, SIM_ACT_KILL, SIM_WHEN_STEP, SIM_ASK_ANY, step + 1)->arg =
      SIM_SECOND;
  sim_demand_nothing(s);
}

static void f62(sim_script_t *s, sim_rng_t *r) {
  sim_act_t act = sim_rng_chance(r, 2) ? SIM_ACT_EXIT : SIM_ACT_LEAVE;
  sim_add(s, act, SIM_WHEN_STEP, SIM_ASK_ANY, sim_pick(r, 2, 12))->arg =
      SIM_SECOND;
  sim_demand_nothing(s);
}

static void f63(sim_script_t *s, sim_rng_t *r) {
  int64_t step = sim_pick(r, 2, 11);
  for (int64_t life = 0; life < 12; life++) {
    sim_action_t *a =
        sim_add(s, SIM_ACT_KILL, SIM_WHEN_STEP, SIM_ASK_ANY, step);
    a->life = life;
    a->arg = SIM_SECOND;
  }
  sim_demand_nothing(s);
}

/* One hangs, a second one comes; the first goes on. */
static void f64(sim_script_t *s, sim_rng_t *r) {
  int64_t step = sim_pick(r, 2, 11);
  sim_add(s, SIM_ACT_SECOND, SIM_WHEN_STEP, SIM_ASK_ANY, step);
  sim_add(s, SIM_ACT_HANG, SIM_WHEN_COMMIT, SIM_ASK_ANY, step)->arg =
      60 * SIM_SECOND;
  sim_demand_nothing(s);
}

/* --- G: the journal ------------------------------------------------------- */

static void f67(sim_script_t *s, sim_rng_t *r) {
  for (int64_t i = sim_pick(r, 1, 4); i > 0; i--) {
    sim_add(s, SIM_ACT_SECOND, SIM_WHEN_STEP, SIM_ASK_ANY, sim_pick(r, 1, 12));
  }
  sim_demand_nothing(s);
}

/* The first one sends nothing more; a second one finds no lock. */
static void f68(sim_script_t *s, sim_rng_t *r) {
  sim_add(s, SIM_ACT_UNLOCK, SIM_WHEN_STEP, SIM_ASK_ANY, sim_pick(r, 2, 11));
  s->trainer.patience = 2;
  sim_demand_may_go_back(s, 1);
}

static void f69(sim_script_t *s, sim_rng_t *r) {
  int64_t deaths = sim_pick(r, 1, 6);
  for (int64_t i = 0; i < deaths; i++) kill_at_point(s, r, SIM_ACT_POWER, i);
  sim_demand_nothing(s);
}

/* Refused by name, or not a bit that anybody reads. */
static void f70(sim_script_t *s, sim_rng_t *r) {
  sim_add(s, SIM_ACT_KILL, SIM_WHEN_STEP, SIM_ASK_ANY, sim_pick(r, 4, 12))
      ->arg = SIM_SECOND;
  sim_add(s, SIM_ACT_DAMAGE, SIM_WHEN_LIFE, SIM_ASK_ANY, 1)->arg =
      sim_pick(r, 0, 1);
  s->trainer.lives = 3;
  s->demand.end = SIM_END_REFUSED;
  s->demand.code = TINKER_EFORMAT;
  s->demand.may_be_done = true;
  s->demand.damaged = true;
}

static void f71(sim_script_t *s, sim_rng_t *r) {
  for (int64_t i = sim_pick(r, 1, 3); i > 0; i--) {
    sim_add(s, SIM_ACT_SYNC_FAILS, SIM_WHEN_SYNC, SIM_ASK_ANY,
            sim_pick(r, 2, 120));
  }
  s->trainer.patience = 2;
  sim_demand_nothing(s);
}

static void f72(sim_script_t *s, sim_rng_t *r) {
  if (sim_rng_chance(r, 4)) {
    sim_add(s, SIM_ACT_WRITE_SHORT, SIM_WHEN_STEP, SIM_ASK_ANY,
            sim_pick(r, 2, 11));
  } else {
    sim_add(s, SIM_ACT_DISK_FULL, SIM_WHEN_STEP, SIM_ASK_ANY,
            sim_pick(r, 2, 11))
        ->arg = sim_pick(r, 1, 100) * SIM_SECOND;
  }
  s->trainer.patience = 2;
  s->trainer.again_ms = 10 * SIM_SECOND;
  sim_demand_nothing(s);
}

static void f73(sim_script_t *s, sim_rng_t *r) {
  sim_add(s, SIM_ACT_KILL, SIM_WHEN_STEP, SIM_ASK_ANY, sim_pick(r, 4, 12))
      ->arg = SIM_SECOND;
  sim_add(s, SIM_ACT_REMOVE, SIM_WHEN_LIFE, SIM_ASK_ANY, 1);
  s->trainer.lives = 3;
  s->demand.end = SIM_END_REFUSED;
  s->demand.code = TINKER_EFORMAT;
  s->demand.same_bits = false;
  s->demand.damaged = true;
}

/* --- H: the machine, its time, the network -------------------------------- */

#define YEAR (365 * SIM_DAY)

static void f77(sim_script_t *s, sim_rng_t *r) {
  for (int64_t i = sim_pick(r, 1, 4); i > 0; i--) {
    sim_add(s, SIM_ACT_CLOCK, SIM_WHEN_TIME, SIM_ASK_ANY,
            sim_pick(r, 0, 40 * SIM_SECOND))
        ->arg = sim_pick(r, -10, 10) * YEAR;
  }
  if (sim_rng_chance(r, 2)) s->trainer.ttl_seconds = 7200;
  sim_demand_nothing(s);
}

static void f78(sim_script_t *s, sim_rng_t *r) {
  int64_t asleep = sim_pick(r, 1, 12) * SIM_HOUR;
  sim_add(s, SIM_ACT_SLEEP, SIM_WHEN_TIME, SIM_ASK_ANY,
          sim_pick(r, 1, 40 * SIM_SECOND))
      ->arg = asleep;
  s->session_ms = 30 * SIM_DAY;
  s->demand.bound_ms += asleep;
  sim_demand_nothing(s);
}

/* Nobody answers for a while; the session lives longer than that. */
static void blind(sim_script_t *s, sim_rng_t *r, sim_act_t act, int64_t status,
                  int64_t for_ms) {
  sim_action_t *a = sim_add(s, act, SIM_WHEN_TIME, SIM_ASK_ANY,
                            sim_pick(r, 0, 40 * SIM_SECOND));
  a->arg = status;
  a->for_ms = for_ms;
  s->session_ms = 30 * SIM_DAY;
  s->trainer.again_ms = 30 * SIM_SECOND;
  sim_demand_nothing(s);
}

static void f79(sim_script_t *s, sim_rng_t *r) {
  blind(s, r, SIM_ACT_REFUSE, 0, sim_pick(r, 1, 120) * SIM_MINUTE);
}

static void f80(sim_script_t *s, sim_rng_t *r) {
  static const sim_act_t how[] = {SIM_ACT_REFUSE, SIM_ACT_LOSE, SIM_ACT_CUT};
  blind(s, r, how[sim_rng_below(r, 3)], 0, sim_pick(r, 1, 60) * SIM_MINUTE);
}

static void f81(sim_script_t *s, sim_rng_t *r) {
  blind(s, r, SIM_ACT_NEVER, 0, sim_pick(r, 1, 30) * SIM_MINUTE);
}

static void f82(sim_script_t *s, sim_rng_t *r) {
  blind(s, r, SIM_ACT_TLS, 0, sim_pick(r, 1, 60) * SIM_MINUTE);
}

static void f83(sim_script_t *s, sim_rng_t *r) {
  blind(s, r, sim_rng_chance(r, 2) ? SIM_ACT_HTML : SIM_ACT_REDIRECT, 0,
        sim_pick(r, 1, 30) * SIM_MINUTE);
}

static void f84(sim_script_t *s, sim_rng_t *r) {
  sim_add(s, SIM_ACT_POWER, SIM_WHEN_STEP, SIM_ASK_ANY, sim_pick(r, 2, 12))
      ->arg = 60 * SIM_SECOND;
  kill_at_point(s, r, SIM_ACT_POWER, 1);
  if (sim_rng_chance(r, 3)) {
    s->trainer.big = 60; /* bodies that power loss may take */
    sim_demand_may_go_back(s, 2);
    return;
  }
  sim_demand_nothing(s);
}

static void f85(sim_script_t *s, sim_rng_t *r) {
  blind(s, r, SIM_ACT_LATE, 0, sim_pick(r, 1, 30) * SIM_MINUTE);
  s->actions[0].arg = sim_pick(r, 1, 20) * SIM_SECOND;
}

/* --- I: the account ------------------------------------------------------- */

static void f86(sim_script_t *s, sim_rng_t *r) {
  blind(s, r, SIM_ACT_STATUS, 402, 72 * SIM_HOUR);
  s->actions[0].n = sim_pick(r, 5, 40) * SIM_SECOND; /* it has a model */
  s->trainer.again_ms = 5 * SIM_MINUTE;
}

static void f87(sim_script_t *s, sim_rng_t *r) {
  blind(s, r, SIM_ACT_STATUS, 401, sim_pick(r, 1, 120) * SIM_MINUTE);
  s->trainer.again_ms = SIM_MINUTE;
  if (sim_rng_chance(r, 2)) return;
  /* Perhaps while another model is made: that takes no attempts. */
  int64_t steps = s->actions[0].n / s->trainer.pause_ms;
  sim_go_wrong(s, SIM_BUG_CORRUPT, 1 + steps * (s->trainer.parts + 1), 1);
  sim_demand_may_go_back(s, 1);
}

static void f88(sim_script_t *s, sim_rng_t *r) {
  blind(s, r, SIM_ACT_STATUS, 403, sim_pick(r, 1, 120) * SIM_MINUTE);
  if (sim_rng_chance(r, 2)) return;
  s->trainer.patience = 2; /* processes come anew */
  s->actions[0].for_ms = 10 * SIM_MINUTE;
}

static void f89(sim_script_t *s, sim_rng_t *r) {
  (void)r;
  sim_go_wrong(s, SIM_BUG_RETIRED, 1, 0);
  s->trainer.patience = 3;
  s->trainer.lives = 2;
  s->demand.end = SIM_END_REFUSED;
  s->demand.code = TINKER_ENOENT;
  s->demand.same_bits = false;
}

static void f90(sim_script_t *s, sim_rng_t *r) {
  s->trainer.pause_ms = 8 * SIM_SECOND;
  sim_go_wrong(s, SIM_BUG_OMIT_CORRUPTED, sim_pick(r, 1, 3), 0);
  sim_demand_nothing(s);
}

const sim_scenario_t sim_host_scenarios[] = {
    {"F60", "the program is killed, anywhere, up to 12 times", f60},
    {"F61", "the program hangs and is killed", f61},
    {"F62", "the program exits before its last step", f62},
    {"F63", "the program dies in one step, again and again", f63},
    {"F64", "a second process, while the first one hangs", f64},
    {"F67", "second processes", f67},
    {"F68", "the lock is removed", f68},
    {"F69", "the power fails: torn tails", f69},
    {"F70", "a bit of the journal flips", f70},
    {"F71", "fsync fails", f71},
    {"F72", "the disk is full", f72},
    {"F73", "a part of the journal is lost", f73},
    {"F77", "the wall clock steps by years", f77},
    {"F78", "the machine sleeps", f78},
    {"F79", "no name is resolved", f79},
    {"F80", "the network is gone", f80},
    {"F81", "connections are half open", f81},
    {"F82", "the certificate is refused", f82},
    {"F83", "a portal answers", f83},
    {"F84", "the power fails", f84},
    {"F85", "everything is slow", f85},
    {"F86", "the account is blocked for three days", f86},
    {"F87", "the key is refused", f87},
    {"F88", "access is refused", f88},
    {"F89", "the base model is retired", f89},
    {"F90", "the service shows less of a run", f90}};
const size_t sim_host_scenario_count =
    sizeof sim_host_scenarios / sizeof sim_host_scenarios[0];
