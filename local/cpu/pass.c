/* pass: forward and backward over the datums of a request, step by step.
 *
 * Engine thread. All memory is taken at the beginning, for the largest step,
 * so a step can only be cancelled. A step's datums lie one behind the other
 * in one batch; which step a datum falls into changes no bit. Activations of
 * as many layers as the budget allows are kept for the way back, the others
 * are computed again from the layer's input. */
#include <string.h>
#include <tinker/error.h>

#include "cpu/train.h"

#define STEP_TOKENS 2048
#define STEP_TOKENS_MIN 256

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
  size_t limit; /* tokens of a step, if it has several datums */
  size_t kept;  /* layers from the top whose activations stay */

  tinker__cpu_arena_t arena;
  tinker__cpu_acts_t *acts; /* [layers + 1]; of the last only x is there */
  tinker__cpu_grads_t grads;
  tinker__cpu_head_t head;
  float *dy;
  tinker__cpu_seq_t *seqs; /* [most datums of a step] */
  int32_t *tokens;         /* [most rows of a step] */
  tinker__cpu_batch_t batch;
};

/* Datums of the step that starts at `first`; *rows gets its tokens. */
static size_t step_end(const tinker__eng_pass_t *p, size_t first,
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
  size_t rows, datums, longest; /* of the largest step, each */
} extent_t;

static extent_t measure(const tinker__eng_pass_t *p) {
  extent_t x = {0};
  for (size_t i = 0, end, rows; i < p->n; i = end) {
    end = step_end(p, i, &rows);
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

/* How many tokens a step takes and how many layers keep their activations. */
static void plan(tinker__eng_pass_t *p) {
  size_t layers = p->t->base->d.layers;
  size_t budget = p->t->base->engine->budget;
  size_t per_token = layer_floats(p, STEP_TOKENS) / STEP_TOKENS + 1;
  p->limit = STEP_TOKENS;
  p->kept = 0;
  if (p->forward_only) return;
  size_t fit = budget / (per_token * layers);
  if (fit < p->limit) p->limit = fit < STEP_TOKENS_MIN ? STEP_TOKENS_MIN : fit;
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
  p->tokens = tinker__mem_array(mem, x.rows, sizeof *p->tokens);
  if (!p->acts || !p->seqs || !p->tokens) return TINKER_ENOMEM;
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
  if (t->busy && !forward_only) {
    return tinker__why(why, why_len, TINKER_ESTATE,
                       "another pass is collecting gradients");
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
  if (!forward_only) t->busy = true;
  *out = p;
  return 0;
}

/* The batch of the datums from `next` on; returns the end. */
static size_t set_batch(tinker__eng_pass_t *p) {
  size_t end = step_end(p, p->next, &p->batch.rows), row = 0;
  p->batch.num_seqs = end - p->next;
  for (size_t i = p->next; i < end; i++) {
    size_t n = p->data[i].n;
    p->seqs[i - p->next] =
        (tinker__cpu_seq_t){.row0 = row, .n = n, .adapter = p->adapter};
    memcpy(p->tokens + row, p->data[i].tokens, n * sizeof *p->tokens);
    row += n;
  }
  return end;
}

static bool cancelled(const atomic_bool *cancel) {
  return cancel && atomic_load(cancel);
}

/* False when cancelled on the way. */
static bool layers_forward(tinker__eng_pass_t *p, const atomic_bool *cancel) {
  tinker__cpu_embed(p->t->base, p->tokens, p->batch.rows, p->acts[0].x);
  for (size_t l = 0; l < p->t->base->d.layers; l++) {
    if (cancelled(cancel)) return false;
    tinker__cpu_layer_forward(&p->batch, l, &p->acts[l], p->acts[l + 1].x);
  }
  return true;
}

static bool layers_backward(tinker__eng_pass_t *p, const atomic_bool *cancel) {
  size_t layers = p->t->base->d.layers;
  for (size_t l = layers; l-- > 0;) {
    if (cancelled(cancel)) return false;
    if (l + p->kept < layers) {
      tinker__cpu_layer_forward(&p->batch, l, &p->acts[l], p->acts[l + 1].x);
    }
    tinker__cpu_layer_backward(&p->batch, l, &p->acts[l], &p->grads, p->dy,
                               l > 0, p->t->g);
  }
  return true;
}

static bool run_step(tinker__eng_pass_t *p, const atomic_bool *cancel) {
  const tinker__eng_lora_config_t *c = &p->t->lora->config;
  bool back = !p->forward_only, deep = back && (c->train_attn || c->train_mlp);
  if (!layers_forward(p, cancel)) return false;
  tinker__cpu_head_loss(&p->batch, p->data + p->next, &p->loss, &p->head,
                        p->acts[p->t->base->d.layers].x, back ? p->t->g : NULL,
                        p->grads.dh, deep ? p->dy : NULL, &p->total);
  return !deep || layers_backward(p, cancel);
}

int tinker__cpu_pass_step(tinker__eng_pass_t *p, const atomic_bool *cancel,
                          char *why, size_t why_len) {
  if (p->failed) {
    return tinker__why(why, why_len, TINKER_ESTATE, "the pass has failed");
  }
  if (p->next == p->n) return 0;
  size_t end = set_batch(p);
  if (!p->forward_only) p->t->has_grad = true;
  if (cancelled(cancel) || !run_step(p, cancel)) {
    p->failed = true;
    return tinker__why(why, why_len, TINKER_ECANCELED, "canceled");
  }
  p->next = end;
  return p->next < p->n;
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
    if (p->failed || p->next < p->n) restore(p);
    p->t->busy = false;
  }
  free_pass(p);
}
