/* What a program attaches to session, model and checkpoints reaches the service
 * as it is, or is refused by its place before anything is sent. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "rig.h"

#define SESSION "api/v1/create_session"
#define SAVE_SAMPLER "api/v1/save_weights_for_sampler"
#define LOAD "api/v1/load_weights"
#define PATH "tinker://s1:train:0/weights/a"
#define MOST 256

static const tinker_metadata_t two[] = {{"run", "n\xc3\xbc \"1\""},
                                        {"empty", ""}};
#define TWO "\"user_metadata\":{\"run\":\"n\xc3\xbc \\\"1\\\"\",\"empty\":\"\"}"

static rig_t rig;
static tinker_trainer_t *trainer;

static void setup(void) {
  rig_init(&rig, NULL);
  rig.metadata = two;
  rig.metadata_count = 2;
  cr_assert_eq(rig_client(&rig), 0);
  trainer = rig_trainer(&rig);
}

static void teardown(void) {
  tinker_trainer_release(trainer);
  rig_done(&rig);
}

TestSuite(metadata, .init = setup, .fini = teardown);

/* Ends the call, whose request is the n-th with this path. */
static const char *sent(tinker_future_t *f, const char *path, size_t n) {
  cr_assert_eq(tinker_future_wait(f, 60000), 0, "%s",
               tinker_error_message(tinker_future_error(f)));
  tinker_future_release(f);
  const script_request_t *q = rig_request(&rig, path, n);
  cr_assert_not_null(q);
  return q->body;
}

static tinker_future_t *create(const tinker_metadata_t *list, size_t count) {
  tinker_trainer_options_t o = TINKER_TRAINER_OPTIONS_INIT;
  o.base_model = "tiny";
  o.metadata = list;
  o.metadata_count = count;
  return tinker_client_create_trainer(rig.client, &o, NULL);
}

static tinker_future_t *save(const tinker_metadata_t *list, size_t count) {
  tinker_save_options_t o = TINKER_SAVE_OPTIONS_INIT;
  o.metadata = list;
  o.metadata_count = count;
  return tinker_trainer_save_state(trainer, "a", &o, NULL);
}

static tinker_future_t *save_sampler(const tinker_metadata_t *list,
                                     size_t count) {
  tinker_save_options_t o = TINKER_SAVE_OPTIONS_INIT;
  o.metadata = list;
  o.metadata_count = count;
  return tinker_trainer_save_weights_for_sampler(trainer, "a", &o, NULL);
}

static tinker_future_t *from_state(const tinker_metadata_t *list,
                                   size_t count) {
  tinker_state_options_t o = TINKER_STATE_OPTIONS_INIT;
  o.metadata = list;
  o.metadata_count = count;
  return tinker_client_create_trainer_from_state_with(rig.client, PATH, &o,
                                                      NULL);
}

Test(metadata, all_that_is_made_carries_it) {
  cr_assert(strstr(rig_request(&rig, SESSION, 0)->body, TWO));
  cr_assert(strstr(sent(create(two, 2), CREATE, 1), TWO));
  cr_assert(strstr(sent(save(two, 2), SAVE, 0), TWO));
  cr_assert(strstr(sent(save_sampler(two, 2), SAVE_SAMPLER, 0), TWO));
  const char *load = sent(from_state(two, 2), LOAD, 0);
  cr_assert(strstr(load, TWO) && strstr(load, "\"optimizer\":true"));
}

Test(metadata, none_is_not_sent) {
  cr_assert_not(strstr(rig_request(&rig, CREATE, 0)->body, "user_metadata"));
  cr_assert_not(strstr(sent(create(two, 0), CREATE, 1), "user_metadata"));
  cr_assert_not(strstr(sent(save(NULL, 0), SAVE, 0), "user_metadata"));
  cr_assert_not(
      strstr(sent(save_sampler(NULL, 0), SAVE_SAMPLER, 0), "user_metadata"));
  cr_assert_not(strstr(sent(from_state(NULL, 0), LOAD, 0), "user_metadata"));
}

/* A service that makes no model by load_weights. */
Test(metadata, a_model_made_in_steps_carries_it) {
  script_expect(
      rig.script, TINKER__HTTP_POST, LOAD,
      (script_reply_t){.status = 422,
                       .body = "{\"detail\":[{\"type\":\"missing\",\"loc\":["
                               "\"body\",\"model_id\"],\"msg\":\"Field "
                               "required\"}]}"});
  script_expect(
      rig.script, TINKER__HTTP_POST, "api/v1/weights_info",
      (script_reply_t){.body = "{\"base_model\":\"tiny\",\"is_lora\":true,"
                               "\"lora_rank\":4}"});
  cr_assert(strstr(sent(from_state(two, 2), CREATE, 1), TWO));
}

/* --- refusals --- */

static char long_text[16386];
static char names[MOST + 1][8];
static tinker_metadata_t many[MOST + 1];

/* Each kind of call says the same, and sends nothing. */
static void refused(const tinker_metadata_t *list, size_t count,
                    const char *text) {
  const struct {
    tinker_future_t *f;
    const char *name;
  } calls[] = {{create(list, count), "create_trainer"},
               {save(list, count), "save_state"},
               {save_sampler(list, count), "save_weights_for_sampler"},
               {from_state(list, count), "create_trainer_from_state"}};
  for (size_t i = 0; i < sizeof calls / sizeof calls[0]; i++) {
    char want[256];
    snprintf(want, sizeof want, "%s: %s", calls[i].name, text);
    cr_assert_eq(tinker_future_status(calls[i].f), TINKER_EINVAL);
    cr_assert_str_eq(tinker_error_message(tinker_future_error(calls[i].f)),
                     want);
    tinker_future_release(calls[i].f);
  }
  cr_assert_eq(rig_count(&rig, CREATE), 1u);
  cr_assert_eq(rig_count(&rig, SAVE) + rig_count(&rig, SAVE_SAMPLER), 0u);
  cr_assert_eq(rig_count(&rig, LOAD), 0u);
}

