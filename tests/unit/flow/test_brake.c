/* How much is sent while the service fails, and that all of it is sent when the
 * service is back. */
#include <criterion/criterion.h>
#include <string.h>

#include "base/error.h"
#include "bench.h"

static bench_t b;

enum { SAMPLES = 400, TRAINERS = 50, POLLS = 300 };

/* A transport in front of a service that is down or up. Everything that is out
 * is answered at once, in every step of the time. */
static void serve(bool up, bench_reply_t down) {
  for (size_t i = 0; i < b.count; i++) {
    if (!b.sends[i].request) continue;
    bool poll = !strcmp(b.sends[i].path, BENCH_POLL);
    if (!up) {
      bench_answer(&b, i, down);
    } else if (poll) {
      bench_answer(&b, i, (bench_reply_t){.body = "{\"metrics\":{}}"});
    } else {
      bench_accept(&b, i);
    }
  }
}

static void pass(int64_t ms, bool up, bench_reply_t down) {
  for (int64_t at = 0; at < ms; at += 50) {
    serve(up, down);
    bench_advance(&b, 50);
  }
}

static size_t ended(void) {
  size_t n = 0;
  for (size_t i = 0; i < b.future_count; i++) {
    n += bench_code(b.futures[i]) != 1;
  }
  return n;
}

static size_t failed(void) {
  size_t n = 0;
  for (size_t i = 0; i < b.future_count; i++) {
    n += bench_code(b.futures[i]) < 0;
  }
  return n;
}

static tinker__turn_t *turns[TRAINERS + 1];

static void many(void) {
  turns[TRAINERS] = bench_turn(&b, false);
  for (int i = 0; i < TRAINERS; i++) {
    turns[i] = bench_turn(&b, true);
    bench_submit(&b, &bench_numbered, turns[i], 1, 10, -1);
  }
  for (int i = 0; i < SAMPLES; i++) {
    bench_submit(&b, &bench_sample, turns[TRAINERS], 1, 10, -1);
  }
}

static void check_none_failing(void) {
  for (int i = 0; i < TINKER__BRAKES; i++) {
    cr_assert_eq(b.flow.brakes[i].failing, 0, "%d", i);
    cr_assert(tinker__list_empty(&b.flow.brakes[i].held));
  }
}

static void close_all(void) {
  tinker__flow_close(&b.flow, b.now_ms);
  check_none_failing();
  for (int i = 0; i <= TRAINERS; i++) tinker__turn_release(turns[i]);
  bench_close(&b);
}

static const bench_reply_t outages[] = {
    {.status = 503},
    {.status = 500, .body = "<html>"},
    {.error = TINKER_ECONNECT},
    {.error = TINKER_ETRANSPORT, .sent = true},
    {.status = 429},
    {.status = 402},
    {.status = 503, .retry_after_ms = 1000}};

/* Five minutes in which everything fails at once: at most a tenth more than the
 * first attempts is sent, and no operation of a trainer is given up. */
Test(brake, total_failure) {
  for (size_t i = 0; i < sizeof outages / sizeof *outages; i++) {
    bench_open(&b);
    many();
    cr_assert_eq(b.count, (size_t)SAMPLES + TRAINERS);
    pass(299000, false, outages[i]);
    cr_assert_leq(b.count * 10, (size_t)(SAMPLES + TRAINERS) * 11, "%zu: %zu",
                  i, b.count);
    cr_assert_eq(ended(), 0u, "%zu", i);
    cr_assert_geq(b.count, (size_t)SAMPLES + TRAINERS + 10, "%zu", i);
    close_all();
  }
}

/* Then the service is back, and everything goes through within a minute. */
Test(brake, a_service_that_is_back) {
  for (size_t i = 0; i < sizeof outages / sizeof *outages; i++) {
    bench_open(&b);
    many();
    pass(200000, false, outages[i]);
    pass(60000, true, outages[i]);
    cr_assert_eq(ended(), (size_t)SAMPLES + TRAINERS, "%zu: %zu", i, ended());
    cr_assert_eq(failed(), 0u, "%zu", i);
    check_none_failing();
    close_all();
  }
}

