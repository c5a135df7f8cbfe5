/* fields: the keys of one JSON object, taken by type with errors that name
 * file, key and value. For config.json, adapter_config.json and the like.
 *
 * fields_read fills a table of raw values, one per known key; the getters
 * then parse them. The first error sticks in `rc` (and in `why`) and later
 * getters do nothing, so that a reader needs one check at its end. A null
 * value counts as absent. Pure. */
#ifndef TINKER_MODEL_FIELDS_H
#define TINKER_MODEL_FIELDS_H

#include "base/mem.h"
#include "base/str.h"

typedef struct tinker__fields_s {
  tinker__mem_t *mem;
  const char *file; /* for messages */
  const char *const *keys;
  tinker__str_t *raw; /* one per key; len 0 = absent */
  size_t n;
  int rc;
  char *why;
  size_t why_len;
} tinker__fields_t;

void tinker__fields_init(tinker__fields_t *f, tinker__mem_t *mem,
                         const char *file, char *why, size_t why_len);
/* Reads the whole text. With `strict` an unknown key is refused unless its
 * value is null, false, "" or empty. `raw` has n entries and lives as long as
 * `f`. Returns f->rc. */
int tinker__fields_read(tinker__fields_t *f, tinker__str_t text,
                        const char *const *keys, tinker__str_t *raw, size_t n,
                        bool strict);
/* Reads the text of a file of at most max bytes. A text that is not JSON gets a
 * reason by its kind (impostor.h). */
int tinker__fields_file(tinker__fields_t *f, tinker__str_t text, size_t max,
                        const char *const *keys, tinker__str_t *raw, size_t n,
                        bool strict);
/* Reads, strictly, the object that is the value of a key of `top`. */
int tinker__fields_sub(tinker__fields_t *f, const tinker__fields_t *top,
                       int key, const char *const *keys, tinker__str_t *raw,
                       size_t n);

static inline bool tinker__field_has(const tinker__fields_t *f, int key) {
  return f->raw[key].len != 0;
}
/* Sets the error and returns it: TINKER_EFORMAT (the value makes no sense;
 * `want` says what would) or TINKER_ENOTSUP (it does, but we lack it). */
int tinker__field_bad(tinker__fields_t *f, int key, const char *want);
int tinker__field_refuse(tinker__fields_t *f, int key, const char *want);

/* Getters: `fallback` NULL = the key must be there. All return f->rc. */
int tinker__field_u32(tinker__fields_t *f, int key, uint32_t min, uint32_t max,
                      const uint32_t *fallback, uint32_t *out);
int tinker__field_f64(tinker__fields_t *f, int key, double min, double max,
                      const double *fallback, double *out);
int tinker__field_bool(tinker__fields_t *f, int key, bool fallback, bool *out);
/* At most cap - 1 bytes, no NUL inside; longer text is refused. */
int tinker__field_text(tinker__fields_t *f, int key, char *out, size_t cap,
                       const char *fallback);
/* First string of an array; "" when absent or empty. */
int tinker__field_first_text(tinker__fields_t *f, int key, char *out,
                             size_t cap);
/* Every string of an array, if it is there, must be `want`. */
int tinker__field_all_text(tinker__fields_t *f, int key, const char *want);
/* An id or a list of at most cap ids, each in [0, limit). */
int tinker__field_ids(tinker__fields_t *f, int key, uint32_t limit,
                      int32_t *out, size_t cap, size_t *n);

#endif
