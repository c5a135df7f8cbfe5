/* beacon: a descriptor that is readable while it is raised, for event loops of
 * others. The caller's lock guards it; nothing here blocks. */
#ifndef TINKER_BASE_BEACON_H
#define TINKER_BASE_BEACON_H

#include <stdbool.h>

typedef struct tinker__beacon_s {
  int fds[2]; /* a pipe, which holds one byte while it is raised */
  bool open, raised;
} tinker__beacon_t;

/* Makes the descriptor, lowered; nothing happens to one that is open. 0 or
 * TINKER_EIO. A beacon of zeros is not open: raise, lower and close do nothing
 * to it. */
int tinker__beacon_open(tinker__beacon_t *beacon);
void tinker__beacon_raise(tinker__beacon_t *beacon);
void tinker__beacon_lower(tinker__beacon_t *beacon);
void tinker__beacon_close(tinker__beacon_t *beacon);
static inline int tinker__beacon_fd(const tinker__beacon_t *beacon) {
  return beacon->fds[0];
}

#endif
