/* snapshot: bytes to a state and back, and a start that reads from one on. That
 * it makes no difference to what is read is shown in test_state_walk.c. */
#include <criterion/criterion.h>
#include <string.h>
#include <tinker/error.h>
#include <unistd.h>

#include "journal/load.h"
#include "made.h"
#include "support/fail_alloc.h"

static tinker__mem_t mem;
static tinker__rec_state_t s;
static tinker__rec_marks_t marks;
static tinker__buf_t bytes, again;
static char why[300];

static void setup(void) {
  made_setup();
  tinker__mem_init(&mem, NULL, 0);
  tinker__buf_init(&bytes, &mem, 1 << 20);
  tinker__buf_init(&again, &mem, 1 << 20);
}

static void drop(void) {
  tinker__rec_state_free(&s);
  tinker__rec_marks_free(&marks);
}

static void teardown(void) {
  drop();
  tinker__buf_free(&bytes);
  tinker__buf_free(&again);
  cr_assert_eq(atomic_load(&mem.live_blocks), 0);
  made_teardown();
}

TestSuite(snapshot, .init = setup, .fini = teardown);

static tinker__rec_folder_t folder(tinker__mem_t *m) {
  return (tinker__rec_folder_t){m, tinker__world_real(), made_dir, MADE_LINEAGE,
                                true};
}

static tinker__rec_file_t *open_at(int64_t epoch,
                                   const tinker__rec_mark_t *from) {
  char path[TINKER__REC_PATH_ROOM];
  tinker__rec_file_t *f = NULL;
  const tinker__rec_folder_t dir = folder(&mem);
  cr_assert_eq(tinker__rec_folder_file(&dir, epoch, path, why, sizeof why), 0);
  tinker__rec_file_spec_t spec = made_spec(&mem, path);
  spec.epoch = epoch;
  spec.from = from;
  cr_assert_eq(tinker__rec_file_open(&f, &spec, why, sizeof why), 0, "%s", why);
  return f;
}

static void note(tinker__rec_file_t *f, tinker__rec_type_t type, int64_t step,
                 const char *fields, const char *what) {
  const tinker__rec_draft_t d = {type, step, tinker__str(fields),
                                 tinker__str(what)};
  cr_assert_eq(tinker__rec_file_put(f, &d), 0);
}

static const char intent[] =
    "{\"op\":9,\"slot\":1,\"kind\":5,\"side\":0,\"requests\":[[1,4,1,0,\"00000000"
    "00000000000000000000000000000000000000000000000000000000\"]]}";

/* Two committed steps, a third that was sent and has its cursor, and two
 * checkpoints: everything that a state can have. */
static void made_run(void) {
  tinker__rec_file_t *sup = open_at(0, NULL), *one = open_at(1, NULL);
  note(sup, TINKER__REC_PLAN, -1, "{\"plan\":{\"a\":1}}", "");
  note(sup, TINKER__REC_ATTEMPT_BEGIN, -1, "{\"epoch\":1,\"nonce\":\"n1\"}",
       "");
  note(sup, TINKER__REC_ORPHAN_FOUND, -1, "{\"model\":\"m0\"}", "");
  note(sup, TINKER__REC_EPOCH_ACTIVE, 0,
       "{\"epoch\":1,\"from_step\":0,\"session\":\"s1\",\"model\":\"m1\"}", "");
  for (int64_t i = 1; i <= 2; i++) {
    note(one, TINKER__REC_CURSOR, i, "{}", "cursor");
    note(one, TINKER__REC_STEP_COMMIT, i, "{\"loss\":\"3ff0000000000000\"}",
         "0123456789abcdef0123456789abcdef");
    note(one, TINKER__REC_CKPT_SAVED, i,
         i == 2 ? "{\"name\":\"two\",\"path\":\"p2\"}"
                : "{\"name\":\"one\",\"path\":\"p1\"}",
         "cursor");
  }
  note(one, TINKER__REC_CKPT_FINGERPRINT, 2, "{\"name\":\"two\"}", "12345678");
  note(one, TINKER__REC_OP_INTENT, 3, intent, "body");
  note(one, TINKER__REC_OP_SENT, 3, "{\"op\":9,\"request\":0,\"id\":\"r\"}",
       "");
  note(one, TINKER__REC_CURSOR, 3, "{}", "not yet");
  note(sup, TINKER__REC_CKPT_QUARANTINED, 1, "{\"name\":\"one\"}", "");
  note(sup, TINKER__REC_SIGNAL, -1, "{\"epoch\":1,\"evidence\":\"no\"}", "");
  tinker__rec_file_close(sup);
  tinker__rec_file_close(one);
}

