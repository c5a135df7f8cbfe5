/* main: the quick start. Starts the local service, fine-tunes, then proves
 * that a run recovers bit for bit. Parent: one thread, no libtinker. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "quick.h"

typedef struct options_s {
  quick_paths_t paths;
  quick_proof_t proof; /* name set: this process is a worker of the proof */
  bool tune;           /* this process is the worker of the main job */
  bool brief;
} options_t;

static const quick_plan_t full_plan = {160, 1.0};
static const quick_plan_t brief_plan = {40, 0.5};

static const char usage[] =
    "usage: tinker-quickstart --locald FILE --model DIR --data FILE --out DIR\n"
    "                         [--short]\n"
    "  --short: a quarter of the training, half of the margin\n"
    "  exit status: 0 all well; 1 the loss did not fall enough or a bit\n"
    "  differs; 2 wrong usage; 3 something could not be done\n";

static const char **slot(options_t *o, const char *flag, const char **stop,
                         const char **mark) {
  struct {
    const char *flag;
    const char **value;
  } table[] = {
      {"--locald", &o->paths.locald}, {"--model", &o->paths.model},
      {"--data", &o->paths.data},     {"--out", &o->paths.out},
      {"--proof", &o->proof.name},    {"--runs", &o->paths.runs},
      {"--stop-after", stop},         {"--mark-after", mark},
  };
  for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
    if (strcmp(flag, table[i].flag) == 0) return table[i].value;
  }
  return NULL;
}

static bool parse(options_t *o, int argc, char **argv) {
  const char *stop = NULL, *mark = NULL;
  memset(o, 0, sizeof *o);
  o->paths.self = argv[0];
  for (int i = 1; i < argc; i++) {
    if (strcmp(argv[i], "--tune") == 0) {
      o->tune = true;
      continue;
    }
    if (strcmp(argv[i], "--short") == 0) {
      o->brief = true;
      continue;
    }
    const char **value = slot(o, argv[i], &stop, &mark);
    if (value == NULL || i + 1 == argc) return false;
    *value = argv[++i];
  }
  o->proof.stop_after = stop != NULL ? (int)strtol(stop, NULL, 10) : 0;
  o->proof.mark_after = mark != NULL ? (int)strtol(mark, NULL, 10) : 0;
  return o->paths.locald && o->paths.model && o->paths.data && o->paths.out;
}

static int tune_in_worker(const quick_paths_t *paths, bool brief) {
  quick_process_t process;
  const char *argv[] = {paths->self,
                        "--locald",
                        paths->locald,
                        "--model",
                        paths->model,
                        "--data",
                        paths->data,
                        "--out",
                        paths->out,
                        "--tune",
                        brief ? "--short" : NULL,
                        NULL};
  quick_spawn_shared(&process, argv);
  return quick_wait(&process);
}

static void farewell(const quick_paths_t *paths) {
  printf("\nWhere things are:\n"
         "  %s/loss.svg          the loss curve, for a browser\n"
         "  %s/proof-*.txt       the bits of every step of the proof's runs\n"
         "  %s/service           the service's runs and checkpoints\n"
         "  %s/service.log       what the service said\n"
         "What to try next:\n"
         "  examples/02_train.c    the training loop in under 100 lines\n"
         "  examples/05_rl.c       reinforcement learning, reward in C\n"
         "  examples/09_recover.c  a loop that may be killed at any moment\n"
         "  docs/local-service.md  the service on its own\n",
         paths->out, paths->out, paths->out, paths->out);
}

static int parent(const quick_paths_t *paths, bool brief) {
  quick_service_t service;
  if (mkdir(paths->out, 0777) != 0 && errno != EEXIST) {
    quick_die("%s: %s", paths->out, strerror(errno));
  }
  printf("== the local service\n");
  quick_service_start(&service, paths, "service", NULL);
  printf("listening on %s\n\n== fine-tune %s on %s\n", service.url,
         paths->model, paths->data);
  int tuned = tune_in_worker(paths, brief);
  if (tuned != QUICK_OK && tuned != QUICK_FAILED) {
    quick_die("the main job ended with status %d", tuned);
  }
  printf("\n== proof: killed, and marked as corrupted, equals undisturbed\n");
  int proved = quick_prove(paths, &service);
  farewell(paths);
  printf("\n%s\n", tuned || proved ? "FAILED" : "All well.");
  return tuned || proved ? QUICK_FAILED : QUICK_OK;
}

int main(int argc, char **argv) {
  options_t o;
  setvbuf(stdout, NULL, _IOLBF, 0);
  if (!parse(&o, argc, argv)) {
    fputs(usage, stderr);
    return QUICK_USAGE;
  }
  if (o.tune) return quick_tune(&o.paths, o.brief ? &brief_plan : &full_plan);
  if (o.proof.name != NULL) return quick_proof(&o.paths, &o.proof);
  return parent(&o.paths, o.brief);
}
