/* Operations of several steps, with user code between them, and a trainer's
 * turn that is kept meanwhile: a forward pass whose outputs a function of the
 * caller turns into a backward pass. */
#include <criterion/criterion.h>
#include <string.h>

#include "base/error.h"
#include "doorman.h"
#include "wire/messages.h"

static bench_t b;
static tinker__turn_t *turn;
static tinker__op_t *handed; /* what user code has */

static int later(tinker__op_t *op, char *why, size_t why_len) {
  (void)why, (void)why_len;
  cr_assert_eq(op->outs, 0u);
  handed = op;
  return TINKER__NEXT_LATER;
}

static const tinker__kind_t custom = {
    .name = "custom",
    .path = "forward",
    .request_type = "Forward",
    .retry = TINKER__RETRY_NUMBERED,
    .method = TINKER__HTTP_POST,
    .lane = TINKER__LANE_SUBMIT,
    .effect = TINKER__EFFECT_FORWARD,
    .keeps_turn = true,
    .next = later,
};

/* Asks user code what to make of the result; keeps nothing. */
static const tinker__kind_t made = {
    .name = "made",
    .path = "make",
    .request_type = "Make",
    .retry = TINKER__RETRY_ONCE,
    .method = TINKER__HTTP_POST,
    .lane = TINKER__LANE_SUBMIT,
    .effect = TINKER__EFFECT_CHANGE,
    .next = later,
};

static void setup(void) {
  bench_open(&b);
  turn = bench_turn(&b, true);
  handed = NULL;
}

static void done(void) {
  tinker__turn_release(turn);
  bench_close(&b);
}

static tinker_future_t *call(const tinker__kind_t *kind) {
  return bench_submit(&b, kind, turn, 1, 10, -1);
}

static void accept(const char *path) {
  bench_accept(&b, bench_first(&b, path));
}

static void result(void) {
  bench_answer(&b, bench_first(&b, BENCH_POLL),
               (bench_reply_t){.body = "{\"metrics\":{}}"});
}

/* A custom loss of n requests whose outputs are with user code. */
static tinker_future_t *hand(size_t n, int64_t timeout_ms) {
  tinker_future_t *f = bench_submit(&b, &custom, turn, n, 10, timeout_ms);
  for (size_t i = 0; i < n; i++) accept("forward");
  for (size_t i = 0; i < n; i++) result();
  cr_assert_not_null(handed);
  cr_assert_eq(handed->state, TINKER__OP_HANDED);
  return f;
}

/* User code has made the backward pass. */
static void make(void) {
  tinker__op_next_step(handed, &bench_batch);
  bench_fill(handed, 10);
  tinker__flow_step_ready(&b.flow, handed, true, NULL, b.now_ms);
}

static void fail(int code) {
  tinker_error_t *error = tinker__error_new(
      &b.mem, &(tinker__error_spec_t){.code = code}, "the loss failed");
  tinker__flow_step_ready(&b.flow, handed, false, error, b.now_ms);
  tinker__error_release(error);
}

/* Both passes have numbers in a row, before those of any call after it. */
Test(step, a_custom_loss) {
  setup();
  tinker_future_t *f = hand(3, -1), *step = call(&bench_optim);
  cr_assert_eq(bench_out(&b, NULL), 0u);
  cr_assert_eq(step->op->state, TINKER__OP_QUEUED);
  make();
  for (long seq = 4; seq <= 6; seq++) {
    size_t i = bench_first(&b, "batch");
    cr_assert_eq(bench_seq(&b, i), seq);
    bench_accept(&b, i);
  }
  cr_assert_eq(turn->sum.parts, 0u); /* the optim_step has left */
  cr_assert_eq(bench_seq(&b, bench_first(&b, "optim")), 7);
  for (int i = 0; i < 3; i++) result();
  cr_assert_eq(bench_code(f), 0);
  cr_assert_eq(f->raw_count, 3u);
  cr_assert_not_null(f->raw[2].data);
  done();
}

/* The turn is kept while the outputs are polled for, too. */
Test(step, the_turn_is_kept) {
  setup();
  call(&custom);
  tinker_future_t *next = call(&bench_numbered);
  accept("forward");
  cr_assert_eq(next->op->state, TINKER__OP_QUEUED);
  result();
  cr_assert_eq(next->op->state, TINKER__OP_QUEUED);
  make();
  cr_assert_eq(next->op->state, TINKER__OP_QUEUED);
  accept("batch");
  cr_assert_eq(bench_seq(&b, bench_first(&b, "step")), 3);
  done();
}

