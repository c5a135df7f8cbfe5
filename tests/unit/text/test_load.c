/* What a tokenizer.json may ask for: the bounds of it, and what is refused, in
 * a file of single bytes with one or two things changed. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>
#include <tinker/tokenizer.h>

#include "base/file.h"
#include "support/why.h"
#include "text/added.h"
#include "text/table.h"
#include "text/tokenizer.h"

#define BYTES TINKER_TEST_DIR "/golden/tokenizers/bytes.json"
#define LEVEL                                                                  \
  "{\"type\": \"ByteLevel\", \"add_prefix_space\": false, \"use_regex\": false}"
#define STEPS(of) "\"pre_tokenizer\": " of ", \"post_processor\": null"
#define SEQUENCE(of) "{\"type\": \"Sequence\", \"pretokenizers\": [" of "]}"
#define TEMPLATE(single)                                                       \
  "{\"type\": \"TemplateProcessing\", \"single\": [" single "], "              \
  "\"special_tokens\": {\"x\": {\"id\": \"x\", \"ids\": [66], "                \
  "\"tokens\": [\"x\"]}}}"
#define A "{\"Sequence\": {\"id\": \"A\", \"type_id\": 0}}"
#define X "{\"SpecialToken\": {\"id\": \"x\", \"type_id\": 0}}"
#define X4 X ", " X ", " X ", " X
#define X16 X4 ", " X4 ", " X4 ", " X4
#define ADDED(id, content)                                                     \
  "[{\"id\": " id ", \"content\": \"" content "\", \"normalized\": true}]"

static tinker__mem_t mem;
static tinker__buf_t file;

static void setup(void) {
  tinker__mem_init(&mem, NULL, 0);
  tinker__buf_init(&file, &mem, 1 << 26);
  cr_assert_eq(tinker__file_read(tinker__world_real(), BYTES, &file, NULL, 0),
               0);
  cr_assert_not_null(tinker__buf_cstr(&file));
}

static void teardown(void) {
  tinker__buf_free(&file);
  cr_assert_eq(atomic_load(&mem.live_blocks), 0);
}

TestSuite(load, .init = setup, .fini = teardown);

/* Puts `is` into the file for everything from `was` to the end of `until`. */
static void edit(const char *was, const char *until, const char *is) {
  tinker__buf_t b;
  const char *at = strstr(file.data, was);
  cr_assert_not_null(at, "%s", was);
  const char *end = strstr(at, until);
  cr_assert_not_null(end, "%s", until);
  end += strlen(until);
  tinker__buf_init(&b, &mem, 1 << 26);
  tinker__buf_add(&b, file.data, (size_t)(at - file.data));
  tinker__buf_adds(&b, is);
  tinker__buf_adds(&b, end);
  cr_assert_not_null(tinker__buf_cstr(&b));
  tinker__buf_free(&file);
  file = b;
}

static int load(tinker_tokenizer_t **t, char *why, size_t why_len) {
  return why_tokenizer_bytes(t, file.data, file.len, NULL, why, why_len);
}

static void expect(int code, const char *said) {
  tinker_tokenizer_t *t = NULL;
  char why[256] = "";
  int rc = load(&t, why, sizeof why);
  cr_expect_eq(rc, code, "%s: %d %s", said, rc, why);
  cr_expect_not_null(strstr(why, said), "%s: %s", said, why);
  cr_expect_eq(t != NULL, code == 0);
  tinker_tokenizer_release(t);
}

static void expect_ids(const char *text, const int32_t *want, size_t n_want) {
  tinker_tokenizer_t *t = NULL;
  int32_t *ids = NULL;
  size_t n = 0;
  char why[256] = "";
  cr_assert_eq(load(&t, why, sizeof why), 0, "%s", why);
  cr_assert_eq(tinker_tokenizer_encode(t, text, strlen(text),
                                       TINKER_ENCODE_ADD_SPECIAL, &ids, &n),
               0);
  cr_assert_not_null(ids, "also when there are none");
  cr_expect(n == n_want && memcmp(ids, want, n * sizeof *ids) == 0, "%s: %zu",
            text, n);
  tinker_tokenizer_free(t, ids);
  tinker_tokenizer_release(t);
}

static void again(void) {
  teardown();
  setup();
}

