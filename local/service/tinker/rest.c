/* rest: the calls that list and show runs, checkpoints and sessions (protocol
 * 2.6, 11). HTTP thread; they read under the lock. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <tinker/error.h>

#include "service/tinker/handlers.h"

#define MAX_PAGE 1000

/* A reply that is being written. Its parts live in the arena; rc is the first
 * error. */
typedef struct {
  tinker__arena_t arena;
  const tinker__svc_req_t *r;
  int rc;
} draft_t;

static void draft_init(draft_t *d, const tinker__svc_req_t *r) {
  tinker__arena_init(&d->arena, r->service->mem);
  d->r = r;
  d->rc = 0;
}

/* Sends the message, or 503 when a part of it could not be made. */
static tinker__svc_handled_t draft_send(draft_t *d, tinker__svc_req_t *r,
                                        const tinker__bind_table_t *message,
                                        const void *in) {
  if (d->rc != 0) {
    tinker__svc_reply_why(r, d->rc, 500, "the reply could not be written");
  } else {
    tinker__svc_reply_message(r, message, in);
  }
  tinker__arena_free(&d->arena);
  return TINKER__ANSWERED;
}

static const char *keep(draft_t *d, const char *text) {
  const char *copy = tinker__arena_str(&d->arena, tinker__str(text));
  if (!copy) d->rc = TINKER_ENOMEM;
  return copy;
}

/* Makes room for one more than n items. NULL: the draft has failed. */
static void *grow(draft_t *d, void *items, size_t n, size_t *cap, size_t size) {
  if (d->rc != 0) return NULL;
  void *wider = tinker__arena_grow(&d->arena, items, n, cap, size);
  if (!wider) d->rc = TINKER_ENOMEM;
  return wider;
}

/* RFC 3339 with milliseconds, UTC. */
static const char *time_text(draft_t *d, int64_t ms) {
  char text[40];
  time_t seconds = (time_t)(ms / 1000);
  struct tm tm;
  gmtime_r(&seconds, &tm);
  size_t n = strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%S", &tm);
  snprintf(text + n, sizeof text - n, ".%03dZ", (int)(ms % 1000));
  return keep(d, text);
}

/* A stored user_metadata may hold any JSON, but replies have only strings in
 * it. Other values are shown as their JSON text (protocol 2.3, 11.1). */
static int show_metadata(tinker__buf_t *out, const char *json) {
  tinker__json_t j;
  tinker__jsonw_t w;
  tinker__str_t key, value;
  tinker__json_init(&j, out->mem, json, strlen(json));
  tinker__jsonw_init(&w, out);
  tinker__jsonw_begin_object(&w);
  bool ok = tinker__json_object(&j);
  while (ok && tinker__json_key(&j, &key)) {
    ok = tinker__json_peek(&j) == TINKER__JSON_STRING
             ? tinker__json_string(&j, &value)
             : tinker__json_raw(&j, &value);
    tinker__jsonw_keyn(&w, key);
    tinker__jsonw_str(&w, ok ? value : TINKER__STR(""));
  }
  tinker__jsonw_end_object(&w);
  int rc = tinker__json_end(&j);
  tinker__json_done(&j);
  return rc ? rc : tinker__buf_error(out);
}

/* json: an object, or NULL. */
static tinker__str_t metadata_text(draft_t *d, const char *json) {
  tinker__buf_t out;
  tinker__str_t shown = TINKER__STR("");
  if (!json || d->rc != 0) return shown;
  tinker__buf_init(&out, d->arena.mem, d->r->reply.max);
  d->rc = show_metadata(&out, json);
  char *copy =
      d->rc == 0 ? tinker__arena_str(&d->arena, tinker__buf_str(&out)) : NULL;
  if (copy) {
    shown = (tinker__str_t){copy, out.len};
  } else if (d->rc == 0) {
    d->rc = TINKER_ENOMEM;
  }
  tinker__buf_free(&out);
  return shown;
}

