/* log: a bounded queue of lines with a thread that hands them to a callback.
 * The service's log and the ledger are such queues.
 *
 * Any thread adds a line, under whatever lock. The queue's thread hands the
 * lines over in the order in which they were added, without any lock. A thread
 * that logs never waits, so a callback that blocks (a pipe that nobody reads)
 * stops nothing else. Lines that find no room are counted, and a line with the
 * count takes their place. The ledger may lose no line, so a thread that adds
 * one waits for room. */
#ifndef TINKER_SERVICE_LOG_H
#define TINKER_SERVICE_LOG_H

#include "base/buf.h"
#include "base/world.h"

typedef struct tinker__svc_lines_s tinker__svc_lines_t;

/* A line that finds no room is dropped, or the thread that adds it waits. */
typedef enum { TINKER__LINES_DROP, TINKER__LINES_WAIT } tinker__svc_full_t;

/* Waiting lines may take max bytes. write is called on the queue's thread, one
 * line at a time. 0 or TINKER_ENOMEM. */
int tinker__svc_lines_new(
    tinker__svc_lines_t **out, tinker__mem_t *mem, const tinker__world_t *world,
    size_t max, tinker__svc_full_t full,
    void (*write)(void *user, const char *line, size_t len), void *user);
/* Takes the text of `line` and frees the buffer. A line that could not be made
 * (tinker__buf_error) counts as dropped. False = the line was dropped. Any
 * thread, except the queue's own if lines wait for room. */
bool tinker__svc_lines_add(tinker__svc_lines_t *q, tinker__buf_t *line);
/* Waits until write has returned for all lines that were added before this
 * call. Any thread except the queue's own. */
void tinker__svc_lines_settle(tinker__svc_lines_t *q);
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
