/* 09 recover: the training loop of 02 with a run around it. It may be killed at
 * any moment and started again with the same command: no step is lost, and none
 * is taken twice. If the service loses the session or the model, the run goes
 * back to its last checkpoint by itself, and shows that it is the right one.
 *
 * usage: 09_recover FOLDER [STEP]     kills itself in STEP, to be tried out
 * (TINKER_BASE_URL says where the service is, TINKER_MODEL which model) */
#include <signal.h>
#include <tinker/recovery.h>

#include "progress.h"

enum { STEPS = 12, EVERY = 4 };

static void show_event(void *user, const char *line, size_t len) {
  (void)user;
  fprintf(stderr, "%.*s\n", (int)len, line);
}

static tinker_run_t *open_run(const char *folder) {
  tinker_run_t *run = NULL;
  tinker_error_t *error = NULL;
  tinker_run_plan_t plan = TINKER_RUN_PLAN_INIT;
  tinker_run_options_t options = TINKER_RUN_OPTIONS_INIT;
  plan.base_model = example_model();
  plan.rank = 4;
  plan.seed = 1;
  plan.steps = STEPS;
  options.state_dir = folder;
  options.name = "numbers";
  options.plan = &plan;
  options.checkpoint_every = EVERY;
  options.event_cb = show_event;
  check_made(tinker_run_open(&run, &options, &error), &error);
  return run;
}

/* The cursor is the number of the next example. */
static int cursor_of(const tinker_run_step_t *step) {
  int number = 1;
  if (step->cursor_len == sizeof number) {
    memcpy(&number, step->cursor, sizeof number);
  }
  return number;
}

/* One step. 0 = it failed: the next tinker_run_next() recovers. */
static int train(tinker_run_t *run, const tinker_run_step_t *step,
                 int kill_at) {
  int number = cursor_of(step), next = number + 1;
  tinker_datum_t *datum = numbered_example(number);
  tinker_future_t *forward =
      tinker_run_forward_backward(run, &datum, 1, NULL, NULL);
  tinker_future_t *optim = tinker_run_optim_step(run, NULL, NULL);
  if (step->step == kill_at) raise(SIGKILL);
  tinker_future_t *commit = tinker_run_commit(run, &next, sizeof next, NULL);
  int ok = tinker_future_wait(commit, -1) == 0;
  if (ok) {
    printf("step %d: loss %a\n", (int)step->step, loss_of(forward));
  } else {
    fprintf(stderr, "%s\n", tinker_error_message(tinker_future_error(commit)));
  }
  tinker_datum_release(datum);
  tinker_future_release(forward);
  tinker_future_release(optim);
  tinker_future_release(commit);
  return ok;
}

int main(int argc, char **argv) {
  const tinker_run_step_t *step;
  int kill_at = argc > 2 ? (int)strtol(argv[2], NULL, 10) : 0;
  if (argc < 2) return fprintf(stderr, "usage: 09_recover FOLDER [STEP]\n"), 2;
  setvbuf(stdout, NULL, _IOLBF, 0); /* what was printed survives a kill */
  tinker_run_t *run = open_run(argv[1]);
  for (int done = 0; !done;) {
    tinker_future_t *next = await(tinker_run_next(run, NULL));
    check(tinker_future_get_run_step(next, &step));
    done = step->done;
    if (!done) train(run, step, kill_at);
    tinker_future_release(next);
  }
  tinker_run_release(run);
  return 0;
}
