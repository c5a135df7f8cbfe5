/* The mutations of operations at the door, see door.h. */
#include "flow/door.h"

#include "flow/internal.h"

/* What was offered of an operation; one block. */
struct tinker__offer_s {
  tinker__mutation_t mutation;
  tinker__mutation_request_t requests[];
};

bool tinker__door_has(const tinker__op_t *op) {
  const tinker__door_t *d = op->flow->door;
  return d && op->kind->effect != TINKER__EFFECT_NONE &&
         !tinker__op_is_known(op) &&
         (d->admit || d->fence || d->accepted || d->ended);
}

/* The bytes of a part's request; *whole is for those that are one piece. */
static tinker__pieces_t body_of(const tinker__part_t *part,
                                tinker__piece_t *whole) {
  if (tinker__part_numbered(part)) {
    return tinker__wire_body_all(&part->body, whole);
  }
  tinker__str_t text = tinker__buf_str(&part->text);
  *whole = (tinker__piece_t){text.ptr, text.len, false};
  return (tinker__pieces_t){whole, 1, text.len};
}

/* A piece for each request follows the requests in the block. The size can't
 * overflow: a part is larger than a request with its piece. */
static struct tinker__offer_s *new_offer(tinker__op_t *op) {
  size_t each = sizeof(tinker__mutation_request_t) + sizeof(tinker__piece_t);
  struct tinker__offer_s *offer =
      tinker__mem_zalloc(op->mem, sizeof *offer + op->count * each);
  if (!offer) return NULL;
  tinker__piece_t *wholes =
      (tinker__piece_t *)(void *)&offer->requests[op->count];
  for (size_t i = 0; i < op->count; i++) {
    const tinker__part_t *part = &op->parts[i];
    offer->requests[i] = (tinker__mutation_request_t){
        .seq = part->seq,
        .body = body_of(part, &wholes[i]),
    };
  }
  offer->mutation = (tinker__mutation_t){
      .ticket = tinker__door_ticket(op->flow->door),
      .name = op->kind->name,
      .of = op->turn ? op->turn->id : NULL,
      .op = op,
      .count = op->count,
      .requests = offer->requests,
  };
  return offer;
}

static tinker_error_t *refusal(const tinker__op_t *op, int code,
                               const char *why) {
  tinker__error_spec_t spec = {.code = code, .where = op->flow->where};
  return tinker__error_new(op->mem, &spec, "%s was not sent: %s",
                           op->kind->name, why);
}

static void refuse(tinker__op_t *op, tinker_error_t *error) {
  tinker__list_remove(&op->asked);
  tinker__op_set_error(op, error);
  tinker__op_on(op, TINKER__ON_FAIL);
}

void tinker__door_offer(tinker__op_t *op) {
  tinker__door_t *door = op->flow->door;
  tinker_error_t *error = NULL;
  tinker__mem_free(op->mem, op->offer);
  op->offer = new_offer(op);
  if (!op->offer) {
    refuse(op, refusal(op, TINKER_ENOMEM, tinker_code_text(TINKER_ENOMEM)));
    return;
  }
  op->ticket = op->offer->mutation.ticket;
  tinker__admit_t answer =
      door->admit ? door->admit(door->user, &op->offer->mutation, &error)
                  : TINKER__ADMIT_GO;
  TINKER__TRACE(op, NULL, "offered under ticket %llu",
                (unsigned long long)op->ticket);
  if (answer == TINKER__ADMIT_LATER) {
    tinker__list_push_back(&op->flow->asked, &op->asked);
    tinker__news_held(op, TINKER_HOLD_ADMISSION);
  } else if (answer == TINKER__ADMIT_GO) {
    tinker__door_answer(op, NULL);
  } else {
    refuse(op, error ? error : refusal(op, TINKER_ESTATE, "it was refused"));
  }
}

tinker__op_t *tinker__door_asked(tinker__flow_t *flow, uint64_t ticket) {
  TINKER__LIST_EACH(l, next, &flow->asked) {
    tinker__op_t *op = TINKER__CONTAINER(l, tinker__op_t, asked);
    if (op->state == TINKER__OP_ADMITTING && op->ticket == ticket) return op;
  }
  return NULL;
}

tinker__op_t *tinker__gate_asked(tinker__flow_t *flow, uint64_t ticket) {
  TINKER__LIST_EACH(l, next, &flow->asked) {
    tinker__op_t *op = TINKER__CONTAINER(l, tinker__op_t, asked);
    if (op->state == TINKER__OP_GATED && op->question == ticket) return op;
  }
  return NULL;
}

static void gate_end_one(tinker__op_t *op, const tinker_error_t *error) {
  refuse(op, error ? tinker__error_retain(error)
                   : refusal(op, TINKER_ESTATE, "the gate has ended it"));
}

