/* loss: head, log-probabilities, losses and their gradients by the logits.
 * Engine thread and pool tasks; invariants in loss.h. */
#include "cpu/loss.h"

#include <math.h>
#include <string.h>
#include <tinker/error.h>

/* A block of logits has about this many floats, but at least so many rows, so
 * that they share the reading of the head's weights. */
#define BLOCK_FLOATS ((size_t)1 << 20)
#define BLOCK_ROWS_MIN 128

typedef struct {
  const tinker__eng_base_t *base;
  const tinker__eng_train_datum_t *data;
  size_t i; /* the datum under check */
  char *why;
  size_t why_len;
} check_t;

static int refuse(const check_t *c, const char *field, size_t j,
                  const char *reason) {
  return tinker__why(c->why, c->why_len, TINKER_EINVAL, "data[%zu].%s[%zu]: %s",
                     c->i, field, j, reason);
}

static int check_floats(const check_t *c, const char *field, const float *v,
                        size_t n) {
  if (!v) {
    return tinker__why(c->why, c->why_len, TINKER_EINVAL,
                       "data[%zu].%s: missing", c->i, field);
  }
  for (size_t j = 0; j < n; j++) {
    if (!isfinite(v[j])) return refuse(c, field, j, "not finite");
  }
  return 0;
}

static int check_shape(const check_t *c, const tinker__eng_train_datum_t *d,
                       bool soft_allowed) {
  const char *why = NULL;
  if (d->n == 0) {
    why = "no tokens";
  } else if (d->n > c->base->d.context) {
    why = "longer than the context of the model";
  } else if (d->k == 0 || d->k > c->base->d.vocab) {
    why = "target candidates per position must be 1 to the vocabulary's size";
  } else if (d->k > 1 && !soft_allowed) {
    why = "this loss takes one target per position";
  } else if (!d->tokens || !d->targets || !d->out_logprobs || !d->out_loss) {
    why = "an array is missing";
  }
  if (!why) return 0;
  return tinker__why(c->why, c->why_len, TINKER_EINVAL, "data[%zu]: %s", c->i,
                     why);
}

static int check_mask(const check_t *c, const tinker__eng_train_datum_t *d) {
  int rc = check_floats(c, "sequence_ratio_mask", d->ratio_mask, d->n);
  for (size_t j = 0; !rc && j < d->n; j++) {
    if (d->ratio_mask[j] != 0.0f) return 0;
  }
  if (rc) return rc;
  return tinker__why(c->why, c->why_len, TINKER_EINVAL,
                     "data[%zu].sequence_ratio_mask: no token counts", c->i);
}

static int check_datum(const check_t *c,
                       const tinker__eng_loss_config_t *loss) {
  const tinker__eng_train_datum_t *d = &c->data[c->i];
  size_t vocab = c->base->d.vocab;
  bool ce = loss->kind == TINKER__LOSS_CROSS_ENTROPY;
  int rc = check_shape(c, d, ce);
  if (rc) return rc;
  for (size_t j = 0; j < d->n; j++) {
    if (d->tokens[j] < 0 || (size_t)d->tokens[j] >= vocab) {
      return refuse(c, "tokens", j, "not in the vocabulary");
    }
  }
  for (size_t j = 0; j < d->n * d->k; j++) {
    if (d->targets[j] < 0 || (uint64_t)d->targets[j] >= vocab) {
      return refuse(c, "targets", j, "not in the vocabulary");
    }
  }
  if (ce) return check_floats(c, "weights", d->weights, d->n * d->k);
  rc = check_floats(c, "logprobs", d->logprobs, d->n);
  if (!rc) rc = check_floats(c, "advantages", d->advantages, d->n);
  return rc || loss->kind != TINKER__LOSS_GSPO ? rc : check_mask(c, d);
}

