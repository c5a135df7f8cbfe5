/* Order and numbers, see turn.h. */
#include "flow/turn.h"

#include "flow/internal.h"

int tinker__turn_new(tinker__turn_t **out, tinker__mem_t *mem, const char *id,
                     bool ordered) {
  tinker__turn_t *t = tinker__mem_zalloc(mem, sizeof *t);
  if (!t) return TINKER_ENOMEM;
  t->id = tinker__mem_strdup(mem, id);
  if (!t->id) {
    tinker__mem_free(mem, t);
    return TINKER_ENOMEM;
  }
  atomic_init(&t->refs, 1);
  atomic_init(&t->refused, TINKER__BEFORE_NOTHING);
  atomic_init(&t->fatal, false);
  t->mem = mem;
  t->ordered = ordered;
  t->steps = 1;
  t->next_seq = ordered ? 1 : 0;
  tinker__list_init(&t->queue);
  tinker__list_init(&t->dirty);
  tinker__list_init(&t->line);
  *out = t;
  return 0;
}

tinker__turn_t *tinker__turn_retain(tinker__turn_t *turn) {
  atomic_fetch_add_explicit(&turn->refs, 1, memory_order_relaxed);
  return turn;
}

void tinker__turn_release(tinker__turn_t *turn) {
  if (!turn ||
      atomic_fetch_sub_explicit(&turn->refs, 1, memory_order_acq_rel) != 1) {
    return;
  }
  tinker__mem_free(turn->mem, turn->id);
  tinker__mem_free(turn->mem, turn->fatal_why);
  tinker__mem_free(turn->mem, turn);
}

static void mark(tinker__turn_t *turn, tinker__flow_t *flow) {
  if (tinker__list_empty(&turn->dirty)) {
    tinker__list_push_back(&flow->turns, &turn->dirty);
  }
}

static tinker_error_t *fatal_error(const tinker__op_t *op) {
  return tinker__error_new(
      op->mem,
      &(tinker__error_spec_t){.code = TINKER_EFATAL,
                              .where = op->flow->where,
                              .advice = TINKER__ADVICE_FATAL |
                                        TINKER__ADVICE_RECOVER},
      "%s was not sent: %s", op->kind->name, tinker__turn_why(op->turn));
}

static void fail_queued(tinker__op_t *op) {
  tinker__op_set_error(op, fatal_error(op));
  tinker__op_on(op, TINKER__ON_FAIL);
}

static void push_ahead(tinker__turn_t *turn, tinker__op_t *op) {
  tinker__link_t *at = turn->queue.next;
  while (at != &turn->queue &&
         TINKER__CONTAINER(at, tinker__op_t, link)->ahead) {
    at = at->next;
  }
  tinker__list_insert_before(at, &op->link);
}

void tinker__turn_push(tinker__turn_t *turn, tinker__op_t *op) {
  if (atomic_load(&turn->fatal)) {
    fail_queued(op);
    return;
  }
  if (op->ahead) {
    push_ahead(turn, op);
  } else {
    op->before = tinker__before_then(turn->last, op->before);
    turn->last = TINKER__BEFORE_NOTHING;
    tinker__list_push_back(&turn->queue, &op->link);
  }
  mark(turn, op->flow);
}

/* The first of the queue: false = it stays there for now. */
static bool pump_first(tinker__turn_t *turn, tinker__op_t *op) {
  tinker__before_run(op->before, &turn->sum);
  op->before = TINKER__BEFORE_NOTHING;
  tinker_error_t *error = tinker__turn_check(op);
  if (error) {
    tinker__list_remove(&op->link);
    tinker__op_set_error(op, error);
    tinker__op_on(op, TINKER__ON_FAIL);
    return true;
  }
  if (!tinker__gate_lets(op)) return op->state == TINKER__OP_DONE;
  tinker__list_remove(&op->link);
  turn->sending = op;
  tinker__op_leave_queue(op);
  return true;
}

void tinker__turn_pump(tinker__turn_t *turn) {
  tinker__link_t *l;
  while (!turn->sending && !atomic_load(&turn->fatal) &&
         (l = tinker__list_first(&turn->queue))) {
    if (!pump_first(turn, TINKER__CONTAINER(l, tinker__op_t, link))) return;
  }
}

void tinker__turn_mark(tinker__op_t *op) {
  mark(op->turn, op->flow);
}

/* An adopted operation brings the numbers of the one who has taken them. */
static int check_taken(const tinker__turn_t *turn, const tinker__op_t *op) {
  for (size_t i = 0; i < op->count; i++) {
    if (op->parts[i].seq >= turn->next_seq) return TINKER_EINVAL;
  }
  return 0;
}

int tinker__turn_number(tinker__turn_t *turn, tinker__op_t *op) {
  if (op->adopted) return check_taken(turn, op);
  for (size_t i = 0; i < op->count; i++) {
    tinker__part_t *part = &op->parts[i];
    int rc = tinker__wire_body_stamp(&part->body, tinker__str(turn->id),
                                     turn->next_seq + (int64_t)i);
    if (rc) return rc;
    part->seq = turn->next_seq + (int64_t)i;
  }
  return 0;
}