/* What has no number fails when its five minutes are over, with what it failed
 * with; a number is delivered however long that takes. */
Test(brake, the_end_of_the_time) {
  bench_open(&b);
  many();
  pass(310000, false, outages[0]);
  size_t samples = 0, trainers = 0;
  for (size_t i = 0; i < b.future_count; i++) {
    const tinker_error_t *e = b.futures[i]->error;
    if (bench_code(b.futures[i]) == 1) continue;
    cr_assert_eq(tinker_error_code(e), TINKER_ESERVER);
    cr_assert_eq(tinker_error_http_status(e), 503);
    cr_assert_eq(tinker_error_category(e), TINKER_CATEGORY_SERVER);
    cr_assert(strstr(tinker_error_message(e), "answered 503"));
    *(i < TRAINERS ? &trainers : &samples) += 1;
    if (i >= TRAINERS) cr_assert(tinker_error_is_retriable(e));
  }
  cr_assert_eq(samples, (size_t)SAMPLES);
  cr_assert_leq(trainers, 2u); /* whose turn as a probe came after its time */
  pass(60000, true, outages[0]);
  cr_assert_eq(ended(), (size_t)SAMPLES + TRAINERS);
  cr_assert_eq(failed(), samples + trainers);
  close_all();
}

/* Polls are slowed down the same way, and held ones show by their silence that
 * the service is back. */
Test(brake, polls) {
  bench_open(&b);
  tinker__turn_t *turn = bench_turn(&b, false);
  for (int i = 0; i < POLLS; i++) {
    bench_submit(&b, &bench_sample, turn, 1, 10, -1);
  }
  for (size_t i = 0; i < (size_t)POLLS; i++) bench_accept(&b, i);
  size_t first = bench_out(&b, BENCH_POLL), before = b.count - first;
  cr_assert_eq(first, (size_t)POLLS);
  pass(299000, false, outages[0]);
  cr_assert_leq((b.count - before) * 10, first * 11, "%zu", b.count - before);
  cr_assert_eq(ended(), 0u);
  bench_advance(&b, 45000); /* all are held now: nothing is answered */
  cr_assert_eq(bench_out(&b, BENCH_POLL), first);
  pass(50, true, outages[0]);
  cr_assert(ended() == (size_t)POLLS && failed() == 0);
  check_none_failing();
  tinker__turn_release(turn);
  bench_close(&b);
}

/* After a 429 one request is sent when the pause is over, whatever else waits,
 * and nothing before; a stated pause is kept to a tenth. */
Test(brake, one_probe_after_a_push_back) {
  static const int64_t stated[] = {0, 2000, 30000};
  for (size_t i = 0; i < 3; i++) {
    int64_t window = stated[i] ? stated[i] : 1000;
    bench_reply_t slower = {.status = 429, .retry_after_ms = stated[i]};
    bench_open(&b);
    tinker__turn_t *turn = bench_turn(&b, false);
    for (int k = 0; k < 30; k++) {
      bench_submit(&b, &bench_sample, turn, 1, 10, -1);
    }
    serve(false, slower);
    size_t sent = b.count;
    for (int round = 0; round < 8; round++) {
      bench_submit(&b, &bench_sample, turn, 1, 10, -1);
      bench_advance(&b, window - 1);
      cr_assert_eq(b.count, sent, "%zu %d", i, round);
      while (b.count == sent) {
        bench_advance(&b, 10);
        cr_assert_lt(b.now_ms, 100000000);
      }
      cr_assert_eq(b.count, sent + 1);
      if (stated[i] && round == 0) {
        cr_assert_leq(b.now_ms - b.sends[0].at_ms, window + window / 10);
      }
      bench_advance(&b, window - 100); /* the probe is on its way */
      cr_assert_eq(b.count, sent + 1);
      serve(false, slower);
      sent = b.count;
    }
    pass(60000, true, slower);
    cr_assert_eq(ended(), 38u);
    tinker__turn_release(turn);
    bench_close(&b);
  }
}

