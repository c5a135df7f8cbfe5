/* Options of clients and calls.
 *
 * Every struct starts with its size, which its init function sets; zero is
 * the default of every field; fields are only ever appended. An option struct
 * whose tail this library does not know and that is not zero there is refused
 * with TINKER_ENOTSUP. Strings are copied by the call that takes the struct. */
#ifndef TINKER_OPTIONS_H
#define TINKER_OPTIONS_H

#include "types.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Who runs a client, see loop.h. */
typedef enum {
  TINKER_RUN_BACKGROUND = 0, /* two threads of its own */
  TINKER_RUN_STEP = 1        /* the program, by tinker_client_step() */
} tinker_run_t;

typedef struct tinker_client_options_s {
  size_t size;
  /* Where the service is: "https://host/base", "http://127.0.0.1:8080" or
   * "unix:/path/to/socket" (path at most 107 bytes). NULL or "": the
   * environment variable TINKER_BASE_URL, else the public service. */
  const char *base_url;
  /* Credential, "tml-..." or a JWT. NULL or "": the environment variable
   * TINKER_API_KEY. Not needed for a Unix socket. Never logged. */
  const char *api_key;
  /* Where the client's memory comes from; NULL = the C library. Copied. */
  const tinker_allocator_t *allocator;
  /* Ceiling in bytes for what the client allocates itself; 0 = none. */
  uint64_t memory_limit_bytes;
  /* Deadline of a call that brings none, in milliseconds; 0 = 3,600,000, -1 =
   * none. */
  int64_t default_timeout_ms;
  /* Log lines, on the delivery thread; NULL = none. */
  tinker_log_cb log_cb;
  void *log_user;
  /* Least level that is logged; 0 = TINKER_LOG_INFO. TINKER_LOG_DEBUG shows
   * each step of an operation, of the session's start and of its heartbeats;
   * docs/internals/client-flow.md explains the lines. */
  int32_t log_level;
  /* Who runs the client, a tinker_run_t; default TINKER_RUN_BACKGROUND. */
  int32_t mode;
  /* Attached to the session for people, in UTF-8: tags (tag_count strings, at
   * most 64; NULL = the environment variable TINKER_TAGS, split at commas), a
   * project id (NULL = TINKER_PROJECT_ID), a display name (NULL = none). */
  const char *const *tags;
  size_t tag_count;
  const char *project_id;
  const char *display_name;
} tinker_client_options_t;

typedef struct tinker_call_options_s {
  size_t size;
  /* Milliseconds from now until the call ends with TINKER_ETIMEDOUT; 0 = the
   * client's default, -1 = never. */
  int64_t timeout_ms;
} tinker_call_options_t;

typedef struct tinker_trainer_options_s {
  size_t size;
  /* Name of the base model, for example "Qwen/Qwen3-8B". Required. */
  const char *base_model;
  /* LoRA rank, a power of two; 0 = 32. */
  uint32_t rank;
  /* Parts left without adapter: bits of TINKER_FREEZE_*, not all three; 0 =
   * train all. */
  uint32_t freeze;
  /* Seed of the adapter's initial weights, used if has_seed is not 0; else
   * the server draws one. */
  int64_t seed;
  int32_t has_seed;
  int32_t reserved0;
} tinker_trainer_options_t;

#define TINKER_FREEZE_ATTENTION 1u
#define TINKER_FREEZE_MLP 2u
#define TINKER_FREEZE_UNEMBED 4u

typedef struct tinker_save_options_s {
  size_t size;
  /* Seconds until the checkpoint expires, 3,600 to ten years; 0 = never. */
  int64_t ttl_seconds;
  /* Not 0: a checkpoint of the same name is replaced (save_state only). */
  int32_t overwrite;
  int32_t reserved0;
} tinker_save_options_t;

typedef struct tinker_sampling_params_s {
  size_t size;
  /* New tokens per sequence at most; 0 = up to the context's end. */
  uint32_t max_tokens;
  /* Sequences to draw; 0 = 1. */
  uint32_t num_samples;
  /* Softmax temperature, 0 or more, used if has_temperature is not 0, else 1.
   * Temperature 0 takes the most probable token. */
  double temperature;
  int32_t has_temperature;
  /* The k most probable tokens only; 0 or -1 = all. */
  int32_t top_k;
  /* The least set of tokens whose probability reaches top_p, at most 1; 0 = 1 =
   * all. */
  double top_p;
  /* Seed of the draws, used if has_seed is not 0; else the server draws. */
  uint64_t seed;
  int32_t has_seed;
  /* Not 0: no stop at all, not even the model's end-of-sequence token. Else
   * stop_strings (at most 1,024) or stop_tokens (at most 1,048,576, and the
   * service takes no more than its vocabulary has), not both; neither = end of
   * sequence. A text is not empty. The token that stopped a sequence is part of
   * it: the stop token, or the token that completed the text. */
  int32_t no_stop;
  const char *const *stop_strings;
  size_t stop_string_count;
  const int32_t *stop_tokens;
  size_t stop_token_count;
  /* Not 0: also the log-probability of every prompt token. */
  int32_t prompt_logprobs;
  /* The k most probable tokens at every prompt position; 0 = none. */
  int32_t topk_prompt_logprobs;
} tinker_sampling_params_t;

