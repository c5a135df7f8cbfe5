/* state_header: state.json of a saved train state. Pure functions. */
#ifndef TINKER_LOCAL_CPU_STATE_HEADER_H
#define TINKER_LOCAL_CPU_STATE_HEADER_H

#include "base/buf.h"
#include "engine/engine.h"

#define TINKER__STATE_FILE "state.json"

typedef struct tinker__cpu_state_header_s {
  tinker__eng_lora_config_t lora;
  uint64_t format, step;
  char base[65], sha256[65]; /* hex digests: base model, tensor file */
} tinker__cpu_state_header_t;

void tinker__cpu_state_write(tinker__buf_t *buf,
                             const tinker__cpu_state_header_t *h);
/* 0, TINKER_EFORMAT, TINKER_EJSON or TINKER_ENOMEM; *out untouched on
 * failure. The configuration's ranges are not checked. */
int tinker__cpu_state_parse(tinker__cpu_state_header_t *out, tinker__mem_t *mem,
                            tinker__str_t text, char *why, size_t why_len);

#endif
