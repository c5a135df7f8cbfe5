/* The events of operations and what follows from them, see flow.h. */
#include "flow/flow.h"

#include "base/check.h"
#include "flow/internal.h"

void tinker__flow_default_limits(tinker__flow_limits_t *limits) {
  *limits = (tinker__flow_limits_t){
      .fb_bytes = 50000000,
      .sample_bytes = 10485760,
      .reply_bytes = 52428800,
      .poll_places = 8,
      .samples = 400,
  };
  tinker__retry_default_limits(&limits->retry);
}

void tinker__flow_set_limits(tinker__flow_t *flow,
                             const tinker__flow_limits_t *limits) {
  flow->fb.left += limits->fb_bytes - flow->limits.fb_bytes;
  flow->sample_bytes.left += limits->sample_bytes - flow->limits.sample_bytes;
  flow->replies.left += limits->reply_bytes - flow->limits.reply_bytes;
  flow->limits = *limits;
}

void tinker__flow_init(tinker__flow_t *flow, const tinker__sink_t *sink,
                       void *user, tinker__mem_t *mem, uint64_t seed) {
  *flow = (tinker__flow_t){.sink = sink,
                           .user = user,
                           .mem = mem,
                           .seed = seed,
                           .wake_ms = -1,
                           .next_id = 1,
                           .ready = {[TINKER__NEEDS_NOTHING] = true}};
  tinker__list_init(&flow->asked);
  tinker__list_init(&flow->ops);
  tinker__list_init(&flow->gone);
  tinker__list_init(&flow->turns);
  tinker__list_init(&flow->samples);
  tinker__news_init(flow);
  for (int i = 0; i < TINKER__BRAKES; i++) {
    tinker__brake_init(&flow->brakes[i]);
  }
  for (int i = 0; i < TINKER__NEEDS_COUNT; i++) {
    tinker__list_init(&flow->unready[i]);
  }
  tinker__quota_init(&flow->fb, 0);
  tinker__quota_init(&flow->replies, 0);
  tinker__quota_init(&flow->sample_bytes, 0);
  tinker__flow_limits_t limits;
  tinker__flow_default_limits(&limits);
  tinker__flow_set_limits(flow, &limits);
}

/* Work that a reply or the time has made possible. Each round handles what is
 * there; what it makes possible in turn is handled by the next. */
static bool pump_round(tinker__flow_t *flow) {
  bool more = false;
  tinker__link_t *l;
  while ((l = tinker__list_pop_front(&flow->turns))) {
    tinker__turn_pump(TINKER__CONTAINER(l, tinker__turn_t, dirty));
    more = true;
  }
  while ((l = tinker__quota_next(&flow->fb))) {
    tinker__part_t *part = TINKER__CONTAINER(l, tinker__part_t, link);
    tinker__quota_take(&flow->fb, (int64_t)tinker__part_estimate(part));
    part->in_quota = true;
    tinker__part_post(part);
    more = true;
  }
  while ((l = tinker__quota_next(&flow->replies))) {
    tinker__part_t *part = TINKER__CONTAINER(l, tinker__part_t, link);
    tinker__quota_take(&flow->replies, part->held_bytes);
    tinker__part_ask(part);
    more = true;
  }
  return more;
}

static void enter(tinker__flow_t *flow, int64_t now_ms) {
  if (now_ms > flow->now_ms) flow->now_ms = now_ms;
}

static void leave(tinker__flow_t *flow) {
  do tinker__throttle_pump(flow);
  while (pump_round(flow) || tinker__flow_release(flow));
  tinker__timer_t *first = tinker__timers_first(&flow->timers);
  int64_t wake = first ? first->due_ms : -1;
  if (wake != flow->wake_ms) {
    flow->wake_ms = wake;
    flow->sink->wake_at(flow->user, wake);
  }
  tinker__link_t *l;
  while ((l = tinker__list_pop_front(&flow->gone))) {
    tinker__op_free(TINKER__CONTAINER(l, tinker__op_t, all));
  }
}

void tinker__op_set_error(tinker__op_t *op, tinker_error_t *error) {
  if (op->error || !op->future) {
    tinker__error_release(error);
  } else {
    op->error = error;
  }
}

/* Ends the waiting: with the error if there is one, else with the results. */
static void settle(tinker__op_t *op) {
  tinker_future_t *f = op->future;
  if (!f) return;
  tinker__timers_remove(&op->flow->timers, &op->deadline);
  tinker_error_t *error = op->error;
  op->error = NULL;
  tinker__news_end(op, error != NULL);
  op->future = NULL;
  TINKER__TRACE(op, NULL, "ends: %s",
                error ? tinker_code_name(tinker_error_code(error)) : "well");
  tinker__future_settle(f, error);
  op->flow->sink->settled(op->flow->user, f);
}

