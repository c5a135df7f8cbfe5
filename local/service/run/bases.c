/* bases: loads and unloads the base models of the configuration, and opens the
 * engines that hold them. core/base_model.h has the states and the references.
 *
 * Loading is a task of the engine thread in small steps, so that others sample
 * and train between them; unloading is a task of one step. Memory is planned
 * for each load: a model is refused if it does not fit beside the other base
 * models. Of the bytes that base models and requests leave, half is for the
 * caches of samples and half for training. The digest of a folder is kept from
 * the first load on, and a folder whose digest has changed later is refused. */
#define _XOPEN_SOURCE 700 /* realpath */

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <tinker/error.h>
#include <tinker/tokenizer.h>

#include "engine/row_generator.h"
#include "service/core/memory.h"
#include "service/run/bases.h"
#include "service/run/exec.h"

/* --- Requests to load and unload: under the lock --------------------------
 */

int tinker__svc_base_load(tinker__svc_base_model_t *b, char *why,
                          size_t why_len) {
  switch (b->state) {
  case TINKER__BASE_LOADED:
  case TINKER__BASE_LOADING: return 0;
  case TINKER__BASE_LEAVING:
    if (b->refs && tinker__svc_base_move(b, TINKER__BASE_LOADED)) return 0;
    return tinker__why(why, why_len, TINKER_EBUSY,
                       "base model '%s' is being unloaded", b->name);
  default: break;
  }
  tinker__svc_base_move(b, TINKER__BASE_LOADING);
  tinker__eng_scheduler_push(b->service->scheduler, &b->task);
  return 0;
}

int tinker__svc_base_unload(tinker__svc_base_model_t *b, char *why,
                            size_t why_len) {
  if (b->state == TINKER__BASE_LOADING) {
    return tinker__why(why, why_len, TINKER_EBUSY,
                       "base model '%s' is being loaded", b->name);
  }
  if (tinker__svc_base_move(b, TINKER__BASE_LEAVING)) tinker__svc_base_leave(b);
  return 0;
}

/* --- Memory: engine thread ------------------------------------------------ */

/* The bytes for base models, training and caches together. False when they
 * can't be known. */
static bool all_memory(const tinker__svc_t *s, uint64_t *bytes) {
  *bytes = (uint64_t)s->config.max_memory;
  if (*bytes) return true;
  if (!tinker__svc_memory_available(s->world, bytes)) return false;
  *bytes = tinker__svc_price_add(*bytes, s->slots.claimed);
  for (size_t i = 0; i < s->n_bases; i++) {
    if (!s->bases[i].base) continue;
    *bytes = tinker__svc_price_add(*bytes, s->bases[i].bytes);
  }
  return true;
}

static uint64_t planned(const tinker__svc_t *s) {
  uint64_t sum = 0;
  for (size_t i = 0; i < s->n_bases; i++) {
    sum = tinker__svc_price_add(sum, s->bases[i].bytes);
  }
  return sum;
}

/* Settles what requests may take, once, by what the models of the start
 * leave. */
static void reserve(tinker__svc_t *s) {
  uint64_t have, used = planned(s);
  if (!all_memory(s, &have)) return;
  s->reserved = tinker__svc_budget_plan(s, have > used ? have - used : 0);
}

/* Shares the bytes that base models and requests leave: half for the caches of
 * samples, half for training. */
static void share_memory(tinker__svc_t *s) {
  uint64_t have, used = tinker__svc_price_add(planned(s), s->reserved);
  bool known = all_memory(s, &have);
  s->slots.limit = known ? (have > used ? have - used : 0) / 2 + 1 : UINT64_MAX;
  atomic_store(&s->train_limit, s->slots.limit);
}

