/* read: from the tree to the caller's struct, by the table. */
#include <stdio.h>
#include <string.h>
#include <tinker/error.h>

#include "base/show.h"
#include "yaml/doc.h"
#include "yaml/scalar.h"

typedef tinker__yaml_node_t node_t;
typedef tinker__yaml_field_t field_t;

typedef struct tinker__yaml_reader_s {
  tinker__yaml_t *y;
  const field_t *whole; /* the table of the file */
  const void *root;     /* its struct */
} tinker__yaml_reader_t;

static void read_map(const tinker__yaml_reader_t *r, const field_t *table,
                     const node_t *map, void *into);

/* --- Sentences ------------------------------------------------------------ */

#define FAULT(r, node, ...)                                                    \
  tinker__yaml_note((r)->y, (node)->place, node, NULL, __VA_ARGS__)

static const char *kind_name(const node_t *n) {
  return n->kind == TINKER__YAML_IS_LIST  ? "a list"
         : n->kind == TINKER__YAML_IS_MAP ? "a map of keys"
                                          : "a text";
}

/* Adds the names of words that are honoured: "a, b, c". */
static void add_words(const tinker__yaml_word_t *words, char *out,
                      size_t out_len) {
  size_t n = strlen(out);
  for (const char *comma = ""; words->name; words++) {
    if (words->later) continue;
    n += (size_t)snprintf(out + n, out_len - n, "%s%s", comma, words->name);
    if (n >= out_len) return;
    comma = ", ";
  }
}

/* ": from 1s to 1h, or none", ": observe, act", or "". */
static void allowed(const field_t *f, char *out, size_t out_len) {
  char range[120];
  tinker__yaml_range(f, range, sizeof range);
  bool numbers = tinker__yaml_is_scalar(f->type);
  snprintf(out, out_len, "%s%s", f->words || range[0] ? ": " : "", range);
  if (!f->words) return;
  size_t n = strlen(out);
  snprintf(out + n, out_len - n, "%s",
           range[0]  ? ", or "
           : numbers ? "a number, or "
                     : "");
  add_words(f->words, out, out_len);
}

/* A value that the row does not allow. */
static void refuse(const tinker__yaml_reader_t *r, const field_t *f,
                   const node_t *node, const char *wrong) {
  char shown[80], may[300];
  tinker__show(shown, sizeof shown, node->text);
  allowed(f, may, sizeof may);
  FAULT(r, node, "'%s' %s%s", shown, wrong, may);
}

static bool is_null(const node_t *n) {
  return n->kind == TINKER__YAML_IS_TEXT && !n->quoted &&
         (!n->text.len || tinker__str_eqs(n->text, "~") ||
          tinker__str_eqs(n->text, "null"));
}

/* True when node is of the kind; else there is a fault, that it wants `what`.
 */
static bool expect(const tinker__yaml_reader_t *r, const node_t *node,
                   tinker__yaml_kind_t kind, const char *what) {
  if (node->kind == TINKER__YAML_IS_BAD) return false;
  if (is_null(node)) {
    FAULT(r, node, "has no value: it wants %s", what);
    return false;
  }
  if (node->kind != kind) {
    FAULT(r, node, "is %s: it wants %s", kind_name(node), what);
    return false;
  }
  return true;
}

static void *room(const tinker__yaml_reader_t *r, size_t n, size_t size) {
  void *p = tinker__arena_array(&r->y->arena, n, size);
  if (!p) r->y->error = TINKER_ENOMEM;
  return p;
}

/* --- Values --------------------------------------------------------------- */

