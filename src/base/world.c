/* world: the real clock, random numbers, environment and files. Any thread. */
#include "base/world.h"

#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#ifdef __APPLE__
#include <sys/sysctl.h>
#endif
#include <time.h>
#include <tinker/error.h>
#include <unistd.h>

static int64_t clock_ms(clockid_t id) {
  struct timespec t;
  clock_gettime(id, &t);
  return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static int64_t real_now(void *user) {
  (void)user;
  return clock_ms(CLOCK_MONOTONIC);
}

static int64_t real_wall(void *user) {
  (void)user;
  return clock_ms(CLOCK_REALTIME);
}

static int64_t real_boot_ms(void *user) {
  (void)user;
#ifdef CLOCK_BOOTTIME
  return clock_ms(CLOCK_BOOTTIME);
#else /* macOS: the one that goes on while the machine sleeps */
  return clock_ms(CLOCK_MONOTONIC);
#endif
}

#ifdef __APPLE__
static bool read_boot_id(char *out) {
  size_t len = TINKER__BOOT_ID_LEN;
  return sysctlbyname("kern.bootsessionuuid", out, &len, NULL, 0) == 0;
}
#else
static bool read_boot_id(char *out) {
  int fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
  ssize_t n = fd < 0 ? 0 : read(fd, out, TINKER__BOOT_ID_LEN - 1);
  if (fd >= 0) close(fd);
  out[n > 0 ? n : 0] = '\0';
  return n == TINKER__BOOT_ID_LEN - 1;
}
#endif

static void real_boot_id(void *user, char out[TINKER__BOOT_ID_LEN]) {
  (void)user;
  if (!read_boot_id(out)) memcpy(out, "unknown", sizeof "unknown");
}

static int real_random(void *user, void *out, size_t len) {
  (void)user;
  unsigned char *p = out;
  while (len) {
    size_t n = len < 256 ? len : 256; /* what getentropy gives at once */
    if (getentropy(p, n)) return TINKER_ERANDOM;
    p += n;
    len -= n;
  }
  return 0;
}

static const char *real_env(void *user, const char *name) {
  (void)user;
  return getenv(name);
}

static int real_open(void *user, const char *path, int flags, mode_t mode) {
  (void)user;
  return open(path, flags, mode);
}

static ssize_t real_write(void *user, int fd, const void *data, size_t len) {
  (void)user;
  return write(fd, data, len);
}

static ssize_t real_pwrite(void *user, int fd, const void *data, size_t len,
                           off_t offset) {
  (void)user;
  return pwrite(fd, data, len, offset);
}

static ssize_t real_read(void *user, int fd, void *data, size_t len) {
  (void)user;
  return read(fd, data, len);
}

static int real_fsync(void *user, int fd) {
  (void)user;
#ifdef F_FULLFSYNC /* macOS: fsync alone stops at the drive's cache */
  if (fcntl(fd, F_FULLFSYNC) == 0) return 0;
#endif
  return fsync(fd);
}

static int real_datasync(void *user, int fd) {
#ifdef F_FULLFSYNC
  return real_fsync(user, fd);
#else
  (void)user;
  return fdatasync(fd);
#endif
}

static int real_close(void *user, int fd) {
  (void)user;
  return close(fd);
}

static int real_rename(void *user, const char *from, const char *to) {
  (void)user;
  return rename(from, to);
}

static int real_unlink(void *user, const char *path) {
  (void)user;
  return unlink(path);
}

const tinker__world_t *tinker__world_real(void) {
  static const tinker__world_t real = {
      .now_ms = real_now,
      .wall_ms = real_wall,
      .boot_ms = real_boot_ms,
      .boot_id = real_boot_id,
      .random = real_random,
      .env = real_env,
      .open = real_open,
      .write = real_write,
      .pwrite = real_pwrite,
      .read = real_read,
      .fsync = real_fsync,
      .datasync = real_datasync,
      .close = real_close,
      .rename = real_rename,
      .unlink = real_unlink,
  };
  return &real;
}
