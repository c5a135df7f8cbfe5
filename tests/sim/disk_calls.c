/* disk_calls: the calls of files of a child. Each notes what it is about to
 * destroy, and is done by the system. The running thread. */
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "sim/disk_in.h"
#include "sim/host_in.h"
#include "sim/machine.h"

enum { MOST_FDS = 1024 };

static sim_disk_t *disk;
/* File of a descriptor + 1; 0 = not the disk's. */
static int32_t files[MOST_FDS];

void sim_disk_enter(sim_disk_t *d) {
  disk = d;
}

static bool is_ours(const char *path) {
  return disk && sim_host_inside() &&
         strncmp(path, disk->folder, strlen(disk->folder)) == 0 &&
         strlen(path) < SIM_DISK_NAMES;
}

/* --- The log -------------------------------------------------------------- */

/* Moves what is still needed together. */
static void tidy(void) {
  size_t n = 0, used = 0;
  for (size_t i = 0; i < disk->n; i++) {
    sim_entry_of_disk_t e = disk->entries[i];
    if (e.what == SIM_CHANGE_NONE) continue;
    memmove(disk->bytes + used, disk->bytes + e.at, e.len);
    e.at = used;
    used += e.len;
    disk->entries[n++] = e;
  }
  disk->n = n;
  disk->used = used;
}

static sim_entry_of_disk_t *note(sim_change_t what, size_t len) {
  if (disk->live == 0) disk->n = disk->used = 0;
  if (disk->n == SIM_DISK_ENTRIES || len > SIM_DISK_BYTES - disk->used) tidy();
  if (disk->n == SIM_DISK_ENTRIES || len > SIM_DISK_BYTES - disk->used) abort();
  sim_entry_of_disk_t *e = &disk->entries[disk->n++];
  e->what = what;
  e->file = -1;
  e->from = 0;
  e->old_length = -1;
  e->at = disk->used;
  e->len = len;
  e->kept = 0;
  e->name[0] = e->other[0] = '\0';
  disk->used += len;
  disk->live++;
  return e;
}

static void drop(sim_entry_of_disk_t *e) {
  e->what = SIM_CHANGE_NONE;
  disk->live--;
}

static int32_t file_of(int fd) {
  return fd >= 0 && fd < MOST_FDS ? files[fd] - 1 : -1;
}

/* Bytes from..from + len are about to change, and the length perhaps. */
static void note_bytes(int fd, int64_t from, int64_t len) {
  struct stat st;
  if (fstat(fd, &st) != 0) return;
  int64_t end = from + len < st.st_size ? from + len : st.st_size;
  size_t old = end > from ? (size_t)(end - from) : 0;
  sim_entry_of_disk_t *e = note(SIM_CHANGE_BYTES, old);
  e->file = file_of(fd);
  e->from = from;
  if (from + len > st.st_size) e->old_length = st.st_size;
  if (old) syscall(SYS_pread64, fd, disk->bytes + e->at, old, from);
}

static void note_cut(int fd, int64_t length) {
  struct stat st;
  if (fstat(fd, &st) != 0) return;
  if (length < st.st_size) {
    note_bytes(fd, length, st.st_size - length);
  } else if (length > st.st_size) {
    note_bytes(fd, st.st_size, length - st.st_size);
  }
}

static void note_name(sim_change_t what, const char *name, const char *other,
                      int32_t kept) {
  sim_entry_of_disk_t *e = note(what, 0);
  snprintf(e->name, sizeof e->name, "%s", name);
  snprintf(e->other, sizeof e->other, "%s", other);
  e->kept = kept;
}

/* A second name of a file that is about to lose its own. 0 = there is none. */
static int32_t keep(const char *name) {
  char kept[SIM_DISK_NAMES + 32];
  snprintf(kept, sizeof kept, "%s.bin/%d", disk->folder, (int)disk->kept + 1);
  return link(name, kept) == 0 ? ++disk->kept : 0;
}

static void set_names(const char *from, const char *to) {
  for (int32_t i = 0; i < disk->file_count; i++) {
    if (strcmp(disk->files[i].name, from) == 0) {
      snprintf(disk->files[i].name, SIM_DISK_NAMES, "%s", to);
    }
  }
}

/* --- Opening -------------------------------------------------------------- */

static void know(int fd, const char *path) {
  struct stat st;
  if (fd >= MOST_FDS || fstat(fd, &st) != 0 || !S_ISREG(st.st_mode)) return;
  int32_t i = 0;
  while (i < disk->file_count && disk->files[i].inode != st.st_ino) i++;
  if (i == SIM_DISK_FILES) abort();
  if (i == disk->file_count) disk->file_count++;
  disk->files[i].inode = st.st_ino;
  snprintf(disk->files[i].name, SIM_DISK_NAMES, "%s", path);
  files[fd] = i + 1;
}

static int open_ours(const char *path, int flags, mode_t mode) {
  struct stat st;
  sim_host_point();
  bool there = stat(path, &st) == 0;
  int fd = (int)syscall(SYS_openat, AT_FDCWD, path, flags & ~O_TRUNC, mode);
  if (fd < 0) return fd;
  know(fd, path);
  if (!there) note_name(SIM_CHANGE_MADE, path, "", 0);
  if (there && (flags & O_TRUNC)) note_cut(fd, 0);
  if (there && (flags & O_TRUNC)) syscall(SYS_ftruncate, fd, (off_t)0);
  return fd;
}

