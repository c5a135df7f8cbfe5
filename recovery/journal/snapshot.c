/* snapshot: see snapshot.h. One walk over the state serves both directions, so
 * that what is written is what is read. Numbers are in the order of the
 * machine: the file does not leave it, and on another one its first number is
 * wrong. */
#include "journal/snapshot.h"

#include <stddef.h>
#include <string.h>
#include <tinker/error.h>

#include "base/buf.h"

#define MAGIC INT64_C(0x746b736e61700001) /* its last digits: the version */
#define MANY (1 << 20)                    /* of anything, at most */
#define ABSENT (-1)                       /* length of a text that is NULL */

/* What has no place in walk() below is lost at each start. */
#if UINTPTR_MAX == UINT64_MAX
_Static_assert(sizeof(tinker__rec_state_t) == 360 &&
                   sizeof(tinker__rec_op_t) == 160 &&
                   sizeof(tinker__rec_request_t) == 88 &&
                   sizeof(tinker__rec_ckpt_t) == 120 &&
                   sizeof(tinker__rec_past_t) == 56 &&
                   sizeof(tinker__rec_used_t) == 40 &&
                   sizeof(tinker__rec_orphan_t) == 32,
               "a field was added: walk() and MAGIC must know it");
#endif

typedef struct {
  tinker__mem_t *mem;
  tinker__buf_t *out; /* NULL = it reads */
  const char *at, *end;
  int rc;
} io_t;

/* --- Parts ---------------------------------------------------------------- */

void tinker__rec_marks_init(tinker__rec_marks_t *m, tinker__mem_t *mem) {
  *m = (tinker__rec_marks_t){.mem = mem};
}

void tinker__rec_marks_free(tinker__rec_marks_t *m) {
  if (m->mem) tinker__mem_free(m->mem, m->marks);
  m->marks = NULL;
  m->count = 0;
}

tinker__rec_mark_t *tinker__rec_marks_at(tinker__rec_marks_t *m,
                                         int64_t epoch) {
  size_t need = (size_t)epoch + 1;
  if (epoch < 0 || epoch >= MANY) return NULL;
  if (need > m->count) {
    void *more = tinker__mem_realloc(m->mem, m->marks, need * sizeof *m->marks);
    if (!more) return NULL;
    m->marks = more;
    memset(m->marks + m->count, 0, (need - m->count) * sizeof *m->marks);
    m->count = need;
  }
  return &m->marks[epoch];
}

static void raw(io_t *io, void *data, size_t len) {
  if (io->rc != 0) return;
  if (io->out) {
    io->rc = tinker__buf_add(io->out, data, len);
  } else if ((size_t)(io->end - io->at) < len) {
    io->rc = TINKER_EFORMAT;
  } else {
    memcpy(data, io->at, len);
    io->at += len;
  }
}

static void number(io_t *io, int64_t *v) {
  raw(io, v, sizeof *v);
}

static void flag(io_t *io, bool *v) {
  int64_t n = *v;
  number(io, &n);
  *v = n != 0;
}

static void real(io_t *io, double *v) {
  raw(io, v, sizeof *v);
}

static void length(io_t *io, size_t *v) {
  int64_t n = (int64_t)*v;
  number(io, &n);
  if (io->rc == 0 && (n < 0 || n > MANY)) io->rc = TINKER_EFORMAT;
  *v = io->rc == 0 ? (size_t)n : 0;
}

/* A block of memory with a NUL behind it. */
static void block(io_t *io, char **p, int64_t len) {
  if (io->out) {
    raw(io, *p, (size_t)len);
    return;
  }
  if (io->rc == 0 && io->end - io->at < len) io->rc = TINKER_EFORMAT;
  if (io->rc != 0) return;
  *p = tinker__mem_strndup(io->mem, io->at, (size_t)len);
  if (!*p) io->rc = TINKER_ENOMEM;
  io->at += len;
}

static void bytes(io_t *io, char **p, size_t *len) {
  length(io, len);
  block(io, p, (int64_t)*len);
}

static void text(io_t *io, char **p) {
  int64_t len = *p ? (int64_t)strlen(*p) : ABSENT;
  number(io, &len);
  if (io->rc == 0 && (len < ABSENT || len > MANY)) io->rc = TINKER_EFORMAT;
  if (io->rc == 0 && len != ABSENT) block(io, p, len);
}

/* An array of elements of a size. */
static void array(io_t *io, void **p, size_t *count, size_t size) {
  length(io, count);
  if (io->rc == 0 && !io->out) {
    *p = tinker__mem_array(io->mem, *count, size);
    if (!*p) io->rc = TINKER_ENOMEM;
  }
}

/* The next element of a list: the one behind `l`, or a new one that begins with
 * its link. NULL = an error. */
