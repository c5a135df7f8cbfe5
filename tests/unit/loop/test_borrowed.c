/* The loop on a uv_loop_t of the test's. uv_run returns when nothing keeps it
 * going, so each test says by its end what does. */
#include <criterion/criterion.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/wait.h>
#include <tinker/error.h>
#include <unistd.h>

#include "loop/borrowed.h"
#include "support/fail_alloc.h"
#include "support/loop_wait.h"

typedef struct bench_s {
  tinker__mem_t mem;
  uv_loop_t uv;
  tinker__loop_t *loop;
  char log[64]; /* what ran, a letter each */
  atomic_int gone;
  atomic_bool flag;
} bench_t;

static void open_bench(bench_t *b) {
  memset(b, 0, sizeof *b);
  tinker__mem_init(&b->mem, NULL, 0);
  cr_assert_eq(uv_loop_init(&b->uv), 0);
  cr_assert_eq(
      tinker__loop_borrowed(&b->loop, &b->mem, tinker__world_real(), &b->uv),
      0);
}

static void on_gone(void *user) {
  bench_t *b = user;
  cr_assert_eq(atomic_load(&b->mem.live_blocks), 0);
  atomic_fetch_add(&b->gone, 1);
}

static void run(bench_t *b) {
  cr_assert_eq(uv_run(&b->uv, UV_RUN_DEFAULT), 0);
}

/* After it no handle of ours is left: uv_loop_close says so. */
static void close_bench(bench_t *b) {
  tinker__loop_close(b->loop, on_gone, b);
  cr_assert_eq(atomic_load(&b->gone), 0); /* never inside the call */
  run(b);
  cr_assert_eq(atomic_load(&b->gone), 1);
  cr_assert_eq(uv_loop_close(&b->uv), 0);
}

static void say(bench_t *b, char what) {
  b->log[strlen(b->log)] = what;
}

typedef struct job_s {
  tinker__task_t task;
  bench_t *bench;
  tinker__task_t *posts;
  tinker__task_t *delivers;
  char name;
  bool unholds;
  bool on_thread, on_delivery;
} job_t;

static void run_job(tinker__task_t *task) {
  job_t *job = TINKER__CONTAINER(task, job_t, task);
  tinker__loop_t *loop = job->bench->loop;
  say(job->bench, job->name);
  job->on_thread = tinker__loop_on_thread(loop);
  job->on_delivery = tinker__loop_on_delivery(loop);
  if (job->posts) tinker__loop_post(loop, job->posts);
  if (job->delivers) tinker__loop_deliver(loop, job->delivers);
  if (job->unholds) tinker__loop_unhold(loop);
}

static void init_job(job_t *job, bench_t *b, char name) {
  *job = (job_t){.bench = b, .name = name};
  tinker__task_init(&job->task, run_job);
}

/* ---- what keeps uv_run going ---- */

Test(borrowed, an_idle_loop_does_not_keep_uv_run_going) {
  bench_t b;
  open_bench(&b);
  run(&b);
  cr_assert_eq(uv_loop_alive(&b.uv), 0);
  close_bench(&b);
}

Test(borrowed, a_held_loop_runs_until_it_is_let_go) {
  bench_t b;
  job_t jobs[3];
  open_bench(&b);
  for (int i = 0; i < 3; i++) init_job(&jobs[i], &b, (char)('0' + i));
  jobs[0].delivers = &jobs[1].task;
  jobs[1].posts = &jobs[2].task;
  jobs[2].unholds = true;
  tinker__loop_hold(b.loop);
  tinker__loop_hold(b.loop);
  tinker__loop_unhold(b.loop);
  tinker__loop_post(b.loop, &jobs[0].task);
  cr_assert_str_empty(b.log);
  run(&b);
  cr_assert_str_eq(b.log, "012");
  cr_assert(jobs[0].on_thread && !jobs[0].on_delivery);
  cr_assert(!jobs[1].on_thread && jobs[1].on_delivery);
  close_bench(&b);
}

/* ---- timers and descriptors ---- */

