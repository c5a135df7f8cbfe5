/* Waiting for futures: whoever waits is woken by what he waits for, and by
 * nothing else. Threads wait on a loop of their own kind, whose sleep counts
 * how often a waiter looks again. */
#include <criterion/criterion.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <tinker/error.h>

#include "base/error.h"
#include "loop/future.h"
#include "loop/waiter.h"
#include "support/fail_alloc.h"

enum { MANY = 40, MEETINGS = 50000 };

static tinker__mem_t mem;
static atomic_int asleep; /* calls that sleep, or are about to */
static atomic_int looks;  /* how often one of them looked */

typedef struct look_s {
  bool (*ready)(void *user);
  void *user;
} look_t;

static bool look(void *user) {
  look_t *l = user;
  atomic_fetch_add(&looks, 1);
  return l->ready(l->user);
}

static int counting_sleep(tinker__loop_t *loop, tinker__waiter_t *waiter,
                          bool (*ready)(void *user), void *user,
                          int64_t timeout_ms) {
  look_t l = {ready, user};
  atomic_fetch_add(&asleep, 1);
  int rc = tinker__waiter_sleep(waiter, loop->world, look, &l,
                                tinker__loop_until(loop, timeout_ms));
  atomic_fetch_sub(&asleep, 1);
  return rc;
}

static const tinker__loop_ops_t ops = {.sleep = counting_sleep};
static tinker__loop_t loop;

static tinker_error_t *decode(tinker_future_t *f) {
  (void)f;
  return NULL;
}

static const tinker__future_ops_t kind = {.decode = decode};

static void set_up(void) {
  tinker__mem_init(&mem, NULL, 0);
  loop = (tinker__loop_t){&ops, &mem, tinker__world_real()};
}

static void make(tinker_future_t **futures, size_t n) {
  for (size_t i = 0; i < n; i++) {
    cr_assert_eq(tinker__future_new(&futures[i], &mem, &kind, 0, NULL, NULL),
                 0);
  }
}

static void drop(tinker_future_t **futures, size_t n) {
  for (size_t i = 0; i < n; i++) {
    cr_assert(tinker__list_empty(&futures[i]->waiting));
    tinker__future_unref(futures[i]);
  }
  cr_assert_eq(atomic_load(&mem.live_blocks), 0);
}

typedef struct call_s {
  pthread_t thread;
  tinker_future_t **futures;
  size_t n;
  int rc;
} call_t;

static void *run_call(void *user) {
  call_t *c = user;
  c->rc = tinker__future_wait_any(c->futures, c->n, &loop, -1);
  return NULL;
}

static void start(call_t *c) {
  pthread_create(&c->thread, NULL, run_call, c);
}

static void until_looks(int n) {
  while (atomic_load(&looks) < n) sched_yield();
}

Test(future, a_settled_future_wakes_only_who_waits_for_it, .init = set_up) {
  tinker_future_t *f[MANY];
  call_t calls[MANY];
  make(f, MANY);
  for (int i = 0; i < MANY; i++) {
    calls[i] = (call_t){.futures = &f[i], .n = 1};
    start(&calls[i]);
  }
  until_looks(MANY); /* each has looked once and found nothing */
  for (int i = 0; i < MANY; i++) {
    tinker__future_settle(f[i], NULL);
    pthread_join(calls[i].thread, NULL);
    cr_assert_eq(calls[i].rc, 0);
    cr_assert_eq(atomic_load(&looks), MANY + 1 + i);
  }
  drop(f, MANY);
}

Test(future, any_of_many_is_enough, .init = set_up) {
  tinker_future_t *f[MANY];
  make(f, MANY);
  call_t any = {.futures = f, .n = MANY};
  call_t others = {.futures = f, .n = MANY - 1};
  start(&any);
  start(&others);
  until_looks(2);
  tinker__future_settle(f[MANY - 1], NULL);
  pthread_join(any.thread, NULL);
  cr_assert_eq(any.rc, 0);
  cr_assert_eq(atomic_load(&asleep), 1);
  tinker__future_settle(f[MANY - 2], NULL);
  pthread_join(others.thread, NULL);
  cr_assert_eq(others.rc, 0);
  for (int i = 0; i < MANY - 2; i++) tinker__future_settle(f[i], NULL);
  drop(f, MANY);
}

Test(future, several_calls_wait_for_one, .init = set_up) {
  tinker_future_t *f;
  call_t calls[4];
  make(&f, 1);
  for (int i = 0; i < 4; i++) {
    calls[i] = (call_t){.futures = &f, .n = 1};
    start(&calls[i]);
  }
  until_looks(4);
  tinker__future_settle(f, NULL);
  for (int i = 0; i < 4; i++) {
    pthread_join(calls[i].thread, NULL);
    cr_assert_eq(calls[i].rc, 0);
  }
  drop(&f, 1);
}