static int check_config(const tinker__eng_loss_config_t *l, char *why,
                        size_t why_len) {
  bool clips = l->kind == TINKER__LOSS_PPO || l->kind == TINKER__LOSS_CISPO ||
               l->kind == TINKER__LOSS_GSPO;
  if (clips && !(isfinite(l->clip_low) && isfinite(l->clip_high) &&
                 l->clip_low <= l->clip_high)) {
    return tinker__why(why, why_len, TINKER_EINVAL,
                       "clip thresholds: not finite, or low above high");
  }
  if (l->kind == TINKER__LOSS_DRO && !isfinite(l->beta)) {
    return tinker__why(why, why_len, TINKER_EINVAL, "beta: not finite");
  }
  return 0;
}

int tinker__cpu_loss_check(const tinker__eng_base_t *b,
                           const tinker__eng_train_datum_t *data, size_t n,
                           const tinker__eng_loss_config_t *loss, char *why,
                           size_t why_len) {
  check_t c = {.base = b, .data = data, .why = why, .why_len = why_len};
  int rc = check_config(loss, why, why_len);
  for (; !rc && c.i < n; c.i++) rc = check_datum(&c, loss);
  return rc;
}

size_t tinker__cpu_head_block(const tinker__eng_base_t *b, size_t rows) {
  size_t block = BLOCK_FLOATS / b->d.vocab;
  if (block < BLOCK_ROWS_MIN) block = BLOCK_ROWS_MIN;
  return block < rows ? block : rows;
}

void tinker__cpu_head_carve(tinker__cpu_arena_t *a, const tinker__eng_base_t *b,
                            size_t rows, size_t rank, tinker__cpu_head_t *out) {
  size_t block = tinker__cpu_head_block(b, rows);
  out->block = block;
  out->hf = tinker__cpu_carve(a, rows * b->d.hidden);
  out->rf = tinker__cpu_carve(a, rows);
  out->logits = tinker__cpu_carve(a, block * b->d.vocab);
  out->u = tinker__cpu_carve(a, block * rank);
  out->du = tinker__cpu_carve(a, block * rank);
  out->active = tinker__cpu_carve(a, block);
  out->w = tinker__cpu_carve(a, rows);
}

typedef tinker__cpu_head_run_t job_t;

/* True in gspo's first round, which only computes log-probabilities. */
static bool probing(const job_t *j) {
  return j->loss->kind == TINKER__LOSS_GSPO && !j->probed;
}

static const tinker__cpu_kernels_t *kernels(const job_t *j) {
  return j->batch->base->engine->ks;
}

static void norm_rows(void *arg, size_t row0, size_t n, unsigned worker) {
  const job_t *j = arg;
  const tinker__eng_base_t *b = j->batch->base;
  (void)worker;
  for (size_t i = j->row0 + row0; i < j->row0 + row0 + n; i++) {
    size_t at = i * b->d.hidden;
    j->head->rf[i] = kernels(j)->rmsnorm(j->head->hf + at, j->x + at, b->norm,
                                         b->d.hidden, b->d.eps);
  }
}

static void norm_back_rows(void *arg, size_t row0, size_t n, unsigned worker) {
  const job_t *j = arg;
  const tinker__eng_base_t *b = j->batch->base;
  (void)worker;
  for (size_t i = j->row0 + row0; i < j->row0 + row0 + n; i++) {
    size_t at = i * b->d.hidden;
    kernels(j)->rmsnorm_back(j->dy + at, j->dh + at, j->x + at, b->norm,
                             b->d.hidden, j->head->rf[i], false);
  }
}

static float clamp(const tinker__eng_loss_config_t *c, float r) {
  float low = (float)c->clip_low, high = (float)c->clip_high;
  return r < low ? low : r > high ? high : r;
}

/* ppo's loss of one position with the ratio r; *w as in policy_loss. */
static float clipped_loss(const tinker__eng_loss_config_t *c, float r,
                          float adv, float *w) {
  float free_term = r * adv, clamped = clamp(c, r) * adv;
  if (clamped < free_term) return -clamped;
  *w = free_term;
  return -free_term;
}

