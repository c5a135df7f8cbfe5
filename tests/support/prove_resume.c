/* prove_resume: a training loop of its own that asks for proofs of its
 * checkpoints, for tests/e2e/recover_proof.py. On the service that
 * TINKER_BASE_URL names it trains, saves, asks for the live model's
 * fingerprint, has the checkpoint proven, and trains on with the live model.
 *
 * usage: prove_resume PROOFS STEPS [step]
 *
 * STEPS steps are taken before the save; "step": the client is in step mode.
 * Prints a line for each proof and for the loss of each step. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <tinker/recovery_prove.h>

static void fail(const char *what, const tinker_error_t *error) {
  fprintf(stderr, "%s: %s\n", what, error ? tinker_error_message(error) : "");
  _Exit(1);
}

static tinker_future_t *await(const char *what, tinker_future_t *future) {
  if (tinker_future_wait(future, -1) != 0) {
    fail(what, tinker_future_error(future));
  }
  return future;
}

static tinker_client_t *connect_service(int steps_itself) {
  tinker_client_t *client = NULL;
  tinker_error_t *error = NULL;
  tinker_client_options_t o = TINKER_CLIENT_OPTIONS_INIT;
  o.mode = steps_itself ? TINKER_RUN_STEP : TINKER_RUN_BACKGROUND;
  if (tinker_client_new(&client, &o, &error) != 0) fail("client", error);
  return client;
}

static tinker_trainer_t *new_trainer(tinker_client_t *client) {
  tinker_trainer_t *trainer = NULL;
  tinker_trainer_options_t o = TINKER_TRAINER_OPTIONS_INIT;
  o.base_model = getenv("TINKER_MODEL");
  o.rank = 4;
  o.seed = 1;
  tinker_future_t *made =
      await("create", tinker_client_create_trainer(client, &o, NULL));
  tinker_future_get_trainer(made, &trainer);
  tinker_future_release(made);
  return trainer;
}

static void train(tinker_trainer_t *trainer, int from, int n) {
  for (int step = from; step < from + n; step++) {
    double loss = 0;
    int32_t tokens[8];
    tinker_datum_t *datum = NULL;
    for (int i = 0; i < 8; i++) tokens[i] = (step * 7 + i * 3) % 50;
    tinker_datum_new_supervised(&datum, tokens, NULL, 8, NULL, NULL);
    tinker_future_t *future = await(
        "step", tinker_trainer_step(trainer, &datum, 1, NULL, NULL, NULL));
    tinker_future_loss(future, &loss);
    printf("step %d: loss %a\n", step, loss);
    tinker_future_release(future);
    tinker_datum_release(datum);
  }
}

static void save(tinker_trainer_t *trainer, const char *name, char path[1024],
                 float fingerprint[TINKER_FINGERPRINT_LEN]) {
  const char *saved = NULL;
  tinker_future_t *future =
      await("save", tinker_trainer_save_state(trainer, name, NULL, NULL));
  tinker_future_get_path(future, &saved);
  snprintf(path, 1024, "%s", saved);
  tinker_future_release(future);
  future = await("fingerprint", tinker_trainer_fingerprint(trainer, NULL));
  tinker_future_get_fingerprint(future, fingerprint);
  tinker_future_release(future);
}

static void prove(tinker_client_t *client, const char *path,
                  const tinker_prove_options_t *o) {
  const tinker_resume_proof_t *p = NULL;
  tinker_future_t *future = tinker_client_prove_resume(client, path, o, NULL);
  int rc = tinker_future_wait(future, -1);
  if (rc == 0 && tinker_future_get_resume_proof(future, &p) == 0) {
    printf("proof %d: noise %a, optimizer %a\n", p->level, p->noise,
           p->optimizer);
  } else {
    printf("%s: %s\n", tinker_code_name(rc),
           tinker_error_message(tinker_future_error(future)));
  }
  tinker_future_release(future);
}

int main(int argc, char **argv) {
  char path[1024];
  float fingerprint[TINKER_FINGERPRINT_LEN];
  tinker_prove_options_t o = TINKER_PROVE_OPTIONS_INIT;
  if (argc < 3) return 2;
  int proofs = atoi(argv[1]), steps = atoi(argv[2]);
  tinker_client_t *client =
      connect_service(argc > 3 && !strcmp(argv[3], "step"));
  tinker_trainer_t *trainer = new_trainer(client);
  save(trainer, "first", path, fingerprint); /* there is an older state */
  train(trainer, 1, steps);
  save(trainer, "last", path, fingerprint);
  o.steps_taken = steps;
  o.expected = fingerprint;
  for (int i = 0; i < proofs; i++) prove(client, path, &o);
  train(trainer, steps + 1, 2);
  tinker_trainer_release(trainer);
  tinker_client_release(client);
  return 0;
}
