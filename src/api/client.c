/* Life of a client, see core.h. */
#include <string.h>
#include <tinker/uv.h>
#include <unistd.h>

#include "api/core.h"
#include "api/hook.h"
#include "api/metadata.h"
#include "base/error.h"
#include "base/options.h"
#include "http/curl.h"
#include "loop/borrowed.h"
#include "loop/reap.h"
#include "loop/step.h"
#include "session/auth.h"
#include "wire/messages.h"

/* The release of the official SDK whose protocol is spoken; the service reads
 * it from create_session. The user agent names this library. */
#define SDK_VERSION "0.38.0"
#define USER_AGENT "tinker-c/" TINKER_VERSION_STRING
/* Freed big blocks that a client keeps for its next calls. */
#define KEEP_BYTES ((size_t)32 << 20)
#define TAGS_MAX 64
#define WHY_MAX 512

static bool is_closed(void *user) {
  return tinker__core_phase(user) == TINKER__CLIENT_CLOSED;
}

/* --- references --- */

void tinker__core_hold(tinker_client_t *core) {
  atomic_fetch_add_explicit(&core->holds, 1, memory_order_relaxed);
}

/* The struct may lie in memory that it manages itself: it is given back
 * through a copy of the allocator. */
void tinker__core_unhold(void *user) {
  tinker_client_t *core = user;
  if (atomic_fetch_sub_explicit(&core->holds, 1, memory_order_acq_rel) != 1) {
    return;
  }
  bool own = core->mem == &core->own_mem;
  tinker__mem_t *mem = core->mem, copy;
  tinker__hook_free(core->hook);
  tinker__notices_free(core);
  tinker__waits_free(&core->waits, mem);
  tinker__mem_free(mem, core->where);
  tinker__beacon_close(&core->next_fd);
  pthread_mutex_destroy(&core->lock);
  if (own) {
    tinker__mem_keep_none(mem);
    tinker__mem_init(&copy, &core->own_mem.alloc, 0);
    mem = &copy;
  }
  tinker__mem_free(mem, core);
}

bool tinker__core_enter(tinker_client_t *core) {
  pthread_mutex_lock(&core->lock);
  bool ok = core->loop_users > 0;
  if (ok) core->loop_users++;
  pthread_mutex_unlock(&core->lock);
  return ok;
}

/* In step mode a client that was released inside a callback has nobody left who
 * steps it: the thread that leaves the loop next does so until it is closed.
 * Inside the step itself waiting is refused, and nothing happens yet. */
static void end_orphan(tinker_client_t *core) {
  pthread_mutex_lock(&core->lock);
  bool orphan = core->abandoned && !is_closed(core);
  pthread_mutex_unlock(&core->lock);
  if (!orphan) return;
  tinker__step_adopt(core->loop);
  tinker__core_await_end(core);
}

void tinker__core_leave(tinker_client_t *core) {
  if (core->mode == TINKER_RUN_STEP) end_orphan(core);
  pthread_mutex_lock(&core->lock);
  bool last = --core->loop_users == 0;
  pthread_mutex_unlock(&core->lock);
  if (!last) return;
  tinker__mem_keep_none(core->mem);
  bool threads = core->mode == TINKER_RUN_BACKGROUND;
  tinker__loop_close(core->loop, tinker__core_unhold, core);
  if (threads) tinker__reap_leave(NULL);
}

int tinker__core_sleep(tinker_client_t *core, bool (*ready)(void *user),
                       int64_t timeout_ms) {
  tinker__waiter_t waiter;
  tinker__waiting_t entry;
  if (tinker__hook_is_here(core) && timeout_ms && !ready(core)) {
    return TINKER_EDEADLK;
  }
  int rc = tinker__waiter_init(&waiter);
  if (rc) return rc;
  pthread_mutex_lock(&core->lock);
  tinker__waiting_add(&core->waiting, &entry, &waiter);
  pthread_mutex_unlock(&core->lock);
  rc = tinker__loop_sleep(core->loop, &waiter, ready, core, timeout_ms);
  pthread_mutex_lock(&core->lock);
  tinker__waiting_remove(&entry);
  pthread_mutex_unlock(&core->lock);
  tinker__waiter_done(&waiter);
  return rc;
}

