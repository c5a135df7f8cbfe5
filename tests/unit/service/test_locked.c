/* Another process holds a lock on the store: requests wait, are sent away when
 * it takes long, and are taken on once. */
#include <criterion/criterion.h>
#include <sqlite3.h>
#include <stdio.h>
#include <string.h>

#include "rig.h"

static rig_t rig;
static reply_t reply;
static char session[80], model[120], body[600], id[200];

static sqlite3 *lock_store(void) {
  char path[80];
  sqlite3 *db;
  snprintf(path, sizeof path, "%s/store.db", rig.dir);
  cr_assert_eq(sqlite3_open(path, &db), SQLITE_OK);
  sqlite3_busy_timeout(db, 60000); /* the service may be writing */
  cr_assert_eq(sqlite3_exec(db, "BEGIN IMMEDIATE", NULL, NULL, NULL), 0);
  return db;
}

Test(locked, who_waits_is_sent_away_and_nothing_is_lost) {
  rig_open(&rig);
  rig_session(&rig, session, sizeof session);
  rig_model(&rig, session, 0, model, sizeof model);
  sqlite3 *db = lock_store();
  rig_optim_body(body, sizeof body, model, 1);
  rig_pending_t *first =
      rig_send(&rig, "POST api/v1/optim_step", NULL, NULL, body);
  pthread_mutex_lock(&rig.s->lock);
  tinker__svc_acks_release(rig.s);
  pthread_mutex_unlock(&rig.s->lock);
  rig_wait(&rig, first, &reply);
  cr_assert_eq(reply.status, 503, "%s", reply.text);
  cr_assert_neq(strstr(reply.text, "send the same request again"), NULL);

  rig_pending_t *again =
      rig_send(&rig, "POST api/v1/optim_step", NULL, NULL, body);
  cr_assert_eq(sqlite3_exec(db, "ROLLBACK", NULL, NULL, NULL), 0);
  sqlite3_close(db);
  rig_wait(&rig, again, &reply);
  cr_assert_eq(reply.status, 200, "%s", reply.text);
  rig_member(&reply, "request_id", id, sizeof id);
  rig_result(&rig, id, &reply);
  cr_assert_neq(strstr(reply.text, "unclipped_grad_l2"), NULL, "%s",
                reply.text);
  cr_assert_eq(rig.restarts, 0);
  rig_close(&rig);
}

/* A client that reads the refusal goes on with the next number, so the refusal
 * must not be lost after it was sent. */
Test(locked, a_refusal_that_is_sent_again_waits_until_it_is_stored) {
  rig_open(&rig);
  rig_session(&rig, session, sizeof session);
  rig_model(&rig, session, 0, model, sizeof model);
  sqlite3 *db = lock_store();
  snprintf(body, sizeof body,
           "{\"model_id\":\"%s\",\"seq_id\":1,"
           "\"adam_params\":{\"learning_rate\":-1}}",
           model);
  rig_pending_t *first =
      rig_send(&rig, "POST api/v1/optim_step", NULL, NULL, body);
  rig_pending_t *again =
      rig_send(&rig, "POST api/v1/optim_step", NULL, NULL, body);
  cr_assert_not(rig_answered(first));
  cr_assert_not(rig_answered(again));
  cr_assert_eq(sqlite3_exec(db, "ROLLBACK", NULL, NULL, NULL), 0);
  sqlite3_close(db);
  rig_wait(&rig, first, &reply);
  cr_assert_eq(reply.status, 400, "%s", reply.text);
  rig_wait(&rig, again, &reply);
  cr_assert_eq(reply.status, 400, "%s", reply.text);
  cr_assert_neq(strstr(reply.text, "learning_rate"), NULL, "%s", reply.text);
  rig_optim_body(body, sizeof body, model, 1);
  rig_call(&rig, "POST api/v1/optim_step", NULL, NULL, body, &reply);
  cr_assert_eq(reply.status, 409, "%s", reply.text);
  rig_close(&rig);
}

Test(locked, nothing_new_is_taken_on_after_a_while) {
  rig_open(&rig);
  rig_session(&rig, session, sizeof session);
  rig_model(&rig, session, 0, model, sizeof model);
  rig_optim_body(body, sizeof body, model, 1);
  atomic_store(&rig.s->locked_ms, TINKER__STUCK_MS);
  rig_call(&rig, "POST api/v1/optim_step", NULL, NULL, body, &reply);
  cr_assert_eq(reply.status, 503, "%s", reply.text);
  snprintf(body, sizeof body, "{\"session_id\":\"%s\"}", session);
  rig_call(&rig, "POST api/v1/session_heartbeat", NULL, NULL, body, &reply);
  cr_assert_eq(reply.status, 200, "%s", reply.text);
  rig_session(&rig, session, sizeof session); /* stored: it goes on */
  rig_optim_body(body, sizeof body, model, 1);
  rig_do(&rig, "POST api/v1/optim_step", body, &reply);
  rig_close(&rig);
}