/* dro's loss of one position. Its quadratic term does not depend on the
 * advantage, so it counts where adv is 0, too. */
static float dro_loss(const tinker__eng_loss_config_t *c, float lp, float q,
                      float adv, float *w) {
  float beta = (float)c->beta, d = lp - q;
  *w = adv - beta * d;
  return -(lp * adv - 0.5f * beta * (d * d));
}

/* Loss of one position for the losses whose ratio is the position's own. *w
 * gets the factor of -d(logprob). */
static float policy_loss(const tinker__eng_loss_config_t *c, float lp, float q,
                         float adv, float *w) {
  *w = 0.0f;
  if (c->kind == TINKER__LOSS_DRO) return dro_loss(c, lp, q, adv, w);
  if (adv == 0.0f) return 0.0f;
  float r = tinker__cpu_expf(lp - q);
  if (c->kind == TINKER__LOSS_PPO) return clipped_loss(c, r, adv, w);
  if (c->kind == TINKER__LOSS_CISPO) {
    *w = clamp(c, r) * adv;
    return -(*w * lp);
  }
  *w = r * adv;
  return -*w;
}

/* gspo's ratio of a sequence. The sum is one chain in double, so the ratio of a
 * long sequence is as exact as that of a token. */
static float sequence_ratio(const tinker__eng_train_datum_t *d) {
  double sum = 0;
  size_t n = 0;
  for (size_t i = 0; i < d->n; i++) {
    if (d->ratio_mask[i] == 0.0f) continue;
    sum += (double)d->out_logprobs[i] - (double)d->logprobs[i];
    n++;
  }
  return tinker__cpu_expf((float)(sum / (double)n));
}

/* Computes losses and weights from the log-probabilities, between gspo's two
 * rounds. */
static void sequence_losses(const job_t *j) {
  for (size_t i = 0; i < j->batch->num_seqs; i++) {
    const tinker__eng_train_datum_t *d = &j->data[i];
    float s = sequence_ratio(d), *w = j->head->w + j->batch->seqs[i].row0;
    for (size_t k = 0; k < d->n; k++) {
      float adv = d->advantages[k];
      w[k] = 0.0f;
      d->out_loss[k] =
          adv == 0.0f ? 0.0f : clipped_loss(j->loss, s, adv, &w[k]);
    }
  }
}

/* Turns the logits into the gradient of -sum_k w_k logprob(target_k). */
static void soft_back(const job_t *j, float *row, float lse,
                      const int64_t *targets, const float *w, size_t k) {
  float sum = 0.0f;
  for (size_t i = 0; i < k; i++) sum += w[i];
  float first = sum * tinker__cpu_expf(row[targets[0]] - lse);
  kernels(j)->xent_back(row, row, j->batch->base->d.vocab, lse,
                        (size_t)targets[0], sum);
  row[targets[0]] = first;
  for (size_t i = 0; i < k; i++) row[targets[i]] -= w[i];
}

static bool cross_entropy_row(const job_t *j,
                              const tinker__eng_train_datum_t *d, size_t pos,
                              float *row, float lse) {
  const int64_t *targets = d->targets + pos * d->k;
  const float *w = d->weights + pos * d->k;
  float *lp = d->out_logprobs + pos * d->k, *loss = d->out_loss + pos * d->k;
  bool active = false;
  for (size_t i = 0; i < d->k; i++) {
    lp[i] = row[targets[i]] - lse;
    loss[i] = w[i] == 0.0f ? 0.0f : -(lp[i] * w[i]);
    active = active || w[i] != 0.0f;
  }
  if (!active || !j->g) return false;
  if (d->k == 1) {
    kernels(j)->xent_back(row, row, j->batch->base->d.vocab, lse,
                          (size_t)targets[0], w[0]);
  } else {
    soft_back(j, row, lse, targets, w, d->k);
  }
  return true;
}

