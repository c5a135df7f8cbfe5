/* attention: causal attention with grouped keys, forward and back.
 *
 * Runs in pool tasks. Every sum over keys is one chain in the order of the
 * positions, and every softmax depends on exactly the keys that a query may
 * see. So a row's bits do not depend on how many rows are handled at once, on
 * where the keys lie, or on whether they are read from a cache. A gradient by a
 * key or value is one chain over (query head of the group, position). */
#include <stddef.h>
#include <string.h>

#include "cpu/forward.h"

/* Below so many keys times the width of all heads (two multiply-adds each) the
 * work is done without the workers. The bound is low because each group of
 * heads is a product of its own, which takes more time than its multiply-adds.
 */
#define INLINE_KEYS 40000

static size_t round16(size_t n) {
  return (n + 15) / 16 * 16;
}

/* Rows of scratch: a block of a prompt's rows, or the heads of a group. */
static size_t block_rows(const tinker__eng_base_t *b, size_t n) {
  size_t group = b->d.heads / b->d.kv_heads;
  size_t rows = n < TINKER__ATTN_ROWS ? n : TINKER__ATTN_ROWS;
  return rows > group ? rows : group;
}

size_t tinker__cpu_attn_floats(const tinker__eng_base_t *b, size_t n,
                               size_t keys, bool backward) {
  return block_rows(b, n) * round16(keys) * (backward ? 2 : 1);
}

tinker__cpu_kv_view_t tinker__cpu_kv_view(const tinker__cpu_batch_t *batch,
                                          size_t layer,
                                          const tinker__cpu_acts_t *acts,
                                          const tinker__cpu_seq_t *seq,
                                          size_t kv_head) {
  const tinker__cpu_dims_t *d = &batch->base->d;
  if (seq->slot) {
    return (tinker__cpu_kv_view_t){
        .k = tinker__cpu_slot_k(seq->slot, layer, kv_head),
        .v = tinker__cpu_slot_v(seq->slot, layer, kv_head),
        .k_ds = tinker__cpu_slot_stride(seq->slot, layer),
        .k_ps = 1,
        .v_ps = d->head_dim,
    };
  }
  /* The sequence of a window's first rows may begin before the window. */
  ptrdiff_t at =
      ((ptrdiff_t)seq->row0 - (ptrdiff_t)seq->pos0) * (ptrdiff_t)d->kv_dim +
      (ptrdiff_t)(kv_head * d->head_dim);
  return (tinker__cpu_kv_view_t){
      .k = acts->k + at,
      .v = acts->v + at,
      .k_ds = 1,
      .k_ps = d->kv_dim,
      .v_ps = d->kv_dim,
  };
}

typedef struct {
  const tinker__cpu_batch_t *batch;
  size_t layer;
  const tinker__cpu_acts_t *acts;
  /* Backward only. */
  const tinker__cpu_grads_t *s;
  size_t first_seq, member; /* query head of the groups */
  size_t row, to;           /* blocks that begin there */
} attn_t;

/* The sequence and head that a task works on. */
typedef struct {
  const attn_t *t;
  unsigned worker;
  const tinker__cpu_seq_t *seq;
  tinker__cpu_kv_view_t kv;
  float *p; /* scratch: scores, then weights */
} head_t;

static void gemm(const head_t *h, const tinker__cpu_gemm_t *g) {
  const tinker__engine_t *e = h->t->batch->base->engine;
  tinker__cpu_gemm_task(e->ks, e->pool, h->worker, g);
}

/* p[m][ld] = softmax of scores. Row i sees the first `seen` + i * step keys;
 * the values after them are undefined. */
static void weights(const head_t *h, const float *q, size_t ldq, size_t m,
                    size_t seen, size_t step, size_t ld) {
  const tinker__eng_base_t *b = h->t->batch->base;
  tinker__cpu_gemm_t scores = {
      .m = m,
      .n = seen + (m - 1) * step,
      .k = b->d.head_dim,
      .a = q,
      .a_rs = ldq,
      .a_cs = 1,
      .b = h->kv.k,
      .b_rs = h->kv.k_ds,
      .b_cs = h->kv.k_ps,
      .c = h->p,
      .ldc = ld,
      .shape = step ? TINKER__GEMM_N_CAUSAL : TINKER__GEMM_FULL,
      .diag = seen - 1,
  };
  /* A cache has room for whole panels of keys, which are read in place. */
  if (h->seq->slot) scores.n = round16(scores.n);
  gemm(h, &scores);
  for (size_t i = 0; i < m; i++) {
    float *row = h->p + i * ld;
    b->engine->ks->softmax(row, row, seen + i * step, b->d.attn_scale);
  }
}

