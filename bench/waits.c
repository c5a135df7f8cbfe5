/* What the statistics of waiting cost: an answer of tinker_client_wait_stats(),
 * for one kind and for all, against tinker_client_dump(), which is what a
 * program would ask otherwise, and what counting adds to the end of an
 * operation. One JSON line each; times are the least of several rounds. Neither
 * side takes a lock, so no reader keeps another thread from anything.
 *
 *   bench_waits [answers a round] */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <tinker/tinker.h>

#include "flow/waits.h"

enum { ROUNDS = 5 };

static double now_us(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec * 1e6 + (double)t.tv_nsec * 1e-3;
}

static void stop(const char *what) {
  fprintf(stderr, "bench_waits: %s\n", what);
  exit(1);
}

/* A client that has counted one operation: nothing listens there. */
static tinker_client_t *new_client(void) {
  tinker_client_options_t o = TINKER_CLIENT_OPTIONS_INIT;
  tinker_call_options_t call = TINKER_CALL_OPTIONS_INIT;
  tinker_client_t *client = NULL;
  o.base_url = "http://127.0.0.1:9"; /* discard: nobody has it */
  o.api_key = "tml-bench";
  call.timeout_ms = 20;
  if (tinker_client_new(&client, &o, NULL)) stop("no client");
  tinker_future_t *f = tinker_client_get_capabilities(client, &call);
  if (tinker_future_wait(f, -1) != TINKER_ETIMEDOUT) stop("somebody answers");
  tinker_future_release(f);
  return client;
}

static void ask(tinker_client_t *client, tinker_kind_t kind) {
  tinker_wait_stats_t s = TINKER_WAIT_STATS_INIT;
  if (tinker_client_wait_stats(client, kind, &s) || s.count != 1) {
    stop("no statistics");
  }
}

static void dump(tinker_client_t *client, tinker_kind_t kind) {
  (void)kind;
  tinker_future_t *f = tinker_client_dump(client, NULL);
  if (tinker_future_wait(f, -1)) stop("no dump");
  tinker_future_release(f);
}

/* Microseconds of one answer. */
static double least(tinker_client_t *client, tinker_kind_t kind, int n,
                    void (*answer)(tinker_client_t *, tinker_kind_t)) {
  double best = 1e12;
  for (int round = 0; round < ROUNDS; round++) {
    double from = now_us();
    for (int i = 0; i < n; i++) answer(client, kind);
    double us = (now_us() - from) / n;
    if (us < best) best = us;
  }
  return best;
}

/* Microseconds of counting one operation that has ended. */
static double counting(int n) {
  static tinker__waits_t waits;
  double best = 1e12;
  for (int round = 0; round < ROUNDS; round++) {
    double from = now_us();
    for (int i = 0; i < n; i++) {
      tinker__stay_t stay;
      tinker__stay_begin(&stay, 0);
      tinker__stay_move(&stay, TINKER_STAGE_SENT, i % 100);
      tinker__stay_move(&stay, TINKER_STAGE_RUNNING, i % 1000);
      tinker__stay_move(&stay, TINKER_STAGE_ENDED, i % 100000);
      tinker__waits_add(&waits, &stay, i % 64 == 0);
    }
    double us = (now_us() - from) / n;
    if (us < best) best = us;
  }
  return best;
}

int main(int argc, char **argv) {
  int n = argc > 1 ? atoi(argv[1]) : 20000;
  tinker_client_t *client = new_client();
  double one = least(client, TINKER_KIND_GET_CAPABILITIES, n, ask);
  double all = least(client, TINKER_KIND_NONE, n, ask);
  double other = least(client, TINKER_KIND_NONE, n / 20 + 1, dump);
  printf("{\"what\": \"wait_stats, one kind\", \"us\": %.2f, "
         "\"dump_over_it\": %.1f}\n",
         one, other / one);
  printf("{\"what\": \"wait_stats, all kinds\", \"us\": %.2f, "
         "\"dump_over_it\": %.1f}\n",
         all, other / all);
  printf("{\"what\": \"counting an operation\", \"us\": %.3f, "
         "\"wait_stats_over_it\": %.1f, \"bytes_a_kind\": %zu}\n",
         counting(n * 10), one / counting(n * 10), sizeof(tinker__waits_t));
  tinker_client_release(client);
  tinker_shutdown(-1);
  return 0;
}
