/* io: wake, alarm, watches and queues on a uv loop, see io.h.
 *
 * The wake-up is a descriptor of our own. uv_async_send would do, but uv's loop
 * spins until a sender that it has seen is out of that call, and the thread
 * which is woken by the call is so at once. */
#include "loop/io.h"

#include <assert.h>
#include <tinker/error.h>
#include <unistd.h>

#define NEEDED_PAIRS 4 /* of descriptors */

struct tinker__watch_s {
  uv_poll_t poll;
  tinker__io_t *io;
  tinker__watch_cb cb;
  void *user;
  int fd;
  unsigned wanted;  /* what the user wants */
  unsigned started; /* what uv watches: wanted, or more when lazy */
};

/* ---- queues ---- */

bool tinker__io_push(tinker__io_t *io, tinker__link_t *queue,
                     tinker__task_t *task, void (*first)(tinker__io_t *io)) {
  uv_mutex_lock(&io->lock);
  assert(!io->ended);
  bool fresh = tinker__list_empty(&task->link);
  bool was_empty = tinker__list_empty(queue);
  if (fresh) tinker__list_push_back(queue, &task->link);
  /* Under the lock: the handle is closed only after the queue was seen empty
   * under the same lock. */
  if (fresh && was_empty) first(io);
  uv_mutex_unlock(&io->lock);
  return fresh;
}

void tinker__io_wake(tinker__io_t *io) {
  tinker__beacon_raise(&io->beacon);
}

void tinker__io_run(tinker__io_t *io, tinker__link_t *queue,
                    int64_t budget_ms) {
  int64_t until_ms = tinker__loop_until(&io->base, budget_ms);
  bool in_time = true;
  tinker__link_t last;
  tinker__list_init(&last);
  uv_mutex_lock(&io->lock);
  tinker__list_push_back(queue, &last);
  while (in_time && tinker__list_first(queue) != &last) {
    tinker__link_t *link = tinker__list_pop_front(queue);
    uv_mutex_unlock(&io->lock);
    tinker__task_t *task = TINKER__CONTAINER(link, tinker__task_t, link);
    task->run(task);
    in_time = budget_ms < 0 || tinker__loop_now(&io->base) < until_ms;
    uv_mutex_lock(&io->lock);
  }
  tinker__list_remove(&last);
  if (!tinker__list_empty(queue)) tinker__io_wake(io);
  uv_mutex_unlock(&io->lock);
}

bool tinker__io_post(tinker__loop_t *loop, tinker__task_t *task) {
  tinker__io_t *io = tinker__io_of(loop);
  return tinker__io_push(io, &io->posted, task, tinker__io_wake);
}

static void on_wake(uv_poll_t *wake, int status, int events) {
  tinker__io_t *io = TINKER__CONTAINER(wake, tinker__io_t, wake);
  (void)status;
  (void)events;
  uv_mutex_lock(&io->lock);
  tinker__beacon_lower(&io->beacon);
  uv_mutex_unlock(&io->lock);
  io->woken(io);
}

/* ---- timers ---- */

static void on_alarm(uv_timer_t *alarm);

static void set_alarm(tinker__io_t *io) {
  tinker__timer_t *first = tinker__timers_first(&io->timers);
  int64_t due = first ? first->due_ms : INT64_MAX;
  if (due == io->alarm_ms) return;
  io->alarm_ms = due;
  if (!first) {
    uv_timer_stop(&io->alarm);
    return;
  }
  int64_t delay = due - tinker__loop_now(&io->base);
  uv_update_time(io->uv);
  uv_timer_start(&io->alarm, on_alarm, delay > 0 ? (uint64_t)delay : 0, 0);
}

void tinker__io_run_due(tinker__io_t *io) {
  int64_t now = tinker__loop_now(&io->base);
  uint64_t turn = tinker__timers_turn(&io->timers);
  tinker__timer_t *timer;
  while ((timer = tinker__timers_pop(&io->timers, now, turn))) {
    timer->run(timer);
  }
}

static void on_alarm(uv_timer_t *alarm) {
  tinker__io_t *io = TINKER__CONTAINER(alarm, tinker__io_t, alarm);
  io->alarm_ms = TINKER__IO_NO_ALARM; /* set only once, below */
  tinker__io_run_due(io);
  io->alarm_ms = INT64_MAX;
  set_alarm(io);
}

