/* Row functions: right against double arithmetic, sums in the sixteen chains
 * written out here, and the same bits from every kernel set. */
#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

#include "cpu/kernels/kernels.h"
#include "random.h"

#define MAX_N 300

static float from_bits(uint32_t bits) {
  float f;
  memcpy(&f, &bits, sizeof f);
  return f;
}

/* Distance in units of the last place of the float nearest to want. */
static double ulps(float got, double want) {
  float near = fabsf((float)want);
  double unit = (double)nextafterf(near, INFINITY) - (double)near;
  return fabs((double)got - want) / unit;
}

/* Worst error over floats from bits lo to hi. */
static double worst(void (*fn)(float *, const float *, size_t),
                    double (*truth)(double), uint32_t lo, uint32_t hi,
                    uint32_t step) {
  double most = 0;
  for (uint32_t bits = lo; bits < hi; bits += step) {
    float x = from_bits(bits), y;
    double want = truth((double)x);
    fn(&y, &x, 1);
    if (fabs(want) > 0x1.fffffep127) {
      cr_assert(isinf(y) || fabsf(y) > 0x1.fffffcp127f, "%a", (double)x);
      continue;
    }
    if (want != 0 && ulps(y, want) > most) most = ulps(y, want);
  }
  return most;
}

static void check_specials(const tinker__cpu_kernels_t *ks) {
  static const float x[] = {0, -0.0f, INFINITY, -INFINITY, NAN, -1, 1, 1e-45f};
  float e[8], l[8];
  ks->exp(e, x, 8);
  ks->log(l, x, 8);
  cr_assert(e[0] == 1 && e[1] == 1 && e[2] == INFINITY && e[3] == 0);
  cr_assert(isnan(e[4]) && isnan(l[4]));
  cr_assert(l[0] == -INFINITY && l[1] == -INFINITY && l[2] == INFINITY);
  cr_assert(isnan(l[3]) && isnan(l[5]) && l[6] == 0);
  cr_assert(ulps(l[7], log(0x1p-149)) < 1);
}

Test(rows, exp_and_log_are_within_one_ulp_everywhere) {
  const tinker__cpu_kernels_t *ks = tinker__cpu_kernels_get();
  double up = worst(ks->exp, exp, 0, 0x42b40000, 4093);
  double down = worst(ks->exp, exp, 0x80000000, 0xc2d20000, 4093);
  double all = worst(ks->log, log, 1, 0x7f800000, 4093);
  double one = worst(ks->log, log, 0x3f700000, 0x3f880000, 61);
  cr_assert_lt(up, 1.0, "exp of positives: %g", up);
  cr_assert_lt(down, 1.0, "exp of negatives: %g", down);
  cr_assert_lt(all, 1.0, "log: %g", all);
  cr_assert_lt(one, 1.0, "log near 1: %g", one);
  for (size_t s = 0; (ks = tinker__cpu_kernels_at(s)) != NULL; s++) {
    check_specials(ks);
  }
}

Test(rows, double_functions_are_accurate) {
  uint64_t seed = 3;
  for (int i = 0; i < 200000; i++) {
    double s, c, x = ((double)random_float(&seed) + 1) * 5e5;
    if (i % 2) x = (double)random_float(&seed) * 20;
    tinker__cpu_sincos(x, &s, &c);
    cr_assert(fabs(s - sin(x)) < 3e-16 && fabs(c - cos(x)) < 3e-16, "%a", x);
    x = (double)random_float(&seed) * 1e9; /* the whole range */
    tinker__cpu_sincos(x, &s, &c);
    cr_assert(fabs(s - sin(x)) < 3e-16 && fabs(c - cos(x)) < 3e-16, "%a", x);
    double e = (double)random_float(&seed) * 700, v = exp(e);
    cr_assert(fabs(tinker__cpu_exp(e) / v - 1) < 5e-16, "%a", e);
    cr_assert(fabs(tinker__cpu_log(v) - log(v)) <= 5e-16 * fabs(log(v)), "%a",
              v);
  }
  cr_assert(fabs(tinker__cpu_pow(1e6, -0.75) / pow(1e6, -0.75) - 1) < 1e-14);
  cr_assert(tinker__cpu_exp(-800) == 0 && tinker__cpu_exp(800) == INFINITY);
  cr_assert(tinker__cpu_log(0) == -INFINITY && isnan(tinker__cpu_log(-1)));
  cr_assert(tinker__cpu_log(INFINITY) == INFINITY &&
            isnan(tinker__cpu_exp(NAN)));
}

