/* Checkpoints whose time has come: the row, the folder, what is still known. The
 * wall clock is the test's; the timer's ticks are real. */
#include <criterion/criterion.h>
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

static void save(rig_t *rig, const char *model, int seq, const char *route,
                 const char *name, const char *ttl) {
  static reply_t reply;
  char body[400];
  snprintf(body, sizeof body,
           "{\"model_id\":\"%s\",\"seq_id\":%d,\"path\":\"%s\"%s}", model,
           seq, name, ttl);
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
  rig.world.wall_ms = wall;
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
           "\"model_path\":\"tinker://%s/sampler_weights/c\"}", session,
           model);
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
           "\"sampling_params\":{\"max_tokens\":2}}", sampler);
  rig_do(&rig, "POST api/v1/asample", body, &reply);
  cr_assert_neq(strstr(reply.text, "was deleted"), NULL, "%s", reply.text);
  /* And its name is free. */
  save(&rig, model, 5, "POST api/v1/save_weights_for_sampler", "c", "");
  list(&rig, model, names);
  cr_assert_str_eq(names, "bdc");
  rig_close(&rig);
}
