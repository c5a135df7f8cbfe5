/* How results are asked for: time-outs, large ones, and their quota. */
#include <criterion/criterion.h>
#include <string.h>

#include "bench.h"

static bench_t b;

#define LARGE "{\"status\":\"complete_metadata\",\"response_payload_size\":600}"
#define RESULT "{\"metrics\":{}}"

static void setup(void) {
  tinker__flow_limits_t limits;
  bench_open(&b);
  tinker__flow_default_limits(&limits);
  limits.reply_bytes = 1000;
  tinker__flow_set_limits(&b.flow, &limits);
}

/* Submits one, gets it accepted; its poll is out. */
static tinker_future_t *ask(tinker__turn_t *turn) {
  tinker_future_t *f = bench_submit(&b, &bench_numbered, turn, 1, 10, -1);
  bench_accept(&b, bench_first(&b, "step"));
  return f;
}

static void told(bench_reply_t reply) {
  bench_answer(&b, bench_first(&b, BENCH_POLL), reply);
}

/* Ways in which a large result that was asked for ends. */
enum { ENDS = 6 };
static void end(int how, tinker_future_t *f) {
  switch (how) {
  case 0: told((bench_reply_t){.body = RESULT}); break;
  case 1:
    told((bench_reply_t){.body = "{\"error\":\"x\",\"category\":\"user\"}"});
    break;
  case 2: told((bench_reply_t){.status = 410}); break;
  case 3:
    told((bench_reply_t){.body = LARGE}); /* announced a second time */
    break;
  case 4: told((bench_reply_t){.body = "[]"}); break;
  default: bench_cancel(&b, f); break;
  }
}

/* Each takes bytes of the quota and gives them back, or the client would wait
 * for room for ever. */
Test(poll, bytes_of_large_results_come_back) {
  setup();
  tinker__turn_t *turn = bench_turn(&b, true);
  for (int how = 0; how < ENDS; how++) {
    tinker_future_t *f = ask(turn);
    told((bench_reply_t){.body = LARGE});
    cr_assert_eq(b.flow.replies.left, 400);
    cr_assert_not_null(strstr(b.sends[bench_first(&b, BENCH_POLL)].body,
                              "\"allow_metadata_only\":false"));
    end(how, f);
    cr_assert_neq(bench_code(f), 1, "%d", how);
    cr_assert_eq(b.flow.replies.left, 1000, "%d", how);
    size_t late = bench_first(&b, BENCH_POLL); /* a canceled one */
    if (late < BENCH_SENDS) {
      bench_answer(&b, late,
                   (bench_reply_t){.error = TINKER_ECANCELED, .sent = true});
    }
    cr_assert_eq(b.flow.replies.left, 1000, "%d", how);
  }
  tinker__turn_release(turn);
  bench_close(&b);
}

/* Trouble on the way keeps the bytes, and takes them once. */
Test(poll, trouble_takes_no_bytes_twice) {
  setup();
  tinker__turn_t *turn = bench_turn(&b, true);
  tinker_future_t *f = ask(turn);
  told((bench_reply_t){.body = LARGE});
  for (int i = 0; i < 3; i++) {
    told((bench_reply_t){.status = 503});
    cr_assert_eq(b.flow.replies.left, 400);
    bench_advance(&b, 60000);
  }
  told((bench_reply_t){.body = RESULT});
  cr_assert_eq(bench_code(f), 0);
  cr_assert_eq(b.flow.replies.left, 1000);
  tinker__turn_release(turn);
  bench_close(&b);
}

/* Who waits for room gets it in order; who gives up while waiting had none. */
Test(poll, large_results_wait_for_room) {
  tinker_future_t *f[4];
  setup();
  for (int i = 0; i < 4; i++) { /* trainers of their own: no line */
    tinker__turn_t *turn = bench_turn(&b, true);
    f[i] = ask(turn);
    tinker__turn_release(turn);
  }
  for (int i = 0; i < 4; i++) {
    size_t k = bench_first(&b, BENCH_POLL);
    while (!b.sends[k].request ||
           strstr(b.sends[k].body, "\"allow_metadata_only\":false")) {
      k++;
    }
    bench_answer(&b, k, (bench_reply_t){.body = LARGE});
  }
  cr_assert_eq(bench_out(&b, BENCH_POLL), 2u); /* 1000, 400, -200 */
  cr_assert_eq(b.flow.replies.left, -200);
  bench_cancel(&b, f[2]);                      /* waits */
  cr_assert_eq(bench_out(&b, BENCH_POLL), 2u); /* lets nobody in */
  cr_assert_eq(b.flow.replies.left, -200);
  told((bench_reply_t){.body = RESULT});
  cr_assert_eq(bench_code(f[0]), 0);
  cr_assert_eq(bench_out(&b, BENCH_POLL), 2u); /* 400: the fourth is let in */
  cr_assert_eq(b.flow.replies.left, -200);
  told((bench_reply_t){.body = RESULT});
  told((bench_reply_t){.body = RESULT});
  cr_assert(bench_code(f[1]) == 0 && bench_code(f[3]) == 0);
  cr_assert_eq(b.flow.replies.left, 1000);
  bench_close(&b);
}

/* A poll is given up after 90 seconds, sooner than any proxy would break it,
 * and asked again. */
Test(poll, time_out) {
  setup();
  tinker__turn_t *turn = bench_turn(&b, true);
  ask(turn);
  cr_assert_eq(b.sends[bench_first(&b, BENCH_POLL)].timeout_ms, 90000);
  bench_advance(&b, 90000);
  told((bench_reply_t){.error = TINKER_ETIMEDOUT, .sent = true});
  bench_advance(&b, 40000);
  cr_assert_eq(bench_out(&b, BENCH_POLL), 1u);
  tinker__turn_release(turn);
  bench_close(&b);
}

/* Why the server makes us wait is passed on; that it does is no news. */
Test(poll, pauses_are_told) {
  setup();
  bench_listen(&b, true);
  tinker__turn_t *turn = bench_turn(&b, true);
  ask(turn);
  told((bench_reply_t){.body = "{\"type\":\"try_again\"}"});
  cr_assert_str_empty(bench_heard(&b));
  bench_advance(&b, 10000);
  told((bench_reply_t){.body = "{\"type\":\"try_again\",\"queue_state\":"
                               "\"paused_rate_limit\"}"});
  cr_assert_str_eq(
      bench_heard(&b),
      "held #1 queue 0 0 0/0 the limit of concurrent clients is reached\n");
  bench_advance(&b, 10000);
  told((bench_reply_t){.body = "{\"type\":\"try_again\",\"queue_state\":"
                               "\"paused\",\"queue_state_reason\":\"why\"}"});
  cr_assert(strstr(bench_heard(&b), "held #1 queue 0 0 0/0 why\n"));
  tinker__turn_release(turn);
  bench_close(&b);
}
