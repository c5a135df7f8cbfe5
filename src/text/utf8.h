/* utf8: reads one character at a time, which is complete, cut off or wrong.
 * Header only, pure. */
#ifndef TINKER_TEXT_UTF8_H
#define TINKER_TEXT_UTF8_H

#include <stddef.h>
#include <stdint.h>

/* Looks at the character at s (len >= 1). Returns its length and sets *cp;
 * 0 when it may still become one (s ends inside it); -k when the first k bytes
 * belong to no character: they are one U+FFFD (the maximal-subpart rule of
 * Unicode, which Rust's from_utf8_lossy follows). */
static inline int tinker__utf8_next(const char *s, size_t len, uint32_t *cp) {
  const unsigned char *b = (const unsigned char *)s;
  unsigned low = 0x80, high = 0xbf;
  int need;
  if (b[0] < 0x80) {
    *cp = b[0];
    return 1;
  }
  if (b[0] < 0xc2 || b[0] > 0xf4) return -1;
  need = b[0] < 0xe0 ? 1 : b[0] < 0xf0 ? 2 : 3;
  if (b[0] == 0xe0) low = 0xa0;
  if (b[0] == 0xed) high = 0x9f; /* no surrogates */
  if (b[0] == 0xf0) low = 0x90;
  if (b[0] == 0xf4) high = 0x8f;
  *cp = b[0] & (0x3fu >> need);
  for (int i = 1; i <= need; i++) {
    if ((size_t)i == len) return 0;
    if (b[i] < low || b[i] > high) return -i;
    *cp = *cp << 6 | (b[i] & 0x3fu);
    low = 0x80;
    high = 0xbf;
  }
  return need + 1;
}

/* Writes a code point (no surrogate, at most 0x10ffff); returns its length. */
static inline size_t tinker__utf8_put(char out[4], uint32_t cp) {
  if (cp < 0x80) {
    out[0] = (char)cp;
    return 1;
  }
  if (cp < 0x800) {
    out[0] = (char)(0xc0 | cp >> 6);
    out[1] = (char)(0x80 | (cp & 0x3f));
    return 2;
  }
  if (cp < 0x10000) {
    out[0] = (char)(0xe0 | cp >> 12);
    out[1] = (char)(0x80 | (cp >> 6 & 0x3f));
    out[2] = (char)(0x80 | (cp & 0x3f));
    return 3;
  }
  out[0] = (char)(0xf0 | cp >> 18);
  out[1] = (char)(0x80 | (cp >> 12 & 0x3f));
  out[2] = (char)(0x80 | (cp >> 6 & 0x3f));
  out[3] = (char)(0x80 | (cp & 0x3f));
  return 4;
}

#endif
