/* fields: see fields.h. Pure, any thread. */
#include "model/fields.h"

#include <math.h>
#include <string.h>
#include <tinker/error.h>

#include "base/impostor.h"
#include "base/json_table.h"

void tinker__fields_init(tinker__fields_t *f, tinker__mem_t *mem,
                         const char *file, char *why, size_t why_len) {
  memset(f, 0, sizeof *f);
  f->mem = mem;
  f->file = file;
  f->why = why;
  f->why_len = why_len;
}

static int json_failed(tinker__fields_t *f, const tinker__json_t *j) {
  f->rc = tinker__json_told(j, f->file, f->why, f->why_len);
  return f->rc;
}

int tinker__fields_read(tinker__fields_t *f, tinker__str_t text,
                        const char *const *keys, tinker__str_t *raw, size_t n,
                        bool strict) {
  f->keys = keys;
  f->raw = raw;
  f->n = n;
  for (size_t i = 0; i < n; i++) raw[i] = (tinker__str_t){"", 0};
  if (f->rc == 0) { /* an object inside one that failed stays empty */
    f->rc = tinker__json_table(f->mem, text, f->file, keys, raw, n, strict,
                               f->why, f->why_len);
  }
  return f->rc;
}

int tinker__fields_file(tinker__fields_t *f, tinker__str_t text, size_t max,
                        const char *const *keys, tinker__str_t *raw, size_t n,
                        bool strict) {
  if (text.len > max) {
    f->rc =
        tinker__why(f->why, f->why_len, TINKER_EOVERFLOW,
                    "%s has %zu bytes, more than %zu", f->file, text.len, max);
  } else {
    f->rc = tinker__impostor_json(text, f->file, f->why, f->why_len);
  }
  return tinker__fields_read(f, text, keys, raw, n, strict);
}

int tinker__fields_sub(tinker__fields_t *f, const tinker__fields_t *top,
                       int key, const char *const *keys, tinker__str_t *raw,
                       size_t n) {
  *f = *top;
  return tinker__fields_read(f, top->raw[key], keys, raw, n, true);
}

static int complain(tinker__fields_t *f, int key, int code, const char *verb,
                    const char *want) {
  tinker__str_t raw = f->raw[key];
  if (raw.len == 0) raw = TINKER__STR("missing");
  f->rc =
      tinker__why(f->why, f->why_len, code, "%s: %s is %.*s: %s %s", f->file,
                  f->keys[key], tinker__json_shown(raw), raw.ptr, verb, want);
  return f->rc;
}

int tinker__field_bad(tinker__fields_t *f, int key, const char *want) {
  return complain(f, key, TINKER_EFORMAT, "must be", want);
}

int tinker__field_refuse(tinker__fields_t *f, int key, const char *want) {
  return complain(f, key, TINKER_ENOTSUP, "supported is", want);
}

/* Ends the parse of one value: whether it was of the wanted type. */
static bool parsed(tinker__fields_t *f, tinker__json_t *j, bool ok) {
  ok = ok && tinker__json_end(j) == 0;
  if (!ok && j->error == TINKER_ENOMEM) json_failed(f, j);
  tinker__json_done(j);
  return ok;
}

int tinker__field_u32(tinker__fields_t *f, int key, uint32_t min, uint32_t max,
                      const uint32_t *fallback, uint32_t *out) {
  tinker__json_t j;
  uint64_t v = 0;
  if (f->rc) return f->rc;
  if (!tinker__field_has(f, key)) {
    if (!fallback) return tinker__field_bad(f, key, "a number");
    *out = *fallback;
    return 0;
  }
  tinker__json_init(&j, f->mem, f->raw[key].ptr, f->raw[key].len);
  if (!parsed(f, &j, tinker__json_u64(&j, &v)) || v < min || v > max) {
    char want[64];
    if (f->rc) return f->rc;
    tinker__why(want, sizeof want, 0, "a whole number from %u to %u", min, max);
    return tinker__field_bad(f, key, want);
  }
  *out = (uint32_t)v;
  return 0;
}

int tinker__field_f64(tinker__fields_t *f, int key, double min, double max,
                      const double *fallback, double *out) {
  tinker__json_t j;
  double v = 0;
  if (f->rc) return f->rc;
  if (!tinker__field_has(f, key)) {
    if (!fallback) return tinker__field_bad(f, key, "a number");
    *out = *fallback;
    return 0;
  }
  tinker__json_init(&j, f->mem, f->raw[key].ptr, f->raw[key].len);
  if (!parsed(f, &j, tinker__json_f64(&j, &v)) || !isfinite(v) || v < min ||
      v > max) {
    char low[32], high[32], want[96];
    if (f->rc) return f->rc;
    tinker__format_f64(low, min);
    tinker__format_f64(high, max);
    tinker__why(want, sizeof want, 0, "a number from %s to %s", low, high);
    return tinker__field_bad(f, key, want);
  }
  *out = v;
  return 0;
}

