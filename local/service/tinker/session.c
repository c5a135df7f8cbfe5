/* session: sessions, their heartbeat and end, and the calls that need no
 * model. HTTP thread; acks on the store thread. */
#include <stdio.h>
#include <string.h>

#include <tinker/error.h>

#include "service/fault/fault.h"
#include "service/tinker/handlers.h"

/* --- Acks ----------------------------------------------------------------- */

void tinker__svc_ack_init(tinker__svc_ack_t *a) {
  a->durable = false;
  tinker__list_init(&a->waiters);
}

tinker__svc_handled_t tinker__svc_ack_wait(tinker__svc_ack_t *a,
                                           tinker__svc_req_t *r) {
  if (a->durable) return TINKER__ANSWERED;
  tinker__list_push_back(&a->waiters, &r->link);
  return TINKER__PARKED;
}

void tinker__svc_ack_commit(tinker__svc_t *s, tinker__svc_ack_t *a) {
  tinker__link_t *l;
  (void)s;
  a->durable = true;
  while ((l = tinker__list_pop_front(&a->waiters)) != NULL) {
    tinker__svc_req_resume(TINKER__CONTAINER(l, tinker__svc_req_t, link));
  }
}

void tinker__svc_ack_fail(tinker__svc_t *s, tinker__svc_ack_t *a) {
  tinker__link_t *l;
  (void)s;
  while ((l = tinker__list_pop_front(&a->waiters)) != NULL) {
    tinker__svc_req_t *r = TINKER__CONTAINER(l, tinker__svc_req_t, link);
    tinker__svc_reply_error(
        r, 503, "the request could not be stored; nothing was changed");
    tinker__svc_req_resume(r);
  }
}

tinker__svc_handled_t tinker__svc_reply_why(tinker__svc_req_t *r, int rc,
                                            int status, const char *why) {
  if (rc == TINKER_ENOMEM) {
    return tinker__svc_reply_error(r, 503, "out of memory");
  }
  return tinker__svc_reply_error(r, status, "%s", why);
}

/* --- Sessions ------------------------------------------------------------- */

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

