/* That no weight moves by a part of a step, or by momentum alone, and that the
 * gradients of one step are not added to what is left of another: what is known
 * of the sum, and which calls may go. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "doorman.h"

static bench_t b;
static tinker__turn_t *turn;

static void setup(void) {
  bench_open(&b);
  turn = bench_turn(&b, true);
}

static void done(void) {
  tinker__turn_release(turn);
  bench_close(&b);
}

static tinker_future_t *fb(size_t parts) {
  return bench_submit(&b, &bench_batch, turn, parts, 10, -1);
}

static tinker_future_t *optim(void) {
  return bench_submit(&b, &bench_optim, turn, 1, 10, -1);
}

static void accept(const char *path) {
  bench_accept(&b, bench_first(&b, path));
}

static void reject(const char *path) {
  bench_answer(&b, bench_first(&b, path), (bench_reply_t){.status = 422});
}

/* The oldest poll that is out: the result, or the failure of this category. */
static void result(const char *category) {
  char body[64];
  snprintf(body, sizeof body, "{\"error\":\"x\",\"category\":\"%s\"}",
           category ? category : "");
  bench_answer(&b, bench_first(&b, BENCH_POLL),
               (bench_reply_t){.body = category ? body : "{\"metrics\":{}}"});
}

static void refused(const tinker_future_t *f, bool needs_recovery) {
  cr_assert_eq(bench_code(f), TINKER_ESTATE, "%d", bench_code(f));
  cr_assert_eq(tinker_error_needs_recovery(f->error), needs_recovery, "%s",
               tinker_error_message(f->error));
  cr_assert_not(tinker_error_outcome_is_unknown(f->error));
}

static void is(tinker__sum_state_t state, size_t parts) {
  cr_assert_eq(turn->sum.state, state, "%s",
               tinker__sum_state_name(turn->sum.state));
  cr_assert_eq(turn->sum.parts, parts);
}

/* An optim_step that goes. */
static void steps(void) {
  tinker_future_t *f = optim();
  cr_assert_eq(bench_out(&b, "optim"), 1u);
  accept("optim");
  cr_assert_eq(bench_code(f), 1);
  is(TINKER__SUM_WHOLE, 0);
}

/* --- the rules --- */

/* An empty sum is never said to be half of something, and nothing but an
 * acceptance or an optim_step makes it whole where parts are missing. */
Test(sum, table) {
  for (int s = 0; s < TINKER__SUM_STATES; s++) {
    for (int e = 0; e < TINKER__SUM_EVENTS; e++) {
      for (size_t parts = 0; parts < 3; parts++) {
        if (e == TINKER__SUM_BACK && parts == 0) continue;
        tinker__sum_t sum = {(tinker__sum_state_t)s, parts};
        tinker__sum_on(&sum, (tinker__sum_event_t)e);
        bool empty = sum.parts == 0;
        cr_assert(!(empty && (sum.state == TINKER__SUM_DIRTY ||
                              sum.state == TINKER__SUM_OVERDUE)));
        cr_assert(!(!empty && sum.state == TINKER__SUM_SPOILED));
        if (s == TINKER__SUM_DIRTY && !empty && e != TINKER__SUM_ACCEPTED) {
          cr_assert_eq(sum.state, TINKER__SUM_DIRTY, "%d", e);
        }
      }
    }
    cr_assert(tinker__sum_state_name((tinker__sum_state_t)s)[0]);
  }
}

/* Joining what calls have left is the same as letting it happen one by one,
 * whatever the sum is. */
Test(sum, what_calls_leave_is_joined) {
  for (unsigned word = 0; word < 4096; word++) {
    tinker__before_t all = TINKER__BEFORE_NOTHING, parts[2] = {all, all};
    for (int start = 0; start < TINKER__SUM_STATES; start++) {
      size_t n = start == TINKER__SUM_DIRTY || start == TINKER__SUM_OVERDUE;
      for (; n < (start == TINKER__SUM_SPOILED ? 1u : 2u); n++) {
        tinker__sum_t one = {(tinker__sum_state_t)start, n}, two = one,
                      three = one;
        all = parts[0] = parts[1] = TINKER__BEFORE_NOTHING;
        for (int i = 0; i < 12; i++) {
          tinker__sum_event_t e =
              word >> i & 1 ? TINKER__SUM_LACKS : TINKER__SUM_MISSED;
          tinker__sum_on(&one, e);
          all = tinker__before_on(all, e);
          parts[i / 7] = tinker__before_on(parts[i / 7], e);
        }
        tinker__before_run(all, &two);
        tinker__before_run(tinker__before_then(parts[0], parts[1]), &three);
        cr_assert_eq(one.state, two.state, "%x from %d", word, start);
        cr_assert_eq(one.state, three.state, "%x from %d", word, start);
      }
    }
  }
}

