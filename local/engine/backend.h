/* backend: an open engine, and the memory that its samples may use.
 *
 * A handle that an engine made is used only through that engine's table, so
 * base models and generations point at their backend. Several backends may be
 * open; the engine thread drives all of them. */
#ifndef TINKER_ENGINE_BACKEND_H
#define TINKER_ENGINE_BACKEND_H

#include "base/mem.h"
#include "engine/engine.h"

/* Memory for the caches of samples. Backends that use the same memory share one
 * of these. Engine thread. */
typedef struct tinker__eng_slots_s {
  uint64_t limit;   /* bytes; UINT64_MAX = none. May fall below claimed */
  uint64_t claimed; /* bytes that generations use, or that are kept for them */
  bool full;        /* in this round a generation waits for this memory */
} tinker__eng_slots_t;

typedef struct tinker__eng_backend_s {
  const tinker__engine_api_t *api;
  tinker__engine_t *engine;
  tinker__eng_slots_t *slots;
  tinker__eng_slots_t own; /* slots of an engine with memory of its own */
} tinker__eng_backend_t;

/* Loads a base model in one call. */
int tinker__eng_backend_load(const tinker__engine_api_t *api,
                             tinker__engine_t *e, const char *model_dir,
                             tinker__eng_base_t **out, char *why,
                             size_t why_len);

#endif
