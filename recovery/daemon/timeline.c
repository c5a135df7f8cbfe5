/* timeline: see timeline.h. Records are turned into lines as they are read and
 * sorted at the end: within one file their order stays, whatever the clock
 * did. */
#include "timeline.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <tinker/error.h>

#include "base/arena.h"
#include "base/json_read.h"
#include "base/show.h"
#include "journal/facts.h"
#include "journal/load.h"

#define DAEMON (-1)
#define MAX_SHOWN 400 /* bytes of one text */

typedef struct {
  int64_t at_ms; /* never less than that of the line before, of its file */
  size_t number;
  char *text;
} line_t;

typedef struct {
  tinker__mem_t *mem;
  const char *name;
  tinker__arena_t arena;
  line_t *lines;
  size_t count, cap;
  int64_t file, last_ms;
} timeline_t;

/* --- One line ------------------------------------------------------------- */

static void add_time(tinker__buf_t *b, int64_t wall_ms) {
  struct tm tm;
  char text[40];
  int64_t ms = wall_ms % 1000;
  time_t seconds = (time_t)(wall_ms / 1000);
  if (ms < 0) ms += 1000, seconds--;
  if (!gmtime_r(&seconds, &tm)) memset(&tm, 0, sizeof tm);
  strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%S", &tm);
  tinker__buf_addf(b, "%s.%03dZ", text, (int)ms);
}

static void add_text(tinker__buf_t *b, tinker__str_t value) {
  char shown[MAX_SHOWN];
  bool quoted = value.len == 0 || memchr(value.ptr, ' ', value.len);
  tinker__show(shown, sizeof shown, value);
  tinker__buf_addf(b, quoted ? "\"%s\"" : "%s", shown);
}

/* "requests": number, then the seq_ids of the first and the last. */
static void add_requests(tinker__buf_t *b, const tinker__rec_facts_t *f) {
  const tinker__rec_sent_t *r = f->requests;
  size_t n = f->request_count;
  if (n) {
    tinker__buf_addf(b, "%zu (seq_id %lld to %lld)", n, (long long)r[0].seq_id,
                     (long long)r[n - 1].seq_id);
  }
}

static void add_double(tinker__buf_t *b, double value) {
  char text[32] = "not finite";
  if (value - value == 0) tinker__format_f64(text, value);
  tinker__buf_adds(b, text);
}

/* Fields as they are, but for those that no one reads as they are. */
static void add_field(tinker__buf_t *b, tinker__json_t *j, tinker__str_t key,
                      const tinker__rec_facts_t *f) {
  tinker__str_t value;
  tinker__buf_addf(b, " %.*s=", (int)key.len, key.ptr);
  if (tinker__json_peek(j) == TINKER__JSON_STRING) {
    if (!tinker__json_string(j, &value)) return;
  } else if (!tinker__json_raw(j, &value)) {
    return;
  }
  if (tinker__str_eqs(key, "requests")) {
    add_requests(b, f);
  } else if (tinker__str_eqs(key, "loss") && f->has_loss) {
    add_double(b, f->loss);
  } else if (tinker__str_eqs(key, "noise") && f->has_noise) {
    add_double(b, f->noise);
  } else {
    add_text(b, value);
  }
}

static void add_fields(timeline_t *t, tinker__buf_t *b, tinker__str_t fields,
                       const tinker__rec_facts_t *f) {
  tinker__json_t j;
  tinker__str_t key;
  tinker__json_init(&j, t->mem, fields.ptr, fields.len);
  if (tinker__json_object(&j)) {
    while (tinker__json_key(&j, &key)) {
      bool own = t->file == DAEMON && tinker__str_eqs(key, "name");
      if (own) {
        tinker__json_skip(&j);
      } else {
        add_field(b, &j, key, f);
      }
    }
  }
  tinker__json_done(&j);
}

static void add_head(timeline_t *t, tinker__buf_t *b,
                     const tinker__rec_record_t *r) {
  const char *type = tinker__rec_type_name(r->type);
  add_time(b, r->wall_ms);
  if (t->file == DAEMON) {
    tinker__buf_adds(b, "  daemon");
  } else if (t->file == 0) {
    tinker__buf_adds(b, "  run   ");
  } else {
    tinker__buf_addf(b, "  e%-5lld", (long long)t->file);
  }
  if (r->step == TINKER__REC_NO_STEP) {
    tinker__buf_adds(b, "            ");
  } else {
    tinker__buf_addf(b, "  step %-5lld", (long long)r->step);
  }
  if (type) {
    tinker__buf_addf(b, "  %-16s", type);
  } else {
    tinker__buf_addf(b, "  type %-11lld", (long long)r->type);
  }
}

