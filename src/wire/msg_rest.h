/* msg_rest: messages of what exists: runs, checkpoints, sessions. Part of
 * messages.h. */
#ifndef TINKER_WIRE_MSG_REST_H
#define TINKER_WIRE_MSG_REST_H

#include "wire/json_bind.h"

typedef struct tinker__checkpoint_reply_s {
  const char *checkpoint_id;   /* weights/NAME */
  const char *checkpoint_type; /* "training", "sampler" */
  const char *time;            /* RFC 3339 */
  const char *tinker_path;
  bool has_size_bytes;
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
  bool has_is_lora, has_lora_rank;
  bool is_lora;
  bool corrupted;
  bool has_corrupted;
  int64_t lora_rank;
  const char *last_request_time;
  bool has_last_checkpoint, has_last_sampler_checkpoint; /* else null */
  tinker__checkpoint_reply_t last_checkpoint;
  tinker__checkpoint_reply_t last_sampler_checkpoint;
  tinker__str_t user_metadata; /* as above */
} tinker__run_reply_t;
extern const tinker__bind_table_t tinker__run_reply_msg;

typedef struct tinker__cursor_s {
  int64_t offset, limit, total_count; /* -1 = absent */
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

#endif
