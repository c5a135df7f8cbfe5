/* fake_loop: a loop without threads or descriptors that owns time, for unit
 * and api tests. Nothing happens by itself: the test says how far to go.
 *
 * The caller is "another thread" except inside a task, a timer or a delivery,
 * where tinker__loop_on_thread and tinker__loop_on_delivery say what a real
 * loop would. Random bytes count up, so ids repeat from run to run. */
#ifndef TESTS_SUPPORT_FAKE_LOOP_H
#define TESTS_SUPPORT_FAKE_LOOP_H

#include "loop/loop.h"

typedef struct fake_loop_s {
  tinker__loop_t base; /* first: &fake->base is the loop */
  /* Its own world: time as below, no environment (replace world.env if one is
   * wanted), the real one's files. */
  tinker__world_t world;
  tinker__timers_t timers;
  tinker__link_t posted;
  tinker__link_t delivered;
  int64_t now_ms;
  int64_t wall_offset_ms;
  uint64_t random;
  size_t turns; /* tasks and timers that have run */
  int where;    /* 0 outside, 1 on the loop, 2 delivering */
  bool closing;
  bool closed; /* the loop was closed and nothing is left of it */
  void (*gone)(void *user);
  void *gone_user;
} fake_loop_t;

void fake_loop_init(fake_loop_t *fake, tinker__mem_t *mem);

/* Runs what is posted and delivered until nothing is left; no time passes.
 * Returns how many tasks ran. */
size_t fake_loop_run(fake_loop_t *fake);

/* Lets time pass: runs what is there, then each timer due up to then at its
 * time, with all that follows from it. */
void fake_loop_advance(fake_loop_t *fake, int64_t ms);

/* Advances to the next timer; false when there is none. */
bool fake_loop_next(fake_loop_t *fake);

/* Nothing queued and no timer running: what a test should find at its end. */
bool fake_loop_idle(const fake_loop_t *fake);

/* Runs a function where the loop's own code runs: on its thread. */
void fake_loop_call(fake_loop_t *fake, void (*fn)(void *user), void *user);

#endif
