/* store: see store.h. The connection is the store thread's once that runs. */
#include "service/store/store.h"
#include "service/store/rows.h"

#include <pthread.h>
#include <sqlite3.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include <tinker/error.h>

#include "base/list.h"
#include "service/store/schema.h"

#define MAX_STATEMENTS 48
#define BUSY_MS 50         /* between two tries for another's lock */
#define BUSY_START_MS 5000 /* as long as a start waits for it */

typedef enum { V_SQL, V_I64, V_TEXT, V_BLOB, V_NULL } value_type_t;

typedef struct {
  value_type_t type;
  int64_t number;
  const char *sql;
  void *data; /* owned */
  size_t len;
} value_t;

struct tinker__svc_write_s {
  tinker__link_t link;
  tinker__svc_store_t *store;
  tinker__svc_write_cb done;
  tinker__svc_read_cb read; /* set = a read of request row `row` */
  const char *query;        /* what it reads: value and number */
  int64_t row;
  void *user;
  value_t *values;
  size_t n, cap;
  int rc;
  bool vital;
};

struct tinker__svc_store_s {
  tinker__mem_t *mem;
  sqlite3 *db;
  pthread_t thread;
  pthread_mutex_t lock;
  pthread_cond_t wake;
  tinker__link_t queue;
  atomic_bool stop; /* changed under the lock */
  bool started;
  bool failed; /* a vital write did. Store thread */
  char id[33];
  _Atomic int64_t commits; /* written by the store thread */
  tinker__svc_store_watch_t watch;
  struct {
    const char *sql;
    sqlite3_stmt *stmt;
  } cache[MAX_STATEMENTS];
};

/* --- Writes --------------------------------------------------------------- */

tinker__svc_write_t *tinker__svc_write_new(tinker__svc_store_t *s,
                                           tinker__svc_write_cb done,
                                           void *user) {
  tinker__svc_write_t *w = tinker__mem_zalloc(s->mem, sizeof *w);
  if (!w) return NULL;
  tinker__list_init(&w->link);
  w->store = s;
  w->done = done;
  w->user = user;
  return w;
}

static void write_free(tinker__svc_write_t *w) {
  tinker__mem_t *mem = w->store->mem;
  for (size_t i = 0; i < w->n; i++) tinker__mem_free(mem, w->values[i].data);
  tinker__mem_free(mem, w->values);
  tinker__mem_free(mem, w);
}

void tinker__svc_write_vital(tinker__svc_write_t *w) {
  w->vital = true;
}

void tinker__svc_write_drop(tinker__svc_write_t *w) {
  if (w) write_free(w);
}

static void add(tinker__svc_write_t *w, value_t v) {
  if (!w) return;
  tinker__mem_t *mem = w->store->mem;
  if (!w->rc && w->n == w->cap) {
    size_t cap = w->cap ? 2 * w->cap : 16;
    value_t *p = tinker__mem_realloc(mem, w->values, cap * sizeof *p);
    if (!p) {
      w->rc = TINKER_ENOMEM;
    } else {
      w->values = p;
      w->cap = cap;
    }
  }
  if (w->rc) {
    tinker__mem_free(mem, v.data);
  } else {
    w->values[w->n++] = v;
  }
}

void tinker__svc_write_sql(tinker__svc_write_t *w, const char *sql) {
  add(w, (value_t){.type = V_SQL, .sql = sql});
}

void tinker__svc_write_i64(tinker__svc_write_t *w, int64_t v) {
  add(w, (value_t){.type = V_I64, .number = v});
}

static void add_copy(tinker__svc_write_t *w, value_type_t type,
                     const void *data, size_t len) {
  if (!w || w->rc) return;
  void *copy = tinker__mem_dup(w->store->mem, data, len);
  if (!copy) {
    w->rc = TINKER_ENOMEM;
    return;
  }
  add(w, (value_t){.type = type, .data = copy, .len = len});
}

