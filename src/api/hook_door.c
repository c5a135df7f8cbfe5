/* The doors of flow and session, as the hook answers them, and the program's
 * answers. Loop's thread but for the two public calls. */
#include <string.h>

#include "api/hook.h"
#include "api/job.h"
#include "base/error.h"

#define WHY_MAX 300

static const char *const methods[] = {
    [TINKER__HTTP_GET] = "GET",
    [TINKER__HTTP_POST] = "POST",
    [TINKER__HTTP_PUT] = "PUT",
    [TINKER__HTTP_DELETE] = "DELETE",
};

/* --- making records of mutations --- */

/* Only a sample's body has pieces that are not bytes, and it is no mutation. */
static void add_request(tinker__record_t *r, size_t i, int64_t seq,
                        const tinker__pieces_t *body,
                        tinker_segment_t **segments) {
  tinker_intent_request_t *q = &r->requests[i];
  r->entries[i].body = *body;
  q->seq_id = seq;
  q->segments = *segments;
  q->segment_count = body->count;
  q->len = body->len;
  for (size_t k = 0; k < body->count; k++) {
    const tinker__piece_t *piece = &body->list[k];
    *(*segments)++ = (tinker_segment_t){piece->data, tinker__piece_len(piece)};
  }
}

static void add_counters(tinker__record_t *r) {
  r->intent.ticket = r->ticket;
  r->intent.requests = r->requests;
  tinker__session_counters(r->hook->core->session, &r->intent.next_model_seq_id,
                           &r->intent.next_sampling_session_seq_id);
}

static tinker__record_t *of_operation(tinker__hook_t *hook,
                                      const tinker__mutation_t *m) {
  size_t n = 0;
  for (size_t i = 0; i < m->count; i++) n += m->requests[i].body.count;
  tinker__record_t *r = tinker__record_new(hook, m->ticket, m->count, n);
  if (!r) return NULL;
  tinker_segment_t *segments = r->segments;
  for (size_t i = 0; i < m->count; i++) {
    add_request(r, i, m->requests[i].seq, &m->requests[i].body, &segments);
    r->requests[i].datums = m->op->parts[i].datums;
  }
  r->op = m->op;
  r->intent.kind = m->op->kind->id;
  r->intent.name = m->name;
  r->intent.path = m->op->path ? m->op->path : m->op->kind->path;
  r->intent.model_id = m->of;
  r->intent.method = methods[m->op->kind->method];
  r->intent.tag = m->op->tag;
  add_counters(r);
  return r;
}

/* Path and body are copied: the session may use their memory again. */
static tinker__record_t *of_session(tinker__hook_t *hook, uint64_t ticket,
                                    const char *path, tinker__str_t body) {
  size_t path_len = strlen(path) + 1;
  tinker__record_t *r = tinker__record_new(hook, ticket, 1, 1);
  if (!r) return NULL;
  r->own = tinker__mem_alloc(hook->core->mem,
                             path_len + body.len + sizeof(tinker__piece_t));
  if (!r->own) {
    tinker__record_free(r);
    return NULL;
  }
  tinker__piece_t *piece = (tinker__piece_t *)(void *)r->own;
  char *text = r->own + sizeof *piece;
  memcpy(text, path, path_len);
  if (body.len) memcpy(text + path_len, body.ptr, body.len);
  *piece = (tinker__piece_t){text + path_len, body.len, false};
  tinker__pieces_t pieces = {piece, 1, body.len};
  tinker_segment_t *segments = r->segments;
  add_request(r, 0, TINKER_NO_SEQ_ID, &pieces, &segments);
  r->intent.name = strcmp(path, "api/v1/create_session") ? "finish_session"
                                                         : "create_session";
  r->intent.path = text;
  r->intent.method = methods[TINKER__HTTP_POST];
  add_counters(r);
  return r;
}

static tinker__record_t *find(tinker__hook_t *hook, uint64_t ticket) {
  pthread_mutex_lock(&hook->lock);
  tinker__record_t *r = tinker__hook_find(hook, ticket);
  pthread_mutex_unlock(&hook->lock);
  return r;
}

static char *copy(tinker__hook_t *hook, const char *text) {
  return text ? tinker__mem_strdup(hook->core->mem, text) : NULL;
}

/* --- the flow's door --- */

static tinker__admit_t admit(void *user, const tinker__mutation_t *m,
                             tinker_error_t **error) {
  tinker__hook_t *hook = user;
  tinker__record_t *r = of_operation(hook, m);
  if (!r) {
    *error = tinker__error_new(
        hook->core->mem,
        &(tinker__error_spec_t){.code = TINKER_ENOMEM,
                                .where = hook->core->where},
        "%s was not sent: %s", m->name, tinker_code_text(TINKER_ENOMEM));
    return TINKER__ADMIT_REFUSE;
  }
  tinker__op_hold(m->op);
  tinker__hook_push(hook, &r->first);
  return TINKER__ADMIT_LATER;
}

