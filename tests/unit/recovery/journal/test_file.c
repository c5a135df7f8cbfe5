/* file: what was acknowledged is read again, by one writer at a time, and a
 * write that fails ends the writing. */
#ifdef __linux__
#define _GNU_SOURCE /* syscall */
#endif
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <tinker/error.h>
#include <unistd.h>

#include "journal/file.h"
#include "made.h"
#include "support/fail_alloc.h"

static tinker__mem_t mem;
static char path[256], why[300];

static void setup(void) {
  made_setup();
  tinker__mem_init(&mem, NULL, 0);
  snprintf(path, sizeof path, "%s", made_path("e1.db"));
}

static void teardown(void) {
  cr_assert_eq(atomic_load(&mem.live_blocks), 0);
  made_teardown();
}

TestSuite(file, .init = setup, .fini = teardown);

/* Opens the file as its writer; the records that are there must be those of
 * salt 1. */
static tinker__rec_file_t *writer(int64_t *there) {
  tinker__rec_file_t *f = NULL;
  made_reader_t reader = {.salt = 1};
  tinker__rec_file_spec_t spec = made_spec(&mem, path);
  spec.each = made_each;
  spec.user = &reader;
  int rc = tinker__rec_file_open(&f, &spec, why, sizeof why);
  cr_assert_eq(rc, 0, "%s", why);
  cr_assert_not(reader.altered);
  if (there) *there = reader.count;
  return f;
}

static int put(tinker__rec_file_t *f, int64_t n) {
  made_record_t r;
  made_record(&r, 1, n);
  return tinker__rec_file_put(f, &r.draft);
}

static void expect(int64_t count) {
  made_reader_t reader = {.salt = 1};
  int rc = made_read(path, &reader, why, sizeof why);
  cr_assert_eq(rc, 0, "%s", why);
  cr_assert_not(reader.altered);
  cr_assert_eq(reader.count, count, "%lld", (long long)reader.count);
}

Test(file, what_is_put_is_read) {
  int64_t there;
  struct stat st;
  tinker__rec_file_t *f = writer(&there);
  cr_assert_eq(there, 0);
  cr_assert_eq(tinker__rec_file_generation(f), 1);
  for (int64_t i = 1; i <= 5; i++) cr_assert_eq(put(f, i), 0);
  expect(5); /* beside its writer */
  f = tinker__rec_file_close(f);
  expect(5);
  f = writer(&there);
  cr_assert_eq(there, 5);
  cr_assert_eq(tinker__rec_file_generation(f), 2);
  cr_assert_eq(put(f, 6), 0);
  tinker__rec_file_close(f);
  expect(6);
  cr_assert_eq(stat(path, &st), 0);
  cr_assert_eq(st.st_mode & 0777, 0600);
  cr_assert_eq(tinker__rec_file_close(NULL), NULL);
}

Test(file, there_is_none) {
  made_reader_t reader = {.salt = 1};
  cr_assert_eq(made_read(path, &reader, why, sizeof why), TINKER_ENOENT);
  cr_assert_eq(access(path, F_OK), -1); /* it was not made */
}

/* A writer that died as it began. */
Test(file, an_empty_file_is_a_new_one) {
  made_spit(path, "", 0);
  expect(0);
  tinker__rec_file_t *f = writer(NULL);
  cr_assert_eq(put(f, 1), 0);
  tinker__rec_file_close(f);
  expect(1);
}

Test(file, names_that_a_run_can_not_have) {
  static const char *const names[] = {
      "",
      "a b",
      "a/b",
      "a'b",
      "\xc3\xa9",
      "0123456789012345678901234567890123456789012345678901234567890123x"};
  tinker__rec_file_t *f = NULL;
  for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
    tinker__rec_file_spec_t spec = made_spec(&mem, path);
    spec.lineage = names[i];
    cr_assert_eq(tinker__rec_file_open(&f, &spec, why, sizeof why),
                 TINKER_EINVAL, "%s", names[i]);
    cr_assert_eq(access(path, F_OK), -1);
  }
}

Test(file, the_reader_ends_the_reading) {
  made_file(path, 2, 3);
  made_reader_t reader = {.salt = 1};
  cr_assert_eq(made_read(path, &reader, why, sizeof why), 0);
  cr_assert(reader.altered); /* the tests' own reader sees a difference */
}

