/* Loop: the ways to run a client, and the calls of the second one.
 *
 * Background (TINKER_RUN_BACKGROUND, the default): two threads of the client do
 * everything. Nothing of this header is needed.
 *
 * Step (TINKER_RUN_STEP): the client has no thread. The program has an event
 * loop, of any kind, and gives the client a turn whenever its descriptor is
 * readable or its time has passed:
 *
 *   struct pollfd fd = {tinker_client_fd(client), POLLIN, 0};
 *   while (running) {
 *     poll(&fd, 1, (int)tinker_client_timeout_ms(client));
 *     tinker_client_step(client);
 *   }
 *
 * Both have to be watched, the time asked for anew after each step. Requests,
 * heartbeats, deadlines, and after them callbacks and log lines, happen inside
 * tinker_client_step() and nowhere else: a program that does not step, or whose
 * callback takes long, delays its heartbeats, and the service ends a session
 * that it does not hear of. Calls that start operations only queue them; a call
 * on another thread makes the descriptor readable.
 *
 * A client in step mode has an owner: the thread that made it, until another
 * one steps it; then that one. On the owner, outside callbacks,
 * tinker_future_wait(), its relatives and tinker_client_next() step the client
 * themselves while they wait, callbacks included. On another thread they wait
 * for the owner to step. Inside a callback they are refused with
 * TINKER_EDEADLK, as in background mode. The last release makes its thread the
 * owner and steps until the client has ended, up to two seconds; inside a
 * callback that happens right before the step, or the wait, returns. Closing
 * first and releasing afterwards keeps the loop free meanwhile.
 *
 * Borrowed: the client runs on a uv_loop_t of the program's, see <tinker/uv.h>.
 *
 * libcurl looks names up on a thread of its own, for as long as that takes;
 * with an address or a Unix socket in base_url it makes none. */
#ifndef TINKER_LOOP_H
#define TINKER_LOOP_H

#include "types.h"

#ifdef __cplusplus
extern "C" {
#endif

/* The descriptor of a client in step mode, readable when a step has something
 * to do, timers apart. It may be watched by poll, epoll, or any loop that is
 * built on them; kqueue may not take it, since it may be a kqueue itself. It
 * belongs to the client and is valid until its last release; a program only
 * watches it.
 * client: not NULL. Returns the descriptor, 0 or more; or TINKER_EINVAL (NULL),
 * TINKER_EFORKED, TINKER_ESTATE (the client is not in step mode). Any thread.
 */
TINKER_API int tinker_client_fd(tinker_client_t *client);

/* Time until a client in step mode wants a step although its descriptor is not
 * readable. Every step, and every call that another thread makes, may change
 * it. client: not NULL. Returns milliseconds, 0 = now, at most 2,147,483,647;
 * -1 = nothing is planned, which is also the answer for NULL, in a forked
 * child, and for a client that is not in step mode. Any thread. */
TINKER_API int64_t tinker_client_timeout_ms(tinker_client_t *client);

/* Does what a client in step mode can do without waiting, then runs the
 * callbacks and log lines that are due. Without anything to do it costs
 * little. When much has ended at once it leaves callbacks to the next step
 * after some milliseconds of them, and the descriptor stays readable. client:
 * not NULL. Returns 0, TINKER_EINVAL (NULL), TINKER_EFORKED, TINKER_ESTATE (the
 * client is not in step mode), TINKER_EDEADLK (inside one of its callbacks),
 * TINKER_EBUSY (another thread is in a step of it, or steps it while it waits).
 * Any thread, one at a time. Never blocks, except after the last release inside
 * a callback (see above). */
TINKER_API int tinker_client_step(tinker_client_t *client);

#ifdef __cplusplus
}
#endif

#endif
