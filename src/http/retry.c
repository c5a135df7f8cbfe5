/* The table of retries, see retry.h. */
#include "http/retry.h"

#include <stddef.h>

#include "base/error.h"

/* What happened, as one number. Below any status: failures without an answer;
 * 0 to 399 as a whole is "no answer of the service". Above any status: words of
 * the service, and calls that it carried out badly. */
enum {
  NOT_SENT = 1,  /* the server saw nothing of it */
  MAYBE = 2,     /* it may have seen all of it */
  TOO_LARGE = 3, /* the reply broke a cap: it would do so again */
  FOREIGN = 4,   /* something in between refused */
  NO_TRUST = 5,  /* TLS failed, so nothing was sent */
  NO_MEMORY = 6, /* of ours; nothing was sent */
  NO_ROOM = 7,   /* no memory for the reply */
  OURS = 8,      /* the transport refused it; nothing was sent */
  CUT = 9,       /* the transport gave it up on its way */
  BAD = 10,      /* it can't be sent as it is */
  NO_ANSWER = 399,
  ANY_STATUS = 999,
  SAID = 1000, /* + tinker__said_t */
  ENDED_USER = 1100,
  ENDED_SERVER = 1101,
  ENDED = 1102
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
  BUDGET_PAGE,
  BUDGET_BILLING,
  BUDGET_BAD_POLLS,
  BUDGET_DEADLINE /* the operation's own deadline ends it */
} budget_t;

/* clang-format off */
static const struct curve {
  int64_t floor_ms, cap_ms;
  bool from_start; /* the pause counts from the start of the attempt */
} curves[] = {
  [CURVE_SEND] = {250, 20000, false},
  [CURVE_QUICK] = {100, 5000, true},
  [CURVE_SLOW] = {1000, 30000, false},
  [CURVE_PAUSE] = {5000, 6250, false},
  [CURVE_RESUBMIT] = {500, 10000, false},
};
/* clang-format on */

enum {
  N = TINKER__RETRY_NUMBERED,
  S = TINKER__RETRY_SAMPLE,
  O = TINKER__RETRY_ONCE,
  L = TINKER__RETRY_LOOKUP,
  R = TINKER__RETRY_READ | L,
  P = TINKER__RETRY_POLL,
  T = TINKER__RETRY_START,
  M = TINKER__RETRY_REPEAT,
  RT = R | T,
  ALL = N | S | O | R | P | T | M
};
enum {
  AGAIN_OK = TINKER__ADVICE_RETRIABLE,
  FATAL = TINKER__ADVICE_FATAL | TINKER__ADVICE_RECOVER,
  GONE = TINKER__ADVICE_RECOVER, /* no handle refuses calls because of it */
  UNKNOWN = TINKER__ADVICE_UNKNOWN,
  OWN_CODE = 0 /* that of the transport */
};

/* First match wins. A row with a curve repeats while its budget lasts; then,
 * or without a curve at once, it fails with code and advice. */
