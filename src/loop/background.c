/* background: the loop on two threads of its own.
 *
 * The I/O thread runs a uv loop: it alone touches uv handles, timers and
 * watches (loop/io.c). The delivery thread runs delivered tasks. io's lock
 * guards both queues and the state; no task runs under it.
 *
 * End: close sets `closing`; when both queues are empty and no task runs, the
 * I/O thread closes its handles and says io_done; the delivery thread joins it
 * and ends. Whoever closed joins the delivery thread, unless he
 * is one of the two: then the delivery thread frees the loop itself and leaves
 * its id to loop/reap.c. */
#include <signal.h>
#include <tinker/error.h>
#include <unistd.h>

#include "loop/io.h"
#include "loop/reap.h"

typedef struct background_s {
  tinker__io_t io; /* first */
  uv_loop_t uv;

  /* Under io.lock. */
  uv_cond_t deliver_cond; /* the delivery thread waits here */
  uv_cond_t start_cond;   /* both threads do, for `started` */
  bool started;           /* both threads run: their ids may be read */
  bool delivering;        /* a delivered task runs */
  bool closing;
  bool io_done;
  bool self_ending; /* closed from one of the two threads */
  void (*gone)(void *user);
  void *gone_user;

  uv_thread_t io_thread;
  uv_thread_t delivery_thread;
  pid_t pid;
} background_t;

static background_t *from_io(tinker__io_t *io) {
  return TINKER__CONTAINER(io, background_t, io);
}

static background_t *from_loop(const tinker__loop_t *loop) {
  return from_io(tinker__io_of(loop));
}

/* The ids are written by the creating thread before `started`, and the two
 * threads wait for it, so reading them without the lock is safe. */
static bool background_on_thread(const tinker__loop_t *loop) {
  return tinker__io_is_self(&from_loop(loop)->io_thread);
}

static bool background_on_delivery(const tinker__loop_t *loop) {
  return tinker__io_is_self(&from_loop(loop)->delivery_thread);
}

static void wake_delivery(tinker__io_t *io) {
  uv_cond_signal(&from_io(io)->deliver_cond);
}

static bool background_deliver(tinker__loop_t *loop, tinker__task_t *task) {
  tinker__io_t *io = tinker__io_of(loop);
  return tinker__io_push(io, &io->delivered, task, wake_delivery);
}

/* ---- waiting ---- */

static int background_sleep(tinker__loop_t *loop, tinker__waiter_t *waiter,
                            bool (*ready)(void *user), void *user,
                            int64_t timeout_ms) {
  if (ready(user)) return 0;
  if (timeout_ms == 0) return TINKER_ETIMEDOUT;
  if (background_on_thread(loop) || background_on_delivery(loop)) {
    return TINKER_EDEADLK;
  }
  return tinker__waiter_sleep(waiter, loop->world, ready, user,
                              tinker__loop_until(loop, timeout_ms));
}

/* ---- threads ---- */

/* The I/O thread: something was posted, or the end may have come. */
static void on_woken(tinker__io_t *io) {
  background_t *b = from_io(io);
  tinker__io_run(io, &io->posted, -1);
  uv_mutex_lock(&io->lock);
  if (b->closing && !b->delivering) io->ended = tinker__io_is_empty(io);
  bool end = io->ended;
  uv_mutex_unlock(&io->lock);
  if (end) uv_stop(&b->uv);
}

static void wait_until_started(background_t *b) {
  uv_mutex_lock(&b->io.lock);
  while (!b->started) uv_cond_wait(&b->start_cond, &b->io.lock);
  uv_mutex_unlock(&b->io.lock);
}

static void close_uv(background_t *b) {
  tinker__io_close(&b->io);
  uv_run(&b->uv, UV_RUN_DEFAULT);
  uv_loop_close(&b->uv);
}

static void io_main(void *arg) {
  background_t *b = arg;
  tinker__reap_mark_thread();
  wait_until_started(b);
  uv_run(&b->uv, UV_RUN_DEFAULT);
  close_uv(b);
  uv_mutex_lock(&b->io.lock);
  b->io_done = true;
  uv_cond_signal(&b->deliver_cond);
  uv_mutex_unlock(&b->io.lock);
}

/* Takes the next delivered task; NULL when the end has come. */
static tinker__task_t *next_delivery(background_t *b) {
  uv_mutex_lock(&b->io.lock);
  b->delivering = false;
  while (tinker__list_empty(&b->io.delivered) && !b->io_done) {
    if (b->closing && !b->io.ended) tinker__io_wake(&b->io);
    uv_cond_wait(&b->deliver_cond, &b->io.lock);
  }
  tinker__link_t *link = tinker__list_pop_front(&b->io.delivered);
  b->delivering = link != NULL;
  uv_mutex_unlock(&b->io.lock);
  return link ? TINKER__CONTAINER(link, tinker__task_t, link) : NULL;
}

