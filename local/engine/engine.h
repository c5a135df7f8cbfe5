/* engine: the interface between the local service and an engine that computes.
 *
 * An engine is a table of functions over opaque handles. Types of an engine
 * don't cross the interface, and nothing here knows HTTP or the store. One
 * thread, the engine thread, makes every call except those that say "any
 * thread"; an engine may run workers of its own below that. Several engines may
 * be open at once; the same thread drives them all.
 *
 * A loadable engine is a library with the one function of
 * tinker_engine_entry_fn (see plugin.h). It includes this header, base/ and
 * model/, and links them hidden.
 *
 * Results do not depend on batch size, padding, neighbours or the number of
 * workers. Sums over tokens into a gradient are one chain in the order of the
 * calls, the datums and the tokens, starting from the accumulator's present
 * value: splitting a batch over several calls changes no bit.
 *
 * Functions that return int give 0 or a negative tinker_code_t; `why` then
 * holds a sentence (it may be NULL with why_len 0). Outputs are untouched on
 * failure. */
#ifndef TINKER_ENGINE_H
#define TINKER_ENGINE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <tinker/alloc.h>

/* Raised by a change that breaks engines which were built before it. Functions
 * that are appended to the table change only its size. */
#define TINKER_ENGINE_ABI 2

/* Bits of `caps`. */
#define TINKER_ENGINE_TRAINS                                                   \
  ((uint64_t)1) /* the engine has the functions of training */

typedef struct tinker__engine_s tinker__engine_t;     /* one running engine */
typedef struct tinker__eng_load_s tinker__eng_load_t; /* a load under way */
typedef struct tinker__eng_base_s tinker__eng_base_t; /* a loaded base model */
typedef struct tinker__eng_adapter_s
    tinker__eng_adapter_t; /* immutable LoRA version */
typedef struct tinker__eng_train_s
    tinker__eng_train_t; /* adapter being trained */
typedef struct tinker__eng_slot_s
    tinker__eng_slot_t; /* KV cache of a sequence */
typedef struct tinker__eng_pass_s
    tinker__eng_pass_t; /* a forward_backward under way */

typedef struct tinker__engine_options_s {
  tinker_allocator_t mem; /* all memory of the engine; outlives it */
  unsigned threads;       /* workers incl. the caller; 0 = one per core */
  const char *kernels;    /* NULL = best; else a kernel set by name */
} tinker__engine_options_t;

typedef struct tinker__eng_base_info_s {
  const char *arch; /* "llama", "qwen2", "qwen3" */
  size_t vocab_size;
  size_t context_length; /* tokens */
  size_t num_layers;
  const int32_t *eos; /* end-of-sequence ids, num_eos of them */
  size_t num_eos;
  const char *digest; /* hex SHA-256 of configuration and weights */
  uint64_t bytes;     /* memory held */
} tinker__eng_base_info_t;

/* LoRA scale is 32 / rank. A starts uniform in +-1/sqrt(inputs) from
 * Philox(seed, tensor name, index), B starts at zero. */
typedef struct tinker__eng_lora_config_s {
  uint32_t rank; /* a power of two, 1 to 128 */
  uint64_t seed;
  bool train_attn, train_mlp, train_unembed; /* at least one */
} tinker__eng_lora_config_t;

typedef enum {
  TINKER__LOSS_CROSS_ENTROPY,
  TINKER__LOSS_IMPORTANCE_SAMPLING,
  TINKER__LOSS_PPO,
  TINKER__LOSS_CISPO,
  TINKER__LOSS_DRO,
  TINKER__LOSS_GSPO
} tinker__eng_loss_kind_t;

typedef struct tinker__eng_loss_config_s {
  tinker__eng_loss_kind_t kind;
  double clip_low, clip_high; /* ppo, cispo, gspo: bounds of the ratio */
  double beta;                /* dro */
} tinker__eng_loss_config_t;

/* One sequence. Arrays are borrowed until the pass ends. n tokens; k target
 * candidates per position, 1 but for soft targets of cross_entropy. */
