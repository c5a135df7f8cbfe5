/* create: models come to be: create_model, load_weights with a session, and
 * get_info. HTTP thread. */
#include <stdio.h>
#include <string.h>

#include <tinker/error.h>

#include "service/tinker/handlers.h"

typedef struct {
  tinker__str_t session_id, base_model, metadata, lora, optimizer, path;
  int64_t seq;
  bool has_base, has_lora, has_optimizer, has_metadata;
} create_t;

/* Digest and number are the op's; m is the new model with its configuration.
 * Writes both rows. Under the lock. */
static tinker__svc_handled_t
accept_model(tinker__svc_t *s, tinker__svc_req_t *r, tinker__svc_model_t *m,
             tinker__svc_op_kind_t k, const unsigned char *digest,
             tinker__svc_work_t *work) {
  tinker__svc_op_t *op = tinker__svc_op_new(s, m->id, 0, k);
  if (!op || tinker__svc_model_add(s, m) != 0) {
    tinker__svc_op_free(op);
    tinker__svc_work_free(work);
    tinker__svc_model_free(s, m);
    return tinker__svc_reply_error(r, 503, "out of memory");
  }
  memcpy(op->digest, digest, sizeof op->digest);
  op->model = m;
  op->work = work;
  m->row = tinker__svc_row(s);
  m->created_ms = s->world->wall_ms(s->world->user);
  tinker__svc_write_t *w = tinker__svc_op_write_begin(op);
  tinker__svc_write_sql(
      w, "INSERT INTO models(row, session, seq, created_ms, base,"
         " metadata, rank, seed, train)"
         " VALUES(?, ?, ?, ?, ?, ?, ?, ?, ?)");
  tinker__svc_write_i64(w, m->row);
  tinker__svc_write_i64(w, m->session->row);
  tinker__svc_write_i64(w, m->seq);
  tinker__svc_write_i64(w, m->created_ms);
  tinker__svc_write_text(w, m->base->name);
  tinker__svc_write_text(w, m->metadata);
  tinker__svc_write_i64(w, m->lora.rank);
  tinker__svc_write_i64(w, (int64_t)m->lora.seed);
  tinker__svc_write_i64(w, (m->lora.train_attn ? 1 : 0) |
                               (m->lora.train_mlp ? 2 : 0) |
                               (m->lora.train_unembed ? 4 : 0));
  tinker__svc_reply_future(r, op, 0);
  tinker__svc_handled_t h = tinker__svc_op_accept(s, r, op, w);
  if (h == TINKER__ANSWERED) tinker__svc_model_forget(s, m);
  return h;
}

/* --- Checks --------------------------------------------------------------- */

static int check_lora(tinker__svc_t *s, tinker__str_t json,
                      tinker__eng_lora_config_t *out, bool *seeded, char *why,
                      size_t why_len) {
  tinker__svc_body_t b;
  int64_t rank = 0, seed = 0;
  *out = (tinker__eng_lora_config_t){
      .train_attn = true,
      .train_mlp = true,
      .train_unembed = true,
  };
  const tinker__svc_field_t fields[] = {
      {"rank", TINKER__FIELD_I64, true, &rank, NULL},
      {"seed", TINKER__FIELD_I64, false, &seed, seeded},
      {"train_attn", TINKER__FIELD_BOOL, false, &out->train_attn, NULL},
      {"train_mlp", TINKER__FIELD_BOOL, false, &out->train_mlp, NULL},
      {"train_unembed", TINKER__FIELD_BOOL, false, &out->train_unembed, NULL}};
  int rc = tinker__svc_body_parse(&b, s->mem, json, "lora_config.", fields, 5,
                                  why, why_len);
  tinker__svc_body_done(&b);
  if (rc != 0) return rc;
  if (rank <= 0) {
    return tinker__why(why, why_len, TINKER_EINVAL,
                       "lora_config.rank must be positive");
  }
  if (rank & (rank - 1)) {
    return tinker__why(why, why_len, TINKER_EINVAL,
                       "lora_config.rank must be a power of 2");
  }
  if (rank > 128) {
    return tinker__why(why, why_len, TINKER_EINVAL,
                       "lora_config.rank must be at most 128");
  }
  if (!out->train_attn && !out->train_mlp && !out->train_unembed) {
    return tinker__why(why, why_len, TINKER_EINVAL,
                       "At least one of train_unembed, train_mlp, or "
                       "train_attn must be True");
  }
  out->rank = (uint32_t)rank;
  out->seed = (uint64_t)seed;
  return 0;
}