static const char *what_of(tinker__yaml_type_t type) {
  switch (type) {
  case TINKER__YAML_BOOL: return "true or false";
  case TINKER__YAML_INT: return "a whole number";
  case TINKER__YAML_COUNT: return "a count, as 20 or 2M";
  case TINKER__YAML_FLOAT: return "a number";
  case TINKER__YAML_DURATION: return "a duration, as 10s";
  case TINKER__YAML_SIZE: return "a size, as 256MiB";
  case TINKER__YAML_RATE: return "a rate, as 2/s";
  case TINKER__YAML_TEXT: return "a text";
  case TINKER__YAML_CHOICE: return "one word";
  case TINKER__YAML_FLAGS: return "a list of words";
  case TINKER__YAML_SPAN: return "a list of two durations, as [5s, 5m]";
  case TINKER__YAML_TEXTS: return "a list of texts";
  case TINKER__YAML_LIST: return "a list";
  default: return "a map of keys";
  }
}

/* Quotes make a text of what would be a number or a truth value. */
static bool is_bare(tinker__yaml_type_t type) {
  return type == TINKER__YAML_BOOL || type == TINKER__YAML_INT ||
         type == TINKER__YAML_FLOAT;
}

static bool read_word(const tinker__yaml_reader_t *r, const field_t *f,
                      const node_t *node, tinker__yaml_scalar_t *v) {
  const tinker__yaml_word_t *word;
  if (!expect(r, node, TINKER__YAML_IS_TEXT, what_of(f->type))) return false;
  const char *wrong = tinker__yaml_value_read(f, node->text, v, &word);
  if (!wrong && word && word->later) {
    FAULT(r, node, "'%s' is known, but not honoured yet: %s", word->name,
          word->later);
    return false;
  }
  if (!wrong && !word && node->quoted && is_bare(f->type)) {
    wrong = "stands in quotes, which make a text of it";
  }
  if (wrong) refuse(r, f, node, wrong);
  return !wrong;
}

static void read_scalar(const tinker__yaml_reader_t *r, const field_t *f,
                        const node_t *node, void *at) {
  tinker__yaml_scalar_t v;
  if (read_word(r, f, node, &v)) tinker__yaml_put(f->type, at, &v);
}

/* NULL, and a fault, when it can't be a file name or an argument. */
static const char *read_text(const tinker__yaml_reader_t *r,
                             const node_t *node) {
  if (!expect(r, node, TINKER__YAML_IS_TEXT, "a text")) return NULL;
  for (size_t i = 0; i < node->text.len; i++) {
    unsigned code;
    const char *p = node->text.ptr + i;
    if (*p == '\n' || *p == '\t') continue;
    if (tinker__hidden_step(p, node->text.ptr + node->text.len, &code)) {
      FAULT(r, node, "holds the hidden character U+%04X, which is not allowed",
            code);
      return NULL;
    }
  }
  return node->text.ptr;
}

static void read_flags(const tinker__yaml_reader_t *r, const field_t *f,
                       const node_t *node, void *at) {
  field_t one = *f;
  int64_t flags = 0;
  one.type = TINKER__YAML_CHOICE;
  if (!expect(r, node, TINKER__YAML_IS_LIST, what_of(f->type))) return;
  for (const node_t *c = node->first; c; c = c->next) {
    tinker__yaml_scalar_t v;
    if (!read_word(r, &one, c, &v)) continue;
    if (flags >> v.i & 1) FAULT(r, c, "'%s' is there twice", c->text.ptr);
    flags |= (int64_t)1 << v.i;
  }
  memcpy(at, &flags, sizeof flags);
}

static void read_span(const tinker__yaml_reader_t *r, const field_t *f,
                      const node_t *node, void *at) {
  field_t one = *f;
  tinker__yaml_scalar_t v[2];
  one.type = TINKER__YAML_DURATION;
  if (!expect(r, node, TINKER__YAML_IS_LIST, what_of(f->type))) return;
  if (node->n != 2) {
    FAULT(r, node, "has %zu values: it wants %s", node->n, what_of(f->type));
    return;
  }
  bool first = read_word(r, &one, node->first, &v[0]);
  if (!read_word(r, &one, node->last, &v[1]) || !first) return;
  if (v[0].i > v[1].i) {
    FAULT(r, node->last, "'%s' is less than the one before it",
          node->last->text.ptr);
  }
  int64_t span[2] = {v[0].i, v[1].i};
  memcpy(at, span, sizeof span);
}

