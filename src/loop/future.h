/* future: the completion of one operation. The delivery thread delivers it, and
 * other threads wait for it; there is no other way to user code.
 *
 * Life: PENDING (the operation runs) -> SETTLED (the loop's thread has put in
 * an error or the raw replies) -> DONE (decoded). Everything that ending needs
 * is reserved when the future is made, so neither success, failure, cancel,
 * deadline, close nor lack of memory can prevent it.
 *
 * With a callback the delivery thread decodes, right before it runs the
 * callback; without one the first thread that asks decodes. Decoding holds the
 * future's own lock and calls no user code.
 *
 * Threads: settle and the op pointer belong to the loop's thread; the rest is
 * for any thread. */
#ifndef TINKER_LOOP_FUTURE_H
#define TINKER_LOOP_FUTURE_H

#include <pthread.h>
#include <stdatomic.h>
#include <tinker/future.h>

#include "base/list.h"
#include "base/mem.h"
#include "base/str.h"
#include "loop/loop.h"

struct tinker__op_s;

/* The raw result of one request. Owned by the future that holds it. */
typedef struct tinker__raw_s {
  char *data; /* the result; NULL = none */
  size_t len;
  bool proto;     /* protobuf, else JSON */
  char *accepted; /* reply to the submission (JSON), if kept */
  size_t accepted_len;
  size_t weight; /* datums of the request: what its metrics weigh */
} tinker__raw_t;

typedef enum {
  TINKER__FUTURE_PENDING,
  TINKER__FUTURE_SETTLED,
  TINKER__FUTURE_DONE
} tinker__future_state_t;

/* Functions of higher layers, which are handed down to a future. They also tell
 * the types of results apart. */
typedef struct tinker__future_ops_s {
  /* Replies to result: sets future->result, or returns an error for it (never
   * both). Any thread, once. */
  tinker_error_t *(*decode)(tinker_future_t *future);
  void (*free_result)(tinker_future_t *future);
} tinker__future_ops_t;

/* What the loop's thread has last shown of the operation. Times are the
 * loop's. */
typedef struct tinker__seen_s {
  tinker_progress_t now;
  int64_t born_ms;  /* when the loop's thread took it */
  int64_t stage_ms; /* when it came into its stage */
  int64_t held_ms;  /* since when it is held */
} tinker__seen_t;

/* A reference of the program counts 1 among all and this beside: in one word,
 * so that no thread ever sees one count without the other. */
#define TINKER__FUTURE_USER ((uint64_t)1 << 32)

struct tinker_future_s {
  atomic_uint_least64_t refs; /* all, and TINKER__FUTURE_USER for each that is
                               * the program's */
  atomic_int state;           /* tinker__future_state_t */
  pthread_mutex_t lock;
  tinker__link_t waiting; /* calls that wait for this one; under the lock */
  tinker__mem_t *mem;
  const tinker__future_ops_t *ops;
  void *owner;                /* who made it: api's business */
  void (*unown)(void *owner); /* last thing of a dying future; may free mem */
  tinker_future_t *parent; /* whose child it is, counted while the child runs;
                            * NULL = nobody's */
  tinker_kind_t kind;
  bool constant; /* a static object: never counted, written or freed */
  bool kept;     /* without a callback, and its caller holds no reference */
  tinker_done_cb cb;
  void *user;
  tinker_error_t *error; /* set while SETTLED or by decoding; else NULL */
  void *result;
  void *subject;          /* what decoding needs: api's business; freed by it */
  tinker__task_t deliver; /* to the delivery thread */
  tinker__task_t cancel;  /* to the loop's thread */
  atomic_bool canceling;  /* it is on its way, once */
  tinker__link_t link;    /* queue of ended ones without callback */
  struct tinker__op_s *op;   /* while it runs; loop's thread only */
  pthread_mutex_t seen_lock; /* held for a copy, and not once it has settled */
  tinker__seen_t seen;       /* written by the loop's thread until it settles */
  size_t raw_count;
  tinker__raw_t raw[];
};

/* A future with one reference and room for raw_count replies. 0 or
 * TINKER_ENOMEM. */
int tinker__future_new(tinker_future_t **out, tinker__mem_t *mem,
                       const tinker__future_ops_t *ops, size_t raw_count,
                       tinker_done_cb cb, void *user);
/* The one that a call has failed with which can't be delivered: TINKER_EINVAL
 * (a handle is NULL), TINKER_ENOMEM, TINKER_ECLOSED or TINKER_EFORKED. */
tinker_future_t *tinker__future_constant(int code);
/* What a detached call returns: a constant one that never ends. */
tinker_future_t *tinker__future_detached(bool calls_back);
void tinker__future_ref(tinker_future_t *f);
void tinker__future_unref(tinker_future_t *f);
/* The same for the program's references: what only the library still holds is
 * not offered to the program any more. */
void tinker__future_user_ref(tinker_future_t *f);
void tinker__future_user_unref(tinker_future_t *f);
/* For who holds none, and keeps the future from being freed by a lock: false
 * when the program has no reference any more. Gives none back, so that nothing
 * can end under that lock. */
bool tinker__future_try_user_ref(tinker_future_t *f);
/* One of the library's references becomes the program's. */
static inline void tinker__future_to_user(tinker_future_t *f) {
  atomic_fetch_add_explicit(&f->refs, TINKER__FUTURE_USER,
                            memory_order_relaxed);
}
/* Does the program hold any? */
static inline bool tinker__future_has_user(const tinker_future_t *f) {
  return atomic_load_explicit(&f->refs, memory_order_relaxed) >=
         TINKER__FUTURE_USER;
}

/* Ends the operation with error, whose reference is given away, or with NULL
 * when raw[] is filled. Once; the loop's thread, or the caller's of a call that
 * is refused. */
void tinker__future_settle(tinker_future_t *f, tinker_error_t *error);
/* Blocks until at least one of n futures has settled. All belong to clients on
 * this loop, and the caller has a reference to each.
 * timeout_ms: -1 = no limit. 0, TINKER_ETIMEDOUT, TINKER_EDEADLK (see
 * tinker__loop_sleep), TINKER_ENOMEM. Any thread. */
int tinker__future_wait_any(tinker_future_t *const *futures, size_t n,
                            tinker__loop_t *loop, int64_t timeout_ms);
/* Decodes unless that is done. False when the future is still pending, or
 * (without `block`) while another thread decodes. Any thread. */
bool tinker__future_decode(tinker_future_t *f, bool block);
/* Its error, NULL for none; only when decoded. */
const tinker_error_t *tinker__future_error(const tinker_future_t *f);
/* 0 or the code of its error; only when decoded. */
int tinker__future_code(const tinker_future_t *f);
static inline tinker__future_state_t
tinker__future_state(const tinker_future_t *f) {
  return (tinker__future_state_t)atomic_load_explicit(&f->state,
                                                      memory_order_acquire);
}
/* A copy of what is shown. Any thread. */
void tinker__future_see(tinker_future_t *f, tinker__seen_t *out);
/* Decodes and runs the callback: the only place that does. The delivery
 * thread; once. */
void tinker__future_deliver(tinker_future_t *f);

void tinker__raw_free(tinker__raw_t *raw, tinker__mem_t *mem);

#endif
