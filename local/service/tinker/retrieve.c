/* future: results of numbered calls: stored first, then told. HTTP thread
 * (polls), engine thread (completion), store thread (commit), timer. */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <tinker/error.h>

#include "service/fault/fault.h"
#include "service/http/http.h"
#include "service/parse/body.h"
#include "service/parse/work.h"
#include "service/tinker/handlers.h"

/* --- Ops ------------------------------------------------------------------ */

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

void tinker__svc_op_free(tinker__svc_op_t *op) {
  if (!op) return;
  tinker__list_remove(&op->paused);
  tinker__mem_t *mem = op->service->mem;
  tinker__svc_work_free(op->work);
  tinker__mem_free(mem, op->log_body);
  tinker__mem_free(mem, op->request_id);
  tinker__mem_free(mem, op);
}

/* --- Answers to polls ----------------------------------------------------- */

/* Why the op does not run yet; false when nothing is wrong. Under the lock. */
static bool waiting_reason(const tinker__svc_op_t *op, char *out, size_t len) {
  const tinker__svc_model_t *m = op->model;
  if (!m || op->state != TINKER__SVC_OP_PENDING) return false;
  int64_t want = m->current ? m->current->seq + 1 : m->next_seq;
  TINKER__LIST_EACH(l, tmp, &m->pending) {
    const tinker__svc_op_t *p = TINKER__CONTAINER(l, tinker__svc_op_t, link);
    if (p->seq != want) break;
    if (p == op) return false;
    want++;
  }
  if (want >= op->seq) return false;
  snprintf(out, len, "waiting for seq_id %lld", (long long)want);
  return true;
}

static void answer_try_again(tinker__svc_req_t *r, const tinker__svc_op_t *op) {
  char gap[80];
  tinker__jsonw_t w;
  const char *state = "active", *reason = NULL;
  if (op->paused_until_ms) {
    state = op->fault->state ? op->fault->state : "paused_capacity";
    reason = op->fault->reason;
  } else if (waiting_reason(op, gap, sizeof gap)) {
    state = "paused_capacity";
    reason = gap;
  }
  tinker__svc_reply_json(r, &w);
  tinker__jsonw_begin_object(&w);
  tinker__jsonw_key(&w, "type");
  tinker__jsonw_cstr(&w, "try_again");
  tinker__jsonw_key(&w, "request_id");
  tinker__jsonw_cstr(&w, op->request_id);
  tinker__jsonw_key(&w, "queue_state");
  tinker__jsonw_cstr(&w, state);
  if (reason) {
    tinker__jsonw_key(&w, "queue_state_reason");
    tinker__jsonw_cstr(&w, reason);
  }
  tinker__jsonw_end_object(&w);
}

static void answer_result(tinker__svc_req_t *r, tinker__svc_op_kind_t kind,
                          int format, const void *data, size_t len) {
  if (format == TINKER__FORMAT_JSON) {
    tinker__svc_reply_bytes(r, 200, "application/json", data, len);
  } else if (r->accept_proto) {
    tinker__svc_reply_bytes(r, 200, "application/x-protobuf", data, len);
  } else {
    tinker__svc_reply_result_as_json(r, kind, data, len);
  }
}

/* A large result is announced first, to who asked for that: clients bound the
 * bytes of results that are under way. An error is told at once. */
static bool announces(const tinker__svc_req_t *r, const tinker__svc_op_t *op) {
  return r->allow_metadata && op->state == TINKER__SVC_OP_DONE &&
         op->result_size > (size_t)r->service->config.inline_result;
}

static void answer_metadata(tinker__svc_req_t *r, const tinker__svc_op_t *op) {
  tinker__jsonw_t w;
  tinker__svc_reply_json(r, &w);
  tinker__jsonw_begin_object(&w);
  tinker__jsonw_key(&w, "status");
  tinker__jsonw_cstr(&w, "complete_metadata");
  tinker__jsonw_key(&w, "response_payload_size");
  tinker__jsonw_u64(&w, op->result_size);
  tinker__jsonw_end_object(&w);
}

/* Takes a parked poll out of its lists. Under the lock. */
static void unpark(tinker__svc_req_t *r) {
  tinker__list_remove(&r->link);
  tinker__list_remove(&r->timer_link);
}

static void answer_polls(tinker__svc_op_t *op, int format, const void *data,
                         size_t len) {
  tinker__link_t *l;
  while ((l = tinker__list_first(&op->polls)) != NULL) {
    tinker__svc_req_t *r = TINKER__CONTAINER(l, tinker__svc_req_t, link);
    unpark(r);
    if (announces(r, op)) {
      answer_metadata(r, op);
    } else {
      answer_result(r, op->kind, format, data, len);
    }
    tinker__svc_req_resume(r);
  }
}

