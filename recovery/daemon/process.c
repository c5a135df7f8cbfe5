/* process: see process.h. What Linux and macOS have each of their own stands in
 * one block for each. */
#ifdef __linux__
#define _GNU_SOURCE
#endif
#include "process.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <tinker/error.h>
#include <unistd.h>
#ifdef __linux__
#include <dirent.h>
#include <sys/syscall.h>
#else
#include <sys/event.h>
#include <sys/sysctl.h>
#endif

#define GATE 3 /* the child's descriptor of the gate */

/* --- The system's own ----------------------------------------------------- */

#ifdef __linux__

static int open_end(pid_t pid) {
  return (int)syscall(SYS_pidfd_open, pid, 0);
}

static void send(const tinker__rec_process_t *p, int signo) {
  syscall(SYS_pidfd_send_signal, p->fd, signo, NULL, 0);
}

static void close_from(int first) {
  if (syscall(SYS_close_range, first, ~0U, 0) == 0) return;
  for (int fd = first; fd < sysconf(_SC_OPEN_MAX); fd++) close(fd);
}

static bool read_proc(pid_t pid, const char *name, char *out, size_t len) {
  char path[64];
  snprintf(path, sizeof path, "/proc/%ld/%s", (long)pid, name);
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return false;
  ssize_t n = read(fd, out, len - 1);
  close(fd);
  out[n > 0 ? n : 0] = '\0';
  return n > 0;
}

/* The 22nd field; the second one, a name in brackets, may have spaces. */
static bool start_time(pid_t pid, int64_t *out) {
  char text[1024], *at;
  if (!read_proc(pid, "stat", text, sizeof text)) return false;
  at = strrchr(text, ')');
  for (int i = 2; at && i < 22; i++) at = strchr(at + 1, ' ');
  tinker__str_t field = at ? tinker__str(at + 1) : tinker__str("");
  field.len = strcspn(field.ptr, " ");
  return tinker__parse_i64(field, out) == 0;
}

static void dump_thread(pid_t pid, const char *thread, tinker__buf_t *out) {
  char name[300], comm[64], wchan[64], stat[512];
  snprintf(name, sizeof name, "task/%s/comm", thread);
  if (!read_proc(pid, name, comm, sizeof comm)) return;
  comm[strcspn(comm, "\n")] = '\0';
  snprintf(name, sizeof name, "task/%s/wchan", thread);
  if (!read_proc(pid, name, wchan, sizeof wchan)) wchan[0] = '\0';
  snprintf(name, sizeof name, "task/%s/stat", thread);
  if (!read_proc(pid, name, stat, sizeof stat)) stat[0] = '\0';
  const char *state = strrchr(stat, ')');
  tinker__buf_addf(out, "%s%s %s %c %s", out->len ? ", " : "", thread, comm,
                   state && state[1] ? state[2] : '?', wchan);
}

void tinker__rec_process_dump(const tinker__rec_process_t *p,
                              tinker__buf_t *out) {
  char path[64];
  snprintf(path, sizeof path, "/proc/%ld/task", (long)p->pid);
  DIR *dir = opendir(path);
  for (struct dirent *e = dir ? readdir(dir) : NULL; e; e = readdir(dir)) {
    if (e->d_name[0] != '.') dump_thread(p->pid, e->d_name, out);
  }
  if (dir) closedir(dir);
}

#else

/* A queue with one event: readable like a pidfd. */
static int open_end(pid_t pid) {
  struct kevent event;
  int fd = kqueue();
  if (fd < 0) return -1;
  fcntl(fd, F_SETFD, FD_CLOEXEC);
  EV_SET(&event, (uintptr_t)pid, EVFILT_PROC, EV_ADD | EV_CLEAR, NOTE_EXIT, 0,
         NULL);
  if (kevent(fd, &event, 1, NULL, 0, NULL) == 0) return fd;
  close(fd);
  return -1;
}

static bool start_time(pid_t pid, int64_t *out) {
  struct kinfo_proc info;
  size_t len = sizeof info;
  int name[] = {CTL_KERN, KERN_PROC, KERN_PROC_PID, pid};
  if (sysctl(name, 4, &info, &len, NULL, 0) != 0 || len == 0) return false;
  *out = (int64_t)info.kp_proc.p_starttime.tv_sec * 1000000 +
         info.kp_proc.p_starttime.tv_usec;
  return true;
}

/* The number may have been given to another one since: a child's is not before
 * it is reaped, and that of another is compared right before. */
static void send(const tinker__rec_process_t *p, int signo) {
  int64_t started;
  if (start_time(p->pid, &started) && started == p->started) {
    kill(p->pid, signo);
  }
}

static void close_from(int first) {
  for (int fd = first; fd < sysconf(_SC_OPEN_MAX); fd++) close(fd);
}

void tinker__rec_process_dump(const tinker__rec_process_t *p,
                              tinker__buf_t *out) {
  (void)p;
  (void)out;
}

#endif

