/* The store: what is committed is there after a crash, groups that fail hurt
 * nobody else, another version is refused. */
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

#include "service/store/rows.h"
#include "service/store/store.h"
#include "support/fail_alloc.h"

/* The child of a fork starts a thread: ThreadSanitizer has to allow it. */
__attribute__((visibility("default"))) const char *__tsan_default_options(void);
const char *__tsan_default_options(void) {
  return "die_after_fork=0";
}

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

static int put(tinker__svc_store_t *s, int64_t row, const char *name, int *rc) {
  tinker__svc_write_t *w = tinker__svc_write_new(s, on_done, rc);
  tinker__svc_write_sql(
      w, "INSERT INTO models(row, session, seq, created_ms, base,"
         " rank, seed, train) VALUES(?, 1, ?, 0, ?, 4, 0, 7)");
  tinker__svc_write_i64(w, row);
  tinker__svc_write_i64(w, row);
  tinker__svc_write_text(w, name);
  return tinker__svc_write_submit(w);
}

static int count_row(void *user, struct sqlite3_stmt *row) {
  cr_assert_str_eq(tinker__svc_row_text(row, 0), "name");
  ++*(int *)user;
  return 0;
}

static int count(tinker__mem_t *mem) {
  tinker__svc_store_t *s;
  char why[200];
  int n = 0;
  cr_assert_eq(tinker__svc_store_open(&s, mem, path, why, sizeof why), 0, "%s",
               why);
  cr_assert_eq(tinker__svc_store_each(s, "SELECT base FROM models", count_row,
                                      &n, why, sizeof why),
               0);
  tinker__svc_store_free(s);
  return n;
}

/* 40 writes in a few groups; two of them break a rule of the schema. */
Test(store, group_commit) {
  tinker__mem_t mem;
  tinker__svc_store_t *s;
  char why[200];
  int rc[40];
  tinker__mem_init(&mem, NULL, 0);
  cr_assert_eq(tinker__svc_store_open(&s, &mem, path, why, sizeof why), 0);
  cr_assert_eq(tinker__svc_store_start(s), 0);
  for (int i = 0; i < 40; i++) {
    rc[i] = 1;
    int64_t row = i == 20 ? 3 : i; /* the row is taken */
    cr_assert_eq(put(s, row, i == 30 ? NULL : "name", &rc[i]), 0);
  }
  tinker__svc_store_free(s);
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
  tinker__svc_store_t *s;
  tinker__mem_init(&mem, NULL, 0);
  if (tinker__svc_store_open(&s, &mem, path, NULL, 0) != 0 ||
      tinker__svc_store_start(s) != 0) {
    _exit(1);
  }
  for (int i = 0; i < die_after; i++) {
    tinker__svc_write_t *w = tinker__svc_write_new(s, acknowledge, NULL);
    tinker__svc_write_sql(w,
                          "INSERT INTO models(session, seq, created_ms, base,"
                          " rank, seed, train) VALUES(?, ?, 0, 'name', 4, 0,"
                          " 7)");
    tinker__svc_write_i64(w, getpid());
    tinker__svc_write_i64(w, i);
    if (tinker__svc_write_submit(w) != 0) _exit(1);
  }
  kill(getpid(), SIGKILL);
}

