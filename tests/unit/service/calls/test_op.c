/* A call is executed and there is no memory for its result: nothing is told,
 * the model goes through its log again from its snapshot, and comes to the same
 * bits. The service lives on. Looks of the timer are the test's. */
#include <criterion/criterion.h>
#include <pthread.h>
#include <sqlite3.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "cpu/cpu.h"
#include "rig.h"

#define POINTS 12 /* more than a completion has allocations */

static rig_t rig;
static reply_t reply;
static char session[80], model[120], body[900];
static atomic_int optim_fails,
    pass_fails; /* n-th allocation after it; 0 = no */
static int models, parked;
static int spared; /* steps before the one that fails. Engine thread */

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static bool hold;

static void set_hold(bool on) {
  pthread_mutex_lock(&lock);
  hold = on;
  pthread_cond_broadcast(&changed);
  pthread_mutex_unlock(&lock);
}

static void fail_behind(atomic_int *n) {
  int at = atomic_exchange(n, 0);
  if (at) atomic_store(&rig.mem.fail_at, rig.mem.count + (uint64_t)at);
}

static int optim_step(tinker__eng_train_t *t,
                      const tinker__eng_optim_params_t *p,
                      tinker__eng_optim_metrics_t *out, char *why,
                      size_t why_len) {
  pthread_mutex_lock(&lock);
  while (hold) pthread_cond_wait(&changed, &lock);
  pthread_mutex_unlock(&lock);
  int rc = tinker__cpu_engine()->optim_step(t, p, out, why, why_len);
  if (spared > 0) {
    spared--;
  } else {
    fail_behind(&optim_fails);
  }
  return rc;
}

static double pass_loss(const tinker__eng_pass_t *p) {
  double loss = tinker__cpu_engine()->pass_loss(p);
  fail_behind(&pass_fails);
  return loss;
}

static void open_failing(void) {
  rig_open(&rig);
  rig_stop(&rig);
  rig.api.optim_step = optim_step;
  rig.api.pass_loss = pass_loss;
  rig.logs = true;
  rig_start(&rig);
  rig.s->config.poll_ms = 20;
  rig.s->config.snapshot_ms = 0;
  rig_session(&rig, session, sizeof session);
}

static bool look(void) {
  tinker__svc_lock(rig.s);
  bool any = !tinker__list_empty(&rig.s->parked);
  tinker__svc_ops_retry(rig.s);
  tinker__svc_models_retry(rig.s, INT64_MAX);
  bool still = !tinker__list_empty(&rig.s->parked);
  tinker__svc_unlock(rig.s);
  parked += any && !still;
  return still;
}

static void poll(int seq) {
  snprintf(body, sizeof body, "{\"request_id\":\"%s:%d\"}", model, seq);
  rig_call(&rig, "POST api/v1/retrieve_future", NULL, NULL, body, &reply);
}

/* The poll may be what has no memory. */
static bool has_result(int seq) {
  poll(seq);
  return reply.status == 200 && !strstr(reply.text, "try_again");
}

static void take(int seq) {
  for (int i = 0; i < 1000 && !has_result(seq); i++) look();
  atomic_store(&rig.mem.fail_at, 0);
  cr_assert_eq(reply.status, 200, "%s", reply.text);
  cr_assert_eq(strstr(reply.text, "error"), NULL, "%s", reply.text);
  cr_assert(!atomic_load(&rig.ended));
}

static void send_pass(int seq) {
  rig_fb_body(body, sizeof body, model, seq);
  rig_call(&rig, "POST api/v1/forward_backward", NULL, NULL, body, &reply);
  cr_assert_eq(reply.status, 200, "%s", reply.text);
}

static void send_step(int seq) {
  rig_optim_body(body, sizeof body, model, seq);
  rig_call(&rig, "POST api/v1/optim_step", NULL, NULL, body, &reply);
  cr_assert_eq(reply.status, 200, "%s", reply.text);
}

static void pass(int seq) {
  send_pass(seq);
  take(seq);
}

static void step(int seq) {
  send_step(seq);
  take(seq);
}

static void save(int seq) {
  snprintf(body, sizeof body,
           "{\"model_id\":\"%s\",\"seq_id\":%d,\"path\":\"kept\"}", model, seq);
  rig_do(&rig, "POST api/v1/save_weights", body, &reply);
}

