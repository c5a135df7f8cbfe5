/* parse: from the text to the tree, by libyaml's events.
 *
 * Depth and number of values are counted while the events arrive, so that a
 * hostile text costs no more than the limits. Anchors, aliases and tags are
 * refused by name, and the reading goes on. */
#include <stdio.h>
#include <string.h>
#include <tinker/error.h>
#include <yaml.h>

#include "base/show.h"
#include "yaml/doc.h"

typedef struct tinker__yaml_builder_s {
  tinker__yaml_t *y;
  tinker__yaml_node_t *open; /* the list or map that is being filled */
  size_t depth, values, documents;
  bool has_key; /* of the open map: a key waits for its value */
  tinker__str_t key;
  tinker__yaml_place_t key_place;
  bool stop; /* a limit was passed, or there is no memory */
} tinker__yaml_builder_t;

static tinker__yaml_place_t place_of(yaml_mark_t mark) {
  return (tinker__yaml_place_t){mark.line + 1, mark.column + 1};
}

/* Moves *p over the character at byte i; returns the next byte. */
static size_t pass(tinker__str_t text, size_t i, tinker__yaml_place_t *p) {
  const char c = text.ptr[i];
  size_t n = tinker__utf8_step(text.ptr + i, text.ptr + text.len);
  bool pair = c == '\r' && i + 1 < text.len && text.ptr[i + 1] == '\n';
  if ((c == '\n' || c == '\r') && !pair) {
    *p = (tinker__yaml_place_t){p->line + 1, 1};
  } else if (!pair) {
    p->column++;
  }
  return i + (n ? n : 1);
}

/* The place of a byte. */
static tinker__yaml_place_t place_at(tinker__str_t text, size_t at) {
  tinker__yaml_place_t p = {1, 1};
  for (size_t i = 0; i < at && i < text.len;) i = pass(text, i, &p);
  return p;
}

/* The byte at a place, 0 when there is none. */
static char byte_at(tinker__str_t text, tinker__yaml_place_t want) {
  tinker__yaml_place_t p = {1, 1};
  for (size_t i = 0; i < text.len; i = pass(text, i, &p)) {
    if (p.line == want.line && p.column == want.column) return text.ptr[i];
  }
  return 0;
}

#define BYTE_ORDER_MARK "\xef\xbb\xbf"

/* False when the text holds bytes that no text should. */
static bool clean(tinker__yaml_t *y, tinker__str_t text) {
  const char *end = text.ptr + text.len;
  for (size_t i = 0; i < text.len;) {
    const char *p = text.ptr + i;
    unsigned code = 0;
    size_t n = tinker__utf8_step(p, end);
    if (!n) {
      tinker__yaml_note(y, place_at(text, i), NULL, NULL,
                        "the byte 0x%02x is not UTF-8", (unsigned char)*p);
      return false;
    }
    bool space = *p == '\t' || *p == '\n' || *p == '\r';
    bool inner_mark = n == 3 && memcmp(p, BYTE_ORDER_MARK, 3) == 0;
    if (!space && (inner_mark || tinker__hidden_step(p, end, &code))) {
      tinker__yaml_note(y, place_at(text, i), NULL, NULL,
                        "the hidden character U+%04X is not allowed",
                        inner_mark ? 0xfeffu : code);
      return false;
    }
    i += n;
  }
  return true;
}

/* --- Building ------------------------------------------------------------- */

static void refuse(tinker__yaml_builder_t *b, const tinker__yaml_node_t *node,
                   yaml_mark_t mark, const char *what, const void *name) {
  char shown[64];
  tinker__show(shown, sizeof shown, tinker__str(name));
  tinker__yaml_note(b->y, place_of(mark), node, NULL, "%s%s) are not allowed",
                    what, shown);
}

static void refuse_marks(tinker__yaml_builder_t *b,
                         const tinker__yaml_node_t *node, yaml_mark_t mark,
                         const void *anchor, const void *tag) {
  if (anchor) refuse(b, node, mark, "anchors (&", anchor);
  if (tag) refuse(b, node, mark, "tags (", tag);
}

static void limit(tinker__yaml_builder_t *b, yaml_mark_t mark, const char *what,
                  size_t most) {
  b->stop = true;
  tinker__yaml_note(b->y, place_of(mark), b->open, NULL,
                    "%s: at most %zu are allowed", what, most);
}

