/* row: the columns of a row, and what may stand in them: a start checks each
 * row before anything is believed. Pure; the thread that was given the row. */
#ifndef TINKER_DB_ROW_H
#define TINKER_DB_ROW_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/str.h"

struct sqlite3_stmt;

typedef enum {
  TINKER__COLUMN_I64,  /* range: of the value */
  TINKER__COLUMN_TEXT, /* range: of the bytes; valid UTF-8 without NUL */
  TINKER__COLUMN_BLOB  /* range: of the bytes */
} tinker__db_column_type_t;

typedef struct tinker__db_column_s {
  const char *name;
  tinker__db_column_type_t type;
  bool null; /* allowed */
  int64_t min, max;
} tinker__db_column_t;

/* Checks the columns of a row, in the order of the query; the first is its
 * number. file: what the sentence calls the file, as in tinker__db_open. 0, or
 * TINKER_EFORMAT with table, row, column, value and range. */
int tinker__db_row_check(struct sqlite3_stmt *row, const char *file,
                         const char *table, const tinker__db_column_t *columns,
                         size_t n, char *why, size_t why_len);

/* Column access for a row of tinker__db_each. Text and blobs live during
 * the call. */
int64_t tinker__db_row_i64(struct sqlite3_stmt *row, int column);
const char *tinker__db_row_text(struct sqlite3_stmt *row, int column);
tinker__str_t tinker__db_row_blob(struct sqlite3_stmt *row, int column);
bool tinker__db_row_null(struct sqlite3_stmt *row, int column);

#endif
