/* borrowed: a loop on a uv_loop_t of the caller's, without threads.
 *
 * It belongs to the thread that makes it, which has to be the one that runs the
 * uv loop. Delivered tasks run on it too, after posted ones. Waiting on that
 * thread is refused, because uv_run can't be nested.
 *
 * Its handles don't keep uv_run going, so that an idle client does not; between
 * tinker__loop_hold and tinker__loop_unhold, and from tinker__loop_close to the
 * end, they do. tinker__loop_close never waits: the loop ends in later turns of
 * the uv loop, which must run until then. */
#ifndef TINKER_LOOP_BORROWED_H
#define TINKER_LOOP_BORROWED_H

#include <uv.h>

#include "loop/loop.h"

/* mem, world and uv outlive the loop. 0, TINKER_ENOMEM, TINKER_EIO. */
int tinker__loop_borrowed(tinker__loop_t **out, tinker__mem_t *mem,
                          const tinker__world_t *world, uv_loop_t *uv);

#endif
