/* service: measures the local service under load, and its restarts.
 *
 *   bench_service LOCALD MODEL_FOLDER [SECONDS [THREADS [MODELS]]]
 *
 * LOCALD (tinker-locald) runs as a process of its own, with THREADS threads of
 * its engine (default 0, one per core). The requests are made by
 * clients of the public library, each with a session and a thread.
 *
 * First 1, 4, 16 and 64 clients sample 64 tokens again and again for SECONDS
 * (default 10), alone, and then beside a client that trains with steps of 2,048
 * tokens. Each run prints a line with samples/s, tokens/s, the time of a sample
 * (median and 99th of a hundred), and decode rounds for each sample. "gain" is
 * tokens/s over those of one client. Beside training, "sample_ratio" is the
 * median over the median without training, and "train_ratio" is steps/s over
 * steps/s without samples.
 *
 * Then fleets of MODELS / 5 and of MODELS (default 100) models are trained a
 * little and restarted, by SIGTERM and by SIGKILL. A line has the time to stop,
 * and, from the start of the new process, the times to the ready line and to
 * the first and the last answer to a forward of every model. "ratio" is the
 * time to the last answer over that of the same calls without a restart;
 * "train_ratio" is that time over the time of the training before it. */
#include <math.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <tinker/tinker.h>

#include "daemon.h"

#define SAMPLE_TOKENS 64
#define PROMPT 8
#define LENGTH 64 /* of a training sequence */
#define STEP_SEQUENCES 32
#define MOST_CLIENTS 64
#define MOST_MODELS 1000
#define RANK 8
#define FLEET_STEPS 4
#define IDS 60 /* ids of tokens to use; the smallest vocabulary has 64 */

typedef struct {
  double from, to; /* seconds of the monotonic clock */
} span_t;

typedef struct {
  span_t *spans;
  size_t n, cap;
} spans_t;

typedef struct bench_s {
  daemon_t daemon;
  double seconds;
  size_t models;
  pthread_barrier_t ready; /* all callers have made their first call */
  atomic_size_t measured;  /* callers that have made a second call */
  atomic_bool stop;
  tinker_datum_t *data[STEP_SEQUENCES];
  double alone_steps;           /* steps/s without samples */
  double one[2];                /* tokens/s of one client, beside training */
  double p50[MOST_CLIENTS + 1]; /* by clients, without training */
} bench_t;

/* A thread that samples or trains until the bench stops it. */
typedef struct {
  bench_t *bench;
  pthread_t thread;
  tinker_client_t *client;
  tinker_sampler_t *sampler;
  tinker_trainer_t *trainer;
  uint64_t seed;
  spans_t done;
} caller_t;

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static void note(spans_t *s, double from) {
  if (s->n == s->cap) {
    s->cap = s->cap ? 2 * s->cap : 256;
    s->spans = realloc(s->spans, s->cap * sizeof *s->spans);
    if (!s->spans) give_up("out of memory");
  }
  s->spans[s->n++] = (span_t){from, now()};
}

/* --- Calls ---------------------------------------------------------------- */

static void check(int rc) {
  if (rc != TINKER_OK) give_up("%s", tinker_code_text(rc));
}

static tinker_future_t *await(tinker_future_t *f) {
  if (tinker_future_wait(f, -1) != TINKER_OK) {
    give_up("%s", tinker_error_message(tinker_future_error(f)));
  }
  return f;
}

static tinker_client_t *new_client(const bench_t *b) {
  tinker_client_options_t o;
  tinker_client_t *client = NULL;
  tinker_error_t *error = NULL;
  tinker_client_options_init(&o);
  o.base_url = b->daemon.url;
  o.api_key = "tml-bench";
  if (tinker_client_new(&client, &o, &error) != TINKER_OK) {
    give_up("%s", tinker_error_message(error));
  }
  return client;
}

static tinker_future_t *ask_trainer(tinker_client_t *client) {
  tinker_trainer_options_t o = TINKER_TRAINER_OPTIONS_INIT;
  o.base_model = "m";
  o.rank = RANK;
  o.seed = 1;
  return tinker_client_create_trainer(client, &o, NULL);
}

static tinker_trainer_t *take_trainer(tinker_future_t *f) {
  tinker_trainer_t *trainer = NULL;
  check(tinker_future_get_trainer(await(f), &trainer));
  tinker_future_release(f);
  return trainer;
}

