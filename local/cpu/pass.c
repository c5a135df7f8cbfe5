/* pass: forward and backward over the datums of a request, piece by piece.
 *
 * Engine thread. All memory is taken at the beginning, for the largest batch,
 * so a step can fail only by being cancelled. The datums of a batch lie one
 * after the other; which batch a datum is in changes no bit. The activations of
 * as many layers as the budget allows are kept for the way back; those of other
 * layers are computed again from the layer's input.
 *
 * A batch goes through stages, layer by layer. A stage is done in pieces, which
 * are windows of the batch's rows in their order. Sums over tokens are chains
 * in the order of the tokens, so where a piece ends changes no bit. A step does
 * pieces until it has done engine.piece multiply-adds. */
#include <string.h>
#include <tinker/error.h>

#include "cpu/train.h"

#define BATCH_TOKENS 2048
#define BATCH_TOKENS_MIN 256
/* A window has at least as many rows as a block of attention. */
#define WINDOW_ROWS_MIN TINKER__ATTN_ROWS

typedef enum {
  STAGE_GATHER,  /* the next batch */
  STAGE_FORWARD, /* of every layer, from the first */
  STAGE_HEAD,
  STAGE_AGAIN,     /* activations of a layer that were not kept */
  STAGE_MLP,       /* the way back of every layer, from the last */
  STAGE_ATTENTION, /* of each query head of the groups */
  STAGE_QKV,
  STAGE_DONE
} stage_t;

struct tinker__eng_pass_s {
  tinker__eng_train_t *t;
  tinker__eng_adapter_t
      *adapter; /* a reference: the version at the beginning */
  const tinker__eng_train_datum_t *data;
  size_t n, next;
  tinker__eng_loss_config_t loss;
  bool forward_only, failed;
  double total;
  bool had_grad;
  float *saved; /* gradients at the beginning, if there were some */
  size_t limit; /* tokens of a batch, if it has several datums */
  size_t kept;  /* layers from the top whose activations stay */

  stage_t stage;
  size_t end;           /* datums [next, end) are in the batch */
  size_t layer, member; /* of the stage */
  size_t row;           /* rows of the batch that the stage has done */

  tinker__cpu_arena_t arena;
  tinker__cpu_acts_t *acts; /* [layers + 1]; the last one has only x */
  tinker__cpu_grads_t grads;
  tinker__cpu_head_t head;
  float *dy;
  tinker__cpu_seq_t *seqs, *cut; /* [most datums of a batch] */
  int32_t *tokens;               /* [most rows of a batch] */
  tinker__cpu_batch_t batch;
  tinker__cpu_head_run_t run;
};

/* The end of the datums of the batch that starts at `first`; *rows gets its
 * tokens. */
static size_t batch_end(const tinker__eng_pass_t *p, size_t first,
                        size_t *rows) {
  size_t end = first;
  *rows = 0;
  while (end < p->n && (end == first || *rows + p->data[end].n <= p->limit)) {
    *rows += p->data[end].n;
    end++;
  }
  return end;
}

typedef struct {
  size_t rows, datums, longest; /* of the largest batch, each */
} extent_t;

static extent_t measure(const tinker__eng_pass_t *p) {
  extent_t x = {0};
  for (size_t i = 0, end, rows; i < p->n; i = end) {
    end = batch_end(p, i, &rows);
    if (rows > x.rows) x.rows = rows;
    if (end - i > x.datums) x.datums = end - i;
  }
  for (size_t i = 0; i < p->n; i++) {
    if (p->data[i].n > x.longest) x.longest = p->data[i].n;
  }
  return x;
}

static size_t layer_floats(const tinker__eng_pass_t *p, size_t rows) {
  tinker__cpu_arena_t a = {0};
  tinker__cpu_acts_t acts;
  tinker__cpu_acts_carve(&a, p->t->base, rows, p->t->lora->rank, &acts);
  return a.used;
}

/* Decides how many tokens a batch takes and how many layers keep their
 * activations. */
