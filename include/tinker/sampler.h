/* Sampler: weights to draw sequences from. Calls of one sampler run
 * independently of each other, in any order. A request that the service pushes
 * back (429) or whose result it has lost is submitted again until the call's
 * deadline. */
#ifndef TINKER_SAMPLER_H
#define TINKER_SAMPLER_H

#include "data.h"
#include "future.h"
#include "options.h"
#include "types.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Adds a reference.
 * sampler: may be NULL. Returns sampler. Any thread. */
TINKER_API tinker_sampler_t *tinker_sampler_retain(tinker_sampler_t *sampler);

/* Gives a reference back; running operations go on.
 * sampler: may be NULL. Returns NULL. Any thread. */
TINKER_API tinker_sampler_t *tinker_sampler_release(tinker_sampler_t *sampler);

/* Id of the sampler, which is that of its sampling session.
 * sampler: not NULL. Returns a string owned by the sampler. Any thread. */
TINKER_API const char *tinker_sampler_id(const tinker_sampler_t *sampler);

/* Draws sequences that continue a prompt.
 * sampler, call: see future.h. prompt: not NULL, not empty, borrowed until the
 * call returns. params: borrowed; NULL = the defaults. Returns a future owned
 * by the caller; result: tinker_future_get_sample(). Any thread. */
TINKER_API TINKER_NODISCARD tinker_future_t *
tinker_sampler_sample(tinker_sampler_t *sampler, const tinker_input_t *prompt,
                      const tinker_sampling_params_t *params,
                      const tinker_call_options_t *call);

#ifdef __cplusplus
}
#endif

#endif
