/* rest: what exists: runs, checkpoints, sessions (protocol 2.6, 11). HTTP
 * thread, under the lock. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <tinker/error.h>

#include "service/tinker/handlers.h"

#define MAX_PAGE 1000

/* RFC 3339 with milliseconds, UTC. */
static void write_time(tinker__jsonw_t *w, const char *key, int64_t ms) {
  char text[40];
  time_t seconds = (time_t)(ms / 1000);
  struct tm tm;
  gmtime_r(&seconds, &tm);
  size_t n = strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%S", &tm);
  snprintf(text + n, sizeof text - n, ".%03dZ", (int)(ms % 1000));
  tinker__jsonw_key(w, key);
  tinker__jsonw_cstr(w, text);
}

/* user_metadata may hold any JSON where it comes in, but replies have strings:
 * what is none is shown as its JSON text (protocol 2.3, 11.1). json: an
 * object, or NULL. */
static void write_metadata(tinker__jsonw_t *w, const char *json) {
  tinker__json_t j;
  tinker__str_t key, value;
  tinker__jsonw_key(w, "user_metadata");
  if (!json) {
    tinker__jsonw_null(w);
    return;
  }
  tinker__json_init(&j, w->out->mem, json, strlen(json));
  tinker__jsonw_begin_object(w);
  bool ok = tinker__json_object(&j);
  while (ok && tinker__json_key(&j, &key)) {
    ok = tinker__json_peek(&j) == TINKER__JSON_STRING
             ? tinker__json_string(&j, &value)
             : tinker__json_raw(&j, &value);
    tinker__jsonw_keyn(w, key);
    tinker__jsonw_str(w, ok ? value : TINKER__STR(""));
  }
  tinker__jsonw_end_object(w);
  int rc = tinker__json_end(&j);
  if (rc != 0) tinker__buf_fail(w->out, rc);
  tinker__json_done(&j);
}

static void write_checkpoint(tinker__jsonw_t *w,
                             const tinker__svc_checkpoint_t *c) {
  char text[600];
  bool training = c->kind == TINKER__CKPT_TRAINING;
  const char *kind = training ? "weights" : "sampler_weights";
  tinker__jsonw_begin_object(w);
  snprintf(text, sizeof text, "%s/%s", kind, c->name);
  tinker__jsonw_key(w, "checkpoint_id");
  tinker__jsonw_cstr(w, text);
  tinker__jsonw_key(w, "checkpoint_type");
  tinker__jsonw_cstr(w, training ? "training" : "sampler");
  write_time(w, "time", c->created_ms);
  snprintf(text, sizeof text, "tinker://%s/%s/%s", c->model->id, kind, c->name);
  tinker__jsonw_key(w, "tinker_path");
  tinker__jsonw_cstr(w, text);
  tinker__jsonw_key(w, "size_bytes");
  tinker__jsonw_i64(w, c->size);
  tinker__jsonw_key(w, "public");
  tinker__jsonw_bool(w, c->published);
  write_metadata(w, c->metadata);
  if (c->expires_ms) write_time(w, "expires_at", c->expires_ms);
  if (c->pending_grad) {
    tinker__jsonw_key(w, "pending_gradients_not_saved");
    tinker__jsonw_bool(w, true);
  }
  tinker__jsonw_end_object(w);
}

/* What the fault plan lets this reader see: nothing young of a stale list, a
 * run as corrupted that is not. */
static bool hidden(const tinker__svc_req_t *r, int64_t created_ms) {
  const tinker__world_t *w = r->service->world;
  return r->stale_ms && created_ms > w->wall_ms(w->user) - r->stale_ms;
}

static bool corrupted(const tinker__svc_req_t *r,
                      const tinker__svc_model_t *m) {
  return r->shows_corrupted || (m->broken && !m->hides_broken);
}

static bool listed(const tinker__svc_req_t *r,
                   const tinker__svc_checkpoint_t *c) {
  return c->durable && c->name && !hidden(r, c->created_ms);
}

static void write_last(tinker__jsonw_t *w, const tinker__svc_req_t *r,
                       const char *key, const tinker__svc_model_t *m,
                       tinker__svc_ckpt_kind_t kind) {
  const tinker__svc_checkpoint_t *last = NULL;
  TINKER__LIST_EACH(l, tmp, &m->checkpoints) {
    tinker__svc_checkpoint_t *c =
        TINKER__CONTAINER(l, tinker__svc_checkpoint_t, link);
    if (listed(r, c) && c->kind == kind) last = c;
  }
  tinker__jsonw_key(w, key);
  if (last) {
    write_checkpoint(w, last);
  } else {
    tinker__jsonw_null(w);
  }
}