/* User code says that the results are final. */
Test(step, nothing_follows) {
  setup();
  tinker_future_t *f = bench_submit(&b, &made, NULL, 1, 10, -1);
  accept("make");
  result();
  cr_assert_eq(bench_code(f), 1);
  tinker__flow_step_ready(&b.flow, handed, false, NULL, b.now_ms);
  cr_assert_eq(bench_code(f), 0);
  cr_assert_not_null(f->raw[0].data);
  done();
}

/* Ways in which the second step does not come. */
typedef enum {
  FAILED,
  CANCELED,
  TIMED_OUT,
  FATAL,
  CLOSED,
  FORWARD_REJECTED,
  FORWARD_FAILED,
  WAYS
} way_t;

static int leave_by(way_t way, tinker_future_t *f) {
  switch (way) {
  case FAILED: fail(TINKER_EINVAL); return TINKER_EINVAL;
  case CANCELED: bench_cancel(&b, f); return TINKER_ECANCELED;
  case TIMED_OUT: bench_advance(&b, 100); return TINKER_ETIMEDOUT;
  case FATAL: tinker__turn_fail(turn, "lost"); return TINKER_EFATAL;
  case CLOSED: tinker__flow_close(&b.flow, b.now_ms); return TINKER_ECLOSED;
  case FORWARD_REJECTED:
    bench_answer(&b, bench_first(&b, "forward"),
                 (bench_reply_t){.status = 422});
    return TINKER_EREJECTED;
  case FORWARD_FAILED:
    accept("forward");
    bench_answer(&b, bench_first(&b, BENCH_POLL),
                 (bench_reply_t){.body = "{\"error\":\"x\"}"});
    return TINKER_ESERVER;
  case WAYS: break;
  }
  return 0;
}

/* The numbers that were kept for it are no gap: the next call has them. The
 * optim_step after it is not sent, unless it was the caller's wish. */
Test(step, kept_numbers_leave_no_gap) {
  for (way_t way = 0; way < WAYS; way++) {
    setup();
    tinker_future_t *f = way >= FORWARD_REJECTED
                             ? call(&custom)
                             : hand(2, way == TIMED_OUT ? 100 : -1);
    tinker_future_t *step = call(&bench_optim), *save = call(&bench_numbered);
    int code = leave_by(way, f);
    long next = way >= FORWARD_REJECTED ? 2 : 3;
    cr_assert_eq(bench_code(f), code, "%d: %d", (int)way, bench_code(f));
    if (way == FATAL || way == CLOSED) {
      cr_assert_neq(bench_code(save), 1);
    } else if (way == CANCELED) {
      cr_assert_eq(bench_seq(&b, bench_first(&b, "optim")), next);
    } else {
      cr_assert_eq(bench_code(step), TINKER_ESTATE, "%d", (int)way);
      cr_assert_eq(bench_seq(&b, bench_first(&b, "step")), next);
    }
    cr_assert(way >= FORWARD_REJECTED ||
              !tinker_error_outcome_is_unknown(f->error));
    if (way != FAILED && way < FORWARD_REJECTED) {
      cr_assert_not(tinker__flow_idle(&b.flow)); /* user code has it */
      make();                                    /* too late */
      cr_assert_eq(bench_out(&b, "batch"), 0u);
    }
    done();
  }
}

/* A number that is lost while the outputs are polled for: the second step does
 * not go, and it did not happen. */
Test(step, fatal_while_it_is_polled) {
  setup();
  tinker_future_t *f = call(&custom);
  accept("forward");
  tinker__turn_fail(turn, "lost");
  result();
  make();
  cr_assert_eq(bench_code(f), TINKER_EFATAL);
  cr_assert_eq(bench_out(&b, "batch"), 0u);
  done();
}

/* A trainer that is dirty takes no custom loss either, before its forward pass
 * and after it. */
Test(step, dirty) {
  setup();
  call(&bench_batch);
  call(&bench_batch);
  accept("batch");
  bench_answer(&b, bench_first(&b, "batch"), (bench_reply_t){.status = 422});
  cr_assert_eq(bench_code(call(&custom)), TINKER_ESTATE);
  done();
  setup();
  call(&bench_batch);
  accept("batch");
  tinker_future_t *f = call(&custom);
  accept("forward");
  bench_answer(&b, bench_first(&b, BENCH_POLL), /* of the first call */
               (bench_reply_t){.body = "{\"error\":\"x\"}"});
  result();
  make();
  cr_assert_eq(bench_code(f), TINKER_ESTATE);
  cr_assert_eq(bench_out(&b, "batch"), 0u);
  done();
}

/* Each step passes the door by itself. One that its caller has left is followed
 * to the end of the step that went, and keeps its turn no longer. */
