/* The tokenizer through its public interface. That the ids are those of the
 * reference is what tests/interop/test_tokenizer.py is for; here: life,
 * limits, refusals, streams, memory. */
#include <criterion/criterion.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <tinker/tokenizer.h>

#include "base/file.h"
#include "support/fail_alloc.h"
#include "support/why.h"

#define LLAMA3 TINKER_TEST_DIR "/golden/tokenizers/llama3.json"
#define GPT2 TINKER_TEST_DIR "/golden/tokenizers/gpt2.json"
#define TINY TINKER_SOURCE_DIR "/demo/model/tiny-kjv/tokenizer.json"

static tinker__mem_t mem;

static void *use_malloc(size_t size, void *user) {
  return tinker__mem_alloc(user, size);
}
static void *use_calloc(size_t count, size_t size, void *user) {
  return tinker__mem_array(user, count, size);
}
static void *use_realloc(void *ptr, size_t size, void *user) {
  return tinker__mem_realloc(user, ptr, size);
}
static void use_free(void *ptr, void *user) {
  tinker__mem_free(user, ptr);
}

/* Options whose memory is counted by m. */
static tinker_tokenizer_options_t counted(tinker__mem_t *m,
                                          tinker_allocator_t *a) {
  tinker_tokenizer_options_t o;
  *a = (tinker_allocator_t){use_malloc, use_calloc, use_realloc, use_free, m};
  tinker_tokenizer_options_init(&o);
  o.allocator = a;
  return o;
}

static void setup(void) {
  tinker__mem_init(&mem, NULL, 0);
}

static void teardown(void) {
  cr_assert_eq(atomic_load(&mem.live_blocks), 0);
}

TestSuite(tokenizer, .init = setup, .fini = teardown);

static tinker_tokenizer_t *load(const char *path, int32_t no_jit) {
  tinker_allocator_t a;
  tinker_tokenizer_options_t o = counted(&mem, &a);
  tinker_tokenizer_t *t = NULL;
  char why[256] = "";
  o.no_jit = no_jit;
  cr_assert_eq(why_tokenizer_file(&t, path, &o, why, sizeof why), 0, "%s", why);
  return t;
}

static const char sample[] =
    "Don't we'LL \xc3\xa9t\xc3\xa9 e\xcc\x81 12345\r\n\r\n  \xe6\x97\xa5\xe6"
    "\x9c\xac \xf0\x9f\x99\x82\xf0\x9f\x91\xa9\xe2\x80\x8d x\t\ty ???\n";

Test(tokenizer, text_comes_back) {
  static const char *const paths[] = {LLAMA3, GPT2};
  for (int i = 0; i < 2; i++) {
    int32_t *ids = NULL, *slow = NULL;
    size_t n = 0, n_slow = 0, len = 0;
    char *text = NULL;
    tinker_tokenizer_t *t = load(paths[i], 0), *u = load(paths[i], 1);
    cr_assert_eq(
        tinker_tokenizer_encode(t, sample, sizeof sample - 1, 0, &ids, &n), 0);
    cr_assert_eq(tinker_tokenizer_encode(u, sample, sizeof sample - 1, 0, &slow,
                                         &n_slow),
                 0);
    cr_assert(n == n_slow && memcmp(ids, slow, n * sizeof *ids) == 0);
    cr_assert_eq(tinker_tokenizer_decode(t, ids, n, 0, &text, &len), 0);
    cr_assert_eq(text[len], 0);
    /* This one's ByteLevel puts a space in front. */
    const char *back = i == 1 ? text + 1 : text;
    cr_assert_str_eq(back, sample);
    tinker_tokenizer_free(t, text);
    tinker_tokenizer_free(t, ids);
    tinker_tokenizer_free(u, slow);
    tinker_tokenizer_release(u);
    cr_assert_null(tinker_tokenizer_release(t));
  }
}

static void expect_ids(tinker_tokenizer_t *t, const char *text, uint32_t flags,
                       const int32_t *want, size_t n_want) {
  int32_t *ids = NULL;
  size_t n = 0;
  cr_assert_eq(tinker_tokenizer_encode(t, text, strlen(text), flags, &ids, &n),
               0);
  cr_expect(n == n_want && memcmp(ids, want, n * sizeof *ids) == 0, "%s: %zu",
            text, n);
  tinker_tokenizer_free(t, ids);
}

