/* check: a history that breaks nothing passes; for each invariant there is one
 * that breaks it alone, and the checker names it. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "made_history.h"

static made_t calm, m;
static char why[1024];

static void setup(void) {
  made_undisturbed(&calm);
  made_recovered(&m, &calm);
}

TestSuite(check, .init = setup);

static void breaks(const char *name, const char *words) {
  cr_assert_eq(sim_check(&m.h, why, sizeof why), 1, "%s was not seen", name);
  cr_assert_eq(strncmp(why, name, strlen(name)), 0, "%s, not %s", why, name);
  cr_assert(why[strlen(name)] == ':', "%s", why);
  cr_assert(strstr(why, words), "%s: no word of \"%s\"", why, words);
}

Test(check, nothing_is_broken) {
  cr_expect_eq(sim_check(&calm.h, why, sizeof why), 0, "%s", why);
  cr_expect_eq(sim_check(&m.h, why, sizeof why), 0, "%s", why);
  cr_expect_str_empty(why);
}

/* --- I1 ------------------------------------------------------------------- */

Test(check, i1_old_model_is_trained) {
  sim_entry_t *e = made_entry(&m, SIM_OPTIM_STEP, 0, 0);
  made_intent(&m, 1, 4, e);
  breaks("I1", "optim_step of model 0");
}

Test(check, i1_old_model_is_saved) {
  sim_entry_t *e = made_entry(&m, SIM_SAVE, 0, 0);
  made_intent(&m, 1, 4, e);
  breaks("I1", "save of model 0");
}

Test(check, i1_old_epoch_commits) {
  made_record(&m, 1, TINKER__REC_STEP_COMMIT, 4)->loss = 1;
  breaks("I1", "e1.db");
}

/* --- I2 ------------------------------------------------------------------- */

Test(check, i2_other_batch) {
  made_find_entry(&m, SIM_FORWARD_BACKWARD, 5)->batch[0] ^= 1;
  breaks("I2", "step 4 has another batch");
}

Test(check, i2_applied_twice) {
  made_find_entry(&m, SIM_OPTIM_STEP, 2)->times = 2;
  breaks("I2", "applied 2 times");
}

Test(check, i2_one_pass_too_many) {
  sim_entry_t *e = made_entry(&m, SIM_FORWARD_BACKWARD, 1, 1);
  made_intent(&m, 2, 4, e);
  e->order = made_find_entry(&m, SIM_OPTIM_STEP, 5)->order++;
  breaks("I2", "step 4 has 2 batches");
}

Test(check, i2_never_sent) {
  made_find_entry(&m, SIM_OPTIM_STEP, 5)->fate = SIM_REFUSED;
  breaks("I2", "the service has no such step");
}

Test(check, i2_other_rate) {
  made_find_entry(&m, SIM_OPTIM_STEP, 5)->learning_rate = 0.25f;
  breaks("I2", "another rate");
}

Test(check, i2_step_left_out) {
  made_drop(&m, made_find(&m, TINKER__REC_STEP_COMMIT, 1));
  breaks("I2", "place 1 of the branch");
}

/* --- I3, I4 --------------------------------------------------------------- */

Test(check, i3_not_proven) {
  made_drop(&m, made_find(&m, TINKER__REC_PROVED, 1));
  breaks("I3", "was not proven");
}

Test(check, i3_proven_too_little) {
  made_find(&m, TINKER__REC_PROVED, 1)->level = 2;
  breaks("I3", "was not proven to level 3");
}

Test(check, i3_begins_again) {
  made_find(&m, TINKER__REC_EPOCH_ACTIVE, 2)->path[0] = '\0';
  breaks("I3", "begins again");
}

Test(check, i4_cold_optimizer) {
  made_find_entry(&m, SIM_LOAD_NEW, 1)->optimizer[3] ^= 1;
  breaks("I4", "other optimizer");
}

Test(check, i4_other_weights) {
  made_find_entry(&m, SIM_LOAD_NEW, 1)->weights[3] ^= 1;
  breaks("I4", "other weights");
}

/* --- I5, I6 --------------------------------------------------------------- */

Test(check, i5_no_rollback) {
  made_drop(&m, made_find(&m, TINKER__REC_ROLLBACK, 1));
  breaks("I5", "falls from step 3 to 2");
}

Test(check, i5_without_a_reason) {
  made_find(&m, TINKER__REC_ROLLBACK, 1)->why[0] = '\0';
  breaks("I5", "without a rollback that says why");
}

