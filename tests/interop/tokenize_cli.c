/* tokenize_cli: the tokenizer behind a pipe, for test_tokenizer.py.
 *
 *   tokenize_cli TOKENIZER_JSON [nojit]
 *
 * Reads requests from stdin until it ends: one byte that says what to do, the
 * length of the payload (4 bytes, little-endian), the payload. Answers each
 * with a length and a payload. 'e', 'E' (with the template's tokens) and 't'
 * (special tokens are text) take text and answer with ids of 4 bytes each; 'd',
 * 'D' (without special tokens) and 's' (by a stream) take ids and answer with
 * text. A failure answers with length 0xffffffff and the code. If the file
 * can't be loaded the sentence goes to stdout and the exit code is 2. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <tinker/tokenizer.h>

#include "support/why.h"

static void write_u32(uint32_t v) {
  unsigned char b[4] = {(unsigned char)v, (unsigned char)(v >> 8),
                        (unsigned char)(v >> 16), (unsigned char)(v >> 24)};
  fwrite(b, 1, 4, stdout);
}

static void answer_failure(int rc) {
  write_u32(UINT32_MAX);
  write_u32((uint32_t)rc);
}

static void encode(tinker_tokenizer_t *t, uint32_t flags, const char *text,
                   size_t len) {
  int32_t *ids = NULL;
  size_t n = 0;
  int rc = tinker_tokenizer_encode(t, text, len, flags, &ids, &n);
  if (rc) {
    answer_failure(rc);
    return;
  }
  write_u32((uint32_t)(4 * n));
  for (size_t i = 0; i < n; i++) write_u32((uint32_t)ids[i]);
  tinker_tokenizer_free(t, ids);
}

static void decode(tinker_tokenizer_t *t, uint32_t flags, const int32_t *ids,
                   size_t n) {
  char *text = NULL;
  size_t len = 0;
  int rc = tinker_tokenizer_decode(t, ids, n, flags, &text, &len);
  if (rc) {
    answer_failure(rc);
    return;
  }
  write_u32((uint32_t)len);
  fwrite(text, 1, len, stdout);
  tinker_tokenizer_free(t, text);
}

static void stream(tinker_tokenizer_t *t, const int32_t *ids, size_t n) {
  tinker_tokenizer_stream_t *s = NULL;
  const char *text = NULL;
  size_t len = 0, total = 0, cap = 64 * n + 64;
  char *joined = malloc(cap);
  int rc = joined ? tinker_tokenizer_stream_new(&s, t, 0) : TINKER_ENOMEM;
  for (size_t i = 0; i <= n && rc == 0; i++) {
    rc = i < n ? tinker_tokenizer_stream_push(s, ids[i], &text, &len)
               : tinker_tokenizer_stream_finish(s, &text, &len);
    if (rc == 0 && total + len > cap) rc = TINKER_EOVERFLOW;
    if (rc) break;
    memcpy(joined + total, text, len);
    total += len;
  }
  if (rc) {
    answer_failure(rc);
  } else {
    write_u32((uint32_t)total);
    fwrite(joined, 1, total, stdout);
  }
  tinker_tokenizer_stream_release(s);
  free(joined);
}

static void answer(tinker_tokenizer_t *t, int op, char *data, size_t len) {
  int32_t *ids = (int32_t *)(void *)data; /* from malloc: aligned */
  switch (op) {
  case 'e': encode(t, 0, data, len); break;
  case 'E': encode(t, TINKER_ENCODE_ADD_SPECIAL, data, len); break;
  case 't': encode(t, TINKER_ENCODE_SPECIAL_TEXT, data, len); break;
  case 'd': decode(t, 0, ids, len / 4); break;
  case 'D': decode(t, TINKER_DECODE_SKIP_SPECIAL, ids, len / 4); break;
  case 's': stream(t, ids, len / 4); break;
  default: answer_failure(TINKER_EINVAL);
  }
}

static int serve(tinker_tokenizer_t *t) {
  int op;
  while ((op = getchar()) != EOF) {
    unsigned char b[4];
    if (fread(b, 1, 4, stdin) != 4) return 3;
    size_t len = (size_t)b[0] | (size_t)b[1] << 8 | (size_t)b[2] << 16 |
                 (size_t)b[3] << 24;
    char *data = malloc(len + 1);
    if (!data || fread(data, 1, len, stdin) != len) {
      free(data);
      return 3;
    }
    answer(t, op, data, len);
    free(data);
  }
  return 0;
}

int main(int argc, char **argv) {
  tinker_tokenizer_options_t options;
  tinker_tokenizer_t *t = NULL;
  char why[512] = "";
  if (argc < 2) return 1;
  tinker_tokenizer_options_init(&options);
  options.no_jit = argc > 2 && strcmp(argv[2], "nojit") == 0;
  int rc = why_tokenizer_file(&t, argv[1], &options, why, sizeof why);
  if (rc) {
    printf("%s: %s\n", tinker_code_name(rc), why);
    return 2;
  }
  rc = serve(t);
  tinker_tokenizer_release(t);
  return rc;
}
