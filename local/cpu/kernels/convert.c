/* convert: single values between f32, bf16 and f16. Pure functions. */
#include <string.h>

#include "cpu/kernels/kernels.h"

static float from_bits(uint32_t bits) {
  float f;
  memcpy(&f, &bits, sizeof f);
  return f;
}

float tinker__cpu_bf16_to_f32(uint16_t x) {
  return from_bits((uint32_t)x << 16);
}

float tinker__cpu_f16_to_f32(uint16_t x) {
  uint32_t sign = (uint32_t)(x & 0x8000u) << 16;
  uint32_t exponent = (x >> 10) & 31u, fraction = x & 0x3ffu;
  if (exponent == 31) return from_bits(sign | 0x7f800000u | fraction << 13);
  if (exponent > 0) {
    return from_bits(sign | (exponent + 112) << 23 | fraction << 13);
  }
  float f = (float)fraction * 0x1p-24f;
  return sign ? -f : f;
}

uint16_t tinker__cpu_f32_to_bf16(float x) {
  uint32_t bits;
  memcpy(&bits, &x, sizeof bits);
  if ((bits & 0x7fffffffu) > 0x7f800000u) return (uint16_t)(bits >> 16 | 0x40u);
  return (uint16_t)((bits + 0x7fffu + (bits >> 16 & 1u)) >> 16);
}