/* FNV-1a over the bits, so that machines can be compared through a number. */
static uint64_t digest(uint64_t hash, const float *v, size_t n) {
  for (size_t i = 0; i < n; i++) {
    uint32_t bits;
    memcpy(&bits, &v[i], sizeof bits);
    for (int b = 0; b < 32; b += 8) {
      hash = (hash ^ (bits >> b & 255)) * 0x100000001b3u;
    }
  }
  return hash;
}

/* Made once on x86-64 and AArch64: another number means other bits there. */
#define ALL_ROWS 0x6df9aa8f5d3014ceu
#define ROPE_TABLES 0xd0f6870370140422u

Test(rows, rope_tables_are_rounded_once) {
  float freq[64], c[64], s[64];
  uint64_t hash = 0xcbf29ce484222325u;
  tinker__cpu_rope_freqs(freq, 64, 1e6);
  for (size_t i = 0; i < 64; i++) {
    cr_assert(ulps(freq[i], pow(1e6, -(double)i / 64)) < 0.51);
  }
  for (uint64_t pos = 0; pos < 1000000; pos += 99991) {
    tinker__cpu_rope_angles(c, s, freq, 64, pos);
    for (size_t i = 0; i < 64; i++) {
      double angle = (double)pos * (double)freq[i];
      cr_assert(fabs((double)c[i] - cos(angle)) < 6e-8);
      cr_assert(fabs((double)s[i] - sin(angle)) < 6e-8);
    }
    hash = digest(digest(hash, c, 64), s, 64);
  }
  cr_assert_eq(hash, ROPE_TABLES, "rope: 0x%llxu", (unsigned long long)hash);
}

Test(rows, every_half_value_widens_exactly) {
  static float wide[65536];
  static uint16_t half[65536];
  const tinker__cpu_kernels_t *ks;
  for (uint32_t i = 0; i < 65536; i++) half[i] = (uint16_t)i;
  for (size_t s = 0; (ks = tinker__cpu_kernels_at(s)) != NULL; s++) {
    ks->widen(wide, half, TINKER__F16, 65535);
    for (uint32_t i = 0; i < 65535; i++) {
      int e = (int)(i >> 10 & 31);
      double f = (double)(i & 1023) / 1024, sign = i & 0x8000 ? -1 : 1;
      double want = sign * (e ? ldexp(1 + f, e - 15) : ldexp(f, -14));
      if (e == 31) {
        cr_assert(f > 0 ? isnan(wide[i]) : wide[i] == sign * INFINITY);
      } else {
        cr_assert((double)wide[i] == want, "%s: %x", ks->name, i);
      }
    }
    ks->widen(wide, half, TINKER__BF16, 65535);
    for (uint32_t i = 0; i < 65535; i++) {
      if (!isnan(wide[i])) {
        cr_assert(wide[i] == from_bits(i << 16) &&
                  tinker__cpu_f32_to_bf16(wide[i]) == i);
      }
    }
  }
  cr_assert_eq(tinker__cpu_f32_to_bf16(from_bits(0x3f808000)), 0x3f80);
  cr_assert_eq(tinker__cpu_f32_to_bf16(from_bits(0x3f818000)), 0x3f82);
  cr_assert_eq(tinker__cpu_f32_to_bf16(0x1.fffffep127f), 0x7f80);
  cr_assert(isnan(tinker__cpu_bf16_to_f32(tinker__cpu_f32_to_bf16(NAN))));
  uint16_t low = tinker__cpu_f32_to_bf16(from_bits(0x7f800001));
  cr_assert(isnan(tinker__cpu_bf16_to_f32(low)), "a NaN of the low half alone");
}

