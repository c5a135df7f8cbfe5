/* The end of a session: calls on their way into the log, samples under way. */
#include <criterion/criterion.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "cpu/cpu.h"
#include "rig.h"

/* A read that holds the store's thread until the test lets it go. */
typedef struct {
  pthread_mutex_t lock;
  pthread_cond_t changed;
  bool held, go;
} hold_t;

static void on_held(void *user, int rc, struct sqlite3_stmt *row) {
  hold_t *h = user;
  (void)rc;
  (void)row;
  pthread_mutex_lock(&h->lock);
  h->held = true;
  pthread_cond_broadcast(&h->changed);
  while (!h->go) pthread_cond_wait(&h->changed, &h->lock);
  pthread_mutex_unlock(&h->lock);
}

static void hold(hold_t *h, tinker__db_t *store) {
  *h = (hold_t){.held = false};
  pthread_mutex_init(&h->lock, NULL);
  pthread_cond_init(&h->changed, NULL);
  cr_assert_eq(tinker__svc_store_read_result(store, 0, on_held, h), 0);
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
  rig_refuse(&rig, "INSERT ON requests WHEN NEW.seq = 5");

  hold(&h, rig.s->store);
  rig_optim_body(body, sizeof body, model, 4);
  rig_pending_t *four =
      rig_send(&rig, "POST api/v1/optim_step", NULL, NULL, body);
  rig_optim_body(body, sizeof body, model, 5);
  rig_pending_t *five =
      rig_send(&rig, "POST api/v1/optim_step", NULL, NULL, body);
  rig_pending_t *end =
      rig_send(&rig, "POST api/v1/sessions/*/finish", session, NULL, "{}");
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
    cr_assert_neq(
        strstr(reply.text, "waiting for seq_id 1, and the session has ended"),
        NULL, "%s", reply.text);
  }
  rig_close(&rig);
}

/* A repeat is not told before the first one is stored. */
Test(end, a_repeat_waits_for_the_store) {
  static rig_t rig;
  static reply_t reply;
  char session[80];
  hold_t h;
  rig_open(&rig);
  rig_session(&rig, session, sizeof session);
  hold(&h, rig.s->store);
  rig_pending_t *ends[3];
  for (int i = 0; i < 3; i++) {
    ends[i] =
        rig_send(&rig, "POST api/v1/sessions/*/finish", session, NULL, "{}");
    cr_assert_not(rig_answered(ends[i]), "repeat %d", i);
  }
  let_go(&h);
  for (int i = 0; i < 3; i++) {
    rig_wait(&rig, ends[i], &reply);
    cr_assert_eq(reply.status, 200, "%s", reply.text);
  }
  rig_close(&rig);
}

/* Nor when the first one could not be stored: all are told, and one that comes
 * later ends it. */
Test(end, a_repeat_of_what_could_not_be_stored) {
  static rig_t rig;
  static reply_t reply;
  char session[80];
  hold_t h;
  rig_open(&rig);
  rig_session(&rig, session, sizeof session);
  rig_refuse(&rig, "UPDATE ON sessions");
  hold(&h, rig.s->store);
  rig_pending_t *ends[2];
  for (int i = 0; i < 2; i++) {
    ends[i] =
        rig_send(&rig, "POST api/v1/sessions/*/finish", session, NULL, "{}");
  }
  let_go(&h);
  for (int i = 0; i < 2; i++) {
    rig_wait(&rig, ends[i], &reply);
    cr_assert_eq(reply.status, 503, "%s", reply.text);
  }
  rig_close(&rig);
}

/* --- Samples -------------------------------------------------------------- */

static atomic_int rounds;

static int counted_decode(tinker__engine_t *e,
                          const tinker__eng_decode_item_t *items, size_t n,
                          const atomic_bool *cancel, char *why,
                          size_t why_len) {
  atomic_fetch_add(&rounds, 1);
  return tinker__cpu_engine()->decode(e, items, n, cancel, why, why_len);
}

static void send_sample(rig_t *rig, const char *sampler, int seq, char *id,
                        size_t len) {
  static reply_t reply;
  char body[400];
  snprintf(body, sizeof body,
           "{\"sampling_session_id\":\"%s\",\"seq_id\":%d,\"prompt\":"
           "{\"chunks\":[{\"type\":\"encoded_text\",\"tokens\":[1,2]}]},"
           "\"sampling_params\":{\"max_tokens\":120,\"stop\":[]}}",
           sampler, seq);
  rig_call(rig, "POST api/v1/asample", NULL, NULL, body, &reply);
  cr_assert_eq(reply.status, 200, "%s", reply.text);
  rig_member(&reply, "request_id", id, len);
}

