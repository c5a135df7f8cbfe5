/* What is said of an operation whose waiting has ended: whether the server may
 * carry it out all the same. A wrong "nothing was done" makes a caller do it
 * twice. */
#include <criterion/criterion.h>
#include <string.h>

#include "base/error.h"
#include "bench.h"

static bench_t b;

/* How far an operation has come when its waiting ends. */
typedef enum {
  QUEUED,   /* another one has the turn, or no sample may go */
  OUT,      /* its request is out */
  UNSENT,   /* waits to be sent again; nothing was sent */
  MAYBE,    /* the same; it may have arrived */
  UNHEARD,  /* the same; a proxy answered 503 */
  POLLING,  /* accepted */
  RESUBMIT, /* a sample whose result was lost */
  STAGES
} stage_t;

static tinker_future_t *bring_to(stage_t stage, const tinker__kind_t *kind,
                                 tinker__turn_t *turn, int64_t timeout_ms) {
  static const bench_reply_t failures[STAGES] = {
      [UNSENT] = {.error = TINKER_ECONNECT},
      [MAYBE] = {.error = TINKER_ETRANSPORT, .sent = true},
      [UNHEARD] = {.status = 503}};
  if (stage == QUEUED && kind == &bench_numbered) {
    bench_submit(&b, kind, turn, 1, 10, -1);
  }
  if (stage == QUEUED && kind == &bench_sample) b.flow.limits.samples = 0;
  tinker_future_t *f = bench_submit(&b, kind, turn, 1, 10, timeout_ms);
  size_t i = bench_first(&b, kind->path);
  if (stage >= UNSENT && stage <= UNHEARD) bench_answer(&b, i, failures[stage]);
  if (stage >= POLLING) bench_accept(&b, i);
  if (stage == RESUBMIT) {
    bench_answer(&b, bench_first(&b, BENCH_POLL),
                 (bench_reply_t){.status = 410});
  }
  cr_assert_eq(bench_code(f), 1, "%s at stage %d", kind->name, (int)stage);
  return f;
}

static const struct {
  const tinker__kind_t *kind;
  stage_t stage;
  bool unknown;
} rows[] = {{&bench_numbered, QUEUED, false}, {&bench_numbered, OUT, true},
            {&bench_numbered, UNSENT, true},  {&bench_numbered, MAYBE, true},
            {&bench_numbered, POLLING, true}, {&bench_sample, QUEUED, false},
            {&bench_sample, OUT, true},       {&bench_sample, UNSENT, false},
            {&bench_sample, MAYBE, true},     {&bench_sample, UNHEARD, true},
            {&bench_sample, POLLING, true},   {&bench_sample, RESUBMIT, true},
            {&bench_once, OUT, true},         {&bench_once, UNSENT, false},
            {&bench_once, POLLING, true},     {&bench_read, OUT, false},
            {&bench_read, MAYBE, false}};

static void check(size_t i, bool by_cancel) {
  const tinker__kind_t *kind = rows[i].kind;
  bool turned = kind == &bench_numbered || kind == &bench_sample;
  bench_open(&b);
  tinker__turn_t *turn =
      turned ? bench_turn(&b, kind == &bench_numbered) : NULL;
  tinker_future_t *f =
      bring_to(rows[i].stage, kind, turn, by_cancel ? -1 : 100);
  if (by_cancel) {
    bench_cancel(&b, f);
  } else {
    bench_advance(&b, 100);
  }
  cr_assert_eq(bench_code(f), by_cancel ? TINKER_ECANCELED : TINKER_ETIMEDOUT,
               "row %zu", i);
  cr_assert_eq(tinker_error_outcome_is_unknown(f->error), rows[i].unknown,
               "row %zu: %s", i, tinker_error_message(f->error));
  cr_assert_eq(tinker_error_is_retriable(f->error), !rows[i].unknown);
  cr_assert_not_null(strstr(tinker_error_message(f->error),
                            rows[i].unknown
                                ? "the server may carry it out all the same"
                                : "nothing of it was carried out"));
  tinker__turn_release(turn);
  bench_close(&b);
}

Test(flow, advice_after_cancel_and_deadline) {
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
    for (int by_cancel = 0; by_cancel < 2; by_cancel++) check(i, by_cancel);
  }
}

