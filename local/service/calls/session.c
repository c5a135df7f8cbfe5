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

/* Notes a sign of life of n. False = the service ends (n may be NULL then), or
 * the session has ended; r is answered. */
static bool is_live(tinker__svc_t *s, tinker__svc_req_t *r,
                    tinker__svc_session_t *n) {
  if (tinker__svc_ends(s)) {
    tinker__svc_reply_error(r, 503, "the service is shutting down");
    return false;
  }
  if (tinker__svc_session_over(n)) {
    tinker__svc_reply_error(r, 410, "session %s has ended (%s)", n->id,
                            n->end_reason ? n->end_reason : "finished");
    return false;
  }
  n->seen_ms = s->world->now_ms(s->world->user);
  return true;
}

tinker__svc_session_t *tinker__svc_session_find(tinker__svc_t *s,
                                                tinker__svc_req_t *r,
                                                tinker__str_t id) {
  tinker__svc_session_t *n = tinker__map_get(s->session_by_id, id);
  bool known = n && n->state != TINKER__SVC_SESSION_STORING;
  if (!known && !tinker__svc_ends(s)) {
    tinker__svc_reply_error(r, 404, "session not found: %.*s",
                            (int)(id.len < 100 ? id.len : 100), id.ptr);
    return NULL;
  }
  return is_live(s, r, n) ? n : NULL;
}

/* No call is accepted that could not be stored. A heartbeat is not stored, so
 * it uses session_find. */
static bool is_stored(tinker__svc_t *s, tinker__svc_req_t *r) {
  if (atomic_load(&s->locked_ms) < TINKER__STUCK_MS) return true;
  tinker__svc_reply_error(r, 503, "another process holds a lock on the store");
  return false;
}

tinker__svc_session_t *tinker__svc_session_live(tinker__svc_t *s,
                                                tinker__svc_req_t *r,
                                                tinker__str_t id) {
  tinker__svc_session_t *n = tinker__svc_session_find(s, r, id);
  return n && is_stored(s, r) ? n : NULL;
}

bool tinker__svc_session_arrive(tinker__svc_t *s, tinker__svc_req_t *r,
                                tinker__svc_session_t *n) {
  n->arriving--;
  return is_live(s, r, n) && is_stored(s, r);
}
