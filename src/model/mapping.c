/* mapping: see mapping.h. Any thread. */
#include "model/mapping.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <tinker/error.h>

#include "base/impostor.h"

static int map_fd(tinker__mapping_t *m, int fd, const char *path, char *why,
                  size_t why_len) {
  struct stat st;
  if (fstat(fd, &st) != 0) {
    return tinker__why(why, why_len, TINKER_EIO, "%s: %s", path,
                       strerror(errno));
  }
  if (!S_ISREG(st.st_mode)) {
    return tinker__why(why, why_len, TINKER_EFORMAT, "%s is no regular file",
                       path);
  }
  if (st.st_size <= 0) {
    return tinker__why(why, why_len, TINKER_EFORMAT, "%s %s", path,
                       tinker__impostor(tinker__str("")));
  }
  void *data = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
  if (data == MAP_FAILED) {
    return tinker__why(why, why_len, TINKER_EIO, "%s: %s", path,
                       strerror(errno));
  }
  m->data = data;
  m->len = (size_t)st.st_size;
  return 0;
}

int tinker__mapping_open(tinker__mapping_t *m, const tinker__world_t *world,
                         const char *path, char *why, size_t why_len) {
  /* Non-blocking, so that a pipe of that name can't hold us. */
  int fd = world->open(world->user, path, O_RDONLY | O_CLOEXEC | O_NONBLOCK, 0);
  m->data = NULL;
  m->len = 0;
  if (fd < 0) {
    return tinker__why(why, why_len,
                       errno == ENOENT || errno == ENOTDIR ? TINKER_ENOENT
                                                           : TINKER_EIO,
                       "%s: %s", path, strerror(errno));
  }
  int rc = map_fd(m, fd, path, why, why_len);
  world->close(world->user, fd);
  return rc;
}

void tinker__mapping_close(tinker__mapping_t *m) {
  if (m->data) munmap(m->data, m->len);
  m->data = NULL;
}
