/* peft: LoRA adapters in the form of the PEFT library: adapter_config.json
 * and adapter_model.safetensors, names both ways.
 *
 * The only features read are those that the engines have: rank, alpha, a list
 * of target modules. Any other key must be absent, null, false or empty, or is
 * refused by name. Pure; an opened adapter is immutable. */
#ifndef TINKER_MODEL_PEFT_H
#define TINKER_MODEL_PEFT_H

#include "base/buf.h"
#include "model/config.h"
#include "model/safetensors.h"

#define TINKER__PEFT_MAX_RANK 1024
#define TINKER__PEFT_NAME_MAX 128 /* longest tensor name and its NUL */

/* Layers of the model that LoRA can change. */
typedef enum {
  TINKER__LORA_Q,
  TINKER__LORA_K,
  TINKER__LORA_V,
  TINKER__LORA_O,
  TINKER__LORA_GATE,
  TINKER__LORA_UP,
  TINKER__LORA_DOWN,
  TINKER__LORA_LM_HEAD, /* once per model: layer 0 */
  TINKER__LORA_COUNT
} tinker__lora_target_t;

#define TINKER__LORA_BIT(target) (1u << (target))
#define TINKER__LORA_ATTN 0x0fu /* q, k, v, o */
#define TINKER__LORA_MLP 0x70u  /* gate, up, down */

typedef enum { TINKER__LORA_A, TINKER__LORA_B } tinker__lora_side_t;

typedef struct tinker__peft_config_s {
  uint32_t rank;
  double alpha;     /* the scale is alpha / rank */
  unsigned targets; /* TINKER__LORA_BIT of each target module */
  char *base_model; /* base_model_name_or_path; NULL = null */
} tinker__peft_config_t;

/* "q_proj" ... "lm_head". */
const char *tinker__lora_name(tinker__lora_target_t target);
/* Inputs and outputs of the layer: A is [rank, in], B is [out, rank]. */
void tinker__lora_dims(const tinker__model_config_t *config,
                       tinker__lora_target_t target, uint64_t *in,
                       uint64_t *out);

/* adapter_config.json. On success base_model is the caller's, to be freed
 * with tinker__mem_free. 0, TINKER_EFORMAT, TINKER_ENOTSUP, TINKER_EOVERFLOW
 * or TINKER_ENOMEM. */
int tinker__peft_config_parse(tinker__peft_config_t *out, tinker__mem_t *mem,
                              tinker__str_t text, char *why, size_t why_len);
/* Appends an adapter_config.json that PEFT reads. Errors stick in `out`. */
void tinker__peft_config_write(tinker__buf_t *out,
                               const tinker__peft_config_t *config);

/* Name of a tensor: "base_model.model.model.layers.0.self_attn.q_proj.
 * lora_A.weight", "base_model.model.lm_head.lora_A.weight". */
void tinker__peft_tensor_name(char out[TINKER__PEFT_NAME_MAX],
                              tinker__lora_target_t target, uint32_t layer,
                              tinker__lora_side_t side);
/* The other way: false when it is not such a name. */
bool tinker__peft_tensor_parse(tinker__str_t name,
                               tinker__lora_target_t *target, uint32_t *layer,
                               tinker__lora_side_t *side);

/* Checks that A and B of each target of each layer are there, of the right
 * shape, by PEFT's names and a suffix; adds their number to *n. 0 or
 * TINKER_EFORMAT. */
int tinker__peft_check_part(const tinker__safetensors_t *st, uint32_t rank,
                            unsigned trained, const char *suffix,
                            const tinker__model_config_t *model, size_t *n,
                            char *why, size_t why_len);
/* Checks an adapter against its config and a base model: each target module
 * of each layer has A and B of the right shape, and nothing else is there.
 * Afterwards tinker__safetensors_find with tinker__peft_tensor_name finds
 * every tensor. 0 or TINKER_EFORMAT. */
int tinker__peft_check(const tinker__safetensors_t *st,
                       const tinker__peft_config_t *config,
                       const tinker__model_config_t *model, char *why,
                       size_t why_len);

#endif
