/* What is shown of operations that wait: the state that anybody may ask for,
 * events, and one warning for all that the same thing holds. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "doorman.h"

static bench_t b;
static tinker__turn_t *turn;

static void setup(bool events) {
  bench_open(&b);
  bench_listen(&b, events);
  turn = bench_turn(&b, true);
}

static void done(void) {
  tinker__turn_release(turn);
  bench_close(&b);
}

static tinker_future_t *step(void) {
  return bench_submit(&b, &bench_numbered, turn, 1, 10, -1);
}

static tinker_progress_t shown(tinker_future_t *f) {
  tinker__seen_t seen;
  tinker__future_see(f, &seen);
  return seen.now;
}

/* The lines that were heard begin as these; NULL ends them. */
static void heard(const char *const *wanted) {
  char text[2048], *rest = text;
  snprintf(text, sizeof text, "%s", bench_heard(&b));
  for (size_t i = 0; wanted[i]; i++) {
    char *line = rest, *end = strchr(rest, '\n');
    cr_assert_not_null(end, "wanted \"%s\", got nothing", wanted[i]);
    *end = 0;
    rest = end + 1;
    cr_assert_eq(strncmp(line, wanted[i], strlen(wanted[i])), 0,
                 "wanted \"%s\", got \"%s\"", wanted[i], line);
  }
  cr_assert_str_empty(rest);
}
#define HEARD(...) heard((const char *const[]){__VA_ARGS__ NULL})

static void poll(const char *body) {
  bench_answer(&b, bench_first(&b, BENCH_POLL), (bench_reply_t){.body = body});
}

/* What the n-th attempt of the trainer's calls meets. */
static void meet(bench_reply_t reply) {
  bench_answer(&b, bench_first(&b, "step"), reply);
}

/* Until the next attempt is out; it meets the same. */
static void keep_meeting(bench_reply_t reply, int64_t ms) {
  int64_t end = b.now_ms + ms;
  while (b.now_ms < end) {
    if (bench_out(&b, "step")) meet(reply);
    bench_advance(&b, 100);
  }
}

typedef struct cause_s {
  bench_reply_t reply;
  tinker_hold_t hold;
  const char *text; /* part of the warning */
} cause_t;

static const cause_t causes[] = {
    {{.status = 402}, TINKER_HOLD_BILLING, "402"},
    {{.status = 503}, TINKER_HOLD_SERVER, "503"},
    {{.status = 429}, TINKER_HOLD_PUSHED_BACK, "429"},
    {{.error = TINKER_ECONNECT}, TINKER_HOLD_UNREACHABLE, "could not connect"},
};

static void next_poll(void) {
  while (!bench_out(&b, BENCH_POLL)) bench_advance(&b, 10);
}

/* Nothing is said for 2 s, then once, then every 30 s; and when it goes on. */
Test(news, a_warning_names_cause_and_time) {
  for (size_t i = 0; i < sizeof causes / sizeof *causes; i++) {
    setup(false);
    tinker_future_t *f = step();
    keep_meeting(causes[i].reply, 1900);
    cr_assert_eq(shown(f).hold, causes[i].hold, "case %zu", i);
    cr_assert_eq(shown(f).stage, TINKER_STAGE_SENT);
    cr_assert(strstr(shown(f).reason, causes[i].text), "%s", shown(f).reason);
    cr_assert_str_eq(shown(f).failure, shown(f).reason);
    cr_assert_str_empty(bench_heard(&b), "case %zu", i);
    keep_meeting(causes[i].reply, 200);
    const char *text = bench_heard(&b);
    cr_assert_eq(strncmp(text, "warning: #1 step: held for 2 s: ", 32), 0,
                 "case %zu: %s", i, text);
    cr_assert(strstr(text, causes[i].text), "%s", text);
    keep_meeting(causes[i].reply, 29800);
    cr_assert_str_empty(bench_heard(&b), "case %zu", i);
    keep_meeting(causes[i].reply, 200);
    HEARD("warning: #1 step: held for 32 s: ", );
    while (!bench_out(&b, "step")) bench_advance(&b, 100);
    bench_accept(&b, bench_first(&b, "step"));
    HEARD("info: #1 step: goes on, was held for ", );
    cr_assert_eq(shown(f).hold, TINKER_HOLD_NONE);
    cr_assert_eq(shown(f).stage, TINKER_STAGE_RUNNING);
    cr_assert_str_empty(shown(f).reason);
    cr_assert(strstr(shown(f).failure, causes[i].text));
    done();
  }
}

