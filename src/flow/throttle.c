/* How many samples are submitted at once (protocol 10.1): a number of
 * requests, a number of bytes, and a rest for all when the server pushes
 * back. */
#include "flow/internal.h"

#define RECENT_MS 10000 /* the server pushed back not long ago */
#define RECENT_SAMPLES 10
#define RECENT_WEIGHT 20

static bool recent(const tinker__flow_t *flow) {
  return flow->backoff_until > 0 &&
         flow->now_ms - flow->backoff_until < RECENT_MS;
}

static void on_timer(tinker__timer_t *timer) {
  tinker__throttle_pump(TINKER__CONTAINER(timer, tinker__flow_t, throttle));
}

void tinker__throttle_push(tinker__op_t *op) {
  tinker__list_push_back(&op->flow->samples, &op->link);
}

static void submit(tinker__flow_t *flow, tinker__op_t *op) {
  int64_t bytes = (int64_t)tinker__part_estimate(&op->parts[0]);
  if (recent(flow)) bytes *= RECENT_WEIGHT;
  op->submitting = true;
  op->weight = bytes;
  flow->submitting++;
  tinker__quota_take(&flow->sample_bytes, bytes);
  tinker__op_on(op, TINKER__ON_TURN);
}

void tinker__throttle_pump(tinker__flow_t *flow) {
  while (!tinker__list_empty(&flow->samples)) {
    if (flow->now_ms < flow->backoff_until) {
      flow->throttle.run = on_timer;
      tinker__timers_put(&flow->timers, &flow->throttle, flow->backoff_until);
      return;
    }
    size_t limit = recent(flow) ? RECENT_SAMPLES : flow->limits.samples;
    if (flow->submitting >= limit || !tinker__quota_open(&flow->sample_bytes)) {
      return;
    }
    tinker__link_t *l = tinker__list_pop_front(&flow->samples);
    submit(flow, TINKER__CONTAINER(l, tinker__op_t, link));
  }
}

void tinker__throttle_leave(tinker__op_t *op) {
  if (!op->submitting) return;
  op->submitting = false;
  op->flow->submitting--;
  tinker__quota_leave(&op->flow->sample_bytes, op->weight);
}

int64_t tinker__throttle_backpressure(tinker__part_t *part, int64_t stated_ms) {
  tinker__flow_t *flow = part->op->flow;
  int64_t ms = stated_ms > 0
                   ? stated_ms
                   : tinker__retry_backpressure_ms(tinker__part_estimate(part));
  if (flow->backoff_until < flow->now_ms + ms) {
    flow->backoff_until = flow->now_ms + ms;
  }
  return ms;
}
