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

/* The same with the reason, if rc was there before the error was asked for. */
static inline void check_error(int rc, const tinker_error_t *error) {
  if (rc == TINKER_OK) return;
  fprintf(stderr, "%s: %s\n", tinker_code_name(rc),
          error ? tinker_error_message(error) : tinker_code_text(rc));
  exit(1);
}

/* The same around a call that sets the error. It gets the error's place, since
 * C evaluates the arguments of a function in any order. */
static inline void check_made(int rc, tinker_error_t *const *error) {
  check_error(rc, *error);
}

/* Waits for an operation and returns its future. A call that was refused has
 * ended already, so one check is enough. */
static inline tinker_future_t *await(tinker_future_t *future) {
  int rc = tinker_future_wait(future, -1);
  check_error(rc, tinker_future_error(future));
  return future;
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
  tinker_error_t *error = NULL;
  tinker_client_options_t options = TINKER_CLIENT_OPTIONS_INIT;
  options.log_cb = show;
  options.log_level = TINKER_LOG_WARNING;
  check_made(tinker_client_new(&client, &options, &error), &error);
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
  tinker_trainer_options_t options = TINKER_TRAINER_OPTIONS_INIT;
  options.base_model = example_model();
  options.rank = rank;
  options.seed = 1;
  return take_trainer(tinker_client_create_trainer(client, &options, NULL));
}

static inline tinker_sampler_t *take_sampler(tinker_future_t *future) {
  tinker_sampler_t *sampler = NULL;
  check(tinker_future_get_sampler(await(future), &sampler));
  tinker_future_release(future);
  return sampler;
}

static inline tinker_input_t *new_input(const int32_t *tokens, size_t n) {
  tinker_input_t *input = NULL;
  tinker_error_t *error = NULL;
  check_made(tinker_input_from_tokens(&input, tokens, n, NULL, &error), &error);
  return input;
}

/* Minus the sum of all log-probabilities: the loss of cross-entropy if every
 * weight is 1, for services that send neither loss nor its parts. */
static inline double minus_logprobs(const tinker_forward_result_t *result) {
  double sum = 0;
  tinker_tensor_view_t t;
  for (size_t i = 0; i < tinker_forward_result_count(result); i++) {
    check(tinker_forward_result_tensor(result, i, "logprobs", &t));
    for (size_t k = 0; k < t.count; k++) sum -= (double)t.f32[k];
  }
  return sum;
}

/* The loss of an operation that has to end well. */
static inline double loss_of(tinker_future_t *future) {
  double loss = 0;
  const tinker_forward_result_t *result = NULL;
  int rc = tinker_future_loss(await(future), &loss);
  if (rc != TINKER_ENOENT) {
    check(rc);
    return loss;
  }
  check(tinker_future_get_forward(future, &result));
  return minus_logprobs(result);
}

/* One whole step, waited for; returns its loss. For a loop that overlaps steps
 * see 02_train.c. */
static inline double whole_step(tinker_trainer_t *trainer,
                                tinker_datum_t *const *data, size_t n,
                                tinker_loss_kind_t kind, double rate) {
  tinker_loss_t loss = TINKER_LOSS_INIT;
  tinker_adam_params_t adam = TINKER_ADAM_PARAMS_INIT;
  loss.kind = kind;
  adam.learning_rate = rate;
  tinker_future_t *forward =
      tinker_trainer_forward_backward(trainer, data, n, &loss, NULL);
  finish(tinker_trainer_optim_step(trainer, &adam, NULL));
  double value = loss_of(forward);
  tinker_future_release(forward);
  return value;
}

static inline tinker_tokenizer_t *load_tokenizer(const char *path) {
  tinker_tokenizer_t *tokenizer = NULL;
  tinker_error_t *error = NULL;
  check_made(tinker_tokenizer_new_from_file(&tokenizer, path, NULL, &error),
             &error);
  return tokenizer;
}

/* A reward: the share of spaces in the text, high when words are short. */
static inline float short_words(const tinker_tokenizer_t *tokenizer,
                                const tinker_sequence_t *s) {
  char *text = NULL;
  size_t len = 0, spaces = 0;
  check(
      tinker_tokenizer_decode(tokenizer, s->tokens, s->count, 0, &text, &len));
  for (size_t i = 0; i < len; i++) spaces += text[i] == ' ';
  tinker_tokenizer_free(tokenizer, text);
  return len ? (float)spaces / (float)len : 0;
}

/* A made-up sequence of tokens, which depends on its number only. */
static inline tinker_datum_t *numbered_example(int number) {
  enum { LENGTH = 32 };
  int32_t tokens[LENGTH];
  tinker_datum_t *datum = NULL;
  for (int i = 0; i < LENGTH; i++) tokens[i] = 10 + (i * 7 + number) % 50;
  check(tinker_datum_new_supervised(&datum, tokens, NULL, LENGTH, NULL, NULL));
  return datum;
}

/* A text as an example to learn. */
static inline tinker_datum_t *new_example(const char *tokenizer_path,
                                          const char *text) {
  tinker_tokenizer_t *tokenizer = load_tokenizer(tokenizer_path);
  tinker_datum_t *datum = NULL;
  tinker_error_t *error = NULL;
  int32_t *ids = NULL;
  size_t n = 0;
  check(tinker_tokenizer_encode(tokenizer, text, strlen(text), 0, &ids, &n));
  check_made(tinker_datum_new_supervised(&datum, ids, NULL, n, NULL, &error),
             &error);
  tinker_tokenizer_free(tokenizer, ids);
  tinker_tokenizer_release(tokenizer);
  return datum;
}

#endif
