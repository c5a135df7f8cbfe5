/* Split patterns: what is translated to what, what is refused; splitting. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>
#include <tinker/error.h>

#include "support/fail_alloc.h"
#include "text/pattern.h"
#include "text/split.h"

static tinker__mem_t mem;

static void setup(void) {
  tinker__mem_init(&mem, NULL, 0);
}

static void teardown(void) {
  cr_assert_eq(atomic_load(&mem.live_blocks), 0);
}

TestSuite(pattern, .init = setup, .fini = teardown);

static int translate(const char *pattern, char *out, size_t len, char *why,
                     size_t why_len) {
  tinker__buf_t b;
  tinker__buf_init(&b, &mem, 1 << 20);
  int rc = tinker__pattern_translate(&b, tinker__str(pattern), why, why_len);
  tinker__str_t s = tinker__buf_str(&b);
  snprintf(out, len, "%.*s", (int)s.len, s.ptr);
  tinker__buf_free(&b);
  return rc;
}

Test(pattern, says_the_same_in_pcre2) {
  static const char *const rows[][2] = {
      {"ab", "\\x{61}\\x{62}"},
      {"a+?b*+c?", "\\x{61}+?\\x{62}*+\\x{63}?"},
      {"\\p{L}\\P{Nd}\\p{^Lu}", "\\p{L}\\P{Nd}\\P{Lu}"},
      {"\\p{Han}", "\\p{sc:Han}"},
      {"\\d\\D", "\\p{Nd}\\P{Nd}"},
      {"\\r\\n\\v", "\\x{d}\\x{a}\\x{b}"},
      {"[^\\r\\n\\p{L}]", "[^\\x{d}\\x{a}\\p{L}]"},
      {"[a-z\\-]", "[\\x{61}-\\x{7a}\\x{2d}]"},
      {"\\p{N}{1,3}", "\\p{N}{1,3}"},
      {"(a|b)(?:c)(?=d)(?!e)(?<=f)(?<!g)(?>h)",
       "(?:\\x{61}|\\x{62})(?:\\x{63})(?=\\x{64})(?!\\x{65})(?<=\\x{66})"
       "(?<!\\x{67})(?>\\x{68})"},
      {"(?i:'s|'re)", "(?i:\\x{27}\\x{73}|\\x{27}\\x{72}\\x{65})"},
      {"\\u00e9\\x{1F600}\xc3\xa9", "\\x{e9}\\x{1f600}\\x{e9}"},
      {".", "."},
  };
  for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
    char out[512], why[256] = "";
    cr_expect_eq(translate(rows[i][0], out, sizeof out, why, sizeof why), 0,
                 "%s: %s", rows[i][0], why);
    cr_expect_str_eq(out, rows[i][1], "%s", rows[i][0]);
  }
}

Test(pattern, refuses_by_name_what_differs) {
  static const struct {
    const char *pattern, *said;
  } rows[] = {
      {"^a", "line anchor"},        {"a$", "line anchor"},
      {"\\w+", "unknown escape"},   {"\\b", "unknown escape"},
      {"\\h", "unknown escape"},    {"\\A", "unknown escape"},
      {"(a)\\1", "unknown escape"}, {"\\p{Greek_X}", "unknown property"},
      {"\\pL", "braces"},           {"\\p{L", "braces"},
      {"[a[b]]", "class inside"},   {"[[:alpha:]]", "class inside"},
      {"[a&&b]", "intersection"},   {"[]a]", "empty class"},
      {"[", "does not end"},        {"[a", "does not end"},
      {"[z-a]", "range"},           {"[\\s-a]", "range"},
      {"[a-\\d]", "range"},         {"[a-b-c]", "hyphen"},
      {"(?i)a", "kind of group"},   {"(?<n>a)", "kind of group"},
      {"(?#x)", "kind of group"},   {"(?m:a)", "kind of group"},
      {"(", "does not end"},        {"a)", "no group"},
      {"*a", "nothing to repeat"},  {"a**", "nothing to repeat"},
      {"a{2}{3}", "nothing to"},    {"a|*", "nothing to repeat"},
      {"(?=a)*", "nothing to"},     {"a{,2}", "repeat count"},
      {"a{2,1}", "repeat count"},   {"a{1001}", "repeat count"},
      {"a{", "repeat count"},       {"a{2}?", "sign behind"},
      {"a{2,3}+", "sign behind"},   {"\\x80", "not the code"},
      {"\\x{110000}", "not the"},   {"\\x{d800}", "not the code"},
      {"\\x4", "malformed code"},   {"\\u12", "malformed code"},
      {"\\", "nothing behind"},     {"(?i:\\p{L})", "property in"},
      {"(?i:\xc3\xa9)", "beyond"},  {"(?i:[\xc3\xa9])", "beyond"},
      {"(?i:ss)", "ligature"},      {"(?i:fi)", "ligature"},
      {"(?i:(?:s)t)", "ligature"},  {"(?i:s[t])", "class behind"},
  };
  for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
    char out[512], why[256] = "";
    cr_expect_eq(translate(rows[i].pattern, out, sizeof out, why, sizeof why),
                 TINKER_ENOTSUP, "%s: %s", rows[i].pattern, out);
    cr_expect_not_null(strstr(why, rows[i].said), "%s: %s", rows[i].pattern,
                       why);
  }
  char out[8], deep[100];
  memset(deep, '(', 99);
  deep[99] = 0;
  cr_expect_eq(translate(deep, out, sizeof out, NULL, 0), TINKER_ENOTSUP);
  cr_expect_eq(translate("", out, sizeof out, NULL, 0), TINKER_EFORMAT);
  cr_expect_eq(translate("\xff", out, sizeof out, NULL, 0), TINKER_EFORMAT);
}

/* Pieces, joined with '/'. */
static int collect(void *user, tinker__str_t piece) {
  return tinker__buf_addf(user, "/%.*s", (int)piece.len, piece.ptr);
}