static int load(void) {
  const tinker__rec_folder_t dir = folder(&mem);
  drop();
  why[0] = 0;
  return tinker__rec_load_marked(&dir, &s, &marks, why, sizeof why);
}

/* The state alone, as bytes. */
static void state_to(tinker__buf_t *out) {
  const tinker__rec_marks_t none = {.mem = &mem};
  tinker__buf_clear(out);
  cr_assert_eq(tinker__rec_snapshot_write(&s, &none, MADE_LINEAGE, out), 0);
}

static void keep(void) {
  const tinker__rec_folder_t dir = folder(&mem);
  cr_assert_eq(load(), 0, "%s", why);
  cr_assert_eq(tinker__rec_load_keep(&dir, &s, &marks, why, sizeof why), 0,
               "%s", why);
}

/* The state is that of `bytes`; skipped: what a snapshot has saved. */
static void same(int64_t skipped) {
  cr_assert_eq(load(), 0, "%s", why);
  cr_assert_eq(marks.skipped, skipped, "%lld", (long long)marks.skipped);
  state_to(&again);
  cr_assert(tinker__str_eq(tinker__buf_str(&bytes), tinker__buf_str(&again)));
}

Test(snapshot, there_and_back) {
  made_run();
  cr_assert_eq(load(), 0, "%s", why);
  cr_assert_eq(marks.skipped, 0);
  state_to(&bytes);
  keep();
  same(10 + 6);
  cr_assert_str_eq(s.distrusted, "no");
  cr_assert(tinker__rec_state_ckpt(&s, "one")->quarantined);
  cr_assert_eq(tinker__rec_state_ckpt(&s, "two")->probe_count, 2);
  cr_assert_str_eq(tinker__rec_state_op(&s, 9)->requests[0].id, "r");
  cr_assert_str_eq(tinker__rec_used_find(&s.used, 1)->nonce, "n1");
  cr_assert_str_eq(tinker__rec_used_find(&s.used, 1)->model, "m1");
  cr_assert(tinker__rec_orphan_find(&s.orphans, tinker__str("m0")));
}

Test(snapshot, what_came_after_is_read) {
  made_run();
  keep();
  tinker__rec_file_t *sup = open_at(0, tinker__rec_marks_at(&marks, 0));
  tinker__rec_file_t *one = open_at(1, tinker__rec_marks_at(&marks, 1));
  note(one, TINKER__REC_STEP_COMMIT, 3, "{}", "");
  note(one, TINKER__REC_CKPT_SAVED, 3, "{\"name\":\"three\",\"path\":\"p\"}",
       "");
  note(sup, TINKER__REC_CKPT_LEVEL, 3, "{\"name\":\"three\",\"level\":3}", "");
  tinker__rec_file_close(sup);
  tinker__rec_file_close(one);
  cr_assert_eq(load(), 0, "%s", why);
  cr_assert(marks.skipped == 16 && s.committed == 3);
  cr_assert_eq(tinker__rec_state_ckpt(&s, "three")->level, 3);
  state_to(&bytes);
  cr_assert_eq(unlink(made_path("snapshot")), 0);
  same(0);
}

/* What it was made of is not read at a start, and is whenever all is. */
Test(snapshot, what_it_has_is_not_read) {
  const tinker__rec_folder_t dir = folder(&mem);
  made_run();
  cr_assert_eq(load(), 0);
  state_to(&bytes);
  keep();
  made_sql(made_path("e1.db"), "UPDATE record SET step = 9 WHERE id = 3");
  same(16);
  tinker__rec_load_doubt(&dir);
  cr_assert_eq(load(), TINKER_EFORMAT);
  cr_assert(strstr(why, "e1.db: damaged at record 3"), "%s", why);
}

/* --- One that can't be used is as none ------------------------------------ */

static void unused(void) {
  same(0);
}

Test(snapshot, of_another_journal) {
  static unsigned char old[1 << 20];
  made_run();
  keep();
  size_t len = made_slurp(made_path("snapshot"), old, sizeof old);
  made_teardown();
  cr_assert_eq(access(made_dir, F_OK), -1);
  made_setup();
  made_run(); /* at another time: no hash is the same */
  cr_assert_eq(load(), 0);
  state_to(&bytes);
  made_spit(made_path("snapshot"), old, len);
  unused();
}

