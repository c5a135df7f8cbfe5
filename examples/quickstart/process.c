/* process: child processes with their standard output as lines. Parent only,
 * one thread. Every child started here is waited for here. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "quick.h"

/* Children that run, for a parent that a signal ends. */
static volatile pid_t running[4];

static void replace(pid_t what, pid_t with) {
  for (size_t i = 0; i < sizeof running / sizeof *running; i++) {
    if (running[i] == what) {
      running[i] = with;
      return;
    }
  }
}

void quick_kill_children(void) {
  for (size_t i = 0; i < sizeof running / sizeof *running; i++) {
    if (running[i] > 0) kill(running[i], SIGTERM);
  }
}

static void child(const char *const *argv, int out, const char *log_path) {
  dup2(out, STDOUT_FILENO);
  if (log_path != NULL) {
    int log = open(log_path, O_WRONLY | O_CREAT | O_APPEND, 0600);
    if (log >= 0) dup2(log, STDERR_FILENO);
  }
  execv(argv[0], (char *const *)argv);
  fprintf(stderr, "quickstart: %s: %s\n", argv[0], strerror(errno));
  _exit(QUICK_TROUBLE);
}

/* A child that shares the parent's output. */
void quick_spawn_shared(quick_process_t *process, const char *const *argv) {
  fflush(NULL);
  process->lines = NULL;
  process->pid = fork();
  if (process->pid < 0) quick_die("fork: %s", strerror(errno));
  if (process->pid == 0) child(argv, STDOUT_FILENO, NULL);
  replace(0, process->pid);
}

void quick_spawn(quick_process_t *process, const char *const *argv,
                 const char *log_path) {
  int ends[2];
  fflush(NULL);
  if (pipe(ends) != 0) quick_die("pipe: %s", strerror(errno));
  fcntl(ends[0], F_SETFD, FD_CLOEXEC);
  fcntl(ends[1], F_SETFD, FD_CLOEXEC);
  process->pid = fork();
  if (process->pid < 0) quick_die("fork: %s", strerror(errno));
  if (process->pid == 0) child(argv, ends[1], log_path);
  replace(0, process->pid);
  close(ends[1]);
  process->lines = fdopen(ends[0], "r");
  if (process->lines == NULL) quick_die("fdopen: %s", strerror(errno));
}

/* The next line without its newline; false when the child has closed its
 * output. */
bool quick_line(quick_process_t *process, char *line, size_t size) {
  if (fgets(line, (int)size, process->lines) == NULL) return false;
  line[strcspn(line, "\n")] = '\0';
  return true;
}

int quick_wait(quick_process_t *process) {
  int status = 0;
  if (process->lines != NULL) fclose(process->lines);
  while (waitpid(process->pid, &status, 0) < 0) {
    if (errno != EINTR) quick_die("waitpid: %s", strerror(errno));
  }
  replace(process->pid, 0);
  return WIFSIGNALED(status) ? -WTERMSIG(status) : WEXITSTATUS(status);
}
