/* scalar: values with one word of text, in and out. Pure functions. */
#ifndef TINKER_YAML_SCALAR_H
#define TINKER_YAML_SCALAR_H

#include "base/str.h"
#include "yaml/schema.h"

/* The value of a BOOL is 0 or 1 in i; FLOAT and RATE are in f. */
typedef struct tinker__yaml_scalar_s {
  int64_t i;
  double f;
} tinker__yaml_scalar_t;

/* True for BOOL to RATE: what tinker__yaml_scalar_read knows. */
bool tinker__yaml_is_scalar(tinker__yaml_type_t type);
/* True for FLOAT and RATE. */
bool tinker__yaml_is_real(tinker__yaml_type_t type);

/* Reads s. Returns NULL, or what is wrong with it, to follow "'s' ". */
const char *tinker__yaml_scalar_read(tinker__yaml_type_t type, tinker__str_t s,
                                     tinker__yaml_scalar_t *out);
/* Writes the shortest text that reads back to the same value. */
void tinker__yaml_scalar_write(tinker__yaml_type_t type,
                               const tinker__yaml_scalar_t *v, char out[48]);

/* The word called s, or with that value; NULL = there is none. words may be
 * NULL. */
const tinker__yaml_word_t *
tinker__yaml_word_named(const tinker__yaml_word_t *words, tinker__str_t s);
const tinker__yaml_word_t *
tinker__yaml_word_of(const tinker__yaml_word_t *words, int64_t value);

/* Puts a value in its C type, and gets it. p: at the field's offset. */
void tinker__yaml_put(tinker__yaml_type_t type, void *p,
                      const tinker__yaml_scalar_t *v);
tinker__yaml_scalar_t tinker__yaml_get(tinker__yaml_type_t type, const void *p);

/* Reads s as the field's number or one of its words, in its limits. Returns
 * NULL, or what is wrong; *word (may be NULL) is the word that it is. */
const char *tinker__yaml_value_read(const tinker__yaml_field_t *f,
                                    tinker__str_t s, tinker__yaml_scalar_t *out,
                                    const tinker__yaml_word_t **word);
/* Writes the word for a value, else its number. */
void tinker__yaml_value_write(const tinker__yaml_field_t *f,
                              const tinker__yaml_scalar_t *v, char out[48]);
/* "from 1s to 1h", "only 1s", "at least 1s", "at most 1h", "" without limits.
 */
void tinker__yaml_range(const tinker__yaml_field_t *f, char *out,
                        size_t out_len);

#endif
