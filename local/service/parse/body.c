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
