/* kernels: the arithmetic of the CPU engine, with the same bits everywhere.
 *
 * Every output is one fixed expression of explicit fused multiply-adds:
 * - a matrix product is a SINGLE chain c = fma(a[k], b[k], c) for ascending k
 *   per output, from 0 or (accumulate) from the output's present value; so
 *   threads, blocking, m, and cutting k over several calls change no bit;
 * - a sum along a row is 16 chains (chain j takes elements j, j + 16, ...),
 *   joined as j + (j + 8), then + 4, + 2, + 1;
 * - exp, log, sin, cos are polynomials of our own.
 * Kernel sets differ only in speed. Which bits a NaN carries is not promised.
 *
 * Row functions (members of tinker__cpu_kernels_t) are pure, run on the
 * caller's thread and may run inside pool tasks. Matrices are row-major; ld*,
 * *_rs and *_cs count elements. Outputs may not overlap inputs unless a comment
 * allows it. */
#ifndef TINKER_LOCAL_CPU_KERNELS_H
#define TINKER_LOCAL_CPU_KERNELS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cpu/pool.h"

typedef enum {
  TINKER__F32 = 0,
  TINKER__BF16 = 1,
  TINKER__F16 = 2
} tinker__cpu_elem_t;

/* Columns of one packed panel, and the chains of a row sum. */
#define TINKER__LANES 16

/* Constants of one AdamW step over a tensor, see adamw below. */
typedef struct {
  float lr, beta1, beta2, eps, weight_decay;
  float grad_scale;   /* gradient clip factor, 1 = none */
  float bias1, bias2; /* 1 - beta1^t, 1 - beta2^t */
} tinker__cpu_adamw_t;

/* One product tile: mr rows, np panels of 16 columns.
 * c[i][16p + l] = chain over k of a[i * a_rs + k * a_ks] *
 * b[p * b_ps + k * b_ks + l], from c (load) or 0. b is f32, bf16 or f16 by the
 * member used. ask is the address in the first panel to prefetch next, for a b
 * that is not in a cache; it moves by ask_step bytes with each cache line of a
 * panel that is read. */
typedef void (*tinker__cpu_tile_fn)(unsigned mr, unsigned np, size_t k,
                                    const float *a, size_t a_rs, size_t a_ks,
                                    const void *b, size_t b_ks, size_t b_ps,
                                    uintptr_t ask, size_t ask_step, float *c,
                                    size_t ldc, bool load);

