/* check: the command "check POLICY" of the daemon. */
#ifndef TINKER_RECOVERY_CHECK_H
#define TINKER_RECOVERY_CHECK_H

#include "policy/worst.h"

enum {
  TINKER__REC_CHECK_GOOD = 0,
  TINKER__REC_CHECK_BAD = 1,   /* the policy has faults */
  TINKER__REC_CHECK_UNREAD = 2 /* it could not be read */
};

/* Writes into out the effective policy and the worst case of the defaults and
 * of each run; into faults what is wrong, a line each. Returns the exit code.
 * Blocking; any thread. */
int tinker__rec_policy_check(tinker__mem_t *mem, const tinker__world_t *world,
                             const char *path, const tinker__rec_times_t *times,
                             tinker__buf_t *out, tinker__buf_t *faults);

#endif