static void plan(tinker__eng_pass_t *p) {
  size_t layers = p->t->base->d.layers;
  size_t budget = p->t->base->engine->budget;
  size_t per_token = layer_floats(p, BATCH_TOKENS) / BATCH_TOKENS + 1;
  p->limit = BATCH_TOKENS;
  p->kept = 0;
  if (p->forward_only) return;
  size_t fit = budget / (per_token * layers);
  if (fit < BATCH_TOKENS_MIN) fit = BATCH_TOKENS_MIN;
  if (fit < p->limit) p->limit = fit;
  extent_t x = measure(p);
  p->kept = budget / (per_token * (x.rows + 1));
  if (p->kept > layers) p->kept = layers;
}

static void carve(tinker__eng_pass_t *p, tinker__cpu_arena_t *a,
                  const extent_t *x) {
  const tinker__eng_base_t *b = p->t->base;
  size_t rank = p->t->lora->rank, layers = b->d.layers;
  tinker__cpu_acts_t shared = {0};
  if (p->kept < layers) tinker__cpu_acts_carve(a, b, x->rows, rank, &shared);
  for (size_t l = 0; l < layers; l++) {
    p->acts[l] = shared;
    if (l + p->kept >= layers) {
      tinker__cpu_acts_carve(a, b, x->rows, rank, &p->acts[l]);
    } else if (!p->forward_only) {
      p->acts[l].x = tinker__cpu_carve(a, x->rows * b->d.hidden);
    }
  }
  p->acts[layers].x =
      p->forward_only ? shared.x : tinker__cpu_carve(a, x->rows * b->d.hidden);
  tinker__cpu_head_carve(a, b, x->rows, rank, &p->head);
  p->batch.attn_floats =
      tinker__cpu_attn_floats(b, x->longest, x->longest, !p->forward_only);
  p->batch.attn = tinker__cpu_carve(
      a, p->batch.attn_floats * tinker__cpu_pool_threads(b->engine->pool));
  if (p->forward_only) return;
  tinker__cpu_grads_carve(a, b, x->rows, rank, &p->grads);
  p->dy = tinker__cpu_carve(a, x->rows * b->d.hidden);
}

uint64_t tinker__cpu_pass_bytes(const tinker__eng_base_t *b,
                                const tinker__eng_lora_config_t *config,
                                const tinker__eng_train_datum_t *data, size_t n,
                                bool forward_only) {
  tinker__cpu_lora_t lora = {.rank = config->rank};
  tinker__eng_train_t t = {.base = (tinker__eng_base_t *)(uintptr_t)b,
                           .lora = &lora};
  tinker__eng_pass_t p = {
      .t = &t, .data = data, .n = n, .forward_only = forward_only};
  tinker__cpu_arena_t count = {0};
  p.acts = tinker__mem_array(b->engine->mem, b->d.layers + 1, sizeof *p.acts);
  if (!p.acts) return 0;
  plan(&p);
  extent_t x = measure(&p);
  carve(&p, &count, &x);
  tinker__mem_free(b->engine->mem, p.acts);
  uint64_t tables = (uint64_t)2 * x.longest * b->d.head_dim * sizeof(float) +
                    x.rows * sizeof *p.tokens + 2 * x.datums * sizeof *p.seqs;
  uint64_t saved =
      forward_only ? 0 : tinker__cpu_lora_floats(b, config) * sizeof(float);
  return tinker__cpu_arena_bytes(count.used) + tables + saved;
}

static int allocate(tinker__eng_pass_t *p) {
  tinker__eng_base_t *b = p->t->base;
  tinker__mem_t *mem = b->engine->mem;
  plan(p);
  extent_t x = measure(p);
  int rc = tinker__cpu_base_rope(b, x.longest);
  if (!rc) rc = tinker__cpu_adapter_pack(p->adapter);
  if (rc) return rc;
  p->acts = tinker__mem_array(mem, b->d.layers + 1, sizeof *p->acts);
  p->seqs = tinker__mem_array(mem, x.datums, sizeof *p->seqs);
  p->cut = tinker__mem_array(mem, x.datums, sizeof *p->cut);
  p->tokens = tinker__mem_array(mem, x.rows, sizeof *p->tokens);
  if (!p->acts || !p->seqs || !p->cut || !p->tokens) return TINKER_ENOMEM;
  if (!p->forward_only && p->had_grad) {
    p->saved =
        tinker__mem_dup(mem, p->t->g, p->t->lora->floats * sizeof(float));
    if (!p->saved) return TINKER_ENOMEM;
  }
  tinker__cpu_arena_t count = {0};
  carve(p, &count, &x);
  rc = tinker__cpu_arena_open(b->engine, &p->arena, count.used);
  if (!rc) carve(p, &p->arena, &x);
  return rc;
}

