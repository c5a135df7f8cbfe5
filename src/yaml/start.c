/* start: what a table says before a file is read, and the defaults from the
 * notation of the file. A table that
 * is wrong in itself is a bug, which the tests of its owner find. */
#include <string.h>

#include "base/check.h"
#include "yaml/scalar.h"

/* The next of "a, b" as one value; *s is moved after it. */
static tinker__yaml_scalar_t next_of(const tinker__yaml_field_t *f,
                                     tinker__yaml_type_t type, const char **s) {
  tinker__yaml_field_t one = *f;
  tinker__yaml_scalar_t v = {0};
  size_t n = strcspn(*s, ",");
  one.type = type;
  const char *wrong =
      tinker__yaml_value_read(&one, (tinker__str_t){*s, n}, &v, NULL);
  *s += n;
  *s += strspn(*s, ", ");
  return TINKER__HOLDS(!wrong) ? v : (tinker__yaml_scalar_t){0};
}

static void start_row(const tinker__yaml_field_t *f, char *at) {
  const char *s = f->initial ? f->initial : "";
  if (f->type == TINKER__YAML_FLAGS) {
    int64_t flags = 0;
    while (*s) {
      flags |= (int64_t)1 << next_of(f, TINKER__YAML_CHOICE, &s).i;
    }
    memcpy(at, &flags, sizeof flags);
  } else if (f->type == TINKER__YAML_SPAN) {
    int64_t span[2] = {0, 0};
    for (int i = 0; i < 2 && *s; i++) {
      span[i] = next_of(f, TINKER__YAML_DURATION, &s).i;
    }
    memcpy(at, span, sizeof span);
  } else if (f->type == TINKER__YAML_TEXT) {
    memcpy(at, &s, sizeof s);
  } else {
    tinker__yaml_scalar_t v = {0};
    if (*s) v = next_of(f, f->type, &s);
    tinker__yaml_put(f->type, at, &v);
  }
}

bool tinker__yaml_counts(const tinker__yaml_field_t *row, const void *of) {
  int64_t value;
  if (!row->when) return true;
  memcpy(&value, (const char *)of + row->when->offset, sizeof value);
  return value == row->when->value;
}

void tinker__yaml_start(const tinker__yaml_field_t *table, void *into) {
  for (const tinker__yaml_field_t *f = table; f->key; f++) {
    char *at = (char *)into + f->offset;
    switch (f->type) {
    case TINKER__YAML_MAP:
    case TINKER__YAML_HERE: tinker__yaml_start(f->table, at); break;
    case TINKER__YAML_TEXTS: memset(at, 0, sizeof(tinker__yaml_texts_t)); break;
    case TINKER__YAML_NAMED: memset(at, 0, sizeof(tinker__yaml_named_t)); break;
    case TINKER__YAML_LIST: memset(at, 0, sizeof(tinker__yaml_list_t)); break;
    case TINKER__YAML_LATER: break;
    default: start_row(f, at);
    }
  }
}
