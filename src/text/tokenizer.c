/* tokenizer: life of a tokenizer and the encoding side of the public
 * interface. Immutable once made, so any thread may call. */
#include "text/tokenizer.h"

#include <string.h>

#include "base/error.h"
#include "base/file.h"
#include "base/impostor.h"
#include "base/options.h"

#define KNOWN_FLAGS (TINKER_ENCODE_ADD_SPECIAL | TINKER_ENCODE_SPECIAL_TEXT)
#define MAX_TEXT (1u << 30)

#define WHY_MAX 512

static int read_options(tinker_tokenizer_options_t *o,
                        const tinker_tokenizer_options_t *given, char *why,
                        size_t why_len) {
  static const tinker_tokenizer_options_t defaults =
      TINKER_TOKENIZER_OPTIONS_INIT;
  int rc = tinker__options_take(o, sizeof *o, &defaults, given,
                                "tokenizer_options", why, why_len);
  if (rc) return rc;
  if (o->reserved0) {
    return tinker__why(why, why_len, TINKER_ENOTSUP, "reserved0 is not 0");
  }
  const tinker_allocator_t *a = o->allocator;
  if (a && (!a->malloc_fn || !a->calloc_fn || !a->realloc_fn || !a->free_fn)) {
    return tinker__why(why, why_len, TINKER_EINVAL,
                       "allocator: all four functions must be set");
  }
  if (o->memory_limit_bytes < 1 && o->memory_limit_bytes != -1) {
    return tinker__why(why, why_len, TINKER_EINVAL,
                       "memory_limit_bytes is %lld: want 1 or more, or -1",
                       (long long)o->memory_limit_bytes);
  }
  if (o->no_jit != 0 && o->no_jit != 1) {
    return tinker__why(why, why_len, TINKER_EINVAL, "no_jit is %d: want 0 or 1",
                       o->no_jit);
  }
  return 0;
}

/* As tinker__mem_init wants it, where 0 is none. */
static size_t ceiling(const tinker_tokenizer_options_t *o) {
  if (o->memory_limit_bytes < 0) return 0;
  return (uint64_t)o->memory_limit_bytes > SIZE_MAX
             ? SIZE_MAX
             : (size_t)o->memory_limit_bytes;
}

/* The struct has the account of its memory in it, so the struct itself is
 * allocated outside of that account. */
static tinker_tokenizer_t *allocate(const tinker_tokenizer_options_t *o) {
  tinker__mem_t outside;
  tinker__mem_init(&outside, o->allocator, 0);
  tinker_tokenizer_t *t = tinker__mem_zalloc(&outside, sizeof *t);
  if (!t) return NULL;
  atomic_init(&t->refs, 1);
  t->has_allocator = o->allocator != NULL;
  if (o->allocator) t->allocator = *o->allocator;
  tinker__mem_init(&t->own, o->allocator, ceiling(o));
  t->mem = &t->own;
  t->no_jit = o->no_jit != 0;
  return t;
}

static void destroy(tinker_tokenizer_t *t) {
  tinker__mem_t outside;
  tinker_allocator_t allocator = t->allocator;
  tinker__mem_init(&outside, t->has_allocator ? &allocator : NULL, 0);
  tinker__tokenizer_clear(t);
  tinker__mem_free(&outside, t);
}

static int new_from_bytes(tinker_tokenizer_t **out, tinker__str_t text,
                          const tinker_tokenizer_options_t *o, char *why,
                          size_t why_len) {
  if (text.len > TINKER__TOKENIZER_MAX_BYTES) {
    return tinker__why(why, why_len, TINKER_EOVERFLOW,
                       "tokenizer.json has %zu bytes, more than %u", text.len,
                       TINKER__TOKENIZER_MAX_BYTES);
  }
  int rc = tinker__impostor_json(text, "tokenizer.json", why, why_len);
  if (rc) return rc;
  tinker_tokenizer_t *t = allocate(o);
  if (!t) return tinker__why(why, why_len, TINKER_ENOMEM, "out of memory");
  rc = tinker__tokenizer_load(t, text, why, why_len);
  if (rc) {
    destroy(t);
  } else {
    *out = t;
  }
  return rc;
}