/* at: index of the row in the batch; pos: in its sequence. */
static bool policy_row(const job_t *j, const tinker__eng_train_datum_t *d,
                       size_t at, size_t pos, float *row, float lse) {
  float w, lp = row[d->targets[pos]] - lse;
  if (probing(j)) {
    d->out_logprobs[pos] = lp;
    return false;
  }
  if (j->loss->kind == TINKER__LOSS_GSPO) {
    w = j->head->w[at];
  } else {
    d->out_logprobs[pos] = lp;
    d->out_loss[pos] =
        policy_loss(j->loss, lp, d->logprobs[pos], d->advantages[pos], &w);
  }
  if (w == 0.0f || !j->g) return false;
  kernels(j)->xent_back(row, row, j->batch->base->d.vocab, lse,
                        (size_t)d->targets[pos], w);
  return true;
}

static void loss_rows(void *arg, size_t row0, size_t n, unsigned worker) {
  const job_t *j = arg;
  const tinker__cpu_seq_t *seq = j->batch->seqs;
  size_t vocab = j->batch->base->d.vocab;
  bool ce = j->loss->kind == TINKER__LOSS_CROSS_ENTROPY;
  (void)worker;
  for (size_t i = row0; i < row0 + n; i++) {
    size_t at = j->row0 + i;
    while (at >= seq->row0 + seq->n) seq++;
    const tinker__eng_train_datum_t *d = &j->data[seq - j->batch->seqs];
    float *row = j->head->logits + i * vocab;
    float lse = kernels(j)->lse(row, vocab);
    bool active = ce ? cross_entropy_row(j, d, at - seq->row0, row, lse)
                     : policy_row(j, d, at, at - seq->row0, row, lse);
    j->head->active[i] = active ? 1.0f : 0.0f;
  }
}

static void add_losses(const job_t *j) {
  for (size_t i = 0; i < j->batch->num_seqs; i++) {
    const tinker__eng_train_datum_t *d = &j->data[i];
    for (size_t e = 0; e < d->n * d->k; e++) {
      *j->total += (double)d->out_loss[e];
    }
  }
}

/* Columns are taken in whole blocks of the products by the head and back. */
#define COLUMNS 1024

static size_t columns(const job_t *j, size_t rows, uint64_t budget) {
  const tinker__cpu_dims_t *d = &j->batch->base->d;
  size_t n = (size_t)(budget / (rows * d->hidden)) / COLUMNS * COLUMNS;
  if (n < COLUMNS) n = COLUMNS;
  return n < d->vocab - j->col ? n : d->vocab - j->col;
}

static uint64_t open_block(job_t *j) {
  size_t hidden = j->batch->base->d.hidden;
  j->rows = j->batch->rows - j->row0;
  if (j->rows > j->head->block) j->rows = j->head->block;
  tinker__cpu_rows_run(j->batch->base->engine, j->rows, hidden, norm_rows, j);
  j->col = 0;
  j->stage = TINKER__HEAD_LOGITS;
  return j->rows * hidden;
}

static uint64_t logits(job_t *j, uint64_t budget) {
  const tinker__eng_base_t *b = j->batch->base;
  size_t hidden = b->d.hidden, n = columns(j, j->rows, budget);
  tinker__cpu_packed_t w = tinker__cpu_packed_part(b->head, j->col, n);
  tinker__cpu_linear(b->engine->ks, b->engine->pool, &w,
                     j->head->hf + j->row0 * hidden, hidden, j->rows,
                     j->head->logits + j->col, b->d.vocab, false);
  j->col += n;
  if (j->col == b->d.vocab) j->stage = TINKER__HEAD_LOSS;
  return (uint64_t)j->rows * hidden * n;
}

/* Finds the run of rows from `from` on that are all active or all not. */
static void next_run(job_t *j, size_t from) {
  const float *active = j->head->active;
  j->col = 0;
  j->run0 = from;
  for (j->run1 = from + 1; j->run1 < j->rows && active[j->run1] == active[from];
       j->run1++) {
  }
  if (from == j->rows) j->stage = TINKER__HEAD_CLOSE;
}

