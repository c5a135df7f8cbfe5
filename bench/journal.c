/* How long a process needs to read the journal of a run before it can go on:
 * all of it; and from a snapshot that is as old as snapshots get, with the
 * opening of both files as their writer. Beside it how long SQLite alone needs
 * for the rows.
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
#define BEHIND 8192 /* records that come after the snapshot (run/reread.c) */

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

static int open_file(tinker__mem_t *mem, int64_t epoch,
                     const tinker__rec_mark_t *from, tinker__rec_file_t **out) {
  char path[200];
  snprintf(path, sizeof path, epoch ? "%s/e1.db" : "%s/supervisor.db", dir);
  const tinker__rec_file_spec_t spec = {.mem = mem,
                                        .world = tinker__world_real(),
                                        .path = path,
                                        .lineage = NAME,
                                        .epoch = epoch,
                                        .from = from};
  return tinker__rec_file_open(out, &spec, NULL, 0);
}

/* Steps `first` to `last` of epoch 1, or the supervisor's file. */
static int make(tinker__mem_t *mem, int64_t epoch, int64_t first,
                int64_t last) {
  tinker__rec_file_t *f = NULL;
  int rc = open_file(mem, epoch, NULL, &f);
  if (rc != 0) return rc;
  if (epoch == 0) {
    rc = add(f, TINKER__REC_ATTEMPT_BEGIN, -1, "{\"epoch\":1}", "");
    if (rc == 0) {
      rc = add(f, TINKER__REC_EPOCH_ACTIVE, 0, "{\"epoch\":1,\"from_step\":0}",
               "");
    }
  }
  for (int64_t i = first; epoch && i <= last && rc == 0; i++) {
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

static tinker__rec_folder_t folder(tinker__mem_t *mem) {
  return (tinker__rec_folder_t){mem, tinker__world_real(), dir, NAME, true};
}

/* As a run begins. keep: what was read becomes a snapshot. */
static double by_load(tinker__mem_t *mem, int64_t *committed, bool keep) {
  const tinker__rec_folder_t from = folder(mem);
  tinker__rec_state_t s;
  tinker__rec_marks_t marks;
  tinker__rec_file_t *files[2] = {NULL, NULL};
  char why[300] = "";
  double begin = now_ms();
  if (tinker__rec_load_marked(&from, &s, &marks, why, sizeof why) != 0) {
    fprintf(stderr, "%s\n", why);
    return -1;
  }
  for (int64_t i = 0; i < 2; i++) {
    open_file(mem, i, tinker__rec_marks_at(&marks, i), &files[i]);
  }
  double ms = now_ms() - begin;
  for (int i = 0; i < 2; i++) tinker__rec_file_close(files[i]);
  if (keep && tinker__rec_load_keep(&from, &s, &marks, why, sizeof why) != 0) {
    ms = -1;
  }
  *committed = s.committed;
  tinker__rec_state_free(&s);
  tinker__rec_marks_free(&marks);
  return files[0] && files[1] ? ms : -1;
}

static void clean(void) {
  char path[200];
  const char *const names[] = {"e1.db", "supervisor.db", "snapshot"};
  for (int i = 0; i < 3; i++) {
    snprintf(path, sizeof path, "%s/%s", dir, names[i]);
    unlink(path);
  }
  rmdir(dir);
}

/* The best of three of each. load: of everything; start: from a snapshot. */
typedef struct {
  double load, start, sqlite;
} best_t;

static void better(double *best, double ms) {
  if (*best <= 0 || ms < *best) *best = ms;
}

static int measure(tinker__mem_t *mem, int64_t steps, best_t *best) {
  int64_t committed = 0, behind = BEHIND / 8 < steps ? BEHIND / 8 : steps / 2;
  int rc = make(mem, 0, 0, 0);
  if (rc == 0) rc = make(mem, 1, 1, steps - behind);
  if (rc == 0 && by_load(mem, &committed, true) < 0) rc = -1;
  if (rc == 0) rc = make(mem, 1, steps - behind + 1, steps);
  for (int i = 0; i < 3 && rc == 0; i++) {
    better(&best->start, by_load(mem, &committed, false));
    if (committed != steps) rc = -1;
  }
  const tinker__rec_folder_t all = folder(mem);
  tinker__rec_load_doubt(&all);
  for (int i = 0; i < 3 && rc == 0; i++) {
    better(&best->load, by_load(mem, &committed, false));
    better(&best->sqlite, by_sqlite());
    if (committed != steps) rc = -1;
  }
  return rc;
}

int main(int argc, char **argv) {
  long long records = argc > 1 ? strtoll(argv[1], NULL, 10) : 100000;
  tinker__mem_t mem;
  best_t best = {0, 0, 0};
  tinker__mem_init(&mem, NULL, 0);
  if (records < 16 || !mkdtemp(dir)) return 2;
  int rc = measure(&mem, records / 8, &best);
  clean();
  if (rc != 0) return 1;
  printf("{\"bench\":\"journal_load\",\"records\":%lld,\"start_ms\":%.1f,"
         "\"load_ms\":%.1f,\"sqlite_ms\":%.1f,\"ratio\":%.2f}\n",
         records, best.start, best.load, best.sqlite, best.start / best.sqlite);
  return 0;
}