Test(pattern, splits_in_every_manner) {
  static const struct {
    tinker__split_behavior_t behavior;
    bool invert;
    const char *pieces;
  } rows[] = {
      {TINKER__SPLIT_ISOLATED, false, "/the/-/final/-/-/count/-"},
      {TINKER__SPLIT_REMOVED, false, "/the/final/count"},
      {TINKER__SPLIT_MERGED_PREVIOUS, false, "/the-/final-/-/count-"},
      {TINKER__SPLIT_MERGED_NEXT, false, "/the/-final/-/-count/-"},
      {TINKER__SPLIT_CONTIGUOUS, false, "/the/-/final/--/count/-"},
      {TINKER__SPLIT_REMOVED, true, "/-/-/-/-"},
      {TINKER__SPLIT_CONTIGUOUS, true, "/the/-/final/--/count/-"},
  };
  for (int no_jit = 0; no_jit < 2; no_jit++) {
    tinker__split_t split;
    memset(&split, 0, sizeof split);
    cr_assert_eq(tinker__split_compile(&split, &mem, TINKER__STR("-"), true,
                                       no_jit != 0, NULL, 0),
                 0);
    pcre2_match_data *room = tinker__split_room(&split, &mem);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
      tinker__buf_t b;
      tinker__buf_init(&b, &mem, 1000);
      split.behavior = rows[i].behavior;
      split.invert = rows[i].invert;
      cr_assert_eq(tinker__split_run(&split, room,
                                     TINKER__STR("the-final--count-"), collect,
                                     &b),
                   0);
      cr_expect_str_eq(tinker__buf_cstr(&b), rows[i].pieces);
      tinker__buf_free(&b);
    }
    pcre2_match_data_free(room);
    tinker__split_free(&split);
  }
}

/* Runs a pattern over n times 'a' and counts the pieces. */
static int count(void *user, tinker__str_t piece) {
  (void)piece;
  ++*(int *)user;
  return 0;
}

