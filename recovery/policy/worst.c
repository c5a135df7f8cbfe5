/* worst: see worst.h. Sums stop at a year, so that no limit of a policy can
 * overflow them. */
#include "policy/worst.h"

#include "yaml/scalar.h"

#define DEATH_SEEN_MS 50 /* T1: a pidfd */
#define WARM_MS 500      /* T6: what R3 adds */
#define COLD_MS 1000     /* T6: what R4 adds */
#define CANARY 3         /* models of a canary, each with a load and a step */
#define YEAR_MS INT64_C(31536000000)
#define MOST_STEPS INT64_C(1000000000)

tinker__rec_times_t tinker__rec_times_assumed(void) {
  return (tinker__rec_times_t){10000, 2000, 500, 15000};
}

/* Both are at least 0. */
static int64_t sum(int64_t a, int64_t b) {
  return a > YEAR_MS - b ? YEAR_MS : a + b;
}

static int64_t times(int64_t n, int64_t ms) {
  return ms && n > YEAR_MS / ms ? YEAR_MS : n * ms;
}

static int64_t larger(int64_t a, int64_t b) {
  return a > b ? a : b;
}

static int64_t part(double factor, int64_t ms) {
  double product = factor * (double)ms;
  return product > (double)YEAR_MS ? YEAR_MS : (int64_t)product;
}

/* Steps that are begun in so much time. */
static int64_t steps_in(int64_t ms, const tinker__rec_times_t *t) {
  int64_t step = larger(t->step_ms, 1);
  int64_t n = ms / step + (ms % step != 0);
  return n > MOST_STEPS ? MOST_STEPS : n;
}

int64_t tinker__rec_worst_interval(const tinker__rec_policy_t *p,
                                   const tinker__rec_times_t *t) {
  if (p->checkpoint.interval.mode == TINKER__REC_INTERVAL_STEPS) {
    return p->checkpoint.interval.steps;
  }
  return larger(steps_in(p->checkpoint.interval.max_ms, t),
                p->checkpoint.interval.fallback_steps);
}

/* Time from a new model to the lost steps done again: the load, the loads and
 * steps of an optimizer canary that is due, the steps. */
static int64_t cold(int64_t steps, const tinker__rec_times_t *t) {
  int64_t ms = sum(times(1 + CANARY, t->load_ms), times(CANARY, t->step_ms));
  return sum(sum(ms, COLD_MS), times(steps, t->step_ms));
}

/* Time until a flag of the service is seen and confirmed (T3). */
static int64_t seen(const tinker__rec_policy_t *p) {
  const double most = 1 + p->detect.poll.jitter;
  int64_t more = times(p->detect.confirm.reads - 1, p->detect.poll.suspect_ms);
  return sum(part(most, p->detect.poll.idle_ms), part(most, more));
}

/* Saves fail until the newest validated one is too old (F49). */
static tinker__rec_worst_t saves_fail(const tinker__rec_policy_t *p,
                                      const tinker__rec_times_t *t) {
  tinker__rec_worst_t w = {"saves fail, then the model is lost", "F49",
                           TINKER__REC_UNBOUNDED, TINKER__REC_UNBOUNDED, false};
  if (p->checkpoint.on_max_age == TINKER__REC_MAX_AGE_PAUSE) {
    w.steps = steps_in(p->checkpoint.max_age_validated_ms, t) + 1;
    w.ms = sum(seen(p), cold(w.steps, t));
  }
  return w;
}

