/* fb_output_json: the JSON form of a result, as servers without protobuf give
 * it (fb_output.h). */
#include <string.h>
#include <tinker/error.h>

#include "wire/fb_output.h"
#include "wire/json_bind.h"
#include "wire/tensor.h"

typedef struct tinker__output_json_s {
  tinker__arena_t *arena;
  tinker__fb_output_t *out;
  tinker__json_t j;
  tinker__where_t at;
} tinker__output_json_t;

static int no_memory(const tinker__output_json_t *d) {
  return tinker__where(&d->at, tinker__arena_error(d->arena), "%s",
                       tinker__arena_trouble(d->arena));
}

static int take_datum(tinker__output_json_t *d, tinker__output_datum_t *out,
                      size_t index) {
  tinker__named_tensor_t *fields = NULL;
  size_t n = 0, cap = 0;
  tinker__str_t key;
  d->at.index = index;
  tinker__json_object(&d->j);
  while (tinker__json_key(&d->j, &key)) {
    if (n == TINKER__MAX_INPUTS || key.len > TINKER__MAX_NAME) {
      return tinker__where(&d->at, TINKER_EOVERFLOW, "too many fields");
    }
    fields = tinker__arena_grow(d->arena, fields, n, &cap, sizeof(*fields));
    char *name = tinker__arena_str(d->arena, key);
    if (!fields || !name) return no_memory(d);
    d->at.name = fields[n].name = (tinker__str_t){name, key.len};
    int rc =
        tinker__tensor_from_json(&fields[n].tensor, d->arena, &d->j, 0, &d->at);
    if (rc) return rc;
    d->at.name = TINKER__STR("");
    n++;
  }
  if (!d->j.error && !tinker__tensors_sort(fields, n)) {
    return tinker__where(&d->at, TINKER_EJSON, "a field comes twice");
  }
  out->fields = fields;
  out->field_count = n;
  return d->j.error;
}

static int take_datums(tinker__output_json_t *d) {
  tinker__output_datum_t *datums = NULL;
  size_t n = 0, cap = 0;
  tinker__json_array(&d->j);
  while (tinker__json_more(&d->j)) {
    if (n == TINKER__MAX_DATUMS) {
      return tinker__where(&d->at, TINKER_EOVERFLOW, "too many datums");
    }
    datums = tinker__arena_grow(d->arena, datums, n, &cap, sizeof(*datums));
    if (!datums) return no_memory(d);
    int rc = take_datum(d, &datums[n], n);
    if (rc) return rc;
    n++;
  }
  d->at.index = SIZE_MAX;
  d->out->datums = datums;
  d->out->datum_count = n;
  return d->j.error;
}

static int take_type(tinker__output_json_t *d) {
  tinker__str_t s;
  if (!tinker__json_string(&d->j, &s)) return d->j.error;
  char *copy = tinker__arena_str(d->arena, s);
  if (!copy) return no_memory(d);
  d->out->type = (tinker__str_t){copy, s.len};
  return 0;
}

static int take_field(tinker__output_json_t *d, tinker__str_t key) {
  if (tinker__str_eqs(key, "loss_fn_output_type")) return take_type(d);
  if (tinker__str_eqs(key, "loss_fn_outputs")) return take_datums(d);
  if (tinker__str_eqs(key, "metrics")) {
    tinker__numbers_t n = {0};
    int rc = tinker__bind_read_numbers(&d->j, d->arena, "metrics", &n,
                                       d->at.why, d->at.why_len);
    d->out->metrics = n.items;
    d->out->metric_count = n.count;
    return rc;
  }
  tinker__json_skip(&d->j);
  return 0;
}

int tinker__fb_output_decode_json(tinker__fb_output_t *out,
                                  tinker__arena_t *arena, tinker__str_t body,
                                  char *why, size_t why_len) {
  tinker__output_json_t d = {
      .arena = arena,
      .out = out,
      .at = {"loss_fn_outputs", SIZE_MAX, NULL, TINKER__STR(""), why, why_len}};
  tinker__str_t key;
  int rc = 0;
  memset(out, 0, sizeof(*out));
  out->type = TINKER__STR("ArrayRecord");
  tinker__decode_budget(arena, body.len);
  if (why && why_len) why[0] = 0;
  tinker__json_init(&d.j, arena->mem, body.ptr, body.len);
  tinker__json_object(&d.j);
  while (!rc && tinker__json_key(&d.j, &key)) rc = take_field(&d, key);
  if (!rc) rc = tinker__json_end(&d.j);
  if (rc && !(why && why_len && why[0])) {
    tinker__where(&d.at, rc, "%s", d.j.reason ? d.j.reason : "malformed");
  }
  tinker__json_done(&d.j);
  tinker__arena_allow_all(arena);
  return rc;
}
