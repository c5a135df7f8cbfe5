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
  return tinker__svc_op_logged(op) ? TINKER__ANSWERED
                                   : tinker__svc_ack_wait(&op->ack, r);
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

/* Makes the op of a number that no op has. work is NULL when the call was
 * refused: r then holds the answer, and the op only uses the number up. Under
 * the lock. */
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

/* Checks of a load what can be checked before its turn. False: r is answered.
 */
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

/* A numbered call on its way in. digest is the digest of the decoded pass, or
 * else of the body. rc and why say why a body is refused; its number is used up
 * nevertheless. */
typedef struct {
  const char *model_id;
  int64_t seq;
  unsigned char digest[TINKER__SHA256_LEN];
  tinker__svc_work_in_t in;
  int rc;
  char why[400];
} call_t;

static tinker__svc_handled_t accept_locked(tinker__svc_t *s,
                                           tinker__svc_req_t *r,
                                           const call_t *c,
                                           tinker__svc_work_t **work) {
  char id[240];
  int64_t seq = c->seq;
  const unsigned char *digest = c->digest;
  tinker__svc_model_t *m = live_model(s, r, tinker__str(c->model_id));
  if (!m) return TINKER__ANSWERED;
  if (seq < 1 || seq > INT32_MAX) { /* number 0 is the creation */
    return tinker__svc_reply_error(
        r, 400, "seq_id must be from 1 to 2147483647, not %lld",
        (long long)seq);
  }
  snprintf(id, sizeof id, "%s:%lld", m->id, (long long)seq);
  tinker__svc_op_t *op = tinker__map_get(s->op_by_id, tinker__str(id));
  if (op && !tinker__svc_op_refused(op)) {
    return tinker__svc_op_again(r, op, c->in.kind, digest, 0);
  }
  if (op && (*work || memcmp(op->digest, digest, sizeof op->digest) != 0)) {
    return tinker__svc_reply_error(
        r, 409, "%s was used by a call that was rejected", op->request_id);
  }
  if (op || is_spent(r, m, seq)) return TINKER__ANSWERED;
  if (tinker__svc_model_is_parked(m, r)) return TINKER__ANSWERED;
  if (*work && c->in.kind == TINKER__SVC_OP_LOAD &&
      !may_load(s, r, seq, *work)) {
    tinker__svc_work_free(*work);
    *work = NULL;
  }
  if (*work && tinker__svc_price_refuses_call(m, *work, r)) {
    tinker__svc_work_free(*work);
    *work = NULL;
  }
  tinker__svc_work_t *given = *work;
  *work = NULL;
  return register_call(s, r, m, seq, digest, c->in.kind, given);
}

/* Refuses a name with characters that act on a terminal or are invisible there.
 * Only new calls are checked: the log may have such a name from an earlier
 * version. */
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

/* Takes the digest of a decoded pass; of a refused one, whose meaning is not
 * known, the digest of its bytes. */
static int digest_pass(call_t *c, const tinker__svc_work_t *work) {
  if (!work) return tinker__sha256(c->in.body.ptr, c->in.body.len, c->digest);
  memcpy(c->digest, work->digest, sizeof c->digest);
  return 0;
}

/* Checks a call whose head is known and registers it. */
static tinker__svc_handled_t accept_numbered(tinker__svc_t *s,
                                             tinker__svc_req_t *r, call_t *c) {
  int status = c->rc == TINKER_EINVAL ? 400 : 422, rc = c->rc;
  tinker__svc_work_t *work = NULL;
  /* Without its model the body can't be checked, so the call ends here, even if
   * the model becomes known meanwhile. */
  tinker__svc_lock(s);
  tinker__svc_model_t *m = live_model(s, r, tinker__str(c->model_id));
  c->in.base = m ? m->base : NULL;
  tinker__svc_unlock(s);
  if (!m) return TINKER__ANSWERED;
  if (rc == 0) {
    status = 400;
    rc = tinker__svc_work_parse(&work, s, &c->in, &status, c->why,
                                sizeof c->why);
  }
  if (rc == TINKER_ENOMEM) return tinker__svc_reply_why(r, rc, 503, c->why);
  if (work && !tinker__svc_body_decoded(r, work->arena.used)) {
    tinker__svc_work_free(work);
    return TINKER__ANSWERED;
  }
  if (rc == 0) rc = check_new_name(&work, c->why, sizeof c->why);
  if (c->in.kind == TINKER__SVC_OP_FORWARD_BACKWARD) {
    int hashed = digest_pass(c, work);
    if (hashed) {
      tinker__svc_work_free(work);
      return tinker__svc_reply_why(r, hashed, 503, "");
    }
  }
  tinker__svc_lock(s);
  if (rc != 0) tinker__svc_reply_error(r, status, "%s", c->why);
  tinker__svc_handled_t h = accept_locked(s, r, c, &work);
  tinker__svc_unlock(s);
  tinker__svc_work_free(work);
  return h;
}

