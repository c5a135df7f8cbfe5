/* state: train states and adapters in files.
 *
 * Runs on the engine thread. A train state is state.json (configuration,
 * step, digest of the base and of the other file) and state.safetensors (A, B
 * and their moments, float32, by PEFT's names); an adapter is a PEFT folder.
 * Files are written whole, fsynced and renamed; the safetensors file comes
 * first, so that a folder with its JSON file is complete. */
#ifndef TINKER_LOCAL_CPU_STATE_H
#define TINKER_LOCAL_CPU_STATE_H

#include "cpu/train.h"

int tinker__train_save(tinker__train_t *t, const char *dir, char *why,
                       size_t why_len);
int tinker__train_load(tinker__base_t *b, const char *dir, bool optimizer,
                       tinker__train_t **out, char *why, size_t why_len);
int tinker__train_peek(const char *dir, tinker__lora_config_t *out, char *why,
                       size_t why_len);
int tinker__adapter_save(tinker__adapter_t *a, const char *dir, char *why,
                         size_t why_len);
int tinker__adapter_load(tinker__base_t *b, const char *dir,
                         tinker__adapter_t **out, char *why, size_t why_len);

#endif
