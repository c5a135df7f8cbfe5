/* The loop that its user turns. Time is the test's own; descriptors are looked
 * at, never waited for, except where a wait is what is tested. */
#include <criterion/criterion.h>
#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/wait.h>
#include <tinker/error.h>
#include <unistd.h>

#include "loop/step.h"
#include "support/fail_alloc.h"
#include "support/loop_wait.h"

typedef struct bench_s {
  tinker__mem_t mem;
  tinker__world_t world;
  tinker__loop_t *loop;
  int64_t now_ms;
  char log[256]; /* what ran, a letter each */
  atomic_int gone;
  atomic_bool flag;
} bench_t;

static int64_t bench_now(void *user) {
  return ((bench_t *)user)->now_ms;
}

static void open_bench(bench_t *b) {
  memset(b, 0, sizeof *b);
  tinker__mem_init(&b->mem, NULL, 0);
  b->world = *tinker__world_real();
  b->world.now_ms = bench_now;
  b->world.user = b;
  b->now_ms = 1000;
  cr_assert_eq(tinker__loop_step(&b->loop, &b->mem, &b->world), 0);
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

static bool is_readable(const bench_t *b) {
  struct pollfd fd = {.fd = tinker__step_fd(b->loop), .events = POLLIN};
  return poll(&fd, 1, 0) == 1;
}

static bool is_idle(const bench_t *b) {
  return !is_readable(b) && tinker__step_timeout_ms(b->loop) == -1;
}

static void step(bench_t *b) {
  cr_assert_eq(tinker__step(b->loop), 0);
}

static void say(bench_t *b, char what) {
  b->log[strlen(b->log)] = what;
}

typedef struct job_s {
  tinker__task_t task;
  bench_t *bench;
  char name;
  tinker__task_t *posts;    /* by this one; may be NULL */
  tinker__task_t *delivers; /* by this one; may be NULL */
} job_t;

static void run_job(tinker__task_t *task) {
  job_t *job = TINKER__CONTAINER(task, job_t, task);
  say(job->bench, job->name);
  if (job->posts) tinker__loop_post(job->bench->loop, job->posts);
  if (job->delivers) tinker__loop_deliver(job->bench->loop, job->delivers);
}

static void init_job(job_t *job, bench_t *b, char name) {
  *job = (job_t){.bench = b, .name = name};
  tinker__task_init(&job->task, run_job);
}

/* ---- tasks and the descriptor ---- */

Test(step, the_descriptor_tells_and_a_step_does_all_of_it) {
  bench_t b;
  job_t post, deliver;
  open_bench(&b);
  init_job(&post, &b, 'p');
  init_job(&deliver, &b, 'd');
  post.delivers = &deliver.task;
  cr_assert(is_idle(&b));
  step(&b); /* with nothing to do */
  cr_assert(is_idle(&b));
  cr_assert(tinker__loop_post(b.loop, &post.task));
  cr_assert_not(tinker__loop_post(b.loop, &post.task));
  cr_assert(is_readable(&b));
  cr_assert_eq(tinker__step_timeout_ms(b.loop), 0);
  cr_assert_str_empty(b.log); /* nothing runs before the step */
  step(&b);
  cr_assert_str_eq(b.log, "pd");
  cr_assert(is_idle(&b));
  close_bench(&b);
}

/* The I/O part comes first, whatever was queued first; a step ends although
 * its tasks queue tasks, and the descriptor says that there is more. */
Test(step, deliveries_run_after_the_io_part_and_a_step_ends) {
  bench_t b;
  job_t a, c, d, e;
  open_bench(&b);
  init_job(&a, &b, 'a');
  init_job(&c, &b, 'c');
  init_job(&d, &b, 'd');
  init_job(&e, &b, 'e');
  d.delivers = &d.task; /* itself, for ever */
  e.posts = &a.task;
  tinker__loop_deliver(b.loop, &d.task);
  tinker__loop_deliver(b.loop, &e.task);
  tinker__loop_post(b.loop, &c.task);
  step(&b);
  cr_assert_str_eq(b.log, "cde");
  cr_assert(is_readable(&b));
  cr_assert_eq(tinker__step_timeout_ms(b.loop), 0);
  step(&b);
  cr_assert_str_eq(b.log, "cdead");
  d.delivers = NULL;
  close_bench(&b); /* what is queued still runs */
  cr_assert_str_eq(b.log, "cdeadd");
}

static void take_a_millisecond(tinker__task_t *task) {
  job_t *job = TINKER__CONTAINER(task, job_t, task);
  say(job->bench, job->name);
  job->bench->now_ms++;
}

/* A step does not hold up the program's loop although much has ended at once:
 * the rest waits for the next one, in its order. */
Test(step, a_step_leaves_long_queues_to_the_next) {
  bench_t b;
  job_t jobs[10];
  open_bench(&b);
  for (int i = 0; i < 10; i++) {
    init_job(&jobs[i], &b, (char)('0' + i));
    tinker__task_init(&jobs[i].task, take_a_millisecond);
    if (i < 5) tinker__loop_post(b.loop, &jobs[i].task);
    if (i >= 5) tinker__loop_deliver(b.loop, &jobs[i].task);
  }
  step(&b);
  cr_assert_str_eq(b.log, "0156");
  cr_assert(is_readable(&b));
  cr_assert_eq(tinker__step_timeout_ms(b.loop), 0);
  step(&b);
  cr_assert_str_eq(b.log, "01562378");
  cr_assert(is_readable(&b));
  step(&b);
  cr_assert_str_eq(b.log, "0156237849");
  cr_assert(is_idle(&b));
  close_bench(&b);
}

static void *post_all(void *user) {
  job_t *jobs = user;
  for (int i = 0; i < 100; i++) {
    cr_assert(tinker__loop_post(jobs[i].bench->loop, &jobs[i].task));
  }
  return NULL;
}

Test(step, tasks_of_another_thread_make_it_readable) {
  bench_t b;
  pthread_t thread;
  static job_t jobs[100];
  open_bench(&b);
  for (int i = 0; i < 100; i++) init_job(&jobs[i], &b, 'x');
  pthread_create(&thread, NULL, post_all, jobs);
  pthread_join(thread, NULL);
  cr_assert(is_readable(&b));
  step(&b);
  cr_assert_eq(strlen(b.log), 100);
  cr_assert(is_idle(&b));
  close_bench(&b);
}

Test(step, the_descriptor_works_in_an_epoll) {
  bench_t b;
  job_t job;
  open_bench(&b);
  init_job(&job, &b, 'x');
  int epoll = epoll_create1(EPOLL_CLOEXEC), fd = tinker__step_fd(b.loop);
  struct epoll_event event = {.events = EPOLLIN};
  cr_assert_eq(epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event), 0);
  cr_assert_eq(epoll_wait(epoll, &event, 1, 0), 0);
  tinker__loop_post(b.loop, &job.task);
  cr_assert_eq(epoll_wait(epoll, &event, 1, 0), 1);
  step(&b);
  cr_assert_eq(epoll_wait(epoll, &event, 1, 0), 0);
  close(epoll);
  close_bench(&b);
}

