/* server_rest: what the simulated service says of what there is, and the
 * changes of checkpoints. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/json_read.h"
#include "sim/server_in.h"
#include "wire/path.h"

/* --- Views ---------------------------------------------------------------- */

static const char *time_text(sim_server_t *s, int64_t ms) {
  char text[40];
  ms += SIM_EPOCH_MS;
  time_t seconds = (time_t)(ms / 1000);
  struct tm tm;
  gmtime_r(&seconds, &tm);
  size_t n = strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%S", &tm);
  snprintf(text + n, sizeof text - n, ".%03dZ", (int)(ms % 1000));
  return tinker__arena_str(&s->scratch, tinker__str(text));
}

/* Replies have only strings in it; other values are shown as their text. */
static tinker__str_t shown(sim_server_t *s, const char *json) {
  tinker__buf_t out;
  tinker__json_t j;
  tinker__jsonw_t w;
  tinker__str_t key, value = TINKER__STR("");
  if (!json) return value;
  tinker__buf_init(&out, &s->mem, 1 << 20);
  tinker__json_init(&j, &s->mem, json, strlen(json));
  tinker__jsonw_init(&w, &out);
  tinker__jsonw_begin_object(&w);
  tinker__json_object(&j);
  while (tinker__json_key(&j, &key)) {
    tinker__jsonw_keyn(&w, key);
    if (tinker__json_peek(&j) == TINKER__JSON_STRING) {
      tinker__json_string(&j, &value);
    } else {
      tinker__json_raw(&j, &value);
    }
    tinker__jsonw_str(&w, value);
  }
  tinker__jsonw_end_object(&w);
  tinker__json_done(&j);
  value = (tinker__str_t){tinker__arena_str(&s->scratch, tinker__buf_str(&out)),
                          out.len};
  tinker__buf_free(&out);
  return value;
}

static void fill_checkpoint(sim_server_t *s, tinker__checkpoint_reply_t *out,
                            const checkpoint_t *c) {
  const sim_checkpoint_t *v = &c->view;
  *out = (tinker__checkpoint_reply_t){
      .checkpoint_id = strchr(v->path + strlen(TINKER__PATH_PREFIX), '/') + 1,
      .checkpoint_type = v->sampler ? "sampler" : "training",
      .time = time_text(s, v->created_ms),
      .tinker_path = v->path,
      .has_size_bytes = true,
      .size_bytes = v->size,
      .user_metadata = shown(s, v->metadata),
      .expires_at = v->expires_ms ? time_text(s, v->expires_ms) : NULL,
      .has_pending_gradients_not_saved = c->pending_grad,
      .pending_gradients_not_saved = true,
  };
}

/* stale_ms: younger ones are left out; -1 = none is. */
static bool listed(const sim_server_t *s, const checkpoint_t *c,
                   int64_t stale_ms) {
  return !c->view.deleted_ms && !c->view.unlisted &&
         (stale_ms < 0 || c->view.created_ms <= s->now_ms - stale_ms);
}

static bool fill_last(sim_server_t *s, tinker__checkpoint_reply_t *out,
                      const model_t *m, bool sampler, int64_t stale_ms) {
  for (size_t i = s->checkpoints.n; i-- > 0;) {
    const checkpoint_t *c = s->checkpoints.items[i];
    if (s->models.items[c->view.model] != m || c->view.sampler != sampler ||
        !listed(s, c, stale_ms)) {
      continue;
    }
    fill_checkpoint(s, out, c);
    return true;
  }
  return false;
}

