/* fake_loop: see the header. One thread; no locks. */
#include "support/fake_loop.h"

#include <assert.h>
#include <string.h>
#include <tinker/error.h>

enum { OUTSIDE, ON_LOOP, DELIVERING };

static fake_loop_t *from_loop(const tinker__loop_t *loop) {
  return TINKER__CONTAINER(loop, fake_loop_t, base);
}

static int64_t fake_now(void *user) {
  return ((fake_loop_t *)user)->now_ms;
}

static int64_t fake_wall(void *user) {
  fake_loop_t *f = user;
  return f->now_ms + f->wall_offset_ms;
}

static int fake_random(void *user, void *out, size_t len) {
  fake_loop_t *f = user;
  unsigned char *p = out;
  f->random++;
  for (size_t i = 0; i < len; i++) {
    p[i] = (unsigned char)(f->random >> (8 * (i % 8)));
  }
  return 0;
}

static const char *fake_env(void *user, const char *name) {
  (void)user;
  (void)name;
  return NULL;
}

static bool queue(tinker__link_t *list, tinker__task_t *task) {
  if (!tinker__list_empty(&task->link)) return false;
  tinker__list_push_back(list, &task->link);
  return true;
}

static bool fake_post(tinker__loop_t *loop, tinker__task_t *task) {
  assert(!from_loop(loop)->closed);
  return queue(&from_loop(loop)->posted, task);
}

static bool fake_deliver(tinker__loop_t *loop, tinker__task_t *task) {
  assert(!from_loop(loop)->closed);
  return queue(&from_loop(loop)->delivered, task);
}

static bool fake_on_thread(const tinker__loop_t *loop) {
  return from_loop(loop)->where == ON_LOOP;
}

static bool fake_on_delivery(const tinker__loop_t *loop) {
  return from_loop(loop)->where == DELIVERING;
}

static void fake_timer_start(tinker__loop_t *loop, tinker__timer_t *timer,
                             int64_t due_ms) {
  fake_loop_t *f = from_loop(loop);
  assert(f->where == ON_LOOP);
  tinker__timers_put(&f->timers, timer,
                     due_ms > f->now_ms ? due_ms : f->now_ms);
}

static void fake_timer_stop(tinker__loop_t *loop, tinker__timer_t *timer) {
  fake_loop_t *f = from_loop(loop);
  assert(f->where == ON_LOOP);
  tinker__timers_remove(&f->timers, timer);
}

/* The time of a waiter passes as fast as there is nothing to do. */
static int fake_sleep(tinker__loop_t *loop, struct tinker__waiter_s *waiter,
                      bool (*ready)(void *user), void *user,
                      int64_t timeout_ms) {
  fake_loop_t *f = from_loop(loop);
  (void)waiter;
  int64_t end =
      timeout_ms < 0 ? INT64_MAX : tinker__loop_after(loop, timeout_ms);
  while (!ready(user)) {
    if (f->where != OUTSIDE) {
      return timeout_ms == 0 ? TINKER_ETIMEDOUT : TINKER_EDEADLK;
    }
    if (fake_loop_run(f) > 0) continue;
    tinker__timer_t *first = tinker__timers_first(&f->timers);
    if (first && first->due_ms <= end) {
      fake_loop_next(f);
      continue;
    }
    assert(timeout_ms >= 0); /* it would wait for ever */
    f->now_ms = end;
    return TINKER_ETIMEDOUT;
  }
  return 0;
}

static int fake_watch_new(tinker__loop_t *loop, tinker__watch_t **out, int fd,
                          tinker__watch_cb cb, void *user) {
  (void)loop;
  (void)out;
  (void)fd;
  (void)cb;
  (void)user;
  return TINKER_ENOTSUP;
}

static int fake_watch_set(tinker__watch_t *watch, unsigned ready) {
  (void)watch;
  (void)ready;
  return TINKER_ENOTSUP;
}

static void fake_watch_free(tinker__watch_t *watch) {
  (void)watch;
}