/* clang-format off */
#define AT(number) (number), (number)
#define WORD(word) AT(SAID + (int)TINKER__SAID_##word)
#define NEVER CURVE_NONE, BUDGET_NONE
#define SEND CURVE_SEND, BUDGET_SEND
#define BUSY CURVE_SEND, BUDGET_CONFLICT
#define PAUSE CURVE_PAUSE, BUDGET_BILLING
#define ASK CURVE_QUICK, BUDGET_DEADLINE
#define WAIT CURVE_SLOW, BUDGET_DEADLINE
#define E(name) TINKER_E##name
static const struct row {
  unsigned classes;
  int lo, hi;
  curve_id_t curve;
  budget_t budget;
  int code;
  unsigned advice;
} rows[] = {
  /* Nothing was sent. */
  {N,          AT(NOT_SENT),      SEND,  E(CONNECT),   FATAL},
  {S | O | RT | M, AT(NOT_SENT),  SEND,  E(CONNECT),   AGAIN_OK},
  {P,          NOT_SENT, MAYBE,   WAIT,  E(TRANSPORT), UNKNOWN},
  /* A certificate that is wrong at the first contact stays wrong; later it is
   * trouble of the moment, such as a server that is being replaced. */
  {T,          AT(NO_TRUST),      NEVER, OWN_CODE,     0},
  {N,          AT(NO_TRUST),      SEND,  OWN_CODE,     FATAL},
  {S | O | R | M, AT(NO_TRUST),   SEND,  OWN_CODE,     AGAIN_OK},
  {N,          AT(NO_MEMORY),     SEND,  OWN_CODE,     FATAL},
  {S | R | M,  AT(NO_MEMORY),     SEND,  OWN_CODE,     AGAIN_OK},
  {O | T,      AT(NO_MEMORY),     NEVER, OWN_CODE,     AGAIN_OK},
  {N,          AT(OURS),          SEND,  OWN_CODE,     FATAL},
  {S | O | RT | M, AT(OURS),      NEVER, OWN_CODE,     AGAIN_OK},
  {N,          AT(BAD),           NEVER, OWN_CODE,     FATAL},
  {S | O | RT | M, AT(BAD),       NEVER, OWN_CODE,     0},
  {P,          AT(BAD),           NEVER, OWN_CODE,     UNKNOWN},

  /* All of it may have been read. */
  {N,          AT(MAYBE),         SEND,  E(TRANSPORT), FATAL | UNKNOWN},
  {S | RT,     AT(MAYBE),         SEND,  E(TRANSPORT), AGAIN_OK},
  {M,          AT(MAYBE),         SEND,  E(TRANSPORT), UNKNOWN},
  {O,          AT(MAYBE),         NEVER, E(TRANSPORT), UNKNOWN},
  {N,          AT(TOO_LARGE),     SEND,  OWN_CODE,     FATAL | UNKNOWN},
  {O | P | M,  AT(TOO_LARGE),     NEVER, OWN_CODE,     UNKNOWN},
  {S | RT,     AT(TOO_LARGE),     NEVER, OWN_CODE,     0},
  {P,          NO_TRUST, CUT,     WAIT,  OWN_CODE,     UNKNOWN},
  {N,          NO_ROOM, CUT,      SEND,  OWN_CODE,     FATAL | UNKNOWN},
  {S | R,      AT(NO_ROOM),       SEND,  OWN_CODE,     AGAIN_OK},
  {M,          AT(NO_ROOM),       SEND,  OWN_CODE,     UNKNOWN},
  {S | RT,     NO_ROOM, CUT,      NEVER, OWN_CODE,     AGAIN_OK},
  {O | M,      NO_ROOM, CUT,      NEVER, OWN_CODE,     UNKNOWN},

  /* A 2xx or 3xx that is not an answer, and a 4xx without the service's JSON,
   * were sent by something in between: the number may not have arrived. */
  {N,          0, NO_ANSWER,      SEND,  E(PROTO),     FATAL | UNKNOWN},
  {O,          0, NO_ANSWER,      NEVER, E(PROTO),     UNKNOWN},
  {M,          0, NO_ANSWER,      SEND,  E(PROTO),     UNKNOWN},
  {S | R,      0, NO_ANSWER,      SEND,  E(PROTO),     AGAIN_OK},
  {T,          0, NO_ANSWER,      CURVE_SEND, BUDGET_PAGE, E(PROTO), AGAIN_OK},
  {P,          0, NO_ANSWER,      WAIT,  E(PROTO),     UNKNOWN},

  /* Known words. A trainer ends with its model or session. */
  {ALL,        WORD(EXISTS),      NEVER, E(EXIST),     0},
  {ALL,        WORD(MISSING),     NEVER, E(NOENT),     0},
  {L,          WORD(NO_MODEL),    NEVER, E(NOENT),     0},
  {N | R,      WORD(NO_MODEL),    NEVER, E(NOENT),     FATAL},
  {ALL,        WORD(NO_MODEL),    NEVER, E(NOENT),     0},
  {N,          WORD(NO_SESSION),  NEVER, E(SESSION),   FATAL},
  {L | M,      WORD(NO_SESSION),  NEVER, E(NOENT),     0},
  {ALL,        WORD(NO_SESSION),  NEVER, E(SESSION),   0},
  {ALL,        WORD(NO_ROUTE),    NEVER, E(NOTSUP),    0},
  {N,          WORD(STUCK),       NEVER, E(SERVER),    FATAL},
  {ALL,        WORD(STUCK),       NEVER, E(SERVER),    GONE},
  {N,          WORD(TAKEN),       NEVER, E(REJECTED),  FATAL},
  {ALL,        WORD(TAKEN),       NEVER, E(REJECTED),  0},
  {ALL,        WORD(SPENT),       NEVER, E(REJECTED),  0},
  {S,          ENDED_SERVER, ENDED, NEVER, E(SERVER),  AGAIN_OK},
  {ALL,        ENDED_USER, ENDED, NEVER, E(SERVER),    0},

  /* Statuses. A 4xx of the service consumes the number (the official client
   * goes on after one, protocol 20.2). A request that is not let in or is too
   * large was not read, so the server would wait for its number. */
  {P,          AT(400), CURVE_QUICK, BUDGET_BAD_POLLS, E(REJECTED), UNKNOWN},
  {N,          AT(401),           NEVER, E(AUTH),      FATAL},
  {S | O | RT | M, AT(401),       NEVER, E(AUTH),      0},
  {P,          AT(401),           NEVER, E(AUTH),      UNKNOWN},
  {N,          AT(402),           PAUSE, E(BILLING),   FATAL},
  {S | RT | M, AT(402),           PAUSE, E(BILLING),   AGAIN_OK},
  {P,          AT(402),           PAUSE, E(BILLING),   UNKNOWN},
  {O,          AT(402),           NEVER, E(BILLING),   AGAIN_OK},
  {P,          AT(404),           NEVER, E(LOST),      UNKNOWN},
  {N,          AT(408),           SEND,  E(SERVER),    FATAL | UNKNOWN},
  {S | RT,     AT(408),           SEND,  E(SERVER),    AGAIN_OK},
  {M,          AT(408),           SEND,  E(SERVER),    UNKNOWN},
  {O,          AT(408),           NEVER, E(SERVER),    UNKNOWN},
  {P,          AT(408),           ASK,   E(SERVER),    UNKNOWN},
  {N,          AT(409),           BUSY,  E(REJECTED),  0},
  {S | RT | M, AT(409),           BUSY,  E(REJECTED),  AGAIN_OK},
  {P,          AT(410),           NEVER, E(LOST),      UNKNOWN},
  {N,          AT(410),           NEVER, E(SESSION),   FATAL},
  {L | M,      AT(410),           NEVER, E(NOENT),     0},
  {S | O | RT, AT(410),           NEVER, E(SESSION),   0},
  {N,          AT(413),           NEVER, E(REJECTED),  FATAL},
  {N | S | RT | M, AT(425),       BUSY,  E(REJECTED),  AGAIN_OK},
  {O,          AT(425),           NEVER, E(REJECTED),  AGAIN_OK},
  {N,          AT(429),           SEND,  E(REJECTED),  FATAL},
  {S,          AT(429), CURVE_SEND, BUDGET_DEADLINE, E(REJECTED), AGAIN_OK},
  {RT | M,     AT(429),           SEND,  E(REJECTED),  AGAIN_OK},
  {O,          AT(429),           NEVER, E(REJECTED),  AGAIN_OK},
  {P,          AT(429),           WAIT,  E(REJECTED),  UNKNOWN},
  {N,          500, 599,          SEND,  E(SERVER),    FATAL | UNKNOWN},
  {S | RT,     500, 599,          SEND,  E(SERVER),    AGAIN_OK},
  {M,          500, 599,          SEND,  E(SERVER),    UNKNOWN},
  {O,          500, 599,          NEVER, E(SERVER),    UNKNOWN},
  {P,          500, 599,          ASK,   E(SERVER),    UNKNOWN},
  {P,          0, ANY_STATUS,     NEVER, E(REJECTED),  UNKNOWN},
  {ALL,        0, INT32_MAX,      NEVER, E(REJECTED),  0},
};
/* clang-format on */

