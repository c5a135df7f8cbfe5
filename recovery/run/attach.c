/* attach: going on with the model of an earlier process (R3), and making the
 * first one. The run's thread. */
#include <string.h>

#include "run/run.h"

static int local_fault(tinker__rec_fault_t *f, int code, const char *why) {
  *f = (tinker__rec_fault_t){.code = code, .unknown = true};
  tinker__why(f->why, sizeof f->why, 0, "%s", why);
  return code;
}

/* --- The first model ------------------------------------------------------ */

static int create(tinker_run_t *run, tinker__rec_epoch_t *e,
                  tinker__rec_fault_t *f) {
  tinker_trainer_options_t o = TINKER_TRAINER_OPTIONS_INIT;
  tinker__rec_stamps_t stamps;
  tinker_call_options_t call = TINKER_CALL_OPTIONS_INIT;
  call.tag = tinker__rec_epoch_made(e, 0, TINKER__REC_SLOT_OTHER, NULL, NULL);
  call.timeout_ms = TINKER_NO_TIMEOUT;
  o.base_model = run->plan.base_model;
  o.rank = run->plan.rank;
  o.freeze = run->plan.freeze;
  o.seed = run->plan.seed;
  tinker__rec_stamps(run, e, TINKER__REC_NO_STEP, 0, &stamps);
  o.metadata = stamps.list;
  o.metadata_count = stamps.count;
  tinker_future_t *made = tinker_client_create_trainer(e->client, &o, &call);
  int rc = tinker__rec_await(made, f);
  if (rc == 0) rc = tinker_future_get_trainer(made, &e->trainer);
  tinker_future_release(made);
  return rc;
}

int tinker__rec_activate(tinker_run_t *run, tinker__rec_epoch_t *e,
                         const tinker__rec_ckpt_t *from,
                         tinker__rec_fault_t *f) {
  tinker__rec_facts_t facts = TINKER__REC_FACTS_INIT;
  char session[TINKER__REC_MAX_NAME] = "";
  tinker__str_t cursor = {"", 0};
  tinker_client_session_id(e->client, session, sizeof session);
  facts.epoch = e->number;
  facts.from_step = from ? from->step : 0;
  facts.session = tinker__str(session);
  facts.model = tinker__str(tinker_trainer_model_id(e->trainer));
  facts.path = tinker__str(from ? from->path : NULL);
  if (from && from->cursor_lost) facts.lost = 1;
  if (run->seen_epoch) facts.disowned = run->seen_epoch;
  if (from) cursor = (tinker__str_t){from->cursor, from->cursor_len};
  int rc = tinker__rec_note(run, NULL, TINKER__REC_EPOCH_ACTIVE,
                            facts.from_step, &facts, cursor);
  if (rc != 0) return local_fault(f, rc, "the run's journal can't be written");
  pthread_mutex_lock(&run->lock);
  run->epoch = e;
  if (e->next_seq_id > run->state.next_seq_id) {
    run->state.next_seq_id = e->next_seq_id;
  }
  tinker__rec_take_noise(run);
  tinker__rec_run_move(run, TINKER__REC_RUN_READY);
  pthread_mutex_unlock(&run->lock);
  tinker__rec_still_begin(run, from);
  tinker__rec_say(run, "epoch_active", facts.from_step, &facts);
  return 0;
}

int tinker__rec_next_epoch(tinker_run_t *run, int64_t *number,
                           tinker__rec_fault_t *f) {
  tinker__rec_facts_t facts = TINKER__REC_FACTS_INIT;
  char nonce[TINKER__REC_ID_LEN + 1];
  int64_t last = run->state.last_epoch;
  if (tinker__rec_nonce(run, nonce) != 0) {
    return local_fault(f, TINKER_ERANDOM, tinker_code_text(TINKER_ERANDOM));
  }
  facts.nonce = tinker__str(nonce);
  facts.epoch = *number = (run->seen_epoch > last ? run->seen_epoch : last) + 1;
  int rc = tinker__rec_note(run, NULL, TINKER__REC_ATTEMPT_BEGIN,
                            TINKER__REC_NO_STEP, &facts, tinker__str(""));
  return rc == 0 ? 0 : local_fault(f, rc, "the run's journal can't be written");
}

int tinker__rec_begin(tinker_run_t *run, tinker__rec_epoch_t *e,
                      tinker__rec_fault_t *f) {
  int rc = create(run, e, f);
  if (rc == 0 && run->state.committed > 0) {
    rc = tinker__rec_note_rollback(run, 0, f);
  }
  return rc == 0 ? tinker__rec_activate(run, e, NULL, f) : rc;
}

