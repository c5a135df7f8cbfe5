/* print: a struct as YAML that reads back to the same struct. A key is left out
 * when it is written as the same bytes for the struct that is compared with. */
#include <stdio.h>
#include <string.h>
#include <tinker/error.h>

#include "base/show.h"
#include "yaml/scalar.h"
#include "yaml/yaml.h"

#define PATH_MAX_LEN 200 /* of keys */

typedef tinker__yaml_field_t field_t;

typedef struct tinker__yaml_printer_s {
  tinker__buf_t *out;
  const void *root; /* the struct of the whole file */
} tinker__yaml_printer_t;

static void put_map(const tinker__yaml_printer_t *p, const field_t *table,
                    const char *from, const char *but, size_t indent);

/* True for a text that means itself without quotes in any reader of YAML. */
static bool is_safe(tinker__str_t s) {
  static const char first[] = "abcdefghijklmnopqrstuvwxyz"
                              "ABCDEFGHIJKLMNOPQRSTUVWXYZ_/";
  static const char *const taken[] = {"null", "true", "false", "yes", "no",
                                      "on",   "off",  "y",     "n"};
  if (!s.len || !s.ptr[0] || !strchr(first, s.ptr[0])) return false;
  for (size_t i = 0; i < s.len; i++) {
    char c = s.ptr[i];
    if (!c || (!strchr(first, c) && !strchr("0123456789.-", c))) return false;
  }
  for (size_t i = 0; i < sizeof taken / sizeof taken[0]; i++) {
    if (tinker__str_ieq(s, tinker__str(taken[i]))) return false;
  }
  return true;
}

static void put_text(tinker__buf_t *out, const char *text) {
  tinker__str_t s = tinker__str(text);
  if (is_safe(s)) {
    tinker__buf_add(out, s.ptr, s.len);
    return;
  }
  tinker__buf_addc(out, '"');
  for (size_t i = 0; i < s.len; i++) {
    char c = s.ptr[i];
    if (c == '\n' || c == '\t') {
      tinker__buf_adds(out, c == '\n' ? "\\n" : "\\t");
    } else {
      if (c == '"' || c == '\\') tinker__buf_addc(out, '\\');
      tinker__buf_addc(out, c);
    }
  }
  tinker__buf_addc(out, '"');
}

static void put_indent(tinker__buf_t *out, size_t indent) {
  for (size_t i = 0; i < indent; i++) tinker__buf_addc(out, ' ');
}

static void put_flags(tinker__buf_t *out, const field_t *f, const void *at) {
  int64_t flags;
  const char *comma = "";
  memcpy(&flags, at, sizeof flags);
  tinker__buf_addc(out, '[');
  for (const tinker__yaml_word_t *w = f->words; w->name; w++) {
    if (!(flags >> w->value & 1)) continue;
    tinker__buf_adds(out, comma);
    put_text(out, w->name);
    comma = ", ";
  }
  tinker__buf_addc(out, ']');
}

static void put_span(tinker__buf_t *out, const void *at) {
  int64_t span[2];
  char text[2][48];
  memcpy(span, at, sizeof span);
  for (int i = 0; i < 2; i++) {
    tinker__yaml_scalar_t v = {span[i], 0};
    tinker__yaml_scalar_write(TINKER__YAML_DURATION, &v, text[i]);
  }
  tinker__buf_addf(out, "[%s, %s]", text[0], text[1]);
}

static void put_texts(tinker__buf_t *out, const void *at) {
  tinker__yaml_texts_t texts;
  memcpy(&texts, at, sizeof texts);
  tinker__buf_addc(out, '[');
  for (size_t i = 0; i < texts.n; i++) {
    if (i) tinker__buf_adds(out, ", ");
    put_text(out, texts.items[i]);
  }
  tinker__buf_addc(out, ']');
}

static void put_named(tinker__buf_t *out, const void *at) {
  tinker__yaml_named_t named;
  memcpy(&named, at, sizeof named);
  tinker__buf_addc(out, '{');
  for (size_t i = 0; i < named.n; i++) {
    if (i) tinker__buf_adds(out, ", ");
    put_text(out, named.items[i].name);
    tinker__buf_adds(out, ": ");
    put_text(out, named.items[i].text);
  }
  tinker__buf_addc(out, '}');
}

/* A number or a word. A word that other readers take for a truth value is
 * quoted. */
static void put_scalar(tinker__buf_t *out, const field_t *f, const void *at) {
  char text[48];
  tinker__yaml_scalar_t v = tinker__yaml_get(f->type, at);
  tinker__yaml_value_write(f, &v, text);
  bool word = f->type != TINKER__YAML_BOOL &&
              tinker__yaml_word_named(f->words, tinker__str(text));
  if (word) {
    put_text(out, text);
  } else {
    tinker__buf_adds(out, text);
  }
}

/* What stands after the colon. */
static void put_value(tinker__buf_t *out, const field_t *f, const char *at) {
  const char *text;
  switch (f->type) {
  case TINKER__YAML_TEXT:
    memcpy(&text, at, sizeof text);
    put_text(out, text);
    break;
  case TINKER__YAML_FLAGS: put_flags(out, f, at); break;
  case TINKER__YAML_SPAN: put_span(out, at); break;
  case TINKER__YAML_TEXTS: put_texts(out, at); break;
  case TINKER__YAML_NAMED: put_named(out, at); break;
  default: put_scalar(out, f, at);
  }
}

static void put_key(tinker__buf_t *out, const field_t *f, size_t indent) {
  put_indent(out, indent);
  tinker__buf_adds(out, f->key);
  tinker__buf_addc(out, ':');
}

