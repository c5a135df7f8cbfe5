/* msg_training: tables of models and training (msg_training.h). */
#include "wire/bind_rows.h"

static const tinker__bind_field_t lora_rows[] = {
    ROW(tinker__lora_wire_t, I64, rank, REQ),
    ROW_HAS(tinker__lora_wire_t, I64, seed),
    ROW(tinker__lora_wire_t, BOOL, train_unembed, 0),
    ROW(tinker__lora_wire_t, BOOL, train_mlp, 0),
    ROW(tinker__lora_wire_t, BOOL, train_attn, 0)};
static const tinker__lora_wire_t lora_default = {
    .train_unembed = true,
    .train_mlp = true,
    .train_attn = true,
};
static const tinker__bind_table_t lora_msg =
    TABLE(lora_rows, tinker__lora_wire_t, NULL, &lora_default);

static const tinker__bind_field_t create_model_rows[] = {
    ROW(tinker__create_model_t, STR, session_id, REQ | LONG),
    ROW(tinker__create_model_t, I64, model_seq_id, REQ),
    ROW(tinker__create_model_t, STR, base_model, LONG),
    ROW(tinker__create_model_t, RAW, user_metadata, LONG),
    {.name = "lora_config",
     .kind = TINKER__BIND_OBJ,
     .offset = offsetof(tinker__create_model_t, lora_config),
     .has = offsetof(tinker__create_model_t, has_lora_config) + 1,
     .nested = &lora_msg},
    ROW(tinker__create_model_t, RAW, optimizer_config, 0)};
const tinker__bind_table_t tinker__create_model_msg =
    TABLE(create_model_rows, tinker__create_model_t, "create_model", NULL);

static const tinker__bind_field_t create_model_result_rows[] = {
    ROW(tinker__create_model_result_t, STR, model_id, REQ)};
const tinker__bind_table_t tinker__create_model_result_msg =
    TABLE(create_model_result_rows, tinker__create_model_result_t,
          "create_model", NULL);

static const tinker__bind_field_t get_info_rows[] = {
    ROW(tinker__get_info_t, STR, model_id, REQ | LONG)};
const tinker__bind_table_t tinker__get_info_msg =
    TABLE(get_info_rows, tinker__get_info_t, "get_info", NULL);

/* The unnamed struct of get_info's reply. */
typedef struct tinker__model_data_s {
  const char *arch;
  const char *model_name;
  const char *tokenizer_id;
} tinker__model_data_t;
static const tinker__bind_field_t model_data_rows[] = {
    ROW(tinker__model_data_t, STR, arch, 0),
    ROW(tinker__model_data_t, STR, model_name, 0),
    ROW(tinker__model_data_t, STR, tokenizer_id, 0)};
static const tinker__bind_table_t model_data_msg =
    TABLE(model_data_rows, tinker__model_data_t, NULL, NULL);
static const tinker__bind_field_t get_info_reply_rows[] = {
    ROW(tinker__get_info_reply_t, STR, model_id, REQ),
    ROW_OBJ(tinker__get_info_reply_t, OBJ, model_data, REQ, model_data_msg),
    ROW(tinker__get_info_reply_t, RAW, optimizer_config, 0),
    ROW_HAS(tinker__get_info_reply_t, BOOL, is_lora),
    ROW_HAS(tinker__get_info_reply_t, I64, lora_rank),
    ROW(tinker__get_info_reply_t, STR, model_name, 0)};
const tinker__bind_table_t tinker__get_info_reply_msg =
    TABLE(get_info_reply_rows, tinker__get_info_reply_t, "get_info", NULL);

static const tinker__bind_field_t adam_rows[] = {
    ROW(tinker__adam_wire_t, F64, learning_rate, TINKER__BIND_NOT_NULL),
    ROW(tinker__adam_wire_t, F64, beta1, TINKER__BIND_NOT_NULL),
    ROW(tinker__adam_wire_t, F64, beta2, TINKER__BIND_NOT_NULL),
    ROW(tinker__adam_wire_t, F64, eps, TINKER__BIND_NOT_NULL),
    ROW(tinker__adam_wire_t, F64, weight_decay, TINKER__BIND_NOT_NULL),
    ROW(tinker__adam_wire_t, F64, grad_clip_norm, TINKER__BIND_NOT_NULL)};
const tinker__adam_wire_t tinker__adam_wire_default = {
    .learning_rate = 0.0001,
    .beta1 = 0.9,
    .beta2 = 0.95,
    .eps = 1e-12,
};
const tinker__bind_table_t tinker__adam_msg =
    TABLE(adam_rows, tinker__adam_wire_t, NULL, &tinker__adam_wire_default);

static const tinker__bind_field_t optim_step_rows[] = {
    ROW(tinker__optim_step_t, STR, model_id,
        TINKER__BIND_STAMPED | HEAD | LONG),
    ROW_SEQ(tinker__optim_step_t),
    {.name = "adam_params",
     .kind = TINKER__BIND_OBJ,
     .offset = offsetof(tinker__optim_step_t, adam_params),
     .has = offsetof(tinker__optim_step_t, has_adam_params) + 1,
     .nested = &tinker__adam_msg},
    ROW(tinker__optim_step_t, RAW, optimizer_params, 0)};
const tinker__bind_table_t tinker__optim_step_msg =
    TABLE(optim_step_rows, tinker__optim_step_t, "optim_step", NULL);