/* A snapshot, gradients and a save after it, and the calls whose results have
 * no memory for their n-th allocation; what the last ones give in out. The save
 * is not carried out once more. */
static void train(int n, reply_t out[2]) {
  static reply_t saved;
  rig_model(&rig, session, models++, model, sizeof model);
  pass(1);
  step(2);
  pass(3);
  save(4);
  saved = reply;
  atomic_store(&pass_fails, n);
  pass(5);
  atomic_store(&optim_fails, n);
  step(6);
  out[0] = reply;
  pass(7);
  out[1] = reply;
  take(4);
  cr_assert_str_eq(reply.text, saved.text);
}

Test(complete, without_memory_at_any_point) {
  static reply_t want[2], got;
  static reply_t again[2];
  char last[120];
  open_failing();
  train(0, want);
  cr_assert_eq(parked, 0);
  for (int n = 1; n <= POINTS; n++) {
    train(n, again);
    cr_assert_str_eq(again[0].text, want[0].text, "%d", n);
    cr_assert_str_eq(again[1].text, want[1].text, "%d", n);
  }
  cr_assert_geq(parked, 6); /* of each call at least the first ones */
  memcpy(last, model, sizeof last);
  rig_stop(&rig);
  rig_start(&rig);
  memcpy(model, last, sizeof last);
  pass(8);
  got = reply;
  train(0, want);
  pass(8);
  cr_assert_str_eq(got.text, reply.text);
  rig_stop(&rig); /* its log is whole then */
  cr_assert_eq(strstr(rig.log, "replay_differs"), NULL, "%s", rig.log);
  rig_close(&rig);
}

/* While a result and a snapshot are on their way into the store nobody knows
 * from where the model has to begin. */
Test(complete, not_before_the_store_knows) {
  static reply_t want;
  char path[80];
  sqlite3 *db;
  open_failing();
  rig_model(&rig, session, models++, model, sizeof model);
  step(1);
  step(2);
  pass(3);
  want = reply;
  rig_model(&rig, session, models++, model, sizeof model);
  set_hold(true);
  spared = 1;
  atomic_store(&optim_fails, 1);
  send_step(1);
  send_step(2);
  snprintf(path, sizeof path, "%s/store.db", rig.dir);
  cr_assert_eq(sqlite3_open(path, &db), SQLITE_OK);
  int rc = sqlite3_exec(db, "BEGIN IMMEDIATE", NULL, NULL, NULL);
  cr_assert_eq(rc, SQLITE_OK, "%s", sqlite3_errmsg(db));
  set_hold(false);
  for (int i = 0; i < 1000 && !look(); i++) poll(2);
  for (int i = 0; i < 20; i++) cr_assert(look());
  cr_assert_eq(sqlite3_exec(db, "ROLLBACK", NULL, NULL, NULL), SQLITE_OK);
  sqlite3_close(db);
  take(2);
  pass(3);
  cr_assert_str_eq(reply.text, want.text);
  rig_close(&rig);
}

/* --- Failures ------------------------------------------------------------- */

/* What can't even be told that it failed is told later. */
Test(complete, a_failure_without_memory) {
  int told = 0;
  open_failing();
  for (int n = 1; n < 40; n++) {
    rig_session(&rig, session, sizeof session);
    rig_model(&rig, session, 0, model, sizeof model);
    send_step(2); /* 1 never comes */
    atomic_store(&rig.mem.fail_at, rig.mem.count + (uint64_t)n);
    rig_call(&rig, "POST api/v1/sessions/*/finish", session, NULL, "{}",
             &reply);
    atomic_store(&rig.mem.fail_at, 0);
    if (reply.status != 200) {
      rig_call(&rig, "POST api/v1/sessions/*/finish", session, NULL, "{}",
               &reply);
      cr_assert_eq(reply.status, 200, "%s", reply.text);
    }
    told += atomic_load(&rig.s->postponed) != NULL;
    for (int i = 0; i < 1000 && !has_result(2); i++) look();
    cr_assert_neq(strstr(reply.text, "waiting for seq_id 1, and the session"),
                  NULL, "%d: %s", n, reply.text);
    cr_assert_neq(strstr(reply.text, "\"user\""), NULL, "%s", reply.text);
    cr_assert(!atomic_load(&rig.ended));
  }
  cr_assert_geq(told, 3);
  rig_close(&rig);
}
