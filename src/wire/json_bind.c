/* json_bind: see json_bind.h. */
#include "wire/json_bind.h"

#include <stdio.h>
#include <string.h>
#include <tinker/error.h>

/* The object being read. path: of the object, with a dot after it, or "".
 * field, kind and flags: of the row whose value is read. */
typedef struct tinker__binder_s {
  tinker__json_t *j;
  tinker__arena_t *arena;
  const char *path;
  const char *field;
  tinker__bind_kind_t kind;
  unsigned flags;
  char *why;
  size_t why_len;
} tinker__binder_t;

static int fail(const tinker__binder_t *b, int code, const char *text) {
  return tinker__why(b->why, b->why_len, code, "%s%s: %s", b->path, b->field,
                     text);
}

static const char *const wanted[] = {
    [TINKER__BIND_STR] = "must be a string",
    [TINKER__BIND_I64] = "must be an integer",
    [TINKER__BIND_F64] = "must be a finite number",
    [TINKER__BIND_BOOL] = "must be true or false",
    [TINKER__BIND_RAW] = "must be JSON",
    [TINKER__BIND_OBJ] = "must be an object",
    [TINKER__BIND_STRS] = "must be a list of strings",
    [TINKER__BIND_OBJS] = "must be a list of objects",
    [TINKER__BIND_NUMBERS] = "must be an object of numbers"};

static bool out_of_range(const tinker__json_t *j) {
  return strstr(j->reason, "out of range") != NULL;
}

/* True when the reader stopped at a value of another type than was wanted. */
static bool is_wrong_type(const tinker__json_t *j) {
  return j->error == TINKER_EJSON &&
         (strncmp(j->reason, "expected a", 10) == 0 ||
          strncmp(j->reason, "expected true", 13) == 0 || out_of_range(j));
}

int tinker__bind_malformed(const tinker__json_t *j, const char *prefix,
                           char *why, size_t why_len) {
  tinker__str_t key = j->last_key;
  return tinker__why(why, why_len, j->error,
                     "%smalformed JSON at byte %zu, after the key '%.*s': %s",
                     prefix, j->error_at, (int)(key.len < 60 ? key.len : 60),
                     key.len ? key.ptr : "", j->reason ? j->reason : "");
}

/* The reader's own error: a wrong type is the field's fault, the rest is not
 * JSON. */
static int json_fail(const tinker__binder_t *b) {
  const tinker__json_t *j = b->j;
  if (!is_wrong_type(j)) {
    return tinker__bind_malformed(j, b->path, b->why, b->why_len);
  }
  return fail(b, TINKER_EINVAL, out_of_range(j) ? j->reason : wanted[b->kind]);
}

/* The value that should be an object is none. */
static int not_object(const tinker__binder_t *b) {
  int code = is_wrong_type(b->j) ? TINKER_EINVAL : b->j->error;
  int dot = (int)strlen(b->path) - 1;
  if (dot < 0) {
    return tinker__why(b->why, b->why_len, code,
                       "the body must be a JSON object");
  }
  return tinker__why(b->why, b->why_len, code, "%.*s must be a JSON object",
                     dot, b->path);
}

static int no_memory(const tinker__binder_t *b) {
  return fail(b, tinker__arena_error(b->arena),
              tinker__arena_trouble(b->arena));
}

static int read_text(const tinker__binder_t *b, const char **out) {
  tinker__str_t s;
  if (!tinker__json_string(b->j, &s)) return json_fail(b);
  if (s.len > TINKER__MAX_TEXT && !(b->flags & TINKER__BIND_LONG)) {
    return fail(b, TINKER_EOVERFLOW, "text is too long");
  }
  if (memchr(s.ptr, 0, s.len)) {
    return fail(b, TINKER_EINVAL, "must be a string without NUL");
  }
  *out = tinker__arena_str(b->arena, s);
  return *out ? 0 : no_memory(b);
}

static int read_raw(const tinker__binder_t *b, tinker__str_t *out) {
  tinker__str_t s;
  if (!tinker__json_raw(b->j, &s)) return json_fail(b);
  if (s.len > 16 * TINKER__MAX_TEXT && !(b->flags & TINKER__BIND_LONG)) {
    return fail(b, TINKER_EOVERFLOW, "value is too long");
  }
  char *copy = tinker__arena_str(b->arena, s);
  *out = (tinker__str_t){copy ? copy : "", s.len};
  return copy ? 0 : no_memory(b);
}

