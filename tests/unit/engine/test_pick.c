/* The sampler with fixed logits: what is drawn, and from what. */
#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

#include "cpu/kernels/kernels.h"
#include "engine/pick.h"

enum { N = 6 };
static const float row[N] = {1.0f, 3.0f, 2.0f, 3.0f, -INFINITY, 0.0f};
static _Alignas(double) char scratch[N * 12];

static int32_t pick(float temperature, int64_t k, double p, uint64_t at) {
  tinker__eng_sampling_t s = {temperature, k, p, 42};
  return tinker__eng_pick(&s, 0, at, row, N, scratch);
}

Test(sampler, limits) {
  cr_assert_eq(tinker__eng_pick_scratch(N), sizeof scratch);
  for (uint64_t i = 0; i < 200; i++) {
    /* Temperature 0 and one candidate: the lowest id of the largest. */
    cr_assert_eq(pick(0, -1, 1, i), 1);
    cr_assert_eq(pick(1, 1, 1, i), 1);
    cr_assert_eq(pick(1, -1, 1e-9, i), 1);
    int32_t two = pick(1, 2, 1, i), three = pick(1, 3, 1, i);
    cr_assert(two == 1 || two == 3);
    cr_assert(three >= 1 && three <= 3);
    cr_assert_neq(pick(5, -1, 1, i), 4, "probability zero was drawn");
    /* 1 and 3 hold 0.78 of the mass. */
    int32_t nucleus = pick(1, -1, 0.7, i);
    cr_assert(nucleus == 1 || nucleus == 3);
  }
  float bad[N] = {0, NAN, 0, 0, 0, 0};
  tinker__eng_sampling_t s = {1, -1, 1, 0};
  cr_assert_eq(tinker__eng_pick(&s, 0, 0, bad, N, scratch), -1);
  bad[1] = INFINITY;
  cr_assert_eq(tinker__eng_pick(&s, 0, 0, bad, N, scratch), -1);
  for (int i = 0; i < N; i++) bad[i] = -INFINITY;
  cr_assert_eq(tinker__eng_pick(&s, 0, 0, bad, N, scratch), -1);
}

/* top_p is of what top_k has left: 0.5 / 0.8 is enough for 0.6 here. */
Test(sampler, top_p_after_top_k) {
  const float three[3] = {logf(0.2f), logf(0.5f), logf(0.3f)};
  tinker__eng_sampling_t p = {1.0f, 2, 0.6, 3};
  for (uint64_t i = 0; i < 200; i++) {
    cr_assert_eq(tinker__eng_pick(&p, 0, i, three, 3, scratch), 1);
  }
  size_t seen = 0;
  p.top_p = 0.7;
  for (uint64_t i = 0; i < 200; i++) {
    int32_t id = tinker__eng_pick(&p, 0, i, three, 3, scratch);
    cr_assert(id == 1 || id == 2);
    seen += id == 2;
  }
  cr_assert_gt(seen, 0u);
}

/* Counts of 20,000 draws against the probabilities, 5 standard deviations. */
Test(sampler, frequencies) {
  enum { DRAWS = 20000 };
  const struct {
    int64_t k;
    double p;
    unsigned kept; /* bits of ids */
  } cases[] = {{-1, 1, 0x2f}, {3, 1, 0x0e}, {-1, 0.9, 0x0e}, {4, 0.8, 0x0e}};
  for (size_t c = 0; c < sizeof cases / sizeof *cases; c++) {
    size_t count[N] = {0};
    double total = 0;
    for (uint64_t i = 0; i < DRAWS; i++) {
      count[pick(1, cases[c].k, cases[c].p, i)]++;
    }
    for (int i = 0; i < N; i++) {
      if (cases[c].kept >> i & 1) total += exp((double)row[i]);
    }
    for (int i = 0; i < N; i++) {
      double p = cases[c].kept >> i & 1 ? exp((double)row[i]) / total : 0;
      double off = fabs((double)count[i] - p * DRAWS);
      cr_assert_leq(off, 5 * sqrt(DRAWS * p * (1 - p)) + 1e-9,
                    "case %zu, token %d: %zu draws", c, i, count[i]);
    }
  }
}

/* What a draw means, in one sum from the first id to the last. */
static int32_t plain_draw(const float *logits, size_t n, float top, double u) {
  double total = 0, sum = 0;
  int32_t last = 0;
  for (size_t i = 0; i < n; i++) {
    total += (double)tinker__cpu_expf(logits[i] - top);
  }
  for (size_t i = 0; i < n; i++) {
    float e = tinker__cpu_expf(logits[i] - top);
    if (e == 0) continue;
    sum += (double)e;
    last = (int32_t)i;
    if (sum > u * total) break;
  }
  return last;
}

Test(sampler, long_rows_draw_as_one_sum_does) {
  static const size_t lengths[] = {1, 2, 255, 256, 257, 512, 3000};
  static float logits[3000];
  static char room[3000 * 8];
  tinker__eng_sampling_t s = {1, -1, 1, 9};
  for (size_t c = 0; c < sizeof lengths / sizeof *lengths; c++) {
    size_t n = lengths[c];
    float top = -INFINITY;
    for (size_t i = 0; i < n; i++) {
      float x = (float)(tinker__eng_pick_uniform(c, i, 0) * 8);
      logits[i] = i % 5 == 4 ? -INFINITY : i % 7 == 6 ? -500 : x;
      if (logits[i] > top) top = logits[i];
    }
    for (uint64_t at = 0; at < 300; at++) {
      double u = tinker__eng_pick_uniform(s.seed, 1, at);
      cr_assert_eq(tinker__eng_pick(&s, 1, at, logits, n, room),
                   plain_draw(logits, n, top, u), "%zu logits, draw %d", n,
                   (int)at);
    }
    for (size_t bad = 0; bad < n; bad += 1 + n / 9) {
      float was = logits[bad];
      logits[bad] = NAN;
      cr_assert_eq(tinker__eng_pick(&s, 1, 0, logits, n, room), -1);
      logits[bad] = was;
    }
  }
  /* Sums that overflow both ways are no NaN in the row. */
  float huge[] = {-3e38f, 3e38f, -3e38f, 3e38f};
  cr_assert_eq(
      tinker__eng_pick(&s, 1, 0, huge, 4, room),
      plain_draw(huge, 4, 3e38f, tinker__eng_pick_uniform(s.seed, 1, 0)));
}