int tinker__core_await_end(tinker_client_t *core) {
  return tinker__core_sleep(core, is_closed, -1);
}

tinker_client_t *tinker_client_retain(tinker_client_t *client) {
  if (client) atomic_fetch_add(&client->refs, 1);
  return client;
}

/* tinker_shutdown waits from here on: the loop itself may begin to end only
 * later, on another thread. In a forked child everything stays as it is: what
 * the threads of the parent were at can't be taken apart by anybody else. */
static void end(tinker_client_t *core) {
  if (!tinker__core_is_here(core)) return;
  if (core->mode == TINKER_RUN_BACKGROUND) tinker__reap_expect();
  if (tinker__ending_release(core)) tinker__core_leave(core);
  tinker__core_unhold(core);
}

tinker_client_t *tinker_client_release(tinker_client_t *client) {
  if (client && atomic_fetch_sub(&client->refs, 1) == 1) end(client);
  return NULL;
}

/* --- making --- */

static int check(const tinker_client_options_t *o, char *why, size_t why_len) {
  const tinker_allocator_t *a = o->allocator;
  if (a && (!a->malloc_fn || !a->calloc_fn || !a->realloc_fn || !a->free_fn)) {
    return tinker__why(why, why_len, TINKER_EINVAL,
                       "allocator: all four functions must be set");
  }
  if (o->default_timeout_ms < 1 && o->default_timeout_ms != TINKER_NO_TIMEOUT) {
    return tinker__why(why, why_len, TINKER_EINVAL,
                       "default_timeout_ms is %lld: want milliseconds, 1 or "
                       "more, or TINKER_NO_TIMEOUT",
                       (long long)o->default_timeout_ms);
  }
  if (o->memory_limit_bytes < 1 && o->memory_limit_bytes != -1) {
    return tinker__why(why, why_len, TINKER_EINVAL,
                       "memory_limit_bytes is %lld: want 1 or more, or -1",
                       (long long)o->memory_limit_bytes);
  }
  if (o->log_level < TINKER_LOG_DEBUG || o->log_level > TINKER_LOG_OFF) {
    return tinker__why(why, why_len, TINKER_EINVAL,
                       "log_level is %d: want %d to %d, a tinker_log_level_t",
                       o->log_level, TINKER_LOG_DEBUG, TINKER_LOG_OFF);
  }
  if (o->mode != TINKER_RUN_BACKGROUND && o->mode != TINKER_RUN_STEP) {
    return tinker__why(why, why_len, TINKER_EINVAL,
                       "mode is %d: want TINKER_RUN_BACKGROUND or "
                       "TINKER_RUN_STEP",
                       o->mode);
  }
  if (o->key_over_http != 0 && o->key_over_http != 1) {
    return tinker__why(why, why_len, TINKER_EINVAL,
                       "key_over_http is %d: want 0 or 1", o->key_over_http);
  }
  if (o->reserved0) {
    return tinker__why(why, why_len, TINKER_ENOTSUP,
                       "client_options.reserved0 is %d: want 0", o->reserved0);
  }
  if (o->tag_count > TAGS_MAX || (o->tag_count && !o->tags)) {
    return tinker__why(why, why_len, TINKER_EINVAL,
                       "tags: tag_count is %zu: want at most %d, and an array "
                       "of them",
                       o->tag_count, TAGS_MAX);
  }
  for (size_t i = 0; i < o->tag_count; i++) {
    if (!o->tags[i]) {
      return tinker__why(why, why_len, TINKER_EINVAL, "tags[%zu] is NULL", i);
    }
  }
  return 0;
}

