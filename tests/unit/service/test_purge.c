/* What becomes of a session's calls and files when it has ended long ago. The
 * sweep is the test's own; the wall clock, too. */
#include <criterion/criterion.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "cpu/cpu.h"
#include "rig.h"

static _Atomic int64_t ahead_ms;

static int64_t wall(void *user) {
  const tinker__world_t *real = tinker__world_real();
  (void)user;
  return real->wall_ms(real->user) + atomic_load(&ahead_ms);
}

/* The engine's thread is held in an optim_step, or behind one. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static bool hold_in, hold_behind, held;

static void wait_while(const bool *hold) {
  pthread_mutex_lock(&lock);
  while (*hold) {
    held = true;
    pthread_cond_broadcast(&changed);
    pthread_cond_wait(&changed, &lock);
  }
  held = false;
  pthread_mutex_unlock(&lock);
}

static void wait_held(void) {
  pthread_mutex_lock(&lock);
  while (!held) pthread_cond_wait(&changed, &lock);
  pthread_mutex_unlock(&lock);
}

static void set(bool *hold, bool on) {
  pthread_mutex_lock(&lock);
  *hold = on;
  pthread_cond_broadcast(&changed);
  pthread_mutex_unlock(&lock);
}

static _Thread_local bool is_engine;
static atomic_int steps;

static int slow_step(tinker__eng_train_t *t,
                     const tinker__eng_optim_params_t *p,
                     tinker__eng_optim_metrics_t *out, char *why,
                     size_t why_len) {
  wait_while(&hold_in);
  int rc = tinker__cpu_engine()->optim_step(t, p, out, why, why_len);
  is_engine = true;
  atomic_fetch_add(&steps, 1);
  return rc;
}

/* The engine looks at the clock when a call is over: its commit may be. */
static int64_t now(void *user) {
  const tinker__world_t *real = tinker__world_real();
  (void)user;
  if (is_engine) wait_while(&hold_behind);
  return real->now_ms(real->user);
}

static void open_slow(rig_t *rig) {
  rig_open(rig);
  rig_stop(rig);
  rig->api.optim_step = slow_step;
  rig->world.wall_ms = wall;
  rig->world.now_ms = now;
  rig_start(rig);
}

/* Nor is the session known any more, once it is gone as a whole. */
static bool is_gone(int status) {
  return status == 410 || status == 404;
}

static void sweep(rig_t *rig) {
  pthread_mutex_lock(&rig->s->lock);
  tinker__svc_session_purge(rig->s);
  pthread_mutex_unlock(&rig->s->lock);
}

static void finish(rig_t *rig, const char *session) {
  static reply_t reply;
  rig_call(rig, "POST api/v1/sessions/*/finish", session, NULL, "{}", &reply);
  cr_assert_eq(reply.status, 200, "%s", reply.text);
}

static int poll_status(rig_t *rig, const char *model, int seq) {
  static reply_t reply;
  char id[200];
  snprintf(id, sizeof id, "%s:%d", model, seq);
  rig_result(rig, id, &reply);
  return reply.status;
}

/* Number 2 was refused, 3 waits behind 1, which takes longer than results are
 * kept: 3 is executed all the same. */
Test(purge, not_while_calls_are_under_way) {
  static rig_t rig;
  static reply_t reply;
  char session[80], model[120], body[600];
  open_slow(&rig);
  rig_session(&rig, session, sizeof session);
  rig_model(&rig, session, 0, model, sizeof model);
  set(&hold_in, true);
  rig_optim_body(body, sizeof body, model, 1);
  rig_call(&rig, "POST api/v1/optim_step", NULL, NULL, body, &reply);
  snprintf(body, sizeof body, "{\"model_id\":\"%s\",\"seq_id\":2}", model);
  rig_call(&rig, "POST api/v1/optim_step", NULL, NULL, body, &reply);
  cr_assert_eq(reply.status, 400, "%s", reply.text);
  rig_optim_body(body, sizeof body, model, 3);
  rig_call(&rig, "POST api/v1/optim_step", NULL, NULL, body, &reply);
  cr_assert_eq(reply.status, 200, "%s", reply.text);
  wait_held();
  finish(&rig, session);
  atomic_store(&ahead_ms, 7200000);
  sweep(&rig);
  set(&hold_in, false);
  int status = poll_status(&rig, model, 3);
  cr_assert(status == 200 || is_gone(status), "%d", status);
  rig_stop(&rig);
  rig_start(&rig);
  sweep(&rig);
  cr_assert(is_gone(poll_status(&rig, model, 3)));
  rig_close(&rig);
}