static int read_strs(const tinker__binder_t *b, tinker__strs_t *out) {
  const char **items = NULL;
  size_t n = 0, cap = 0;
  tinker__json_array(b->j);
  while (tinker__json_more(b->j)) {
    if (n == TINKER__MAX_SEQUENCES && !(b->flags & TINKER__BIND_LONG)) {
      return fail(b, TINKER_EOVERFLOW, "list is too long");
    }
    items = tinker__arena_grow(b->arena, items, n, &cap, sizeof(*items));
    if (!items) return no_memory(b);
    int rc = read_text(b, &items[n]);
    if (rc) return rc;
    n++;
  }
  *out = (tinker__strs_t){items, n};
  return b->j->error ? json_fail(b) : 0;
}

static int read_objs(const tinker__binder_t *b,
                     const tinker__bind_table_t *table, tinker__objs_t *out) {
  char *items = NULL, path[256];
  size_t n = 0, cap = 0;
  tinker__json_array(b->j);
  while (tinker__json_more(b->j)) {
    if (n == TINKER__MAX_LIST && !(b->flags & TINKER__BIND_LONG)) {
      return fail(b, TINKER_EOVERFLOW, "list is too long");
    }
    items = tinker__arena_grow(b->arena, items, n, &cap, table->size);
    if (!items) return no_memory(b);
    snprintf(path, sizeof(path), "%s%s[%zu].", b->path, b->field, n);
    int rc = tinker__bind_read(b->j, b->arena, table, path,
                               items + n * table->size, b->why, b->why_len);
    if (rc) return rc;
    n++;
  }
  *out = (tinker__objs_t){items, n};
  return b->j->error ? json_fail(b) : 0;
}

static int read_numbers(const tinker__binder_t *b, tinker__numbers_t *out) {
  tinker__number_t *items = NULL;
  size_t n = 0, cap = 0;
  tinker__str_t key;
  tinker__json_object(b->j);
  while (tinker__json_key(b->j, &key)) {
    if (n == TINKER__MAX_METRICS || key.len > TINKER__MAX_NAME) {
      return fail(b, TINKER_EOVERFLOW, "too many entries or too long a name");
    }
    if (memchr(key.ptr, 0, key.len)) {
      return fail(b, TINKER_EINVAL, "a name contains a NUL");
    }
    items = tinker__arena_grow(b->arena, items, n, &cap, sizeof(*items));
    if (!items) return no_memory(b);
    items[n].name = tinker__arena_str(b->arena, key);
    if (!items[n].name) return no_memory(b);
    if (!tinker__json_f64(b->j, &items[n].value)) return json_fail(b);
    n++;
  }
  *out = (tinker__numbers_t){items, n};
  return b->j->error ? json_fail(b) : 0;
}

int tinker__bind_read_numbers(tinker__json_t *j, tinker__arena_t *arena,
                              const char *name, tinker__numbers_t *out,
                              char *why, size_t why_len) {
  tinker__binder_t b = {j, arena, "",     name, TINKER__BIND_NUMBERS,
                        0, why,   why_len};
  return read_numbers(&b, out);
}

static int read_nested(const tinker__binder_t *b,
                       const tinker__bind_table_t *table, void *out) {
  char path[256];
  snprintf(path, sizeof(path), "%s%s.", b->path, b->field);
  return tinker__bind_read(b->j, b->arena, table, path, out, b->why,
                           b->why_len);
}

static int read_value(const tinker__binder_t *b, const tinker__bind_field_t *f,
                      void *at) {
  switch (f->kind) {
  case TINKER__BIND_STR: return read_text(b, at);
  case TINKER__BIND_I64: return tinker__json_i64(b->j, at) ? 0 : json_fail(b);
  case TINKER__BIND_F64: return tinker__json_f64(b->j, at) ? 0 : json_fail(b);
  case TINKER__BIND_BOOL: return tinker__json_bool(b->j, at) ? 0 : json_fail(b);
  case TINKER__BIND_RAW: return read_raw(b, at);
  case TINKER__BIND_OBJ: return read_nested(b, f->nested, at);
  case TINKER__BIND_STRS: return read_strs(b, at);
  case TINKER__BIND_OBJS: return read_objs(b, f->nested, at);
  case TINKER__BIND_NUMBERS: return read_numbers(b, at);
  }
  return fail(b, TINKER_EINVAL, "unknown kind of field");
}

static const tinker__bind_field_t *find(const tinker__bind_table_t *table,
                                        tinker__str_t key) {
  for (size_t i = 0; i < table->count; i++) {
    if (tinker__str_eqs(key, table->fields[i].name)) return &table->fields[i];
  }
  return NULL;
}

/* The value of a row, or null. seen: the rows that have a value, given: also
 * those that are null. */
