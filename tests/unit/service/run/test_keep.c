/* When states go into snapshots and out of memory, and that they are the same
 * when they come back. The clock of the service is the test's. */
#include <criterion/criterion.h>
#include <pthread.h>
#include <sched.h>
#include <sqlite3.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <tinker/error.h>

#include "cpu/cpu.h"
#include "rig.h"

static rig_t rig;
static reply_t reply;
static char session[80], models[3][120], body[900];
static _Atomic int64_t time_ms = 1000000;
static atomic_int passes; /* that the engine was asked for */
static atomic_int kept;   /* states with gradients, into snapshots */
static bool can_keep = true;
static int64_t keep_ms; /* that this takes */
static bool keep_fails;

static int64_t now(void *user) {
  (void)user;
  return atomic_load(&time_ms);
}

/* Each takes 100 ms of the engine's time. */
static int begin(tinker__eng_train_t *t, const tinker__eng_train_datum_t *data,
                 size_t n, const tinker__eng_loss_config_t *loss,
                 bool forward_only, tinker__eng_pass_t **out, char *why,
                 size_t why_len) {
  atomic_fetch_add(&passes, 1);
  atomic_fetch_add(&time_ms, 100);
  return tinker__cpu_engine()->pass_begin(t, data, n, loss, forward_only, out,
                                          why, why_len);
}

static int keep(tinker__eng_train_t *t, const char *dir, char *why,
                size_t why_len) {
  const tinker__engine_api_t *api = tinker__cpu_engine();
  if (api->train_has_grad(t)) atomic_fetch_add(&kept, 1);
  atomic_fetch_add(&time_ms, keep_ms);
  if (keep_fails) return tinker__why(why, why_len, TINKER_EIO, "a full disk");
  return api->train_keep(t, dir, why, why_len);
}

static void open_rig(int n) {
  rig_open(&rig);
  rig_stop(&rig);
  rig.api.train_keep = can_keep ? keep : NULL;
  if (!can_keep) rig.api.train_resume = NULL;
  rig.world.now_ms = now;
  rig.api.pass_begin = begin;
  rig.logs = true;
  rig_start(&rig);
  rig_session(&rig, session, sizeof session);
  for (int i = 0; i < n; i++) {
    rig_model(&rig, session, i, models[i], sizeof models[i]);
  }
}

static void pass(int i, int seq) {
  rig_fb_body(body, sizeof body, models[i], seq);
  rig_do(&rig, "POST api/v1/forward_backward", body, &reply);
}

static void optim(int i, int seq) {
  rig_optim_body(body, sizeof body, models[i], seq);
  rig_do(&rig, "POST api/v1/optim_step", body, &reply);
  cr_assert_neq(strstr(reply.text, "unclipped_grad_l2"), NULL, "%s",
                reply.text);
}

static void train(int i, int seq) {
  pass(i, seq);
  optim(i, seq + 1);
}

/* Calls of a model in the log, by their numbers a digit each; of its creation
 * nothing. */
static const char *logged(int i) {
  static char numbers[200];
  sqlite3 *db;
  sqlite3_stmt *rows;
  char path[80];
  snprintf(path, sizeof path, "%s/store.db", rig.dir);
  cr_assert_eq(sqlite3_open(path, &db), SQLITE_OK);
  cr_assert_eq(
      sqlite3_prepare_v2(db,
                         "SELECT group_concat(seq, ' ') FROM (SELECT r.seq FROM"
                         " requests r JOIN models m ON m.row = r.owner AND"
                         " r.owner_kind = 0 WHERE m.seq = ? AND r.seq > 0 AND"
                         " length(r.body) > 0 ORDER BY r.seq)",
                         -1, &rows, NULL),
      SQLITE_OK);
  sqlite3_bind_int(rows, 1, i);
  cr_assert_eq(sqlite3_step(rows), SQLITE_ROW);
  const char *text = (const char *)sqlite3_column_text(rows, 0);
  snprintf(numbers, sizeof numbers, "%s", text ? text : "");
  sqlite3_finalize(rows);
  sqlite3_close(db);
  return numbers;
}

static int snapshots(void) {
  return rig_count(&rig, "snapshots", "");
}

/* A stop leaves nothing to be repeated, and the next start goes on from it to
 * the same bits as a model that was never stopped. */
Test(keep, a_stop_writes_snapshots) {
  static reply_t last;
  open_rig(2);
  train(0, 1);
  train(1, 1);
  train(1, 3);
  last = reply;
  cr_assert_eq(snapshots(), 0);
  rig_stop(&rig);
  cr_assert_eq(snapshots(), 2);
  atomic_store(&passes, 0);
  rig_start(&rig);
  train(0, 3);
  cr_assert_eq(atomic_load(&passes), 1);
  cr_assert_str_eq(reply.text, last.text);
  rig_stop(&rig);
  cr_assert_eq(snapshots(), 2); /* the other one has not changed */
  rig_start(&rig);
  rig_close(&rig);
}

