/* Deadlines and cancels against a service that stalls on a real connection: it
 * accepts and never answers, answers headers only, trickles, or resets. Each
 * call ends once with the code that says so, and afterwards no descriptor and
 * no thread is left. How late is a bench's matter (bench/deadline.c). */
#include <criterion/criterion.h>
#include <dirent.h>
#include <stdatomic.h>
#include <stdio.h>
#include <tinker/tinker.h>
#include <unistd.h>

#include "support/calls.h"
#include "support/stall_server.h"

enum { OPS = 5, ROUNDS = 4, D = 150 };

typedef struct stalled_s {
  tinker_client_t *client;
  tinker_trainer_t *trainer;
  tinker_sampler_t *sampler;
  tinker_input_t *prompt;
} stalled_t;

static int count_in(const char *folder) {
  DIR *dir = opendir(folder);
  int n = 0;
  cr_assert(dir);
  while (readdir(dir)) n++;
  closedir(dir);
  return n;
}

static void start(stalled_t *s, const char *url) {
  tinker_client_options_t o = TINKER_CLIENT_OPTIONS_INIT;
  tinker_trainer_options_t t = TINKER_TRAINER_OPTIONS_INIT;
  o.base_url = url;
  o.api_key = "tml-test";
  t.base_model = "m";
  cr_assert_eq(tinker_client_new(&s->client, &o, NULL), 0);
  tinker_future_t *f = tinker_client_create_trainer(s->client, &t, NULL);
  cr_assert_eq(tinker_future_wait(f, -1), 0, "%s",
               tinker_error_message(tinker_future_error(f)));
  cr_assert_eq(tinker_future_get_trainer(f, &s->trainer), 0);
  tinker_future_release(f);
  f = tinker_client_create_sampler(s->client, "m", NULL);
  cr_assert_eq(tinker_future_wait(f, -1), 0);
  cr_assert_eq(tinker_future_get_sampler(f, &s->sampler), 0);
  tinker_future_release(f);
  cr_assert_eq(
      tinker_input_from_tokens(&s->prompt, (const int32_t[]){1}, 1, NULL, NULL),
      0);
}

static void count(tinker_future_t *f, int status, void *user) {
  (void)f;
  (void)status;
  atomic_fetch_add((atomic_int *)user, 1);
}

static tinker_future_t *call(const stalled_t *s, int i,
                             const tinker_call_options_t *o) {
  switch (i) {
  case 0: return tinker_sampler_sample(s->sampler, s->prompt, NULL, o);
  case 1: return tinker_trainer_optim_step(s->trainer, NULL, o);
  case 2: return tinker_trainer_save_state(s->trainer, "a", NULL, o);
  case 3:
    return tinker_trainer_load_state(s->trainer, "tinker://r/weights/a", o);
  default: return tinker_client_get_capabilities(s->client, o);
  }
}

/* cancel: else the deadline ends them. */
static void round_of(const stalled_t *s, int cancel, atomic_int *called) {
  tinker_future_t *f[OPS];
  for (int i = 0; i < OPS; i++) {
    tinker_call_options_t o = calls_with(NULL, count, called);
    o.timeout_ms = cancel ? TINKER_NO_TIMEOUT : D;
    f[i] = call(s, i, &o);
  }
  for (int i = 0; i < OPS; i++) {
    if (cancel) tinker_future_cancel(f[i]);
    int rc = tinker_future_wait(f[i], -1);
    const char *text = tinker_error_message(tinker_future_error(f[i]));
    cr_assert_eq(rc, cancel ? TINKER_ECANCELED : TINKER_ETIMEDOUT, "%d: %s", i,
                 text);
    tinker_future_release(f[i]);
  }
}

static void stall_of(stall_t how, bool far) {
  atomic_int called = 0;
  stalled_t s = {NULL, NULL, NULL, NULL};
  char path[64];
  snprintf(path, sizeof path, "/tmp/tinker-stall-%d.sock", (int)getpid());
  tiny_server_t *server =
      tiny_server_new(far ? NULL : path, 64, true, stall_answer, &how);
  start(&s, tiny_server_url(server));
  for (int i = 0; i < ROUNDS; i++) round_of(&s, i % 2, &called);
  tinker_input_release(s.prompt);
  tinker_sampler_release(s.sampler);
  tinker_trainer_release(s.trainer);
  tinker_client_release(s.client);
  cr_assert_eq(tinker_shutdown(60000), 0);
  tiny_server_free(server);
  cr_assert_eq(atomic_load(&called), OPS * ROUNDS);
}

/* The first client opens what the process keeps for good: libuv's pipe. */
static void nothing_is_left(stall_t how) {
  stall_of(how, false);
  int fds = count_in("/proc/self/fd"), threads = count_in("/proc/self/task");
  stall_of(how, true);
  stall_of(how, false);
  cr_assert_eq(count_in("/proc/self/fd"), fds);
  cr_assert_eq(count_in("/proc/self/task"), threads);
}

#define STALL(name_, how_)                                                     \
  Test(faults, stall_##name_, .timeout = 120) {                                \
    nothing_is_left(how_);                                                     \
  }
STALL(never, STALL_NEVER)
STALL(headers, STALL_HEADERS)
STALL(trickle, STALL_TRICKLE)
STALL(reset, STALL_RESET)
