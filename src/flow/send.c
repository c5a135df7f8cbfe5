/* send: sends a part's request, and sends it again when it fails. Loop's
 * thread.
 *
 * A submission that is not answered for some seconds holds up its trainer. A
 * numbered one is therefore sent a second time beside the first, on a
 * connection of its own, with the same bytes and the same number. The first
 * reply counts; the other request is dropped. */
#include <string.h>

#include "flow/internal.h"
#include "wire/messages.h"

#define POST_TIMEOUT_MS 60000
/* A large body gets more time, so that a line on which it moves slowly is not
 * given up (F85); one on which nothing moves is, after POST_TIMEOUT_MS. */
#define POST_BYTES_S 16000 /* a second more for each */
#define POST_REPLY_MAX ((size_t)16 << 20)
/* The second request is sent after this time, and more for a large body: on a
 * slow line the two would halve each other's speed. */
#define SECOND_MS 10000
#define SECOND_BYTES_MS 256 /* a millisecond more for each */

static void post_second(tinker__part_t *part);

/* It waited in the brake's line until its time was over, or nobody waits for
 * it any more. */
static void expire(tinker__part_t *part) {
  const tinker__verdict_t *v = &part->retry.last;
  char why[sizeof part->op->cause];
  tinker__why(why, sizeof why, 0, "%s", part->op->cause);
  tinker__list_remove(&part->link);
  tinker__part_fails_no_more(part);
  tinker__op_part_failed(part, v->code, v->advice, part->retry_status, 0,
                         v->category, why);
}

static void on_timer(tinker__timer_t *timer) {
  tinker__part_t *part = TINKER__CONTAINER(timer, tinker__part_t, timer);
  if (part->state == TINKER__PART_POSTING) {
    post_second(part);
  } else if (!tinker__list_empty(&part->link)) {
    expire(part);
  } else if (part->state == TINKER__PART_REST) {
    tinker__part_post(part);
  } else if (part->state == TINKER__PART_PAUSE) {
    tinker__part_ask(part);
  } else if (part->op->state == TINKER__OP_QUEUED) {
    tinker__throttle_push(part->op); /* a sample whose result was lost */
  }
}

void tinker__part_rest(tinker__part_t *part, tinker__part_state_t state,
                       int64_t delay_ms) {
  part->state = state;
  tinker__part_wake(part, part->op->flow->now_ms + delay_ms);
}

void tinker__part_wake(tinker__part_t *part, int64_t at_ms) {
  part->timer.run = on_timer;
  tinker__timers_put(&part->op->flow->timers, &part->timer, at_ms);
}

tinker__attempt_t *tinker__part_attempt(tinker__part_t *part) {
  for (int i = 0; i < 2; i++) {
    if (!part->attempts[i].out) return &part->attempts[i];
  }
  return NULL;
}

bool tinker__part_send(tinker__part_t *part, tinker__attempt_t *attempt,
                       int *rc) {
  tinker__flow_t *flow = part->op->flow;
  tinker__part_fails_no_more(part);
  tinker__retry_sent(&part->retry, flow->now_ms);
  attempt->http.user = part;
  *rc = flow->sink->send(flow->user, &attempt->http);
  if (*rc) return false;
  attempt->out = true;
  part->op->outs++;
  if (attempt->http.lane == TINKER__LANE_POLL) {
    part->op->polls++;
  } else {
    part->op->attempts++;
  }
  tinker__news_show(part->op);
  return true;
}

/* A request that the transport refused is a failure like one that was not
 * sent: it is tried again, after a pause. */
static void refused(tinker__part_t *part, tinker__part_state_t rest, int rc) {
  tinker__http_reply_t reply = {.error = rc, .retry_after_ms = -1};
  tinker__part_trouble(part, part->op->kind->retry, &reply, rest);
}

/* The service took it from another client. */
static void take_over(tinker__part_t *part) {
  TINKER__TRACE(part->op, part, "taken over as %s", part->request_id);
  tinker__part_line_up(part);
  tinker__op_part_answered(part);
}

void tinker__part_start(tinker__part_t *part) {
  tinker__flow_t *flow = part->op->flow;
  if (tinker__op_is_known(part->op)) {
    take_over(part);
    return;
  }
  if (part->op->kind->fb_quota) {
    part->state = TINKER__PART_ROOM;
    if (!tinker__quota_enter(&flow->fb, &part->link,
                             (int64_t)tinker__part_estimate(part))) {
      TINKER__TRACE(part->op, part, "waits for room among the submissions");
      return;
    }
    part->in_quota = true;
  }
  tinker__part_post(part);
}

