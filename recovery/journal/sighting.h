/* sighting: what one process has read of a run's model in a list of the
 * service, for the process that trains it: a daemon with many runs asks for all
 * of them at once, and no run has to ask for itself. A small file in the run's
 * folder. Nothing depends on it: one that is missing, old, of another boot of
 * the machine or not whole is none. Any thread. */
#ifndef TINKER_RECOVERY_JOURNAL_SIGHTING_H
#define TINKER_RECOVERY_JOURNAL_SIGHTING_H

#include <stdbool.h>

#include "base/mem.h"
#include "base/world.h"

#define TINKER__REC_MODEL_ROOM 256

typedef struct tinker__rec_sighting_s {
  int64_t asked_ms; /* boot clock: when the list was asked for */
  bool corrupted;
  char model[TINKER__REC_MODEL_ROOM];
} tinker__rec_sighting_t;

/* dir: the run's folder. 0 or a code: then there is the one before. */
int tinker__rec_sighting_write(const tinker__world_t *w, tinker__mem_t *mem,
                               const char *dir,
                               const tinker__rec_sighting_t *s);
/* false = there is none. */
bool tinker__rec_sighting_read(const tinker__world_t *w, tinker__mem_t *mem,
                               const char *dir, tinker__rec_sighting_t *out);

#endif
