/* disk: files whose unsynced changes may be lost when the power fails.
 *
 * The files are real ones in a folder. Before a change is made, what it
 * destroys is noted in a log in shared memory, which outlives the process that
 * made it; a sync of a file forgets its changes, one of a folder those of its
 * names. When the power fails the parent takes some of what is left back: of
 * each file all, nothing, or each 4 KiB block from a moment of its own on. */
#ifndef TESTS_SIM_DISK_H
#define TESTS_SIM_DISK_H

#include <sys/types.h>

#include "sim/sim.h"

typedef struct sim_disk_s sim_disk_t;

/* Shared with the processes that are forked later. One a program. */
sim_disk_t *sim_disk_new(void);
/* An empty folder from now on; what the log had is forgotten. */
void sim_disk_begin(sim_disk_t *d, const char *folder);

/* What goes wrong next. */
typedef struct {
  int64_t full_until_ns; /* ENOSPC for writes */
  int32_t fail_syncs;    /* so many, with EIO */
  int32_t short_writes;  /* so many write half */
} sim_disk_fault_t;
sim_disk_fault_t *sim_disk_fault(sim_disk_t *d);

/* The parent: the power fails. No process of the machine is left. */
void sim_disk_power_loss(sim_disk_t *d, sim_rng_t *rng);
/* Changes that a power failure might take back. */
size_t sim_disk_unsynced(const sim_disk_t *d);

/* A child's calls of files go through the disk from now on. */
void sim_disk_enter(sim_disk_t *d);

#endif
