/* pick: temperature, top-k, top-p and counter-based noise. See pick.h. exp is
 * the one of the engine's kernels, and sums run in double in one fixed order,
 * so that every machine draws the same token. */
#include "engine/pick.h"

#include <math.h>
#include <stdbool.h>
#include <string.h>

#include "cpu/kernels/kernels.h"

#define BLOCK 256 /* at least 2, so that the scratch has room for the sums */

static void philox_round(uint32_t c[4], uint32_t k0, uint32_t k1) {
  uint64_t p0 = (uint64_t)0xD2511F53u * c[0];
  uint64_t p1 = (uint64_t)0xCD9E8D57u * c[2];
  uint32_t c1 = c[1], c3 = c[3];
  c[0] = (uint32_t)(p1 >> 32) ^ c1 ^ k0;
  c[1] = (uint32_t)p1;
  c[2] = (uint32_t)(p0 >> 32) ^ c3 ^ k1;
  c[3] = (uint32_t)p0;
}

double tinker__eng_pick_uniform(uint64_t seed, uint64_t sample,
                                uint64_t position) {
  uint32_t c[4] = {(uint32_t)position, (uint32_t)(position >> 32),
                   (uint32_t)sample, (uint32_t)(sample >> 32)};
  uint32_t k0 = (uint32_t)seed, k1 = (uint32_t)(seed >> 32);
  for (int i = 0; i < 10; i++) {
    philox_round(c, k0, k1);
    k0 += 0x9E3779B9u;
    k1 += 0xBB67AE85u;
  }
  uint64_t bits = (((uint64_t)c[0] << 32) | c[1]) >> 11;
  return (double)bits * 0x1p-53;
}

size_t tinker__eng_pick_scratch(size_t n) {
  return n * (sizeof(double) + sizeof(float));
}

/* Order of the heap: larger value first, then lower id. */
static bool ahead(const float *row, int32_t a, int32_t b) {
  return row[a] > row[b] || (row[a] == row[b] && a < b);
}

static void sift(const float *row, int32_t *heap, size_t n, size_t at) {
  for (;;) {
    size_t child = 2 * at + 1, best = at;
    if (child < n && ahead(row, heap[child], heap[best])) best = child;
    if (child + 1 < n && ahead(row, heap[child + 1], heap[best])) {
      best = child + 1;
    }
    if (best == at) return;
    int32_t swap = heap[at];
    heap[at] = heap[best];
    heap[best] = swap;
    at = best;
  }
}

static void heap_build(const float *row, int32_t *heap, size_t n) {
  for (size_t i = 0; i < n; i++) heap[i] = (int32_t)i;
  for (size_t i = n / 2; i-- > 0;) sift(row, heap, n, i);
}

/* Takes the first id of the heap and puts it after the ids left, so that in the
 * end heap[n - 1 - i] is the i-th largest. */
static int32_t heap_pop(const float *row, int32_t *heap, size_t left) {
  int32_t top = heap[0];
  heap[0] = heap[left - 1];
  heap[left - 1] = top;
  sift(row, heap, left - 1, 0);
  return top;
}

void tinker__eng_pick_top(const float *row, size_t n, size_t k, int32_t *ids,
                          float *values, void *scratch) {
  int32_t *heap = scratch;
  heap_build(row, heap, n);
  for (size_t i = 0; i < k; i++) {
    ids[i] = heap_pop(row, heap, n - i);
    values[i] = row[ids[i]];
  }
}

/* Index of the largest value; -1 when the row can't be sampled from. */
static int32_t arg_max(const tinker__cpu_kernels_t *ks, const float *row,
                       size_t n) {
  float top = ks->max(row, n);
  if (!isfinite(top)) return -1;
  /* A NaN may be lost in a maximum but makes every sum NaN. A sum may also be
   * NaN by overflow, so the row is searched. */
  if (isnan(ks->sum(row, n))) {
    for (size_t i = 0; i < n; i++) {
      if (isnan(row[i])) return -1;
    }
  }
  size_t best = 0;
  while (row[best] != top) best++;
  return (int32_t)best;
}

/* The first id at which the running sum of the probabilities is above u of
 * their total. The first pass keeps the sum at the end of each block in `ends`,
 * so that the second one has to look into one block only. */
