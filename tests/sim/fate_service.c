/* fate_service: F01 to F24: runs, sessions, requests and their results. */
#include "sim/fate_in.h"

static int64_t anywhere(const sim_script_t *s, sim_rng_t *r) {
  return sim_pick(r, 2, (s->trainer.parts + 1) * 11);
}

/* Once, and what the first model has been through counts no more. */
static void lost_model(sim_script_t *s, sim_rng_t *r, sim_bug_t bug) {
  sim_go_wrong(s, bug, anywhere(s, r), 1);
  sim_demand_back(s, 1, 0);
}

/* --- A: remote run and session -------------------------------------------- */

static void f01(sim_script_t *s, sim_rng_t *r) {
  lost_model(s, r, SIM_BUG_CORRUPT);
}

static void f02(sim_script_t *s, sim_rng_t *r) {
  lost_model(s, r, SIM_BUG_CORRUPT_HIDDEN);
}

/* Seen once nothing follows; at times, R4 the second time. */
static void f03(sim_script_t *s, sim_rng_t *r) {
  bool once = sim_rng_chance(r, 2);
  s->trainer.pause_ms = 8 * SIM_SECOND;
  sim_go_wrong(s, SIM_BUG_SHOW_CORRUPTED, 2, 1);
  if (once) return;
  sim_go_wrong(s, SIM_BUG_SHOW_CORRUPTED, 4, 1);
  sim_demand_may_go_back(s, 1);
}

static void f04(sim_script_t *s, sim_rng_t *r) {
  lost_model(s, r, SIM_BUG_DROP_SESSION);
}

static void f05(sim_script_t *s, sim_rng_t *r) {
  if (sim_rng_chance(r, 2)) {
    sim_action_t *a = sim_add(s, SIM_ACT_REFUSE, SIM_WHEN_TIME, SIM_ASK_BEAT,
                              sim_pick(r, 0, 10 * SIM_SECOND));
    a->for_ms = sim_pick(r, 20, 200) * SIM_SECOND;
  } else {
    sim_go_wrong(s, SIM_BUG_BEAT_GONE, sim_pick(r, 1, 2), 1);
  }
  sim_demand_nothing(s);
}

static void f06(sim_script_t *s, sim_rng_t *r) {
  sim_add(s, SIM_ACT_HANG, SIM_WHEN_STEP, SIM_ASK_ANY, sim_pick(r, 2, 11))
      ->arg = 200 * SIM_SECOND;
  sim_demand_nothing(s);
}

static void f07(sim_script_t *s, sim_rng_t *r) {
  lost_model(s, r, SIM_BUG_UNLOAD);
}

static void f08(sim_script_t *s, sim_rng_t *r) {
  lost_model(s, r, SIM_BUG_DELETE_RUN);
}

static void f09(sim_script_t *s, sim_rng_t *r) {
  lost_model(s, r, SIM_BUG_RESET_SEQUENCE);
  s->demand.least_incidents = 0;
  s->demand.unseen = true; /* it may take a request twice */
  s->demand.same_bits = false;
}

static void f10(sim_script_t *s, sim_rng_t *r) {
  (void)r;
  sim_add(s, SIM_ACT_CUT, SIM_WHEN_REQUEST, SIM_ASK_CREATE, 1);
  sim_demand_nothing(s);
}

static void f11(sim_script_t *s, sim_rng_t *r) {
  s->trainer.pause_ms = 8 * SIM_SECOND;
  sim_go_wrong(s, SIM_BUG_STALE_LISTS, sim_pick(r, 1, 3), 0)->arg = SIM_HOUR;
  sim_demand_nothing(s);
}

/* --- B: requests and results ---------------------------------------------- */

static void f12(sim_script_t *s, sim_rng_t *r) {
  sim_go_wrong(s, SIM_BUG_FORGET, anywhere(s, r), 1);
  sim_demand_may_go_back(s, 1);
}

static void f13(sim_script_t *s, sim_rng_t *r) {
  sim_bug_t bug =
      sim_rng_chance(r, 2) ? SIM_BUG_FORGET : SIM_BUG_FORGET_UNAPPLIED;
  sim_go_wrong(s, bug, anywhere(s, r), sim_pick(r, 1, 3));
  sim_demand_may_go_back(s, 3);
}

static void f14(sim_script_t *s, sim_rng_t *r) {
  sim_go_wrong(s, SIM_BUG_PAUSE, anywhere(s, r), 1)->arg = 6 * SIM_HOUR;
  sim_demand_nothing(s);
  s->demand.bound_ms = 7 * SIM_HOUR;
}

static void f15(sim_script_t *s, sim_rng_t *r) {
  /* A call of the first two steps, which have no checkpoint between them. */
  sim_go_wrong(s, SIM_BUG_STUCK, sim_pick(r, 2, 2 * s->trainer.parts + 2), 1);
  sim_demand_back(s, 1, 0);
  /* Two hours, from when the call's own deadline of an hour has ended it. */
  s->demand.bound_ms = 4 * SIM_HOUR;
}

static void f16(sim_script_t *s, sim_rng_t *r) {
  static const sim_act_t how[] = {SIM_ACT_CUT, SIM_ACT_LOSE, SIM_ACT_NEVER};
  for (int64_t i = sim_pick(r, 1, 3); i > 0; i--) {
    sim_ask_t ask =
        sim_rng_chance(r, 2) ? SIM_ASK_FORWARD_BACKWARD : SIM_ASK_OPTIM;
    sim_add(s, how[sim_rng_below(r, 3)], SIM_WHEN_REQUEST, ask,
            sim_pick(r, 1, 12));
  }
  if (sim_rng_chance(r, 3)) s->trainer.big = 60; /* bodies beside the journal */
  sim_demand_nothing(s);
}

