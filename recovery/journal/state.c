/* state: see state.h. One function folds one type of record; what a type does
 * not change is left alone, so that records of a newer version do no harm. */
#include "journal/state.h"

#include <string.h>
#include <tinker/error.h>

#include "journal/facts.h"

typedef tinker__rec_cursor_t cursor_t;

typedef struct {
  tinker__rec_state_t *s;
  int64_t epoch; /* of the file */
  const tinker__rec_record_t *r;
  const tinker__rec_facts_t *f;
} fold_t;

int tinker__rec_state_init(tinker__rec_state_t *s, tinker__mem_t *mem) {
  memset(s, 0, sizeof *s);
  s->mem = mem;
  s->next_seq_id = 1;
  s->next_model_seq_id = s->next_sampling_session_seq_id = -1;
  tinker__buf_init(&s->cursor, mem, TINKER__REC_MAX_CURSOR);
  tinker__list_init(&s->cursors);
  tinker__list_init(&s->ops);
  tinker__list_init(&s->ckpts);
  tinker__list_init(&s->used);
  tinker__list_init(&s->orphans);
  s->past = tinker__mem_array(mem, TINKER__REC_PAST, sizeof *s->past);
  return s->past ? 0 : TINKER_ENOMEM;
}

/* --- Parts ---------------------------------------------------------------- */

static void op_free(tinker__rec_state_t *s, tinker__rec_op_t *op) {
  tinker__list_remove(&op->link);
  for (size_t i = 0; op->requests && i < op->request_count; i++) {
    tinker__mem_free(s->mem, op->requests[i].id);
  }
  tinker__mem_free(s->mem, op->requests);
  tinker__mem_free(s->mem, op->bytes);
  tinker__mem_free(s->mem, op->name);
  tinker__mem_free(s->mem, op);
}

static void cursor_free(tinker__rec_state_t *s, cursor_t *c) {
  tinker__list_remove(&c->link);
  tinker__mem_free(s->mem, c->data);
  tinker__mem_free(s->mem, c);
}

static void ckpt_free(tinker__rec_state_t *s, tinker__rec_ckpt_t *c) {
  tinker__list_remove(&c->link);
  tinker__mem_free(s->mem, c->name);
  tinker__mem_free(s->mem, c->path);
  tinker__mem_free(s->mem, c->cursor);
  tinker__mem_free(s->mem, c->probe);
  tinker__mem_free(s->mem, c);
}

/* What belongs to the active epoch alone. */
static void epoch_forget(tinker__rec_state_t *s) {
  TINKER__LIST_EACH(l, tmp, &s->ops) {
    op_free(s, TINKER__CONTAINER(l, tinker__rec_op_t, link));
  }
  TINKER__LIST_EACH(l, tmp, &s->cursors) {
    cursor_free(s, TINKER__CONTAINER(l, cursor_t, link));
  }
  tinker__mem_free(s->mem, s->distrusted);
  s->distrusted = NULL;
  s->last_op = 0;
  s->next_seq_id = 1;
  s->next_model_seq_id = s->next_sampling_session_seq_id = -1;
  s->attached = 0;
}

void tinker__rec_state_free(tinker__rec_state_t *s) {
  if (!s->mem) return;
  epoch_forget(s);
  TINKER__LIST_EACH(l, tmp, &s->ckpts) {
    ckpt_free(s, TINKER__CONTAINER(l, tinker__rec_ckpt_t, link));
  }
  tinker__rec_used_free(&s->used, s->mem);
  tinker__rec_orphans_free(&s->orphans, s->mem);
  tinker__buf_free(&s->cursor);
  for (size_t i = 0; s->past && i < TINKER__REC_PAST; i++) {
    tinker__mem_free(s->mem, s->past[i].batches);
  }
  tinker__mem_free(s->mem, s->past);
  tinker__mem_free(s->mem, s->plan);
  tinker__mem_free(s->mem, s->session);
  tinker__mem_free(s->mem, s->model);
  tinker__mem_free(s->mem, s->from_path);
  tinker__mem_free(s->mem, s->stopped);
  memset(s, 0, sizeof *s);
}

bool tinker__rec_state_cursor(const tinker__rec_state_t *s, int64_t step,
                              tinker__str_t *out) {
  TINKER__LIST_EACH(l, tmp, &s->cursors) {
    const cursor_t *c = TINKER__CONTAINER(l, cursor_t, link);
    if (c->step != step) continue;
    *out = (tinker__str_t){c->data, c->len};
    return true;
  }
  return false;
}

