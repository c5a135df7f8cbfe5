/* sampling: sampling sessions and asample. HTTP thread; a finished generation
 * on the engine thread. */
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include <tinker/error.h>

#include "service/tinker/handlers.h"

/* --- create_sampling_session ---------------------------------------------- */

static void on_sampler_stored(void *user, int rc) {
  tinker__svc_sampler_t *p = user;
  tinker__svc_t *s = p->service;
  pthread_mutex_lock(&s->lock);
  if (rc == 0) {
    tinker__svc_other(s, "create_sampling_session", p->id);
    tinker__svc_ack_commit(s, &p->ack);
  } else {
    tinker__svc_sampler_forget(s, p);
    tinker__svc_ack_fail(s, &p->ack);
    tinker__svc_sampler_free(s, p);
  }
  pthread_mutex_unlock(&s->lock);
}

static void reply_sampler(tinker__svc_req_t *r,
                          const tinker__svc_sampler_t *p) {
  tinker__jsonw_t w;
  tinker__svc_reply_json(r, &w);
  tinker__jsonw_begin_object(&w);
  tinker__jsonw_key(&w, "type");
  tinker__jsonw_cstr(&w, "create_sampling_session");
  tinker__jsonw_key(&w, "sampling_session_id");
  tinker__jsonw_cstr(&w, p->id);
  tinker__jsonw_end_object(&w);
}

typedef struct {
  tinker__str_t session, base, path;
  int64_t seq;
  bool has_base, has_path;
} open_t;