Test(tokenizer, special_tokens) {
  tinker_tokenizer_t *t = load(LLAMA3, 0);
  int32_t bos = -1, eot = -1, hi[2] = {-1, -1}, less = -1;
  char *text = NULL;
  cr_assert_eq(tinker_tokenizer_token_id(t, "<|begin_of_text|>", 17, &bos), 0);
  cr_assert_eq(tinker_tokenizer_token_id(t, "<|eot_id|>", 10, &eot), 0);
  cr_assert_eq(tinker_tokenizer_token_id(t, "H", 1, &hi[0]), 0);
  cr_assert_eq(tinker_tokenizer_token_id(t, "i", 1, &hi[1]), 0);
  cr_assert_eq(tinker_tokenizer_token_id(t, "<", 1, &less), 0);
  cr_assert_eq(tinker_tokenizer_token_id(t, "no such token", 13, &bos),
               TINKER_ENOENT);
  cr_assert(tinker_tokenizer_is_special(t, bos));
  cr_assert(!tinker_tokenizer_is_special(t, hi[0]));
  cr_assert(!tinker_tokenizer_is_special(t, -1));
  cr_assert(!tinker_tokenizer_is_special(t, INT32_MAX));
  const int32_t all[4] = {bos, hi[0], hi[1], eot};
  expect_ids(t, "Hi<|eot_id|>", 0, all + 1, 3);
  expect_ids(t, "Hi<|eot_id|>", TINKER_ENCODE_ADD_SPECIAL, all, 4);
  expect_ids(t, "", TINKER_ENCODE_ADD_SPECIAL, all, 1);
  expect_ids(t, "", 0, all, 0);
  int32_t *ids = NULL;
  size_t n = 0;
  cr_assert_eq(tinker_tokenizer_encode(t, "<|eot_id|>", 10,
                                       TINKER_ENCODE_SPECIAL_TEXT, &ids, &n),
               0);
  cr_assert_gt(n, 1);
  cr_assert_eq(ids[0], less);
  tinker_tokenizer_free(t, ids);
  cr_assert_eq(tinker_tokenizer_decode(t, all, 4, 0, &text, NULL), 0);
  cr_assert_str_eq(text, "<|begin_of_text|>Hi<|eot_id|>");
  tinker_tokenizer_free(t, text);
  cr_assert_eq(tinker_tokenizer_decode(t, all, 4, TINKER_DECODE_SKIP_SPECIAL,
                                       &text, NULL),
               0);
  cr_assert_str_eq(text, "Hi");
  tinker_tokenizer_free(t, text);
  tinker_tokenizer_release(t);
}

Test(tokenizer, every_token_has_bytes_and_is_found) {
  tinker_tokenizer_t *t = load(GPT2, 0);
  size_t size = tinker_tokenizer_vocab_size(t), len = 0;
  const char *bytes = NULL;
  cr_assert_eq(size, 600);
  for (int32_t id = 0; id < (int32_t)size; id++) {
    int32_t found = -1;
    cr_assert_eq(tinker_tokenizer_token_bytes(t, id, &bytes, &len), 0);
    cr_assert_gt(len, 0);
    cr_assert_eq(tinker_tokenizer_token_id(t, bytes, len, &found), 0);
    cr_assert_eq(found, id);
  }
  cr_assert_eq(tinker_tokenizer_token_bytes(t, 600, &bytes, &len),
               TINKER_ENOENT);
  cr_assert_eq(tinker_tokenizer_token_bytes(t, -1, &bytes, &len),
               TINKER_ENOENT);
  tinker_tokenizer_release(t);
}

/* One byte of each id as a token of its own. */
static int32_t byte_id(tinker_tokenizer_t *t, unsigned char byte) {
  char b = (char)byte;
  int32_t id = -1;
  cr_assert_eq(tinker_tokenizer_token_id(t, &b, 1, &id), 0);
  return id;
}