/* Takes model and number of a message that was read. False: r is answered. */
static bool take_head(tinker__svc_req_t *r, call_t *c) {
  bool has_seq;
  const tinker__svc_message_t *m = c->in.message;
  switch (c->in.kind) {
  case TINKER__SVC_OP_OPTIM:
    c->model_id = m->optim.model_id;
    c->seq = m->optim.seq_id;
    has_seq = m->optim.has_seq_id;
    break;
  case TINKER__SVC_OP_SAVE:
    c->model_id = m->save.model_id;
    c->seq = m->save.seq_id;
    has_seq = m->save.has_seq_id;
    break;
  case TINKER__SVC_OP_SAVE_SAMPLER:
    c->model_id = m->save_sampler.model_id;
    c->seq = m->save_sampler.seq_id;
    has_seq = m->save_sampler.has_seq_id;
    break;
  default:
    c->model_id = m->load.model_id;
    c->seq = m->load.seq_id;
    has_seq = m->load.has_seq_id;
  }
  if (c->model_id && has_seq) return true;
  tinker__svc_reply_error(r, 422, "%s is required",
                          c->model_id ? "seq_id" : "model_id");
  return false;
}

/* Finds model and number in a body that could not be read as its message, to
 * use the number up. False: r is answered. */
static bool find_head(tinker__svc_req_t *r, tinker__arena_t *a, call_t *c) {
  char why[300];
  tinker__call_head_t head;
  int rc = tinker__message_decode(&tinker__call_head_msg, &head, a, c->in.body,
                                  why, sizeof why);
  c->model_id = head.model_id;
  c->seq = head.seq_id;
  if (rc != 0) tinker__svc_reply_why(r, rc, 422, why);
  return rc == 0;
}

/* Accepts a JSON call. c->rc says whether its body could be read. */
static tinker__svc_handled_t accept_read(tinker__svc_t *s, tinker__svc_req_t *r,
                                         tinker__arena_t *a, call_t *c) {
  if (c->rc == TINKER_ENOMEM) {
    return tinker__svc_reply_why(r, c->rc, 503, c->why);
  }
  if (!(c->rc == 0 ? take_head(r, c) : find_head(r, a, c))) {
    return TINKER__ANSWERED;
  }
  if (tinker__svc_body_digest(s->mem, c->in.body, "sampling_session_seq_id",
                              c->digest)) {
    return tinker__svc_reply_error(r, 503, "out of memory");
  }
  return accept_numbered(s, r, c);
}

static void read_call(tinker__svc_t *s, tinker__svc_req_t *r,
                      tinker__arena_t *a, tinker__svc_message_t *m, call_t *c,
                      tinker__svc_op_kind_t kind) {
  *c = (call_t){.in = {
                    .kind = kind,
                    .body = tinker__buf_str(&r->body),
                    .message = m,
                }};
  tinker__arena_init(a, s->mem);
  c->rc = tinker__svc_work_read(kind, m, a, c->in.body, c->why, sizeof c->why);
}

