/* The small JSON messages, the classifier of replies, error bodies. */
#include "wire_test.h"

#include "wire/messages.h"

TestSuite(messages, .init = wire_setup, .fini = wire_teardown);

/* Room for every struct of messages.h. */
typedef union any_s {
  tinker__client_config_t config;
  tinker__create_model_t model;
  tinker__load_weights_t load;
  tinker__capabilities_reply_t caps;
  tinker__get_info_reply_t info;
  tinker__optim_step_t step;
  char bytes[1024];
} any_t;

/* Texts that are written exactly as they are read. */
static const struct {
  const tinker__bind_table_t *table;
  const char *text;
} rows[] = {
    {&tinker__config_request_msg, "{\"sdk_version\":\"0.38.0\"}"},
    {&tinker__dynamic_config_msg,
     "{\"refresh_interval_sec\":20,\"sample_cancel_enabled\":true,"
     "\"sample_cancel_max_batch_size\":64}"},
    {&tinker__create_session_msg,
     "{\"tags\":[\"exp-7\"],\"user_metadata\":{\"owner\":\"ada\"},"
     "\"sdk_version\":\"0.38.0\",\"project_id\":\"prj_42\",\"display_name\":"
     "\"nightly 7\",\"type\":\"create_session\"}"},
    {&tinker__create_session_reply_msg,
     "{\"session_id\":\"S\",\"warning_message\":\"w\","
     "\"type\":\"create_session\"}"},
    {&tinker__heartbeat_msg,
     "{\"session_id\":\"S\",\"type\":\"session_heartbeat\"}"},
    {&tinker__heartbeat_reply_msg, "{\"type\":\"session_heartbeat\"}"},
    {&tinker__finish_msg,
     "{\"reason\":{\"type\":\"success\"},\"detail\":null}"},
    {&tinker__capabilities_reply_msg,
     "{\"supported_models\":[{\"model_name\":\"m\",\"max_context_length\":1,"
     "\"trainable\":true,\"sampleable\":false},{\"model_name\":\"n\"}]}"},
    {&tinker__health_reply_msg, "{\"status\":\"ok\"}"},
    {&tinker__create_model_msg,
     "{\"session_id\":\"S\",\"model_seq_id\":0,\"base_model\":"
     "\"Qwen/Qwen3-8B\",\"lora_config\":{\"rank\":32,\"train_unembed\":true,"
     "\"train_mlp\":true,\"train_attn\":true},\"optimizer_config\":{\"type\":"
     "\"adamw\"},\"type\":\"create_model\"}"},
    {&tinker__create_model_result_msg,
     "{\"model_id\":\"S:train:0\",\"type\":\"create_model\"}"},
    {&tinker__get_info_msg, "{\"model_id\":\"M\",\"type\":\"get_info\"}"},
    {&tinker__get_info_reply_msg,
     "{\"model_id\":\"M\",\"model_data\":{\"arch\":\"qwen3\",\"model_name\":"
     "\"Q\"},\"optimizer_config\":{\"type\":\"adamw\"},\"is_lora\":true,"
     "\"lora_rank\":32,\"model_name\":\"Q\",\"type\":\"get_info\"}"},
    {&tinker__optim_step_msg,
     "{\"model_id\":\"M\",\"seq_id\":3,\"adam_params\":{\"learning_rate\":"
     "0.0002,\"beta1\":0.9,\"beta2\":0.95,\"eps\":1e-12,\"weight_decay\":0.0,"
     "\"grad_clip_norm\":1.0},\"type\":\"optim_step\"}"},
    {&tinker__optim_step_msg,
     "{\"model_id\":\"M\",\"seq_id\":3,\"optimizer_params\":{\"type\":"
     "\"dimuon\",\"learning_rate\":0.02},\"type\":\"optim_step\"}"},
    {&tinker__optim_step_result_msg,
     "{\"metrics\":{\"unclipped_grad_l2:mean\":4.25},"
     "\"type\":\"optim_step\"}"},
    {&tinker__save_weights_msg,
     "{\"model_id\":\"M\",\"path\":\"step-100\",\"seq_id\":4,\"ttl_seconds\":"
     "604800,\"overwrite\":false,\"user_metadata\":{\"step\":\"100\"},"
     "\"type\":\"save_weights\"}"},
    {&tinker__save_weights_result_msg,
     "{\"path\":\"tinker://M/weights/step-100\",\"type\":\"save_weights\"}"},
    {&tinker__save_sampler_msg,
     "{\"model_id\":\"M\",\"sampling_session_seq_id\":0,\"kind\":\"snapshot\","
     "\"seq_id\":6,\"type\":\"save_weights_for_sampler\"}"},
    {&tinker__save_sampler_result_msg,
     "{\"sampling_session_id\":\"S:sample:0\","
     "\"type\":\"save_weights_for_sampler\"}"},
    {&tinker__load_weights_msg,
     "{\"session_id\":\"S\",\"model_seq_id\":1,\"path\":\"tinker://x\","
     "\"optimizer\":true,\"type\":\"load_weights\"}"},
    {&tinker__load_weights_msg,
     "{\"model_id\":\"M\",\"seq_id\":1,\"path\":\"tinker://x\",\"optimizer\":"
     "false,\"type\":\"load_weights\"}"},
    {&tinker__load_weights_result_msg,
     "{\"path\":\"p\",\"model_id\":\"M\",\"type\":\"load_weights\"}"},
    {&tinker__weights_info_msg, "{\"tinker_path\":\"tinker://x\"}"},
    {&tinker__weights_info_reply_msg,
     "{\"base_model\":\"Q\",\"is_lora\":true,\"lora_rank\":32,"
     "\"train_unembed\":true,\"train_mlp\":true,\"train_attn\":true}"},
    {&tinker__create_sampling_msg,
     "{\"session_id\":\"S\",\"sampling_session_seq_id\":1,\"model_path\":"
     "\"tinker://x\",\"type\":\"create_sampling_session\"}"},
    {&tinker__create_sampling_reply_msg,
     "{\"sampling_session_id\":\"S:sample:1\","
     "\"type\":\"create_sampling_session\"}"},
    {&tinker__sampler_reply_msg,
     "{\"sampler_id\":\"S:sample:1\",\"base_model\":\"Q\",\"model_path\":null}"},
    {&tinker__accepted_msg,
     "{\"request_id\":\"S:sample:1:0\",\"sample_sequence_ids\":[\"a\",\"b\"]}"},
    {&tinker__accepted_msg, "{\"request_id\":\"r\",\"model_id\":\"M\"}"},
    {&tinker__retrieve_msg,
     "{\"request_id\":\"r\",\"allow_metadata_only\":true}"},
    {&tinker__try_again_msg,
     "{\"request_id\":\"r\",\"queue_state\":\"active\",\"type\":"
     "\"try_again\"}"},
    {&tinker__announced_msg,
     "{\"status\":\"complete_metadata\",\"response_payload_size\":7}"},
    {&tinker__set_ttl_msg, "{\"ttl_seconds\":7}"},
    {&tinker__set_ttl_msg, "{\"ttl_seconds\":null}"},
    {&tinker__run_reply_msg,
     "{\"training_run_id\":\"M\",\"base_model\":\"Q\",\"corrupted\":true,"
     "\"last_checkpoint\":{\"checkpoint_id\":\"i\",\"checkpoint_type\":"
     "\"training\",\"tinker_path\":\"p\",\"public\":false,\"user_metadata\":"
     "null},\"last_sampler_checkpoint\":null,\"user_metadata\":null}"},
    {&tinker__runs_reply_msg,
     "{\"training_runs\":[{\"training_run_id\":\"M\",\"base_model\":\"Q\","
     "\"model_owner\":\"local\",\"is_lora\":true,\"corrupted\":false,"
     "\"lora_rank\":4,\"last_request_time\":\"t\",\"last_checkpoint\":null,"
     "\"last_sampler_checkpoint\":{\"checkpoint_id\":\"i\",\"checkpoint_type\":"
     "\"sampler\",\"time\":\"t\",\"tinker_path\":\"p\",\"size_bytes\":1,"
     "\"public\":true,\"user_metadata\":{\"a\":\"b\"},\"expires_at\":\"e\","
     "\"pending_gradients_not_saved\":true},\"user_metadata\":null}],"
     "\"cursor\":{\"offset\":0,\"limit\":20,\"total_count\":1}}"},
    {&tinker__checkpoints_reply_msg, "{\"checkpoints\":[]}"},
    {&tinker__sessions_reply_msg, "{\"sessions\":[\"S\"]}"},
    {&tinker__session_reply_msg,
     "{\"training_run_ids\":[\"M\"],\"sampler_ids\":[],\"user_metadata\":null,"
     "\"display_name\":null}"},
    {&tinker__optimizer_msg, "{\"type\":\"adamw\"}"},
    {&tinker__refusal_msg, "{\"detail\":\"no\"}"},
    {&tinker__call_head_msg, "{\"model_id\":\"M\",\"seq_id\":3}"},
    {&tinker__call_subject_msg, "{\"model_id\":\"M\",\"seq_id\":3}"},
    {&tinker__sample_head_msg,
     "{\"sampling_session_id\":\"S\",\"seq_id\":0,\"model_path\":\"p\"}"},
    {&tinker__failure_msg, "{\"error\":\"e\",\"category\":\"user\"}"}};
