/* 03 resume: save a run with its optimizer, go on, then do the same steps
 * again from the checkpoint in a new session: every loss is the same number,
 * to the last bit.
 * (TINKER_BASE_URL says where the service is, TINKER_MODEL which model) */
#include "example.h"

enum { BEFORE = 3, AFTER = 4 };

/* One step; its data depend on its number. */
static double step(tinker_trainer_t *trainer, int number) {
  tinker_datum_t *datum = numbered_example(number);
  double loss = whole_step(trainer, &datum, 1, TINKER_LOSS_CROSS_ENTROPY, 1e-3);
  tinker_datum_release(datum);
  return loss;
}

int main(void) {
  const char *path = NULL;
  double loss[AFTER];
  int differ = 0;

  tinker_client_t *client = connect_service();
  tinker_trainer_t *trainer = new_trainer(client, 4);
  for (int i = 0; i < BEFORE; i++) step(trainer, i);
  tinker_future_t *saved =
      tinker_trainer_save_state(trainer, "checkpoint", NULL, NULL);
  for (int i = 0; i < AFTER; i++) loss[i] = step(trainer, BEFORE + i);
  check(tinker_future_get_path(await(saved), &path));
  printf("saved as %s\n", path);

  /* 1 = with the optimizer. With 0 the losses soon differ. */
  tinker_client_t *second = connect_service();
  tinker_trainer_t *resumed = take_trainer(
      tinker_client_create_trainer_from_state(second, path, 1, NULL));
  for (int i = 0; i < AFTER; i++) {
    double now = step(resumed, BEFORE + i);
    printf("step %d: %a, resumed %a\n", BEFORE + i + 1, loss[i], now);
    differ += now != loss[i];
  }
  tinker_future_release(saved);
  tinker_trainer_release(trainer);
  tinker_trainer_release(resumed);
  tinker_client_release(client);
  tinker_client_release(second);
  check(tinker_shutdown(-1));
  return differ == 0 ? 0 : 1;
}