#define PAUSED(reason)                                                         \
  "{\"type\":\"try_again\",\"queue_state\":\"paused_capacity\","               \
  "\"queue_state_reason\":\"" reason "\"}"

/* A queue that stands still is told within one poll, each new reason too. */
Test(news, a_paused_queue) {
  setup(true);
  tinker_future_t *f = step();
  bench_accept(&b, 0);
  poll(PAUSED("place 9"));
  HEARD("held #1 queue 0 0 0/0 place 9", );
  cr_assert_eq(shown(f).stage, TINKER_STAGE_PAUSED);
  cr_assert_str_eq(shown(f).reason, "place 9");
  next_poll();
  poll(PAUSED("place 8"));
  HEARD("held #1 queue 0 0 0/0 place 8", );
  next_poll();
  poll(PAUSED("place 8"));
  HEARD(NULL, );
  next_poll();
  bench_advance(&b, 3000);
  HEARD("warning: #1 step: held for 2 s: place 8", );
  poll("{\"type\":\"try_again\",\"queue_state\":\"active\"}");
  HEARD("let go #1 queue 0 ", "info: #1 step: goes on, was held for ", );
  cr_assert_eq(shown(f).stage, TINKER_STAGE_RUNNING);
  done();
}

/* A poll that the server let run out is no failure; its body may tell of the
 * queue. */
Test(news, polls_that_run_out) {
  setup(true);
  tinker_future_t *f = step();
  bench_accept(&b, 0);
  size_t i = bench_first(&b, BENCH_POLL);
  bench_answer(&b, i, (bench_reply_t){.status = 408, .body = "<html>"});
  HEARD(NULL, );
  cr_assert_eq(shown(f).hold, TINKER_HOLD_NONE);
  cr_assert_eq(shown(f).failures, 0u);
  next_poll();
  i = bench_first(&b, BENCH_POLL);
  bench_answer(&b, i,
               (bench_reply_t){.status = 408,
                               .body = "{\"queue_state\":\"paused_capacity\","
                                       "\"queue_state_reason\":\"busy\"}"});
  HEARD("held #1 queue 0 0 0/0 busy", );
  cr_assert_eq(shown(f).stage, TINKER_STAGE_PAUSED);
  next_poll();
  i = bench_first(&b, BENCH_POLL);
  bench_answer(&b, i, (bench_reply_t){.status = 408, .body = "{}"});
  HEARD("let go #1 queue", );
  done();
}

/* A call that is not sent, since another trainer's was pushed back. */
Test(news, others_wait_after_a_429) {
  setup(false);
  tinker__turn_t *other = bench_turn(&b, true);
  step();
  meet((bench_reply_t){.status = 429, .retry_after_ms = 20000});
  tinker_future_t *f = bench_submit(&b, &bench_numbered, other, 1, 10, -1);
  cr_assert_eq(bench_out(&b, "step"), 0u);
  cr_assert_eq(shown(f).hold, TINKER_HOLD_PUSHED_BACK);
  cr_assert_eq(shown(f).attempts, 0u);
  bench_advance(&b, 2000);
  HEARD("warning: #1 step and 1 more: held for 2 s: ", );
  tinker__turn_release(other);
  done();
}