void tinker__svc_write_text(tinker__svc_write_t *w, const char *text) {
  if (text) {
    add_copy(w, V_TEXT, text, strlen(text));
  } else {
    add(w, (value_t){.type = V_NULL});
  }
}

void tinker__svc_write_blob(tinker__svc_write_t *w, const void *data,
                            size_t len) {
  add_copy(w, V_BLOB, data, len);
}

void tinker__svc_write_take(tinker__svc_write_t *w, void *data, size_t len) {
  add(w, (value_t){.type = V_BLOB, .data = data, .len = len});
}

static void enqueue(tinker__svc_store_t *s, tinker__svc_write_t *w) {
  pthread_mutex_lock(&s->lock);
  tinker__list_push_back(&s->queue, &w->link);
  pthread_cond_signal(&s->wake);
  pthread_mutex_unlock(&s->lock);
}

int tinker__svc_write_submit(tinker__svc_write_t *w) {
  if (!w) return TINKER_ENOMEM;
  int rc = w->rc;
  if (rc != 0) {
    write_free(w);
  } else {
    enqueue(w->store, w);
  }
  return rc;
}

static int read_row(tinker__svc_store_t *s, const char *query, int64_t row,
                    tinker__svc_read_cb done, void *user) {
  tinker__svc_write_t *w = tinker__svc_write_new(s, NULL, user);
  if (!w) return TINKER_ENOMEM;
  w->read = done;
  w->query = query;
  w->row = row;
  enqueue(s, w);
  return 0;
}

int tinker__svc_store_read_result(tinker__svc_store_t *s, int64_t row,
                                  tinker__svc_read_cb done, void *user) {
  return read_row(s, "SELECT result, result_format FROM requests WHERE row = ?",
                  row, done, user);
}

int tinker__svc_store_read_body(tinker__svc_store_t *s, int64_t row,
                                tinker__svc_read_cb done, void *user) {
  return read_row(s, "SELECT body, format FROM requests WHERE row = ?", row,
                  done, user);
}

/* --- The thread ----------------------------------------------------------- */

/* The prepared statement of a literal; NULL on an error of SQLite. */
static sqlite3_stmt *statement(tinker__svc_store_t *s, const char *sql) {
  size_t i = 0;
  while (i < MAX_STATEMENTS && s->cache[i].sql && s->cache[i].sql != sql) i++;
  if (i == MAX_STATEMENTS) { /* more literals than expected: start over */
    for (i = 0; i < MAX_STATEMENTS; i++) {
      sqlite3_finalize(s->cache[i].stmt);
      s->cache[i].sql = NULL;
      s->cache[i].stmt = NULL;
    }
    i = 0;
  }
  if (!s->cache[i].sql) {
    if (sqlite3_prepare_v2(s->db, sql, -1, &s->cache[i].stmt, NULL) !=
        SQLITE_OK) {
      return NULL;
    }
    s->cache[i].sql = sql;
  }
  return s->cache[i].stmt;
}

static int bind(sqlite3_stmt *stmt, int at, const value_t *v) {
  switch (v->type) {
  case V_I64: return sqlite3_bind_int64(stmt, at, v->number);
  case V_TEXT:
    return sqlite3_bind_text64(stmt, at, v->data, v->len, SQLITE_STATIC,
                               SQLITE_UTF8);
  case V_BLOB:
    return sqlite3_bind_blob64(stmt, at, v->data, v->len, SQLITE_STATIC);
  default: return sqlite3_bind_null(stmt, at);
  }
}

