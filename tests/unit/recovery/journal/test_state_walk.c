/* Random lives of a run: a model of it, the state that folds records as they
 * are written, and the state that is read from the files agree. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>
#include <tinker/error.h>

#include "journal/snapshot.h"
#include "journal/state.h"
#include "made.h"

#define WALKS (RECOVERY_FEW_RUNS ? 100 : 1000)
#define LENGTH 120 /* actions of a walk */
#define MAX 512    /* records of one */

typedef struct {
  int64_t epoch, type, step; /* epoch: of the file, 0 = the supervisor's */
  char fields[1200], bytes[16];
} written_t;

typedef struct {
  uint64_t id;
  int64_t step, number, count;
  tinker__rec_slot_t slot;
  bool went;
} model_op_t;

typedef struct {
  char name[16];
  int64_t step, epoch;
  bool bad;
} model_ckpt_t;

/* What is true of the run. */
static struct {
  int64_t epoch, last_epoch, committed, next_seq, attached, attempts;
  int64_t used; /* first free number of the last attempt's model */
  bool incident;
  char cursor[16], pending[16]; /* of the step under way; "" = none */
  model_op_t ops[MAX];
  size_t op_count;
  model_ckpt_t ckpts[MAX];
  size_t ckpt_count;
} m;

static written_t log_[MAX];
static size_t log_len;
static uint64_t random_state, op_id;
static tinker__mem_t mem;
static tinker__rec_state_t live;
static tinker__buf_t text, snapshot;

static size_t pick(size_t n) {
  random_state = random_state * 6364136223846793005u + 1442695040888963407u;
  return (size_t)(random_state >> 33) % n;
}

static int fold(tinker__rec_state_t *s, const written_t *w) {
  char why[300] = "";
  const tinker__rec_record_t r = {.id = 1,
                                  .type = w->type,
                                  .generation = 1,
                                  .step = w->step,
                                  .boot = "b",
                                  .fields = tinker__str(w->fields),
                                  .bytes = tinker__str(w->bytes)};
  int rc = tinker__rec_state_fold(s, w->epoch, &r, why, sizeof why);
  cr_assert_eq(rc, 0, "%s %s: %s", tinker__rec_type_name(w->type), w->fields,
               why);
  return rc;
}

/* Writes a record; a process folds it if its epoch is active. */
static void note(int64_t epoch, int64_t type, int64_t step,
                 const tinker__rec_facts_t *f, const char *bytes) {
  static const tinker__rec_facts_t none = TINKER__REC_FACTS_INIT;
  cr_assert_lt(log_len, MAX);
  written_t *w = &log_[log_len++];
  *w = (written_t){.epoch = epoch, .type = type, .step = step};
  cr_assert_eq(tinker__rec_facts_write(f ? f : &none, &text), 0);
  cr_assert_lt(text.len, sizeof w->fields);
  memcpy(w->fields, text.data, text.len);
  snprintf(w->bytes, sizeof w->bytes, "%s", bytes);
  if (epoch == 0 || epoch == m.epoch) fold(&live, w);
}

/* --- What may happen ------------------------------------------------------ */

static void do_intent(tinker__rec_slot_t slot, int64_t step, const char *name) {
  tinker__rec_facts_t f = TINKER__REC_FACTS_INIT;
  tinker__rec_sent_t sent[3] = {{.len = 4}};
  model_op_t *op = &m.ops[m.op_count++];
  *op = (model_op_t){.id = ++op_id,
                     .step = step,
                     .slot = slot,
                     .number = m.next_seq,
                     .count = 1 + (int64_t)pick(3)};
  for (int64_t i = 0; i < op->count; i++) sent[i].seq_id = m.next_seq++;
  f.op = (int64_t)op->id;
  f.slot = slot;
  f.name = tinker__str(name);
  f.requests = sent;
  f.request_count = (size_t)op->count;
  note(m.epoch, TINKER__REC_OP_INTENT, step, &f, "body");
}

