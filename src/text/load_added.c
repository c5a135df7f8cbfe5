/* load_added: the added tokens of a tokenizer.json. */
#include <string.h>
#include <tinker/error.h>

#include "text/letters.h"
#include "text/load.h"
#include "text/normalize.h"

enum {
  K_ID,
  K_CONTENT,
  K_SINGLE_WORD,
  K_LSTRIP,
  K_RSTRIP,
  K_NORMALIZED,
  K_SPECIAL,
  K_COUNT
};

static const char *const keys[K_COUNT] = {
    [K_ID] = "id",
    [K_CONTENT] = "content",
    [K_SINGLE_WORD] = "single_word",
    [K_LSTRIP] = "lstrip",
    [K_RSTRIP] = "rstrip",
    [K_NORMALIZED] = "normalized",
    [K_SPECIAL] = "special",
};

/* Bits in the array of special tokens while it is made; 0 for an id that was
 * not added. */
enum { PLAIN = 1, SPECIAL = 2, LEFT_OUT = 4 };

static int fail(tinker__load_t *l, int code, tinker__str_t content,
                const char *what) {
  return tinker__why(l->v.why, l->v.why_len, code, "added_tokens: %.*s: %s",
                     (int)(content.len < 100 ? content.len : 100), content.ptr,
                     what);
}

/* The reference works ids out by itself: that of the vocabulary, else the
 * next one free. A file that says otherwise would not give the same ids. */
static int assign_id(tinker__load_t *l, uint32_t said, tinker__str_t content,
                     tinker__str_t spelling) {
  int32_t known = tinker__strings_find(&l->names, content);
  uint32_t id = known >= 0 ? (uint32_t)known : l->next_added;
  if (id != said) {
    return tinker__why(l->v.why, l->v.why_len, TINKER_EFORMAT,
                       "added_tokens: %.*s has id %u, its place is %u",
                       (int)(content.len < 100 ? content.len : 100),
                       content.ptr, said, id);
  }
  if (id >= l->next_added) l->next_added = id + 1;
  if (known >= 0 && !tinker__str_eq(content, spelling)) {
    return fail(l, TINKER_ENOTSUP, content,
                "it is in the vocabulary, and the normalizer changes it");
  }
  if (known >= 0) return 0;
  tinker__buf_t bytes;
  tinker__buf_init(&bytes, l->v.mem, 1 << 20);
  tinker__letters_to_bytes(&bytes, spelling);
  int rc = tinker__buf_error(&bytes);
  if (rc == 0) rc = tinker__strings_put(&l->names, id, content, true);
  if (rc == 0) {
    rc = tinker__strings_put(&l->t->bytes, id, tinker__buf_str(&bytes), false);
  }
  tinker__buf_free(&bytes);
  return rc ? fail(l, rc, content, tinker_code_text(rc)) : 0;
}

/* Into the set where it is looked for, spelt as it is looked for: as the
 * normalizer writes it, which is also how the reference decodes it. */
static int put(tinker__load_t *l, uint32_t said, const tinker__added_t *token,
               bool normalized) {
  tinker_tokenizer_t *t = l->t;
  tinker__added_t copy = *token;
  tinker__buf_t room;
  int rc = 0;
  tinker__buf_init(&room, l->v.mem, 1 << 24);
  if (normalized && t->nfc) rc = tinker__nfc(&copy.text, &room, token->text);
  if (rc) {
    fail(l, rc, token->text, tinker_code_text(rc));
  } else {
    rc = assign_id(l, said, token->text, copy.text);
  }
  if (rc == 0) {
    rc = tinker__added_put(normalized ? &t->normalized : &t->raw, &copy);
    if (rc) fail(l, rc, token->text, tinker_code_text(rc));
  }
  tinker__buf_free(&room);
  return rc;
}