Test(tokenizer, stream_never_splits_a_character) {
  tinker_tokenizer_t *t = load(GPT2, 0);
  tinker_tokenizer_stream_t *s = NULL;
  const char *part = NULL;
  size_t len = 0;
  cr_assert_eq(tinker_tokenizer_stream_new(&s, t, 0), 0);
  tinker_tokenizer_release(t); /* the stream keeps its own reference */
  static const unsigned char smile[] = {0xf0, 0x9f, 0x99, 0x82};
  for (int i = 0; i < 4; i++) {
    cr_assert_eq(
        tinker_tokenizer_stream_push(s, byte_id(t, smile[i]), &part, &len), 0);
    cr_assert_eq(len, i == 3 ? 4 : 0);
    cr_assert_eq(part[len], 0);
  }
  cr_assert_str_eq(part, "\xf0\x9f\x99\x82");
  /* Cut off by what can't follow, then by the end. */
  cr_assert_eq(tinker_tokenizer_stream_push(s, byte_id(t, 0xe6), &part, &len),
               0);
  cr_assert_eq(len, 0);
  cr_assert_eq(tinker_tokenizer_stream_push(s, -1, &part, &len), TINKER_EINVAL);
  /* An id without a token is no text, not the end of a character. */
  cr_assert_eq(tinker_tokenizer_stream_push(s, 600, &part, &len), 0);
  cr_assert_eq(len, 0);
  cr_assert_eq(tinker_tokenizer_stream_push(s, byte_id(t, 'a'), &part, &len),
               0);
  cr_assert_str_eq(part, "\xef\xbf\xbd"
                         "a");
  cr_assert_eq(tinker_tokenizer_stream_push(s, byte_id(t, 0x80), &part, &len),
               0);
  cr_assert_str_eq(part, "\xef\xbf\xbd");
  cr_assert_eq(tinker_tokenizer_stream_push(s, byte_id(t, 0xc3), &part, &len),
               0);
  cr_assert_eq(tinker_tokenizer_stream_finish(s, &part, &len), 0);
  cr_assert_str_eq(part, "\xef\xbf\xbd");
  cr_assert_eq(tinker_tokenizer_stream_finish(s, &part, &len), 0);
  cr_assert_eq(len, 0);
  cr_assert_null(tinker_tokenizer_stream_release(s));
}

Test(tokenizer, ids_without_a_token_add_no_text) {
  tinker_tokenizer_t *t = load(GPT2, 0);
  int32_t ids[] = {600,    byte_id(t, 0xc3), INT32_MAX, byte_id(t, 0xa9),
                   100000, byte_id(t, '!')};
  char *text = NULL;
  size_t len = 0;
  for (uint32_t flags = 0; flags <= TINKER_DECODE_SKIP_SPECIAL; flags++) {
    cr_assert_eq(tinker_tokenizer_decode(t, ids, 6, flags, &text, &len), 0);
    cr_assert_str_eq(text, "\xc3\xa9!");
    cr_assert_eq(len, 3);
    tinker_tokenizer_free(t, text);
  }
  tinker_tokenizer_release(t);
}

typedef struct worker_s {
  pthread_t thread;
  tinker_tokenizer_t *t;
  const int32_t *want;
  size_t n;
  int wrong;
} worker_t;

static void *work(void *user) {
  worker_t *w = user;
  for (int i = 0; i < 50; i++) {
    int32_t *ids = NULL;
    size_t n = 0;
    tinker_tokenizer_t *t = tinker_tokenizer_retain(w->t);
    int rc = tinker_tokenizer_encode(t, sample, sizeof sample - 1, 0, &ids, &n);
    if (rc || n != w->n || memcmp(ids, w->want, n * sizeof *ids) != 0) {
      w->wrong++;
    }
    tinker_tokenizer_free(t, ids);
    tinker_tokenizer_release(t);
  }
  return NULL;
}

Test(tokenizer, threads_share_one) {
  worker_t workers[4];
  int32_t *ids = NULL;
  size_t n = 0;
  tinker_tokenizer_t *t = load(LLAMA3, 0);
  cr_assert_eq(
      tinker_tokenizer_encode(t, sample, sizeof sample - 1, 0, &ids, &n), 0);
  for (int i = 0; i < 4; i++) {
    workers[i] = (worker_t){.t = t, .want = ids, .n = n};
    cr_assert_eq(pthread_create(&workers[i].thread, NULL, work, &workers[i]),
                 0);
  }
  for (int i = 0; i < 4; i++) {
    pthread_join(workers[i].thread, NULL);
    cr_assert_eq(workers[i].wrong, 0);
  }
  tinker_tokenizer_free(t, ids);
  tinker_tokenizer_release(t);
}

