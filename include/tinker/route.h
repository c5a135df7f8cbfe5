/* Route: several samplers, of one client or of several, asked in order for one
 * answer.
 *
 * A sample of a route is one operation with one future. Its first source is
 * asked; the next one when a source has failed, for whatever reason, since
 * nothing that a sample does has to be undone; and, with beside_ms, also when
 * that time has passed without an answer, beside those that are still asked.
 * The first answer counts, and the others are canceled. The future tells which
 * source gave it (tinker_future_get_source()).
 *
 * The sample belongs to the client of the first source, its home: the callback
 * runs there, tinker_client_next() of that client returns it, and it has no
 * thread of its own.
 *
 * - Cancel and deadline end the sample and all that is asked for it. The
 *   deadline is one for all sources together.
 * - If the home closes, the sample ends with TINKER_ECLOSED; if it drains, it
 *   waits for the sample, but is not asked any more itself.
 * - If the client of another source closes, that source has failed; if it
 * drains, only if it has not been asked before.
 * - A client in step mode or on a uv_loop_t only goes on while the program
 * turns it: waiting for the sample turns its home alone. */
#ifndef TINKER_ROUTE_H
#define TINKER_ROUTE_H

#include "future.h"
#include "sampler.h"
#include "types.h"

#ifdef __cplusplus
extern "C" {
#endif

/* A place to ask. */
typedef struct tinker_route_source_s {
  const char *name;          /* for people, in errors too; not NULL; copied */
  tinker_sampler_t *sampler; /* not NULL; the route adds a reference */
} tinker_route_source_t;

typedef struct tinker_route_options_s {
  size_t size;
  /* Milliseconds without an answer after which the next source is asked beside
   * those before it; 0 asks all at once. Default -1: only after a failure. */
  int64_t beside_ms;
} tinker_route_options_t;

#define TINKER_ROUTE_OPTIONS_INIT                                              \
  { sizeof(tinker_route_options_t), -1 }

/* Writes the defaults.
 * o: written, not NULL. Returns nothing. Any thread. */
static inline void tinker_route_options_init(tinker_route_options_t *o) {
  const tinker_route_options_t init = TINKER_ROUTE_OPTIONS_INIT;
  *o = init;
}

/* A new route.
 * out: receives a reference owned by the caller; untouched on failure. sources:
 * n of them, in order, borrowed. n: 1 to 64. options: borrowed; NULL = the
 * defaults. error: receives the reason, see tinker_error_t; may be NULL.
 * Returns 0, TINKER_EINVAL, TINKER_ENOTSUP or TINKER_ENOMEM. Any thread. */
TINKER_API int tinker_route_new(tinker_route_t **out,
                                const tinker_route_source_t *sources, size_t n,
                                const tinker_route_options_t *options,
                                tinker_error_t **error);

/* Adds a reference.
 * route: may be NULL. Returns route. Any thread. */
TINKER_API tinker_route_t *tinker_route_retain(tinker_route_t *route);

/* Gives a reference back; running operations go on.
 * route: may be NULL. Returns NULL. Any thread. */
TINKER_API tinker_route_t *tinker_route_release(tinker_route_t *route);

/* Draws sequences that continue a prompt, from the first source that answers.
 * If none does, the error has the code of the last source's, the sentences of
 * all, and says retriable if all of them do.
 * route, call: see future.h. prompt, params: as tinker_sampler_sample().
 * Returns a future owned by the caller; results: tinker_future_get_sample() and
 * tinker_future_get_source(). Any thread. */
TINKER_API TINKER_NODISCARD tinker_future_t *
tinker_route_sample(tinker_route_t *route, const tinker_input_t *prompt,
                    const tinker_sampling_params_t *params,
                    const tinker_call_options_t *call);

/* The source that a result of a route is from.
 * future: not NULL. index: receives its place in the route; may be NULL. name:
 * receives its name, owned by the future; may be NULL. Both are untouched on
 * failure. Returns as tinker_future_get_trainer(). Any thread. */
TINKER_API int tinker_future_get_source(tinker_future_t *future, size_t *index,
                                        const char **name);

#ifdef __cplusplus
}
#endif

#endif
