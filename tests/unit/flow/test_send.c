/* How a request is submitted, and again. */
#include <criterion/criterion.h>
#include <string.h>

#include "base/error.h"
#include "bench.h"

static bench_t b;

static bool advises(const tinker_future_t *f, const char *what) {
  const tinker_error_t *e = f->error;
  if (!strcmp(what, "unknown")) return tinker_error_outcome_is_unknown(e);
  if (!strcmp(what, "fatal")) return tinker_error_is_fatal(e);
  return tinker_error_is_retriable(e);
}

/* A success that names no request is no answer: what carries a number goes out
 * again, what carries none may have been done and doesn't. */
Test(send, a_success_without_request_id) {
  static const char *const bodies[] = {
      "{}", "{\"request_id\":\"\"}", "{\"request_id\":7}", "[]", "", "ok"};
  for (size_t i = 0; i < sizeof bodies / sizeof *bodies; i++) {
    bench_open(&b);
    tinker__turn_t *turn = bench_turn(&b, true);
    tinker_future_t *f = bench_submit(&b, &bench_numbered, turn, 1, 10, -1);
    bench_answer(&b, 0, (bench_reply_t){.body = bodies[i]});
    cr_assert_eq(bench_code(f), 1, "%s", bodies[i]);
    bench_advance(&b, 1000);
    cr_assert_eq(bench_out(&b, "step"), 1u, "%s", bodies[i]);
    cr_assert_str_eq(b.sends[1].body, b.sends[0].body);
    bench_accept(&b, 1);
    cr_assert_eq(bench_out(&b, BENCH_POLL), 1u);
    f = bench_submit(&b, &bench_once, NULL, 1, 10, -1);
    bench_answer(&b, bench_first(&b, "make"),
                 (bench_reply_t){.body = bodies[i]});
    cr_assert_eq(bench_code(f), TINKER_EPROTO, "%s", bodies[i]);
    cr_assert(advises(f, "unknown") && !advises(f, "retriable"));
    bench_advance(&b, 400000);
    cr_assert_eq(bench_out(&b, "make"), 0u);
    tinker__turn_release(turn);
    bench_close(&b);
  }
}

/* A submission that hangs is given up after a minute and sent again, for five
 * minutes in all. Then the number can't be delivered. */
Test(send, time_outs) {
  static const tinker__kind_t *const kinds[] = {&bench_numbered, &bench_sample,
                                                &bench_once, &bench_read};
  for (int i = 0; i < 4; i++) {
    bench_open(&b);
    tinker__turn_t *turn = i < 2 ? bench_turn(&b, i == 0) : NULL;
    bench_submit(&b, kinds[i], turn, 1, 10, -1);
    cr_assert_eq(b.sends[0].timeout_ms, 60000, "%s", kinds[i]->name);
    tinker__turn_release(turn);
    bench_close(&b);
  }
  bench_open(&b);
  tinker__turn_t *turn = bench_turn(&b, true);
  tinker_future_t *f = bench_submit(&b, &bench_numbered, turn, 1, 10, -1);
  int64_t start = b.now_ms;
  while (bench_code(f) == 1) {
    cr_assert_lt(b.now_ms - start, 420000);
    bench_advance(&b, 60000);
    if (bench_out(&b, "step")) {
      bench_answer(&b, bench_first(&b, "step"),
                   (bench_reply_t){.error = TINKER_ETIMEDOUT, .sent = true});
    }
  }
  cr_assert_geq(b.now_ms - start, 300000);
  cr_assert_geq(b.count, 4u);
  cr_assert(advises(f, "fatal") && advises(f, "unknown"));
  tinker__turn_release(turn);
  bench_close(&b);
}

/* Without memory in the transport nothing was sent: it is tried again. */
Test(send, a_transport_that_refuses) {
  bench_open(&b);
  tinker__turn_t *turn = bench_turn(&b, true);
  b.refuse = TINKER_ENOMEM;
  tinker_future_t *f = bench_submit(&b, &bench_numbered, turn, 1, 10, -1);
  cr_assert_eq(bench_code(f), 1);
  b.refuse = 0;
  bench_advance(&b, 1000);
  cr_assert_eq(bench_out(&b, "step"), 1u);
  bench_accept(&b, 0);
  b.refuse = TINKER_ENOMEM;
  bench_answer(&b, 1, (bench_reply_t){.body = "{\"type\":\"try_again\"}"});
  bench_advance(&b, 10000);
  cr_assert_eq(bench_code(f), 1);
  b.refuse = 0;
  bench_advance(&b, 60000);
  cr_assert_eq(bench_out(&b, BENCH_POLL), 1u);
  tinker__turn_release(turn);
  bench_close(&b);
}

/* 402: five seconds between two attempts, as long as the service wants; then
 * the number is not delivered. */
