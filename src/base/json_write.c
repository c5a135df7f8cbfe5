/* json_write: see json_write.h. */
#include "base/json_write.h"

#include <math.h>
#include <string.h>
#include <tinker/error.h>

#include "base/ids.h"
#include "base/show.h"

void tinker__jsonw_init(tinker__jsonw_t *w, tinker__buf_t *out) {
  *w = (tinker__jsonw_t){.out = out};
}

static void value(tinker__jsonw_t *w) {
  if (w->need_comma) tinker__buf_addc(w->out, ',');
  w->need_comma = true;
}

static void open(tinker__jsonw_t *w, char c) {
  value(w);
  tinker__buf_addc(w->out, c);
  w->need_comma = false;
}

static void close(tinker__jsonw_t *w, char c) {
  tinker__buf_addc(w->out, c);
  w->need_comma = true;
}

void tinker__jsonw_begin_object(tinker__jsonw_t *w) {
  open(w, '{');
}

void tinker__jsonw_end_object(tinker__jsonw_t *w) {
  close(w, '}');
}

void tinker__jsonw_begin_array(tinker__jsonw_t *w) {
  open(w, '[');
}

void tinker__jsonw_end_array(tinker__jsonw_t *w) {
  close(w, ']');
}

static void put_escape(tinker__buf_t *b, unsigned c) {
  static const char hex[] = "0123456789abcdef";
  char text[6] = {
      '\\', 'u', hex[c >> 12], hex[c >> 8 & 15], hex[c >> 4 & 15], hex[c & 15]};
  size_t n = 2;
  switch (c) {
  case '"':
  case '\\': text[1] = (char)c; break;
  case '\n': text[1] = 'n'; break;
  case '\r': text[1] = 'r'; break;
  case '\t': text[1] = 't'; break;
  default: n = 6;
  }
  tinker__buf_add(b, text, n);
}

#define EACH(c) (UINT64_MAX / 255 * (c)) /* a byte, eight times */

/* Bytes that are 0 get their highest bit set; above the first of them others
 * may, too. */
static uint64_t zeros(uint64_t bytes) {
  return (bytes - EACH(1)) & ~bytes;
}

/* Has none of eight bytes to be escaped? */
static bool are_plain(uint64_t b) {
  uint64_t bad = b | (b - EACH(0x20)) | zeros(b ^ EACH('"')) |
                 zeros(b ^ EACH('\\')) | zeros(b ^ EACH(0x7f));
  return !(bad & EACH(0x80));
}

/* Does it stand in JSON as it is? So do nearly all names. */
static bool is_plain(tinker__str_t s) {
  uint64_t bytes = EACH(' ');
  size_t i = 0;
  for (; s.len - i >= sizeof bytes; i += sizeof bytes) {
    memcpy(&bytes, s.ptr + i, sizeof bytes);
    if (!are_plain(bytes)) return false;
  }
  bytes = EACH(' ');
  if (s.len > i) memcpy(&bytes, s.ptr + i, s.len - i);
  return are_plain(bytes);
}

static void put_plain(tinker__buf_t *b, tinker__str_t s) {
  if (s.len > SIZE_MAX - 2 || tinker__buf_reserve(b, s.len + 2)) return;
  char *to = b->data + b->len;
  *to++ = '"';
  if (s.len) memcpy(to, s.ptr, s.len);
  to[s.len] = '"';
  b->len += s.len + 2;
}

static void put_string(tinker__buf_t *b, tinker__str_t s) {
  const char *p = s.ptr, *end = p + s.len, *run = p;
  if (is_plain(s)) {
    put_plain(b, s);
    return;
  }
  if (!tinker__utf8_valid(p, s.len)) {
    tinker__buf_fail(b, TINKER_EINVAL);
    return;
  }
  tinker__buf_addc(b, '"');
  while (p < end) {
    unsigned c = (unsigned char)*p;
    size_t n = c == '"' || c == '\\' ? 1 : 0;
    if (c < 0x20 || c >= 0x7f) n = tinker__hidden_step(p, end, &c);
    if (!n) {
      p++;
      continue;
    }
    tinker__buf_add(b, run, (size_t)(p - run));
    put_escape(b, c);
    run = p += n;
  }
  tinker__buf_add(b, run, (size_t)(p - run));
  tinker__buf_addc(b, '"');
}

void tinker__jsonw_key(tinker__jsonw_t *w, const char *key) {
  tinker__jsonw_keyn(w, tinker__str(key));
}

void tinker__jsonw_keyn(tinker__jsonw_t *w, tinker__str_t key) {
  value(w);
  put_string(w->out, key);
  tinker__buf_addc(w->out, ':');
  w->need_comma = false;
}

void tinker__jsonw_str(tinker__jsonw_t *w, tinker__str_t s) {
  value(w);
  put_string(w->out, s);
}

void tinker__jsonw_raw(tinker__jsonw_t *w, tinker__str_t json) {
  value(w);
  tinker__buf_add(w->out, json.ptr, json.len);
}

