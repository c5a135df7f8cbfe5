/* replay: takes up the state of an earlier run at the start, see replay.c and
 * deaths.c. Starting thread. */
#ifndef TINKER_SERVICE_BOOT_REPLAY_H
#define TINKER_SERVICE_BOOT_REPLAY_H

#include "service/core/core.h"

/* Reads the rows of the store into s. 0 or a code with a sentence in why. */
int tinker__svc_replay_load(tinker__svc_t *s, char *why, size_t why_len);
/* Marks the call that the engine crashed in, which fails instead of being
 * executed. */
void tinker__svc_replay_crashed(tinker__svc_t *s);
/* Marks the calls in which the process was killed again and again. */
void tinker__svc_replay_killed(tinker__svc_t *s);
/* Begins to execute the calls that were under way. Called once, before the
 * service is ready. */
void tinker__svc_replay_start(tinker__svc_t *s);

#endif
