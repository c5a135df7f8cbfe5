/* What mutations pass before they are sent, and that a number is nobody's until
 * its operation goes. */
#include <criterion/criterion.h>
#include <string.h>

#include "base/error.h"
#include "doorman.h"

static bench_t b;
static doorman_t d;
static tinker__turn_t *turn;

static void setup(tinker__admit_t answer) {
  bench_open(&b);
  doorman_open(&d, &b);
  d.answer = answer;
  turn = bench_turn(&b, true);
}

static void done(void) {
  tinker__turn_release(turn);
  bench_close(&b);
}

static tinker_future_t *step(void) {
  return bench_submit(&b, &bench_numbered, turn, 1, 10, -1);
}

static void result(size_t i) {
  bench_answer(&b, i, (bench_reply_t){.body = "{\"metrics\":{}}"});
}

/* The poll that is out and the submission before it. */
static void finish(const char *path) {
  bench_accept(&b, bench_first(&b, path));
  result(bench_first(&b, BENCH_POLL));
}

/* A mutation that goes at once: asked, fenced, sent, taken, its result. */
Test(door, goes) {
  setup(TINKER__ADMIT_GO);
  tinker_future_t *f = step();
  doorman_heard(&d, "?1:1 |1");
  cr_assert_str_eq(d.body, b.sends[0].body);
  finish("step");
  doorman_heard(&d, "+1.0 =1.0");
  cr_assert_eq(bench_code(f), 0);
  cr_assert_eq(turn->next_seq, 2);
  done();
}

/* All that changes something passes, with a number or not; samples and reads
 * don't. */
Test(door, who_passes) {
  static const struct {
    const tinker__kind_t *kind;
    bool turned, ordered;
    const char *heard;
  } rows[] = {{&bench_numbered, true, true, "?1:1 |1"},
              {&bench_batch, true, true, "?1:1 |1"},
              {&bench_once, false, false, "?1:- |1"},
              {&bench_repeat, false, false, "?1:- |1"},
              {&bench_delete, false, false, "?1:- |1"},
              {&bench_sample, true, false, ""},
              {&bench_read, false, false, ""}};
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
    bench_open(&b);
    doorman_open(&d, &b);
    turn = rows[i].turned ? bench_turn(&b, rows[i].ordered) : NULL;
    bench_submit(&b, rows[i].kind, turn, 1, 10, -1);
    doorman_heard(&d, rows[i].heard);
    cr_assert_eq(bench_out(&b, NULL), 1u, "%s", rows[i].kind->name);
    done();
  }
}

/* Nothing is sent before the answer, which delays its own trainer only. */
Test(door, later) {
  setup(TINKER__ADMIT_LATER);
  tinker_future_t *f = step(), *g = step();
  tinker__turn_t *other = bench_turn(&b, true);
  bench_submit(&b, &bench_numbered, other, 3, 10, -1);
  doorman_heard(&d, "?1:1 ?2:1,2,3"); /* the second of a turn waits */
  cr_assert_eq(bench_out(&b, NULL), 0u);
  cr_assert_eq(turn->next_seq, 1);
  cr_assert(doorman_go(&d, 2));
  cr_assert_eq(bench_out(&b, NULL), 1u);
  cr_assert_not(doorman_go(&d, 2)); /* once */
  cr_assert_not(doorman_go(&d, 7));
  bench_advance(&b, 60000);
  cr_assert(doorman_go(&d, 1));
  cr_assert_eq(turn->next_seq, 2);
  finish("step");
  doorman_heard(&d, "|2 |1 +2.0 =2.0");
  (void)f, (void)g;
  tinker__turn_release(other);
  done();
}

/* Ways in which a mutation does not go. */
typedef enum {
  REFUSED, /* the answer comes later */
  FENCED,
  CANCELED,
  TIMED_OUT,
  CLOSED,
  FATAL, /* an earlier number was lost */
  AT_ONCE,
  WITH_ERROR,
  WAYS
} way_t;

static int leave_by(way_t way, tinker_future_t *f) {
  switch (way) {
  case REFUSED: cr_assert(doorman_refuse(&d, 1)); return TINKER_EBUSY;
  case FENCED:
    d.fenced = true;
    cr_assert(doorman_go(&d, 1));
    break;
  case CANCELED: bench_cancel(&b, f); return TINKER_ECANCELED;
  case TIMED_OUT: bench_advance(&b, 100); return TINKER_ETIMEDOUT;
  case CLOSED: tinker__flow_close(&b.flow, b.now_ms); return TINKER_ECLOSED;
  case FATAL: tinker__turn_fail(turn, "lost"); return TINKER_EFATAL;
  case AT_ONCE: return TINKER_ESTATE;
  case WITH_ERROR:
  case WAYS: break;
  }
  return TINKER_EBUSY;
}

