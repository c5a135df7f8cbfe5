/* background: the loop on two threads of its own.
 *
 * The I/O thread runs a uv loop: it alone touches uv handles, timers and
 * watches. The delivery thread runs delivered tasks. `lock` guards both queues,
 * the state and the wait of tinker__loop_wait; no task runs under it.
 *
 * End: close sets `closing`; when both queues are empty and no task runs, the
 * I/O thread closes its handles and says io_done; the delivery thread joins it
 * and ends. Whoever closed joins the delivery thread, unless he
 * is one of the two: then the delivery thread frees the loop itself and leaves
 * its id to loop/reap.c. */
#include <assert.h>
#include <signal.h>
#include <tinker/error.h>
#include <unistd.h>
#include <uv.h>

#include "loop/loop.h"
#include "loop/reap.h"

typedef struct background_s {
  tinker__loop_t base;
  uv_loop_t uv;
  uv_async_t wake;
  uv_timer_t alarm; /* the earliest of timers */
  tinker__timers_t timers;
  int64_t alarm_ms; /* what alarm is set to; INT64_MAX = not set */

  uv_mutex_t lock;
  uv_cond_t deliver_cond; /* the delivery thread waits here */
  uv_cond_t wait_cond;    /* tinker__loop_wait does */
  tinker__link_t posted;
  tinker__link_t delivered;
  bool started;    /* both threads run: their ids may be read */
  bool delivering; /* a delivered task runs */
  bool closing;
  bool io_ending; /* both queues are empty for good */
  bool io_done;
  bool self_ending; /* closed from one of the two threads */
  void (*gone)(void *user);
  void *gone_user;

  uv_thread_t io_thread;
  uv_thread_t delivery_thread;
  pid_t pid;
} background_t;

struct tinker__watch_s {
  uv_poll_t poll;
  background_t *loop;
  tinker__watch_cb cb;
  void *user;
  int fd;
  unsigned wanted;  /* what the user wants */
  unsigned started; /* what uv watches: wanted, or more when lazy */
};

static background_t *from_loop(const tinker__loop_t *loop) {
  return TINKER__CONTAINER(loop, background_t, base);
}

/* The ids are written by the creating thread before `started`, and the two
 * threads wait for it, so reading them without the lock is safe. */
static bool is_self(const uv_thread_t *thread) {
  uv_thread_t self = uv_thread_self();
  return uv_thread_equal(&self, thread) != 0;
}

static bool background_on_thread(const tinker__loop_t *loop) {
  return is_self(&from_loop(loop)->io_thread);
}

static bool background_on_delivery(const tinker__loop_t *loop) {
  return is_self(&from_loop(loop)->delivery_thread);
}

static bool background_post(tinker__loop_t *loop, tinker__task_t *task) {
  background_t *b = from_loop(loop);
  uv_mutex_lock(&b->lock);
  assert(!b->io_ending);
  bool fresh = tinker__list_empty(&task->link);
  bool wake = fresh && tinker__list_empty(&b->posted);
  if (fresh) tinker__list_push_back(&b->posted, &task->link);
  /* Under the lock: the I/O thread closes the handle only after it has seen
   * the inbox empty under the same lock. */
  if (wake) uv_async_send(&b->wake);
  uv_mutex_unlock(&b->lock);
  return fresh;
}

static bool background_deliver(tinker__loop_t *loop, tinker__task_t *task) {
  background_t *b = from_loop(loop);
  uv_mutex_lock(&b->lock);
  assert(!b->io_ending);
  bool fresh = tinker__list_empty(&task->link);
  bool wake = fresh && tinker__list_empty(&b->delivered);
  if (fresh) tinker__list_push_back(&b->delivered, &task->link);
  if (wake) uv_cond_signal(&b->deliver_cond);
  uv_mutex_unlock(&b->lock);
  return fresh;
}

/* ---- timers ---- */

static void on_alarm(uv_timer_t *alarm);

