/* tokenizer: life of a tokenizer and the encoding side of the public
 * interface. Immutable once made, so any thread may call. */
#include "text/tokenizer.h"

#include <string.h>

#include "base/file.h"
#include "base/impostor.h"

#define KNOWN_FLAGS (TINKER_ENCODE_ADD_SPECIAL | TINKER_ENCODE_SPECIAL_TEXT)
#define MAX_TEXT (1u << 30)

/* Copies what this library knows of the options; refuses a longer struct that
 * says something there. */
static int read_options(tinker_tokenizer_options_t *o,
                        const tinker_tokenizer_options_t *given, char *why,
                        size_t why_len) {
  tinker_tokenizer_options_init(o);
  if (!given) return 0;
  if (given->size < sizeof given->size || given->size > 4096) {
    return tinker__why(why, why_len, TINKER_EINVAL,
                       "options: size is %zu: call the init function",
                       given->size);
  }
  const unsigned char *bytes = (const unsigned char *)given;
  for (size_t i = sizeof *o; i < given->size; i++) {
    if (bytes[i]) {
      return tinker__why(why, why_len, TINKER_ENOTSUP,
                         "options: made for a newer library");
    }
  }
  memcpy(o, given, given->size < sizeof *o ? given->size : sizeof *o);
  if (o->reserved0) {
    return tinker__why(why, why_len, TINKER_ENOTSUP,
                       "options: reserved0 is not 0");
  }
  const tinker_allocator_t *a = o->allocator;
  if (a && (!a->malloc_fn || !a->calloc_fn || !a->realloc_fn || !a->free_fn)) {
    return tinker__why(why, why_len, TINKER_EINVAL,
                       "options: allocator lacks a function");
  }
  if (o->memory_limit_bytes > SIZE_MAX) o->memory_limit_bytes = SIZE_MAX;
  return 0;
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
  tinker__mem_init(&t->own, o->allocator, (size_t)o->memory_limit_bytes);
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

int tinker_tokenizer_new_from_bytes(tinker_tokenizer_t **out, const void *data,
                                    size_t len,
                                    const tinker_tokenizer_options_t *options,
                                    char *why, size_t why_len) {
  tinker_tokenizer_options_t o;
  if (!out || (!data && len)) {
    return tinker__why(why, why_len, TINKER_EINVAL, "out or data is NULL");
  }
  int rc = read_options(&o, options, why, why_len);
  if (rc) return rc;
  if (len > TINKER__TOKENIZER_MAX_BYTES) {
    return tinker__why(why, why_len, TINKER_EOVERFLOW,
                       "tokenizer.json has %zu bytes, more than %u", len,
                       TINKER__TOKENIZER_MAX_BYTES);
  }
  rc = tinker__impostor_json((tinker__str_t){data ? data : "", len},
                             "tokenizer.json", why, why_len);
  if (rc) return rc;
  tinker_tokenizer_t *t = allocate(&o);
  if (!t) return tinker__why(why, why_len, TINKER_ENOMEM, "out of memory");
  rc = tinker__tokenizer_load(t, (tinker__str_t){data ? data : "", len}, why,
                              why_len);
  if (rc) {
    destroy(t);
  } else {
    *out = t;
  }
  return rc;
}

int tinker_tokenizer_new_from_file(tinker_tokenizer_t **out, const char *path,
                                   const tinker_tokenizer_options_t *options,
                                   char *why, size_t why_len) {
  tinker_tokenizer_options_t o;
  tinker__mem_t mem;
  tinker__buf_t text;
  if (!out || !path) {
    return tinker__why(why, why_len, TINKER_EINVAL, "out or path is NULL");
  }
  int rc = read_options(&o, options, why, why_len);
  if (rc) return rc;
  tinker__mem_init(&mem, o.allocator, (size_t)o.memory_limit_bytes);
  tinker__buf_init(&text, &mem, TINKER__TOKENIZER_MAX_BYTES);
  rc = tinker__file_read(tinker__world_real(), path, &text, why, why_len);
  if (rc == 0) {
    rc = tinker_tokenizer_new_from_bytes(out, text.data ? text.data : "",
                                         text.len, &o, why, why_len);
  }
  tinker__buf_free(&text);
  return rc;
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
