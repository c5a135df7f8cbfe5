/* A broken model says why, and always the same. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "rig.h"

static void mark(rig_t *rig, const char *model, const char *reason) {
  static reply_t reply;
  char body[100];
  snprintf(body, sizeof body, "{\"reason\":\"%s\"}", reason);
  rig_call(rig, "POST _operator/training_runs/*/corrupted", model, NULL, body,
           &reply);
  cr_assert_lt(reply.status, 300, "%d %s", reply.status, reply.text);
}

static void broken_for(rig_t *rig, const char *model, int seq,
                       const char *reason) {
  static reply_t reply;
  char body[600];
  rig_optim_body(body, sizeof body, model, seq);
  rig_do(rig, "POST api/v1/optim_step", body, &reply);
  cr_assert(strstr(reply.text, "can't go on"), "%s", reply.text);
  cr_assert(strstr(reply.text, reason), "%s", reply.text);
}

Test(model, the_first_reason_stays) {
  static rig_t rig;
  static reply_t reply;
  char session[80], model[120], other[120], body[600];
  rig_open(&rig);
  rig_session(&rig, session, sizeof session);
  rig_model(&rig, session, 0, model, sizeof model);
  rig_model(&rig, session, 1, other, sizeof other);
  mark(&rig, model, "first");
  mark(&rig, model, "second");
  broken_for(&rig, model, 1, "first");
  rig_stop(&rig);
  rig_start(&rig);
  mark(&rig, model, "third");
  broken_for(&rig, model, 2, "first");
  rig_optim_body(body, sizeof body, other, 1); /* it is that model's alone */
  rig_do(&rig, "POST api/v1/optim_step", body, &reply);
  cr_assert(strstr(reply.text, "unclipped_grad_l2"), "%s", reply.text);
  rig_close(&rig);
}
