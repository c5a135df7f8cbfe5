/* train: some steps of training, made of callbacks only, so that the four
 * programs beside it differ in their loops alone. Nothing in here waits.
 *
 *   run_t run = {0};
 *   ... make run.client for the loop ...
 *   train(&run, tokenizer);
 *   ... turn the loop until run.over ...
 *   return finish_run(&run); */
#ifndef TRAIN_H
#define TRAIN_H

#include "../example.h"

enum { STEPS = 4 };

typedef struct run_s {
  tinker_client_t *client;
  tinker_trainer_t *trainer;
  tinker_datum_t *datum;
  int step;
  double loss[STEPS];
  int over; /* the client has closed: the loop may end */
} run_t;

static inline void on_closed(tinker_future_t *future, int status, void *user) {
  run_t *run = user;
  (void)future;
  check(status);
  run->over = 1;
}

static inline void begin_step(run_t *run);

static inline void on_optim(tinker_future_t *future, int status, void *user) {
  run_t *run = user;
  (void)future;
  check(status);
  if (++run->step < STEPS) {
    begin_step(run);
    return;
  }
  check(tinker_client_close(run->client, on_closed, run));
}

static inline void on_forward(tinker_future_t *future, int status, void *user) {
  run_t *run = user;
  check(status);
  const tinker_forward_result_t *result;
  check(tinker_future_get_forward(future, &result));
  run->loss[run->step] = loss_of(result);
  printf("step %d: loss %.4f\n", run->step + 1, run->loss[run->step]);
}

static inline void begin_step(run_t *run) {
  const tinker_datum_t *datum = run->datum;
  tinker_adam_params_t adam;
  tinker_adam_params_init(&adam);
  adam.learning_rate = 2e-3;
  check(tinker_trainer_forward_backward(run->trainer, &datum, 1, NULL, NULL,
                                        on_forward, run, NULL));
  check(tinker_trainer_optim_step(run->trainer, &adam, NULL, on_optim, run,
                                  NULL));
}

static inline void on_trainer(tinker_future_t *future, int status, void *user) {
  run_t *run = user;
  check(status);
  check(tinker_future_get_trainer(future, &run->trainer));
  begin_step(run);
}

static inline tinker_datum_t *new_example(const char *tokenizer_path,
                                          const char *text) {
  tinker_tokenizer_t *tokenizer = load_tokenizer(tokenizer_path);
  tinker_datum_t *datum = NULL;
  int32_t *ids = NULL;
  size_t n = 0;
  check(tinker_tokenizer_encode(tokenizer, text, strlen(text), 0, &ids, &n));
  check(tinker_datum_new_supervised(&datum, ids, NULL, n, NULL));
  tinker_tokenizer_free(tokenizer, ids);
  tinker_tokenizer_release(tokenizer);
  return datum;
}

static inline void train(run_t *run, const char *tokenizer) {
  tinker_trainer_options_t options;
  tinker_trainer_options_init(&options);
  options.base_model = example_model();
  options.rank = 8;
  options.seed = 1;
  options.has_seed = 1;
  run->datum = new_example(
      tokenizer, "bit bucket: The universal data sink, where lost data goes.");
  check(tinker_client_create_trainer(run->client, &options, NULL, on_trainer,
                                     run, NULL));
}

/* Releases everything; the program's exit status. */
static inline int finish_run(run_t *run) {
  tinker_datum_release(run->datum);
  tinker_trainer_release(run->trainer);
  tinker_client_release(run->client);
  return run->over && run->loss[STEPS - 1] < run->loss[0] ? 0 : 1;
}

/* A client that has no thread: the program turns it. */
static inline tinker_client_t *stepped_client(void) {
  tinker_client_t *client = NULL;
  char why[256] = "";
  tinker_client_options_t options;
  tinker_client_options_init(&options);
  options.mode = TINKER_RUN_STEP;
  options.log_cb = show;
  options.log_level = TINKER_LOG_WARNING;
  int rc = tinker_client_new(&client, &options, why, sizeof why);
  if (rc) fprintf(stderr, "%s\n", why);
  check(rc);
  return client;
}

#endif
