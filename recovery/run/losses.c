/* losses: what the loss of a step says of the model. The run's thread. */
#include <math.h>
#include <string.h>

#include "run/run.h"

/* A loss that is not finite is conclusive; what else is suspicious is said, and
 * the program decides. */
static int judge_loss(tinker_run_t *run, const tinker__rec_step_t *s,
                      double loss, tinker__rec_fault_t *f) {
  tinker__rec_facts_t facts = TINKER__REC_FACTS_INIT;
  tinker__rec_loss_t found =
      tinker__rec_detect_add(run->detect, loss, 1, s->batches[0]);
  if (found <= TINKER__REC_LOSS_OK) return 0;
  facts.loss = loss;
  facts.has_loss = true;
  facts.evidence = tinker__str(tinker__rec_loss_name(found));
  tinker__rec_say(run, "suspect", s->number, &facts);
  if (found != TINKER__REC_LOSS_NONFINITE) return 0;
  f->code = TINKER_ESTATE;
  f->model = true;
  tinker__why(f->why, sizeof f->why, 0, "the loss of step %lld is %a",
              (long long)s->number, loss);
  return f->code;
}

/* How a step that was done before, on a branch that was cut off, has come out.
 */
typedef enum {
  AS_BEFORE, /* or there is nothing that it can be compared with */
  AS_AGAIN,  /* as when it was done again on another model */
  OTHERWISE
} redone_t;

static bool is_near(const tinker_run_t *run, double loss, double before) {
  double tolerance =
      run->ruled.tolerance < 0 ? 6 * run->noise : run->ruled.tolerance;
  double bound = tolerance * fmax(1, fabs(before));
  return loss == before || fabs(loss - before) <= bound;
}

/* Under the lock. */
static redone_t redone(const tinker_run_t *run, const tinker__rec_step_t *s,
                       double loss, double *before) {
  const tinker__rec_past_t *past =
      tinker__rec_state_past(&run->state, s->number);
  bool same = past && past->has_loss && past->epoch < run->epoch->number &&
              past->batch_count == s->forward_count &&
              memcmp(past->batches, s->batches,
                     s->forward_count * TINKER__SHA256_LEN) == 0;
  *before = past ? past->loss : 0;
  if (!same || is_near(run, loss, past->loss)) return AS_BEFORE;
  return past->doubted && is_near(run, loss, past->again) ? AS_AGAIN
                                                          : OTHERWISE;
}

static int note_redone(tinker_run_t *run, const tinker__rec_step_t *s,
                       double loss, bool settled, tinker__rec_fault_t *f) {
  tinker__rec_facts_t facts = TINKER__REC_FACTS_INIT;
  facts.loss = loss;
  facts.has_loss = true;
  facts.end = settled ? 0 : 1;
  facts.evidence =
      tinker__str(settled ? "models of two checkpoints agree: what this step, "
                            "and those after it, had before does not count"
                          : "it came out otherwise than before");
  int rc = tinker__rec_note(run, run->epoch, TINKER__REC_GATE, s->number,
                            &facts, tinker__str(""));
  if (rc == 0) {
    if (settled) tinker__rec_say(run, "step_corrected", s->number, &facts);
    return 0;
  }
  f->code = rc;
  tinker__why(f->why, sizeof f->why, 0, "the run's journal: %s",
              tinker_code_text(rc));
  return rc;
}

/* A step that is done again has to come out as it did, or the model is not what
 * it was saved as. Either may be wrong, the model or what was journaled before:
 * an optim_step that was not carried out, or twice. If a model of another
 * checkpoint comes out as this one did, it was what was journaled. */
static int compare_past(tinker_run_t *run, const tinker__rec_step_t *s,
                        double loss, tinker__rec_fault_t *f) {
  double before;
  pthread_mutex_lock(&run->lock);
  redone_t how = redone(run, s, loss, &before);
  pthread_mutex_unlock(&run->lock);
  if (how == AS_BEFORE) return 0;
  int rc = note_redone(run, s, loss, how == AS_AGAIN, f);
  if (rc != 0 || how == AS_AGAIN) return rc;
  f->code = TINKER_ESTATE;
  f->model = f->unproven = true;
  tinker__why(f->why, sizeof f->why, 0,
              "step %lld came out with loss %a, before the rollback with %a",
              (long long)s->number, loss, before);
  return f->code;
}

int tinker__rec_losses(tinker_run_t *run, const tinker__rec_step_t *s,
                       double loss, tinker__rec_fault_t *f) {
  int rc = judge_loss(run, s, loss, f);
  return rc == 0 ? compare_past(run, s, loss, f) : rc;
}
