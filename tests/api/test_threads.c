/* The client on its real threads, the transport scripted: what ThreadSanitizer
 * is to look at. Nothing is timed. */
#include <criterion/criterion.h>
#include <pthread.h>
#ifdef __GLIBC__
#include <malloc.h>
#endif

#include "rig.h"

#define THREADS 4
#define CALLS 40

static rig_t rig;
static atomic_int called, ended_well, ended_badly;

/* Criterion's assertions are not for threads other than the test's own:
 * these count what is wrong, and the test looks at the end. */
static atomic_int wrong;

static void check(bool right) {
  if (!right) atomic_fetch_add(&wrong, 1);
}

static void count(tinker_future_t *f, int status, void *user) {
  (void)user;
  atomic_fetch_add(&called, 1);
  if (status == 0) {
    atomic_fetch_add(&ended_well, 1);
  } else {
    atomic_fetch_add(&ended_badly, 1);
  }
  check(tinker_future_status(f) == status);
}

/* Waits for one, cancels one, lets a callback have one, and so on. */
static void *work(void *user) {
  tinker_trainer_t *t = user;
  for (int i = 0; i < CALLS; i++) {
    tinker_future_t *f = NULL;
    bool quiet = i % 4 < 2;
    check(
        !calls_begun(tinker_trainer_optim_step(
                         t, NULL, CALLS_WITH(NULL, quiet ? NULL : count, NULL)),
                     &f));
    if (i % 4 == 1 || i % 4 == 3) tinker_future_cancel(f);
    if (i % 4 < 3) {
      int rc = tinker_future_wait(f, 60000);
      check(rc == 0 || (i % 4 == 1 && rc == TINKER_ECANCELED));
    }
    tinker_future_release(f);
  }
  return NULL;
}

static void *take(void *user) {
  tinker_future_t *f;
  (void)user;
  for (;;) {
    int rc = tinker_client_next(rig.client, 1, &f);
    if (rc == TINKER_ECLOSED) return NULL;
    if (rc == 0) {
      check(tinker_future_status(f) != TINKER_EAGAIN);
      tinker_future_release(f);
    }
    if (atomic_load(&called) == THREADS * CALLS / 2) return NULL;
  }
}

Test(threads, many_at_once, .timeout = 120) {
  pthread_t threads[THREADS + 1];
  tinker_trainer_t *trainers[2];
  rig_init_threads(&rig);
  cr_assert_eq(rig_client(&rig), 0);
  for (int i = 0; i < 2; i++) trainers[i] = rig_trainer(&rig);
  for (int i = 0; i < THREADS; i++) {
    pthread_create(&threads[i], NULL, work, trainers[i % 2]);
  }
  pthread_create(&threads[THREADS], NULL, take, NULL);
  for (int i = 0; i <= THREADS; i++) pthread_join(threads[i], NULL);
  for (int i = 0; i < 2; i++) tinker_trainer_release(trainers[i]);
  rig_done(&rig);
  cr_assert_eq(atomic_load(&wrong), 0);
  cr_assert_eq(atomic_load(&called), THREADS * CALLS / 2);
  cr_assert_geq(atomic_load(&ended_well), THREADS * CALLS / 4);
}

/* What its caller has waited for, or canceled, and then released is not his to
 * take any more. The client gives its own reference back on another thread,
 * perhaps later. */
Test(threads, what_was_released_is_never_handed_out, .timeout = 120) {
  rig_init_threads(&rig);
  cr_assert_eq(rig_client(&rig), 0);
  tinker_trainer_t *t = rig_trainer(&rig);
  for (int i = 0; i < 2000; i++) {
    tinker_future_t *got = NULL;
    tinker_future_t *f = tinker_client_dump(rig.client, NULL);
    cr_assert_eq(tinker_future_wait(f, -1), 0);
    tinker_future_release(f);
    cr_assert_neq(tinker_client_next(rig.client, 0, &got), 0, "round %d", i);
  }
  for (int i = 0; i < 500; i++) {
    tinker_future_t *got = NULL;
    tinker_future_t *f = tinker_trainer_get_info(t, NULL);
    tinker_future_cancel(f);
    tinker_future_release(f);
    cr_assert_eq(tinker_client_next(rig.client, -1, &got), TINKER_ENOENT,
                 "round %d", i);
  }
  tinker_trainer_release(t);
  rig_done(&rig);
}

static void *wait_long(void *user) {
  /* The client goes away under it. */
  check(tinker_future_wait(user, -1) == TINKER_ECLOSED);
  return NULL;
}

static void release_it(tinker_future_t *f, int status, void *user) {
  (void)f;
  (void)status;
  *(tinker_client_t **)user = tinker_client_release(*(tinker_client_t **)user);
}

/* Released while another thread waits, and released in a callback. */
Test(threads, goes_away, .timeout = 120) {
  for (int round = 0; round < 6; round++) {
    pthread_t thread;
    tinker_future_t *f = NULL;
    rig_init_threads(&rig);
    cr_assert_eq(rig_client(&rig), 0);
    tinker_trainer_t *t = rig_trainer(&rig);
    script_expect(rig.script, TINKER__HTTP_POST, SAVE,
                  (script_reply_t){.delay_ms = -1});
    cr_assert_eq(calls_begun(tinker_trainer_save_state(t, "a", NULL, NULL), &f),
                 0);
    pthread_create(&thread, NULL, wait_long, f);
    if (round % 2) {
      cr_assert_eq(calls_begun(tinker_client_get_capabilities(
                                   rig.client,
                                   CALLS_WITH(NULL, release_it, &rig.client)),
                               NULL),
                   0);
    } else {
      rig.client = tinker_client_release(rig.client);
    }
    pthread_join(thread, NULL);
    cr_assert_eq(tinker_shutdown(60000), 0);
    cr_assert_eq(atomic_load(&wrong), 0);
    cr_assert_null(rig.client);
    tinker_future_release(f);
    tinker_trainer_release(t);
    rig_done(&rig);
  }
}

/* A trainer stays valid when its client and the client's loop are gone. What
 * glibc frees is overwritten here, so that nobody can still read it. */
Test(threads, a_trainer_outlives_its_client, .timeout = 120) {
#ifdef __GLIBC__
  mallopt(M_PERTURB, 0x5a);
#endif
  for (int step = 0; step < 2; step++) {
    (step ? rig_init_step : rig_init_threads)(&rig);
    cr_assert_eq(rig_client(&rig), 0);
    tinker_trainer_t *t = rig_trainer(&rig);
    rig.client = tinker_client_release(rig.client);
    cr_assert_eq(tinker_shutdown(-1), 0);
    tinker_future_t *f = tinker_trainer_optim_step(t, NULL, NULL);
    cr_assert_eq(tinker_future_wait(f, -1), TINKER_ECLOSED);
    tinker_future_release(f);
    tinker_trainer_release(t);
    rig_done(&rig);
  }
}
