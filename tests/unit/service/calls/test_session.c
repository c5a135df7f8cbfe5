/* Promises of a session's end. The clocks are the test's own. */
#include <criterion/criterion.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "rig.h"

static _Atomic int64_t ahead_ms;

static int64_t wall(void *user) {
  const tinker__world_t *real = tinker__world_real();
  (void)user;
  return real->wall_ms(real->user) + atomic_load(&ahead_ms);
}

static int64_t now(void *user) {
  const tinker__world_t *real = tinker__world_real();
  (void)user;
  return real->now_ms(real->user) + atomic_load(&ahead_ms);
}

static void open_ahead(rig_t *rig) {
  rig_open(rig);
  rig_stop(rig);
  rig->world.wall_ms = wall;
  rig_start(rig);
}

static void finish(rig_t *rig, const char *session, const char *body) {
  static reply_t reply;
  rig_call(rig, "POST api/v1/sessions/*/finish", session, NULL, body, &reply);
  cr_assert_eq(reply.status, 200, "%s", reply.text);
}

static void refused_for(rig_t *rig, const char *session, const char *why) {
  static reply_t reply;
  char body[120];
  snprintf(body, sizeof body, "{\"session_id\":\"%s\"}", session);
  rig_call(rig, "POST api/v1/session_heartbeat", NULL, NULL, body, &reply);
  cr_assert_eq(reply.status, 410, "%d %s", reply.status, reply.text);
  cr_assert(strstr(reply.text, why), "%s", reply.text);
}

/* A repeat changes nothing, and a restart remembers. */
Test(session, the_first_reason_wins) {
  static rig_t rig;
  char session[80];
  rig_open(&rig);
  rig_session(&rig, session, sizeof session);
  finish(&rig, session,
         "{\"reason\":{\"type\":\"errored\"},\"detail\":\"no disk\"}");
  refused_for(&rig, session, "errored: no disk");
  finish(&rig, session, "{\"reason\":{\"type\":\"success\"}}");
  refused_for(&rig, session, "errored: no disk");
  rig_stop(&rig);
  rig_start(&rig);
  finish(&rig, session, "{\"reason\":{\"type\":\"success\"}}");
  refused_for(&rig, session, "errored: no disk");
  rig_close(&rig);
}

static int result_after(rig_t *rig, const char *model, int minutes) {
  static reply_t reply;
  const char *words = "results are kept for 3600 seconds after that (--keep)";
  char id[200];
  atomic_store(&ahead_ms, (int64_t)minutes * 60000);
  pthread_mutex_lock(&rig->s->lock);
  tinker__svc_session_purge(rig->s);
  pthread_mutex_unlock(&rig->s->lock);
  snprintf(id, sizeof id, "%s:1", model);
  rig_result(rig, id, &reply);
  cr_assert_eq(reply.status == 410, strstr(reply.text, words) != NULL, "%s",
               reply.text);
  return reply.status;
}

/* Results live for an hour after the end, over a restart too. */
Test(session, results_are_kept_for_an_hour) {
  static rig_t rig;
  static reply_t reply;
  char session[80], model[120], body[600];
  open_ahead(&rig);
  rig_session(&rig, session, sizeof session);
  rig_model(&rig, session, 0, model, sizeof model);
  rig_optim_body(body, sizeof body, model, 1);
  rig_do(&rig, "POST api/v1/optim_step", body, &reply);
  cr_assert_eq(result_after(&rig, model, 100), 200); /* it has not ended */
  finish(&rig, session, "{}");
  cr_assert_eq(result_after(&rig, model, 158), 200);
  rig_stop(&rig);
  rig_start(&rig);
  cr_assert_eq(result_after(&rig, model, 159), 200);
  cr_assert_eq(result_after(&rig, model, 161), 410);
  rig_close(&rig);
}

/* A heartbeat each 9 minutes keeps a session; 11 minutes of silence end it. */
Test(session, heartbeats_keep_it_alive) {
  static rig_t rig;
  static reply_t reply;
  char session[80], body[120];
  rig_open(&rig);
  rig_stop(&rig);
  rig.world.now_ms = now;
  rig_start(&rig);
  rig_session(&rig, session, sizeof session);
  snprintf(body, sizeof body, "{\"session_id\":\"%s\"}", session);
  for (int i = 0; i < 4; i++) {
    atomic_fetch_add(&ahead_ms, (i < 3 ? 9 : 11) * 60000);
    pthread_mutex_lock(&rig.s->lock);
    tinker__svc_session_expire(rig.s, now(NULL));
    pthread_mutex_unlock(&rig.s->lock);
    rig_call(&rig, "POST api/v1/session_heartbeat", NULL, NULL, body, &reply);
    cr_assert_eq(reply.status, i < 3 ? 200 : 410, "%d: %s", i, reply.text);
  }
  cr_assert(strstr(reply.text, "no heartbeat"), "%s", reply.text);
  rig_close(&rig);
}

static void create(rig_t *rig, const char *key, const char *body, int status,
                   char *id) {
  static reply_t reply;
  rig_call(rig, "POST api/v1/create_session", NULL, key, body, &reply);
  cr_assert_eq(reply.status, status, "%s", reply.text);
  if (id) rig_member(&reply, "session_id", id, 80);
}

/* The same key with the same body is the same session, with another one 409; a
 * restart remembers both. */
Test(session, a_key_is_one_session) {
  static rig_t rig;
  char first[80], again[80], other[80];
  rig_open(&rig);
  create(&rig, "k", "{\"tags\":[\"a\"]}", 200, first);
  create(&rig, "k2", "{\"tags\":[\"a\"]}", 200, other);
  cr_assert_str_neq(first, other);
  for (int start = 0; start < 2; start++) {
    create(&rig, "k", "{ \"tags\": [\"a\"] }", 200, again);
    cr_assert_str_eq(again, first);
    create(&rig, "k", "{\"tags\":[\"b\"]}", 409, NULL);
    create(&rig, NULL, "{\"tags\":[\"a\"]}", 200, other);
    cr_assert_str_neq(other, first);
    rig_stop(&rig);
    rig_start(&rig);
  }
  rig_close(&rig);
}