Test(check, i5_loop_is_not_told) {
  for (size_t i = 0; i < m.h.shadow_count; i++) m.shadow[i].rolled_back = false;
  breaks("I5", "step 3 again");
}

Test(check, i5_new_process_need_not_be_told) {
  bool after = false;
  for (size_t i = 0; i < m.h.shadow_count; i++) {
    after |= m.shadow[i].rolled_back;
    m.shadow[i].rolled_back = false;
    if (after) m.shadow[i].life = 1;
  }
  cr_expect_eq(sim_check(&m.h, why, sizeof why), 0, "%s", why);
}

Test(check, i6_too_many_lost) {
  m.script.demand.most_lost = 0;
  breaks("I6", "costs 1 steps");
}

Test(check, i6_too_many_in_all) {
  m.script.demand.most_lost_all = 0;
  breaks("I6", "costs 1 steps, 1 so far");
}

/* --- I7 ------------------------------------------------------------------- */

Test(check, i7_acknowledged_and_lost) {
  sim_shadow_t *s = made_line(&m, SIM_SHADOW_COMMIT, 5);
  s->loss = 1;
  breaks("I7", "step 5 was said to be committed");
}

Test(check, i7_other_loss) {
  made_find(&m, TINKER__REC_STEP_COMMIT, 2)->loss += 1;
  breaks("I7", "step 2 was said to be committed");
}

Test(check, i7_too_late) {
  made_find(&m, TINKER__REC_STEP_COMMIT, 2)->at_ms += 1000;
  breaks("I1", "e1.db"); /* it is also after the new model */
  cr_expect_eq(sim_check_i7(&m.h, why, sizeof why), 1);
}

Test(check, i7_damaged) {
  m.h.journal_whole = false;
  breaks("I7", "damaged");
  m.script.demand.damaged = true;
  cr_expect_eq(sim_check(&m.h, why, sizeof why), 0, "%s", why);
}

Test(check, i7_said_and_not_recorded) {
  static char text[] = "{\"event\":\"rollback\",\"run\":\"sim\"}";
  made_line(&m, SIM_SHADOW_EVENT, 0)->text = text;
  cr_expect_eq(sim_check(&m.h, why, sizeof why), 0, "%s", why);
  made_line(&m, SIM_SHADOW_EVENT, 0)->text = text;
  breaks("I7", "2 events \"rollback\"");
}

/* --- I8, I9 --------------------------------------------------------------- */

Test(check, i8_no_intent) {
  made_entry(&m, SIM_FORWARD, 1, 1);
  breaks("I8", "forward of model 1");
}

Test(check, i8_intent_too_late) {
  sim_record_t *r = made_find(&m, TINKER__REC_OP_INTENT, 4);
  r->at_ms += 1;
  breaks("I8", "without an intent in the journal before it");
}

Test(check, i8_duplicate_needs_none) {
  sim_entry_t *e = made_entry(&m, SIM_OPTIM_STEP, 1, 1);
  e->first = 3;
  cr_expect_eq(sim_check(&m.h, why, sizeof why), 0, "%s", why);
}

Test(check, i8_session_is_ended_before_the_run) {
  sim_entry_t *e = made_entry(&m, SIM_FINISH_SESSION, 0, -1);
  e->at_ms = made_find(&m, TINKER__REC_ROLLBACK, 1)->at_ms;
  breaks("I8", "finish_session");
  e->at_ms = made_find(&m, TINKER__REC_EPOCH_ACTIVE, 2)->at_ms;
  cr_expect_eq(sim_check(&m.h, why, sizeof why), 0, "%s", why);
}

Test(check, i8_session_is_ended_after_the_run) {
  made_entry(&m, SIM_FINISH_SESSION, 1, -1);
  cr_expect_eq(sim_check(&m.h, why, sizeof why), 0, "%s", why);
}

/* A proof: a session of its own, with a model of a checkpoint. */
static void proof(int64_t level) {
  sim_record_t *r = made_record(&m, 0, TINKER__REC_CKPT_CHOSEN, 2);
  r->at_ms = 101;
  r->level = level;
  m.h.session_count = m.h.model_count = 3;
  m.models[2].session = 2;
  m.models[2].loaded = 0;
  made_entry(&m, SIM_CREATE_SESSION, 2, -1);
  made_entry(&m, SIM_LOAD_NEW, 2, 2)->checkpoint = 0;
  made_entry(&m, SIM_OPTIM_STEP, 2, 2);
}

Test(check, i8_a_proof_is_announced) {
  proof(4);
  cr_expect_eq(sim_check(&m.h, why, sizeof why), 0, "%s", why);
}

