/* Memory of training: what can never fit is refused with numbers before it is
 * accepted, what fits later waits. The clock of the service is the test's. */
#include <criterion/criterion.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "cpu/cpu.h"
#include "rig.h"

static rig_t rig;
static reply_t reply;
static char session[80], models[2][120], body[900];
static _Atomic int64_t ahead_ms;

static int64_t now(void *user) {
  const tinker__world_t *real = tinker__world_real();
  (void)user;
  return real->now_ms(real->user) + atomic_load(&ahead_ms);
}

static void open_rig(int n) {
  rig_open(&rig);
  rig_stop(&rig);
  rig.world.now_ms = now;
  rig_start(&rig);
  rig_session(&rig, session, sizeof session);
  for (int i = 0; i < n; i++) {
    rig_model(&rig, session, i, models[i], sizeof models[i]);
  }
}

static uint64_t state_of(int i) {
  pthread_mutex_lock(&rig.s->lock);
  uint64_t bytes = tinker__svc_price_state(
      tinker__map_get(rig.s->model_by_id, tinker__str(models[i])));
  pthread_mutex_unlock(&rig.s->lock);
  return bytes;
}

static void send_pass(int i, int seq) {
  rig_fb_body(body, sizeof body, models[i], seq);
  rig_call(&rig, "POST api/v1/forward_backward", NULL, NULL, body, &reply);
}

static void optim(int i, int seq) {
  rig_optim_body(body, sizeof body, models[i], seq);
  rig_do(&rig, "POST api/v1/optim_step", body, &reply);
}

Test(price, a_call_that_can_never_fit) {
  char want[100];
  open_rig(1);
  uint64_t state = state_of(0);
  cr_assert_gt(state, 0);
  atomic_store(&rig.s->train_limit, state + 1000);
  send_pass(0, 1);
  cr_assert_eq(reply.status, 400, "%s", reply.text);
  cr_assert_neq(strstr(reply.text, "forward_backward_input.data: needs "), NULL,
                "%s", reply.text);
  snprintf(want, sizeof want, "besides %llu for its model, %llu are available",
           (unsigned long long)state, (unsigned long long)state + 1000);
  cr_assert_neq(strstr(reply.text, want), NULL, "%s", reply.text);
  optim(0, 2); /* the number is spent, and nothing waits for it */
  cr_assert_neq(strstr(reply.text, "metrics"), NULL, "%s", reply.text);
  atomic_store(&rig.s->train_limit, UINT64_MAX);
  send_pass(0, 3);
  cr_assert_eq(reply.status, 200, "%s", reply.text);
  rig_close(&rig);
}

Test(price, a_model_that_can_never_fit) {
  open_rig(1);
  atomic_store(&rig.s->train_limit, state_of(0) - 1);
  snprintf(body, sizeof body,
           "{\"session_id\":\"%s\",\"model_seq_id\":1,\"base_model\":\"m\","
           "\"lora_config\":{\"rank\":4,\"seed\":7}}",
           session);
  rig_call(&rig, "POST api/v1/create_model", NULL, NULL, body, &reply);
  cr_assert_eq(reply.status, 400, "%s", reply.text);
  cr_assert_neq(strstr(reply.text, "lora_config.rank: a model of rank 4 needs"),
                NULL, "%s", reply.text);
  rig_close(&rig);
}

static tinker__svc_model_t *model(int i) {
  return tinker__map_get(rig.s->model_by_id, tinker__str(models[i]));
}

/* True when the model is in that state, and, if `rested`, has left memory. */
static bool is_at(int i, tinker__svc_model_state_t state, bool rested) {
  pthread_mutex_lock(&rig.s->lock);
  const tinker__svc_model_t *m = model(i);
  bool at = m->state == state && !(rested && m->rests_ms);
  pthread_mutex_unlock(&rig.s->lock);
  return at;
}