static void hand_over(tinker__op_t *op) {
  for (size_t i = 0; i < op->count; i++) {
    op->future->raw[i] = op->parts[i].raw;
    op->parts[i].raw = (tinker__raw_t){0};
  }
  settle(op);
}

/* Nobody wants results any more: polls end, submissions go on. */
static void stop_polls(tinker__op_t *op) {
  /* Out of the line first: a place that becomes free is not for us. */
  for (size_t i = 0; i < op->count; i++) {
    if (op->parts[i].state == TINKER__PART_LINE) {
      tinker__part_stop(&op->parts[i]);
    }
  }
  for (size_t i = 0; i < op->count; i++) {
    if (op->parts[i].answered && op->parts[i].state != TINKER__PART_DEAD) {
      tinker__part_stop(&op->parts[i]);
    }
  }
}

static void stop_all(tinker__op_t *op) {
  stop_polls(op);
  for (size_t i = 0; i < op->count; i++) tinker__part_stop(&op->parts[i]);
  tinker__throttle_leave(op);
}

static void finish(tinker__op_t *op) {
  tinker__flow_t *flow = op->flow;
  tinker__door_leave(op);
  tinker__list_remove(&op->asked);
  tinker__turn_over(op);
  tinker__turn_done(op);
  tinker__list_remove(&op->link);
  tinker__list_remove(&op->all);
  flow->live--;
  flow->lingering++;
  tinker__op_let_go(op);
}

void tinker__op_let_go(tinker__op_t *op) {
  if (op->state != TINKER__OP_DONE || op->outs || op->holds) return;
  op->flow->lingering--;
  tinker__list_push_back(&op->flow->gone, &op->all);
}

static void give_up(tinker__op_t *op, int code, const char *why) {
  tinker__op_set_error(
      op, tinker__error_new(
              op->mem,
              &(tinker__error_spec_t){.code = code, .where = op->flow->where},
              "%s was not sent: %s", op->kind->name, why));
  tinker__op_on(op, TINKER__ON_QUIT);
}

/* Builds what is known only now, and stamps the numbers. */
static bool make_ready(tinker__op_t *op) {
  tinker_error_t *error = tinker__turn_check(op);
  if (error) {
    tinker__op_set_error(op, error);
    tinker__op_on(op, TINKER__ON_QUIT);
    return false;
  }
  int rc = op->kind->prepare ? op->kind->prepare(op) : 0;
  if (!rc && tinker__part_numbered(&op->parts[0])) {
    rc = tinker__turn_number(op->turn, op);
  }
  if (rc == TINKER_EOVERFLOW) {
    give_up(op, rc, "the numbers of this trainer are used up");
  } else if (rc == TINKER_EINVAL && op->adopted) {
    give_up(op, rc,
            op->turn ? "its number is not below its trainer's next one"
                     : "its number is not below the session's next one");
  } else if (rc) {
    give_up(op, rc, tinker_code_text(rc));
  }
  return !rc;
}

static void depart(tinker__op_t *op) {
  if (tinker__part_numbered(&op->parts[0])) tinker__turn_take(op->turn, op);
  tinker__turn_dispatch(op);
  if (op->unwaited) {
    tinker__op_stop(op, TINKER_ECANCELED, "nobody waits for it any more");
  }
}

/* A sample whose result the server dropped: its body is still here. It gets its
 * new number after the pause, when the transport has long let go of a copy that
 * was dropped. */
static void again(tinker__op_t *op) {
  tinker__part_t *part = &op->parts[0];
  tinker__part_leave_poll(part);
  tinker__mem_free(op->mem, part->request_id);
  part->request_id = NULL;
  tinker__raw_free(&part->raw, op->mem);
  tinker__op_trouble(part, TINKER_HOLD_NONE, NULL);
  part->retry = (tinker__retry_t){0};
  part->answered = false;
  op->answered = op->ready = 0;
  tinker__part_rest(part, TINKER__PART_IDLE,
                    tinker__retry_resubmit(op->losses++, &op->flow->seed));
}

/* Ends an operation for which the table has no move. How much of it the server
 * has is unknown, so its trainer takes no further number. */
