/* Calls the program's journal and gate for what has happened, see hook.h. Runs
 * on the hook's thread, or as a delivered task. */
#include "api/hook.h"
#include "base/error.h"

/* What was hashed, or sent, is what the program sees. */
static int digest(tinker__record_t *r) {
  for (size_t i = 0; i < r->intent.request_count; i++) {
    int rc = tinker__pieces_sha256(&r->entries[i].body, r->hook->core->mem,
                                   r->requests[i].sha256);
    if (rc) return rc;
  }
  return 0;
}

static tinker_error_t *no_memory(const tinker__record_t *r) {
  return tinker__error_new(
      r->hook->core->mem,
      &(tinker__error_spec_t){.code = TINKER_ENOMEM,
                              .where = r->hook->core->where},
      "%s was not sent: %s", r->intent.name, tinker_code_text(TINKER_ENOMEM));
}

/* The program has read it. An answer that came meanwhile counts now. */
static void read_to_end(tinker__record_t *r) {
  tinker__hook_t *hook = r->hook;
  tinker__loop_t *loop = hook->core->loop;
  pthread_mutex_lock(&hook->lock);
  bool answered = r->state == TINKER__RECORD_EARLY || r->silent;
  if (r->state != TINKER__RECORD_GONE) {
    if (r->silent && !r->refusal) r->refusal = no_memory(r);
    r->state = answered ? TINKER__RECORD_ANSWERED : TINKER__RECORD_ASKED;
    if (answered) tinker__loop_post(loop, &r->answer);
  }
  if (r->op) tinker__loop_post(loop, &r->told);
  pthread_mutex_unlock(&hook->lock);
}

static void tell_intent(tinker__record_t *r) {
  const tinker_seams_t *s = &r->hook->seams;
  r->silent = digest(r) != 0;
  if (!r->silent) s->intent(s->user, &r->intent);
  read_to_end(r);
}

static void tell_gate(tinker__record_t *r) {
  const tinker_seams_t *s = &r->hook->seams;
  tinker_gate_question_t question = {r->ticket, r->intent.model_id,
                                     r->intent.tag};
  s->gate(s->user, &question);
  read_to_end(r);
}

static void over(tinker__record_t *r) {
  tinker__loop_post(r->hook->core->loop, &r->over);
}

void tinker__hook_tell(tinker__event_t *event) {
  tinker__record_t *r = event->record;
  const tinker_seams_t *s = &r->hook->seams;
  switch (event->tell) {
  case TINKER__TELL_INTENT: tell_intent(r); break;
  case TINKER__TELL_GATE: tell_gate(r); break;
  case TINKER__TELL_WITHDRAWN:
    if (s->withdrawn && !r->silent) s->withdrawn(s->user, r->ticket);
    over(r);
    break;
  case TINKER__TELL_ACCEPTED:
    if (s->accepted) {
      s->accepted(s->user, r->ticket, event->request,
                  r->entries[event->request].request_id);
    }
    break;
  case TINKER__TELL_ENDED:
    if (s->ended) {
      s->ended(s->user, r->ticket, event->request,
               &r->entries[event->request].outcome);
    }
    if (--r->left == 0) over(r);
    break;
  }
}
