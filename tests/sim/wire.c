/* wire: see wire.h. Past the interposed calls: these descriptors are the
 * simulation's own. */
#include "sim/wire.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

static bool write_all(int fd, const char *data, size_t len) {
  while (len > 0) {
    long n = syscall(SYS_write, fd, data, len);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return false;
    data += n;
    len -= (size_t)n;
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
  return write_all(fd, (const char *)m, sizeof *m) &&
         (m->len == 0 || write_all(fd, bytes, m->len));
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