static void fill_checkpoint(draft_t *d, tinker__checkpoint_reply_t *out,
                            const tinker__svc_checkpoint_t *c) {
  char path[TINKER__SVC_PATH_LEN];
  tinker__svc_checkpoint_path(c, path);
  *out = (tinker__checkpoint_reply_t){
      .checkpoint_id = keep(d, path + tinker__svc_checkpoint_id_at(c)),
      .checkpoint_type =
          c->kind == TINKER__CKPT_TRAINING ? "training" : "sampler",
      .time = time_text(d, c->created_ms),
      .tinker_path = keep(d, path),
      .has_size_bytes = true,
      .size_bytes = c->size,
      .is_public = c->published,
      .user_metadata = metadata_text(d, c->metadata),
      .expires_at = c->expires_ms ? time_text(d, c->expires_ms) : NULL,
      .has_pending_gradients_not_saved = c->pending_grad,
      .pending_gradients_not_saved = true,
  };
}

/* True when the fault plan wants a stale list, which lacks young entries. */
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

/* Writes the newest checkpoint of a kind to out; false when there is none. */
static bool fill_last(draft_t *d, tinker__checkpoint_reply_t *out,
                      const tinker__svc_model_t *m,
                      tinker__svc_ckpt_kind_t kind) {
  const tinker__svc_checkpoint_t *last = NULL;
  TINKER__LIST_EACH(l, tmp, &m->checkpoints) {
    tinker__svc_checkpoint_t *c =
        TINKER__CONTAINER(l, tinker__svc_checkpoint_t, link);
    if (listed(d->r, c) && c->kind == kind) last = c;
  }
  if (last) fill_checkpoint(d, out, last);
  return last != NULL;
}

static void fill_run(draft_t *d, tinker__run_reply_t *out,
                     const tinker__svc_model_t *m) {
  *out = (tinker__run_reply_t){
      .training_run_id = m->id,
      .base_model = m->base->name,
      .model_owner = "local",
      .has_is_lora = true,
      .is_lora = true,
      .has_corrupted = true,
      .corrupted = corrupted(d->r, m),
      .has_lora_rank = true,
      .lora_rank = m->lora.rank,
      .last_request_time =
          time_text(d, m->used_ms ? m->used_ms : m->created_ms),
      .user_metadata = metadata_text(d, m->metadata),
  };
  out->has_last_checkpoint =
      fill_last(d, &out->last_checkpoint, m, TINKER__CKPT_TRAINING);
  out->has_last_sampler_checkpoint =
      fill_last(d, &out->last_sampler_checkpoint, m, TINKER__CKPT_SAMPLER);
}

/* --- Paging --------------------------------------------------------------- */

/* Reads limit, offset and access_scope of the query; false: r is answered. The
 * scope changes nothing, since everybody here owns everything. */
