/* number: numbers in and out of text (declared in str.h). Pure functions.
 *
 * Independent of the locale by construction: the C library only ever sees
 * digits and an exponent, never a decimal point, and its point is skipped when
 * it prints one. Results are exact: reading rounds to nearest even as strtod
 * does, writing gives the shortest text that reads back to the same value. */
#include <float.h>
#include <math.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <tinker/error.h>

#include "base/str.h"

static const double pow10_exact[] = {
    1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,  1e8,  1e9,  1e10, 1e11,
    1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};

static bool digit(char c) {
  return c >= '0' && c <= '9';
}

int tinker__parse_u64(tinker__str_t s, uint64_t *out) {
  uint64_t v = 0;
  if (!s.len) return TINKER_EINVAL;
  for (size_t i = 0; i < s.len; i++) {
    if (!digit(s.ptr[i])) return TINKER_EINVAL;
  }
  for (size_t i = 0; i < s.len; i++) {
    unsigned d = (unsigned)(s.ptr[i] - '0');
    if (v > (UINT64_MAX - d) / 10) return TINKER_EOVERFLOW;
    v = v * 10 + d;
  }
  *out = v;
  return 0;
}

int tinker__parse_i64(tinker__str_t s, int64_t *out) {
  bool neg = s.len && s.ptr[0] == '-';
  uint64_t v;
  tinker__str_t body = {s.ptr + neg, s.len - neg};
  int rc = tinker__parse_u64(body, &v);
  if (rc) return rc;
  if (v > (uint64_t)INT64_MAX + neg) return TINKER_EOVERFLOW;
  *out = neg ? (int64_t)(0 - v) : (int64_t)v;
  return 0;
}

/* A decimal number taken apart: digits without leading zeros, value =
 * 0.d1d2d3... times 10^point. More digits than fit are dropped; `sticky` says
 * that a dropped one was not 0. 770 digits decide every double. */
#define MAX_DIGITS 800
typedef struct tinker__decimal_s {
  char digits[MAX_DIGITS];
  size_t n;
  long point;
  bool neg;
  bool sticky;
} tinker__decimal_t;

static void put_digit(tinker__decimal_t *d, char c) {
  if (d->n < MAX_DIGITS) {
    d->digits[d->n++] = c;
  } else if (c != '0') {
    d->sticky = true;
  }
}

static const char *take_integer(tinker__decimal_t *d, const char *p,
                                const char *end) {
  if (p == end || !digit(*p)) return NULL;
  if (*p == '0') return p + 1; /* "01" stops here and fails on the 1 */
  for (; p < end && digit(*p); p++) {
    put_digit(d, *p);
    d->point++;
  }
  return p;
}

static const char *take_fraction(tinker__decimal_t *d, const char *p,
                                 const char *end) {
  if (p == end || !digit(*p)) return NULL;
  for (; p < end && digit(*p); p++) {
    if (d->n == 0 && *p == '0') {
      d->point--;
    } else {
      put_digit(d, *p);
    }
  }
  return p;
}

static const char *take_exponent(tinker__decimal_t *d, const char *p,
                                 const char *end) {
  bool neg = p < end && *p == '-';
  if (p < end && (*p == '-' || *p == '+')) p++;
  if (p == end || !digit(*p)) return NULL;
  long e = 0;
  for (; p < end && digit(*p); p++) {
    if (e < 100000000) e = e * 10 + (*p - '0');
  }
  d->point += neg ? -e : e;
  return p;
}

static bool take_apart(tinker__decimal_t *d, tinker__str_t s) {
  const char *p = s.ptr, *end = s.ptr + s.len;
  d->n = 0;
  d->point = 0;
  d->sticky = false;
  d->neg = p < end && *p == '-';
  p = take_integer(d, p + d->neg, end);
  if (p && p < end && *p == '.') p = take_fraction(d, p + 1, end);
  if (p && p < end && (*p == 'e' || *p == 'E')) {
    p = take_exponent(d, p + 1, end);
  }
  return p == end;
}

/* The hard cases, by the C library. */
static int parse_slow(tinker__decimal_t *d, double *out) {
  char text[MAX_DIGITS + 32];
  if (d->point > 400) return TINKER_EOVERFLOW;
  if (d->point < -400) {
    *out = d->neg ? -0.0 : 0.0;
    return 0;
  }
  memcpy(text, d->digits, d->n);
  size_t n = d->n;
  if (d->sticky) text[n++] = '1';
  snprintf(text + n, sizeof(text) - n, "e%ld", d->point - (long)n);
  double v = strtod(text, NULL);
  if (isinf(v)) return TINKER_EOVERFLOW;
  *out = d->neg ? -v : v;
  return 0;
}

