/* recover_release: a run that is given back while it goes back to a checkpoint
 * and its service does not answer, for tests/e2e/recover_proof.py.
 *
 * usage: recover_release FOLDER EVENT
 *
 * Trains until a step fails, asks for the next one, and releases the run as
 * soon as it has said EVENT. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <tinker/recovery.h>

typedef struct {
  pthread_mutex_t lock;
  pthread_cond_t said;
  char wanted[64];
  int seen;
} listener_t;

static int is_in(const char *line, size_t len, const char *word) {
  size_t n = strlen(word);
  for (size_t i = 0; i + n <= len; i++) {
    if (memcmp(line + i, word, n) == 0) return 1;
  }
  return 0;
}

static void on_event(void *user, const char *line, size_t len) {
  listener_t *l = user;
  pthread_mutex_lock(&l->lock);
  l->seen |= is_in(line, len, l->wanted);
  pthread_cond_signal(&l->said);
  pthread_mutex_unlock(&l->lock);
}

static tinker_run_t *open_run(const char *folder, listener_t *l) {
  tinker_run_t *run = NULL;
  tinker_error_t *error = NULL;
  tinker_run_plan_t plan = TINKER_RUN_PLAN_INIT;
  tinker_run_options_t options = TINKER_RUN_OPTIONS_INIT;
  plan.base_model = getenv("TINKER_MODEL");
  plan.rank = 4;
  plan.seed = 1;
  options.state_dir = folder;
  options.name = "numbers";
  options.plan = &plan;
  options.checkpoint_every = 2;
  options.event_cb = on_event;
  options.event_user = l;
  if (tinker_run_open(&run, &options, &error) != 0) {
    fprintf(stderr, "%s\n", tinker_error_message(error));
    _Exit(1);
  }
  return run;
}

/* Whether the step was committed. */
static int train(tinker_run_t *run) {
  static const int32_t tokens[4] = {1, 2, 3, 4};
  tinker_datum_t *datum = NULL;
  tinker_datum_new_supervised(&datum, tokens, NULL, 4, NULL, NULL);
  tinker_future_t *next = tinker_run_next(run, NULL);
  int ok = tinker_future_wait(next, -1) == 0;
  if (ok) {
    tinker_future_release(
        tinker_run_forward_backward(run, &datum, 1, NULL, NULL));
    tinker_future_release(tinker_run_optim_step(run, NULL, NULL));
    tinker_future_t *commit = tinker_run_commit(run, "", 0, NULL);
    ok = tinker_future_wait(commit, -1) == 0;
    tinker_future_release(commit);
  }
  tinker_future_release(next);
  tinker_datum_release(datum);
  return ok;
}

int main(int argc, char **argv) {
  listener_t l = {PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, "", 0};
  if (argc < 3) return 2;
  snprintf(l.wanted, sizeof l.wanted, "\"%s\"", argv[2]);
  tinker_run_t *run = open_run(argv[1], &l);
  while (train(run)) continue;
  tinker_future_t *next = tinker_run_next(run, NULL);
  pthread_mutex_lock(&l.lock);
  while (!l.seen) pthread_cond_wait(&l.said, &l.lock);
  pthread_mutex_unlock(&l.lock);
  /* What the event announces is under way, or begins right now. */
  tinker_future_wait(next, 100);
  tinker_run_release(run);
  printf("%s\n", tinker_code_name(tinker_future_status(next)));
  tinker_future_release(next);
  return 0;
}
