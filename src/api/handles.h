/* handles: trainers and samplers. Immutable except their counts; their turn,
 * which changes, belongs to the loop's thread. */
#ifndef TINKER_API_HANDLES_H
#define TINKER_API_HANDLES_H

#include "api/core.h"
#include "base/ref.h"

struct tinker_trainer_s {
  tinker__ref_t ref;
  tinker_client_t *core; /* a hold */
  tinker__turn_t *turn;  /* its id is the model's */
};

struct tinker_sampler_s {
  tinker__ref_t ref;
  tinker_client_t *core; /* a hold */
  tinker__turn_t *turn;  /* its id is the sampling session's */
};

/* 0 or TINKER_ENOMEM. */
int tinker__trainer_new(tinker_trainer_t **out, tinker_client_t *core,
                        const char *model_id);
int tinker__sampler_new(tinker_sampler_t **out, tinker_client_t *core,
                        const char *sampling_session_id);

#endif
