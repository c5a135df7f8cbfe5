/* load: the files of a run's folder as one state. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>
#include <tinker/error.h>
#include <unistd.h>

#include "journal/load.h"
#include "made.h"
#include "support/fail_alloc.h"

static tinker__mem_t mem;
static tinker__rec_state_t s;
static char why[300];

static void setup(void) {
  made_setup();
  tinker__mem_init(&mem, NULL, 0);
}

static void teardown(void) {
  cr_assert_eq(atomic_load(&mem.live_blocks), 0);
  made_teardown();
}

TestSuite(load, .init = setup, .fini = teardown);

static tinker__rec_folder_t folder(tinker__mem_t *m) {
  return (tinker__rec_folder_t){m, tinker__world_real(), made_dir, MADE_LINEAGE,
                                true};
}

static tinker__rec_file_t *file(int64_t epoch) {
  char path[TINKER__REC_PATH_ROOM];
  tinker__rec_file_t *f = NULL;
  const tinker__rec_folder_t dir = folder(&mem);
  cr_assert_eq(tinker__rec_folder_file(&dir, epoch, path, why, sizeof why), 0);
  tinker__rec_file_spec_t spec = made_spec(&mem, path);
  spec.epoch = epoch;
  cr_assert_eq(tinker__rec_file_open(&f, &spec, why, sizeof why), 0, "%s", why);
  return f;
}

static void note(tinker__rec_file_t *f, tinker__rec_type_t type, int64_t step,
                 const char *fields, const char *bytes) {
  const tinker__rec_draft_t d = {type, step, tinker__str(fields),
                                 tinker__str(bytes)};
  cr_assert_eq(tinker__rec_file_put(f, &d), 0);
}

static int load(void) {
  const tinker__rec_folder_t dir = folder(&mem);
  why[0] = 0;
  return tinker__rec_load(&dir, &s, why, sizeof why);
}

/* Two epochs: the first got to step 4 and saved at 2 and 4; the second began
 * at 2 and got to 3. An attempt with number 2 came to nothing. */
static void made_run(void) {
  tinker__rec_file_t *sup = file(0), *one = file(1), *three = file(3);
  note(sup, TINKER__REC_PLAN, -1, "{\"plan\":{\"a\":1}}", "");
  note(sup, TINKER__REC_ATTEMPT_BEGIN, -1, "{\"epoch\":1}", "");
  note(sup, TINKER__REC_EPOCH_ACTIVE, 0,
       "{\"epoch\":1,\"from_step\":0,\"session\":\"s1\",\"model\":\"m1\"}", "");
  for (int64_t i = 1; i <= 4; i++) {
    note(one, TINKER__REC_CURSOR, i, "{}", "of epoch 1");
    note(one, TINKER__REC_STEP_COMMIT, i, "{}", "");
    if (i % 2) continue;
    note(one, TINKER__REC_CKPT_SAVED, i,
         i == 2 ? "{\"name\":\"two\",\"path\":\"p2\"}"
                : "{\"name\":\"four\",\"path\":\"p4\"}",
         "cursor");
  }
  note(sup, TINKER__REC_ATTEMPT_BEGIN, -1, "{\"epoch\":2}", "");
  note(sup, TINKER__REC_ATTEMPT_BEGIN, -1, "{\"epoch\":3}", "");
  note(sup, TINKER__REC_EPOCH_ACTIVE, 2,
       "{\"epoch\":3,\"from_step\":2,\"session\":\"s3\",\"model\":\"m3\"}",
       "of two");
  note(three, TINKER__REC_ATTACH, 2, "{\"incarnation\":1}", "");
  note(three, TINKER__REC_CURSOR, 3, "{}", "of epoch 3");
  note(three, TINKER__REC_STEP_COMMIT, 3, "{}", "");
  note(three, TINKER__REC_CURSOR, 4, "{}", "not yet");
  tinker__rec_file_close(sup);
  tinker__rec_file_close(one);
  tinker__rec_file_close(three);
}

Test(load, a_folder_without_a_journal_is_a_new_run) {
  cr_assert_eq(load(), 0, "%s", why);
  cr_assert(!s.plan && s.epoch == 0 && s.last_epoch == 0);
  tinker__rec_state_free(&s);
  cr_assert_eq(access(made_path("supervisor.db"), F_OK), -1);
}

Test(load, all_files_as_one) {
  tinker__str_t at;
  made_run();
  cr_assert_eq(load(), 0, "%s", why);
  cr_assert_str_eq(s.plan, "{\"a\":1}");
  cr_assert(s.epoch == 3 && s.last_epoch == 3 && s.committed == 3);
  cr_assert_str_eq(s.session, "s3");
  cr_assert(tinker__str_eqs(tinker__buf_str(&s.cursor), "of epoch 3"));
  cr_assert(tinker__rec_state_cursor(&s, 4, &at));
  cr_assert(tinker__str_eqs(at, "not yet"));
  cr_assert_eq(s.attached, 1);
  cr_assert_not(tinker__rec_state_ckpt(&s, "two")->quarantined);
  cr_assert(tinker__rec_state_ckpt(&s, "four")->quarantined);
  cr_assert_eq(tinker__rec_state_past(&s, 3)->epoch, 3);
  cr_assert_eq(tinker__rec_state_past(&s, 4)->epoch, 1);
  tinker__rec_state_free(&s);
}

/* --- Files that do not belong together ------------------------------------ */

