/* msg_rest: tables of what exists: runs, checkpoints, sessions (messages.h). */
#include "wire/bind_rows.h"

static const tinker__bind_field_t set_ttl_rows[] = {
    {.name = "ttl_seconds",
     .kind = TINKER__BIND_I64,
     .flags = REQ | TINKER__BIND_NULLABLE | TINKER__BIND_NULL,
     .offset = offsetof(tinker__set_ttl_t, ttl_seconds),
     .has = offsetof(tinker__set_ttl_t, has_ttl_seconds) + 1}};
const tinker__bind_table_t tinker__set_ttl_msg =
    TABLE(set_ttl_rows, tinker__set_ttl_t, NULL, NULL);

static const tinker__bind_field_t checkpoint_rows[] = {
    ROW(tinker__checkpoint_reply_t, STR, checkpoint_id, REQ),
    ROW(tinker__checkpoint_reply_t, STR, checkpoint_type, REQ),
    ROW(tinker__checkpoint_reply_t, STR, time, 0),
    ROW(tinker__checkpoint_reply_t, STR, tinker_path, REQ),
    ROW_HAS(tinker__checkpoint_reply_t, I64, size_bytes),
    {.name = "public",
     .kind = TINKER__BIND_BOOL,
     .offset = offsetof(tinker__checkpoint_reply_t, is_public)},
    ROW(tinker__checkpoint_reply_t, RAW, user_metadata, TINKER__BIND_NULL),
    ROW(tinker__checkpoint_reply_t, STR, expires_at, 0),
    ROW_HAS(tinker__checkpoint_reply_t, BOOL, pending_gradients_not_saved)};
static const tinker__bind_table_t checkpoint_msg =
    TABLE(checkpoint_rows, tinker__checkpoint_reply_t, NULL, NULL);

/* null when there is none. */
#define ROW_LAST(member)                                                       \
  {                                                                            \
    .name = #member, .kind = TINKER__BIND_OBJ, .flags = TINKER__BIND_NULL,     \
    .offset = offsetof(tinker__run_reply_t, member),                           \
    .has = offsetof(tinker__run_reply_t, has_##member) + 1,                    \
    .nested = &checkpoint_msg                                                  \
  }
static const tinker__bind_field_t run_rows[] = {
    ROW(tinker__run_reply_t, STR, training_run_id, REQ),
    ROW(tinker__run_reply_t, STR, base_model, REQ),
    ROW(tinker__run_reply_t, STR, model_owner, 0),
    ROW_HAS(tinker__run_reply_t, BOOL, is_lora),
    ROW_HAS(tinker__run_reply_t, BOOL, corrupted),
    ROW_HAS(tinker__run_reply_t, I64, lora_rank),
    ROW(tinker__run_reply_t, STR, last_request_time, 0),
    ROW_LAST(last_checkpoint),
    ROW_LAST(last_sampler_checkpoint),
    ROW(tinker__run_reply_t, RAW, user_metadata, TINKER__BIND_NULL)};
const tinker__bind_table_t tinker__run_reply_msg =
    TABLE(run_rows, tinker__run_reply_t, NULL, NULL);

static const tinker__bind_field_t cursor_rows[] = {
    ROW(tinker__cursor_t, I64, offset, 0), ROW(tinker__cursor_t, I64, limit, 0),
    ROW(tinker__cursor_t, I64, total_count, 0)};
static const tinker__cursor_t cursor_defaults = {.total_count = -1};
static const tinker__bind_table_t cursor_msg =
    TABLE(cursor_rows, tinker__cursor_t, NULL, &cursor_defaults);

static const tinker__bind_field_t runs_rows[] = {
    ROW_OBJ(tinker__runs_reply_t, OBJS, training_runs, REQ | LONG,
            tinker__run_reply_msg),
    ROW_OBJ(tinker__runs_reply_t, OBJ, cursor, REQ, cursor_msg)};
const tinker__bind_table_t tinker__runs_reply_msg =
    TABLE(runs_rows, tinker__runs_reply_t, NULL, NULL);

static const tinker__bind_field_t checkpoints_rows[] = {
    ROW_OBJ(tinker__checkpoints_reply_t, OBJS, checkpoints, REQ | LONG,
            checkpoint_msg),
    {.name = "cursor",
     .kind = TINKER__BIND_OBJ,
     .offset = offsetof(tinker__checkpoints_reply_t, cursor),
     .has = offsetof(tinker__checkpoints_reply_t, has_cursor) + 1,
     .nested = &cursor_msg}};
const tinker__bind_table_t tinker__checkpoints_reply_msg =
    TABLE(checkpoints_rows, tinker__checkpoints_reply_t, NULL, NULL);

static const tinker__bind_field_t sessions_rows[] = {
    ROW(tinker__sessions_reply_t, STRS, sessions, REQ)};
const tinker__bind_table_t tinker__sessions_reply_msg =
    TABLE(sessions_rows, tinker__sessions_reply_t, NULL, NULL);

static const tinker__bind_field_t session_rows[] = {
    ROW(tinker__session_reply_t, STRS, training_run_ids, REQ),
    ROW(tinker__session_reply_t, STRS, sampler_ids, REQ),
    ROW(tinker__session_reply_t, RAW, user_metadata, TINKER__BIND_NULL),
    ROW(tinker__session_reply_t, STR, display_name, TINKER__BIND_NULL)};
const tinker__bind_table_t tinker__session_reply_msg =
    TABLE(session_rows, tinker__session_reply_t, NULL, NULL);
