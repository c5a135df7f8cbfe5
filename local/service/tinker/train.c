/* train: the numbered calls of a model on their way in. Checks them, recognises
 * a number that was used before, and writes the reply. HTTP thread, or a worker
 * for a large body. */
#include <stdio.h>
#include <string.h>

#include <tinker/error.h>

#include "base/show.h"
#include "service/tinker/handlers.h"
#include "wire/path.h"

/* --- Replies -------------------------------------------------------------- */

/* Writes the ids of a sample's sequences, "<request>:<i>", into the arena. */
static int sequence_ids(tinker__arena_t *a, const char *request_id, size_t n,
                        tinker__strs_t *out) {
  char id[260];
  const char **items = tinker__arena_array(a, n + 1, sizeof *items);
  if (!items) return TINKER_ENOMEM;
  for (size_t i = 0; i < n; i++) {
    snprintf(id, sizeof id, "%s:%zu", request_id, i);
    items[i] = tinker__arena_str(a, tinker__str(id));
    if (!items[i]) return TINKER_ENOMEM;
  }
  *out = (tinker__strs_t){items, n};
  return 0;
}

void tinker__svc_reply_future(tinker__svc_req_t *r, const tinker__svc_op_t *op,
                              size_t num_samples) {
  int rc = 0;
  tinker__arena_t a;
  tinker__accepted_t reply = {
      .request_id = op->request_id,
      .model_id = op->model ? op->model->id : NULL,
  };
  tinker__arena_init(&a, r->service->mem);
  if (op->kind == TINKER__SVC_OP_SAMPLE) {
    rc = sequence_ids(&a, op->request_id, num_samples,
                      &reply.sample_sequence_ids);
  }
  tinker__svc_reply_message(r, &tinker__accepted_msg, &reply);
  if (rc != 0) tinker__buf_fail(&r->reply, rc);
  tinker__arena_free(&a);
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
  return tinker__svc_ack_again(&op->ack, r, tinker__svc_op_logged(op));
}

/* --- Calls of a model ----------------------------------------------------- */

/* The model with this id, in a live session; NULL = r is answered. Under the
 * lock. */
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

/* A numbered call while it is being accepted. */
typedef struct {
  tinker__svc_call_t call;
  char model_id[200]; /* no model has a longer one */
  unsigned char digest[TINKER__SHA256_LEN];
  tinker__svc_model_t *model; /* its session counts the call in `arriving`;
                                 NULL = the model was not looked up yet */
  tinker__svc_work_t *work;   /* NULL = refused: the reply is in r */
  char *copy;                 /* of a large body, for the log */
} entry_t;

static void entry_free(tinker__svc_t *s, entry_t *e) {
  tinker__svc_work_free(e->work);
  tinker__svc_call_free(&e->call);
  tinker__mem_free(s->mem, e->copy);
}

/* Registers a call whose number no op has, or its rejection. Under the lock. */
static tinker__svc_handled_t register_call(tinker__svc_t *s,
                                           tinker__svc_req_t *r,
                                           tinker__svc_model_t *m, entry_t *e) {
  tinker__svc_op_t *op =
      tinker__svc_op_new(s, m->id, e->call.seq_id, e->call.kind);
  if (!op) return tinker__svc_reply_error(r, 503, "out of memory");
  op->model = m;
  memcpy(op->digest, e->digest, sizeof op->digest);
  if (e->work) {
    op->work = e->work;
    op->log_body = e->copy;
    e->work = NULL;
    e->copy = NULL;
    tinker__svc_reply_future(r, op, 0);
  } else {
    tinker__svc_op_move(op, TINKER__SVC_OP_REFUSING);
  }
  return tinker__svc_op_accept(s, r, op, tinker__svc_op_write_begin(op));
}

/* True, and r is answered, for a number that was used by a call whose result is
 * no longer kept. */
static bool is_spent(tinker__svc_req_t *r, const tinker__svc_model_t *m,
                     int64_t seq) {
  if (seq >= m->next_seq) return false;
  tinker__svc_reply_error(r, 409,
                          "seq_id %lld was used before: the next one is %lld",
                          (long long)seq, (long long)m->next_seq);
  return true;
}

