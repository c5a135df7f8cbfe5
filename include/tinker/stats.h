/* Statistics of waiting: how long the operations of a client took, and how much
 * of that they spent in which stage, as percentiles. They tell why a program is
 * slow on the whole; tinker_future_progress() (future.h) tells it of one
 * operation that has not ended, tinker_client_dump() (client.h) of all of
 * those. */
#ifndef TINKER_STATS_H
#define TINKER_STATS_H

#include "future.h"
#include "types.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Milliseconds that half, 90 and 99 of a hundred operations did not exceed, and
 * the longest. The percentiles are rounded up, by an eighth at most; below 8 ms
 * and the longest one are exact. */
typedef struct tinker_times_s {
  int64_t p50_ms;
  int64_t p90_ms;
  int64_t p99_ms;
  int64_t max_ms;
} tinker_times_t;

/* What the operations of a kind have waited for. All times are of all of these
 * operations: one that never was in a stage was there for 0 ms. Fill in size
 * before the call; a struct of an older, shorter size gets the fields that it
 * has. */
typedef struct tinker_wait_stats_s {
  size_t size;
  uint64_t count;         /* operations that have ended, however they did */
  uint64_t failed;        /* of these, with an error, cancel, deadline and close
                           * included; not one whose result is here and can't be
                           * read */
  tinker_times_t queued;  /* in this client, nothing of it sent: session, place
                           * in its trainer's order, the program's own checks,
                           * room among the requests */
  tinker_times_t sent;    /* from the first request until all are accepted, with
                           * every repetition: 402, 429, 503, no answer */
  tinker_times_t running; /* accepted; in the service's queue, or carried out */
  tinker_times_t paused;  /* the same while the service said that its queue
                           * stands still */
  tinker_times_t total;   /* all of it, from the moment when the client's thread
                           * took it until its result was here */
} tinker_wait_stats_t;

#define TINKER_WAIT_STATS_INIT                                                 \
  {                                                                            \
    sizeof(tinker_wait_stats_t), 0, 0, {0, 0, 0, 0}, {0, 0, 0, 0},             \
        {0, 0, 0, 0}, {0, 0, 0, 0}, {                                          \
      0, 0, 0, 0                                                               \
    }                                                                          \
  }

/* Tells how long the operations of one kind have waited, of all that have ended
 * since the client was made. A step and a route's sample count as the
 * operations that they are made of; calls that were refused, and what the
 * client or the program answers itself (a dump, a drain, a promise), do not
 * count. Of an operation with several steps of its own, as create_trainer, the
 * stages are those of all steps together.
 *
 * The counters have a fixed size, and are read without a lock while operations
 * end: the numbers of one answer may be a few operations apart, and are
 * never more than that; failed is not above count, and no percentile is above
 * the next one or the longest.
 * client: not NULL; may have been drained or closed. kind: one of
 * tinker_kind_t; TINKER_KIND_NONE = all kinds together. out: filled, with zeros
 * if there was none; its size must be set (TINKER_WAIT_STATS_INIT); untouched
 * on failure. Returns 0, TINKER_EINVAL (a NULL, a size that is not one of this
 * struct, a number that is not a kind) or TINKER_EFORKED. Any thread, callbacks
 * included; never waits, takes no lock. */
TINKER_API int tinker_client_wait_stats(tinker_client_t *client,
                                        tinker_kind_t kind,
                                        tinker_wait_stats_t *out);

#ifdef __cplusplus
}
#endif

#endif