/* Each gives its numbers back and says so, before anything else is offered
 * under one of them; the next one gets them. */
Test(door, numbers_come_back) {
  for (way_t way = 0; way < WAYS; way++) {
    setup(way < AT_ONCE ? TINKER__ADMIT_LATER : TINKER__ADMIT_REFUSE);
    d.with_error = way == WITH_ERROR;
    tinker_future_t *f = bench_submit(&b, &bench_numbered, turn, 2, 10,
                                      way == TIMED_OUT ? 100 : -1);
    tinker_future_t *g = way < AT_ONCE ? step() : NULL;
    int code = leave_by(way, f);
    cr_assert_eq(bench_code(f), code, "%d: %d", (int)way, bench_code(f));
    cr_assert_not(tinker_error_outcome_is_unknown(f->error));
    cr_assert_eq(bench_out(&b, NULL), 0u, "%d", (int)way);
    cr_assert_eq(turn->next_seq, 1);
    bool last = way == CLOSED || way == FATAL || way >= AT_ONCE;
    doorman_heard(&d, last            ? "?1:1,2 -1"
                      : way == FENCED ? "?1:1,2 |1 -1 ?2:1"
                                      : "?1:1,2 -1 ?2:1");
    cr_assert_not(doorman_go(&d, 1)); /* too late: nothing happens */
    d.fenced = false;
    if (!last) {
      cr_assert(doorman_go(&d, 2));
      cr_assert_eq(bench_seq(&b, 0), 1);
      cr_assert_eq(bench_code(g), 1);
    }
    done();
  }
}

/* Without a number it is the same: nothing was sent, and it may be retried. */
Test(door, unnumbered) {
  setup(TINKER__ADMIT_LATER);
  tinker_future_t *f = bench_submit(&b, &bench_once, NULL, 1, 10, -1);
  bench_cancel(&b, f);
  doorman_heard(&d, "?1:- -1");
  cr_assert(tinker_error_is_retriable(f->error));
  f = bench_submit(&b, &bench_once, NULL, 1, 10, -1);
  cr_assert(doorman_go(&d, 2));
  finish("make");
  doorman_heard(&d, "?2:- |2 +2.0 =2.0");
  cr_assert_eq(bench_code(f), 0);
  done();
}

/* What holds up an operation is said when its deadline passes. */
Test(door, a_deadline_names_the_door) {
  setup(TINKER__ADMIT_LATER);
  tinker_future_t *f[2];
  for (int i = 0; i < 2; i++) {
    f[i] = bench_submit(&b, &bench_numbered, turn, 1, 10, i ? 50 : 100);
  }
  bench_advance(&b, 100);
  for (int i = 0; i < 2; i++) {
    cr_assert_not_null(strstr(tinker_error_message(f[i]->error),
                              "last trouble: nobody has admitted it yet"));
  }
  done();
}

/* Each request of a mutation that went is accounted for, once, although its
 * caller has gone: it is polled to its end. */
Test(door, followed_to_the_end) {
  for (int by_cancel = 0; by_cancel < 2; by_cancel++) {
    for (int polling = 0; polling < 2; polling++) {
      setup(TINKER__ADMIT_GO);
      tinker_future_t *f =
          bench_submit(&b, &bench_numbered, turn, 1, 10, by_cancel ? -1 : 100);
      if (polling) bench_accept(&b, 0);
      if (by_cancel) {
        bench_cancel(&b, f);
      } else {
        bench_advance(&b, 100);
      }
      cr_assert_eq(bench_code(f),
                   by_cancel ? TINKER_ECANCELED : TINKER_ETIMEDOUT);
      cr_assert(tinker_error_outcome_is_unknown(f->error));
      if (!polling) bench_accept(&b, 0);
      cr_assert_eq(tinker__flow_live(&b.flow), 1u);
      result(bench_first(&b, BENCH_POLL));
      doorman_heard(&d, "?1:1 |1 +1.0 =1.0");
      cr_assert_eq(tinker__flow_live(&b.flow), 0u);
      done();
    }
  }
}

/* So are those whose result is a failure, those of a call without number, and
 * the other requests of a batch of which one failed. */
