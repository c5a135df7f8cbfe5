/* How late a deadline and a cancel end a call, against a service that stalls:
 * 1,000 calls of several kinds, 20 at a time, for each way of stalling. One
 * JSON line each, in milliseconds: what passed between the deadline, or the
 * cancel, and the callback. The service is in the same process.
 *
 *   bench_deadline [calls] [deadline in ms] */
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <tinker/tinker.h>

#include "support/stall_server.h"

enum { AT_ONCE = 20 };

typedef struct call_s {
  double from_ms;
  _Atomic double to_ms; /* 0 = not yet */
} call_t;

static double now_ms(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec * 1e3 + (double)t.tv_nsec * 1e-6;
}

static void done(tinker_future_t *f, int status, void *user) {
  (void)f;
  (void)status;
  atomic_store(&((call_t *)user)->to_ms, now_ms());
}

static void stop(const char *what, const tinker_error_t *e) {
  fprintf(stderr, "%s: %s\n", what, tinker_error_message(e));
  exit(1);
}

typedef struct run_s {
  tinker_client_t *client;
  tinker_trainer_t *trainer;
  tinker_sampler_t *sampler;
  tinker_input_t *prompt;
} run_t;

static void start(run_t *r, const char *url) {
  tinker_client_options_t o = TINKER_CLIENT_OPTIONS_INIT;
  tinker_trainer_options_t t = TINKER_TRAINER_OPTIONS_INIT;
  tinker_error_t *e = NULL;
  o.base_url = url;
  o.api_key = "tml-bench";
  t.base_model = "m";
  if (tinker_client_new(&r->client, &o, &e)) stop("client", e);
  tinker_future_t *f = tinker_client_create_trainer(r->client, &t, NULL);
  if (tinker_future_wait(f, 10000)) stop("trainer", tinker_future_error(f));
  tinker_future_get_trainer(f, &r->trainer);
  tinker_future_release(f);
  f = tinker_client_create_sampler(r->client, "m", NULL);
  if (tinker_future_wait(f, 10000)) stop("sampler", tinker_future_error(f));
  tinker_future_get_sampler(f, &r->sampler);
  tinker_future_release(f);
  const int32_t token = 1;
  if (tinker_input_from_tokens(&r->prompt, &token, 1, NULL, &e)) {
    stop("prompt", e);
  }
}

static void end(run_t *r) {
  tinker_input_release(r->prompt);
  tinker_sampler_release(r->sampler);
  tinker_trainer_release(r->trainer);
  tinker_client_release(r->client);
  tinker_shutdown(-1);
}

static tinker_future_t *begin(const run_t *r, size_t i, int64_t timeout_ms,
                              call_t *call) {
  tinker_call_options_t o = TINKER_CALL_OPTIONS_INIT;
  o.timeout_ms = timeout_ms;
  o.cb = done;
  o.user = call;
  atomic_store(&call->to_ms, 0);
  call->from_ms = now_ms();
  switch (i % 4) {
  case 0: return tinker_sampler_sample(r->sampler, r->prompt, NULL, &o);
  case 1: return tinker_trainer_optim_step(r->trainer, NULL, &o);
  case 2: return tinker_trainer_save_state(r->trainer, "a", NULL, &o);
  default: return tinker_client_get_capabilities(r->client, &o);
  }
}

static void nap(long ms) {
  nanosleep(&(struct timespec){ms / 1000, ms % 1000 * 1000000}, NULL);
}

static int by_value(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return x < y ? -1 : x > y;
}

static void print(const char *what, stall_t how, double *late, size_t n,
                  size_t early) {
  qsort(late, n, sizeof *late, by_value);
  printf("{\"bench\": \"%s\", \"service\": \"%s\", \"calls\": %zu, "
         "\"ended_before\": %zu, \"p50_ms\": %.2f, \"p99_ms\": %.2f, "
         "\"max_ms\": %.2f}\n",
         what, stall_name(how), n, early, late[n / 2], late[n * 99 / 100],
         late[n - 1]);
  fflush(stdout);
}

/* cancel: after a tenth of the deadline; else the deadline ends them. */
static void measure(stall_t how, size_t n, int64_t deadline_ms, int cancel) {
  run_t r = {NULL, NULL, NULL, NULL};
  call_t calls[AT_ONCE];
  tinker_future_t *futures[AT_ONCE];
  double *late = calloc(n, sizeof *late);
  size_t early = 0;
  tiny_server_t *server = tiny_server_new(NULL, 512, true, stall_answer, &how);
  start(&r, tiny_server_url(server));
  for (size_t at = 0; at < n; at += AT_ONCE) {
    size_t some = n - at < AT_ONCE ? n - at : AT_ONCE;
    for (size_t i = 0; i < some; i++) {
      futures[i] = begin(&r, i, cancel ? 600000 : deadline_ms, &calls[i]);
    }
    if (cancel) nap((long)deadline_ms / 10);
    for (size_t i = 0; i < some; i++) {
      if (cancel) calls[i].from_ms = now_ms();
      if (cancel) tinker_future_cancel(futures[i]);
    }
    for (size_t i = 0; i < some; i++) {
      while (atomic_load(&calls[i].to_ms) <= 0) nap(1);
      late[at + i] = atomic_load(&calls[i].to_ms) - calls[i].from_ms -
                     (cancel ? 0 : (double)deadline_ms);
      early += late[at + i] < -1; /* times are whole milliseconds */
      tinker_future_release(futures[i]);
    }
  }
  end(&r);
  tiny_server_free(server);
  print(cancel ? "cancel" : "deadline", how, late, n, early);
  free(late);
}

int main(int argc, char **argv) {
  size_t n = argc > 1 ? strtoul(argv[1], NULL, 10) : 1000;
  int64_t deadline_ms = argc > 2 ? strtol(argv[2], NULL, 10) : 200;
  for (int how = 0; how < STALL_COUNT; how++) {
    measure((stall_t)how, n, deadline_ms, 0);
    measure((stall_t)how, n, deadline_ms, 1);
  }
  return 0;
}
