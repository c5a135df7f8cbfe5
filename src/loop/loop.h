/* loop: where everything that waits runs.
 *
 * One loop belongs to one client. All state of http, flow and session is
 * touched on the loop's thread only; everything else is sent there as a task.
 * User code and log lines never run on it: they run as delivered tasks, on
 * the delivery thread in background mode, so that a slow callback can't
 * delay a heartbeat.
 *
 * The loop is a table of functions, so that a test replaces it by one that
 * owns time (tests/support/fake_loop.h), and step mode (loop/step.h) and
 * borrowed mode (loop/borrowed.h) stand beside background mode without a change
 * above. There "the loop's thread" is whoever turns the loop, and the delivery
 * thread is the same one, after the I/O part of a turn.
 *
 * Vocabulary: to post = queue for the loop's thread; to deliver = queue for
 * the delivery thread. Tasks, timers and watches are embedded in the objects
 * they serve: nothing is allocated, so posting, delivering and timers can't
 * fail. */
#ifndef TINKER_LOOP_LOOP_H
#define TINKER_LOOP_LOOP_H

#include <stdbool.h>
#include <stdint.h>

#include "base/list.h"
#include "base/mem.h"
#include "base/world.h"
#include "loop/timer.h"

typedef struct tinker__loop_s tinker__loop_t;
struct tinker__waiter_s;

/* A piece of work. Belongs to one queue at a time. While it runs it is in no
 * queue: it may be queued again or freed from inside run. */
typedef struct tinker__task_s {
  tinker__link_t link;
  void (*run)(struct tinker__task_s *task);
} tinker__task_t;

static inline void tinker__task_init(tinker__task_t *task,
                                     void (*run)(tinker__task_t *task)) {
  tinker__list_init(&task->link);
  task->run = run;
}

/* The events that a descriptor is ready for, or is watched for. */
typedef enum {
  TINKER__READABLE = 1 << 0,
  TINKER__WRITABLE = 1 << 1,
  TINKER__BROKEN = 1 << 2 /* reported only */
} tinker__ready_t;

typedef struct tinker__watch_s tinker__watch_t;
typedef void (*tinker__watch_cb)(void *user, int fd, unsigned ready);

typedef struct tinker__loop_ops_s {
  bool (*post)(tinker__loop_t *loop, tinker__task_t *task);
  bool (*deliver)(tinker__loop_t *loop, tinker__task_t *task);
  bool (*on_thread)(const tinker__loop_t *loop);
  bool (*on_delivery)(const tinker__loop_t *loop);
  void (*timer_start)(tinker__loop_t *loop, tinker__timer_t *timer,
                      int64_t due_ms);
  void (*timer_stop)(tinker__loop_t *loop, tinker__timer_t *timer);
  int (*sleep)(tinker__loop_t *loop, struct tinker__waiter_s *waiter,
               bool (*ready)(void *user), void *user, int64_t timeout_ms);
  int (*watch_new)(tinker__loop_t *loop, tinker__watch_t **out, int fd,
                   tinker__watch_cb cb, void *user);
  int (*watch_set)(tinker__watch_t *watch, unsigned ready);
  void (*watch_free)(tinker__watch_t *watch);
  void (*hold)(tinker__loop_t *loop, bool more); /* NULL = nothing to do */
  void (*close)(tinker__loop_t *loop, void (*gone)(void *user), void *user);
} tinker__loop_ops_t;

/* Head of every implementation. */
struct tinker__loop_s {
  const tinker__loop_ops_t *ops;
  tinker__mem_t *mem;
  const tinker__world_t *world;
};

/* Background mode: starts the I/O thread and the delivery thread. mem and
 * world outlive the loop. 0, TINKER_ENOMEM, TINKER_EIO (a thread or descriptor
 * can't be made). */
int tinker__loop_background(tinker__loop_t **out, tinker__mem_t *mem,
                            const tinker__world_t *world);

/* Ends the loop. Tasks that were posted or delivered before still run, and so
 * do the tasks that these queue; timers don't fire any more, and watches must
 * be gone. After the call no other thread may queue anything. Any thread, once.
 * `gone` (may be NULL) runs last, when the loop is freed, so it may free mem.
 *
 * In background mode it returns when both threads have been joined; on one of
 * them it returns at once, and they end afterwards; tinker__loop_reap waits for
 * them. For the other modes see their headers. A forked child has neither the
 * threads nor the descriptors to itself: there only `gone` frees anything. */
static inline void tinker__loop_close(tinker__loop_t *loop,
                                      void (*gone)(void *user), void *user) {
  loop->ops->close(loop, gone, user);
}