int tinker__rec_heard(tinker_run_t *run, tinker__rec_fault_t *f) {
  tinker_future_t *asked = tinker_client_get_capabilities(run->home, NULL);
  int rc = tinker__rec_ask(run, asked, f);
  tinker_future_release(asked);
  f->unsure = false; /* it was a question */
  return rc != 0 && f->unknown ? rc : 0;
}

static int start_once(tinker_run_t *run, tinker__rec_fault_t *f) {
  tinker__rec_epoch_t *e = NULL;
  int64_t number;
  char why[TINKER__REC_WHY] = "";
  int rc = tinker__rec_heard(run, f);
  if (rc == 0) rc = tinker__rec_next_epoch(run, &number, f);
  if (rc != 0) return rc;
  rc = tinker__rec_epoch_open(run, number, NULL, 0, &e, why, sizeof why);
  if (rc != 0) return local_fault(f, rc, why);
  rc = tinker__rec_begin(run, e, f);
  if (rc != 0) tinker__rec_epoch_end(e);
  return rc;
}

/* A creation whose reply was lost is made once more, in another session: the
 * first model, if there is one, has no number of the journal and is never
 * trained; survey.c finds it by the nonce of its epoch. */
int tinker__rec_start(tinker_run_t *run, tinker__rec_fault_t *f) {
  int rc = start_once(run, f);
  for (int i = 1; rc != 0 && f->unsure && i < run->options.attempts; i++) {
    tinker__rec_say(run, "orphan", TINKER__REC_NO_STEP, NULL);
    rc = start_once(run, f);
  }
  return rc;
}

/* --- Going on with a model ------------------------------------------------ */

static bool by_id(const tinker__rec_op_t *op, bool resend) {
  for (size_t i = 0; i < op->request_count; i++) {
    if (!op->requests[i].id) return false;
  }
  return !resend;
}

/* Was all of it refused, so that the model has nothing of it? */
static bool is_refused(const tinker__rec_op_t *op) {
  for (size_t i = 0; i < op->request_count; i++) {
    if (op->requests[i].state != TINKER__REC_REQUEST_FAILED ||
        op->requests[i].code != TINKER_EREJECTED) {
      return false;
    }
  }
  return true;
}

bool tinker__rec_op_has_failed(const tinker__rec_op_t *op) {
  for (size_t i = 0; i < op->request_count; i++) {
    if (op->requests[i].state == TINKER__REC_REQUEST_FAILED) return true;
  }
  return false;
}

bool tinker__rec_step_is_torn(tinker_run_t *run, const tinker__rec_step_t *s) {
  size_t parts = 0;
  bool moved = false;
  pthread_mutex_lock(&run->lock);
  TINKER__LIST_EACH(l, tmp, &run->state.ops) {
    const tinker__rec_op_t *op = TINKER__CONTAINER(l, tinker__rec_op_t, link);
    if (op->step != s->number || tinker__rec_op_has_failed(op)) continue;
    if (op->slot == TINKER__REC_SLOT_FORWARD_BACKWARD) parts++;
    if (op->slot == TINKER__REC_SLOT_OPTIM) moved = true;
  }
  pthread_mutex_unlock(&run->lock);
  return moved && parts < s->forward_count;
}

/* The bytes of one request, as they were sent. */
static int body_of(tinker__rec_epoch_t *e, const tinker__rec_op_t *op,
                   const tinker__rec_request_t *r, tinker__buf_t *out,
                   char *why, size_t why_len) {
  unsigned char found[TINKER__SHA256_LEN];
  if (op->side) {
    return tinker__rec_bodies_read(
        &e->bodies, TINKER__REC_BODIES_OF(op->slot, op->step), r->offset,
        r->len, r->sha256, out, why, why_len);
  }
  size_t at = (size_t)r->offset;
  if (at > op->bytes_len || r->len > op->bytes_len - at ||
      tinker__sha256(op->bytes + at, r->len, found) != 0 ||
      memcmp(found, r->sha256, sizeof found) != 0) {
    return tinker__why(why, why_len, TINKER_EFORMAT,
                       "the journal has another request than was sent");
  }
  tinker__buf_clear(out);
  return tinker__buf_add(out, op->bytes + at, r->len);
}

