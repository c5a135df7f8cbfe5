/* state: what journals amount to. */
#include <criterion/criterion.h>
#include <string.h>
#include <tinker/error.h>

#include "journal/state.h"
#include "made.h"
#include "support/fail_alloc.h"

static tinker__mem_t mem;
static tinker__rec_state_t s;

static void setup(void) {
  tinker__mem_init(&mem, NULL, 0);
  cr_assert_eq(tinker__rec_state_init(&s, &mem), 0);
}

static void teardown(void) {
  tinker__rec_state_free(&s);
  cr_assert_eq(atomic_load(&mem.live_blocks), 0);
}

TestSuite(state, .init = setup, .fini = teardown);

#define FACTS(...)                                                             \
  tinker__rec_facts_t f = TINKER__REC_FACTS_INIT;                              \
  __VA_ARGS__

#define FACTS_OF_CKPT(c)                                                       \
  tinker__rec_facts_t c = TINKER__REC_FACTS_INIT;                              \
  c.name = tinker__str("c");                                                   \
  c.path = tinker__str("tinker://path")

static const tinker__str_t none = {"", 0};

static int fold(int64_t epoch, int64_t type, int64_t step,
                const tinker__rec_facts_t *f) {
  return made_fold(&s, epoch, type, step, f, none);
}

static void active(int64_t epoch, int64_t from, const char *cursor) {
  FACTS(f.epoch = epoch; f.from_step = from);
  f.session = tinker__str("s");
  f.model = tinker__str("m");
  cr_assert_eq(
      made_fold(&s, 0, TINKER__REC_EPOCH_ACTIVE, from, &f, tinker__str(cursor)),
      0);
}

/* An operation with count requests from the number on; 0 = it has none. */
static void intent(int64_t op, int64_t step, tinker__rec_slot_t slot,
                   int64_t number, size_t count) {
  tinker__rec_sent_t sent[8] = {{.seq_id = -1}};
  FACTS(f.op = op; f.slot = slot; f.requests = sent);
  for (size_t i = 0; i < count; i++) sent[i].seq_id = number + (int64_t)i;
  f.request_count = count ? count : 1;
  cr_assert_eq(made_fold(&s, s.epoch, TINKER__REC_OP_INTENT, step, &f,
                         tinker__str("body")),
               0);
}

static void withdrawn(int64_t op) {
  FACTS(f.op = op);
  cr_assert_eq(fold(s.epoch, TINKER__REC_OP_WITHDRAWN, 1, &f), 0);
}

static void cursor(int64_t step, const char *text) {
  cr_assert_eq(
      made_fold(&s, s.epoch, TINKER__REC_CURSOR, step, NULL, tinker__str(text)),
      0);
}

static int commit(int64_t step) {
  FACTS(f.loss = (double)step; f.has_loss = true);
  static const char batches[64] = "batches";
  return made_fold(&s, s.epoch, TINKER__REC_STEP_COMMIT, step, &f,
                   (tinker__str_t){batches, sizeof batches});
}

static void saved(int64_t epoch, int64_t step, const char *name) {
  FACTS(f.name = tinker__str(name));
  f.path = tinker__str("tinker://path");
  cr_assert_eq(made_fold(&s, epoch, TINKER__REC_CKPT_SAVED, step, &f,
                         tinker__str("cursor")),
               0);
}

Test(state, a_new_run) {
  cr_assert_eq(s.plan, NULL);
  cr_assert(s.epoch == 0 && s.committed == 0 && s.next_seq_id == 1);
  cr_assert_eq(s.next_model_seq_id, -1);
  cr_assert_eq(tinker__rec_state_op(&s, 1), NULL);
  cr_assert_eq(tinker__rec_state_ckpt(&s, "a"), NULL);
  cr_assert_eq(tinker__rec_state_past(&s, 1), NULL);
}

/* --- Steps ---------------------------------------------------------------- */

