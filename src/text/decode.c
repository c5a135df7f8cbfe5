/* decode: ids to text, all at once or one by one. Tokens are bytes; only what
 * they join to is text. A stream holds back the bytes of a character that is
 * not complete yet: three at most. */
#include <string.h>
#include <tinker/error.h>

#include "text/tokenizer.h"
#include "text/utf8.h"

#define KNOWN_FLAGS TINKER_DECODE_SKIP_SPECIAL

struct tinker_tokenizer_stream_s {
  tinker_tokenizer_t *tokenizer;
  uint32_t flags;
  char held[4];
  size_t num_held;
  tinker__buf_t out;
};

/* Bytes that an id adds to a text. They are none for an id without a token,
 * which a model with a padded vocabulary may sample, and for a token that the
 * flags leave out. TINKER_EINVAL for an id below 0. */
static int token_bytes(const tinker_tokenizer_t *t, int32_t id, uint32_t flags,
                       tinker__str_t *bytes) {
  if (id < 0) return TINKER_EINVAL;
  if (!tinker__strings_get(&t->bytes, (uint32_t)id, bytes) ||
      ((flags & TINKER_DECODE_SKIP_SPECIAL) && t->special[id])) {
    *bytes = (tinker__str_t){"", 0};
  }
  return 0;
}

/* Appends the text that the bytes form; returns how many bytes at their end
 * may be the start of a character. */
static size_t append_text(tinker__buf_t *out, const char *bytes, size_t len) {
  size_t done = 0, i = 0;
  while (i < len) {
    uint32_t cp;
    int n = tinker__utf8_next(bytes + i, len - i, &cp);
    if (n > 0) {
      i += (size_t)n;
      continue;
    }
    tinker__buf_add(out, bytes + done, i - done);
    if (n == 0) return len - i;
    tinker__buf_adds(out, "\xef\xbf\xbd");
    i += (size_t)-n;
    done = i;
  }
  tinker__buf_add(out, bytes + done, i - done);
  return 0;
}

static int join(const tinker_tokenizer_t *t, const int32_t *ids, size_t n,
                uint32_t flags, tinker__buf_t *out) {
  tinker__str_t bytes;
  for (size_t i = 0; i < n; i++) {
    int rc = token_bytes(t, ids[i], flags, &bytes);
    if (rc == 0) rc = tinker__buf_add(out, bytes.ptr, bytes.len);
    if (rc) return rc;
  }
  return 0;
}

int tinker_tokenizer_decode(const tinker_tokenizer_t *tokenizer,
                            const int32_t *ids, size_t n, uint32_t flags,
                            char **text, size_t *len) {
  tinker__buf_t bytes, out;
  if (!tokenizer || !text || (n && !ids) || (flags & ~KNOWN_FLAGS)) {
    return TINKER_EINVAL;
  }
  tinker__buf_init(&bytes, tokenizer->mem, INT32_MAX);
  tinker__buf_init(&out, tokenizer->mem, SIZE_MAX / 2);
  int rc = join(tokenizer, ids, n, flags, &bytes);
  if (rc == 0 && append_text(&out, bytes.data ? bytes.data : "", bytes.len)) {
    tinker__buf_adds(&out, "\xef\xbf\xbd");
  }
  if (rc == 0 && !tinker__buf_cstr(&out)) rc = TINKER_ENOMEM;
  if (rc == 0) rc = tinker__buf_error(&out);
  if (rc == 0) *text = tinker__buf_take(&out, len);
  tinker__buf_free(&bytes);
  tinker__buf_free(&out);
  return rc;
}

int tinker_tokenizer_token_bytes(const tinker_tokenizer_t *tokenizer,
                                 int32_t id, const char **bytes, size_t *len) {
  tinker__str_t s;
  if (!tokenizer || !bytes || !len) return TINKER_EINVAL;
  if (id < 0 || !tinker__strings_get(&tokenizer->bytes, (uint32_t)id, &s)) {
    return TINKER_ENOENT;
  }
  *bytes = s.ptr;
  *len = s.len;
  return 0;
}

int tinker_tokenizer_is_special(const tinker_tokenizer_t *tokenizer,
                                int32_t id) {
  return tokenizer && id >= 0 && (uint32_t)id < tokenizer->bytes.size &&
         tokenizer->special[id];
}

int tinker_tokenizer_stream_new(tinker_tokenizer_stream_t **out,
                                tinker_tokenizer_t *tokenizer, uint32_t flags) {
  if (!out || !tokenizer || (flags & ~KNOWN_FLAGS)) return TINKER_EINVAL;
  tinker_tokenizer_stream_t *s = tinker__mem_zalloc(tokenizer->mem, sizeof *s);
  if (!s) return TINKER_ENOMEM;
  s->tokenizer = tinker_tokenizer_retain(tokenizer);
  s->flags = flags;
  tinker__buf_init(&s->out, tokenizer->mem, SIZE_MAX / 2);
  *out = s;
  return 0;
}

/* Turns held bytes and new ones into text; an incomplete character is held. */
static int advance(tinker_tokenizer_stream_t *s, tinker__str_t bytes) {
  tinker__buf_t joined;
  size_t held = 0;
  tinker__buf_init(&joined, s->tokenizer->mem, SIZE_MAX / 2);
  tinker__buf_add(&joined, s->held, s->num_held);
  tinker__buf_add(&joined, bytes.ptr, bytes.len);
  int rc = tinker__buf_error(&joined);
  tinker__buf_clear(&s->out);
  if (rc == 0 && joined.len) {
    held = append_text(&s->out, joined.data, joined.len);
  }
  if (rc == 0) rc = tinker__buf_error(&s->out);
  if (rc == 0 && !tinker__buf_cstr(&s->out)) rc = TINKER_ENOMEM;
  if (rc == 0) {
    if (held) memcpy(s->held, joined.data + joined.len - held, held);
    s->num_held = held;
  }
  tinker__buf_free(&joined);
  return rc;
}

static void give_out(const tinker_tokenizer_stream_t *s, const char **text,
                     size_t *len) {
  *text = s->out.data;
  *len = s->out.len;
}

int tinker_tokenizer_stream_push(tinker_tokenizer_stream_t *stream, int32_t id,
                                 const char **text, size_t *len) {
  tinker__str_t bytes;
  if (!stream || !text || !len) return TINKER_EINVAL;
  int rc = token_bytes(stream->tokenizer, id, stream->flags, &bytes);
  if (rc == 0) rc = advance(stream, bytes);
  if (rc == 0) give_out(stream, text, len);
  return rc;
}

int tinker_tokenizer_stream_finish(tinker_tokenizer_stream_t *stream,
                                   const char **text, size_t *len) {
  if (!stream || !text || !len) return TINKER_EINVAL;
  tinker__buf_clear(&stream->out);
  if (stream->num_held) tinker__buf_adds(&stream->out, "\xef\xbf\xbd");
  if (tinker__buf_error(&stream->out) || !tinker__buf_cstr(&stream->out)) {
    return TINKER_ENOMEM;
  }
  stream->num_held = 0;
  give_out(stream, text, len);
  return 0;
}

tinker_tokenizer_stream_t *
tinker_tokenizer_stream_release(tinker_tokenizer_stream_t *stream) {
  if (!stream) return NULL;
  tinker_tokenizer_t *t = stream->tokenizer;
  tinker__buf_free(&stream->out);
  tinker__mem_free(t->mem, stream);
  tinker_tokenizer_release(t);
  return NULL;
}
