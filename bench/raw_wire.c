/* raw_wire: see raw_wire.h. One thread. */
#include "raw_wire.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PART_BYTES 5000000 /* fwdbwd_max_chunk_bytes_count's default */
#define HEAD 64            /* bytes of a message's heads at most */

/* --- Writing -------------------------------------------------------------- */

static void *grow(void *p, size_t size) {
  p = realloc(p, size);
  if (!p) fail("out of memory");
  return p;
}

/* Room for the pieces and the text of a body: both stay where they are. */
static void clear(body_t *b, size_t pieces, size_t text) {
  b->count = b->text_len = b->len = 0;
  if (pieces > b->cap) b->pieces = grow(b->pieces, pieces * sizeof(piece_t));
  if (pieces > b->cap) b->cap = pieces;
  if (text > b->text_cap) b->text = grow(b->text, text);
  if (text > b->text_cap) b->text_cap = text;
}

static void add(body_t *b, const void *data, size_t len) {
  b->pieces[b->count++] = (piece_t){data, len};
  b->len += len;
}

/* Ends a piece of the body's own text that began at from. */
static void add_text(body_t *b, size_t from) {
  add(b, b->text + from, b->text_len - from);
}

static size_t size_of(size_t v) {
  size_t n = 1;
  for (; v >= 0x80; v >>= 7) n++;
  return n;
}

/* The size of a field with that many bytes; its number is below 16. */
static size_t field(size_t len) {
  return 1 + size_of(len) + len;
}

static void put(body_t *b, const char *text, size_t len) {
  memcpy(b->text + b->text_len, text, len);
  b->text_len += len;
}

static void put_varint(body_t *b, size_t v) {
  for (; v >= 0x80; v >>= 7) b->text[b->text_len++] = (char)(v | 0x80);
  b->text[b->text_len++] = (char)v;
}

static void put_head(body_t *b, unsigned number, size_t len) {
  b->text[b->text_len++] = (char)(number << 3 | 2);
  put_varint(b, len);
}

static void put_text(body_t *b, unsigned number, const char *text) {
  put_head(b, number, strlen(text));
  put(b, text, strlen(text));
}

static size_t shape_size(size_t length) {
  return field(size_of(length));
}

/* What follows the bytes of a tensor: its type and shape. */
static void put_shape(body_t *b, unsigned type, size_t length) {
  char head[2] = {3 << 3, (char)type};
  put(b, head, 2);
  put_head(b, 4, size_of(length));
  put_varint(b, length);
}

/* An entry of loss_fn_inputs. from: where the text before it begins. Returns
 * where the text after it begins. */
static size_t add_tensor(body_t *b, size_t from, const char *name,
                         unsigned type, const void *data, size_t bytes,
                         size_t length) {
  size_t tensor = field(bytes) + 2 + shape_size(length);
  put_head(b, 2, field(strlen(name)) + field(tensor));
  put_text(b, 1, name);
  put_head(b, 2, tensor);
  put_head(b, 1, bytes);
  add_text(b, from);
  add(b, data, bytes);
  from = b->text_len;
  put_shape(b, type, length);
  return from;
}

static size_t entry_size(const char *name, size_t bytes, size_t length) {
  size_t tensor = field(bytes) + 2 + shape_size(length);
  return field(field(strlen(name)) + field(tensor));
}

static size_t add_datum(body_t *b, size_t at, const arrays_t *a, size_t i) {
  size_t n = a->length, first = i * n;
  put_head(b, 3,
           field(field(field(4 * n))) + entry_size("target_tokens", 8 * n, n) +
               entry_size("weights", 4 * n, n));
  put_head(b, 1, field(field(4 * n)));
  put_head(b, 1, field(4 * n));
  put_head(b, 1, 4 * n);
  add_text(b, at);
  add(b, a->tokens + first, 4 * n);
  at = add_tensor(b, b->text_len, "target_tokens", 2, a->targets + first, 8 * n,
                  n);
  return add_tensor(b, at, "weights", 1, a->weights + first, 4 * n, n);
}

void raw_forward(body_t *b, const arrays_t *a, unsigned seq, size_t from,
                 size_t to) {
  size_t at = 0;
  clear(b, 2 + 6 * (to - from), 128 + 4 * HEAD * (to - from));
  put_text(b, 1, "S:train:0");
  b->text[b->text_len++] = 2 << 3;
  put_varint(b, seq);
  for (size_t i = from; i < to; i++) at = add_datum(b, at, a, i);
  put_text(b, 4, "cross_entropy");
  add_text(b, at);
}

void raw_join(body_t *b) {
  char *to = b->whole;
  if (b->len > b->whole_cap) {
    b->whole = to = grow(to, b->len);
    b->whole_cap = b->len;
  }
  for (size_t i = 0; i < b->count; i++) {
    memcpy(to, b->pieces[i].data, b->pieces[i].len);
    to += b->pieces[i].len;
  }
  b->pieces[0] = (piece_t){b->whole, b->len};
  b->count = 1;
}