/* Plans the memory of b, or refuses b before a byte of it is loaded. */
static int plan(tinker__svc_base_model_t *b, char *why, size_t why_len) {
  tinker__svc_t *s = b->service;
  uint64_t bytes, have, others = planned(s), need;
  int rc = b->backend->api->estimate(b->dir, &bytes, why, why_len);
  if (rc != 0) return rc;
  need = tinker__svc_price_add(others, bytes);
  bool known = all_memory(s, &have);
  if (known) have -= have < s->reserved ? have : s->reserved;
  if (known && need > have) {
    return tinker__why(why, why_len, TINKER_ENOMEM,
                       "needs %" PRIu64 " bytes of memory%s, %" PRIu64
                       " are available",
                       need, others ? " with those before it" : "", have);
  }
  b->bytes = bytes;
  share_memory(s);
  return 0;
}

/* --- Loading: engine thread ----------------------------------------------- */

static int copy_info(tinker__mem_t *mem, tinker__eng_base_info_t *out,
                     const tinker__eng_base_info_t *i) {
  *out = *i;
  out->eos = tinker__mem_dup(mem, i->eos, i->num_eos * sizeof *i->eos);
  out->arch = tinker__mem_strdup(mem, i->arch);
  out->digest = tinker__mem_strdup(mem, i->digest);
  return out->eos && out->arch && out->digest ? 0 : TINKER_ENOMEM;
}

static void free_info(tinker__mem_t *mem, tinker__eng_base_info_t *i) {
  tinker__mem_free(mem, (void *)(uintptr_t)i->eos);
  tinker__mem_free(mem, (void *)(uintptr_t)i->arch);
  tinker__mem_free(mem, (void *)(uintptr_t)i->digest);
}

/* Keeps the facts of the first load in b->info, which others read without the
 * lock, so it is written once. A later load must have the same digest. */
static int keep_info(tinker__svc_base_model_t *b, tinker__eng_base_t *base,
                     char *why, size_t why_len) {
  tinker__svc_t *s = b->service;
  tinker__eng_base_info_t info, copy;
  b->backend->api->base_info(base, &info);
  if (info.bytes > b->bytes) b->bytes = info.bytes;
  if (!b->info.digest) {
    if (copy_info(s->mem, &copy, &info) != 0) {
      free_info(s->mem, &copy);
      return TINKER_ENOMEM;
    }
    tinker__svc_lock(s); /* tinker__svc_base_same reads the digest */
    b->info = copy;
    tinker__svc_unlock(s);
    return 0;
  }
  if (!strcmp(b->info.digest, info.digest)) return 0;
  return tinker__why(why, why_len, TINKER_EINVAL,
                     "its configuration or weights have changed since it was "
                     "loaded first: runs and checkpoints belong to the others");
}

static int end_load(tinker__svc_base_model_t *b, char *why, size_t why_len) {
  tinker__eng_base_t *base = NULL;
  b->backend->api->load_end(b->load, &base);
  b->load = NULL;
  int rc = keep_info(b, base, why, why_len);
  if (rc != 0) {
    b->backend->api->base_release(base);
    return rc;
  }
  b->base = base;
  share_memory(b->service);
  return 0;
}

static void drop_load(tinker__svc_base_model_t *b) {
  if (b->load) b->backend->api->load_end(b->load, NULL);
  b->load = NULL;
}

/* Does one step of a load; 1 while there is more, 0 or a code at the end.
 * Before it begins, it waits until samples have given back the memory that the
 * plan takes from them. */
static int load_step(tinker__svc_base_model_t *b, const atomic_bool *halt,
                     char *why, size_t why_len) {
  const tinker__eng_backend_t *e = b->backend;
  if (!b->load) {
    int rc = b->bytes ? 0 : plan(b, why, why_len);
    if (rc != 0) return rc;
    if (e->slots->claimed > e->slots->limit) return 1;
    rc = e->api->load_begin(e->engine, b->dir, &b->load, why, why_len);
    return rc ? rc : 1;
  }
  int rc = e->api->load_step(b->load, halt, why, why_len);
  return rc ? rc : end_load(b, why, why_len);
}

static void fail_load(tinker__svc_base_model_t *b, int rc, const char *why) {
  tinker__svc_t *s = b->service;
  drop_load(b);
  b->bytes = 0;
  share_memory(s);
  tinker__svc_lock(s);
  tinker__svc_base_move(b, TINKER__BASE_ABSENT);
  tinker__why(b->why, sizeof b->why, rc, "model folder %s: %s", b->dir,
              *why ? why : tinker_code_text(rc));
  tinker__svc_unlock(s);
  tinker__svc_log(s, "error", "load_failed", "model", b->name, "why", b->why,
                  NULL);
}

