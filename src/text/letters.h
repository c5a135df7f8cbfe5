/* letters: the alphabet of byte-level BPE. Each byte is written as one
 * printable character: itself where it is one, else U+0100 and up in order.
 * Pure. */
#ifndef TINKER_TEXT_LETTERS_H
#define TINKER_TEXT_LETTERS_H

#include "base/buf.h"

/* The character of a byte. */
uint32_t tinker__letter_of(unsigned char byte);
/* The byte of a character, -1 when it stands for none. */
int tinker__byte_of(uint32_t letter);
/* Appends the bytes that the text stands for and returns true, or, when a
 * character is not a letter, the text itself and returns false. Errors stick in
 * `out`. text: valid UTF-8. */
bool tinker__letters_to_bytes(tinker__buf_t *out, tinker__str_t text);

#endif