static int run_write(tinker__svc_store_t *s, const tinker__svc_write_t *w) {
  for (size_t i = 0; i < w->n;) {
    sqlite3_stmt *stmt = statement(s, w->values[i].sql);
    int rc = stmt ? SQLITE_OK : SQLITE_ERROR, at = 1;
    for (i++; i < w->n && w->values[i].type != V_SQL; i++, at++) {
      if (rc == SQLITE_OK) rc = bind(stmt, at, &w->values[i]);
    }
    if (rc == SQLITE_OK) rc = sqlite3_step(stmt);
    if (stmt) {
      sqlite3_reset(stmt);
      sqlite3_clear_bindings(stmt);
    }
    if (rc != SQLITE_DONE && rc != SQLITE_ROW) return TINKER_EIO;
  }
  return 0;
}

static int exec(tinker__svc_store_t *s, const char *sql) {
  return sqlite3_exec(s->db, sql, NULL, NULL, NULL) == SQLITE_OK ? 0
                                                                 : TINKER_EIO;
}

/* Counts the group that is being committed in the store itself. */
static int count_commit(tinker__svc_store_t *s) {
  sqlite3_stmt *stmt = statement(s, "UPDATE store SET commits = ?");
  if (!stmt) return TINKER_EIO;
  sqlite3_bind_int64(stmt, 1, s->commits + 1);
  int rc = sqlite3_step(stmt);
  sqlite3_reset(stmt);
  return rc == SQLITE_DONE && sqlite3_changes(s->db) == 1 ? 0 : TINKER_EIO;
}

/* One transaction over the writes from `first` to the list's end, or over
 * `first` alone. */
static int transact(tinker__svc_store_t *s, tinker__link_t *first,
                    tinker__link_t *end) {
  int rc = exec(s, "BEGIN IMMEDIATE");
  if (rc != 0) return rc;
  for (tinker__link_t *l = first; l != end && rc == 0; l = l->next) {
    tinker__svc_write_t *w = TINKER__CONTAINER(l, tinker__svc_write_t, link);
    if (!w->read) rc = run_write(s, w);
  }
  if (rc == 0) rc = count_commit(s);
  if (rc == 0) rc = exec(s, "COMMIT");
  if (rc == 0) {
    s->commits++;
  } else {
    exec(s, "ROLLBACK");
  }
  return rc;
}

static void commit_group(tinker__svc_store_t *s, tinker__link_t *group) {
  bool writes = false;
  TINKER__LIST_EACH(l, tmp, group) {
    if (!TINKER__CONTAINER(l, tinker__svc_write_t, link)->read) writes = true;
  }
  if (!writes) return;
  if (!s->failed && transact(s, group->next, group) == 0) return;
  TINKER__LIST_EACH(l, tmp, group) {
    tinker__svc_write_t *w = TINKER__CONTAINER(l, tinker__svc_write_t, link);
    if (w->read) continue;
    w->rc = s->failed ? TINKER_EIO : transact(s, l, l->next);
    if (w->rc != 0 && w->vital) s->failed = true;
  }
}

static void run_read(tinker__svc_store_t *s, tinker__svc_write_t *w) {
  sqlite3_stmt *stmt = statement(s, w->query);
  if (!stmt) {
    w->read(w->user, TINKER_EIO, NULL, 0, 0);
    return;
  }
  sqlite3_bind_int64(stmt, 1, w->row);
  int rc = sqlite3_step(stmt);
  if (rc == SQLITE_ROW && sqlite3_column_type(stmt, 0) != SQLITE_NULL) {
    const void *data = sqlite3_column_blob(stmt, 0);
    w->read(w->user, 0, data ? data : "", (size_t)sqlite3_column_bytes(stmt, 0),
            sqlite3_column_int64(stmt, 1));
  } else {
    bool none = rc == SQLITE_ROW || rc == SQLITE_DONE;
    w->read(w->user, none ? TINKER_ENOENT : TINKER_EIO, NULL, 0, 0);
  }
  sqlite3_reset(stmt);
}