/* The sums as kernels.h words them. */
static float sixteen_chains(const float *x, const float *y, size_t n) {
  float c[16] = {0};
  for (size_t i = 0; i < n; i++) {
    c[i % 16] = y ? fmaf(x[i], y[i], c[i % 16]) : c[i % 16] + x[i];
  }
  for (size_t w = 8; w > 0; w /= 2) {
    for (size_t j = 0; j < w; j++) c[j] += c[j + w];
  }
  return c[0];
}

/* All that the row functions give for one input, one after the other. */
typedef struct {
  float v[26][MAX_N];
} results_t;

static void fill(float *p, size_t n, uint64_t seed, float scale) {
  for (size_t i = 0; i < n; i++) p[i] = random_float(&seed) * scale;
}

static void elementwise(const tinker__cpu_kernels_t *ks, const float *x,
                        const float *y, size_t n, results_t *r) {
  ks->exp(r->v[0], x, n);
  ks->log(r->v[1], r->v[0], n);
  ks->silu(r->v[2], x, n);
  memcpy(r->v[3], x, n * sizeof *x);
  ks->add(r->v[3], y, n);
  memcpy(r->v[4], x, n * sizeof *x);
  ks->mul(r->v[4], y, n);
  memcpy(r->v[5], x, n * sizeof *x);
  ks->scale(r->v[5], 0.3f, n);
  memcpy(r->v[6], x, n * sizeof *x);
  ks->axpy(r->v[6], 0.7f, y, n);
  ks->silu_mul(r->v[7], x, y, n);
  ks->silu_mul_back(r->v[8], r->v[9], r->v[3], x, y, n);
  memcpy(r->v[10], x, n * sizeof *x);
  ks->rope(r->v[10], y, r->v[5], n / 2, false);
  memcpy(r->v[11], x, n * sizeof *x);
  ks->rope(r->v[11], y, r->v[5], n / 2, true);
}

static void reductions(const tinker__cpu_kernels_t *ks, const float *x,
                       const float *y, size_t n, results_t *r) {
  float *s = r->v[12];
  s[0] = ks->sum(x, n);
  s[1] = ks->sumsq(x, n);
  s[2] = ks->dot(x, y, n);
  s[3] = ks->max(x, n);
  s[4] = ks->lse(x, n);
  s[5] = ks->rmsnorm(r->v[13], x, y, n, 1e-6f);
  s[6] = ks->rmsnorm(r->v[14], x, NULL, n, 1e-6f);
  ks->rmsnorm_back(r->v[15], x, y, r->v[13], n, s[5], false);
  memcpy(r->v[16], y, n * sizeof *y);
  ks->rmsnorm_back(r->v[16], x, y, NULL, n, s[6], true);
  ks->softmax(r->v[17], x, n, 0.25f);
  ks->softmax_back(r->v[18], r->v[17], y, n, 0.25f);
  ks->xent_back(r->v[19], x, n, s[4], n / 2, 0.5f);
  tinker__cpu_adamw_t o = {
      .lr = 1e-2f,
      .beta1 = 0.9f,
      .beta2 = 0.95f,
      .eps = 1e-8f,
      .weight_decay = 0.1f,
      .grad_scale = 0.5f,
      .bias1 = 0.19f,
      .bias2 = 0.0975f,
  };
  memcpy(r->v[20], x, n * sizeof *x);
  memcpy(r->v[21], y, n * sizeof *x);
  ks->exp(r->v[22], y, n);
  ks->adamw(r->v[20], r->v[21], r->v[22], r->v[13], n, &o);
}

