/* Numbers and order of one trainer, and whose results are asked for. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "doorman.h"
#include "flow/turn.h"

static bench_t b;

/* Accepts everything that is out, in order. */
static void accept_all(void) {
  size_t i;
  while ((i = bench_first(&b, "step")) < BENCH_SENDS) bench_accept(&b, i);
}

/* The request whose result the k-th poll asks for. */
static size_t asked(size_t k) {
  size_t id = 0;
  const char *at = NULL;
  for (size_t i = 0; i < b.count; i++) {
    if (!strcmp(b.sends[i].path, BENCH_POLL) && k-- == 0) {
      at = strstr(b.sends[i].body, "\"request_id\":\"r");
    }
  }
  cr_assert(at && sscanf(at + 15, "%zu", &id) == 1);
  return id;
}

/* Eight places; whoever waits longest takes one that becomes free, whatever
 * order the results come in. */
Test(turn, the_oldest_are_polled_for) {
  size_t accepted[20], polls[20], n = 0;
  bench_open(&b);
  tinker__turn_t *turn = bench_turn(&b, true);
  for (int i = 0; i < 20; i++) {
    bench_submit(&b, &bench_numbered, turn, 1, 10, -1);
  }
  accept_all();
  for (size_t i = 0; i < b.count; i++) {
    if (!strcmp(b.sends[i].path, "step")) accepted[n++] = i;
  }
  cr_assert_eq(n, 20u);
  cr_assert_eq(bench_out(&b, BENCH_POLL), 8u);
  for (size_t k = 0; k < 8; k++) cr_assert_eq(asked(k), accepted[k]);
  for (size_t k = 8; k < 20; k++) { /* the youngest of the eight ends */
    size_t last = BENCH_SENDS;
    for (size_t i = 0; i < b.count; i++) {
      if (b.sends[i].request) last = i;
    }
    bench_answer(&b, last, (bench_reply_t){.body = "{\"metrics\":{}}"});
    polls[k] = asked(k);
    cr_assert_eq(polls[k], accepted[k], "place %zu went to r%zu", k, polls[k]);
  }
  cr_assert_eq(bench_out(&b, BENCH_POLL), 8u);
  tinker__turn_release(turn);
  bench_close(&b);
}

/* Part 1 of a batch is accepted last, but comes first in the line. */
Test(turn, the_line_is_kept_by_number) {
  tinker__flow_limits_t limits;
  bench_open(&b);
  tinker__flow_default_limits(&limits);
  limits.poll_places = 1;
  tinker__flow_set_limits(&b.flow, &limits);
  tinker__turn_t *turn = bench_turn(&b, true);
  bench_submit(&b, &bench_numbered, turn, 1, 10, -1); /* has the place */
  accept_all();
  bench_submit(&b, &bench_numbered, turn, 3, 10, -1);
  accept_all();
  size_t poll = bench_first(&b, BENCH_POLL);
  cr_assert_eq(bench_out(&b, BENCH_POLL), 1u);
  for (int k = 0; k < 3; k++) {
    bench_answer(&b, poll, (bench_reply_t){.body = "{\"metrics\":{}}"});
    poll = bench_first(&b, BENCH_POLL);
    cr_assert_lt(poll, (size_t)BENCH_SENDS);
    cr_assert_eq(bench_seq(&b, asked((size_t)k + 1)), k + 2);
  }
  tinker__turn_release(turn);
  bench_close(&b);
}

/* Whatever allocation fails while an operation gets its numbers: the ones that
 * went out have no hole, and the trainer goes on. */
Test(turn, lack_of_memory_leaves_no_hole) {
  bool failed = true;
  for (uint64_t n = 1; failed; n++) {
    long want = 1;
    bench_open(&b);
    tinker__turn_t *turn = bench_turn(&b, true);
    tinker_future_t *first = bench_submit(&b, &bench_numbered, turn, 1, 10, -1);
    size_t before = b.count;
    for (int i = 0; i < 2; i++) {
      bench_submit(&b, &bench_numbered, turn, 3, 10, -1);
    }
    atomic_store(&b.mem.fail_at, atomic_load(&b.mem.count) + n);
    uint64_t at = atomic_load(&b.mem.fail_at);
    bench_accept(&b, before - 1); /* the next one gets its numbers */
    bench_advance(&b, 1000);
    accept_all();
    failed = atomic_load(&b.mem.count) >= at;
    atomic_store(&b.mem.fail_at, 0);
    bench_submit(&b, &bench_numbered, turn, 1, 10, -1);
    bench_advance(&b, 1000);
    accept_all();
    for (size_t i = 0; i < b.count; i++) {
      if (strcmp(b.sends[i].path, "step")) continue;
      long seq = bench_seq(&b, i);
      cr_assert(seq == want || seq < want, "%llu: %ld after %ld",
                (unsigned long long)n, seq, want - 1);
      if (seq == want) want++;
    }
    cr_assert_eq(turn->next_seq, want, "%llu", (unsigned long long)n);
    cr_assert_not(atomic_load(&turn->fatal));
    cr_assert(bench_code(first) == 1 || bench_code(first) == TINKER_ENOMEM);
    tinker__turn_release(turn);
    bench_close(&b);
  }
}