/* --- Start ---------------------------------------------------------------- */

static void default_signals(void) {
  sigset_t none;
  struct sigaction act = {.sa_handler = SIG_DFL};
  for (int s = 1; s < NSIG; s++) sigaction(s, &act, NULL);
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, NULL);
}

static _Noreturn void be_child(int gate, const tinker__rec_program_t *x) {
  static const char sentence[] = "the trainer's program can't be started\n";
  char byte;
  ssize_t n;
  if (gate != GATE) dup2(gate, GATE);
  close_from(GATE + 1);
  do {
    n = read(GATE, &byte, 1);
  } while (n < 0 && errno == EINTR);
  if (n != 1) _exit(0);
  close(GATE);
  int null = open("/dev/null", O_RDONLY);
  if (null > 0) dup2(null, 0);
  if (null > 0) close(null);
  setsid();
  umask(x->mask);
  default_signals();
  extern char **environ;
  environ = (char **)(uintptr_t)x->env;
  execvp(x->argv[0], x->argv);
  n = write(2, sentence, sizeof sentence - 1);
  _exit(127);
}

static int failed(char *why, size_t why_len, const char *what) {
  return tinker__why(why, why_len, TINKER_EIO, "%s: %s", what, strerror(errno));
}

static int make(tinker__rec_process_t *p, int gate[2],
                const tinker__rec_program_t *program, char *why,
                size_t why_len) {
  p->pid = fork();
  if (p->pid < 0) return failed(why, why_len, "fork");
  if (p->pid == 0) be_child(gate[0], program);
  p->child = true;
  p->fd = open_end(p->pid);
  if (p->fd >= 0 && start_time(p->pid, &p->started)) return 0;
  int rc = failed(why, why_len, "the new process can't be watched");
  kill(p->pid, SIGKILL);
  waitpid(p->pid, NULL, 0);
  if (p->fd >= 0) close(p->fd);
  p->fd = -1;
  return rc;
}

int tinker__rec_process_make(tinker__rec_process_t *p,
                             const tinker__rec_program_t *program, char *why,
                             size_t why_len) {
  const tinker__rec_process_t none = TINKER__REC_PROCESS_NONE;
  int gate[2];
  *p = none;
  if (pipe(gate) != 0) return failed(why, why_len, "pipe");
  fcntl(gate[0], F_SETFD, FD_CLOEXEC);
  fcntl(gate[1], F_SETFD, FD_CLOEXEC);
  int rc = make(p, gate, program, why, why_len);
  close(gate[0]);
  if (rc != 0) close(gate[1]);
  if (rc == 0) p->gate = gate[1];
  return rc;
}

void tinker__rec_process_go(tinker__rec_process_t *p) {
  ssize_t n = write(p->gate, "", 1);
  (void)n; /* it has been killed: its end says so */
  close(p->gate);
  p->gate = -1;
}

/* --- Later ---------------------------------------------------------------- */

static bool at_end(const tinker__rec_process_t *p) {
  struct pollfd f = {.fd = p->fd, .events = POLLIN};
  return poll(&f, 1, 0) > 0;
}

/* The descriptor comes first: what it stands for is looked at afterwards. */
int tinker__rec_process_find(tinker__rec_process_t *p, pid_t pid,
                             int64_t started, char *why, size_t why_len) {
  const tinker__rec_process_t none = TINKER__REC_PROCESS_NONE;
  int64_t now;
  *p = none;
  p->pid = pid;
  p->started = started;
  p->fd = open_end(pid);
  if (p->fd < 0 && errno != ESRCH) return failed(why, why_len, "pidfd_open");
  if (p->fd >= 0 && start_time(pid, &now) && now == started && !at_end(p)) {
    return 0;
  }
  tinker__rec_process_leave(p);
  return tinker__why(why, why_len, TINKER_ENOENT, "it has ended");
}

bool tinker__rec_process_ended(tinker__rec_process_t *p,
                               tinker__rec_end_t *end) {
  siginfo_t info;
  memset(end, 0, sizeof *end);
  memset(&info, 0, sizeof info);
  if (p->child) {
    if (waitid(P_PID, (id_t)p->pid, &info, WEXITED | WNOHANG) != 0 ||
        info.si_pid != p->pid) {
      return false;
    }
    end->known = true;
    end->signal = info.si_code == CLD_EXITED ? 0 : info.si_status;
    end->code = info.si_code == CLD_EXITED ? info.si_status : 0;
  } else if (!at_end(p)) {
    return false;
  }
  tinker__rec_process_leave(p);
  return true;
}

void tinker__rec_process_signal(const tinker__rec_process_t *p, int signo) {
  if (p->fd >= 0) send(p, signo);
}

void tinker__rec_process_leave(tinker__rec_process_t *p) {
  const tinker__rec_process_t none = TINKER__REC_PROCESS_NONE;
  if (p->fd >= 0) close(p->fd);
  if (p->gate >= 0) close(p->gate);
  *p = none;
}
