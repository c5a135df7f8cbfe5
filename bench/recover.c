/* recover: what a run costs a training loop: the time of a step with a run
 * around it against one of the same loop without, alternating blocks on one
 * service, and what its journal takes; then the time from opening a run that
 * another process has left to its next step (R3).
 *
 *   bench_recover LOCALD MODEL [STEPS [BLOCKS]]
 *
 * One JSON object per line. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <tinker/recovery.h>

#include "daemon.h"

enum { MOST = 20000, TOKENS = 24 };

typedef struct {
  double ms[MOST];
  size_t n;
} times_t;

static times_t plain, run_steps, attach;

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

static tinker_datum_t *example(int64_t step) {
  int32_t tokens[TOKENS];
  tinker_datum_t *datum = NULL;
  for (int i = 0; i < TOKENS; i++) tokens[i] = (int32_t)((i * 7 + step) % 60);
  must(tinker_datum_new_supervised(&datum, tokens, NULL, TOKENS, NULL, NULL),
       "datum");
  return datum;
}

static void finish(tinker_future_t *f, const char *what) {
  must(tinker_future_wait(f, -1), what);
  tinker_future_release(f);
}

/* --- Without a run -------------------------------------------------------- */

static void plain_steps(tinker_trainer_t *trainer, int64_t from, int n) {
  for (int64_t i = from; i < from + n; i++) {
    tinker_datum_t *datum = example(i);
    double begin = now_ms();
    tinker_future_t *fb =
        tinker_trainer_forward_backward(trainer, &datum, 1, NULL, NULL);
    tinker_future_t *optim = tinker_trainer_optim_step(trainer, NULL, NULL);
    finish(fb, "forward_backward");
    finish(optim, "optim_step");
    add(&plain, now_ms() - begin);
    tinker_datum_release(datum);
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
    tinker_datum_t *datum = example(number);
    begin = now_ms();
    tinker_future_t *fb =
        tinker_run_forward_backward(run, &datum, 1, NULL, NULL);
    tinker_future_t *optim = tinker_run_optim_step(run, NULL, NULL);
    tinker_future_t *commit =
        tinker_run_commit(run, &number, sizeof number, NULL);
    finish(fb, "forward_backward");
    finish(optim, "optim_step");
    finish(commit, "commit");
    add(&run_steps, asked + now_ms() - begin);
    tinker_datum_release(datum);
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

int main(int argc, char **argv) {
  if (argc < 3) return fprintf(stderr, "see the head of this file\n"), 2;
  int steps = argc > 3 ? (int)strtol(argv[3], NULL, 10) : 100;
  int blocks = argc > 4 ? (int)strtol(argv[4], NULL, 10) : 10;
  daemon_t service;
  char folder[96];
  daemon_init(&service, argv[1], argv[2], 0);
  daemon_start(&service);
  snprintf(folder, sizeof folder, "%s/recovery", service.dir);
  tinker_client_options_t o = TINKER_CLIENT_OPTIONS_INIT;
  tinker_client_t *client = NULL;
  o.base_url = service.url;
  must(tinker_client_new(&client, &o, NULL), "client");
  tinker_trainer_t *trainer = plain_trainer(client);
  tinker_run_t *run = open_run(folder, service.url);
  for (int i = 0; i < blocks; i++) {
    plain_steps(trainer, (int64_t)i * steps, steps);
    with_run(run, steps);
  }
  tinker_run_release(run);
  reopen(folder, service.url, 20);
  print("step without a run", &plain);
  print("step with a run", &run_steps);
  print("open, re-attach, next step", &attach);
  printf("{\"bench\": \"recover\", \"what\": \"added by a run\", "
         "\"p50_ms\": %.3f, \"p99_ms\": %.3f, \"ratio_p50\": %.3f}\n",
         at(&run_steps, 0.5) - at(&plain, 0.5),
         at(&run_steps, 0.99) - at(&plain, 0.99),
         at(&run_steps, 0.5) / at(&plain, 0.5));
  tinker_trainer_release(trainer);
  tinker_client_release(client);
  must(tinker_shutdown(-1), "shutdown");
  daemon_stop(&service, SIGTERM);
  daemon_remove(&service);
  return 0;
}
