/* daemon: tinker-locald as a process with a folder of its own, for benchmarks
 * of the service. One thread; a failure ends the program, and the process with
 * it. */
#ifndef TINKER_BENCH_DAEMON_H
#define TINKER_BENCH_DAEMON_H

#include <sys/types.h>

typedef struct {
  const char *program, *model; /* the model's folder; it is served as "m" */
  unsigned threads;            /* of the engine; 0 = one per core */
  char dir[64], socket[80], url[96];
  pid_t pid;
} daemon_t;

/* Makes the folder. */
void daemon_init(daemon_t *d, const char *program, const char *model,
                 unsigned threads);
/* Returns when it says that it is ready. */
void daemon_start(daemon_t *d);
/* Returns when it is gone. */
void daemon_stop(daemon_t *d, int signal);
/* Decode rounds since its start. */
double daemon_rounds(const daemon_t *d);
/* Removes the folder of one that was stopped. */
void daemon_remove(daemon_t *d);

/* A message to standard error, then exit(1). */
void give_up(const char *format, ...);

#endif
