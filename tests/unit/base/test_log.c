/* Draining ends although the callback logs, and what it leaves is asked for
 * again. */
#include "base/log.h"

#include <criterion/criterion.h>

static tinker__log_t *ring;
static int calls;

static void log_more(void *user, tinker_log_level_t level,
                     const char *component, const char *message) {
  (void)user;
  (void)level;
  (void)component;
  (void)message;
  cr_assert_lt(++calls, 1000, "it goes on for ever");
  TINKER__LOG(ring, TINKER_LOG_WARNING, "test", "and one more");
}

Test(log, a_callback_that_logs, .timeout = 10) {
  tinker__mem_t mem;
  tinker__mem_init(&mem, NULL, 0);
  cr_assert_eq(tinker__log_new(&ring, &mem, TINKER_LOG_INFO, 8, NULL, NULL), 0);
  TINKER__LOG(ring, TINKER_LOG_WARNING, "test", "one");
  cr_assert_leq(tinker__log_drain(ring, log_more, NULL), 10u);
  tinker__log_free(ring);
  cr_assert_eq(atomic_load(&mem.live_blocks), 0);
}

static int wakes, lines;

static void wake(void *user) {
  (void)user;
  wakes++;
}

/* Another thread is faster than the callback: the ring is full again. */
static void refill(void *user, tinker_log_level_t level, const char *component,
                   const char *message) {
  (void)user;
  (void)level;
  (void)component;
  (void)message;
  if (++lines < 100) TINKER__LOG(ring, TINKER_LOG_WARNING, "test", "more");
}

/* Each line is handed over, although one drain takes only so many. */
Test(log, what_one_drain_leaves_is_asked_for) {
  tinker__mem_t mem;
  tinker__mem_init(&mem, NULL, 0);
  cr_assert_eq(tinker__log_new(&ring, &mem, TINKER_LOG_INFO, 8, wake, NULL), 0);
  TINKER__LOG(ring, TINKER_LOG_WARNING, "test", "one");
  TINKER__LOG(ring, TINKER_LOG_WARNING, "test", "two");
  cr_assert_eq(wakes, 1);
  for (int asked = 0; asked < wakes; asked++) {
    tinker__log_drain(ring, refill, NULL);
  }
  cr_assert_eq(lines, 101);
  tinker__log_free(ring);
}
