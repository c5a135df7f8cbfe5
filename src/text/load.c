/* load: tokenizer.json from the top. One thread; the result is immutable. */
#include "text/load.h"

#include <string.h>
#include <tinker/error.h>

#include "base/world.h"

#define MAX_SEQUENCES 8

enum {
  K_VERSION,
  K_TRUNCATION,
  K_PADDING,
  K_ADDED,
  K_NORMALIZER,
  K_STEPS,
  K_TEMPLATE,
  K_DECODER,
  K_MODEL,
  K_COUNT
};

static const char *const keys[K_COUNT] = {
    [K_VERSION] = "version",
    [K_TRUNCATION] = "truncation",
    [K_PADDING] = "padding",
    [K_ADDED] = "added_tokens",
    [K_NORMALIZER] = "normalizer",
    [K_STEPS] = "pre_tokenizer",
    [K_TEMPLATE] = "post_processor",
    [K_DECODER] = "decoder",
    [K_MODEL] = "model",
};

typedef struct members_s {
  tinker__load_t *l;
  const char *where, *members;
  tinker__component_cb one;
} members_t;

static int load_member(void *user, tinker__str_t raw) {
  members_t *m = user;
  return tinker__load_component(m->l, raw, m->where, m->members, m->one);
}

/* The value of one key of an object, whatever its other keys are. */
static int find_key(tinker__load_t *l, tinker__str_t raw, const char *where,
                    const char *name, tinker__str_t *value) {
  tinker__json_t j;
  tinker__str_t key, v;
  *value = (tinker__str_t){"", 0};
  tinker__json_init(&j, l->v.mem, raw.ptr, raw.len);
  if (tinker__json_object(&j)) {
    while (tinker__json_key(&j, &key)) {
      if (tinker__json_raw(&j, &v) && tinker__str_eqs(key, name)) *value = v;
    }
  }
  int rc = tinker__json_end(&j);
  if (rc) rc = tinker__values_json(&l->v, where, &j);
  tinker__json_done(&j);
  return rc;
}

int tinker__load_component(tinker__load_t *l, tinker__str_t raw,
                           const char *where, const char *members,
                           tinker__component_cb one) {
  char type[64];
  tinker__str_t type_raw, values[2];
  int rc = find_key(l, raw, where, "type", &type_raw);
  if (rc == 0) {
    rc = tinker__values_name(&l->v, type_raw, where, type, sizeof type);
  }
  if (rc) return rc;
  if (strcmp(type, "Sequence") != 0) return one(l, type, raw);
  const char *const sequence_keys[2] = {"type", members};
  members_t m = {l, where, members, one};
  rc = tinker__values_object(&l->v, raw, where, sequence_keys, values, 2);
  if (rc) return rc;
  if (l->depth == MAX_SEQUENCES) {
    return tinker__values_fail(&l->v, TINKER_EOVERFLOW, where,
                               "Sequences nested too deep");
  }
  l->depth++;
  rc = tinker__values_each(&l->v, values[1], where, load_member, &m);
  l->depth--;
  return rc;
}

/* "truncation" and "padding" say what a batch was cut and filled up to when
 * the file was saved. Nothing reads them: encoding one text gives all of its
 * ids, as `transformers` does unless it is asked for something else. */
static int load_all(tinker__load_t *l, tinker__str_t text) {
  tinker__str_t raw[K_COUNT];
  int rc =
      tinker__values_object(&l->v, text, "tokenizer.json", keys, raw, K_COUNT);
  if (rc) return rc;
  for (int k = K_TRUNCATION; k <= K_PADDING; k++) {
    if (raw[k].len && raw[k].ptr[0] != '{') {
      return tinker__values_refuse(&l->v, "tokenizer.json", keys[k], raw[k]);
    }
  }
  rc = tinker__load_model(l, raw[K_MODEL]);
  if (rc == 0) rc = tinker__load_normalizer(l, raw[K_NORMALIZER]);
  if (rc == 0) rc = tinker__load_added(l, raw[K_ADDED]);
  if (rc == 0) rc = tinker__load_steps(l, raw[K_STEPS]);
  if (rc == 0) rc = tinker__load_template(l, raw[K_TEMPLATE]);
  if (rc == 0) rc = tinker__load_decoder(l, raw[K_DECODER]);
  return rc;
}

int tinker__tokenizer_load(tinker_tokenizer_t *t, tinker__str_t text, char *why,
                           size_t why_len) {
  const tinker__world_t *world = tinker__world_real();
  tinker__load_t l;
  uint64_t seed = 0;
  memset(&l, 0, sizeof l);
  l.v = (tinker__values_t){t->mem, why, why_len};
  l.t = t;
  /* Without chance the tables still work; only a file made to slow them down
   * could tell. */
  if (world->random(world->user, &seed, sizeof seed) != 0) seed = 0;
  tinker__strings_init(&l.names, t->mem, seed);
  tinker__strings_init(&t->bytes, t->mem, seed);
  tinker__buf_init(&l.text, t->mem, 1 << 20);
  t->raw.mem = t->normalized.mem = t->mem;
  t->bpe.merges.mem = t->mem;
  t->bpe.merges.seed = seed;
  int rc = load_all(&l, text);
  tinker__strings_free(&l.names);
  tinker__buf_free(&l.text);
  return rc;
}

void tinker__tokenizer_clear(tinker_tokenizer_t *t) {
  for (size_t i = 0; i < TINKER__TOKENIZER_MAX_STEPS; i++) {
    tinker__split_free(&t->steps[i]);
  }
  tinker__added_free(&t->raw);
  tinker__added_free(&t->normalized);
  tinker__merges_free(&t->bpe.merges);
  tinker__strings_free(&t->bytes);
  tinker__mem_free(t->mem, t->special);
}