static int no_more(void *user, const tinker__rec_record_t *r, char *w,
                   size_t len) {
  (void)r;
  ++*(int *)user;
  return tinker__why(w, len, -4321, "no more");
}

Test(file, what_each_returns_is_returned) {
  int calls = 0;
  made_file(path, 1, 3);
  tinker__rec_file_t *f = NULL;
  tinker__rec_file_spec_t spec = made_spec(&mem, path);
  spec.each = no_more;
  spec.user = &calls;
  cr_assert_eq(tinker__rec_file_read(&spec, why, sizeof why), -4321);
  cr_assert_str_eq(why, "no more");
  cr_assert_eq(tinker__rec_file_open(&f, &spec, why, sizeof why), -4321);
  cr_assert_eq(calls, 2);
}

/* --- One writer ----------------------------------------------------------- */

Test(file, an_older_writer_is_refused) {
  int64_t there;
  tinker__rec_file_t *one = writer(NULL);
  cr_assert_eq(put(one, 1), 0);
  tinker__rec_file_t *two = writer(&there);
  cr_assert_eq(there, 1);
  cr_assert_eq(tinker__rec_file_generation(two), 2);
  cr_assert_eq(put(one, 2), TINKER_EIO);
  cr_assert_eq(put(one, 2), TINKER_EIO); /* for ever */
  cr_assert_eq(put(two, 2), 0);
  tinker__rec_file_close(one);
  cr_assert_eq(put(two, 3), 0);
  tinker__rec_file_close(two);
  expect(3);
}

static atomic_int good, bad;

static void on_done(void *user, int rc) {
  (void)user;
  atomic_fetch_add(rc == 0 ? &good : &bad, 1);
}

static void add_many(tinker__rec_file_t *f, int64_t from, int64_t n) {
  made_record_t r;
  for (int64_t i = from; i < from + n; i++) {
    made_record(&r, 1, i);
    cr_assert_eq(tinker__rec_file_add(f, &r.draft, on_done, NULL), 0);
  }
}

/* Commits that are in the write-ahead log: frames of 24 bytes and a page, the
 * last of a commit has the size of the file in its second word. */
static int commits(void) {
  static unsigned char log[8 << 20];
  char name[300];
  int n = 0;
  snprintf(name, sizeof name, "%s-wal", path);
  size_t len = made_slurp(name, log, sizeof log);
  for (size_t at = 32; at + 24 + 4096 <= len; at += 24 + 4096) {
    if (log[at + 4] | log[at + 5] | log[at + 6] | log[at + 7]) n++;
  }
  return n;
}

/* While another connection holds the file all records of a moment wait: at most
 * one is in a commit of its own, the first. */
Test(file, records_share_a_commit) {
  sqlite3 *db = NULL;
  tinker__rec_file_t *f = writer(NULL);
  int before = commits();
  cr_assert_eq(sqlite3_open(path, &db), SQLITE_OK);
  cr_assert_eq(sqlite3_exec(db, "BEGIN IMMEDIATE", NULL, NULL, NULL), 0);
  add_many(f, 1, 300);
  cr_assert_eq(atomic_load(&good), 0);
  cr_assert_eq(sqlite3_exec(db, "COMMIT", NULL, NULL, NULL), 0);
  cr_assert_eq(put(f, 301), 0);
  cr_assert_eq(atomic_load(&good), 300); /* in the order of their numbers */
  int more = commits() - before;
  cr_assert(more >= 1 && more <= 3, "%d", more);
  sqlite3_close(db);
  tinker__rec_file_close(f);
  expect(301);
}

static void *add_own(void *user) {
  const tinker__rec_draft_t d = {.type = TINKER__REC_OP_SENT,
                                 .step = TINKER__REC_NO_STEP,
                                 .fields = {"{}", 2},
                                 .bytes = {"", 0}};
  for (int i = 0; i < 50; i++) {
    cr_assert_eq(i % 10 ? tinker__rec_file_add(user, &d, on_done, NULL)
                        : tinker__rec_file_put(user, &d),
                 0);
  }
  return NULL;
}

static int count(void *user, const tinker__rec_record_t *r, char *w,
                 size_t len) {
  (void)r, (void)w, (void)len;
  ++*(int *)user;
  return 0;
}