#define ROWS (sizeof(rows) / sizeof(*rows))

static int trip(tinker__mem_t *m, void *user) {
  size_t i = *(size_t *)user;
  tinker__arena_t a;
  tinker__buf_t b;
  any_t any;
  cr_assert_leq(rows[i].table->size, sizeof(any));
  tinker__arena_init(&a, m);
  tinker__buf_init(&b, m, 4096);
  int rc = tinker__message_decode(rows[i].table, &any, &a,
                                  tinker__str(rows[i].text), why, sizeof(why));
  if (!rc) rc = tinker__message_encode(&b, rows[i].table, &any);
  if (!rc) {
    cr_assert(tinker__str_eqs(tinker__buf_str(&b), rows[i].text),
              "wanted %s\ngot    %.*s", rows[i].text, (int)b.len, b.data);
  }
  tinker__buf_free(&b);
  tinker__arena_free(&a);
  return rc;
}

Test(messages, every_message_both_ways) {
  for (size_t i = 0; i < ROWS; i++) {
    any_t any;
    cr_assert_eq(trip(&mem, &i), 0, "row %zu: %s", i, why);
    cr_assert_gt(tinker__fail_sweep(trip, &i, TINKER_ENOMEM), 0);
    for (size_t len = 0; len < strlen(rows[i].text); len++) {
      cr_assert_neq(tinker__message_decode(rows[i].table, &any, &arena,
                                           (tinker__str_t){rows[i].text, len},
                                           why, sizeof(why)),
                    0);
    }
  }
}

