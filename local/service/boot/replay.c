/* replay: builds the state of an earlier run from the rows of the store. Calls
 * whose effect is in no snapshot are executed once more, in order, and must
 * give the stored results. Starting thread; replay_start runs when the other
 * threads do. Each row is checked against the table of its columns first, so
 * the code after that relies on types, ranges and lengths. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <tinker/error.h>

#include "db/row.h"
#include "service/boot/replay.h"
#include "service/core/trying.h"
#include "service/run/exec.h"
#include "service/tinker/handlers.h"

typedef struct {
  tinker__svc_t *service;
  size_t table;          /* index of the table that is read */
  tinker__map_t *by_row; /* sessions, models and samplers */
  char *why;
  size_t why_len;
} load_t;

static int no_memory(load_t *t) {
  return tinker__why(t->why, t->why_len, TINKER_ENOMEM, "out of memory");
}

/* Refuses a row for a reason that no single column shows. */
static int broken(load_t *t, struct sqlite3_stmt *row, const char *what) {
  return tinker__why(t->why, t->why_len, TINKER_EFORMAT,
                     "the store is inconsistent: row %lld: %s",
                     (long long)tinker__db_row_i64(row, 0), what);
}

typedef enum { A_SESSION, A_MODEL, A_SAMPLER } kind_t;

typedef struct {
  int64_t kind, row;
} row_key_t;

static int note_row(load_t *t, kind_t kind, int64_t row, void *value) {
  row_key_t key = {kind, row};
  return tinker__map_put(t->by_row, (tinker__str_t){(char *)&key, sizeof key},
                         value, NULL);
}

static void *of_row(const load_t *t, kind_t kind, int64_t row) {
  row_key_t key = {kind, row};
  return tinker__map_get(t->by_row, (tinker__str_t){(char *)&key, sizeof key});
}

static void seen_row(load_t *t, int64_t row) {
  if (row >= t->service->next_row) t->service->next_row = row + 1;
}

static void take_digest(struct sqlite3_stmt *row, int column,
                        unsigned char out[TINKER__SHA256_LEN]) {
  memcpy(out, tinker__db_row_blob(row, column).ptr, TINKER__SHA256_LEN);
}

/* Copies a text column; NULL for null. False without memory. */
static bool take_text(load_t *t, struct sqlite3_stmt *row, int column,
                      char **out) {
  const char *text = tinker__db_row_text(row, column);
  *out = text ? tinker__mem_strdup(t->service->mem, text) : NULL;
  return !text || *out;
}

/* --- Sessions ------------------------------------------------------------- */

static bool is_double(const tinker__svc_t *s, const tinker__svc_session_t *n) {
  return tinker__map_get(s->session_by_id, tinker__str(n->id)) ||
         (n->idem_key &&
          tinker__map_get(s->session_by_key, tinker__str(n->idem_key)));
}

/* Reads the fields of n from the stored body. The body was checked when the
 * session was made, so only lack of memory counts. */
static int describe(tinker__svc_t *s, tinker__svc_session_t *n,
                    tinker__str_t body) {
  tinker__arena_t a;
  tinker__create_session_t m;
  tinker__arena_init(&a, s->mem);
  int rc =
      tinker__message_decode(&tinker__kept_session_msg, &m, &a, body, NULL, 0);
  if (rc == 0) rc = tinker__svc_session_describe(s, n, &m);
  tinker__arena_free(&a);
  return rc == TINKER_ENOMEM ? rc : 0;
}

