/* json_read: see json_read.h. Whole arrays of numbers are in json_array.c. */
#include "base/json_read.h"

#include <string.h>
#include <tinker/error.h>

#include "base/json_scan.h"

/* Bits of a level of nesting: it is an object; it has had an element. */
#define LEVEL_OBJECT 1
#define LEVEL_STARTED 2

/* A block that holds one unescaped string. */
typedef struct tinker__json_text_s {
  struct tinker__json_text_s *next;
  char text[];
} tinker__json_text_t;

void tinker__json_init(tinker__json_t *j, tinker__mem_t *mem, const char *text,
                       size_t len) {
  memset(j, 0, sizeof(*j));
  j->mem = mem;
  j->start = j->at = text ? text : "";
  j->end = j->start + len;
}

void tinker__json_done(tinker__json_t *j) {
  tinker__json_text_t *t = j->owned;
  while (t) {
    tinker__json_text_t *next = t->next;
    tinker__mem_free(j->mem, t);
    t = next;
  }
  j->owned = NULL;
}

void tinker__json_fail(tinker__json_t *j, int code, const char *static_reason) {
  if (j->error) return;
  j->error = code;
  j->error_at = (size_t)(j->at - j->start);
  j->reason = static_reason;
}

bool tinker__json_bad(tinker__json_t *j, const char *reason) {
  tinker__json_fail(j, TINKER_EJSON, reason);
  return false;
}

bool tinker__json_refuse(tinker__json_t *j, const char *reason) {
  if (!j->error) j->refused = true;
  return tinker__json_bad(j, reason);
}

void tinker__json_refused_in_array(tinker__json_t *j) {
  if (!j->refused) return;
  j->refused = j->depth < TINKER__JSON_MAX_DEPTH;
  if (j->refused) j->stack[j->depth++] = LEVEL_STARTED;
}

void tinker__json_space(tinker__json_t *j) {
  const char *p = j->at;
  while (p < j->end && (*p == ' ' || *p == '\n' || *p == '\t' || *p == '\r')) {
    p++;
  }
  j->at = p;
}

tinker__json_type_t tinker__json_peek(tinker__json_t *j) {
  if (j->error) return TINKER__JSON_END;
  tinker__json_space(j);
  if (j->at == j->end) return TINKER__JSON_END;
  switch (*j->at) {
  case 'n': return TINKER__JSON_NULL;
  case 't':
  case 'f': return TINKER__JSON_BOOL;
  case '"': return TINKER__JSON_STRING;
  case '[': return TINKER__JSON_ARRAY;
  case '{': return TINKER__JSON_OBJECT;
  case ']':
  case '}': return TINKER__JSON_END;
  default: break;
  }
  if (*j->at == '-' || (*j->at >= '0' && *j->at <= '9')) {
    return TINKER__JSON_NUMBER;
  }
  tinker__json_bad(j, "no value starts like this");
  return TINKER__JSON_END;
}

static bool expect(tinker__json_t *j, tinker__json_type_t type,
                   const char *reason) {
  tinker__json_type_t is = tinker__json_peek(j);
  if (is == type) return true;
  return is == TINKER__JSON_END ? tinker__json_bad(j, reason)
                                : tinker__json_refuse(j, reason);
}

/* Takes the rest of a word whose first letter was seen. */
static bool word(tinker__json_t *j, const char *text) {
  size_t n = strlen(text);
  if ((size_t)(j->end - j->at) < n || memcmp(j->at, text, n) != 0) {
    return tinker__json_bad(j, "no value starts like this");
  }
  j->at += n;
  return true;
}

bool tinker__json_null(tinker__json_t *j) {
  return expect(j, TINKER__JSON_NULL, "expected null") && word(j, "null");
}

bool tinker__json_bool(tinker__json_t *j, bool *out) {
  if (!expect(j, TINKER__JSON_BOOL, "expected true or false")) return false;
  bool value = *j->at == 't';
  if (!word(j, value ? "true" : "false")) return false;
  *out = value;
  return true;
}

static bool digit(const char *p, const char *end) {
  return p < end && *p >= '0' && *p <= '9';
}

