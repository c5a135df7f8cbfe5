/* interval: see interval.h. */
#include "keep/interval.h"

#include <math.h>

int64_t tinker__rec_interval(const tinker__rec_interval_t *i, int64_t cost_ms) {
  if (cost_ms <= 0) return i->min_ms;
  double best = sqrt(2.0 * (double)cost_ms * (double)i->mtbf_ms);
  if (best < (double)i->min_ms) return i->min_ms;
  return best > (double)i->max_ms ? i->max_ms : (int64_t)best;
}