static int32_t draw_all(const float *e, size_t n, double u, void *ends) {
  char *at = ends;
  double sum = 0, end;
  size_t blocks = n / BLOCK, from = 0;
  for (size_t i = 0; i < n; i++) {
    sum += (double)e[i];
    if (i % BLOCK == BLOCK - 1) memcpy(at + i / BLOCK * 8, &sum, 8);
  }
  double limit = u * sum;
  for (sum = 0; from < blocks; from++, sum = end) {
    memcpy(&end, at + from * 8, 8);
    if (end > limit) break;
  }
  for (size_t i = from * BLOCK; i < n; i++) {
    sum += (double)e[i];
    if (sum > limit) return (int32_t)i;
  }
  while (n > 1 && e[n - 1] == 0) n--;
  return (int32_t)n - 1;
}

/* Draws from the ids that top-k and top-p keep, which are heap[n - 1],
 * heap[n - 2], ... in falling order. */
static int32_t draw_kept(const tinker__eng_sampling_t *p, const float *e,
                         const float *row, int32_t *heap, size_t n, double u) {
  size_t k = p->top_k > 0 && (uint64_t)p->top_k < n ? (size_t)p->top_k : n;
  double total = 0, sum = 0, cut = 0;
  heap_build(row, heap, n);
  if (k == n) {
    for (size_t i = 0; i < n; i++) total += (double)e[i];
  } else {
    for (size_t i = 0; i < k; i++) {
      total += (double)e[heap_pop(row, heap, n - i)];
    }
  }
  size_t kept = 0;
  while (kept < k && (kept == 0 || cut < p->top_p * total)) {
    if (k == n) heap_pop(row, heap, n - kept);
    cut += (double)e[heap[n - 1 - kept++]];
  }
  for (size_t i = 0; i < kept; i++) {
    sum += (double)e[heap[n - 1 - i]];
    if (sum > u * cut) return heap[n - 1 - i];
  }
  return heap[n - 1];
}

/* Writes exp of the logits at the temperature, scaled so that the largest is 1.
 */
static void weigh(const tinker__eng_sampling_t *p,
                  const tinker__cpu_kernels_t *ks, const float *row, size_t n,
                  float top, float *e) {
  for (size_t i = 0; i < n; i++) e[i] = (row[i] - top) / p->temperature;
  ks->exp(e, e, n);
}

int32_t tinker__eng_pick(const tinker__eng_sampling_t *p, uint64_t sample,
                         uint64_t position, const float *row, size_t n,
                         void *scratch) {
  const tinker__cpu_kernels_t *ks = tinker__cpu_kernels_get();
  int32_t best = arg_max(ks, row, n);
  if (best < 0 || p->temperature == 0) return best;
  float *e = scratch;
  int32_t *heap = (int32_t *)(void *)(e + n);
  weigh(p, ks, row, n, row[best], e);
  double u = tinker__eng_pick_uniform(p->seed, sample, position);
  bool all = (p->top_k <= 0 || (uint64_t)p->top_k >= n) && p->top_p >= 1;
  return all ? draw_all(e, n, u, heap) : draw_kept(p, e, row, heap, n, u);
}

/* The first index whose running sum is above x. The last sum must be. */
static int32_t first_above(const double *sums, size_t n, double x) {
  size_t low = 0, high = n - 1;
  while (low < high) {
    size_t mid = low + (high - low) / 2;
    if (sums[mid] > x) {
      high = mid;
    } else {
      low = mid + 1;
    }
  }
  return (int32_t)low;
}

/* The bit that marks draws; samples are counted from 0, so none has it. */
#define DRAW ((uint64_t)1 << 63)

int tinker__eng_pick_draws(const tinker__eng_sampling_t *p, uint64_t position,
                           const float *row, size_t n, size_t k, int32_t *ids,
                           void *scratch) {
  const tinker__cpu_kernels_t *ks = tinker__cpu_kernels_get();
  int32_t best = arg_max(ks, row, n);
  if (best < 0) return -1;
  for (size_t i = 0; i < k; i++) ids[i] = best;
  if (p->temperature == 0) return 0;
  double *sums = scratch, total = 0;
  float *e = (float *)(void *)(sums + n);
  weigh(p, ks, row, n, row[best], e);
  for (size_t i = 0; i < n; i++) sums[i] = total += (double)e[i];
  for (size_t i = 0; i < k; i++) {
    double x = tinker__eng_pick_uniform(p->seed, DRAW | i, position) * total;
    /* The product may round up to the total. */
    ids[i] = first_above(sums, n, x < total ? x : nextafter(total, 0));
  }
  return 0;
}
