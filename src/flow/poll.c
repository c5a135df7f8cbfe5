/* Results: a part that was accepted asks for its result until it is there
 * (protocol 9). */
#include "flow/internal.h"

#include "base/arena.h"
#include "wire/messages.h"

/* The longest hold seen of a server is 300 s, but no proxy in between keeps a
 * silent connection that long; the official client gives up after 90 s. */
#define POLL_TIMEOUT_MS 90000
/* A result that the service did not announce, and one that it did. A batch's
 * chunk of 5 MB gives some 60 MB where the results are JSON. */
#define RESULT_MAX ((int64_t)256 << 20)
#define ANNOUNCED_MAX ((int64_t)1 << 30)
/* The announced size may be that of another encoding. */
#define ANNOUNCED_SLACK ((int64_t)1 << 20)
#define MISSES 3 /* replies in a row that wait for what nobody sends */

void tinker__part_line_up(tinker__part_t *part) {
  tinker__op_t *op = part->op;
  if (op->turn && op->turn->ordered) {
    tinker__turn_line_up(op->turn, part, op->flow->limits.poll_places);
  } else {
    tinker__part_ask(part);
  }
}

static int fill_text(tinker__part_t *part) {
  tinker__retrieve_t ask = {
      .request_id = part->request_id,
      .allow_metadata_only = !part->full,
  };
  tinker__buf_clear(&part->text);
  return tinker__message_encode(&part->text, &tinker__retrieve_msg, &ask);
}

/* Bytes of the reply that are taken. */
static size_t reply_max(const tinker__part_t *part) {
  int64_t stated = part->full ? part->held_bytes : 0;
  return (size_t)(stated ? stated + stated / 4 + ANNOUNCED_SLACK : RESULT_MAX);
}

static void fill_poll(tinker__part_t *part, tinker__attempt_t *attempt) {
  const tinker__kind_t *kind = part->op->kind;
  tinker__format_i64(part->iteration, part->polls++);
  attempt->headers[0] =
      (tinker__http_header_t){"X-Tinker-Request-Type", kind->request_type};
  attempt->headers[1] =
      (tinker__http_header_t){"X-Tinker-Request-Iteration", part->iteration};
  attempt->http = (tinker__http_request_t){
      .lane = TINKER__LANE_POLL,
      .method = TINKER__HTTP_POST,
      .path = "api/v1/retrieve_future",
      .accept = kind->proto_result ? "application/x-protobuf" : NULL,
      .headers = attempt->headers,
      .header_count = 2,
      .body = tinker__buf_str(&part->text),
      .numbered = true, /* asking twice changes nothing */
      .bulky = kind->fb_quota,
      .timeout_ms = POLL_TIMEOUT_MS,
      .reply_max = reply_max(part),
  };
}

void tinker__part_ask(tinker__part_t *part) {
  if (!tinker__part_waits(part, TINKER__PART_PAUSE)) tinker__part_ask_now(part);
}

void tinker__part_ask_now(tinker__part_t *part) {
  tinker__attempt_t *attempt = tinker__part_attempt(part);
  int rc = fill_text(part);
  part->state = TINKER__PART_ASKING;
  if (!rc) {
    fill_poll(part, attempt);
    if (tinker__part_send(part, attempt, &rc)) {
      TINKER__TRACE(part->op, part, "asks for the result, poll %u",
                    part->polls);
      return;
    }
  }
  tinker__http_reply_t reply = {.error = rc, .retry_after_ms = -1};
  tinker__part_trouble(part, TINKER__RETRY_POLL, &reply, TINKER__PART_PAUSE);
}

/* The result is there but large: wait until there is room for it. */
static void hold(tinker__part_t *part, int64_t bytes) {
  tinker__flow_t *flow = part->op->flow;
  part->full = true;
  part->held_bytes = bytes;
  part->state = TINKER__PART_HELD;
  TINKER__TRACE(part->op, part, "the result has %lld bytes", (long long)bytes);
  if (!tinker__quota_enter(&flow->replies, &part->link, bytes)) return;
  tinker__part_ask(part);
}

static void fail(tinker__part_t *part, const tinker__http_reply_t *reply,
                 int code, unsigned advice, const tinker__says_what_t *what) {
  tinker__op_part_failed(part, code, advice, reply->status, 0, what->category,
                         what->text);
}

static void ready(tinker__part_t *part, tinker__http_reply_t *reply) {
  part->raw.proto = part->op->kind->proto_result;
  part->raw.data = tinker__buf_take(&reply->body, &part->raw.len);
  TINKER__TRACE(part->op, part, "result of %zu bytes", part->raw.len);
  tinker__part_leave_poll(part);
  part->state = TINKER__PART_READY;
  tinker__op_part_ready(part);
}