static void f17(sim_script_t *s, sim_rng_t *r) {
  for (int64_t i = sim_pick(r, 1, 4); i > 0; i--) {
    sim_act_t act = sim_rng_chance(r, 2) ? SIM_ACT_TWICE : SIM_ACT_LATE;
    sim_add(s, act, SIM_WHEN_REQUEST, SIM_ASK_MUTATION, sim_pick(r, 2, 24))
        ->arg = 20 * SIM_SECOND;
  }
  sim_demand_nothing(s);
}

static void storm(sim_script_t *s, sim_rng_t *r, sim_act_t act, int64_t status,
                  int64_t for_ms) {
  sim_action_t *a = sim_add(s, act, SIM_WHEN_TIME, SIM_ASK_ANY,
                            sim_pick(r, 0, 40 * SIM_SECOND));
  a->arg = status;
  a->for_ms = for_ms;
  s->session_ms = 30 * SIM_DAY;
  s->trainer.again_ms = 30 * SIM_SECOND;
  sim_demand_nothing(s);
}

static void f18(sim_script_t *s, sim_rng_t *r) {
  storm(s, r, sim_rng_chance(r, 2) ? SIM_ACT_STATUS : SIM_ACT_STATUS_AFTER, 503,
        SIM_HOUR);
}

static void f19(sim_script_t *s, sim_rng_t *r) {
  storm(s, r, SIM_ACT_STATUS, 429, sim_pick(r, 1, 10) * SIM_MINUTE);
}

static void f20(sim_script_t *s, sim_rng_t *r) {
  sim_add(s, SIM_ACT_EMPTY_400, SIM_WHEN_REQUEST,
          sim_rng_chance(r, 2) ? SIM_ASK_RESULT : SIM_ASK_MUTATION,
          sim_pick(r, 1, 20))
      ->times = sim_pick(r, 1, 2);
  sim_demand_nothing(s);
}

static void f21(sim_script_t *s, sim_rng_t *r) {
  int64_t nth = sim_pick(r, 2, 11 * s->trainer.parts);
  if (sim_rng_chance(r, 2)) {
    sim_go_wrong(s, SIM_BUG_REJECT, nth, 0);
    sim_demand_stop(s, "rejected");
  } else {
    /* By its result, or at once: then any call, also an optim_step. */
    bool at_once = sim_rng_chance(r, 2);
    sim_go_wrong(s, at_once ? SIM_BUG_REFUSE : SIM_BUG_REJECT, nth, 1);
    sim_demand_may_go_back(s, 1);
  }
}

/* A number that never arrives, and others that do. */
static void f22(sim_script_t *s, sim_rng_t *r) {
  s->trainer.ahead = 3;
  sim_add(s, SIM_ACT_LOSE, SIM_WHEN_REQUEST, SIM_ASK_MUTATION,
          sim_pick(r, 2, 22));
  sim_add(s, SIM_ACT_KILL, SIM_WHEN_STEP, SIM_ASK_ANY, sim_pick(r, 3, 12))
      ->arg = SIM_SECOND;
  sim_demand_nothing(s);
}

static void f23(sim_script_t *s, sim_rng_t *r) {
  for (int64_t i = sim_pick(r, 1, 3); i > 0; i--) {
    sim_act_t act = sim_rng_chance(r, 2) ? SIM_ACT_GARBLE : SIM_ACT_TRUNCATE;
    sim_ask_t ask = sim_rng_chance(r, 2) ? SIM_ASK_RESULT : SIM_ASK_MUTATION;
    sim_add(s, act, SIM_WHEN_REQUEST, ask, sim_pick(r, 1, 24));
  }
  sim_demand_may_go_back(s, 3);
}

/* What the engine has of it: results that do not arrive in the time of a poll.
 */
static void f24(sim_script_t *s, sim_rng_t *r) {
  sim_action_t *a = sim_add(s, SIM_ACT_NEVER, SIM_WHEN_REQUEST, SIM_ASK_RESULT,
                            sim_pick(r, 1, 20));
  a->times = sim_pick(r, 1, 3);
  sim_demand_nothing(s);
}

const sim_scenario_t sim_service_scenarios[] = {
    {"F01", "the model is corrupted", f01},
    {"F02", "every call of the model fails, nothing shows it", f02},
    {"F03", "the model is shown as corrupted, at times", f03},
    {"F04", "the session is gone", f04},
    {"F05", "signs of life get lost", f05},
    {"F06", "the program gives no sign of life for 200 s", f06},
    {"F07", "the model is unloaded", f07},
    {"F08", "the model's record is gone", f08},
    {"F09", "the service forgets the numbers", f09},
    {"F10", "the reply to a creation is lost", f10},
    {"F11", "lists are stale", f11},
    {"F12", "a result is gone", f12},
    {"F13", "results are gone, applied or not", f13},
    {"F14", "the queue is paused for six hours", f14},
    {"F15", "a result never arrives", f15},
    {"F16", "replies are lost", f16},
    {"F17", "requests arrive twice, replies late", f17},
    {"F18", "an hour of 503", f18},
    {"F19", "minutes of 429", f19},
    {"F20", "bare 400s of a box", f20},
    {"F21", "the service refuses a step", f21},
    {"F22", "a number never arrives, and the program dies", f22},
    {"F23", "malformed and truncated replies", f23},
    {"F24", "polls without an answer", f24}};
const size_t sim_service_scenario_count =
    sizeof sim_service_scenarios / sizeof sim_service_scenarios[0];
