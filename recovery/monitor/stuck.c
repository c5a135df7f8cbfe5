/* stuck: see stuck.h. */
#include "monitor/stuck.h"

#include <stdlib.h>
#include <string.h>

#define LEAST_MS 20 /* between two looks */
#define MOST_MS 30000

void tinker__rec_stuck_begin(tinker__rec_stuck_t *s,
                             const tinker__rec_stuck_policy_t *policy,
                             const tinker__rec_wait_look_t *now) {
  *s = (tinker__rec_stuck_t){.policy = *policy, .last = *now};
}

static int ascending(const void *a, const void *b) {
  int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
  return (x > y) - (x < y);
}

/* The time that 99 of 100 waits have not exceeded; 0 = nothing is known. */
static int64_t usual_ms(const tinker__rec_stuck_t *s) {
  int64_t sorted[TINKER__REC_WAITS];
  size_t n =
      (size_t)(s->count < TINKER__REC_WAITS ? s->count : TINKER__REC_WAITS);
  if (n == 0) return 0;
  memcpy(sorted, s->took_ms, n * sizeof *sorted);
  qsort(sorted, n, sizeof *sorted, ascending);
  return sorted[(n * 99 + 99) / 100 - 1];
}

/* What has passed since the last look, if it counts. */
static int64_t passed_ms(const tinker__rec_stuck_t *s,
                         const tinker__rec_wait_look_t *now) {
  int64_t by = now->boot_ms - s->last.boot_ms;
  int64_t asleep = by - (now->now_ms - s->last.now_ms);
  bool slept = asleep > s->policy.drift_ms || asleep < -s->policy.drift_ms;
  bool held = now->held || s->last.held;
  return slept || held || by < 0 ? 0 : by;
}

static void end_wait(tinker__rec_stuck_t *s) {
  s->took_ms[s->count++ % TINKER__REC_WAITS] = s->waited_ms;
  s->waited_ms = 0;
}

static tinker__rec_wait_t judge(const tinker__rec_stuck_t *s) {
  const tinker__rec_stuck_policy_t *p = &s->policy;
  if (s->waited_ms < p->soft_ms ||
      (double)s->waited_ms < p->factor * (double)usual_ms(s)) {
    return TINKER__REC_WAIT_FINE;
  }
  return p->hard_ms && s->waited_ms >= p->hard_ms ? TINKER__REC_WAIT_STUCK
                                                  : TINKER__REC_WAIT_LATE;
}

tinker__rec_wait_t tinker__rec_stuck_add(tinker__rec_stuck_t *s,
                                         const tinker__rec_wait_look_t *now) {
  if (s->last.waits) s->waited_ms += passed_ms(s, now);
  if (now->results != s->last.results) end_wait(s);
  if (!now->waits) s->waited_ms = 0;
  s->last = *now;
  return judge(s);
}

int64_t tinker__rec_stuck_next(const tinker__rec_stuck_t *s) {
  int64_t ms = s->policy.soft_ms / 8;
  return ms < LEAST_MS ? LEAST_MS : ms > MOST_MS ? MOST_MS : ms;
}