static int keep(timeline_t *t, const tinker__rec_record_t *r,
                tinker__str_t text) {
  line_t *lines = tinker__arena_grow(&t->arena, t->lines, t->count, &t->cap,
                                     sizeof *t->lines);
  if (!lines) return TINKER_ENOMEM;
  t->lines = lines;
  if (r->wall_ms > t->last_ms) t->last_ms = r->wall_ms;
  lines[t->count] =
      (line_t){t->last_ms, t->count, tinker__arena_str(&t->arena, text)};
  return lines[t->count++].text ? 0 : TINKER_ENOMEM;
}

static int add_line(timeline_t *t, const tinker__rec_record_t *r,
                    const tinker__rec_facts_t *f) {
  tinker__buf_t b;
  tinker__buf_init(&b, t->mem, 4 * TINKER__REC_MAX_FIELDS);
  add_head(t, &b, r);
  add_fields(t, &b, r->fields, f);
  if (r->bytes.len) tinker__buf_addf(&b, " bytes=%zu", r->bytes.len);
  tinker__buf_addc(&b, '\n');
  int rc = tinker__buf_error(&b);
  if (rc == 0) rc = keep(t, r, tinker__buf_str(&b));
  tinker__buf_free(&b);
  return rc;
}

/* --- All files ------------------------------------------------------------ */

static int on_record(timeline_t *t, int64_t file,
                     const tinker__rec_record_t *r) {
  tinker__rec_facts_t facts;
  tinker__arena_t arena;
  if (file != t->file) t->last_ms = INT64_MIN;
  t->file = file;
  tinker__arena_init(&arena, t->mem);
  int rc = tinker__rec_facts_read(&facts, &arena, r->fields, NULL, 0);
  bool other =
      file == DAEMON && facts.name.len && !tinker__str_eqs(facts.name, t->name);
  if (rc != TINKER_ENOMEM && !other) rc = add_line(t, r, &facts);
  tinker__arena_free(&arena);
  return rc;
}

static int on_run(void *user, int64_t epoch, const tinker__rec_record_t *r) {
  return on_record(user, epoch, r);
}

static int on_daemon(void *user, const tinker__rec_record_t *r, char *why,
                     size_t why_len) {
  (void)why;
  (void)why_len;
  return on_record(user, DAEMON, r);
}

static int read_daemon(timeline_t *t, const tinker__world_t *world,
                       const char *state_dir, char *why, size_t why_len) {
  char path[TINKER__REC_PATH_ROOM];
  const tinker__rec_file_spec_t spec = {.mem = t->mem,
                                        .world = world,
                                        .path = path,
                                        .lineage = "daemon",
                                        .each = on_daemon,
                                        .user = t};
  snprintf(path, sizeof path, "%s/daemon.db", state_dir);
  int rc = tinker__rec_file_read(&spec, why, why_len);
  return rc == TINKER_ENOENT ? 0 : rc;
}

static int read_run(timeline_t *t, const tinker__world_t *world,
                    const char *state_dir, char *why, size_t why_len) {
  char path[TINKER__REC_PATH_ROOM];
  struct stat st;
  const tinker__rec_folder_t folder = {t->mem, world, path, t->name, false};
  snprintf(path, sizeof path, "%s/runs/%s", state_dir, t->name);
  if (stat(path, &st) != 0) {
    return tinker__why(why, why_len, TINKER_ENOENT, "%s: there is no such run",
                       path);
  }
  return tinker__rec_show(&folder, on_run, t, why, why_len);
}

static int by_time(const void *a, const void *b) {
  const line_t *x = a, *y = b;
  if (x->at_ms != y->at_ms) return x->at_ms < y->at_ms ? -1 : 1;
  return x->number < y->number ? -1 : 1;
}

int tinker__rec_timeline(tinker__mem_t *mem, const tinker__world_t *world,
                         const char *state_dir, const char *name,
                         tinker__buf_t *out, char *why, size_t why_len) {
  timeline_t t = {
      .mem = mem, .name = name, .file = DAEMON, .last_ms = INT64_MIN};
  tinker__arena_init(&t.arena, mem);
  int rc = read_run(&t, world, state_dir, why, why_len);
  if (rc == 0) rc = read_daemon(&t, world, state_dir, why, why_len);
  if (t.count) qsort(t.lines, t.count, sizeof *t.lines, by_time);
  for (size_t i = 0; i < t.count; i++) {
    if (t.lines[i].text) tinker__buf_adds(out, t.lines[i].text);
  }
  tinker__arena_free(&t.arena);
  return rc != 0 ? rc : tinker__buf_error(out);
}
