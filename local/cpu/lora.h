/* lora: adapters. A layout says where each matrix of an adapter lies in one
 * block of floats; weights, gradients and moments all have that shape.
 *
 * Runs on the engine thread. An adapter is an immutable version of the weights;
 * a packed copy for the kernels is made on first use. */
#ifndef TINKER_LOCAL_CPU_LORA_H
#define TINKER_LOCAL_CPU_LORA_H

#include "cpu/base.h"

/* One adapted matrix: A [rank][in] at a, B [out][rank] at b. */
typedef struct tinker__cpu_target_s {
  size_t in, out;
  size_t a, b;
  bool on;
} tinker__cpu_target_t;

typedef struct tinker__cpu_lora_s {
  tinker__eng_base_t *base; /* a reference */
  size_t refs;
  tinker__eng_lora_config_t config;
  double alpha; /* 32 unless a loaded adapter says otherwise */
  float scale;  /* alpha / rank */
  size_t rank;
  size_t floats;      /* of the whole block */
  size_t num_targets; /* layers * TINKER__PROJS + 1, the last is the head */
  tinker__cpu_target_t targets[];
} tinker__cpu_lora_t;

struct tinker__eng_adapter_s {
  size_t refs;
  tinker__cpu_lora_t *lora; /* a reference */
  float *w;
  tinker__cpu_packed_t **packed; /* [num_targets][2]: A, B; NULL until needed */
};

/* on[proj], the head last, says what is adapted in every layer. */
int tinker__cpu_lora_new(tinker__cpu_lora_t **out, tinker__eng_base_t *base,
                         const tinker__eng_lora_config_t *config, double alpha,
                         const bool on[TINKER__LORA_COUNT]);
/* The number of weights of an adapter with that configuration. Any thread. */
uint64_t tinker__cpu_lora_floats(const tinker__eng_base_t *base,
                                 const tinker__eng_lora_config_t *config);
void tinker__cpu_lora_on(const tinker__eng_lora_config_t *config,
                         bool on[TINKER__LORA_COUNT]);
tinker__cpu_lora_t *tinker__cpu_lora_retain(tinker__cpu_lora_t *l);
void tinker__cpu_lora_release(tinker__cpu_lora_t *l);

/* PEFT's name of a target's A or B. */
void tinker__cpu_target_name(const tinker__cpu_lora_t *l, size_t target,
                             tinker__lora_side_t side,
                             char out[TINKER__PEFT_NAME_MAX]);

/* Makes an adapter whose weights are undefined. */
int tinker__cpu_adapter_new(tinker__eng_adapter_t **out,
                            tinker__cpu_lora_t *lora);
tinker__eng_adapter_t *tinker__cpu_adapter_retain(tinker__eng_adapter_t *a);
void tinker__cpu_adapter_release(tinker__eng_adapter_t *a);
void tinker__cpu_adapter_init(tinker__eng_adapter_t *a); /* A uniform, B zero */
int tinker__cpu_adapter_pack(tinker__eng_adapter_t *a);

/* A matrix with LoRA, and the rows of a product with it. ldu = rank. */
typedef struct {
  size_t target;
  const float *x;
  size_t ldx;
  float *u, *y;
  size_t ldy;
} tinker__cpu_adapted_t;

/* u = scale * x A^T, then y += u B^T, for m rows of each of n matrices, at most
 * TINKER__LINEARS. a must be packed; a target that is off is skipped. */
void tinker__cpu_lora_apply(const tinker__eng_adapter_t *a,
                            const tinker__cpu_adapted_t *all, size_t n,
                            size_t m);
/* Adds to the block of gradients g: dB += dy^T u, dA += du^T x with du =
 * scale * dy B (scratch of m * rank); then dx += du A unless dx is NULL. */
void tinker__cpu_lora_back(const tinker__eng_adapter_t *a, size_t target,
                           const float *x, size_t ldx, const float *u,
                           const float *dy, size_t ldy, size_t m, float *du,
                           float *dx, size_t lddx, float *g);

/* Philox4x32-10. */
void tinker__cpu_philox(uint64_t key, uint64_t counter_hi, uint64_t counter_lo,
                        uint32_t out[4]);
/* FNV-1a of a name: the high half of a counter. */
uint64_t tinker__cpu_name_hash(const char *name);

#endif
