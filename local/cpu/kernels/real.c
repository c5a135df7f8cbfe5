/* real: exp, log, sin and cos in double for tables made once. Fixed
 * expressions of explicit fma, so the same bits on every machine. */
#include <math.h>
#include <string.h>

#include "cpu/kernels/kernels.h"

static const double round_magic = 0x1.8p52;
static const double ln2_hi = 0x1.62e42fefa39efp-1;
static const double ln2_lo = 0x1.abc9e3b39803fp-56;

static double two_to(int n) {
  uint64_t bits = (uint64_t)(n + 1023) << 52;
  double d;
  memcpy(&d, &bits, sizeof d);
  return d;
}

double tinker__cpu_exp(double x) {
  if (x != x) return x;
  if (x > 710) return INFINITY;
  if (x < -746) return 0;
  double n = fma(x, 0x1.71547652b82fep+0, round_magic) - round_magic;
  double r = fma(n, -ln2_lo, fma(n, -ln2_hi, x));
  double p = 1.0 / 6227020800.0; /* 1 / 13! */
  static const double inv[] = {1.0 / 479001600,
                               1.0 / 39916800,
                               1.0 / 3628800,
                               1.0 / 362880,
                               1.0 / 40320,
                               1.0 / 5040,
                               1.0 / 720,
                               1.0 / 120,
                               1.0 / 24,
                               1.0 / 6,
                               0.5};
  for (size_t i = 0; i < sizeof inv / sizeof *inv; i++) p = fma(p, r, inv[i]);
  p = fma(p, r * r, r) + 1.0;
  int k = (int)n, half = k / 2;
  return p * two_to(half) * two_to(k - half);
}

double tinker__cpu_log(double x) {
  if (!(x > 0) || x == INFINITY) return x == 0 ? -INFINITY : x < 0 ? NAN : x;
  int e;
  double m = frexp(x, &e);
  if (m < 0x1.6a09e667f3bcdp-1) {
    m = m * 2;
    e--;
  }
  double s = (m - 1) / (m + 1), z = s * s, p = 1.0 / 23;
  for (int odd = 21; odd >= 3; odd -= 2) p = fma(p, z, 1.0 / odd);
  double r = fma(2 * s * z, p, e * ln2_lo);
  return fma(e, ln2_hi, fma(2.0, s, r));
}

double tinker__cpu_pow(double base, double exponent) {
  return tinker__cpu_exp(exponent * tinker__cpu_log(base));
}

/* Taylor polynomials on [-pi/4, pi/4]. */
static double sin_poly(double r) {
  static const double c[] = {1.0 / 355687428096000,
                             -1.0 / 1307674368000,
                             1.0 / 6227020800,
                             -1.0 / 39916800,
                             1.0 / 362880,
                             -1.0 / 5040,
                             1.0 / 120,
                             -1.0 / 6};
  double z = r * r, p = c[0];
  for (size_t i = 1; i < sizeof c / sizeof *c; i++) p = fma(p, z, c[i]);
  return fma(p * z, r, r);
}

static double cos_poly(double r) {
  static const double c[] = {
      1.0 / 20922789888000, -1.0 / 87178291200, 1.0 / 479001600, -1.0 / 3628800,
      1.0 / 40320,          -1.0 / 720,         1.0 / 24};
  double z = r * r, p = c[0];
  for (size_t i = 1; i < sizeof c / sizeof *c; i++) p = fma(p, z, c[i]);
  return fma(p, z * z, fma(z, -0.5, 1.0));
}

void tinker__cpu_sincos(double x, double *sin_out, double *cos_out) {
  double n = fma(x, 0x1.45f306dc9c883p-1, round_magic) - round_magic;
  double r = fma(n, -0x1.921fb54442d18p+0, x);
  r = fma(n, -0x1.1a62633145c07p-54, r);
  double s = sin_poly(r), c = cos_poly(r);
  switch ((int64_t)n & 3) {
  case 0: *sin_out = s, *cos_out = c; break;
  case 1: *sin_out = c, *cos_out = -s; break;
  case 2: *sin_out = -s, *cos_out = -c; break;
  default: *sin_out = -c, *cos_out = s;
  }
}

void tinker__cpu_rope_freqs(float *inv_freq, size_t half, double base) {
  double log_base = tinker__cpu_log(base);
  for (size_t i = 0; i < half; i++) {
    inv_freq[i] =
        (float)tinker__cpu_exp(-((double)i / (double)half) * log_base);
  }
}

void tinker__cpu_rope_angles(float *cos, float *sin, const float *inv_freq,
                             size_t half, uint64_t pos) {
  for (size_t i = 0; i < half; i++) {
    double s, c;
    tinker__cpu_sincos((double)pos * (double)inv_freq[i], &s, &c);
    cos[i] = (float)c;
    sin[i] = (float)s;
  }
}