Test(check, i8_a_proof_is_not_announced) {
  proof(3);
  breaks("I8", "create_session");
}

Test(check, i8_a_proof_saves_nothing) {
  proof(4);
  made_entry(&m, SIM_SAVE, 2, 2)->checkpoint = 1;
  breaks("I8", "save of model 2");
}

Test(check, i8_a_life_of_a_checkpoint) {
  sim_record_t *r = made_record(&m, 0, TINKER__REC_CKPT_TTL, 2);
  snprintf(r->name, sizeof r->name, "c1");
  made_entry(&m, SIM_SET_TTL, -1, 0)->checkpoint = 0;
  cr_expect_eq(sim_check(&m.h, why, sizeof why), 0, "%s", why);
  made_entry(&m, SIM_SET_TTL, -1, 0)->checkpoint = 1;
  breaks("I8", "set_ttl");
}

Test(check, i9_nobody_knows_of_a_model) {
  m.h.model_count = 3;
  m.models[2].loaded = -1;
  snprintf(m.models[2].id, sizeof m.models[2].id, "m3");
  breaks("I9", "nobody knows of model m3");
}

Test(check, i9_nobody_knows_of_a_checkpoint) {
  made_find_entry(&m, SIM_SAVE, 2)->body[0] ^= 1;
  made_find(&m, TINKER__REC_CKPT_SAVED, 2)->name[0] = 'x';
  cr_expect_eq(sim_check_i9(&m.h, why, sizeof why), 1);
  cr_expect(strstr(why, "nobody knows of checkpoint"), "%s", why);
}

/* --- I10 ------------------------------------------------------------------ */

static void proven(const char *name, int64_t at_ms) {
  sim_record_t *r = made_record(&m, 0, TINKER__REC_CKPT_LEVEL, 2);
  snprintf(r->name, sizeof r->name, "%s", name);
  r->level = 3;
  r->at_ms = at_ms;
}

/* c3, a checkpoint of the second model, is deleted. */
static sim_entry_t *deleted(void) {
  sim_checkpoint_t *c = &m.checkpoints[m.h.checkpoint_count++];
  *c = m.checkpoints[1];
  c->name = "c3";
  snprintf(c->path, sizeof c->path, "tinker://m2/weights/c3");
  sim_record_t *r = made_record(&m, 2, TINKER__REC_CKPT_SAVED, 4);
  snprintf(r->name, sizeof r->name, "c3");
  r = made_record(&m, 0, TINKER__REC_CKPT_DELETED, 4);
  snprintf(r->name, sizeof r->name, "c3");
  sim_entry_t *e = made_entry(&m, SIM_DELETE, -1, 1);
  e->checkpoint = 2;
  return e;
}

Test(check, i10_two_are_left) {
  proven("c1", 105);
  proven("c2", 105);
  deleted();
  cr_expect_eq(sim_check(&m.h, why, sizeof why), 0, "%s", why);
}

Test(check, i10_one_is_left) {
  proven("c2", 105);
  proven("c1", INT64_MAX);
  deleted();
  breaks("I10", "leaves 1 that are proven");
}

Test(check, i10_refused_ones_do_not_count) {
  proven("c1", 105);
  proven("c2", 105);
  sim_record_t *r = made_record(&m, 0, TINKER__REC_CKPT_QUARANTINED, 2);
  snprintf(r->name, sizeof r->name, "c2");
  deleted();
  breaks("I10", "leaves 1 that are proven");
}

Test(check, i10_in_use) {
  proven("c2", 105);
  sim_record_t *r = made_record(&m, 0, TINKER__REC_CKPT_DELETED, 2);
  snprintf(r->name, sizeof r->name, "c1");
  made_entry(&m, SIM_DELETE, -1, 0)->checkpoint = 0;
  breaks("I10", "deletes what");
}

Test(check, i10_amid_an_incident) {
  proven("c1", 105);
  proven("c2", 105);
  made_record(&m, 0, TINKER__REC_INC_OPEN, 4);
  deleted();
  cr_expect_eq(sim_check_i10(&m.h, why, sizeof why), 1);
  cr_expect(strstr(why, "amid"), "%s", why);
}

Test(check, i10_not_ours) {
  deleted();
  made_drop(&m, made_find(&m, TINKER__REC_CKPT_SAVED, 3));
  breaks("I10", "not the run's");
}

Test(check, i10_expired) {
  proven("c1", 105);
  proven("c2", 105);
  m.checkpoints[1].expires_ms = m.checkpoints[1].deleted_ms = m.h.end_ms;
  breaks("I10", "has expired");
}