static void fill_run(sim_server_t *s, tinker__run_reply_t *out,
                     const model_t *m, bool corrupted, int64_t stale_ms) {
  const sim_model_t *v = &m->view;
  *out = (tinker__run_reply_t){
      .training_run_id = v->id,
      .base_model = SIM_BASE_MODEL,
      .model_owner = "local",
      .has_is_lora = true,
      .is_lora = true,
      .has_corrupted = !sim_hit(s, SIM_BUG_OMIT_CORRUPTED, m),
      .corrupted = corrupted || (v->corrupted && !v->hidden),
      .has_lora_rank = true,
      .lora_rank = v->rank,
      .last_request_time = time_text(s, v->used_ms),
      .user_metadata = shown(s, v->metadata),
  };
  out->has_last_checkpoint =
      fill_last(s, &out->last_checkpoint, m, false, stale_ms);
  out->has_last_sampler_checkpoint =
      fill_last(s, &out->last_sampler_checkpoint, m, true, stale_ms);
}

/* --- Paging --------------------------------------------------------------- */

/* The number after "name=" in the query. */
static bool query(const char *path, const char *name, int64_t *out) {
  const char *at = strchr(path, '?');
  size_t len = strlen(name);
  while (at && strncmp(at + 1, name, len) != 0) at = strchr(at + 1, '&');
  if (!at) return true;
  const char *value = at + 1 + len;
  tinker__str_t text = {value, strcspn(value, "&")};
  return tinker__parse_i64(text, out) == 0;
}

static bool read_page(sim_server_t *s, const sim_request_t *r, int64_t limit,
                      tinker__cursor_t *page, sim_reply_t *reply) {
  *page = (tinker__cursor_t){0, limit, 0};
  if (!query(r->path, "limit=", &page->limit) || page->limit < 1 ||
      page->limit > 1000) {
    sim_refuse(s, reply, 422, "limit must be from 1 to 1000");
  } else if (!query(r->path, "offset=", &page->offset) || page->offset < 0) {
    sim_refuse(s, reply, 422, "offset must be an integer from 0 up");
  } else {
    return true;
  }
  return false;
}

static bool on_page(tinker__cursor_t *page) {
  int64_t at = page->total_count++;
  return at >= page->offset && at - page->offset < page->limit;
}

/* --- Runs ----------------------------------------------------------------- */

static bool shows_corrupted(sim_server_t *s, const model_t *m) {
  return sim_hit(s, SIM_BUG_SHOW_CORRUPTED, m) != NULL;
}

static void runs(sim_server_t *s, const sim_request_t *r,
                 const tinker__str_t *part, sim_reply_t *reply) {
  tinker__runs_reply_t out = {{NULL, 0}, {0, 0, 0}};
  (void)part;
  if (!read_page(s, r, 20, &out.cursor, reply)) return;
  int64_t stale = sim_arg(s, SIM_BUG_STALE_LISTS, NULL);
  tinker__run_reply_t *items =
      tinker__arena_array(&s->scratch, s->models.n + 1, sizeof *items);
  for (size_t i = s->models.n; i-- > 0;) {
    const model_t *m = s->models.items[i];
    bool young = stale >= 0 && m->view.created_ms > s->now_ms - stale;
    if (m->view.deleted || young || !on_page(&out.cursor)) continue;
    fill_run(s, &items[out.training_runs.count++], m, shows_corrupted(s, m),
             stale);
  }
  out.training_runs.items = items;
  sim_reply(s, reply, &tinker__runs_reply_msg, &out);
}

static model_t *find_run(sim_server_t *s, tinker__str_t id,
                         sim_reply_t *reply) {
  model_t *m = sim_model(s, id);
  if (m && !m->view.deleted) return m;
  sim_refuse(s, reply, 404, "training run not found: %.*s", (int)id.len,
             id.ptr);
  return NULL;
}

static void run(sim_server_t *s, const sim_request_t *r,
                const tinker__str_t *part, sim_reply_t *reply) {
  tinker__run_reply_t out;
  model_t *m = find_run(s, part[0], reply);
  (void)r;
  if (!m) return;
  int64_t stale = sim_arg(s, SIM_BUG_STALE_LISTS, m);
  fill_run(s, &out, m, shows_corrupted(s, m), stale);
  sim_reply(s, reply, &tinker__run_reply_msg, &out);
}

