/* What a model was made with is stored: a restart makes the same one. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include <tinker/error.h>

#include "rig.h"

/* forward_backward and optim_step under seq and seq + 1; the loss as text. */
static void train(rig_t *rig, const char *model, int seq, char *loss,
                  size_t len) {
  static reply_t reply;
  char body[600];
  rig_fb_body(body, sizeof body, model, 3 * seq + 1); /* the same weights */
  char *at = strstr(body, "\"seq_id\":");
  cr_assert_not_null(at);
  char rest[600];
  snprintf(rest, sizeof rest, "%s", strchr(at, ','));
  snprintf(at, sizeof body - (size_t)(at - body), "\"seq_id\":%d%s", seq, rest);
  rig_do(rig, "POST api/v1/forward_backward", body, &reply);
  at = strstr(reply.text, "\"loss:sum\":");
  cr_assert_not_null(at, "%s", reply.text);
  snprintf(loss, len, "%.*s", (int)strcspn(at, "}"), at);
  rig_optim_body(body, sizeof body, model, seq + 1);
  rig_do(rig, "POST api/v1/optim_step", body, &reply);
}

static void new_model(rig_t *rig, const char *session, int number,
                      const char *lora, char *id, size_t len) {
  static reply_t reply;
  char body[300];
  snprintf(body, sizeof body,
           "{\"session_id\":\"%s\",\"model_seq_id\":%d,\"base_model\":\"m\","
           "\"lora_config\":{\"rank\":4%s}}",
           session, number, lora);
  rig_do(rig, "POST api/v1/create_model", body, &reply);
  rig_member(&reply, "model_id", id, len);
}

/* Six steps, with and without restarts in between: the same losses. The log is
 * executed again from the first call on, as no snapshot was made. */
Test(create, a_restart_makes_the_same_model) {
  static const char *const loras[] = {",\"seed\":11",
                                      ",\"seed\":11,\"train_attn\":false",
                                      ",\"seed\":11,\"train_mlp\":false",
                                      ",\"seed\":11,\"train_unembed\":false"};
  enum { LORAS = sizeof loras / sizeof *loras, STEPS = 4 };
  static rig_t rig;
  char session[80], id[2][LORAS][120], loss[2][LORAS][STEPS][60];
  rig_open(&rig);
  rig_session(&rig, session, sizeof session);
  for (int i = 0; i < 2 * LORAS; i++) {
    new_model(&rig, session, i, loras[i / 2], id[i % 2][i / 2], 120);
  }
  for (int i = 0; i < LORAS; i++) {
    for (int k = 0; k < STEPS; k++) {
      train(&rig, id[0][i], 2 * k + 1, loss[0][i][k], 60);
    }
  }
  for (int k = 0; k < STEPS; k++) {
    for (int i = 0; i < LORAS; i++) {
      train(&rig, id[1][i], 2 * k + 1, loss[1][i][k], 60);
      cr_assert_str_eq(loss[1][i][k], loss[0][i][k], "%d, step %d", i, k);
    }
    rig_stop(&rig);
    rig_start(&rig);
  }
  for (int i = 1; i < LORAS; i++) {
    cr_assert_str_neq(loss[0][i][STEPS - 1], loss[0][0][STEPS - 1]);
  }
  rig_close(&rig);
}

/* The seed that the service drew is the model's for ever: after a restart,
 * which executes the log from the start, the next step is the one that follows
 * the state saved before. */
Test(create, a_drawn_seed_is_kept) {
  static rig_t rig;
  static reply_t reply;
  char session[80], id[120], other[120], path[200], body[600], loss[3][60];
  rig_open(&rig);
  rig_session(&rig, session, sizeof session);
  new_model(&rig, session, 0, "", id, sizeof id);
  new_model(&rig, session, 1, "", other, sizeof other);
  train(&rig, id, 1, loss[0], 60);
  snprintf(body, sizeof body,
           "{\"model_id\":\"%s\",\"seq_id\":3,\"path\":\"a\"}", id);
  rig_do(&rig, "POST api/v1/save_weights", body, &reply);
  rig_member(&reply, "path", path, sizeof path);
  rig_stop(&rig);
  rig_start(&rig);
  train(&rig, id, 4, loss[0], 60);
  snprintf(body, sizeof body,
           "{\"session_id\":\"%s\",\"model_seq_id\":2,\"path\":\"%s\","
           "\"optimizer\":true}",
           session, path);
  rig_do(&rig, "POST api/v1/load_weights", body, &reply);
  rig_member(&reply, "model_id", id, sizeof id);
  train(&rig, id, 1, loss[1], 60);
  cr_assert_str_eq(loss[0], loss[1]);
  for (int i = 0; i < 2; i++) train(&rig, other, 2 * i + 1, loss[2], 60);
  cr_assert_str_neq(loss[0], loss[2], "two models, two seeds");
  rig_close(&rig);
}

