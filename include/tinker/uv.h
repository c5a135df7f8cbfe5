/* A client on a uv_loop_t of the program's own. Not part of <tinker/tinker.h>;
 * it needs libuv only to link, which the library does already.
 *
 * The client has no thread. It belongs to the thread that makes it, which has
 * to be the one that runs the loop: everything, callbacks and log lines
 * included, happens there, inside uv_run(). A callback that takes long delays
 * the heartbeats. Operations may be started and canceled on any thread. Waiting
 * (tinker_future_wait() and its relatives, tinker_client_next()) is refused
 * with TINKER_EDEADLK on the loop's thread, because uv_run() can't be nested;
 * other threads may wait.
 *
 * An idle client does not keep uv_run() going. Operations do, from the call to
 * the end of their callback, and so do drain, close and the last release, until
 * the client has ended. Heartbeats are sent as long as the loop runs.
 *
 * The last release on the loop's thread never blocks: the client ends in later
 * turns of the loop, within two seconds. Its handles are closed then, no other
 * handle of the loop is touched, and uv_loop_close() succeeds as far as the
 * client is concerned. So the loop has to be run until uv_run() returns 0 after
 * the last release, before the library is unloaded. tinker_shutdown() does not
 * wait for such a client. */
#ifndef TINKER_UV_H
#define TINKER_UV_H

#include "error.h"
#include "options.h"
#include "types.h"

#ifdef __cplusplus
extern "C" {
#endif

struct uv_loop_s; /* libuv's uv_loop_t */

/* A new client on a loop of the program's. As tinker_client_new() otherwise.
 * out: receives a reference owned by the caller; untouched on failure. loop: an
 * initialized uv_loop_t, not NULL, borrowed until the client has ended.
 * options: borrowed, copied; NULL = all defaults; mode has to be
 * TINKER_RUN_BACKGROUND, the default. error: receives the reason, see
 * tinker_error_t; may be NULL. Returns 0, TINKER_EINVAL, TINKER_EAUTH (no
 * usable credential), TINKER_ENOTSUP, TINKER_ENOMEM, TINKER_ERANDOM or
 * TINKER_EIO (a descriptor can't be made); also after a failure the loop has to
 * be run before it can be closed. The loop's thread. */
TINKER_API int tinker_client_new_uv(tinker_client_t **out,
                                    struct uv_loop_s *loop,
                                    const tinker_client_options_t *options,
                                    tinker_error_t **error);

#ifdef __cplusplus
}
#endif

#endif