typedef struct {
  const char *name; /* "scalar", "avx2", "avx512", "neon" */

  /* Elementwise, y may be x. exp and log: under 2 ulp of the true value;
   * exp(-inf) = 0, log(0) = -inf, log(negative) = NaN, subnormals exact in
   * range, NaN stays NaN. */
  void (*exp)(float *y, const float *x, size_t n);
  void (*log)(float *y, const float *x, size_t n);
  void (*silu)(float *y, const float *x, size_t n); /* x / (1 + exp(-x)) */
  void (*add)(float *y, const float *x, size_t n);  /* y += x */
  void (*mul)(float *y, const float *x, size_t n);  /* y *= x */
  void (*scale)(float *y, float a, size_t n);       /* y *= a */
  void (*axpy)(float *y, float a, const float *x, size_t n); /* fma(a,x,y) */
  void (*widen)(float *y, const void *x, tinker__cpu_elem_t type, size_t n);

  /* Sums of a row in 16 chains. max of nothing is -inf; a NaN is skipped. */
  float (*sum)(const float *x, size_t n);
  float (*sumsq)(const float *x, size_t n);
  float (*dot)(const float *x, const float *y, size_t n);
  float (*max)(const float *x, size_t n);

  /* y = (x * r) * w with r = 1 / sqrt(sumsq(x) / n + eps), which it returns.
   * y may be x. w NULL = all ones. */
  float (*rmsnorm)(float *y, const float *x, const float *w, size_t n,
                   float eps);
  /* dx (+)= gradient through rmsnorm; r is what the forward call returned. */
  void (*rmsnorm_back)(float *dx, const float *dy, const float *x,
                       const float *w, size_t n, float r, bool accumulate);

  /* y = softmax(x * scale); y may be x. */
  void (*softmax)(float *y, const float *x, size_t n, float scale);
  /* dx = scale * p * (dp - dot(p, dp)); dx may be dp. */
  void (*softmax_back)(float *dx, const float *p, const float *dp, size_t n,
                       float scale);
  /* log(sum(exp(x))), stable; -inf for n = 0. The log-probability of token t
   * is x[t] - lse(x). */
  float (*lse)(const float *x, size_t n);
  /* dx = w * exp(x - lse), then dx[target] -= w: gradient of -w * logprob.
   * dx may be x. */
  void (*xent_back)(float *dx, const float *x, size_t n, float lse,
                    size_t target, float w);

  /* y = silu(gate) * up; y may be either input. */
  void (*silu_mul)(float *y, const float *gate, const float *up, size_t n);
  /* dgate, dup from dy; dgate may be gate and dup may be up or dy. */
  void (*silu_mul_back)(float *dgate, float *dup, const float *dy,
                        const float *gate, const float *up, size_t n);

  /* Rotate one head of 2 * half values in place, halves paired as Hugging
   * Face does (x[i] with x[half + i]); inverse for the backward pass. */
  void (*rope)(float *x, const float *cos, const float *sin, size_t half,
               bool inverse);

  /* PyTorch's AdamW: p -= lr * decay * p; moments; p -= lr * m^ / (sqrt(v^)
   * + eps). g is read times grad_scale. */
  void (*adamw)(float *p, float *m, float *v, const float *g, size_t n,
                const tinker__cpu_adamw_t *args);

  /* For gemm.c. np[mr] = widest tile (in panels: 1, 2, 4 ...) for mr rows.
   * tile is for f32 blocks that several strips of rows use; stream reads b in
   * place, by its tinker__cpu_elem_t, and prefetches it. */
  unsigned max_mr, stream_mr;
  const unsigned char *np, *stream_np;
  tinker__cpu_tile_fn tile, stream[3];
  /* out[k][mr] from a[i * rs + k * cs]; may write 16 more values. */
  void (*pack_a)(float *out, const float *a, size_t rs, size_t cs, unsigned mr,
                 size_t k);
  /* out[k][16] from b[k * rs + l * cs], lanes >= n zero. */
  void (*pack_b)(float *out, const float *b, size_t rs, size_t cs, size_t n,
                 size_t k);
  /* A transposed read of packed weights: out[r][l] = W[n0 + r][k0 + l] for
   * r < n, lanes l >= kn zero. n0 is a multiple of 16. */
  void (*pack_t)(float *out, const void *panels, tinker__cpu_elem_t type,
                 size_t k_in, size_t n0, size_t n, size_t k0, size_t kn);
} tinker__cpu_kernels_t;

/* The best set for this machine; never NULL. */
const tinker__cpu_kernels_t *tinker__cpu_kernels_get(void);
/* NULL if there is no such set or this machine cannot run it. */
const tinker__cpu_kernels_t *tinker__cpu_kernels_by_name(const char *name);
/* The i-th set that this machine can run, best last; NULL past the end. */
const tinker__cpu_kernels_t *tinker__cpu_kernels_at(size_t i);

/* --- Scalar functions, the same bits as the row functions ------------- */

float tinker__cpu_expf(float x);
float tinker__cpu_logf(float x);
float tinker__cpu_siluf(float x);
/* Double, about 1 ulp, for tables made once (rotary angles, schedules).
 * sincos: |x| <= 1e9. pow: base > 0. */
double tinker__cpu_exp(double x);
double tinker__cpu_log(double x);
double tinker__cpu_pow(double base, double exponent);
void tinker__cpu_sincos(double x, double *sin_out, double *cos_out);
/* inv_freq[i] = base^(-2i / (2 half)), rounded to float once. */
void tinker__cpu_rope_freqs(float *inv_freq, size_t half, double base);
/* cos and sin of pos * inv_freq[i], each rounded to float once. */
void tinker__cpu_rope_angles(float *cos, float *sin, const float *inv_freq,
                             size_t half, uint64_t pos);
float tinker__cpu_bf16_to_f32(uint16_t x);
float tinker__cpu_f16_to_f32(uint16_t x);
/* Round to nearest, ties to even. */
uint16_t tinker__cpu_f32_to_bf16(float x);

/* --- Packed weights ---------------------------------------------------- */

/* W[n_out][k_in] in panels of 16 outputs, kept in the type of the source:
 * element (n, k) lies at ((n / 16) * k_in + k) * 16 + n % 16. Immutable
 * after tinker__cpu_packed_new, so any thread may read it. */
typedef struct {
  size_t n_out, k_in;
  tinker__cpu_elem_t type;
  void *panels; /* 64-byte aligned, outputs past n_out are zero */
  void *block;
  tinker__mem_t *mem;
} tinker__cpu_packed_t;

