/* Added tokens: what they take of the text, and how they are listed. The
 * expected ids are those of `tokenizers`. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>
#include <tinker/tokenizer.h>

#include "base/file.h"
#include "support/why.h"

#define BYTES TINKER_TEST_DIR "/golden/tokenizers/bytes.json"
#define NONE "\"added_tokens\": [], \"normalizer\": null"

#define ADDED(id, content, flags)                                              \
  "{\"id\": " #id ", \"content\": \"" content "\", " flags "}"
#define RAW "\"normalized\": false, \"special\": true"
#define LEFT "\"lstrip\": true, " RAW
#define RIGHT "\"rstrip\": true, " RAW
#define BOTH "\"lstrip\": true, " RIGHT
#define NORMAL "\"normalized\": true, \"special\": true"

/* A tokenizer of single bytes with a normalizer and these added tokens. */
static int load_added(tinker_tokenizer_t **t, const char *added, char *why,
                      size_t why_len) {
  tinker__mem_t mem;
  tinker__buf_t file, b;
  tinker__mem_init(&mem, NULL, 0);
  tinker__buf_init(&file, &mem, 1 << 16);
  tinker__buf_init(&b, &mem, 1 << 16);
  cr_assert_eq(tinker__file_read(tinker__world_real(), BYTES, &file, NULL, 0),
               0);
  const char *at = strstr(tinker__buf_cstr(&file), NONE);
  cr_assert_not_null(at);
  tinker__buf_add(&b, file.data, (size_t)(at - file.data));
  tinker__buf_addf(&b,
                   "\"normalizer\": {\"type\": \"NFC\"}, "
                   "\"added_tokens\": [%s]",
                   added);
  tinker__buf_adds(&b, at + strlen(NONE));
  int rc = why_tokenizer_bytes(t, b.data, b.len, NULL, why, why_len);
  tinker__buf_free(&b);
  tinker__buf_free(&file);
  return rc;
}

static void expect_ids(tinker_tokenizer_t *t, const char *text,
                       const int32_t *want, size_t n_want) {
  int32_t *ids = NULL;
  size_t n = 0;
  cr_assert_eq(tinker_tokenizer_encode(t, text, strlen(text), 0, &ids, &n), 0);
  cr_expect(n == n_want && memcmp(ids, want, n * sizeof *ids) == 0, "%s: %zu",
            text, n);
  tinker_tokenizer_free(t, ids);
}

Test(added, of_white_space) {
  static const struct {
    const char *added, *text;
    size_t n;
    int32_t ids[6];
  } rows[] = {
      {ADDED(256, "\\n", BOTH), "\n\n", 1, {256}},
      {ADDED(256, "\\n", BOTH), "a \n \n \nb\n", 4, {'a', 256, 'b', 256}},
      {ADDED(256, "\\n", LEFT), "a\n \n", 3, {'a', 256, 256}},
      /* A match that is left something stays, and what it covers is given out
       * twice, as there. */
      {ADDED(256, "\\n", RIGHT), "\n\n", 2, {256, 256}},
      {ADDED(256, "\\n", BOTH) "," ADDED(257, "<r>", RIGHT),
       "<r> \n \n x",
       2,
       {257, 'x'}},
      {ADDED(256, "\\n", BOTH) "," ADDED(257, "<r>", RAW),
       "<r>\n<r>",
       3,
       {257, 256, 257}},
      {ADDED(256, "\\n", LEFT) "," ADDED(257, "<r>", RIGHT),
       "<r>\n<r>",
       2,
       {257, 257}},
      /* There this one panics. */
      {ADDED(256, "\\n", LEFT) "," ADDED(257, "<r>", RIGHT),
       "<r>\n\n\nx",
       2,
       {257, 'x'}},
      {ADDED(256, "  ", BOTH) "," ADDED(257, "\\t", BOTH),
       " \t   \t a",
       2,
       {257, 'a'}},
  };
  for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
    tinker_tokenizer_t *t = NULL;
    char why[256] = "";
    cr_assert_eq(load_added(&t, rows[i].added, why, sizeof why), 0, "%s: %s",
                 rows[i].added, why);
    expect_ids(t, rows[i].text, rows[i].ids, rows[i].n);
    tinker_tokenizer_release(t);
  }
}

Test(added, the_longest_that_fits) {
  const int32_t want[4] = {257, 's', 256, 't'};
  tinker_tokenizer_t *t = NULL;
  cr_assert_eq(load_added(&t,
                          ADDED(256, "<x>", RAW) "," ADDED(257, "<x>s", RAW),
                          NULL, 0),
               0);
  expect_ids(t, "<x>ss<x>t", want, 4);
  tinker_tokenizer_release(t);
}

