/* beacon: see beacon.h. */
#include "base/beacon.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include <tinker/error.h>

static bool prepare(int fd) {
  int flags = fcntl(fd, F_GETFL);
  return flags >= 0 && fcntl(fd, F_SETFL, flags | O_NONBLOCK) == 0 &&
         fcntl(fd, F_SETFD, FD_CLOEXEC) == 0;
}

int tinker__beacon_open(tinker__beacon_t *beacon) {
  if (beacon->open) return 0;
  if (pipe(beacon->fds) != 0) return TINKER_EIO;
  beacon->open = true;
  beacon->raised = false;
  if (prepare(beacon->fds[0]) && prepare(beacon->fds[1])) return 0;
  tinker__beacon_close(beacon);
  return TINKER_EIO;
}

/* The pipe has room for the one byte, so only a signal can keep it out. */
void tinker__beacon_raise(tinker__beacon_t *beacon) {
  ssize_t n;
  if (!beacon->open || beacon->raised) return;
  do {
    n = write(beacon->fds[1], "", 1);
  } while (n < 0 && errno == EINTR);
  beacon->raised = n == 1;
}

void tinker__beacon_lower(tinker__beacon_t *beacon) {
  char byte;
  ssize_t n;
  if (!beacon->open || !beacon->raised) return;
  do {
    n = read(beacon->fds[0], &byte, 1);
  } while (n < 0 && errno == EINTR);
  beacon->raised = n != 1;
}

void tinker__beacon_close(tinker__beacon_t *beacon) {
  if (!beacon->open) return;
  close(beacon->fds[0]);
  close(beacon->fds[1]);
  beacon->open = false;
}
