/* backward: the gradients of one layer. Engine thread and pool tasks;
 * invariants in forward.h. The base model is frozen: only LoRA matrices collect
 * gradients, all else passes them on. */
#include "cpu/forward.h"

void tinker__cpu_grads_carve(tinker__cpu_arena_t *a,
                             const tinker__eng_base_t *b, size_t rows,
                             size_t rank, tinker__cpu_grads_t *out) {
  const tinker__cpu_dims_t *d = &b->d;
  out->dh = tinker__cpu_carve(a, rows * d->hidden);
  out->dgate = tinker__cpu_carve(a, rows * d->inter);
  out->dup = tinker__cpu_carve(a, rows * d->inter);
  out->dact = out->dup;
  out->d_o = tinker__cpu_carve(a, rows * d->q_dim);
  out->dq = tinker__cpu_carve(a, rows * d->q_dim);
  out->dk = tinker__cpu_carve(a, rows * d->kv_dim);
  out->dv = tinker__cpu_carve(a, rows * d->kv_dim);
  out->du = tinker__cpu_carve(a, rows * rank);
}

tinker__cpu_grads_t tinker__cpu_grads_from(const tinker__cpu_grads_t *g,
                                           const tinker__eng_base_t *b,
                                           size_t row) {
  const tinker__cpu_dims_t *d = &b->d;
  return (tinker__cpu_grads_t){
      .dh = g->dh + row * d->hidden,
      .dact = g->dact + row * d->inter,
      .dgate = g->dgate + row * d->inter,
      .dup = g->dup + row * d->inter,
      .d_o = g->d_o + row * d->q_dim,
      .dq = g->dq + row * d->q_dim,
      .dk = g->dk + row * d->kv_dim,
      .dv = g->dv + row * d->kv_dim,
      .du = g->du,
  };
}

