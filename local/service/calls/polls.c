/* polls: requests that wait for the result of a call, and their answers. Under
 * the service's lock: HTTP thread, store thread (a result is committed), timer.
 */
#include <stdio.h>

#include "service/calls/calls.h"
#include "service/parse/work.h"

/* Why the op does not run yet; false when nothing is wrong. Under the lock. */
static bool waiting_reason(const tinker__svc_op_t *op, char *out, size_t len) {
  const tinker__svc_model_t *m = op->model;
  if (!m || op->state != TINKER__SVC_OP_PENDING) return false;
  int64_t want = m->current ? m->current->seq + 1 : m->next_seq;
  TINKER__LIST_EACH(l, tmp, &m->pending) {
    const tinker__svc_op_t *p = TINKER__CONTAINER(l, tinker__svc_op_t, link);
    if (p->seq != want) break;
    if (p == op) return false;
    want++;
  }
  if (want >= op->seq) return false;
  snprintf(out, len, "waiting for seq_id %lld", (long long)want);
  return true;
}

void tinker__svc_poll_try_again(tinker__svc_req_t *r,
                                const tinker__svc_op_t *op) {
  char gap[80];
  tinker__jsonw_t w;
  const char *state = "active", *reason = NULL;
  if (op->paused_until_ms) {
    state = op->pause_state ? op->pause_state : "paused_capacity";
    reason = op->pause_reason;
  } else if (op->model && op->model->retry_ms) {
    state = "paused_capacity";
    reason = op->model->trouble;
  } else if (waiting_reason(op, gap, sizeof gap)) {
    state = "paused_capacity";
    reason = gap;
  }
  tinker__svc_reply_json(r, &w);
  tinker__jsonw_begin_object(&w);
  tinker__jsonw_key(&w, "type");
  tinker__jsonw_cstr(&w, "try_again");
  tinker__jsonw_key(&w, "request_id");
  tinker__jsonw_cstr(&w, op->request_id);
  tinker__jsonw_key(&w, "queue_state");
  tinker__jsonw_cstr(&w, state);
  if (reason) {
    tinker__jsonw_key(&w, "queue_state_reason");
    tinker__jsonw_cstr(&w, reason);
  }
  tinker__jsonw_end_object(&w);
}

void tinker__svc_poll_result(tinker__svc_req_t *r, tinker__svc_op_kind_t kind,
                             int format, const void *data, size_t len) {
  if (format == TINKER__FORMAT_JSON) {
    tinker__svc_reply_bytes(r, 200, "application/json", data, len);
  } else if (r->accept_proto) {
    tinker__svc_reply_bytes(r, 200, "application/x-protobuf", data, len);
  } else {
    tinker__svc_reply_result_as_json(r, kind, data, len);
  }
}

/* A large result is announced first, to who asked for that: clients bound the
 * bytes of results that are under way. An error is told at once. */
bool tinker__svc_poll_announces(const tinker__svc_req_t *r,
                                const tinker__svc_op_t *op) {
  return r->allow_metadata && op->state == TINKER__SVC_OP_DONE &&
         op->result_size > (size_t)r->service->config.inline_result;
}

void tinker__svc_poll_metadata(tinker__svc_req_t *r,
                               const tinker__svc_op_t *op) {
  tinker__jsonw_t w;
  tinker__svc_reply_json(r, &w);
  tinker__jsonw_begin_object(&w);
  tinker__jsonw_key(&w, "status");
  tinker__jsonw_cstr(&w, "complete_metadata");
  tinker__jsonw_key(&w, "response_payload_size");
  tinker__jsonw_u64(&w, op->result_size);
  tinker__jsonw_end_object(&w);
}

/* Takes a parked poll out of its lists. Under the lock. */
static void unpark(tinker__svc_req_t *r) {
  tinker__list_remove(&r->link);
  tinker__list_remove(&r->timer_link);
}

void tinker__svc_polls_answer(tinker__svc_op_t *op, int format,
                              const void *data, size_t len) {
  tinker__link_t *l;
  while ((l = tinker__list_first(&op->polls)) != NULL) {
    tinker__svc_req_t *r = TINKER__CONTAINER(l, tinker__svc_req_t, link);
    unpark(r);
    if (tinker__svc_poll_announces(r, op)) {
      tinker__svc_poll_metadata(r, op);
    } else {
      tinker__svc_poll_result(r, op->kind, format, data, len);
    }
    tinker__svc_req_resume(r);
  }
}

void tinker__svc_polls_expire(tinker__svc_t *s, int64_t now_ms) {
  tinker__link_t *l;
  while ((l = tinker__list_first(&s->polls)) != NULL) {
    tinker__svc_req_t *r = TINKER__CONTAINER(l, tinker__svc_req_t, timer_link);
    if (r->deadline_ms > now_ms) return;
    unpark(r);
    tinker__svc_poll_try_again(r, r->op);
    tinker__svc_req_resume(r);
  }
}

void tinker__svc_polls_release(tinker__svc_t *s) {
  tinker__svc_polls_expire(s, INT64_MAX);
}

tinker__svc_handled_t tinker__svc_poll_park(tinker__svc_t *s,
                                            tinker__svc_req_t *r,
                                            tinker__svc_op_t *op) {
  r->op = op;
  r->deadline_ms = s->world->now_ms(s->world->user) + s->config.poll_ms;
  tinker__list_push_back(&op->polls, &r->link);
  tinker__list_push_back(&s->polls, &r->timer_link);
  pthread_cond_signal(&s->timer_wake);
  return TINKER__PARKED;
}