/* Requests of the adopted operation; bodies are the list's. */
static int requests_of(tinker__rec_epoch_t *e, const tinker__rec_op_t *op,
                       bool resend, tinker_operation_request_t *list,
                       tinker__buf_t *bodies, char *why, size_t why_len) {
  bool ids = by_id(op, resend);
  int rc = 0;
  for (size_t i = 0; i < op->request_count && rc == 0; i++) {
    const tinker__rec_request_t *r = &op->requests[i];
    list[i] =
        (tinker_operation_request_t){.seq_id = r->seq_id, .datums = r->datums};
    if (ids) {
      list[i].request_id = r->id;
      continue;
    }
    rc = body_of(e, op, r, &bodies[i], why, why_len);
    list[i].body = bodies[i].data;
    list[i].body_len = bodies[i].len;
  }
  return rc;
}

static tinker_future_t *adopt(tinker_run_t *run, tinker__rec_epoch_t *e,
                              const tinker__rec_op_t *op, bool resend,
                              char *why, size_t why_len) {
  tinker_call_options_t call = TINKER_CALL_OPTIONS_INIT;
  tinker_future_t *future = NULL;
  size_t n = op->request_count;
  tinker_operation_request_t *list =
      tinker__mem_array(&run->mem, n, sizeof *list);
  tinker__buf_t *bodies = tinker__mem_array(&run->mem, n, sizeof *bodies);
  for (size_t i = 0; bodies && i < n; i++) {
    tinker__buf_init(&bodies[i], &run->mem, SIZE_MAX / 2);
  }
  call.tag = op->id;
  call.timeout_ms = TINKER_NO_TIMEOUT;
  if (list && bodies &&
      requests_of(e, op, resend, list, bodies, why, why_len) == 0) {
    future = tinker_trainer_adopt_operation(e->trainer, (tinker_kind_t)op->kind,
                                            list, n, &call);
  }
  for (size_t i = 0; bodies && i < n; i++) tinker__buf_free(&bodies[i]);
  tinker__mem_free(&run->mem, bodies);
  tinker__mem_free(&run->mem, list);
  return future;
}

static bool is_checkpoint(const tinker__rec_op_t *op) {
  return op->slot == TINKER__REC_SLOT_SAVE ||
         op->slot == TINKER__REC_SLOT_PROBE;
}

/* The step of an operation, made if it is the next one. */
static tinker__rec_step_t *step_of(tinker_run_t *run, int64_t number) {
  tinker__rec_step_t *last = tinker__rec_step_last(run);
  if (last && last->number == number) return last;
  return tinker__rec_step_new(run, number);
}

/* What goes on with a checkpoint of the last committed step. */
static tinker__rec_step_t *late_of(tinker_run_t *run) {
  tinker__str_t cursor = tinker__buf_str(&run->state.cursor);
  if (run->late) return run->late;
  tinker__rec_step_t *s = tinker__mem_zalloc(&run->mem, sizeof *s);
  if (!s) return NULL;
  tinker__list_init(&s->link);
  s->number = run->state.committed;
  s->cursor = tinker__mem_strndup(&run->mem, cursor.ptr, cursor.len);
  s->cursor_len = s->cursor ? cursor.len : 0;
  run->late = s;
  return s;
}

/* The step that an operation is of; NULL = of none that is known. A save or a
 * probe has the weights of its step only behind that step's optim_step: the
 * client lets it go where the optim_step failed. */
static tinker__rec_step_t *owner_of(tinker_run_t *run,
                                    const tinker__rec_op_t *op) {
  int64_t committed = run->state.committed;
  if (is_checkpoint(op)) {
    tinker__rec_step_t *last = tinker__rec_step_last(run);
    if (op->step == committed) return late_of(run);
    return last && last->number == op->step && last->optim ? last : NULL;
  }
  return op->step > committed ? step_of(run, op->step) : NULL;
}

/* Puts the future where its operation belongs. Takes it over. */
static int place(tinker_run_t *run, const tinker__rec_op_t *op,
                 tinker_future_t *future) {
  tinker__rec_step_t *s = owner_of(run, op);
  int rc = 0;
  switch (op->slot) {
  case TINKER__REC_SLOT_FORWARD_BACKWARD:
    if (s) rc = tinker__rec_step_add(run, s, future, op->batch);
    if (s) s->adopted = s->forward_count;
    break;
  case TINKER__REC_SLOT_OPTIM:
    if (!s) break;
    s->optim = tinker_future_retain(future);
    s->optim_adopted = true;
    break;
  case TINKER__REC_SLOT_SAVE:
    if (!s) break;
    tinker_future_release(s->save); /* of two, the later one */
    s->save = tinker_future_retain(future);
    s->save_op = op->id;
    tinker__why(s->ckpt, sizeof s->ckpt, 0, "%s", op->name);
    break;
  case TINKER__REC_SLOT_PROBE:
    if (!s) break;
    tinker_future_release(s->probe);
    s->probe = tinker_future_retain(future);
    s->probe_op = op->id;
    tinker__why(s->ckpt, sizeof s->ckpt, 0, "%s", op->name);
    break;
  default: break;
  }
  tinker_future_release(future);
  return rc;
}

