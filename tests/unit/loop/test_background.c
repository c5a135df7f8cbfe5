/* The loop on its threads. Nothing here depends on how long anything takes:
 * what must happen is waited for. */
#include <criterion/criterion.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <tinker/error.h>
#include <unistd.h>

#include "loop/loop.h"
#include "support/fail_alloc.h"
#include "support/loop_wait.h"

enum { THREADS = 4, PER_THREAD = 2000 };

typedef struct bench_s {
  tinker__mem_t mem;
  tinker__loop_t *loop;
  atomic_int posted;
  atomic_int delivered;
  atomic_int gone;
  atomic_bool flag;
} bench_t;

static void open_bench(bench_t *b) {
  tinker__mem_init(&b->mem, NULL, 0);
  atomic_init(&b->posted, 0);
  atomic_init(&b->delivered, 0);
  atomic_init(&b->gone, 0);
  atomic_init(&b->flag, false);
  cr_assert_eq(tinker__loop_background(&b->loop, &b->mem, tinker__world_real()),
               0);
}

static void on_gone(void *user) {
  bench_t *b = user;
  cr_assert_eq(atomic_load(&b->mem.live_blocks), 0);
  atomic_fetch_add(&b->gone, 1);
}

static void close_bench(bench_t *b) {
  tinker__loop_close(b->loop, on_gone, b);
  cr_assert_eq(atomic_load(&b->gone), 1);
}

/* Descriptors are short: an error, and nothing is left open; not the end of the
 * process, as by libuv (F76). */
Test(background, each_number_of_descriptors) {
  struct rlimit limit;
  int failed = 0, rc = TINKER_EIO;
  cr_assert_eq(getrlimit(RLIMIT_NOFILE, &limit), 0);
  int next = dup(0);
  close(next);
  for (int more = 0; rc != 0 && more < 100; more++) {
    bench_t b;
    tinker__mem_init(&b.mem, NULL, 0);
    atomic_init(&b.gone, 0);
    limit.rlim_cur = (rlim_t)(next + more);
    cr_assert_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
    rc = tinker__loop_background(&b.loop, &b.mem, tinker__world_real());
    if (rc != 0) {
      cr_assert_eq(rc, TINKER_EIO);
      cr_assert_eq(atomic_load(&b.mem.live_blocks), 0);
      failed++;
      continue;
    }
    close_bench(&b);
  }
  cr_assert_eq(rc, 0);
  cr_assert_geq(failed, 3);
}

/* ---- posting and delivering ---- */

typedef struct job_s {
  tinker__task_t task;
  bench_t *bench;
  int number;
} job_t;

static void run_delivered(tinker__task_t *task) {
  job_t *job = TINKER__CONTAINER(task, job_t, task);
  cr_assert(tinker__loop_on_delivery(job->bench->loop));
  cr_assert_not(tinker__loop_on_thread(job->bench->loop));
  atomic_fetch_add(&job->bench->delivered, 1);
  tinker__loop_notify(job->bench->loop);
}

static void run_posted(tinker__task_t *task) {
  job_t *job = TINKER__CONTAINER(task, job_t, task);
  cr_assert(tinker__loop_on_thread(job->bench->loop));
  cr_assert_not(tinker__loop_on_delivery(job->bench->loop));
  atomic_fetch_add(&job->bench->posted, 1);
  tinker__task_init(task, run_delivered);
  cr_assert(tinker__loop_deliver(job->bench->loop, task));
}

typedef struct poster_s {
  pthread_t thread;
  bench_t *bench;
  job_t jobs[PER_THREAD];
} poster_t;

static void *post_all(void *user) {
  poster_t *p = user;
  for (int i = 0; i < PER_THREAD; i++) {
    p->jobs[i] = (job_t){.bench = p->bench, .number = i};
    tinker__task_init(&p->jobs[i].task, run_posted);
    cr_assert(tinker__loop_post(p->bench->loop, &p->jobs[i].task));
  }
  return NULL;
}

