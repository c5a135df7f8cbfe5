/* step: the loop that its user turns, see step.h.
 *
 * `where` is the one state: who holds the seat (any value but FREE) runs the uv
 * loop, timers, watches and tasks. The seat passes from thread to thread under
 * io's lock, so what belongs to "the loop's thread" needs no lock of its own.
 */
#include "loop/step.h"

#include <limits.h>
#include <poll.h>
#include <tinker/error.h>
#include <unistd.h>

#include "loop/io.h"

/* Turns of uv in one step, when watches were started in it: uv hands them to
 * the system only at its next turn, and the descriptor tells nothing before. */
#define UV_TURNS 3

typedef enum {
  FREE,      /* nobody is in a step */
  SEATED,    /* between the parts of one, or asleep in a wait */
  IO,        /* timers, descriptors, posted tasks */
  DELIVERING /* delivered tasks */
} where_t;

typedef struct step_s {
  tinker__io_t io; /* first */
  uv_loop_t uv;

  /* Under io.lock. */
  where_t where;
  uv_thread_t owner;
  uv_cond_t free_cond; /* where became FREE */
  int64_t due_ms;      /* the earliest timer, as the last turn left it */
  bool closing;        /* by the one who is in a step */
  void (*gone)(void *user);
  void *gone_user;

  pid_t pid;
} step_t;

static step_t *from_io(tinker__io_t *io) {
  return TINKER__CONTAINER(io, step_t, io);
}

static step_t *from_loop(const tinker__loop_t *loop) {
  return from_io(tinker__io_of(loop));
}

/* ---- the seat; under the lock ---- */

static bool is_inside(const step_t *s) {
  return s->where != FREE && tinker__io_is_self(&s->owner);
}

static void wait_for_seat(step_t *s) {
  while (s->where != FREE) uv_cond_wait(&s->free_cond, &s->io.lock);
  s->owner = uv_thread_self();
}

/* ---- queues ---- */

static bool is_at(const tinker__loop_t *loop, where_t where) {
  step_t *s = from_loop(loop);
  uv_mutex_lock(&s->io.lock);
  bool yes = s->where == where && is_inside(s);
  uv_mutex_unlock(&s->io.lock);
  return yes;
}

static bool step_on_thread(const tinker__loop_t *loop) {
  return is_at(loop, IO);
}

static bool step_on_delivery(const tinker__loop_t *loop) {
  return is_at(loop, DELIVERING);
}

/* What is delivered during a step is run by the same step. */
static void wake_outside(tinker__io_t *io) {
  step_t *s = from_io(io);
  if (s->where != IO || !is_inside(s)) tinker__io_wake(io);
}

static bool step_deliver(tinker__loop_t *loop, tinker__task_t *task) {
  tinker__io_t *io = tinker__io_of(loop);
  return tinker__io_push(io, &io->delivered, task, wake_outside);
}

static void on_woken(tinker__io_t *io) {
  tinker__io_run(io, &io->posted, TINKER__IO_BUDGET_MS);
}

/* ---- turning ---- */

static void move_to(step_t *s, where_t where) {
  tinker__timer_t *first = tinker__timers_first(&s->io.timers);
  uv_mutex_lock(&s->io.lock);
  s->where = where;
  s->due_ms = first ? first->due_ms : INT64_MAX;
  uv_mutex_unlock(&s->io.lock);
}

static void run_io(step_t *s) {
  move_to(s, IO);
  tinker__io_run_due(&s->io);
  for (int i = 0; i < UV_TURNS; i++) {
    s->io.started = false;
    uv_run(&s->uv, UV_RUN_NOWAIT);
    if (!s->io.started) return;
  }
  uv_mutex_lock(&s->io.lock);
  tinker__io_wake(&s->io); /* the next step goes on */
  uv_mutex_unlock(&s->io.lock);
}

static void turn(step_t *s) {
  run_io(s);
  move_to(s, DELIVERING);
  tinker__io_run(&s->io, &s->io.delivered, TINKER__IO_BUDGET_MS);
  move_to(s, SEATED);
}

/* ---- end ---- */

static void run_queued(step_t *s) {
  bool empty = false;
  while (!empty) {
    move_to(s, IO);
    tinker__io_run(&s->io, &s->io.posted, -1);
    move_to(s, DELIVERING);
    tinker__io_run(&s->io, &s->io.delivered, -1);
    uv_mutex_lock(&s->io.lock);
    empty = s->io.ended = tinker__io_is_empty(&s->io);
    uv_mutex_unlock(&s->io.lock);
  }
}

static void close_uv(step_t *s) {
  tinker__io_close(&s->io);
  uv_run(&s->uv, UV_RUN_DEFAULT);
  uv_loop_close(&s->uv);
}

static void finish(step_t *s) {
  void (*gone)(void *user) = s->gone;
  void *user = s->gone_user;
  run_queued(s);
  close_uv(s);
  uv_cond_destroy(&s->free_cond);
  tinker__io_done(&s->io);
  tinker__mem_free(s->io.base.mem, s);
  if (gone) gone(user);
}

static void step_close(tinker__loop_t *loop, void (*gone)(void *user),
                       void *user) {
  step_t *s = from_loop(loop);
  if (s->pid != getpid()) { /* forked: the loop is the parent's */
    if (gone) gone(user);
    return;
  }
  uv_mutex_lock(&s->io.lock);
  s->gone = gone;
  s->gone_user = user;
  s->closing = is_inside(s);
  bool later = s->closing;
  if (!later) wait_for_seat(s);
  uv_mutex_unlock(&s->io.lock);
  if (!later) finish(s);
}

