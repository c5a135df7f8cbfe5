/* replay: a start finds what an earlier run left. Rows become the state again;
 * calls whose effect is in no snapshot are executed once more, in order, and
 * must give the results that were told. Before the threads start, but for
 * replay_start. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <tinker/error.h>

#include "service/boot/replay.h"
#include "service/run/exec.h"
#include "service/tinker/handlers.h"

typedef struct {
  tinker__svc_t *service;
  tinker__svc_session_t *session; /* the last one found: rows come sorted */
  tinker__svc_model_t *model;
  tinker__svc_sampler_t *sampler;
  char *why;
  size_t why_len;
} load_t;

static int no_memory(load_t *t) {
  return tinker__why(t->why, t->why_len, TINKER_ENOMEM, "out of memory");
}

static int broken(load_t *t, const char *what) {
  return tinker__why(t->why, t->why_len, TINKER_EFORMAT,
                     "the store is inconsistent: %s", what);
}

static void seen_row(load_t *t, int64_t row) {
  if (row >= t->service->next_row) t->service->next_row = row + 1;
}

static int take_digest(load_t *t, struct sqlite3_stmt *row, int column,
                       unsigned char out[TINKER__SHA256_LEN]) {
  tinker__str_t b = tinker__svc_row_blob(row, column);
  if (b.len != TINKER__SHA256_LEN) return broken(t, "a digest");
  memcpy(out, b.ptr, b.len);
  return 0;
}

/* A copy of a text column; NULL for null. False without memory. */
static bool take_text(load_t *t, struct sqlite3_stmt *row, int column,
                      char **out) {
  const char *text = tinker__svc_row_text(row, column);
  *out = text ? tinker__mem_strdup(t->service->mem, text) : NULL;
  return !text || *out;
}

/* --- Sessions ------------------------------------------------------------- */

static int each_session(void *user, struct sqlite3_stmt *row) {
  char why[200];
  load_t *t = user;
  tinker__svc_t *s = t->service;
  const char *id = tinker__svc_row_text(row, 1);
  tinker__svc_session_t *n = tinker__mem_zalloc(s->mem, sizeof *n);
  if (!n) return no_memory(t);
  tinker__list_init(&n->link);
  tinker__list_init(&n->models);
  tinker__list_init(&n->samplers);
  tinker__svc_ack_init(&n->ack);
  n->ack.durable = true;
  n->service = s;
  n->row = tinker__svc_row_i64(row, 0);
  seen_row(t, n->row);
  if (!id || strlen(id) >= sizeof n->id) return broken(t, "a session id");
  memcpy(n->id, id, strlen(id) + 1);
  n->created_ms = tinker__svc_row_i64(row, 2);
  n->ended_ms = tinker__svc_row_i64(row, 5);
  n->seen_ms = s->world->now_ms(s->world->user);
  int rc = take_digest(t, row, 4, n->digest);
  if (rc == 0 && (!take_text(t, row, 3, &n->idem_key) ||
                  !take_text(t, row, 6, &n->end_reason))) {
    rc = no_memory(t);
  }
  /* What it tells about itself was checked when it came. */
  if (rc == 0 &&
      tinker__svc_session_describe(s, n, tinker__svc_row_blob(row, 7), why,
                                   sizeof why) == TINKER_ENOMEM) {
    rc = no_memory(t);
  }
  if (rc == 0 && tinker__svc_session_add(s, n) != 0) rc = no_memory(t);
  if (rc != 0) tinker__svc_session_free(s, n);
  return rc;
}

static tinker__svc_session_t *session_of(load_t *t, int64_t row) {
  if (t->session && t->session->row == row) return t->session;
  TINKER__LIST_EACH(l, tmp, &t->service->sessions) {
    t->session = TINKER__CONTAINER(l, tinker__svc_session_t, link);
    if (t->session->row == row) return t->session;
  }
  return t->session = NULL;
}

/* --- Models --------------------------------------------------------------- */

