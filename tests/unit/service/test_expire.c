/* Checkpoints whose time has come: the row, the folder, what is still known.
 * The wall clock is the test's; the timer's ticks are real. */
#include <criterion/criterion.h>
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

static void save(rig_t *rig, const char *model, int seq, const char *route,
                 const char *name, const char *ttl) {
  static reply_t reply;
  char body[400];
  snprintf(body, sizeof body,
           "{\"model_id\":\"%s\",\"seq_id\":%d,\"path\":\"%s\"%s}", model, seq,
           name, ttl);
  rig_do(rig, route, body, &reply);
  cr_assert_neq(strstr(reply.text, "\"path\""), NULL, "%s", reply.text);
}

/* Names of the run's checkpoints that are listed, in order. */
static void list(rig_t *rig, const char *model, char *out) {
  static reply_t reply;
  rig_call(rig, "GET api/v1/training_runs/*/checkpoints", model, NULL, "",
           &reply);
  cr_assert_eq(reply.status, 200, "%s", reply.text);
  *out = 0;
  for (char *p = reply.text; (p = strstr(p, "\"checkpoint_id\"")) != NULL;) {
    p = strchr(p, '/') + 1;
    strncat(out, p, 1);
  }
}

/* Until the folders are as many: the sweep runs once a second. A poll of a call
 * that waits for another takes its 200 ms. */
static void wait_for(rig_t *rig, const char *model, int folders) {
  static reply_t reply;
  char body[300];
  snprintf(body, sizeof body, "{\"request_id\":\"%s:99\"}", model);
  for (int i = 0; i < 100 && rig_count(rig, "checkpoints", "") != folders;
       i++) {
    rig_call(rig, "POST api/v1/retrieve_future", NULL, NULL, body, &reply);
    cr_assert_neq(strstr(reply.text, "try_again"), NULL, "%s", reply.text);
  }
  cr_assert_eq(rig_count(rig, "checkpoints", ""), folders);
}

Test(expire, when_their_time_has_come) {
  static rig_t rig;
  static reply_t reply;
  char session[80], model[120], body[400], names[20], sampler[120];
  rig_open(&rig);
  rig_stop(&rig); /* its timer reads the clock */
  rig.world.wall_ms = wall;
  rig_start(&rig);
  rig_session(&rig, session, sizeof session);
  rig_model(&rig, session, 0, model, sizeof model);
  save(&rig, model, 1, "POST api/v1/save_weights", "a",
       ",\"ttl_seconds\":3600");
  save(&rig, model, 2, "POST api/v1/save_weights", "b", "");
  save(&rig, model, 3, "POST api/v1/save_weights_for_sampler", "c",
       ",\"ttl_seconds\":7200");
  save(&rig, model, 4, "POST api/v1/save_weights", "d",
       ",\"ttl_seconds\":86400");
  snprintf(body, sizeof body,
           "{\"session_id\":\"%s\",\"sampling_session_seq_id\":0,"
           "\"model_path\":\"tinker://%s/sampler_weights/c\"}",
           session, model);
  rig_call(&rig, "POST api/v1/create_sampling_session", NULL, NULL, body,
           &reply);
  cr_assert_eq(reply.status, 200, "%s", reply.text);
  rig_member(&reply, "sampling_session_id", sampler, sizeof sampler);
  rig_optim_body(body, sizeof body, model, 99);
  rig_call(&rig, "POST api/v1/optim_step", NULL, NULL, body, &reply);
  cr_assert_eq(reply.status, 200, "%s", reply.text);
  list(&rig, model, names);
  cr_assert_str_eq(names, "abcd");

  atomic_store(&ahead_ms, 3600500);
  wait_for(&rig, model, 3);
  list(&rig, model, names);
  cr_assert_str_eq(names, "bcd");
  /* While it was down, too. */
  rig_stop(&rig);
  atomic_store(&ahead_ms, 7200500);
  rig_start(&rig);
  wait_for(&rig, model, 2);
  list(&rig, model, names);
  cr_assert_str_eq(names, "bd");
  rig_stop(&rig);
  rig_start(&rig);
  list(&rig, model, names);
  cr_assert_str_eq(names, "bd");

  /* The sampler says what has become of its weights. */
  snprintf(body, sizeof body,
           "{\"sampling_session_id\":\"%s\",\"seq_id\":0,\"prompt\":"
           "{\"chunks\":[{\"type\":\"encoded_text\",\"tokens\":[1]}]},"
           "\"sampling_params\":{\"max_tokens\":2}}",
           sampler);
  rig_do(&rig, "POST api/v1/asample", body, &reply);
  cr_assert_neq(strstr(reply.text, "was deleted"), NULL, "%s", reply.text);
  /* And its name is free. */
  save(&rig, model, 5, "POST api/v1/save_weights_for_sampler", "c", "");
  list(&rig, model, names);
  cr_assert_str_eq(names, "bdc");
  rig_close(&rig);
}

