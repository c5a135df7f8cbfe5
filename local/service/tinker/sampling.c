/* sampling: sampling sessions and asample on their way in. HTTP thread, or a
 * worker for a large body; acknowledgements on the store thread. */
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include <tinker/error.h>

#include "service/tinker/handlers.h"
#include "wire/path.h"

/* --- create_sampling_session ---------------------------------------------- */

static void on_sampler_stored(void *user, int rc) {
  tinker__svc_sampler_t *p = user;
  tinker__svc_t *s = p->service;
  tinker__svc_lock(s);
  if (rc == 0) {
    tinker__svc_other(s, "create_sampling_session", p->id);
    p->durable = true;
    tinker__svc_ack_commit(s, &p->ack);
  } else {
    tinker__svc_sampler_forget(s, p);
    tinker__svc_ack_fail(s, &p->ack);
    tinker__svc_sampler_free(s, p);
  }
  tinker__svc_unlock(s);
}

static void reply_sampler(tinker__svc_req_t *r,
                          const tinker__svc_sampler_t *p) {
  tinker__create_sampling_reply_t reply = {p->id};
  tinker__svc_reply_message(r, &tinker__create_sampling_reply_msg, &reply);
}

/* Finds the base model and checkpoint that base_model and model_path name.
 * False: r is answered. */
static bool resolve(tinker__svc_t *s, tinker__svc_req_t *r,
                    const tinker__create_sampling_t *o,
                    tinker__svc_base_model_t **base, int64_t *checkpoint) {
  char why[300];
  tinker__svc_checkpoint_t *c;
  *checkpoint = 0;
  *base = NULL;
  if (o->base_model) {
    *base = tinker__svc_base_find(s, tinker__str(o->base_model));
    if (!*base) {
      tinker__svc_reply_error(r, 404, "base_model '%.200s' is not served here",
                              o->base_model);
      return false;
    }
  }
  if (*base && !tinker__svc_usable_base(*base, r)) return false;
  if (!o->model_path) return true;
  int rc = tinker__svc_checkpoint_lookup(s, tinker__str(o->model_path), &c, why,
                                         sizeof why);
  if (rc != 0) {
    tinker__svc_reply_error(r, rc == TINKER_ENOENT ? 404 : 400, "%s", why);
    return false;
  }
  if (c->kind != TINKER__CKPT_SAMPLER) {
    tinker__svc_reply_error(r, 400,
                            "model_path must be a sampler path "
                            "(" TINKER__PATH_PREFIX "RUN/" TINKER__PATH_SAMPLER
                            "/NAME), not a "
                            "training path");
    return false;
  }
  if (*base && !tinker__svc_base_same(*base, c->model->base)) {
    tinker__svc_reply_error(
        r, 400, "base_model '%s' differs from the checkpoint's '%s'",
        (*base)->name, c->model->base->name);
    return false;
  }
  *checkpoint = c->row;
  if (*base) return true;
  *base = c->model->base;
  return tinker__svc_usable_base(*base, r);
}

static int submit_sampler(tinker__svc_t *s, tinker__svc_sampler_t *p) {
  tinker__db_write_t *w = tinker__db_write_new(s->store, on_sampler_stored, p);
  if (w) tinker__svc_sampler_write(w, p);
  return tinker__db_write_submit(w);
}

/* Under the lock. */
static tinker__svc_handled_t open_sampler(tinker__svc_t *s,
                                          tinker__svc_req_t *r,
                                          const tinker__create_sampling_t *o,
                                          const unsigned char *digest) {
  char why[200], id[80];
  tinker__svc_base_model_t *base;
  tinker__svc_sampler_t *p;
  int64_t checkpoint;
  tinker__svc_session_t *n =
      tinker__svc_session_live(s, r, tinker__str(o->session_id));
  if (!n) return TINKER__ANSWERED;
  snprintf(id, sizeof id, "%s:sample:%lld", n->id,
           (long long)o->sampling_session_seq_id);
  p = tinker__map_get(s->sampler_by_id, tinker__str(id));
  if (p && memcmp(p->digest, digest, sizeof p->digest) != 0) {
    return tinker__svc_reply_error(r, 409,
                                   "sampling_session_seq_id %lld was used "
                                   "before with another content",
                                   (long long)o->sampling_session_seq_id);
  }
  if (!p) {
    if (!resolve(s, r, o, &base, &checkpoint)) return TINKER__ANSWERED;
    int rc = tinker__svc_sampler_new(&p, s, n, o->sampling_session_seq_id, why,
                                     sizeof why);
    if (rc != 0) return tinker__svc_reply_why(r, rc, 409, why);
    memcpy(p->digest, digest, sizeof p->digest);
    p->base = base;
    p->checkpoint = checkpoint;
    p->row = tinker__svc_row(s);
    if (o->model_path) p->path = tinker__mem_strdup(s->mem, o->model_path);
    if ((o->model_path && !p->path) || tinker__svc_sampler_add(s, p) != 0) {
      tinker__svc_sampler_free(s, p);
      return tinker__svc_reply_error(r, 503, "out of memory");
    }
    if (submit_sampler(s, p) != 0) {
      tinker__svc_sampler_forget(s, p);
      tinker__svc_sampler_free(s, p);
      return tinker__svc_reply_error(r, 503, "out of memory");
    }
  }
  reply_sampler(r, p);
  return tinker__svc_ack_again(&p->ack, r, p->durable);
}