static int set_text(tinker__rec_state_t *s, char **to, tinker__str_t text) {
  char *copy = tinker__mem_strndup(s->mem, text.ptr ? text.ptr : "", text.len);
  if (!copy) return TINKER_ENOMEM;
  tinker__mem_free(s->mem, *to);
  *to = copy;
  return 0;
}

static void raise(int64_t *to, int64_t value) {
  if (value != TINKER__REC_UNSET && value > *to) *to = value;
}

/* --- Operations ----------------------------------------------------------- */

static int take_requests(tinker__rec_state_t *s, tinker__rec_op_t *op,
                         const tinker__rec_facts_t *f) {
  op->requests =
      tinker__mem_array(s->mem, f->request_count, sizeof *op->requests);
  if (!op->requests) return TINKER_ENOMEM;
  op->request_count = f->request_count;
  for (size_t i = 0; i < f->request_count; i++) {
    const tinker__rec_sent_t *from = &f->requests[i];
    tinker__rec_request_t *to = &op->requests[i];
    to->seq_id = from->seq_id;
    to->len = (size_t)from->len;
    to->datums = (size_t)from->datums;
    to->offset = from->offset;
    memcpy(to->sha256, from->sha256, sizeof to->sha256);
  }
  return 0;
}

static int64_t expiry(int64_t ms) {
  return ms == TINKER__REC_UNSET || ms < 0 ? TINKER__REC_NEVER : ms;
}

static int op_fill(const fold_t *x, tinker__rec_op_t *op) {
  tinker__rec_state_t *s = x->s;
  op->id = (uint64_t)x->f->op;
  op->step = x->r->step;
  op->slot = (tinker__rec_slot_t)x->f->slot;
  op->kind = x->f->kind;
  op->side = x->f->side == 1;
  op->expires_ms = expiry(x->f->expires_ms);
  if (x->f->batch.len) tinker__rec_unhex(x->f->batch, op->batch);
  int rc = set_text(s, &op->name, x->f->name);
  if (rc == 0) rc = take_requests(s, op, x->f);
  if (rc != 0) return rc;
  op->bytes = tinker__mem_strndup(s->mem, x->r->bytes.ptr, x->r->bytes.len);
  op->bytes_len = x->r->bytes.len;
  return op->bytes ? 0 : TINKER_ENOMEM;
}

/* The numbers that the operation has taken. */
static void count_numbers(tinker__rec_state_t *s, const fold_t *x) {
  for (size_t i = 0; i < x->f->request_count; i++) {
    raise(&s->next_seq_id, x->f->requests[i].seq_id + 1);
  }
  raise(&s->next_model_seq_id, x->f->next_model);
  raise(&s->next_sampling_session_seq_id, x->f->next_sampling);
}

static tinker__rec_op_t *op_new(const fold_t *x, int *rc) {
  tinker__rec_op_t *op = tinker__mem_zalloc(x->s->mem, sizeof *op);
  *rc = op ? 0 : TINKER_ENOMEM;
  if (!op) return NULL;
  tinker__list_push_back(&x->s->ops, &op->link);
  *rc = op_fill(x, op);
  if (*rc == 0) return op;
  op_free(x->s, op);
  return NULL;
}

static int fold_intent(const fold_t *x) {
  tinker__rec_state_t *s = x->s;
  int64_t before = s->next_seq_id;
  int rc = 0;
  if (x->f->op < 0) return TINKER_EFORMAT;
  raise((int64_t *)&s->last_op, x->f->op);
  count_numbers(s, x);
  /* It may be there: another process sends its bytes again. */
  tinker__rec_op_t *op = tinker__rec_state_op(s, (uint64_t)x->f->op);
  if (!op) op = op_new(x, &rc);
  if (!op) return rc;
  op->intents++;
  op->before = before;
  op->after = s->next_seq_id;
  return 0;
}

/* It was not sent: the numbers that it took are free again, unless another has
 * taken more since. Bytes that are sent again take none, and what sent them
 * first still counts. */
static int fold_withdrawn(const fold_t *x) {
  tinker__rec_state_t *s = x->s;
  tinker__rec_op_t *op = tinker__rec_state_op(s, (uint64_t)x->f->op);
  if (!op) return 0;
  if (s->next_seq_id == op->after) s->next_seq_id = op->before;
  op->after = op->before = TINKER__REC_UNSET;
  if (--op->intents == 0) op_free(s, op);
  return 0;
}