static const tinker__bind_field_t optim_step_result_rows[] = {
    ROW(tinker__optim_step_result_t, NUMBERS, metrics, 0)};
const tinker__bind_table_t tinker__optim_step_result_msg = TABLE(
    optim_step_result_rows, tinker__optim_step_result_t, "optim_step", NULL);

static const tinker__bind_field_t save_weights_rows[] = {
    ROW(tinker__save_weights_t, STR, model_id,
        TINKER__BIND_STAMPED | HEAD | LONG),
    ROW(tinker__save_weights_t, STR, path, REQ | LONG),
    ROW_SEQ(tinker__save_weights_t),
    ROW_HAS(tinker__save_weights_t, I64, ttl_seconds),
    ROW(tinker__save_weights_t, BOOL, overwrite, 0),
    ROW(tinker__save_weights_t, RAW, user_metadata, LONG)};
const tinker__bind_table_t tinker__save_weights_msg =
    TABLE(save_weights_rows, tinker__save_weights_t, "save_weights", NULL);

static const tinker__bind_field_t save_weights_result_rows[] = {
    ROW(tinker__save_weights_result_t, STR, path, REQ)};
const tinker__bind_table_t tinker__save_weights_result_msg =
    TABLE(save_weights_result_rows, tinker__save_weights_result_t,
          "save_weights", NULL);

static const tinker__bind_field_t save_sampler_rows[] = {
    ROW(tinker__save_sampler_t, STR, model_id,
        TINKER__BIND_STAMPED | HEAD | LONG),
    ROW(tinker__save_sampler_t, STR, path, LONG),
    ROW_HAS(tinker__save_sampler_t, I64, sampling_session_seq_id),
    ROW(tinker__save_sampler_t, STR, kind, LONG),
    ROW_SEQ(tinker__save_sampler_t),
    ROW_HAS(tinker__save_sampler_t, I64, ttl_seconds),
    ROW(tinker__save_sampler_t, RAW, user_metadata, LONG)};
static const tinker__save_sampler_t save_sampler_default = {.kind = "snapshot"};
const tinker__bind_table_t tinker__save_sampler_msg =
    TABLE(save_sampler_rows, tinker__save_sampler_t, "save_weights_for_sampler",
          &save_sampler_default);

static const tinker__bind_field_t save_sampler_result_rows[] = {
    ROW(tinker__save_sampler_result_t, STR, path, 0),
    ROW(tinker__save_sampler_result_t, STR, sampling_session_id, 0)};
const tinker__bind_table_t tinker__save_sampler_result_msg =
    TABLE(save_sampler_result_rows, tinker__save_sampler_result_t,
          "save_weights_for_sampler", NULL);

static const tinker__bind_field_t load_weights_rows[] = {
    ROW(tinker__load_weights_t, STR, model_id,
        TINKER__BIND_STAMPED | HEAD | LONG),
    ROW_SEQ(tinker__load_weights_t),
    ROW(tinker__load_weights_t, STR, session_id, HEAD | LONG),
    ROW_HAS(tinker__load_weights_t, I64, model_seq_id),
    ROW(tinker__load_weights_t, STR, base_model, LONG),
    ROW(tinker__load_weights_t, RAW, user_metadata, LONG),
    ROW(tinker__load_weights_t, STR, path, REQ | LONG),
    ROW(tinker__load_weights_t, BOOL, optimizer, REQ),
    ROW(tinker__load_weights_t, RAW, optimizer_config, 0),
    ROW(tinker__load_weights_t, STR, weights_access_token, LONG)};
const tinker__bind_table_t tinker__load_weights_msg =
    TABLE(load_weights_rows, tinker__load_weights_t, "load_weights", NULL);

static const tinker__bind_field_t load_weights_result_rows[] = {
    ROW(tinker__load_weights_result_t, STR, path, 0),
    ROW(tinker__load_weights_result_t, STR, model_id, 0)};
const tinker__bind_table_t tinker__load_weights_result_msg =
    TABLE(load_weights_result_rows, tinker__load_weights_result_t,
          "load_weights", NULL);

static const tinker__bind_field_t optimizer_rows[] = {
    ROW(tinker__optimizer_t, STR, type, REQ)};
const tinker__bind_table_t tinker__optimizer_msg =
    TABLE(optimizer_rows, tinker__optimizer_t, NULL, NULL);

static const tinker__bind_field_t weights_info_rows[] = {
    ROW(tinker__weights_info_t, STR, tinker_path, REQ | LONG)};
const tinker__bind_table_t tinker__weights_info_msg =
    TABLE(weights_info_rows, tinker__weights_info_t, NULL, NULL);

static const tinker__bind_field_t weights_info_reply_rows[] = {
    ROW(tinker__weights_info_reply_t, STR, base_model, REQ),
    ROW(tinker__weights_info_reply_t, RAW, optimizer_config, 0),
    ROW(tinker__weights_info_reply_t, BOOL, is_lora, REQ),
    ROW_HAS(tinker__weights_info_reply_t, I64, lora_rank),
    ROW_HAS(tinker__weights_info_reply_t, BOOL, train_unembed),
    ROW_HAS(tinker__weights_info_reply_t, BOOL, train_mlp),
    ROW_HAS(tinker__weights_info_reply_t, BOOL, train_attn)};
const tinker__bind_table_t tinker__weights_info_reply_msg =
    TABLE(weights_info_reply_rows, tinker__weights_info_reply_t, NULL, NULL);