/* ---- where code runs ---- */

typedef struct place_s {
  job_t job;
  bool on_thread, on_delivery;
  int step_rc, wait_rc, look_rc;
} place_t;

static bool never(void *user) {
  (void)user;
  return false;
}

static void note_place(tinker__task_t *task) {
  place_t *p = TINKER__CONTAINER(task, place_t, job.task);
  tinker__loop_t *loop = p->job.bench->loop;
  p->on_thread = tinker__loop_on_thread(loop);
  p->on_delivery = tinker__loop_on_delivery(loop);
  p->step_rc = tinker__step(loop);
  p->wait_rc = tinker__loop_wait(loop, never, NULL, -1);
  p->look_rc = tinker__loop_wait(loop, never, NULL, 0);
}

Test(step, neither_steps_nor_waits_nest) {
  bench_t b;
  place_t at[2];
  open_bench(&b);
  for (int i = 0; i < 2; i++) {
    at[i].job = (job_t){.bench = &b};
    tinker__task_init(&at[i].job.task, note_place);
  }
  tinker__loop_post(b.loop, &at[0].job.task);
  tinker__loop_deliver(b.loop, &at[1].job.task);
  step(&b);
  for (int i = 0; i < 2; i++) {
    cr_assert_eq(at[i].on_thread, i == 0);
    cr_assert_eq(at[i].on_delivery, i == 1);
    cr_assert_eq(at[i].step_rc, TINKER_EDEADLK);
    cr_assert_eq(at[i].wait_rc, TINKER_EDEADLK);
    cr_assert_eq(at[i].look_rc, TINKER_ETIMEDOUT);
  }
  cr_assert_not(tinker__loop_on_thread(b.loop));
  close_bench(&b);
}

/* ---- two threads ---- */

static bool is_set(void *user) {
  return atomic_load(&((bench_t *)user)->flag);
}

static atomic_int stage;

static void *step_elsewhere(void *user) {
  return (void *)(intptr_t)tinker__step(((bench_t *)user)->loop);
}

