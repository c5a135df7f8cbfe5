/* run: one simulated run from its first process to its last. The parent's one
 * thread: it lets one child run until nothing in it can go on, and then lets
 * time pass to what is next. */
#ifndef TESTS_SIM_RUN_H
#define TESTS_SIM_RUN_H

#include "sim/disk.h"
#include "sim/fate.h"
#include "sim/wire.h"

/* So many services there are: a seed has that of its remainder. */
#define SIM_SERVICES 4

typedef struct {
  uint64_t seed;
  int64_t wall_offset_ms; /* what the wall clock is wrong by at first */
  const sim_script_t *script;
  const char *folder; /* of all runs; empty */
  sim_disk_t *disk;
  sim_shared_t *shared;
} sim_run_options_t;

typedef struct {
  sim_server_t *server;
  sim_course_t course;
  sim_log_t log;
  char *timeline; /* one line for each thing that happened */
  size_t timeline_len;
  int64_t end_ms;
  char stuck[256]; /* "" = it has ended; else why it was ended */
} sim_result_t;

void sim_run(const sim_run_options_t *o, sim_result_t *out);
void sim_result_free(sim_result_t *r);

#endif
