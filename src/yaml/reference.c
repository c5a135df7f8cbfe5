/* reference: a table as rows of Markdown, for the page that describes it. */
#include <stdio.h>

#include "yaml/scalar.h"
#include "yaml/yaml.h"

typedef tinker__yaml_field_t field_t;

static const char *kind_of(const field_t *f) {
  switch (f->type) {
  case TINKER__YAML_BOOL: return "true or false";
  case TINKER__YAML_INT: return "whole number";
  case TINKER__YAML_COUNT: return "count";
  case TINKER__YAML_FLOAT: return "number";
  case TINKER__YAML_DURATION: return "duration";
  case TINKER__YAML_SIZE: return "size";
  case TINKER__YAML_RATE: return "rate";
  case TINKER__YAML_TEXT: return "text";
  case TINKER__YAML_CHOICE: return "word";
  case TINKER__YAML_FLAGS: return "list of words";
  case TINKER__YAML_SPAN: return "two durations";
  case TINKER__YAML_TEXTS: return "list of texts";
  case TINKER__YAML_NAMED: return "map of texts";
  case TINKER__YAML_LIST: return "list of maps";
  default: return "not honoured yet";
  }
}

static void put_initial(tinker__buf_t *out, const field_t *f) {
  bool list = f->type == TINKER__YAML_FLAGS || f->type == TINKER__YAML_SPAN ||
              f->type == TINKER__YAML_TEXTS || f->type == TINKER__YAML_LIST;
  bool map = f->type == TINKER__YAML_NAMED;
  if (f->required) {
    tinker__buf_adds(out, "must be set");
  } else if (f->type == TINKER__YAML_LATER) {
    tinker__buf_adds(out, "-");
  } else if (f->type == TINKER__YAML_TEXT && !f->initial) {
    tinker__buf_adds(out, "`\"\"`");
  } else {
    tinker__buf_addf(out, "`%s%s%s`",
                     list  ? "["
                     : map ? "{"
                           : "",
                     f->initial ? f->initial : "",
                     list  ? "]"
                     : map ? "}"
                           : "");
  }
}

static void put_words(tinker__buf_t *out, const field_t *f, bool later) {
  const char *comma = "";
  for (const tinker__yaml_word_t *w = f->words; w && w->name; w++) {
    if ((w->later != NULL) != later) continue;
    tinker__buf_addf(out, "%s`%s`", comma, w->name);
    comma = ", ";
  }
}

static void put_allowed(tinker__buf_t *out, const field_t *f) {
  char range[120];
  size_t begin = out->len;
  tinker__yaml_range(f, range, sizeof range);
  tinker__buf_adds(out, range);
  if (f->words && range[0]) tinker__buf_adds(out, ", or ");
  put_words(out, f, false);
  size_t mark = out->len;
  tinker__buf_adds(out, "; not yet ");
  size_t words = out->len;
  put_words(out, f, true);
  if (out->len == words) out->len = mark;
  if (out->len == begin) tinker__buf_addc(out, '-');
}

static void put_row(tinker__buf_t *out, const field_t *f, const char *path) {
  tinker__buf_addf(out, "| `%s%s` | %s | ", path, f->key, kind_of(f));
  put_initial(out, f);
  tinker__buf_adds(out, " | ");
  put_allowed(out, f);
  tinker__buf_addf(out, " | %s |\n", f->what ? f->what : "");
}

void tinker__yaml_reference(tinker__buf_t *out,
                            const tinker__yaml_field_t *table,
                            const char *path) {
  char below[200];
  for (const field_t *f = table; f->key; f++) {
    if (f->type == TINKER__YAML_HERE) {
      if (!tinker__str_ends(tinker__str(path), "[].")) {
        tinker__yaml_reference(out, f->table, path);
      }
      continue;
    }
    if (f->type != TINKER__YAML_MAP) put_row(out, f, path);
    if (!f->table) continue;
    snprintf(below, sizeof below, "%s%s%s.", path, f->key,
             f->type == TINKER__YAML_LIST ? "[]" : "");
    tinker__yaml_reference(out, f->table, below);
  }
}