/* --- Checkpoints ---------------------------------------------------------- */

static void run_checkpoints(sim_server_t *s, const sim_request_t *r,
                            const tinker__str_t *part, sim_reply_t *reply) {
  tinker__checkpoints_reply_t out = {.has_cursor = false};
  const model_t *m = find_run(s, part[0], reply);
  (void)r;
  if (!m) return;
  int64_t stale = sim_arg(s, SIM_BUG_STALE_LISTS, m);
  tinker__checkpoint_reply_t *items =
      tinker__arena_array(&s->scratch, s->checkpoints.n + 1, sizeof *items);
  for (size_t i = 0; i < s->checkpoints.n; i++) {
    const checkpoint_t *c = s->checkpoints.items[i];
    if (s->models.items[c->view.model] != m || !listed(s, c, stale)) continue;
    fill_checkpoint(s, &items[out.checkpoints.count++], c);
  }
  out.checkpoints.items = items;
  sim_reply(s, reply, &tinker__checkpoints_reply_msg, &out);
}

static void checkpoints(sim_server_t *s, const sim_request_t *r,
                        const tinker__str_t *part, sim_reply_t *reply) {
  tinker__checkpoints_reply_t out = {.has_cursor = true};
  (void)part;
  if (!read_page(s, r, 100, &out.cursor, reply)) return;
  int64_t stale = sim_arg(s, SIM_BUG_STALE_LISTS, NULL);
  tinker__checkpoint_reply_t *items =
      tinker__arena_array(&s->scratch, s->checkpoints.n + 1, sizeof *items);
  for (size_t i = s->checkpoints.n; i-- > 0;) {
    const checkpoint_t *c = s->checkpoints.items[i];
    if (!listed(s, c, stale) || !on_page(&out.cursor)) continue;
    fill_checkpoint(s, &items[out.checkpoints.count++], c);
  }
  out.checkpoints.items = items;
  sim_reply(s, reply, &tinker__checkpoints_reply_msg, &out);
}

/* The checkpoint of a request's path; NULL: the reply says why. *meant: its
 * index, also of one that is gone; -1 = there was none. */
static checkpoint_t *named(sim_server_t *s, const tinker__str_t *part,
                           int32_t *meant, sim_reply_t *reply) {
  char path[700];
  *meant = -1;
  if (!tinker__str_eqs(part[1], TINKER__PATH_TRAINING) &&
      !tinker__str_eqs(part[1], TINKER__PATH_SAMPLER)) {
    sim_refuse(s, reply, 400, "Invalid tinker path");
    return NULL;
  }
  snprintf(path, sizeof path, TINKER__PATH_PREFIX "%.*s/%.*s/%.*s",
           (int)part[0].len, part[0].ptr, (int)part[1].len, part[1].ptr,
           (int)part[2].len, part[2].ptr);
  checkpoint_t *c = sim_checkpoint(s, tinker__str(path));
  if (!c) sim_refuse(s, reply, 404, "checkpoint not found: %.200s", path);
  *meant = sim_server_find_checkpoint(s, path);
  return c;
}

/* A change of a checkpoint in the ledger, with its answer. */
static void note_change(sim_server_t *s, const sim_request_t *r,
                        sim_kind_t kind, const checkpoint_t *c, int32_t meant,
                        sim_reply_t *reply) {
  sim_entry_t *e = sim_note(s, kind, r, reply);
  if (c) reply->status = 204;
  e->status = reply->status;
  e->fate = c ? SIM_APPLIED : SIM_REFUSED;
  e->times = c ? 1 : 0;
  e->done_ms = s->now_ms;
  e->checkpoint = meant;
  if (meant >= 0) e->model = sim_server_checkpoint(s, (size_t)meant)->model;
}

