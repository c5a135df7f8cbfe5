/* What is tried again, how often and how soon. */
#include <criterion/criterion.h>

#include "base/error.h"
#include "http/retry.h"

static const tinker__retry_limits_t limits = {300000, 10000, 3600000, 3};

typedef struct outcome_s {
  int attempts; /* until it failed, or 1000 */
  int code;
  unsigned advice;
  int64_t ms;       /* from the first attempt to the failure */
  int64_t least_ms; /* shortest pause */
  int64_t most_ms;
} outcome_t;

/* Fails in the same way until the rules give up; each attempt takes `took`. */
static outcome_t fail(tinker__retry_class_t class_bit,
                      const tinker__trouble_t *trouble, int64_t took) {
  tinker__retry_t r = {0};
  uint64_t seed = 7;
  int64_t now = 1000;
  outcome_t o = {.least_ms = INT64_MAX};
  while (o.attempts < 1000) {
    tinker__retry_sent(&r, now);
    o.attempts++;
    now += took;
    tinker__verdict_t v =
        tinker__retry_judge(&r, &limits, class_bit, trouble, now, &seed);
    o.code = v.code;
    o.advice = v.advice;
    o.ms = now - 1000;
    if (v.kind != TINKER__VERDICT_AGAIN) break;
    if (v.delay_ms < o.least_ms) o.least_ms = v.delay_ms;
    if (v.delay_ms > o.most_ms) o.most_ms = v.delay_ms;
    now += v.delay_ms;
  }
  return o;
}

static outcome_t status(tinker__retry_class_t c, int status) {
  return fail(c, &(tinker__trouble_t){.status = status, .sent = true}, 10);
}

static outcome_t broken(tinker__retry_class_t c, int code, bool sent) {
  return fail(c, &(tinker__trouble_t){.error = code, .sent = sent}, 10);
}

Test(retry, numbered) {
  static const int again[] = {408, 429, 500, 502, 503, 504, 599};
  for (size_t i = 0; i < sizeof again / sizeof again[0]; i++) {
    outcome_t o = status(TINKER__RETRY_NUMBERED, again[i]);
    cr_assert(o.attempts > 10 && o.attempts < 60, "%d: %d", again[i],
              o.attempts);
    cr_assert(o.least_ms >= 250 && o.most_ms <= 18750);
    cr_assert(o.ms >= 300000 && o.ms < 330000);
    cr_assert(o.advice & TINKER__ADVICE_FATAL);
    cr_assert_eq(!(o.advice & TINKER__ADVICE_UNKNOWN), again[i] == 429);
  }
  outcome_t o = broken(TINKER__RETRY_NUMBERED, TINKER_ETRANSPORT, true);
  cr_assert(o.attempts > 10 && o.advice & TINKER__ADVICE_FATAL &&
            o.advice & TINKER__ADVICE_UNKNOWN);
  o = broken(TINKER__RETRY_NUMBERED, TINKER_ECONNECT, false);
  cr_assert(o.attempts > 10 && o.code == TINKER_ECONNECT);
  cr_assert(o.advice & TINKER__ADVICE_FATAL &&
            !(o.advice & TINKER__ADVICE_UNKNOWN));
  o = status(TINKER__RETRY_NUMBERED, 409);
  cr_assert(o.attempts > 2 && o.ms >= 10000 && o.ms < 30000);
  cr_assert_eq(o.advice, 0u);
  o = status(TINKER__RETRY_NUMBERED, 402);
  cr_assert(o.attempts > 500 && o.code == TINKER_EBILLING);
  cr_assert(o.least_ms >= 5000);
  static const int once[] = {400, 403, 404, 422};
  for (size_t i = 0; i < sizeof once / sizeof once[0]; i++) {
    o = status(TINKER__RETRY_NUMBERED, once[i]);
    cr_assert(o.attempts == 1 && !(o.advice & TINKER__ADVICE_FATAL));
  }
  static const int unread[] = {401, 413}; /* nobody saw the number */
  for (size_t i = 0; i < sizeof unread / sizeof unread[0]; i++) {
    o = status(TINKER__RETRY_NUMBERED, unread[i]);
    cr_assert(o.attempts == 1 && o.advice & TINKER__ADVICE_FATAL &&
              !(o.advice & TINKER__ADVICE_UNKNOWN));
  }
  static const int no_answer[] = {200, 302};
  for (size_t i = 0; i < sizeof no_answer / sizeof no_answer[0]; i++) {
    o = status(TINKER__RETRY_NUMBERED, no_answer[i]);
    cr_assert(o.attempts > 10 && o.code == TINKER_EPROTO &&
              o.advice & TINKER__ADVICE_FATAL &&
              o.advice & TINKER__ADVICE_UNKNOWN);
    o = status(TINKER__RETRY_SAMPLE, no_answer[i]);
    cr_assert(o.attempts > 10 && o.advice == TINKER__ADVICE_RETRIABLE);
    o = status(TINKER__RETRY_ONCE, no_answer[i]);
    cr_assert(o.attempts == 1 && o.advice == TINKER__ADVICE_UNKNOWN);
    cr_assert_eq(status(TINKER__RETRY_POLL, no_answer[i]).attempts, 1000);
  }
  o = status(TINKER__RETRY_NUMBERED, 410); /* the session is over */
  cr_assert(o.attempts == 1 && o.code == TINKER_ESESSION &&
            o.advice & TINKER__ADVICE_FATAL);
}

