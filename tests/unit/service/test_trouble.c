/* A model that can't be restored now: it waits, the others go on, and it goes
 * on to the same bits when its trouble is over. Bodies are read when their call
 * is executed. The clock of the service is the test's. */
#include <criterion/criterion.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include <tinker/error.h>

#include "cpu/cpu.h"
#include "rig.h"
#include "service/run/exec.h"

static rig_t rig;
static reply_t reply;
static char session[80], model[120], other[120], body[900];
static _Atomic int64_t ahead_ms;
static atomic_int failing; /* the code that the engine's calls give */
static atomic_int tries;

static int64_t now(void *user) {
  const tinker__world_t *real = tinker__world_real();
  (void)user;
  return real->now_ms(real->user) + atomic_load(&ahead_ms);
}

static int load(tinker__eng_base_t *b, const char *dir, bool optimizer,
                tinker__eng_train_t **out, char *why, size_t why_len) {
  int rc = atomic_load(&failing);
  if (rc == 0) {
    return tinker__cpu_engine()->train_load(b, dir, optimizer, out, why,
                                            why_len);
  }
  atomic_fetch_add(&tries, 1);
  snprintf(why, why_len, "the disk under it fails");
  return rc;
}

static int begin(tinker__eng_train_t *t, const tinker__eng_train_datum_t *data,
                 size_t n, const tinker__eng_loss_config_t *loss,
                 bool forward_only, tinker__eng_pass_t **out, char *why,
                 size_t why_len) {
  int rc = atomic_load(&failing);
  if (rc == 0) {
    return tinker__cpu_engine()->pass_begin(t, data, n, loss, forward_only, out,
                                            why, why_len);
  }
  atomic_fetch_add(&tries, 1);
  return rc;
}

static void pass(const char *of, int seq) {
  rig_fb_body(body, sizeof body, of, seq);
  rig_do(&rig, "POST api/v1/forward_backward", body, &reply);
}

static void step(const char *of, int seq) {
  rig_optim_body(body, sizeof body, of, seq);
  rig_do(&rig, "POST api/v1/optim_step", body, &reply);
}

static void send_pass(const char *of, int seq) {
  rig_fb_body(body, sizeof body, of, seq);
  rig_call(&rig, "POST api/v1/forward_backward", NULL, NULL, body, &reply);
}

static void open_two(void) {
  rig_open(&rig);
  rig_stop(&rig);
  rig.world.now_ms = now;
  rig.logs = true;
  atomic_store(&failing, 0);
  atomic_store(&tries, 0);
  rig_start(&rig);
  rig_session(&rig, session, sizeof session);
  rig_model(&rig, session, 0, model, sizeof model);
  rig_model(&rig, session, 1, other, sizeof other);
}

/* The timer's look, at a time of the test's. */
static void look(int64_t later_ms) {
  atomic_fetch_add(&ahead_ms, later_ms);
  pthread_mutex_lock(&rig.s->lock);
  tinker__svc_models_retry(rig.s, now(NULL));
  pthread_mutex_unlock(&rig.s->lock);
}

static int64_t pause_of(void) {
  tinker__link_t *l = tinker__list_first(&rig.s->models);
  pthread_mutex_lock(&rig.s->lock);
  tinker__svc_model_t *m = TINKER__CONTAINER(l, tinker__svc_model_t, link);
  int64_t ms = tinker__svc_model_parked(m) ? m->pause_ms : 0;
  pthread_mutex_unlock(&rig.s->lock);
  return ms;
}

/* Polls until the model is parked once more. */
static void wait_parked(int64_t pause) {
  for (int i = 0; i < 100 && pause_of() != pause; i++) {
    snprintf(body, sizeof body, "{\"request_id\":\"%s:4\"}", model);
    rig_call(&rig, "POST api/v1/retrieve_future", NULL, NULL, body, &reply);
  }
  cr_assert_eq(pause_of(), pause, "%lld", (long long)pause_of());
}

/* What the steps of a model without any trouble give. */
static void wanted(reply_t *out) {
  pass(other, 1);
  step(other, 2);
  pass(other, 3);
  pass(other, 4);
  step(other, 5);
  *out = reply;
}

static void until_trouble(int rc) {
  open_two();
  rig.s->config.snapshot_ms = 0;
  pass(model, 1);
  step(model, 2);
  pass(model, 3);
  rig_stop(&rig);
  atomic_store(&failing, rc);
}

/* Its next call is accepted, and has to wait for what comes before it. */
static void begin_again(void) {
  rig_start(&rig);
  send_pass(model, 4);
  cr_assert_eq(reply.status, 200, "%s", reply.text);
}

