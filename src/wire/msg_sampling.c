/* msg_sampling: tables of sampling sessions (msg_sampling.h). */
#include "wire/bind_rows.h"

static const tinker__bind_field_t create_sampling_rows[] = {
    ROW(tinker__create_sampling_t, STR, session_id, REQ | LONG),
    ROW(tinker__create_sampling_t, I64, sampling_session_seq_id, REQ),
    ROW(tinker__create_sampling_t, STR, base_model, LONG),
    ROW(tinker__create_sampling_t, STR, model_path, LONG)};
const tinker__bind_table_t tinker__create_sampling_msg =
    TABLE(create_sampling_rows, tinker__create_sampling_t,
          "create_sampling_session", NULL);

static const tinker__bind_field_t create_sampling_reply_rows[] = {
    ROW(tinker__create_sampling_reply_t, STR, sampling_session_id, REQ)};
const tinker__bind_table_t tinker__create_sampling_reply_msg =
    TABLE(create_sampling_reply_rows, tinker__create_sampling_reply_t,
          "create_sampling_session", NULL);

static const tinker__bind_field_t sampler_reply_rows[] = {
    ROW(tinker__sampler_reply_t, STR, sampler_id, REQ),
    ROW(tinker__sampler_reply_t, STR, base_model, REQ),
    ROW(tinker__sampler_reply_t, STR, model_path, TINKER__BIND_NULL)};
const tinker__bind_table_t tinker__sampler_reply_msg =
    TABLE(sampler_reply_rows, tinker__sampler_reply_t, NULL, NULL);

static const tinker__bind_field_t sample_head_rows[] = {
    ROW(tinker__sample_head_t, STR, sampling_session_id, HEAD | LONG),
    ROW_HEAD_SEQ(tinker__sample_head_t),
    ROW(tinker__sample_head_t, STR, base_model, HEAD | LONG),
    ROW(tinker__sample_head_t, STR, model_path, HEAD | LONG)};
const tinker__bind_table_t tinker__sample_head_msg =
    TABLE(sample_head_rows, tinker__sample_head_t, NULL, NULL);