/* Behind the last number of the protocol's int32 nothing is sent. */
Test(turn, numbers_run_out) {
  bench_open(&b);
  tinker__turn_t *turn = bench_turn(&b, true);
  bench_submit(&b, &bench_numbered, turn, 1, 10, -1);
  tinker_future_t *f = bench_submit(&b, &bench_numbered, turn, 1, 10, -1);
  f->op->parts[0].body.kind = TINKER__BODY_PROTO;
  turn->next_seq = (int64_t)INT32_MAX + 1;
  accept_all();
  cr_assert_eq(bench_code(f), TINKER_EOVERFLOW);
  cr_assert_eq(bench_out(&b, "step"), 0u);
  cr_assert_eq(turn->next_seq, (int64_t)INT32_MAX + 1);
  tinker__turn_release(turn);
  bench_close(&b);
}

/* The cause ends before its effects, those in the order of the calls, and calls
 * are refused at once only when all of them have ended: at the second chunk, at
 * the result, or while the next one is at the door. */
Test(turn, the_cause_ends_first) {
  static const bench_reply_t lost = {.status = 401};
  for (int way = 0; way < 3; way++) {
    doorman_t d;
    bench_open(&b);
    tinker__turn_t *turn = bench_turn(&b, true);
    if (way == 2) doorman_open(&d, &b);
    const tinker_future_t *f[4];
    for (int i = 0; i < 4; i++) {
      f[i] = bench_submit(&b, i == 1 ? &bench_optim : &bench_batch, turn,
                          way == 0 && i == 0 ? 3 : 1, 10, -1);
      if (way == 2 && i == 0) bench_accept(&b, bench_first(&b, "batch"));
      if (way == 2) d.answer = TINKER__ADMIT_LATER;
    }
    if (way == 1) {
      bench_accept(&b, bench_first(&b, "batch"));
      bench_answer(&b, bench_first(&b, "optim"), lost);
    } else if (way == 0) {
      bench_accept(&b, bench_first(&b, "batch"));
      bench_answer(&b, bench_first(&b, "batch"), lost);
    } else {
      bench_answer(&b, bench_first(&b, BENCH_POLL),
                   (bench_reply_t){.body = "{\"error\":\"the model can't go "
                                           "on\",\"category\":\"server\"}"});
    }
    cr_assert(atomic_load(&turn->fatal));
    size_t first = way == 1; /* the result of f[0] is asked for */
    cr_assert_eq(b.ended_count, 4 - first);
    for (size_t i = first; i < 4; i++) {
      cr_assert_eq(b.ended[i - first], f[i], "way %d: %zu", way, i);
      cr_assert(tinker_error_is_fatal(f[i]->error));
    }
    tinker__turn_release(turn);
    bench_close(&b);
  }
}

/* One that was canceled before its turn takes no number. */
Test(turn, canceled_before_its_turn) {
  bench_open(&b);
  tinker__turn_t *turn = bench_turn(&b, true);
  bench_submit(&b, &bench_numbered, turn, 1, 10, -1);
  tinker_future_t *f = bench_submit(&b, &bench_numbered, turn, 2, 10, -1);
  bench_submit(&b, &bench_numbered, turn, 1, 10, -1);
  bench_cancel(&b, f);
  cr_assert_eq(bench_code(f), TINKER_ECANCELED);
  accept_all();
  cr_assert_eq(turn->next_seq, 3);
  size_t n = 0;
  for (size_t i = 0; i < b.count; i++) {
    if (!strcmp(b.sends[i].path, "step")) {
      cr_assert_eq(bench_seq(&b, i), (long)++n);
    }
  }
  cr_assert_eq(n, 2u);
  tinker__turn_release(turn);
  bench_close(&b);
}
