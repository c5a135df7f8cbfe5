/* fate: the list of scenarios, and what they are made with. */
#include "sim/fate.h"

#include <stdio.h>
#include <string.h>

#include "sim/fate_in.h"

static const char *const act_names[SIM_ACTS] = {
    [SIM_ACT_NONE] = "nothing",
    [SIM_ACT_REFUSE] = "no connection",
    [SIM_ACT_LOSE] = "request lost",
    [SIM_ACT_CUT] = "reply lost",
    [SIM_ACT_NEVER] = "never answered",
    [SIM_ACT_TWICE] = "request twice",
    [SIM_ACT_LATE] = "reply late",
    [SIM_ACT_STATUS] = "status by a box",
    [SIM_ACT_STATUS_AFTER] = "status instead of the reply",
    [SIM_ACT_EMPTY_400] = "bare 400",
    [SIM_ACT_HTML] = "portal",
    [SIM_ACT_REDIRECT] = "redirect",
    [SIM_ACT_GARBLE] = "reply garbled",
    [SIM_ACT_TRUNCATE] = "reply truncated",
    [SIM_ACT_OTHERS_REPLY] = "another's reply",
    [SIM_ACT_TLS] = "certificate refused",
    [SIM_ACT_KILL] = "killed",
    [SIM_ACT_POWER] = "power lost",
    [SIM_ACT_EXIT] = "exit",
    [SIM_ACT_HANG] = "hang",
    [SIM_ACT_SECOND] = "second process",
    [SIM_ACT_UNLOCK] = "lock removed",
    [SIM_ACT_LEAVE] = "left",
    [SIM_ACT_CLOCK] = "clock stepped",
    [SIM_ACT_SLEEP] = "asleep",
    [SIM_ACT_DISK_FULL] = "disk full",
    [SIM_ACT_SYNC_FAILS] = "fsync fails",
    [SIM_ACT_WRITE_SHORT] = "short write",
    [SIM_ACT_HIT] = "service goes wrong",
    [SIM_ACT_DAMAGE] = "journal damaged",
    [SIM_ACT_REMOVE] = "journal removed"};

const char *sim_act_name(sim_act_t act) {
  return act < SIM_ACTS ? act_names[act] : "?";
}

/* --- Requests ------------------------------------------------------------- */

static const struct {
  const char *method, *path;
  sim_ask_t ask;
} asks[] = {{"POST", "forward_backward", SIM_ASK_FORWARD_BACKWARD},
            {"POST", "optim_step", SIM_ASK_OPTIM},
            {"POST", "forward", SIM_ASK_FORWARD},
            {"POST", "save_weights", SIM_ASK_SAVE},
            {"POST", "load_weights", SIM_ASK_LOAD},
            {"POST", "create_model", SIM_ASK_CREATE},
            {"POST", "create_session", SIM_ASK_SESSION},
            {"POST", "finish", SIM_ASK_SESSION},
            {"POST", "retrieve_future", SIM_ASK_RESULT},
            {"POST", "session_heartbeat", SIM_ASK_BEAT},
            {"POST", "weights_info", SIM_ASK_READ},
            {"POST", "get_info", SIM_ASK_READ},
            {"PUT", "", SIM_ASK_TTL},
            {"DELETE", "", SIM_ASK_DELETE},
            {"GET", "", SIM_ASK_READ}};

sim_ask_t sim_ask_of(const char *method, const char *path) {
  for (size_t i = 0; i < sizeof asks / sizeof asks[0]; i++) {
    if (strcmp(method, asks[i].method) != 0) continue;
    const char *at = *asks[i].path ? strstr(path, asks[i].path) : path;
    if (at && (!*asks[i].path || at == path || at[-1] == '/')) {
      size_t len = strlen(asks[i].path);
      bool ends = len == 0 || at[len] == '\0' || at[len] == '?' ||
                  asks[i].ask == SIM_ASK_SAVE || asks[i].ask == SIM_ASK_LOAD;
      if (ends) return asks[i].ask;
    }
  }
  return SIM_ASK_OTHER;
}