Test(tokenizer, long_runs_end) {
  enum { N = 200000 };
  static char text[N];
  tinker_tokenizer_t *t = load(TINY, 0);
  static const char *const units[] = {
      "a", " ", "\n", "ab", "e\xcc\xa3\xcc\x81", "1", "'s", "<|im_"};
  for (size_t u = 0; u < sizeof units / sizeof units[0]; u++) {
    int32_t *ids = NULL;
    size_t n = 0, unit = strlen(units[u]);
    for (size_t i = 0; i + unit <= N; i += unit) {
      memcpy(text + i, units[u], unit);
    }
    cr_assert_eq(tinker_tokenizer_encode(t, text, N / unit * unit, 0, &ids, &n),
                 0);
    cr_assert_gt(n, 1000);
    tinker_tokenizer_free(t, ids);
  }
  tinker_tokenizer_release(t);
}

Test(tokenizer, refuses_misuse) {
  tinker_tokenizer_t *t = load(GPT2, 0), *none = NULL;
  tinker_tokenizer_stream_t *s = NULL;
  tinker_tokenizer_options_t o;
  int32_t *ids = NULL, id = -1;
  char *text = NULL, why[256] = "";
  size_t n = 7;
  cr_assert_eq(tinker_tokenizer_encode(t, "\xff", 1, 0, &ids, &n),
               TINKER_EINVAL);
  cr_assert_eq(tinker_tokenizer_encode(t, "\xed\xa0\x80", 3, 0, &ids, &n),
               TINKER_EINVAL);
  cr_assert_eq(tinker_tokenizer_encode(t, "a", 1, 4, &ids, &n), TINKER_EINVAL);
  cr_assert_eq(tinker_tokenizer_encode(t, "a", (size_t)1 << 30, 0, &ids, &n),
               TINKER_EOVERFLOW);
  cr_assert_eq(tinker_tokenizer_encode(NULL, "a", 1, 0, &ids, &n),
               TINKER_EINVAL);
  cr_assert_eq(tinker_tokenizer_decode(t, &id, 1, 0, &text, &n), TINKER_EINVAL);
  cr_assert_eq(tinker_tokenizer_decode(t, &id, 1, 2, &text, &n), TINKER_EINVAL);
  cr_assert_eq(tinker_tokenizer_stream_new(&s, t, 2), TINKER_EINVAL);
  cr_assert(!ids && !text && !s && n == 7, "outputs are untouched");
  tinker_tokenizer_options_init(&o);
  o.reserved0 = 1;
  cr_assert_eq(why_tokenizer_file(&none, GPT2, &o, why, sizeof why),
               TINKER_ENOTSUP);
  struct {
    tinker_tokenizer_options_t o;
    int64_t later;
  } newer = {.later = 0};
  tinker_tokenizer_options_init(&newer.o);
  newer.o.size = sizeof newer;
  newer.later = 1;
  cr_assert_eq(why_tokenizer_file(&none, GPT2, &newer.o, why, sizeof why),
               TINKER_ENOTSUP);
  newer.o.size = 0;
  cr_assert_eq(why_tokenizer_file(&none, GPT2, &newer.o, why, sizeof why),
               TINKER_EINVAL);
  tinker_tokenizer_options_init(&o);
  o.memory_limit_bytes = 20000;
  cr_assert_eq(why_tokenizer_file(&none, GPT2, &o, why, sizeof why),
               TINKER_ENOMEM);
  cr_assert_eq(why_tokenizer_file(&none, "no/such/file", NULL, why, sizeof why),
               TINKER_ENOENT);
  cr_assert_not_null(strstr(why, "no/such/file"), "%s", why);
  cr_assert_null(none);
  tinker_tokenizer_release(t);
}

static void read_text(tinker__buf_t *b, const char *path) {
  tinker__buf_init(b, &mem, 1 << 22);
  cr_assert_eq(tinker__file_read(tinker__world_real(), path, b, NULL, 0), 0);
  cr_assert_not_null(tinker__buf_cstr(b));
}

