/* msg_sampling: messages of sampling sessions. Part of messages.h. */
#ifndef TINKER_WIRE_MSG_SAMPLING_H
#define TINKER_WIRE_MSG_SAMPLING_H

#include "wire/json_bind.h"

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

#endif
