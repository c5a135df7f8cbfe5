/* A training program with a run, for tests of recovery.
 *
 *   recover_play FOLDER [NAME VALUE]...
 *
 * steps, every (checkpoints), strict (the gate), attempts, zero (may begin
 * again), fresh (data), kill (the step in which it kills itself), poison (the
 * step whose first batch has an infinite loss), poisons (how often it has),
 * resume (how often it goes on with a run that has stopped), forked (1: a
 * forked child tries to use the run), parts (batches a step),
 * big (examples of a batch), ahead (steps that are submitted before the first
 * is waited for), workers (forked processes that outlive it), past (tries to
 * train past the run, with this tag if it is not 1), asked (the step after
 * which it asks for two checkpoints and goes on at once), leave (milliseconds
 * of waiting for a model after which it gives the run back), hurry (1: it
 * waits for no step longer than a millisecond, and tries other calls in
 * between), keep, delay, ttl, watch, soft, hard (of the options), pause
 * (milliseconds before each step), cancel (the step whose first batch is
 * canceled at once), deadline (the step whose last batch has 300 ms), patience
 * (times that it asks again for a step that it did not get), reborn (the model,
 * from 1 on, right after whose making it kills itself), eval (the step before
 * which it asks for the losses of 200 examples, and dies of impatience), behind
 * (the option), bad (the step whose last batch has a token that no model has;
 * when that was refused, it stands still). It prints "rolled back to N" and
 * "step N: loss X" for each committed step. */
#include <math.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <tinker/recovery.h>
#include <unistd.h>

#include "scarce.h"

/* A program that gives up leaves its run's threads at work: handlers at the
 * exit (OpenSSL's) would take away what they use. */
#include <stdlib.h>
static _Noreturn void leave_now(int status);
#define exit leave_now
#include "../../examples/progress.h"
#undef exit

static _Noreturn void leave_now(int status) {
  fflush(stdout);
  _exit(status);
}

static struct {
  const char *name;
  long value;
} settings[] = {
    {"steps", 12}, {"every", 4},      {"strict", 0},     {"attempts", 3},
    {"zero", 0},   {"fresh", 0},      {"kill", 0},       {"poison", 0},
    {"parts", 1},  {"big", 1},        {"ahead", 1},      {"workers", 0},
    {"past", 0},   {"poisons", 1},    {"resume", 0},     {"forked", 0},
    {"asked", 0},  {"keep", 0},       {"delay", 900000}, {"ttl", -1},
    {"leave", -1}, {"hurry", 0},      {"pause", 0},      {"watch", 10000},
    {"cancel", 0}, {"deadline", 0},   {"patience", 0},   {"reborn", 0},
    {"eval", 0},   {"naive", 0},      {"allow", 0},      {"swap", 0},
    {"bad", 0},    {"soft", 1200000}, {"hard", 7200000}, {"behind", 0}};
enum {
  STEPS,
  EVERY,
  STRICT,
  ATTEMPTS,
  ZERO,
  FRESH,
  KILL,
  POISON,
  PARTS,
  BIG,
  AHEAD,
  WORKERS,
  PAST,
  POISONS,
  RESUME,
  FORKED,
  ASKED,
  KEEP,
  DELAY,
  TTL,
  LEAVE,
  HURRY,
  PAUSE,
  WATCH,
  CANCEL,
  DEADLINE,
  PATIENCE,
  REBORN,
  EVAL,
  NAIVE,
  ALLOW,
  SWAP,
  BAD,
  SOFT,
  HARD,
  BEHIND
};
enum { MOST = 256 };
#define GET(setting) (settings[setting].value)

static void read_settings(int argc, char **argv) {
  for (int i = 2; i + 1 < argc; i += 2) {
    size_t k = 0, n = sizeof settings / sizeof settings[0];
    while (k < n && strcmp(settings[k].name, argv[i]) != 0) k++;
    if (k == n) {
      fprintf(stderr, "no setting %s\n", argv[i]);
      exit(2);
    }
    settings[k].value = strtol(argv[i + 1], NULL, 10);
  }
}

static const char model_counts[] = "{\"event\":\"epoch_active\"";

static void show_event(void *user, const char *line, size_t len) {
  (void)user;
  fprintf(stderr, "%.*s\n", (int)len, line);
  if (GET(REBORN) &&
      strncmp(line, model_counts, sizeof model_counts - 1) == 0) {
    if (--GET(REBORN) == 0) raise(SIGKILL);
  }
}

/* What the options point at need not live longer than the call. */
typedef struct {
  char text[16];
  const char *tags[2];
} borrowed_t;

