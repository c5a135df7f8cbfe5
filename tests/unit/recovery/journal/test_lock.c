/* lock: one process at a time, for as long as that process lives. */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <tinker/error.h>
#include <unistd.h>

#include "journal/lock.h"
#include "made.h"

static char path[256];
static char why[300];

static void setup(void) {
  made_setup();
  snprintf(path, sizeof path, "%s", made_path("lock"));
}

TestSuite(lock, .init = setup, .fini = made_teardown);

static int take(tinker__rec_lock_t *l) {
  return tinker__rec_lock_take(l, path, why, sizeof why);
}

/* What another process gets that tries to take it. */
static int other(void) {
  pid_t child = fork();
  int status = 0;
  if (child == 0) {
    tinker__rec_lock_t l;
    _exit(take(&l) == 0 ? 0 : -l.fd + 10);
  }
  cr_assert_eq(waitpid(child, &status, 0), child);
  cr_assert(WIFEXITED(status));
  return WEXITSTATUS(status);
}

#define REFUSED 11 /* with fd -1 */

Test(lock, one_process_at_a_time) {
  tinker__rec_lock_t l, second;
  cr_assert_eq(take(&l), 0, "%s", why);
  cr_assert_eq(other(), REFUSED);
  cr_assert_eq(take(&second), TINKER_EBUSY);
  cr_assert_eq(second.fd, -1);
  cr_assert(strstr(why, path), "%s", why);
  tinker__rec_lock_release(&second); /* it holds nothing */
  cr_assert_eq(other(), REFUSED);
  tinker__rec_lock_release(&l);
  cr_assert_eq(other(), 0);
  cr_assert_eq(take(&l), 0);
  tinker__rec_lock_release(&l);
  tinker__rec_lock_release(&l);
}

/* A pair of a pipe whose ends are read and written with one byte. */
static void say(int fd) {
  cr_assert_eq(write(fd, "x", 1), 1);
}

/* False = all who could say something have ended. */
static bool hear(int fd) {
  char c;
  ssize_t n;
  while ((n = read(fd, &c, 1)) < 0 && errno == EINTR) continue;
  return n == 1;
}

/* The holder dies; a child that it has forked, a data worker, lives on. */
Test(lock, a_forked_child_does_not_keep_it) {
  int up[2], down[2];
  cr_assert(pipe(up) == 0 && pipe(down) == 0);
  pid_t holder = fork();
  if (holder == 0) {
    tinker__rec_lock_t l;
    if (take(&l) != 0) _exit(1);
    if (fork() == 0) {
      close(down[1]);
      if (l.fd != -1 || tinker__rec_lock_held(&l, path)) _exit(1);
      tinker__rec_lock_release(&l); /* does nothing */
      say(up[1]);
      hear(down[0]);
      _exit(0);
    }
    close(up[1]);
    hear(down[0]); /* never: it is killed */
    _exit(1);
  }
  close(up[1]);
  cr_assert(hear(up[0]));
  cr_assert_eq(other(), REFUSED);
  cr_assert_eq(kill(holder, SIGKILL), 0);
  cr_assert_eq(waitpid(holder, NULL, 0), holder);
  cr_assert_eq(other(), 0);
  close(down[1]);
}

/* A program that the holder starts has no descriptor of it: no handler of fork
 * runs there. */
Test(lock, a_started_program_does_not_keep_it) {
  char name[] = "sh", option[] = "-c", script[] = "echo; read x";
  char *const args[] = {name, option, script, NULL};
  posix_spawn_file_actions_t ends;
  tinker__rec_lock_t l;
  int up[2], down[2];
  pid_t child;
  cr_assert(pipe(up) == 0 && pipe(down) == 0);
  cr_assert_eq(take(&l), 0);
  cr_assert_eq(posix_spawn_file_actions_init(&ends), 0);
  posix_spawn_file_actions_adddup2(&ends, down[0], 0);
  posix_spawn_file_actions_adddup2(&ends, up[1], 1);
  posix_spawn_file_actions_addclose(&ends, down[1]);
  cr_assert_eq(posix_spawn(&child, "/bin/sh", &ends, NULL, args, NULL), 0);
  posix_spawn_file_actions_destroy(&ends);
  close(up[1]);
  cr_assert(hear(up[0]));
  tinker__rec_lock_release(&l);
  cr_assert_eq(other(), 0);
  close(down[1]);
  cr_assert_eq(waitpid(child, NULL, 0), child);
}

/* Whoever removes or replaces the file takes the lock away from its holder. */
Test(lock, a_removed_file_is_found_out) {
  tinker__rec_lock_t l, second;
  cr_assert_eq(take(&l), 0);
  cr_assert(tinker__rec_lock_held(&l, path));
  cr_assert_eq(unlink(path), 0);
  cr_assert_not(tinker__rec_lock_held(&l, path));
  cr_assert_eq(take(&second), 0);
  cr_assert_not(tinker__rec_lock_held(&l, path));
  cr_assert(tinker__rec_lock_held(&second, path));
  tinker__rec_lock_release(&l);
  cr_assert(tinker__rec_lock_held(&second, path));
  tinker__rec_lock_release(&second);
  cr_assert_not(tinker__rec_lock_held(&second, path));
}

Test(lock, what_can_not_be_opened) {
  tinker__rec_lock_t l;
  cr_assert_eq(tinker__rec_lock_take(&l, made_path("no/lock"), why, sizeof why),
               TINKER_EIO);
  cr_assert_eq(l.fd, -1);
  cr_assert(strstr(why, "no/lock"), "%s", why);
  /* A link could lead to a file of somebody else. */
  cr_assert_eq(symlink(made_path("elsewhere"), path), 0);
  cr_assert_eq(take(&l), TINKER_EIO);
  cr_assert_eq(access(made_path("elsewhere"), F_OK), -1);
}