/* out[m] = weights times values. */
static void mix(const head_t *h, float *out, size_t ldo, size_t m, size_t seen,
                size_t step, size_t ld) {
  tinker__cpu_gemm_t g = {
      .m = m,
      .n = h->t->batch->base->d.head_dim,
      .k = seen + (m - 1) * step,
      .a = h->p,
      .a_rs = ld,
      .a_cs = 1,
      .b = h->kv.v,
      .b_rs = h->kv.v_ps,
      .b_cs = 1,
      .c = out,
      .ldc = ldo,
      .shape = step ? TINKER__GEMM_K_CAUSAL : TINKER__GEMM_FULL,
      .diag = seen - 1,
  };
  gemm(h, &g);
}

/* Does all heads of a group at one position; they share keys and values. */
static void one_position(const head_t *h, size_t kv_head) {
  const tinker__cpu_dims_t *d = &h->t->batch->base->d;
  size_t group = d->heads / d->kv_heads;
  size_t at = h->seq->row0 * d->q_dim + kv_head * group * d->head_dim;
  size_t seen = h->seq->pos0 + 1, ld = round16(seen);
  weights(h, h->t->acts->q + at, d->head_dim, group, seen, 0, ld);
  mix(h, h->t->acts->o + at, d->head_dim, group, seen, 0, ld);
}

static void many_positions(const head_t *h, size_t head) {
  const tinker__cpu_dims_t *d = &h->t->batch->base->d;
  size_t ld = round16(h->seq->pos0 + h->seq->n);
  for (size_t i = 0; i < h->seq->n; i += TINKER__ATTN_ROWS) {
    size_t m = h->seq->n - i;
    if (m > TINKER__ATTN_ROWS) m = TINKER__ATTN_ROWS;
    size_t at = (h->seq->row0 + i) * d->q_dim + head * d->head_dim;
    size_t seen = h->seq->pos0 + i + 1;
    weights(h, h->t->acts->q + at, d->q_dim, m, seen, 1, ld);
    mix(h, h->t->acts->o + at, d->q_dim, m, seen, 1, ld);
  }
}

static head_t open_head(const attn_t *t, size_t seq, size_t kv_head,
                        unsigned worker) {
  const tinker__cpu_batch_t *b = t->batch;
  return (head_t){
      .t = t,
      .worker = worker,
      .seq = &b->seqs[seq],
      .kv = tinker__cpu_kv_view(b, t->layer, t->acts, &b->seqs[seq], kv_head),
      .p = b->attn + worker * b->attn_floats,
  };
}

static void forward_task(void *arg, size_t task, unsigned worker) {
  const attn_t *t = arg;
  const tinker__cpu_dims_t *d = &t->batch->base->d;
  size_t head = task % d->heads, group = d->heads / d->kv_heads;
  head_t h = open_head(t, task / d->heads, head / group, worker);
  if (h.seq->n > 1) {
    many_positions(&h, head);
  } else if (head % group == 0) {
    one_position(&h, head / group);
  }
}

/* True when so few keys are looked at that waking workers would cost more. */
static bool is_small(const tinker__cpu_batch_t *b) {
  uint64_t keys = 0;
  for (size_t i = 0; i < b->num_seqs; i++) {
    keys += (uint64_t)b->seqs[i].n * (b->seqs[i].pos0 + b->seqs[i].n);
  }
  return keys * b->base->d.q_dim < INLINE_KEYS;
}

void tinker__cpu_attention(const tinker__cpu_batch_t *batch, size_t layer,
                           const tinker__cpu_acts_t *acts) {
  attn_t t = {.batch = batch, .layer = layer, .acts = acts};
  size_t tasks = batch->num_seqs * batch->base->d.heads;
  if (!is_small(batch)) {
    tinker__cpu_pool_run(batch->base->engine->pool, forward_task, &t, tasks);
    return;
  }
  for (size_t i = 0; i < tasks; i++) forward_task(&t, i, 0);
}

/* dp[m][ld]: gradients by the weights, then by the scores; both p and dp are
 * zero where a query sees no key. */
static void scores_back(const head_t *h, const float *d_o, size_t m, size_t i0,
                        float *dp, size_t ld) {
  const tinker__eng_base_t *b = h->t->batch->base;
  size_t keys = i0 + m;
  tinker__cpu_gemm_t g = {
      .m = m,
      .n = keys,
      .k = b->d.head_dim,
      .a = d_o,
      .a_rs = b->d.q_dim,
      .a_cs = 1,
      .b = h->kv.v,
      .b_rs = 1,
      .b_cs = h->kv.v_ps,
      .c = dp,
      .ldc = ld,
      .shape = TINKER__GEMM_N_CAUSAL,
      .diag = i0,
  };
  gemm(h, &g);
  for (size_t i = 0; i < m; i++) {
    size_t seen = i0 + i + 1;
    float *p_row = h->p + i * ld, *dp_row = dp + i * ld;
    b->engine->ks->softmax_back(dp_row, p_row, dp_row, seen, b->d.attn_scale);
    memset(p_row + seen, 0, (keys - seen) * sizeof *p_row);
    memset(dp_row + seen, 0, (keys - seen) * sizeof *dp_row);
  }
}