/* src: n_out rows of k_in values of type, row-major, any alignment, little
 * endian as in safetensors. 0, TINKER_ENOMEM, or TINKER_EINVAL if a size is 0
 * or too large; *out untouched on failure. */
int tinker__cpu_packed_new(tinker__cpu_packed_t **out, tinker__mem_t *mem,
                           const void *src, tinker__cpu_elem_t type,
                           size_t n_out, size_t k_in);
void tinker__cpu_packed_free(tinker__cpu_packed_t *w);
size_t tinker__cpu_packed_bytes(const tinker__cpu_packed_t *w);
/* Outputs [n0, n0 + n) of w in w's own memory, so not to be freed. n0 is a
 * multiple of 16. */
tinker__cpu_packed_t tinker__cpu_packed_part(const tinker__cpu_packed_t *w,
                                             size_t n0, size_t n);
/* Row n (k_in values) widened into y: embedding look-up. */
void tinker__cpu_packed_row(const tinker__cpu_packed_t *w, size_t n, float *y);

/* y[m][n_out] (+)= x[m][k_in] W^T, chain over k. The same bits for every m. */
void tinker__cpu_linear(const tinker__cpu_kernels_t *ks,
                        tinker__cpu_pool_t *pool, const tinker__cpu_packed_t *w,
                        const float *x, size_t ldx, size_t m, float *y,
                        size_t ldy, bool accumulate);
/* Computes n such products, at most TINKER__LINEARS, with the same m. Few rows
 * are computed together, so that workers are woken once for all products. The y
 * of one product must not be the x of another. */
#define TINKER__LINEARS 3
typedef struct {
  const tinker__cpu_packed_t *w;
  const float *x;
  size_t ldx;
  float *y;
  size_t ldy;
} tinker__cpu_linear_t;
void tinker__cpu_linears(const tinker__cpu_kernels_t *ks,
                         tinker__cpu_pool_t *pool,
                         const tinker__cpu_linear_t *all, size_t n, size_t m,
                         bool accumulate);
/* dx[m][k_in] (+)= dy[m][n_out] W, chain over n. */
void tinker__cpu_linear_back(const tinker__cpu_kernels_t *ks,
                             tinker__cpu_pool_t *pool,
                             const tinker__cpu_packed_t *w, const float *dy,
                             size_t ldy, size_t m, float *dx, size_t ldx,
                             bool accumulate);

/* --- General product --------------------------------------------------- */

typedef enum {
  TINKER__GEMM_FULL = 0,
  /* Row i's chain ends after k = diag + i (attention weights times values):
   * the same bits as a call for that row alone with k = diag + i + 1. */
  TINKER__GEMM_K_CAUSAL = 1,
  /* Only columns n <= diag + i of row i are wanted (attention scores); what
   * lies beyond may or may not be written. */
  TINKER__GEMM_N_CAUSAL = 2
} tinker__cpu_gemm_shape_t;

/* c[i][j] (+)= sum over k of a[i * a_rs + k * a_cs] * b[k * b_rs + j * b_cs].
 * A transposed operand is its strides swapped. */
typedef struct {
  size_t m, n, k;
  const float *a;
  size_t a_rs, a_cs;
  const float *b;
  size_t b_rs, b_cs;
  float *c;
  size_t ldc;
  bool accumulate;
  tinker__cpu_gemm_shape_t shape;
  size_t diag;
} tinker__cpu_gemm_t;

/* Runs on all threads of the pool. Not inside a task. */
void tinker__cpu_gemm(const tinker__cpu_kernels_t *ks, tinker__cpu_pool_t *pool,
                      const tinker__cpu_gemm_t *g);
/* Runs on this thread only, inside a task; for many small products, one per
 * head. */
void tinker__cpu_gemm_task(const tinker__cpu_kernels_t *ks,
                           tinker__cpu_pool_t *pool, unsigned worker,
                           const tinker__cpu_gemm_t *g);

/* Scratch of one worker, see tinker__cpu_pool_scratch: a block of each operand
 * and one edge tile. */
#define TINKER__GEMM_MC 240
#define TINKER__GEMM_KC 256
#define TINKER__GEMM_NC 1024
#define TINKER__GEMM_TILE 2048 /* with room for pack_a to spill */
#define TINKER__SCRATCH_FLOATS                                                 \
  ((size_t)TINKER__GEMM_KC * (TINKER__GEMM_MC + TINKER__GEMM_NC) +             \
   TINKER__GEMM_TILE)

#endif
