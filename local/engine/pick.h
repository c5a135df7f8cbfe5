/* pick: from one row of logits to one token.
 *
 * Pure functions, any thread. The result depends on the row, the parameters
 * and (seed, sample, position) only: never on the batch a row came from. */
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

/* Room that the calls below need for a row of n logits, in bytes. */
size_t tinker__eng_pick_scratch(size_t n);

/* The token drawn for (seed, sample, position). scratch: see above, any
 * contents. Returns the id, or -1 when a logit is NaN or +inf, or all are
 * -inf. */
int32_t tinker__eng_pick(const tinker__eng_sampling_t *p, uint64_t sample,
                         uint64_t position, const float *row, size_t n,
                         void *scratch);

/* k tokens drawn with replacement at the temperature, top_k and top_p left
 * aside, from the row that predicts `position` of a prompt. Their noise is
 * shared with no sample of any number. 0, or -1 as above. */
int tinker__eng_pick_draws(const tinker__eng_sampling_t *p, uint64_t position,
                           const float *row, size_t n, size_t k, int32_t *ids,
                           void *scratch);

/* The k largest entries of the row, largest first, lower ids first among
 * equals. k <= n. scratch as above. */
void tinker__eng_pick_top(const float *row, size_t n, size_t k, int32_t *ids,
                          float *values, void *scratch);

/* Uniform in [0, 1) from the counter (sample, position) under the key seed:
 * Philox4x32-10, 53 bits. */
double tinker__eng_pick_uniform(uint64_t seed, uint64_t sample,
                                uint64_t position);

#endif
