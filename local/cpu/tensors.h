/* tensors: writes blocks of an adapter's shape to safetensors files and reads
 * them. Engine thread. */
#ifndef TINKER_LOCAL_CPU_TENSORS_H
#define TINKER_LOCAL_CPU_TENSORS_H

#include "cpu/lora.h"
#include "model/train_state.h"

/* Parts of a train state; each adds `suffix` to PEFT's names. */
typedef struct tinker__cpu_part_s {
  const char *suffix;
  float *data; /* [lora->floats] */
} tinker__cpu_part_t;

/* Writes all parts into dir/file. hex gets the SHA-256 of the file's bytes;
 * NULL = not wanted. */
int tinker__cpu_tensors_save(const tinker__cpu_lora_t *l,
                             const tinker__cpu_part_t *parts, size_t num_parts,
                             const char *dir, const char *file, char hex[65],
                             char *why, size_t why_len);
/* Fills the first parts of a train state from its file in dir, which must be
 * the one that `state` describes, whole. */
int tinker__cpu_tensors_load(const tinker__cpu_lora_t *l,
                             const tinker__cpu_part_t *parts, size_t num_parts,
                             const tinker__train_state_t *state,
                             const char *dir, char *why, size_t why_len);
/* Fills w from PEFT's file in dir, whose values may have any type; the file is
 * checked against config. */
int tinker__cpu_tensors_load_peft(const tinker__cpu_lora_t *l, float *w,
                                  const tinker__peft_config_t *config,
                                  const char *dir, char *why, size_t why_len);
/* Returns dir/file, which the caller frees; NULL without memory. */
char *tinker__cpu_path(tinker__mem_t *mem, const char *dir, const char *file);

#endif