typedef struct {
  const tinker__cpu_batch_t *batch;
  const tinker__cpu_layer_t *layer;
  size_t index;
  const tinker__cpu_acts_t *acts;
  const tinker__cpu_grads_t *s;
  float *dy, *g;
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

/* Goes back through one matrix: adds the gradients of its LoRA, and sets dx, or
 * adds to it, unless dx is NULL. */
static void project_back(const stage_t *s, tinker__lora_target_t proj,
                         const float *x, const float *dy, float *dx,
                         bool accumulate) {
  const tinker__engine_t *e = s->batch->base->engine;
  const tinker__cpu_packed_t *w = s->layer->w[proj];
  if (dx) {
    tinker__cpu_linear_back(e->ks, e->pool, w, dy, w->n_out, s->batch->rows, dx,
                            w->k_in, accumulate);
  }
  tinker__cpu_lora_back(s->batch->seqs[0].adapter,
                        s->index * TINKER__PROJS + proj, x, w->k_in,
                        s->acts->u[proj], dy, w->n_out, s->batch->rows,
                        s->s->du, dx, w->k_in, s->g);
}

static void act_rows(void *arg, size_t row0, size_t n, unsigned worker) {
  const stage_t *s = arg;
  size_t inter = dims(s)->inter, at = row0 * inter;
  (void)worker;
  kernels(s)->silu_mul_back(s->s->dgate + at, s->s->dup + at, s->s->dact + at,
                            s->acts->gate + at, s->acts->up + at, n * inter);
}

static void norm2_rows(void *arg, size_t row0, size_t n, unsigned worker) {
  const stage_t *s = arg;
  size_t hidden = dims(s)->hidden;
  (void)worker;
  for (size_t i = row0; i < row0 + n; i++) {
    kernels(s)->rmsnorm_back(s->dy + i * hidden, s->s->dh + i * hidden,
                             s->acts->x2 + i * hidden, s->layer->norm2, hidden,
                             s->acts->r2[i], true);
  }
}

static void norm1_rows(void *arg, size_t row0, size_t n, unsigned worker) {
  const stage_t *s = arg;
  size_t hidden = dims(s)->hidden;
  (void)worker;
  for (size_t i = row0; i < row0 + n; i++) {
    kernels(s)->rmsnorm_back(s->dy + i * hidden, s->s->dh + i * hidden,
                             s->acts->x + i * hidden, s->layer->norm1, hidden,
                             s->acts->r1[i], true);
  }
}

/* Goes back through rotation and q/k norm of one row's heads, in place. */
static void heads_back(const stage_t *s, float *dx, const float *raw,
                       const float *r, size_t heads, const float *norm,
                       const float *rope) {
  const tinker__cpu_kernels_t *ks = kernels(s);
  size_t hd = dims(s)->head_dim;
  for (size_t h = 0; h < heads; h++) {
    float *g = dx + h * hd;
    ks->rope(g, rope, rope + hd / 2, hd / 2, true);
    if (norm) ks->rmsnorm_back(g, g, raw + h * hd, norm, hd, r[h], false);
  }
}

static void qk_rows(void *arg, size_t row0, size_t n, unsigned worker) {
  const stage_t *s = arg;
  const tinker__cpu_dims_t *d = dims(s);
  const tinker__cpu_acts_t *a = s->acts;
  const tinker__cpu_seq_t *q = s->batch->seqs;
  (void)worker;
  for (size_t i = row0; i < row0 + n; i++) {
    while (i >= q->row0 + q->n) q++;
    const float *rope =
        s->batch->base->rope + (q->pos0 + i - q->row0) * d->head_dim;
    heads_back(s, s->s->dq + i * d->q_dim, a->q_raw + i * d->q_dim,
               a->rq + (s->layer->q_norm ? i * d->heads : 0), d->heads,
               s->layer->q_norm, rope);
    heads_back(s, s->s->dk + i * d->kv_dim, a->k_raw + i * d->kv_dim,
               a->rk + (s->layer->k_norm ? i * d->kv_heads : 0), d->kv_heads,
               s->layer->k_norm, rope);
  }
}

static stage_t stage(const tinker__cpu_batch_t *batch,
                     const tinker__cpu_back_t *back,
                     const tinker__cpu_acts_t *acts,
                     const tinker__cpu_grads_t *s, float *dy) {
  return (stage_t){
      .batch = batch,
      .layer = &batch->base->layers[back->layer],
      .index = back->layer,
      .acts = acts,
      .s = s,
      .dy = dy,
      .g = back->g,
  };
}

void tinker__cpu_layer_back_mlp(const tinker__cpu_batch_t *batch,
                                const tinker__cpu_back_t *back,
                                const tinker__cpu_acts_t *acts,
                                const tinker__cpu_grads_t *s, float *dy) {
  stage_t t = stage(batch, back, acts, s, dy);
  float *dh = back->attn ? s->dh : NULL;
  project_back(&t, TINKER__LORA_DOWN, acts->act, dy, s->dact, false);
  run(&t, 5 * dims(&t)->inter, act_rows);
  project_back(&t, TINKER__LORA_GATE, acts->h2, s->dgate, dh, false);
  project_back(&t, TINKER__LORA_UP, acts->h2, s->dup, dh, true);
  if (!back->attn) return;
  run(&t, 3 * dims(&t)->hidden, norm2_rows);
  project_back(&t, TINKER__LORA_O, acts->o, dy, s->d_o, false);
}

void tinker__cpu_layer_back_qkv(const tinker__cpu_batch_t *batch,
                                const tinker__cpu_back_t *back,
                                const tinker__cpu_acts_t *acts,
                                const tinker__cpu_grads_t *s, float *dy) {
  stage_t t = stage(batch, back, acts, s, dy);
  float *dh = back->need_dx ? s->dh : NULL;
  run(&t, 3 * dims(&t)->q_dim, qk_rows);
  project_back(&t, TINKER__LORA_Q, acts->h1, s->dq, dh, false);
  project_back(&t, TINKER__LORA_K, acts->h1, s->dk, dh, true);
  project_back(&t, TINKER__LORA_V, acts->h1, s->dv, dh, true);
  if (back->need_dx) run(&t, 3 * dims(&t)->hidden, norm1_rows);
}