static void remove_op(size_t i) {
  memmove(&m.ops[i], &m.ops[i + 1], (m.op_count - i - 1) * sizeof m.ops[0]);
  m.op_count--;
}

static void do_withdraw(void) {
  tinker__rec_facts_t f = TINKER__REC_FACTS_INIT;
  if (!m.op_count) return;
  model_op_t *op = &m.ops[m.op_count - 1];
  if (op->went || op->number + op->count != m.next_seq) return;
  f.op = (int64_t)op->id;
  m.next_seq = op->number;
  note(m.epoch, TINKER__REC_OP_WITHDRAWN, op->step, &f, "");
  remove_op(m.op_count - 1);
}

/* The newest one is sent again, under another name, and taken back. */
static void do_resend(void) {
  tinker__rec_facts_t f = TINKER__REC_FACTS_INIT;
  tinker__rec_sent_t sent = {.len = 4};
  if (!m.op_count) return;
  sent.seq_id = m.ops[pick(m.op_count)].number;
  f.op = (int64_t)++op_id;
  f.slot = TINKER__REC_SLOT_OTHER;
  f.requests = &sent;
  f.request_count = 1;
  note(m.epoch, TINKER__REC_OP_INTENT, m.committed, &f, "body");
  note(m.epoch, TINKER__REC_OP_WITHDRAWN, m.committed, &f, "");
}

static void do_answer(void) {
  tinker__rec_facts_t f = TINKER__REC_FACTS_INIT;
  if (!m.op_count) return;
  model_op_t *op = &m.ops[pick(m.op_count)];
  op->went = true;
  f.op = (int64_t)op->id;
  f.request = (int64_t)pick((size_t)op->count);
  f.id = tinker__str("id");
  f.end = 0;
  f.code = 0;
  note(m.epoch, pick(2) ? TINKER__REC_OP_SENT : TINKER__REC_OP_ENDED, op->step,
       &f, "");
}

static void do_cursor(void) {
  snprintf(m.pending, sizeof m.pending, "c%zu", pick(1000));
  note(m.epoch, TINKER__REC_CURSOR, m.committed + 1, NULL, m.pending);
}

static void do_commit(void) {
  tinker__rec_facts_t f = TINKER__REC_FACTS_INIT;
  f.loss = (double)m.committed;
  f.has_loss = true;
  note(m.epoch, TINKER__REC_STEP_COMMIT, ++m.committed, &f, "");
  if (m.pending[0]) memcpy(m.cursor, m.pending, sizeof m.cursor);
  m.pending[0] = 0;
  for (size_t i = m.op_count; i-- > 0;) {
    if (m.ops[i].step <= m.committed &&
        m.ops[i].slot != TINKER__REC_SLOT_SAVE) {
      remove_op(i);
    }
  }
}

static void look(void);

static void do_save(void) {
  tinker__rec_facts_t f = TINKER__REC_FACTS_INIT;
  model_ckpt_t *c = &m.ckpts[m.ckpt_count++];
  *c = (model_ckpt_t){.step = m.committed, .epoch = m.epoch};
  snprintf(c->name, sizeof c->name, "k%zu", m.ckpt_count);
  do_intent(TINKER__REC_SLOT_SAVE, m.committed, c->name);
  if (pick(4) == 0) { /* its end is not known */
    m.ckpt_count--;
    return;
  }
  f.op = (int64_t)m.ops[m.op_count - 1].id;
  if (pick(2)) look();
  f.request = f.end = f.code = 0;
  note(m.epoch, TINKER__REC_OP_ENDED, m.committed, &f, "");
  f.request = f.end = f.code = TINKER__REC_UNSET;
  f.name = tinker__str(c->name);
  f.path = tinker__str("path");
  note(m.epoch, TINKER__REC_CKPT_SAVED, m.committed, &f, m.cursor);
  remove_op(m.op_count - 1);
  if (pick(2)) {
    note(m.epoch, TINKER__REC_CKPT_FINGERPRINT, m.committed, &f, "12345678");
  }
}