static bool read_page(tinker__svc_req_t *r, int64_t limit,
                      tinker__cursor_t *page) {
  const char *given_limit = tinker__svc_req_query(r, "limit");
  const char *given_offset = tinker__svc_req_query(r, "offset");
  const char *scope = tinker__svc_req_query(r, "access_scope");
  *page = (tinker__cursor_t){0, limit, 0};
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
static bool on_page(tinker__cursor_t *page) {
  int64_t at = page->total_count++;
  return at >= page->offset && at - page->offset < page->limit;
}

/* --- Runs ----------------------------------------------------------------- */

static bool is_of_project(const tinker__svc_model_t *m, const char *id) {
  const char *own = m->session->project;
  return !id || (own && strcmp(own, id) == 0);
}

/* Newest first. */
tinker__svc_handled_t tinker__svc_handle_training_runs(tinker__svc_t *s,
                                                       tinker__svc_req_t *r) {
  draft_t d;
  tinker__runs_reply_t reply = {{NULL, 0}, {0, 0, 0}};
  tinker__run_reply_t *runs = NULL;
  size_t n = 0, cap = 0;
  const char *project = tinker__svc_req_query(r, "project_id");
  if (!read_page(r, 20, &reply.cursor)) return TINKER__ANSWERED;
  draft_init(&d, r);
  tinker__svc_lock(s);
  for (tinker__link_t *l = s->models.prev; l != &s->models; l = l->prev) {
    tinker__svc_model_t *m = TINKER__CONTAINER(l, tinker__svc_model_t, link);
    if (m->state == TINKER__SVC_MODEL_STORING || hidden(r, m->created_ms) ||
        !is_of_project(m, project) || !on_page(&reply.cursor)) {
      continue;
    }
    runs = grow(&d, runs, n, &cap, sizeof *runs);
    if (runs) fill_run(&d, &runs[n++], m);
  }
  reply.training_runs = (tinker__objs_t){runs, d.rc == 0 ? n : 0};
  tinker__svc_handled_t h = draft_send(&d, r, &tinker__runs_reply_msg, &reply);
  tinker__svc_unlock(s);
  return h;
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
  draft_t d;
  tinker__run_reply_t reply;
  tinker__svc_lock(s);
  tinker__svc_model_t *m = tinker__svc_find_run(s, r);
  if (m) {
    draft_init(&d, r);
    fill_run(&d, &reply, m);
    draft_send(&d, r, &tinker__run_reply_msg, &reply);
  }
  tinker__svc_unlock(s);
  return TINKER__ANSWERED;
}

/* Appends a checkpoint to the list. */
static void add_checkpoint(draft_t *d, tinker__checkpoints_reply_t *reply,
                           size_t *cap, const tinker__svc_checkpoint_t *c) {
  size_t n = reply->checkpoints.count;
  tinker__checkpoint_reply_t *items =
      grow(d, (void *)reply->checkpoints.items, n, cap, sizeof *items);
  if (!items) return;
  fill_checkpoint(d, &items[n], c);
  reply->checkpoints = (tinker__objs_t){items, n + 1};
}

tinker__svc_handled_t tinker__svc_handle_run_checkpoints(tinker__svc_t *s,
                                                         tinker__svc_req_t *r) {
  draft_t d;
  tinker__checkpoints_reply_t reply = {.has_cursor = false};
  size_t cap = 0;
  tinker__svc_lock(s);
  tinker__svc_model_t *m = tinker__svc_find_run(s, r);
  if (m) {
    draft_init(&d, r);
    TINKER__LIST_EACH(l, tmp, &m->checkpoints) {
      tinker__svc_checkpoint_t *c =
          TINKER__CONTAINER(l, tinker__svc_checkpoint_t, link);
      if (listed(r, c)) add_checkpoint(&d, &reply, &cap, c);
    }
    draft_send(&d, r, &tinker__checkpoints_reply_msg, &reply);
  }
  tinker__svc_unlock(s);
  return TINKER__ANSWERED;
}

/* --- All checkpoints ------------------------------------------------------ */

/* Sorts the newest first; later rows have larger numbers. */
static int by_row(const void *a, const void *b) {
  int64_t x = (*(tinker__svc_checkpoint_t *const *)a)->row;
  int64_t y = (*(tinker__svc_checkpoint_t *const *)b)->row;
  return (x < y) - (x > y);
}

/* Collects the checkpoints that r may see; only counts them if out is NULL. */
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
  draft_t d;
  tinker__checkpoints_reply_t reply = {.has_cursor = true};
  size_t cap = 0;
  if (!read_page(r, 100, &reply.cursor)) return TINKER__ANSWERED;
  draft_init(&d, r);
  tinker__svc_lock(s);
  size_t n = 0;
  tinker__svc_checkpoint_t **all = newest_first(r, &n);
  if (!all) {
    tinker__svc_unlock(s);
    return tinker__svc_reply_error(r, 503, "out of memory");
  }
  for (size_t i = 0; i < n; i++) {
    if (on_page(&reply.cursor)) add_checkpoint(&d, &reply, &cap, all[i]);
  }
  tinker__mem_free(s->mem, all);
  tinker__svc_handled_t h =
      draft_send(&d, r, &tinker__checkpoints_reply_msg, &reply);
  tinker__svc_unlock(s);
  return h;
}

/* --- Sessions ------------------------------------------------------------- */

/* Appends an id, which must outlive the draft. */
static void add_id(draft_t *d, tinker__strs_t *list, size_t *cap,
                   const char *id) {
  const char **items =
      grow(d, (void *)list->items, list->count, cap, sizeof *items);
  if (!items) return;
  items[list->count] = id;
  *list = (tinker__strs_t){items, list->count + 1};
}

