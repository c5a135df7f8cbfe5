/* Tokenizer: text to token ids and back, from a Hugging Face tokenizer.json.
 *
 * Byte-level BPE as Llama 3, Qwen and GPT-2 use it. The ids are exactly those
 * of Hugging Face's `tokenizers`; a file that asks for something this library
 * lacks is refused when it is loaded, with the name of the feature, never
 * approximated. "padding" and "truncation" in a file change nothing: a text
 * gives all of its ids and no others. One limit: characters that Unicode
 * assigned after version 14 may be classified otherwise.
 *
 * A tokenizer never changes once loaded: threads may share one without
 * locks. A stream belongs to one thread at a time. */
#ifndef TINKER_TOKENIZER_H
#define TINKER_TOKENIZER_H

#include <stddef.h>
#include <stdint.h>

#include "alloc.h"
#include "error.h"
#include "export.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct tinker_tokenizer_s tinker_tokenizer_t;
typedef struct tinker_tokenizer_stream_s tinker_tokenizer_stream_t;

/* Begins with its size and gets its defaults from TINKER_TOKENIZER_OPTIONS_INIT
 * or the init function, by the rules of options.h. */
typedef struct tinker_tokenizer_options_s {
  size_t size;
  /* Where the tokenizer's memory comes from, for results too; NULL (default) =
   * the C library. Copied. */
  const tinker_allocator_t *allocator;
  /* Ceiling in bytes for all of it, 1 or more; -1 (default) = none. */
  int64_t memory_limit_bytes;
  /* 1: split text with the regular-expression interpreter only, never with code
   * compiled at run time (where the system forbids that, the interpreter is
   * used anyway). Slower, same ids. Default 0. */
  int32_t no_jit;
  int32_t reserved0; /* 0 */
} tinker_tokenizer_options_t;

#define TINKER_TOKENIZER_OPTIONS_INIT                                          \
  { sizeof(tinker_tokenizer_options_t), NULL, -1, 0, 0 }

/* All defaults.
 * options: not NULL. Returns nothing. Any thread. */
static inline void
tinker_tokenizer_options_init(tinker_tokenizer_options_t *options) {
  const tinker_tokenizer_options_t init = TINKER_TOKENIZER_OPTIONS_INIT;
  *options = init;
}

/* Flags of tinker_tokenizer_encode(). */
/* Add what the file's template adds around a text (a beginning-of-text token,
 * say). */
#define TINKER_ENCODE_ADD_SPECIAL 1u
/* Spelled-out special tokens in the text are plain text: for text from
 * people who must not be able to write control tokens. */
#define TINKER_ENCODE_SPECIAL_TEXT 2u

/* Flags of tinker_tokenizer_decode() and tinker_tokenizer_stream_new(). */
/* Leave special tokens out. */
#define TINKER_DECODE_SKIP_SPECIAL 1u

/* Loads a tokenizer.json.
 * out: receives a reference owned by the caller; untouched on failure. path:
 * NUL-terminated, borrowed; a file of at most 128 MiB. options: borrowed,
 * copied; NULL = all defaults. error: receives what is wrong or not supported,
 * see tinker_error_t; may be NULL. Returns 0,
 * TINKER_EINVAL, TINKER_ENOENT, TINKER_EIO, TINKER_EFORMAT (malformed),
 * TINKER_ENOTSUP (needs what is not supported), TINKER_EOVERFLOW (a limit on
 * size or counts) or TINKER_ENOMEM. Any thread. */
TINKER_API int
tinker_tokenizer_new_from_file(tinker_tokenizer_t **out, const char *path,
                               const tinker_tokenizer_options_t *options,
                               tinker_error_t **error);

/* The same from the bytes of a tokenizer.json.
 * out: receives a reference owned by the caller; untouched on failure. data:
 * len bytes, borrowed until the call returns. options: borrowed, copied;
 * NULL = all defaults. error: may be NULL. Returns what
 * tinker_tokenizer_new_from_file() does but TINKER_ENOENT and TINKER_EIO. Any
 * thread. */
TINKER_API int tinker_tokenizer_new_from_bytes(
    tinker_tokenizer_t **out, const void *data, size_t len,
    const tinker_tokenizer_options_t *options, tinker_error_t **error);

/* Adds a reference.
 * tokenizer: may be NULL. Returns tokenizer. Any thread. */
TINKER_API tinker_tokenizer_t *
tinker_tokenizer_retain(tinker_tokenizer_t *tokenizer);

/* Gives a reference back; the last one frees the tokenizer. All results of
 * encode and decode must have been freed before; streams keep a reference.
 * tokenizer: may be NULL. Returns NULL. Any thread. */
TINKER_API tinker_tokenizer_t *
tinker_tokenizer_release(tinker_tokenizer_t *tokenizer);

/* One more than the highest token id, added tokens included: the length of an
 * array indexed by id. A model's output may be wider (padded).
 * tokenizer: not NULL. Returns the count. Any thread. */
TINKER_API size_t
tinker_tokenizer_vocab_size(const tinker_tokenizer_t *tokenizer);