static int each_session(void *user, struct sqlite3_stmt *row) {
  load_t *t = user;
  tinker__svc_t *s = t->service;
  const char *id = tinker__db_row_text(row, 1);
  tinker__svc_session_t *n = tinker__mem_zalloc(s->mem, sizeof *n);
  if (!n) return no_memory(t);
  tinker__list_init(&n->link);
  tinker__list_init(&n->models);
  tinker__list_init(&n->samplers);
  tinker__list_init(&n->task.link);
  tinker__svc_ack_init(&n->ack);
  n->service = s;
  n->row = tinker__db_row_i64(row, 0);
  seen_row(t, n->row);
  memcpy(n->id, id, strlen(id) + 1);
  n->created_ms = tinker__db_row_i64(row, 2);
  n->ended_ms = tinker__db_row_i64(row, 5);
  tinker__svc_session_move(n, n->ended_ms ? TINKER__SVC_SESSION_ENDED
                                          : TINKER__SVC_SESSION_LIVE);
  n->seen_ms = s->world->now_ms(s->world->user);
  take_digest(row, 4, n->digest);
  int rc = 0;
  if (!take_text(t, row, 3, &n->idem_key) ||
      !take_text(t, row, 6, &n->end_reason)) {
    rc = no_memory(t);
  }
  if (rc == 0 && describe(s, n, tinker__db_row_blob(row, 7)) != 0) {
    rc = no_memory(t);
  }
  if (rc == 0 && is_double(s, n)) {
    rc = broken(t, row, "a second of its session");
  }
  if (rc == 0 && note_row(t, A_SESSION, n->row, n) != 0) rc = no_memory(t);
  if (rc == 0 && tinker__svc_session_add(s, n) != 0) rc = no_memory(t);
  if (rc != 0) tinker__svc_session_free(s, n);
  return rc;
}

/* --- Models --------------------------------------------------------------- */

static int fill_model(load_t *t, tinker__svc_model_t *m,
                      struct sqlite3_stmt *row) {
  tinker__svc_t *s = t->service;
  const char *base = tinker__db_row_text(row, 4);
  int64_t train = tinker__db_row_i64(row, 8);
  m->row = tinker__db_row_i64(row, 0);
  tinker__svc_model_move(m, TINKER__SVC_MODEL_IDLE);
  seen_row(t, m->row);
  m->created_ms = m->used_ms = tinker__db_row_i64(row, 3);
  m->base = tinker__svc_base_find(s, tinker__str(base));
  if (tinker__map_get(s->model_by_id, tinker__str(m->id))) {
    return broken(t, row, "a second of its run");
  }
  if (!m->base) {
    return tinker__why(t->why, t->why_len, TINKER_EINVAL,
                       "the state folder has runs of the base model '%s': "
                       "give it with --model %s=DIR",
                       base ? base : "", base ? base : "");
  }
  m->lora = (tinker__eng_lora_config_t){
      .rank = (uint32_t)tinker__db_row_i64(row, 6),
      .seed = (uint64_t)tinker__db_row_i64(row, 7),
      .train_attn = (train & 1) != 0,
      .train_mlp = (train & 2) != 0,
      .train_unembed = (train & 4) != 0,
  };
  m->snapshot = tinker__db_row_i64(row, 9);
  m->snapshot_seq = tinker__db_row_i64(row, 10);
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
  tinker__svc_session_t *n = of_row(t, A_SESSION, tinker__db_row_i64(row, 1));
  if (!n) return broken(t, row, "a run without a session");
  tinker__svc_model_t *m =
      tinker__svc_model_new(s, n, tinker__db_row_i64(row, 2));
  if (!m) return no_memory(t);
  int rc = fill_model(t, m, row);
  if (rc == 0 && note_row(t, A_MODEL, m->row, m) != 0) rc = no_memory(t);
  if (rc == 0 && tinker__svc_model_add(s, m) != 0) rc = no_memory(t);
  if (rc != 0) tinker__svc_model_free(s, m);
  return rc;
}

/* --- Samplers and checkpoints --------------------------------------------- */

