/* msg_training: messages of models, training and checkpoints that are saved
 * or loaded. Part of messages.h. */
#ifndef TINKER_WIRE_MSG_TRAINING_H
#define TINKER_WIRE_MSG_TRAINING_H

#include "wire/json_bind.h"

typedef struct tinker__lora_wire_s {
  int64_t rank;
  bool has_seed;
  int64_t seed;
  bool train_unembed, train_mlp, train_attn; /* true */
} tinker__lora_wire_t;

typedef struct tinker__create_model_s {
  const char *session_id;
  int64_t model_seq_id;
  const char *base_model;
  tinker__str_t user_metadata; /* JSON, empty = absent */
  bool has_lora_config;
  tinker__lora_wire_t lora_config;
  tinker__str_t optimizer_config; /* JSON; client: {"type":"adamw"} */
} tinker__create_model_t;
extern const tinker__bind_table_t tinker__create_model_msg;

typedef struct tinker__create_model_result_s {
  const char *model_id;
} tinker__create_model_result_t;
extern const tinker__bind_table_t tinker__create_model_result_msg;

typedef struct tinker__get_info_s {
  const char *model_id;
} tinker__get_info_t;
extern const tinker__bind_table_t tinker__get_info_msg;

typedef struct tinker__get_info_reply_s {
  const char *model_id;
  struct {
    const char *arch;
    const char *model_name;
    const char *tokenizer_id;
  } model_data;
  tinker__str_t optimizer_config; /* JSON; empty = adamw */
  bool has_is_lora, has_lora_rank;
  bool is_lora;
  int64_t lora_rank;
  const char *model_name;
} tinker__get_info_reply_t;
extern const tinker__bind_table_t tinker__get_info_reply_msg;

/* optimizer_config of the optimizer that this API has. */
#define TINKER__ADAMW_JSON "{\"type\":\"adamw\"}"

typedef struct tinker__adam_wire_s {
  double learning_rate, beta1, beta2, eps, weight_decay, grad_clip_norm;
} tinker__adam_wire_t;
extern const tinker__adam_wire_t tinker__adam_wire_default;
extern const tinker__bind_table_t tinker__adam_msg;

typedef struct tinker__optim_step_s {
  const char *model_id;
  bool has_seq_id;
  int64_t seq_id;
  bool has_adam_params; /* exactly one of this and optimizer_params is sent */
  tinker__adam_wire_t adam_params;
  tinker__str_t optimizer_params; /* JSON, empty = absent */
} tinker__optim_step_t;
extern const tinker__bind_table_t tinker__optim_step_msg;

typedef struct tinker__optim_step_result_s {
  tinker__numbers_t metrics;
} tinker__optim_step_result_t;
extern const tinker__bind_table_t tinker__optim_step_result_msg;

typedef struct tinker__save_weights_s {
  const char *model_id;
  bool has_seq_id, has_ttl_seconds;
  const char *path; /* the checkpoint's name */
  int64_t seq_id;
  int64_t ttl_seconds;
  bool overwrite;
  tinker__str_t user_metadata; /* JSON, empty = absent */
} tinker__save_weights_t;
extern const tinker__bind_table_t tinker__save_weights_msg;

typedef struct tinker__save_weights_result_s {
  const char *path;
} tinker__save_weights_result_t;
extern const tinker__bind_table_t tinker__save_weights_result_msg;

typedef struct tinker__save_sampler_s {
  const char *model_id;
  bool has_seq_id, has_ttl_seconds, has_sampling_session_seq_id;
  const char *path; /* NULL: an ephemeral save */
  int64_t sampling_session_seq_id;
  const char *kind; /* "snapshot", "inflight"; NULL = snapshot */
  int64_t seq_id;
  int64_t ttl_seconds;
  tinker__str_t user_metadata; /* JSON, empty = absent */
} tinker__save_sampler_t;
extern const tinker__bind_table_t tinker__save_sampler_msg;

typedef struct tinker__save_sampler_result_s {
  const char *path;
  const char *sampling_session_id;
} tinker__save_sampler_result_t;
extern const tinker__bind_table_t tinker__save_sampler_result_msg;

/* Addressing A: model_id and seq_id. B: session_id and model_seq_id. */
typedef struct tinker__load_weights_s {
  const char *model_id;
  bool has_seq_id, has_model_seq_id;
  int64_t seq_id;
  const char *session_id;
  int64_t model_seq_id;
  const char *base_model;
  tinker__str_t user_metadata; /* JSON, empty = absent */
  const char *path;
  bool optimizer;
  tinker__str_t optimizer_config; /* JSON, empty = absent */
  const char *weights_access_token;
} tinker__load_weights_t;
extern const tinker__bind_table_t tinker__load_weights_msg;

typedef struct tinker__load_weights_result_s {
  const char *path;
  const char *model_id;
} tinker__load_weights_result_t;
extern const tinker__bind_table_t tinker__load_weights_result_msg;

typedef struct tinker__weights_info_s {
  const char *tinker_path;
} tinker__weights_info_t;
extern const tinker__bind_table_t tinker__weights_info_msg;

typedef struct tinker__weights_info_reply_s {
  const char *base_model;
  tinker__str_t optimizer_config; /* JSON; empty = adamw */
  bool is_lora;
  bool has_lora_rank, has_train_unembed, has_train_mlp, has_train_attn;
  int64_t lora_rank;
  bool train_unembed, train_mlp, train_attn;
} tinker__weights_info_reply_t;
extern const tinker__bind_table_t tinker__weights_info_reply_msg;

/* Another time to live for a checkpoint; null = for ever, but it must be there.
 */
typedef struct tinker__set_ttl_s {
  bool has_ttl_seconds;
  int64_t ttl_seconds;
} tinker__set_ttl_t;
extern const tinker__bind_table_t tinker__set_ttl_msg;

#endif