/* Says that work is under way which the loop has to be turned for, and that it
 * has ended, once for each time. In borrowed mode a caller's uv_run goes on as
 * long; the other modes don't care. Any thread. */
static inline void tinker__loop_hold(tinker__loop_t *loop) {
  if (loop->ops->hold) loop->ops->hold(loop, true);
}
static inline void tinker__loop_unhold(tinker__loop_t *loop) {
  if (loop->ops->hold) loop->ops->hold(loop, false);
}

/* Waits until every background loop of the process that was closed has
 * ended, threads included; for tinker_shutdown. timeout_ms: -1 = no limit.
 * 0, TINKER_ETIMEDOUT, TINKER_EDEADLK on a loop's own thread. */
int tinker__loop_reap(int64_t timeout_ms);

/* Any thread; can't fail. False when the task is queued already (once is
 * enough: it runs after this call). Tasks run in order of posting. */
static inline bool tinker__loop_post(tinker__loop_t *loop,
                                     tinker__task_t *task) {
  return loop->ops->post(loop, task);
}

/* Posts a task to the delivery thread, by the same rules. */
static inline bool tinker__loop_deliver(tinker__loop_t *loop,
                                        tinker__task_t *task) {
  return loop->ops->deliver(loop, task);
}

/* Does the caller run on the loop's thread (the delivery thread)? */
static inline bool tinker__loop_on_thread(const tinker__loop_t *loop) {
  return loop->ops->on_thread(loop);
}
static inline bool tinker__loop_on_delivery(const tinker__loop_t *loop) {
  return loop->ops->on_delivery(loop);
}

/* Loop time: the world's monotonic milliseconds. Any thread. */
static inline int64_t tinker__loop_now(const tinker__loop_t *loop) {
  return loop->world->now_ms(loop->world->user);
}

/* Loop time `ms` milliseconds from now (ms >= 0). A time beyond the range
 * becomes INT64_MAX, at which nothing fires. Any thread. */
static inline int64_t tinker__loop_after(const tinker__loop_t *loop,
                                         int64_t ms) {
  int64_t now = tinker__loop_now(loop);
  return ms > INT64_MAX - now ? INT64_MAX : now + ms;
}

/* Loop time when a wait of timeout_ms ends; INT64_MAX for -1, no limit. */
static inline int64_t tinker__loop_until(const tinker__loop_t *loop,
                                         int64_t timeout_ms) {
  return timeout_ms < 0 ? INT64_MAX : tinker__loop_after(loop, timeout_ms);
}

/* One-shot timers, on the loop's thread only. start moves a running timer;
 * a due time in the past fires at the next turn, never inside start. stop is
 * allowed at any time, also for a timer that never ran. Timers due at the same
 * millisecond fire in the order they were started. */
static inline void tinker__timer_start(tinker__loop_t *loop,
                                       tinker__timer_t *timer, int64_t due_ms) {
  loop->ops->timer_start(loop, timer, due_ms);
}
static inline void tinker__timer_stop(tinker__loop_t *loop,
                                      tinker__timer_t *timer) {
  loop->ops->timer_stop(loop, timer);
}

/* Blocks the caller until ready(user) is true, which is looked at again when
 * the waiter was woken (loop/waiter.h); whoever makes it true wakes it
 * afterwards. ready reads an atomic or two and takes no lock.
 * timeout_ms: -1 = no limit. 0, TINKER_ETIMEDOUT, or TINKER_EDEADLK when it is
 * not ready, time is left and the caller is one of the loop's threads. */
static inline int tinker__loop_sleep(tinker__loop_t *loop,
                                     struct tinker__waiter_s *waiter,
                                     bool (*ready)(void *user), void *user,
                                     int64_t timeout_ms) {
  return loop->ops->sleep(loop, waiter, ready, user, timeout_ms);
}

/* Watches of descriptors, on the loop's thread only; for http.
 * new: watches nothing yet. 0, TINKER_ENOMEM, TINKER_EIO.
 * set: bits of tinker__ready_t; 0 = none. Cheap to call often: giving up
 * interest costs a system call only if an event happens nevertheless.
 * free: before the descriptor is closed; no call back afterwards. */
static inline int tinker__watch_new(tinker__loop_t *loop, tinker__watch_t **out,
                                    int fd, tinker__watch_cb cb, void *user) {
  return loop->ops->watch_new(loop, out, fd, cb, user);
}
static inline int tinker__watch_set(tinker__loop_t *loop,
                                    tinker__watch_t *watch, unsigned ready) {
  return loop->ops->watch_set(watch, ready);
}
static inline void tinker__watch_free(tinker__loop_t *loop,
                                      tinker__watch_t *watch) {
  loop->ops->watch_free(watch);
}

#endif
