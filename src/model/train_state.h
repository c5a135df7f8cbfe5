/* train_state: the files of a saved training state, for the engines that make
 * them and the checkpoints that carry them.
 *
 * state.json has the LoRA configuration, the step count and two digests: of
 * the base model, and of state.safetensors. That file has A and B of each
 * trained layer and AdamW's two moments of both, by PEFT's names with a suffix
 * each. A state of format 2 also has the gradients that wait for an optimizer
 * step. Pure; outputs are untouched on failure. */
#ifndef TINKER_MODEL_TRAIN_STATE_H
#define TINKER_MODEL_TRAIN_STATE_H

#include "base/buf.h"
#include "model/peft.h"

#define TINKER__TRAIN_STATE_JSON "state.json"
#define TINKER__TRAIN_STATE_TENSORS "state.safetensors"
#define TINKER__TRAIN_STATE_MAX_JSON 65536

typedef enum {
  TINKER__TRAIN_STATE_WEIGHTS,
  TINKER__TRAIN_STATE_EXP_AVG,
  TINKER__TRAIN_STATE_EXP_AVG_SQ,
  TINKER__TRAIN_STATE_GRAD, /* of a state that has_grad */
  TINKER__TRAIN_STATE_PARTS
} tinker__train_state_part_t;

typedef struct tinker__train_state_s {
  uint32_t rank;
  double alpha;
  uint64_t seed; /* of the weights before the first step */
  bool train_attn, train_mlp, train_unembed;
  uint64_t step;
  bool has_grad;   /* gradients wait for an optimizer step */
  char base[65];   /* hex digest of the base model (folder.h) */
  char sha256[65]; /* hex digest of state.safetensors */
} tinker__train_state_t;

/* Appends state.json. Errors stick in `out`. */
void tinker__train_state_write(tinker__buf_t *out,
                               const tinker__train_state_t *state);
/* Reads state.json. Each key must be there, once, and no other. 0,
 * TINKER_EFORMAT, TINKER_EJSON or TINKER_ENOMEM. The engine checks whether it
 * can train with these values (rank, alpha). */
int tinker__train_state_parse(tinker__train_state_t *out, tinker__mem_t *mem,
                              tinker__str_t text, char *why, size_t why_len);
/* TINKER__LORA_BIT of each layer that is trained. */
unsigned tinker__train_state_targets(const tinker__train_state_t *state);
/* The number of its parts: all, or all but the gradients. */
size_t tinker__train_state_num_parts(const tinker__train_state_t *state);
/* The suffix that a part adds to PEFT's names. */
const char *tinker__train_state_suffix(tinker__train_state_part_t part);
/* Checks that state.safetensors has, for each trained layer of the base model,
 * all parts of `state` in the right shape, and nothing else. 0 or
 * TINKER_EFORMAT. */
int tinker__train_state_check(const tinker__safetensors_t *st,
                              const tinker__train_state_t *state,
                              const tinker__model_config_t *model, char *why,
                              size_t why_len);

#endif