static void free_pass(tinker__eng_pass_t *p) {
  tinker__engine_t *e = p->t->base->engine;
  tinker__cpu_arena_close(e, &p->arena);
  tinker__mem_free(e->mem, p->saved);
  tinker__mem_free(e->mem, p->tokens);
  tinker__mem_free(e->mem, p->cut);
  tinker__mem_free(e->mem, p->seqs);
  tinker__mem_free(e->mem, p->acts);
  tinker__cpu_adapter_release(p->adapter);
  tinker__mem_free(e->mem, p);
}

int tinker__cpu_pass_begin(tinker__eng_train_t *t,
                           const tinker__eng_train_datum_t *data, size_t n,
                           const tinker__eng_loss_config_t *loss,
                           bool forward_only, tinker__eng_pass_t **out,
                           char *why, size_t why_len) {
  int rc = tinker__cpu_loss_check(t->base, data, n, loss, why, why_len);
  if (rc) return rc;
  if ((t->busy || t->optim.stage != TINKER__OPTIM_IDLE) && !forward_only) {
    return tinker__why(why, why_len, TINKER_ESTATE,
                       t->busy ? "another pass is collecting gradients"
                               : "an optimizer step is under way");
  }
  tinker__eng_pass_t *p = tinker__mem_zalloc(t->base->engine->mem, sizeof *p);
  if (!p) return tinker__why(why, why_len, TINKER_ENOMEM, "out of memory");
  p->t = t;
  p->adapter = tinker__cpu_adapter_retain(t->current);
  p->data = data;
  p->n = n;
  p->loss = *loss;
  p->forward_only = forward_only;
  p->had_grad = t->has_grad;
  rc = allocate(p);
  if (rc) {
    free_pass(p);
    return tinker__why(why, why_len, rc, "no memory for the activations");
  }
  p->batch.base = t->base;
  p->batch.seqs = p->seqs;
  p->stage = n > 0 ? STAGE_GATHER : STAGE_DONE;
  if (!forward_only) t->busy = true;
  *out = p;
  return 0;
}

/* --- Pieces --------------------------------------------------------------- */

/* Makes a batch of the datums from `next` on. */
static void gather(tinker__eng_pass_t *p) {
  size_t row = 0;
  p->end = batch_end(p, p->next, &p->batch.rows);
  p->batch.num_seqs = p->end - p->next;
  for (size_t i = p->next; i < p->end; i++) {
    size_t n = p->data[i].n;
    p->seqs[i - p->next] =
        (tinker__cpu_seq_t){.row0 = row, .n = n, .adapter = p->adapter};
    memcpy(p->tokens + row, p->data[i].tokens, n * sizeof *p->tokens);
    row += n;
  }
}

/* The window [row, row + n) of the batch. Its sequences are in p->cut until the
 * next window is made. */
static tinker__cpu_batch_t window(const tinker__eng_pass_t *p, size_t row,
                                  size_t n) {
  tinker__cpu_batch_t w = p->batch;
  w.rows = n;
  w.seqs = p->cut;
  w.num_seqs = 0;
  for (size_t i = 0; i < p->batch.num_seqs; i++) {
    const tinker__cpu_seq_t *s = &p->seqs[i];
    size_t from = s->row0 > row ? s->row0 : row;
    size_t to = s->row0 + s->n < row + n ? s->row0 + s->n : row + n;
    if (from >= to) continue;
    p->cut[w.num_seqs++] = (tinker__cpu_seq_t){
        .row0 = from - row,
        .n = to - from,
        .pos0 = from - s->row0,
        .adapter = s->adapter,
    };
  }
  return w;
}

/* Multiply-adds of a row through a matrix and its LoRA. */
static uint64_t matrix_cost(const tinker__eng_pass_t *p, size_t in,
                            size_t out) {
  return (uint64_t)in * out + (uint64_t)p->t->lora->rank * (in + out);
}

