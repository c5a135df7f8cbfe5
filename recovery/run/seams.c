/* seams: what an epoch's client asks and tells (tinker/seams.h). The client's
 * journal thread, but for the fence (its thread for input and output) and
 * on_durable (the journal file's thread). */
#include <stdio.h>
#include <string.h>

#include "run/run.h"

/* An intent that went, or waits for the disk. */
typedef struct {
  tinker__link_t link;
  tinker__rec_epoch_t *epoch;
  uint64_t ticket;
  uint64_t op;
  int64_t step;
  bool again;  /* the journal has its intent already */
  size_t open; /* requests that have not ended */
} ticket_t;

static void answer(tinker__rec_epoch_t *e, uint64_t ticket,
                   tinker_verdict_t verdict, const char *why) {
  /* TINKER_ENOENT: it was withdrawn meanwhile. Without memory for the sentence
   * it is refused without one. */
  if (tinker_admission_answer(e->client, ticket, verdict, why) ==
      TINKER_ENOMEM) {
    tinker_admission_answer(e->client, ticket, verdict, NULL);
  }
}

/* --- Tickets. Under the lock ---------------------------------------------- */

static ticket_t *ticket_of(tinker__rec_epoch_t *e, uint64_t number) {
  TINKER__LIST_EACH(l, tmp, &e->tickets) {
    ticket_t *t = TINKER__CONTAINER(l, ticket_t, link);
    if (t->ticket == number) return t;
  }
  return NULL;
}

static void ticket_free(ticket_t *t) {
  tinker__list_remove(&t->link);
  tinker__mem_free(&t->epoch->run->mem, t);
}

/* What the journal has under this tag: an earlier process wanted to send it.
 * Else what the program has announced; else it is new. */
static void describe(tinker__rec_epoch_t *e, uint64_t tag,
                     tinker__rec_made_t *out) {
  tinker_run_t *run = e->run;
  const tinker__rec_op_t *op = tinker__rec_state_op(&run->state, tag);
  if (op) {
    *out = (tinker__rec_made_t){
        .op = op->id, .step = op->step, .slot = op->slot, .again = true};
    return;
  }
  TINKER__LIST_EACH(l, tmp, &e->made) {
    tinker__rec_made_t *m = TINKER__CONTAINER(l, tinker__rec_made_t, link);
    if (m->op != tag) continue;
    *out = *m;
    return;
  }
  *out = (tinker__rec_made_t){.op = ++run->next_op,
                              .step = run->state.committed,
                              .slot = TINKER__REC_SLOT_OTHER};
}

static ticket_t *ticket_new(tinker__rec_epoch_t *e, const tinker_intent_t *in,
                            tinker__rec_made_t *made) {
  tinker_run_t *run = e->run;
  ticket_t *t = tinker__mem_zalloc(&run->mem, sizeof *t);
  if (!t) return NULL;
  pthread_mutex_lock(&run->lock);
  describe(e, in->tag, made);
  *t = (ticket_t){.epoch = e,
                  .ticket = in->ticket,
                  .op = made->op,
                  .step = made->step,
                  .again = made->again,
                  .open = in->request_count};
  tinker__list_push_back(&e->tickets, &t->link);
  pthread_mutex_unlock(&run->lock);
  return t;
}

/* --- Intents -------------------------------------------------------------- */

/* Is it an operation that this process, or an earlier one, has announced? */
static bool is_known(tinker__rec_epoch_t *e, uint64_t tag) {
  tinker_run_t *run = e->run;
  pthread_mutex_lock(&run->lock);
  bool known = tinker__rec_state_op(&run->state, tag) != NULL;
  TINKER__LIST_EACH(l, tmp, &e->made) {
    known |= TINKER__CONTAINER(l, tinker__rec_made_t, link)->op == tag;
  }
  pthread_mutex_unlock(&run->lock);
  return known;
}

/* What would train without the run's knowledge. */
static bool goes_past(tinker__rec_epoch_t *e, const tinker_intent_t *in) {
  if (in->kind != TINKER_KIND_FORWARD_BACKWARD &&
      in->kind != TINKER_KIND_OPTIM_STEP && in->kind != TINKER_KIND_STEP &&
      in->kind != TINKER_KIND_LOAD_STATE) {
    return false;
  }
  return !is_known(e, in->tag);
}

