/* What a start executes again: another result than before is noticed, and what
 * a snapshot or a result that could not be stored leaves. */
#include <criterion/criterion.h>
#include <pthread.h>
#include <sched.h>
#include <sqlite3.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include <tinker/error.h>

#include "cpu/cpu.h"
#include "rig.h"

static rig_t rig;
static reply_t reply;
static char session[80], model[120], body[600];
static atomic_bool differs;

/* The same step with another norm than the one that was told. */
static int other_norm(tinker__eng_train_t *t,
                      const tinker__eng_optim_params_t *p,
                      tinker__eng_optim_metrics_t *out, char *why,
                      size_t why_len) {
  int rc = tinker__cpu_engine()->optim_step(t, p, out, why, why_len);
  if (atomic_load(&differs)) out->grad_norm += 1;
  return rc;
}

static void open_model(void) {
  rig_open(&rig);
  rig_session(&rig, session, sizeof session);
  rig_model(&rig, session, 0, model, sizeof model);
}

static void pass(int seq) {
  rig_fb_body(body, sizeof body, model, seq);
  rig_do(&rig, "POST api/v1/forward_backward", body, &reply);
}

static void step(int seq) {
  pass(seq);
  rig_optim_body(body, sizeof body, model, seq + 1);
  rig_do(&rig, "POST api/v1/optim_step", body, &reply);
}

Test(replay, another_result_stops_the_model) {
  open_model();
  step(1);
  rig_kill(&rig);
  rig.api.optim_step = other_norm;
  rig.logs = true;
  atomic_store(&differs, true);
  rig_start(&rig);
  for (int restart = 0; restart < 2; restart++) {
    rig_optim_body(body, sizeof body, model, 3 + restart);
    rig_do(&rig, "POST api/v1/optim_step", body, &reply);
    cr_assert_neq(strstr(reply.text, "another result than before"), NULL, "%s",
                  reply.text);
    cr_assert_neq(strstr(reply.text, "\"category\":\"server\""), NULL);
    cr_assert(rig_says(&rig, "replay_differs"));
    atomic_store(&differs, false); /* it stays stopped */
    rig_kill(&rig);
    rig_start(&rig);
  }
  rig_model(&rig, session, 1, model, sizeof model); /* others go on */
  step(1);
  cr_assert_neq(strstr(reply.text, "unclipped_grad_l2"), NULL);
  rig_close(&rig);
}

Test(replay, the_same_result_stops_nothing) {
  open_model();
  step(1);
  rig_kill(&rig);
  rig.api.optim_step = other_norm;
  rig.logs = true;
  atomic_store(&differs, false);
  rig_start(&rig);
  step(3);
  cr_assert_neq(strstr(reply.text, "unclipped_grad_l2"), NULL, "%s",
                reply.text);
  rig_stop(&rig); /* its log is whole then */
  cr_assert_not(rig_said(&rig, "replay_differs"));
  rig_close(&rig);
}

/* --- Results of an older version ------------------------------------------ */

/* The stored result of a call becomes this one. */
static void put_result(int seq, const char *text) {
  char path[80], sql[400], hex[2 * TINKER__SHA256_LEN + 1];
  unsigned char digest[TINKER__SHA256_LEN];
  sqlite3 *db;
  cr_assert_eq(tinker__sha256(text, strlen(text), digest), 0);
  tinker__hex(digest, sizeof digest, hex);
  snprintf(path, sizeof path, "%s/store.db", rig.dir);
  snprintf(sql, sizeof sql,
           "UPDATE requests SET result = CAST('%s' AS BLOB), result_digest ="
           " x'%s' WHERE owner_kind = 0 AND seq = %d",
           text, hex, seq);
  cr_assert_eq(sqlite3_open(path, &db), SQLITE_OK);
  cr_assert_eq(sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK, "%s",
               sqlite3_errmsg(db));
  cr_assert_eq(sqlite3_changes(db), 1);
  sqlite3_close(db);
}

static void restart_with_result(int seq, const char *text) {
  rig_kill(&rig);
  put_result(seq, text);
  rig.logs = true;
  rig_start(&rig);
}