/* Keys that a row sees, with room for those of a window's further rows. */
static size_t keys_at(const tinker__eng_pass_t *p, size_t row) {
  const tinker__cpu_seq_t *s = p->seqs;
  while (row >= s->row0 + s->n) s++;
  return row - s->row0 + WINDOW_ROWS_MIN;
}

/* About how many multiply-adds one row takes in the present stage, by its
 * weights and by its keys. */
typedef struct {
  uint64_t weights, keys;
} cost_t;

static cost_t row_cost(const tinker__eng_pass_t *p) {
  const tinker__cpu_dims_t *d = &p->t->base->d;
  uint64_t mlp = 3 * matrix_cost(p, d->hidden, d->inter);
  uint64_t out = matrix_cost(p, d->q_dim, d->hidden);
  uint64_t qkv = matrix_cost(p, d->hidden, d->q_dim + 2 * d->kv_dim);
  uint64_t keys = keys_at(p, p->row);
  switch (p->stage) {
  case STAGE_MLP: return (cost_t){mlp + out, 0};
  case STAGE_ATTENTION: return (cost_t){0, 5 * keys * d->kv_dim};
  case STAGE_QKV: return (cost_t){qkv, 0};
  default: return (cost_t){mlp + out + qkv, 2 * keys * d->q_dim};
  }
}

/* How many rows the next window has for a budget of multiply-adds; *cost gets
 * the multiply-adds of these rows. */
static size_t window_rows(const tinker__eng_pass_t *p, uint64_t budget,
                          uint64_t *cost) {
  cost_t c = row_cost(p);
  size_t left = p->batch.rows - p->row;
  uint64_t least = p->t->base->engine->window * c.weights;
  uint64_t n = (budget > least ? budget : least) / (c.weights + c.keys);
  if (n < WINDOW_ROWS_MIN) n = WINDOW_ROWS_MIN;
  if (n > left) n = left;
  /* Even windows avoid a small one at the end. */
  uint64_t windows = (left + n - 1) / n;
  n = (left + windows - 1) / windows;
  *cost = n * (c.weights + c.keys);
  return (size_t)n;
}

static tinker__cpu_back_t way_back(const tinker__eng_pass_t *p) {
  bool need_dx = p->layer > 0;
  return (tinker__cpu_back_t){
      .layer = p->layer,
      .need_dx = need_dx,
      .attn = need_dx || p->t->lora->config.train_attn,
      .g = p->t->g,
  };
}

/* Does the present stage of the present layer for rows [row, row + n). */
static void run_window(tinker__eng_pass_t *p, size_t n) {
  const tinker__eng_base_t *b = p->t->base;
  size_t row = p->row, at = row * b->d.hidden;
  tinker__cpu_batch_t w = window(p, row, n);
  tinker__cpu_acts_t acts =
      tinker__cpu_acts_from(&p->acts[p->layer], b, p->t->lora->rank, row);
  if (p->stage == STAGE_FORWARD && p->layer == 0) {
    tinker__cpu_embed(b, p->tokens + row, n, acts.x);
  }
  if (p->stage == STAGE_FORWARD || p->stage == STAGE_AGAIN) {
    tinker__cpu_layer_forward(&w, p->layer, &acts,
                              p->acts[p->layer + 1].x + at);
    return;
  }
  tinker__cpu_grads_t grads = tinker__cpu_grads_from(&p->grads, b, row);
  tinker__cpu_back_t back = way_back(p);
  if (p->stage == STAGE_MLP) {
    tinker__cpu_layer_back_mlp(&w, &back, &acts, &grads, p->dy + at);
  } else {
    tinker__cpu_layer_back_qkv(&w, &back, &acts, &grads, p->dy + at);
  }
}

static bool goes_deep(const tinker__eng_pass_t *p) {
  const tinker__eng_lora_config_t *c = &p->t->lora->config;
  return !p->forward_only && (c->train_attn || c->train_mlp);
}

static void start_head(tinker__eng_pass_t *p) {
  bool back = !p->forward_only;
  p->run = (tinker__cpu_head_run_t){
      .batch = &p->batch,
      .data = p->data + p->next,
      .loss = &p->loss,
      .head = &p->head,
      .x = p->acts[p->t->base->d.layers].x,
      .g = back ? p->t->g : NULL,
      .dh = p->grads.dh,
      .dy = goes_deep(p) ? p->dy : NULL,
      .total = &p->total,
  };
}

