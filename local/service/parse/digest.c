/* digest: the meaning of a JSON text as 32 bytes. Object keys are taken in
 * sorted order, white space is left out, and equal numbers with a fraction or
 * exponent count as equal. Pure.
 *
 * The text is read twice, whatever its depth. The first pass lists the members
 * of every object and sorts them; the second pass adds the values in the order
 * of these lists. Objects are counted in the order of the text, and the count
 * finds the list of an object. Arrays keep their order and need no list. */
#include <stdlib.h>
#include <string.h>

#include <tinker/error.h>

#include "service/parse/body.h"

typedef struct {
  tinker__str_t key; /* lives as long as the first pass's reader */
  const char *value; /* where the text of its value begins */
  size_t objects;    /* objects that begin before the value */
} member_t;

typedef struct {
  size_t first, n; /* its members in digest_t.members */
  const char *end; /* of its text */
  size_t objects;  /* objects that begin before that end */
} object_t;

typedef struct {
  void *items; /* NULL while empty */
  size_t n, cap, size;
} vec_t;

typedef struct {
  tinker__mem_t *mem;
  tinker__json_t text;
  tinker__sha256_t *hash;
  vec_t objects; /* object_t, in the order of the text */
  vec_t members; /* member_t; the members of an object together and sorted */
  vec_t open;    /* member_t of the objects whose end was not seen yet */
  size_t at;     /* second pass: objects that begin before this place */
  size_t read;   /* bytes read by both passes */
} digest_t;

static void *vec_push(digest_t *d, vec_t *v) {
  if (v->n == v->cap) {
    size_t cap = v->cap ? 2 * v->cap : 16;
    void *p = tinker__mem_realloc(d->mem, v->items, cap * v->size);
    if (!p) return NULL;
    v->items = p;
    v->cap = cap;
  }
  return (char *)v->items + v->n++ * v->size;
}

/* --- The first pass ------------------------------------------------------- */

static int by_key(const void *a, const void *b) {
  const member_t *x = a, *y = b;
  size_t n = x->key.len < y->key.len ? x->key.len : y->key.len;
  int c = memcmp(x->key.ptr, y->key.ptr, n);
  if (c != 0) return c;
  if (x->key.len != y->key.len) return x->key.len < y->key.len ? -1 : 1;
  return x->value < y->value ? -1 : x->value > y->value;
}

static int list_value(digest_t *d);

/* The object ends here: sorts its members and moves them from d->open to
 * d->members. */
static int close_object(digest_t *d, size_t object, size_t from) {
  member_t *open = d->open.items;
  size_t n = d->open.n - from;
  object_t *o = (object_t *)d->objects.items + object;
  *o = (object_t){d->members.n, n, d->text.at, d->objects.n};
  if (n) qsort(open + from, n, sizeof *open, by_key);
  for (size_t i = 0; i < n; i++) {
    member_t *m = vec_push(d, &d->members);
    if (!m) return TINKER_ENOMEM;
    *m = open[from + i];
  }
  d->open.n = from;
  return 0;
}

static int list_object(digest_t *d) {
  tinker__json_t *j = &d->text;
  tinker__str_t key;
  size_t object = d->objects.n, from = d->open.n;
  if (!vec_push(d, &d->objects)) return TINKER_ENOMEM;
  if (!tinker__json_object(j)) return j->error;
  while (tinker__json_key(j, &key)) {
    member_t *m = vec_push(d, &d->open);
    if (!m) return TINKER_ENOMEM;
    tinker__json_peek(j);
    *m = (member_t){key, j->at, d->objects.n};
    int rc = list_value(d);
    if (rc != 0) return rc;
  }
  return j->error ? j->error : close_object(d, object, from);
}

static int list_array(digest_t *d) {
  tinker__json_t *j = &d->text;
  int rc = tinker__json_array(j) ? 0 : j->error;
  while (rc == 0 && tinker__json_more(j)) rc = list_value(d);
  return rc ? rc : j->error;
}

static int list_value(digest_t *d) {
  switch (tinker__json_peek(&d->text)) {
  case TINKER__JSON_OBJECT: return list_object(d);
  case TINKER__JSON_ARRAY: return list_array(d);
  default: return tinker__json_skip(&d->text) ? 0 : d->text.error;
  }
}

/* --- The second pass ------------------------------------------------------ */

static int add_string(digest_t *d, char mark, tinker__str_t s) {
  uint64_t len = s.len;
  int rc = tinker__sha256_add(d->hash, &mark, 1);
  if (rc == 0) rc = tinker__sha256_add(d->hash, &len, sizeof len);
  return rc ? rc : tinker__sha256_add(d->hash, s.ptr, s.len);
}

