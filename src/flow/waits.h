/* waits: how long the operations of a client were in each stage, by their kind,
 * as counters for percentiles (<tinker/stats.h>).
 *
 * An operation that was taken is counted once, when its waiting ends, however
 * it ends: on the loop's thread, without a lock and without memory. The
 * counters of a kind are made with its first operation and stay until the end;
 * any thread reads them meanwhile. */
#ifndef TINKER_FLOW_WAITS_H
#define TINKER_FLOW_WAITS_H

#include <stdbool.h>
#include <tinker/future.h>

#include "base/histogram.h"
#include "base/mem.h"

/* Where an operation is, and how long it was in the stages before. */
typedef struct tinker__stay_s {
  tinker_stage_t stage;
  int64_t born_ms;  /* when the loop's thread took it */
  int64_t since_ms; /* when it came into its stage */
  int64_t spent_ms[TINKER_STAGE_ENDED];
} tinker__stay_t;

static inline void tinker__stay_begin(tinker__stay_t *stay, int64_t now_ms) {
  *stay = (tinker__stay_t){.born_ms = now_ms, .since_ms = now_ms};
}
/* The stage that it is in now, perhaps the same. */
void tinker__stay_move(tinker__stay_t *stay, tinker_stage_t stage,
                       int64_t now_ms);

/* Of one kind. */
typedef struct tinker__waits_s {
  tinker__histogram_t stages[TINKER_STAGE_ENDED];
  tinker__histogram_t total;
  atomic_uint_least64_t failed;
} tinker__waits_t;

/* Of all kinds; NULL = of that kind there was no operation. Zeroed memory is
 * one without any. */
typedef struct tinker__waits_all_s {
  _Atomic(tinker__waits_t *) kinds[TINKER_KIND_PROMISE + 1];
} tinker__waits_all_t;

/* The counters of a kind, made if need be; NULL without memory. Any thread. */
tinker__waits_t *tinker__waits_of(tinker__waits_all_t *all, tinker_kind_t kind,
                                  tinker__mem_t *mem);
void tinker__waits_free(tinker__waits_all_t *all, tinker__mem_t *mem);
/* Counts an operation that has ended. Loop's thread. */
void tinker__waits_add(tinker__waits_t *waits, const tinker__stay_t *stay,
                       bool failed);

#endif
