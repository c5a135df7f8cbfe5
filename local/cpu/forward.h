/* forward: passes rows of tokens through the layers, and gradients back.
 *
 * Runs on the engine thread, which gives work to the pool in pieces; where the
 * work is cut changes no result. A batch has the rows of several sequences, one
 * after the other. In training the keys and values are those of the batch; in
 * decoding they are appended to the slots' caches and read from there. Both are
 * read by the same code, key by key in order, so the bits agree.
 *
 * In training a batch may be the window [row, row + n) of a larger one: its
 * sequences are cut to the window, and its activations begin at the window's
 * first row. A layer's windows are run in the order of their rows, because
 * attention reads the keys of the rows before. */
#ifndef TINKER_LOCAL_CPU_FORWARD_H
#define TINKER_LOCAL_CPU_FORWARD_H

#include "cpu/kv.h"
#include "cpu/lora.h"

/* Rows of attention handled at once. */
#define TINKER__ATTN_ROWS 64

typedef struct tinker__cpu_seq_s {
  size_t row0, n;           /* its rows in the batch */
  size_t pos0;              /* position of the first of them */
  tinker__eng_slot_t *slot; /* NULL in training; its keys begin pos0 rows before
                               row0 */
  tinker__eng_adapter_t *adapter; /* NULL = none */
} tinker__cpu_seq_t;

/* One layer's activations, [rows] each. In decoding they are scratch. */
typedef struct tinker__cpu_acts_s {
  float *x;             /* [hidden] input */
  float *h1, *r1;       /* normed, 1 / rms */
  float *q_raw, *k_raw; /* before q/k norm; == q, k without */
  float *rq, *rk;       /* 1 / rms per head */
  float *q, *k, *v;     /* rotated */
  float *o;             /* attention output before o_proj */
  float *x2;            /* after attention */
  float *h2, *r2;
  float *gate, *up, *act;
  float *u[TINKER__PROJS]; /* [rank] of each adapted matrix */
} tinker__cpu_acts_t;

typedef struct tinker__cpu_batch_s {
  tinker__eng_base_t *base;
  size_t rows;
  const tinker__cpu_seq_t *seqs; /* equal adapters lie next to each other */
  size_t num_seqs;
  float *attn;        /* [threads][attn_floats]: scores */
  size_t attn_floats; /* tinker__cpu_attn_floats of the longest sequence */
} tinker__cpu_batch_t;

/* Scratch of the backward pass of one layer, [rows] each. */
typedef struct tinker__cpu_grads_s {
  float *dh;                 /* [hidden] */
  float *dact, *dgate, *dup; /* [inter]; dact == dup */
  float *d_o, *dq, *dk, *dv;
  float *du; /* [rank] */
} tinker__cpu_grads_t;

/* Floats that one worker needs for the scores (and their gradients when
 * `backward`) of sequences of up to n rows in a batch and `keys` keys. */
size_t tinker__cpu_attn_floats(const tinker__eng_base_t *b, size_t n,
                               size_t keys, bool backward);
void tinker__cpu_acts_carve(tinker__cpu_arena_t *a, const tinker__eng_base_t *b,
                            size_t rows, size_t rank, tinker__cpu_acts_t *out);
void tinker__cpu_grads_carve(tinker__cpu_arena_t *a,
                             const tinker__eng_base_t *b, size_t rows,
                             size_t rank, tinker__cpu_grads_t *out);
/* The activations (gradients) from a row on, for a window of a batch with one
 * adapter. */
tinker__cpu_acts_t tinker__cpu_acts_from(const tinker__cpu_acts_t *a,
                                         const tinker__eng_base_t *b,
                                         size_t rank, size_t row);
tinker__cpu_grads_t tinker__cpu_grads_from(const tinker__cpu_grads_t *g,
                                           const tinker__eng_base_t *b,
                                           size_t row);

/* x[i] = embedding of tokens[i]; tokens are valid. */
void tinker__cpu_embed(const tinker__eng_base_t *b, const int32_t *tokens,
                       size_t n, float *x);
/* Computes everything else in acts from acts->x, and writes the layer's output
 * to y, which may be acts->x. */
void tinker__cpu_layer_forward(const tinker__cpu_batch_t *batch, size_t layer,
                               const tinker__cpu_acts_t *acts, float *y);
/* The way back through a layer has three stages: through the MLP and o_proj by
 * windows in order, through attention, and through q, k and v by windows in
 * order. A stage is done for all rows before the next one begins. dy
 * [rows][hidden] becomes the gradient by the layer's input (undefined when
 * !need_dx); LoRA gradients are added to g. All rows have one adapter. */
typedef struct tinker__cpu_back_s {
  size_t layer;
  bool need_dx; /* the gradient by the layer's input is needed */
  bool attn;    /* the way goes on through attention */
  float *g;
} tinker__cpu_back_t;

void tinker__cpu_layer_back_mlp(const tinker__cpu_batch_t *batch,
                                const tinker__cpu_back_t *back,
                                const tinker__cpu_acts_t *acts,
                                const tinker__cpu_grads_t *s, float *dy);
void tinker__cpu_layer_back_qkv(const tinker__cpu_batch_t *batch,
                                const tinker__cpu_back_t *back,
                                const tinker__cpu_acts_t *acts,
                                const tinker__cpu_grads_t *s, float *dy);
/* A product y = W x (+ LoRA of each sequence) without bias; u gets the LoRA
 * middle. */
typedef struct {
  tinker__lora_target_t proj;
  const float *x;
  float *u, *y;
} tinker__cpu_proj_t;
/* Computes n products of one layer, at most TINKER__LINEARS, or the head's. */
void tinker__cpu_project(const tinker__cpu_batch_t *batch, size_t layer,
                         const tinker__cpu_proj_t *all, size_t n,
                         bool accumulate);

/* Where a sequence's keys and values of one layer lie for a kv head: key
 * element (pos, d) at k[d * k_ds + pos * k_ps], value at
 * v[pos * v_ps + d]. */
typedef struct tinker__cpu_kv_view_s {
  const float *k, *v;
  size_t k_ds, k_ps, v_ps;
} tinker__cpu_kv_view_t;
tinker__cpu_kv_view_t tinker__cpu_kv_view(const tinker__cpu_batch_t *batch,
                                          size_t layer,
                                          const tinker__cpu_acts_t *acts,
                                          const tinker__cpu_seq_t *seq,
                                          size_t kv_head);

/* acts->q, k, v -> acts->o. */
void tinker__cpu_attention(const tinker__cpu_batch_t *batch, size_t layer,
                           const tinker__cpu_acts_t *acts);
/* Computes s->dq, dk and dv, the gradients by the rotated q and k and by v,
 * from s->d_o, for the query head `member` of each group and the blocks of
 * TINKER__ATTN_ROWS rows that begin in [row, to). The sums by a key or value
 * are chains over the members and then the positions, so the calls must be made
 * in that order. */
void tinker__cpu_attention_back(const tinker__cpu_batch_t *batch, size_t layer,
                                const tinker__cpu_acts_t *acts,
                                const tinker__cpu_grads_t *s, size_t member,
                                size_t row, size_t to);

#endif
