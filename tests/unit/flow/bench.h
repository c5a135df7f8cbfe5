/* bench: a flow whose sink is the test. Requests are kept instead of sent; the
 * test answers them one by one, in the order it likes, and moves the time. */
#ifndef TINKER_TESTS_UNIT_FLOW_BENCH_H
#define TINKER_TESTS_UNIT_FLOW_BENCH_H

#include "base/log.h"
#include "flow/flow.h"

enum { BENCH_SENDS = 4096, BENCH_OPS = 1024 };

/* A request that was sent. */
typedef struct bench_send_s {
  tinker__http_request_t *request; /* NULL when it has been answered */
  char path[64];
  char body[160]; /* its beginning */
  int64_t at_ms;
  int64_t timeout_ms;
  bool canceled;
} bench_send_t;

typedef struct bench_s {
  tinker__mem_t mem;
  tinker__flow_t flow;
  int64_t now_ms;
  int64_t wake_ms;
  int refuse; /* what send returns, 0 = it takes the request */
  bench_send_t sends[BENCH_SENDS];
  size_t count;
  int needs[TINKER__NEEDS_COUNT];
  int over;            /* times that the session was said to be over */
  const char *trouble; /* of the session, NULL = none */
  tinker__log_t *log;  /* of the flow, from bench_listen on */
  char heard[2048];    /* its lines, and events, since they were looked at */
  tinker_future_t *futures[BENCH_OPS];
  size_t future_count;
  const tinker_future_t *ended[BENCH_OPS]; /* in the order of the ends */
  size_t ended_count;
} bench_t;

/* A kind of each sort: a trainer's call, one that adds to its sum and has a
 * quota of bytes, one that uses the sum, a sample, a mutation without number,
 * one that may be done twice, a deletion, a read. */
extern const tinker__kind_t bench_numbered, bench_batch, bench_optim,
    bench_sample, bench_once, bench_repeat, bench_delete, bench_read;

/* Ready for operations, with the default limits. */
void bench_open(bench_t *b);
/* Keeps the flow's log lines (no debug lines), and its events if asked for. */
void bench_listen(bench_t *b, bool events);
/* What was kept since the last call, a line each; log lines are last. Valid
 * until the next call. */
const char *bench_heard(bench_t *b);
/* Closes the flow, answers what is out, and checks that nothing is left. */
void bench_close(bench_t *b);
tinker__turn_t *bench_turn(bench_t *b, bool ordered);

/* Submits an operation of `parts` requests, each of which the quotas count as
 * `bytes`. turn: may be NULL; not retained. timeout_ms: -1 = none. Its future
 * belongs to the bench. */
tinker_future_t *bench_submit(bench_t *b, const tinker__kind_t *kind,
                              tinker__turn_t *turn, size_t parts,
                              uint64_t bytes, int64_t timeout_ms);
/* The same for one request of a trainer that goes ahead of what is queued. */
tinker_future_t *bench_submit_ahead(bench_t *b, const tinker__kind_t *kind,
                                    tinker__turn_t *turn);
/* Gives each part of op a body that counts as `bytes`. */
void bench_fill(tinker__op_t *op, uint64_t bytes);
/* The operation of a future that is pending. */
void bench_cancel(bench_t *b, tinker_future_t *f);

/* What comes back for a request. */
typedef struct bench_reply_s {
  int status;       /* 0 = 200 */
  const char *body; /* NULL = none */
  int error;        /* TINKER_E..., with it `sent` counts */
  bool sent;
  int64_t retry_after_ms;
  int should_retry; /* 0 = none, 1 = true, -1 = false */
} bench_reply_t;
void bench_answer(bench_t *b, size_t i, bench_reply_t reply);
/* A submission: accepted under the id "r<i>". */
void bench_accept(bench_t *b, size_t i);

/* Time passes; everything that is due on the way runs when it is. */
void bench_advance(bench_t *b, int64_t ms);

/* Requests that wait for an answer, in all or to this path. */
size_t bench_out(const bench_t *b, const char *path);
/* The oldest such request; BENCH_SENDS = none. */
size_t bench_first(const bench_t *b, const char *path);
/* Number in a request's body, -1 = none. */
long bench_seq(const bench_t *b, size_t i);

/* Advice and code of an ended operation. 1: it has not ended. */
int bench_code(const tinker_future_t *f);

#define BENCH_POLL "api/v1/retrieve_future"

#endif
