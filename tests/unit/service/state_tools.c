#include "state_tools.h"

#include <criterion/criterion.h>
#include <dirent.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"

/* Every file of a tree with its length and content's digest, but for what a
 * look into SQLite's log leaves. */
static void add_tree(const char *dir, const char *sub, char *out) {
  char path[700], line[200], hex[2 * TINKER__SHA256_LEN + 1];
  unsigned char digest[TINKER__SHA256_LEN];
  struct dirent **names;
  tinker__mem_t mem;
  tinker__mem_init(&mem, NULL, 0);
  snprintf(path, sizeof path, "%s/%s", dir, sub);
  int n = scandir(path, &names, NULL, alphasort);
  for (int i = 0; i < n; i++) {
    const char *name = names[i]->d_name;
    struct stat st;
    snprintf(path, sizeof path, "%s%s%s", sub, *sub ? "/" : "", name);
    bool skip = name[0] == '.' || strstr(name, "-shm");
    char full[800];
    snprintf(full, sizeof full, "%s/%s", dir, path);
    if (!skip && lstat(full, &st) == 0 && S_ISDIR(st.st_mode)) {
      add_tree(dir, path, out);
    } else if (!skip && !(strstr(name, "-wal") && st.st_size == 0)) {
      cr_assert_eq(tinker__file_sha256(tinker__world_real(), &mem, full, digest,
                                       NULL, 0),
                   0);
      tinker__hex(digest, sizeof digest, hex);
      snprintf(line, sizeof line, "%.80s %.16s\n", path, hex);
      cr_assert_lt(strlen(out) + strlen(line), STATE_TREE_MAX);
      strcat(out, line);
    }
    free(names[i]);
  }
  if (n >= 0) free(names);
}

const char *state_tree(const char *dir) {
  static char out[2][STATE_TREE_MAX];
  static int turn;
  turn = !turn;
  out[turn][0] = 0;
  add_tree(dir, "", out[turn]);
  return out[turn];
}

/* $D is the state folder, $F another one for copies. */
void state_run(const char *command) {
  cr_assert_eq(system(command), 0, "%s", command);
}

void state_sql(const char *dir, const char *text) {
  char path[200], *error = NULL;
  sqlite3 *db;
  snprintf(path, sizeof path, "%s/store.db", dir);
  cr_assert_eq(sqlite3_open(path, &db), SQLITE_OK);
  cr_assert_eq(sqlite3_exec(db, text, NULL, NULL, &error), SQLITE_OK, "%s",
               error);
  sqlite3_close(db);
}

bool state_exists(const rig_t *rig, const char *name) {
  char path[200];
  struct stat st;
  snprintf(path, sizeof path, "%s/%s", rig->dir, name);
  return lstat(path, &st) == 0;
}
