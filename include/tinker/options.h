/* Options of clients and calls.
 *
 * Every struct starts with its size. Its initializer (TINKER_X_INIT) and its
 * init function fill in the size and the real defaults; what is set afterwards
 * counts, also if it is zero, and what is impossible is refused by name. Fields
 * are only ever appended: a struct of an older, shorter size is taken with the
 * defaults of the fields that it lacks. One with a field set that this library
 * does not know is refused with TINKER_ENOTSUP. Strings are copied by the call
 * that takes the struct; NULL stands for all defaults. */
#ifndef TINKER_OPTIONS_H
#define TINKER_OPTIONS_H

#include "progress.h"
#include "seams.h"
#include "types.h"

#ifdef __cplusplus
extern "C" {
#endif

#define TINKER_NO_TIMEOUT (-1)      /* a time without limit */
#define TINKER_TIMEOUT_DEFAULT (-2) /* what the client's options say */
#define TINKER_NO_SEED (-1)         /* the service draws a seed */
#define TINKER_NO_TTL (-1)          /* a checkpoint does not expire */

/* Who runs a client, see loop.h. */
typedef enum {
  TINKER_RUN_BACKGROUND = 0, /* two threads of its own */
  TINKER_RUN_STEP = 1        /* the program, by tinker_client_step() */
} tinker_run_mode_t;

typedef struct tinker_client_options_s {
  size_t size;
  /* Where the service is: "https://host/base", "http://127.0.0.1:8080" or
   * "unix:/path/to/socket" (path at most 107 bytes). NULL (default) or "": the
   * environment variable TINKER_BASE_URL, else the public service. */
  const char *base_url;
  /* Credential, "tml-..." or a JWT. NULL (default) or "": the environment
   * variable TINKER_API_KEY. Not needed for a Unix socket. Never logged. */
  const char *api_key;
  /* Where the client's memory comes from; NULL (default) = the C library.
   * Copied. */
  const tinker_allocator_t *allocator;
  /* Ceiling in bytes for what the client allocates itself, 1 or more; -1
   * (default) = none. Up to 32 MiB that were freed are kept for further calls;
   * they are part of it and go first. Inputs and examples are no part of it. */
  int64_t memory_limit_bytes;
  /* Deadline of a call that brings none, in milliseconds, 1 or more; default
   * 3,600,000; TINKER_NO_TIMEOUT = none. */
  int64_t default_timeout_ms;
  /* Log lines, on the delivery thread. NULL (default) = none, unless the
   * environment variable TINKER_LOG is "debug", "info", "warning" or "error":
   * then lines of at least this level, whatever log_level says, are written to
   * the standard error stream, on the same thread. "off" and "" do nothing, any
   * other value is refused (TINKER_EINVAL). Without the variable the library
   * writes to no stream. */
  tinker_log_cb log_cb;
  void *log_user;
  /* Least level that is logged, a tinker_log_level_t; default TINKER_LOG_INFO.
   * TINKER_LOG_DEBUG shows each step of an operation, of the session's start
   * and of its heartbeats; docs/internals/client-flow.md explains the lines. */
  int32_t log_level;
  /* 1: the credential is also sent to another machine over http://, where
   * everybody on the way can read it. 0 (default): the client is refused
   * (TINKER_EAUTH); loopback, Unix sockets and https:// need no permission. For
   * a private network whose service takes any key. */
  int32_t key_over_http;
  /* Who runs the client, a tinker_run_mode_t; default TINKER_RUN_BACKGROUND. */
  int32_t mode;
  int32_t reserved0; /* 0 */
  /* Attached to the session for people, in UTF-8: tags (tag_count strings, at
   * most 64; NULL (default) = the environment variable TINKER_TAGS, split at
   * commas), a project id (NULL (default) = TINKER_PROJECT_ID), a display name
   * (NULL (default) = none). */
  const char *const *tags;
  size_t tag_count;
  const char *project_id;
  const char *display_name;
  /* Events, on the delivery thread: what holds operations up, retries, progress
   * of calls of several requests, the session (progress.h); NULL (default) =
   * none. */
  tinker_event_cb event_cb;
  void *event_user;
  /* Journal, fence and gate of the program; NULL (default) = none. Copied. */
  const tinker_seams_t *seams;
  /* A session of another process that this client goes on with, see seams.h;
   * NULL (default) = it makes its own. Copied. */
  const tinker_adoption_t *adopt;
  /* Attached to the session that the client makes, for programs and people that
   * list sessions: metadata_count entries, see types.h; default none. */
  const tinker_metadata_t *metadata;
  size_t metadata_count;
} tinker_client_options_t;

#define TINKER_CLIENT_OPTIONS_INIT                                             \
  {                                                                            \
    sizeof(tinker_client_options_t), NULL, NULL, NULL, -1, 3600000, NULL,      \
        NULL, TINKER_LOG_INFO, 0, TINKER_RUN_BACKGROUND, 0, NULL, 0, NULL,     \
        NULL, NULL, NULL, NULL, NULL, NULL, 0                                  \
  }

/* How one operation is carried out and how its end is reported: the last
 * argument of each, NULL = all defaults. */
typedef struct tinker_call_options_s {
  size_t size;
  /* Milliseconds from now until the operation ends with TINKER_ETIMEDOUT.
   * TINKER_TIMEOUT_DEFAULT (default) = the client's default,
   * TINKER_NO_TIMEOUT = never; 0 ends it before anything is sent. */
  int64_t timeout_ms;
  /* Called once when the operation has ended (see tinker_done_cb); NULL
   * (default) = nothing is called: the future is waited for, or taken by
   * tinker_client_next(). */
  tinker_done_cb cb;
  void *user; /* passed to cb; tinker_future_user() returns it */
  /* 1: the caller gets no reference. What the call returns then is a constant
   * future that never ends and need not be released. The operation's own future
   * is passed to cb; without cb the client keeps it until tinker_client_next()
   * hands it out. Default 0. */
  int32_t detached;
  int32_t reserved0; /* 0 */
  /* 1: of a trainer's numbered operation: it goes before all that its trainer
   * has queued and that is not itself ahead, an optim_step that the gate holds
   * (seams.h) included. Default 0. */
  int32_t ahead;
  int32_t reserved1; /* 0 */
  /* A number of the program's own, which its journal and its gate see with all
   * that the call changes (tinker_intent_t, tinker_gate_question_t in seams.h);
   * any. The service does not get it. Default 0. */
  uint64_t tag;
} tinker_call_options_t;

#define TINKER_CALL_OPTIONS_INIT                                               \
  {                                                                            \
    sizeof(tinker_call_options_t), TINKER_TIMEOUT_DEFAULT, NULL, NULL, 0, 0,   \
        0, 0, 0                                                                \
  }

#define TINKER_FREEZE_ATTENTION 1u
#define TINKER_FREEZE_MLP 2u
#define TINKER_FREEZE_UNEMBED 4u

typedef struct tinker_trainer_options_s {
  size_t size;
  /* Name of the base model, for example "Qwen/Qwen3-8B". Required. */
  const char *base_model;
  /* LoRA rank, a power of two; default 32. */
  uint32_t rank;
  /* Parts left without adapter: bits of TINKER_FREEZE_*, not all three;
   * default 0 = train all. */
  uint32_t freeze;
  /* Seed of the adapter's initial weights, 0 or more; default
   * TINKER_NO_SEED. */
  int64_t seed;
  /* Attached to the model, which is its training run: metadata_count entries,
   * see types.h; default none. */
  const tinker_metadata_t *metadata;
  size_t metadata_count;
} tinker_trainer_options_t;

#define TINKER_TRAINER_OPTIONS_INIT                                            \
  { sizeof(tinker_trainer_options_t), NULL, 32, 0, TINKER_NO_SEED, NULL, 0 }

/* How a model is made of a saved training state. */
typedef struct tinker_state_options_s {
  size_t size;
  /* 1 (default): the optimizer is restored too, so that training goes on as if
   * it had never stopped. 0: a fresh one. */
  int32_t with_optimizer;
  int32_t reserved0; /* 0 */
  /* Attached to the new model: metadata_count entries, see types.h; default
   * none. What its state has is no part of it. */
  const tinker_metadata_t *metadata;
  size_t metadata_count;
} tinker_state_options_t;

#define TINKER_STATE_OPTIONS_INIT                                              \
  { sizeof(tinker_state_options_t), 1, 0, NULL, 0 }

typedef struct tinker_save_options_s {
  size_t size;
  /* Seconds until the checkpoint expires, 3,600 to 315,360,000 (ten years);
   * default TINKER_NO_TTL. */
  int64_t ttl_seconds;
  /* 1: a checkpoint of the same name is replaced (save_state only). Default
   * 0. */
  int32_t overwrite;
  int32_t reserved0; /* 0 */
  /* Attached to the checkpoint: metadata_count entries, see types.h; default
   * none. One that replaces another has its own alone. */
  const tinker_metadata_t *metadata;
  size_t metadata_count;
} tinker_save_options_t;

#define TINKER_SAVE_OPTIONS_INIT                                               \
  { sizeof(tinker_save_options_t), TINKER_NO_TTL, 0, 0, NULL, 0 }

typedef struct tinker_sampling_params_s {
  size_t size;
  /* New tokens per sequence at most, 1 or more; default -1 = up to the
   * context's end. */
  int64_t max_tokens;
  /* Sequences to draw, 1 or more; default 1. */
  int32_t num_samples;
  /* The k most probable tokens only, 1 or more; default -1 = all. */
  int32_t top_k;
  /* Softmax temperature, 0 or more; default 1. Temperature 0 takes the most
   * probable token. */
  double temperature;
  /* The least set of tokens whose probability reaches top_p, above 0, at most
   * 1; default 1 = all. */
  double top_p;
  /* Seed of the draws, 0 or more; default TINKER_NO_SEED. */
  int64_t seed;
  /* 1: no stop at all, not even the model's end-of-sequence token. Else
   * stop_strings (at most 1,024) or stop_tokens (at most 1,048,576, and the
   * service takes no more than its vocabulary has), not both; neither (default)
   * = end of sequence. A text is UTF-8 and not empty, a token 0 or more. The
   * token that stopped a sequence is part of it: the stop token, or the token
   * that completed the text. */
  int32_t no_stop;
  /* 1: also the log-probability of every prompt token. Default 0. */
  int32_t prompt_logprobs;
  const char *const *stop_strings;
  size_t stop_string_count;
  const int32_t *stop_tokens;
  size_t stop_token_count;
  /* The k most probable tokens at every prompt position; default 0 = none. */
  int32_t topk_prompt_logprobs;
  int32_t reserved0; /* 0 */
} tinker_sampling_params_t;

#define TINKER_SAMPLING_PARAMS_INIT                                            \
  {                                                                            \
    sizeof(tinker_sampling_params_t), -1, 1, -1, 1.0, 1.0, TINKER_NO_SEED, 0,  \
        0, NULL, 0, NULL, 0, 0, 0                                              \
  }

/* AdamW with decoupled weight decay and PyTorch's bias correction. Each value
 * is finite and not negative. Source of the defaults: the official SDK's
 * AdamParams. */
typedef struct tinker_adam_params_s {
  size_t size;
  double learning_rate;  /* default 1e-4 */
  double beta1;          /* below 1; default 0.9 */
  double beta2;          /* below 1; default 0.95 */
  double eps;            /* default 1e-12 */
  double weight_decay;   /* default 0 = none */
  double grad_clip_norm; /* L2 norm over all gradients; default 0 = no clipping
                          */
  /* 1: the step is taken with the gradients that are there, although a
   * forward_backward of it failed (tinker_trainer_optim_step()). Default 0. */
  int32_t allow_partial;
  int32_t reserved0; /* 0 */
} tinker_adam_params_t;

#define TINKER_ADAM_PARAMS_INIT                                                \
  { sizeof(tinker_adam_params_t), 1e-4, 0.9, 0.95, 1e-12, 0.0, 0.0, 0, 0 }

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

/* A number of a loss that is not sent: the service uses its own. */
#define TINKER_LOSS_UNSET (-1.0)

typedef struct tinker_loss_s {
  size_t size;
  int32_t kind;      /* tinker_loss_kind_t; default cross-entropy */
  int32_t reserved0; /* 0 */
  /* Bounds of the ratio itself for PPO, CISPO and GSPO, 0 or more; default
   * TINKER_LOSS_UNSET (the service's own are 0.8 and 1.2 for PPO, 0 and 4 for
   * CISPO). */
  double clip_low_threshold;
  double clip_high_threshold;
  /* DRO: above 0, required, since its default is not documented; default
   * TINKER_LOSS_UNSET. */
  double beta;
} tinker_loss_t;

#define TINKER_LOSS_INIT                                                       \
  {                                                                            \
    sizeof(tinker_loss_t), TINKER_LOSS_CROSS_ENTROPY, 0, TINKER_LOSS_UNSET,    \
        TINKER_LOSS_UNSET, TINKER_LOSS_UNSET                                   \
  }

/* The init functions write the same defaults.
 * o: written, not NULL. Returns nothing. Any thread. */
static inline void tinker_client_options_init(tinker_client_options_t *o) {
  const tinker_client_options_t init = TINKER_CLIENT_OPTIONS_INIT;
  *o = init;
}
static inline void tinker_call_options_init(tinker_call_options_t *o) {
  const tinker_call_options_t init = TINKER_CALL_OPTIONS_INIT;
  *o = init;
}
static inline void tinker_trainer_options_init(tinker_trainer_options_t *o) {
  const tinker_trainer_options_t init = TINKER_TRAINER_OPTIONS_INIT;
  *o = init;
}
static inline void tinker_state_options_init(tinker_state_options_t *o) {
  const tinker_state_options_t init = TINKER_STATE_OPTIONS_INIT;
  *o = init;
}
static inline void tinker_save_options_init(tinker_save_options_t *o) {
  const tinker_save_options_t init = TINKER_SAVE_OPTIONS_INIT;
  *o = init;
}
static inline void tinker_sampling_params_init(tinker_sampling_params_t *o) {
  const tinker_sampling_params_t init = TINKER_SAMPLING_PARAMS_INIT;
  *o = init;
}
static inline void tinker_adam_params_init(tinker_adam_params_t *o) {
  const tinker_adam_params_t init = TINKER_ADAM_PARAMS_INIT;
  *o = init;
}
static inline void tinker_loss_init(tinker_loss_t *o) {
  const tinker_loss_t init = TINKER_LOSS_INIT;
  *o = init;
}

#ifdef __cplusplus
}
#endif

#endif
