/* vec_neon: vec_scalar.h's sixteen lanes in four AArch64 registers. */
#ifndef TINKER_KERNELS_VEC_NEON_H
#define TINKER_KERNELS_VEC_NEON_H

#include <arm_neon.h>
#include <math.h>
#include <string.h>

#include "cpu/kernels/kernels.h"

typedef struct {
  float32x4_t q[4];
} vf_t;
typedef struct {
  int32x4_t q[4];
} vi_t;
typedef struct {
  uint32x4_t q[4];
} vm_t;

#define EACH(f, a, b)                                                          \
  {                                                                            \
    {                                                                          \
      f((a).q[0], (b).q[0]), f((a).q[1], (b).q[1]), f((a).q[2], (b).q[2]),     \
          f((a).q[3], (b).q[3])                                                \
    }                                                                          \
  }
#define EACH1(f, a)                                                            \
  {                                                                            \
    { f((a).q[0]), f((a).q[1]), f((a).q[2]), f((a).q[3]) }                     \
  }

static inline vf_t vf_set1(float a) {
  float32x4_t v = vdupq_n_f32(a);
  return (vf_t){{v, v, v, v}};
}

static inline vf_t vf_load(const float *p) {
  return (vf_t){
      {vld1q_f32(p), vld1q_f32(p + 4), vld1q_f32(p + 8), vld1q_f32(p + 12)}};
}

static inline void vf_store(float *p, vf_t a) {
  vst1q_f32(p, a.q[0]);
  vst1q_f32(p + 4, a.q[1]);
  vst1q_f32(p + 8, a.q[2]);
  vst1q_f32(p + 12, a.q[3]);
}

static inline vf_t vf_loadn(const float *p, size_t n) {
  float v[16] = {0};
  memcpy(v, p, n * sizeof *p);
  return vf_load(v);
}

static inline void vf_storen(float *p, vf_t a, size_t n) {
  float v[16];
  vf_store(v, a);
  memcpy(p, v, n * sizeof *p);
}

static inline vf_t vf_add(vf_t a, vf_t b) {
  return (vf_t)EACH(vaddq_f32, a, b);
}

static inline vf_t vf_sub(vf_t a, vf_t b) {
  return (vf_t)EACH(vsubq_f32, a, b);
}

static inline vf_t vf_mul(vf_t a, vf_t b) {
  return (vf_t)EACH(vmulq_f32, a, b);
}

static inline vf_t vf_div(vf_t a, vf_t b) {
  return (vf_t)EACH(vdivq_f32, a, b);
}

static inline vf_t vf_sqrt(vf_t a) {
  return (vf_t)EACH1(vsqrtq_f32, a);
}

static inline vf_t vf_fma(vf_t a, vf_t b, vf_t c) {
  return (vf_t){
      {vfmaq_f32(c.q[0], a.q[0], b.q[0]), vfmaq_f32(c.q[1], a.q[1], b.q[1]),
       vfmaq_f32(c.q[2], a.q[2], b.q[2]), vfmaq_f32(c.q[3], a.q[3], b.q[3])}};
}

static inline vm_t vf_lt(vf_t a, vf_t b) {
  return (vm_t)EACH(vcltq_f32, a, b);
}

static inline vf_t vf_select(vm_t m, vf_t a, vf_t b) {
  return (vf_t){
      {vbslq_f32(m.q[0], a.q[0], b.q[0]), vbslq_f32(m.q[1], a.q[1], b.q[1]),
       vbslq_f32(m.q[2], a.q[2], b.q[2]), vbslq_f32(m.q[3], a.q[3], b.q[3])}};
}

static inline vf_t vf_first(size_t n, vf_t a, vf_t b) {
  static const uint32_t lane[16] = {0, 1, 2,  3,  4,  5,  6,  7,
                                    8, 9, 10, 11, 12, 13, 14, 15};
  uint32x4_t count = vdupq_n_u32((uint32_t)n);
  vm_t m;
  for (int i = 0; i < 4; i++) {
    m.q[i] = vcltq_u32(vld1q_u32(lane + 4 * i), count);
  }
  return vf_select(m, a, b);
}

static inline vi_t vi_bits(vf_t a) {
  return (vi_t)EACH1(vreinterpretq_s32_f32, a);
}

static inline vf_t vf_bits(vi_t a) {
  return (vf_t)EACH1(vreinterpretq_f32_s32, a);
}

static inline vi_t vi_set1(int32_t a) {
  int32x4_t v = vdupq_n_s32(a);
  return (vi_t){{v, v, v, v}};
}

static inline vi_t vi_add(vi_t a, vi_t b) {
  return (vi_t)EACH(vaddq_s32, a, b);
}

static inline vi_t vi_sub(vi_t a, vi_t b) {
  return (vi_t)EACH(vsubq_s32, a, b);
}

/* A negative count shifts right. */
static inline vi_t vi_shift(vi_t a, int s) {
  int32x4_t by = vdupq_n_s32(s);
  return (vi_t){{vshlq_s32(a.q[0], by), vshlq_s32(a.q[1], by),
                 vshlq_s32(a.q[2], by), vshlq_s32(a.q[3], by)}};
}

static inline vi_t vi_shl(vi_t a, int s) {
  return vi_shift(a, s);
}

static inline vi_t vi_sar(vi_t a, int s) {
  return vi_shift(a, -s);
}

static inline vf_t vf_from_int(vi_t a) {
  return (vf_t)EACH1(vcvtq_f32_s32, a);
}

static inline vf_t vf_load_bf16(const uint16_t *p) {
  vf_t r;
  for (int i = 0; i < 4; i++) {
    r.q[i] = vreinterpretq_f32_u32(vshll_n_u16(vld1_u16(p + 4 * i), 16));
  }
  return r;
}

static inline vf_t vf_load_f16(const uint16_t *p) {
  vf_t r;
  for (int i = 0; i < 4; i++) {
    r.q[i] = vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16(p + 4 * i)));
  }
  return r;
}

/* The sixteen squares of 4 x 4, those off the diagonal exchanged in pairs. */
static inline void vf_transpose(vf_t r[16]) {
  vf_t t[16];
  for (int i = 0; i < 4; i++) {
    for (int j = 0; j < 4; j++) {
      float32x4_t a = r[4 * i].q[j], b = r[4 * i + 1].q[j];
      float32x4_t c = r[4 * i + 2].q[j], d = r[4 * i + 3].q[j];
      float32x4x2_t ac = vzipq_f32(a, c), bd = vzipq_f32(b, d);
      float32x4x2_t lo = vzipq_f32(ac.val[0], bd.val[0]);
      float32x4x2_t hi = vzipq_f32(ac.val[1], bd.val[1]);
      t[4 * j].q[i] = lo.val[0];
      t[4 * j + 1].q[i] = lo.val[1];
      t[4 * j + 2].q[i] = hi.val[0];
      t[4 * j + 3].q[i] = hi.val[1];
    }
  }
  for (int i = 0; i < 16; i++) r[i] = t[i];
}

#undef EACH
#undef EACH1

#endif
