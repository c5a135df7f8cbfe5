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
/* The earliest if it is due at now_ms, taken out; else NULL. */
tinker__timer_t *tinker__timers_pop(tinker__timers_t *q, int64_t now_ms);

#endif