static int fill_model(load_t *t, tinker__svc_model_t *m,
                      struct sqlite3_stmt *row) {
  tinker__svc_t *s = t->service;
  const char *base = tinker__svc_row_text(row, 4);
  int64_t train = tinker__svc_row_i64(row, 8);
  m->row = tinker__svc_row_i64(row, 0);
  m->durable = true;
  seen_row(t, m->row);
  m->created_ms = m->used_ms = tinker__svc_row_i64(row, 3);
  m->base = tinker__svc_base_find(s, tinker__str(base));
  if (!m->base) {
    return tinker__why(t->why, t->why_len, TINKER_EINVAL,
                       "the state folder has runs of the base model '%s': "
                       "give it with --model %s=DIR",
                       base ? base : "", base ? base : "");
  }
  m->lora = (tinker__eng_lora_config_t){
      .rank = (uint32_t)tinker__svc_row_i64(row, 6),
      .seed = (uint64_t)tinker__svc_row_i64(row, 7),
      .train_attn = (train & 1) != 0,
      .train_mlp = (train & 2) != 0,
      .train_unembed = (train & 4) != 0,
  };
  m->snapshot = tinker__svc_row_i64(row, 9);
  m->snapshot_seq = tinker__svc_row_i64(row, 10);
  m->next_seq = m->snapshot ? m->snapshot_seq : 0;
  seen_row(t, m->snapshot);
  if (!take_text(t, row, 5, &m->metadata) ||
      !take_text(t, row, 11, &m->broken)) {
    return no_memory(t);
  }
  return 0;
}

static int each_model(void *user, struct sqlite3_stmt *row) {
  load_t *t = user;
  tinker__svc_t *s = t->service;
  tinker__svc_session_t *n = session_of(t, tinker__svc_row_i64(row, 1));
  if (!n) return broken(t, "a run without a session");
  tinker__svc_model_t *m =
      tinker__svc_model_new(s, n, tinker__svc_row_i64(row, 2));
  if (!m) return no_memory(t);
  int rc = fill_model(t, m, row);
  if (rc == 0 && tinker__svc_model_add(s, m) != 0) rc = no_memory(t);
  if (rc != 0) tinker__svc_model_free(s, m);
  return rc;
}

static tinker__svc_model_t *model_of(load_t *t, int64_t row) {
  if (t->model && t->model->row == row) return t->model;
  TINKER__LIST_EACH(l, tmp, &t->service->models) {
    t->model = TINKER__CONTAINER(l, tinker__svc_model_t, link);
    if (t->model->row == row) return t->model;
  }
  return t->model = NULL;
}

/* --- Samplers and checkpoints --------------------------------------------- */

static int each_sampler(void *user, struct sqlite3_stmt *row) {
  load_t *t = user;
  tinker__svc_t *s = t->service;
  tinker__svc_sampler_t *p;
  const char *base = tinker__svc_row_text(row, 4);
  tinker__svc_session_t *n = session_of(t, tinker__svc_row_i64(row, 1));
  if (!n) return broken(t, "a sampling session without a session");
  int rc = tinker__svc_sampler_new(&p, s, n, tinker__svc_row_i64(row, 2),
                                   t->why, t->why_len);
  if (rc != 0) return rc;
  p->row = tinker__svc_row_i64(row, 0);
  seen_row(t, p->row);
  p->ack.durable = true;
  p->checkpoint = tinker__svc_row_i64(row, 6);
  p->base = tinker__svc_base_find(s, tinker__str(base));
  rc = take_digest(t, row, 3, p->digest);
  if (rc == 0 && !take_text(t, row, 5, &p->path)) rc = no_memory(t);
  if (rc == 0 && !p->base) {
    rc = tinker__why(t->why, t->why_len, TINKER_EINVAL,
                     "the state folder has samplers of the base model '%s': "
                     "give it with --model",
                     base ? base : "");
  }
  if (rc == 0 && tinker__svc_sampler_add(s, p) != 0) rc = no_memory(t);
  if (rc != 0) tinker__svc_sampler_free(s, p);
  return rc;
}

static tinker__svc_sampler_t *sampler_of(load_t *t, int64_t row) {
  if (t->sampler && t->sampler->row == row) return t->sampler;
  TINKER__LIST_EACH(l, tmp, &t->service->samplers) {
    t->sampler = TINKER__CONTAINER(l, tinker__svc_sampler_t, link);
    if (t->sampler->row == row) return t->sampler;
  }
  return t->sampler = NULL;
}