/* Inside a task, as in a real loop, what is queued runs behind it. */
static void fake_close(tinker__loop_t *loop, void (*gone)(void *user),
                       void *user) {
  fake_loop_t *f = from_loop(loop);
  assert(!f->closed);
  f->gone = gone;
  f->gone_user = user;
  f->closing = true;
  if (f->where == OUTSIDE) fake_loop_run(f);
}

static const tinker__loop_ops_t fake_ops = {
    .post = fake_post,
    .deliver = fake_deliver,
    .on_thread = fake_on_thread,
    .on_delivery = fake_on_delivery,
    .timer_start = fake_timer_start,
    .timer_stop = fake_timer_stop,
    .sleep = fake_sleep,
    .watch_new = fake_watch_new,
    .watch_set = fake_watch_set,
    .watch_free = fake_watch_free,
    .close = fake_close,
};

void fake_loop_init(fake_loop_t *fake, tinker__mem_t *mem) {
  memset(fake, 0, sizeof(*fake));
  fake->world = *tinker__world_real();
  fake->world.user = fake;
  fake->world.now_ms = fake_now;
  fake->world.wall_ms = fake_wall;
  fake->world.random = fake_random;
  fake->world.env = fake_env;
  fake->base = (tinker__loop_t){&fake_ops, mem, &fake->world};
  fake->now_ms = 1000;
  fake->wall_offset_ms = 1700000000000;
  tinker__list_init(&fake->posted);
  tinker__list_init(&fake->delivered);
}

static bool run_first(fake_loop_t *fake, tinker__link_t *list, int where) {
  tinker__link_t *link = tinker__list_pop_front(list);
  if (!link) return false;
  tinker__task_t *task = TINKER__CONTAINER(link, tinker__task_t, link);
  fake->turns++;
  fake->where = where;
  task->run(task);
  fake->where = OUTSIDE;
  return true;
}

static bool run_timer(fake_loop_t *fake, uint64_t turn) {
  tinker__timer_t *timer =
      tinker__timers_pop(&fake->timers, fake->now_ms, turn);
  if (!timer) return false;
  fake->where = ON_LOOP;
  fake->turns++;
  timer->run(timer);
  fake->where = OUTSIDE;
  return true;
}

size_t fake_loop_run(fake_loop_t *fake) {
  size_t n = 0;
  assert(fake->where == OUTSIDE);
  while (run_first(fake, &fake->posted, ON_LOOP) ||
         run_first(fake, &fake->delivered, DELIVERING)) {
    n++;
    assert(n < 1000000); /* tasks that queue each other for ever */
  }
  if (fake->closing && !fake->closed) {
    fake->closed = true;
    if (fake->gone) fake->gone(fake->gone_user);
  }
  return n;
}

/* Everything that is due now: posted tasks before timers. */
static void run_turn(fake_loop_t *fake) {
  uint64_t turn = tinker__timers_turn(&fake->timers);
  fake_loop_run(fake);
  while (run_timer(fake, turn)) fake_loop_run(fake);
}

void fake_loop_advance(fake_loop_t *fake, int64_t ms) {
  int64_t end = fake->now_ms + ms;
  run_turn(fake);
  for (;;) {
    tinker__timer_t *first = tinker__timers_first(&fake->timers);
    if (!first || first->due_ms > end) break;
    if (first->due_ms > fake->now_ms) fake->now_ms = first->due_ms;
    run_turn(fake);
  }
  fake->now_ms = end;
}

bool fake_loop_next(fake_loop_t *fake) {
  tinker__timer_t *first = tinker__timers_first(&fake->timers);
  if (!first) return false;
  int64_t ms = first->due_ms - fake->now_ms;
  fake_loop_advance(fake, ms > 0 ? ms : 0);
  return true;
}

bool fake_loop_idle(const fake_loop_t *fake) {
  return tinker__list_empty(&fake->posted) &&
         tinker__list_empty(&fake->delivered) &&
         !tinker__timers_first(&fake->timers);
}

void fake_loop_call(fake_loop_t *fake, void (*fn)(void *user), void *user) {
  int where = fake->where;
  fake->where = ON_LOOP;
  fn(user);
  fake->where = where;
}
