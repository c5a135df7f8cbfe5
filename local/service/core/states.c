/* states: the tables of the moves between the states of sessions, models and
 * calls. One function for each of the three changes the state, under the
 * service's lock. docs/internals/service.md shows the same tables.
 *
 * A move that is not in its table is a bug. The state then does not show what
 * has happened, and going on could lose or repeat a call. So the service ends,
 * and the next start goes on from the store. */
#include <stdio.h>

#include "base/check.h"
#include "service/core/core.h"

static bool refuse(tinker__svc_t *s, const char *what, const char *from,
                   const char *to) {
  char why[120];
  snprintf(why, sizeof why, "a %s that is %s can't become %s", what, from, to);
  tinker__svc_fatal(s, why);
  return false;
}

/* --- Sessions ------------------------------------------------------------- */

bool tinker__svc_session_may(tinker__svc_session_state_t from,
                             tinker__svc_session_state_t to) {
  enum { N = TINKER__SVC_SESSION_STATES };
  static const bool moves[N][N] = {
      [TINKER__SVC_SESSION_STORING][TINKER__SVC_SESSION_LIVE] = true,
      [TINKER__SVC_SESSION_STORING][TINKER__SVC_SESSION_ENDED] = true,
      [TINKER__SVC_SESSION_LIVE][TINKER__SVC_SESSION_ENDING] = true,
      [TINKER__SVC_SESSION_ENDING][TINKER__SVC_SESSION_ENDED] = true,
      [TINKER__SVC_SESSION_ENDED][TINKER__SVC_SESSION_PURGED] = true,
      [TINKER__SVC_SESSION_PURGED][TINKER__SVC_SESSION_LEAVING] = true,
      [TINKER__SVC_SESSION_LEAVING][TINKER__SVC_SESSION_PURGED] = true,
  };
  return moves[from][to];
}

const char *tinker__svc_session_state_name(tinker__svc_session_state_t state) {
  static const char *const names[TINKER__SVC_SESSION_STATES] = {
      "storing", "live", "ending", "ended", "purged", "leaving"};
  return names[state];
}

bool tinker__svc_session_move(tinker__svc_session_t *n,
                              tinker__svc_session_state_t to) {
  if (!TINKER__HOLDS(tinker__svc_session_may(n->state, to))) {
    return refuse(n->service, "session",
                  tinker__svc_session_state_name(n->state),
                  tinker__svc_session_state_name(to));
  }
  n->state = to;
  return true;
}

/* --- Models --------------------------------------------------------------- */

bool tinker__svc_model_may(tinker__svc_model_state_t from,
                           tinker__svc_model_state_t to) {
  enum { N = TINKER__SVC_MODEL_STATES };
  static const bool moves[N][N] = {
      [TINKER__SVC_MODEL_STORING][TINKER__SVC_MODEL_IDLE] = true,
      [TINKER__SVC_MODEL_IDLE][TINKER__SVC_MODEL_QUEUED] = true,
      [TINKER__SVC_MODEL_IDLE][TINKER__SVC_MODEL_LEAVING] = true,
      [TINKER__SVC_MODEL_QUEUED][TINKER__SVC_MODEL_IDLE] = true,
      [TINKER__SVC_MODEL_QUEUED][TINKER__SVC_MODEL_RUNNING] = true,
      [TINKER__SVC_MODEL_QUEUED][TINKER__SVC_MODEL_OVER] = true,
      [TINKER__SVC_MODEL_READING][TINKER__SVC_MODEL_RUNNING] = true,
      [TINKER__SVC_MODEL_READING][TINKER__SVC_MODEL_PARKED] = true,
      [TINKER__SVC_MODEL_RUNNING][TINKER__SVC_MODEL_IDLE] = true,
      [TINKER__SVC_MODEL_RUNNING][TINKER__SVC_MODEL_READING] = true,
      [TINKER__SVC_MODEL_RUNNING][TINKER__SVC_MODEL_PARKED] = true,
      [TINKER__SVC_MODEL_PARKED][TINKER__SVC_MODEL_IDLE] = true,
      [TINKER__SVC_MODEL_PARKED][TINKER__SVC_MODEL_YIELDING] = true,
      [TINKER__SVC_MODEL_LEAVING][TINKER__SVC_MODEL_IDLE] = true,
      [TINKER__SVC_MODEL_LEAVING][TINKER__SVC_MODEL_RUNNING] = true,
      [TINKER__SVC_MODEL_LEAVING][TINKER__SVC_MODEL_OVER] = true,
      [TINKER__SVC_MODEL_YIELDING][TINKER__SVC_MODEL_PARKED] = true,
      [TINKER__SVC_MODEL_YIELDING][TINKER__SVC_MODEL_OVER] = true,
  };
  return moves[from][to];
}

