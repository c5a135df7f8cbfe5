/* detect: what a run's losses say of its health. Pure: numbers in, a suspicion
 * out; what follows from it is the policy's.
 *
 * A loss is per token, so that batches of different sizes compare. Rules and
 * default numbers: median and MAD of the last 256 (a spike is 7 robust standard
 * deviations above the median, and twice it), a fast mean of 32 steps against a
 * slow one of 512, and a loss that repeats itself to the bit on other data. */
#ifndef TINKER_RECOVERY_DETECT_DETECT_H
#define TINKER_RECOVERY_DETECT_DETECT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/digest.h"
#include "base/mem.h"

typedef enum {
  TINKER__REC_LOSS_UNKNOWN, /* too few to judge by */
  TINKER__REC_LOSS_OK,
  TINKER__REC_LOSS_NONFINITE, /* conclusive */
  TINKER__REC_LOSS_SPIKE,
  TINKER__REC_LOSS_DIVERGENCE,
  TINKER__REC_LOSS_FLAT
} tinker__rec_loss_t;

typedef struct tinker__rec_detect_policy_s {
  double robust_z;  /* of a spike */
  double min_ratio; /* to the median */
  int window;       /* losses that median and MAD are of, at most 4,096 */
  int warmup;       /* losses before the first judgement */
  int fast, slow;   /* steps of the two means, at most 4,096 */
  double ratio;     /* fast over slow */
  int64_t tokens;   /* that it lasts before it counts */
  int repeats;      /* equal losses in a row on other data; 0 = never */
} tinker__rec_detect_policy_t;

#define TINKER__REC_DETECT_POLICY_INIT                                         \
  { 7, 2, 256, 64, 32, 512, 1.5, 2000000, 8 }

typedef struct tinker__rec_detect_s tinker__rec_detect_t;

/* 0, TINKER_EINVAL (a number of the policy is out of range) or
 * TINKER_ENOMEM. */
int tinker__rec_detect_new(tinker__rec_detect_t **out, tinker__mem_t *mem,
                           const tinker__rec_detect_policy_t *policy);
void tinker__rec_detect_free(tinker__rec_detect_t *d); /* NULL allowed */

/* Judges the loss of a step against those before it. What is suspicious is not
 * added to them, so that a long trouble does not become the norm; a spike that
 * does not go away is a divergence. tokens: of the step, at least 1. batch:
 * digest of its data. */
tinker__rec_loss_t
tinker__rec_detect_add(tinker__rec_detect_t *d, double loss, int64_t tokens,
                       const unsigned char batch[TINKER__SHA256_LEN]);
/* After a rollback: forgets all but the norm. */
void tinker__rec_detect_rewind(tinker__rec_detect_t *d);
/* "spike" for example. */
const char *tinker__rec_loss_name(tinker__rec_loss_t loss);

#endif