static void do_quarantine(void) {
  tinker__rec_facts_t f = TINKER__REC_FACTS_INIT;
  if (!m.ckpt_count) return;
  model_ckpt_t *c = &m.ckpts[pick(m.ckpt_count)];
  f.name = tinker__str(c->name);
  c->bad = true;
  note(0, TINKER__REC_CKPT_QUARANTINED, c->step, &f, "");
}

static void do_attach(void) {
  tinker__rec_facts_t f = TINKER__REC_FACTS_INIT;
  f.incarnation = ++m.attached;
  note(m.epoch, TINKER__REC_ATTACH, m.committed, &f, "");
}

/* What a model is asked before it is the run's. */
static void do_look(int64_t epoch) {
  tinker__rec_facts_t f = TINKER__REC_FACTS_INIT;
  const tinker__rec_sent_t sent = {.seq_id = 1, .len = 4};
  f.op = (int64_t)++op_id;
  f.slot = TINKER__REC_SLOT_OTHER;
  f.requests = &sent;
  f.request_count = 1;
  note(epoch, TINKER__REC_OP_INTENT, 0, &f, "body");
}

/* An attempt has a number of its own, and a file in which it may get far. */
static int64_t do_attempt(void) {
  tinker__rec_facts_t f = TINKER__REC_FACTS_INIT;
  if (!m.incident && m.epoch) {
    f.incident = m.last_epoch;
    note(0, TINKER__REC_INC_OPEN, m.committed, &f, "");
    m.incident = true;
    m.attempts = 0;
  }
  f.epoch = ++m.last_epoch;
  note(0, TINKER__REC_ATTEMPT_BEGIN, -1, &f, "");
  if (m.incident) m.attempts++;
  m.used = pick(2) ? 2 : 1;
  if (m.used == 2) do_look(m.last_epoch);
  return m.last_epoch;
}

static void do_recover(void) {
  tinker__rec_facts_t f = TINKER__REC_FACTS_INIT;
  const model_ckpt_t *from = NULL;
  int64_t epoch = do_attempt();
  char cursor[16] = "";
  for (size_t i = 0; i < m.ckpt_count; i++) {
    if (!m.ckpts[i].bad) from = &m.ckpts[i];
  }
  f.epoch = epoch;
  f.from_step = from ? from->step : 0;
  f.session = f.model = f.path = tinker__str("text");
  snprintf(cursor, sizeof cursor, "r%zu", pick(1000));
  note(0, TINKER__REC_EPOCH_ACTIVE, f.from_step, &f, cursor);
  live.next_seq_id = m.used; /* as the run does, which has counted them */
  m.epoch = epoch;
  m.committed = f.from_step;
  memcpy(m.cursor, cursor, sizeof m.cursor);
  m.pending[0] = 0;
  m.op_count = 0;
  m.next_seq = m.used;
  m.attached = 0;
  for (size_t i = 0; i < m.ckpt_count; i++) {
    if (m.ckpts[i].step > m.committed) m.ckpts[i].bad = true;
  }
  if (m.incident) note(0, TINKER__REC_INC_CLOSE, m.committed, NULL, "");
  m.incident = false;
}

/* A step that was done again came out otherwise, or all from it on is as it
 * was. */
static void do_gate(void) {
  tinker__rec_facts_t f = TINKER__REC_FACTS_INIT;
  f.end = (int64_t)pick(2);
  f.loss = (double)pick(9);
  f.has_loss = true;
  note(m.epoch, TINKER__REC_GATE, 1 + (int64_t)pick((size_t)m.committed + 1),
       &f, "");
}

/* A newer version writes what this one does not know. */
static void do_unknown(void) {
  note(pick(2) ? 0 : m.epoch, 700, m.committed, NULL, "?");
}