static int read_row(tinker__binder_t *b, const tinker__bind_field_t *f,
                    uint64_t bit, char *out, uint64_t *seen, uint64_t *given) {
  b->field = f->name;
  b->kind = f->kind;
  b->flags = f->flags;
  if (*given & bit) return fail(b, TINKER_EINVAL, "given twice");
  *given |= bit;
  if (tinker__json_peek(b->j) == TINKER__JSON_NULL &&
      !(f->flags & TINKER__BIND_NOT_NULL)) {
    if (f->flags & TINKER__BIND_NULLABLE) *seen |= bit;
    return tinker__json_null(b->j) ? 0 : json_fail(b);
  }
  *seen |= bit;
  int rc = read_value(b, f, out + f->offset);
  if (!rc && f->has) *(bool *)(out + f->has - 1) = true;
  return rc;
}

/* Reads the fields; sets the bit of each that was there. */
static int read_fields(tinker__binder_t *b, const tinker__bind_table_t *table,
                       char *out, uint64_t *seen) {
  tinker__str_t key;
  uint64_t given = 0;
  while (tinker__json_key(b->j, &key)) {
    const tinker__bind_field_t *f = find(table, key);
    if (!f) {
      if (!tinker__json_skip(b->j)) break;
      continue;
    }
    uint64_t bit = UINT64_C(1) << (f - table->fields);
    int rc = read_row(b, f, bit, out, seen, &given);
    if (rc) return rc;
  }
  if (!b->j->error) return 0;
  return tinker__bind_malformed(b->j, b->path, b->why, b->why_len);
}

static int check_required(const tinker__binder_t *b,
                          const tinker__bind_table_t *table, uint64_t seen) {
  for (size_t i = 0; i < table->count; i++) {
    if ((table->fields[i].flags & TINKER__BIND_REQUIRED) &&
        !(seen & (UINT64_C(1) << i))) {
      return tinker__why(b->why, b->why_len, TINKER_EINVAL, "%s%s is required",
                         b->path, table->fields[i].name);
    }
  }
  return 0;
}

/* The struct before reading. */
static void preset(const tinker__bind_table_t *table, char *out) {
  if (table->defaults) {
    memcpy(out, table->defaults, table->size);
  } else {
    memset(out, 0, table->size);
  }
  for (size_t i = 0; i < table->count; i++) {
    if (table->fields[i].kind == TINKER__BIND_RAW) {
      *(tinker__str_t *)(void *)(out + table->fields[i].offset) =
          TINKER__STR("");
    }
  }
}

int tinker__bind_read(tinker__json_t *j, tinker__arena_t *arena,
                      const tinker__bind_table_t *table, const char *prefix,
                      void *out, char *why, size_t why_len) {
  tinker__binder_t b = {j, arena, prefix, "", TINKER__BIND_RAW,
                        0, why,   why_len};
  uint64_t seen = 0;
  preset(table, out);
  if (!tinker__json_object(j)) return not_object(&b);
  int rc = read_fields(&b, table, out, &seen);
  return rc ? rc : check_required(&b, table, seen);
}

/* A call that is being read. wrong and refused: the first error of its head,
 * and of its other fields. */
typedef struct tinker__call_reader_s {
  const tinker__bind_table_t *table;
  char *out;
  tinker__bind_rest_t rest;
  void *user;
  uint64_t seen, given;
  int wrong, refused;
} tinker__call_reader_t;

/* Reads one field. *head says whether the field belongs to the head. */
static int read_call_field(tinker__binder_t *b, tinker__call_reader_t *c,
                           tinker__str_t key, bool *head) {
  const tinker__bind_field_t *f = find(c->table, key);
  bool skips = c->wrong || c->refused;
  *head = f && (f->flags & TINKER__BIND_HEAD);
  if (!f && c->rest) return c->rest(c->user, b->j, key, skips);
  if (!f || (*head ? c->wrong != 0 : skips)) {
    tinker__json_skip(b->j);
    return 0;
  }
  return read_row(b, f, UINT64_C(1) << (f - c->table->fields), c->out, &c->seen,
                  &c->given);
}

/* Reads the fields of a call. Fails only if the text could not be read to its
 * end. */
static int read_call_fields(tinker__binder_t *b, tinker__call_reader_t *c) {
  int depth = b->j->depth;
  tinker__str_t key;
  while (tinker__json_key(b->j, &key)) {
    bool head;
    int rc = read_call_field(b, c, key, &head);
    if (!rc && b->j->error) {
      rc = tinker__bind_malformed(b->j, "", b->why, b->why_len);
    }
    if (!rc) continue;
    if (rc == TINKER_ENOMEM) return rc;
    if (!tinker__json_leave(b->j, depth)) break;
    tinker__arena_allow_all(b->arena);
    *(head ? &c->wrong : &c->refused) = rc;
  }
  if (!b->j->error) return 0;
  return tinker__bind_malformed(b->j, "", b->why, b->why_len);
}