static const char *digits(const char *p, const char *end) {
  while (digit(p, end)) p++;
  return p;
}

bool tinker__json_number(tinker__json_t *j, tinker__str_t *text, bool *whole) {
  if (!expect(j, TINKER__JSON_NUMBER, "expected a number")) return false;
  const char *p = j->at + (*j->at == '-');
  bool ok = digit(p, j->end);
  p = ok && *p == '0' ? p + 1 : digits(p, j->end);
  *whole = true;
  if (ok && p < j->end && *p == '.') {
    *whole = false;
    ok = digit(++p, j->end);
    p = digits(p, j->end);
  }
  if (ok && p < j->end && (*p == 'e' || *p == 'E')) {
    *whole = false;
    p++;
    p += p < j->end && (*p == '+' || *p == '-');
    ok = digit(p, j->end);
    p = digits(p, j->end);
  }
  if (!ok || digit(p, j->end)) return tinker__json_bad(j, "malformed number");
  *text = (tinker__str_t){j->at, (size_t)(p - j->at)};
  j->at = p;
  return true;
}

/* Puts the reader back to the number that was refused. */
static bool refuse(tinker__json_t *j, tinker__str_t number,
                   const char *reason) {
  j->at = number.ptr;
  return tinker__json_refuse(j, reason);
}

bool tinker__json_i64(tinker__json_t *j, int64_t *out) {
  tinker__str_t text;
  bool whole;
  if (!tinker__json_number(j, &text, &whole)) return false;
  if (!whole) return refuse(j, text, "expected an integer");
  return !tinker__parse_i64(text, out) ||
         refuse(j, text, "integer out of range");
}

bool tinker__json_u64(tinker__json_t *j, uint64_t *out) {
  tinker__str_t text;
  bool whole;
  if (!tinker__json_number(j, &text, &whole)) return false;
  if (!whole) return refuse(j, text, "expected an integer");
  return !tinker__parse_u64(text, out) ||
         refuse(j, text, "integer out of range");
}

bool tinker__json_f64(tinker__json_t *j, double *out) {
  tinker__str_t text;
  bool whole;
  if (!tinker__json_number(j, &text, &whole)) return false;
  return !tinker__parse_f64(text, out) ||
         refuse(j, text, "number out of range");
}

/* Four hexadecimal digits, or -1. */
static int hex4(const char *p, const char *end) {
  int v = 0;
  if (end - p < 4) return -1;
  for (int i = 0; i < 4; i++) {
    char c = p[i];
    int d = c >= '0' && c <= '9'   ? c - '0'
            : c >= 'a' && c <= 'f' ? c - 'a' + 10
            : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                   : -1;
    if (d < 0) return -1;
    v = v * 16 + d;
  }
  return v;
}

/* The character of the \u escape at p (after "\u"); *used counts what was
 * read from p on. -1 when malformed or a lone surrogate. */
static int32_t unicode_escape(const char *p, const char *end, size_t *used) {
  int hi = hex4(p, end);
  *used = 4;
  if (hi < 0xd800 || hi > 0xdfff) return hi;
  if (hi > 0xdbff || end - p < 10 || p[4] != '\\' || p[5] != 'u') return -1;
  int lo = hex4(p + 6, end);
  if (lo < 0xdc00 || lo > 0xdfff) return -1;
  *used = 10;
  return 0x10000 + ((hi - 0xd800) << 10) + (lo - 0xdc00);
}

static char simple_escape(char c) {
  switch (c) {
  case '"':
  case '\\':
  case '/': return c;
  case 'b': return '\b';
  case 'f': return '\f';
  case 'n': return '\n';
  case 'r': return '\r';
  case 't': return '\t';
  default: return 0;
  }
}

/* Length of the escape at p (at the backslash), 0 when malformed. */
static size_t escape_len(const char *p, const char *end) {
  size_t used;
  if (end - p < 2) return 0;
  if (p[1] != 'u') return simple_escape(p[1]) ? 2 : 0;
  return unicode_escape(p + 2, end, &used) < 0 ? 0 : used + 2;
}

/* Checks the string at j->at and steps over it. raw: what is between the
 * quotes. */