static void read_texts(const tinker__yaml_reader_t *r, const node_t *node,
                       tinker__yaml_texts_t *out) {
  if (!expect(r, node, TINKER__YAML_IS_LIST, "a list of texts")) return;
  const char **items = room(r, node->n, sizeof *items);
  if (!items) return;
  size_t n = 0;
  for (const node_t *c = node->first; c; c = c->next) {
    const char *text = read_text(r, c);
    if (text) items[n++] = text;
  }
  *out = (tinker__yaml_texts_t){items, n};
}

static void read_named(const tinker__yaml_reader_t *r, const node_t *node,
                       tinker__yaml_named_t *out) {
  if (!expect(r, node, TINKER__YAML_IS_MAP, "a map of names and texts")) {
    return;
  }
  tinker__yaml_pair_t *items = room(r, node->n, sizeof *items);
  if (!items) return;
  size_t n = 0;
  for (const node_t *c = node->first; c; c = c->next) {
    if (tinker__yaml_child(node, c->key) != c) {
      tinker__yaml_note(r->y, c->key_place, c, NULL, "is there twice");
    } else if (!c->key.len || tinker__has_hidden(c->key)) {
      tinker__yaml_note(r->y, c->key_place, c, NULL,
                        "a name is empty or has hidden characters");
    } else {
      const char *text = read_text(r, c);
      if (text) items[n++] = (tinker__yaml_pair_t){c->key.ptr, text};
    }
  }
  *out = (tinker__yaml_named_t){items, n};
}

static void read_list(const tinker__yaml_reader_t *r, const field_t *f,
                      const node_t *node, tinker__yaml_list_t *out) {
  if (!expect(r, node, TINKER__YAML_IS_LIST, what_of(f->type))) return;
  char *items = room(r, node->n, f->size);
  if (!items) return;
  for (const node_t *c = node->first; c; c = c->next) {
    void *item = items + c->index * f->size;
    if (f->start) {
      f->start(item, r->root);
    } else {
      tinker__yaml_start(f->table, item);
    }
    read_map(r, f->table, c, item);
  }
  *out = (tinker__yaml_list_t){items, node->n};
}

static void read_value(const tinker__yaml_reader_t *r, const field_t *f,
                       const node_t *node, void *at) {
  const char *text;
  switch (f->type) {
  case TINKER__YAML_TEXT:
    text = read_text(r, node);
    if (text) memcpy(at, &text, sizeof text);
    break;
  case TINKER__YAML_FLAGS: read_flags(r, f, node, at); break;
  case TINKER__YAML_SPAN: read_span(r, f, node, at); break;
  case TINKER__YAML_TEXTS: read_texts(r, node, at); break;
  case TINKER__YAML_NAMED: read_named(r, node, at); break;
  case TINKER__YAML_MAP: read_map(r, f->table, node, at); break;
  case TINKER__YAML_LIST: read_list(r, f, node, at); break;
  case TINKER__YAML_LATER:
    tinker__yaml_note(r->y, node->key_place, node, NULL,
                      "known, but not honoured yet: %s", f->what);
    break;
  default: read_scalar(r, f, node, at);
  }
}

/* --- Maps ----------------------------------------------------------------- */

static const field_t *row_of(const field_t *table, tinker__str_t key) {
  for (const field_t *f = table; f->key; f++) {
    const field_t *found = f->type == TINKER__YAML_HERE ? row_of(f->table, key)
                           : tinker__str_eqs(key, f->key) ? f
                                                          : NULL;
    if (found) return found;
  }
  return NULL;
}