int tinker__bind_read_call(tinker__json_t *j, tinker__arena_t *arena,
                           const tinker__bind_table_t *table, void *out,
                           tinker__bind_rest_t rest, void *user,
                           tinker__bind_head_t *head, char *why,
                           size_t why_len) {
  tinker__binder_t b = {j, arena, "", "", TINKER__BIND_RAW, 0, why, why_len};
  tinker__call_reader_t c = {
      .table = table,
      .out = out,
      .rest = rest,
      .user = user,
  };
  *head = TINKER__HEAD_UNREAD;
  preset(table, out);
  if (!tinker__json_object(j)) return not_object(&b);
  int rc = read_call_fields(&b, &c);
  if (!rc && tinker__json_end(j)) {
    rc = tinker__bind_malformed(j, "", why, why_len);
  }
  if (rc) return rc;
  *head = c.wrong ? TINKER__HEAD_WRONG : TINKER__HEAD_READ;
  if (c.wrong) return c.wrong;
  return c.refused ? c.refused : check_required(&b, table, c.seen);
}

static bool absent(const tinker__bind_field_t *f, const char *in) {
  const char *at = in + f->offset;
  if (f->has) return !*(const bool *)(in + f->has - 1);
  if (f->kind == TINKER__BIND_STR) {
    return !*(const char *const *)(const void *)at;
  }
  if (f->kind == TINKER__BIND_RAW) {
    return !((const tinker__str_t *)(const void *)at)->len;
  }
  if (f->flags & TINKER__BIND_SPARSE) {
    return !((const tinker__strs_t *)(const void *)at)->count;
  }
  return false;
}

static void write_list(tinker__jsonw_t *w, const tinker__bind_field_t *f,
                       const void *at) {
  const tinker__strs_t *strs = at;
  const tinker__objs_t *objs = at;
  tinker__jsonw_begin_array(w);
  if (f->kind == TINKER__BIND_STRS) {
    for (size_t i = 0; i < strs->count; i++) {
      tinker__jsonw_cstr(w, strs->items[i]);
    }
  } else {
    for (size_t i = 0; i < objs->count; i++) {
      tinker__bind_write(
          w, f->nested, (const char *)objs->items + i * f->nested->size, false);
    }
  }
  tinker__jsonw_end_array(w);
}

static void write_numbers(tinker__jsonw_t *w, const tinker__numbers_t *n) {
  tinker__jsonw_begin_object(w);
  for (size_t i = 0; i < n->count; i++) {
    tinker__jsonw_key(w, n->items[i].name);
    tinker__jsonw_f64(w, n->items[i].value);
  }
  tinker__jsonw_end_object(w);
}

static void write_value(tinker__jsonw_t *w, const tinker__bind_field_t *f,
                        const void *at) {
  switch (f->kind) {
  case TINKER__BIND_STR: tinker__jsonw_cstr(w, *(const char *const *)at); break;
  case TINKER__BIND_I64: tinker__jsonw_i64(w, *(const int64_t *)at); break;
  case TINKER__BIND_F64: tinker__jsonw_f64(w, *(const double *)at); break;
  case TINKER__BIND_BOOL: tinker__jsonw_bool(w, *(const bool *)at); break;
  case TINKER__BIND_RAW:
    tinker__jsonw_raw(w, *(const tinker__str_t *)at);
    break;
  case TINKER__BIND_OBJ: tinker__bind_write(w, f->nested, at, false); break;
  case TINKER__BIND_STRS:
  case TINKER__BIND_OBJS: write_list(w, f, at); break;
  case TINKER__BIND_NUMBERS: write_numbers(w, at); break;
  }
}

void tinker__bind_write(tinker__jsonw_t *w, const tinker__bind_table_t *table,
                        const void *in, bool stamped) {
  tinker__jsonw_begin_object(w);
  tinker__bind_write_fields(w, table, in, stamped);
  tinker__jsonw_end_object(w);
}

void tinker__bind_write_fields(tinker__jsonw_t *w,
                               const tinker__bind_table_t *table,
                               const void *in, bool stamped) {
  for (size_t i = 0; i < table->count; i++) {
    const tinker__bind_field_t *f = &table->fields[i];
    bool gone = absent(f, in);
    if (stamped && (f->flags & TINKER__BIND_STAMPED)) continue;
    if (gone && !(f->flags & TINKER__BIND_NULL)) continue;
    tinker__jsonw_key(w, f->name);
    if (gone) {
      tinker__jsonw_null(w);
    } else {
      write_value(w, f, (const char *)in + f->offset);
    }
  }
  if (table->type) {
    tinker__jsonw_key(w, "type");
    tinker__jsonw_cstr(w, table->type);
  }
}
