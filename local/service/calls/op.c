/* op: makes and completes numbered calls. A result is stored first, and then
 * polls are answered. HTTP thread or a worker (new), engine thread
 * (completion), store thread (commit). */
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

/* Raises the bytes counted for the result of op; 0 gives all of them back. */
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

/* --- Completion ----------------------------------------------------------- */

typedef struct {
  tinker__svc_op_t *op;
  tinker__svc_outcome_t outcome;
  int format;
  const void *data; /* owned by the write */
  size_t len;
  unsigned char digest[TINKER__SHA256_LEN];
  void (*committed)(void *user, char *useless, size_t len);
  void *user;
} completion_t;

static void on_committed(void *user, int rc) {
  completion_t *c = user;
  tinker__svc_op_t *op = c->op;
  tinker__svc_t *s = op->service;
  tinker__link_t polls;
  tinker__svc_told_t told;
  char useless[1200] = ""; /* a folder to remove */
  if (rc != 0) {
    tinker__svc_fatal(s, "a result could not be stored");
  } else {
    tinker__svc_lock(s);
    bool done = c->outcome == TINKER__SVC_OUTCOME_DONE;
    tinker__svc_op_move(op, done ? TINKER__SVC_OP_DONE : TINKER__SVC_OP_FAILED);
    op->result_size = c->len;
    op->result_format = c->format;
    if (op->sampler) s->samples--;
    tinker__svc_debug_op(op, done ? "done" : "failed");
    tinker__svc_heard(op, done ? TINKER__SVC_APPLIED : TINKER__SVC_FAILED);
    if (c->committed) c->committed(c->user, useless, sizeof useless);
    tinker__svc_op_drop_work(op);
    tinker__svc_polls_take(op, &polls);
    told = tinker__svc_op_told(op);
    hold_result(op, 0); /* the write frees it after this */
    tinker__svc_unlock(s);
    told.data = c->data;
    tinker__svc_polls_tell(&polls, &told);
  }
  if (*useless) tinker__svc_folder_remove(useless);
  tinker__mem_free(s->mem, c->user);
  tinker__mem_free(s->mem, c);
}

/* Makes the digest of a result. On failure data is freed. */
static int digest_of(tinker__buf_t *data,
                     unsigned char digest[TINKER__SHA256_LEN]) {
  tinker__str_t view = tinker__buf_str(data);
  int rc = tinker__buf_error(data);
  if (rc == 0) rc = tinker__sha256(view.ptr, view.len, digest);
  if (rc != 0) tinker__buf_free(data);
  return rc;
}

static bool is_stored(const tinker__svc_op_t *op,
                      const unsigned char digest[TINKER__SHA256_LEN]) {
  return !memcmp(digest, op->result_digest, TINKER__SHA256_LEN);
}

/* True if both results refuse the call by the caller's fault. Their sentences
 * may differ, since an older version may have used other words. */
static bool is_same_refusal(const tinker__svc_op_t *op,
                            tinker__svc_outcome_t outcome, tinker__str_t data) {
  return outcome == TINKER__SVC_OUTCOME_FAILED &&
         op->state == TINKER__SVC_OP_FAILED &&
         op->redo != TINKER__SVC_REDO_UNDONE &&
         tinker__str_ends(data, ",\"category\":\"user\"}");
}

/* Compares the result of an op that was executed again with the stored one,
 * which an older version may have written. If they differ the model is broken.
 */