/* Refused while it is held: it does not go on. */
Test(news, refused_at_the_door) {
  doorman_t d;
  setup(true);
  doorman_open(&d, &b);
  d.answer = TINKER__ADMIT_LATER;
  tinker_future_t *f = step();
  HEARD("held #1 admission", );
  bench_advance(&b, 1000);
  bench_cancel(&b, f);
  HEARD(NULL, );
  cr_assert_eq(shown(f).hold, TINKER_HOLD_NONE);
  done();
}

/* Words of a server may be anything. */
Test(news, words_are_shown_as_on_a_terminal) {
  setup(true);
  tinker_future_t *f = step();
  bench_accept(&b, 0);
  poll(PAUSED("x\\u001b[2J\\ny"));
  cr_assert_str_eq(shown(f).reason, "x\\u001b[2J\\u000ay");
  HEARD("held #1 queue 0 0 0/0 x\\u001b[2J\\u000ay", );
  done();
}

/* A hundred that the same thing holds are one line; those that wait behind one
 * of them are not held themselves. */
Test(news, one_line_for_many) {
  enum { MANY = 100 };
  setup(false);
  tinker__turn_t *turns[MANY];
  for (int i = 0; i < MANY; i++) {
    turns[i] = bench_turn(&b, true);
    bench_submit(&b, &bench_numbered, turns[i], 1, 10, -1);
    tinker_future_t *next =
        bench_submit(&b, &bench_numbered, turns[i], 1, 10, -1);
    cr_assert_eq(shown(next).stage, TINKER_STAGE_QUEUED);
    cr_assert_eq(shown(next).hold, TINKER_HOLD_NONE);
  }
  for (int i = 0; i < 400; i++) {
    while (bench_out(&b, "step")) meet((bench_reply_t){.status = 503});
    bench_advance(&b, 100);
  }
  const char *text = bench_heard(&b);
  char *second = strchr(text, '\n') + 1;
  cr_assert(strstr(text, " step and 99 more: held for 2 s: "), "%s", text);
  cr_assert(strstr(second, " step and 99 more: held for 32 s: "), "%s", second);
  cr_assert_str_eq(strchr(second, '\n'), "\n");
  for (int i = 0; i < MANY; i++) tinker__turn_release(turns[i]);
  done();
}

/* Another cause is another line, and the time counts from the first one. */
Test(news, another_cause) {
  setup(true);
  step();
  meet((bench_reply_t){.status = 503});
  HEARD("held #1 server", "retry #1 none 1", );
  while (!bench_out(&b, "step")) bench_advance(&b, 100);
  meet((bench_reply_t){.error = TINKER_ECONNECT});
  HEARD("held #1 unreachable", "retry #1 none 2", );
  bench_advance(&b, 60000);
  cr_assert(strstr(bench_heard(&b), "warning: #1 step: held for 2 s: could not "
                                    "connect"));
  done();
}

/* Nobody waits for it any more: nothing is said. */
Test(news, an_end_ends_the_warnings) {
  setup(false);
  tinker_future_t *f = step();
  meet((bench_reply_t){.status = 503});
  bench_advance(&b, 1000);
  bench_cancel(&b, f);
  cr_assert_eq(shown(f).stage, TINKER_STAGE_ENDED);
  cr_assert_eq(shown(f).age_ms, 1000);
  for (int i = 0; i < 100; i++) {
    if (bench_out(&b, "step")) meet((bench_reply_t){.status = 503});
    bench_advance(&b, 1000);
  }
  HEARD(NULL, );
  done();
}

static const tinker__kind_t waits = {
    .name = "step",
    .path = "step",
    .retry = TINKER__RETRY_NUMBERED,
    .method = TINKER__HTTP_POST,
    .lane = TINKER__LANE_SUBMIT,
    .needs = TINKER__NEEDS_SESSION,
    .request_type = "Step",
    .effect = TINKER__EFFECT_CHANGE,
};

