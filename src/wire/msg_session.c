/* msg_session: tables of configuration, session and capabilities
 * (messages.h). */
#include "wire/bind_rows.h"

static const tinker__bind_field_t config_request_rows[] = {
    ROW(tinker__config_request_t, STR, sdk_version, REQ | LONG)};
const tinker__bind_table_t tinker__config_request_msg =
    TABLE(config_request_rows, tinker__config_request_t, NULL, NULL);

/* A flag under another name than the member's. */
#define FLAG(kind_, member, name_)                                             \
  {                                                                            \
    .name = name_, .kind = TINKER__BIND_##kind_,                               \
    .offset = offsetof(tinker__client_config_t, member)                        \
  }
#define SAME(kind_, member) ROW(tinker__client_config_t, kind_, member, 0)

static const tinker__bind_field_t client_config_rows[] = {
    SAME(BOOL, pjwt_auth_enabled),
    SAME(STR, credential_default_source),
    FLAG(I64, sample_dispatch_bytes, "sample_dispatch_bytes_semaphore_size"),
    FLAG(I64, inflight_response_bytes,
         "inflight_response_bytes_semaphore_size"),
    SAME(BOOL, parallel_fwdbwd_chunks),
    SAME(BOOL, proto_compress_fwdbwd),
    SAME(I64, fwdbwd_max_chunk_len),
    FLAG(I64, fwdbwd_max_chunk_bytes, "fwdbwd_max_chunk_bytes_count"),
    FLAG(I64, fwdbwd_dispatch_bytes, "fwdbwd_dispatch_bytes_semaphore_size"),
    FLAG(I64, billing_max_pause_s, "billing_exception_max_pause_duration_sec"),
    SAME(BOOL, sample_no_retries),
    FLAG(BOOL, sample_stuck_detection, "sample_enable_stuck_detection"),
    SAME(I64, sample_max_concurrent_requests),
    SAME(BOOL, use_pyqwest_transport),
    SAME(BOOL, create_model_via_load_weights),
    SAME(BOOL, sample_use_retrieve_futures),
    SAME(BOOL, sample_join_sampling_session),
    SAME(BOOL, custom_loss_server_side)};
const tinker__client_config_t tinker__client_config_default = {
    .credential_default_source = "api_key",
    .sample_dispatch_bytes = 10485760,
    .inflight_response_bytes = 52428800,
    .parallel_fwdbwd_chunks = true,
    .fwdbwd_max_chunk_len = 1024,
    .fwdbwd_max_chunk_bytes = 5000000,
    .fwdbwd_dispatch_bytes = 50000000,
    .billing_max_pause_s = 3600,
    .sample_stuck_detection = true,
    .sample_max_concurrent_requests = 2000,
    .use_pyqwest_transport = true,
};
const tinker__bind_table_t tinker__client_config_msg =
    TABLE(client_config_rows, tinker__client_config_t, NULL,
          &tinker__client_config_default);

static const tinker__bind_field_t dynamic_config_rows[] = {
    {.name = "refresh_interval_sec",
     .kind = TINKER__BIND_I64,
     .offset = offsetof(tinker__dynamic_config_t, refresh_interval_s)},
    ROW(tinker__dynamic_config_t, BOOL, sample_cancel_enabled, 0),
    ROW(tinker__dynamic_config_t, I64, sample_cancel_max_batch_size, 0)};
const tinker__dynamic_config_t tinker__dynamic_config_default = {
    .refresh_interval_s = 300,
    .sample_cancel_max_batch_size = 64,
};
const tinker__bind_table_t tinker__dynamic_config_msg =
    TABLE(dynamic_config_rows, tinker__dynamic_config_t, NULL,
          &tinker__dynamic_config_default);

static const tinker__bind_field_t create_session_rows[] = {
    ROW(tinker__create_session_t, STRS, tags, LONG),
    ROW(tinker__create_session_t, RAW, user_metadata, LONG),
    ROW(tinker__create_session_t, STR, sdk_version, LONG),
    ROW(tinker__create_session_t, STR, project_id, LONG),
    ROW(tinker__create_session_t, STR, display_name, LONG)};
const tinker__bind_table_t tinker__create_session_msg = TABLE(
    create_session_rows, tinker__create_session_t, "create_session", NULL);
const tinker__bind_table_t tinker__kept_session_msg = {
    .fields = create_session_rows + 1,
    .count = sizeof(create_session_rows) / sizeof(*create_session_rows) - 1,
    .size = sizeof(tinker__create_session_t),
};

static const tinker__bind_field_t create_session_reply_rows[] = {
    ROW(tinker__create_session_reply_t, STR, session_id, REQ),
    ROW(tinker__create_session_reply_t, STR, info_message, 0),
    ROW(tinker__create_session_reply_t, STR, warning_message, 0),
    ROW(tinker__create_session_reply_t, STR, error_message, 0)};
const tinker__bind_table_t tinker__create_session_reply_msg =
    TABLE(create_session_reply_rows, tinker__create_session_reply_t,
          "create_session", NULL);

static const tinker__bind_field_t heartbeat_rows[] = {
    ROW(tinker__heartbeat_t, STR, session_id, REQ | LONG)};
const tinker__bind_table_t tinker__heartbeat_msg =
    TABLE(heartbeat_rows, tinker__heartbeat_t, "session_heartbeat", NULL);
const tinker__bind_table_t tinker__heartbeat_reply_msg = {
    .size = sizeof(tinker__heartbeat_reply_t),
    .type = "session_heartbeat",
};

static const tinker__bind_field_t finish_reason_rows[] = {
    {.name = "type", .kind = TINKER__BIND_STR, .flags = REQ, .offset = 0}};
static const tinker__bind_table_t finish_reason_msg =
    TABLE(finish_reason_rows, const char *, NULL, NULL);
static const tinker__bind_field_t finish_rows[] = {
    {.name = "reason",
     .kind = TINKER__BIND_OBJ,
     .offset = offsetof(tinker__finish_t, reason),
     .has = offsetof(tinker__finish_t, has_reason) + 1,
     .nested = &finish_reason_msg},
    ROW(tinker__finish_t, STR, detail, TINKER__BIND_NULL | LONG)};
const tinker__bind_table_t tinker__finish_msg =
    TABLE(finish_rows, tinker__finish_t, NULL, NULL);

static const tinker__bind_field_t capability_rows[] = {
    ROW(tinker__capability_t, STR, model_name, 0),
    ROW_HAS(tinker__capability_t, I64, max_context_length),
    ROW_HAS(tinker__capability_t, BOOL, trainable),
    ROW_HAS(tinker__capability_t, BOOL, sampleable)};
static const tinker__bind_table_t capability_msg =
    TABLE(capability_rows, tinker__capability_t, NULL, NULL);
static const tinker__bind_field_t capabilities_rows[] = {ROW_OBJ(
    tinker__capabilities_reply_t, OBJS, supported_models, REQ, capability_msg)};
const tinker__bind_table_t tinker__capabilities_reply_msg =
    TABLE(capabilities_rows, tinker__capabilities_reply_t, NULL, NULL);

static const tinker__bind_field_t health_rows[] = {
    ROW(tinker__health_reply_t, STR, status, REQ)};
const tinker__bind_table_t tinker__health_reply_msg =
    TABLE(health_rows, tinker__health_reply_t, NULL, NULL);
