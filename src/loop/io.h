/* io: the part of a loop that is libuv, and its queues of tasks. Background,
 * step and borrowed mode build on it and add who runs it.
 *
 * Threads: post may be called on any thread; `lock` guards the queues. All the
 * rest belongs to the thread that runs the uv loop. */
#ifndef TINKER_LOOP_IO_H
#define TINKER_LOOP_IO_H

#include <uv.h>

#include "base/beacon.h"
#include "loop/loop.h"
#include "loop/waiter.h"

/* alarm_ms of a loop that runs its timers itself, and while they run. */
#define TINKER__IO_NO_ALARM INT64_MIN

/* How long the tasks of one queue may hold up a loop that a program has other
 * business in. */
#define TINKER__IO_BUDGET_MS 2

typedef struct tinker__io_s {
  tinker__loop_t base; /* first: the loop that the other layers see */
  uv_loop_t *uv;
  uv_poll_t wake;   /* watches `beacon` */
  uv_timer_t alarm; /* the earliest of timers */
  tinker__timers_t timers;
  int64_t alarm_ms; /* what alarm is set to; INT64_MAX = not set */
  size_t handles;   /* handles that uv has not let go of */
  bool started;     /* a watch was started: uv has to look at it */
  /* Loop's thread: wake was sent. */
  void (*woken)(struct tinker__io_s *io);
  /* Loop's thread: the last handle is closed. May be NULL. */
  void (*closed)(struct tinker__io_s *io);

  uv_mutex_t lock;
  /* Under the lock. */
  tinker__beacon_t beacon; /* raised: uv has to call `woken` */
  tinker__link_t posted;
  tinker__link_t delivered;
  bool ended; /* both are empty for good */
} tinker__io_t;

static inline tinker__io_t *tinker__io_of(const tinker__loop_t *loop) {
  return TINKER__CONTAINER(loop, tinker__io_t, base);
}

/* Is this the calling thread? */
static inline bool tinker__io_is_self(const uv_thread_t *thread) {
  uv_thread_t self = uv_thread_self();
  return uv_thread_equal(&self, thread) != 0;
}

/* A new loop of libuv. 0 or TINKER_EIO. */
int tinker__io_begin(uv_loop_t *uv);
/* Opens the handles on uv. base, woken and closed are set, the rest is zero.
 * 0, TINKER_ENOMEM or TINKER_EIO; then nothing is left open. */
int tinker__io_open(tinker__io_t *io, uv_loop_t *uv);
/* Closes the handles; uv says `closed` in a later turn, after the watches that
 * were freed before. The loop's thread. */
void tinker__io_close(tinker__io_t *io);
/* Gives the lock back, when no other thread can reach it. */
void tinker__io_done(tinker__io_t *io);

/* Queues a task. `first` is called under the lock when the queue was empty. */
bool tinker__io_push(tinker__io_t *io, tinker__link_t *queue,
                     tinker__task_t *task, void (*first)(tinker__io_t *io));
/* Lets uv call `woken` once more. Under the lock, on any thread, while the
 * handles are open. */
void tinker__io_wake(tinker__io_t *io);
/* Is nothing queued? Under the lock. */
static inline bool tinker__io_is_empty(const tinker__io_t *io) {
  return tinker__list_empty(&io->posted) && tinker__list_empty(&io->delivered);
}
/* Runs the tasks that are in the queue now, at least one, and stops when
 * budget_ms have passed; -1 = no limit. The rest, and tasks that these queue,
 * run at the next turn, so that descriptors are looked at in between. */
void tinker__io_run(tinker__io_t *io, tinker__link_t *queue, int64_t budget_ms);

/* Runs the timers that are due. */
void tinker__io_run_due(tinker__io_t *io);

/* For the table of a mode. */
bool tinker__io_post(tinker__loop_t *loop, tinker__task_t *task);
void tinker__io_timer_start(tinker__loop_t *loop, tinker__timer_t *timer,
                            int64_t due_ms);
void tinker__io_timer_stop(tinker__loop_t *loop, tinker__timer_t *timer);
int tinker__io_watch_new(tinker__loop_t *loop, tinker__watch_t **out, int fd,
                         tinker__watch_cb cb, void *user);
int tinker__io_watch_set(tinker__watch_t *watch, unsigned ready);
void tinker__io_watch_free(tinker__watch_t *watch);

#endif
