/* train: the numbered calls of a model on their way in: the same number twice,
 * checks, the reply. HTTP thread. */
#include <stdio.h>
#include <string.h>

#include <tinker/error.h>

#include "base/show.h"
#include "service/fault/fault.h"
#include "service/tinker/handlers.h"

/* --- Replies -------------------------------------------------------------- */

static void write_sequence_ids(tinker__jsonw_t *w, const char *request_id,
                               size_t n) {
  char id[260];
  tinker__jsonw_key(w, "sample_sequence_ids");
  tinker__jsonw_begin_array(w);
  for (size_t i = 0; i < n; i++) {
    snprintf(id, sizeof id, "%s:%zu", request_id, i);
    tinker__jsonw_cstr(w, id);
  }
  tinker__jsonw_end_array(w);
}

void tinker__svc_reply_future(tinker__svc_req_t *r, const tinker__svc_op_t *op,
                              size_t num_samples) {
  tinker__jsonw_t w;
  tinker__svc_reply_json(r, &w);
  tinker__jsonw_begin_object(&w);
  tinker__jsonw_key(&w, "request_id");
  tinker__jsonw_cstr(&w, op->request_id);
  if (op->model) {
    tinker__jsonw_key(&w, "model_id");
    tinker__jsonw_cstr(&w, op->model->id);
  }
  if (op->kind == TINKER__SVC_OP_SAMPLE) {
    write_sequence_ids(&w, op->request_id, num_samples);
  }
  tinker__jsonw_end_object(&w);
}

tinker__svc_handled_t tinker__svc_op_again(tinker__svc_req_t *r,
                                           tinker__svc_op_t *op,
                                           tinker__svc_op_kind_t kind,
                                           const unsigned char *digest,
                                           size_t num_samples) {
  if (op->kind != kind || memcmp(op->digest, digest, sizeof op->digest) != 0) {
    return tinker__svc_reply_error(
        r, 409, "%s was used before with another content", op->request_id);
  }
  tinker__svc_reply_future(r, op, num_samples);
  return tinker__svc_ack_wait(&op->ack, r);
}

/* --- Calls of a model ----------------------------------------------------- */

/* The live model of a call, or NULL with the answer set. Under the lock. */
static tinker__svc_model_t *live_model(tinker__svc_t *s, tinker__svc_req_t *r,
                                       tinker__str_t id) {
  tinker__svc_model_t *m = tinker__svc_model_find(s, id);
  if (!m) {
    tinker__svc_reply_error(r, 404, "model not found: %.*s",
                            (int)(id.len < 160 ? id.len : 160), id.ptr);
    return NULL;
  }
  return tinker__svc_session_live(s, r, tinker__str(m->session->id)) ? m : NULL;
}

/* A number that no op has: registers the call, or its rejection. Under the
 * lock; work is NULL when the body was refused (r holds the answer). */
static tinker__svc_handled_t
register_call(tinker__svc_t *s, tinker__svc_req_t *r, tinker__svc_model_t *m,
              int64_t seq, const unsigned char *digest,
              tinker__svc_op_kind_t kind, tinker__svc_work_t *work) {
  tinker__svc_op_t *op = tinker__svc_op_new(s, m->id, seq, kind);
  if (!op) {
    tinker__svc_work_free(work);
    return tinker__svc_reply_error(r, 503, "out of memory");
  }
  op->model = m;
  op->work = work;
  memcpy(op->digest, digest, sizeof op->digest);
  if (work) {
    tinker__svc_reply_future(r, op, 0);
  } else {
    op->state = TINKER__SVC_OP_REJECTED;
  }
  return tinker__svc_op_accept(s, r, op, tinker__svc_op_write_begin(op));
}

/* A number whose result is no longer kept. */
static bool is_spent(tinker__svc_req_t *r, const tinker__svc_model_t *m,
                     int64_t seq) {
  if (seq >= m->next_seq) return false;
  tinker__svc_reply_error(r, 409,
                          "seq_id %lld was used before: the next one is %lld",
                          (long long)seq, (long long)m->next_seq);
  return true;
}

/* What can be said of a load before its turn comes; else r is answered. */
static bool may_load(tinker__svc_t *s, tinker__svc_req_t *r, int64_t seq,
                     const tinker__svc_work_t *work) {
  char why[300];
  tinker__svc_checkpoint_t *c;
  if (seq != 1) {
    tinker__svc_reply_error(r, 400,
                            "LoadWeights is not permitted with seq_id "
                            "%lld: only as a model's first request",
                            (long long)seq);
    return false;
  }
  int rc = tinker__svc_checkpoint_lookup(s, tinker__str(work->path), &c, why,
                                         sizeof why);
  if (rc != 0) {
    tinker__svc_reply_error(r, rc == TINKER_ENOENT ? 404 : 400, "%s", why);
  } else if (c->kind != TINKER__CKPT_TRAINING) {
    rc = TINKER_EINVAL;
    tinker__svc_reply_error(r, 400,
                            "path: %s is not a training checkpoint "
                            "(tinker://RUN/weights/NAME)",
                            work->path);
  }
  return rc == 0;
}

