/* kill_at: a library to preload. It ends the process with SIGKILL before or
 * after the n-th call of the system that changes something outside the process:
 * a file, or a connection. So a test dies at every boundary of what a program
 * has made durable or sent.
 *
 *   TINKER_KILL_AT=n      at the n-th call; 0 or not set = never
 *   TINKER_KILL_AFTER=1   after it instead of before
 *   TINKER_KILL_POWER=1   with the machine: of each file what was written since
 *                         its last sync, at its end, is gone
 *   TINKER_KILL_COUNT=f   the number of calls is written to the file at exit
 *   TINKER_SYNC_FAILS=n   the n-th fsync or fdatasync fails with EIO, and the
 *                         disk has not got what it was to make durable
 *   TINKER_SYNC_COUNT=f   as TINKER_KILL_COUNT, of these calls */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

static atomic_long calls, syncs;
static long kill_at, sync_fails;
static int after, power;

/* Files that were written to, and how long they are on the disk. */
#define FDS 1024
static atomic_int dirty[FDS];
static atomic_long synced[FDS];

static void lose_power(void) {
  for (int fd = 0; fd < FDS; fd++) {
    struct stat st;
    if (!atomic_load(&dirty[fd]) || fstat(fd, &st) != 0) continue;
    long len = atomic_load(&synced[fd]);
    if (!S_ISREG(st.st_mode) || st.st_size <= len) continue;
    char path[64], name[4096]; /* the real call, past the counting */
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    ssize_t n = readlink(path, name, sizeof name);
    /* SQLite's shared memory is in use, and made anew by the next process. */
    if (n > 4 && memcmp(name + n - 4, "-shm", 4) == 0) continue;
    if (truncate(path, len) != 0) abort();
  }
}

static void written(int fd) {
  if (power && fd >= 0 && fd < FDS) atomic_store(&dirty[fd], 1);
}

static void is_synced(int fd) {
  struct stat st;
  if (!power || fd < 0 || fd >= FDS || fstat(fd, &st) != 0) return;
  atomic_store(&synced[fd], (long)st.st_size);
  atomic_store(&dirty[fd], 0);
}

/* A file that was there before is on the disk. */
static void is_opened(int fd) {
  is_synced(fd);
}

static void die(void) {
  if (power) lose_power();
  kill(getpid(), SIGKILL);
  for (;;) pause();
}

__attribute__((constructor)) static void begin(void) {
  const char *at = getenv("TINKER_KILL_AT"), *a = getenv("TINKER_KILL_AFTER");
  kill_at = at ? strtol(at, NULL, 10) : 0;
  after = a && *a == '1';
  a = getenv("TINKER_KILL_POWER");
  power = a && *a == '1';
  at = getenv("TINKER_SYNC_FAILS");
  sync_fails = at ? strtol(at, NULL, 10) : 0;
}

static void write_count(const char *variable, long n) {
  const char *path = getenv(variable);
  FILE *f = path ? fopen(path, "w") : NULL;
  if (!f) return;
  fprintf(f, "%ld\n", n);
  fclose(f);
}

__attribute__((destructor)) static void end(void) {
  write_count("TINKER_KILL_COUNT", atomic_load(&calls));
  write_count("TINKER_SYNC_COUNT", atomic_load(&syncs));
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

/* A sync that may fail instead. */
#define SYNC(name)                                                             \
  __attribute__((visibility("default"))) int name(int fd);                     \
  int name(int fd) {                                                           \
    typedef int (*type)(int);                                                  \
    REAL(name, type);                                                          \
    int dies = count();                                                        \
    int fails = atomic_fetch_add(&syncs, 1) + 1 == sync_fails;                 \
    int r = fails ? -1 : real(fd);                                             \
    if (r == 0) is_synced(fd);                                                 \
    if (fails) errno = EIO;                                                    \
    if (dies) die();                                                           \
    return r;                                                                  \
  }

SYNC(fdatasync)
SYNC(fsync)
#define WRITE(name, parameters, arguments)                                     \
  __attribute__((visibility("default"))) ssize_t name parameters;              \
  ssize_t name parameters {                                                    \
    typedef ssize_t(*type) parameters;                                         \
    REAL(name, type);                                                          \
    int dies = count();                                                        \
    ssize_t r = real arguments;                                                \
    written(fd);                                                               \
    if (dies) die();                                                           \
    return r;                                                                  \
  }

WRITE(pwrite64, (int fd, const void *p, size_t n, off64_t at), (fd, p, n, at))
WRITE(pwrite, (int fd, const void *p, size_t n, off_t at), (fd, p, n, at))
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

/* Of files and pipes: what wakes another thread is not outside the process. */
static int is_outside(int fd) {
  struct stat st;
  return fd > 2 && fstat(fd, &st) == 0 &&
         (S_ISREG(st.st_mode) || S_ISFIFO(st.st_mode));
}

__attribute__((visibility("default"))) ssize_t write(int fd, const void *p,
                                                     size_t n);
ssize_t write(int fd, const void *p, size_t n) {
  typedef ssize_t (*type)(int, const void *, size_t);
  REAL(write, type);
  int dies = is_outside(fd) && count();
  ssize_t r = real(fd, p, n);
  written(fd);
  if (dies) die();
  return r;
}

/* A child counts on: it makes nothing durable before it is another program. */
__attribute__((visibility("default"))) pid_t fork(void);
pid_t fork(void) {
  typedef pid_t (*type)(void);
  REAL(fork, type);
  int dies = count();
  pid_t pid = real();
  if (dies && pid != 0) die();
  return pid;
}

/* Calls that the C library has no name for; a signal to a process is one that
 * counts. */
__attribute__((visibility("default"))) long syscall(long number, ...);
long syscall(long number, ...) {
  typedef long (*type)(long, ...);
  long a[6];
  va_list list;
  REAL(syscall, type);
  va_start(list, number);
  for (int i = 0; i < 6; i++) a[i] = va_arg(list, long);
  va_end(list);
  int dies = number == SYS_pidfd_send_signal && count();
  long r = real(number, a[0], a[1], a[2], a[3], a[4], a[5]);
  if (dies) die();
  return r;
}

#define OPEN(name)                                                             \
  __attribute__((visibility("default"))) int name(const char *path, int flags, \
                                                  ...);                        \
  int name(const char *path, int flags, ...) {                                 \
    typedef int (*type)(const char *, int, ...);                               \
    REAL(name, type);                                                          \
    va_list list;                                                              \
    va_start(list, flags);                                                     \
    mode_t mode = flags & O_CREAT ? va_arg(list, mode_t) : 0;                  \
    va_end(list);                                                              \
    int fd = real(path, flags, mode);                                          \
    is_opened(fd);                                                             \
    return fd;                                                                 \
  }

OPEN(open)
OPEN(open64)