static int open_any(const char *path, int flags, mode_t mode) {
  int fd = sim_host_inside() ? sim_machine_open(path) : -1;
  if (fd >= 0) return fd;
  if (is_ours(path)) return open_ours(path, flags, mode);
  return (int)syscall(SYS_openat, AT_FDCWD, path, flags, mode);
}

#define OPEN(name)                                                             \
  int name(const char *path, int flags, ...) {                                 \
    mode_t mode = 0;                                                           \
    va_list list;                                                              \
    va_start(list, flags);                                                     \
    if (flags & (O_CREAT | O_TMPFILE)) mode = va_arg(list, mode_t);            \
    va_end(list);                                                              \
    return open_any(path, flags, mode);                                        \
  }
OPEN(open)
OPEN(open64)

int close(int fd) {
  if (fd >= 0 && fd < MOST_FDS) files[fd] = 0;
  sim_host_stir();
  return (int)syscall(SYS_close, fd);
}

/* --- Changing ------------------------------------------------------------- */

/* How many of the bytes may be written now; -1 with errno = none. */
static int64_t allowed(size_t len) {
  if (sim_now_ns() < disk->fault.full_until_ns) {
    errno = ENOSPC;
    return -1;
  }
  if (disk->fault.short_writes > 0 && len > 1) {
    disk->fault.short_writes--;
    return (int64_t)len / 2;
  }
  return (int64_t)len;
}

ssize_t write(int fd, const void *data, size_t len) {
  if (!sim_host_inside()) return syscall(SYS_write, fd, data, len);
  sim_host_point();
  sim_host_stir();
  if (fd == STDERR_FILENO && !getenv("SIM_STDERR")) return (ssize_t)len;
  if (file_of(fd) < 0) return syscall(SYS_write, fd, data, len);
  int64_t n = allowed(len);
  if (n < 0) return -1;
  bool at_end = fcntl(fd, F_GETFL) & O_APPEND;
  int64_t from = syscall(SYS_lseek, fd, 0, at_end ? SEEK_END : SEEK_CUR);
  note_bytes(fd, from, n);
  return syscall(SYS_write, fd, data, (size_t)n);
}

ssize_t pwrite64(int fd, const void *data, size_t len, off64_t offset) {
  if (file_of(fd) < 0) return syscall(SYS_pwrite64, fd, data, len, offset);
  sim_host_point();
  int64_t n = allowed(len);
  if (n < 0) return -1;
  note_bytes(fd, offset, n);
  return syscall(SYS_pwrite64, fd, data, (size_t)n, offset);
}

ssize_t pwrite(int fd, const void *data, size_t len, off_t offset) {
  return pwrite64(fd, data, len, offset);
}

int ftruncate64(int fd, off64_t length) {
  if (file_of(fd) >= 0) {
    sim_host_point();
    note_cut(fd, length);
  }
  return (int)syscall(SYS_ftruncate, fd, length);
}

int ftruncate(int fd, off_t length) {
  return ftruncate64(fd, length);
}

/* --- Names ---------------------------------------------------------------- */

int unlink(const char *path) {
  if (!is_ours(path)) return (int)syscall(SYS_unlinkat, AT_FDCWD, path, 0);
  sim_host_point();
  int32_t kept = keep(path);
  int rc = (int)syscall(SYS_unlinkat, AT_FDCWD, path, 0);
  if (rc == 0) note_name(SIM_CHANGE_GONE, path, "", kept);
  if (rc == 0) set_names(path, "");
  return rc;
}

int rename(const char *from, const char *to) {
  if (!is_ours(from)) {
    return (int)syscall(SYS_renameat, AT_FDCWD, from, AT_FDCWD, to);
  }
  sim_host_point();
  int32_t kept = keep(to);
  int rc = (int)syscall(SYS_renameat, AT_FDCWD, from, AT_FDCWD, to);
  if (rc != 0) return rc;
  set_names(to, "");
  set_names(from, to);
  note_name(SIM_CHANGE_MOVED, to, from, kept);
  return 0;
}

/* --- Syncing -------------------------------------------------------------- */

static void sync_file(int32_t file) {
  for (size_t i = 0; i < disk->n; i++) {
    sim_entry_of_disk_t *e = &disk->entries[i];
    if (e->what == SIM_CHANGE_BYTES && e->file == file) drop(e);
  }
}

static bool is_in(const char *name, const char *folder) {
  size_t n = strlen(folder);
  return strncmp(name, folder, n) == 0 && name[n] == '/' &&
         !strchr(name + n + 1, '/');
}

static void sync_folder(int fd) {
  char link[64], path[SIM_DISK_NAMES];
  snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  ssize_t len = readlink(link, path, sizeof path - 1);
  if (len < 0) return;
  path[len] = '\0';
  for (size_t i = 0; i < disk->n; i++) {
    sim_entry_of_disk_t *e = &disk->entries[i];
    bool name = e->what != SIM_CHANGE_NONE && e->what != SIM_CHANGE_BYTES;
    if (name && is_in(e->name, path)) drop(e);
  }
}

static int sync_any(int fd) {
  sim_host_point();
  sim_machine_tell_sync();
  if (disk->fault.fail_syncs > 0) {
    disk->fault.fail_syncs--;
    errno = EIO;
    return -1;
  }
  if (file_of(fd) >= 0) {
    sync_file(file_of(fd));
  } else {
    sync_folder(fd);
  }
  sim_host_point();
  return 0;
}

int fsync(int fd) {
  return sim_host_inside() ? sync_any(fd) : (int)syscall(SYS_fsync, fd);
}

int fdatasync(int fd) {
  return sim_host_inside() ? sync_any(fd) : (int)syscall(SYS_fdatasync, fd);
}
