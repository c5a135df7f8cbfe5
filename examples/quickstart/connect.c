/* connect: the calls of libtinker that every worker makes. One thread; it
 * waits, so no callback but the log is used. The service is found by
 * TINKER_BASE_URL. */
#include <stdlib.h>

#include "quick.h"

void quick_check(int rc, const char *what) {
  if (rc != TINKER_OK) quick_die("%s: %s", what, tinker_code_text(rc));
}

/* A service that ends early would else be waited for in silence. */
static void show(void *user, tinker_log_level_t level, const char *component,
                 const char *message) {
  (void)user;
  fprintf(stderr, "quickstart: %s: %s: %s\n", tinker_log_level_name(level),
          component, message);
}

tinker_client_t *quick_connect(void) {
  tinker_client_t *client = NULL;
  tinker_error_t *error = NULL;
  tinker_client_options_t options = TINKER_CLIENT_OPTIONS_INIT;
  options.log_cb = show;
  options.log_level = TINKER_LOG_WARNING;
  if (tinker_client_new(&client, &options, &error) != TINKER_OK) {
    quick_die("client: %s", tinker_error_message(error));
  }
  return client;
}

void quick_disconnect(tinker_client_t *client) {
  tinker_call_options_t call = TINKER_CALL_OPTIONS_INIT;
  call.timeout_ms = 10000;
  tinker_future_t *drained = tinker_client_drain(client, &call);
  quick_await(drained, "drain");
  tinker_future_release(drained);
  tinker_client_release(client);
  quick_check(tinker_shutdown(10000), "shutdown");
}

void quick_await(tinker_future_t *future, const char *what) {
  int rc = tinker_future_wait(future, -1);
  if (rc != TINKER_OK) {
    quick_die("%s: %s: %s", what, tinker_code_text(rc),
              tinker_error_message(tinker_future_error(future)));
  }
}

tinker_trainer_t *quick_take_trainer(tinker_future_t *future) {
  tinker_trainer_t *trainer = NULL;
  quick_await(future, "create a trainer");
  quick_check(tinker_future_get_trainer(future, &trainer), "trainer");
  tinker_future_release(future);
  return trainer;
}

/* Hands a whole step to the service; the numbers that the calls get keep the
 * order, so nothing has to be waited for in between. */
void quick_step_submit(quick_step_t *step, tinker_trainer_t *trainer,
                       const quick_corpus_t *corpus, int number, size_t size,
                       double rate) {
  quick_batch_t batch;
  tinker_adam_params_t adam = TINKER_ADAM_PARAMS_INIT;
  adam.learning_rate = rate;
  quick_batch_fill(&batch, corpus, number, size);
  step->number = number;
  step->tokens = batch.tokens;
  step->forward = tinker_trainer_forward_backward(trainer, batch.data,
                                                  batch.size, NULL, NULL);
  step->optim = tinker_trainer_optim_step(trainer, &adam, NULL);
}

const tinker_forward_result_t *quick_step_await(quick_step_t *step) {
  const tinker_forward_result_t *result = NULL;
  quick_await(step->forward, "forward_backward");
  quick_await(step->optim, "optim_step");
  quick_check(tinker_future_get_forward(step->forward, &result), "result");
  return result;
}

void quick_step_free(quick_step_t *step) {
  step->forward = tinker_future_release(step->forward);
  step->optim = tinker_future_release(step->optim);
}

double quick_metric(const tinker_forward_result_t *result, const char *name) {
  double value = 0;
  quick_check(tinker_forward_result_metric(result, name, &value), name);
  return value;
}