/* --- I11, I12 ------------------------------------------------------------- */

Test(check, i11_takes_too_long) {
  m.script.demand.bound_ms = 20;
  breaks("I11", "is open for");
}

Test(check, i11_never_ends) {
  sim_record_t *r = made_record(&m, 0, TINKER__REC_INC_OPEN, 4);
  r->incident = 2;
  m.script.demand.most_incidents = 2;
  m.h.last_fault_ms = r->at_ms;
  breaks("I11", "never ends");
}

Test(check, i11_too_many_attempts) {
  m.script.demand.most_attempts = 0;
  breaks("I11", "has 1 attempts");
}

/* n attempts that were seen to fail, in the incident. */
static void attempts(int n) {
  while (n-- > 0) {
    size_t at = (size_t)(made_find(&m, TINKER__REC_PROVED, 1) - m.records);
    made_record_at(&m, at, 0, TINKER__REC_ATTEMPT_END, 3)->at_ms = 105;
  }
}

Test(check, i12_more_than_allowed) {
  attempts(2);
  cr_expect_eq(sim_check(&m.h, why, sizeof why), 0, "%s", why);
  attempts(1);
  breaks("I12", "attempt 4 of 3");
}

Test(check, i12_refused_candidates_are_none) {
  attempts(3);
  size_t at = (size_t)(made_find(&m, TINKER__REC_PROVED, 1) - m.records);
  sim_record_t *r = made_record_at(&m, at, 0, TINKER__REC_CKPT_QUARANTINED, 3);
  snprintf(r->name, sizeof r->name, "c9");
  cr_expect_eq(sim_check(&m.h, why, sizeof why), 0, "%s", why);
}

Test(check, i12_deaths_are_none) {
  sim_record_t *r = made_record(&m, 0, TINKER__REC_INC_OPEN, 4);
  r->incident = 2;
  r = made_record(&m, 0, TINKER__REC_INC_STOP, 4);
  snprintf(r->why, sizeof r->why, "3 attempts to go back to a checkpoint");
  m.script.demand.most_incidents = 2;
  breaks("I12", "gives up after 1 attempts");
}

Test(check, i12_counts_anew_without_progress) {
  made_record(&m, 0, TINKER__REC_LEDGER, 3)->count = 0;
  breaks("I12", "was lost at step 3");
}

Test(check, i12_counts_anew_after_progress) {
  made_record(&m, 0, TINKER__REC_LEDGER, 4)->count = 0;
  cr_expect_eq(sim_check(&m.h, why, sizeof why), 0, "%s", why);
}

/* --- I13, I14 ------------------------------------------------------------- */

Test(check, i13_nothing_is_known) {
  m.script.demand.unknown_only = true;
  breaks("I13", "INC_OPEN");
}

Test(check, i13_nothing_has_happened) {
  m.h.faults = 0;
  breaks("I13", "INC_OPEN");
}

Test(check, i13_two_models) {
  m.h.faults = 0;
  made_drop(&m, made_find(&m, TINKER__REC_INC_OPEN, 1));
  sim_record_t *r = made_find(&m, TINKER__REC_ROLLBACK, 1);
  r->type = TINKER__REC_SIGNAL;
  cr_expect_eq(sim_check_i13(&m.h, why, sizeof why), 1);
  cr_expect(strstr(why, "EPOCH_ACTIVE"), "%s", why);
}

static const char *const secrets[] = {"tml-secret", NULL};

Test(check, i14_event_tells) {
  static char text[] = "{\"event\":\"incident\",\"why\":\"key tml-secret\"}";
  m.h.secrets = secrets;
  cr_expect_eq(sim_check(&m.h, why, sizeof why), 0, "%s", why);
  made_line(&m, SIM_SHADOW_EVENT, 0)->text = text;
  breaks("I14", "tml-secret");
}

Test(check, i14_file_tells) {
  char folder[] = "/tmp/tinker-check-XXXXXX", path[64];
  cr_assert(mkdtemp(folder));
  m.h.secrets = secrets;
  m.h.folder = folder;
  snprintf(path, sizeof path, "%s/e1.db", folder);
  FILE *f = fopen(path, "wb");
  cr_assert(f);
  fwrite("\0\0key=tml-secre", 1, 15, f);
  fflush(f);
  cr_expect_eq(sim_check(&m.h, why, sizeof why), 0, "%s", why);
  fwrite("t\0", 1, 2, f);
  fclose(f);
  int bad = sim_check_i14(&m.h, why, sizeof why);
  unlink(path);
  rmdir(folder);
  cr_expect_eq(bad, 1);
  cr_expect(strstr(why, "e1.db has the secret"), "%s", why);
}

