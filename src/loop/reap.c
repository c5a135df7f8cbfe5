/* reap: static state of the process, guarded by `lock`. A thread that nobody
 * joins leaves its id in `last` and joins the one it finds there. So joining
 * the last one joins them all, and nothing is allocated.
 *
 * A forked child finds the state of its parent, whose threads it does not have
 * and whose lock may be held: its first call here begins anew. */
#include "loop/reap.h"

#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <tinker/error.h>
#include <unistd.h>

#include "loop/loop.h"

/* The process that the rest belongs to; negative while it is being set up, 0 =
 * none yet. */
static atomic_long owner;
static uv_mutex_t lock;
static uv_cond_t changed;
static bool broken; /* the system had no lock for us */
static int ending;  /* loops between expect and leave */
static bool has_last;
static uv_thread_t last;

/* The process in which this thread is a loop's own: a child may be forked on
 * one. */
static _Thread_local long own_thread;

static void begin(void) {
  long me = (long)getpid(), seen = atomic_load(&owner);
  while (seen != me) {
    if (seen == -me) { /* another thread is doing this */
      sched_yield();
      seen = atomic_load(&owner);
    } else if (atomic_compare_exchange_strong(&owner, &seen, -me)) {
      broken = uv_mutex_init(&lock) != 0 || uv_cond_init(&changed) != 0;
      ending = 0;
      has_last = false;
      atomic_store(&owner, me);
      return;
    }
  }
}

void tinker__reap_mark_thread(void) {
  own_thread = (long)getpid();
}

void tinker__reap_block_signals(sigset_t *old) {
  sigset_t all;
  sigfillset(&all);
  sigdelset(&all, SIGSEGV);
  sigdelset(&all, SIGBUS);
  sigdelset(&all, SIGFPE);
  sigdelset(&all, SIGILL);
  sigdelset(&all, SIGTRAP);
  sigdelset(&all, SIGABRT);
  pthread_sigmask(SIG_BLOCK, &all, old);
}

void tinker__reap_expect(void) {
  begin();
  if (broken) return;
  uv_mutex_lock(&lock);
  ending++;
  uv_mutex_unlock(&lock);
}

void tinker__reap_leave(const uv_thread_t *self) {
  begin();
  if (broken) return;
  uv_mutex_lock(&lock);
  bool join = self && has_last;
  uv_thread_t before = last;
  if (self) {
    last = *self;
    has_last = true;
  }
  ending--;
  uv_cond_broadcast(&changed);
  uv_mutex_unlock(&lock);
  if (join) uv_thread_join(&before);
}

static int wait_for_all(int64_t timeout_ms) {
  uint64_t start = uv_hrtime();
  uint64_t limit = timeout_ms < 0 ? 0 : (uint64_t)timeout_ms * 1000000;
  while (ending > 0) {
    if (timeout_ms < 0) {
      uv_cond_wait(&changed, &lock);
      continue;
    }
    uint64_t gone = uv_hrtime() - start;
    if (gone >= limit) return TINKER_ETIMEDOUT;
    uv_cond_timedwait(&changed, &lock, limit - gone);
  }
  return 0;
}

int tinker__loop_reap(int64_t timeout_ms) {
  if (own_thread == (long)getpid()) return TINKER_EDEADLK;
  begin();
  if (broken) return 0;
  if (timeout_ms > INT64_MAX / 1000000) timeout_ms = -1;
  uv_mutex_lock(&lock);
  int rc = wait_for_all(timeout_ms);
  bool join = rc == 0 && has_last;
  uv_thread_t thread = last;
  if (join) has_last = false;
  uv_mutex_unlock(&lock);
  if (join) uv_thread_join(&thread);
  return rc;
}
