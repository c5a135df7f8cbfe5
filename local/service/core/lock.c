/* lock: see lock.h. It reads the real clock, not the service's world: the times
 * are only shown, and nothing is decided by them. */
#include "service/core/lock.h"

#include <time.h>

#include "service/core/core.h"

static int64_t now_ns(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

void tinker__svc_hold_begin(tinker__svc_t *s, const char *who) {
  s->hold.since_ns = now_ns();
  s->hold.who = who;
}

void tinker__svc_hold_end(tinker__svc_t *s) {
  tinker__svc_hold_t *h = &s->hold;
  int64_t ns = h->since_ns ? now_ns() - h->since_ns : 0;
  h->since_ns = 0;
  if (ns <= h->longest_ns) return;
  h->longest_ns = ns;
  h->longest_who = h->who;
}

void tinker__svc_lock_as(tinker__svc_t *s, const char *who) {
  pthread_mutex_lock(&s->lock);
  tinker__svc_hold_begin(s, who);
}

void tinker__svc_unlock(tinker__svc_t *s) {
  tinker__svc_hold_end(s);
  pthread_mutex_unlock(&s->lock);
}
