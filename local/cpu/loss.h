/* loss: the output head and the loss.
 *
 * Runs on the engine thread and in pool tasks. Rows of logits are made in
 * blocks, so that a large vocabulary does not need all rows at once. A row
 * whose gradient is zero by its weights or advantage is left out of the way
 * back. Losses are sums of, with r = exp(lp - q):
 *
 *   cross_entropy        -w lp
 *   importance_sampling  -r A
 *   ppo                  -min(r A, clamp(r) A)
 *   cispo                -clamp(r) lp A, the clamped ratio taken as a constant
 *   dro                  -(lp A - beta / 2 (lp - q)^2)
 *   gspo                 as ppo with one ratio for a sequence, exp(mean(lp -
 * q)) over its mask, whose gradient is the one of each token's own
 * log-probability
 *
 * gspo needs all rows of a sequence before its first gradient, so it makes the
 * logits twice. */
#ifndef TINKER_LOCAL_CPU_LOSS_H
#define TINKER_LOCAL_CPU_LOSS_H

#include "cpu/forward.h"

/* Checks all arguments of a pass. 0, or TINKER_EINVAL; `why` names the field,
 * for example data[i].targets[j]. */
int tinker__cpu_loss_check(const tinker__eng_base_t *b,
                           const tinker__eng_train_datum_t *data, size_t n,
                           const tinker__eng_loss_config_t *loss, char *why,
                           size_t why_len);

/* Scratch for up to `rows` rows. */
typedef struct tinker__cpu_head_s {
  size_t block;   /* rows of logits at once */
  float *hf, *rf; /* [rows][hidden] normed, [rows] 1 / rms */
  float *logits;  /* [block][vocab] */
  float *u, *du;  /* [block][rank] */
  float *active;  /* [block]: 1 = the row has a gradient */
  float *w;       /* [rows], gspo: the factor of -d(logprob) */
} tinker__cpu_head_t;

/* Rows of logits made at once for this vocabulary, at most rows. */
size_t tinker__cpu_head_block(const tinker__eng_base_t *b, size_t rows);
void tinker__cpu_head_carve(tinker__cpu_arena_t *a, const tinker__eng_base_t *b,
                            size_t rows, size_t rank, tinker__cpu_head_t *out);

/* The head of one batch, done in pieces. The sequences of the batch are
 * data[0 .. num_seqs); x [rows][hidden] is the output of the last layer. Writes
 * the outputs of the data and, at the end, adds every loss to *total in order.
 * If g is not NULL, adds the gradients of the head's LoRA to it; if dy is not
 * NULL, writes the gradient by x to it (dh: scratch [rows][hidden]). */
typedef struct tinker__cpu_head_run_s {
  const tinker__cpu_batch_t *batch;
  const tinker__eng_train_datum_t *data;
  const tinker__eng_loss_config_t *loss;
  const tinker__cpu_head_t *head;
  const float *x;
  float *g, *dh, *dy;
  double *total;
  /* Internal; zero at the beginning. */
  enum {
    TINKER__HEAD_OPEN,   /* a block of rows begins */
    TINKER__HEAD_LOGITS, /* from column col on */
    TINKER__HEAD_LOSS,
    TINKER__HEAD_BACK, /* rows run0 .. run1 of the block, from column col on */
    TINKER__HEAD_CLOSE,
    TINKER__HEAD_DONE
  } stage;
  bool probed;       /* gspo's first round, for log-probabilities, is over */
  size_t row0, rows; /* the block */
  size_t run0, run1; /* rows that all have a gradient, or none */
  size_t col;
} tinker__cpu_head_run_t;

/* Does a piece of about `budget` multiply-adds; returns how many it was. */
uint64_t tinker__cpu_head_step(tinker__cpu_head_run_t *r, uint64_t budget);

#endif
