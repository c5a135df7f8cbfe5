/* base: the engine itself and a loaded base model.
 *
 * Runs on the engine thread. Weights are packed for the kernels, kept in the
 * type of the file, and never change after the load; the rotary table grows
 * on demand. Reference counts are plain: one thread. */
#ifndef TINKER_LOCAL_CPU_BASE_H
#define TINKER_LOCAL_CPU_BASE_H

#include "base/mem.h"
#include "cpu/kernels/kernels.h"
#include "engine/engine.h"
#include "model/folder.h"
#include "model/peft.h"

/* The adapted matrices of a layer are numbered as in peft.h, Q to DOWN; the
 * head's number is their count. */
#define TINKER__PROJS ((size_t)TINKER__LORA_LM_HEAD)

/* Working memory of a pass or a decode round: one block that is cut up in
 * order. With base NULL a cut only counts, so that the same code measures and
 * places. */
typedef struct tinker__cpu_arena_s {
  float *base; /* 64-byte aligned */
  size_t used; /* floats */
  size_t cap;
  void *block;
} tinker__cpu_arena_t;

#define TINKER__SPARES 2

struct tinker__engine_s {
  tinker__mem_t own;  /* on top of the owner's allocator */
  tinker__mem_t *mem; /* == &own */
  tinker__cpu_pool_t *pool;
  const tinker__cpu_kernels_t *ks;
  tinker__cpu_arena_t spare[TINKER__SPARES]; /* blocks kept for the next user */
  size_t budget;  /* floats of activations that a pass may keep */
  uint64_t piece; /* multiply-adds of a step of a pass, about */
  size_t window;  /* a step does at least as many as so many rows take by a
                     layer's weights */
};

typedef struct tinker__cpu_dims_s {
  size_t vocab, hidden, inter, layers, heads, kv_heads, head_dim;
  size_t q_dim, kv_dim; /* heads * head_dim, kv_heads * head_dim */
  size_t context;       /* tokens */
  float eps;
  float attn_scale; /* 1 / sqrt(head_dim) */
} tinker__cpu_dims_t;

typedef struct tinker__cpu_layer_s {
  tinker__cpu_packed_t *w[TINKER__PROJS];
  float *bias[TINKER__PROJS]; /* NULL = none */
  float *norm1, *norm2;       /* before attention, before the MLP */
  float *q_norm, *k_norm;     /* [head_dim]; NULL = none */
} tinker__cpu_layer_t;

struct tinker__eng_base_s {
  tinker__engine_t *engine;
  size_t refs;
  tinker__model_config_t config;
  tinker__cpu_dims_t d;
  tinker__cpu_layer_t *layers;
  tinker__cpu_packed_t *embed;
  tinker__cpu_packed_t *head; /* == embed when tied */
  float *norm;
  float *inv_freq; /* [head_dim / 2], with the model's scaling */
  float *rope;     /* [rope_len][2][head_dim / 2]: cos, sin */
  size_t rope_len;
  const char *arch;
  int32_t *eos;
  size_t num_eos;
  char digest[65];
  uint64_t bytes;
};

int tinker__cpu_open(tinker__engine_t **out,
                     const tinker__engine_options_t *options, char *why,
                     size_t why_len);
void tinker__cpu_close(tinker__engine_t *e);
int tinker__cpu_estimate(const char *model_dir, uint64_t *bytes, char *why,
                         size_t why_len);
int tinker__cpu_load_begin(tinker__engine_t *e, const char *model_dir,
                           tinker__eng_load_t **out, char *why, size_t why_len);
int tinker__cpu_load_step(tinker__eng_load_t *l, const atomic_bool *cancel,
                          char *why, size_t why_len);
void tinker__cpu_load_end(tinker__eng_load_t *l, tinker__eng_base_t **out);
tinker__eng_base_t *tinker__cpu_base_retain(tinker__eng_base_t *b);
void tinker__cpu_base_release(tinker__eng_base_t *b);
void tinker__cpu_base_info(const tinker__eng_base_t *b,
                           tinker__eng_base_info_t *out);
/* The numbers of inputs and outputs of a matrix, the head included. */
void tinker__cpu_base_shape(const tinker__eng_base_t *b,
                            tinker__lora_target_t target, size_t *in,
                            size_t *out);
/* Makes the rotary table cover positions 0 .. n - 1. */
int tinker__cpu_base_rope(tinker__eng_base_t *b, size_t n);

/* Cuts n floats off the arena, on a 64-byte boundary; NULL while counting. */
float *tinker__cpu_carve(tinker__cpu_arena_t *a, size_t n);
/* Opens an arena of `floats`, in a spare block if one is large enough. */
int tinker__cpu_arena_open(tinker__engine_t *e, tinker__cpu_arena_t *a,
                           size_t floats);
void tinker__cpu_arena_close(tinker__engine_t *e, tinker__cpu_arena_t *a);
/* Bytes of the block that an arena of `floats` takes when no spare one is large
 * enough. */
uint64_t tinker__cpu_arena_bytes(size_t floats);

/* Calls fn(arg, row0, n, worker) over pieces of [0, rows), on the pool when
 * rows * width (floats touched per row) is worth it. */
typedef void (*tinker__cpu_rows_fn)(void *arg, size_t row0, size_t n,
                                    unsigned worker);
void tinker__cpu_rows_run(tinker__engine_t *e, size_t rows, size_t width,
                          tinker__cpu_rows_fn fn, void *arg);

#endif
