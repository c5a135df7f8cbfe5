/* Results that can't be kept. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "rig.h"

static void sample(rig_t *rig, const char *sampler, int seq, reply_t *reply) {
  char body[400];
  snprintf(body, sizeof body,
           "{\"sampling_session_id\":\"%s\",\"seq_id\":%d,\"prompt\":"
           "{\"chunks\":[{\"type\":\"encoded_text\",\"tokens\":[1,2]}]},"
           "\"sampling_params\":{\"max_tokens\":100,\"stop\":[]}}",
           sampler, seq);
  rig_do(rig, "POST api/v1/asample", body, reply);
}

/* One that has no room fails its request, and that alone: the service would
 * end at every start again when it made it once more. */
Test(result, too_large) {
  static rig_t rig;
  static reply_t reply;
  char session[80], sampler[120], body[300];
  rig_open(&rig);
  rig_session(&rig, session, sizeof session);
  snprintf(body, sizeof body,
           "{\"session_id\":\"%s\",\"sampling_session_seq_id\":0,"
           "\"base_model\":\"m\"}", session);
  rig_call(&rig, "POST api/v1/create_sampling_session", NULL, NULL, body,
           &reply);
  rig_member(&reply, "sampling_session_id", sampler, sizeof sampler);
  size_t room = rig.s->max_result;
  cr_assert_geq(room, 1u << 29);
  rig.s->max_result = 300;
  sample(&rig, sampler, 0, &reply);
  cr_assert_neq(strstr(reply.text, "larger than 300 bytes"), NULL, "%s",
                reply.text);
  rig.s->max_result = room;
  sample(&rig, sampler, 1, &reply);
  cr_assert_neq(strstr(reply.text, "\"sequences\""), NULL, "%s", reply.text);
  cr_assert(!atomic_load(&rig.ended));
  rig_close(&rig);
}
