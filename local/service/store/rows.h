/* rows: what may stand in a column of the store. A start checks each row with
 * it before anything is believed. Pure; the opening thread. */
#ifndef TINKER_SERVICE_ROWS_H
#define TINKER_SERVICE_ROWS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

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

#endif