static void run_load(tinker__svc_base_model_t *b) {
  char why[300] = "";
  tinker__svc_t *s = b->service;
  int rc =
      load_step(b, tinker__eng_scheduler_halt(s->scheduler), why, sizeof why);
  if (rc > 0 || rc == TINKER_ECANCELED) { /* canceled: the service stops */
    tinker__eng_scheduler_push(s->scheduler, &b->task); /* others go first */
    return;
  }
  if (rc != 0) {
    fail_load(b, rc, why);
    return;
  }
  tinker__svc_lock(s);
  tinker__svc_base_move(b, TINKER__BASE_LOADED);
  *b->why = 0;
  tinker__svc_unlock(s);
  tinker__svc_log(s, "info", "loaded", "model", b->name, NULL);
}

/* --- Leaving: engine thread ----------------------------------------------- */

static void release(tinker__svc_base_model_t *b) {
  if (b->base) b->backend->api->base_release(b->base);
  b->base = NULL;
  b->bytes = 0;
}

/* Unloads the adapters of b's samplers; their sessions have ended. */
static void drop_adapters(tinker__svc_base_model_t *b) {
  tinker__svc_t *s = b->service;
  TINKER__LIST_EACH(l, tmp, &s->adapters) {
    tinker__svc_sampler_t *p =
        TINKER__CONTAINER(l, tinker__svc_sampler_t, loaded);
    if (p->base == b) tinker__svc_sampler_unload(p);
  }
}

static void run_leave(tinker__svc_base_model_t *b) {
  tinker__svc_t *s = b->service;
  tinker__svc_lock(s);
  bool go = !b->refs && tinker__svc_base_move(b, TINKER__BASE_ABSENT);
  tinker__svc_unlock(s);
  if (!go) return;
  drop_adapters(b);
  release(b);
  share_memory(s);
  tinker__svc_log(s, "info", "unloaded", "model", b->name, NULL);
}

/* A step of a base model's task. The task is pushed for a load only when the
 * state was ABSENT, so it is never pushed twice. */
static bool step(tinker__eng_task_t *task) {
  tinker__svc_base_model_t *b =
      TINKER__CONTAINER(task, tinker__svc_base_model_t, task);
  tinker__svc_t *s = b->service;
  tinker__svc_lock(s);
  bool loading = b->state == TINKER__BASE_LOADING;
  tinker__svc_unlock(s);
  if (loading) {
    run_load(b);
  } else {
    run_leave(b);
  }
  return false;
}

/* --- Generation without a session ----------------------------------------- */

static int hold_named(void *user, const char *name,
                      tinker__eng_row_lease_t *out, char *why, size_t why_len) {
  tinker__svc_t *s = user;
  tinker__svc_lock(s);
  tinker__svc_base_model_t *b = tinker__svc_base_find(s, tinker__str(name));
  bool there = b && b->state == TINKER__BASE_LOADED && !s->stopping;
  if (there) {
    *out = (tinker__eng_row_lease_t){
        .backend = b->backend,
        .info = &b->info,
        .text = b->tokenizer ? &b->text : NULL,
        .no_text = b->no_text,
        .model = b,
    };
    tinker__svc_base_hold(b, &out->holds);
  }
  tinker__svc_unlock(s);
  if (there) return 0;
  return tinker__why(why, why_len, TINKER_ENOENT,
                     "model: '%.200s' is not served here", name);
}

static tinker__eng_base_t *base_held(void *user,
                                     const tinker__eng_row_lease_t *l) {
  (void)user;
  return ((const tinker__svc_base_model_t *)l->model)->base;
}

static void drop_held(void *user, tinker__eng_row_lease_t *l) {
  tinker__svc_t *s = user;
  tinker__svc_lock(s);
  tinker__svc_base_drop(l->model, &l->holds);
  tinker__svc_unlock(s);
}

