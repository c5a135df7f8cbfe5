/* doc: the tree of a YAML text, with the place of every key and value, and the
 * faults that were found. Internal to src/yaml. */
#ifndef TINKER_YAML_DOC_H
#define TINKER_YAML_DOC_H

#include <stdarg.h>

#include "base/arena.h"
#include "yaml/yaml.h"

typedef enum {
  TINKER__YAML_IS_TEXT,
  TINKER__YAML_IS_LIST,
  TINKER__YAML_IS_MAP,
  TINKER__YAML_IS_BAD /* has its fault already */
} tinker__yaml_kind_t;

typedef struct tinker__yaml_place_s {
  size_t line, column; /* from 1, in characters */
} tinker__yaml_place_t;

typedef struct tinker__yaml_node_s {
  tinker__yaml_kind_t kind;
  bool quoted;
  tinker__yaml_place_t place, key_place;
  tinker__str_t text; /* of a text, NUL-terminated */
  tinker__str_t key;  /* in a map */
  size_t index;       /* in a list or map */
  size_t n;           /* children */
  struct tinker__yaml_node_s *parent, *first, *last, *next;
  struct tinker__yaml_node_s **items; /* of a list that is not empty */
} tinker__yaml_node_t;

typedef struct tinker__yaml_note_s {
  tinker__yaml_place_t place;
  const char *text;
  const char *path; /* of the key; "" = of none */
} tinker__yaml_note_t;

struct tinker__yaml_s {
  tinker__mem_t *mem;
  tinker__arena_t arena;
  const char *file;
  tinker__yaml_node_t *root;                           /* NULL: there is none */
  tinker__yaml_note_t faults[TINKER__YAML_MAX_FAULTS]; /* by place */
  size_t n_faults;                                     /* all of them */
  int error;                                           /* TINKER_ENOMEM, or 0 */
};

/* Fills root, or adds the faults that keep it from it. */
void tinker__yaml_parse(tinker__yaml_t *y, tinker__str_t text);

/* Adds "key 'PATH': ..." at a place; PATH is that of node, and ".key" after it
 * when key is not NULL. A node without a path: the sentence alone. */
void tinker__yaml_note(tinker__yaml_t *y, tinker__yaml_place_t place,
                       const tinker__yaml_node_t *node, const char *key,
                       const char *fmt, ...)
    __attribute__((format(printf, 5, 6)));
/* Writes the path of node, with ".key" after it when key is not NULL; "" for
 * the root. */
void tinker__yaml_path(const tinker__yaml_node_t *node, const char *key,
                       char *out, size_t out_len);
/* The child of a map, or NULL. */
tinker__yaml_node_t *tinker__yaml_child(const tinker__yaml_node_t *map,
                                        tinker__str_t key);

/* near.c: the known key that is most like key. Looks at the table of the map
 * first, then for the same key anywhere in `whole`. Writes its name, "" if none
 * is like it. */
void tinker__yaml_near(const tinker__yaml_field_t *table,
                       const tinker__yaml_field_t *whole, tinker__str_t key,
                       char *out, size_t out_len);

#endif