static bool all_delivered(void *user) {
  bench_t *b = user;
  return atomic_load(&b->delivered) == THREADS * PER_THREAD;
}

Test(background, every_task_runs_once_on_its_thread) {
  static poster_t posters[THREADS];
  bench_t b;
  open_bench(&b);
  for (int i = 0; i < THREADS; i++) {
    posters[i].bench = &b;
    pthread_create(&posters[i].thread, NULL, post_all, &posters[i]);
  }
  cr_assert_eq(tinker__loop_wait(b.loop, all_delivered, &b, -1), 0);
  for (int i = 0; i < THREADS; i++) pthread_join(posters[i].thread, NULL);
  cr_assert_eq(atomic_load(&b.posted), THREADS * PER_THREAD);
  cr_assert_not(tinker__loop_on_thread(b.loop));
  close_bench(&b);
}

/* ---- order, and a task that is queued already ---- */

typedef struct ordered_s {
  bench_t *bench;
  job_t jobs[100];
  int seen[100];
  int seen_count;
} ordered_t;

static ordered_t ordered;

static void note(tinker__task_t *task) {
  job_t *job = TINKER__CONTAINER(task, job_t, task);
  ordered.seen[ordered.seen_count++] = job->number;
}

static void queue_all(tinker__task_t *task) {
  job_t *job = TINKER__CONTAINER(task, job_t, task);
  for (int i = 0; i < 100; i++) {
    ordered.jobs[i] = (job_t){.bench = job->bench, .number = i};
    tinker__task_init(&ordered.jobs[i].task, note);
    cr_assert(tinker__loop_deliver(job->bench->loop, &ordered.jobs[i].task));
  }
}

static void hold_then_queue(tinker__task_t *task) {
  job_t *job = TINKER__CONTAINER(task, job_t, task);
  queue_all(task);
  /* The delivery thread is here, so all of them still wait. */
  cr_assert_not(tinker__loop_deliver(job->bench->loop, &ordered.jobs[50].task));
}

Test(background, tasks_keep_their_order_and_close_runs_what_is_queued) {
  bench_t b;
  open_bench(&b);
  job_t job = {.bench = &b};
  tinker__task_init(&job.task, hold_then_queue);
  tinker__loop_deliver(b.loop, &job.task);
  close_bench(&b); /* at once: nothing may be lost */
  cr_assert_eq(ordered.seen_count, 100);
  for (int i = 0; i < 100; i++) cr_assert_eq(ordered.seen[i], i);
}

/* ---- ping-pong between the threads while the loop is closed ---- */

static void pong(tinker__task_t *task);

static void ping(tinker__task_t *task) {
  job_t *job = TINKER__CONTAINER(task, job_t, task);
  task->run = pong;
  tinker__loop_deliver(job->bench->loop, task);
}

static void pong(tinker__task_t *task) {
  job_t *job = TINKER__CONTAINER(task, job_t, task);
  if (--job->number == 0) return;
  task->run = ping;
  tinker__loop_post(job->bench->loop, task);
}

Test(background, close_waits_for_tasks_that_queue_tasks) {
  for (int round = 0; round < 50; round++) {
    bench_t b;
    open_bench(&b);
    job_t job = {.bench = &b, .number = 20};
    tinker__task_init(&job.task, ping);
    tinker__loop_post(b.loop, &job.task);
    close_bench(&b);
    cr_assert_eq(job.number, 0);
  }
}

/* ---- timers ---- */

typedef struct alarm_s {
  tinker__timer_t timer;
  tinker__task_t start;
  bench_t *bench;
  tinker__timer_t others[3];
  int fired[8];
  int fired_count;
} alarm_t;

static alarm_t alarms;

static void on_other(tinker__timer_t *timer) {
  alarms.fired[alarms.fired_count++] = (int)(timer - alarms.others);
}