void tinker__svc_polls_expire(tinker__svc_t *s, int64_t now_ms) {
  tinker__link_t *l;
  while ((l = tinker__list_first(&s->polls)) != NULL) {
    tinker__svc_req_t *r = TINKER__CONTAINER(l, tinker__svc_req_t, timer_link);
    if (r->deadline_ms > now_ms) return;
    unpark(r);
    answer_try_again(r, r->op);
    tinker__svc_req_resume(r);
  }
}

void tinker__svc_polls_release(tinker__svc_t *s) {
  tinker__svc_polls_expire(s, INT64_MAX);
}

/* --- Completion ----------------------------------------------------------- */

typedef struct {
  tinker__svc_op_t *op;
  tinker__svc_op_state_t state;
  int format;
  const void *data; /* the write's */
  size_t len;
  void (*committed)(void *user);
  void *user;
} completion_t;

static void on_committed(void *user, int rc) {
  completion_t *c = user;
  tinker__svc_op_t *op = c->op;
  tinker__svc_t *s = op->service;
  if (rc != 0) {
    tinker__svc_fatal(s, "a result could not be stored");
  } else {
    pthread_mutex_lock(&s->lock);
    op->state = c->state;
    op->result_size = c->len;
    op->result_format = c->format;
    if (op->sampler) s->samples--;
    tinker__svc_ledger_op(op, c->state == TINKER__SVC_OP_DONE ? "applied"
                                                              : "failed");
    if (c->committed) c->committed(c->user);
    tinker__svc_work_free(op->work);
    op->work = NULL;
    answer_polls(op, c->format, c->data, c->len);
    pthread_mutex_unlock(&s->lock);
  }
  tinker__mem_free(s->mem, c->user);
  tinker__mem_free(s->mem, c);
}

/* The result of an op whose result is stored already: it must be the same. */
static void check_replay(tinker__svc_op_t *op, tinker__buf_t *data,
                         const unsigned char digest[TINKER__SHA256_LEN]) {
  tinker__svc_t *s = op->service;
  bool same = !memcmp(digest, op->result_digest, TINKER__SHA256_LEN);
  tinker__buf_free(data);
  if (!same && op->model) {
    pthread_mutex_lock(&s->lock);
    tinker__svc_model_break(
        op->model, "re-executing the log gave another result than before");
    pthread_mutex_unlock(&s->lock);
  }
  if (!same) {
    tinker__svc_log(s, "error", "replay_differs", "request_id", op->request_id,
                    NULL);
  }
}

void tinker__svc_op_complete(tinker__svc_op_t *op, tinker__svc_op_state_t state,
                             int format, tinker__buf_t *data,
                             void (*extra)(tinker__svc_write_t *w, void *user),
                             void (*committed)(void *user), void *user) {
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
    check_replay(op, data, digest);
    return;
  }
  completion_t *c = tinker__mem_zalloc(s->mem, sizeof *c);
  size_t len;
  char *block = tinker__buf_take(data, &len);
  tinker__svc_write_t *w =
      c ? tinker__svc_write_new(s->store, on_committed, c) : NULL;
  if (!w) {
    tinker__mem_free(s->mem, block);
    tinker__mem_free(s->mem, c);
    tinker__mem_free(s->mem, user);
    tinker__svc_fatal(s, "out of memory for a result");
    return;
  }
  *c = (completion_t){op, state, format, block, len, committed, user};
  tinker__svc_write_vital(w); /* later results may follow from this one */
  tinker__svc_write_sql(w, "UPDATE requests SET state = ?, result_format = ?,"
                           " result_digest = ?, result = ? WHERE row = ?");
  tinker__svc_write_i64(w, state);
  tinker__svc_write_i64(w, format);
  tinker__svc_write_blob(w, digest, sizeof digest);
  tinker__svc_write_take(w, block, len);
  tinker__svc_write_i64(w, op->row);
  if (op->sampler) { /* a model's body is kept until a snapshot */
    tinker__svc_write_sql(w, "UPDATE requests SET body = NULL WHERE row = ?");
    tinker__svc_write_i64(w, op->row);
  }
  if (extra) extra(w, user);
  if (tinker__svc_write_submit(w) != 0) {
    tinker__mem_free(s->mem, c);
    tinker__mem_free(s->mem, user);
    tinker__svc_fatal(s, "out of memory for a result");
  }
}