static int read_flags(tinker__load_t *l, const tinker__str_t *raw,
                      tinker__added_t *token, bool *normalized) {
  const char *where = "added_tokens";
  bool single;
  int rc =
      tinker__values_bool(&l->v, raw[K_SPECIAL], where, false, &token->special);
  if (rc == 0) {
    rc =
        tinker__values_bool(&l->v, raw[K_LSTRIP], where, false, &token->lstrip);
  }
  if (rc == 0) {
    rc =
        tinker__values_bool(&l->v, raw[K_RSTRIP], where, false, &token->rstrip);
  }
  if (rc == 0) {
    rc = tinker__values_bool(&l->v, raw[K_NORMALIZED], where, !token->special,
                             normalized);
  }
  if (rc == 0) {
    rc = tinker__values_bool(&l->v, raw[K_SINGLE_WORD], where, false, &single);
  }
  if (rc == 0 && single) {
    rc = tinker__values_refuse(&l->v, where, "single_word", raw[K_SINGLE_WORD]);
  }
  return rc;
}

static int load_one(void *user, tinker__str_t raw_token) {
  tinker__load_t *l = user;
  tinker__str_t raw[K_COUNT];
  tinker__added_t token = {.text = {"", 0}};
  bool normalized = false;
  uint32_t id = 0;
  if (l->t->raw.n + l->t->normalized.n == TINKER__MAX_ADDED) {
    return tinker__values_fail(&l->v, TINKER_EOVERFLOW, "added_tokens",
                               "over 65536");
  }
  int rc = tinker__values_object(&l->v, raw_token, "added_tokens", keys, raw,
                                 K_COUNT);
  if (rc == 0) {
    rc = tinker__values_text(&l->v, raw[K_CONTENT], "added_tokens: content",
                             &l->text);
  }
  if (rc == 0) {
    rc = tinker__values_id(&l->v, raw[K_ID], "added_tokens: id", &id);
  }
  if (rc == 0) rc = read_flags(l, raw, &token, &normalized);
  token.text = tinker__buf_str(&l->text);
  token.id = (int32_t)id;
  if (rc == 0 && token.text.len == 0) return 0; /* left out there as well */
  return rc ? rc : put(l, id, &token, normalized);
}

/* Sets the mark of each token of a set; false when one has a mark already
 * (with other flags it is in the other set): *twice is set to it. */
static bool mark(tinker_tokenizer_t *t, const tinker__added_set_t *s,
                 tinker__str_t *twice) {
  for (size_t i = 0; i < s->n; i++) {
    unsigned char *of_id = &t->special[s->list[i].id];
    *twice = s->list[i].text;
    if (*of_id) return false;
    *of_id = s->list[i].special ? SPECIAL : PLAIN;
  }
  return true;
}

/* The reference looks a token up among the contents of the special ones by the
 * spelling it decodes to, so one that the normalizer changes stays. */
static void leave_out(tinker__load_t *l, const tinker__added_set_t *s) {
  unsigned char *special = l->t->special;
  for (size_t i = 0; i < s->n; i++) {
    int32_t same = tinker__strings_find(&l->names, s->list[i].text);
    if (same >= 0 && (special[same] & SPECIAL)) {
      special[s->list[i].id] |= LEFT_OUT;
    }
  }
}

int tinker__load_added(tinker__load_t *l, tinker__str_t raw) {
  tinker_tokenizer_t *t = l->t;
  tinker__str_t twice = {"", 0};
  int rc = tinker__values_each(&l->v, raw, "added_tokens", load_one, l);
  if (rc) return rc;
  t->special = tinker__mem_array(t->mem, t->bytes.size, 1);
  if (!t->special) {
    return tinker__values_fail(&l->v, TINKER_ENOMEM, "added_tokens",
                               "out of memory");
  }
  if (tinker__added_sort(&t->raw, &twice) != 0 ||
      tinker__added_sort(&t->normalized, &twice) != 0 ||
      !mark(t, &t->raw, &twice) || !mark(t, &t->normalized, &twice)) {
    return fail(l, TINKER_EFORMAT, twice,
                "is there twice, with different ids or flags");
  }
  leave_out(l, &t->raw);
  leave_out(l, &t->normalized);
  for (size_t id = 0; id < t->bytes.size; id++) {
    t->special[id] = (t->special[id] & LEFT_OUT) != 0;
  }
  return 0;
}