static void free_background(background_t *b) {
  void (*gone)(void *user) = b->gone;
  void *user = b->gone_user;
  uv_cond_destroy(&b->start_cond);
  uv_cond_destroy(&b->deliver_cond);
  tinker__io_done(&b->io);
  tinker__mem_free(b->io.base.mem, b);
  if (gone) gone(user);
}

static void delivery_main(void *arg) {
  background_t *b = arg;
  tinker__task_t *task;
  tinker__reap_mark_thread();
  wait_until_started(b);
  while ((task = next_delivery(b))) task->run(task);
  uv_thread_join(&b->io_thread);
  if (!b->self_ending) return;
  uv_thread_t self = b->delivery_thread;
  free_background(b);
  tinker__reap_leave(&self);
}

static void background_close(tinker__loop_t *loop, void (*gone)(void *user),
                             void *user) {
  background_t *b = from_loop(loop);
  if (b->pid != getpid()) { /* forked: the threads stayed in the parent */
    if (gone) gone(user);
    return;
  }
  bool own = background_on_thread(loop) || background_on_delivery(loop);
  uv_thread_t delivery_thread = b->delivery_thread;
  tinker__reap_expect();
  uv_mutex_lock(&b->io.lock);
  b->gone = gone;
  b->gone_user = user;
  b->self_ending = own;
  b->closing = true;
  tinker__io_wake(&b->io);
  uv_mutex_unlock(&b->io.lock);
  if (own) return;
  uv_thread_join(&delivery_thread);
  free_background(b);
  tinker__reap_leave(NULL);
}

static const tinker__loop_ops_t background_ops = {
    .post = tinker__io_post,
    .deliver = background_deliver,
    .on_thread = background_on_thread,
    .on_delivery = background_on_delivery,
    .timer_start = tinker__io_timer_start,
    .timer_stop = tinker__io_timer_stop,
    .sleep = background_sleep,
    .watch_new = tinker__io_watch_new,
    .watch_set = tinker__io_watch_set,
    .watch_free = tinker__io_watch_free,
    .close = background_close,
};

/* ---- birth ---- */

static int init_uv(background_t *b) {
  int rc = tinker__io_begin(&b->uv);
  if (rc) return rc;
  rc = tinker__io_open(&b->io, &b->uv);
  if (rc) uv_loop_close(&b->uv);
  return rc;
}

static int init_background(background_t *b) {
  if (uv_cond_init(&b->deliver_cond)) return TINKER_ENOMEM;
  if (uv_cond_init(&b->start_cond)) {
    uv_cond_destroy(&b->deliver_cond);
    return TINKER_ENOMEM;
  }
  int rc = init_uv(b);
  if (rc) {
    uv_cond_destroy(&b->start_cond);
    uv_cond_destroy(&b->deliver_cond);
  }
  return rc;
}

/* Lets the threads that were created run: the id of each is known now. */
static void release_threads(background_t *b, bool only_io) {
  uv_mutex_lock(&b->io.lock);
  b->started = true;
  b->closing = only_io;
  if (only_io) tinker__io_wake(&b->io);
  uv_cond_broadcast(&b->start_cond);
  uv_mutex_unlock(&b->io.lock);
}

static int start_threads(background_t *b) {
  sigset_t old;
  tinker__reap_block_signals(&old);
  bool io = uv_thread_create(&b->io_thread, io_main, b) == 0;
  bool both =
      io && uv_thread_create(&b->delivery_thread, delivery_main, b) == 0;
  pthread_sigmask(SIG_SETMASK, &old, NULL);
  if (io) release_threads(b, !both);
  if (io && !both) uv_thread_join(&b->io_thread);
  if (!io) close_uv(b);
  return both ? 0 : TINKER_EIO;
}

int tinker__loop_background(tinker__loop_t **out, tinker__mem_t *mem,
                            const tinker__world_t *world) {
  background_t *b = tinker__mem_zalloc(mem, sizeof(*b));
  if (!b) return TINKER_ENOMEM;
  b->io.base = (tinker__loop_t){&background_ops, mem, world};
  b->io.woken = on_woken;
  b->pid = getpid();
  int rc = init_background(b);
  if (rc) {
    tinker__mem_free(mem, b);
    return rc;
  }
  rc = start_threads(b);
  if (rc) {
    free_background(b);
    return rc;
  }
  *out = &b->io.base;
  return 0;
}
