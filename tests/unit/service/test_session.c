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
  char id[200];
  atomic_store(&ahead_ms, (int64_t)minutes * 60000);
  pthread_mutex_lock(&rig->s->lock);
  tinker__svc_session_purge(rig->s);
  pthread_mutex_unlock(&rig->s->lock);
  snprintf(id, sizeof id, "%s:1", model);
  rig_result(rig, id, &reply);
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
