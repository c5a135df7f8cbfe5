/* run_trainer: a trainer for tests of the daemon: the loop of examples/
 * 09_recover.c, and what shall go wrong in it.
 *
 *   run_trainer FOLDER NAME STEPS [WORD=VALUE...]
 *
 *   pause=MS       after each step
 *   wait=STEP      waits before it until there is a file FOLDER.go
 *   workers=N      forks so many processes that outlive it, up to two minutes;
 *                  their pids go to FOLDER.workers
 *   stop=STEP      stops itself (SIGSTOP) before it, the first time
 *   kill=STEP      kills itself before it, the first time
 *   exit=STEP:CODE exits before it, each time
 *   early=CODE     exits at once
 *   env=FILE       writes the names of its environment
 *   fds=FILE       writes its open descriptors before it opens anything */
#include <signal.h>
#include <stdint.h>
#include <sys/stat.h>
#include <time.h>
#include <tinker/recovery.h>

#include "../../examples/progress.h"

typedef struct {
  const char *folder, *name;
  long steps, pause_ms, wait_at, workers, stop_at, kill_at, exit_at, code,
      early;
  const char *env, *fds;
} plan_t;

extern char **environ;

static FILE *make(const char *path) {
  FILE *f = fopen(path, "w");
  if (!f) progress_stop(path);
  return f;
}

static void write_env(const char *path) {
  FILE *f = make(path);
  for (char **e = environ; *e; e++) {
    fprintf(f, "%.*s\n", (int)strcspn(*e, "="), *e);
  }
  fclose(f);
}

static void write_fds(const char *path) {
  struct stat st;
  int open[64], n = 0;
  for (int fd = 0; fd < 64; fd++) {
    if (fstat(fd, &st) == 0) open[n++] = fd;
  }
  FILE *f = make(path);
  for (int i = 0; i < n; i++) fprintf(f, "%d\n", open[i]);
  fclose(f);
}

static void make_workers(const plan_t *p) {
  char path[4096];
  snprintf(path, sizeof path, "%s.workers", p->folder);
  FILE *f = fopen(path, "a");
  if (!f) progress_stop(path);
  for (long i = 0; i < p->workers; i++) {
    pid_t pid = fork();
    if (pid == 0) {
      alarm(120);
      for (;;) pause();
    }
    fprintf(f, "%ld\n", (long)pid);
  }
  fclose(f);
}

static void raise_once(const plan_t *p, int signo) {
  char path[4096];
  snprintf(path, sizeof path, "%s.signal%d", p->folder, signo);
  if (access(path, F_OK) == 0) return;
  fclose(make(path));
  raise(signo);
}

static void wait_for_go(const plan_t *p) {
  const struct timespec wait = {.tv_nsec = 5000000};
  char path[4096];
  snprintf(path, sizeof path, "%s.go", p->folder);
  while (access(path, F_OK) != 0) nanosleep(&wait, NULL);
}

static void on_event(void *user, const char *line, size_t len) {
  (void)user;
  fprintf(stderr, "%.*s\n", (int)len, line);
}

static tinker_run_t *open_run(const plan_t *p) {
  tinker_run_t *run = NULL;
  tinker_error_t *error = NULL;
  tinker_run_plan_t plan = TINKER_RUN_PLAN_INIT;
  tinker_run_options_t options = TINKER_RUN_OPTIONS_INIT;
  plan.base_model = example_model();
  plan.rank = 4;
  plan.seed = 1;
  plan.steps = p->steps;
  options.state_dir = p->folder;
  options.name = p->name;
  options.plan = &plan;
  options.checkpoint_every = 4;
  options.event_cb = on_event;
  check_made(tinker_run_open(&run, &options, &error), &error);
  return run;
}

static void train(tinker_run_t *run, const plan_t *p,
                  const tinker_run_step_t *step) {
  int number = (int)step->step, next = number + 1;
  if (number == p->wait_at) wait_for_go(p);
  tinker_datum_t *datum = numbered_example(number);
  tinker_future_t *forward =
      step->forward_count
          ? tinker_future_retain(step->forward[0])
          : tinker_run_forward_backward(run, &datum, 1, NULL, NULL);
  tinker_future_t *optim = step->optim ? tinker_future_retain(step->optim)
                                       : tinker_run_optim_step(run, NULL, NULL);
  if (number == p->stop_at) raise_once(p, SIGSTOP);
  if (number == p->kill_at) raise_once(p, SIGKILL);
  if (number == p->exit_at) _exit((int)p->code);
  tinker_future_t *commit = tinker_run_commit(run, &next, sizeof next, NULL);
  if (tinker_future_wait(commit, -1) == 0) {
    printf("step %d: loss %a\n", number, loss_of(forward));
  }
  struct timespec wait = {p->pause_ms / 1000, p->pause_ms % 1000 * 1000000};
  nanosleep(&wait, NULL);
  tinker_datum_release(datum);
  tinker_future_release(forward);
  tinker_future_release(optim);
  tinker_future_release(commit);
}

static const char *value_of(const char *word, const char *name) {
  size_t n = strlen(name);
  return strncmp(word, name, n) == 0 && word[n] == '=' ? word + n + 1 : NULL;
}

static void read_word(plan_t *p, const char *word) {
  const char *v;
  if ((v = value_of(word, "pause"))) p->pause_ms = strtol(v, NULL, 10);
  if ((v = value_of(word, "wait"))) p->wait_at = strtol(v, NULL, 10);
  if ((v = value_of(word, "workers"))) p->workers = strtol(v, NULL, 10);
  if ((v = value_of(word, "stop"))) p->stop_at = strtol(v, NULL, 10);
  if ((v = value_of(word, "kill"))) p->kill_at = strtol(v, NULL, 10);
  if ((v = value_of(word, "early"))) p->early = strtol(v, NULL, 10);
  if ((v = value_of(word, "env"))) p->env = v;
  if ((v = value_of(word, "fds"))) p->fds = v;
  if ((v = value_of(word, "exit"))) {
    p->exit_at = strtol(v, NULL, 10);
    p->code = strtol(strchr(v, ':') + 1, NULL, 10);
  }
}

int main(int argc, char **argv) {
  plan_t p = {.early = -1};
  if (argc < 4) return 2;
  p.folder = argv[1];
  p.name = argv[2];
  p.steps = strtol(argv[3], NULL, 10);
  for (int i = 4; i < argc; i++) read_word(&p, argv[i]);
  if (p.env) write_env(p.env);
  if (p.fds) write_fds(p.fds);
  if (p.early >= 0) return (int)p.early;
  setvbuf(stdout, NULL, _IOLBF, 0);
  tinker_run_t *run = open_run(&p);
  make_workers(&p);
  for (int done = 0; !done;) {
    const tinker_run_step_t *step;
    tinker_future_t *next = await(tinker_run_next(run, NULL));
    check(tinker_future_get_run_step(next, &step));
    done = step->done;
    if (!done) train(run, &p, step);
    tinker_future_release(next);
  }
  tinker_run_release(run);
  return 0;
}