/* Makes the checks of a load that need not wait for its turn. False: r is
 * answered. */
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
                            "(" TINKER__PATH_PREFIX "RUN/" TINKER__PATH_TRAINING
                            "/NAME)",
                            work->path);
  }
  return rc == 0;
}

/* The model of a call. It is looked up now if find_base has not done so. NULL:
 * r is answered. Under the lock. */
static tinker__svc_model_t *model_of(tinker__svc_t *s, tinker__svc_req_t *r,
                                     entry_t *e) {
  tinker__svc_model_t *m = e->model;
  if (!m) return live_model(s, r, tinker__str(e->model_id));
  e->model = NULL;
  return tinker__svc_session_arrive(s, r, m->session) ? m : NULL;
}

/* Makes the checks that need the state of the service. A call that fails them
 * loses its work, and r is answered. Under the lock. */
static void refuse(tinker__svc_t *s, tinker__svc_req_t *r,
                   tinker__svc_model_t *m, entry_t *e) {
  bool load = e->call.kind == TINKER__SVC_OP_LOAD;
  if (!e->work) return;
  if ((!load || may_load(s, r, e->call.seq_id, e->work)) &&
      !tinker__svc_price_refuses_call(m, e->work, r)) {
    return;
  }
  tinker__svc_work_free(e->work);
  e->work = NULL;
}

static tinker__svc_handled_t accept_locked(tinker__svc_t *s,
                                           tinker__svc_req_t *r, entry_t *e) {
  char id[240];
  int64_t seq = e->call.seq_id;
  tinker__svc_model_t *m = model_of(s, r, e);
  if (!m) return TINKER__ANSWERED;
  if (seq < 1 || seq > INT32_MAX) { /* number 0 is the creation */
    return tinker__svc_reply_error(
        r, 400, "seq_id must be from 1 to 2147483647, not %lld",
        (long long)seq);
  }
  snprintf(id, sizeof id, "%s:%lld", m->id, (long long)seq);
  tinker__svc_op_t *op = tinker__map_get(s->op_by_id, tinker__str(id));
  if (op && !tinker__svc_op_refused(op)) {
    return tinker__svc_op_again(r, op, e->call.kind, e->digest, 0);
  }
  if (op &&
      (e->work || memcmp(op->digest, e->digest, sizeof op->digest) != 0)) {
    return tinker__svc_reply_error(
        r, 409, "%s was used by a call that was rejected", op->request_id);
  }
  if (op) return tinker__svc_ack_again(&op->ack, r, tinker__svc_op_logged(op));
  if (is_spent(r, m, seq)) return TINKER__ANSWERED;
  if (tinker__svc_model_is_parked(m, r)) return TINKER__ANSWERED;
  refuse(s, r, m, e);
  return register_call(s, r, m, e);
}

/* Refuses a name with characters that act on a terminal or are invisible there.
 * Only new calls are checked: the log may have such a name from an earlier
 * version. */
static int check_new_name(entry_t *e) {
  tinker__svc_work_t *w = e->work;
  if (!w->name || !tinker__has_hidden(tinker__str(w->name))) return 0;
  tinker__svc_work_free(w);
  e->work = NULL;
  return tinker__why(e->call.why, sizeof e->call.why, TINKER_EINVAL,
                     "path must be a checkpoint name without control "
                     "characters and marks of direction");
}

/* Sets the digest of a call. A pass has that of its decoded message, or, if it
 * was refused and its meaning is not known, of its bytes. Other calls have one
 * of their JSON text's content, which reads the body again: stores hold such
 * digests, and these bodies are small. */
static int digest_call(tinker__svc_t *s, entry_t *e, tinker__str_t body) {
  bool all = e->call.kind == TINKER__SVC_OP_SAVE_EXTERNAL;
  if (e->call.kind != TINKER__SVC_OP_FORWARD_BACKWARD) {
    return tinker__svc_body_digest(
        s->mem, body, all ? NULL : "sampling_session_seq_id", e->digest);
  }
  if (!e->work) return tinker__sha256(body.ptr, body.len, e->digest);
  memcpy(e->digest, e->work->digest, sizeof e->digest);
  return 0;
}