static stage_t batch_over(tinker__eng_pass_t *p) {
  p->next = p->end;
  return p->next < p->n ? STAGE_GATHER : STAGE_DONE;
}

static stage_t into_layer(tinker__eng_pass_t *p, size_t layer) {
  p->layer = layer;
  return layer + p->kept < p->t->base->d.layers ? STAGE_AGAIN : STAGE_MLP;
}

static stage_t out_of_layer(tinker__eng_pass_t *p) {
  return p->layer > 0 ? into_layer(p, p->layer - 1) : batch_over(p);
}

/* Called when the stage has done all rows. Returns the next stage. */
static stage_t next_stage(tinker__eng_pass_t *p) {
  const tinker__cpu_dims_t *d = &p->t->base->d;
  switch (p->stage) {
  case STAGE_GATHER: p->layer = 0; return STAGE_FORWARD;
  case STAGE_FORWARD:
    if (++p->layer < d->layers) return STAGE_FORWARD;
    start_head(p);
    return STAGE_HEAD;
  case STAGE_HEAD:
    return goes_deep(p) ? into_layer(p, d->layers - 1) : batch_over(p);
  case STAGE_AGAIN: return STAGE_MLP;
  case STAGE_MLP:
    p->member = 0;
    return way_back(p).attn ? STAGE_ATTENTION : out_of_layer(p);
  case STAGE_ATTENTION:
    return ++p->member < d->heads / d->kv_heads ? STAGE_ATTENTION : STAGE_QKV;
  case STAGE_QKV: return out_of_layer(p);
  default: return STAGE_DONE;
  }
}

/* Does one more piece of the stage. Returns how many rows of the batch the
 * stage has done then; *cost gets the piece's multiply-adds. */
static size_t stage_piece(tinker__eng_pass_t *p, uint64_t budget,
                          uint64_t *cost) {
  *cost = 0;
  if (p->stage == STAGE_GATHER) {
    gather(p);
    return p->batch.rows;
  }
  if (p->stage == STAGE_HEAD) {
    *cost = tinker__cpu_head_step(&p->run, budget);
    return p->run.stage == TINKER__HEAD_DONE ? p->batch.rows : 0;
  }
  size_t n = window_rows(p, budget, cost);
  if (p->stage == STAGE_ATTENTION) {
    tinker__cpu_attention_back(&p->batch, p->layer, &p->acts[p->layer],
                               &p->grads, p->member, p->row, p->row + n);
  } else {
    run_window(p, n);
  }
  return p->row + n;
}

int tinker__cpu_pass_step(tinker__eng_pass_t *p, const atomic_bool *cancel,
                          char *why, size_t why_len) {
  uint64_t left = p->t->base->engine->piece, cost;
  if (p->failed) {
    return tinker__why(why, why_len, TINKER_ESTATE, "the pass has failed");
  }
  if (p->stage == STAGE_DONE) return 0;
  if (!p->forward_only) p->t->has_grad = true;
  while (p->stage != STAGE_DONE && left > 0) {
    if (cancel && atomic_load(cancel)) {
      p->failed = true;
      return tinker__why(why, why_len, TINKER_ECANCELED, "canceled");
    }
    p->row = stage_piece(p, left, &cost);
    left -= cost < left ? cost : left;
    if (p->row < p->batch.rows) continue;
    p->row = 0;
    p->stage = next_stage(p);
  }
  return p->stage != STAGE_DONE;
}

double tinker__cpu_pass_loss(const tinker__eng_pass_t *p) {
  return p->total;
}

static void restore(tinker__eng_pass_t *p) {
  tinker__eng_train_t *t = p->t;
  size_t bytes = t->lora->floats * sizeof(float);
  if (p->saved) {
    memcpy(t->g, p->saved, bytes);
  } else {
    memset(t->g, 0, bytes);
  }
  t->has_grad = p->had_grad;
}

void tinker__cpu_pass_end(tinker__eng_pass_t *p) {
  if (!p) return;
  if (!p->forward_only) {
    if (p->failed || p->stage != STAGE_DONE) restore(p);
    p->t->busy = false;
  }
  free_pass(p);
}
