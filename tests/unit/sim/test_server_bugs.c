/* Each bug of the simulated service bites, and bites where it was told to. */
#include "server_rig.h"

#include <math.h>

/* Three steps and a save, a model made of it and two more steps, with one bug.
 * What came of it. */
typedef struct {
  rig_t r;
  bool saved, loaded, went_on; /* as far as the answers say */
  bool listed;
  double loss[5];
  sim_model_t first, second;
} outcome_t;

static void play(outcome_t *o, const sim_fault_t *fault) {
  memset(o, 0, sizeof *o);
  o->r = rig_new(3);
  rig_t *r = &o->r;
  if (fault) sim_server_add_fault(r->server, fault);
  rig_model(r, 0);
  for (int i = 0; i < 3; i++) o->loss[i] = rig_step(r, 0, 1 + 2 * i, 2);
  rig_save(r, 0, 7, "a");
  o->saved = rig_done(r);
  r->now += 10;
  rig_get(r, "checkpoints");
  o->listed = strstr(r->text, "weights/a") != NULL;
  rig_load(r, 1, "a", true);
  o->loaded = r->reply.status == 200 && rig_done(r);
  for (int i = 0; o->loaded && i < 2; i++) {
    o->loss[3 + i] = rig_step(r, 1, 1 + 2 * i, 2);
  }
  o->went_on = strstr(r->text, "metrics") != NULL;
  o->first = *sim_server_model(r->server, 0);
  if (sim_server_models(r->server) > 1) {
    o->second = *sim_server_model(r->server, 1);
  }
}

static sim_fault_t once(sim_bug_t bug, int64_t nth, int64_t arg) {
  return (sim_fault_t){bug, nth, 1, -1, arg};
}

static outcome_t play_once(sim_bug_t bug, int64_t nth, int64_t arg) {
  outcome_t o;
  sim_fault_t fault = once(bug, nth, arg);
  play(&o, &fault);
  cr_assert_eq(sim_server_hits(o.r.server, bug), 1, "%s", sim_bug_name(bug));
  return o;
}

Test(server_bugs, none) {
  outcome_t a;
  play(&a, NULL);
  cr_assert(a.saved && a.loaded && a.went_on && a.listed);
  cr_assert_lt(a.loss[4], a.loss[3]);
  cr_assert_lt(a.loss[3], a.loss[2]);
  rig_free(&a.r);
}

/* What changes the numbers of the first model, from which pass on, while every
 * answer is a success. */
Test(server_bugs, of_numbers) {
  static const struct {
    sim_bug_t bug;
    int64_t nth, arg;
    int equal; /* losses from the first on that are as without it */
  } cases[] = {
      {SIM_BUG_APPLY_TWICE, 4, 0, 2},    {SIM_BUG_KEEP_GRADIENTS, 1, 0, 2},
      {SIM_BUG_IGNORE_UPDATE, 2, 0, 2},  {SIM_BUG_FLIP_UPDATE, 2, 0, 2},
      {SIM_BUG_SPIKE, 2, 50, 1},         {SIM_BUG_RAMP, 2, 10, 1},
      {SIM_BUG_DROP_OPTIMIZER, 1, 0, 4}, {SIM_BUG_LOAD_BASE, 1, 0, 3},
      {SIM_BUG_SAVE_FLIP, 1, 0, 3},      {SIM_BUG_SAVE_POISONED, 1, 0, 3},
  };
  outcome_t well;
  play(&well, NULL);
  for (size_t k = 0; k < sizeof cases / sizeof *cases; k++) {
    outcome_t o = play_once(cases[k].bug, cases[k].nth, cases[k].arg);
    int equal = 0;
    while (equal < 5 && o.loss[equal] == well.loss[equal]) equal++;
    cr_expect_eq(equal, cases[k].equal, "%s: %d", sim_bug_name(cases[k].bug),
                 equal);
    cr_expect(o.saved && o.loaded && o.went_on);
    bool shown_only = cases[k].bug == SIM_BUG_RAMP;
    cr_expect_eq(same(o.second.weights, well.second.weights), shown_only);
    rig_free(&o.r);
  }
  rig_free(&well.r);
}

Test(server_bugs, constant) {
  outcome_t o = play_once(SIM_BUG_CONSTANT, 2, 0);
  rig_free(&o.r);
}

