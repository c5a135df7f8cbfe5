/* deaths: finds the calls in which earlier images of the process crashed or
 * were killed, and marks those that must not be executed again. Starting
 * thread, before any call is executed. */
#include <stdio.h>

#include "service/boot/replay.h"
#include "service/core/trying.h"

/* True when op is to blame for the crash. A call whose result was stored before
 * the crash is not: something after it, like its snapshot, was being done. */
static bool has_crashed(const tinker__svc_t *s, const tinker__svc_op_t *op) {
  int64_t call = s->config.crash_call;
  if (op->redo) return call == TINKER__REDOING(op->row);
  if (!tinker__svc_op_pending(op)) return false;
  return call == op->row || (call == -1 && op->kind == TINKER__SVC_OP_SAMPLE);
}

/* Marks the call that the engine crashed in. Nobody knows which sample of a
 * decode round it was, so all of them are marked. */
void tinker__svc_replay_crashed(tinker__svc_t *s) {
  size_t cursor = 0;
  tinker__str_t key;
  void *value;
  char text[24];
  if (!s->config.crash_signal) return;
  snprintf(text, sizeof text, "%d", s->config.crash_signal);
  tinker__svc_log(s, "warning", "restarted", "signal", text, NULL);
  while (tinker__map_next(s->op_by_id, &cursor, &key, &value)) {
    tinker__svc_op_t *op = value;
    if (!has_crashed(s, op)) continue;
    op->blame = TINKER__SVC_BLAME_CRASH;
    tinker__svc_log(s, "error", "crashed_call", "request_id", op->request_id,
                    "signal", text, NULL);
  }
}

static void log_deaths(tinker__svc_t *s, const tinker__svc_op_t *op,
                       int64_t deaths) {
  char text[24];
  snprintf(text, sizeof text, "%lld", (long long)deaths);
  tinker__svc_log(s, "error", "killed_in_call", "request_id", op->request_id,
                  "times", text, NULL);
}

/* Marks a call as deadly, unless a crash in it was noted: a crash is a certain
 * reason. */
static void give_up(tinker__svc_op_t *op) {
  if (!op->blame) op->blame = TINKER__SVC_BLAME_DEATHS;
}

/* Marks a call that the process was killed in too often. A call of the log is
 * left alone by this start and tried again by the next one, which may have more
 * memory. */
static void look_at_deaths(tinker__svc_t *s, tinker__svc_op_t *op) {
  int64_t call = op->redo ? TINKER__REDOING(op->row) : op->row;
  int64_t deaths = tinker__svc_trying_deaths(s, call);
  bool awaited = op->redo || tinker__svc_op_pending(op);
  if (!deaths || !awaited || op->kind == TINKER__SVC_OP_SAMPLE) return;
  if (deaths >= TINKER__MAX_DEATHS) {
    give_up(op);
    if (op->redo) tinker__svc_trying_set(s, call, TINKER__MAX_DEATHS - 1);
  }
  log_deaths(s, op, deaths);
}

/* Calls fn (NULL = none) for each pending sample with a row below `before`.
 * Returns how many there are. */
static size_t each_sample(tinker__svc_t *s, int64_t before,
                          void (*fn)(tinker__svc_t *s, tinker__svc_op_t *op)) {
  size_t cursor = 0, n = 0;
  tinker__str_t key;
  void *value;
  while (tinker__map_next(s->op_by_id, &cursor, &key, &value)) {
    tinker__svc_op_t *op = value;
    if (op->kind != TINKER__SVC_OP_SAMPLE || op->row >= before ||
        !tinker__svc_op_pending(op)) {
      continue;
    }
    if (fn) fn(s, op);
    n++;
  }
  return n;
}

static void give_up_sample(tinker__svc_t *s, tinker__svc_op_t *op) {
  give_up(op);
  log_deaths(s, op, TINKER__MAX_SAMPLE_DEATHS);
}

/* Nobody knows which sample of a decode round it was, only that it was under
 * way at each of the deaths counted. When no such sample is left, the count
 * begins anew with the last death. */
static void look_at_samples(tinker__svc_t *s) {
  int64_t *before = tinker__svc_trying_suspects(s);
  int64_t deaths = tinker__svc_trying_deaths(s, -1);
  if (!before || !deaths) return;
  if (deaths == 1 || each_sample(s, *before, NULL) == 0) {
    *before = s->next_row;
    tinker__svc_trying_set(s, -1, 1);
  } else if (deaths >= TINKER__MAX_SAMPLE_DEATHS) {
    each_sample(s, *before, give_up_sample);
    tinker__svc_trying_set(s, -1, 0);
  }
}

void tinker__svc_replay_killed(tinker__svc_t *s) {
  size_t cursor = 0;
  tinker__str_t key;
  void *value;
  while (tinker__map_next(s->op_by_id, &cursor, &key, &value)) {
    look_at_deaths(s, value);
  }
  look_at_samples(s);
}
