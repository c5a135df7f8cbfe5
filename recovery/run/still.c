/* still: does training move the model? A checkpoint whose fingerprint is, to
 * the bit, that of an earlier one is suspicious if steps were taken in between
 * that have to move the weights: their rate of learning and their loss are not
 * 0. After several of them it is conclusive: the service answers optim_steps
 * and does not carry them out. Then neither the checkpoints since nor the
 * losses mean anything, and the run goes back to the first of those that are
 * equal.
 *
 * What a process has not seen itself it does not count. The run's thread. */
#include <string.h>

#include "run/run.h"

/* A small step may be lost in the rounding of numbers with 8 bits; so many,
 * that move each weight by up to so much, are not. */
#define STILL_STEPS 8
#define STILL_MOVED 1e-6

void tinker__rec_still_begin(tinker_run_t *run,
                             const tinker__rec_ckpt_t *from) {
  run->still.moves = 0;
  run->still.moved = 0;
  tinker__why(run->still.name, sizeof run->still.name, 0, "%s",
              from ? from->name : "");
}

void tinker__rec_still_step(tinker_run_t *run, const tinker__rec_step_t *s,
                            double loss) {
  if (s->rate == 0 || loss == 0) return;
  run->still.moves++;
  run->still.moved += s->rate;
}

static bool is_equal(const tinker__rec_ckpt_t *a, const tinker__rec_ckpt_t *b) {
  return a->probe_count && a->probe_count == b->probe_count &&
         memcmp(a->probe, b->probe, a->probe_count * sizeof *a->probe) == 0;
}

/* The checkpoints since the first one are of the same weights. */
static int put_aside(tinker_run_t *run, const tinker__rec_ckpt_t *first,
                     const char *why, tinker__rec_fault_t *f) {
  int rc = 0;
  TINKER__LIST_EACH(l, tmp, &run->state.ckpts) {
    const tinker__rec_ckpt_t *c =
        TINKER__CONTAINER(l, tinker__rec_ckpt_t, link);
    if (rc == 0 && c->step > first->step && !c->quarantined &&
        is_equal(c, first)) {
      rc = tinker__rec_quarantine(run, c->name, why, f);
    }
  }
  return rc;
}

/* In this order: a process that dies in between has fewer checkpoints, and
 * never goes back to one of these. */
static void give_up(tinker_run_t *run, const tinker__rec_ckpt_t *first,
                    int64_t step) {
  char why[TINKER__REC_WHY];
  tinker__rec_fault_t f = {0};
  tinker__rec_facts_t facts = TINKER__REC_FACTS_INIT;
  tinker__why(why, sizeof why, 0,
              "the model is at step %lld what it was at step %lld: %lld steps "
              "have not moved its weights",
              (long long)step, (long long)first->step,
              (long long)run->still.moves);
  facts.evidence = tinker__str(why);
  facts.epoch = run->epoch->number;
  facts.end = 0; /* what those steps came out with does not count */
  int rc = put_aside(run, first, why, &f);
  if (rc == 0) {
    rc = tinker__rec_note(run, run->epoch, TINKER__REC_GATE, first->step + 1,
                          &facts, tinker__str(""));
  }
  facts.end = TINKER__REC_UNSET;
  if (rc == 0) {
    tinker__rec_note(run, NULL, TINKER__REC_SIGNAL, TINKER__REC_NO_STEP, &facts,
                     tinker__str(""));
  }
}

void tinker__rec_still_look(tinker_run_t *run, const tinker__rec_step_t *s) {
  tinker__rec_facts_t facts = TINKER__REC_FACTS_INIT;
  const tinker__rec_ckpt_t *now = tinker__rec_state_ckpt(&run->state, s->ckpt);
  const tinker__rec_ckpt_t *first =
      tinker__rec_state_ckpt(&run->state, run->still.name);
  if (!now) return;
  if (!first || first == now || !is_equal(first, now)) {
    tinker__rec_still_begin(run, now);
    return;
  }
  if (!run->still.moves) return;
  facts.name = tinker__str(s->ckpt);
  facts.evidence = tinker__str("unmoved");
  tinker__rec_say(run, "suspect", s->number, &facts);
  if (run->still.moves >= STILL_STEPS && run->still.moved >= STILL_MOVED) {
    give_up(run, first, s->number);
  }
}
