/* Times in counters, see histogram.h. */
#include "base/histogram.h"

#define BITS 3 /* a doubling has 1 << BITS counters */
#define PARTS (1 << BITS)

static unsigned counter_of(int64_t ms) {
  if (ms < PARTS) return ms < 0 ? 0 : (unsigned)ms;
  unsigned doublings = 0;
  while (ms >> doublings >= 2 * PARTS) doublings++;
  unsigned i = doublings * PARTS + (unsigned)(ms >> doublings);
  return i < TINKER__HISTOGRAM_COUNTERS ? i : TINKER__HISTOGRAM_COUNTERS - 1;
}

/* The longest time that a counter may stand for. */
static int64_t longest(unsigned i) {
  if (i < PARTS) return i;
  if (i == TINKER__HISTOGRAM_COUNTERS - 1) return INT64_MAX;
  unsigned doublings = i / PARTS - 1;
  return ((int64_t)(PARTS + i % PARTS + 1) << doublings) - 1;
}

/* The longest one first: who sees the counter sees it, too. */
void tinker__histogram_add(tinker__histogram_t *histogram, int64_t ms) {
  atomic_uint_least64_t *counter = &histogram->counters[counter_of(ms)];
  if (ms > atomic_load_explicit(&histogram->max_ms, memory_order_relaxed)) {
    atomic_store_explicit(&histogram->max_ms, ms, memory_order_relaxed);
  }
  atomic_fetch_add_explicit(counter, 1, memory_order_release);
}

void tinker__histogram_read(const tinker__histogram_t *histogram,
                            tinker__histogram_copy_t *copy) {
  for (unsigned i = 0; i < TINKER__HISTOGRAM_COUNTERS; i++) {
    uint64_t n =
        atomic_load_explicit(&histogram->counters[i], memory_order_acquire);
    copy->counters[i] += n;
    copy->count += n;
  }
  int64_t max = atomic_load_explicit(&histogram->max_ms, memory_order_relaxed);
  if (max > copy->max_ms) copy->max_ms = max;
}

/* Of count; without the product, which could be too large. */
static uint64_t rank_of(uint64_t count, unsigned percent) {
  return count / 100 * percent + (count % 100 * percent + 99) / 100;
}

int64_t tinker__histogram_percentile(const tinker__histogram_copy_t *copy,
                                     unsigned percent) {
  uint64_t rank = rank_of(copy->count, percent), seen = 0;
  for (unsigned i = 0; i < TINKER__HISTOGRAM_COUNTERS; i++) {
    seen += copy->counters[i];
    if (copy->counters[i] && seen >= rank) {
      int64_t ms = longest(i);
      return ms < copy->max_ms ? ms : copy->max_ms;
    }
  }
  return 0;
}