/* --- What scenarios are made with ----------------------------------------- */

int64_t sim_pick(sim_rng_t *r, int64_t low, int64_t high) {
  return low + (int64_t)sim_rng_below(r, (uint64_t)(high - low + 1));
}

/* Scripts are compared as bytes, so that no padding is left as it was. */
sim_action_t *sim_add(sim_script_t *s, sim_act_t act, sim_when_t when,
                      sim_ask_t ask, int64_t n) {
  sim_action_t *a = &s->actions[s->action_count];
  if (s->action_count + 1 < SIM_MAX_ACTIONS) s->action_count++;
  memset(a, 0, sizeof *a);
  a->act = act;
  a->when = when;
  a->ask = ask;
  a->n = n;
  a->life = -1;
  return a;
}

sim_fault_t *sim_go_wrong(sim_script_t *s, sim_bug_t bug, int64_t nth,
                          int64_t times) {
  sim_fault_t *f = &s->faults[s->fault_count];
  if (s->fault_count + 1 < SIM_MAX_FAULTS) s->fault_count++;
  memset(f, 0, sizeof *f);
  f->bug = bug;
  f->nth = nth;
  f->times = times;
  f->model = -1;
  return f;
}

/* --- Demands -------------------------------------------------------------- */

void sim_demand_back(sim_script_t *s, int64_t incidents, int64_t more) {
  sim_demand_t *d = &s->demand;
  int64_t interval = s->trainer.every + s->trainer.ahead;
  d->unknown_only = false;
  d->least_incidents = 1;
  d->most_incidents = incidents;
  d->most_lost = interval + more * s->trainer.every;
  d->most_lost_all = incidents * d->most_lost;
}

void sim_demand_may_go_back(sim_script_t *s, int64_t incidents) {
  sim_demand_back(s, incidents, 0);
  s->demand.least_incidents = 0;
}

void sim_demand_stop(sim_script_t *s, const char *reason) {
  sim_demand_back(s, 100, 100);
  s->demand.least_incidents = 0;
  s->trainer.patience = 2;
  s->trainer.lives = 2;
  s->demand.end = SIM_END_STOPPED;
  s->demand.reason = reason;
  s->demand.same_bits = false;
}

void sim_demand_nothing(sim_script_t *s) {
  s->demand.unknown_only = true;
}

/* --- The list ------------------------------------------------------------- */

static void nothing(sim_script_t *s, sim_rng_t *r) {
  (void)s;
  (void)r;
}

static const sim_scenario_t none = {"none", "nothing goes wrong", nothing};

size_t sim_fates(void) {
  return sim_service_scenario_count + sim_data_scenario_count +
         sim_host_scenario_count;
}

static const sim_scenario_t *scenario(size_t i) {
  if (i < sim_service_scenario_count) return &sim_service_scenarios[i];
  i -= sim_service_scenario_count;
  if (i < sim_data_scenario_count) return &sim_data_scenarios[i];
  i -= sim_data_scenario_count;
  return i < sim_host_scenario_count ? &sim_host_scenarios[i] : &none;
}

const char *sim_fate_name(size_t i) {
  return scenario(i)->name;
}

const char *sim_fate_title(size_t i) {
  return scenario(i)->title;
}

/* A program that starts again when it dies, and asks again when it is told of
 * a failure. */
static void usual(sim_script_t *s, const char *name) {
  memset(s, 0, sizeof *s);
  s->name = name;
  s->trainer.steps = 12;
  s->trainer.every = 4;
  s->trainer.attempts = 3;
  s->trainer.delay_ms = 15 * SIM_MINUTE;
  s->trainer.ttl_seconds = -1;
  s->trainer.watch_ms = 10 * SIM_SECOND;
  s->trainer.zero = true;
  s->trainer.ahead = 1;
  s->trainer.parts = 1;
  s->trainer.pause_ms = 3 * SIM_SECOND;
  s->trainer.big = 1;
  s->trainer.changes_life = -1;
  s->trainer.patience = 100000;
  s->trainer.again_ms = SIM_SECOND;
  s->trainer.lives = 60;
  s->demand.end = SIM_END_DONE;
  s->demand.same_bits = true;
  s->demand.most_attempts = 8;
  s->demand.bound_ms = 20 * SIM_MINUTE;
}

