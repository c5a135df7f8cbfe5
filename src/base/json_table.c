/* json_table: see json_table.h. Pure, any thread. */
#include "base/json_table.h"

#include <string.h>
#include <tinker/error.h>

#define SHOWN 60

int tinker__json_shown(tinker__str_t s) {
  size_t n = s.len;
  if (n > SHOWN) {
    n = SHOWN;
    while (n > 0 && ((unsigned char)s.ptr[n] & 0xc0) == 0x80) n--;
  }
  return (int)n;
}

/* The words that Python's json writes for numbers that JSON doesn't have. */
static const char *odd_number(const tinker__json_t *j) {
  static const char *const words[] = {"NaN", "Infinity", "-Infinity"};
  tinker__str_t left = {j->start + j->error_at,
                        (size_t)(j->end - j->start) - j->error_at};
  for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
    if (tinker__str_starts(left, words[i])) return words[i];
  }
  return NULL;
}

/* True when the text is cut off: it ends inside an object, with at most the
 * beginning of a value after the place of the error. */
static bool is_cut(const tinker__json_t *j) {
  const char *p = j->start + j->error_at;
  if (j->depth == 0) return false;
  if (p < j->end && *p == '"') {
    return !memchr(p + 1, '"', (size_t)(j->end - p - 1));
  }
  while (p < j->end && ((unsigned char)*p >= 0x80 ||
                        strchr("\\.+-0123456789aeflnrstu", *p))) {
    p++;
  }
  return p == j->end;
}

int tinker__json_told(const tinker__json_t *j, const char *where, char *why,
                      size_t why_len) {
  if (j->error == TINKER_ENOMEM) {
    return tinker__why(why, why_len, TINKER_ENOMEM, "out of memory");
  }
  const char *odd = odd_number(j);
  if (odd) {
    return tinker__why(why, why_len, TINKER_EFORMAT,
                       "%s: %.*s is %s: a number must be finite", where,
                       tinker__json_shown(j->last_key), j->last_key.ptr, odd);
  }
  if (is_cut(j)) {
    return tinker__why(why, why_len, TINKER_EFORMAT,
                       "%s is cut: it ends at byte %zu, before its JSON does: "
                       "download it again",
                       where, (size_t)(j->end - j->start));
  }
  return tinker__why(why, why_len, TINKER_EFORMAT, "%s: %s at byte %zu", where,
                     j->reason ? j->reason : "malformed JSON", j->error_at);
}

static bool says_nothing(tinker__str_t raw) {
  if (tinker__str_eqs(raw, "null") || tinker__str_eqs(raw, "false") ||
      tinker__str_eqs(raw, "\"\"")) {
    return true;
  }
  if (raw.len < 2 || (raw.ptr[0] != '[' && raw.ptr[0] != '{')) return false;
  for (size_t i = 1; i + 1 < raw.len; i++) {
    if (raw.ptr[i] == 0 || !strchr(" \t\r\n", raw.ptr[i])) return false;
  }
  return true;
}

/* Keys, and where their values go. */
typedef struct tinker__json_slots_s {
  const char *where;
  const char *const *keys;
  tinker__str_t *raw;
  size_t n;
  bool strict;
  char *why;
  size_t why_len;
} tinker__json_slots_t;

static int take(const tinker__json_slots_t *t, tinker__str_t key,
                tinker__str_t value) {
  size_t i = 0;
  while (i < t->n && !tinker__str_eqs(key, t->keys[i])) i++;
  if (i == t->n) {
    if (!t->strict || says_nothing(value)) return 0;
    return tinker__why(t->why, t->why_len, TINKER_ENOTSUP,
                       "%s: %.*s is %.*s, which is not supported", t->where,
                       tinker__json_shown(key), key.ptr,
                       tinker__json_shown(value), value.ptr);
  }
  if (t->raw[i].len || tinker__json_is_null(t->raw[i])) {
    return tinker__why(t->why, t->why_len, TINKER_EFORMAT,
                       "%s: %s is there twice", t->where, t->keys[i]);
  }
  t->raw[i] = value;
  if (tinker__str_eqs(value, "null")) t->raw[i].len = 0;
  return 0;
}

int tinker__json_table(tinker__mem_t *mem, tinker__str_t text,
                       const char *where, const char *const *keys,
                       tinker__str_t *raw, size_t n, bool strict, char *why,
                       size_t why_len) {
  tinker__json_slots_t t = {where, keys, raw, n, strict, why, why_len};
  tinker__json_t j;
  tinker__str_t key, value;
  int rc = 0;
  for (size_t i = 0; i < n; i++) raw[i] = (tinker__str_t){"", 0};
  tinker__json_init(&j, mem, text.ptr, text.len);
  if (tinker__json_object(&j)) {
    while (rc == 0 && tinker__json_key(&j, &key)) {
      if (tinker__json_raw(&j, &value)) rc = take(&t, key, value);
    }
  }
  if (rc == 0 && tinker__json_end(&j) != 0) {
    rc = tinker__json_told(&j, where, why, why_len);
  }
  tinker__json_done(&j);
  return rc;
}