static tinker_client_t *new_core(const tinker_client_options_t *o,
                                 const tinker__client_parts_t *parts,
                                 int mode) {
  tinker__mem_t boot, *given = parts ? parts->mem : NULL;
  tinker__mem_init(&boot, o->allocator, 0);
  tinker_client_t *core =
      tinker__mem_zalloc(given ? given : &boot, sizeof *core);
  if (!core) return NULL;
  if (pthread_mutex_init(&core->lock, NULL)) {
    tinker__mem_free(given ? given : &boot, core);
    return NULL;
  }
  tinker__mem_init(&core->own_mem, o->allocator,
                   o->memory_limit_bytes < 0 ? 0
                   : (uint64_t)o->memory_limit_bytes > SIZE_MAX
                       ? SIZE_MAX
                       : (size_t)o->memory_limit_bytes);
  tinker__mem_keep(&core->own_mem, &core->keep, KEEP_BYTES);
  core->mem = given ? given : &core->own_mem;
  atomic_init(&core->refs, 1);
  atomic_init(&core->holds, 2); /* the handle and the loop */
  core->loop_users = 1;
  core->pid = getpid();
  core->mode = mode;
  core->default_timeout_ms = o->default_timeout_ms;
  core->drain_until_ms = -1;
  core->chunks = (tinker__chunk_limits_t){
      .max_len = (size_t)tinker__client_config_default.fwdbwd_max_chunk_len,
      .max_bytes =
          (uint64_t)tinker__client_config_default.fwdbwd_max_chunk_bytes,
  };
  core->parallel_chunks = tinker__client_config_default.parallel_fwdbwd_chunks;
  tinker__list_init(&core->ended);
  tinker__list_init(&core->waiting);
  tinker__driver_init(core);
  return core;
}

static int make_http(tinker_client_t *core, const tinker_client_options_t *o,
                     char *why, size_t why_len) {
  const tinker__world_t *world = core->loop->world;
  char *key = NULL;
  tinker__curl_options_t curl = {
      .base_url = tinker__auth_base_url(world, o->base_url),
      .user_agent = USER_AGENT,
  };
  int rc = tinker__auth_credential(world, core->mem, curl.base_url, o->api_key,
                                   o->key_over_http != 0, &key, why, why_len);
  if (rc) return rc;
  curl.api_key = key;
  rc = tinker__curl_new(&core->http, core->loop, &curl, why, why_len);
  if (key) memset(key, 0, strlen(key));
  tinker__mem_free(core->mem, key);
  return rc;
}

/* "a,b,c" cut in place; an empty text is one empty tag, as the official client
 * sends it. */
static size_t split(char *text, const char **tags) {
  size_t n = 0;
  for (char *at = text; at && n < TAGS_MAX; n++) {
    char *comma = strchr(at, ',');
    if (comma) *comma = 0;
    tags[n] = at;
    at = comma ? comma + 1 : NULL;
  }
  return n;
}

static const char *env_of(const tinker__world_t *world, const char *given,
                          const char *name) {
  if (given && given[0]) return given;
  const char *text = world->env(world->user, name);
  return text && text[0] ? text : NULL;
}

static bool is_text(const char *s) {
  return !s || tinker__utf8_valid(s, strlen(s));
}

/* From the options or the environment: both come from outside. */
static int check_texts(const tinker__session_options_t *s, char *why,
                       size_t why_len) {
  for (size_t i = 0; i < s->tag_count; i++) {
    if (!is_text(s->tags[i])) {
      return tinker__why(why, why_len, TINKER_EINVAL, "tags[%zu] is not UTF-8",
                         i);
    }
  }
  if (is_text(s->project_id) && is_text(s->display_name)) return 0;
  return tinker__why(why, why_len, TINKER_EINVAL, "%s is not UTF-8",
                     is_text(s->project_id) ? "display_name" : "project_id");
}

