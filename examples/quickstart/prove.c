/* prove: the parent's side of the proof that a run recovers without a trace.
 *
 * U takes its steps undisturbed, with a checkpoint half-way.
 *
 * K is killed with kill -9 with a batch in flight, and started again: no step
 * is lost.
 *
 * C has its model marked as corrupted by the operator: it goes back to the
 * checkpoint, in a new session and model.
 *
 * O is as C, with a service that loads checkpoints without their optimizer: the
 * control, which has to be refused. */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "quick.h"

static const char drop_optimizer[] =
    "{\"rules\": [{\"endpoint\": \"load_weights\", \"act\": "
    "\"drop_optimizer\"}]}\n";

/* What the parent has read from a run's worker. */
typedef struct run_s {
  const char *name;
  quick_adapter_t final; /* the state saved after the last step */
  int status;
  int last;                /* step that was reported last */
  int attached, rollbacks; /* events */
  int lost;                /* steps that were done again */
  bool refused;            /* a checkpoint */
  bool stopped;
} run_t;

/* Copies the text of a key out of a line of JSON; "" if it has none. */
static void text_of(const char *line, const char *key, char *out, size_t room) {
  char quoted[32];
  snprintf(quoted, sizeof quoted, "\"%s\":\"", key);
  const char *at = strstr(line, quoted);
  const char *from = at ? at + strlen(quoted) : "";
  snprintf(out, room, "%.*s", (int)strcspn(from, "\""), from);
}

static int number_of(const char *line, const char *key) {
  char quoted[32];
  snprintf(quoted, sizeof quoted, "\"%s\":", key);
  const char *at = strstr(line, quoted);
  return at ? (int)strtol(at + strlen(quoted), NULL, 10) : 0;
}

static void take_event(run_t *r, const char *line) {
  char event[32], name[256], evidence[512];
  text_of(line, "event", event, sizeof event);
  text_of(line, "name", name, sizeof name);
  text_of(line, "evidence", evidence, sizeof evidence);
  if (strcmp(event, "attached") == 0) {
    r->attached++;
    printf("   goes on with its model after step %d\n",
           number_of(line, "step"));
  } else if (strcmp(event, "rollback") == 0) {
    r->rollbacks++;
    r->lost += number_of(line, "from_step") - number_of(line, "to_step");
    printf("   back from step %d to the checkpoint of step %d\n",
           number_of(line, "from_step"), number_of(line, "to_step"));
  } else if (strcmp(event, "checkpoint_refused") == 0) {
    r->refused = name[0] != '\0';
    printf("   checkpoint %s refused: %s\n", name, evidence);
  } else if (strcmp(event, "stopped") == 0) {
    r->stopped = true;
  }
}

/* Runs a worker; with stop_after > 0: kills it once that step is reported. log:
 * for what it has to complain about; NULL = it is shown. */
static void run(run_t *r, const quick_paths_t *paths, int stop_after,
                int mark_after, const char *log) {
  char line[4096], stop[16], mark[16];
  quick_process_t process;
  const char *argv[] = {
      paths->self,    "--locald",  paths->locald, "--model",      paths->model,
      "--data",       paths->data, "--out",       paths->out,     "--runs",
      paths->runs,    "--proof",   r->name,       "--stop-after", stop,
      "--mark-after", mark,        NULL};
  snprintf(stop, sizeof stop, "%d", stop_after);
  snprintf(mark, sizeof mark, "%d", mark_after);
  quick_spawn(&process, argv, log);
  while (quick_line(&process, line, sizeof line)) {
    if (line[0] == '{') take_event(r, line);
    if (sscanf(line, "step %d", &r->last) == 1 && r->last == stop_after) {
      kill(process.pid, SIGKILL);
    }
  }
  r->status = quick_wait(&process);
}

static void expect(run_t *r, const quick_paths_t *paths, int status) {
  if (r->status != status) {
    quick_die("run %s ended with status %d, expected %d", r->name, r->status,
              status);
  }
  if (status == 0) quick_adapter_newest(&r->final, paths);
}

