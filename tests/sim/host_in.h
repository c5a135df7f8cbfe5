/* host_in: between host.c, which schedules, and the files with the calls. The
 * running thread alone is in here. */
#ifndef TESTS_SIM_HOST_IN_H
#define TESTS_SIM_HOST_IN_H

#include "sim/host.h"

#define SIM_NEVER INT64_MAX

typedef enum {
  SIM_ON_NOTHING, /* ready */
  SIM_ON_LOCK,
  SIM_ON_COND,
  SIM_ON_THREAD,
  SIM_ON_SLEEP,
  SIM_ON_POLL,
  SIM_ON_END /* it has ended */
} sim_on_t;

int64_t sim_now_ns(void);
/* Blocks the running thread on an address; false: until_ns has passed. */
bool sim_block(sim_on_t on, const void *what, int64_t until_ns);
/* Lets all, or one that chance picks, go on that are blocked so. */
void sim_wake(sim_on_t on, const void *what, bool all);
uint64_t sim_draw(void);
/* Number of the running thread, from 1; 0 = outside. */
int sim_self(void);

#endif
