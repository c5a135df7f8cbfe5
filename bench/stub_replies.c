/* stub_replies: see stub_replies.h. Every failure of an allocation ends the
 * program. */
#include "stub_replies.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SHAPES 64     /* different forward_backwards that a bench may send */
#define EXAMPLES 8192 /* of one forward_backward */

typedef struct {
  uint32_t *lengths; /* tokens of each example */
  size_t n;
  stub_reply_t reply;
} shape_t;

static shape_t shapes[SHAPES];
static size_t shape_count;

static void *take(size_t size) {
  void *p = malloc(size ? size : 1);
  if (!p) {
    fputs("bench_stub: out of memory\n", stderr);
    exit(1);
  }
  return p;
}

/* --- Writing -------------------------------------------------------------- */

/* Text that grows at its end. */
typedef struct {
  uint8_t *data;
  size_t len, cap;
} text_t;

static uint8_t *grow(text_t *t, size_t n) {
  if (t->len + n > t->cap) {
    uint8_t *data = take(2 * (t->len + n));
    if (t->len) memcpy(data, t->data, t->len);
    free(t->data);
    t->data = data;
    t->cap = 2 * (t->len + n);
  }
  t->len += n;
  return t->data + t->len - n;
}

static void add_varint(text_t *t, uint64_t v) {
  for (; v >= 0x80; v >>= 7) *grow(t, 1) = (uint8_t)(v | 0x80);
  *grow(t, 1) = (uint8_t)v;
}

static void add_bytes(text_t *t, int field, const void *data, size_t n) {
  add_varint(t, (uint64_t)field << 3 | 2);
  add_varint(t, n);
  memcpy(grow(t, n), data, n);
}

static void add_number(text_t *t, int field, uint64_t v) {
  add_varint(t, (uint64_t)field << 3);
  add_varint(t, v);
}

/* Appends a message as a field, and frees it. */
static void add_message(text_t *t, int field, text_t *message) {
  add_bytes(t, field, message->data, message->len);
  free(message->data);
}

static stub_reply_t reply_of(const char *type, const void *body, size_t len) {
  stub_reply_t r = {take(len + 128), 0};
  int head = snprintf(r.data, 128,
                      "HTTP/1.1 200 OK\r\nContent-Type: %s\r\n"
                      "Content-Length: %zu\r\n\r\n",
                      type, len);
  memcpy(r.data + head, body, len);
  r.len = (size_t)head + len;
  return r;
}

stub_reply_t stub_json(const char *body) {
  return reply_of("application/json", body, strlen(body));
}

static stub_reply_t reply_of_message(text_t *message) {
  stub_reply_t r =
      reply_of("application/x-protobuf", message->data, message->len);
  free(message->data);
  return r;
}

/* --- Answers -------------------------------------------------------------- */

stub_reply_t stub_sample(void) {
  text_t all = {0}, sequence = {0};
  int32_t tokens[STUB_SAMPLED];
  float logprobs[STUB_SAMPLED];
  for (int i = 0; i < STUB_SAMPLED; i++) {
    tokens[i] = 1000 + i;
    logprobs[i] = -(float)i / STUB_SAMPLED;
  }
  add_number(&sequence, 1, 1);
  add_bytes(&sequence, 2, tokens, sizeof tokens);
  add_bytes(&sequence, 3, logprobs, sizeof logprobs);
  add_message(&all, 1, &sequence);
  return reply_of_message(&all);
}

/* A field of a record: one float for each token, negative or positive. */
static void add_tensor(text_t *record, const char *name, const shape_t *s,
                       float sign) {
  text_t tensor = {0}, entry = {0};
  uint64_t at = 0, *offsets = take((s->n + 1) * sizeof *offsets);
  size_t total = 0;
  for (size_t i = 0; i < s->n; i++) total += s->lengths[i];
  float *values = take(total * sizeof *values);
  for (size_t i = 0; i < s->n; i++) {
    offsets[i] = at * sizeof *values;
    for (uint32_t k = 0; k < s->lengths[i]; k++) {
      values[at++] = sign * (float)(k % 997) / 997;
    }
  }
  offsets[s->n] = at * sizeof *values;
  add_bytes(&tensor, 1, values, total * sizeof *values);
  add_bytes(&tensor, 2, offsets, (s->n + 1) * sizeof *offsets);
  add_number(&tensor, 3, 1);
  add_bytes(&entry, 1, name, strlen(name));
  add_message(&entry, 2, &tensor);
  add_message(record, 2, &entry);
  free(values);
  free(offsets);
}