static tinker__rec_request_t *request_of(const fold_t *x) {
  tinker__rec_op_t *op = tinker__rec_state_op(x->s, (uint64_t)x->f->op);
  bool there =
      op && x->f->request >= 0 && (uint64_t)x->f->request < op->request_count;
  return there ? &op->requests[x->f->request] : NULL;
}

static int fold_sent(const fold_t *x) {
  tinker__rec_request_t *r = request_of(x);
  if (!r || !x->f->id.len) return 0;
  if (r->state == TINKER__REC_REQUEST_OPEN) r->state = TINKER__REC_REQUEST_SENT;
  return set_text(x->s, &r->id, x->f->id);
}

static int fold_ended(const fold_t *x) {
  tinker__rec_request_t *r = request_of(x);
  if (!r) return 0;
  r->state =
      x->f->end == 0 ? TINKER__REC_REQUEST_RESULT : TINKER__REC_REQUEST_FAILED;
  r->code = x->f->code;
  return 0;
}

/* --- Steps ---------------------------------------------------------------- */

/* The newest of a step is the one that counts. */
static int fold_cursor(const fold_t *x) {
  tinker__rec_state_t *s = x->s;
  cursor_t *c = tinker__mem_zalloc(s->mem, sizeof *c);
  if (!c) return TINKER_ENOMEM;
  tinker__list_push_back(&s->cursors, &c->link);
  c->step = x->r->step;
  c->len = x->r->bytes.len;
  c->data = tinker__mem_strndup(s->mem, x->r->bytes.ptr, c->len);
  if (!c->data) {
    cursor_free(s, c);
    return TINKER_ENOMEM;
  }
  TINKER__LIST_EACH(l, tmp, &s->cursors) {
    cursor_t *older = TINKER__CONTAINER(l, cursor_t, link);
    if (older != c && older->step == c->step) cursor_free(s, older);
  }
  return 0;
}

static int remember(tinker__rec_state_t *s, const fold_t *x) {
  tinker__rec_past_t *p = &s->past[s->past_at];
  unsigned char *batches =
      tinker__mem_dup(s->mem, x->r->bytes.ptr, x->r->bytes.len);
  if (!batches) return TINKER_ENOMEM;
  tinker__mem_free(s->mem, p->batches);
  *p = (tinker__rec_past_t){.step = x->r->step,
                            .epoch = x->epoch,
                            .batches = batches,
                            .batch_count = x->r->bytes.len / TINKER__SHA256_LEN,
                            .loss = x->f->loss,
                            .has_loss = x->f->has_loss};
  s->past_at = (s->past_at + 1) % TINKER__REC_PAST;
  if (s->past_count < TINKER__REC_PAST) s->past_count++;
  return 0;
}

static bool has_ended(const tinker__rec_op_t *op) {
  for (size_t i = 0; i < op->request_count; i++) {
    if (op->requests[i].state != TINKER__REC_REQUEST_RESULT &&
        op->requests[i].state != TINKER__REC_REQUEST_FAILED) {
      return false;
    }
  }
  return true;
}

/* Operations of the step are done with, and what was asked beside the steps and
 * answered; saves and probes may go on. */
static void drop_ops(tinker__rec_state_t *s, int64_t step) {
  TINKER__LIST_EACH(l, tmp, &s->ops) {
    tinker__rec_op_t *op = TINKER__CONTAINER(l, tinker__rec_op_t, link);
    bool training = op->slot == TINKER__REC_SLOT_FORWARD_BACKWARD ||
                    op->slot == TINKER__REC_SLOT_OPTIM;
    bool over = op->slot == TINKER__REC_SLOT_OTHER && has_ended(op);
    if (op->step <= step && (training || over)) op_free(s, op);
  }
}

static int fold_commit(const fold_t *x) {
  tinker__rec_state_t *s = x->s;
  if (s->history) {
    return x->epoch != s->epoch ? remember(s, x) : 0;
  }
  if (x->r->step != s->committed + 1) return TINKER_EFORMAT;
  int rc = remember(s, x);
  if (rc != 0) return rc;
  s->committed = x->r->step;
  s->cursor_lost = false;
  drop_ops(s, s->committed);
  TINKER__LIST_EACH(l, tmp, &s->cursors) {
    cursor_t *c = TINKER__CONTAINER(l, cursor_t, link);
    if (c->step == s->committed) {
      tinker__buf_clear(&s->cursor);
      tinker__buf_add(&s->cursor, c->data, c->len);
    }
    if (c->step <= s->committed) cursor_free(s, c);
  }
  return tinker__buf_error(&s->cursor);
}