static int make_session(tinker_client_t *core, const tinker_client_options_t *o,
                        char *why, size_t why_len) {
  const tinker__world_t *world = core->loop->world;
  const char *tags[TAGS_MAX];
  char *text = NULL;
  tinker__buf_t metadata;
  tinker__session_options_t s = {
      .loop = core->loop,
      .http = core->http,
      .mem = core->mem,
      .sdk_version = SDK_VERSION,
      .tags = o->tags,
      .tag_count = o->tag_count,
      .project_id = env_of(world, o->project_id, "TINKER_PROJECT_ID"),
      .display_name = o->display_name,
      .where = core->where,
      .door = core->hook ? &core->hook->session_door : NULL,
      .event = tinker__driver_event,
      .log = core->log,
      .user = core,
  };
  int rc = tinker__adoption_take(&s, o->adopt, why, why_len);
  if (rc) return rc;
  const char *listed = o->tags ? NULL : world->env(world->user, "TINKER_TAGS");
  if (listed) {
    text = tinker__mem_strdup(core->mem, listed);
    if (!text) return TINKER_ENOMEM;
    s.tag_count = split(text, tags);
    s.tags = tags;
  }
  tinker__buf_init(&metadata, core->mem, SIZE_MAX / 2);
  rc = check_texts(&s, why, why_len);
  if (!rc) {
    rc = tinker__metadata_write(&metadata, o->metadata, o->metadata_count, why,
                                why_len);
  }
  if (!rc && metadata.len) s.metadata = tinker__buf_cstr(&metadata);
  if (!rc && metadata.len && !s.metadata) rc = TINKER_ENOMEM;
  if (!rc) rc = tinker__session_new(&core->session, &s);
  tinker__buf_free(&metadata);
  tinker__mem_free(core->mem, text);
  return rc;
}

static int make_seed(tinker_client_t *core) {
  const tinker__world_t *world = core->loop->world;
  uint64_t seed;
  if (world->random(world->user, &seed, sizeof seed)) return TINKER_ERANDOM;
  tinker__flow_init(&core->flow, &tinker__driver_sink, core, core->mem, seed);
  core->flow.log = core->log;
  core->flow.tells = core->events != NULL;
  core->flow.where = core->where;
  return 0;
}

static int make_hook(tinker_client_t *core, const tinker_client_options_t *o,
                     char *why, size_t why_len) {
  int rc = tinker__hook_new(&core->hook, core, o->seams, why, why_len);
  if (!rc && core->hook) {
    tinker__flow_set_door(&core->flow, &core->hook->door);
  }
  return rc;
}

static void undo_http(void *user) {
  tinker__http_close(((tinker_client_t *)user)->http, NULL, NULL);
}

/* Session and transport are closed by a task on the loop. */
static void undo_run(tinker__task_t *task) {
  tinker_client_t *core = TINKER__CONTAINER(task, tinker_client_t, close_task);
  if (core->session) {
    tinker__session_close(core->session, undo_http, core);
  } else {
    undo_http(core);
  }
}

/* own: the loop was made here. It may end later, on a caller's uv loop. */
static void undo(tinker_client_t *core, bool own) {
  if (own && core->loop) {
    if (core->http) {
      tinker__task_init(&core->close_task, undo_run);
      tinker__loop_post(core->loop, &core->close_task);
    }
    tinker__loop_close(core->loop, tinker__core_unhold, core);
  } else {
    tinker__core_unhold(core);
  }
  tinker__core_unhold(core);
}

static int make_loop(tinker_client_t *core, uv_loop_t *uv, char *why,
                     size_t why_len) {
  const tinker__world_t *world = tinker__world_real();
  int rc;
  if (uv) {
    rc = tinker__loop_borrowed(&core->loop, core->mem, world, uv);
  } else if (core->mode == TINKER_RUN_STEP) {
    rc = tinker__loop_step(&core->loop, core->mem, world);
  } else {
    rc = tinker__loop_background(&core->loop, core->mem, world);
  }
  if (!rc) return 0;
  return tinker__why(why, why_len, rc, "the client's loop: %s",
                     tinker_code_text(rc));
}

/* A transport that somebody else has made may go anywhere. */
static int make_where(tinker_client_t *core, const tinker_client_options_t *o,
                      bool own) {
  const tinker__world_t *world = core->loop->world;
  if (!own && !o->base_url) return 0;
  core->where =
      tinker__mem_strdup(core->mem, tinker__auth_base_url(world, o->base_url));
  return core->where ? 0 : TINKER_ENOMEM;
}

