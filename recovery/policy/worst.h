/* worst: what a policy costs when things go wrong: steps that are lost, and
 * time until the run is where it was. Pure functions.
 *
 * The formulas are in docs/recovery-policy.md, with the numbers of the failures
 * (F), targets (T) and invariants (I) that they are from. A client-side failure
 * loses no step (T7); one of the service loses the interval and one step (T8,
 * I6). */
#ifndef TINKER_RECOVERY_WORST_H
#define TINKER_RECOVERY_WORST_H

#include "base/buf.h"
#include "policy/policy.h"

/* How long things take: measured, or assumed. */
typedef struct tinker__rec_times_s {
  int64_t step_ms;
  int64_t save_ms;
  int64_t load_ms;
  int64_t kill_ms; /* what a trainer that hangs has to end: kill_after */
  int64_t hang_ms; /* hang_after; TINKER__REC_NO_LIMIT = it is not found out */
} tinker__rec_times_t;

#define TINKER__REC_UNBOUNDED (-1)

typedef struct tinker__rec_worst_s {
  const char *what; /* goes wrong */
  const char *from; /* F, T, I numbers */
  int64_t steps;    /* lost, or TINKER__REC_UNBOUNDED */
  int64_t ms;       /* until it goes on or is stopped, or UNBOUNDED */
  bool stops;       /* the run is stopped then */
} tinker__rec_worst_t;

#define TINKER__REC_WORST_MAX 10

/* Steps of 10 s, saves of 2 s, loads of 0.5 s, 15 s to end, no hang_after. */
tinker__rec_times_t tinker__rec_times_assumed(void);
/* Steps between two checkpoints, at most. */
int64_t tinker__rec_worst_interval(const tinker__rec_policy_t *p,
                                   const tinker__rec_times_t *t);
/* Fills rows, returns how many. */
size_t tinker__rec_worst_case(const tinker__rec_policy_t *p,
                              const tinker__rec_times_t *t,
                              tinker__rec_worst_t rows[TINKER__REC_WORST_MAX]);
/* The rows as a table for people, and what validation costs. */
void tinker__rec_worst_print(const tinker__rec_policy_t *p,
                             const tinker__rec_times_t *t, tinker__buf_t *out);

#endif
