/* exec_state: executes saves and loads, and makes snapshots. Engine thread;
 * after a commit on the store thread, under the lock. */
#include <stdio.h>
#include <string.h>

#include <tinker/error.h>

#include "base/file.h"
#include "service/run/exec.h"
#include "wire/path.h"

/* --- Snapshots ------------------------------------------------------------ */

typedef struct {
  tinker__svc_model_t *model;
  int64_t row, next;
} snapshot_t;

static void write_snapshot_rows(tinker__db_write_t *w, const snapshot_t *n) {
  tinker__db_write_sql(
      w, "UPDATE models SET snapshot = ?, snapshot_seq = ? WHERE row = ?");
  tinker__db_write_i64(w, n->row);
  tinker__db_write_i64(w, n->next);
  tinker__db_write_i64(w, n->model->row);
  tinker__db_write_sql(w, "UPDATE requests SET body = NULL WHERE owner_kind = 0"
                          " AND owner = ? AND seq < ?");
  tinker__db_write_i64(w, n->model->row);
  tinker__db_write_i64(w, n->next);
}

/* Makes a stored snapshot the model's. Returns the row of the older snapshot,
 * which is not needed any more, or 0. Under the lock. */
static int64_t adopt_snapshot(const snapshot_t *n) {
  tinker__svc_model_t *m = n->model;
  int64_t old = m->snapshot;
  m->snapshot = n->row;
  m->snapshot_seq = n->next;
  return old;
}

/* Removes the folder of a snapshot that is not needed; row 0 = there is none.
 * Without the lock. */
static void drop_snapshot(tinker__svc_t *s, int64_t row) {
  char dir[1200];
  if (!row) return;
  tinker__svc_checkpoint_dir(s, "snapshots", row, dir, sizeof dir);
  tinker__svc_folder_remove(dir);
}

/* Notes that a snapshot is being made. False for a broken model, whose log must
 * not be dropped. */
static bool begin_saving(tinker__svc_model_t *m) {
  tinker__svc_lock(m->service);
  bool saving = m->saving = !m->broken;
  tinker__svc_unlock(m->service);
  return saving;
}

static void end_saving(tinker__svc_model_t *m, int rc) {
  tinker__svc_t *s = m->service;
  tinker__svc_lock(s);
  m->saving = false;
  if (rc != 0 && m->rests_ms) m->rests_ms = s->world->now_ms(s->world->user);
  tinker__svc_unlock(s);
}

static void on_snapshot_stored(void *user, int rc) {
  snapshot_t *n = user;
  tinker__svc_t *s = n->model->service;
  tinker__svc_lock(s);
  int64_t useless = rc == 0 ? adopt_snapshot(n) : n->row;
  tinker__svc_unlock(s);
  end_saving(n->model, rc);
  drop_snapshot(s, useless);
  tinker__mem_free(s->mem, n);
}

/* Writes the state of m into a new folder <state>/<kind>/<row>. op is the save
 * that it is for, NULL for a snapshot. */
static int save_state(tinker__svc_model_t *m, const tinker__svc_op_t *op,
                      const char *kind, int64_t row, char *dir, size_t dir_len,
                      char *why, size_t why_len) {
  char tmp[1300];
  tinker__svc_t *s = m->service;
  tinker__svc_checkpoint_dir(s, kind, row, dir, dir_len);
  int rc = tinker__svc_folder_begin(s, dir, row, tmp, sizeof tmp, why, why_len);
  if (rc == 0 && op && (op->acts & TINKER__ACT_SAVE_OLD)) {
    rc = tinker__svc_exec_link_old(m, TINKER__CKPT_TRAINING, tmp, why, why_len);
  } else if (rc == 0) {
    const tinker__engine_api_t *api = tinker__svc_model_api(m);
    bool all = !op && api->train_keep; /* gradients, too */
    rc = (all ? api->train_keep : api->train_save)(m->train, tmp, why, why_len);
  }
  if (rc == 0) rc = tinker__svc_folder_commit(s, tmp, dir, why, why_len);
  if (rc != 0) tinker__svc_folder_remove(tmp);
  return rc;
}

