/* The bench of the flow's tests, see bench.h. */
#include "bench.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "wire/messages.h"

#define POST(name_, path_, class_)                                             \
  .name = (name_), .path = (path_), .retry = (class_),                         \
  .method = TINKER__HTTP_POST, .lane = TINKER__LANE_SUBMIT

const tinker__kind_t bench_numbered = {
    POST("step", "step", TINKER__RETRY_NUMBERED),
    .request_type = "Step",
    .effect = TINKER__EFFECT_CHANGE,
};
const tinker__kind_t bench_batch = {
    POST("batch", "batch", TINKER__RETRY_NUMBERED),
    .request_type = "Batch",
    .effect = TINKER__EFFECT_ADD,
    .fb_quota = true,
};
const tinker__kind_t bench_optim = {
    POST("optim", "optim", TINKER__RETRY_NUMBERED),
    .request_type = "Optim",
    .effect = TINKER__EFFECT_STEP,
};
const tinker__kind_t bench_sample = {
    POST("sample", "sample", TINKER__RETRY_SAMPLE), .request_type = "Sample"};
const tinker__kind_t bench_once = {
    POST("make", "make", TINKER__RETRY_ONCE),
    .request_type = "Make",
    .effect = TINKER__EFFECT_CHANGE,
};
const tinker__kind_t bench_repeat = {
    POST("set", "set", TINKER__RETRY_REPEAT),
    .effect = TINKER__EFFECT_CHANGE,
};
const tinker__kind_t bench_delete = {
    .name = "delete",
    .path = "delete",
    .retry = TINKER__RETRY_REPEAT,
    .method = TINKER__HTTP_DELETE,
    .lane = TINKER__LANE_CONTROL,
    .effect = TINKER__EFFECT_CHANGE,
};
const tinker__kind_t bench_read = {POST("look", "look", TINKER__RETRY_READ)};

/* --- the sink --- */

static int sink_send(void *user, tinker__http_request_t *r) {
  bench_t *b = user;
  if (b->refuse) return b->refuse;
  cr_assert_lt(b->count, (size_t)BENCH_SENDS);
  bench_send_t *s = &b->sends[b->count++];
  *s = (bench_send_t){
      .request = r,
      .at_ms = b->now_ms,
      .timeout_ms = r->timeout_ms,
  };
  snprintf(s->path, sizeof s->path, "%s", r->path);
  tinker__piece_t whole;
  tinker__place_t place = {0};
  tinker__pieces_t body = tinker__http_body(r, &whole);
  s->body[tinker__pieces_read(&body, &place, s->body, sizeof s->body - 1)] = 0;
  return 0;
}

static void sink_cancel(void *user, tinker__http_request_t *r) {
  bench_t *b = user;
  for (size_t i = 0; i < b->count; i++) {
    if (b->sends[i].request == r) b->sends[i].canceled = true;
  }
}

static void sink_settled(void *user, tinker_future_t *f) {
  bench_t *b = user;
  if (b->ended_count < BENCH_OPS) b->ended[b->ended_count++] = f;
  tinker__future_unref(f);
}

static void sink_wake_at(void *user, int64_t at_ms) {
  ((bench_t *)user)->wake_ms = at_ms;
}

static void hear(bench_t *b, const char *line) {
  size_t n = strlen(b->heard);
  snprintf(b->heard + n, sizeof b->heard - n, "%s\n", line);
}

static void sink_event(void *user, const tinker_event_t *e) {
  static const char *const names[] = {"",      "held", "let go",
                                      "retry", "part", NULL};
  char line[300];
  snprintf(line, sizeof line, "%s #%llu %s %u %lld %u/%u %s", names[e->kind],
           (unsigned long long)e->id, tinker_hold_name(e->hold), e->attempts,
           (long long)e->ms, e->done, e->parts, e->text);
  hear(user, line);
}

