/* worst: see worst.h. Sums stop at a year, so that no limit of a policy can
 * overflow them. */
#include "policy/worst.h"

#include <string.h>

#include "yaml/scalar.h"

#define DEATH_SEEN_MS 50 /* T1: a pidfd */
#define WARM_MS 500      /* T6: what R3 adds */
#define COLD_MS 1000     /* T6: what R4 adds */
#define TICK_MS 1000
#define LATEST 1.2 /* a look may be a fifth later */
#define CANARY 3   /* models of a canary, each with a load and a step */
#define YEAR_MS INT64_C(31536000000)
#define MOST_STEPS INT64_C(1000000000)

tinker__rec_times_t tinker__rec_times_assumed(void) {
  return (tinker__rec_times_t){10000, 2000, 500, 15000, TINKER__REC_NO_LIMIT};
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
  return larger(steps_in(p->checkpoint.interval.max_ms, t), 1);
}

/* Time from a new model to the lost steps done again: the load, the loads and
 * steps of an optimizer canary that is due, the steps. */
static int64_t cold(int64_t steps, const tinker__rec_times_t *t) {
  int64_t ms = sum(times(1 + CANARY, t->load_ms), times(CANARY, t->step_ms));
  return sum(sum(ms, COLD_MS), times(steps, t->step_ms));
}

/* Time until a flag of the service is seen, and confirmed by a second read
 * (T3). */
static int64_t seen(const tinker__rec_policy_t *p) {
  return sum(part(LATEST, p->detect.poll.idle_ms),
             part(LATEST, p->detect.poll.suspect_ms));
}

/* The daemon looks at journals once a tick. */
static int64_t hangs(const tinker__rec_times_t *t) {
  if (t->hang_ms == TINKER__REC_NO_LIMIT) return TINKER__REC_UNBOUNDED;
  return sum(sum(t->hang_ms, TICK_MS + WARM_MS), t->kill_ms);
}

size_t tinker__rec_worst_case(const tinker__rec_policy_t *p,
                              const tinker__rec_times_t *t,
                              tinker__rec_worst_t rows[TINKER__REC_WORST_MAX]) {
  const int64_t none = TINKER__REC_UNBOUNDED;
  const int64_t lost = tinker__rec_worst_interval(p, t) + 1;
  const int64_t old = larger(lost, p->resume.max_rollback_steps);
  const int64_t tried = times(p->attempts.same_root, cold(0, t));
  const tinker__rec_worst_t all[] = {
      {"the trainer ends", "F60, T1, T6, T7", 0, DEATH_SEEN_MS + WARM_MS,
       false},
      {"the trainer hangs", "F61, T4, T6, T7", 0, hangs(t), false},
      {"the model is corrupted", "F01, T3, T6, T8, I6", lost,
       sum(seen(p), cold(lost, t)), false},
      {"a result never comes", "F15, T4, T8", lost, none, false},
      {"and newer checkpoints are bad", "F46, F47, R5", old,
       sum(seen(p), cold(old, t)), false},
      {"saves fail, then the model is lost", "F49", none, none, false},
      {"nothing helps", "F48, I11", 0, tried, true},
      {"the account is blocked", "F86", 0, none, false},
      {"the queue is paused", "F14", 0, none, false}};
  memcpy(rows, all, sizeof all);
  return sizeof all / sizeof all[0];
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

static void put_validation(const tinker__rec_times_t *t, tinker__buf_t *out) {
  tinker__buf_adds(out, "  each save: 4 data forwarded, a load (");
  put_ms(out, t->load_ms);
  tinker__buf_adds(out, ") before it is used or another one is deleted\n");
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
  put_validation(t, out);
}
