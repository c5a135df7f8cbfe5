/* What a saved state does not hold is said where it is listed. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "rig.h"

static void save(rig_t *rig, const char *model, int seq, const char *name) {
  static reply_t reply;
  char body[300];
  snprintf(body, sizeof body,
           "{\"model_id\":\"%s\",\"seq_id\":%d,\"path\":\"%s\"}", model, seq,
           name);
  rig_do(rig, "POST api/v1/save_weights", body, &reply);
}

/* The part of a run's list that is about one checkpoint. */
static bool lists_pending(rig_t *rig, const char *model, const char *name) {
  static reply_t reply;
  char mark[60];
  rig_call(rig, "GET api/v1/training_runs/*/checkpoints", model, NULL, "",
           &reply);
  cr_assert_eq(reply.status, 200, "%s", reply.text);
  snprintf(mark, sizeof mark, "\"weights/%s\"", name);
  char *at = strstr(reply.text, mark);
  cr_assert_not_null(at, "%s", reply.text);
  char *end = strstr(at + 1, "\"weights/");
  if (end) *end = 0;
  return strstr(at, "\"pending_gradients_not_saved\"") != NULL;
}

Test(exec_state, gradients_that_are_not_saved_are_listed) {
  static rig_t rig;
  static reply_t reply;
  char session[80], model[120], body[600];
  rig_open(&rig);
  rig_session(&rig, session, sizeof session);
  rig_model(&rig, session, 0, model, sizeof model);
  rig_fb_body(body, sizeof body, model, 1);
  rig_do(&rig, "POST api/v1/forward_backward", body, &reply);
  save(&rig, model, 2, "with");
  rig_optim_body(body, sizeof body, model, 3);
  rig_do(&rig, "POST api/v1/optim_step", body, &reply);
  save(&rig, model, 4, "without");
  for (int start = 0; start < 2; start++) {
    cr_assert(lists_pending(&rig, model, "with"));
    cr_assert_not(lists_pending(&rig, model, "without"));
    rig_stop(&rig);
    rig_start(&rig);
  }
  rig_close(&rig);
}

static void refused_load(rig_t *rig, const char *session, int number,
                         const char *lora, const char *path,
                         const char *words) {
  static reply_t reply;
  char body[400], model[120], id[200];
  snprintf(body, sizeof body,
           "{\"session_id\":\"%s\",\"model_seq_id\":%d,\"base_model\":\"m\","
           "\"lora_config\":{%s,\"seed\":7}}",
           session, number, lora);
  rig_do(rig, "POST api/v1/create_model", body, &reply);
  rig_member(&reply, "model_id", model, sizeof model);
  snprintf(body, sizeof body,
           "{\"model_id\":\"%s\",\"seq_id\":1,\"path\":\"%s\","
           "\"optimizer\":true}",
           model, path);
  rig_call(rig, "POST api/v1/load_weights", NULL, NULL, body, &reply);
  rig_member(&reply, "request_id", id, sizeof id);
  rig_result(rig, id, &reply);
  cr_assert(strstr(reply.text, words), "%s", reply.text);
}

/* A state of another shape than the model's is never put into it. */
Test(exec_state, a_checkpoint_must_fit) {
  static rig_t rig;
  char session[80], model[120], path[200];
  rig_open(&rig);
  rig_session(&rig, session, sizeof session);
  rig_model(&rig, session, 0, model, sizeof model);
  save(&rig, model, 1, "a");
  snprintf(path, sizeof path, "tinker://%s/weights/a", model);
  refused_load(&rig, session, 1, "\"rank\":8", path,
               "the checkpoint has rank 4, this model 8");
  refused_load(&rig, session, 2, "\"rank\":4,\"train_attn\":false", path,
               "other train_* flags");
  refused_load(&rig, session, 3, "\"rank\":4,\"train_mlp\":false", path,
               "other train_* flags");
  refused_load(&rig, session, 4, "\"rank\":4,\"train_unembed\":false", path,
               "other train_* flags");
  refused_load(&rig, session, 5, "\"rank\":4", path, "\"model_id\"");
  rig_close(&rig);
}