Test(state, steps_are_committed_in_order) {
  active(1, 0, "");
  cr_assert_eq(commit(2), TINKER_EFORMAT);
  cr_assert_eq(commit(0), TINKER_EFORMAT);
  cr_assert_eq(s.committed, 0);
  cr_assert_eq(commit(1), 0);
  cr_assert_eq(commit(1), TINKER_EFORMAT);
  cr_assert_eq(commit(3), TINKER_EFORMAT);
  cr_assert_eq(commit(2), 0);
  cr_assert_eq(s.committed, 2);
  const tinker__rec_past_t *p = tinker__rec_state_past(&s, 2);
  cr_assert(p && p->loss == 2 && p->epoch == 1 && p->batch_count == 2);
  cr_assert_eq(memcmp(p->batches, "batches", 8), 0);
  cr_assert_eq(tinker__rec_state_past(&s, 3), NULL);
}

Test(state, a_cursor_counts_with_its_commit) {
  tinker__str_t at;
  active(1, 0, "begin");
  cr_assert(tinker__str_eqs(tinker__buf_str(&s.cursor), "begin"));
  cursor(1, "one");
  cr_assert(tinker__str_eqs(tinker__buf_str(&s.cursor), "begin"));
  cr_assert(tinker__rec_state_cursor(&s, 1, &at));
  cr_assert(tinker__str_eqs(at, "one"));
  cr_assert_not(tinker__rec_state_cursor(&s, 2, &at));
  cr_assert_eq(commit(1), 0);
  cr_assert(tinker__str_eqs(tinker__buf_str(&s.cursor), "one"));
  cr_assert_not(tinker__rec_state_cursor(&s, 1, &at));
}

/* A step that is done again brings another cursor: the newest is the one that
 * counts, before its commit and with it. */
Test(state, the_newest_cursor_of_a_step_counts) {
  tinker__str_t at;
  active(1, 0, "");
  cursor(1, "first");
  cursor(1, "second");
  cr_assert(tinker__rec_state_cursor(&s, 1, &at));
  cr_assert(tinker__str_eqs(at, "second"), "%.*s", (int)at.len, at.ptr);
  cr_assert_eq(commit(1), 0);
  cr_assert(tinker__str_eqs(tinker__buf_str(&s.cursor), "second"));
  cr_assert(tinker__list_empty(&s.cursors));
}

/* A step that was done again with another loss: one doubts what was before,
 * two that agree end it, with what followed from it. */
static void gate(int64_t epoch, int64_t step, double loss, bool settled) {
  FACTS(f.loss = loss; f.has_loss = true; f.end = settled ? 0 : 1);
  cr_assert_eq(fold(epoch, TINKER__REC_GATE, step, &f), 0);
}

Test(state, a_loss_that_came_out_otherwise) {
  active(1, 0, "");
  for (int64_t step = 1; step <= 5; step++) cr_assert_eq(commit(step), 0);
  active(2, 2, "");
  gate(2, 4, 40.5, false);
  cr_assert(tinker__rec_state_past(&s, 4)->doubted);
  cr_assert_eq(tinker__rec_state_past(&s, 4)->again, 40.5);
  cr_assert_eq(tinker__rec_state_past(&s, 4)->loss, 4);
  cr_assert_not(tinker__rec_state_past(&s, 3)->doubted);
  active(3, 2, "");
  gate(3, 4, 40.5, true);
  cr_assert(tinker__rec_state_past(&s, 3));
  cr_assert_null(tinker__rec_state_past(&s, 4));
  cr_assert_null(tinker__rec_state_past(&s, 5));
  gate(3, 9, 1, false); /* of a step that nobody remembers */
}

/* The active epoch's file is read once more, in full. */
Test(state, a_loss_that_came_out_otherwise_is_history) {
  active(1, 0, "");
  cr_assert_eq(commit(1), 0);
  s.history = true;
  s.epoch = 3;
  gate(2, 1, 40.5, false);
  cr_assert(tinker__rec_state_past(&s, 1)->doubted);
  gate(3, 1, 40.5, true);
  cr_assert(tinker__rec_state_past(&s, 1));
}