static void act(void) {
  switch (pick(17)) {
  case 0:
  case 1:
  case 2:
    do_intent(TINKER__REC_SLOT_FORWARD_BACKWARD, m.committed + 1, "");
    break;
  case 3: do_intent(TINKER__REC_SLOT_OPTIM, m.committed + 1, ""); break;
  case 4:
  case 5: do_withdraw(); break;
  case 6: do_resend(); break;
  case 7: do_answer(); break;
  case 8: do_cursor(); break;
  case 9:
  case 10: do_commit(); break;
  case 11: do_save(); break;
  case 12: do_quarantine(); break;
  case 13: do_attach(); break;
  case 14: pick(3) == 0 ? do_recover() : (void)do_attempt(); break;
  case 15: do_gate(); break;
  default: do_unknown(); break;
  }
}

/* --- Agreement ------------------------------------------------------------ */

/* How far a state has read the file of each epoch. */
static size_t read_to[MAX], from_start[MAX];

/* Folds those of a file that are behind its mark, or of them only what was
 * saved, which leaves the mark. */
static void fold_file(tinker__rec_state_t *s, int64_t epoch, bool saves,
                      size_t *marks) {
  for (size_t i = marks[epoch]; i < log_len; i++) {
    bool saved = log_[i].type == TINKER__REC_CKPT_SAVED ||
                 log_[i].type == TINKER__REC_CKPT_FINGERPRINT;
    if (log_[i].epoch == epoch && (saved || !saves)) fold(s, &log_[i]);
  }
  if (!saves) marks[epoch] = log_len;
}

/* As load.c reads files: what all epochs have reached, the supervisor's, the
 * active epoch's. */
static void load_on(tinker__rec_state_t *s, size_t *marks) {
  int64_t was = s->epoch;
  s->history = true;
  s->epoch = m.epoch;
  for (int64_t e = 1; e <= m.epoch; e++) {
    fold_file(s, e, e == m.epoch, marks);
  }
  s->history = false;
  s->epoch = was;
  fold_file(s, 0, false, marks);
  fold_file(s, m.epoch, false, marks);
}

static void load(tinker__rec_state_t *s) {
  cr_assert_eq(tinker__rec_state_init(s, &mem), 0);
  memset(from_start, 0, sizeof from_start);
  load_on(s, from_start);
}

static void write_state(const tinker__rec_state_t *s, tinker__buf_t *out) {
  const tinker__rec_marks_t none = {.mem = &mem};
  tinker__buf_clear(out);
  cr_assert_eq(tinker__rec_snapshot_write(s, &none, MADE_LINEAGE, out), 0);
}

/* A state that goes on from the last snapshot is the one that has read
 * everything, to the last byte. It becomes the next snapshot. */
static void agree_snapshot(const tinker__rec_state_t *read) {
  tinker__rec_state_t s;
  tinker__rec_marks_t none;
  tinker__buf_t whole;
  tinker__rec_marks_init(&none, &mem);
  tinker__buf_init(&whole, &mem, 1 << 20);
  cr_assert_eq(tinker__rec_state_init(&s, &mem), 0);
  if (snapshot.len) {
    cr_assert_eq(tinker__rec_snapshot_read(&s, &none, MADE_LINEAGE,
                                           tinker__buf_str(&snapshot)),
                 0);
  }
  load_on(&s, read_to);
  write_state(&s, &snapshot);
  write_state(read, &whole);
  cr_assert(
      tinker__str_eq(tinker__buf_str(&snapshot), tinker__buf_str(&whole)));
  tinker__buf_free(&whole);
  tinker__rec_state_free(&s);
}

/* A snapshot in the middle of what belongs together. */
static void look(void) {
  tinker__rec_state_t read;
  load(&read);
  agree_snapshot(&read);
  tinker__rec_state_free(&read);
}