static bool scan_string(tinker__json_t *j, tinker__str_t *raw, bool *escaped) {
  const char *p = j->at + 1, *begin = p;
  *escaped = false;
  for (;;) {
    while (p < j->end && (unsigned char)*p >= 0x20 &&
           (unsigned char)*p < 0x80 && *p != '"' && *p != '\\') {
      p++;
    }
    if (p == j->end) return tinker__json_bad(j, "string without an end");
    if (*p == '"') break;
    bool escape = *p == '\\';
    size_t n = escape                     ? escape_len(p, j->end)
               : (unsigned char)*p < 0x20 ? 0
                                          : tinker__utf8_step(p, j->end);
    if (!n) {
      j->at = p;
      return tinker__json_bad(
          j, escape ? "malformed escape"
                    : "control character or invalid UTF-8 in a string");
    }
    *escaped |= escape;
    p += n;
  }
  *raw = (tinker__str_t){begin, (size_t)(p - begin)};
  j->at = p + 1;
  return true;
}

static char *put_utf8(char *q, int32_t c) {
  if (c < 0x80) {
    *q++ = (char)c;
  } else if (c < 0x800) {
    *q++ = (char)(0xc0 | c >> 6);
    *q++ = (char)(0x80 | (c & 63));
  } else if (c < 0x10000) {
    *q++ = (char)(0xe0 | c >> 12);
    *q++ = (char)(0x80 | (c >> 6 & 63));
    *q++ = (char)(0x80 | (c & 63));
  } else {
    *q++ = (char)(0xf0 | c >> 18);
    *q++ = (char)(0x80 | (c >> 12 & 63));
    *q++ = (char)(0x80 | (c >> 6 & 63));
    *q++ = (char)(0x80 | (c & 63));
  }
  return q;
}

/* raw has passed scan_string. The result is never longer than raw. */
static bool unescape(tinker__json_t *j, tinker__str_t raw, tinker__str_t *out) {
  tinker__json_text_t *t = tinker__mem_alloc(j->mem, sizeof(*t) + raw.len + 1);
  if (!t) {
    tinker__json_fail(j, TINKER_ENOMEM, "out of memory");
    return false;
  }
  t->next = j->owned;
  j->owned = t;
  char *q = t->text;
  for (const char *p = raw.ptr, *end = p + raw.len; p < end;) {
    size_t used;
    if (*p != '\\') {
      *q++ = *p++;
    } else if (p[1] != 'u') {
      *q++ = simple_escape(p[1]);
      p += 2;
    } else {
      q = put_utf8(q, unicode_escape(p + 2, end, &used));
      p += 2 + used;
    }
  }
  *out = (tinker__str_t){t->text, (size_t)(q - t->text)};
  return true;
}

static bool take_string(tinker__json_t *j, tinker__str_t *out) {
  bool escaped;
  tinker__str_t raw;
  if (!scan_string(j, &raw, &escaped)) return false;
  if (escaped) return unescape(j, raw, out);
  *out = raw;
  return true;
}

bool tinker__json_string(tinker__json_t *j, tinker__str_t *out) {
  return expect(j, TINKER__JSON_STRING, "expected a string") &&
         take_string(j, out);
}

static bool enter(tinker__json_t *j, unsigned char level) {
  if (j->depth == TINKER__JSON_MAX_DEPTH) {
    return tinker__json_bad(j, "nested too deeply");
  }
  j->stack[j->depth++] = level;
  j->at++;
  return true;
}

bool tinker__json_array(tinker__json_t *j) {
  return expect(j, TINKER__JSON_ARRAY, "expected an array") && enter(j, 0);
}

bool tinker__json_object(tinker__json_t *j) {
  return expect(j, TINKER__JSON_OBJECT, "expected an object") &&
         enter(j, LEVEL_OBJECT);
}

