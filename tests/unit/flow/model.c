/* The made-up user, server and door of the flow's model test, see model.h. */
#include "model.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "bench.h"
#include "wire/messages.h"

model_met_t model_met;

#define MUST(condition)                                                        \
  cr_assert((condition), "order %llu: %s", (unsigned long long)m->order,       \
            #condition)

size_t model_draw(model_t *m, size_t n) {
  m->rng ^= m->rng << 13;
  m->rng ^= m->rng >> 7;
  m->rng ^= m->rng << 17;
  return (size_t)((m->rng >> 11) % n);
}

static bool chance(model_t *m, size_t percent) {
  return model_draw(m, 100) < percent;
}

/* --- what the calls are about --- */

static int hand_over(tinker__op_t *op, char *why, size_t why_len) {
  model_t *m = op->flow->user;
  (void)why, (void)why_len;
  MUST(op->outs == 0);
  m->handed[m->handed_count++] = op;
  model_met.handed++;
  return TINKER__NEXT_LATER;
}

static const tinker__kind_t custom = {
    .name = "custom",
    .path = "forward",
    .request_type = "Forward",
    .retry = TINKER__RETRY_NUMBERED,
    .method = TINKER__HTTP_POST,
    .lane = TINKER__LANE_SUBMIT,
    .effect = TINKER__EFFECT_FORWARD,
    .keeps_turn = true,
    .next = hand_over,
};

static bool adds(const model_call_t *c) {
  return c->kind == &bench_batch || c->kind == &custom;
}

/* Does its step lack something of it, as far as its caller was told? */
static bool lacks(const model_call_t *c) {
  if (!adds(c) || c->forgiven || c->code == TINKER_ECANCELED) return false;
  return c->faulty || (c->settled && c->code && !c->sent);
}

static model_call_t *call_of(const tinker__op_t *op) {
  model_t *m = op->flow->user;
  size_t i = m->call_count; /* from the end: memory is used again */
  while (i > 0 && m->calls[i - 1].op != op) i--;
  MUST(i > 0);
  return &m->calls[i - 1];
}

static bool left_over(const model_t *m, int trainer, size_t before) {
  for (size_t i = 0; i < before; i++) {
    const model_call_t *c = &m->calls[i];
    if (c->trainer == trainer && c->added && !c->forgiven) return true;
  }
  return false;
}

/* The optim_step k has its number: nothing of its step is missing, and nothing
 * of another one is added to it. */
static void check_optim(model_t *m, size_t k) {
  bool own = false;
  int trainer = m->calls[k].trainer;
  for (size_t i = k; i-- > 0;) {
    const model_call_t *c = &m->calls[i];
    if (c->trainer != trainer) continue;
    MUST(!lacks(c));
    if (adds(c) && c->code != TINKER_ECANCELED && !c->forgiven) own = true;
    if (c->executed) return;
    if (c->kind != &bench_optim || c->forgiven) continue;
    if (c->code == TINKER_ECANCELED && !c->sent) continue;
    if (!left_over(m, trainer, i)) return;
    MUST(!own);
  }
}

void model_look(model_t *m) {
  for (size_t k = 0; k < m->call_count; k++) {
    model_call_t *c = &m->calls[k];
    const tinker__op_t *op = c->future->op;
    if (c->kind != &bench_optim || c->left || !op || !op->in_step) continue;
    c->left = true;
    model_met.optims++;
    if (!op->partial_ok) check_optim(m, k);
  }
}

/* --- the sink --- */

static uint64_t digest(tinker__str_t s) {
  uint64_t h = 14695981039346656037u;
  for (size_t i = 0; i < s.len; i++) {
    h = (h ^ (unsigned char)s.ptr[i]) * 1099511628211u;
  }
  return h;
}

/* Number and trainer of a trainer's submission; -1 = it is none. */
static long number_of(const tinker__http_request_t *r, int *trainer) {
  char text[96];
  int id;
  long seq;
  if (!strcmp(r->path, BENCH_POLL)) return -1;
  snprintf(text, sizeof text, "%.*s", (int)r->body.len,
           r->body.len ? r->body.ptr : "");
  if (sscanf(text, "{\"model_id\":\"m%d\",\"seq_id\":%ld", &id, &seq) != 2) {
    return -1;
  }
  *trainer = id;
  return id < MODEL_TRAINERS ? seq : -1;
}

static void first_send(model_t *m, const tinker__op_t *op, int t, long seq) {
  model_call_t *c = call_of(op);
  size_t k = (size_t)(c - m->calls);
  m->sent[t][seq] = (int)k + 1;
  if (m->flow.door && m->door.admit) {
    MUST(m->tickets[m->offered[t][seq]].state == TICKET_GONE);
  }
}

static int sink_send(void *user, tinker__http_request_t *r) {
  model_t *m = user;
  const tinker__op_t *op = ((tinker__part_t *)r->user)->op;
  int t = -1;
  long seq = number_of(r, &t);
  if (seq >= 0) {
    MUST(seq >= 1 && seq < MODEL_SEQS);
    uint64_t bytes = digest(r->body);
    if (!m->sent[t][seq]) {
      first_send(m, op, t, seq);
      m->bytes[t][seq] = bytes;
    }
    MUST(&m->calls[m->sent[t][seq] - 1] == call_of(op)); /* nobody else's */
    MUST(m->bytes[t][seq] == bytes);
  }
  if (op->kind->effect != TINKER__EFFECT_FORWARD) call_of(op)->sent = true;
  /* Its number is taken; it is tried again. */
  if (!m->kind_world && chance(m, 1)) return TINKER_ENOMEM;
  MUST(m->out_count < MODEL_OUT);
  m->out[m->out_count++] = (model_out_t){r, false};
  return 0;
}

static void sink_cancel(void *user, tinker__http_request_t *r) {
  model_t *m = user;
  for (size_t i = 0; i < m->out_count; i++) {
    if (m->out[i].request == r) m->out[i].canceled = true;
  }
}

/* Calls that were not sent end because of another one: after it, and in the
 * order of the calls, but for those that go ahead. */
static void check_order(model_t *m, const model_call_t *c) {
  int t = c->trainer;
  if (t < 0 || !c->code || !tinker_error_is_fatal(c->future->error)) return;
  if (c->code != TINKER_EFATAL || c->sent) {
    if (m->replies % 2) {
      MUST(m->effect[t] != m->replies || m->cause[t] == m->replies);
    }
    m->cause[t] = m->replies;
    return;
  }
  m->effect[t] = m->replies;
  for (const model_call_t *i = m->calls; i < c && !c->ahead; i++) {
    if (i->trainer == t && !i->settled && !i->ahead) MUST(i->op->in_step);
  }
}

static void sink_settled(void *user, tinker_future_t *f) {
  model_t *m = user;
  model_call_t *c = f->user;
  MUST(++c->settled == 1);
  c->code = f->error ? tinker_error_code(f->error) : 0;
  check_order(m, c);
  if (c->code) {
    model_met.failed++;
  } else {
    model_met.ended_well++;
  }
  if (c->code == TINKER_ESTATE) model_met.refused++;
  tinker__future_unref(f);
}

static void sink_wake_at(void *user, int64_t at_ms) {
  ((model_t *)user)->wake_ms = at_ms;
}

static void sink_bug(void *user, const char *what) {
  model_t *m = user;
  cr_assert_fail("order %llu: %s", (unsigned long long)m->order, what);
}

static void sink_need(void *user, tinker__needs_t need) {
  (void)user, (void)need;
}

static const tinker__sink_t sink = {
    .send = sink_send,
    .cancel = sink_cancel,
    .settled = sink_settled,
    .wake_at = sink_wake_at,
    .bug = sink_bug,
    .need = sink_need,
};

/* --- the door --- */

static model_ticket_t *ticket_of(model_t *m, uint64_t ticket) {
  MUST(ticket > 0 && ticket < MODEL_TICKETS);
  return &m->tickets[ticket];
}

static tinker_error_t *no(model_t *m) {
  return tinker__error_new(&m->mem,
                           &(tinker__error_spec_t){.code = TINKER_EBUSY}, "no");
}

static tinker__admit_t admit(void *user, const tinker__mutation_t *in,
                             tinker_error_t **error) {
  model_t *m = user;
  model_ticket_t *t = ticket_of(m, in->ticket);
  MUST(t->state == TICKET_UNUSED);
  *t = (model_ticket_t){.state = TICKET_ASKED,
                        .count = in->count,
                        .first = in->requests[0].seq,
                        .trainer = in->of ? in->of[1] - '0' : -1};
  for (size_t i = 0; i < in->count && t->first >= 0; i++) {
    int64_t seq = in->requests[i].seq;
    MUST(seq == t->first + (int64_t)i);
    MUST(!m->offered[t->trainer][seq] && !m->sent[t->trainer][seq]);
    m->offered[t->trainer][seq] = in->ticket;
  }
  if (m->kind_world || chance(m, 50)) return TINKER__ADMIT_GO;
  if (chance(m, 80)) return TINKER__ADMIT_LATER;
  *error = no(m);
  return TINKER__ADMIT_REFUSE;
}

static void withdrawn(void *user, uint64_t ticket) {
  model_t *m = user;
  model_ticket_t *t = ticket_of(m, ticket);
  MUST(t->state == TICKET_ASKED);
  t->state = TICKET_WITHDRAWN;
  model_met.withdrawn++;
  for (size_t i = 0; i < t->count && t->first >= 0; i++) {
    int64_t seq = t->first + (int64_t)i;
    MUST(!m->sent[t->trainer][seq]);
    m->offered[t->trainer][seq] = 0;
  }
}

static tinker_error_t *fence(void *user, const tinker__mutation_t *in) {
  model_t *m = user;
  model_ticket_t *t = ticket_of(m, in->ticket);
  MUST(t->state == TICKET_ASKED);
  if (!m->kind_world && chance(m, 4)) return no(m);
  t->state = TICKET_GONE;
  return NULL;
}

static void accepted(void *user, uint64_t ticket, size_t i,
                     const char *request_id) {
  model_t *m = user;
  model_ticket_t *t = ticket_of(m, ticket);
  MUST(t->state == TICKET_GONE && i < t->count && request_id);
  MUST(!(t->ended & 1u << i));
}

static void ended(void *user, uint64_t ticket, size_t i,
                  const tinker__outcome_t *o) {
  model_t *m = user;
  model_ticket_t *t = ticket_of(m, ticket);
  MUST(t->state == TICKET_GONE && i < t->count);
  MUST(!(t->ended & 1u << i));
  t->ended |= 1u << i;
  if (o->kind == TINKER__OUTCOME_UNSENT) {
    model_met.unsent++;
    MUST(t->first < 0 || !m->sent[t->trainer][t->first + (int64_t)i]);
  }
}

static tinker__gate_t gate(void *user, uint64_t ticket, const tinker__op_t *op,
                           tinker_error_t **error) {
  model_t *m = user;
  model_ticket_t *t = ticket_of(m, ticket);
  MUST(op->kind == &bench_optim && op->turn->open == 0);
  MUST(t->state == TICKET_UNUSED);
  model_met.judged++;
  if (m->kind_world || chance(m, 40)) return TINKER__GATE_PASS;
  if (chance(m, 20)) {
    *error = no(m);
    return chance(m, 50) ? TINKER__GATE_END : TINKER__GATE_END_ALL;
  }
  t->state = TICKET_GATE;
  return TINKER__GATE_HOLD;
}

void model_verdict(model_t *m) {
  uint64_t ticket = 1 + model_draw(m, m->door.tickets + 1);
  for (uint64_t i = 0; i < m->door.tickets; i++) {
    model_ticket_state_t s = m->tickets[ticket % MODEL_TICKETS].state;
    if (s == TICKET_ASKED || s == TICKET_GATE || (i == 0 && chance(m, 5))) {
      break;
    }
    ticket = ticket % m->door.tickets + 1;
  }
  model_ticket_t *t = &m->tickets[ticket % MODEL_TICKETS];
  tinker_error_t *error = !m->kind_world && chance(m, 25) ? no(m) : NULL;
  if (t->state == TICKET_GATE) {
    t->state = TICKET_WITHDRAWN;
    tinker__flow_judged(
        &m->flow, ticket,
        error ? TINKER__GATE_END
        : m->kind_world
            ? TINKER__GATE_PASS
            : (tinker__gate_t)(model_draw(m, 2) * TINKER__GATE_END_ALL),
        error, m->now_ms);
  } else {
    bool awaited = t->state == TICKET_ASKED;
    MUST(tinker__flow_admitted(&m->flow, ticket, error, m->now_ms) == awaited);
  }
  tinker__error_release(error);
}

/* --- the user --- */

static tinker_error_t *decode(tinker_future_t *f) {
  (void)f;
  return NULL;
}

static void free_result(tinker_future_t *f) {
  (void)f;
}

static const tinker__future_ops_t ops = {decode, free_result};

static const tinker__kind_t *draw_kind(model_t *m) {
  static const tinker__kind_t *const kinds[] = {
      &bench_batch, &bench_batch,    &bench_batch, &bench_optim,  &bench_optim,
      &custom,      &bench_numbered, &bench_once,  &bench_sample, &bench_read};
  return kinds[model_draw(m, sizeof kinds / sizeof *kinds)];
}

static void fill(tinker__op_t *op, const char *id) {
  tinker__optim_step_t step = {.has_adam_params = true};
  for (size_t i = 0; i < op->count; i++) {
    cr_assert_eq(tinker__message_encode_numbered(&op->parts[i].body, op->mem,
                                                 &tinker__optim_step_msg, &step,
                                                 tinker__str(id)),
                 0);
  }
}

void model_submit(model_t *m) {
  tinker__op_t *op = NULL;
  if (m->call_count == MODEL_CALLS) return;
  model_call_t *c = &m->calls[m->call_count++];
  c->kind = draw_kind(m);
  size_t parts = adds(c) && chance(m, 40) ? 1 + model_draw(m, 3) : 1;
  bool of_trainer = c->kind->retry == TINKER__RETRY_NUMBERED;
  c->trainer = of_trainer ? (int)model_draw(m, MODEL_TRAINERS) : -1;
  cr_assert_eq(tinker__future_new(&c->future, &m->mem, &ops, parts, NULL, c),
               0);
  cr_assert_eq(tinker__op_new(&op, &m->mem, c->kind, parts, c->future), 0);
  tinker__turn_t *turn = of_trainer                 ? m->trainers[c->trainer]
                         : c->kind == &bench_sample ? m->sampler
                                                    : NULL;
  if (turn) op->turn = tinker__turn_retain(turn);
  fill(op, turn ? turn->id : "s");
  op->parallel = chance(m, 50);
  op->partial_ok = c->kind == &bench_optim && chance(m, 5);
  c->ahead = op->ahead = c->kind == &bench_numbered && chance(m, 20);
  if (chance(m, 25)) {
    op->deadline_ms = m->now_ms + (int64_t)model_draw(m, 3000);
  }
  c->op = op;
  tinker__flow_submit(&m->flow, op, m->now_ms);
}

void model_cancel(model_t *m) {
  if (!m->call_count) return;
  model_call_t *c = &m->calls[model_draw(m, m->call_count)];
  if (c->future->op) tinker__flow_cancel(&m->flow, c->future->op, m->now_ms);
}

void model_user(model_t *m) {
  if (!m->handed_count) return;
  size_t i = model_draw(m, m->handed_count);
  tinker__op_t *op = m->handed[i];
  m->handed[i] = m->handed[--m->handed_count];
  if (!m->kind_world && chance(m, 25)) {
    tinker_error_t *error = no(m);
    tinker__flow_step_ready(&m->flow, op, false, error, m->now_ms);
    tinker__error_release(error);
    return;
  }
  tinker__op_next_step(op, &bench_batch);
  fill(op, op->turn->id);
  tinker__flow_step_ready(&m->flow, op, true, NULL, m->now_ms);
}

void model_accept_partial(model_t *m) {
  int trainer = (int)model_draw(m, MODEL_TRAINERS);
  for (size_t i = 0; i < m->call_count; i++) {
    model_call_t *c = &m->calls[i];
    if (c->trainer == trainer && (c->code || c->faulty || c->added)) {
      c->forgiven = true;
    }
  }
  tinker__turn_accept_partial(m->trainers[trainer]);
}

/* --- the server --- */

static void reply_to(model_t *m, size_t i, int error, bool sent, int status,
                     const char *body) {
  tinker__http_request_t *request = m->out[i].request;
  tinker__http_reply_t reply = {
      .error = error,
      .sent = error ? sent : true,
      .status = error ? 0 : status,
      .content_type = "application/json",
      .retry_after_ms = -1,
      .should_retry = -1,
      .content_length = -1,
  };
  memmove(&m->out[i], &m->out[i + 1], (m->out_count - i - 1) * sizeof *m->out);
  m->out_count--;
  m->replies++;
  tinker__buf_init(&reply.body, &m->mem, 1 << 20);
  tinker__buf_adds(&reply.body, body);
  tinker__flow_reply(&m->flow, request, &reply, m->now_ms);
  m->replies++;
  tinker__buf_free(&reply.body);
}

/* The server carries it out, once for each number. */
static void execute(model_t *m, const tinker__op_t *op, int t, long seq) {
  model_call_t *c = call_of(op);
  if (seq < 0 || m->executed[t][seq]) return;
  m->executed[t][seq] = true;
  if (op->kind->effect == TINKER__EFFECT_ADD) c->added++;
  if (c->kind != &bench_optim) return;
  c->executed = true;
  for (size_t i = 0; i < m->call_count; i++) {
    if (m->calls[i].trainer == t) m->calls[i].added = 0;
  }
}

static void answer_post(model_t *m, size_t i, const tinker__op_t *op) {
  int t = -1;
  long seq = number_of(m->out[i].request, &t);
  size_t p = m->kind_world ? 99 : model_draw(m, 100);
  bool done = seq >= 0 && m->executed[t][seq];
  if (p < 4) {
    reply_to(m, i, TINKER_ECONNECT, false, 0, "");
  } else if (p < 8) {
    if (chance(m, 50)) execute(m, op, t, seq); /* and the reply is lost */
    reply_to(m, i, TINKER_ETRANSPORT, true, 0, "");
  } else if (p < 12) {
    reply_to(m, i, 0, true, p < 10 ? 503 : 429, "");
  } else if (p == 12 && chance(m, 60)) {
    reply_to(m, i, 0, true, 401, "{\"detail\":\"who?\"}");
  } else if (p < 24 && !done) {
    if (op->kind->effect == TINKER__EFFECT_ADD) call_of(op)->faulty = true;
    reply_to(m, i, 0, true, 422, "{\"detail\":\"no\"}");
  } else {
    execute(m, op, t, seq);
    reply_to(m, i, 0, true, 200, "{\"request_id\":\"r\"}");
  }
}

static void answer_poll(model_t *m, size_t i, const tinker__op_t *op) {
  model_call_t *c = call_of(op);
  bool add = op->kind->effect == TINKER__EFFECT_ADD;
  size_t p = m->kind_world ? 99 : model_draw(m, 100);
  if (p < 12) {
    if (add && c->added) c->added--;
    c->faulty |= add;
    reply_to(m, i, 0, true, 200, "{\"error\":\"x\",\"category\":\"user\"}");
  } else if (p < 18) {
    c->faulty |= add;
    reply_to(m, i, 0, true, 200, "{\"error\":\"x\",\"category\":\"server\"}");
  } else if (p < 21) {
    c->faulty |= add;
    reply_to(m, i, 0, true, 410, "{\"detail\":\"gone\"}");
  } else if (p < 30) {
    reply_to(m, i, 0, true, 200, "{\"type\":\"try_again\"}");
  } else if (p < 33) {
    reply_to(m, i, TINKER_ETRANSPORT, true, 0, "");
  } else {
    reply_to(m, i, 0, true, 200, "{\"metrics\":{}}");
  }
}

void model_answer(model_t *m) {
  if (!m->out_count) return;
  size_t i = model_draw(m, m->out_count);
  const tinker__op_t *op = ((tinker__part_t *)m->out[i].request->user)->op;
  if (m->out[i].canceled) {
    reply_to(m, i, TINKER_ECANCELED, true, 0, "");
  } else if (!strcmp(m->out[i].request->path, BENCH_POLL)) {
    answer_poll(m, i, op);
  } else {
    answer_post(m, i, op);
  }
}

void model_advance(model_t *m, int64_t ms) {
  int64_t end = m->now_ms + ms;
  while (m->wake_ms >= 0 && m->wake_ms <= end) {
    if (m->wake_ms > m->now_ms) m->now_ms = m->wake_ms;
    m->wake_ms = -1;
    tinker__flow_tick(&m->flow, m->now_ms);
  }
  m->now_ms = end;
}

/* --- one order --- */

void model_begin(model_t *m, uint64_t order, uint64_t seed) {
  memset(m, 0, sizeof *m);
  m->order = order;
  m->rng = (order + 1) * 0x9e3779b97f4a7c15u ^ seed * 0xbf58476d1ce4e5b9u;
  if (!m->rng) m->rng = 1;
  m->now_ms = 1000;
  m->wake_ms = -1;
  tinker__mem_init(&m->mem, NULL, 0);
  tinker__flow_init(&m->flow, &sink, m, &m->mem, order + 1);
  for (int i = 0; i < MODEL_TRAINERS; i++) {
    char id[] = {'m', (char)('0' + i), 0};
    cr_assert_eq(tinker__turn_new(&m->trainers[i], &m->mem, id, true), 0);
  }
  cr_assert_eq(tinker__turn_new(&m->sampler, &m->mem, "s", false), 0);
  m->door.user = m;
  if (chance(m, 60)) {
    m->door.admit = admit;
    m->door.withdrawn = withdrawn;
    m->door.fence = fence;
    m->door.accepted = accepted;
    m->door.ended = ended;
  }
  if (chance(m, 30)) m->door.gate = gate;
  if (chance(m, 80)) tinker__flow_set_door(&m->flow, &m->door);
}

void model_close(model_t *m) {
  m->closed = true;
  tinker__flow_close(&m->flow, m->now_ms);
}

void model_drain(model_t *m) {
  m->kind_world = true;
  for (int i = 0; tinker__flow_live(&m->flow); i++) {
    MUST(i < 5000);
    if (m->out_count) {
      model_answer(m);
    } else if (m->handed_count) {
      model_user(m);
    } else if (m->wake_ms >= 0) {
      model_advance(m, m->wake_ms > m->now_ms ? m->wake_ms - m->now_ms : 0);
    } else {
      model_verdict(m);
    }
    model_look(m);
    if (m->door.tickets && i % 7 == 0) model_verdict(m);
    model_look(m);
  }
}

static void check_numbers(model_t *m, int t) {
  const tinker__turn_t *turn = m->trainers[t];
  bool all = !m->closed && !atomic_load(&turn->fatal);
  model_met.fatal += atomic_load(&turn->fatal);
  for (int64_t seq = 1; seq < MODEL_SEQS; seq++) {
    if (all) MUST((m->sent[t][seq] != 0) == (seq < turn->next_seq));
    MUST(!m->sent[t][seq] || seq < turn->next_seq);
  }
}

void model_end(model_t *m) {
  if (tinker__flow_live(&m->flow)) model_close(m);
  while (m->out_count) reply_to(m, 0, TINKER_ECANCELED, true, 0, "");
  while (m->handed_count) model_user(m);
  MUST(tinker__flow_idle(&m->flow));
  for (size_t i = 0; i < m->call_count; i++) {
    MUST(m->calls[i].settled == 1);
    tinker__future_unref(m->calls[i].future);
  }
  for (uint64_t i = 1; i <= m->door.tickets; i++) {
    const model_ticket_t *t = &m->tickets[i];
    MUST(t->state != TICKET_ASKED);
    if (t->state == TICKET_GONE) MUST(t->ended == (1u << t->count) - 1);
  }
  for (int i = 0; i < MODEL_TRAINERS; i++) {
    check_numbers(m, i);
    tinker__turn_release(m->trainers[i]);
  }
  tinker__turn_release(m->sampler);
  MUST(atomic_load(&m->mem.live_blocks) == 0);
}