static int64_t new_row(tinker__svc_t *s) {
  tinker__svc_lock(s);
  int64_t row = tinker__svc_row(s);
  tinker__svc_unlock(s);
  return row;
}

void tinker__svc_exec_snapshot(tinker__svc_model_t *m, int64_t next) {
  char dir[1200], why[300] = "out of memory";
  tinker__svc_t *s = m->service;
  if (!tinker__svc_keep_can(m) || !begin_saving(m)) return;
  snapshot_t *n = tinker__mem_zalloc(s->mem, sizeof *n);
  int64_t row = new_row(s);
  int rc = n ? save_state(m, NULL, "snapshots", row, dir, sizeof dir, why,
                          sizeof why)
             : TINKER_ENOMEM;
  if (rc == 0) {
    *n = (snapshot_t){m, row, next};
    tinker__db_write_t *w =
        tinker__db_write_new(s->store, on_snapshot_stored, n);
    if (w) write_snapshot_rows(w, n);
    rc = tinker__db_write_submit(w);
    if (rc != 0) drop_snapshot(s, n->row);
  }
  tinker__svc_keep_settled(m);
  if (rc == 0) return;
  end_saving(m, rc);
  tinker__mem_free(s->mem, n);
  tinker__svc_log(s, "warning", "snapshot_failed", "model_id", m->id, "why",
                  why, NULL);
}

/* --- Saves ---------------------------------------------------------------- */

typedef struct {
  tinker__svc_op_t *op;
  tinker__svc_checkpoint_t *made;
  int64_t replaced; /* row, 0 = none; it may be deleted meanwhile */
  bool published;   /* the folder has its final name */
  tinker__svc_sampler_t *sampler; /* ephemeral: the sampling session it opens */
  char digest[2 * TINKER__SHA256_LEN + 1];
} save_t;

static void write_save_rows(tinker__db_write_t *w, void *user) {
  const save_t *v = user;
  const tinker__svc_checkpoint_t *c = v->made;
  if (v->replaced) {
    tinker__db_write_sql(w, "DELETE FROM checkpoints WHERE row = ?");
    tinker__db_write_i64(w, v->replaced);
  }
  tinker__db_write_sql(w,
                       "INSERT INTO checkpoints(row, model, kind, name,"
                       " created_ms, size, metadata, expires_ms, pending_grad)"
                       " VALUES(?, ?, ?, ?, ?, ?, ?, ?, ?)");
  tinker__db_write_i64(w, c->row);
  tinker__db_write_i64(w, c->model->row);
  tinker__db_write_i64(w, c->kind);
  tinker__db_write_text(w, c->name);
  tinker__db_write_i64(w, c->created_ms);
  tinker__db_write_i64(w, c->size);
  tinker__db_write_text(w, c->metadata);
  tinker__db_write_i64(w, c->expires_ms);
  tinker__db_write_i64(w, c->pending_grad);
  if (v->sampler) tinker__svc_sampler_write(w, v->sampler);
}

static void log_save(const save_t *v) {
  char dir[1200], path[TINKER__SVC_PATH_LEN];
  const tinker__svc_checkpoint_t *c = v->made;
  tinker__svc_t *s = v->op->service;
  if (!c->name) return;
  tinker__svc_checkpoint_dir(s, "checkpoints", c->row, dir, sizeof dir);
  tinker__svc_checkpoint_path(c, path);
  tinker__svc_log(s, "info", "checkpoint", "path", path, "folder", dir,
                  "sha256", v->digest, NULL);
}

