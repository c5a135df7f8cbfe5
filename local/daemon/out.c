/* out: see out.h. Threads: one thread at a time writes to each of the two
 * files. Standard output belongs to the main thread. Standard error belongs to
 * the log's thread while the service runs, and to the main thread before and
 * after.
 */
#include "out.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include "base/show.h"

#define GRACE_MS 500
/* A pipe that has room takes this many bytes without blocking. */
#define PIECE ((size_t)PIPE_BUF)

bool tinker__svc_out_begin(void) {
  for (int fd = 0; fd < 3; fd++) {
    if (fcntl(fd, F_GETFD) >= 0) continue;
    if (open("/dev/null", O_RDWR) != fd) return false;
  }
  return true;
}

static int64_t now_ms(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* Milliseconds that are left for lines since the end was asked for. */
static int grace_ms(void) {
  static _Atomic int64_t until;
  int64_t none = 0, now = now_ms();
  atomic_compare_exchange_strong(&until, &none, now + GRACE_MS);
  int64_t left = atomic_load(&until) - now;
  return left > 0 ? (int)left : 0;
}

/* Waits for room in fd. False when the end was asked for and there is still no
 * room after the grace time. */
static bool wait_for_room(int fd, int end) {
  for (;;) {
    struct pollfd p[2] = {{.fd = fd, .events = POLLOUT},
                          {.fd = end, .events = POLLIN}};
    int n = poll(p, 2, -1);
    if (n < 0 && errno != EINTR) return false;
    if (n > 0 && p[0].revents) return true; /* a write shows what it is */
    if (n > 0) break;
  }
  struct pollfd last = {.fd = fd, .events = POLLOUT};
  errno = 0;
  return poll(&last, 1, grace_ms()) > 0;
}

/* Writes a piece of the text, and in the same call the line end if both fit. */
static ssize_t write_piece(int fd, const char *text, size_t len) {
  struct iovec parts[2] = {{(void *)(uintptr_t)text, len},
                           {(void *)(uintptr_t) "\n", 1}};
  return len < PIECE ? writev(fd, parts, 2) : write(fd, text, PIECE);
}

bool tinker__svc_out_line(int fd, int end, const char *text, size_t len) {
  for (;;) {
    if (!wait_for_room(fd, end)) return false;
    ssize_t n = write_piece(fd, text, len);
    if (n < 0 && errno != EINTR && errno != EAGAIN) return false;
    if (n < 0) continue;
    if ((size_t)n > len) return true;
    text += n;
    len -= (size_t)n;
  }
}

void tinker__svc_out_say(int end, const char *fmt, ...) {
  char text[1200], line[2400] = "tinker-locald: ";
  size_t at = strlen(line);
  va_list args;
  va_start(args, fmt);
  vsnprintf(text, sizeof text, fmt, args);
  va_end(args);
  tinker__show(line + at, sizeof line - at, tinker__str(text));
  tinker__svc_out_line(2, end, line, strlen(line));
}
