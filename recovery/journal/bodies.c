/* bodies: see bodies.h. */
#include "journal/bodies.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <tinker/error.h>

#include "base/digest.h"
#include "base/file.h"

#define PATH_ROOM 4096

void tinker__rec_bodies_init(tinker__rec_bodies_t *b, const tinker__world_t *w,
                             const char *prefix) {
  *b = (tinker__rec_bodies_t){.world = w, .prefix = prefix, .fd = -1};
}

static int path_of(const tinker__rec_bodies_t *b, int64_t step,
                   char out[PATH_ROOM], char *why, size_t why_len) {
  int n =
      snprintf(out, PATH_ROOM, "%s.s%lld.bodies", b->prefix, (long long)step);
  if (n > 0 && n < PATH_ROOM) return 0;
  return tinker__why(why, why_len, TINKER_EOVERFLOW, "%s: the path is too long",
                     b->prefix);
}

static int failed(const char *path, char *why, size_t why_len) {
  return tinker__why(why, why_len, TINKER_EIO, "%s: %s", path, strerror(errno));
}

void tinker__rec_bodies_close(tinker__rec_bodies_t *b) {
  if (b->fd >= 0) b->world->close(b->world->user, b->fd);
  b->fd = -1;
}

/* Opens the file of the step, to append: an earlier process may have bodies
 * there that are still needed. */
static int open_step(tinker__rec_bodies_t *b, int64_t step, const char *path,
                     char *why, size_t why_len) {
  const tinker__world_t *w = b->world;
  if (b->fd >= 0 && b->step == step) return 0;
  tinker__rec_bodies_close(b);
  int fd =
      w->open(w->user, path,
              O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0600);
  struct stat st;
  if (fd < 0) return failed(path, why, why_len);
  if (stat(path, &st) != 0) {
    w->close(w->user, fd);
    return failed(path, why, why_len);
  }
  b->fd = fd;
  b->step = step;
  b->end = st.st_size;
  return 0;
}

static int write_all(tinker__rec_bodies_t *b, const char *data, size_t len) {
  const tinker__world_t *w = b->world;
  while (len > 0) {
    ssize_t n = w->write(w->user, b->fd, data, len);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return TINKER_EIO;
    data += n;
    len -= (size_t)n;
    b->end += n;
  }
  return 0;
}

int tinker__rec_bodies_add(tinker__rec_bodies_t *b, int64_t step,
                           const tinker_segment_t *segments, size_t n,
                           int64_t *offset, char *why, size_t why_len) {
  char path[PATH_ROOM];
  int rc = path_of(b, step, path, why, why_len);
  if (rc == 0) rc = open_step(b, step, path, why, why_len);
  if (rc != 0) return rc;
  int64_t at = b->end;
  for (size_t i = 0; i < n && rc == 0; i++) {
    rc = write_all(b, segments[i].data, segments[i].len);
  }
  if (rc != 0) return failed(path, why, why_len);
  *offset = at;
  return 0;
}

int tinker__rec_bodies_read(const tinker__rec_bodies_t *b, int64_t step,
                            int64_t offset, size_t len,
                            const unsigned char sha256[32], tinker__buf_t *out,
                            char *why, size_t why_len) {
  char path[PATH_ROOM];
  unsigned char found[TINKER__SHA256_LEN];
  tinker__buf_clear(out);
  int rc = path_of(b, step, path, why, why_len);
  if (rc == 0) rc = tinker__file_read(b->world, path, out, why, why_len);
  if (rc != 0) return rc;
  if (offset < 0 || (size_t)offset > out->len ||
      len > out->len - (size_t)offset) {
    return tinker__why(why, why_len, TINKER_EFORMAT,
                       "%s: it has %zu bytes, the request is %zu bytes from "
                       "%lld on",
                       path, out->len, len, (long long)offset);
  }
  memmove(out->data, out->data + offset, len);
  out->len = len;
  rc = tinker__sha256(out->data, len, found);
  if (rc == 0 && memcmp(found, sha256, sizeof found) != 0) {
    rc = tinker__why(why, why_len, TINKER_EFORMAT,
                     "%s: the request at %lld is not the one that was sent",
                     path, (long long)offset);
  }
  return rc;
}

void tinker__rec_bodies_drop(tinker__rec_bodies_t *b, int64_t step) {
  char path[PATH_ROOM];
  if (b->fd >= 0 && b->step == step) tinker__rec_bodies_close(b);
  if (path_of(b, step, path, NULL, 0) == 0) {
    b->world->unlink(b->world->user, path);
  }
}
