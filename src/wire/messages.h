/* messages: the small JSON messages, protocol 2.3-2.6, 4, 9. One struct and one
 * table per message; the table works both ways. Strings are NUL-terminated,
 * NULL = absent. Reading fills what is absent with the defaults of the
 * protocol. Pure. */
#ifndef TINKER_WIRE_MESSAGES_H
#define TINKER_WIRE_MESSAGES_H

#include "wire/body.h"
#include "wire/json_bind.h"

/* Appends the message as one JSON object. 0, TINKER_EINVAL (a string is not
 * UTF-8), TINKER_ENOMEM or TINKER_EOVERFLOW. */
int tinker__message_encode(tinker__buf_t *out,
                           const tinker__bind_table_t *table, const void *in);
/* Encodes a numbered request without model_id and seq_id, but with room for the
 * stamp of this id. */
int tinker__message_encode_numbered(tinker__wire_body_t *out,
                                    tinker__mem_t *mem,
                                    const tinker__bind_table_t *table,
                                    const void *in, tinker__str_t model_id);
/* Reads a whole body into the arena. 0, TINKER_ENOMEM, TINKER_EOVERFLOW,
 * TINKER_EJSON (no JSON) or TINKER_EINVAL (a field), with a sentence in `why`
 * that names the field: "adam_params.beta1: must be a finite number". */
int tinker__message_decode(const tinker__bind_table_t *table, void *out,
                           tinker__arena_t *arena, tinker__str_t body,
                           char *why, size_t why_len);

/* Reads a part of a message that is given as JSON text. prefix: the part's
 * path, with a dot after it, for the sentence. */
int tinker__message_decode_part(const tinker__bind_table_t *table, void *out,
                                tinker__arena_t *arena, tinker__str_t text,
                                const char *prefix, char *why, size_t why_len);

/* A refusal of the service. */
typedef struct tinker__refusal_s {
  const char *detail;
} tinker__refusal_t;
extern const tinker__bind_table_t tinker__refusal_msg;

/* Decodes the body of a call in one pass. The head is read even if other fields
 * are refused (tinker__bind_read_call). */
int tinker__message_decode_call(const tinker__bind_table_t *table, void *out,
                                tinker__arena_t *arena, tinker__str_t body,
                                tinker__bind_rest_t rest, void *user,
                                tinker__bind_head_t *head, char *why,
                                size_t why_len);

/* Model and number of a call. */
typedef struct tinker__call_head_s {
  const char *model_id; /* NULL = absent */
  bool has_seq_id;
  int64_t seq_id;
} tinker__call_head_t;
extern const tinker__bind_table_t tinker__call_head_msg;

/* The ids and the number that any call may have. */
typedef struct tinker__call_subject_s {
  const char *model_id;
  const char *session_id;
  const char *sampling_session_id;
  const char *request_id;
  bool has_seq_id;
  int64_t seq_id;
} tinker__call_subject_t;
extern const tinker__bind_table_t tinker__call_subject_msg;

/* --- configuration and session ------------------------------------------ */

typedef struct tinker__config_request_s {
  const char *sdk_version;
} tinker__config_request_t;
extern const tinker__bind_table_t tinker__config_request_msg;

/* Reply of client/config: every flag of protocol 4.1. */
typedef struct tinker__client_config_s {
  bool pjwt_auth_enabled;
  const char *credential_default_source;
  int64_t sample_dispatch_bytes;   /* ..._semaphore_size */
  int64_t inflight_response_bytes; /* the same */
  bool parallel_fwdbwd_chunks;
  bool proto_compress_fwdbwd;
  int64_t fwdbwd_max_chunk_len;
  int64_t fwdbwd_max_chunk_bytes;
  int64_t fwdbwd_dispatch_bytes;
  int64_t billing_max_pause_s;
  bool sample_no_retries;
  bool sample_stuck_detection;
  int64_t sample_max_concurrent_requests;
  bool use_pyqwest_transport;
  bool create_model_via_load_weights;
  bool sample_use_retrieve_futures;
  bool sample_join_sampling_session;
  bool custom_loss_server_side;
} tinker__client_config_t;
extern const tinker__bind_table_t tinker__client_config_msg;
extern const tinker__client_config_t tinker__client_config_default;

