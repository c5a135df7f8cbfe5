/* A writer that is killed at any moment, one that syncs or one that does not,
 * leaves all that it has acknowledged, and after that at most what it had
 * submitted. */
#include <criterion/criterion.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <tinker/error.h>
#include <unistd.h>

#include "journal/file.h"
#include "made.h"

#define KILLS 100
#define AHEAD 64 /* records that wait at most */

/* The child of a fork starts a thread: ThreadSanitizer has to allow it. */
__attribute__((visibility("default"))) const char *__tsan_default_options(void);
const char *__tsan_default_options(void) {
  return "die_after_fork=0";
}

TestSuite(file_kill, .init = made_setup, .fini = made_teardown);

static int acknowledged_fd;

static void on_done(void *user, int rc) {
  (void)user;
  if (rc != 0 || write(acknowledged_fd, "x", 1) != 1) _exit(1);
}

/* Adds records without end, at most AHEAD of those that are durable. */
static void write_on(const char *path, int64_t n, bool relaxed) {
  tinker__mem_t mem;
  tinker__rec_file_t *f = NULL;
  made_record_t r;
  tinker__mem_init(&mem, NULL, 0);
  tinker__rec_file_spec_t spec = made_spec(&mem, path);
  spec.relaxed = relaxed;
  if (tinker__rec_file_open(&f, &spec, NULL, 0) != 0) _exit(2);
  for (int64_t i = 1;; i++) {
    made_record(&r, 1, n + i);
    int rc = i % AHEAD ? tinker__rec_file_add(f, &r.draft, on_done, NULL)
                       : tinker__rec_file_put(f, &r.draft);
    if (i % AHEAD == 0 && rc == 0) on_done(NULL, 0);
    if (rc != 0) _exit(3);
  }
}

/* Lets a child write until it has acknowledged so many, and kills it. Returns
 * how many it has. */
static int64_t killed_after(const char *path, int64_t there, int64_t want,
                            bool relaxed) {
  char buf[256];
  int ends[2], status = 0;
  int64_t got = 0;
  ssize_t n;
  cr_assert_eq(pipe(ends), 0);
  pid_t child = fork();
  if (child == 0) {
    close(ends[0]);
    acknowledged_fd = ends[1];
    write_on(path, there, relaxed);
  }
  close(ends[1]);
  while (got < want && (n = read(ends[0], buf, 1)) > 0) got += n;
  cr_assert_eq(kill(child, SIGKILL), 0);
  while ((n = read(ends[0], buf, sizeof buf)) > 0) got += n;
  close(ends[0]);
  cr_assert_eq(waitpid(child, &status, 0), child);
  cr_assert(WIFSIGNALED(status), "status %d", status);
  return got;
}

static void begin_anew(const char *path, made_reader_t *reader) {
  char name[300];
  const char *const ends[] = {"", "-wal", "-shm"};
  for (int i = 0; i < 3; i++) {
    snprintf(name, sizeof name, "%s%s", path, ends[i]);
    unlink(name);
  }
  reader->count = 0;
}

/* The put of each round of AHEAD is told after its record is acknowledged, so
 * one more may be on the disk than was counted: that, too, is the
 * unacknowledged tail. */
Test(file_kill, at_random_points) {
  const char *path = made_path("e1.db");
  char why[300] = "";
  made_reader_t reader = {.salt = 1};
  uint64_t x = 1;
  for (int i = 0; i < KILLS; i++) {
    if (i % 8 == 0) begin_anew(path, &reader);
    int64_t before = reader.count;
    x = x * 6364136223846793005u + 1442695040888963407u;
    int64_t got =
        killed_after(path, before, (int64_t)(x >> 33) % 100, i % 4 != 0);
    int rc =
        access(path, F_OK) == 0 ? made_read(path, &reader, why, sizeof why) : 0;
    cr_assert_eq(rc, 0, "kill %d: %s", i, why);
    cr_assert_not(reader.altered, "kill %d", i);
    cr_assert(reader.count >= before + got, "kill %d: %lld of %lld", i,
              (long long)(reader.count - before), (long long)got);
    cr_assert(reader.count <= before + got + AHEAD, "kill %d: %lld of %lld", i,
              (long long)(reader.count - before), (long long)got);
  }
  cr_assert_gt(reader.count, 8);
}