static void fill_post(tinker__part_t *part, tinker__attempt_t *attempt) {
  const tinker__op_t *op = part->op;
  const tinker__kind_t *kind = op->kind;
  bool numbered = kind->retry & (TINKER__RETRY_NUMBERED | TINKER__RETRY_SAMPLE);
  attempt->headers[0] =
      (tinker__http_header_t){"X-Tinker-Sampling-Backpressure", "1"};
  attempt->http = (tinker__http_request_t){
      .lane = kind->lane,
      .method = kind->method,
      .path = op->path ? op->path : kind->path,
      .content_type = kind->proto_body ? "application/x-protobuf" : NULL,
      .headers = attempt->headers,
      .header_count = kind->retry == TINKER__RETRY_SAMPLE ? 1 : 0,
      .body = numbered ? tinker__wire_body_str(&part->body)
                       : tinker__buf_str(&part->text),
      .pieces = numbered ? tinker__wire_body_pieces(&part->body)
                         : (tinker__pieces_t){0},
      .numbered = numbered,
      .stall_ms = POST_TIMEOUT_MS,
      .reply_max = POST_REPLY_MAX,
  };
  attempt->http.timeout_ms =
      POST_TIMEOUT_MS + 1000 * (int64_t)(attempt->http.body.len / POST_BYTES_S);
}

void tinker__part_post(tinker__part_t *part) {
  if (!tinker__part_waits(part, TINKER__PART_REST)) tinker__part_post_now(part);
}

/* Nobody waits for it, and it has no number that has to be delivered. */
static bool is_left(const tinker__part_t *part) {
  return part->op->state == TINKER__OP_TRAILING &&
         part->op->kind->retry == TINKER__RETRY_REPEAT;
}

/* The fence has fallen since an earlier copy went out. */
static void fenced(tinker__part_t *part, tinker_error_t *error) {
  char why[600];
  tinker__part_fails_no_more(part);
  tinker__why(why, sizeof why, 0, "%s", tinker_error_message(error));
  int code = tinker_error_code(error);
  tinker__error_release(error);
  tinker__op_part_failed(part, code,
                         part->retry.maybe_done ? TINKER__ADVICE_UNKNOWN : 0,
                         part->retry_status, 0, TINKER_CATEGORY_UNKNOWN, why);
}

void tinker__part_post_now(tinker__part_t *part) {
  int rc;
  if (part->retry.sends && is_left(part)) {
    expire(part);
    return;
  }
  tinker_error_t *error = tinker__door_recheck(part);
  if (error) {
    fenced(part, error);
    return;
  }
  tinker__attempt_t *attempt = tinker__part_attempt(part);
  part->state = TINKER__PART_POSTING;
  fill_post(part, attempt);
  if (!tinker__part_send(part, attempt, &rc)) {
    refused(part, TINKER__PART_REST, rc);
    return;
  }
  TINKER__TRACE(part->op, part, "sent, attempt %u, %zu bytes",
                part->retry.sends, attempt->http.body.len);
  int64_t ms = SECOND_MS + (int64_t)(attempt->http.body.len / SECOND_BYTES_MS);
  if (!attempt->http.numbered || ms >= attempt->http.timeout_ms) return;
  tinker__part_wake(part, part->op->flow->now_ms + ms);
}

/* If the transport does not take it, the first one still runs to its end. */
static void post_second(tinker__part_t *part) {
  int rc;
  tinker__attempt_t *attempt = tinker__part_attempt(part);
  if (!attempt) return; /* one dropped before is still with the transport */
  if (!tinker__part_may_double(part)) return;
  fill_post(part, attempt);
  attempt->http.fresh = true;
  if (tinker__part_send(part, attempt, &rc)) {
    TINKER__TRACE(part->op, part, "no answer yet, sent a second time");
  }
}

/* The body that was accepted is not needed any more, unless by a copy that is
 * being given up, or for a sample, whose result may be lost. */
static void release_body(tinker__part_t *part) {
  if (part->answered && part->op->kind->retry != TINKER__RETRY_SAMPLE &&
      !part->attempts[0].dropped && !part->attempts[1].dropped) {
    tinker__wire_body_free(&part->body);
  }
}

void tinker__part_dropped(tinker__part_t *part, tinker__attempt_t *attempt) {
  attempt->dropped = false;
  release_body(part);
}

/* Takes back the requests that are still out. */
static void drop(tinker__part_t *part) {
  tinker__flow_t *flow = part->op->flow;
  for (int i = 0; i < 2; i++) {
    tinker__attempt_t *attempt = &part->attempts[i];
    if (!attempt->out || attempt->dropped) continue;
    attempt->dropped = true;
    flow->sink->cancel(flow->user, &attempt->http);
  }
}

void tinker__part_leave_quota(tinker__part_t *part) {
  if (!part->in_quota) return;
  part->in_quota = false;
  tinker__quota_leave(&part->op->flow->fb,
                      (int64_t)tinker__part_estimate(part));
}

