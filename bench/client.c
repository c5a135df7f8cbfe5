/* client: the public library as a contender (see contender.h).
 *
 *   bench_client URL [background|step|uv]   who runs the client's loop
 *
 * A name of a pass that ends in _take hands the arrays over, the others copy
 * them. Passes:
 *   forward N LENGTH  forward_backward of N examples, from arrays to results
 *   sample N LENGTH   N samples at once, with prompts of LENGTH tokens
 *   small N LENGTH    N forward_backwards of one example, one after another
 *   idle N LENGTH     N seconds without a call
 *   update N LENGTH   forward_backward of N examples, made before the pass and
 *                     all the same, so that only the client's own memory counts
 */
#define _POSIX_C_SOURCE 200809L /* nanosleep */
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <tinker/tinker.h>
#include <tinker/uv.h>
#include <uv.h>

#include "contender.h"

#define MAX_TOKENS 64

static tinker_client_t *client;
static tinker_trainer_t *trainer;
static tinker_sampler_t *sampler;
static enum { BACKGROUND, STEP, UV } mode;
static uv_loop_t uv;
static bool hands_over;

/* --- Calls ---------------------------------------------------------------- */

static void check(int rc) {
  if (rc != TINKER_OK) fail("%s", tinker_code_text(rc));
}

static void step(void) {
  struct pollfd fd = {tinker_client_fd(client), POLLIN, 0};
  poll(&fd, 1, (int)tinker_client_timeout_ms(client));
  double before = thread_ms();
  check(tinker_client_step(client));
  meter_step(thread_ms() - before);
}

static int wait_for(tinker_future_t *f) {
  if (mode == BACKGROUND) return tinker_future_wait(f, -1);
  int rc;
  while ((rc = tinker_future_status(f)) == TINKER_EAGAIN) {
    if (mode == STEP) {
      step();
    } else {
      uv_run(&uv, UV_RUN_ONCE);
    }
  }
  return rc;
}

static tinker_future_t *await(tinker_future_t *f) {
  if (wait_for(f) != TINKER_OK) {
    fail("%s", tinker_error_message(tinker_future_error(f)));
  }
  return f;
}

/* The place of the error, which the call before it in the same argument list
 * may set only afterwards. */
static void check_said(int rc, tinker_error_t *const *error) {
  if (rc != TINKER_OK) fail("%s", tinker_error_message(*error));
}

static void open_client(const char *url) {
  tinker_client_options_t o = TINKER_CLIENT_OPTIONS_INIT;
  tinker_error_t *error = NULL;
  o.base_url = url;
  o.api_key = "tml-bench";
  if (mode == STEP) o.mode = TINKER_RUN_STEP;
  check_said(mode == UV ? tinker_client_new_uv(&client, &uv, &o, &error)
                        : tinker_client_new(&client, &o, &error),
             &error);
}

static void need_trainer(void) {
  tinker_trainer_options_t o = TINKER_TRAINER_OPTIONS_INIT;
  if (trainer) return;
  o.base_model = "m";
  tinker_future_t *f = await(tinker_client_create_trainer(client, &o, NULL));
  check(tinker_future_get_trainer(f, &trainer));
  tinker_future_release(f);
}

static void need_sampler(void) {
  if (sampler) return;
  tinker_future_t *f = await(tinker_client_create_sampler(client, "m", NULL));
  check(tinker_future_get_sampler(f, &sampler));
  tinker_future_release(f);
}

static void *take(size_t n, size_t size) {
  void *p = malloc(n * size);
  if (!p) fail("out of memory");
  return p;
}

/* The arrays are the program's all the time. */
static void given_back(void *user) {
  (void)user;
}

static tinker_input_t *input_of(const int32_t *tokens, size_t n) {
  tinker_input_t *input = NULL;
  tinker_error_t *e = NULL;
  if (!hands_over) {
    check_said(tinker_input_from_tokens(&input, tokens, n, NULL, &e), &e);
    return input;
  }
  check_said(tinker_input_new(&input, NULL, &e), &e);
  check_said(tinker_input_take_tokens(input, tokens, n, given_back, NULL, &e),
             &e);
  return input;
}

static tinker_future_t *submit_sample(const int32_t *tokens, size_t length) {
  tinker_sampling_params_t p = TINKER_SAMPLING_PARAMS_INIT;
  tinker_input_t *input = input_of(tokens, length);
  p.max_tokens = MAX_TOKENS;
  tinker_future_t *f = tinker_sampler_sample(sampler, input, &p, NULL);
  tinker_input_release(input);
  return f;
}

/* --- Training ------------------------------------------------------------- */

static void set_targets(tinker_datum_t *d, const int64_t *v, size_t n) {
  const char *name = "target_tokens";
  tinker_error_t *e = NULL;
  check_said(hands_over
                 ? tinker_datum_take_i64(d, name, v, n, 0, given_back, NULL, &e)
                 : tinker_datum_set_i64(d, name, v, n, 0, &e),
             &e);
}