/* True when neither the engine nor the store has work for the model. */
static bool is_settled(int i) {
  bool settled = is_at(i, TINKER__SVC_MODEL_IDLE, false) ||
                 is_at(i, TINKER__SVC_MODEL_PARKED, false);
  pthread_mutex_lock(&rig.s->lock);
  if (model(i)->saving) settled = false;
  TINKER__LIST_EACH(l, tmp, &model(i)->ops) {
    const tinker__svc_op_t *op = TINKER__CONTAINER(l, tinker__svc_op_t, all);
    if (op->state == TINKER__SVC_OP_COMMITTING) settled = false;
  }
  pthread_mutex_unlock(&rig.s->lock);
  return settled;
}

/* The timer's look, a second after all that is parked was tried. */
static void look(void) {
  while (!is_settled(0) || !is_settled(1)) sched_yield();
  atomic_fetch_add(&ahead_ms, 1000);
  pthread_mutex_lock(&rig.s->lock);
  tinker__svc_models_look(rig.s, now(NULL));
  pthread_mutex_unlock(&rig.s->lock);
}

/* Room for one of two: the other one leaves memory for it, and comes back to
 * the same bits. */
Test(price, what_fits_later_waits) {
  static reply_t first;
  char id[200];
  open_rig(2);
  unsigned long long pass = 0;
  uint64_t state = state_of(0);
  atomic_store(&rig.s->train_limit, state);
  for (int i = 0; i < 2; i++) { /* what it needs is told */
    send_pass(i, 1);
    const char *at = strstr(reply.text, "needs ");
    cr_assert_neq(at, NULL, "%s", reply.text);
    cr_assert_eq(sscanf(at, "needs %llu", &pass), 1);
  }
  atomic_store(&rig.s->train_limit, state + pass + state / 2);
  for (int seq = 2; seq <= 4; seq += 2) {
    for (int i = 0; i < 2; i++) {
      send_pass(i, seq);
      cr_assert_eq(reply.status, 200, "%s", reply.text);
      rig_optim_body(body, sizeof body, models[i], seq + 1);
      rig_call(&rig, "POST api/v1/optim_step", NULL, NULL, body, &reply);
      cr_assert_eq(reply.status, 200, "%s", reply.text);
      snprintf(id, sizeof id, "{\"request_id\":\"%s:%d\"}", models[i], seq + 1);
      do {
        look();
        rig_call(&rig, "POST api/v1/retrieve_future", NULL, NULL, id, &reply);
      } while (strstr(reply.text, "try_again"));
      cr_assert_neq(strstr(reply.text, "unclipped"), NULL, "%s", reply.text);
      if (i == 0) first = reply;
    }
    cr_assert_str_eq(reply.text, first.text);
  }
  cr_assert_geq(rig_count(&rig, "snapshots", ""), 2); /* it was short */
  rig_close(&rig);
}

static bool is_done(int i, int seq) {
  char id[140];
  snprintf(id, sizeof id, "%s:%d", models[i], seq);
  pthread_mutex_lock(&rig.s->lock);
  const tinker__svc_op_t *op =
      tinker__map_get(rig.s->op_by_id, tinker__str(id));
  bool done = op->state == TINKER__SVC_OP_DONE;
  pthread_mutex_unlock(&rig.s->lock);
  return done;
}

/* Looks until optim_step number 3 of both models is done. Without polls the
 * service's own timer sleeps meanwhile. */
static void wait_both(void) {
  for (int tries = 0; !is_done(0, 3) || !is_done(1, 3); tries++) {
    cr_assert_lt(tries, 100, "each waits for the other");
    look();
  }
}

/* Opens two models, with memory for both states and half of a pass. The bytes
 * of a pass are those that its refusals name. */
static void open_with_room_for_one(void) {
  unsigned long long pass = 0;
  open_rig(2);
  uint64_t state = state_of(0);
  atomic_store(&rig.s->train_limit, state);
  for (int i = 0; i < 2; i++) {
    send_pass(i, 1);
    const char *at = strstr(reply.text, "needs ");
    cr_assert_neq(at, NULL, "%s", reply.text);
    cr_assert_eq(sscanf(at, "needs %llu", &pass), 1);
  }
  rig.s->config.poll_ms = 1;
  atomic_store(&rig.s->train_limit, 2 * state + pass / 2);
}