/* A step that was done again came out otherwise than before; or it has come out
 * a second time as it did then, so that what was before is forgotten. */
static int fold_gate(const fold_t *x) {
  tinker__rec_state_t *s = x->s;
  bool later = s->history && x->epoch == s->epoch; /* in its own pass */
  if (later) return 0;
  if (x->f->end != 0) {
    tinker__rec_past_t *p = tinker__rec_state_past(s, x->r->step);
    if (p) p->doubted = true;
    if (p) p->again = x->f->loss;
    return 0;
  }
  for (size_t i = 0; i < s->past_count; i++) {
    if (s->past[i].step >= x->r->step) s->past[i].step = TINKER__REC_NO_STEP;
  }
  return 0;
}

/* --- Checkpoints ---------------------------------------------------------- */

static tinker__rec_ckpt_t *ckpt_of(const fold_t *x) {
  TINKER__LIST_EACH(l, tmp, &x->s->ckpts) {
    tinker__rec_ckpt_t *c = TINKER__CONTAINER(l, tinker__rec_ckpt_t, link);
    if (tinker__str_eqs(x->f->name, c->name)) return c;
  }
  return NULL;
}

/* Its operation is done with. Of history there are no operations but those that
 * an earlier reading has left, and their turn comes in the last pass. */
static void end_op(const fold_t *x) {
  if (x->s->history) return;
  tinker__rec_op_t *op = tinker__rec_state_op(x->s, (uint64_t)x->f->op);
  if (op) op_free(x->s, op);
}

static int fold_saved(const fold_t *x) {
  tinker__rec_state_t *s = x->s;
  end_op(x);
  if (ckpt_of(x)) return 0;
  tinker__rec_ckpt_t *c = tinker__mem_zalloc(s->mem, sizeof *c);
  if (!c) return TINKER_ENOMEM;
  tinker__list_push_back(&s->ckpts, &c->link);
  c->step = x->r->step;
  c->epoch = x->epoch;
  c->expires_ms = expiry(x->f->expires_ms);
  c->marked_ms = -1;
  c->cursor_lost = x->f->lost == 1;
  c->cursor_len = x->r->bytes.len;
  c->cursor = tinker__mem_strndup(s->mem, x->r->bytes.ptr, c->cursor_len);
  int rc = c->cursor ? set_text(s, &c->name, x->f->name) : TINKER_ENOMEM;
  if (rc == 0) rc = set_text(s, &c->path, x->f->path);
  if (rc != 0) ckpt_free(s, c);
  return rc;
}

static int fold_fingerprint(const fold_t *x) {
  tinker__rec_ckpt_t *c = ckpt_of(x);
  end_op(x);
  if (!c || x->r->bytes.len % sizeof(float)) return 0;
  float *probe = tinker__mem_dup(x->s->mem, x->r->bytes.ptr, x->r->bytes.len);
  if (!probe) return TINKER_ENOMEM;
  tinker__mem_free(x->s->mem, c->probe);
  c->probe = probe;
  c->probe_count = x->r->bytes.len / sizeof(float);
  c->noise = x->f->has_noise ? x->f->noise : 0;
  return 0;
}

static int fold_level(const fold_t *x) {
  tinker__rec_ckpt_t *c = ckpt_of(x);
  if (c && x->f->level > c->level) c->level = (int)x->f->level;
  return 0;
}

static int fold_mark(const fold_t *x) {
  tinker__rec_ckpt_t *c = ckpt_of(x);
  if (!c) return 0;
  /* A candidate that is refused is not an attempt without fruit: there are only
   * so many, and the next one may be good. */
  if (x->r->type == TINKER__REC_CKPT_QUARANTINED) {
    if (x->s->incident && !c->quarantined && x->s->fruitless) x->s->fruitless--;
    c->quarantined = true;
  }
  if (x->r->type == TINKER__REC_CKPT_TOMBSTONE) c->marked_ms = x->f->at_ms;
  if (x->r->type == TINKER__REC_CKPT_DELETED) {
    c->deleting = true;
    c->deleted = x->f->end == 0;
  }
  return 0;
}

