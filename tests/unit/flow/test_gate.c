/* That no optim_step goes before somebody has judged the results before it. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "bench.h"

static bench_t b;
static tinker__turn_t *turn;
static tinker__gate_t verdict; /* to the next questions */
static bool with_error;
static char asked[64]; /* tickets of the questions, each with a space */

static tinker_error_t *bad(void) {
  return tinker__error_new(&b.mem,
                           &(tinker__error_spec_t){.code = TINKER_EFORMAT},
                           "the loss is not a number");
}

static tinker__gate_t gate(void *user, uint64_t ticket, const tinker__op_t *op,
                           tinker_error_t **error) {
  (void)user;
  size_t n = strlen(asked);
  snprintf(asked + n, sizeof asked - n, "%d ", (int)ticket);
  cr_assert_eq(op->kind, &bench_optim);
  if (with_error) *error = bad();
  return verdict;
}

static tinker__door_t door;

static void setup(tinker__gate_t first) {
  bench_open(&b);
  turn = bench_turn(&b, true);
  door = (tinker__door_t){.gate = gate};
  tinker__flow_set_door(&b.flow, &door);
  verdict = first;
  with_error = false;
  asked[0] = 0;
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

static bool judge(uint64_t ticket, tinker__gate_t v, bool own_error) {
  tinker_error_t *error = own_error ? bad() : NULL;
  bool known = tinker__flow_judged(&b.flow, ticket, v, error, b.now_ms);
  tinker__error_release(error);
  return known;
}

static void is(const tinker_future_t *f, tinker__op_state_t state) {
  cr_assert_eq(bench_code(f), 1);
  cr_assert_eq(f->op->state, state, "%s", tinker__op_state_name(f->op->state));
}

/* It is asked when all results before are there, not when they are accepted;
 * only optim_step is. */
Test(gate, waits_for_the_results) {
  setup(TINKER__GATE_PASS);
  call(&bench_batch);
  call(&bench_numbered);
  tinker_future_t *step = call(&bench_optim);
  accept("batch");
  accept("step");
  result();
  cr_assert_str_eq(asked, "");
  is(step, TINKER__OP_QUEUED);
  result();
  cr_assert_str_eq(asked, "1 ");
  cr_assert_eq(bench_out(&b, "optim"), 1u);
  accept("optim");
  result();
  cr_assert_eq(bench_code(step), 0);
  call(&bench_numbered); /* not asked about */
  cr_assert_str_eq(asked, "1 ");
  done();
}

/* It is held until the verdict; other trainers are not. */
Test(gate, holds) {
  setup(TINKER__GATE_HOLD);
  tinker_future_t *step = call(&bench_optim), *next = call(&bench_batch);
  tinker__turn_t *other = bench_turn(&b, true);
  bench_submit(&b, &bench_batch, other, 1, 10, -1);
  is(step, TINKER__OP_GATED);
  is(next, TINKER__OP_QUEUED);
  cr_assert_eq(bench_out(&b, NULL), 1u);
  cr_assert(judge(1, TINKER__GATE_HOLD, false));
  cr_assert_not(judge(2, TINKER__GATE_PASS, false));
  is(step, TINKER__OP_GATED);
  cr_assert(judge(1, TINKER__GATE_PASS, false));
  cr_assert_not(judge(1, TINKER__GATE_END, true)); /* too late */
  cr_assert_eq(bench_seq(&b, bench_first(&b, "optim")), 1);
  accept("optim");
  is(next, TINKER__OP_SENDING);
  cr_assert_str_eq(asked, "1 "); /* once */
  tinker__turn_release(other);
  done();
}

/* What the verdict submits goes before it, in the order it was submitted, and
 * the optim_step does not wait for its results again. */
Test(gate, what_it_submits_goes_ahead) {
  setup(TINKER__GATE_HOLD);
  call(&bench_batch);
  tinker_future_t *step = call(&bench_optim);
  call(&bench_batch);
  accept("batch");
  result();
  is(step, TINKER__OP_GATED);
  for (int i = 0; i < 2; i++) bench_submit_ahead(&b, &bench_numbered, turn);
  cr_assert_eq(bench_seq(&b, bench_first(&b, "step")), 2);
  cr_assert(judge(1, TINKER__GATE_PASS, false));
  accept("step");
  cr_assert_eq(bench_seq(&b, bench_first(&b, "step")), 3);
  accept("step");
  cr_assert_eq(bench_seq(&b, bench_first(&b, "optim")), 4);
  accept("optim");
  cr_assert_eq(bench_seq(&b, bench_first(&b, "batch")), 5);
  done();
}

/* It is ended: the gradients that were judged stay summed, so nothing is added
 * to them. No number is spent. */
Test(gate, ends_it) {
  for (int own = 0; own < 2; own++) {
    for (int later = 0; later < 2; later++) {
      setup(later ? TINKER__GATE_HOLD : TINKER__GATE_END);
      with_error = own && !later;
      call(&bench_batch);
      tinker_future_t *step = call(&bench_optim), *save = call(&bench_numbered),
                      *next = call(&bench_batch);
      accept("batch");
      result();
      if (later) cr_assert(judge(1, TINKER__GATE_END, own));
      cr_assert_eq(bench_code(step), own ? TINKER_EFORMAT : TINKER_ESTATE);
      cr_assert_eq(bench_seq(&b, bench_first(&b, "step")), 2);
      accept("step");
      is(save, TINKER__OP_POLLING);
      cr_assert_eq(bench_code(next), TINKER_ESTATE);
      cr_assert_eq(turn->sum.state, TINKER__SUM_DIRTY);
      done();
    }
  }
}

/* With nothing summed it is only an optim_step less. */
Test(gate, ends_one_that_has_nothing) {
  setup(TINKER__GATE_END);
  tinker_future_t *step = call(&bench_optim);
  cr_assert_eq(bench_code(step), TINKER_ESTATE);
  cr_assert_eq(turn->sum.state, TINKER__SUM_WHOLE);
  call(&bench_batch);
  cr_assert_eq(bench_out(&b, "batch"), 1u);
  done();
}

/* All that is queued behind ends with the same error; later calls don't. */
Test(gate, ends_all_behind) {
  for (int own = 0; own < 2; own++) {
    setup(TINKER__GATE_HOLD);
    tinker_future_t *f[4];
    for (int i = 0; i < 4; i++) {
      f[i] = call(i % 2 ? &bench_numbered : &bench_optim);
    }
    cr_assert(judge(1, TINKER__GATE_END_ALL, own));
    for (int i = 0; i < 4; i++) {
      cr_assert_eq(bench_code(f[i]), own ? TINKER_EFORMAT : TINKER_ESTATE);
      cr_assert(own || strstr(tinker_error_message(f[i]->error),
                              f[i] == f[1] ? "step was not sent: the gate"
                                           : "was not sent: the gate"));
    }
    call(&bench_numbered);
    cr_assert_eq(bench_seq(&b, bench_first(&b, "step")), 1);
    done();
  }
}

/* Cancel, deadline, close and the loss of an earlier number end it there. */
Test(gate, ends_while_it_is_held) {
  static const int codes[] = {TINKER_ECANCELED, TINKER_ETIMEDOUT,
                              TINKER_ECLOSED, TINKER_EFATAL};
  for (int way = 0; way < 4; way++) {
    setup(TINKER__GATE_HOLD);
    tinker_future_t *f =
        bench_submit(&b, &bench_optim, turn, 1, 10, way == 1 ? 100 : -1);
    is(f, TINKER__OP_GATED);
    if (way == 0) bench_cancel(&b, f);
    bench_advance(&b, 100);
    if (way == 2) tinker__flow_close(&b.flow, b.now_ms);
    if (way == 3) tinker__turn_fail(turn, "lost");
    cr_assert_eq(bench_code(f), codes[way]);
    cr_assert_not(tinker_error_outcome_is_unknown(f->error));
    cr_assert(way != 1 || strstr(tinker_error_message(f->error),
                                 "the gate has not judged yet"));
    cr_assert_not(judge(1, TINKER__GATE_PASS, false));
    cr_assert_eq(turn->next_seq, 1);
    done();
  }
}

/* A deadline that passes before that says what it was waited for. */
Test(gate, deadline) {
  setup(TINKER__GATE_HOLD);
  call(&bench_numbered);
  accept("step");
  tinker_future_t *f = bench_submit(&b, &bench_optim, turn, 1, 10, 100);
  bench_advance(&b, 100);
  cr_assert_not_null(strstr(tinker_error_message(f->error),
                            "the gate waits for the results before it"));
  done();
}

/* One that is canceled while it waits, for results or for the verdict, keeps
 * nobody back. */
Test(gate, canceled) {
  for (int held = 0; held < 2; held++) {
    setup(TINKER__GATE_HOLD);
    call(&bench_numbered);
    tinker_future_t *step = call(&bench_optim), *next = call(&bench_numbered);
    accept("step");
    if (held) result();
    is(step, held ? TINKER__OP_GATED : TINKER__OP_QUEUED);
    bench_cancel(&b, step);
    is(next, TINKER__OP_SENDING);
    done();
  }
}

/* A step that lacks something is not put to the gate; what becomes known while
 * it is held counts. */
Test(gate, a_dirty_step_is_not_judged) {
  setup(TINKER__GATE_HOLD);
  call(&bench_batch);
  call(&bench_batch);
  tinker_future_t *step = call(&bench_optim);
  accept("batch");
  bench_answer(&b, bench_first(&b, "batch"), (bench_reply_t){.status = 422});
  cr_assert_eq(bench_code(step), TINKER_ESTATE);
  cr_assert_str_eq(asked, "");
  done();
  setup(TINKER__GATE_HOLD);
  step = call(&bench_optim);
  bench_submit_ahead(&b, &bench_batch, turn);
  bench_answer(&b, bench_first(&b, "batch"), (bench_reply_t){.status = 422});
  cr_assert_eq(bench_code(step), TINKER_ESTATE);
  done();
}
