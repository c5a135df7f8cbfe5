/* A client that its program turns: in step mode on the scripted transport, on a
 * uv loop with a service that can't be reached. */
#include <criterion/criterion.h>
#include <dirent.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <tinker/uv.h>
#include <unistd.h>
#include <uv.h>

#include "rig.h"

/* A call without or with a callback; the future may be left to the callback. */
static tinker_call_options_t then(tinker_done_cb cb, void *user) {
  tinker_call_options_t call = TINKER_CALL_OPTIONS_INIT;
  call.cb = cb;
  call.user = user;
  return call;
}

static tinker_future_t *optim(tinker_trainer_t *t, tinker_done_cb cb,
                              void *user) {
  tinker_call_options_t call = then(cb, user);
  return tinker_trainer_optim_step(t, NULL, &call);
}

static void close_client(tinker_client_t *client, tinker_done_cb cb,
                         void *user) {
  tinker_call_options_t call = then(cb, user);
  tinker_future_release(tinker_client_close(client, &call));
}

static int count_threads(void) {
  DIR *dir = opendir("/proc/self/task");
  int n = 0;
  cr_assert(dir);
  while (readdir(dir)) n++;
  closedir(dir);
  return n;
}

/* As a program's loop does it. */
static void turn(tinker_client_t *client) {
  struct pollfd fd = {tinker_client_fd(client), POLLIN, 0};
  poll(&fd, 1, (int)tinker_client_timeout_ms(client));
  cr_assert_eq(tinker_client_step(client), 0);
}

static void until(tinker_client_t *client, const int *calls, int n) {
  while (*calls < n) turn(client);
}

/* ---- step mode ---- */

typedef struct inside_s {
  rig_t *rig;
  tinker_future_t *running;
  pthread_t thread;
  bool stepping; /* the test is in a step */
  bool release;
  int calls;
} inside_t;

static void on_inside(tinker_future_t *future, int status, void *user) {
  inside_t *in = user;
  (void)future;
  in->calls++;
  cr_assert_eq(status, 0);
  cr_assert(in->stepping);
  cr_assert(pthread_equal(in->thread, pthread_self()));
  cr_assert_eq(tinker_client_step(in->rig->client), TINKER_EDEADLK);
  cr_assert_eq(tinker_future_wait(in->running, -1), TINKER_EDEADLK);
  if (!in->release) return;
  in->rig->client = tinker_client_release(in->rig->client);
  in->rig->on = NULL;
}

static void start(rig_t *rig, inside_t *in, tinker_trainer_t **t) {
  rig_init_step(rig);
  must(rig_client(rig) == 0);
  *t = rig_trainer(rig); /* a wait of the owner steps */
  *in = (inside_t){.rig = rig, .thread = pthread_self()};
  script_expect(rig->script, TINKER__HTTP_POST, OPTIM,
                (script_reply_t){.delay_ms = -1});
}

Test(modes, callbacks_run_inside_the_step_and_nowhere_else) {
  rig_t rig;
  inside_t in;
  tinker_trainer_t *t, *other;
  int threads = count_threads();
  start(&rig, &in, &t);
  other = rig_trainer(&rig);
  in.running = optim(t, NULL, NULL); /* never answered */
  while (rig_count(&rig, OPTIM) == 0) turn(rig.client);
  tinker_future_t *f = optim(other, on_inside, &in);
  cr_assert_eq(in.calls, 0);
  in.stepping = true;
  until(rig.client, &in.calls, 1);
  in.stepping = false;
  cr_assert_eq(tinker_future_wait(f, 0), 0);
  cr_assert_eq(count_threads(), threads);
  tinker_future_release(f);
  tinker_future_release(in.running);
  tinker_trainer_release(t);
  tinker_trainer_release(other);
  rig_done(&rig); /* the release steps until the client has ended */
  cr_assert_eq(count_threads(), threads);
}

/* The last release inside a callback: the step ends the client before it
 * returns, and the operation that ran ends with it. */
