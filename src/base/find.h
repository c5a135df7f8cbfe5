/* find: the first value of an array that must not be in it. A whole block is
 * tested by one comparison of vectors, so that a check costs less than a copy.
 * Pure functions. */
#ifndef TINKER_BASE_FIND_H
#define TINKER_BASE_FIND_H

#include <stddef.h>
#include <stdint.h>

/* All return the index, n = there is none. */
size_t tinker__find_negative(const int32_t *v, size_t n);
/* Not from 0 to INT32_MAX, as a token id is. */
size_t tinker__find_no_id(const int64_t *v, size_t n);
/* An infinity or a NaN. */
size_t tinker__find_nonfinite(const float *v, size_t n);

#endif