static int make_parts(tinker_client_t *core, const tinker_client_options_t *o,
                      const tinker__client_parts_t *parts, uv_loop_t *uv,
                      char *why, size_t why_len) {
  int rc = 0;
  if (parts) {
    core->loop = parts->loop;
    core->http = parts->http;
  } else {
    rc = make_loop(core, uv, why, why_len);
    if (!rc) rc = make_http(core, o, why, why_len);
  }
  if (!rc) core->world = core->loop->world;
  if (!rc) rc = tinker__notices_open(core, o, why, why_len);
  if (!rc) rc = make_where(core, o, !parts);
  if (!rc) rc = make_seed(core);
  if (!rc) rc = make_hook(core, o, why, why_len);
  if (!rc) rc = make_session(core, o, why, why_len);
  bool threads = core->mode == TINKER_RUN_BACKGROUND;
  if (!rc && core->hook && threads && !(parts && parts->turned)) {
    rc = tinker__hook_start(core->hook);
  }
  return rc;
}

/* parts or uv may be given, or none of them. */
static int client_new(tinker_client_t **out,
                      const tinker_client_options_t *options,
                      const tinker__client_parts_t *parts, uv_loop_t *uv,
                      char *why, size_t why_len) {
  static const tinker_client_options_t defaults = TINKER_CLIENT_OPTIONS_INIT;
  tinker_client_options_t o;
  tinker__why(why, why_len, 0, "%s", "");
  if (!out) return tinker__why(why, why_len, TINKER_EINVAL, "out is NULL");
  int rc = tinker__options_take(&o, sizeof o, &defaults, options,
                                "client_options", why, why_len);
  if (!rc) rc = check(&o, why, why_len);
  if (!rc && uv && o.mode != TINKER_RUN_BACKGROUND) {
    rc = tinker__why(why, why_len, TINKER_EINVAL,
                     "mode is %d: on a uv_loop_t want TINKER_RUN_BACKGROUND, "
                     "the default",
                     o.mode);
  }
  if (rc) return rc;
  tinker_client_t *core =
      new_core(&o, parts, uv ? TINKER__RUN_BORROWED : o.mode);
  if (!core) {
    return tinker__why(why, why_len, TINKER_ENOMEM, "%s",
                       tinker_code_text(TINKER_ENOMEM));
  }
  rc = make_parts(core, &o, parts, uv, why, why_len);
  if (rc) {
    if (why && why_len && !why[0]) {
      tinker__why(why, why_len, rc, "%s", tinker_code_text(rc));
    }
    undo(core, !parts);
    return rc;
  }
  *out = core;
  return 0;
}

int tinker__client_new_on(tinker_client_t **out,
                          const tinker_client_options_t *options,
                          const tinker__client_parts_t *parts, char *why,
                          size_t why_len) {
  return client_new(out, options, parts, parts ? parts->uv : NULL, why,
                    why_len);
}

int tinker_client_new(tinker_client_t **out,
                      const tinker_client_options_t *options,
                      tinker_error_t **error) {
  char why[WHY_MAX];
  int rc = client_new(out, options, NULL, NULL, why, sizeof why);
  return tinker__error_give(error, rc, "%s", why);
}

int tinker_client_new_uv(tinker_client_t **out, struct uv_loop_s *loop,
                         const tinker_client_options_t *options,
                         tinker_error_t **error) {
  char why[WHY_MAX];
  int rc = loop ? client_new(out, options, NULL, loop, why, sizeof why)
                : tinker__why(why, sizeof why, TINKER_EINVAL, "loop is NULL");
  return tinker__error_give(error, rc, "%s", why);
}

/* --- asking --- */

void tinker__core_limits(tinker_client_t *core, tinker__chunk_limits_t *chunks,
                         bool *parallel) {
  pthread_mutex_lock(&core->lock);
  *chunks = core->chunks;
  *parallel = core->parallel_chunks;
  pthread_mutex_unlock(&core->lock);
}

int tinker_shutdown(int64_t timeout_ms) {
  return timeout_ms < -1 ? TINKER_EINVAL : tinker__loop_reap(timeout_ms);
}

int tinker_client_session_id(tinker_client_t *client, char *out,
                             size_t out_len) {
  if (!client || !out || out_len == 0) return TINKER_EINVAL;
  if (!tinker__core_is_here(client)) return TINKER_EFORKED;
  pthread_mutex_lock(&client->lock);
  int rc = client->session_id[0] ? 0 : TINKER_EAGAIN;
  if (!rc) tinker__why(out, out_len, 0, "%s", client->session_id);
  pthread_mutex_unlock(&client->lock);
  return rc;
}
