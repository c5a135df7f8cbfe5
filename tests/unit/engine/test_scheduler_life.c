/* The life of the engine thread: what runs on it first and last, what is seen
 * of it from outside, and what becomes of work that it does not end. */
#include <criterion/criterion.h>
#include <pthread.h>
#include <sched.h>
#include <string.h>
#include <tinker/error.h>

#include "engine/scheduler.h"
#include "row_engine.h"

/* Of one test. `lock` guards what the engine thread and the test share. */
static struct {
  tinker__mem_t mem;
  tinker__eng_scheduler_t *scheduler;
  _Atomic int64_t doing;
  pthread_mutex_t lock;
  pthread_cond_t changed;
  int stage; /* what has happened */
  pthread_t thread;
  char log[100];
} rig = {.lock = PTHREAD_MUTEX_INITIALIZER,
         .changed = PTHREAD_COND_INITIALIZER};

static void reach(int stage) {
  pthread_mutex_lock(&rig.lock);
  rig.stage = stage;
  pthread_cond_broadcast(&rig.changed);
  pthread_mutex_unlock(&rig.lock);
}

static void wait_for(int stage) {
  pthread_mutex_lock(&rig.lock);
  while (rig.stage < stage) pthread_cond_wait(&rig.changed, &rig.lock);
  pthread_mutex_unlock(&rig.lock);
}

static void note(char what) {
  size_t n = strlen(rig.log);
  cr_assert_lt(n + 1, sizeof rig.log);
  rig.log[n] = what;
}

static void check_thread(void) {
  cr_assert(pthread_equal(rig.thread, pthread_self()));
}

static int on_start(void *user) {
  rig.thread = pthread_self();
  note('<');
  return *(int *)user;
}

/* The batch has let go of all it held. */
static void on_stop(void *user) {
  (void)user;
  check_thread();
  cr_assert_eq(adapter_refs, 0);
  cr_assert_eq(slots_live, 0u);
  note('>');
}

static int start(int *start_rc) {
  tinker__eng_scheduler_policy_t policy = {tinker__world_real(), 50};
  tinker__mem_init(&rig.mem, NULL, 0);
  slot_mem = &rig.mem;
  slots.limit = UINT64_MAX;
  return tinker__eng_scheduler_new(&rig.scheduler, &rig.mem, &policy,
                                   &rig.doing, on_start, on_stop, start_rc);
}

static void stop(void (*dropped)(tinker__eng_task_t *task)) {
  tinker__eng_scheduler_free(rig.scheduler, dropped);
  cr_assert_eq(atomic_load(&rig.mem.live_blocks), 0u);
}

static uint64_t beat(void) {
  return tinker__eng_scheduler_beat(rig.scheduler);
}

/* --- Start and end -------------------------------------------------------- */

Test(scheduler_life, a_start_that_fails) {
  int rc = TINKER_EINVAL;
  cr_assert_eq(start(&rc), TINKER_EINVAL);
  cr_assert_null(rig.scheduler);
  cr_assert_str_eq(rig.log, "<", "on_stop is for a start that succeeded");
  cr_assert_eq(atomic_load(&rig.mem.live_blocks), 0u);
}

Test(scheduler_life, starts_and_ends_on_its_thread) {
  int rc = 0;
  cr_assert_eq(start(&rc), 0);
  cr_assert_str_eq(rig.log, "<", "new waits for on_start");
  cr_assert_not(pthread_equal(rig.thread, pthread_self()));
  stop(NULL);
  cr_assert_str_eq(rig.log, "<>");
}

/* --- What is seen from outside -------------------------------------------- */

static bool last_step(tinker__eng_task_t *task) {
  (void)task;
  check_thread();
  cr_assert_eq(beat() % 2, 1u, "a step is under way");
  cr_assert_neq(atomic_load(&rig.doing), -1, "a step is not a round");
  note('t');
  reach(2);
  return false;
}

static int in_a_round(tinker__eng_gen_t *g, size_t sample) {
  (void)g;
  (void)sample;
  check_thread();
  cr_assert_eq(beat() % 2, 1u, "a round is under way");
  cr_assert_eq(atomic_load(&rig.doing), -1);
  note('r');
  return 0;
}

static void round_over(tinker__eng_gen_t *g, int rc, const char *why) {
  cr_assert_eq(rc, 0, "%s", why);
  check_thread();
  cr_assert_eq(atomic_load(&rig.doing), -1);
  tinker__eng_gen_free(g);
  reach(1);
}

static tinker__eng_gen_t *sample(size_t tokens) {
  tinker__eng_gen_t *g = make(&rig.mem, 1, 3, 1, tokens);
  cr_assert_not_null(g);
  g->backend = &backend;
  g->on_token = in_a_round;
  g->done = round_over;
  return g;
}