tinker__svc_session_t *tinker__svc_session_live(tinker__svc_t *s,
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

/* The row of a new session is stored, or not. Store thread. */
static void on_session_stored(void *user, int rc) {
  tinker__svc_session_t *n = user;
  tinker__svc_t *s = n->service;
  pthread_mutex_lock(&s->lock);
  if (rc == 0) {
    tinker__svc_ledger_other(s, "create_session", n->id);
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
  tinker__str_t tags = TINKER__STR(""), metadata = TINKER__STR(""), text;
  unsigned char digest[TINKER__SHA256_LEN];
  const tinker__svc_field_t fields[] = {
      {"tags", TINKER__FIELD_RAW, false, &tags, NULL},
      {"user_metadata", TINKER__FIELD_RAW, false, &metadata, NULL},
      {"sdk_version", TINKER__FIELD_STR, false, &text, NULL},
      {"project_id", TINKER__FIELD_STR, false, &text, NULL},
      {"display_name", TINKER__FIELD_STR, false, &text, NULL},
  };
  if (tinker__svc_body_read(&b, r, fields, 5) != 0) return TINKER__ANSWERED;
  const char *wrong = wrong_session(s->mem, tags, metadata);
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
  if (tinker__svc_session_live(s, r, id)) {
    tinker__svc_reply_text(r, "{\"type\":\"session_heartbeat\"}");
  }
  pthread_mutex_unlock(&s->lock);
  tinker__svc_body_done(&b);
  return TINKER__ANSWERED;
}

/* --- The end of a session ------------------------------------------------- */

/* Until this is stored the ack of the session holds those who ended it. */
static void on_end_stored(void *user, int rc) {
  tinker__svc_session_t *n = user;
  tinker__svc_t *s = n->service;
  if (rc != 0) tinker__svc_fatal(s, "a session's end could not be stored");
  pthread_mutex_lock(&s->lock);
  if (rc == 0) {
    tinker__svc_ledger_other(s, "sessions/*/finish", n->id);
    tinker__svc_ack_commit(s, &n->ack);
  } else {
    tinker__svc_ack_fail(s, &n->ack);
  }
  pthread_mutex_unlock(&s->lock);
}

int tinker__svc_session_end(tinker__svc_t *s, tinker__svc_session_t *n,
                            const char *reason) {
  int64_t now = s->world->wall_ms(s->world->user);
  tinker__svc_write_t *w = tinker__svc_write_new(s->store, on_end_stored, n);
  tinker__svc_write_sql(
      w, "UPDATE sessions SET ended_ms = ?, end_reason = ? WHERE row = ?");
  tinker__svc_write_i64(w, now);
  tinker__svc_write_text(w, reason);
  tinker__svc_write_i64(w, n->row);
  int rc = tinker__svc_write_submit(w);
  if (rc != 0) return rc;
  n->ack.durable = false;
  n->ended_ms = now;
  n->end_reason = tinker__mem_strdup(s->mem, reason);
  TINKER__LIST_EACH(l, tmp, &n->models) {
    tinker__svc_model_end(
        TINKER__CONTAINER(l, tinker__svc_model_t, by_session));
  }
  TINKER__LIST_EACH(k, next, &n->samplers) {
    tinker__svc_sampler_end(
        TINKER__CONTAINER(k, tinker__svc_sampler_t, by_session));
  }
  return 0;
}

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

void tinker__svc_session_expire(tinker__svc_t *s, int64_t now_ms) {
  TINKER__LIST_EACH(l, tmp, &s->sessions) {
    tinker__svc_session_t *n =
        TINKER__CONTAINER(l, tinker__svc_session_t, link);
    if (n->ended_ms || !n->ack.durable ||
        now_ms - n->seen_ms < s->config.session_ms) {
      continue;
    }
    /* Without memory: at the next tick. */
    tinker__svc_session_end(s, n, "no heartbeat");
  }
}

static bool has_pending(const tinker__link_t *ops) {
  TINKER__LIST_EACH(l, tmp, ops) {
    const tinker__svc_op_t *op = TINKER__CONTAINER(l, tinker__svc_op_t, all);
    if (op->state == TINKER__SVC_OP_PENDING || !op->ack.durable) return true;
  }
  return false;
}

/* Something of it is still to be executed. Calls that are done, or were
 * refused, are what the next ones stand on, after a restart too. */
static bool is_under_way(const tinker__svc_session_t *n) {
  TINKER__LIST_EACH(l, tmp, &n->models) {
    const tinker__svc_model_t *m =
        TINKER__CONTAINER(l, tinker__svc_model_t, by_session);
    if (m->current || !tinker__list_empty(&m->pending) ||
        has_pending(&m->ops)) {
      return true;
    }
  }
  TINKER__LIST_EACH(k, next, &n->samplers) {
    if (has_pending(
            &TINKER__CONTAINER(k, tinker__svc_sampler_t, by_session)->ops)) {
      return true;
    }
  }
  return false;
}

/* Results of one owner: out of memory; the caller drops the rows. */
static void drop_ops(tinker__svc_t *s, tinker__link_t *ops) {
  TINKER__LIST_EACH(l, tmp, ops) {
    tinker__svc_op_t *op = TINKER__CONTAINER(l, tinker__svc_op_t, all);
    tinker__map_remove(s->op_by_id, tinker__str(op->request_id));
    tinker__list_remove(&op->all);
    tinker__list_remove(&op->link);
    tinker__svc_op_free(op);
  }
}

static void drop_rows(tinker__svc_write_t *w, int owner_kind, int64_t owner) {
  tinker__svc_write_sql(
      w, "DELETE FROM requests WHERE owner_kind = ? AND owner = ?"
         " AND state != 0");
  tinker__svc_write_i64(w, owner_kind);
  tinker__svc_write_i64(w, owner);
}

/* Snapshots are for the calls to come: there are none. Store thread. */
static void on_purged(void *user, int rc) {
  char dir[1200];
  tinker__svc_session_t *n = user;
  tinker__svc_t *s = n->service;
  if (rc != 0) return; /* at the next start */
  TINKER__LIST_EACH(l, tmp, &n->models) {
    tinker__svc_model_t *m =
        TINKER__CONTAINER(l, tinker__svc_model_t, by_session);
    pthread_mutex_lock(&s->lock);
    int64_t row = m->snapshot;
    m->snapshot = 0;
    pthread_mutex_unlock(&s->lock);
    tinker__svc_checkpoint_dir(s, "snapshots", row, dir, sizeof dir);
    if (row) tinker__svc_folder_remove(dir);
  }
}

static void purge(tinker__svc_t *s, tinker__svc_session_t *n) {
  tinker__svc_write_t *w = tinker__svc_write_new(s->store, on_purged, n);
  tinker__svc_write_sql(w,
                        "UPDATE models SET snapshot = NULL, snapshot_seq = NULL"
                        " WHERE session = ?");
  tinker__svc_write_i64(w, n->row);
  TINKER__LIST_EACH(l, tmp, &n->models) {
    tinker__svc_model_t *m =
        TINKER__CONTAINER(l, tinker__svc_model_t, by_session);
    drop_ops(s, &m->ops);
    drop_rows(w, 0, m->row);
  }
  TINKER__LIST_EACH(l, tmp, &n->samplers) {
    tinker__svc_sampler_t *p =
        TINKER__CONTAINER(l, tinker__svc_sampler_t, by_session);
    drop_ops(s, &p->ops);
    drop_rows(w, 1, p->row);
  }
  n->purged = true;
  tinker__svc_write_submit(w);
}

void tinker__svc_session_purge(tinker__svc_t *s) {
  int64_t now = s->world->wall_ms(s->world->user);
  TINKER__LIST_EACH(l, tmp, &s->sessions) {
    tinker__svc_session_t *n =
        TINKER__CONTAINER(l, tinker__svc_session_t, link);
    if (!n->ended_ms || n->purged) continue;
    if (now - n->ended_ms < s->config.keep_ms || is_under_way(n)) continue;
    purge(s, n);
  }
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
  for (size_t i = 0; i < s->n_bases; i++) {
    tinker__jsonw_begin_object(&w);
    tinker__jsonw_key(&w, "model_name");
    tinker__jsonw_cstr(&w, s->bases[i].name);
    tinker__jsonw_key(&w, "max_context_length");
    tinker__jsonw_u64(&w, s->bases[i].info.context_length);
    tinker__jsonw_key(&w, "trainable");
    tinker__jsonw_bool(&w, true);
    tinker__jsonw_key(&w, "sampleable");
    tinker__jsonw_bool(&w, true);
    tinker__jsonw_end_object(&w);
  }
  tinker__jsonw_end_array(&w);
  tinker__jsonw_end_object(&w);
  return TINKER__ANSWERED;
}
