/* sample: request and result of asample, protocol 2.5, 3.5, 8.5, 8.6. Pure. */
#ifndef TINKER_WIRE_SAMPLE_H
#define TINKER_WIRE_SAMPLE_H

#include "base/digest.h"
#include "wire/body.h"
#include "wire/json_bind.h"
#include "wire/types.h"

#define TINKER__MAX_STOP_STRINGS 1024
#define TINKER__MAX_STOP_TOKENS (1u << 20) /* the vocabulary may be smaller */

typedef enum {
  TINKER__STOP_DEFAULT, /* absent: the model's end-of-sequence token */
  TINKER__STOP_NONE,    /* []: nothing stops but max_tokens */
  TINKER__STOP_STRINGS,
  TINKER__STOP_TOKENS
} tinker__stop_kind_t;

typedef struct tinker__sample_params_s {
  bool has_max_tokens, has_seed;
  int64_t max_tokens;
  uint64_t seed;      /* negative seeds of JSON are taken modulo 2^64 */
  double temperature; /* 1 */
  int64_t top_k;      /* -1 = all */
  double top_p;       /* 1 */
  tinker__stop_kind_t stop;
  const tinker__str_t *stop_strings;
  const int32_t *stop_tokens;
  size_t stop_count; /* of the one that `stop` names */
} tinker__sample_params_t;

typedef struct tinker__sample_request_s {
  /* Says whether the four below are set, which they may be even if the rest is
   * refused. Set by decoding. */
  tinker__bind_head_t head;
  bool has_session_id, has_model; /* base_model or model_path; empty or not */
  tinker__str_t sampling_session_id; /* empty = absent. Not encoded, as */
  int64_t seq_id;                    /* this: -1 = absent */
  tinker__str_t base_model;          /* empty = absent */
  tinker__str_t model_path;          /* the same */
  const tinker__chunk_view_t *chunks;
  size_t chunk_count;
  tinker__sample_params_t params;
  int64_t num_samples; /* 1 */
  bool prompt_logprobs;
  int64_t topk_prompt_logprobs;
  int64_t topk_sample_logprobs;
  int64_t prompt_alt_tokens_k;
  bool has_last_n;
  int64_t prompt_logprobs_last_n;
  bool has_target; /* target_prompt_logprobs: int64, -1 = nothing asked; a CSR
                      stays one: the reply has its layout */
  tinker__tensor_view_t target;
  bool record_stability_info;
} tinker__sample_request_t;

/* All fields as a request without them means: 1 sample, temperature 1, ... */
void tinker__sample_request_init(tinker__sample_request_t *r);

/* Encodes everything but sampling_session_id (which only says how much room
 * the stamp needs) and seq_id. 0, TINKER_ENOMEM, TINKER_EINVAL (a string is not
 * UTF-8) or TINKER_EOVERFLOW. */
int tinker__sample_request_encode(tinker__wire_body_t *out, tinker__mem_t *mem,
                                  const tinker__sample_request_t *in);
/* Decodes into the arena and checks caps, types, ranges that hold for every
 * model (k >= 0, top_p in [0,1], finite temperature >= 0, max_tokens > 0, at
 * most 1,024 samples, last_n with prompt_logprobs, ...). digest (may be NULL):
 * of the decoded message. 0, TINKER_ENOMEM, TINKER_EOVERFLOW, TINKER_EJSON or
 * TINKER_EINVAL with a sentence in `why` that names the field. */
int tinker__sample_request_decode(tinker__sample_request_t *out,
                                  tinker__arena_t *arena, tinker__str_t body,
                                  unsigned char digest[TINKER__SHA256_LEN],
                                  char *why, size_t why_len);

/* length rows of k cells. Padding: token 0 with -99999; a row that starts with
 * it is "not computed", after other cells it ends the row. */
#define TINKER__TOPK_PADDING (-99999.0f)
typedef struct tinker__topk_view_s {
  size_t k, length; /* 0 = absent */
  const int32_t *tokens;
  const float *logprobs;
} tinker__topk_view_t;

typedef struct tinker__sequence_view_s {
  bool stopped; /* by a stop condition; else by max_tokens */
  const int32_t *tokens;
  const float *logprobs; /* NULL = absent; else count */
  size_t count;
  tinker__topk_view_t topk;
} tinker__sequence_view_t;

typedef struct tinker__sample_result_s {
  const tinker__sequence_view_t *sequences;
  size_t sequence_count;
  const float *prompt_logprobs; /* NULL = absent; NaN = not computed */
  size_t prompt_count;
  tinker__topk_view_t prompt_topk;
  int64_t cache_hit_tokens;
  bool has_target;
  tinker__tensor_view_t target; /* f32, in the request's layout */
  bool has_alt;
  tinker__tensor_view_t alt_tokens; /* i64 [P-1, k] */
  tinker__tensor_view_t alt_logprobs;
} tinker__sample_result_t;

/* Cells in a row of a top-k, without the padding. */
size_t tinker__topk_row_len(const tinker__topk_view_t *t, size_t row);

/* Append the message: SampleResponse, or its JSON form, which has no sampled
 * top-k; target and alternatives are in it as TensorData, under the names of
 * the message. */
int tinker__sample_result_encode(tinker__buf_t *out, tinker__mem_t *mem,
                                 const tinker__sample_result_t *in);
int tinker__sample_result_encode_json(tinker__buf_t *out,
                                      const tinker__sample_result_t *in);
/* Decode into the arena; body is not needed afterwards. 0, TINKER_ENOMEM,
 * TINKER_EOVERFLOW, or TINKER_EPROTO / TINKER_EJSON with a sentence in `why`.
 */
int tinker__sample_result_decode(tinker__sample_result_t *out,
                                 tinker__arena_t *arena, tinker__str_t body,
                                 char *why, size_t why_len);
/* The same without a copy of the values: takes over the block of the body, a
 * block of the arena's mem, also on failure. The result points into it. */
int tinker__sample_result_take(tinker__sample_result_t *out,
                               tinker__arena_t *arena, char *body, size_t len,
                               char *why, size_t why_len);
int tinker__sample_result_decode_json(tinker__sample_result_t *out,
                                      tinker__arena_t *arena,
                                      tinker__str_t body, char *why,
                                      size_t why_len);

#endif