/* Samples that are pushed back don't hold up training. */
Test(brake, each_class_has_its_own) {
  bench_open(&b);
  tinker__turn_t *turn = bench_turn(&b, true), *s = bench_turn(&b, false);
  bench_submit(&b, &bench_sample, s, 1, 10, -1);
  bench_answer(&b, 0, (bench_reply_t){.status = 429, .retry_after_ms = 60000});
  bench_submit(&b, &bench_numbered, turn, 1, 10, -1);
  cr_assert_eq(bench_out(&b, "step"), 1u);
  bench_submit(&b, &bench_sample, s, 1, 10, -1);
  cr_assert_eq(bench_out(&b, "sample"), 0u);
  tinker__turn_release(turn);
  tinker__turn_release(s);
  bench_close(&b);
}

/* What waits in line can be canceled, and its place goes to the next. */
Test(brake, cancel_in_line) {
  bench_open(&b);
  tinker__turn_t *turn = bench_turn(&b, false);
  for (int i = 0; i < 20; i++) {
    bench_submit(&b, &bench_sample, turn, 1, 10, -1);
  }
  pass(20000, false, outages[0]);
  for (int i = 0; i < 20; i += 2) bench_cancel(&b, b.futures[i]);
  cr_assert_eq(ended(), 10u);
  pass(60000, true, outages[0]);
  cr_assert(ended() == 20 && failed() == 10);
  check_none_failing();
  tinker__turn_release(turn);
  bench_close(&b);
}

/* --- the rule alone --- */

Test(brake, tokens) {
  tinker__brake_t k;
  uint64_t seed = 3;
  tinker__brake_init(&k);
  k.failing = 2;
  int n = 0;
  while (k.tokens && n < 100) n += tinker__brake_take(&k, 1000, &seed);
  cr_assert_eq(n, 5);
  cr_assert(tinker__brake_take(&k, 1000, &seed)); /* the first probe */
  cr_assert(!tinker__brake_take(&k, 1000, &seed));
  cr_assert(!tinker__brake_spare(&k));
  int64_t now = 1000, last = 0;
  for (int i = 0; i < 12; i++) {
    int64_t at = tinker__brake_wake_ms(&k, false);
    cr_assert(at - now >= 250 && at - now <= 30000);
    cr_assert(!tinker__brake_take(&k, at - 1, &seed));
    last = at - now;
    now = at;
    cr_assert(tinker__brake_take(&k, now, &seed));
  }
  cr_assert_geq(last, 22000);
  tinker__brake_answered(&k);
  cr_assert(tinker__brake_take(&k, now, &seed));
  cr_assert(tinker__brake_spare(&k));
  cr_assert(!tinker__brake_spare(&k));
}

/* Nobody else waits: its own pauses are enough, but for a 429's. */
Test(brake, alone) {
  tinker__brake_t k;
  uint64_t seed = 3;
  tinker__brake_init(&k);
  k.failing = 1;
  for (int i = 0; i < 100; i++) {
    cr_assert(tinker__brake_take(&k, 1000, &seed));
  }
  tinker__brake_push(&k, 1000, 500);
  cr_assert(!tinker__brake_take(&k, 1499, &seed));
  cr_assert(tinker__brake_take(&k, 1500, &seed));
  cr_assert(!tinker__brake_take(&k, 1999, &seed));
}

/* Silence counts as an answer when it lasts as long as a failure took, from one
 * to thirty seconds. */
Test(brake, silence) {
  static const struct {
    int64_t took, quiet;
  } rows[] = {{5, 1000}, {4000, 4000}, {90000, 30000}};
  uint64_t seed = 3;
  for (size_t i = 0; i < 3; i++) {
    tinker__brake_t k;
    tinker__brake_init(&k);
    k.failing = 2;
    cr_assert(!tinker__brake_quiet(&k, 0));
    while (tinker__brake_take(&k, 1000, &seed)) continue;
    tinker__brake_failed(&k, rows[i].took);
    cr_assert(!tinker__brake_quiet(&k, 500000)); /* nothing is out */
    cr_assert(tinker__brake_take(&k, 500000, &seed));
    cr_assert(!tinker__brake_quiet(&k, 500000 + rows[i].quiet - 1));
    cr_assert(tinker__brake_quiet(&k, 500000 + rows[i].quiet));
    cr_assert_eq(k.tokens, 5);
  }
}
