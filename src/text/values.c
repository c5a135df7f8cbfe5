/* values: see values.h. Any thread. */
#include "text/values.h"

#include <string.h>
#include <tinker/error.h>

#include "text/table.h"

#define SHOWN 60 /* bytes of a value that a message repeats */

static int shown(tinker__str_t s) {
  size_t n = s.len;
  if (n > SHOWN) {
    n = SHOWN;
    while (n > 0 && ((unsigned char)s.ptr[n] & 0xc0) == 0x80)
      n--;
  }
  return (int)n;
}

int tinker__values_fail(const tinker__values_t *v, int code, const char *where,
                        const char *what) {
  return tinker__why(v->why, v->why_len, code, "%s: %s", where, what);
}

int tinker__values_refuse(const tinker__values_t *v, const char *where,
                          const char *key, tinker__str_t raw) {
  return tinker__why(v->why, v->why_len, TINKER_ENOTSUP,
                     "%s: %s is %.*s, which is not supported", where, key,
                     shown(raw), raw.ptr);
}

int tinker__values_json(const tinker__values_t *v, const char *where,
                        const tinker__json_t *j) {
  if (j->error == TINKER_ENOMEM)
    return tinker__why(v->why, v->why_len, TINKER_ENOMEM, "out of memory");
  return tinker__why(v->why, v->why_len, TINKER_EFORMAT, "%s: %s at byte %zu",
                     where, j->reason ? j->reason : "malformed JSON",
                     j->error_at);
}

static bool says_nothing(tinker__str_t raw) {
  if (tinker__str_eqs(raw, "null") || tinker__str_eqs(raw, "false") ||
      tinker__str_eqs(raw, "\"\""))
    return true;
  if (raw.ptr[0] != '[' && raw.ptr[0] != '{') return false;
  for (size_t i = 1; i + 1 < raw.len; i++)
    if (raw.ptr[i] == 0 || !strchr(" \t\r\n", raw.ptr[i])) return false;
  return true;
}

static int take(const tinker__values_t *v, const char *where,
                const char *const *keys, tinker__str_t *raw, size_t n,
                tinker__str_t key, tinker__str_t value) {
  size_t i = 0;
  while (i < n && !tinker__str_eqs(key, keys[i]))
    i++;
  if (i < n) {
    if (raw[i].len)
      return tinker__why(v->why, v->why_len, TINKER_EFORMAT,
                         "%s: %s is there twice", where, keys[i]);
    if (!tinker__str_eqs(value, "null")) raw[i] = value;
    return 0;
  }
  if (says_nothing(value)) return 0;
  return tinker__why(v->why, v->why_len, TINKER_ENOTSUP,
                     "%s: %.*s is %.*s, which is not supported", where,
                     shown(key), key.ptr, shown(value), value.ptr);
}

int tinker__values_object(const tinker__values_t *v, tinker__str_t text,
                          const char *where, const char *const *keys,
                          tinker__str_t *raw, size_t n) {
  tinker__json_t j;
  tinker__str_t key, value;
  int rc = 0;
  for (size_t i = 0; i < n; i++)
    raw[i] = (tinker__str_t){"", 0};
  tinker__json_init(&j, v->mem, text.ptr, text.len);
  if (tinker__json_object(&j))
    while (rc == 0 && tinker__json_key(&j, &key))
      if (tinker__json_raw(&j, &value))
        rc = take(v, where, keys, raw, n, key, value);
  if (rc == 0 && tinker__json_end(&j) != 0)
    rc = tinker__values_json(v, where, &j);
  tinker__json_done(&j);
  return rc;
}

int tinker__values_bool(const tinker__values_t *v, tinker__str_t raw,
                        const char *where, bool fallback, bool *out) {
  *out = raw.len ? tinker__str_eqs(raw, "true") : fallback;
  if (raw.len && !*out && !tinker__str_eqs(raw, "false"))
    return tinker__values_fail(v, TINKER_EFORMAT, where,
                               "a switch is neither true nor false");
  return 0;
}

int tinker__values_text(const tinker__values_t *v, tinker__str_t raw,
                        const char *where, tinker__buf_t *out) {
  tinker__json_t j;
  tinker__str_t s;
  int rc = 0;
  tinker__buf_clear(out);
  tinker__json_init(&j, v->mem, raw.ptr, raw.len);
  if (tinker__json_string(&j, &s) && tinker__json_end(&j) == 0)
    rc = tinker__buf_add(out, s.ptr, s.len);
  else
    rc = tinker__values_json(v, where, &j);
  tinker__json_done(&j);
  if (rc == TINKER_EOVERFLOW || rc == TINKER_ENOMEM)
    tinker__values_fail(v, rc, where, tinker_code_text(rc));
  return rc;
}

int tinker__values_name(const tinker__values_t *v, tinker__str_t raw,
                        const char *where, char *out, size_t cap) {
  tinker__json_t j;
  tinker__str_t s;
  int rc = 0;
  out[0] = 0;
  if (raw.len == 0) return 0;
  tinker__json_init(&j, v->mem, raw.ptr, raw.len);
  if (!tinker__json_string(&j, &s) || tinker__json_end(&j) != 0)
    rc = tinker__values_json(v, where, &j);
  else if (s.len >= cap || memchr(s.ptr, 0, s.len))
    rc = tinker__values_fail(v, TINKER_ENOTSUP, where, "unknown name");
  else
    tinker__why(out, cap, 0, "%.*s", (int)s.len, s.ptr);
  tinker__json_done(&j);
  return rc;
}

int tinker__values_id(const tinker__values_t *v, tinker__str_t raw,
                      const char *where, uint32_t *out) {
  uint64_t id;
  if (tinker__parse_u64(raw, &id) != 0 || id >= TINKER__MAX_TOKENS)
    return tinker__values_fail(v, TINKER_EFORMAT, where,
                               "an id is no number below 2097152");
  *out = (uint32_t)id;
  return 0;
}

int tinker__values_each(const tinker__values_t *v, tinker__str_t raw,
                        const char *where, tinker__value_cb cb, void *user) {
  tinker__json_t j;
  tinker__str_t value;
  int rc = 0;
  if (raw.len == 0) return 0;
  tinker__json_init(&j, v->mem, raw.ptr, raw.len);
  if (tinker__json_array(&j))
    while (rc == 0 && tinker__json_more(&j))
      if (tinker__json_raw(&j, &value)) rc = cb(user, value);
  if (rc == 0 && tinker__json_end(&j) != 0)
    rc = tinker__values_json(v, where, &j);
  tinker__json_done(&j);
  return rc;
}