Test(messages, config_defaults_and_flags) {
  tinker__client_config_t c;
  cr_assert_eq(tinker__message_decode(&tinker__client_config_msg, &c, &arena,
                                      TINKER__STR("{}"), why, sizeof(why)),
               0);
  cr_assert_eq(memcmp(&c, &tinker__client_config_default, sizeof(c)), 0);
  cr_assert(c.parallel_fwdbwd_chunks && c.fwdbwd_max_chunk_len == 1024 &&
            c.fwdbwd_max_chunk_bytes == 5000000);
  cr_assert_eq(
      tinker__message_decode(
          &tinker__client_config_msg, &c, &arena,
          TINKER__STR("{\"fwdbwd_max_chunk_bytes_count\":10,"
                      "\"parallel_fwdbwd_chunks\":false,\"new_flag\":{}}"),
          why, sizeof(why)),
      0);
  cr_assert(!c.parallel_fwdbwd_chunks && c.fwdbwd_max_chunk_bytes == 10);
}

Test(messages, faults_are_named) {
  static const struct {
    const tinker__bind_table_t *table;
    const char *text;
    int code;
    const char *words;
  } bad[] = {
      {&tinker__create_model_msg, "{\"session_id\":\"S\"}", TINKER_EINVAL,
       "model_seq_id is required"},
      {&tinker__create_model_msg,
       "{\"session_id\":\"S\",\"model_seq_id\":null}", TINKER_EINVAL,
       "model_seq_id is required"},
      {&tinker__optim_step_msg,
       "{\"model_id\":\"M\",\"adam_params\":{\"eps\":null}}", TINKER_EINVAL,
       "adam_params.eps: must be a finite number"},
      {&tinker__create_model_msg, "{\"lora_config\":7}", TINKER_EINVAL,
       "lora_config must be a JSON object"},
      {&tinker__create_session_msg, "{\"tags\":[7]}", TINKER_EINVAL,
       "tags: must be a list of strings"},
      {&tinker__heartbeat_msg, "{\"session_id\":null,\"session_id\":\"b\"}",
       TINKER_EINVAL, "session_id: given twice"},
      {&tinker__create_model_msg, "{\"session_id\":7}", TINKER_EINVAL,
       "session_id: must be a string"},
      {&tinker__create_model_msg, "{\"lora_config\":{\"rank\":1.5}}",
       TINKER_EINVAL, "lora_config.rank: must be an integer"},
      {&tinker__create_model_msg, "{\"lora_config\":{}}", TINKER_EINVAL,
       "lora_config.rank is required"},
      {&tinker__optim_step_msg,
       "{\"model_id\":\"M\",\"adam_params\":{\"eps\":1e999}}", TINKER_EINVAL,
       "adam_params.eps: number out of range"},
      {&tinker__optim_step_msg, "{\"seq_id\":9223372036854775808}",
       TINKER_EINVAL, "seq_id: integer out of range"},
      {&tinker__heartbeat_msg, "{\"session_id\":\"a\",\"session_id\":\"b\"}",
       TINKER_EINVAL, "session_id: given twice"},
      {&tinker__heartbeat_msg, "{\"session_id\":\"a\\u0000b\"}", TINKER_EINVAL,
       "session_id: must be a string without NUL"},
      {&tinker__heartbeat_msg, "[]", TINKER_EINVAL,
       "the body must be a JSON object"},
      {&tinker__heartbeat_msg, "{\"session_id\":\"a\"} x", TINKER_EJSON,
       "byte 19"},
      {&tinker__capabilities_reply_msg,
       "{\"supported_models\":[{},{\"trainable\":1}]}", TINKER_EINVAL,
       "supported_models[1].trainable: must be true or false"}};
  for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
    any_t any;
    cr_assert_eq(tinker__message_decode(bad[i].table, &any, &arena,
                                        tinker__str(bad[i].text), why,
                                        sizeof(why)),
                 bad[i].code, "%s", bad[i].text);
    cr_assert_not_null(strstr(why, bad[i].words), "%s: %s", bad[i].text, why);
  }
}