/* Before version 3 of the store a step without gradients told the norm 0. */
Test(replay, a_float_may_have_been_written_as_an_integer) {
  open_model();
  rig_optim_body(body, sizeof body, model, 1);
  rig_do(&rig, "POST api/v1/optim_step", body, &reply);
  cr_assert_neq(strstr(reply.text, "\"unclipped_grad_l2:mean\":0.0}"), NULL,
                "%s", reply.text);
  restart_with_result(1, "{\"metrics\":{\"unclipped_grad_l2:mean\":0},"
                         "\"type\":\"optim_step\"}");
  step(2);
  cr_assert_neq(strstr(reply.text, "unclipped_grad_l2"), NULL, "%s",
                reply.text);
  restart_with_result(1, "{\"metrics\":{\"unclipped_grad_l2:mean\":1},"
                         "\"type\":\"optim_step\"}");
  rig_optim_body(body, sizeof body, model, 4);
  rig_do(&rig, "POST api/v1/optim_step", body, &reply);
  cr_assert_neq(strstr(reply.text, "another result than before"), NULL, "%s",
                reply.text);
  rig_stop(&rig);
  cr_assert(rig_said(&rig, "replay_differs"));
  rig_close(&rig);
}

static int refuse_step(tinker__eng_train_t *t,
                       const tinker__eng_optim_params_t *p,
                       tinker__eng_optim_metrics_t *out, char *why,
                       size_t why_len) {
  if (!atomic_load(&differs)) {
    return tinker__cpu_engine()->optim_step(t, p, out, why, why_len);
  }
  return tinker__why(why, why_len, TINKER_EINVAL, "not such a gradient");
}

/* What a sentence says is not what a call does. A call that fails now and did
 * not then, or the other way round, is another result. */
Test(replay, a_refusal_may_have_had_other_words) {
  open_model();
  rig_stop(&rig);
  rig.api.optim_step = refuse_step;
  rig_start(&rig);
  atomic_store(&differs, true);
  rig_optim_body(body, sizeof body, model, 1);
  rig_do(&rig, "POST api/v1/optim_step", body, &reply);
  cr_assert_neq(strstr(reply.text, "\"not such a gradient\",\"category\":"),
                NULL, "%s", reply.text);
  restart_with_result(1, "{\"error\":\"no\",\"category\":\"user\"}");
  rig_optim_body(body, sizeof body, model, 2);
  rig_do(&rig, "POST api/v1/optim_step", body, &reply);
  cr_assert_neq(strstr(reply.text, "not such a gradient"), NULL, "%s",
                reply.text);
  rig_kill(&rig); /* its log is whole then */
  cr_assert_not(rig_said(&rig, "replay_differs"));
  atomic_store(&differs, false);
  rig_start(&rig);
  rig_optim_body(body, sizeof body, model, 3);
  rig_do(&rig, "POST api/v1/optim_step", body, &reply);
  cr_assert_neq(strstr(reply.text, "another result than before"), NULL, "%s",
                reply.text);
  rig_close(&rig);
}

Test(replay, a_refusal_is_not_what_was_done) {
  open_model();
  rig_stop(&rig);
  rig.api.optim_step = refuse_step;
  rig_start(&rig);
  atomic_store(&differs, false);
  rig_optim_body(body, sizeof body, model, 1);
  rig_do(&rig, "POST api/v1/optim_step", body, &reply);
  cr_assert_neq(strstr(reply.text, "unclipped_grad_l2"), NULL);
  rig_kill(&rig);
  atomic_store(&differs, true);
  rig_start(&rig);
  rig_optim_body(body, sizeof body, model, 2);
  rig_do(&rig, "POST api/v1/optim_step", body, &reply);
  cr_assert_neq(strstr(reply.text, "another result than before"), NULL, "%s",
                reply.text);
  rig_close(&rig);
}

static int snapshots(void) {
  return rig_count(&rig, "snapshots", "");
}

/* A call without a snapshot: that of the one before is stored when it is over.
 */
static void save(int seq) {
  snprintf(body, sizeof body,
           "{\"model_id\":\"%s\",\"seq_id\":%d,\"path\":\"c%d\"}", model, seq,
           seq);
  rig_do(&rig, "POST api/v1/save_weights", body, &reply);
}

/* The store does not take a newer snapshot: the older one is all there is. A
 * snapshot comes before the next call. */
Test(replay, a_snapshot_that_could_not_be_stored) {
  char name[80];
  open_model();
  rig.s->config.snapshot_ms = 0;
  step(1);
  save(3);
  cr_assert_eq(snapshots(), 1);
  pthread_mutex_lock(&rig.s->lock);
  tinker__link_t *l = tinker__list_first(&rig.s->models);
  int64_t first = TINKER__CONTAINER(l, tinker__svc_model_t, link)->snapshot;
  pthread_mutex_unlock(&rig.s->lock);
  cr_assert_gt(first, 0);
  rig_refuse(&rig, "UPDATE OF snapshot ON models");
  step(4);
  save(6);
  snprintf(name, sizeof name, "snapshots/%lld", (long long)first);
  cr_assert_eq(snapshots(), 1);
  cr_assert_eq(rig_count(&rig, name, "state.safetensors"), 1);
  rig_stop(&rig);
  rig.logs = true;
  rig_start(&rig);
  cr_assert_not(rig_said(&rig, "folder_missing"));
  rig_optim_body(body, sizeof body, model, 7);
  rig_do(&rig, "POST api/v1/optim_step", body, &reply);
  cr_assert_neq(strstr(reply.text, "unclipped_grad_l2"), NULL, "%s",
                reply.text);
  rig_close(&rig);
}