Test(state, the_past_is_a_ring) {
  active(1, 0, "");
  for (int64_t i = 1; i <= TINKER__REC_PAST + 10; i++) {
    cr_assert_eq(commit(i), 0);
  }
  cr_assert_eq(s.past_count, TINKER__REC_PAST);
  cr_assert_eq(tinker__rec_state_past(&s, 10), NULL);
  cr_assert(tinker__rec_state_past(&s, 11));
  cr_assert_eq(tinker__rec_state_past(&s, TINKER__REC_PAST + 10)->loss,
               TINKER__REC_PAST + 10);
}

/* --- Operations ----------------------------------------------------------- */

static tinker__rec_request_t *request(uint64_t op, size_t i) {
  tinker__rec_op_t *x = tinker__rec_state_op(&s, op);
  cr_assert(x && i < x->request_count);
  return &x->requests[i];
}

Test(state, an_operation_and_its_requests) {
  active(1, 0, "");
  intent(4, 1, TINKER__REC_SLOT_FORWARD_BACKWARD, 1, 2);
  const tinker__rec_op_t *op = tinker__rec_state_op(&s, 4);
  cr_assert(op && op->step == 1 && op->request_count == 2 && !op->side);
  cr_assert(op->bytes_len == 4 && memcmp(op->bytes, "body", 4) == 0);
  cr_assert(s.next_seq_id == 3 && s.last_op == 4);
  FACTS(f.op = 4; f.request = 1);
  f.id = tinker__str("id-1");
  cr_assert_eq(fold(1, TINKER__REC_OP_SENT, 1, &f), 0);
  cr_assert_eq(request(4, 1)->state, TINKER__REC_REQUEST_SENT);
  cr_assert_str_eq(request(4, 1)->id, "id-1");
  cr_assert_eq(request(4, 0)->state, TINKER__REC_REQUEST_OPEN);
  f.end = 0;
  f.code = 0;
  cr_assert_eq(fold(1, TINKER__REC_OP_ENDED, 1, &f), 0);
  cr_assert_eq(request(4, 1)->state, TINKER__REC_REQUEST_RESULT);
  cr_assert_eq(fold(1, TINKER__REC_OP_SENT, 1, &f), 0); /* late: no way back */
  cr_assert_eq(request(4, 1)->state, TINKER__REC_REQUEST_RESULT);
  f.request = 0;
  f.end = 1;
  f.code = TINKER_EREJECTED;
  cr_assert_eq(fold(1, TINKER__REC_OP_ENDED, 1, &f), 0);
  cr_assert_eq(request(4, 0)->state, TINKER__REC_REQUEST_FAILED);
  cr_assert_eq(request(4, 0)->code, TINKER_EREJECTED);
}

/* What speaks of something that is not there changes nothing. */
Test(state, records_without_their_subject) {
  active(1, 0, "");
  intent(4, 1, TINKER__REC_SLOT_OPTIM, 1, 1);
  FACTS(f.op = 9; f.request = 0);
  f.id = tinker__str("id");
  f.name = tinker__str("no checkpoint");
  cr_assert_eq(fold(1, TINKER__REC_OP_SENT, 1, &f), 0);
  cr_assert_eq(fold(1, TINKER__REC_OP_ENDED, 1, &f), 0);
  cr_assert_eq(fold(1, TINKER__REC_OP_WITHDRAWN, 1, &f), 0);
  f.op = 4;
  f.request = 1;
  cr_assert_eq(fold(1, TINKER__REC_OP_SENT, 1, &f), 0);
  f.request = TINKER__REC_UNSET;
  cr_assert_eq(fold(1, TINKER__REC_OP_ENDED, 1, &f), 0);
  cr_assert_eq(fold(0, TINKER__REC_CKPT_QUARANTINED, 1, &f), 0);
  cr_assert_eq(fold(0, TINKER__REC_CKPT_LEVEL, 1, &f), 0);
  cr_assert_eq(request(4, 0)->state, TINKER__REC_REQUEST_OPEN);
  cr_assert_eq(request(4, 0)->id, NULL);
  cr_assert_eq(s.next_seq_id, 2);
}