void tinker__turn_take(tinker__turn_t *turn, tinker__op_t *op) {
  if (!op->adopted) turn->next_seq += (int64_t)op->count;
  for (size_t i = 0; i < op->count; i++) {
    TINKER__TRACE(op, &op->parts[i], "numbered");
  }
  if (!turn->ordered) return;
  op->in_step = turn->steps;
  turn->open++;
  if (op->kind->effect == TINKER__EFFECT_STEP) {
    op->sum = turn->sum;
    tinker__sum_on(&turn->sum, TINKER__SUM_STEPPED);
    turn->steps++;
  }
}

static const char *why_not(const tinker__op_t *op) {
  const tinker__sum_t *sum = &op->turn->sum;
  switch (tinker__op_effect(op)) {
  case TINKER__EFFECT_ADD:
    if (tinker__sum_may_add(sum)) return NULL;
    break;
  case TINKER__EFFECT_STEP:
    if (op->partial_ok || tinker__sum_may_step(sum)) return NULL;
    break;
  default: return NULL;
  }
  if (sum->state == TINKER__SUM_SPOILED) {
    return "a forward_backward of this step failed, and nothing of the step is "
           "summed; its optim_step, unsent too, ends it, and the next step is "
           "as any other, or tinker_trainer_accept_partial() lets it go on";
  }
  if (sum->state == TINKER__SUM_OVERDUE) {
    return "the optim_step before it was not carried out, and its gradients "
           "are still summed; call optim_step first";
  }
  return "a call of this step failed, and the gradients of others are summed; "
         "go back to a checkpoint, or take them for the whole step with "
         "tinker_trainer_accept_partial()";
}

tinker_error_t *tinker__turn_check(const tinker__op_t *op) {
  if (!op->turn || !op->turn->ordered) return NULL;
  if (atomic_load(&op->turn->fatal)) return fatal_error(op);
  const char *why = why_not(op);
  if (!why) return NULL;
  bool dirty = op->turn->sum.state == TINKER__SUM_DIRTY;
  return tinker__error_new(
      op->mem,
      &(tinker__error_spec_t){.code = TINKER_ESTATE,
                              .where = op->flow->where,
                              .advice = dirty ? TINKER__ADVICE_RECOVER : 0},
      "%s was not sent: %s", op->kind->name, why);
}

/* What the lack of such a call means; EVENTS = nothing. */
static tinker__sum_event_t lack_of(tinker__effect_t effect) {
  if (effect == TINKER__EFFECT_ADD) return TINKER__SUM_LACKS;
  if (effect == TINKER__EFFECT_STEP) return TINKER__SUM_MISSED;
  return TINKER__SUM_EVENTS;
}

static bool by_wish(const tinker__op_t *op) {
  int code = tinker_error_code(op->error);
  return code == TINKER_ECANCELED || code == TINKER_ECLOSED;
}

void tinker__turn_unsent(tinker__op_t *op) {
  tinker__turn_t *turn = op->turn;
  tinker__sum_event_t event =
      by_wish(op) ? TINKER__SUM_EVENTS : lack_of(tinker__op_effect(op));
  if (tinker__list_empty(&op->link)) { /* it was the queue's first */
    if (event != TINKER__SUM_EVENTS) tinker__sum_on(&turn->sum, event);
    return;
  }
  tinker__before_t before = op->before;
  if (event != TINKER__SUM_EVENTS) before = tinker__before_on(before, event);
  tinker__before_t *next =
      op->link.next == &turn->queue
          ? &turn->last
          : &TINKER__CONTAINER(op->link.next, tinker__op_t, link)->before;
  *next = tinker__before_then(before, *next);
}

void tinker__turn_refused(tinker__turn_t *turn, tinker__effect_t effect) {
  tinker__sum_event_t event = lack_of(effect);
  int old = atomic_load(&turn->refused);
  if (event == TINKER__SUM_EVENTS) return;
  while (!atomic_compare_exchange_weak(
      &turn->refused, &old,
      (int)tinker__before_on((tinker__before_t)old, event))) {
  }
}

void tinker__turn_accept_partial(tinker__turn_t *turn) {
  tinker__sum_on(&turn->sum, TINKER__SUM_ACCEPTED);
  turn->last = TINKER__BEFORE_NOTHING;
  TINKER__LIST_EACH(l, next, &turn->queue) {
    TINKER__CONTAINER(l, tinker__op_t, link)->before = TINKER__BEFORE_NOTHING;
  }
}

/* The sum that has the gradients of op: the trainer's, or that of an optim_step
 * that may still be refused. NULL: it was used. */
static tinker__sum_t *sum_of(const tinker__op_t *op) {
  tinker__turn_t *turn = op->turn;
  if (op->in_step == turn->steps) return &turn->sum;
  bool last = turn->sending && turn->sending->in_step == op->in_step &&
              op->in_step + 1 == turn->steps;
  return last ? &turn->sending->sum : NULL;
}

void tinker__turn_added(tinker__part_t *part) {
  const tinker__op_t *op = part->op;
  if (op->kind->effect != TINKER__EFFECT_ADD) return;
  tinker__sum_t *sum = sum_of(op);
  if (sum) tinker__sum_on(sum, TINKER__SUM_ADDED);
}