static int step_on_thread(bench_t *b) {
  pthread_t thread;
  void *rc;
  pthread_create(&thread, NULL, step_elsewhere, b);
  pthread_join(thread, &rc);
  return (int)(intptr_t)rc;
}

static void step_meanwhile(tinker__task_t *task) {
  job_t *job = TINKER__CONTAINER(task, job_t, task);
  cr_assert_eq(step_on_thread(job->bench), TINKER_EBUSY);
  say(job->bench, 'm');
}

Test(step, only_one_thread_steps_at_a_time) {
  bench_t b;
  job_t jobs[2];
  open_bench(&b);
  for (int i = 0; i < 2; i++) {
    jobs[i] = (job_t){.bench = &b};
    tinker__task_init(&jobs[i].task, step_meanwhile);
  }
  tinker__loop_post(b.loop, &jobs[0].task);
  tinker__loop_deliver(b.loop, &jobs[1].task);
  step(&b);
  cr_assert_str_eq(b.log, "mm");
  cr_assert_eq(step_on_thread(&b), 0); /* after another it may */
  step(&b);
  close_bench(&b);
}

static void set_flag(tinker__task_t *task) {
  job_t *job = TINKER__CONTAINER(task, job_t, task);
  atomic_store(&job->bench->flag, true);
  tinker__loop_notify(job->bench->loop);
}

static void *wait_elsewhere(void *user) {
  bench_t *b = user;
  atomic_store(&stage, 1);
  int rc = tinker__loop_wait(b->loop, is_set, b, -1);
  return (void *)(intptr_t)rc;
}

/* The owner turns the loop by waiting; another thread waits for the owner. */
Test(step, the_owner_turns_the_loop_while_it_waits) {
  bench_t b;
  pthread_t thread;
  job_t job = {.bench = &b};
  void *rc;
  open_bench(&b);
  b.world.now_ms = tinker__world_real()->now_ms;
  tinker__task_init(&job.task, set_flag);
  cr_assert_eq(tinker__loop_wait(b.loop, is_set, &b, 0), TINKER_ETIMEDOUT);
  cr_assert_eq(tinker__loop_wait(b.loop, is_set, &b, 2), TINKER_ETIMEDOUT);
  atomic_store(&stage, 0);
  pthread_create(&thread, NULL, wait_elsewhere, &b);
  while (atomic_load(&stage) == 0) sched_yield();
  tinker__loop_post(b.loop, &job.task);
  cr_assert(is_readable(&b)); /* the other thread leaves it alone */
  cr_assert_eq(tinker__loop_wait(b.loop, is_set, &b, -1), 0);
  pthread_join(thread, &rc);
  cr_assert_eq((int)(intptr_t)rc, 0);
  close_bench(&b);
}

static void *post_job(void *user) {
  job_t *job = user;
  tinker__loop_post(job->bench->loop, &job->task);
  return NULL;
}

/* A wait of the owner sleeps on the descriptor: a task of another thread ends
 * it. */
Test(step, a_wait_without_limit_is_woken) {
  bench_t b;
  pthread_t thread;
  job_t job = {.bench = &b};
  open_bench(&b);
  b.world.now_ms = tinker__world_real()->now_ms;
  tinker__task_init(&job.task, set_flag);
  pthread_create(&thread, NULL, post_job, &job);
  cr_assert_eq(tinker__loop_wait(b.loop, is_set, &b, -1), 0);
  pthread_join(thread, NULL);
  close_bench(&b);
}

static void *adopt_and_wait(void *user) {
  bench_t *b = user;
  tinker__step_adopt(b->loop);
  return (void *)(intptr_t)tinker__loop_wait(b->loop, is_set, b, -1);
}

Test(step, a_thread_can_make_itself_the_owner) {
  bench_t b;
  pthread_t thread;
  job_t job = {.bench = &b};
  void *rc;
  open_bench(&b);
  tinker__task_init(&job.task, set_flag);
  tinker__loop_post(b.loop, &job.task);
  pthread_create(&thread, NULL, adopt_and_wait, &b);
  pthread_join(thread, &rc); /* nobody else steps */
  cr_assert_eq((int)(intptr_t)rc, 0);
  close_bench(&b);
}

/* ---- timers ---- */

typedef struct beat_s {
  tinker__timer_t timer;
  job_t job;
  int64_t every_ms;
  int count;
} beat_t;

static void on_beat(tinker__timer_t *timer) {
  beat_t *beat = TINKER__CONTAINER(timer, beat_t, timer);
  bench_t *b = beat->job.bench;
  cr_assert(tinker__loop_on_thread(b->loop));
  beat->count++;
  if (beat->every_ms == 0) return;
  tinker__timer_start(b->loop, timer,
                      tinker__loop_after(b->loop, beat->every_ms));
}