static int each_checkpoint(void *user, struct sqlite3_stmt *row) {
  load_t *t = user;
  tinker__svc_t *s = t->service;
  tinker__svc_model_t *m = model_of(t, tinker__svc_row_i64(row, 1));
  if (!m) return broken(t, "a checkpoint without a run");
  tinker__svc_checkpoint_t *c = tinker__mem_zalloc(s->mem, sizeof *c);
  if (!c) return no_memory(t);
  c->model = m;
  c->row = tinker__svc_row_i64(row, 0);
  seen_row(t, c->row);
  c->kind = (tinker__svc_ckpt_kind_t)tinker__svc_row_i64(row, 2);
  c->created_ms = tinker__svc_row_i64(row, 4);
  c->size = tinker__svc_row_i64(row, 5);
  c->expires_ms = tinker__svc_row_i64(row, 7);
  c->pending_grad = tinker__svc_row_i64(row, 8) != 0;
  c->published = tinker__svc_row_i64(row, 9) != 0;
  c->durable = true;
  tinker__list_push_back(&m->checkpoints, &c->link);
  return take_text(t, row, 3, &c->name) && take_text(t, row, 6, &c->metadata)
             ? 0
             : no_memory(t);
}

/* --- Requests ------------------------------------------------------------- */

static int fill_op(load_t *t, tinker__svc_op_t *op, struct sqlite3_stmt *row) {
  tinker__str_t body = tinker__svc_row_blob(row, 8);
  op->row = tinker__svc_row_i64(row, 0);
  seen_row(t, op->row);
  op->ack.durable = true;
  op->log_format = (int)tinker__svc_row_i64(row, 6);
  op->seed = tinker__svc_row_i64(row, 7);
  op->state = (tinker__svc_op_state_t)tinker__svc_row_i64(row, 9);
  op->result_format = (int)tinker__svc_row_i64(row, 10);
  op->result_size = (size_t)tinker__svc_row_i64(row, 12);
  op->replay =
      op->state == TINKER__SVC_OP_DONE || op->state == TINKER__SVC_OP_FAILED;
  op->traceless =
      op->state == TINKER__SVC_OP_FAILED && tinker__svc_row_i64(row, 13) != 0;
  if (!tinker__svc_row_null(row, 8)) {
    op->log_body = tinker__mem_dup(t->service->mem, body.ptr, body.len);
    op->log_len = body.len;
    if (!op->log_body) return no_memory(t);
  }
  int rc = take_digest(t, row, 5, op->digest);
  if (rc == 0 && op->replay) rc = take_digest(t, row, 11, op->result_digest);
  return rc;
}

/* Order of the rows: by owner, then by number. */
static int each_request(void *user, struct sqlite3_stmt *row) {
  load_t *t = user;
  tinker__svc_t *s = t->service;
  bool of_model = tinker__svc_row_i64(row, 1) == 0;
  int64_t owner = tinker__svc_row_i64(row, 2),
          seq = tinker__svc_row_i64(row, 3);
  tinker__svc_model_t *m = of_model ? model_of(t, owner) : NULL;
  tinker__svc_sampler_t *p = of_model ? NULL : sampler_of(t, owner);
  if (!m && !p) return broken(t, "a request without an owner");
  tinker__svc_op_t *op =
      tinker__svc_op_new(s, m ? m->id : p->id, seq,
                         (tinker__svc_op_kind_t)tinker__svc_row_i64(row, 4));
  if (!op) return no_memory(t);
  op->model = m;
  op->sampler = p;
  int rc = fill_op(t, op, row);
  if (rc == 0 &&
      tinker__map_put(s->op_by_id, tinker__str(op->request_id), op, NULL)) {
    rc = no_memory(t);
  }
  if (rc != 0) {
    tinker__svc_op_free(op);
    return rc;
  }
  tinker__list_push_back(m ? &m->ops : &p->ops, &op->all);
  if (m && seq >= m->next_seq) {
    tinker__svc_model_enqueue(m, op);
  } else {
    tinker__mem_free(s->mem, m ? op->log_body : NULL);
    if (m) op->log_body = NULL;
  }
  return 0;
}

/* --- Start ---------------------------------------------------------------- */

