/* interval: how long to train from one checkpoint to the next. Pure. */
#ifndef TINKER_RECOVERY_KEEP_INTERVAL_H
#define TINKER_RECOVERY_KEEP_INTERVAL_H

#include <stdint.h>

typedef struct tinker__rec_interval_s {
  int64_t mtbf_ms; /* mean time between failures that cost steps */
  int64_t min_ms, max_ms;
} tinker__rec_interval_t;

#define TINKER__REC_INTERVAL_INIT                                              \
  { 3600000, 120000, 1800000 }

/* The time after which saving costs as much as the steps that a failure is
 * expected to take away, by Young and Daly: the root of 2 * cost * mtbf, within
 * the bounds. cost_ms: of a save; 0 or less = not known yet. */
int64_t tinker__rec_interval(const tinker__rec_interval_t *i, int64_t cost_ms);

#endif