Test(rows, every_set_gives_the_same_bits) {
  uint64_t hash = 0xcbf29ce484222325u;
  static results_t want, got;
  static float x[MAX_N], y[MAX_N];
  const tinker__cpu_kernels_t *ks;
  for (size_t n = 1; n <= MAX_N; n += n < 70 ? 1 : 23) {
    fill(x, n, n, n % 3 ? 4.0f : 90.0f);
    fill(y, n, n + 1000, 1.0f);
    memset(&want, 0, sizeof want);
    elementwise(tinker__cpu_kernels_by_name("scalar"), x, y, n, &want);
    reductions(tinker__cpu_kernels_by_name("scalar"), x, y, n, &want);
    cr_assert_eq(want.v[12][0], sixteen_chains(x, NULL, n));
    cr_assert_eq(want.v[12][1], sixteen_chains(x, x, n));
    cr_assert_eq(want.v[12][2], sixteen_chains(x, y, n));
    cr_assert_eq(want.v[0][n - 1], tinker__cpu_expf(x[n - 1]));
    cr_assert_eq(want.v[2][n - 1], tinker__cpu_siluf(x[n - 1]));
    cr_assert_eq(want.v[1][0], tinker__cpu_logf(want.v[0][0]));
    hash = digest(hash, want.v[0], 26 * MAX_N);
    for (size_t s = 0; (ks = tinker__cpu_kernels_at(s)) != NULL; s++) {
      memset(&got, 0, sizeof got);
      elementwise(ks, x, y, n, &got);
      reductions(ks, x, y, n, &got);
      for (size_t i = 0; i < 26; i++) {
        cr_assert_eq(memcmp(got.v[i], want.v[i], sizeof got.v[i]), 0,
                     "%s, n = %zu, result %zu", ks->name, n, i);
      }
    }
  }
  cr_assert_eq(hash, ALL_ROWS, "rows: 0x%llxu", (unsigned long long)hash);
}

static bool near(float got, double want) {
  return fabs((double)got - want) <= 2e-6 * (fabs(want) + 1);
}

static double sigmoid(double x) {
  return 1 / (1 + exp(-x));
}

static void check_norms(const results_t *r, const float *x, const float *y,
                        size_t n) {
  double ss = 0, gx = 0, top = 0, sum = 0, pd = 0;
  for (size_t i = 0; i < n; i++) ss += (double)x[i] * (double)x[i];
  double scale = 1 / sqrt(ss / (double)n + 1e-6);
  for (size_t i = 0; i < n; i++) top = fmax(top, (double)x[i]);
  for (size_t i = 0; i < n; i++) sum += exp((double)x[i]);
  cr_assert(near(r->v[12][4], log(sum)));
  for (size_t i = 0; i < n; i++) {
    double p = exp((double)x[i]) / sum;
    cr_assert(near(r->v[19][i], 0.5 * (p - (i == n / 2 ? 1 : 0))));
    cr_assert(near(r->v[13][i], (double)x[i] * scale * (double)y[i]));
    /* v[16]: dy = x, x = y, no weight, onto y. */
    gx += (double)x[i] * (double)y[i];
  }
  double s = (double)r->v[12][6], sum4 = 0;
  for (size_t i = 0; i < n; i++) {
    double d = s * (double)x[i] - (double)y[i] * s * s * s / (double)n * gx;
    cr_assert(near(r->v[16][i], (double)y[i] + d));
    sum4 += exp((double)x[i] * 0.25);
  }
  for (size_t i = 0; i < n; i++) {
    pd += exp((double)x[i] * 0.25) / sum4 * (double)y[i];
  }
  for (size_t i = 0; i < n; i++) {
    double p = exp((double)x[i] * 0.25) / sum4;
    cr_assert(near(r->v[17][i], p));
    cr_assert(near(r->v[18][i], 0.25 * p * ((double)y[i] - pd)));
  }
}

static void check_activations(const results_t *r, const float *x,
                              const float *y, size_t n) {
  size_t half = n / 2;
  for (size_t i = 0; i < n; i++) {
    double g = (double)x[i], u = (double)y[i], s = sigmoid(g), d = g + u;
    cr_assert(near(r->v[2][i], g * s) && near(r->v[7][i], g * s * u));
    cr_assert(near(r->v[8][i], d * u * s * (1 + g * (1 - s))));
    cr_assert(near(r->v[9][i], d * g * s));
    cr_assert(near(r->v[6][i], g + (double)0.7f * u));
  }
  for (size_t i = 0; i < half; i++) {
    double a = (double)x[i], b = (double)x[half + i];
    double c = (double)y[i], s = (double)r->v[5][i];
    cr_assert(near(r->v[10][i], a * c - b * s));
    cr_assert(near(r->v[10][half + i], b * c + a * s));
    cr_assert(near(r->v[11][i], a * c + b * s));
    cr_assert(near(r->v[11][half + i], b * c - a * s));
  }
}

