/* show: text from outside made fit to be shown. Pure. */
#ifndef TINKER_BASE_SHOW_H
#define TINKER_BASE_SHOW_H

#include <stddef.h>

/* Copies text so that a terminal or a log line can't be driven by it: control
 * characters, line and paragraph separators, the marks that change the
 * direction of writing, and bytes that are not UTF-8 become \n, \x1b or
 * \u202e. Always NUL-terminated (out_len > 0); cut where the room ends, never
 * inside a character or an escape. */
void tinker__show(char *out, size_t out_len, const char *text);

#endif
