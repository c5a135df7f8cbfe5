/* normalize: see normalize.h. Pure, any thread. */
#include "text/normalize.h"

#include <string.h>
#include <tinker/error.h>
#include <utf8proc.h>

#include "text/utf8.h"

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
  while (cap - c->len < more)
    cap *= 2;
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
    if (n <= 0) return TINKER_EINVAL;
    i += (size_t)n;
    if (reserve(c, 32) != 0) return TINKER_ENOMEM; /* the longest is 4 */
    utf8proc_ssize_t put = utf8proc_decompose_char(
        (utf8proc_int32_t)cp, c->at + c->len, 32, OPTIONS, &bound);
    if (put < 0 || put > 32) return TINKER_EINVAL;
    c->len += (size_t)put;
  }
  return 0;
}

static unsigned mark_class(utf8proc_int32_t cp) {
  return (unsigned)utf8proc_get_property(cp)->combining_class & 0xff;
}

static void sort_short(utf8proc_int32_t *run, size_t n) {
  for (size_t i = 1; i < n; i++) {
    utf8proc_int32_t cp = run[i];
    unsigned k = mark_class(cp);
    size_t j = i;
    for (; j > 0 && mark_class(run[j - 1]) > k; j--)
      run[j] = run[j - 1];
    run[j] = cp;
  }
}

/* Stable by class: a run of n marks in n steps. */
static void sort_long(utf8proc_int32_t *run, size_t n,
                      utf8proc_int32_t *room) {
  size_t start[257] = {0};
  for (size_t i = 0; i < n; i++)
    start[mark_class(run[i]) + 1]++;
  for (int k = 0; k < 256; k++)
    start[k + 1] += start[k];
  for (size_t i = 0; i < n; i++)
    room[start[mark_class(run[i])]++] = run[i];
  memcpy(run, room, n * sizeof *run);
}

/* Canonical order of the marks behind each base character. */
static int order(codes_t *c) {
  size_t i = 0;
  while (i < c->len) {
    size_t from = i;
    while (i < c->len && mark_class(c->at[i]) != 0)
      i++;
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

static int compose(codes_t *c, tinker__buf_t *out) {
  utf8proc_ssize_t n = utf8proc_normalize_utf32(
      c->at, (utf8proc_ssize_t)c->len, OPTIONS);
  for (utf8proc_ssize_t i = 0; i < n; i++) {
    char bytes[4];
    tinker__buf_add(out, bytes, tinker__utf8_put(bytes, (uint32_t)c->at[i]));
  }
  return n < 0 ? TINKER_EINVAL : tinker__buf_error(out);
}

int tinker__nfc(tinker__str_t *out, tinker__buf_t *room, tinker__str_t text) {
  size_t plain = 0;
  /* Below U+0300, whose first byte is 0xcc, nothing changes. */
  while (plain < text.len && (unsigned char)text.ptr[plain] < 0xcc)
    plain++;
  *out = text;
  if (plain == text.len) return 0;
  codes_t c = {room->mem, NULL, 0, 0};
  tinker__buf_clear(room);
  int rc = decompose(&c, text);
  if (rc == 0) rc = order(&c);
  if (rc == 0) rc = compose(&c, room);
  if (rc == 0) *out = tinker__buf_str(room);
  tinker__mem_free(c.mem, c.at);
  return rc;
}
