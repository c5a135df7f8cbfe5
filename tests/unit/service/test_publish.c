/* What the service publishes, call by call: folders, the mark, the ledger. And
 * what is left when any one of the calls fails. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <tinker/error.h>

#include "base/file.h"
#include "rig.h"
#include "service/fault/ledger.h"
#include "service/store/marker.h"
#include "support/file_script.h"

static rig_t rig;
static tinker__file_script_t script;
static char why[400];

static bool exists(const char *path) {
  struct stat st;
  return lstat(path, &st) == 0;
}

/* The service is idle: nobody else uses its world. */
static void open_scripted(void) {
  rig_open(&rig);
  rig_stop(&rig);
  tinker__file_script_init(&script);
  rig.world = script.world;
  rig_start(&rig);
  tinker__file_script_begin(&script, 0);
}

static void close_scripted(void) {
  rig_stop(&rig);
  rig.world = *tinker__world_real();
  rig_close(&rig);
}

/* --- Folders -------------------------------------------------------------- */

#define FILE_LINES(name)                                                       \
  "open " name ".#.tmp\nwrite " name ".#.tmp\nsync " name ".#.tmp\n"           \
  "close " name ".#.tmp\nrename " name ".#.tmp " name "\n"                     \
  "open 500.tmp/\nsync 500.tmp/\nclose 500.tmp/\n"

/* As a save does it, with one file in the engine's place. */
static int save_folder(const char *dir) {
  char tmp[1300], file[1400];
  int rc = tinker__svc_folder_begin(rig.s, dir, 500, tmp, sizeof tmp, why,
                                    sizeof why);
  snprintf(file, sizeof file, "%s/weights", tmp);
  if (rc == 0) {
    rc = tinker__file_publish(&rig.world, file, "w", 1, 0600, why, sizeof why);
  }
  if (rc == 0) rc = tinker__svc_folder_commit(rig.s, tmp, dir, why, sizeof why);
  if (rc != 0) tinker__svc_folder_remove(tmp);
  cr_assert_not(exists(tmp));
  return rc;
}

Test(publish, a_folder) {
  char dir[1200], file[1300];
  tinker__svc_marker_t m;
  open_scripted();
  tinker__svc_checkpoint_dir(rig.s, "checkpoints", 500, dir, sizeof dir);
  snprintf(file, sizeof file, "%s/weights", dir);
  cr_assert_eq(save_folder(dir), 0, "%s", why);
  cr_assert_str_eq(
      script.trace,
      FILE_LINES("tinker.json") FILE_LINES(
          "weights") "open 500.tmp/\nsync 500.tmp/\nclose 500.tmp/\n"
                     "rename 500.tmp 500\n"
                     "open checkpoints/\nsync checkpoints/\nclose checkpoints/\n");
  int calls = script.calls;
  cr_assert(exists(file));
  cr_assert_eq(
      tinker__svc_marker_read(&rig.world, &rig.mem, dir, &m, why, sizeof why),
      0, "%s", why);
  cr_assert_eq(m.row, 500);
  cr_assert_eq(m.commits, tinker__db_commits(rig.s->store));
  cr_assert_str_eq(m.store, rig.s->store_id);
  tinker__svc_folder_remove(dir);
  for (int n = 1; n <= calls; n++) {
    tinker__file_script_begin(&script, n);
    int rc = save_folder(dir);
    char *line = script.trace;
    for (int i = 1; i < n; i++) line = strchr(line, '\n') + 1;
    /* Closing a folder that was only read says nothing. */
    bool harmless = !strncmp(line, "close 500.tmp/", 14) ||
                    !strncmp(line, "close checkpoints/", 18);
    cr_assert_eq(rc, harmless ? 0 : TINKER_EIO, "call %d: %.30s", n, line);
    cr_assert_eq(exists(file), harmless, "call %d: %.30s", n, line);
    cr_assert_eq(exists(dir), harmless, "call %d: %.30s", n, line);
    tinker__svc_folder_remove(dir);
  }
  close_scripted();
}

/* --- The mark ------------------------------------------------------------- */

#define ID "0123456789abcdef0123456789abcdef"

Test(publish, the_mark) {
  int fd = -1;
  int64_t commits = 0;
  open_scripted();
  cr_assert_eq(
      tinker__svc_mark_open(&rig.world, rig.dir, ID, 7, &fd, why, sizeof why),
      0, "%s", why);
  cr_assert_neq(strstr(script.trace, "write mark.#.tmp\nsync mark.#.tmp\nclose "
                                     "mark.#.tmp\nrename mark.#.tmp mark\n"),
                NULL, "%s", script.trace);
  tinker__file_script_begin(&script, 0);
  cr_assert(tinker__svc_mark_set(&rig.world, fd, ID, 8));
  cr_assert_str_eq(script.trace, "pwrite mark\ndatasync mark\n");
  for (int n = 1; n <= 2; n++) {
    tinker__file_script_begin(&script, n);
    cr_assert_not(tinker__svc_mark_set(&rig.world, fd, ID, 9));
  }
  cr_assert_eq(tinker__svc_mark_read(&rig.world, &rig.mem, rig.dir, ID,
                                     &commits, why, sizeof why),
               0);
  cr_assert_eq(commits, 9); /* written, and not known to stay */
  cr_assert_eq(tinker__svc_mark_read(&rig.world, &rig.mem, rig.dir, "f" ID,
                                     &commits, why, sizeof why),
               TINKER_EFORMAT);
  rig.world.close(rig.world.user, fd);
  close_scripted();
}

/* --- The ledger ----------------------------------------------------------- */

/* A line that could not be written is said. */
Test(publish, the_ledger) {
  tinker__svc_ledger_t *l;
  const tinker__svc_ledger_line_t line = {
      .event = "accepted",
      .endpoint = "x",
      .id = "y",
      .seq = 1,
  };
  open_scripted();
  cr_assert_eq(tinker__svc_ledger_open(&l, &rig.mem, &rig.world, rig.dir, why,
                                       sizeof why),
               0, "%s", why);
  tinker__file_script_begin(&script, 0);
  cr_assert(tinker__svc_ledger_add(l, &line));
  cr_assert(tinker__svc_ledger_settle(l));
  cr_assert_str_eq(script.trace, "write ledger.jsonl\n");
  tinker__file_script_begin(&script, 1);
  cr_assert(tinker__svc_ledger_add(l, &line));
  cr_assert_not(tinker__svc_ledger_settle(l));
  cr_assert_not(tinker__svc_ledger_settle(l));
  tinker__svc_ledger_free(l);
  close_scripted();
}
