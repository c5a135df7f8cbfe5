/* The words and the advice that an operation fails with: a part that failed for
 * good, and an operation that nobody waits for any more. Loop's thread. */
#include "flow/internal.h"

/* The service counts the examples of a request, the caller those of the batch.
 */
static const char *numbered_name(const tinker__part_t *part, char *out,
                                 size_t out_len) {
  const char *name = part->op->kind->name;
  if (part->seq < 0) {
    tinker__why(out, out_len, 0, "%s", name);
  } else if (part->first) {
    tinker__why(out, out_len, 0,
                "%s (seq_id %lld, whose data[0] is data[%zu] of the call)",
                name, (long long)part->seq, part->first);
  } else {
    tinker__why(out, out_len, 0, "%s (seq_id %lld)", name,
                (long long)part->seq);
  }
  return out;
}

#define LATE                                                                   \
  "; the optim_step after it had been sent before this was known, and moves "  \
  "the weights without it"

/* May the server have carried it out, although it failed? A request that it
 * took and then calls its user's fault, it has not; of any other it is not
 * known. */
static bool may_count(const tinker__part_t *part, unsigned advice,
                      tinker_category_t category) {
  if (advice & TINKER__ADVICE_UNKNOWN) return true;
  return part->answered && category != TINKER_CATEGORY_USER;
}

void tinker__op_part_failed(tinker__part_t *part, int code, unsigned advice,
                            int status, int64_t retry_after_ms,
                            tinker_category_t category, const char *why) {
  tinker__op_t *op = part->op;
  char name[128];
  bool ordered = op->turn && op->turn->ordered;
  tinker__turn_t *turn = ordered ? op->turn : op->about;
  if (!turn) advice &= ~(unsigned)TINKER__ADVICE_FATAL; /* of no handle */
  bool fatal = advice & TINKER__ADVICE_FATAL;
  bool late =
      ordered && !tinker__turn_lacks(part, may_count(part, advice, category));
  /* Part of a batch may have been applied, whatever happened to the rest. */
  if (op->count > 1) {
    advice =
        (advice & ~(unsigned)TINKER__ADVICE_RETRIABLE) | TINKER__ADVICE_UNKNOWN;
  }
  /* So was an earlier step: a second try would make a second one. */
  if (op->stepped) advice = TINKER__ADVICE_UNKNOWN;
  tinker_error_t *error = tinker__error_new(
      op->mem,
      &(tinker__error_spec_t){.code = code,
                              .http_status = status,
                              .category = category,
                              .advice = advice,
                              .retry_after_ms = retry_after_ms,
                              .request_id = part->request_id ? part->request_id
                                                             : part->log_id,
                              .where = op->flow->where},
      "%s: %s%s", numbered_name(part, name, sizeof name), why,
      late ? LATE : "");
  part->ended = true;
  tinker__door_failed(part, error);
  if (part->instead) {
    TINKER__TRACE(op, part, "goes another way: %s", why);
    tinker__error_release(error);
    tinker__op_instead(part);
    return;
  }
  tinker_error_t *cause = fatal ? tinker__error_retain(error) : NULL;
  tinker__op_set_error(op, error);
  bool submission = !part->answered;
  if (submission && !fatal && ordered) {
    tinker__turn_give_up(op->turn, part->seq);
  }
  TINKER__TRACE(op, part, "failed with %s: %s", tinker_code_name(code), why);
  tinker__part_leave_poll(part);
  part->state = TINKER__PART_DEAD;
  tinker__op_on(op, fatal                      ? TINKER__ON_QUIT
                    : tinker__door_follows(op) ? TINKER__ON_TRAIL
                                               : TINKER__ON_FAIL);
  if (fatal) tinker__turn_fail(turn, tinker_error_message(cause));
  tinker__error_release(cause);
  if (submission) {
    tinker__op_part_answered(part);
  } else {
    tinker__op_end_trail(op);
  }
}

/* May the server have seen anything of it that it would act on? */
static bool maybe_done(const tinker__op_t *op) {
  if (op->stepped) return true;
  if (op->kind->retry == TINKER__RETRY_READ) return false;
  if (op->state == TINKER__OP_QUEUED) return op->losses > 0;
  if (op->state < TINKER__OP_SENDING) return false;
  if (op->state == TINKER__OP_HANDED || op->kind->keeps_turn) {
    return op->kind->effect > TINKER__EFFECT_FORWARD;
  }
  if (op->kind->retry == TINKER__RETRY_NUMBERED) return true;
  const tinker__part_t *part = &op->parts[0];
  return tinker__part_is_out(part) || part->answered || part->retry.maybe_done;
}

const char *tinker__op_cause(const tinker__op_t *op) {
  const tinker__flow_t *flow = op->flow;
  const char *text = NULL;
  if (op->cause[0]) return op->cause;
  if (op->state == TINKER__OP_ADMITTING) return "nobody has admitted it yet";
  if (op->state == TINKER__OP_GATED) return "the gate has not judged yet";
  if (op->state == TINKER__OP_HANDED) return "a function of the caller runs";
  if (op->state != TINKER__OP_QUEUED) return op->cause;
  if (!flow->ready[op->kind->needs]) {
    text = flow->sink->trouble ? flow->sink->trouble(flow->user) : NULL;
  } else if (op->turn && op->turn->sending) {
    text =
        tinker__op_cause(op->turn->sending); /* it waits for that one's end */
  } else if (op->turn && flow->door && flow->door->gate && op->turn->open) {
    text = "the gate waits for the results before it";
  }
  return text ? text : "";
}

void tinker__op_stop(tinker__op_t *op, int code, const char *why) {
  bool maybe = maybe_done(op);
  const char *cause = tinker__op_cause(op);
  tinker__error_spec_t spec = {
      .code = code,
      .advice = maybe ? TINKER__ADVICE_UNKNOWN : TINKER__ADVICE_RETRIABLE,
      .request_id = op->parts[0].request_id ? op->parts[0].request_id
                                            : op->parts[0].log_id,
      .where = op->flow->where,
  };
  bool numbered = op->kind->retry == TINKER__RETRY_NUMBERED;
  bool closed = op->flow->closed;
  tinker__op_set_error(
      op,
      tinker__error_new(op->mem, &spec, "%s: %s; %s%s%s", op->kind->name, why,
                        maybe ? "the server may carry it out all the same"
                              : "nothing of it was carried out",
                        cause[0] ? "; last trouble: " : "", cause));
  tinker__op_on(op, !closed && tinker__door_follows(op) ? TINKER__ON_TRAIL
                    : !closed && numbered               ? TINKER__ON_STOP
                                                        : TINKER__ON_QUIT);
}

void tinker__flow_late(char *out, size_t out_len, int64_t timeout_ms) {
  tinker__why(out, out_len, 0, "its deadline of %lld ms has passed",
              (long long)timeout_ms);
}

void tinker__op_late(tinker__op_t *op) {
  char why[80];
  tinker__flow_late(why, sizeof why, op->timeout_ms);
  tinker__op_stop(op, TINKER_ETIMEDOUT, why);
}