/* A second request under the number of an outcome that is unknown is safe only
 * because the bytes are the same. */
static bool may_repeat(unsigned class_bit, int number) {
  if (class_bit != O || number >= SAID) return true;
  return number >= 400 && number <= 499 && number != 408;
}

static int number_of_error(const tinker__trouble_t *f) {
  switch (f->error) {
  case TINKER_EOVERFLOW: return TOO_LARGE;
  case TINKER_ETLS: return f->sent ? MAYBE : NO_TRUST;
  case TINKER_ENOMEM: return f->sent ? NO_ROOM : NO_MEMORY;
  case TINKER_EINVAL: return BAD;
  case TINKER_ENOTSUP: /* a redirect that is not followed */
  case TINKER_EPROTO: return FOREIGN;
  case TINKER_ERANDOM:
  case TINKER_ECLOSED:
  case TINKER_ECANCELED: return f->sent ? CUT : OURS;
  default: return f->sent ? MAYBE : NOT_SENT;
  }
}

/* What the service says of a request id means something else than the same
 * words about a call. */
static int number_of(const tinker__trouble_t *f, unsigned class_bit) {
  if (f->error) return number_of_error(f);
  if (f->foreign) return FOREIGN;
  if (f->said && class_bit != P) return SAID + (int)f->said;
  if (!f->ended) return f->status;
  if (f->category == TINKER_CATEGORY_USER) return ENDED_USER;
  return f->category == TINKER_CATEGORY_SERVER ? ENDED_SERVER : ENDED;
}