/* The keys of a table: "a, b, c". */
static void known_keys(const field_t *table, char *out, size_t out_len) {
  for (const field_t *f = table; f->key; f++) {
    size_t n = strlen(out);
    if (f->type == TINKER__YAML_HERE) {
      known_keys(f->table, out, out_len);
    } else if (f->type != TINKER__YAML_LATER) {
      snprintf(out + n, out_len - n, "%s%s", n ? ", " : "", f->key);
    }
  }
}

static void unknown(const tinker__yaml_reader_t *r, const field_t *table,
                    const node_t *c) {
  char near[200], known[500] = "";
  if (tinker__str_eqs(c->key, "<<")) return; /* has its fault already */
  tinker__yaml_near(table, r->whole, c->key, near, sizeof near);
  known_keys(table, known, sizeof known);
  tinker__yaml_note(r->y, c->key_place, c, NULL,
                    near[0] ? "unknown key, did you mean '%s'? Known here: %s"
                            : "unknown key%s. Known here: %s",
                    near, known);
}

static void check_keys(const tinker__yaml_reader_t *r, const field_t *table,
                       const node_t *map) {
  for (const node_t *c = map->first; c; c = c->next) {
    const node_t *first = tinker__yaml_child(map, c->key);
    if (first != c) {
      tinker__yaml_note(r->y, c->key_place, c, NULL,
                        "is there twice, first on line %zu",
                        first->key_place.line);
    } else if (!row_of(table, c->key)) {
      unknown(r, table, c);
    }
  }
}

/* True when the row counts here, or it can't be known. Else there is a fault.
 */
static bool counts(const tinker__yaml_reader_t *r, const field_t *f,
                   const node_t *map, const node_t *c, const void *into) {
  char path[300];
  if (tinker__yaml_counts(f, into)) return true;
  tinker__yaml_path(map, f->when->key, path, sizeof path);
  if (tinker__yaml_faulty(r->y, path)) return true;
  tinker__yaml_note(r->y, c->key_place, c, NULL,
                    "says nothing without %s: %s, leave it out", f->when->key,
                    f->when->word);
  return false;
}

static void read_rows(const tinker__yaml_reader_t *r, const field_t *table,
                      const node_t *map, void *into) {
  for (const field_t *f = table; f->key; f++) {
    void *at = (char *)into + f->offset;
    if (f->type == TINKER__YAML_HERE) {
      read_rows(r, f->table, map, at);
      continue;
    }
    const node_t *c = tinker__yaml_child(map, tinker__str(f->key));
    if (c) {
      if (counts(r, f, map, c, into)) read_value(r, f, c, at);
    } else if (f->required) {
      tinker__yaml_note(r->y, map->place, map, f->key,
                        "is missing: it wants %s", what_of(f->type));
    }
  }
}

static void read_map(const tinker__yaml_reader_t *r, const field_t *table,
                     const node_t *map, void *into) {
  if (!expect(r, map, TINKER__YAML_IS_MAP, "a map of keys")) return;
  check_keys(r, table, map);
  read_rows(r, table, map, into);
}

int tinker__yaml_read(tinker__yaml_t **out, tinker__mem_t *mem,
                      tinker__str_t text, const char *file,
                      const tinker__yaml_field_t *table, void *into) {
  tinker__yaml_t *y = tinker__mem_zalloc(mem, sizeof *y);
  if (!y) return TINKER_ENOMEM;
  y->mem = mem;
  tinker__arena_init(&y->arena, mem);
  tinker__yaml_start(table, into);
  y->file = tinker__arena_str(&y->arena, tinker__str(file));
  if (!y->file) y->error = TINKER_ENOMEM;
  if (!y->error) tinker__yaml_parse(y, text);
  if (!y->error && y->root) {
    tinker__yaml_reader_t r = {y, table, into};
    read_map(&r, table, y->root, into);
  }
  if (y->error) {
    tinker__yaml_free(y);
    return TINKER_ENOMEM;
  }
  *out = y;
  return tinker__yaml_error(y);
}
