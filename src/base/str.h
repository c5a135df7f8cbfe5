/* str: views of strings with a length, and numbers in and out of text without
 * the locale. Views never own. Pure functions. */
#ifndef TINKER_BASE_STR_H
#define TINKER_BASE_STR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct tinker__str_s {
  const char *ptr; /* never NULL */
  size_t len;
} tinker__str_t;

#define TINKER__STR(literal) ((tinker__str_t){(literal), sizeof(literal) - 1})

/* s may be NULL: the empty view. */
tinker__str_t tinker__str(const char *s);
bool tinker__str_eq(tinker__str_t a, tinker__str_t b);
bool tinker__str_eqs(tinker__str_t a, const char *b);
/* Case-insensitive, ASCII only: header names. */
bool tinker__str_ieq(tinker__str_t a, tinker__str_t b);
bool tinker__str_starts(tinker__str_t s, const char *prefix);
bool tinker__str_ends(tinker__str_t s, const char *suffix);
/* True when all bytes form valid UTF-8 (no surrogates, nothing overlong). */
bool tinker__utf8_valid(const char *s, size_t len);

/* Length of the valid UTF-8 sequence at s (1 to 4), 0 when there is none before
 * end. s < end. */
size_t tinker__utf8_step(const char *s, const char *end);

/* Whole-string parses: 0, TINKER_EINVAL (not a number, or something after
 * it) or TINKER_EOVERFLOW (out of range). *out untouched on failure. */
int tinker__parse_u64(tinker__str_t s, uint64_t *out);
int tinker__parse_i64(tinker__str_t s, int64_t *out);
/* JSON number grammar; result rounded as strtod does, in any locale. */
int tinker__parse_f64(tinker__str_t s, double *out);

/* Shortest text that reads back to the same double (at most 24 characters and
 * a NUL). Returns the length. value must be finite. */
size_t tinker__format_f64(char out[32], double value);
/* Shortest text that reads back to the same float. */
size_t tinker__format_f32(char out[32], float value);
size_t tinker__format_i64(char out[24], int64_t value);
/* Decimal digits without a NUL; return the end. Room: 20 and 10. */
char *tinker__put_u64(char *out, uint64_t v);
char *tinker__put_u32(char *out, uint32_t v);

/* Bounded copy of a sentence for a caller's `char *why, size_t why_len`
 * (NULL or 0: nothing). Always NUL-terminated, cut if too long, at a UTF-8
 * boundary. Returns `code`, so that `return tinker__why(...)` reads well. */
int tinker__why(char *why, size_t why_len, int code, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));

#endif