/* Loads the file with the first `was` replaced by `is`. */
static int load_edited(tinker_tokenizer_t **t, const tinker__buf_t *file,
                       const char *was, const char *is, char *why,
                       size_t why_len) {
  tinker__buf_t b;
  const char *at = strstr(file->data, was);
  cr_assert_not_null(at, "%s", was);
  tinker__buf_init(&b, &mem, 1 << 22);
  tinker__buf_add(&b, file->data, (size_t)(at - file->data));
  tinker__buf_adds(&b, is);
  tinker__buf_adds(&b, at + strlen(was));
  int rc = why_tokenizer_bytes(t, b.data, b.len, NULL, why, why_len);
  tinker__buf_free(&b);
  return rc;
}

Test(tokenizer, names_what_it_lacks) {
  static const struct {
    const char *was, *is;
    int code;
    const char *said;
  } rows[] = {
      {"\"truncation\": null", "\"truncation\": 512", TINKER_ENOTSUP,
       "truncation is 512"},
      {"\"padding\": null", "\"padding\": true", TINKER_ENOTSUP,
       "padding is true"},
      {"\"normalizer\": null", "\"normalizer\": {\"type\": \"NFKC\"}",
       TINKER_ENOTSUP, "normalizer: type \"NFKC\""},
      {"\"normalizer\": null",
       "\"normalizer\": {\"type\": \"Sequence\", "
       "\"normalizers\": [{\"type\": \"NFC\"}, {\"type\": \"Lowercase\"}]}",
       TINKER_ENOTSUP, "Lowercase"},
      {"\"type\": \"Split\"", "\"type\": \"Metaspace\"", TINKER_ENOTSUP,
       "pre_tokenizer: type \"Metaspace\""},
      {"\"behavior\": \"Isolated\"", "\"behavior\": \"Other\"", TINKER_ENOTSUP,
       "behavior is \"Other\""},
      {"(?i:'s", "^(?i:'s", TINKER_ENOTSUP, "line anchor"},
      {"\"invert\": false", "\"invert\": 0", TINKER_EFORMAT, "invert"},
      {"\"invert\": false", "\"invert\": false, \"limit\": 3", TINKER_ENOTSUP,
       "limit is 3"},
      {"\"type\": \"BPE\"", "\"type\": \"Unigram\"", TINKER_ENOTSUP,
       "model: type is \"Unigram\""},
      {"\"dropout\": null", "\"dropout\": 0.1", TINKER_ENOTSUP, "dropout"},
      {"\"byte_fallback\": false", "\"byte_fallback\": true", TINKER_ENOTSUP,
       "byte_fallback"},
      {"\"continuing_subword_prefix\": null",
       "\"continuing_subword_prefix\": \"##\"", TINKER_ENOTSUP,
       "continuing_subword_prefix"},
      {"\"single_word\": false", "\"single_word\": true", TINKER_ENOTSUP,
       "single_word"},
      {"\"id\": 600", "\"id\": 700", TINKER_EFORMAT, "its place is 600"},
      {"\"<|end_of_text|>\"", "\"<|begin_of_text|>\"", TINKER_EFORMAT,
       "begin_of_text"},
      {"\"type\": \"TemplateProcessing\"", "\"type\": \"BertProcessing\"",
       TINKER_ENOTSUP, "BertProcessing"},
      {"\"id\": \"A\"", "\"id\": \"B\"", TINKER_ENOTSUP, "exactly once"},
      {"\"ids\": [\n              600", "\"ids\": [\n              6000",
       TINKER_EFORMAT, "no token has"},
      {"\"decoder\": {\n    \"type\": \"ByteLevel\"",
       "\"decoder\": {\n    \"type\": \"Fuse\"", TINKER_ENOTSUP,
       "decoder: type \"Fuse\""},
      {"\"!\": 0,", "", TINKER_ENOTSUP, "byte 0x21"},
      {"\"!\": 0,", "\"!\": 1,", TINKER_EFORMAT, "twice"},
      {"\"!\": 0,", "\"!\": 0, \"!\": 650,", TINKER_EFORMAT, "twice"},
      {"\"!\": 0,", "\"!\": 99999999,", TINKER_EOVERFLOW, "!"},
      {"\"!\": 0,", "\"!\": -1,", TINKER_EFORMAT, "vocab"},
      {"\"merges\": [", "\"merges\": [\"a zzz\",", TINKER_EFORMAT, "merges[0]"},
      {"\"merges\": [", "\"merges\": [\"a\",", TINKER_EFORMAT, "merges[0]"},
      {"\"merges\": [", "\"merges\": [[\"a\"],", TINKER_EFORMAT, "merges[0]"},
      {"\"merges\": [", "\"merges\": [7,", TINKER_EFORMAT, "merges"},
      {"\"version\": \"1.0\"", "\"version\": \"1.0\", \"extra\": [1]",
       TINKER_ENOTSUP, "extra"},
      {"\"version\": \"1.0\"", "\"version\": \"1.0\",", TINKER_EFORMAT, "byte"},
  };
  tinker__buf_t file;
  read_text(&file, LLAMA3);
  for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
    tinker_tokenizer_t *t = NULL;
    char why[256] = "";
    int rc = load_edited(&t, &file, rows[i].was, rows[i].is, why, sizeof why);
    cr_assert_null(t);
    cr_expect_eq(rc, rows[i].code, "%s: %d %s", rows[i].is, rc, why);
    cr_expect_not_null(strstr(why, rows[i].said), "%s: %s", rows[i].is, why);
  }
  tinker__buf_free(&file);
}

