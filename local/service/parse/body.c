/* body: see body.h. */
#include "service/parse/body.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include <tinker/error.h>

static const char *const type_names[] = {"a string", "an integer",
                                         "a finite number", "true or false"};

static bool take_value(tinker__json_t *j, const tinker__svc_field_t *f) {
  tinker__str_t *s = f->out;
  double *d = f->out;
  switch (f->type) {
  case TINKER__FIELD_STR:
    return tinker__json_string(j, s) && !memchr(s->ptr, 0, s->len);
  case TINKER__FIELD_I64: return tinker__json_i64(j, f->out);
  case TINKER__FIELD_F64: return tinker__json_f64(j, d) && isfinite(*d);
  case TINKER__FIELD_BOOL: return tinker__json_bool(j, f->out);
  default: return tinker__json_raw(j, s);
  }
}

/* One member of the object; the index of its field, or n. */
static size_t find_field(const tinker__svc_field_t *fields, size_t n,
                         tinker__str_t key) {
  size_t i = 0;
  while (i < n && !tinker__str_eqs(key, fields[i].name)) i++;
  return i;
}

static int read_members(tinker__svc_body_t *b, const char *prefix,
                        const tinker__svc_field_t *fields, size_t n,
                        uint64_t *seen, char *why, size_t why_len) {
  tinker__str_t key;
  uint64_t given = 0; /* also those that are null */
  while (tinker__json_key(&b->json, &key)) {
    size_t i = find_field(fields, n, key);
    if (i < n && (given & (1ull << i))) {
      return tinker__why(why, why_len, TINKER_EINVAL, "%s%s: given twice",
                         prefix, fields[i].name);
    }
    if (i < n) given |= 1ull << i;
    if (i == n || (tinker__json_peek(&b->json) == TINKER__JSON_NULL &&
                   fields[i].type != TINKER__FIELD_F64)) {
      if (!tinker__json_skip(&b->json)) break;
      continue;
    }
    if (!take_value(&b->json, &fields[i])) {
      if (b->json.error == TINKER_ENOMEM ||
          fields[i].type == TINKER__FIELD_RAW) {
        break;
      }
      return tinker__why(why, why_len, TINKER_EINVAL, "%s%s: must be %s",
                         prefix, fields[i].name, type_names[fields[i].type]);
    }
    *seen |= 1ull << i;
    if (fields[i].present) *fields[i].present = true;
  }
  return 0;
}

int tinker__svc_body_parse(tinker__svc_body_t *b, tinker__mem_t *mem,
                           tinker__str_t text, const char *prefix,
                           const tinker__svc_field_t *fields, size_t n,
                           char *why, size_t why_len) {
  uint64_t seen = 0;
  tinker__json_init(&b->json, mem, text.ptr, text.len);
  if (!tinker__json_object(&b->json)) {
    return tinker__why(why, why_len, TINKER_EINVAL,
                       "%s%s must be a JSON object", prefix,
                       *prefix ? "" : "the body");
  }
  int rc = read_members(b, prefix, fields, n, &seen, why, why_len);
  if (rc != 0) return rc;
  rc = tinker__json_end(&b->json);
  if (rc != 0) {
    tinker__str_t key = b->json.last_key;
    return tinker__why(
        why, why_len, rc,
        "%smalformed JSON at byte %zu, behind the key '%.*s': %s", prefix,
        b->json.error_at, (int)(key.len < 60 ? key.len : 60),
        key.len ? key.ptr : "", b->json.reason ? b->json.reason : "");
  }
  for (size_t i = 0; i < n; i++) {
    if (fields[i].required && !(seen & (1ull << i))) {
      return tinker__why(why, why_len, TINKER_EINVAL, "%s%s is required",
                         prefix, fields[i].name);
    }
  }
  return 0;
}

void tinker__svc_body_done(tinker__svc_body_t *b) {
  tinker__json_done(&b->json);
}

int tinker__svc_body_read(tinker__svc_body_t *b, tinker__svc_req_t *r,
                          const tinker__svc_field_t *fields, size_t n) {
  char why[300];
  if (r->body_proto) {
    tinker__svc_reply_error(r, 415,
                            "Content-Type application/x-protobuf is for "
                            "forward_backward only: this body is JSON");
    return TINKER_EINVAL;
  }
  int rc = tinker__svc_body_parse(b, r->service->mem, tinker__buf_str(&r->body),
                                  "", fields, n, why, sizeof why);
  if (rc == 0) return 0;
  tinker__svc_body_done(b);
  tinker__svc_reply_error(r, rc == TINKER_ENOMEM ? 503 : 422, "%s", why);
  return rc;
}

/* --- Digest --------------------------------------------------------------- */

typedef struct {
  tinker__str_t key;
  tinker__str_t value; /* JSON text */
} member_t;

static int by_key(const void *a, const void *b) {
  const member_t *x = a, *y = b;
  size_t n = x->key.len < y->key.len ? x->key.len : y->key.len;
  int c = memcmp(x->key.ptr, y->key.ptr, n);
  if (c != 0) return c;
  return x->key.len < y->key.len ? -1 : x->key.len > y->key.len;
}

