/* file_script: see file_script.h. */
#include "support/file_script.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#define REAL tinker__world_real()

/* The last name of a path, with its random digits as one '#'. */
static void short_name(const char *path, char out[80]) {
  const char *slash = strrchr(path, '/');
  snprintf(out, 80, "%s", slash ? slash + 1 : path);
  char *end = strstr(out, ".tmp");
  if (!end || end - out < 17) return;
  if (strspn(end - 16, "0123456789abcdef") != 16) return;
  memmove(end - 15, end, strlen(end) + 1);
  end[-16] = '#';
}

/* Writes the call down; true when it is the one that fails. */
static bool note(tinker__file_script_t *s, const char *what, const char *a,
                 const char *b) {
  size_t len = strlen(s->trace);
  snprintf(s->trace + len, sizeof s->trace - len, "%s %s%s%s\n", what, a,
           *b ? " " : "", b);
  if (++s->calls != s->fail_at) return false;
  errno = EIO;
  return true;
}

static const char *name_of(const tinker__file_script_t *s, int fd) {
  for (int i = 0; i < TINKER__FILE_SCRIPT_FDS; i++) {
    if (s->fds[i].fd == fd && s->fds[i].name[0]) return s->fds[i].name;
  }
  return "?";
}

static int script_open(void *user, const char *path, int flags, mode_t mode) {
  tinker__file_script_t *s = user;
  char name[80];
  short_name(path, name);
  if (flags & O_DIRECTORY) strncat(name, "/", sizeof name - strlen(name) - 1);
  if (note(s, "open", name, "")) return -1;
  int fd = REAL->open(REAL->user, path, flags, mode);
  for (int i = 0; fd >= 0 && i < TINKER__FILE_SCRIPT_FDS; i++) {
    if (s->fds[i].name[0]) continue;
    s->fds[i].fd = fd;
    strcpy(s->fds[i].name, name);
    break;
  }
  return fd;
}

static ssize_t script_write(void *user, int fd, const void *data, size_t len) {
  if (note(user, "write", name_of(user, fd), "")) return -1;
  return REAL->write(REAL->user, fd, data, len);
}

static ssize_t script_pwrite(void *user, int fd, const void *data, size_t len,
                             off_t offset) {
  if (note(user, "pwrite", name_of(user, fd), "")) return -1;
  return REAL->pwrite(REAL->user, fd, data, len, offset);
}

static ssize_t script_read(void *user, int fd, void *data, size_t len) {
  (void)user;
  return REAL->read(REAL->user, fd, data, len);
}

static int script_fsync(void *user, int fd) {
  if (note(user, "sync", name_of(user, fd), "")) return -1;
  return REAL->fsync(REAL->user, fd);
}

static int script_datasync(void *user, int fd) {
  if (note(user, "datasync", name_of(user, fd), "")) return -1;
  return REAL->datasync(REAL->user, fd);
}

/* The descriptor is closed in any case. */
static int script_close(void *user, int fd) {
  tinker__file_script_t *s = user;
  bool fails = note(s, "close", name_of(s, fd), "");
  for (int i = 0; i < TINKER__FILE_SCRIPT_FDS; i++) {
    if (s->fds[i].fd == fd) s->fds[i].name[0] = 0;
  }
  int rc = REAL->close(REAL->user, fd);
  if (fails) errno = EIO;
  return fails ? -1 : rc;
}

static int script_rename(void *user, const char *from, const char *to) {
  char a[80], b[80];
  short_name(from, a);
  short_name(to, b);
  if (note(user, "rename", a, b)) return -1;
  return REAL->rename(REAL->user, from, to);
}

static int script_unlink(void *user, const char *path) {
  char name[80];
  short_name(path, name);
  if (note(user, "unlink", name, "")) return -1;
  return REAL->unlink(REAL->user, path);
}

void tinker__file_script_init(tinker__file_script_t *s) {
  memset(s, 0, sizeof *s);
  s->world = *REAL;
  s->world.user = s;
  s->world.open = script_open;
  s->world.write = script_write;
  s->world.pwrite = script_pwrite;
  s->world.read = script_read;
  s->world.fsync = script_fsync;
  s->world.datasync = script_datasync;
  s->world.close = script_close;
  s->world.rename = script_rename;
  s->world.unlink = script_unlink;
}

void tinker__file_script_begin(tinker__file_script_t *s, int fail_at) {
  s->trace[0] = 0;
  s->calls = 0;
  s->fail_at = fail_at;
}