static tinker_run_t *open_run(const char *folder) {
  tinker_run_t *run = NULL;
  tinker_error_t *error = NULL;
  tinker_metadata_t metadata[] = {{"project", "demo"}};
  tinker_run_plan_t plan = TINKER_RUN_PLAN_INIT;
  tinker_run_options_t options = TINKER_RUN_OPTIONS_INIT;
  plan.base_model = example_model();
  plan.rank = 4;
  plan.seed = 1;
  plan.steps = GET(STEPS);
  plan.data = (int32_t)GET(FRESH);
  plan.metadata = metadata;
  plan.metadata_count = 1;
  options.state_dir = folder;
  options.name = "numbers";
  options.plan = &plan;
  options.checkpoint_every = GET(EVERY);
  options.gate = (int32_t)GET(STRICT);
  options.allow = (uint32_t)GET(ALLOW);
  options.attempts = (int32_t)GET(ATTEMPTS);
  options.allow_step_zero = (int32_t)GET(ZERO);
  options.watch_ms = GET(WATCH);
  options.behind = (int32_t)GET(BEHIND);
  options.result_soft_ms = GET(SOFT);
  options.result_hard_ms = GET(HARD);
  options.keep_last = GET(KEEP);
  options.delete_delay_ms = GET(DELAY);
  options.ttl_seconds = GET(TTL);
  options.event_cb = show_event;
  borrowed_t *lent = malloc(sizeof *lent);
  tinker_client_options_t client = TINKER_CLIENT_OPTIONS_INIT;
  *lent = (borrowed_t){"played", {lent->text, lent->text}};
  client.allocator = scarce_allocator();
  client.tags = lent->tags;
  client.tag_count = 2;
  client.project_id = client.display_name = lent->text;
  options.client = &client;
  check_made(tinker_run_open(&run, &options, &error), &error);
  memset(lent->text, 0xff, sizeof lent->text - 1);
  free(lent);
  return run;
}

/* The example of a step and a part; the weights of a poisoned one make the loss
 * infinite. */
static tinker_datum_t *example(int64_t step, long part, int poisoned) {
  long n = 24;
  int32_t *tokens = calloc((size_t)n, sizeof *tokens);
  float *weights = calloc((size_t)n, sizeof *weights);
  tinker_datum_t *datum = NULL;
  for (long i = 0; i < n; i++) {
    tokens[i] = (int32_t)((i * 7 + step * 13 + part * 5 + i * i * step) % 60);
    weights[i] = poisoned ? 3e38f : 1.0f;
  }
  check(tinker_datum_new_supervised(&datum, tokens, weights, (size_t)n, NULL,
                                    NULL));
  free(weights);
  free(tokens);
  return datum;
}

typedef struct {
  int64_t step;
  tinker_future_t *forward[16];
  size_t parts;
  tinker_future_t *commit;
} begun_t;

static long poisoned_before;

static tinker_future_t *batch(tinker_run_t *run, int64_t step, long part,
                              int poison) {
  tinker_datum_t *data[MOST] = {NULL};
  size_t n = (size_t)GET(BIG) < MOST ? (size_t)GET(BIG) : MOST;
  for (size_t i = 0; i < n; i++) {
    data[i] = example(step, part + 31 * (long)i, poison);
  }
  int bad = step == GET(BAD) && part == GET(PARTS) - 1;
  if (bad) {
    static const int32_t tokens[2] = {1 << 30, 1 << 30};
    static const float weights[2] = {1, 1};
    tinker_datum_release(data[0]);
    check(
        tinker_datum_new_supervised(&data[0], tokens, weights, 2, NULL, NULL));
  }
  tinker_call_options_t call = TINKER_CALL_OPTIONS_INIT;
  if (step == GET(DEADLINE) && part == GET(PARTS) - 1) {
    GET(DEADLINE) = 0;
    call.timeout_ms = 300;
  }
  tinker_future_t *f = tinker_run_forward_backward(run, data, n, NULL, &call);
  if (step == GET(CANCEL)) {
    GET(CANCEL) = 0;
    tinker_future_cancel(f);
  }
  if (bad) {
    tinker_future_wait(f, -1);
    fprintf(stderr, "%s\n", tinker_error_message(tinker_future_error(f)));
    for (;;) pause();
  }
  for (size_t i = 0; i < n; i++) tinker_datum_release(data[i]);
  return f;
}

