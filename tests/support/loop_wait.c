/* Waiting for a condition of a test, see loop_wait.h. */
#include "support/loop_wait.h"

#include <pthread.h>

#include "loop/waiter.h"

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static tinker__link_t waiting = {&waiting, &waiting};

int tinker__loop_wait(tinker__loop_t *loop, bool (*ready)(void *user),
                      void *user, int64_t timeout_ms) {
  tinker__waiter_t waiter;
  tinker__waiting_t entry;
  int rc = tinker__waiter_init(&waiter);
  if (rc) return rc;
  pthread_mutex_lock(&lock);
  tinker__waiting_add(&waiting, &entry, &waiter);
  pthread_mutex_unlock(&lock);
  rc = tinker__loop_sleep(loop, &waiter, ready, user, timeout_ms);
  pthread_mutex_lock(&lock);
  tinker__waiting_remove(&entry);
  pthread_mutex_unlock(&lock);
  tinker__waiter_done(&waiter);
  return rc;
}

void tinker__loop_notify(tinker__loop_t *loop) {
  (void)loop;
  pthread_mutex_lock(&lock);
  tinker__waiting_wake(&waiting);
  pthread_mutex_unlock(&lock);
}