static void finish_group(tinker__svc_store_t *s, tinker__link_t *group) {
  tinker__link_t *l;
  while ((l = tinker__list_pop_front(group)) != NULL) {
    tinker__svc_write_t *w = TINKER__CONTAINER(l, tinker__svc_write_t, link);
    if (w->read) {
      run_read(s, w);
    } else if (w->done) {
      w->done(w->user, w->rc);
    }
    write_free(w);
  }
}

static bool take_group(tinker__svc_store_t *s, tinker__link_t *group) {
  tinker__link_t *l;
  pthread_mutex_lock(&s->lock);
  while (tinker__list_empty(&s->queue) && !s->stop) {
    pthread_cond_wait(&s->wake, &s->lock);
  }
  while ((l = tinker__list_pop_front(&s->queue)) != NULL) {
    tinker__list_push_back(group, l);
  }
  pthread_mutex_unlock(&s->lock);
  return !tinker__list_empty(group);
}

static void *store_thread(void *user) {
  tinker__svc_store_t *s = user;
  tinker__link_t group;
  tinker__list_init(&group);
  while (take_group(s, &group)) {
    int64_t before = s->commits;
    commit_group(s, &group);
    if (s->watch.committed && s->commits != before) {
      s->watch.committed(s->watch.user, s->commits);
    }
    finish_group(s, &group);
  }
  return NULL;
}

/* --- Opening and closing -------------------------------------------------- */

static int read_number(void *user, struct sqlite3_stmt *row) {
  *(int64_t *)user = tinker__svc_row_i64(row, 0);
  return 0;
}

/* The row of the table store. */
static int read_id(void *user, struct sqlite3_stmt *row) {
  tinker__svc_store_facts_t *f = user;
  const char *id = tinker__svc_row_text(row, 0);
  f->commits = tinker__svc_row_i64(row, 1);
  bool good = id && strlen(id) == sizeof f->id - 1 &&
              strspn(id, "0123456789abcdef") == sizeof f->id - 1;
  if (!good || f->commits < 0 || f->commits > INT64_MAX / 2) {
    f->commits = 0;
    return 0;
  }
  memcpy(f->id, id, sizeof f->id);
  return 0;
}

static int load_id(tinker__svc_store_t *s, char *why, size_t why_len) {
  tinker__svc_store_facts_t f = {0};
  int rc = tinker__svc_store_each(s, "SELECT id, commits FROM store", read_id,
                                  &f, why, why_len);
  if (rc != 0) return rc;
  if (!f.id[0]) {
    return tinker__why(why, why_len, TINKER_EFORMAT,
                       "the store is inconsistent: it has no id");
  }
  memcpy(s->id, f.id, sizeof s->id);
  s->commits = f.commits;
  return 0;
}

/* Step by step, each a transaction of its own. */
static int migrate(tinker__svc_store_t *s, int64_t version, char *why,
                   size_t why_len) {
  char sql[1200];
  int rc = 0;
  for (; rc == 0 && version < TINKER__SCHEMA_VERSION; version++) {
    snprintf(sql, sizeof sql,
             "BEGIN IMMEDIATE;%sPRAGMA user_version=%d;COMMIT;",
             schema_steps[version], (int)version + 1);
    rc = tinker__svc_store_exec(s, sql, why, why_len);
  }
  return rc;
}

static int prepare_file(tinker__svc_store_t *s, char *why, size_t why_len) {
  int64_t version = -1;
  int rc =
      tinker__svc_store_exec(s,
                             "PRAGMA journal_mode=WAL;PRAGMA synchronous=FULL;"
                             "PRAGMA fullfsync=1;",
                             why, why_len);
  if (rc == 0) {
    rc = tinker__svc_store_each(s, "PRAGMA user_version", read_number, &version,
                                why, why_len);
  }
  if (rc != 0 || version == TINKER__SCHEMA_VERSION) return rc;
  if (version > 0 && version < TINKER__SCHEMA_VERSION) {
    return migrate(s, version, why, why_len);
  }
  if (version != 0) {
    return tinker__why(why, why_len, TINKER_EFORMAT,
                       "the state folder was written by another version of "
                       "the service (its store has version %lld, this one "
                       "reads %d)",
                       (long long)version, TINKER__SCHEMA_VERSION);
  }
  char sql[sizeof schema_sql + 80];
  snprintf(sql, sizeof sql, "BEGIN IMMEDIATE;%sPRAGMA user_version=%d;COMMIT;",
           schema_sql, TINKER__SCHEMA_VERSION);
  return tinker__svc_store_exec(s, sql, why, why_len);
}

