/* retry: decides what to do about a reply that is not a success. One table
 * judges each class of request by status or transport failure (protocol 9.5 and
 * 15, tightened by our own rules). Two cases are decided elsewhere: that a
 * request of the session is hopeless (session/exchange), and that samples rest
 * together (flow/throttle).
 *
 * - a numbered request is sent again, byte for byte the same, until its budget
 *   is spent; a number that definitely can't be delivered is fatal for its
 *   trainer, because the server would wait for it for ever;
 * - a mutation without a number is sent again only if nothing was sent;
 * - nothing is repeated faster than its curve says, which starts at 100 ms or
 *   more, doubles, has a ceiling and jitter. The pause of a poll counts from
 *   the start of the last one: a long poll that was held has paid it already.
 *
 * Pure: time and chance are handed in. Runs on the I/O thread. */
#ifndef TINKER_HTTP_RETRY_H
#define TINKER_HTTP_RETRY_H

#include <stdbool.h>
#include <stdint.h>

typedef enum {
  TINKER__RETRY_NUMBERED = 1 << 0, /* POST with a trainer's number */
  TINKER__RETRY_SAMPLE = 1 << 1,   /* asample: numbered, no order */
  TINKER__RETRY_ONCE = 1 << 2,     /* mutation without a number */
  TINKER__RETRY_READ = 1 << 3,     /* changes nothing */
  TINKER__RETRY_POLL = 1 << 4      /* retrieve_future */
} tinker__retry_class_t;

typedef struct tinker__retry_limits_s {
  int64_t send_ms;     /* budget of a submission, from its first attempt */
  int64_t conflict_ms; /* the same for 409 */
  int64_t billing_ms;  /* how long 402 pauses rather than fails */
  unsigned bad_polls;  /* 400s that a poll survives */
} tinker__retry_limits_t;

/* Sets the limits of the protocol, which hold unless the server sends others.
 */
void tinker__retry_default_limits(tinker__retry_limits_t *limits);

/* The attempts of one request so far. Zero at its start. */
typedef struct tinker__retry_s {
  int64_t first_ms;   /* first attempt */
  int64_t sent_ms;    /* last attempt */
  int64_t billing_ms; /* first 402 of this pause, 0 = none */
  unsigned sends;     /* attempts so far */
  unsigned streak;    /* failures since the last sign of life */
  unsigned bad_polls;
  bool maybe_done; /* an attempt may have reached the server */
} tinker__retry_t;

typedef struct tinker__trouble_s {
  int error;              /* transport code, 0 if there was a reply */
  bool sent;              /* with an error: the server may have seen it */
  int status;             /* of the reply */
  bool foreign;           /* a 4xx that the service did not send */
  int64_t retry_after_ms; /* 0 = not stated */
} tinker__trouble_t;

typedef enum {
  TINKER__VERDICT_AGAIN, /* after delay_ms */
  TINKER__VERDICT_LOST,  /* the server dropped the result: code, advice */
  TINKER__VERDICT_FAIL   /* code, advice */
} tinker__verdict_kind_t;

typedef struct tinker__verdict_s {
  tinker__verdict_kind_t kind;
  int64_t delay_ms;
  int code;
  unsigned advice; /* tinker__advice_t */
} tinker__verdict_t;

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
/* How long all submissions of samples rest after the server pushed back. */
int64_t tinker__retry_backpressure_ms(uint64_t bytes);

#endif