static void on_saved(void *user, char *useless, size_t len) {
  save_t *v = user;
  tinker__svc_t *s = v->op->service;
  tinker__svc_checkpoint_t *old = NULL;
  v->made->durable = true;
  if (v->replaced) old = tinker__svc_checkpoint_by_row(s, v->replaced);
  if (old) {
    tinker__svc_checkpoint_dir(s, "checkpoints", old->row, useless, len);
    tinker__list_remove(&old->link);
    tinker__svc_checkpoint_free(s, old);
  }
  if (v->sampler) {
    v->sampler->durable = true;
    tinker__svc_ack_commit(s, &v->sampler->ack);
  }
  log_save(v);
}

/* Makes the digest of `file`, which has the weights, when the folder of a save
 * is there, and flips a bit if a fault plan wants it. */
static int finish_files(const tinker__svc_op_t *op, const char *dir,
                        const char *file, save_t *v, char *why,
                        size_t why_len) {
  char path[1300];
  unsigned char digest[TINKER__SHA256_LEN];
  tinker__svc_t *s = op->service;
  v->published = true;
  snprintf(path, sizeof path, "%s/%s", dir, file);
  int rc = tinker__file_sha256(s->world, s->mem, path, digest, why, why_len);
  if (rc == 0) tinker__hex(digest, sizeof digest, v->digest);
  if (rc == 0 && (op->acts & TINKER__ACT_FLIP_BIT)) {
    rc = tinker__svc_exec_flip_bit(dir, file, why, why_len);
  }
  return rc;
}

/* Makes a new checkpoint in memory, which is not visible yet. NULL without
 * memory. */
static save_t *save_new(tinker__svc_model_t *m, tinker__svc_op_t *op,
                        tinker__svc_ckpt_kind_t kind) {
  tinker__svc_t *s = m->service;
  save_t *v = tinker__mem_zalloc(s->mem, sizeof *v);
  tinker__svc_checkpoint_t *c = tinker__mem_zalloc(s->mem, sizeof *c);
  if (!v || !c) goto fail;
  v->op = op;
  v->made = c;
  tinker__list_init(&c->link);
  c->model = m;
  c->kind = kind;
  c->row = new_row(s);
  c->created_ms = s->world->wall_ms(s->world->user);
  c->pending_grad = kind == TINKER__CKPT_TRAINING &&
                    tinker__svc_model_api(m)->train_has_grad(m->train);
  if (op->work->ttl_s) c->expires_ms = c->created_ms + op->work->ttl_s * 1000;
  if (op->acts & TINKER__ACT_EXPIRE) {
    c->expires_ms = c->created_ms + op->expires_ms;
  }
  if (op->work->name &&
      !(c->name = tinker__mem_strdup(s->mem, op->work->name))) {
    goto fail;
  }
  if (op->work->metadata &&
      !(c->metadata = tinker__mem_strdup(s->mem, op->work->metadata))) {
    goto fail;
  }
  return v;
fail:
  tinker__svc_checkpoint_free(s, c);
  tinker__mem_free(s->mem, v);
  return NULL;
}

static void save_drop(tinker__svc_t *s, save_t *v) {
  char dir[1200];
  if (!v) return;
  tinker__svc_checkpoint_dir(s, "checkpoints", v->made->row, dir, sizeof dir);
  if (v->published) tinker__svc_folder_remove(dir);
  tinker__svc_checkpoint_free(s, v->made);
  tinker__mem_free(s->mem, v);
}

/* Checks that the name of a save is free or may be overwritten. *replaced gets
 * the row of the checkpoint that is replaced, or 0. */
static int claim_name(tinker__svc_model_t *m, tinker__svc_op_t *op,
                      tinker__svc_ckpt_kind_t kind, int64_t *replaced,
                      char *why, size_t why_len) {
  tinker__svc_t *s = m->service;
  *replaced = 0;
  if (!op->work->name) return 0;
  tinker__svc_lock(s);
  const tinker__svc_checkpoint_t *c =
      tinker__svc_checkpoint_find(m, kind, tinker__str(op->work->name));
  if (c) *replaced = c->row;
  tinker__svc_unlock(s);
  if (!*replaced || op->work->overwrite) return 0;
  return tinker__why(why, why_len, TINKER_EEXIST,
                     "ResourceAlreadyExists: checkpoint " TINKER__PATH_PREFIX
                     "%s/%s/%s already exists",
                     m->id, tinker__svc_checkpoint_word(kind), op->work->name);
}

