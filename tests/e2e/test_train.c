/* The public calls against the local service as a program: it really trains,
 * saves, resumes and samples. examples/run starts the service and says where
 * it is (TINKER_BASE_URL). */
#include <criterion/criterion.h>
#include <math.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <string.h>
#include <sys/wait.h>
#include <tinker/tinker.h>
#include <unistd.h>

#include "support/calls.h"
#include "support/why.h"

#define MODEL "qwen3_tied"
#define LEN 12
#define BATCH 4

static tinker_client_t *client;
static tinker_datum_t *batch[BATCH];
static int32_t text[BATCH][LEN + 1];

static tinker_datum_t *const *view(void) {
  return (tinker_datum_t *const *)batch;
}

static void setup(void) {
  char why[256] = "";
  cr_assert_eq(why_client(&client, NULL, why, sizeof why), 0, "%s", why);
  for (int i = 0; i < BATCH; i++) {
    for (int k = 0; k <= LEN; k++) text[i][k] = (7 * i + 3 * k + k * k) % 60;
    cr_assert_eq(tinker_datum_new_supervised(&batch[i], text[i], NULL, LEN + 1,
                                             NULL, NULL),
                 0);
  }
}

static void teardown(void) {
  for (int i = 0; i < BATCH; i++) tinker_datum_release(batch[i]);
  tinker_client_release(client);
  cr_assert_eq(tinker_shutdown(60000), 0);
}

TestSuite(train, .init = setup, .fini = teardown, .timeout = 240);

/* Waits, with the error's sentence if it went wrong. */
static tinker_future_t *well(int rc, tinker_future_t *f) {
  cr_assert_eq(rc, 0, "%s", tinker_code_name(rc));
  rc = tinker_future_wait(f, 120000);
  cr_assert_eq(rc, 0, "%s", tinker_error_message(tinker_future_error(f)));
  return f;
}

static tinker_trainer_t *trainer_of(tinker_future_t *f) {
  tinker_trainer_t *t = NULL;
  cr_assert_eq(tinker_future_get_trainer(f, &t), 0);
  tinker_future_release(f);
  return t;
}

static tinker_trainer_t *new_trainer(void) {
  tinker_trainer_options_t o;
  tinker_future_t *f = NULL;
  tinker_trainer_options_init(&o);
  o.base_model = MODEL;
  o.rank = 8;
  o.seed = 5;
  int rc = calls_begun(tinker_client_create_trainer(client, &o, NULL), &f);
  return trainer_of(well(rc, f));
}

static double loss_of(tinker_future_t *f) {
  const tinker_forward_result_t *r;
  double loss = NAN;
  cr_assert_eq(tinker_future_get_forward(f, &r), 0);
  cr_assert_eq(tinker_forward_result_count(r), (size_t)BATCH);
  cr_assert_eq(tinker_forward_result_metric(r, "loss:sum", &loss), 0);
  return loss;
}

/* n steps, all submitted before the first has ended. */
static void steps(tinker_trainer_t *t, int n, double *losses) {
  tinker_future_t *f[32], *g[32];
  tinker_adam_params_t adam;
  tinker_adam_params_init(&adam);
  adam.learning_rate = 0.02;
  for (int i = 0; i < n; i++) {
    cr_assert_eq(calls_begun(tinker_trainer_forward_backward(t, view(), BATCH,
                                                             NULL, NULL),
                             &f[i]),
                 0);
    cr_assert_eq(calls_begun(tinker_trainer_optim_step(t, &adam, NULL), &g[i]),
                 0);
  }
  for (int i = 0; i < n; i++) {
    losses[i] = loss_of(well(0, f[i]));
    tinker_future_release(f[i]);
    tinker_future_release(well(0, g[i]));
  }
}

static tinker_trainer_t *resume(const char *path, int with_optimizer) {
  tinker_future_t *f = NULL;
  int rc = calls_begun(tinker_client_create_trainer_from_state(
                           client, path, with_optimizer, NULL),
                       &f);
  return trainer_of(well(rc, f));
}

/* Twenty steps, a falling loss; resumed with the optimizer the same bits
 * follow, without it others. */
Test(train, resumes_bit_for_bit) {
  double losses[20], on[3], again[3], fresh[3];
  tinker_future_t *f = NULL;
  const char *path;
  tinker_trainer_t *t = new_trainer();
  steps(t, 20, losses);
  cr_assert_lt(losses[19], 0.7 * losses[0], "%f %f", losses[0], losses[19]);
  int rc = calls_begun(tinker_trainer_save_state(t, "twenty", NULL, NULL), &f);
  cr_assert_eq(tinker_future_get_path(well(rc, f), &path), 0);
  steps(t, 3, on);
  tinker_trainer_t *u = resume(path, 1), *v = resume(path, 0);
  steps(u, 3, again);
  steps(v, 3, fresh);
  cr_assert_eq(memcmp(on, again, sizeof on), 0);
  cr_assert_eq(on[0], fresh[0]); /* the weights are the same */
  cr_assert_neq(on[2], fresh[2]);
  cr_assert_str_neq(tinker_trainer_model_id(t), tinker_trainer_model_id(u));
  tinker_future_release(f);
  tinker_trainer_release(t);
  tinker_trainer_release(u);
  tinker_trainer_release(v);
}