static void expect_canceled(rig_t *rig, const char *id) {
  static reply_t reply;
  rig_result(rig, id, &reply);
  cr_assert_neq(strstr(reply.text, "canceled: the session has ended"), NULL,
                "%s", reply.text);
}

/* One sample runs, others wait behind it or in the log: all end at once. */
Test(end, samples_stop) {
  static rig_t rig;
  static reply_t reply;
  char session[80], sampler[120], ids[70][200];
  rig_open(&rig);
  rig_stop(&rig);
  rig.api.decode = counted_decode;
  rig.api.pick = NULL; /* every round calls decode */
  rig_start(&rig);
  rig_session(&rig, session, sizeof session);
  rig_sampler(&rig, session, sampler, sizeof sampler);
  int n = sizeof ids / sizeof *ids; /* more than run at once */
  for (int i = 0; i < n; i++) {
    send_sample(&rig, sampler, i, ids[i], sizeof ids[i]);
  }
  rig_pending_t *end =
      rig_send(&rig, "POST api/v1/sessions/*/finish", session, NULL, "{}");
  int before = atomic_load(&rounds);
  rig_wait(&rig, end, &reply);
  cr_assert_eq(reply.status, 200);
  expect_canceled(&rig, ids[n - 1]);
  /* Each round is a token of each sequence. */
  cr_assert_leq(atomic_load(&rounds) - before, 2);
  rig_close(&rig);
}

/* --- Without a sign of life ----------------------------------------------- */

static _Atomic int64_t ahead_ms;

static int64_t now(void *user) {
  const tinker__world_t *real = tinker__world_real();
  (void)user;
  return real->now_ms(real->user) + atomic_load(&ahead_ms);
}

/* Under the lock: the timer would take the jump for a pause of the process. */
static void pass_minutes(rig_t *rig, int n) {
  pthread_mutex_lock(&rig->s->lock);
  atomic_fetch_add(&ahead_ms, n * 60000);
  tinker__svc_session_expire(rig->s, now(NULL));
  pthread_mutex_unlock(&rig->s->lock);
}

/* Who asks for a result is there, also without heartbeats. */
Test(end, not_of_a_client_that_waits) {
  static rig_t rig;
  static reply_t reply;
  char session[80], model[120], body[600], id[200];
  rig_open(&rig);
  rig_stop(&rig);
  rig.world.now_ms = now;
  rig_start(&rig);
  rig_session(&rig, session, sizeof session);
  rig_model(&rig, session, 0, model, sizeof model);
  rig_optim_body(body, sizeof body, model, 1);
  rig_do(&rig, "POST api/v1/optim_step", body, &reply);
  for (int i = 0; i < 3; i++) {
    pass_minutes(&rig, 9);
    snprintf(id, sizeof id, "%s:1", model);
    rig_result(&rig, id, &reply);
  }
  rig_optim_body(body, sizeof body, model, 2);
  rig_call(&rig, "POST api/v1/optim_step", NULL, NULL, body, &reply);
  cr_assert_eq(reply.status, 200, "%s", reply.text);
  pass_minutes(&rig, 11);
  rig_optim_body(body, sizeof body, model, 3);
  rig_call(&rig, "POST api/v1/optim_step", NULL, NULL, body, &reply);
  cr_assert_eq(reply.status, 410, "%s", reply.text);
  rig_close(&rig);
}

static int slow_load(tinker__engine_t *e, const char *dir,
                     tinker__eng_load_t **out, char *why, size_t why_len) {
  atomic_fetch_add(&ahead_ms, 20 * 60000);
  return tinker__cpu_engine()->load_begin(e, dir, out, why, why_len);
}

/* A start that takes longer than a session lives without heartbeats. */
Test(end, not_while_models_are_loaded) {
  static rig_t rig;
  static reply_t reply;
  char session[80], body[200];
  rig_open(&rig);
  rig_session(&rig, session, sizeof session);
  rig_stop(&rig);
  rig.world.now_ms = now;
  rig.api.load_begin = slow_load;
  rig_start(&rig);
  pass_minutes(&rig, 9);
  snprintf(body, sizeof body, "{\"session_id\":\"%s\"}", session);
  rig_call(&rig, "POST api/v1/session_heartbeat", NULL, NULL, body, &reply);
  cr_assert_eq(reply.status, 200, "%s", reply.text);
  rig_close(&rig);
}
