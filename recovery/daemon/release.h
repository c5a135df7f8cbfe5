/* release: an operator's word in the journal of a run that has stopped: it may
 * try again, and its attempts count from 0, as by tinker_run_resume(). No
 * trainer may work on the run meanwhile. Blocking. */
#ifndef TINKER_RECOVERY_DAEMON_RELEASE_H
#define TINKER_RECOVERY_DAEMON_RELEASE_H

#include "base/mem.h"
#include "base/world.h"

/* 0 (also for a run that had not stopped), TINKER_ENOENT (there is no such
 * run), TINKER_EBUSY (a process works on it), or a code of its journal. */
int tinker__rec_release(tinker__mem_t *mem, const tinker__world_t *world,
                        const char *state_dir, const char *name, char *why,
                        size_t why_len);

#endif