Test(news, the_session_is_not_there) {
  setup(true);
  tinker_future_t *f = bench_submit(&b, &waits, turn, 1, 10, -1);
  HEARD("held #1 session 0 0 0/0 the service has not answered yet", );
  bench_advance(&b, 2000);
  HEARD("warning: #1 step: held for 2 s: the service has not answered yet", );
  cr_assert_eq(shown(f).stage, TINKER_STAGE_QUEUED);
  b.trouble = "nothing listens";
  bench_advance(&b, 30000);
  HEARD("warning: #1 step: held for 32 s: nothing listens", );
  cr_assert_str_eq(shown(f).reason, "nothing listens");
  tinker__flow_ready(&b.flow, TINKER__NEEDS_SESSION, NULL, b.now_ms);
  HEARD("let go #1 session 0 32000",
        "info: #1 step: goes on, was held for 32", );
  cr_assert_eq(shown(f).stage, TINKER_STAGE_SENT);
  done();
}

/* The program's own check counts, too. */
Test(news, admission) {
  doorman_t d;
  setup(true);
  doorman_open(&d, &b);
  d.answer = TINKER__ADMIT_LATER;
  tinker_future_t *f = step();
  HEARD("held #1 admission 0 0 0/0 nobody has admitted it yet", );
  cr_assert_eq(shown(f).stage, TINKER_STAGE_QUEUED);
  bench_advance(&b, 2000);
  HEARD("warning: #1 step: held for 2 s: nobody has admitted it yet", );
  tinker__flow_admitted(&b.flow, 1, NULL, b.now_ms);
  HEARD("let go #1 admission 0 2000", "info: #1 step: goes on", );
  cr_assert_eq(shown(f).stage, TINKER_STAGE_SENT);
  done();
}

/* Counts of a call of three requests. */
Test(news, parts) {
  setup(true);
  tinker_future_t *f = bench_submit(&b, &bench_batch, turn, 3, 10, -1);
  cr_assert_eq(shown(f).parts, 3u);
  for (uint32_t i = 0; i < 3; i++) {
    cr_assert_eq(shown(f).accepted, i);
    cr_assert_eq(shown(f).stage, TINKER_STAGE_SENT);
    bench_accept(&b, bench_first(&b, "batch"));
  }
  cr_assert_eq(shown(f).stage, TINKER_STAGE_RUNNING);
  cr_assert_eq(shown(f).attempts, 3u);
  for (uint32_t i = 0; i < 3; i++) {
    cr_assert_eq(shown(f).done, i);
    poll("{\"metrics\":{}}");
  }
  HEARD("part #1 none 0 0 1/3", "part #1 none 0 0 2/3",
        "part #1 none 0 0 3/3", );
  cr_assert_eq(shown(f).stage, TINKER_STAGE_ENDED);
  cr_assert_eq(shown(f).done, 3u);
  cr_assert_geq(shown(f).polls, 3u);
  done();
}

/* Of two parts one gets through: the operation is held by the other. */
Test(news, held_as_long_as_one_part_is) {
  setup(false);
  tinker_future_t *f = bench_submit(&b, &bench_batch, turn, 2, 10, -1);
  bench_accept(&b, bench_first(&b, "batch"));
  bench_accept(&b, bench_first(&b, "batch"));
  size_t first = bench_first(&b, BENCH_POLL);
  bench_answer(&b, first, (bench_reply_t){.body = PAUSED("a")});
  size_t second = bench_first(&b, BENCH_POLL);
  bench_answer(&b, second, (bench_reply_t){.body = PAUSED("b")});
  while (bench_out(&b, BENCH_POLL) < 2) bench_advance(&b, 10);
  poll("{\"metrics\":{}}");
  cr_assert_eq(shown(f).hold, TINKER_HOLD_QUEUE);
  poll("{\"metrics\":{}}");
  cr_assert_eq(shown(f).hold, TINKER_HOLD_NONE);
  done();
}