/* True when what was written from `mark` on is what `but` would give. */
static bool is_same(tinker__buf_t *out, size_t mark, const field_t *f,
                    const char *but) {
  size_t end = out->len;
  put_value(out, f, but);
  bool same = !tinker__buf_error(out) && out->len - end == end - mark &&
              memcmp(out->data + mark, out->data + end, end - mark) == 0;
  out->len = end;
  return same;
}

static void put_row(const tinker__yaml_printer_t *p, const field_t *f,
                    const char *at, const char *but, size_t indent) {
  tinker__buf_t *out = p->out;
  size_t begin = out->len;
  put_key(out, f, indent);
  if (f->type == TINKER__YAML_MAP) {
    tinker__buf_addc(out, '\n');
    size_t mark = out->len;
    put_map(p, f->table, at, but, indent + 2);
    if (out->len == mark) out->len = begin;
    return;
  }
  tinker__buf_addc(out, ' ');
  size_t mark = out->len;
  put_value(out, f, at);
  if (but && !f->required && is_same(out, mark, f, but)) {
    out->len = begin;
  } else {
    tinker__buf_addc(out, '\n');
  }
}

/* One item, against the one that its defaults make. */
static void put_item(const tinker__yaml_printer_t *p, const field_t *f,
                     const char *item, char *fresh, size_t indent) {
  tinker__buf_t *out = p->out;
  size_t mark = out->len;
  if (f->start) {
    f->start(fresh, p->root);
  } else {
    tinker__yaml_start(f->table, fresh);
  }
  put_map(p, f->table, item, fresh, indent + 2);
  if (out->len == mark) {
    put_indent(out, indent);
    tinker__buf_adds(out, "- {}\n");
  } else if (!tinker__buf_error(out)) {
    out->data[mark + indent] = '-';
  }
}

static void put_list(const tinker__yaml_printer_t *p, const field_t *f,
                     const char *at, size_t indent) {
  tinker__yaml_list_t list;
  memcpy(&list, at, sizeof list);
  put_key(p->out, f, indent);
  if (!list.n) {
    tinker__buf_adds(p->out, " []\n");
    return;
  }
  tinker__buf_addc(p->out, '\n');
  char *fresh = tinker__mem_zalloc(p->out->mem, f->size);
  if (!fresh) {
    tinker__buf_fail(p->out, TINKER_ENOMEM);
    return;
  }
  for (size_t i = 0; i < list.n; i++) {
    put_item(p, f, (const char *)list.items + i * f->size, fresh, indent + 2);
  }
  tinker__mem_free(p->out->mem, fresh);
}

static void put_map(const tinker__yaml_printer_t *p, const field_t *table,
                    const char *from, const char *but, size_t indent) {
  for (const field_t *f = table; f->key; f++) {
    const char *at = from + f->offset;
    const char *other = but ? but + f->offset : NULL;
    if (f->type == TINKER__YAML_LATER) continue;
    if (!tinker__yaml_counts(f, from)) continue;
    if (f->type == TINKER__YAML_HERE) {
      put_map(p, f->table, at, other, indent);
    } else if (f->type == TINKER__YAML_LIST) {
      put_list(p, f, at, indent);
    } else {
      put_row(p, f, at, other, indent);
    }
  }
}

void tinker__yaml_print(tinker__buf_t *out, const tinker__yaml_field_t *table,
                        const void *from, const void *but) {
  const tinker__yaml_printer_t p = {out, from};
  put_map(&p, table, from, but, 0);
}

/* --- On one line ---------------------------------------------------------- */

typedef struct tinker__yaml_line_s {
  tinker__buf_t *out;
  bool (*keep)(void *user, const char *path);
  void *user;
} tinker__yaml_line_t;

static void line_map(const tinker__yaml_line_t *l, const field_t *table,
                     const char *from, const char *path);

/* A comma, unless it is the first of its map. */
static void line_key(tinker__buf_t *out, const char *key) {
  if (out->len && out->data[out->len - 1] != '{') tinker__buf_adds(out, ", ");
  tinker__buf_adds(out, key);
  tinker__buf_adds(out, ": ");
}

static void line_row(const tinker__yaml_line_t *l, const field_t *f,
                     const char *at, const char *path) {
  tinker__buf_t *out = l->out;
  size_t begin = out->len;
  if (f->type == TINKER__YAML_MAP) {
    line_key(out, f->key);
    tinker__buf_addc(out, '{');
    size_t mark = out->len;
    line_map(l, f->table, at, path);
    if (out->len == mark) {
      out->len = begin;
    } else {
      tinker__buf_addc(out, '}');
    }
  } else if (f->required || l->keep(l->user, path)) {
    line_key(out, f->key);
    put_value(out, f, at);
  }
}

static void line_map(const tinker__yaml_line_t *l, const field_t *table,
                     const char *from, const char *path) {
  for (const field_t *f = table; f->key; f++) {
    char full[PATH_MAX_LEN];
    const char *at = from + f->offset;
    bool no = f->type == TINKER__YAML_LATER || f->type == TINKER__YAML_LIST;
    if (no || !tinker__yaml_counts(f, from)) continue;
    if (f->type == TINKER__YAML_HERE) {
      line_map(l, f->table, at, path);
      continue;
    }
    snprintf(full, sizeof full, "%s%s%s", path, *path ? "." : "", f->key);
    line_row(l, f, at, full);
  }
}

void tinker__yaml_print_line(tinker__buf_t *out,
                             const tinker__yaml_field_t *table,
                             const void *from,
                             bool (*keep)(void *user, const char *path),
                             void *user) {
  const tinker__yaml_line_t l = {out, keep, user};
  tinker__buf_addc(out, '{');
  line_map(&l, table, from, "");
  tinker__buf_addc(out, '}');
}