/* Common to arrays and objects: false at the end (taken) or on error. */
static bool next(tinker__json_t *j, unsigned char level, char close,
                 const char *reason) {
  if (j->error) return false;
  if (!j->depth || (j->stack[j->depth - 1] & LEVEL_OBJECT) != level) {
    return tinker__json_bad(j, "not inside such a value");
  }
  tinker__json_space(j);
  unsigned char *state = &j->stack[j->depth - 1];
  char c = j->at < j->end ? *j->at : 0;
  if (c == close) {
    j->at++;
    j->depth--;
    return false;
  }
  if (*state & LEVEL_STARTED) {
    if (c != ',') return tinker__json_bad(j, reason);
    j->at++;
  }
  *state |= LEVEL_STARTED;
  return true;
}

bool tinker__json_more(tinker__json_t *j) {
  return next(j, 0, ']', "expected a comma or ]");
}

/* Takes the key and the colon; out NULL: only checks the key. */
static bool take_key(tinker__json_t *j, tinker__str_t *out) {
  bool escaped;
  tinker__str_t raw;
  if (!next(j, LEVEL_OBJECT, '}', "expected a comma or }")) return false;
  if (tinker__json_peek(j) != TINKER__JSON_STRING) { /* no value is refused */
    return tinker__json_bad(j, "expected a key");
  }
  if (out ? !take_string(j, out) : !scan_string(j, &raw, &escaped)) {
    return false;
  }
  j->last_key = out ? *out : raw;
  tinker__json_space(j);
  if (j->at == j->end || *j->at != ':') {
    return tinker__json_bad(j, "expected a colon");
  }
  j->at++;
  return true;
}

bool tinker__json_key(tinker__json_t *j, tinker__str_t *key) {
  return take_key(j, key);
}

/* Takes a scalar, or the opening of an array or object. */
static bool skip_start(tinker__json_t *j) {
  bool flag;
  tinker__str_t text;
  switch (tinker__json_peek(j)) {
  case TINKER__JSON_NULL: return tinker__json_null(j);
  case TINKER__JSON_BOOL: return tinker__json_bool(j, &flag);
  case TINKER__JSON_NUMBER: return tinker__json_number(j, &text, &flag);
  case TINKER__JSON_STRING: return scan_string(j, &text, &flag);
  case TINKER__JSON_ARRAY: return enter(j, 0);
  case TINKER__JSON_OBJECT: return enter(j, LEVEL_OBJECT);
  case TINKER__JSON_END: break;
  }
  return tinker__json_bad(j, "expected a value");
}

bool tinker__json_skip(tinker__json_t *j) {
  int base = j->depth;
  bool open = skip_start(j);
  while (open && j->depth > base) {
    bool object = j->stack[j->depth - 1] & LEVEL_OBJECT;
    if (object ? take_key(j, NULL) : tinker__json_more(j)) skip_start(j);
    open = !j->error;
  }
  return !j->error;
}

/* Takes the value of the innermost level that a key or comma has announced,
 * unless it was taken. */
static bool finish_value(tinker__json_t *j) {
  unsigned char state = j->stack[j->depth - 1];
  tinker__json_space(j);
  char c = j->at < j->end ? *j->at : 0;
  char close = state & LEVEL_OBJECT ? '}' : ']';
  if (!(state & LEVEL_STARTED) || c == ',' || c == close) return true;
  return tinker__json_skip(j);
}

bool tinker__json_leave(tinker__json_t *j, int depth) {
  if ((j->error && !j->refused) || j->depth < depth) return false;
  j->error = 0;
  j->refused = false;
  while (finish_value(j) && j->depth > depth) {
    bool object = j->stack[j->depth - 1] & LEVEL_OBJECT;
    while (object ? take_key(j, NULL) : tinker__json_more(j)) {
      if (!tinker__json_skip(j)) return false;
    }
    if (j->error) return false;
  }
  return !j->error;
}

bool tinker__json_raw(tinker__json_t *j, tinker__str_t *out) {
  tinker__json_peek(j);
  const char *begin = j->at;
  if (!tinker__json_skip(j)) return false;
  *out = (tinker__str_t){begin, (size_t)(j->at - begin)};
  return true;
}

int tinker__json_end(tinker__json_t *j) {
  if (!j->error) {
    tinker__json_space(j);
    if (j->depth) {
      tinker__json_bad(j, "the text ends inside a value");
    } else if (j->at != j->end) {
      tinker__json_bad(j, "something follows the value");
    }
  }
  return j->error;
}