Test(messages, numbered_requests_are_stamped_late) {
  tinker__optim_step_t step = {
      .model_id = "ignored",
      .has_adam_params = true,
      .adam_params = tinker__adam_wire_default,
  };
  tinker__wire_body_t b;
  tinker__str_t id = TINKER__STR("S:\"train\"\n:0");
  cr_assert_eq(tinker__message_encode_numbered(
                   &b, &mem, &tinker__optim_step_msg, &step, id),
               0);
  cr_assert_eq(tinker__wire_body_stamp(&b, id, 12), 0);
  cr_assert(tinker__str_eqs(
      sent(&b),
      "{\"model_id\":\"S:\\\"train\\\"\\n:0\",\"seq_id\":12,\"adam_params\":{"
      "\"learning_rate\":0.0001,\"beta1\":0.9,\"beta2\":0.95,\"eps\":1e-12,"
      "\"weight_decay\":0.0,\"grad_clip_norm\":0.0},\"type\":\"optim_step\"}"));
  cr_assert_eq(tinker__wire_body_stamp(&b, id, INT64_MAX), 0);
  tinker__wire_body_free(&b);
  step.optimizer_params = TINKER__STR("{}");
}

Test(messages, replies_are_classified) {
  static const struct {
    const char *type, *body;
    int rc;
    tinker__reply_kind_t kind;
    const char *text;
  } table[] = {
      {"application/x-protobuf; v=1", "\x01", 0, TINKER__REPLY_PROTO, NULL},
      {"Application/X-Protobuf", "", 0, TINKER__REPLY_PROTO, NULL},
      {"application/json",
       "{\"type\":\"try_again\",\"queue_state\":\"paused_capacity\","
       "\"error\":\"x\"}",
       0, TINKER__REPLY_TRY_AGAIN, "paused_capacity"},
      {"", "{\"status\":\"complete_metadata\",\"response_payload_size\":7}", 0,
       TINKER__REPLY_METADATA, NULL},
      {"", "{\"error\":\"NonFinite\",\"category\":\"user\"}", 0,
       TINKER__REPLY_FAILED, "NonFinite"},
      {"", "{\"error\":{\"a\":[1]}}", 0, TINKER__REPLY_FAILED, "{\"a\":[1]}"},
      {"", "{\"metrics\":{\"error\":1}}", 0, TINKER__REPLY_JSON, NULL},
      {"", "{\"type\":[\"try_again\"]}", 0, TINKER__REPLY_JSON, NULL},
      {"", "[]", TINKER_EJSON, TINKER__REPLY_PROTO, NULL},
      {"", "{\"a\":1", TINKER_EJSON, TINKER__REPLY_PROTO, NULL},
      {"", "<html>", TINKER_EJSON, TINKER__REPLY_PROTO, NULL},
      {"", "", TINKER_EJSON, TINKER__REPLY_PROTO, NULL}};
  for (size_t i = 0; i < sizeof(table) / sizeof(*table); i++) {
    tinker__reply_t r;
    cr_assert_eq(tinker__reply_classify(&r, &arena, tinker__str(table[i].type),
                                        tinker__str(table[i].body), why,
                                        sizeof(why)),
                 table[i].rc, "%s", table[i].body);
    if (table[i].rc) continue;
    cr_assert_eq(r.kind, table[i].kind, "%s", table[i].body);
    if (r.kind == TINKER__REPLY_TRY_AGAIN) {
      cr_assert_str_eq(r.queue_state, table[i].text);
    }
    if (r.kind == TINKER__REPLY_METADATA) cr_assert_eq(r.payload_size, 7);
    if (r.kind == TINKER__REPLY_FAILED) {
      cr_assert_str_eq(r.error, table[i].text);
      cr_assert_str_eq(r.category, i == 4 ? "user" : "unknown");
    }
  }
}

Test(messages, error_bodies_become_one_line) {
  static const char *const cases[][2] = {
      {"{\"detail\":\"Model not\\nloaded\"}", "Model not loaded"},
      {"{\"detail\":[{\"loc\":[\"body\",\"data\",0],\"msg\":\"Field "
       "required\",\"type\":\"missing\"},{\"msg\":\"x\",\"loc\":[]}]}",
       "body.data.0: Field required; : x"},
      {"{\"error\":{\"code\":7}}", "{\"code\":7}"},
      {"Bad gateway", "Bad gateway"},
      {"{\"other\":1}", "{\"other\":1}"},
      {"{\"detail\":\"cut", "{\"detail\":\"cut"},
      {"\xff\xfe", ""},
      {"", ""}};
  char out[64];
  for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
    tinker__error_body_text(&mem, tinker__str(cases[i][0]), out, sizeof(out));
    cr_assert_str_eq(out, cases[i][1]);
  }
  char tiny[5];
  tinker__error_body_text(&mem, TINKER__STR("{\"detail\":\"abc€\"}"), tiny,
                          sizeof(tiny));
  cr_assert_str_eq(tiny, "abc", "never half a character");
}