static void start_beat(tinker__task_t *task) {
  beat_t *beat = TINKER__CONTAINER(task, beat_t, job.task);
  tinker__loop_t *loop = beat->job.bench->loop;
  tinker__timer_init(&beat->timer, on_beat);
  tinker__timer_start(loop, &beat->timer,
                      tinker__loop_after(loop, beat->every_ms));
}

static void stop_beat(tinker__task_t *task) {
  beat_t *beat = TINKER__CONTAINER(task, beat_t, job.task);
  tinker__timer_stop(beat->job.bench->loop, &beat->timer);
}

static void post_beat(beat_t *beat, void (*run)(tinker__task_t *task)) {
  tinker__task_init(&beat->job.task, run);
  tinker__loop_post(beat->job.bench->loop, &beat->job.task);
  step(beat->job.bench);
}

Test(step, the_time_until_the_next_timer_is_exact) {
  bench_t b;
  beat_t beat = {.job.bench = &b, .every_ms = 50};
  open_bench(&b);
  post_beat(&beat, start_beat);
  cr_assert_eq(tinker__step_timeout_ms(b.loop), 50);
  b.now_ms += 49;
  cr_assert_eq(tinker__step_timeout_ms(b.loop), 1);
  step(&b);
  cr_assert_eq(beat.count, 0);
  b.now_ms += 2;
  cr_assert_eq(tinker__step_timeout_ms(b.loop), 0);
  step(&b);
  cr_assert_eq(beat.count, 1);
  cr_assert_eq(tinker__step_timeout_ms(b.loop), 50);
  post_beat(&beat, stop_beat);
  cr_assert(is_idle(&b));
  beat.every_ms = 0; /* due at once: at the next step, never inside start */
  post_beat(&beat, start_beat);
  cr_assert_eq(beat.count, 1);
  cr_assert_eq(tinker__step_timeout_ms(b.loop), 0);
  step(&b);
  cr_assert_eq(beat.count, 2);
  cr_assert(is_idle(&b));
  close_bench(&b);
}

/* An hour of nothing but a heartbeat: a caller who does as the descriptor and
 * the timeout say steps once for each beat, and no more. */
Test(step, an_idle_loop_is_stepped_for_its_heartbeats_only) {
  bench_t b;
  beat_t beat = {.job.bench = &b, .every_ms = 10000};
  beat_t gone = {.job.bench = &b, .every_ms = 7};
  int steps = 0;
  open_bench(&b);
  post_beat(&beat, start_beat);
  post_beat(&gone, start_beat);
  post_beat(&gone, stop_beat); /* a timer that was stopped wakes nobody */
  int64_t end = b.now_ms + 3600000;
  for (;;) {
    cr_assert_not(is_readable(&b));
    int64_t ms = tinker__step_timeout_ms(b.loop);
    cr_assert(ms > 0);
    if (b.now_ms + ms > end) break;
    b.now_ms += ms;
    step(&b);
    steps++;
  }
  cr_assert_eq(beat.count, 360);
  cr_assert_eq(steps, 360);
  post_beat(&beat, stop_beat);
  close_bench(&b);
}

/* ---- descriptors ---- */

typedef struct pipe_s {
  bench_t *bench;
  tinker__task_t start, stop;
  tinker__watch_t *watch;
  int fds[2];
  int bytes;
} pipe_t;

static void on_readable(void *user, int fd, unsigned ready) {
  pipe_t *p = user;
  char c;
  cr_assert(ready & TINKER__READABLE);
  cr_assert(tinker__loop_on_thread(p->bench->loop));
  cr_assert_eq(read(fd, &c, 1), 1);
  p->bytes++;
}

static void start_watch(tinker__task_t *task) {
  pipe_t *p = TINKER__CONTAINER(task, pipe_t, start);
  tinker__loop_t *loop = p->bench->loop;
  cr_assert_eq(tinker__watch_new(loop, &p->watch, p->fds[0], on_readable, p),
               0);
  cr_assert_eq(tinker__watch_set(loop, p->watch, TINKER__READABLE), 0);
}

static void stop_watch(tinker__task_t *task) {
  pipe_t *p = TINKER__CONTAINER(task, pipe_t, stop);
  tinker__watch_free(p->bench->loop, p->watch);
}

/* A watch that a task starts counts at once: the descriptor tells of it when
 * that step has ended. */