static bool is_finish(const tinker_intent_t *in) {
  return strcmp(in->name, "finish_session") == 0;
}

static const char *refusal(tinker__rec_epoch_t *e, const tinker_intent_t *in) {
  if (is_finish(in)) {
    return atomic_load(&e->may_finish) ? NULL
                                       : "the run may go on with this session";
  }
  if (atomic_load(&e->fenced)) return "the run goes on with another model";
  if (goes_past(e, in)) {
    return "it would train the model of a run past the run: use "
           "tinker_run_forward_backward() and tinker_run_optim_step()";
  }
  return NULL;
}

static size_t length(const tinker_intent_t *in) {
  size_t len = 0;
  for (size_t i = 0; i < in->request_count; i++) len += in->requests[i].len;
  return len;
}

/* Small bodies are a part of the record. */
static int inline_bodies(const tinker_intent_t *in, tinker__rec_sent_t *sent,
                         tinker__buf_t *bytes) {
  for (size_t i = 0; i < in->request_count; i++) {
    const tinker_intent_request_t *r = &in->requests[i];
    sent[i].offset = (int64_t)bytes->len;
    for (size_t k = 0; k < r->segment_count; k++) {
      tinker__buf_add(bytes, r->segments[k].data, r->segments[k].len);
    }
  }
  return tinker__buf_error(bytes);
}

static int side_bodies(tinker__rec_epoch_t *e, int64_t step,
                       const tinker_intent_t *in, tinker__rec_sent_t *sent,
                       char *why, size_t why_len) {
  int rc = 0;
  for (size_t i = 0; i < in->request_count && rc == 0; i++) {
    const tinker_intent_request_t *r = &in->requests[i];
    rc = tinker__rec_bodies_add(&e->bodies, step, r->segments, r->segment_count,
                                &sent[i].offset, why, why_len);
  }
  return rc;
}

/* An intent whose record is on its way to the disk. Its ticket may be withdrawn
 * before it gets there. */
typedef struct {
  tinker__rec_epoch_t *epoch;
  uint64_t ticket;
} waiting_t;

static void on_durable(void *user, int rc) {
  waiting_t *w = user;
  tinker__rec_epoch_t *e = w->epoch;
  uint64_t number = w->ticket;
  tinker__mem_free(&e->run->mem, w);
  if (rc == 0) {
    answer(e, number, TINKER_VERDICT_GO, NULL);
  } else {
    answer(e, number, TINKER_VERDICT_REFUSE,
           "the run's journal could not be written");
  }
}

/* Bytes that are sent again are where they were kept the first time. */
static int keep_bodies(tinker__rec_epoch_t *e, const tinker__rec_made_t *made,
                       const tinker_intent_t *in, tinker__rec_sent_t *sent,
                       bool side, tinker__buf_t *bytes, char *why,
                       size_t why_len) {
  if (made->again) return 0;
  int64_t file = TINKER__REC_BODIES_OF(made->slot, made->step);
  return side ? side_bodies(e, file, in, sent, why, why_len)
              : inline_bodies(in, sent, bytes);
}

static int submit_intent(tinker__rec_epoch_t *e, const ticket_t *t,
                         const tinker__rec_facts_t *f, tinker__str_t bytes) {
  waiting_t *w = tinker__mem_alloc(&e->run->mem, sizeof *w);
  if (!w) return TINKER_ENOMEM;
  *w = (waiting_t){e, t->ticket};
  int rc = tinker__rec_note_add(e->run, e, TINKER__REC_OP_INTENT, t->step, f,
                                bytes, on_durable, w);
  if (rc != 0) tinker__mem_free(&e->run->mem, w);
  return rc;
}

/* Before the epoch is active the state does not see its records. */
static void count_numbers(tinker__rec_epoch_t *e, const tinker_intent_t *in) {
  pthread_mutex_lock(&e->run->lock);
  for (size_t i = 0; i < in->request_count; i++) {
    int64_t next = in->requests[i].seq_id + 1;
    if (next > e->next_seq_id) e->next_seq_id = next;
  }
  pthread_mutex_unlock(&e->run->lock);
}