/* A backup of the journal beside a newer snapshot. */
Test(snapshot, of_a_longer_journal) {
  static unsigned char old[1 << 20];
  made_run();
  cr_assert_eq(load(), 0);
  state_to(&bytes);
  size_t len = made_slurp(made_path("e1.db"), old, sizeof old);
  tinker__rec_file_t *one = open_at(1, NULL);
  note(one, TINKER__REC_STEP_COMMIT, 3, "{}", "");
  tinker__rec_file_close(one);
  keep();
  made_spit(made_path("e1.db"), old, len);
  unused();
}

Test(snapshot, of_a_file_that_is_gone) {
  made_run();
  keep();
  cr_assert_eq(unlink(made_path("e1.db")), 0);
  cr_assert_eq(load(), TINKER_EFORMAT);
  cr_assert(strstr(why, "e1.db"), "%s", why);
}

Test(snapshot, any_byte_of_it) {
  made_run();
  keep();
  tinker__rec_snapshot_write(&s, &marks, MADE_LINEAGE, &bytes);
  for (size_t i = 0; i < bytes.len; i++) {
    bytes.data[i] ^= 1;
    drop();
    tinker__rec_marks_init(&marks, &mem);
    cr_assert_eq(tinker__rec_state_init(&s, &mem), 0);
    cr_assert_eq(tinker__rec_snapshot_read(&s, &marks, MADE_LINEAGE,
                                           tinker__buf_str(&bytes)),
                 TINKER_EFORMAT, "byte %zu", i);
    bytes.data[i] ^= 1;
  }
}

/* With a hash that fits: nothing outside is read, and nothing is made of a
 * length that can't be. */
static int read_sealed(size_t len) {
  tinker__buf_reserve(&again, TINKER__SHA256_LEN);
  cr_assert_eq(
      tinker__sha256(again.data, len, (unsigned char *)again.data + len), 0);
  drop();
  tinker__rec_marks_init(&marks, &mem);
  cr_assert_eq(tinker__rec_state_init(&s, &mem), 0);
  return tinker__rec_snapshot_read(
      &s, &marks, MADE_LINEAGE,
      (tinker__str_t){again.data, len + TINKER__SHA256_LEN});
}

Test(snapshot, any_length_and_any_number) {
  made_run();
  keep();
  tinker__rec_snapshot_write(&s, &marks, MADE_LINEAGE, &bytes);
  size_t body = bytes.len - TINKER__SHA256_LEN;
  for (size_t i = 0; i < body; i++) {
    tinker__buf_clear(&again);
    tinker__buf_add(&again, bytes.data, body);
    cr_assert_eq(read_sealed(i), TINKER_EFORMAT, "%zu", i);
    tinker__buf_clear(&again);
    tinker__buf_add(&again, bytes.data, body);
    again.data[i] = (char)0x80;
    int rc = read_sealed(body);
    cr_assert(rc == 0 || rc == TINKER_EFORMAT, "%zu: %d", i, rc);
  }
}

Test(snapshot, of_another_run) {
  made_run();
  keep();
  tinker__rec_snapshot_write(&s, &marks, "other", &bytes);
  drop();
  tinker__rec_marks_init(&marks, &mem);
  cr_assert_eq(tinker__rec_state_init(&s, &mem), 0);
  cr_assert_eq(tinker__rec_snapshot_read(&s, &marks, MADE_LINEAGE,
                                         tinker__buf_str(&bytes)),
               TINKER_EFORMAT);
}

/* --- Memory --------------------------------------------------------------- */

static int sweep(tinker__mem_t *m, void *user) {
  const tinker__rec_folder_t dir = folder(m);
  tinker__rec_state_t x;
  tinker__rec_marks_t at;
  (void)user;
  int rc = tinker__rec_load_marked(&dir, &x, &at, why, sizeof why);
  if (rc != 0) return rc;
  cr_assert_eq(at.skipped, 16);
  rc = tinker__rec_load_keep(&dir, &x, &at, why, sizeof why);
  tinker__rec_state_free(&x);
  tinker__rec_marks_free(&at);
  return rc;
}

Test(snapshot, no_memory) {
  made_run();
  keep();
  int n = tinker__fail_sweep(sweep, NULL, TINKER_ENOMEM);
  cr_assert_gt(n, 40, "%d", n);
}