Test(state, numbers_of_what_was_withdrawn_are_free) {
  active(1, 0, "");
  intent(1, 1, TINKER__REC_SLOT_FORWARD_BACKWARD, 1, 1);
  intent(2, 1, TINKER__REC_SLOT_FORWARD_BACKWARD, 2, 3);
  cr_assert_eq(s.next_seq_id, 5);
  withdrawn(2);
  cr_assert_eq(s.next_seq_id, 2);
  cr_assert_eq(tinker__rec_state_op(&s, 2), NULL);
  withdrawn(2); /* once more */
  cr_assert_eq(s.next_seq_id, 2);
  intent(3, 1, TINKER__REC_SLOT_OPTIM, 2, 1);
  cr_assert_eq(s.next_seq_id, 3);
  intent(4, 1, TINKER__REC_SLOT_OTHER, 0, 0); /* it has no number */
  withdrawn(4);
  cr_assert_eq(s.next_seq_id, 3);
}

/* A process sends what an earlier one has begun again, under a number that is
 * taken, and stops before it went: the number stays taken. */
Test(state, a_resend_that_is_withdrawn_frees_nothing) {
  active(1, 0, "");
  intent(1, 1, TINKER__REC_SLOT_FORWARD_BACKWARD, 1, 1);
  intent(2, 1, TINKER__REC_SLOT_OPTIM, 2, 1);
  intent(3, 1, TINKER__REC_SLOT_OTHER, 1, 1);
  withdrawn(3);
  cr_assert_eq(s.next_seq_id, 3, "%lld", (long long)s.next_seq_id);
  intent(4, 1, TINKER__REC_SLOT_OTHER, 2, 1);
  withdrawn(4);
  cr_assert_eq(s.next_seq_id, 3, "%lld", (long long)s.next_seq_id);
  /* Under the same name, too: the first intent counts as sent. */
  intent(2, 1, TINKER__REC_SLOT_OPTIM, 2, 1);
  withdrawn(2);
  cr_assert_eq(s.next_seq_id, 3, "%lld", (long long)s.next_seq_id);
  cr_assert(tinker__rec_state_op(&s, 2));
}

Test(state, the_numbers_of_a_session) {
  active(1, 0, "");
  FACTS(f.op = 1; f.next_model = 3; f.next_sampling = 1);
  cr_assert_eq(fold(1, TINKER__REC_OP_INTENT, 0, &f), 0);
  f.op = 2;
  f.next_model = 2;
  f.next_sampling = 4;
  cr_assert_eq(fold(1, TINKER__REC_OP_INTENT, 0, &f), 0);
  cr_assert(s.next_model_seq_id == 3 && s.next_sampling_session_seq_id == 4);
  f.op = -1;
  cr_assert_eq(fold(1, TINKER__REC_OP_INTENT, 0, &f), TINKER_EFORMAT);
}

/* Operations are done with when their step is committed; saves and probes are
 * when their checkpoint is. */
Test(state, operations_go_with_their_step) {
  active(1, 0, "");
  intent(1, 1, TINKER__REC_SLOT_FORWARD_BACKWARD, 1, 1);
  intent(2, 1, TINKER__REC_SLOT_OPTIM, 2, 1);
  intent(3, 1, TINKER__REC_SLOT_SAVE, 3, 1);
  intent(4, 1, TINKER__REC_SLOT_PROBE, 4, 1);
  intent(5, 2, TINKER__REC_SLOT_FORWARD_BACKWARD, 5, 1);
  cr_assert_eq(commit(1), 0);
  cr_assert_eq(tinker__rec_state_op(&s, 1), NULL);
  cr_assert_eq(tinker__rec_state_op(&s, 2), NULL);
  cr_assert(tinker__rec_state_op(&s, 3) && tinker__rec_state_op(&s, 4));
  cr_assert(tinker__rec_state_op(&s, 5));
  FACTS(f.op = 3; f.name = tinker__str("c"));
  cr_assert_eq(fold(1, TINKER__REC_CKPT_SAVED, 1, &f), 0);
  cr_assert_eq(tinker__rec_state_op(&s, 3), NULL);
  f.op = 4;
  cr_assert_eq(fold(1, TINKER__REC_CKPT_FINGERPRINT, 1, &f), 0);
  cr_assert_eq(tinker__rec_state_op(&s, 4), NULL);
  cr_assert_eq(s.next_seq_id, 6);
}

