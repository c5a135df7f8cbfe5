/* news: shows what operations wait for, and counts how long (waits.h).
 *
 * Three ways lead to the user: the state that tinker_future_progress() copies
 * (kept in the future), events, and warnings in the log. An operation is held
 * while something other than its place in the order keeps it from its end; what
 * that is has one of a few names (tinker_hold_t), and for each of them there is
 * a list of the operations that it holds. A warning says so when one of them
 * has been held for 2 s, and then every 30 s: one line for all of a list. An
 * operation that nobody waits for any more shows nothing.
 *
 * Loop's thread; no allocation. */
#ifndef TINKER_FLOW_NEWS_H
#define TINKER_FLOW_NEWS_H

#include <tinker/progress.h>

#include "base/list.h"
#include "loop/timer.h"

#define TINKER__HOLD_COUNT (TINKER_HOLD_QUEUE + 1)

struct tinker__flow_s;

/* The operations that one thing holds. */
typedef struct tinker__held_s {
  struct tinker__flow_s *flow;
  tinker__link_t ops;
  size_t count;
  int64_t next_ms; /* no warning before; 0 = there was none */
  tinker__timer_t timer;
} tinker__held_t;

void tinker__news_init(struct tinker__flow_s *flow);

#endif
