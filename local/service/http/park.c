/* park: requests that wait until something is durable. All under the service's
 * lock: the HTTP thread or a worker parks them, the store thread answers. */
#include <tinker/error.h>

#include "service/http/http.h"

void tinker__svc_ack_init(tinker__svc_ack_t *a) {
  tinker__list_init(&a->waiters);
}

tinker__svc_handled_t tinker__svc_ack_wait(tinker__svc_ack_t *a,
                                           tinker__svc_req_t *r) {
  tinker__list_push_back(&a->waiters, &r->link);
  return TINKER__PARKED;
}

tinker__svc_handled_t tinker__svc_ack_again(tinker__svc_ack_t *a,
                                            tinker__svc_req_t *r, bool stored) {
  if (!stored) return tinker__svc_ack_wait(a, r);
  tinker__svc_req_resume_later(r);
  return TINKER__PARKED;
}

void tinker__svc_ack_commit(tinker__svc_t *s, tinker__svc_ack_t *a) {
  tinker__link_t *l;
  (void)s;
  while ((l = tinker__list_pop_front(&a->waiters)) != NULL) {
    tinker__svc_req_resume_later(TINKER__CONTAINER(l, tinker__svc_req_t, link));
  }
}

void tinker__svc_ack_fail(tinker__svc_t *s, tinker__svc_ack_t *a) {
  tinker__link_t *l;
  (void)s;
  while ((l = tinker__list_pop_front(&a->waiters)) != NULL) {
    tinker__svc_req_t *r = TINKER__CONTAINER(l, tinker__svc_req_t, link);
    tinker__svc_reply_error(
        r, 503, "the request could not be stored; nothing was changed");
    tinker__svc_req_resume_later(r);
  }
}

tinker__svc_handled_t tinker__svc_reply_why(tinker__svc_req_t *r, int rc,
                                            int status, const char *why) {
  if (rc == TINKER_ENOMEM) {
    return tinker__svc_reply_error(r, 503, "out of memory");
  }
  return tinker__svc_reply_error(r, status, "%s", why);
}

static void release(tinker__svc_ack_t *a) {
  tinker__link_t *l;
  while ((l = tinker__list_pop_front(&a->waiters)) != NULL) {
    tinker__svc_req_t *r = TINKER__CONTAINER(l, tinker__svc_req_t, link);
    tinker__svc_reply_error(r, 503,
                            "another process holds a lock on the store: "
                            "send the same request again");
    tinker__svc_req_resume_later(r);
  }
}

static void release_ops(tinker__link_t *ops) {
  TINKER__LIST_EACH(l, tmp, ops) {
    release(&TINKER__CONTAINER(l, tinker__svc_op_t, all)->ack);
  }
}

void tinker__svc_acks_release(tinker__svc_t *s) {
  TINKER__LIST_EACH(l, tmp, &s->sessions) {
    release(&TINKER__CONTAINER(l, tinker__svc_session_t, link)->ack);
  }
  TINKER__LIST_EACH(l, tmp, &s->models) {
    release_ops(&TINKER__CONTAINER(l, tinker__svc_model_t, link)->ops);
  }
  TINKER__LIST_EACH(l, tmp, &s->samplers) {
    tinker__svc_sampler_t *p =
        TINKER__CONTAINER(l, tinker__svc_sampler_t, link);
    release(&p->ack);
    release_ops(&p->ops);
  }
}
