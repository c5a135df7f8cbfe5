/* The debug lines of a client: each step of an operation's life, in order. */
#include <criterion/criterion.h>
#include <string.h>

#include "rig.h"

static rig_t rig;

static void setup(void) {
  rig_init(&rig, NULL);
}

static void teardown(void) {
  rig_done(&rig);
}

TestSuite(trace, .init = setup, .fini = teardown);

static int forward_backward(tinker_trainer_t *t) {
  tinker_future_t *f = NULL;
  tinker_loss_t loss;
  tinker_datum_t **batch = rig_batch(1, 4);
  tinker_loss_init(&loss);
  cr_assert_eq(
      calls_begun(tinker_trainer_forward_backward(t, batch, 1, &loss, NULL),
                  &f),
      0);
  int rc = tinker_future_wait(f, 60000);
  tinker_future_release(f);
  rig_batch_free(batch, 1);
  return rc;
}

/* The lines from the given one on begin as these; NULL ends them. */
static void lines(size_t from, const char *const *wanted) {
  size_t i = 0;
  for (; wanted[i]; i++) {
    const char *line = from + i < rig.traced ? rig.trace[from + i] : "nothing";
    cr_expect_eq(strncmp(line, wanted[i], strlen(wanted[i])), 0,
                 "line %zu: wanted \"%s\", got \"%s\"", i, wanted[i], line);
  }
  cr_assert_eq(rig.traced - from, i, "%s", rig.trace[from + i]);
}

/* A submission that was not sent is tried again; the first poll comes too
 * early. */
Test(trace, every_step_of_a_forward_backward_in_order) {
  static const char *const wanted[] = {
      "flow: #2 forward_backward: queued, 1 request",
      "flow: #2 forward_backward: queued -> sending (turn)",
      "flow: #2 forward_backward seq_id 1: numbered",
      "flow: #2 forward_backward seq_id 1: sent, attempt 1, ",
      "flow: #2 forward_backward seq_id 1: tries again in ",
      "flow: #2 forward_backward seq_id 1: sent, attempt 2, ",
      "flow: #2 forward_backward seq_id 1: accepted as ",
      "flow: #2 forward_backward seq_id 1: asks for the result, poll 1",
      "flow: #2 forward_backward: sending -> polling (sent)",
      "flow: #2 forward_backward seq_id 1: not ready, asks again in ",
      "flow: #2 forward_backward seq_id 1: asks for the result, poll 2",
      "flow: #2 forward_backward seq_id 1: result of ",
      "flow: #2 forward_backward: polling -> done (ready)",
      "flow: #2 forward_backward: ends: well",
      NULL};
  rig.log_level = TINKER_LOG_DEBUG;
  cr_assert_eq(rig_client(&rig), 0);
  tinker_trainer_t *t = rig_trainer(&rig);
  rig_run(&rig);
  size_t from = rig.traced;
  script_expect(rig.script, TINKER__HTTP_POST, FB,
                (script_reply_t){.error = TINKER_ECONNECT});
  script_expect(rig.script, TINKER__HTTP_POST, RETRIEVE,
                (script_reply_t){.status = 200,
                                 .body = "{\"type\":\"try_again\","
                                         "\"request_id\":\"r\","
                                         "\"queue_state\":\"active\"}"});
  cr_assert_eq(forward_backward(t), 0);
  rig_run(&rig);
  lines(from, wanted);
  tinker_trainer_release(t);
}

/* What the session asks for, and its heartbeat. */
Test(trace, the_start_and_a_heartbeat) {
  static const char *const start[] = {
      "flow: #1 create_trainer: queued, 1 request",
      "flow: #1 create_trainer: waits for the session",
      "session: client/config: sent, attempt 1",
      "session: client/config: answered",
      "session: client/dynamic_config: sent, attempt 1",
      "session: client/dynamic_config: answered",
      "session: create_session: sent, attempt 1",
      "session: create_session: answered",
      "flow: #1 create_trainer: queued -> sending (turn)"};
  static const char *const beat[] = {
      "session: session_heartbeat: sent, attempt 1",
      "session: session_heartbeat: answered", NULL};
  rig.log_level = TINKER_LOG_DEBUG;
  cr_assert_eq(rig_client(&rig), 0);
  tinker_trainer_release(rig_trainer(&rig));
  rig_run(&rig);
  for (size_t i = 0; i < sizeof start / sizeof *start; i++) {
    cr_expect_str_eq(rig.trace[i], start[i]);
  }
  size_t from = rig.traced;
  fake_loop_advance(&rig.loop, 10000);
  lines(from, beat);
}

/* Only who asks for debug lines gets them. */
Test(trace, off_unless_asked_for) {
  cr_assert_eq(rig_client(&rig), 0);
  tinker_trainer_t *t = rig_trainer(&rig);
  cr_assert_eq(forward_backward(t), 0);
  cr_assert_eq(rig.traced, 0u);
  tinker_trainer_release(t);
}
