/* brake: see the header. The first half is the rule, which is pure; the second
 * keeps the line. */
#include "flow/brake.h"

#include "flow/internal.h"

#define TOKENS_MAX 5
#define QUIET_MIN_MS 1000
#define QUIET_MAX_MS 30000

/* --- the rule --- */

static void ring(tinker__timer_t *timer) {
  (void)timer; /* the flow looks at the line when it is left */
}

void tinker__brake_init(tinker__brake_t *b) {
  *b = (tinker__brake_t){
      .tokens = TOKENS_MAX, .quiet_ms = QUIET_MIN_MS, .released_ms = -1};
  tinker__list_init(&b->held);
  tinker__timer_init(&b->timer, ring);
}

static void released(tinker__brake_t *b, int64_t now_ms) {
  if (b->released_ms < 0) b->released_ms = now_ms;
  b->released++;
}

bool tinker__brake_take(tinker__brake_t *b, int64_t now_ms, uint64_t *seed) {
  if (b->tokens > 0) {
    b->tokens--;
  } else if (b->failing <= 1 && !b->pushed) {
    /* alone */
  } else if (now_ms >= b->probe_ms) {
    int64_t ms = tinker__retry_probe(b->probes++, seed);
    b->probe_ms = now_ms + (ms < b->rest_ms ? b->rest_ms : ms);
  } else {
    return false;
  }
  released(b, now_ms);
  return true;
}

bool tinker__brake_spare(tinker__brake_t *b) {
  if (b->tokens < 1) return false;
  b->tokens--;
  return true;
}

static void free_again(tinker__brake_t *b) {
  b->probes = 0;
  b->pushed = false;
  b->rest_ms = 0;
}

void tinker__brake_answered(tinker__brake_t *b) {
  b->tokens += 2;
  if (b->tokens > TOKENS_MAX) b->tokens = TOKENS_MAX;
  free_again(b);
}

void tinker__brake_failed(tinker__brake_t *b, int64_t took_ms) {
  b->released_ms = -1;
  b->released = 0;
  if (b->tokens > TOKENS_MAX) b->tokens = TOKENS_MAX;
  b->quiet_ms = took_ms < QUIET_MIN_MS   ? QUIET_MIN_MS
                : took_ms > QUIET_MAX_MS ? QUIET_MAX_MS
                                         : took_ms;
}

void tinker__brake_push(tinker__brake_t *b, int64_t now_ms, int64_t rest_ms) {
  b->tokens = 0;
  b->pushed = true;
  b->rest_ms = rest_ms;
  if (b->probe_ms < now_ms + rest_ms) b->probe_ms = now_ms + rest_ms;
}

/* The line doubles what goes with each silence. */
bool tinker__brake_quiet(tinker__brake_t *b, int64_t now_ms) {
  if (b->released_ms < 0 || now_ms - b->released_ms < b->quiet_ms) return false;
  b->tokens = 2 * b->released;
  if (b->tokens < TOKENS_MAX) b->tokens = TOKENS_MAX;
  b->released_ms = now_ms;
  free_again(b);
  return true;
}

int64_t tinker__brake_wake_ms(const tinker__brake_t *b, bool silence) {
  int64_t quiet = b->released_ms + b->quiet_ms;
  bool sooner = silence && b->released_ms >= 0 && quiet < b->probe_ms;
  return sooner ? quiet : b->probe_ms;
}

/* --- the line --- */

static tinker__brake_t *brake_of(tinker__flow_t *flow, unsigned class_bit) {
  int i = 0;
  while (i < TINKER__BRAKES - 1 && !(class_bit >> i & 1)) i++;
  return &flow->brakes[i];
}

static tinker__brake_t *brake_of_part(const tinker__part_t *part,
                                      tinker__part_state_t state) {
  bool poll = state == TINKER__PART_PAUSE || state == TINKER__PART_ASKING;
  return brake_of(part->op->flow,
                  poll ? TINKER__RETRY_POLL : part->op->kind->retry);
}

void tinker__part_fails(tinker__part_t *part) {
  brake_of_part(part, part->state)->failing++;
}

void tinker__part_fails_no_more(tinker__part_t *part) {
  if (!part->retry.again) return;
  part->retry.again = false;
  brake_of_part(part, part->state)->failing--;
}

/* An end of its time counts for what nobody has to deliver and no caller's
 * deadline ends. */
