/* random: a small generator of test values, the same on every machine. */
#ifndef TINKER_TESTS_KERNELS_RANDOM_H
#define TINKER_TESTS_KERNELS_RANDOM_H

#include <stddef.h>
#include <stdint.h>

static inline uint32_t random_u32(uint64_t *state) {
  *state = *state * 6364136223846793005u + 1442695040888963407u;
  return (uint32_t)(*state >> 33) ^ (uint32_t)(*state >> 21);
}

static inline size_t random_below(uint64_t *state, size_t n) {
  return random_u32(state) % n;
}

/* In [-1, 1), with all the low bits in use. */
static inline float random_float(uint64_t *state) {
  return (float)(int32_t)random_u32(state) * 0x1p-31f;
}

#endif
