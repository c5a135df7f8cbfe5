/* prefill: how many tokens of which prompt a round takes, so that prompts,
 * however many and however long, keep neither each other nor the samples under
 * way waiting for long. Engine thread. */
#ifndef TINKER_ENGINE_PREFILL_H
#define TINKER_ENGINE_PREFILL_H

#include "engine/generate.h"

#define TINKER__PREFILL_TOKENS 512 /* of all prompts in one round */

/* What a round has left for prompts, and how many of them share it. */
typedef struct tinker__eng_prefill_s {
  size_t tokens, prompts;
} tinker__eng_prefill_t;

/* Tokens of the prompt of g, at least one, that this round takes: its part of
 * what is left, and less where they see many keys. */
size_t tinker__eng_prefill_take(tinker__eng_prefill_t *left,
                                const tinker__eng_gen_t *g);

#endif
