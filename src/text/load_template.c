/* load_template: reads the post-processor of a tokenizer.json, which puts
 * tokens around a text when special tokens are asked for. */
#include <string.h>
#include <tinker/error.h>

#include "text/load.h"

typedef struct reading_s {
  tinker__load_t *l;
  tinker__str_t specials; /* "special_tokens" of the template */
  bool seen_text;         /* "A" has come */
} reading_t;

static int fail(tinker__load_t *l, int code, const char *what) {
  return tinker__values_fail(&l->v, code, "post_processor", what);
}

static int add_id(void *user, tinker__str_t raw) {
  reading_t *r = user;
  tinker_tokenizer_t *t = r->l->t;
  tinker__str_t text;
  uint32_t id = 0;
  int rc = tinker__values_id(&r->l->v, raw, "post_processor: ids", &id);
  if (rc) return rc;
  if (!tinker__strings_get(&t->bytes, id, &text)) {
    return fail(r->l, TINKER_EFORMAT, "an id that no token has");
  }
  size_t *n = r->seen_text ? &t->num_behind : &t->num_before;
  if (*n == TINKER__TEMPLATE_MAX) {
    return fail(r->l, TINKER_EOVERFLOW, "over 16 ids on a side");
  }
  (r->seen_text ? t->behind : t->before)[(*n)++] = (int32_t)id;
  return 0;
}

/* The entry of "special_tokens" of that name. */
static int add_special(reading_t *r, tinker__str_t name) {
  static const char *const keys[3] = {"id", "ids", "tokens"};
  tinker__json_t j;
  tinker__str_t key, value, found = {"", 0}, raw[3];
  tinker__json_init(&j, r->l->v.mem, r->specials.ptr, r->specials.len);
  if (tinker__json_object(&j)) {
    while (tinker__json_key(&j, &key)) {
      if (tinker__json_raw(&j, &value) && tinker__str_eq(key, name)) {
        found = value;
      }
    }
  }
  int rc = 0;
  if (tinker__json_end(&j) != 0) {
    rc = tinker__values_json(&r->l->v, "post_processor: special_tokens", &j);
  }
  tinker__json_done(&j);
  if (rc) return rc;
  if (found.len == 0) {
    return fail(r->l, TINKER_EFORMAT, "a piece is not in special_tokens");
  }
  rc = tinker__values_object(&r->l->v, found, "post_processor", keys, raw, 3);
  if (rc) return rc;
  return tinker__values_each(&r->l->v, raw[1], "post_processor: ids", add_id,
                             r);
}

static int add_text(reading_t *r, tinker__str_t id) {
  if (!tinker__str_eqs(id, "A") || r->seen_text) {
    return fail(r->l, TINKER_ENOTSUP, "single must hold A exactly once");
  }
  r->seen_text = true;
  return 0;
}

/* {"SpecialToken": {"id": ...}} or {"Sequence": {"id": "A"}} */
static int add_piece(void *user, tinker__str_t raw) {
  static const char *const kinds[2] = {"SpecialToken", "Sequence"};
  static const char *const keys[2] = {"id", "type_id"};
  reading_t *r = user;
  tinker__load_t *l = r->l;
  tinker__str_t kind[2], value[2];
  int rc = tinker__values_object(&l->v, raw, "post_processor: single", kinds,
                                 kind, 2);
  if (rc) return rc;
  bool is_text = kind[0].len == 0;
  rc = tinker__values_object(&l->v, kind[is_text], "post_processor: single",
                             keys, value, 2);
  if (rc == 0) {
    rc = tinker__values_text(&l->v, value[0], "post_processor: single",
                             &l->text);
  }
  if (rc) return rc;
  return is_text ? add_text(r, tinker__buf_str(&l->text))
                 : add_special(r, tinker__buf_str(&l->text));
}

static int one_processor(tinker__load_t *l, const char *type,
                         tinker__str_t raw) {
  static const char *const keys[4] = {"type", "single", "pair",
                                      "special_tokens"};
  tinker__str_t value[4];
  if (strcmp(type, "ByteLevel") == 0) return 0; /* changes offsets only */
  if (strcmp(type, "TemplateProcessing") != 0) {
    return tinker__why(l->v.why, l->v.why_len, TINKER_ENOTSUP,
                       "post_processor: type \"%s\" is not supported", type);
  }
  if (l->templated) return fail(l, TINKER_ENOTSUP, "two templates");
  l->templated = true;
  int rc = tinker__values_object(&l->v, raw, "post_processor", keys, value, 4);
  reading_t r = {l, value[3], false};
  if (rc == 0) {
    rc = tinker__values_each(&l->v, value[1], "post_processor: single",
                             add_piece, &r);
  }
  if (rc == 0 && !r.seen_text) {
    rc = fail(l, TINKER_ENOTSUP, "single must hold A exactly once");
  }
  return rc;
}

int tinker__load_template(tinker__load_t *l, tinker__str_t raw) {
  if (raw.len == 0) return 0;
  return tinker__load_component(l, raw, "post_processor", "processors",
                                one_processor);
}
