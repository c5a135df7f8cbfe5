/* The db: what is committed is there after a crash, groups that fail hurt
 * nobody else, a lock of another process is waited for. */
#include <criterion/criterion.h>
#include <pthread.h>
#include <sched.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <tinker/error.h>
#include <unistd.h>

#include "db/db.h"
#include "db/row.h"
#include "support/fail_alloc.h"

/* The child of a fork starts a thread: ThreadSanitizer has to allow it. */
__attribute__((visibility("default"))) const char *__tsan_default_options(void);
const char *__tsan_default_options(void) {
  return "die_after_fork=0";
}

static char dir[] = "/tmp/tinker-db-XXXXXX";
static char path[64];

static void setup(void) {
  cr_assert_neq(mkdtemp(dir), NULL);
  snprintf(path, sizeof path, "%s/a.db", dir);
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

TestSuite(db, .init = setup, .fini = teardown);

/* Opens the file, with the table that the tests write. */
static int open_db(tinker__db_t **out, tinker__mem_t *mem) {
  static const char tables[] =
      "CREATE TABLE IF NOT EXISTS names(row INTEGER PRIMARY KEY,"
      " name TEXT NOT NULL);"
      "CREATE TABLE IF NOT EXISTS count(n INTEGER NOT NULL);";
  char why[200] = "";
  int rc = tinker__db_open(out, mem, path, false, "the file", why, sizeof why);
  if (rc != 0) return rc;
  rc = tinker__db_durable(*out, why, sizeof why);
  cr_assert_eq(rc, 0, "%s", why);
  rc = tinker__db_exec(*out, tables, why, sizeof why);
  cr_assert_eq(rc, 0, "%s", why);
  return 0;
}

static int read_row(tinker__db_t *db, int64_t row, tinker__db_read_cb done,
                    void *user) {
  return tinker__db_read(db, "SELECT name FROM names WHERE row = ?", row, done,
                         user);
}

static void on_done(void *user, int rc) {
  *(int *)user = rc;
}

/* How many commits the watcher knew of when the write was told. */
static int64_t marked, marked_when_told;

static void on_marked(void *user, int64_t commits) {
  (void)user;
  marked = commits;
}

static void on_told(void *user, int rc) {
  (void)user;
  (void)rc;
  marked_when_told = marked;
}

static int put(tinker__db_t *db, int64_t row, const char *name, int *rc) {
  tinker__db_write_t *w = tinker__db_write_new(db, on_done, rc);
  tinker__db_write_sql(w, "INSERT INTO names VALUES(?, ?)");
  tinker__db_write_i64(w, row);
  tinker__db_write_text(w, name);
  return tinker__db_write_submit(w);
}

static int count_row(void *user, struct sqlite3_stmt *row) {
  cr_assert_str_eq(tinker__db_row_text(row, 0), "name");
  ++*(int *)user;
  return 0;
}

static int count(tinker__mem_t *mem) {
  tinker__db_t *db;
  char why[200];
  int n = 0;
  cr_assert_eq(open_db(&db, mem), 0);
  cr_assert_eq(tinker__db_each(db, "SELECT name FROM names", count_row, &n, why,
                               sizeof why),
               0);
  tinker__db_free(db);
  return n;
}

/* 40 writes in a few groups; two of them break a rule of the schema. */
Test(db, group_commit) {
  tinker__mem_t mem;
  tinker__db_t *db;
  int rc[40];
  tinker__mem_init(&mem, NULL, 0);
  cr_assert_eq(open_db(&db, &mem), 0);
  cr_assert_eq(tinker__db_start(db), 0);
  for (int i = 0; i < 40; i++) {
    rc[i] = 1;
    int64_t row = i == 20 ? 3 : i; /* the row is taken */
    cr_assert_eq(put(db, row, i == 30 ? NULL : "name", &rc[i]), 0);
  }
  tinker__db_free(db);
  for (int i = 0; i < 40; i++) {
    cr_assert_eq(rc[i], i == 20 || i == 30 ? TINKER_EIO : 0, "write %d", i);
  }
  cr_assert_eq(count(&mem), 38);
  cr_assert_eq(mem.live_blocks, 0);
}

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static int acknowledged_fd;

static void acknowledge(void *user, int rc) {
  char c = (char)rc;
  (void)user;
  pthread_mutex_lock(&lock);
  if (write(acknowledged_fd, &c, 1) != 1) _exit(1);
  pthread_mutex_unlock(&lock);
}

/* A process that writes as fast as it can and dies at some moment. */
static void write_and_die(int die_after) {
  tinker__mem_t mem;
  tinker__db_t *db;
  tinker__mem_init(&mem, NULL, 0);
  if (open_db(&db, &mem) != 0 || tinker__db_start(db) != 0) {
    _exit(1);
  }
  for (int i = 0; i < die_after; i++) {
    tinker__db_write_t *w = tinker__db_write_new(db, acknowledge, NULL);
    tinker__db_write_sql(w, "INSERT INTO names(name) VALUES(?)");
    tinker__db_write_text(w, "name");
    if (tinker__db_write_submit(w) != 0) _exit(1);
  }
  kill(getpid(), SIGKILL);
}

Test(db, what_was_acknowledged_survives) {
  tinker__mem_t mem;
  int acknowledged = 0;
  tinker__mem_init(&mem, NULL, 0);
  for (int round = 0; round < 5; round++) {
    int ends[2], status;
    char c;
    cr_assert_eq(pipe(ends), 0);
    pid_t child = fork();
    cr_assert_geq(child, 0);
    if (child == 0) {
      close(ends[0]);
      acknowledged_fd = ends[1];
      write_and_die(3 + 60 * round);
    }
    close(ends[1]);
    while (read(ends[0], &c, 1) == 1) acknowledged += c == 0;
    close(ends[0]);
    cr_assert_eq(waitpid(child, &status, 0), child);
    cr_assert(WIFSIGNALED(status));
    cr_assert_geq(count(&mem), acknowledged, "round %d", round);
  }
}

/* --- Counting ------------------------------------------------------------- */

static int read_count(void *user, struct sqlite3_stmt *row) {
  *(int64_t *)user = tinker__db_row_i64(row, 0);
  return 0;
}

/* Opens the file, whose table count has one row if `row`, counts from 41 on,
 * and writes once. */
static int write_counted(tinker__mem_t *mem, bool row, int64_t *in_file) {
  tinker__db_t *db;
  char why[200];
  int rc = 1;
  cr_assert_eq(open_db(&db, mem), 0);
  if (row) {
    cr_assert_eq(
        tinker__db_exec(db, "INSERT INTO count VALUES(41)", why, sizeof why),
        0);
  }
  tinker__db_count(db, "UPDATE count SET n = ?", 41);
  tinker__db_watch(db, &(tinker__db_watch_t){.committed = on_marked});
  cr_assert_eq(tinker__db_start(db), 0);
  tinker__db_write_t *w = tinker__db_write_new(db, on_told, NULL);
  tinker__db_write_sql(w, "DELETE FROM names");
  cr_assert_eq(tinker__db_write_submit(w), 0);
  cr_assert_eq(put(db, 1, "name", &rc), 0);
  tinker__db_free(db);
  cr_assert_eq(open_db(&db, mem), 0);
  cr_assert_eq(tinker__db_each(db, "SELECT n FROM count", read_count, in_file,
                               why, sizeof why),
               0);
  tinker__db_free(db);
  return rc;
}

/* Who watches commits knows of each before anybody is told of it, and the file
 * has their number. */
Test(db, the_watcher_is_first) {
  tinker__mem_t mem;
  int64_t in_file = 0;
  tinker__mem_init(&mem, NULL, 0);
  cr_assert_eq(write_counted(&mem, true, &in_file), 0);
  cr_assert_geq(marked_when_told, 42);
  cr_assert_eq(in_file, marked);
  cr_assert_eq(mem.live_blocks, 0);
}

static tinker__db_t *asked_of;
static int64_t commits_when_asked = -1;

static void on_committing(void *user) {
  int *asked = user;
  if (!(*asked)++) commits_when_asked = tinker__db_commits(asked_of);
}

/* What has to be on disk before a group is asked for before the group is
 * durable, and not at all for reads. */
Test(db, asks_before_it_commits) {
  tinker__mem_t mem;
  int rc = 1, asked = 0;
  tinker__mem_init(&mem, NULL, 0);
  cr_assert_eq(open_db(&asked_of, &mem), 0);
  tinker__db_watch(asked_of, &(tinker__db_watch_t){
                                 .committing = on_committing,
                                 .user = &asked,
                             });
  cr_assert_eq(tinker__db_start(asked_of), 0);
  cr_assert_eq(put(asked_of, 1, "name", &rc), 0);
  tinker__db_free(asked_of);
  cr_assert_eq(rc, 0);
  cr_assert_eq(asked, 1);
  cr_assert_eq(commits_when_asked, 0);
}

/* What could not be counted is not durable either. */
Test(db, nothing_is_committed_uncounted) {
  tinker__mem_t mem;
  int64_t in_file = -1;
  tinker__mem_init(&mem, NULL, 0);
  cr_assert_eq(write_counted(&mem, false, &in_file), TINKER_EIO);
  cr_assert_eq(in_file, -1);
  cr_assert_eq(marked, 0);
  cr_assert_eq(count(&mem), 0);
}

/* --- Reading and looking -------------------------------------------------- */

static void on_name(void *user, int rc, struct sqlite3_stmt *row) {
  char *name = user;
  snprintf(name, 40, "%d %s", rc, row ? tinker__db_row_text(row, 0) : "-");
}

/* A read that is queued behind a write sees it. */
Test(db, reads_see_what_was_submitted_before) {
  tinker__mem_t mem;
  tinker__db_t *db;
  char before[40] = "", after[40] = "", wrong[40] = "";
  int rc = 1;
  tinker__mem_init(&mem, NULL, 0);
  cr_assert_eq(open_db(&db, &mem), 0);
  cr_assert_eq(tinker__db_start(db), 0);
  cr_assert_eq(put(db, 4, "name", &rc), 0);
  cr_assert_eq(read_row(db, 5, on_name, before), 0);
  cr_assert_eq(read_row(db, 4, on_name, after), 0);
  cr_assert_eq(
      tinker__db_read(db, "SELECT nothing FROM names", 4, on_name, wrong), 0);
  tinker__db_free(db);
  cr_assert_eq(rc, 0);
  cr_assert_str_eq(after, "0 name");
  char none[40], error[40];
  snprintf(none, sizeof none, "%d -", TINKER_ENOENT);
  snprintf(error, sizeof error, "%d -", TINKER_EIO);
  cr_assert_str_eq(before, none);
  cr_assert_str_eq(wrong, error);
}

Test(db, a_look_changes_nothing) {
  tinker__mem_t mem;
  tinker__db_t *db = NULL;
  char why[200] = "";
  tinker__mem_init(&mem, NULL, 0);
  cr_assert_eq(
      tinker__db_open(&db, &mem, path, true, "the file", why, sizeof why),
      TINKER_EIO);
  cr_assert_eq(access(path, F_OK), -1);
  cr_assert_eq(count(&mem), 0);
  cr_assert_eq(
      tinker__db_open(&db, &mem, path, true, "the file", why, sizeof why), 0);
  cr_assert_eq(tinker__db_exec(db, "INSERT INTO names VALUES(1, 'name')", why,
                               sizeof why),
               TINKER_EIO);
  cr_assert_eq(strncmp(why, "the file: ", 10), 0, "%s", why);
  tinker__db_free(db);
  cr_assert_eq(count(&mem), 0);
  cr_assert_eq(mem.live_blocks, 0);
}

/* --- Vital writes --------------------------------------------------------- */

typedef struct {
  pthread_mutex_t lock;
  pthread_cond_t changed;
  bool held, go;
} gate_t;

static void on_gate(void *user, int rc, struct sqlite3_stmt *row) {
  gate_t *g = user;
  (void)rc;
  (void)row;
  pthread_mutex_lock(&g->lock);
  g->held = true;
  pthread_cond_broadcast(&g->changed);
  while (!g->go) pthread_cond_wait(&g->changed, &g->lock);
  pthread_mutex_unlock(&g->lock);
}

/* The writes that follow are one group. */
static void close_gate(gate_t *g, tinker__db_t *db) {
  *g = (gate_t){.held = false};
  pthread_mutex_init(&g->lock, NULL);
  pthread_cond_init(&g->changed, NULL);
  cr_assert_eq(read_row(db, 0, on_gate, g), 0);
  pthread_mutex_lock(&g->lock);
  while (!g->held) pthread_cond_wait(&g->changed, &g->lock);
  pthread_mutex_unlock(&g->lock);
}

static void open_gate(gate_t *g) {
  pthread_mutex_lock(&g->lock);
  g->go = true;
  pthread_cond_broadcast(&g->changed);
  pthread_mutex_unlock(&g->lock);
}

/* Five writes in a group, the third has no value: what was submitted after it
 * becomes durable unless the third was vital; so do later groups. */
static void third_fails(bool vital, int kept) {
  tinker__mem_t mem;
  tinker__db_t *db;
  gate_t gate;
  int rc[6];
  tinker__mem_init(&mem, NULL, 0);
  cr_assert_eq(open_db(&db, &mem), 0);
  cr_assert_eq(tinker__db_start(db), 0);
  close_gate(&gate, db);
  for (int i = 0; i < 5; i++) {
    tinker__db_write_t *w = tinker__db_write_new(db, on_done, &rc[i]);
    tinker__db_write_sql(w, "INSERT INTO names VALUES(?, ?)");
    tinker__db_write_i64(w, i + 1);
    tinker__db_write_text(w, i == 2 ? NULL : "name");
    if (vital && i == 2) tinker__db_write_vital(w);
    cr_assert_eq(tinker__db_write_submit(w), 0);
  }
  open_gate(&gate);
  cr_assert_eq(put(db, 9, "name", &rc[5]), 0);
  tinker__db_free(db);
  for (int i = 0; i < 6; i++) {
    bool lost = i == 2 || (vital && i > 2);
    cr_assert_eq(rc[i], lost ? TINKER_EIO : 0, "write %d: %d", i, rc[i]);
  }
  cr_assert_eq(count(&mem), kept);
}

Test(db, nothing_after_a_vital_write_that_failed) {
  third_fails(true, 2);
}

Test(db, everything_around_another_write_that_failed) {
  third_fails(false, 5);
}

/* --- Another process's lock ----------------------------------------------- */

typedef struct {
  sqlite3 *other;
  int64_t commits, last_wait;
  int locked;
} watch_t;

static void on_commit(void *user, int64_t commits) {
  ((watch_t *)user)->commits = commits;
}

/* It lets go when somebody has waited twice. */
static void on_locked(void *user, int64_t waited_ms) {
  watch_t *w = user;
  w->last_wait = waited_ms;
  if (++w->locked == 2) {
    cr_assert_eq(sqlite3_exec(w->other, "ROLLBACK", NULL, NULL, NULL), 0);
  }
}

static tinker__db_t *open_watched(tinker__mem_t *mem, watch_t *w) {
  tinker__db_t *db;
  tinker__mem_init(mem, NULL, 0);
  cr_assert_eq(open_db(&db, mem), 0);
  tinker__db_watch(db, &(tinker__db_watch_t){.committed = on_commit,
                                             .locked = on_locked,
                                             .user = w});
  cr_assert_eq(sqlite3_open(path, &w->other), SQLITE_OK);
  cr_assert_eq(sqlite3_exec(w->other, "BEGIN IMMEDIATE", NULL, NULL, NULL), 0);
  cr_assert_eq(tinker__db_start(db), 0);
  return db;
}

/* The write waits, is told nothing, and goes through: a vital one too. */
Test(db, waits_for_another_lock) {
  tinker__mem_t mem;
  watch_t w = {.locked = 0};
  int rc = 1;
  tinker__db_t *db = open_watched(&mem, &w);
  cr_assert_eq(put(db, 1, "name", &rc), 0);
  while (tinker__db_commits(db) == 0) sched_yield();
  tinker__db_free(db);
  cr_assert_eq(rc, 0);
  cr_assert_eq(w.locked, 2);
  cr_assert_gt(w.last_wait, 0);
  cr_assert_eq(w.commits, 1);
  sqlite3_close(w.other);
  cr_assert_eq(count(&mem), 1);
}

/* The end does not wait for it: what is queued fails. */
Test(db, ends_in_spite_of_another_lock) {
  tinker__mem_t mem;
  watch_t w = {.locked = 10};
  int rc = 1;
  tinker__db_t *db = open_watched(&mem, &w);
  cr_assert_eq(put(db, 1, "name", &rc), 0);
  tinker__db_free(db);
  cr_assert_eq(rc, TINKER_EIO);
  sqlite3_close(w.other);
  cr_assert_eq(count(&mem), 0);
  cr_assert_eq(mem.live_blocks, 0);
}

static void on_read(void *user, int rc, struct sqlite3_stmt *row) {
  (void)row;
  *(int *)user = rc;
}

static int use_db(tinker__mem_t *mem, void *user) {
  tinker__db_t *db;
  static int64_t row;
  int done = 1, read_rc = 1;
  (void)user;
  int rc = open_db(&db, mem);
  if (rc != 0) return rc;
  rc = tinker__db_start(db);
  if (rc == 0) rc = put(db, ++row, "name", &done);
  if (rc == 0) rc = read_row(db, -1, on_read, &read_rc);
  tinker__db_free(db);
  if (rc == 0) {
    cr_assert_eq(done, 0);
    cr_assert_eq(read_rc, TINKER_ENOENT);
  }
  return rc;
}

Test(db, every_allocation_may_fail) {
  cr_assert_geq(tinker__fail_sweep(use_db, NULL, TINKER_ENOMEM), 5);
}