static bool is_numbered(const tinker__rec_op_t *op) {
  return op->request_count > 0 && op->requests[0].seq_id >= 0;
}

/* Was all of it answered? Then its numbers are no hole. */
static bool is_answered(const tinker__rec_op_t *op) {
  for (size_t i = 0; i < op->request_count; i++) {
    if (op->requests[i].state == TINKER__REC_REQUEST_OPEN) return false;
  }
  return true;
}

/* A training operation of which a part failed. */
static bool is_half_done(const tinker_run_t *run, const tinker__rec_op_t *op) {
  if (op->step <= run->state.committed) return false;
  if (op->slot != TINKER__REC_SLOT_FORWARD_BACKWARD &&
      op->slot != TINKER__REC_SLOT_OPTIM) {
    return false;
  }
  return tinker__rec_op_has_failed(op);
}

/* Has an operation failed after the service had accepted some of it? One that
 * it has refused whole has left nothing, and its number counts as used. Should
 * the service wait for that number, the client finds out. */
static bool is_torn(const tinker_run_t *run, const tinker__rec_op_t *op) {
  return !is_refused(op) && is_half_done(run, op);
}

static bool wanted(const tinker_run_t *run, const tinker__rec_op_t *op) {
  if (!is_numbered(op) || is_refused(op)) return false;
  if (op->step > run->state.committed || is_checkpoint(op)) return true;
  return !is_answered(op);
}

static int adopt_all(tinker_run_t *run, tinker__rec_epoch_t *e, bool resend,
                     tinker__rec_fault_t *f) {
  char why[TINKER__REC_WHY] = "no memory for what was under way";
  int rc = 0;
  pthread_mutex_lock(&run->lock);
  TINKER__LIST_EACH(l, tmp, &run->state.ops) {
    tinker__rec_op_t *op = TINKER__CONTAINER(l, tinker__rec_op_t, link);
    if (rc == 0 && is_torn(run, op)) {
      rc = tinker__why(why, sizeof why, TINKER_ESTATE,
                       "a part of step %lld has failed, and the model has what "
                       "was accepted of it",
                       (long long)op->step);
    }
    if (rc != 0 || !wanted(run, op)) continue;
    tinker_future_t *future = adopt(run, e, op, resend, why, sizeof why);
    rc = future ? place(run, op, future) : TINKER_ENOMEM;
  }
  pthread_mutex_unlock(&run->lock);
  if (rc == 0) return 0;
  local_fault(f, TINKER_ESTATE, why);
  f->model = true; /* a number that can't be sent again is lost */
  f->unknown = false;
  return TINKER_ESTATE;
}

/* The cursors of steps whose commit was called but not reached. */
static int place_cursors(tinker_run_t *run) {
  int rc = 0;
  pthread_mutex_lock(&run->lock);
  TINKER__LIST_EACH(l, tmp, &run->steps) {
    tinker__rec_step_t *s = TINKER__CONTAINER(l, tinker__rec_step_t, link);
    tinker__str_t cursor;
    if (!s->optim || s->committing ||
        !tinker__rec_state_cursor(&run->state, s->number, &cursor)) {
      continue;
    }
    s->cursor = tinker__mem_strndup(&run->mem, cursor.ptr, cursor.len);
    s->cursor_len = cursor.len;
    s->committing = s->cursor != NULL;
    if (!s->cursor) rc = TINKER_ENOMEM;
  }
  pthread_mutex_unlock(&run->lock);
  return rc;
}

/* Is what was found the steps after the last committed one, each complete but
 * for the last? */
static bool in_order(const tinker_run_t *run) {
  int64_t next = run->state.committed + 1;
  TINKER__LIST_EACH(l, tmp, &run->steps) {
    const tinker__rec_step_t *s =
        TINKER__CONTAINER(l, tinker__rec_step_t, link);
    bool last = s == tinker__rec_step_last(run);
    if (s->number != next++ || !s->forward_count) return false;
    if (!last && !s->committing) return false;
  }
  return true;
}

static int check_order(tinker_run_t *run, tinker__rec_fault_t *f) {
  pthread_mutex_lock(&run->lock);
  bool fine = in_order(run);
  pthread_mutex_unlock(&run->lock);
  if (fine) return 0;
  local_fault(f, TINKER_ESTATE,
              "a part of a step was not carried out, and what was called after "
              "it was");
  f->model = true;
  f->unknown = false;
  return TINKER_ESTATE;
}