static void check_prompt(tinker_trainer_t *t, const float *prompt, size_t n) {
  const tinker_forward_result_t *r;
  tinker_tensor_view_t v;
  tinker_future_t *f = NULL;
  int rc = calls_begun(tinker_trainer_forward(t, view(), 1, NULL, NULL), &f);
  cr_assert_eq(tinker_future_get_forward(well(rc, f), &r), 0);
  cr_assert_eq(tinker_forward_result_tensor(r, 0, "logprobs", &v), 0);
  cr_assert(n == LEN + 1 && v.count == LEN && isnan(prompt[0]));
  cr_assert_eq(memcmp(prompt + 1, v.f32, LEN * sizeof(float)), 0);
  tinker_future_release(f);
}

static void draw(tinker_sampler_t *s, tinker_trainer_t *same_bits) {
  tinker_sampling_params_t o;
  tinker_input_t *p = NULL;
  tinker_future_t *f = NULL;
  const tinker_sample_result_t *r;
  size_t n;
  cr_assert_eq(tinker_input_new(&p, NULL, NULL), 0);
  cr_assert_eq(tinker_input_add_tokens(p, text[0], LEN + 1, NULL), 0);
  tinker_sampling_params_init(&o);
  o.max_tokens = 5;
  o.num_samples = 3;
  o.no_stop = 1;
  o.prompt_logprobs = 1;
  int rc = calls_begun(tinker_sampler_sample(s, p, &o, NULL), &f);
  cr_assert_eq(tinker_future_get_sample(well(rc, f), &r), 0);
  const tinker_sequence_t *q = tinker_sample_result_sequences(r, &n);
  cr_assert_eq(n, 3u);
  for (size_t i = 0; i < n; i++) {
    cr_assert(q[i].count == 5 && !q[i].stopped && q[i].logprobs &&
              q[i].sequence_id[0]);
  }
  const float *prompt = tinker_sample_result_prompt_logprobs(r, &n);
  if (same_bits) check_prompt(same_bits, prompt, n);
  tinker_future_release(f);
  tinker_input_release(p);
}

/* Samplers of all three kinds; prompt log-probabilities of the trained weights
 * equal those of forward to the bit. */
Test(train, samples) {
  double losses[5];
  tinker_future_t *f = NULL, *g = NULL;
  tinker_sampler_t *s = NULL;
  const char *path;
  tinker_trainer_t *t = new_trainer();
  steps(t, 5, losses);
  int rc = calls_begun(tinker_trainer_create_sampler(t, NULL), &f);
  cr_assert_eq(tinker_future_get_sampler(well(rc, f), &s), 0);
  draw(s, t);
  tinker_sampler_release(s);
  tinker_future_release(f);
  rc = calls_begun(
      tinker_trainer_save_weights_for_sampler(t, "five", NULL, NULL), &f);
  cr_assert_eq(tinker_future_get_path(well(rc, f), &path), 0);
  rc = calls_begun(tinker_client_create_sampler_from_path(client, path, NULL),
                   &g);
  cr_assert_eq(tinker_future_get_sampler(well(rc, g), &s), 0);
  draw(s, t);
  tinker_sampler_release(s);
  tinker_future_release(f);
  tinker_future_release(g);
  rc = calls_begun(tinker_client_create_sampler(client, MODEL, NULL), &f);
  cr_assert_eq(tinker_future_get_sampler(well(rc, f), &s), 0);
  draw(s, NULL);
  tinker_sampler_release(s);
  tinker_future_release(f);
  tinker_trainer_release(t);
}

/* More examples than one request carries: chunk 1 goes last, results come in
 * order and add up. */
Test(train, chunks) {
  enum { MANY = 1030 };
  static tinker_datum_t *many[MANY];
  const tinker_forward_result_t *r;
  tinker_tensor_view_t first, v;
  tinker_future_t *f = NULL;
  double loss, sum = 0;
  tinker_trainer_t *t = new_trainer();
  tinker_datum_t *small[BATCH];
  for (int i = 0; i < BATCH; i++) {
    cr_assert_eq(
        tinker_datum_new_supervised(&small[i], text[i], NULL, 3, NULL, NULL),
        0);
  }
  for (int i = 0; i < MANY; i++) many[i] = small[i % BATCH];
  int rc = calls_begun(tinker_trainer_forward(t, many, MANY, NULL, NULL), &f);
  cr_assert_eq(tinker_future_get_forward(well(rc, f), &r), 0);
  cr_assert_eq(tinker_forward_result_count(r), (size_t)MANY);
  for (size_t i = 0; i < MANY; i++) {
    cr_assert_eq(tinker_forward_result_tensor(r, i, "logprobs", &v), 0);
    cr_assert_eq(tinker_forward_result_tensor(r, i % BATCH, "logprobs", &first),
                 0);
    cr_assert(v.count == 2 && v.f32[0] == first.f32[0] &&
              v.f32[1] == first.f32[1]);
    sum -= (double)v.f32[0] + (double)v.f32[1];
  }
  cr_assert_eq(tinker_forward_result_metric(r, "loss:sum", &loss), 0);
  cr_assert_lt(fabs(loss - sum), 1e-4 * sum);
  tinker_future_release(f);
  for (int i = 0; i < BATCH; i++) tinker_datum_release(small[i]);
  tinker_trainer_release(t);
}

