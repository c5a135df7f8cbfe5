/* daemon: runs tinker-locald as a process with a folder of its own, for
 * benchmarks of the service. One thread. A failure ends the program; on Linux
 * the process ends with it. */
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
/* Starts the process and returns when it has printed its ready line. */
void daemon_start(daemon_t *d);
/* Sends the signal (SIGTERM or SIGKILL) and returns when the process has ended.
 */
void daemon_stop(daemon_t *d, int signal);
/* The number of decode rounds since the process started. */
double daemon_rounds(const daemon_t *d);
/* Removes the folder. The process must have been stopped. */
void daemon_remove(daemon_t *d);

/* Writes a message to standard error and calls exit(1). */
void give_up(const char *format, ...);

#endif