static bool is_equal(const quick_paths_t *paths, const run_t *u,
                     const run_t *r) {
  quick_diff_t diff;
  quick_compare(&diff, paths, u->name, r->name, 1, QUICK_PROOF_STEPS);
  printf("  %s against %s, steps 1 to %d: %zu losses and %zu token"
         " log-probabilities, %zu differ",
         u->name, r->name, QUICK_PROOF_STEPS, diff.losses, diff.logprobs,
         diff.differ);
  if (diff.first > 0) printf(", from step %d on", diff.first);
  printf("\n  final adapter and optimizer: %s %016llx, %s %016llx\n", u->name,
         (unsigned long long)u->final.digest, r->name,
         (unsigned long long)r->final.digest);
  return diff.complete && diff.differ == 0 && u->final.size == r->final.size &&
         u->final.digest == r->final.digest;
}

/* The service is another one, since the plan is for the whole of it. */
static bool control_is_refused(const quick_paths_t *paths,
                               quick_service_t *service) {
  char plan[1024], log[1024];
  run_t o = {.name = "O"};
  snprintf(plan, sizeof plan, "%s/drop-optimizer.json", paths->out);
  snprintf(log, sizeof log, "%s/proof-O.log", paths->out);
  FILE *file = quick_open(paths->out, "drop-optimizer.json", "w");
  fputs(drop_optimizer, file);
  fclose(file);
  quick_service_start(service, paths, "faulty", plan);
  run(&o, paths, 0, QUICK_PROOF_KILL, log);
  quick_service_stop(service);
  printf("   the run has stopped: %s/proof-O.log says why\n", paths->out);
  return o.refused && o.stopped && o.status == QUICK_TROUBLE &&
         o.last < QUICK_PROOF_STEPS;
}

/* Records of an earlier quick start in the same folder. */
static void prepare(quick_paths_t *paths, char *runs, size_t room) {
  snprintf(runs, room, "%s/runs-XXXXXX", paths->out);
  if (mkdtemp(runs) == NULL) quick_die("%s: %s", runs, strerror(errno));
  paths->runs = runs;
  for (const char *name = "UKCO"; *name; name++) {
    char file[16];
    snprintf(file, sizeof file, "proof-%c.txt", *name);
    fclose(quick_open(paths->out, file, "w"));
  }
}

int quick_prove(const quick_paths_t *given, quick_service_t *service) {
  char runs[1024];
  quick_paths_t paths = *given;
  run_t u = {.name = "U"}, k = {.name = "K"}, c = {.name = "C"};
  const int at = QUICK_PROOF_KILL;
  prepare(&paths, runs, sizeof runs);
  printf("U: %d steps undisturbed, a checkpoint after step %d\n",
         QUICK_PROOF_STEPS, QUICK_PROOF_SAVE);
  run(&u, &paths, 0, 0, NULL);
  expect(&u, &paths, 0);
  printf("K: killed with kill -9 after step %d, step %d in flight, and started"
         " again\n",
         at, at + 1);
  run(&k, &paths, at, 0, NULL);
  expect(&k, &paths, -SIGKILL);
  run(&k, &paths, 0, 0, NULL);
  expect(&k, &paths, 0);
  printf("C: marked as corrupted after step %d, step %d in flight\n", at,
         at + 1);
  run(&c, &paths, 0, at, NULL);
  expect(&c, &paths, 0);
  quick_service_stop(service);
  printf("O: as C, but the service forgets the optimizer of what it loads\n");
  bool refused = control_is_refused(&paths, service);
  bool killed = is_equal(&paths, &u, &k) && k.attached == 1 && k.rollbacks == 0;
  bool marked = is_equal(&paths, &u, &c) && c.rollbacks == 1 && c.lost > 0;
  printf("  K lost no step and equals undisturbed, to the last bit: %s\n",
         killed ? "yes" : "NO");
  printf("  C lost %d steps and equals undisturbed, to the last bit: %s\n",
         c.lost, marked ? "yes" : "NO");
  printf("  a checkpoint without its optimizer is refused by name: %s\n",
         refused ? "yes" : "NO");
  return killed && marked && refused ? QUICK_OK : QUICK_FAILED;
}
