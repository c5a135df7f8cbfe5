/* base_model: a model folder that is served. Internal to local/service.
 *
 * A base model moves ABSENT -> LOADING -> LOADED -> LEAVING -> ABSENT, under
 * the lock; a load that fails leads back to ABSENT, and a model that is wanted
 * again while it is LEAVING is LOADED again. Models, samplers and generations
 * that need it hold references. A base model that is LEAVING is offered to
 * nobody new and is unloaded when the last reference is dropped. run/bases.c
 * loads and unloads it. */
#ifndef TINKER_SERVICE_CORE_BASE_MODEL_H
#define TINKER_SERVICE_CORE_BASE_MODEL_H

#include "base/str.h"
#include "engine/engine.h"
#include "engine/generate.h"
#include "engine/scheduler.h"
#include "service/core/types.h"

typedef enum {
  TINKER__BASE_ABSENT,  /* known by its name; no weights are in memory */
  TINKER__BASE_LOADING, /* its task is with the scheduler */
  TINKER__BASE_LOADED,
  TINKER__BASE_LEAVING /* unloaded when the last reference is dropped */
} tinker__svc_base_state_t;

/* Lives until the service ends. */
struct tinker__svc_base_model_s {
  tinker__svc_t *service;
  const char *name; /* what clients ask for */
  char *dir;        /* absolute */
  tinker__eng_backend_t *backend;
  struct tinker_tokenizer_s *tokenizer; /* NULL without tokenizer.json */
  char *no_text; /* why tokenizer.json can't be read; NULL = there is no file,
                    or a tokenizer */
  tinker__eng_gen_text_t text;
  tinker__eng_base_info_t info; /* written once, before the first LOADED */
  tinker__svc_base_state_t state;
  size_t refs;   /* held by models, samplers and generations */
  char why[400]; /* why the last load failed, "" = it did not */
  /* Engine thread. */
  tinker__eng_task_t task;
  tinker__eng_load_t *load; /* NULL = no load is under way */
  tinker__eng_base_t *base; /* NULL = not in memory */
  uint64_t bytes;           /* of memory planned for it; 0 = none */
};

/* The base model of that name, in any state; NULL = there is none. */
tinker__svc_base_model_t *tinker__svc_base_find(tinker__svc_t *s,
                                                tinker__str_t name);

/* All under the lock from here on. */

/* True when both have the same weights and configuration, whatever their names
 * are. False while one of two has never been loaded. */
bool tinker__svc_base_same(const tinker__svc_base_model_t *a,
                           const tinker__svc_base_model_t *b);
/* 0 when b is LOADED, TINKER_EBUSY when it is LOADING, else TINKER_ENOENT, both
 * with a sentence in why. */
int tinker__svc_base_usable(const tinker__svc_base_model_t *b, char *why,
                            size_t why_len);
/* Take and drop a reference. *holds says whether its owner has one, so a second
 * hold or drop does nothing. */
void tinker__svc_base_hold(tinker__svc_base_model_t *b, bool *holds);
void tinker__svc_base_drop(tinker__svc_base_model_t *b, bool *holds);
/* Changes the state. False, and no change, if the table has no such move. */
bool tinker__svc_base_move(tinker__svc_base_model_t *b,
                           tinker__svc_base_state_t to);
/* Gives b to the engine thread to be unloaded, if it is LEAVING and nobody
 * holds it. */
void tinker__svc_base_leave(tinker__svc_base_model_t *b);

#endif
