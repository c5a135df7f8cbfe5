/* create: the calls that make a model, create_model and load_weights with a
 * session, and get_info. HTTP thread or a worker. */
#include <stdio.h>
#include <string.h>

#include <tinker/error.h>

#include "service/tinker/handlers.h"
#include "wire/path.h"

/* Makes the op that creates m, with this digest, and submits the rows of both.
 * m has its configuration. Under the lock. */
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
  tinker__db_write_t *w = tinker__svc_op_write_begin(op);
  tinker__db_write_sql(w,
                       "INSERT INTO models(row, session, seq, created_ms, base,"
                       " metadata, rank, seed, train)"
                       " VALUES(?, ?, ?, ?, ?, ?, ?, ?, ?)");
  tinker__db_write_i64(w, m->row);
  tinker__db_write_i64(w, m->session->row);
  tinker__db_write_i64(w, m->seq);
  tinker__db_write_i64(w, m->created_ms);
  tinker__db_write_text(w, m->base->name);
  tinker__db_write_text(w, m->metadata);
  tinker__db_write_i64(w, m->lora.rank);
  tinker__db_write_i64(w, (int64_t)m->lora.seed);
  tinker__db_write_i64(w, (m->lora.train_attn ? 1 : 0) |
                              (m->lora.train_mlp ? 2 : 0) |
                              (m->lora.train_unembed ? 4 : 0));
  tinker__svc_reply_future(r, op, 0);
  tinker__svc_handled_t h = tinker__svc_op_accept(s, r, op, w);
  if (h == TINKER__ANSWERED) tinker__svc_model_forget(s, m);
  return h;
}

/* --- Checks --------------------------------------------------------------- */

static int check_lora(const tinker__lora_wire_t *m,
                      tinker__eng_lora_config_t *out, char *why,
                      size_t why_len) {
  if (m->rank <= 0) {
    return tinker__why(why, why_len, TINKER_EINVAL,
                       "lora_config.rank must be positive, not %lld",
                       (long long)m->rank);
  }
  if (m->rank & (m->rank - 1)) {
    return tinker__why(why, why_len, TINKER_EINVAL,
                       "lora_config.rank must be a power of 2, not %lld",
                       (long long)m->rank);
  }
  if (m->rank > 128) {
    return tinker__why(why, why_len, TINKER_EINVAL,
                       "lora_config.rank must be at most 128, not %lld",
                       (long long)m->rank);
  }
  if (!m->train_attn && !m->train_mlp && !m->train_unembed) {
    return tinker__why(why, why_len, TINKER_EINVAL,
                       "At least one of train_unembed, train_mlp, or "
                       "train_attn must be True");
  }
  *out = (tinker__eng_lora_config_t){
      .rank = (uint32_t)m->rank,
      .seed = (uint64_t)m->seed,
      .train_attn = m->train_attn,
      .train_mlp = m->train_mlp,
      .train_unembed = m->train_unembed,
  };
  return 0;
}

/* Checks the fields that both ways of making a model have. metadata: JSON or
 * empty. */
static int check_new(int64_t seq, tinker__str_t metadata, char *why,
                     size_t why_len) {
  if (seq < 0) {
    return tinker__why(why, why_len, TINKER_EINVAL,
                       "model_seq_id must not be negative");
  }
  if (metadata.len && metadata.ptr[0] != '{') {
    return tinker__why(why, why_len, TINKER_EINVAL,
                       "user_metadata must be an object");
  }
  if (metadata.len > TINKER__MAX_METADATA) {
    return tinker__why(why, why_len, TINKER_EINVAL,
                       "user_metadata has %zu bytes and may have at most %d",
                       metadata.len, TINKER__MAX_METADATA);
  }
  return 0;
}

/* --- create_model --------------------------------------------------------- */

/* The op that has used this number of the session, or NULL. */
static tinker__svc_op_t *existing(tinker__svc_t *s, const char *session,
                                  int64_t seq) {
  char id[160];
  snprintf(id, sizeof id, "%.40s:train:%lld:0", session, (long long)seq);
  return tinker__map_get(s->op_by_id, tinker__str(id));
}

