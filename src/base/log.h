/* log: a bounded ring of messages. Any thread writes, never blocking on user
 * code; whoever owns the delivery drains it. When the ring is full the newest
 * message is dropped and counted. The level is tested before anything is
 * formatted. */
#ifndef TINKER_BASE_LOG_H
#define TINKER_BASE_LOG_H

#include <stdatomic.h>
#include <stdbool.h>
#include <tinker/log.h>

#include "base/mem.h"

#define TINKER__LOG_MESSAGE_LEN 512 /* longer ones are cut */

typedef struct tinker__log_s tinker__log_t;

/* capacity: messages kept, at least 1; rounded up to a power of two. wake (may
 * be NULL) asks for a drain: on the writing thread, with no lock held, for the
 * first message since the last drain began. level: the least
 * level that is kept. */
int tinker__log_new(tinker__log_t **out, tinker__mem_t *mem,
                    tinker_log_level_t level, size_t capacity,
                    void (*wake)(void *user), void *user);
void tinker__log_free(tinker__log_t *log); /* NULL allowed */
/* False for a NULL log. */
bool tinker__log_on(const tinker__log_t *log, tinker_log_level_t level);
/* component: a static string. Use TINKER__LOG, which tests the level first. */
void tinker__log_add(tinker__log_t *log, tinker_log_level_t level,
                     const char *component, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));
/* Hands over the lines that are there now, the oldest first, with no lock held.
 * Returns how often cb was called. One thread at a time. */
size_t tinker__log_drain(tinker__log_t *log, tinker_log_cb cb, void *user);

#define TINKER__LOG(log, level, ...)                                           \
  do {                                                                         \
    if (tinker__log_on(log, level)) tinker__log_add(log, level, __VA_ARGS__);  \
  } while (0)

#endif