/* The loss is NaN, and the step that would use the gradients is refused. */
Test(server_bugs, nan) {
  outcome_t o = play_once(SIM_BUG_NAN, 2, 0);
  cr_assert(isnan(o.loss[1]));
  cr_assert_eq(o.first.steps, 2);
  cr_assert(isfinite(o.loss[2]));
  rig_free(&o.r);
}

/* The name is taken, or the files are bad: the answers say it, or not. */
Test(server_bugs, of_saves) {
  outcome_t o = play_once(SIM_BUG_SAVE_FAILS, 1, 0);
  cr_assert(!o.saved && !o.listed && !o.loaded);
  rig_free(&o.r);
  o = play_once(SIM_BUG_SAVE_PENDING, 1, 0);
  cr_assert(o.saved && o.listed && !o.loaded);
  cr_assert_eq(sim_server_checkpoint(o.r.server, 0)->size, 0);
  rig_free(&o.r);
  o = play_once(SIM_BUG_SAVE_UNLISTED, 1, 0);
  cr_assert(o.saved && !o.listed && !o.loaded);
  rig_free(&o.r);
  o = play_once(SIM_BUG_SAVE_TAKEN, 1, 0);
  cr_assert(!o.saved && o.listed && o.loaded);
  cr_assert_neq(o.loss[3], o.loss[2]);
  rig_free(&o.r);
  o = play_once(SIM_BUG_SAVE_SHORT, 1, 1);
  cr_assert(o.saved && !o.listed && !o.loaded);
  rig_free(&o.r);
  o = play_once(SIM_BUG_LOAD_FAILS, 1, 0);
  cr_assert(o.saved && o.listed && !o.loaded);
  rig_free(&o.r);
  o = play_once(SIM_BUG_DELETE_NEWEST, 7, 0);
  cr_assert(o.saved && !o.listed && !o.loaded);
  rig_free(&o.r);
}

/* The state of the checkpoint before, stored or loaded. */
Test(server_bugs, older_states) {
  static const sim_bug_t bugs[] = {SIM_BUG_SAVE_OLD, SIM_BUG_LOAD_OLD};
  for (int k = 0; k < 2; k++) {
    rig_t r = rig_new(1);
    sim_fault_t fault = once(bugs[k], k ? 1 : 2, 0);
    sim_server_add_fault(r.server, &fault);
    rig_model(&r, 0);
    rig_save(&r, 0, 1, "old");
    rig_done(&r);
    rig_step(&r, 0, 2, 1);
    rig_save(&r, 0, 4, "new");
    rig_done(&r);
    rig_load(&r, 1, "new", true);
    cr_assert(rig_done(&r));
    const sim_checkpoint_t *old = sim_server_checkpoint(r.server, 0);
    const sim_checkpoint_t *new = sim_server_checkpoint(r.server, 1);
    cr_assert(same(sim_server_model(r.server, 1)->weights, old->weights));
    cr_assert_not(same(old->weights, new->weights));
    cr_assert_eq(new->damaged, k == 0);
    rig_free(&r);
  }
}

/* Calls of a broken model fail; whether its run shows it depends on the bug. */
Test(server_bugs, corrupted) {
  char path[100];
  for (int k = 0; k < 3; k++) {
    static const sim_bug_t bugs[] = {SIM_BUG_CORRUPT, SIM_BUG_CORRUPT_HIDDEN,
                                     SIM_BUG_POISON_BATCH};
    outcome_t o = play_once(bugs[k], 2, 0);
    cr_assert(!o.saved && o.first.corrupted);
    cr_assert_eq(o.first.steps, k == 2 ? 1 : 0);
    snprintf(path, sizeof path, "training_runs/%s:train:0", o.r.session);
    rig_get(&o.r, path);
    cr_assert_eq(strstr(o.r.text, "\"corrupted\":true") != NULL, k != 1);
    /* The batch corrupts whoever sees it, until it is healed. */
    for (int i = 0; i < 2; i++) {
      rig_model(&o.r, 5 + i);
      rig_pass_of(&o.r, "forward_backward", 5 + i, 1, 2);
      cr_assert_eq(rig_done(&o.r), k != 2 || i == 1);
      sim_server_heal(o.r.server);
    }
    rig_free(&o.r);
  }
}

