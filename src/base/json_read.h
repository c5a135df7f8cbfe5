/* json_read: a strict pull reader for JSON from outside (RFC 8259).
 *
 * It borrows the text, allocates only for strings with escapes, keeps every
 * integer exact, refuses invalid UTF-8, lone surrogates, duplicate-looking
 * leniency (01, 1., trailing text) and nesting deeper than the cap. The first
 * error sticks: later calls return it, so a parse needs one check at its end.
 * Not thread-safe; pure. */
#ifndef TINKER_BASE_JSON_READ_H
#define TINKER_BASE_JSON_READ_H

#include <stdbool.h>

#include "base/mem.h"
#include "base/str.h"

#define TINKER__JSON_MAX_DEPTH 64

typedef enum {
  TINKER__JSON_NULL,
  TINKER__JSON_BOOL,
  TINKER__JSON_NUMBER,
  TINKER__JSON_STRING,
  TINKER__JSON_ARRAY,
  TINKER__JSON_OBJECT,
  TINKER__JSON_END /* of the array, object or text */
} tinker__json_type_t;

typedef struct tinker__json_s {
  tinker__mem_t *mem;
  const char *start, *at, *end;
  int depth;
  unsigned char stack[TINKER__JSON_MAX_DEPTH]; /* what each level is, state */
  int error;              /* 0, TINKER_EJSON or TINKER_ENOMEM */
  bool refused;           /* the error: JSON, but not the value asked for */
  size_t error_at;        /* byte offset */
  const char *reason;     /* static text */
  void *owned;            /* strings with escapes, freed by tinker__json_done */
  tinker__str_t last_key; /* the last key that was read, for error texts */
} tinker__json_t;

void tinker__json_init(tinker__json_t *j, tinker__mem_t *mem, const char *text,
                       size_t len);
/* Frees what the reader allocated: strings it returned are invalid then. */
void tinker__json_done(tinker__json_t *j);

/* The type of the next value, which is not taken. END where the surrounding
 * array, object or text ends, or after an error. */
tinker__json_type_t tinker__json_peek(tinker__json_t *j);

/* Takers: on a wrong type they set the error and return false. */
bool tinker__json_null(tinker__json_t *j);
bool tinker__json_bool(tinker__json_t *j, bool *out);
bool tinker__json_i64(tinker__json_t *j,
                      int64_t *out); /* 1.0 is not an integer */
bool tinker__json_u64(tinker__json_t *j, uint64_t *out);
bool tinker__json_f64(tinker__json_t *j, double *out);
/* The view lives until tinker__json_done or the text's end, whichever is
 * first. May contain NUL bytes ("\u0000"). */
bool tinker__json_string(tinker__json_t *j, tinker__str_t *out);

/* Arrays: enter, then read values while tinker__json_more. */
bool tinker__json_array(tinker__json_t *j);
bool tinker__json_object(tinker__json_t *j);
/* Next element of the array, false at its end (which is taken) or on error. */
bool tinker__json_more(tinker__json_t *j);
/* Next key of the object, false at its end (which is taken) or on error. */
bool tinker__json_key(tinker__json_t *j, tinker__str_t *key);
/* Skips one value of any type. */
bool tinker__json_skip(tinker__json_t *j);
/* Skips one value and gives its text. */
bool tinker__json_raw(tinker__json_t *j, tinker__str_t *out);

/* Leaves a value that was refused: clears the error and skips the text up to
 * the next key or element of the level `depth`. False when the text itself is
 * malformed. */
bool tinker__json_leave(tinker__json_t *j, int depth);

/* Sets an error of the caller's own (a missing field, a bad range). */
void tinker__json_fail(tinker__json_t *j, int code, const char *static_reason);
/* To be called once at the end: only white space may follow. Returns 0 or the
 * first error. */
int tinker__json_end(tinker__json_t *j);

/* Fast path: a whole array of integers or of numbers. Values are appended to
 * *out (grown with mem, *len counts elements). Returns false on error.
 * Elements out of the type's range are an error. null is NaN in the float
 * form when allow_null. */
bool tinker__json_i32_array(tinker__json_t *j, int32_t **out, size_t *len,
                            size_t max);
bool tinker__json_i64_array(tinker__json_t *j, int64_t **out, size_t *len,
                            size_t max);
bool tinker__json_f32_array(tinker__json_t *j, float **out, size_t *len,
                            size_t max, bool allow_null);

#endif