static int run_over(const char *pattern, bool no_jit, size_t n, int *pieces) {
  static char text[200000];
  tinker__split_t split;
  memset(&split, 0, sizeof split);
  memset(text, 'a', n);
  cr_assert_eq(tinker__split_compile(&split, &mem, tinker__str(pattern), false,
                                     no_jit, NULL, 0),
               0);
  pcre2_match_data *room = tinker__split_room(&split, &mem);
  *pieces = 0;
  int rc =
      tinker__split_run(&split, room, (tinker__str_t){text, n}, count, pieces);
  pcre2_match_data_free(room);
  tinker__split_free(&split);
  return rc;
}

/* Run-time code has little room; the interpreter goes on where it ends. A
 * pattern that takes for ever is a limit that was reached, not a text without
 * a match. */
Test(pattern, has_limits) {
  int pieces;
  for (int no_jit = 0; no_jit < 2; no_jit++) {
    cr_expect_eq(run_over("(?:a|b)+", no_jit != 0, 200000, &pieces), 0);
    cr_expect_eq(pieces, 1);
    cr_expect_eq(run_over("(?:a+)+[bc]", no_jit != 0, 60, &pieces),
                 TINKER_EOVERFLOW);
  }
}

Test(pattern, has_a_largest_size) {
  static char pattern[TINKER__PATTERN_MAX_BYTES + 2];
  tinker__buf_t b;
  tinker__buf_init(&b, &mem, 1 << 20);
  memset(pattern, 'a', TINKER__PATTERN_MAX_BYTES);
  cr_assert_eq(tinker__pattern_translate(&b, tinker__str(pattern), NULL, 0), 0);
  pattern[TINKER__PATTERN_MAX_BYTES] = 'a';
  cr_assert_eq(tinker__pattern_translate(&b, tinker__str(pattern), NULL, 0),
               TINKER_EOVERFLOW);
  tinker__buf_free(&b);
}

Test(pattern, without_one_the_text_stays_whole) {
  tinker__split_t split;
  tinker__buf_t b;
  memset(&split, 0, sizeof split);
  tinker__buf_init(&b, &mem, 100);
  cr_assert_eq(tinker__split_run(&split, NULL, TINKER__STR("a b"), collect, &b),
               0);
  cr_assert_str_eq(tinker__buf_cstr(&b), "/a b");
  tinker__buf_free(&b);
}

Test(pattern, refuses_what_pcre2_refuses) {
  tinker__split_t split;
  char why[256] = "";
  memset(&split, 0, sizeof split);
  cr_assert_eq(tinker__split_compile(&split, &mem, TINKER__STR("(?<=a+)b"),
                                     false, false, why, sizeof why),
               TINKER_ENOTSUP);
  cr_assert_not_null(strstr(why, "pattern"), "%s", why);
  cr_assert_null(split.code);
}

static int compile_and_match(tinker__mem_t *m, void *user) {
  tinker__buf_t b;
  tinker__split_t split;
  pcre2_match_data *room = NULL;
  memset(&split, 0, sizeof split);
  tinker__buf_init(&b, m, 1 << 20);
  int rc = tinker__pattern_translate(&b, TINKER__STR("\\s+(?!\\S)|\\p{L}+"),
                                     NULL, 0);
  if (rc == 0) {
    rc = tinker__split_compile(&split, m, tinker__buf_str(&b), false,
                               user != NULL, NULL, 0);
  }
  if (rc == 0) {
    room = tinker__split_room(&split, m);
    rc = room ? 0 : TINKER_ENOMEM;
  }
  if (room) pcre2_match_data_free(room);
  tinker__split_free(&split);
  tinker__buf_free(&b);
  return rc;
}

Test(pattern, survives_lack_of_memory) {
  int no_jit = 1;
  cr_assert_geq(tinker__fail_sweep(compile_and_match, NULL, TINKER_ENOMEM), 5);
  cr_assert_geq(tinker__fail_sweep(compile_and_match, &no_jit, TINKER_ENOMEM),
                5);
}
