/* 02 train: a supervised loop that keeps the service busy. The next step is
 * submitted before the present one has ended, so the service never waits for
 * this program; the order of the calls is the order of execution.
 *
 * usage: 02_train TOKENIZER_JSON
 * (TINKER_BASE_URL says where, TINKER_MODEL which model) */
#include "example.h"

enum { STEPS = 8 };
static const char text[] =
    "bit bucket: The universal data sink, where lost data goes.";

static tinker_future_t *submit(tinker_trainer_t *trainer,
                               tinker_datum_t *datum) {
  tinker_adam_params_t adam = TINKER_ADAM_PARAMS_INIT;
  adam.learning_rate = 2e-3;
  return tinker_trainer_step(trainer, &datum, 1, NULL, &adam, NULL);
}

int main(int argc, char **argv) {
  tinker_future_t *steps[STEPS];
  double loss[STEPS];

  if (argc != 2) return fprintf(stderr, "usage: 02_train TOKENIZER_JSON\n"), 2;
  tinker_datum_t *datum = new_example(argv[1], text);
  tinker_client_t *client = connect_service();
  tinker_trainer_t *trainer = new_trainer(client, 8);

  steps[0] = submit(trainer, datum);
  for (int i = 0; i < STEPS; i++) {
    if (i + 1 < STEPS) {
      steps[i + 1] = submit(trainer, datum); /* before step i has ended */
    }
    loss[i] = loss_of(steps[i]);
    tinker_future_release(steps[i]);
    printf("step %d: loss %.4f\n", i + 1, loss[i]);
  }
  tinker_datum_release(datum);
  tinker_trainer_release(trainer);
  tinker_client_release(client);
  check(tinker_shutdown(-1));
  return loss[STEPS - 1] < loss[0] ? 0 : 1;
}
