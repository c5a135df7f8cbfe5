/* lora: adapters. A layout says where each matrix of an adapter lies in one
 * block of floats; weights, gradients and moments all have that shape.
 *
 * Runs on the engine thread. An adapter is an immutable version of the
 * weights; the packed copy for the kernels is made on first use. */
#ifndef TINKER_LOCAL_CPU_LORA_H
#define TINKER_LOCAL_CPU_LORA_H

#include "cpu/base.h"

/* One adapted matrix: A [rank][in] at a, B [out][rank] at b. */
typedef struct tinker__target_s {
  size_t in, out;
  size_t a, b;
  bool on;
} tinker__target_t;

typedef struct tinker__lora_s {
  tinker__base_t *base; /* a reference */
  size_t refs;
  tinker__lora_config_t config;
  double alpha; /* 32 unless a loaded adapter says otherwise */
  float scale;  /* alpha / rank */
  size_t rank;
  size_t floats;      /* of the whole block */
  size_t num_targets; /* layers * PROJ_COUNT + 1, the last is the head */
  tinker__target_t targets[];
} tinker__lora_t;

struct tinker__adapter_s {
  size_t refs;
  tinker__lora_t *lora; /* a reference */
  float *w;
  tinker__packed_t **packed; /* [num_targets][2]: A, B; NULL until needed */
};

/* on[proj], the head last, says what is adapted in every layer. */
int tinker__lora_new(tinker__lora_t **out, tinker__base_t *base,
                     const tinker__lora_config_t *config, double alpha,
                     const bool on[TINKER__LORA_COUNT]);
void tinker__lora_on(const tinker__lora_config_t *config,
                     bool on[TINKER__LORA_COUNT]);
tinker__lora_t *tinker__lora_retain(tinker__lora_t *l);
void tinker__lora_release(tinker__lora_t *l);

/* PEFT's name of a target's A or B. */
void tinker__target_name(const tinker__lora_t *l, size_t target,
                         tinker__lora_side_t side,
                         char out[TINKER__PEFT_NAME_MAX]);

/* Weights start undefined. */
int tinker__adapter_new(tinker__adapter_t **out, tinker__lora_t *lora);
tinker__adapter_t *tinker__adapter_retain(tinker__adapter_t *a);
void tinker__adapter_release(tinker__adapter_t *a);
void tinker__adapter_init(tinker__adapter_t *a); /* A uniform, B zero */
int tinker__adapter_pack(tinker__adapter_t *a);

/* u = scale * x A^T, then y += u B^T, for m rows. a must be packed; nothing
 * happens when the target is off. ldu = rank. */
void tinker__lora_apply(const tinker__adapter_t *a, size_t target,
                        const float *x, size_t ldx, size_t m, float *u,
                        float *y, size_t ldy);
/* Adds to the block of gradients g: dB += dy^T u, dA += du^T x with du =
 * scale * dy B (scratch of m * rank); then dx += du A unless dx is NULL. */
void tinker__lora_back(const tinker__adapter_t *a, size_t target,
                       const float *x, size_t ldx, const float *u,
                       const float *dy, size_t ldy, size_t m, float *du,
                       float *dx, size_t lddx, float *g);

/* Philox4x32-10. */
void tinker__philox(uint64_t key, uint64_t counter_hi, uint64_t counter_lo,
                    uint32_t out[4]);
/* FNV-1a of a name: the high half of a counter. */
uint64_t tinker__name_hash(const char *name);

#endif
