/* Promise: an operation that the program ends itself.
 *
 * For libraries on top of this one whose operations consist of several calls.
 * Their operations then have the shape of the client's: one future, which is
 * waited for, taken by tinker_client_next(), or delivered to a callback on the
 * client's delivery thread, and which has a deadline, can be canceled, and may
 * be detached.
 *
 * A promise is pending until the first of these:
 *
 * - the program ends it: tinker_promise_resolve(), tinker_promise_reject() or
 *   tinker_promise_reject_as(), on any thread, also inside a callback of this
 *   or another client;
 * - the program gives its last reference back without that: the future ends
 *   with TINKER_ECANCELED;
 * - the future is canceled, its deadline passes, or the client closes: it ends
 *   with TINKER_ECANCELED, TINKER_ETIMEDOUT or TINKER_ECLOSED, and the hook
 *   `canceled` is called.
 *
 * In the last two cases the error says that the outcome is unknown: what the
 * program has done for the promise, the client can't tell. A drain waits for
 * the promise, but takes no new calls: what a promise still needs of its client
 * is called before, or it is rejected. */
#ifndef TINKER_PROMISE_H
#define TINKER_PROMISE_H

#include "error.h"
#include "future.h"
#include "options.h"
#include "types.h"

#ifdef __cplusplus
extern "C" {
#endif

/* What the program wants to hear of a promise. */
typedef struct tinker_promise_hooks_s {
  size_t size;
  /* The future has ended without the program, with this code. For one promise
   * exactly one of two things happens: the program ends it, with 0 from one of
   * the functions below or by its last release; or this is called, once. Runs
   * as callbacks do (tinker_done_cb), before the future's own. NULL (default) =
   * nothing is called. */
  void (*canceled)(void *user, int code);
  void *user; /* passed to it */
} tinker_promise_hooks_t;

#define TINKER_PROMISE_HOOKS_INIT                                              \
  { sizeof(tinker_promise_hooks_t), NULL, NULL }

/* Writes the defaults.
 * o: written, not NULL. Returns nothing. Any thread. */
static inline void tinker_promise_hooks_init(tinker_promise_hooks_t *o) {
  const tinker_promise_hooks_t init = TINKER_PROMISE_HOOKS_INIT;
  *o = init;
}

/* Makes a future that the program ends. Its kind is TINKER_KIND_PROMISE.
 * client, call: see future.h; nothing is sent, so that `tag` has no meaning.
 * name: of the program's operation, for errors and
 * tinker_future_get_promised(), 1 to 255 characters of [A-Za-z0-9_.-], copied.
 * hooks: borrowed; NULL = none. out: receives a reference owned by the caller,
 * NULL if the call is refused. Returns a future owned by the caller. Any
 * thread. */
TINKER_API TINKER_NODISCARD tinker_future_t *
tinker_client_promise(tinker_client_t *client, const char *name,
                      const tinker_promise_hooks_t *hooks,
                      const tinker_call_options_t *call,
                      tinker_promise_t **out);

/* Ends the future well.
 * promise: not NULL. result: for tinker_future_get_promised(); may be NULL; the
 * future's after success, the caller's still after a failure. free_result:
 * called once with result after the future's last release, on any thread, the
 * client's own included, and must not block; NULL = nothing is called. Returns
 * 0, TINKER_EINVAL, TINKER_EFORKED or TINKER_ENOENT (it has ended before). Any
 * thread. */
TINKER_API int tinker_promise_resolve(tinker_promise_t *promise, void *result,
                                      void (*free_result)(void *result));

/* Ends the future with a failure; the error's sentence is the promise's name
 * and the reason's message.
 * promise: not NULL. reason: borrowed, not NULL (tinker_reason_t); its code is
 * not TINKER_EAGAIN, which means that a future has not ended. Returns 0,
 * TINKER_EINVAL, TINKER_ENOTSUP, TINKER_EFORKED or TINKER_ENOENT (it has ended
 * before). Any thread. */
TINKER_API int tinker_promise_reject(tinker_promise_t *promise,
                                     const tinker_reason_t *reason);

/* Ends the future with a copy of another error, of a call that was made for it
 * for example.
 * promise: not NULL. error: borrowed, not NULL; its code is not TINKER_EAGAIN.
 * why: a sentence between the promise's name and the error's message; NULL =
 * none. Returns 0, TINKER_EINVAL, TINKER_EFORKED or TINKER_ENOENT (it has ended
 * before). Any thread. */
TINKER_API int tinker_promise_reject_as(tinker_promise_t *promise,
                                        const tinker_error_t *error,
                                        const char *why);

/* Adds a reference.
 * promise: may be NULL. Returns promise. Any thread. */
TINKER_API tinker_promise_t *tinker_promise_retain(tinker_promise_t *promise);

/* Gives a reference back. The last one rejects a promise that is pending with
 * TINKER_ECANCELED; in a forked child it only frees.
 * promise: may be NULL. Returns NULL. Any thread. */
TINKER_API tinker_promise_t *tinker_promise_release(tinker_promise_t *promise);

/* The result that a promise was resolved with.
 * future: not NULL. name: of the promise, so that one operation's result isn't
 * taken for another's; not NULL. out: receives the pointer, valid as long as
 * the future; untouched on failure. Returns as tinker_future_get_trainer();
 * TINKER_EINVAL also for another name. Any thread. */
TINKER_API int tinker_future_get_promised(tinker_future_t *future,
                                          const char *name, void **out);

#ifdef __cplusplus
}
#endif

#endif
