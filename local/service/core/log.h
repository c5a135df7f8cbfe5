/* log: the queue between the service's log lines and the owner's callback.
 *
 * Any thread adds a line, under any lock, and does not wait for the callback:
 * the queue is bounded, and a thread of its own hands the lines over without
 * any lock. A callback that blocks (a pipe that nobody reads) therefore blocks
 * nothing else. Lines that find no room are dropped and counted, and a line
 * with the count is handed over in their place. */
#ifndef TINKER_SERVICE_LOG_H
#define TINKER_SERVICE_LOG_H

#include "base/buf.h"
#include "base/world.h"

typedef struct tinker__svc_lines_s tinker__svc_lines_t;

/* Makes a queue whose waiting lines take at most max bytes, and starts its
 * thread, which calls write with one line at a time. 0 or TINKER_ENOMEM. */
int tinker__svc_lines_new(tinker__svc_lines_t **out, tinker__mem_t *mem,
                          const tinker__world_t *world, size_t max,
                          void (*write)(void *user, const char *line,
                                        size_t len),
                          void *user);
/* Takes the text of `line`, which is empty afterwards. A line that ran out of
 * memory (tinker__buf_error) counts as dropped. Any thread. */
void tinker__svc_lines_add(tinker__svc_lines_t *q, tinker__buf_t *line);
/* Hands over the lines that wait, joins the thread, and frees the queue. NULL
 * allowed. */
void tinker__svc_lines_free(tinker__svc_lines_t *q);

/* Begins a line: {"time":...,"level":...,"event":... */
void tinker__svc_lines_begin(tinker__buf_t *line, const tinker__world_t *world,
                             const char *level, const char *event);
/* Adds a member to a line; ends the line. */
void tinker__svc_lines_put(tinker__buf_t *line, const char *key,
                           const char *value);
void tinker__svc_lines_end(tinker__buf_t *line);

#endif