/* --- rejected --- */

/* One of four micro-batches, each of them, with the optim_step right behind:
 * no optim_step goes out. */
Test(sum, one_of_four_rejected) {
  for (int bad = 0; bad < 4; bad++) {
    setup();
    tinker_future_t *f[4];
    for (int i = 0; i < 4; i++) f[i] = fb(1);
    tinker_future_t *step = optim();
    for (int i = 0; i <= bad; i++) {
      cr_assert_eq(bench_out(&b, "batch"), 1u);
      if (i == bad) {
        reject("batch");
      } else {
        accept("batch");
      }
    }
    cr_assert_eq(bench_code(f[bad]), TINKER_EREJECTED);
    for (int i = bad + 1; i < 4; i++) refused(f[i], bad > 0);
    refused(step, bad > 0);
    cr_assert_eq(bench_out(&b, "batch") + bench_out(&b, "optim"), 0u);
    cr_assert_eq(turn->next_seq, bad + 2); /* no number was spent on them */
    if (bad) { /* three are in the sum: nothing goes on by itself */
      is(TINKER__SUM_DIRTY, (size_t)bad);
      refused(fb(1), true);
      refused(optim(), true);
      tinker__turn_accept_partial(turn);
      is(TINKER__SUM_WHOLE, (size_t)bad);
    }
    fb(1);
    accept("batch");
    steps();
    done();
  }
}

/* The second of three chunks, sent in parallel or one after another: the other
 * numbers are taken and so delivered, and summed. */
Test(sum, chunk_of_a_call_rejected) {
  for (int parallel = 0; parallel < 2; parallel++) {
    setup();
    tinker_future_t *first = fb(1); /* keeps the next one in the queue */
    tinker_future_t *f = fb(3), *step = optim();
    f->op->parallel = parallel;
    accept("batch");
    if (!parallel) accept("batch");
    reject("batch");
    cr_assert_eq(bench_code(f), TINKER_EREJECTED);
    cr_assert(tinker_error_outcome_is_unknown(f->error));
    cr_assert_eq(bench_code(step), 1); /* its turn has not come */
    accept("batch");
    if (parallel) accept("batch");
    refused(step, true);
    is(TINKER__SUM_DIRTY, 3);
    cr_assert_eq(turn->next_seq, 5);
    tinker__turn_accept_partial(turn);
    steps();
    cr_assert_eq(bench_code(first), 1);
    done();
  }
}

/* The first of one: nothing is summed, so that optim_step fails, and no more.
 */
Test(sum, the_only_one_rejected) {
  setup();
  tinker_future_t *f = fb(1), *step = optim(), *next = fb(1), *after = optim();
  reject("batch");
  cr_assert_eq(bench_code(f), TINKER_EREJECTED);
  refused(step, false);
  accept("batch");
  accept("optim");
  cr_assert_eq(bench_code(next), 1);
  cr_assert_eq(bench_code(after), 1);
  cr_assert_eq(turn->next_seq, 4);
  done();
}

/* Nothing is added to a step that can't be whole, so that it can be given up:
 * its optim_step ends it. Or its caller says that what failed is to be left
 * out, and adds something else. */
Test(sum, the_first_rejected) {
  for (int accepted = 0; accepted < 2; accepted++) {
    setup();
    fb(1);
    reject("batch");
    tinker_future_t *next = fb(1);
    refused(next, false);
    cr_assert_not_null(strstr(tinker_error_message(next->error),
                              "tinker_trainer_accept_partial()"));
    is(TINKER__SUM_SPOILED, 0);
    if (accepted) {
      tinker__turn_accept_partial(turn);
    } else {
      refused(optim(), false);
    }
    is(TINKER__SUM_WHOLE, 0);
    fb(1);
    accept("batch");
    steps();
    done();
  }
}

/* Saves and forward passes go on: they don't touch the sum. */
Test(sum, others_go_on) {
  setup();
  fb(1);
  fb(1);
  accept("batch");
  reject("batch");
  is(TINKER__SUM_DIRTY, 1);
  bench_submit(&b, &bench_numbered, turn, 1, 10, -1);
  cr_assert_eq(bench_out(&b, "step"), 1u);
  done();
}

