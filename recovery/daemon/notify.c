/* notify: what the service manager is told, by its protocol: a datagram to the
 * socket that it names in the environment. Without one nothing is sent. */
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "daemon.h"

void tinker__rec_notify(tinker__rec_daemon_t *d, const char *text) {
  struct sockaddr_un a = {.sun_family = AF_UNIX};
  const char *path = d->world->env(d->world->user, "NOTIFY_SOCKET");
  size_t len = path ? strlen(path) : 0;
  if (len < 2 || len >= sizeof a.sun_path) return;
  memcpy(a.sun_path, path, len);
  if (*path == '@') a.sun_path[0] = '\0'; /* a name that is no file's */
  int fd = socket(AF_UNIX, SOCK_DGRAM, 0);
  if (fd < 0) return;
  ssize_t n = sendto(fd, text, strlen(text), 0, (const struct sockaddr *)&a,
                     (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len));
  (void)n;
  close(fd);
}

/* It wants a sign of life each so many microseconds, if it is of us that it
 * wants it. */
int64_t tinker__rec_watchdog_ms(tinker__rec_daemon_t *d) {
  const tinker__world_t *w = d->world;
  const char *text = w->env(w->user, "WATCHDOG_USEC");
  const char *whose = w->env(w->user, "WATCHDOG_PID");
  int64_t us = 0, pid = getpid();
  if (whose) tinker__parse_i64(tinker__str(whose), &pid);
  if (text) tinker__parse_i64(tinker__str(text), &us);
  if (us <= 0 || pid != getpid()) return 0;
  return us / 1000 / 2 > 0 ? us / 1000 / 2 : 1;
}
