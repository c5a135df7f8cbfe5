/* Lives of sessions, models and calls: the moves that there are, and that no
 * other is made. */
#include <criterion/criterion.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "rig.h"

/* In a process of its own: a library with assertions stops at a bug, any other
 * one refuses the move and ends the service. The child's exit status is 0 when
 * it was refused. */
static void is_refused(bool (*refused)(void)) {
  int status = -1;
  pid_t child = fork();
  if (child == 0) {
    close(STDERR_FILENO); /* the assertion's words */
    _exit(refused() ? 0 : 1);
  }
  cr_assert_eq(waitpid(child, &status, 0), child);
  if (TINKER_TEST_ASSERTS) {
    cr_assert(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT, "%d", status);
  } else {
    cr_assert(WIFEXITED(status) && WEXITSTATUS(status) == 0, "%d", status);
  }
}

/* "from to" for each move of a life, in the order of the states. */
static void all_moves(char *out, int states, bool (*may)(int from, int to),
                      const char *(*name)(int state)) {
  *out = 0;
  for (int from = 0; from < states; from++) {
    for (int to = 0; to < states; to++) {
      if (!may(from, to)) continue;
      strcat(out, name(from));
      strcat(out, " ");
      strcat(out, name(to));
      strcat(out, "\n");
    }
  }
}

/* --- Sessions ------------------------------------------------------------- */

static bool session_may(int from, int to) {
  return tinker__svc_session_may((tinker__svc_session_state_t)from,
                                 (tinker__svc_session_state_t)to);
}

static const char *session_name(int state) {
  return tinker__svc_session_state_name((tinker__svc_session_state_t)state);
}

Test(states, moves_of_a_session) {
  char text[1000];
  all_moves(text, TINKER__SVC_SESSION_STATES, session_may, session_name);
  cr_assert_str_eq(text,
                   "storing live\nstoring ended\nlive ending\nending ended\n"
                   "ended purged\npurged leaving\nleaving purged\n",
                   "%s", text);
}

Test(states, a_session_moves) {
  tinker__svc_t s = {0};
  tinker__svc_session_t n = {.service = &s};
  for (int to = 1; to < TINKER__SVC_SESSION_STATES; to++) {
    cr_assert(tinker__svc_session_move(&n, (tinker__svc_session_state_t)to));
    cr_assert_eq((int)n.state, to);
  }
  cr_assert_not(s.fatal);
}

static bool purged_session_refuses(void) {
  tinker__svc_t s = {0};
  tinker__svc_session_t n = {.service = &s,
                             .state = TINKER__SVC_SESSION_PURGED};
  return !tinker__svc_session_move(&n, TINKER__SVC_SESSION_LIVE) &&
         n.state == TINKER__SVC_SESSION_PURGED && s.fatal;
}

Test(states, a_session_that_is_over_does_not_live_again) {
  is_refused(purged_session_refuses);
}

/* --- Models --------------------------------------------------------------- */

static bool model_may(int from, int to) {
  return tinker__svc_model_may((tinker__svc_model_state_t)from,
                               (tinker__svc_model_state_t)to);
}

static const char *model_name(int state) {
  return tinker__svc_model_state_name((tinker__svc_model_state_t)state);
}

Test(states, moves_of_a_model) {
  char text[1000];
  all_moves(text, TINKER__SVC_MODEL_STATES, model_may, model_name);
  cr_assert_str_eq(text,
                   "storing idle\nidle queued\nidle leaving\nqueued idle\n"
                   "queued running\nqueued over\nreading running\n"
                   "reading parked\nrunning idle\nrunning reading\n"
                   "running parked\nparked idle\nparked yielding\n"
                   "leaving idle\nleaving running\nleaving over\n"
                   "yielding parked\nyielding over\n",
                   "%s", text);
}

Test(states, a_model_moves) {
  tinker__svc_t s = {0};
  tinker__svc_model_t m = {.service = &s};
  static const tinker__svc_model_state_t life[] = {
      TINKER__SVC_MODEL_IDLE,    TINKER__SVC_MODEL_QUEUED,
      TINKER__SVC_MODEL_RUNNING, TINKER__SVC_MODEL_READING,
      TINKER__SVC_MODEL_PARKED,  TINKER__SVC_MODEL_YIELDING,
      TINKER__SVC_MODEL_PARKED,  TINKER__SVC_MODEL_IDLE,
      TINKER__SVC_MODEL_LEAVING, TINKER__SVC_MODEL_OVER};
  for (size_t i = 0; i < sizeof life / sizeof *life; i++) {
    cr_assert(tinker__svc_model_move(&m, life[i]));
    cr_assert_eq(m.state, life[i]);
  }
  cr_assert_not(s.fatal);
}

