/* step: a loop without threads, which its user turns.
 *
 * The loop has an owner: the thread that made it, until another one steps it;
 * then that one. Only one thread at a time is in a step or drives a wait.
 * tinker__loop_sleep on the owner turns the loop itself until it is ready; on
 * another thread it waits for the owner to turn it. Inside a task, a timer, a
 * watch or a delivery it is refused, as a step is.
 *
 * tinker__loop_close inside a step takes effect when that step ends. Elsewhere
 * it waits until the step of another thread has ended, and then runs what is
 * queued on the calling thread. */
#ifndef TINKER_LOOP_STEP_H
#define TINKER_LOOP_STEP_H

#include "loop/loop.h"

/* mem and world outlive the loop. 0, TINKER_ENOMEM, TINKER_EIO. */
int tinker__loop_step(tinker__loop_t **out, tinker__mem_t *mem,
                      const tinker__world_t *world);

/* The descriptor that becomes readable when a step has something to do, timers
 * apart. Any thread; the loop's own: never read or close it. */
int tinker__step_fd(const tinker__loop_t *loop);
/* Milliseconds until a step has something to do: 0 = now, -1 = not before the
 * descriptor is readable. Any thread. */
int64_t tinker__step_timeout_ms(const tinker__loop_t *loop);
/* Does what can be done without waiting: timers that are due, descriptors that
 * are ready, posted tasks, then delivered tasks. Never blocks; what is left
 * after some milliseconds of tasks is for the next step. 0, TINKER_EBUSY when
 * another thread is in a step, TINKER_EDEADLK inside one. */
int tinker__step(tinker__loop_t *loop);
/* Makes the calling thread the owner. Waits until the step of another thread
 * has ended. */
void tinker__step_adopt(tinker__loop_t *loop);

#endif
