/* judge: see judge.h. */
#include "prove/judge.h"

#include <math.h>
#include <string.h>

#include "base/str.h"
#include "prove/probe.h"

static double differ(const float *a, const float *b) {
  return tinker__rec_probe_differ(a, TINKER_FINGERPRINT_LEN, b,
                                  TINKER_FINGERPRINT_LEN);
}

static double between(const tinker__rec_case_t *c, tinker__rec_answer_t a,
                      tinker__rec_answer_t b) {
  return differ(c->answers[a], c->answers[b]);
}

/* A difference that no noise is large enough for is infinite: of numbers that
 * are not finite. */
static bool within(double difference, double noise) {
  return isfinite(difference) && difference <= TINKER__REC_NOISE_FACTOR * noise;
}

static void measure(const tinker__rec_case_t *c, tinker_resume_proof_t *out) {
  *out = (tinker_resume_proof_t){
      .expected = -1, .step_noise = -1, .optimizer = -1};
  out->noise = between(c, TINKER__REC_ANSWER_WARM, TINKER__REC_ANSWER_AGAIN);
  out->loaded = between(c, TINKER__REC_ANSWER_WARM, TINKER__REC_ANSWER_COLD);
  if (c->has_expected) {
    out->expected = differ(c->expected, c->answers[TINKER__REC_ANSWER_WARM]);
  }
  if (c->has_step) {
    double twin = between(c, TINKER__REC_ANSWER_WARM, TINKER__REC_ANSWER_TWIN);
    out->loaded = fmax(out->loaded, twin);
    out->step_noise = between(c, TINKER__REC_ANSWER_COLD_AFTER,
                              TINKER__REC_ANSWER_TWIN_AFTER);
    out->optimizer = fmin(between(c, TINKER__REC_ANSWER_WARM_AFTER,
                                  TINKER__REC_ANSWER_COLD_AFTER),
                          between(c, TINKER__REC_ANSWER_WARM_AFTER,
                                  TINKER__REC_ANSWER_TWIN_AFTER));
  }
  out->deterministic = out->noise == 0 && out->loaded == 0 &&
                       (!c->has_step || out->step_noise == 0);
  memcpy(out->fingerprint, c->answers[TINKER__REC_ANSWER_WARM],
         sizeof out->fingerprint);
}

static int judge_weights(const tinker__rec_case_t *c,
                         const tinker_resume_proof_t *p, char *why,
                         size_t why_len) {
  double noise = fmax(p->noise, c->expected_noise);
  if (!isfinite(p->noise)) {
    return tinker__why(why, why_len, TINKER_ESTATE,
                       "the loaded model's answers are not finite numbers");
  }
  if (!within(p->loaded, p->noise)) {
    return tinker__why(why, why_len, TINKER_ESTATE,
                       "loaded several times it gives different models: they "
                       "differ by %a, one of them from itself by %a",
                       p->loaded, p->noise);
  }
  if (c->has_expected && !within(p->expected, noise)) {
    return tinker__why(why, why_len, TINKER_ESTATE,
                       "the loaded weights are not those that were saved: the "
                       "fingerprints differ by %a, allowed is %a",
                       p->expected, TINKER__REC_NOISE_FACTOR * noise);
  }
  return 0;
}

static int judge_optimizer(const tinker__rec_case_t *c,
                           const tinker_resume_proof_t *p, char *why,
                           size_t why_len) {
  double noise = fmax(p->noise, p->step_noise);
  double moved =
      between(c, TINKER__REC_ANSWER_COLD, TINKER__REC_ANSWER_COLD_AFTER);
  if (!isfinite(p->step_noise) || !isfinite(p->optimizer)) {
    return tinker__why(why, why_len, TINKER_ESTATE,
                       "after one step the loaded model's answers are not "
                       "finite numbers");
  }
  if (within(moved, p->noise)) {
    return tinker__why(why, why_len, TINKER_ENOTSUP,
                       "the optimizer can't be proven: a step with a learning "
                       "rate above 0 does not change the model's answers "
                       "(difference %a, noise %a)",
                       moved, p->noise);
  }
  if (within(p->optimizer, noise)) {
    return tinker__why(why, why_len, TINKER_ESTATE,
                       "cold optimizer: after one step the model that was "
                       "loaded with its optimizer differs from those without "
                       "by %a, those from each other by %a: the optimizer was "
                       "not restored",
                       p->optimizer, p->step_noise);
  }
  return 0;
}

int tinker__rec_judge(const tinker__rec_case_t *c, tinker_resume_proof_t *out,
                      char *why, size_t why_len) {
  measure(c, out);
  int rc = judge_weights(c, out, why, why_len);
  if (rc == 0 && c->has_step) rc = judge_optimizer(c, out, why, why_len);
  if (rc == 0) out->level = c->has_step ? 4 : c->has_expected ? 3 : 0;
  return rc;
}
