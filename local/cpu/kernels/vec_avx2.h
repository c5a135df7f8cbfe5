/* vec_avx2: vec_scalar.h's sixteen lanes in two AVX registers. */
#ifndef TINKER_KERNELS_VEC_AVX2_H
#define TINKER_KERNELS_VEC_AVX2_H

#include <immintrin.h>
#include <math.h>
#include <string.h>

#include "cpu/kernels/kernels.h"

typedef struct {
  __m256 lo, hi;
} vf_t;
typedef struct {
  __m256i lo, hi;
} vi_t;
typedef vf_t vm_t;

#define VF2(f, a, b) ((vf_t){f((a).lo, (b).lo), f((a).hi, (b).hi)})
#define VI2(f, a, b) ((vi_t){f((a).lo, (b).lo), f((a).hi, (b).hi)})

static inline vf_t vf_set1(float a) {
  __m256 v = _mm256_set1_ps(a);
  return (vf_t){v, v};
}

static inline vf_t vf_load(const float *p) {
  return (vf_t){_mm256_loadu_ps(p), _mm256_loadu_ps(p + 8)};
}

static inline void vf_store(float *p, vf_t a) {
  _mm256_storeu_ps(p, a.lo);
  _mm256_storeu_ps(p + 8, a.hi);
}

/* All ones in lanes below n. */
static inline vi_t first_mask(size_t n) {
  const __m256i at = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
  return (vi_t){_mm256_cmpgt_epi32(_mm256_set1_epi32((int)n), at),
                _mm256_cmpgt_epi32(_mm256_set1_epi32((int)n - 8), at)};
}

static inline vf_t vf_loadn(const float *p, size_t n) {
  vi_t m = first_mask(n);
  return (vf_t){_mm256_maskload_ps(p, m.lo),
                n > 8 ? _mm256_maskload_ps(p + 8, m.hi) : _mm256_setzero_ps()};
}

static inline void vf_storen(float *p, vf_t a, size_t n) {
  vi_t m = first_mask(n);
  _mm256_maskstore_ps(p, m.lo, a.lo);
  if (n > 8) _mm256_maskstore_ps(p + 8, m.hi, a.hi);
}

static inline vf_t vf_add(vf_t a, vf_t b) {
  return VF2(_mm256_add_ps, a, b);
}

static inline vf_t vf_sub(vf_t a, vf_t b) {
  return VF2(_mm256_sub_ps, a, b);
}

static inline vf_t vf_mul(vf_t a, vf_t b) {
  return VF2(_mm256_mul_ps, a, b);
}

static inline vf_t vf_div(vf_t a, vf_t b) {
  return VF2(_mm256_div_ps, a, b);
}

static inline vf_t vf_sqrt(vf_t a) {
  return (vf_t){_mm256_sqrt_ps(a.lo), _mm256_sqrt_ps(a.hi)};
}

static inline vf_t vf_fma(vf_t a, vf_t b, vf_t c) {
  return (vf_t){_mm256_fmadd_ps(a.lo, b.lo, c.lo),
                _mm256_fmadd_ps(a.hi, b.hi, c.hi)};
}

/* c += a * b for an `a` of equal lanes. The form of the instruction is given,
 * because gcc lets fma overwrite a factor, runs out of registers and keeps sums
 * in memory. */
#define VF_ONTO 1
static inline void vf_onto(vf_t *c, vf_t a, vf_t b) {
  __asm__("vfmadd231ps %2, %1, %0" : "+x"(c->lo) : "x"(a.lo), "x"(b.lo));
  __asm__("vfmadd231ps %2, %1, %0" : "+x"(c->hi) : "x"(a.lo), "x"(b.hi));
}

static inline vm_t vf_lt(vf_t a, vf_t b) {
  return (vf_t){_mm256_cmp_ps(a.lo, b.lo, _CMP_LT_OQ),
                _mm256_cmp_ps(a.hi, b.hi, _CMP_LT_OQ)};
}

static inline vf_t vf_select(vm_t m, vf_t a, vf_t b) {
  return (vf_t){_mm256_blendv_ps(b.lo, a.lo, m.lo),
                _mm256_blendv_ps(b.hi, a.hi, m.hi)};
}

static inline vi_t vi_bits(vf_t a) {
  return (vi_t){_mm256_castps_si256(a.lo), _mm256_castps_si256(a.hi)};
}

static inline vf_t vf_bits(vi_t a) {
  return (vf_t){_mm256_castsi256_ps(a.lo), _mm256_castsi256_ps(a.hi)};
}