static void delete_checkpoint(sim_server_t *s, const sim_request_t *r,
                              const tinker__str_t *part, sim_reply_t *reply) {
  int32_t meant;
  checkpoint_t *c = named(s, part, &meant, reply);
  note_change(s, r, SIM_DELETE, c, meant, reply);
  if (!c) return;
  c->view.deleted_ms = s->now_ms;
  c->view.by_request = true;
}

static void set_ttl(sim_server_t *s, const sim_request_t *r,
                    const tinker__str_t *part, sim_reply_t *reply) {
  tinker__set_ttl_t m;
  int32_t meant;
  if (!sim_read(s, r, reply, &tinker__set_ttl_msg, &m)) return;
  if (m.has_ttl_seconds &&
      (m.ttl_seconds < 3600 || m.ttl_seconds > 10ll * 366 * 24 * 3600)) {
    sim_refuse(s, reply, 400, "ttl_seconds must be from 3600 to 10 years");
    return;
  }
  checkpoint_t *c = named(s, part, &meant, reply);
  note_change(s, r, SIM_SET_TTL, c, meant, reply);
  if (!c) return;
  c->view.expires_ms = m.has_ttl_seconds ? s->now_ms + m.ttl_seconds * 1000 : 0;
}

static void weights_info(sim_server_t *s, const sim_request_t *r,
                         const tinker__str_t *none, sim_reply_t *reply) {
  tinker__weights_info_t m;
  tinker__str_t part[3];
  int32_t meant;
  (void)none;
  if (!sim_read(s, r, reply, &tinker__weights_info_msg, &m)) return;
  if (!tinker__path_split(tinker__str(m.tinker_path), part)) {
    sim_refuse(s, reply, 400, "Invalid tinker path: %s", m.tinker_path);
    return;
  }
  checkpoint_t *c = named(s, part, &meant, reply);
  if (!c) return;
  const model_t *owner = s->models.items[c->view.model];
  const sim_model_t *v = &owner->view;
  bool turned = sim_hit(s, SIM_BUG_SWAPPED_FLAGS, owner) != NULL;
  tinker__weights_info_reply_t out = {
      .base_model = SIM_BASE_MODEL,
      .optimizer_config = TINKER__STR(TINKER__ADAMW_JSON),
      .is_lora = true,
      .has_lora_rank = true,
      .lora_rank = v->rank * (sim_hit(s, SIM_BUG_WRONG_INFO, owner) ? 2 : 1),
      .has_train_unembed = true,
      .train_unembed = v->train_unembed != turned,
      .has_train_mlp = true,
      .train_mlp = v->train_mlp,
      .has_train_attn = true,
      .train_attn = v->train_attn,
  };
  sim_reply(s, reply, &tinker__weights_info_reply_msg, &out);
}

/* --- The rest ------------------------------------------------------------- */

static void get_info(sim_server_t *s, const sim_request_t *r,
                     const tinker__str_t *part, sim_reply_t *reply) {
  tinker__get_info_t m;
  (void)part;
  if (!sim_read(s, r, reply, &tinker__get_info_msg, &m)) return;
  const model_t *model = sim_model(s, tinker__str(m.model_id));
  if (!model || model->view.unloaded) {
    sim_refuse(s, reply, 404, "model not found: %.160s", m.model_id);
    return;
  }
  tinker__get_info_reply_t out = {
      .model_id = model->view.id,
      .model_data = {"sim", SIM_BASE_MODEL, NULL},
      .optimizer_config = TINKER__STR(TINKER__ADAMW_JSON),
      .has_is_lora = true,
      .is_lora = true,
      .has_lora_rank = true,
      .lora_rank = model->view.rank,
      .model_name = SIM_BASE_MODEL,
  };
  sim_reply(s, reply, &tinker__get_info_reply_msg, &out);
}

