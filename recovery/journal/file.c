/* file: see file.h. The database's thread is of src/db; the lock of this file
 * orders the chain, and is held for a hash and a submission. */
#include "journal/file.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <tinker/error.h>

#include "db/db.h"
#include "db/row.h"

#define FORMAT_VERSION 1
#define NAME "the journal"
#define SMALLEST 512 /* bytes of a page of SQLite, at least */

static const char tables[] =
    "CREATE TABLE IF NOT EXISTS head(one INTEGER PRIMARY KEY CHECK(one = 1),"
    " format INTEGER NOT NULL, lineage TEXT NOT NULL, epoch INTEGER NOT NULL,"
    " generation INTEGER NOT NULL, last INTEGER NOT NULL);"
    "CREATE TABLE IF NOT EXISTS record(id INTEGER PRIMARY KEY,"
    " type INTEGER NOT NULL, generation INTEGER NOT NULL,"
    " step INTEGER NOT NULL, boot TEXT NOT NULL, boot_ms INTEGER NOT NULL,"
    " wall_ms INTEGER NOT NULL, fields TEXT NOT NULL, bytes BLOB NOT NULL,"
    " hash BLOB NOT NULL);"
    "CREATE TRIGGER IF NOT EXISTS one_writer BEFORE INSERT ON record"
    " WHEN NEW.generation <> (SELECT generation FROM head)"
    " BEGIN SELECT RAISE(ABORT, 'an older writer'); END;"
    /* On another page than the records: one that loses its last is found out.
     */
    "CREATE TRIGGER IF NOT EXISTS last_record AFTER INSERT ON record"
    " BEGIN UPDATE head SET last = NEW.id; END";
/* Pages of the log before they are moved into the file, which holds a commit
 * up: 16 MiB, so that it is less than one step of a hundred. */
static const char rare_moves[] = "PRAGMA wal_autocheckpoint=4096";
static const char insert[] =
    "INSERT INTO record(id, type, generation, step, boot, boot_ms, wall_ms,"
    " fields, bytes, hash) VALUES(?, ?, ?, ?, ?, ?, ?, ?, ?, ?)";

struct tinker__rec_file_s {
  tinker__mem_t *mem;
  const tinker__world_t *world;
  tinker__db_t *db;
  char boot[TINKER__BOOT_ID_LEN];
  pthread_mutex_t lock;
  int64_t generation;
  bool relaxed; /* no commit makes a sync */
  atomic_bool failed;
  atomic_bool *tell; /* set when a record could not be written; may be NULL */
  /* Under the lock: of the last record that was submitted. */
  int64_t last;
  unsigned char hash[TINKER__SHA256_LEN];
  tinker__sha256_t *sha; /* of the chain */
};

/* --- Reading -------------------------------------------------------------- */

typedef struct {
  const tinker__rec_file_spec_t *spec;
  bool any; /* the head was there */
  int64_t generation, last;
  int64_t end; /* id of the last record, as the head has it */
  unsigned char hash[TINKER__SHA256_LEN];
  tinker__sha256_t *sha;
  char *why;
  size_t why_len;
} reader_t;

static int on_head(void *user, struct sqlite3_stmt *row) {
  static const tinker__db_column_t columns[] = {
      {"one", TINKER__COLUMN_I64, false, 1, 1},
      {"format", TINKER__COLUMN_I64, false, 1, INT64_MAX},
      {"lineage", TINKER__COLUMN_TEXT, false, 1, 64},
      {"epoch", TINKER__COLUMN_I64, false, 0, INT64_MAX},
      {"generation", TINKER__COLUMN_I64, false, 0, INT64_MAX - 1},
      {"last", TINKER__COLUMN_I64, false, 0, INT64_MAX - 1}};
  reader_t *r = user;
  const tinker__rec_file_spec_t *spec = r->spec;
  int rc =
      tinker__db_row_check(row, NAME, "head", columns, 6, r->why, r->why_len);
  if (rc != 0) return rc;
  if (tinker__db_row_i64(row, 1) > FORMAT_VERSION) {
    return tinker__why(r->why, r->why_len, TINKER_EFORMAT,
                       "%s: written by a newer version (format %lld, this one "
                       "reads %d)",
                       spec->path, (long long)tinker__db_row_i64(row, 1),
                       FORMAT_VERSION);
  }
  if (strcmp(tinker__db_row_text(row, 2), spec->lineage) != 0 ||
      tinker__db_row_i64(row, 3) != spec->epoch) {
    return tinker__why(r->why, r->why_len, TINKER_EFORMAT,
                       "%s: it is the journal of run %s, epoch %lld, not of "
                       "run %s, epoch %lld",
                       spec->path, tinker__db_row_text(row, 2),
                       (long long)tinker__db_row_i64(row, 3), spec->lineage,
                       (long long)spec->epoch);
  }
  r->any = true;
  r->generation = tinker__db_row_i64(row, 4);
  r->end = tinker__db_row_i64(row, 5);
  return 0;
}