/* --- A load whose checkpoint goes before its turn ------------------------- */

static const tinker__engine_api_t *cpu_api;
static pthread_mutex_t gate = PTHREAD_MUTEX_INITIALIZER;

static int gated_train_new(tinker__eng_base_t *base,
                           const tinker__eng_lora_config_t *config,
                           tinker__eng_train_t **out, char *why,
                           size_t why_len) {
  pthread_mutex_lock(&gate);
  pthread_mutex_unlock(&gate);
  return cpu_api->train_new(base, config, out, why, why_len);
}

/* A model whose creation is being executed as long as the gate is closed. */
static void create(rig_t *rig, const char *session, char *id, size_t len) {
  static reply_t reply;
  char body[300];
  snprintf(body, sizeof body,
           "{\"session_id\":\"%s\",\"model_seq_id\":1,\"base_model\":\"m\","
           "\"lora_config\":{\"rank\":4,\"seed\":7}}",
           session);
  rig_call(rig, "POST api/v1/create_model", NULL, NULL, body, &reply);
  cr_assert_eq(reply.status, 200, "%s", reply.text);
  rig_member(&reply, "model_id", id, len);
}

/* The failure names its path, cut inside a character: the future tells it all
 * the same, and the service goes on. */
Test(expire, a_load_whose_checkpoint_goes) {
  static rig_t rig;
  static reply_t reply;
  char session[80], from[120], to[120], id[200], name[200] = "a";
  char body[600], what[400];
  for (int i = 0; i < 99; i++) strcat(name, "\xc3\xa9");
  cpu_api = tinker__cpu_engine();
  rig_open(&rig);
  rig_stop(&rig);
  rig.api.train_new = gated_train_new;
  rig_start(&rig);
  rig_session(&rig, session, sizeof session);
  rig_model(&rig, session, 0, from, sizeof from);
  save(&rig, from, 1, "POST api/v1/save_weights", name, "");
  pthread_mutex_lock(&gate);
  create(&rig, session, to, sizeof to);
  snprintf(body, sizeof body,
           "{\"model_id\":\"%s\",\"seq_id\":1,\"optimizer\":true,\"path\":"
           "\"tinker://%s/weights/%s\"}",
           to, from, name);
  rig_call(&rig, "POST api/v1/load_weights", NULL, NULL, body, &reply);
  cr_assert_eq(reply.status, 200, "%s", reply.text);
  rig_member(&reply, "request_id", id, sizeof id);
  snprintf(what, sizeof what, "%s/weights/%s", from, name);
  rig_call(&rig, "DELETE api/v1/training_runs/*/checkpoints/*/*", what, NULL,
           "", &reply);
  cr_assert_eq(reply.status, 204, "%s", reply.text);
  pthread_mutex_unlock(&gate);
  rig_result(&rig, id, &reply);
  cr_assert_neq(strstr(reply.text, "checkpoint not found: tinker://"), NULL,
                "%s", reply.text);
  cr_assert_eq(rig.restarts, 0, "the service ended");
  rig_close(&rig);
}

/* --- Sessions and a clock that jumps -------------------------------------- */

static _Atomic int64_t clock_ms;

static int64_t clock_now(void *user) {
  (void)user;
  return atomic_load(&clock_ms);
}

/* As the timer does when that time has passed; is the session alive then. */
static bool lives_after(rig_t *rig, int64_t ms) {
  tinker__svc_t *s = rig->s;
  pthread_mutex_lock(&s->lock);
  atomic_fetch_add(&clock_ms, ms);
  tinker__svc_session_look(s, atomic_load(&clock_ms));
  tinker__svc_session_t *n = TINKER__CONTAINER(tinker__list_first(&s->sessions),
                                               tinker__svc_session_t, link);
  bool lives = n->state == TINKER__SVC_SESSION_LIVE;
  pthread_mutex_unlock(&s->lock);
  return lives;
}

/* Hours in which the process was stopped are none of the ten minutes. */
Test(expire, a_pause_of_the_process) {
  static rig_t rig;
  char session[80];
  rig_open(&rig);
  rig_stop(&rig);
  atomic_store(&clock_ms, 5000000);
  rig.world.now_ms = clock_now;
  rig_start(&rig);
  rig_session(&rig, session, sizeof session);
  for (int i = 0; i < 300; i++) cr_assert(lives_after(&rig, 1000));
  cr_assert(lives_after(&rig, 7200000), "ended by a pause");
  cr_assert(lives_after(&rig, 2000000), "ended by a second one");
  int seconds = 0;
  while (seconds < 1000 && lives_after(&rig, 1000)) seconds++;
  cr_assert(seconds >= 295 && seconds <= 300, "%d", seconds);
  rig_close(&rig);
}