static tinker__svc_handled_t accept_json(tinker__svc_t *s, tinker__svc_req_t *r,
                                         tinker__svc_op_kind_t kind) {
  tinker__arena_t a;
  tinker__svc_message_t m;
  call_t c;
  if (!tinker__svc_body_is_json(r)) return TINKER__ANSWERED;
  read_call(s, r, &a, &m, &c, kind);
  tinker__svc_handled_t h = accept_read(s, r, &a, &c);
  tinker__arena_free(&a);
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

/* The call is not supported, but its number is one of the model's. The number
 * is used up, or the calls that follow would wait for it for ever. */
tinker__svc_handled_t
tinker__svc_handle_save_weights_external(tinker__svc_t *s,
                                         tinker__svc_req_t *r) {
  tinker__arena_t a;
  tinker__call_head_t head;
  tinker__svc_work_t *none = NULL;
  if (tinker__svc_body_read(r, &a, &tinker__call_head_msg, &head) != 0) {
    return TINKER__ANSWERED;
  }
  tinker__svc_handled_t h;
  call_t c = {
      .model_id = head.model_id,
      .seq = head.seq_id,
      .in = {.kind = TINKER__SVC_OP_SAVE_EXTERNAL},
  };
  if (tinker__svc_body_digest(s->mem, tinker__buf_str(&r->body), NULL,
                              c.digest)) {
    h = tinker__svc_reply_error(r, 503, "out of memory");
  } else {
    tinker__svc_lock(s);
    tinker__svc_reply_error(
        r, 404, "save_weights_external is not offered by this service");
    h = accept_locked(s, r, &c, &none);
    tinker__svc_unlock(s);
  }
  tinker__arena_free(&a);
  return h;
}

/* Finds whom a load is about, also in a body that could not be read as a load.
 * False: r is answered. */
static bool find_subject(tinker__svc_req_t *r, tinker__arena_t *a,
                         const call_t *c, tinker__call_subject_t *out) {
  char why[300];
  if (c->rc == 0) {
    *out = (tinker__call_subject_t){
        .model_id = c->in.message->load.model_id,
        .session_id = c->in.message->load.session_id,
    };
    return true;
  }
  int rc = tinker__message_decode(&tinker__call_subject_msg, out, a, c->in.body,
                                  why, sizeof why);
  if (rc != 0) tinker__svc_reply_why(r, rc, 422, why);
  return rc == 0;
}

tinker__svc_handled_t tinker__svc_handle_load_weights(tinker__svc_t *s,
                                                      tinker__svc_req_t *r) {
  tinker__arena_t a;
  tinker__svc_message_t m;
  tinker__call_subject_t about;
  call_t c;
  tinker__svc_handled_t h = TINKER__ANSWERED;
  if (!tinker__svc_body_is_json(r)) return h;
  read_call(s, r, &a, &m, &c, TINKER__SVC_OP_LOAD);
  if (find_subject(r, &a, &c, &about)) {
    if (about.model_id && about.session_id) {
      tinker__svc_reply_error(r, 400,
                              "model_id (the load of a model) and "
                              "session_id (a new one) exclude each "
                              "other");
    } else if (about.model_id) {
      h = accept_read(s, r, &a, &c);
    } else if (c.rc != 0) {
      tinker__svc_reply_why(r, c.rc, 422, c.why);
    } else {
      h = tinker__svc_handle_load_new(s, r, &m);
    }
  }
  tinker__arena_free(&a);
  return h;
}

tinker__svc_handled_t
tinker__svc_handle_forward_backward(tinker__svc_t *s, tinker__svc_req_t *r) {
  tinker__svc_head_t head;
  call_t c = {
      .in = {
          .kind = TINKER__SVC_OP_FORWARD_BACKWARD,
          .format = r->body_proto ? TINKER__FORMAT_PROTO : TINKER__FORMAT_JSON,
          .body = tinker__buf_str(&r->body),
          .max_tokens = s->config.max_tokens,
      }};
  int rc = tinker__svc_work_fb_head(s->mem, c.in.body, c.in.format, &head,
                                    c.why, sizeof c.why);
  if (rc != 0) return tinker__svc_reply_why(r, rc, 422, c.why);
  c.model_id = head.model_id;
  c.seq = head.seq;
  return accept_numbered(s, r, &c);
}

/* The pass without gradients, in the form that JSON clients use. The decoder
 * never trains on forward_input; forward_backward_input, which it would train
 * on, is refused here. */
tinker__svc_handled_t tinker__svc_handle_forward(tinker__svc_t *s,
                                                 tinker__svc_req_t *r) {
  tinker__arena_t a;
  tinker__forward_t m;
  if (tinker__svc_body_read(r, &a, &tinker__forward_msg, &m) != 0) {
    return TINKER__ANSWERED;
  }
  tinker__arena_free(&a);
  if (m.forward_backward_input) {
    return tinker__svc_reply_error(
        r, 422, "forward_backward_input: has no place in forward");
  }
  return tinker__svc_handle_forward_backward(s, r);
}