static int digest_value(tinker__mem_t *mem, tinker__sha256_t *h,
                        tinker__str_t text, const char *except, int depth);

static int add_string(tinker__sha256_t *h, char mark, tinker__str_t s) {
  uint64_t len = s.len;
  int rc = tinker__sha256_add(h, &mark, 1);
  if (rc == 0) rc = tinker__sha256_add(h, &len, sizeof len);
  return rc ? rc : tinker__sha256_add(h, s.ptr, s.len);
}

/* 1.0, 1.00 and 1e0 are one number. Integers stay as they are: a double does
 * not hold all of them. */
static int add_number(tinker__sha256_t *h, tinker__str_t s) {
  char text[32];
  double v;
  bool whole = true;
  for (size_t i = 0; i < s.len; i++) {
    whole = whole && s.ptr[i] != '.' && s.ptr[i] != 'e' && s.ptr[i] != 'E';
  }
  if (!whole && tinker__parse_f64(s, &v) == 0) {
    tinker__format_f64(text, v);
    s = tinker__str(text);
  }
  return add_string(h, 'v', s);
}

/* The members of the object that j is in front of. */
static int list_members(tinker__json_t *j, tinker__mem_t *mem, member_t **out,
                        size_t *n) {
  size_t cap = 0;
  member_t m;
  if (!tinker__json_object(j)) return TINKER_EJSON;
  while (tinker__json_key(j, &m.key) && tinker__json_raw(j, &m.value)) {
    if (*n == cap) {
      cap = cap ? 2 * cap : 8;
      member_t *p = tinker__mem_realloc(mem, *out, cap * sizeof *p);
      if (!p) return TINKER_ENOMEM;
      *out = p;
    }
    (*out)[(*n)++] = m;
  }
  return j->error;
}

static int digest_object(tinker__mem_t *mem, tinker__sha256_t *h,
                         tinker__json_t *j, const char *except, int depth) {
  member_t *members = NULL;
  size_t n = 0;
  int rc = list_members(j, mem, &members, &n);
  if (rc == 0 && n) qsort(members, n, sizeof *members, by_key);
  for (size_t i = 0; rc == 0 && i < n; i++) {
    if (except && tinker__str_eqs(members[i].key, except)) continue;
    rc = add_string(h, 'k', members[i].key);
    if (rc == 0) {
      rc = digest_value(mem, h, members[i].value, NULL, depth + 1);
    }
  }
  tinker__mem_free(mem, members);
  return rc;
}

static int digest_array(tinker__mem_t *mem, tinker__sha256_t *h,
                        tinker__json_t *j, int depth) {
  tinker__str_t raw;
  int rc = tinker__json_array(j) ? 0 : TINKER_EJSON;
  while (rc == 0 && tinker__json_more(j) && tinker__json_raw(j, &raw)) {
    rc = digest_value(mem, h, raw, NULL, depth + 1);
  }
  return rc ? rc : j->error;
}

static int digest_value(tinker__mem_t *mem, tinker__sha256_t *h,
                        tinker__str_t text, const char *except, int depth) {
  tinker__json_t j;
  tinker__str_t s;
  if (depth > TINKER__JSON_MAX_DEPTH) return TINKER_EJSON;
  tinker__json_init(&j, mem, text.ptr, text.len);
  int rc;
  switch (tinker__json_peek(&j)) {
  case TINKER__JSON_OBJECT:
    rc = tinker__sha256_add(h, "{", 1);
    if (rc == 0) rc = digest_object(mem, h, &j, except, depth);
    if (rc == 0) rc = tinker__sha256_add(h, "}", 1);
    break;
  case TINKER__JSON_ARRAY:
    rc = tinker__sha256_add(h, "[", 1);
    if (rc == 0) rc = digest_array(mem, h, &j, depth);
    if (rc == 0) rc = tinker__sha256_add(h, "]", 1);
    break;
  case TINKER__JSON_STRING:
    rc = tinker__json_string(&j, &s) ? add_string(h, 's', s) : j.error;
    break;
  case TINKER__JSON_NUMBER:
    rc = tinker__json_raw(&j, &s) ? add_number(h, s) : j.error;
    break;
  default: rc = tinker__json_raw(&j, &s) ? add_string(h, 'v', s) : j.error;
  }
  tinker__json_done(&j);
  return rc;
}

int tinker__svc_body_digest(tinker__mem_t *mem, tinker__str_t text,
                            const char *except,
                            unsigned char out[TINKER__SHA256_LEN]) {
  tinker__sha256_t *h;
  unsigned char ignored[TINKER__SHA256_LEN];
  int rc = tinker__sha256_new(&h, mem);
  if (rc != 0) return rc;
  rc = digest_value(mem, h, text, except, 0);
  int end = tinker__sha256_end(h, rc == 0 ? out : ignored);
  return rc ? rc : end;
}
