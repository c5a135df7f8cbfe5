/* dump: shows the operations of a client, see dump.h. Loop's thread. */
#include "flow/dump.h"

#include "base/show.h"

static void number(tinker__jsonw_t *w, const char *key, int64_t value) {
  tinker__jsonw_key(w, key);
  tinker__jsonw_i64(w, value);
}

/* Words of a server may be anything: they are shown as on a terminal. */
static void text(tinker__jsonw_t *w, const char *key, const char *value) {
  char shown[512];
  tinker__show(shown, sizeof shown, tinker__str(value));
  tinker__jsonw_key(w, key);
  tinker__jsonw_cstr(w, shown);
}

static size_t length(const tinker__link_t *list) {
  size_t n = 0;
  TINKER__LIST_EACH(l, next, list) n++;
  return n;
}

static const char *part_state_name(tinker__part_state_t state) {
  static const char *const names[] = {
      [TINKER__PART_IDLE] = "idle",       [TINKER__PART_ROOM] = "room",
      [TINKER__PART_POSTING] = "posting", [TINKER__PART_REST] = "rest",
      [TINKER__PART_LINE] = "line",       [TINKER__PART_ASKING] = "asking",
      [TINKER__PART_PAUSE] = "pause",     [TINKER__PART_HELD] = "held",
      [TINKER__PART_READY] = "ready",     [TINKER__PART_DEAD] = "dead"};
  return names[state];
}

/* The first part of an operation that is not over; it shows what the operation
 * waits for. */
static const tinker__part_t *first_open(const tinker__op_t *op) {
  size_t i = 0;
  while (i + 1 < op->count && op->parts[i].state >= TINKER__PART_READY) i++;
  return &op->parts[i];
}

static void dump_op(const tinker__op_t *op, tinker__jsonw_t *w,
                    int64_t now_ms) {
  const tinker__part_t *part = first_open(op);
  tinker__jsonw_begin_object(w);
  number(w, "id", (int64_t)op->id);
  text(w, "name", op->kind->name);
  text(w, "state", tinker__op_state_name(op->state));
  if (op->turn) text(w, "of", op->turn->id);
  number(w, "requests", (int64_t)op->count);
  number(w, "answered", (int64_t)op->answered);
  number(w, "ready", (int64_t)op->ready);
  text(w, "request", part_state_name(part->state));
  if (part->seq >= 0) number(w, "seq_id", part->seq);
  number(w, "attempts", part->retry.sends);
  number(w, "polls", part->polls);
  if (op->deadline_ms >= 0) {
    number(w, "deadline_in_ms", op->deadline_ms - now_ms);
  }
  if (op->cause[0]) text(w, "trouble", op->cause);
  tinker__jsonw_end_object(w);
}

static void dump_states(const tinker__flow_t *flow, tinker__jsonw_t *w) {
  int64_t count[TINKER__OP_STATES] = {0};
  TINKER__LIST_EACH(l, next, &flow->ops) {
    count[TINKER__CONTAINER(l, tinker__op_t, all)->state]++;
  }
  tinker__jsonw_key(w, "states");
  tinker__jsonw_begin_object(w);
  for (int i = 0; i < TINKER__OP_STATES; i++) {
    number(w, tinker__op_state_name((tinker__op_state_t)i), count[i]);
  }
  tinker__jsonw_end_object(w);
}

static void dump_quota(tinker__jsonw_t *w, const char *name,
                       const tinker__quota_t *quota, int64_t size) {
  tinker__jsonw_key(w, name);
  tinker__jsonw_begin_object(w);
  number(w, "bytes", size);
  number(w, "left", quota->left);
  number(w, "waiting", (int64_t)length(&quota->waiting));
  tinker__jsonw_end_object(w);
}

static void dump_samples(const tinker__flow_t *flow, tinker__jsonw_t *w,
                         int64_t now_ms) {
  int64_t rest = flow->backoff_until - now_ms;
  tinker__jsonw_key(w, "samples");
  tinker__jsonw_begin_object(w);
  number(w, "bytes", flow->limits.sample_bytes);
  number(w, "left", flow->sample_bytes.left);
  number(w, "waiting", (int64_t)length(&flow->samples));
  number(w, "submitting", (int64_t)flow->submitting);
  number(w, "rest_ms", rest > 0 ? rest : 0);
  tinker__jsonw_end_object(w);
}

void tinker__flow_dump(const tinker__flow_t *flow, tinker__jsonw_t *w,
                       int64_t now_ms) {
  size_t n = 0;
  number(w, "operations", (int64_t)flow->live);
  dump_states(flow, w);
  tinker__jsonw_key(w, "list");
  tinker__jsonw_begin_array(w);
  TINKER__LIST_EACH(l, next, &flow->ops) {
    if (n++ == TINKER__DUMP_OPS) break;
    dump_op(TINKER__CONTAINER(l, tinker__op_t, all), w, now_ms);
  }
  tinker__jsonw_end_array(w);
  tinker__jsonw_key(w, "quotas");
  tinker__jsonw_begin_object(w);
  dump_quota(w, "forward_backward", &flow->fb, flow->limits.fb_bytes);
  dump_quota(w, "results", &flow->replies, flow->limits.reply_bytes);
  dump_samples(flow, w, now_ms);
  tinker__jsonw_end_object(w);
}
