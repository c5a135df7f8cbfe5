/* Files are published durably: what is written, synced and renamed, in which
 * order, and what is left when any one of these calls fails. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <tinker/error.h>
#include <unistd.h>

#include "base/file.h"
#include "support/file_script.h"

static tinker__file_script_t script;
static char top[] = "/tmp/tinker-file-XXXXXX", dir[64], path[80];

static void setup(void) {
  cr_assert_not_null(mkdtemp(top));
  snprintf(dir, sizeof dir, "%s/d", top);
  snprintf(path, sizeof path, "%s/a", dir);
  cr_assert_eq(mkdir(dir, 0700), 0);
  tinker__file_script_init(&script);
}

/* Nothing but the file itself is left. */
static void teardown(void) {
  unlink(path);
  cr_assert_eq(rmdir(dir), 0);
  rmdir(top);
}

TestSuite(file, .init = setup, .fini = teardown);

static int publish(const char *text) {
  char why[300];
  return tinker__file_publish(&script.world, path, text, strlen(text), 0600,
                              why, sizeof why);
}

static bool holds(const char *text) {
  char now[40] = "";
  FILE *f = fopen(path, "r");
  size_t n = f ? fread(now, 1, sizeof now - 1, f) : 0;
  if (f) fclose(f);
  return strlen(text) == n && !memcmp(now, text, n);
}

/* Data before the name, and the name before it counts as done. */
Test(file, every_step_in_its_order) {
  cr_assert_eq(publish("text"), 0);
  cr_assert_str_eq(script.trace,
                   "open a.#.tmp\nwrite a.#.tmp\nsync a.#.tmp\nclose a.#.tmp\n"
                   "rename a.#.tmp a\nopen d/\nsync d/\nclose d/\n");
  cr_assert(holds("text"));
}

Test(file, any_step_may_fail) {
  cr_assert_eq(publish("old"), 0);
  int calls = script.calls;
  cr_assert_eq(calls, 8);
  for (int n = 1; n < calls; n++) { /* the last closes a folder that is read */
    tinker__file_script_begin(&script, 0);
    cr_assert_eq(publish("old"), 0);
    tinker__file_script_begin(&script, n);
    cr_assert_eq(publish("new"), TINKER_EIO, "call %d", n);
    /* From its rename on the new file is there, and not known to stay. */
    cr_assert(holds(n <= 5 ? "old" : "new"), "call %d", n);
    unlink(path);
    cr_assert_eq(rmdir(dir), 0, "call %d left a file", n);
    cr_assert_eq(mkdir(dir, 0700), 0);
  }
}

/* A draft grows in pieces, and is nothing until it is published. */
Test(file, a_draft) {
  char why[300];
  tinker__draft_t d;
  cr_assert_eq(publish("old"), 0);
  for (int i = 0; i < 2; i++) {
    cr_assert_eq(
        tinker__draft_begin(&d, &script.world, path, 0600, why, sizeof why), 0);
    cr_assert_eq(tinker__draft_add(&d, "ne", 2, why, sizeof why), 0);
    cr_assert_eq(tinker__draft_add(&d, NULL, 0, why, sizeof why), 0);
    cr_assert_eq(tinker__draft_add(&d, "wer", 3, why, sizeof why), 0);
    cr_assert(holds("old"));
    if (i == 1) cr_assert_eq(tinker__draft_publish(&d, why, sizeof why), 0);
    tinker__draft_drop(&d);
    tinker__draft_drop(&d); /* not again */
  }
  cr_assert(holds("newer"));
}
