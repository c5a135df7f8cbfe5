/* rows: the columns of a row of the store, and what may stand in them: a start
 * checks each row before anything is believed. Pure; the opening thread. */
#ifndef TINKER_SERVICE_ROWS_H
#define TINKER_SERVICE_ROWS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/str.h"

struct sqlite3_stmt;

typedef enum {
  TINKER__COLUMN_I64,  /* range: of the value */
  TINKER__COLUMN_TEXT, /* range: of the bytes; valid UTF-8 without NUL */
  TINKER__COLUMN_BLOB  /* range: of the bytes */
} tinker__svc_column_type_t;

typedef struct tinker__svc_column_s {
  const char *name;
  tinker__svc_column_type_t type;
  bool null; /* allowed */
  int64_t min, max;
} tinker__svc_column_t;

/* Checks the columns of a row, in the order of the query; the first is its
 * number. 0, or TINKER_EFORMAT with table, row, column, value and range. */
int tinker__svc_row_check(struct sqlite3_stmt *row, const char *table,
                          const tinker__svc_column_t *columns, size_t n,
                          char *why, size_t why_len);

/* Column access for a row of tinker__svc_store_each. Text and blobs live during
 * the call. */
int64_t tinker__svc_row_i64(struct sqlite3_stmt *row, int column);
const char *tinker__svc_row_text(struct sqlite3_stmt *row, int column);
tinker__str_t tinker__svc_row_blob(struct sqlite3_stmt *row, int column);
bool tinker__svc_row_null(struct sqlite3_stmt *row, int column);

#endif
