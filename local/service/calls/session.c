/* session: what the service knows of a session, and whether it lives. Under the
 * service's lock. */
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

int tinker__svc_session_describe(tinker__svc_t *s, tinker__svc_session_t *n,
                                 tinker__str_t body, char *why,
                                 size_t why_len) {
  tinker__svc_body_t b;
  tinker__str_t tags, metadata = TINKER__STR(""), name, project;
  bool has_name = false, has_project = false;
  const tinker__svc_field_t fields[] = {
      {"tags", TINKER__FIELD_RAW, false, &tags, NULL},
      {"user_metadata", TINKER__FIELD_RAW, false, &metadata, NULL},
      {"display_name", TINKER__FIELD_STR, false, &name, &has_name},
      {"project_id", TINKER__FIELD_STR, false, &project, &has_project}};
  int rc =
      tinker__svc_body_parse(&b, s->mem, body, "", fields, 4, why, why_len);
  if (rc == 0 && metadata.len) {
    n->metadata = tinker__mem_strndup(s->mem, metadata.ptr, metadata.len);
    if (!n->metadata) rc = TINKER_ENOMEM;
  }
  if (rc == 0 && has_name) {
    n->display_name = tinker__mem_strndup(s->mem, name.ptr, name.len);
    if (!n->display_name) rc = TINKER_ENOMEM;
  }
  if (rc == 0 && has_project) {
    n->project = tinker__mem_strndup(s->mem, project.ptr, project.len);
    if (!n->project) rc = TINKER_ENOMEM;
  }
  tinker__svc_body_done(&b);
  return rc;
}

tinker__svc_session_t *tinker__svc_session_find(tinker__svc_t *s,
                                                tinker__svc_req_t *r,
                                                tinker__str_t id) {
  tinker__svc_session_t *n = tinker__map_get(s->session_by_id, id);
  if (tinker__svc_ends(s)) {
    tinker__svc_reply_error(r, 503, "the service is shutting down");
    return NULL;
  }
  if (!n) {
    tinker__svc_reply_error(r, 404, "session not found: %.*s",
                            (int)(id.len < 100 ? id.len : 100), id.ptr);
    return NULL;
  }
  if (n->ended_ms) {
    tinker__svc_reply_error(r, 410, "session %s has ended (%s)", n->id,
                            n->end_reason ? n->end_reason : "finished");
    return NULL;
  }
  n->seen_ms = s->world->now_ms(s->world->user);
  return n;
}

/* Nothing is taken on that could not be stored: a heartbeat need not be. */
tinker__svc_session_t *tinker__svc_session_live(tinker__svc_t *s,
                                                tinker__svc_req_t *r,
                                                tinker__str_t id) {
  tinker__svc_session_t *n = tinker__svc_session_find(s, r, id);
  if (!n || atomic_load(&s->locked_ms) < TINKER__STUCK_MS) return n;
  tinker__svc_reply_error(r, 503, "another process holds a lock on the store");
  return NULL;
}
