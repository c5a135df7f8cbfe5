/* judge: what the answers of loaded models say of their checkpoint. Pure. */
#ifndef TINKER_RECOVERY_PROVE_JUDGE_H
#define TINKER_RECOVERY_PROVE_JUDGE_H

#include <stdbool.h>
#include <stddef.h>
#include <tinker/recovery_prove.h>

/* Answers beyond so many times the noise are of different models. */
#define TINKER__REC_NOISE_FACTOR 6

/* Whose answer, and when. */
typedef enum {
  TINKER__REC_ANSWER_WARM,       /* with optimizer, as loaded */
  TINKER__REC_ANSWER_AGAIN,      /* the same once more */
  TINKER__REC_ANSWER_COLD,       /* without optimizer, as loaded */
  TINKER__REC_ANSWER_TWIN,       /* a second one without */
  TINKER__REC_ANSWER_WARM_AFTER, /* the same models after one step */
  TINKER__REC_ANSWER_COLD_AFTER,
  TINKER__REC_ANSWER_TWIN_AFTER,
  TINKER__REC_ANSWERS
} tinker__rec_answer_t;

typedef struct tinker__rec_case_s {
  float answers[TINKER__REC_ANSWERS][TINKER_FINGERPRINT_LEN];
  float expected[TINKER_FINGERPRINT_LEN];
  bool has_expected;
  double expected_noise;
  bool has_step; /* else TWIN and those after the step are not there */
} tinker__rec_case_t;

/* Fills `out`. 0, or TINKER_ESTATE (refuted) or TINKER_ENOTSUP (nothing can be
 * shown) with what was found in `why`. */
int tinker__rec_judge(const tinker__rec_case_t *c, tinker_resume_proof_t *out,
                      char *why, size_t why_len);

#endif
