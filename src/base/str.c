/* str: see str.h. Pure functions, any thread. Numbers as text are in
 * number.c. */
#include "base/str.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

tinker__str_t tinker__str(const char *s) {
  return s ? (tinker__str_t){s, strlen(s)} : TINKER__STR("");
}

bool tinker__str_eq(tinker__str_t a, tinker__str_t b) {
  return a.len == b.len && (!a.len || memcmp(a.ptr, b.ptr, a.len) == 0);
}

bool tinker__str_eqs(tinker__str_t a, const char *b) {
  return tinker__str_eq(a, tinker__str(b));
}

static unsigned char lower(char c) {
  unsigned char u = (unsigned char)c;
  return u >= 'A' && u <= 'Z' ? (unsigned char)(u + 32) : u;
}

bool tinker__str_ieq(tinker__str_t a, tinker__str_t b) {
  if (a.len != b.len) return false;
  for (size_t i = 0; i < a.len; i++) {
    if (lower(a.ptr[i]) != lower(b.ptr[i])) return false;
  }
  return true;
}

bool tinker__str_starts(tinker__str_t s, const char *prefix) {
  size_t n = strlen(prefix);
  return s.len >= n && memcmp(s.ptr, prefix, n) == 0;
}

bool tinker__str_ends(tinker__str_t s, const char *suffix) {
  size_t n = strlen(suffix);
  return s.len >= n && memcmp(s.ptr + s.len - n, suffix, n) == 0;
}

static bool tail(const unsigned char *u, size_t n) {
  for (size_t i = 1; i < n; i++) {
    if ((u[i] & 0xc0) != 0x80) return false;
  }
  return true;
}

size_t tinker__utf8_step(const char *s, const char *end) {
  const unsigned char *u = (const unsigned char *)s;
  size_t left = (size_t)(end - s);
  if (u[0] < 0x80) return 1;
  if (u[0] < 0xc2) return 0;
  if (u[0] < 0xe0) return left >= 2 && tail(u, 2) ? 2 : 0;
  if (u[0] < 0xf0) {
    if (left < 3 || !tail(u, 3)) return 0;
    bool overlong = u[0] == 0xe0 && u[1] < 0xa0;
    bool surrogate = u[0] == 0xed && u[1] >= 0xa0;
    return overlong || surrogate ? 0 : 3;
  }
  if (u[0] > 0xf4 || left < 4 || !tail(u, 4)) return 0;
  if ((u[0] == 0xf0 && u[1] < 0x90) || (u[0] == 0xf4 && u[1] >= 0x90)) return 0;
  return 4;
}

bool tinker__utf8_valid(const char *s, size_t len) {
  const char *end = s + len;
  while (s < end) {
    size_t n = tinker__utf8_step(s, end);
    if (!n) return false;
    s += n;
  }
  return true;
}

/* Shortens `len` so that it does not end inside a character. */
static size_t whole_chars(const char *s, size_t len) {
  size_t i = len;
  while (i > 0 && len - i < 4 && ((unsigned char)s[i - 1] & 0xc0) == 0x80) i--;
  if (i > 0 && (unsigned char)s[i - 1] >= 0xc0) i--;
  return i < len && tinker__utf8_step(s + i, s + len) == len - i ? len : i;
}

int tinker__why(char *why, size_t why_len, int code, const char *fmt, ...) {
  if (!why || !why_len) return code;
  va_list ap;
  va_start(ap, fmt);
  int n = vsnprintf(why, why_len, fmt, ap);
  va_end(ap);
  if (n < 0) {
    why[0] = 0;
  } else if ((size_t)n >= why_len) {
    why[whole_chars(why, why_len - 1)] = 0;
  }
  return code;
}