/* Two turns of one beat up and one down each: three rounds, then a step. */
Test(scheduler_life, beats_and_says_what_it_does) {
  static tinker__eng_task_t task = {.step = last_step};
  int rc = 0;
  cr_assert_eq(start(&rc), 0);
  cr_assert_eq(beat(), 0u);
  tinker__eng_scheduler_sample(rig.scheduler, sample(3));
  wait_for(1);
  while (beat() < 6) sched_yield();
  cr_assert_eq(beat(), 6u);
  cr_assert_eq(atomic_load(&rig.doing), 0);
  cr_assert_eq(tinker__eng_scheduler_rounds(rig.scheduler), 3u);
  tinker__eng_scheduler_push(rig.scheduler, &task);
  wait_for(2);
  while (beat() < 8) sched_yield();
  cr_assert_eq(beat(), 8u);
  stop(NULL);
  cr_assert_str_eq(rig.log, "<rrrt>");
}

/* --- Work that is not ended ----------------------------------------------- */

static tinker__eng_task_t tasks[3];
static int dropped_count[3];

static void on_dropped(tinker__eng_task_t *task) {
  cr_assert(task >= tasks && task < tasks + 3);
  dropped_count[task - tasks]++;
}

static bool never(tinker__eng_task_t *task) {
  (void)task;
  cr_assert_fail("a step after the end");
  return false;
}

/* Holds the engine thread until the end of the scheduler. */
static bool until_halt(tinker__eng_task_t *task) {
  const atomic_bool *halt = tinker__eng_scheduler_halt(rig.scheduler);
  cr_assert_eq(task, &tasks[0]);
  reach(1);
  wait_for(2);
  while (!atomic_load(halt)) sched_yield();
  return true;
}

static void never_done(tinker__eng_gen_t *g, int rc, const char *why) {
  (void)g;
  (void)rc;
  (void)why;
  cr_assert_fail("a generation that was freed is not told");
}

/* A task that gives its work up, two that were never begun, and three
 * generations that the thread never took. */
Test(scheduler_life, what_is_left_is_given_back) {
  int rc = 0;
  size_t n_tasks, n_gens;
  cr_assert_eq(start(&rc), 0);
  for (int i = 0; i < 3; i++) tasks[i].step = i ? never : until_halt;
  tinker__eng_scheduler_push(rig.scheduler, &tasks[0]);
  wait_for(1);
  tinker__eng_scheduler_queued(rig.scheduler, &n_tasks, &n_gens);
  cr_assert(n_tasks == 0 && n_gens == 0, "what it has taken is not queued");
  for (int i = 1; i < 3; i++) {
    tinker__eng_scheduler_push(rig.scheduler, &tasks[i]);
  }
  for (int i = 0; i < 3; i++) {
    tinker__eng_gen_t *g = sample(5);
    g->done = never_done;
    tinker__eng_scheduler_sample(rig.scheduler, g);
  }
  tinker__eng_scheduler_queued(rig.scheduler, &n_tasks, &n_gens);
  cr_assert_eq(n_tasks, 2u);
  cr_assert_eq(n_gens, 3u);
  cr_assert_not(atomic_load(tinker__eng_scheduler_halt(rig.scheduler)));
  reach(2);
  stop(on_dropped);
  for (int i = 0; i < 3; i++) cr_assert_eq(dropped_count[i], 1, "task %d", i);
}

/* A round that only a cancel ends. */
static int endless(tinker__engine_t *e, const tinker__eng_decode_item_t *items,
                   size_t n, const atomic_bool *cancel, char *why,
                   size_t why_len) {
  (void)e;
  (void)items;
  (void)n;
  (void)why;
  (void)why_len;
  reach(1);
  cr_assert_not_null(cancel);
  while (!atomic_load(cancel)) sched_yield();
  return TINKER_ECANCELED;
}

/* The round under way is halted; its generation is freed untold, with what it
 * held, before on_stop. */
Test(scheduler_life, a_round_is_halted) {
  static tinker__engine_api_t api;
  static tinker__eng_backend_t slow = {.api = &api, .slots = &slots};
  int rc = 0;
  api = row_api;
  api.decode = endless;
  cr_assert_eq(start(&rc), 0);
  tinker__eng_gen_t *g = sample(5);
  g->backend = &slow;
  g->done = never_done;
  g->adapter = the_adapter();
  tinker__eng_scheduler_sample(rig.scheduler, g);
  wait_for(1);
  cr_assert_eq(adapter_refs, 1);
  stop(NULL);
  cr_assert_str_eq(rig.log, "<>");
}
