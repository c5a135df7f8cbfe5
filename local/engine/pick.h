/* pick: draws a token from one row of logits.
 *
 * Pure functions, any thread. The result depends on the row, the parameters
 * and (seed, sample, position) only, not on the batch that the row is from. */
#ifndef TINKER_ENGINE_PICK_H
#define TINKER_ENGINE_PICK_H

#include <stddef.h>
#include <stdint.h>

typedef struct tinker__eng_sampling_s {
  float temperature; /* >= 0; 0 = arg max, the lowest id wins a tie */
  int64_t top_k;     /* <= 0 = unlimited */
  double top_p;      /* in (0, 1]; applied after top_k */
  uint64_t seed;
} tinker__eng_sampling_t;

/* Bytes of scratch that the calls below need for a row of n logits. */
size_t tinker__eng_pick_scratch(size_t n);

/* Draws the token for (seed, sample, position). scratch may have any contents.
 * Returns the id, or -1 when a logit is NaN or +inf, or all are -inf. */
int32_t tinker__eng_pick(const tinker__eng_sampling_t *p, uint64_t sample,
                         uint64_t position, const float *row, size_t n,
                         void *scratch);

/* Draws k tokens with replacement from the row that predicts `position` of a
 * prompt, at the temperature; top_k and top_p are not applied. No sample uses
 * the same noise. 0, or -1 as above. */
int tinker__eng_pick_draws(const tinker__eng_sampling_t *p, uint64_t position,
                           const float *row, size_t n, size_t k, int32_t *ids,
                           void *scratch);

/* Writes the k largest entries of the row, the largest first, and lower ids
 * first among equals. k <= n. scratch as above. */
void tinker__eng_pick_top(const float *row, size_t n, size_t k, int32_t *ids,
                          float *values, void *scratch);

/* Uniform in [0, 1) from the counter (sample, position) under the key seed:
 * Philox4x32-10, 53 bits. */
double tinker__eng_pick_uniform(uint64_t seed, uint64_t sample,
                                uint64_t position);

#endif