/* Newest first. */
tinker__svc_handled_t tinker__svc_handle_sessions(tinker__svc_t *s,
                                                  tinker__svc_req_t *r) {
  draft_t d;
  tinker__cursor_t page;
  tinker__sessions_reply_t reply = {{NULL, 0}};
  size_t cap = 0;
  if (!read_page(r, 20, &page)) return TINKER__ANSWERED;
  draft_init(&d, r);
  tinker__svc_lock(s);
  for (tinker__link_t *l = s->sessions.prev; l != &s->sessions; l = l->prev) {
    const tinker__svc_session_t *n =
        TINKER__CONTAINER(l, tinker__svc_session_t, link);
    if (n->state == TINKER__SVC_SESSION_STORING || !on_page(&page)) continue;
    add_id(&d, &reply.sessions, &cap, n->id);
  }
  tinker__svc_handled_t h =
      draft_send(&d, r, &tinker__sessions_reply_msg, &reply);
  tinker__svc_unlock(s);
  return h;
}

static void reply_session(tinker__svc_req_t *r,
                          const tinker__svc_session_t *n) {
  draft_t d;
  size_t models = 0, samplers = 0;
  draft_init(&d, r);
  tinker__session_reply_t reply = {
      .user_metadata = metadata_text(&d, n->metadata),
      .display_name = n->display_name,
  };
  TINKER__LIST_EACH(l, tmp, &n->models) {
    add_id(&d, &reply.training_run_ids, &models,
           TINKER__CONTAINER(l, tinker__svc_model_t, by_session)->id);
  }
  TINKER__LIST_EACH(k, next, &n->samplers) {
    tinker__svc_sampler_t *p =
        TINKER__CONTAINER(k, tinker__svc_sampler_t, by_session);
    if (p->durable) add_id(&d, &reply.sampler_ids, &samplers, p->id);
  }
  draft_send(&d, r, &tinker__session_reply_msg, &reply);
}

tinker__svc_handled_t tinker__svc_handle_session_info(tinker__svc_t *s,
                                                      tinker__svc_req_t *r) {
  tinker__svc_lock(s);
  tinker__svc_session_t *n = tinker__map_get(s->session_by_id, r->capture[0]);
  if (n && n->state != TINKER__SVC_SESSION_STORING) {
    reply_session(r, n);
  } else {
    tinker__svc_reply_error(r, 404, "session not found: %.*s",
                            (int)r->capture[0].len, r->capture[0].ptr);
  }
  tinker__svc_unlock(s);
  return TINKER__ANSWERED;
}

/* --- weights_info --------------------------------------------------------- */

static void reply_weights(tinker__svc_req_t *r, const tinker__svc_model_t *m) {
  tinker__weights_info_reply_t reply = {
      .base_model = m->base->name,
      .optimizer_config = TINKER__STR(TINKER__ADAMW_JSON),
      .is_lora = true,
      .has_lora_rank = true,
      .lora_rank = m->lora.rank,
      .has_train_unembed = true,
      .train_unembed = m->lora.train_unembed,
      .has_train_mlp = true,
      .train_mlp = m->lora.train_mlp,
      .has_train_attn = true,
      .train_attn = m->lora.train_attn,
  };
  tinker__svc_reply_message(r, &tinker__weights_info_reply_msg, &reply);
}

tinker__svc_handled_t tinker__svc_handle_weights_info(tinker__svc_t *s,
                                                      tinker__svc_req_t *r) {
  char why[300];
  tinker__arena_t a;
  tinker__weights_info_t ask;
  tinker__svc_checkpoint_t *c;
  if (tinker__svc_body_read(r, &a, &tinker__weights_info_msg, &ask) != 0) {
    return TINKER__ANSWERED;
  }
  tinker__svc_lock(s);
  int rc = tinker__svc_checkpoint_lookup(s, tinker__str(ask.tinker_path), &c,
                                         why, sizeof why);
  if (rc == 0) {
    reply_weights(r, c->model);
  } else {
    tinker__svc_reply_error(r, rc == TINKER_ENOENT ? 404 : 400, "%s", why);
  }
  tinker__svc_unlock(s);
  tinker__arena_free(&a);
  return TINKER__ANSWERED;
}
