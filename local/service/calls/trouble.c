/* trouble: a model whose log can't be executed now: its snapshot or a body
 * can't be read, or there is no memory for a call that went well before, or for
 * the result of a new one (then its state is ahead of what the store knows, and
 * is made again from that). Its calls wait, new ones get 503 with the reason,
 * and it is tried again after pauses that grow. Nothing of it is lost, and no
 * other model suffers. Under the service's lock: store thread and engine thread
 * (park), timer (retry), HTTP thread. */
#include <stdio.h>

#include <tinker/error.h>

#include "service/calls/calls.h"

#define FIRST_PAUSE_MS 1000
#define LAST_PAUSE_MS 60000

void tinker__svc_trouble(tinker__svc_model_t *m, int rc, const char *why) {
  snprintf(m->trouble, sizeof m->trouble, "%s",
           *why ? why : tinker_code_text(rc));
}

void tinker__svc_model_park(tinker__svc_model_t *m) {
  char text[24];
  tinker__svc_t *s = m->service;
  bool again = m->pause_ms && !m->waits;
  int64_t pause = again ? 2 * m->pause_ms : FIRST_PAUSE_MS;
  m->pause_ms = pause < LAST_PAUSE_MS ? pause : LAST_PAUSE_MS;
  m->retry_ms = s->world->now_ms(s->world->user) + m->pause_ms;
  tinker__list_push_back(&s->parked, &m->parked);
  tinker__svc_model_enqueue(m, m->current);
  m->current = NULL;
  tinker__svc_model_done(m, false);
  snprintf(text, sizeof text, "%lld", (long long)m->pause_ms);
  tinker__svc_log(s, m->waits ? "info" : "error", "model_parked", "model_id",
                  m->id, "why", m->trouble, "retry_ms", text, NULL);
}

/* Something of it is on its way into the store: what a restart would find is
 * not settled yet. */
static bool is_storing(const tinker__svc_model_t *m) {
  TINKER__LIST_EACH(l, tmp, &m->ops) {
    if (TINKER__CONTAINER(l, tinker__svc_op_t, all)->storing) return true;
  }
  return m->saving;
}

/* Everything after the snapshot is to be executed again, as after a restart:
 * what was told must come out the same. */
static void rewind_log(tinker__svc_model_t *m) {
  m->next_seq = m->snapshot ? m->snapshot_seq : 0;
  TINKER__LIST_EACH(l, tmp, &m->ops) {
    tinker__svc_op_t *op = TINKER__CONTAINER(l, tinker__svc_op_t, all);
    if (op->seq < m->next_seq || !tinker__list_empty(&op->link)) continue;
    op->replay =
        op->state == TINKER__SVC_OP_DONE || op->state == TINKER__SVC_OP_FAILED;
    tinker__svc_model_enqueue(m, op);
  }
  m->rewinds = false;
}

void tinker__svc_models_retry(tinker__svc_t *s, int64_t now_ms) {
  TINKER__LIST_EACH(l, tmp, &s->parked) {
    tinker__svc_model_t *m = TINKER__CONTAINER(l, tinker__svc_model_t, parked);
    if (m->retry_ms > now_ms || (m->rewinds && is_storing(m))) continue;
    if (m->rewinds) rewind_log(m);
    tinker__list_remove(&m->parked);
    m->retry_ms = 0;
    tinker__svc_model_kick(m);
  }
}

bool tinker__svc_model_is_parked(tinker__svc_model_t *m, tinker__svc_req_t *r) {
  const tinker__world_t *w = m->service->world;
  if (!m->retry_ms || m->waits) return false;
  int64_t left = m->retry_ms - w->now_ms(w->user);
  r->retry_after_s = left > 1000 ? (int)((left + 999) / 1000) : 1;
  tinker__svc_reply_error(r, 503, "model %s can't be restored now: %s", m->id,
                          m->trouble);
  return true;
}
