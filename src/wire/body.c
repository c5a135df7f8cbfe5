/* body: see body.h. */
#include "wire/body.h"

#include <string.h>
#include <tinker/error.h>

#include "base/json_write.h"

void tinker__wire_body_init(tinker__wire_body_t *b, tinker__mem_t *mem) {
  *b = (tinker__wire_body_t){.mem = mem};
}

void tinker__wire_body_free(tinker__wire_body_t *b) {
  tinker__mem_free(b->mem, b->block);
  tinker__wire_body_init(b, b->mem);
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

int tinker__wire_body_stamp(tinker__wire_body_t *b, tinker__str_t id,
                            int64_t seq_id) {
  tinker__buf_t text;
  int rc;
  if (seq_id < 0) return TINKER_EINVAL;
  if (b->kind == TINKER__BODY_PROTO && seq_id > INT32_MAX) {
    return TINKER_EOVERFLOW;
  }
  tinker__buf_init(&text, b->mem, b->gap);
  rc = head(&text, b->kind, id, seq_id);
  if (!rc) {
    b->start = b->gap - text.len;
    memcpy(b->block + b->start, text.data, text.len);
    b->stamped = true;
  }
  tinker__buf_free(&text);
  return rc;
}

tinker__str_t tinker__wire_body_str(const tinker__wire_body_t *b) {
  return b->block ? (tinker__str_t){b->block + b->start, b->len - b->start}
                  : TINKER__STR("");
}

size_t tinker__wire_body_gap(tinker__body_kind_t kind, tinker__str_t id) {
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

int tinker__wire_body_take(tinker__wire_body_t *b, tinker__body_kind_t kind,
                           tinker__buf_t *buf, size_t gap) {
  int rc = tinker__buf_error(buf);
  if (rc) {
    tinker__buf_free(buf);
    return rc;
  }
  tinker__mem_free(b->mem, b->block);
  b->block = tinker__buf_take(buf, &b->len);
  b->gap = b->start = gap;
  b->kind = kind;
  b->stamped = false;
  return 0;
}
