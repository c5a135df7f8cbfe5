/* normalize: see normalize.h. Pure, any thread. */
#include "text/normalize.h"

#include <string.h>
#include <tinker/error.h>
#include <utf8proc.h>

#include "text/marks.h"
#include "text/utf8.h"

#define MAX_PARTS 32 /* of one character; the longest has 4 */
#define OPTIONS ((utf8proc_option_t)(UTF8PROC_STABLE | UTF8PROC_COMPOSE))

typedef struct codes_s {
  tinker__mem_t *mem;
  utf8proc_int32_t *at;
  size_t len;
  size_t cap;
} codes_t;

static int reserve(codes_t *c, size_t more) {
  if (c->cap - c->len >= more) return 0;
  size_t cap = c->cap ? c->cap * 2 : 64;
  while (cap - c->len < more) cap *= 2;
  utf8proc_int32_t *at =
      tinker__mem_realloc(c->mem, c->at, cap * sizeof *c->at);
  if (!at) return TINKER_ENOMEM;
  c->at = at;
  c->cap = cap;
  return 0;
}

static int decompose(codes_t *c, tinker__str_t text) {
  size_t i = 0;
  while (i < text.len) {
    uint32_t cp = 0;
    int bound = 0, n = tinker__utf8_next(text.ptr + i, text.len - i, &cp);
    utf8proc_int32_t code = (utf8proc_int32_t)cp;
    if (n <= 0) return TINKER_EINVAL;
    i += (size_t)n;
    if (reserve(c, MAX_PARTS) != 0) return TINKER_ENOMEM;
    if (code < 0xc0 || tinker__composed_later(code)) {
      c->at[c->len++] = code;
      continue;
    }
    utf8proc_ssize_t put = utf8proc_decompose_char(code, c->at + c->len,
                                                   MAX_PARTS, OPTIONS, &bound);
    if (put < 0 || put > MAX_PARTS) return TINKER_EINVAL;
    c->len += (size_t)put;
  }
  return 0;
}

static void sort_short(utf8proc_int32_t *run, size_t n) {
  for (size_t i = 1; i < n; i++) {
    utf8proc_int32_t cp = run[i];
    unsigned k = tinker__mark_class(cp);
    size_t j = i;
    for (; j > 0 && tinker__mark_class(run[j - 1]) > k; j--) {
      run[j] = run[j - 1];
    }
    run[j] = cp;
  }
}

/* Stable by class: a run of n marks in n steps. */
static void sort_long(utf8proc_int32_t *run, size_t n, utf8proc_int32_t *room) {
  size_t start[257] = {0};
  for (size_t i = 0; i < n; i++) start[tinker__mark_class(run[i]) + 1]++;
  for (int k = 0; k < 256; k++) start[k + 1] += start[k];
  for (size_t i = 0; i < n; i++) {
    room[start[tinker__mark_class(run[i])]++] = run[i];
  }
  memcpy(run, room, n * sizeof *run);
}

/* Canonical order of the marks after each base character. */
static int order(codes_t *c) {
  size_t i = 0;
  while (i < c->len) {
    size_t from = i;
    while (i < c->len && tinker__mark_class(c->at[i]) != 0) i++;
    if (i - from <= 16) {
      sort_short(c->at + from, i - from);
    } else {
      if (reserve(c, i - from) != 0) return TINKER_ENOMEM;
      sort_long(c->at + from, i - from, c->at + c->len);
    }
    i++;
  }
  return 0;
}

/* The character that two compose to, -1 for none. */
static utf8proc_int32_t compose_pair(utf8proc_int32_t a, utf8proc_int32_t b) {
  utf8proc_int32_t pair[2] = {a, b};
  if (b < 0x300 || utf8proc_normalize_utf32(pair, 2, OPTIONS) != 1) return -1;
  return tinker__composed_later(pair[0]) ? -1 : pair[0];
}

/* Each mark or base joins the last base before it, unless one stands between
 * that is a base or has no lower class. utf8proc's own loop would go by its
 * own classes. */
static void compose(codes_t *c) {
  size_t len = 0, base = SIZE_MAX;
  unsigned last = 0; /* class of what stands after the base */
  for (size_t i = 0; i < c->len; i++) {
    utf8proc_int32_t cp = c->at[i];
    unsigned k = tinker__mark_class(cp);
    if (base != SIZE_MAX && (base + 1 == len || last < k)) {
      utf8proc_int32_t joined = compose_pair(c->at[base], cp);
      if (joined >= 0) {
        c->at[base] = joined;
        continue;
      }
    }
    if (k == 0) base = len;
    last = k;
    c->at[len++] = cp;
  }
  c->len = len;
}

static int write_text(const codes_t *c, tinker__buf_t *out) {
  for (size_t i = 0; i < c->len; i++) {
    char bytes[4];
    tinker__buf_add(out, bytes, tinker__utf8_put(bytes, (uint32_t)c->at[i]));
  }
  return tinker__buf_error(out);
}

int tinker__nfc(tinker__str_t *out, tinker__buf_t *room, tinker__str_t text) {
  size_t plain = 0;
  /* Below U+0300, whose first byte is 0xcc, nothing changes. */
  while (plain < text.len && (unsigned char)text.ptr[plain] < 0xcc) plain++;
  *out = text;
  if (plain == text.len) return 0;
  codes_t c = {room->mem, NULL, 0, 0};
  tinker__buf_clear(room);
  int rc = decompose(&c, text);
  if (rc == 0) rc = order(&c);
  if (rc == 0) {
    compose(&c);
    rc = write_text(&c, room);
  }
  if (rc == 0) *out = tinker__buf_str(room);
  tinker__mem_free(c.mem, c.at);
  return rc;
}
