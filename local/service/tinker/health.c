/* health: is the process there, and can anything be expected of it. HTTP
 * thread. */
#include "service/tinker/handlers.h"

/* A step is a small piece of a pass: no healthy one takes as long. */
#define STALL_MS 600000

tinker__svc_handled_t tinker__svc_handle_healthz(tinker__svc_t *s,
                                                 tinker__svc_req_t *r) {
  (void)s;
  return tinker__svc_reply_text(r, "{\"status\":\"ok\"}");
}

/* Why nothing can be expected of the service now; NULL = it works. */
static const char *not_ready(tinker__svc_t *s) {
  if (!atomic_load(&s->ready)) return "the base models are being loaded";
  if (tinker__svc_ends(s)) return "the service is shutting down";
  int64_t now = s->world->now_ms(s->world->user);
  if (s->beat % 2 && now - s->beat_ms > STALL_MS) {
    return "the engine has been in one step for ten minutes";
  }
  return NULL;
}

tinker__svc_handled_t tinker__svc_handle_ready(tinker__svc_t *s,
                                               tinker__svc_req_t *r) {
  tinker__jsonw_t w;
  tinker__svc_lock(s);
  const char *why = not_ready(s);
  tinker__svc_unlock(s);
  tinker__svc_reply_json(r, &w);
  r->status = why ? 503 : 200;
  tinker__jsonw_begin_object(&w);
  tinker__jsonw_key(&w, "ready");
  tinker__jsonw_bool(&w, !why);
  if (why) {
    tinker__jsonw_key(&w, "why");
    tinker__jsonw_cstr(&w, why);
  }
  tinker__jsonw_end_object(&w);
  return TINKER__ANSWERED;
}
