/* world: the table of outside functions. Everything that reads a clock, draws
 * a random number or touches a file goes through it, so that tests own time,
 * chance and disk errors. tinker__world_real() is the real one. */
#ifndef TINKER_BASE_WORLD_H
#define TINKER_BASE_WORLD_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define TINKER__BOOT_ID_LEN 37 /* with its NUL; "unknown" if there is none */

typedef struct tinker__world_s {
  void *user;
  /* Monotonic milliseconds, for deadlines. */
  int64_t (*now_ms)(void *user);
  /* Wall clock, milliseconds since 1970 UTC: display and expiry only. */
  int64_t (*wall_ms)(void *user);
  /* Milliseconds since the machine was started, with the time that it slept:
   * for what must hold across processes, with the id of that start. */
  int64_t (*boot_ms)(void *user);
  void (*boot_id)(void *user, char out[TINKER__BOOT_ID_LEN]);
  /* Fills with cryptographic random bytes; 0 or TINKER_ERANDOM. */
  int (*random)(void *user, void *out, size_t len);
  /* Value of an environment variable, NULL when unset; valid until the
   * environment changes. */
  const char *(*env)(void *user, const char *name);
  /* Files, the POSIX calls: -1 and errno on failure. */
  int (*open)(void *user, const char *path, int flags, mode_t mode);
  ssize_t (*write)(void *user, int fd, const void *data, size_t len);
  ssize_t (*pwrite)(void *user, int fd, const void *data, size_t len,
                    off_t offset);
  ssize_t (*read)(void *user, int fd, void *data, size_t len);
  int (*fsync)(void *user, int fd);
  int (*datasync)(void *user, int fd); /* for a file whose length stays */
  int (*close)(void *user, int fd);
  int (*rename)(void *user, const char *from, const char *to);
  int (*unlink)(void *user, const char *path);
} tinker__world_t;

const tinker__world_t *tinker__world_real(void);

#endif
