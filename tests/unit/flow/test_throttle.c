/* How many samples are submitted at once, by number, by bytes, and after the
 * server has pushed back (protocol 10.1). */
#include <criterion/criterion.h>
#include <string.h>

#include "bench.h"

static bench_t b;
static tinker__turn_t *turn;

static void setup(size_t samples, int64_t bytes) {
  tinker__flow_limits_t limits;
  bench_open(&b);
  tinker__flow_default_limits(&limits);
  limits.samples = samples;
  limits.sample_bytes = bytes;
  tinker__flow_set_limits(&b.flow, &limits);
  turn = bench_turn(&b, false);
}

static void done(void) {
  tinker__turn_release(turn);
  bench_close(&b);
}

static void submit(int n, uint64_t bytes) {
  for (int i = 0; i < n; i++) {
    bench_submit(&b, &bench_sample, turn, 1, bytes, -1);
  }
}

static void push_back(void) {
  bench_answer(&b, bench_first(&b, "sample"), (bench_reply_t){.status = 429});
}

Test(throttle, by_number) {
  setup(3, 1000000);
  submit(5, 10);
  cr_assert_eq(bench_out(&b, "sample"), 3u);
  bench_accept(&b, bench_first(&b, "sample"));
  cr_assert_eq(bench_out(&b, "sample"), 3u); /* the next one */
  cr_assert_eq(bench_out(&b, BENCH_POLL), 1u);
  done();
}

/* Bytes may go below zero once, so that a large one is not stuck for ever. */
Test(throttle, by_bytes) {
  setup(400, 1000);
  submit(5, 400);
  cr_assert_eq(bench_out(&b, "sample"), 3u);
  bench_accept(&b, bench_first(&b, "sample"));
  cr_assert_eq(bench_out(&b, "sample"), 3u);
  bench_accept(&b, bench_first(&b, "sample"));
  cr_assert_eq(bench_out(&b, "sample"), 3u);
  bench_accept(&b, bench_first(&b, "sample"));
  cr_assert_eq(bench_out(&b, "sample"), 2u);
  done();
  setup(400, 1000);
  submit(2, 5000);
  cr_assert_eq(bench_out(&b, "sample"), 1u);
  bench_accept(&b, bench_first(&b, "sample"));
  cr_assert_eq(bench_out(&b, "sample"), 1u);
  done();
}

/* A small one rests a second, a large one five; nobody is submitted meanwhile.
 * Then one shows whether the server takes samples again. */
Test(throttle, everybody_rests) {
  static const struct {
    uint64_t bytes;
    int64_t ms;
  } rows[] = {{131072, 1000}, {131073, 5000}};
  for (int i = 0; i < 2; i++) {
    setup(400, 10485760);
    submit(1, rows[i].bytes);
    push_back();
    submit(3, 10);
    bench_advance(&b, rows[i].ms - 1);
    cr_assert_eq(bench_out(&b, "sample"), 0u);
    bench_advance(&b, 1);
    cr_assert_eq(bench_out(&b, "sample"), 1u);
    bench_accept(&b, bench_first(&b, "sample"));
    cr_assert_geq(bench_out(&b, "sample"), 2u);
    done();
  }
}

/* For ten seconds after it ten at once, and each counts twenty times. The brake
 * lets them go as fast as the server accepts them. */
Test(throttle, slower_for_ten_seconds) {
  setup(400, 1000000);
  submit(1, 10);
  push_back();
  bench_advance(&b, 1000);
  submit(30, 10);
  cr_assert_eq(b.flow.submitting, 10u);
  cr_assert_eq(bench_out(&b, "sample"), 1u);
  bench_accept(&b, bench_first(&b, "sample"));
  cr_assert_eq(b.flow.submitting, 10u);
  bench_advance(&b, 9000);
  cr_assert_eq(b.flow.submitting, 10u);
  bench_advance(&b, 1000);
  submit(1, 10); /* the time itself wakes nobody: the next event does */
  cr_assert_gt(b.flow.submitting, 20u);
  done();

  setup(400, 1000);
  submit(1, 10);
  push_back();
  bench_advance(&b, 2000); /* it is out again: 10 x 1 */
  submit(10, 30);          /* 30 x 20 each: 990 - 600 - 600 < 0 */
  cr_assert_eq(b.flow.submitting, 3u);
  for (int i = 0; i < 3; i++) bench_accept(&b, bench_first(&b, "sample"));
  cr_assert_eq(bench_out(&b, "sample"), 2u);
  bench_advance(&b, 9500); /* before their second tries */
  bench_accept(&b, bench_first(&b, "sample"));
  bench_accept(&b, bench_first(&b, "sample"));
  cr_assert_eq(bench_out(&b, "sample"), 6u); /* all that are left, at 30 */
  done();
}

/* Whatever way a submission ends, its place and its bytes come back. */
Test(throttle, places_come_back) {
  static const bench_reply_t ends[] = {
      {.status = 400, .body = "{\"detail\":\"no\"}"},
      {.status = 401},
      {.body = "{\"request_id\":\"r\"}"},
      {.status = 410}};
  setup(1, 100);
  for (size_t i = 0; i < 4; i++) {
    submit(1, 500);
    cr_assert_eq(bench_out(&b, "sample"), 1u, "%zu", i);
    bench_answer(&b, bench_first(&b, "sample"), ends[i]);
    cr_assert_eq(bench_out(&b, "sample"), 0u, "%zu", i);
    cr_assert_eq(b.flow.submitting, 0u, "%zu", i);
    cr_assert_eq(b.flow.sample_bytes.left, 100, "%zu", i);
  }
  tinker_future_t *f = bench_submit(&b, &bench_sample, turn, 1, 500, -1);
  bench_cancel(&b, f);
  cr_assert_eq(b.flow.submitting, 0u);
  cr_assert_eq(b.flow.sample_bytes.left, 100);
  done();
}
