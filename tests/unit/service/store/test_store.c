/* The store: its tables in a file of src/db. Another version is refused, the
 * file keeps its id and counts its commits, results are found by their row. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <tinker/error.h>
#include <unistd.h>

#include "db/row.h"
#include "service/store/store.h"
#include "support/fail_alloc.h"

static char dir[] = "/tmp/tinker-store-XXXXXX";
static char path[64];

static void setup(void) {
  cr_assert_neq(mkdtemp(dir), NULL);
  snprintf(path, sizeof path, "%s/store.db", dir);
}

static void teardown(void) {
  char name[80];
  const char *const files[] = {"", "-wal", "-shm"};
  for (int i = 0; i < 3; i++) {
    snprintf(name, sizeof name, "%s%s", path, files[i]);
    unlink(name);
  }
  rmdir(dir);
}

TestSuite(store, .init = setup, .fini = teardown);

static char id[33];

static void on_done(void *user, int rc) {
  *(int *)user = rc;
}

Test(store, another_version_is_refused) {
  tinker__mem_t mem;
  tinker__db_t *db;
  char why[200] = "";
  tinker__mem_init(&mem, NULL, 0);
  cr_assert_eq(tinker__svc_store_open(&db, id, &mem, path, why, sizeof why), 0);
  cr_assert_eq(tinker__db_exec(db, "PRAGMA user_version=99", why, 200), 0);
  tinker__db_free(db);
  cr_assert_eq(tinker__svc_store_open(&db, id, &mem, path, why, sizeof why),
               TINKER_EFORMAT);
  cr_assert_neq(strstr(why, "version 99"), NULL, "%s", why);
  cr_assert_eq(mem.live_blocks, 0);
}

Test(store, keeps_its_id_and_counts_its_commits) {
  tinker__mem_t mem;
  tinker__db_t *db;
  char again[33];
  int rc = 1;
  tinker__mem_init(&mem, NULL, 0);
  cr_assert_eq(tinker__svc_store_open(&db, id, &mem, path, NULL, 0), 0);
  cr_assert_eq(strlen(id), 32);
  cr_assert_eq(tinker__db_commits(db), 0);
  cr_assert_eq(tinker__db_start(db), 0);
  tinker__db_write_t *w = tinker__db_write_new(db, on_done, &rc);
  tinker__db_write_sql(w, "DELETE FROM gone");
  cr_assert_eq(tinker__db_write_submit(w), 0);
  tinker__db_free(db);
  cr_assert_eq(rc, 0);
  cr_assert_eq(tinker__svc_store_open(&db, again, &mem, path, NULL, 0), 0);
  cr_assert_eq(tinker__db_commits(db), 1);
  cr_assert_str_eq(again, id);
  tinker__db_free(db);
}

/* --- Results -------------------------------------------------------------- */

static void on_result(void *user, int rc, struct sqlite3_stmt *row) {
  snprintf(user, 40, "%d %.*s %d", rc,
           row ? (int)tinker__db_row_blob(row, 0).len : 1,
           row ? tinker__db_row_blob(row, 0).ptr : "-",
           row ? (int)tinker__db_row_i64(row, 1) : 0);
}

static int put(tinker__db_t *db, int64_t row, const char *result, int *rc) {
  tinker__db_write_t *w = tinker__db_write_new(db, on_done, rc);
  tinker__db_write_sql(w,
                       "INSERT INTO requests VALUES(?, 0, 1, ?, 1, x'', 0, 0,"
                       " NULL, 0, ?, 2, NULL)");
  tinker__db_write_i64(w, row);
  tinker__db_write_i64(w, row);
  if (result) {
    tinker__db_write_blob(w, result, strlen(result));
  } else {
    tinker__db_write_text(w, NULL);
  }
  return tinker__db_write_submit(w);
}

/* A result, an empty one, a request without result, no request. */
static int use_store(tinker__mem_t *mem, void *user) {
  tinker__db_t *db;
  char got[4][40], none[40];
  int done[3] = {1, 1, 1};
  static int base;
  (void)user;
  int rc = tinker__svc_store_open(&db, id, mem, path, NULL, 0);
  if (rc != 0) return rc;
  base += 10;
  rc = tinker__db_start(db);
  if (rc == 0) rc = put(db, base, "result", &done[0]);
  if (rc == 0) rc = put(db, base + 1, "", &done[1]);
  if (rc == 0) rc = put(db, base + 2, NULL, &done[2]);
  for (int i = 0; rc == 0 && i < 4; i++) {
    rc = tinker__svc_store_read_result(db, base + i, on_result, got[i]);
  }
  tinker__db_free(db);
  if (rc != 0) return rc;
  cr_assert_eq(done[0] | done[1] | done[2], 0);
  snprintf(none, sizeof none, "%d - 0", TINKER_ENOENT);
  cr_assert_str_eq(got[0], "0 result 2");
  cr_assert_str_eq(got[1], "0  2");
  cr_assert_str_eq(got[2], none);
  cr_assert_str_eq(got[3], none);
  return 0;
}

Test(store, results_with_every_allocation_failing_once) {
  cr_assert_geq(tinker__fail_sweep(use_store, NULL, TINKER_ENOMEM), 9);
}