Test(door, followed_after_a_failure) {
  static const bench_reply_t failed = {
      .body = "{\"error\":\"x\",\"category\":\"user\"}"};
  setup(TINKER__ADMIT_GO);
  tinker_future_t *f = bench_submit(&b, &bench_once, NULL, 1, 10, -1);
  bench_cancel(&b, f);
  bench_accept(&b, 0);
  bench_answer(&b, 1, failed);
  doorman_heard(&d, "?1:- |1 +1.0 !1.0");
  f = bench_submit(&b, &bench_numbered, turn, 3, 10, -1);
  bench_accept(&b, bench_first(&b, "step"));
  bench_answer(&b, bench_first(&b, "step"), (bench_reply_t){.status = 422});
  cr_assert_eq(bench_code(f), TINKER_EREJECTED);
  bench_accept(&b, bench_first(&b, "step"));
  doorman_heard(&d, "?2:1,2,3 |2 +2.0 !2.1 +2.2");
  result(bench_first(&b, BENCH_POLL));
  bench_answer(&b, bench_first(&b, BENCH_POLL), failed);
  doorman_heard(&d, "=2.0 !2.2");
  cr_assert_eq(tinker__flow_live(&b.flow), 0u);
  done();
}

/* Close hands over what is open: what is under way, and what never went out. */
Test(door, close_hands_over) {
  setup(TINKER__ADMIT_GO);
  bench_submit(&b, &bench_numbered, turn, 3, 10, -1);
  bench_accept(&b, 0);
  doorman_heard(&d, "?1:1,2,3 |1 +1.0");
  tinker__flow_close(&b.flow, b.now_ms);
  doorman_heard(&d, "~1.0 ~1.1 _1.2");
  done();
}

/* A number that can't be delivered ends the trainer; each of its requests is
 * accounted for. */
Test(door, a_lost_number) {
  setup(TINKER__ADMIT_GO);
  bench_submit(&b, &bench_numbered, turn, 2, 10, -1);
  bench_answer(&b, 0, (bench_reply_t){.status = 401});
  doorman_heard(&d, "?1:1,2 |1 !1.0 _1.1");
  cr_assert(atomic_load(&turn->fatal));
  done();
}

/* Who reads the bytes on another thread keeps them, whatever ends meanwhile. */
Test(door, held) {
  setup(TINKER__ADMIT_LATER);
  tinker_future_t *f = step();
  tinker__op_t *op = f->op;
  tinker__op_hold(op);
  bench_cancel(&b, f);
  doorman_heard(&d, "?1:1 -1");
  cr_assert_eq(tinker__flow_live(&b.flow), 0u);
  cr_assert_not(tinker__flow_idle(&b.flow));
  cr_assert_neq(tinker__wire_body_str(&op->parts[0].body).len, 0u);
  tinker__flow_unhold(&b.flow, op, b.now_ms);
  cr_assert(tinker__flow_idle(&b.flow));
  done();
}

/* A door that only fences, and one that only listens. */
Test(door, partly) {
  setup(TINKER__ADMIT_REFUSE);
  d.door.admit = NULL;
  d.fenced = true;
  tinker_future_t *f = step();
  cr_assert_eq(bench_code(f), TINKER_EBUSY);
  doorman_heard(&d, "|1 -1");
  d.door = (tinker__door_t){.user = &d};
  f = step();
  finish("step");
  cr_assert_eq(bench_code(f), 0);
  cr_assert_eq(bench_seq(&b, 0), 1);
  bench_submit(&b, &bench_numbered, turn, 2, 10, -1);
  done();
}

/* Whatever allocation fails at the door, no number is lost and nothing is sent
 * that was not offered. */
Test(door, lack_of_memory) {
  bool failed = true;
  for (uint64_t n = 1; failed; n++) {
    setup(TINKER__ADMIT_GO);
    step();
    tinker_future_t *f = bench_submit(&b, &bench_numbered, turn, 2, 10, -1);
    atomic_store(&b.mem.fail_at, atomic_load(&b.mem.count) + n);
    uint64_t at = atomic_load(&b.mem.fail_at);
    bench_accept(&b, 0);
    bench_advance(&b, 1000);
    failed = atomic_load(&b.mem.count) >= at;
    atomic_store(&b.mem.fail_at, 0);
    bench_advance(&b, 1000);
    if (f->op && f->op->state == TINKER__OP_QUEUED) {
      bench_accept(&b, bench_first(&b, "step")); /* it was sent again */
    }
    if (bench_code(f) == 1) {
      cr_assert_eq(turn->next_seq, 4);
    } else {
      cr_assert_eq(bench_code(f), TINKER_ENOMEM);
      cr_assert_eq(turn->next_seq, 2);
      cr_assert_null(strchr(d.heard, '-'));
    }
    d.heard[0] = 0;
    done();
  }
}

/* --- what may be done twice --- */

/* No brake counts what is over. */
static void nothing_fails(void) {
  for (int i = 0; i < TINKER__BRAKES; i++) {
    cr_assert_eq(b.flow.brakes[i].failing, 0, "%d", i);
  }
}

