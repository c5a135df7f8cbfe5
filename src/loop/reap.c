/* reap: static state of the process, guarded by `lock`. A thread that nobody
 * joins leaves its id in `last` and joins the one it finds there, so a single
 * id stands for all of them and nothing is allocated. */
#include "loop/reap.h"

#include <stdbool.h>
#include <tinker/error.h>

#include "loop/loop.h"

static uv_once_t once = UV_ONCE_INIT;
static uv_mutex_t lock;
static uv_cond_t changed;
static bool broken; /* the system had no lock for us */
static int ending;  /* loops between expect and leave */
static bool has_last;
static uv_thread_t last;

static _Thread_local bool own_thread;

static void init_once(void) {
  broken = uv_mutex_init(&lock) != 0 || uv_cond_init(&changed) != 0;
}

void tinker__reap_mark_thread(void) {
  own_thread = true;
}

void tinker__reap_expect(void) {
  uv_once(&once, init_once);
  if (broken) return;
  uv_mutex_lock(&lock);
  ending++;
  uv_mutex_unlock(&lock);
}

void tinker__reap_leave(const uv_thread_t *self) {
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
  if (own_thread) return TINKER_EDEADLK;
  uv_once(&once, init_once);
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
