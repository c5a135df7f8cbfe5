/* scalar: see scalar.h. A number with a unit is a whole number directly before
 * it, so that every value has one exact meaning and one printed form. */
#include "yaml/scalar.h"

#include <math.h>
#include <stdio.h>
#include <string.h>
#include <tinker/error.h>

typedef struct tinker__yaml_unit_s {
  const char *name;
  int64_t factor;
} tinker__yaml_unit_t;

/* Rising, so that the last one that divides a value gives its shortest text. */
static const tinker__yaml_unit_t durations[] = {{"ms", 1},       {"s", 1000},
                                                {"m", 60000},    {"h", 3600000},
                                                {"d", 86400000}, {NULL, 0}};
static const tinker__yaml_unit_t sizes[] = {
    {"B", 1},         {"KiB", 1 << 10},          {"MiB", 1 << 20},
    {"GiB", 1 << 30}, {"TiB", (int64_t)1 << 40}, {NULL, 0}};
static const tinker__yaml_unit_t counts[] = {
    {"", 1}, {"k", 1000}, {"M", 1000000}, {"G", 1000000000}, {NULL, 0}};
static const tinker__yaml_unit_t rates[] = {
    {"/s", 1}, {"/m", 60}, {"/h", 3600}, {NULL, 0}};

bool tinker__yaml_is_scalar(tinker__yaml_type_t type) {
  return type <= TINKER__YAML_RATE;
}

bool tinker__yaml_is_real(tinker__yaml_type_t type) {
  return type == TINKER__YAML_FLOAT || type == TINKER__YAML_RATE;
}

static const tinker__yaml_unit_t *units_of(tinker__yaml_type_t type) {
  return type == TINKER__YAML_DURATION ? durations
         : type == TINKER__YAML_SIZE   ? sizes
         : type == TINKER__YAML_COUNT  ? counts
                                       : rates;
}

/* The fault of a value that is not of the type. */
static const char *wants(tinker__yaml_type_t type) {
  switch (type) {
  case TINKER__YAML_BOOL: return "is neither true nor false";
  case TINKER__YAML_INT: return "is not a whole number";
  case TINKER__YAML_FLOAT: return "is not a number";
  case TINKER__YAML_COUNT:
    return "is not a count: a whole number, and k, M or G if need be";
  case TINKER__YAML_DURATION:
    return "is not a duration: a whole number and ms, s, m, h or d";
  case TINKER__YAML_SIZE:
    return "is not a size: a whole number and B, KiB, MiB, GiB or TiB";
  default: return "is not a rate: a number and /s, /m or /h";
  }
}

static const char *without_unit(tinker__yaml_type_t type) {
  switch (type) {
  case TINKER__YAML_DURATION: return "lacks its unit: ms, s, m, h or d";
  case TINKER__YAML_SIZE: return "lacks its unit: B, KiB, MiB, GiB or TiB";
  case TINKER__YAML_RATE: return "lacks its unit: /s, /m or /h";
  default: return NULL;
  }
}

/* Length of the number that s begins with: digits, and for a rate what else a
 * number may have. */
static size_t number_len(tinker__yaml_type_t type, tinker__str_t s) {
  const char *may =
      type == TINKER__YAML_RATE ? "0123456789.+-eE" : "0123456789";
  size_t n = 0;
  while (n < s.len && s.ptr[n] && strchr(may, s.ptr[n])) n++;
  return n;
}

static const char *read_unit(tinker__yaml_type_t type, tinker__str_t s,
                             tinker__yaml_scalar_t *out) {
  size_t n = number_len(type, s);
  tinker__str_t number = {s.ptr, n}, unit = {s.ptr + n, s.len - n};
  const tinker__yaml_unit_t *u = units_of(type);
  while (u->name && !tinker__str_eqs(unit, u->name)) u++;
  if (type == TINKER__YAML_RATE) {
    if (tinker__parse_f64(number, &out->f)) return wants(type);
    if (!unit.len) return without_unit(type);
    if (!u->name) return wants(type);
    out->f /= (double)u->factor;
    return NULL;
  }
  int rc = tinker__parse_i64(number, &out->i);
  if (n && !u->name && !unit.len) return without_unit(type);
  if (rc == TINKER_EOVERFLOW) return "is too large";
  if (rc || !u->name) return wants(type);
  if (out->i > INT64_MAX / u->factor) return "is too large";
  out->i *= u->factor;
  return NULL;
}

const char *tinker__yaml_scalar_read(tinker__yaml_type_t type, tinker__str_t s,
                                     tinker__yaml_scalar_t *out) {
  int rc;
  *out = (tinker__yaml_scalar_t){0};
  switch (type) {
  case TINKER__YAML_BOOL:
    out->i = tinker__str_eqs(s, "true");
    return out->i || tinker__str_eqs(s, "false") ? NULL : wants(type);
  case TINKER__YAML_INT:
    rc = tinker__parse_i64(s, &out->i);
    return rc == TINKER_EOVERFLOW ? "is too large" : rc ? wants(type) : NULL;
  case TINKER__YAML_FLOAT:
    rc = tinker__parse_f64(s, &out->f);
    return rc == TINKER_EOVERFLOW ? "is too large" : rc ? wants(type) : NULL;
  default: return read_unit(type, s, out);
  }
}

