/* prefill: decides how many tokens of each prompt a round takes, so that
 * prompts, however many and long, let neither each other nor the samples under
 * way wait for long. Tokens that are fed again to samples which had given their
 * caches up are shared out in the same way. Engine thread. */
#ifndef TINKER_ENGINE_PREFILL_H
#define TINKER_ENGINE_PREFILL_H

#include "engine/generate.h"

#define TINKER__PREFILL_TOKENS 512 /* of all prompts in one round */

/* The tokens that a round has left, and how many generations share them. */
struct tinker__eng_prefill_s {
  size_t tokens, prompts;
};

/* True when g wants more of this round than one token for each sequence. */
bool tinker__eng_prefill_wants(const tinker__eng_gen_t *g);
/* How many tokens of the prompt of g this round takes, at least one: g's part
 * of the tokens left, and less where a token attends to many keys. */
size_t tinker__eng_prefill_take(tinker__eng_prefill_t *left,
                                const tinker__eng_gen_t *g);
/* How many tokens each sequence of g takes at most: 1, or more while it is fed
 * again. */
size_t tinker__eng_prefill_again(tinker__eng_prefill_t *left,
                                 const tinker__eng_gen_t *g);

#endif
