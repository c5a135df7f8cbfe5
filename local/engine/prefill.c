/* prefill: see prefill.h. */
#include "engine/prefill.h"

#define KEYS 4096 /* a token that attends to so many keys counts double */
#define LEAST 32  /* tokens that a part may have, however many keys */

/* An unfinished sequence of g, and how many there are; NULL = none. One stands
 * for all, since they have equally many tokens, and equally many in their
 * slots. */
static const tinker__eng_gen_seq_t *unfinished(const tinker__eng_gen_t *g,
                                               size_t *count) {
  const tinker__eng_gen_seq_t *q = NULL;
  *count = 0;
  for (size_t i = 0; i < g->num_samples; i++) {
    if (g->seqs[i].finished) continue;
    q = &g->seqs[i];
    ++*count;
  }
  return q;
}

bool tinker__eng_prefill_wants(const tinker__eng_gen_t *g) {
  size_t count;
  if (g->state != TINKER__GEN_DECODE) return g->state == TINKER__GEN_PREFILL;
  const tinker__eng_gen_seq_t *q = unfinished(g, &count);
  return q && q->n - q->fed > 1;
}

/* The part of one prompt. It is not 0, because a round has fewer generations
 * than tokens. */
static size_t part_of(tinker__eng_prefill_t *left, size_t keys) {
  size_t part = left->tokens / left->prompts--;
  size_t most = TINKER__PREFILL_TOKENS * KEYS / (KEYS + keys);
  if (most < LEAST) most = LEAST;
  return part < most ? part : most;
}

size_t tinker__eng_prefill_take(tinker__eng_prefill_t *left,
                                const tinker__eng_gen_t *g) {
  size_t n = g->n_prompt - g->fed, part = part_of(left, g->fed);
  if (n > part) n = part;
  /* The piece ends at the last row that is needed, so that the next piece needs
   * no logits. */
  if (g->fed < g->score_to && g->score_to - g->fed < n) {
    n = g->score_to - g->fed;
  }
  left->tokens -= n;
  return n;
}

/* One token for each sequence is not counted, since every sample takes that. */
size_t tinker__eng_prefill_again(tinker__eng_prefill_t *left,
                                 const tinker__eng_gen_t *g) {
  size_t count;
  if (!tinker__eng_prefill_wants(g)) return 1;
  const tinker__eng_gen_seq_t *q = unfinished(g, &count);
  size_t n = q->n - q->fed;
  size_t part = part_of(left, g->n_prompt + q->fed) / count;
  if (n > part) n = part ? part : 1;
  left->tokens -= (n - 1) * count;
  return n;
}
