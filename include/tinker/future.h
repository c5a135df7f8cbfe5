/* Futures: the one shape of every asynchronous operation.
 *
 * A call that starts an operation returns its future, owned by the caller and
 * never NULL. It ends exactly once: with a result, a failure, a cancellation or
 * its deadline. Results and errors belong to the future and live until its last
 * release. A call that is refused, since an argument is out of range for
 * example, returns a future that has failed already: tinker_future_error() says
 * which argument, which value, and what is allowed. So there is one way to
 * learn of every failure, and one call may be written inside another.
 *
 * Constant futures are the four failures that nothing can be delivered for: a
 * handle is NULL (TINKER_EINVAL), there is no memory (TINKER_ENOMEM), the
 * client has ended (TINKER_ECLOSED), or this is a forked child
 * (TINKER_EFORKED). They run no callback, tinker_client_next() never returns
 * them, and retain and release do nothing. Every other refusal is reported as
 * any other end is.
 *
 * What all operations have in common, so that their own comments need not say
 * it: they may be called on any thread, never block, and encode or copy what
 * they are given before they return. `call` has deadline and callback
 * (tinker_call_options_t), borrowed; NULL = all defaults. The first of their
 * arguments, the handle, is borrowed and not NULL.
 *
 * The codes that an operation may end with, besides 0:
 *
 * - refused at once, nothing was sent: TINKER_EINVAL, TINKER_EOVERFLOW (a limit
 *   of this library), TINKER_ENOTSUP (an option that it does not know),
 *   TINKER_EFATAL (the trainer can't go on), TINKER_ECLOSED (the client drains
 *   or is closed), TINKER_EFORKED, TINKER_ENOMEM;
 * - by its caller: TINKER_ECANCELED, TINKER_ETIMEDOUT (its deadline),
 *   TINKER_ECLOSED (the client closed);
 * - refused by the service: TINKER_EREJECTED (the message has the service's own
 *   words), TINKER_ENOENT (it does not have what the call names), TINKER_EEXIST
 *   (the name is taken), TINKER_EAUTH (the key), TINKER_EBILLING,
 *   TINKER_ESESSION;
 * - accepted, and failed there: TINKER_ESERVER, with category user where the
 *   request is at fault, or TINKER_ENOENT and TINKER_EEXIST as above; also a
 *   service that answered 5xx until the tries were used up;
 * - not reached: TINKER_ECONNECT or TINKER_ETRANSPORT after five minutes of
 *   tries, TINKER_ETLS at the first contact; the log has a warning (log_cb)
 *   meanwhile;
 * - the result is gone, larger than is taken, or not understood: TINKER_ELOST,
 *   TINKER_EOVERFLOW, TINKER_EPROTO;
 * - a call of a trainer that has lost a number: TINKER_EFATAL; one of a step
 *   that lacks something: TINKER_ESTATE (trainer.h);
 * - TINKER_ENOMEM, TINKER_ERANDOM, TINKER_ENOTSUP (the service demands what
 *   this version can't do), TINKER_EINTERNAL.
 *
 * The reply that holds a result may have 256 MiB, or, where the service has
 * announced its size, a quarter and 1 MiB more than that, at most 1 GiB
 * announced; compressed bytes count as what they become. A larger one is not
 * taken: its operation, which was carried out, ends with TINKER_EOVERFLOW. */
#ifndef TINKER_FUTURE_H
#define TINKER_FUTURE_H

#include "progress.h"
#include "result.h"
#include "types.h"

