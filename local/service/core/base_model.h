/* base_model: a model folder that is served. Internal to local/service.
 *
 * It moves ABSENT -> LOADING -> LOADED -> LEAVING -> ABSENT, under the lock.
 * Who needs it holds a reference; a model that leaves takes no new ones and
 * goes with the last. What loads and unloads it is run/bases.c. */
#ifndef TINKER_SERVICE_CORE_BASE_MODEL_H
#define TINKER_SERVICE_CORE_BASE_MODEL_H

#include "base/str.h"
#include "engine/engine.h"
#include "engine/generate.h"
#include "engine/scheduler.h"
#include "service/core/types.h"

typedef enum {
  TINKER__BASE_ABSENT,  /* known by its name; nothing of it is in memory */
  TINKER__BASE_LOADING, /* its task is with the scheduler */
  TINKER__BASE_LOADED,
  TINKER__BASE_LEAVING /* nobody new may use it; it goes with the last user */
} tinker__svc_base_state_t;

/* There until the service ends. */
struct tinker__svc_base_model_s {
  tinker__svc_t *service;
  const char *name; /* what clients ask for */
  char *dir;        /* absolute */
  tinker__eng_backend_t *backend;
  struct tinker_tokenizer_s *tokenizer; /* NULL without tokenizer.json */
  char *no_text; /* why there is none beside a tokenizer.json; NULL = no file */
  tinker__eng_gen_text_t text;
  tinker__eng_base_info_t info; /* written once, before it is LOADED first */
  tinker__svc_base_state_t state;
  size_t refs;   /* models, samplers and generations that need it */
  char why[400]; /* of the last load that failed, "" = none */
  /* Engine thread. */
  tinker__eng_task_t task;
  tinker__eng_load_t *load; /* NULL = none under way */
  tinker__eng_base_t *base; /* NULL = not in memory */
  uint64_t bytes;           /* of memory that is planned for it; 0 = none */
};

/* The one of that name, whatever its state; NULL = none. */
tinker__svc_base_model_t *tinker__svc_base_find(tinker__svc_t *s,
                                                tinker__str_t name);

/* All under the lock from here on. */

/* The same weights and configuration, whatever the two are called. False while
 * one of them has never been loaded. */
bool tinker__svc_base_same(const tinker__svc_base_model_t *a,
                           const tinker__svc_base_model_t *b);
/* 0 when it is loaded; TINKER_EBUSY while it is being loaded, else
 * TINKER_ENOENT, both with why. */
int tinker__svc_base_usable(const tinker__svc_base_model_t *b, char *why,
                            size_t why_len);
/* A reference for who has that flag, and its end; both do nothing twice. */
void tinker__svc_base_hold(tinker__svc_base_model_t *b, bool *holds);
void tinker__svc_base_drop(tinker__svc_base_model_t *b, bool *holds);
/* False for a move that there is not. */
bool tinker__svc_base_move(tinker__svc_base_model_t *b,
                           tinker__svc_base_state_t to);
/* Gives one that leaves to the engine thread when nobody holds it. */
void tinker__svc_base_leave(tinker__svc_base_model_t *b);

#endif