static void write_run(tinker__jsonw_t *w, const tinker__svc_req_t *r,
                      const tinker__svc_model_t *m) {
  tinker__jsonw_begin_object(w);
  tinker__jsonw_key(w, "training_run_id");
  tinker__jsonw_cstr(w, m->id);
  tinker__jsonw_key(w, "base_model");
  tinker__jsonw_cstr(w, m->base->name);
  tinker__jsonw_key(w, "model_owner");
  tinker__jsonw_cstr(w, "local");
  tinker__jsonw_key(w, "is_lora");
  tinker__jsonw_bool(w, true);
  tinker__jsonw_key(w, "corrupted");
  tinker__jsonw_bool(w, corrupted(r, m));
  tinker__jsonw_key(w, "lora_rank");
  tinker__jsonw_i64(w, m->lora.rank);
  write_time(w, "last_request_time", m->used_ms ? m->used_ms : m->created_ms);
  write_last(w, r, "last_checkpoint", m, TINKER__CKPT_TRAINING);
  write_last(w, r, "last_sampler_checkpoint", m, TINKER__CKPT_SAMPLER);
  write_metadata(w, m->metadata);
  tinker__jsonw_end_object(w);
}

/* --- Paging --------------------------------------------------------------- */

typedef struct {
  int64_t offset, limit, total;
} page_t;

/* limit, offset and access_scope of the query (whatever is here is owned by
 * whoever asks); true, or r is answered. */
static bool read_page(tinker__svc_req_t *r, int64_t limit, page_t *page) {
  const char *given_limit = tinker__svc_req_query(r, "limit");
  const char *given_offset = tinker__svc_req_query(r, "offset");
  const char *scope = tinker__svc_req_query(r, "access_scope");
  *page = (page_t){0, limit, 0};
  if ((given_limit &&
       tinker__parse_i64(tinker__str(given_limit), &page->limit)) ||
      page->limit < 1 || page->limit > MAX_PAGE) {
    tinker__svc_reply_error(r, 422, "limit must be from 1 to %d", MAX_PAGE);
    return false;
  }
  if ((given_offset &&
       tinker__parse_i64(tinker__str(given_offset), &page->offset)) ||
      page->offset < 0) {
    tinker__svc_reply_error(r, 422, "offset must be an integer from 0 up");
    return false;
  }
  if (scope && strcmp(scope, "owned") != 0 &&
      strcmp(scope, "accessible") != 0) {
    tinker__svc_reply_error(r, 422, "access_scope must be owned or accessible");
    return false;
  }
  return true;
}

/* Counts an element; true when it is on the page. */
static bool on_page(page_t *page) {
  int64_t at = page->total++;
  return at >= page->offset && at - page->offset < page->limit;
}

static void write_cursor(tinker__jsonw_t *w, const page_t *page) {
  tinker__jsonw_key(w, "cursor");
  tinker__jsonw_begin_object(w);
  tinker__jsonw_key(w, "offset");
  tinker__jsonw_i64(w, page->offset);
  tinker__jsonw_key(w, "limit");
  tinker__jsonw_i64(w, page->limit);
  tinker__jsonw_key(w, "total_count");
  tinker__jsonw_i64(w, page->total);
  tinker__jsonw_end_object(w);
}

/* --- Runs ----------------------------------------------------------------- */

static bool is_of_project(const tinker__svc_model_t *m, const char *id) {
  const char *own = m->session->project;
  return !id || (own && strcmp(own, id) == 0);
}

/* Newest first. */
tinker__svc_handled_t tinker__svc_handle_training_runs(tinker__svc_t *s,
                                                       tinker__svc_req_t *r) {
  page_t page;
  tinker__jsonw_t w;
  const char *project = tinker__svc_req_query(r, "project_id");
  if (!read_page(r, 20, &page)) return TINKER__ANSWERED;
  pthread_mutex_lock(&s->lock);
  tinker__svc_reply_json(r, &w);
  tinker__jsonw_begin_object(&w);
  tinker__jsonw_key(&w, "training_runs");
  tinker__jsonw_begin_array(&w);
  for (tinker__link_t *l = s->models.prev; l != &s->models; l = l->prev) {
    tinker__svc_model_t *m = TINKER__CONTAINER(l, tinker__svc_model_t, link);
    if (!m->durable || hidden(r, m->created_ms) || !is_of_project(m, project)) {
      continue;
    }
    if (on_page(&page)) write_run(&w, r, m);
  }
  tinker__jsonw_end_array(&w);
  write_cursor(&w, &page);
  tinker__jsonw_end_object(&w);
  pthread_mutex_unlock(&s->lock);
  return TINKER__ANSWERED;
}