/* Shapes that a run may have, so that scenarios meet several of them. */
static void shape(sim_script_t *s, sim_rng_t *r) {
  static const int64_t intervals[] = {2, 3, 4, 6};
  s->trainer.every = intervals[sim_rng_below(r, 4)];
  s->trainer.ahead = sim_pick(r, 1, 3);
  s->trainer.parts = sim_pick(r, 1, 2);
}

#define FEW 3

/* What the run does not see in time, or sees only by steps that it happens to
 * do again: each of these has its own demand, and no place in a mixture. */
static bool stands_alone(const char *name) {
  static const char *const names[] = {"F09", "F15", "F28", "F29", "F30",
                                      "F36", "F39", "F40", "F41", "F42",
                                      "F45", "F46", "F47"};
  for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
    if (strcmp(name, names[i]) == 0) return true;
  }
  return false;
}

/* Whatever happens, it stops happening; then the run has to be done. The
 * service goes wrong in one way: in two it may leave no checkpoint that is
 * right. */
static void mixed(sim_script_t *s, sim_rng_t *r) {
  int64_t n = sim_pick(r, 1, FEW);
  for (int64_t i = 0; i < n; i++) {
    size_t at = (size_t)sim_rng_below(r, sim_fates());
    sim_script_t one = *s;
    one.action_count = one.fault_count = 0;
    scenario(at)->fill(&one, r);
    bool fits = one.demand.end == SIM_END_DONE && one.demand.same_bits &&
                !one.demand.damaged && !stands_alone(scenario(at)->name) &&
                (one.fault_count == 0 || s->fault_count == 0) &&
                one.trainer.steps == s->trainer.steps;
    if (!fits) continue;
    for (size_t k = 0; k < one.action_count; k++) {
      sim_action_t *a = sim_add(s, SIM_ACT_NONE, SIM_WHEN_TIME, SIM_ASK_ANY, 0);
      *a = one.actions[k];
    }
    for (size_t k = 0; k < one.fault_count; k++) {
      *sim_go_wrong(s, SIM_BUG_NONE, 0, 0) = one.faults[k];
    }
  }
  sim_demand_may_go_back(s, 40);
  s->demand.most_lost = s->trainer.steps;
  s->demand.most_lost_all = 40 * s->trainer.steps;
  s->demand.most_attempts = 40;
  s->demand.bound_ms = 20 * SIM_HOUR;
  s->trainer.attempts = 40;
  s->trainer.patience = 20; /* a full disk is for the next process */
  s->trainer.again_ms = 10 * SIM_SECOND;
  s->trainer.lives = 1000;
  s->heal_ms = sim_pick(r, 1, 10) * SIM_MINUTE;
}

static const sim_scenario_t mix = {"random", "several at once", mixed};

static const sim_scenario_t *find(const char *name) {
  if (strcmp(name, none.name) == 0) return &none;
  if (strcmp(name, mix.name) == 0) return &mix;
  for (size_t i = 0; i < sim_fates(); i++) {
    if (strcmp(scenario(i)->name, name) == 0) return scenario(i);
  }
  return NULL;
}

bool sim_fate_script(const char *name, uint64_t seed, sim_script_t *out) {
  const sim_scenario_t *c = find(name);
  sim_rng_t r = sim_rng(seed, 7);
  if (!c) return false;
  usual(out, c->name);
  shape(out, &r);
  c->fill(out, &r);
  return true;
}

void sim_fate_undisturbed(const sim_script_t *script, sim_script_t *out) {
  usual(out, "none");
  out->trainer = script->trainer;
  out->trainer.changes_life = -1;
  out->trainer.other_plan = out->trainer.other_data = false;
  out->session_ms = script->session_ms;
}
