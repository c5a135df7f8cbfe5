/* trying: what the process was doing when it was killed, in a file that the
 * kernel keeps for it (<state>/trying, mapped): a death by SIGKILL leaves no
 * other trace, and the out-of-memory killer sends that. It costs no system
 * call; a power failure may lose what is in it, and needs no blame.
 *
 * `doing` is written by the engine thread; the counts of deaths by the opening
 * thread and, under the service's lock, by the engine thread. */
#ifndef TINKER_SERVICE_TRYING_H
#define TINKER_SERVICE_TRYING_H

#include <stdatomic.h>
#include <stdint.h>

#include "service/core/types.h"

#define TINKER__MAX_DEATHS 3 /* in one call; then it is not tried again */
/* While the same samples were under way: a decode round has many, and a process
 * that is killed for another reason is in one most of the time. */
#define TINKER__MAX_SAMPLE_DEATHS 12

/* Maps the file, made anew if it is not one, and counts a death in what it says
 * was being done. Without a file (logged) nothing is counted. */
void tinker__svc_trying_open(tinker__svc_t *s);
/* How often the process died in that: a number as in config.doing. */
int64_t tinker__svc_trying_deaths(const tinker__svc_t *s, int64_t call);
/* That number of deaths from now on; 0 forgets it. */
void tinker__svc_trying_set(tinker__svc_t *s, int64_t call, int64_t deaths);
/* Samples with a smaller row were under way at each death in a decode round
 * since the first that counts. NULL without a file. */
int64_t *tinker__svc_trying_suspects(tinker__svc_t *s);
void tinker__svc_trying_close(tinker__svc_t *s);

#endif