void tinker__svc_op_fail(tinker__svc_op_t *op, const char *category,
                         const char *fmt, ...) {
  char text[500];
  tinker__buf_t out;
  tinker__jsonw_t w;
  va_list args;
  va_start(args, fmt);
  vsnprintf(text, sizeof text, fmt, args);
  va_end(args);
  /* What is quoted may be cut inside a character; told it must be. */
  size_t length = strlen(text);
  while (length && !tinker__utf8_valid(text, length)) text[--length] = 0;
  tinker__buf_init(&out, op->service->mem, 4096);
  tinker__jsonw_init(&w, &out);
  tinker__jsonw_begin_object(&w);
  tinker__jsonw_key(&w, "error");
  tinker__jsonw_cstr(&w, text);
  tinker__jsonw_key(&w, "category");
  tinker__jsonw_cstr(&w, category);
  tinker__jsonw_end_object(&w);
  tinker__svc_op_complete(op, TINKER__SVC_OP_FAILED, TINKER__FORMAT_JSON, &out,
                          NULL, NULL, NULL);
}

/* --- retrieve_future ------------------------------------------------------ */

static void on_read(void *user, int rc, const void *data, size_t len,
                    int64_t format) {
  tinker__svc_req_t *r = user;
  if (rc == 0) {
    answer_result(r, r->kind, (int)format, data, len);
  } else if (rc == TINKER_ENOENT) {
    tinker__svc_reply_error(r, 410, "the result is no longer kept");
  } else {
    tinker__svc_reply_error(r, 500, "the result could not be read");
  }
  tinker__svc_req_resume(r);
}

/* An id that no future has: 410 when its model or sampler is known and its
 * results have been dropped. */
static tinker__svc_handled_t
answer_unknown(tinker__svc_t *s, tinker__svc_req_t *r, tinker__str_t id) {
  size_t cut = id.len;
  while (cut && id.ptr[cut - 1] != ':') cut--;
  tinker__str_t owner = {id.ptr, cut ? cut - 1 : 0};
  tinker__svc_model_t *m = tinker__map_get(s->model_by_id, owner);
  tinker__svc_sampler_t *p = tinker__map_get(s->sampler_by_id, owner);
  tinker__svc_session_t *session = m ? m->session : p ? p->session : NULL;
  if (session && session->purged) {
    return tinker__svc_reply_error(r, 410,
                                   "the session ended at least an hour "
                                   "ago: its results are no longer kept");
  }
  return tinker__svc_reply_error(r, 404, "request_id not found: %.*s",
                                 (int)(id.len < 200 ? id.len : 200), id.ptr);
}

static tinker__svc_handled_t park(tinker__svc_t *s, tinker__svc_req_t *r,
                                  tinker__svc_op_t *op) {
  r->op = op;
  r->deadline_ms = s->world->now_ms(s->world->user) + s->config.poll_ms;
  tinker__list_push_back(&op->polls, &r->link);
  tinker__list_push_back(&s->polls, &r->timer_link);
  pthread_cond_signal(&s->timer_wake);
  return TINKER__PARKED;
}

static tinker__svc_handled_t poll(tinker__svc_t *s, tinker__svc_req_t *r,
                                  tinker__str_t id) {
  tinker__svc_op_t *op = tinker__map_get(s->op_by_id, id);
  if (!op || !op->ack.durable) return answer_unknown(s, r, id);
  tinker__svc_session_t *n =
      op->model ? op->model->session : op->sampler->session;
  n->seen_ms = s->world->now_ms(s->world->user); /* somebody waits for it */
  if (tinker__svc_op_has(op, TINKER__FAULT_FORGET)) {
    return tinker__svc_reply_error(r, 410, "request %s is no longer known",
                                   op->request_id);
  }
  if (op->state == TINKER__SVC_OP_REJECTED) {
    return tinker__svc_reply_error(r, 404, "request %s was rejected",
                                   op->request_id);
  }
  if (tinker__svc_ends(s)) {
    answer_try_again(r, op);
    return TINKER__ANSWERED;
  }
  if (op->state == TINKER__SVC_OP_PENDING) return park(s, r, op);
  if (announces(r, op)) {
    answer_metadata(r, op);
    return TINKER__ANSWERED;
  }
  r->kind = op->kind;
  if (tinker__svc_store_read_result(s->store, op->row, on_read, r) != 0) {
    return tinker__svc_reply_error(r, 503, "out of memory");
  }
  return TINKER__PARKED;
}

tinker__svc_handled_t tinker__svc_handle_retrieve_future(tinker__svc_t *s,
                                                         tinker__svc_req_t *r) {
  tinker__svc_body_t b;
  tinker__str_t id = TINKER__STR("");
  const tinker__svc_field_t fields[] = {
      {"request_id", TINKER__FIELD_STR, true, &id, NULL},
      {"allow_metadata_only", TINKER__FIELD_BOOL, false, &r->allow_metadata,
       NULL},
  };
  if (tinker__svc_body_read(&b, r, fields, 2) != 0) return TINKER__ANSWERED;
  pthread_mutex_lock(&s->lock);
  tinker__svc_handled_t h = poll(s, r, id);
  pthread_mutex_unlock(&s->lock);
  tinker__svc_body_done(&b);
  return h;
}
