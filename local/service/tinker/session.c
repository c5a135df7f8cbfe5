/* session: sessions, their heartbeat and end, and the calls that need no
 * model. HTTP thread; acks on the store thread. */
#include <stdio.h>
#include <string.h>

#include <tinker/error.h>

#include "base/show.h"
#include "service/tinker/handlers.h"

/* --- Sessions ------------------------------------------------------------- */

/* The row of a new session is stored, or not. Store thread. */
static void on_session_stored(void *user, int rc) {
  tinker__svc_session_t *n = user;
  tinker__svc_t *s = n->service;
  pthread_mutex_lock(&s->lock);
  if (rc == 0) {
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
  pthread_mutex_unlock(&s->lock);
}

static void reply_session(tinker__svc_req_t *r,
                          const tinker__svc_session_t *n) {
  tinker__jsonw_t w;
  tinker__svc_reply_json(r, &w);
  tinker__jsonw_begin_object(&w);
  tinker__jsonw_key(&w, "type");
  tinker__jsonw_cstr(&w, "create_session");
  tinker__jsonw_key(&w, "session_id");
  tinker__jsonw_cstr(&w, n->id);
  tinker__jsonw_end_object(&w);
}

static int submit_session(tinker__svc_t *s, tinker__svc_session_t *n,
                          tinker__str_t body) {
  tinker__svc_write_t *w =
      tinker__svc_write_new(s->store, on_session_stored, n);
  tinker__svc_write_sql(w, "INSERT INTO sessions(row, id, created_ms, idem_key,"
                           " digest, body) VALUES(?, ?, ?, ?, ?, ?)");
  tinker__svc_write_i64(w, n->row);
  tinker__svc_write_text(w, n->id);
  tinker__svc_write_i64(w, n->created_ms);
  tinker__svc_write_text(w, n->idem_key);
  tinker__svc_write_blob(w, n->digest, sizeof n->digest);
  tinker__svc_write_blob(w, body.ptr, body.len);
  return tinker__svc_write_submit(w);
}

static tinker__svc_session_t *session_new(tinker__svc_t *s, tinker__str_t key,
                                          const unsigned char *digest) {
  tinker__svc_session_t *n = tinker__mem_zalloc(s->mem, sizeof *n);
  if (!n) return NULL;
  tinker__list_init(&n->link);
  tinker__list_init(&n->models);
  tinker__list_init(&n->samplers);
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
                                          const unsigned char *digest) {
  char why[200] = "";
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
    int rc = n ? tinker__svc_session_describe(s, n, tinker__buf_str(&r->body),
                                              why, sizeof why)
               : TINKER_ENOMEM;
    if (rc == 0) rc = tinker__svc_session_add(s, n);
    if (rc != 0) {
      tinker__svc_session_free(s, n);
      return tinker__svc_reply_why(r, rc, 422, why);
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
  return tinker__svc_ack_wait(&n->ack, r);
}

/* tags: a list of strings; user_metadata: an object. Empty = absent. */
static const char *wrong_session(tinker__mem_t *mem, tinker__str_t tags,
                                 tinker__str_t metadata) {
  tinker__json_t j;
  tinker__str_t tag;
  tinker__json_init(&j, mem, tags.ptr, tags.len);
  bool ok = !tags.len || tinker__json_array(&j);
  while (tags.len && ok && tinker__json_more(&j)) {
    ok = tinker__json_string(&j, &tag);
  }
  tinker__json_done(&j);
  if (!ok) return "tags: must be a list of strings";
  if (metadata.len && metadata.ptr[0] != '{') {
    return "user_metadata: must be an object";
  }
  return NULL;
}

tinker__svc_handled_t tinker__svc_handle_create_session(tinker__svc_t *s,
                                                        tinker__svc_req_t *r) {
  tinker__svc_body_t b;
  tinker__str_t tags = TINKER__STR(""), metadata = TINKER__STR(""), text,
                name = TINKER__STR(""), project = TINKER__STR("");
  unsigned char digest[TINKER__SHA256_LEN];
  const tinker__svc_field_t fields[] = {
      {"tags", TINKER__FIELD_RAW, false, &tags, NULL},
      {"user_metadata", TINKER__FIELD_RAW, false, &metadata, NULL},
      {"sdk_version", TINKER__FIELD_STR, false, &text, NULL},
      {"project_id", TINKER__FIELD_STR, false, &project, NULL},
      {"display_name", TINKER__FIELD_STR, false, &name, NULL},
  };
  if (r->body.len > TINKER__MAX_SESSION_BODY) {
    return tinker__svc_reply_error(
        r, 422,
        "create_session: the body, user_metadata included, has %zu bytes and "
        "may have at most %d",
        r->body.len, TINKER__MAX_SESSION_BODY);
  }
  if (tinker__svc_body_read(&b, r, fields, 5) != 0) return TINKER__ANSWERED;
  const char *wrong = wrong_session(s->mem, tags, metadata);
  if (tinker__has_hidden(name)) {
    wrong = "display_name: control characters and marks of direction are not "
            "taken";
  } else if (tinker__has_hidden(project)) {
    wrong = "project_id: control characters and marks of direction are not "
            "taken";
  }
  tinker__svc_body_done(&b);
  if (wrong) return tinker__svc_reply_error(r, 422, "%s", wrong);
  if (tinker__svc_body_digest(s->mem, tinker__buf_str(&r->body), NULL,
                              digest)) {
    return tinker__svc_reply_error(r, 503, "out of memory");
  }
  pthread_mutex_lock(&s->lock);
  tinker__svc_handled_t h = make_session(s, r, digest);
  pthread_mutex_unlock(&s->lock);
  return h;
}

tinker__svc_handled_t tinker__svc_handle_heartbeat(tinker__svc_t *s,
                                                   tinker__svc_req_t *r) {
  tinker__svc_body_t b;
  tinker__str_t id;
  const tinker__svc_field_t fields[] = {
      {"session_id", TINKER__FIELD_STR, true, &id, NULL}};
  if (tinker__svc_body_read(&b, r, fields, 1) != 0) return TINKER__ANSWERED;
  pthread_mutex_lock(&s->lock);
  if (tinker__svc_session_find(s, r, id)) {
    tinker__svc_reply_text(r, "{\"type\":\"session_heartbeat\"}");
  }
  pthread_mutex_unlock(&s->lock);
  tinker__svc_body_done(&b);
  return TINKER__ANSWERED;
}

/* --- The end of a session ------------------------------------------------- */

/* Under the lock. The first reason wins; a repeat waits for it to be stored. */
static tinker__svc_handled_t finish(tinker__svc_t *s, tinker__svc_req_t *r,
                                    const char *reason) {
  tinker__svc_session_t *n = tinker__map_get(s->session_by_id, r->capture[0]);
  if (tinker__svc_ends(s)) {
    return tinker__svc_reply_error(r, 503, "the service is shutting down");
  }
  if (!n || (!n->ack.durable && !n->ended_ms)) {
    return tinker__svc_reply_error(r, 404, "session not found: %.*s",
                                   (int)r->capture[0].len, r->capture[0].ptr);
  }
  tinker__svc_reply_text(r, "{}");
  if (n->ended_ms) return tinker__svc_ack_wait(&n->ack, r);
  if (tinker__svc_session_end(s, n, reason) != 0) {
    return tinker__svc_reply_error(r, 503, "out of memory");
  }
  return tinker__svc_ack_wait(&n->ack, r);
}

static bool is_finish(tinker__str_t type) {
  return tinker__str_eqs(type, "success") || tinker__str_eqs(type, "errored") ||
         tinker__str_eqs(type, "interrupted");
}

tinker__svc_handled_t tinker__svc_handle_finish_session(tinker__svc_t *s,
                                                        tinker__svc_req_t *r) {
  char why[200], text[200] = "finished";
  tinker__svc_body_t b, inner;
  tinker__str_t reason = TINKER__STR(""), type = TINKER__STR("success"),
                detail = TINKER__STR("");
  const tinker__svc_field_t fields[] = {
      {"reason", TINKER__FIELD_RAW, false, &reason, NULL},
      {"detail", TINKER__FIELD_STR, false, &detail, NULL}};
  const tinker__svc_field_t type_field[] = {
      {"type", TINKER__FIELD_STR, true, &type, NULL}};
  if (tinker__svc_body_read(&b, r, fields, 2) != 0) return TINKER__ANSWERED;
  if (reason.len) {
    int rc = tinker__svc_body_parse(&inner, s->mem, reason, "reason.",
                                    type_field, 1, why, sizeof why);
    if (rc == 0 && !is_finish(type)) {
      rc = tinker__why(why, sizeof why, TINKER_EINVAL,
                       "reason.type must be success, errored or interrupted");
    }
    if (rc == 0) {
      snprintf(text, sizeof text, "%.*s%s%.*s",
               (int)(type.len < 40 ? type.len : 40), type.ptr,
               detail.len ? ": " : "",
               (int)(detail.len < 120 ? detail.len : 120), detail.ptr);
    }
    tinker__svc_body_done(&inner);
    if (rc != 0) {
      tinker__svc_body_done(&b);
      return tinker__svc_reply_why(r, rc, 422, why);
    }
  }
  pthread_mutex_lock(&s->lock);
  tinker__svc_handled_t h = finish(s, r, text);
  pthread_mutex_unlock(&s->lock);
  tinker__svc_body_done(&b);
  return h;
}

/* --- Calls without a session ---------------------------------------------- */

/* Thrown away unread, whatever it is: the official SDK up to 0.36 sends a
 * batch that was refused again, every second and for ever. */
tinker__svc_handled_t tinker__svc_handle_telemetry(tinker__svc_t *s,
                                                   tinker__svc_req_t *r) {
  (void)s;
  return tinker__svc_reply_text(r, "{\"status\":\"accepted\"}");
}

tinker__svc_handled_t tinker__svc_handle_capabilities(tinker__svc_t *s,
                                                      tinker__svc_req_t *r) {
  tinker__jsonw_t w;
  tinker__svc_reply_json(r, &w);
  tinker__jsonw_begin_object(&w);
  tinker__jsonw_key(&w, "supported_models");
  tinker__jsonw_begin_array(&w);
  pthread_mutex_lock(&s->lock);
  for (size_t i = 0; i < s->n_bases; i++) {
    if (s->bases[i].state != TINKER__BASE_LOADED) continue;
    tinker__jsonw_begin_object(&w);
    tinker__jsonw_key(&w, "model_name");
    tinker__jsonw_cstr(&w, s->bases[i].name);
    tinker__jsonw_key(&w, "max_context_length");
    tinker__jsonw_u64(&w, s->bases[i].info.context_length);
    tinker__jsonw_key(&w, "trainable");
    tinker__jsonw_bool(&w,
                       s->bases[i].backend->api->caps & TINKER_ENGINE_TRAINS);
    tinker__jsonw_key(&w, "sampleable");
    tinker__jsonw_bool(&w, true);
    tinker__jsonw_end_object(&w);
  }
  pthread_mutex_unlock(&s->lock);
  tinker__jsonw_end_array(&w);
  tinker__jsonw_end_object(&w);
  return TINKER__ANSWERED;
}
