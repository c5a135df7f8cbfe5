/* msg_session: messages of configuration, session and health. Part of
 * messages.h. */
#ifndef TINKER_WIRE_MSG_SESSION_H
#define TINKER_WIRE_MSG_SESSION_H

#include "wire/json_bind.h"

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

#endif
