/* file, on a disk that fails: a sync that did is never believed again (F71),
 * and where the disk is full what was kept for that is given up (F72). */
#include <criterion/criterion.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <tinker/error.h>
#include <unistd.h>

#include "journal/file.h"
#include "made.h"
#include "support/disk_vfs.h"

static tinker__mem_t mem;
static char path[256], why[300];

static void setup(void) {
  made_setup();
  tinker__mem_init(&mem, NULL, 0);
  snprintf(path, sizeof path, "%s", made_path("e1.db"));
  tinker__disk_begin();
}

static void teardown(void) {
  tinker__disk_end();
  cr_assert_eq(atomic_load(&mem.live_blocks), 0);
  made_teardown();
}

TestSuite(file_disk, .init = setup, .fini = teardown);

/* The disk has room once, and as often as `asked` says it was asked. */
static atomic_int asked;

static bool make_room(void *room) {
  atomic_fetch_add(&asked, 1);
  if (room) atomic_store(&tinker__disk.full, false);
  return room != NULL;
}

static int open_file(tinker__rec_file_t **f, bool has_room) {
  static char room;
  tinker__rec_file_spec_t spec = made_spec(&mem, path);
  spec.full = make_room;
  spec.room = has_room ? &room : NULL;
  return tinker__rec_file_open(f, &spec, why, sizeof why);
}

static int put(tinker__rec_file_t *f, int64_t n) {
  made_record_t r;
  made_record(&r, 1, n);
  return tinker__rec_file_put(f, &r.draft);
}

static int64_t records(const char *of) {
  made_reader_t reader = {.salt = 1};
  cr_assert_eq(made_read(of, &reader, why, sizeof why), 0, "%s", why);
  cr_assert_not(reader.altered);
  return reader.count;
}

static void on_done(void *user, int rc) {
  *(int *)user = rc;
}

/* Neither that record nor one of its group, nor a later one, is acknowledged,
 * and the file is not synced again. What is opened afterwards has all that was
 * acknowledged, and takes more. */
Test(file_disk, a_sync_that_failed) {
  tinker__rec_file_t *f = NULL;
  int rc[3] = {1, 1, 1};
  cr_assert_eq(open_file(&f, true), 0, "%s", why);
  for (int64_t n = 1; n <= 3; n++) cr_assert_eq(put(f, n), 0);
  atomic_store(&tinker__disk.fail_sync, atomic_load(&tinker__disk.syncs) + 1);
  for (int64_t n = 4; n <= 6; n++) {
    made_record_t r;
    made_record(&r, 1, n);
    if (tinker__rec_file_add(f, &r.draft, on_done, &rc[n - 4]) != 0) {
      rc[n - 4] = TINKER_EIO; /* the first has failed by now */
    }
  }
  cr_assert_eq(put(f, 7), TINKER_EIO);
  cr_assert_eq(atomic_load(&tinker__disk.syncs),
               atomic_load(&tinker__disk.fail_sync));
  cr_assert_eq(atomic_load(&asked), 0); /* room is not what is missing */
  tinker__rec_file_close(f);            /* all have been told by now */
  for (int i = 0; i < 3; i++) cr_assert_eq(rc[i], TINKER_EIO, "%d", rc[i]);
  int64_t there = records(path);
  cr_assert(there >= 3 && there <= 6, "%lld", (long long)there);
  f = NULL;
  cr_assert_eq(open_file(&f, true), 0, "%s", why);
  cr_assert_eq(put(f, there + 1), 0);
  tinker__rec_file_close(f);
  cr_assert_eq(records(path), there + 1);
}

/* A writer that dies leaves records in its log alone. Whoever opens the file
 * does not build on what may be in memory only: it writes them anew. */
Test(file_disk, what_a_dead_writer_left_is_written_anew) {
  tinker__rec_file_t *f = NULL;
  int status;
  pid_t pid = fork();
  if (pid == 0) {
    bool fine = open_file(&f, true) == 0;
    for (int64_t n = 1; n <= 5; n++) fine = fine && put(f, n) == 0;
    _exit(fine ? 0 : 1);
  }
  cr_assert_eq(waitpid(pid, &status, 0), pid);
  cr_assert_eq(status, 0);
  cr_assert_eq(open_file(&f, true), 0, "%s", why);
  static unsigned char bytes[1 << 20];
  size_t len = made_slurp(path, bytes, sizeof bytes); /* without the log */
  const char *alone = made_path("alone.db");
  made_spit(alone, bytes, len);
  cr_assert_eq(records(alone), 5);
  tinker__rec_file_close(f);
}

/* Wherever the disk gets full: with what was kept every record is written,
 * without it none is said to be that is not. */
Test(file_disk, no_room_at_each_write) {
  for (int at = 1; at <= 12; at++) {
    for (int kept = 0; kept < 2; kept++) {
      tinker__rec_file_t *f = NULL;
      atomic_store(&asked, 0);
      cr_assert_eq(open_file(&f, true), 0, "%s", why);
      tinker__rec_file_close(f);
      f = NULL;
      cr_assert_eq(open_file(&f, kept), 0, "%s", why);
      int64_t before = records(path), told = before;
      atomic_store(&tinker__disk.room_after, at);
      for (int i = 0; i < 4; i++) told += put(f, before + i + 1) == 0;
      atomic_store(&tinker__disk.room_after, -1);
      atomic_store(&tinker__disk.full, false);
      tinker__rec_file_close(f);
      cr_assert_eq(records(path), told, "%d: %lld", at, (long long)told);
      bool met = atomic_load(&asked) > 0;
      cr_assert(kept || !met || told < before + 4);
      cr_assert(!kept || told == before + 4, "%d: %lld of 4", at,
                (long long)(told - before));
    }
  }
}

/* The same of a file that is opened or made. */
Test(file_disk, no_room_for_a_new_file) {
  tinker__rec_file_t *f = NULL;
  atomic_store(&tinker__disk.full, true);
  cr_assert_eq(open_file(&f, false), TINKER_EIO);
  cr_assert(strstr(why, "full"), "%s", why);
  cr_assert_eq(open_file(&f, true), 0, "%s", why);
  cr_assert_eq(put(f, 1), 0);
  tinker__rec_file_close(f);
  cr_assert_eq(atomic_load(&asked), 2);
  cr_assert_eq(records(path), 1);
}