/* What the program does beside its steps would be kept for ever. */
Test(state, what_was_answered_beside_the_steps_goes_too) {
  active(1, 0, "");
  intent(1, 0, TINKER__REC_SLOT_OTHER, 1, 1);
  intent(2, 0, TINKER__REC_SLOT_OTHER, 2, 1);
  FACTS(f.op = 1; f.request = 0; f.end = 0);
  cr_assert_eq(fold(1, TINKER__REC_OP_ENDED, 0, &f), 0);
  cr_assert_eq(commit(1), 0);
  cr_assert_eq(tinker__rec_state_op(&s, 1), NULL);
  cr_assert(tinker__rec_state_op(&s, 2)); /* its outcome is open */
}

/* --- Checkpoints and epochs ----------------------------------------------- */

Test(state, a_checkpoint) {
  const float numbers[] = {1, -2, 3};
  FACTS(f.name = tinker__str("c"); f.noise = 0.5; f.has_noise = true);
  active(1, 0, "");
  saved(1, 3, "c");
  saved(1, 4, "c"); /* the first counts */
  tinker__rec_ckpt_t *c = tinker__rec_state_ckpt(&s, "c");
  cr_assert(c && c->step == 3 && c->epoch == 1 && c->level == 0);
  cr_assert_str_eq(c->path, "tinker://path");
  cr_assert(c->cursor_len == 6 && memcmp(c->cursor, "cursor", 6) == 0);
  const tinker__str_t bytes = {(const char *)numbers, sizeof numbers};
  cr_assert_eq(made_fold(&s, 1, TINKER__REC_CKPT_FINGERPRINT, 3, &f, bytes), 0);
  cr_assert(c->probe_count == 3 && c->probe[1] == -2 && c->noise == 0.5);
  f.level = 3;
  cr_assert_eq(fold(0, TINKER__REC_CKPT_LEVEL, 3, &f), 0);
  f.level = 2; /* what was proven stays proven */
  cr_assert_eq(fold(0, TINKER__REC_CKPT_LEVEL, 3, &f), 0);
  cr_assert_eq(c->level, 3);
  cr_assert_not(c->quarantined || c->deleted);
  cr_assert_eq(fold(0, TINKER__REC_CKPT_QUARANTINED, 3, &f), 0);
  cr_assert(c->quarantined && !c->deleted);
}

/* A checkpoint is as old as the earliest that may be true, and gone when the
 * service has said so. */
Test(state, the_end_of_a_checkpoint) {
  FACTS(f.name = tinker__str("c"); f.at_ms = 70);
  active(1, 0, "");
  saved(1, 3, "c");
  tinker__rec_ckpt_t *c = tinker__rec_state_ckpt(&s, "c");
  cr_assert(c->expires_ms == TINKER__REC_NEVER && c->marked_ms == -1);
  f.expires_ms = 500; /* asked for: it may be so already */
  cr_assert_eq(fold(0, TINKER__REC_CKPT_TTL, 3, &f), 0);
  cr_assert_eq(c->expires_ms, 500);
  f.expires_ms = 900;
  cr_assert_eq(fold(0, TINKER__REC_CKPT_TTL, 3, &f), 0);
  cr_assert_eq(c->expires_ms, 500);
  f.end = 0; /* answered */
  cr_assert_eq(fold(0, TINKER__REC_CKPT_TTL, 3, &f), 0);
  cr_assert_eq(c->expires_ms, 900);
  cr_assert_eq(fold(0, TINKER__REC_CKPT_TOMBSTONE, 3, &f), 0);
  cr_assert(c->marked_ms == 70 && !c->deleting && !c->deleted);
  f.end = TINKER__REC_UNSET;
  cr_assert_eq(fold(0, TINKER__REC_CKPT_DELETED, 3, &f), 0);
  cr_assert(c->deleting && !c->deleted);
  f.end = 0;
  cr_assert_eq(fold(0, TINKER__REC_CKPT_DELETED, 3, &f), 0);
  cr_assert(c->deleted);
}

