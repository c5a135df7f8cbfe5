/* Mapped files: what can't be mapped says what it is. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <tinker/error.h>
#include <unistd.h>

#include "base/file.h"
#include "model/mapping.h"

static int map(const char *dir, const char *name, char *why, size_t why_len) {
  tinker__mapping_t m;
  char path[128];
  snprintf(path, sizeof path, "%s/%s", dir, name);
  int rc = tinker__mapping_open(&m, tinker__world_real(), path, why, why_len);
  if (rc == 0) cr_expect(m.len == 3 && !memcmp(m.data, "abc", 3));
  cr_expect_eq(rc == 0, m.data != NULL);
  tinker__mapping_close(&m);
  return rc;
}

/* A pipe of that name does not hold the caller until somebody writes. */
Test(mapping, says_what_is_no_file, .timeout = 60) {
  static const struct {
    const char *name;
    int code;
    const char *said;
  } rows[] = {
      {"file", 0, ""},
      {"none", TINKER_ENOENT, "none: "},
      {"file/none", TINKER_ENOENT, "file/none: "},
      {"loop", TINKER_EIO, "loop: "},
      {".", TINKER_EFORMAT, "is no regular file"},
      {"pipe", TINKER_EFORMAT, "is no regular file"},
      {"empty", TINKER_EFORMAT, "is empty"},
  };
  char dir[] = "test_mapping_XXXXXX", paths[4][64];
  static const char *const made[] = {"file", "empty", "loop", "pipe"};
  cr_assert_not_null(mkdtemp(dir));
  for (int i = 0; i < 4; i++) {
    snprintf(paths[i], sizeof paths[i], "%s/%s", dir, made[i]);
  }
  for (size_t len = 3; len != SIZE_MAX; len = len ? 0 : SIZE_MAX) {
    cr_assert_eq(tinker__file_publish(tinker__world_real(), paths[len ? 0 : 1],
                                      "abc", len, 0600, NULL, 0),
                 0);
  }
  cr_assert_eq(symlink("loop", paths[2]), 0);
  cr_assert_eq(mkfifo(paths[3], 0600), 0);
  for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
    char why[256] = "";
    cr_expect_eq(map(dir, rows[i].name, why, sizeof why), rows[i].code, "%s",
                 rows[i].name);
    cr_expect_not_null(strstr(why, rows[i].said), "%s: %s", rows[i].name, why);
  }
  for (int i = 0; i < 4; i++) unlink(paths[i]);
  cr_assert_eq(rmdir(dir), 0);
}
