/* Results: read-only views, owned by the future they came from. */
#ifndef TINKER_RESULT_H
#define TINKER_RESULT_H

#include "types.h"

#ifdef __cplusplus
extern "C" {
#endif

/* A tensor of a result: row-major values, shape[0 .. ndim-1]. Exactly one of
 * f32 and i64 is not NULL (both are NULL when count is 0). */
typedef struct tinker_tensor_view_s {
  const float *f32;
  const int64_t *i64;
  size_t count; /* values */
  int64_t shape[2];
  size_t ndim; /* 1 or 2 */
} tinker_tensor_view_t;

/* A named number. name is NUL-terminated and owned by the result. */
typedef struct tinker_metric_s {
  const char *name; /* for example "loss:sum" */
  double value;
} tinker_metric_t;

typedef struct tinker_forward_result_s tinker_forward_result_t;
typedef struct tinker_optim_result_s tinker_optim_result_t;
typedef struct tinker_sample_result_s tinker_sample_result_t;

/* The properties of a model. Strings are owned by the result; "" when not
 * known. */
typedef struct tinker_model_info_s {
  const char *model_id;
  const char *base_model;
  const char *arch;
  const char *tokenizer_id;
  uint32_t lora_rank; /* 0 = not known */
} tinker_model_info_t;

typedef struct tinker_supported_model_s {
  const char *name;
  uint64_t max_context_length; /* tokens; 0 = not known */
  int32_t trainable;           /* 1, 0, or -1 = not known */
  int32_t sampleable;          /* 1, 0, or -1 = not known */
} tinker_supported_model_t;

/* Models that the service offers. */
typedef struct tinker_capabilities_s {
  const tinker_supported_model_t *models;
  size_t model_count;
} tinker_capabilities_t;

/* One sampled sequence. */
typedef struct tinker_sequence_s {
  const char *sequence_id; /* "" when the server gave none */
  const int32_t *tokens;   /* count ids, stop token included */
  const float *logprobs;   /* count values, or NULL; of the raw logits */
  size_t count;
  int32_t stopped; /* 1 = stop condition, 0 = max_tokens reached */
  int32_t reserved0;
} tinker_sequence_t;

/* Number of examples in the result, that of the request.
 * result: not NULL. Returns the number. Any thread. */
TINKER_API size_t
tinker_forward_result_count(const tinker_forward_result_t *result);

/* A tensor of one example.
 * result: not NULL. index: below the count. name: for example "logprobs",
 * shape (N) or (N, K) as its "target_tokens". out: written; the values live
 * as long as the future. Returns 0, TINKER_ENOENT (no such tensor) or
 * TINKER_EINVAL (a NULL, index). Any thread. */
TINKER_API int
tinker_forward_result_tensor(const tinker_forward_result_t *result,
                             size_t index, const char *name,
                             tinker_tensor_view_t *out);

/* A metric by its full name, for example "loss:sum".
 * result: not NULL. name: NUL-terminated. out: written. Returns 0,
 * TINKER_ENOENT or TINKER_EINVAL (a NULL). Any thread. */
TINKER_API int
tinker_forward_result_metric(const tinker_forward_result_t *result,
                             const char *name, double *out);

/* All metrics.
 * result: not NULL. count: receives their number. Returns an array owned by
 * the future, NULL if there are none. Any thread. */
TINKER_API const tinker_metric_t *
tinker_forward_result_metrics(const tinker_forward_result_t *result,
                              size_t *count);

/* Metrics of an optimizer step, as the server names them; often none.
 * result: not NULL. count: receives their number. Returns an array owned by
 * the future, NULL if there are none. Any thread. */
TINKER_API const tinker_metric_t *
tinker_optim_result_metrics(const tinker_optim_result_t *result, size_t *count);

/* Sampled sequences, in the order of their sequence ids.
 * result: not NULL. count: receives their number. Returns an array owned by
 * the future. Any thread. */
TINKER_API const tinker_sequence_t *
tinker_sample_result_sequences(const tinker_sample_result_t *result,
                               size_t *count);

/* Log-probabilities of the prompt's tokens, if they were asked for.
 * result: not NULL. count: receives their number: the prompt's length. Returns
 * an array owned by the future, NaN where not computed (always the first), or
 * NULL. Any thread. */
TINKER_API const float *
tinker_sample_result_prompt_logprobs(const tinker_sample_result_t *result,
                                     size_t *count);

/* Most probable tokens at a prompt position, if they were asked for.
 * result: not NULL. position: below the prompt's length. tokens: receives ids.
 * logprobs: receives their log-probabilities, falling. Both are owned by the
 * future. Returns how many there are, 0 for the first position. Any thread. */
TINKER_API size_t tinker_sample_result_prompt_topk(
    const tinker_sample_result_t *result, size_t position,
    const int32_t **tokens, const float **logprobs);

#ifdef __cplusplus
}
#endif

#endif
