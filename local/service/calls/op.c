/* op: a numbered call from its first number to its result: stored first, then
 * told. HTTP thread (new), engine thread (completion), store thread (commit).
 */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <tinker/error.h>

#include "service/calls/calls.h"
#include "service/parse/work.h"

tinker__svc_op_t *tinker__svc_op_new(tinker__svc_t *s, const char *owner_id,
                                     int64_t seq, tinker__svc_op_kind_t kind) {
  size_t len = strlen(owner_id) + 24;
  tinker__svc_op_t *op = tinker__mem_zalloc(s->mem, sizeof *op);
  if (!op) return NULL;
  op->request_id = tinker__mem_alloc(s->mem, len);
  if (!op->request_id) {
    tinker__mem_free(s->mem, op);
    return NULL;
  }
  snprintf(op->request_id, len, "%s:%lld", owner_id, (long long)seq);
  tinker__list_init(&op->link);
  tinker__list_init(&op->all);
  tinker__list_init(&op->polls);
  tinker__list_init(&op->paused);
  tinker__svc_ack_init(&op->ack);
  op->service = s;
  op->seq = seq;
  op->kind = kind;
  return op;
}

void tinker__svc_op_hold_work(tinker__svc_op_t *op) {
  tinker__svc_t *s = op->service;
  size_t bytes = op->work->arena.used;
  op->in_log = true;
  if (bytes > s->max_held - s->held) {
    tinker__svc_op_drop_work(op);
  } else {
    op->held = bytes;
    s->held += bytes;
  }
}

void tinker__svc_op_drop_work(tinker__svc_op_t *op) {
  op->service->held -= op->held;
  op->held = 0;
  tinker__svc_work_free(op->work);
  op->work = NULL;
}

void tinker__svc_op_drop_log(tinker__svc_op_t *op) {
  tinker__svc_t *s = op->service;
  tinker__mem_free(s->mem, op->log_body);
  op->log_body = NULL;
  tinker__svc_share_give(&s->logs, op->log_held);
  op->log_held = 0;
}

/* Its result takes at least so many bytes of memory from now on; 0 = none any
 * more. */
static void hold_result(tinker__svc_op_t *op, uint64_t bytes) {
  tinker__svc_share_t *p = &op->service->results;
  if (bytes > op->result_held) {
    tinker__svc_share_add(p, bytes - op->result_held);
    op->result_held = bytes;
  } else if (!bytes) {
    tinker__svc_share_give(p, op->result_held);
    op->result_held = 0;
  }
}

void tinker__svc_op_free(tinker__svc_op_t *op) {
  if (!op) return;
  tinker__list_remove(&op->paused);
  tinker__mem_t *mem = op->service->mem;
  tinker__svc_op_drop_work(op);
  tinker__svc_op_drop_log(op);
  hold_result(op, 0);
  tinker__mem_free(mem, op->request_id);
  tinker__mem_free(mem, op);
}

/* --- Without memory for a result ------------------------------------------ */

/* What is executed has changed its model, or may have: the model forgets it and
 * goes through its log again, as after a crash. All else is told later that it
 * failed; with or without the lock, so that a list of its own takes it. */
static void postpone(tinker__svc_op_t *op) {
  tinker__svc_t *s = op->service;
  tinker__svc_model_t *m = op->model;
  if (m && m->current == op) {
    tinker__svc_trouble(m, TINKER_ENOMEM, "out of memory for a result");
    m->stuck = m->rewinds = true;
    return;
  }
  op->postponed = atomic_load(&s->postponed);
  while (!atomic_compare_exchange_weak(&s->postponed, &op->postponed, op)) {
  }
}

static void fail_postponed(tinker__svc_op_t *op) {
  if (op->model) {
    tinker__list_remove(&op->link); /* if its model goes through its log */
    tinker__svc_op_fail(op, "user",
                        "waiting for seq_id %lld, and the session has ended",
                        (long long)op->model->next_seq);
  } else if (op->sampler->session->ended_ms) {
    tinker__svc_sampler_fail_ended(op);
  } else {
    tinker__svc_op_fail(op, "server", "out of memory for the result");
  }
}

