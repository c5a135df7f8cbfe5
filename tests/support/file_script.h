/* file_script: a world whose file calls are the real ones, written down in
 * order; the n-th of them fails. One thread. */
#ifndef TINKER_TESTS_SUPPORT_FILE_SCRIPT_H
#define TINKER_TESTS_SUPPORT_FILE_SCRIPT_H

#include <stdbool.h>

#include "base/world.h"

#define TINKER__FILE_SCRIPT_FDS 64

typedef struct tinker__file_script_s {
  tinker__world_t world; /* to be given away; its user is the script */
  /* One line a call: "open a", "write a", "sync a", "sync d/",
   * "datasync a", "close a", "rename a b", "unlink a", "pwrite a": last names,
   * the 16 random digits of a temporary file as '#'. */
  char trace[8192];
  int calls;   /* since the last begin, reads not counted */
  int fail_at; /* that call fails with EIO, 0 = none */
  struct {
    int fd;
    char name[80];
  } fds[TINKER__FILE_SCRIPT_FDS];
} tinker__file_script_t;

void tinker__file_script_init(tinker__file_script_t *s);
/* Forgets the trace and counts anew. */
void tinker__file_script_begin(tinker__file_script_t *s, int fail_at);

#endif
