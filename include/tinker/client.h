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
 * allowed; it sends nothing. A child that wants a client makes its own.
 *
 * Signals: the client's threads block all of them but those that a fault
 * raises, SIGPIPE included, so the program's handlers run on its own threads
 * only. No handler is installed and no timer signal is used. A program that
 * turns the client itself lends it its thread and its signal mask, and should
 * ignore SIGPIPE, as any program that writes to sockets.
 *
 * Two modules of a program may share a client; each keeps a reference. They
 * share its session, its log callback and the thread that runs callbacks; a
 * trainer of both has one order of operations. tinker_client_next() returns the
 * operations of both, so only one of them uses it, and drain and close end
 * both. Two clients share nothing.
 *
 * What the end sends: drain, close and the last release send one request, which
 * finishes the session ("success", or "interrupted" if operations were cut
 * short); none if there is no session. That is final: the service need not keep
 * the session's models and samplers from then on, but does keep what was saved.
 * What had been sent is carried out all the same. A process that ends without
 * one of them sends nothing, and the service ends the session when heartbeats
 * stay away. */
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
 * options: borrowed, copied; NULL = all defaults. error: receives the reason,
 * see tinker_error_t; may be NULL. Any thread. Returns 0, TINKER_EINVAL,
 * TINKER_EAUTH (no usable credential), TINKER_ENOTSUP, TINKER_ENOMEM,
 * TINKER_ERANDOM or TINKER_EIO (no threads). */
TINKER_API int tinker_client_new(tinker_client_t **out,
                                 const tinker_client_options_t *options,
                                 tinker_error_t **error);

/* Adds a reference.
 * client: may be NULL. Returns client. Any thread. */
TINKER_API tinker_client_t *tinker_client_retain(tinker_client_t *client);

/* Gives a reference back. The last one closes the client, or waits for the end
 * of a drain that has begun, and joins its threads; inside one of its own
 * callbacks the join is left to tinker_shutdown(). In step mode it steps
 * meanwhile, and on a uv_loop_t it does not wait (loop.h, uv.h). Trainers,
 * samplers and futures keep no reference: they stay valid, their operations end
 * with TINKER_ECLOSED. client: may be NULL. Returns NULL. Any thread. */
TINKER_API tinker_client_t *tinker_client_release(tinker_client_t *client);

/* Takes the next operation without a callback that has ended, refused ones
 * included: the form for programs that can't be called on a foreign thread. The
 * program holds each operation's own future until it was taken here, since one
 * that nobody holds any more is left out; or it leaves that to the client with
 * tinker_call_options_t.detached.
 * client: not NULL. timeout_ms: milliseconds to wait, -1 = without limit, 0 =
 * only look. out: receives a reference owned by the caller; untouched on
 * failure. Returns 0, TINKER_EINVAL, TINKER_EFORKED, TINKER_EAGAIN (none has
 * ended yet), TINKER_ENOENT (no such operation is running or left to take),
 * TINKER_EDEADLK on a thread of the client, TINKER_ENOMEM. Any other
 * thread. */
TINKER_API int tinker_client_next(tinker_client_t *client, int64_t timeout_ms,
                                  tinker_future_t **out);

/* A descriptor for a program's own event loop, readable while
 * tinker_client_next() has something to take. That nothing is running any more
 * (TINKER_ENOENT) does not make it readable: it would stay so until the next
 * call, and an idle loop would not sleep. A program that ends with its last
 * operation asks tinker_client_next() with 0 after each one that it has taken.
 * It belongs to the client, which closes it at its end; a program only polls
 * it.
 * client: not NULL. fd: receives the descriptor; untouched on failure. Returns
 * 0, TINKER_EINVAL, TINKER_EFORKED or TINKER_EIO (none can be made). Any
 * thread. */
TINKER_API int tinker_client_next_fd(tinker_client_t *client, int *fd);

/* Stops gracefully: refuses new operations, lets the accepted ones end,
 * finishes the session, then closes. The returned future ends after every other
 * operation of the client, and so does its callback after every other one; to
 * block, wait for it. It can't be canceled. It ends with 0 if all operations
 * have ended by themselves, TINKER_ETIMEDOUT if its deadline passed and the
 * rest was canceled, TINKER_ECLOSED if the client drains or closes already, or
 * was closed meanwhile. client, call: see future.h. Returns a future owned by
 * the caller, without a result. Any thread. */
