/* recover: what a run costs a training loop: the time of a step with a run
 * around it against one of the same loop without, alternating blocks on one
 * service, and what its journal takes; then the time from opening a run that
 * another process has left to its next step (R3).
 *
 *   bench_recover LOCALD MODEL [STEPS [BLOCKS [SYNC_US [EXAMPLES]]]]
 *
 * EXAMPLES of a step (8): with one the service is done with it before the disk
 * is. The bodies of 16 KiB and more are in a file of their own.
 * It counts the syncs of this process, where its journal is, and says how long
 * one takes on this disk. SYNC_US: each one takes so many microseconds instead,
 * and nothing goes to the disk: as on a machine whose disk is as fast as that.
 * One JSON object per line. */
#ifdef __linux__
#define _GNU_SOURCE /* syscall */
#endif
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <tinker/recovery.h>

#include <unistd.h>
#ifdef __linux__
#include <sys/syscall.h>
#endif

#include "daemon.h"

enum { MOST = 20000, TOKENS = 24, MOST_DATA = 64 };

typedef struct {
  double ms[MOST];
  size_t n;
} times_t;

static times_t plain, run_steps, attach, disk;

static void must(int rc, const char *what) {
  if (rc == 0) return;
  fprintf(stderr, "%s: %s\n", what, tinker_code_text(rc));
  exit(1);
}