Test(send, billing_pause) {
  tinker__flow_limits_t limits;
  bench_open(&b);
  tinker__flow_default_limits(&limits);
  cr_assert_eq(limits.retry.billing_ms, 3600000);
  limits.retry.billing_ms = 60000;
  tinker__flow_set_limits(&b.flow, &limits);
  tinker__turn_t *turn = bench_turn(&b, true);
  tinker_future_t *f = bench_submit(&b, &bench_numbered, turn, 1, 10, -1);
  int64_t start = b.now_ms;
  while (bench_code(f) == 1) {
    size_t before = b.count;
    bench_answer(&b, bench_first(&b, "step"), (bench_reply_t){.status = 402});
    if (bench_code(f) != 1) break;
    bench_advance(&b, 4999);
    cr_assert_eq(b.count, before);
    bench_advance(&b, 1251);
    cr_assert_eq(b.count, before + 1);
  }
  cr_assert(b.now_ms - start >= 60000 && b.now_ms - start < 67000);
  cr_assert_eq(bench_code(f), TINKER_EBILLING);
  cr_assert(advises(f, "fatal") && !advises(f, "unknown"));
  tinker__turn_release(turn);
  bench_close(&b);
}

/* Any other answer ends the pause: the next one has its whole time. */
Test(send, billing_pause_begins_anew) {
  tinker__flow_limits_t limits;
  bench_open(&b);
  tinker__flow_default_limits(&limits);
  limits.retry.billing_ms = 60000;
  tinker__flow_set_limits(&b.flow, &limits);
  tinker__turn_t *turn = bench_turn(&b, true);
  tinker_future_t *f = bench_submit(&b, &bench_numbered, turn, 1, 10, -1);
  for (int i = 0; i < 30; i++) { /* 165 s and more */
    bench_answer(&b, bench_first(&b, "step"),
                 (bench_reply_t){.status = i % 8 == 7 ? 503 : 402});
    cr_assert_eq(bench_code(f), 1, "%d", i);
    for (int k = 0; k < 20 && !bench_out(&b, "step"); k++) {
      bench_advance(&b, 1000);
    }
  }
  bench_accept(&b, bench_first(&b, "step"));
  cr_assert_eq(bench_out(&b, BENCH_POLL), 1u);
  tinker__turn_release(turn);
  bench_close(&b);
}

/* A 410 to a submission says that the session is over, a 410 to a poll that one
 * result is lost, a 410 to a read or of a proxy nothing of the kind. */
Test(send, the_session_is_over) {
  static const tinker__kind_t *const kinds[] = {&bench_numbered, &bench_sample,
                                                &bench_once, &bench_read};
  for (int i = 0; i < 4; i++) {
    bench_open(&b);
    tinker__turn_t *turn = i < 2 ? bench_turn(&b, i == 0) : NULL;
    bench_submit(&b, kinds[i], turn, 1, 10, -1);
    bench_answer(&b, 0, (bench_reply_t){.status = 410, .body = "<html>"});
    bench_advance(&b, 20000);
    cr_assert_eq(b.over, 0, "%s", kinds[i]->name);
    if (kinds[i] == &bench_once) {
      bench_submit(&b, kinds[i], turn, 1, 10, -1);
    }
    bench_answer(&b, bench_first(&b, kinds[i]->path),
                 (bench_reply_t){.status = 410});
    cr_assert_eq(b.over, i < 3, "%s", kinds[i]->name);
    tinker__turn_release(turn);
    bench_close(&b);
  }
  bench_open(&b);
  tinker__turn_t *turn = bench_turn(&b, true);
  tinker_future_t *f = bench_submit(&b, &bench_numbered, turn, 1, 10, -1);
  bench_accept(&b, 0);
  bench_answer(&b, bench_first(&b, BENCH_POLL), (bench_reply_t){.status = 410});
  cr_assert(bench_code(f) == TINKER_ELOST && b.over == 0);
  tinker__turn_release(turn);
  bench_close(&b);
}

/* A sample whose id the server does not know may be drawn again, by its caller:
 * drawn by us it could be for ever. */
Test(send, a_sample_that_is_not_known) {
  bench_open(&b);
  tinker__turn_t *turn = bench_turn(&b, false);
  tinker_future_t *f = bench_submit(&b, &bench_sample, turn, 1, 10, -1);
  bench_accept(&b, 0);
  bench_answer(&b, bench_first(&b, BENCH_POLL), (bench_reply_t){.status = 404});
  cr_assert_eq(bench_code(f), TINKER_ELOST);
  cr_assert(advises(f, "retriable") && !advises(f, "unknown"));
  bench_advance(&b, 60000);
  cr_assert_eq(bench_out(&b, NULL), 0u);
  tinker__turn_release(turn);
  bench_close(&b);
}
