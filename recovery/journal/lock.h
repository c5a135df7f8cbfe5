/* lock: one process at a time works on a folder. The lock belongs to an open
 * file, so it ends with the process, however that dies, and never before. It is
 * closed in forked children, which would keep it otherwise, and in programs
 * that are started. The file stays: whoever removes it takes the lock away from
 * its holder, who finds out by tinker__rec_lock_held() and stops.
 *
 * Any thread; one lock is used by one thread at a time. */
#ifndef TINKER_RECOVERY_JOURNAL_LOCK_H
#define TINKER_RECOVERY_JOURNAL_LOCK_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "base/list.h"

typedef struct tinker__rec_lock_s {
  tinker__link_t link; /* of all locks of the process */
  int fd;              /* -1 = it is not held */
  dev_t device;
  ino_t inode;
} tinker__rec_lock_t;

/* Does not wait. path: of a file that is made if it is missing. 0, TINKER_EBUSY
 * (another process has it) or TINKER_EIO. On failure fd is -1. */
int tinker__rec_lock_take(tinker__rec_lock_t *l, const char *path, char *why,
                          size_t why_len);
/* Is the file at `path` still the one that is locked? */
bool tinker__rec_lock_held(const tinker__rec_lock_t *l, const char *path);
void tinker__rec_lock_release(tinker__rec_lock_t *l);

#endif