static int damaged(reader_t *r, int64_t id, const char *what) {
  return tinker__why(r->why, r->why_len, TINKER_EFORMAT,
                     "%s: damaged at record %lld: %s", r->spec->path,
                     (long long)id, what);
}

static int lacks(reader_t *r) {
  return tinker__why(r->why, r->why_len, TINKER_ESTATE,
                     "%s: it has not the record %lld that was in it",
                     r->spec->path, (long long)r->spec->from->id);
}

/* Does the record hang on the one before it? */
static int check_chain(reader_t *r, const tinker__rec_record_t *record,
                       tinker__str_t hash) {
  if (record->id != r->last + 1) return damaged(r, record->id, "a gap");
  int rc = tinker__rec_chain_next(r->sha, record, r->hash);
  if (rc != 0) return rc;
  if (memcmp(hash.ptr, r->hash, sizeof r->hash) != 0) {
    return damaged(r, record->id, "its hash does not fit");
  }
  r->last = record->id;
  return 0;
}

static int on_record(void *user, struct sqlite3_stmt *row) {
  static const tinker__db_column_t columns[] = {
      {"id", TINKER__COLUMN_I64, false, 1, INT64_MAX - 1},
      {"type", TINKER__COLUMN_I64, false, 1, INT32_MAX},
      {"generation", TINKER__COLUMN_I64, false, 1, INT64_MAX},
      {"step", TINKER__COLUMN_I64, false, TINKER__REC_NO_STEP, INT64_MAX - 1},
      {"boot", TINKER__COLUMN_TEXT, false, 1, TINKER__BOOT_ID_LEN - 1},
      {"boot_ms", TINKER__COLUMN_I64, false, 0, INT64_MAX},
      {"wall_ms", TINKER__COLUMN_I64, false, INT64_MIN, INT64_MAX},
      {"fields", TINKER__COLUMN_TEXT, false, 2, TINKER__REC_MAX_FIELDS},
      {"bytes", TINKER__COLUMN_BLOB, false, 0, TINKER__REC_MAX_BYTES},
      {"hash", TINKER__COLUMN_BLOB, false, TINKER__SHA256_LEN,
       TINKER__SHA256_LEN}};
  reader_t *r = user;
  int rc = tinker__db_row_check(row, NAME, "record", columns, 10, r->why,
                                r->why_len);
  if (rc != 0) return rc;
  tinker__rec_record_t record = {
      .id = tinker__db_row_i64(row, 0),
      .type = tinker__db_row_i64(row, 1),
      .generation = tinker__db_row_i64(row, 2),
      .step = tinker__db_row_i64(row, 3),
      .boot = tinker__db_row_text(row, 4),
      .boot_ms = tinker__db_row_i64(row, 5),
      .wall_ms = tinker__db_row_i64(row, 6),
      .fields = tinker__str(tinker__db_row_text(row, 7)),
      .bytes = tinker__db_row_blob(row, 8),
  };
  if (r->spec->last_type == 0) {
    rc = check_chain(r, &record, tinker__db_row_blob(row, 9));
  }
  if (rc == 0 && r->spec->each) {
    rc = r->spec->each(r->spec->user, &record, r->why, r->why_len);
  }
  return rc;
}

/* Which tables there are. */
typedef struct {
  bool head, record, any;
} schema_t;

