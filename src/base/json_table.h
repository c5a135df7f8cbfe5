/* json_table: one JSON object as a table of raw values, one per known key.
 *
 * For files whose every key may matter (config.json, tokenizer.json): a key
 * that is there twice is an error, an absent one and null are both empty (see
 * tinker__json_is_null), and a strict reader refuses an unknown key unless its
 * value says nothing. `where` (the file, or a path inside it) begins every
 * sentence in `why`. Pure. */
#ifndef TINKER_BASE_JSON_TABLE_H
#define TINKER_BASE_JSON_TABLE_H

#include "base/json_read.h"

/* Reads the whole text into raw[n]; the values are views into it. strict: a key
 * that is not in keys[n] is refused with TINKER_ENOTSUP unless its value is
 * null, false, "" or empty. 0, TINKER_EFORMAT, TINKER_ENOTSUP or
 * TINKER_ENOMEM. */
int tinker__json_table(tinker__mem_t *mem, tinker__str_t text,
                       const char *where, const char *const *keys,
                       tinker__str_t *raw, size_t n, bool strict, char *why,
                       size_t why_len);
/* True when an empty value of the table is null rather than absent: its view
 * begins at the null. */
static inline bool tinker__json_is_null(tinker__str_t raw) {
  return raw.len == 0 && *raw.ptr == 'n';
}
/* The failure of a reader as a code and a sentence. */
int tinker__json_told(const tinker__json_t *j, const char *where, char *why,
                      size_t why_len);
/* How many bytes of a value a message repeats, for "%.*s": cut between
 * characters. */
int tinker__json_shown(tinker__str_t s);

#endif
