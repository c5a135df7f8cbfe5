/* 07 rollouts: many samples at once, gathered in callbacks as they end. Each
 * call carries a pointer to its rollout; its callback scores what was sampled
 * and begins another one, so WIDTH of them are under way all the time and
 * nobody waits for them in order. 05_rl.c shows how a model learns from them.
 *
 * usage: 07_rollouts TOKENIZER_JSON     (TINKER_BASE_URL, TINKER_MODEL) */
#include <pthread.h>

#include "example.h"

enum { ROLLOUTS = 48, WIDTH = 12, LENGTH = 20 };

typedef struct gather_s {
  tinker_sampler_t *sampler;
  tinker_tokenizer_t *tokenizer;
  tinker_input_t *prompt;
  pthread_mutex_t lock;
  pthread_cond_t over;
  int ended; /* under the lock: the callbacks run on another thread than main */
} gather_t;

typedef struct rollout_s {
  gather_t *gather;
  int number;
  float reward;
  tinker_future_t *future; /* owns what was sampled */
} rollout_t;

static float score(const tinker_tokenizer_t *t, tinker_future_t *future) {
  const tinker_sample_result_t *result = NULL;
  size_t n = 0;
  check(tinker_future_get_sample(future, &result));
  return short_words(t, tinker_sample_result_sequences(result, &n));
}

static void begin(rollout_t *r);

static void on_sample(tinker_future_t *future, int status, void *user) {
  rollout_t *r = user;
  gather_t *g = r->gather;
  check_error(status, tinker_future_error(future));
  r->future = tinker_future_retain(future);
  r->reward = score(g->tokenizer, future);
  if (r->number + WIDTH < ROLLOUTS) begin(r + WIDTH);
  pthread_mutex_lock(&g->lock);
  if (++g->ended == ROLLOUTS) pthread_cond_signal(&g->over);
  pthread_mutex_unlock(&g->lock);
}

static void begin(rollout_t *r) {
  tinker_sampling_params_t params = TINKER_SAMPLING_PARAMS_INIT;
  tinker_call_options_t call = TINKER_CALL_OPTIONS_INIT;
  params.max_tokens = LENGTH;
  params.seed = r->number; /* so that this program always prints the same */
  call.cb = on_sample;
  call.user = r;
  call.detached = 1; /* the callback gets the future: nothing to release here */
  tinker_future_t *future = tinker_sampler_sample(
      r->gather->sampler, r->gather->prompt, &params, &call);
  /* Anything else is a failure that no callback can report: no memory. */
  if (tinker_future_status(future) != TINKER_EAGAIN) finish(future);
}

static void gather(gather_t *g, rollout_t *r) {
  for (int i = 0; i < ROLLOUTS; i++) r[i] = (rollout_t){g, i, 0, NULL};
  for (int i = 0; i < WIDTH; i++) begin(&r[i]);
  pthread_mutex_lock(&g->lock);
  while (g->ended < ROLLOUTS) pthread_cond_wait(&g->over, &g->lock);
  pthread_mutex_unlock(&g->lock);
}

int main(int argc, char **argv) {
  rollout_t r[ROLLOUTS];
  gather_t g = {.lock = PTHREAD_MUTEX_INITIALIZER,
                .over = PTHREAD_COND_INITIALIZER};
  int32_t prompt = 0;
  float sum = 0;
  if (argc != 2) {
    return fprintf(stderr, "usage: 07_rollouts TOKENIZER_JSON\n"), 2;
  }
  g.tokenizer = load_tokenizer(argv[1]);
  check(tinker_tokenizer_token_id(g.tokenizer, " And", 4, &prompt));
  g.prompt = new_input(&prompt, 1);
  tinker_client_t *client = connect_service();
  g.sampler =
      take_sampler(tinker_client_create_sampler(client, example_model(), NULL));
  gather(&g, r);
  for (int i = 0; i < ROLLOUTS; i++) {
    sum += r[i].reward;
    tinker_future_release(r[i].future);
  }
  printf("%d rollouts, mean reward %.4f\n", g.ended, (double)sum / ROLLOUTS);
  tinker_sampler_release(g.sampler);
  tinker_input_release(g.prompt);
  tinker_client_release(client);
  tinker_tokenizer_release(g.tokenizer);
  check(tinker_shutdown(-1));
  return sum > 0 ? 0 : 1;
}