static int check_metadata(const create_t *c, char *why, size_t why_len) {
  if (!c->has_metadata) return 0;
  if (!c->metadata.len || c->metadata.ptr[0] != '{') {
    return tinker__why(why, why_len, TINKER_EINVAL,
                       "user_metadata must be an object");
  }
  if (c->metadata.len <= TINKER__MAX_METADATA) return 0;
  return tinker__why(why, why_len, TINKER_EINVAL,
                     "user_metadata has %zu bytes and may have at most %d",
                     c->metadata.len, TINKER__MAX_METADATA);
}

/* --- create_model --------------------------------------------------------- */

/* An op that has this session's number already: answers; else NULL. */
static tinker__svc_op_t *existing(tinker__svc_t *s, tinker__str_t session,
                                  int64_t seq) {
  char id[160];
  snprintf(id, sizeof id, "%.*s:train:%lld:0",
           (int)(session.len < 40 ? session.len : 40), session.ptr,
           (long long)seq);
  return tinker__map_get(s->op_by_id, tinker__str(id));
}

static int fill_model(tinker__svc_t *s, tinker__svc_model_t *m,
                      const create_t *c) {
  if (!c->has_metadata) return 0;
  m->metadata = tinker__mem_strndup(s->mem, c->metadata.ptr, c->metadata.len);
  return m->metadata ? 0 : TINKER_ENOMEM;
}

bool tinker__svc_usable_base(const tinker__svc_base_model_t *base,
                             tinker__svc_req_t *r) {
  char why[400];
  int rc = tinker__svc_base_usable(base, why, sizeof why);
  if (rc == 0) return true;
  if (rc == TINKER_EBUSY) r->retry_after_s = 1;
  tinker__svc_reply_error(r, rc == TINKER_EBUSY ? 503 : 404, "%s", why);
  return false;
}

/* True when a model can be made from the base now; else r is answered. */
static bool trainable(const tinker__svc_base_model_t *base,
                      tinker__svc_req_t *r) {
  if (!tinker__svc_usable_base(base, r)) return false;
  if (base->backend->api->caps & TINKER_ENGINE_TRAINS) return true;
  tinker__svc_reply_error(
      r, 400,
      "base_model '%s' can only be sampled from: the engine "
      "'%s' does not train",
      base->name, base->backend->api->name);
  return false;
}

static tinker__svc_handled_t
create_locked(tinker__svc_t *s, tinker__svc_req_t *r, const create_t *c,
              const tinker__eng_lora_config_t *lora,
              const unsigned char *digest) {
  tinker__svc_session_t *n = tinker__svc_session_live(s, r, c->session_id);
  if (!n) return TINKER__ANSWERED;
  tinker__svc_op_t *op = existing(s, c->session_id, c->seq);
  if (op) return tinker__svc_op_again(r, op, TINKER__SVC_OP_CREATE, digest, 0);
  tinker__svc_base_model_t *base = tinker__svc_base_find(s, c->base_model);
  if (!base) {
    return tinker__svc_reply_error(
        r, 404, "base_model '%.*s' is not served here",
        (int)(c->base_model.len < 200 ? c->base_model.len : 200),
        c->base_model.ptr);
  }
  if (!trainable(base, r)) return TINKER__ANSWERED;
  if (tinker__svc_model_refused(s, r)) return TINKER__ANSWERED;
  tinker__svc_model_t *m = tinker__svc_model_new(s, n, c->seq);
  if (!m || fill_model(s, m, c) != 0) {
    tinker__svc_model_free(s, m);
    return tinker__svc_reply_error(r, 503, "out of memory");
  }
  m->base = base;
  m->lora = *lora;
  if (tinker__svc_price_refuses_model(m, r)) {
    tinker__svc_model_free(s, m);
    return TINKER__ANSWERED;
  }
  return accept_model(s, r, m, TINKER__SVC_OP_CREATE, digest, NULL);
}

/* A seed of the service's own when the client gave none: drawn once, stored
 * with the model. 63 bits, so that it is an integer everywhere. */
static int draw_seed(tinker__svc_t *s, uint64_t *seed) {
  int rc = s->world->random(s->world->user, seed, sizeof *seed);
  *seed >>= 1;
  return rc;
}

