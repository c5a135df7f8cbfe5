/* The table of retries, see retry.h. */
#include "http/retry.h"

#include "base/error.h"

#include <stddef.h>

/* Failures that are not an HTTP status, as numbers below any status. */
enum {
  NOT_SENT = 1,  /* the server saw nothing of it */
  MAYBE = 2,     /* it may have seen all of it */
  TOO_LARGE = 3, /* the reply broke a cap: it would do so again */
  FOREIGN = 4    /* something in between refused; falls among the non-answers */
};

typedef enum {
  CURVE_NONE,
  CURVE_SEND,
  CURVE_QUICK,
  CURVE_SLOW,
  CURVE_PAUSE,
  CURVE_RESUBMIT
} curve_id_t;
typedef enum {
  BUDGET_NONE,
  BUDGET_SEND,
  BUDGET_CONFLICT,
  BUDGET_BILLING,
  BUDGET_BAD_POLLS,
  BUDGET_DEADLINE
} budget_t;

/* clang-format off */
static const struct curve {
  int64_t start_ms, cap_ms;
  bool from_start; /* the pause counts from the start of the attempt */
} curves[] = {
  [CURVE_SEND] = {250, 15000, false},
  [CURVE_QUICK] = {100, 5000, true},
  [CURVE_SLOW] = {1000, 30000, false},
  [CURVE_PAUSE] = {5000, 5000, false},
  [CURVE_RESUBMIT] = {500, 10000, false},
};
/* clang-format on */

enum {
  N = TINKER__RETRY_NUMBERED,
  S = TINKER__RETRY_SAMPLE,
  O = TINKER__RETRY_ONCE,
  R = TINKER__RETRY_READ,
  P = TINKER__RETRY_POLL
};
enum {
  AGAIN_OK = TINKER__ADVICE_RETRIABLE,
  FATAL = TINKER__ADVICE_FATAL | TINKER__ADVICE_RECOVER,
  UNKNOWN = TINKER__ADVICE_UNKNOWN
};

/* First match wins. A row with a curve repeats while its budget lasts; then,
 * or without a curve at once, it fails with code and advice. */