Test(modes, released_inside_a_callback_it_ends_with_the_step) {
  rig_t rig;
  inside_t in;
  tinker_trainer_t *t, *other;
  start(&rig, &in, &t);
  other = rig_trainer(&rig);
  in.running = optim(t, NULL, NULL);
  while (rig_count(&rig, OPTIM) == 0) turn(rig.client);
  in.release = in.stepping = true;
  tinker_future_release(optim(other, on_inside, &in));
  tinker_client_t *client = rig.client;
  while (rig.client) turn(client);
  cr_assert_eq(in.calls, 1);
  cr_assert_eq(tinker_future_status(in.running), TINKER_ECLOSED);
  tinker_future_release(in.running);
  tinker_trainer_release(t);
  tinker_trainer_release(other);
  rig_done(&rig);
}

/* The same while the owner waits for something else. */
Test(modes, released_inside_a_callback_of_a_wait_it_ends_with_the_wait) {
  rig_t rig;
  inside_t in;
  tinker_trainer_t *t, *other;
  start(&rig, &in, &t);
  other = rig_trainer(&rig);
  in.running = optim(t, NULL, NULL);
  while (rig_count(&rig, OPTIM) == 0) turn(rig.client);
  in.release = in.stepping = true;
  tinker_future_release(optim(other, on_inside, &in));
  cr_assert_eq(tinker_future_wait(in.running, -1), TINKER_ECLOSED);
  cr_assert_eq(in.calls, 1);
  tinker_future_release(in.running);
  tinker_trainer_release(t);
  tinker_trainer_release(other);
  rig_done(&rig);
}

static void *call_elsewhere(void *user) {
  return optim(user, NULL, NULL);
}

static bool is_readable(tinker_client_t *client) {
  struct pollfd fd = {tinker_client_fd(client), POLLIN, 0};
  return poll(&fd, 1, 0) == 1;
}

Test(modes, calls_of_another_thread_wake_the_descriptor) {
  rig_t rig;
  inside_t in;
  tinker_trainer_t *t;
  pthread_t thread;
  void *f;
  start(&rig, &in, &t);
  while (is_readable(rig.client)) turn(rig.client);
  pthread_create(&thread, NULL, call_elsewhere, t);
  pthread_join(thread, &f);
  cr_assert(is_readable(rig.client));
  cr_assert_eq(tinker_client_timeout_ms(rig.client), 0);
  while (rig_count(&rig, OPTIM) == 0) turn(rig.client);
  while (is_readable(rig.client)) turn(rig.client);
  tinker_future_cancel(f);
  cr_assert(is_readable(rig.client));
  tinker_future_t *got = NULL;
  cr_assert_eq(tinker_client_next(rig.client, -1, &got), 0);
  cr_assert_eq(got, f);
  cr_assert_eq(tinker_future_status(f), TINKER_ECANCELED);
  tinker_future_release(got);
  tinker_future_release(f);
  tinker_trainer_release(t);
  rig_done(&rig);
}

enum { THREADS = 4, PER_THREAD = 100 };

typedef struct worker_s {
  pthread_t thread;
  tinker_client_t *client;
  atomic_int *left;
} worker_t;

/* Each other call is canceled; both ends are waited for. */
static void *work(void *user) {
  worker_t *w = user;
  for (int i = 0; i < PER_THREAD; i++) {
    tinker_future_t *f = tinker_client_get_capabilities(w->client, NULL);
    if (i % 2) tinker_future_cancel(f);
    int rc = tinker_future_wait(f, -1);
    cr_assert(rc == 0 || (i % 2 && rc == TINKER_ECANCELED));
    tinker_future_release(f);
  }
  atomic_fetch_sub(w->left, 1);
  return NULL;
}