/* An optim_step that is refused has used nothing. Where that is not sure it is
 * not known what is in the sum either. */
static void step_back(tinker__op_t *op, bool unknown) {
  tinker__turn_t *turn = op->turn;
  turn->sum = op->sum;
  turn->steps--;
  tinker__sum_on(&turn->sum,
                 unknown ? TINKER__SUM_REJECTED : TINKER__SUM_MISSED);
}

bool tinker__turn_lacks(tinker__part_t *part, bool unknown) {
  tinker__op_t *op = part->op;
  if (op->kind->effect == TINKER__EFFECT_STEP) {
    if (!part->answered) step_back(op, unknown);
    return true;
  }
  if (op->kind->effect != TINKER__EFFECT_ADD) return true;
  tinker__sum_t *sum = sum_of(op);
  if (sum && !part->answered && unknown) tinker__turn_added(part);
  if (sum) {
    bool back = part->answered && !unknown;
    tinker__sum_on(sum, back ? TINKER__SUM_BACK : TINKER__SUM_LACKS);
  }
  return sum == &op->turn->sum;
}

void tinker__turn_dispatch(tinker__op_t *op) {
  size_t n = op->count;
  if (op->parallel && n > 1) {
    if (op->answered == 0 && op->parts[1].state == TINKER__PART_IDLE) {
      for (size_t i = 1; i < n; i++) tinker__part_start(&op->parts[i]);
    }
    if (op->answered == n - 1 && op->parts[0].state == TINKER__PART_IDLE) {
      tinker__part_start(&op->parts[0]);
    }
  } else if (op->answered < n &&
             op->parts[op->answered].state == TINKER__PART_IDLE) {
    tinker__part_start(&op->parts[op->answered]);
  }
}

void tinker__turn_over(tinker__op_t *op) {
  if (!op->in_step) return;
  op->in_step = 0;
  if (--op->turn->open == 0) tinker__turn_mark(op);
}

void tinker__turn_done(tinker__op_t *op) {
  tinker__turn_t *turn = op->turn;
  if (!turn || !turn->ordered) return;
  if (turn->sending == op) turn->sending = NULL;
  mark(turn, op->flow); /* it may have kept others back from the queue, too */
}

/* Fatal last: a call that is refused for it, on whatever thread, ends after
 * those that were called before it. */
void tinker__turn_fail(tinker__turn_t *turn, const char *why) {
  if (atomic_load(&turn->fatal) || turn->fatal_why) return;
  turn->fatal_why = tinker__mem_strdup(turn->mem, why);
  tinker__link_t *l;
  tinker__op_t *op = turn->sending;
  if (op &&
      (op->state == TINKER__OP_ADMITTING || op->state == TINKER__OP_HANDED)) {
    fail_queued(op);
  }
  while ((l = tinker__list_pop_front(&turn->queue))) {
    fail_queued(TINKER__CONTAINER(l, tinker__op_t, link));
  }
  atomic_store(&turn->fatal, true);
}

void tinker__turn_give_up(tinker__turn_t *turn, int64_t seq) {
  if (turn->gap_count < TINKER__GAPS_MAX) turn->gaps[turn->gap_count++] = seq;
}

void tinker__turn_passed(tinker__turn_t *turn, int64_t seq) {
  size_t kept = 0;
  for (size_t i = 0; i < turn->gap_count; i++) {
    if (turn->gaps[i] > seq) turn->gaps[kept++] = turn->gaps[i];
  }
  turn->gap_count = kept;
}

bool tinker__turn_misses(const tinker__turn_t *turn, int64_t seq) {
  for (size_t i = 0; i < turn->gap_count; i++) {
    if (turn->gaps[i] == seq) return true;
  }
  return false;
}

/* The line is kept by number: a part is inserted from the back, which is
 * where it belongs but for part 1 of a parallel batch. */
void tinker__turn_line_up(tinker__turn_t *turn, tinker__part_t *part,
                          size_t places) {
  if (turn->polling < places && tinker__list_empty(&turn->line)) {
    turn->polling++;
    part->polling = true;
    tinker__part_ask(part);
    return;
  }
  part->state = TINKER__PART_LINE;
  TINKER__TRACE(part->op, part, "waits for a place among %zu polls", places);
  tinker__link_t *at = &turn->line;
  while (at->prev != &turn->line &&
         TINKER__CONTAINER(at->prev, tinker__part_t, link)->seq > part->seq) {
    at = at->prev;
  }
  tinker__list_insert_before(at, &part->link);
}

void tinker__turn_leave_line(tinker__turn_t *turn, tinker__part_t *part) {
  if (!part->polling) return;
  part->polling = false;
  turn->polling--;
  if (part->op->flow->closed) return;
  tinker__link_t *l = tinker__list_pop_front(&turn->line);
  if (!l) return;
  tinker__part_t *next = TINKER__CONTAINER(l, tinker__part_t, link);
  turn->polling++;
  next->polling = true;
  tinker__part_ask(next);
}