/* ---- stepping ---- */

static int take_seat(step_t *s) {
  int rc = 0;
  uv_mutex_lock(&s->io.lock);
  if (s->where != FREE) {
    rc = is_inside(s) ? TINKER_EDEADLK : TINKER_EBUSY;
  } else {
    s->owner = uv_thread_self();
    s->where = SEATED;
  }
  uv_mutex_unlock(&s->io.lock);
  return rc;
}

static void leave_seat(step_t *s) {
  uv_mutex_lock(&s->io.lock);
  bool closing = s->closing;
  if (!closing) s->where = FREE;
  uv_cond_broadcast(&s->free_cond);
  uv_mutex_unlock(&s->io.lock);
  if (closing) finish(s);
}

int tinker__step(tinker__loop_t *loop) {
  step_t *s = from_loop(loop);
  int rc = take_seat(s);
  if (rc) return rc;
  turn(s);
  leave_seat(s);
  return 0;
}

void tinker__step_adopt(tinker__loop_t *loop) {
  step_t *s = from_loop(loop);
  uv_mutex_lock(&s->io.lock);
  if (!is_inside(s)) wait_for_seat(s);
  uv_mutex_unlock(&s->io.lock);
}

int tinker__step_fd(const tinker__loop_t *loop) {
  return uv_backend_fd(&from_loop(loop)->uv);
}

int64_t tinker__step_timeout_ms(const tinker__loop_t *loop) {
  step_t *s = from_loop(loop);
  uv_mutex_lock(&s->io.lock);
  bool idle = tinker__io_is_empty(&s->io);
  int64_t due = s->due_ms;
  uv_mutex_unlock(&s->io.lock);
  if (!idle) return 0;
  if (due == INT64_MAX) return -1;
  int64_t left = due - tinker__loop_now(loop);
  return left > 0 ? left : 0;
}

/* ---- waiting ---- */

/* Sleeps until the next step has something to do, or until_ms. */
static void nap(step_t *s, int64_t until_ms) {
  struct pollfd fd = {.fd = uv_backend_fd(&s->uv), .events = POLLIN};
  int64_t ms = tinker__step_timeout_ms(&s->io.base);
  int64_t left = until_ms - tinker__loop_now(&s->io.base);
  if (ms < 0 || ms > left) ms = left;
  if (ms > INT_MAX) ms = until_ms == INT64_MAX ? -1 : INT_MAX;
  poll(&fd, 1, (int)ms); /* a signal ends it early: harmless */
}

static int drive(step_t *s, bool (*ready)(void *user), void *user,
                 int64_t until_ms) {
  for (;;) {
    turn(s);
    if (ready(user)) return 0;
    if (tinker__loop_now(&s->io.base) >= until_ms) return TINKER_ETIMEDOUT;
    nap(s, until_ms);
  }
}

static int step_sleep(tinker__loop_t *loop, tinker__waiter_t *waiter,
                      bool (*ready)(void *user), void *user,
                      int64_t timeout_ms) {
  step_t *s = from_loop(loop);
  int64_t until_ms = tinker__loop_until(loop, timeout_ms);
  if (ready(user)) return 0;
  uv_mutex_lock(&s->io.lock);
  bool inside = is_inside(s);
  bool drives = s->where == FREE && tinker__io_is_self(&s->owner);
  if (drives) s->where = SEATED;
  uv_mutex_unlock(&s->io.lock);
  if (inside) return timeout_ms == 0 ? TINKER_ETIMEDOUT : TINKER_EDEADLK;
  if (!drives) {
    return tinker__waiter_sleep(waiter, loop->world, ready, user, until_ms);
  }
  int rc = drive(s, ready, user, until_ms);
  leave_seat(s);
  return rc;
}

static const tinker__loop_ops_t step_ops = {
    .post = tinker__io_post,
    .deliver = step_deliver,
    .on_thread = step_on_thread,
    .on_delivery = step_on_delivery,
    .timer_start = tinker__io_timer_start,
    .timer_stop = tinker__io_timer_stop,
    .sleep = step_sleep,
    .watch_new = tinker__io_watch_new,
    .watch_set = tinker__io_watch_set,
    .watch_free = tinker__io_watch_free,
    .close = step_close,
};

/* ---- birth ---- */

static int open_uv(step_t *s) {
  int rc = tinker__io_begin(&s->uv);
  if (rc) return rc;
  rc = tinker__io_open(&s->io, &s->uv);
  if (rc) {
    uv_loop_close(&s->uv);
    return rc;
  }
  s->io.alarm_ms = TINKER__IO_NO_ALARM;
  /* The first turn hands `wake` to the system: from here on the descriptor
   * tells. */
  uv_run(&s->uv, UV_RUN_NOWAIT);
  return 0;
}

int tinker__loop_step(tinker__loop_t **out, tinker__mem_t *mem,
                      const tinker__world_t *world) {
  step_t *s = tinker__mem_zalloc(mem, sizeof *s);
  if (!s) return TINKER_ENOMEM;
  s->io.base = (tinker__loop_t){&step_ops, mem, world};
  s->io.woken = on_woken;
  s->where = FREE;
  s->owner = uv_thread_self();
  s->due_ms = INT64_MAX;
  s->pid = getpid();
  int rc = uv_cond_init(&s->free_cond) ? TINKER_ENOMEM : 0;
  if (!rc) {
    rc = open_uv(s);
    if (rc) uv_cond_destroy(&s->free_cond);
  }
  if (rc) {
    tinker__mem_free(mem, s);
    return rc;
  }
  *out = &s->io.base;
  return 0;
}