/* A new model with this metadata, or NULL and r is answered. */
static tinker__svc_model_t *new_model(tinker__svc_t *s, tinker__svc_req_t *r,
                                      tinker__svc_session_t *n, int64_t seq,
                                      tinker__str_t metadata) {
  tinker__svc_model_t *m = tinker__svc_model_new(s, n, seq);
  if (m && metadata.len) {
    m->metadata = tinker__mem_strndup(s->mem, metadata.ptr, metadata.len);
  }
  if (m && (m->metadata || !metadata.len)) return m;
  tinker__svc_model_free(s, m);
  tinker__svc_reply_error(r, 503, "out of memory");
  return NULL;
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

static tinker__svc_handled_t create_locked(
    tinker__svc_t *s, tinker__svc_req_t *r, const tinker__create_model_t *c,
    const tinker__eng_lora_config_t *lora, const unsigned char *digest) {
  tinker__svc_session_t *n =
      tinker__svc_session_live(s, r, tinker__str(c->session_id));
  if (!n) return TINKER__ANSWERED;
  tinker__svc_op_t *op = existing(s, c->session_id, c->model_seq_id);
  if (op) return tinker__svc_op_again(r, op, TINKER__SVC_OP_CREATE, digest, 0);
  tinker__svc_base_model_t *base =
      tinker__svc_base_find(s, tinker__str(c->base_model));
  if (!base) {
    return tinker__svc_reply_error(
        r, 404, "base_model '%.200s' is not served here", c->base_model);
  }
  if (!trainable(base, r)) return TINKER__ANSWERED;
  if (tinker__svc_model_refused(s, r)) return TINKER__ANSWERED;
  tinker__svc_model_t *m =
      new_model(s, r, n, c->model_seq_id, c->user_metadata);
  if (!m) return TINKER__ANSWERED;
  m->base = base;
  m->lora = *lora;
  if (tinker__svc_price_refuses_model(m, r)) {
    tinker__svc_model_free(s, m);
    return TINKER__ANSWERED;
  }
  return accept_model(s, r, m, TINKER__SVC_OP_CREATE, digest, NULL);
}

int tinker__svc_draw_seed(tinker__svc_t *s, uint64_t *seed, char *why,
                          size_t why_len) {
  int rc = s->world->random(s->world->user, seed, sizeof *seed);
  *seed >>= 1;
  if (rc == 0) return 0;
  return tinker__why(why, why_len, rc, "no seed could be drawn: %s",
                     tinker_code_text(rc));
}

static int check_create(const tinker__create_model_t *c, tinker__arena_t *a,
                        tinker__eng_lora_config_t *lora, char *why,
                        size_t why_len) {
  if (!c->base_model || !*c->base_model) {
    return tinker__why(why, why_len, TINKER_EINVAL, "base_model is required");
  }
  int rc = check_new(c->model_seq_id, c->user_metadata, why, why_len);
  if (rc == 0 && !c->has_lora_config) {
    return tinker__why(why, why_len, TINKER_EINVAL,
                       "lora_config is required: this service trains LoRA "
                       "adapters only");
  }
  if (rc == 0) rc = check_lora(&c->lora_config, lora, why, why_len);
  if (rc != 0 || !c->optimizer_config.len) return rc;
  return tinker__svc_check_optimizer(a, c->optimizer_config,
                                     "optimizer_config.", why, why_len);
}

tinker__svc_handled_t tinker__svc_handle_create_model(tinker__svc_t *s,
                                                      tinker__svc_req_t *r) {
  char why[300];
  tinker__arena_t a;
  tinker__create_model_t c;
  tinker__eng_lora_config_t lora;
  unsigned char digest[TINKER__SHA256_LEN];
  tinker__svc_handled_t h;
  if (tinker__svc_body_read(r, &a, &tinker__create_model_msg, &c) != 0) {
    return TINKER__ANSWERED;
  }
  int rc = check_create(&c, &a, &lora, why, sizeof why);
  if (rc == 0 && !c.lora_config.has_seed) {
    rc = tinker__svc_draw_seed(s, &lora.seed, why, sizeof why);
  }
  if (rc == 0 && tinker__svc_body_digest(s->mem, tinker__buf_str(&r->body),
                                         NULL, digest) != 0) {
    rc = TINKER_ENOMEM;
  }
  if (rc != 0) {
    h = tinker__svc_reply_why(r, rc, rc == TINKER_EINVAL ? 400 : 500, why);
  } else {
    tinker__svc_lock(s);
    h = create_locked(s, r, &c, &lora, digest);
    tinker__svc_unlock(s);
  }
  tinker__arena_free(&a);
  return h;
}

/* --- load_weights that makes a model -------------------------------------- */

static tinker__svc_handled_t load_locked(tinker__svc_t *s, tinker__svc_req_t *r,
                                         const tinker__load_weights_t *c,
                                         const unsigned char *digest,
                                         tinker__svc_work_t **work) {
  char why[300];
  tinker__svc_checkpoint_t *from;
  tinker__svc_session_t *n =
      tinker__svc_session_live(s, r, tinker__str(c->session_id));
  if (!n) return TINKER__ANSWERED;
  tinker__svc_op_t *op = existing(s, c->session_id, c->model_seq_id);
  if (op) {
    return tinker__svc_op_again(r, op, TINKER__SVC_OP_LOAD_NEW, digest, 0);
  }
  int rc = tinker__svc_checkpoint_lookup(s, tinker__str(c->path), &from, why,
                                         sizeof why);
  if (rc != 0) {
    return tinker__svc_reply_error(r, rc == TINKER_ENOENT ? 404 : 400, "%s",
                                   why);
  }
  if (from->kind != TINKER__CKPT_TRAINING) {
    return tinker__svc_reply_error(
        r, 400,
        "path: %s is not a training checkpoint (" TINKER__PATH_PREFIX
        "RUN/" TINKER__PATH_TRAINING "/NAME)",
        c->path);
  }
  tinker__svc_base_model_t *base = from->model->base;
  if (c->base_model) {
    base = tinker__svc_base_find(s, tinker__str(c->base_model));
  }
  if (base && !trainable(base, r)) return TINKER__ANSWERED;
  if (!base || !tinker__svc_base_same(base, from->model->base)) {
    return tinker__svc_reply_error(
        r, 400, "base_model '%s' differs from the checkpoint's '%s'",
        c->base_model, from->model->base->name);
  }
  if (tinker__svc_model_refused(s, r)) return TINKER__ANSWERED;
  tinker__svc_model_t *m =
      new_model(s, r, n, c->model_seq_id, c->user_metadata);
  if (!m) return TINKER__ANSWERED;
  m->base = base;
  m->lora = from->model->lora;
  tinker__svc_work_t *given = *work;
  *work = NULL;
  return accept_model(s, r, m, TINKER__SVC_OP_LOAD_NEW, digest, given);
}

tinker__svc_handled_t tinker__svc_handle_load_new(tinker__svc_t *s,
                                                  tinker__svc_req_t *r,
                                                  tinker__svc_call_t *call) {
  char why[400];
  int status = 400;
  unsigned char digest[TINKER__SHA256_LEN];
  tinker__svc_work_t *work = NULL;
  const tinker__load_weights_t *c = &call->message.load;
  const tinker__svc_terms_t terms = {.base = NULL};
  if (!c->session_id || !c->has_model_seq_id) {
    return tinker__svc_reply_error(r, 422, "%s is required",
                                   c->session_id ? "model_seq_id"
                                                 : "session_id");
  }
  call->kind = TINKER__SVC_OP_LOAD_NEW;
  int rc = tinker__svc_work_take(&work, call, &terms, &status, why, sizeof why);
  if (rc == 0) {
    rc = check_new(c->model_seq_id, c->user_metadata, why, sizeof why);
  }
  if (rc == 0 && tinker__svc_body_digest(s->mem, tinker__buf_str(&r->body),
                                         NULL, digest) != 0) {
    rc = TINKER_ENOMEM;
  }
  tinker__svc_handled_t h;
  if (rc != 0) {
    h = tinker__svc_reply_why(r, rc, status, why);
  } else {
    tinker__svc_lock(s);
    h = load_locked(s, r, c, digest, &work);
    tinker__svc_unlock(s);
  }
  tinker__svc_work_free(work);
  return h;
}

/* --- get_info ------------------------------------------------------------- */

static void reply_info(tinker__svc_req_t *r, const tinker__svc_model_t *m) {
  /* Clients cut the folder at its first ':', so such a folder is not sent. */
  bool tells = r->local && !strchr(m->base->dir, ':');
  tinker__get_info_reply_t reply = {
      .model_id = m->id,
      .model_data = {m->base->info.arch, m->base->name,
                     tells ? m->base->dir : NULL},
      .optimizer_config = TINKER__STR(TINKER__ADAMW_JSON),
      .has_is_lora = true,
      .is_lora = true,
      .has_lora_rank = true,
      .lora_rank = m->lora.rank,
      .model_name = m->base->name,
  };
  tinker__svc_reply_message(r, &tinker__get_info_reply_msg, &reply);
}

tinker__svc_handled_t tinker__svc_handle_get_info(tinker__svc_t *s,
                                                  tinker__svc_req_t *r) {
  tinker__arena_t a;
  tinker__get_info_t ask;
  if (tinker__svc_body_read(r, &a, &tinker__get_info_msg, &ask) != 0) {
    return TINKER__ANSWERED;
  }
  tinker__svc_lock(s);
  tinker__svc_model_t *m = tinker__svc_model_find(s, tinker__str(ask.model_id));
  if (m) {
    reply_info(r, m);
  } else {
    tinker__svc_reply_error(r, 404, "model not found: %.160s", ask.model_id);
  }
  tinker__svc_unlock(s);
  tinker__arena_free(&a);
  return TINKER__ANSWERED;
}