static int write_intent(tinker__rec_epoch_t *e, ticket_t *t,
                        const tinker__rec_made_t *made,
                        const tinker_intent_t *in, tinker__rec_sent_t *sent,
                        char *why, size_t why_len) {
  char batch[2 * TINKER__SHA256_LEN + 1] = "";
  tinker__rec_facts_t f = TINKER__REC_FACTS_INIT;
  tinker__buf_t bytes;
  bool side = length(in) > TINKER__REC_INLINE;
  tinker__buf_init(&bytes, &e->run->mem, TINKER__REC_INLINE);
  for (size_t i = 0; i < in->request_count; i++) {
    const tinker_intent_request_t *r = &in->requests[i];
    sent[i].seq_id = r->seq_id;
    sent[i].len = (int64_t)r->len;
    sent[i].datums = (int64_t)r->datums;
    memcpy(sent[i].sha256, r->sha256, sizeof sent[i].sha256);
  }
  int rc = keep_bodies(e, made, in, sent, side, &bytes, why, why_len);
  if (made->has_batch) tinker__hex(made->batch, sizeof made->batch, batch);
  f.op = (int64_t)made->op;
  f.slot = made->slot;
  f.kind = in->kind;
  f.side = side;
  f.id = tinker__str(in->name);
  f.name = tinker__str(made->name);
  f.model = tinker__str(in->model_id);
  f.batch = tinker__str(batch);
  if (made->slot == TINKER__REC_SLOT_SAVE && e->run->options.ttl_seconds > 0) {
    f.expires_ms = tinker__rec_expiry(e->run, e->run->options.ttl_seconds);
  }
  f.next_model = in->next_model_seq_id;
  f.next_sampling = in->next_sampling_session_seq_id;
  f.requests = sent;
  f.request_count = in->request_count;
  if (rc == 0) {
    count_numbers(e, in);
    rc = submit_intent(e, t, &f, tinker__buf_str(&bytes));
  }
  tinker__buf_free(&bytes);
  return rc;
}

static void drop_ticket(ticket_t *t) {
  tinker_run_t *run = t->epoch->run;
  pthread_mutex_lock(&run->lock);
  ticket_free(t);
  pthread_mutex_unlock(&run->lock);
}

static void on_intent(void *user, const tinker_intent_t *in) {
  tinker__rec_epoch_t *e = user;
  tinker__rec_made_t made;
  char why[TINKER__REC_WHY] = "no memory for the run's journal";
  const char *no = refusal(e, in);
  if (no || is_finish(in)) {
    answer(e, in->ticket, no ? TINKER_VERDICT_REFUSE : TINKER_VERDICT_GO, no);
    return;
  }
  tinker__rec_sent_t *sent =
      tinker__mem_array(&e->run->mem, in->request_count, sizeof *sent);
  ticket_t *t = sent ? ticket_new(e, in, &made) : NULL;
  int rc =
      t ? write_intent(e, t, &made, in, sent, why, sizeof why) : TINKER_ENOMEM;
  if (rc != 0 && t) drop_ticket(t);
  if (rc != 0) answer(e, in->ticket, TINKER_VERDICT_REFUSE, why);
  tinker__mem_free(&e->run->mem, sent);
}

/* --- What becomes of them ------------------------------------------------- */

/* A copy of the ticket; false if it is not known: its intent was refused. */
static bool find(tinker__rec_epoch_t *e, uint64_t number, bool end, bool free,
                 ticket_t *out) {
  tinker_run_t *run = e->run;
  pthread_mutex_lock(&run->lock);
  ticket_t *t = ticket_of(e, number);
  if (t) {
    *out = *t;
    if (end && t->open > 0) t->open--;
    if (free || (end && t->open == 0)) ticket_free(t);
  }
  pthread_mutex_unlock(&run->lock);
  return t != NULL;
}

/* A record that is not there is no harm: the intent stands, and the next
 * process asks the service for what this one knew. */
static void on_withdrawn(void *user, uint64_t number) {
  tinker__rec_epoch_t *e = user;
  ticket_t t;
  tinker__rec_facts_t f = TINKER__REC_FACTS_INIT;
  /* Of bytes that are sent again the first copy counts as sent all the same. */
  if (!find(e, number, false, true, &t) || t.again) return;
  f.op = (int64_t)t.op;
  tinker__rec_note_add(e->run, e, TINKER__REC_OP_WITHDRAWN, t.step, &f,
                       tinker__str(""), NULL, NULL);
}

