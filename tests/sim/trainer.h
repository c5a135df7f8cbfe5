/* trainer: the program of a child: a loop with a run, as the README shows it.
 * What it is told goes to the parent as the shadow log. */
#ifndef TESTS_SIM_TRAINER_H
#define TESTS_SIM_TRAINER_H

#include "sim/fate.h"
#include "sim/wire.h"

#define SIM_RUN "sim"
#define SIM_KEY "tml-simulated-key"

typedef struct {
  const sim_trainer_t *plan;
  const char *folder;
  int life;
} sim_program_t;

/* The exit status of the program: 0 = the run is done, or a SIM_STATUS_. */
int sim_trainer_main(const sim_program_t *program);

/* To the parent; text may be NULL. */
sim_word_t sim_tell(const sim_shadow_t *line, const char *text, size_t len);

#endif