Test(modes, threads_call_and_wait_while_one_steps) {
  rig_t rig;
  inside_t in;
  tinker_trainer_t *t;
  worker_t workers[THREADS];
  atomic_int left;
  start(&rig, &in, &t);
  atomic_init(&left, THREADS);
  for (int i = 0; i < THREADS; i++) {
    workers[i] = (worker_t){.client = rig.client, .left = &left};
    pthread_create(&workers[i].thread, NULL, work, &workers[i]);
  }
  while (atomic_load(&left) > 0)
    cr_assert_eq(tinker_client_step(rig.client), 0);
  for (int i = 0; i < THREADS; i++) pthread_join(workers[i].thread, NULL);
  in.running = optim(t, NULL, NULL); /* takes the answer that is prepared */
  tinker_future_release(in.running);
  tinker_trainer_release(t);
  rig_done(&rig);
}

static void *release_elsewhere(void *user) {
  rig_t *rig = user;
  rig->client = tinker_client_release(rig->client);
  return NULL;
}

/* Nobody steps any more: the thread that lets go last does. */
Test(modes, another_thread_may_release_last) {
  rig_t rig;
  inside_t in;
  tinker_trainer_t *t;
  pthread_t thread;
  start(&rig, &in, &t);
  in.running = optim(t, NULL, NULL);
  pthread_create(&thread, NULL, release_elsewhere, &rig);
  pthread_join(thread, NULL);
  cr_assert_eq(tinker_future_status(in.running), TINKER_ECLOSED);
  tinker_future_release(in.running);
  tinker_trainer_release(t);
  rig_done(&rig);
}

typedef struct leaving_s {
  rig_t *rig;
  atomic_bool waits; /* the owner is inside its wait */
} leaving_t;

static void on_waiting(tinker_future_t *future, int status, void *user) {
  leaving_t *l = user;
  (void)future;
  (void)status;
  atomic_store(&l->waits, true);
}

static void *release_while_it_waits(void *user) {
  leaving_t *l = user;
  while (!atomic_load(&l->waits)) sched_yield();
  return release_elsewhere(l->rig);
}

/* The owner steps in a wait that nothing but the end of the client ends. */
Test(modes, released_elsewhere_it_ends_the_owners_wait, .timeout = 60) {
  rig_t rig;
  inside_t in;
  tinker_trainer_t *t;
  pthread_t thread;
  start(&rig, &in, &t);
  leaving_t leaving = {.rig = &rig};
  in.running = optim(t, NULL, NULL);
  tinker_future_release(tinker_client_get_capabilities(
      rig.client, CALLS_WITH(NULL, on_waiting, &leaving)));
  pthread_create(&thread, NULL, release_while_it_waits, &leaving);
  cr_assert_eq(tinker_future_wait(in.running, -1), TINKER_ECLOSED);
  pthread_join(thread, NULL);
  tinker_future_release(in.running);
  tinker_trainer_release(t);
  rig_done(&rig);
}

static int in_child(tinker_client_t *client) {
  if (tinker_client_fd(client) != TINKER_EFORKED) return 1;
  if (tinker_client_timeout_ms(client) != -1) return 2;
  if (tinker_client_step(client) != TINKER_EFORKED) return 3;
  tinker_client_release(client);
  return 0;
}

Test(modes, only_a_client_in_step_mode_can_be_stepped) {
  rig_t rig;
  int status = -1;
  cr_assert_eq(tinker_client_fd(NULL), TINKER_EINVAL);
  cr_assert_eq(tinker_client_timeout_ms(NULL), -1);
  cr_assert_eq(tinker_client_step(NULL), TINKER_EINVAL);
  rig_init(&rig, NULL);
  must(rig_client(&rig) == 0);
  cr_assert_eq(tinker_client_fd(rig.client), TINKER_ESTATE);
  cr_assert_eq(tinker_client_timeout_ms(rig.client), -1);
  cr_assert_eq(tinker_client_step(rig.client), TINKER_ESTATE);
  rig_done(&rig);
  rig_init_step(&rig);
  must(rig_client(&rig) == 0);
  cr_assert_eq(tinker_client_timeout_ms(rig.client), -1); /* nothing planned */
  pid_t child = fork();
  if (child == 0) _exit(in_child(rig.client));
  cr_assert_eq(waitpid(child, &status, 0), child);
  cr_assert(WIFEXITED(status) && WEXITSTATUS(status) == 0);
  rig_done(&rig);
}

