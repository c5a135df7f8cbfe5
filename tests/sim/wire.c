/* wire: see wire.h. Past the interposed calls: these descriptors are the
 * simulation's own. */
#include "sim/wire.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

static bool write_all(int fd, struct iovec *parts, int n) {
  while (n > 0) {
    long done = syscall(SYS_writev, fd, parts, n);
    if (done < 0 && errno == EINTR) continue;
    if (done <= 0) return false;
    for (; n > 0 && (size_t)done >= parts->iov_len; n--, parts++) {
      done -= (long)parts->iov_len;
    }
    if (n == 0) return true;
    parts->iov_base = (char *)parts->iov_base + done;
    parts->iov_len -= (size_t)done;
  }
  return true;
}

static bool read_all(int fd, void *out, size_t len) {
  char *at = out;
  while (len > 0) {
    long n = syscall(SYS_read, fd, at, len);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return false;
    at += n;
    len -= (size_t)n;
  }
  return true;
}

bool sim_wire_send(int fd, const sim_message_t *m, const void *bytes) {
  struct iovec parts[] = {{(void *)(uintptr_t)m, sizeof *m},
                          {(void *)(uintptr_t)bytes, m->len}};
  return write_all(fd, parts, m->len ? 2 : 1);
}

bool sim_wire_receive(int fd, sim_message_t *m, char **bytes) {
  *bytes = NULL;
  if (!read_all(fd, m, sizeof *m)) return false;
  if (m->len == 0) return true;
  *bytes = malloc(m->len);
  if (*bytes && read_all(fd, *bytes, m->len)) return true;
  free(*bytes);
  return false;
}