/* The service's outputs of cross-entropy. */
static stub_reply_t build(const shape_t *s) {
  static const char type[] = "CrossEntropyLossReturn", sum[] = "loss:sum";
  text_t all = {0}, record = {0}, metric = {0};
  double loss = 1.5;
  add_bytes(&all, 1, type, sizeof type - 1);
  add_tensor(&record, "logprobs", s, -1);
  add_tensor(&record, "elementwise_loss", s, 1);
  add_number(&record, 3, s->n);
  add_message(&all, 2, &record);
  add_bytes(&metric, 1, sum, sizeof sum - 1);
  add_varint(&metric, 2 << 3 | 1);
  memcpy(grow(&metric, sizeof loss), &loss, sizeof loss);
  add_message(&all, 3, &metric);
  return reply_of_message(&all);
}

/* --- Reading -------------------------------------------------------------- */

typedef struct {
  const uint8_t *at, *end;
} span_t;

typedef struct {
  uint64_t field, number; /* number: of a varint */
  span_t bytes;           /* of a length-delimited field */
} field_t;

static bool read_varint(span_t *s, uint64_t *out) {
  *out = 0;
  for (int shift = 0; s->at < s->end && shift < 64; shift += 7) {
    uint8_t b = *s->at++;
    *out |= (uint64_t)(b & 0x7f) << shift;
    if (!(b & 0x80)) return true;
  }
  return false;
}

/* Takes the next field. Returns false at the end and where the text is not a
 * message; then at is not end. */
static bool next_field(span_t *s, field_t *f) {
  uint64_t key, len;
  span_t left = *s;
  if (left.at == left.end || !read_varint(&left, &key)) return false;
  f->field = key >> 3;
  f->bytes = (span_t){left.at, left.at};
  switch (key & 7) {
  case 0:
    if (!read_varint(&left, &f->number)) return false;
    break;
  case 1: len = 8; goto skip;
  case 5: len = 4; goto skip;
  case 2:
    if (!read_varint(&left, &len)) return false;
  skip:
    if (len > (uint64_t)(left.end - left.at)) return false;
    f->bytes = (span_t){left.at, left.at + len};
    left.at += len;
    break;
  default: return false;
  }
  *s = left;
  return true;
}

/* The first field of that number, else an empty span. */
static span_t find(span_t s, uint64_t field) {
  field_t f;
  while (next_field(&s, &f)) {
    if (f.field == field) return f.bytes;
  }
  return (span_t){s.end, s.end};
}

/* The tokens of an example: model_input, encoded_text, tokens. */
static uint32_t length_of(span_t datum) {
  span_t tokens = find(find(find(datum, 1), 1), 1);
  return (uint32_t)((size_t)(tokens.end - tokens.at) / sizeof(int32_t));
}

static size_t shape_of(const uint32_t *lengths, size_t n) {
  size_t size = n * sizeof *lengths;
  for (size_t i = 0; i < shape_count; i++) {
    if (shapes[i].n == n && !memcmp(shapes[i].lengths, lengths, size)) return i;
  }
  if (shape_count == SHAPES) {
    fputs("bench_stub: too many different shapes\n", stderr);
    exit(1);
  }
  shape_t *s = &shapes[shape_count];
  s->n = n;
  s->lengths = memcpy(take(size), lengths, size);
  s->reply = build(s);
  return shape_count++;
}

int stub_forward_read(const uint8_t *body, size_t len, stub_forward_t *out) {
  static uint32_t lengths[EXAMPLES];
  span_t all = {body, body + len};
  field_t f;
  *out = (stub_forward_t){0};
  while (next_field(&all, &f)) {
    if (f.field == 2) out->seq = f.number;
    if (f.field != 3) continue;
    if (out->examples == EXAMPLES) return -1;
    lengths[out->examples++] = length_of(f.bytes);
  }
  if (all.at != all.end) return -1;
  out->shape = shape_of(lengths, out->examples);
  return 0;
}

const stub_reply_t *stub_forward(size_t shape) {
  return shape < shape_count ? &shapes[shape].reply : NULL;
}