static void break_off(tinker__op_t *op, tinker__op_event_t event) {
  char why[160];
  tinker__why(why, sizeof why, 0,
              "%s is %s and can't take \"%s\": a bug of this library",
              op->kind->name, tinker__op_state_name(op->state),
              tinker__op_event_name(event));
  op->flow->sink->bug(op->flow->user, why);
  if (op->state == TINKER__OP_DONE) return;
  bool fatal = op->turn && op->turn->ordered;
  unsigned advice =
      TINKER__ADVICE_UNKNOWN | (fatal ? TINKER__ADVICE_FATAL : 0u);
  tinker__op_set_error(
      op, tinker__error_new(op->mem,
                            &(tinker__error_spec_t){.code = TINKER_EINTERNAL,
                                                    .advice = advice},
                            "%s", why));
  tinker__op_on(op, TINKER__ON_QUIT);
  if (fatal) tinker__turn_fail(op->turn, why);
}

void tinker__op_on(tinker__op_t *op, tinker__op_event_t event) {
  tinker__op_move_t move = tinker__op_move(op->state, event);
  if (!TINKER__HOLDS(move.action != TINKER__DO_NEVER)) {
    break_off(op, event);
    return;
  }
  TINKER__TRACE(op, NULL, "%s -> %s (%s)", tinker__op_state_name(op->state),
                tinker__op_state_name(move.next), tinker__op_event_name(event));
  op->state = move.next;
  if (move.next == TINKER__OP_SENDING && op->hold == TINKER_HOLD_ADMISSION) {
    tinker__news_free(op);
  } else {
    tinker__news_show(op);
  }
  if (op->error && op->turn && op->turn->ordered &&
      (!op->in_step || op->kind->keeps_turn)) {
    tinker__turn_unsent(op);
  }
  switch (move.action) {
  case TINKER__DO_START:
    if (make_ready(op)) depart(op);
    break;
  case TINKER__DO_OFFER:
    if (make_ready(op)) tinker__door_offer(op);
    break;
  case TINKER__DO_DEPART: depart(op); break;
  case TINKER__DO_AGAIN: again(op); break;
  case TINKER__DO_HAND:
    hand_over(op);
    finish(op);
    break;
  case TINKER__DO_TELL:
    settle(op);
    stop_polls(op);
    break;
  case TINKER__DO_PART:
    settle(op);
    if (op->answered == op->count) tinker__turn_done(op);
    break;
  case TINKER__DO_WITHDRAW:
    tinker__door_withdraw(op);
    settle(op);
    finish(op);
    break;
  case TINKER__DO_ABORT:
    settle(op);
    stop_all(op);
    finish(op);
    break;
  case TINKER__DO_FINISH: finish(op); break;
  case TINKER__DO_NOTHING:
  case TINKER__DO_NEVER: break;
  }
}

void tinker__op_leave_queue(tinker__op_t *op) {
  tinker__op_on(op, tinker__door_has(op) ? TINKER__ON_DOOR : TINKER__ON_TURN);
}

/* One that nobody waits for is over when nothing more can become of it. */
void tinker__op_end_trail(tinker__op_t *op) {
  if (op->state != TINKER__OP_TRAILING || op->answered < op->count) return;
  for (size_t i = 0; i < op->count; i++) {
    if (!op->parts[i].ended) return;
  }
  tinker__op_on(op, TINKER__ON_READY);
}

void tinker__op_part_answered(tinker__part_t *part) {
  tinker__op_t *op = part->op;
  if (op->state == TINKER__OP_DONE) return;
  part->answered = true;
  if (part->request_id) {
    tinker__door_accepted(part);
    if (op->turn && op->turn->ordered) tinker__turn_added(part);
  }
  tinker__part_leave_quota(part);
  tinker__throttle_leave(op);
  if (++op->answered < op->count) {
    tinker__news_show(op);
    tinker__turn_dispatch(op);
  } else {
    bool keeps = op->kind->keeps_turn && op->state == TINKER__OP_SENDING;
    if (!keeps) tinker__turn_done(op);
    tinker__op_on(op, TINKER__ON_SENT);
    tinker__op_end_trail(op);
  }
}

static void go_on(tinker__op_t *op, tinker__next_t next) {
  if (next == TINKER__NEXT_LATER) {
    tinker__op_on(op, TINKER__ON_LATER);
    tinker__op_hold(op);
  } else if (next == TINKER__NEXT_NONE) {
    tinker__op_on(op, TINKER__ON_READY);
  } else {
    tinker__op_on(op, tinker__door_has(op) ? TINKER__ON_DOOR : TINKER__ON_STEP);
  }
}

void tinker__op_instead(tinker__part_t *part) {
  tinker__op_t *op = part->op;
  const tinker__kind_t *kind = part->instead;
  bool stepped = op->stepped;
  tinker__op_part_answered(part);
  tinker__op_next_step(op, kind);
  op->stepped = stepped;
  go_on(op, TINKER__NEXT_STEP);
}