void tinker__svc_ops_retry(tinker__svc_t *s) {
  tinker__svc_op_t *op = atomic_exchange(&s->postponed, NULL);
  while (op) {
    tinker__svc_op_t *next = op->postponed;
    fail_postponed(op);
    op = next;
  }
}

/* --- Completion ----------------------------------------------------------- */

typedef struct {
  tinker__svc_op_t *op;
  tinker__svc_op_state_t state;
  int format;
  const void *data; /* the write's */
  size_t len;
  unsigned char digest[TINKER__SHA256_LEN];
  void (*committed)(void *user, char *useless, size_t len);
  void *user;
} completion_t;

static void on_committed(void *user, int rc) {
  completion_t *c = user;
  tinker__svc_op_t *op = c->op;
  tinker__svc_t *s = op->service;
  char useless[1200] = ""; /* a folder */
  if (rc != 0) {
    tinker__svc_fatal(s, "a result could not be stored");
  } else {
    tinker__svc_lock(s);
    op->state = c->state;
    op->storing = false;
    op->result_size = c->len;
    op->result_format = c->format;
    if (op->sampler) s->samples--;
    tinker__svc_debug_op(op,
                         c->state == TINKER__SVC_OP_DONE ? "done" : "failed");
    tinker__svc_heard(op, c->state == TINKER__SVC_OP_DONE ? TINKER__SVC_APPLIED
                                                          : TINKER__SVC_FAILED);
    if (c->committed) c->committed(c->user, useless, sizeof useless);
    tinker__svc_op_drop_work(op);
    hold_result(op, 0); /* the write frees it now */
    tinker__svc_polls_answer(op, c->format, c->data, c->len);
    tinker__svc_unlock(s);
  }
  if (*useless) tinker__svc_folder_remove(useless);
  tinker__mem_free(s->mem, c->user);
  tinker__mem_free(s->mem, c);
}

/* The result of an op whose result is stored already: it must be the same. */
static int check_replay(tinker__svc_op_t *op,
                        const unsigned char digest[TINKER__SHA256_LEN]) {
  tinker__svc_t *s = op->service;
  bool same = !memcmp(digest, op->result_digest, TINKER__SHA256_LEN);
  int rc = 0;
  if (!same && op->model) {
    tinker__svc_lock(s);
    rc = tinker__svc_model_break(
        op->model, "re-executing the log gave another result than before");
    tinker__svc_unlock(s);
  }
  if (!same) {
    tinker__svc_log(s, "error", "replay_differs", "request_id", op->request_id,
                    NULL);
  }
  return rc;
}

/* A call that a restart has no use for: its empty body says so. NULL would not:
 * that is the body of a call before a snapshot. */
static bool leaves_nothing(const tinker__svc_op_t *op,
                           tinker__svc_op_state_t state) {
  switch (op->kind) {
  case TINKER__SVC_OP_FORWARD_BACKWARD:
    return state == TINKER__SVC_OP_FAILED || op->work->forward_only;
  case TINKER__SVC_OP_SAVE:
  case TINKER__SVC_OP_SAVE_SAMPLER: return true;
  default: return false;
  }
}

