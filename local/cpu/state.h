/* state: writes train states and adapters to files and reads them.
 *
 * Runs on the engine thread. A train state is two files (model/train_state.h),
 * tensors in float32; an adapter is a PEFT folder.
 * Each file is written whole, fsynced and renamed. The JSON file is written
 * last, so a folder that has it is complete. */
#ifndef TINKER_LOCAL_CPU_STATE_H
#define TINKER_LOCAL_CPU_STATE_H

#include "cpu/train.h"

int tinker__cpu_train_save(tinker__eng_train_t *t, const char *dir, char *why,
                           size_t why_len);
int tinker__cpu_train_load(tinker__eng_base_t *b, const char *dir,
                           bool optimizer, tinker__eng_train_t **out, char *why,
                           size_t why_len);
int tinker__cpu_train_peek(const char *dir, tinker__eng_lora_config_t *out,
                           char *why, size_t why_len);
int tinker__cpu_adapter_save(tinker__eng_adapter_t *a, const char *dir,
                             char *why, size_t why_len);
int tinker__cpu_adapter_load(tinker__eng_base_t *b, const char *dir,
                             tinker__eng_adapter_t **out, char *why,
                             size_t why_len);

#endif
