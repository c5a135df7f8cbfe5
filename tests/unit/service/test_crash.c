/* What a start makes of the call that its predecessor died in. */
#include <criterion/criterion.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "rig.h"

static int64_t row_of(rig_t *rig, const char *model, int seq) {
  char id[200];
  snprintf(id, sizeof id, "%s:%d", model, seq);
  const tinker__svc_op_t *op =
      tinker__map_get(rig->s->op_by_id, tinker__str(id));
  cr_assert_neq(op, NULL);
  return op->row;
}

static void restart(rig_t *rig, int64_t call) {
  rig_kill(rig);
  rig->crash_signal = SIGSEGV;
  rig->crash_call = call;
  rig_start(rig);
}

static void step(rig_t *rig, const char *model, int seq, reply_t *reply) {
  char body[600];
  rig_optim_body(body, sizeof body, model, seq);
  rig_do(rig, "POST api/v1/optim_step", body, reply);
}

/* Its result was stored: it was something else, and the model goes on. When it
 * is the log that can't be executed again, the model can't. */
Test(crash, behind_a_result_and_in_the_log) {
  static rig_t rig;
  static reply_t reply;
  char session[80], model[120];
  rig_open(&rig);
  rig_session(&rig, session, sizeof session);
  rig_model(&rig, session, 0, model, sizeof model);
  step(&rig, model, 1, &reply);
  int64_t row = row_of(&rig, model, 1);
  restart(&rig, row);
  step(&rig, model, 2, &reply);
  cr_assert_neq(strstr(reply.text, "\"metrics\""), NULL, "%s", reply.text);
  restart(&rig, TINKER__REDOING(row));
  step(&rig, model, 3, &reply);
  cr_assert_neq(strstr(reply.text, "when it executed the log again"), NULL,
                "%s", reply.text);
  rig_close(&rig);
}
