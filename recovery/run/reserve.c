/* reserve: see reserve.h. The file is written, since a file that is merely long
 * takes up no room. */
#include "run/reserve.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <tinker/error.h>

#include "base/error.h"

static int fill(const tinker__rec_reserve_t *r, int fd) {
  static const char zeros[1 << 18];
  const tinker__world_t *w = r->world;
  for (int64_t left = r->bytes; left > 0;) {
    size_t n = left < (int64_t)sizeof zeros ? (size_t)left : sizeof zeros;
    ssize_t done = w->write(w->user, fd, zeros, n);
    if (done < 0 && errno == EINTR) continue;
    if (done <= 0) return -1;
    left -= done;
  }
  return 0;
}

static int make(const tinker__rec_reserve_t *r) {
  const tinker__world_t *w = r->world;
  struct stat st;
  if (stat(r->path, &st) == 0 && st.st_size >= r->bytes) return 0;
  int fd = w->open(w->user, r->path,
                   O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
  if (fd < 0) return errno;
  int error = fill(r, fd) == 0 ? 0 : errno;
  w->close(w->user, fd);
  if (error) w->unlink(w->user, r->path);
  return error;
}

static int try_make(tinker__rec_reserve_t *r, char *why, size_t why_len) {
  int error = make(r);
  if (!error) {
    atomic_store(&r->given, false);
    return 0;
  }
  return tinker__why(why, why_len, TINKER_EIO,
                     "%s: %s: %lld bytes are kept for the end of an incident",
                     r->path, strerror(error), (long long)r->bytes);
}

int tinker__rec_reserve_make(tinker__rec_reserve_t *r,
                             const tinker__world_t *world, const char *dir,
                             int64_t bytes, char *why, size_t why_len) {
  r->world = world;
  r->bytes = bytes;
  atomic_init(&r->given, false);
  int n = snprintf(r->path, sizeof r->path, "%s/reserve", dir);
  if (n < 0 || (size_t)n >= sizeof r->path) {
    return tinker__why(why, why_len, TINKER_EOVERFLOW,
                       "%s: the path is too long", dir);
  }
  return try_make(r, why, why_len);
}

int tinker__rec_reserve_refill(tinker__rec_reserve_t *r, char *why,
                               size_t why_len) {
  return try_make(r, why, why_len);
}

bool tinker__rec_reserve_give(void *reserve) {
  tinker__rec_reserve_t *r = reserve;
  const tinker__world_t *w = r->world;
  if (!atomic_exchange(&r->given, true)) w->unlink(w->user, r->path);
  return true;
}