static void refused(const char *place) {
  cr_assert_eq(load(), TINKER_EFORMAT, "%s: %s", place, why);
  cr_assert(strstr(why, place), "%s: %s", place, why);
}

/* What the active epoch has acknowledged would be lost without a word. */
Test(load, the_active_epoch_has_its_file) {
  made_run();
  cr_assert_eq(unlink(made_path("e3.db")), 0);
  refused("e3.db");
}

/* An attempt that ended before its file was made. */
Test(load, an_attempt_has_not_always_a_file) {
  made_run();
  cr_assert_eq(access(made_path("e2.db"), F_OK), -1);
  cr_assert_eq(load(), 0);
  tinker__rec_state_free(&s);
}

/* The supervisor's file has lost its last records: the run would begin at an
 * earlier step, and take the model for an attempt's. */
Test(load, an_attempt_that_has_committed_was_active) {
  made_run();
  tinker__rec_file_t *sup = file(0), *four = file(4);
  note(sup, TINKER__REC_ATTEMPT_BEGIN, -1, "{\"epoch\":4}", "");
  note(four, TINKER__REC_CURSOR, 4, "{}", "");
  tinker__rec_file_close(four);
  cr_assert_eq(load(), 0, "%s", why); /* it came to nothing */
  tinker__rec_state_free(&s);
  four = file(4);
  note(four, TINKER__REC_STEP_COMMIT, 4, "{}", "");
  tinker__rec_file_close(four);
  tinker__rec_file_close(sup);
  refused("e4.db has step 4 committed");
}

/* The supervisor's file is an older copy, or is gone: a run would begin anew,
 * or go back to an epoch that is over, with numbers that were used. */
Test(load, an_old_supervisor_is_found_out) {
  static unsigned char old[1 << 20];
  tinker__rec_file_t *sup = file(0);
  note(sup, TINKER__REC_ATTEMPT_BEGIN, -1, "{\"epoch\":1}", "");
  tinker__rec_file_close(sup);
  size_t len = made_slurp(made_path("supervisor.db"), old, sizeof old);
  cr_assert_eq(unlink(made_path("supervisor.db")), 0);
  made_run();
  made_spit(made_path("supervisor.db"), old, len);
  refused("supervisor.db");
  made_spit(made_path("supervisor.db"), "", 0);
  refused("supervisor.db");
  cr_assert_eq(unlink(made_path("supervisor.db")), 0);
  refused("supervisor.db");
}

Test(load, damage_in_any_file_is_told) {
  made_run();
  made_sql(made_path("e1.db"), "UPDATE record SET step = 9 WHERE id = 3");
  refused("e1.db: damaged at record 3");
  made_sql(made_path("e1.db"), "UPDATE record SET step = 2 WHERE id = 3");
  cr_assert_eq(load(), 0, "%s", why);
  tinker__rec_state_free(&s);
  made_sql(made_path("supervisor.db"), "DELETE FROM record WHERE id = 2");
  refused("supervisor.db: damaged at record 3");
}

Test(load, a_file_of_another_epoch_or_run) {
  made_run();
  cr_assert_eq(rename(made_path("e1.db"), made_path("e3.db")), 0);
  refused("epoch 1");
  made_sql(made_path("supervisor.db"), "UPDATE head SET lineage = 'other'");
  refused("run other");
}

/* --- Showing -------------------------------------------------------------- */

typedef struct {
  int64_t records, last_epoch, stop;
  bool ordered;
} shown_t;

static int show(void *user, int64_t epoch, const tinker__rec_record_t *r) {
  shown_t *x = user;
  if (epoch < x->last_epoch || r->id < 1) x->ordered = false;
  x->last_epoch = epoch;
  x->records++;
  return x->records == x->stop ? 77 : 0;
}

Test(load, every_record_is_shown) {
  const tinker__rec_folder_t dir = folder(&mem);
  shown_t x = {.ordered = true};
  made_run();
  cr_assert_eq(tinker__rec_show(&dir, show, &x, why, sizeof why), 0, "%s", why);
  cr_assert_eq(x.records, 6 + 10 + 4, "%lld", (long long)x.records);
  cr_assert(x.ordered && x.last_epoch == 3);
  x = (shown_t){.stop = 9};
  cr_assert_eq(tinker__rec_show(&dir, show, &x, why, sizeof why), 77);
  cr_assert_eq(x.records, 9);
}

/* --- Limits --------------------------------------------------------------- */

Test(load, a_path_that_is_too_long) {
  static char longer[5000], out[TINKER__REC_PATH_ROOM];
  tinker__rec_folder_t dir = folder(&mem);
  memset(longer, 'a', sizeof longer - 1);
  dir.path = longer;
  cr_assert_eq(tinker__rec_folder_file(&dir, 1, out, why, sizeof why),
               TINKER_EOVERFLOW);
  cr_assert_eq(tinker__rec_load(&dir, &s, why, sizeof why), TINKER_EIO);
}

static int sweep(tinker__mem_t *m, void *user) {
  const tinker__rec_folder_t dir = folder(m);
  tinker__rec_state_t x;
  (void)user;
  int rc = tinker__rec_load(&dir, &x, why, sizeof why);
  if (rc == 0) tinker__rec_state_free(&x);
  return rc;
}

Test(load, no_memory) {
  made_run();
  int n = tinker__fail_sweep(sweep, NULL, TINKER_ENOMEM);
  cr_assert_gt(n, 50, "%d", n);
}