#ifdef __cplusplus
extern "C" {
#endif

/* The kinds of operations. Numbers are never reused. */
typedef enum {
  TINKER_KIND_NONE = 0, /* a constant future */
  TINKER_KIND_GET_CAPABILITIES = 1,
  TINKER_KIND_CREATE_TRAINER = 2,
  TINKER_KIND_CREATE_TRAINER_FROM_STATE = 3,
  TINKER_KIND_CREATE_SAMPLER = 4,
  TINKER_KIND_DUMP = 5,
  TINKER_KIND_DRAIN = 6,
  TINKER_KIND_CLOSE = 7,
  TINKER_KIND_FORWARD = 8,
  TINKER_KIND_FORWARD_BACKWARD = 9,
  TINKER_KIND_OPTIM_STEP = 10,
  TINKER_KIND_SAVE_STATE = 11,
  TINKER_KIND_LOAD_STATE = 12,
  TINKER_KIND_SAVE_WEIGHTS_FOR_SAMPLER = 13,
  TINKER_KIND_GET_INFO = 14,
  TINKER_KIND_SAMPLE = 15,
  TINKER_KIND_STEP = 16,
  TINKER_KIND_ROUTE_SAMPLE = 17,
  TINKER_KIND_ADOPT_SAMPLER = 19,
  TINKER_KIND_ADOPT_TRAINER = 20,
  TINKER_KIND_FINISH_SESSION = 21,
  TINKER_KIND_GET_RUN = 22,
  TINKER_KIND_LIST_RUNS = 23,
  TINKER_KIND_LIST_RUN_CHECKPOINTS = 24,
  TINKER_KIND_LIST_CHECKPOINTS = 25,
  TINKER_KIND_WEIGHTS_INFO = 26,
  TINKER_KIND_SET_CHECKPOINT_TTL = 27,
  TINKER_KIND_DELETE_CHECKPOINT = 28,
  TINKER_KIND_LIST_SESSIONS = 29,
  TINKER_KIND_GET_SESSION = 30,
  TINKER_KIND_PROMISE = 31
} tinker_kind_t;

/* Name of a kind, "forward_backward" for example.
 * kind: any value. Returns a static string, "unknown" for a number that is not
 * a kind. Never NULL. Any thread. */
TINKER_API const char *tinker_kind_name(tinker_kind_t kind);

/* Kind of the operation.
 * future: not NULL. Returns the kind, TINKER_KIND_NONE for a constant future.
 * Any thread. */
TINKER_API tinker_kind_t tinker_future_kind(const tinker_future_t *future);

/* The pointer from the call's options.
 * future: not NULL. Returns it, NULL for a constant future. Any thread. */
TINKER_API void *tinker_future_user(const tinker_future_t *future);

/* Will the call's callback run, or has it run? A program that gives memory
 * back in its callback asks this after each call, detached ones included, and
 * gives it back itself when the answer is no.
 * future: what the call returned, not NULL. Returns 0 for a call that has
 * failed with a constant future and for a call without a callback, else 1. Any
 * thread. */
TINKER_API int tinker_future_runs_callback(const tinker_future_t *future);

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

/* Tells how far an operation is, and why it is not further: its stage, what
 * holds it up and for how long, how often it was tried, the last failure, and
 * how many of its requests have their result (tinker_progress_t in
 * progress.h has the fields). The client's thread shows what has changed as
 * soon as it has. The service's queue has no numbers: what it says of a place
 * in it is in `reason`. For a call that was refused, a constant future and an
 * operation that the client answers itself (a drain, for example) or the
 * program (a promise) only the stage is known. Of a step or a route's sample it
 * tells of the first of its operations that has not ended. future: not NULL.
 * out: filled; its size must be set (TINKER_PROGRESS_INIT); a shorter, older
 * struct gets the fields that it has, untouched on failure. Returns 0,
 * TINKER_EINVAL (a NULL, or a size that is not one of this struct),
 * TINKER_EFORKED in a forked child unless it had ended before. Any thread,
 * callbacks included; never waits: a lock is held for no longer than a copy. */
TINKER_API int tinker_future_progress(const tinker_future_t *future,
                                      tinker_progress_t *out);

/* Waits for the end of an operation. A callback, if it has one, may run only
 * afterwards.
 * future: not NULL. timeout_ms: milliseconds, -1 = without limit, 0 = only
 * look. Returns what tinker_future_status() returns once it has ended,
 * TINKER_EAGAIN if it has not and goes on (TINKER_ETIMEDOUT means that the
 * operation's own deadline has passed), TINKER_EINVAL, TINKER_EFORKED,
 * TINKER_EDEADLK on a thread of the client itself, where waiting could never
 * end (in step mode: inside a callback, see loop.h), TINKER_ENOMEM. Any other
 * thread. */
TINKER_API int tinker_future_wait(tinker_future_t *future, int64_t timeout_ms);

/* Waits until one of several operations has ended.
 * futures: n futures, not NULL each; those that run belong to one client. n: at
 * least 1. timeout_ms: as tinker_future_wait(). index: receives the place of
 * the first that has ended; may be NULL; untouched on failure. Returns 0 when
 * one has ended, in whatever way, TINKER_EAGAIN if none has, TINKER_EINVAL,
 * TINKER_EFORKED, TINKER_EDEADLK or TINKER_ENOMEM. Any other thread than the
 * client's. */
TINKER_API int tinker_future_wait_any(tinker_future_t *const *futures, size_t n,
                                      int64_t timeout_ms, size_t *index);

/* Waits until all of several operations have ended.
 * futures: n futures, not NULL each, of any clients. n: any. timeout_ms: as
 * tinker_future_wait(), for all of them together. Returns 0 when all have
 * ended, in whatever way, TINKER_EAGAIN if not, TINKER_EINVAL, TINKER_EFORKED,
 * TINKER_EDEADLK or TINKER_ENOMEM. Any other thread than the clients'. */
TINKER_API int tinker_future_wait_all(tinker_future_t *const *futures, size_t n,
                                      int64_t timeout_ms);

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

/* The getters below: one for each type of result, so that the compiler checks
 * the type. A view belongs to the future.
 *
 * The trainer made by tinker_client_create_trainer() and its relatives.
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

/* Result of forward, forward_backward and step.
 * future: not NULL. out: receives a view owned by the future; untouched on
 * failure. Returns as tinker_future_get_trainer(). Any thread. */
TINKER_API int tinker_future_get_forward(tinker_future_t *future,
                                         const tinker_forward_result_t **out);

/* The loss of a forward, forward_backward or step, summed over its examples:
 * the metric "loss:sum", or where a service does not send it the sum of the
 * examples' "elementwise_loss".
 * future: not NULL. out: receives the loss; untouched on failure. Returns as
 * tinker_future_get_trainer(), and TINKER_ENOENT if the result has neither. Any
 * thread. */
TINKER_API int tinker_future_loss(tinker_future_t *future, double *out);

/* Result of optim_step and step.
 * future: not NULL. out: receives a view owned by the future; untouched on
 * failure. Returns as tinker_future_get_trainer(). Any thread. */
TINKER_API int tinker_future_get_optim(tinker_future_t *future,
                                       const tinker_optim_result_t **out);

/* Path made by save_state or save_weights_for_sampler, "tinker://...".
 * future: not NULL. out: receives a NUL-terminated string owned by the future;
 * untouched on failure. Returns as tinker_future_get_trainer(). Any thread. */
TINKER_API int tinker_future_get_path(tinker_future_t *future,
                                      const char **out);

/* Result of sample and route_sample.
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