static const struct row {
  unsigned classes;
  int lo, hi;
  curve_id_t curve;
  budget_t budget;
  int code;
  unsigned advice;
} rows[] = {
    {N, NOT_SENT, NOT_SENT, CURVE_SEND, BUDGET_SEND, TINKER_ECONNECT, FATAL},
    {S | O | R, NOT_SENT, NOT_SENT, CURVE_SEND, BUDGET_SEND, TINKER_ECONNECT,
     AGAIN_OK},
    {N, MAYBE, TOO_LARGE, CURVE_SEND, BUDGET_SEND, TINKER_ETRANSPORT,
     FATAL | UNKNOWN},
    {S | R, MAYBE, MAYBE, CURVE_SEND, BUDGET_SEND, TINKER_ETRANSPORT, AGAIN_OK},
    {O, MAYBE, MAYBE, CURVE_NONE, BUDGET_NONE, TINKER_ETRANSPORT, UNKNOWN},
    {P, NOT_SENT, MAYBE, CURVE_SLOW, BUDGET_DEADLINE, TINKER_ETRANSPORT,
     UNKNOWN},
    {O | P, TOO_LARGE, TOO_LARGE, CURVE_NONE, BUDGET_NONE, TINKER_EOVERFLOW,
     UNKNOWN},
    {S | R, TOO_LARGE, TOO_LARGE, CURVE_NONE, BUDGET_NONE, TINKER_EOVERFLOW, 0},

    {P, 400, 400, CURVE_QUICK, BUDGET_BAD_POLLS, TINKER_EREJECTED, UNKNOWN},
    {N, 402, 402, CURVE_PAUSE, BUDGET_BILLING, TINKER_EBILLING, FATAL},
    {S | R, 402, 402, CURVE_PAUSE, BUDGET_BILLING, TINKER_EBILLING, AGAIN_OK},
    {P, 402, 402, CURVE_PAUSE, BUDGET_BILLING, TINKER_EBILLING, UNKNOWN},
    {O, 402, 402, CURVE_NONE, BUDGET_NONE, TINKER_EBILLING, AGAIN_OK},
    {N, 408, 408, CURVE_SEND, BUDGET_SEND, TINKER_ESERVER, FATAL | UNKNOWN},
    {S | R, 408, 408, CURVE_SEND, BUDGET_SEND, TINKER_ESERVER, AGAIN_OK},
    {O, 408, 408, CURVE_NONE, BUDGET_NONE, TINKER_ESERVER, UNKNOWN},
    {P, 408, 408, CURVE_QUICK, BUDGET_DEADLINE, TINKER_ESERVER, UNKNOWN},
    {N | S | R, 409, 409, CURVE_SEND, BUDGET_CONFLICT, TINKER_EREJECTED, 0},
    {P, 410, 410, CURVE_NONE, BUDGET_NONE, TINKER_ELOST, UNKNOWN},
    {N, 410, 410, CURVE_NONE, BUDGET_NONE, TINKER_ESESSION, FATAL},
    {S | O | R, 410, 410, CURVE_NONE, BUDGET_NONE, TINKER_ESESSION, 0},
    {N, 429, 429, CURVE_SEND, BUDGET_SEND, TINKER_EREJECTED, FATAL},
    {S, 429, 429, CURVE_SEND, BUDGET_DEADLINE, TINKER_EREJECTED, AGAIN_OK},
    {R, 429, 429, CURVE_SEND, BUDGET_SEND, TINKER_EREJECTED, AGAIN_OK},
    {O, 429, 429, CURVE_NONE, BUDGET_NONE, TINKER_EREJECTED, AGAIN_OK},
    {P, 429, 429, CURVE_SLOW, BUDGET_DEADLINE, TINKER_EREJECTED, UNKNOWN},
    {N, 500, 599, CURVE_SEND, BUDGET_SEND, TINKER_ESERVER, FATAL | UNKNOWN},
    {S | R, 500, 599, CURVE_SEND, BUDGET_SEND, TINKER_ESERVER, AGAIN_OK},
    {O, 500, 599, CURVE_NONE, BUDGET_NONE, TINKER_ESERVER, UNKNOWN},
    {P, 500, 599, CURVE_QUICK, BUDGET_DEADLINE, TINKER_ESERVER, UNKNOWN},
    /* A request that is not let in or is too large was not read, so the server
     * has not seen its number and would wait for it. */
    {N, 401, 401, CURVE_NONE, BUDGET_NONE, TINKER_EAUTH, FATAL},
    {N, 413, 413, CURVE_NONE, BUDGET_NONE, TINKER_EREJECTED, FATAL},
    {S | O | R, 401, 401, CURVE_NONE, BUDGET_NONE, TINKER_EAUTH, 0},
    {P, 401, 401, CURVE_NONE, BUDGET_NONE, TINKER_EAUTH, UNKNOWN},
    /* All other cases. A 2xx or 3xx that is not an answer, and a 4xx without
     * the service's JSON, were sent by something in between, so the number may
     * not have arrived. A 4xx of the service consumes the number (the official
     * client goes on after one, protocol 20.2). */
    {N, 0, 399, CURVE_SEND, BUDGET_SEND, TINKER_EPROTO, FATAL | UNKNOWN},
    {O, 0, 399, CURVE_NONE, BUDGET_NONE, TINKER_EPROTO, UNKNOWN},
    {S | R, 0, 399, CURVE_SEND, BUDGET_SEND, TINKER_EPROTO, AGAIN_OK},
    {P, 0, 399, CURVE_SLOW, BUDGET_DEADLINE, TINKER_EPROTO, UNKNOWN},
    {P, 0, 999, CURVE_NONE, BUDGET_NONE, TINKER_EREJECTED, UNKNOWN},
    {N | S | O | R, 0, 999, CURVE_NONE, BUDGET_NONE, TINKER_EREJECTED, 0},
};

static int number_of(const tinker__trouble_t *f) {
  if (f->error == TINKER_EOVERFLOW) return TOO_LARGE;
  if (f->error) return f->sent ? MAYBE : NOT_SENT;
  return f->foreign ? FOREIGN : f->status;
}

static const struct row *find(unsigned class_bit, int number) {
  for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
    if (rows[i].classes & class_bit && number >= rows[i].lo &&
        number <= rows[i].hi) {
      return &rows[i];
    }
  }
  return &rows[sizeof rows / sizeof rows[0] - 1];
}

/* xorshift64*; a state of zero would stay zero. */
static uint64_t draw(uint64_t *seed) {
  uint64_t x = *seed ? *seed : 0x9e3779b97f4a7c15u;
  x ^= x >> 12;
  x ^= x << 25;
  x ^= x >> 27;
  *seed = x;
  return x * 0x2545f4914f6cdd1du;
}