/* SQLite asks whether to try again for a lock that another process holds. */
static int on_busy(void *user, int tries) {
  tinker__svc_store_t *s = user;
  int64_t waited = (int64_t)tries * BUSY_MS;
  if (!s->started && waited >= BUSY_START_MS) return 0;
  if (s->watch.locked) s->watch.locked(s->watch.user, waited);
  sqlite3_sleep(BUSY_MS);
  return !atomic_load(&s->stop);
}

static int open_file(tinker__svc_store_t *s, const char *path, int flags,
                     char *why, size_t why_len) {
  if (sqlite3_open_v2(path, &s->db, flags, NULL) == SQLITE_OK) {
    sqlite3_busy_handler(s->db, on_busy, s);
    return 0;
  }
  return tinker__why(why, why_len, TINKER_EIO, "%s: %s", path,
                     s->db ? sqlite3_errmsg(s->db) : "out of memory");
}

int tinker__svc_store_open(tinker__svc_store_t **out, tinker__mem_t *mem,
                           const char *path, char *why, size_t why_len) {
  tinker__svc_store_t *s = tinker__mem_zalloc(mem, sizeof *s);
  if (!s) return tinker__why(why, why_len, TINKER_ENOMEM, "out of memory");
  s->mem = mem;
  tinker__list_init(&s->queue);
  pthread_mutex_init(&s->lock, NULL);
  pthread_cond_init(&s->wake, NULL);
  int rc = open_file(s, path, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, why,
                     why_len);
  if (rc == 0) rc = prepare_file(s, why, why_len);
  if (rc == 0) rc = load_id(s, why, why_len);
  if (rc != 0) {
    tinker__svc_store_free(s);
    return rc;
  }
  *out = s;
  return 0;
}

int tinker__svc_store_each(tinker__svc_store_t *s, const char *sql,
                           int (*each)(void *user, struct sqlite3_stmt *row),
                           void *user, char *why, size_t why_len) {
  sqlite3_stmt *stmt = NULL;
  int rc = sqlite3_prepare_v2(s->db, sql, -1, &stmt, NULL), stop = 0;
  if (rc == SQLITE_OK) {
    while (!stop && (rc = sqlite3_step(stmt)) == SQLITE_ROW) {
      stop = each(user, stmt);
    }
  }
  if (!stop && rc != SQLITE_DONE) {
    stop = tinker__why(why, why_len, TINKER_EIO, "the store: %s",
                       sqlite3_errmsg(s->db));
  }
  sqlite3_finalize(stmt);
  return stop;
}

int tinker__svc_store_exec(tinker__svc_store_t *s, const char *sql, char *why,
                           size_t why_len) {
  if (exec(s, sql) == 0) return 0;
  return tinker__why(why, why_len, TINKER_EIO, "the store: %s",
                     sqlite3_errmsg(s->db));
}

/* --- Looking in ----------------------------------------------------------- */

char tinker__svc_folder_kept[] = "kept", tinker__svc_folder_gone[] = "gone";

static int note_folder(void *user, struct sqlite3_stmt *row) {
  tinker__map_t *folders = user;
  const char *name = tinker__svc_row_text(row, 0);
  if (!name) return 0;
  return tinker__map_put(folders, tinker__str(name),
                         tinker__svc_row_i64(row, 1) ? TINKER__FOLDER_KEPT
                                                     : TINKER__FOLDER_GONE,
                         NULL);
}