/* ---- libcurl in every mode; nothing listens where it is sent ---- */

static tinker_client_t *new_client(int mode, uv_loop_t *loop) {
  tinker_client_t *client = NULL;
  tinker_client_options_t o = TINKER_CLIENT_OPTIONS_INIT;
  o.base_url = "unix:/nowhere/socket";
  o.mode = mode;
  cr_assert_eq(loop ? tinker_client_new_uv(&client, loop, &o, NULL)
                    : tinker_client_new(&client, &o, NULL),
               0);
  return client;
}

static tinker_future_t *ask(tinker_client_t *client, tinker_done_cb cb,
                            void *user) {
  tinker_call_options_t call = then(cb, user);
  return tinker_client_get_capabilities(client, &call);
}

static void let_go(tinker_client_t *client, seen_t *seen) {
  tinker_future_t *with = ask(client, rig_seen, seen);
  tinker_future_t *without = ask(client, NULL, NULL);
  tinker_client_release(client);
  tinker_future_release(with);
  tinker_future_release(without);
}

/* TINKER_TEST_ROUNDS: how often each mode does it. */
static int rounds(void) {
  const char *text = getenv("TINKER_TEST_ROUNDS");
  return text ? atoi(text) : 200;
}

Test(modes, made_and_released_with_work_under_way, .timeout = 0) {
  uv_loop_t loop;
  cr_assert_eq(uv_loop_init(&loop), 0);
  for (int i = 0; i < rounds(); i++) {
    seen_t seen[3] = {{0}};
    let_go(new_client(TINKER_RUN_BACKGROUND, NULL), &seen[0]);
    tinker_client_t *stepped = new_client(TINKER_RUN_STEP, NULL);
    if (i % 2) cr_assert_eq(tinker_client_step(stepped), 0);
    let_go(stepped, &seen[1]);
    let_go(new_client(TINKER_RUN_BACKGROUND, &loop), &seen[2]);
    cr_assert_eq(uv_run(&loop, UV_RUN_DEFAULT), 0);
    for (int k = 0; k < 3; k++) {
      cr_assert_eq(seen[k].calls, 1);
      cr_assert_eq(seen[k].status, TINKER_ECLOSED);
    }
  }
  cr_assert_eq(uv_loop_close(&loop), 0);
  cr_assert_eq(tinker_shutdown(-1), 0);
}

Test(modes, in_step_mode_the_transport_makes_no_thread) {
  int threads = count_threads();
  tinker_client_t *client = new_client(TINKER_RUN_STEP, NULL);
  seen_t seen = {0};
  tinker_future_t *f = ask(client, rig_seen, &seen);
  cr_assert_eq(tinker_future_wait(f, 20), TINKER_EAGAIN);
  cr_assert_eq(count_threads(), threads);
  tinker_client_release(client);
  cr_assert_eq(seen.status, TINKER_ECLOSED);
  tinker_future_release(f);
}

/* ---- on a uv loop ---- */

typedef struct on_uv_s {
  uv_loop_t loop;
  tinker_client_t *client;
  seen_t seen, closed;
} on_uv_t;

static void open_uv(on_uv_t *u) {
  *u = (on_uv_t){.client = NULL};
  cr_assert_eq(uv_loop_init(&u->loop), 0);
  u->client = new_client(TINKER_RUN_BACKGROUND, &u->loop);
}

static void close_uv(on_uv_t *u) {
  cr_assert_eq(uv_run(&u->loop, UV_RUN_DEFAULT), 0);
  cr_assert_eq(uv_loop_close(&u->loop), 0);
}

static void on_closed(tinker_future_t *future, int status, void *user) {
  on_uv_t *u = user;
  (void)future;
  u->closed.calls++;
  u->closed.status = status;
  u->client = tinker_client_release(u->client);
}

