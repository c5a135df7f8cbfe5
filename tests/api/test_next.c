/* Waiting for several futures, the descriptor of tinker_client_next, and a
 * release while the client drains. */
#include <criterion/criterion.h>
#include <poll.h>

#include "rig.h"

static rig_t rig;
static tinker_trainer_t *trainer;

static void begin(void) {
  rig_init(&rig, NULL);
  cr_assert_eq(rig_client(&rig), 0);
  trainer = rig_trainer(&rig);
}

static void end(void) {
  tinker_trainer_release(trainer);
  rig_done(&rig);
}

TestSuite(next, .init = begin, .fini = end);

static bool readable(int fd) {
  struct pollfd p = {.fd = fd, .events = POLLIN};
  return poll(&p, 1, 0) == 1;
}

/* Not when nothing is running: an idle loop sleeps. */
Test(next, the_descriptor_is_readable_while_there_is_something) {
  int fd = -1, again = -2;
  tinker_future_t *f[2], *got;
  cr_assert_eq(tinker_client_next_fd(rig.client, &fd), 0);
  cr_assert_not(readable(fd));
  cr_assert_eq(tinker_client_next(rig.client, 0, &got), TINKER_ENOENT);
  for (int i = 0; i < 2; i++) {
    f[i] = tinker_trainer_optim_step(trainer, NULL, NULL);
  }
  cr_assert_not(readable(fd));
  rig_run(&rig);
  cr_assert(readable(fd));
  cr_assert_eq(tinker_client_next(rig.client, 0, &got), 0);
  tinker_future_release(got);
  cr_assert(readable(fd));
  f[1] = tinker_future_release(f[1]); /* taken out without being taken */
  cr_assert_not(readable(fd));
  cr_assert_eq(tinker_client_next_fd(rig.client, &again), 0);
  cr_assert_eq(again, fd);
  cr_assert_eq(tinker_client_next(rig.client, 0, &got), TINKER_ENOENT);
  tinker_future_release(f[0]);
}

/* It is asked for when something has ended already. */
Test(next, the_descriptor_comes_late) {
  int fd = -1;
  tinker_future_t *f = tinker_trainer_save_state(trainer, "", NULL, NULL);
  cr_assert_eq(tinker_client_next_fd(rig.client, &fd), 0);
  cr_assert(readable(fd));
  tinker_future_release(f);
  cr_assert_eq(tinker_client_next_fd(NULL, &fd), TINKER_EINVAL);
  cr_assert_eq(tinker_client_next_fd(rig.client, NULL), TINKER_EINVAL);
}

Test(next, wait_any_and_all) {
  size_t at = 99;
  tinker_future_t *f[3];
  script_expect(
      rig.script, TINKER__HTTP_POST, OPTIM,
      (script_reply_t){.delay_ms = 500,
                       .body = "{\"request_id\":\"optim_step-1-0\"}"});
  for (int i = 0; i < 2; i++) {
    f[i] = tinker_trainer_optim_step(trainer, NULL, NULL);
  }
  f[2] = tinker_client_get_capabilities(rig.client, NULL);
  cr_assert_eq(tinker_future_wait_all(f, 3, 100), TINKER_EAGAIN);
  cr_assert_eq(tinker_future_wait_any(f, 3, 100, &at), 0);
  cr_assert_eq(at, 2u);
  cr_assert_eq(tinker_future_wait_any(f, 2, 100, &at), TINKER_EAGAIN);
  cr_assert_eq(at, 2u); /* untouched */
  cr_assert_eq(tinker_future_wait_any(f, 2, -1, NULL), 0);
  cr_assert_eq(tinker_future_wait_all(f, 3, -1), 0);
  for (int i = 0; i < 3; i++) cr_assert_eq(tinker_future_status(f[i]), 0);
  cr_assert_eq(tinker_future_wait_any(f, 0, 0, &at), TINKER_EINVAL);
  cr_assert_eq(tinker_future_wait_all(f, 0, 0), 0);
  cr_assert_eq(tinker_future_wait_all(NULL, 1, 0), TINKER_EINVAL);
  tinker_future_t *hole[2] = {f[0], NULL};
  cr_assert_eq(tinker_future_wait_all(hole, 2, 0), TINKER_EINVAL);
  cr_assert_eq(tinker_future_wait_any(hole, 2, 0, &at), TINKER_EINVAL);
  for (int i = 0; i < 3; i++) tinker_future_release(f[i]);
}

/* The last release lets a drain end what was accepted. */
Test(next, a_release_does_not_cut_a_drain_short) {
  seen_t step = {0}, drained = {0};
  script_expect(
      rig.script, TINKER__HTTP_POST, OPTIM,
      (script_reply_t){.delay_ms = 500,
                       .body = "{\"request_id\":\"optim_step-1-0\"}"});
  tinker_future_release(tinker_trainer_optim_step(
      trainer, NULL, CALLS_WITH(NULL, rig_seen, &step)));
  tinker_future_release(
      tinker_client_drain(rig.client, CALLS_WITH(NULL, rig_seen, &drained)));
  rig.client = tinker_client_release(rig.client);
  cr_assert(step.calls == 1 && step.status == 0);
  cr_assert(drained.calls == 1 && drained.status == 0);
}

/* Drain without a callback: waited for, and offered by next. */
Test(next, a_drain_can_be_waited_for) {
  tinker_future_t *got;
  tinker_future_t *f = tinker_client_drain(rig.client, NULL);
  cr_assert_eq(tinker_future_kind(f), TINKER_KIND_DRAIN);
  tinker_future_cancel(f); /* can't be canceled */
  cr_assert_eq(tinker_future_wait(f, -1), 0);
  cr_assert_eq(tinker_client_next(rig.client, 0, &got), 0);
  cr_assert_eq(got, f);
  tinker_future_release(got);
  cr_assert_eq(tinker_client_next(rig.client, -1, &got), TINKER_ENOENT);
  tinker_future_release(f);
}
