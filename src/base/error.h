/* error: what tinker_error_t points at. Immutable once built, reference
 * counted, allocated from the client's memory; a static instance stands in
 * when there is none left, so building an error can't fail. */
#ifndef TINKER_BASE_ERROR_H
#define TINKER_BASE_ERROR_H

#include <tinker/error.h>

#include "base/mem.h"
#include "base/str.h"

typedef enum {
  TINKER__ADVICE_RETRIABLE = 1 << 0,
  TINKER__ADVICE_FATAL = 1 << 1,
  TINKER__ADVICE_UNKNOWN = 1 << 2, /* outcome unknown */
  TINKER__ADVICE_RECOVER = 1 << 3
} tinker__advice_t;

typedef struct tinker__error_spec_s {
  int code;
  int http_status;
  tinker_category_t category;
  unsigned advice; /* tinker__advice_t bits */
  int64_t retry_after_ms;
  const char *request_id; /* copied; may be NULL */
  /* Base URL of the service, put at the end of the sentence unless it stands in
   * it already; copied; NULL = none. */
  const char *where;
} tinker__error_spec_t;

/* Makes an error. Characters of the sentence that can't be shown are escaped
 * (base/show.h), since parts of it may be from a server. Never NULL; without
 * memory it is the static out-of-memory instance. */
tinker_error_t *tinker__error_new(tinker__mem_t *mem,
                                  const tinker__error_spec_t *spec,
                                  const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
/* The same in memory of the C library. */
tinker_error_t *tinker__error_own(const tinker__error_spec_t *spec,
                                  const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
/* The same for a function that is not an operation;
 * the code's own text stands for an empty sentence. out: may be NULL. Returns
 * code; 0 makes none. */
int tinker__error_give(tinker_error_t **out, int code, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
/* The error of a constant future: TINKER_EINVAL (a handle is NULL),
 * TINKER_ENOMEM, TINKER_ECLOSED or TINKER_EFORKED. Never counted or freed. */
const tinker_error_t *tinker__error_constant(int code);
tinker_error_t *tinker__error_retain(const tinker_error_t *e);
/* NULL allowed. */
void tinker__error_release(tinker_error_t *e);
unsigned tinker__error_advice(const tinker_error_t *e);

#endif