static void on_last(tinker__timer_t *timer) {
  (void)timer;
  atomic_store(&alarms.bench->flag, true);
  tinker__loop_notify(alarms.bench->loop);
}

static void start_alarms(tinker__task_t *task) {
  tinker__loop_t *loop = alarms.bench->loop;
  int64_t now = tinker__loop_now(loop);
  (void)task;
  for (int i = 0; i < 3; i++) {
    tinker__timer_init(&alarms.others[i], on_other);
  }
  tinker__timer_init(&alarms.timer, on_last);
  tinker__timer_start(loop, &alarms.timer, now + 20);
  tinker__timer_start(loop, &alarms.others[0], now + 10);
  tinker__timer_start(loop, &alarms.others[1], now - 1000);
  tinker__timer_start(loop, &alarms.others[2], now + 5);
  tinker__timer_start(loop, &alarms.others[0], now + 1); /* moved */
  tinker__timer_stop(loop, &alarms.others[2]);
  cr_assert_eq(alarms.fired_count, 0);
}

static bool is_flag_set(void *user) {
  return atomic_load(&((bench_t *)user)->flag);
}

Test(background, timers_fire_in_order_of_their_time) {
  bench_t b;
  open_bench(&b);
  alarms.bench = &b;
  tinker__task_init(&alarms.start, start_alarms);
  tinker__loop_post(b.loop, &alarms.start);
  cr_assert_eq(tinker__loop_wait(b.loop, is_flag_set, &b, -1), 0);
  cr_assert_eq(alarms.fired_count, 2);
  cr_assert_eq(alarms.fired[0], 1);
  cr_assert_eq(alarms.fired[1], 0);
  close_bench(&b);
}

/* ---- waiting ---- */

static atomic_int own_wait[2];

static void wait_on_own(tinker__task_t *task) {
  job_t *job = TINKER__CONTAINER(task, job_t, task);
  int rc = tinker__loop_wait(job->bench->loop, is_flag_set, job->bench, -1);
  atomic_store(&own_wait[job->number], rc);
}

Test(background, waiting_ends_by_time_or_is_refused_on_own_threads) {
  bench_t b;
  open_bench(&b);
  cr_assert_eq(tinker__loop_wait(b.loop, is_flag_set, &b, 0), TINKER_ETIMEDOUT);
  cr_assert_eq(tinker__loop_wait(b.loop, is_flag_set, &b, 3), TINKER_ETIMEDOUT);
  job_t jobs[2];
  for (int i = 0; i < 2; i++) {
    jobs[i] = (job_t){.bench = &b, .number = i};
    tinker__task_init(&jobs[i].task, wait_on_own);
  }
  tinker__loop_post(b.loop, &jobs[0].task);
  tinker__loop_deliver(b.loop, &jobs[1].task);
  close_bench(&b);
  cr_assert_eq(atomic_load(&own_wait[0]), TINKER_EDEADLK);
  cr_assert_eq(atomic_load(&own_wait[1]), TINKER_EDEADLK);
}

/* ---- closing from inside ---- */

static atomic_int reap_inside;

static void close_inside(tinker__task_t *task) {
  job_t *job = TINKER__CONTAINER(task, job_t, task);
  tinker__loop_close(job->bench->loop, on_gone, job->bench);
  atomic_store(&reap_inside, tinker__loop_reap(-1));
}

Test(background, a_loop_closed_on_its_own_thread_ends_behind_it) {
  for (int round = 0; round < 20; round++) {
    bench_t b[2];
    job_t jobs[2];
    for (int i = 0; i < 2; i++) {
      open_bench(&b[i]);
      jobs[i] = (job_t){.bench = &b[i]};
      tinker__task_init(&jobs[i].task, close_inside);
    }
    tinker__loop_deliver(b[0].loop, &jobs[0].task);
    tinker__loop_post(b[1].loop, &jobs[1].task);
    /* Until both have been asked to end there is nothing to reap. */
    while (atomic_load(&b[0].gone) + atomic_load(&b[1].gone) < 2) {
      cr_assert_eq(tinker__loop_reap(-1), 0);
    }
    cr_assert_eq(tinker__loop_reap(-1), 0);
    cr_assert_eq(atomic_load(&reap_inside), TINKER_EDEADLK);
  }
}