Test(file, four_threads_make_one_chain) {
  pthread_t threads[4];
  int n = 0;
  tinker__rec_file_t *f = writer(NULL);
  for (int i = 0; i < 4; i++) {
    cr_assert_eq(pthread_create(&threads[i], NULL, add_own, f), 0);
  }
  for (int i = 0; i < 4; i++) pthread_join(threads[i], NULL);
  tinker__rec_file_close(f);
  cr_assert_eq(atomic_load(&good), 180);
  tinker__rec_file_spec_t spec = made_spec(&mem, path);
  spec.each = count;
  spec.user = &n;
  cr_assert_eq(tinker__rec_file_read(&spec, why, sizeof why), 0, "%s", why);
  cr_assert_eq(n, 200);
}

#ifdef __linux__
static atomic_int syncs;

/* These stand before those of libc, also for SQLite. */
__attribute__((visibility("default"))) int fsync(int fd) {
  atomic_fetch_add(&syncs, 1);
  return (int)syscall(SYS_fsync, fd);
}

__attribute__((visibility("default"))) int fdatasync(int fd) {
  atomic_fetch_add(&syncs, 1);
  return (int)syscall(SYS_fdatasync, fd);
}

static void until_there(int all) {
  tinker__rec_file_spec_t spec = made_spec(&mem, path);
  int n = 0;
  spec.each = count;
  spec.user = &n;
  while (n < all) {
    n = 0;
    cr_assert_eq(tinker__rec_file_read(&spec, why, sizeof why), 0, "%s", why);
  }
}

/* It is in the file all the same, for whoever reads it after this process. */
Test(file, a_record_that_nobody_waits_for_makes_no_sync) {
  made_record_t r;
  tinker__rec_file_t *f = writer(NULL);
  cr_assert_eq(put(f, 1), 0);
  int before = atomic_load(&syncs);
  cr_assert_gt(before, 0);
  for (int64_t i = 2; i <= 11; i++) {
    made_record(&r, 1, i);
    cr_assert_eq(tinker__rec_file_add(f, &r.draft, NULL, NULL), 0);
  }
  until_there(11);
  cr_assert_eq(atomic_load(&syncs), before);
  cr_assert_eq(put(f, 12), 0);
  cr_assert_eq(atomic_load(&syncs), before + 1);
  made_record(&r, 1, 13);
  cr_assert_eq(tinker__rec_file_add(f, &r.draft, on_done, NULL), 0);
  until_there(13);
  tinker__rec_file_close(f);
  cr_assert_gt(atomic_load(&syncs), before + 1);
  expect(13);
}
#endif

/* A file that grows meanwhile is read as it was at one time: its head says no
 * more and no less than its records. */
Test(file, a_reader_beside_writers) {
  pthread_t threads[4];
  tinker__rec_file_t *f = writer(NULL);
  tinker__rec_file_spec_t spec = made_spec(&mem, path);
  for (int i = 0; i < 4; i++) {
    cr_assert_eq(pthread_create(&threads[i], NULL, add_own, f), 0);
  }
  for (int i = 0; i < 300; i++) {
    cr_assert_eq(tinker__rec_file_read(&spec, why, sizeof why), 0, "%s", why);
  }
  for (int i = 0; i < 4; i++) pthread_join(threads[i], NULL);
  tinker__rec_file_close(f);
}

/* --- Beginning in the middle ---------------------------------------------- */

static tinker__rec_mark_t mark_at(int64_t id) {
  tinker__rec_mark_t end = {.id = -1};
  tinker__rec_file_spec_t spec = made_spec(&mem, path);
  spec.to = id;
  spec.end = &end;
  cr_assert_eq(tinker__rec_file_read(&spec, why, sizeof why), 0, "%s", why);
  cr_assert_eq(end.id, id);
  return end;
}

/* Number of records that are shown. */
static int read_from(const tinker__rec_mark_t *from, int64_t to, int *n) {
  tinker__rec_file_spec_t spec = made_spec(&mem, path);
  *n = 0;
  spec.from = from;
  spec.to = to;
  spec.each = count;
  spec.user = n;
  return tinker__rec_file_read(&spec, why, sizeof why);
}