static tinker__link_t *element(io_t *io, tinker__link_t *list,
                               tinker__link_t *l, size_t size) {
  if (io->out) return l->next;
  tinker__link_t *made = tinker__mem_zalloc(io->mem, size);
  if (made) {
    tinker__list_push_back(list, made);
  } else {
    io->rc = TINKER_ENOMEM;
  }
  return made;
}

static void list(io_t *io, tinker__link_t *head, size_t size,
                 void (*each)(io_t *io, tinker__link_t *l)) {
  size_t n = 0;
  tinker__link_t *l = head;
  if (io->out) TINKER__LIST_EACH(at, tmp, head) n++;
  length(io, &n);
  for (size_t i = 0; i < n && io->rc == 0; i++) {
    l = element(io, head, l, size);
    if (l) each(io, l);
  }
}

/* --- The walk ------------------------------------------------------------- */

static void walk_request(io_t *io, tinker__rec_request_t *r) {
  int64_t state = r->state;
  number(io, &state);
  if (state < 0 || state > TINKER__REC_REQUEST_FAILED) io->rc = TINKER_EFORMAT;
  r->state = (tinker__rec_request_state_t)state;
  number(io, &r->seq_id);
  number(io, &r->offset);
  raw(io, &r->len, sizeof r->len);
  raw(io, &r->datums, sizeof r->datums);
  raw(io, r->sha256, sizeof r->sha256);
  text(io, &r->id);
  number(io, &r->code);
}

static void walk_op(io_t *io, tinker__link_t *l) {
  tinker__rec_op_t *op = TINKER__CONTAINER(l, tinker__rec_op_t, link);
  void *requests = op->requests;
  int64_t slot = op->slot;
  raw(io, &op->id, sizeof op->id);
  number(io, &op->step);
  number(io, &slot);
  op->slot = (tinker__rec_slot_t)slot;
  number(io, &op->kind);
  text(io, &op->name);
  raw(io, op->batch, sizeof op->batch);
  number(io, &op->expires_ms);
  flag(io, &op->side);
  bytes(io, &op->bytes, &op->bytes_len);
  array(io, &requests, &op->request_count, sizeof *op->requests);
  op->requests = requests;
  for (size_t i = 0; i < op->request_count && io->rc == 0; i++) {
    walk_request(io, &op->requests[i]);
  }
  number(io, &op->intents);
  number(io, &op->before);
  number(io, &op->after);
}

static void walk_cursor(io_t *io, tinker__link_t *l) {
  tinker__rec_cursor_t *c = TINKER__CONTAINER(l, tinker__rec_cursor_t, link);
  number(io, &c->step);
  bytes(io, &c->data, &c->len);
}

static void walk_probe(io_t *io, tinker__rec_ckpt_t *c) {
  bool has = c->probe != NULL;
  void *probe = c->probe;
  flag(io, &has);
  if (!has || io->rc != 0) return;
  array(io, &probe, &c->probe_count, sizeof *c->probe);
  c->probe = probe;
  if (io->rc == 0) raw(io, c->probe, c->probe_count * sizeof *c->probe);
}

static void walk_ckpt(io_t *io, tinker__link_t *l) {
  tinker__rec_ckpt_t *c = TINKER__CONTAINER(l, tinker__rec_ckpt_t, link);
  int64_t level = c->level;
  text(io, &c->name);
  text(io, &c->path);
  number(io, &c->step);
  number(io, &c->epoch);
  number(io, &level);
  c->level = (int)level;
  flag(io, &c->quarantined);
  flag(io, &c->deleting);
  flag(io, &c->deleted);
  number(io, &c->expires_ms);
  number(io, &c->marked_ms);
  bytes(io, &c->cursor, &c->cursor_len);
  walk_probe(io, c);
  real(io, &c->noise);
  flag(io, &c->cursor_lost);
}

static void walk_step(io_t *io, tinker__rec_past_t *p) {
  void *batches = p->batches;
  number(io, &p->step);
  number(io, &p->epoch);
  array(io, &batches, &p->batch_count, TINKER__SHA256_LEN);
  p->batches = batches;
  if (io->rc == 0) raw(io, batches, p->batch_count * TINKER__SHA256_LEN);
  flag(io, &p->has_loss);
  real(io, &p->loss);
  flag(io, &p->doubted);
  real(io, &p->again);
}

/* The ring, from its oldest step on. */
static void walk_past(io_t *io, tinker__rec_state_t *s) {
  size_t first = s->past_at + TINKER__REC_PAST - s->past_count;
  length(io, &s->past_count);
  if (s->past_count > TINKER__REC_PAST) io->rc = TINKER_EFORMAT;
  for (size_t i = 0; i < s->past_count && io->rc == 0; i++) {
    walk_step(io, &s->past[(first + i) % TINKER__REC_PAST]);
  }
  if (!io->out) s->past_at = s->past_count % TINKER__REC_PAST;
}

static void walk_cursor_now(io_t *io, tinker__buf_t *cursor) {
  char *data = cursor->data;
  size_t len = cursor->len;
  bytes(io, &data, &len);
  if (io->out) return;
  if (io->rc == 0) io->rc = tinker__buf_add(cursor, data, len);
  tinker__mem_free(io->mem, data);
}

