/* borrowed: the loop on a caller's uv_loop_t, see borrowed.h.
 *
 * Of all handles only `wake` ever keeps the uv loop going: it is referenced
 * while somebody holds the loop or it is closing. The uv loop's thread runs
 * everything; io's lock guards the queues, the count of holds and `closing`. */
#include "loop/borrowed.h"

#include <tinker/error.h>
#include <unistd.h>

#include "loop/io.h"

typedef struct borrowed_s {
  tinker__io_t io; /* first */
  uv_thread_t thread;
  bool delivering; /* loop's thread */

  /* Under io.lock. */
  size_t holds;
  bool closing;
  void (*gone)(void *user);
  void *gone_user;

  pid_t pid;
} borrowed_t;

static borrowed_t *from_io(tinker__io_t *io) {
  return TINKER__CONTAINER(io, borrowed_t, io);
}

static borrowed_t *from_loop(const tinker__loop_t *loop) {
  return from_io(tinker__io_of(loop));
}

static bool borrowed_on_thread(const tinker__loop_t *loop) {
  borrowed_t *b = from_loop(loop);
  return tinker__io_is_self(&b->thread) && !b->delivering;
}

static bool borrowed_on_delivery(const tinker__loop_t *loop) {
  borrowed_t *b = from_loop(loop);
  return tinker__io_is_self(&b->thread) && b->delivering;
}

static bool borrowed_deliver(tinker__loop_t *loop, tinker__task_t *task) {
  tinker__io_t *io = tinker__io_of(loop);
  return tinker__io_push(io, &io->delivered, task, tinker__io_wake);
}

/* ---- keeping the uv loop going ---- */

/* Under the lock, on the loop's thread, before the handles close. */
static void set_reference(borrowed_t *b) {
  uv_handle_t *wake = (uv_handle_t *)&b->io.wake;
  if (b->holds > 0 || b->closing) {
    uv_ref(wake);
  } else {
    uv_unref(wake);
  }
}

/* On another thread the loop's own does it when it wakes up. */
static void reference_changed(borrowed_t *b) {
  if (tinker__io_is_self(&b->thread)) {
    set_reference(b);
  } else {
    tinker__io_wake(&b->io);
  }
}

static void borrowed_hold(tinker__loop_t *loop, bool more) {
  borrowed_t *b = from_loop(loop);
  uv_mutex_lock(&b->io.lock);
  b->holds += more ? 1 : (size_t)-1;
  if (b->holds == (size_t)more) reference_changed(b); /* 0 to 1, 1 to 0 */
  uv_mutex_unlock(&b->io.lock);
}

/* ---- turning and ending ---- */

static void on_woken(tinker__io_t *io) {
  borrowed_t *b = from_io(io);
  tinker__io_run(io, &io->posted, TINKER__IO_BUDGET_MS);
  b->delivering = true;
  tinker__io_run(io, &io->delivered, TINKER__IO_BUDGET_MS);
  b->delivering = false;
  uv_mutex_lock(&io->lock);
  set_reference(b);
  io->ended = b->closing && tinker__io_is_empty(io);
  bool end = io->ended;
  uv_mutex_unlock(&io->lock);
  if (end) tinker__io_close(io);
}

static void on_closed(tinker__io_t *io) {
  borrowed_t *b = from_io(io);
  void (*gone)(void *user) = b->gone;
  void *user = b->gone_user;
  tinker__io_done(io);
  tinker__mem_free(io->base.mem, b);
  if (gone) gone(user);
}

static void borrowed_close(tinker__loop_t *loop, void (*gone)(void *user),
                           void *user) {
  borrowed_t *b = from_loop(loop);
  if (b->pid != getpid()) { /* forked: the uv loop is the parent's */
    if (gone) gone(user);
    return;
  }
  uv_mutex_lock(&b->io.lock);
  b->gone = gone;
  b->gone_user = user;
  b->closing = true;
  reference_changed(b);
  tinker__io_wake(&b->io);
  uv_mutex_unlock(&b->io.lock);
}

static int borrowed_sleep(tinker__loop_t *loop, tinker__waiter_t *waiter,
                          bool (*ready)(void *user), void *user,
                          int64_t timeout_ms) {
  if (ready(user)) return 0;
  if (timeout_ms == 0) return TINKER_ETIMEDOUT;
  if (tinker__io_is_self(&from_loop(loop)->thread)) return TINKER_EDEADLK;
  return tinker__waiter_sleep(waiter, loop->world, ready, user,
                              tinker__loop_until(loop, timeout_ms));
}

static const tinker__loop_ops_t borrowed_ops = {
    .post = tinker__io_post,
    .deliver = borrowed_deliver,
    .on_thread = borrowed_on_thread,
    .on_delivery = borrowed_on_delivery,
    .timer_start = tinker__io_timer_start,
    .timer_stop = tinker__io_timer_stop,
    .sleep = borrowed_sleep,
    .watch_new = tinker__io_watch_new,
    .watch_set = tinker__io_watch_set,
    .watch_free = tinker__io_watch_free,
    .hold = borrowed_hold,
    .close = borrowed_close,
};

int tinker__loop_borrowed(tinker__loop_t **out, tinker__mem_t *mem,
                          const tinker__world_t *world, uv_loop_t *uv) {
  borrowed_t *b = tinker__mem_zalloc(mem, sizeof *b);
  if (!b) return TINKER_ENOMEM;
  b->io.base = (tinker__loop_t){&borrowed_ops, mem, world};
  b->io.woken = on_woken;
  b->io.closed = on_closed;
  b->thread = uv_thread_self();
  b->pid = getpid();
  int rc = tinker__io_open(&b->io, uv);
  if (rc) {
    tinker__mem_free(mem, b);
    return rc;
  }
  set_reference(b);
  *out = &b->io.base;
  return 0;
}
