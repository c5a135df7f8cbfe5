/* kill_at: a library to preload. It ends the process with SIGKILL before or
 * after the n-th call of the system that changes something outside the process:
 * a file, or a connection. So a test dies at every boundary of what a program
 * has made durable or sent.
 *
 *   TINKER_KILL_AT=n      at the n-th call; 0 or not set = never
 *   TINKER_KILL_AFTER=1   after it instead of before
 *   TINKER_KILL_COUNT=f   the number of calls is written to the file at exit */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

static atomic_long calls;
static long kill_at;
static int after;

static void die(void) {
  kill(getpid(), SIGKILL);
  for (;;) pause();
}

__attribute__((constructor)) static void begin(void) {
  const char *at = getenv("TINKER_KILL_AT"), *a = getenv("TINKER_KILL_AFTER");
  kill_at = at ? strtol(at, NULL, 10) : 0;
  after = a && *a == '1';
}

__attribute__((destructor)) static void end(void) {
  const char *path = getenv("TINKER_KILL_COUNT");
  FILE *f = path ? fopen(path, "w") : NULL;
  if (!f) return;
  fprintf(f, "%ld\n", atomic_load(&calls));
  fclose(f);
}

/* Counts the call; true if the process dies after it. */
static int count(void) {
  long n = atomic_fetch_add(&calls, 1) + 1;
  if (n != kill_at) return 0;
  if (!after) die();
  return 1;
}

/* The real function, found once. */
#define REAL(name, type)                                                       \
  static type real;                                                            \
  if (!real) *(void **)&real = dlsym(RTLD_NEXT, #name)

#define FORWARD(name, result, parameters, arguments)                           \
  __attribute__((visibility("default"))) result name parameters;               \
  result name parameters {                                                     \
    typedef result(*type) parameters;                                          \
    REAL(name, type);                                                          \
    int dies = count();                                                        \
    result r = real arguments;                                                 \
    if (dies) die();                                                           \
    return r;                                                                  \
  }

FORWARD(fdatasync, int, (int fd), (fd))
FORWARD(fsync, int, (int fd), (fd))
FORWARD(pwrite64, ssize_t, (int fd, const void *p, size_t n, off64_t at),
        (fd, p, n, at))
FORWARD(pwrite, ssize_t, (int fd, const void *p, size_t n, off_t at),
        (fd, p, n, at))
FORWARD(ftruncate64, int, (int fd, off64_t len), (fd, len))
FORWARD(ftruncate, int, (int fd, off_t len), (fd, len))
FORWARD(unlink, int, (const char *path), (path))
FORWARD(rename, int, (const char *from, const char *to), (from, to))
FORWARD(mkdir, int, (const char *path, mode_t mode), (path, mode))
FORWARD(send, ssize_t, (int fd, const void *p, size_t n, int flags),
        (fd, p, n, flags))
FORWARD(sendmsg, ssize_t, (int fd, const struct msghdr *m, int flags),
        (fd, m, flags))
FORWARD(recv, ssize_t, (int fd, void *p, size_t n, int flags),
        (fd, p, n, flags))
