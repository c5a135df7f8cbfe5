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

void tinker__svc_op_free(tinker__svc_op_t *op) {
  if (!op) return;
  tinker__list_remove(&op->paused);
  tinker__mem_t *mem = op->service->mem;
  tinker__svc_op_drop_work(op);
  tinker__mem_free(mem, op->log_body);
  tinker__mem_free(mem, op->request_id);
  tinker__mem_free(mem, op);
}

/* --- Completion ----------------------------------------------------------- */

typedef struct {
  tinker__svc_op_t *op;
  tinker__svc_op_state_t state;
  int format;
  const void *data; /* the write's */
  size_t len;
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
    op->result_size = c->len;
    op->result_format = c->format;
    if (op->sampler) s->samples--;
    tinker__svc_debug_op(op,
                         c->state == TINKER__SVC_OP_DONE ? "done" : "failed");
    tinker__svc_heard(op, c->state == TINKER__SVC_OP_DONE ? TINKER__SVC_APPLIED
                                                          : TINKER__SVC_FAILED);
    if (c->committed) c->committed(c->user, useless, sizeof useless);
    tinker__svc_op_drop_work(op);
    tinker__svc_polls_answer(op, c->format, c->data, c->len);
    tinker__svc_unlock(s);
  }
  if (*useless) tinker__svc_folder_remove(useless);
  tinker__mem_free(s->mem, c->user);
  tinker__mem_free(s->mem, c);
}

/* Whether a result is the one that is stored, as it may have been written by an
 * older version of the service: a float may be spelled as an integer, and what
 * was the caller's fault may be said in other words. 1, 0, or TINKER_ENOMEM. */
static int is_stored_result(const tinker__svc_op_t *op,
                            tinker__svc_op_state_t state, int format,
                            tinker__str_t data,
                            const unsigned char digest[TINKER__SHA256_LEN]) {
  unsigned char older[TINKER__SHA256_LEN];
  tinker__buf_t form;
  if (!memcmp(digest, op->result_digest, TINKER__SHA256_LEN)) return 1;
  if (state != op->state || format != TINKER__FORMAT_JSON) return 0;
  if (state == TINKER__SVC_OP_FAILED) {
    return !op->traceless && tinker__str_ends(data, ",\"category\":\"user\"}");
  }
  tinker__buf_init(&form, op->service->mem, 2 * data.len);
  tinker__svc_result_older_form(&form, data);
  tinker__str_t text = tinker__buf_str(&form);
  int rc = tinker__buf_error(&form);
  if (rc == 0) rc = tinker__sha256(text.ptr, text.len, older);
  tinker__buf_free(&form);
  if (rc != 0) return TINKER_ENOMEM;
  return !memcmp(older, op->result_digest, TINKER__SHA256_LEN);
}

/* The result of an op whose result is stored already: it must be the same. */
static void check_replay(tinker__svc_op_t *op, int same) {
  tinker__svc_t *s = op->service;
  if (same < 0) tinker__svc_fatal(s, "out of memory for a result");
  if (same != 0) return;
  if (op->model) {
    tinker__svc_lock(s);
    tinker__svc_model_break(
        op->model, "re-executing the log gave another result than before");
    tinker__svc_unlock(s);
  }
  tinker__svc_log(s, "error", "replay_differs", "request_id", op->request_id,
                  NULL);
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

void tinker__svc_op_complete(
    tinker__svc_op_t *op, tinker__svc_op_state_t state, int format,
    tinker__buf_t *data, void (*extra)(tinker__db_write_t *w, void *user),
    void (*committed)(void *user, char *useless, size_t len), void *user) {
  tinker__svc_t *s = op->service;
  unsigned char digest[TINKER__SHA256_LEN];
  tinker__str_t view = tinker__buf_str(data);
  if (tinker__buf_error(data) ||
      tinker__sha256(view.ptr, view.len, digest) != 0) {
    tinker__buf_free(data);
    tinker__mem_free(s->mem, user);
    tinker__svc_fatal(s, "out of memory for a result");
    return;
  }
  if (op->replay) {
    tinker__mem_free(s->mem, user);
    int same = is_stored_result(op, state, format, view, digest);
    tinker__buf_free(data);
    check_replay(op, same);
    return;
  }
  completion_t *c = tinker__mem_zalloc(s->mem, sizeof *c);
  size_t len;
  char *block = tinker__buf_take(data, &len);
  tinker__db_write_t *w =
      c ? tinker__db_write_new(s->store, on_committed, c) : NULL;
  if (!w) {
    tinker__mem_free(s->mem, block);
    tinker__mem_free(s->mem, c);
    tinker__mem_free(s->mem, user);
    tinker__svc_fatal(s, "out of memory for a result");
    return;
  }
  *c = (completion_t){op, state, format, block, len, committed, user};
  tinker__db_write_vital(w); /* later results may follow from this one */
  tinker__db_write_sql(w, "UPDATE requests SET state = ?, result_format = ?,"
                          " result_digest = ?, result = ? WHERE row = ?");
  tinker__db_write_i64(w, state);
  tinker__db_write_i64(w, format);
  tinker__db_write_blob(w, digest, sizeof digest);
  tinker__db_write_take(w, block, len);
  tinker__db_write_i64(w, op->row);
  if (op->sampler) { /* a model's body is kept until a snapshot */
    tinker__db_write_sql(w, "UPDATE requests SET body = NULL WHERE row = ?");
    tinker__db_write_i64(w, op->row);
  } else if (leaves_nothing(op, state)) {
    tinker__db_write_sql(w, "UPDATE requests SET body = x'' WHERE row = ?");
    tinker__db_write_i64(w, op->row);
  }
  if (extra) extra(w, user);
  if (tinker__db_write_submit(w) != 0) {
    tinker__mem_free(s->mem, c);
    tinker__mem_free(s->mem, user);
    tinker__svc_fatal(s, "out of memory for a result");
  }
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
  tinker__svc_op_complete(op, TINKER__SVC_OP_FAILED, TINKER__FORMAT_JSON, &out,
                          NULL, NULL, NULL);
}
