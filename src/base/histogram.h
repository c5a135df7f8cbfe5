/* histogram: how often times of which length were seen, in a fixed number of
 * counters, for percentiles.
 *
 * Log-linear: times below 8 ms have a counter each; above, each doubling is cut
 * into eight equal parts, up to 2^27 ms (37 hours), and what is longer shares
 * the last counter. So a counter's longest time is at most an eighth above its
 * shortest one. The longest time of all is kept exactly.
 *
 * One thread at a time adds; any thread reads meanwhile. Neither takes a lock
 * or allocates. What a reader gets may lack times that are being added, but
 * never has one that is above its own longest. */
#ifndef TINKER_BASE_HISTOGRAM_H
#define TINKER_BASE_HISTOGRAM_H

#include <stdatomic.h>
#include <stdint.h>

#define TINKER__HISTOGRAM_COUNTERS 200

/* Zeroed memory is one without times. */
typedef struct tinker__histogram_s {
  atomic_uint_least64_t counters[TINKER__HISTOGRAM_COUNTERS];
  atomic_int_least64_t max_ms;
} tinker__histogram_t;

/* A reader's own. Start with zeros. */
typedef struct tinker__histogram_copy_s {
  uint64_t counters[TINKER__HISTOGRAM_COUNTERS];
  uint64_t count; /* of all of them */
  int64_t max_ms;
} tinker__histogram_copy_t;

/* Adds one time; a negative one counts as 0. */
void tinker__histogram_add(tinker__histogram_t *histogram, int64_t ms);
/* Adds what there is to a copy, so that several make one. */
void tinker__histogram_read(const tinker__histogram_t *histogram,
                            tinker__histogram_copy_t *copy);
/* The time that so many of a hundred do not exceed (1 to 100): that of the
 * smallest rank which is at least as large a share. Not below the true one, and
 * at most an eighth above it. 0 when there are no times. */
int64_t tinker__histogram_percentile(const tinker__histogram_copy_t *copy,
                                     unsigned percent);

#endif
