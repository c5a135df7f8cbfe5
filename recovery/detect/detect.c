/* detect: see detect.h. Windows are rings; the median is of a sorted copy. */
#include "detect/detect.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <tinker/error.h>

#define MOST 4096
/* MAD of a normal distribution times this is its standard deviation. */
#define MAD_TO_SIGMA 1.4826

struct tinker__rec_detect_s {
  tinker__mem_t *mem;
  tinker__rec_detect_policy_t policy;
  double *ring; /* losses that were no spike, the last `room` of them */
  double *sorted;
  int room, count, at;
  double *recent; /* all finite losses, the last `fast` of them */
  int recent_count, recent_at;
  int64_t diverging; /* tokens since the fast mean left the slow one */
  double last;
  int repeated;
  unsigned char last_batch[TINKER__SHA256_LEN];
};

static int most(int a, int b) {
  return a > b ? a : b;
}

static bool is_possible(const tinker__rec_detect_policy_t *p) {
  return p->robust_z > 0 && p->min_ratio >= 1 && p->window >= 3 &&
         p->window <= MOST && p->warmup >= 3 && p->warmup <= p->window &&
         p->fast >= 1 && p->slow > p->fast && p->slow <= MOST && p->ratio > 1 &&
         p->tokens >= 0 && p->repeats >= 0;
}

int tinker__rec_detect_new(tinker__rec_detect_t **out, tinker__mem_t *mem,
                           const tinker__rec_detect_policy_t *policy) {
  if (!is_possible(policy)) return TINKER_EINVAL;
  tinker__rec_detect_t *d = tinker__mem_zalloc(mem, sizeof *d);
  if (!d) return TINKER_ENOMEM;
  d->mem = mem;
  d->policy = *policy;
  d->room = most(policy->window, policy->slow);
  d->ring = tinker__mem_array(mem, (size_t)d->room, sizeof *d->ring);
  d->sorted = tinker__mem_array(mem, (size_t)d->room, sizeof *d->sorted);
  d->recent = tinker__mem_array(mem, (size_t)policy->fast, sizeof *d->recent);
  d->last = NAN;
  if (!d->ring || !d->sorted || !d->recent) {
    tinker__rec_detect_free(d);
    return TINKER_ENOMEM;
  }
  *out = d;
  return 0;
}

void tinker__rec_detect_free(tinker__rec_detect_t *d) {
  if (!d) return;
  tinker__mem_free(d->mem, d->ring);
  tinker__mem_free(d->mem, d->sorted);
  tinker__mem_free(d->mem, d->recent);
  tinker__mem_free(d->mem, d);
}

void tinker__rec_detect_rewind(tinker__rec_detect_t *d) {
  d->recent_count = d->recent_at = 0;
  d->diverging = 0;
  d->repeated = 0;
  d->last = NAN;
}

const char *tinker__rec_loss_name(tinker__rec_loss_t loss) {
  static const char *const names[] = {"unknown", "ok",         "nonfinite",
                                      "spike",   "divergence", "flat"};
  return names[loss];
}

/* --- Statistics ----------------------------------------------------------- */

static int by_value(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

/* The i-th newest, from 0. */
static double newest(const tinker__rec_detect_t *d, int i) {
  return d->ring[(d->at + d->room - 1 - i) % d->room];
}

static double median(double *v, int n) {
  qsort(v, (size_t)n, sizeof *v, by_value);
  return n % 2 ? v[n / 2] : (v[n / 2 - 1] + v[n / 2]) / 2;
}

static void norm(tinker__rec_detect_t *d, double *middle, double *sigma) {
  int n = d->count < d->policy.window ? d->count : d->policy.window;
  for (int i = 0; i < n; i++) d->sorted[i] = newest(d, i);
  *middle = median(d->sorted, n);
  for (int i = 0; i < n; i++) d->sorted[i] = fabs(d->sorted[i] - *middle);
  *sigma = MAD_TO_SIGMA * median(d->sorted, n);
}

static double slow_mean(const tinker__rec_detect_t *d) {
  int n = d->count < d->policy.slow ? d->count : d->policy.slow;
  double sum = 0;
  for (int i = 0; i < n; i++) sum += newest(d, i);
  return sum / n;
}

static double fast_mean(const tinker__rec_detect_t *d) {
  double sum = 0;
  for (int i = 0; i < d->recent_count; i++) sum += d->recent[i];
  return sum / d->recent_count;
}

/* --- Judgements ----------------------------------------------------------- */

static bool is_spike(tinker__rec_detect_t *d, double loss) {
  double middle, sigma;
  if (d->count < d->policy.warmup) return false;
  norm(d, &middle, &sigma);
  return loss - middle > d->policy.robust_z * sigma &&
         loss > d->policy.min_ratio * middle;
}

static bool is_diverging(tinker__rec_detect_t *d, int64_t tokens) {
  if (d->count < d->policy.warmup || d->recent_count < d->policy.fast) {
    return false;
  }
  double slow = slow_mean(d);
  if (slow <= 0 || fast_mean(d) <= d->policy.ratio * slow) {
    d->diverging = 0;
    return false;
  }
  d->diverging += tokens;
  return d->diverging >= d->policy.tokens;
}

/* Equal to the bit, on other data. */
static bool is_flat(tinker__rec_detect_t *d, double loss,
                    const unsigned char *batch) {
  bool other = memcmp(batch, d->last_batch, TINKER__SHA256_LEN) != 0;
  if (loss != d->last) {
    d->repeated = 0;
  } else if (other) {
    d->repeated++;
  }
  d->last = loss;
  memcpy(d->last_batch, batch, TINKER__SHA256_LEN);
  return d->policy.repeats > 0 && d->repeated >= d->policy.repeats;
}

static void add_recent(tinker__rec_detect_t *d, double loss) {
  d->recent[d->recent_at] = loss;
  d->recent_at = (d->recent_at + 1) % d->policy.fast;
  if (d->recent_count < d->policy.fast) d->recent_count++;
}

static void add_norm(tinker__rec_detect_t *d, double loss) {
  d->ring[d->at] = loss;
  d->at = (d->at + 1) % d->room;
  if (d->count < d->room) d->count++;
}

tinker__rec_loss_t
tinker__rec_detect_add(tinker__rec_detect_t *d, double loss, int64_t tokens,
                       const unsigned char batch[TINKER__SHA256_LEN]) {
  if (!isfinite(loss)) return TINKER__REC_LOSS_NONFINITE;
  add_recent(d, loss);
  bool flat = is_flat(d, loss, batch);
  bool diverging = is_diverging(d, tokens);
  bool spike = is_spike(d, loss);
  if (!spike && d->diverging == 0) add_norm(d, loss);
  if (diverging) return TINKER__REC_LOSS_DIVERGENCE;
  if (spike) return TINKER__REC_LOSS_SPIKE;
  if (flat) return TINKER__REC_LOSS_FLAT;
  return d->count < d->policy.warmup ? TINKER__REC_LOSS_UNKNOWN
                                     : TINKER__REC_LOSS_OK;
}