/* Its result is told and the engine's thread has not let go of the call yet. */
Test(purge, not_while_a_call_is_held) {
  static rig_t rig;
  static reply_t reply;
  char session[80], model[120], body[600];
  open_slow(&rig);
  rig_session(&rig, session, sizeof session);
  rig_model(&rig, session, 0, model, sizeof model);
  set(&hold_behind, true);
  rig_optim_body(body, sizeof body, model, 1);
  rig_do(&rig, "POST api/v1/optim_step", body, &reply);
  wait_held();
  finish(&rig, session);
  atomic_store(&ahead_ms, 7200000);
  sweep(&rig);
  cr_assert_eq(poll_status(&rig, model, 1), 200);
  set(&hold_behind, false);
  rig_close(&rig);
}

/* The state of the rig's one model. */
static tinker__svc_model_state_t model_state(rig_t *rig) {
  pthread_mutex_lock(&rig->s->lock);
  tinker__svc_model_state_t state =
      TINKER__CONTAINER(tinker__list_first(&rig->s->models),
                        tinker__svc_model_t, link)
          ->state;
  pthread_mutex_unlock(&rig->s->lock);
  return state;
}

/* Number 3 was refused: after number 2 nothing is left to be executed, and the
 * model lets go of its memory and of its base model. */
Test(purge, a_refused_call_does_not_keep_a_model) {
  static rig_t rig;
  static reply_t reply;
  char session[80], model[120], body[600];
  open_slow(&rig);
  rig_session(&rig, session, sizeof session);
  rig_model(&rig, session, 0, model, sizeof model);
  set(&hold_in, true);
  for (int seq = 1; seq <= 2; seq++) {
    rig_optim_body(body, sizeof body, model, seq);
    rig_call(&rig, "POST api/v1/optim_step", NULL, NULL, body, &reply);
    cr_assert_eq(reply.status, 200, "%s", reply.text);
  }
  snprintf(body, sizeof body, "{\"model_id\":\"%s\",\"seq_id\":3}", model);
  rig_call(&rig, "POST api/v1/optim_step", NULL, NULL, body, &reply);
  cr_assert_eq(reply.status, 400, "%s", reply.text);
  wait_held();
  finish(&rig, session);
  set(&hold_in, false);
  while (model_state(&rig) != TINKER__SVC_MODEL_OVER) sched_yield();
  cr_assert_eq(rig.s->bases[0].refs, 0u);
  rig_close(&rig);
}

/* Calls that were accepted are executed after a restart, however late. */
Test(purge, not_before_a_restart_has_gone_on) {
  static rig_t rig;
  static reply_t reply;
  char session[80], model[120], body[600];
  open_slow(&rig);
  rig_session(&rig, session, sizeof session);
  rig_model(&rig, session, 0, model, sizeof model);
  rig_optim_body(body, sizeof body, model, 1);
  rig_do(&rig, "POST api/v1/optim_step", body, &reply);
  set(&hold_in, true);
  for (int seq = 2; seq <= 3; seq++) {
    rig_optim_body(body, sizeof body, model, seq);
    rig_call(&rig, "POST api/v1/optim_step", NULL, NULL, body, &reply);
    cr_assert_eq(reply.status, 200, "%s", reply.text);
  }
  snprintf(body, sizeof body,
           "{\"model_id\":\"%s\",\"seq_id\":4,\"path\":\"a\"}", model);
  rig_call(&rig, "POST api/v1/save_weights", NULL, NULL, body, &reply);
  cr_assert_eq(reply.status, 200, "%s", reply.text);
  wait_held();
  finish(&rig, session);
  atomic_store(&rig.s->fatal, true); /* as a kill: nothing more is executed */
  set(&hold_in, false);
  rig_stop(&rig);
  atomic_store(&ahead_ms, 7200000);
  rig_start(&rig);
  for (int i = 0; i < 200 && rig_count(&rig, "checkpoints", "") == 0; i++) {
    poll_status(&rig, model, 4);
  }
  cr_assert_eq(rig_count(&rig, "checkpoints", ""), 1);
  rig_close(&rig);
}

