/* health: the calls that say whether the process is alive and whether it can do
 * its work. HTTP thread. */
#include "service/tinker/handlers.h"
#include "wire/bind_rows.h"

/* A step is a small piece of work; a healthy one ends long before this. */
#define STALL_MS 600000

tinker__svc_handled_t tinker__svc_handle_healthz(tinker__svc_t *s,
                                                 tinker__svc_req_t *r) {
  (void)s;
  tinker__health_reply_t reply = {"ok"};
  return tinker__svc_reply_message(r, &tinker__health_reply_msg, &reply);
}

/* Why the service can't do its work now; NULL = it can. */
static const char *not_ready(tinker__svc_t *s) {
  if (!atomic_load(&s->ready)) return "the base models are being loaded";
  if (tinker__svc_ends(s)) return "the service is shutting down";
  int64_t now = s->world->now_ms(s->world->user);
  if (s->beat % 2 && now - s->beat_ms > STALL_MS) {
    return "the engine has been in one step for ten minutes";
  }
  return NULL;
}

typedef struct tinker__svc_ready_s {
  bool ready;
  const char *why; /* it is not ready; NULL = it is */
} tinker__svc_ready_t;
static const tinker__bind_field_t ready_rows[] = {
    ROW(tinker__svc_ready_t, BOOL, ready, 0),
    ROW(tinker__svc_ready_t, STR, why, 0)};
static const tinker__bind_table_t ready_msg =
    TABLE(ready_rows, tinker__svc_ready_t, NULL, NULL);

tinker__svc_handled_t tinker__svc_handle_ready(tinker__svc_t *s,
                                               tinker__svc_req_t *r) {
  tinker__svc_lock(s);
  const char *why = not_ready(s);
  tinker__svc_unlock(s);
  tinker__svc_ready_t reply = {!why, why};
  tinker__svc_reply_message(r, &ready_msg, &reply);
  r->status = why ? 503 : 200;
  return TINKER__ANSWERED;
}
