/* How long a process needs to read the journal of a run before it can go on,
 * beside how long SQLite alone needs for the same rows.
 *
 *   bench_journal [RECORDS] */
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "journal/load.h"

#define NAME "bench"

static char dir[] = "/tmp/tinker-bench-journal-XXXXXX";

static double now_ms(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

static int add(tinker__rec_file_t *f, tinker__rec_type_t type, int64_t step,
               const char *fields, const char *bytes) {
  const tinker__rec_draft_t d = {type, step, tinker__str(fields),
                                 tinker__str(bytes)};
  return tinker__rec_file_add(f, &d, NULL, NULL);
}

/* The records of a step, as a run writes them: 8. */
static int add_step(tinker__rec_file_t *f, int64_t step) {
  char fields[600];
  int rc = 0;
  for (int64_t i = 0; i < 2 && rc == 0; i++) {
    long long op = 2 * step + i;
    snprintf(fields, sizeof fields,
             "{\"op\":%lld,\"slot\":%lld,\"kind\":5,\"side\":0,\"id\":"
             "\"forward_backward\",\"requests\":[[%lld,120,4,0,\"%064d\"]]}",
             op, (long long)i + 1, op, 0);
    rc = add(f, TINKER__REC_OP_INTENT, step, fields, "{\"a\":\"body\"}");
    snprintf(fields, sizeof fields,
             "{\"op\":%lld,\"request\":0,\"id\":\"%036lld\"}", op, op);
    if (rc == 0) rc = add(f, TINKER__REC_OP_SENT, step, fields, "");
    snprintf(fields, sizeof fields,
             "{\"op\":%lld,\"request\":0,\"end\":0,\"code\":0}", op);
    if (rc == 0) rc = add(f, TINKER__REC_OP_ENDED, step, fields, "");
  }
  if (rc == 0) rc = add(f, TINKER__REC_CURSOR, step, "{}", "position");
  return rc != 0 ? rc
                 : add(f, TINKER__REC_STEP_COMMIT, step,
                       "{\"loss\":\"3ff0000000000000\"}", "");
}

static int make(tinker__mem_t *mem, int64_t epoch, int64_t records) {
  char path[200];
  tinker__rec_file_t *f = NULL;
  snprintf(path, sizeof path, epoch ? "%s/e1.db" : "%s/supervisor.db", dir);
  const tinker__rec_file_spec_t spec = {.mem = mem,
                                        .world = tinker__world_real(),
                                        .path = path,
                                        .lineage = NAME,
                                        .epoch = epoch};
  int rc = tinker__rec_file_open(&f, &spec, NULL, 0);
  if (rc != 0) return rc;
  if (epoch == 0) {
    rc = add(f, TINKER__REC_ATTEMPT_BEGIN, -1, "{\"epoch\":1}", "");
    if (rc == 0) {
      rc = add(f, TINKER__REC_EPOCH_ACTIVE, 0, "{\"epoch\":1,\"from_step\":0}",
               "");
    }
  }
  for (int64_t i = 1; epoch && i <= records / 8 && rc == 0; i++) {
    rc = add_step(f, i);
  }
  tinker__rec_file_close(f);
  return rc;
}

static double by_sqlite(void) {
  char path[200];
  sqlite3 *db = NULL;
  sqlite3_stmt *rows = NULL;
  int64_t bytes = 0;
  snprintf(path, sizeof path, "%s/e1.db", dir);
  double begin = now_ms();
  if (sqlite3_open(path, &db) != SQLITE_OK ||
      sqlite3_prepare_v2(db, "SELECT * FROM record ORDER BY id", -1, &rows,
                         NULL) != SQLITE_OK) {
    return -1;
  }
  while (sqlite3_step(rows) == SQLITE_ROW) {
    for (int i = 0; i < sqlite3_column_count(rows); i++) {
      bytes += sqlite3_column_bytes(rows, i);
    }
  }
  sqlite3_finalize(rows);
  sqlite3_close(db);
  return bytes > 0 ? now_ms() - begin : -1;
}

static double by_load(tinker__mem_t *mem, int64_t *committed) {
  const tinker__rec_folder_t folder = {mem, tinker__world_real(), dir, NAME,
                                       true};
  tinker__rec_state_t s;
  char why[300] = "";
  double begin = now_ms();
  if (tinker__rec_load(&folder, &s, why, sizeof why) != 0) {
    fprintf(stderr, "%s\n", why);
    return -1;
  }
  double ms = now_ms() - begin;
  *committed = s.committed;
  tinker__rec_state_free(&s);
  return ms;
}

static void clean(void) {
  char path[200];
  const char *const names[] = {"e1.db", "supervisor.db"};
  for (int i = 0; i < 2; i++) {
    snprintf(path, sizeof path, "%s/%s", dir, names[i]);
    unlink(path);
  }
  rmdir(dir);
}

int main(int argc, char **argv) {
  long long records = argc > 1 ? strtoll(argv[1], NULL, 10) : 100000;
  tinker__mem_t mem;
  double load = -1, plain = -1;
  int64_t committed = 0;
  tinker__mem_init(&mem, NULL, 0);
  if (records < 8 || !mkdtemp(dir)) return 2;
  int rc = make(&mem, 0, 0);
  if (rc == 0) rc = make(&mem, 1, records);
  for (int i = 0; i < 3 && rc == 0; i++) { /* the best of three */
    double l = by_load(&mem, &committed), p = by_sqlite();
    if (l < 0 || p < 0) rc = -1;
    if (load < 0 || l < load) load = l;
    if (plain < 0 || p < plain) plain = p;
  }
  clean();
  if (rc != 0 || committed != records / 8) return 1;
  printf("{\"bench\":\"journal_load\",\"records\":%lld,\"load_ms\":%.1f,"
         "\"sqlite_ms\":%.1f,\"ratio\":%.2f}\n",
         records, load, plain, load / plain);
  return 0;
}