static void gate_end(tinker__op_t *op, const tinker_error_t *error, bool all) {
  tinker__turn_t *turn = op->turn;
  tinker__link_t *l = op->link.next;
  tinker__list_remove(&op->link);
  gate_end_one(op, error);
  tinker__sum_on(&turn->sum, TINKER__SUM_REJECTED);
  while (all && l != &turn->queue) {
    tinker__link_t *next = l->next;
    gate_end_one(TINKER__CONTAINER(l, tinker__op_t, link), error);
    l = next;
  }
}

void tinker__gate_answer(tinker__op_t *op, tinker__gate_t verdict,
                         tinker_error_t *error) {
  switch (verdict) {
  case TINKER__GATE_PASS:
    tinker__list_remove(&op->asked);
    op->judged = true;
    tinker__news_free(op);
    tinker__op_on(op, TINKER__ON_PASS);
    tinker__turn_mark(op);
    break;
  case TINKER__GATE_HOLD: tinker__news_held(op, TINKER_HOLD_ADMISSION); break;
  case TINKER__GATE_END:
  case TINKER__GATE_END_ALL:
    gate_end(op, error, verdict == TINKER__GATE_END_ALL);
    break;
  }
  tinker__error_release(error);
}

bool tinker__gate_lets(tinker__op_t *op) {
  tinker__door_t *door = op->flow->door;
  tinker_error_t *error = NULL;
  if (!door || !door->gate || op->judged ||
      op->kind->effect != TINKER__EFFECT_STEP) {
    return true;
  }
  if (op->state == TINKER__OP_GATED || op->turn->open) return false;
  op->question = tinker__door_ticket(door);
  tinker__op_on(op, TINKER__ON_GATE);
  tinker__list_push_back(&op->flow->asked, &op->asked);
  tinker__gate_t verdict = door->gate(door->user, op->question, op, &error);
  tinker__gate_answer(op, verdict, error);
  return op->judged;
}

void tinker__door_answer(tinker__op_t *op, tinker_error_t *error) {
  tinker__door_t *door = op->flow->door;
  tinker__list_remove(&op->asked);
  /* Results may have come in since it left its queue. */
  if (!error) error = tinker__turn_check(op);
  if (!error && door->fence) {
    error = door->fence(door->user, &op->offer->mutation);
  }
  if (error) {
    refuse(op, error);
    return;
  }
  tinker__mem_free(op->mem, op->offer);
  op->offer = NULL;
  tinker__op_on(op, TINKER__ON_GO);
}

tinker_error_t *tinker__door_recheck(const tinker__part_t *part) {
  const tinker__op_t *op = part->op;
  const tinker__door_t *door = op->flow->door;
  if (op->kind->retry != TINKER__RETRY_REPEAT || !part->retry.sends || !door ||
      !door->fence) {
    return NULL;
  }
  tinker__piece_t whole;
  tinker__mutation_request_t request = {part->seq, body_of(part, &whole)};
  tinker__mutation_t again = {
      .ticket = op->ticket,
      .name = op->kind->name,
      .op = part->op,
      .count = 1,
      .requests = &request,
  };
  return door->fence(door->user, &again);
}

/* Without a ticket there was no memory to ask. */
void tinker__door_withdraw(tinker__op_t *op) {
  tinker__door_t *door = op->flow->door;
  tinker__list_remove(&op->asked);
  for (size_t i = 0; i < op->count; i++) op->parts[i].seq = -1;
  if (op->ticket && door->withdrawn) door->withdrawn(door->user, op->ticket);
  op->ticket = 0;
}

static void report(const tinker__part_t *part, tinker__outcome_t outcome) {
  const tinker__op_t *op = part->op;
  tinker__door_t *door = op->flow->door;
  if (!op->ticket || !door->ended) return;
  outcome.request_id = part->request_id;
  door->ended(door->user, op->ticket, (size_t)(part - op->parts), &outcome);
}

void tinker__door_accepted(tinker__part_t *part) {
  const tinker__op_t *op = part->op;
  tinker__door_t *door = op->flow->door;
  if (!op->ticket || !door->accepted) return;
  door->accepted(door->user, op->ticket, (size_t)(part - op->parts),
                 part->request_id);
}

void tinker__door_ready(tinker__part_t *part) {
  report(part, (tinker__outcome_t){.kind = TINKER__OUTCOME_RESULT,
                                   .raw = &part->raw});
}

void tinker__door_failed(tinker__part_t *part, const tinker_error_t *error) {
  report(part,
         (tinker__outcome_t){.kind = TINKER__OUTCOME_FAILED, .error = error});
}

void tinker__door_leave(tinker__op_t *op) {
  for (size_t i = 0; op->ticket && i < op->count; i++) {
    tinker__part_t *part = &op->parts[i];
    if (part->ended) continue;
    part->ended = true;
    report(part,
           (tinker__outcome_t){.kind = part->retry.sends || part->request_id
                                           ? TINKER__OUTCOME_OPEN
                                           : TINKER__OUTCOME_UNSENT});
  }
}
