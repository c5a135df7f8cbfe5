/* The life of an operation, see op.h. */
#include "flow/op.h"

#include "base/error.h"
#include "flow/internal.h"

#define QUEUED TINKER__OP_QUEUED
#define GATED TINKER__OP_GATED
#define ADMITTING TINKER__OP_ADMITTING
#define SENDING TINKER__OP_SENDING
#define POLLING TINKER__OP_POLLING
#define HANDED TINKER__OP_HANDED
#define LEAVING TINKER__OP_LEAVING
#define TRAILING TINKER__OP_TRAILING
#define DONE TINKER__OP_DONE
/* clang-format off */
#define BUG(s)  {s, TINKER__DO_NEVER}
/* clang-format on */

/* States by events. SENDING may become READY without POLLING: when the reply
 * is the result, or when the polls of the early parts are faster than the
 * last part's submission was answered. */
/* clang-format off */
static const tinker__op_move_t
    moves[TINKER__OP_STATES][TINKER__OP_EVENTS] = {
  [QUEUED] = {
    [TINKER__ON_TURN] = {SENDING, TINKER__DO_START},
    [TINKER__ON_GATE] = {GATED, TINKER__DO_NOTHING},
    [TINKER__ON_PASS] = BUG(QUEUED),
    [TINKER__ON_DOOR] = {ADMITTING, TINKER__DO_OFFER},
    [TINKER__ON_GO] = BUG(QUEUED),
    [TINKER__ON_SENT] = BUG(QUEUED),
    [TINKER__ON_READY] = BUG(QUEUED),
    [TINKER__ON_STEP] = BUG(QUEUED),
    [TINKER__ON_LATER] = BUG(QUEUED),
    [TINKER__ON_LOST] = BUG(QUEUED),
    [TINKER__ON_FAIL] = {DONE, TINKER__DO_ABORT},
    [TINKER__ON_STOP] = {DONE, TINKER__DO_ABORT},
    [TINKER__ON_TRAIL] = {DONE, TINKER__DO_ABORT},
    [TINKER__ON_QUIT] = {DONE, TINKER__DO_ABORT},
  },
  [GATED] = {
    [TINKER__ON_TURN] = BUG(GATED),
    [TINKER__ON_GATE] = BUG(GATED),
    [TINKER__ON_PASS] = {QUEUED, TINKER__DO_NOTHING},
    [TINKER__ON_DOOR] = BUG(GATED),
    [TINKER__ON_GO] = BUG(GATED),
    [TINKER__ON_SENT] = BUG(GATED),
    [TINKER__ON_READY] = BUG(GATED),
    [TINKER__ON_STEP] = BUG(GATED),
    [TINKER__ON_LATER] = BUG(GATED),
    [TINKER__ON_LOST] = BUG(GATED),
    [TINKER__ON_FAIL] = {DONE, TINKER__DO_ABORT},
    [TINKER__ON_STOP] = {DONE, TINKER__DO_ABORT},
    [TINKER__ON_TRAIL] = {DONE, TINKER__DO_ABORT},
    [TINKER__ON_QUIT] = {DONE, TINKER__DO_ABORT},
  },
  [ADMITTING] = {
    [TINKER__ON_TURN] = BUG(ADMITTING),
    [TINKER__ON_GATE] = BUG(ADMITTING),
    [TINKER__ON_PASS] = BUG(ADMITTING),
    [TINKER__ON_DOOR] = BUG(ADMITTING),
    [TINKER__ON_GO] = {SENDING, TINKER__DO_DEPART},
    [TINKER__ON_SENT] = BUG(ADMITTING),
    [TINKER__ON_READY] = BUG(ADMITTING),
    [TINKER__ON_STEP] = BUG(ADMITTING),
    [TINKER__ON_LATER] = BUG(ADMITTING),
    [TINKER__ON_LOST] = BUG(ADMITTING),
    [TINKER__ON_FAIL] = {DONE, TINKER__DO_WITHDRAW},
    [TINKER__ON_STOP] = {DONE, TINKER__DO_WITHDRAW},
    [TINKER__ON_TRAIL] = {DONE, TINKER__DO_WITHDRAW},
    [TINKER__ON_QUIT] = {DONE, TINKER__DO_WITHDRAW},
  },
  [SENDING] = {
    [TINKER__ON_TURN] = BUG(SENDING),
    [TINKER__ON_GATE] = BUG(SENDING),
    [TINKER__ON_PASS] = BUG(SENDING),
    [TINKER__ON_DOOR] = BUG(SENDING),
    [TINKER__ON_GO] = BUG(SENDING),
    [TINKER__ON_SENT] = {POLLING, TINKER__DO_NOTHING},
    [TINKER__ON_READY] = BUG(SENDING),
    [TINKER__ON_STEP] = BUG(SENDING),
    [TINKER__ON_LATER] = BUG(SENDING),
    [TINKER__ON_LOST] = BUG(SENDING),
    [TINKER__ON_FAIL] = {LEAVING, TINKER__DO_TELL},
    [TINKER__ON_STOP] = {LEAVING, TINKER__DO_TELL},
    [TINKER__ON_TRAIL] = {TRAILING, TINKER__DO_PART},
    [TINKER__ON_QUIT] = {DONE, TINKER__DO_ABORT},
  },
  [POLLING] = {
    [TINKER__ON_TURN] = BUG(POLLING),
    [TINKER__ON_GATE] = BUG(POLLING),
    [TINKER__ON_PASS] = BUG(POLLING),
    [TINKER__ON_DOOR] = {ADMITTING, TINKER__DO_OFFER},
    [TINKER__ON_GO] = BUG(POLLING),
    [TINKER__ON_SENT] = BUG(POLLING),
    [TINKER__ON_READY] = {DONE, TINKER__DO_HAND},
    [TINKER__ON_STEP] = {SENDING, TINKER__DO_START},
    [TINKER__ON_LATER] = {HANDED, TINKER__DO_NOTHING},
    [TINKER__ON_LOST] = {QUEUED, TINKER__DO_AGAIN},
    [TINKER__ON_FAIL] = {DONE, TINKER__DO_ABORT},
    [TINKER__ON_STOP] = {DONE, TINKER__DO_ABORT},
    [TINKER__ON_TRAIL] = {TRAILING, TINKER__DO_PART},
    [TINKER__ON_QUIT] = {DONE, TINKER__DO_ABORT},
  },
  [HANDED] = {
    [TINKER__ON_TURN] = BUG(HANDED),
    [TINKER__ON_GATE] = BUG(HANDED),
    [TINKER__ON_PASS] = BUG(HANDED),
    [TINKER__ON_DOOR] = {ADMITTING, TINKER__DO_OFFER},
    [TINKER__ON_GO] = BUG(HANDED),
    [TINKER__ON_SENT] = BUG(HANDED),
    [TINKER__ON_READY] = {DONE, TINKER__DO_HAND},
    [TINKER__ON_STEP] = {SENDING, TINKER__DO_START},
    [TINKER__ON_LATER] = BUG(HANDED),
    [TINKER__ON_LOST] = BUG(HANDED),
    [TINKER__ON_FAIL] = {DONE, TINKER__DO_ABORT},
    [TINKER__ON_STOP] = {DONE, TINKER__DO_ABORT},
    [TINKER__ON_TRAIL] = {DONE, TINKER__DO_ABORT},
    [TINKER__ON_QUIT] = {DONE, TINKER__DO_ABORT},
  },
  [LEAVING] = {
    [TINKER__ON_TURN] = BUG(LEAVING),
    [TINKER__ON_GATE] = BUG(LEAVING),
    [TINKER__ON_PASS] = BUG(LEAVING),
    [TINKER__ON_DOOR] = BUG(LEAVING),
    [TINKER__ON_GO] = BUG(LEAVING),
    [TINKER__ON_SENT] = {DONE, TINKER__DO_FINISH},
    [TINKER__ON_READY] = BUG(LEAVING),
    [TINKER__ON_STEP] = BUG(LEAVING),
    [TINKER__ON_LATER] = BUG(LEAVING),
    [TINKER__ON_LOST] = BUG(LEAVING),
    [TINKER__ON_FAIL] = {LEAVING, TINKER__DO_NOTHING},
    [TINKER__ON_STOP] = {LEAVING, TINKER__DO_NOTHING},
    [TINKER__ON_TRAIL] = {LEAVING, TINKER__DO_NOTHING},
    [TINKER__ON_QUIT] = {DONE, TINKER__DO_ABORT},
  },
  [TRAILING] = {
    [TINKER__ON_TURN] = BUG(TRAILING),
    [TINKER__ON_GATE] = BUG(TRAILING),
    [TINKER__ON_PASS] = BUG(TRAILING),
    [TINKER__ON_DOOR] = BUG(TRAILING),
    [TINKER__ON_GO] = BUG(TRAILING),
    [TINKER__ON_SENT] = {TRAILING, TINKER__DO_NOTHING},
    [TINKER__ON_READY] = {DONE, TINKER__DO_FINISH},
    [TINKER__ON_STEP] = BUG(TRAILING),
    [TINKER__ON_LATER] = BUG(TRAILING),
    [TINKER__ON_LOST] = BUG(TRAILING),
    [TINKER__ON_FAIL] = {TRAILING, TINKER__DO_NOTHING},
    [TINKER__ON_STOP] = {TRAILING, TINKER__DO_NOTHING},
    [TINKER__ON_TRAIL] = {TRAILING, TINKER__DO_NOTHING},
    [TINKER__ON_QUIT] = {DONE, TINKER__DO_ABORT},
  },
  [DONE] = {
    [TINKER__ON_TURN] = BUG(DONE),
    [TINKER__ON_GATE] = BUG(DONE),
    [TINKER__ON_PASS] = BUG(DONE),
    [TINKER__ON_DOOR] = BUG(DONE),
    [TINKER__ON_GO] = BUG(DONE),
    [TINKER__ON_SENT] = BUG(DONE),
    [TINKER__ON_READY] = BUG(DONE),
    [TINKER__ON_STEP] = BUG(DONE),
    [TINKER__ON_LATER] = BUG(DONE),
    [TINKER__ON_LOST] = BUG(DONE),
    [TINKER__ON_FAIL] = {DONE, TINKER__DO_NOTHING},
    [TINKER__ON_STOP] = {DONE, TINKER__DO_NOTHING},
    [TINKER__ON_TRAIL] = {DONE, TINKER__DO_NOTHING},
    [TINKER__ON_QUIT] = {DONE, TINKER__DO_NOTHING},
  },
};
/* clang-format on */