static void each_loaded(void *user,
                        void (*fn)(void *to, const char *name, size_t context),
                        void *to) {
  tinker__svc_t *s = user;
  tinker__svc_lock(s);
  for (size_t i = 0; i < s->n_bases; i++) {
    const tinker__svc_base_model_t *b = &s->bases[i];
    if (b->state != TINKER__BASE_LOADED) continue;
    fn(to, b->name, b->info.context_length);
  }
  tinker__svc_unlock(s);
}

int tinker__svc_bases_generator(tinker__svc_t *s) {
  const tinker__eng_row_models_t models = {hold_named, base_held, drop_held,
                                           each_loaded, s};
  return tinker__eng_row_generator_new(&s->generator, s->mem, s->scheduler,
                                       &models);
}

/* --- Start and stop: engine thread ---------------------------------------- */

/* True when the start must load b: it is not marked `later`, or models and
 * samplers of an earlier run hold it. */
static bool wanted(const tinker__svc_base_model_t *b, size_t i) {
  return !b->service->config.models[i].later || b->refs;
}

static int fail_start(tinker__svc_base_model_t *b, int rc, const char *why) {
  tinker__svc_t *s = b->service;
  return tinker__why(s->why, sizeof s->why, rc, "model folder %s: %s", b->dir,
                     *why ? why : tinker_code_text(rc));
}

static int open_engines(tinker__svc_t *s) {
  tinker__engine_options_t options = {
      .mem = tinker__mem_allocator(s->mem),
      .threads = (unsigned)s->config.threads,
  };
  int rc = 0;
  for (size_t i = 0; rc == 0 && i < s->n_backends; i++) {
    tinker__eng_backend_t *e = &s->backends[i];
    rc = e->api->open(&e->engine, &options, s->why, sizeof s->why);
    if (rc != 0) break;
    e->own.limit = e->api->slot_limit(e->engine);
    if (e->own.limit != UINT64_MAX) e->slots = &e->own;
  }
  return rc;
}

int tinker__svc_bases_start(tinker__svc_t *s) {
  int rc = 0;
  for (size_t i = 0; i < s->n_bases; i++) {
    char why[300] = "";
    if (wanted(&s->bases[i], i)) rc = plan(&s->bases[i], why, sizeof why);
    if (rc != 0) return fail_start(&s->bases[i], rc, why);
  }
  reserve(s);
  share_memory(s);
  rc = open_engines(s);
  if (rc != 0) return rc;
  for (size_t i = 0; i < s->n_bases; i++) {
    tinker__svc_base_model_t *b = &s->bases[i];
    char why[300] = "";
    if (!wanted(b, i)) continue;
    do {
      rc = load_step(b, NULL, why, sizeof why);
    } while (rc > 0);
    if (rc != 0) return fail_start(b, rc, why);
    tinker__svc_lock(s);
    tinker__svc_base_move(b, TINKER__BASE_LOADING);
    tinker__svc_base_move(b, TINKER__BASE_LOADED);
    tinker__svc_unlock(s);
  }
  return 0;
}

void tinker__svc_bases_stop(tinker__svc_t *s) {
  for (size_t i = 0; i < s->n_bases; i++) {
    drop_load(&s->bases[i]);
    release(&s->bases[i]);
  }
  for (size_t i = 0; i < s->n_backends; i++) {
    tinker__eng_backend_t *e = &s->backends[i];
    if (e->engine) e->api->close(e->engine);
    e->engine = NULL;
  }
}

/* --- Models of the configuration ------------------------------------------ */

/* The bytes of a token. The ids that pad a vocabulary have no token and add no
 * text. */
static int token_bytes(void *user, int32_t token, const char **bytes,
                       size_t *len) {
  int rc = tinker_tokenizer_token_bytes(user, token, bytes, len);
  if (rc != TINKER_ENOENT) return rc;
  *bytes = "";
  *len = 0;
  return 0;
}

