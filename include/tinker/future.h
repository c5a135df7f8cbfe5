/* Futures: the one shape of every asynchronous operation.
 *
 * A future is made by the call that starts the operation and ends exactly
 * once: with a result, a failure, a cancellation or its deadline. Results and
 * errors belong to the future and live until its last release.
 *
 * The codes that an operation may end with, besides 0:
 *
 * - by its caller: TINKER_ECANCELED, TINKER_ETIMEDOUT (its deadline),
 *   TINKER_ECLOSED (the client closed);
 * - refused by the service: TINKER_EREJECTED (the message has the service's own
 *   words), TINKER_EAUTH (the key), TINKER_EBILLING, TINKER_ESESSION;
 * - accepted, and failed there: TINKER_ESERVER, with category user where the
 *   request is at fault (a checkpoint name that exists, for example); also a
 *   service that answered 5xx until the tries were used up;
 * - not reached: TINKER_ECONNECT or TINKER_ETRANSPORT after five minutes of
 *   tries, TINKER_ETLS at the first; the log has a warning (log_cb) meanwhile;
 * - the result is gone, larger than is taken, or not understood: TINKER_ELOST,
 *   TINKER_EOVERFLOW, TINKER_EPROTO;
 * - a call of a trainer that has lost a number: TINKER_EFATAL;
 * - TINKER_ENOMEM, TINKER_ERANDOM, TINKER_ENOTSUP (the service demands what
 *   this version can't do), TINKER_EINTERNAL.
 *
 * The reply that holds a result may have 256 MiB, or, where the service has
 * announced its size, a quarter and 1 MiB more than that, at most 1 GiB
 * announced; compressed bytes count as what they become. A larger one is not
 * taken: its operation, which was carried out, ends with TINKER_EOVERFLOW. */
#ifndef TINKER_FUTURE_H
#define TINKER_FUTURE_H

#include "result.h"
#include "types.h"

#ifdef __cplusplus
extern "C" {
#endif

/* State of an operation.
 * future: not NULL. Returns TINKER_EAGAIN while it runs, 0 after success, the
 * negative code of its error after a failure, TINKER_EINVAL (NULL),
 * TINKER_EFORKED in a forked child unless it had ended before. Any thread;
 * never blocks. */
TINKER_API int tinker_future_status(const tinker_future_t *future);

/* The error of a failed operation.
 * future: not NULL. Returns an error owned by the future, NULL while it runs,
 * after success, and in a forked child unless it had ended before. Any
 * thread. */
TINKER_API const tinker_error_t *
tinker_future_error(const tinker_future_t *future);

/* Waits for the end of an operation. A callback, if it has one, may run only
 * afterwards.
 * future: not NULL. timeout_ms: milliseconds, -1 = without limit, 0 = only
 * look. Returns what tinker_future_status() returns once it has ended,
 * TINKER_ETIMEDOUT if it has not (it goes on; an operation whose own deadline
 * has passed ends with the same code; while it goes on tinker_future_status()
 * returns TINKER_EAGAIN), TINKER_EINVAL, TINKER_EFORKED, TINKER_EDEADLK on a
 * thread of the client itself, where waiting could never end. Any other
 * thread. */
TINKER_API int tinker_future_wait(tinker_future_t *future, int64_t timeout_ms);

/* Asks to end an operation early. Its callback still runs exactly once: with
 * TINKER_ECANCELED, or with the real result if that arrived first. A request
 * that was not sent is dropped without trace; one that was sent is still
 * carried out by the server, and the error says so
 * (tinker_error_outcome_is_unknown).
 * future: may be NULL. Any thread; never blocks. */
TINKER_API void tinker_future_cancel(tinker_future_t *future);

/* Adds a reference.
 * future: may be NULL. Returns future. Any thread. */
TINKER_API tinker_future_t *tinker_future_retain(tinker_future_t *future);

/* Gives a reference back. Releasing a running operation does not cancel it.
 * future: may be NULL. Returns NULL. Any thread. */
TINKER_API tinker_future_t *tinker_future_release(tinker_future_t *future);

/* The trainer made by tinker_client_create_trainer() and its relatives.
 * future: not NULL. out: receives a new reference owned by the caller;
 * untouched on failure. Returns 0, TINKER_EAGAIN while it runs, the
 * operation's error code, TINKER_EINVAL (a NULL, another kind of future),
 * TINKER_EFORKED in a forked child unless it had ended before. Any thread. */
TINKER_API int tinker_future_get_trainer(tinker_future_t *future,
                                         tinker_trainer_t **out);

/* The sampler made by tinker_client_create_sampler() and its relatives.
 * future: not NULL. out: receives a new reference owned by the caller;
 * untouched on failure. Returns as tinker_future_get_trainer(). Any thread. */
TINKER_API int tinker_future_get_sampler(tinker_future_t *future,
                                         tinker_sampler_t **out);

/* Result of forward and forward_backward.
 * future: not NULL. out: receives a view owned by the future; untouched on
 * failure. Returns as tinker_future_get_trainer(). Any thread. */
TINKER_API int tinker_future_get_forward(tinker_future_t *future,
                                         const tinker_forward_result_t **out);

/* Result of optim_step.
 * future: not NULL. out: receives a view owned by the future; untouched on
 * failure. Returns as tinker_future_get_trainer(). Any thread. */
TINKER_API int tinker_future_get_optim(tinker_future_t *future,
                                       const tinker_optim_result_t **out);

/* Path made by save_state or save_weights_for_sampler, "tinker://...".
 * future: not NULL. out: receives a NUL-terminated string owned by the future;
 * untouched on failure. Returns as tinker_future_get_trainer(). Any thread. */
TINKER_API int tinker_future_get_path(tinker_future_t *future,
                                      const char **out);

/* Result of sample.
 * future: not NULL. out: receives a view owned by the future; untouched on
 * failure. Returns as tinker_future_get_trainer(). Any thread. */
TINKER_API int tinker_future_get_sample(tinker_future_t *future,
                                        const tinker_sample_result_t **out);

/* Result of get_info.
 * future: not NULL. out: receives a view owned by the future; untouched on
 * failure. Returns as tinker_future_get_trainer(). Any thread. */
TINKER_API int tinker_future_get_info(tinker_future_t *future,
                                      const tinker_model_info_t **out);

/* Result of tinker_client_dump().
 * future: not NULL. out: receives JSON with a NUL, owned by the future: one
 * object, whose members may change with the library; untouched on failure.
 * Returns as tinker_future_get_trainer(). Any thread. */
TINKER_API int tinker_future_get_dump(tinker_future_t *future,
                                      const char **out);

/* Result of tinker_client_get_capabilities().
 * future: not NULL. out: receives a view owned by the future; untouched on
 * failure. Returns as tinker_future_get_trainer(). Any thread. */
TINKER_API int
tinker_future_get_capabilities(tinker_future_t *future,
                               const tinker_capabilities_t **out);

#ifdef __cplusplus
}
#endif

#endif
