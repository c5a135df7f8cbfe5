/* Text for people, see show.h. */
#include "base/show.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "base/str.h"

/* s holds a valid sequence of n bytes. */
static uint32_t code_point(const unsigned char *s, size_t n) {
  static const unsigned char first[5] = {0, 0x7f, 0x1f, 0x0f, 0x07};
  uint32_t c = s[0] & first[n];
  for (size_t i = 1; i < n; i++) c = c << 6 | (s[i] & 0x3f);
  return c;
}

/* ISO 6429 controls, U+2028 and U+2029, and the bidirectional controls of
 * Unicode's annex 9. */
static bool is_shown(uint32_t c) {
  if (c < 0x20 || (c >= 0x7f && c < 0xa0)) return false;
  return c != 0x61c && !(c >= 0x200e && c <= 0x200f) &&
         !(c >= 0x2028 && c <= 0x202e) && !(c >= 0x2066 && c <= 0x2069);
}

static void escape(char out[16], uint32_t c) {
  static const char *const short_ones[][2] = {
      {"\n", "\\n"}, {"\r", "\\r"}, {"\t", "\\t"}};
  for (int i = 0; i < 3; i++) {
    if (c != (uint32_t)short_ones[i][0][0]) continue;
    snprintf(out, 16, "%s", short_ones[i][1]);
    return;
  }
  snprintf(out, 16, c < 0x100 ? "\\x%02x" : "\\u%04x", (unsigned)c);
}

void tinker__show(char *out, size_t out_len, const char *text) {
  const char *end = text + strlen(text);
  size_t len = 0;
  while (text < end) {
    char word[16] = "";
    size_t n = tinker__utf8_step(text, end);
    uint32_t c =
        n ? code_point((const unsigned char *)text, n) : (unsigned char)*text;
    if (n && is_shown(c)) {
      memcpy(word, text, n);
    } else {
      escape(word, c);
    }
    size_t more = strlen(word);
    if (len + more >= out_len) break;
    memcpy(out + len, word, more);
    len += more;
    text += n ? n : 1;
  }
  out[len] = '\0';
}