/* Mantissa and power of ten both exact in a double: one rounding. */
static bool parse_fast(const char *digits, size_t n, long point, bool neg,
                       double *out) {
  if (n > 19) return false;
  uint64_t m = 0;
  for (size_t i = 0; i < n; i++) m = m * 10 + (uint64_t)(digits[i] - '0');
  long e = point - (long)n;
  if (m > (UINT64_C(1) << 53) || e < -22 || e > 22) return false;
  double v = e < 0 ? (double)m / pow10_exact[-e] : (double)m * pow10_exact[e];
  *out = neg ? -v : v;
  return true;
}

/* Plain decimals of at most 19 digits, by far the most: one pass. False for
 * anything else, malformed text included. */
static bool parse_plain(tinker__str_t s, double *out) {
  const char *p = s.ptr, *end = s.ptr + s.len;
  bool neg = p < end && *p == '-';
  p += neg;
  const char *first = p;
  uint64_t m = 0;
  for (; p < end && digit(*p); p++) m = m * 10 + (uint64_t)(*p - '0');
  ptrdiff_t whole = p - first, frac = 0;
  if (whole == 0 || (whole > 1 && *first == '0')) return false;
  if (p < end && *p == '.') {
    first = ++p;
    for (; p < end && digit(*p); p++) m = m * 10 + (uint64_t)(*p - '0');
    frac = p - first;
    if (frac == 0) return false;
  }
  if (p != end || whole + frac > 19 || m > (UINT64_C(1) << 53)) return false;
  double v = (double)m / pow10_exact[frac];
  *out = neg ? -v : v;
  return true;
}

int tinker__parse_f64(tinker__str_t s, double *out) {
  tinker__decimal_t d;
  if (parse_plain(s, out)) return 0;
  if (!take_apart(&d, s)) return TINKER_EINVAL;
  if (d.n == 0) {
    *out = d.neg ? -0.0 : 0.0;
  } else if (!parse_fast(d.digits, d.n, d.point, d.neg, out)) {
    return parse_slow(&d, out);
  }
  return 0;
}

static const char two_digits[] =
    "00010203040506070809101112131415161718192021222324252627282930313233343536"
    "37383940414243444546474849505152535455565758596061626364656667686970717273"
    "7475767778798081828384858687888990919293949596979899";

char *tinker__put_u64(char *out, uint64_t v) {
  char tmp[20];
  char *p = tmp + sizeof(tmp);
  while (v >= 100) {
    memcpy(p -= 2, two_digits + 2 * (v % 100), 2);
    v /= 100;
  }
  if (v >= 10) {
    memcpy(p -= 2, two_digits + 2 * v, 2);
  } else {
    *--p = (char)('0' + v);
  }
  size_t n = (size_t)(tmp + sizeof(tmp) - p);
  memcpy(out, p, n);
  return out + n;
}

/* Token ids are small: no temporary, no loop. */
char *tinker__put_u32(char *out, uint32_t v) {
  if (v < 10) {
    *out = (char)('0' + v);
    return out + 1;
  }
  if (v < 100) {
    memcpy(out, two_digits + 2 * v, 2);
    return out + 2;
  }
  if (v < 10000) {
    uint32_t hi = v / 100;
    size_t n = hi < 10 ? 1 : 2;
    memcpy(out, two_digits + 2 * hi + (2 - n), 2);
    memcpy(out + n, two_digits + 2 * (v - hi * 100), 2);
    return out + n + 2;
  }
  uint32_t hi = v / 10000, lo = v - hi * 10000;
  out = tinker__put_u32(out, hi);
  memcpy(out, two_digits + 2 * (lo / 100), 2);
  memcpy(out + 2, two_digits + 2 * (lo % 100), 2);
  return out + 4;
}

size_t tinker__format_i64(char out[24], int64_t value) {
  char *p = out;
  if (value < 0) *p++ = '-';
  uint64_t mag = value < 0 ? 0 - (uint64_t)value : (uint64_t)value;
  p = tinker__put_u64(p, mag);
  *p = 0;
  return (size_t)(p - out);
}

/* Lays digits out: plain from 1e-5 up to 1e16, else with an exponent. point as
 * in tinker__decimal_t. */