Test(server_bugs, reads) {
  rig_t r = rig_new(1);
  sim_fault_t faults[] = {once(SIM_BUG_SHOW_CORRUPTED, 2, 0),
                          once(SIM_BUG_OMIT_CORRUPTED, 3, 0),
                          once(SIM_BUG_WRONG_INFO, 1, 0),
                          once(SIM_BUG_SWAPPED_FLAGS, 2, 0),
                          {SIM_BUG_STALE_LISTS, 4, 0, -1, 3600000},
                          once(SIM_BUG_BEAT_GONE, 1, 0)};
  for (int i = 0; i < 6; i++) sim_server_add_fault(r.server, &faults[i]);
  rig_model(&r, 0);
  rig_save(&r, 0, 1, "a");
  rig_done(&r);
  rig_get(&r, "training_runs");
  cr_assert(strstr(r.text, "\"corrupted\":false"));
  rig_get(&r, "training_runs");
  cr_assert(strstr(r.text, "\"corrupted\":true"));
  rig_get(&r, "training_runs");
  cr_assert_null(strstr(r.text, "\"corrupted\""));
  cr_assert(strstr(r.text, "weights/a"));
  rig_get(&r, "training_runs");
  cr_assert_null(strstr(r.text, "train:0"));
  for (int i = 0; i < 3; i++) {
    rig_post(&r, "weights_info",
             "{\"tinker_path\":\"tinker://%s:train:0/weights/a\"}", r.session);
    cr_assert_eq(strstr(r.text, "\"lora_rank\":8") != NULL, i == 0);
    cr_assert_eq(strstr(r.text, "\"train_unembed\":false") != NULL, i == 1);
  }
  for (int i = 0; i < 2; i++) {
    cr_assert_eq(
        rig_post(&r, "session_heartbeat", "{\"session_id\":\"%s\"}", r.session),
        i ? 200 : 404);
  }
  rig_free(&r);
}

/* A result that is gone, of a call that was applied or not. */
Test(server_bugs, forgotten) {
  char id[300];
  for (int applied = 0; applied < 2; applied++) {
    rig_t r = rig_new(1);
    sim_fault_t fault =
        once(applied ? SIM_BUG_FORGET : SIM_BUG_FORGET_UNAPPLIED, 3, 0);
    sim_server_add_fault(r.server, &fault);
    rig_model(&r, 0);
    rig_pass_of(&r, "forward_backward", 0, 1, 1);
    rig_done(&r);
    for (int i = 0; i < 2; i++) {
      rig_optim(&r, 0, 2);
      rig_field(&r, "request_id", id);
      cr_assert_eq(rig_result(&r, id), 410);
    }
    rig_pass_of(&r, "forward_backward", 0, 3, 1);
    cr_assert(rig_done(&r));
    cr_assert_eq(sim_server_model(r.server, 0)->steps, applied);
    const sim_entry_t *e = rig_last(&r);
    cr_assert_eq(e->fate, SIM_APPLIED);
    cr_assert_eq(sim_server_entry(r.server, 3)->fate,
                 applied ? SIM_APPLIED : SIM_IGNORED);
    rig_free(&r);
  }
}

/* A call that waits, is slow or never ends. */
Test(server_bugs, of_time) {
  char id[300];
  static const sim_bug_t bugs[] = {SIM_BUG_PAUSE, SIM_BUG_SLOW, SIM_BUG_STUCK};
  for (int k = 0; k < 3; k++) {
    rig_t r = rig_new(1);
    sim_fault_t fault = once(bugs[k], 2, 45000);
    sim_server_add_fault(r.server, &fault);
    rig_model(&r, 0);
    int64_t from = r.now;
    rig_save(&r, 0, 1, "a");
    rig_field(&r, "request_id", id);
    rig_result(&r, id);
    cr_assert(strstr(r.text, "try_again"));
    cr_assert_eq(strstr(r.text, "paused_capacity") != NULL, k == 0);
    cr_assert_eq(r.now, from + 30000);
    rig_result(&r, id);
    cr_assert_eq(strstr(r.text, "try_again") != NULL, k == 2);
    if (k < 2) cr_assert_geq(r.now, from + 45000);
    rig_free(&r);
  }
}