static void on_accepted(void *user, uint64_t number, size_t request,
                        const char *request_id) {
  tinker__rec_epoch_t *e = user;
  ticket_t t;
  tinker__rec_facts_t f = TINKER__REC_FACTS_INIT;
  if (!request_id || !find(e, number, false, false, &t)) return;
  f.op = (int64_t)t.op;
  f.request = (int64_t)request;
  f.id = tinker__str(request_id);
  tinker__rec_note_add(e->run, e, TINKER__REC_OP_SENT, t.step, &f,
                       tinker__str(""), NULL, NULL);
}

static void on_ended(void *user, uint64_t number, size_t request,
                     const tinker_outcome_t *outcome) {
  tinker__rec_epoch_t *e = user;
  ticket_t t;
  tinker__rec_facts_t f = TINKER__REC_FACTS_INIT;
  bool over = outcome->kind == TINKER_OUTCOME_RESULT ||
              outcome->kind == TINKER_OUTCOME_FAILED;
  if (outcome->kind == TINKER_OUTCOME_RESULT) {
    atomic_fetch_add(&e->run->results, 1);
  }
  if (!find(e, number, true, false, &t) || !over) return;
  f.op = (int64_t)t.op;
  f.request = (int64_t)request;
  f.end = outcome->kind;
  f.code = tinker_error_code(outcome->error);
  f.why =
      tinker__str(outcome->error ? tinker_error_message(outcome->error) : NULL);
  /* A reply that was lost leaves the outcome open: it is asked for again. So
   * does a request that nobody took: the service waits for its number. */
  if (outcome->error && (tinker_error_outcome_is_unknown(outcome->error) ||
                         tinker__rec_is_blind(outcome->error))) {
    return;
  }
  tinker__rec_note_add(e->run, e, TINKER__REC_OP_ENDED, t.step, &f,
                       tinker__str(""), NULL, NULL);
}

static int on_fence(void *user, const char *model_id, char *why,
                    size_t why_len) {
  tinker__rec_epoch_t *e = user;
  (void)model_id;
  if (!atomic_load(&e->fenced) &&
      tinker__rec_lock_held(&e->run->lock_file, e->run->lock_path)) {
    return 0;
  }
  snprintf(why, why_len, "the run goes on in another place");
  return TINKER_ESTATE;
}

void tinker__rec_tickets_free(tinker__rec_epoch_t *e) {
  TINKER__LIST_EACH(l, tmp, &e->tickets) {
    ticket_free(TINKER__CONTAINER(l, ticket_t, link));
  }
}

/* Under the lock. */
static bool is_open(const tinker__rec_epoch_t *e, int64_t step) {
  TINKER__LIST_EACH(l, tmp, &e->tickets) {
    if (TINKER__CONTAINER(l, ticket_t, link)->step == step) return true;
  }
  TINKER__LIST_EACH(l, tmp, &e->run->state.ops) {
    const tinker__rec_op_t *op = TINKER__CONTAINER(l, tinker__rec_op_t, link);
    if (op->step == step && op->slot == TINKER__REC_SLOT_OTHER) return true;
  }
  return false;
}

void tinker__rec_bodies_done(tinker__rec_epoch_t *e, int64_t step) {
  tinker__rec_bodies_drop(&e->drops, step);
  while (e->bodies_from < step) {
    pthread_mutex_lock(&e->run->lock);
    bool open = is_open(e, e->bodies_from);
    pthread_mutex_unlock(&e->run->lock);
    if (open) return;
    tinker__rec_bodies_drop(
        &e->drops,
        TINKER__REC_BODIES_OF(TINKER__REC_SLOT_OTHER, e->bodies_from++));
  }
}

const tinker_seams_t tinker__rec_seams = {.size = sizeof(tinker_seams_t),
                                          .intent = on_intent,
                                          .withdrawn = on_withdrawn,
                                          .accepted = on_accepted,
                                          .ended = on_ended,
                                          .fence = on_fence,
                                          .gate = tinker__rec_on_gate};
