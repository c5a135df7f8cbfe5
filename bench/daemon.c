/* daemon: see daemon.h. */
#define _GNU_SOURCE /* nftw */
#include "daemon.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>
#ifdef __linux__
#include <sys/prctl.h>
#endif

#define REPLY_MAX 65536

void give_up(const char *format, ...) {
  va_list args;
  va_start(args, format);
  fputs("bench_service: ", stderr);
  vfprintf(stderr, format, args);
  fputc('\n', stderr);
  va_end(args);
  exit(1);
}

void daemon_init(daemon_t *d, const char *program, const char *model,
                 unsigned threads) {
  *d = (daemon_t){
      .program = program,
      .model = model,
      .threads = threads,
      .dir = "/tmp/tkbXXXXXX",
  };
  if (!mkdtemp(d->dir)) give_up("no temporary folder: %s", strerror(errno));
  snprintf(d->socket, sizeof d->socket, "%s/s", d->dir);
  snprintf(d->url, sizeof d->url, "unix:%s", d->socket);
}

/* Turns the child into the service. The log goes to a file, the ready line to
 * the pipe. */
static void become(const daemon_t *d, int out, pid_t bench) {
  char model[4096], state[96], log[96], threads[16];
  snprintf(model, sizeof model, "m=%s", d->model);
  snprintf(state, sizeof state, "%s/state", d->dir);
  snprintf(log, sizeof log, "%s/log", d->dir);
  snprintf(threads, sizeof threads, "%u", d->threads);
  int err = open(log, O_WRONLY | O_CREAT | O_APPEND, 0600);
#ifdef __linux__
  prctl(PR_SET_PDEATHSIG, SIGKILL);
#endif
  if (getppid() == bench && err >= 0 && dup2(out, 1) >= 0 &&
      dup2(err, 2) >= 0) {
    execl(d->program, d->program, "--model", model, "--state", state,
          "--socket", d->socket, d->threads ? "--threads" : (char *)NULL,
          threads, (char *)NULL);
  }
  _exit(127);
}

void daemon_start(daemon_t *d) {
  int ends[2];
  char line[512];
  pid_t bench = getpid();
  if (pipe(ends) != 0) give_up("no pipe: %s", strerror(errno));
  fcntl(ends[0], F_SETFD, FD_CLOEXEC);
  fcntl(ends[1], F_SETFD, FD_CLOEXEC);
  d->pid = fork();
  if (d->pid < 0) give_up("no process: %s", strerror(errno));
  if (d->pid == 0) become(d, ends[1], bench);
  close(ends[1]);
  FILE *f = fdopen(ends[0], "r");
  if (!f || !fgets(line, sizeof line, f)) {
    give_up("%s did not start: see %s/log", d->program, d->dir);
  }
  fclose(f);
}

void daemon_stop(daemon_t *d, int signal) {
  int status = 0;
  kill(d->pid, signal);
  if (waitpid(d->pid, &status, 0) != d->pid) give_up("no process to wait for");
  bool well = signal == SIGTERM ? WIFEXITED(status) && !WEXITSTATUS(status)
                                : WIFSIGNALED(status);
  if (!well) give_up("%s ended badly: see %s/log", d->program, d->dir);
  d->pid = 0;
}

/* Gets the operator's dump of the service's state. */
static void dump(const daemon_t *d, char *text, size_t len) {
  static const char ask[] = "GET /_operator/dump HTTP/1.0\r\nHost: x\r\n\r\n";
  struct sockaddr_un to = {.sun_family = AF_UNIX};
  size_t at = 0;
  ssize_t n;
  snprintf(to.sun_path, sizeof to.sun_path, "%s", d->socket);
  int fd = socket(AF_UNIX, SOCK_STREAM, 0);
  if (fd < 0 || connect(fd, (struct sockaddr *)&to, sizeof to) != 0 ||
      write(fd, ask, sizeof ask - 1) != (ssize_t)sizeof ask - 1) {
    give_up("%s: %s", d->socket, strerror(errno));
  }
  while ((n = read(fd, text + at, len - 1 - at)) > 0) at += (size_t)n;
  text[at] = '\0';
  close(fd);
}

double daemon_rounds(const daemon_t *d) {
  static const char name[] = "\"rounds\":";
  static char text[REPLY_MAX];
  dump(d, text, sizeof text);
  const char *at = strstr(text, name);
  if (!at) give_up("the dump does not count rounds");
  return strtod(at + sizeof name - 1, NULL);
}

static int remove_one(const char *path, const struct stat *st, int type,
                      struct FTW *at) {
  (void)st;
  (void)type;
  (void)at;
  return remove(path);
}

void daemon_remove(daemon_t *d) {
  nftw(d->dir, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}
