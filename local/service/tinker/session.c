/* session: the calls that make and end sessions, their heartbeat, and the calls
 * that need no session. HTTP thread; acknowledgements on the store thread. */
#include <stdio.h>
#include <string.h>

#include <tinker/error.h>

#include "base/show.h"
#include "service/tinker/handlers.h"

/* --- Sessions ------------------------------------------------------------- */

/* Called when the row of a new session is stored, or could not be. Store
 * thread. */
static void on_session_stored(void *user, int rc) {
  tinker__svc_session_t *n = user;
  tinker__svc_t *s = n->service;
  tinker__svc_lock(s);
  if (rc == 0) {
    tinker__svc_session_move(n, TINKER__SVC_SESSION_LIVE);
    tinker__svc_other(s, "create_session", n->id);
    tinker__svc_ack_commit(s, &n->ack);
  } else {
    tinker__map_remove(s->session_by_id, tinker__str(n->id));
    if (n->idem_key) {
      tinker__map_remove(s->session_by_key, tinker__str(n->idem_key));
    }
    tinker__list_remove(&n->link);
    tinker__svc_ack_fail(s, &n->ack);
    tinker__svc_session_free(s, n);
  }
  tinker__svc_unlock(s);
}

/* A reply about n is sent when its state is stored. */
static tinker__svc_handled_t wait_stored(tinker__svc_session_t *n,
                                         tinker__svc_req_t *r) {
  bool stored = n->state != TINKER__SVC_SESSION_STORING &&
                n->state != TINKER__SVC_SESSION_ENDING;
  return tinker__svc_ack_again(&n->ack, r, stored);
}

static void reply_session(tinker__svc_req_t *r,
                          const tinker__svc_session_t *n) {
  tinker__create_session_reply_t reply = {.session_id = n->id};
  tinker__svc_reply_message(r, &tinker__create_session_reply_msg, &reply);
}

static int submit_session(tinker__svc_t *s, tinker__svc_session_t *n,
                          tinker__str_t body) {
  tinker__db_write_t *w = tinker__db_write_new(s->store, on_session_stored, n);
  tinker__db_write_sql(w, "INSERT INTO sessions(row, id, created_ms, idem_key,"
                          " digest, body) VALUES(?, ?, ?, ?, ?, ?)");
  tinker__db_write_i64(w, n->row);
  tinker__db_write_text(w, n->id);
  tinker__db_write_i64(w, n->created_ms);
  tinker__db_write_text(w, n->idem_key);
  tinker__db_write_blob(w, n->digest, sizeof n->digest);
  tinker__db_write_blob(w, body.ptr, body.len);
  return tinker__db_write_submit(w);
}

static tinker__svc_session_t *session_new(tinker__svc_t *s, tinker__str_t key,
                                          const unsigned char *digest) {
  tinker__svc_session_t *n = tinker__mem_zalloc(s->mem, sizeof *n);
  if (!n) return NULL;
  tinker__list_init(&n->link);
  tinker__list_init(&n->models);
  tinker__list_init(&n->samplers);
  tinker__list_init(&n->task.link);
  tinker__svc_ack_init(&n->ack);
  n->service = s;
  memcpy(n->digest, digest, sizeof n->digest);
  n->created_ms = s->world->wall_ms(s->world->user);
  n->seen_ms = s->world->now_ms(s->world->user);
  bool ok = tinker__uuid4(s->world, n->id) == 0;
  if (ok && key.len) {
    n->idem_key = tinker__mem_strndup(s->mem, key.ptr, key.len);
    ok = n->idem_key != NULL;
  }
  if (ok) return n;
  tinker__svc_session_free(s, n);
  return NULL;
}

/* Under the lock. */
static tinker__svc_handled_t make_session(tinker__svc_t *s,
                                          tinker__svc_req_t *r,
                                          const tinker__create_session_t *m,
                                          const unsigned char *digest) {
  tinker__str_t key = tinker__svc_req_header(r, "X-Idempotency-Key");
  tinker__svc_session_t *n = tinker__map_get(s->session_by_key, key);
  if (tinker__svc_ends(s)) {
    return tinker__svc_reply_error(r, 503, "the service is shutting down");
  }
  if (n && memcmp(n->digest, digest, sizeof n->digest) != 0) {
    return tinker__svc_reply_error(
        r, 409,
        "a session exists for this X-Idempotency-Key with other "
        "metadata");
  }
  if (!n) {
    n = session_new(s, key, digest);
    if (!n || tinker__svc_session_describe(s, n, m) != 0 ||
        tinker__svc_session_add(s, n) != 0) {
      tinker__svc_session_free(s, n);
      return tinker__svc_reply_error(r, 503, "out of memory");
    }
    n->row = tinker__svc_row(s);
    if (submit_session(s, n, tinker__buf_str(&r->body)) != 0) {
      tinker__map_remove(s->session_by_id, tinker__str(n->id));
      if (key.len) tinker__map_remove(s->session_by_key, key);
      tinker__list_remove(&n->link);
      tinker__svc_session_free(s, n);
      return tinker__svc_reply_error(r, 503, "out of memory");
    }
  }
  reply_session(r, n);
  return wait_stored(n, r);
}

static bool is_hidden(const char *text) {
  return text && tinker__has_hidden(tinker__str(text));
}

static const char *wrong_session(const tinker__create_session_t *m) {
  if (m->user_metadata.len && m->user_metadata.ptr[0] != '{') {
    return "user_metadata: must be an object";
  }
  if (is_hidden(m->display_name)) {
    return "display_name: control characters and marks of direction are not "
           "taken";
  }
  if (is_hidden(m->project_id)) {
    return "project_id: control characters and marks of direction are not "
           "taken";
  }
  return NULL;
}