static void on_log(void *user, tinker_log_level_t level, const char *component,
                   const char *message) {
  char line[TINKER__LOG_MESSAGE_LEN + 32];
  cr_assert_str_eq(component, "flow");
  snprintf(line, sizeof line, "%s: %s", tinker_log_level_name(level), message);
  hear(user, line);
}

static const char *sink_trouble(void *user) {
  return ((bench_t *)user)->trouble;
}

void bench_listen(bench_t *b, bool events) {
  cr_assert_eq(
      tinker__log_new(&b->log, &b->mem, TINKER_LOG_INFO, 64, NULL, NULL), 0);
  b->flow.log = b->log;
  b->flow.tells = events;
}

const char *bench_heard(bench_t *b) {
  static char text[sizeof b->heard];
  tinker__log_drain(b->log, on_log, b);
  snprintf(text, sizeof text, "%s", b->heard);
  b->heard[0] = 0;
  return text;
}

static void sink_over(void *user) {
  ((bench_t *)user)->over++;
}

static void sink_need(void *user, tinker__needs_t need) {
  ((bench_t *)user)->needs[need]++;
}

static const tinker__sink_t sink = {
    .send = sink_send,
    .cancel = sink_cancel,
    .settled = sink_settled,
    .wake_at = sink_wake_at,
    .event = sink_event,
    .trouble = sink_trouble,
    .over = sink_over,
    .need = sink_need,
};

/* --- operations --- */

static tinker_error_t *decode(tinker_future_t *f) {
  (void)f;
  return NULL;
}

static void free_result(tinker_future_t *f) {
  (void)f;
}

static const tinker__future_ops_t ops = {decode, free_result};

void bench_open(bench_t *b) {
  memset(b, 0, sizeof *b);
  b->now_ms = 1000000;
  b->wake_ms = -1;
  tinker__mem_init(&b->mem, NULL, 0);
  tinker__flow_init(&b->flow, &sink, b, &b->mem, 7);
}

tinker__turn_t *bench_turn(bench_t *b, bool ordered) {
  tinker__turn_t *turn = NULL;
  cr_assert_eq(tinker__turn_new(&turn, &b->mem, "m", ordered), 0);
  return turn;
}

void bench_fill(tinker__op_t *op, uint64_t bytes) {
  tinker__optim_step_t step = {.has_adam_params = true};
  for (size_t i = 0; i < op->count; i++) {
    tinker__part_t *part = &op->parts[i];
    cr_assert_eq(tinker__message_encode_numbered(&part->body, op->mem,
                                                 &tinker__optim_step_msg, &step,
                                                 TINKER__STR("m")),
                 0);
    part->body.estimate = bytes;
  }
}

static tinker__op_t *new_op(bench_t *b, const tinker__kind_t *kind,
                            tinker__turn_t *turn, size_t parts,
                            uint64_t bytes) {
  tinker__op_t *op = NULL;
  tinker_future_t *f = NULL;
  cr_assert_eq(tinker__future_new(&f, &b->mem, &ops, parts, NULL, NULL), 0);
  cr_assert_eq(tinker__op_new(&op, &b->mem, kind, parts, f), 0);
  cr_assert_lt(b->future_count, (size_t)BENCH_OPS);
  b->futures[b->future_count++] = f;
  bench_fill(op, bytes);
  if (turn) {
    op->turn = tinker__turn_retain(turn);
    op->before = tinker__turn_take_refused(turn);
  }
  return op;
}

tinker_future_t *bench_submit(bench_t *b, const tinker__kind_t *kind,
                              tinker__turn_t *turn, size_t parts,
                              uint64_t bytes, int64_t timeout_ms) {
  tinker__op_t *op = new_op(b, kind, turn, parts, bytes);
  tinker_future_t *f = op->future;
  if (timeout_ms >= 0) op->deadline_ms = b->now_ms + timeout_ms;
  tinker__flow_submit(&b->flow, op, b->now_ms);
  return f;
}

