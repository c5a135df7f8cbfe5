/* Rows: what a table of columns refuses, with file, table, row, column, value
 * and range. */
#include <criterion/criterion.h>
#include <sqlite3.h>
#include <stdio.h>
#include <string.h>
#include <tinker/error.h>

#include "db/row.h"

static const tinker__db_column_t columns[] = {
    {"row", TINKER__COLUMN_I64, false, 1, 100},
    {"size", TINKER__COLUMN_I64, true, 0, 9},
    {"name", TINKER__COLUMN_TEXT, false, 1, 4},
    {"data", TINKER__COLUMN_BLOB, true, 0, 3},
};

/* Checks the row that `values` make; what it says, or "". */
static const char *check(const char *values) {
  static char why[300];
  char sql[200];
  sqlite3 *db;
  sqlite3_stmt *row;
  why[0] = 0;
  snprintf(sql, sizeof sql, "SELECT %s", values);
  cr_assert_eq(sqlite3_open(":memory:", &db), SQLITE_OK);
  cr_assert_eq(sqlite3_prepare_v2(db, sql, -1, &row, NULL), SQLITE_OK);
  cr_assert_eq(sqlite3_step(row), SQLITE_ROW);
  int rc = tinker__db_row_check(row, "the file", "things", columns, 4, why,
                                sizeof why);
  cr_assert_eq(rc, why[0] ? TINKER_EFORMAT : 0);
  sqlite3_finalize(row);
  sqlite3_close(db);
  return why;
}

#define AT "the file is inconsistent: things, row 7: "

Test(row, good_ones) {
  cr_assert_str_eq(check("7, 9, 'name', x'010203'"), "");
  cr_assert_str_eq(check("7, NULL, 'n', NULL"), "");
}

Test(row, types) {
  cr_assert_str_eq(check("7, 'nine', 'n', NULL"),
                   AT "size is text and must be a number");
  cr_assert_str_eq(check("7, 0.5, 'n', NULL"),
                   AT "size is a fraction and must be a number");
  cr_assert_str_eq(check("7, 9, NULL, NULL"),
                   AT "name is nothing and must be text");
  cr_assert_str_eq(check("7, 9, 'n', 3"),
                   AT "data is a number and must be bytes");
}

Test(row, ranges) {
  cr_assert_str_eq(check("7, 10, 'n', NULL"),
                   AT "size is 10 and must be from 0 to 9");
  cr_assert_str_eq(check("7, -1, 'n', NULL"),
                   AT "size is -1 and must be from 0 to 9");
  cr_assert_str_eq(check("7, 9, '', NULL"),
                   AT "name has 0 bytes and must have from 1 to 4");
  cr_assert_str_eq(check("7, 9, 'n', x'01020304'"),
                   AT "data has 4 bytes and must have from 0 to 3");
}

Test(row, text_is_text) {
  const char *want = AT "name is not valid UTF-8 text";
  cr_assert_str_eq(check("7, 9, CAST(x'ff' AS TEXT), NULL"), want);
  cr_assert_str_eq(check("7, 9, CAST(x'610062' AS TEXT), NULL"), want);
}
