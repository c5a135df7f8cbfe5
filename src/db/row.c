/* row: see row.h. */
#include "db/row.h"

#include <inttypes.h>
#include <sqlite3.h>
#include <string.h>

#include <tinker/error.h>

#include "base/error.h"
#include "base/str.h"

static const char *type_name(int type) {
  switch (type) {
  case SQLITE_INTEGER: return "a number";
  case SQLITE_FLOAT: return "a fraction";
  case SQLITE_TEXT: return "text";
  case SQLITE_BLOB: return "bytes";
  default: return "nothing";
  }
}

static const int sqlite_type[] = {
    [TINKER__COLUMN_I64] = SQLITE_INTEGER,
    [TINKER__COLUMN_TEXT] = SQLITE_TEXT,
    [TINKER__COLUMN_BLOB] = SQLITE_BLOB,
};

typedef struct {
  struct sqlite3_stmt *row;
  const char *file, *table;
  char *why;
  size_t why_len;
} check_t;

static int check_type(const check_t *k, int at, const tinker__db_column_t *c) {
  int have = sqlite3_column_type(k->row, at), want = sqlite_type[c->type];
  if (have == want || (have == SQLITE_NULL && c->null)) return 0;
  return tinker__why(k->why, k->why_len, TINKER_EFORMAT,
                     "%s is inconsistent: %s, row %lld: %s is %s and "
                     "must be %s",
                     k->file, k->table,
                     (long long)sqlite3_column_int64(k->row, 0), c->name,
                     type_name(have), type_name(want));
}

static int check_range(const check_t *k, int at, const tinker__db_column_t *c) {
  bool number = c->type == TINKER__COLUMN_I64;
  int64_t v = number ? sqlite3_column_int64(k->row, at)
                     : sqlite3_column_bytes(k->row, at);
  if (v >= c->min && v <= c->max) return 0;
  return tinker__why(k->why, k->why_len, TINKER_EFORMAT,
                     "%s is inconsistent: %s, row %lld: %s %s %" PRId64
                     "%s and must %s from %" PRId64 " to %" PRId64,
                     k->file, k->table,
                     (long long)sqlite3_column_int64(k->row, 0), c->name,
                     number ? "is" : "has", v, number ? "" : " bytes",
                     number ? "be" : "have", c->min, c->max);
}

static int check_text(const check_t *k, int at, const tinker__db_column_t *c) {
  if (c->type != TINKER__COLUMN_TEXT) return 0;
  const char *text = (const char *)sqlite3_column_text(k->row, at);
  size_t len = (size_t)sqlite3_column_bytes(k->row, at);
  if (!text) {
    return tinker__why(k->why, k->why_len, TINKER_ENOMEM, "out of memory");
  }
  if (!memchr(text, 0, len) && tinker__utf8_valid(text, len)) return 0;
  return tinker__why(k->why, k->why_len, TINKER_EFORMAT,
                     "%s is inconsistent: %s, row %lld: %s is not valid "
                     "UTF-8 text",
                     k->file, k->table,
                     (long long)sqlite3_column_int64(k->row, 0), c->name);
}

int tinker__db_row_check(struct sqlite3_stmt *row, const char *file,
                         const char *table, const tinker__db_column_t *columns,
                         size_t n, char *why, size_t why_len) {
  const check_t k = {row, file, table, why, why_len};
  for (size_t i = 0; i < n; i++) {
    int at = (int)i, rc = check_type(&k, at, &columns[i]);
    if (rc == 0 && sqlite3_column_type(row, at) == SQLITE_NULL) continue;
    if (rc == 0) rc = check_range(&k, at, &columns[i]);
    if (rc == 0) rc = check_text(&k, at, &columns[i]);
    if (rc != 0) return rc;
  }
  return 0;
}

int64_t tinker__db_row_i64(struct sqlite3_stmt *row, int column) {
  return sqlite3_column_int64(row, column);
}

const char *tinker__db_row_text(struct sqlite3_stmt *row, int column) {
  return (const char *)sqlite3_column_text(row, column);
}

tinker__str_t tinker__db_row_blob(struct sqlite3_stmt *row, int column) {
  const char *p = sqlite3_column_blob(row, column);
  return (tinker__str_t){p ? p : "", (size_t)sqlite3_column_bytes(row, column)};
}

bool tinker__db_row_null(struct sqlite3_stmt *row, int column) {
  return sqlite3_column_type(row, column) == SQLITE_NULL;
}
