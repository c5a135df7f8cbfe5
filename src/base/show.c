/* show: see show.h. */
#include "base/show.h"

#include <stdio.h>
#include <string.h>

/* All of them are below U+10000: at most three bytes. */
static bool is_hidden(unsigned c) {
  return c < 0x20 || (c >= 0x7f && c < 0xa0) || c == 0x61c || c == 0x200e ||
         c == 0x200f || (c >= 0x2028 && c <= 0x202e) ||
         (c >= 0x2066 && c <= 0x2069);
}

size_t tinker__hidden_step(const char *s, const char *end, unsigned *code) {
  const unsigned char *u = (const unsigned char *)s;
  unsigned c = u[0];
  size_t n = c < 0x80 ? 1 : tinker__utf8_step(s, end);
  if (n == 0 || n == 4) return 0;
  if (n == 2) c = (c & 0x1f) << 6 | (u[1] & 0x3f);
  if (n == 3) {
    c = (c & 0xf) << 12 | (u[1] & 0x3fu) << 6 | (u[2] & 0x3fu);
  }
  if (!is_hidden(c)) return 0;
  if (code) *code = c;
  return n;
}

bool tinker__has_hidden(tinker__str_t s) {
  for (size_t i = 0; i < s.len; i++) {
    if (tinker__hidden_step(s.ptr + i, s.ptr + s.len, NULL)) return true;
  }
  return false;
}

/* Writes the text that is shown for the character at s; returns the character's
 * length. */
static size_t shown(const char *s, const char *end, char text[8]) {
  unsigned code;
  size_t n = tinker__hidden_step(s, end, &code);
  if (n) {
    snprintf(text, 8, "\\u%04x", code);
  } else if ((n = tinker__utf8_step(s, end)) != 0) {
    memcpy(text, s, n);
    text[n] = 0;
  } else {
    n = 1;
    snprintf(text, 8, "\\x%02x", (unsigned char)*s);
  }
  return n;
}

void tinker__show(char *out, size_t out_len, tinker__str_t s) {
  const char *p = s.ptr, *end = p + s.len;
  char text[8];
  size_t at = 0;
  while (p < end) {
    p += shown(p, end, text);
    size_t n = strlen(text);
    if (at + n >= out_len) break;
    memcpy(out + at, text, n);
    at += n;
  }
  out[at] = 0;
}
