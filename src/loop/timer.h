/* timer: one-shot timers and the queue that orders them.
 *
 * The queue is a pairing heap threaded through the timers: start is O(1), stop
 * and fire are O(log n) amortised, nothing is allocated. Shared by all
 * implementations of the loop. Not thread-safe; knows no clock. */
#ifndef TINKER_LOOP_TIMER_H
#define TINKER_LOOP_TIMER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct tinker__timer_s {
  void (*run)(struct tinker__timer_s *timer);
  int64_t due_ms;
  uint64_t order; /* breaks ties: the earlier start fires first */
  struct tinker__timer_s *child;
  struct tinker__timer_s *next; /* sibling */
  struct tinker__timer_s *prev; /* sibling before, or parent of the first */
  bool queued;
} tinker__timer_t;

static inline void tinker__timer_init(tinker__timer_t *timer,
                                      void (*run)(tinker__timer_t *timer)) {
  *timer = (tinker__timer_t){.run = run};
}
static inline bool tinker__timer_active(const tinker__timer_t *timer) {
  return timer->queued;
}

typedef struct tinker__timers_s {
  tinker__timer_t *root;
  uint64_t order;
} tinker__timers_t;

/* Puts a timer in, or moves one that is in. */
void tinker__timers_put(tinker__timers_t *q, tinker__timer_t *timer,
                        int64_t due_ms);
/* Takes a timer out; nothing happens if it is not in. */
void tinker__timers_remove(tinker__timers_t *q, tinker__timer_t *timer);
/* The earliest, left in; NULL when empty. */
tinker__timer_t *tinker__timers_first(const tinker__timers_t *q);
/* Mark of a turn's begin: timers put in later belong to the next turn. */
static inline uint64_t tinker__timers_turn(const tinker__timers_t *q) {
  return q->order;
}
/* The earliest if it is due at now_ms and was put in before the turn began,
 * taken out; else NULL. A due time before now_ms must not be put in during a
 * turn, or it would hide the timers after it: clamp it to now. */
tinker__timer_t *tinker__timers_pop(tinker__timers_t *q, int64_t now_ms,
                                    uint64_t turn);

#endif
