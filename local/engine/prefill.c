/* prefill: see prefill.h. */
#include "engine/prefill.h"

#define KEYS 4096 /* after so many tokens one counts double */
#define LEAST 32  /* tokens of a prompt that has a round for itself */

/* A round has at most as many prompts as there may be sequences, which is less
 * than its tokens, so that a part is never empty. */
size_t tinker__eng_prefill_take(tinker__eng_prefill_t *left,
                                const tinker__eng_gen_t *g) {
  size_t n = g->n_prompt - g->fed, part = left->tokens / left->prompts--;
  size_t most = TINKER__PREFILL_TOKENS * KEYS / (KEYS + g->fed);
  if (most < LEAST) most = LEAST;
  if (n > most) n = most;
  if (n > part) n = part;
  /* Rows after the last that is looked at are a piece of their own: it needs
   * no logits. */
  if (g->fed < g->score_to && g->score_to - g->fed < n) {
    n = g->score_to - g->fed;
  }
  left->tokens -= n;
  return n;
}