/* A number that was taken is delivered although nobody waits any more, and the
 * next call gets its turn only then. */
Test(flow, a_canceled_number_is_still_delivered) {
  bench_open(&b);
  tinker__turn_t *turn = bench_turn(&b, true);
  tinker_future_t *f = bring_to(UNHEARD, &bench_numbered, turn, -1);
  tinker_future_t *g = bench_submit(&b, &bench_numbered, turn, 1, 10, -1);
  bench_cancel(&b, f);
  cr_assert_eq(bench_out(&b, "step"), 0u);
  bench_advance(&b, 1000);
  cr_assert_eq(bench_out(&b, "step"), 1u);
  size_t i = bench_first(&b, "step");
  cr_assert_eq(bench_seq(&b, i), 1);
  bench_accept(&b, i);
  cr_assert_eq(bench_seq(&b, bench_first(&b, "step")), 2);
  cr_assert_eq(bench_out(&b, BENCH_POLL), 0u); /* nobody wants its result */
  cr_assert_eq(bench_code(g), 1);
  tinker__turn_release(turn);
  bench_close(&b);
}

/* Bytes of a batch come back whatever way its submission ends. */
Test(flow, bytes_of_batches_come_back) {
  static const bench_reply_t ends[] = {
      {.status = 401},
      {.status = 422, .body = "{\"detail\":\"no\"}"},
      {.status = 410},
      {.body = "{\"request_id\":\"r\"}"}};
  tinker__flow_limits_t limits;
  for (size_t i = 0; i < sizeof ends / sizeof *ends; i++) {
    bench_open(&b);
    tinker__flow_default_limits(&limits);
    limits.fb_bytes = 100;
    tinker__flow_set_limits(&b.flow, &limits);
    tinker__turn_t *one = bench_turn(&b, true), *two = bench_turn(&b, true);
    bench_submit(&b, &bench_batch, one, 1, 500, -1);
    bench_submit(&b, &bench_batch, two, 1, 50, -1);
    cr_assert_eq(bench_out(&b, "batch"), 1u);
    bench_answer(&b, 0, ends[i]);
    cr_assert_eq(bench_out(&b, "batch"), 1u, "%zu", i); /* the other's */
    cr_assert_eq(b.flow.fb.left, 50, "%zu", i);
    tinker__turn_release(one);
    tinker__turn_release(two);
    bench_close(&b);
  }
}

/* Close ends all, queued and sent, once; what comes in later is refused. */
Test(flow, close) {
  bench_open(&b);
  tinker__turn_t *turn = bench_turn(&b, true);
  tinker_future_t *f[3];
  for (int i = 0; i < 2; i++) {
    f[i] = bench_submit(&b, &bench_numbered, turn, 1, 10, -1);
  }
  tinker__flow_close(&b.flow, b.now_ms);
  f[2] = bench_submit(&b, &bench_numbered, turn, 1, 10, -1);
  for (int i = 0; i < 3; i++) cr_assert_eq(bench_code(f[i]), TINKER_ECLOSED);
  cr_assert(tinker_error_outcome_is_unknown(f[0]->error));
  cr_assert(!tinker_error_outcome_is_unknown(f[1]->error));
  cr_assert(b.sends[0].canceled && b.count == 1);
  cr_assert_not(tinker__flow_idle(&b.flow)); /* a request is still out */
  cr_assert_eq(tinker__flow_live(&b.flow), 0u);
  tinker__turn_release(turn);
  bench_close(&b);
}

/* A time that seems to go back changes nothing: no deadline comes twice, no
 * pause grows. */
Test(flow, time_never_goes_back) {
  bench_open(&b);
  tinker__turn_t *turn = bench_turn(&b, true);
  bench_submit(&b, &bench_numbered, turn, 1, 10, -1);
  int64_t now = b.now_ms;
  b.now_ms -= 500000;
  bench_answer(&b, 0, (bench_reply_t){.status = 503});
  cr_assert_geq(b.wake_ms, now);
  cr_assert_leq(b.wake_ms, now + 1000);
  b.now_ms = now;
  tinker__turn_release(turn);
  bench_close(&b);
}