int tinker__svc_replay_load(tinker__svc_t *s, char *why, size_t why_len) {
  load_t t = {.service = s, .why = why, .why_len = why_len};
  static const struct {
    const char *sql;
    int (*each)(void *user, struct sqlite3_stmt *row);
  } tables[] = {
      {"SELECT row, id, created_ms, idem_key, digest, ended_ms, end_reason,"
       " body FROM sessions ORDER BY row",
       each_session},
      {"SELECT row, session, seq, created_ms, base, metadata, rank, seed,"
       " train, snapshot, snapshot_seq, broken FROM models ORDER BY row",
       each_model},
      {"SELECT row, session, seq, digest, base, path, checkpoint"
       " FROM samplers ORDER BY row",
       each_sampler},
      {"SELECT row, model, kind, name, created_ms, size, metadata,"
       " expires_ms, pending_grad, public FROM checkpoints ORDER BY row",
       each_checkpoint},
      {"SELECT row, owner_kind, owner, seq, kind, digest, format, seed, body,"
       " state, result_format, result_digest, length(result),"
       " instr(CAST(result AS TEXT), '\"category\":\"server\"')"
       " FROM requests ORDER BY owner_kind, owner, seq",
       each_request}};
  for (size_t i = 0; i < sizeof tables / sizeof *tables; i++) {
    int rc = tinker__svc_store_each(s->store, tables[i].sql, tables[i].each, &t,
                                    why, why_len);
    if (rc != 0) return rc;
  }
  return 0;
}

/* A model that nobody waits for is restored when its next call comes. */
static void restart_model(tinker__svc_model_t *m) {
  if (m->session->ended_ms) {
    tinker__svc_model_end(m);
  } else if (tinker__svc_model_awaited(m)) {
    tinker__svc_model_kick(m);
  }
}

/* Samples that were accepted and not answered. */
static void restart_samples(tinker__svc_t *s, tinker__svc_sampler_t *p) {
  char why[300];
  int status;
  TINKER__LIST_EACH(l, tmp, &p->ops) {
    tinker__svc_op_t *op = TINKER__CONTAINER(l, tinker__svc_op_t, all);
    if (op->state != TINKER__SVC_OP_PENDING) continue;
    s->samples++;
    tinker__svc_work_in_t in = {
        .kind = TINKER__SVC_OP_SAMPLE,
        .base = p->base,
        .body = {op->log_body ? op->log_body : "", op->log_len},
        .seed = op->seed,
    };
    if (tinker__svc_work_parse(&op->work, s, &in, &status, why, sizeof why) !=
        0) {
      tinker__svc_op_fail(op, "server", "%s", why);
    } else {
      tinker__svc_sampler_kick(op);
    }
  }
}

/* One whose result was stored before the crash is not to blame: what comes
 * behind it, as its snapshot, is. */
static bool has_crashed(const tinker__svc_t *s, const tinker__svc_op_t *op) {
  int64_t call = s->config.crash_call;
  if (op->replay) return call == TINKER__REDOING(op->row);
  if (op->state != TINKER__SVC_OP_PENDING) return false;
  return call == op->row || (call == -1 && op->kind == TINKER__SVC_OP_SAMPLE);
}

/* Which of the samples of a decode round it was is not known: all of them. */
void tinker__svc_replay_crashed(tinker__svc_t *s) {
  size_t cursor = 0;
  tinker__str_t key;
  void *value;
  char text[24];
  if (!s->config.crash_signal) return;
  snprintf(text, sizeof text, "%d", s->config.crash_signal);
  tinker__svc_log(s, "warning", "restarted", "signal", text, NULL);
  while (tinker__map_next(s->op_by_id, &cursor, &key, &value)) {
    tinker__svc_op_t *op = value;
    if (!has_crashed(s, op)) continue;
    op->crash_signal = s->config.crash_signal;
    tinker__svc_log(s, "error", "crashed_call", "request_id", op->request_id,
                    "signal", text, NULL);
  }
}

void tinker__svc_replay_start(tinker__svc_t *s) {
  pthread_mutex_lock(&s->lock);
  tinker__svc_session_purge(s);
  /* While models were loaded nobody could show a sign of life. */
  TINKER__LIST_EACH(n, more, &s->sessions) {
    TINKER__CONTAINER(n, tinker__svc_session_t, link)->seen_ms =
        s->world->now_ms(s->world->user);
  }
  TINKER__LIST_EACH(l, tmp, &s->models) {
    restart_model(TINKER__CONTAINER(l, tinker__svc_model_t, link));
  }
  TINKER__LIST_EACH(l, tmp, &s->samplers) {
    restart_samples(s, TINKER__CONTAINER(l, tinker__svc_sampler_t, link));
  }
  pthread_mutex_unlock(&s->lock);
}
