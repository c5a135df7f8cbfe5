/* What stands in a file's place when it is not the file. */
#include <criterion/criterion.h>
#include <string.h>
#include <tinker/error.h>

#include "base/impostor.h"
#include "base/json_table.h"

#define BYTES(text)                                                            \
  { text, sizeof text - 1 }

Test(impostor, is_named_with_what_to_do) {
  static const struct {
    tinker__str_t data;
    const char *said;
  } rows[] = {
      {BYTES(""), "is empty: download it again"},
      {BYTES("version https://git-lfs.github.com/spec/v1\noid sha256:00\n"),
       "git lfs pull"},
      {BYTES("version https://hawser.github.com/spec/v1\noid sha256:00\n"),
       "git lfs pull"},
      {BYTES("<!DOCTYPE html>\n<html><head>"), "web page"},
      {BYTES("\xef\xbb\xbf\r\n  <html lang=\"en\">"), "web page"},
      {BYTES("<?xml version=\"1.0\"?><Error><Code>AccessDenied</Code>"),
       "web page"},
      {BYTES("<!-- x -->"), "web page"},
      {BYTES("\0\0\0\0\0\0\0\0\0\0\0\0"), "zeros alone"},
      {BYTES("\x1f\x8b\x08\0\0\0\0\0"), "gzip"},
      {BYTES("PK\x03\x04\x14\0\0\0"), "zip archive"},
      {BYTES("\xff\xfe{\0}\0"), "UTF-16"},
      {BYTES("{\"a\": \"<html>\"}"), NULL},
      {BYTES("version 3"), NULL},
      {BYTES("< 5"), NULL},
      {BYTES("<"), NULL},
      {BYTES("\0\0\0\0\0\0\0\1"), NULL},
  };
  for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
    const char *said = tinker__impostor(rows[i].data);
    if (!rows[i].said) {
      cr_expect_null(said, "%zu: %s", i, said);
    } else {
      cr_expect(said && strstr(said, rows[i].said), "%zu: %s", i,
                said ? said : "nothing");
    }
  }
}

Test(impostor, of_a_json_object) {
  static const struct {
    tinker__str_t data;
    const char *said; /* NULL: is taken for one */
  } rows[] = {
      {BYTES("{}"), NULL},
      {BYTES(" \n\t{\"a\""), NULL},
      {BYTES(" \r\n"), "x.json is empty"},
      {BYTES("\xef\xbb\xbf{}"), "x.json begins with a byte-order mark"},
      {BYTES("Entry not found\nReally"), "begins with \"Entry not found\""},
      {BYTES("[1]"), "x.json is no JSON object, it begins with \"[1]\""},
      {BYTES("a\x1b[31m"), "begins with \"a\""},
      {BYTES("version https://git-lfs.github.com/spec/v1\n"),
       "x.json is a git-lfs pointer"},
  };
  for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
    char why[256] = "";
    int rc = tinker__impostor_json(rows[i].data, "x.json", why, sizeof why);
    cr_expect_eq(rc, rows[i].said ? TINKER_EFORMAT : 0, "%zu: %s", i, why);
    if (rows[i].said) {
      cr_expect_not_null(strstr(why, rows[i].said), "%zu: %s", i, why);
    }
  }
}

static void expect_told(const char *text, const char *said) {
  static const char *const keys[2] = {"eps", "name"};
  tinker__mem_t mem;
  tinker__str_t raw[2];
  char why[256] = "";
  tinker__mem_init(&mem, NULL, 0);
  int rc = tinker__json_table(&mem, tinker__str(text), "x.json", keys, raw, 2,
                              false, why, sizeof why);
  cr_expect_eq(rc, TINKER_EFORMAT, "%s", text);
  cr_expect_not_null(strstr(why, said), "%s: %s", text, why);
  cr_assert_eq(mem.live_blocks, 0);
}

Test(json_table, names_a_cut) {
  const char whole[] = "{\"eps\": 1.5e-3, \"list\": [true, null, "
                       "{\"a\": -2}], \"name\": \"\xc3\xa9\\u00e9\\n\"}";
  for (size_t n = 1; n + 1 < sizeof whole; n++) {
    char cut[sizeof whole];
    memcpy(cut, whole, n);
    cut[n] = 0;
    expect_told(cut, "x.json is cut: it ends at byte");
  }
  expect_told("{\"eps\": 1,, \"name\": 2}", "at byte 10");
  expect_told("{\"eps\": 1} x", "at byte");
}

Test(json_table, names_the_field_of_a_number_that_json_has_not) {
  expect_told("{\"name\": 1, \"eps\": NaN}", "x.json: eps is NaN");
  expect_told("{\"eps\": Infinity, \"name\": 1}", "eps is Infinity");
  expect_told("{\"a\": {\"eps\": -Infinity}}", "eps is -Infinity");
  expect_told("{\"list\": [1, NaN", "list is NaN");
}