tinker__svc_handled_t tinker__svc_handle_create_model(tinker__svc_t *s,
                                                      tinker__svc_req_t *r) {
  char why[300];
  tinker__svc_body_t b;
  create_t c = {.seq = 0};
  tinker__eng_lora_config_t lora;
  unsigned char digest[TINKER__SHA256_LEN];
  bool seeded = false;
  const tinker__svc_field_t fields[] = {
      {"session_id", TINKER__FIELD_STR, true, &c.session_id, NULL},
      {"model_seq_id", TINKER__FIELD_I64, true, &c.seq, NULL},
      {"base_model", TINKER__FIELD_STR, false, &c.base_model, &c.has_base},
      {"user_metadata", TINKER__FIELD_RAW, false, &c.metadata, &c.has_metadata},
      {"lora_config", TINKER__FIELD_RAW, false, &c.lora, &c.has_lora},
      {"optimizer_config", TINKER__FIELD_RAW, false, &c.optimizer,
       &c.has_optimizer}};
  if (tinker__svc_body_read(&b, r, fields, 6) != 0) return TINKER__ANSWERED;
  int rc = 0;
  if (!c.has_base || !c.base_model.len) {
    rc = tinker__why(why, sizeof why, TINKER_EINVAL, "base_model is required");
  } else if (c.seq < 0) {
    rc = tinker__why(why, sizeof why, TINKER_EINVAL,
                     "model_seq_id must not be negative");
  } else if (!c.has_lora) {
    rc = tinker__why(why, sizeof why, TINKER_EINVAL,
                     "lora_config is required: this service trains LoRA "
                     "adapters only");
  } else {
    rc = check_metadata(&c, why, sizeof why);
  }
  if (rc == 0) rc = check_lora(s, c.lora, &lora, &seeded, why, sizeof why);
  if (rc == 0 && c.has_optimizer) {
    rc = tinker__svc_check_optimizer(s, c.optimizer, "optimizer_config.", why,
                                     sizeof why);
  }
  if (rc == 0 && !seeded) rc = draw_seed(s, &lora.seed);
  if (rc == 0) {
    rc = tinker__svc_body_digest(s->mem, tinker__buf_str(&r->body), NULL,
                                 digest);
  }
  tinker__svc_handled_t h;
  if (rc != 0) {
    h = tinker__svc_reply_why(r, rc, 400, why);
  } else {
    pthread_mutex_lock(&s->lock);
    h = create_locked(s, r, &c, &lora, digest);
    pthread_mutex_unlock(&s->lock);
  }
  tinker__svc_body_done(&b);
  return h;
}

/* --- load_weights that makes a model -------------------------------------- */

static tinker__svc_handled_t load_locked(tinker__svc_t *s, tinker__svc_req_t *r,
                                         const create_t *c,
                                         const unsigned char *digest,
                                         tinker__svc_work_t **work) {
  char why[300];
  tinker__svc_checkpoint_t *from;
  tinker__svc_session_t *n = tinker__svc_session_live(s, r, c->session_id);
  if (!n) return TINKER__ANSWERED;
  tinker__svc_op_t *op = existing(s, c->session_id, c->seq);
  if (op) {
    return tinker__svc_op_again(r, op, TINKER__SVC_OP_LOAD_NEW, digest, 0);
  }
  int rc = tinker__svc_checkpoint_lookup(s, c->path, &from, why, sizeof why);
  if (rc != 0) {
    return tinker__svc_reply_error(r, rc == TINKER_ENOENT ? 404 : 400, "%s",
                                   why);
  }
  if (from->kind != TINKER__CKPT_TRAINING) {
    return tinker__svc_reply_error(r, 400,
                                   "path: %.*s is not a training "
                                   "checkpoint (tinker://RUN/weights/NAME)",
                                   (int)c->path.len, c->path.ptr);
  }
  tinker__svc_base_model_t *base = from->model->base;
  if (c->has_base) base = tinker__svc_base_find(s, c->base_model);
  if (base && !trainable(base, r)) return TINKER__ANSWERED;
  if (!base || !tinker__svc_base_same(base, from->model->base)) {
    return tinker__svc_reply_error(
        r, 400, "base_model '%.*s' differs from the checkpoint's '%s'",
        (int)c->base_model.len, c->base_model.ptr, from->model->base->name);
  }
  if (tinker__svc_model_refused(s, r)) return TINKER__ANSWERED;
  tinker__svc_model_t *m = tinker__svc_model_new(s, n, c->seq);
  if (!m || fill_model(s, m, c) != 0) {
    tinker__svc_model_free(s, m);
    return tinker__svc_reply_error(r, 503, "out of memory");
  }
  m->base = base;
  m->lora = from->model->lora;
  tinker__svc_work_t *given = *work;
  *work = NULL;
  return accept_model(s, r, m, TINKER__SVC_OP_LOAD_NEW, digest, given);
}

