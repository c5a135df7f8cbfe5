/* marker: the files by which a start recognises its own folders and the newest
 * store. All functions block; any thread but the HTTP threads.
 *
 * <folder>/tinker.json says which store a folder belongs to. The state folder
 * itself gets one last when it is made. Each folder of a checkpoint or snapshot
 * gets one first, with the folder's number and how many groups the store had
 * committed by then. A store with fewer commits is older than that folder.
 *
 * <state>/mark repeats the number of commits. It is written and synced after
 * each commit and before the commit is acknowledged, so a store with fewer
 * commits than its mark has lost something that was acknowledged. */
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
/* 0; TINKER_ENOENT when there is no marker; TINKER_EFORMAT when it is damaged,
 * or was written by another program or another version; TINKER_EIO,
 * TINKER_ENOMEM. */
int tinker__svc_marker_read(const tinker__world_t *w, tinker__mem_t *mem,
                            const char *dir, tinker__svc_marker_t *m, char *why,
                            size_t why_len);

/* Reads the number of commits from the mark of a state folder. The same codes;
 * TINKER_EFORMAT also when the mark belongs to another store. */
int tinker__svc_mark_read(const tinker__world_t *w, tinker__mem_t *mem,
                          const char *dir, const char *store, int64_t *commits,
                          char *why, size_t why_len);
/* Writes a new mark and opens it as *fd for mark_set. */
int tinker__svc_mark_open(const tinker__world_t *w, const char *dir,
                          const char *store, int64_t commits, int *fd,
                          char *why, size_t why_len);
/* True: the number is durable. False: errno says why it is not. */
bool tinker__svc_mark_set(const tinker__world_t *w, int fd, const char *store,
                          int64_t commits);

#endif
