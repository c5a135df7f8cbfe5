/* host_locks: mutexes and condition variables of the simulated machine.
 *
 * The state lies in the object itself, where a fresh or zeroed one is free, so
 * that objects which a library's initializer made need no table. In the parent
 * and outside there is one thread: the same code never blocks there. */
#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <time.h>

#include "sim/host_in.h"

/* --- Mutexes -------------------------------------------------------------- */

int pthread_mutex_init(pthread_mutex_t *m, const pthread_mutexattr_t *attr) {
  int type = PTHREAD_MUTEX_NORMAL;
  if (attr) pthread_mutexattr_gettype(attr, &type);
  memset(m, 0, sizeof *m);
  m->__data.__kind = type;
  return 0;
}

int pthread_mutex_destroy(pthread_mutex_t *m) {
  (void)m;
  return 0;
}

static int take(pthread_mutex_t *m) {
  m->__data.__lock = 1;
  m->__data.__owner = sim_self();
  m->__data.__count = 1;
  return 0;
}

static int try(pthread_mutex_t *m) {
  if (!m->__data.__lock) return take(m);
  bool again = m->__data.__owner == sim_self() &&
               m->__data.__kind == PTHREAD_MUTEX_RECURSIVE;
  if (!again) return EBUSY;
  m->__data.__count++;
  return 0;
}

int pthread_mutex_trylock(pthread_mutex_t *m) {
  sim_host_point();
  return try(m);
}

static void lock(pthread_mutex_t *m) {
  while (try(m) != 0) sim_block(SIM_ON_LOCK, m, SIM_NEVER);
}

int pthread_mutex_lock(pthread_mutex_t *m) {
  sim_host_point();
  if (sim_host_inside()) {
    lock(m);
  } else {
    try(m);
  }
  return 0;
}

static void unlock(pthread_mutex_t *m) {
  if (m->__data.__count > 1) {
    m->__data.__count--;
    return;
  }
  m->__data.__lock = 0;
  m->__data.__owner = 0;
  m->__data.__count = 0;
  if (sim_host_inside()) sim_wake(SIM_ON_LOCK, m, true);
}

int pthread_mutex_unlock(pthread_mutex_t *m) {
  unlock(m);
  sim_host_point();
  return 0;
}

/* --- Once ----------------------------------------------------------------- */

enum { ONCE_FRESH, ONCE_RUNS, ONCE_DONE };

int pthread_once(pthread_once_t *once, void (*run)(void)) {
  while (*once == ONCE_RUNS && sim_host_inside()) {
    sim_block(SIM_ON_LOCK, once, SIM_NEVER);
  }
  if (*once != ONCE_FRESH) return 0;
  *once = ONCE_RUNS;
  run();
  *once = ONCE_DONE;
  if (sim_host_inside()) sim_wake(SIM_ON_LOCK, once, true);
  return 0;
}

/* --- Condition variables -------------------------------------------------- */

static clockid_t *clock_of(pthread_cond_t *c) {
  return (clockid_t *)(void *)c;
}

int pthread_cond_init(pthread_cond_t *c, const pthread_condattr_t *attr) {
  clockid_t clock = CLOCK_REALTIME;
  if (attr) pthread_condattr_getclock(attr, &clock);
  memset(c, 0, sizeof *c);
  *clock_of(c) = clock;
  return 0;
}

int pthread_cond_destroy(pthread_cond_t *c) {
  (void)c;
  return 0;
}

/* Nobody else runs between the unlock and the block. */
static int wait_until(pthread_cond_t *c, pthread_mutex_t *m, int64_t until_ns) {
  sim_host_point();
  unlock(m);
  bool in_time = sim_block(SIM_ON_COND, c, until_ns);
  lock(m);
  return in_time ? 0 : ETIMEDOUT;
}

int pthread_cond_wait(pthread_cond_t *c, pthread_mutex_t *m) {
  return wait_until(c, m, SIM_NEVER);
}

static int64_t ns_of(const struct timespec *t) {
  return (int64_t)t->tv_sec * 1000000000 + t->tv_nsec;
}

static int64_t until_of(clockid_t clock, const struct timespec *at) {
  struct timespec now;
  clock_gettime(clock, &now);
  if (at->tv_sec - now.tv_sec > 4000000000) return SIM_NEVER;
  return sim_now_ns() + ns_of(at) - ns_of(&now);
}

int pthread_cond_timedwait(pthread_cond_t *c, pthread_mutex_t *m,
                           const struct timespec *at) {
  return wait_until(c, m, until_of(*clock_of(c), at));
}

int pthread_cond_clockwait(pthread_cond_t *c, pthread_mutex_t *m,
                           clockid_t clock, const struct timespec *at) {
  return wait_until(c, m, until_of(clock, at));
}

int pthread_cond_signal(pthread_cond_t *c) {
  if (!sim_host_inside()) return 0;
  sim_wake(SIM_ON_COND, c, false);
  sim_host_point();
  return 0;
}

int pthread_cond_broadcast(pthread_cond_t *c) {
  if (!sim_host_inside()) return 0;
  sim_wake(SIM_ON_COND, c, true);
  sim_host_point();
  return 0;
}
