/* What is tried again, how often and how soon. */
#include <criterion/criterion.h>

#include "base/error.h"
#include "http/retry.h"

static const tinker__retry_limits_t limits = {.send_ms = 300000,
                                              .conflict_ms = 10000,
                                              .page_ms = 10000,
                                              .billing_ms = 3600000,
                                              .bad_polls = 3};

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
    cr_assert(o.least_ms >= 250 && o.most_ms <= 20000);
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
  cr_assert(o.attempts == 1000 && o.least_ms >= 1000 && o.most_ms >= 29000);
  cr_assert_leq(o.most_ms, 30000);
  t.status = 400;
  o = fail(TINKER__RETRY_POLL, &t, 1);
  cr_assert(o.attempts == 4 && o.code == TINKER_EREJECTED);
  static const int final[] = {401, 403, 409, 422};
  for (size_t i = 0; i < sizeof final / sizeof final[0]; i++) {
    o = status(TINKER__RETRY_POLL, final[i]);
    cr_assert(o.attempts == 1 && o.advice == TINKER__ADVICE_UNKNOWN);
  }
  static const int lost[] = {404, 410};
  for (size_t i = 0; i < sizeof lost / sizeof lost[0]; i++) {
    o = status(TINKER__RETRY_POLL, lost[i]);
    cr_assert(o.attempts == 1 && o.code == TINKER_ELOST);
  }

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

/* What the server states is what passes, and at most a twentieth more: whether
 * our own curve would be shorter or longer by then. */
Test(retry, the_servers_pause_is_kept) {
  static const int64_t stated[] = {300, 1000, 7000, 30000, 60000};
  for (int c = 0; c < 8; c++) {
    if (1 << c == TINKER__RETRY_ONCE) continue;
    for (size_t i = 0; i < sizeof stated / sizeof *stated; i++) {
      tinker__trouble_t t = {
          .status = 503, .sent = true, .retry_after_ms = stated[i]};
      outcome_t o = fail((tinker__retry_class_t)(1 << c), &t, 1);
      cr_assert_geq(o.least_ms, stated[i], "%d %zu", c, i);
      cr_assert_leq(o.most_ms, stated[i] + stated[i] / 10, "%d %zu", c, i);
    }
  }
  tinker__trouble_t t = {.status = 503, .sent = true, .retry_after_ms = 61000};
  cr_assert_lt(fail(TINKER__RETRY_READ, &t, 1).least_ms, 7000); /* ignored,
                                                              protocol 1.7 */
  t.retry_after_ms = 1; /* the floor holds */
  cr_assert_geq(fail(TINKER__RETRY_READ, &t, 1).least_ms, 250);
}

/* Two that failed together don't come back together, and use the whole range
 * between the floor and the ceiling of their attempt. */
Test(retry, full_jitter) {
  tinker__trouble_t t = {.status = 503, .sent = true};
  enum { MANY = 4000, STREAK = 4 };
  int64_t least = INT64_MAX, most = 0, sum = 0;
  for (uint64_t i = 1; i <= MANY; i++) {
    tinker__retry_t r = {0};
    uint64_t seed = i * 0x9e3779b97f4a7c15u;
    int64_t ms = 0;
    for (int k = 0; k < STREAK; k++) {
      ms = tinker__retry_judge(&r, &limits, TINKER__RETRY_READ, &t, 0, &seed)
               .delay_ms;
    }
    if (ms < least) least = ms;
    if (ms > most) most = ms;
    sum += ms;
  }
  cr_assert(least >= 250 && least < 300, "%lld", (long long)least);
  cr_assert(most > 3900 && most <= 4000, "%lld", (long long)most);
  cr_assert(sum / MANY > 2000 && sum / MANY < 2250);
}

static outcome_t asked(tinker__retry_class_t c, int code, int should_retry) {
  tinker__trouble_t t = {
      .status = code, .sent = true, .should_retry = should_retry};
  return fail(c, &t, 10);
}