/* Finds the base model that a pass is checked against, and counts the pass in
 * session.arriving. False: r is answered. */
static bool find_base(tinker__svc_t *s, tinker__svc_req_t *r, entry_t *e,
                      tinker__svc_base_model_t **base) {
  bool pass = e->call.kind == TINKER__SVC_OP_FORWARD_BACKWARD;
  if (!pass || e->call.rc) return true;
  tinker__svc_lock(s);
  tinker__svc_model_t *m = live_model(s, r, tinker__str(e->model_id));
  if (m) {
    e->model = m;
    m->session->arriving++;
    *base = m->base;
  }
  tinker__svc_unlock(s);
  return m != NULL;
}

/* Checks a call and makes its work, digest and copy. Fails with the code of the
 * refusal; TINKER_EBUSY says that there is no memory for it now, and r is
 * answered. Without the lock. */
static int make_work(tinker__svc_t *s, tinker__svc_req_t *r, entry_t *e,
                     tinker__svc_base_model_t *base, int *status) {
  tinker__svc_call_t *c = &e->call;
  const tinker__svc_terms_t terms = {
      .base = base,
      .max_tokens = s->config.max_tokens,
  };
  int rc = c->rc;
  *status = rc == TINKER_EINVAL ? 400 : rc == TINKER_ENOTSUP ? 404 : 422;
  if (rc == 0) {
    rc = tinker__svc_work_take(&e->work, c, &terms, status, c->why,
                               sizeof c->why);
  }
  if (rc == 0 && !tinker__svc_body_decoded(r, e->work->arena.used)) {
    return TINKER_EBUSY;
  }
  if (rc == 0) rc = check_new_name(e);
  if (rc != TINKER_ENOMEM && digest_call(s, e, tinker__buf_str(&r->body))) {
    rc = TINKER_ENOMEM;
  }
  if (rc == 0 && r->body.len > s->large) {
    e->copy = tinker__mem_strndup(s->mem, r->body.data, r->body.len);
    if (!e->copy) rc = TINKER_ENOMEM;
  }
  return rc;
}

/* Accepts a call that has a head. */
static tinker__svc_handled_t accept_call(tinker__svc_t *s, tinker__svc_req_t *r,
                                         entry_t *e) {
  int status;
  tinker__svc_base_model_t *base = NULL;
  tinker__svc_handled_t h = TINKER__ANSWERED;
  snprintf(e->model_id, sizeof e->model_id, "%s", e->call.model_id);
  if (!find_base(s, r, e, &base)) return h;
  int rc = make_work(s, r, e, base, &status);
  tinker__svc_lock(s);
  if (rc == TINKER_ENOMEM || rc == TINKER_EBUSY) {
    if (e->model) e->model->session->arriving--;
    if (rc == TINKER_ENOMEM) tinker__svc_reply_error(r, 503, "out of memory");
  } else {
    if (rc != 0) tinker__svc_reply_error(r, status, "%s", e->call.why);
    h = accept_locked(s, r, e);
  }
  tinker__svc_unlock(s);
  return h;
}

/* Accepts a call whose body was read, or refuses one without a head. */
static tinker__svc_handled_t accept_read(tinker__svc_t *s, tinker__svc_req_t *r,
                                         entry_t *e) {
  const tinker__svc_call_t *c = &e->call;
  if (c->rc == TINKER_ENOMEM || c->head != TINKER__HEAD_READ) {
    return tinker__svc_reply_why(r, c->rc, 422, c->why);
  }
  if (!c->model_id || !c->has_seq_id) {
    return tinker__svc_reply_error(r, 422, "%s is required",
                                   c->model_id ? "seq_id" : "model_id");
  }
  return accept_call(s, r, e);
}

static void read_body(tinker__svc_t *s, tinker__svc_req_t *r, entry_t *e,
                      tinker__svc_op_kind_t kind) {
  memset(e, 0, sizeof *e);
  tinker__svc_call_read(&e->call, s->mem, kind,
                        r->body_proto ? TINKER__FORMAT_PROTO
                                      : TINKER__FORMAT_JSON,
                        tinker__buf_str(&r->body));
}