/* Also when a snapshot before it has failed. */
Test(keep, a_stop_writes_a_snapshot_that_has_failed) {
  open_rig(1);
  rig.s->config.snapshot_ms = 100;
  keep_fails = true;
  pass(0, 1);
  cr_assert(rig_says(&rig, "snapshot_failed"));
  cr_assert_eq(snapshots(), 0);
  keep_fails = false;
  rig_stop(&rig);
  cr_assert_eq(snapshots(), 1);
  rig_start(&rig);
  rig_close(&rig);
}

/* So it is with gradients that no optim_step has used yet. */
Test(keep, a_stop_keeps_gradients) {
  static reply_t last;
  open_rig(2);
  pass(1, 1);
  train(1, 2);
  last = reply;
  pass(0, 1);
  rig_stop(&rig);
  cr_assert_eq(atomic_load(&kept), 1);
  cr_assert_str_eq(logged(0), "");
  atomic_store(&passes, 0);
  rig_start(&rig);
  train(0, 2);
  cr_assert_eq(atomic_load(&passes), 1);
  cr_assert_str_eq(reply.text, last.text);
  rig_close(&rig);
}

/* An engine that can't store gradients: their log stays, and is executed again.
 */
Test(keep, a_stop_keeps_the_log_of_gradients) {
  static reply_t last;
  can_keep = false;
  open_rig(2);
  train(0, 1);
  train(1, 1);
  train(1, 3);
  last = reply;
  rig_fb_body(body, sizeof body, models[0], 3);
  rig_do(&rig, "POST api/v1/forward_backward", body, &reply);
  rig_stop(&rig);
  cr_assert_eq(snapshots(), 1);
  rig_start(&rig);
  rig_optim_body(body, sizeof body, models[0], 4);
  rig_do(&rig, "POST api/v1/optim_step", body, &reply);
  cr_assert_str_eq(reply.text, last.text);
  rig_close(&rig);
}

/* Each did less than the bound, all together more: those with more than their
 * share are kept. */
Test(keep, the_bound_is_for_all) {
  open_rig(3);
  rig.s->config.snapshot_ms = 500;
  train(0, 1);
  train(1, 1);
  train(2, 1);
  train(0, 3);
  cr_assert_eq(snapshots(), 0);
  train(1, 3); /* 500 of all, 200 of it: kept before the next call */
  train(2, 3);
  cr_assert_eq(snapshots(), 1); /* it is below the bound again */
  train(0, 5);
  train(2, 5);
  cr_assert_eq(snapshots(), 2);
  rig_close(&rig);
}

static bool in_memory(int i) {
  pthread_mutex_lock(&rig.s->lock);
  tinker__svc_model_t *m =
      tinker__map_get(rig.s->model_by_id, tinker__str(models[i]));
  bool there = m->rests_ms != 0;
  pthread_mutex_unlock(&rig.s->lock);
  return there;
}

/* Is any model at work or being saved? A model counts its rest from the end of
 * its work, which follows the answer. Under the lock. */
static bool is_busy(void) {
  for (size_t i = 0; i < sizeof models / sizeof models[0]; i++) {
    const tinker__svc_model_t *m =
        tinker__map_get(rig.s->model_by_id, tinker__str(models[i]));
    if (m && (m->saving || m->state != TINKER__SVC_MODEL_IDLE)) return true;
  }
  return false;
}

/* The timer's look; then the engine thread is through with what it was given.
 */
static void look(void) {
  pthread_mutex_lock(&rig.s->lock);
  tinker__svc_models_rest(rig.s, now(NULL));
  while (is_busy()) {
    pthread_mutex_unlock(&rig.s->lock);
    sched_yield();
    pthread_mutex_lock(&rig.s->lock);
  }
  pthread_mutex_unlock(&rig.s->lock);
}

Test(keep, a_resting_model_leaves_memory_and_comes_back) {
  static reply_t last;
  open_rig(2);
  train(0, 1);
  train(1, 1);
  train(1, 3);
  last = reply;
  look();
  cr_assert(in_memory(0));
  size_t before = rig.mem.live_bytes;
  atomic_fetch_add(&time_ms, 300000);
  look();
  look();
  cr_assert_not(in_memory(0));
  cr_assert_eq(snapshots(), 2);
  cr_assert_lt(rig.mem.live_bytes, before);
  train(0, 3);
  cr_assert_str_eq(reply.text, last.text);
  cr_assert(in_memory(0));
  rig_close(&rig);
}

/* The first look waits for the end of the last step, which follows its answer.
 */
static void rest(void) {
  look();
  atomic_fetch_add(&time_ms, 300000);
  look();
  look();
  cr_assert_not(in_memory(0));
}

Test(keep, gradients_leave_memory_and_come_back) {
  static reply_t last;
  open_rig(2);
  pass(1, 1);
  train(1, 2);
  train(1, 4);
  last = reply;
  pass(0, 1);
  rest();
  cr_assert_str_eq(logged(0), "");
  pass(0, 2); /* is added to what was stored */
  rest();
  optim(0, 3);
  rest();
  train(0, 4);
  cr_assert_str_eq(reply.text, last.text);
  rig_close(&rig);
}

