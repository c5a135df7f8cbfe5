/* 06 inside: a training program that brings its own service. The service runs
 * inside this process and ends with it: no daemon, no key, no path of a socket
 * to choose. Everything else is as with the service far away.
 *
 * usage: 06_inside MODEL_DIR */
#include <tinker/local.h>

#include "example.h"

enum { STEPS = 6 };
static const char text[] =
    "bit bucket: The universal data sink, where lost data goes.";

static tinker_local_t *start_service(const char *model_dir) {
  tinker_local_t *local = NULL;
  tinker_error_t *error = NULL;
  const char *name = example_model();
  tinker_local_options_t options = TINKER_LOCAL_OPTIONS_INIT;
  options.model_dirs = &model_dir;
  options.model_names = &name;
  options.model_count = 1;
  check_made(tinker_local_start(&local, &options, &error), &error);
  return local;
}

static tinker_client_t *connect_to(const tinker_local_t *local) {
  tinker_client_t *client = NULL;
  tinker_error_t *error = NULL;
  tinker_client_options_t options = TINKER_CLIENT_OPTIONS_INIT;
  options.base_url = tinker_local_endpoint(local);
  check_made(tinker_client_new(&client, &options, &error), &error);
  return client;
}

static tinker_datum_t *make_example(const char *model_dir) {
  char path[4096];
  snprintf(path, sizeof path, "%s/tokenizer.json", model_dir);
  return new_example(path, text);
}

int main(int argc, char **argv) {
  double first = 0, loss = 0;
  if (argc != 2) return fprintf(stderr, "usage: 06_inside MODEL_DIR\n"), 2;
  tinker_local_t *local = start_service(argv[1]);
  tinker_client_t *client = connect_to(local);
  tinker_trainer_t *trainer = new_trainer(client, 8);
  tinker_datum_t *datum = make_example(argv[1]);

  for (int i = 0; i < STEPS; i++) {
    loss = whole_step(trainer, &datum, 1, TINKER_LOSS_CROSS_ENTROPY, 2e-3);
    if (i == 0) first = loss;
    printf("step %d: loss %.4f\n", i + 1, loss);
  }
  tinker_datum_release(datum);
  tinker_trainer_release(trainer);
  tinker_client_release(client);
  check(tinker_shutdown(-1)); /* the client is gone before its service is */
  check(tinker_local_stop(local));
  return loss < first ? 0 : 1;
}