/* Without a record there was no memory to ask the program. */
static void withdrawn(void *user, uint64_t ticket) {
  tinker__hook_t *hook = user;
  pthread_mutex_lock(&hook->lock);
  tinker__record_t *r = tinker__hook_find(hook, ticket);
  if (r) r->state = TINKER__RECORD_GONE;
  pthread_mutex_unlock(&hook->lock);
  if (r) tinker__hook_push(hook, &r->withdrawn);
}

static void accepted(void *user, uint64_t ticket, size_t i,
                     const char *request_id) {
  tinker__record_t *r = find(user, ticket);
  if (!r) return;
  r->entries[i].request_id = copy(user, request_id);
  tinker__hook_push(user, &r->entries[i].accepted);
}

static void end_entry(tinker__record_t *r, size_t i, tinker_outcome_t outcome,
                      tinker__str_t body, const char *request_id) {
  tinker__entry_t *e = &r->entries[i];
  tinker__mem_t *mem = r->hook->core->mem;
  if (!e->request_id) e->request_id = copy(r->hook, request_id);
  if (body.len) {
    char *kept = tinker__mem_alloc(mem, body.len);
    if (kept) memcpy(kept, body.ptr, body.len);
    outcome.body = kept;
  }
  outcome.body_len = body.len;
  outcome.request_id = e->request_id;
  e->outcome = outcome;
  tinker__hook_push(r->hook, &e->ended);
}

static void ended(void *user, uint64_t ticket, size_t i,
                  const tinker__outcome_t *o) {
  static const tinker_outcome_kind_t kinds[] = {
      [TINKER__OUTCOME_RESULT] = TINKER_OUTCOME_RESULT,
      [TINKER__OUTCOME_FAILED] = TINKER_OUTCOME_FAILED,
      [TINKER__OUTCOME_OPEN] = TINKER_OUTCOME_OPEN,
      [TINKER__OUTCOME_UNSENT] = TINKER_OUTCOME_UNSENT,
  };
  tinker__record_t *r = find(user, ticket);
  if (!r) return;
  tinker_outcome_t outcome = {.kind = kinds[o->kind]};
  tinker__str_t body = {"", 0};
  if (o->raw) {
    body = (tinker__str_t){o->raw->data, o->raw->len};
    outcome.body_is_protobuf = o->raw->proto;
  }
  if (o->error) outcome.error = tinker__error_retain(o->error);
  end_entry(r, i, outcome, body, o->request_id);
}

/* --- the fence --- */

static tinker_error_t *check_fence(tinker__hook_t *hook, const char *name,
                                   const char *model_id) {
  char why[WHY_MAX] = "";
  const tinker_seams_t *s = &hook->seams;
  if (!s->fence || !s->fence(s->user, model_id, why, sizeof why)) return NULL;
  return tinker__error_new(hook->core->mem,
                           &(tinker__error_spec_t){.code = TINKER_ESTATE,
                                                   .where = hook->core->where},
                           "%s was not sent: the fence refused it%s%s", name,
                           why[0] ? ": " : "", why);
}

static tinker_error_t *fence(void *user, const tinker__mutation_t *m) {
  return check_fence(user, m->name, m->of);
}

/* --- the session's door --- */

/* Without a journal the fence is asked at once, still as an answer. */
static uint64_t session_ask(void *user, const char *path, tinker__str_t body) {
  tinker__hook_t *hook = user;
  uint64_t ticket = tinker__door_ticket(&hook->door);
  tinker__record_t *r = of_session(hook, ticket, path, body);
  if (!r) return 0;
  if (hook->seams.intent) {
    tinker__hook_push(hook, &r->first);
  } else {
    r->state = TINKER__RECORD_ANSWERED;
    tinker__loop_post(hook->core->loop, &r->answer);
  }
  return ticket;
}

static void session_ended(void *user, uint64_t ticket,
                          const tinker__http_reply_t *reply,
                          const tinker_error_t *error, bool open) {
  tinker__record_t *r = find(user, ticket);
  if (!r) return;
  tinker_outcome_t outcome = {.kind = TINKER_OUTCOME_RESULT};
  tinker__str_t body = {"", 0};
  if (open) {
    outcome.kind = TINKER_OUTCOME_OPEN;
  } else if (error) {
    outcome.kind = TINKER_OUTCOME_FAILED;
    outcome.error = tinker__error_retain(error);
  } else {
    body = tinker__buf_str(&reply->body);
  }
  end_entry(r, 0, outcome, body, NULL);
}

/* --- the gate --- */

static tinker__gate_t gate(void *user, uint64_t ticket, const tinker__op_t *op,
                           tinker_error_t **error) {
  tinker__hook_t *hook = user;
  tinker__record_t *r = tinker__record_new(hook, ticket, 0, 0);
  if (r) r->own = copy(hook, op->turn->id);
  if (!r || !r->own) {
    if (r) tinker__record_free(r);
    *error = tinker__error_new(
        hook->core->mem, &(tinker__error_spec_t){.code = TINKER_ENOMEM},
        "%s was not sent: no memory to ask the gate", op->kind->name);
    return TINKER__GATE_END;
  }
  r->gate = true;
  r->intent.model_id = r->own;
  r->intent.name = op->kind->name;
  r->intent.tag = op->tag;
  r->first.tell = TINKER__TELL_GATE;
  tinker__hook_push(hook, &r->first);
  return TINKER__GATE_HOLD;
}