Test(server_bugs, no_dedup) {
  rig_t r = rig_new(1);
  sim_fault_t fault = {SIM_BUG_NO_DEDUP, 1, 0, -1, 0};
  sim_server_add_fault(r.server, &fault);
  rig_model(&r, 0);
  rig_pass_of(&r, "forward_backward", 0, 1, 1);
  rig_done(&r);
  rig_optim(&r, 0, 2);
  size_t first = (size_t)r.reply.entry;
  rig_optim(&r, 0, 2); /* while the first one waits */
  rig_done(&r);
  rig_optim(&r, 0, 2); /* after it was done */
  rig_done(&r);
  cr_assert_eq(sim_server_entry(r.server, first)->times, 3);
  cr_assert_eq(sim_server_model(r.server, 0)->steps, 3);
  rig_free(&r);
}

/* Refused at once, or by its result; the state stays. */
Test(server_bugs, rejected) {
  outcome_t o = play_once(SIM_BUG_REJECT, 2, 0);
  cr_assert_eq(o.first.steps, 3); /* a step without gradients */
  rig_free(&o.r);
  o = play_once(SIM_BUG_FAIL, 7, 0);
  cr_assert(!o.saved);
  cr_assert_not(o.first.corrupted);
  rig_free(&o.r);
  rig_t r = rig_new(1);
  sim_fault_t faults[] = {once(SIM_BUG_REFUSE, 2, 0),
                          once(SIM_BUG_RETIRED, 2, 0)};
  for (int i = 0; i < 2; i++) sim_server_add_fault(r.server, &faults[i]);
  rig_model(&r, 0);
  cr_assert_eq(rig_save(&r, 0, 1, "a"), 400);
  cr_assert_eq(rig_save(&r, 0, 2, "a"), 200);
  cr_assert(rig_done(&r));
  rig_load(&r, 1, "a", true);
  cr_assert_eq(r.reply.status, 404);
  rig_free(&r);
}

/* The model, its run or its session are gone, or its numbers begin anew. */
Test(server_bugs, gone) {
  char path[100];
  static const struct {
    sim_bug_t bug;
    int64_t arg;
    int run, info, beat, save;
  } cases[] = {{SIM_BUG_UNLOAD, 0, 200, 404, 200, 404},
               {SIM_BUG_DELETE_RUN, 0, 404, 404, 200, 404},
               {SIM_BUG_DROP_SESSION, 0, 200, 200, 404, 404},
               {SIM_BUG_RESET_SEQUENCE, 0, 200, 200, 200, 200},
               {SIM_BUG_RESET_SEQUENCE, 1, 200, 200, 200, 409}};
  for (size_t k = 0; k < sizeof cases / sizeof *cases; k++) {
    rig_t r = rig_new(1);
    sim_fault_t fault = once(cases[k].bug, 2, cases[k].arg);
    sim_server_add_fault(r.server, &fault);
    rig_model(&r, 0);
    rig_pass_of(&r, "forward_backward", 0, 1, 1);
    rig_done(&r);
    rig_optim(&r, 0, 2);
    r.now += 1000;
    snprintf(path, sizeof path, "training_runs/%s:train:0", r.session);
    cr_expect_eq(rig_get(&r, path), cases[k].run);
    cr_expect_eq(rig_post(&r, "get_info", "{\"model_id\":\"%s\"}",
                          strchr(path, '/') + 1),
                 cases[k].info);
    cr_expect_eq(
        rig_post(&r, "session_heartbeat", "{\"session_id\":\"%s\"}", r.session),
        cases[k].beat);
    cr_expect_eq(rig_save(&r, 0, 3, "a"), cases[k].save);
    if (cases[k].save == 200) {
      cr_expect_not(rig_done(&r));
      cr_expect(strstr(r.text, "waiting for seq_id 1"));
    }
    rig_free(&r);
  }
}

/* A fault is of one model, and begins and ends where it was told to. */
Test(server_bugs, where_and_when) {
  rig_t r = rig_new(1);
  sim_fault_t fault = {SIM_BUG_FAIL, 2, 2, 1, 0};
  sim_server_add_fault(r.server, &fault);
  for (int m = 0; m < 2; m++) {
    rig_model(&r, m);
    for (int i = 1; i <= 5; i++) {
      rig_pass_of(&r, "forward_backward", m, i, i);
      cr_assert_eq(rig_done(&r), m == 0 || i == 1 || i > 3);
    }
  }
  cr_assert_eq(sim_server_hits(r.server, SIM_BUG_FAIL), 2);
  sim_server_hit(r.server, r.now, SIM_BUG_UNLOAD, 1);
  cr_assert_eq(rig_optim(&r, 1, 6), 404);
  cr_assert_eq(rig_optim(&r, 0, 6), 200);
  rig_free(&r);
}
