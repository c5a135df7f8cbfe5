/* show: text from outside on its way to somebody's terminal. A control
 * character or a mark of the direction of writing can hide, move or execute
 * what stands beside it, so it is shown by its number. Pure functions. */
#ifndef TINKER_BASE_SHOW_H
#define TINKER_BASE_SHOW_H

#include "base/str.h"

/* Length of the character at s when it is one that must not reach a terminal:
 * U+0000 to U+001F, U+007F to U+009F, the marks and overrides of direction, the
 * separators of lines and paragraphs. 0 for every other character, and for what
 * is not UTF-8. s < end. *code may be NULL. */
size_t tinker__hidden_step(const char *s, const char *end, unsigned *code);
/* True when there is such a character in s. */
bool tinker__has_hidden(tinker__str_t s);
/* Copies s into out (at least one byte), NUL-terminated: those characters as
 * \u001b, bytes that are not UTF-8 as \xff, all else as it is. A text that does
 * not fit is cut off at the end of a character. */
void tinker__show(char *out, size_t out_len, tinker__str_t s);

#endif