/* PyTorch's order of the update, in double. */
static void check_adamw(const results_t *r, const float *x, const float *y,
                        size_t n) {
  for (size_t i = 0; i < n; i++) {
    double g = (double)r->v[13][i] * 0.5;
    double m = 0.9 * (double)y[i] + 0.1 * g;
    double v = 0.95 * exp((double)y[i]) + 0.05 * g * g;
    double p = (double)x[i] * (1 - 1e-2 * 0.1);
    p -= 1e-2 / 0.19 * m / (sqrt(v) / sqrt(0.0975) + 1e-8);
    cr_assert(near(r->v[20][i], p) && near(r->v[21][i], m));
    cr_assert(near(r->v[22][i], v));
  }
}

Test(rows, functions_mean_what_they_say) {
  static results_t r;
  static float x[MAX_N], y[MAX_N];
  for (size_t n = 1; n <= MAX_N; n += 1 + n / 3) {
    fill(x, n, n, 4.0f);
    fill(y, n, n + 1000, 1.0f);
    elementwise(tinker__cpu_kernels_get(), x, y, n, &r);
    reductions(tinker__cpu_kernels_get(), x, y, n, &r);
    check_norms(&r, x, y, n);
    check_activations(&r, x, y, n);
    check_adamw(&r, x, y, n);
  }
}

Test(rows, extremes_stay_sane) {
  const tinker__cpu_kernels_t *ks;
  for (size_t s = 0; (ks = tinker__cpu_kernels_at(s)) != NULL; s++) {
    float big[5] = {-1e30f, 1e30f, -INFINITY, 0, 1e30f}, y[5];
    ks->softmax(y, big, 5, 1);
    cr_assert(y[0] == 0 && y[1] == 0.5f && y[2] == 0 && y[4] == 0.5f);
    cr_assert_eq(ks->lse(big, 5), 1e30f);
    cr_assert_eq(ks->lse(big, 0), -INFINITY);
    cr_assert_eq(ks->max(big, 0), -INFINITY);
    cr_assert_eq(ks->sum(big, 0), 0);
    big[3] = NAN;
    cr_assert(isnan(ks->sum(big, 5)) && isnan(ks->lse(big, 5)));
    cr_assert_eq(ks->max(big, 5), 1e30f, "a NaN is skipped");
    float gate[4] = {-200, 200, -INFINITY, 1e-40f}, up[4] = {1, 1, 1, 1};
    ks->silu_mul(y, gate, up, 4);
    cr_assert(y[0] == 0 && y[1] == 200 && isnan(y[2]) && y[3] == 0.5e-40f);
  }
}

/* A NaN is skipped wherever it is: first, last, in each chain, in the rest. */
Test(rows, max_skips_what_is_not_a_number) {
  const tinker__cpu_kernels_t *ks;
  float x[37];
  for (size_t s = 0; (ks = tinker__cpu_kernels_at(s)) != NULL; s++) {
    for (size_t at = 0; at < 37; at++) {
      for (size_t i = 0; i < 37; i++) x[i] = i == (at + 1) % 37 ? -2 : -3;
      x[at] = NAN;
      cr_assert_eq(ks->max(x, 37), -2.0f, "%s, %zu", ks->name, at);
    }
    for (size_t i = 0; i < 37; i++) x[i] = NAN;
    cr_assert_eq(ks->max(x, 37), -INFINITY, "%s", ks->name);
  }
}

Test(rows, sets_are_found_by_name) {
  const tinker__cpu_kernels_t *ks, *last = NULL;
  for (size_t s = 0; (ks = tinker__cpu_kernels_at(s)) != NULL; s++) {
    cr_assert_eq(tinker__cpu_kernels_by_name(ks->name), ks);
    last = ks;
  }
  cr_assert_eq(tinker__cpu_kernels_get(), last);
  cr_assert_str_eq(tinker__cpu_kernels_at(0)->name, "scalar");
  cr_assert_null(tinker__cpu_kernels_by_name("abacus"));
}
