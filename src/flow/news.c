/* What operations wait for, see news.h. */
#include "flow/news.h"

#include <string.h>

#include "base/show.h"
#include "flow/internal.h"

#define FIRST_MS 2000 /* an operation is held for so long before a warning */
#define AGAIN_MS 30000
#define REASON (sizeof((tinker_progress_t *)NULL)->reason)

/* --- events --- */

static void tell(const tinker__op_t *op, tinker_event_t event) {
  tinker__flow_t *flow = op->flow;
  if (!flow->tells) return;
  event.size = sizeof event;
  event.operation = op->future->kind;
  event.id = op->id;
  event.user = op->future->user;
  if (!event.text) event.text = "";
  flow->sink->event(flow->user, &event);
}

/* --- what is shown --- */

static tinker_stage_t stage_of(const tinker__op_t *op) {
  switch (op->state) {
  case TINKER__OP_SENDING: return TINKER_STAGE_SENT;
  case TINKER__OP_POLLING:
  case TINKER__OP_HANDED:
    return op->hold == TINKER_HOLD_QUEUE ? TINKER_STAGE_PAUSED
                                         : TINKER_STAGE_RUNNING;
  case TINKER__OP_LEAVING:
  case TINKER__OP_TRAILING:
  case TINKER__OP_DONE: return TINKER_STAGE_ENDED;
  case TINKER__OP_QUEUED:
  case TINKER__OP_GATED:
  case TINKER__OP_ADMITTING:
  case TINKER__OP_STATES: break;
  }
  return TINKER_STAGE_QUEUED;
}

/* A server's words may be anything: they are shown as on a terminal. */
static const char *reason_of(const tinker__op_t *op, char out[REASON]) {
  const char *why = op->hold ? tinker__op_cause(op) : "";
  if (op->hold && !why[0]) why = "the service has not answered yet";
  tinker__show(out, REASON, tinker__str(why));
  return out;
}

static void show(tinker__op_t *op, tinker_stage_t stage, const char *failure) {
  tinker__seen_t *s = &op->future->seen;
  tinker__stay_move(&op->stay, stage, op->flow->now_ms);
  pthread_mutex_lock(&op->future->seen_lock);
  s->born_ms = op->stay.born_ms;
  s->stage_ms = op->stay.since_ms;
  s->held_ms = op->held_ms;
  s->now.id = op->id;
  s->now.stage = stage;
  s->now.hold = op->hold;
  s->now.parts = (uint32_t)op->count;
  s->now.accepted = (uint32_t)op->answered;
  s->now.done = (uint32_t)op->ready;
  s->now.attempts = op->attempts;
  s->now.polls = op->polls;
  s->now.failures = op->failures;
  reason_of(op, s->now.reason);
  if (stage == TINKER_STAGE_ENDED) s->now.age_ms = s->stage_ms - s->born_ms;
  if (failure) {
    tinker__show(s->now.failure, sizeof s->now.failure, tinker__str(failure));
  }
  pthread_mutex_unlock(&op->future->seen_lock);
}

void tinker__news_show(tinker__op_t *op) {
  if (op->future) show(op, stage_of(op), NULL);
}

void tinker__news_begin(tinker__op_t *op) {
  tinker__stay_begin(&op->stay, op->flow->now_ms);
  tinker__news_show(op);
}

void tinker__news_failed(tinker__part_t *part, const char *why,
                         int64_t delay_ms) {
  tinker__op_t *op = part->op;
  op->failures++;
  if (!op->future) return;
  show(op, stage_of(op), why);
  tell(op, (tinker_event_t){.kind = TINKER_EVENT_RETRY,
                            .attempts = part->retry.sends,
                            .ms = delay_ms,
                            .text = op->future->seen.now.failure});
}

void tinker__news_ready(tinker__op_t *op) {
  if (!op->future) return;
  tinker__news_show(op);
  if (op->count == 1) return;
  tell(op, (tinker_event_t){.kind = TINKER_EVENT_PART,
                            .parts = (uint32_t)op->count,
                            .done = (uint32_t)op->ready});
}

/* --- warnings --- */

static int64_t held_for(const tinker__op_t *op) {
  return op->flow->now_ms - op->held_ms;
}