tinker__op_move_t tinker__op_move(tinker__op_state_t state,
                                  tinker__op_event_t event) {
  return moves[state][event];
}

const char *tinker__op_state_name(tinker__op_state_t state) {
  static const char *const names[TINKER__OP_STATES] = {
      "queued", "gated",   "admitting", "sending", "polling",
      "handed", "leaving", "trailing",  "done"};
  return names[state];
}

const char *tinker__op_event_name(tinker__op_event_t event) {
  static const char *const names[TINKER__OP_EVENTS] = {
      "turn", "gate",  "pass", "door", "go",   "sent",  "ready",
      "step", "later", "lost", "fail", "stop", "trail", "quit"};
  return names[event];
}

static void part_init(tinker__part_t *part, tinker__op_t *op) {
  *part = (tinker__part_t){.op = op, .seq = -1};
  tinker__list_init(&part->link);
  tinker__wire_body_init(&part->body, op->mem);
  tinker__buf_init(&part->text, op->mem, 1 << 20);
}

int tinker__op_new(tinker__op_t **out, tinker__mem_t *mem,
                   const tinker__kind_t *kind, size_t count,
                   tinker_future_t *future) {
  if (count > (SIZE_MAX - sizeof(tinker__op_t)) / sizeof(tinker__part_t)) {
    return TINKER_ENOMEM;
  }
  tinker__op_t *op =
      tinker__mem_zalloc(mem, sizeof *op + count * sizeof(tinker__part_t));
  if (!op) return TINKER_ENOMEM;
  tinker__list_init(&op->link);
  tinker__list_init(&op->all);
  tinker__list_init(&op->asked);
  tinker__list_init(&op->held);
  op->mem = mem;
  op->kind = kind;
  op->future = future;
  op->count = count;
  op->deadline_ms = -1;
  for (size_t i = 0; i < count; i++) part_init(&op->parts[i], op);
  tinker__future_ref(future);
  future->op = op;
  *out = op;
  return 0;
}

