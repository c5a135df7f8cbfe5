/* replay: what a start finds of an earlier run, see replay.c. */
#ifndef TINKER_SERVICE_BOOT_REPLAY_H
#define TINKER_SERVICE_BOOT_REPLAY_H

#include "service/core/core.h"

int tinker__svc_replay_load(tinker__svc_t *s, char *why, size_t why_len);
/* The call that the engine crashed in will fail instead of being executed. */
void tinker__svc_replay_crashed(tinker__svc_t *s);
/* Nor are those that it was killed in again and again. */
void tinker__svc_replay_killed(tinker__svc_t *s);
/* Starts what was under way. Called once, before the service is ready. */
void tinker__svc_replay_start(tinker__svc_t *s);

#endif