static int each_sampler(void *user, struct sqlite3_stmt *row) {
  load_t *t = user;
  tinker__svc_t *s = t->service;
  tinker__svc_sampler_t *p;
  const char *base = tinker__db_row_text(row, 4);
  tinker__svc_session_t *n = of_row(t, A_SESSION, tinker__db_row_i64(row, 1));
  if (!n) return broken(t, row, "a sampling session without a session");
  int rc = tinker__svc_sampler_new(&p, s, n, tinker__db_row_i64(row, 2), t->why,
                                   t->why_len);
  if (rc != 0) return rc;
  p->row = tinker__db_row_i64(row, 0);
  seen_row(t, p->row);
  p->durable = true;
  p->checkpoint = tinker__db_row_i64(row, 6);
  p->base = tinker__svc_base_find(s, tinker__str(base));
  take_digest(row, 3, p->digest);
  if (!take_text(t, row, 5, &p->path)) rc = no_memory(t);
  if (rc == 0 && !p->base) {
    rc = tinker__why(t->why, t->why_len, TINKER_EINVAL,
                     "the state folder has samplers of the base model '%s': "
                     "give it with --model",
                     base ? base : "");
  }
  if (rc == 0 && note_row(t, A_SAMPLER, p->row, p) != 0) rc = no_memory(t);
  if (rc == 0 && tinker__svc_sampler_add(s, p) != 0) rc = no_memory(t);
  if (rc != 0) tinker__svc_sampler_free(s, p);
  return rc;
}

static int each_checkpoint(void *user, struct sqlite3_stmt *row) {
  load_t *t = user;
  tinker__svc_t *s = t->service;
  tinker__svc_model_t *m = of_row(t, A_MODEL, tinker__db_row_i64(row, 1));
  if (!m) return broken(t, row, "a checkpoint without a run");
  if (tinker__db_row_null(row, 3) !=
      (tinker__db_row_i64(row, 2) == TINKER__CKPT_EPHEMERAL)) {
    return broken(t, row, "a checkpoint's name and kind");
  }
  tinker__svc_checkpoint_t *c = tinker__mem_zalloc(s->mem, sizeof *c);
  if (!c) return no_memory(t);
  c->model = m;
  c->row = tinker__db_row_i64(row, 0);
  seen_row(t, c->row);
  c->kind = (tinker__svc_ckpt_kind_t)tinker__db_row_i64(row, 2);
  c->created_ms = tinker__db_row_i64(row, 4);
  c->size = tinker__db_row_i64(row, 5);
  c->expires_ms = tinker__db_row_i64(row, 7);
  c->pending_grad = tinker__db_row_i64(row, 8) != 0;
  c->published = tinker__db_row_i64(row, 9) != 0;
  c->durable = true;
  tinker__list_push_back(&m->checkpoints, &c->link);
  return take_text(t, row, 3, &c->name) && take_text(t, row, 6, &c->metadata)
             ? 0
             : no_memory(t);
}

/* --- Requests ------------------------------------------------------------- */

static void fill_op(load_t *t, tinker__svc_op_t *op, struct sqlite3_stmt *row) {
  op->row = tinker__db_row_i64(row, 0);
  seen_row(t, op->row);
  op->log_format = (int)tinker__db_row_i64(row, 6);
  op->seed = tinker__db_row_i64(row, 7);
  tinker__svc_op_move(
      op,
      tinker__svc_op_found((tinker__svc_outcome_t)tinker__db_row_i64(row, 9)));
  op->result_format = (int)tinker__db_row_i64(row, 10);
  op->result_size = (size_t)tinker__db_row_i64(row, 12);
  if (op->state == TINKER__SVC_OP_DONE) op->redo = TINKER__SVC_REDO;
  if (op->state == TINKER__SVC_OP_FAILED) {
    bool undone = tinker__db_row_i64(row, 13) != 0;
    op->redo = undone ? TINKER__SVC_REDO_UNDONE : TINKER__SVC_REDO;
  }
  op->log_size = (size_t)tinker__db_row_i64(row, 8);
  take_digest(row, 5, op->digest);
  if (op->redo) take_digest(row, 11, op->result_digest);
}