static void walk_used(io_t *io, tinker__link_t *l) {
  tinker__rec_used_t *u = TINKER__CONTAINER(l, tinker__rec_used_t, link);
  number(io, &u->epoch);
  text(io, &u->nonce);
  text(io, &u->model);
}

static void walk_orphan(io_t *io, tinker__link_t *l) {
  tinker__rec_orphan_t *o = TINKER__CONTAINER(l, tinker__rec_orphan_t, link);
  flag(io, &o->cleared);
  text(io, &o->model);
}

static void walk_supervisor(io_t *io, tinker__rec_state_t *s) {
  text(io, &s->plan);
  number(io, &s->epoch);
  number(io, &s->last_epoch);
  number(io, &s->from_step);
  text(io, &s->session);
  text(io, &s->model);
  text(io, &s->from_path);
  flag(io, &s->cursor_lost);
  number(io, &s->disowned);
  list(io, &s->used, sizeof(tinker__rec_used_t), walk_used);
  list(io, &s->orphans, sizeof(tinker__rec_orphan_t), walk_orphan);
  flag(io, &s->finished);
  flag(io, &s->held);
  text(io, &s->stopped);
  text(io, &s->distrusted);
  number(io, &s->incident);
  number(io, &s->incidents);
  number(io, &s->attempts);
  number(io, &s->progress);
  number(io, &s->fruitless);
}

/* Of the fields of the state, `history` is a reader's and `records` counts its
 * work. */
static void walk(io_t *io, tinker__rec_state_t *s) {
  walk_supervisor(io, s);
  number(io, &s->committed);
  walk_cursor_now(io, &s->cursor);
  list(io, &s->cursors, sizeof(tinker__rec_cursor_t), walk_cursor);
  list(io, &s->ops, sizeof(tinker__rec_op_t), walk_op);
  raw(io, &s->last_op, sizeof s->last_op);
  number(io, &s->next_seq_id);
  number(io, &s->next_model_seq_id);
  number(io, &s->next_sampling_session_seq_id);
  number(io, &s->attached);
  list(io, &s->ckpts, sizeof(tinker__rec_ckpt_t), walk_ckpt);
  walk_past(io, s);
}

static void walk_marks(io_t *io, tinker__rec_marks_t *m) {
  size_t n = m->count;
  length(io, &n);
  if (io->rc == 0 && n > 0 && !tinker__rec_marks_at(m, (int64_t)n - 1)) {
    io->rc = TINKER_ENOMEM;
  }
  for (size_t i = 0; i < n && io->rc == 0; i++) {
    number(io, &m->marks[i].id);
    raw(io, m->marks[i].hash, sizeof m->marks[i].hash);
  }
}

static void walk_all(io_t *io, tinker__rec_state_t *s, tinker__rec_marks_t *m,
                     const char *lineage) {
  int64_t magic = MAGIC;
  char *name = (char *)(uintptr_t)lineage; /* only read */
  number(io, &magic);
  if (magic != MAGIC) io->rc = TINKER_EFORMAT;
  if (!io->out) name = NULL;
  text(io, &name);
  if (io->rc == 0 && (!name || strcmp(name, lineage) != 0)) {
    io->rc = TINKER_EFORMAT;
  }
  if (!io->out) tinker__mem_free(io->mem, name);
  walk_marks(io, m);
  walk(io, s);
}

int tinker__rec_snapshot_write(const tinker__rec_state_t *s,
                               const tinker__rec_marks_t *m,
                               const char *lineage, tinker__buf_t *out) {
  unsigned char hash[TINKER__SHA256_LEN];
  io_t io = {.mem = s->mem, .out = out};
  /* A walk that writes changes neither. */
  walk_all(&io, (tinker__rec_state_t *)(uintptr_t)s,
           (tinker__rec_marks_t *)(uintptr_t)m, lineage);
  if (io.rc == 0) io.rc = tinker__sha256(out->data, out->len, hash);
  raw(&io, hash, sizeof hash);
  return io.rc;
}

int tinker__rec_snapshot_read(tinker__rec_state_t *s, tinker__rec_marks_t *m,
                              const char *lineage, tinker__str_t bytes) {
  unsigned char hash[TINKER__SHA256_LEN];
  if (bytes.len < sizeof hash) return TINKER_EFORMAT;
  io_t io = {.mem = s->mem,
             .at = bytes.ptr,
             .end = bytes.ptr + bytes.len - sizeof hash};
  int rc = tinker__sha256(bytes.ptr, bytes.len - sizeof hash, hash);
  if (rc != 0) return rc;
  if (memcmp(hash, io.end, sizeof hash) != 0) return TINKER_EFORMAT;
  walk_all(&io, s, m, lineage);
  return io.rc == 0 && io.at != io.end ? TINKER_EFORMAT : io.rc;
}
