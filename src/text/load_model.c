/* load_model: vocabulary, merges and added tokens of a tokenizer.json. */
#include <string.h>
#include <tinker/error.h>

#include "text/letters.h"
#include "text/load.h"

enum {
  K_TYPE,
  K_DROPOUT,
  K_UNK,
  K_PREFIX,
  K_SUFFIX,
  K_FUSE_UNK,
  K_FALLBACK,
  K_IGNORE,
  K_VOCAB,
  K_MERGES,
  K_COUNT
};

static const char *const keys[K_COUNT] = {
    [K_TYPE] = "type",
    [K_DROPOUT] = "dropout",
    [K_UNK] = "unk_token",
    [K_PREFIX] = "continuing_subword_prefix",
    [K_SUFFIX] = "end_of_word_suffix",
    [K_FUSE_UNK] = "fuse_unk",
    [K_FALLBACK] = "byte_fallback",
    [K_IGNORE] = "ignore_merges",
    [K_VOCAB] = "vocab",
    [K_MERGES] = "merges",
};

static int fail_put(tinker__load_t *l, int rc, tinker__str_t name) {
  return tinker__why(
      l->v.why, l->v.why_len, rc == TINKER_EEXIST ? TINKER_EFORMAT : rc,
      "model: token %.*s: %s", (int)(name.len < 100 ? name.len : 100), name.ptr,
      rc == TINKER_EEXIST ? "it or its id is there twice"
                          : tinker_code_text(rc));
}

/* Gives an id its spelling and the bytes it stands for. Only what is spelt
 * with letters can come out of encoding. */
static int put_token(tinker__load_t *l, uint32_t id, tinker__str_t name,
                     bool vocabulary) {
  int rc = tinker__strings_put(&l->names, id, name, true);
  if (rc) return fail_put(l, rc, name);
  tinker__buf_clear(&l->text);
  bool letters = tinker__letters_to_bytes(&l->text, name);
  rc = tinker__buf_error(&l->text);
  if (rc == 0) {
    rc = tinker__strings_put(&l->t->bytes, id, tinker__buf_str(&l->text),
                             letters && vocabulary);
  }
  return rc ? fail_put(l, rc, name) : 0;
}

static int load_vocab(tinker__load_t *l, tinker__str_t raw) {
  tinker__json_t j;
  tinker__str_t name;
  uint64_t id;
  int rc = 0;
  tinker__json_init(&j, l->v.mem, raw.ptr, raw.len);
  if (tinker__json_object(&j)) {
    while (rc == 0 && tinker__json_key(&j, &name)) {
      if (!tinker__json_u64(&j, &id)) break;
      if (id >= TINKER__MAX_VOCABULARY) {
        rc = fail_put(l, TINKER_EOVERFLOW, name);
      } else {
        rc = put_token(l, (uint32_t)id, name, true);
      }
      l->num_vocab++;
    }
  }
  if (rc == 0 && tinker__json_end(&j) != 0) {
    rc = tinker__values_json(&l->v, "model: vocab", &j);
  }
  tinker__json_done(&j);
  return rc;
}

/* Every byte that UTF-8 can have needs a token, or text would get lost. */
static int find_bytes(tinker__load_t *l) {
  for (unsigned b = 0; b < 256; b++) {
    char byte = (char)b;
    int32_t id = tinker__strings_find(&l->t->bytes, (tinker__str_t){&byte, 1});
    l->t->bpe.byte_ids[b] = id;
    bool possible = b < 0xc0 || (b >= 0xc2 && b <= 0xf4);
    if (id < 0 && possible) {
      return tinker__why(l->v.why, l->v.why_len, TINKER_ENOTSUP,
                         "model: no token for byte 0x%02x: not the vocabulary "
                         "of a byte-level BPE",
                         b);
    }
  }
  return 0;
}

typedef struct merging_s {
  tinker__load_t *l;
  uint32_t rank;
} merging_t;

static int bad_merge(merging_t *m, const char *what) {
  return tinker__why(m->l->v.why, m->l->v.why_len, TINKER_EFORMAT,
                     "model: merges[%u]: %s", m->rank, what);
}

static int put_merge(merging_t *m, tinker__str_t left, tinker__str_t right) {
  tinker__load_t *l = m->l;
  tinker__buf_clear(&l->text);
  tinker__buf_add(&l->text, left.ptr, left.len);
  tinker__buf_add(&l->text, right.ptr, right.len);
  if (tinker__buf_error(&l->text)) {
    return tinker__values_fail(&l->v, tinker__buf_error(&l->text),
                               "model: merges", "too long, or out of memory");
  }
  int32_t a = tinker__strings_find(&l->names, left);
  int32_t b = tinker__strings_find(&l->names, right);
  int32_t id = tinker__strings_find(&l->names, tinker__buf_str(&l->text));
  if (a < 0 || b < 0 || id < 0) {
    return bad_merge(m, "a part or the result is not in the vocabulary");
  }
  tinker__merge_t merge = {(uint32_t)a, (uint32_t)b, m->rank, (uint32_t)id};
  tinker__merges_put(&l->t->bpe.merges, merge);
  return 0;
}

