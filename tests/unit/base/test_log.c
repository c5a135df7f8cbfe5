/* Draining ends although the callback logs. */
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