static void part_clear(tinker__part_t *part) {
  tinker__mem_t *mem = part->op->mem;
  tinker__wire_body_free(&part->body);
  tinker__buf_free(&part->text);
  tinker__mem_free(mem, part->request_id);
  tinker__raw_free(&part->raw, mem);
}

void tinker__op_next_step(tinker__op_t *op, const tinker__kind_t *kind) {
  tinker__turn_over(op);
  for (size_t i = 0; i < op->count; i++) {
    part_clear(&op->parts[i]);
    part_init(&op->parts[i], op);
  }
  tinker__mem_free(op->mem, op->path);
  op->path = NULL;
  bool changed = op->kind->effect > TINKER__EFFECT_FORWARD;
  op->kind = kind;
  op->stepped |= changed;
  op->adopted = false;
  op->ticket = 0;
  op->answered = op->ready = 0;
}

void tinker__op_free(tinker__op_t *op) {
  if (!op) return;
  for (size_t i = 0; i < op->count; i++) part_clear(&op->parts[i]);
  if (op->future) op->future->op = NULL;
  tinker__future_unref(op->future);
  tinker__error_release(op->error);
  tinker__turn_release(op->turn);
  tinker__turn_release(op->about);
  tinker__mem_free(op->mem, op->offer);
  tinker__mem_free(op->mem, op->path);
  tinker__mem_free(op->mem, op);
}