tinker__svc_handled_t
tinker__svc_handle_create_sampling_session(tinker__svc_t *s,
                                           tinker__svc_req_t *r) {
  tinker__arena_t a;
  tinker__create_sampling_t o;
  unsigned char digest[TINKER__SHA256_LEN];
  if (tinker__svc_body_read(r, &a, &tinker__create_sampling_msg, &o) != 0) {
    return TINKER__ANSWERED;
  }
  tinker__svc_handled_t h;
  if (!o.base_model && !o.model_path) {
    h = tinker__svc_reply_error(r, 400, "base_model or model_path is required");
  } else if (o.sampling_session_seq_id < 0) {
    h = tinker__svc_reply_error(r, 400,
                                "sampling_session_seq_id must not be negative");
  } else if (tinker__svc_body_digest(s->mem, tinker__buf_str(&r->body), NULL,
                                     digest)) {
    h = tinker__svc_reply_error(r, 503, "out of memory");
  } else {
    tinker__svc_lock(s);
    h = open_sampler(s, r, &o, digest);
    tinker__svc_unlock(s);
  }
  tinker__arena_free(&a);
  return h;
}

tinker__svc_handled_t tinker__svc_handle_sampler_info(tinker__svc_t *s,
                                                      tinker__svc_req_t *r) {
  tinker__svc_lock(s);
  tinker__svc_sampler_t *p = tinker__map_get(s->sampler_by_id, r->capture[0]);
  if (p && p->durable) {
    tinker__sampler_reply_t reply = {p->id, p->base->name, p->path};
    tinker__svc_reply_message(r, &tinker__sampler_reply_msg, &reply);
  } else {
    tinker__svc_reply_error(r, 404, "sampler not found: %.*s",
                            (int)r->capture[0].len, r->capture[0].ptr);
  }
  tinker__svc_unlock(s);
  return TINKER__ANSWERED;
}

/* --- asample -------------------------------------------------------------- */

/* The sampler with this id, in a live session; NULL = r is answered. Under the
 * lock. */
static tinker__svc_sampler_t *
live_sampler(tinker__svc_t *s, tinker__svc_req_t *r, tinker__str_t id) {
  tinker__svc_sampler_t *p = tinker__map_get(s->sampler_by_id, id);
  if (!p || !p->durable) {
    tinker__svc_reply_error(r, 404, "sampling session not found: %.*s",
                            (int)(id.len < 160 ? id.len : 160), id.ptr);
    return NULL;
  }
  return tinker__svc_session_live(s, r, tinker__str(p->session->id)) ? p : NULL;
}

/* A sample while it is being accepted. */
typedef struct {
  tinker__svc_call_t call;
  uint64_t seed; /* drawn here, for a body that names none */
  tinker__svc_sampler_t *sampler;
  tinker__svc_work_t *work;
  char *copy; /* of a large body, for the log */
} entry_t;

static tinker__svc_handled_t accept_sample(tinker__svc_t *s,
                                           tinker__svc_req_t *r, entry_t *e) {
  char request[120];
  tinker__svc_sampler_t *p = e->sampler;
  if (!tinker__svc_session_arrive(s, r, p->session)) return TINKER__ANSWERED;
  snprintf(request, sizeof request, "%s:%lld", p->id,
           (long long)e->call.seq_id);
  tinker__svc_op_t *op = tinker__map_get(s->op_by_id, tinker__str(request));
  if (op) {
    return tinker__svc_op_again(r, op, TINKER__SVC_OP_SAMPLE, e->work->digest,
                                e->work->num_samples);
  }
  if (s->samples >= s->config.max_samples) {
    r->retry_after_s = 1;
    return tinker__svc_reply_error(r, 429,
                                   "%lld samples are under way, as many as "
                                   "--max-samples lets in",
                                   (long long)s->samples);
  }
  uint64_t price = e->work->price;
  if (!tinker__svc_share_take(&s->results, price, false)) {
    r->retry_after_s = 1;
    return tinker__svc_reply_error(
        r, 503,
        "needs %" PRIu64 " bytes of memory for its result, others use %" PRIu64
        " of %" PRIu64 ": send the same request again",
        price, atomic_load(&s->results.used), atomic_load(&s->results.limit));
  }
  op = tinker__svc_op_new(s, p->id, e->call.seq_id, TINKER__SVC_OP_SAMPLE);
  if (!op) {
    tinker__svc_share_give(&s->results, price);
    return tinker__svc_reply_error(r, 503, "out of memory");
  }
  op->result_held = price;
  memcpy(op->digest, e->work->digest, sizeof op->digest);
  op->sampler = p;
  op->seed = (int64_t)e->seed;
  op->work = e->work;
  op->log_body = e->copy;
  e->work = NULL;
  e->copy = NULL;
  tinker__svc_reply_future(r, op, op->work->num_samples);
  return tinker__svc_op_accept(s, r, op, tinker__svc_op_write_begin(op));
}