/* A node at the place where the next value belongs, linked in. */
static tinker__yaml_node_t *add(tinker__yaml_builder_t *b,
                                tinker__yaml_kind_t kind, yaml_mark_t mark) {
  if (++b->values > TINKER__YAML_MAX_VALUES) {
    limit(b, mark, "too many values", TINKER__YAML_MAX_VALUES);
    return NULL;
  }
  tinker__yaml_node_t *node =
      tinker__arena_array(&b->y->arena, 1, sizeof *node);
  if (!node) {
    b->stop = true;
    b->y->error = TINKER_ENOMEM;
    return NULL;
  }
  tinker__yaml_node_t *in = b->open;
  node->kind = kind;
  node->place = place_of(mark);
  node->parent = in;
  if (!in) {
    if (!b->y->root) b->y->root = node;
    return node;
  }
  if (in->kind == TINKER__YAML_IS_MAP) {
    node->key = b->key;
    node->key_place = b->key_place;
  }
  node->index = in->n++;
  if (in->last) in->last->next = node;
  if (!in->first) in->first = node;
  in->last = node;
  b->has_key = false;
  return node;
}

/* True when the next event is a key of the open map. */
static bool wants_key(const tinker__yaml_builder_t *b) {
  return b->open && b->open->kind == TINKER__YAML_IS_MAP && !b->has_key;
}

/* A copy in the arena. */
static tinker__str_t keep(tinker__yaml_builder_t *b, const void *s,
                          size_t len) {
  char *copy = tinker__arena_str(&b->y->arena, (tinker__str_t){s, len});
  if (copy) return (tinker__str_t){copy, len};
  b->stop = true;
  b->y->error = TINKER_ENOMEM;
  return TINKER__STR("");
}

static void take_key(tinker__yaml_builder_t *b, tinker__str_t key,
                     yaml_mark_t mark) {
  b->key = key;
  b->key_place = place_of(mark);
  b->has_key = true;
}

static bool is_plain(const yaml_event_t *e) {
  return e->data.scalar.style == YAML_PLAIN_SCALAR_STYLE;
}

static void take_text(tinker__yaml_builder_t *b, const yaml_event_t *e) {
  tinker__str_t text = keep(b, e->data.scalar.value, e->data.scalar.length);
  if (b->stop) return;
  if (wants_key(b)) {
    take_key(b, text, e->start_mark);
    if (tinker__str_eqs(text, "<<")) {
      tinker__yaml_note(b->y, place_of(e->start_mark), b->open, NULL,
                        "merge keys (<<) are not allowed");
    }
    refuse_marks(b, b->open, e->start_mark, e->data.scalar.anchor,
                 e->data.scalar.tag);
    return;
  }
  tinker__yaml_node_t *node = add(b, TINKER__YAML_IS_TEXT, e->start_mark);
  if (!node) return;
  node->text = text;
  node->quoted = !is_plain(e);
  refuse_marks(b, node, e->start_mark, e->data.scalar.anchor,
               e->data.scalar.tag);
}

static void take_alias(tinker__yaml_builder_t *b, const yaml_event_t *e) {
  if (wants_key(b)) {
    b->stop = true;
    refuse(b, b->open, e->start_mark, "aliases (*", e->data.alias.anchor);
    return;
  }
  tinker__yaml_node_t *node = add(b, TINKER__YAML_IS_BAD, e->start_mark);
  if (node) {
    bool merged = tinker__str_eqs(node->key, "<<"); /* has its fault */
    if (!merged) {
      refuse(b, node, e->start_mark, "aliases (*", e->data.alias.anchor);
    }
  }
}

static void take_open(tinker__yaml_builder_t *b, tinker__yaml_kind_t kind,
                      const yaml_event_t *e, const void *anchor,
                      const void *tag) {
  if (wants_key(b)) {
    b->stop = true;
    tinker__yaml_note(b->y, place_of(e->start_mark), b->open, NULL,
                      "a key must be a text, not a list or a map");
    return;
  }
  if (b->depth == TINKER__YAML_MAX_DEPTH) {
    limit(b, e->start_mark, "too many levels", TINKER__YAML_MAX_DEPTH);
    return;
  }
  tinker__yaml_node_t *node = add(b, kind, e->start_mark);
  if (!node) return;
  b->open = node;
  b->depth++;
  refuse_marks(b, node, e->start_mark, anchor, tag);
}