Test(create, a_rank_that_is_refused_is_named) {
  static const struct {
    int rank;
    const char *text;
  } rows[] = {
      {0, "lora_config.rank must be positive, not 0"},
      {-4, "lora_config.rank must be positive, not -4"},
      {12, "lora_config.rank must be a power of 2, not 12"},
      {256, "lora_config.rank must be at most 128, not 256"},
  };
  static rig_t rig;
  static reply_t reply;
  char session[80], body[300];
  rig_open(&rig);
  rig_session(&rig, session, sizeof session);
  for (int i = 0; i < (int)(sizeof rows / sizeof *rows); i++) {
    snprintf(body, sizeof body,
             "{\"session_id\":\"%s\",\"model_seq_id\":%d,"
             "\"base_model\":\"m\",\"lora_config\":{\"rank\":%d}}",
             session, i, rows[i].rank);
    rig_call(&rig, "POST api/v1/create_model", NULL, NULL, body, &reply);
    cr_assert_eq(reply.status, 400, "%s", reply.text);
    cr_assert_not_null(strstr(reply.text, rows[i].text), "%s", reply.text);
  }
  rig_close(&rig);
}

/* The folder of a model is a path of this machine: it is told here alone, and
 * not when it has a ':', where clients would cut it. */
Test(create, the_folder_is_told_to_local_callers) {
  static rig_t rig;
  static reply_t reply;
  char session[80], model[120], body[200], folder[300], *dir;
  rig_open(&rig);
  rig_session(&rig, session, sizeof session);
  rig_model(&rig, session, 0, model, sizeof model);
  snprintf(body, sizeof body, "{\"model_id\":\"%s\"}", model);
  dir = tinker__svc_base_find(rig.s, tinker__str("m"))->dir;
  for (int k = 0; k < 3; k++) {
    rig_pending_t *p = rig_request(&rig, "POST api/v1/get_info", NULL, body);
    rig_req(p)->local = k != 1;
    if (k == 2) dir[strlen(dir) - 1] = ':';
    snprintf(folder, sizeof folder, "\"tokenizer_id\":\"%s\"", dir);
    rig_req(p)->route->handler(rig.s, rig_req(p));
    rig_wait(&rig, p, &reply);
    cr_assert_eq(reply.status, 200, "%s", reply.text);
    cr_expect_eq(strstr(reply.text, folder) != NULL, k == 0, "%d: %s", k,
                 reply.text);
    cr_expect_eq(strstr(reply.text, "tokenizer_id") != NULL, k == 0, "%d: %s",
                 k, reply.text);
  }
  rig_close(&rig);
}

static int no_random(void *user, void *out, size_t len) {
  (void)user;
  (void)out;
  (void)len;
  return TINKER_ERANDOM;
}

/* It is not answered as a fault of the request, and says what failed. */
Test(create, a_seed_that_cannot_be_drawn_is_the_services_failure) {
  static rig_t rig;
  static reply_t reply;
  char session[80], body[400], id[120];
  rig_open(&rig);
  rig_session(&rig, session, sizeof session);
  int (*real)(void *, void *, size_t) = rig.world.random;
  rig.world.random = no_random;
  snprintf(body, sizeof body,
           "{\"session_id\":\"%s\",\"model_seq_id\":0,\"base_model\":\"m\","
           "\"lora_config\":{\"rank\":4}}",
           session);
  rig_call(&rig, "POST api/v1/create_model", NULL, NULL, body, &reply);
  cr_assert_eq(reply.status, 500, "%d %s", reply.status, reply.text);
  cr_assert_not_null(strstr(reply.text, "no seed could be drawn"), "%s",
                     reply.text);
  new_model(&rig, session, 0, ",\"seed\":1", id, sizeof id);
  rig_sampler(&rig, session, id, sizeof id);
  for (int given = 0; given < 2; given++) {
    snprintf(body, sizeof body,
             "{\"sampling_session_id\":\"%s\",\"seq_id\":%d,"
             "\"num_samples\":1,\"prompt\":{\"chunks\":[{\"type\":"
             "\"encoded_text\",\"tokens\":[1]}]},"
             "\"sampling_params\":{\"max_tokens\":1%s}}",
             id, given, given ? ",\"seed\":1" : "");
    rig_call(&rig, "POST api/v1/asample", NULL, NULL, body, &reply);
    cr_assert_eq(reply.status, given ? 200 : 500, "%s", reply.text);
    if (!given) {
      cr_assert_not_null(strstr(reply.text, "no seed could be drawn"));
    }
  }
  rig.world.random = real;
  rig_close(&rig);
}