int tinker__field_bool(tinker__fields_t *f, int key, bool fallback, bool *out) {
  if (f->rc) return f->rc;
  *out = fallback;
  if (!tinker__field_has(f, key)) return 0;
  *out = tinker__str_eqs(f->raw[key], "true");
  if (!*out && !tinker__str_eqs(f->raw[key], "false")) {
    return tinker__field_bad(f, key, "true or false");
  }
  return 0;
}

/* Copies a string value; false when it is none, too long or has a NUL. */
static bool copy_text(tinker__json_t *j, char *out, size_t cap) {
  tinker__str_t s;
  if (!tinker__json_string(j, &s) || s.len >= cap ||
      memchr(s.ptr, 0, s.len) != NULL) {
    return false;
  }
  memcpy(out, s.ptr, s.len);
  out[s.len] = 0;
  return true;
}

int tinker__field_text(tinker__fields_t *f, int key, char *out, size_t cap,
                       const char *fallback) {
  tinker__json_t j;
  if (f->rc) return f->rc;
  out[0] = 0;
  if (!tinker__field_has(f, key)) {
    if (!fallback) return tinker__field_bad(f, key, "a string");
    tinker__why(out, cap, 0, "%s", fallback);
    return 0;
  }
  tinker__json_init(&j, f->mem, f->raw[key].ptr, f->raw[key].len);
  if (!parsed(f, &j, copy_text(&j, out, cap)) && f->rc == 0) {
    tinker__field_bad(f, key, "a short string");
  }
  return f->rc;
}

int tinker__field_first_text(tinker__fields_t *f, int key, char *out,
                             size_t cap) {
  tinker__json_t j;
  bool ok, first = true;
  out[0] = 0;
  if (f->rc || !tinker__field_has(f, key)) return f->rc;
  tinker__json_init(&j, f->mem, f->raw[key].ptr, f->raw[key].len);
  ok = tinker__json_array(&j);
  while (ok && tinker__json_more(&j)) {
    ok = first ? copy_text(&j, out, cap) : tinker__json_skip(&j);
    first = false;
  }
  if (!parsed(f, &j, ok) && f->rc == 0) {
    tinker__field_bad(f, key, "a list of short strings");
  }
  return f->rc;
}

int tinker__field_all_text(tinker__fields_t *f, int key, const char *want) {
  tinker__json_t j;
  tinker__str_t s;
  bool ok, same = true;
  if (f->rc || !tinker__field_has(f, key)) return f->rc;
  tinker__json_init(&j, f->mem, f->raw[key].ptr, f->raw[key].len);
  ok = tinker__json_array(&j);
  while (ok && tinker__json_more(&j)) {
    ok = tinker__json_string(&j, &s);
    same = same && ok && tinker__str_eqs(s, want);
  }
  if (!parsed(f, &j, ok)) {
    if (f->rc == 0) tinker__field_bad(f, key, "a list of strings");
  } else if (!same) {
    tinker__field_refuse(f, key, want);
  }
  return f->rc;
}

static bool read_ids(tinker__json_t *j, uint32_t limit, int32_t *out,
                     size_t cap, size_t *n) {
  int64_t v;
  *n = 0;
  if (tinker__json_peek(j) != TINKER__JSON_ARRAY) {
    if (!tinker__json_i64(j, &v) || v < 0 || v >= limit) return false;
    out[(*n)++] = (int32_t)v;
    return true;
  }
  if (!tinker__json_array(j)) return false;
  while (tinker__json_more(j)) {
    if (!tinker__json_i64(j, &v) || v < 0 || v >= limit || *n == cap) {
      return false;
    }
    out[(*n)++] = (int32_t)v;
  }
  return true;
}

int tinker__field_ids(tinker__fields_t *f, int key, uint32_t limit,
                      int32_t *out, size_t cap, size_t *n) {
  tinker__json_t j;
  if (f->rc) return f->rc;
  tinker__json_init(&j, f->mem, f->raw[key].ptr, f->raw[key].len);
  if (!parsed(f, &j, read_ids(&j, limit, out, cap, n)) && f->rc == 0) {
    char want[80];
    tinker__why(want, sizeof want, 0,
                "a token id below vocab_size %u, or a list of up to %zu", limit,
                cap);
    tinker__field_bad(f, key, want);
  }
  return f->rc;
}
