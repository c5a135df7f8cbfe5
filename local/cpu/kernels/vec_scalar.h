/* vec_scalar: sixteen float lanes in plain C, the meaning of the other
 * vec_*.h files. fmaf is correctly rounded whether or not the machine has the
 * instruction. */
#ifndef TINKER_KERNELS_VEC_SCALAR_H
#define TINKER_KERNELS_VEC_SCALAR_H

#include <math.h>
#include <stdint.h>
#include <string.h>

#include "cpu/kernels/kernels.h"

typedef struct {
  float v[16];
} vf_t;
typedef struct {
  int32_t v[16];
} vi_t;
typedef struct {
  int32_t v[16];
} vm_t; /* comparison result */

#define VF_EACH for (int l = 0; l < 16; l++)

static inline vf_t vf_set1(float a) {
  vf_t r;
  VF_EACH r.v[l] = a;
  return r;
}

static inline vf_t vf_load(const float *p) {
  vf_t r;
  memcpy(r.v, p, sizeof r.v);
  return r;
}

static inline void vf_store(float *p, vf_t a) {
  memcpy(p, a.v, sizeof a.v);
}

/* The first n < 16 lanes; the others are 0 and are not read. */
static inline vf_t vf_loadn(const float *p, size_t n) {
  vf_t r = vf_set1(0);
  memcpy(r.v, p, n * sizeof *p);
  return r;
}

static inline void vf_storen(float *p, vf_t a, size_t n) {
  memcpy(p, a.v, n * sizeof *p);
}

static inline vf_t vf_add(vf_t a, vf_t b) {
  VF_EACH a.v[l] = a.v[l] + b.v[l];
  return a;
}

static inline vf_t vf_sub(vf_t a, vf_t b) {
  VF_EACH a.v[l] = a.v[l] - b.v[l];
  return a;
}

static inline vf_t vf_mul(vf_t a, vf_t b) {
  VF_EACH a.v[l] = a.v[l] * b.v[l];
  return a;
}

static inline vf_t vf_div(vf_t a, vf_t b) {
  VF_EACH a.v[l] = a.v[l] / b.v[l];
  return a;
}

static inline vf_t vf_sqrt(vf_t a) {
  VF_EACH a.v[l] = sqrtf(a.v[l]);
  return a;
}

static inline vf_t vf_fma(vf_t a, vf_t b, vf_t c) {
  VF_EACH c.v[l] = fmaf(a.v[l], b.v[l], c.v[l]);
  return c;
}

static inline vm_t vf_lt(vf_t a, vf_t b) {
  vm_t m;
  VF_EACH m.v[l] = a.v[l] < b.v[l];
  return m;
}

/* m ? a : b */
static inline vf_t vf_select(vm_t m, vf_t a, vf_t b) {
  VF_EACH a.v[l] = m.v[l] ? a.v[l] : b.v[l];
  return a;
}

/* Lanes below n from a, the others from b. */
static inline vf_t vf_first(size_t n, vf_t a, vf_t b) {
  VF_EACH a.v[l] = (size_t)l < n ? a.v[l] : b.v[l];
  return a;
}

static inline vi_t vi_bits(vf_t a) {
  vi_t r;
  memcpy(r.v, a.v, sizeof r.v);
  return r;
}

static inline vf_t vf_bits(vi_t a) {
  vf_t r;
  memcpy(r.v, a.v, sizeof r.v);
  return r;
}

static inline vi_t vi_set1(int32_t a) {
  vi_t r;
  VF_EACH r.v[l] = a;
  return r;
}

static inline vi_t vi_add(vi_t a, vi_t b) {
  VF_EACH a.v[l] = (int32_t)((uint32_t)a.v[l] + (uint32_t)b.v[l]);
  return a;
}

static inline vi_t vi_sub(vi_t a, vi_t b) {
  VF_EACH a.v[l] = (int32_t)((uint32_t)a.v[l] - (uint32_t)b.v[l]);
  return a;
}

/* Shift left by a constant. */
static inline vi_t vi_shl(vi_t a, int s) {
  VF_EACH a.v[l] = (int32_t)((uint32_t)a.v[l] << s);
  return a;
}

/* Arithmetic shift right by a constant. */
static inline vi_t vi_sar(vi_t a, int s) {
  VF_EACH a.v[l] = a.v[l] >= 0 ? a.v[l] >> s : ~(~a.v[l] >> s);
  return a;
}

static inline vf_t vf_from_int(vi_t a) {
  vf_t r;
  VF_EACH r.v[l] = (float)a.v[l];
  return r;
}

static inline vf_t vf_load_bf16(const uint16_t *p) {
  vf_t r;
  VF_EACH r.v[l] = tinker__cpu_bf16_to_f32(p[l]);
  return r;
}

static inline vf_t vf_load_f16(const uint16_t *p) {
  vf_t r;
  VF_EACH r.v[l] = tinker__cpu_f16_to_f32(p[l]);
  return r;
}

/* r[i] lane j becomes r[j] lane i. */
static inline void vf_transpose(vf_t r[16]) {
  for (int i = 0; i < 16; i++) {
    for (int j = 0; j < i; j++) {
      float t = r[i].v[j];
      r[i].v[j] = r[j].v[i];
      r[j].v[i] = t;
    }
  }
}

#undef VF_EACH

#endif
