/* sim: what all parts of the simulation share.
 *
 * The parent process (sim.c) owns the virtual time, the server, the fate and
 * the disk's folder. A child is one life of a trainer, and runs the real code.
 * What a child's loop is told goes to the parent at once, as the shadow log. */
#ifndef TESTS_SIM_SIM_H
#define TESTS_SIM_SIM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The only source of chance: splitmix64. One stream for each use, so that a
 * draw more in one part changes no other. */
typedef struct {
  uint64_t state;
} sim_rng_t;

static inline uint64_t sim_rng_next(sim_rng_t *r) {
  uint64_t z = r->state += 0x9e3779b97f4a7c15u;
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
  return z ^ (z >> 31);
}

static inline sim_rng_t sim_rng(uint64_t seed, uint64_t use) {
  sim_rng_t r = {seed * 0x9e3779b97f4a7c15u + use};
  r.state = sim_rng_next(&r);
  return r;
}

/* From 0 to n - 1; n > 0. */
static inline uint64_t sim_rng_below(sim_rng_t *r, uint64_t n) {
  return sim_rng_next(r) % n;
}

static inline bool sim_rng_chance(sim_rng_t *r, uint64_t one_in) {
  return sim_rng_below(r, one_in) == 0;
}

/* What a life of the trainer was told, in order. */
typedef enum {
  SIM_SHADOW_BORN,   /* a process began */
  SIM_SHADOW_NEXT,   /* tinker_run_next gave `step`; rolled_back */
  SIM_SHADOW_COMMIT, /* the commit of `step` ended well; loss */
  SIM_SHADOW_FAILED, /* the commit of `step`, or next (step 0), failed: code */
  SIM_SHADOW_DONE,   /* next said that the run has all its steps */
  SIM_SHADOW_EVENT,  /* a line of the run's event_cb, in text */
  SIM_SHADOW_DIED    /* the process is gone: code = exit status, -1 = killed,
                        -2 = by the power */
} sim_shadow_kind_t;

typedef struct {
  sim_shadow_kind_t kind;
  int life; /* from 0 on */
  int64_t now_ms;
  int64_t step;
  bool rolled_back;
  int code; /* TINKER_E... */
  double loss;
  char *text; /* owned by the log; NULL = none */
} sim_shadow_t;

typedef struct {
  sim_shadow_t *list;
  size_t n;
} sim_log_t;

#endif