/* Encodes with a file whose first `was` is replaced by `is`. */
static void expect_edited(const char *was, const char *is, const char *text,
                          const int32_t *want, size_t n) {
  tinker_tokenizer_t *t = NULL;
  tinker__buf_t file;
  char why[256] = "";
  read_text(&file, LLAMA3);
  cr_assert_eq(load_edited(&t, &file, was, is, why, sizeof why), 0, "%s: %s",
               is, why);
  expect_ids(t, text, TINKER_ENCODE_ADD_SPECIAL, want, n);
  tinker_tokenizer_release(t);
  tinker__buf_free(&file);
}

/* What a file was saved with says nothing about one text. */
Test(tokenizer, neither_pads_nor_cuts) {
  tinker_tokenizer_t *t = load(LLAMA3, 0);
  const char text[] = "It's a longer text than that";
  int32_t *want = NULL;
  size_t n = 0;
  cr_assert_eq(tinker_tokenizer_encode(t, text, strlen(text),
                                       TINKER_ENCODE_ADD_SPECIAL, &want, &n),
               0);
  cr_assert(n > 2 && n < 40);
  expect_edited("\"truncation\": null",
                "\"truncation\": {\"direction\": \"Right\", \"max_length\": "
                "2, \"strategy\": \"LongestFirst\", \"stride\": 0}",
                text, want, n);
  expect_edited("\"padding\": null",
                "\"padding\": {\"strategy\": {\"Fixed\": 40}, "
                "\"direction\": \"Left\", \"pad_to_multiple_of\": 8, "
                "\"pad_id\": 0, \"pad_type_id\": 0, \"pad_token\": \"!\"}",
                text, want, n);
  expect_edited("\"padding\": null",
                "\"padding\": {\"strategy\": \"BatchLongest\", "
                "\"direction\": \"Right\", \"pad_to_multiple_of\": 64, "
                "\"pad_id\": 0, \"pad_type_id\": 0, \"pad_token\": \"!\"}",
                text, want, n);
  tinker_tokenizer_free(t, want);
  tinker_tokenizer_release(t);
}

/* As in GPT-2's file. */
Test(tokenizer, a_model_without_type_is_bpe) {
  tinker_tokenizer_t *t = load(LLAMA3, 0), *none = NULL;
  const char *const halves[] = {"{\"model\": {\"vocab\": {\"a\": 0}}}",
                                "{\"model\": {\"merges\": [\"a b\"]}}",
                                "{\"model\": {\"type\": null}}", "{}"};
  const char text[] = "It's the same";
  int32_t *want = NULL;
  size_t n = 0;
  cr_assert_eq(tinker_tokenizer_encode(t, text, strlen(text),
                                       TINKER_ENCODE_ADD_SPECIAL, &want, &n),
               0);
  expect_edited("\"type\": \"BPE\",", "", text, want, n);
  for (int i = 0; i < 4; i++) {
    char why[256] = "";
    int rc = why_tokenizer_bytes(&none, halves[i], strlen(halves[i]), NULL, why,
                                 sizeof why);
    cr_assert_neq(rc, 0, "%s", halves[i]);
    cr_assert_not_null(strstr(why, "model"), "%s: %s", halves[i], why);
  }
  tinker_tokenizer_free(t, want);
  tinker_tokenizer_release(t);
}

