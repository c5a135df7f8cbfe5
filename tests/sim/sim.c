/* sim: the program of the simulation.
 *
 *   tinker-sim NAME FROM COUNT    seeds FROM .. FROM + COUNT - 1 of a scenario
 *   tinker-sim all FROM COUNT     so many of each scenario
 *   tinker-sim NAME SEED          one seed, with its timeline
 *
 * NAME: "F12", "random", "none". What fails is said with the command that
 * repeats it; the exit status is then 1. */
#include "sim/sim.h"

#include <dirent.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "sim/check.h"
#include "sim/run.h"
#include "sim/trainer.h"

enum { CALM = 32, EACH_AGAIN = 20 };
#define WRONG_MS (INT64_C(-5) * 365 * 86400000)

typedef struct {
  sim_result_t result;
  sim_history_t history;
  char path[320]; /* of the run's folder */
} whole_t;

typedef struct {
  bool made;
  uint64_t service;
  sim_script_t script;
  whole_t whole;
} calm_t;

typedef struct {
  sim_disk_t *disk;
  sim_shared_t *shared;
  char root[200];   /* of this process */
  char folder[240]; /* of the run that is under way */
  bool shows;       /* the timeline of each run */
  int64_t failures;
  calm_t calm[CALM];
  int next_calm;
} sim_t;

/* --- Folders -------------------------------------------------------------- */

static void remove_tree(const char *path) {
  DIR *dir = opendir(path);
  struct dirent *e;
  while (dir && (e = readdir(dir))) {
    char inside[512];
    if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0) continue;
    snprintf(inside, sizeof inside, "%s/%s", path, e->d_name);
    if (e->d_type == DT_DIR) {
      remove_tree(inside);
    } else {
      unlink(inside);
    }
  }
  if (dir) closedir(dir);
  rmdir(path);
}

/* Memory if there is some: a sync costs nothing there. */
static void make_root(sim_t *sim) {
  const char *tmp = getenv("TMPDIR");
  if (!tmp) tmp = access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp";
  snprintf(sim->root, sizeof sim->root, "%s/tinker-sim-XXXXXX", tmp);
  if (!mkdtemp(sim->root)) {
    perror(sim->root);
    exit(2);
  }
  snprintf(sim->folder, sizeof sim->folder, "%s/s", sim->root);
}

/* --- One run -------------------------------------------------------------- */

static void run(sim_t *sim, const sim_script_t *script, uint64_t seed,
                int64_t wrong_ms, sim_result_t *out) {
  char bin[260];
  snprintf(bin, sizeof bin, "%s.bin", sim->folder);
  remove_tree(sim->folder);
  remove_tree(bin);
  mkdir(sim->folder, 0700);
  sim_run_options_t o = {.seed = seed,
                         .wall_offset_ms = wrong_ms,
                         .script = script,
                         .folder = sim->folder,
                         .disk = sim->disk,
                         .shared = sim->shared};
  sim_run(&o, out);
}

static const char *const secrets[] = {SIM_KEY, NULL};

static void take(const sim_t *sim, const sim_script_t *script, whole_t *w,
                 char *why, size_t why_len) {
  const sim_result_t *r = &w->result;
  sim_history_t *h = &w->history;
  snprintf(w->path, sizeof w->path, "%s/runs/%s", sim->folder, SIM_RUN);
  sim_history_take(h, r->server, w->path, SIM_RUN, why, why_len);
  h->script = script;
  h->secrets = secrets;
  h->shadow = r->log.list;
  h->shadow_count = r->log.n;
  h->end_ms = r->end_ms;
  h->last_fault_ms = r->course.last_ms;
  h->faults = r->course.happened;
  for (int bug = SIM_BUG_NONE + 1; bug < SIM_BUGS; bug++) {
    h->faults += sim_server_hits(r->server, (sim_bug_t)bug);
  }
}

/* wrong_ms: what the wall clock is wrong by from the start. */
static int make(sim_t *sim, const sim_script_t *script, uint64_t seed,
                int64_t wrong_ms, whole_t *w, char *why, size_t why_len) {
  memset(w, 0, sizeof *w);
  run(sim, script, seed, wrong_ms, &w->result);
  if (w->result.stuck[0]) {
    snprintf(why, why_len, "%s", w->result.stuck);
    return 1;
  }
  take(sim, script, w, why, why_len);
  return 0;
}

static void free_whole(whole_t *w) {
  sim_history_free(&w->history);
  sim_result_free(&w->result);
}

/* --- The run that is not disturbed ---------------------------------------- */

static bool has_same_losses(const calm_t *c, const sim_script_t *script,
                            uint64_t seed) {
  const sim_trainer_t *a = &c->script.trainer, *b = &script->trainer;
  return c->made && c->service == seed % SIM_SERVICES && a->steps == b->steps &&
         a->parts == b->parts && a->big == b->big;
}

/* Its losses depend on the data and the service's seed alone, so one serves
 * many seeds. NULL with a reason. */
