/* body: see body.h. */
#include "wire/body_write.h"

#include <string.h>
#include <tinker/error.h>

#include "base/json_write.h"

#define MAX_BODY ((size_t)INT32_MAX)

void tinker__wire_body_init(tinker__wire_body_t *b, tinker__mem_t *mem) {
  *b = (tinker__wire_body_t){.mem = mem};
}

void tinker__wire_body_free(tinker__wire_body_t *b) {
  for (size_t i = 0; i < b->count; i++) tinker__shared_release(b->held[i]);
  tinker__mem_free(b->mem, b->held);
  tinker__mem_free(b->mem, b->list);
  tinker__mem_free(b->mem, b->block);
  tinker__wire_body_init(b, b->mem);
}

int tinker__wire_body_given(tinker__wire_body_t *b, tinker__str_t bytes) {
  b->block = tinker__mem_alloc(b->mem, bytes.len);
  if (!b->block) return TINKER_ENOMEM;
  memcpy(b->block, bytes.ptr, bytes.len);
  b->first = bytes.len;
  b->estimate = bytes.len;
  b->stamped = true;
  return 0;
}

static size_t put_varint(unsigned char *p, uint64_t v) {
  size_t n = 0;
  for (; v >= 0x80; v >>= 7) p[n++] = (unsigned char)(v | 0x80);
  p[n++] = (unsigned char)v;
  return n;
}

/* Fields 1 (string) and 2 (int32) of ForwardBackwardRequest. */
static int proto_head(tinker__buf_t *out, tinker__str_t id, int64_t seq_id) {
  unsigned char v[10];
  if (!tinker__utf8_valid(id.ptr, id.len)) {
    return tinker__buf_fail(out, TINKER_EINVAL);
  }
  tinker__buf_addc(out, 0x0a);
  tinker__buf_add(out, v, put_varint(v, id.len));
  tinker__buf_add(out, id.ptr, id.len);
  tinker__buf_addc(out, 0x10);
  return tinker__buf_add(out, v, put_varint(v, (uint64_t)seq_id));
}

/* The start of the object, up to the comma after the number. */
static int json_head(tinker__buf_t *out, const char *key, tinker__str_t id,
                     int64_t seq_id) {
  tinker__jsonw_t w;
  tinker__jsonw_init(&w, out);
  tinker__jsonw_begin_object(&w);
  tinker__jsonw_key(&w, key);
  tinker__jsonw_str(&w, id);
  tinker__jsonw_key(&w, "seq_id");
  tinker__jsonw_i64(&w, seq_id);
  return tinker__buf_addc(out, ',');
}

static int head(tinker__buf_t *out, tinker__body_kind_t kind, tinker__str_t id,
                int64_t seq_id) {
  if (kind == TINKER__BODY_PROTO) return proto_head(out, id, seq_id);
  return json_head(
      out, kind == TINKER__BODY_MODEL ? "model_id" : "sampling_session_id", id,
      seq_id);
}

/* The head is written where the gap begins, and moved to its end. */
int tinker__wire_body_stamp(tinker__wire_body_t *b, tinker__str_t id,
                            int64_t seq_id) {
  tinker__buf_t text = {b->mem, b->block, 0, b->gap, b->gap, 0};
  if (seq_id < 0) return TINKER_EINVAL;
  if (b->kind == TINKER__BODY_PROTO && seq_id > INT32_MAX) {
    return TINKER_EOVERFLOW;
  }
  int rc = head(&text, b->kind, id, seq_id);
  if (rc) return rc;
  b->start = b->gap - text.len;
  memmove(b->block + b->start, b->block, text.len);
  if (b->list) {
    b->list[0].data = b->block + b->start;
    b->list[0].count = b->first - b->start;
  }
  b->stamped = true;
  return 0;
}

tinker__str_t tinker__wire_body_str(const tinker__wire_body_t *b) {
  const size_t len = b->first - b->start + b->rest;
  if (!b->block) return TINKER__STR("");
  return (tinker__str_t){b->list ? NULL : b->block + b->start, len};
}

tinker__pieces_t tinker__wire_body_pieces(const tinker__wire_body_t *b) {
  return (tinker__pieces_t){b->list, b->count, tinker__wire_body_str(b).len};
}

tinker__pieces_t tinker__wire_body_all(const tinker__wire_body_t *b,
                                       tinker__piece_t *whole) {
  tinker__str_t str = tinker__wire_body_str(b);
  if (b->list) return tinker__wire_body_pieces(b);
  *whole = (tinker__piece_t){str.ptr, str.len, false};
  return (tinker__pieces_t){whole, 1, str.len};
}

int tinker__wire_body_copy(const tinker__wire_body_t *b, tinker__buf_t *out) {
  tinker__piece_t whole;
  tinker__pieces_t pieces = tinker__wire_body_all(b, &whole);
  return tinker__pieces_copy(&pieces, out);
}