Test(file, a_part_of_it) {
  int n;
  made_file(path, 1, 9);
  const tinker__rec_mark_t none = {.id = 0}, four = mark_at(4);
  cr_assert(read_from(&none, 0, &n) == 0 && n == 9, "%d: %s", n, why);
  cr_assert(read_from(&four, 0, &n) == 0 && n == 5, "%d: %s", n, why);
  cr_assert(read_from(&four, 6, &n) == 0 && n == 2, "%d: %s", n, why);
  cr_assert(read_from(&four, 4, &n) == 0 && n == 0, "%d: %s", n, why);
  cr_assert_eq(read_from(&four, 10, &n), TINKER_EFORMAT);
  cr_assert(strstr(why, "record 10: it is missing"), "%s", why);
}

/* What was skipped is not looked at; what comes after hangs on it. */
Test(file, a_part_is_checked_from_its_mark_on) {
  int n;
  made_file(path, 1, 9);
  const tinker__rec_mark_t four = mark_at(4);
  made_sql(path, "UPDATE record SET step = 77 WHERE id = 2");
  cr_assert_eq(read_from(&four, 0, &n), 0, "%s", why);
  cr_assert_eq(read_from(NULL, 0, &n), TINKER_EFORMAT);
  made_sql(path, "UPDATE record SET step = 77 WHERE id = 5");
  cr_assert_eq(read_from(&four, 0, &n), TINKER_EFORMAT);
  cr_assert(strstr(why, "damaged at record 5"), "%s", why);
}

static void lacks_it(const tinker__rec_mark_t *mark) {
  int n;
  tinker__rec_file_t *f = NULL;
  tinker__rec_file_spec_t spec = made_spec(&mem, path);
  spec.from = mark;
  cr_assert_eq(read_from(mark, 0, &n), TINKER_ESTATE, "%s", why);
  cr_assert_eq(n, 0);
  cr_assert_eq(tinker__rec_file_open(&f, &spec, why, sizeof why), TINKER_ESTATE,
               "%s", why);
}

Test(file, a_mark_that_is_not_of_this_file) {
  made_file(path, 1, 9);
  tinker__rec_mark_t mark = mark_at(4);
  mark.hash[31] ^= 1;
  lacks_it(&mark);
  mark = mark_at(9);
  made_sql(path, "DELETE FROM record WHERE id = 9; UPDATE head SET last = 8");
  lacks_it(&mark);
  cr_assert_eq(unlink(path), 0);
  made_spit(path, "", 0);
  lacks_it(&mark);
}

Test(file, a_writer_goes_on_from_a_mark) {
  int n;
  tinker__rec_file_t *f = NULL;
  made_record_t r;
  made_file(path, 1, 9);
  const tinker__rec_mark_t nine = mark_at(9);
  tinker__rec_file_spec_t spec = made_spec(&mem, path);
  spec.from = &nine;
  spec.each = count;
  spec.user = &n;
  n = 0;
  cr_assert_eq(tinker__rec_file_open(&f, &spec, why, sizeof why), 0, "%s", why);
  cr_assert_eq(n, 0);
  made_record(&r, 1, 10);
  cr_assert_eq(tinker__rec_file_put(f, &r.draft), 0);
  tinker__rec_file_close(f);
  cr_assert(read_from(NULL, 0, &n) == 0 && n == 10, "%d: %s", n, why);
}

/* --- Limits and failures -------------------------------------------------- */

Test(file, records_have_limits) {
  static char big[TINKER__REC_MAX_BYTES + 1];
  tinker__rec_file_t *f = writer(NULL);
  tinker__rec_draft_t d = {.type = TINKER__REC_OP_SENT,
                           .fields = {"{}", 2},
                           .bytes = {big, sizeof big}};
  cr_assert_eq(tinker__rec_file_put(f, &d), TINKER_EOVERFLOW);
  d.bytes.len = 0;
  memset(big, ' ', sizeof big);
  d.fields = (tinker__str_t){big, TINKER__REC_MAX_FIELDS + 1};
  cr_assert_eq(tinker__rec_file_put(f, &d), TINKER_EOVERFLOW);
  cr_assert_eq(put(f, 1), 0); /* nothing has happened */
  tinker__rec_file_close(f);
  expect(1);
}

/* No file of this process may grow past its length and some bytes more. */
static void room(rlim_t bytes) {
  struct rlimit limit;
  cr_assert_eq(getrlimit(RLIMIT_FSIZE, &limit), 0);
  limit.rlim_cur = bytes;
  cr_assert_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
}

/* The disk is full: nothing that was acknowledged is lost, nothing else is
 * there, and a later writer goes on. */