static void begin(tinker_run_t *run, const tinker_run_step_t *step,
                  begun_t *b) {
  int64_t cursor = step->step, data = step->step;
  if (step->rolled_back && GET(SWAP)) {
    GET(SWAP) = 0;
    data++; /* those of another step */
  }
  b->step = step->step;
  b->parts = 0;
  for (long part = 0; part < GET(PARTS); part++) {
    if (!GET(NAIVE) && (size_t)part < step->forward_count) {
      b->forward[b->parts++] = tinker_future_retain(step->forward[part]);
      continue;
    }
    int poison = step->step == GET(POISON) && poisoned_before < GET(POISONS);
    if (poison) poisoned_before++;
    b->forward[b->parts++] = batch(run, data, part, poison);
  }
  tinker_future_t *optim = step->optim && !GET(NAIVE)
                               ? tinker_future_retain(step->optim)
                               : tinker_run_optim_step(run, NULL, NULL);
  if (step->step == GET(KILL)) raise(SIGKILL);
  b->commit = tinker_run_commit(run, &cursor, sizeof cursor, NULL);
  tinker_future_release(optim);
}

static tinker_future_t *asked[2];

static void ask(tinker_run_t *run) {
  for (int i = 0; i < 2; i++) asked[i] = tinker_run_checkpoint(run, NULL);
}

static void show_asked(void) {
  for (int i = 0; i < 2 && asked[i]; i++) {
    const char *path = NULL;
    int rc = tinker_future_wait(asked[i], -1);
    const tinker_error_t *error = tinker_future_error(asked[i]);
    if (rc == 0) check(tinker_future_get_checkpoint(asked[i], &path));
    printf("asked: %s\n", rc ? tinker_error_message(error) : path);
    tinker_future_release(asked[i]);
  }
}

static int end(begun_t *b) {
  double loss = 0;
  int rc = tinker_future_wait(b->commit, -1);
  if (rc) {
    fprintf(stderr, "%s\n",
            tinker_error_message(tinker_future_error(b->commit)));
  }
  for (size_t i = 0; i < b->parts; i++) {
    const tinker_error_t *error = tinker_future_error(b->forward[i]);
    if (!rc) loss += loss_of(b->forward[i]);
    if (error) fprintf(stderr, "%s\n", tinker_error_message(error));
    tinker_future_release(b->forward[i]);
  }
  if (!rc) printf("step %d: loss %a\n", (int)b->step, loss);
  tinker_future_release(b->commit);
  return rc;
}

/* Training past the run has to be refused. */
static void go_past(tinker_run_t *run) {
  tinker_trainer_t *trainer = NULL;
  tinker_datum_t *datum = example(1, 0, 0);
  tinker_call_options_t call = TINKER_CALL_OPTIONS_INIT;
  check(tinker_run_get_trainer(run, &trainer));
  call.tag = GET(PAST) > 1 ? (uint64_t)GET(PAST) : 0;
  tinker_future_t *f =
      tinker_trainer_forward_backward(trainer, &datum, 1, NULL, &call);
  int rc = tinker_future_wait(f, -1);
  printf("past: %s: %s\n", tinker_code_name(rc),
         tinker_error_message(tinker_future_error(f)));
  tinker_future_release(f);
  finish(tinker_trainer_forward(trainer, &datum, 1, NULL, NULL));
  printf("words: %s, %s\n", tinker_code_name(tinker_run_distrust(run, "\xff")),
         tinker_code_name(tinker_run_resume(run, "\xff")));
  tinker_datum_release(datum);
  tinker_trainer_release(trainer);
}

static void pause_ms(long ms) {
  struct timespec t = {ms / 1000, (ms % 1000) * 1000000};
  nanosleep(&t, NULL);
}

/* What belongs to no step: the service has not taken it when we die. */
static void evaluate(tinker_run_t *run) {
  tinker_trainer_t *trainer = NULL;
  tinker_datum_t *data[200];
  check(tinker_run_get_trainer(run, &trainer));
  for (long i = 0; i < 200; i++) data[i] = example(1, 31 * i, 0);
  tinker_future_t *f = tinker_trainer_forward(trainer, data, 200, NULL, NULL);
  if (tinker_future_wait(f, 1000) == TINKER_EAGAIN) raise(SIGKILL);
  tinker_future_release(f);
  for (long i = 0; i < 200; i++) tinker_datum_release(data[i]);
  tinker_trainer_release(trainer);
}

static void fork_workers(void) {
  for (long i = 0; i < GET(WORKERS); i++) {
    if (fork() == 0) {
      sleep(20);
      _exit(0);
    }
  }
}