static void agree_ops(const tinker__rec_state_t *s, const char *whose) {
  size_t n = 0;
  TINKER__LIST_EACH(l, tmp, &s->ops) {
    const tinker__rec_op_t *op = TINKER__CONTAINER(l, tinker__rec_op_t, link);
    if (op->slot == TINKER__REC_SLOT_OTHER) continue;
    cr_assert_lt(n, m.op_count, "%s", whose);
    const model_op_t *want = &m.ops[n++];
    cr_assert(op->id == want->id && op->step == want->step &&
                  op->request_count == (size_t)want->count &&
                  op->requests[0].seq_id == want->number,
              "%s: operation %llu", whose, (unsigned long long)want->id);
  }
  cr_assert_eq(n, m.op_count, "%s", whose);
}

static void agree_ckpts(const tinker__rec_state_t *s, const char *whose) {
  size_t n = 0;
  TINKER__LIST_EACH(l, tmp, &s->ckpts) n++;
  cr_assert_eq(n, m.ckpt_count, "%s", whose);
  for (size_t i = 0; i < m.ckpt_count; i++) {
    const model_ckpt_t *want = &m.ckpts[i];
    const tinker__rec_ckpt_t *c = tinker__rec_state_ckpt(s, want->name);
    cr_assert(c && c->step == want->step && c->epoch == want->epoch, "%s: %s",
              whose, want->name);
    cr_assert_eq(c->quarantined, want->bad, "%s: %s", whose, want->name);
  }
}

static void agree(const tinker__rec_state_t *s, const char *whose) {
  tinker__str_t cursor = tinker__buf_str(&s->cursor), pending = {"", 0};
  cr_assert_eq(s->epoch, m.epoch, "%s", whose);
  cr_assert_eq(s->last_epoch, m.last_epoch, "%s", whose);
  cr_assert_eq(s->committed, m.committed, "%s", whose);
  cr_assert_eq(s->next_seq_id, m.next_seq, "%s: %lld", whose,
               (long long)s->next_seq_id);
  cr_assert_eq(s->attached, m.attached, "%s", whose);
  cr_assert_eq(s->attempts, m.attempts, "%s", whose);
  cr_assert_eq(s->incident != 0, m.incident, "%s", whose);
  cr_assert(tinker__str_eqs(cursor, m.cursor), "%s: %.*s", whose,
            (int)cursor.len, cursor.ptr);
  tinker__rec_state_cursor(s, m.committed + 1, &pending);
  cr_assert(tinker__str_eqs(pending, m.pending), "%s", whose);
  agree_ops(s, whose);
  agree_ckpts(s, whose);
}

static void walk(uint64_t seed) {
  tinker__rec_state_t read;
  tinker__buf_init(&snapshot, &mem, 1 << 20);
  memset(read_to, 0, sizeof read_to);
  memset(&m, 0, sizeof m);
  m.next_seq = 1;
  log_len = 0;
  random_state = seed;
  op_id = 0;
  cr_assert_eq(tinker__rec_state_init(&live, &mem), 0);
  do_recover();
  for (int i = 0; i < LENGTH; i++) {
    act();
    if (i % 20 != 19) continue;
    load(&read);
    agree(&live, "live");
    agree(&read, "read");
    agree_snapshot(&read);
    tinker__rec_state_free(&read);
  }
  tinker__rec_state_free(&live);
  tinker__buf_free(&snapshot);
}

Test(state_walk, a_thousand) {
  tinker__mem_init(&mem, NULL, 0);
  tinker__buf_init(&text, &mem, TINKER__REC_MAX_FIELDS);
  for (uint64_t seed = 1; seed <= WALKS; seed++) {
    walk(seed);
    cr_assert_eq(log_len > LENGTH / 2, true, "%zu", log_len);
  }
  tinker__buf_free(&text);
  cr_assert_eq(atomic_load(&mem.live_blocks), 0);
}
