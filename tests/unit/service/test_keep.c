/* When states go into snapshots and out of memory, and that they are the same
 * when they come back. The clock of the service is the test's. */
#include <criterion/criterion.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include <tinker/error.h>

#include "cpu/cpu.h"
#include "rig.h"

static rig_t rig;
static reply_t reply;
static char session[80], models[3][120], body[900];
static _Atomic int64_t time_ms = 1000000;
static atomic_int passes; /* that the engine was asked for */

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

static void open_rig(int n) {
  rig_open(&rig);
  rig_stop(&rig);
  rig.world.now_ms = now;
  rig.api.pass_begin = begin;
  rig.logs = true;
  rig_start(&rig);
  rig_session(&rig, session, sizeof session);
  for (int i = 0; i < n; i++) {
    rig_model(&rig, session, i, models[i], sizeof models[i]);
  }
}

static void train(int i, int seq) {
  rig_fb_body(body, sizeof body, models[i], seq);
  rig_do(&rig, "POST api/v1/forward_backward", body, &reply);
  rig_optim_body(body, sizeof body, models[i], seq + 1);
  rig_do(&rig, "POST api/v1/optim_step", body, &reply);
  cr_assert_neq(strstr(reply.text, "unclipped_grad_l2"), NULL, "%s",
                reply.text);
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

/* Gradients that no optim_step has used are not in a snapshot: their log stays,
 * and is executed again. */
Test(keep, a_stop_keeps_the_log_of_gradients) {
  static reply_t last;
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

/* The timer's look; then the engine thread is through with what it was given.
 */
static void look(void) {
  pthread_mutex_lock(&rig.s->lock);
  tinker__svc_models_rest(rig.s, now(NULL));
  tinker__svc_model_t *m =
      tinker__map_get(rig.s->model_by_id, tinker__str(models[0]));
  bool busy = true;
  while (busy) {
    busy = m->state != TINKER__SVC_MODEL_IDLE || m->saving;
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

Test(keep, gradients_stay_in_memory) {
  open_rig(1);
  rig_fb_body(body, sizeof body, models[0], 1);
  rig_do(&rig, "POST api/v1/forward_backward", body, &reply);
  for (int i = 0; i < 3; i++) {
    atomic_fetch_add(&time_ms, 300000);
    look();
  }
  cr_assert(in_memory(0));
  cr_assert_eq(snapshots(), 0);
  rig_close(&rig);
}
