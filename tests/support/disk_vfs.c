/* disk_vfs: see disk_vfs.h. A file of it is the real file with its own table of
 * methods in front; what does not fail goes to the real one. */
#include "support/disk_vfs.h"

#include <sqlite3.h>
#include <stdlib.h>
#include <string.h>

tinker__disk_t tinker__disk;

typedef struct {
  sqlite3_file base; /* first: SQLite sees this */
  sqlite3_file *real;
} file_t;

static sqlite3_vfs vfs, *under;

static sqlite3_file *real_of(sqlite3_file *f) {
  return ((file_t *)f)->real;
}

static int on_sync(sqlite3_file *f, int flags) {
  int n = atomic_fetch_add(&tinker__disk.syncs, 1) + 1;
  if (n == atomic_load(&tinker__disk.fail_sync)) return SQLITE_IOERR_FSYNC;
  return real_of(f)->pMethods->xSync(real_of(f), flags);
}

static int on_write(sqlite3_file *f, const void *data, int n,
                    sqlite3_int64 at) {
  int left = atomic_load(&tinker__disk.room_after);
  if (left > 0) atomic_store(&tinker__disk.room_after, left - 1);
  if (left == 1) atomic_store(&tinker__disk.full, true);
  if (atomic_load(&tinker__disk.full)) return SQLITE_FULL;
  return real_of(f)->pMethods->xWrite(real_of(f), data, n, at);
}

/* What is passed on as it is. */
#define PASS(name, parameters, arguments)                                      \
  static int name parameters {                                                 \
    return real_of(f)->pMethods->name arguments;                               \
  }
PASS(xRead, (sqlite3_file * f, void *p, int n, sqlite3_int64 at),
     (real_of(f), p, n, at))
PASS(xTruncate, (sqlite3_file * f, sqlite3_int64 n), (real_of(f), n))
PASS(xFileSize, (sqlite3_file * f, sqlite3_int64 *n), (real_of(f), n))
PASS(xLock, (sqlite3_file * f, int level), (real_of(f), level))
PASS(xUnlock, (sqlite3_file * f, int level), (real_of(f), level))
PASS(xCheckReservedLock, (sqlite3_file * f, int *out), (real_of(f), out))
PASS(xFileControl, (sqlite3_file * f, int op, void *arg), (real_of(f), op, arg))
PASS(xSectorSize, (sqlite3_file * f), (real_of(f)))
PASS(xDeviceCharacteristics, (sqlite3_file * f), (real_of(f)))
PASS(xShmMap,
     (sqlite3_file * f, int page, int size, int more, void volatile **out),
     (real_of(f), page, size, more, out))
PASS(xShmLock, (sqlite3_file * f, int at, int n, int flags),
     (real_of(f), at, n, flags))
PASS(xShmUnmap, (sqlite3_file * f, int gone), (real_of(f), gone))

static void xShmBarrier(sqlite3_file *f) {
  real_of(f)->pMethods->xShmBarrier(real_of(f));
}

static int on_close(sqlite3_file *f) {
  int rc = SQLITE_OK;
  if (real_of(f)->pMethods) rc = real_of(f)->pMethods->xClose(real_of(f));
  return rc;
}

static const sqlite3_io_methods methods = {
    .iVersion = 2,
    .xClose = on_close,
    .xRead = xRead,
    .xWrite = on_write,
    .xTruncate = xTruncate,
    .xSync = on_sync,
    .xFileSize = xFileSize,
    .xLock = xLock,
    .xUnlock = xUnlock,
    .xCheckReservedLock = xCheckReservedLock,
    .xFileControl = xFileControl,
    .xSectorSize = xSectorSize,
    .xDeviceCharacteristics = xDeviceCharacteristics,
    .xShmMap = xShmMap,
    .xShmLock = xShmLock,
    .xShmBarrier = xShmBarrier,
    .xShmUnmap = xShmUnmap};

static int on_open(sqlite3_vfs *v, const char *name, sqlite3_file *f, int flags,
                   int *out) {
  file_t *own = (file_t *)f;
  (void)v;
  own->base.pMethods = NULL;
  own->real = (sqlite3_file *)(own + 1);
  int rc = under->xOpen(under, name, own->real, flags, out);
  if (rc == SQLITE_OK) own->base.pMethods = &methods;
  return rc;
}

void tinker__disk_begin(void) {
  memset(&tinker__disk, 0, sizeof tinker__disk);
  atomic_store(&tinker__disk.room_after, -1);
  under = sqlite3_vfs_find(NULL);
  vfs = *under;
  vfs.zName = "failing-disk";
  vfs.szOsFile = (int)sizeof(file_t) + under->szOsFile;
  vfs.pNext = NULL;
  vfs.xOpen = on_open;
  if (sqlite3_vfs_register(&vfs, 1) != SQLITE_OK) abort();
}

void tinker__disk_end(void) {
  sqlite3_vfs_unregister(&vfs);
  sqlite3_vfs_register(under, 1);
}
