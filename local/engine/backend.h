/* backend: an engine that runs, and the memory its samples may use.
 *
 * Everything that was made by an engine is used through the table it came from:
 * a base model, a generation and a trainer point at their backend. Several may
 * be open; the engine thread drives them all. */
#ifndef TINKER_ENGINE_BACKEND_H
#define TINKER_ENGINE_BACKEND_H

#include "base/mem.h"
#include "engine/engine.h"

/* Memory for the caches of samples. Backends on the same memory share one.
 * Engine thread. */
typedef struct tinker__eng_slots_s {
  uint64_t limit;   /* bytes; UINT64_MAX = none. May fall below claimed */
  uint64_t claimed; /* bytes that generations have, or are sure to get */
  bool full;        /* in this round, one waits for it */
} tinker__eng_slots_t;

typedef struct tinker__eng_backend_s {
  const tinker__engine_api_t *api;
  tinker__engine_t *engine;
  tinker__eng_slots_t *slots;
  tinker__eng_slots_t own; /* that, for an engine with memory of its own */
} tinker__eng_backend_t;

/* Loads a base model to its end. */
int tinker__eng_backend_load(const tinker__engine_api_t *api,
                             tinker__engine_t *e, const char *model_dir,
                             tinker__eng_base_t **out, char *why,
                             size_t why_len);

#endif