typedef struct parts_s {
  bench_t *bench;
  tinker__task_t start;
  tinker__timer_t timer, endless;
  tinker__watch_t *watch;
  int fds[2];
} parts_t;

static void on_endless(tinker__timer_t *timer) {
  (void)timer;
  cr_assert(false, "an hour has not passed");
}

static void on_readable(void *user, int fd, unsigned ready) {
  parts_t *p = user;
  char c;
  cr_assert(ready & TINKER__READABLE);
  cr_assert_eq(read(fd, &c, 1), 1);
  say(p->bench, c);
  tinker__timer_stop(p->bench->loop, &p->endless);
  tinker__watch_free(p->bench->loop, p->watch);
  tinker__loop_unhold(p->bench->loop);
}

static void on_timer(tinker__timer_t *timer) {
  parts_t *p = TINKER__CONTAINER(timer, parts_t, timer);
  say(p->bench, 't');
  cr_assert_eq(write(p->fds[1], "w", 1), 1);
}

static void start_parts(tinker__task_t *task) {
  parts_t *p = TINKER__CONTAINER(task, parts_t, start);
  tinker__loop_t *loop = p->bench->loop;
  tinker__timer_init(&p->timer, on_timer);
  tinker__timer_init(&p->endless, on_endless);
  tinker__timer_start(loop, &p->timer, tinker__loop_after(loop, 2));
  tinker__timer_start(loop, &p->endless, tinker__loop_after(loop, 3600000));
  cr_assert_eq(tinker__watch_new(loop, &p->watch, p->fds[0], on_readable, p),
               0);
  cr_assert_eq(tinker__watch_set(loop, p->watch, TINKER__READABLE), 0);
}

/* They work while the loop is held, and neither keeps it going alone. */
Test(borrowed, timers_and_watches_run_while_it_is_held) {
  bench_t b;
  parts_t p = {.bench = &b};
  open_bench(&b);
  cr_assert_eq(pipe(p.fds), 0);
  tinker__task_init(&p.start, start_parts);
  tinker__loop_hold(b.loop);
  tinker__loop_post(b.loop, &p.start);
  run(&b);
  cr_assert_str_eq(b.log, "tw");
  close_bench(&b);
  close(p.fds[0]);
  close(p.fds[1]);
}

/* ---- the caller's own handles ---- */

typedef struct own_s {
  bench_t bench;
  uv_timer_t timer;
  int ticks;
} own_t;

static void on_tick(uv_timer_t *timer) {
  own_t *own = TINKER__CONTAINER(timer, own_t, timer);
  if (++own->ticks == 3) uv_timer_stop(timer);
}

static void count_handle(uv_handle_t *handle, void *user) {
  (void)handle;
  ++*(int *)user;
}

Test(borrowed, the_callers_handles_are_not_touched) {
  own_t own = {0};
  int handles = 0;
  open_bench(&own.bench);
  uv_timer_init(&own.bench.uv, &own.timer);
  uv_timer_start(&own.timer, on_tick, 1, 1);
  tinker__loop_close(own.bench.loop, on_gone, &own.bench);
  run(&own.bench);
  cr_assert_eq(own.ticks, 3);
  cr_assert_eq(atomic_load(&own.bench.gone), 1);
  uv_walk(&own.bench.uv, count_handle, &handles);
  cr_assert_eq(handles, 1);
  uv_close((uv_handle_t *)&own.timer, NULL);
  run(&own.bench);
  cr_assert_eq(uv_loop_close(&own.bench.uv), 0);
}

/* ---- other threads ---- */

static bool is_set(void *user) {
  return atomic_load(&((bench_t *)user)->flag);
}

static void set_flag(tinker__task_t *task) {
  job_t *job = TINKER__CONTAINER(task, job_t, task);
  atomic_store(&job->bench->flag, true);
  tinker__loop_notify(job->bench->loop);
}

static void *post_and_wait(void *user) {
  job_t *job = user;
  tinker__loop_t *loop = job->bench->loop;
  cr_assert_not(tinker__loop_on_thread(loop));
  tinker__loop_post(loop, &job->task);
  int rc = tinker__loop_wait(loop, is_set, job->bench, -1);
  tinker__loop_unhold(loop); /* the loop's thread may be asleep: woken */
  return (void *)(intptr_t)rc;
}

