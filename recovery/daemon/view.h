/* view: a run's journal as the daemon reads it, beside its writer. Blocking;
 * changes nothing. */
#ifndef TINKER_RECOVERY_DAEMON_VIEW_H
#define TINKER_RECOVERY_DAEMON_VIEW_H

#include "journal/load.h"
#include "journal/sighting.h"
#include "restart.h"

#define TINKER__REC_SESSION_ROOM 256

typedef struct tinker__rec_view_s {
  tinker__rec_reach_t reach;
  char session[TINKER__REC_SESSION_ROOM]; /* "" = none is known */
  char model[TINKER__REC_MODEL_ROOM];     /* the same */
  char why[512]; /* it can't be read, or why the run was stopped */
} tinker__rec_view_t;

/* What changes when something is written: of the file of decisions, and of that
 * of the epoch. Equal stamps: no record was written in between. */
typedef struct tinker__rec_stamp_s {
  int64_t decisions, steps;
} tinker__rec_stamp_t;

/* all: with the steps, from the run's snapshot on; else only what
 * the file of decisions says, and reach.committed is where the epoch began. */
void tinker__rec_view_read(tinker__rec_view_t *v,
                           const tinker__rec_folder_t *folder, bool all);
tinker__rec_stamp_t tinker__rec_view_stamp(const tinker__rec_folder_t *folder,
                                           int64_t epoch);

#endif