static uint64_t losses(job_t *j) {
  const tinker__eng_base_t *b = j->batch->base;
  const tinker__eng_adapter_t *a = j->batch->seqs[0].adapter;
  tinker__cpu_adapted_t head = {
      .target = b->d.layers * TINKER__PROJS,
      .x = j->head->hf + j->row0 * b->d.hidden,
      .ldx = b->d.hidden,
      .u = j->head->u,
      .y = j->head->logits,
      .ldy = b->d.vocab,
  };
  tinker__cpu_lora_apply(a, &head, 1, j->rows);
  tinker__cpu_rows_run(b->engine, j->rows, 2 * b->d.vocab, loss_rows, j);
  j->stage = TINKER__HEAD_CLOSE;
  if (j->g && !probing(j)) {
    j->stage = TINKER__HEAD_BACK;
    next_run(j, 0);
  }
  return (uint64_t)j->rows * b->d.vocab * a->lora->rank;
}

/* Adds the next columns' share to dh of the run. */
static uint64_t columns_back(job_t *j, float *dh, uint64_t budget) {
  const tinker__eng_base_t *b = j->batch->base;
  size_t rows = j->run1 - j->run0, n = columns(j, rows, budget);
  tinker__cpu_packed_t w = tinker__cpu_packed_part(b->head, j->col, n);
  tinker__cpu_linear_back(b->engine->ks, b->engine->pool, &w,
                          j->head->logits + j->run0 * b->d.vocab + j->col,
                          b->d.vocab, rows, dh, b->d.hidden, j->col > 0);
  j->col += n;
  return (uint64_t)rows * b->d.hidden * n;
}

/* Goes one piece back from the logits of the run to the rows of hf. */
static uint64_t run_back(job_t *j, uint64_t budget) {
  const tinker__eng_base_t *b = j->batch->base;
  const tinker__eng_adapter_t *a = j->batch->seqs[0].adapter;
  size_t hidden = b->d.hidden, at = (j->row0 + j->run0) * hidden;
  size_t rows = j->run1 - j->run0;
  float *dh = j->dy ? j->dh + at : NULL;
  bool active = j->head->active[j->run0] != 0.0f;
  if (active && dh && j->col < b->d.vocab) return columns_back(j, dh, budget);
  if (active) {
    tinker__cpu_lora_back(a, b->d.layers * TINKER__PROJS, j->head->hf + at,
                          hidden, j->head->u + j->run0 * a->lora->rank,
                          j->head->logits + j->run0 * b->d.vocab, b->d.vocab,
                          rows, j->head->du, dh, hidden, j->g);
  } else if (dh) {
    memset(dh, 0, rows * hidden * sizeof *dh);
  }
  next_run(j, j->run1);
  return 2 * (uint64_t)rows * b->d.vocab * a->lora->rank;
}

/* Ends the block, and after the last block the round or the whole head. */
static uint64_t close_block(job_t *j) {
  size_t hidden = j->batch->base->d.hidden;
  if (j->g && j->dy && !probing(j)) {
    tinker__cpu_rows_run(j->batch->base->engine, j->rows, hidden,
                         norm_back_rows, j);
  }
  j->row0 += j->rows;
  j->stage = TINKER__HEAD_OPEN;
  if (j->row0 < j->batch->rows) return 0;
  j->row0 = 0;
  if (probing(j)) {
    sequence_losses(j);
    j->probed = true;
    if (j->g) return 0;
  }
  add_losses(j);
  j->stage = TINKER__HEAD_DONE;
  return 0;
}

uint64_t tinker__cpu_head_step(tinker__cpu_head_run_t *j, uint64_t budget) {
  switch (j->stage) {
  case TINKER__HEAD_OPEN: return open_block(j);
  case TINKER__HEAD_LOGITS: return logits(j, budget);
  case TINKER__HEAD_LOSS: return losses(j);
  case TINKER__HEAD_BACK: return run_back(j, budget);
  case TINKER__HEAD_CLOSE: return close_block(j);
  default: return 0;
  }
}