Test(state, a_rollback_cuts_what_was_saved_after_it) {
  active(1, 0, "");
  saved(1, 3, "before");
  saved(1, 5, "at");
  saved(1, 7, "after");
  active(2, 5, "five");
  cr_assert_not(tinker__rec_state_ckpt(&s, "before")->quarantined);
  cr_assert_not(tinker__rec_state_ckpt(&s, "at")->quarantined);
  cr_assert(tinker__rec_state_ckpt(&s, "after")->quarantined);
  cr_assert(s.committed == 5 && s.from_step == 5 && s.epoch == 2);
  cr_assert(tinker__str_eqs(tinker__buf_str(&s.cursor), "five"));
  saved(2, 7, "after, of the new branch");
  cr_assert_not(
      tinker__rec_state_ckpt(&s, "after, of the new branch")->quarantined);
  cr_assert_eq(commit(6), 0);
}

/* Nothing of an epoch's counts in the next one. */
Test(state, an_epoch_begins_with_nothing) {
  tinker__str_t at;
  active(1, 0, "");
  intent(7, 1, TINKER__REC_SLOT_OPTIM, 9, 1);
  cursor(1, "one");
  FACTS(f.incarnation = 4; f.next_model = 8);
  cr_assert_eq(fold(1, TINKER__REC_ATTACH, 0, &f), 0);
  cr_assert_eq(s.attached, 4);
  active(2, 0, "");
  cr_assert(s.attached == 0 && s.next_seq_id == 1 && s.last_op == 0);
  cr_assert_eq(tinker__rec_state_op(&s, 7), NULL);
  cr_assert_not(tinker__rec_state_cursor(&s, 1, &at));
}

Test(state, epochs_only_rise) {
  active(2, 0, "");
  FACTS(f.epoch = 2; f.from_step = 0);
  cr_assert_eq(fold(0, TINKER__REC_EPOCH_ACTIVE, 0, &f), TINKER_EFORMAT);
  f.epoch = 3;
  f.from_step = TINKER__REC_UNSET;
  cr_assert_eq(fold(0, TINKER__REC_EPOCH_ACTIVE, 0, &f), TINKER_EFORMAT);
  cr_assert_eq(s.epoch, 2);
}

Test(state, attempts_are_counted) {
  FACTS(f.incident = 1; f.epoch = 4);
  f.why = tinker__str("enough");
  cr_assert_eq(fold(0, TINKER__REC_ATTEMPT_BEGIN, -1, &f), 0);
  cr_assert(s.attempts == 0 && s.fruitless == 0 && s.last_epoch == 4);
  cr_assert_eq(fold(0, TINKER__REC_INC_OPEN, 8, &f), 0);
  cr_assert(s.incident == 1 && s.incidents == 1 && s.progress == 8);
  cr_assert_eq(fold(0, TINKER__REC_ATTEMPT_BEGIN, -1, &f), 0);
  cr_assert_eq(fold(0, TINKER__REC_ATTEMPT_BEGIN, -1, &f), 0);
  cr_assert(s.attempts == 2 && s.fruitless == 0, "deaths cost nothing");
  cr_assert_eq(fold(0, TINKER__REC_ATTEMPT_END, -1, &f), 0);
  cr_assert_eq(fold(0, TINKER__REC_ATTEMPT_END, -1, &f), 0);
  cr_assert_eq(s.fruitless, 2);
  cr_assert_eq(fold(0, TINKER__REC_INC_CLOSE, 8, &f), 0);
  cr_assert(s.incident == 0 && s.fruitless == 2);
  f.incident = 2;
  cr_assert_eq(fold(0, TINKER__REC_INC_OPEN, 6, &f), 0);
  cr_assert(s.attempts == 0 && s.fruitless == 2 && s.progress == 8);
  f.count = 1;
  cr_assert_eq(fold(0, TINKER__REC_LEDGER, 8, &f), 0);
  cr_assert_eq(s.fruitless, 1);
  cr_assert_eq(fold(0, TINKER__REC_INC_STOP, 8, &f), 0);
  cr_assert_str_eq(s.stopped, "enough");
  cr_assert_eq(fold(0, TINKER__REC_HOLD, 8, &f), 0);
  cr_assert(s.held && s.stopped);
  cr_assert_eq(fold(0, TINKER__REC_RELEASE, 8, &f), 0);
  cr_assert(!s.held && !s.stopped && s.fruitless == 0);
  cr_assert_eq(fold(0, TINKER__REC_FINISH, 8, &f), 0);
  cr_assert(s.finished);
  f.plan = tinker__str("{}");
  cr_assert_eq(fold(0, TINKER__REC_PLAN, -1, &f), 0);
  cr_assert_not(s.finished, "it may have more steps now");
}

