/* example: the lines that every example needs and none is about. Errors end
 * the program with a sentence; a real program decides better. */
#ifndef EXAMPLE_H
#define EXAMPLE_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <tinker/tinker.h>

/* The base model: the environment variable TINKER_MODEL, or the demo's. */
static inline const char *example_model(void) {
  const char *name = getenv("TINKER_MODEL");
  return name && *name ? name : "tiny-kjv";
}

static inline void check(int rc) {
  if (rc == TINKER_OK) return;
  fprintf(stderr, "%s: %s\n", tinker_code_name(rc), tinker_code_text(rc));
  exit(1);
}

/* Waits for an operation and returns its future. */
static inline tinker_future_t *await(tinker_future_t *future) {
  int rc = tinker_future_wait(future, -1);
  if (rc == TINKER_OK) return future;
  fprintf(stderr, "%s: %s\n", tinker_code_name(rc),
          tinker_error_message(tinker_future_error(future)));
  exit(1);
}

/* The same where the result does not matter. */
static inline void finish(tinker_future_t *future) {
  tinker_future_release(await(future));
}

/* Shows warnings: why a call has to wait, for example. A service that can't be
 * reached is tried for five minutes before a call fails. */
static inline void show(void *user, tinker_log_level_t level,
                        const char *component, const char *message) {
  (void)user;
  fprintf(stderr, "%s: %s: %s\n", tinker_log_level_name(level), component,
          message);
}

/* A client of the service that the environment variable TINKER_BASE_URL
 * names, for example unix:/tmp/tinker.sock. */
static inline tinker_client_t *connect_service(void) {
  tinker_client_t *client = NULL;
  tinker_client_options_t options;
  char why[256] = "";
  tinker_client_options_init(&options);
  options.log_cb = show;
  options.log_level = TINKER_LOG_WARNING;
  if (tinker_client_new(&client, &options, why, sizeof why) != TINKER_OK) {
    const char *url = getenv("TINKER_BASE_URL");
    fprintf(stderr, "%s (TINKER_BASE_URL is %s)\n", why,
            url ? url : "not set: the public service");
    exit(1);
  }
  return client;
}

static inline tinker_trainer_t *take_trainer(tinker_future_t *future) {
  tinker_trainer_t *trainer = NULL;
  check(tinker_future_get_trainer(await(future), &trainer));
  tinker_future_release(future);
  return trainer;
}

static inline tinker_trainer_t *new_trainer(tinker_client_t *client,
                                            uint32_t rank) {
  tinker_future_t *future = NULL;
  tinker_trainer_options_t options;
  tinker_trainer_options_init(&options);
  options.base_model = example_model();
  options.rank = rank;
  options.seed = 1;
  options.has_seed = 1;
  check(tinker_client_create_trainer(client, &options, NULL, NULL, NULL,
                                     &future));
  return take_trainer(future);
}

static inline tinker_sampler_t *take_sampler(tinker_future_t *future) {
  tinker_sampler_t *sampler = NULL;
  check(tinker_future_get_sampler(await(future), &sampler));
  tinker_future_release(future);
  return sampler;
}

static inline tinker_input_t *new_input(const int32_t *tokens, size_t n) {
  tinker_input_t *input = NULL;
  check(tinker_input_new(&input, NULL));
  check(tinker_input_add_tokens(input, tokens, n));
  return input;
}

/* One whole step, waited for. Returns the future of its first half, which
 * holds the loss. For a loop that overlaps steps see 02_train.c. */
static inline tinker_future_t *whole_step(tinker_trainer_t *trainer,
                                          tinker_datum_t *const *data, size_t n,
                                          int kind, double rate) {
  tinker_future_t *forward = NULL, *optim = NULL;
  tinker_loss_t loss;
  tinker_adam_params_t adam;
  tinker_loss_init(&loss);
  loss.kind = kind;
  tinker_adam_params_init(&adam);
  adam.learning_rate = rate;
  check(tinker_trainer_forward_backward(trainer,
                                        (const tinker_datum_t *const *)data, n,
                                        &loss, NULL, NULL, NULL, &forward));
  check(tinker_trainer_optim_step(trainer, &adam, NULL, NULL, NULL, &optim));
  finish(optim);
  return await(forward);
}

/* Sums a tensor over all examples; 0 if one of them does not have it. */
static inline int add_up(const tinker_forward_result_t *result,
                         const char *name, double factor, double *sum) {
  tinker_tensor_view_t tensor;
  size_t n = tinker_forward_result_count(result);
  *sum = 0;
  for (size_t i = 0; i < n; i++) {
    int rc = tinker_forward_result_tensor(result, i, name, &tensor);
    if (rc != TINKER_OK || (tensor.count && !tensor.f32)) return 0;
    for (size_t k = 0; k < tensor.count; k++) {
      *sum += factor * (double)tensor.f32[k];
    }
  }
  return n > 0;
}

/* The loss of a step. Not every service sends the metric "loss:sum"; the
 * losses of the tokens sum up to the same, and so do their negative
 * log-probabilities where the loss is cross-entropy and every weight is 1. */
static inline double loss_of(const tinker_forward_result_t *result) {
  double loss = 0;
  if (tinker_forward_result_metric(result, "loss:sum", &loss) == TINKER_OK ||
      add_up(result, "elementwise_loss", 1, &loss) ||
      add_up(result, "logprobs", -1, &loss)) {
    return loss;
  }
  fprintf(stderr, "the result has no metric \"loss:sum\", and neither "
                  "elementwise_loss nor logprobs to sum instead\n");
  exit(1);
}

static inline tinker_tokenizer_t *load_tokenizer(const char *path) {
  tinker_tokenizer_t *tokenizer = NULL;
  char why[256] = "";
  if (tinker_tokenizer_new_from_file(&tokenizer, path, NULL, why, sizeof why) !=
      TINKER_OK) {
    fprintf(stderr, "%s: %s\n", path, why);
    exit(1);
  }
  return tokenizer;
}

#endif
