/* sampling: sampling sessions and asample. HTTP thread; a finished generation
 * on the engine thread. */
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include <tinker/error.h>

#include "service/fault/fault.h"
#include "service/tinker/handlers.h"

#define MAX_ADAPTERS 8 /* in memory for samplers; more are in files */

/* --- Samplers ------------------------------------------------------------- */

int tinker__svc_sampler_add(tinker__svc_t *s, tinker__svc_sampler_t *p) {
  int rc = tinker__map_put(s->sampler_by_id, tinker__str(p->id), p, NULL);
  if (rc != 0) return rc;
  tinker__list_push_back(&s->samplers, &p->link);
  tinker__list_push_back(&p->session->samplers, &p->by_session);
  return 0;
}

void tinker__svc_sampler_free(tinker__svc_t *s, tinker__svc_sampler_t *p) {
  tinker__link_t *l;
  if (!p) return;
  while ((l = tinker__list_pop_front(&p->ops)) != NULL) {
    tinker__svc_op_free(TINKER__CONTAINER(l, tinker__svc_op_t, all));
  }
  tinker__mem_free(s->mem, p->id);
  tinker__mem_free(s->mem, p->path);
  tinker__mem_free(s->mem, p);
}

int tinker__svc_sampler_new(tinker__svc_sampler_t **out, tinker__svc_t *s,
                            tinker__svc_session_t *session, int64_t seq,
                            char *why, size_t why_len) {
  char id[80];
  snprintf(id, sizeof id, "%s:sample:%lld", session->id, (long long)seq);
  if (tinker__map_get(s->sampler_by_id, tinker__str(id))) {
    return tinker__why(
        why, why_len, TINKER_EEXIST,
        "sampling_session_seq_id %lld of session %s was used before",
        (long long)seq, session->id);
  }
  tinker__svc_sampler_t *p = tinker__mem_zalloc(s->mem, sizeof *p);
  if (p) p->id = tinker__mem_strdup(s->mem, id);
  if (!p || !p->id) {
    tinker__mem_free(s->mem, p);
    return tinker__why(why, why_len, TINKER_ENOMEM, "out of memory");
  }
  tinker__list_init(&p->link);
  tinker__list_init(&p->by_session);
  tinker__list_init(&p->loaded);
  tinker__list_init(&p->ops);
  tinker__svc_ack_init(&p->ack);
  p->service = s;
  p->session = session;
  p->seq = seq;
  *out = p;
  return 0;
}

void tinker__svc_sampler_write(tinker__svc_write_t *w,
                               const tinker__svc_sampler_t *p) {
  tinker__svc_write_sql(w,
                        "INSERT INTO samplers(row, session, seq, digest, base,"
                        " path, checkpoint) VALUES(?, ?, ?, ?, ?, ?, ?)");
  tinker__svc_write_i64(w, p->row);
  tinker__svc_write_i64(w, p->session->row);
  tinker__svc_write_i64(w, p->seq);
  tinker__svc_write_blob(w, p->digest, sizeof p->digest);
  tinker__svc_write_text(w, p->base->name);
  tinker__svc_write_text(w, p->path);
  tinker__svc_write_i64(w, p->checkpoint);
}

/* --- create_sampling_session ---------------------------------------------- */

static void forget_sampler(tinker__svc_t *s, tinker__svc_sampler_t *p) {
  tinker__map_remove(s->sampler_by_id, tinker__str(p->id));
  tinker__list_remove(&p->link);
  tinker__list_remove(&p->by_session);
}