static tinker_sampler_t *new_sampler(tinker_client_t *client) {
  tinker_sampler_t *sampler = NULL;
  tinker_future_t *f = await(tinker_client_create_sampler(client, "m", NULL));
  check(tinker_future_get_sampler(f, &sampler));
  tinker_future_release(f);
  return sampler;
}

static void sample(caller_t *c) {
  int32_t prompt[PROMPT];
  tinker_sampling_params_t p = TINKER_SAMPLING_PARAMS_INIT;
  tinker_input_t *input = NULL;
  for (size_t i = 0; i < PROMPT; i++) prompt[i] = (int32_t)(c->seed + i) % IDS;
  p.max_tokens = SAMPLE_TOKENS;
  p.no_stop = 1;
  p.seed = (int64_t)c->seed++;
  check(tinker_input_from_tokens(&input, prompt, PROMPT, NULL, NULL));
  tinker_future_release(
      await(tinker_sampler_sample(c->sampler, input, &p, NULL)));
  tinker_input_release(input);
}

/* Submits a forward_backward and an optim_step. Returns the future of the
 * optim_step, which ends last. */
static tinker_future_t *submit_step(const bench_t *b, tinker_trainer_t *t,
                                    size_t sequences) {
  tinker_future_release(
      tinker_trainer_forward_backward(t, b->data, sequences, NULL, NULL));
  return tinker_trainer_optim_step(t, NULL, NULL);
}

static void make_data(bench_t *b) {
  int32_t ids[LENGTH + 1];
  for (int i = 0; i < STEP_SEQUENCES; i++) {
    for (int k = 0; k <= LENGTH; k++) ids[k] = (7 * i + 3 * k + k * k) % IDS;
    check(tinker_datum_new_supervised(&b->data[i], ids, NULL, LENGTH + 1, NULL,
                                      NULL));
  }
}

/* --- Callers -------------------------------------------------------------- */

static void call(caller_t *c) {
  double from = now();
  if (c->sampler) {
    sample(c);
  } else {
    tinker_future_release(
        await(submit_step(c->bench, c->trainer, STEP_SEQUENCES)));
  }
  note(&c->done, from);
}

static void *call_until_stop(void *user) {
  caller_t *c = user;
  call(c);
  pthread_barrier_wait(&c->bench->ready);
  call(c);
  atomic_fetch_add(&c->bench->measured, 1);
  while (!atomic_load(&c->bench->stop)) call(c);
  return NULL;
}

static void open_caller(bench_t *b, caller_t *c, uint64_t seed, bool trains) {
  *c = (caller_t){.bench = b, .seed = seed};
  c->client = new_client(b);
  if (trains) {
    c->trainer = take_trainer(ask_trainer(c->client));
  } else {
    c->sampler = new_sampler(c->client);
  }
}

static void close_caller(caller_t *c) {
  tinker_sampler_release(c->sampler);
  tinker_trainer_release(c->trainer);
  tinker_future_release(await(tinker_client_drain(c->client, NULL)));
  tinker_client_release(c->client);
  free(c->done.spans);
}

/* Counts the calls that began and ended in the window. took (may be NULL) gets
 * their seconds. */
static size_t within(const caller_t *c, span_t window, double *took) {
  size_t n = 0;
  for (size_t i = 0; i < c->done.n; i++) {
    const span_t *s = &c->done.spans[i];
    if (s->from < window.from || s->to > window.to) continue;
    if (took) took[n] = s->to - s->from;
    n++;
  }
  return n;
}

/* Waits for the bench's time, and for that time again until every caller has
 * made a whole call. */
static void let_pass(bench_t *b, size_t callers) {
  struct timespec t = {(time_t)b->seconds, 0};
  t.tv_nsec = (long)((b->seconds - floor(b->seconds)) * 1e9);
  do {
    nanosleep(&t, NULL);
  } while (atomic_load(&b->measured) < callers);
}

/* Runs all callers at once. Returns the window that is measured; *rounds gets
 * the number of decode rounds in it. */
static span_t run_callers(bench_t *b, caller_t *c, size_t n, double *rounds) {
  span_t window;
  atomic_store(&b->stop, false);
  atomic_store(&b->measured, 0);
  pthread_barrier_init(&b->ready, NULL, (unsigned)n + 1);
  for (size_t i = 0; i < n; i++) {
    if (pthread_create(&c[i].thread, NULL, call_until_stop, &c[i]) != 0) {
      give_up("no thread");
    }
  }
  window.from = now();
  *rounds = daemon_rounds(&b->daemon);
  pthread_barrier_wait(&b->ready);
  let_pass(b, n);
  window.to = now();
  *rounds = daemon_rounds(&b->daemon) - *rounds;
  atomic_store(&b->stop, true);
  for (size_t i = 0; i < n; i++) pthread_join(c[i].thread, NULL);
  pthread_barrier_destroy(&b->ready);
  return window;
}

