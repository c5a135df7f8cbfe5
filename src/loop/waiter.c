/* One call that sleeps, see waiter.h. Any thread. */
#include "loop/waiter.h"

#include <tinker/error.h>

#define SLEEP_MAX_MS 3600000 /* keeps nanoseconds in range */

int tinker__waiter_init(tinker__waiter_t *w) {
  w->woken = false;
  if (uv_mutex_init(&w->lock)) return TINKER_ENOMEM;
  if (!uv_cond_init(&w->cond)) return 0;
  uv_mutex_destroy(&w->lock);
  return TINKER_ENOMEM;
}

void tinker__waiter_done(tinker__waiter_t *w) {
  uv_cond_destroy(&w->cond);
  uv_mutex_destroy(&w->lock);
}

/* The one who wakes up needs the lock, which is free by then. */
void tinker__waiter_wake(tinker__waiter_t *w) {
  uv_mutex_lock(&w->lock);
  w->woken = true;
  uv_mutex_unlock(&w->lock);
  uv_cond_signal(&w->cond);
}

/* Until woken or until_ms; false when that time has passed. */
static bool doze(tinker__waiter_t *w, const tinker__world_t *world,
                 int64_t until_ms) {
  bool in_time = true;
  uv_mutex_lock(&w->lock);
  while (!w->woken && in_time) {
    if (until_ms == INT64_MAX) {
      uv_cond_wait(&w->cond, &w->lock);
      continue;
    }
    int64_t left = until_ms - world->now_ms(world->user);
    in_time = left > 0;
    if (left > SLEEP_MAX_MS) left = SLEEP_MAX_MS;
    if (in_time) {
      uv_cond_timedwait(&w->cond, &w->lock, (uint64_t)left * 1000000);
    }
  }
  w->woken = false;
  uv_mutex_unlock(&w->lock);
  return in_time;
}

int tinker__waiter_sleep(tinker__waiter_t *w, const tinker__world_t *world,
                         bool (*ready)(void *user), void *user,
                         int64_t until_ms) {
  bool in_time = true;
  for (;;) {
    if (ready(user)) return 0;
    if (!in_time) return TINKER_ETIMEDOUT;
    in_time = doze(w, world, until_ms);
  }
}

void tinker__waiting_wake(const tinker__link_t *list) {
  for (tinker__link_t *l = list->next; l != list; l = l->next) {
    tinker__waiter_wake(TINKER__CONTAINER(l, tinker__waiting_t, link)->waiter);
  }
}