static void go_on(const char *why) {
  static reply_t want;
  cr_assert(!atomic_load(&rig.ended));
  cr_assert_neq(strstr(reply.text, why), NULL, "%s", reply.text);
  send_pass(model, 5);
  cr_assert_eq(reply.status, 503, "%s", reply.text);
  cr_assert_neq(strstr(reply.text, why), NULL, "%s", reply.text);
  atomic_store(&failing, 0);
  wanted(&want);
  look(60000);
  snprintf(body, sizeof body, "%s:4", model);
  rig_result(&rig, body, &reply);
  cr_assert_eq(reply.status, 200, "%s", reply.text);
  step(model, 5);
  cr_assert_str_eq(reply.text, want.text);
  rig_stop(&rig); /* its log is whole then */
  cr_assert_neq(strstr(rig.log, "model_parked"), NULL, "%s", rig.log);
  cr_assert_eq(strstr(rig.log, "replay_differs"), NULL, "%s", rig.log);
  rig_close(&rig);
}

Test(trouble, a_snapshot_that_cannot_be_read) {
  until_trouble(TINKER_EIO);
  rig.api.train_load = load;
  begin_again();
  for (int64_t pause = 1000; pause <= 4000; pause *= 2) {
    wait_parked(pause);
    look(pause);
  }
  wait_parked(8000);
  cr_assert_eq(atomic_load(&tries), 4);
  go_on("the disk under it fails");
}

Test(trouble, no_memory_for_the_log) {
  until_trouble(TINKER_ENOMEM);
  rig.api.pass_begin = begin;
  begin_again();
  wait_parked(1000);
  cr_assert_eq(atomic_load(&tries), 1);
  go_on("out of memory");
}

/* --- Bodies --------------------------------------------------------------- */

static size_t live(void) {
  return (size_t)rig.mem.live_bytes;
}

/* A start has the rows of 40 calls behind a gap in memory, and not one of their
 * bodies; they are executed all the same. */
Test(trouble, bodies_stay_in_the_log) {
  static char large[40000];
  open_two();
  size_t empty = live();
  for (int seq = 2; seq <= 41; seq++) {
    int n = snprintf(large, sizeof large,
                     "{\"model_id\":\"%s\",\"seq_id\":%d,\"adam_params\":{},"
                     "\"x\":\"",
                     model, seq);
    memset(large + n, 'x', sizeof large - (size_t)n - 3);
    memcpy(large + sizeof large - 3, "\"}", 3);
    rig_call(&rig, "POST api/v1/optim_step", NULL, NULL, large, &reply);
    cr_assert_eq(reply.status, 200, "%s", reply.text);
  }
  rig_stop(&rig);
  rig_start(&rig);
  cr_assert_lt(live(), empty + 10 * sizeof large);
  step(model, 1);
  snprintf(body, sizeof body, "%s:41", model);
  rig_result(&rig, body, &reply);
  cr_assert_neq(strstr(reply.text, "metrics"), NULL, "%s", reply.text);
  rig_close(&rig);
}

/* What waits is decoded again when there was no room to keep it. */
Test(trouble, waiting_calls_are_decoded_again) {
  static reply_t want;
  open_two();
  wanted(&want);
  rig.s->max_held = 0;
  send_pass(model, 3);
  send_pass(model, 4);
  rig_optim_body(body, sizeof body, model, 5);
  rig_call(&rig, "POST api/v1/optim_step", NULL, NULL, body, &reply);
  cr_assert_eq(reply.status, 200, "%s", reply.text);
  tinker__svc_lock(rig.s);
  size_t held = rig.s->held;
  tinker__svc_unlock(rig.s);
  cr_assert_eq(held, 0);
  pass(model, 1);
  step(model, 2);
  snprintf(body, sizeof body, "%s:5", model);
  rig_result(&rig, body, &reply);
  cr_assert_str_eq(reply.text, want.text);
  rig_close(&rig);
}

/* The last wait was for memory, and now a body can't be read: clients are told,
 * and its pauses grow. */
Test(trouble, after_a_wait_for_memory) {
  tinker__mem_t mem;
  tinker__mem_init(&mem, NULL, 0);
  tinker__svc_t s = {.mem = &mem,
                     .world = tinker__world_real(),
                     .runner = &tinker__svc_runner};
  tinker__svc_session_t n = {.id = "s"};
  tinker__list_init(&s.parked);
  tinker__svc_model_t *m = tinker__svc_model_new(&s, &n, 0);
  tinker__svc_op_t *op = tinker__svc_op_new(&s, m->id, 1, TINKER__SVC_OP_OPTIM);
  tinker__list_push_back(&m->ops, &op->all);
  op->state = TINKER__SVC_OP_RUNNING;
  m->state = TINKER__SVC_MODEL_READING;
  m->stuck = TINKER__SVC_STUCK_SHORT;
  m->current = op;
  tinker__svc_trouble(m, TINKER_EIO, "its log can't be read");
  tinker__svc_model_park(m);
  cr_assert_eq(m->stuck, TINKER__SVC_STUCK_TROUBLE);
  cr_assert_eq(m->state, TINKER__SVC_MODEL_PARKED);
  cr_assert_eq(op->state, TINKER__SVC_OP_WAITING);
  cr_assert_null(m->current);
  tinker__svc_model_free(&s, m);
  cr_assert_eq(mem.live_blocks, 0);
}