/* AdamW with decoupled weight decay and PyTorch's bias correction. Defaults
 * (of zero fields where zero makes no sense): learning_rate 1e-4, beta1 0.9,
 * beta2 0.95, eps 1e-12; source: the official SDK's AdamParams. Each is finite
 * and not negative. */
typedef struct tinker_adam_params_s {
  size_t size;
  double learning_rate;      /* 0 = 1e-4 unless has_learning_rate */
  double beta1;              /* below 1; 0 = 0.9 */
  double beta2;              /* below 1; 0 = 0.95 */
  double eps;                /* 0 = 1e-12 */
  double weight_decay;       /* 0 = none */
  double grad_clip_norm;     /* L2 norm over all gradients; 0 = no clipping */
  int32_t has_learning_rate; /* not 0: learning_rate is meant even if 0 */
  int32_t reserved0;
} tinker_adam_params_t;

/* Loss functions: sums over tokens and examples, as the service defines them.
 * Every example needs the input "target_tokens", for cross-entropy "weights",
 * for the others "logprobs" and "advantages", for GSPO "sequence_ratio_mask"
 * too; each as long as the model input.
 * lp = log p(target), q = input "logprobs", A = input "advantages",
 * r = exp(lp - q), c(r) = r clamped to the two thresholds. */
typedef enum {
  TINKER_LOSS_CROSS_ENTROPY = 0,       /* sum of -lp * weights */
  TINKER_LOSS_IMPORTANCE_SAMPLING = 1, /* sum of -r * A */
  TINKER_LOSS_PPO = 2,                 /* sum of -min(r * A, c(r) * A) */
  TINKER_LOSS_CISPO = 3, /* sum of -c(r) * lp * A, c(r) held constant */
  TINKER_LOSS_DRO = 4,   /* sum of -(lp * A - beta / 2 * (lp - q)^2) */
  /* PPO with one ratio for all tokens of an example: exp of the mean of
   * lp - q over the tokens whose input "sequence_ratio_mask" is not 0. */
  TINKER_LOSS_GSPO = 5
} tinker_loss_kind_t;

typedef struct tinker_loss_s {
  size_t size;
  int32_t kind; /* tinker_loss_kind_t */
  int32_t reserved0;
  /* Bounds of the ratio itself for PPO, CISPO and GSPO; 0 = not sent: the
   * server's own (PPO 0.8 and 1.2, CISPO 0 and 4). */
  double clip_low_threshold;
  double clip_high_threshold;
  double beta; /* DRO: above 0; its default is not documented, so required */
} tinker_loss_t;

/* Fills an options struct with the defaults: zero it, set its size. Use the
 * tinker_*_init functions below, which pass the size that the caller was
 * compiled with.
 * options: written, not NULL. size: sizeof of the struct. Any thread. */
TINKER_API void tinker_options_init_sized(void *options, size_t size);

static inline void tinker_client_options_init(tinker_client_options_t *o) {
  tinker_options_init_sized(o, sizeof *o);
}
static inline void tinker_call_options_init(tinker_call_options_t *o) {
  tinker_options_init_sized(o, sizeof *o);
}
static inline void tinker_trainer_options_init(tinker_trainer_options_t *o) {
  tinker_options_init_sized(o, sizeof *o);
}
static inline void tinker_save_options_init(tinker_save_options_t *o) {
  tinker_options_init_sized(o, sizeof *o);
}
static inline void tinker_sampling_params_init(tinker_sampling_params_t *o) {
  tinker_options_init_sized(o, sizeof *o);
}
static inline void tinker_adam_params_init(tinker_adam_params_t *o) {
  tinker_options_init_sized(o, sizeof *o);
}
static inline void tinker_loss_init(tinker_loss_t *o) {
  tinker_options_init_sized(o, sizeof *o);
}

#ifdef __cplusplus
}
#endif

#endif
