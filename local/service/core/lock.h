/* lock: takes and gives the one lock of the service, and notes which function
 * has held it longest, since nobody else is served meanwhile. The thread that
 * releases the lock resumes the requests that were answered under it, but only
 * afterwards, since each resumption takes a system call and a lock of the HTTP
 * library. */
#ifndef TINKER_SERVICE_CORE_LOCK_H
#define TINKER_SERVICE_CORE_LOCK_H

#include <stdint.h>

#include "service/core/types.h"

/* Measures the holds of the lock. Under the lock. */
typedef struct tinker__svc_hold_s {
  int64_t since_ns; /* when the present hold began; 0 = not measured */
  const char *who;
  int64_t longest_ns; /* the longest hold since the start, and its function */
  const char *longest_who;
} tinker__svc_hold_t;

#define tinker__svc_lock(s) tinker__svc_lock_as((s), __func__)
void tinker__svc_lock_as(tinker__svc_t *s, const char *who);
void tinker__svc_unlock(tinker__svc_t *s);
/* Called around a wait on a condition, which gives the lock away and takes it
 * back. Under the lock. */
void tinker__svc_hold_end(tinker__svc_t *s);
void tinker__svc_hold_begin(tinker__svc_t *s, const char *who);

#endif
