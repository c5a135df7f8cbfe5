/* timeline: a run's journal for people: a line for each record of the run's
 * files, and of the daemon's about the run, in the order of time. Reads beside
 * the writers and changes nothing. Blocking. */
#ifndef TINKER_RECOVERY_DAEMON_TIMELINE_H
#define TINKER_RECOVERY_DAEMON_TIMELINE_H

#include "base/buf.h"
#include "base/world.h"

/* Appends the lines to out, also if some can't be read. 0, TINKER_ENOENT (there
 * is no such run), TINKER_ENOMEM or what the reading of a file returned. */
int tinker__rec_timeline(tinker__mem_t *mem, const tinker__world_t *world,
                         const char *state_dir, const char *name,
                         tinker__buf_t *out, char *why, size_t why_len);

#endif