/* Has an operation of this trainer, which has not ended, that number? */
static bool is_on_its_way(const tinker__op_t *of, int64_t seq) {
  TINKER__LIST_EACH(l, next, &of->flow->ops) {
    const tinker__op_t *op = TINKER__CONTAINER(l, tinker__op_t, all);
    for (size_t i = 0; op->turn == of->turn && i < op->count; i++) {
      if (op->parts[i].seq == seq && !op->parts[i].ended) return true;
    }
  }
  return false;
}

/* A number that was refused is missed at once. What has its result, or was
 * another client's and is not adopted, is not sent either: then the server has
 * lost count, or another reply has overtaken this one, so that it has to say it
 * several times in a row. */
bool tinker__part_misses(tinker__part_t *part, int64_t seq) {
  const tinker__turn_t *turn = part->op->turn;
  bool lost = turn && turn->ordered && seq > 0 && seq < part->seq &&
              !is_on_its_way(part->op, seq);
  part->misses = lost ? part->misses + 1 : 0;
  return lost && (tinker__turn_misses(turn, seq) || part->misses >= MISSES);
}

/* Nobody sends the number any more that the server waits for. Where it was
 * refused, the refusal was not the server's own. */
static void missed(tinker__part_t *part, const tinker__http_reply_t *reply,
                   const tinker__says_what_t *what) {
  char why[200];
  bool refused = tinker__turn_misses(part->op->turn, what->missing);
  tinker__why(why, sizeof why, 0, "the server waits for seq_id %lld, %s",
              (long long)what->missing,
              refused ? "whose request was refused and is not sent again"
                      : "which is not sent any more: it has lost count, or an "
                        "earlier client has not sent it");
  tinker__op_part_failed(part, TINKER_EFATAL,
                         TINKER__ADVICE_FATAL | TINKER__ADVICE_RECOVER |
                             TINKER__ADVICE_UNKNOWN,
                         reply->status, 0, TINKER_CATEGORY_UNKNOWN, why);
}

/* Not ready yet. */
static void again(tinker__part_t *part, const tinker__http_reply_t *reply,
                  const tinker__says_what_t *what) {
  tinker__flow_t *flow = part->op->flow;
  if (tinker__part_misses(part, what->missing)) {
    missed(part, reply, what);
    return;
  }
  tinker__op_trouble(part, what->paused ? TINKER_HOLD_QUEUE : TINKER_HOLD_NONE,
                     what->text);
  int64_t ms = tinker__retry_try_again(&part->retry, flow->now_ms, &flow->seed);
  TINKER__TRACE(part->op, part, "not ready, asks again in %lld ms",
                (long long)ms);
  tinker__part_rest(part, TINKER__PART_PAUSE, ms);
}

static void announced(tinker__part_t *part, const tinker__http_reply_t *reply,
                      int64_t bytes) {
  char why[120];
  if (part->full) {
    tinker__op_part_failed(part, TINKER_EPROTO, TINKER__ADVICE_UNKNOWN,
                           reply->status, 0, TINKER_CATEGORY_UNKNOWN,
                           "the server announced the size of the result "
                           "again instead of sending it");
  } else if (bytes > ANNOUNCED_MAX) {
    tinker__why(why, sizeof why, 0,
                "the result has %lld bytes, at most %lld are taken",
                (long long)bytes, (long long)ANNOUNCED_MAX);
    tinker__op_part_failed(part, TINKER_EOVERFLOW, TINKER__ADVICE_UNKNOWN,
                           reply->status, 0, TINKER_CATEGORY_UNKNOWN, why);
  } else {
    hold(part, bytes);
  }
}

static void understood(tinker__part_t *part, tinker__http_reply_t *reply) {
  tinker__says_what_t what;
  tinker__reply_read(reply, part->op->mem, part->op->kind->retry, &what);
  switch (what.says) {
  case TINKER__SAYS_RESULT: ready(part, reply); break;
  case TINKER__SAYS_AGAIN: again(part, reply, &what); break;
  case TINKER__SAYS_METADATA: announced(part, reply, what.payload_bytes); break;
  case TINKER__SAYS_FAILED:
    fail(part, reply, what.code, what.advice, &what);
    break;
  case TINKER__SAYS_NONSENSE:
    fail(part, reply, TINKER_EPROTO, TINKER__ADVICE_UNKNOWN, &what);
    break;
  }
}

void tinker__part_told(tinker__part_t *part, tinker__http_reply_t *reply) {
  if (tinker__http_failed(reply)) {
    tinker__part_trouble(part, TINKER__RETRY_POLL, reply, TINKER__PART_PAUSE);
  } else {
    understood(part, reply);
  }
}

/* The bytes of a large result are given back when it is here, not when it is
 * decoded: without a callback nobody may ever decode it. */
void tinker__part_leave_poll(tinker__part_t *part) {
  tinker__flow_t *flow = part->op->flow;
  /* A part that still waits for room has none to give back. */
  if (part->full && part->state != TINKER__PART_HELD) {
    tinker__quota_leave(&flow->replies, part->held_bytes);
  }
  part->full = false;
  if (part->op->turn) tinker__turn_leave_line(part->op->turn, part);
}