/* An optim_step that asks for it goes all the same. */
Test(sum, asked_for) {
  for (int parts = 0; parts < 2; parts++) {
    setup();
    if (parts) {
      fb(1);
      accept("batch");
    }
    fb(1);
    tinker_future_t *step = optim();
    step->op->partial_ok = true;
    reject("batch");
    cr_assert_eq(bench_out(&b, "optim"), 1u);
    is(TINKER__SUM_WHOLE, 0);
    done();
  }
}

/* --- failed after it was accepted --- */

/* Known before the optim_step left: the same. The user's fault was not carried
 * out; of anything else it is not known. */
Test(sum, failed_in_time) {
  for (int user = 0; user < 2; user++) {
    for (int others = 0; others < 2; others++) {
      setup();
      fb(1);
      accept("batch");
      if (others) {
        fb(1);
        accept("batch");
      }
      result(user ? "user" : "server");
      bool dirty = !user || others;
      refused(optim(), dirty);
      if (dirty) {
        is(TINKER__SUM_DIRTY, (user ? 0u : 1u) + (others ? 1u : 0u));
        tinker__turn_accept_partial(turn);
      }
      fb(1);
      accept("batch");
      steps();
      done();
    }
  }
}

/* Its result can't be had: it may be in the sum. */
Test(sum, result_lost) {
  static const bench_reply_t ends[] = {
      {.status = 410}, {.body = "[]"}, {.status = 403}};
  for (size_t i = 0; i < sizeof ends / sizeof *ends; i++) {
    setup();
    tinker_future_t *f = fb(1);
    accept("batch");
    bench_answer(&b, bench_first(&b, BENCH_POLL), ends[i]);
    cr_assert_neq(bench_code(f), 1, "%zu", i);
    refused(optim(), true);
    is(TINKER__SUM_DIRTY, 1);
    done();
  }
}

/* Known after it left: the error says so, and the next step is whole. */
Test(sum, failed_too_late) {
  setup();
  tinker_future_t *f = fb(1), *step = optim();
  accept("batch");
  cr_assert_eq(bench_out(&b, "optim"), 1u);
  result("user");
  cr_assert_not_null(strstr(tinker_error_message(f->error),
                            "the optim_step after it had been sent"));
  accept("optim");
  fb(1);
  accept("batch");
  is(TINKER__SUM_WHOLE, 1);
  optim();
  cr_assert_eq(bench_out(&b, "optim"), 1u);
  cr_assert_eq(bench_code(step), 1);
  done();
}

/* While it was at the door. */
Test(sum, failed_while_the_door_is_asked) {
  doorman_t d;
  setup();
  fb(1);
  accept("batch");
  doorman_open(&d, &b);
  d.answer = TINKER__ADMIT_LATER;
  tinker_future_t *step = optim();
  result("server");
  cr_assert(doorman_go(&d, 1));
  doorman_heard(&d, "?1:2 -1");
  refused(step, true);
  cr_assert_eq(turn->next_seq, 2);
  done();
}

/* --- an optim_step that does not do its work --- */

/* The service refuses it: what was summed stays, another one may use it, and
 * nothing is added to it meanwhile. */
Test(sum, optim_step_rejected) {
  setup();
  fb(1);
  tinker_future_t *step = optim(), *next = fb(1), *after = optim();
  accept("batch");
  reject("optim");
  cr_assert_eq(bench_code(step), TINKER_EREJECTED);
  refused(next, false);
  refused(after, true); /* a step without its forward_backward */
  is(TINKER__SUM_DIRTY, 1);
  done();
  setup();
  fb(1);
  accept("batch");
  optim();
  reject("optim");
  is(TINKER__SUM_OVERDUE, 1);
  steps();
  done();
}

/* Refused, but an earlier attempt may have been carried out: what is in the sum
 * is not known. */
Test(sum, optim_step_unknown) {
  setup();
  fb(1);
  accept("batch");
  tinker_future_t *step = optim();
  bench_answer(&b, bench_first(&b, "optim"),
               (bench_reply_t){.error = TINKER_ETRANSPORT, .sent = true});
  bench_advance(&b, 1000);
  reject("optim");
  cr_assert(tinker_error_outcome_is_unknown(step->error));
  is(TINKER__SUM_DIRTY, 1);
  done();
}

/* A result that fails while the optim_step is out counts if that is refused. */
Test(sum, failed_while_the_optim_step_is_out) {
  for (int user = 0; user < 2; user++) {
    setup();
    fb(1);
    accept("batch");
    optim();
    result(user ? "user" : "server");
    reject("optim");
    if (user) {
      is(TINKER__SUM_WHOLE, 0);
    } else {
      is(TINKER__SUM_DIRTY, 1);
    }
    done();
  }
}