Test(borrowed, another_thread_posts_and_waits) {
  bench_t b;
  pthread_t thread;
  void *rc;
  job_t job = {.bench = &b};
  open_bench(&b);
  tinker__task_init(&job.task, set_flag);
  tinker__loop_hold(b.loop);
  pthread_create(&thread, NULL, post_and_wait, &job);
  run(&b);
  pthread_join(thread, &rc);
  cr_assert_eq((int)(intptr_t)rc, 0);
  cr_assert_eq(tinker__loop_wait(b.loop, is_set, &b, -1), 0);
  atomic_store(&b.flag, false);
  cr_assert_eq(tinker__loop_wait(b.loop, is_set, &b, -1), TINKER_EDEADLK);
  cr_assert_eq(tinker__loop_wait(b.loop, is_set, &b, 0), TINKER_ETIMEDOUT);
  close_bench(&b);
}

/* ---- closing ---- */

static void close_inside(tinker__task_t *task) {
  job_t *job = TINKER__CONTAINER(task, job_t, task);
  tinker__loop_close(job->bench->loop, on_gone, job->bench);
  tinker__loop_unhold(job->bench->loop);
  cr_assert_eq(atomic_load(&job->bench->gone), 0);
}

Test(borrowed, a_close_inside_runs_what_is_queued) {
  for (int delivered = 0; delivered < 2; delivered++) {
    bench_t b;
    job_t job = {.bench = &b}, last, after;
    open_bench(&b);
    init_job(&last, &b, 'l');
    init_job(&after, &b, 'a');
    last.posts = &after.task;
    tinker__task_init(&job.task, close_inside);
    tinker__loop_hold(b.loop);
    if (delivered) {
      tinker__loop_deliver(b.loop, &job.task);
    } else {
      tinker__loop_post(b.loop, &job.task);
    }
    tinker__loop_deliver(b.loop, &last.task);
    run(&b);
    cr_assert_str_eq(b.log, "la");
    cr_assert_eq(atomic_load(&b.gone), 1);
    cr_assert_eq(uv_loop_close(&b.uv), 0);
  }
}

static void *close_elsewhere(void *user) {
  bench_t *b = user;
  tinker__loop_close(b->loop, on_gone, b);
  return NULL;
}

static void on_own_timer(uv_timer_t *timer) {
  (void)timer;
}

Test(borrowed, another_thread_may_close) {
  bench_t b;
  pthread_t thread;
  uv_timer_t own; /* keeps uv_run going until the close has come */
  open_bench(&b);
  uv_timer_init(&b.uv, &own);
  uv_timer_start(&own, on_own_timer, 60000, 0);
  pthread_create(&thread, NULL, close_elsewhere, &b);
  while (!atomic_load(&b.gone)) uv_run(&b.uv, UV_RUN_ONCE);
  pthread_join(thread, NULL);
  uv_close((uv_handle_t *)&own, NULL);
  run(&b);
  cr_assert_eq(uv_loop_close(&b.uv), 0);
}

static void leave_child(void *user) {
  (void)user;
  _exit(7);
}

Test(borrowed, a_forked_child_can_give_the_loop_up) {
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

static int make_and_close(tinker__mem_t *mem, void *user) {
  uv_loop_t *uv = user;
  tinker__loop_t *loop;
  int rc = tinker__loop_borrowed(&loop, mem, tinker__world_real(), uv);
  if (!rc) tinker__loop_close(loop, NULL, NULL);
  uv_run(uv, UV_RUN_DEFAULT);
  return rc;
}

Test(borrowed, every_failed_allocation_is_survived) {
  uv_loop_t uv;
  cr_assert_eq(uv_loop_init(&uv), 0);
  cr_assert_eq(tinker__fail_sweep(make_and_close, &uv, TINKER_ENOMEM), 1);
  cr_assert_eq(uv_loop_close(&uv), 0);
}
