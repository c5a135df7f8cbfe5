/* messages: the small JSON messages, protocol 2.3-2.6, 4, 9. One struct and one
 * table per message; the table works both ways. Strings are NUL-terminated,
 * NULL = absent. Reading fills what is absent with the defaults of the
 * protocol. Pure. This file has what all of them share, and includes them by
 * subject. */
#ifndef TINKER_WIRE_MESSAGES_H
#define TINKER_WIRE_MESSAGES_H

#include "wire/body.h"
#include "wire/json_bind.h"
#include "wire/msg_future.h"
#include "wire/msg_rest.h"
#include "wire/msg_sampling.h"
#include "wire/msg_session.h"
#include "wire/msg_training.h"

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

#endif
