/* Journals of every format that there ever was (F74): each is read, with the
 * incident that is open in it, and gone on with; what stands in it stays as it
 * is. One of a format to come is refused by name and not touched. The files
 * old/<format>/<name>.sql are a run of nine steps whose model was lost after
 * the sixth, and whose process was killed as it loaded another one. */
#include <criterion/criterion.h>
#include <sqlite3.h>
#include <stdio.h>
#include <string.h>
#include <tinker/error.h>

#include "base/file.h"
#include "journal/load.h"
#include "made.h"

#define OLD TINKER_TEST_DIR "/unit/recovery/journal/old"
#define RUN "numbers"

static tinker__mem_t mem;
static char why[400];

static void setup(void) {
  made_setup();
  tinker__mem_init(&mem, NULL, 0);
}

static void teardown(void) {
  cr_assert_eq(atomic_load(&mem.live_blocks), 0);
  made_teardown();
}

TestSuite(old, .init = setup, .fini = teardown);

static void sql(const char *name, const char *text) {
  sqlite3 *db = NULL;
  char *error = NULL;
  cr_assert_eq(sqlite3_open(made_path(name), &db), SQLITE_OK);
  cr_assert_eq(sqlite3_exec(db, text, NULL, NULL, &error), SQLITE_OK, "%s",
               error);
  sqlite3_close(db);
}

static void restore(int format, const char *name) {
  char path[300], file[40];
  tinker__buf_t text;
  tinker__buf_init(&text, &mem, 1 << 20);
  snprintf(path, sizeof path, OLD "/%d/%s.sql", format, name);
  snprintf(file, sizeof file, "%s.db", name);
  cr_assert_eq(
      tinker__file_read(tinker__world_real(), path, &text, why, sizeof why), 0,
      "%s", why);
  sql(file, "PRAGMA journal_mode=WAL");
  sql(file, tinker__buf_cstr(&text));
  tinker__buf_free(&text);
}

static int load(tinker__rec_state_t *s) {
  const tinker__rec_folder_t folder = {&mem, tinker__world_real(), made_dir,
                                       RUN, true};
  return tinker__rec_load(&folder, s, why, sizeof why);
}

static void check_state(int64_t last_epoch) {
  tinker__rec_state_t s;
  cr_assert_eq(load(&s), 0, "%s", why);
  cr_assert(s.epoch == 1 && s.committed == 6 && s.last_epoch == last_epoch);
  cr_assert(s.incident != 0 && !s.finished && !s.stopped && s.plan);
  int64_t ckpts = 0;
  TINKER__LIST_EACH(l, tmp, &s.ckpts) {
    const tinker__rec_ckpt_t *c =
        TINKER__CONTAINER(l, tinker__rec_ckpt_t, link);
    cr_assert(c->probe_count == 60 && *c->path && !c->quarantined);
    ckpts++;
  }
  cr_assert_eq(ckpts, 2);
  tinker__rec_state_free(&s);
}

/* The rows that were there are the same bytes. */
static int on_row(void *user, int n, char **values, char **names) {
  tinker__buf_t *out = user;
  (void)names;
  for (int i = 0; i < n; i++) {
    tinker__buf_adds(out, values[i] ? values[i] : "-");
    tinker__buf_addc(out, '|');
  }
  return 0;
}

static void rows(tinker__buf_t *out, int64_t last) {
  sqlite3 *db = NULL;
  char text[200];
  tinker__buf_init(out, &mem, 1 << 20);
  snprintf(text, sizeof text,
           "SELECT id, type, generation, step, boot, boot_ms, wall_ms, fields,"
           " hex(bytes), hex(hash) FROM record WHERE id <= %lld ORDER BY id",
           (long long)last);
  cr_assert_eq(sqlite3_open(made_path("supervisor.db"), &db), SQLITE_OK);
  cr_assert_eq(sqlite3_exec(db, text, on_row, out, NULL), SQLITE_OK);
  sqlite3_close(db);
  tinker__buf_cstr(out);
}

static tinker__rec_file_spec_t supervisor(void) {
  tinker__rec_file_spec_t spec = made_spec(&mem, made_path("supervisor.db"));
  spec.lineage = RUN;
  spec.epoch = 0;
  return spec;
}

Test(old, format_1) {
  tinker__rec_file_t *f = NULL;
  tinker__rec_facts_t facts = TINKER__REC_FACTS_INIT;
  tinker__buf_t fields, before, after;
  restore(1, "supervisor");
  restore(1, "e1");
  check_state(2);
  rows(&before, INT64_MAX);
  const tinker__rec_file_spec_t spec = supervisor();
  cr_assert_eq(tinker__rec_file_open(&f, &spec, why, sizeof why), 0, "%s", why);
  facts.epoch = 3;
  tinker__buf_init(&fields, &mem, 1000);
  cr_assert_eq(tinker__rec_facts_write(&facts, &fields), 0);
  const tinker__rec_draft_t next = {TINKER__REC_ATTEMPT_BEGIN,
                                    TINKER__REC_NO_STEP,
                                    tinker__buf_str(&fields),
                                    {"", 0}};
  cr_assert_eq(tinker__rec_file_put(f, &next), 0);
  tinker__rec_file_close(f);
  check_state(3);
  rows(&after, INT64_MAX);
  cr_assert_gt(after.len, before.len);
  cr_assert_eq(memcmp(after.data, before.data, before.len), 0);
  tinker__buf_free(&fields);
  tinker__buf_free(&before);
  tinker__buf_free(&after);
}

Test(old, a_newer_one) {
  static unsigned char before[1 << 17], after[1 << 17];
  static const char *const names[] = {"supervisor.db", "e1.db"};
  for (int i = 0; i < 2; i++) {
    tinker__rec_file_t *f = NULL;
    tinker__rec_state_t s;
    restore(1, "supervisor");
    restore(1, "e1");
    sql(names[i], "UPDATE head SET format = 99");
    size_t len = made_slurp(made_path(names[i]), before, sizeof before);
    cr_assert_eq(load(&s), TINKER_EFORMAT);
    cr_assert(strstr(why, "written by a newer version (format 99"), "%s", why);
    cr_assert(strstr(why, names[i]), "%s", why);
    if (i == 0) {
      const tinker__rec_file_spec_t spec = supervisor();
      cr_assert_eq(tinker__rec_file_open(&f, &spec, why, sizeof why),
                   TINKER_EFORMAT);
      cr_assert_null(f);
    }
    cr_assert_eq(made_slurp(made_path(names[i]), after, sizeof after), len);
    cr_assert_eq(memcmp(before, after, len), 0);
    made_teardown();
    made_setup();
  }
}
