/* disk_vfs: a disk for SQLite that fails on purpose. Files are the real ones;
 * the n-th sync fails, or all writes do until somebody makes room. For all
 * databases that the process opens while it is there. */
#ifndef TINKER_TESTS_SUPPORT_DISK_VFS_H
#define TINKER_TESTS_SUPPORT_DISK_VFS_H

#include <stdatomic.h>
#include <stdbool.h>

typedef struct tinker__disk_s {
  atomic_int syncs;      /* so far */
  atomic_int fail_sync;  /* this sync fails, once; 0 = none */
  atomic_bool full;      /* writes find no room */
  atomic_int room_after; /* so many writes still do; -1 = no limit */
} tinker__disk_t;

extern tinker__disk_t tinker__disk;

/* It becomes the disk of what is opened from now on. */
void tinker__disk_begin(void);
void tinker__disk_end(void);

#endif
