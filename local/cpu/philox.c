/* philox: Philox4x32-10. Its random numbers depend only on a key and a counter,
 * so no state of a generator has to be saved. Pure. */
#include "cpu/lora.h"

static uint32_t mulhilo(uint32_t a, uint32_t b, uint32_t *lo) {
  uint64_t p = (uint64_t)a * b;
  *lo = (uint32_t)p;
  return (uint32_t)(p >> 32);
}

void tinker__cpu_philox(uint64_t key, uint64_t counter_hi, uint64_t counter_lo,
                        uint32_t out[4]) {
  uint32_t k0 = (uint32_t)key, k1 = (uint32_t)(key >> 32);
  uint32_t c0 = (uint32_t)counter_lo, c1 = (uint32_t)(counter_lo >> 32);
  uint32_t c2 = (uint32_t)counter_hi, c3 = (uint32_t)(counter_hi >> 32);
  for (int round = 0; round < 10; round++) {
    uint32_t lo0, lo1;
    uint32_t hi0 = mulhilo(0xD2511F53u, c0, &lo0);
    uint32_t hi1 = mulhilo(0xCD9E8D57u, c2, &lo1);
    c0 = hi1 ^ c1 ^ k0;
    c1 = lo1;
    c2 = hi0 ^ c3 ^ k1;
    c3 = lo0;
    k0 += 0x9E3779B9u;
    k1 += 0xBB67AE85u;
  }
  out[0] = c0;
  out[1] = c1;
  out[2] = c2;
  out[3] = c3;
}

uint64_t tinker__cpu_name_hash(const char *name) {
  uint64_t h = 0xcbf29ce484222325u;
  for (const unsigned char *p = (const unsigned char *)name; *p; p++) {
    h = (h ^ *p) * 0x100000001b3u;
  }
  return h;
}