static void set_weights(tinker_datum_t *d, const float *v, size_t n) {
  const char *name = "weights";
  tinker_error_t *e = NULL;
  check_said(hands_over
                 ? tinker_datum_take_f32(d, name, v, n, 0, given_back, NULL, &e)
                 : tinker_datum_set_f32(d, name, v, n, 0, &e),
             &e);
}

static tinker_datum_t *datum_of(const arrays_t *a, size_t i) {
  size_t at = i * a->length, n = a->length;
  tinker_input_t *input = input_of(a->tokens + at, n);
  tinker_datum_t *datum = NULL;
  tinker_error_t *e = NULL;
  check_said(tinker_datum_new(&datum, input, NULL, &e), &e);
  set_targets(datum, a->targets + at, n);
  set_weights(datum, a->weights + at, n);
  tinker_input_release(input);
  return datum;
}

static void read_forward(tinker_future_t *f, const arrays_t *a, size_t n) {
  const tinker_forward_result_t *result = NULL;
  tinker_tensor_view_t view;
  check(tinker_future_get_forward(await(f), &result));
  if (tinker_forward_result_count(result) != n) fail("another count");
  for (size_t i = 0; i < n; i++) {
    check(tinker_forward_result_tensor(result, i, "logprobs", &view));
    check_logprobs(view.f32, view.count, a->length);
  }
  tinker_future_release(f);
}

static void forward_one(tinker_datum_t **data, const arrays_t *a, size_t n) {
  for (size_t i = 0; i < n; i++) data[i] = datum_of(a, i);
  tinker_future_t *f =
      tinker_trainer_forward_backward(trainer, data, n, NULL, NULL);
  for (size_t i = 0; i < n; i++) tinker_datum_release(data[i]);
  read_forward(f, a, n);
}

static void forward(const arrays_t *a) {
  need_trainer();
  tinker_datum_t **data = take(a->n, sizeof(tinker_datum_t *));
  meter_start();
  forward_one(data, a, a->n);
  meter_stop();
  free(data);
}

static void forward_take(const arrays_t *a) {
  hands_over = true;
  forward(a);
  hands_over = false;
}

static void small(const arrays_t *a) {
  tinker_datum_t *datum;
  need_trainer();
  meter_start();
  for (size_t i = 0; i < a->n; i++) forward_one(&datum, a, 1);
  meter_stop();
}

static void update(const arrays_t *a) {
  need_trainer();
  tinker_datum_t **data = take(a->n, sizeof(tinker_datum_t *));
  for (size_t i = 0; i < a->n; i++) {
    data[i] = i ? tinker_datum_retain(data[0]) : datum_of(a, 0);
  }
  meter_start();
  read_forward(tinker_trainer_forward_backward(trainer, data, a->n, NULL, NULL),
               a, a->n);
  meter_stop();
  for (size_t i = 0; i < a->n; i++) tinker_datum_release(data[i]);
  free(data);
}

/* --- Sampling ------------------------------------------------------------- */

static void read_sample(tinker_future_t *f) {
  const tinker_sample_result_t *result = NULL;
  size_t n = 0;
  check(tinker_future_get_sample(await(f), &result));
  const tinker_sequence_t *s = tinker_sample_result_sequences(result, &n);
  if (n != 1 || s->count != MAX_TOKENS || s->tokens[1] != 1001) {
    fail("another sample");
  }
  tinker_future_release(f);
}

static void sample(const arrays_t *a) {
  need_sampler();
  tinker_future_t **f = take(a->n, sizeof(tinker_future_t *));
  meter_start();
  for (size_t i = 0; i < a->n; i++) {
    f[i] = submit_sample(a->tokens + i * a->length, a->length);
  }
  if (mode == BACKGROUND) check(tinker_future_wait_all(f, a->n, -1));
  for (size_t i = 0; i < a->n; i++) read_sample(f[i]);
  meter_stop();
  free(f);
}

static void sample_take(const arrays_t *a) {
  hands_over = true;
  sample(a);
  hands_over = false;
}

static void idle(const arrays_t *a) {
  struct timespec t = {.tv_sec = (time_t)a->n};
  need_trainer();
  meter_start();
  nanosleep(&t, NULL);
  meter_stop();
}

static void take_mode(const char *name) {
  if (!strcmp(name, "step")) mode = STEP;
  if (!strcmp(name, "uv")) mode = UV;
}

int main(int argc, char **argv) {
  static const pass_t passes[] = {
      {"forward", forward, false}, {"forward_take", forward_take, false},
      {"sample", sample, false},   {"sample_take", sample_take, false},
      {"small", small, true},      {"idle", idle, true},
      {"update", update, true},
  };
  if (argc < 2 || argc > 3) return 2;
  if (argc == 3) take_mode(argv[2]);
  uv_loop_init(&uv);
  open_client(argv[1]);
  contender_serve("bench_client", passes, sizeof passes / sizeof *passes);
  tinker_trainer_release(trainer);
  tinker_sampler_release(sampler);
  tinker_client_release(client);
  uv_run(&uv, UV_RUN_DEFAULT);
  uv_loop_close(&uv);
  return tinker_shutdown(-1) == TINKER_OK ? 0 : 1;
}