/* What only the session's own calls could use goes from the disk with it. */
Test(purge, files_that_nobody_can_use) {
  static rig_t rig;
  static reply_t reply;
  char session[80], model[120], body[600];
  open_slow(&rig);
  rig.s->config.snapshot_ms = 0;
  rig_session(&rig, session, sizeof session);
  rig_model(&rig, session, 0, model, sizeof model);
  rig_optim_body(body, sizeof body, model, 1);
  rig_do(&rig, "POST api/v1/optim_step", body, &reply);
  snprintf(body, sizeof body,
           "{\"model_id\":\"%s\",\"seq_id\":2,\"path\":\"kept\"}", model);
  rig_do(&rig, "POST api/v1/save_weights_for_sampler", body, &reply);
  for (int seq = 3; seq <= 5; seq++) {
    snprintf(body, sizeof body,
             "{\"model_id\":\"%s\",\"seq_id\":%d,"
             "\"sampling_session_seq_id\":%d}",
             model, seq, seq);
    rig_do(&rig, "POST api/v1/save_weights_for_sampler", body, &reply);
  }
  cr_assert_eq(rig_count(&rig, "snapshots", ""), 1);
  cr_assert_eq(rig_count(&rig, "checkpoints", ""), 4);
  finish(&rig, session);
  atomic_store(&ahead_ms, 7200000);
  rig_stop(&rig);
  rig_start(&rig);
  pthread_mutex_lock(&rig.s->lock);
  tinker__svc_session_purge(rig.s);
  tinker__svc_checkpoints_expire(rig.s);
  pthread_mutex_unlock(&rig.s->lock);
  cr_assert_eq(poll_status(&rig, model, 5), 410);
  rig_stop(&rig); /* commits what the sweep has begun */
  cr_assert_eq(rig_count(&rig, "snapshots", ""), 0);
  cr_assert_eq(rig_count(&rig, "checkpoints", ""), 1);
  rig_start(&rig);
  rig_call(&rig, "GET api/v1/training_runs/*", model, NULL, "", &reply);
  cr_assert_neq(strstr(reply.text, "sampler_weights/kept"), NULL, "%s",
                reply.text);
  rig_close(&rig);
}

/* The log of a session that ends before anybody has asked for its models. */
Test(purge, nothing_is_restored_for_nobody) {
  static rig_t rig;
  static reply_t reply;
  char session[80], model[120], body[600];
  open_slow(&rig);
  rig_session(&rig, session, sizeof session);
  rig_model(&rig, session, 0, model, sizeof model);
  for (int seq = 1; seq <= 3; seq++) {
    rig_optim_body(body, sizeof body, model, seq);
    rig_do(&rig, "POST api/v1/optim_step", body, &reply);
  }
  rig_stop(&rig);
  rig_start(&rig);
  atomic_store(&steps, 0);
  finish(&rig, session);
  cr_assert_eq(poll_status(&rig, model, 3), 200);
  rig_session(&rig, session, sizeof session);
  rig_model(&rig, session, 0, model, sizeof model); /* behind it in the queue */
  cr_assert_eq(atomic_load(&steps), 0);
  rig_close(&rig);
}