tinker__svc_handled_t tinker__svc_handle_load_new(tinker__svc_t *s,
                                                  tinker__svc_req_t *r) {
  char why[400];
  int status = 400;
  tinker__svc_body_t b;
  create_t c = {.seq = -1};
  unsigned char digest[TINKER__SHA256_LEN];
  tinker__svc_work_t *work = NULL;
  const tinker__svc_field_t fields[] = {
      {"session_id", TINKER__FIELD_STR, true, &c.session_id, NULL},
      {"model_seq_id", TINKER__FIELD_I64, true, &c.seq, NULL},
      {"base_model", TINKER__FIELD_STR, false, &c.base_model, &c.has_base},
      {"user_metadata", TINKER__FIELD_RAW, false, &c.metadata, &c.has_metadata},
      {"path", TINKER__FIELD_STR, true, &c.path, NULL}};
  tinker__svc_work_in_t in = {
      .kind = TINKER__SVC_OP_LOAD_NEW,
      .body = tinker__buf_str(&r->body),
  };
  if (tinker__svc_body_read(&b, r, fields, 5) != 0) return TINKER__ANSWERED;
  int rc = tinker__svc_work_parse(&work, s, &in, &status, why, sizeof why);
  if (rc == 0 && c.seq < 0) {
    rc = tinker__why(why, sizeof why, TINKER_EINVAL,
                     "model_seq_id must not be negative");
  } else if (rc == 0) {
    rc = check_metadata(&c, why, sizeof why);
  }
  if (rc == 0) rc = tinker__svc_body_digest(s->mem, in.body, NULL, digest);
  tinker__svc_handled_t h;
  if (rc != 0) {
    h = tinker__svc_reply_why(r, rc, status, why);
  } else {
    pthread_mutex_lock(&s->lock);
    h = load_locked(s, r, &c, digest, &work);
    pthread_mutex_unlock(&s->lock);
  }
  tinker__svc_work_free(work);
  tinker__svc_body_done(&b);
  return h;
}

/* --- get_info ------------------------------------------------------------- */

static void reply_info(tinker__svc_req_t *r, const tinker__svc_model_t *m) {
  tinker__jsonw_t w;
  tinker__svc_reply_json(r, &w);
  tinker__jsonw_begin_object(&w);
  tinker__jsonw_key(&w, "type");
  tinker__jsonw_cstr(&w, "get_info");
  tinker__jsonw_key(&w, "model_id");
  tinker__jsonw_cstr(&w, m->id);
  tinker__jsonw_key(&w, "model_data");
  tinker__jsonw_begin_object(&w);
  tinker__jsonw_key(&w, "arch");
  tinker__jsonw_cstr(&w, m->base->info.arch);
  tinker__jsonw_key(&w, "model_name");
  tinker__jsonw_cstr(&w, m->base->name);
  /* Clients cut the id at its first ':'. */
  if (r->local && !strchr(m->base->dir, ':')) {
    tinker__jsonw_key(&w, "tokenizer_id");
    tinker__jsonw_cstr(&w, m->base->dir);
  }
  tinker__jsonw_end_object(&w);
  tinker__jsonw_key(&w, "optimizer_config");
  tinker__jsonw_raw(&w, TINKER__STR("{\"type\":\"adamw\"}"));
  tinker__jsonw_key(&w, "is_lora");
  tinker__jsonw_bool(&w, true);
  tinker__jsonw_key(&w, "lora_rank");
  tinker__jsonw_i64(&w, m->lora.rank);
  tinker__jsonw_key(&w, "model_name");
  tinker__jsonw_cstr(&w, m->base->name);
  tinker__jsonw_end_object(&w);
}

tinker__svc_handled_t tinker__svc_handle_get_info(tinker__svc_t *s,
                                                  tinker__svc_req_t *r) {
  tinker__svc_body_t b;
  tinker__str_t id;
  const tinker__svc_field_t fields[] = {
      {"model_id", TINKER__FIELD_STR, true, &id, NULL}};
  if (tinker__svc_body_read(&b, r, fields, 1) != 0) return TINKER__ANSWERED;
  pthread_mutex_lock(&s->lock);
  tinker__svc_model_t *m = tinker__svc_model_find(s, id);
  if (m) {
    reply_info(r, m);
  } else {
    tinker__svc_reply_error(r, 404, "model not found: %.*s",
                            (int)(id.len < 160 ? id.len : 160), id.ptr);
  }
  pthread_mutex_unlock(&s->lock);
  tinker__svc_body_done(&b);
  return TINKER__ANSWERED;
}