/* Checks a request's columns against each other. */
static int check_op(load_t *t, const tinker__svc_model_t *m,
                    struct sqlite3_stmt *row) {
  int64_t seq = tinker__db_row_i64(row, 3), kind = tinker__db_row_i64(row, 4);
  int64_t state = tinker__db_row_i64(row, 9);
  bool creates =
      kind == TINKER__SVC_OP_CREATE || kind == TINKER__SVC_OP_LOAD_NEW;
  bool told =
      state == TINKER__SVC_OUTCOME_DONE || state == TINKER__SVC_OUTCOME_FAILED;
  bool needed = m ? seq >= m->next_seq && state != TINKER__SVC_OUTCOME_REJECTED
                  : state == TINKER__SVC_OUTCOME_PENDING;
  if ((kind == TINKER__SVC_OP_SAMPLE) == (m != NULL) ||
      (m && creates != (seq == 0)) || (m && seq > INT32_MAX) ||
      (kind == TINKER__SVC_OP_SAVE_EXTERNAL &&
       state != TINKER__SVC_OUTCOME_REJECTED)) {
    return broken(t, row, "a request's kind, owner and seq");
  }
  if (told && (tinker__db_row_null(row, 10) || tinker__db_row_null(row, 11))) {
    return broken(t, row, "a result without its format or digest");
  }
  if (needed && tinker__db_row_null(row, 8)) {
    return broken(t, row, "a request that is not executed and has no body");
  }
  return 0;
}

/* Reads a request. The rows are ordered by owner and number. */
static int each_request(void *user, struct sqlite3_stmt *row) {
  load_t *t = user;
  tinker__svc_t *s = t->service;
  bool of_model = tinker__db_row_i64(row, 1) == 0;
  int64_t owner = tinker__db_row_i64(row, 2), seq = tinker__db_row_i64(row, 3);
  tinker__svc_model_t *m = of_model ? of_row(t, A_MODEL, owner) : NULL;
  tinker__svc_sampler_t *p = of_model ? NULL : of_row(t, A_SAMPLER, owner);
  if (!m && !p) return broken(t, row, "a request without an owner");
  int rc = check_op(t, m, row);
  if (rc != 0) return rc;
  tinker__svc_op_t *op =
      tinker__svc_op_new(s, m ? m->id : p->id, seq,
                         (tinker__svc_op_kind_t)tinker__db_row_i64(row, 4));
  if (!op) return no_memory(t);
  op->model = m;
  op->sampler = p;
  fill_op(t, op, row);
  if (tinker__map_get(s->op_by_id, tinker__str(op->request_id))) {
    rc = broken(t, row, "a second of its request");
  }
  if (rc == 0 &&
      tinker__map_put(s->op_by_id, tinker__str(op->request_id), op, NULL)) {
    rc = no_memory(t);
  }
  if (rc != 0) {
    tinker__svc_op_free(op);
    return rc;
  }
  tinker__list_push_back(m ? &m->ops : &p->ops, &op->all);
  if (m && seq >= m->next_seq) tinker__svc_model_enqueue(m, op);
  return 0;
}

/* --- Start ---------------------------------------------------------------- */

#define ROW(name)                                                              \
  { name, TINKER__COLUMN_I64, false, 1, TINKER__MAX_ROW }
#define I64(name, min, max)                                                    \
  { name, TINKER__COLUMN_I64, false, min, max }
#define I64_NULL(name, min, max)                                               \
  { name, TINKER__COLUMN_I64, true, min, max }
#define TEXT(name, max)                                                        \
  { name, TINKER__COLUMN_TEXT, false, 1, max }
#define TEXT_NULL(name)                                                        \
  { name, TINKER__COLUMN_TEXT, true, 0, MAX_BYTES }
#define DIGEST(name)                                                           \
  { name, TINKER__COLUMN_BLOB, false, TINKER__SHA256_LEN, TINKER__SHA256_LEN }
#define TIME(name) I64(name, 0, MAX_TIME)
#define TIME_NULL(name) I64_NULL(name, 0, MAX_TIME)

