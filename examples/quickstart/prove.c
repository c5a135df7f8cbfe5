/* prove: the parent's side of the proof that a killed run, resumed, is the
 * run that was never killed.
 *
 *   U   takes steps 1..N undisturbed and saves a checkpoint after step c
 *   K   the same, killed with kill -9 after step k > c, a batch in flight
 *   R   a new process, session and model from K's checkpoint: steps c+1..N
 *   O   the control: as R, but without the optimizer; it has to differ */
#include <signal.h>
#include <string.h>

#include "quick.h"

typedef struct run_s {
  const char *name;
  char checkpoint[256];  /* path of the state saved after step c */
  quick_adapter_t final; /* the state saved after the last step */
  int status;
} run_t;

/* Keeps the path if the line says "<key> <path>". */
static void keep(char *out, size_t size, const char *line, const char *key) {
  size_t n = strlen(key), len = strlen(line);
  if (strncmp(line, key, n) == 0 && line[n] == ' ' && len - n <= size) {
    memcpy(out, line + n + 1, len - n);
  }
}

/* Runs a worker; kill_after > 0: kills it once that step is reported. */
static void run(run_t *r, const quick_paths_t *paths, const char *name,
                const char *path, const char *optimizer, int kill_after) {
  char line[512], stop[16];
  int step = 0;
  quick_process_t process;
  const char *argv[] = {paths->self,   "--locald",
                        paths->locald, "--model",
                        paths->model,  "--data",
                        paths->data,   "--out",
                        paths->out,    "--proof",
                        name,          "--stop-after",
                        stop,          path ? "--from" : NULL,
                        path,          "--optimizer",
                        optimizer,     NULL};
  snprintf(stop, sizeof stop, "%d", kill_after);
  memset(r, 0, sizeof *r);
  r->name = name;
  quick_spawn(&process, argv, NULL);
  while (quick_line(&process, line, sizeof line)) {
    keep(r->checkpoint, sizeof r->checkpoint, line, "checkpoint");
    if (sscanf(line, "step %d", &step) == 1 && step == kill_after) {
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

static bool same_adapter(const run_t *a, const run_t *b) {
  return a->final.size == b->final.size && a->final.digest == b->final.digest;
}

static void report(const quick_diff_t *diff, const run_t *a, const run_t *b) {
  printf("  %s against %s, steps %d to %d: %zu losses and %zu token"
         " log-probabilities, %zu differ",
         a->name, b->name, QUICK_PROOF_SAVE + 1, QUICK_PROOF_STEPS,
         diff->losses, diff->logprobs, diff->differ);
  if (diff->first > 0) printf(", from step %d on", diff->first);
  printf("\n  final adapter and optimizer: %s %016llx, %s %016llx\n", a->name,
         (unsigned long long)a->final.digest, b->name,
         (unsigned long long)b->final.digest);
}

static bool resumed_is_equal(const quick_paths_t *paths, const run_t *u,
                             const run_t *r) {
  quick_diff_t diff;
  quick_compare(&diff, paths, u->name, r->name, QUICK_PROOF_SAVE + 1,
                QUICK_PROOF_STEPS);
  report(&diff, u, r);
  return diff.complete && diff.differ == 0 && same_adapter(u, r);
}

static bool control_differs(const quick_paths_t *paths, const run_t *u,
                            const run_t *o) {
  quick_diff_t diff;
  quick_compare(&diff, paths, u->name, o->name, QUICK_PROOF_SAVE + 1,
                QUICK_PROOF_STEPS);
  report(&diff, u, o);
  return diff.complete && diff.differ > 0 && !same_adapter(u, o);
}

int quick_prove(const quick_paths_t *paths) {
  run_t u, k, r, o;
  printf("U: %d steps undisturbed, checkpoint after step %d\n",
         QUICK_PROOF_STEPS, QUICK_PROOF_SAVE);
  run(&u, paths, "U", NULL, NULL, 0);
  expect(&u, paths, 0);
  printf("K: the same, killed with kill -9 after step %d, step %d in flight\n",
         QUICK_PROOF_KILL, QUICK_PROOF_KILL + 1);
  run(&k, paths, "K", NULL, NULL, QUICK_PROOF_KILL);
  expect(&k, paths, -SIGKILL);
  printf("R: new session and model from K's checkpoint, optimizer restored\n");
  run(&r, paths, "R", k.checkpoint, "1", 0);
  expect(&r, paths, 0);
  printf("O: the same without the optimizer, which has to differ\n");
  run(&o, paths, "O", k.checkpoint, "0", 0);
  expect(&o, paths, 0);
  bool equal = resumed_is_equal(paths, &u, &r);
  bool control = control_differs(paths, &u, &o);
  printf("  resumed equals uninterrupted, to the last bit: %s\n",
         equal ? "yes" : "NO");
  printf("  leaving the optimizer out is noticed: %s\n",
         control ? "yes" : "NO");
  return equal && control ? QUICK_OK : QUICK_FAILED;
}