/* An optim_step without anything to use is nobody's fault. */
Test(sum, optim_step_alone) {
  setup();
  optim();
  reject("optim");
  is(TINKER__SUM_WHOLE, 0);
  steps();
  done();
}

/* --- calls that end in the queue --- */

/* Their deadline passes, or the door refuses them: the same as rejected, where
 * they stood, not where the queue was. */
Test(sum, deadline_in_the_queue) {
  setup();
  fb(1);
  tinker_future_t *step = optim();
  tinker_future_t *late = bench_submit(&b, &bench_batch, turn, 1, 10, 100);
  tinker_future_t *its = optim(), *next = fb(1), *after = optim();
  bench_advance(&b, 100);
  cr_assert_eq(bench_code(late), TINKER_ETIMEDOUT);
  accept("batch");
  cr_assert_eq(bench_out(&b, "optim"), 1u); /* it has nothing to do with it */
  accept("optim");
  cr_assert_eq(bench_code(step), 1);
  refused(its, false);
  accept("batch");
  accept("optim");
  cr_assert_eq(bench_code(next), 1);
  cr_assert_eq(bench_code(after), 1);
  done();
}

/* A whole step whose deadline passes leaves the others as they are, at the
 * queue's end, too. */
Test(sum, a_whole_step_ends_in_the_queue) {
  for (int more = 0; more < 2; more++) {
    setup();
    fb(1);
    optim();
    bench_submit(&b, &bench_batch, turn, 1, 10, 100);
    bench_submit(&b, &bench_optim, turn, 1, 10, 100);
    if (more) fb(1);
    bench_advance(&b, 100);
    if (!more) fb(1);
    accept("batch");
    accept("optim");
    cr_assert_eq(bench_out(&b, "batch"), 1u);
    accept("batch");
    steps();
    done();
  }
}

/* The caller cancels it: so it is the caller's wish. What others before it have
 * left still counts. */
Test(sum, canceled_in_the_queue) {
  setup();
  fb(1);
  tinker_future_t *late = bench_submit(&b, &bench_batch, turn, 1, 10, 100);
  tinker_future_t *f = fb(1), *step = optim();
  bench_cancel(&b, f);
  accept("batch");
  accept("batch");
  cr_assert_eq(bench_code(late), 1);
  cr_assert_eq(bench_out(&b, "optim"), 1u);
  done();
  setup();
  fb(1);
  bench_submit(&b, &bench_batch, turn, 1, 10, 100);
  f = fb(1);
  step = optim();
  bench_advance(&b, 100);
  bench_cancel(&b, f);
  accept("batch");
  refused(step, true);
  done();
}

/* The door refuses a forward_backward, or an optim_step. */
Test(sum, refused_at_the_door) {
  doorman_t d;
  setup();
  doorman_open(&d, &b);
  d.answer = TINKER__ADMIT_LATER;
  tinker_future_t *f = fb(1), *step = optim();
  cr_assert(doorman_refuse(&d, 1));
  cr_assert_eq(bench_code(f), TINKER_EBUSY);
  refused(step, false);
  f = fb(1);
  step = optim();
  tinker_future_t *next = fb(1);
  cr_assert(doorman_go(&d, 2));
  accept("batch");
  cr_assert(doorman_refuse(&d, 3));
  cr_assert_eq(bench_code(step), TINKER_EBUSY);
  refused(next, false);
  is(TINKER__SUM_DIRTY, 1);
  done();
}

/* A call that was refused before it became an operation counts in its place. */
Test(sum, refused_call) {
  setup();
  fb(1);
  tinker_future_t *step = optim();
  tinker__turn_refused(turn, TINKER__EFFECT_ADD);
  tinker_future_t *its = optim(), *next = fb(1);
  accept("batch");
  accept("optim");
  cr_assert_eq(bench_code(step), 1);
  refused(its, false);
  cr_assert_eq(bench_code(next), 1);
  accept("batch");
  tinker__turn_refused(turn, TINKER__EFFECT_CHANGE);
  steps();
  done();
}

/* Acceptance covers all that has failed until now, in the queue as well. */
Test(sum, acceptance) {
  setup();
  fb(1);
  tinker_future_t *late = bench_submit(&b, &bench_batch, turn, 1, 10, 100);
  tinker_future_t *step = optim();
  bench_submit(&b, &bench_batch, turn, 1, 10, 100);
  bench_advance(&b, 100);
  cr_assert_eq(bench_code(late), TINKER_ETIMEDOUT);
  tinker__turn_accept_partial(turn);
  accept("batch");
  accept("optim");
  cr_assert_eq(bench_code(step), 1);
  fb(1);
  accept("batch");
  steps();
  done();
}