Test(store, what_was_acknowledged_survives) {
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

Test(store, another_version_is_refused) {
  tinker__mem_t mem;
  tinker__svc_store_t *s;
  char why[200] = "";
  tinker__mem_init(&mem, NULL, 0);
  cr_assert_eq(tinker__svc_store_open(&s, &mem, path, why, sizeof why), 0);
  cr_assert_eq(tinker__svc_store_exec(s, "PRAGMA user_version=99", why, 200),
               0);
  tinker__svc_store_free(s);
  cr_assert_eq(tinker__svc_store_open(&s, &mem, path, why, sizeof why),
               TINKER_EFORMAT);
  cr_assert_neq(strstr(why, "version 99"), NULL, "%s", why);
  cr_assert_eq(mem.live_blocks, 0);
}

/* Who watches commits knows of each before anybody is told of it. */
Test(store, the_watcher_is_first) {
  tinker__mem_t mem;
  tinker__svc_store_t *s;
  tinker__mem_init(&mem, NULL, 0);
  cr_assert_eq(tinker__svc_store_open(&s, &mem, path, NULL, 0), 0);
  tinker__svc_store_watch(s,
                          &(tinker__svc_store_watch_t){.committed = on_marked});
  cr_assert_eq(tinker__svc_store_start(s), 0);
  tinker__svc_write_t *w = tinker__svc_write_new(s, on_told, NULL);
  tinker__svc_write_sql(w, "DELETE FROM gone");
  cr_assert_eq(tinker__svc_write_submit(w), 0);
  tinker__svc_store_free(s);
  cr_assert_eq(marked_when_told, 1);
  cr_assert_eq(tinker__svc_store_open(&s, &mem, path, NULL, 0), 0);
  cr_assert_eq(tinker__svc_store_commits(s), 1); /* and so does the file */
  tinker__svc_store_free(s);
}

/* --- Vital writes --------------------------------------------------------- */

typedef struct {
  pthread_mutex_t lock;
  pthread_cond_t changed;
  bool held, go;
} gate_t;

static void on_gate(void *user, int rc, const void *data, size_t len,
                    int64_t extra) {
  gate_t *g = user;
  (void)rc;
  (void)data;
  (void)len;
  (void)extra;
  pthread_mutex_lock(&g->lock);
  g->held = true;
  pthread_cond_broadcast(&g->changed);
  while (!g->go) pthread_cond_wait(&g->changed, &g->lock);
  pthread_mutex_unlock(&g->lock);
}

/* The writes that follow are one group. */
static void close_gate(gate_t *g, tinker__svc_store_t *s) {
  *g = (gate_t){.held = false};
  pthread_mutex_init(&g->lock, NULL);
  pthread_cond_init(&g->changed, NULL);
  cr_assert_eq(tinker__svc_store_read_result(s, 0, on_gate, g), 0);
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
  tinker__svc_store_t *s;
  gate_t gate;
  int rc[6];
  tinker__mem_init(&mem, NULL, 0);
  cr_assert_eq(tinker__svc_store_open(&s, &mem, path, NULL, 0), 0);
  cr_assert_eq(tinker__svc_store_start(s), 0);
  close_gate(&gate, s);
  for (int i = 0; i < 5; i++) {
    tinker__svc_write_t *w = tinker__svc_write_new(s, on_done, &rc[i]);
    tinker__svc_write_sql(w, "INSERT INTO models(row, session, seq, created_ms,"
                             " base, rank, seed, train)"
                             " VALUES(?, 1, ?, 0, ?, 4, 0, 7)");
    tinker__svc_write_i64(w, i + 1);
    tinker__svc_write_i64(w, i + 1);
    tinker__svc_write_text(w, i == 2 ? NULL : "name");
    if (vital && i == 2) tinker__svc_write_vital(w);
    cr_assert_eq(tinker__svc_write_submit(w), 0);
  }
  open_gate(&gate);
  cr_assert_eq(put(s, 9, "name", &rc[5]), 0);
  tinker__svc_store_free(s);
  for (int i = 0; i < 6; i++) {
    bool lost = i == 2 || (vital && i > 2);
    cr_assert_eq(rc[i], lost ? TINKER_EIO : 0, "write %d: %d", i, rc[i]);
  }
  cr_assert_eq(count(&mem), kept);
}

Test(store, nothing_after_a_vital_write_that_failed) {
  third_fails(true, 2);
}

Test(store, everything_around_another_write_that_failed) {
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

static tinker__svc_store_t *open_watched(tinker__mem_t *mem, watch_t *w) {
  tinker__svc_store_t *s;
  char why[200];
  tinker__mem_init(mem, NULL, 0);
  cr_assert_eq(tinker__svc_store_open(&s, mem, path, why, sizeof why), 0, "%s",
               why);
  tinker__svc_store_watch(
      s, &(tinker__svc_store_watch_t){on_commit, on_locked, w});
  cr_assert_eq(sqlite3_open(path, &w->other), SQLITE_OK);
  cr_assert_eq(sqlite3_exec(w->other, "BEGIN IMMEDIATE", NULL, NULL, NULL), 0);
  cr_assert_eq(tinker__svc_store_start(s), 0);
  return s;
}

/* The write waits, is told nothing, and goes through: a vital one too. */
Test(store, waits_for_another_lock) {
  tinker__mem_t mem;
  watch_t w = {.locked = 0};
  int rc = 1;
  tinker__svc_store_t *s = open_watched(&mem, &w);
  cr_assert_eq(put(s, 1, "name", &rc), 0);
  while (tinker__svc_store_commits(s) == 0) sched_yield();
  tinker__svc_store_free(s);
  cr_assert_eq(rc, 0);
  cr_assert_eq(w.locked, 2);
  cr_assert_gt(w.last_wait, 0);
  cr_assert_eq(w.commits, 1);
  sqlite3_close(w.other);
  cr_assert_eq(count(&mem), 1);
}

/* The end does not wait for it: what is queued fails. */
Test(store, ends_in_spite_of_another_lock) {
  tinker__mem_t mem;
  watch_t w = {.locked = 10};
  int rc = 1;
  tinker__svc_store_t *s = open_watched(&mem, &w);
  cr_assert_eq(put(s, 1, "name", &rc), 0);
  tinker__svc_store_free(s);
  cr_assert_eq(rc, TINKER_EIO);
  sqlite3_close(w.other);
  cr_assert_eq(count(&mem), 0);
  cr_assert_eq(mem.live_blocks, 0);
}

static void on_read(void *user, int rc, const void *data, size_t len,
                    int64_t extra) {
  (void)data;
  (void)len;
  (void)extra;
  *(int *)user = rc;
}

static int use_store(tinker__mem_t *mem, void *user) {
  tinker__svc_store_t *s;
  static int64_t row;
  int done = 1, read_rc = 1;
  (void)user;
  int rc = tinker__svc_store_open(&s, mem, path, NULL, 0);
  if (rc != 0) return rc;
  rc = tinker__svc_store_start(s);
  if (rc == 0) rc = put(s, ++row, "name", &done);
  if (rc == 0) rc = tinker__svc_store_read_result(s, 1, on_read, &read_rc);
  tinker__svc_store_free(s);
  if (rc == 0) {
    cr_assert_eq(done, 0);
    cr_assert_eq(read_rc, TINKER_ENOENT);
  }
  return rc;
}

Test(store, every_allocation_may_fail) {
  cr_assert_geq(tinker__fail_sweep(use_store, NULL, TINKER_ENOMEM), 5);
}