/* Who must act. A 4xx names the caller's fault, but for those that time heals
 * and for a result that the service has dropped. */
static tinker_category_t category_of(const tinker__trouble_t *f, int code) {
  int status = f->status;
  if (f->ended) return f->category;
  if (f->error || f->foreign || status < 400) return TINKER_CATEGORY_UNKNOWN;
  if (status >= 500 || status == 408 || status == 429 || code == TINKER_ELOST) {
    return TINKER_CATEGORY_SERVER;
  }
  return TINKER_CATEGORY_USER;
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

/* The row, as the server's own word about another try changes it. */
static struct row choose(unsigned class_bit, int number,
                         const tinker__trouble_t *f) {
  struct row row = *find(class_bit, number);
  if (f->error || f->foreign || f->ended) return row;
  if (f->should_retry < 0) {
    row.curve = CURVE_NONE;
    row.budget = BUDGET_NONE;
  } else if (f->should_retry > 0 && row.curve == CURVE_NONE &&
             may_repeat(class_bit, number)) {
    row.curve = class_bit == P ? CURVE_SLOW : CURVE_SEND;
    row.budget = class_bit == P ? BUDGET_DEADLINE : BUDGET_SEND;
  }
  return row;
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

/* Any of 0 to most. */
static int64_t up_to(int64_t most, uint64_t *seed) {
  return (int64_t)(draw(seed) % (uint64_t)(most + 1));
}

/* From the floor up to the floor * 2^(streak + 1), or the cap. */
static int64_t pause_of(const struct curve *c, unsigned streak,
                        int64_t elapsed_ms, uint64_t *seed) {
  int64_t most = c->floor_ms * 2;
  for (unsigned k = 0; k < streak && most < c->cap_ms; k++) most *= 2;
  if (most > c->cap_ms) most = c->cap_ms;
  int64_t ms = c->floor_ms + up_to(most - c->floor_ms, seed);
  if (c->from_start) ms -= elapsed_ms;
  return ms > 0 ? ms : 0;
}

/* Until when the request may be sent again: now or earlier, it may not. */
static int64_t budget_end(tinker__retry_t *r, const tinker__retry_limits_t *l,
                          budget_t budget, int64_t now_ms) {
  switch (budget) {
  case BUDGET_SEND: return r->first_ms + l->send_ms;
  case BUDGET_CONFLICT: return r->first_ms + l->conflict_ms;
  case BUDGET_PAGE: return r->first_ms + l->page_ms;
  case BUDGET_BILLING:
    if (!r->billing_ms) r->billing_ms = now_ms ? now_ms : 1;
    return l->billing_ms > INT64_MAX - r->billing_ms
               ? INT64_MAX
               : r->billing_ms + l->billing_ms;
  case BUDGET_BAD_POLLS:
    return r->bad_polls++ < l->bad_polls ? INT64_MAX : now_ms;
  case BUDGET_DEADLINE: return INT64_MAX;
  case BUDGET_NONE: break;
  }
  return now_ms;
}

void tinker__retry_default_limits(tinker__retry_limits_t *limits) {
  *limits = (tinker__retry_limits_t){
      .send_ms = 300000,
      .conflict_ms = 10000,
      .page_ms = 10000,
      .billing_ms = 3600000,
      .bad_polls = 3,
  };
}

void tinker__retry_sent(tinker__retry_t *r, int64_t now_ms) {
  if (r->sends++ == 0) r->first_ms = now_ms;
  r->sent_ms = now_ms;
  r->again = false;
}

/* After this the answer says that the server is there, whatever it thinks. */
static void note(tinker__retry_t *r, int number, unsigned class_bit) {
  if (number != 402) r->billing_ms = 0;
  if (class_bit == P && number == 408) r->bad_polls = 0;
}

/* A 410 to a submission ends the session, a 410 to a poll is one lost result,
 * and a 410 to anything else may be about what it names. */
static tinker__verdict_kind_t end_of(unsigned class_bit, int number) {
  if (number != 410) return TINKER__VERDICT_FAIL;
  if (class_bit == P) return TINKER__VERDICT_LOST;
  return class_bit & (RT | M) ? TINKER__VERDICT_FAIL : TINKER__VERDICT_OVER;
}

static int64_t delay_of(tinker__retry_t *r, const struct curve *c,
                        const tinker__trouble_t *f, int64_t now_ms,
                        uint64_t *seed) {
  int64_t elapsed = now_ms - r->sent_ms, stated = f->retry_after_ms;
  if (c->from_start && elapsed >= 1000) r->streak = 0;
  int64_t ms = pause_of(c, r->streak++, elapsed, seed);
  if (stated <= 0 || stated > 60000) return ms;
  if (stated < c->floor_ms) stated = c->floor_ms;
  return stated + up_to(stated / 20, seed);
}

/* An attempt that may have arrived makes the outcome unknown even if a later
 * one clearly did not; but for the service's word that it had rejected it. */
static unsigned with_earlier(const tinker__retry_t *r, unsigned class_bit,
                             int number, unsigned advice) {
  if (!r->maybe_done || !(class_bit & (N | O | M)) ||
      number == SAID + (int)TINKER__SAID_SPENT) {
    return advice;
  }
  return (advice & ~(unsigned)AGAIN_OK) | UNKNOWN;
}

static bool may_have_arrived(int number) {
  if (number == 408 || (number >= 500 && number <= ANY_STATUS)) return true;
  return number == MAYBE || number == TOO_LARGE || number == FOREIGN ||
         number == NO_ROOM || number == CUT ||
         (number > BAD && number <= NO_ANSWER);
}

tinker__verdict_t tinker__retry_judge(tinker__retry_t *r,
                                      const tinker__retry_limits_t *limits,
                                      tinker__retry_class_t class_bit,
                                      const tinker__trouble_t *failure,
                                      int64_t now_ms, uint64_t *seed) {
  int number = number_of(failure, class_bit);
  struct row row = choose(class_bit, number, failure);
  int code = row.code ? row.code : failure->error;
  note(r, number, class_bit);
  tinker__verdict_t v = {
      .kind = end_of(class_bit, number),
      .until_ms = budget_end(r, limits, row.budget, now_ms),
      .code = code,
      .advice = with_earlier(r, class_bit, number, row.advice),
      .category = category_of(failure, code),
  };
  if (now_ms < v.until_ms) {
    v.kind = TINKER__VERDICT_AGAIN;
    v.delay_ms = delay_of(r, &curves[row.curve], failure, now_ms, seed);
  }
  r->again = v.kind == TINKER__VERDICT_AGAIN;
  r->last = v;
  if (may_have_arrived(number)) r->maybe_done = true;
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

/* Nobody probes beside us in this client, so the pause is near its longest. */
int64_t tinker__retry_probe(unsigned n, uint64_t *seed) {
  int64_t ms = 250;
  for (unsigned k = 0; k < n && ms < 24000; k++) ms *= 2;
  if (ms > 24000) ms = 24000;
  return ms + up_to(ms / 4, seed);
}

int64_t tinker__retry_backpressure_ms(uint64_t bytes) {
  return bytes <= 131072 ? 1000 : 5000;
}