#define ENTRIES(...)                                                           \
  ((const tinker_metadata_t[]){__VA_ARGS__}),                                  \
      sizeof((const tinker_metadata_t[]){__VA_ARGS__}) /                       \
          sizeof(tinker_metadata_t)

Test(metadata, refusals_name_the_entry) {
  memset(long_text, 'x', sizeof long_text - 1);
  refused(NULL, 3,
          "metadata: metadata_count is 3: want at most 256, and an array of "
          "them");
  refused(ENTRIES({"a", "1"}, {NULL, "2"}), "metadata[1].name is NULL");
  refused(ENTRIES({"a", NULL}), "metadata[0].value is NULL");
  refused(ENTRIES({"", "1"}), "metadata[0].name has 0 bytes: want 1 to 256");
  refused(ENTRIES({long_text + sizeof long_text - 258, "1"}),
          "metadata[0].name has 257 bytes: want 1 to 256");
  refused(ENTRIES({"a", long_text}),
          "metadata[0].value has 16385 bytes: want 0 to 16384");
  refused(ENTRIES({"a", "1"}, {"\xff", "1"}), "metadata[1].name is not UTF-8");
  refused(ENTRIES({"a", "\xc3"}), "metadata[0].value is not UTF-8");
  refused(ENTRIES({"a", "1"}, {"b", "1"}, {"a", "2"}),
          "metadata[2].name is that of metadata[0], too");
}

static void fill_many(const char *value) {
  for (int i = 0; i <= MOST; i++) {
    snprintf(names[i], sizeof names[i], "%d", i);
    many[i] = (tinker_metadata_t){names[i], value};
  }
}

Test(metadata, as_much_as_there_may_be) {
  memset(long_text, 'x', 16384);
  fill_many("v");
  refused(many, MOST + 1,
          "metadata: metadata_count is 257: want at most 256, and an array of "
          "them");
  cr_assert(strstr(sent(create(many, MOST), CREATE, 1), "\"255\":\"v\"}"));
  /* {"0":"...","1":"...","2":"...","3":"..."}: 29 bytes and the values. */
  many[0].value = many[1].value = many[2].value = long_text;
  many[3].value = long_text + 29;
  cr_assert(strstr(sent(create(many, 4), CREATE, 2), "\"3\":\"x"));
  many[3].value = long_text + 28;
  tinker_future_t *f = create(many, 4);
  cr_assert_str_eq(tinker_error_message(tinker_future_error(f)),
                   "create_trainer: metadata has 65537 bytes as JSON: want at "
                   "most 65536");
  tinker_future_release(f);
}

Test(metadata, a_client_is_refused) {
  tinker_client_options_t o = TINKER_CLIENT_OPTIONS_INIT;
  tinker_client_t *client = NULL;
  tinker_error_t *error = NULL;
  const tinker_metadata_t bad[] = {{"a", "1"}, {"b", "\xff"}};
  o.base_url = "unix:/nonexistent/socket";
  o.metadata = bad;
  o.metadata_count = 2;
  cr_assert_eq(tinker_client_new(&client, &o, &error), TINKER_EINVAL);
  cr_assert_str_eq(tinker_error_message(error),
                   "metadata[1].value is not UTF-8");
  tinker_error_release(error);
  cr_assert_null(client);
}

/* Programs that were built before there was metadata. */
Test(metadata, shorter_options_have_none) {
  tinker_trainer_options_t o = TINKER_TRAINER_OPTIONS_INIT;
  tinker_save_options_t s = TINKER_SAVE_OPTIONS_INIT;
  o.base_model = "tiny";
  o.metadata = s.metadata = two;
  o.metadata_count = s.metadata_count = 2;
  o.size = offsetof(tinker_trainer_options_t, metadata);
  s.size = offsetof(tinker_save_options_t, metadata);
  cr_assert_not(strstr(
      sent(tinker_client_create_trainer(rig.client, &o, NULL), CREATE, 1),
      "user_metadata"));
  cr_assert_not(
      strstr(sent(tinker_trainer_save_state(trainer, "a", &s, NULL), SAVE, 0),
             "user_metadata"));
}

Test(metadata, state_options_are_checked) {
  tinker_state_options_t o = TINKER_STATE_OPTIONS_INIT;
  o.with_optimizer = 2;
  tinker_future_t *f =
      tinker_client_create_trainer_from_state_with(rig.client, PATH, &o, NULL);
  cr_assert_str_eq(tinker_error_message(tinker_future_error(f)),
                   "create_trainer_from_state: with_optimizer is 2: want 0 or "
                   "1");
  tinker_future_release(f);
  tinker_state_options_init(&o);
  o.reserved0 = 1;
  f = tinker_client_create_trainer_from_state_with(rig.client, PATH, &o, NULL);
  cr_assert_eq(tinker_future_status(f), TINKER_ENOTSUP);
  tinker_future_release(f);
  cr_assert(strstr(sent(tinker_client_create_trainer_from_state_with(
                            rig.client, PATH, NULL, NULL),
                        LOAD, 0),
                   "\"optimizer\":true"));
}
