/* Client: the connection to one service, its session, its threads.
 *
 * A client runs two threads: one for input and output (heartbeats, requests,
 * polls), one that delivers callbacks and log lines, so that user code which
 * blocks delays neither a heartbeat nor a deadline. It can also do without, in
 * an event loop of the program's: see loop.h and uv.h.
 *
 * A service that can't be reached is tried for five minutes, or until the
 * call's deadline, before a call fails; only the log says so meanwhile
 * (log_cb of the options).
 *
 * It connects to the service directly. No proxy is ever used: the environment
 * variables http_proxy, https_proxy, all_proxy and no_proxy are not read.
 *
 * A client belongs to the process that made it. After fork() its threads do not
 * exist in the child: there every call with the client, its trainers, samplers
 * and unfinished futures is refused with TINKER_EFORKED, and only releasing is
 * allowed. A child that wants a client makes its own. */
#ifndef TINKER_CLIENT_H
#define TINKER_CLIENT_H

#include "future.h"
#include "options.h"
#include "types.h"

#ifdef __cplusplus
extern "C" {
#endif

/* A new client. Nothing is sent yet: the first operation that needs the
 * service's configuration or a session asks for it.
 * out: receives a reference owned by the caller; untouched on failure.
 * options: borrowed, copied; NULL = all defaults. why: receives a sentence
 * that names the field at fault; may be NULL. why_len: its size in bytes. Any
 * thread. Returns 0, TINKER_EINVAL, TINKER_EAUTH (no usable credential),
 * TINKER_ENOTSUP, TINKER_ENOMEM, TINKER_ERANDOM or TINKER_EIO (no threads). */
TINKER_API int tinker_client_new(tinker_client_t **out,
                                 const tinker_client_options_t *options,
                                 char *why, size_t why_len);

/* Adds a reference.
 * client: may be NULL. Returns client. Any thread. */
TINKER_API tinker_client_t *tinker_client_retain(tinker_client_t *client);

/* Gives a reference back. The last one closes the client if that has not
 * happened, and joins its threads; inside one of its own callbacks the join
 * is left to tinker_shutdown(). Trainers, samplers and futures keep no
 * reference: they stay valid, their operations end with TINKER_ECLOSED.
 * client: may be NULL. Returns NULL. Any thread. */
TINKER_API tinker_client_t *tinker_client_release(tinker_client_t *client);

/* Takes the next ended operation that was started without a callback: the
 * form for programs that can't be called on a foreign thread. The program has
 * to hold each operation's own future until it was taken here: one that nobody
 * holds any more is left out, without a word.
 * client: not NULL. timeout_ms: milliseconds to wait, -1 = without limit, 0 =
 * only look. out: receives a reference owned by the caller; untouched on
 * failure. Returns 0, TINKER_EINVAL, TINKER_EFORKED, TINKER_ETIMEDOUT,
 * TINKER_ENOENT (no such operation is running or left to take), TINKER_EDEADLK
 * on a thread of the client. Any other thread. */
TINKER_API int tinker_client_next(tinker_client_t *client, int64_t timeout_ms,
                                  tinker_future_t **out);

/* Stops gracefully: refuses new operations, lets the accepted ones end,
 * finishes the session, then closes.
 * client: not NULL. timeout_ms: after it the rest is canceled; -1 = without
 * limit. cb: called once, after every other callback of the client; its
 * future is NULL; may be NULL. user: passed to cb. Returns 0, TINKER_EINVAL,
 * TINKER_EFORKED or TINKER_ECLOSED (already stopping). Any thread; does not
 * block. */
TINKER_API int tinker_client_drain(tinker_client_t *client, int64_t timeout_ms,
                                   tinker_done_cb cb, void *user);

/* Stops now: refuses new operations, ends the accepted ones with
 * TINKER_ECLOSED. Ends within two seconds.
 * client: not NULL. cb: called once, after every other callback of the
 * client; its future is NULL; may be NULL. user: passed to cb. Returns 0,
 * TINKER_EINVAL, TINKER_EFORKED or TINKER_ECLOSED (already closing). Any
 * thread; does not block. */
TINKER_API int tinker_client_close(tinker_client_t *client, tinker_done_cb cb,
                                   void *user);

/* Waits until the threads of all released clients have ended; to be called
 * before the library is unloaded, never inside a callback.
 * timeout_ms: milliseconds, -1 = without limit. Returns 0, TINKER_ETIMEDOUT, or
 * TINKER_EDEADLK on a thread of a client. Any other thread. */
TINKER_API int tinker_shutdown(int64_t timeout_ms);

/* Session id of the client, for reports to the service.
 * client: not NULL. out: receives the id and a NUL, cut if need be. out_len:
 * its size in bytes. Returns 0, TINKER_EAGAIN (no session yet), TINKER_EINVAL
 * or TINKER_EFORKED. Any thread. */
TINKER_API int tinker_client_session_id(tinker_client_t *client, char *out,
                                        size_t out_len);

/* Says what the client is at, for people who ask why nothing happens: its
 * phase, its session, its operations by state and one by one (the oldest 256:
 * what each waits for, its last trouble), its quotas. Answered by the client
 * itself, at once, without the service, and in a client that drains, too.
 * client: not NULL. cb, user: may be NULL (see tinker_done_cb). out: receives
 * a reference owned by the caller; may be NULL if cb is not. Result:
 * tinker_future_get_dump(). Returns 0, TINKER_EINVAL, TINKER_EFORKED,
 * TINKER_ECLOSED or TINKER_ENOMEM. Any thread. */
TINKER_API int tinker_client_dump(tinker_client_t *client, tinker_done_cb cb,
                                  void *user, tinker_future_t **out);

/* Asks which models the service offers.
 * client: not NULL. call: may be NULL. cb, user: may be NULL (see
 * tinker_done_cb). out: receives a reference owned by the caller; may be NULL
 * if cb is not. Result: tinker_future_get_capabilities(). Returns 0,
 * TINKER_EINVAL, TINKER_ENOTSUP, TINKER_EFORKED, TINKER_ECLOSED or
 * TINKER_ENOMEM. Any thread. */
TINKER_API int tinker_client_get_capabilities(tinker_client_t *client,
                                              const tinker_call_options_t *call,
                                              tinker_done_cb cb, void *user,
                                              tinker_future_t **out);

/* Creates a LoRA model to train.
 * client: not NULL. options: base_model is required. call: may be NULL. cb,
 * user: may be NULL (see tinker_done_cb). out: receives a reference owned by
 * the caller; may be NULL if cb is not. Result: tinker_future_get_trainer().
 * Never repeated by itself once it may have reached the service. Returns 0,
 * TINKER_EINVAL, TINKER_EFORKED, TINKER_ENOTSUP, TINKER_ECLOSED or
 * TINKER_ENOMEM. Any thread. */
TINKER_API int tinker_client_create_trainer(
    tinker_client_t *client, const tinker_trainer_options_t *options,
    const tinker_call_options_t *call, tinker_done_cb cb, void *user,
    tinker_future_t **out);

/* Creates a model to train from a saved training state.
 * client: not NULL. path: "tinker://<run>/weights/<name>". with_optimizer:
 * not 0 restores the optimizer too, so that training goes on as if it had
 * never stopped; 0 starts with a fresh one. call: may be NULL. cb, user: may
 * be NULL (see tinker_done_cb). out: receives a reference owned by the caller;
 * may be NULL if cb is not. Result: tinker_future_get_trainer(). Returns 0,
 * TINKER_EINVAL, TINKER_ENOTSUP, TINKER_EFORKED, TINKER_ECLOSED or
 * TINKER_ENOMEM. Any thread. */
TINKER_API int tinker_client_create_trainer_from_state(
    tinker_client_t *client, const char *path, int with_optimizer,
    const tinker_call_options_t *call, tinker_done_cb cb, void *user,
    tinker_future_t **out);

/* Creates a sampler of a base model.
 * client: not NULL. base_model: name of the model. call: may be NULL. cb,
 * user: may be NULL (see tinker_done_cb). out: receives a reference owned by
 * the caller; may be NULL if cb is not. Result: tinker_future_get_sampler().
 * Returns 0, TINKER_EINVAL, TINKER_ENOTSUP, TINKER_EFORKED, TINKER_ECLOSED or
 * TINKER_ENOMEM. Any thread. */
TINKER_API int tinker_client_create_sampler(tinker_client_t *client,
                                            const char *base_model,
                                            const tinker_call_options_t *call,
                                            tinker_done_cb cb, void *user,
                                            tinker_future_t **out);

/* Creates a sampler of saved weights.
 * client: not NULL. path: "tinker://<run>/sampler_weights/<name>". call: may
 * be NULL. cb, user: may be NULL (see tinker_done_cb). out: receives a
 * reference owned by the caller; may be NULL if cb is not. Result:
 * tinker_future_get_sampler(). Returns 0, TINKER_EINVAL, TINKER_ENOTSUP,
 * TINKER_EFORKED, TINKER_ECLOSED or TINKER_ENOMEM. Any thread. */
TINKER_API int tinker_client_create_sampler_from_path(
    tinker_client_t *client, const char *path,
    const tinker_call_options_t *call, tinker_done_cb cb, void *user,
    tinker_future_t **out);

#ifdef __cplusplus
}
#endif

#endif
