/* train: some steps of training, made of callbacks only, so that the programs
 * beside it differ in their loops alone. Nothing in here waits.
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
  const char *name;                 /* shown before each line; may be NULL */
  double rate;                      /* learning rate; 0 = 2e-3 */
  void (*ended)(struct run_s *run); /* NULL = end_client */
  tinker_trainer_t *trainer;
  tinker_datum_t *datum;
  int step;
  double loss[STEPS];
  int over; /* the client has closed: the loop may end */
} run_t;

/* The options of a call whose end is reported to cb. The client keeps its
 * future, so there is nothing to release. */
static inline tinker_call_options_t then(tinker_done_cb cb, run_t *run) {
  tinker_call_options_t call = TINKER_CALL_OPTIONS_INIT;
  call.cb = cb;
  call.user = run;
  call.detached = 1;
  return call;
}

static inline void on_closed(tinker_future_t *future, int status, void *user) {
  run_t *run = user;
  check_error(status, tinker_future_error(future));
  run->over = 1;
}

static inline void end_client(run_t *run) {
  tinker_call_options_t call = then(on_closed, run);
  tinker_future_release(tinker_client_close(run->client, &call));
}

static inline void begin_step(run_t *run);

static inline void on_step(tinker_future_t *future, int status, void *user) {
  run_t *run = user;
  check_error(status, tinker_future_error(future));
  check(tinker_future_loss(future, &run->loss[run->step]));
  printf("%sstep %d: loss %.4f\n", run->name ? run->name : "", run->step + 1,
         run->loss[run->step]);
  if (++run->step < STEPS) {
    begin_step(run);
  } else if (run->ended) {
    run->ended(run);
  } else {
    end_client(run);
  }
}

static inline void begin_step(run_t *run) {
  tinker_adam_params_t adam = TINKER_ADAM_PARAMS_INIT;
  tinker_call_options_t call = then(on_step, run);
  adam.learning_rate = run->rate > 0 ? run->rate : 2e-3;
  tinker_future_release(
      tinker_trainer_step(run->trainer, &run->datum, 1, NULL, &adam, &call));
}

static inline void on_trainer(tinker_future_t *future, int status, void *user) {
  run_t *run = user;
  check_error(status, tinker_future_error(future));
  check(tinker_future_get_trainer(future, &run->trainer));
  begin_step(run);
}

static inline void train(run_t *run, const char *tokenizer) {
  tinker_trainer_options_t options = TINKER_TRAINER_OPTIONS_INIT;
  tinker_call_options_t call = then(on_trainer, run);
  options.base_model = example_model();
  options.rank = 8;
  options.seed = 1;
  run->datum = new_example(
      tokenizer, "bit bucket: The universal data sink, where lost data goes.");
  tinker_future_release(
      tinker_client_create_trainer(run->client, &options, &call));
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
  tinker_error_t *error = NULL;
  tinker_client_options_t options = TINKER_CLIENT_OPTIONS_INIT;
  options.mode = TINKER_RUN_STEP;
  options.log_cb = show;
  options.log_level = TINKER_LOG_WARNING;
  check_made(tinker_client_new(&client, &options, &error), &error);
  return client;
}

#endif
