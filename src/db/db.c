/* db: see db.h. The connection belongs to the db's thread once that has
 * started. */
#include "db/db.h"

#include <errno.h>
#include <pthread.h>
#include <sqlite3.h>
#include <stdatomic.h>
#include <string.h>

#include <tinker/error.h>

#include "base/error.h"
#include "base/list.h"

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

struct tinker__db_write_s {
  tinker__link_t link;
  tinker__db_t *db;
  tinker__db_write_cb done;
  tinker__db_read_cb read; /* set = a read: one statement */
  void *user;
  value_t *values;
  size_t n, cap;
  int rc;
  bool vital, soft;
};

struct tinker__db_s {
  tinker__mem_t *mem;
  sqlite3 *conn;
  const char *name;
  pthread_t thread;
  pthread_mutex_t lock;
  pthread_cond_t wake;
  tinker__link_t queue;
  atomic_bool stop; /* changed under the lock */
  bool started;
  /* Of the db's thread: */
  bool failed;           /* nothing is written any more */
  bool soft;             /* a commit makes no sync now */
  bool no_room;          /* the last one that failed lacked space on the disk */
  bool unsynced;         /* the disk did not say that it has it */
  const char *count_sql; /* NULL = the file does not hold the number */
  _Atomic int64_t commits; /* written by the db's thread */
  tinker__db_watch_t watch;
  struct {
    const char *sql;
    sqlite3_stmt *stmt;
  } cache[MAX_STATEMENTS];
};

/* --- Writes --------------------------------------------------------------- */

tinker__db_write_t *tinker__db_write_new(tinker__db_t *db,
                                         tinker__db_write_cb done, void *user) {
  tinker__db_write_t *w = tinker__mem_zalloc(db->mem, sizeof *w);
  if (!w) return NULL;
  tinker__list_init(&w->link);
  w->db = db;
  w->done = done;
  w->user = user;
  return w;
}

static void write_free(tinker__db_write_t *w) {
  tinker__mem_t *mem = w->db->mem;
  for (size_t i = 0; i < w->n; i++) tinker__mem_free(mem, w->values[i].data);
  tinker__mem_free(mem, w->values);
  tinker__mem_free(mem, w);
}

void tinker__db_write_vital(tinker__db_write_t *w) {
  w->vital = true;
}

void tinker__db_write_soft(tinker__db_write_t *w) {
  w->soft = true;
}

void tinker__db_write_drop(tinker__db_write_t *w) {
  if (w) write_free(w);
}