/* One that is kept wins. */
static int note_folders(tinker__svc_store_t *s, tinker__map_t *folders,
                        int64_t version, char *why, size_t why_len) {
  int rc = version < 3
               ? 0
               : tinker__svc_store_each(s, "SELECT folder, 0 FROM gone",
                                        note_folder, folders, why, why_len);
  if (rc == 0) {
    rc = tinker__svc_store_each(
        s,
        "SELECT 'checkpoints/' || row, 1 FROM checkpoints UNION ALL"
        " SELECT 'snapshots/' || snapshot, 1 FROM models WHERE snapshot > 0",
        note_folder, folders, why, why_len);
  }
  if (rc == TINKER_ENOMEM) tinker__why(why, why_len, rc, "out of memory");
  return rc;
}

static int read_facts(tinker__svc_store_t *s, tinker__svc_store_facts_t *f,
                      char *why, size_t why_len) {
  int64_t tables = 0;
  int rc = tinker__svc_store_each(s, "PRAGMA user_version", read_number,
                                  &f->version, why, why_len);
  if (rc == 0) {
    rc = tinker__svc_store_each(
        s,
        "SELECT sum(CASE WHEN type = 'table' AND name IN ('sessions', 'models',"
        " 'requests', 'samplers', 'checkpoints') THEN 1"
        " WHEN type = 'table' AND name IN ('store', 'gone') THEN 10"
        " ELSE 1000 END) FROM sqlite_master"
        " WHERE sql IS NOT NULL AND type IN ('table', 'view')",
        read_number, &tables, why, why_len);
  }
  if (rc != 0) return rc;
  f->ours = f->version == 0  ? tables == 0
            : f->version < 3 ? tables % 1000 == 5
                             : tables % 1000 == 25;
  if (!f->ours || f->version < 3) return 0;
  return tinker__svc_store_each(s, "SELECT id, commits FROM store", read_id, f,
                                why, why_len);
}

int tinker__svc_store_peek(const char *path, tinker__svc_store_facts_t *facts,
                           tinker__map_t *folders, char *why, size_t why_len) {
  tinker__svc_store_t s = {0};
  *facts = (tinker__svc_store_facts_t){0};
  int rc = open_file(&s, path, SQLITE_OPEN_READONLY, why, why_len);
  if (rc == 0) rc = read_facts(&s, facts, why, why_len);
  if (rc == 0 && folders && facts->ours && facts->version > 0) {
    rc = note_folders(&s, folders, facts->version, why, why_len);
  }
  sqlite3_close(s.db);
  return rc;
}

void tinker__svc_store_watch(tinker__svc_store_t *s,
                             const tinker__svc_store_watch_t *w) {
  s->watch = *w;
}

const char *tinker__svc_store_id(const tinker__svc_store_t *s) {
  return s->id;
}

int64_t tinker__svc_store_commits(tinker__svc_store_t *s) {
  return s->commits;
}

/* --- Running -------------------------------------------------------------- */

int tinker__svc_store_start(tinker__svc_store_t *s) {
  s->started = true; /* the thread reads it */
  if (pthread_create(&s->thread, NULL, store_thread, s) == 0) return 0;
  s->started = false;
  return TINKER_ENOMEM;
}

void tinker__svc_store_free(tinker__svc_store_t *s) {
  if (!s) return;
  pthread_mutex_lock(&s->lock);
  s->stop = true;
  pthread_cond_signal(&s->wake);
  pthread_mutex_unlock(&s->lock);
  if (s->started) pthread_join(s->thread, NULL);
  for (size_t i = 0; i < MAX_STATEMENTS; i++) {
    sqlite3_finalize(s->cache[i].stmt);
  }
  sqlite3_close(s->db);
  pthread_mutex_destroy(&s->lock);
  pthread_cond_destroy(&s->wake);
  tinker__mem_free(s->mem, s);
}
