/* progress: how far a run has come, in a file of one line: the number of steps
 * in its last checkpoint and the checkpoint's path. */
#ifndef PROGRESS_H
#define PROGRESS_H

#include <unistd.h>

#include "example.h"

typedef struct progress_s {
  const char *file;
  int steps; /* 0 = there is no checkpoint yet */
  char path[1024];
} progress_t;

static inline void progress_stop(const char *file) {
  perror(file);
  exit(1);
}

static inline progress_t progress_load(const char *file) {
  progress_t p = {.file = file};
  FILE *f = fopen(file, "r");
  if (!f) return p;
  if (fscanf(f, "%d %1023s", &p.steps, p.path) != 2) progress_stop(file);
  fclose(f);
  return p;
}

/* Whenever the program is killed, the file has the old line or the new one. */
static inline void progress_store(progress_t *p, int steps, const char *path) {
  char other[4096];
  p->steps = steps;
  snprintf(p->path, sizeof p->path, "%s", path);
  snprintf(other, sizeof other, "%s.new", p->file);
  FILE *f = fopen(other, "w");
  if (!f || fprintf(f, "%d %s\n", steps, path) < 0 || fflush(f) ||
      fsync(fileno(f)) || fclose(f) || rename(other, p->file)) {
    progress_stop(other);
  }
}

#endif
