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
  atomic_init(&t->fatal, false);
  t->mem = mem;
  t->ordered = ordered;
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

static void fail_queued(tinker__turn_t *turn, tinker__op_t *op) {
  tinker__op_set_error(
      op, tinker__error_new(
              op->mem,
              &(tinker__error_spec_t){.code = TINKER_EFATAL,
                                      .where = op->flow->where,
                                      .advice = TINKER__ADVICE_FATAL |
                                                TINKER__ADVICE_RECOVER},
              "%s was not sent: %s", op->kind->name, tinker__turn_why(turn)));
  tinker__op_on(op, TINKER__ON_FAIL);
}

void tinker__turn_push(tinker__turn_t *turn, tinker__op_t *op) {
  if (atomic_load(&turn->fatal)) {
    fail_queued(turn, op);
    return;
  }
  tinker__list_push_back(&turn->queue, &op->link);
  mark(turn, op->flow);
}

void tinker__turn_pump(tinker__turn_t *turn) {
  if (turn->sending || atomic_load(&turn->fatal)) return;
  tinker__link_t *l = tinker__list_pop_front(&turn->queue);
  if (!l) return;
  tinker__op_t *op = TINKER__CONTAINER(l, tinker__op_t, link);
  turn->sending = op;
  tinker__op_on(op, TINKER__ON_TURN);
}

int tinker__turn_number(tinker__turn_t *turn, tinker__op_t *op) {
  for (size_t i = 0; i < op->count; i++) {
    tinker__part_t *part = &op->parts[i];
    int rc = tinker__wire_body_stamp(&part->body, tinker__str(turn->id),
                                     turn->next_seq + (int64_t)i);
    if (rc) return rc;
    part->seq = turn->next_seq + (int64_t)i;
  }
  turn->next_seq += (int64_t)op->count;
  for (size_t i = 0; i < op->count; i++) {
    TINKER__TRACE(op, &op->parts[i], "numbered");
  }
  return 0;
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

void tinker__turn_done(tinker__op_t *op) {
  tinker__turn_t *turn = op->turn;
  if (!turn || turn->sending != op) return;
  turn->sending = NULL;
  mark(turn, op->flow);
}

void tinker__turn_fail(tinker__turn_t *turn, const char *why) {
  if (atomic_load(&turn->fatal)) return;
  turn->fatal_why = tinker__mem_strdup(turn->mem, why);
  atomic_store(&turn->fatal, true);
  tinker__link_t *l;
  while ((l = tinker__list_pop_front(&turn->queue))) {
    fail_queued(turn, TINKER__CONTAINER(l, tinker__op_t, link));
  }
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