/* Until the service has answered, it may have either time to live. */
static int fold_ttl(const fold_t *x) {
  tinker__rec_ckpt_t *c = ckpt_of(x);
  int64_t ms = expiry(x->f->expires_ms);
  if (c && (x->f->end == 0 || ms < c->expires_ms)) c->expires_ms = ms;
  return 0;
}

/* --- The supervisor ------------------------------------------------------- */

/* A change that was allowed: a run that had all its steps may have more. */
static int fold_plan(const fold_t *x) {
  x->s->finished = false;
  return set_text(x->s, &x->s->plan, x->f->plan);
}

/* What earlier epochs have saved after the step is of a branch that ends. */
static void cut_branch(tinker__rec_state_t *s, int64_t epoch, int64_t step) {
  TINKER__LIST_EACH(l, tmp, &s->ckpts) {
    tinker__rec_ckpt_t *c = TINKER__CONTAINER(l, tinker__rec_ckpt_t, link);
    if (c->epoch < epoch && c->step > step) c->quarantined = true;
  }
}

/* The commit point of a recovery: from here on the epoch counts, at the step of
 * what it was loaded from, and the incident is over. */
static int fold_active(const fold_t *x) {
  tinker__rec_state_t *s = x->s;
  if (x->f->epoch <= s->epoch || x->f->from_step < 0) return TINKER_EFORMAT;
  epoch_forget(s);
  cut_branch(s, x->f->epoch, x->f->from_step);
  s->epoch = x->f->epoch;
  s->from_step = s->committed = x->f->from_step;
  if (s->incident) s->fruitless++; /* until it gets beyond where it was lost */
  s->incident = 0;
  s->cursor_lost = x->f->lost == 1;
  tinker__buf_clear(&s->cursor);
  tinker__buf_add(&s->cursor, x->r->bytes.ptr, x->r->bytes.len);
  raise(&s->last_epoch, s->epoch);
  int rc = set_text(s, &s->session, x->f->session);
  if (rc == 0) rc = set_text(s, &s->model, x->f->model);
  if (rc == 0) rc = set_text(s, &s->from_path, x->f->path);
  if (rc == 0) {
    rc = tinker__rec_used_add(&s->used, s->mem, s->epoch, tinker__str(""),
                              x->f->model);
  }
  raise(&s->disowned, x->f->disowned);
  return rc != 0 ? rc : tinker__buf_error(&s->cursor);
}

/* The monitor's word on the active epoch's model: it stands until there is
 * another one, whatever the service says of it later. */
static int fold_signal(const fold_t *x) {
  if (x->f->epoch != x->s->epoch) return 0;
  return set_text(x->s, &x->s->distrusted, x->f->evidence);
}

/* The service has more of the run than this journal, and its owner has said
 * that it goes on without that. Its model may be further than is known here. */
static int fold_lineage(const fold_t *x) {
  tinker__rec_state_t *s = x->s;
  raise(&s->disowned, x->f->disowned);
  raise(&s->last_epoch, x->f->disowned);
  return s->epoch ? set_text(s, &s->distrusted, x->f->evidence) : 0;
}

static int fold_orphan(const fold_t *x) {
  return tinker__rec_orphan_add(&x->s->orphans, x->s->mem, x->f->model,
                                x->r->type == TINKER__REC_ORPHAN_CLEARED);
}

static int fold_incident(const fold_t *x) {
  tinker__rec_state_t *s = x->s;
  switch (x->r->type) {
  case TINKER__REC_INC_OPEN:
    s->incident = x->f->incident;
    s->attempts = 0;
    raise(&s->progress, x->r->step);
    raise(&s->incidents, x->f->incident);
    return 0;
  case TINKER__REC_ATTEMPT_BEGIN: /* that a process dies in it costs nothing */
    if (s->incident) s->attempts++;
    raise(&s->last_epoch, x->f->epoch);
    return tinker__rec_used_add(&s->used, s->mem, x->f->epoch, x->f->nonce,
                                tinker__str(""));
  case TINKER__REC_ATTEMPT_END:
    if (s->incident) s->fruitless++;
    return 0;
  case TINKER__REC_LEDGER:
    s->fruitless = x->f->count == TINKER__REC_UNSET ? 0 : x->f->count;
    return 0;
  case TINKER__REC_INC_STOP: return set_text(s, &s->stopped, x->f->why);
  default: s->incident = 0; return 0; /* INC_CLOSE */
  }
}