/* Both are in memory, and neither has room for its call beside the other: one
 * that is parked leaves, too. */
Test(price, two_that_are_short_of_each_other) {
  open_with_room_for_one();
  for (int i = 0; i < 2; i++) {
    send_pass(i, 2);
    cr_assert_eq(reply.status, 200, "%s", reply.text);
    rig_optim_body(body, sizeof body, models[i], 3);
    rig_call(&rig, "POST api/v1/optim_step", NULL, NULL, body, &reply);
    cr_assert_eq(reply.status, 200, "%s", reply.text);
  }
  wait_both();
  rig_close(&rig);
}

/* A model that has left memory does not come back before its call fits: several
 * such models would keep the memory that each of them waits for. */
Test(price, what_waits_stays_out_of_memory) {
  open_with_room_for_one();
  atomic_fetch_add(&ahead_ms, rig.s->config.idle_ms);
  while (!is_at(0, TINKER__SVC_MODEL_IDLE, true)) look();
  send_pass(1, 2);
  optim(1, 3); /* it is in memory now */
  send_pass(0, 2);
  cr_assert_eq(reply.status, 200, "%s", reply.text);
  while (!is_at(0, TINKER__SVC_MODEL_PARKED, false)) sched_yield();
  cr_assert_eq(model(0)->train, NULL);
  rig_optim_body(body, sizeof body, models[0], 3);
  rig_call(&rig, "POST api/v1/optim_step", NULL, NULL, body, &reply);
  wait_both();
  rig_close(&rig);
}

/* That another model finds room for its calls does not end the need of one that
 * waits. */
Test(price, who_waits_is_not_forgotten) {
  open_rig(2);
  tinker__svc_lock(rig.s);
  rig.s->config.idle_ms = 300000;
  tinker__svc_unlock(rig.s);
  for (int seq = 1; !is_at(0, TINKER__SVC_MODEL_IDLE, true); seq++) {
    cr_assert_lt(seq, 20, "model 0 stays in memory");
    atomic_store(&rig.s->pressed, true);
    rig_fb_body(body, sizeof body, models[1], seq);
    rig_do(&rig, "POST api/v1/forward_backward", body, &reply);
    look();
  }
  rig_close(&rig);
}

/* --- Descriptions --------------------------------------------------------- */

static char large[200000];

static void describe(const char *start, size_t n) {
  size_t len = (size_t)snprintf(large, sizeof large,
                                "%s\"user_metadata\":{\"a\":\"", start);
  memset(large + len, 'x', n);
  memcpy(large + len + n, "\"}}", 4);
}

/* They are in memory as long as their session is known. */
Test(price, descriptions_are_limited) {
  open_rig(0);
  describe("{", 131072);
  rig_call(&rig, "POST api/v1/create_session", NULL, NULL, large, &reply);
  cr_assert_eq(reply.status, 422, "%s", reply.text);
  cr_assert_neq(strstr(reply.text, "may have at most 131072"), NULL, "%s",
                reply.text);
  describe("{", 131000);
  rig_call(&rig, "POST api/v1/create_session", NULL, NULL, large, &reply);
  cr_assert_eq(reply.status, 200, "%s", reply.text);
  snprintf(body, sizeof body,
           "{\"session_id\":\"%s\",\"model_seq_id\":0,\"base_model\":\"m\","
           "\"lora_config\":{\"rank\":4},",
           session);
  describe(body, 65536);
  rig_call(&rig, "POST api/v1/create_model", NULL, NULL, large, &reply);
  cr_assert_eq(reply.status, 400, "%s", reply.text);
  cr_assert_neq(strstr(reply.text, "may have at most 65536"), NULL, "%s",
                reply.text);
  describe(body, 65528);
  rig_call(&rig, "POST api/v1/create_model", NULL, NULL, large, &reply);
  cr_assert_eq(reply.status, 200, "%s", reply.text);
  rig_close(&rig);
}
