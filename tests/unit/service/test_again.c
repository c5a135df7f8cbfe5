/* A number that was used before: the same call once more, or another one. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "rig.h"

/* One body, two calls that both can read it: the second is another call, and is
 * not told that it has been carried out. */
Test(again, another_call_with_the_same_body) {
  static rig_t rig;
  static reply_t reply;
  char session[80], model[120], body[600];
  rig_open(&rig);
  rig_session(&rig, session, sizeof session);
  rig_model(&rig, session, 0, model, sizeof model);
  snprintf(body, sizeof body,
           "{\"model_id\":\"%s\",\"seq_id\":1,\"path\":\"a\"}", model);
  rig_do(&rig, "POST api/v1/save_weights", body, &reply);
  rig_call(&rig, "POST api/v1/save_weights_for_sampler", NULL, NULL, body,
           &reply);
  cr_assert_eq(reply.status, 409, "%s", reply.text);
  rig_call(&rig, "POST api/v1/save_weights", NULL, NULL, body, &reply);
  cr_assert_eq(reply.status, 200, "%s", reply.text);

  snprintf(body, sizeof body,
           "{\"session_id\":\"%s\",\"model_seq_id\":1,\"base_model\":\"m\","
           "\"lora_config\":{\"rank\":4,\"seed\":7},\"optimizer\":true,"
           "\"path\":\"tinker://%s/weights/a\"}",
           session, model);
  rig_do(&rig, "POST api/v1/create_model", body, &reply);
  rig_call(&rig, "POST api/v1/load_weights", NULL, NULL, body, &reply);
  cr_assert_eq(reply.status, 409, "%s", reply.text);
  rig_close(&rig);
}
