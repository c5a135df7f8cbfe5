/* body: see body.h. */
#include "service/parse/body.h"

#include <stdlib.h>
#include <string.h>

#include <tinker/error.h>

bool tinker__svc_body_is_json(tinker__svc_req_t *r) {
  if (!r->body_proto) return true;
  tinker__svc_reply_error(r, 415,
                          "Content-Type application/x-protobuf is for "
                          "forward_backward only: this body is JSON");
  return false;
}

int tinker__svc_body_read(tinker__svc_req_t *r, tinker__arena_t *arena,
                          const tinker__bind_table_t *message, void *out) {
  char why[300];
  if (!tinker__svc_body_is_json(r)) return TINKER_EINVAL;
  tinker__arena_init(arena, r->service->mem);
  int rc = tinker__message_decode(message, out, arena,
                                  tinker__buf_str(&r->body), why, sizeof why);
  if (rc == 0) return 0;
  tinker__arena_free(arena);
  tinker__svc_reply_why(r, rc, 422, why);
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