Test(modes, an_idle_client_lets_uv_run_return) {
  on_uv_t u;
  int threads = count_threads();
  open_uv(&u);
  cr_assert_eq(uv_run(&u.loop, UV_RUN_DEFAULT), 0);
  cr_assert_eq(count_threads(), threads);
  u.client = tinker_client_release(u.client); /* does not wait */
  close_uv(&u);
}

static void cancel(uv_timer_t *timer) {
  tinker_future_cancel(timer->data);
}

/* Nobody listens, so the operation would run for minutes. The loop runs until
 * its callback has, canceled by a handle that does not count. */
Test(modes, an_operation_keeps_uv_run_going_until_its_callback) {
  on_uv_t u;
  uv_timer_t timer;
  open_uv(&u);
  tinker_future_t *f = ask(u.client, rig_seen, &u.seen);
  cr_assert_eq(tinker_future_wait(f, -1), TINKER_EDEADLK);
  uv_timer_init(&u.loop, &timer);
  uv_unref((uv_handle_t *)&timer);
  timer.data = f;
  uv_timer_start(&timer, cancel, 5, 0);
  cr_assert_eq(uv_run(&u.loop, UV_RUN_DEFAULT), 0);
  cr_assert_eq(u.seen.calls, 1);
  cr_assert_eq(u.seen.status, TINKER_ECANCELED);
  uv_close((uv_handle_t *)&timer, NULL);
  tinker_future_release(f);
  close_client(u.client, on_closed, &u);
  cr_assert_eq(u.closed.calls, 0);
  close_uv(&u);
  cr_assert_eq(u.closed.calls, 1);
}

Test(modes, released_with_work_under_way_it_ends_on_the_loop) {
  on_uv_t u;
  open_uv(&u);
  tinker_future_t *with = ask(u.client, rig_seen, &u.seen);
  tinker_future_t *without = ask(u.client, NULL, NULL);
  u.client = tinker_client_release(u.client);
  close_uv(&u);
  cr_assert_eq(u.seen.calls, 1);
  cr_assert_eq(u.seen.status, TINKER_ECLOSED);
  cr_assert_eq(tinker_future_status(without), TINKER_ECLOSED);
  tinker_future_release(with);
  tinker_future_release(without);
}

/* 0 or the code; the sentence is compared with a part of it. */
static int refused(int rc, tinker_error_t *error, const char *part) {
  cr_assert_not_null(error);
  cr_assert(strstr(tinker_error_message(error), part), "%s",
            tinker_error_message(error));
  tinker_error_release(error);
  return rc;
}

Test(modes, what_a_uv_loop_can_not_do_is_refused_by_name) {
  on_uv_t u = {.client = NULL};
  tinker_error_t *e = NULL;
  tinker_client_options_t o = TINKER_CLIENT_OPTIONS_INIT;
  cr_assert_eq(uv_loop_init(&u.loop), 0);
  int rc = tinker_client_new_uv(&u.client, NULL, NULL, &e);
  cr_assert_eq(refused(rc, e, "loop is NULL"), TINKER_EINVAL);
  o.mode = TINKER_RUN_STEP;
  rc = tinker_client_new_uv(&u.client, &u.loop, &o, &e);
  cr_assert_eq(refused(rc, e, "mode is 1"), TINKER_EINVAL);
  o.mode = 7;
  rc = tinker_client_new(&u.client, &o, &e);
  cr_assert_eq(refused(rc, e, "mode is 7"), TINKER_EINVAL);
  o = (tinker_client_options_t)TINKER_CLIENT_OPTIONS_INIT;
  o.base_url = "ftp://a";
  cr_assert_lt(tinker_client_new_uv(&u.client, &u.loop, &o, NULL), 0);
  o.base_url = "unix:/nowhere/socket";
  o.display_name = "\xff"; /* found when the transport is there */
  rc = tinker_client_new_uv(&u.client, &u.loop, &o, &e);
  cr_assert_eq(refused(rc, e, "display_name"), TINKER_EINVAL);
  cr_assert_null(u.client);
  close_uv(&u); /* what they had opened is closed */
}
