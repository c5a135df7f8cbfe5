/* letters: see letters.h. Pure, any thread. */
#include "text/letters.h"

#include "text/utf8.h"

static bool is_itself(unsigned c) {
  return (c >= 0x21 && c <= 0x7e) || (c >= 0xa1 && c <= 0xac) ||
         (c >= 0xae && c <= 0xff);
}

/* How many bytes below this one are not themselves. The runs that are not:
 * 00-20, 7f-a0, ad. */
static unsigned others_below(unsigned byte) {
  if (byte <= 0x20) return byte;
  if (byte <= 0x7f) return 0x21;
  if (byte <= 0xa0) return 0x21 + byte - 0x7f;
  return 0x21 + 0x22;
}

uint32_t tinker__letter_of(unsigned char byte) {
  return is_itself(byte) ? byte : 0x100 + others_below(byte);
}

int tinker__byte_of(uint32_t letter) {
  if (letter < 0x100) return is_itself(letter) ? (int)letter : -1;
  unsigned k = letter - 0x100;
  if (k <= 0x20) return (int)k;
  if (k < 0x21 + 0x22) return (int)(k - 0x21 + 0x7f);
  return k == 0x21 + 0x22 ? 0xad : -1;
}

bool tinker__letters_to_bytes(tinker__buf_t *out, tinker__str_t text) {
  size_t start = out->len, i = 0;
  while (i < text.len) {
    uint32_t cp = 0;
    int n = tinker__utf8_next(text.ptr + i, text.len - i, &cp);
    int byte = n > 0 ? tinker__byte_of(cp) : -1;
    if (byte < 0) {
      if (tinker__buf_error(out) == 0) out->len = start;
      tinker__buf_add(out, text.ptr, text.len);
      return false;
    }
    tinker__buf_addc(out, (char)byte);
    i += (size_t)n;
  }
  return true;
}
