/* forward: one layer for a batch of rows. Engine thread and pool tasks;
 * invariants in forward.h.
 *
 * A residual is the value that a product's chain starts from: the rows of x are
 * copied to the output, and o_proj and down_proj accumulate onto them. */
#include "cpu/forward.h"

#include <string.h>

void tinker__cpu_acts_carve(tinker__cpu_arena_t *a, const tinker__eng_base_t *b,
                            size_t rows, size_t rank, tinker__cpu_acts_t *out) {
  const tinker__cpu_dims_t *d = &b->d;
  bool norm = b->layers[0].q_norm != NULL;
  *out = (tinker__cpu_acts_t){0};
  out->x = tinker__cpu_carve(a, rows * d->hidden);
  out->h1 = tinker__cpu_carve(a, rows * d->hidden);
  out->r1 = tinker__cpu_carve(a, rows);
  out->q = tinker__cpu_carve(a, rows * d->q_dim);
  out->k = tinker__cpu_carve(a, rows * d->kv_dim);
  out->q_raw = norm ? tinker__cpu_carve(a, rows * d->q_dim) : out->q;
  out->k_raw = norm ? tinker__cpu_carve(a, rows * d->kv_dim) : out->k;
  out->rq = tinker__cpu_carve(a, norm ? rows * d->heads : 0);
  out->rk = tinker__cpu_carve(a, norm ? rows * d->kv_heads : 0);
  out->v = tinker__cpu_carve(a, rows * d->kv_dim);
  out->o = tinker__cpu_carve(a, rows * d->q_dim);
  out->x2 = tinker__cpu_carve(a, rows * d->hidden);
  out->h2 = tinker__cpu_carve(a, rows * d->hidden);
  out->r2 = tinker__cpu_carve(a, rows);
  out->gate = tinker__cpu_carve(a, rows * d->inter);
  out->up = tinker__cpu_carve(a, rows * d->inter);
  out->act = tinker__cpu_carve(a, rows * d->inter);
  for (size_t p = 0; p < TINKER__PROJS; p++) {
    out->u[p] = tinker__cpu_carve(a, rows * rank);
  }
}

tinker__cpu_acts_t tinker__cpu_acts_from(const tinker__cpu_acts_t *a,
                                         const tinker__eng_base_t *b,
                                         size_t rank, size_t row) {
  const tinker__cpu_dims_t *d = &b->d;
  bool norm = b->layers[0].q_norm != NULL;
  tinker__cpu_acts_t out = {
      .x = a->x + row * d->hidden,
      .h1 = a->h1 + row * d->hidden,
      .r1 = a->r1 + row,
      .q_raw = a->q_raw + row * d->q_dim,
      .k_raw = a->k_raw + row * d->kv_dim,
      .rq = a->rq + (norm ? row * d->heads : 0),
      .rk = a->rk + (norm ? row * d->kv_heads : 0),
      .q = a->q + row * d->q_dim,
      .k = a->k + row * d->kv_dim,
      .v = a->v + row * d->kv_dim,
      .o = a->o + row * d->q_dim,
      .x2 = a->x2 + row * d->hidden,
      .h2 = a->h2 + row * d->hidden,
      .r2 = a->r2 + row,
      .gate = a->gate + row * d->inter,
      .up = a->up + row * d->inter,
      .act = a->act + row * d->inter,
  };
  for (size_t p = 0; p < TINKER__PROJS; p++) out.u[p] = a->u[p] + row * rank;
  return out;
}

/* The arguments of the row functions of a layer. */
typedef struct {
  const tinker__cpu_batch_t *batch;
  const tinker__cpu_layer_t *layer;
  size_t index;
  const tinker__cpu_acts_t *acts;
  float *y;
  const int32_t *tokens;
} stage_t;

static const tinker__cpu_dims_t *dims(const stage_t *s) {
  return &s->batch->base->d;
}

static const tinker__cpu_kernels_t *kernels(const stage_t *s) {
  return s->batch->base->engine->ks;
}

static void run(const stage_t *s, size_t width, tinker__cpu_rows_fn fn) {
  tinker__cpu_rows_run(s->batch->base->engine, s->batch->rows, width, fn,
                       (void *)s);
}

typedef struct {
  const tinker__eng_base_t *base;
  const int32_t *tokens;
  float *x;
} embed_t;

static void embed_rows(void *arg, size_t row0, size_t n, unsigned worker) {
  const embed_t *e = arg;
  size_t hidden = e->base->d.hidden;
  (void)worker;
  for (size_t i = row0; i < row0 + n; i++) {
    tinker__cpu_packed_row(e->base->embed, (size_t)e->tokens[i],
                           e->x + i * hidden);
  }
}

void tinker__cpu_embed(const tinker__eng_base_t *b, const int32_t *tokens,
                       size_t n, float *x) {
  embed_t e = {.base = b, .tokens = tokens, .x = x};
  /* A row is gathered from as many cache lines as it has values. */
  tinker__cpu_rows_run(b->engine, n, b->d.hidden * 4, embed_rows, &e);
}

