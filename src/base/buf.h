/* buf: a growing byte buffer with a ceiling chosen at birth. Not thread-safe. A
 * failed append leaves the buffer as it was and is remembered.
 * tinker__buf_error() returns the first failure, so that a run of appends needs
 * one check at its end. */
#ifndef TINKER_BASE_BUF_H
#define TINKER_BASE_BUF_H

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include "base/mem.h"
#include "base/str.h"

typedef struct tinker__buf_s {
  tinker__mem_t *mem;
  char *data; /* NULL while capacity is 0 */
  size_t len;
  size_t cap;
  size_t max; /* ceiling in bytes */
  int error;  /* first failure: TINKER_ENOMEM, TINKER_EOVERFLOW, or the code
                 given to tinker__buf_fail; else 0 */
} tinker__buf_t;

void tinker__buf_init(tinker__buf_t *b, tinker__mem_t *mem, size_t max);
void tinker__buf_free(tinker__buf_t *b);
/* Empties it and forgets an error; keeps the memory. */
void tinker__buf_clear(tinker__buf_t *b);
/* Remembers an error of a writer that uses b (a value that can't be written),
 * unless there is an error already. Returns the error that b has then. From
 * then on every append does nothing. */
int tinker__buf_fail(tinker__buf_t *b, int code);
/* Room for `more` bytes after len; returns 0 or the error. */
int tinker__buf_reserve(tinker__buf_t *b, size_t more);
int tinker__buf_add(tinker__buf_t *b, const void *data, size_t len);
int tinker__buf_adds(tinker__buf_t *b, const char *s);
int tinker__buf_addc(tinker__buf_t *b, char c);
/* printf into the buffer. Never for floating point (the locale rules it). */
int tinker__buf_addf(tinker__buf_t *b, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
static inline int tinker__buf_error(const tinker__buf_t *b) {
  return b->error;
}
/* Contents as a view; not NUL-terminated. */
static inline tinker__str_t tinker__buf_str(const tinker__buf_t *b) {
  return (tinker__str_t){b->data ? b->data : "", b->len};
}
/* Adds a NUL after the contents (not counted in len) and returns the data,
 * or NULL without memory. */
const char *tinker__buf_cstr(tinker__buf_t *b);
/* Gives the block away (free with tinker__mem_free), NULL when nothing was ever
 * written; the buffer is empty afterwards. len may be NULL. */
char *tinker__buf_take(tinker__buf_t *b, size_t *len);

#endif