/* "x-should-retry: false" ends what would be tried again, "true" goes on with
 * what would end; but nothing unnumbered that may have been done. */
Test(retry, the_servers_word_about_another_try) {
  static const tinker__retry_class_t all[] = {
      TINKER__RETRY_NUMBERED, TINKER__RETRY_SAMPLE, TINKER__RETRY_READ,
      TINKER__RETRY_POLL,     TINKER__RETRY_START,  TINKER__RETRY_LOOKUP,
      TINKER__RETRY_REPEAT};
  for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
    cr_assert_eq(asked(all[i], 503, -1).attempts, 1);
    cr_assert_eq(asked(all[i], 429, -1).attempts, 1);
    cr_assert_eq(asked(all[i], 503, -1).advice, status(all[i], 503).advice);
    outcome_t o = asked(all[i], 422, 1);
    cr_assert(o.attempts > 10 && o.least_ms >= 250, "%zu", i);
    cr_assert_eq(o.code, TINKER_EREJECTED);
  }
  cr_assert_gt(asked(TINKER__RETRY_ONCE, 422, 1).attempts, 10);
  cr_assert_gt(asked(TINKER__RETRY_ONCE, 429, 1).attempts, 10);
  static const int unknown[] = {200, 302, 408, 500, 503};
  for (size_t i = 0; i < sizeof unknown / sizeof *unknown; i++) {
    outcome_t o = asked(TINKER__RETRY_ONCE, unknown[i], 1);
    cr_assert(o.attempts == 1 && o.advice == TINKER__ADVICE_UNKNOWN, "%d",
              unknown[i]);
  }
  tinker__trouble_t page = {
      .status = 403, .sent = true, .foreign = true, .should_retry = -1};
  cr_assert_gt(fail(TINKER__RETRY_NUMBERED, &page, 10).attempts, 10);
}

/* With AGAIN comes what it would end with, and when its time is over. */
Test(retry, the_end_is_known_beforehand) {
  tinker__retry_t r = {0};
  uint64_t seed = 1;
  tinker__trouble_t t = {.status = 503, .sent = true};
  tinker__retry_sent(&r, 1000);
  tinker__verdict_t v =
      tinker__retry_judge(&r, &limits, TINKER__RETRY_SAMPLE, &t, 2000, &seed);
  cr_assert_eq(v.kind, TINKER__VERDICT_AGAIN);
  cr_assert_eq(v.until_ms, 301000);
  cr_assert(r.again && r.last.code == TINKER_ESERVER);
  cr_assert_eq(r.last.advice, (unsigned)TINKER__ADVICE_RETRIABLE);
  cr_assert_eq(r.last.category, TINKER_CATEGORY_SERVER);
  tinker__retry_sent(&r, 3000);
  cr_assert(!r.again);
  t.status = 429;
  v = tinker__retry_judge(&r, &limits, TINKER__RETRY_SAMPLE, &t, 3001, &seed);
  cr_assert_eq(v.until_ms, INT64_MAX);
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

/* The service knows that it had rejected the call: then nothing is unknown. */
Test(retry, a_rejection_that_was_lost) {
  tinker__retry_t r = {0};
  uint64_t seed = 1;
  tinker__trouble_t lost = {.error = TINKER_ETRANSPORT, .sent = true};
  tinker__trouble_t spent = {
      .status = 409, .sent = true, .said = TINKER__SAID_SPENT};
  tinker__retry_sent(&r, 0);
  tinker__retry_judge(&r, &limits, TINKER__RETRY_NUMBERED, &lost, 1, &seed);
  tinker__verdict_t v = tinker__retry_judge(&r, &limits, TINKER__RETRY_NUMBERED,
                                            &spent, 2, &seed);
  cr_assert(v.kind == TINKER__VERDICT_FAIL && v.code == TINKER_EREJECTED);
  cr_assert_eq(v.advice, 0u);
}
