/* scheduler: the engine thread, and the order of its work.
 *
 * Training is a queue of tasks, each a cursor of small steps. Sampling is
 * decode rounds over all sequences that are being sampled (see generate.h).
 * While there is work of both kinds, they share the engine's time by the
 * policy: a step is followed by rounds until these have had their share of its
 * time, and a round that took more than its share is followed by steps until
 * these have had theirs. So a sample does not wait for the queue of tasks, and
 * samples, however many, do not keep a task from its turn. A kind that has
 * nothing to do leaves all time to the other, and saves up no more than its
 * share of the last step or round. Where a step or round is too short for the
 * clock, steps and rounds alternate. Tasks run in the order in which they were
 * pushed, one after the other.
 *
 * push, sample, beat, queued and halt may be called from any thread, new and
 * free from the owner's. All else runs on the engine thread, the only one that
 * makes an engine work. */
#ifndef TINKER_ENGINE_SCHEDULER_H
#define TINKER_ENGINE_SCHEDULER_H

#include "base/list.h"
#include "base/mem.h"
#include "base/world.h"
#include "engine/engine.h"
#include "engine/generate.h"

typedef struct tinker__eng_scheduler_s tinker__eng_scheduler_t;

typedef struct tinker__eng_task_s {
  tinker__link_t link; /* used by the scheduler while the task is pushed */
  /* Does one small step; true while there is more. After false the scheduler
   * does not touch the task again, so the step may have freed it. */
  bool (*step)(struct tinker__eng_task_s *task);
} tinker__eng_task_t;

typedef struct tinker__eng_scheduler_policy_s {
  const tinker__world_t *world; /* its now_ms is the clock */
  int64_t sample_share; /* percent of the engine's time that rounds get while
                           tasks want it, too; 1 to 99 */
} tinker__eng_scheduler_policy_t;

/* Starts the thread. on_start runs on it first, to open engines and load base
 * models; new returns its result when it is done. on_stop runs on the thread
 * last, if on_start returned 0. *doing is -1 during a decode round; tasks may
 * set it to other numbers. */
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
/* A count that rises when a step or round begins and when it ends, so it is odd
 * while one is under way. Any thread. */
uint64_t tinker__eng_scheduler_beat(const tinker__eng_scheduler_t *s);
/* Decode rounds so far. Any thread. */
uint64_t tinker__eng_scheduler_rounds(const tinker__eng_scheduler_t *s);
/* How many tasks and generations the engine thread has not taken yet. Any
 * thread. */
void tinker__eng_scheduler_queued(tinker__eng_scheduler_t *s, size_t *tasks,
                                  size_t *gens);
/* The flag is set when the scheduler ends. A task then gives up its work in the
 * engine and returns true. */
const atomic_bool *tinker__eng_scheduler_halt(const tinker__eng_scheduler_t *s);
/* Halts the step or round under way and joins the thread. Tasks that are still
 * queued are given to `dropped` (may be NULL); generations are freed without a
 * call of their done. */
void tinker__eng_scheduler_free(tinker__eng_scheduler_t *s,
                                void (*dropped)(tinker__eng_task_t *task));

#endif