static void badly(tinker_future_t *f, const char *word) {
  int rc = tinker_future_wait(f, 120000);
  const tinker_error_t *e = tinker_future_error(f);
  cr_assert(rc < 0 && e);
  cr_assert(strstr(tinker_error_message(e), word), "%s",
            tinker_error_message(e));
  cr_assert(!tinker_error_is_fatal(e));
  tinker_future_release(f);
}

/* The service's own words reach the caller; the trainer goes on. */
Test(train, errors) {
  tinker_trainer_options_t o = TINKER_TRAINER_OPTIONS_INIT;
  double losses[1];
  o.base_model = "no-such-model";
  badly(tinker_client_create_trainer(client, &o, NULL), "no-such-model");
  badly(tinker_client_create_trainer_from_state(
            client, "tinker://no-run/weights/x", 1, NULL),
        "");
  tinker_trainer_t *t = new_trainer();
  static const int32_t outside[3] = {1, 2, 1000000};
  tinker_datum_t *d = NULL;
  cr_assert_eq(tinker_datum_new_supervised(&d, outside, NULL, 3, NULL, NULL),
               0);
  tinker_datum_t *bad[1] = {d};
  badly(tinker_trainer_forward_backward(t, bad, 1, NULL, NULL),
        "outside the vocabulary");
  /* Its step ends with an optim_step that moves nothing; the next one is as
   * any other. */
  badly(tinker_trainer_optim_step(t, NULL, NULL), "optim_step was not sent");
  steps(t, 1, losses);
  tinker_datum_release(d);
  tinker_trainer_release(t);
}

/* A forked child may only release; the parent goes on. */
Test(train, fork) {
  double losses[1];
  tinker_trainer_t *t = new_trainer();
  pid_t pid = fork();
  cr_assert_geq(pid, 0);
  if (pid == 0) {
    alarm(60);
    tinker_trainer_release(t);
    _exit(tinker_client_release(client) ? 1 : 0);
  }
  int status = -1;
  cr_assert_eq(waitpid(pid, &status, 0), pid);
  cr_assert(WIFEXITED(status) && WEXITSTATUS(status) == 0, "%d", status);
  steps(t, 1, losses);
  tinker_trainer_release(t);
}

static atomic_int called;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static bool drained;

static void on_sample(tinker_future_t *f, int status, void *user) {
  (void)user;
  cr_assert_eq(status, 0, "%s", tinker_error_message(tinker_future_error(f)));
  atomic_fetch_add(&called, 1);
}

static void on_drained(tinker_future_t *f, int status, void *user) {
  (void)f;
  (void)user;
  cr_assert(status == 0 && atomic_load(&called) == 100);
  pthread_mutex_lock(&lock);
  drained = true;
  pthread_cond_signal(&changed);
  pthread_mutex_unlock(&lock);
}

/* A hundred samples at once, each callback once, then drained. */
Test(train, drains) {
  tinker_future_t *f = NULL;
  tinker_sampler_t *s = NULL;
  tinker_input_t *p = NULL;
  tinker_sampling_params_t o;
  int rc = calls_begun(tinker_client_create_sampler(client, MODEL, NULL), &f);
  cr_assert_eq(tinker_future_get_sampler(well(rc, f), &s), 0);
  tinker_future_release(f);
  cr_assert_eq(tinker_input_new(&p, NULL, NULL), 0);
  cr_assert_eq(tinker_input_add_tokens(p, text[1], LEN, NULL), 0);
  tinker_sampling_params_init(&o);
  o.max_tokens = 4;
  for (int i = 0; i < 100; i++) {
    cr_assert_eq(calls_begun(tinker_sampler_sample(
                                 s, p, &o, CALLS_WITH(NULL, on_sample, NULL)),
                             NULL),
                 0);
  }
  cr_assert_eq(
      calls_begun(tinker_client_drain(client, CALLS_WITH(CALLS_TIMEOUT(120000),
                                                         on_drained, NULL)),
                  NULL),
      0);
  tinker_input_release(p);
  tinker_sampler_release(s);
  pthread_mutex_lock(&lock);
  while (!drained) pthread_cond_wait(&changed, &lock);
  pthread_mutex_unlock(&lock);
}
