/* fuzz_tokenizer: the first byte says what the rest is. 0: a tokenizer.json,
 * which is used if it is one;
 * 1: text for a small tokenizer, which must come back from its ids, whole and
 * by a stream; 2: a split pattern; else: ids to decode, some without a token.
 */
#include <stdlib.h>
#include <string.h>
#include <tinker/tokenizer.h>

#include "support/why.h"
#include "text/pattern.h"
#include "text/split.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static tinker_tokenizer_t *small(void) {
  static tinker_tokenizer_t *t;
  if (!t && why_tokenizer_file(
                &t, TINKER_SOURCE_DIR "/tests/golden/tokenizers/llama3.json",
                NULL, NULL, 0) != 0) {
    abort();
  }
  return t;
}

static void check_stream(tinker_tokenizer_t *t, const int32_t *ids, size_t n,
                         const char *want, size_t len) {
  tinker_tokenizer_stream_t *s = NULL;
  const char *part = NULL;
  size_t part_len = 0, at = 0;
  if (tinker_tokenizer_stream_new(&s, t, 0) != 0) abort();
  for (size_t i = 0; i <= n; i++) {
    int rc = i < n ? tinker_tokenizer_stream_push(s, ids[i], &part, &part_len)
                   : tinker_tokenizer_stream_finish(s, &part, &part_len);
    if (rc || at + part_len > len || memcmp(want + at, part, part_len) != 0) {
      abort();
    }
    at += part_len;
  }
  if (at != len) abort();
  tinker_tokenizer_stream_release(s);
}

static void check_ids(const int32_t *ids, size_t n, const char *want,
                      size_t want_len) {
  tinker_tokenizer_t *t = small();
  char *text = NULL;
  size_t len = 0;
  if (tinker_tokenizer_decode(t, ids, n, 0, &text, &len) != 0) abort();
  check_stream(t, ids, n, text, len);
  if (want && (len != want_len || memcmp(text, want, len) != 0)) abort();
  tinker_tokenizer_free(t, text);
}

static void check_text(const char *text, size_t len) {
  int32_t *ids = NULL;
  size_t n = 0;
  /* Tokens that take white space along lose it, and added tokens decode by
   * the letters of byte-level BPE: as plain text all comes back. */
  if (memchr(text, '<', len) || memchr(text, '!', len)) return;
  if (tinker_tokenizer_encode(small(), text, len, 0, &ids, &n) != 0) return;
  check_ids(ids, n, text, len);
  tinker_tokenizer_free(small(), ids);
}

static void check_pattern(tinker__str_t pattern) {
  static const char sample[] =
      "It's 12 \xc3\xa9t\xc3\xa9s\r\n\t\xe6\x97\xa5 !?";
  tinker__mem_t mem;
  tinker__buf_t b;
  tinker__split_t split;
  memset(&split, 0, sizeof split);
  tinker__mem_init(&mem, NULL, 1u << 28);
  tinker__buf_init(&b, &mem, 1u << 24);
  if (tinker__pattern_translate(&b, pattern, NULL, 0) == 0 &&
      tinker__split_compile(&split, &mem, tinker__buf_str(&b), false, true,
                            NULL, 0) == 0) {
    pcre2_match_data *room = tinker__split_room(&split, &mem);
    if (room) {
      pcre2_match(split.code, (PCRE2_SPTR)sample, sizeof sample - 1, 0,
                  PCRE2_NO_UTF_CHECK, room, NULL);
    }
    pcre2_match_data_free(room);
    tinker__split_free(&split);
  }
  tinker__buf_free(&b);
  if (atomic_load(&mem.live_blocks)) abort();
}

/* What its ids are is its file's matter: they exist, and decode. */
static void use(tinker_tokenizer_t *t) {
  static const char text[] = "It's <tool> 12\xc3\xa9 \xe6\x97\xa5<left>  a!";
  const char *bytes = NULL;
  char *back = NULL;
  int32_t *ids = NULL, id = 0;
  size_t n = 0, len = 0;
  size_t size = tinker_tokenizer_vocab_size(t);
  if (tinker_tokenizer_encode(t, text, sizeof text - 1,
                              TINKER_ENCODE_ADD_SPECIAL, &ids, &n) == 0) {
    for (size_t i = 0; i < n; i++) {
      if (ids[i] < 0 || (size_t)ids[i] >= size) abort();
    }
    if (tinker_tokenizer_decode(t, ids, n, 0, &back, &len) != 0) abort();
    tinker_tokenizer_free(t, back);
  }
  tinker_tokenizer_free(t, ids);
  for (size_t i = 0; i < size && i < 1000; i++) {
    tinker_tokenizer_is_special(t, (int32_t)i);
    if (tinker_tokenizer_token_bytes(t, (int32_t)i, &bytes, &len) == 0) {
      tinker_tokenizer_token_id(t, bytes, len, &id);
    }
  }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  tinker_tokenizer_t *t = NULL;
  int32_t ids[256];
  size_t n = 0;
  if (size == 0) return 0;
  const char *rest = (const char *)data + 1;
  switch (data[0]) {
  case 0:
    if (why_tokenizer_bytes(&t, rest, size - 1, NULL, NULL, 0) == 0) {
      use(t);
    }
    tinker_tokenizer_release(t);
    break;
  case 1: check_text(rest, size - 1); break;
  case 2: check_pattern((tinker__str_t){rest, size - 1}); break;
  default:
    for (; n < 256 && 2 * n + 3 <= size; n++) {
      ids[n] = (data[2 * n + 1] << 8 | data[2 * n + 2]) % 700;
    }
    check_ids(ids, n, NULL, 0);
  }
  return 0;
}
