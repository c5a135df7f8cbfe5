/* config: config.json and generation_config.json of a Hugging Face folder.
 *
 * Only what an engine needs is kept, and only that is checked. A file that
 * asks for something the engines don't do (another activation, a sliding
 * window, an unknown kind of RoPE scaling, quantised weights) is refused with
 * its key and value, never approximated. Pure functions; outputs are untouched
 * on failure. */
#ifndef TINKER_MODEL_CONFIG_H
#define TINKER_MODEL_CONFIG_H

#include "base/mem.h"
#include "base/str.h"

#define TINKER__CONFIG_MAX_BYTES (4u << 20)
#define TINKER__CONFIG_MAX_EOS 16

typedef enum {
  TINKER__ARCH_LLAMA,
  TINKER__ARCH_QWEN2,
  TINKER__ARCH_QWEN3
} tinker__arch_t;

typedef enum {
  TINKER__ROPE_PLAIN,
  TINKER__ROPE_LLAMA3 /* wavelengths stretched as Llama 3.1 does */
} tinker__rope_kind_t;

typedef struct tinker__rope_s {
  tinker__rope_kind_t kind;
  double theta;
  /* LLAMA3 only: */
  double factor;
  double low_freq_factor;
  double high_freq_factor;
  uint32_t original_max_positions;
} tinker__rope_t;

/* Every size is in 1 .. 2^24, num_heads is a multiple of num_kv_heads and
 * head_dim is even: the parser has checked it. Weights are stored as
 * [outputs][inputs]. */
typedef struct tinker__model_config_s {
  tinker__arch_t arch;
  uint32_t vocab_size;
  uint32_t hidden_size;
  uint32_t num_layers;
  uint32_t num_heads;
  uint32_t num_kv_heads;
  uint32_t head_dim; /* num_heads * head_dim may differ from hidden_size */
  uint32_t intermediate_size;
  uint32_t max_positions; /* context length in tokens */
  double rms_norm_eps;
  tinker__rope_t rope;
  bool tied;     /* the output head is the embedding */
  bool qkv_bias; /* q_proj, k_proj, v_proj have a bias */
  bool o_bias;   /* o_proj has one */
  bool qk_norm;  /* RMS norm over each head of q and k before RoPE */
  int32_t eos[TINKER__CONFIG_MAX_EOS]; /* each in [0, vocab_size) */
  size_t num_eos;                      /* 0 = the files name none */
} tinker__model_config_t;

/* "llama", "qwen2" or "qwen3". */
const char *tinker__arch_name(tinker__arch_t arch);

/* config.json. 0, TINKER_EFORMAT (malformed, or a value out of range),
 * TINKER_ENOTSUP (asks for what we lack), TINKER_EOVERFLOW (over the cap) or
 * TINKER_ENOMEM; `why` names key and value. */
int tinker__config_parse(tinker__model_config_t *out, tinker__mem_t *mem,
                         tinker__str_t text, char *why, size_t why_len);

/* generation_config.json: its eos ids replace those of config.json,
 * as Hugging Face's generate does. The same codes. */
int tinker__config_parse_generation(tinker__model_config_t *config,
                                    tinker__mem_t *mem, tinker__str_t text,
                                    char *why, size_t why_len);

#endif
