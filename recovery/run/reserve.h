/* reserve: a file of a run that only takes up room, so that a disk that gets
 * full does not leave an incident open (F72). When a record finds no room the
 * file is given up: what is under way ends, and is journaled. No further step
 * begins before there is room for the file again.
 *
 * Any thread may give it up; it is made by one thread at a time. */
#ifndef TINKER_RECOVERY_RUN_RESERVE_H
#define TINKER_RECOVERY_RUN_RESERVE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/world.h"
#include "journal/load.h"

typedef struct tinker__rec_reserve_s {
  const tinker__world_t *world;
  int64_t bytes;
  atomic_bool given;                /* up */
  char path[TINKER__REC_PATH_ROOM]; /* "" = there is none yet */
} tinker__rec_reserve_t;

/* Makes the file if it is missing or too short. 0, TINKER_EOVERFLOW (the path
 * is too long) or TINKER_EIO: there is no room, and what was made of it is gone
 * again. */
int tinker__rec_reserve_make(tinker__rec_reserve_t *r,
                             const tinker__world_t *world, const char *dir,
                             int64_t bytes, char *why, size_t why_len);
/* The same after it was given up. */
int tinker__rec_reserve_refill(tinker__rec_reserve_t *r, char *why,
                               size_t why_len);
/* A tinker__rec_reserve_t. True: it was given up, now or before. */
bool tinker__rec_reserve_give(void *reserve);

#endif