static const sim_history_t *calm(sim_t *sim, const sim_script_t *script,
                                 uint64_t seed, char *why, size_t why_len) {
  for (int i = 0; i < CALM; i++) {
    if (has_same_losses(&sim->calm[i], script, seed)) {
      return &sim->calm[i].whole.history;
    }
  }
  calm_t *c = &sim->calm[sim->next_calm++ % CALM];
  if (c->made) free_whole(&c->whole);
  c->made = true;
  c->service = seed % SIM_SERVICES;
  sim_fate_undisturbed(script, &c->script);
  int rc = make(sim, &c->script, c->service, 0, &c->whole, why, why_len);
  if (rc == 0) rc = sim_check(&c->whole.history, why, why_len);
  if (rc == 0) return &c->whole.history;
  free_whole(&c->whole);
  c->made = false;
  return NULL;
}

/* --- One seed ------------------------------------------------------------- */

static int compare(const whole_t *a, const whole_t *b, char *why,
                   size_t why_len) {
  const char *x = a->result.timeline, *y = b->result.timeline;
  size_t line = 1;
  int rc = sim_check_i18(&a->history, &b->history, why, why_len);
  if (rc != 0 || strcmp(x, y) == 0) return rc;
  for (; *x && *x == *y; x++, y++) line += *x == '\n';
  snprintf(why, why_len, "I18: line %zu of the timeline is another", line);
  return 1;
}

/* The same seed once more: with the same clocks it has the same history, with
 * another wall clock the same decisions. */
static int once_more(sim_t *sim, const sim_script_t *script, uint64_t seed,
                     const whole_t *w, char *why, size_t why_len) {
  bool same = seed % 2 == 0;
  whole_t again;
  int rc = make(sim, script, seed, same ? 0 : WRONG_MS, &again, why, why_len);
  again.history.undisturbed = w->history.undisturbed;
  if (rc == 0) {
    rc = same ? compare(w, &again, why, why_len)
              : sim_check_i15(&w->history, &again.history, why, why_len);
  }
  free_whole(&again);
  return rc;
}

static int judge(sim_t *sim, const sim_script_t *script, uint64_t seed,
                 whole_t *w, char *why, size_t why_len) {
  const sim_history_t *undisturbed = calm(sim, script, seed, why, why_len);
  if (!undisturbed) return 1;
  int rc = make(sim, script, seed, 0, w, why, why_len);
  w->history.undisturbed = undisturbed;
  if (rc == 0) rc = sim_check(&w->history, why, why_len);
  if (rc == 0 && seed % EACH_AGAIN < 2) {
    rc = once_more(sim, script, seed, w, why, why_len);
  }
  return rc;
}

/* What happened, and what the service had of it. */
static void show(const sim_result_t *r) {
  char line[512];
  fwrite(r->timeline, 1, r->timeline_len, stdout);
  for (size_t i = 0; i < sim_server_entries(r->server); i++) {
    sim_server_line(r->server, i, line, sizeof line);
    printf("ledger %zu: %s\n", i, line);
  }
}

static bool one(sim_t *sim, const char *name, uint64_t seed) {
  sim_script_t script;
  whole_t w = {0};
  char why[1024] = "";
  if (!sim_fate_script(name, seed, &script)) {
    fprintf(stderr, "no scenario %s\n", name);
    exit(2);
  }
  int rc = judge(sim, &script, seed, &w, why, sizeof why);
  if ((rc || sim->shows) && w.result.timeline) show(&w.result);
  if (rc) printf("%s seed %llu: %s\n", name, (unsigned long long)seed, why);
  if (rc) printf("tinker-sim %s %llu\n", name, (unsigned long long)seed);
  fflush(stdout);
  free_whole(&w);
  sim->failures += rc != 0;
  return rc == 0;
}

/* --- Many ----------------------------------------------------------------- */

static void many(sim_t *sim, const char *name, uint64_t from, uint64_t count) {
  uint64_t good = 0;
  for (uint64_t i = 0; i < count; i++) good += one(sim, name, from + i);
  printf("%s: %llu of %llu seeds\n", name, (unsigned long long)good,
         (unsigned long long)count);
  fflush(stdout);
}

static void all(sim_t *sim, uint64_t from, uint64_t count) {
  for (size_t i = 0; i < sim_fates(); i++) {
    many(sim, sim_fate_name(i), from, count);
  }
}

/* One thread runs at a time: on one core it is handed over fastest. */
static void stay_on_one_core(void) {
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET((size_t)sched_getcpu(), &set);
  sched_setaffinity(0, sizeof set, &set);
}

int main(int argc, char **argv) {
  static sim_t sim;
  if (argc < 3) return 2;
  uint64_t from = strtoull(argv[2], NULL, 10);
  stay_on_one_core();
  sim.disk = sim_disk_new();
  sim.shared = mmap(NULL, sizeof *sim.shared, PROT_READ | PROT_WRITE,
                    MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (!sim.disk || sim.shared == MAP_FAILED) return 2;
  make_root(&sim);
  sim.shows = argc == 3;
  uint64_t count = argc > 3 ? strtoull(argv[3], NULL, 10) : 1;
  if (strcmp(argv[1], "all") == 0) {
    all(&sim, from, count);
  } else {
    many(&sim, argv[1], from, count);
  }
  for (int i = 0; i < CALM; i++) {
    if (sim.calm[i].made) free_whole(&sim.calm[i].whole);
  }
  remove_tree(sim.root);
  return sim.failures > 0;
}