static void set_alarm(background_t *b) {
  tinker__timer_t *first = tinker__timers_first(&b->timers);
  int64_t due = first ? first->due_ms : INT64_MAX;
  if (due == b->alarm_ms) return;
  b->alarm_ms = due;
  if (!first) {
    uv_timer_stop(&b->alarm);
    return;
  }
  int64_t delay = due - tinker__loop_now(&b->base);
  uv_update_time(&b->uv);
  uv_timer_start(&b->alarm, on_alarm, delay > 0 ? (uint64_t)delay : 0, 0);
}

static void on_alarm(uv_timer_t *alarm) {
  background_t *b = TINKER__CONTAINER(alarm, background_t, alarm);
  int64_t now = tinker__loop_now(&b->base);
  uint64_t turn = tinker__timers_turn(&b->timers);
  tinker__timer_t *timer;
  b->alarm_ms = INT64_MIN; /* set only once, below */
  while ((timer = tinker__timers_pop(&b->timers, now, turn))) {
    timer->run(timer);
  }
  b->alarm_ms = INT64_MAX;
  set_alarm(b);
}

static void background_timer_start(tinker__loop_t *loop, tinker__timer_t *timer,
                                   int64_t due_ms) {
  background_t *b = from_loop(loop);
  int64_t now = tinker__loop_now(loop);
  tinker__timers_put(&b->timers, timer, due_ms > now ? due_ms : now);
  if (b->alarm_ms != INT64_MIN) set_alarm(b);
}

/* The alarm stays: it then finds nothing due, which is cheaper than to set it
 * anew for each of the many timers that are stopped. */
static void background_timer_stop(tinker__loop_t *loop,
                                  tinker__timer_t *timer) {
  tinker__timers_remove(&from_loop(loop)->timers, timer);
}

/* ---- watches ---- */

static void on_poll(uv_poll_t *poll, int status, int events) {
  tinker__watch_t *w = TINKER__CONTAINER(poll, tinker__watch_t, poll);
  unsigned ready = 0;
  if (status < 0) ready |= TINKER__BROKEN;
  if (events & UV_READABLE) ready |= TINKER__READABLE;
  if (events & UV_WRITABLE) ready |= TINKER__WRITABLE;
  if (!w->wanted) { /* the lazy part: an event came while idle */
    uv_poll_stop(poll);
    w->started = 0;
    return;
  }
  if (ready & TINKER__BROKEN) w->started = 0; /* uv has stopped it */
  w->cb(w->user, w->fd, ready);
}

static int background_watch_new(tinker__loop_t *loop, tinker__watch_t **out,
                                int fd, tinker__watch_cb cb, void *user) {
  background_t *b = from_loop(loop);
  tinker__watch_t *w = tinker__mem_zalloc(loop->mem, sizeof(*w));
  if (!w) return TINKER_ENOMEM;
  if (uv_poll_init(&b->uv, &w->poll, fd)) {
    tinker__mem_free(loop->mem, w);
    return TINKER_EIO;
  }
  w->loop = b;
  w->cb = cb;
  w->user = user;
  w->fd = fd;
  *out = w;
  return 0;
}

static int background_watch_set(tinker__watch_t *w, unsigned ready) {
  w->wanted = ready;
  if (!ready || w->started == ready) return 0;
  int events = 0;
  if (ready & TINKER__READABLE) events |= UV_READABLE;
  if (ready & TINKER__WRITABLE) events |= UV_WRITABLE;
  if (uv_poll_start(&w->poll, events, on_poll)) return TINKER_EIO;
  w->started = ready;
  return 0;
}

static void on_watch_closed(uv_handle_t *handle) {
  tinker__watch_t *w = TINKER__CONTAINER(handle, tinker__watch_t, poll);
  tinker__mem_free(w->loop->base.mem, w);
}

static void background_watch_free(tinker__watch_t *w) {
  uv_close((uv_handle_t *)&w->poll, on_watch_closed);
}

/* ---- waiting ---- */