/* Whatever number a proxy gives its page, nobody knows what the service saw. */
Test(retry, refused_in_between_is_trouble_on_the_way) {
  static const int pages[] = {400, 401, 402, 403, 404, 407,
                              409, 410, 418, 422, 451};
  for (size_t i = 0; i < sizeof pages / sizeof pages[0]; i++) {
    tinker__trouble_t t = {.status = pages[i], .sent = true, .foreign = true};
    outcome_t o = fail(TINKER__RETRY_NUMBERED, &t, 10);
    cr_assert(o.attempts > 10 && o.code == TINKER_EPROTO, "%d", pages[i]);
    cr_assert_eq(o.advice,
                 (unsigned)(TINKER__ADVICE_FATAL | TINKER__ADVICE_RECOVER |
                            TINKER__ADVICE_UNKNOWN));
    o = fail(TINKER__RETRY_SAMPLE, &t, 10);
    cr_assert(o.attempts > 10 && o.advice == TINKER__ADVICE_RETRIABLE);
    o = fail(TINKER__RETRY_ONCE, &t, 10);
    cr_assert(o.attempts == 1 && o.advice == TINKER__ADVICE_UNKNOWN);
    cr_assert_eq(fail(TINKER__RETRY_POLL, &t, 10).attempts, 1000);
    if (pages[i] == 402 || pages[i] == 409) continue;
    t.foreign = false;
    cr_assert_eq(fail(TINKER__RETRY_NUMBERED, &t, 10).attempts, 1);
  }
}

Test(retry, without_number_only_when_nothing_was_sent) {
  cr_assert_gt(broken(TINKER__RETRY_ONCE, TINKER_ECONNECT, false).attempts, 10);
  static const int statuses[] = {400, 402, 408, 409, 422, 429, 500, 503};
  for (size_t i = 0; i < sizeof statuses / sizeof statuses[0]; i++) {
    outcome_t o = status(TINKER__RETRY_ONCE, statuses[i]);
    bool unknown = statuses[i] == 408 || statuses[i] >= 500;
    cr_assert_eq(o.attempts, 1);
    cr_assert_eq(!!(o.advice & TINKER__ADVICE_UNKNOWN), unknown, "%d",
                 statuses[i]);
  }
  outcome_t o = broken(TINKER__RETRY_ONCE, TINKER_ETRANSPORT, true);
  cr_assert(o.attempts == 1 && o.advice == TINKER__ADVICE_UNKNOWN);
}