static void sessions(sim_server_t *s, const sim_request_t *r,
                     const tinker__str_t *part, sim_reply_t *reply) {
  tinker__cursor_t page;
  (void)part;
  if (!read_page(s, r, 20, &page, reply)) return;
  const char **ids =
      tinker__arena_array(&s->scratch, s->sessions.n + 1, sizeof *ids);
  tinker__sessions_reply_t out = {{ids, 0}};
  for (size_t i = s->sessions.n; i-- > 0;) {
    if (on_page(&page))
      ids[out.sessions.count++] = sim_server_session(s, i)->id;
  }
  sim_reply(s, reply, &tinker__sessions_reply_msg, &out);
}

static void session(sim_server_t *s, const sim_request_t *r,
                    const tinker__str_t *part, sim_reply_t *reply) {
  const session_t *n = sim_session(s, part[0]);
  (void)r;
  if (!n || n->view.gone) {
    sim_refuse(s, reply, 404, "session not found: %.*s", (int)part[0].len,
               part[0].ptr);
    return;
  }
  const char **ids =
      tinker__arena_array(&s->scratch, s->models.n + 1, sizeof *ids);
  tinker__session_reply_t out = {.training_run_ids = {ids, 0},
                                 .user_metadata = shown(s, n->metadata),
                                 .display_name = n->display_name};
  for (size_t i = 0; i < s->models.n; i++) {
    const model_t *m = s->models.items[i];
    if (m->session == n) ids[out.training_run_ids.count++] = m->view.id;
  }
  sim_reply(s, reply, &tinker__session_reply_msg, &out);
}

static void capabilities(sim_server_t *s, const sim_request_t *r,
                         const tinker__str_t *part, sim_reply_t *reply) {
  tinker__capability_t item = {.model_name = SIM_BASE_MODEL,
                               .has_max_context_length = true,
                               .max_context_length = 4096,
                               .has_trainable = true,
                               .trainable = true,
                               .has_sampleable = true};
  tinker__capabilities_reply_t out = {{&item, 1}};
  (void)r, (void)part;
  sim_reply(s, reply, &tinker__capabilities_reply_msg, &out);
}

static void config(sim_server_t *s, const sim_request_t *r,
                   const tinker__str_t *part, sim_reply_t *reply) {
  tinker__config_request_t m;
  (void)part;
  if (!sim_read(s, r, reply, &tinker__config_request_msg, &m)) return;
  tinker__buf_adds(&s->out, strstr(r->path, "dynamic")
                                ? "{\"refresh_interval_sec\":300}"
                                : "{\"pjwt_auth_enabled\":false,"
                                  "\"create_model_via_load_weights\":true,"
                                  "\"proto_compress_fwdbwd\":false}");
  reply->status = 200;
  reply->body = s->out.data;
  reply->len = s->out.len;
}

static void health(sim_server_t *s, const sim_request_t *r,
                   const tinker__str_t *part, sim_reply_t *reply) {
  tinker__health_reply_t out = {"ok"};
  (void)r, (void)part;
  sim_reply(s, reply, &tinker__health_reply_msg, &out);
}

const sim_route_t sim_rest_routes[] = {
    {"GET", "api/v1/healthz", health},
    {"POST", "api/v1/client/config", config},
    {"POST", "api/v1/client/dynamic_config", config},
    {"GET", "api/v1/get_server_capabilities", capabilities},
    {"POST", "api/v1/get_info", get_info},
    {"POST", "api/v1/weights_info", weights_info},
    {"GET", "api/v1/training_runs", runs},
    {"GET", "api/v1/training_runs/*", run},
    {"GET", "api/v1/training_runs/*/checkpoints", run_checkpoints},
    {"DELETE", "api/v1/training_runs/*/checkpoints/*/*", delete_checkpoint},
    {"PUT", "api/v1/training_runs/*/checkpoints/*/*/ttl", set_ttl},
    {"GET", "api/v1/checkpoints", checkpoints},
    {"GET", "api/v1/sessions", sessions},
    {"GET", "api/v1/sessions/*", session},
    {NULL, NULL, NULL}};