static int on_table(void *user, struct sqlite3_stmt *row) {
  schema_t *s = user;
  tinker__str_t name = tinker__db_row_blob(row, 0);
  s->any = true;
  if (tinker__str_eqs(name, "head")) s->head = true;
  if (tinker__str_eqs(name, "record")) s->record = true;
  return 0;
}

static int on_count(void *user, struct sqlite3_stmt *row) {
  *(int64_t *)user = tinker__db_row_i64(row, 0);
  return 0;
}

/* A file without a table is that of a writer that died as it began: nothing is
 * in it, or one page. SQLite takes some bytes for an empty file. */
static int check_schema(tinker__db_t *db, reader_t *r, const schema_t *s) {
  struct stat st;
  int64_t pages = 0;
  int rc = tinker__db_each(db, "PRAGMA page_count", on_count, &pages, r->why,
                           r->why_len);
  if (rc != 0 || (s->head && s->record)) return rc;
  bool begun = !s->any && pages <= 1 && stat(r->spec->path, &st) == 0 &&
               (st.st_size == 0 || st.st_size >= SMALLEST);
  if (begun) return 0;
  return tinker__why(r->why, r->why_len, TINKER_EFORMAT,
                     "%s: damaged: it has not the tables of a journal",
                     r->spec->path);
}

/* Is it a journal, and this one? made: receives whether it has tables. */
static int read_head(tinker__db_t *db, reader_t *r, bool *made) {
  schema_t s = {.any = false};
  int rc = tinker__rec_chain_begin(r->spec->lineage, r->spec->epoch, r->hash);
  if (rc == 0) {
    rc = tinker__db_each(db, "SELECT name FROM sqlite_master", on_table, &s,
                         r->why, r->why_len);
  }
  if (rc == 0) rc = check_schema(db, r, &s);
  *made = s.any;
  if (rc == 0 && !s.any && r->spec->from && r->spec->from->id > 0) {
    rc = lacks(r);
  }
  if (rc != 0 || !s.any) return rc;
  return tinker__db_each(db, "SELECT * FROM head", on_head, r, r->why,
                         r->why_len);
}

/* The hash of the record `from`. */
static int on_mark(void *user, struct sqlite3_stmt *row) {
  reader_t *r = user;
  tinker__str_t hash = tinker__db_row_blob(row, 0);
  if (hash.len == sizeof r->hash &&
      memcmp(hash.ptr, r->spec->from->hash, sizeof r->hash) == 0) {
    r->last = r->spec->from->id;
  }
  return 0;
}

/* Begins the chain behind the record `from`, which must be there. */
static int skip(tinker__db_t *db, reader_t *r) {
  char sql[80];
  const tinker__rec_mark_t *from = r->spec->from;
  if (!from || from->id == 0) return 0;
  snprintf(sql, sizeof sql, "SELECT hash FROM record WHERE id = %lld",
           (long long)from->id);
  int rc = tinker__db_each(db, sql, on_mark, r, r->why, r->why_len);
  if (rc == 0 && r->last != from->id) {
    return lacks(r);
  }
  memcpy(r->hash, from->hash, sizeof r->hash);
  return rc;
}

static int read_rows(tinker__db_t *db, reader_t *r) {
  char sql[320], types[60] = "";
  const tinker__rec_file_spec_t *spec = r->spec;
  if (spec->last_type != 0) {
    snprintf(types, sizeof types, " AND type BETWEEN %d AND %d",
             (int)spec->first_type, (int)spec->last_type);
  }
  snprintf(sql, sizeof sql,
           "SELECT id, type, generation, step, boot, boot_ms, wall_ms, fields,"
           " bytes, hash FROM record WHERE id > %lld AND id <= %lld%s"
           " ORDER BY id",
           (long long)r->last, (long long)(spec->to ? spec->to : INT64_MAX),
           types);
  return tinker__db_each(db, sql, on_record, r, r->why, r->why_len);
}