static void hold(tinker__part_t *part, tinker__brake_t *b,
                 tinker__part_state_t state) {
  const unsigned patient = TINKER__RETRY_NUMBERED | TINKER__RETRY_POLL;
  tinker__flow_t *flow = part->op->flow;
  int64_t until = part->retry.again ? part->retry.last.until_ms : INT64_MAX;
  TINKER__TRACE(part->op, part, "held back: the service fails or pushes back");
  if (!part->retry.again) {
    tinker__op_trouble(part, TINKER_HOLD_PUSHED_BACK,
                       "the service has pushed back a request before it (429)");
  }
  part->state = state;
  tinker__list_push_back(&b->held, &part->link);
  if (state == TINKER__PART_REST && !(part->op->kind->retry & patient) &&
      until != INT64_MAX) {
    tinker__part_wake(part, until > flow->now_ms ? until : flow->now_ms);
  }
}

bool tinker__part_waits(tinker__part_t *part, tinker__part_state_t state) {
  tinker__flow_t *flow = part->op->flow;
  tinker__brake_t *b = brake_of_part(part, state);
  if (!part->retry.again && !b->pushed) return false;
  if (tinker__list_empty(&b->held) &&
      tinker__brake_take(b, flow->now_ms, &flow->seed)) {
    return false;
  }
  hold(part, b, state);
  return true;
}

bool tinker__part_may_double(tinker__part_t *part) {
  return tinker__brake_spare(brake_of_part(part, TINKER__PART_POSTING));
}

static void release(tinker__part_t *part) {
  tinker__flow_t *flow = part->op->flow;
  tinker__list_remove(&part->link);
  tinker__timers_remove(&flow->timers, &part->timer);
  if (part->state == TINKER__PART_PAUSE) {
    tinker__part_ask_now(part);
  } else {
    tinker__part_post_now(part);
  }
}

/* True when something was sent. */
static bool pump(tinker__flow_t *flow, tinker__brake_t *b, bool silence) {
  tinker__link_t *first;
  bool more = false;
  if (silence && !tinker__list_empty(&b->held)) {
    tinker__brake_quiet(b, flow->now_ms);
  }
  while ((first = tinker__list_first(&b->held)) &&
         tinker__brake_take(b, flow->now_ms, &flow->seed)) {
    release(TINKER__CONTAINER(first, tinker__part_t, link));
    more = true;
  }
  if (first) {
    tinker__timers_put(&flow->timers, &b->timer,
                       tinker__brake_wake_ms(b, silence));
  } else {
    tinker__timers_remove(&flow->timers, &b->timer);
  }
  return more;
}

bool tinker__flow_release(tinker__flow_t *flow) {
  bool more = false;
  for (int i = 0; i < TINKER__BRAKES; i++) {
    tinker__brake_t *b = &flow->brakes[i];
    if (tinker__list_empty(&b->held) && !tinker__timer_active(&b->timer)) {
      continue;
    }
    more |= pump(flow, b, b == brake_of(flow, TINKER__RETRY_POLL));
  }
  return more;
}

/* A request that was taken back tells nothing. A refusal is an answer too, but
 * for those that ask for a pause. */
static bool answers(const tinker__http_reply_t *reply) {
  if (!tinker__http_failed(reply)) return true;
  int refusal = tinker__http_refusal(reply);
  return refusal && refusal != 402 && refusal != 408 && refusal != 429;
}

void tinker__part_heard(tinker__part_t *part,
                        const tinker__http_request_t *request,
                        const tinker__http_reply_t *reply) {
  bool poll = request->lane == TINKER__LANE_POLL;
  tinker__brake_t *b =
      brake_of_part(part, poll ? TINKER__PART_PAUSE : TINKER__PART_POSTING);
  if (reply->request_id[0]) {
    tinker__why(part->log_id, sizeof part->log_id, 0, "%s", reply->request_id);
  }
  if (answers(reply)) {
    tinker__brake_answered(b);
  } else if (reply->error != TINKER_ECANCELED) {
    tinker__brake_failed(b, part->op->flow->now_ms - part->retry.sent_ms);
  }
}

void tinker__part_push_back(tinker__part_t *part, tinker__part_state_t state,
                            int64_t rest_ms) {
  tinker__brake_push(brake_of_part(part, state), part->op->flow->now_ms,
                     rest_ms);
}