void tinker__io_timer_start(tinker__loop_t *loop, tinker__timer_t *timer,
                            int64_t due_ms) {
  tinker__io_t *io = tinker__io_of(loop);
  int64_t now = tinker__loop_now(loop);
  tinker__timers_put(&io->timers, timer, due_ms > now ? due_ms : now);
  if (io->alarm_ms != TINKER__IO_NO_ALARM) set_alarm(io);
}

/* The alarm stays: it then finds nothing due, which is cheaper than to set it
 * anew for each of the many timers that are stopped. */
void tinker__io_timer_stop(tinker__loop_t *loop, tinker__timer_t *timer) {
  tinker__timers_remove(&tinker__io_of(loop)->timers, timer);
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

int tinker__io_watch_new(tinker__loop_t *loop, tinker__watch_t **out, int fd,
                         tinker__watch_cb cb, void *user) {
  tinker__io_t *io = tinker__io_of(loop);
  tinker__watch_t *w = tinker__mem_zalloc(loop->mem, sizeof(*w));
  if (!w) return TINKER_ENOMEM;
  if (uv_poll_init(io->uv, &w->poll, fd)) {
    tinker__mem_free(loop->mem, w);
    return TINKER_EIO;
  }
  uv_unref((uv_handle_t *)&w->poll);
  w->io = io;
  w->cb = cb;
  w->user = user;
  w->fd = fd;
  io->handles++;
  *out = w;
  return 0;
}

int tinker__io_watch_set(tinker__watch_t *w, unsigned ready) {
  w->wanted = ready;
  if (!ready || w->started == ready) return 0;
  int events = 0;
  if (ready & TINKER__READABLE) events |= UV_READABLE;
  if (ready & TINKER__WRITABLE) events |= UV_WRITABLE;
  if (uv_poll_start(&w->poll, events, on_poll)) return TINKER_EIO;
  w->started = ready;
  w->io->started = true;
  return 0;
}

/* ---- birth and end ---- */

static void let_go(tinker__io_t *io) {
  if (--io->handles == 0 && io->closed) io->closed(io);
}

static void on_watch_closed(uv_handle_t *handle) {
  tinker__watch_t *w = TINKER__CONTAINER(handle, tinker__watch_t, poll);
  tinker__io_t *io = w->io;
  tinker__mem_free(io->base.mem, w);
  let_go(io);
}

void tinker__io_watch_free(tinker__watch_t *w) {
  uv_close((uv_handle_t *)&w->poll, on_watch_closed);
}

static void on_wake_closed(uv_handle_t *handle) {
  let_go(TINKER__CONTAINER(handle, tinker__io_t, wake));
}

static void on_alarm_closed(uv_handle_t *handle) {
  let_go(TINKER__CONTAINER(handle, tinker__io_t, alarm));
}

/* libuv ends the process when it has no descriptors for its first loop (F76),
 * so they are looked for before. */
static bool has_descriptors(void) {
  int pairs[NEEDED_PAIRS][2], n = 0;
  while (n < NEEDED_PAIRS && pipe(pairs[n]) == 0) n++;
  bool enough = n == NEEDED_PAIRS;
  while (n-- > 0) {
    close(pairs[n][0]);
    close(pairs[n][1]);
  }
  return enough;
}

int tinker__io_begin(uv_loop_t *uv) {
  return has_descriptors() && uv_loop_init(uv) == 0 ? 0 : TINKER_EIO;
}

int tinker__io_open(tinker__io_t *io, uv_loop_t *uv) {
  io->uv = uv;
  io->alarm_ms = INT64_MAX;
  tinker__list_init(&io->posted);
  tinker__list_init(&io->delivered);
  if (uv_mutex_init(&io->lock)) return TINKER_ENOMEM;
  /* A handle whose init failed needs no close; a timer's can't fail, nor can
   * the start of one that watches a descriptor which was taken. */
  if (tinker__beacon_open(&io->beacon) ||
      uv_poll_init(uv, &io->wake, tinker__beacon_fd(&io->beacon))) {
    tinker__io_done(io);
    return TINKER_EIO;
  }
  uv_poll_start(&io->wake, UV_READABLE, on_wake);
  uv_timer_init(uv, &io->alarm);
  uv_unref((uv_handle_t *)&io->alarm);
  io->handles = 2;
  return 0;
}

void tinker__io_close(tinker__io_t *io) {
  uv_close((uv_handle_t *)&io->wake, on_wake_closed);
  uv_close((uv_handle_t *)&io->alarm, on_alarm_closed);
}

void tinker__io_done(tinker__io_t *io) {
  tinker__beacon_close(&io->beacon);
  uv_mutex_destroy(&io->lock);
}
