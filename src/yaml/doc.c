/* doc: see doc.h. Faults are kept in the order of their places, the first ones
 * of the file when there are too many. */
#include "yaml/doc.h"

#include <stdio.h>
#include <string.h>
#include <tinker/error.h>

#include "base/show.h"

void tinker__yaml_free(tinker__yaml_t *y) {
  if (!y) return;
  tinker__arena_free(&y->arena);
  tinker__mem_free(y->mem, y);
}

int tinker__yaml_error(const tinker__yaml_t *y) {
  return y->error ? y->error : y->n_faults ? TINKER_EFORMAT : 0;
}

size_t tinker__yaml_faults(const tinker__yaml_t *y) {
  return y->n_faults;
}

tinker__yaml_node_t *tinker__yaml_child(const tinker__yaml_node_t *map,
                                        tinker__str_t key) {
  if (!map || map->kind != TINKER__YAML_IS_MAP) return NULL;
  tinker__yaml_node_t *c = map->first;
  while (c && !tinker__str_eq(c->key, key)) c = c->next;
  return c;
}

/* --- Paths ---------------------------------------------------------------- */

/* Adds to a path of n bytes; returns its new length, cut at the end of out. */
static size_t grow(char *out, size_t out_len, size_t n, tinker__str_t part) {
  if (n + 1 < out_len) tinker__show(out + n, out_len - n, part);
  return n + strlen(out + n);
}

static size_t path_of(const tinker__yaml_node_t *node, char *out,
                      size_t out_len) {
  char index[32];
  if (!node || !node->parent) {
    out[0] = 0;
    return 0;
  }
  size_t n = path_of(node->parent, out, out_len);
  if (node->parent->kind == TINKER__YAML_IS_LIST) {
    snprintf(index, sizeof index, "[%zu]", node->index);
    return grow(out, out_len, n, tinker__str(index));
  }
  if (n) n = grow(out, out_len, n, TINKER__STR("."));
  return grow(out, out_len, n, node->key);
}

void tinker__yaml_path(const tinker__yaml_node_t *node, const char *key,
                       char *out, size_t out_len) {
  size_t n = path_of(node, out, out_len);
  if (!key) return;
  if (n) n = grow(out, out_len, n, TINKER__STR("."));
  grow(out, out_len, n, tinker__str(key));
}

/* One step of a path: ".key", "key" or "[n]"; moves *path after it. */
static tinker__yaml_node_t *step(const tinker__yaml_node_t *at,
                                 const char **path) {
  const char *p = *path;
  if (*p == '[') {
    uint64_t index = 0;
    size_t n = strcspn(p, "]");
    *path = p[n] ? p + n + 1 : p + n;
    if (at->kind != TINKER__YAML_IS_LIST ||
        tinker__parse_u64((tinker__str_t){p + 1, n - 1}, &index)) {
      return NULL;
    }
    return index < at->n ? at->items[index] : NULL;
  }
  if (*p == '.') p++;
  size_t n = strcspn(p, ".[");
  *path = p + n;
  return tinker__yaml_child(at, (tinker__str_t){p, n});
}

/* The node at path; *around is the last one on the way that there is. */
static const tinker__yaml_node_t *walk(const tinker__yaml_t *y,
                                       const char *path,
                                       const tinker__yaml_node_t **around) {
  const tinker__yaml_node_t *at = y->root;
  *around = at;
  while (at && *path) {
    at = step(at, &path);
    if (at) *around = at;
  }
  return at;
}

bool tinker__yaml_has(const tinker__yaml_t *y, const char *path) {
  const tinker__yaml_node_t *around;
  return walk(y, path, &around) != NULL;
}

/* --- Faults --------------------------------------------------------------- */

static bool after(tinker__yaml_place_t a, tinker__yaml_place_t b) {
  return a.line != b.line ? a.line > b.line : a.column > b.column;
}

/* A copy in the arena, "" without memory. */
static const char *keep(tinker__yaml_t *y, const char *text) {
  const char *copy = tinker__arena_str(&y->arena, tinker__str(text));
  if (copy) return copy;
  y->error = TINKER_ENOMEM;
  return "";
}

static void insert(tinker__yaml_t *y, tinker__yaml_place_t place,
                   const char *path, const char *text) {
  size_t i = y->n_faults++;
  if (i >= TINKER__YAML_MAX_FAULTS) {
    i = TINKER__YAML_MAX_FAULTS - 1; /* the last one makes room, or is later */
    if (!after(y->faults[i].place, place)) return;
  }
  const tinker__yaml_note_t note = {place, keep(y, text), keep(y, path)};
  for (; i > 0 && after(y->faults[i - 1].place, place); i--) {
    y->faults[i] = y->faults[i - 1];
  }
  y->faults[i] = note;
}

static void vnote(tinker__yaml_t *y, tinker__yaml_place_t place,
                  const char *path, const char *fmt, va_list ap) {
  char text[1200];
  size_t n = 0;
  if (path[0]) {
    n = (size_t)snprintf(text, sizeof text, "key '%s': ", path);
  }
  vsnprintf(text + n, sizeof text - n, fmt, ap);
  insert(y, place, path, text);
}

void tinker__yaml_note(tinker__yaml_t *y, tinker__yaml_place_t place,
                       const tinker__yaml_node_t *node, const char *key,
                       const char *fmt, ...) {
  char path[300];
  tinker__yaml_path(node, key, path, sizeof path);
  va_list ap;
  va_start(ap, fmt);
  vnote(y, place, path, fmt, ap);
  va_end(ap);
}

void tinker__yaml_fault(tinker__yaml_t *y, const char *path, const char *fmt,
                        ...) {
  const tinker__yaml_node_t *around;
  char shown[300];
  walk(y, path, &around);
  tinker__show(shown, sizeof shown, tinker__str(path));
  va_list ap;
  va_start(ap, fmt);
  vnote(y, around ? around->place : (tinker__yaml_place_t){1, 1}, shown, fmt,
        ap);
  va_end(ap);
}

/* True when key is path, or is inside of it. */
static bool is_inside(const char *key, const char *path) {
  size_t n = strlen(path);
  return n && strncmp(key, path, n) == 0 &&
         (!key[n] || key[n] == '.' || key[n] == '[');
}

bool tinker__yaml_faulty(const tinker__yaml_t *y, const char *path) {
  for (size_t i = 0; i < y->n_faults && i < TINKER__YAML_MAX_FAULTS; i++) {
    const char *key = y->faults[i].path;
    if (is_inside(key, path) || is_inside(path, key)) return true;
  }
  return y->n_faults > TINKER__YAML_MAX_FAULTS;
}

void tinker__yaml_report(const tinker__yaml_t *y, tinker__buf_t *out) {
  size_t shown = y->n_faults < TINKER__YAML_MAX_FAULTS
                     ? y->n_faults
                     : TINKER__YAML_MAX_FAULTS;
  for (size_t i = 0; i < shown; i++) {
    const tinker__yaml_note_t *f = &y->faults[i];
    tinker__buf_adds(out, y->file);
    tinker__buf_addf(out, ":%zu:%zu: ", f->place.line, f->place.column);
    tinker__buf_adds(out, f->text);
    tinker__buf_addc(out, '\n');
  }
  if (y->n_faults > shown) {
    tinker__buf_adds(out, y->file);
    tinker__buf_addf(out, ": and %zu more faults\n", y->n_faults - shown);
  }
}