/* The end of the run of sequences with equal adapter that begins at `first`. */
static size_t same_adapter(const tinker__cpu_batch_t *b, size_t first) {
  size_t end = first + 1;
  while (end < b->num_seqs && b->seqs[end].adapter == b->seqs[first].adapter) {
    end++;
  }
  return end;
}

static const tinker__cpu_packed_t *
matrix(const tinker__eng_base_t *b, size_t layer, tinker__lora_target_t proj) {
  return proj == TINKER__LORA_LM_HEAD ? b->head : b->layers[layer].w[proj];
}

/* Adds the LoRA of the rows [row0, row0 + m), which have one adapter. In each
 * u, `before` floats of the middles of earlier rows come first. */
static void adapt(const tinker__cpu_batch_t *batch, size_t layer,
                  const tinker__cpu_proj_t *all, size_t n,
                  const tinker__eng_adapter_t *a, size_t row0, size_t m,
                  size_t before) {
  const tinker__eng_base_t *b = batch->base;
  tinker__cpu_adapted_t t[TINKER__LINEARS];
  for (size_t i = 0; i < n; i++) {
    const tinker__cpu_packed_t *w = matrix(b, layer, all[i].proj);
    t[i] = (tinker__cpu_adapted_t){
        .target = all[i].proj == TINKER__LORA_LM_HEAD
                      ? b->d.layers * TINKER__PROJS
                      : layer * TINKER__PROJS + all[i].proj,
        .x = all[i].x + row0 * w->k_in,
        .ldx = w->k_in,
        .u = all[i].u + before,
        .y = all[i].y + row0 * w->n_out,
        .ldy = w->n_out,
    };
  }
  tinker__cpu_lora_apply(a, t, n, m);
}

void tinker__cpu_project(const tinker__cpu_batch_t *batch, size_t layer,
                         const tinker__cpu_proj_t *all, size_t n,
                         bool accumulate) {
  const tinker__eng_base_t *b = batch->base;
  tinker__cpu_linear_t l[TINKER__LINEARS];
  for (size_t i = 0; i < n; i++) {
    const tinker__cpu_packed_t *w = matrix(b, layer, all[i].proj);
    l[i] = (tinker__cpu_linear_t){w, all[i].x, w->k_in, all[i].y, w->n_out};
  }
  tinker__cpu_linears(b->engine->ks, b->engine->pool, l, n, batch->rows,
                      accumulate);
  size_t before = 0; /* floats of middles */
  for (size_t i = 0, end; i < batch->num_seqs; i = end) {
    end = same_adapter(batch, i);
    const tinker__eng_adapter_t *a = batch->seqs[i].adapter;
    size_t row0 = batch->seqs[i].row0;
    size_t m = batch->seqs[end - 1].row0 + batch->seqs[end - 1].n - row0;
    if (!a) continue;
    adapt(batch, layer, all, n, a, row0, m, before);
    before += m * a->lora->rank;
  }
}

static void norm1_rows(void *arg, size_t row0, size_t n, unsigned worker) {
  const stage_t *s = arg;
  const tinker__cpu_acts_t *a = s->acts;
  size_t hidden = dims(s)->hidden;
  (void)worker;
  for (size_t i = row0; i < row0 + n; i++) {
    a->r1[i] = kernels(s)->rmsnorm(a->h1 + i * hidden, a->x + i * hidden,
                                   s->layer->norm1, hidden, dims(s)->eps);
  }
}

/* Applies bias, q/k norm and rotation to one row's heads. */
static void finish_heads(const stage_t *s, float *x, float *raw, float *r,
                         size_t heads, const float *bias, const float *norm,
                         const float *rope) {
  const tinker__cpu_kernels_t *ks = kernels(s);
  size_t hd = dims(s)->head_dim;
  if (bias) ks->add(raw, bias, heads * hd);
  for (size_t h = 0; h < heads; h++) {
    if (norm) {
      r[h] = ks->rmsnorm(x + h * hd, raw + h * hd, norm, hd, dims(s)->eps);
    }
    ks->rope(x + h * hd, rope, rope + hd / 2, hd / 2, false);
  }
}

/* Append one row's keys and values to its slot. */
static void store_kv(const stage_t *s, const tinker__cpu_seq_t *q, size_t pos,
                     const float *k, const float *v) {
  const tinker__cpu_dims_t *d = dims(s);
  for (size_t h = 0; h < d->kv_heads; h++) {
    float *to = tinker__cpu_slot_k(q->slot, s->index, h) + pos;
    size_t stride = tinker__cpu_slot_stride(q->slot, s->index);
    for (size_t i = 0; i < d->head_dim; i++) {
      to[i * stride] = k[h * d->head_dim + i];
    }
    memcpy(tinker__cpu_slot_v(q->slot, s->index, h) + pos * d->head_dim,
           v + h * d->head_dim, d->head_dim * sizeof *v);
  }
}