static int do_without_text(tinker__svc_t *s, tinker__svc_base_model_t *b,
                           const char *path, const char *why) {
  b->no_text = tinker__mem_strdup(s->mem, why);
  if (!b->no_text) return TINKER_ENOMEM;
  tinker__svc_log(s, "warning", "no_stop_strings", "base_model", b->name,
                  "file", path, "why", why, NULL);
  return 0;
}

/* Loads tokenizer.json for stop strings. Without the file, or if it can't be
 * read, stop strings are refused and everything else works. */
static int load_tokenizer(tinker__svc_t *s, tinker__svc_base_model_t *b) {
  char path[PATH_MAX + 32];
  tinker_error_t *error = NULL;
  snprintf(path, sizeof path, "%s/tokenizer.json", b->dir);
  int rc = tinker_tokenizer_new_from_file(&b->tokenizer, path, NULL, &error);
  b->text = (tinker__eng_gen_text_t){token_bytes, b->tokenizer};
  if (rc == TINKER_ENOMEM) {
    tinker__why(s->why, sizeof s->why, rc, "%s: %s", path,
                tinker_error_message(error));
  } else if (rc != 0 && rc != TINKER_ENOENT) {
    rc = do_without_text(s, b, path, tinker_error_message(error));
  } else {
    rc = 0;
  }
  tinker_error_release(error);
  return rc;
}

/* The service's backend for an engine's table. The engine thread opens it
 * later.
 */
static tinker__eng_backend_t *backend_of(tinker__svc_t *s,
                                         const tinker__engine_api_t *api) {
  for (size_t i = 0; i < s->n_backends; i++) {
    if (s->backends[i].api == api) return &s->backends[i];
  }
  tinker__eng_backend_t *e = &s->backends[s->n_backends++];
  *e = (tinker__eng_backend_t){.api = api, .slots = &s->slots};
  return e;
}

static int open_model(tinker__svc_t *s, const tinker__svc_model_spec_t *m,
                      tinker__svc_base_model_t *b) {
  char real[PATH_MAX];
  b->service = s;
  b->backend = backend_of(s, m->engine ? m->engine : s->config.engine);
  tinker__list_init(&b->task.link);
  b->task.step = step;
  if (!realpath(m->dir, real)) {
    return tinker__why(s->why, sizeof s->why, TINKER_ENOENT,
                       "model folder %s: %s", m->dir, strerror(errno));
  }
  b->dir = tinker__mem_strdup(s->mem, real);
  if (!b->dir) return TINKER_ENOMEM;
  const char *slash = strrchr(b->dir, '/');
  b->name = m->name ? m->name : slash[1] ? slash + 1 : b->dir;
  return load_tokenizer(s, b);
}

int tinker__svc_bases_open(tinker__svc_t *s) {
  const tinker__svc_config_t *c = &s->config;
  if (!c->n_models) {
    return tinker__why(s->why, sizeof s->why, TINKER_EINVAL,
                       "no model folder given");
  }
  s->bases = tinker__mem_array(s->mem, c->n_models, sizeof *s->bases);
  s->backends = tinker__mem_array(s->mem, c->n_models, sizeof *s->backends);
  if (!s->bases || !s->backends) return TINKER_ENOMEM;
  for (size_t i = 0; i < c->n_models; i++) {
    int rc = open_model(s, &c->models[i], &s->bases[i]);
    s->n_bases = i + 1;
    if (rc != 0) return rc;
    if (tinker__svc_base_find(s, tinker__str(s->bases[i].name)) !=
        &s->bases[i]) {
      return tinker__why(s->why, sizeof s->why, TINKER_EEXIST,
                         "two models are named '%s'", s->bases[i].name);
    }
  }
  return 0;
}

void tinker__svc_bases_free(tinker__svc_t *s) {
  for (size_t i = 0; i < s->n_bases; i++) {
    free_info(s->mem, &s->bases[i].info);
    tinker_tokenizer_release(s->bases[i].tokenizer);
    tinker__mem_free(s->mem, s->bases[i].dir);
    tinker__mem_free(s->mem, s->bases[i].no_text);
  }
  tinker__mem_free(s->mem, s->bases);
  tinker__mem_free(s->mem, s->backends);
}