/* start * 2^streak up to the ceiling, then up to a quarter more. */
static int64_t pause_of(const struct curve *c, unsigned streak,
                        int64_t elapsed_ms, uint64_t *seed) {
  int64_t ms = c->start_ms;
  for (unsigned k = 0; k < streak && ms < c->cap_ms; k++) ms *= 2;
  if (ms > c->cap_ms) ms = c->cap_ms;
  ms += (int64_t)(draw(seed) % (uint64_t)(ms / 4 + 1));
  if (c->from_start) ms -= elapsed_ms;
  return ms > 0 ? ms : 0;
}

static bool budget_left(tinker__retry_t *r, const tinker__retry_limits_t *l,
                        budget_t budget, int64_t now_ms) {
  switch (budget) {
  case BUDGET_SEND: return now_ms - r->first_ms < l->send_ms;
  case BUDGET_CONFLICT: return now_ms - r->first_ms < l->conflict_ms;
  case BUDGET_BILLING:
    if (!r->billing_ms) r->billing_ms = now_ms ? now_ms : 1;
    return now_ms - r->billing_ms < l->billing_ms;
  case BUDGET_BAD_POLLS: return r->bad_polls++ < l->bad_polls;
  case BUDGET_DEADLINE: return true; /* the operation's own deadline ends it */
  case BUDGET_NONE: break;
  }
  return false;
}

void tinker__retry_default_limits(tinker__retry_limits_t *limits) {
  *limits = (tinker__retry_limits_t){
      .send_ms = 300000,
      .conflict_ms = 10000,
      .billing_ms = 3600000,
      .bad_polls = 3,
  };
}

void tinker__retry_sent(tinker__retry_t *r, int64_t now_ms) {
  if (r->sends++ == 0) r->first_ms = now_ms;
  r->sent_ms = now_ms;
}

/* After this the answer says that the server is there, whatever it thinks. */
static void note(tinker__retry_t *r, int number, tinker__retry_class_t c) {
  if (number != 402) r->billing_ms = 0;
  if (c == TINKER__RETRY_POLL && number == 408) r->bad_polls = 0;
}

tinker__verdict_t tinker__retry_judge(tinker__retry_t *r,
                                      const tinker__retry_limits_t *limits,
                                      tinker__retry_class_t class_bit,
                                      const tinker__trouble_t *failure,
                                      int64_t now_ms, uint64_t *seed) {
  int number = number_of(failure);
  const struct row *row = find(class_bit, number);
  tinker__verdict_t v = {TINKER__VERDICT_FAIL, 0, row->code, row->advice};
  note(r, number, class_bit);
  if (budget_left(r, limits, row->budget, now_ms)) {
    const struct curve *c = &curves[row->curve];
    int64_t elapsed = now_ms - r->sent_ms;
    if (c->from_start && elapsed >= 1000) r->streak = 0;
    v.kind = TINKER__VERDICT_AGAIN;
    v.delay_ms = pause_of(c, r->streak++, elapsed, seed);
    if (failure->retry_after_ms > v.delay_ms &&
        failure->retry_after_ms <= 60000) {
      v.delay_ms = failure->retry_after_ms;
    }
  } else if (row->code == TINKER_ELOST) {
    v.kind = TINKER__VERDICT_LOST;
  }
  /* An earlier attempt that may have arrived makes the outcome unknown, even
   * if the last one clearly did not. */
  if (r->maybe_done &&
      class_bit & (TINKER__RETRY_NUMBERED | TINKER__RETRY_ONCE)) {
    v.advice |= TINKER__ADVICE_UNKNOWN;
  }
  if ((number > NOT_SENT && number < 400) || number == 408 || number >= 500) {
    r->maybe_done = true;
  }
  return v;
}

int64_t tinker__retry_try_again(tinker__retry_t *r, int64_t now_ms,
                                uint64_t *seed) {
  int64_t elapsed = now_ms - r->sent_ms;
  if (elapsed >= 1000) r->streak = 0;
  r->bad_polls = 0;
  r->billing_ms = 0;
  return pause_of(&curves[CURVE_QUICK], r->streak++, elapsed, seed);
}

int64_t tinker__retry_resubmit(unsigned losses, uint64_t *seed) {
  return pause_of(&curves[CURVE_RESUBMIT], losses, 0, seed);
}

int64_t tinker__retry_backpressure_ms(uint64_t bytes) {
  return bytes <= 131072 ? 1000 : 5000;
}