static int fold_hold(const fold_t *x) {
  x->s->held = x->r->type == TINKER__REC_HOLD;
  if (!x->s->held) { /* an operator has looked at it */
    tinker__mem_free(x->s->mem, x->s->stopped);
    x->s->stopped = NULL;
    x->s->fruitless = 0;
  }
  return 0;
}

static int fold_finish(const fold_t *x) {
  x->s->finished = true;
  return 0;
}

static int fold_attach(const fold_t *x) {
  raise(&x->s->attached, x->f->incarnation);
  return 0;
}

static const struct {
  int64_t type;
  enum { SUPERVISOR, EPOCH, EPOCH_AND_HISTORY } where; /* it stands, counts */
  int (*fold)(const fold_t *x);
} folds[] = {
    {TINKER__REC_LINEAGE_OPEN, SUPERVISOR, fold_lineage},
    {TINKER__REC_PLAN, SUPERVISOR, fold_plan},
    {TINKER__REC_HOLD, SUPERVISOR, fold_hold},
    {TINKER__REC_RELEASE, SUPERVISOR, fold_hold},
    {TINKER__REC_FINISH, SUPERVISOR, fold_finish},
    {TINKER__REC_SIGNAL, SUPERVISOR, fold_signal},
    {TINKER__REC_INC_OPEN, SUPERVISOR, fold_incident},
    {TINKER__REC_ATTEMPT_BEGIN, SUPERVISOR, fold_incident},
    {TINKER__REC_ATTEMPT_END, SUPERVISOR, fold_incident},
    {TINKER__REC_LEDGER, SUPERVISOR, fold_incident},
    {TINKER__REC_INC_CLOSE, SUPERVISOR, fold_incident},
    {TINKER__REC_INC_STOP, SUPERVISOR, fold_incident},
    {TINKER__REC_EPOCH_ACTIVE, SUPERVISOR, fold_active},
    {TINKER__REC_ORPHAN_FOUND, SUPERVISOR, fold_orphan},
    {TINKER__REC_ORPHAN_CLEARED, SUPERVISOR, fold_orphan},
    {TINKER__REC_CKPT_LEVEL, SUPERVISOR, fold_level},
    {TINKER__REC_CKPT_QUARANTINED, SUPERVISOR, fold_mark},
    {TINKER__REC_CKPT_TTL, SUPERVISOR, fold_ttl},
    {TINKER__REC_CKPT_TOMBSTONE, SUPERVISOR, fold_mark},
    {TINKER__REC_CKPT_DELETED, SUPERVISOR, fold_mark},
    {TINKER__REC_OP_INTENT, EPOCH, fold_intent},
    {TINKER__REC_OP_WITHDRAWN, EPOCH, fold_withdrawn},
    {TINKER__REC_OP_SENT, EPOCH, fold_sent},
    {TINKER__REC_OP_ENDED, EPOCH, fold_ended},
    {TINKER__REC_CURSOR, EPOCH, fold_cursor},
    {TINKER__REC_GATE, EPOCH_AND_HISTORY, fold_gate},
    {TINKER__REC_STEP_COMMIT, EPOCH_AND_HISTORY, fold_commit},
    {TINKER__REC_ATTACH, EPOCH, fold_attach},
    {TINKER__REC_CKPT_SAVED, EPOCH_AND_HISTORY, fold_saved},
    {TINKER__REC_CKPT_FINGERPRINT, EPOCH_AND_HISTORY, fold_fingerprint},
};

int tinker__rec_state_fold(tinker__rec_state_t *s, int64_t epoch,
                           const tinker__rec_record_t *r, char *why,
                           size_t why_len) {
  tinker__arena_t arena;
  tinker__rec_facts_t facts;
  int rc = 0;
  s->records++;
  for (size_t i = 0; i < sizeof folds / sizeof folds[0]; i++) {
    bool supervisor = folds[i].where == SUPERVISOR;
    if (folds[i].type != r->type || supervisor != (epoch == 0)) continue;
    if (s->history && folds[i].where == EPOCH) break;
    tinker__arena_init(&arena, s->mem);
    rc = tinker__rec_facts_read(&facts, &arena, r->fields, why, why_len);
    fold_t x = {s, epoch, r, &facts};
    if (rc == 0) rc = folds[i].fold(&x);
    tinker__arena_free(&arena);
    if (rc == TINKER_EFORMAT) {
      tinker__why(why, why_len, rc,
                  "record %lld (%s) does not fit what is "
                  "before it",
                  (long long)r->id, tinker__rec_type_name(r->type));
    }
    break;
  }
  return rc;
}