/* Records of a newer version, and those in a file where they do not belong. */
Test(state, what_is_left_alone) {
  const tinker__rec_record_t r = {.id = 1,
                                  .type = 5000,
                                  .boot = "b",
                                  .fields = {"not even JSON", 13},
                                  .bytes = {"", 0}};
  FACTS(f.epoch = 9; f.from_step = 5);
  active(1, 0, "");
  cr_assert_eq(tinker__rec_state_fold(&s, 0, &r, NULL, 0), 0);
  cr_assert_eq(tinker__rec_state_fold(&s, 1, &r, NULL, 0), 0);
  cr_assert_eq(fold(1, TINKER__REC_EPOCH_ACTIVE, 5, &f), 0);
  cr_assert_eq(fold(1, TINKER__REC_FINISH, 5, &f), 0);
  cr_assert_eq(made_fold(&s, 0, TINKER__REC_STEP_COMMIT, 1, &f, none), 0);
  cr_assert(s.epoch == 1 && s.committed == 0 && !s.finished);
}

Test(state, fields_that_are_broken_are_refused) {
  char why[300] = "";
  const tinker__rec_record_t r = {.id = 17,
                                  .type = TINKER__REC_PLAN,
                                  .boot = "b",
                                  .fields = {"{", 1},
                                  .bytes = {"", 0}};
  cr_assert_eq(tinker__rec_state_fold(&s, 0, &r, why, sizeof why),
               TINKER_EFORMAT);
  cr_assert(strstr(why, "record 17 (PLAN)"), "%s", why);
}

/* --- What is known of other epochs ---------------------------------------- */

static void begin_attempt(int64_t epoch, const char *nonce) {
  FACTS(f.epoch = epoch; f.nonce = tinker__str(nonce));
  cr_assert_eq(fold(0, TINKER__REC_ATTEMPT_BEGIN, -1, &f), 0);
}

static void disown(int64_t epoch) {
  FACTS(f.disowned = epoch; f.evidence = tinker__str("more than here"));
  cr_assert_eq(fold(0, TINKER__REC_LINEAGE_OPEN, -1, &f), 0);
}

static bool used(int64_t epoch, const char *nonce, const char *model) {
  const tinker__rec_used_t *u = tinker__rec_used_find(&s.used, epoch);
  return u && strcmp(u->nonce, nonce) == 0 && strcmp(u->model, model) == 0;
}

Test(state, epochs_keep_their_nonces) {
  begin_attempt(1, "n1");
  begin_attempt(2, "n2");
  active(2, 0, "");
  active(3, 0, ""); /* of a journal before there were nonces */
  cr_assert(used(1, "n1", "") && used(2, "n2", "m") && used(3, "", "m"));
  cr_assert_null(tinker__rec_used_find(&s.used, 4));
}

/* An empty journal begins after what it does not own. One that has a model does
 * not trust it any more, until there is another. */