Test(future, a_wait_that_ends_by_time_leaves_no_entry, .init = set_up) {
  tinker_future_t *f[MANY];
  make(f, MANY);
  cr_assert_eq(tinker__future_wait_any(f, 1, &loop, 1), TINKER_ETIMEDOUT);
  cr_assert_eq(tinker__future_wait_any(f, MANY, &loop, 0), TINKER_ETIMEDOUT);
  for (int i = 0; i < MANY; i++) {
    cr_assert(tinker__list_empty(&f[i]->waiting));
    tinker__future_settle(f[i], NULL);
  }
  cr_assert_eq(tinker__future_wait_any(f, MANY, &loop, 0), 0);
  drop(f, MANY);
}

static int wait_for_many(tinker__mem_t *with, void *user) {
  tinker_future_t **f = user;
  loop.mem = with;
  int rc = tinker__future_wait_any(f, MANY, &loop, 0);
  loop.mem = &mem;
  return rc == TINKER_ETIMEDOUT ? 0 : rc;
}

Test(future, without_memory_a_wait_says_so, .init = set_up) {
  tinker_future_t *f[MANY];
  make(f, MANY);
  cr_assert_eq(tinker__fail_sweep(wait_for_many, f, TINKER_ENOMEM), 1);
  for (int i = 0; i < MANY; i++) tinker__future_settle(f[i], NULL);
  drop(f, MANY);
}

/* ---- asked for while its last reference goes ---- */

/* A list of one place, as a client's of what has ended: a future leaves it when
 * it is freed, under the lock, so what stands in it is still there. */
static pthread_mutex_t list_lock = PTHREAD_MUTEX_INITIALIZER;
static tinker_future_t *listed;
static atomic_int asked; /* times that the list was looked at */
static atomic_bool enough;
static _Thread_local bool in_list; /* this thread holds the lock */
static atomic_int freed_in_list;

static void leave_list(tinker_future_t *f) {
  if (in_list) { /* it would wait for itself */
    atomic_fetch_add(&freed_in_list, 1);
    return;
  }
  pthread_mutex_lock(&list_lock);
  if (listed == f) listed = NULL;
  pthread_mutex_unlock(&list_lock);
}

static const tinker__future_ops_t listed_kind = {decode, leave_list};

static void *ask(void *user) {
  (void)user;
  while (!atomic_load(&enough)) {
    pthread_mutex_lock(&list_lock);
    in_list = true;
    tinker_future_t *f = listed;
    listed = NULL;
    if (f && !tinker__future_try_user_ref(f)) f = NULL;
    in_list = false;
    pthread_mutex_unlock(&list_lock);
    tinker__future_user_unref(f);
    atomic_fetch_add(&asked, 1);
  }
  return NULL;
}

/* One that is the program's alone. */
static tinker_future_t *make_users(void) {
  tinker_future_t *f;
  cr_assert_eq(tinker__future_new(&f, &mem, &listed_kind, 0, NULL, NULL), 0);
  tinker__future_user_ref(f);
  tinker__future_unref(f);
  return f;
}

/* Who asks for a reference holds a lock that the end of a future takes. So he
 * never has one to give back there, which could be the last. The two threads
 * meet by chance, in some of these rounds. */
Test(future, asking_for_a_reference_ends_nothing, .init = set_up) {
  pthread_t asker;
  cr_assert_eq(pthread_create(&asker, NULL, ask, NULL), 0);
  for (int i = 0; i < MEETINGS; i++) {
    tinker_future_t *f = make_users();
    int before = atomic_load(&asked);
    pthread_mutex_lock(&list_lock);
    listed = f;
    pthread_mutex_unlock(&list_lock);
    for (int k = 0; k < i % 64 && atomic_load(&asked) == before; k++) {
    }
    tinker__future_user_unref(f);
  }
  atomic_store(&enough, true);
  pthread_join(asker, NULL);
  cr_assert_eq(atomic_load(&freed_in_list), 0);
  cr_assert_eq(atomic_load(&mem.live_blocks), 0);
}

/* ---- the waiter itself ---- */

static bool is_true(void *user) {
  return atomic_load((atomic_bool *)user);
}

Test(waiter, a_wake_before_the_sleep_counts) {
  tinker__waiter_t w;
  atomic_bool flag;
  atomic_init(&flag, false);
  cr_assert_eq(tinker__waiter_init(&w), 0);
  const tinker__world_t *world = tinker__world_real();
  int64_t now = world->now_ms(world->user);
  /* Woken without cause it looks and goes on sleeping. */
  tinker__waiter_wake(&w);
  cr_assert_eq(tinker__waiter_sleep(&w, world, is_true, &flag, now),
               TINKER_ETIMEDOUT);
  atomic_store(&flag, true);
  cr_assert_eq(tinker__waiter_sleep(&w, world, is_true, &flag, INT64_MAX), 0);
  tinker__waiter_done(&w);
}