static void add(tinker__db_write_t *w, value_t v) {
  if (!w) return;
  tinker__mem_t *mem = w->db->mem;
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

void tinker__db_write_sql(tinker__db_write_t *w, const char *sql) {
  add(w, (value_t){.type = V_SQL, .sql = sql});
}

void tinker__db_write_i64(tinker__db_write_t *w, int64_t v) {
  add(w, (value_t){.type = V_I64, .number = v});
}

static void add_copy(tinker__db_write_t *w, value_type_t type, const void *data,
                     size_t len) {
  if (!w || w->rc) return;
  void *copy = tinker__mem_dup(w->db->mem, data, len);
  if (!copy) {
    w->rc = TINKER_ENOMEM;
    return;
  }
  add(w, (value_t){.type = type, .data = copy, .len = len});
}

void tinker__db_write_textn(tinker__db_write_t *w, tinker__str_t text) {
  add_copy(w, V_TEXT, text.ptr, text.len);
}

void tinker__db_write_text(tinker__db_write_t *w, const char *text) {
  if (text) {
    tinker__db_write_textn(w, tinker__str(text));
  } else {
    add(w, (value_t){.type = V_NULL});
  }
}

void tinker__db_write_blob(tinker__db_write_t *w, const void *data,
                           size_t len) {
  add_copy(w, V_BLOB, data, len);
}

void tinker__db_write_take(tinker__db_write_t *w, void *data, size_t len) {
  add(w, (value_t){.type = V_BLOB, .data = data, .len = len});
}

static void enqueue(tinker__db_t *db, tinker__db_write_t *w) {
  pthread_mutex_lock(&db->lock);
  tinker__list_push_back(&db->queue, &w->link);
  pthread_cond_signal(&db->wake);
  pthread_mutex_unlock(&db->lock);
}

int tinker__db_write_submit(tinker__db_write_t *w) {
  if (!w) return TINKER_ENOMEM;
  int rc = w->rc;
  if (rc != 0) {
    write_free(w);
  } else {
    enqueue(w->db, w);
  }
  return rc;
}

int tinker__db_read(tinker__db_t *db, const char *sql, int64_t value,
                    tinker__db_read_cb done, void *user) {
  tinker__db_write_t *w = tinker__db_write_new(db, NULL, user);
  if (w) w->read = done;
  tinker__db_write_sql(w, sql);
  tinker__db_write_i64(w, value);
  return tinker__db_write_submit(w);
}

/* --- The thread ----------------------------------------------------------- */

/* The prepared statement of a literal; NULL on an error of SQLite. */
static sqlite3_stmt *statement(tinker__db_t *db, const char *sql) {
  size_t i = 0;
  while (i < MAX_STATEMENTS && db->cache[i].sql && db->cache[i].sql != sql) i++;
  if (i == MAX_STATEMENTS) { /* more literals than expected: start over */
    for (i = 0; i < MAX_STATEMENTS; i++) {
      sqlite3_finalize(db->cache[i].stmt);
      db->cache[i].sql = NULL;
      db->cache[i].stmt = NULL;
    }
    i = 0;
  }
  if (!db->cache[i].sql) {
    if (sqlite3_prepare_v2(db->conn, sql, -1, &db->cache[i].stmt, NULL) !=
        SQLITE_OK) {
      return NULL;
    }
    db->cache[i].sql = sql;
  }
  return db->cache[i].stmt;
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

/* The statement that begins at value *i, bound and one step done; *i is then at
 * the next one. NULL = it can't be prepared. *rc: of SQLite. The caller resets
 * it. */
static sqlite3_stmt *step(tinker__db_t *db, const tinker__db_write_t *w,
                          size_t *i, int *rc) {
  sqlite3_stmt *stmt = statement(db, w->values[*i].sql);
  int at = 1;
  *rc = stmt ? SQLITE_OK : SQLITE_ERROR;
  for (++*i; *i < w->n && w->values[*i].type != V_SQL; ++*i, at++) {
    if (*rc == SQLITE_OK) *rc = bind(stmt, at, &w->values[*i]);
  }
  if (*rc == SQLITE_OK) *rc = sqlite3_step(stmt);
  return stmt;
}

static void reset(sqlite3_stmt *stmt) {
  if (!stmt) return;
  sqlite3_reset(stmt);
  sqlite3_clear_bindings(stmt);
}

static int run_write(tinker__db_t *db, const tinker__db_write_t *w) {
  for (size_t i = 0; i < w->n;) {
    int rc;
    reset(step(db, w, &i, &rc));
    if (rc != SQLITE_DONE && rc != SQLITE_ROW) return TINKER_EIO;
  }
  return 0;
}

static int exec(tinker__db_t *db, const char *sql) {
  return sqlite3_exec(db->conn, sql, NULL, NULL, NULL) == SQLITE_OK
             ? 0
             : TINKER_EIO;
}

/* Counts the group that is being committed in the file itself. */
static int count_commit(tinker__db_t *db) {
  if (!db->count_sql) return 0;
  sqlite3_stmt *stmt = statement(db, db->count_sql);
  if (!stmt) return TINKER_EIO;
  sqlite3_bind_int64(stmt, 1, db->commits + 1);
  int rc = sqlite3_step(stmt);
  sqlite3_reset(stmt);
  return rc == SQLITE_DONE && sqlite3_changes(db->conn) == 1 ? 0 : TINKER_EIO;
}

/* Whether all of them are soft, so that their commit needs no sync. */
static bool are_soft(tinker__link_t *first, const tinker__link_t *end) {
  for (tinker__link_t *l = first; l != end; l = l->next) {
    if (!TINKER__CONTAINER(l, tinker__db_write_t, link)->soft) return false;
  }
  return true;
}

/* A sync covers all that the log has, so what was soft is durable with it. */
static int set_sync(tinker__db_t *db, bool soft) {
  if (db->soft == soft) return 0;
  int rc =
      exec(db, soft ? "PRAGMA synchronous=NORMAL" : "PRAGMA synchronous=FULL");
  if (rc == 0) db->soft = soft;
  return rc;
}

bool tinker__db_is_full(const tinker__db_t *db) {
  int error = sqlite3_system_errno(db->conn);
  return (sqlite3_extended_errcode(db->conn) & 0xff) == SQLITE_FULL ||
         error == ENOSPC || error == EDQUOT;
}

/* Before the next call of SQLite. */
static void take_error(tinker__db_t *db) {
  int rc = sqlite3_extended_errcode(db->conn);
  db->unsynced = rc == SQLITE_IOERR_FSYNC || rc == SQLITE_IOERR_DIR_FSYNC;
  db->no_room = tinker__db_is_full(db);
}

/* One transaction over the writes from `first` to the list's end, or over
 * `first` alone. */
static int transact(tinker__db_t *db, tinker__link_t *first,
                    tinker__link_t *end) {
  int rc = set_sync(db, are_soft(first, end));
  if (rc == 0) rc = exec(db, "BEGIN IMMEDIATE");
  if (rc != 0) {
    take_error(db);
    return rc;
  }
  for (tinker__link_t *l = first; l != end && rc == 0; l = l->next) {
    tinker__db_write_t *w = TINKER__CONTAINER(l, tinker__db_write_t, link);
    if (!w->read) rc = run_write(db, w);
  }
  if (rc == 0) rc = count_commit(db);
  if (rc == 0) rc = exec(db, "COMMIT");
  if (rc == 0) {
    db->commits++;
  } else {
    take_error(db);
    exec(db, "ROLLBACK");
  }
  return rc;
}

/* Once more where room was made. A sync that has failed may have lost what it
 * was to make durable, and the next one says nothing of that: no further commit
 * of this file is believed. */
static int commit_part(tinker__db_t *db, tinker__link_t *first,
                       tinker__link_t *end) {
  if (db->failed) return TINKER_EIO;
  int rc = transact(db, first, end);
  if (rc != 0 && db->no_room && !db->unsynced && db->watch.full &&
      db->watch.full(db->watch.user)) {
    rc = transact(db, first, end);
  }
  if (rc != 0 && db->unsynced) db->failed = true;
  return rc;
}

static void commit_group(tinker__db_t *db, tinker__link_t *group) {
  bool writes = false;
  TINKER__LIST_EACH(l, tmp, group) {
    if (!TINKER__CONTAINER(l, tinker__db_write_t, link)->read) writes = true;
  }
  if (!writes) return;
  if (db->watch.committing) db->watch.committing(db->watch.user);
  if (commit_part(db, group->next, group) == 0) return;
  TINKER__LIST_EACH(l, tmp, group) {
    tinker__db_write_t *w = TINKER__CONTAINER(l, tinker__db_write_t, link);
    if (w->read) continue;
    w->rc = commit_part(db, l, l->next);
    if (w->rc != 0 && w->vital) db->failed = true;
  }
}

static void run_read(tinker__db_t *db, const tinker__db_write_t *w) {
  size_t i = 0;
  int rc;
  sqlite3_stmt *stmt = step(db, w, &i, &rc);
  if (rc == SQLITE_ROW) {
    w->read(w->user, 0, stmt);
  } else {
    w->read(w->user, rc == SQLITE_DONE ? TINKER_ENOENT : TINKER_EIO, NULL);
  }
  reset(stmt);
}

static void finish_group(tinker__db_t *db, tinker__link_t *group) {
  tinker__link_t *l;
  while ((l = tinker__list_pop_front(group)) != NULL) {
    tinker__db_write_t *w = TINKER__CONTAINER(l, tinker__db_write_t, link);
    if (w->read) {
      run_read(db, w);
    } else if (w->done) {
      w->done(w->user, w->rc);
    }
    write_free(w);
  }
}

static bool take_group(tinker__db_t *db, tinker__link_t *group) {
  tinker__link_t *l;
  pthread_mutex_lock(&db->lock);
  while (tinker__list_empty(&db->queue) && !db->stop) {
    pthread_cond_wait(&db->wake, &db->lock);
  }
  while ((l = tinker__list_pop_front(&db->queue)) != NULL) {
    tinker__list_push_back(group, l);
  }
  pthread_mutex_unlock(&db->lock);
  return !tinker__list_empty(group);
}

static void *thread_main(void *user) {
  tinker__db_t *db = user;
  tinker__link_t group;
  tinker__list_init(&group);
  while (take_group(db, &group)) {
    int64_t before = db->commits;
    commit_group(db, &group);
    if (db->watch.committed && db->commits != before) {
      db->watch.committed(db->watch.user, db->commits);
    }
    finish_group(db, &group);
  }
  return NULL;
}

/* --- Opening and closing -------------------------------------------------- */

/* SQLite asks whether to try again for a lock that another process holds. */
static int on_busy(void *user, int tries) {
  tinker__db_t *db = user;
  int64_t waited = (int64_t)tries * BUSY_MS;
  if (!db->started && waited >= BUSY_START_MS) return 0;
  if (db->watch.locked) db->watch.locked(db->watch.user, waited);
  sqlite3_sleep(BUSY_MS);
  return !atomic_load(&db->stop);
}

static int open_file(tinker__db_t *db, const char *path, bool look, char *why,
                     size_t why_len) {
  int flags =
      look ? SQLITE_OPEN_READONLY : SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE;
  /* One thread at a time uses the connection (db.h), so it needs no mutex. */
  flags |= SQLITE_OPEN_NOMUTEX;
  if (sqlite3_open_v2(path, &db->conn, flags, NULL) == SQLITE_OK) {
    sqlite3_busy_handler(db->conn, on_busy, db);
    return 0;
  }
  return tinker__why(why, why_len, TINKER_EIO, "%s: %s", path,
                     db->conn ? sqlite3_errmsg(db->conn) : "out of memory");
}

int tinker__db_open(tinker__db_t **out, tinker__mem_t *mem, const char *path,
                    bool look, const char *name, char *why, size_t why_len) {
  tinker__db_t *db = tinker__mem_zalloc(mem, sizeof *db);
  if (!db) return tinker__why(why, why_len, TINKER_ENOMEM, "out of memory");
  db->mem = mem;
  db->name = name;
  tinker__list_init(&db->queue);
  pthread_mutex_init(&db->lock, NULL);
  pthread_cond_init(&db->wake, NULL);
  int rc = open_file(db, path, look, why, why_len);
  if (rc != 0) {
    tinker__db_free(db);
    return rc;
  }
  *out = db;
  return 0;
}

bool tinker__db_is_hot(const tinker__db_t *db) {
  return sqlite3_extended_errcode(db->conn) == SQLITE_READONLY_ROLLBACK;
}

int tinker__db_durable(tinker__db_t *db, char *why, size_t why_len) {
  return tinker__db_exec(db,
                         "PRAGMA journal_mode=WAL;PRAGMA synchronous=FULL;"
                         "PRAGMA fullfsync=1;",
                         why, why_len);
}

int tinker__db_each(tinker__db_t *db, const char *sql,
                    int (*each)(void *user, struct sqlite3_stmt *row),
                    void *user, char *why, size_t why_len) {
  sqlite3_stmt *stmt = NULL;
  int rc = sqlite3_prepare_v2(db->conn, sql, -1, &stmt, NULL), stop = 0;
  if (rc == SQLITE_OK) {
    while (!stop && (rc = sqlite3_step(stmt)) == SQLITE_ROW) {
      stop = each(user, stmt);
    }
  }
  if (!stop && rc != SQLITE_DONE) {
    stop = tinker__why(why, why_len, TINKER_EIO, "%s: %s", db->name,
                       sqlite3_errmsg(db->conn));
  }
  sqlite3_finalize(stmt);
  return stop;
}

int tinker__db_exec(tinker__db_t *db, const char *sql, char *why,
                    size_t why_len) {
  if (exec(db, sql) == 0) return 0;
  return tinker__why(why, why_len, TINKER_EIO, "%s: %s", db->name,
                     sqlite3_errmsg(db->conn));
}

void tinker__db_watch(tinker__db_t *db, const tinker__db_watch_t *w) {
  db->watch = *w;
}

void tinker__db_count(tinker__db_t *db, const char *sql, int64_t commits) {
  db->count_sql = sql;
  db->commits = commits;
}

int64_t tinker__db_commits(const tinker__db_t *db) {
  return db->commits;
}

size_t tinker__db_queued(tinker__db_t *db) {
  size_t n = 0;
  pthread_mutex_lock(&db->lock);
  TINKER__LIST_EACH(l, tmp, &db->queue) n++;
  pthread_mutex_unlock(&db->lock);
  return n;
}

int tinker__db_start(tinker__db_t *db) {
  db->started = true; /* the thread reads it */
  if (pthread_create(&db->thread, NULL, thread_main, db) == 0) return 0;
  db->started = false;
  return TINKER_ENOMEM;
}

void tinker__db_free(tinker__db_t *db) {
  if (!db) return;
  pthread_mutex_lock(&db->lock);
  db->stop = true;
  pthread_cond_signal(&db->wake);
  pthread_mutex_unlock(&db->lock);
  if (db->started) pthread_join(db->thread, NULL);
  for (size_t i = 0; i < MAX_STATEMENTS; i++) {
    sqlite3_finalize(db->cache[i].stmt);
  }
  sqlite3_close(db->conn);
  pthread_mutex_destroy(&db->lock);
  pthread_cond_destroy(&db->wake);
  tinker__mem_free(db->mem, db);
}
