/* marker: the files by which a start knows its own. Blocking; any thread but
 * HTTP's.
 *
 * <folder>/tinker.json says which store a folder belongs to: the state folder
 * itself has one, written last when it is made, and each folder of a checkpoint
 * or snapshot has one, written first, with its number and how many groups the
 * store had committed then. A store with fewer commits is older than it.
 *
 * <state>/mark repeats the number of commits. It is written and synced after
 * each commit, before anybody is told: a store with fewer commits than its mark
 * has lost something that was acknowledged. */
#ifndef TINKER_SERVICE_MARKER_H
#define TINKER_SERVICE_MARKER_H

#include <stdbool.h>

#include "base/mem.h"
#include "base/world.h"

#define TINKER__MARKER "tinker.json"
#define TINKER__STORE_ID 33 /* with its NUL */

typedef struct tinker__svc_marker_s {
  char store[TINKER__STORE_ID];
  int64_t row, commits; /* row 0: the state folder */
} tinker__svc_marker_t;

int tinker__svc_marker_write(const tinker__world_t *w, tinker__mem_t *mem,
                             const char *dir, const tinker__svc_marker_t *m,
                             char *why, size_t why_len);
/* TINKER_ENOENT without one, TINKER_EFORMAT when it is of another program, of a
 * later version or damaged; TINKER_EIO, TINKER_ENOMEM. */
int tinker__svc_marker_read(const tinker__world_t *w, tinker__mem_t *mem,
                            const char *dir, tinker__svc_marker_t *m, char *why,
                            size_t why_len);

/* commits of the mark in a state folder; the same codes, TINKER_EFORMAT also
 * when it is of another store. */
int tinker__svc_mark_read(const tinker__world_t *w, tinker__mem_t *mem,
                          const char *dir, const char *store, int64_t *commits,
                          char *why, size_t why_len);
/* Makes the mark anew and opens it for mark_set: *fd. */
int tinker__svc_mark_open(const tinker__world_t *w, const char *dir,
                          const char *store, int64_t commits, int *fd,
                          char *why, size_t why_len);
/* Durable when it returns true; else errno says why. */
bool tinker__svc_mark_set(const tinker__world_t *w, int fd, const char *store,
                          int64_t commits);

#endif
