/* reap: the loops of the process that nobody could join when they were closed,
 * so that tinker_shutdown can wait for their threads. Any thread. */
#ifndef TINKER_LOOP_REAP_H
#define TINKER_LOOP_REAP_H

#include <signal.h>
#include <uv.h>

/* Marks the calling thread as a loop's own: it must not wait for itself. */
void tinker__reap_mark_thread(void);
/* Around the making of a thread of ours: the host's signal handlers must not
 * run on it. All signals are blocked there but those that a fault raises in the
 * thread itself. old: receives the mask to restore. */
void tinker__reap_block_signals(sigset_t *old);
/* A loop begins to end. */
void tinker__reap_expect(void);
/* It has ended. self: the calling thread, when it ends right after the call
 * and nobody else will join it; else NULL. */
void tinker__reap_leave(const uv_thread_t *self);

#endif
