/* A token from a row of logits: what can't be drawn from, what is kept, and
 * which noise a draw has. */
#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

#include "engine/pick.h"

enum { N = 1000 };

static float row[N];
static _Alignas(16) unsigned char scratch[N * 16];

static tinker__eng_sampling_t at(float temperature) {
  return (tinker__eng_sampling_t){temperature, 0, 1, 7};
}

static int32_t pick(const tinker__eng_sampling_t *p, uint64_t sample,
                    uint64_t position, size_t n) {
  return tinker__eng_pick(p, sample, position, row, n, scratch);
}

/* The published vector of Philox4x32-10 for a counter and key of zeros. */
Test(pick, noise_is_philox) {
  uint64_t bits = UINT64_C(0x6627e8d5e169c58d) >> 11;
  cr_assert_eq(tinker__eng_pick_uniform(0, 0, 0), (double)bits * 0x1p-53);
  for (uint64_t i = 0; i < N; i++) {
    double u = tinker__eng_pick_uniform(1, 2, i);
    cr_assert(u >= 0 && u < 1);
    cr_assert_neq(u, tinker__eng_pick_uniform(2, 2, i));
    cr_assert_neq(u, tinker__eng_pick_uniform(1, 3, i));
    cr_assert_neq(u, tinker__eng_pick_uniform(1, 2, i + 1));
  }
}

Test(pick, rows_that_are_not_finite) {
  static const float bad[] = {NAN, INFINITY, -INFINITY};
  int32_t ids[3];
  for (int k = 0; k < 3; k++) {
    for (int warm = 0; warm < 2; warm++) {
      tinker__eng_sampling_t p = at((float)warm);
      for (int i = 0; i < 40; i++) row[i] = k == 2 ? bad[2] : (float)i;
      row[17] = bad[k];
      cr_expect_eq(pick(&p, 0, 0, 40), -1, "%d", k);
      cr_expect_eq(tinker__eng_pick_draws(&p, 0, row, 40, 3, ids, scratch), -1,
                   "%d", k);
    }
  }
  /* A token that can't follow is not drawn. */
  tinker__eng_sampling_t p = at(1);
  for (int i = 0; i < 40; i++) row[i] = i % 2 ? -INFINITY : 0;
  for (uint64_t i = 0; i < 200; i++) cr_assert_eq(pick(&p, 0, i, 40) % 2, 0);
}

Test(pick, the_largest) {
  static const float values[] = {1, 3, -2, 3, 2, 3};
  tinker__eng_sampling_t p = at(0);
  int32_t ids[6];
  float top[6];
  memcpy(row, values, sizeof values);
  cr_assert_eq(pick(&p, 0, 0, 6), 1, "the lowest id wins a tie");
  cr_assert_eq(tinker__eng_pick_draws(&p, 0, row, 6, 2, ids, scratch), 0);
  cr_assert(ids[0] == 1 && ids[1] == 1);
  tinker__eng_pick_top(row, 6, 6, ids, top, scratch);
  static const int32_t want[] = {1, 3, 5, 4, 0, 2};
  for (int i = 0; i < 6; i++) {
    cr_assert_eq(ids[i], want[i]);
    cr_assert_eq(top[i], values[want[i]]);
  }
}

/* Of 0.4, 0.3, 0.2, 0.1 a top_k of 2 leaves 0.57 and 0.43. */
Test(pick, top_p_comes_after_top_k) {
  tinker__eng_sampling_t p = at(1);
  bool seen[4] = {false};
  for (int i = 0; i < 4; i++) row[i] = logf(0.4f - 0.1f * (float)i);
  for (uint64_t i = 0; i < 300; i++) seen[pick(&p, 0, i, 4)] = true;
  cr_assert(seen[0] && seen[1] && seen[2] && seen[3]);
  memset(seen, 0, sizeof seen);
  p.top_k = 2;
  for (uint64_t i = 0; i < 300; i++) seen[pick(&p, 0, i, 4)] = true;
  cr_assert(seen[0] && seen[1] && !seen[2] && !seen[3]);
  p.top_p = 0.5;
  for (uint64_t i = 0; i < 300; i++) cr_assert_eq(pick(&p, 0, i, 4), 0);
  p.top_k = 0; /* without it 0.4 is not enough */
  memset(seen, 0, sizeof seen);
  for (uint64_t i = 0; i < 300; i++) seen[pick(&p, 0, i, 4)] = true;
  cr_assert(seen[0] && seen[1] && !seen[2] && !seen[3]);
}

/* Draws for a prompt have noise of their own, whatever the scratch held. */
Test(pick, no_sample_has_the_noise_of_a_draw) {
  tinker__eng_sampling_t p = at(1);
  int32_t ids[50], again[50];
  int same = 0;
  memset(row, 0, sizeof row);
  memset(scratch, 0xff, sizeof scratch);
  cr_assert_eq(tinker__eng_pick_draws(&p, 9, row, N, 50, ids, scratch), 0);
  memset(scratch, 0, sizeof scratch);
  cr_assert_eq(tinker__eng_pick_draws(&p, 9, row, N, 50, again, scratch), 0);
  cr_assert_eq(memcmp(ids, again, sizeof ids), 0);
  for (int i = 0; i < 50; i++) same += ids[i] == pick(&p, (uint64_t)i, 9, N);
  cr_assert_lt(same, 10);
}