#define MAX_BYTES 1000000000
#define MAX_TIME 253402300799999 /* the end of the year 9999 */

static const tinker__db_column_t session_columns[] = {
    ROW("row"),
    TEXT("id", 36),
    TIME("created_ms"),
    TEXT_NULL("idem_key"),
    DIGEST("digest"),
    TIME_NULL("ended_ms"),
    TEXT_NULL("end_reason"),
    {"body", TINKER__COLUMN_BLOB, false, 0, MAX_BYTES}};

static const tinker__db_column_t model_columns[] = {
    ROW("row"),
    ROW("session"),
    I64("seq", 0, INT64_MAX),
    TIME("created_ms"),
    TEXT("base", MAX_BYTES),
    TEXT_NULL("metadata"),
    I64("rank", 1, 128),
    I64("seed", INT64_MIN, INT64_MAX),
    I64("train", 0, 7),
    I64_NULL("snapshot", 0, TINKER__MAX_ROW),
    I64_NULL("snapshot_seq", 0, (int64_t)INT32_MAX + 1),
    TEXT_NULL("broken")};

static const tinker__db_column_t sampler_columns[] = {
    ROW("row"),
    ROW("session"),
    I64("seq", 0, INT64_MAX),
    DIGEST("digest"),
    TEXT("base", MAX_BYTES),
    TEXT_NULL("path"),
    I64_NULL("checkpoint", 0, TINKER__MAX_ROW)};

static const tinker__db_column_t checkpoint_columns[] = {
    ROW("row"),
    ROW("model"),
    I64("kind", 0, 2),
    TEXT_NULL("name"),
    TIME("created_ms"),
    I64("size", 0, INT64_MAX),
    TEXT_NULL("metadata"),
    TIME_NULL("expires_ms"),
    I64("pending_grad", 0, 1),
    I64("public", 0, 1)};

static const tinker__db_column_t request_columns[] = {
    ROW("row"),
    I64("owner_kind", 0, 1),
    ROW("owner"),
    I64("seq", 0, INT64_MAX),
    I64("kind", 0, TINKER__SVC_OP_SAVE_EXTERNAL),
    DIGEST("digest"),
    I64("format", 0, 1),
    I64("seed", INT64_MIN, INT64_MAX),
    I64_NULL("body", 0, MAX_BYTES),
    I64("state", 0, TINKER__SVC_OUTCOME_REJECTED),
    I64_NULL("result_format", 0, 1),
    {"result_digest", TINKER__COLUMN_BLOB, true, TINKER__SHA256_LEN,
     TINKER__SHA256_LEN},
    I64_NULL("length(result)", 0, MAX_BYTES)};

#define COLUMNS(of) of, sizeof of / sizeof *of

static const struct {
  const char *name, *sql;
  int (*each)(void *user, struct sqlite3_stmt *row);
  const tinker__db_column_t *columns;
  size_t n;
} tables[] = {
    {"sessions",
     "SELECT row, id, created_ms, idem_key, digest, ended_ms, end_reason,"
     /* A body above today's limit, from an older version, is not kept. */
     " CASE WHEN length(body) <= 131072 THEN body ELSE x'7b7d' END"
     " FROM sessions ORDER BY row",
     each_session, COLUMNS(session_columns)},
    {"models",
     "SELECT row, session, seq, created_ms, base, metadata, rank, seed,"
     " train, snapshot, snapshot_seq, broken FROM models ORDER BY row",
     each_model, COLUMNS(model_columns)},
    {"samplers",
     "SELECT row, session, seq, digest, base, path, checkpoint"
     " FROM samplers ORDER BY row",
     each_sampler, COLUMNS(sampler_columns)},
    {"checkpoints",
     "SELECT row, model, kind, name, created_ms, size, metadata,"
     " expires_ms, pending_grad, public FROM checkpoints ORDER BY row",
     each_checkpoint, COLUMNS(checkpoint_columns)},
    {"requests",
     /* Only the sizes of bodies and results are read. */
     "SELECT row, owner_kind, owner, seq, kind, digest, format, seed,"
     " CASE typeof(body) WHEN 'blob' THEN length(body)"
     " WHEN 'null' THEN NULL ELSE 'no bytes' END,"
     " state, result_format, result_digest, length(result),"
     " CASE state WHEN 2 THEN"
     " instr(CAST(result AS TEXT), '\"category\":\"server\"') END"
     " FROM requests ORDER BY owner_kind, owner, seq",
     each_request, COLUMNS(request_columns)}};

