/* A trainer from a state where the service makes no model by load_weights: it
 * is made in steps, and what comes of each failure on the way. */
#include <criterion/criterion.h>
#include <string.h>

#include "rig.h"

#define INFO "api/v1/weights_info"
#define LOAD "api/v1/load_weights"
#define PATH "tinker://s1:train:0/weights/a"

static rig_t rig;

/* As SkyRL's server answers. */
static const char wants_model[] =
    "{\"detail\":[{\"type\":\"missing\",\"loc\":[\"body\",\"model_id\"],"
    "\"msg\":\"Field required\",\"input\":{\"session_id\":\"s1\"}}]}";

static void expect(const char *path, int status, const char *body) {
  script_expect(rig.script, TINKER__HTTP_POST, path,
                (script_reply_t){.status = status, .body = body});
}

static void setup(void) {
  rig_init(&rig, NULL);
  cr_assert_eq(rig_client(&rig), 0);
}

static void teardown(void) {
  rig_done(&rig);
}

TestSuite(from_state, .init = setup, .fini = teardown);

static tinker_future_t *begin(int with_optimizer) {
  tinker_future_t *f = tinker_client_create_trainer_from_state(
      rig.client, PATH, with_optimizer, CALLS_TIMEOUT(60000));
  tinker_future_wait(f, 100000);
  return f;
}

static bool says(const char *path, size_t n, const char *words) {
  return strstr(rig_request(&rig, path, n)->body, words);
}

/* The model is like the state's; its weights come by its number 1, so that its
 * first call has number 2. */
Test(from_state, in_steps) {
  tinker_trainer_t *t = NULL;
  expect(LOAD, 422, wants_model);
  expect(INFO, 0,
         "{\"base_model\":\"tiny\",\"is_lora\":true,\"lora_rank\":4,"
         "\"train_mlp\":false,\"optimizer_config\":{\"type\":\"adamw\","
         "\"version\":3}}");
  tinker_future_t *f = begin(1);
  cr_assert_eq(tinker_future_get_trainer(f, &t), 0);
  cr_assert(says(INFO, 0, "\"tinker_path\":\"" PATH "\""));
  cr_assert(says(CREATE, 0, "\"base_model\":\"tiny\""));
  cr_assert(says(CREATE, 0, "\"rank\":4"));
  cr_assert(says(CREATE, 0, "\"train_mlp\":false"));
  cr_assert(says(CREATE, 0, "\"train_attn\":true"));
  cr_assert(says(CREATE, 0, "\"version\":3"));
  cr_assert_eq(rig_count(&rig, LOAD), 2u);
  cr_assert(says(LOAD, 0, "\"session_id\""));
  cr_assert(says(LOAD, 1, "\"model_id\":\"s1:train:0\""));
  cr_assert(says(LOAD, 1, "\"seq_id\":1"));
  cr_assert(says(LOAD, 1, "\"optimizer\":true"));
  cr_assert(says(LOAD, 1, "\"path\":\"" PATH "\""));
  cr_assert_not(says(LOAD, 1, "session_id"));
  cr_assert(rig_index(&rig, INFO, 0) < rig_index(&rig, CREATE, 0));
  cr_assert(rig_index(&rig, CREATE, 0) < rig_index(&rig, LOAD, 1));
  tinker_future_release(f);
  f = tinker_trainer_optim_step(t, NULL, NULL);
  cr_assert_eq(tinker_future_wait(f, 1000), 0);
  cr_assert_eq(rig_seq(rig_request(&rig, OPTIM, 0)), 2);
  tinker_future_release(f);
  tinker_trainer_release(t);
}

/* Only the words that it wants a model mean it. */
Test(from_state, other_refusals) {
  expect(LOAD, 422, "{\"detail\":\"path: must name weights\"}");
  tinker_future_t *f = begin(0);
  cr_assert_eq(tinker_future_wait(f, 0), TINKER_EREJECTED);
  cr_assert_eq(rig_count(&rig, INFO), 0u);
  tinker_future_release(f);
}

/* A refusal before the model is there leaves nothing; after it there is a model
 * without its weights, and an answer that can't be read says nothing. */
Test(from_state, fails_on_the_way) {
  static const char info[] =
      "{\"base_model\":\"tiny\",\"is_lora\":true,\"lora_rank\":4}";
  static const struct {
    const char *info;
    int create, load, code;
    bool unknown;
  } cases[] = {
      {"{\"base_model\":\"tiny\",\"is_lora\":false}", 0, 0, TINKER_EPROTO,
       true},
      {"{\"base_model\":\"tiny\",\"is_lora\":true}", 0, 0, TINKER_EPROTO, true},
      {info, 400, 0, TINKER_EREJECTED, false},
      {info, 0, 400, TINKER_EREJECTED, true},
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    expect(LOAD, 422, wants_model);
    expect(INFO, 0, cases[i].info);
    if (cases[i].create) expect(CREATE, 400, "{\"detail\":\"no\"}");
    if (cases[i].load) expect(LOAD, 400, "{\"detail\":\"no\"}");
    tinker_future_t *f = begin(0);
    const tinker_error_t *e = tinker_future_error(f);
    cr_assert_eq(tinker_error_code(e), cases[i].code, "%zu: %s", i,
                 tinker_error_message(e));
    cr_assert_eq(!!tinker_error_outcome_is_unknown(e), cases[i].unknown,
                 "%zu: %s", i, tinker_error_message(e));
    tinker_future_release(f);
  }
  cr_assert_eq(rig_count(&rig, LOAD), 5u);
}