static tinker__svc_handled_t accept_json(tinker__svc_t *s, tinker__svc_req_t *r,
                                         tinker__svc_op_kind_t kind) {
  entry_t e;
  if (!tinker__svc_body_is_json(r)) return TINKER__ANSWERED;
  read_body(s, r, &e, kind);
  tinker__svc_handled_t h = accept_read(s, r, &e);
  entry_free(s, &e);
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

/* The call is not supported, but it has a number among the model's calls. The
 * number is used up, or the calls that follow would wait for it for ever. */
tinker__svc_handled_t
tinker__svc_handle_save_weights_external(tinker__svc_t *s,
                                         tinker__svc_req_t *r) {
  entry_t e;
  if (!tinker__svc_body_is_json(r)) return TINKER__ANSWERED;
  read_body(s, r, &e, TINKER__SVC_OP_SAVE_EXTERNAL);
  if (e.call.rc == 0) {
    e.call.rc = TINKER_ENOTSUP;
    snprintf(e.call.why, sizeof e.call.why,
             "save_weights_external is not offered by this service");
  }
  tinker__svc_handled_t h = accept_read(s, r, &e);
  entry_free(s, &e);
  return h;
}

tinker__svc_handled_t tinker__svc_handle_load_weights(tinker__svc_t *s,
                                                      tinker__svc_req_t *r) {
  entry_t e;
  tinker__svc_handled_t h = TINKER__ANSWERED;
  if (!tinker__svc_body_is_json(r)) return h;
  read_body(s, r, &e, TINKER__SVC_OP_LOAD);
  const tinker__svc_call_t *c = &e.call;
  if (c->head == TINKER__HEAD_READ && c->model_id && c->session_id) {
    tinker__svc_reply_error(r, 400,
                            "model_id (the load of a model) and "
                            "session_id (a new one) exclude each "
                            "other");
  } else if (c->rc == 0 && !c->model_id) {
    h = tinker__svc_handle_load_new(s, r, &e.call);
  } else if (c->rc != 0 && !c->model_id) {
    tinker__svc_reply_why(r, c->rc, 422, c->why);
  } else {
    h = accept_read(s, r, &e);
  }
  entry_free(s, &e);
  return h;
}

/* Refuses a body of `forward` with another input than forward_input, which is
 * never trained on. Like every refused call it uses up its number. */
static void check_forward(tinker__svc_call_t *c) {
  unsigned inputs = c->message.fb.inputs;
  if (c->rc == TINKER_ENOMEM || c->head == TINKER__HEAD_UNREAD) return;
  if (!(inputs & TINKER__FB_HAS_FORWARD)) {
    c->rc = tinker__why(c->why, sizeof c->why, TINKER_EPROTO,
                        "forward_input is required");
  } else if (inputs & TINKER__FB_HAS_BACKWARD) {
    c->rc = tinker__why(c->why, sizeof c->why, TINKER_EPROTO,
                        "forward_backward_input: has no place in forward");
  }
}

/* Reads and accepts a pass. forward: the path is `forward`, which takes JSON
 * only. */
static tinker__svc_handled_t accept_pass(tinker__svc_t *s, tinker__svc_req_t *r,
                                         bool forward) {
  entry_t e;
  read_body(s, r, &e, TINKER__SVC_OP_FORWARD_BACKWARD);
  if (forward) check_forward(&e.call);
  tinker__svc_handled_t h = accept_read(s, r, &e);
  entry_free(s, &e);
  return h;
}

tinker__svc_handled_t
tinker__svc_handle_forward_backward(tinker__svc_t *s, tinker__svc_req_t *r) {
  return accept_pass(s, r, false);
}

tinker__svc_handled_t tinker__svc_handle_forward(tinker__svc_t *s,
                                                 tinker__svc_req_t *r) {
  if (!tinker__svc_body_is_json(r)) return TINKER__ANSWERED;
  return accept_pass(s, r, true);
}