static bool over_model_refuses(void) {
  tinker__svc_t s = {0};
  tinker__svc_model_t m = {.service = &s, .state = TINKER__SVC_MODEL_OVER};
  return !tinker__svc_model_move(&m, TINKER__SVC_MODEL_QUEUED) &&
         m.state == TINKER__SVC_MODEL_OVER && s.fatal;
}

Test(states, a_model_that_is_over_does_not_run_again) {
  is_refused(over_model_refuses);
}

/* --- Calls ---------------------------------------------------------------- */

static bool op_may(int from, int to) {
  return tinker__svc_op_may((tinker__svc_op_state_t)from,
                            (tinker__svc_op_state_t)to);
}

static const char *op_name(int state) {
  return tinker__svc_op_state_name((tinker__svc_op_state_t)state);
}

Test(states, moves_of_a_call) {
  char text[1000];
  all_moves(text, TINKER__SVC_OP_STATES, op_may, op_name);
  cr_assert_str_eq(
      text,
      "new logging\nnew waiting\nnew done\nnew failed\n"
      "new refusing\nnew rejected\nlogging waiting\n"
      "waiting running\nwaiting committing\nrunning waiting\n"
      "running committing\ncommitting running\ncommitting done\ncommitting failed\n"
      "refusing rejected\n",
      "%s", text);
}

Test(states, a_call_moves) {
  tinker__svc_t s = {0};
  tinker__svc_op_t op = {.service = &s};
  static const tinker__svc_op_state_t life[] = {
      TINKER__SVC_OP_LOGGING, TINKER__SVC_OP_WAITING, TINKER__SVC_OP_RUNNING,
      TINKER__SVC_OP_WAITING, TINKER__SVC_OP_RUNNING, TINKER__SVC_OP_COMMITTING,
      TINKER__SVC_OP_DONE};
  for (size_t i = 0; i < sizeof life / sizeof *life; i++) {
    cr_assert_eq(tinker__svc_op_logged(&op), i > 1);
    cr_assert(tinker__svc_op_pending(&op));
    cr_assert(tinker__svc_op_move(&op, life[i]));
    cr_assert_eq(op.state, life[i]);
  }
  cr_assert(tinker__svc_op_logged(&op) && !tinker__svc_op_pending(&op));
  cr_assert_not(s.fatal);
}

/* Neither a second result nor another execution. */
static bool done_call_refuses(void) {
  tinker__svc_t s = {0};
  tinker__svc_op_t op = {.service = &s, .state = TINKER__SVC_OP_DONE};
  return !tinker__svc_op_move(&op, TINKER__SVC_OP_COMMITTING) &&
         op.state == TINKER__SVC_OP_DONE && s.fatal;
}

Test(states, a_call_has_one_result) {
  is_refused(done_call_refuses);
}

/* The numbers are in stores that exist. */
Test(states, of_calls_that_a_start_finds) {
  cr_assert_eq(tinker__svc_op_found((tinker__svc_outcome_t)0),
               TINKER__SVC_OP_WAITING);
  cr_assert_eq(tinker__svc_op_found((tinker__svc_outcome_t)1),
               TINKER__SVC_OP_DONE);
  cr_assert_eq(tinker__svc_op_found((tinker__svc_outcome_t)2),
               TINKER__SVC_OP_FAILED);
  cr_assert_eq(tinker__svc_op_found((tinker__svc_outcome_t)3),
               TINKER__SVC_OP_REJECTED);
}

/* --- Seen from outside ---------------------------------------------------- */

/* Whoever guesses or sees its id can't use what may yet not be stored. */
Test(states, nobody_sees_a_session_that_is_being_stored) {
  static rig_t rig;
  static reply_t reply;
  char session[80], body[200];
  rig_open(&rig);
  rig_session(&rig, session, sizeof session);
  pthread_mutex_lock(&rig.s->lock);
  tinker__svc_session_t *n =
      tinker__map_get(rig.s->session_by_id, tinker__str(session));
  n->state = TINKER__SVC_SESSION_STORING;
  pthread_mutex_unlock(&rig.s->lock);
  rig_call(&rig, "GET api/v1/sessions/*", session, NULL, "", &reply);
  cr_expect_eq(reply.status, 404, "%s", reply.text);
  rig_call(&rig, "POST api/v1/sessions/*/finish", session, NULL, "{}", &reply);
  cr_expect_eq(reply.status, 404, "%s", reply.text);
  snprintf(body, sizeof body, "{\"session_id\":\"%s\"}", session);
  rig_call(&rig, "POST api/v1/session_heartbeat", NULL, NULL, body, &reply);
  cr_expect_eq(reply.status, 404, "%s", reply.text);
  rig_call(&rig, "GET api/v1/sessions", NULL, NULL, "", &reply);
  cr_expect_null(strstr(reply.text, session), "%s", reply.text);
  rig_close(&rig);
}