static double now_ms(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

static void add(times_t *t, double ms) {
  if (t->n < MOST) t->ms[t->n++] = ms;
}

static int by_value(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

static double at(times_t *t, double share) {
  if (t->n == 0) return 0;
  qsort(t->ms, t->n, sizeof *t->ms, by_value);
  return t->ms[(size_t)(share * (double)(t->n - 1))];
}

static size_t examples = 8;

static void make(tinker_datum_t **data, int64_t step) {
  int32_t tokens[TOKENS];
  for (size_t k = 0; k < examples; k++) {
    for (int i = 0; i < TOKENS; i++) {
      tokens[i] = (int32_t)((i * 7 + step + (int64_t)k) % 60);
    }
    must(
        tinker_datum_new_supervised(&data[k], tokens, NULL, TOKENS, NULL, NULL),
        "datum");
  }
}

static void drop(tinker_datum_t **data) {
  for (size_t k = 0; k < examples; k++) tinker_datum_release(data[k]);
}

static void finish(tinker_future_t *f, const char *what) {
  must(tinker_future_wait(f, -1), what);
  tinker_future_release(f);
}

/* --- Syncs ---------------------------------------------------------------- */

static atomic_int syncs;
static long sync_us;

#ifdef __linux__
/* These stand before those of libc, also for SQLite. */
static int take(long number, int fd) {
  struct timespec t = {0, sync_us * 1000};
  atomic_fetch_add(&syncs, 1);
  return sync_us ? nanosleep(&t, NULL) : (int)syscall(number, fd);
}

__attribute__((visibility("default"))) int fsync(int fd) {
  return take(SYS_fsync, fd);
}

__attribute__((visibility("default"))) int fdatasync(int fd) {
  return take(SYS_fdatasync, fd);
}
#endif

/* What this machine needs for 4 KiB that overwrite what is there. */
static void measure_disk(const char *dir, times_t *t) {
  static char block[4096];
  char path[96];
  snprintf(path, sizeof path, "%s/sync", dir);
  int fd = open(path, O_RDWR | O_CREAT, 0600);
  for (int i = 0; i < 500 && fd >= 0; i++) {
    double begin = now_ms();
    if (pwrite(fd, block, sizeof block, 0) < 0 || fdatasync(fd) != 0) break;
    if (i > 0) add(t, now_ms() - begin);
  }
  close(fd);
  unlink(path);
}

/* --- Without a run -------------------------------------------------------- */

static void plain_steps(tinker_trainer_t *trainer, int64_t from, int n) {
  for (int64_t i = from; i < from + n; i++) {
    tinker_datum_t *data[MOST_DATA];
    make(data, i);
    double begin = now_ms();
    tinker_future_t *fb =
        tinker_trainer_forward_backward(trainer, data, examples, NULL, NULL);
    tinker_future_t *optim = tinker_trainer_optim_step(trainer, NULL, NULL);
    finish(fb, "forward_backward");
    finish(optim, "optim_step");
    add(&plain, now_ms() - begin);
    drop(data);
  }
}

static tinker_trainer_t *plain_trainer(tinker_client_t *client) {
  tinker_trainer_options_t o = TINKER_TRAINER_OPTIONS_INIT;
  tinker_trainer_t *trainer = NULL;
  o.base_model = "m";
  o.rank = 4;
  tinker_future_t *made = tinker_client_create_trainer(client, &o, NULL);
  must(tinker_future_wait(made, -1), "create_trainer");
  must(tinker_future_get_trainer(made, &trainer), "trainer");
  tinker_future_release(made);
  return trainer;
}

/* --- With a run ----------------------------------------------------------- */

static tinker_run_t *open_run(const char *folder, const char *url) {
  tinker_run_plan_t plan = TINKER_RUN_PLAN_INIT;
  tinker_run_options_t o = TINKER_RUN_OPTIONS_INIT;
  tinker_client_options_t client = TINKER_CLIENT_OPTIONS_INIT;
  tinker_run_t *run = NULL;
  client.base_url = url;
  plan.base_model = "m";
  plan.rank = 4;
  o.state_dir = folder;
  o.name = "bench";
  o.plan = &plan;
  o.client = &client;
  o.checkpoint_every = 0;
  must(tinker_run_open(&run, &o, NULL), "run_open");
  return run;
}

static int64_t next(tinker_run_t *run) {
  const tinker_run_step_t *step = NULL;
  tinker_future_t *f = tinker_run_next(run, NULL);
  must(tinker_future_wait(f, -1), "run_next");
  must(tinker_future_get_run_step(f, &step), "step");
  int64_t number = step->step;
  tinker_future_release(f);
  return number;
}

static void with_run(tinker_run_t *run, int n) {
  for (int i = 0; i < n; i++) {
    double begin = now_ms();
    int64_t number = next(run);
    double asked = now_ms() - begin;
    tinker_datum_t *data[MOST_DATA];
    make(data, number);
    begin = now_ms();
    tinker_future_t *fb =
        tinker_run_forward_backward(run, data, examples, NULL, NULL);
    tinker_future_t *optim = tinker_run_optim_step(run, NULL, NULL);
    tinker_future_t *commit =
        tinker_run_commit(run, &number, sizeof number, NULL);
    finish(fb, "forward_backward");
    finish(optim, "optim_step");
    finish(commit, "commit");
    add(&run_steps, asked + now_ms() - begin);
    drop(data);
  }
}

static void reopen(const char *folder, const char *url, int n) {
  for (int i = 0; i < n; i++) {
    double begin = now_ms();
    tinker_run_t *run = open_run(folder, url);
    next(run);
    add(&attach, now_ms() - begin);
    tinker_run_release(run);
  }
}

static void print(const char *name, times_t *t) {
  printf("{\"bench\": \"recover\", \"what\": \"%s\", \"n\": %zu, "
         "\"p50_ms\": %.3f, \"p99_ms\": %.3f}\n",
         name, t->n, at(t, 0.5), at(t, 0.99));
}

static long argument(int argc, char **argv, int i, long usual) {
  return argc > i ? strtol(argv[i], NULL, 10) : usual;
}

static void print_all(int made, size_t steps) {
  print("sync of this disk", &disk);
  print("step without a run", &plain);
  print("step with a run", &run_steps);
  print("open, re-attach, next step", &attach);
  printf("{\"bench\": \"recover\", \"what\": \"added by a run\", "
         "\"p50_ms\": %.3f, \"p90_ms\": %.3f, \"p99_ms\": %.3f, "
         "\"ratio_p50\": %.3f, \"syncs_per_step\": %.2f}\n",
         at(&run_steps, 0.5) - at(&plain, 0.5),
         at(&run_steps, 0.9) - at(&plain, 0.9),
         at(&run_steps, 0.99) - at(&plain, 0.99),
         at(&run_steps, 0.5) / at(&plain, 0.5), (double)made / (double)steps);
}

int main(int argc, char **argv) {
  if (argc < 3) return fprintf(stderr, "see the head of this file\n"), 2;
  int steps = (int)argument(argc, argv, 3, 100);
  int blocks = (int)argument(argc, argv, 4, 10);
  examples = (size_t)argument(argc, argv, 6, 8);
  if (examples < 1 || examples > MOST_DATA) return 2;
  daemon_t service;
  char folder[96];
  daemon_init(&service, argv[1], argv[2], 0);
  measure_disk(service.dir, &disk);
  sync_us = argument(argc, argv, 5, 0);
  daemon_start(&service);
  snprintf(folder, sizeof folder, "%s/recovery", service.dir);
  tinker_client_options_t o = TINKER_CLIENT_OPTIONS_INIT;
  tinker_client_t *client = NULL;
  o.base_url = service.url;
  must(tinker_client_new(&client, &o, NULL), "client");
  tinker_trainer_t *trainer = plain_trainer(client);
  tinker_run_t *run = open_run(folder, service.url);
  next(run);
  int before = atomic_load(&syncs);
  for (int i = 0; i < blocks; i++) {
    plain_steps(trainer, (int64_t)i * steps, steps);
    with_run(run, steps);
  }
  int made = atomic_load(&syncs) - before;
  tinker_run_release(run);
  reopen(folder, service.url, steps < 100 ? 3 : 200);
  print_all(made, run_steps.n);
  tinker_trainer_release(trainer);
  tinker_client_release(client);
  must(tinker_shutdown(-1), "shutdown");
  daemon_stop(&service, SIGTERM);
  daemon_remove(&service);
  return 0;
}
