/* values: the JSON of tokenizer.json, taken apart object by object.
 *
 * An object is read into a table of raw values, one per known key (an absent
 * key and null are both empty); an unknown key is refused by name unless its
 * value says nothing (null, false, "", [], {}). Every function returns 0 or an
 * error whose sentence is in `why`. */
#ifndef TINKER_TEXT_VALUES_H
#define TINKER_TEXT_VALUES_H

#include "base/buf.h"
#include "base/json_read.h"

typedef struct tinker__values_s {
  tinker__mem_t *mem;
  char *why;
  size_t why_len;
} tinker__values_t;

/* Sets the sentence "<where>: <what>" and returns the code. */
int tinker__values_fail(const tinker__values_t *v, int code, const char *where,
                        const char *what);
/* "<where>: <key> is <raw>, which is not supported". */
int tinker__values_refuse(const tinker__values_t *v, const char *where,
                          const char *key, tinker__str_t raw);
/* The failure of a reader. */
int tinker__values_json(const tinker__values_t *v, const char *where,
                        const tinker__json_t *j);

int tinker__values_object(const tinker__values_t *v, tinker__str_t text,
                          const char *where, const char *const *keys,
                          tinker__str_t *raw, size_t n);
/* An absent value gives the fallback. */
int tinker__values_bool(const tinker__values_t *v, tinker__str_t raw,
                        const char *where, bool fallback, bool *out);
/* Must be there; *out is emptied first. */
int tinker__values_text(const tinker__values_t *v, tinker__str_t raw,
                        const char *where, tinker__buf_t *out);
/* Copies a text into a small array, for names of types; "" when absent. */
int tinker__values_name(const tinker__values_t *v, tinker__str_t raw,
                        const char *where, char *out, size_t cap);
int tinker__values_id(const tinker__values_t *v, tinker__str_t raw,
                      const char *where, uint32_t *out);

typedef int (*tinker__value_cb)(void *user, tinker__str_t raw);
/* Calls cb for each element of an array until it fails. An absent array is
 * empty. */
int tinker__values_each(const tinker__values_t *v, tinker__str_t raw,
                        const char *where, tinker__value_cb cb, void *user);

#endif
