/* budget: see budget.h. */
#include "service/core/budget.h"

#include "service/core/core.h"

#define MAX_HELD ((uint64_t)256 << 20)
#define MAX_RESULT ((uint64_t)800 << 20) /* SQLite's rows end at 10^9 bytes */
#define LEAST ((uint64_t)256 << 10)      /* bytes of the smallest unit */
#define BODIES 4                         /* largest bodies under way at once */
/* Bodies, decoded bodies, bodies read from the log, results, replies. */
#define UNITS (TINKER__BODY_FACTOR + 1 + 1 + 1 + TINKER__REPLY_FACTOR)
#define PART 4 /* requests get this fraction of the rest: 1 / PART */

bool tinker__svc_share_take(tinker__svc_share_t *p, uint64_t bytes,
                            bool alone) {
  uint64_t used = atomic_load(&p->used), limit = atomic_load(&p->limit);
  do {
    bool room = bytes <= limit && used <= limit - bytes;
    if (!room && (used || !alone)) return false;
  } while (!atomic_compare_exchange_weak(&p->used, &used, used + bytes));
  return true;
}

void tinker__svc_share_add(tinker__svc_share_t *p, uint64_t bytes) {
  atomic_fetch_add(&p->used, bytes);
}

void tinker__svc_share_give(tinker__svc_share_t *p, uint64_t bytes) {
  atomic_fetch_sub(&p->used, bytes);
}

static uint64_t least(uint64_t a, uint64_t b) {
  return a < b ? a : b;
}

/* A part gets one unit, or more if its contents take several times the bytes
 * that are counted for them (BODY_FACTOR, REPLY_FACTOR). */
uint64_t tinker__svc_budget_plan(tinker__svc_t *s, uint64_t rest) {
  uint64_t unit = rest == UINT64_MAX ? UINT64_MAX : rest / PART / UNITS;
  if (unit < LEAST) unit = LEAST;
  uint64_t bodies = least(unit, BODIES * (uint64_t)s->config.max_body);
  uint64_t held = least(unit, MAX_HELD);
  uint64_t results = least(unit, TINKER__RESULT_PARTS * MAX_RESULT);
  uint64_t replies = TINKER__REPLY_FACTOR * results;
  atomic_store(&s->max_bodies, (size_t)bodies);
  atomic_store(&s->logs.limit, held);
  atomic_store(&s->results.limit, results);
  atomic_store(&s->replies.limit, replies);
  tinker__svc_lock(s);
  s->max_held = (size_t)held;
  s->max_result = (size_t)(results / TINKER__RESULT_PARTS);
  tinker__svc_unlock(s);
  uint64_t all = TINKER__BODY_FACTOR * bodies + held + held + results + replies;
  return least(all, rest / PART); /* the least of all is not reserved */
}
