/* store: see store.h. */
#include "service/store/store.h"

#include <stdio.h>
#include <string.h>

#include <tinker/error.h>

#include "base/error.h"
#include "base/str.h"
#include "db/row.h"
#include "service/store/schema.h"

/* --- Opening -------------------------------------------------------------- */

static int read_number(void *user, struct sqlite3_stmt *row) {
  *(int64_t *)user = tinker__db_row_i64(row, 0);
  return 0;
}

/* Reads the row of the table store. A malformed one leaves f->id empty. */
static int read_id(void *user, struct sqlite3_stmt *row) {
  tinker__svc_store_facts_t *f = user;
  const char *id = tinker__db_row_text(row, 0);
  f->commits = tinker__db_row_i64(row, 1);
  bool good = id && strlen(id) == sizeof f->id - 1 &&
              strspn(id, "0123456789abcdef") == sizeof f->id - 1;
  if (!good || f->commits < 0 || f->commits > INT64_MAX / 2) {
    f->commits = 0;
    return 0;
  }
  memcpy(f->id, id, sizeof f->id);
  return 0;
}

static int load_id(tinker__db_t *db, char id[33], char *why, size_t why_len) {
  tinker__svc_store_facts_t f = {0};
  int rc = tinker__db_each(db, "SELECT id, commits FROM store", read_id, &f,
                           why, why_len);
  if (rc != 0) return rc;
  if (!f.id[0]) {
    return tinker__why(why, why_len, TINKER_EFORMAT,
                       "the store is inconsistent: it has no id");
  }
  memcpy(id, f.id, sizeof f.id);
  tinker__db_count(db, "UPDATE store SET commits = ?", f.commits);
  return 0;
}

/* Migrates version by version, each step in a transaction of its own. */
static int migrate(tinker__db_t *db, int64_t version, char *why,
                   size_t why_len) {
  char sql[1200];
  int rc = 0;
  for (; rc == 0 && version < TINKER__SCHEMA_VERSION; version++) {
    snprintf(sql, sizeof sql,
             "BEGIN IMMEDIATE;%sPRAGMA user_version=%d;COMMIT;",
             schema_steps[version], (int)version + 1);
    rc = tinker__db_exec(db, sql, why, why_len);
  }
  return rc;
}

static int prepare_file(tinker__db_t *db, char *why, size_t why_len) {
  int64_t version = -1;
  int rc = tinker__db_durable(db, why, why_len);
  if (rc == 0) {
    rc = tinker__db_each(db, "PRAGMA user_version", read_number, &version, why,
                         why_len);
  }
  if (rc != 0 || version == TINKER__SCHEMA_VERSION) return rc;
  if (version > 0 && version < TINKER__SCHEMA_VERSION) {
    return migrate(db, version, why, why_len);
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
  return tinker__db_exec(db, sql, why, why_len);
}

int tinker__svc_store_open(tinker__db_t **out, char id[33], tinker__mem_t *mem,
                           const char *path, char *why, size_t why_len) {
  tinker__db_t *db = NULL;
  int rc = tinker__db_open(&db, mem, path, false, "the store", why, why_len);
  if (rc == 0) rc = prepare_file(db, why, why_len);
  if (rc == 0) rc = load_id(db, id, why, why_len);
  if (rc != 0) {
    tinker__db_free(db);
    return rc;
  }
  *out = db;
  return 0;
}

int tinker__svc_store_read_result(tinker__db_t *db, int64_t row,
                                  tinker__db_read_cb done, void *user) {
  return tinker__db_read(db,
                         "SELECT result, result_format FROM requests"
                         " WHERE row = ? AND result IS NOT NULL",
                         row, done, user);
}

int tinker__svc_store_read_body(tinker__db_t *db, int64_t row,
                                tinker__db_read_cb done, void *user) {
  return tinker__db_read(db,
                         "SELECT body, format FROM requests"
                         " WHERE row = ? AND body IS NOT NULL",
                         row, done, user);
}

/* --- Looking in ----------------------------------------------------------- */

char tinker__svc_folder_kept[] = "kept", tinker__svc_folder_gone[] = "gone";

static int note_folder(void *user, struct sqlite3_stmt *row) {
  tinker__map_t *folders = user;
  const char *name = tinker__db_row_text(row, 0);
  if (!name) return 0;
  return tinker__map_put(folders, tinker__str(name),
                         tinker__db_row_i64(row, 1) ? TINKER__FOLDER_KEPT
                                                    : TINKER__FOLDER_GONE,
                         NULL);
}

/* Kept folders are noted after the gone ones, so that kept wins. */
static int note_folders(tinker__db_t *db, tinker__map_t *folders,
                        int64_t version, char *why, size_t why_len) {
  int rc = version < 3 ? 0
                       : tinker__db_each(db, "SELECT folder, 0 FROM gone",
                                         note_folder, folders, why, why_len);
  if (rc == 0) {
    rc = tinker__db_each(
        db,
        "SELECT 'checkpoints/' || row, 1 FROM checkpoints UNION ALL"
        " SELECT 'snapshots/' || snapshot, 1 FROM models WHERE snapshot > 0",
        note_folder, folders, why, why_len);
  }
  if (rc == TINKER_ENOMEM) tinker__why(why, why_len, rc, "out of memory");
  return rc;
}

static int read_facts(tinker__db_t *db, tinker__svc_store_facts_t *f, char *why,
                      size_t why_len) {
  int64_t tables = 0;
  int rc = tinker__db_each(db, "PRAGMA user_version", read_number, &f->version,
                           why, why_len);
  if (rc == 0) {
    rc = tinker__db_each(
        db,
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
  return tinker__db_each(db, "SELECT id, commits FROM store", read_id, f, why,
                         why_len);
}

static int peek(tinker__mem_t *mem, const char *path, bool look,
                tinker__svc_store_facts_t *facts, tinker__map_t *folders,
                bool *hot, char *why, size_t why_len) {
  tinker__db_t *db = NULL;
  *facts = (tinker__svc_store_facts_t){0};
  int rc = tinker__db_open(&db, mem, path, look, "the store", why, why_len);
  if (rc == 0) rc = read_facts(db, facts, why, why_len);
  if (rc == 0 && folders && facts->ours && facts->version > 0) {
    rc = note_folders(db, folders, facts->version, why, why_len);
  }
  *hot = db && tinker__db_is_hot(db);
  tinker__db_free(db);
  return rc;
}

/* A first start that was killed may have left a hot journal, and nothing can be
 * read before it is rolled back. Then the file is opened for writing, which
 * does that, as the next owner would. */
int tinker__svc_store_peek(tinker__mem_t *mem, const char *path,
                           tinker__svc_store_facts_t *facts,
                           tinker__map_t *folders, char *why, size_t why_len) {
  bool hot;
  int rc = peek(mem, path, true, facts, folders, &hot, why, why_len);
  if (!hot) return rc;
  return peek(mem, path, false, facts, folders, &hot, why, why_len);
}