Test(load, of_steps) {
  static const struct {
    const char *steps;
    int code;
    const char *said;
  } rows[] = {
      {"null", TINKER_ENOTSUP, "no ByteLevel"},
      {SEQUENCE("{\"type\": \"Digits\"}"), TINKER_ENOTSUP, "no ByteLevel"},
      {SEQUENCE(LEVEL ", {\"type\": \"Digits\"}"), TINKER_ENOTSUP,
       "a step behind ByteLevel"},
      {"{\"type\": \"ByteLevel\\u0000x\"}", TINKER_ENOTSUP, "unknown name"},
      {SEQUENCE("{\"type\": \"Split\", \"pattern\": {\"String\": \"\"}, "
                "\"behavior\": \"Isolated\"}, " LEVEL),
       TINKER_ENOTSUP, "an empty pattern"},
  };
  for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
    char steps[512];
    again();
    snprintf(steps, sizeof steps, STEPS("%s"), rows[i].steps);
    edit("\"pre_tokenizer\"", "\"post_processor\": null", steps);
    expect(rows[i].code, rows[i].said);
  }
}

/* Sequences inside each other, and steps in one of them. */
Test(load, of_many_steps) {
  for (int depth = 8; depth <= 9; depth++) {
    char steps[1024] = "";
    again();
    for (int i = 0; i < depth; i++) {
      strcat(steps, "{\"type\": \"Sequence\", \"pretokenizers\": [");
    }
    strcat(steps, LEVEL);
    for (int i = 0; i < depth; i++) strcat(steps, "]}");
    edit("{\"type\": \"ByteLevel\"", "}", steps);
    expect(depth == 8 ? 0 : TINKER_EOVERFLOW,
           depth == 8 ? "" : "nested too deep");
  }
  for (int n = TINKER__TOKENIZER_MAX_STEPS; n < 18; n++) {
    char steps[1024] = "{\"type\": \"Sequence\", \"pretokenizers\": [";
    again();
    for (int i = 0; i < n; i++) strcat(steps, "{\"type\": \"Digits\"}, ");
    strcat(steps, LEVEL "]}");
    edit("{\"type\": \"ByteLevel\"", "}", steps);
    expect(n == 16 ? 0 : TINKER_EOVERFLOW, n == 16 ? "" : "over 16 steps");
  }
}

Test(load, of_a_decoder) {
  edit("\"decoder\": {", "}", "\"decoder\": null");
  expect(TINKER_ENOTSUP, "decoder: not ByteLevel");
  again();
  edit("\"decoder\": {", "}",
       "\"decoder\": {\"type\": \"Sequence\", \"decoders\": [" LEVEL ", " LEVEL
       "]}");
  expect(TINKER_ENOTSUP, "ByteLevel twice");
}

Test(load, of_a_template) {
  static const struct {
    const char *processor;
    int code;
    const char *said;
  } rows[] = {
      {TEMPLATE(X), TINKER_ENOTSUP, "A exactly once"},
      {TEMPLATE(A ", " A), TINKER_ENOTSUP, "A exactly once"},
      {"{\"type\": \"Sequence\", \"processors\": [" TEMPLATE(A) ", " TEMPLATE(
           A) "]}",
       TINKER_ENOTSUP, "two templates"},
      {TEMPLATE(X16 ", " A ", " X16), 0, ""},
      {TEMPLATE(X16 ", " X ", " A), TINKER_EOVERFLOW, "over 16 ids on a side"},
      {TEMPLATE(A ", " X16 ", " X), TINKER_EOVERFLOW, "over 16 ids on a side"},
  };
  const int32_t around[3] = {66, 'a', 66}, behind[2] = {'a', 66};
  for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
    char processor[4096];
    again();
    snprintf(processor, sizeof processor, "\"post_processor\": %s",
             rows[i].processor);
    edit("\"post_processor\": ", "null", processor);
    expect(rows[i].code, rows[i].said);
  }
  again();
  edit("\"post_processor\": ", "null",
       "\"post_processor\": " TEMPLATE(X ", " A ", " X));
  expect_ids("a", around, 3);
  again();
  edit("\"post_processor\": ", "null",
       "\"post_processor\": " TEMPLATE(A ", " X));
  expect_ids("a", behind, 2);
  again();
  expect_ids("", behind, 0);
}

Test(load, of_merges) {
  const int32_t want[3] = {256, 'c', 'b'};
  static const struct {
    const char *merges, *said;
  } rows[] = {{"\"merges\": [\"a c\"]", "the result is not in the vocabulary"},
              {"\"merges\": [\"a  b\"]", "over one space"},
              {"\"merges\": [\"#version: 0.2\", \"a c\"]", "merges[0]"}};
  for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
    again();
    edit("\"merges\": []", "]", rows[i].merges);
    expect(TINKER_EFORMAT, rows[i].said);
  }
  again(); /* a head line of the old format */
  edit("\"!\": 33,", ",", "\"!\": 33, \"ab\": 256,");
  edit("\"merges\": []", "]", "\"merges\": [\"#version: 0.2\", \"a b\"]");
  expect_ids("abcb", want, 3);
}

/* A text that starts with a space gets no second one. */
Test(load, of_a_space_in_front) {
  const int32_t want[2] = {' ', 'a'};
  edit("\"add_prefix_space\": false", "false", "\"add_prefix_space\": true");
  expect_ids("a", want, 2);
  expect_ids(" a", want, 2);
}

