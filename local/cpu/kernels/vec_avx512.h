/* vec_avx512: vec_scalar.h's sixteen lanes in one AVX-512 register. */
#ifndef TINKER_KERNELS_VEC_AVX512_H
#define TINKER_KERNELS_VEC_AVX512_H

#include <immintrin.h>
#include <math.h>
#include <string.h>

#include "cpu/kernels/kernels.h"

typedef __m512 vf_t;
typedef __m512i vi_t;
typedef __mmask16 vm_t;

static inline __mmask16 first_mask(size_t n) {
  return (__mmask16)((1u << n) - 1u);
}

static inline vf_t vf_set1(float a) {
  return _mm512_set1_ps(a);
}

static inline vf_t vf_load(const float *p) {
  return _mm512_loadu_ps(p);
}

static inline void vf_store(float *p, vf_t a) {
  _mm512_storeu_ps(p, a);
}

static inline vf_t vf_loadn(const float *p, size_t n) {
  return _mm512_maskz_loadu_ps(first_mask(n), p);
}

static inline void vf_storen(float *p, vf_t a, size_t n) {
  _mm512_mask_storeu_ps(p, first_mask(n), a);
}

static inline vf_t vf_add(vf_t a, vf_t b) {
  return _mm512_add_ps(a, b);
}

static inline vf_t vf_sub(vf_t a, vf_t b) {
  return _mm512_sub_ps(a, b);
}

static inline vf_t vf_mul(vf_t a, vf_t b) {
  return _mm512_mul_ps(a, b);
}

static inline vf_t vf_div(vf_t a, vf_t b) {
  return _mm512_div_ps(a, b);
}

static inline vf_t vf_sqrt(vf_t a) {
  return _mm512_sqrt_ps(a);
}

static inline vf_t vf_fma(vf_t a, vf_t b, vf_t c) {
  return _mm512_fmadd_ps(a, b, c);
}

static inline vm_t vf_lt(vf_t a, vf_t b) {
  return _mm512_cmp_ps_mask(a, b, _CMP_LT_OQ);
}

static inline vf_t vf_select(vm_t m, vf_t a, vf_t b) {
  return _mm512_mask_blend_ps(m, b, a);
}

static inline vf_t vf_first(size_t n, vf_t a, vf_t b) {
  return _mm512_mask_blend_ps(first_mask(n), b, a);
}

static inline vi_t vi_bits(vf_t a) {
  return _mm512_castps_si512(a);
}

static inline vf_t vf_bits(vi_t a) {
  return _mm512_castsi512_ps(a);
}

static inline vi_t vi_set1(int32_t a) {
  return _mm512_set1_epi32(a);
}

static inline vi_t vi_add(vi_t a, vi_t b) {
  return _mm512_add_epi32(a, b);
}

static inline vi_t vi_sub(vi_t a, vi_t b) {
  return _mm512_sub_epi32(a, b);
}

static inline vi_t vi_shl(vi_t a, int s) {
  return _mm512_slli_epi32(a, (unsigned)s);
}

static inline vi_t vi_sar(vi_t a, int s) {
  return _mm512_srai_epi32(a, (unsigned)s);
}

static inline vf_t vf_from_int(vi_t a) {
  return _mm512_cvtepi32_ps(a);
}

/* Moves each 16-bit value to the upper half of its word in one shuffle;
 * widening and shifting would take two instructions that compete with fma. */
static inline vf_t vf_load_bf16(const uint16_t *p) {
  const __m512i upper =
      _mm512_set_epi16(15, 0, 14, 0, 13, 0, 12, 0, 11, 0, 10, 0, 9, 0, 8, 0, 7,
                       0, 6, 0, 5, 0, 4, 0, 3, 0, 2, 0, 1, 0, 0, 0);
  __m512i half = _mm512_castsi256_si512(_mm256_loadu_si256((const void *)p));
  return _mm512_castsi512_ps(
      _mm512_maskz_permutexvar_epi16(0xaaaaaaaau, upper, half));
}

static inline vf_t vf_load_f16(const uint16_t *p) {
  return _mm512_cvtph_ps(_mm256_loadu_si256((const void *)p));
}

/* 4 x 4 squares within the 128-bit quarters, then the quarters. */
static inline void vf_transpose(vf_t r[16]) {
  vf_t t[16];
  for (int i = 0; i < 16; i += 4) {
    vf_t a = _mm512_unpacklo_ps(r[i], r[i + 1]);
    vf_t b = _mm512_unpackhi_ps(r[i], r[i + 1]);
    vf_t c = _mm512_unpacklo_ps(r[i + 2], r[i + 3]);
    vf_t d = _mm512_unpackhi_ps(r[i + 2], r[i + 3]);
    t[i] = _mm512_shuffle_ps(a, c, 0x44);
    t[i + 1] = _mm512_shuffle_ps(a, c, 0xee);
    t[i + 2] = _mm512_shuffle_ps(b, d, 0x44);
    t[i + 3] = _mm512_shuffle_ps(b, d, 0xee);
  }
  for (int i = 0; i < 4; i++) {
    vf_t a = _mm512_shuffle_f32x4(t[i], t[i + 4], 0x88);
    vf_t b = _mm512_shuffle_f32x4(t[i], t[i + 4], 0xdd);
    vf_t c = _mm512_shuffle_f32x4(t[i + 8], t[i + 12], 0x88);
    vf_t d = _mm512_shuffle_f32x4(t[i + 8], t[i + 12], 0xdd);
    r[i] = _mm512_shuffle_f32x4(a, c, 0x88);
    r[i + 8] = _mm512_shuffle_f32x4(a, c, 0xdd);
    r[i + 4] = _mm512_shuffle_f32x4(b, d, 0x88);
    r[i + 12] = _mm512_shuffle_f32x4(b, d, 0xdd);
  }
}

#endif
