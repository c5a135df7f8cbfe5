/* reap: the loops of the process that nobody could join when they were closed,
 * so that tinker_shutdown can wait for their threads. Any thread. */
#ifndef TINKER_LOOP_REAP_H
#define TINKER_LOOP_REAP_H

#include <uv.h>

/* Marks the calling thread as a loop's own: it must not wait for itself. */
void tinker__reap_mark_thread(void);
/* A loop begins to end. */
void tinker__reap_expect(void);
/* It has ended. self: the calling thread, when it ends right after the call
 * and nobody else will join it; else NULL. */
void tinker__reap_leave(const uv_thread_t *self);

#endif