static int background_wait(tinker__loop_t *loop, bool (*ready)(void *user),
                           void *user, int64_t timeout_ms) {
  background_t *b = from_loop(loop);
  bool own = background_on_thread(loop) || background_on_delivery(loop);
  int64_t deadline = tinker__loop_after(loop, timeout_ms < 0 ? 0 : timeout_ms);
  int rc = 0;
  uv_mutex_lock(&b->lock);
  while (!ready(user)) {
    if (own) {
      rc = TINKER_EDEADLK;
      break;
    }
    if (timeout_ms < 0) {
      uv_cond_wait(&b->wait_cond, &b->lock);
      continue;
    }
    int64_t left = deadline - tinker__loop_now(loop);
    if (left <= 0) {
      rc = TINKER_ETIMEDOUT;
      break;
    }
    if (left > 3600000) left = 3600000; /* keeps nanoseconds in range */
    uv_cond_timedwait(&b->wait_cond, &b->lock, (uint64_t)left * 1000000);
  }
  uv_mutex_unlock(&b->lock);
  return rc;
}

static void background_notify(tinker__loop_t *loop) {
  background_t *b = from_loop(loop);
  uv_mutex_lock(&b->lock);
  uv_cond_broadcast(&b->wait_cond);
  uv_mutex_unlock(&b->lock);
}

/* ---- threads ---- */

/* Runs the tasks that are in the queue now. Tasks that these queue run at the
 * next turn, so that descriptors are looked at in between. */
static void run_posted(background_t *b) {
  tinker__link_t last;
  tinker__list_init(&last);
  uv_mutex_lock(&b->lock);
  tinker__list_push_back(&b->posted, &last);
  for (;;) {
    tinker__link_t *link = tinker__list_pop_front(&b->posted);
    if (link == &last) break;
    uv_mutex_unlock(&b->lock);
    tinker__task_t *task = TINKER__CONTAINER(link, tinker__task_t, link);
    task->run(task);
    uv_mutex_lock(&b->lock);
  }
  bool more = !tinker__list_empty(&b->posted);
  if (more) uv_async_send(&b->wake);
  b->io_ending = b->closing && !more && !b->delivering &&
                 tinker__list_empty(&b->delivered);
  bool end = b->io_ending;
  uv_mutex_unlock(&b->lock);
  if (end) uv_stop(&b->uv);
}

static void on_wake(uv_async_t *wake) {
  run_posted(TINKER__CONTAINER(wake, background_t, wake));
}

static void wait_until_started(background_t *b) {
  uv_mutex_lock(&b->lock);
  while (!b->started) uv_cond_wait(&b->wait_cond, &b->lock);
  uv_mutex_unlock(&b->lock);
}

static void io_main(void *arg) {
  background_t *b = arg;
  tinker__reap_mark_thread();
  wait_until_started(b);
  uv_run(&b->uv, UV_RUN_DEFAULT);
  uv_close((uv_handle_t *)&b->wake, NULL);
  uv_close((uv_handle_t *)&b->alarm, NULL);
  uv_run(&b->uv, UV_RUN_DEFAULT);
  uv_loop_close(&b->uv);
  uv_mutex_lock(&b->lock);
  b->io_done = true;
  uv_cond_signal(&b->deliver_cond);
  uv_mutex_unlock(&b->lock);
}

/* Takes the next delivered task; NULL when the end has come. */
static tinker__task_t *next_delivery(background_t *b) {
  uv_mutex_lock(&b->lock);
  b->delivering = false;
  while (tinker__list_empty(&b->delivered) && !b->io_done) {
    if (b->closing && !b->io_ending) uv_async_send(&b->wake);
    uv_cond_wait(&b->deliver_cond, &b->lock);
  }
  tinker__link_t *link = tinker__list_pop_front(&b->delivered);
  b->delivering = link != NULL;
  uv_mutex_unlock(&b->lock);
  return link ? TINKER__CONTAINER(link, tinker__task_t, link) : NULL;
}

