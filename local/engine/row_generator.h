/* row_generator: a generator on top of engines that compute rows. It uses the
 * scheduler with its batch, and base models that its owner keeps. Threads as
 * generator.h says; callbacks run on the engine thread. */
#ifndef TINKER_ENGINE_ROW_GENERATOR_H
#define TINKER_ENGINE_ROW_GENERATOR_H

#include "engine/generator.h"
#include "engine/scheduler.h"

/* A base model that is held and so can't be unloaded. */
typedef struct tinker__eng_row_lease_s {
  tinker__eng_backend_t *backend;
  const tinker__eng_base_info_t *info;
  const tinker__eng_gen_text_t *text; /* NULL = tokens have no text */
  const char *no_text; /* why the tokenizer.json gives none; NULL = no file */
  void *model;         /* for the owner of the models */
  bool holds;          /* for the owner of the models */
} tinker__eng_row_lease_t;

typedef struct tinker__eng_row_models_s {
  /* Holds the model of that name. 0, or TINKER_ENOENT when it is not loaded.
   * Any thread. */
  int (*hold)(void *user, const char *model, tinker__eng_row_lease_t *out,
              char *why, size_t why_len);
  tinker__eng_base_t *(*base)(void *user, const tinker__eng_row_lease_t *l);
  void (*drop)(void *user, tinker__eng_row_lease_t *l); /* any thread */
  void (*each)(void *user,
               void (*fn)(void *to, const char *name, size_t context),
               void *to);
  void *user;
} tinker__eng_row_models_t;

/* Close the generator after the scheduler has been freed and before the models
 * are. */
int tinker__eng_row_generator_new(tinker__eng_generator_t **out,
                                  tinker__mem_t *mem,
                                  tinker__eng_scheduler_t *scheduler,
                                  const tinker__eng_row_models_t *models);

#endif