typedef struct tinker__dynamic_config_s {
  int64_t refresh_interval_s;
  bool sample_cancel_enabled;
  int64_t sample_cancel_max_batch_size;
} tinker__dynamic_config_t;
extern const tinker__bind_table_t tinker__dynamic_config_msg;
extern const tinker__dynamic_config_t tinker__dynamic_config_default;

typedef struct tinker__create_session_s {
  tinker__strs_t tags;
  tinker__str_t user_metadata; /* JSON object */
  const char *sdk_version;
  const char *project_id;
  const char *display_name;
} tinker__create_session_t;
extern const tinker__bind_table_t tinker__create_session_msg;
/* The fields of create_session without the tags, which the service does not
 * keep. */
extern const tinker__bind_table_t tinker__kept_session_msg;

typedef struct tinker__create_session_reply_s {
  const char *session_id;
  const char *info_message;
  const char *warning_message;
  const char *error_message;
} tinker__create_session_reply_t;
extern const tinker__bind_table_t tinker__create_session_reply_msg;

/* session_heartbeat; the reply is an object of which nothing is read. */
typedef struct tinker__heartbeat_s {
  const char *session_id;
} tinker__heartbeat_t;
extern const tinker__bind_table_t tinker__heartbeat_msg;
typedef struct tinker__heartbeat_reply_s {
  char unused;
} tinker__heartbeat_reply_t;
extern const tinker__bind_table_t tinker__heartbeat_reply_msg;

/* sessions/{id}/finish */
typedef struct tinker__finish_s {
  bool has_reason;
  struct {
    const char *type; /* "success", "errored", "interrupted" */
  } reason;
  const char *detail; /* written as null when absent */
} tinker__finish_t;
extern const tinker__bind_table_t tinker__finish_msg;

/* One supported model. */
typedef struct tinker__capability_s {
  const char *model_name;
  bool has_max_context_length, has_trainable, has_sampleable;
  int64_t max_context_length;
  bool trainable;
  bool sampleable;
} tinker__capability_t;
typedef struct tinker__capabilities_reply_s {
  tinker__objs_t supported_models; /* tinker__capability_t */
} tinker__capabilities_reply_t;
extern const tinker__bind_table_t tinker__capabilities_reply_msg;

typedef struct tinker__health_reply_s {
  const char *status;
} tinker__health_reply_t;
extern const tinker__bind_table_t tinker__health_reply_msg;

/* The type of an optimizer's configuration. */
typedef struct tinker__optimizer_s {
  const char *type;
} tinker__optimizer_t;
extern const tinker__bind_table_t tinker__optimizer_msg;

/* --- models and training -------------------------------------------------- */

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

/* --- what exists: runs, checkpoints, sessions ----------------------------- */

typedef struct tinker__checkpoint_reply_s {
  const char *checkpoint_id;   /* weights/NAME */
  const char *checkpoint_type; /* "training", "sampler" */
  const char *time;            /* RFC 3339 */
  const char *tinker_path;
  int64_t size_bytes;
  bool is_public;
  tinker__str_t user_metadata; /* JSON object of strings; empty = null */
  const char *expires_at;
  bool has_pending_gradients_not_saved;
  bool pending_gradients_not_saved;
} tinker__checkpoint_reply_t;

typedef struct tinker__run_reply_s {
  const char *training_run_id;
  const char *base_model;
  const char *model_owner;
  bool is_lora;
  bool corrupted;
  int64_t lora_rank;
  const char *last_request_time;
  bool has_last_checkpoint, has_last_sampler_checkpoint; /* else null */
  tinker__checkpoint_reply_t last_checkpoint;
  tinker__checkpoint_reply_t last_sampler_checkpoint;
  tinker__str_t user_metadata; /* as above */
} tinker__run_reply_t;
extern const tinker__bind_table_t tinker__run_reply_msg;

typedef struct tinker__cursor_s {
  int64_t offset, limit, total_count;
} tinker__cursor_t;

typedef struct tinker__runs_reply_s {
  tinker__objs_t training_runs; /* tinker__run_reply_t */
  tinker__cursor_t cursor;
} tinker__runs_reply_t;
extern const tinker__bind_table_t tinker__runs_reply_msg;

typedef struct tinker__checkpoints_reply_s {
  tinker__objs_t checkpoints; /* tinker__checkpoint_reply_t */
  bool has_cursor;
  tinker__cursor_t cursor;
} tinker__checkpoints_reply_t;
extern const tinker__bind_table_t tinker__checkpoints_reply_msg;

