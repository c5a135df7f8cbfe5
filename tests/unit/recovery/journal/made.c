/* made: see made.h. */
#include "made.h"

#include <criterion/criterion.h>
#include <dirent.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <tinker/error.h>
#include <unistd.h>

char made_dir[64];

void made_setup(void) {
  snprintf(made_dir, sizeof made_dir, "/tmp/tinker-journal-XXXXXX");
  cr_assert_neq(mkdtemp(made_dir), NULL);
}

void made_teardown(void) {
  char path[512];
  DIR *d = opendir(made_dir);
  struct dirent *e;
  while (d && (e = readdir(d)) != NULL) {
    snprintf(path, sizeof path, "%s/%s", made_dir, e->d_name);
    if (e->d_name[0] != '.') unlink(path);
  }
  if (d) closedir(d);
  rmdir(made_dir);
}

const char *made_path(const char *name) {
  static char paths[2][256];
  static int at;
  at = !at;
  snprintf(paths[at], sizeof paths[at], "%s/%s", made_dir, name);
  return paths[at];
}

size_t made_slurp(const char *path, unsigned char *out, size_t room) {
  FILE *f = fopen(path, "rb");
  cr_assert(f, "%s", path);
  size_t n = fread(out, 1, room, f);
  fclose(f);
  return n;
}

void made_spit(const char *path, const void *data, size_t len) {
  FILE *f = fopen(path, "wb");
  cr_assert(f && fwrite(data, 1, len, f) == len, "%s", path);
  fclose(f);
}

tinker__rec_file_spec_t made_spec(tinker__mem_t *mem, const char *path) {
  return (tinker__rec_file_spec_t){.mem = mem,
                                   .world = tinker__world_real(),
                                   .path = path,
                                   .lineage = MADE_LINEAGE,
                                   .epoch = 1};
}

void made_record(made_record_t *out, int64_t salt, int64_t n) {
  snprintf(out->fields, sizeof out->fields, "{\"op\":%lld,\"count\":%lld}",
           (long long)n, (long long)salt);
  snprintf(out->bytes, sizeof out->bytes, "bytes %lld of %lld", (long long)n,
           (long long)salt);
  out->draft = (tinker__rec_draft_t){.type = TINKER__REC_OP_INTENT,
                                     .step = n / 3,
                                     .fields = tinker__str(out->fields),
                                     .bytes = tinker__str(out->bytes)};
}

int made_each(void *user, const tinker__rec_record_t *r, char *why,
              size_t why_len) {
  made_reader_t *x = user;
  made_record_t want;
  (void)why;
  (void)why_len;
  made_record(&want, x->salt, ++x->count);
  if (r->id != x->count || r->type != (int64_t)want.draft.type ||
      r->step != want.draft.step ||
      !tinker__str_eq(r->fields, want.draft.fields) ||
      !tinker__str_eq(r->bytes, want.draft.bytes)) {
    x->altered = true;
  }
  x->last_generation = r->generation;
  return 0;
}

int made_read(const char *path, made_reader_t *reader, char *why,
              size_t why_len) {
  tinker__mem_t mem;
  tinker__mem_init(&mem, NULL, 0);
  tinker__rec_file_spec_t spec = made_spec(&mem, path);
  spec.own = true;
  spec.each = made_each;
  spec.user = reader;
  reader->count = 0;
  reader->altered = false;
  int rc = tinker__rec_file_read(&spec, why, why_len);
  cr_assert_eq(atomic_load(&mem.live_blocks), 0);
  return rc;
}

void made_file(const char *path, int64_t salt, int64_t n) {
  tinker__mem_t mem;
  tinker__rec_file_t *f;
  made_record_t r;
  char why[300] = "";
  tinker__mem_init(&mem, NULL, 0);
  const tinker__rec_file_spec_t spec = made_spec(&mem, path);
  cr_assert_eq(tinker__rec_file_open(&f, &spec, why, sizeof why), 0, "%s", why);
  for (int64_t i = 1; i <= n; i++) {
    made_record(&r, salt, i);
    cr_assert_eq(tinker__rec_file_add(f, &r.draft, NULL, NULL), 0);
  }
  tinker__rec_file_close(f);
  cr_assert_eq(atomic_load(&mem.live_blocks), 0);
}

void made_sql(const char *path, const char *sql) {
  sqlite3 *db = NULL;
  char *error = NULL;
  cr_assert_eq(sqlite3_open(path, &db), SQLITE_OK);
  cr_assert_eq(sqlite3_exec(db, sql, NULL, NULL, &error), SQLITE_OK, "%s: %s",
               sql, error);
  sqlite3_close(db);
}

int made_fold(tinker__rec_state_t *s, int64_t epoch, int64_t type, int64_t step,
              const tinker__rec_facts_t *f, tinker__str_t bytes) {
  static const tinker__rec_facts_t none = TINKER__REC_FACTS_INIT;
  tinker__mem_t mem;
  tinker__buf_t text;
  char why[300] = "";
  tinker__mem_init(&mem, NULL, 0);
  tinker__buf_init(&text, &mem, TINKER__REC_MAX_FIELDS);
  cr_assert_eq(tinker__rec_facts_write(f ? f : &none, &text), 0);
  const tinker__rec_record_t r = {.id = s->records + 1,
                                  .type = type,
                                  .generation = 1,
                                  .step = step,
                                  .boot = "b",
                                  .fields = tinker__buf_str(&text),
                                  .bytes = bytes};
  int rc = tinker__rec_state_fold(s, epoch, &r, why, sizeof why);
  tinker__buf_free(&text);
  return rc;
}
