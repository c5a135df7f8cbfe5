/* crash: see crash.h. The handler calls only async-signal-safe functions; all
 * the memory that it needs is allocated before. */
#include "crash.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>
#ifdef __APPLE__
#include <mach-o/dyld.h>
#endif

#include "base/str.h"

#define VARIABLE "TINKER_LOCALD_CRASH" /* SIGNAL:CALL:COUNT:PORT */
#define MAX_CRASHES 5                  /* each within a minute of its start */
#define MINUTE 60

extern char **environ;

/* SIGABRT is not among them: code that aborts has decided to end the process.
 */
static const int signals[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL};

static struct {
  char program[4096];
  char **argv, **env;
  char note[120]; /* env's last entry */
  int count;
  time_t started;
  _Atomic int port;
  _Atomic(_Atomic int64_t *) doing; /* set by the service */
} at;

/* --- Before --------------------------------------------------------------- */

static bool find_program(void) {
#ifdef __APPLE__
  uint32_t len = sizeof at.program;
  return _NSGetExecutablePath(at.program, &len) == 0;
#else
  ssize_t n = readlink("/proc/self/exe", at.program, sizeof at.program - 1);
  return n > 0;
#endif
}

/* Copies a list of strings, without those that begin with `but`, and with room
 * for one more. */
static char **copy_list(char **list, size_t n, const char *but) {
  size_t kept = 0;
  char **out = calloc(n + 2, sizeof *out);
  for (size_t i = 0; out && i < n; i++) {
    if (but && !strncmp(list[i], but, strlen(but))) continue;
    if (!(out[kept++] = strdup(list[i]))) return NULL;
  }
  return out;
}

static time_t now_s(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec;
}

static void read_note(tinker__svc_crash_t *before) {
  const char *note = getenv(VARIABLE);
  long long call = 0;
  if (!note || sscanf(note, "%d:%lld:%d:%d", &before->signal, &call, &at.count,
                      &before->port) != 4) {
    *before = (tinker__svc_crash_t){.signal = 0};
    at.count = 0;
  }
  before->call = call;
}

bool tinker__svc_crash_begin(int argc, char **argv,
                             tinker__svc_crash_t *before) {
  size_t n = 0;
  memset(before, 0, sizeof *before);
  read_note(before);
  while (environ[n]) n++;
  at.argv = copy_list(argv, (size_t)argc, NULL);
  at.env = copy_list(environ, n, VARIABLE "=");
  if (!at.argv || !at.env) return false;
  n = 0;
  while (at.env[n]) n++;
  at.env[n] = at.note;
  at.started = now_s();
  at.port = before->port;
  if (!find_program()) at.program[0] = 0; /* a crash will kill the process */
  return true;
}

/* --- In the handler ------------------------------------------------------- */

static char *put_text(char *to, const char *text) {
  size_t n = strlen(text);
  memcpy(to, text, n);
  return to + n;
}

static char *put_number(char *to, int64_t v) {
  if (v < 0) *to++ = '-';
  return tinker__put_u64(to, (uint64_t)(v < 0 ? -v : v));
}

static void write_note(int signo, int64_t call) {
  char *to = put_text(at.note, VARIABLE "=");
  to = put_number(to, signo);
  *to++ = ':';
  to = put_number(to, call);
  *to++ = ':';
  to = put_number(to, at.count);
  *to++ = ':';
  to = put_number(to, at.port);
  *to = 0;
}

static void log_crash(int signo, int64_t call) {
  char line[160];
  char *to =
      put_text(line, "{\"level\":\"error\",\"event\":\"crash\",\"signal\":");
  to = put_number(to, signo);
  to = put_text(to, ",\"call\":");
  to = put_number(to, call);
  to = put_text(to, "}\n");
  /* A full pipe that nobody reads must not block the handler. */
  struct pollfd room = {.fd = 2, .events = POLLOUT};
  if (poll(&room, 1, 0) <= 0) return;
  ssize_t n = write(2, line, (size_t)(to - line));
  (void)n;
}

/* Has exec close the sockets and files of this image, so that clients see the
 * end of their connections. They are not closed here, because other threads
 * still use them. */
static void leave_files(void) {
  struct rlimit lim = {.rlim_cur = 65536};
  getrlimit(RLIMIT_NOFILE, &lim);
  for (int fd = 3; (rlim_t)fd < lim.rlim_cur; fd++) {
    fcntl(fd, F_SETFD, FD_CLOEXEC);
  }
}

static void die(int signo) {
  struct sigaction plain = {.sa_handler = SIG_DFL};
  sigaction(signo, &plain, NULL);
  raise(signo); /* delivered when the handler returns */
}

static void on_crash(int signo) {
  static atomic_flag entered = ATOMIC_FLAG_INIT;
  if (atomic_flag_test_and_set(&entered)) {
    for (;;) pause(); /* another thread has crashed first */
  }
  _Atomic int64_t *doing = atomic_load(&at.doing);
  int64_t call = doing ? atomic_load(doing) : 0;
  log_crash(signo, call);
  at.count = now_s() - at.started < MINUTE ? at.count + 1 : 1;
  if (!at.program[0] || at.count > MAX_CRASHES) {
    die(signo);
    return;
  }
  write_note(signo, call);
  leave_files();
  execve(at.program, at.argv, at.env);
  die(signo);
}

static void on_all(void (*handler)(int signo)) {
  struct sigaction act = {.sa_handler = handler};
  sigemptyset(&act.sa_mask);
  for (size_t i = 0; i < sizeof signals / sizeof *signals; i++) {
    sigaction(signals[i], &act, NULL);
  }
}

/* An image that is executed from a handler begins with that signal blocked, and
 * with the signals that the crashed thread, or the starting program, had
 * blocked. All signals of crashes are unblocked here, and so are SIGTERM and
 * SIGINT, which must always be able to end the service. */
void tinker__svc_crash_catch(void) {
  sigset_t set;
  on_all(on_crash);
  sigemptyset(&set);
  sigaddset(&set, SIGTERM);
  sigaddset(&set, SIGINT);
  for (size_t i = 0; i < sizeof signals / sizeof *signals; i++) {
    sigaddset(&set, signals[i]);
  }
  sigprocmask(SIG_UNBLOCK, &set, NULL);
}

_Atomic(_Atomic int64_t *) *tinker__svc_crash_doing(void) {
  return &at.doing;
}

void tinker__svc_crash_port(int port) {
  at.port = port;
}

void tinker__svc_crash_release(void) {
  on_all(SIG_DFL);
}
