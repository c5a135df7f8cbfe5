/* stuck: has a result been waited for too long? Pure: what a look has seen in,
 * a verdict out. No function here reads a clock, and the wall clock is no input
 * at all.
 *
 * A wait is measured on the boot clock, from when something began to be waited
 * for or when the last result was there, whichever is later: a service that
 * gives results, however slowly, is not stuck. Its clock stands still while
 * something that is known holds the call up (a paused queue, a blocked account,
 * a service that is not heard), and over a sleep of the machine. */
#ifndef TINKER_RECOVERY_MONITOR_STUCK_H
#define TINKER_RECOVERY_MONITOR_STUCK_H

#include <stdbool.h>
#include <stdint.h>

typedef enum {
  TINKER__REC_WAIT_FINE,
  TINKER__REC_WAIT_LATE, /* suspect */
  TINKER__REC_WAIT_STUCK /* it is not waited for any more */
} tinker__rec_wait_t;

typedef struct tinker__rec_stuck_policy_s {
  int64_t soft_ms;  /* from here on it is late */
  int64_t hard_ms;  /* from here on it is stuck; 0 = never */
  double factor;    /* but neither before so many times the usual time (p99) */
  int64_t drift_ms; /* between the clocks that is no sleep */
} tinker__rec_stuck_policy_t;

#define TINKER__REC_STUCK_POLICY_INIT                                          \
  { 1200000, 7200000, 10, 1000 }

typedef struct tinker__rec_wait_look_s {
  bool waits;      /* for a result */
  bool held;       /* what holds it up is known */
  int64_t results; /* so far */
  int64_t boot_ms; /* boot clock now: with the time asleep */
  int64_t now_ms;  /* monotonic clock now: may be without it */
} tinker__rec_wait_look_t;

#define TINKER__REC_WAITS 128 /* the last ones, for what is usual */

typedef struct tinker__rec_stuck_s {
  tinker__rec_stuck_policy_t policy;
  tinker__rec_wait_look_t last;
  int64_t waited_ms;
  int64_t took_ms[TINKER__REC_WAITS];
  int64_t count; /* of waits that ended, the last TINKER__REC_WAITS are kept */
} tinker__rec_stuck_t;

/* now: what is seen at the beginning. */
void tinker__rec_stuck_begin(tinker__rec_stuck_t *s,
                             const tinker__rec_stuck_policy_t *policy,
                             const tinker__rec_wait_look_t *now);
tinker__rec_wait_t tinker__rec_stuck_add(tinker__rec_stuck_t *s,
                                         const tinker__rec_wait_look_t *now);
/* Milliseconds until the next look. */
int64_t tinker__rec_stuck_next(const tinker__rec_stuck_t *s);

#endif