Test(sampler, noise) {
  /* Known answer of Philox4x32-10 for counter 0 and key 0: 6627e8d5 e169c58d.
   */
  double want = (double)(0x6627e8d5e169c58dull >> 11) * 0x1p-53;
  cr_assert_eq(tinker__eng_pick_uniform(0, 0, 0), want);
  for (uint64_t i = 1; i < 1000; i++) {
    double u = tinker__eng_pick_uniform(7, i, 3);
    cr_assert(u >= 0 && u < 1);
    cr_assert_neq(u, tinker__eng_pick_uniform(7, 3, i == 3 ? 4 : i));
    cr_assert_neq(u, tinker__eng_pick_uniform(8, i, 3));
  }
}

Test(sampler, top) {
  int32_t ids[N];
  float values[N];
  const int32_t want[N] = {1, 3, 2, 0, 5, 4};
  for (size_t k = 0; k <= N; k++) {
    tinker__eng_pick_top(row, N, k, ids, values, scratch);
    for (size_t i = 0; i < k; i++) {
      cr_assert_eq(ids[i], want[i]);
      cr_assert_eq(values[i], row[want[i]]);
    }
  }
}

/* Draws for a prompt: the whole distribution, in the right proportions, the
 * same for fewer of them, and not the noise of any sample. */
Test(sampler, draws) {
  enum { DRAWS = 20000 };
  static int32_t ids[DRAWS], few[10];
  size_t count[N] = {0}, as_sample = 0;
  double total = 0;
  tinker__eng_sampling_t s = {1, 1, 1e-9, 42}; /* the cuts do not apply */
  cr_assert_eq(tinker__eng_pick_draws(&s, 7, row, N, DRAWS, ids, scratch), 0);
  cr_assert_eq(tinker__eng_pick_draws(&s, 7, row, N, 10, few, scratch), 0);
  cr_assert_arr_eq(ids, few, sizeof few);
  for (int i = 0; i < N; i++) total += exp((double)row[i]);
  tinker__eng_sampling_t plain = {1, -1, 1, 42};
  for (size_t i = 0; i < DRAWS; i++) {
    count[ids[i]]++;
    as_sample += ids[i] == tinker__eng_pick(&plain, i, 7, row, N, scratch);
  }
  cr_assert_lt(as_sample, DRAWS * 3 / 4);
  for (int i = 0; i < N; i++) {
    double p = exp((double)row[i]) / total;
    cr_assert_leq(fabs((double)count[i] - p * DRAWS),
                  5 * sqrt(DRAWS * p * (1 - p)) + 1e-9, "token %d: %zu", i,
                  count[i]);
  }
  s.temperature = 0;
  cr_assert_eq(tinker__eng_pick_draws(&s, 7, row, N, 10, few, scratch), 0);
  for (int i = 0; i < 10; i++) cr_assert_eq(few[i], 1);
  float bad[N] = {0, NAN, 0, 0, 0, 0};
  cr_assert_eq(tinker__eng_pick_draws(&s, 7, bad, N, 10, few, scratch), -1);
}

/* One logit that is not finite, or none that is: nothing is drawn, at any
 * temperature, as a sample or for a prompt. */
Test(sampler, rows_that_are_not_finite) {
  enum { LEN = 40 };
  static const float bad[] = {NAN, INFINITY, -INFINITY};
  static _Alignas(double) char room[LEN * 12];
  float logits[LEN];
  int32_t ids[3];
  for (int k = 0; k < 3; k++) {
    for (int warm = 0; warm < 2; warm++) {
      tinker__eng_sampling_t s = {(float)warm, -1, 1, 7};
      for (int i = 0; i < LEN; i++) logits[i] = k == 2 ? bad[k] : (float)i;
      logits[17] = bad[k];
      cr_expect_eq(tinker__eng_pick(&s, 0, 0, logits, LEN, room), -1, "%d", k);
      cr_expect_eq(tinker__eng_pick_draws(&s, 0, logits, LEN, 3, ids, room), -1,
                   "%d", k);
    }
  }
}

/* Draws for a prompt have noise of their own, whatever the scratch held. */
Test(sampler, no_sample_has_the_noise_of_a_draw) {
  enum { LEN = 1000, DRAWS = 50 };
  static _Alignas(double) char room[LEN * 12];
  static float flat[LEN];
  tinker__eng_sampling_t s = {1, -1, 1, 7};
  int32_t ids[DRAWS], again[DRAWS];
  int same = 0;
  memset(room, 0xff, sizeof room);
  cr_assert_eq(tinker__eng_pick_draws(&s, 9, flat, LEN, DRAWS, ids, room), 0);
  memset(room, 0, sizeof room);
  cr_assert_eq(tinker__eng_pick_draws(&s, 9, flat, LEN, DRAWS, again, room), 0);
  cr_assert_eq(memcmp(ids, again, sizeof ids), 0);
  for (uint64_t i = 0; i < DRAWS; i++) {
    same += ids[i] == tinker__eng_pick(&s, i, 9, flat, LEN, room);
  }
  cr_assert_lt(same, 10);
}