void tinker__jsonw_null(tinker__jsonw_t *w) {
  tinker__jsonw_raw(w, TINKER__STR("null"));
}

void tinker__jsonw_cstr(tinker__jsonw_t *w, const char *s) {
  if (s) {
    tinker__jsonw_str(w, tinker__str(s));
  } else {
    tinker__jsonw_null(w);
  }
}

void tinker__jsonw_bool(tinker__jsonw_t *w, bool v) {
  tinker__jsonw_raw(w, v ? TINKER__STR("true") : TINKER__STR("false"));
}

void tinker__jsonw_i64(tinker__jsonw_t *w, int64_t v) {
  char text[24];
  size_t n = tinker__format_i64(text, v);
  tinker__jsonw_raw(w, (tinker__str_t){text, n});
}

void tinker__jsonw_u64(tinker__jsonw_t *w, uint64_t v) {
  char text[24];
  size_t n = (size_t)(tinker__put_u64(text, v) - text);
  tinker__jsonw_raw(w, (tinker__str_t){text, n});
}

/* Marks the n bytes of a number as a float: strict readers take 0 for an
 * integer. Returns the length with the mark; it needs two bytes more. */
static size_t mark_float(char *text, size_t n) {
  for (size_t i = 0; i < n; i++) {
    if (text[i] == '.' || text[i] == 'e') return n;
  }
  memcpy(text + n, ".0", 2);
  return n + 2;
}

void tinker__jsonw_f64(tinker__jsonw_t *w, double v) {
  char text[34];
  if (!isfinite(v)) {
    tinker__jsonw_null(w);
    return;
  }
  size_t n = mark_float(text, tinker__format_f64(text, v));
  tinker__jsonw_raw(w, (tinker__str_t){text, n});
}

void tinker__jsonw_f32(tinker__jsonw_t *w, float v) {
  char text[34];
  if (!isfinite(v)) {
    tinker__jsonw_null(w);
    return;
  }
  size_t n = mark_float(text, tinker__format_f32(text, v));
  tinker__jsonw_raw(w, (tinker__str_t){text, n});
}

/* Arrays are written in blocks: one check of the room for many numbers. */
#define BLOCK 512

static char *put_i64(char *p, int64_t v) {
  if (v < 0) *p++ = '-';
  uint64_t mag = v < 0 ? 0 - (uint64_t)v : (uint64_t)v;
  return mag <= UINT32_MAX ? tinker__put_u32(p, (uint32_t)mag)
                           : tinker__put_u64(p, mag);
}

static char *put_f32(char *p, float v) {
  if (!isfinite(v)) {
    memcpy(p, "null", 4);
    return p + 4;
  }
  return p + mark_float(p, tinker__format_f32(p, v));
}

/* The n numbers from v on, each with a comma after. */
static bool put_block_i32(tinker__buf_t *b, const int32_t *v, size_t n) {
  if (tinker__buf_reserve(b, n * TINKER__ID_MAX + TINKER__IDS_SLACK)) {
    return false;
  }
  char *p = tinker__put_ids(b->data + b->len, v, n);
  b->len = (size_t)(p - b->data);
  return true;
}

static bool put_block_i64(tinker__buf_t *b, const int64_t *v, size_t n) {
  if (tinker__buf_reserve(b, n * 21)) return false;
  char *p = b->data + b->len;
  for (size_t i = 0; i < n; i++) {
    p = put_i64(p, v[i]);
    *p++ = ',';
  }
  b->len = (size_t)(p - b->data);
  return true;
}

static bool put_block_f32(tinker__buf_t *b, const float *v, size_t n) {
  if (tinker__buf_reserve(b, n * 35)) return false;
  char *p = b->data + b->len;
  for (size_t i = 0; i < n; i++) {
    p = put_f32(p, v[i]);
    *p++ = ',';
  }
  b->len = (size_t)(p - b->data);
  return true;
}

/* Turns the last comma into the bracket. */
static void close_array(tinker__jsonw_t *w, size_t n) {
  if (tinker__buf_error(w->out)) return;
  if (n) w->out->len--;
  close(w, ']');
}

static size_t block(size_t at, size_t n) {
  return n - at < BLOCK ? n - at : BLOCK;
}

void tinker__jsonw_i32_array(tinker__jsonw_t *w, const int32_t *v, size_t n) {
  open(w, '[');
  for (size_t i = 0; i < n; i += BLOCK) {
    if (!put_block_i32(w->out, v + i, block(i, n))) return;
  }
  close_array(w, n);
}

void tinker__jsonw_i64_array(tinker__jsonw_t *w, const int64_t *v, size_t n) {
  open(w, '[');
  for (size_t i = 0; i < n; i += BLOCK) {
    if (!put_block_i64(w->out, v + i, block(i, n))) return;
  }
  close_array(w, n);
}

void tinker__jsonw_f32_array(tinker__jsonw_t *w, const float *v, size_t n) {
  open(w, '[');
  for (size_t i = 0; i < n; i += BLOCK) {
    if (!put_block_f32(w->out, v + i, block(i, n))) return;
  }
  close_array(w, n);
}