static int each_row(void *user, struct sqlite3_stmt *row) {
  load_t *t = user;
  int rc = tinker__db_row_check(row, "the store", tables[t->table].name,
                                tables[t->table].columns, tables[t->table].n,
                                t->why, t->why_len);
  return rc == 0 ? tables[t->table].each(t, row) : rc;
}

int tinker__svc_replay_load(tinker__svc_t *s, char *why, size_t why_len) {
  load_t t = {.service = s, .why = why, .why_len = why_len};
  int rc = tinker__map_new(&t.by_row, s->mem);
  if (rc != 0) return no_memory(&t);
  for (; rc == 0 && t.table < sizeof tables / sizeof *tables; t.table++) {
    rc = tinker__db_each(s->store, tables[t.table].sql, each_row, &t, why,
                         why_len);
  }
  tinker__map_free(t.by_row);
  return rc;
}

/* Lets a model go on. A model without a waiting call is restored when its next
 * call arrives. */
static void restart_model(tinker__svc_model_t *m) {
  if (tinker__svc_session_over(m->session)) {
    tinker__svc_model_end(m);
  } else if (tinker__svc_model_awaited(m)) {
    tinker__svc_model_kick(m);
  }
}

/* Called with the body of a sample that goes on. Store thread. */
static void on_sample_body(void *user, int rc, struct sqlite3_stmt *row) {
  char why[300] = "its body can't be read";
  int status;
  tinker__svc_op_t *op = user;
  tinker__svc_t *s = op->service;
  tinker__svc_work_t *work = NULL;
  tinker__svc_work_in_t in = {
      .kind = TINKER__SVC_OP_SAMPLE,
      .base = op->sampler->base,
      .body = rc == 0 ? tinker__db_row_blob(row, 0) : TINKER__STR(""),
      .format = rc == 0 ? (int)tinker__db_row_i64(row, 1) : 0,
      .seed = op->seed,
  };
  if (rc == 0) {
    rc = tinker__svc_work_parse(&work, s, &in, &status, why, sizeof why);
  }
  tinker__svc_lock(s);
  op->work = work;
  if (work) {
    op->result_held = work->price;
    tinker__svc_share_add(&s->results, work->price);
  }
  if (rc == 0) {
    tinker__svc_sampler_kick(op); /* unless the service stops */
  } else if (!s->stopping) {
    tinker__svc_op_fail_locked(op, "server", "%s", why);
  }
  tinker__svc_unlock(s);
}

/* Begins to read the bodies of the samples that have no result yet. */
static void restart_samples(tinker__svc_t *s, tinker__svc_sampler_t *p) {
  TINKER__LIST_EACH(l, tmp, &p->ops) {
    tinker__svc_op_t *op = TINKER__CONTAINER(l, tinker__svc_op_t, all);
    if (!tinker__svc_op_pending(op)) continue;
    s->samples++;
    if (tinker__svc_store_read_body(s->store, op->row, on_sample_body, op)) {
      tinker__svc_op_fail_locked(op, "server", "out of memory");
    }
  }
}

void tinker__svc_replay_start(tinker__svc_t *s) {
  tinker__svc_lock(s);
  tinker__svc_session_purge(s);
  /* No session could show a sign of life while the models were loaded. */
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
  tinker__svc_unlock(s);
}