/* Text to token ids.
 * tokenizer: not NULL. text: len bytes of UTF-8, borrowed; NUL bytes are text
 * like any other; may be NULL if len is 0. len: below 2^30. flags:
 * TINKER_ENCODE_* or 0. ids: receives *n ids, owned by the caller, to be freed
 * with tinker_tokenizer_free(); untouched on failure, never NULL on success.
 * n: receives their count. Returns 0, TINKER_EINVAL (text is not UTF-8, an
 * unknown flag), TINKER_EOVERFLOW (too long, or the split pattern ran into a
 * limit) or TINKER_ENOMEM. Any thread. */
TINKER_API int tinker_tokenizer_encode(const tinker_tokenizer_t *tokenizer,
                                       const char *text, size_t len,
                                       uint32_t flags, int32_t **ids,
                                       size_t *n);

/* Token ids to text. Bytes that form no character become U+FFFD, as many as
 * Hugging Face's decoder writes. An id that no token has adds no text, as
 * there: a model whose vocabulary is padded may sample one.
 * tokenizer: not NULL. ids: n ids, borrowed; may be NULL if n is 0. flags:
 * TINKER_DECODE_* or 0. text: receives UTF-8 with a NUL after it, owned by
 * the caller, to be freed with tinker_tokenizer_free(); untouched on failure.
 * len: receives its length in bytes without the NUL; may be NULL. Returns 0,
 * TINKER_EINVAL (an id below 0, an unknown flag), TINKER_EOVERFLOW or
 * TINKER_ENOMEM. Any thread. */
TINKER_API int tinker_tokenizer_decode(const tinker_tokenizer_t *tokenizer,
                                       const int32_t *ids, size_t n,
                                       uint32_t flags, char **text,
                                       size_t *len);

/* Frees what encode or decode returned.
 * tokenizer: the one that returned it, not NULL. result: may be NULL. Returns
 * nothing. Any thread. */
TINKER_API void tinker_tokenizer_free(const tinker_tokenizer_t *tokenizer,
                                      void *result);

/* The bytes that a token stands for: often a part of a character.
 * tokenizer: not NULL. id: any. bytes: receives a view owned by the tokenizer,
 * not NUL-terminated; untouched on failure. len: receives its length. Returns
 * 0, TINKER_ENOENT (no token has this id) or TINKER_EINVAL (a NULL). Any
 * thread. */
TINKER_API int tinker_tokenizer_token_bytes(const tinker_tokenizer_t *tokenizer,
                                            int32_t id, const char **bytes,
                                            size_t *len);

/* The token that stands for exactly these bytes; an added token, special or
 * not, comes before one of the vocabulary.
 * tokenizer: not NULL. bytes: len bytes, borrowed, not NULL. id: receives the
 * id; untouched on failure. Returns 0, TINKER_ENOENT or TINKER_EINVAL (a
 * NULL). Any thread. */
TINKER_API int tinker_tokenizer_token_id(const tinker_tokenizer_t *tokenizer,
                                         const char *bytes, size_t len,
                                         int32_t *id);

/* Says whether TINKER_DECODE_SKIP_SPECIAL leaves a token out as special.
 * tokenizer: not NULL. id: any. Returns 1 or 0. Any thread. */
TINKER_API int tinker_tokenizer_is_special(const tinker_tokenizer_t *tokenizer,
                                           int32_t id);

/* A decoder that takes ids one by one and never splits a character: all that
 * it gives out, joined, is what tinker_tokenizer_decode() gives for all ids.
 * out: receives a stream owned by the caller; untouched on failure.
 * tokenizer: not NULL; the stream keeps a reference. flags: TINKER_DECODE_* or
 * 0. Returns 0, TINKER_EINVAL or TINKER_ENOMEM. Any thread. */
TINKER_API int tinker_tokenizer_stream_new(tinker_tokenizer_stream_t **out,
                                           tinker_tokenizer_t *tokenizer,
                                           uint32_t flags);

/* Takes the next id and gives out the text that is complete by now.
 * stream: not NULL. id: the next token; one that no token has adds no text.
 * text: receives a view owned by the stream, valid until the next call on it,
 * with a NUL after it; untouched on failure. len: receives its length in
 * bytes, 0 while a character is incomplete. Returns 0, TINKER_EINVAL (a NULL,
 * an id below 0) or TINKER_ENOMEM; after a failure the stream is as before. One
 * thread at a time. */
TINKER_API int tinker_tokenizer_stream_push(tinker_tokenizer_stream_t *stream,
                                            int32_t id, const char **text,
                                            size_t *len);

/* Ends the text: an incomplete character is given out as U+FFFD. The stream
 * starts anew afterwards.
 * stream: not NULL. text: receives a view owned by the stream, valid until the
 * next call on it, with a NUL after it; untouched on failure. len: receives
 * its length in bytes. Returns 0, TINKER_EINVAL (a NULL) or TINKER_ENOMEM. One
 * thread at a time. */
TINKER_API int tinker_tokenizer_stream_finish(tinker_tokenizer_stream_t *stream,
                                              const char **text, size_t *len);

/* Frees a stream and its reference to the tokenizer.
 * stream: may be NULL. Returns NULL. One thread at a time. */
TINKER_API tinker_tokenizer_stream_t *
tinker_tokenizer_stream_release(tinker_tokenizer_stream_t *stream);

#ifdef __cplusplus
}
#endif

#endif