tinker__svc_model_t *tinker__svc_find_run(tinker__svc_t *s,
                                          tinker__svc_req_t *r) {
  tinker__svc_model_t *m = tinker__svc_model_find(s, r->capture[0]);
  if (!m) {
    tinker__svc_reply_error(
        r, 404, "training run not found: %.*s",
        (int)(r->capture[0].len < 160 ? r->capture[0].len : 160),
        r->capture[0].ptr);
  }
  return m;
}

tinker__svc_handled_t tinker__svc_handle_training_run(tinker__svc_t *s,
                                                      tinker__svc_req_t *r) {
  tinker__jsonw_t w;
  pthread_mutex_lock(&s->lock);
  tinker__svc_model_t *m = tinker__svc_find_run(s, r);
  if (m) {
    tinker__svc_reply_json(r, &w);
    write_run(&w, r, m);
  }
  pthread_mutex_unlock(&s->lock);
  return TINKER__ANSWERED;
}

tinker__svc_handled_t tinker__svc_handle_run_checkpoints(tinker__svc_t *s,
                                                         tinker__svc_req_t *r) {
  tinker__jsonw_t w;
  pthread_mutex_lock(&s->lock);
  tinker__svc_model_t *m = tinker__svc_find_run(s, r);
  if (m) {
    tinker__svc_reply_json(r, &w);
    tinker__jsonw_begin_object(&w);
    tinker__jsonw_key(&w, "checkpoints");
    tinker__jsonw_begin_array(&w);
    TINKER__LIST_EACH(l, tmp, &m->checkpoints) {
      tinker__svc_checkpoint_t *c =
          TINKER__CONTAINER(l, tinker__svc_checkpoint_t, link);
      if (listed(r, c)) write_checkpoint(&w, c);
    }
    tinker__jsonw_end_array(&w);
    tinker__jsonw_end_object(&w);
  }
  pthread_mutex_unlock(&s->lock);
  return TINKER__ANSWERED;
}

/* --- All checkpoints ------------------------------------------------------ */

/* Rows grow with time: newest first. */
static int by_row(const void *a, const void *b) {
  int64_t x = (*(tinker__svc_checkpoint_t *const *)a)->row;
  int64_t y = (*(tinker__svc_checkpoint_t *const *)b)->row;
  return (x < y) - (x > y);
}

/* Those that r may see, or how many they are (out NULL). */
static size_t each_listed(const tinker__svc_req_t *r,
                          tinker__svc_checkpoint_t **out) {
  size_t n = 0;
  TINKER__LIST_EACH(l, tmp, &r->service->models) {
    tinker__svc_model_t *m = TINKER__CONTAINER(l, tinker__svc_model_t, link);
    TINKER__LIST_EACH(k, next, &m->checkpoints) {
      tinker__svc_checkpoint_t *c =
          TINKER__CONTAINER(k, tinker__svc_checkpoint_t, link);
      if (!listed(r, c)) continue;
      if (out) out[n] = c;
      n++;
    }
  }
  return n;
}

static tinker__svc_checkpoint_t **newest_first(const tinker__svc_req_t *r,
                                               size_t *n) {
  size_t room = each_listed(r, NULL);
  tinker__svc_checkpoint_t **all =
      tinker__mem_array(r->service->mem, room + 1, sizeof(void *));
  if (!all) return NULL;
  *n = each_listed(r, all);
  qsort(all, *n, sizeof(void *), by_row);
  return all;
}

tinker__svc_handled_t tinker__svc_handle_checkpoints(tinker__svc_t *s,
                                                     tinker__svc_req_t *r) {
  page_t page;
  tinker__jsonw_t w;
  if (!read_page(r, 100, &page)) return TINKER__ANSWERED;
  size_t n = 0;
  pthread_mutex_lock(&s->lock);
  tinker__svc_checkpoint_t **all = newest_first(r, &n);
  if (!all) {
    pthread_mutex_unlock(&s->lock);
    return tinker__svc_reply_error(r, 503, "out of memory");
  }
  tinker__svc_reply_json(r, &w);
  tinker__jsonw_begin_object(&w);
  tinker__jsonw_key(&w, "checkpoints");
  tinker__jsonw_begin_array(&w);
  for (size_t i = 0; i < n; i++) {
    if (on_page(&page)) write_checkpoint(&w, all[i]);
  }
  tinker__mem_free(s->mem, all);
  tinker__jsonw_end_array(&w);
  write_cursor(&w, &page);
  tinker__jsonw_end_object(&w);
  pthread_mutex_unlock(&s->lock);
  return TINKER__ANSWERED;
}

/* --- Sessions ------------------------------------------------------------- */