Test(tokenizer, names_what_stands_in_its_files_place) {
  static const struct {
    const char *data, *said;
  } rows[] = {
      {"", "tokenizer.json is empty: download it again"},
      {"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 7\n",
       "tokenizer.json is a git-lfs pointer"},
      {"<!doctype html>\n<html>", "tokenizer.json is a web page"},
      {"Entry not found", "it begins with \"Entry not found\""},
      {"{\"version\": \"1.0\", \"added_tokens\": [", "tokenizer.json is cut"},
      {"{\"padding\": {\"pad_id\": NaN}}", "pad_id is NaN"},
  };
  for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
    tinker_tokenizer_t *t = NULL;
    char why[256] = "";
    cr_expect_eq(why_tokenizer_bytes(&t, rows[i].data, strlen(rows[i].data),
                                     NULL, why, sizeof why),
                 TINKER_EFORMAT);
    cr_expect_not_null(strstr(why, rows[i].said), "%s", why);
  }
}

Test(tokenizer, survives_every_cut) {
  tinker__buf_t file;
  read_text(&file, LLAMA3);
  while (file.len && file.data[file.len - 1] != '}') file.len--;
  for (size_t n = 0; n < file.len; n += n < 2000 ? 1 : 97) {
    tinker_tokenizer_t *t = NULL;
    cr_assert_neq(why_tokenizer_bytes(&t, file.data, n, NULL, NULL, 0), 0,
                  "cut at %zu", n);
  }
  tinker__buf_free(&file);
}

static int load_only(tinker__mem_t *m, void *user) {
  tinker_allocator_t a;
  tinker_tokenizer_options_t o = counted(m, &a);
  tinker_tokenizer_t *t = NULL;
  int rc = why_tokenizer_file(&t, user, &o, NULL, 0);
  tinker_tokenizer_release(t);
  return rc;
}

/* What the sweep over a loaded tokenizer works with. */
typedef struct loaded_s {
  tinker_tokenizer_t *t;
} loaded_t;

/* Counts allocations from here on in `gate`, which the tokenizer got its
 * memory from; the sweep's own account only says which one fails. */
static tinker__mem_t gate;

static int use(tinker__mem_t *m, void *user) {
  loaded_t *l = user;
  tinker_tokenizer_stream_t *s = NULL;
  int32_t *ids = NULL;
  size_t n = 0, len = 0;
  const char *part;
  char *text = NULL;
  uint64_t before = atomic_load(&gate.count);
  size_t live = atomic_load(&gate.live_blocks);
  gate.fail_at = before + m->fail_at;
  int rc = tinker_tokenizer_encode(l->t, sample, sizeof sample - 1,
                                   TINKER_ENCODE_ADD_SPECIAL, &ids, &n);
  if (rc == 0) rc = tinker_tokenizer_decode(l->t, ids, n, 0, &text, &len);
  if (rc == 0) rc = tinker_tokenizer_stream_new(&s, l->t, 0);
  for (size_t i = 0; i < n && rc == 0; i++) {
    rc = tinker_tokenizer_stream_push(s, ids[i], &part, &len);
  }
  if (rc == 0) rc = tinker_tokenizer_stream_finish(s, &part, &len);
  gate.fail_at = 0;
  tinker_tokenizer_stream_release(s);
  tinker_tokenizer_free(l->t, text);
  tinker_tokenizer_free(l->t, ids);
  atomic_store(&m->count, atomic_load(&gate.count) - before);
  cr_assert_eq(atomic_load(&gate.live_blocks), live);
  return rc;
}

Test(tokenizer, survives_lack_of_memory) {
  static const char *const paths[] = {LLAMA3, GPT2, TINY};
  char path[256];
  for (int i = 0; i < 3; i++) {
    snprintf(path, sizeof path, "%s", paths[i]);
    cr_assert_geq(tinker__fail_sweep(load_only, path, TINKER_ENOMEM), 30);
    tinker__mem_init(&gate, NULL, 0);
    tinker_allocator_t a;
    tinker_tokenizer_options_t o = counted(&gate, &a);
    loaded_t l = {NULL};
    cr_assert_eq(why_tokenizer_file(&l.t, path, &o, NULL, 0), 0);
    cr_assert_geq(tinker__fail_sweep(use, &l, TINKER_ENOMEM), 10);
    tinker_tokenizer_release(l.t);
    cr_assert_eq(atomic_load(&gate.live_blocks), 0);
  }
}
