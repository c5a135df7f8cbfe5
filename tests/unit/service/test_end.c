/* The end of a session while calls are on their way into the log. */
#include <criterion/criterion.h>
#include <pthread.h>
#include <sqlite3.h>
#include <stdio.h>
#include <string.h>

#include "rig.h"

/* A read that holds the store's thread until the test lets it go. */
typedef struct {
  pthread_mutex_t lock;
  pthread_cond_t changed;
  bool held, go;
} hold_t;

static void on_held(void *user, int rc, const void *data, size_t len,
                    int64_t extra) {
  hold_t *h = user;
  (void)rc;
  (void)data;
  (void)len;
  (void)extra;
  pthread_mutex_lock(&h->lock);
  h->held = true;
  pthread_cond_broadcast(&h->changed);
  while (!h->go) pthread_cond_wait(&h->changed, &h->lock);
  pthread_mutex_unlock(&h->lock);
}

static void hold(hold_t *h, tinker__store_t *store) {
  *h = (hold_t){.held = false};
  pthread_mutex_init(&h->lock, NULL);
  pthread_cond_init(&h->changed, NULL);
  cr_assert_eq(tinker__store_read_result(store, 0, on_held, h), 0);
  pthread_mutex_lock(&h->lock);
  while (!h->held) pthread_cond_wait(&h->changed, &h->lock);
  pthread_mutex_unlock(&h->lock);
}

static void let_go(hold_t *h) {
  pthread_mutex_lock(&h->lock);
  h->go = true;
  pthread_cond_broadcast(&h->changed);
  pthread_mutex_unlock(&h->lock);
}

/* From now on number 5 can't be logged. */
static void refuse_number_5(rig_t *rig) {
  char path[80];
  sqlite3 *db;
  snprintf(path, sizeof path, "%s/store.db", rig->dir);
  cr_assert_eq(sqlite3_open(path, &db), SQLITE_OK);
  int rc = sqlite3_exec(db,
                        "CREATE TRIGGER full BEFORE INSERT ON requests"
                        " WHEN NEW.seq = 5 BEGIN"
                        " SELECT RAISE(ABORT, 'no room'); END",
                        NULL, NULL, NULL);
  cr_assert_eq(rc, SQLITE_OK, "%s", sqlite3_errmsg(db));
  sqlite3_close(db);
}

/* Numbers 3 and 5 wait for 1; 4 and 5 are under way when the session ends, and
 * 5 can't be stored. */
Test(end, behind_a_gap_and_on_the_way) {
  static rig_t rig;
  static reply_t reply;
  char session[80], model[120], body[600], id[200];
  hold_t h;
  rig_open(&rig);
  rig_session(&rig, session, sizeof session);
  rig_model(&rig, session, 0, model, sizeof model);
  rig_optim_body(body, sizeof body, model, 3);
  rig_call(&rig, "POST api/v1/optim_step", NULL, NULL, body, &reply);
  cr_assert_eq(reply.status, 200, "%s", reply.text);
  refuse_number_5(&rig);

  hold(&h, rig.s->store);
  rig_optim_body(body, sizeof body, model, 4);
  rig_pending_t *four = rig_send(&rig, "POST api/v1/optim_step", NULL, NULL,
                                 body);
  rig_optim_body(body, sizeof body, model, 5);
  rig_pending_t *five = rig_send(&rig, "POST api/v1/optim_step", NULL, NULL,
                                 body);
  rig_pending_t *end = rig_send(&rig, "POST api/v1/sessions/*/finish", session,
                                NULL, "{}");
  let_go(&h);
  rig_wait(&rig, four, &reply);
  cr_assert_eq(reply.status, 200, "%s", reply.text);
  rig_wait(&rig, five, &reply);
  cr_assert_eq(reply.status, 503, "%s", reply.text);
  rig_wait(&rig, end, &reply);
  cr_assert_eq(reply.status, 200, "%s", reply.text);

  for (int seq = 3; seq <= 4; seq++) {
    snprintf(id, sizeof id, "%s:%d", model, seq);
    rig_result(&rig, id, &reply);
    cr_assert_neq(strstr(reply.text, "waiting for seq_id 1, and the session "
                                     "has ended"), NULL, "%s", reply.text);
  }
  rig_close(&rig);
}
