/* json_bind: JSON objects from and to structs, by one table for both ways.
 *
 * Reading: unknown fields are skipped (newer programs send them), null counts
 * as absent unless a flag of the row says otherwise. A field that is given
 * twice, a wrong type, a missing required field or an excess of a cap is a
 * sentence that names the field's path. Everything is copied into the arena.
 * Pure. */
#ifndef TINKER_WIRE_JSON_BIND_H
#define TINKER_WIRE_JSON_BIND_H

#include <stddef.h>

#include "base/json_read.h"
#include "base/json_write.h"
#include "wire/types.h"

typedef enum {
  TINKER__BIND_STR,  /* const char *, NULL = absent; without NUL bytes */
  TINKER__BIND_I64,  /* int64_t */
  TINKER__BIND_F64,  /* double, finite */
  TINKER__BIND_BOOL, /* bool */
  TINKER__BIND_RAW,  /* tinker__str_t: JSON text of any value; empty = absent */
  TINKER__BIND_OBJ,  /* a struct, inline, of the table `nested` */
  TINKER__BIND_STRS, /* tinker__strs_t */
  TINKER__BIND_OBJS, /* tinker__objs_t of the table `nested` */
  TINKER__BIND_NUMBERS /* tinker__numbers_t: an object of numbers */
} tinker__bind_kind_t;

typedef struct tinker__strs_s {
  const char *const *items;
  size_t count;
} tinker__strs_t;

typedef struct tinker__objs_s {
  const void *items; /* array of the nested table's struct */
  size_t count;
} tinker__objs_t;

typedef struct tinker__numbers_s {
  const tinker__number_t *items;
  size_t count;
} tinker__numbers_t;

#define TINKER__BIND_REQUIRED 1u /* reading without it fails */
#define TINKER__BIND_STAMPED 2u  /* left out when a stamp writes it */
#define TINKER__BIND_SPARSE 8u   /* an empty list is not written */
#define TINKER__BIND_NULL 4u     /* an absent one is written as null */
/* Only the size of the body bounds it: the service reads it again out of its
 * log, where a cap that is new must not make it unreadable, or it is a list
 * that has no pages. */
#define TINKER__BIND_LONG 16u
/* null is refused. JSON writers put it where a program has NaN or infinity,
 * which must not become the default. */
#define TINKER__BIND_NOT_NULL 32u
/* null is a value of its own: it satisfies REQUIRED, and "has" stays false. */
#define TINKER__BIND_NULLABLE 64u

/* The row belongs to a call's head, which is read even if other fields are
 * refused. */
#define TINKER__BIND_HEAD 128u

struct tinker__bind_table_s;

typedef struct tinker__bind_field_s {
  const char *name;
  tinker__bind_kind_t kind;
  unsigned flags;
  size_t offset;
  size_t has; /* offset + 1 of a bool "is present", 0 = always written */
  const struct tinker__bind_table_s *nested;
} tinker__bind_field_t;

/* A message. type: the literal of its "type" field, NULL = none; not demanded
 * when reading. defaults: the struct before reading. */
typedef struct tinker__bind_table_s {
  const tinker__bind_field_t *fields;
  size_t count;
  size_t size;
  const char *type;
  const void *defaults;
} tinker__bind_table_t;

/* Reads one object where j stands. prefix: path of the object ("" at the
 * top). 0 or a code, with a sentence in `why`. */
int tinker__bind_read(tinker__json_t *j, tinker__arena_t *arena,
                      const tinker__bind_table_t *table, const char *prefix,
                      void *out, char *why, size_t why_len);
/* The outcome of reading the rows of TINKER__BIND_HEAD. */
typedef enum {
  TINKER__HEAD_UNREAD, /* the text is not a JSON object, or memory ran out */
  TINKER__HEAD_WRONG,  /* a row of the head is refused */
  TINKER__HEAD_READ    /* the rows that the text has are set */
} tinker__bind_head_t;

/* Reads the value of a field that no row has. skips: the object is refused
 * already, and only the value's end matters. */
typedef int (*tinker__bind_rest_t)(void *user, tinker__json_t *j,
                                   tinker__str_t key, bool skips);

/* Reads a call in one pass. After a field that is refused, the rows of
 * TINKER__BIND_HEAD are still read. rest (NULL = skip) reads the fields without
 * a row. The result and `why` are about the text if it is not a JSON object,
 * else about the head if it is refused, else about the first other field that
 * is refused. */
int tinker__bind_read_call(tinker__json_t *j, tinker__arena_t *arena,
                           const tinker__bind_table_t *table, void *out,
                           tinker__bind_rest_t rest, void *user,
                           tinker__bind_head_t *head, char *why,
                           size_t why_len);
/* After j failed: the sentence and its code. */
int tinker__bind_malformed(const tinker__json_t *j, const char *prefix,
                           char *why, size_t why_len);
/* Reads an object of numbers; name is for errors. */
int tinker__bind_read_numbers(tinker__json_t *j, tinker__arena_t *arena,
                              const char *name, tinker__numbers_t *out,
                              char *why, size_t why_len);
/* Writes the fields that are present. stamped: without those of the stamp. */
void tinker__bind_write(tinker__jsonw_t *w, const tinker__bind_table_t *table,
                        const void *in, bool stamped);
/* The same without the braces: every field, and the type. */
void tinker__bind_write_fields(tinker__jsonw_t *w,
                               const tinker__bind_table_t *table,
                               const void *in, bool stamped);

#endif
