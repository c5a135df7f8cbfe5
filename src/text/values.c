/* values: see values.h. Any thread. */
#include "text/values.h"

#include <string.h>
#include <tinker/error.h>

#include "base/json_table.h"
#include "text/table.h"

int tinker__values_fail(const tinker__values_t *v, int code, const char *where,
                        const char *what) {
  return tinker__why(v->why, v->why_len, code, "%s: %s", where, what);
}

int tinker__values_refuse(const tinker__values_t *v, const char *where,
                          const char *key, tinker__str_t raw) {
  return tinker__why(v->why, v->why_len, TINKER_ENOTSUP,
                     "%s: %s is %.*s, which is not supported", where, key,
                     tinker__json_shown(raw), raw.ptr);
}

int tinker__values_json(const tinker__values_t *v, const char *where,
                        const tinker__json_t *j) {
  return tinker__json_told(j, where, v->why, v->why_len);
}

int tinker__values_object(const tinker__values_t *v, tinker__str_t text,
                          const char *where, const char *const *keys,
                          tinker__str_t *raw, size_t n) {
  return tinker__json_table(v->mem, text, where, keys, raw, n, true, v->why,
                            v->why_len);
}

int tinker__values_bool(const tinker__values_t *v, tinker__str_t raw,
                        const char *where, bool fallback, bool *out) {
  *out = raw.len ? tinker__str_eqs(raw, "true") : fallback;
  if (raw.len && !*out && !tinker__str_eqs(raw, "false")) {
    return tinker__values_fail(v, TINKER_EFORMAT, where,
                               "a switch is neither true nor false");
  }
  return 0;
}

int tinker__values_text(const tinker__values_t *v, tinker__str_t raw,
                        const char *where, tinker__buf_t *out) {
  tinker__json_t j;
  tinker__str_t s;
  int rc = 0;
  tinker__buf_clear(out);
  tinker__json_init(&j, v->mem, raw.ptr, raw.len);
  if (tinker__json_string(&j, &s) && tinker__json_end(&j) == 0) {
    rc = tinker__buf_add(out, s.ptr, s.len);
  } else {
    rc = tinker__values_json(v, where, &j);
  }
  tinker__json_done(&j);
  if (rc == TINKER_EOVERFLOW || rc == TINKER_ENOMEM) {
    tinker__values_fail(v, rc, where, tinker_code_text(rc));
  }
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
  if (!tinker__json_string(&j, &s) || tinker__json_end(&j) != 0) {
    rc = tinker__values_json(v, where, &j);
  } else if (s.len >= cap || memchr(s.ptr, 0, s.len)) {
    rc = tinker__values_fail(v, TINKER_ENOTSUP, where, "unknown name");
  } else {
    tinker__why(out, cap, 0, "%.*s", (int)s.len, s.ptr);
  }
  tinker__json_done(&j);
  return rc;
}

int tinker__values_id(const tinker__values_t *v, tinker__str_t raw,
                      const char *where, uint32_t *out) {
  uint64_t id;
  if (tinker__parse_u64(raw, &id) != 0 || id >= TINKER__MAX_VOCABULARY) {
    return tinker__values_fail(v, TINKER_EFORMAT, where,
                               "an id is no number below 2097152");
  }
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
  if (tinker__json_array(&j)) {
    while (rc == 0 && tinker__json_more(&j)) {
      if (tinker__json_raw(&j, &value)) rc = cb(user, value);
    }
  }
  if (rc == 0 && tinker__json_end(&j) != 0) {
    rc = tinker__values_json(v, where, &j);
  }
  tinker__json_done(&j);
  return rc;
}