static inline vf_t vf_first(size_t n, vf_t a, vf_t b) {
  return vf_select(vf_bits(first_mask(n)), a, b);
}

static inline vi_t vi_set1(int32_t a) {
  __m256i v = _mm256_set1_epi32(a);
  return (vi_t){v, v};
}

static inline vi_t vi_add(vi_t a, vi_t b) {
  return VI2(_mm256_add_epi32, a, b);
}

static inline vi_t vi_sub(vi_t a, vi_t b) {
  return VI2(_mm256_sub_epi32, a, b);
}

static inline vi_t vi_shl(vi_t a, int s) {
  return (vi_t){_mm256_slli_epi32(a.lo, s), _mm256_slli_epi32(a.hi, s)};
}

static inline vi_t vi_sar(vi_t a, int s) {
  return (vi_t){_mm256_srai_epi32(a.lo, s), _mm256_srai_epi32(a.hi, s)};
}

static inline vf_t vf_from_int(vi_t a) {
  return (vf_t){_mm256_cvtepi32_ps(a.lo), _mm256_cvtepi32_ps(a.hi)};
}

static inline vf_t vf_load_bf16(const uint16_t *p) {
  vi_t w = {_mm256_cvtepu16_epi32(_mm_loadu_si128((const void *)p)),
            _mm256_cvtepu16_epi32(_mm_loadu_si128((const void *)(p + 8)))};
  return vf_bits(vi_shl(w, 16));
}

/* Loads sixteen values with their quarters in the order 0 2 1 3. In that order
 * two shuffles take bf16 apart; widening and shifting would take four
 * instructions that compete with fma. Dealing twice restores the order. */
#define VF_DEALS_BF16 1
static inline vf_t vf_load_dealt(const uint16_t *p) {
  __m256i w = _mm256_loadu_si256((const void *)p),
          zero = _mm256_setzero_si256();
  return vf_bits(
      (vi_t){_mm256_unpacklo_epi16(zero, w), _mm256_unpackhi_epi16(zero, w)});
}

static inline vf_t vf_deal(vf_t a) {
  return (vf_t){_mm256_permute2f128_ps(a.lo, a.hi, 0x20),
                _mm256_permute2f128_ps(a.lo, a.hi, 0x31)};
}

static inline vf_t vf_load_f16(const uint16_t *p) {
  return (vf_t){_mm256_cvtph_ps(_mm_loadu_si128((const void *)p)),
                _mm256_cvtph_ps(_mm_loadu_si128((const void *)(p + 8)))};
}

/* An 8 x 8 square in place: 4 x 4 squares, then the 128-bit halves. */
static inline void transpose8(__m256 r[8]) {
  __m256 t[8];
  for (int i = 0; i < 8; i += 4) {
    __m256 a = _mm256_unpacklo_ps(r[i], r[i + 1]);
    __m256 b = _mm256_unpackhi_ps(r[i], r[i + 1]);
    __m256 c = _mm256_unpacklo_ps(r[i + 2], r[i + 3]);
    __m256 d = _mm256_unpackhi_ps(r[i + 2], r[i + 3]);
    t[i] = _mm256_shuffle_ps(a, c, 0x44);
    t[i + 1] = _mm256_shuffle_ps(a, c, 0xee);
    t[i + 2] = _mm256_shuffle_ps(b, d, 0x44);
    t[i + 3] = _mm256_shuffle_ps(b, d, 0xee);
  }
  for (int i = 0; i < 4; i++) {
    r[i] = _mm256_permute2f128_ps(t[i], t[i + 4], 0x20);
    r[i + 4] = _mm256_permute2f128_ps(t[i], t[i + 4], 0x31);
  }
}

/* The four squares of 8 x 8, the off-diagonal two exchanged. */
static inline void vf_transpose(vf_t r[16]) {
  __m256 a[8], b[8], c[8], d[8];
  for (int i = 0; i < 8; i++) {
    a[i] = r[i].lo;
    b[i] = r[i].hi;
    c[i] = r[i + 8].lo;
    d[i] = r[i + 8].hi;
  }
  transpose8(a);
  transpose8(b);
  transpose8(c);
  transpose8(d);
  for (int i = 0; i < 8; i++) {
    r[i] = (vf_t){a[i], c[i]};
    r[i + 8] = (vf_t){b[i], d[i]};
  }
}

#undef VF2
#undef VI2

#endif