TINKER_API TINKER_NODISCARD tinker_future_t *
tinker_client_drain(tinker_client_t *client, const tinker_call_options_t *call);

/* Stops now: refuses new operations and ends the accepted ones with
 * TINKER_ECLOSED. What it sends is said above. The returned future ends after
 * every other operation of the client, within two seconds; its callback is the
 * last. It can't be canceled, and a timeout of its own is refused. It ends with
 * 0, or TINKER_ECLOSED if the client closes already. client, call: see
 * future.h. Returns a future owned by the caller, without a result. Any thread.
 */
TINKER_API TINKER_NODISCARD tinker_future_t *
tinker_client_close(tinker_client_t *client, const tinker_call_options_t *call);

/* Waits until the threads of all released clients have ended; to be called
 * before the library is unloaded, never inside a callback. Clients without
 * threads (loop.h, uv.h) are not waited for.
 * timeout_ms: milliseconds, 0 = only look, -1 = without limit. Returns 0,
 * TINKER_EINVAL (another negative number), TINKER_ETIMEDOUT, or TINKER_EDEADLK
 * on a thread of a client. Any other thread. */
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
 * client, call: see future.h. Returns a future owned by the caller; result:
 * tinker_future_get_dump(). Any thread. */
TINKER_API TINKER_NODISCARD tinker_future_t *
tinker_client_dump(tinker_client_t *client, const tinker_call_options_t *call);

/* Asks which models the service offers.
 * client, call: see future.h. Returns a future owned by the caller; result:
 * tinker_future_get_capabilities(). Any thread. */
TINKER_API TINKER_NODISCARD tinker_future_t *
tinker_client_get_capabilities(tinker_client_t *client,
                               const tinker_call_options_t *call);

/* Creates a LoRA model to train. Never repeated by itself once it may have
 * reached the service.
 * client, call: see future.h. options: base_model is required. Returns a future
 * owned by the caller; result: tinker_future_get_trainer(). Any thread. */
TINKER_API TINKER_NODISCARD tinker_future_t *
tinker_client_create_trainer(tinker_client_t *client,
                             const tinker_trainer_options_t *options,
                             const tinker_call_options_t *call);

/* Creates a model to train from a saved training state.
 * client, call: see future.h. path: "tinker://<run>/weights/<name>".
 * with_optimizer: 1 restores the optimizer too, so that training goes on as if
 * it had never stopped; 0 starts with a fresh one. Where the service makes no
 * model of a state by itself, the call makes one and loads it: should it fail
 * between the two, the outcome is unknown and a model without use is left until
 * the session ends. Returns a future owned by the caller; result:
 * tinker_future_get_trainer(). Any thread. */
TINKER_API TINKER_NODISCARD tinker_future_t *
tinker_client_create_trainer_from_state(tinker_client_t *client,
                                        const char *path, int with_optimizer,
                                        const tinker_call_options_t *call);

/* tinker_client_create_trainer_from_state() with all its options.
 * client, call: see future.h. path: as there. options: may be NULL. Returns a
 * future owned by the caller; result: tinker_future_get_trainer(). Any
 * thread. */
TINKER_API TINKER_NODISCARD tinker_future_t *
tinker_client_create_trainer_from_state_with(
    tinker_client_t *client, const char *path,
    const tinker_state_options_t *options, const tinker_call_options_t *call);

/* Creates a sampler of a base model.
 * client, call: see future.h. base_model: name of the model. Returns a future
 * owned by the caller; result: tinker_future_get_sampler(). Any thread. */
TINKER_API TINKER_NODISCARD tinker_future_t *
tinker_client_create_sampler(tinker_client_t *client, const char *base_model,
                             const tinker_call_options_t *call);

/* Creates a sampler of saved weights.
 * client, call: see future.h. path: "tinker://<run>/sampler_weights/<name>".
 * Returns a future owned by the caller; result: tinker_future_get_sampler().
 * Any thread. */
TINKER_API TINKER_NODISCARD tinker_future_t *
tinker_client_create_sampler_from_path(tinker_client_t *client,
                                       const char *path,
                                       const tinker_call_options_t *call);

#ifdef __cplusplus
}
#endif

#endif