/* c[keys] += a^T b: a [m][ld] by key, b [m] rows of one head. */
static void onto_keys(const head_t *h, const float *a, size_t ld, size_t m,
                      size_t keys, const float *b, float *c) {
  const tinker__cpu_dims_t *d = &h->t->batch->base->d;
  tinker__cpu_gemm_t g = {
      .m = keys,
      .n = d->head_dim,
      .k = m,
      .a = a,
      .a_rs = 1,
      .a_cs = ld,
      .b = b,
      .b_rs = d->q_dim,
      .b_cs = 1,
      .c = c,
      .ldc = d->kv_dim,
      .accumulate = true,
  };
  gemm(h, &g);
}

static void block_back(const head_t *h, size_t head, size_t kv_head, size_t i0,
                       size_t m, size_t ld) {
  const tinker__cpu_dims_t *d = &h->t->batch->base->d;
  const tinker__cpu_grads_t *s = h->t->s;
  size_t q_at = (h->seq->row0 + i0) * d->q_dim + head * d->head_dim;
  size_t kv_at = h->seq->row0 * d->kv_dim + kv_head * d->head_dim;
  const float *q = h->t->acts->q + q_at, *d_o = s->d_o + q_at;
  float *dp = h->p + h->t->batch->attn_floats / 2;
  weights(h, q, d->q_dim, m, i0 + 1, 1, ld);
  scores_back(h, d_o, m, i0, dp, ld);
  tinker__cpu_gemm_t g = {
      .m = m,
      .n = d->head_dim,
      .k = i0 + m,
      .a = dp,
      .a_rs = ld,
      .a_cs = 1,
      .b = h->kv.k,
      .b_rs = h->kv.k_ps,
      .b_cs = 1,
      .c = s->dq + q_at,
      .ldc = d->q_dim,
      .shape = TINKER__GEMM_K_CAUSAL,
      .diag = i0,
  };
  gemm(h, &g);
  onto_keys(h, dp, ld, m, i0 + m, q, s->dk + kv_at);
  onto_keys(h, h->p, ld, m, i0 + m, d_o, s->dv + kv_at);
}

/* Clears the gradients by a block's keys and values. Only this block and later
 * ones add to them. */
static void clear_block(const head_t *h, size_t kv_head, size_t i0, size_t m) {
  const tinker__cpu_dims_t *d = &h->t->batch->base->d;
  for (size_t i = i0; i < i0 + m; i++) {
    size_t at = (h->seq->row0 + i) * d->kv_dim + kv_head * d->head_dim;
    memset(h->t->s->dk + at, 0, d->head_dim * sizeof(float));
    memset(h->t->s->dv + at, 0, d->head_dim * sizeof(float));
  }
}

/* The offset in the sequence of its first block that begins at `row` or later.
 */
static size_t first_block(const tinker__cpu_seq_t *seq, size_t row) {
  size_t skip = row > seq->row0 ? row - seq->row0 : 0;
  return (skip + TINKER__ATTN_ROWS - 1) / TINKER__ATTN_ROWS * TINKER__ATTN_ROWS;
}

static void backward_task(void *arg, size_t task, unsigned worker) {
  const attn_t *t = arg;
  const tinker__cpu_dims_t *d = &t->batch->base->d;
  size_t kv_head = task % d->kv_heads, group = d->heads / d->kv_heads;
  head_t h = open_head(t, t->first_seq + task / d->kv_heads, kv_head, worker);
  size_t ld = round16(h.seq->n), head = kv_head * group + t->member;
  for (size_t i = first_block(h.seq, t->row);
       i < h.seq->n && h.seq->row0 + i < t->to; i += TINKER__ATTN_ROWS) {
    size_t m = h.seq->n - i;
    if (m > TINKER__ATTN_ROWS) m = TINKER__ATTN_ROWS;
    if (t->member == 0) clear_block(&h, kv_head, i, m);
    block_back(&h, head, kv_head, i, m, ld);
  }
}

void tinker__cpu_attention_back(const tinker__cpu_batch_t *batch, size_t layer,
                                const tinker__cpu_acts_t *acts,
                                const tinker__cpu_grads_t *s, size_t member,
                                size_t row, size_t to) {
  attn_t t = {
      .batch = batch,
      .layer = layer,
      .acts = acts,
      .s = s,
      .member = member,
      .row = row,
      .to = to,
  };
  size_t end = 0;
  for (size_t i = 0; i < batch->num_seqs && batch->seqs[i].row0 < to; i++) {
    if (batch->seqs[i].row0 + batch->seqs[i].n <= row) t.first_seq = i + 1;
    end = i + 1;
  }
  tinker__cpu_pool_run(batch->base->engine->pool, backward_task, &t,
                       (end - t.first_seq) * batch->base->d.kv_heads);
}
