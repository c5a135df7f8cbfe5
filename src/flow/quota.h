/* quota: a byte semaphore as the service's clients know it (protocol 6.4,
 * 9.4, 10.1). Whoever finds the rest not below zero may enter and takes its
 * bytes, however many: the rest may become negative, so that one request
 * larger than the whole quota still goes, alone. Waiters are served in order.
 *
 * Runs on the I/O thread; no allocation. */
#ifndef TINKER_FLOW_QUOTA_H
#define TINKER_FLOW_QUOTA_H

#include <stdint.h>

#include "base/list.h"

typedef struct tinker__quota_s {
  int64_t left;
  tinker__link_t waiting;
} tinker__quota_t;

static inline void tinker__quota_init(tinker__quota_t *q, int64_t size) {
  q->left = size;
  tinker__list_init(&q->waiting);
}
static inline bool tinker__quota_open(const tinker__quota_t *q) {
  return q->left >= 0;
}
/* Takes the bytes and returns true if the door is open and nobody waits;
 * else lines the link up and returns false. */
bool tinker__quota_enter(tinker__quota_t *q, tinker__link_t *link,
                         int64_t bytes);
static inline void tinker__quota_leave(tinker__quota_t *q, int64_t bytes) {
  q->left += bytes;
}
/* The next waiter that may enter, NULL if none; the caller then takes its
 * bytes with tinker__quota_take. */
tinker__link_t *tinker__quota_next(tinker__quota_t *q);
static inline void tinker__quota_take(tinker__quota_t *q, int64_t bytes) {
  q->left -= bytes;
}

#endif