/* Takes back what a save has made: the call is executed once more. */
static void unpublish_save(tinker__svc_t *s, save_t *v) {
  tinker__svc_sampler_t *p = v->sampler;
  tinker__svc_lock(s);
  tinker__list_remove(&v->made->link);
  if (p) tinker__svc_sampler_forget(s, p);
  tinker__svc_unlock(s);
  if (p && p->adapter) tinker__svc_sampler_unload(p);
  tinker__svc_lock(s);
  tinker__svc_sampler_free(s, p);
  tinker__svc_unlock(s);
  save_drop(s, v);
}

/* Adds the checkpoint to its model's list and stores it with the result.
 * Clients see it when it is committed. */
static void publish_save(save_t *v, tinker__buf_t *out) {
  tinker__svc_t *s = v->op->service;
  tinker__svc_model_t *m = v->op->model;
  tinker__svc_lock(s);
  tinker__list_push_back(&m->checkpoints, &v->made->link);
  tinker__svc_unlock(s);
  int rc = tinker__svc_op_complete(v->op, TINKER__SVC_OUTCOME_DONE,
                                   TINKER__FORMAT_JSON, out, write_save_rows,
                                   on_saved, v);
  if (rc != 0) unpublish_save(s, v);
}

static void write_saved(tinker__buf_t *out, const save_t *v) {
  char path[TINKER__SVC_PATH_LEN];
  const tinker__svc_checkpoint_t *c = v->made;
  tinker__buf_init(out, v->op->service->mem, 8192);
  if (c->name) tinker__svc_checkpoint_path(c, path);
  if (c->kind == TINKER__CKPT_TRAINING) {
    tinker__save_weights_result_t result = {path};
    tinker__message_encode(out, &tinker__save_weights_result_msg, &result);
  } else {
    tinker__save_sampler_result_t result = {c->name ? path : NULL,
                                            v->sampler ? v->sampler->id : NULL};
    tinker__message_encode(out, &tinker__save_sampler_result_msg, &result);
  }
}

void tinker__svc_exec_save(tinker__svc_model_t *m, tinker__svc_op_t *op) {
  char why[400] = "", dir[1200];
  tinker__buf_t out;
  int64_t replaced;
  save_t *v = NULL;
  tinker__svc_t *s = m->service;
  int rc = tinker__svc_exec_train(m, why, sizeof why);
  if (rc == 0) {
    rc = claim_name(m, op, TINKER__CKPT_TRAINING, &replaced, why, sizeof why);
  }
  if (rc == 0 && !(v = save_new(m, op, TINKER__CKPT_TRAINING))) {
    rc = TINKER_ENOMEM;
  }
  if (rc == 0) {
    rc = save_state(m, op, "checkpoints", v->made->row, dir, sizeof dir, why,
                    sizeof why);
  }
  if (rc == 0) {
    rc = finish_files(op, dir, "state.safetensors", v, why, sizeof why);
  }
  if (rc != 0) {
    save_drop(s, v);
    tinker__svc_exec_fail(op, rc, why);
    return;
  }
  v->replaced = replaced;
  v->made->size = tinker__svc_folder_size(dir);
  write_saved(&out, v);
  publish_save(v, &out);
}

/* --- Sampler saves -------------------------------------------------------- */

