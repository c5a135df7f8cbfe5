/* The service's lock: who held it for longest. */
#include <criterion/criterion.h>

#include "rig.h"

Test(lock, the_longest_hold) {
  static rig_t rig;
  rig_open(&rig);
  tinker__svc_t *s = rig.s;
  tinker__svc_lock_as(s, "first");
  s->hold.since_ns -= (int64_t)1 << 50; /* as if it had been taken then */
  tinker__svc_unlock(s);
  tinker__svc_lock_as(s, "short");
  cr_assert_str_eq(s->hold.longest_who, "first");
  cr_assert_geq(s->hold.longest_ns, (int64_t)1 << 50);
  tinker__svc_hold_end(s); /* a wait is no hold */
  s->hold.since_ns = 0;
  tinker__svc_hold_end(s);
  cr_assert_lt(s->hold.longest_ns, (int64_t)1 << 51);
  tinker__svc_hold_begin(s, "longer");
  s->hold.since_ns -= (int64_t)1 << 52;
  tinker__svc_unlock(s);
  tinker__svc_lock(s);
  cr_assert_str_eq(s->hold.longest_who, "longer");
  tinker__svc_unlock(s);
  rig_close(&rig);
}
