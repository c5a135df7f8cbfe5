/* scheduler: the engine thread, and what it does next.
 *
 * Training work is a queue of tasks, each a cursor of small steps. Sampling is
 * decode rounds over all sequences that are being sampled (see generate.h).
 * While there is work of both kinds they share the engine's time by the
 * policy: a step is followed by rounds until these have had their share of its
 * time, and a round that took longer than it was due is followed by steps until
 * these have had theirs. So a sample never waits for the queue, and samples,
 * however many, never keep a task from its turn. A kind that has nothing to do
 * leaves all time to the other, and saves up no more than the last step or
 * round is worth. Where the clock can't tell, steps and rounds alternate. Tasks
 * run one after the other in the order they were pushed.
 *
 * push, sample, call and stop may be called from any thread; everything else
 * happens on the engine thread, which is the only one that calls engines. */
#ifndef TINKER_ENGINE_SCHEDULER_H
#define TINKER_ENGINE_SCHEDULER_H

#include "base/list.h"
#include "base/mem.h"
#include "base/world.h"
#include "engine/engine.h"
#include "engine/generate.h"

typedef struct tinker__eng_scheduler_s tinker__eng_scheduler_t;

typedef struct tinker__eng_task_s {
  tinker__link_t link; /* the scheduler's while the task is pushed */
  /* One small step; true while there is more. The task is no longer the
   * scheduler's when it returns false (it may have been freed). */
  bool (*step)(struct tinker__eng_task_s *task);
} tinker__eng_task_t;

typedef struct tinker__eng_scheduler_policy_s {
  const tinker__world_t *world; /* its now_ms is the clock */
  int64_t sample_share; /* percent of the engine's time that rounds get while
                           tasks want it, too; 1 to 99 */
} tinker__eng_scheduler_policy_t;

/* Starts the thread. *doing is -1 during a decode round; tasks may set it to
 * something of their own. on_start runs on it first (it opens engines and loads
 * base models); new returns when it is done, with its result. on_stop runs on
 * the thread last, if on_start went well. */
int tinker__eng_scheduler_new(tinker__eng_scheduler_t **out, tinker__mem_t *mem,
                              const tinker__eng_scheduler_policy_t *policy,
                              _Atomic int64_t *doing,
                              int (*on_start)(void *user),
                              void (*on_stop)(void *user), void *user);
void tinker__eng_scheduler_push(tinker__eng_scheduler_t *s,
                                tinker__eng_task_t *task);
/* Hands a generation over; its `done` runs on the engine thread. */
void tinker__eng_scheduler_sample(tinker__eng_scheduler_t *s,
                                  tinker__eng_gen_t *gen);
/* Counts up when a step or round begins and when it ends: odd = one is under
 * way. Any thread. */
uint64_t tinker__eng_scheduler_beat(const tinker__eng_scheduler_t *s);
/* Decode rounds so far. Any thread. */
uint64_t tinker__eng_scheduler_rounds(const tinker__eng_scheduler_t *s);
/* How many tasks and generations wait for the engine thread to take them; what
 * it has taken is not among them. Any thread. */
void tinker__eng_scheduler_queued(tinker__eng_scheduler_t *s, size_t *tasks,
                                  size_t *gens);
/* Set when the scheduler ends: a task gives what it is doing in the engine up,
 * and says that there is more. */
const atomic_bool *tinker__eng_scheduler_halt(const tinker__eng_scheduler_t *s);
/* Halts what is under way and joins the thread. Tasks that are still
 * queued are given to `dropped` (may be NULL), generations are freed. */
void tinker__eng_scheduler_free(tinker__eng_scheduler_t *s,
                                void (*dropped)(tinker__eng_task_t *task));

#endif