/* --- Lines of the load ---------------------------------------------------- */

static int by_size(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

typedef struct {
  size_t samples;
  double per_s, p50, p99; /* samples/s; seconds */
} figures_t;

static figures_t figures(const caller_t *c, size_t n, span_t window) {
  size_t all = 0, have = 0;
  for (size_t i = 0; i < n; i++) all += within(&c[i], window, NULL);
  double *took = malloc(all * sizeof *took);
  if (!took) give_up("out of memory");
  for (size_t i = 0; i < n; i++) have += within(&c[i], window, took + have);
  qsort(took, all, sizeof *took, by_size);
  figures_t f = {
      .samples = all,
      .per_s = (double)all / (window.to - window.from),
      .p50 = took[all / 2],
      .p99 = took[all * 99 / 100],
  };
  free(took);
  return f;
}

static void print_load(bench_t *b, size_t clients, const caller_t *trainer,
                       const figures_t *f, span_t window, double rounds) {
  double tokens = f->per_s * SAMPLE_TOKENS;
  if (clients == 1) b->one[trainer != NULL] = tokens;
  printf("{\"bench\":\"service\",\"op\":\"sample\",\"threads\":%u,"
         "\"clients\":%zu,\"training\":%s,\"tokens\":%d,\"samples_per_s\":%.1f,"
         "\"tokens_per_s\":%.0f,\"p50_ms\":%.1f,\"p99_ms\":%.1f,"
         "\"rounds_per_sample\":%.1f,\"gain\":%.2f",
         b->daemon.threads, clients, trainer ? "true" : "false", SAMPLE_TOKENS,
         f->per_s, tokens, f->p50 * 1e3, f->p99 * 1e3,
         rounds / (double)f->samples, tokens / b->one[trainer != NULL]);
  if (trainer) {
    double steps = (double)within(trainer, window, NULL);
    printf(",\"steps_per_s\":%.2f,\"sample_ratio\":%.2f,\"train_ratio\":%.2f",
           steps / (window.to - window.from), f->p50 / b->p50[clients],
           steps / (window.to - window.from) / b->alone_steps);
  } else {
    b->p50[clients] = f->p50;
  }
  puts("}");
  fflush(stdout);
}

/* Measures one load. The trainer, if there is one, is the last caller. */
static void load(bench_t *b, size_t clients, bool training) {
  static caller_t c[MOST_CLIENTS + 1];
  size_t n = clients + training;
  double rounds;
  for (size_t i = 0; i < n; i++) open_caller(b, &c[i], i << 32, i == clients);
  span_t window = run_callers(b, c, n, &rounds);
  figures_t f = figures(c, clients, window);
  print_load(b, clients, training ? &c[clients] : NULL, &f, window, rounds);
  for (size_t i = 0; i < n; i++) close_caller(&c[i]);
}

static void train_alone(bench_t *b) {
  caller_t c;
  double rounds;
  open_caller(b, &c, 0, true);
  span_t window = run_callers(b, &c, 1, &rounds);
  b->alone_steps = (double)within(&c, window, NULL) / (window.to - window.from);
  printf("{\"bench\":\"service\",\"op\":\"train\",\"threads\":%u,"
         "\"step_tokens\":%d,\"steps_per_s\":%.2f}\n",
         b->daemon.threads, STEP_SEQUENCES * LENGTH, b->alone_steps);
  close_caller(&c);
}

static void loads(bench_t *b) {
  daemon_start(&b->daemon);
  train_alone(b);
  for (int training = 0; training < 2; training++) {
    for (size_t n = 1; n <= MOST_CLIENTS; n *= 4) load(b, n, training);
  }
  daemon_stop(&b->daemon, SIGTERM);
  daemon_remove(&b->daemon);
}

/* --- Restarts ------------------------------------------------------------- */

typedef struct {
  bench_t *bench;
  tinker_client_t *client;
  size_t n;
  tinker_trainer_t *trainers[MOST_MODELS];
  tinker_future_t *futures[MOST_MODELS];
} fleet_t;

static void open_fleet(fleet_t *f, bench_t *b, size_t n) {
  f->bench = b;
  f->client = new_client(b);
  f->n = n;
  for (size_t i = 0; i < n; i++) f->futures[i] = ask_trainer(f->client);
  for (size_t i = 0; i < n; i++) f->trainers[i] = take_trainer(f->futures[i]);
}

static void close_fleet(fleet_t *f) {
  for (size_t i = 0; i < f->n; i++) tinker_trainer_release(f->trainers[i]);
  tinker_future_release(await(tinker_client_drain(f->client, NULL)));
  tinker_client_release(f->client);
}

/* Makes a few small steps of every model. Returns the seconds. */
static double train_fleet(fleet_t *f) {
  double from = now();
  for (int s = 0; s < FLEET_STEPS; s++) {
    for (size_t i = 0; i < f->n; i++) {
      f->futures[i] = submit_step(f->bench, f->trainers[i], 1);
    }
    for (size_t i = 0; i < f->n; i++) {
      tinker_future_release(await(f->futures[i]));
    }
  }
  return now() - from;
}

/* Calls forward for every model. Returns the times of the first and the last
 * answer. */
static span_t call_fleet(fleet_t *f) {
  span_t answers = {0, 0};
  tinker_future_t *any;
  for (size_t i = 0; i < f->n; i++) {
    f->futures[i] =
        tinker_trainer_forward(f->trainers[i], f->bench->data, 1, NULL, NULL);
  }
  for (size_t i = 0; i < f->n; i++) {
    check(tinker_client_next(f->client, -1, &any));
    tinker_future_release(await(any));
    answers.to = now();
    if (i == 0) answers.from = answers.to;
  }
  for (size_t i = 0; i < f->n; i++) tinker_future_release(f->futures[i]);
  return answers;
}

static void restart(fleet_t *f, int signal) {
  daemon_t *d = &f->bench->daemon;
  double trained = train_fleet(f), from = now();
  double called = call_fleet(f).to - from;
  from = now();
  daemon_stop(d, signal);
  double begin = now();
  daemon_start(d);
  double ready = now();
  span_t answers = call_fleet(f);
  double last = answers.to - begin;
  printf("{\"bench\":\"service\",\"op\":\"restart\",\"threads\":%u,"
         "\"models\":%zu,\"after\":\"%s\",\"stop_ms\":%.0f,\"ready_ms\":%.0f,"
         "\"first_ms\":%.0f,\"last_ms\":%.0f,\"ratio\":%.2f,"
         "\"train_ratio\":%.2f}\n",
         d->threads, f->n, signal == SIGTERM ? "SIGTERM" : "SIGKILL",
         (begin - from) * 1e3, (ready - begin) * 1e3,
         (answers.from - begin) * 1e3, last * 1e3, last / called,
         last / trained);
  fflush(stdout);
}

static void restarts(bench_t *b, size_t models) {
  static fleet_t f;
  daemon_start(&b->daemon);
  open_fleet(&f, b, models);
  restart(&f, SIGTERM);
  restart(&f, SIGKILL);
  close_fleet(&f);
  daemon_stop(&b->daemon, SIGTERM);
  daemon_remove(&b->daemon);
}

int main(int argc, char **argv) {
  static bench_t b;
  if (argc < 3 || argc > 6) {
    fputs("usage: bench_service LOCALD MODEL_FOLDER [SECONDS [THREADS "
          "[MODELS]]]\n",
          stderr);
    return 2;
  }
  unsigned threads = argc > 4 ? (unsigned)strtoul(argv[4], NULL, 10) : 0;
  b.seconds = argc > 3 ? strtod(argv[3], NULL) : 10;
  b.models = argc > 5 ? strtoul(argv[5], NULL, 10) : 100;
  if (!(b.seconds > 0 && b.seconds < 1e6) || b.models < 1 ||
      b.models > MOST_MODELS) {
    give_up("SECONDS or MODELS");
  }
  make_data(&b);
  daemon_init(&b.daemon, argv[1], argv[2], threads);
  loads(&b);
  for (int part = 5; part >= 1; part -= 4) {
    daemon_init(&b.daemon, argv[1], argv[2], threads);
    restarts(&b, (b.models + (size_t)part - 1) / (size_t)part);
  }
  for (int i = 0; i < STEP_SEQUENCES; i++) tinker_datum_release(b.data[i]);
  check(tinker_shutdown(-1));
  return 0;
}
