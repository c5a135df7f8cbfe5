/* trouble: models whose calls can't be executed now, because the snapshot or a
 * body can't be read, or because there is no memory for a call that succeeded
 * before, or for the result of a call that was executed. The calls of such a
 * model wait, new calls get 503 with the reason, and the model is tried again
 * after pauses that grow. Nothing of it is lost, and no other model suffers.
 * Under the service's lock: store thread and engine thread (park), timer
 * (retry), HTTP thread. */
#include <stdio.h>

#include <tinker/error.h>

#include "service/calls/calls.h"

#define FIRST_PAUSE_MS 1000
#define LAST_PAUSE_MS 60000

void tinker__svc_trouble(tinker__svc_model_t *m, int rc, const char *why) {
  snprintf(m->trouble, sizeof m->trouble, "%s",
           *why ? why : tinker_code_text(rc));
  m->stuck = TINKER__SVC_STUCK_TROUBLE;
}

void tinker__svc_model_park(tinker__svc_model_t *m) {
  char text[24];
  tinker__svc_t *s = m->service;
  bool is_short = m->stuck == TINKER__SVC_STUCK_SHORT;
  bool again = m->pause_ms && !is_short;
  int64_t pause = again ? 2 * m->pause_ms : FIRST_PAUSE_MS;
  m->pause_ms = pause < LAST_PAUSE_MS ? pause : LAST_PAUSE_MS;
  m->retry_ms = s->world->now_ms(s->world->user) + m->pause_ms;
  tinker__list_push_back(&s->parked, &m->parked);
  if (!m->current->redo) {
    tinker__svc_op_move(m->current, TINKER__SVC_OP_WAITING);
  }
  tinker__svc_model_enqueue(m, m->current);
  m->current = NULL;
  tinker__svc_model_move(m, TINKER__SVC_MODEL_PARKED);
  snprintf(text, sizeof text, "%lld", (long long)m->pause_ms);
  tinker__svc_log(s, is_short ? "info" : "error", "model_parked", "model_id",
                  m->id, "why", m->trouble, "retry_ms", text, NULL);
}

void tinker__svc_model_unpark(tinker__svc_model_t *m) {
  tinker__list_remove(&m->parked);
  tinker__svc_model_move(m, TINKER__SVC_MODEL_IDLE);
  tinker__svc_model_kick(m);
}

/* True while a result, save or snapshot of the model is being stored, so that
 * it is not known yet what a start would find. */
static bool is_storing(const tinker__svc_model_t *m) {
  TINKER__LIST_EACH(l, tmp, &m->ops) {
    const tinker__svc_op_t *op = TINKER__CONTAINER(l, tinker__svc_op_t, all);
    if (op->state == TINKER__SVC_OP_COMMITTING) return true;
  }
  return m->saving;
}

static bool has_outcome(const tinker__svc_op_t *op) {
  return op->state == TINKER__SVC_OP_DONE || op->state == TINKER__SVC_OP_FAILED;
}

/* Takes the model back to its snapshot. All later calls are executed again, as
 * after a start, and must give the same results as before. */
static void rewind_log(tinker__svc_model_t *m) {
  m->next_seq = m->snapshot ? m->snapshot_seq : 0;
  TINKER__LIST_EACH(l, tmp, &m->ops) {
    tinker__svc_op_t *op = TINKER__CONTAINER(l, tinker__svc_op_t, all);
    if (op->seq < m->next_seq || !tinker__list_empty(&op->link)) continue;
    if (has_outcome(op) && !op->redo) {
      bool undone = op->state == TINKER__SVC_OP_FAILED && op->undone;
      op->redo = undone ? TINKER__SVC_REDO_UNDONE : TINKER__SVC_REDO;
    }
    tinker__svc_model_enqueue(m, op);
  }
  m->rewinds = false;
}

void tinker__svc_models_retry(tinker__svc_t *s, int64_t now_ms) {
  TINKER__LIST_EACH(l, tmp, &s->parked) {
    tinker__svc_model_t *m = TINKER__CONTAINER(l, tinker__svc_model_t, parked);
    if (m->retry_ms > now_ms || m->state != TINKER__SVC_MODEL_PARKED) continue;
    if (m->rewinds && is_storing(m)) continue;
    if (m->rewinds) rewind_log(m);
    tinker__svc_model_unpark(m);
  }
}

/* A model that is due for both leaves memory first. If it were tried again at
 * each look it would never leave the memory that others wait for. */
void tinker__svc_models_look(tinker__svc_t *s, int64_t now_ms) {
  tinker__svc_models_rest(s, now_ms);
  tinker__svc_models_retry(s, now_ms);
}

bool tinker__svc_model_is_parked(tinker__svc_model_t *m, tinker__svc_req_t *r) {
  const tinker__world_t *w = m->service->world;
  if (!tinker__svc_model_parked(m) || m->stuck == TINKER__SVC_STUCK_SHORT) {
    return false;
  }
  int64_t left = m->retry_ms - w->now_ms(w->user);
  r->retry_after_s = left > 1000 ? (int)((left + 999) / 1000) : 1;
  tinker__svc_reply_error(r, 503, "model %s can't be restored now: %s", m->id,
                          m->trouble);
  return true;
}
