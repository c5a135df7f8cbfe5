/* file: see file.h. Blocking; any thread but the event loop. */
#include "base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <tinker/error.h>

#define MAX_PATH_LEN 4096

static int io_error(char *why, size_t why_len, const char *what,
                    const char *path) {
  int err = errno;
  int code = err == ENOENT ? TINKER_ENOENT : TINKER_EIO;
  return tinker__why(why, why_len, code, "can't %s %s: %s", what, path,
                     strerror(err));
}

static int read_all(const tinker__world_t *w, int fd, const char *path,
                    tinker__buf_t *out, char *why, size_t why_len) {
  for (;;) {
    size_t room = out->max - out->len;
    if (room > 65536) room = 65536;
    /* At the ceiling one more byte is tried: is there more in the file? */
    char extra;
    int rc = room ? tinker__buf_reserve(out, room) : 0;
    if (rc) {
      return tinker__why(why, why_len, rc, "can't read %s: %s", path,
                         tinker_code_text(rc));
    }
    ssize_t n = room ? w->read(w->user, fd, out->data + out->len, room)
                     : w->read(w->user, fd, &extra, 1);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return io_error(why, why_len, "read", path);
    if (n == 0) return 0;
    if (!room) {
      return tinker__why(why, why_len, TINKER_EOVERFLOW,
                         "%s is longer than %zu bytes", path, out->max);
    }
    out->len += (size_t)n;
  }
}

int tinker__file_read(const tinker__world_t *w, const char *path,
                      tinker__buf_t *out, char *why, size_t why_len) {
  int fd = w->open(w->user, path, O_RDONLY | O_CLOEXEC, 0);
  if (fd < 0) return io_error(why, why_len, "open", path);
  int rc = read_all(w, fd, path, out, why, why_len);
  w->close(w->user, fd);
  return rc;
}

static int digest_all(const tinker__world_t *w, int fd, const char *path,
                      tinker__sha256_t *h, char *why, size_t why_len) {
  char piece[16384];
  for (;;) {
    ssize_t n = w->read(w->user, fd, piece, sizeof piece);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return io_error(why, why_len, "read", path);
    if (n == 0) return 0;
    int rc = tinker__sha256_add(h, piece, (size_t)n);
    if (rc) return tinker__why(why, why_len, rc, "out of memory");
  }
}

int tinker__file_sha256(const tinker__world_t *w, tinker__mem_t *mem,
                        const char *path, unsigned char out[TINKER__SHA256_LEN],
                        char *why, size_t why_len) {
  tinker__sha256_t *h;
  unsigned char digest[TINKER__SHA256_LEN];
  int rc = tinker__sha256_new(&h, mem);
  if (rc) return tinker__why(why, why_len, rc, "out of memory");
  int fd = w->open(w->user, path, O_RDONLY | O_CLOEXEC, 0);
  rc = fd < 0 ? io_error(why, why_len, "open", path)
              : digest_all(w, fd, path, h, why, why_len);
  if (fd >= 0) w->close(w->user, fd);
  int end = tinker__sha256_end(h, digest);
  if (rc == 0 && end) rc = tinker__why(why, why_len, end, "out of memory");
  if (rc == 0) memcpy(out, digest, sizeof digest);
  return rc;
}

static int write_all(const tinker__world_t *w, int fd, const char *data,
                     size_t len) {
  while (len) {
    ssize_t n = w->write(w->user, fd, data, len);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) {
      if (n == 0) errno = ENOSPC;
      return -1;
    }
    data += n;
    len -= (size_t)n;
  }
  return 0;
}

int tinker__file_sync_dir(const tinker__world_t *w, const char *dir, char *why,
                          size_t why_len) {
  int fd = w->open(w->user, dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
  if (fd < 0) return io_error(why, why_len, "open", dir);
  int rc = 0;
  if (w->fsync(w->user, fd)) rc = io_error(why, why_len, "sync", dir);
  w->close(w->user, fd);
  return rc;
}

/* The folder of path, "." when it names none. */
static void folder_of(const char *path, char dir[MAX_PATH_LEN]) {
  const char *slash = strrchr(path, '/');
  if (!slash) {
    snprintf(dir, MAX_PATH_LEN, ".");
  } else if (slash == path) {
    snprintf(dir, MAX_PATH_LEN, "/");
  } else {
    snprintf(dir, MAX_PATH_LEN, "%.*s", (int)(slash - path), path);
  }
}

/* --- Drafts --------------------------------------------------------------- */

static int draft_name(const tinker__draft_t *d, char tmp[MAX_PATH_LEN],
                      char *why, size_t why_len) {
  int n = snprintf(tmp, MAX_PATH_LEN, "%s.%s.tmp", d->path, d->tag);
  if (n >= 0 && n < MAX_PATH_LEN) return 0;
  return tinker__why(why, why_len, TINKER_EOVERFLOW, "path is too long");
}

int tinker__draft_begin(tinker__draft_t *d, const tinker__world_t *w,
                        const char *path, mode_t mode, char *why,
                        size_t why_len) {
  char tmp[MAX_PATH_LEN];
  unsigned char random[8];
  *d = (tinker__draft_t){.world = w, .path = path, .fd = -1};
  int rc = w->random(w->user, random, sizeof(random));
  if (rc) return tinker__why(why, why_len, rc, "%s", tinker_code_text(rc));
  tinker__hex(random, sizeof(random), d->tag);
  rc = draft_name(d, tmp, why, why_len);
  if (rc) return rc;
  d->fd = w->open(w->user, tmp, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode);
  return d->fd < 0 ? io_error(why, why_len, "create", tmp) : 0;
}

int tinker__draft_add(tinker__draft_t *d, const void *data, size_t len,
                      char *why, size_t why_len) {
  char tmp[MAX_PATH_LEN];
  if (!len || !write_all(d->world, d->fd, data, len)) return 0;
  int err = errno;
  draft_name(d, tmp, NULL, 0);
  errno = err;
  return io_error(why, why_len, "write", tmp);
}

void tinker__draft_drop(tinker__draft_t *d) {
  char tmp[MAX_PATH_LEN];
  const tinker__world_t *w = d->world;
  if (d->fd < 0) return;
  w->close(w->user, d->fd);
  d->fd = -1;
  if (draft_name(d, tmp, NULL, 0) == 0) w->unlink(w->user, tmp);
}

int tinker__draft_publish(tinker__draft_t *d, char *why, size_t why_len) {
  char tmp[MAX_PATH_LEN], dir[MAX_PATH_LEN];
  const tinker__world_t *w = d->world;
  int fd = d->fd, rc = draft_name(d, tmp, why, why_len);
  d->fd = -1;
  if (!rc && w->fsync(w->user, fd)) rc = io_error(why, why_len, "sync", tmp);
  if (w->close(w->user, fd) && !rc) rc = io_error(why, why_len, "close", tmp);
  if (!rc && w->rename(w->user, tmp, d->path)) {
    rc = io_error(why, why_len, "rename", d->path);
  }
  if (rc) {
    w->unlink(w->user, tmp);
    return rc;
  }
  folder_of(d->path, dir);
  return tinker__file_sync_dir(w, dir, why, why_len);
}

int tinker__file_publish(const tinker__world_t *w, const char *path,
                         const void *data, size_t len, mode_t mode, char *why,
                         size_t why_len) {
  tinker__draft_t d;
  int rc = tinker__draft_begin(&d, w, path, mode, why, why_len);
  if (!rc) rc = tinker__draft_add(&d, data, len, why, why_len);
  if (!rc) return tinker__draft_publish(&d, why, why_len);
  tinker__draft_drop(&d);
  return rc;
}
