/* ruled: what an operator's policy says of a run, beside or instead of the
 * options of the program (TINKER_RUN_POLICY, <tinker/recovery.h>). */
#ifndef TINKER_RECOVERY_RUN_RULED_H
#define TINKER_RECOVERY_RUN_RULED_H

#include <tinker/recovery.h>

#include "detect/detect.h"
#include "keep/interval.h"

/* Without a policy all is as TINKER__REC_RULED_INIT says. */
typedef struct tinker__rec_ruled_s {
  tinker__rec_detect_policy_t detect;
  tinker__rec_interval_t interval;
  int64_t suspect_ms, confirm_ms; /* of the watch */
  int64_t min_validated;
  int64_t reserve_bytes;
  int64_t recoveries;   /* in the folder at the same time; 0 = any number */
  int64_t max_rollback; /* steps; 0 = any number */
  double every_fraction;
  double tolerance; /* of a loss, relative; negative = by the noise */
  bool keep_first;
  bool relaxed;      /* the journal survives processes, not the machine */
  bool prove_always; /* V4 of each checkpoint that is used */
} tinker__rec_ruled_t;

#define TINKER__REC_RULED_INIT                                                 \
  {                                                                            \
    TINKER__REC_DETECT_POLICY_INIT, TINKER__REC_INTERVAL_INIT, 2000, 15000, 2, \
        1 << 20, 0, 0, 0.125, -1, true, false, false                           \
  }

/* Reads TINKER_RUN_POLICY over the run's options. 0 or a code with `why`. */
int tinker__rec_ruled_take(tinker_run_t *run, char *why, size_t why_len);

#endif
