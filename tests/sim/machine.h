/* machine: what the calls of files need of the others. */
#ifndef TESTS_SIM_MACHINE_H
#define TESTS_SIM_MACHINE_H

#include "sim/host.h"

void sim_machine_enter(const sim_host_options_t *o);
/* A descriptor of what the machine says of itself, -1 = it is another path. */
int sim_machine_open(const char *path);
/* A file is about to be synced. */
void sim_machine_tell_sync(void);

#endif