/* A success that names no request. A number can be sent again and has to be:
 * what answered may have been something in between. */
static void not_understood(tinker__part_t *part, tinker__http_reply_t *reply,
                           int rc, const char *why) {
  if (rc == TINKER_EPROTO && part->op->kind->retry == TINKER__RETRY_NUMBERED) {
    tinker__part_trouble(part, TINKER__RETRY_NUMBERED, reply,
                         TINKER__PART_REST);
  } else {
    tinker__op_part_failed(part, rc, TINKER__ADVICE_UNKNOWN, reply->status, 0,
                           TINKER_CATEGORY_UNKNOWN, why);
  }
}

/* The body of a sample is kept: should its result be lost, it is submitted
 * again under a new number. */
static void accepted(tinker__part_t *part, tinker__http_reply_t *reply) {
  tinker__op_t *op = part->op;
  char why[200];
  int rc = tinker__reply_request_id(reply, op->mem, &part->request_id, why,
                                    sizeof why);
  if (rc) {
    not_understood(part, reply, rc, why);
    return;
  }
  if (op->kind->keep_accepted) {
    part->raw.accepted =
        tinker__buf_take(&reply->body, &part->raw.accepted_len);
  }
  part->retry = (tinker__retry_t){0};
  TINKER__TRACE(op, part, "accepted as %s", part->request_id);
  tinker__op_trouble(part, TINKER_HOLD_NONE, NULL);
  if (op->state == TINKER__OP_LEAVING) {
    part->state = TINKER__PART_DEAD;
  } else {
    tinker__part_line_up(part);
  }
  tinker__op_part_answered(part);
  release_body(part);
}

/* A failure without a reply leaves it to the other one. */
static bool other_goes_on(tinker__part_t *part,
                          const tinker__http_reply_t *reply) {
  if (!reply->error) return false;
  for (int i = 0; i < 2; i++) {
    if (part->attempts[i].out && !part->attempts[i].dropped) return true;
  }
  return false;
}

/* The reply to the request is the result. */
static void done(tinker__part_t *part) {
  part->state = TINKER__PART_READY;
  tinker__op_part_answered(part);
  tinker__op_part_ready(part);
}

void tinker__part_posted(tinker__part_t *part, tinker__http_reply_t *reply) {
  bool second = tinker__part_is_out(part);
  if (second && (!reply->error || reply->sent)) part->retry.maybe_done = true;
  if (other_goes_on(part, reply)) return;
  tinker__timers_remove(&part->op->flow->timers, &part->timer);
  drop(part);
  if (tinker__http_failed(reply)) {
    tinker__part_trouble(part, part->op->kind->retry, reply, TINKER__PART_REST);
  } else if (part->op->kind->request_type) {
    accepted(part, reply);
  } else {
    part->raw.data = tinker__buf_take(&reply->body, &part->raw.len);
    done(part);
  }
}

static const char *because(const tinker__part_t *part,
                           const tinker__http_reply_t *reply, char *out,
                           size_t out_len) {
  tinker__trouble_text(reply, out, out_len);
  if (reply->error == TINKER_EOVERFLOW && part->full) {
    size_t n = strlen(out);
    tinker__why(out + n, out_len - n, 0, " (the server announced %lld bytes)",
                (long long)part->held_bytes);
  }
  return out;
}

/* The server has held it for as long as it does: no failure. */
static bool is_poll_that_ran_out(tinker__retry_class_t class_bit,
                                 const tinker__trouble_t *failure) {
  return class_bit == TINKER__RETRY_POLL && failure->status == 408;
}

static tinker_hold_t hold_of(const tinker__trouble_t *failure) {
  if (failure->error) return TINKER_HOLD_UNREACHABLE;
  if (failure->status == 402) return TINKER_HOLD_BILLING;
  if (failure->status == 429) return TINKER_HOLD_PUSHED_BACK;
  return TINKER_HOLD_SERVER;
}

/* Notes why a part has to try again. */
static void note(tinker__part_t *part, tinker__retry_class_t class_bit,
                 const tinker__trouble_t *failure,
                 const tinker__http_reply_t *reply, const char *why) {
  tinker__says_what_t what;
  if (!is_poll_that_ran_out(class_bit, failure)) {
    tinker__op_trouble(part, hold_of(failure), why);
  } else if (tinker__reply_paused(reply, part->op->mem, &what)) {
    tinker__op_trouble(part, TINKER_HOLD_QUEUE, what.text);
  } else {
    tinker__op_trouble(part, TINKER_HOLD_NONE, NULL);
  }
}

