/* near: which known key somebody may have meant. */
#include <stdio.h>
#include <string.h>

#include "yaml/doc.h"

#define LONGEST 40 /* of keys that are compared letter by letter */

/* How many letters must be put in, taken out, replaced or exchanged with their
 * neighbour to make b of a. */
static size_t distance(tinker__str_t a, tinker__str_t b) {
  size_t rows[3][LONGEST + 1], *before = rows[0], *above = rows[1],
                               *row = rows[2];
  for (size_t j = 0; j <= b.len; j++) above[j] = j;
  for (size_t i = 1; i <= a.len; i++) {
    row[0] = i;
    for (size_t j = 1; j <= b.len; j++) {
      size_t best = above[j - 1] + (a.ptr[i - 1] != b.ptr[j - 1]);
      if (above[j] + 1 < best) best = above[j] + 1;
      if (row[j - 1] + 1 < best) best = row[j - 1] + 1;
      if (i > 1 && j > 1 && a.ptr[i - 1] == b.ptr[j - 2] &&
          a.ptr[i - 2] == b.ptr[j - 1] && before[j - 2] + 1 < best) {
        best = before[j - 2] + 1;
      }
      row[j] = best;
    }
    size_t *oldest = before;
    before = above;
    above = row;
    row = oldest;
  }
  return above[b.len];
}

static void nearest(const tinker__yaml_field_t *table, tinker__str_t key,
                    size_t *best, const char **name) {
  for (const tinker__yaml_field_t *f = table; f->key; f++) {
    if (f->type == TINKER__YAML_HERE) {
      nearest(f->table, key, best, name);
      continue;
    }
    size_t len = strlen(f->key);
    if (len > LONGEST || key.len > LONGEST) continue;
    size_t d = distance(key, (tinker__str_t){f->key, len});
    if (d < *best) {
      *best = d;
      *name = f->key;
    }
  }
}

/* Writes the path of the first row that is called key. */
static bool somewhere(const tinker__yaml_field_t *table, tinker__str_t key,
                      char *out, size_t out_len) {
  for (const tinker__yaml_field_t *f = table; f->key; f++) {
    int n = 0;
    if (f->type == TINKER__YAML_HERE) {
      if (somewhere(f->table, key, out, out_len)) return true;
      continue;
    }
    if (tinker__str_eqs(key, f->key)) {
      snprintf(out, out_len, "%s", f->key);
      return true;
    }
    if (!f->table) continue;
    n = snprintf(out, out_len, "%s%s.", f->key,
                 f->type == TINKER__YAML_LIST ? "[]" : "");
    if (n > 0 && (size_t)n < out_len &&
        somewhere(f->table, key, out + n, out_len - (size_t)n)) {
      return true;
    }
  }
  return false;
}

void tinker__yaml_near(const tinker__yaml_field_t *table,
                       const tinker__yaml_field_t *whole, tinker__str_t key,
                       char *out, size_t out_len) {
  size_t best = key.len / 3 + 2; /* at most a third of it is wrong, and one */
  const char *name = NULL;
  nearest(table, key, &best, &name);
  out[0] = 0;
  if (name) {
    snprintf(out, out_len, "%s", name);
  } else if (!somewhere(whole, key, out, out_len)) {
    out[0] = 0;
  }
}