/* The list or map that is open is whole. */
static void take_close(tinker__yaml_builder_t *b) {
  tinker__yaml_node_t *node = b->open;
  b->open = node->parent;
  b->depth--;
  if (node->kind != TINKER__YAML_IS_LIST || !node->n) return;
  node->items =
      tinker__arena_array(&b->y->arena, node->n, sizeof(tinker__yaml_node_t *));
  if (!node->items) {
    b->stop = true;
    b->y->error = TINKER_ENOMEM;
    return;
  }
  for (tinker__yaml_node_t *c = node->first; c; c = c->next) {
    node->items[c->index] = c;
  }
}

static void take_document(tinker__yaml_builder_t *b, const yaml_event_t *e) {
  if (b->documents++) {
    b->stop = true;
    tinker__yaml_note(b->y, place_of(e->start_mark), NULL, NULL,
                      "a second document is not allowed: one file has one");
  }
}

static void take(tinker__yaml_builder_t *b, const yaml_event_t *e) {
  switch (e->type) {
  case YAML_DOCUMENT_START_EVENT: take_document(b, e); break;
  case YAML_SCALAR_EVENT: take_text(b, e); break;
  case YAML_ALIAS_EVENT: take_alias(b, e); break;
  case YAML_SEQUENCE_START_EVENT:
    take_open(b, TINKER__YAML_IS_LIST, e, e->data.sequence_start.anchor,
              e->data.sequence_start.tag);
    break;
  case YAML_MAPPING_START_EVENT:
    take_open(b, TINKER__YAML_IS_MAP, e, e->data.mapping_start.anchor,
              e->data.mapping_start.tag);
    break;
  case YAML_SEQUENCE_END_EVENT:
  case YAML_MAPPING_END_EVENT: take_close(b); break;
  default: break;
  }
}

/* --- Libyaml -------------------------------------------------------------- */

static void syntax(tinker__yaml_t *y, const yaml_parser_t *p,
                   tinker__str_t text) {
  const char *problem = p->problem ? p->problem : "malformed YAML";
  /* Libyaml 0.2.5 sets no error where a tag found no memory. */
  if (p->error == YAML_MEMORY_ERROR || p->error == YAML_NO_ERROR) {
    y->error = TINKER_ENOMEM;
  } else if (p->error == YAML_READER_ERROR) {
    tinker__yaml_note(y, place_at(text, p->problem_offset), NULL, NULL, "%s",
                      problem);
  } else if (byte_at(text, place_of(p->problem_mark)) == '\t') {
    tinker__yaml_note(y, place_of(p->problem_mark), NULL, NULL,
                      "malformed YAML: a tab where only spaces may stand");
  } else if (p->context) {
    tinker__yaml_note(y, place_of(p->problem_mark), NULL, NULL,
                      "malformed YAML: %s that begins on line %zu: %s",
                      p->context, p->context_mark.line + 1, problem);
  } else {
    tinker__yaml_note(y, place_of(p->problem_mark), NULL, NULL,
                      "malformed YAML: %s", problem);
  }
  y->root = NULL;
}

static void feed(tinker__yaml_t *y, yaml_parser_t *p, tinker__str_t text) {
  tinker__yaml_builder_t b = {.y = y};
  bool more = true;
  yaml_parser_set_encoding(p, YAML_UTF8_ENCODING);
  yaml_parser_set_input_string(p, (const unsigned char *)text.ptr, text.len);
  while (more && !b.stop) {
    yaml_event_t e;
    if (!yaml_parser_parse(p, &e)) {
      syntax(y, p, text);
      return;
    }
    more = e.type != YAML_STREAM_END_EVENT;
    take(&b, &e);
    yaml_event_delete(&e);
  }
  if (b.stop) {
    y->root = NULL;
  } else if (!y->root) {
    tinker__yaml_note(y, (tinker__yaml_place_t){1, 1}, NULL, NULL,
                      "the file is empty");
  }
}

void tinker__yaml_parse(tinker__yaml_t *y, tinker__str_t text) {
  yaml_parser_t p;
  if (text.len > TINKER__YAML_MAX_BYTES) {
    tinker__yaml_note(y, (tinker__yaml_place_t){1, 1}, NULL, NULL,
                      "the file has %zu bytes: at most %zu are allowed",
                      text.len, TINKER__YAML_MAX_BYTES);
    return;
  }
  if (tinker__str_starts(text, BYTE_ORDER_MARK)) {
    text = (tinker__str_t){text.ptr + 3, text.len - 3};
  }
  if (!clean(y, text)) return;
  if (!yaml_parser_initialize(&p)) {
    y->error = TINKER_ENOMEM;
    return;
  }
  feed(y, &p, text);
  yaml_parser_delete(&p);
}
