/* pattern: from the regular expressions of tokenizer.json, which Oniguruma
 * (Ruby syntax) runs there, to PCRE2's.
 *
 * The two dialects look alike and differ in corners: what \s and \p{Greek}
 * match, what ^ and \h mean, nested classes, options inside a group. So the
 * pattern is read construct by construct: what means the same is copied, what
 * can be said in PCRE2 is rewritten, all else is refused by name. Pure. */
#ifndef TINKER_TEXT_PATTERN_H
#define TINKER_TEXT_PATTERN_H

#include "base/buf.h"

#define TINKER__PATTERN_MAX_BYTES 65536

/* Appends the PCRE2 form, for the options UTF, UCP and newline LF. 0,
 * TINKER_ENOTSUP, TINKER_EFORMAT, TINKER_EOVERFLOW or TINKER_ENOMEM; `why`
 * names construct and place. */
int tinker__pattern_translate(tinker__buf_t *out, tinker__str_t pattern,
                              char *why, size_t why_len);

#endif
