/* retrieve: retrieve_future, the poll for a result. HTTP thread. */

#include <tinker/error.h>

#include "db/row.h"
#include "service/http/http.h"
#include "service/parse/body.h"
#include "service/parse/work.h"
#include "service/tinker/handlers.h"

/* --- retrieve_future ------------------------------------------------------ */

/* Answers an id that no future has: 410 when the results of its model or
 * sampler have been dropped, else 404. */
static tinker__svc_handled_t
answer_unknown(tinker__svc_t *s, tinker__svc_req_t *r, tinker__str_t id) {
  size_t cut = id.len;
  while (cut && id.ptr[cut - 1] != ':') cut--;
  tinker__str_t owner = {id.ptr, cut ? cut - 1 : 0};
  tinker__svc_model_t *m = tinker__map_get(s->model_by_id, owner);
  tinker__svc_sampler_t *p = tinker__map_get(s->sampler_by_id, owner);
  tinker__svc_session_t *session = m ? m->session : p ? p->session : NULL;
  if (session && tinker__svc_session_purged(session)) {
    return tinker__svc_reply_error(
        r, 410,
        "session %s has ended, and results are kept for %lld seconds after "
        "that (--keep)",
        session->id, (long long)s->config.keep_ms / 1000);
  }
  return tinker__svc_reply_error(r, 404, "request_id not found: %.*s",
                                 (int)(id.len < 200 ? id.len : 200), id.ptr);
}

/* Answers or parks a poll. If the call has its result, r is left alone and *out
 * is filled in, so that the caller answers without the lock; else out->row
 * stays 0. Under the lock. */
static tinker__svc_handled_t poll(tinker__svc_t *s, tinker__svc_req_t *r,
                                  tinker__str_t id, tinker__svc_told_t *out) {
  tinker__svc_op_t *op = tinker__map_get(s->op_by_id, id);
  if (!op || !tinker__svc_op_logged(op)) return answer_unknown(s, r, id);
  tinker__svc_session_t *n =
      op->model ? op->model->session : op->sampler->session;
  n->seen_ms = s->world->now_ms(s->world->user); /* a poll is a sign of life */
  if (op->acts & TINKER__ACT_FORGET) {
    return tinker__svc_reply_error(r, 410, "request %s is no longer known",
                                   op->request_id);
  }
  if (op->state == TINKER__SVC_OP_REJECTED) {
    return tinker__svc_reply_error(r, 404, "request %s was rejected",
                                   op->request_id);
  }
  if (tinker__svc_ends(s)) {
    tinker__svc_poll_try_again(r, op);
    return TINKER__ANSWERED;
  }
  if (tinker__svc_op_pending(op)) {
    return tinker__svc_poll_park(s, r, op);
  }
  *out = tinker__svc_op_told(op);
  return TINKER__PARKED;
}

tinker__svc_handled_t tinker__svc_handle_retrieve_future(tinker__svc_t *s,
                                                         tinker__svc_req_t *r) {
  tinker__arena_t a;
  tinker__retrieve_t m;
  if (tinker__svc_body_read(r, &a, &tinker__retrieve_msg, &m) != 0) {
    return TINKER__ANSWERED;
  }
  r->allow_metadata = m.allow_metadata_only;
  tinker__svc_told_t out = {.row = 0};
  tinker__svc_lock(s);
  tinker__svc_handled_t h = poll(s, r, tinker__str(m.request_id), &out);
  tinker__svc_unlock(s);
  if (out.row) h = tinker__svc_poll_tell(r, &out);
  tinker__arena_free(&a);
  return h;
}