size_t tinker__rec_worst_case(const tinker__rec_policy_t *p,
                              const tinker__rec_times_t *t,
                              tinker__rec_worst_t rows[TINKER__REC_WORST_MAX]) {
  const int64_t lost = tinker__rec_worst_interval(p, t) + 1;
  const int64_t old = larger(lost, p->resume.max_rollback_steps);
  const int64_t hang =
      larger(p->detect.trainer.floor_ms,
             part(p->detect.trainer.section_factor, t->step_ms));
  const int64_t ended = sum(p->detect.trainer.tick_ms, t->kill_ms);
  size_t n = 0;
  rows[n++] = (tinker__rec_worst_t){"the trainer ends", "F60, T1, T6, T7", 0,
                                    DEATH_SEEN_MS + WARM_MS, false};
  rows[n++] = (tinker__rec_worst_t){"the trainer hangs", "F61, T4, T6, T7", 0,
                                    sum(sum(hang, ended), WARM_MS), false};
  rows[n++] =
      (tinker__rec_worst_t){"the model is corrupted", "F01, T3, T6, T8, I6",
                            lost, sum(seen(p), cold(lost, t)), false};
  rows[n++] = (tinker__rec_worst_t){
      "a result never comes", "F15, T4, T8", lost,
      sum(larger(p->detect.future.hard_ms,
                 part(p->detect.future.p99_factor, t->step_ms)),
          cold(lost, t)),
      false};
  rows[n++] =
      (tinker__rec_worst_t){"and newer checkpoints are bad", "F46, F47, R5",
                            old, sum(seen(p), cold(old, t)), false};
  rows[n++] = saves_fail(p, t);
  rows[n++] = (tinker__rec_worst_t){"nothing helps", "F48, I11", 0,
                                    p->attempts.incident_deadline_ms, true};
  rows[n++] = (tinker__rec_worst_t){"the account is blocked", "F86", 0,
                                    p->pause.billing.limit_ms, true};
  rows[n++] = (tinker__rec_worst_t){"the queue is paused", "F14", 0,
                                    p->detect.queue_pause.limit_ms, true};
  return n;
}

/* --- For people ------------------------------------------------------------
 */

static void put_ms(tinker__buf_t *out, int64_t ms) {
  char text[48];
  const tinker__yaml_scalar_t v = {ms, 0};
  tinker__yaml_scalar_write(TINKER__YAML_DURATION, &v, text);
  tinker__buf_adds(out, text);
}

static void put_row(tinker__buf_t *out, const tinker__rec_worst_t *w) {
  tinker__buf_addf(out, "  %-36s", w->what);
  if (w->steps == TINKER__REC_UNBOUNDED) {
    tinker__buf_addf(out, "%12s", "no bound");
  } else {
    tinker__buf_addf(out, "%12lld", (long long)w->steps);
  }
  if (w->ms == TINKER__REC_UNBOUNDED) {
    tinker__buf_addf(out, "%12s", "no bound");
  } else {
    int64_t tenths = w->ms / 6000 + (w->ms % 6000 != 0);
    tinker__buf_addf(out, "%10lld.%d", (long long)(tenths / 10),
                     (int)(tenths % 10));
  }
  tinker__buf_addf(out, "  %s%s\n", w->stops ? "stopped then; " : "", w->from);
}

static void put_validation(const tinker__rec_policy_t *p,
                           const tinker__rec_times_t *t, tinker__buf_t *out) {
  const int64_t nth = p->checkpoint.validate;
  tinker__buf_addf(out, "  each save: %lld data forwarded, ",
                   (long long)p->checkpoint.fingerprint.probe_items);
  if (nth == TINKER__REC_VALIDATE_BEFORE_USE) {
    tinker__buf_adds(out, "a load (");
    put_ms(out, t->load_ms);
    tinker__buf_adds(out, ") before it is used or another one is deleted\n");
  } else {
    tinker__buf_adds(out, "and a load (");
    put_ms(out, t->load_ms);
    tinker__buf_adds(out, ") at every one");
    if (nth > 1) tinker__buf_addf(out, " of %lld", (long long)nth);
    tinker__buf_addc(out, '\n');
  }
  tinker__buf_addf(out, "  optimizer canary: %d loads and %d steps (", CANARY,
                   CANARY);
  put_ms(out, sum(times(CANARY, t->load_ms), times(CANARY, t->step_ms)));
  tinker__buf_adds(out, ") for each base and day\n");
}

void tinker__rec_worst_print(const tinker__rec_policy_t *p,
                             const tinker__rec_times_t *t, tinker__buf_t *out) {
  tinker__rec_worst_t rows[TINKER__REC_WORST_MAX];
  size_t n = tinker__rec_worst_case(p, t, rows);
  tinker__buf_adds(out, "  with steps of ");
  put_ms(out, t->step_ms);
  tinker__buf_adds(out, ", saves of ");
  put_ms(out, t->save_ms);
  tinker__buf_adds(out, ", loads of ");
  put_ms(out, t->load_ms);
  tinker__buf_addf(out, "\n  %-36s%12s%12s\n", "when", "steps lost", "minutes");
  for (size_t i = 0; i < n; i++) put_row(out, &rows[i]);
  put_validation(p, t, out);
}
