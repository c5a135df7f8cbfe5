/* json_digest: what a JSON text means, as a digest (messages.h). */
#include <stdlib.h>
#include <string.h>
#include <tinker/error.h>

#include "base/digest.h"
#include "wire/messages.h"

#define MAX_TEXT ((size_t)64 << 20)

typedef struct tinker__member_s {
  tinker__str_t key;
  tinker__str_t value;
} tinker__member_t;

static int by_key(const void *a, const void *b) {
  const tinker__member_t *x = a, *y = b;
  size_t n = x->key.len < y->key.len ? x->key.len : y->key.len;
  int c = n ? memcmp(x->key.ptr, y->key.ptr, n) : 0;
  return c ? c : (x->key.len > y->key.len) - (x->key.len < y->key.len);
}

static void put_value(tinker__jsonw_t *w, tinker__json_t *j,
                      tinker__arena_t *arena, const char *except);

/* Members are collected as text, sorted, then written by their own readers:
 * depth is bounded by the reader of the whole text. */
static void put_object(tinker__jsonw_t *w, tinker__json_t *j,
                       tinker__arena_t *arena, const char *except) {
  tinker__member_t *m = NULL;
  size_t n = 0, cap = 0;
  tinker__json_object(j);
  for (tinker__str_t key; tinker__json_key(j, &key);) {
    m = tinker__arena_grow(arena, m, n, &cap, sizeof(*m));
    if (!m) {
      tinker__json_fail(j, TINKER_ENOMEM, "out of memory");
      return;
    }
    m[n].key = key;
    if (!tinker__json_raw(j, &m[n].value)) return;
    if (!except || !tinker__str_eqs(key, except)) n++;
  }
  if (n) qsort(m, n, sizeof(*m), by_key);
  tinker__jsonw_begin_object(w);
  for (size_t i = 0; i < n; i++) {
    tinker__json_t sub;
    tinker__jsonw_keyn(w, m[i].key);
    tinker__json_init(&sub, j->mem, m[i].value.ptr, m[i].value.len);
    put_value(w, &sub, arena, NULL);
    if (sub.error) tinker__json_fail(j, sub.error, sub.reason);
    tinker__json_done(&sub);
  }
  tinker__jsonw_end_object(w);
}

static void put_number(tinker__jsonw_t *w, tinker__json_t *j) {
  tinker__str_t raw;
  double v;
  if (!tinker__json_raw(j, &raw)) return;
  bool whole = !memchr(raw.ptr, '.', raw.len) &&
               !memchr(raw.ptr, 'e', raw.len) && !memchr(raw.ptr, 'E', raw.len);
  if (!whole && !tinker__parse_f64(raw, &v))
    tinker__jsonw_f64(w, v);
  else
    tinker__jsonw_raw(w, raw);
}

static void put_value(tinker__jsonw_t *w, tinker__json_t *j,
                      tinker__arena_t *arena, const char *except) {
  tinker__str_t s;
  switch (tinker__json_peek(j)) {
  case TINKER__JSON_OBJECT:
    put_object(w, j, arena, except);
    break;
  case TINKER__JSON_ARRAY:
    tinker__json_array(j);
    tinker__jsonw_begin_array(w);
    while (tinker__json_more(j))
      put_value(w, j, arena, NULL);
    tinker__jsonw_end_array(w);
    break;
  case TINKER__JSON_STRING:
    if (tinker__json_string(j, &s)) tinker__jsonw_str(w, s);
    break;
  case TINKER__JSON_NUMBER:
    put_number(w, j);
    break;
  default:
    if (tinker__json_raw(j, &s)) tinker__jsonw_raw(w, s);
  }
}

int tinker__json_digest(tinker__mem_t *mem, tinker__str_t text,
                        const char *except, unsigned char out[32]) {
  tinker__json_t j;
  tinker__arena_t arena;
  tinker__buf_t canon;
  tinker__jsonw_t w;
  tinker__arena_init(&arena, mem);
  tinker__buf_init(&canon, mem, MAX_TEXT);
  tinker__jsonw_init(&w, &canon);
  tinker__json_init(&j, mem, text.ptr, text.len);
  tinker__json_skip(&j); /* the whole text, with its depth, is fine first */
  int rc = tinker__json_end(&j);
  tinker__json_done(&j);
  if (!rc) {
    tinker__json_init(&j, mem, text.ptr, text.len);
    put_value(&w, &j, &arena, except);
    rc = tinker__json_end(&j);
    tinker__json_done(&j);
  }
  if (!rc) rc = tinker__buf_error(&canon);
  if (!rc) rc = tinker__sha256(canon.data, canon.len, out);
  tinker__buf_free(&canon);
  tinker__arena_free(&arena);
  return rc;
}