static void qkv_row(const stage_t *s, const tinker__cpu_seq_t *q, size_t row) {
  const tinker__cpu_dims_t *d = dims(s);
  const tinker__cpu_layer_t *y = s->layer;
  const tinker__cpu_acts_t *a = s->acts;
  size_t pos = q->pos0 + row - q->row0;
  const float *rope = s->batch->base->rope + pos * d->head_dim;
  float *k = a->k + row * d->kv_dim, *v = a->v + row * d->kv_dim;
  finish_heads(s, a->q + row * d->q_dim, a->q_raw + row * d->q_dim,
               a->rq + (y->q_norm ? row * d->heads : 0), d->heads,
               y->bias[TINKER__LORA_Q], y->q_norm, rope);
  finish_heads(s, k, a->k_raw + row * d->kv_dim,
               a->rk + (y->k_norm ? row * d->kv_heads : 0), d->kv_heads,
               y->bias[TINKER__LORA_K], y->k_norm, rope);
  if (y->bias[TINKER__LORA_V]) {
    kernels(s)->add(v, y->bias[TINKER__LORA_V], d->kv_dim);
  }
  if (q->slot) store_kv(s, q, pos, k, v);
}

static void qkv_rows(void *arg, size_t row0, size_t n, unsigned worker) {
  const stage_t *s = arg;
  size_t hidden = dims(s)->hidden;
  const tinker__cpu_seq_t *q = s->batch->seqs;
  (void)worker;
  for (size_t i = row0; i < row0 + n; i++) {
    while (i >= q->row0 + q->n) q++;
    qkv_row(s, q, i);
  }
  memcpy(s->acts->x2 + row0 * hidden, s->acts->x + row0 * hidden,
         n * hidden * sizeof(float));
}

static void norm2_rows(void *arg, size_t row0, size_t n, unsigned worker) {
  const stage_t *s = arg;
  const tinker__cpu_acts_t *a = s->acts;
  const float *bias = s->layer->bias[TINKER__LORA_O];
  size_t hidden = dims(s)->hidden;
  (void)worker;
  for (size_t i = row0; i < row0 + n; i++) {
    if (bias) kernels(s)->add(a->x2 + i * hidden, bias, hidden);
    a->r2[i] = kernels(s)->rmsnorm(a->h2 + i * hidden, a->x2 + i * hidden,
                                   s->layer->norm2, hidden, dims(s)->eps);
  }
}

static void act_rows(void *arg, size_t row0, size_t n, unsigned worker) {
  const stage_t *s = arg;
  const tinker__cpu_acts_t *a = s->acts;
  size_t inter = dims(s)->inter, hidden = dims(s)->hidden;
  (void)worker;
  kernels(s)->silu_mul(a->act + row0 * inter, a->gate + row0 * inter,
                       a->up + row0 * inter, n * inter);
  memcpy(s->y + row0 * hidden, a->x2 + row0 * hidden,
         n * hidden * sizeof(float));
}

void tinker__cpu_layer_forward(const tinker__cpu_batch_t *batch, size_t layer,
                               const tinker__cpu_acts_t *acts, float *y) {
  const tinker__cpu_dims_t *d = &batch->base->d;
  const tinker__cpu_acts_t *a = acts;
  stage_t s = {
      .batch = batch,
      .layer = &batch->base->layers[layer],
      .index = layer,
      .acts = acts,
      .y = y,
  };
  float *const *u = a->u;
  const tinker__cpu_proj_t qkv[] = {
      {TINKER__LORA_Q, a->h1, u[TINKER__LORA_Q], a->q_raw},
      {TINKER__LORA_K, a->h1, u[TINKER__LORA_K], a->k_raw},
      {TINKER__LORA_V, a->h1, u[TINKER__LORA_V], a->v},
  };
  const tinker__cpu_proj_t o = {TINKER__LORA_O, a->o, u[TINKER__LORA_O], a->x2};
  const tinker__cpu_proj_t gate_up[] = {
      {TINKER__LORA_GATE, a->h2, u[TINKER__LORA_GATE], a->gate},
      {TINKER__LORA_UP, a->h2, u[TINKER__LORA_UP], a->up},
  };
  const tinker__cpu_proj_t down = {TINKER__LORA_DOWN, a->act,
                                   u[TINKER__LORA_DOWN], y};
  run(&s, d->hidden, norm1_rows);
  tinker__cpu_project(batch, layer, qkv, 3, false);
  /* A key is scattered to as many cache lines of a slot as it has values. */
  run(&s, d->q_dim + d->hidden + d->kv_dim * (batch->seqs->slot ? 16 : 1),
      qkv_rows);
  tinker__cpu_attention(batch, layer, acts);
  tinker__cpu_project(batch, layer, &o, 1, true);
  run(&s, d->hidden, norm2_rows);
  tinker__cpu_project(batch, layer, gate_up, 2, false);
  run(&s, 3 * d->inter, act_rows);
  tinker__cpu_project(batch, layer, &down, 1, true);
}