/* Was the last record read that should be there? */
static int check_end(reader_t *r) {
  int64_t last = r->spec->to ? r->spec->to : r->end;
  if (r->spec->last_type != 0) return 0;
  if (!r->any && r->last > 0) {
    return damaged(r, r->last, "the file's head is missing");
  }
  if (r->last != last || last > r->end) {
    return damaged(r, r->last + 1, "it is missing, as all after it are");
  }
  return 0;
}

static int read_records(tinker__db_t *db, reader_t *r) {
  int rc = tinker__sha256_new(&r->sha, r->spec->mem);
  if (rc == 0) rc = skip(db, r);
  if (rc == 0) rc = read_rows(db, r);
  if (rc == 0) rc = check_end(r);
  tinker__sha256_free(r->sha);
  r->sha = NULL;
  return rc;
}

static int read_all(tinker__db_t *db, reader_t *r) {
  bool made;
  int rc = read_head(db, r, &made);
  if (rc == 0 && made) rc = read_records(db, r);
  if (rc == 0 && r->spec->end) {
    r->spec->end->id = r->last;
    memcpy(r->spec->end->hash, r->hash, sizeof r->hash);
  }
  return rc;
}

int tinker__rec_file_read(const tinker__rec_file_spec_t *spec, char *why,
                          size_t why_len) {
  reader_t r = {.spec = spec, .why = why, .why_len = why_len};
  tinker__db_t *db = NULL;
  struct stat st;
  if (stat(spec->path, &st) != 0) {
    return tinker__why(why, why_len, TINKER_ENOENT, "%s: there is no journal",
                       spec->path);
  }
  int rc = tinker__db_open(&db, spec->mem, spec->path, !spec->own, NAME, why,
                           why_len);
  if (rc != 0) return rc;
  /* The head and the records as they are at one time. */
  rc = tinker__db_exec(db, "BEGIN", why, why_len);
  if (rc == 0) rc = read_all(db, &r);
  if (rc == TINKER_EIO && !spec->own && tinker__db_is_hot(db)) {
    rc = tinker__why(why, why_len, TINKER_EBUSY,
                     "%s: its writer was killed: it can be read once the run "
                     "was opened again",
                     spec->path);
  }
  tinker__db_free(db);
  return rc;
}

/* --- Opening -------------------------------------------------------------- */

/* The database's file is made by us, so that it never was readable for others
 * and its name is durable before the first record is. */