/* --- Results of one group ------------------------------------------------- */

static pthread_mutex_t gate = PTHREAD_MUTEX_INITIALIZER;

static int gated_step(tinker__eng_train_t *t,
                      const tinker__eng_optim_params_t *p,
                      tinker__eng_optim_metrics_t *out, char *why,
                      size_t why_len) {
  pthread_mutex_lock(&gate);
  pthread_mutex_unlock(&gate);
  return tinker__cpu_engine()->optim_step(t, p, out, why, why_len);
}

static pthread_mutex_t store_gate = PTHREAD_MUTEX_INITIALIZER;
static atomic_bool store_held;

static void on_held(void *user, int rc, struct sqlite3_stmt *row) {
  (void)user;
  (void)rc;
  (void)row;
  atomic_store(&store_held, true);
  pthread_mutex_lock(&store_gate);
  pthread_mutex_unlock(&store_gate);
}

static int64_t next_seq(void) {
  pthread_mutex_lock(&rig.s->lock);
  tinker__link_t *l = tinker__list_first(&rig.s->models);
  int64_t next = TINKER__CONTAINER(l, tinker__svc_model_t, link)->next_seq;
  pthread_mutex_unlock(&rig.s->lock);
  return next;
}

static int state_of(int seq) {
  char path[80], text[100];
  sqlite3 *db;
  sqlite3_stmt *stmt;
  snprintf(path, sizeof path, "%s/store.db", rig.dir);
  snprintf(text, sizeof text,
           "SELECT state FROM requests WHERE owner_kind = 0 AND seq = %d", seq);
  cr_assert_eq(sqlite3_open(path, &db), SQLITE_OK);
  cr_assert_eq(sqlite3_prepare_v2(db, text, -1, &stmt, NULL), SQLITE_OK);
  cr_assert_eq(sqlite3_step(stmt), SQLITE_ROW);
  int state = sqlite3_column_int(stmt, 0);
  sqlite3_finalize(stmt);
  if (seq == 3) sqlite3_exec(db, "DROP TRIGGER full", NULL, NULL, NULL);
  sqlite3_close(db);
  return state;
}

/* Three results wait for one commit, the second can't be stored: the third
 * follows from it and must not be stored either. */
Test(replay, results_behind_one_that_could_not_be_stored) {
  rig_open(&rig);
  rig_stop(&rig);
  rig.api.optim_step = gated_step;
  rig_start(&rig);
  rig_session(&rig, session, sizeof session);
  rig_model(&rig, session, 0, model, sizeof model);
  pthread_mutex_lock(&gate);
  for (int seq = 1; seq <= 3; seq++) {
    rig_optim_body(body, sizeof body, model, seq);
    rig_call(&rig, "POST api/v1/optim_step", NULL, NULL, body, &reply);
    cr_assert_eq(reply.status, 200, "%s", reply.text);
  }
  rig_refuse(&rig, "UPDATE ON requests WHEN NEW.seq = 2");
  pthread_mutex_lock(&store_gate);
  cr_assert_eq(tinker__svc_store_read_result(rig.s->store, 0, on_held, NULL),
               0);
  while (!atomic_load(&store_held)) sched_yield();
  pthread_mutex_unlock(&gate);
  while (next_seq() < 4) sched_yield();
  pthread_mutex_unlock(&store_gate);
  rig_stop(&rig);
  cr_assert(atomic_load(&rig.ended));
  cr_assert_eq(state_of(1), TINKER__SVC_OUTCOME_DONE);
  cr_assert_eq(state_of(2), TINKER__SVC_OUTCOME_PENDING);
  cr_assert_eq(state_of(3), TINKER__SVC_OUTCOME_PENDING);
  rig_start(&rig);
  for (int seq = 1; seq <= 3; seq++) {
    char id[200];
    snprintf(id, sizeof id, "%s:%d", model, seq);
    rig_result(&rig, id, &reply);
    cr_assert_neq(strstr(reply.text, "unclipped_grad_l2"), NULL, "%s",
                  reply.text);
  }
  rig_close(&rig);
}