static void write_unit(const tinker__yaml_unit_t *u, int64_t v, char out[48]) {
  const tinker__yaml_unit_t *best = u;
  char digits[24];
  for (; u->name; u++) {
    if (v && v % u->factor == 0) best = u;
  }
  tinker__format_i64(digits, v / best->factor);
  snprintf(out, 48, "%s%s", digits, best->name);
}

void tinker__yaml_scalar_write(tinker__yaml_type_t type,
                               const tinker__yaml_scalar_t *v, char out[48]) {
  char real[32];
  switch (type) {
  case TINKER__YAML_BOOL: snprintf(out, 48, v->i ? "true" : "false"); break;
  case TINKER__YAML_INT: tinker__format_i64(out, v->i); break;
  case TINKER__YAML_FLOAT: tinker__format_f64(out, v->f); break;
  case TINKER__YAML_RATE:
    tinker__format_f64(real, v->f);
    snprintf(out, 48, "%s/s", real);
    break;
  default: write_unit(units_of(type), v->i, out);
  }
}

const tinker__yaml_word_t *
tinker__yaml_word_named(const tinker__yaml_word_t *words, tinker__str_t s) {
  for (; words && words->name; words++) {
    if (tinker__str_eqs(s, words->name)) return words;
  }
  return NULL;
}

const tinker__yaml_word_t *
tinker__yaml_word_of(const tinker__yaml_word_t *words, int64_t value) {
  for (; words && words->name; words++) {
    if (words->value == value) return words;
  }
  return NULL;
}

void tinker__yaml_put(tinker__yaml_type_t type, void *p,
                      const tinker__yaml_scalar_t *v) {
  bool truth = v->i != 0;
  if (type == TINKER__YAML_BOOL) {
    memcpy(p, &truth, sizeof truth);
  } else if (tinker__yaml_is_real(type)) {
    memcpy(p, &v->f, sizeof v->f);
  } else {
    memcpy(p, &v->i, sizeof v->i);
  }
}

tinker__yaml_scalar_t tinker__yaml_get(tinker__yaml_type_t type,
                                       const void *p) {
  tinker__yaml_scalar_t v = {0};
  bool truth;
  if (type == TINKER__YAML_BOOL) {
    memcpy(&truth, p, sizeof truth);
    v.i = truth;
  } else if (tinker__yaml_is_real(type)) {
    memcpy(&v.f, p, sizeof v.f);
  } else {
    memcpy(&v.i, p, sizeof v.i);
  }
  return v;
}

/* True when v is below (sign -1) or above (1) a limit. */
static bool beyond(const tinker__yaml_field_t *f, const char *limit, int sign,
                   const tinker__yaml_scalar_t *v) {
  tinker__yaml_scalar_t l;
  if (!limit || tinker__yaml_scalar_read(f->type, tinker__str(limit), &l)) {
    return false;
  }
  if (!tinker__yaml_is_real(f->type)) {
    return sign < 0 ? v->i < l.i : v->i > l.i;
  }
  return sign < 0 ? v->f < l.f : v->f > l.f;
}

const char *tinker__yaml_value_read(const tinker__yaml_field_t *f,
                                    tinker__str_t s, tinker__yaml_scalar_t *out,
                                    const tinker__yaml_word_t **word) {
  const tinker__yaml_word_t *w = tinker__yaml_word_named(f->words, s);
  if (word) *word = w;
  if (w) {
    *out = (tinker__yaml_scalar_t){w->value, (double)w->value};
    return NULL;
  }
  if (f->type == TINKER__YAML_CHOICE) return "is not allowed";
  const char *wrong = tinker__yaml_scalar_read(f->type, s, out);
  if (wrong) return wrong;
  if (beyond(f, f->least, -1, out) || beyond(f, f->most, 1, out)) {
    return "is out of range";
  }
  return NULL;
}

void tinker__yaml_value_write(const tinker__yaml_field_t *f,
                              const tinker__yaml_scalar_t *v, char out[48]) {
  bool real = tinker__yaml_is_real(f->type);
  bool whole = !real || (fabs(v->f) < 1e15 && v->f == floor(v->f));
  const tinker__yaml_word_t *w =
      whole ? tinker__yaml_word_of(f->words, real ? (int64_t)v->f : v->i)
            : NULL;
  if (w) {
    snprintf(out, 48, "%s", w->name);
  } else {
    tinker__yaml_scalar_write(f->type, v, out);
  }
}

void tinker__yaml_range(const tinker__yaml_field_t *f, char *out,
                        size_t out_len) {
  out[0] = 0;
  if (f->least && f->most && strcmp(f->least, f->most) == 0) {
    snprintf(out, out_len, "only %s", f->least);
  } else if (f->least && f->most) {
    snprintf(out, out_len, "from %s to %s", f->least, f->most);
  } else if (f->least || f->most) {
    snprintf(out, out_len, "at %s %s", f->least ? "least" : "most",
             f->least ? f->least : f->most);
  }
}
