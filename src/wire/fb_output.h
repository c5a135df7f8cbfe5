/* fb_output: the result of forward_backward, protocol 3.4 and 6.5. Pure. */
#ifndef TINKER_WIRE_FB_OUTPUT_H
#define TINKER_WIRE_FB_OUTPUT_H

#include "wire/types.h"

/* Outputs of one datum, "logprobs" and "elementwise_loss" say. */
typedef struct tinker__output_datum_s {
  const tinker__named_tensor_t *fields;
  size_t field_count;
} tinker__output_datum_t;

typedef struct tinker__fb_output_s {
  tinker__str_t type; /* loss_fn_output_type, without what precedes a ':' */
  const tinker__output_datum_t *datums;
  size_t datum_count;
  const tinker__number_t *metrics;
  size_t metric_count;
} tinker__fb_output_t;

/* Appends the message. Metrics and fields are sorted by name; all datums have
 * the same field names (TINKER_EINVAL otherwise), dense. Neighbours of one
 * trailing shape share a record. */
int tinker__fb_output_encode(tinker__buf_t *out, tinker__mem_t *mem,
                             const tinker__fb_output_t *in);
/* The JSON form, for clients that don't take protobuf. */
int tinker__fb_output_encode_json(tinker__buf_t *out,
                                  const tinker__fb_output_t *in);

/* Decode into the arena; bf16 is widened to float, int32 to int64. 0,
 * TINKER_ENOMEM, TINKER_EOVERFLOW, or TINKER_EPROTO / TINKER_EJSON with a
 * sentence in `why`. body is not needed afterwards. */
int tinker__fb_output_decode(tinker__fb_output_t *out, tinker__arena_t *arena,
                             tinker__str_t body, char *why, size_t why_len);
/* The same without a copy of the tensors: takes over the block of the body, a
 * block of the arena's mem, also on failure. The result points into it. */
int tinker__fb_output_take(tinker__fb_output_t *out, tinker__arena_t *arena,
                           char *body, size_t len, char *why, size_t why_len);
int tinker__fb_output_decode_json(tinker__fb_output_t *out,
                                  tinker__arena_t *arena, tinker__str_t body,
                                  char *why, size_t why_len);

/* Combines the results of the chunks of one call, in chunk order, also of a
 * single one: datums are concatenated, metrics reduced by their suffix
 * (protocol 6.5); keys of an unknown reduction are dropped. The parts must live
 * as long as *out. TINKER_EPROTO: a metric key is not name:reduction, or a mean
 * over no datums. */
int tinker__fb_output_combine(tinker__fb_output_t *out, tinker__arena_t *arena,
                              const tinker__fb_output_t *parts, size_t n,
                              char *why, size_t why_len);

#endif