/* ---- descriptors ---- */

typedef struct pipe_s {
  bench_t *bench;
  tinker__task_t start, stop;
  tinker__watch_t *watch;
  int fds[2];
  atomic_int bytes;
} pipe_t;

static void on_readable(void *user, int fd, unsigned ready) {
  pipe_t *p = user;
  char c;
  cr_assert(ready & TINKER__READABLE);
  cr_assert_eq(read(fd, &c, 1), 1);
  int n = atomic_fetch_add(&p->bytes, 1) + 1;
  tinker__watch_set(p->bench->loop, p->watch, n == 2 ? 0 : TINKER__READABLE);
  tinker__loop_notify(p->bench->loop);
}

static void start_watch(tinker__task_t *task) {
  pipe_t *p = TINKER__CONTAINER(task, pipe_t, start);
  if (!p->watch) {
    cr_assert_eq(
        tinker__watch_new(p->bench->loop, &p->watch, p->fds[0], on_readable, p),
        0);
  }
  cr_assert_eq(tinker__watch_set(p->bench->loop, p->watch, TINKER__READABLE),
               0);
}

static void stop_watch(tinker__task_t *task) {
  pipe_t *p = TINKER__CONTAINER(task, pipe_t, stop);
  tinker__watch_free(p->bench->loop, p->watch);
  close(p->fds[0]);
  close(p->fds[1]);
}

static bool two_bytes(void *user) {
  return atomic_load(&((pipe_t *)user)->bytes) == 2;
}

static bool three_bytes(void *user) {
  return atomic_load(&((pipe_t *)user)->bytes) == 3;
}

Test(background, a_watch_that_idles_reports_nothing_until_it_is_set) {
  bench_t b;
  static pipe_t p;
  open_bench(&b);
  p.bench = &b;
  cr_assert_eq(pipe(p.fds), 0);
  tinker__task_init(&p.start, start_watch);
  tinker__task_init(&p.stop, stop_watch);
  tinker__loop_post(b.loop, &p.start);
  cr_assert_eq(write(p.fds[1], "abc", 3), 3);
  cr_assert_eq(tinker__loop_wait(b.loop, two_bytes, &p, -1), 0);
  cr_assert_eq(tinker__loop_wait(b.loop, three_bytes, &p, 5), TINKER_ETIMEDOUT);
  tinker__loop_post(b.loop, &p.start);
  cr_assert_eq(tinker__loop_wait(b.loop, three_bytes, &p, -1), 0);
  tinker__loop_post(b.loop, &p.stop);
  close_bench(&b);
}

/* ---- after a fork ---- */

static void leave_child(void *user) {
  (void)user;
  _exit(7);
}

Test(background, a_forked_child_can_give_the_loop_up) {
  bench_t b;
  int status = 0;
  open_bench(&b);
  pid_t child = fork();
  if (child == 0) {
    tinker__loop_close(b.loop, leave_child, NULL);
    _exit(1);
  }
  cr_assert_eq(waitpid(child, &status, 0), child);
  cr_assert(WIFEXITED(status));
  cr_assert_eq(WEXITSTATUS(status), 7);
  close_bench(&b);
}

/* ---- memory ---- */

static int make_and_close(tinker__mem_t *mem, void *user) {
  tinker__loop_t *loop;
  (void)user;
  int rc = tinker__loop_background(&loop, mem, tinker__world_real());
  if (!rc) tinker__loop_close(loop, NULL, NULL);
  return rc;
}

Test(background, every_failed_allocation_is_survived) {
  cr_assert_eq(tinker__fail_sweep(make_and_close, NULL, TINKER_ENOMEM), 1);
}