static int check_replay(tinker__svc_op_t *op, tinker__svc_outcome_t outcome,
                        int format, tinker__buf_t *data) {
  tinker__svc_t *s = op->service;
  unsigned char digest[TINKER__SHA256_LEN];
  tinker__buf_t older;
  int rc = digest_of(data, digest);
  if (rc != 0) return rc;
  bool same = is_stored(op, digest) ||
              is_same_refusal(op, outcome, tinker__buf_str(data));
  if (!same && format == TINKER__FORMAT_JSON) {
    tinker__buf_init(&older, s->mem, data->max);
    tinker__svc_result_older_form(&older, tinker__buf_str(data));
    tinker__buf_free(data);
    rc = digest_of(&older, digest);
    if (rc != 0) return rc;
    *data = older;
    same = is_stored(op, digest);
  }
  tinker__buf_free(data);
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

/* True for a call that a restart need not execute. Its body in the log becomes
 * empty to say so; NULL is the body of a call before a snapshot. */
static bool leaves_nothing(const tinker__svc_op_t *op,
                           tinker__svc_outcome_t outcome) {
  switch (op->kind) {
  case TINKER__SVC_OP_FORWARD_BACKWARD:
    return outcome == TINKER__SVC_OUTCOME_FAILED || op->work->forward_only;
  case TINKER__SVC_OP_SAVE:
  case TINKER__SVC_OP_SAVE_SAMPLER: return true;
  case TINKER__SVC_OP_OPTIM: return op->undone;
  default: /* a call that failed has made or loaded nothing */
    return outcome == TINKER__SVC_OUTCOME_FAILED;
  }
}

static void write_result(tinker__db_write_t *w, const completion_t *c,
                         void *data) {
  const tinker__svc_op_t *op = c->op;
  tinker__db_write_vital(w); /* later results may follow from this one */
  tinker__db_write_sql(w, "UPDATE requests SET state = ?, result_format = ?,"
                          " result_digest = ?, result = ? WHERE row = ?");
  tinker__db_write_i64(w, c->outcome);
  tinker__db_write_i64(w, c->format);
  tinker__db_write_blob(w, c->digest, sizeof c->digest);
  tinker__db_write_take(w, data, c->len);
  tinker__db_write_i64(w, op->row);
  if (op->sampler) { /* the body of a model's call is kept until a snapshot */
    tinker__db_write_sql(w, "UPDATE requests SET body = NULL WHERE row = ?");
    tinker__db_write_i64(w, op->row);
  } else if (leaves_nothing(op, c->outcome)) {
    tinker__db_write_sql(w, "UPDATE requests SET body = x'' WHERE row = ?");
    tinker__db_write_i64(w, op->row);
  }
}

/* Submits the write. From then on the op has what a start would find in the
 * log, since its model may rewind. */
static int submit_result(tinker__db_write_t *w, completion_t *c) {
  tinker__svc_op_t *op = c->op;
  size_t size = op->log_size;
  memcpy(op->result_digest, c->digest, sizeof c->digest);
  if (op->model && leaves_nothing(op, c->outcome)) op->log_size = 0;
  int rc = tinker__db_write_submit(w);
  if (rc == 0) return 0;
  op->log_size = size;
  hold_result(op, 0); /* the write has freed it */
  tinker__mem_free(op->service->mem, c);
  return rc;
}

/* Submits the result of an op that is COMMITTING to the store. Takes the
 * content of data; TINKER_ENOMEM: nothing else is done. With or without the
 * lock. */
static int commit(tinker__svc_op_t *op, tinker__svc_outcome_t outcome,
                  int format, tinker__buf_t *data,
                  void (*extra)(tinker__db_write_t *w, void *user),
                  void (*committed)(void *user, char *useless, size_t len),
                  void *user) {
  tinker__svc_t *s = op->service;
  unsigned char digest[TINKER__SHA256_LEN];
  int rc = digest_of(data, digest);
  if (rc != 0) return rc;
  completion_t *c = tinker__mem_zalloc(s->mem, sizeof *c);
  tinker__db_write_t *w =
      c ? tinker__db_write_new(s->store, on_committed, c) : NULL;
  if (!w) {
    tinker__buf_free(data);
    tinker__mem_free(s->mem, c);
    return TINKER_ENOMEM;
  }
  size_t len;
  char *block = tinker__buf_take(data, &len);
  *c = (completion_t){.op = op,
                      .outcome = outcome,
                      .format = format,
                      .data = block,
                      .len = len,
                      .committed = committed,
                      .user = user};
  memcpy(c->digest, digest, sizeof digest);
  hold_result(op, len);
  write_result(w, c, block);
  if (extra) extra(w, user);
  return submit_result(w, c);
}

/* --- Without memory for a result ------------------------------------------ */

/* Notes that a call was executed but had no memory for its result. The model's
 * state may be ahead of the store, so it is dropped and made again from the
 * snapshot and the log, as after a crash. Then the call is executed once more.
 * Engine thread. */
static void rewind_model(tinker__svc_model_t *m) {
  tinker__svc_trouble(m, TINKER_ENOMEM, "out of memory for a result");
  m->rewinds = true;
}

/* Postpones the failure of an op until there is memory for it. The op stays
 * COMMITTING. The list works without the lock, since this is called with and
 * without it. */
static void postpone(tinker__svc_op_t *op) {
  tinker__svc_t *s = op->service;
  op->postponed = atomic_load(&s->postponed);
  while (!atomic_compare_exchange_weak(&s->postponed, &op->postponed, op)) {
  }
}

int tinker__svc_op_complete(
    tinker__svc_op_t *op, tinker__svc_outcome_t outcome, int format,
    tinker__buf_t *data, void (*extra)(tinker__db_write_t *w, void *user),
    void (*committed)(void *user, char *useless, size_t len), void *user) {
  tinker__svc_t *s = op->service;
  if (op->redo) {
    int rc = check_replay(op, outcome, format, data);
    if (rc == 0) {
      tinker__mem_free(s->mem, user);
    } else if (op->model) {
      rewind_model(op->model);
    }
    return rc;
  }
  tinker__svc_lock(s);
  bool first = tinker__svc_op_move(op, TINKER__SVC_OP_COMMITTING);
  tinker__svc_unlock(s);
  if (!first) { /* the move has ended the service */
    tinker__buf_free(data);
    return TINKER_EINTERNAL;
  }
  int rc = commit(op, outcome, format, data, extra, committed, user);
  if (rc != 0 && op->model) {
    tinker__svc_lock(s);
    tinker__svc_op_move(op, TINKER__SVC_OP_RUNNING);
    tinker__svc_unlock(s);
    rewind_model(op->model);
  } else if (rc != 0) {
    postpone(op);
  }
  return rc;
}

#define TEXT_LEN 500

/* Writes the reply of a failure to *out. */
static void write_failure(tinker__svc_op_t *op, tinker__buf_t *out,
                          const char *category, char text[TEXT_LEN]) {
  /* A quoted text may be cut inside a character; JSON must be whole UTF-8. */
  size_t length = strlen(text);
  while (length && !tinker__utf8_valid(text, length)) text[--length] = 0;
  tinker__buf_init(out, op->service->mem, 4096);
  tinker__failure_t m = {text, category};
  tinker__message_encode(out, &tinker__failure_msg, &m);
}

void tinker__svc_op_fail(tinker__svc_op_t *op, const char *category,
                         const char *fmt, ...) {
  char text[TEXT_LEN];
  tinker__buf_t out;
  va_list args;
  va_start(args, fmt);
  vsnprintf(text, sizeof text, fmt, args);
  va_end(args);
  write_failure(op, &out, category, text);
  if (!op->redo) op->undone = !strcmp(category, "server");
  tinker__svc_op_complete(op, TINKER__SVC_OUTCOME_FAILED, TINKER__FORMAT_JSON,
                          &out, NULL, NULL, NULL);
}

/* Fails an op that is COMMITTING. Under the lock. */
static void commit_failure(tinker__svc_op_t *op, const char *category,
                           char text[TEXT_LEN]) {
  tinker__buf_t out;
  write_failure(op, &out, category, text);
  op->undone = !strcmp(category, "server");
  if (commit(op, TINKER__SVC_OUTCOME_FAILED, TINKER__FORMAT_JSON, &out, NULL,
             NULL, NULL) != 0) {
    postpone(op);
  }
}

void tinker__svc_op_fail_locked(tinker__svc_op_t *op, const char *category,
                                const char *fmt, ...) {
  char text[TEXT_LEN];
  va_list args;
  if (!tinker__svc_op_move(op, TINKER__SVC_OP_COMMITTING)) return;
  va_start(args, fmt);
  vsnprintf(text, sizeof text, fmt, args);
  va_end(args);
  commit_failure(op, category, text);
}

/* If op is of a model, it never had its turn. */
static void fail_postponed(tinker__svc_op_t *op) {
  char text[TEXT_LEN] = "out of memory for the result";
  const char *category = "server";
  if (op->model) {
    category = "user";
    snprintf(text, sizeof text,
             "waiting for seq_id %lld, and the session has ended",
             (long long)op->model->next_seq);
  } else if (tinker__svc_session_over(op->sampler->session)) {
    category = "user";
    snprintf(text, sizeof text, "canceled: the session has ended");
  }
  commit_failure(op, category, text);
}

void tinker__svc_ops_retry(tinker__svc_t *s) {
  tinker__svc_op_t *op = atomic_exchange(&s->postponed, NULL);
  while (op) {
    tinker__svc_op_t *next = op->postponed;
    fail_postponed(op);
    op = next;
  }
}