/* 1.0, 1.00 and 1e0 are the same number. Integers stay as they are, since a
 * double does not hold all of them. */
static int add_number(digest_t *d, tinker__str_t s) {
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
  return add_string(d, 'v', s);
}

/* In the second pass each member's value has its own reader, which begins at
 * the value and ends with the text. */
static int add_value(digest_t *d, tinker__json_t *j, const char *except);

static int add_member(digest_t *d, const member_t *m) {
  tinker__json_t j;
  d->at = m->objects;
  tinker__json_init(&j, d->mem, m->value, (size_t)(d->text.end - m->value));
  int rc = add_string(d, 'k', m->key);
  if (rc == 0) rc = add_value(d, &j, NULL);
  d->read += (size_t)(j.at - j.start);
  tinker__json_done(&j);
  return rc;
}

/* The readers of the members have read the object, so j skips to its end. */
static int add_object(digest_t *d, tinker__json_t *j, const char *except) {
  const object_t o = ((const object_t *)d->objects.items)[d->at];
  int rc = tinker__sha256_add(d->hash, "{", 1);
  for (size_t i = 0; rc == 0 && i < o.n; i++) {
    const member_t *m = (const member_t *)d->members.items + o.first + i;
    if (except && tinker__str_eqs(m->key, except)) continue;
    rc = add_member(d, m);
  }
  j->start += o.end - j->at; /* these bytes do not count as read by j */
  j->at = o.end;
  d->at = o.objects;
  return rc ? rc : tinker__sha256_add(d->hash, "}", 1);
}

static int add_array(digest_t *d, tinker__json_t *j) {
  int rc = tinker__sha256_add(d->hash, "[", 1);
  if (rc == 0 && !tinker__json_array(j)) rc = j->error;
  while (rc == 0 && tinker__json_more(j)) rc = add_value(d, j, NULL);
  if (rc == 0) rc = j->error;
  return rc ? rc : tinker__sha256_add(d->hash, "]", 1);
}

static int add_value(digest_t *d, tinker__json_t *j, const char *except) {
  tinker__str_t s;
  switch (tinker__json_peek(j)) {
  case TINKER__JSON_OBJECT: return add_object(d, j, except);
  case TINKER__JSON_ARRAY: return add_array(d, j);
  case TINKER__JSON_STRING:
    return tinker__json_string(j, &s) ? add_string(d, 's', s) : j->error;
  case TINKER__JSON_NUMBER:
    return tinker__json_raw(j, &s) ? add_number(d, s) : j->error;
  default: return tinker__json_raw(j, &s) ? add_string(d, 'v', s) : j->error;
  }
}

static int read_twice(digest_t *d, tinker__str_t text, const char *except) {
  tinker__json_t j;
  tinker__json_init(&d->text, d->mem, text.ptr, text.len);
  int rc = list_value(d);
  d->read = (size_t)(d->text.at - d->text.start);
  if (rc != 0) return rc;
  tinker__json_init(&j, d->mem, text.ptr, text.len);
  rc = add_value(d, &j, except);
  d->read += (size_t)(j.at - j.start);
  tinker__json_done(&j);
  return rc;
}

int tinker__svc_body_digest_read(tinker__mem_t *mem, tinker__str_t text,
                                 const char *except,
                                 unsigned char out[TINKER__SHA256_LEN],
                                 size_t *read) {
  unsigned char ignored[TINKER__SHA256_LEN];
  digest_t d = {
      .mem = mem,
      .objects = {.size = sizeof(object_t)},
      .members = {.size = sizeof(member_t)},
      .open = {.size = sizeof(member_t)},
  };
  int rc = tinker__sha256_new(&d.hash, mem);
  if (rc != 0) return rc;
  rc = read_twice(&d, text, except);
  tinker__json_done(&d.text);
  tinker__mem_free(mem, d.objects.items);
  tinker__mem_free(mem, d.members.items);
  tinker__mem_free(mem, d.open.items);
  int end = tinker__sha256_end(d.hash, rc == 0 ? out : ignored);
  *read = d.read;
  return rc ? rc : end;
}

int tinker__svc_body_digest(tinker__mem_t *mem, tinker__str_t text,
                            const char *except,
                            unsigned char out[TINKER__SHA256_LEN]) {
  size_t read;
  return tinker__svc_body_digest_read(mem, text, except, out, &read);
}