int tinker__wire_body_sha256(const tinker__wire_body_t *b,
                             unsigned char out[TINKER__SHA256_LEN]) {
  tinker__piece_t whole;
  tinker__pieces_t pieces = tinker__wire_body_all(b, &whole);
  return tinker__pieces_sha256(&pieces, b->mem, out);
}

/* --- writing --- */

/* Bytes of gap that a stamp with this id can need. */
static size_t gap_for(tinker__body_kind_t kind, tinker__str_t id) {
  if (kind == TINKER__BODY_PROTO) return 1 + 10 + id.len + 1 + 10;
  /* A character that is escaped takes six bytes; those above 0x7f that are
   * have two bytes at least. */
  size_t escaped = 0;
  for (size_t i = 0; i < id.len; i++) {
    unsigned char c = (unsigned char)id.ptr[i];
    if (c < 0x20 || c == 0x7f) {
      escaped += 6;
    } else if (c > 0x7f) {
      escaped += 3;
    } else {
      escaped += c == '"' || c == '\\' ? 2 : 1;
    }
  }
  return escaped + 64;
}

void tinker__body_begin(tinker__body_writer_t *w, tinker__wire_body_t *b,
                        tinker__mem_t *mem, tinker__body_kind_t kind,
                        tinker__str_t id, size_t room) {
  tinker__wire_body_init(b, mem);
  b->kind = kind;
  b->gap = b->start = gap_for(kind, id);
  *w = (tinker__body_writer_t){.body = b};
  tinker__buf_init(&w->text, mem, MAX_BODY);
  if (!tinker__buf_reserve(&w->text, b->gap + room)) {
    memset(w->text.data, 0, b->gap);
    w->text.len = b->gap;
  }
}

/* Room for one more piece. */
static bool grow(tinker__body_writer_t *w) {
  tinker__wire_body_t *b = w->body;
  size_t cap = w->cap ? 2 * w->cap : 8;
  if (b->count < w->cap) return true;
  tinker__piece_t *list =
      tinker__mem_realloc(b->mem, b->list, cap * sizeof(*list));
  if (list) b->list = list;
  void **held = tinker__mem_realloc(b->mem, b->held, cap * sizeof(*held));
  if (held) b->held = held;
  if (!list || !held) {
    tinker__buf_fail(&w->text, TINKER_ENOMEM);
    return false;
  }
  w->cap = cap;
  return true;
}

/* data: of a piece without owner its offset in the text, which moves while it
 * grows. */
static void add(tinker__body_writer_t *w, const void *data, size_t count,
                bool ids, void *owner) {
  tinker__wire_body_t *b = w->body;
  if (!count || tinker__buf_error(&w->text) || !grow(w)) return;
  b->list[b->count] = (tinker__piece_t){data, count, ids};
  b->held[b->count] = owner ? tinker__shared_retain(owner) : NULL;
  b->count++;
}

static const void *offset(size_t at) {
  return (const void *)(uintptr_t)at;
}

/* The text since the last cut becomes a piece. */
static void cut(tinker__body_writer_t *w) {
  add(w, offset(w->cut), w->text.len - w->cut, false, NULL);
  w->cut = w->text.len;
}

void tinker__body_bytes(tinker__body_writer_t *w, const void *data, size_t len,
                        void *owner) {
  if (!owner || len < TINKER__BODY_SHARE_MIN) {
    tinker__buf_add(&w->text, data, len);
    return;
  }
  cut(w);
  add(w, data, len, false, owner);
}

void tinker__body_ids(tinker__body_writer_t *w, const int32_t *ids, size_t n,
                      void *owner) {
  cut(w);
  if (owner) {
    add(w, ids, n, true, owner);
    return;
  }
  while (!tinker__buf_error(&w->text) && w->text.len % sizeof(*ids)) {
    tinker__buf_addc(&w->text, 0); /* aligned; in no piece */
  }
  add(w, offset(w->text.len), n, true, NULL);
  tinker__buf_add(&w->text, ids, n * sizeof(*ids));
  w->cut = w->text.len;
}

/* Offsets become pointers; the length is that of all but the first piece. */
static void settle(tinker__wire_body_t *b) {
  for (size_t i = 0; i < b->count; i++) {
    tinker__piece_t *p = &b->list[i];
    if (!b->held[i]) p->data = b->block + (uintptr_t)p->data;
    if (i) b->rest += tinker__piece_len(p);
  }
  b->first = b->list[0].count;
}

int tinker__body_end(tinker__body_writer_t *w) {
  tinker__wire_body_t *b = w->body;
  if (b->count) cut(w);
  int rc = tinker__buf_error(&w->text);
  b->first = w->text.len;
  b->block = tinker__buf_take(&w->text, NULL);
  if (!rc && b->list) settle(b);
  if (!rc && b->rest + b->first > MAX_BODY) rc = TINKER_EOVERFLOW;
  if (rc) tinker__wire_body_free(b);
  return rc;
}