static int save_adapter(tinker__svc_model_t *m, const tinker__svc_op_t *op,
                        const tinker__svc_checkpoint_t *c, char *dir,
                        size_t len, tinker__eng_adapter_t **out, char *why,
                        size_t why_len) {
  char tmp[1300];
  tinker__svc_t *s = m->service;
  tinker__svc_checkpoint_dir(s, "checkpoints", c->row, dir, len);
  int rc =
      tinker__svc_model_api(m)->adapter_current(m->train, out, why, why_len);
  if (rc != 0) return rc;
  rc = tinker__svc_folder_begin(s, dir, c->row, tmp, sizeof tmp, why, why_len);
  if (rc == 0 && (op->acts & TINKER__ACT_SAVE_OLD)) {
    rc = tinker__svc_exec_link_old(m, c->kind, tmp, why, why_len);
  } else if (rc == 0) {
    rc = tinker__svc_model_api(m)->adapter_save(*out, tmp, why, why_len);
  }
  if (rc == 0) rc = tinker__svc_folder_commit(s, tmp, dir, why, why_len);
  if (rc != 0) {
    tinker__svc_folder_remove(tmp);
    tinker__svc_model_api(m)->adapter_release(*out);
    *out = NULL;
  }
  return rc;
}

/* Makes the sampling session of an ephemeral save, whose number must be free.
 */
static int open_sampler(save_t *v, tinker__eng_adapter_t *adapter, char *why,
                        size_t why_len) {
  tinker__svc_model_t *m = v->op->model;
  tinker__svc_t *s = m->service;
  tinker__svc_sampler_t *p;
  tinker__svc_lock(s);
  int rc = tinker__svc_sampler_new(&p, s, m->session, v->op->work->sampler_seq,
                                   why, why_len);
  if (rc == 0) {
    p->base = m->base;
    p->checkpoint = v->made->row;
    p->row = tinker__svc_row(s);
    rc = tinker__svc_sampler_add(s, p);
    if (rc != 0) tinker__svc_sampler_free(s, p);
  }
  if (rc == 0) v->sampler = p;
  tinker__svc_unlock(s);
  if (rc == 0) tinker__svc_sampler_keep(p, adapter);
  return rc;
}

void tinker__svc_exec_save_sampler(tinker__svc_model_t *m,
                                   tinker__svc_op_t *op) {
  char why[400] = "", dir[1200];
  tinker__buf_t out;
  int64_t replaced;
  tinker__eng_adapter_t *adapter = NULL;
  save_t *v = NULL;
  tinker__svc_t *s = m->service;
  tinker__svc_ckpt_kind_t kind =
      op->work->name ? TINKER__CKPT_SAMPLER : TINKER__CKPT_EPHEMERAL;
  int rc = tinker__svc_exec_train(m, why, sizeof why);
  if (rc == 0) rc = claim_name(m, op, kind, &replaced, why, sizeof why);
  if (rc == 0 && !(v = save_new(m, op, kind))) rc = TINKER_ENOMEM;
  if (rc == 0) {
    rc = save_adapter(m, op, v->made, dir, sizeof dir, &adapter, why,
                      sizeof why);
  }
  if (rc == 0) {
    rc = finish_files(op, dir, "adapter_model.safetensors", v, why, sizeof why);
  }
  if (rc == 0 && !op->work->name) {
    rc = open_sampler(v, adapter, why, sizeof why);
  }
  if (rc != 0 || op->work->name) {
    if (adapter) tinker__svc_model_api(m)->adapter_release(adapter);
  }
  if (rc != 0) {
    save_drop(s, v);
    tinker__svc_exec_fail(op, rc, why);
    return;
  }
  v->made->size = tinker__svc_folder_size(dir);
  write_saved(&out, v);
  publish_save(v, &out);
}

/* --- Loads ---------------------------------------------------------------- */

static void write_load_rows(tinker__db_write_t *w, void *user) {
  write_snapshot_rows(w, user);
}

static void on_loaded(void *user, char *useless, size_t len) {
  const snapshot_t *n = user;
  int64_t old = adopt_snapshot(n);
  if (!old) return;
  tinker__svc_checkpoint_dir(n->model->service, "snapshots", old, useless, len);
}

static bool same_modules(const tinker__eng_lora_config_t *a,
                         const tinker__eng_lora_config_t *b) {
  return a->train_attn == b->train_attn && a->train_mlp == b->train_mlp &&
         a->train_unembed == b->train_unembed;
}

