/* schema: the table of what may stand in a YAML file and where its values go.
 *
 * One constant table for each map of the file, one row for each key. Defaults
 * and limits are in the notation of the file ("10s"), so that the reader, the
 * printer and the reference page say the same. All of it is static. */
#ifndef TINKER_YAML_SCHEMA_H
#define TINKER_YAML_SCHEMA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What a key holds, and in which C type at the row's offset. */
typedef enum {
  TINKER__YAML_BOOL,     /* bool: true or false */
  TINKER__YAML_INT,      /* int64_t: 12 */
  TINKER__YAML_COUNT,    /* int64_t: 12, 2k, 2M, 2G (powers of ten) */
  TINKER__YAML_FLOAT,    /* double: 0.5 */
  TINKER__YAML_DURATION, /* int64_t, milliseconds: 250ms, 10s, 5m, 2h, 14d */
  TINKER__YAML_SIZE,     /* int64_t, bytes: 12B, 4KiB, 256MiB, 1GiB, 1TiB */
  TINKER__YAML_RATE,     /* double, in a second: 2/s, 30/m, 100/h */
  TINKER__YAML_TEXT,     /* const char *: a text */
  TINKER__YAML_CHOICE,   /* int64_t: the value of one of the row's words */
  TINKER__YAML_FLAGS,    /* int64_t: a list of words; bit n is value n */
  TINKER__YAML_SPAN,     /* int64_t[2]: a list of two durations, rising */
  TINKER__YAML_TEXTS,    /* tinker__yaml_texts_t: a list of texts */
  TINKER__YAML_NAMED,    /* tinker__yaml_named_t: a map of texts */
  TINKER__YAML_MAP,      /* a struct by the row's table, in place */
  TINKER__YAML_LIST,     /* tinker__yaml_list_t: structs by the row's table */
  TINKER__YAML_HERE,     /* no key: the rows of another table, in place */
  TINKER__YAML_LATER     /* nothing: a known key that is not honoured yet */
} tinker__yaml_type_t;

typedef struct tinker__yaml_texts_s {
  const char **items;
  size_t n;
} tinker__yaml_texts_t;

typedef struct tinker__yaml_pair_s {
  const char *name;
  const char *text;
} tinker__yaml_pair_t;

typedef struct tinker__yaml_named_s {
  tinker__yaml_pair_t *items; /* as in the file */
  size_t n;
} tinker__yaml_named_t;

typedef struct tinker__yaml_list_s {
  void *items; /* n structs of the row's size */
  size_t n;
} tinker__yaml_list_t;

/* A word that a value may be. Types with a number take it beside their numbers
 * ("none" for a limit). A list of words ends with a name of NULL. */
typedef struct tinker__yaml_word_s {
  const char *name;
  int64_t value;
  const char
      *later; /* not NULL: known, but not honoured yet, for this reason */
} tinker__yaml_word_t;

/* A row that counts only while another one of its map, before it, has a value:
 * elsewhere the key is refused, since it would say nothing, and not printed. */
typedef struct tinker__yaml_when_s {
  const char *key;
  size_t offset; /* of its int64_t, from where the row's own counts */
  int64_t value;
  const char *word; /* the value in the file */
} tinker__yaml_when_t;

typedef struct tinker__yaml_field_s tinker__yaml_field_t;
struct tinker__yaml_field_s {
  const char *key; /* NULL ends the table */
  tinker__yaml_type_t type;
  size_t offset;
  const char *initial; /* the default; lists of words: "a, b"; NULL = zero */
  const char *least;   /* the limits of a number; NULL = none */
  const char *most;
  const tinker__yaml_word_t *words;
  const tinker__yaml_field_t *table; /* of a MAP, a LIST, a HERE */
  size_t size;                       /* LIST: of an item */
  /* LIST: gives a new item its defaults; NULL = those of its table. root is the
   * struct of the whole file, in which the rows before this one are read. */
  void (*start)(void *item, const void *root);
  bool required;
  const tinker__yaml_when_t *when; /* NULL = always */
  const char *what; /* for the reference page; LATER: why it is not honoured */
};

/* True when the row counts in this struct, of which it is a part. */
bool tinker__yaml_counts(const tinker__yaml_field_t *row, const void *of);

/* Sets all defaults of a table. Needs no memory. */
void tinker__yaml_start(const tinker__yaml_field_t *table, void *into);

#endif