void tinker__hook_doors(tinker__hook_t *hook) {
  const tinker_seams_t *s = &hook->seams;
  hook->door = (tinker__door_t){.user = hook};
  if (s->intent) {
    hook->door.admit = admit;
    hook->door.withdrawn = withdrawn;
    hook->door.accepted = accepted;
    hook->door.ended = ended;
  }
  if (s->fence) hook->door.fence = fence;
  if (s->gate) hook->door.gate = gate;
  hook->session_door = (tinker__session_door_t){
      .ask = s->intent || s->fence ? session_ask : NULL,
      .withdrawn = withdrawn,
      .ended = session_ended,
      .user = hook,
  };
}

/* --- answers --- */

static void answer_gate(tinker__record_t *r) {
  static const tinker__gate_t verdicts[] = {
      [TINKER_GATE_GO] = TINKER__GATE_PASS,
      [TINKER_GATE_END] = TINKER__GATE_END,
      [TINKER_GATE_END_ALL] = TINKER__GATE_END_ALL,
  };
  tinker_client_t *core = r->hook->core;
  tinker__flow_judged(&core->flow, r->ticket, verdicts[r->verdict], r->refusal,
                      tinker__loop_now(core->loop));
  tinker__record_free(r);
}

static void answer_mutation(tinker__record_t *r) {
  tinker_client_t *core = r->hook->core;
  if (r->op) {
    tinker__flow_admitted(&core->flow, r->ticket, r->refusal,
                          tinker__loop_now(core->loop));
    return;
  }
  if (!r->refusal) r->refusal = check_fence(r->hook, r->intent.name, NULL);
  tinker__session_admitted(core->session, r->ticket, r->refusal);
}

/* The record may be gone after it has answered. */
void tinker__hook_answer(tinker__task_t *task) {
  tinker__record_t *r = TINKER__CONTAINER(task, tinker__record_t, answer);
  tinker_client_t *core = r->hook->core;
  if (r->gate) {
    answer_gate(r);
  } else if (r->state != TINKER__RECORD_GONE) { /* written on this thread */
    answer_mutation(r);
  }
  tinker__ending_look(core);
}

static tinker_error_t *refusal(const tinker__record_t *r, const char *why) {
  tinker_client_t *core = r->hook->core;
  return tinker__error_new(
      core->mem,
      &(tinker__error_spec_t){.code = TINKER_ESTATE, .where = core->where},
      "%s was not sent: the %s %s%s%s", r->intent.name,
      r->gate ? "gate" : "journal", r->gate ? "has ended it" : "refused it",
      why && why[0] ? ": " : "", why ? why : "");
}

static bool waits(const tinker__record_t *r) {
  return r->state == TINKER__RECORD_TELLING || r->state == TINKER__RECORD_ASKED;
}

/* go: its error is not needed. Under the lock. */
static int answer(tinker__record_t *r, bool gate, bool go, const char *why) {
  if (!r || r->gate != gate || !waits(r)) return TINKER_ENOENT;
  if (!go) r->refusal = refusal(r, why);
  if (r->state == TINKER__RECORD_TELLING) {
    r->state = TINKER__RECORD_EARLY;
  } else {
    r->state = TINKER__RECORD_ANSWERED;
    tinker__loop_post(r->hook->core->loop, &r->answer);
  }
  return 0;
}

static int check(tinker_client_t *client, int verdict, int last) {
  if (!client || verdict < 0 || verdict > last) return TINKER_EINVAL;
  if (!tinker__core_is_here(client)) return TINKER_EFORKED;
  if (!client->hook) return TINKER_ENOENT;
  return tinker__core_enter(client) ? 0 : TINKER_ECLOSED;
}

int tinker_admission_answer(tinker_client_t *client, uint64_t ticket,
                            tinker_verdict_t verdict, const char *why) {
  int rc = check(client, (int)verdict, TINKER_VERDICT_REFUSE);
  if (rc) return rc;
  tinker__hook_t *hook = client->hook;
  pthread_mutex_lock(&hook->lock);
  rc = answer(tinker__hook_find(hook, ticket), false,
              verdict == TINKER_VERDICT_GO, why);
  pthread_mutex_unlock(&hook->lock);
  tinker__core_leave(client);
  return rc;
}

int tinker_gate_answer(tinker_client_t *client, uint64_t ticket,
                       tinker_gate_verdict_t verdict, const char *why) {
  int rc = check(client, (int)verdict, TINKER_GATE_END_ALL);
  if (rc) return rc;
  tinker__hook_t *hook = client->hook;
  pthread_mutex_lock(&hook->lock);
  tinker__record_t *r = tinker__hook_find(hook, ticket);
  if (r && waits(r)) r->verdict = verdict;
  rc = answer(r, true, verdict == TINKER_GATE_GO, why);
  pthread_mutex_unlock(&hook->lock);
  tinker__core_leave(client);
  return rc;
}