/* A next step has other requests: the transport has to be done with these. */
static void step_done(tinker__op_t *op) {
  char why[256] = "";
  if (op->kind->next && op->outs) return;
  int rc = op->kind->next ? op->kind->next(op, why, sizeof why) : 0;
  if (rc >= 0) {
    go_on(op, (tinker__next_t)rc);
    return;
  }
  /* A field's fault is the server's here, not the caller's. */
  int code = rc == TINKER_ENOMEM || rc == TINKER_EOVERFLOW ? rc : TINKER_EPROTO;
  tinker__op_set_error(op,
                       tinker__error_new(op->mem,
                                         &(tinker__error_spec_t){
                                             .code = code,
                                             .advice = TINKER__ADVICE_UNKNOWN,
                                             .where = op->flow->where,
                                         },
                                         "the result of %s can't be used: %s",
                                         op->kind->name,
                                         why[0] ? why : tinker_code_text(rc)));
  tinker__op_on(op, TINKER__ON_FAIL);
}

void tinker__op_part_ready(tinker__part_t *part) {
  tinker__op_t *op = part->op;
  op->ready++;
  part->ended = true;
  tinker__op_trouble(part, TINKER_HOLD_NONE, NULL);
  tinker__news_ready(op);
  tinker__door_ready(part);
  if (op->turn && op->turn->ordered) tinker__turn_passed(op->turn, part->seq);
  if (op->state == TINKER__OP_POLLING && op->ready == op->count) step_done(op);
  tinker__op_end_trail(op);
}

void tinker__op_trouble(tinker__part_t *part, tinker_hold_t hold,
                        const char *why) {
  tinker__op_t *op = part->op;
  if (hold) {
    if (!part->held) op->held_parts++;
    part->held = true;
    tinker__why(op->cause, sizeof op->cause, 0, "%s", why);
    tinker__news_held(op, hold);
  } else if (part->held) {
    part->held = false;
    if (--op->held_parts) return;
    op->cause[0] = 0;
    tinker__news_free(op);
  }
}

void tinker__op_part_lost(tinker__part_t *part) {
  tinker__op_on(part->op, TINKER__ON_LOST);
}

static void on_deadline(tinker__timer_t *timer) {
  tinker__op_late(TINKER__CONTAINER(timer, tinker__op_t, deadline));
}

static void enqueue(tinker__op_t *op) {
  if (op->turn && op->turn->ordered) {
    tinker__turn_push(op->turn, op);
  } else if (op->kind->retry == TINKER__RETRY_SAMPLE) {
    tinker__throttle_push(op);
  } else {
    tinker__op_leave_queue(op);
  }
}

static void wait_for(tinker__flow_t *flow, tinker__op_t *op) {
  tinker__needs_t need = op->kind->needs;
  bool first = tinker__list_empty(&flow->unready[need]);
  TINKER__TRACE(op, NULL, "waits for the %s",
                need == TINKER__NEEDS_SESSION ? "session" : "configuration");
  tinker__list_push_back(&flow->unready[need], &op->link);
  tinker__news_held(op, TINKER_HOLD_SESSION);
  if (first) flow->sink->need(flow->user, need);
}

void tinker__flow_submit(tinker__flow_t *flow, tinker__op_t *op,
                         int64_t now_ms) {
  enter(flow, now_ms);
  op->flow = flow;
  op->id = flow->next_id++;
  flow->live++;
  tinker__list_push_back(&flow->ops, &op->all);
  if (op->deadline_ms >= 0) {
    tinker__timer_init(&op->deadline, on_deadline);
    tinker__timers_put(&flow->timers, &op->deadline, op->deadline_ms);
  }
  tinker__news_begin(op);
  TINKER__TRACE(op, NULL, "queued, %zu %s", op->count,
                op->count == 1 ? "request" : "requests");
  if (flow->closed) {
    tinker__op_stop(op, TINKER_ECLOSED, "the client is closed");
  } else if (flow->ready[op->kind->needs]) {
    enqueue(op);
  } else {
    wait_for(flow, op);
  }
  leave(flow);
}

void tinker__flow_cancel(tinker__flow_t *flow, tinker__op_t *op,
                         int64_t now_ms) {
  enter(flow, now_ms);
  tinker__op_stop(op, TINKER_ECANCELED, "it was canceled");
  leave(flow);
}