/* Every function of a run is refused in a child, and returns. */
static void use_in_child(tinker_run_t *run) {
  tinker_trainer_t *trainer = NULL;
  tinker_datum_t *datum = example(1, 0, 0);
  int status = 0;
  pid_t child = fork();
  if (child == 0) {
    tinker_future_t *calls[] = {
        tinker_run_next(run, NULL),
        tinker_run_forward_backward(run, &datum, 1, NULL, NULL),
        tinker_run_optim_step(run, NULL, NULL),
        tinker_run_commit(run, NULL, 0, NULL),
        tinker_run_checkpoint(run, NULL)};
    size_t n = sizeof calls / sizeof calls[0];
    int bad = 0;
    for (size_t i = 0; i < n; i++) {
      bad += tinker_future_status(calls[i]) != TINKER_EFORKED;
    }
    bad += tinker_run_get_trainer(run, &trainer) != TINKER_EFORKED;
    bad += tinker_run_distrust(run, "a child says so") != TINKER_EFORKED;
    bad += tinker_run_resume(run, "a child says so") != TINKER_EFORKED;
    tinker_run_release(run);
    _exit(bad);
  }
  waitpid(child, &status, 0);
  printf("child: %d\n", WIFEXITED(status) ? WEXITSTATUS(status) : -1);
  tinker_datum_release(datum);
}

/* Until tinker_run_next() has ended the run takes no other call of a step,
 * though the one who made it has given it up. */
static tinker_future_t *hurried_next(tinker_run_t *run) {
  tinker_call_options_t call = TINKER_CALL_OPTIONS_INIT;
  call.timeout_ms = 1;
  for (;;) {
    tinker_future_t *next = tinker_run_next(run, &call);
    if (tinker_future_wait(next, -1) != TINKER_ETIMEDOUT) return next;
    tinker_future_release(next);
    tinker_future_release(tinker_run_optim_step(run, NULL, NULL));
    tinker_future_release(tinker_run_commit(run, NULL, 0, NULL));
    tinker_future_release(tinker_run_checkpoint(run, NULL));
  }
}

/* The future of a step; a run that has stopped may be allowed to go on. */
static tinker_future_t *next_of(tinker_run_t *run) {
  tinker_future_t *next =
      GET(HURRY) ? hurried_next(run) : tinker_run_next(run, NULL);
  while (GET(PATIENCE)-- > 0 && tinker_future_wait(next, -1) != 0) {
    fprintf(stderr, "%s\n", tinker_error_message(tinker_future_error(next)));
    tinker_future_release(next);
    next = tinker_run_next(run, NULL);
  }
  if (tinker_future_wait(next, -1) == TINKER_ESTATE && GET(RESUME) > 0) {
    GET(RESUME)--;
    tinker_future_release(next);
    check(tinker_run_resume(run, "somebody has looked at it"));
    next = tinker_run_next(run, NULL);
  }
  return await(next);
}

/* A run is given back while it waits for a service. */
static int leave(tinker_run_t *run) {
  tinker_future_t *next = tinker_run_next(run, NULL);
  int waited = tinker_future_wait(next, GET(LEAVE));
  tinker_run_release(run);
  printf("left: %s, %s\n", tinker_code_name(waited),
         tinker_code_name(tinker_future_wait(next, -1)));
  tinker_future_release(next);
  return 0;
}

int main(int argc, char **argv) {
  const tinker_run_step_t *step;
  begun_t begun[16];
  long count = 0, done = 0;
  if (argc < 2) return 2;
  read_settings(argc, argv);
  setvbuf(stdout, NULL, _IOLBF, 0);
  tinker_run_t *run = open_run(argv[1]);
  if (GET(LEAVE) >= 0) return leave(run);
  while (!done) {
    tinker_future_t *next = next_of(run);
    check(tinker_future_get_run_step(next, &step));
    done = step->done;
    if (step->rolled_back) printf("rolled back to %d\n", (int)step->step);
    if (step->cursor_lost) {
      printf("cursor of step %d lost: %d bytes\n", (int)step->step,
             (int)step->cursor_len);
    }
    if (step->step == 1 && !done) fork_workers();
    if (step->step == 2 && GET(FORKED)) {
      GET(FORKED) = 0;
      use_in_child(run);
    }
    if (step->step == GET(EVAL)) evaluate(run);
    if (step->step == 2 && GET(PAST)) {
      go_past(run);
      GET(PAST) = 0;
    }
    if (!done) pause_ms(GET(PAUSE));
    if (!done) begin(run, step, &begun[count++]);
    if (step->step == GET(ASKED) && !asked[0]) ask(run);
    tinker_future_release(next);
    while (count > 0 && (done || count == GET(AHEAD))) {
      int rc = end(&begun[0]);
      memmove(begun, begun + 1, (size_t)--count * sizeof begun[0]);
      while (rc && count > 0) { /* they failed with it */
        end(&begun[0]);
        memmove(begun, begun + 1, (size_t)--count * sizeof begun[0]);
      }
      if (rc) done = 0;
    }
  }
  show_asked();
  tinker_run_release(run);
  return 0;
}