static void write_result(tinker__db_write_t *w, const completion_t *c,
                         void *data) {
  const tinker__svc_op_t *op = c->op;
  tinker__db_write_vital(w); /* later results may follow from this one */
  tinker__db_write_sql(w, "UPDATE requests SET state = ?, result_format = ?,"
                          " result_digest = ?, result = ? WHERE row = ?");
  tinker__db_write_i64(w, c->state);
  tinker__db_write_i64(w, c->format);
  tinker__db_write_blob(w, c->digest, sizeof c->digest);
  tinker__db_write_take(w, data, c->len);
  tinker__db_write_i64(w, op->row);
  if (op->sampler) { /* a model's body is kept until a snapshot */
    tinker__db_write_sql(w, "UPDATE requests SET body = NULL WHERE row = ?");
    tinker__db_write_i64(w, op->row);
  } else if (leaves_nothing(op, c->state)) {
    tinker__db_write_sql(w, "UPDATE requests SET body = x'' WHERE row = ?");
    tinker__db_write_i64(w, op->row);
  }
}

/* Once it is on its way the op says what a restart would find in the log: its
 * model may have to go through that again before (trouble.c). */
static int submit_result(tinker__db_write_t *w, completion_t *c) {
  tinker__svc_op_t *op = c->op;
  memcpy(op->result_digest, c->digest, sizeof c->digest);
  if (c->state != TINKER__SVC_OP_FAILED) op->traceless = false;
  size_t size = op->log_size;
  if (op->model && leaves_nothing(op, c->state)) op->log_size = 0;
  op->storing = true;
  int rc = tinker__db_write_submit(w);
  if (rc == 0) return 0;
  op->storing = false;
  op->log_size = size;
  tinker__mem_free(op->service->mem, c);
  return rc;
}

/* Takes the content of data. */
static int store_result(const completion_t *made, tinker__buf_t *data,
                        void (*extra)(tinker__db_write_t *w, void *user)) {
  tinker__svc_t *s = made->op->service;
  completion_t *c = tinker__mem_zalloc(s->mem, sizeof *c);
  tinker__db_write_t *w =
      c ? tinker__db_write_new(s->store, on_committed, c) : NULL;
  if (!w) {
    tinker__buf_free(data);
    tinker__mem_free(s->mem, c);
    return TINKER_ENOMEM;
  }
  *c = *made;
  void *block = tinker__buf_take(data, &c->len);
  c->data = block;
  hold_result(c->op, c->len);
  write_result(w, c, block);
  if (extra) extra(w, c->user);
  return submit_result(w, c);
}

int tinker__svc_op_complete(
    tinker__svc_op_t *op, tinker__svc_op_state_t state, int format,
    tinker__buf_t *data, void (*extra)(tinker__db_write_t *w, void *user),
    void (*committed)(void *user, char *useless, size_t len), void *user) {
  tinker__str_t view = tinker__buf_str(data);
  completion_t c = {.op = op,
                    .state = state,
                    .format = format,
                    .committed = committed,
                    .user = user};
  int rc = tinker__buf_error(data);
  if (rc == 0) rc = tinker__sha256(view.ptr, view.len, c.digest);
  if (rc != 0 || op->replay) tinker__buf_free(data);
  if (rc == 0 && op->replay) {
    rc = check_replay(op, c.digest);
    if (rc == 0) tinker__mem_free(op->service->mem, user);
  } else if (rc == 0) {
    rc = store_result(&c, data, extra);
  }
  if (rc != 0) postpone(op);
  return rc;
}

void tinker__svc_op_fail(tinker__svc_op_t *op, const char *category,
                         const char *fmt, ...) {
  char text[500];
  tinker__buf_t out;
  va_list args;
  va_start(args, fmt);
  vsnprintf(text, sizeof text, fmt, args);
  va_end(args);
  /* What is quoted may be cut inside a character; told it must be. */
  size_t length = strlen(text);
  while (length && !tinker__utf8_valid(text, length)) text[--length] = 0;
  tinker__buf_init(&out, op->service->mem, 4096);
  tinker__failure_t m = {text, category};
  tinker__message_encode(&out, &tinker__failure_msg, &m);
  if (!op->replay) op->traceless = !strcmp(category, "server");
  tinker__svc_op_complete(op, TINKER__SVC_OP_FAILED, TINKER__FORMAT_JSON, &out,
                          NULL, NULL, NULL);
}