/* --- What bounds the log ---------------------------------------------------
 */

/* Calls of a model that never takes a step: snapshots shorten its log all the
 * same, and a start repeats no more than the bound. */
Test(keep, gradients_that_are_never_used) {
  static reply_t last;
  open_rig(2);
  for (int seq = 1; seq <= 12; seq++) pass(1, seq);
  optim(1, 13);
  train(1, 14);
  last = reply;
  rig_idle(&rig);
  rig.s->config.snapshot_ms = 500; /* five passes */
  for (int seq = 1; seq <= 12; seq++) {
    pass(0, seq);
    cr_assert_leq(strlen(logged(0)), strlen("6 7 8 9 10 11"));
  }
  rig_kill(&rig);
  cr_assert_str_eq(logged(0), "11 12");
  atomic_store(&passes, 0);
  rig_start(&rig);
  optim(0, 13);
  cr_assert_eq(atomic_load(&passes), 2);
  train(0, 14);
  cr_assert_str_eq(reply.text, last.text);
  rig_close(&rig);
}

/* Slow ones follow as much work as makes them a tenth of it. */
Test(keep, gradients_take_a_tenth_of_the_time) {
  open_rig(1);
  rig.s->config.snapshot_ms = 500;
  keep_ms = 200;
  for (int seq = 1; seq <= 24; seq++) pass(0, seq);
  cr_assert_eq(atomic_load(&kept), 1); /* after five */
  pass(0, 25);
  pass(0, 26);
  cr_assert_eq(atomic_load(&kept), 2);
  rig_close(&rig);
}

/* The bytes of a log are bounded, too, whatever the calls are. */
Test(keep, bytes_of_the_log) {
  enum { LARGE = 33 << 20 };
  char *large = malloc(LARGE + sizeof body + 20);
  cr_assert_not_null(large);
  open_rig(1);
  for (int seq = 1; seq <= 2; seq++) {
    rig_fb_body(body, sizeof body, models[0], seq);
    size_t n = (size_t)snprintf(large, 10, "{\"x\":\"");
    memset(large + n, 'x', LARGE);
    snprintf(large + n + LARGE, sizeof body + 4, "\",%s", body + 1);
    rig_do(&rig, "POST api/v1/forward_backward", large, &reply);
  }
  pass(0, 3);
  rig_kill(&rig);
  cr_assert_str_eq(logged(0), "3");
  cr_assert_eq(atomic_load(&kept), 1);
  free(large);
  rig_start(&rig);
  rig_close(&rig);
}

/* A step that is the next call is waited for: its snapshot needs no gradients.
 */
Test(keep, a_step_that_is_there_comes_first) {
  char id[200];
  open_rig(1);
  rig.s->config.snapshot_ms = -1; /* after each call */
  rig_optim_body(body, sizeof body, models[0], 2);
  rig_call(&rig, "POST api/v1/optim_step", NULL, NULL, body, &reply);
  rig_member(&reply, "request_id", id, sizeof id);
  pass(0, 1);
  rig_result(&rig, id, &reply);
  pass(0, 3);
  rig_stop(&rig);
  cr_assert_eq(atomic_load(&kept), 1); /* of the last call */
  rig_start(&rig);
  rig_close(&rig);
}

static int no_step(tinker__eng_train_t *t,
                   const tinker__eng_optim_params_t *params,
                   tinker__eng_optim_metrics_t *out, char *why,
                   size_t why_len) {
  (void)t;
  (void)params;
  (void)out;
  return tinker__why(why, why_len, TINKER_EIO, "not today");
}

/* Calls that have changed nothing are not in the log once they are over. */
Test(keep, what_changed_nothing_is_not_in_the_log) {
  open_rig(1);
  pass(0, 1);
  rig_fb_body(body, sizeof body, models[0], 2);
  char *input = strstr(body, "forward_backward_input");
  memcpy(input, "forward_input\"         ", strlen("forward_backward_input\""));
  rig_do(&rig, "POST api/v1/forward", body, &reply);
  rig.api.optim_step = no_step;
  rig_optim_body(body, sizeof body, models[0], 3);
  rig_do(&rig, "POST api/v1/optim_step", body, &reply);
  cr_assert_neq(strstr(reply.text, "not today"), NULL, "%s", reply.text);
  rig.api.optim_step = tinker__cpu_engine()->optim_step;
  snprintf(body, sizeof body,
           "{\"model_id\":\"%s\",\"seq_id\":4,\"path\":\"a\"}", models[0]);
  rig_do(&rig, "POST api/v1/save_weights", body, &reply);
  rig_kill(&rig);
  cr_assert_str_eq(logged(0), "1");
  rig_start(&rig);
  optim(0, 5);
  rig_close(&rig);
}

Test(keep, gradients_that_cannot_be_stored_stay_in_memory) {
  can_keep = false;
  open_rig(1);
  pass(0, 1);
  for (int i = 0; i < 3; i++) {
    atomic_fetch_add(&time_ms, 300000);
    look();
  }
  cr_assert(in_memory(0));
  cr_assert_eq(snapshots(), 0);
  rig_close(&rig);
}
