/* session: adds, describes and finds sessions. Under the service's lock. */
#include <string.h>

#include <tinker/error.h>

#include "service/calls/calls.h"
#include "service/parse/body.h"

int tinker__svc_session_add(tinker__svc_t *s, tinker__svc_session_t *n) {
  int rc = tinker__map_put(s->session_by_id, tinker__str(n->id), n, NULL);
  if (rc == 0 && n->idem_key) {
    rc = tinker__map_put(s->session_by_key, tinker__str(n->idem_key), n, NULL);
    if (rc != 0) tinker__map_remove(s->session_by_id, tinker__str(n->id));
  }
  if (rc == 0) tinker__list_push_back(&s->sessions, &n->link);
  return rc;
}

void tinker__svc_session_free(tinker__svc_t *s, tinker__svc_session_t *n) {
  if (!n) return;
  tinker__mem_free(s->mem, n->idem_key);
  tinker__mem_free(s->mem, n->metadata);
  tinker__mem_free(s->mem, n->display_name);
  tinker__mem_free(s->mem, n->project);
  tinker__mem_free(s->mem, n->end_reason);
  tinker__mem_free(s->mem, n);
}

/* Copies text, which may be NULL. */
static bool keep(tinker__mem_t *mem, char **out, const char *text) {
  *out = text ? tinker__mem_strdup(mem, text) : NULL;
  return *out || !text;
}

int tinker__svc_session_describe(tinker__svc_t *s, tinker__svc_session_t *n,
                                 const tinker__create_session_t *m) {
  const char *metadata = m->user_metadata.len ? m->user_metadata.ptr : NULL;
  bool ok = keep(s->mem, &n->metadata, metadata) &&
            keep(s->mem, &n->display_name, m->display_name) &&
            keep(s->mem, &n->project, m->project_id);
  return ok ? 0 : TINKER_ENOMEM;
}

tinker__svc_session_t *tinker__svc_session_find(tinker__svc_t *s,
                                                tinker__svc_req_t *r,
                                                tinker__str_t id) {
  tinker__svc_session_t *n = tinker__map_get(s->session_by_id, id);
  if (tinker__svc_ends(s)) {
    tinker__svc_reply_error(r, 503, "the service is shutting down");
    return NULL;
  }
  if (!n || n->state == TINKER__SVC_SESSION_STORING) {
    tinker__svc_reply_error(r, 404, "session not found: %.*s",
                            (int)(id.len < 100 ? id.len : 100), id.ptr);
    return NULL;
  }
  if (tinker__svc_session_over(n)) {
    tinker__svc_reply_error(r, 410, "session %s has ended (%s)", n->id,
                            n->end_reason ? n->end_reason : "finished");
    return NULL;
  }
  n->seen_ms = s->world->now_ms(s->world->user);
  return n;
}

/* No call is accepted that could not be stored. A heartbeat is not stored, so
 * it uses session_find. */
tinker__svc_session_t *tinker__svc_session_live(tinker__svc_t *s,
                                                tinker__svc_req_t *r,
                                                tinker__str_t id) {
  tinker__svc_session_t *n = tinker__svc_session_find(s, r, id);
  if (!n || atomic_load(&s->locked_ms) < TINKER__STUCK_MS) return n;
  tinker__svc_reply_error(r, 503, "another process holds a lock on the store");
  return NULL;
}
