/* intake: the body of a request as it arrives. Its call bounds how much of it
 * is kept, and the service bounds how much of all bodies is kept together. HTTP
 * thread; the count of all bodies is atomic, since there are two listeners. */
#include "service/http/listener.h"

#define TINY 4096 /* bytes of a body that is always let in */

/* Gives the body another fate than to be kept, and its memory back. */
static void drop(tinker__svc_req_t *r, tinker__svc_body_fate_t fate) {
  r->fate = fate;
  tinker__buf_free(&r->body);
  tinker__svc_body_release(r);
}

void tinker__svc_body_begin(tinker__svc_req_t *r, bool kept) {
  size_t own = r->route ? r->route->max_body : 0;
  size_t most = (size_t)r->service->config.max_body;
  size_t room = atomic_load(&r->service->max_bodies);
  if (!own) own = TINKER__BODY_SMALL;
  if (most > room) most = room;
  r->body.max = own < most ? own : most;
  r->fate = kept ? TINKER__BODY_KEPT : TINKER__BODY_UNWANTED;
}

void tinker__svc_body_take(tinker__svc_req_t *r, const char *data, size_t len) {
  r->came += len;
  if (r->fate != TINKER__BODY_KEPT) return;
  if (r->came > r->body.max) {
    drop(r, TINKER__BODY_TOO_LARGE);
  } else if (!tinker__svc_body_hold(r, r->came)) {
    drop(r, TINKER__BODY_CROWDED);
  } else {
    tinker__buf_add(&r->body, data, len);
  }
}

bool tinker__svc_body_endless(const tinker__svc_req_t *r) {
  return r->fate != TINKER__BODY_KEPT &&
         r->came > 2 * (size_t)r->service->config.max_body;
}

bool tinker__svc_body_hold(tinker__svc_req_t *r, size_t len) {
  tinker__svc_t *s = r->service;
  if (len <= TINY || len <= r->share) return true;
  size_t more = len - r->share;
  size_t most = atomic_load(&s->max_bodies);
  if (atomic_fetch_add(&s->body_bytes, more) + more > most) {
    atomic_fetch_sub(&s->body_bytes, more);
    return false;
  }
  r->share = len;
  return true;
}

/* The decoded body is in memory already. If r is alone it is let in, however
 * large. */
bool tinker__svc_body_decoded(tinker__svc_req_t *r, size_t bytes) {
  tinker__svc_t *s = r->service;
  size_t counted = r->body.len + bytes;
  counted = counted / TINKER__BODY_FACTOR + (counted % TINKER__BODY_FACTOR > 0);
  if (tinker__svc_body_hold(r, counted)) return true;
  if (atomic_load(&s->body_bytes) <= r->share) {
    atomic_fetch_add(&s->body_bytes, counted - r->share);
    r->share = counted;
    return true;
  }
  tinker__svc_reply_crowded(r);
  return false;
}

void tinker__svc_body_release(tinker__svc_req_t *r) {
  atomic_fetch_sub(&r->service->body_bytes, r->share);
  r->share = 0;
}

bool tinker__svc_body_refused(tinker__svc_req_t *r) {
  if (r->fate == TINKER__BODY_TOO_LARGE) {
    size_t room = atomic_load(&r->service->max_bodies);
    tinker__svc_reply_error(
        r, 413,
        "the body has %zu bytes: larger than the %zu that %s "
        "takes%s",
        r->came, r->body.max, r->route->path,
        r->body.max == room ? ", for want of memory (--max-memory)" : "");
  } else if (r->fate == TINKER__BODY_CROWDED) {
    tinker__svc_reply_crowded(r);
  }
  return r->fate == TINKER__BODY_TOO_LARGE || r->fate == TINKER__BODY_CROWDED;
}

void tinker__svc_reply_crowded(tinker__svc_req_t *r) {
  r->retry_after_s = 1;
  tinker__svc_reply_error(
      r, 503,
      "the bodies of all requests under way may hold %zu bytes together, and "
      "hold %zu: send the same request again",
      atomic_load(&r->service->max_bodies),
      atomic_load(&r->service->body_bytes));
}