/* "a b" */
static int merge_from_text(merging_t *m, tinker__str_t s) {
  if (tinker__str_starts(s, "#version")) { /* a head line of the old format */
    m->rank--;
    return 0;
  }
  const char *gap = memchr(s.ptr, ' ', s.len);
  if (!gap) return bad_merge(m, "not two tokens and a space");
  tinker__str_t left = {s.ptr, (size_t)(gap - s.ptr)};
  tinker__str_t right = {gap + 1, s.len - left.len - 1};
  if (memchr(right.ptr, ' ', right.len)) return bad_merge(m, "over one space");
  return put_merge(m, left, right);
}

/* ["a", "b"] or "a b" */
static int read_merge(merging_t *m, tinker__json_t *j) {
  tinker__str_t part[2];
  size_t n = 0;
  if (tinker__json_peek(j) == TINKER__JSON_STRING) {
    if (!tinker__json_string(j, &part[0])) return 0;
    return merge_from_text(m, part[0]);
  }
  if (!tinker__json_array(j)) return 0;
  while (tinker__json_more(j)) {
    if (n == 2) return bad_merge(m, "over two tokens");
    if (!tinker__json_string(j, &part[n++])) return 0;
  }
  if (j->error) return 0;
  if (n != 2) return bad_merge(m, "not two tokens");
  return put_merge(m, part[0], part[1]);
}

static int count_merges(tinker__load_t *l, tinker__str_t raw, uint32_t *n) {
  tinker__json_t j;
  *n = 0;
  tinker__json_init(&j, l->v.mem, raw.ptr, raw.len);
  if (tinker__json_array(&j)) {
    while (*n <= TINKER__MAX_MERGES && tinker__json_more(&j)) {
      tinker__json_skip(&j);
      ++*n;
    }
  }
  int rc = 0;
  if (*n > TINKER__MAX_MERGES) {
    rc = tinker__values_fail(&l->v, TINKER_EOVERFLOW, "model: merges",
                             "over 4194304");
  } else if (tinker__json_end(&j) != 0) {
    rc = tinker__values_json(&l->v, "model: merges", &j);
  }
  tinker__json_done(&j);
  return rc;
}

static int load_merges(tinker__load_t *l, tinker__str_t raw) {
  tinker__merges_t *merges = &l->t->bpe.merges;
  merging_t m = {l, 0};
  tinker__json_t j;
  uint32_t n;
  int rc = count_merges(l, raw, &n);
  if (rc) return rc;
  if (tinker__merges_init(merges, l->v.mem, merges->seed, n) != 0) {
    return tinker__values_fail(&l->v, TINKER_ENOMEM, "model", "out of memory");
  }
  tinker__json_init(&j, l->v.mem, raw.ptr, raw.len);
  if (tinker__json_array(&j)) {
    for (; rc == 0 && tinker__json_more(&j); m.rank++) rc = read_merge(&m, &j);
  }
  if (rc == 0 && tinker__json_end(&j) != 0) {
    rc = tinker__values_json(&l->v, "model: merges", &j);
  }
  tinker__json_done(&j);
  return rc;
}

static int check_switches(tinker__load_t *l, const tinker__str_t *raw) {
  char type[32];
  bool fallback;
  double dropout = 0;
  int rc = tinker__values_name(&l->v, raw[K_TYPE], "model", type, sizeof type);
  if (rc) return rc;
  /* GPT-2's file is older than the type. Vocabulary and merges together are
   * what a BPE alone has. */
  bool untyped = raw[K_TYPE].len == 0;
  if (untyped && (raw[K_VOCAB].len == 0 || raw[K_MERGES].len == 0)) {
    return tinker__values_fail(&l->v, TINKER_ENOTSUP, "model",
                               "type is missing, and vocab and merges are not "
                               "both there: supported is BPE");
  }
  if (!untyped && strcmp(type, "BPE") != 0) {
    return tinker__values_refuse(&l->v, "model", "type", raw[K_TYPE]);
  }
  if (raw[K_DROPOUT].len &&
      (tinker__parse_f64(raw[K_DROPOUT], &dropout) != 0 || dropout != 0)) {
    return tinker__values_refuse(&l->v, "model", "dropout", raw[K_DROPOUT]);
  }
  for (int k = K_PREFIX; k <= K_SUFFIX; k++) {
    if (raw[k].len && !tinker__str_eqs(raw[k], "\"\"")) {
      return tinker__values_refuse(&l->v, "model", keys[k], raw[k]);
    }
  }
  rc = tinker__values_bool(&l->v, raw[K_FALLBACK], "model: byte_fallback",
                           false, &fallback);
  if (rc == 0 && fallback) {
    rc =
        tinker__values_refuse(&l->v, "model", "byte_fallback", raw[K_FALLBACK]);
  }
  if (rc == 0) {
    rc = tinker__values_bool(&l->v, raw[K_IGNORE], "model: ignore_merges",
                             false, &l->t->ignore_merges);
  }
  return rc;
}

int tinker__load_model(tinker__load_t *l, tinker__str_t raw_model) {
  tinker__str_t raw[K_COUNT];
  int rc = tinker__values_object(&l->v, raw_model, "model", keys, raw, K_COUNT);
  if (rc == 0) rc = check_switches(l, raw);
  if (rc == 0) rc = load_vocab(l, raw[K_VOCAB]);
  if (rc == 0) rc = find_bytes(l);
  if (rc == 0) rc = load_merges(l, raw[K_MERGES]);
  l->next_added = l->num_vocab;
  return rc;
}