/* A word of the vocabulary that no merges lead to. */
Test(load, of_words_without_merges) {
  const int32_t whole[1] = {256}, parts[3] = {'a', 'b', 'c'};
  edit("\"!\": 33,", ",", "\"!\": 33, \"abc\": 256,");
  expect_ids("abc", parts, 3);
  edit("\"ignore_merges\": false", "false", "\"ignore_merges\": true");
  expect_ids("abc", whole, 1);
}

Test(load, of_no_dropout) {
  static const char *const none[] = {"0", "0.0", "null"};
  for (int i = 0; i < 3; i++) {
    char text[40];
    again();
    snprintf(text, sizeof text, "\"dropout\": %s,", none[i]);
    edit("\"dropout\": ", ",", text);
    expect(0, "");
  }
}

/* A byte that UTF-8 never has needs no token. */
Test(load, of_bytes_that_are_missing) {
  tinker_tokenizer_t *t = NULL;
  const char *bytes;
  size_t len;
  edit("\"\\u00c0\": ", "192, ", "");
  cr_assert_eq(load(&t, NULL, 0), 0);
  cr_assert_eq(tinker_tokenizer_token_bytes(t, 192, &bytes, &len),
               TINKER_ENOENT);
  cr_assert_eq(tinker_tokenizer_vocab_size(t), 256);
  tinker_tokenizer_release(t);
  again();
  edit("\"\\u00c2\": 194, ", "194, ", "");
  expect(TINKER_ENOTSUP, "no token for byte 0xc2");
}

Test(load, of_added_tokens) {
  edit("\"added_tokens\": []", "]", "\"added_tokens\": " ADDED("2097152", "x"));
  expect(TINKER_EFORMAT, "an id is no number below 2097152");
  again();
  edit("\"added_tokens\": []", "]",
       "\"added_tokens\": " ADDED("256", "e\xcc\x81"));
  edit("\"normalizer\": null", "null", "\"normalizer\": {\"type\": \"NFC\"}");
  edit("\"!\": 33,", ",", "\"!\": 33, \"e\xcc\x81\": 256,");
  expect(TINKER_ENOTSUP, "the normalizer changes it");
}

/* One more than may be added. */
Test(load, of_too_many_added_tokens) {
  for (unsigned n = TINKER__MAX_ADDED; n <= TINKER__MAX_ADDED + 1; n++) {
    tinker__buf_t b;
    again();
    tinker__buf_init(&b, &mem, 1 << 24);
    tinker__buf_adds(&b, "\"added_tokens\": [");
    for (unsigned i = 0; i < n; i++) {
      tinker__buf_addf(&b, "%s{\"id\": %u, \"content\": \"<%u>\"}",
                       i ? ", " : "", 256 + i, i);
    }
    tinker__buf_addc(&b, ']');
    edit("\"added_tokens\": []", "]", tinker__buf_cstr(&b));
    tinker__buf_free(&b);
    expect(n == TINKER__MAX_ADDED ? 0 : TINKER_EOVERFLOW,
           n == TINKER__MAX_ADDED ? "" : "over 65536");
  }
}

Test(load, of_too_many_merges) {
  tinker__buf_t b;
  tinker__buf_init(&b, &mem, 1 << 24);
  tinker__buf_adds(&b, "\"merges\": [1");
  for (unsigned i = 0; i < TINKER__MAX_MERGES; i++) tinker__buf_adds(&b, ",1");
  tinker__buf_addc(&b, ']');
  edit("\"merges\": []", "]", tinker__buf_cstr(&b));
  tinker__buf_free(&b);
  expect(TINKER_EOVERFLOW, "over 4194304");
}

Test(load, of_misuse) {
  tinker_tokenizer_t *t = NULL;
  tinker_tokenizer_options_t o;
  tinker_allocator_t a = {NULL, NULL, NULL, NULL, NULL};
  char why[256] = "";
  cr_assert_eq(why_tokenizer_bytes(&t, file.data,
                                   TINKER__TOKENIZER_MAX_BYTES + 1, NULL, why,
                                   sizeof why),
               TINKER_EOVERFLOW);
  cr_assert_not_null(strstr(why, "134217729 bytes, more than 134217728"));
  tinker_tokenizer_options_init(&o);
  o.allocator = &a;
  cr_assert_eq(
      why_tokenizer_bytes(&t, file.data, file.len, &o, why, sizeof why),
      TINKER_EINVAL);
  cr_assert_not_null(strstr(why, "allocator"), "%s", why);
  cr_assert_null(t);
  cr_assert_null(tinker_tokenizer_retain(NULL));
  cr_assert_null(tinker_tokenizer_release(NULL));
}
