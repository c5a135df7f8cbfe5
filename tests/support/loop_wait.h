/* loop_wait: waiting on a loop for a condition of the test's own. One list of
 * those who wait serves all loops of the process. */
#ifndef TESTS_SUPPORT_LOOP_WAIT_H
#define TESTS_SUPPORT_LOOP_WAIT_H

#include "loop/loop.h"

/* tinker__loop_sleep until ready(user). Whoever makes it true calls
 * tinker__loop_notify afterwards. */
int tinker__loop_wait(tinker__loop_t *loop, bool (*ready)(void *user),
                      void *user, int64_t timeout_ms);
/* Wakes all who wait, to look again. Any thread. */
void tinker__loop_notify(tinker__loop_t *loop);

#endif
