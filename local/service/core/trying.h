/* trying: a file (<state>/trying) that says what the process was doing when it
 * was killed. SIGKILL, which the out-of-memory killer sends, leaves no other
 * trace. The file is mapped, so that a note costs no system call and the kernel
 * keeps it after a kill. A power failure may lose the notes; no call is to
 * blame then.
 *
 * `doing` is written by the engine thread. The counts of deaths are written by
 * the starting thread, and later by the engine thread under the service's lock.
 */
#ifndef TINKER_SERVICE_TRYING_H
#define TINKER_SERVICE_TRYING_H

#include <stdatomic.h>
#include <stdint.h>

#include "service/core/types.h"

#define TINKER__MAX_DEATHS 3 /* in one call; then it is not tried again */
/* Deaths while the same samples were under way. There may be more of them,
 * because a decode round has many samples, and a process that is killed for
 * another reason is in a round most of the time. */
#define TINKER__MAX_SAMPLE_DEATHS 12

/* Maps the file, after making it anew if it is not such a file, and counts a
 * death for the call that it names. If it can't be mapped, that is logged and
 * deaths are not counted. */
void tinker__svc_trying_open(tinker__svc_t *s);
/* How often the process died in a call, given by its number in config.doing. */
int64_t tinker__svc_trying_deaths(const tinker__svc_t *s, int64_t call);
/* Sets the number of deaths of a call; 0 forgets the call. */
void tinker__svc_trying_set(tinker__svc_t *s, int64_t call, int64_t deaths);
/* The place of a row: every sample that was under way at all deaths counted for
 * decode rounds has a smaller row. NULL without a file. */
int64_t *tinker__svc_trying_suspects(tinker__svc_t *s);
void tinker__svc_trying_close(tinker__svc_t *s);

#endif