/* Newest first. */
tinker__svc_handled_t tinker__svc_handle_sessions(tinker__svc_t *s,
                                                  tinker__svc_req_t *r) {
  page_t page;
  tinker__jsonw_t w;
  if (!read_page(r, 20, &page)) return TINKER__ANSWERED;
  pthread_mutex_lock(&s->lock);
  tinker__svc_reply_json(r, &w);
  tinker__jsonw_begin_object(&w);
  tinker__jsonw_key(&w, "sessions");
  tinker__jsonw_begin_array(&w);
  for (tinker__link_t *l = s->sessions.prev; l != &s->sessions; l = l->prev) {
    if (on_page(&page)) {
      tinker__jsonw_cstr(&w,
                         TINKER__CONTAINER(l, tinker__svc_session_t, link)->id);
    }
  }
  tinker__jsonw_end_array(&w);
  tinker__jsonw_end_object(&w);
  pthread_mutex_unlock(&s->lock);
  return TINKER__ANSWERED;
}

static void write_session(tinker__jsonw_t *w, const tinker__svc_session_t *n) {
  tinker__jsonw_begin_object(w);
  tinker__jsonw_key(w, "training_run_ids");
  tinker__jsonw_begin_array(w);
  TINKER__LIST_EACH(l, tmp, &n->models) {
    tinker__jsonw_cstr(
        w, TINKER__CONTAINER(l, tinker__svc_model_t, by_session)->id);
  }
  tinker__jsonw_end_array(w);
  tinker__jsonw_key(w, "sampler_ids");
  tinker__jsonw_begin_array(w);
  TINKER__LIST_EACH(k, next, &n->samplers) {
    tinker__svc_sampler_t *p =
        TINKER__CONTAINER(k, tinker__svc_sampler_t, by_session);
    if (p->ack.durable) tinker__jsonw_cstr(w, p->id);
  }
  tinker__jsonw_end_array(w);
  write_metadata(w, n->metadata);
  tinker__jsonw_key(w, "display_name");
  tinker__jsonw_cstr(w, n->display_name);
  tinker__jsonw_end_object(w);
}

tinker__svc_handled_t tinker__svc_handle_session_info(tinker__svc_t *s,
                                                      tinker__svc_req_t *r) {
  tinker__jsonw_t w;
  pthread_mutex_lock(&s->lock);
  tinker__svc_session_t *n = tinker__map_get(s->session_by_id, r->capture[0]);
  if (n) {
    tinker__svc_reply_json(r, &w);
    write_session(&w, n);
  } else {
    tinker__svc_reply_error(r, 404, "session not found: %.*s",
                            (int)r->capture[0].len, r->capture[0].ptr);
  }
  pthread_mutex_unlock(&s->lock);
  return TINKER__ANSWERED;
}

/* --- weights_info --------------------------------------------------------- */

static void reply_weights(tinker__svc_req_t *r, const tinker__svc_model_t *m) {
  tinker__jsonw_t w;
  tinker__svc_reply_json(r, &w);
  tinker__jsonw_begin_object(&w);
  tinker__jsonw_key(&w, "base_model");
  tinker__jsonw_cstr(&w, m->base->name);
  tinker__jsonw_key(&w, "optimizer_config");
  tinker__jsonw_raw(&w, TINKER__STR("{\"type\":\"adamw\"}"));
  tinker__jsonw_key(&w, "is_lora");
  tinker__jsonw_bool(&w, true);
  tinker__jsonw_key(&w, "lora_rank");
  tinker__jsonw_i64(&w, m->lora.rank);
  tinker__jsonw_key(&w, "train_unembed");
  tinker__jsonw_bool(&w, m->lora.train_unembed);
  tinker__jsonw_key(&w, "train_mlp");
  tinker__jsonw_bool(&w, m->lora.train_mlp);
  tinker__jsonw_key(&w, "train_attn");
  tinker__jsonw_bool(&w, m->lora.train_attn);
  tinker__jsonw_end_object(&w);
}

tinker__svc_handled_t tinker__svc_handle_weights_info(tinker__svc_t *s,
                                                      tinker__svc_req_t *r) {
  char why[300];
  tinker__svc_body_t b;
  tinker__str_t path;
  tinker__svc_checkpoint_t *c;
  const tinker__svc_field_t fields[] = {
      {"tinker_path", TINKER__FIELD_STR, true, &path, NULL}};
  if (tinker__svc_body_read(&b, r, fields, 1) != 0) return TINKER__ANSWERED;
  pthread_mutex_lock(&s->lock);
  int rc = tinker__svc_checkpoint_lookup(s, path, &c, why, sizeof why);
  if (rc == 0) {
    reply_weights(r, c->model);
  } else {
    tinker__svc_reply_error(r, rc == TINKER_ENOENT ? 404 : 400, "%s", why);
  }
  pthread_mutex_unlock(&s->lock);
  tinker__svc_body_done(&b);
  return TINKER__ANSWERED;
}