Test(state, epochs_that_are_disowned) {
  disown(4);
  cr_assert(s.disowned == 4 && s.last_epoch == 4 && !s.distrusted);
  active(5, 0, "");
  disown(7);
  cr_assert(s.disowned == 7 && s.last_epoch == 7);
  cr_assert_str_eq(s.distrusted, "more than here");
  active(8, 0, "");
  cr_assert_null(s.distrusted);
  disown(3);
  cr_assert_eq(s.disowned, 7);
}

Test(state, a_rebuilt_epoch_owns_what_is_before_it) {
  FACTS(f.epoch = 5; f.from_step = 40; f.disowned = 4; f.lost = 1);
  f.session = f.model = tinker__str("m");
  cr_assert_eq(fold(0, TINKER__REC_EPOCH_ACTIVE, 40, &f), 0);
  cr_assert(s.disowned == 4 && s.cursor_lost && s.committed == 40);
  FACTS_OF_CKPT(c);
  c.lost = 1;
  cr_assert_eq(fold(5, TINKER__REC_CKPT_SAVED, 40, &c), 0);
  cr_assert(tinker__rec_state_ckpt(&s, "c")->cursor_lost);
  cr_assert_eq(commit(41), 0);
  cr_assert_not(s.cursor_lost);
  saved(5, 41, "d");
  cr_assert_not(tinker__rec_state_ckpt(&s, "d")->cursor_lost);
  active(6, 41, "");
  cr_assert_not(s.cursor_lost);
}

Test(state, orphans) {
  FACTS(f.epoch = 1; f.model = tinker__str("s:train:0"));
  cr_assert_eq(fold(0, TINKER__REC_ORPHAN_FOUND, -1, &f), 0);
  cr_assert_not(tinker__rec_orphan_find(&s.orphans, f.model)->cleared);
  cr_assert_eq(fold(0, TINKER__REC_ORPHAN_CLEARED, -1, &f), 0);
  cr_assert(tinker__rec_orphan_find(&s.orphans, f.model)->cleared);
}

/* --- Memory --------------------------------------------------------------- */

/* A little of all; returns the first code that is not 0. */
static int some_of_all(tinker__rec_state_t *x) {
  static const struct {
    int64_t epoch, type, step;
  } all[] = {
      {0, TINKER__REC_PLAN, -1},         {0, TINKER__REC_ATTEMPT_BEGIN, -1},
      {0, TINKER__REC_EPOCH_ACTIVE, 0},  {0, TINKER__REC_ORPHAN_FOUND, -1},
      {0, TINKER__REC_LINEAGE_OPEN, -1}, {1, TINKER__REC_OP_INTENT, 1},
      {1, TINKER__REC_OP_SENT, 1},       {1, TINKER__REC_CURSOR, 1},
      {1, TINKER__REC_CURSOR, 1},        {1, TINKER__REC_STEP_COMMIT, 1},
      {1, TINKER__REC_CKPT_SAVED, 1},    {1, TINKER__REC_CKPT_FINGERPRINT, 1},
      {0, TINKER__REC_INC_STOP, 1}};
  const tinker__rec_sent_t sent = {.seq_id = 1};
  FACTS(f.op = 1; f.request = 0; f.slot = 1; f.epoch = 1; f.from_step = 0);
  f.requests = &sent;
  f.request_count = 1;
  f.name = f.path = f.id = f.why = tinker__str("text");
  f.session = f.model = f.nonce = f.evidence = tinker__str("text");
  f.plan = tinker__str("{}");
  int rc = 0;
  for (size_t i = 0; i < sizeof all / sizeof all[0] && rc == 0; i++) {
    rc = made_fold(x, all[i].epoch, all[i].type, all[i].step, &f,
                   tinker__str("byte"));
  }
  return rc;
}

static int sweep(tinker__mem_t *m, void *user) {
  tinker__rec_state_t x;
  (void)user;
  int rc = tinker__rec_state_init(&x, m);
  if (rc == 0) rc = some_of_all(&x);
  tinker__rec_state_free(&x);
  return rc;
}

Test(state, no_memory) {
  cr_assert_gt(tinker__fail_sweep(sweep, NULL, TINKER_ENOMEM), 20);
}