/* One that the run can go back to. */
static bool has_ckpt(const tinker_run_t *run, int64_t step) {
  TINKER__LIST_EACH(l, tmp, &run->state.ckpts) {
    const tinker__rec_ckpt_t *c =
        TINKER__CONTAINER(l, tinker__rec_ckpt_t, link);
    if (c->step == step && *c->path && c->probe_count && !c->quarantined) {
      return true;
    }
  }
  return false;
}

/* The earlier process may have died before a checkpoint that was due was begun,
 * or lost its fingerprint: the next commit makes one. */
static void settle_due(tinker_run_t *run) {
  int64_t step = run->state.committed;
  bool missing = step > 0 && !run->late && !has_ckpt(run, step) &&
                 tinker__rec_ckpt_due(run, step);
  TINKER__LIST_EACH(l, tmp, &run->steps) {
    const tinker__rec_step_t *s =
        TINKER__CONTAINER(l, tinker__rec_step_t, link);
    if (s->committing && !s->save && tinker__rec_ckpt_due(run, s->number)) {
      missing = true;
    }
  }
  if (missing) run->save_due = true;
}

static int adopt_trainer(tinker_run_t *run, tinker__rec_epoch_t *e,
                         tinker__rec_fault_t *f) {
  tinker_call_options_t call = TINKER_CALL_OPTIONS_INIT;
  call.timeout_ms = TINKER_NO_TIMEOUT;
  tinker_future_t *made = tinker_client_adopt_trainer(
      e->client, run->state.model, run->state.next_seq_id, &call);
  int rc = tinker__rec_await(made, f);
  if (rc == 0) rc = tinker_future_get_trainer(made, &e->trainer);
  tinker_future_release(made);
  return rc;
}

static int note_attach(tinker_run_t *run, int64_t incarnation,
                       tinker__rec_epoch_t *e) {
  tinker__rec_facts_t facts = TINKER__REC_FACTS_INIT;
  facts.incarnation = incarnation;
  return tinker__rec_note(run, e, TINKER__REC_ATTACH, run->state.committed,
                          &facts, tinker__str(""));
}

void tinker__rec_take_noise(tinker_run_t *run) {
  TINKER__LIST_EACH(l, tmp, &run->state.ckpts) {
    const tinker__rec_ckpt_t *c =
        TINKER__CONTAINER(l, tinker__rec_ckpt_t, link);
    if (!c->probe_count) continue;
    run->noise_known = true;
    if (c->noise > run->noise) run->noise = c->noise;
  }
}

static int attach(tinker_run_t *run, tinker__rec_epoch_t *e, bool resend,
                  tinker__rec_fault_t *f) {
  int rc = adopt_trainer(run, e, f);
  if (rc != 0) return rc;
  pthread_mutex_lock(&run->lock);
  tinker__rec_steps_drop(run);
  pthread_mutex_unlock(&run->lock);
  rc = adopt_all(run, e, resend, f);
  if (rc == 0) rc = place_cursors(run);
  if (rc == 0) rc = check_order(run, f);
  if (rc != 0) return rc;
  pthread_mutex_lock(&run->lock);
  run->epoch = e;
  tinker__rec_take_noise(run);
  settle_due(run);
  tinker__rec_run_move(run, TINKER__REC_RUN_READY);
  pthread_mutex_unlock(&run->lock);
  tinker__rec_still_begin(run, NULL);
  tinker__rec_say(run, "attached", run->state.committed, NULL);
  return 0;
}

int tinker__rec_attach(tinker_run_t *run, tinker__rec_fault_t *f) {
  tinker__rec_epoch_t *e = NULL;
  char why[TINKER__REC_WHY] = "";
  bool resend = run->fault.resend;
  int64_t incarnation = run->state.attached + 1;
  int rc = tinker__rec_heard(run, f);
  if (rc != 0) return rc;
  rc = tinker__rec_epoch_open(run, run->state.epoch, run->state.session,
                              incarnation, &e, why, sizeof why);
  if (rc != 0) return local_fault(f, rc, why);
  rc = note_attach(run, incarnation, e);
  if (rc != 0) {
    local_fault(f, rc, "the run's journal can't be written");
  } else {
    rc = attach(run, e, resend, f);
  }
  if (rc == 0) return 0;
  tinker__rec_epoch_end(e);
  if (f->unknown) return rc;
  pthread_mutex_lock(&run->lock);
  run->fault = *f;
  run->fault.model = true; /* it did not take us: the next level */
  run->fault.again = false;
  tinker__rec_run_move(run, TINKER__REC_RUN_BROKEN);
  pthread_mutex_unlock(&run->lock);
  return 0;
}