Test(step, door) {
  doorman_t d;
  setup();
  doorman_open(&d, &b);
  hand(2, -1);
  doorman_heard(&d, "?1:1,2 |1 +1.0 +1.1 =1.0 =1.1");
  d.answer = TINKER__ADMIT_LATER;
  make();
  doorman_heard(&d, "?2:3,4");
  tinker_future_t *save = call(&bench_numbered);
  cr_assert(doorman_refuse(&d, 2));
  doorman_heard(&d, "-2 ?3:3");
  cr_assert(doorman_go(&d, 3));
  accept("step");
  cr_assert_eq(bench_code(save), 1);
  done();
  for (int polled = 0; polled < 2; polled++) {
    setup();
    doorman_open(&d, &b);
    tinker_future_t *f = call(&custom);
    save = call(&bench_numbered);
    if (polled) accept("forward");
    bench_cancel(&b, f);
    if (!polled) accept("forward");
    cr_assert_eq(bench_seq(&b, bench_first(&b, "step")), 2);
    result();
    doorman_heard(&d, "?1:1 |1 +1.0 ?2:2 |2 =1.0");
    cr_assert_null(handed); /* nobody wants to know */
    done();
  }
}

/* A request that was sent twice: the transport gives the second one back before
 * the next step takes its place. */
Test(step, a_second_request_is_out) {
  setup();
  call(&custom);
  bench_advance(&b, 11000);
  cr_assert_eq(bench_out(&b, "forward"), 2u);
  bench_accept(&b, 0);
  result();
  cr_assert_null(handed);
  bench_answer(&b, 1, (bench_reply_t){.error = TINKER_ECANCELED, .sent = true});
  cr_assert_not_null(handed);
  make();
  accept("batch");
  done();
}

/* The loss of an allocation while the second step is numbered is the loss of
 * that call alone. */
Test(step, lack_of_memory) {
  bool failed = true;
  for (uint64_t n = 1; failed; n++) {
    setup();
    tinker_future_t *f = hand(2, -1), *save = call(&bench_numbered);
    tinker__op_next_step(handed, &bench_batch);
    bench_fill(handed, 10);
    atomic_store(&b.mem.fail_at, atomic_load(&b.mem.count) + n);
    uint64_t at = atomic_load(&b.mem.fail_at);
    tinker__flow_step_ready(&b.flow, handed, true, NULL, b.now_ms);
    failed = atomic_load(&b.mem.count) >= at;
    atomic_store(&b.mem.fail_at, 0);
    cr_assert(bench_code(f) == 1 || bench_code(f) == TINKER_ENOMEM);
    for (int i = 0; i < 2 && bench_code(f) == 1; i++) accept("batch");
    cr_assert_eq(bench_code(save), 1);
    cr_assert_eq(bench_seq(&b, bench_first(&b, "step")),
                 bench_code(f) == 1 ? 5 : 3);
    done();
  }
}

static const tinker__kind_t *another(int status, const char *words) {
  return status == 422 && !strcmp(words, "no such way") ? &bench_once : NULL;
}

static const tinker__kind_t tried = {
    .name = "tried",
    .path = "try",
    .request_type = "Try",
    .retry = TINKER__RETRY_ONCE,
    .method = TINKER__HTTP_POST,
    .lane = TINKER__LANE_SUBMIT,
    .effect = TINKER__EFFECT_CHANGE,
    .instead = another,
};

/* Another step takes the place of one that is refused; the door hears of both.
 * Nothing came of the first: the second fails as if it were the only one. */
Test(step, another_way) {
  static const bench_reply_t no = {.status = 422,
                                   .body = "{\"detail\":\"no such way\"}"};
  doorman_t d;
  setup();
  doorman_open(&d, &b);
  tinker_future_t *f = bench_submit(&b, &tried, NULL, 1, 10, -1);
  bench_answer(&b, bench_first(&b, "try"), no);
  doorman_heard(&d, "?1:- |1 !1.0 ?2:- |2");
  bench_answer(&b, bench_first(&b, bench_once.path), no);
  cr_assert_eq(bench_code(f), TINKER_EREJECTED);
  cr_assert_not(tinker_error_outcome_is_unknown(f->error));
  f = bench_submit(&b, &tried, NULL, 1, 10, -1);
  bench_answer(&b, bench_first(&b, "try"), (bench_reply_t){.status = 422});
  cr_assert_eq(bench_code(f), TINKER_EREJECTED);
  f = bench_submit(&b, &tried, NULL, 1, 10, -1);
  bench_cancel(&b, f); /* nobody waits for another way */
  bench_answer(&b, bench_first(&b, "try"), no);
  cr_assert_eq(bench_out(&b, NULL), 0u);
  done();
}