/* The model behind base_model and model_path; true, or r is answered. */
static bool resolve(tinker__svc_t *s, tinker__svc_req_t *r, const open_t *o,
                    tinker__svc_base_model_t **base, int64_t *checkpoint) {
  char why[300];
  tinker__svc_checkpoint_t *c;
  *checkpoint = 0;
  *base = o->has_base ? tinker__svc_base_find(s, o->base) : NULL;
  if (o->has_base && !*base) {
    tinker__svc_reply_error(r, 404, "base_model '%.*s' is not served here",
                            (int)(o->base.len < 200 ? o->base.len : 200),
                            o->base.ptr);
    return false;
  }
  if (*base && !tinker__svc_usable_base(*base, r)) return false;
  if (!o->has_path) return true;
  int rc = tinker__svc_checkpoint_lookup(s, o->path, &c, why, sizeof why);
  if (rc != 0) {
    tinker__svc_reply_error(r, rc == TINKER_ENOENT ? 404 : 400, "%s", why);
    return false;
  }
  if (c->kind != TINKER__CKPT_SAMPLER) {
    tinker__svc_reply_error(r, 400,
                            "model_path must be a sampler path "
                            "(tinker://RUN/sampler_weights/NAME), not a "
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
  tinker__svc_write_t *w =
      tinker__svc_write_new(s->store, on_sampler_stored, p);
  if (w) tinker__svc_sampler_write(w, p);
  return tinker__svc_write_submit(w);
}

/* Under the lock. */
static tinker__svc_handled_t open_sampler(tinker__svc_t *s,
                                          tinker__svc_req_t *r, const open_t *o,
                                          const unsigned char *digest) {
  char why[200], id[80];
  tinker__svc_base_model_t *base;
  tinker__svc_sampler_t *p;
  int64_t checkpoint;
  tinker__svc_session_t *n = tinker__svc_session_live(s, r, o->session);
  if (!n) return TINKER__ANSWERED;
  snprintf(id, sizeof id, "%s:sample:%lld", n->id, (long long)o->seq);
  p = tinker__map_get(s->sampler_by_id, tinker__str(id));
  if (p && memcmp(p->digest, digest, sizeof p->digest) != 0) {
    return tinker__svc_reply_error(r, 409,
                                   "sampling_session_seq_id %lld was used "
                                   "before with another content",
                                   (long long)o->seq);
  }
  if (!p) {
    if (!resolve(s, r, o, &base, &checkpoint)) return TINKER__ANSWERED;
    int rc = tinker__svc_sampler_new(&p, s, n, o->seq, why, sizeof why);
    if (rc != 0) return tinker__svc_reply_why(r, rc, 409, why);
    memcpy(p->digest, digest, sizeof p->digest);
    p->base = base;
    p->checkpoint = checkpoint;
    p->row = tinker__svc_row(s);
    if (o->has_path) {
      p->path = tinker__mem_strndup(s->mem, o->path.ptr, o->path.len);
    }
    if ((o->has_path && !p->path) || tinker__svc_sampler_add(s, p) != 0) {
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
  return tinker__svc_ack_wait(&p->ack, r);
}

tinker__svc_handled_t
tinker__svc_handle_create_sampling_session(tinker__svc_t *s,
                                           tinker__svc_req_t *r) {
  tinker__svc_body_t b;
  open_t o = {.seq = -1};
  unsigned char digest[TINKER__SHA256_LEN];
  const tinker__svc_field_t fields[] = {
      {"session_id", TINKER__FIELD_STR, true, &o.session, NULL},
      {"sampling_session_seq_id", TINKER__FIELD_I64, true, &o.seq, NULL},
      {"base_model", TINKER__FIELD_STR, false, &o.base, &o.has_base},
      {"model_path", TINKER__FIELD_STR, false, &o.path, &o.has_path}};
  if (tinker__svc_body_read(&b, r, fields, 4) != 0) return TINKER__ANSWERED;
  tinker__svc_handled_t h;
  if (!o.has_base && !o.has_path) {
    h = tinker__svc_reply_error(r, 400, "base_model or model_path is required");
  } else if (o.seq < 0) {
    h = tinker__svc_reply_error(r, 400,
                                "sampling_session_seq_id must not be negative");
  } else if (tinker__svc_body_digest(s->mem, tinker__buf_str(&r->body), NULL,
                                     digest)) {
    h = tinker__svc_reply_error(r, 503, "out of memory");
  } else {
    pthread_mutex_lock(&s->lock);
    h = open_sampler(s, r, &o, digest);
    pthread_mutex_unlock(&s->lock);
  }
  tinker__svc_body_done(&b);
  return h;
}

tinker__svc_handled_t tinker__svc_handle_sampler_info(tinker__svc_t *s,
                                                      tinker__svc_req_t *r) {
  tinker__jsonw_t w;
  pthread_mutex_lock(&s->lock);
  tinker__svc_sampler_t *p = tinker__map_get(s->sampler_by_id, r->capture[0]);
  if (p && p->ack.durable) {
    tinker__svc_reply_json(r, &w);
    tinker__jsonw_begin_object(&w);
    tinker__jsonw_key(&w, "sampler_id");
    tinker__jsonw_cstr(&w, p->id);
    tinker__jsonw_key(&w, "base_model");
    tinker__jsonw_cstr(&w, p->base->name);
    tinker__jsonw_key(&w, "model_path");
    tinker__jsonw_cstr(&w, p->path);
    tinker__jsonw_end_object(&w);
  } else {
    tinker__svc_reply_error(r, 404, "sampler not found: %.*s",
                            (int)r->capture[0].len, r->capture[0].ptr);
  }
  pthread_mutex_unlock(&s->lock);
  return TINKER__ANSWERED;
}

/* --- asample -------------------------------------------------------------- */

/* The sampler of a request, or NULL with the answer set. Under the lock. */
static tinker__svc_sampler_t *
live_sampler(tinker__svc_t *s, tinker__svc_req_t *r, tinker__str_t id) {
  tinker__svc_sampler_t *p = tinker__map_get(s->sampler_by_id, id);
  if (!p || !p->ack.durable) {
    tinker__svc_reply_error(r, 404, "sampling session not found: %.*s",
                            (int)(id.len < 160 ? id.len : 160), id.ptr);
    return NULL;
  }
  return tinker__svc_session_live(s, r, tinker__str(p->session->id)) ? p : NULL;
}

static tinker__svc_handled_t
accept_sample(tinker__svc_t *s, tinker__svc_req_t *r, tinker__str_t id,
              int64_t seq, int64_t seed, tinker__svc_work_t **work) {
  char request[120];
  tinker__svc_sampler_t *p = live_sampler(s, r, id);
  if (!p) return TINKER__ANSWERED;
  snprintf(request, sizeof request, "%s:%lld", p->id, (long long)seq);
  tinker__svc_op_t *op = tinker__map_get(s->op_by_id, tinker__str(request));
  if (op) {
    return tinker__svc_op_again(r, op, TINKER__SVC_OP_SAMPLE, (*work)->digest,
                                (*work)->num_samples);
  }
  if (s->samples >= s->config.max_samples) {
    r->retry_after_s = 1;
    return tinker__svc_reply_error(r, 429,
                                   "%lld samples are under way, as many as "
                                   "--max-samples lets in",
                                   (long long)s->samples);
  }
  op = tinker__svc_op_new(s, p->id, seq, TINKER__SVC_OP_SAMPLE);
  if (!op) return tinker__svc_reply_error(r, 503, "out of memory");
  memcpy(op->digest, (*work)->digest, sizeof op->digest);
  op->sampler = p;
  op->seed = seed;
  op->work = *work;
  *work = NULL;
  tinker__svc_reply_future(r, op, op->work->num_samples);
  return tinker__svc_op_accept(s, r, op, tinker__svc_op_write_begin(op));
}

static tinker__svc_handled_t sample(tinker__svc_t *s, tinker__svc_req_t *r,
                                    tinker__str_t id, int64_t seq) {
  char why[400];
  int status = 400;
  int64_t seed = 0;
  tinker__svc_work_t *work = NULL;
  pthread_mutex_lock(&s->lock);
  tinker__svc_sampler_t *p = live_sampler(s, r, id);
  pthread_mutex_unlock(&s->lock);
  if (!p) return TINKER__ANSWERED;
  int rc = s->world->random(s->world->user, &seed, sizeof seed);
  tinker__svc_work_in_t in = {
      .kind = TINKER__SVC_OP_SAMPLE,
      .base = p->base,
      .body = tinker__buf_str(&r->body),
      .seed = seed,
      .max_tokens = s->config.max_tokens,
  };
  if (rc == 0) {
    rc = tinker__svc_work_parse(&work, s, &in, &status, why, sizeof why);
  }
  if (rc != 0) return tinker__svc_reply_why(r, rc, status, why);
  pthread_mutex_lock(&s->lock);
  tinker__svc_handled_t h = accept_sample(s, r, id, seq, seed, &work);
  pthread_mutex_unlock(&s->lock);
  tinker__svc_work_free(work);
  return h;
}

tinker__svc_handled_t tinker__svc_handle_asample(tinker__svc_t *s,
                                                 tinker__svc_req_t *r) {
  tinker__svc_body_t b;
  tinker__str_t id = TINKER__STR(""), other;
  int64_t seq = -1;
  bool has_id = false, has_base = false, has_path = false;
  const tinker__svc_field_t fields[] = {
      {"sampling_session_id", TINKER__FIELD_STR, false, &id, &has_id},
      {"seq_id", TINKER__FIELD_I64, false, &seq, NULL},
      {"base_model", TINKER__FIELD_STR, false, &other, &has_base},
      {"model_path", TINKER__FIELD_STR, false, &other, &has_path}};
  if (tinker__svc_body_read(&b, r, fields, 4) != 0) return TINKER__ANSWERED;
  tinker__svc_handled_t h;
  if (!has_id || has_base || has_path) {
    h = tinker__svc_reply_error(
        r, 400,
        "sampling_session_id is required; base_model and "
        "model_path are not supported here");
  } else if (seq < 0) {
    h = tinker__svc_reply_error(r, 400,
                                "seq_id is required and must not be negative");
  } else {
    h = sample(s, r, id, seq);
  }
  tinker__svc_body_done(&b);
  return h;
}
