/* Byte semaphore, see quota.h. */
#include "flow/quota.h"

bool tinker__quota_enter(tinker__quota_t *q, tinker__link_t *link,
                         int64_t bytes) {
  if (!tinker__quota_open(q) || !tinker__list_empty(&q->waiting)) {
    tinker__list_push_back(&q->waiting, link);
    return false;
  }
  tinker__quota_take(q, bytes);
  return true;
}

tinker__link_t *tinker__quota_next(tinker__quota_t *q) {
  return tinker__quota_open(q) ? tinker__list_pop_front(&q->waiting) : NULL;
}