typedef struct tinker__eng_train_datum_s {
  const int32_t *tokens; /* [n], each in [0, vocab_size) */
  size_t n;
  const int64_t *targets; /* [n * k], each in [0, vocab_size) */
  size_t k;
  bool soft;               /* targets have the shape (n, k), even for k = 1, and
                              so have results. Engines ignore it */
  const float *weights;    /* [n * k]; cross_entropy, else NULL */
  const float *logprobs;   /* [n]; every other loss, else NULL */
  const float *advantages; /* [n]; the same */
  const float *ratio_mask; /* [n]; gspo, else NULL. A token counts in the
                              sequence's ratio if its entry is not zero */
  float *out_logprobs;     /* [n * k], written: log p(target) */
  float *out_loss;         /* [n * k] ([n] for k = 1), written: the loss of
                              each element, weight or advantage included */
} tinker__eng_train_datum_t;

typedef struct tinker__eng_optim_params_s {
  double learning_rate, beta1, beta2, eps, weight_decay;
  double grad_clip_norm; /* <= 0 = off */
  bool keep_grad;        /* fault plans: gradients stay for the next step */
} tinker__eng_optim_params_t;

typedef struct tinker__eng_optim_metrics_s {
  double grad_norm; /* L2 over all adapter gradients, before clipping */
  uint64_t step;    /* t after this step */
} tinker__eng_optim_metrics_t;

/* One row of logits: position counts from the start of the sequence. `row`
 * is valid during the call. */
typedef void (*tinker__eng_row_cb)(void *user, size_t position,
                                   const float *row, size_t vocab_size);

/* One sequence of a decode round: its slot gets n more tokens; rows of the
 * tokens from index first_row on are handed to `on_row` in order (the row of
 * token i predicts token i + 1; first_row = n wants none). */
typedef struct tinker__eng_decode_item_s {
  tinker__eng_slot_t *slot;
  const int32_t *tokens;
  size_t n;
  size_t first_row;
  tinker__eng_row_cb on_row;
  void *user;
} tinker__eng_decode_item_t;

/* A token that the engine is to draw from a row. */
typedef struct tinker__eng_pick_s {
  size_t item;       /* index in the round; drawn from its last token's row */
  float temperature; /* >= 0; 0 = arg max, the lowest id wins a tie */
  int64_t top_k;     /* <= 0 = unlimited */
  double top_p;      /* in (0, 1]; applied after top_k */
  uint64_t seed, sample, position; /* the key of the noise */
  int32_t token;                   /* written */
  float logprob; /* written: log-softmax of the raw logits at the token */
} tinker__eng_pick_t;