/* The fence is asked before each copy; the journal once. */
Test(door, a_further_copy_is_fenced_again) {
  static const bench_reply_t lost = {.error = TINKER_ETRANSPORT, .sent = true};
  static const bench_reply_t unsent = {.error = TINKER_ECONNECT};
  for (int i = 0; i < 2; i++) {
    bench_open(&b);
    doorman_open(&d, &b);
    d.answer = TINKER__ADMIT_GO;
    tinker_future_t *f = bench_submit(&b, &bench_repeat, NULL, 1, 10, -1);
    bench_answer(&b, 0, i ? lost : unsent);
    bench_advance(&b, 1000);
    doorman_heard(&d, "?1:- |1 |1");
    bench_answer(&b, 1, i ? lost : unsent);
    d.fenced = true;
    bench_advance(&b, 2000);
    doorman_heard(&d, "|1 !1.0");
    cr_assert_eq(b.count, 2u);
    cr_assert_eq(bench_code(f), TINKER_EBUSY);
    cr_assert(strstr(tinker_error_message(f->error), "the lease is lost"));
    cr_assert_eq((bool)tinker_error_outcome_is_unknown(f->error), i == 1);
    nothing_fails();
    bench_close(&b);
  }
}

/* What has a number is safe whoever is in charge by now. */
Test(door, a_number_is_fenced_once) {
  setup(TINKER__ADMIT_GO);
  step();
  bench_answer(&b, 0,
               (bench_reply_t){.error = TINKER_ETRANSPORT, .sent = true});
  d.fenced = true;
  bench_advance(&b, 1000);
  cr_assert_eq(b.count, 2u);
  doorman_heard(&d, "?1:1 |1");
  done();
}

/* Nobody waits: the journal hears how the copy that is out ends, and no other
 * one is sent, whether it is out or rests. */
Test(door, nothing_is_repeated_for_nobody) {
  static const bench_reply_t lost = {.error = TINKER_ETRANSPORT, .sent = true};
  for (int rests = 0; rests < 2; rests++) {
    bench_open(&b);
    doorman_open(&d, &b);
    d.answer = TINKER__ADMIT_GO;
    tinker_future_t *f = bench_submit(&b, &bench_delete, NULL, 1, 10, -1);
    if (rests) bench_answer(&b, 0, lost);
    bench_cancel(&b, f);
    cr_assert_eq(bench_code(f), TINKER_ECANCELED);
    cr_assert(tinker_error_outcome_is_unknown(f->error));
    doorman_heard(&d, "?1:- |1");
    if (!rests) bench_answer(&b, 0, lost);
    doorman_heard(&d, rests ? "" : "!1.0");
    bench_advance(&b, 400000);
    doorman_heard(&d, rests ? "!1.0" : "");
    nothing_fails();
    cr_assert_eq(b.count, 1u);
    cr_assert_eq(b.flow.live, 0u);
    bench_close(&b);
  }
}

/* A deletion that finds nothing has done its work if an earlier copy may have
 * arrived, and only then. */
Test(door, a_deletion_that_finds_nothing) {
  static const bench_reply_t gone = {.status = 404};
  static const struct {
    bench_reply_t first;
    int code;
  } rows[] = {{{.error = TINKER_ETRANSPORT, .sent = true}, 0},
              {{.status = 500}, 0},
              {{.error = TINKER_ECONNECT}, TINKER_ENOENT},
              {{.status = 429}, TINKER_ENOENT}};
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
    bench_open(&b);
    doorman_open(&d, &b);
    d.answer = TINKER__ADMIT_GO;
    tinker_future_t *f = bench_submit(&b, &bench_delete, NULL, 1, 10, -1);
    bench_answer(&b, 0, rows[i].first);
    bench_advance(&b, 30000);
    bench_reply_t reply = gone;
    reply.body = "{\"detail\":\"checkpoint not found\"}";
    bench_answer(&b, 1, reply);
    cr_assert_eq(bench_code(f), rows[i].code, "%zu", i);
    doorman_heard(&d, rows[i].code ? "?1:- |1 |1 !1.0" : "?1:- |1 |1 =1.0");
    nothing_fails();
    bench_close(&b);
  }
  bench_open(&b); /* another mutation is not a deletion */
  tinker_future_t *f = bench_submit(&b, &bench_repeat, NULL, 1, 10, -1);
  bench_answer(&b, 0,
               (bench_reply_t){.error = TINKER_ETRANSPORT, .sent = true});
  bench_advance(&b, 1000);
  bench_answer(
      &b, 1,
      (bench_reply_t){.status = 404, .body = "{\"detail\":\"run not found\"}"});
  cr_assert_eq(bench_code(f), TINKER_ENOENT);
  cr_assert(tinker_error_outcome_is_unknown(f->error));
  bench_close(&b);
}