Test(file, a_full_disk) {
  int64_t there, n = 0;
  int rc = 0;
  signal(SIGXFSZ, SIG_IGN);
  tinker__rec_file_t *f = writer(NULL);
  cr_assert_eq(put(f, ++n), 0);
  room(96 << 10);
  while (n < 1000 && (rc = put(f, n + 1)) == 0) n++;
  cr_assert_eq(rc, TINKER_EIO);
  cr_assert(n > 1, "%lld", (long long)n);
  expect(n); /* the reader reads */
  room(RLIM_INFINITY);
  cr_assert_eq(put(f, n + 1), TINKER_EIO); /* there is room, too late */
  made_record_t r;
  made_record(&r, 1, n + 1);
  cr_assert_eq(tinker__rec_file_add(f, &r.draft, on_done, NULL), TINKER_EIO);
  cr_assert_eq(atomic_load(&good) + atomic_load(&bad), 0); /* not queued */
  tinker__rec_file_close(f);
  expect(n);
  f = writer(&there);
  cr_assert_eq(there, n);
  cr_assert_eq(put(f, n + 1), 0);
  tinker__rec_file_close(f);
  expect(n + 1);
}

/* The same with records that wait together, of which one is too big: those
 * before it are there, and none after it, though there was room. */
Test(file, a_full_disk_and_a_queue) {
  static char big[TINKER__REC_MAX_BYTES];
  const tinker__rec_draft_t d = {.type = TINKER__REC_OP_SENT,
                                 .fields = {"{}", 2},
                                 .bytes = {big, sizeof big}};
  sqlite3 *db = NULL;
  signal(SIGXFSZ, SIG_IGN);
  tinker__rec_file_t *f = writer(NULL);
  cr_assert_eq(sqlite3_open(path, &db), SQLITE_OK);
  cr_assert_eq(sqlite3_exec(db, "BEGIN IMMEDIATE", NULL, NULL, NULL), 0);
  add_many(f, 1, 3);
  cr_assert_eq(tinker__rec_file_add(f, &d, on_done, NULL), 0);
  add_many(f, 5, 3);
  room(256 << 10);
  cr_assert_eq(sqlite3_exec(db, "COMMIT", NULL, NULL, NULL), 0);
  cr_assert_eq(put(f, 8), TINKER_EIO);
  room(RLIM_INFINITY);
  sqlite3_close(db);
  tinker__rec_file_close(f);
  cr_assert_eq(atomic_load(&good), 3, "%d", atomic_load(&good));
  cr_assert_eq(atomic_load(&bad), 4);
  expect(3);
}

static int open_sweep(tinker__mem_t *m, void *user) {
  tinker__rec_file_t *f = NULL;
  made_record_t r;
  const tinker__rec_file_spec_t spec = made_spec(m, path);
  int rc = tinker__rec_file_open(&f, &spec, why, sizeof why);
  if (rc != 0) return rc;
  made_record(&r, 1, ++*(int64_t *)user);
  rc = tinker__rec_file_put(f, &r.draft);
  if (rc != 0) --*(int64_t *)user;
  tinker__rec_file_close(f);
  return rc;
}

static int read_sweep(tinker__mem_t *m, void *user) {
  (void)user;
  const tinker__rec_file_spec_t spec = made_spec(m, path);
  return tinker__rec_file_read(&spec, why, sizeof why);
}

/* Whatever there was no memory for, the chain is whole. */
Test(file, no_memory) {
  int64_t n = 0;
  cr_assert_gt(tinker__fail_sweep(open_sweep, &n, TINKER_ENOMEM), 5);
  expect(n);
  cr_assert_gt(tinker__fail_sweep(read_sweep, NULL, TINKER_ENOMEM), 1);
}

/* A record that there was no memory for leaves no hole. */
Test(file, no_memory_for_a_record) {
  tinker__rec_file_t *f = writer(NULL);
  int64_t n = 0;
  for (uint64_t i = 1; i <= 12; i++) {
    mem.fail_at = atomic_load(&mem.count) + i;
    int rc = put(f, n + 1);
    cr_assert(rc == 0 || rc == TINKER_ENOMEM, "%d", rc);
    if (rc == 0) n++;
    mem.fail_at = 0;
    cr_assert_eq(put(f, ++n), 0);
  }
  tinker__rec_file_close(f);
  expect(n);
}
