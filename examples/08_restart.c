/* 08 restart: a training loop that may be killed at any moment and started
 * again with the same command. It keeps one line in a file: how many steps are
 * in the last checkpoint, and where that is. If the service loses the session
 * or the model meanwhile, it goes back to that checkpoint by itself.
 *
 * usage: 08_restart FILE [STEP]     kills itself in STEP, to be tried out
 * (TINKER_BASE_URL says where the service is, TINKER_MODEL which model) */
#include <signal.h>

#include "progress.h"

enum { STEPS = 12, EVERY = 4, TRIES = 5 };
enum { AGAIN = 1, STOP = 2 };

/* Can the checkpoint help? Otherwise somebody has to mend something. */
static int judge(const tinker_error_t *e) {
  int code = tinker_error_code(e);
  fprintf(stderr, "%s\n", tinker_error_message(e));
  if (tinker_error_needs_recovery(e) || tinker_error_is_retriable(e) ||
      tinker_error_outcome_is_unknown(e) || code == TINKER_ESESSION ||
      tinker_error_category(e) == TINKER_CATEGORY_SERVER) {
    return AGAIN;
  }
  return STOP;
}

static int ended(tinker_future_t *future) {
  if (!tinker_future_wait(future, -1)) return 0;
  return judge(tinker_future_error(future));
}

static int step(tinker_trainer_t *trainer, int number, int kill_at) {
  tinker_datum_t *datum = numbered_example(number);
  tinker_future_t *forward =
      tinker_trainer_forward_backward(trainer, &datum, 1, NULL, NULL);
  tinker_future_t *optim = tinker_trainer_optim_step(trainer, NULL, NULL);
  if (number == kill_at) raise(SIGKILL);
  int rc = ended(forward);
  if (!rc) rc = ended(optim);
  if (!rc) printf("step %d: loss %a\n", number, loss_of(forward));
  tinker_datum_release(datum);
  tinker_future_release(forward);
  tinker_future_release(optim);
  return rc;
}

static int checkpoint(tinker_trainer_t *trainer, int number, progress_t *p) {
  char name[32];
  const char *path = NULL;
  snprintf(name, sizeof name, "step-%d", number);
  tinker_future_t *saved = tinker_trainer_save_state(trainer, name, NULL, NULL);
  int rc = ended(saved);
  if (!rc) {
    check(tinker_future_get_path(saved, &path));
    progress_store(p, number, path);
  }
  tinker_future_release(saved);
  return rc;
}

/* From the last checkpoint, or from the beginning, to the end. */
static int train(tinker_client_t *client, progress_t *p, int kill_at) {
  tinker_trainer_t *trainer = NULL;
  tinker_trainer_options_t options = TINKER_TRAINER_OPTIONS_INIT;
  options.base_model = example_model();
  options.rank = 4;
  options.seed = 1; /* so that the beginning is always the same */
  tinker_future_t *made =
      p->steps
          ? tinker_client_create_trainer_from_state(client, p->path, 1, NULL)
          : tinker_client_create_trainer(client, &options, NULL);
  int rc = ended(made);
  if (!rc) check(tinker_future_get_trainer(made, &trainer));
  if (!rc) printf("goes on after %d steps\n", p->steps);
  for (int i = p->steps + 1; !rc && i <= STEPS; i++) {
    rc = step(trainer, i, kill_at);
    if (!rc && i % EVERY == 0) rc = checkpoint(trainer, i, p);
  }
  tinker_future_release(made);
  tinker_trainer_release(trainer);
  return rc;
}

int main(int argc, char **argv) {
  int rc = AGAIN;
  if (argc < 2) return fprintf(stderr, "usage: 08_restart FILE [STEP]\n"), 2;
  progress_t p = progress_load(argv[1]);
  setvbuf(stdout, NULL, _IOLBF, 0); /* what was printed survives a kill */
  for (int tries = 0; rc == AGAIN && tries < TRIES; tries++) {
    int before = p.steps;
    tinker_client_t *client = connect_service(); /* has a session of its own */
    rc = train(client, &p, argc > 2 ? (int)strtol(argv[2], NULL, 10) : 0);
    tinker_client_release(client);
    if (p.steps > before) tries = 0;
  }
  check(tinker_shutdown(-1));
  return rc;
}