static void free_background(background_t *b) {
  void (*gone)(void *user) = b->gone;
  void *user = b->gone_user;
  uv_cond_destroy(&b->wait_cond);
  uv_cond_destroy(&b->deliver_cond);
  uv_mutex_destroy(&b->lock);
  tinker__mem_free(b->base.mem, b);
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
  uv_mutex_lock(&b->lock);
  b->gone = gone;
  b->gone_user = user;
  b->self_ending = own;
  b->closing = true;
  uv_async_send(&b->wake);
  uv_mutex_unlock(&b->lock);
  if (own) return;
  uv_thread_join(&delivery_thread);
  free_background(b);
  tinker__reap_leave(NULL);
}

static const tinker__loop_ops_t background_ops = {
    .post = background_post,
    .deliver = background_deliver,
    .on_thread = background_on_thread,
    .on_delivery = background_on_delivery,
    .timer_start = background_timer_start,
    .timer_stop = background_timer_stop,
    .wait = background_wait,
    .notify = background_notify,
    .watch_new = background_watch_new,
    .watch_set = background_watch_set,
    .watch_free = background_watch_free,
    .close = background_close,
};

/* ---- birth ---- */

/* The host's signal handlers must not run on our threads: all signals are
 * blocked there but those that a fault raises in the thread itself. */
static void block_signals(sigset_t *old) {
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

static int init_uv(background_t *b) {
  if (uv_loop_init(&b->uv)) return TINKER_EIO;
  if (uv_timer_init(&b->uv, &b->alarm) ||
      uv_async_init(&b->uv, &b->wake, on_wake)) {
    uv_close((uv_handle_t *)&b->alarm, NULL);
    uv_run(&b->uv, UV_RUN_DEFAULT);
    uv_loop_close(&b->uv);
    return TINKER_EIO;
  }
  return 0;
}

static int init_locks(background_t *b) {
  if (uv_mutex_init(&b->lock)) return TINKER_ENOMEM;
  if (uv_cond_init(&b->deliver_cond)) goto no_deliver;
  if (uv_cond_init(&b->wait_cond)) goto no_wait;
  return 0;
no_wait:
  uv_cond_destroy(&b->deliver_cond);
no_deliver:
  uv_mutex_destroy(&b->lock);
  return TINKER_ENOMEM;
}

static int init_background(background_t *b) {
  int rc = init_locks(b);
  if (rc) return rc;
  rc = init_uv(b);
  if (rc) {
    uv_cond_destroy(&b->wait_cond);
    uv_cond_destroy(&b->deliver_cond);
    uv_mutex_destroy(&b->lock);
  }
  return rc;
}

/* Lets the threads that were created run: the id of each is known now. */
static void release_threads(background_t *b, bool only_io) {
  uv_mutex_lock(&b->lock);
  b->started = true;
  b->closing = only_io;
  if (only_io) uv_async_send(&b->wake);
  uv_cond_broadcast(&b->wait_cond);
  uv_mutex_unlock(&b->lock);
}

static int start_threads(background_t *b) {
  sigset_t old;
  block_signals(&old);
  bool io = uv_thread_create(&b->io_thread, io_main, b) == 0;
  bool both =
      io && uv_thread_create(&b->delivery_thread, delivery_main, b) == 0;
  pthread_sigmask(SIG_SETMASK, &old, NULL);
  if (io) release_threads(b, !both);
  if (io && !both) uv_thread_join(&b->io_thread);
  return both ? 0 : TINKER_EIO;
}

int tinker__loop_background(tinker__loop_t **out, tinker__mem_t *mem,
                            const tinker__world_t *world) {
  background_t *b = tinker__mem_zalloc(mem, sizeof(*b));
  if (!b) return TINKER_ENOMEM;
  b->base = (tinker__loop_t){&background_ops, mem, world};
  b->alarm_ms = INT64_MAX;
  b->pid = getpid();
  tinker__list_init(&b->posted);
  tinker__list_init(&b->delivered);
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
  *out = &b->base;
  return 0;
}