const char *tinker__svc_model_state_name(tinker__svc_model_state_t state) {
  static const char *const names[TINKER__SVC_MODEL_STATES] = {
      "storing", "idle",    "queued",   "reading", "running",
      "parked",  "leaving", "yielding", "over"};
  return names[state];
}

bool tinker__svc_model_move(tinker__svc_model_t *m,
                            tinker__svc_model_state_t to) {
  if (!TINKER__HOLDS(tinker__svc_model_may(m->state, to))) {
    return refuse(m->service, "model", tinker__svc_model_state_name(m->state),
                  tinker__svc_model_state_name(to));
  }
  m->state = to;
  return true;
}

/* --- Calls ---------------------------------------------------------------- */

bool tinker__svc_op_may(tinker__svc_op_state_t from,
                        tinker__svc_op_state_t to) {
  enum { N = TINKER__SVC_OP_STATES };
  static const bool moves[N][N] = {
      [TINKER__SVC_OP_NEW][TINKER__SVC_OP_LOGGING] = true,
      [TINKER__SVC_OP_NEW][TINKER__SVC_OP_WAITING] = true,
      [TINKER__SVC_OP_NEW][TINKER__SVC_OP_DONE] = true,
      [TINKER__SVC_OP_NEW][TINKER__SVC_OP_FAILED] = true,
      [TINKER__SVC_OP_NEW][TINKER__SVC_OP_REFUSING] = true,
      [TINKER__SVC_OP_NEW][TINKER__SVC_OP_REJECTED] = true,
      [TINKER__SVC_OP_LOGGING][TINKER__SVC_OP_WAITING] = true,
      [TINKER__SVC_OP_WAITING][TINKER__SVC_OP_RUNNING] = true,
      [TINKER__SVC_OP_WAITING][TINKER__SVC_OP_COMMITTING] = true,
      [TINKER__SVC_OP_RUNNING][TINKER__SVC_OP_WAITING] = true,
      [TINKER__SVC_OP_RUNNING][TINKER__SVC_OP_COMMITTING] = true,
      [TINKER__SVC_OP_COMMITTING][TINKER__SVC_OP_RUNNING] = true,
      [TINKER__SVC_OP_COMMITTING][TINKER__SVC_OP_DONE] = true,
      [TINKER__SVC_OP_COMMITTING][TINKER__SVC_OP_FAILED] = true,
      [TINKER__SVC_OP_REFUSING][TINKER__SVC_OP_REJECTED] = true,
  };
  return moves[from][to];
}

const char *tinker__svc_op_state_name(tinker__svc_op_state_t state) {
  static const char *const names[TINKER__SVC_OP_STATES] = {
      "new",  "logging", "waiting",  "running", "committing",
      "done", "failed",  "refusing", "rejected"};
  return names[state];
}

bool tinker__svc_op_move(tinker__svc_op_t *op, tinker__svc_op_state_t to) {
  if (!TINKER__HOLDS(tinker__svc_op_may(op->state, to))) {
    return refuse(op->service, "call", tinker__svc_op_state_name(op->state),
                  tinker__svc_op_state_name(to));
  }
  op->state = to;
  return true;
}

tinker__svc_op_state_t tinker__svc_op_found(tinker__svc_outcome_t outcome) {
  switch (outcome) {
  case TINKER__SVC_OUTCOME_DONE: return TINKER__SVC_OP_DONE;
  case TINKER__SVC_OUTCOME_FAILED: return TINKER__SVC_OP_FAILED;
  case TINKER__SVC_OUTCOME_REJECTED: return TINKER__SVC_OP_REJECTED;
  default: return TINKER__SVC_OP_WAITING;
  }
}
