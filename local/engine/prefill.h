/* prefill: how many tokens of which prompt a round takes, so that prompts,
 * however many and however long, keep neither each other nor the samples under
 * way waiting for long. What samples are fed again, because they had given up
 * their caches, is shared out in the same way. Engine thread. */
#ifndef TINKER_ENGINE_PREFILL_H
#define TINKER_ENGINE_PREFILL_H

#include "engine/generate.h"

#define TINKER__PREFILL_TOKENS 512 /* of all prompts in one round */

/* What a round has left for prompts, and how many generations share it. */
struct tinker__eng_prefill_s {
  size_t tokens, prompts;
};

/* It takes more of this round than one token for each sequence. */
bool tinker__eng_prefill_wants(const tinker__eng_gen_t *g);
/* Tokens of the prompt of g, at least one, that this round takes: its part of
 * what is left, and less where they see many keys. */
size_t tinker__eng_prefill_take(tinker__eng_prefill_t *left,
                                const tinker__eng_gen_t *g);
/* The same for its sequences, after the prompt: how many tokens each takes at
 * most, 1 unless it is fed again. */
size_t tinker__eng_prefill_again(tinker__eng_prefill_t *left,
                                 const tinker__eng_gen_t *g);

#endif