/* A sample that is pushed back rests with all others. */
static void rest(tinker__part_t *part, tinker__retry_class_t class_bit,
                 const tinker__trouble_t *failure, int64_t delay_ms,
                 tinker__part_state_t state) {
  if (class_bit == TINKER__RETRY_SAMPLE &&
      (failure->status == 429 || failure->status == 402)) {
    int64_t ms = tinker__throttle_backpressure(part, failure->retry_after_ms);
    if (delay_ms < ms) delay_ms = ms;
  }
  if (failure->status == 429) tinker__part_push_back(part, state, delay_ms);
  TINKER__TRACE(part->op, part, "tries again in %lld ms: %s",
                (long long)delay_ms, part->op->cause);
  if (!is_poll_that_ran_out(class_bit, failure)) {
    tinker__news_failed(part, part->op->cause, delay_ms);
  }
  tinker__part_rest(part, state, delay_ms);
  tinker__part_fails(part);
}

/* A sample changes nothing: one whose result is lost may be drawn again. */
static unsigned advice_of(const tinker__part_t *part,
                          const tinker__verdict_t *v) {
  bool sample = part->op->kind->retry == TINKER__RETRY_SAMPLE;
  if (!sample || v->code != TINKER_ELOST) return v->advice;
  return TINKER__ADVICE_RETRIABLE;
}

/* Is there another way than this request, which the service has refused? If
 * somebody still waits, it is taken; not after bytes of another client, of
 * which it is not known what they ask for. */
static const tinker__kind_t *other_way(const tinker__part_t *part,
                                       const tinker__http_reply_t *reply) {
  const tinker__op_t *op = part->op;
  char words[400];
  if (!op->kind->instead || op->state != TINKER__OP_SENDING || op->adopted) {
    return NULL;
  }
  if (!tinker__http_refusal(reply)) return NULL;
  tinker__error_body_text(op->mem, tinker__buf_str(&reply->body), words,
                          sizeof words);
  return op->kind->instead(reply->status, words);
}

/* What an earlier copy may have deleted is not there any more. */
static bool is_deleted(const tinker__part_t *part, const tinker__verdict_t *v) {
  return v->kind == TINKER__VERDICT_FAIL && v->code == TINKER_ENOENT &&
         part->op->kind->method == TINKER__HTTP_DELETE &&
         part->retry.maybe_done;
}

/* A server that waits for a number that nobody sends takes no other, and one
 * that is further has carried this one out and can't say with what result. */
static void lose_count(tinker__part_t *part, tinker__retry_class_t class_bit,
                       tinker__trouble_t *failure) {
  if (class_bit != TINKER__RETRY_NUMBERED) return;
  if (tinker__part_misses(part, failure->expected) ||
      failure->expected > part->seq) {
    failure->said = TINKER__SAID_TAKEN;
  }
}

void tinker__part_trouble(tinker__part_t *part, tinker__retry_class_t class_bit,
                          tinker__http_reply_t *reply,
                          tinker__part_state_t state) {
  tinker__flow_t *flow = part->op->flow;
  char why[600];
  tinker__trouble_t failure;
  tinker__trouble_read(&failure, reply);
  lose_count(part, class_bit, &failure);
  tinker__verdict_t v =
      tinker__retry_judge(&part->retry, &flow->limits.retry, class_bit,
                          &failure, flow->now_ms, &flow->seed);
  because(part, reply, why, sizeof why);
  if (is_deleted(part, &v)) {
    done(part);
    return;
  }
  if (v.kind == TINKER__VERDICT_AGAIN && is_left(part)) {
    v.kind = TINKER__VERDICT_FAIL;
    part->retry.again = false;
  }
  if (v.kind == TINKER__VERDICT_AGAIN) {
    note(part, class_bit, &failure, reply, why);
    part->retry_status = reply->status;
    rest(part, class_bit, &failure, v.delay_ms, state);
    return;
  }
  if (v.kind == TINKER__VERDICT_OVER) flow->sink->over(flow->user);
  if (v.kind == TINKER__VERDICT_FAIL) part->instead = other_way(part, reply);
  if (v.kind == TINKER__VERDICT_LOST &&
      part->op->kind->retry == TINKER__RETRY_SAMPLE) {
    tinker__op_part_lost(part);
  } else {
    tinker__op_part_failed(part, v.code, advice_of(part, &v), reply->status,
                           failure.retry_after_ms, v.category, why);
  }
}

void tinker__part_stop(tinker__part_t *part) {
  tinker__flow_t *flow = part->op->flow;
  tinker__part_fails_no_more(part);
  tinker__timers_remove(&flow->timers, &part->timer);
  tinker__list_remove(&part->link);
  tinker__part_leave_quota(part);
  tinker__part_leave_poll(part);
  part->state = TINKER__PART_DEAD;
  drop(part);
}