tinker__svc_handled_t tinker__svc_handle_create_session(tinker__svc_t *s,
                                                        tinker__svc_req_t *r) {
  tinker__arena_t a;
  tinker__create_session_t m;
  unsigned char digest[TINKER__SHA256_LEN];
  tinker__svc_handled_t h;
  if (r->body.len > TINKER__MAX_SESSION_BODY) {
    return tinker__svc_reply_error(
        r, 422,
        "create_session: the body, user_metadata included, has %zu bytes and "
        "may have at most %d",
        r->body.len, TINKER__MAX_SESSION_BODY);
  }
  if (tinker__svc_body_read(r, &a, &tinker__create_session_msg, &m) != 0) {
    return TINKER__ANSWERED;
  }
  const char *wrong = wrong_session(&m);
  if (wrong) {
    h = tinker__svc_reply_error(r, 422, "%s", wrong);
  } else if (tinker__svc_body_digest(s->mem, tinker__buf_str(&r->body), NULL,
                                     digest)) {
    h = tinker__svc_reply_error(r, 503, "out of memory");
  } else {
    tinker__svc_lock(s);
    h = make_session(s, r, &m, digest);
    tinker__svc_unlock(s);
  }
  tinker__arena_free(&a);
  return h;
}

tinker__svc_handled_t tinker__svc_handle_heartbeat(tinker__svc_t *s,
                                                   tinker__svc_req_t *r) {
  tinker__arena_t a;
  tinker__heartbeat_t m;
  tinker__heartbeat_reply_t reply = {0};
  if (tinker__svc_body_read(r, &a, &tinker__heartbeat_msg, &m) != 0) {
    return TINKER__ANSWERED;
  }
  tinker__svc_lock(s);
  if (tinker__svc_session_find(s, r, tinker__str(m.session_id))) {
    tinker__svc_reply_message(r, &tinker__heartbeat_reply_msg, &reply);
  }
  tinker__svc_unlock(s);
  tinker__arena_free(&a);
  return TINKER__ANSWERED;
}

/* --- The end of a session ------------------------------------------------- */

/* Ends the session of r's path. The first reason is kept; a repeated call waits
 * until that one is stored. Under the lock. */
static tinker__svc_handled_t finish(tinker__svc_t *s, tinker__svc_req_t *r,
                                    const char *reason) {
  tinker__svc_session_t *n = tinker__map_get(s->session_by_id, r->capture[0]);
  if (tinker__svc_ends(s)) {
    return tinker__svc_reply_error(r, 503, "the service is shutting down");
  }
  if (!n || n->state == TINKER__SVC_SESSION_STORING) {
    return tinker__svc_reply_error(r, 404, "session not found: %.*s",
                                   (int)r->capture[0].len, r->capture[0].ptr);
  }
  tinker__svc_reply_text(r, "{}");
  if (!tinker__svc_session_over(n) &&
      tinker__svc_session_end(s, n, reason) != 0) {
    return tinker__svc_reply_error(r, 503, "out of memory");
  }
  return wait_stored(n, r);
}

static bool is_finish(const char *type) {
  return !strcmp(type, "success") || !strcmp(type, "errored") ||
         !strcmp(type, "interrupted");
}

tinker__svc_handled_t tinker__svc_handle_finish_session(tinker__svc_t *s,
                                                        tinker__svc_req_t *r) {
  char text[200] = "finished";
  tinker__arena_t a;
  tinker__finish_t m;
  tinker__svc_handled_t h;
  if (tinker__svc_body_read(r, &a, &tinker__finish_msg, &m) != 0) {
    return TINKER__ANSWERED;
  }
  if (m.has_reason && !is_finish(m.reason.type)) {
    h = tinker__svc_reply_error(
        r, 422, "reason.type must be success, errored or interrupted");
  } else {
    if (m.has_reason) {
      const char *detail = m.detail ? m.detail : "";
      snprintf(text, sizeof text, "%s%s%.120s", m.reason.type,
               *detail ? ": " : "", detail);
    }
    tinker__svc_lock(s);
    h = finish(s, r, text);
    tinker__svc_unlock(s);
  }
  tinker__arena_free(&a);
  return h;
}

/* --- Calls without a session ---------------------------------------------- */

/* Telemetry is thrown away unread and always accepted, because the official SDK
 * up to 0.36 sends a refused batch again, every second and for ever. */
tinker__svc_handled_t tinker__svc_handle_telemetry(tinker__svc_t *s,
                                                   tinker__svc_req_t *r) {
  (void)s;
  return tinker__svc_reply_text(r, "{\"status\":\"accepted\"}");
}

tinker__svc_handled_t tinker__svc_handle_capabilities(tinker__svc_t *s,
                                                      tinker__svc_req_t *r) {
  size_t n = 0;
  tinker__capability_t *items =
      tinker__mem_zalloc(s->mem, (s->n_bases + 1) * sizeof *items);
  if (!items) return tinker__svc_reply_error(r, 503, "out of memory");
  tinker__svc_lock(s);
  for (size_t i = 0; i < s->n_bases; i++) {
    const tinker__svc_base_model_t *base = &s->bases[i];
    if (base->state != TINKER__BASE_LOADED) continue;
    items[n++] = (tinker__capability_t){
        .model_name = base->name,
        .has_max_context_length = true,
        .max_context_length = (int64_t)base->info.context_length,
        .has_trainable = true,
        .trainable = base->backend->api->caps & TINKER_ENGINE_TRAINS,
        .has_sampleable = true,
        .sampleable = true,
    };
  }
  tinker__capabilities_reply_t reply = {{items, n}};
  tinker__svc_reply_message(r, &tinker__capabilities_reply_msg, &reply);
  tinker__svc_unlock(s);
  tinker__mem_free(s->mem, items);
  return TINKER__ANSWERED;
}