static tinker__svc_handled_t
accept_locked(tinker__svc_t *s, tinker__svc_req_t *r, tinker__str_t model_id,
              int64_t seq, const unsigned char *digest,
              const tinker__svc_work_in_t *in, tinker__svc_work_t **work) {
  char id[240];
  tinker__svc_model_t *m = live_model(s, r, model_id);
  if (!m) return TINKER__ANSWERED;
  if (seq < 1 || seq > INT32_MAX) { /* 0 stands for the creation */
    return tinker__svc_reply_error(
        r, 400, "seq_id must be from 1 to 2147483647, not %lld",
        (long long)seq);
  }
  snprintf(id, sizeof id, "%s:%lld", m->id, (long long)seq);
  tinker__svc_op_t *op = tinker__map_get(s->op_by_id, tinker__str(id));
  if (op && op->state != TINKER__SVC_OP_REJECTED) {
    return tinker__svc_op_again(r, op, in->kind, digest, 0);
  }
  if (op && (*work || memcmp(op->digest, digest, sizeof op->digest) != 0)) {
    return tinker__svc_reply_error(
        r, 409, "%s was used by a call that was rejected", op->request_id);
  }
  if (op || is_spent(r, m, seq)) return TINKER__ANSWERED;
  if (tinker__svc_model_is_parked(m, r)) return TINKER__ANSWERED;
  if (*work && in->kind == TINKER__SVC_OP_LOAD && !may_load(s, r, seq, *work)) {
    tinker__svc_work_free(*work);
    *work = NULL;
  }
  if (*work && tinker__svc_price_refuses_call(m, *work, r)) {
    tinker__svc_work_free(*work);
    *work = NULL;
  }
  tinker__svc_work_t *given = *work;
  *work = NULL;
  return register_call(s, r, m, seq, digest, in->kind, given);
}

/* A name that would act on the terminal it is shown on, or hide in it. Asked of
 * new calls only: the log may have such a name from an earlier version. */
static int check_new_name(tinker__svc_work_t **work, char *why,
                          size_t why_len) {
  if (!(*work)->name || !tinker__has_hidden(tinker__str((*work)->name))) {
    return 0;
  }
  tinker__svc_work_free(*work);
  *work = NULL;
  return tinker__why(why, why_len, TINKER_EINVAL,
                     "path must be a checkpoint name without control "
                     "characters and marks of direction");
}

/* A call of a known model: idempotence, checks, order. digest is that of the
 * body as it came; a decoded message brings its own. */
static tinker__svc_handled_t
accept_numbered(tinker__svc_t *s, tinker__svc_req_t *r, tinker__str_t model_id,
                int64_t seq, const unsigned char *digest,
                tinker__svc_work_in_t *in) {
  char why[400];
  int status = 400, rc = 0;
  tinker__svc_work_t *work = NULL;
  /* Not there now: not for the rest of this call, whose body is unread. */
  pthread_mutex_lock(&s->lock);
  tinker__svc_model_t *m = live_model(s, r, model_id);
  in->base = m ? m->base : NULL;
  pthread_mutex_unlock(&s->lock);
  if (!m) return TINKER__ANSWERED;
  rc = tinker__svc_work_parse(&work, s, in, &status, why, sizeof why);
  if (rc == TINKER_ENOMEM) return tinker__svc_reply_why(r, rc, 503, why);
  if (rc == 0) rc = check_new_name(&work, why, sizeof why);
  unsigned char decoded[TINKER__SHA256_LEN];
  if (work && in->kind == TINKER__SVC_OP_FORWARD_BACKWARD) {
    memcpy(decoded, work->digest, sizeof decoded);
    digest = decoded;
  }
  pthread_mutex_lock(&s->lock);
  if (rc != 0) tinker__svc_reply_error(r, status, "%s", why);
  tinker__svc_handled_t h =
      accept_locked(s, r, model_id, seq, digest, in, &work);
  pthread_mutex_unlock(&s->lock);
  tinker__svc_work_free(work);
  return h;
}

/* The JSON calls: model_id and seq_id are read here, the rest by work. */
static tinker__svc_handled_t accept_json(tinker__svc_t *s, tinker__svc_req_t *r,
                                         tinker__svc_op_kind_t kind) {
  tinker__svc_body_t b;
  tinker__str_t model_id;
  int64_t seq = 0;
  unsigned char digest[TINKER__SHA256_LEN];
  const tinker__svc_field_t fields[] = {
      {"model_id", TINKER__FIELD_STR, true, &model_id, NULL},
      {"seq_id", TINKER__FIELD_I64, true, &seq, NULL}};
  tinker__svc_work_in_t in = {.kind = kind, .body = tinker__buf_str(&r->body)};
  if (tinker__svc_body_read(&b, r, fields, 2) != 0) return TINKER__ANSWERED;
  tinker__svc_handled_t h;
  if (tinker__svc_body_digest(s->mem, in.body, "sampling_session_seq_id",
                              digest)) {
    h = tinker__svc_reply_error(r, 503, "out of memory");
  } else {
    h = accept_numbered(s, r, model_id, seq, digest, &in);
  }
  tinker__svc_body_done(&b);
  return h;
}