Test(step, a_watched_descriptor_makes_the_loop_readable) {
  bench_t b;
  pipe_t p = {.bench = &b};
  open_bench(&b);
  cr_assert_eq(pipe(p.fds), 0);
  tinker__task_init(&p.start, start_watch);
  tinker__task_init(&p.stop, stop_watch);
  tinker__loop_post(b.loop, &p.start);
  step(&b);
  cr_assert(is_idle(&b));
  cr_assert_eq(write(p.fds[1], "ab", 2), 2);
  cr_assert(is_readable(&b));
  step(&b);
  cr_assert_eq(p.bytes, 1);
  cr_assert(is_readable(&b)); /* the other one */
  step(&b);
  cr_assert_eq(p.bytes, 2);
  cr_assert(is_idle(&b));
  tinker__loop_post(b.loop, &p.stop);
  close_bench(&b);
  close(p.fds[0]);
  close(p.fds[1]);
}

/* ---- closing ---- */

static void close_inside(tinker__task_t *task) {
  job_t *job = TINKER__CONTAINER(task, job_t, task);
  tinker__loop_close(job->bench->loop, on_gone, job->bench);
  cr_assert_eq(atomic_load(&job->bench->gone), 0);
}

Test(step, closed_inside_a_step_it_ends_with_it) {
  for (int delivered = 0; delivered < 2; delivered++) {
    bench_t b;
    job_t job = {.bench = &b}, last;
    open_bench(&b);
    init_job(&last, &b, 'l');
    tinker__task_init(&job.task, close_inside);
    if (delivered) {
      tinker__loop_deliver(b.loop, &job.task);
    } else {
      tinker__loop_post(b.loop, &job.task);
    }
    tinker__loop_deliver(b.loop, &last.task);
    step(&b);
    cr_assert_eq(atomic_load(&b.gone), 1);
    cr_assert_str_eq(b.log, "l");
  }
}

static void *close_elsewhere(void *user) {
  bench_t *b = user;
  atomic_store(&stage, 1);
  tinker__loop_close(b->loop, on_gone, b);
  return NULL;
}

static void close_meanwhile(tinker__task_t *task) {
  job_t *job = TINKER__CONTAINER(task, job_t, task);
  pthread_t *thread = (pthread_t *)(void *)job->bench->log;
  pthread_create(thread, NULL, close_elsewhere, job->bench);
  while (atomic_load(&stage) == 0) sched_yield();
  cr_assert_eq(atomic_load(&job->bench->gone), 0);
}

Test(step, a_close_waits_for_the_step_of_another_thread) {
  bench_t b;
  pthread_t thread;
  job_t job = {.bench = &b};
  open_bench(&b);
  tinker__task_init(&job.task, close_meanwhile);
  tinker__loop_post(b.loop, &job.task);
  atomic_store(&stage, 0);
  step(&b);
  memcpy(&thread, b.log, sizeof thread);
  pthread_join(thread, NULL);
  cr_assert_eq(atomic_load(&b.gone), 1);
}

static void leave_child(void *user) {
  (void)user;
  _exit(7);
}

Test(step, a_forked_child_can_give_the_loop_up) {
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

/* ---- what it costs the process ---- */

static int count_in(const char *folder) {
  DIR *dir = opendir(folder);
  int n = 0;
  cr_assert(dir);
  while (readdir(dir)) n++;
  closedir(dir);
  return n;
}

Test(step, no_thread_is_made_and_no_descriptor_is_left) {
  bench_t b;
  beat_t beat = {.job.bench = &b, .every_ms = 1000};
  open_bench(&b); /* uv opens two descriptors once in a process */
  close_bench(&b);
  int threads = count_in("/proc/self/task");
  int fds = count_in("/proc/self/fd");
  for (int i = 0; i < 20; i++) {
    open_bench(&b);
    post_beat(&beat, start_beat);
    b.now_ms += 1000;
    step(&b);
    post_beat(&beat, stop_beat);
    cr_assert_eq(count_in("/proc/self/task"), threads);
    close_bench(&b);
  }
  cr_assert_eq(count_in("/proc/self/task"), threads);
  cr_assert_eq(count_in("/proc/self/fd"), fds);
}

static int make_and_close(tinker__mem_t *mem, void *user) {
  tinker__loop_t *loop;
  (void)user;
  int rc = tinker__loop_step(&loop, mem, tinker__world_real());
  if (!rc) tinker__loop_close(loop, NULL, NULL);
  return rc;
}

Test(step, every_failed_allocation_is_survived) {
  cr_assert_eq(tinker__fail_sweep(make_and_close, NULL, TINKER_ENOMEM), 1);
}