static size_t lay_out(char *out, const char *digits, int n, int point,
                      bool neg) {
  char *p = out;
  if (neg) *p++ = '-';
  if (point > 16 || point < -4) {
    *p++ = digits[0];
    if (n > 1) {
      *p++ = '.';
      memcpy(p, digits + 1, (size_t)(n - 1));
      p += n - 1;
    }
    int e = point - 1;
    *p++ = 'e';
    if (e < 0) *p++ = '-';
    p = tinker__put_u64(p, (uint64_t)(e < 0 ? -e : e));
  } else if (point <= 0) {
    memcpy(p, "0.00000", 7);
    p += 2 - point;
    memcpy(p, digits, (size_t)n);
    p += n;
  } else {
    for (int i = 0; i < n || i < point; i++) {
      if (i == point) *p++ = '.';
      *p++ = i < n ? digits[i] : '0';
    }
  }
  *p = 0;
  return (size_t)(p - out);
}

/* value = n significant digits in `digits`, trailing zeros cut; returns their
 * number. By the C library, whatever its decimal point is. */
static int print_digits(double value, int n, char *digits, int *point) {
  char text[64];
  snprintf(text, sizeof(text), "%.*e", n - 1, value);
  const char *p = text;
  int len = 0;
  for (; *p && *p != 'e'; p++) {
    if (digit(*p)) digits[len++] = *p;
  }
  *point = *p ? (int)strtol(p + 1, NULL, 10) + 1 : 1;
  while (len > 1 && digits[len - 1] == '0') len--;
  return len;
}

/* value reads back from these digits, as a float when `single`. */
static bool reads_back(const char *digits, int n, int point, double value,
                       bool single) {
  double back;
  if (!parse_fast(digits, (size_t)n, point, false, &back)) {
    tinker__decimal_t d = {.n = (size_t)n, .point = point};
    memcpy(d.digits, digits, (size_t)n);
    if (parse_slow(&d, &back)) return false;
  }
  return single ? (float)back == (float)value : back == value;
}

/* floor(log10(v)) for 1e-13 < v < 1e22. */
static int log10_floor(double v) {
  int e;
  frexp(v, &e);
  int guess = (int)(((int64_t)(e - 1) * 78913) >> 18);
  double next =
      guess + 1 >= 0 ? pow10_exact[guess + 1] : 1.0 / pow10_exact[-guess - 1];
  return v >= next ? guess + 1 : guess;
}

/* n digits by one multiplication, right nearly always and checked by reading
 * them back. False where the table does not reach or they don't read back. */
static bool quick_digits(double v, int n, bool single, char *digits, int *len,
                         int *point) {
  int k = n - 1 - log10_floor(v);
  if (k > 22 || k < -22) return false;
  double scaled = k >= 0 ? v * pow10_exact[k] : v / pow10_exact[-k];
  uint64_t m = (uint64_t)(scaled + 0.5);
  double back =
      k >= 0 ? (double)m / pow10_exact[k] : (double)m * pow10_exact[-k];
  if (single ? (float)back != (float)v : back != v) return false;
  int drop = 0;
  while (m >= 10 && m % 10 == 0) {
    m /= 10;
    drop++;
  }
  *len = (int)(tinker__put_u64(digits, m) - digits);
  *point = *len + drop - k;
  return true;
}

static size_t format(char *out, double value, bool single) {
  char digits[40];
  int n = 0, point = 0;
  double v = fabs(value);
  bool tiny = v < (single ? (double)FLT_MIN : DBL_MIN); /* fewer digits do */
  int first = tiny ? 1 : single ? 6 : 15, last = single ? 9 : 17;
  bool neg = signbit(value);
  if (v == 0.0) return lay_out(out, "0", 1, 1, neg);
  bool quick = v > 1e-13 && v < 1e21;
  for (int want = first; quick && want <= (single ? 9 : 15); want++) {
    if (quick_digits(v, want, single, digits, &n, &point)) {
      return lay_out(out, digits, n, point, neg);
    }
  }
  for (int want = first; want <= last; want++) {
    n = print_digits(v, want, digits, &point);
    if (reads_back(digits, n, point, v, single)) break;
  }
  return lay_out(out, digits, n, point, neg);
}

size_t tinker__format_f64(char out[32], double value) {
  return format(out, value, false);
}

size_t tinker__format_f32(char out[32], float value) {
  return format(out, (double)value, true);
}