static void on_sampler_stored(void *user, int rc) {
  tinker__svc_sampler_t *p = user;
  tinker__svc_t *s = p->service;
  pthread_mutex_lock(&s->lock);
  if (rc == 0) {
    tinker__svc_ledger_other(s, "create_sampling_session", p->id);
    tinker__svc_ack_commit(s, &p->ack);
  } else {
    forget_sampler(s, p);
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
  if (*base && *base != c->model->base) {
    tinker__svc_reply_error(
        r, 400, "base_model '%s' differs from the checkpoint's '%s'",
        (*base)->name, c->model->base->name);
    return false;
  }
  *base = c->model->base;
  *checkpoint = c->row;
  return true;
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
      forget_sampler(s, p);
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

/* --- Generations ---------------------------------------------------------- */

void tinker__svc_sampler_keep(tinker__svc_sampler_t *p,
                              tinker__eng_adapter_t *adapter) {
  tinker__svc_t *s = p->service;
  if (!p->adapter) s->n_adapters++;
  p->adapter = adapter;
  tinker__list_remove(&p->loaded);
  tinker__list_push_back(&s->adapters, &p->loaded);
  if (s->n_adapters <= MAX_ADAPTERS) return;
  /* Those that sample from it hold it for themselves. */
  tinker__svc_sampler_t *old = TINKER__CONTAINER(
      tinker__list_pop_front(&s->adapters), tinker__svc_sampler_t, loaded);
  s->api->adapter_release(old->adapter);
  old->adapter = NULL;
  s->n_adapters--;
}

/* Engine thread: base and adapter of the sampler, the adapter loaded. One
 * whose checkpoint is gone samples no more, whether or not it is loaded: a
 * restart must not change the answer. */
static int prepare(tinker__eng_gen_t *gen, char *why, size_t why_len) {
  char dir[1200];
  tinker__svc_op_t *op = gen->user;
  tinker__svc_sampler_t *p = op->sampler;
  tinker__svc_t *s = op->service;
  if (tinker__svc_op_has(op, TINKER__FAULT_CRASH)) raise(SIGSEGV);
  gen->base = p->base->base;
  gen->adapter = p->adapter;
  if (!p->checkpoint) return 0;
  pthread_mutex_lock(&s->lock);
  bool there = tinker__svc_checkpoint_by_row(s, p->checkpoint) != NULL;
  pthread_mutex_unlock(&s->lock);
  if (!there) {
    return tinker__why(why, why_len, TINKER_ENOENT,
                       "the checkpoint %s was deleted",
                       p->path ? p->path : "of this sampling session");
  }
  if (!gen->adapter) {
    tinker__svc_checkpoint_dir(s, "checkpoints", p->checkpoint, dir,
                               sizeof dir);
    int rc = s->api->adapter_load(gen->base, dir, &gen->adapter, why, why_len);
    if (rc != 0) return rc;
  }
  tinker__svc_sampler_keep(p, gen->adapter);
  return 0;
}

static void fail_ended(tinker__svc_op_t *op) {
  tinker__svc_op_fail(op, "user", "canceled: the session has ended");
}

/* A result that has no room is the request's error: made once more after a
 * restart it would have no room again. */
static void complete(tinker__svc_op_t *op, const tinker__eng_gen_t *gen) {
  tinker__buf_t out;
  tinker__buf_init(&out, op->service->mem, op->service->max_result);
  int rc = tinker__svc_result_sample(&out, gen, op->work->target);
  if (rc == 0) rc = tinker__buf_error(&out);
  if (rc == 0) {
    tinker__svc_op_complete(op, TINKER__SVC_OP_DONE, TINKER__FORMAT_PROTO, &out,
                            NULL, NULL, NULL);
    return;
  }
  tinker__buf_free(&out);
  if (rc == TINKER_EOVERFLOW) {
    tinker__svc_op_fail(op, "user", "the result is larger than %zu bytes",
                        op->service->max_result);
  } else {
    tinker__svc_op_fail(op, "server", "out of memory for the result");
  }
}

static void on_generated(tinker__eng_gen_t *gen, int rc, const char *why) {
  tinker__svc_op_t *op = gen->user;
  pthread_mutex_lock(&op->service->lock);
  op->running = NULL;
  pthread_mutex_unlock(&op->service->lock);
  if (rc == TINKER_ECANCELED) {
    fail_ended(op);
  } else if (rc != 0) {
    bool user = rc == TINKER_EINVAL || rc == TINKER_ENOENT;
    tinker__svc_op_fail(op, user ? "user" : "server", "%s",
                        *why ? why : tinker_code_text(rc));
  } else {
    complete(op, gen);
  }
  tinker__eng_gen_free(gen);
}

void tinker__svc_sampler_kick(tinker__svc_op_t *op) {
  tinker__svc_t *s = op->service;
  tinker__eng_gen_t *gen = op->work ? op->work->gen : NULL;
  bool ended = op->sampler->session->ended_ms != 0;
  if (!gen || s->stopping || !s->scheduler) return; /* or it has been here */
  if (op->paused_until_ms && !ended) return;
  op->work->gen = NULL;
  if (ended) {
    tinker__eng_gen_free(gen);
    fail_ended(op);
    return;
  }
  if (op->crash_signal) {
    tinker__eng_gen_free(gen);
    tinker__svc_op_fail(op, "server",
                        "the engine crashed while this was sampled (signal %d)",
                        op->crash_signal);
    return;
  }
  op->running = gen;
  gen->user = op;
  gen->prepare = prepare;
  gen->done = on_generated;
  tinker__eng_scheduler_sample(s->scheduler, gen);
}

void tinker__svc_sampler_end(tinker__svc_sampler_t *p) {
  TINKER__LIST_EACH(l, tmp, &p->ops) {
    tinker__svc_op_t *op = TINKER__CONTAINER(l, tinker__svc_op_t, all);
    if (op->running) {
      atomic_store(&op->running->cancel, true);
    } else if (op->ack.durable) {
      tinker__svc_sampler_kick(op);
    }
  }
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