/* Looks the sampler up and counts the call in session.arriving. False: r is
 * answered. */
static bool enter(tinker__svc_t *s, tinker__svc_req_t *r, tinker__str_t id,
                  entry_t *e) {
  tinker__svc_lock(s);
  e->sampler = live_sampler(s, r, id);
  if (e->sampler) e->sampler->session->arriving++;
  tinker__svc_unlock(s);
  return e->sampler != NULL;
}

/* Checks a sample and makes its work. Fails with the code of the refusal;
 * TINKER_EBUSY says that there is no memory for it now, and r is answered.
 * Without the lock. */
static int make_work(tinker__svc_t *s, tinker__svc_req_t *r, entry_t *e,
                     int *status) {
  tinker__svc_call_t *c = &e->call;
  *status = c->rc == TINKER_EINVAL ? 400 : 422;
  if (c->rc) return c->rc;
  *status = 500;
  int rc = 0;
  if (!c->message.sample.params.has_seed) {
    rc = tinker__svc_draw_seed(s, &e->seed, c->why, sizeof c->why);
  }
  if (rc != 0) return rc;
  *status = 400;
  const tinker__svc_terms_t terms = {
      .base = e->sampler->base,
      .seed = (int64_t)e->seed,
      .max_tokens = s->config.max_tokens,
      .max_result = atomic_load(&s->results.limit),
  };
  rc =
      tinker__svc_work_take(&e->work, c, &terms, status, c->why, sizeof c->why);
  if (rc == 0 && !tinker__svc_body_decoded(r, e->work->arena.used)) {
    return TINKER_EBUSY;
  }
  if (rc == 0 && r->body.len > s->large) {
    e->copy = tinker__mem_strndup(s->mem, r->body.data, r->body.len);
    if (!e->copy) rc = TINKER_ENOMEM;
  }
  return rc;
}

static tinker__svc_handled_t sample(tinker__svc_t *s, tinker__svc_req_t *r,
                                    entry_t *e) {
  int status;
  tinker__svc_handled_t h = TINKER__ANSWERED;
  const tinker__sample_request_t *q = &e->call.message.sample;
  if (!enter(s, r, q->sampling_session_id, e)) return h;
  int rc = make_work(s, r, e, &status);
  tinker__svc_lock(s);
  if (rc == 0) {
    h = accept_sample(s, r, e);
  } else {
    e->sampler->session->arriving--;
    if (rc != TINKER_EBUSY) {
      tinker__svc_reply_why(r, rc, status, e->call.why);
    }
  }
  tinker__svc_unlock(s);
  return h;
}

tinker__svc_handled_t tinker__svc_handle_asample(tinker__svc_t *s,
                                                 tinker__svc_req_t *r) {
  entry_t e = {.seed = 0};
  tinker__svc_handled_t h = TINKER__ANSWERED;
  if (!tinker__svc_body_is_json(r)) return h;
  tinker__svc_call_read(&e.call, s->mem, TINKER__SVC_OP_SAMPLE,
                        TINKER__FORMAT_JSON, tinker__buf_str(&r->body));
  const tinker__sample_request_t *q = &e.call.message.sample;
  if (e.call.rc == TINKER_ENOMEM || e.call.head != TINKER__HEAD_READ) {
    tinker__svc_reply_why(r, e.call.rc, 422, e.call.why);
  } else if (!q->has_session_id || q->has_model) {
    tinker__svc_reply_error(r, 400,
                            "sampling_session_id is required; base_model and "
                            "model_path are not supported here");
  } else if (q->seq_id < 0) {
    tinker__svc_reply_error(r, 400,
                            "seq_id is required and must not be negative");
  } else {
    h = sample(s, r, &e);
  }
  tinker__svc_work_free(e.work);
  tinker__svc_call_free(&e.call);
  tinker__mem_free(s->mem, e.copy);
  return h;
}