/* Spelled out in a text from people it is text, all of it. */
Test(added, special_ones_as_text) {
  const int32_t want[4] = {'<', 'a', '>', 257};
  tinker_tokenizer_t *t = NULL;
  int32_t *ids = NULL;
  size_t n = 0;
  cr_assert_eq(load_added(&t,
                          ADDED(256, "<a>", RAW) "," ADDED(
                              257, "a>", "\"normalized\": false"),
                          NULL, 0),
               0);
  cr_assert_eq(tinker_tokenizer_encode(t, "<a>a>", 5,
                                       TINKER_ENCODE_SPECIAL_TEXT, &ids, &n),
               0);
  cr_assert(n == 4 && memcmp(ids, want, sizeof want) == 0, "%zu", n);
  tinker_tokenizer_free(t, ids);
  tinker_tokenizer_release(t);
}

/* All that Unicode calls white space, and nothing else. */
Test(added, white_space_is_what_unicode_says) {
  static const char *const white[] = {
      "\t",     "\v",     " ",      "\xc2\x85", "\xc2\xa0", "\u1680", "\u2000",
      "\u200a", "\u2028", "\u2029", "\u202f",   "\u205f",   "\u3000"};
  static const char *const black[] = {"\u200b", "\u180e", "\u2060", "\ufeff"};
  const int32_t want[3] = {'a', 256, 'b'};
  tinker_tokenizer_t *t = NULL;
  cr_assert_eq(load_added(&t, ADDED(256, "<x>", BOTH), NULL, 0), 0);
  for (size_t i = 0; i < 17; i++) {
    char text[40];
    const char *space = i < 13 ? white[i] : black[i - 13];
    int32_t *ids = NULL;
    size_t n = 0;
    snprintf(text, sizeof text, "a%s<x>%sb", space, space);
    cr_assert_eq(tinker_tokenizer_encode(t, text, strlen(text), 0, &ids, &n),
                 0);
    bool all = n == 3 && memcmp(ids, want, sizeof want) == 0;
    cr_expect_eq(all, i < 13, "%zu", i);
    tinker_tokenizer_free(t, ids);
  }
  tinker_tokenizer_release(t);
}

Test(added, may_be_listed_twice) {
  const int32_t want[4] = {'a', 256, 257, 'b'};
  const char *const different[] = {
      ADDED(256, "<x>", RAW) "," ADDED(257, "<x>", RAW),
      ADDED(256, "<x>", RAW) "," ADDED(256, "<x>", LEFT),
      ADDED(256, "<x>", RAW) "," ADDED(256, "<x>", NORMAL),
      ADDED(256, "<x>", RAW) "," ADDED(256, "<x>", "\"normalized\": false"),
  };
  tinker_tokenizer_t *t = NULL;
  char why[256] = "";
  cr_assert_eq(
      load_added(
          &t,
          ADDED(256, "<x>", RAW) "," ADDED(256, "<x>", RAW) "," ADDED(
              257, "<y>",
              NORMAL) "," ADDED(256, "<x>",
                                RAW) "," ADDED(257, "<y>",
                                               NORMAL) "," ADDED(258, "", RAW),
          why, sizeof why),
      0, "%s", why);
  expect_ids(t, "a<x><y>b", want, 4);
  cr_assert_eq(tinker_tokenizer_vocab_size(t), 258);
  cr_assert(tinker_tokenizer_is_special(t, 256));
  t = tinker_tokenizer_release(t);
  for (size_t i = 0; i < sizeof different / sizeof different[0]; i++) {
    cr_expect_eq(load_added(&t, different[i], why, sizeof why), TINKER_EFORMAT,
                 "%s", different[i]);
    cr_expect_not_null(strstr(why, "<x>"), "%s", why);
  }
}

/* It is looked for, and decoded, as the normalizer writes it. */
Test(added, that_are_not_nfc) {
  const int32_t want[4] = {'a', 256, 257, 'b'}, ids[3] = {256, 257, 258};
  tinker_tokenizer_t *t = NULL;
  char why[256] = "", *text = NULL;
  cr_assert_eq(load_added(&t,
                          ADDED(256, "e\xcc\x81t", NORMAL) "," ADDED(
                              257, "e\xcc\x81s",
                              RAW) "," ADDED(258, "\xc3\xb1z", NORMAL),
                          why, sizeof why),
               0, "%s", why);
  expect_ids(t, "a\xc3\xa9te\xcc\x81sb", want, 4);
  expect_ids(t, "ae\xcc\x81te\xcc\x81sb", want, 4);
  cr_assert_eq(tinker_tokenizer_decode(t, ids, 3, 0, &text, NULL), 0);
  cr_assert_str_eq(text, "\xef\xbf\xbdte\xcc\x81s\xef\xbf\xbdz");
  tinker_tokenizer_free(t, text);
  cr_assert_eq(tinker_tokenizer_decode(t, ids, 3, TINKER_DECODE_SKIP_SPECIAL,
                                       &text, NULL),
               0);
  cr_assert_str_eq(text, "\xef\xbf\xbdt");
  tinker_tokenizer_free(t, text);
  tinker_tokenizer_release(t);
}