size_t raw_part(const arrays_t *a) {
  size_t n = PART_BYTES / (16 * a->length);
  return n ? n : 1;
}

/* Each number below 10,000: its four figures, and its figures from the left. */
static char four[10000][4], left[10000][4];
static unsigned char figures[10000];

static void make_figures(void) {
  for (int i = 0; i < 10000; i++) {
    char text[5];
    snprintf(text, sizeof text, "%04d", i);
    memcpy(four[i], text, 4);
    figures[i] = (unsigned char)snprintf(text, sizeof text, "%d", i);
    memcpy(left[i], text, 4);
  }
}

/* v: below 100,000,000, as every id is. */
static inline char *put_number(char *to, uint32_t v) {
  uint32_t high = v / 10000;
  if (high == 0) {
    memcpy(to, left[v], 4);
    return to + figures[v];
  }
  memcpy(to, left[high], 4);
  to += figures[high];
  memcpy(to, four[v - high * 10000], 4);
  return to + 4;
}

void raw_sample(body_t *b, const arrays_t *a, size_t i) {
  static const char head[] = "{\"num_samples\":1,\"prompt\":{\"chunks\":[{"
                             "\"type\":\"encoded_text\",\"tokens\":[";
  const int32_t *tokens = a->tokens + i * a->length;
  if (!figures[0]) make_figures();
  clear(b, 1, 512 + 9 * a->length);
  put(b, head, sizeof head - 1);
  char *to = b->text + b->text_len;
  for (size_t k = 0; k < a->length; k++) {
    to = put_number(to, (uint32_t)tokens[k]);
    *to++ = ',';
  }
  b->text_len = (size_t)(to - 1 - b->text);
  b->text_len += (size_t)snprintf(
      b->text + b->text_len, 400,
      "]}]},\"sampling_params\":{\"max_tokens\":64,\"temperature\":1,"
      "\"top_k\":-1,\"top_p\":1},\"sampling_session_id\":\"S:sample:0\","
      "\"seq_id\":%zu,\"prompt_logprobs\":false,\"topk_prompt_logprobs\":0,"
      "\"type\":\"sample\"}",
      i);
  add_text(b, 0);
}

/* --- Reading -------------------------------------------------------------- */

typedef struct {
  const char *at, *end;
} span_t;

static size_t varint(span_t *s) {
  size_t v = 0;
  for (int shift = 0; s->at < s->end && shift < 64; shift += 7) {
    unsigned char b = (unsigned char)*s->at++;
    v |= (size_t)(b & 0x7f) << shift;
    if (!(b & 0x80)) break;
  }
  return v;
}

/* Takes the next field. Returns its number, 0 at the end. */
static unsigned next_field(span_t *s, span_t *bytes) {
  if (s->at == s->end) return 0;
  size_t key = varint(s), type = key & 7;
  size_t len = type == 0 ? 0 : type == 1 ? 8 : 4;
  if (type == 0) varint(s);
  if (type == 2) len = varint(s);
  if (len > (size_t)(s->end - s->at)) fail("not a message");
  *bytes = (span_t){s->at, s->at + len};
  s->at += len;
  return (unsigned)(key >> 3);
}

static span_t find(span_t s, unsigned number) {
  span_t bytes;
  for (unsigned got; (got = next_field(&s, &bytes)) != 0;) {
    if (got == number) return bytes;
  }
  return (span_t){s.end, s.end};
}

static bool is(span_t s, const char *text) {
  size_t n = strlen(text);
  return (size_t)(s.end - s.at) == n && !memcmp(s.at, text, n);
}

/* The BatchedTensor of that name in a record. */
static span_t tensor_of(span_t record, const char *name) {
  span_t entry;
  for (unsigned got; (got = next_field(&record, &entry)) != 0;) {
    if (got == 2 && is(find(entry, 1), name)) return find(entry, 2);
  }
  fail("no %s", name);
}

void raw_read_forward(const char *reply, size_t len, size_t n, size_t length) {
  span_t all = {reply, reply + len};
  span_t tensor = tensor_of(find(all, 2), "logprobs");
  span_t data = find(tensor, 1), offsets = find(tensor, 2);
  if ((size_t)(offsets.end - offsets.at) != 8 * (n + 1)) fail("other offsets");
  for (size_t i = 0; i < n; i++) {
    int64_t ends[2];
    memcpy(ends, offsets.at + 8 * i, sizeof ends);
    if (ends[0] < 0 || ends[1] > data.end - data.at) fail("an offset");
    check_logprobs(data.at + ends[0], (size_t)(ends[1] - ends[0]) / 4, length);
  }
}

void raw_read_sample(const char *reply, size_t len, size_t tokens) {
  span_t all = {reply, reply + len};
  span_t ids = find(find(all, 1), 2);
  int32_t second;
  if ((size_t)(ids.end - ids.at) != 4 * tokens) fail("another sample");
  memcpy(&second, ids.at + 4, 4);
  if (second != 1001) fail("another sample");
}
