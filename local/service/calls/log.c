/* log: writes a new call to the store with its body. When it is stored, its
 * model or sampler may go on. HTTP thread or a worker; the commit on the store
 * thread.
 */
#include <tinker/error.h>

#include "service/calls/calls.h"

static void forget_op(tinker__svc_t *s, tinker__svc_op_t *op) {
  if (op->sampler) s->samples--;
  tinker__map_remove(s->op_by_id, tinker__str(op->request_id));
  tinker__list_remove(&op->link);
  tinker__list_remove(&op->all);
}

/* The log of m has changed: runs the calls that can run now, or, if the session
 * has ended, fails those that never will. */
static void go_on(tinker__svc_model_t *m) {
  if (tinker__svc_session_over(m->session)) {
    tinker__svc_model_end(m);
  } else {
    tinker__svc_model_kick(m);
  }
}

/* Called when the op is in the log. Under the lock. */
static void note_logged(tinker__svc_t *s, tinker__svc_op_t *op) {
  bool rejected = op->state == TINKER__SVC_OP_REFUSING;
  tinker__svc_op_move(op, rejected ? TINKER__SVC_OP_REJECTED
                                   : TINKER__SVC_OP_WAITING);
  tinker__svc_debug_op(op, rejected ? "rejected" : "accepted");
  tinker__svc_heard(op, rejected ? TINKER__SVC_REJECTED : TINKER__SVC_ACCEPTED);
  tinker__svc_ack_commit(s, &op->ack);
  if (op->model && op->work) tinker__svc_op_hold_work(op);
  if (op->model && op->seq == 0) {
    tinker__svc_model_move(op->model, TINKER__SVC_MODEL_IDLE);
  }
}

/* Called when the op could not be stored. Frees the op. Under the lock. */
static void note_lost(tinker__svc_t *s, tinker__svc_op_t *op) {
  forget_op(s, op);
  tinker__svc_ack_fail(s, &op->ack);
  if (op->model && op->seq == 0) {
    tinker__svc_model_forget(s, op->model);
  } else if (op->model) {
    go_on(op->model);
  }
  tinker__svc_op_free(op);
}

/* Called when an op is in the log, or could not be stored. Releasing the lock
 * between the two steps answers the client before the engine wakes; otherwise,
 * on a busy processor, the reply would wait for the engine. The op is still
 * there when the lock is taken again, since its result is committed by this
 * thread, the store thread. */
static void on_logged(void *user, int rc) {
  tinker__svc_op_t *op = user;
  tinker__svc_t *s = op->service;
  tinker__svc_lock(s);
  if (rc != 0) {
    note_lost(s, op);
    tinker__svc_unlock(s);
    return;
  }
  note_logged(s, op);
  tinker__svc_unlock(s);
  tinker__svc_lock(s);
  if (op->model) go_on(op->model);
  if (op->sampler) tinker__svc_sampler_kick(op);
  tinker__svc_unlock(s);
}

tinker__db_write_t *tinker__svc_op_write_begin(tinker__svc_op_t *op) {
  return tinker__db_write_new(op->service->store, on_logged, op);
}

/* Adds the body to the write. A copy that the handler made is given away, so
 * that a large body is not copied under the lock. */
static void write_body(tinker__db_write_t *w, tinker__svc_op_t *op,
                       tinker__str_t body) {
  if (!op->log_body) {
    tinker__db_write_blob(w, body.ptr, body.len);
    return;
  }
  tinker__db_write_take(w, op->log_body, body.len);
  op->log_body = NULL;
}

static void write_op(tinker__db_write_t *w, tinker__svc_op_t *op, int format,
                     tinker__str_t body) {
  tinker__db_write_sql(w,
                       "INSERT INTO requests(row, owner_kind, owner, seq, kind,"
                       " digest, format, seed, body, state)"
                       " VALUES(?, ?, ?, ?, ?, ?, ?, ?, ?, ?)");
  tinker__db_write_i64(w, op->row);
  tinker__db_write_i64(w, op->model ? 0 : 1);
  tinker__db_write_i64(w, op->model ? op->model->row : op->sampler->row);
  tinker__db_write_i64(w, op->seq);
  tinker__db_write_i64(w, op->kind);
  tinker__db_write_blob(w, op->digest, sizeof op->digest);
  tinker__db_write_i64(w, format);
  tinker__db_write_i64(w, op->seed);
  write_body(w, op, body);
  tinker__db_write_i64(w, op->state == TINKER__SVC_OP_REFUSING
                              ? TINKER__SVC_OUTCOME_REJECTED
                              : TINKER__SVC_OUTCOME_PENDING);
}

tinker__svc_handled_t tinker__svc_op_accept(tinker__svc_t *s,
                                            tinker__svc_req_t *r,
                                            tinker__svc_op_t *op,
                                            tinker__db_write_t *w) {
  op->row = tinker__svc_row(s);
  if (!w ||
      tinker__map_put(s->op_by_id, tinker__str(op->request_id), op, NULL)) {
    tinker__db_write_drop(w);
    tinker__svc_op_free(op);
    return tinker__svc_reply_error(r, 503, "out of memory");
  }
  if (!tinker__svc_op_refused(op)) {
    tinker__svc_op_move(op, TINKER__SVC_OP_LOGGING);
  }
  tinker__svc_accepting(op);
  if (op->model) {
    tinker__list_push_back(&op->model->ops, &op->all);
    tinker__svc_model_enqueue(op->model, op);
    op->model->used_ms = s->world->wall_ms(s->world->user);
  } else {
    tinker__list_push_back(&op->sampler->ops, &op->all);
    s->samples++;
  }
  /* The body of a rejected call is not needed, so it is not stored. */
  bool rejected = op->state == TINKER__SVC_OP_REFUSING;
  op->log_size = r->body.len;
  write_op(w, op, r->body_proto ? TINKER__FORMAT_PROTO : TINKER__FORMAT_JSON,
           rejected ? TINKER__STR("") : tinker__buf_str(&r->body));
  /* The write has a copy; a filter may let it be handled once more. */
  if (!r->site || !r->site->filter) tinker__buf_free(&r->body);
  tinker__list_push_back(&op->ack.waiters, &r->link);
  if (tinker__db_write_submit(w) != 0) {
    tinker__list_remove(&r->link);
    forget_op(s, op);
    tinker__svc_op_free(op);
    return tinker__svc_reply_error(r, 503, "out of memory");
  }
  return TINKER__PARKED;
}