/* Finds the folder of the checkpoint to load and checks that it fits the model.
 */
static int find_source(tinker__svc_model_t *m, tinker__svc_op_t *op, char *dir,
                       size_t len, char *why, size_t why_len) {
  tinker__svc_t *s = m->service;
  tinker__svc_checkpoint_t *c = NULL;
  tinker__svc_lock(s);
  int rc = tinker__svc_checkpoint_lookup(s, tinker__str(op->work->path), &c,
                                         why, why_len);
  if (rc == 0 && c->kind != TINKER__CKPT_TRAINING) {
    rc = tinker__why(why, why_len, TINKER_EINVAL,
                     "path: %s is not a training checkpoint", op->work->path);
  } else if (rc == 0 && !tinker__svc_base_same(c->model->base, m->base)) {
    rc = tinker__why(
        why, why_len, TINKER_EINVAL,
        "path: the checkpoint is of base model %s, this model of %s",
        c->model->base->name, m->base->name);
  } else if (rc == 0 && c->model->lora.rank != m->lora.rank) {
    rc = tinker__why(why, why_len, TINKER_EINVAL,
                     "path: the checkpoint has rank %u, this model %u",
                     c->model->lora.rank, m->lora.rank);
  } else if (rc == 0 && !same_modules(&c->model->lora, &m->lora)) {
    rc = tinker__why(why, why_len, TINKER_EINVAL,
                     "path: the checkpoint has other train_* flags than this "
                     "model");
  }
  if (rc == 0) tinker__svc_checkpoint_dir(s, "checkpoints", c->row, dir, len);
  tinker__svc_unlock(s);
  return rc;
}

static void write_loaded(tinker__buf_t *out, const tinker__svc_op_t *op) {
  tinker__load_weights_result_t result = {op->work->path, op->model->id};
  tinker__buf_init(out, op->service->mem, 8192);
  tinker__message_encode(out, &tinker__load_weights_result_msg, &result);
}

void tinker__svc_exec_load(tinker__svc_model_t *m, tinker__svc_op_t *op) {
  char why[400] = "", dir[1200];
  tinker__buf_t out;
  tinker__eng_train_t *train = NULL;
  tinker__svc_t *s = m->service;
  snapshot_t *n = tinker__mem_zalloc(s->mem, sizeof *n);
  int rc =
      n ? find_source(m, op, dir, sizeof dir, why, sizeof why) : TINKER_ENOMEM;
  if (rc == 0) rc = tinker__svc_claim(m, NULL);
  if (rc == 0) {
    bool optimizer =
        op->work->optimizer && !(op->acts & TINKER__ACT_DROP_OPTIMIZER);
    rc = tinker__svc_model_api(m)->train_load(m->base->base, dir, optimizer,
                                              &train, why, sizeof why);
  }
  if (rc == 0) {
    tinker__eng_train_t *old = m->train;
    m->train = train;
    *n = (snapshot_t){m, new_row(s), op->seq + 1};
    /* The loaded state becomes a snapshot at once, so that the log does not
     * depend on the checkpoint, which may be deleted. */
    rc = save_state(m, NULL, "snapshots", n->row, dir, sizeof dir, why,
                    sizeof why);
    if (rc != 0) {
      m->train = old;
      tinker__svc_model_api(m)->train_free(train);
    } else if (old) {
      tinker__svc_model_api(m)->train_free(old);
    }
  }
  if (rc != 0) {
    tinker__mem_free(s->mem, n);
    tinker__svc_exec_fail(op, rc, why);
    return;
  }
  tinker__svc_keep_settled(m);
  write_loaded(&out, op);
  rc =
      tinker__svc_op_complete(op, TINKER__SVC_OUTCOME_DONE, TINKER__FORMAT_JSON,
                              &out, write_load_rows, on_loaded, n);
  if (rc == 0) return;
  drop_snapshot(s, n->row);
  tinker__mem_free(s->mem, n);
}