typedef struct tinker__sessions_reply_s {
  tinker__strs_t sessions;
} tinker__sessions_reply_t;
extern const tinker__bind_table_t tinker__sessions_reply_msg;

typedef struct tinker__session_reply_s {
  tinker__strs_t training_run_ids;
  tinker__strs_t sampler_ids;
  tinker__str_t user_metadata; /* as above */
  const char *display_name;    /* NULL = null */
} tinker__session_reply_t;
extern const tinker__bind_table_t tinker__session_reply_msg;

/* --- sampling sessions ------------------------------------------------------
 */

typedef struct tinker__create_sampling_s {
  const char *session_id;
  int64_t sampling_session_seq_id;
  const char *base_model;
  const char *model_path;
} tinker__create_sampling_t;
extern const tinker__bind_table_t tinker__create_sampling_msg;

typedef struct tinker__create_sampling_reply_s {
  const char *sampling_session_id;
} tinker__create_sampling_reply_t;
extern const tinker__bind_table_t tinker__create_sampling_reply_msg;

/* GET samplers/{id} */
typedef struct tinker__sampler_reply_s {
  const char *sampler_id;
  const char *base_model;
  const char *model_path;
} tinker__sampler_reply_t;
extern const tinker__bind_table_t tinker__sampler_reply_msg;

/* The fields of asample that say to whom it belongs; wire/sample.h reads the
 * others. */
typedef struct tinker__sample_head_s {
  const char *sampling_session_id;
  bool has_seq_id;
  int64_t seq_id;
  const char *base_model;
  const char *model_path;
} tinker__sample_head_t;
extern const tinker__bind_table_t tinker__sample_head_msg;

/* --- futures
 * ------------------------------------------------------------------ */

/* The untyped future that answers a submission. */
typedef struct tinker__accepted_s {
  const char *request_id;
  const char *model_id;
  tinker__strs_t sample_sequence_ids;
} tinker__accepted_t;
extern const tinker__bind_table_t tinker__accepted_msg;

typedef struct tinker__retrieve_s {
  const char *request_id;
  bool allow_metadata_only;
} tinker__retrieve_t;
extern const tinker__bind_table_t tinker__retrieve_msg;

typedef struct tinker__try_again_s {
  const char *request_id;
  const char *queue_state; /* "active", "paused_capacity", ... */
  const char *queue_state_reason;
} tinker__try_again_t;
extern const tinker__bind_table_t tinker__try_again_msg;

/* A large result is there, without the result. */
typedef struct tinker__announced_s {
  const char *status; /* "complete_metadata" */
  int64_t response_payload_size;
} tinker__announced_t;
extern const tinker__bind_table_t tinker__announced_msg;

/* A failed result. */
typedef struct tinker__failure_s {
  const char *error;
  const char *category; /* "unknown", "server", "user" */
} tinker__failure_t;
extern const tinker__bind_table_t tinker__failure_msg;

/* The kinds of replies of retrieve_future with status 2xx, in the order of the
 * tests of protocol 9.2. */
typedef enum {
  TINKER__REPLY_PROTO,     /* success, protobuf */
  TINKER__REPLY_TRY_AGAIN, /* not ready */
  TINKER__REPLY_METADATA,  /* ready but large */
  TINKER__REPLY_FAILED,
  TINKER__REPLY_JSON /* success, JSON */
} tinker__reply_kind_t;

typedef struct tinker__reply_s {
  tinker__reply_kind_t kind;
  const char *queue_state;        /* TRY_AGAIN; may be NULL */
  const char *queue_state_reason; /* the same */
  int64_t payload_size;           /* METADATA; 0 = not stated */
  const char *error;              /* FAILED; never NULL then */
  const char *category;           /* the same: "unknown" if not given */
} tinker__reply_t;

/* content_type may be empty. TINKER_EJSON / TINKER_EPROTO: no JSON object. */
int tinker__reply_classify(tinker__reply_t *out, tinker__arena_t *arena,
                           tinker__str_t content_type, tinker__str_t body,
                           char *why, size_t why_len);

/* One line of UTF-8 for people out of the body of an error status: `detail` of
 * a JSON object, text or the list of a failed validation; else the start of
 * the text; "" for an empty body. Always NUL-terminated, never fails for lack
 * of memory: then the text is shorter. */
void tinker__error_body_text(tinker__mem_t *mem, tinker__str_t body, char *out,
                             size_t out_len);

#endif