static int new_from_file(tinker_tokenizer_t **out, const char *path,
                         const tinker_tokenizer_options_t *o, char *why,
                         size_t why_len) {
  tinker__mem_t mem;
  tinker__buf_t text;
  tinker__mem_init(&mem, o->allocator, ceiling(o));
  tinker__buf_init(&text, &mem, TINKER__TOKENIZER_MAX_BYTES);
  int rc = tinker__file_read(tinker__world_real(), path, &text, why, why_len);
  if (rc == 0) {
    tinker__str_t bytes = {text.data ? text.data : "", text.len};
    rc = new_from_bytes(out, bytes, o, why, why_len);
  }
  tinker__buf_free(&text);
  return rc;
}

int tinker_tokenizer_new_from_bytes(tinker_tokenizer_t **out, const void *data,
                                    size_t len,
                                    const tinker_tokenizer_options_t *options,
                                    tinker_error_t **error) {
  char why[WHY_MAX] = "";
  tinker_tokenizer_options_t o;
  if (!out || (!data && len)) {
    return tinker__error_give(error, TINKER_EINVAL, "%s is NULL",
                              out ? "data" : "out");
  }
  int rc = read_options(&o, options, why, sizeof why);
  if (!rc) {
    rc = new_from_bytes(out, (tinker__str_t){data ? data : "", len}, &o, why,
                        sizeof why);
  }
  return tinker__error_give(error, rc, "%s", why);
}

int tinker_tokenizer_new_from_file(tinker_tokenizer_t **out, const char *path,
                                   const tinker_tokenizer_options_t *options,
                                   tinker_error_t **error) {
  char why[WHY_MAX] = "";
  tinker_tokenizer_options_t o;
  if (!out || !path) {
    return tinker__error_give(error, TINKER_EINVAL, "%s is NULL",
                              out ? "path" : "out");
  }
  int rc = read_options(&o, options, why, sizeof why);
  if (!rc) rc = new_from_file(out, path, &o, why, sizeof why);
  return tinker__error_give(error, rc, "%s", why);
}

tinker_tokenizer_t *tinker_tokenizer_retain(tinker_tokenizer_t *tokenizer) {
  if (tokenizer) {
    atomic_fetch_add_explicit(&tokenizer->refs, 1, memory_order_relaxed);
  }
  return tokenizer;
}

tinker_tokenizer_t *tinker_tokenizer_release(tinker_tokenizer_t *tokenizer) {
  if (tokenizer && atomic_fetch_sub(&tokenizer->refs, 1) == 1) {
    destroy(tokenizer);
  }
  return NULL;
}

size_t tinker_tokenizer_vocab_size(const tinker_tokenizer_t *tokenizer) {
  return tokenizer->bytes.size;
}

int tinker_tokenizer_encode(const tinker_tokenizer_t *tokenizer,
                            const char *text, size_t len, uint32_t flags,
                            int32_t **ids, size_t *n) {
  tinker__str_t s = {text ? text : "", len};
  if (!tokenizer || !ids || !n || (len && !text) || (flags & ~KNOWN_FLAGS)) {
    return TINKER_EINVAL;
  }
  if (len >= MAX_TEXT) return TINKER_EOVERFLOW;
  if (!tinker__utf8_valid(s.ptr, s.len)) return TINKER_EINVAL;
  tinker__ids_t list = {tokenizer->mem, NULL, 0, 0};
  int rc = tinker__ids_reserve(&list, len / 4 + 1);
  if (rc == 0) rc = tinker__tokenizer_run(tokenizer, s, flags, &list);
  if (rc) {
    tinker__mem_free(list.mem, list.at);
    return rc;
  }
  *ids = list.at;
  *n = list.len;
  return 0;
}

void tinker_tokenizer_free(const tinker_tokenizer_t *tokenizer, void *result) {
  tinker__mem_free(tokenizer->mem, result);
}

int tinker_tokenizer_token_id(const tinker_tokenizer_t *tokenizer,
                              const char *bytes, size_t len, int32_t *id) {
  tinker__str_t s = {bytes, len};
  if (!tokenizer || !bytes || !id) return TINKER_EINVAL;
  const tinker__added_set_t *sets[2] = {&tokenizer->raw,
                                        &tokenizer->normalized};
  for (int k = 0; k < 2; k++) {
    for (size_t i = 0; i < sets[k]->n; i++) {
      if (tinker__str_eq(sets[k]->list[i].text, s)) {
        *id = sets[k]->list[i].id;
        return 0;
      }
    }
  }
  int32_t found = tinker__strings_find(&tokenizer->bytes, s);
  if (found < 0) return TINKER_ENOENT;
  *id = found;
  return 0;
}
