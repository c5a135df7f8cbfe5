/* msg_future: futures and the replies to polls. Part of messages.h. */
#ifndef TINKER_WIRE_MSG_FUTURE_H
#define TINKER_WIRE_MSG_FUTURE_H

#include "wire/json_bind.h"

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