static tinker__op_t *oldest(const tinker__held_t *held) {
  tinker__op_t *first = NULL;
  TINKER__LIST_EACH(l, next, &held->ops) {
    tinker__op_t *op = TINKER__CONTAINER(l, tinker__op_t, held);
    if (!first || op->held_ms < first->held_ms) first = op;
  }
  return first;
}

static void warn(const tinker__held_t *held, const tinker__op_t *op) {
  char why[REASON], others[64] = "";
  if (held->count > 1) {
    tinker__why(others, sizeof others, 0, " and %zu more", held->count - 1);
  }
  TINKER__LOG(held->flow->log, TINKER_LOG_WARNING, "flow",
              "#%llu %s%s: held for %lld s: %s", (unsigned long long)op->id,
              op->kind->name, others, (long long)(held_for(op) / 1000),
              reason_of(op, why));
}

/* What the session waits for changes without a word to the flow. */
static void on_timer(tinker__timer_t *timer) {
  tinker__held_t *held = TINKER__CONTAINER(timer, tinker__held_t, timer);
  tinker__op_t *op = oldest(held);
  if (held_for(op) >= FIRST_MS) {
    warn(held, op);
    held->next_ms = held->flow->now_ms + AGAIN_MS;
  } else {
    held->next_ms = op->held_ms + FIRST_MS;
  }
  tinker__timers_put(&held->flow->timers, timer, held->next_ms);
  if (op->hold != TINKER_HOLD_SESSION) return;
  TINKER__LIST_EACH(l, next, &held->ops) {
    tinker__news_show(TINKER__CONTAINER(l, tinker__op_t, held));
  }
}

void tinker__news_init(tinker__flow_t *flow) {
  for (int i = 0; i < TINKER__HOLD_COUNT; i++) {
    tinker__held_t *held = &flow->held[i];
    held->flow = flow;
    tinker__list_init(&held->ops);
    tinker__timer_init(&held->timer, on_timer);
  }
}

/* --- being held --- */

static void join(tinker__op_t *op) {
  tinker__held_t *held = &op->flow->held[op->hold];
  int64_t at = op->held_ms + FIRST_MS;
  tinker__list_push_back(&held->ops, &op->held);
  held->count++;
  if (at < held->next_ms) at = held->next_ms;
  if (at < op->flow->now_ms) at = op->flow->now_ms;
  if (tinker__timer_active(&held->timer) && held->timer.due_ms <= at) return;
  tinker__timers_put(&op->flow->timers, &held->timer, at);
}

static void leave(tinker__op_t *op) {
  tinker__held_t *held = &op->flow->held[op->hold];
  tinker__list_remove(&op->held);
  if (--held->count) return;
  held->next_ms = 0;
  tinker__timers_remove(&op->flow->timers, &held->timer);
}

void tinker__news_held(tinker__op_t *op, tinker_hold_t hold) {
  char why[REASON];
  if (!op->future) return;
  bool news = op->hold != hold;
  if (news) {
    if (op->hold) {
      leave(op);
    } else {
      op->held_ms = op->flow->now_ms;
    }
    op->hold = hold;
    join(op);
  }
  const char *shown = op->future->seen.now.reason;
  news |= strcmp(shown, reason_of(op, why)) != 0;
  tinker__news_show(op);
  if (!news) return;
  tell(op, (tinker_event_t){
               .kind = TINKER_EVENT_HELD,
               .hold = op->hold,
               .text = shown,
           });
}

void tinker__news_free(tinker__op_t *op) {
  if (!op->hold) return;
  bool warned = held_for(op) >= FIRST_MS;
  tinker_event_t event = {
      .kind = TINKER_EVENT_LET_GO,
      .hold = op->hold,
      .ms = held_for(op),
  };
  leave(op);
  op->hold = TINKER_HOLD_NONE;
  tinker__news_show(op);
  tell(op, event);
  if (!warned) return;
  TINKER__LOG(op->flow->log, TINKER_LOG_INFO, "flow",
              "#%llu %s: goes on, was held for %lld s",
              (unsigned long long)op->id, op->kind->name,
              (long long)(event.ms / 1000));
}

void tinker__news_end(tinker__op_t *op, bool failed) {
  if (op->hold) leave(op);
  op->hold = TINKER_HOLD_NONE;
  show(op, TINKER_STAGE_ENDED, NULL);
  if (op->waits) tinker__waits_add(op->waits, &op->stay, failed);
}
