/* retry: decides what to do about a request that failed, for the flow and for
 * the session. One table judges each class of request by what happened to it
 * (protocol 9.5 and 15, tightened by our own rules). One thing is decided
 * elsewhere: how many of the requests that are to be sent again may go at once
 * (flow/brake).
 *
 * - a numbered request is sent again, byte for byte the same, until its budget
 *   is spent; a number that definitely can't be delivered is fatal for its
 *   trainer, because the server would wait for it for ever;
 * - a mutation without a number is sent again only if nothing was sent, or if
 *   the service has refused it and asks for another try; one that may be done
 *   twice is sent again as a read is, and fails with an unknown outcome;
 * - nothing is repeated faster than its curve's floor of 100 ms or more. Above
 *   the floor the pause is drawn anew from a range that doubles, so that those
 *   who failed together do not come back together. A server that states a pause
 *   gets it, and up to a twentieth more. The pause of a poll counts from the
 *   start of the last one: a long poll that was held has paid it already.
 *
 * Pure: time and chance are handed in. Runs on the I/O thread. */
#ifndef TINKER_HTTP_RETRY_H
#define TINKER_HTTP_RETRY_H

#include <stdbool.h>
#include <stdint.h>

#include "http/trouble.h"

typedef enum {
  TINKER__RETRY_NUMBERED = 1 << 0, /* POST with a trainer's number */
  TINKER__RETRY_SAMPLE = 1 << 1,   /* asample: numbered, no order */
  TINKER__RETRY_ONCE = 1 << 2,     /* mutation without a number */
  TINKER__RETRY_READ = 1 << 3,     /* changes nothing */
  TINKER__RETRY_POLL = 1 << 4,     /* retrieve_future */
  /* A read that is sent before anything has shown that the service is there: a
   * wrong address or certificate is not waited for. */
  TINKER__RETRY_START = 1 << 5,
  /* A read about a thing that the caller names, and that is no part of the
   * client's own session. */
  TINKER__RETRY_LOOKUP = 1 << 6,
  /* A mutation without a number that may be done twice: the second time
   * changes nothing more. Of such a thing too. */
  TINKER__RETRY_REPEAT = 1 << 7
} tinker__retry_class_t;

typedef struct tinker__retry_limits_s {
  int64_t send_ms;     /* budget of a submission, from its first attempt */
  int64_t conflict_ms; /* the same for 409 and 425 */
  int64_t page_ms;     /* the same for a START that others answer */
  int64_t billing_ms;  /* how long 402 pauses rather than fails */
  unsigned bad_polls;  /* 400s that a poll survives */
} tinker__retry_limits_t;

/* Sets the limits of the protocol, which hold unless the server sends others.
 */
void tinker__retry_default_limits(tinker__retry_limits_t *limits);

typedef enum {
  TINKER__VERDICT_AGAIN, /* after delay_ms */
  TINKER__VERDICT_LOST,  /* the server dropped the result: code, advice */
  TINKER__VERDICT_OVER,  /* the session has ended: code, advice */
  TINKER__VERDICT_FAIL   /* code, advice */
} tinker__verdict_kind_t;

/* Code, advice and category are set for AGAIN too: with them the request fails
 * if nobody sends it again. */
typedef struct tinker__verdict_s {
  tinker__verdict_kind_t kind;
  int64_t delay_ms;
  int64_t until_ms; /* AGAIN: the end of its time, INT64_MAX = none */
  int code;
  unsigned advice; /* tinker__advice_t */
  tinker_category_t category;
} tinker__verdict_t;

/* The attempts of one request so far. Zero at its start. */
typedef struct tinker__retry_s {
  int64_t first_ms;   /* first attempt */
  int64_t sent_ms;    /* last attempt */
  int64_t billing_ms; /* first 402 of this pause, 0 = none */
  unsigned sends;     /* attempts so far */
  unsigned streak;    /* failures since the last sign of life */
  unsigned bad_polls;
  bool maybe_done;        /* an attempt may have reached the server */
  bool again;             /* the last attempt failed, and another one follows */
  tinker__verdict_t last; /* with it */
} tinker__retry_t;

/* To be called right before an attempt. */
void tinker__retry_sent(tinker__retry_t *r, int64_t now_ms);
/* Judges a failed attempt. *seed is the state of the jitter's generator. */
tinker__verdict_t tinker__retry_judge(tinker__retry_t *r,
                                      const tinker__retry_limits_t *limits,
                                      tinker__retry_class_t class_bit,
                                      const tinker__trouble_t *failure,
                                      int64_t now_ms, uint64_t *seed);
/* Pause before the next poll after a "try again". */
int64_t tinker__retry_try_again(tinker__retry_t *r, int64_t now_ms,
                                uint64_t *seed);
/* Pause before a sample whose result was lost is submitted anew; losses: how
 * often that happened before. */
int64_t tinker__retry_resubmit(unsigned losses, uint64_t *seed);
/* Pause before the n-th probe (from 0) of a service that fails. */
int64_t tinker__retry_probe(unsigned n, uint64_t *seed);
/* How long all submissions of samples rest after the server pushed back. */
int64_t tinker__retry_backpressure_ms(uint64_t bytes);

#endif