tinker_future_t *bench_submit_ahead(bench_t *b, const tinker__kind_t *kind,
                                    tinker__turn_t *turn) {
  tinker__op_t *op = new_op(b, kind, turn, 1, 10);
  tinker_future_t *f = op->future;
  op->ahead = true;
  tinker__flow_submit(&b->flow, op, b->now_ms);
  return f;
}

void bench_cancel(bench_t *b, tinker_future_t *f) {
  cr_assert_not_null(f->op);
  tinker__flow_cancel(&b->flow, f->op, b->now_ms);
}

/* --- answers and time --- */

void bench_answer(bench_t *b, size_t i, bench_reply_t in) {
  cr_assert_lt(i, b->count, "there is no such request");
  tinker__http_request_t *request = b->sends[i].request;
  cr_assert_not_null(request, "request %zu is answered already", i);
  tinker__http_reply_t reply = {
      .error = in.error,
      .sent = in.error ? in.sent : true,
      .status = in.error    ? 0
                : in.status ? in.status
                            : 200,
      .content_type = "application/json",
      .retry_after_ms = in.retry_after_ms ? in.retry_after_ms : -1,
      .should_retry = in.should_retry ? in.should_retry > 0 : -1,
      .content_length = -1,
  };
  tinker__buf_init(&reply.body, &b->mem, 1 << 20);
  const char *refusal = in.status >= 400 ? "{\"detail\":\"refused\"}" : "";
  tinker__buf_adds(&reply.body, in.body ? in.body : refusal);
  b->sends[i].request = NULL;
  tinker__flow_reply(&b->flow, request, &reply, b->now_ms);
  tinker__buf_free(&reply.body);
}

void bench_accept(bench_t *b, size_t i) {
  char body[64];
  snprintf(body, sizeof body, "{\"request_id\":\"r%zu\"}", i);
  bench_answer(b, i, (bench_reply_t){.body = body});
}

void bench_advance(bench_t *b, int64_t ms) {
  int64_t end = b->now_ms + ms;
  while (b->wake_ms >= 0 && b->wake_ms <= end) {
    if (b->wake_ms > b->now_ms) b->now_ms = b->wake_ms;
    b->wake_ms = -1; /* a timer rings once */
    tinker__flow_tick(&b->flow, b->now_ms);
  }
  b->now_ms = end;
}

size_t bench_out(const bench_t *b, const char *path) {
  size_t n = 0;
  for (size_t i = 0; i < b->count; i++) {
    n += b->sends[i].request && (!path || !strcmp(b->sends[i].path, path));
  }
  return n;
}

size_t bench_first(const bench_t *b, const char *path) {
  for (size_t i = 0; i < b->count; i++) {
    if (b->sends[i].request && !strcmp(b->sends[i].path, path)) return i;
  }
  return BENCH_SENDS;
}

long bench_seq(const bench_t *b, size_t i) {
  const char *at = strstr(b->sends[i].body, "\"seq_id\":");
  return at ? strtol(at + 9, NULL, 10) : -1;
}

int bench_code(const tinker_future_t *f) {
  if (tinker__future_state(f) == TINKER__FUTURE_PENDING) return 1;
  return f->error ? tinker_error_code(f->error) : 0;
}

void bench_close(bench_t *b) {
  b->mem.fail_at = 0;
  b->flow.tells = false;
  tinker__flow_close(&b->flow, b->now_ms);
  for (size_t i = 0; i < b->count; i++) {
    if (b->sends[i].request) {
      bench_answer(b, i,
                   (bench_reply_t){.error = TINKER_ECANCELED, .sent = true});
    }
  }
  cr_assert(tinker__flow_idle(&b->flow));
  for (size_t i = 0; i < b->future_count; i++) {
    cr_assert_neq(bench_code(b->futures[i]), 1, "operation %zu", i);
    tinker__future_unref(b->futures[i]);
  }
  tinker__log_free(b->log);
  cr_assert_eq(atomic_load(&b->mem.live_blocks), 0);
}