typedef struct tinker__engine_api_s {
  uint32_t abi;  /* TINKER_ENGINE_ABI */
  uint32_t size; /* of this table as the engine knows it; the functions after
                    it are absent */
  uint64_t caps; /* TINKER_ENGINE_ bits */
  const char *name;

  int (*open)(tinker__engine_t **out, const tinker__engine_options_t *options,
              char *why, size_t why_len);
  /* The caller has released all handles of the engine. */
  void (*close)(tinker__engine_t *e);

  /* Bytes that loading the folder takes, without loading it. Any thread. */
  int (*estimate)(const char *model_dir, uint64_t *bytes, char *why,
                  size_t why_len);

  /* A base model is a Hugging Face folder. A load is a cursor. begin reads the
   * configuration. Each step loads a small piece; it returns 1 while there is
   * more, and 0 when all is loaded. end frees the cursor and sets *out to the
   * model, or to NULL if it is not complete; out NULL = it is not wanted. */
  int (*load_begin)(tinker__engine_t *e, const char *model_dir,
                    tinker__eng_load_t **out, char *why, size_t why_len);
  int (*load_step)(tinker__eng_load_t *l, const atomic_bool *cancel, char *why,
                   size_t why_len);
  void (*load_end)(tinker__eng_load_t *l, tinker__eng_base_t **out);
  /* A base model lives until it is released and everything made from it has
   * been freed. */
  void (*base_release)(tinker__eng_base_t *b);
  void (*base_info)(const tinker__eng_base_t *b, tinker__eng_base_info_t *out);

  /* Training. The functions from here to train_peek, and adapter_current and
   * adapter_save, are there with TINKER_ENGINE_TRAINS. */
  int (*train_new)(tinker__eng_base_t *b,
                   const tinker__eng_lora_config_t *config,
                   tinker__eng_train_t **out, char *why, size_t why_len);
  void (*train_free)(tinker__eng_train_t *t);
  void (*train_config)(const tinker__eng_train_t *t,
                       tinker__eng_lora_config_t *out);
  /* True while gradients wait for an optimizer step. */
  bool (*train_has_grad)(const tinker__eng_train_t *t);

  /* A pass is a cursor over the work on its datums. begin checks everything; a
   * pass that it refuses has changed nothing. Each step does at most about 2^28
   * multiply-adds, or as many as 256 tokens by the weights of one layer if that
   * is more, however long a datum is. A step returns 1 while there is more, and
   * 0 when the pass is done. Between two steps the engine may do anything
   * except train the same state. A cancelled step fails the pass. forward_only
   * leaves gradients alone. A pass that failed, or is ended before it is done,
   * leaves the gradients as they were before it. */
  int (*pass_begin)(tinker__eng_train_t *t,
                    const tinker__eng_train_datum_t *data, size_t n,
                    const tinker__eng_loss_config_t *loss, bool forward_only,
                    tinker__eng_pass_t **out, char *why, size_t why_len);
  int (*pass_step)(tinker__eng_pass_t *p, const atomic_bool *cancel, char *why,
                   size_t why_len);
  /* Sum of the loss over all elements so far, one chain in double. */
  double (*pass_loss)(const tinker__eng_pass_t *p);
  void (*pass_end)(tinker__eng_pass_t *p);

  /* AdamW like PyTorch's, with decoupled decay and bias correction; the clip
   * factor is min(1, clip / (norm + 1e-6)). Without gradients it is a step with
   * zero gradients. A gradient that is not finite gives TINKER_EINVAL, leaves
   * weights and moments untouched and clears the gradients. A step publishes a
   * new adapter version. A call does a small piece of the step and returns 1
   * while there is more; it is then called again with the same params. Until
   * the step is done the state can't be saved and takes no pass that collects
   * gradients (TINKER_ESTATE). */
  int (*optim_step)(tinker__eng_train_t *t,
                    const tinker__eng_optim_params_t *params,
                    tinker__eng_optim_metrics_t *out, char *why,
                    size_t why_len);

  /* Training state {A, B, m, v, step, configuration, base digest} into files
   * in an existing empty folder, each file fsynced; pending gradients are not
   * saved. Load makes a new train state without gradients; without the
   * optimizer m = v = step = 0. Another base or a broken file is an error. */
  int (*train_save)(tinker__eng_train_t *t, const char *dir, char *why,
                    size_t why_len);
  int (*train_load)(tinker__eng_base_t *b, const char *dir, bool optimizer,
                    tinker__eng_train_t **out, char *why, size_t why_len);
  /* Reads the configuration stored in such a folder without loading it. */
  int (*train_peek)(const char *dir, tinker__eng_lora_config_t *out, char *why,
                    size_t why_len);

  /* Adapter versions. `current` pins the present weights of t. Files are in
   * PEFT form (adapter_config.json, adapter_model.safetensors), fsynced. */
  int (*adapter_current)(tinker__eng_train_t *t, tinker__eng_adapter_t **out,
                         char *why, size_t why_len);
  int (*adapter_save)(tinker__eng_adapter_t *a, const char *dir, char *why,
                      size_t why_len);
  int (*adapter_load)(tinker__eng_base_t *b, const char *dir,
                      tinker__eng_adapter_t **out, char *why, size_t why_len);
  tinker__eng_adapter_t *(*adapter_retain)(
      tinker__eng_adapter_t *a); /* returns a */
  void (*adapter_release)(tinker__eng_adapter_t *a);

  /* Sampling. A slot holds a reference to its base and adapter (NULL = the
   * base alone) and room for max_tokens. */
  int (*slot_new)(tinker__eng_base_t *b, tinker__eng_adapter_t *a,
                  size_t max_tokens, tinker__eng_slot_t **out, char *why,
                  size_t why_len);
  /* Bytes that a slot takes; bytes that the engine has for all slots together
   * (UINT64_MAX = as many as the caller may use). */
  uint64_t (*slot_bytes)(const tinker__eng_base_t *b, size_t max_tokens);
  uint64_t (*slot_limit)(const tinker__engine_t *e);
  void (*slot_free)(tinker__eng_slot_t *s);
  size_t (*slot_len)(const tinker__eng_slot_t *s);
  /* A slot that starts as a copy of another's first n tokens: several samples
   * of one prompt share its prefill. */
  int (*slot_fork)(const tinker__eng_slot_t *s, size_t n, size_t max_tokens,
                   tinker__eng_slot_t **out, char *why, size_t why_len);
  /* Gives a slot room for at least max_tokens; the tokens in it stay. While it
   * grows it may hold more memory than slot_bytes says, a layer's worth at
   * most. */
  int (*slot_grow)(tinker__eng_slot_t *s, size_t max_tokens, char *why,
                   size_t why_len);
  /* One batched round over slots of one base model, whose adapters may differ.
   * On failure no slot has grown. */
  int (*decode)(tinker__engine_t *e, const tinker__eng_decode_item_t *items,
                size_t n, const atomic_bool *cancel, char *why, size_t why_len);
  /* log(sum(exp(row))) with the same bits that the losses use, so that a
   * sample's log-probs equal forward's. */
  float (*log_sum_exp)(const tinker__engine_t *e, const float *row, size_t n);
  /* For an engine on a device, which keeps rows of logits there, and for an
   * engine whose workers draw. Does a `decode`, and then draws each pick from
   * the row of its item's last token, whether or not that row was also handed
   * over. The draw depends on the row, the parameters and (seed, sample,
   * position) alone; a row whose logits are not finite gives the token -1. NULL
   * = the caller draws from rows. */
  int (*pick)(tinker__engine_t *e, const tinker__eng_decode_item_t *items,
              size_t n, tinker__eng_pick_t *picks, size_t n_picks,
              const atomic_bool *cancel, char *why, size_t why_len);

  /* Bytes that a train state takes; bytes that a pass over these datums takes
   * besides. With them a call that can't fit is refused before it is begun. Any
   * thread, while the base model is held. Only the lengths of a datum's arrays
   * are looked at. UINT64_MAX = more than can be counted. A function that is
   * NULL = unknown. */
  uint64_t (*train_bytes)(const tinker__eng_base_t *b,
                          const tinker__eng_lora_config_t *config);
  uint64_t (*pass_bytes)(const tinker__eng_base_t *b,
                         const tinker__eng_lora_config_t *config,
                         const tinker__eng_train_datum_t *data, size_t n,
                         bool forward_only);

  /* Save and load a training state with its optimizer and the gradients that
   * wait, so that it computes the same bits as a state that was never stored.
   * train_keep fails with TINKER_ESTATE while a pass collects gradients.
   * train_resume also takes a folder of train_save; train_load refuses a folder
   * with gradients (TINKER_EFORMAT). Both NULL = gradients can't be stored. A
   * state with gradients then stays in memory, and its calls in the log. */
  int (*train_keep)(tinker__eng_train_t *t, const char *dir, char *why,
                    size_t why_len);
  int (*train_resume)(tinker__eng_base_t *b, const char *dir,
                      tinker__eng_train_t **out, char *why, size_t why_len);

  void (*reserved[4])(void); /* NULL: places of functions to come */
} tinker__engine_api_t;

/* A loadable engine exports this function under the name TINKER_ENGINE_ENTRY.
 * It returns the engine's table, valid until the library is closed, or NULL
 * when the engine can't serve that abi. */
typedef const tinker__engine_api_t *(*tinker_engine_entry_fn)(uint32_t abi);
#define TINKER_ENGINE_ENTRY "tinker_engine_entry"

#endif
