/* find: see find.h. The loops over a block have a fixed number of rounds and no
 * way out, which lets the compiler make vectors of them. */
#include "base/find.h"

#include <math.h>
#include <string.h>

#define BLOCK 64

size_t tinker__find_negative(const int32_t *v, size_t n) {
  size_t i = 0;
  for (; n - i >= BLOCK; i += BLOCK) {
    int32_t any = 0;
    for (int k = 0; k < BLOCK; k++) any |= v[i + k];
    if (any < 0) break;
  }
  while (i < n && v[i] >= 0) i++;
  return i;
}

size_t tinker__find_no_id(const int64_t *v, size_t n) {
  size_t i = 0;
  for (; n - i >= BLOCK; i += BLOCK) {
    uint64_t any = 0;
    for (int k = 0; k < BLOCK; k++) any |= (uint64_t)v[i + k];
    if (any > INT32_MAX) break;
  }
  while (i < n && v[i] >= 0 && v[i] <= INT32_MAX) i++;
  return i;
}

/* The exponent of such a value has all bits set. */
size_t tinker__find_nonfinite(const float *v, size_t n) {
  const int32_t exponent = 0x7f800000;
  size_t i = 0;
  for (; n - i >= BLOCK; i += BLOCK) {
    int32_t bits[BLOCK], any = 0;
    memcpy(bits, v + i, sizeof bits);
    for (int k = 0; k < BLOCK; k++) {
      any |= -((bits[k] & exponent) == exponent);
    }
    if (any) break;
  }
  while (i < n && isfinite(v[i])) i++;
  return i;
}