Test(retry, polls) {
  /* Answered at once, they are slowed down; held, they are not. */
  tinker__trouble_t t = {.status = 503, .sent = true};
  outcome_t o = fail(TINKER__RETRY_POLL, &t, 1);
  cr_assert(o.attempts == 1000 && o.least_ms >= 99 && o.most_ms >= 4900);
  o = fail(TINKER__RETRY_POLL, &t, 30000);
  cr_assert(o.attempts == 1000 && o.most_ms == 0);
  t.status = 429;
  o = fail(TINKER__RETRY_POLL, &t, 1);
  cr_assert(o.attempts == 1000 && o.least_ms >= 1000 && o.most_ms >= 30000);
  t.status = 400;
  o = fail(TINKER__RETRY_POLL, &t, 1);
  cr_assert(o.attempts == 4 && o.code == TINKER_EREJECTED);
  static const int final[] = {401, 403, 404, 409, 422};
  for (size_t i = 0; i < sizeof final / sizeof final[0]; i++) {
    o = status(TINKER__RETRY_POLL, final[i]);
    cr_assert(o.attempts == 1 && o.advice == TINKER__ADVICE_UNKNOWN);
  }
  o = status(TINKER__RETRY_POLL, 410);
  cr_assert(o.attempts == 1 && o.code == TINKER_ELOST);

  tinker__retry_t r = {0};
  uint64_t seed = 1;
  int64_t now = 0, sum = 0;
  for (int i = 0; i < 10; i++) {
    tinker__retry_sent(&r, now);
    int64_t ms = tinker__retry_try_again(&r, now, &seed);
    cr_assert_geq(ms, 100);
    now += ms;
    sum += ms;
  }
  cr_assert_gt(sum, 10000);
  tinker__retry_sent(&r, now);
  cr_assert_eq(tinker__retry_try_again(&r, now + 30000, &seed), 0);
}

Test(retry, retry_after_and_jitter) {
  tinker__trouble_t t = {.status = 503, .sent = true, .retry_after_ms = 7000};
  cr_assert_geq(fail(TINKER__RETRY_READ, &t, 1).least_ms, 7000);
  t.retry_after_ms = 61000; /* not honoured, protocol 1.7 */
  cr_assert_lt(fail(TINKER__RETRY_READ, &t, 1).least_ms, 7000);
  uint64_t a = 1, b = 2;
  tinker__retry_t ra = {0}, rb = {0};
  t.retry_after_ms = 0;
  int same = 0;
  for (int i = 0; i < 8; i++) {
    same += tinker__retry_judge(&ra, &limits, TINKER__RETRY_READ, &t, 0, &a)
                .delay_ms ==
            tinker__retry_judge(&rb, &limits, TINKER__RETRY_READ, &t, 0, &b)
                .delay_ms;
  }
  cr_assert_lt(same, 4);
}

/* A sample that is pushed back waits for room until its deadline. */
Test(retry, samples) {
  outcome_t o = status(TINKER__RETRY_SAMPLE, 429);
  cr_assert(o.attempts == 1000 && o.least_ms >= 250);
  o = status(TINKER__RETRY_SAMPLE, 503);
  cr_assert(o.attempts < 60 && o.advice == TINKER__ADVICE_RETRIABLE);
  o = broken(TINKER__RETRY_SAMPLE, TINKER_ETRANSPORT, true);
  cr_assert(o.attempts > 10 && o.advice == TINKER__ADVICE_RETRIABLE);
  o = status(TINKER__RETRY_SAMPLE, 400);
  cr_assert(o.attempts == 1 && o.code == TINKER_EREJECTED);
}

/* An attempt that may have arrived is not forgotten when the next one is
 * rejected. */
Test(retry, unknown_stays_unknown) {
  tinker__retry_t r = {0};
  uint64_t seed = 1;
  tinker__trouble_t lost = {.error = TINKER_ETRANSPORT, .sent = true};
  tinker__trouble_t refused = {.status = 404, .sent = true};
  tinker__retry_sent(&r, 0);
  tinker__retry_judge(&r, &limits, TINKER__RETRY_NUMBERED, &lost, 1, &seed);
  tinker__verdict_t v = tinker__retry_judge(&r, &limits, TINKER__RETRY_NUMBERED,
                                            &refused, 2, &seed);
  cr_assert_eq(v.kind, TINKER__VERDICT_FAIL);
  cr_assert(v.advice & TINKER__ADVICE_UNKNOWN);
}