static int make_file(const tinker__rec_file_spec_t *spec, char *why,
                     size_t why_len) {
  const tinker__world_t *w = spec->world;
  int fd = w->open(w->user, spec->path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  if (fd < 0) {
    return tinker__why(why, why_len, TINKER_EIO, "%s: %s", spec->path,
                       strerror(errno));
  }
  w->close(w->user, fd);
  return 0;
}

static int take_over(tinker__rec_file_t *f, const reader_t *r, char *why,
                     size_t why_len) {
  char sql[256];
  f->generation = r->generation + 1;
  f->last = r->last;
  memcpy(f->hash, r->hash, sizeof f->hash);
  /* The lineage is checked to be plain characters before it becomes a name. */
  snprintf(
      sql, sizeof sql,
      "INSERT INTO head VALUES(1, %d, '%s', %lld, 1, 0) ON CONFLICT(one) DO "
      "UPDATE SET generation = %lld",
      FORMAT_VERSION, r->spec->lineage, (long long)r->spec->epoch,
      (long long)f->generation);
  return tinker__db_exec(f->db, sql, why, why_len);
}

/* What is there is read, and the file taken over, in one transaction: two that
 * open it at once get two generations, and a file that is refused is left as it
 * is. */
static int make_own(tinker__rec_file_t *f, reader_t *r) {
  int rc = tinker__db_exec(f->db, "BEGIN IMMEDIATE", r->why, r->why_len);
  if (rc == 0) rc = tinker__db_exec(f->db, tables, r->why, r->why_len);
  if (rc == 0) rc = read_all(f->db, r);
  if (rc == 0) rc = take_over(f, r, r->why, r->why_len);
  if (rc == 0) rc = tinker__db_exec(f->db, "COMMIT", r->why, r->why_len);
  return rc; /* closing the file takes back what was not committed */
}

static int open_db(tinker__rec_file_t *f, const tinker__rec_file_spec_t *spec,
                   char *why, size_t why_len) {
  reader_t r = {.spec = spec, .why = why, .why_len = why_len};
  bool made;
  int rc =
      tinker__db_open(&f->db, spec->mem, spec->path, false, NAME, why, why_len);
  if (rc == 0) rc = read_head(f->db, &r, &made);
  if (rc == 0) rc = tinker__db_durable(f->db, why, why_len);
  if (rc == 0) rc = tinker__db_exec(f->db, rare_moves, why, why_len);
  if (rc == 0 && spec->relaxed) {
    rc = tinker__db_exec(f->db, "PRAGMA synchronous=NORMAL", why, why_len);
  }
  /* A writer whose sync has failed may have left what is in memory alone, as
   * if it were on the disk (F71): it is written anew before anything hangs on
   * it. */
  if (rc == 0) {
    rc =
        tinker__db_exec(f->db, "PRAGMA wal_checkpoint(TRUNCATE)", why, why_len);
  }
  if (rc == 0) rc = make_own(f, &r);
  if (rc != 0) return rc;
  const tinker__db_watch_t watch = {.full = spec->full, .user = spec->room};
  tinker__db_watch(f->db, &watch);
  return tinker__db_start(f->db);
}

/* Whether room was made for a file that could not be opened without. */
static bool make_room(const tinker__rec_file_spec_t *spec,
                      const tinker__db_t *db, int rc) {
  bool full = rc == TINKER_EIO && (db ? tinker__db_is_full(db)
                                      : errno == ENOSPC || errno == EDQUOT);
  return full && spec->full && spec->full(spec->room);
}

/* The lineage stands in a statement and in names of files. */
static int check_lineage(const char *lineage, char *why, size_t why_len) {
  size_t n = strspn(lineage, "abcdefghijklmnopqrstuvwxyz"
                             "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-");
  if (n > 0 && n <= 64 && !lineage[n]) return 0;
  return tinker__why(why, why_len, TINKER_EINVAL,
                     "a run's name has 1 to 64 characters of [A-Za-z0-9_.-]");
}

int tinker__rec_file_open(tinker__rec_file_t **out,
                          const tinker__rec_file_spec_t *spec, char *why,
                          size_t why_len) {
  int rc = check_lineage(spec->lineage, why, why_len);
  if (rc != 0) return rc;
  rc = make_file(spec, why, why_len);
  if (make_room(spec, NULL, rc)) rc = make_file(spec, why, why_len);
  if (rc != 0) return rc;
  tinker__rec_file_t *f = tinker__mem_zalloc(spec->mem, sizeof *f);
  if (!f) return tinker__why(why, why_len, TINKER_ENOMEM, "out of memory");
  f->mem = spec->mem;
  f->world = spec->world;
  f->tell = spec->failed;
  f->relaxed = spec->relaxed;
  spec->world->boot_id(spec->world->user, f->boot);
  pthread_mutex_init(&f->lock, NULL);
  rc = tinker__sha256_new(&f->sha, f->mem);
  if (rc == 0) rc = open_db(f, spec, why, why_len);
  if (make_room(spec, f->db, rc)) {
    tinker__db_free(f->db);
    f->db = NULL;
    rc = open_db(f, spec, why, why_len);
  }
  if (rc != 0) {
    tinker__rec_file_close(f);
    return rc;
  }
  *out = f;
  return 0;
}

int64_t tinker__rec_file_generation(const tinker__rec_file_t *f) {
  return f->generation;
}

tinker__rec_file_t *tinker__rec_file_close(tinker__rec_file_t *f) {
  if (!f) return NULL;
  tinker__db_free(f->db);
  tinker__sha256_free(f->sha);
  pthread_mutex_destroy(&f->lock);
  tinker__mem_free(f->mem, f);
  return NULL;
}

/* --- Writing -------------------------------------------------------------- */

typedef struct {
  tinker__rec_file_t *file;
  tinker__rec_done_cb done; /* may be NULL */
  void *user;
} pending_t;

static void on_written(void *user, int rc) {
  pending_t p = *(pending_t *)user;
  tinker__mem_free(p.file->mem, user);
  if (rc != 0) atomic_store(&p.file->failed, true);
  if (rc != 0 && p.file->tell) atomic_store(p.file->tell, true);
  if (p.done) p.done(p.user, rc);
}

static tinker__db_write_t *write_of(tinker__rec_file_t *f,
                                    const tinker__rec_record_t *r,
                                    const unsigned char *hash, pending_t *p) {
  bool waited = p->done || f->relaxed;
  tinker__db_write_t *w = tinker__db_write_new(f->db, on_written, p);
  tinker__db_write_sql(w, insert);
  tinker__db_write_i64(w, r->id);
  tinker__db_write_i64(w, r->type);
  tinker__db_write_i64(w, r->generation);
  tinker__db_write_i64(w, r->step);
  tinker__db_write_text(w, r->boot);
  tinker__db_write_i64(w, r->boot_ms);
  tinker__db_write_i64(w, r->wall_ms);
  tinker__db_write_textn(w, r->fields);
  tinker__db_write_blob(w, r->bytes.ptr, r->bytes.len);
  tinker__db_write_blob(w, hash, TINKER__SHA256_LEN);
  if (w) tinker__db_write_vital(w);
  if (w && !waited) tinker__db_write_soft(w);
  return w;
}

/* Under the lock: the record gets its number, its hash, and its place. */
static int submit(tinker__rec_file_t *f, const tinker__rec_draft_t *d,
                  pending_t *p) {
  unsigned char hash[TINKER__SHA256_LEN];
  const tinker__world_t *w = f->world;
  tinker__rec_record_t r = {.id = f->last + 1,
                            .type = d->type,
                            .generation = f->generation,
                            .step = d->step,
                            .boot = f->boot,
                            .boot_ms = w->boot_ms(w->user),
                            .wall_ms = w->wall_ms(w->user),
                            .fields = d->fields,
                            .bytes = d->bytes};
  memcpy(hash, f->hash, sizeof hash);
  int rc = tinker__rec_chain_next(f->sha, &r, hash);
  if (rc == 0) rc = tinker__db_write_submit(write_of(f, &r, hash, p));
  if (rc != 0) return rc;
  f->last = r.id;
  memcpy(f->hash, hash, sizeof hash);
  return 0;
}

int tinker__rec_file_add(tinker__rec_file_t *f, const tinker__rec_draft_t *d,
                         tinker__rec_done_cb done, void *user) {
  if (atomic_load(&f->failed)) return TINKER_EIO;
  if (d->fields.len > TINKER__REC_MAX_FIELDS ||
      d->bytes.len > TINKER__REC_MAX_BYTES) {
    return TINKER_EOVERFLOW;
  }
  pending_t *p = tinker__mem_alloc(f->mem, sizeof *p);
  if (!p) return TINKER_ENOMEM;
  *p = (pending_t){f, done, user};
  pthread_mutex_lock(&f->lock);
  int rc = submit(f, d, p);
  pthread_mutex_unlock(&f->lock);
  if (rc != 0) tinker__mem_free(f->mem, p);
  return rc;
}

typedef struct {
  pthread_mutex_t lock;
  pthread_cond_t ended;
  bool over;
  int rc;
} wait_t;

static void on_put(void *user, int rc) {
  wait_t *w = user;
  pthread_mutex_lock(&w->lock);
  w->rc = rc;
  w->over = true;
  pthread_cond_signal(&w->ended);
  pthread_mutex_unlock(&w->lock);
}

int tinker__rec_file_put(tinker__rec_file_t *f, const tinker__rec_draft_t *d) {
  wait_t w = {.over = false};
  pthread_mutex_init(&w.lock, NULL);
  pthread_cond_init(&w.ended, NULL);
  int rc = tinker__rec_file_add(f, d, on_put, &w);
  pthread_mutex_lock(&w.lock);
  while (rc == 0 && !w.over) pthread_cond_wait(&w.ended, &w.lock);
  pthread_mutex_unlock(&w.lock);
  pthread_cond_destroy(&w.ended);
  pthread_mutex_destroy(&w.lock);
  return rc != 0 ? rc : w.rc;
}
