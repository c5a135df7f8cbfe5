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
  tinker_local_options_t options;
  char why[256] = "";
  const char *name = example_model();
  tinker_local_options_init(&options);
  options.model_dirs = &model_dir;
  options.model_names = &name;
  options.model_count = 1;
  if (tinker_local_start(&local, &options, why, sizeof why) != TINKER_OK) {
    fprintf(stderr, "%s\n", why);
    exit(1);
  }
  return local;
}

static tinker_client_t *connect_to(const tinker_local_t *local) {
  tinker_client_t *client = NULL;
  tinker_client_options_t options;
  char why[256] = "";
  tinker_client_options_init(&options);
  options.base_url = tinker_local_endpoint(local);
  if (tinker_client_new(&client, &options, why, sizeof why) != TINKER_OK) {
    fprintf(stderr, "%s\n", why);
    exit(1);
  }
  return client;
}

static tinker_datum_t *make_example(const char *model_dir) {
  char path[4096];
  tinker_datum_t *datum = NULL;
  int32_t *ids = NULL;
  size_t n = 0;
  snprintf(path, sizeof path, "%s/tokenizer.json", model_dir);
  tinker_tokenizer_t *tokenizer = load_tokenizer(path);
  check(tinker_tokenizer_encode(tokenizer, text, strlen(text), 0, &ids, &n));
  check(tinker_datum_new_supervised(&datum, ids, NULL, n, NULL));
  tinker_tokenizer_free(tokenizer, ids);
  tinker_tokenizer_release(tokenizer);
  return datum;
}

int main(int argc, char **argv) {
  double first = 0, loss = 0;
  if (argc != 2) return fprintf(stderr, "usage: 06_inside MODEL_DIR\n"), 2;
  tinker_local_t *local = start_service(argv[1]);
  tinker_client_t *client = connect_to(local);
  tinker_trainer_t *trainer = new_trainer(client, 8);
  tinker_datum_t *datum = make_example(argv[1]);

  for (int i = 0; i < STEPS; i++) {
    tinker_future_t *step =
        whole_step(trainer, &datum, 1, TINKER_LOSS_CROSS_ENTROPY, 2e-3);
    const tinker_forward_result_t *result = NULL;
    check(tinker_future_get_forward(step, &result));
    loss = loss_of(result);
    tinker_future_release(step);
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