void tinker__flow_stop_pair(tinker__flow_t *flow, tinker__op_t *first,
                            tinker__op_t *second, int code, const char *why,
                            int64_t now_ms) {
  enter(flow, now_ms);
  bool begun = !first || first->in_step;
  if (first) tinker__op_stop(first, code, why);
  if (second && begun && !second->in_step) {
    second->unwaited = true;
  } else if (second) {
    tinker__op_stop(second, code, why);
  }
  leave(flow);
}

void tinker__flow_reply(tinker__flow_t *flow, tinker__http_request_t *request,
                        tinker__http_reply_t *reply, int64_t now_ms) {
  tinker__part_t *part = request->user;
  tinker__attempt_t *attempt =
      TINKER__CONTAINER(request, tinker__attempt_t, http);
  tinker__op_t *op = part->op;
  enter(flow, now_ms);
  attempt->out = false;
  op->outs--;
  tinker__part_heard(part, request, reply);
  if (op->state == TINKER__OP_DONE) {
    tinker__op_let_go(op);
  } else if (attempt->dropped) {
    tinker__part_dropped(part, attempt);
    if (op->state == TINKER__OP_POLLING && op->ready == op->count) {
      step_done(op);
    }
  } else if (part->state == TINKER__PART_POSTING) {
    tinker__part_posted(part, reply);
  } else if (part->state == TINKER__PART_ASKING) {
    tinker__part_told(part, reply);
  }
  leave(flow);
}

static void fail_waiting(tinker__op_t *op, const tinker_error_t *error) {
  tinker__op_set_error(op, tinker__error_retain(error));
  tinker__op_on(op, TINKER__ON_FAIL);
}

bool tinker__flow_admitted(tinker__flow_t *flow, uint64_t ticket,
                           const tinker_error_t *error, int64_t now_ms) {
  enter(flow, now_ms);
  tinker__op_t *op = tinker__door_asked(flow, ticket);
  if (op) tinker__door_answer(op, error ? tinker__error_retain(error) : NULL);
  leave(flow);
  return op;
}

void tinker__flow_step_ready(tinker__flow_t *flow, tinker__op_t *op, bool step,
                             const tinker_error_t *error, int64_t now_ms) {
  enter(flow, now_ms);
  op->holds--;
  if (op->state != TINKER__OP_HANDED) {
    tinker__op_let_go(op);
  } else if (error) {
    fail_waiting(op, error);
  } else {
    go_on(op, step ? TINKER__NEXT_STEP : TINKER__NEXT_NONE);
  }
  leave(flow);
}

bool tinker__flow_judged(tinker__flow_t *flow, uint64_t ticket,
                         tinker__gate_t verdict, const tinker_error_t *error,
                         int64_t now_ms) {
  enter(flow, now_ms);
  tinker__op_t *op = tinker__gate_asked(flow, ticket);
  if (op) {
    tinker__gate_answer(op, verdict,
                        error ? tinker__error_retain(error) : NULL);
  }
  leave(flow);
  return op;
}

void tinker__flow_unhold(tinker__flow_t *flow, tinker__op_t *op,
                         int64_t now_ms) {
  enter(flow, now_ms);
  op->holds--;
  tinker__op_let_go(op);
  leave(flow);
}

void tinker__flow_tick(tinker__flow_t *flow, int64_t now_ms) {
  enter(flow, now_ms);
  tinker__timer_t *timer;
  uint64_t turn = tinker__timers_turn(&flow->timers);
  while ((timer = tinker__timers_pop(&flow->timers, flow->now_ms, turn))) {
    timer->run(timer);
  }
  flow->wake_ms = -1;
  leave(flow);
}

void tinker__flow_ready(tinker__flow_t *flow, tinker__needs_t need,
                        const tinker_error_t *error, int64_t now_ms) {
  enter(flow, now_ms);
  flow->ready[need] = !error;
  if (!error && need == TINKER__NEEDS_SESSION) {
    flow->ready[TINKER__NEEDS_CONFIG] = true;
  }
  tinker__link_t *l;
  while ((l = tinker__list_pop_front(&flow->unready[need]))) {
    tinker__op_t *op = TINKER__CONTAINER(l, tinker__op_t, link);
    if (error) {
      fail_waiting(op, error);
    } else {
      tinker__news_free(op);
      enqueue(op);
    }
  }
  leave(flow);
}

void tinker__flow_close(tinker__flow_t *flow, int64_t now_ms) {
  enter(flow, now_ms);
  flow->closed = true;
  TINKER__LIST_EACH(l, next, &flow->ops) {
    tinker__op_t *op = TINKER__CONTAINER(l, tinker__op_t, all);
    tinker__op_stop(op, TINKER_ECLOSED, "the client was closed");
  }
  tinker__timers_remove(&flow->timers, &flow->throttle);
  leave(flow);
}
