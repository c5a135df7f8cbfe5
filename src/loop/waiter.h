/* waiter: one call that sleeps until something it asked for has happened.
 *
 * The call makes a waiter on its stack, puts one waiting entry into the list of
 * each thing it waits for (a future, a client's list of ended futures), sleeps,
 * and takes its entries out. Whoever makes such a thing happen wakes the list
 * of that thing, and nobody else wakes up.
 *
 * A list has no lock: it is guarded by the lock of its owner. A waiter can't be
 * gone while it is woken, because its call takes the entry out under that lock
 * first. Lock order: the owner's lock, then the waiter's. */
#ifndef TINKER_LOOP_WAITER_H
#define TINKER_LOOP_WAITER_H

#include <uv.h>

#include "base/list.h"
#include "base/world.h"

typedef struct tinker__waiter_s {
  uv_mutex_t lock;
  uv_cond_t cond;
  bool woken; /* under the lock: since the last look */
} tinker__waiter_t;

/* An entry in a list of those who wait for one thing. */
typedef struct tinker__waiting_s {
  tinker__link_t link;
  tinker__waiter_t *waiter;
} tinker__waiting_t;

/* 0 or TINKER_ENOMEM. */
int tinker__waiter_init(tinker__waiter_t *waiter);
void tinker__waiter_done(tinker__waiter_t *waiter);
/* Any thread, while something keeps the waiter from going: the lock of a list
 * that it has an entry in. */
void tinker__waiter_wake(tinker__waiter_t *waiter);
/* Sleeps until ready(user), which takes no lock of a waiting list's owner and
 * becomes true before the waiter is woken. until_ms: the world's monotonic
 * time, INT64_MAX = no limit. 0 or TINKER_ETIMEDOUT. */
int tinker__waiter_sleep(tinker__waiter_t *waiter, const tinker__world_t *world,
                         bool (*ready)(void *user), void *user,
                         int64_t until_ms);

/* Under the lock of the list's owner. */
static inline void tinker__waiting_add(tinker__link_t *list,
                                       tinker__waiting_t *entry,
                                       tinker__waiter_t *waiter) {
  entry->waiter = waiter;
  tinker__list_init(&entry->link);
  tinker__list_push_back(list, &entry->link);
}
static inline void tinker__waiting_remove(tinker__waiting_t *entry) {
  tinker__list_remove(&entry->link);
}
/* Wakes all who wait; their entries stay in. Under the lock of the list's
 * owner. */
void tinker__waiting_wake(const tinker__link_t *list);

#endif
