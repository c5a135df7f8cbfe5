/* Results that can't be kept, and samplers whose weights are not kept in
 * memory. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "cpu/cpu.h"
#include "rig.h"
#include "service/parse/work.h"

static void sample(rig_t *rig, const char *sampler, int seq, reply_t *reply) {
  char body[400];
  snprintf(body, sizeof body,
           "{\"sampling_session_id\":\"%s\",\"seq_id\":%d,\"prompt\":"
           "{\"chunks\":[{\"type\":\"encoded_text\",\"tokens\":[1,2]}]},"
           "\"sampling_params\":{\"max_tokens\":100,\"stop\":[],"
           "\"seed\":5}}",
           sampler, seq);
  rig_do(rig, "POST api/v1/asample", body, reply);
}

/* One that has no room fails its request, and that alone: the service would
 * end at every start again when it made it once more. */
Test(result, too_large) {
  static rig_t rig;
  static reply_t reply;
  char session[80], sampler[120];
  rig_open(&rig);
  rig_session(&rig, session, sizeof session);
  rig_sampler(&rig, session, sampler, sizeof sampler);
  size_t room = rig.s->max_result;
  cr_assert_gt(room, 300);
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

static atomic_int adapters;

static int count_current(tinker__eng_train_t *t, tinker__eng_adapter_t **out,
                         char *why, size_t why_len) {
  int rc = tinker__cpu_engine()->adapter_current(t, out, why, why_len);
  atomic_fetch_add(&adapters, rc == 0);
  return rc;
}

static int count_load(tinker__eng_base_t *b, const char *dir,
                      tinker__eng_adapter_t **out, char *why, size_t why_len) {
  int rc = tinker__cpu_engine()->adapter_load(b, dir, out, why, why_len);
  atomic_fetch_add(&adapters, rc == 0);
  return rc;
}

static tinker__eng_adapter_t *count_retain(tinker__eng_adapter_t *a) {
  atomic_fetch_add(&adapters, 1);
  return tinker__cpu_engine()->adapter_retain(a);
}

static void count_release(tinker__eng_adapter_t *a) {
  atomic_fetch_sub(&adapters, 1);
  tinker__cpu_engine()->adapter_release(a);
}

/* A loop makes a sampler of each step's weights. Memory holds a few of them;
 * the others say the same when they are asked again. */
Test(result, of_more_samplers_than_memory_holds) {
  enum { STEPS = 20 };
  static rig_t rig;
  static reply_t reply, first[STEPS];
  char session[80], model[120], sampler[120], body[600];
  rig_open(&rig);
  rig_stop(&rig);
  rig.api.adapter_current = count_current;
  rig.api.adapter_load = count_load;
  rig.api.adapter_retain = count_retain;
  rig.api.adapter_release = count_release;
  rig_start(&rig);
  rig_session(&rig, session, sizeof session);
  rig_model(&rig, session, 0, model, sizeof model);
  for (int i = 0; i < STEPS; i++) {
    rig_fb_body(body, sizeof body, model, 3 * i + 1);
    rig_do(&rig, "POST api/v1/forward_backward", body, &reply);
    rig_optim_body(body, sizeof body, model, 3 * i + 2);
    rig_do(&rig, "POST api/v1/optim_step", body, &reply);
    snprintf(body, sizeof body,
             "{\"model_id\":\"%s\",\"seq_id\":%d,"
             "\"sampling_session_seq_id\":%d}",
             model, 3 * i + 3, i);
    rig_do(&rig, "POST api/v1/save_weights_for_sampler", body, &reply);
    snprintf(sampler, sizeof sampler, "%s:sample:%d", session, i);
    sample(&rig, sampler, 0, &first[i]);
    cr_assert_leq(atomic_load(&adapters), 9);
  }
  for (int round = 1; round <= 2; round++) {
    for (int i = 0; i < STEPS; i++) {
      snprintf(sampler, sizeof sampler, "%s:sample:%d", session, i);
      sample(&rig, sampler, round, &reply);
      cr_assert_str_eq(reply.text, first[i].text);
      cr_assert_leq(atomic_load(&adapters), 9);
    }
  }
  cr_assert_str_neq(first[0].text, first[STEPS - 1].text);
  rig_stop(&rig);
  cr_assert_eq(atomic_load(&adapters), 0);
  rig_start(&rig);
  rig_close(&rig);
}

Test(result, form_of_an_older_version) {
  static const struct {
    const char *now, *then;
  } cases[] = {
      {"{\"a\":0.0,\"b\":[-12.0,1.0]}", "{\"a\":0,\"b\":[-12,1]}"},
      {"{\"a\":0.05,\"b\":1e+22,\"c\":10.25}",
       "{\"a\":0.05,\"b\":1e+22,\"c\":10.25}"},
      {"{\"1.0\":\"x\\\"2.0\\\\\",\"b\":3.0}",
       "{\"1.0\":\"x\\\"2.0\\\\\",\"b\":3}"},
      {"7.0", "7"},
      {"", ""},
  };
  tinker__mem_t mem;
  tinker__mem_init(&mem, NULL, 0);
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    tinker__buf_t out;
    tinker__buf_init(&out, &mem, 100);
    tinker__svc_result_older_form(&out, tinker__str(cases[i].now));
    cr_assert_eq(tinker__buf_error(&out), 0);
    cr_assert_str_eq(tinker__buf_cstr(&out), cases[i].then);
    tinker__buf_free(&out);
  }
}