/* --- I15 ------------------------------------------------------------------ */

/* A script that steps the clock alone is held against the run without. */
Test(check, i15_is_asked_for) {
  m.script.action_count = 1;
  m.script.actions[0].act = SIM_ACT_CLOCK;
  breaks("I15", "with the other clock");
  m.script.actions[0].act = SIM_ACT_KILL;
  cr_expect_eq(sim_check(&m.h, why, sizeof why), 0, "%s", why);
}

/* --- I16, I17 ------------------------------------------------------------- */

/* The ledger alone shows it: another batch in the weights of the checkpoint. */
Test(check, i16_other_batch) {
  made_find_entry(&m, SIM_FORWARD_BACKWARD, 1)->batch[0] ^= 1;
  cr_expect_eq(sim_check_i16(&m.h, why, sizeof why), 1);
  cr_expect(strstr(why, "has consumed 4 batches"), "%s", why);
}

Test(check, i16_one_more) {
  made_find_entry(&m, SIM_SAVE, 1)->order =
      made_find_entry(&m, SIM_OPTIM_STEP, 3)->order + 1;
  cr_expect_eq(sim_check_i16(&m.h, why, sizeof why), 1);
  cr_expect(strstr(why, "has consumed 5 batches"), "%s", why);
}

Test(check, i16_what_was_cut_off_is_none) {
  made_find_entry(&m, SIM_FORWARD_BACKWARD, 3)->batch[0] ^= 1;
  cr_expect_eq(sim_check_i16(&m.h, why, sizeof why), 0, "%s", why);
}

Test(check, i17_other_weights) {
  made_find_entry(&m, SIM_OPTIM_STEP, 5)->weights[9] ^= 1;
  breaks("I17", "other weights");
}

Test(check, i17_other_optimizer) {
  made_find_entry(&m, SIM_OPTIM_STEP, 5)->optimizer[9] ^= 1;
  breaks("I17", "another optimizer");
}

Test(check, i17_other_loss) {
  made_find(&m, TINKER__REC_STEP_COMMIT, 5)->loss += 1;
  m.shadow[m.h.shadow_count - 2].loss += 1;
  breaks("I17", "STEP_COMMIT of step 4");
}

Test(check, i17_one_ulp) {
  double *loss = &made_find(&calm, TINKER__REC_STEP_COMMIT, 4)->loss;
  *loss = *loss * (1 + 2.3e-16);
  breaks("I17", "undisturbed");
}

/* --- I19, the demand ------------------------------------------------------ */

Test(check, i19_not_done) {
  m.h.shadow_count--;
  breaks("I19", "is not done");
}

Test(check, i19_too_late) {
  m.shadow[m.h.shadow_count - 1].now_ms += m.script.demand.bound_ms;
  breaks("I19", "the bound is");
}

Test(check, demand_incidents) {
  m.script.demand.least_incidents = m.script.demand.most_incidents = 2;
  breaks("demand", "1 incidents, expected are 2 to 2");
}

Test(check, demand_event) {
  m.script.demand.event = "checkpoint_failed";
  breaks("demand", "nothing says \"checkpoint_failed\"");
}

Test(check, demand_stop) {
  m.script.demand.end = SIM_END_STOPPED;
  m.script.demand.reason = "no checkpoint";
  breaks("demand", "has not stopped");
  sim_record_t *r = made_record(&m, 0, TINKER__REC_INC_STOP, 4);
  snprintf(r->why, sizeof r->why, "something else");
  breaks("demand", "something else");
  snprintf(r->why, sizeof r->why, "no checkpoint is left");
  cr_expect_eq(sim_check(&m.h, why, sizeof why), 0, "%s", why);
  m.script.demand.end = SIM_END_DONE;
  breaks("demand", "no checkpoint is left");
}

Test(check, demand_refusal) {
  m.script.demand.end = SIM_END_REFUSED;
  m.script.demand.code = -4;
  breaks("demand", "nothing was refused");
  sim_shadow_t *s = made_line(&m, SIM_SHADOW_FAILED, 0);
  s->code = -3;
  breaks("demand", "code -3");
  s->code = -4;
  cr_expect_eq(sim_check(&m.h, why, sizeof why), 0, "%s", why);
  s->code = -3;
  m.script.demand.may_be_done = true;
  cr_expect_eq(sim_check(&m.h, why, sizeof why), 0, "%s", why);
}