tinker__svc_handled_t tinker__svc_handle_optim_step(tinker__svc_t *s,
                                                    tinker__svc_req_t *r) {
  return accept_json(s, r, TINKER__SVC_OP_OPTIM);
}

tinker__svc_handled_t tinker__svc_handle_save_weights(tinker__svc_t *s,
                                                      tinker__svc_req_t *r) {
  return accept_json(s, r, TINKER__SVC_OP_SAVE);
}

tinker__svc_handled_t
tinker__svc_handle_save_weights_for_sampler(tinker__svc_t *s,
                                            tinker__svc_req_t *r) {
  return accept_json(s, r, TINKER__SVC_OP_SAVE_SAMPLER);
}

/* Not offered, but its number is one of the model's: spent, or the calls that
 * follow would wait for it for ever. */
tinker__svc_handled_t
tinker__svc_handle_save_weights_external(tinker__svc_t *s,
                                         tinker__svc_req_t *r) {
  tinker__svc_body_t b;
  tinker__str_t model_id;
  int64_t seq = 0;
  unsigned char digest[TINKER__SHA256_LEN];
  tinker__svc_work_t *none = NULL;
  const tinker__svc_field_t fields[] = {
      {"model_id", TINKER__FIELD_STR, true, &model_id, NULL},
      {"seq_id", TINKER__FIELD_I64, true, &seq, NULL}};
  tinker__svc_work_in_t in = {
      .kind = TINKER__SVC_OP_SAVE_EXTERNAL,
      .body = tinker__buf_str(&r->body),
  };
  if (tinker__svc_body_read(&b, r, fields, 2) != 0) return TINKER__ANSWERED;
  tinker__svc_handled_t h;
  if (tinker__svc_body_digest(s->mem, in.body, NULL, digest)) {
    h = tinker__svc_reply_error(r, 503, "out of memory");
  } else {
    pthread_mutex_lock(&s->lock);
    tinker__svc_reply_error(
        r, 404, "save_weights_external is not offered by this service");
    h = accept_locked(s, r, model_id, seq, digest, &in, &none);
    pthread_mutex_unlock(&s->lock);
  }
  tinker__svc_body_done(&b);
  return h;
}

tinker__svc_handled_t tinker__svc_handle_load_weights(tinker__svc_t *s,
                                                      tinker__svc_req_t *r) {
  tinker__svc_body_t b;
  tinker__str_t model_id, session_id;
  bool by_model = false, by_session = false;
  const tinker__svc_field_t fields[] = {
      {"model_id", TINKER__FIELD_STR, false, &model_id, &by_model},
      {"session_id", TINKER__FIELD_STR, false, &session_id, &by_session}};
  if (tinker__svc_body_read(&b, r, fields, 2) != 0) return TINKER__ANSWERED;
  tinker__svc_body_done(&b);
  if (by_model && by_session) {
    return tinker__svc_reply_error(r, 400,
                                   "model_id (the load of a model) and "
                                   "session_id (a new one) exclude each "
                                   "other");
  }
  return by_model ? accept_json(s, r, TINKER__SVC_OP_LOAD)
                  : tinker__svc_handle_load_new(s, r);
}

tinker__svc_handled_t
tinker__svc_handle_forward_backward(tinker__svc_t *s, tinker__svc_req_t *r) {
  char why[400];
  tinker__svc_head_t head;
  unsigned char digest[TINKER__SHA256_LEN];
  tinker__svc_work_in_t in = {
      .kind = TINKER__SVC_OP_FORWARD_BACKWARD,
      .format = r->body_proto ? TINKER__FORMAT_PROTO : TINKER__FORMAT_JSON,
      .body = tinker__buf_str(&r->body),
      .max_tokens = s->config.max_tokens,
  };
  int rc = tinker__svc_work_fb_head(s->mem, in.body, in.format, &head, why,
                                    sizeof why);
  if (rc == 0) rc = tinker__sha256(in.body.ptr, in.body.len, digest);
  if (rc != 0) return tinker__svc_reply_why(r, rc, 422, why);
  return accept_numbered(s, r, tinker__str(head.model_id), head.seq, digest,
                         &in);
}

/* The pass without gradients as clients of the JSON form ask for it. What is
 * in forward_input is never trained on; anything else has no place here. */
tinker__svc_handled_t tinker__svc_handle_forward(tinker__svc_t *s,
                                                 tinker__svc_req_t *r) {
  tinker__svc_body_t b;
  tinker__str_t input;
  bool trains = false;
  const tinker__svc_field_t fields[] = {
      {"forward_input", TINKER__FIELD_RAW, true, &input, NULL},
      {"forward_backward_input", TINKER__FIELD_RAW, false, &input, &trains}};
  if (tinker__svc_body_read(&b, r, fields, 2) != 0) return TINKER__ANSWERED;
  tinker__svc_body_done(&b);
  if (trains) {
    return tinker__svc_reply_error(
        r, 422, "forward_backward_input: has no place in forward");
  }
  return tinker__svc_handle_forward_backward(s, r);
}
